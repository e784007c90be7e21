//! A run as a story: lanes, what happened on them, and why; for the page and for the terminal.

mod fold;
mod plain;
mod sentences;
mod teller;

use std::sync::Arc;

use steersman_engine::Time;

pub use plain::{to_terminal, to_text};
pub use teller::{Teller, tell_plan, tell_recording};

/// A run, ready to be shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Story {
    /// What it is about.
    pub title: String,
    /// Facts about the run, each a name and a text.
    pub facts: Vec<(String, String)>,
    /// What was broken, if anything.
    pub verdict: Option<Verdict>,
    /// When the last thing happened.
    pub end: Time,
    /// The lanes, from top to bottom.
    pub lanes: Vec<Lane>,
    /// What happened, in order.
    pub marks: Vec<Mark>,
    /// What went on for a while.
    pub stretches: Vec<Stretch>,
    /// What is not shown, and why.
    pub notes: Vec<String>,
}

impl Story {
    /// Takes away the lanes of databases that a node has nothing of.
    pub(crate) fn drop_bare_lanes(&mut self) {
        let mut is_bare: Vec<bool> =
            self.lanes.iter().map(|lane| lane.kind == LaneKind::Database).collect();
        let used = self.marks.iter().map(|mark| mark.lane);
        for lane in used.chain(self.stretches.iter().map(|stretch| stretch.lane)) {
            is_bare[lane] = false;
        }
        let before = |lane: usize| is_bare[..lane].iter().filter(|is_bare| **is_bare).count();
        self.marks.iter_mut().for_each(|mark| mark.lane -= before(mark.lane));
        self.stretches.iter_mut().for_each(|stretch| stretch.lane -= before(stretch.lane));
        let mut lane = 0;
        self.lanes.retain(|_| {
            lane += 1;
            !is_bare[lane - 1]
        });
    }
}

/// What was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// The property.
    pub property: String,
    /// What happened.
    pub what: String,
    /// When.
    pub at: Time,
}

/// One lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Its name.
    pub name: String,
    /// What it is the life of.
    pub kind: LaneKind,
    /// The node it belongs to.
    pub node: Arc<str>,
}

/// What a lane is the life of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LaneKind {
    /// A supervisor.
    Node,
    /// A job.
    Job,
    /// A watch.
    Watch,
    /// A service in the catalog.
    Service,
    /// A lock.
    Lock,
    /// A link of the network.
    Link,
    /// The server of a database.
    Database,
}

impl LaneKind {
    /// Gives its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            LaneKind::Node => "node",
            LaneKind::Job => "job",
            LaneKind::Watch => "watch",
            LaneKind::Service => "service",
            LaneKind::Lock => "lock",
            LaneKind::Link => "link",
            LaneKind::Database => "database",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// When.
    pub at: Time,
    /// On which lane.
    pub lane: usize,
    /// What kind of thing.
    pub kind: MarkKind,
    /// What happened, in a few words.
    pub what: String,
    /// Why, in a sentence.
    pub why: String,
    /// The mark that caused it.
    pub cause: Option<usize>,
}

/// What kind of thing a mark stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MarkKind {
    /// A process is asked for.
    Start,
    /// Something ended or went well.
    Good,
    /// Something ended or went badly.
    Bad,
    /// A process is asked to end.
    Signal,
    /// A process is killed.
    Kill,
    /// The supervisor says something.
    Event,
    /// Somebody outside did something.
    Outside,
    /// The property is broken.
    Breach,
}

impl MarkKind {
    /// Every kind.
    pub const ALL: &'static [MarkKind] = &[
        MarkKind::Start,
        MarkKind::Good,
        MarkKind::Bad,
        MarkKind::Signal,
        MarkKind::Kill,
        MarkKind::Event,
        MarkKind::Outside,
        MarkKind::Breach,
    ];

    /// Says what it is, for the legend.
    pub const fn as_str(self) -> &'static str {
        match self {
            MarkKind::Start => "starts",
            MarkKind::Good => "went well",
            MarkKind::Bad => "went badly",
            MarkKind::Signal => "asked to end",
            MarkKind::Kill => "killed",
            MarkKind::Event => "event",
            MarkKind::Outside => "from outside",
            MarkKind::Breach => "broken",
        }
    }

    /// Gives the letter that stands for it in plain text.
    pub const fn letter(self) -> char {
        match self {
            MarkKind::Start => '>',
            MarkKind::Good => '+',
            MarkKind::Bad => 'x',
            MarkKind::Signal => '!',
            MarkKind::Kill => '#',
            MarkKind::Event => '*',
            MarkKind::Outside => '@',
            MarkKind::Breach => '?',
        }
    }
}

/// Something that went on for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// From when.
    pub from: Time,
    /// Until when; none goes on to the end.
    pub to: Option<Time>,
    /// On which lane.
    pub lane: usize,
    /// What it is.
    pub tone: Tone,
    /// What is said about it.
    pub what: String,
}

/// What a stretch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// A process is starting.
    Starting,
    /// It runs; nothing is known of its health.
    Running,
    /// It runs and its checks pass.
    Healthy,
    /// It runs and its checks fail.
    Unhealthy,
    /// It is being stopped.
    Stopping,
    /// The process has ended; something it left behind runs.
    LeftBehind,
    /// It waits to be started again.
    Waiting,
    /// Something in the surroundings is not as it should be.
    Fault,
    /// A lock is held, or a service is in the catalog.
    Held,
    /// A lock is about to be lost.
    Jeopardy,
}

impl Tone {
    /// Every tone.
    pub const ALL: &'static [Tone] = &[
        Tone::Starting,
        Tone::Running,
        Tone::Healthy,
        Tone::Unhealthy,
        Tone::Stopping,
        Tone::LeftBehind,
        Tone::Waiting,
        Tone::Fault,
        Tone::Held,
        Tone::Jeopardy,
    ];

    /// Says what it is, for the legend.
    pub const fn as_str(self) -> &'static str {
        match self {
            Tone::Starting => "starting",
            Tone::Running => "running",
            Tone::Healthy => "healthy",
            Tone::Unhealthy => "unhealthy",
            Tone::Stopping => "stopping",
            Tone::LeftBehind => "left behind",
            Tone::Waiting => "waiting to restart",
            Tone::Fault => "fault",
            Tone::Held => "held",
            Tone::Jeopardy => "in jeopardy",
        }
    }
}

/// Shows an instant in seconds; marks are numbered, so that nothing finer is needed for order.
pub fn seconds(at: Time) -> String {
    let millis = at.0 / 1_000_000;
    format!("{}.{:03} s", millis / 1000, millis % 1000)
}
