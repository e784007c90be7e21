//! Where records go: a thread that writes, so that nobody who reads them can stall a decision.
//!
//! The driver hands over whole records and never waits. What is not yet written is counted: beyond
//! [`QUEUE_FULL_BYTES`] the pipes of jobs are not read (nothing of theirs is lost, they wait), and
//! the supervisor's own records are dropped and counted.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use steersman_engine::front::LogOutput;
use tokio::sync::Notify;

use crate::limits::{QUEUE_FULL_BYTES, QUEUE_MAX_BYTES, WRITE_BYTES_MAX, WRITE_PAUSE};

/// Writing to a pipe is atomic up to here: lines of jobs with raw output do not land inside ours.
const ATOMIC_BYTES: usize = 4096;

/// The writer's stack: it formats a line for stderr at most.
const STACK_BYTES: usize = 64 * 1024;

/// The driver's end of the log.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    /// Started with the first record.
    is_running: bool,
    log: Vec<u8>,
    raw: Vec<u8>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    done: Condvar,
    /// Bytes handed over and not yet written or given up.
    waiting: AtomicUsize,
    room: Notify,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<u8>,
    raw: Vec<u8>,
    target: Option<Target>,
    is_reopening: bool,
    /// Whether the thread sleeps until it is called.
    is_idle: bool,
    /// Whether somebody waits for everything to be written.
    is_awaited: bool,
}

impl State {
    fn has_work(&self) -> bool {
        let has_bytes = !self.log.is_empty() || !self.raw.is_empty();
        has_bytes || self.is_reopening || self.target.is_some()
    }
}

/// An opened place for records.
#[derive(Debug)]
struct Target {
    output: LogOutput,
    file: Option<File>,
    /// Records lost since the last one that was written.
    lost: u64,
    /// Whether the last write broke off inside a record.
    is_torn: bool,
    is_failing: bool,
}

impl Writer {
    /// Opens the place that records go to.
    ///
    /// # Errors
    /// When a log file cannot be opened.
    pub fn open(output: &LogOutput) -> io::Result<Writer> {
        let state = State { target: Some(Target::open(output)?), ..State::default() };
        let shared = Shared {
            state: Mutex::new(state),
            work: Condvar::new(),
            done: Condvar::new(),
            waiting: AtomicUsize::new(0),
            room: Notify::new(),
        };
        let shared = Arc::new(shared);
        Ok(Writer { shared, is_running: false, log: Vec::new(), raw: Vec::new() })
    }

    /// Goes on in another place.
    ///
    /// # Errors
    /// When a log file cannot be opened; the old place stays.
    pub fn switch(&mut self, output: &LogOutput) -> io::Result<()> {
        let target = Target::open(output)?;
        self.flush();
        self.shared.tell(|state| state.target = Some(target));
        Ok(())
    }

    /// Opens a log file again, after what was handed over so far has been written.
    pub fn reopen(&mut self) {
        self.flush();
        self.shared.tell(|state| state.is_reopening = true);
    }

    /// Gives the buffer that takes records; [`Writer::flush`] hands it over.
    pub fn log(&mut self) -> &mut Vec<u8> {
        &mut self.log
    }

    /// Gives the buffer that takes what passes through to standard output.
    pub fn raw(&mut self) -> &mut Vec<u8> {
        &mut self.raw
    }

    /// Tells whether pipes are to be left unread for now.
    pub fn is_full(&self) -> bool {
        self.pending() >= QUEUE_FULL_BYTES
    }

    /// Tells whether not even the end of a pipe can be taken any more.
    pub fn is_over_full(&self) -> bool {
        self.pending() >= QUEUE_MAX_BYTES
    }

    /// Waits until [`Writer::is_full`] may have become false.
    pub async fn room(&self) {
        self.shared.room.notified().await;
    }

    /// Hands over what was put into the buffers; never waits for the place.
    pub fn flush(&mut self) {
        if self.log.is_empty() && self.raw.is_empty() {
            return;
        }
        self.shared.waiting.fetch_add(self.log.len() + self.raw.len(), Ordering::Relaxed);
        let (log, raw) = (&mut self.log, &mut self.raw);
        self.shared.tell(|state| {
            hand_over(log, &mut state.log);
            hand_over(raw, &mut state.raw);
        });
        if !self.is_running {
            self.start();
        }
    }

    /// Waits until everything is written; gives up after `patience` without progress, or after
    /// `most`.
    pub fn drain(&mut self, patience: Duration, most: Duration) {
        self.flush();
        let end = Instant::now() + most;
        self.shared.tell(|state| state.is_awaited = true);
        let mut state = self.shared.lock();
        // Under the lock: what is written between the look and the wait would not be heard of.
        let mut before = self.shared.waiting.load(Ordering::Relaxed);
        while before > 0 && Instant::now() < end {
            let waited = self.shared.done.wait_timeout(state, patience);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state = guard;
            let now = self.shared.waiting.load(Ordering::Relaxed);
            if timeout.timed_out() && now == before {
                break;
            }
            before = now;
        }
        state.is_awaited = false;
    }

    fn pending(&self) -> usize {
        self.shared.waiting.load(Ordering::Relaxed) + self.log.len() + self.raw.len()
    }

    fn start(&mut self) {
        let shared = Arc::clone(&self.shared);
        let builder = std::thread::Builder::new().name("log".into()).stack_size(STACK_BYTES);
        // Without a thread (the limit of processes is reached) the next record tries again.
        self.is_running = builder.spawn(move || shared.serve()).is_ok();
    }
}

/// Moves bytes to the other side, without copying when it has taken everything before.
fn hand_over(from: &mut Vec<u8>, to: &mut Vec<u8>) {
    if to.is_empty() {
        std::mem::swap(from, to);
    } else {
        to.append(from);
    }
    from.shrink_to(WRITE_BYTES_MAX);
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves bytes, not a broken invariant.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes what the thread is to do; calls it only when it sleeps.
    fn tell(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        if state.is_idle || state.is_awaited {
            self.work.notify_one();
        }
    }

    /// Waits for work. Records that come in quick succession are written together: each wake costs
    /// more than a record does.
    fn next_work(&self) -> MutexGuard<'_, State> {
        let rest = |state: &mut State| !state.is_awaited;
        let rested = self.work.wait_timeout_while(self.lock(), WRITE_PAUSE, rest);
        let (mut state, _timeout) = rested.unwrap_or_else(PoisonError::into_inner);
        while !state.has_work() {
            state.is_idle = true;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        state
    }

    fn serve(&self) {
        let mut target = None;
        let mut stdout = Target { output: LogOutput::Stdout, ..Target::closed() };
        let (mut log, mut raw) = (Vec::new(), Vec::new());
        loop {
            let mut state = self.next_work();
            std::mem::swap(&mut log, &mut state.log);
            std::mem::swap(&mut raw, &mut state.raw);
            let is_reopening = std::mem::take(&mut state.is_reopening);
            let next = state.target.take();
            drop(state);
            // What came before a switch belongs to the old place, if there was one.
            if target.is_none() || log.is_empty() {
                target = next.or(target);
                self.write(target.as_mut(), &mut log);
            } else {
                self.write(target.as_mut(), &mut log);
                target = next.or(target);
            }
            if is_reopening && let Some(target) = &mut target {
                target.reopen();
            }
            self.write(Some(&mut stdout), &mut raw);
        }
    }

    fn write(&self, target: Option<&mut Target>, bytes: &mut Vec<u8>) {
        if let Some(target) = target {
            let mut rest = &**bytes;
            while !rest.is_empty() {
                let (chunk, after) = rest.split_at(chunk_length(rest));
                target.write(chunk);
                rest = after;
                self.waiting.fetch_sub(chunk.len(), Ordering::Relaxed);
                self.room.notify_one();
                // Under the lock, so that `drain` cannot miss it between its look and its wait.
                drop(self.lock());
                self.done.notify_all();
            }
        }
        bytes.clear();
        bytes.shrink_to(WRITE_BYTES_MAX);
    }
}

/// Gives how much to write at once: whole records, as many as a pipe takes in one piece, or one
/// longer.
fn chunk_length(bytes: &[u8]) -> usize {
    let newline = |byte: &u8| *byte == b'\n';
    if bytes.len() <= ATOMIC_BYTES {
        return bytes.len();
    }
    let start = bytes.get(..ATOMIC_BYTES).unwrap_or(bytes);
    if let Some(end) = start.iter().rposition(newline) {
        return end + 1;
    }
    let reach = bytes.get(..bytes.len().min(WRITE_BYTES_MAX)).unwrap_or(bytes);
    reach.iter().position(newline).map_or(reach.len(), |end| end + 1)
}

impl Target {
    fn closed() -> Target {
        let output = LogOutput::Stdout;
        Target { output, file: None, lost: 0, is_torn: false, is_failing: false }
    }

    fn open(output: &LogOutput) -> io::Result<Target> {
        let file = match output {
            LogOutput::Stdout | LogOutput::Stderr => None,
            LogOutput::File(path) => Some(open_log(path)?),
        };
        Ok(Target { output: output.clone(), file, ..Target::closed() })
    }

    fn reopen(&mut self) {
        if let LogOutput::File(path) = &self.output {
            match open_log(path) {
                Ok(file) => {
                    self.file = Some(file);
                    self.is_torn = false;
                }
                Err(error) => complain(&format!("cannot open {path} again: {error}")),
            }
        }
    }

    /// Writes one chunk, or gives it up and counts its records; says so when that changes.
    fn write(&mut self, chunk: &[u8]) {
        let torn = std::mem::take(&mut self.is_torn);
        let outcome = if torn { self.put(b"\n") } else { Ok(()) };
        let outcome = match outcome {
            Ok(()) => self.put(chunk),
            Err((_none, error)) => Err((0, error)),
        };
        match outcome {
            Ok(()) if self.is_failing => {
                self.is_failing = false;
                complain(&format!("{self} works again; {} records were lost", self.lost));
                self.lost = 0;
            }
            Ok(()) => {}
            Err((written, error)) => {
                let given_up = chunk.get(written..).unwrap_or_default();
                self.is_torn = torn && written == 0 || written > 0;
                self.lost += given_up.iter().filter(|byte| **byte == b'\n').count() as u64;
                if !self.is_failing {
                    self.is_failing = true;
                    complain(&format!("cannot write to {self}: {error}; records are lost"));
                }
            }
        }
    }

    /// Writes all of `bytes`; a failure says how much was written before it.
    fn put(&mut self, bytes: &[u8]) -> Result<(), (usize, io::Error)> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            let outcome = match (&self.output, &mut self.file) {
                (LogOutput::File(_), Some(file)) => file.write(rest),
                (LogOutput::Stderr, _) => write_once(io::stderr().as_fd(), rest),
                (LogOutput::Stdout | LogOutput::File(_), _) => {
                    write_once(io::stdout().as_fd(), rest)
                }
            };
            match outcome {
                Ok(0) => return Err((written, io::Error::from(io::ErrorKind::WriteZero))),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // Somebody who shares the stream made it non-blocking.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.wait(),
                Err(error) => return Err((written, error)),
            }
        }
        Ok(())
    }

    fn wait(&self) {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let fd = match self.output {
            LogOutput::Stderr => stderr.as_fd(),
            LogOutput::Stdout | LogOutput::File(_) => stdout.as_fd(),
        };
        // A failure shows in the next write.
        let _ready = poll(&mut [PollFd::new(fd, PollFlags::POLLOUT)], PollTimeout::NONE);
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.output {
            LogOutput::Stdout => f.write_str("standard output"),
            LogOutput::Stderr => f.write_str("standard error"),
            LogOutput::File(path) => write!(f, "the log file {path}"),
        }
    }
}

/// Past the standard library's own buffering and locking of these streams.
fn write_once(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    Ok(nix::unistd::write(fd, bytes)?)
}

fn open_log(path: &str) -> io::Result<File> {
    File::options().append(true).create(true).open(path)
}

/// Says something about the log itself where it can still be seen, unless that would make us wait.
fn complain(text: &str) {
    let stderr = io::stderr();
    let mut ready = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut ready, PollTimeout::ZERO).is_ok_and(|count| count > 0) {
        // There is nowhere left to report a failure to.
        let _written = write_once(stderr.as_fd(), format!("steersman: {text}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_end_at_the_end_of_records() {
        let long = |length: usize| [vec![b'x'; length], vec![b'\n']].concat();
        assert_eq!(chunk_length(b"a\nb\n"), 4);
        let two = [long(4000), long(4000)].concat();
        assert_eq!(chunk_length(&two), 4001);
        let one = [long(10_000), long(10)].concat();
        assert_eq!(chunk_length(&one), 10_001);
        assert_eq!(chunk_length(&vec![b'x'; 1_000_000]), WRITE_BYTES_MAX);
    }

    #[test]
    fn records_reach_a_file_across_a_reopen() {
        let directory =
            std::env::temp_dir().join(format!("steersman-writer-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let (path, moved) = (directory.join("log"), directory.join("log.1"));
        let output = LogOutput::File(path.to_str().unwrap().to_owned());
        let mut writer = Writer::open(&output).unwrap();
        let patience = Duration::from_secs(20);
        writer.log().extend_from_slice(b"one\n");
        writer.drain(patience, patience);
        std::fs::rename(&path, &moved).unwrap();
        writer.log().extend_from_slice(b"two\n");
        writer.reopen();
        writer.drain(patience, patience);
        let end = Instant::now() + patience;
        while !path.exists() && Instant::now() < end {
            std::thread::yield_now();
        }
        writer.log().extend_from_slice(b"three\n");
        writer.drain(patience, patience);
        assert_eq!(std::fs::read_to_string(&moved).unwrap(), "one\ntwo\n");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
