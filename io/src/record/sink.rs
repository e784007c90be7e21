//! The trace's file, written by a thread of its own.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use steersman_engine::trace::{self, Ending};

use crate::limits::{TRACE_FINISH_PATIENCE, TRACE_LINES_WAITING_MAX};

/// The file of a recording.
#[derive(Debug)]
pub(super) struct Sink {
    lines: Option<SyncSender<Word>>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
    failure: Arc<Mutex<Option<String>>>,
}

/// What the thread is told.
#[derive(Debug)]
enum Word {
    Line(Box<[u8]>),
    End(Ending),
}

impl Sink {
    /// Creates the file, readable by its owner only, and writes the header.
    pub(super) fn create(path: &Path, header: Vec<u8>) -> io::Result<Sink> {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path)?;
        file.write_all(&header)?;
        let (lines, waiting) = mpsc::sync_channel(TRACE_LINES_WAITING_MAX);
        let (finished, done) = mpsc::channel();
        let failure = Arc::new(Mutex::new(None));
        let shared = Arc::clone(&failure);
        let thread = std::thread::Builder::new().name("trace".into()).spawn(move || {
            if let Err(error) = write(BufWriter::new(file), &waiting) {
                fail(&shared, format!("cannot write the trace: {error}"));
            }
            drop(finished);
        })?;
        Ok(Sink { lines: Some(lines), done, thread, failure })
    }

    /// Queues one line; ends the recording when the disk cannot keep up.
    pub(super) fn push(&mut self, line: &[u8]) {
        let Some(lines) = &self.lines else { return };
        match lines.try_send(Word::Line(line.into())) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                let waiting = TRACE_LINES_WAITING_MAX;
                self.stop(format!("cannot write the trace as fast as the run: {waiting} waiting"));
            }
            // The thread ended and said why.
            Err(TrySendError::Disconnected(_)) => self.lines = None,
        }
    }

    /// Ends the recording: what is queued is still written, and the file says that it stops there.
    pub(super) fn stop(&mut self, reason: String) {
        fail(&self.failure, reason);
        self.lines = None;
    }

    /// Tells why the file is not whole.
    pub(super) fn take_failure(&mut self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Writes the rest and the last line, unless the disk takes too long.
    pub(super) fn finish(mut self, end: Ending) {
        if let Some(lines) = self.lines.take() {
            // A full queue means a stuck disk: the file then ends without its last line.
            let _ = lines.try_send(Word::End(end));
        }
        if self.done.recv_timeout(TRACE_FINISH_PATIENCE) != Err(RecvTimeoutError::Timeout) {
            // It has ended; a panic in it was reported on standard error already.
            let _ = self.thread.join();
        }
    }

    /// Waits until the thread has ended by itself.
    #[cfg(test)]
    pub(super) fn wait(&self) {
        let patience = Duration::from_secs(60);
        assert_eq!(self.done.recv_timeout(patience), Err(RecvTimeoutError::Disconnected));
    }
}

fn fail(failure: &Mutex<Option<String>>, reason: String) {
    failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(reason);
}

/// Writes until the queue's other end has gone. The queue is flushed whenever it is empty, so that
/// a killed supervisor leaves nearly everything.
fn write(mut out: BufWriter<File>, waiting: &Receiver<Word>) -> io::Result<()> {
    let mut end = Ending::Overrun;
    loop {
        let word = match waiting.recv_timeout(Duration::ZERO) {
            Ok(word) => word,
            Err(RecvTimeoutError::Timeout) => {
                out.flush()?;
                let Ok(word) = waiting.recv() else { break };
                word
            }
            Err(RecvTimeoutError::Disconnected) => break,
        };
        match word {
            Word::Line(line) => out.write_all(&line)?,
            Word::End(reason) => end = reason,
        }
    }
    trace::write_end(&mut out, end)?;
    out.flush()
}
