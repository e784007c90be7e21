//! Terms at the edge of the inequalities, in continuous time: the last of an old holder beside the
//! first of the next one, with every rate, delay and pause at, or near, its bound.
//!
//! Both holders are real engines. What is drawn is what the inequalities speak of: the rates of the
//! clocks, when the supervisor is held up and for how long, how many renewals there are and how
//! late they are answered, how long a killed process still acts. Half of the draws are bounds, as
//! the worst case is a corner.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::{Command, Config, Job, Lock, Restarts, Signal, Takeover};
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest, Entry};
use steersman_engine::limits::{HELD_FLAG, KILL_LATENCY, RELEASED_FLAG};
use steersman_engine::{Effect, Engine, Input, Stamp, Time};

use crate::fleet::lock;
use crate::random::Random;

/// How the key becomes free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passing {
    /// The session expires, and the lock delay passes (I1).
    Expired,
    /// The session is destroyed right after the last renewal, and the lock delay passes (I2).
    Destroyed,
    /// Consul loses its memory right after the last renewal; the taker keeps quiet (I3).
    Forgotten,
    /// An operator deletes the key right after the last reading of it; the taker keeps quiet (I3).
    Deleted,
}

/// What is sampled.
#[derive(Clone, Debug)]
pub struct Edge {
    /// The figures that the holders know.
    pub lock: Lock,
    /// How the key becomes free.
    pub passing: Passing,
    /// For how long a supervisor is held up at most, whatever its figures declare.
    pub pause: Duration,
}

impl Edge {
    /// The default figures, with what keeps two holders apart at some millionths of what the
    /// inequality asks for: at a million it is just met.
    pub fn at(passing: Passing, millionths: u64) -> Edge {
        let mut lock = lock("ledger", "svc/ledger/leader");
        let needed = nanos(needed(&lock)) * millionths / 1_000_000;
        let needed = Duration::from_nanos(needed);
        match passing {
            Passing::Expired => {
                lock.ttl = Duration::from_secs(10);
                lock.lock_delay = needed.saturating_sub(lock.ttl);
            }
            Passing::Destroyed => lock.lock_delay = needed,
            Passing::Forgotten | Passing::Deleted => lock.takeover = Takeover::After(needed),
        }
        let pause = lock.max_pause;
        Edge { lock, passing, pause }
    }

    /// Draws one change of holders; gives by how many nanoseconds of true time the next one begins
    /// after the last of the old one: two at once when that is negative.
    pub fn sample(&self, random: Random) -> i64 {
        let ppm = u64::from(self.lock.max_drift_ppm);
        let rate = |who: &str| 1_000_000 - ppm + near(random.stream(who), 2 * ppm);
        let old = rate("old");
        let (last, killed) = self.old_term(random.stream("term"));
        let acts = near(random.stream("kill"), nanos(KILL_LATENCY));
        let gone = in_truth(killed, old) + acts;
        let (catalog, spare) = (rate("consul"), random.stream("spare"));
        // Mostly the next one is there at once: what comes later is no danger.
        let late = if spare.happens(800_000) { 0 } else { spare.keyed(1).below(1_000_000_000) };
        let free = in_truth(last, old) + late;
        let (ttl, delay) = (nanos(self.lock.ttl), nanos(self.lock.lock_delay));
        let begins = match self.passing {
            Passing::Expired => free + in_truth(ttl + delay, catalog),
            Passing::Destroyed => free + in_truth(delay, catalog),
            Passing::Forgotten | Passing::Deleted => {
                free + in_truth(self.quiet_time(), rate("next"))
            }
        };
        i64::try_from(begins).unwrap_or(i64::MAX) - i64::try_from(gone).unwrap_or(i64::MAX)
    }

    /// A holder whose process is deaf to SIGTERM can renew no more after some renewals, or read its
    /// key no more after some readings; the other goes on. Gives when the last answered one was
    /// sent and when the process was killed, by the holder's clock.
    fn old_term(&self, random: Random) -> (u64, u64) {
        // It took over in order, without a quiet time.
        let lock = Lock { takeover: Takeover::Auto, ..self.lock.clone() };
        let mut node = Holder::new(&lock, RELEASED_FLAG);
        let limit = nanos(self.lock.request_timeout) - 1;
        let most = random.stream("renewals").between(1, 3);
        let (mut answered, mut last) = (0, 0);
        let mut pause: Option<(u64, u64)> = None;
        loop {
            let (due, input) = node.next();
            // Held up: whatever falls due meanwhile comes at the end.
            let at = match pause {
                Some((from, to)) if due >= from && due < to => to,
                _ => due,
            };
            node.feed(at, input);
            for effect in core::mem::take(&mut node.effects) {
                match effect {
                    Effect::Consul { op, request, timeout }
                        if self.is_lost_in_the_end(&request, node.has_asked) =>
                    {
                        let (reply, after) = if answered < most {
                            answered += 1;
                            last = node.now;
                            let late = random.stream("answer").keyed(answered);
                            let (reply, after) = node.reply(&request);
                            (reply, after + near(late, limit))
                        } else {
                            (unreachable(), nanos(timeout))
                        };
                        node.put(after, Input::Consul { op, reply });
                        if answered == most {
                            pause.get_or_insert_with(|| self.held_up(random, last));
                        }
                    }
                    Effect::Signal { signal: Signal::KILL, .. } => return (last, node.now),
                    other => node.answer(other),
                }
            }
        }
    }

    /// Tells whether a request is one of those that are not answered any more in the end.
    fn is_lost_in_the_end(&self, request: &ConsulRequest, has_asked: bool) -> bool {
        match self.passing {
            Passing::Expired | Passing::Destroyed | Passing::Forgotten => {
                matches!(request, ConsulRequest::SessionRenew { .. })
            }
            Passing::Deleted => has_asked && matches!(request, ConsulRequest::LockRead { .. }),
        }
    }

    /// Draws when the supervisor is held up: mostly just before it would kill.
    fn held_up(&self, random: Random, last: u64) -> (u64, u64) {
        let limit = nanos(self.lock.demote_after + self.lock.stop_timeout);
        let length = near(random.stream("pause"), nanos(self.pause));
        let from = match random.stream("where").happens(700_000) {
            true => limit - random.stream("before").below(1_000),
            false => random.stream("from").below(limit),
        };
        (last + from, last + from + length)
    }

    /// How long a taker of a key that is not there keeps quiet, by its clock.
    fn quiet_time(&self) -> u64 {
        let mut node = Holder::new(&self.lock, HELD_FLAG);
        let mut granted = None;
        loop {
            let (at, input) = node.next();
            node.feed(at, input);
            for effect in core::mem::take(&mut node.effects) {
                match effect {
                    Effect::Start { .. } => return node.now - granted.unwrap_or(node.now),
                    Effect::Consul { op, request: ConsulRequest::SessionRenew { .. }, .. } => {
                        node.put(0, Input::Consul { op, reply: ConsulReply::Done });
                    }
                    other => {
                        let is_asked = matches!(
                            other,
                            Effect::Consul { request: ConsulRequest::Acquire { .. }, .. }
                        );
                        granted = granted.or(is_asked.then_some(node.now));
                        node.answer(other);
                    }
                }
            }
        }
    }
}

/// f·(A + P + g + κ), rounded up to the nanosecond.
pub fn needed(lock: &Lock) -> Duration {
    let sum = lock.demote_after + lock.max_pause + lock.stop_timeout + KILL_LATENCY;
    let ppm = u128::from(lock.max_drift_ppm);
    let exact = (sum.as_nanos() * (1_000_000 + ppm)).div_ceil(1_000_000 - ppm);
    Duration::from_nanos(u64::try_from(exact).unwrap_or(u64::MAX))
}

/// Draws from zero to a bound; each of the two a quarter of the time.
fn near(random: Random, bound: u64) -> u64 {
    match random.stream("near").below(4) {
        0 => 0,
        1 => bound,
        _ => random.stream("far").between(0, bound),
    }
}

/// True time from that of a clock which runs at so many millionths of it.
fn in_truth(local: u64, rate: u64) -> u64 {
    u64::try_from(u128::from(local) * 1_000_000 / u128::from(rate)).unwrap_or(u64::MAX)
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)
}

fn unreachable() -> ConsulReply {
    ConsulReply::Failed(ConsulFailure::Unreachable("no answer".into()))
}

/// One supervisor with its clock, and what is on its way to it.
struct Holder {
    engine: Engine,
    now: u64,
    effects: Vec<Effect>,
    coming: Vec<(u64, Input)>,
    /// How the key looks: given back in order, or not there at all.
    flags: u64,
    has_asked: bool,
}

const HOUR: u64 = 3_600_000_000_000;
const SESSION: &str = "5e551011-0000";

impl Holder {
    fn new(lock: &Lock, flags: u64) -> Holder {
        let mut job = Job::new("ledger", Command::new(["/bin/ledger"]));
        job.restarts = Restarts::Unlimited;
        job.while_lock = Some(lock.name.clone());
        let jobs = vec![Arc::new(job)];
        let config = Config { jobs, locks: vec![lock.clone()], ..Config::default() };
        Holder {
            engine: Engine::new(config, 1),
            now: 0,
            effects: Vec::new(),
            coming: vec![(0, Input::Begin)],
            flags,
            has_asked: false,
        }
    }

    /// What comes next, and when.
    fn next(&mut self) -> (u64, Input) {
        let wake = self.engine.next_wakeup().map_or(u64::MAX, |Time(at)| at);
        let first = self.coming.iter().enumerate().min_by_key(|(_, (at, _))| *at);
        match first.map(|(place, (at, _))| (place, *at)) {
            Some((place, at)) if at <= wake => self.coming.remove(place),
            _ => (wake, Input::Tick),
        }
    }

    fn feed(&mut self, at: u64, input: Input) {
        assert!(at < HOUR, "a term does not take an hour");
        self.now = self.now.max(at);
        let stamp = Stamp { mono: Time(self.now), wall_ms: 0 };
        self.engine.handle(stamp, input, &mut self.effects);
    }

    fn put(&mut self, after: u64, input: Input) {
        self.coming.push((self.now + after, input));
    }

    /// Answers what has one answer only.
    fn answer(&mut self, effect: Effect) {
        let (op, request) = match effect {
            Effect::Start { run, .. } => return self.put(0, Input::Started { run, pid: 7 }),
            Effect::Consul { op, request, .. } => (op, request),
            _ => return,
        };
        let (reply, after) = self.reply(&request);
        self.put(after, Input::Consul { op, reply });
    }

    /// What a request is answered, and after how long.
    fn reply(&mut self, request: &ConsulRequest) -> (ConsulReply, u64) {
        match request {
            ConsulRequest::SessionCreate { .. } => (ConsulReply::Session { id: SESSION.into() }, 0),
            ConsulRequest::Acquire { .. } => {
                self.has_asked = true;
                (ConsulReply::Acquired { token: Some(9) }, 0)
            }
            // A blocking read of a key that does not change.
            ConsulRequest::LockRead { index, wait, .. } if *index > 0 => (self.key(), nanos(*wait)),
            ConsulRequest::LockRead { .. } => (self.key(), 0),
            _ => (ConsulReply::Done, 0),
        }
    }

    fn key(&self) -> ConsulReply {
        let key = Box::from("svc/ledger/leader");
        let entry = |modified, flags, session: Option<&str>| Entry {
            key,
            value: Box::default(),
            modified,
            flags,
            acquired: 1,
            created: 7,
            session: session.map(Box::from),
        };
        let entries = match (self.has_asked, self.flags) {
            (true, _) => vec![entry(9, HELD_FLAG, Some(SESSION))],
            (false, RELEASED_FLAG) => vec![entry(8, RELEASED_FLAG, None)],
            (false, _) => Vec::new(),
        };
        ConsulReply::Keys { index: 9, entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_engine::{RunId, RunKind};

    fn overlaps(edge: &Edge, samples: u64) -> (u64, i64) {
        let margins = (0..samples).map(|nth| edge.sample(Random::new(nth)));
        margins.fold((0, i64::MAX), |(count, least), margin| {
            (count + u64::from(margin < 0), least.min(margin))
        })
    }

    #[test]
    fn at_equality_there_are_never_two_and_below_it_there_are() {
        for passing in [Passing::Expired, Passing::Destroyed, Passing::Forgotten, Passing::Deleted]
        {
            let (count, least) = overlaps(&Edge::at(passing, 1_000_000), 2_000);
            assert_eq!(count, 0, "{passing:?}: {least} ns");
            assert!(least < 20_000_000, "{passing:?}: the edge is not reached: {least} ns");
            let (count, _) = overlaps(&Edge::at(passing, 980_000), 2_000);
            assert!(count > 0, "{passing:?}");
        }
    }

    #[test]
    fn pause_beyond_what_is_declared_makes_two() {
        let mut edge = Edge::at(Passing::Destroyed, 1_000_000);
        edge.pause = Duration::from_secs(5);
        assert!(overlaps(&edge, 2_000).0 > 0);
    }

    #[test]
    fn run_of_the_old_holder_is_its_first() {
        let mut node = Holder::new(&lock("ledger", "svc/ledger/leader"), RELEASED_FLAG);
        let run = loop {
            let (at, input) = node.next();
            node.feed(at, input);
            for effect in core::mem::take(&mut node.effects) {
                node.answer(effect);
            }
            let started = node.coming.iter().find_map(|(_, input)| match input {
                Input::Started { run, .. } => Some(*run),
                _ => None,
            });
            if let Some(run) = started {
                break run;
            }
        };
        assert_eq!(run, RunId { job: run.job, kind: RunKind::Main, nth: 1 });
    }
}
