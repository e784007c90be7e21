//! The state of a course as a hash: what decides its future and its verdicts, and nothing else.

use steersman_engine::canonical::ahead;
use steersman_engine::config::{Clause, Config, Job, SourceName, Trigger};
use steersman_engine::consul::Owner;
use steersman_engine::{JobId, RunId, RunKind, Time};

use super::{Course, Stage};
use crate::agenda::{Happening, NodeId};
use crate::node::{Group, Process, State};
use crate::property::expression::fits;
use crate::random::mix;

impl Course {
    pub(super) fn canonical(&self) -> u64 {
        let now = self.now();
        let mut hash = mix(self.judge.canonical(now) ^ u64::from(self.faults_left) << 48);
        hash = mix(hash ^ self.scripted_done as u64);
        if let Some(patience) = self.judge.patience() {
            let since = now.since(self.calm_from).min(patience);
            hash = mix(hash ^ steersman_engine::canonical::coarse(nanos(since)));
        }
        let mut words = Vec::new();
        for (id, _) in self.world.nodes() {
            hash = mix(hash ^ self.node_word(id, now, &mut words));
        }
        hash
    }

    fn node_word(&self, id: NodeId, now: Time, words: &mut Vec<u64>) -> u64 {
        let node = self.world.node(id);
        let mono = node.clock.stamp(now).mono;
        let jobs = &self.stage.setting.nodes[id.index()].config.jobs;
        let mut rest = node.engine.canonical(words);
        rest = mix(rest ^ self.world.observer().canonical(id, mono, now, words));
        rest = mix(rest ^ self.judge.canonical_of(id.index(), now, jobs, words));
        for (run, process) in node.processes.iter() {
            let word = self.process_word(id, run, process, now);
            put(words, run.job, word);
        }
        let agenda = self.agenda_word(id, now, words);
        let outside = u64::from(node.paused.is_some())
            | u64::from(node.frozen.is_some()) << 1
            | u64::from(node.is_wanted) << 2
            | u64::from(node.lives) << 8
            | node.exit.map_or(0, |(_, status)| 1 + u64::from(status)) << 40;
        rest = mix(rest ^ agenda);
        rest = mix(rest ^ outside);
        let classes = &self.classes[id.index()];
        let sum = words.iter().enumerate().fold(0_u64, |sum, (nth, word)| {
            let class = classes.get(nth).copied().unwrap_or(nth as u64);
            sum.wrapping_add(mix(*word ^ mix(class)))
        });
        mix(rest ^ sum)
    }

    /// Puts what has a fixed time into the words of the jobs, and gives the rest.
    fn agenda_word(&self, id: NodeId, now: Time, words: &mut [u64]) -> u64 {
        let mut agenda = 0_u64;
        for (at, owner, what) in self.world.agenda() {
            if owner != id {
                continue;
            }
            let when = ahead(at, now);
            match what {
                // The engine's own timers are in its own hash, processes are above.
                Happening::Wakeup
                | Happening::Guard
                | Happening::Started(_)
                | Happening::StartFailed(_)
                | Happening::Ended(_)
                | Happening::TreeGone(_) => {}
                Happening::Reaches(op) | Happening::Answer(op) | Happening::Expires(op) => {
                    let kind = match what {
                        Happening::Reaches(_) => 1,
                        Happening::Answer(_) => 2,
                        _ => 3,
                    };
                    match op.owner {
                        Owner::Job(job) => put(words, job, 0x0c00 | kind | when << 16),
                        Owner::Watch(watch) => {
                            agenda = agenda.wrapping_add(
                                mix(kind | when << 16 | 1 << 60) ^ u64::from(watch.0),
                            );
                        }
                        Owner::Lock(lock) | Owner::Session(lock) => {
                            agenda = agenda
                                .wrapping_add(mix(kind | when << 16 | 2 << 60) ^ u64::from(lock.0));
                        }
                    }
                }
                Happening::Begin
                | Happening::Loaded(_)
                | Happening::Birth
                | Happening::GraceOver
                | Happening::Stage(_)
                | Happening::Catalog => {
                    agenda = agenda.wrapping_add(mix(when | kind_of(what) << 56));
                }
            }
        }
        agenda
    }

    fn process_word(&self, id: NodeId, run: RunId, process: &Process, now: Time) -> u64 {
        let (what, state) = match process.state {
            State::Starting => (Happening::Started(run), 1),
            State::Running { end, group } => {
                let status = end.map_or(0, |(_, status)| match status {
                    steersman_engine::input::ExitStatus::Code(code) => 0x100 | u64::from(code),
                    steersman_engine::input::ExitStatus::Signal(number) => {
                        0x200 | u64::from(number)
                    }
                });
                (Happening::Ended(run), 2 | u64::from(group == Group::WithChild) << 2 | status << 3)
            }
            State::LeftBehind => (Happening::TreeGone(run), 3),
        };
        let window = match self.find(id, what) {
            None => 0,
            Some(open) => {
                let cause = open.cause as u64;
                1 | cause << 1 | ahead(open.earliest, now) << 4 | ahead(open.latest, now) << 16
            }
        };
        let kind = match run.kind {
            RunKind::Main => 0,
            RunKind::Check => 1,
        };
        mix(mix(window) ^ state << 1 ^ kind)
    }
}

fn put(words: &mut [u64], job: JobId, word: u64) {
    if let Some(sum) = words.get_mut(job.index()) {
        *sum = sum.wrapping_add(mix(word));
    }
}

const fn kind_of(what: Happening) -> u64 {
    match what {
        Happening::Begin => 1,
        Happening::Loaded(_) => 2,
        Happening::Birth => 3,
        Happening::GraceOver => 4,
        Happening::Catalog => 5,
        _ => 6,
    }
}

fn nanos(duration: core::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Finds jobs that are alike: the same definition but for the name, nobody refers to them, they
/// behave alike, and every property speaks of all of them or of none.
pub(super) fn classes(stage: &Stage) -> Vec<Vec<u64>> {
    let nodes = stage.setting.nodes.iter();
    let of_node = |node: &crate::explore::plan::NodeSpec| {
        let jobs = &node.config.jobs;
        let mut classes: Vec<u64> = (0..jobs.len() as u64).collect();
        if !stage.uses_symmetry {
            return classes;
        }
        for nth in 1..jobs.len() {
            let alike =
                (0..nth).find(|other| are_alike(stage, &node.name, &node.config, (*other, nth)));
            if let Some(other) = alike {
                classes[nth] = classes[other];
            }
        }
        classes
    };
    nodes.map(of_node).collect()
}

fn are_alike(stage: &Stage, node: &str, config: &Config, pair: (usize, usize)) -> bool {
    let (one, other) = (&*config.jobs[pair.0], &*config.jobs[pair.1]);
    let renamed = Job { name: one.name.clone(), command: one.command.clone(), ..other.clone() };
    let is_same = renamed == *one && one.command.is_some() == other.command.is_some();
    let role = |job: &Job, kind| (node.into(), job.name.clone(), kind);
    let behaves = |job: &Job, kind| stage.setting.manners.find(&role(job, kind));
    let behave_alike = [RunKind::Main, RunKind::Check]
        .iter()
        .all(|kind| behaves(one, *kind) == behaves(other, *kind));
    let rules = stage.suite.properties.iter().flat_map(|property| property.rule.subjects());
    let mut patterns = rules.filter_map(|(subject, _)| subject.job);
    let are_judged_alike =
        patterns.all(|pattern| fits(&pattern, &one.name) == fits(&pattern, &other.name));
    let bystander = |job: &Job| stage.bystanders.iter().any(|name| **name == *job.name);
    is_same
        && behave_alike
        && are_judged_alike
        && bystander(one) == bystander(other)
        && !is_referred_to(config, one)
        && !is_referred_to(config, other)
}

fn is_referred_to(config: &Config, job: &Job) -> bool {
    let is_it = |clause: &Clause| match &clause.source {
        SourceName::Job(name) | SourceName::Check(name) => *name == job.name,
        _ => false,
    };
    let by_job = config.jobs.iter().any(|other| match &other.trigger {
        Trigger::On(clause) => is_it(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses.iter().any(is_it),
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
    });
    by_job || config.locks.iter().any(|lock| lock.healthy.as_ref() == Some(&job.name))
}
