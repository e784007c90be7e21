//! How processes behave: data that a test, a scenario file or a generator writes.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steersman_engine::config::{Name, Signal};
use steersman_engine::input::ExitStatus;
use steersman_engine::{RunKind, Time};

use crate::agenda::NodeId;
use crate::random::Random;

/// How one process behaves from its start to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Script {
    /// From the wish to the running process, or to the failure.
    pub start: Start,
    /// How it ends when nobody interferes.
    pub life: Life,
    /// What it does about a signal that asks it to end.
    pub asked: Reaction,
    /// From SIGKILL to its end; none is for ever (a process in uninterruptible sleep).
    pub killed_after: Option<Duration>,
    /// What it leaves behind in its group.
    pub leaves: Option<Child>,
    /// The end of its output.
    pub output: Arc<str>,
    /// The program whose steps it does, until its life ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Arc<str>>,
    /// How long the steps take whose time is drawn.
    #[serde(default, skip_serializing_if = "Draws::is_shortest")]
    pub draws: Draws,
}

/// How long the steps of a program take whose time is drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Draws {
    /// As short as they may be.
    #[default]
    Shortest,
    /// As drawn from a seed of their own.
    Seeded(u64),
    /// As listed, by number, and as short as they may be otherwise.
    Listed(BTreeMap<u32, Duration>),
}

impl Draws {
    /// Tells whether every step is as short as it may be.
    pub fn is_shortest(&self) -> bool {
        *self == Draws::Shortest
    }
}

/// How a start goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Start {
    /// It runs after so long.
    After(Duration),
    /// It fails after so long.
    Fails {
        /// How long that takes.
        after: Duration,
        /// Why.
        reason: Arc<str>,
    },
    /// No answer ever comes.
    Hangs,
}

/// How a process ends when nobody interferes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Life {
    /// Not at all.
    Endless,
    /// After so long, in this way.
    Ends {
        /// How long it runs.
        after: Duration,
        /// How it ends.
        status: ExitStatus,
    },
}

/// What a process does about a signal that asks it to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reaction {
    /// It ends, by the signal, at once.
    Dies,
    /// It ends in its own way.
    Ends {
        /// How long that takes.
        after: Duration,
        /// How it ends.
        status: ExitStatus,
    },
    /// It goes on.
    Ignores,
}

/// A process left behind in a run's group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Child {
    /// How long it lives after the first process has ended; none is for ever.
    pub lasts: Option<Duration>,
    /// Whether a polite signal ends it.
    pub polite: bool,
}

impl Script {
    /// Lets its program, if it does one, draw its times.
    #[must_use]
    pub(crate) fn drawing(mut self, random: Random) -> Script {
        if self.program.is_some() {
            self.draws = Draws::Seeded(random.draw());
        }
        self
    }

    /// A process that starts in a millisecond, runs for ever and dies of the first signal.
    pub fn endless() -> Script {
        Script {
            start: Start::After(Duration::from_millis(1)),
            life: Life::Endless,
            asked: Reaction::Dies,
            killed_after: Some(Duration::from_millis(1)),
            leaves: None,
            output: Arc::from(""),
            program: None,
            draws: Draws::Shortest,
        }
    }

    /// A process that runs for `after` and ends with a status.
    pub fn ends(after: Duration, code: u8) -> Script {
        let status = ExitStatus::Code(code);
        Script { life: Life::Ends { after, status }, ..Script::endless() }
    }

    /// A process that runs for `after` and is ended by a signal from elsewhere.
    pub fn crashes(after: Duration, signal: u8) -> Script {
        let status = ExitStatus::Signal(signal);
        Script { life: Life::Ends { after, status }, ..Script::endless() }
    }

    /// A process that cannot be started.
    pub fn fails_to_start(reason: &str) -> Script {
        let after = Duration::from_millis(1);
        Script { start: Start::Fails { after, reason: Arc::from(reason) }, ..Script::endless() }
    }

    /// Takes so long to start.
    pub fn starts_after(self, after: Duration) -> Script {
        Script { start: Start::After(after), ..self }
    }

    /// Ends so long after it was asked to, with a status.
    pub fn stops(self, after: Duration, code: u8) -> Script {
        Script { asked: Reaction::Ends { after, status: ExitStatus::Code(code) }, ..self }
    }

    /// Goes on when it is asked to end.
    pub fn ignores_stop(self) -> Script {
        Script { asked: Reaction::Ignores, ..self }
    }

    /// Goes on even when it is killed.
    pub fn unkillable(self) -> Script {
        Script { asked: Reaction::Ignores, killed_after: None, ..self }
    }

    /// Leaves a child behind.
    pub fn leaves(self, lasts: Option<Duration>, polite: bool) -> Script {
        Script { leaves: Some(Child { lasts, polite }), ..self }
    }

    /// Says something before it ends.
    pub fn says(self, output: &str) -> Script {
        Script { output: Arc::from(output), ..self }
    }

    /// What the process does about a signal: how it ends and how long that takes, if at all.
    pub fn reaction(&self, signal: Signal) -> Option<(Duration, ExitStatus)> {
        if signal == Signal::KILL {
            return self.killed_after.map(|after| (after, ExitStatus::Signal(signal.0)));
        }
        match self.asked {
            Reaction::Dies => Some((Duration::ZERO, ExitStatus::Signal(signal.0))),
            Reaction::Ends { after, status } => Some((after, status)),
            Reaction::Ignores => None,
        }
    }
}

/// How the successive processes of one job, or of its check, behave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    by_nth: BTreeMap<u32, Arc<Script>>,
    /// In order of time.
    by_time: Vec<(Time, Arc<Script>)>,
}

impl Behaviour {
    /// Sets how processes asked for from an instant on behave.
    pub fn set_from(&mut self, at: Time, script: Script) {
        let place = self.by_time.partition_point(|(from, _)| *from < at);
        self.by_time.retain(|(from, _)| *from != at);
        self.by_time.insert(place, (at, Arc::new(script)));
    }

    /// Sets how the n-th process behaves, counted from 1.
    pub fn set_nth(&mut self, nth: u32, script: Script) {
        self.by_nth.insert(nth, Arc::new(script));
    }

    /// Picks the script of a process.
    pub fn script(&self, at: Time, nth: u32) -> Option<&Arc<Script>> {
        let by_time = || self.by_time.iter().rfind(|(from, _)| *from <= at);
        self.by_nth.get(&nth).or_else(|| by_time().map(|(_, script)| script))
    }
}

/// Whose process: the node, the job, and whether it is the job itself or its check.
pub type Role = (NodeId, Name, RunKind);

/// Gives every process its part that the playbook leaves open.
pub trait Director: fmt::Debug + Send + Sync {
    /// Writes the script of the n-th process of a role, asked for at an instant; the same every
    /// time.
    fn script(&self, role: &Role, at: Time, nth: u32) -> Script;
}

/// How everything behaves, by node, job and kind.
#[derive(Clone, Debug)]
pub struct Playbook {
    behaviours: Vec<Behaviour>,
    /// Where the behaviour of each role is; a place never changes.
    places: BTreeMap<Role, usize>,
    director: Option<Arc<dyn Director>>,
    serves: Arc<Script>,
    passes: Arc<Script>,
}

/// Where a role's behaviour was found, to find it again without comparing names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memo {
    job: Option<Name>,
    /// How many behaviours there were.
    count: usize,
    place: Option<usize>,
}

impl Default for Playbook {
    fn default() -> Playbook {
        Playbook {
            behaviours: Vec::new(),
            places: BTreeMap::new(),
            director: None,
            serves: Arc::new(Script::endless()),
            passes: Arc::new(Script::ends(Duration::from_millis(10), 0)),
        }
    }
}

impl Playbook {
    /// Gives the behaviour of a job or check, to be changed.
    pub fn behaviour(&mut self, node: NodeId, job: &str, kind: RunKind) -> &mut Behaviour {
        let count = self.behaviours.len();
        let place = *self.places.entry((node, Name::from(job), kind)).or_insert(count);
        if place == count {
            self.behaviours.push(Behaviour::default());
        }
        &mut self.behaviours[place]
    }

    /// Lets somebody decide what the playbook leaves open.
    pub fn set_director(&mut self, director: Arc<dyn Director>) {
        self.director = Some(director);
    }

    /// Picks the script of a process; a job runs for ever and a check passes by default.
    pub(crate) fn part(&self, memo: &mut Memo, role: &Role, at: Time, nth: u32) -> Arc<Script> {
        let count = self.behaviours.len();
        let is_known = memo.job.as_ref().is_some_and(|job| Arc::ptr_eq(job, &role.1));
        if !is_known || memo.count != count {
            let place = if count == 0 { None } else { self.places.get(role).copied() };
            *memo = Memo { job: Some(role.1.clone()), count, place };
        }
        let behaviour = memo.place.and_then(|place| self.behaviours.get(place));
        if let Some(script) = behaviour.and_then(|behaviour| behaviour.script(at, nth)) {
            return script.clone();
        }
        match (&self.director, role.2) {
            (Some(director), _) => Arc::new(director.script(role, at, nth)),
            (None, RunKind::Main) => self.serves.clone(),
            (None, RunKind::Check) => self.passes.clone(),
        }
    }
}
