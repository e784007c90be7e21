//! What happens to programs, databases and clients, by name.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::RunId;

use crate::agenda::NodeId;
use crate::random::mix;

/// What happens to programs, databases and clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cue {
    /// A program goes on.
    Step(RunId),
    /// A request reaches whom it is for.
    Reaches(CallId),
    /// An answer reaches the program.
    Answer(CallId),
    /// A request has waited long enough.
    Expires(CallId),
    /// A server of a database answers from now on.
    Booted(u8, RunId),
    /// A server of a database gets what its source has.
    Stream(u8),
    /// A client writes.
    Client(u16),
    /// A write of a client reaches its server.
    Write(u16),
    /// An acknowledgement reaches its client.
    Acknowledge(u16),
    /// The last backup of a database becomes too old.
    BackupAges(u8),
}

/// A request of a program, named by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId {
    /// Whose.
    pub node: NodeId,
    /// In which life of the container.
    pub life: u32,
    /// Of which process.
    pub run: RunId,
    /// The how manieth.
    pub nth: u32,
}

impl CallId {
    pub(crate) fn pack(self) -> u64 {
        let life = u64::from(self.life);
        mix(mix(u64::from(self.node.0) << 32 | life) ^ self.run.pack()) ^ u64::from(self.nth)
    }
}

impl Cue {
    pub(crate) fn pack(self) -> u64 {
        let (kind, rest) = match self {
            Cue::Step(run) => (1, run.pack()),
            Cue::Reaches(id) => (2, id.pack()),
            Cue::Answer(id) => (3, id.pack()),
            Cue::Expires(id) => (4, id.pack()),
            Cue::Booted(nth, run) => (5, run.pack() ^ u64::from(nth)),
            Cue::Stream(nth) => (6, u64::from(nth)),
            Cue::Client(nth) => (7, u64::from(nth)),
            Cue::Write(nth) => (8, u64::from(nth)),
            Cue::Acknowledge(nth) => (9, u64::from(nth)),
            Cue::BackupAges(nth) => (10, u64::from(nth)),
        };
        mix(kind) ^ rest
    }
}

/// What a program tells the reader of a story.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// What it says.
    Said(Arc<str>),
    /// A time that was drawn, as the how manieth.
    Drawn(u32, Duration),
    /// Why it ended.
    Ended(Arc<str>),
}
