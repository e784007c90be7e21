//! At most one: the processes of a lock's jobs, over all nodes, judged from the truth about the
//! processes and never from Consul. Tokens only grow, and what needs a lock is only started within
//! a term that its supervisor has announced and not ended.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use steersman_engine::canonical::{ago, coarse};
use steersman_engine::config::{Config, Keeping, Name};
use steersman_engine::{Code, Event, RunId, RunKind, Source, Time};

use crate::agenda::NodeId;
use crate::random::mix;

/// How long after it woke up the processes may live that a supervisor kills at that instant.
const AWAKE_AFTER: Duration = Duration::from_millis(20);

/// Who runs what under which key.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exclusion {
    /// The key and the lock's name of each job that needs one.
    jobs: BTreeMap<(NodeId, Name), (Box<str>, Name)>,
    /// The variables with tokens, by node.
    tokens: BTreeMap<(NodeId, Name), u64>,
    /// The highest that each of them was in the life of its supervisor.
    highest: BTreeMap<(NodeId, Name), u64>,
    terms: BTreeMap<Box<str>, Term>,
    /// The locks of each supervisor in the order of their numbers, which a reload never changes.
    locks: BTreeMap<NodeId, Vec<Name>>,
    /// The locks that a supervisor says that it has.
    led: BTreeSet<(NodeId, Name)>,
    held: BTreeMap<NodeId, Held>,
    /// How long each supervisor may be held up, by its own word: no overlap is excused up to that.
    pauses: BTreeMap<NodeId, Duration>,
    /// The locks whose processes a keeper ends while only the supervisor is kept from running.
    kept: BTreeSet<(NodeId, Name)>,
    /// The nodes on which everything is, or was last, held up: the keeper as well.
    frozen: BTreeSet<NodeId>,
    /// Runs that were asked for and do not run yet, with the token that they were given.
    asked: BTreeMap<(NodeId, RunId), Option<u64>>,
    /// Runs that were killed before they ran: none of them ever works.
    doomed: BTreeSet<(NodeId, RunId)>,
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
    /// The processes, with their tokens.
    live: BTreeMap<(NodeId, RunId), Option<u64>>,
    newest: Option<(u64, NodeId)>,
}

/// A supervisor is, or was, kept from running.
#[derive(Clone, Copy, Debug)]
enum Held {
    Since(Time),
    /// It goes on since then, and did not run for so long.
    Until(Time, Duration),
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
        let longest = config.locks.iter().map(|lock| lock.max_pause).max();
        self.pauses.insert(node, longest.unwrap_or_default());
        self.kept.retain(|(owner, _)| *owner != node);
        let kept = config.locks.iter().filter(|lock| lock.keeper != Keeping::Off);
        self.kept.extend(kept.map(|lock| (node, lock.name.clone())));
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
        self.highest.retain(|(owner, _), _| *owner != node);
        self.held.remove(&node);
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
        if is_token && let Some(token) = value.and_then(|value| value.parse::<u64>().ok()) {
            let highest = self.highest.entry((node, name.clone())).or_default();
            *highest = token.max(*highest);
            self.tokens.insert((node, name.clone()), token);
        }
    }

    pub(crate) fn on_held(&mut self, at: Time, node: NodeId, is_all: bool) {
        if is_all {
            self.frozen.insert(node);
        }
        if let Some(Held::Since(_)) = self.held.get(&node) {
            return;
        }
        if !is_all {
            self.frozen.remove(&node);
        }
        self.held.insert(node, Held::Since(at));
        let under_way = self.asked.keys().filter(|(owner, _)| *owner == node);
        self.caught.extend(under_way.copied());
    }

    pub(crate) fn on_released(&mut self, at: Time, node: NodeId) {
        let Some(Held::Since(since)) = self.held.get(&node).copied() else { return };
        self.held.insert(node, Held::Until(at, at.since(since)));
    }

    pub(crate) const fn are_tokens_void(&self) -> bool {
        self.are_tokens_void
    }

    pub(crate) const fn on_state_lost(&mut self) {
        self.are_tokens_void = true;
    }

    /// A process is to be started; tells what is wrong with that.
    pub(crate) fn on_asked(&mut self, node: NodeId, run: RunId, job: &Name) -> Option<String> {
        let needed = self.jobs.get(&(node, job.clone()));
        let token = needed.and_then(|(_, lock)| self.token(node, lock));
        self.asked.insert((node, run), token);
        let (_, lock) = self.jobs.get(&(node, job.clone()))?;
        if self.falls_behind(node, lock) {
            return Some(format!("\"{job}\" gets a token of lock \"{lock}\" below one known here"));
        }
        let is_within = run.kind == RunKind::Check || self.led.contains(&(node, lock.clone()));
        (!is_within).then(|| format!("\"{job}\" is started outside a term of its lock \"{lock}\""))
    }

    /// A process is killed; when it does not run yet, it never will.
    pub(crate) fn on_kill(&mut self, node: NodeId, run: RunId) {
        if self.asked.contains_key(&(node, run)) {
            self.doomed.insert((node, run));
        }
    }

    pub(crate) fn on_gone(&mut self, node: NodeId, run: RunId) {
        self.doomed.remove(&(node, run));
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
        let token = self.asked.remove(&(node, run)).flatten();
        let is_caught = self.caught.contains(&(node, run)) && self.was_held_too_long(node, at);
        if run.kind == RunKind::Check || self.doomed.contains(&(node, run)) {
            return None;
        }
        let (key, lock) = self.jobs.get(&(node, job.clone()))?.clone();
        let term = self.terms.entry(key.clone()).or_default();
        let others: Vec<_> =
            term.live.keys().filter(|(owner, _)| *owner != node).copied().collect();
        term.live.insert((node, run), token);
        for (owner, _) in &others {
            // A keeper has ended what was the lock's, unless it was held up itself.
            let is_kept = self.kept.contains(&(*owner, lock.clone()));
            let is_prevented = is_kept && !self.frozen.contains(owner);
            if is_caught || !is_prevented && self.is_excused(*owner, at) {
                self.excused += 1;
            } else {
                return Some(format!("\"{job}\" runs on two nodes under one lock \"{key}\""));
            }
        }
        let Some(token) = token else {
            return Some(format!("\"{job}\" runs without the token of its lock \"{lock}\""));
        };
        let term = self.terms.entry(key).or_default();
        let newest = term.newest.filter(|_| !self.are_tokens_void);
        if let Some((known, owner)) = newest
            && (token < known || token == known && owner != node)
        {
            if is_caught {
                return None;
            }
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

    /// Gives the processes that work under a key, each with its token.
    pub(crate) fn writers(&self, key: &str) -> Vec<(NodeId, RunId, u64)> {
        let Some(term) = self.terms.get(key) else { return Vec::new() };
        let writers = term.live.iter();
        writers.filter_map(|((node, run), token)| Some((*node, *run, (*token)?))).collect()
    }

    pub(crate) const fn excused(&self) -> u32 {
        self.excused
    }

    /// Tells whether a supervisor is, or was until just now, kept from running for longer than it
    /// declares to be possible: then nothing in it can prevent that its processes go on.
    fn is_excused(&self, node: NodeId, at: Time) -> bool {
        let is_awake_for_long = match self.held.get(&node) {
            Some(Held::Until(awake, _)) => at.since(*awake) > AWAKE_AFTER,
            Some(Held::Since(_)) | None => false,
        };
        !is_awake_for_long && self.was_held_too_long(node, at)
    }

    fn was_held_too_long(&self, node: NodeId, at: Time) -> bool {
        let held = match self.held.get(&node) {
            Some(Held::Since(since)) => at.since(*since),
            Some(Held::Until(_, held)) => *held,
            None => return false,
        };
        held > self.pauses.get(&node).copied().unwrap_or_default()
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
            pauses,
            kept: _,
            frozen,
            asked,
            doomed,
            caught,
            are_tokens_void,
            highest,
            excused: _,
        } = self;
        let mut hash = mix(u64::from(*are_tokens_void));
        if jobs.is_empty() {
            // Without locks there is nothing to accuse anybody of.
            return hash;
        }
        for ((node, _), token) in tokens.iter().chain(highest) {
            hash = mix(hash ^ u64::from(node.0) ^ token.rotate_left(16));
        }
        let asked = asked.keys().map(|asked| (1_u64, asked));
        let doomed = doomed.iter().map(|doomed| (3, doomed));
        let caught = caught.iter().map(|caught| (2, caught));
        for (kind, (node, run)) in asked.chain(caught).chain(doomed) {
            hash = mix(hash ^ kind << 48 ^ u64::from(node.0) << 32 ^ u64::from(run.job.0));
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
            hash = mix(hash ^ u64::from(frozen.contains(node)));
            let longest = coarse_of(pauses.get(node).copied().unwrap_or_default()) + 1;
            let held = match held {
                Held::Since(since) => ago(*since, at).min(longest),
                Held::Until(until, held) => {
                    let awake = ago(*until, at).min(coarse_of(AWAKE_AFTER) + 1);
                    mix(1 + awake) ^ coarse_of(*held).min(longest)
                }
            };
            hash = mix(hash ^ u64::from(node.0) << 40 ^ held);
        }
        hash
    }

    /// Tells whether a supervisor knows of a higher token than the one that it gives: also when
    /// Consul has lost its memory, what it knows itself it must not fall behind.
    fn falls_behind(&self, node: NodeId, lock: &str) -> bool {
        let place = (node, token_variable(lock));
        self.tokens.get(&place) < self.highest.get(&place)
    }

    fn token(&self, node: NodeId, lock: &str) -> Option<u64> {
        self.tokens.get(&(node, token_variable(lock))).copied()
    }
}

fn token_variable(lock: &str) -> Name {
    let name: String = lock
        .chars()
        .map(|letter| if letter.is_ascii_alphanumeric() { letter } else { '_' })
        .collect();
    Name::from(format!("CONTAINERPILOT_LOCK_{}_TOKEN", name.to_ascii_uppercase()))
}

fn coarse_of(duration: Duration) -> u64 {
    coarse(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
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
