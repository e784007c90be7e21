//! The output of jobs: from their pipes to lines.
//!
//! One pipe a run, for both its streams, so that their order is kept. Nothing here waits: a pipe
//! that is not read, because whoever reads the log has stalled, holds up the job that fills it and
//! nobody else. That a process has ended never depends on its pipe: another process may keep it
//! open.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use steersman_engine::config::Name;
use steersman_engine::limits::CHECK_OUTPUT_BYTES;
use steersman_engine::{RunId, RunKind};

use crate::journal::Journal;
use crate::limits::{LINE_BYTES_MAX, LINGERING_MAX, PIPE_DRAIN_BYTES_MAX};
use crate::log::Fields;

/// What one read takes: all that a pipe holds unless somebody made it larger.
const READ_BYTES: usize = 64 * 1024;

/// How many pipes are looked at before everything else gets its turn.
const EVENTS_MAX: usize = 64;

/// The pipes of all runs.
#[derive(Debug)]
pub struct Outputs {
    epoll: Epoll,
    pipes: Vec<Option<Pipe>>,
    vacant: Vec<usize>,
    of_run: HashMap<RunId, usize>,
    /// Pipes that are still open though their run has ended, oldest first.
    lingering: Vec<usize>,
    /// One for all: a job that is silent costs no memory.
    buffer: Box<[u8]>,
}

/// What becomes of a run's output.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The job's name.
    pub job: Name,
    /// The process.
    pub pid: u32,
    /// Whether the bytes pass through untouched.
    pub is_raw: bool,
}

#[derive(Debug)]
struct Pipe {
    /// None once its other end is closed.
    fd: Option<OwnedFd>,
    run: RunId,
    destination: Destination,
    line: Line,
    /// The end of a check's output.
    tail: Vec<u8>,
}

/// The beginning of a line whose end has not been read.
#[derive(Debug, Default)]
struct Line(Vec<u8>);

/// What a record holds of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece {
    /// All of it, or its end.
    Whole,
    /// A piece; more follows.
    Split,
}

/// What a look into a pipe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Bytes(usize),
    Empty,
    Closed,
}

impl Outputs {
    /// Builds an empty set.
    ///
    /// # Errors
    /// When the kernel has no descriptor left.
    pub fn new() -> io::Result<Outputs> {
        Ok(Outputs {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            pipes: Vec::new(),
            vacant: Vec::new(),
            of_run: HashMap::new(),
            lingering: Vec::new(),
            buffer: vec![0; READ_BYTES].into_boxed_slice(),
        })
    }

    /// Takes charge of the pipe of a new run.
    ///
    /// # Errors
    /// When the kernel cannot watch it.
    pub fn add(&mut self, run: RunId, fd: OwnedFd, destination: Destination) -> io::Result<()> {
        let index = self.vacant.pop().unwrap_or(self.pipes.len());
        let event = EpollEvent::new(EpollFlags::EPOLLIN, index as u64);
        if let Err(error) = self.epoll.add(&fd, event) {
            self.vacant.extend((index < self.pipes.len()).then_some(index));
            return Err(error.into());
        }
        let pipe = Pipe { fd: Some(fd), run, destination, line: Line::default(), tail: Vec::new() };
        match self.pipes.get_mut(index) {
            Some(place) => *place = Some(pipe),
            None => self.pipes.push(Some(pipe)),
        }
        self.of_run.insert(run, index);
        Ok(())
    }

    /// Reads pipes that have something, each once; tells whether there were any.
    pub fn read_some(&mut self, journal: &mut Journal) -> bool {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        let count = self.epoll.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
        for event in events.iter().take(count) {
            let Ok(index) = usize::try_from(event.data()) else { continue };
            if self.look(index, journal) == Look::Closed {
                self.close(index, journal);
            }
        }
        count > 0
    }

    /// Says that a run's first process has ended; gives the end of a check's output.
    ///
    /// What is in the pipe is read now, even when the log is full: it is all there will be. Only
    /// when far too much is waiting already does it stay in the pipe.
    pub fn finish(&mut self, run: RunId, journal: &mut Journal) -> Box<str> {
        let Some(index) = self.of_run.remove(&run) else { return Box::default() };
        // A check's result needs its output; lines that nobody reads are counted then.
        let must = run.kind == RunKind::Check || !journal.is_over_full();
        let last = if must { self.look_through(index, journal) } else { Look::Empty };
        let tail = self.pipes.get_mut(index).and_then(Option::as_mut);
        let tail = tail.map(|pipe| std::mem::take(&mut pipe.tail)).unwrap_or_default();
        if last == Look::Closed {
            self.close(index, journal);
        } else {
            self.linger(index, journal);
        }
        tail_text(&tail)
    }

    /// Reads what every pipe holds, for the very end.
    pub fn drain(&mut self, journal: &mut Journal) {
        for index in 0..self.pipes.len() {
            self.look_through(index, journal);
            self.close(index, journal);
        }
    }

    /// Reads what a pipe holds now.
    fn look_through(&mut self, index: usize, journal: &mut Journal) -> Look {
        let mut taken = 0;
        loop {
            match self.look(index, journal) {
                Look::Bytes(count) if taken < PIPE_DRAIN_BYTES_MAX => taken += count,
                last @ (Look::Bytes(_) | Look::Empty | Look::Closed) => return last,
            }
        }
    }

    /// Reads a pipe once.
    fn look(&mut self, index: usize, journal: &mut Journal) -> Look {
        let Some(Some(pipe)) = self.pipes.get_mut(index) else { return Look::Empty };
        let Some(fd) = &pipe.fd else { return Look::Closed };
        let count = loop {
            match nix::unistd::read(fd, &mut self.buffer) {
                Ok(0) => return Look::Closed,
                Ok(count) => break count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Look::Empty,
                // No pipe gives another error; if one does, there is nothing more to be had from
                // it.
                Err(_) => return Look::Closed,
            }
        };
        pipe.take(self.buffer.get(..count).unwrap_or_default(), journal);
        Look::Bytes(count)
    }

    /// Keeps a pipe that somebody else holds open, or that was not read; gives up the oldest of too
    /// many of one job.
    fn linger(&mut self, index: usize, journal: &mut Journal) {
        self.lingering.push(index);
        let key = |index: &usize| {
            self.pipes.get(*index)?.as_ref().map(|pipe| (pipe.run.job, pipe.run.kind))
        };
        let own = key(&index);
        let of_same: Vec<usize> =
            self.lingering.iter().copied().filter(|other| key(other) == own).collect();
        if of_same.len() > LINGERING_MAX
            && let Some(oldest) = of_same.first()
        {
            self.look_through(*oldest, journal);
            self.close(*oldest, journal);
        }
    }

    /// Closes a pipe; what was learnt from it stays until its run has ended.
    fn close(&mut self, index: usize, journal: &mut Journal) {
        let Some(place) = self.pipes.get_mut(index) else { return };
        let Some(pipe) = place else { return };
        // Closing the only descriptor takes it out of the epoll set as well.
        pipe.end(journal);
        if self.of_run.get(&pipe.run) != Some(&index) {
            *place = None;
            self.lingering.retain(|other| *other != index);
            self.vacant.push(index);
        }
    }
}

impl AsFd for Outputs {
    /// Gives what becomes readable when a pipe does.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Pipe {
    fn take(&mut self, bytes: &[u8], journal: &mut Journal) {
        if self.run.kind == RunKind::Check {
            keep_tail(&mut self.tail, bytes);
        }
        if self.destination.is_raw {
            journal.raw(bytes);
        } else {
            let mut emit = emitter(&self.destination, self.run.kind, journal);
            self.line.take(bytes, &mut emit);
        }
    }

    fn end(&mut self, journal: &mut Journal) {
        self.fd = None;
        let mut emit = emitter(&self.destination, self.run.kind, journal);
        self.line.end(&mut emit);
    }
}

fn emitter<'a>(
    destination: &'a Destination,
    kind: RunKind,
    journal: &'a mut Journal,
) -> impl FnMut(&[u8], Piece) + 'a {
    move |line, piece| {
        let fields = Fields {
            job: Some(&destination.job),
            is_check: kind == RunKind::Check,
            pid: Some(destination.pid),
            is_split: piece == Piece::Split,
        };
        journal.line(fields, line);
    }
}

impl Line {
    fn take(&mut self, bytes: &[u8], emit: &mut impl FnMut(&[u8], Piece)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            let (head, after) = rest.split_at(end);
            if self.0.is_empty() && head.len() <= LINE_BYTES_MAX {
                emit(without_return(head), Piece::Whole);
            } else {
                self.keep(head, emit);
                self.end(emit);
            }
            rest = after.get(1..).unwrap_or_default();
        }
        self.keep(rest, emit);
    }

    fn keep(&mut self, bytes: &[u8], emit: &mut impl FnMut(&[u8], Piece)) {
        let mut rest = bytes;
        while self.0.len() + rest.len() > LINE_BYTES_MAX {
            let (head, after) = rest.split_at(LINE_BYTES_MAX - self.0.len());
            self.0.extend_from_slice(head);
            let cut = character_boundary(&self.0);
            emit(self.0.get(..cut).unwrap_or_default(), Piece::Split);
            self.0.drain(..cut);
            rest = after;
        }
        self.0.extend_from_slice(rest);
    }

    fn end(&mut self, emit: &mut impl FnMut(&[u8], Piece)) {
        // Gives the memory back as well.
        let line = std::mem::take(&mut self.0);
        if !line.is_empty() {
            emit(without_return(&line), Piece::Whole);
        }
    }
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Gives where to cut so that no character is cut: at most three bytes before the end.
fn character_boundary(bytes: &[u8]) -> usize {
    let is_start = |byte: &u8| *byte & 0b1100_0000 != 0b1000_0000;
    let last = bytes.iter().rev().take(4).position(is_start);
    let Some(back) = last.map(|position| position + 1) else { return bytes.len() };
    let start = bytes.len().saturating_sub(back);
    let needed = match bytes.get(start) {
        Some(0b1100_0000..=0b1101_1111) => 2,
        Some(0b1110_0000..=0b1110_1111) => 3,
        Some(0b1111_0000..=0b1111_0111) => 4,
        _ => 1,
    };
    if back < needed && start > 0 { start } else { bytes.len() }
}

fn keep_tail(tail: &mut Vec<u8>, bytes: &[u8]) {
    tail.extend_from_slice(bytes);
    // Moved rarely: only when twice as much is there.
    if tail.len() > 2 * CHECK_OUTPUT_BYTES {
        tail.drain(..tail.len() - CHECK_OUTPUT_BYTES);
    }
}

fn tail_text(tail: &[u8]) -> Box<str> {
    let start = tail.len().saturating_sub(CHECK_OUTPUT_BYTES);
    let text = String::from_utf8_lossy(tail.get(start..).unwrap_or_default());
    // A replacement character is longer than the byte it replaces.
    let mut cut = text.len().saturating_sub(CHECK_OUTPUT_BYTES);
    while !text.is_char_boundary(cut) {
        cut += 1;
    }
    Box::from(text.get(cut..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(chunks: &[&[u8]]) -> Vec<(Vec<u8>, Piece)> {
        let mut line = Line::default();
        let mut found = Vec::new();
        let mut emit = |bytes: &[u8], piece| found.push((bytes.to_vec(), piece));
        for chunk in chunks {
            line.take(chunk, &mut emit);
        }
        line.end(&mut emit);
        found
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_arrive() {
        let text = b"one\r\n\ntwo\0\xff\rthree\nlast";
        let expected: Vec<(Vec<u8>, Piece)> = [&b"one"[..], b"", b"two\0\xff\rthree", b"last"]
            .map(|l| (l.to_vec(), Piece::Whole))
            .into();
        assert_eq!(lines(&[text]), expected);
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(lines(&bytes), expected);
        for at in 0..text.len() {
            let (head, tail) = text.split_at(at);
            assert_eq!(lines(&[head, tail]), expected);
        }
    }

    #[test]
    fn long_line_is_split_between_characters_and_loses_nothing() {
        let text = "é".repeat(200_000) + "\nnext\n";
        let found = lines(&text.as_bytes().chunks(65_536).collect::<Vec<_>>());
        let (last, pieces) = found.split_last().unwrap();
        assert_eq!(last, &(b"next".to_vec(), Piece::Whole));
        let joined: Vec<u8> = pieces.iter().flat_map(|(bytes, _)| bytes.clone()).collect();
        assert_eq!(String::from_utf8(joined).unwrap(), "é".repeat(200_000));
        let (end, splits) = pieces.split_last().unwrap();
        assert_eq!(end.1, Piece::Whole);
        assert!(splits.iter().all(|(bytes, piece)| {
            *piece == Piece::Split
                && bytes.len() > LINE_BYTES_MAX - 4
                && std::str::from_utf8(bytes).is_ok()
        }));
    }

    #[test]
    fn line_of_just_the_limit_is_whole() {
        let text = [vec![b'x'; LINE_BYTES_MAX], vec![b'\n']].concat();
        let found = lines(&[&text]);
        assert_eq!(found, [(vec![b'x'; LINE_BYTES_MAX], Piece::Whole)]);
        assert_eq!(lines(&text.chunks(1000).collect::<Vec<_>>()), found);
    }

    #[test]
    fn bytes_that_are_no_text_are_split_as_well() {
        let found = lines(&[&vec![0x80; LINE_BYTES_MAX + 1]]);
        assert_eq!(found.first().unwrap().0.len(), LINE_BYTES_MAX);
        assert_eq!(found.len(), 2);
    }

    #[test]
    fn tail_of_a_check_is_its_last_bytes_as_text() {
        let mut tail = Vec::new();
        for number in 0..10_000 {
            keep_tail(&mut tail, format!("{number}\n").as_bytes());
        }
        let text = tail_text(&tail);
        assert!(text.ends_with("9998\n9999\n"));
        assert!(text.len() <= CHECK_OUTPUT_BYTES);
        assert!(tail_text(&[0xff; 5000]).len() <= CHECK_OUTPUT_BYTES);
    }
}
