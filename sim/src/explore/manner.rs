//! How the processes of a job behave: ranges and weights to draw from, and the ordinary case.

use core::time::Duration;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steersman_engine::config::{Config, Job, Name, Restarts, SourceName, Trigger};
use steersman_engine::event::Code;
use steersman_engine::input::ExitStatus;
use steersman_engine::{RunKind, Time};

use crate::explore::plan::NodeSpec;
use crate::random::Random;
use crate::script::{Child, Life, Reaction, Script, Start};

/// A range of durations, both ends included; the ordinary case is the shortest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The shortest.
    pub from: Duration,
    /// The longest.
    pub to: Duration,
}

impl Span {
    /// Builds a range of one duration.
    pub const fn exactly(duration: Duration) -> Span {
        Span { from: duration, to: duration }
    }

    /// Builds a range from milliseconds.
    pub const fn millis(from: u64, to: u64) -> Span {
        Span { from: Duration::from_millis(from), to: Duration::from_millis(to) }
    }

    /// Draws a duration: short and long ones alike, not mostly long ones.
    pub fn draw(self, random: Random) -> Duration {
        let (from, to) = (micros(self.from), micros(self.to));
        if to <= from {
            return self.from;
        }
        let (low, high) = (bits(from.max(1)), bits(to));
        let scale = random.stream("scale").between(low, high);
        let from = from.max(1_u64.checked_shl(scale as u32 - 1).unwrap_or(u64::MAX)).min(to);
        let to = to.min(1_u64.checked_shl(scale as u32).unwrap_or(u64::MAX)).max(from);
        Duration::from_micros(random.stream("value").between(from, to))
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn bits(value: u64) -> u64 {
    u64::from(u64::BITS - value.leading_zeros())
}

/// One way to end, or not to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Way {
    /// Runs for ever.
    Endless,
    /// Ends by itself.
    Ends {
        /// After so long.
        after: Span,
        /// In this way.
        status: ExitStatus,
    },
}

/// One way to take a signal that asks for the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Answer {
    /// Dies at once.
    Dies,
    /// Ends in its own way.
    Ends {
        /// After so long.
        after: Span,
        /// In this way.
        status: ExitStatus,
    },
    /// Goes on.
    Ignores,
}

/// How the processes of one job, or its checks, behave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manner {
    /// From the wish to the running process.
    pub start: Span,
    /// How many starts in a million fail.
    pub start_fails_ppm: u32,
    /// How they end, with weights; the first is the ordinary way.
    pub ways: Vec<(u32, Way)>,
    /// How they take a stop, with weights; the first is the ordinary way.
    pub answers: Vec<(u32, Answer)>,
    /// How many in a million leave a child behind, and which.
    pub leaves: (u32, Child),
    /// The end of their output.
    pub output: Arc<str>,
    /// The program whose steps they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Arc<str>>,
    /// From when until when processes that are asked for end in another way, whoever asks.
    #[serde(default)]
    pub spells: Vec<(Time, Time, Way)>,
}

impl Manner {
    /// A process that runs until it is stopped.
    pub fn serving() -> Manner {
        Manner {
            start: Span::millis(1, 1),
            start_fails_ppm: 0,
            ways: vec![(1, Way::Endless)],
            answers: vec![(1, Answer::Dies)],
            leaves: (0, Child { lasts: None, polite: true }),
            output: Arc::from(""),
            program: None,
            spells: Vec::new(),
        }
    }

    /// Gives the manner at an instant: a spell replaces every other way to end.
    #[must_use]
    pub fn at(&self, at: Time) -> Cow<'_, Manner> {
        match self.spells.iter().find(|(from, to, _)| at >= *from && at < *to) {
            Some((_, _, way)) => Cow::Owned(Manner { ways: vec![(1, *way)], ..self.clone() }),
            None => Cow::Borrowed(self),
        }
    }

    /// A process that does its work and ends well.
    pub fn working(after: Span) -> Manner {
        let way = Way::Ends { after, status: ExitStatus::Code(0) };
        Manner { ways: vec![(1, way)], ..Manner::serving() }
    }

    /// Gives the ordinary case.
    pub fn ordinary(&self) -> Script {
        let life = match self.ways.first() {
            Some((_, Way::Ends { after, status })) => {
                Life::Ends { after: after.from, status: *status }
            }
            Some((_, Way::Endless)) | None => Life::Endless,
        };
        let asked = match self.answers.first() {
            Some((_, Answer::Ends { after, status })) => {
                Reaction::Ends { after: after.from, status: *status }
            }
            Some((_, Answer::Ignores)) => Reaction::Ignores,
            Some((_, Answer::Dies)) | None => Reaction::Dies,
        };
        let start = Start::After(self.start.from);
        let (output, program) = (self.output.clone(), self.program.clone());
        Script { start, life, asked, output, program, ..Script::endless() }
    }

    /// Draws the script of one process.
    pub fn draw(&self, random: Random) -> Script {
        let after = self.start.draw(random.stream("start"));
        let start = match random.stream("fails").happens(self.start_fails_ppm) {
            true => Start::Fails { after, reason: Arc::from("no such file or directory") },
            false => Start::After(after),
        };
        let life = match weighed(&self.ways, random.stream("way")) {
            Some(Way::Ends { after, status }) => {
                Life::Ends { after: after.draw(random.stream("life")), status }
            }
            Some(Way::Endless) | None => Life::Endless,
        };
        let asked = match weighed(&self.answers, random.stream("answer")) {
            Some(Answer::Ends { after, status }) => {
                Reaction::Ends { after: after.draw(random.stream("stop")), status }
            }
            Some(Answer::Ignores) => Reaction::Ignores,
            Some(Answer::Dies) | None => Reaction::Dies,
        };
        let (ppm, child) = self.leaves;
        let leaves = random.stream("leaves").happens(ppm).then_some(child);
        let (output, program) = (self.output.clone(), self.program.clone());
        let script = Script { start, life, asked, leaves, output, program, ..Script::endless() };
        script.drawing(random.stream("draws"))
    }
}

fn weighed<T: Copy>(choices: &[(u32, T)], random: Random) -> Option<T> {
    let total: u64 = choices.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let mut point = random.below(total);
    for (weight, choice) in choices {
        match point.checked_sub(u64::from(*weight)) {
            Some(rest) => point = rest,
            None => return Some(*choice),
        }
    }
    None
}

/// Whose manner: by names, so that it survives nodes and jobs being taken away.
pub type RoleName = (Arc<str>, Name, RunKind);

/// How everything behaves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Manners {
    /// Shared by all runs of a search.
    #[serde(with = "pairs")]
    roles: Arc<BTreeMap<RoleName, Manner>>,
}

impl Manners {
    /// Guesses how the jobs of some nodes behave from what their configurations expect of them.
    pub fn of(nodes: &[NodeSpec]) -> Manners {
        let mut roles = BTreeMap::new();
        for node in nodes {
            for job in node.jobs() {
                let main = (node.name.clone(), job.name.clone(), RunKind::Main);
                roles.insert(main, guess(job, &node.config));
                let check = (node.name.clone(), job.name.clone(), RunKind::Check);
                roles.insert(check, Manner::working(Span::millis(10, 10)));
            }
        }
        Manners { roles: Arc::new(roles) }
    }

    /// Gives the manner of a role.
    pub fn find(&self, role: &RoleName) -> Option<&Manner> {
        self.roles.get(role)
    }

    /// Sets the manner of a role.
    pub fn set(&mut self, role: RoleName, manner: Manner) {
        Arc::make_mut(&mut self.roles).insert(role, manner);
    }

    /// Gives the programs that processes do; repeated ones come again.
    pub fn programs(&self) -> impl Iterator<Item = &Arc<str>> {
        self.roles.values().filter_map(|manner| manner.program.as_ref())
    }

    /// Gives every role with its manner, to be changed.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&RoleName, &mut Manner)> {
        Arc::make_mut(&mut self.roles).iter_mut()
    }

    /// Gives the ordinary script of a role for a process that is asked for at an instant.
    pub fn ordinary(&self, role: &RoleName, at: Time) -> Script {
        match (self.roles.get(role), role.2) {
            (Some(manner), _) => manner.at(at).ordinary(),
            (None, RunKind::Main) => Script::endless(),
            (None, RunKind::Check) => Script::ends(Duration::from_millis(10), 0),
        }
    }
}

/// How long an ordinary piece of work takes.
const WORK: Span = Span::millis(100, 100);

/// Work that others wait for, that repeats or that reacts ends; everything else serves.
fn guess(job: &Job, config: &Config) -> Manner {
    let is_awaited = config.jobs.iter().any(|other| awaits_end(&other.trigger, &job.name));
    let is_reaction = match &job.trigger {
        Trigger::Startup => false,
        Trigger::On(clause) => clause.code != Code::Healthy && clause.code != Code::Startup,
        Trigger::All(_) => false,
        Trigger::Any(_) | Trigger::Interval(_) | Trigger::Schedule(_) => true,
    };
    let serves = job.health.is_some()
        || job.service.is_some()
        || job.while_lock.is_some()
        || job.restarts == Restarts::Unlimited && !matches!(job.trigger, Trigger::Interval(_));
    let is_after_work = matches!(&job.trigger, Trigger::On(clause)
        if clause.code == Code::ExitSuccess);
    match (serves, is_awaited || is_reaction && !is_after_work || job.timeout.is_some()) {
        (true, _) | (false, false) => Manner::serving(),
        (false, true) => Manner::working(WORK),
    }
}

fn awaits_end(trigger: &Trigger, job: &Name) -> bool {
    let awaits = |clause: &steersman_engine::config::Clause| {
        let is_end = matches!(clause.code, Code::ExitSuccess | Code::ExitFailed);
        is_end && clause.source == SourceName::Job(job.clone())
    };
    match trigger {
        Trigger::On(clause) => awaits(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses.iter().any(awaits),
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
    }
}

/// Maps whose keys are no text, as lists of pairs.
mod pairs {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Manner, RoleName};

    pub(super) fn serialize<S: Serializer>(
        map: &BTreeMap<RoleName, Manner>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        map.iter().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<BTreeMap<RoleName, Manner>>, D::Error> {
        Ok(Arc::new(Vec::deserialize(deserializer)?.into_iter().collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawn_durations_stay_in_their_range_and_reach_every_scale() {
        let span = Span::millis(1, 60_000);
        let drawn: Vec<_> = (0..2000).map(|seed| span.draw(Random::new(seed))).collect();
        assert!(drawn.iter().all(|value| *value >= span.from && *value <= span.to));
        assert!(drawn.iter().filter(|value| **value < Duration::from_millis(100)).count() > 200);
        assert!(drawn.iter().filter(|value| **value > Duration::from_secs(10)).count() > 50);
    }
}
