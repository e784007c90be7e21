//! The output of jobs: from their pipes to lines.
//!
//! One pipe a run, for both its streams, so that their order is kept. Nothing here waits: a pipe that
//! is not read, because whoever reads the log has stalled, holds up the job that fills it and nobody
//! else. That a process has ended never depends on its pipe: another process may keep it open.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

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
    fd: OwnedFd,
    run: RunId,
    destination: Destination,
    line: Line,
    /// The end of a check's output.
    tail: Vec<u8>,
}

/// A line that has begun.
#[derive(Debug, Default)]
struct Line {
    partial: Vec<u8>,
    /// Whether a piece of this line was written already.
    is_split: bool,
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
        let pipe = Pipe { fd, run, destination, line: Line::default(), tail: Vec::new() };
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
    /// What is in the pipe is read now, unless the log is full: then it waits in the pipe.
    pub fn finish(&mut self, run: RunId, journal: &mut Journal) -> Box<str> {
        let Some(index) = self.of_run.remove(&run) else { return Box::default() };
        let mut taken = 0;
        let mut last = Look::Empty;
        while taken < PIPE_DRAIN_BYTES_MAX && (run.kind == RunKind::Check || !journal.is_full()) {
            last = self.look(index, journal);
            match last {
                Look::Bytes(count) => taken += count,
                Look::Empty | Look::Closed => break,
            }
        }
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
            let mut taken = 0;
            while let Look::Bytes(count) = self.look(index, journal)
                && taken < PIPE_DRAIN_BYTES_MAX
            {
                taken += count;
            }
            self.close(index, journal);
        }
    }

    /// Reads a pipe once.
    fn look(&mut self, index: usize, journal: &mut Journal) -> Look {
        let Some(Some(pipe)) = self.pipes.get_mut(index) else { return Look::Empty };
        let count = loop {
            match nix::unistd::read(&pipe.fd, &mut self.buffer) {
                Ok(0) => return Look::Closed,
                Ok(count) => break count,
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Look::Empty,
                // No pipe gives another error; if one does, there is nothing more to be had from it.
                Err(_) => return Look::Closed,
            }
        };
        pipe.take(self.buffer.get(..count).unwrap_or_default(), journal);
        Look::Bytes(count)
    }

    /// Keeps a pipe that somebody else holds open, and gives up the oldest of too many of one job.
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
            self.close(*oldest, journal);
        }
    }

    fn close(&mut self, index: usize, journal: &mut Journal) {
        let Some(pipe) = self.pipes.get_mut(index).and_then(Option::take) else { return };
        // Closing the only descriptor takes it out of the epoll set as well.
        pipe.end(journal);
        if self.of_run.get(&pipe.run) == Some(&index) {
            // The process closed its streams and runs on: its check's output must not be lost.
            self.pipes.get_mut(index).into_iter().for_each(|place| *place = None);
        }
        self.lingering.retain(|other| *other != index);
        self.vacant.push(index);
    }
}
