//! At most one: the processes of a lock's jobs, over all nodes, judged from the truth about the
//! processes and never from Consul. Tokens only grow, and what needs a lock is only started within
//! a term that its supervisor has announced and not ended.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use steersman_engine::canonical::{ago, coarse};
use steersman_engine::config::{Config, Name};
use steersman_engine::{Code, Event, RunId, RunKind, Source, Time};

use crate::agenda::NodeId;
use crate::random::mix;

/// How long a supervisor that was held up may take to end what it should have ended meanwhile.
const AWAKE_AFTER: Duration = Duration::from_millis(500);

/// Who runs what under which key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exclusion {
    /// The key and the lock's name of each job that needs one.
    jobs: BTreeMap<(NodeId, Name), (Box<str>, Name)>,
    /// The variables with tokens, by node.
    tokens: BTreeMap<(NodeId, Name), u64>,
    terms: BTreeMap<Box<str>, Term>,
    /// The locks of each supervisor in the order of their numbers, which a reload never changes.
    locks: BTreeMap<NodeId, Vec<Name>>,
    /// The locks that a supervisor says that it has.
    led: BTreeSet<(NodeId, Name)>,
    held: BTreeMap<NodeId, Held>,
    /// Runs that were asked for and do not run yet.
    asked: BTreeSet<(NodeId, RunId)>,
    /// Starts that were under way when their node was held up: nobody can call them back, only
    /// kill them when they are there.
    caught: BTreeSet<(NodeId, RunId)>,
    are_tokens_void: bool,
    /// Overlaps that no software on the node could have prevented.
    excused: u32,
}

/// One key.
#[derive(Clone, Debug, Default)]
struct Term {
    live: BTreeMap<(NodeId, RunId), bool>,
    newest: Option<(u64, NodeId)>,
}

/// Whether a supervisor is kept from running.
#[derive(Clone, Copy, Debug)]
enum Held {
    Now,
    Until(Time),
}

impl Exclusion {
    pub(crate) fn on_config(&mut self, node: NodeId, config: &Config) {
        let keys: BTreeMap<&str, &str> =
            config.locks.iter().map(|lock| (&*lock.name, &*lock.key)).collect();
        let known = self.locks.entry(node).or_default();
        for lock in &config.locks {
            if !known.contains(&lock.name) {
                known.push(lock.name.clone());
            }
        }
        self.jobs.retain(|(owner, _), _| *owner != node);
        for job in &config.jobs {
            let Some(lock) = &job.while_lock else { continue };
            let Some(key) = keys.get(&**lock) else { continue };
            self.jobs.insert((node, job.name.clone()), (Box::from(*key), lock.clone()));
        }
    }

    /// A supervisor begins anew: what an earlier one said is void.
    pub(crate) fn on_life(&mut self, node: NodeId, config: &Config) {
        self.locks.remove(&node);
        self.led.retain(|(owner, _)| *owner != node);
        self.on_config(node, config);
    }

    pub(crate) fn on_event(&mut self, node: NodeId, event: Event) {
        let Source::Lock(lock) = event.source else { return };
        let name = self.locks.get(&node).and_then(|names| names.get(lock.index()));
        let Some(name) = name.cloned() else { return };
        match event.code {
            Code::Acquired => {
                self.led.insert((node, name));
            }
            Code::Lost | Code::Released => {
                self.led.remove(&(node, name));
            }
            _ => {}
        }
    }

    /// Tells whether any job needs a lock.
    pub(crate) fn has_locks(&self) -> bool {
        !self.jobs.is_empty()
    }

    pub(crate) fn on_variable(&mut self, node: NodeId, name: &Name, value: Option<&str>) {
        let is_token = name.starts_with("CONTAINERPILOT_LOCK_") && name.ends_with("_TOKEN");
        if is_token && let Some(token) = value.and_then(|value| value.parse().ok()) {
            self.tokens.insert((node, name.clone()), token);
        }
    }

    pub(crate) fn on_held(&mut self, node: NodeId) {
        self.held.insert(node, Held::Now);
        let under_way = self.asked.iter().filter(|(owner, _)| *owner == node);
        self.caught.extend(under_way.copied());
    }

    pub(crate) fn on_released(&mut self, at: Time, node: NodeId) {
        self.held.insert(node, Held::Until(at));
    }

    pub(crate) const fn on_state_lost(&mut self) {
        self.are_tokens_void = true;
    }

    /// A process is to be started; tells what is wrong with that.
    pub(crate) fn on_asked(&mut self, node: NodeId, run: RunId, job: &Name) -> Option<String> {
        self.asked.insert((node, run));
        let (_, lock) = self.jobs.get(&(node, job.clone()))?;
        let is_within = run.kind == RunKind::Check || self.led.contains(&(node, lock.clone()));
        (!is_within).then(|| format!("\"{job}\" is started outside a term of its lock \"{lock}\""))
    }

    pub(crate) fn on_gone(&mut self, node: NodeId, run: RunId) {
        self.asked.remove(&(node, run));
        self.caught.remove(&(node, run));
        for term in self.terms.values_mut() {
            term.live.remove(&(node, run));
        }
    }

    /// A process runs; tells what is wrong with that.
    pub(crate) fn on_started(
        &mut self,
        at: Time,
        node: NodeId,
        run: RunId,
        job: &Name,
    ) -> Option<String> {
        self.asked.remove(&(node, run));
        let is_caught = self.caught.contains(&(node, run));
        if run.kind == RunKind::Check {
            return None;
        }
        let (key, lock) = self.jobs.get(&(node, job.clone()))?.clone();
        let token = self.token(node, &lock);
        let held = &self.held;
        let term = self.terms.entry(key.clone()).or_default();
        let others: Vec<_> =
            term.live.keys().filter(|(owner, _)| *owner != node).copied().collect();
        term.live.insert((node, run), true);
        for (owner, _) in &others {
            let is_excused = is_excused(held.get(owner).copied(), at, AWAKE_AFTER) || is_caught;
            if is_excused {
                self.excused += 1;
            } else {
                return Some(format!("\"{job}\" runs on two nodes under one lock \"{key}\""));
            }
        }
        let Some(token) = token else {
            return Some(format!("\"{job}\" runs without the token of its lock \"{lock}\""));
        };
        let newest = term.newest.filter(|_| !self.are_tokens_void);
        if let Some((known, owner)) = newest
            && (token < known || token == known && owner != node)
        {
            return Some(format!("\"{job}\" has token {token}, and {known} was seen before"));
        }
        term.newest = Some((token, node));
        None
    }

    /// Counts the nodes that run something under a key, and overlaps nobody could prevent.
    pub(crate) fn holders(&self, key: &str) -> Vec<NodeId> {
        let Some(term) = self.terms.get(key) else { return Vec::new() };
        let mut nodes: Vec<_> = term.live.keys().map(|(node, _)| *node).collect();
        nodes.dedup();
        nodes
    }

    pub(crate) const fn excused(&self) -> u32 {
        self.excused
    }

    /// Gives a hash of what decides later accusations; tokens count as they are.
    pub(crate) fn canonical(&self, at: Time) -> u64 {
        let Exclusion {
            jobs,
            tokens,
            terms,
            locks: _,
            led,
            held,
            asked,
            caught,
            are_tokens_void,
            excused: _,
        } = self;
        let mut hash = mix(u64::from(*are_tokens_void));
        if jobs.is_empty() {
            // Without locks there is nothing to accuse anybody of.
            return hash;
        }
        for ((node, _), token) in tokens {
            hash = mix(hash ^ u64::from(node.0) ^ token.rotate_left(16));
        }
        for (kind, runs) in [(1_u64, asked), (2, caught)] {
            for (node, run) in runs {
                hash = mix(hash ^ kind << 48 ^ u64::from(node.0) << 32 ^ u64::from(run.job.0));
            }
        }
        for (node, lock) in led {
            let letters = lock.bytes().fold(0, |sum, letter| mix(sum ^ u64::from(letter)));
            hash = mix(hash ^ u64::from(node.0) << 16 ^ letters);
        }
        for term in terms.values() {
            for (node, run) in term.live.keys() {
                hash = mix(hash ^ u64::from(node.0) << 32 ^ u64::from(run.job.0));
            }
            if let Some((token, node)) = term.newest {
                hash = mix(hash ^ u64::from(node.0) ^ token.rotate_left(32));
            }
        }
        for (node, held) in held {
            let until = match held {
                Held::Now => 0,
                Held::Until(until) => 1 + ago(*until, at).min(coarse_of(AWAKE_AFTER)),
            };
            hash = mix(hash ^ u64::from(node.0) << 40 ^ until);
        }
        hash
    }

    fn token(&self, node: NodeId, lock: &str) -> Option<u64> {
        let name: String = lock
            .chars()
            .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
            .collect();
        let variable = format!("CONTAINERPILOT_LOCK_{}_TOKEN", name.to_ascii_uppercase());
        self.tokens.get(&(node, Name::from(variable))).copied()
    }
}

fn coarse_of(duration: Duration) -> u64 {
    coarse(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
}

fn is_excused(held: Option<Held>, at: Time, grace: Duration) -> bool {
    match held {
        Some(Held::Now) => true,
        Some(Held::Until(until)) => at.since(until) <= grace,
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use steersman_engine::id::{JobId, LockId};

    use super::*;
    use crate::fixture::job;
    use crate::fleet::lock;

    const NODE: NodeId = NodeId(0);

    fn config(locks: &[&str]) -> Config {
        let needy = job("ledger").with(|job| job.while_lock = Some(Name::from("ledger")));
        Config {
            jobs: vec![Arc::new(needy.build()), Arc::new(job("bystander").build())],
            locks: locks.iter().map(|name| lock(name, name)).collect(),
            ..Config::default()
        }
    }

    fn is_accused(exclusion: &mut Exclusion, job: &str) -> bool {
        let run = RunId { job: JobId(0), kind: RunKind::Main, nth: 1 };
        exclusion.on_asked(NODE, run, &Name::from(job)).is_some()
    }

    fn say(exclusion: &mut Exclusion, code: Code, lock: u16) {
        exclusion.on_event(NODE, Event { code, source: Source::Lock(LockId(lock)) });
    }

    #[test]
    fn start_outside_a_term_is_accused() {
        let mut exclusion = Exclusion::default();
        exclusion.on_life(NODE, &config(&["ledger"]));
        assert!(is_accused(&mut exclusion, "ledger"), "there was no term yet");
        assert!(!is_accused(&mut exclusion, "bystander"), "it needs no lock");
        say(&mut exclusion, Code::Acquired, 0);
        assert!(!is_accused(&mut exclusion, "ledger"), "the term goes on");
        say(&mut exclusion, Code::Lost, 0);
        assert!(is_accused(&mut exclusion, "ledger"), "the term is over");
        say(&mut exclusion, Code::Acquired, 0);
        exclusion.on_life(NODE, &config(&["ledger"]));
        assert!(is_accused(&mut exclusion, "ledger"), "that was the term of an earlier life");
    }

    #[test]
    fn locks_keep_their_numbers_when_a_reload_puts_others_before_them() {
        let mut exclusion = Exclusion::default();
        exclusion.on_life(NODE, &config(&["ledger"]));
        exclusion.on_config(NODE, &config(&["other", "ledger"]));
        say(&mut exclusion, Code::Acquired, 1);
        assert!(is_accused(&mut exclusion, "ledger"), "that is the other's term");
        say(&mut exclusion, Code::Acquired, 0);
        assert!(!is_accused(&mut exclusion, "ledger"));
    }
}
