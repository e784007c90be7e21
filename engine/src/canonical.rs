//! What decides the future of an engine, as a hash: equal for states that differ only in when they
//! are reached and in how much has happened before. An exhaustive search tells states apart by it.
//!
//! Left out: the time (deadlines count from now), the numbers of runs, checks and requests, process
//! ids, and the definitions. A length of time is told apart from another when it differs by more
//! than about a tenth; which of several timers comes first is always told apart, unless they are
//! due within the same millisecond. [`Engine::digest`] is the exact hash.

mod ticks;

pub use ticks::LockInTicks;

use alloc::vec::Vec;

use crate::config::{Backoff, Restarts, Trigger};
use crate::engine::{Engine, Stage};
use crate::input::ExitStatus;
use crate::limits::SESSION_LIVES;
use crate::lock_state::LockState;
use crate::random::mix;
use crate::slot::{Check, Life, Outcome, Process, Slot, Successor};
use crate::time::Time;
use crate::timers::Due;

/// Timers due within this count as due at the same time.
const SAME_INSTANT_NS: u64 = 1_000_000;

/// How many steps of a backoff are told apart; the wait has long reached its limit.
pub(crate) const STEPS_TOLD_APART: u32 = 24;

/// Gives how far a deadline lies ahead, coarsely; zero is now or earlier.
pub fn ahead(at: Time, now: Time) -> u64 {
    if at == Time::NEVER { u64::MAX } else { coarse(at.0.saturating_sub(now.0)) }
}

/// Gives how long ago something was, coarsely.
pub fn ago(at: Time, now: Time) -> u64 {
    coarse(now.0.saturating_sub(at.0))
}

/// Keeps milliseconds below 8 apart, and above that the first four binary digits.
pub const fn coarse(nanos: u64) -> u64 {
    let millis = nanos.saturating_add(500_000) / 1_000_000;
    if millis < 8 {
        return millis;
    }
    let scale = 63 - millis.leading_zeros() as u64;
    (scale << 3) | ((millis >> (scale - 3)) & 7)
}

impl Engine {
    /// Gives a hash of what decides the future, whenever the state was reached: a word for each
    /// job's slot in `jobs`, in their order, and one for everything else.
    ///
    /// The words of jobs do not depend on their places, so that a search may treat jobs that are
    /// alike as one. The definitions are not part of it.
    pub fn canonical(&self, jobs: &mut Vec<u64>) -> u64 {
        let now = self.now.mono;
        jobs.clear();
        jobs.extend(self.slots.iter().map(|slot| self.slot_word(slot)));
        let mut rest = mix(self.stage_word(), self.statuses_word());
        for watch in &self.watches {
            rest = mix(rest, watch.canonical(now));
        }
        for lock in &self.locks {
            rest = mix(rest, lock_word(lock, now));
        }
        let mut timers: Vec<_> = self.timers.entries().collect();
        timers.sort_unstable_by_key(|(at, _)| *at);
        let (mut rank, mut last) = (0_u64, Time(0));
        for (at, due) in timers {
            if at.0.saturating_sub(last.0) > SAME_INSTANT_NS {
                rank += 1;
            }
            last = at;
            let when = ahead(at, now) | rank << 32;
            match due {
                Due::Job(job, timer) => {
                    if let Some(word) = jobs.get_mut(job.index()) {
                        // Timers of equal rank come in any order.
                        *word = word.wrapping_add(mix(when, 1 << 40 | timer as u64));
                    }
                }
                Due::Global(timer) => rest = rest.wrapping_add(mix(when, 2 << 40 | timer as u64)),
                Due::Watch(watch, timer) => {
                    let name = 3 << 40 | u64::from(watch.0) << 8 | timer as u64;
                    rest = rest.wrapping_add(mix(when, name));
                }
                Due::Lock(lock, timer) => {
                    let name = 4 << 40 | u64::from(lock.0) << 8 | timer as u64;
                    rest = rest.wrapping_add(mix(when, name));
                }
            }
        }
        rest
    }

    fn stage_word(&self) -> u64 {
        match self.stage {
            Stage::New => 1,
            Stage::Running => 2,
            Stage::Stopping { deadline, spent } => {
                mix(3 + u64::from(spent), ahead(deadline, self.now.mono))
            }
            Stage::Over => 5,
        }
    }

    fn statuses_word(&self) -> u64 {
        let status = |status: Option<u8>| status.map_or(0, |status| 0x100 | u64::from(status));
        let statuses = status(self.failure)
            | status(self.unclean) << 16
            | status(self.essential) << 32
            | u64::from(self.maintenance) << 48
            | u64::from(self.is_catalog_failing) << 49
            | u64::from(self.keeper.is_ready()) << 50
            | u64::from(self.has_ended_one) << 50
            | u64::from(self.generation > 0) << 51;
        mix(statuses, (self.loading.len() as u64) << 32 | self.reload_again.len() as u64)
    }

    fn slot_word(&self, slot: &Slot) -> u64 {
        mix(self.timeless_slot_word(slot), ahead(slot.stop_by, self.now.mono))
    }

    /// The word of a slot but for when its lock's term is over.
    fn timeless_slot_word(&self, slot: &Slot) -> u64 {
        let now = self.now.mono;
        let Slot {
            spec,
            pid_variable: _,
            life,
            process,
            told,
            told_at: _,
            check,
            health,
            failures,
            runs,
            checks: _,
            runs_of_definition,
            pending,
            restarts_left,
            backoff_step,
            last_exit,
            retrying,
            once_used,
            seen,
            gave_up,
            successor,
            catalog,
            stop_by: _,
            in_use,
            epoch,
            last_scheduled_ms,
            checks_since,
            hash: _,
            is_touched: _,
        } = slot;
        let flags = u64::from(*retrying)
            | u64::from(*once_used) << 1
            | u64::from(*gave_up) << 2
            | u64::from(*in_use) << 3
            | (*told as u64) << 4
            | (*health as u64) << 6
            | successor_word(successor) << 8
            | check_word(check, *runs) << 10
            | life_word(*life) << 16
            | u64::from((*runs_of_definition).min(1)) << 20
            | exit_word(*last_exit) << 24
            | u64::from((*backoff_step).min(STEPS_TOLD_APART)) << 40;
        let restarts = match restarts_left {
            Restarts::Limited(left) => u64::from(*left),
            Restarts::Unlimited => u64::MAX,
        };
        let retries = spec.health.as_ref().map_or(0, |health| health.retries);
        let failures = (*failures).min(retries.saturating_add(1));
        let mut hash = mix(flags, restarts);
        hash = mix(hash, u64::from(*pending) | u64::from(failures) << 32);
        hash = mix(hash, *seen ^ process_word(process, spec, now).rotate_left(20));
        hash = mix(hash, since_checks(spec, *checks_since, now));
        hash = mix(hash, clock_word(spec, *epoch, *last_scheduled_ms, self));
        mix(hash, catalog.canonical(now))
    }
}

const fn life_word(life: Life) -> u64 {
    match life {
        Life::Waiting => 1,
        Life::Active => 2,
        Life::BackingOff => 3,
        Life::Draining => 4,
        Life::Ending => 5,
        Life::Ended(Outcome::Completed) => 6,
        Life::Ended(Outcome::Skipped) => 7,
        Life::Withdrawing => 8,
    }
}

/// A check is told apart by whether it judges the present run, not by its number.
fn check_word(check: &Check, runs: u32) -> u64 {
    match check {
        Check::Idle => 1,
        Check::Running { of, decided } => {
            2 | u64::from(*decided) << 2 | u64::from(*of == runs) << 3
        }
        Check::Leftovers => 3,
    }
}

fn successor_word(successor: &Successor) -> u64 {
    match successor {
        Successor::Nothing => 0,
        Successor::Job { start, .. } => 1 + u64::from(*start),
        Successor::Removal => 3,
    }
}

fn exit_word(exit: Option<ExitStatus>) -> u64 {
    match exit {
        None => 0,
        Some(ExitStatus::Code(code)) => 0x100 | u64::from(code),
        Some(ExitStatus::Signal(signal)) => 0x200 | u64::from(signal),
    }
}

/// How long a process has run matters until its backoff forgives.
fn process_word(process: &Process, spec: &crate::config::Job, now: Time) -> u64 {
    let forgives = match spec.backoff {
        Backoff::None => 0,
        Backoff::Exponential { reset, .. } => coarse(nanos(reset)),
    };
    match process {
        Process::None => 1,
        Process::Starting { since } => mix(2, ago(*since, now).min(forgives)),
        Process::Running { pid: _, since } => mix(3, ago(*since, now).min(forgives)),
        Process::Leftovers => 4,
    }
}

/// How long ago checks began to count matters within the start period.
fn since_checks(spec: &crate::config::Job, since: Time, now: Time) -> u64 {
    let Some(health) = &spec.health else { return 0 };
    ago(since, now).min(coarse(nanos(health.start_period)))
}

/// Where an interval or a schedule is: how far its next time lies ahead.
fn clock_word(spec: &crate::config::Job, epoch: Time, last_ms: i64, engine: &Engine) -> u64 {
    match &spec.trigger {
        Trigger::Interval(interval) => {
            let interval = nanos(*interval).max(1);
            coarse(engine.now.mono.0.saturating_sub(epoch.0) % interval)
        }
        Trigger::Schedule(schedule) => {
            let next = schedule.next_after(last_ms).unwrap_or(i64::MAX);
            let away = next.saturating_sub(engine.now.wall_ms).max(0).unsigned_abs();
            coarse(away.saturating_mul(1_000_000))
        }
        Trigger::Startup | Trigger::On(_) | Trigger::All(_) | Trigger::Any(_) => 0,
    }
}

fn nanos(duration: core::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn text(text: &Option<alloc::boxed::Box<str>>) -> u64 {
    let bytes = text.iter().flat_map(|text| text.bytes());
    bytes.fold(u64::from(text.is_some()), |hash, byte| mix(hash, u64::from(byte)))
}

/// Sessions and indexes are Consul's names for things: they count as they are.
fn lock_word(lock: &LockState, now: Time) -> u64 {
    let LockState {
        spec,
        standing,
        session,
        confirmed,
        sent,
        shown,
        key_sent,
        key_flight,
        session_flight,
        key_nth: _,
        session_nth: _,
        index,
        seen,
        token,
        floor,
        highest,
        proof,
        quiet,
        quiet_asked,
        attempt,
        losses,
        led_since,
        left,
        is_to_release,
        is_jeopardy,
        successor,
        is_removed,
        hash: _,
        is_due,
        is_spent,
        has_led,
        guard,
        awaits_keeper,
    } = lock;
    let flags = (*standing as u64)
        | key_flight.map_or(0, |flight| 1 + flight as u64) << 4
        | session_flight.map_or(0, |flight| 1 + flight as u64) << 8
        | u64::from(*is_jeopardy) << 12
        | u64::from(*is_removed) << 13
        | u64::from(successor.is_some()) << 14
        | u64::from(*is_spent) << 15
        | u64::from(*has_led) << 41
        | u64::from(*is_due) << 40
        | u64::from(*awaits_keeper) << 42
        | u64::from(!quiet.is_zero()) << 43
        | u64::from(*is_to_release) << 44
        | u64::from(!quiet_asked.is_zero()) << 45
        | u64::from((*attempt).min(STEPS_TOLD_APART)) << 16
        | u64::from((*losses).min(STEPS_TOLD_APART)) << 24;
    let oldest = coarse(nanos((spec.ttl * SESSION_LIVES).max(spec.hold_off)));
    let mut hash = mix(flags, text(session));
    hash = mix(hash, ago(*confirmed, now).min(oldest) | ago(*sent, now).min(oldest) << 32);
    hash = mix(hash, ago(*shown, now).min(oldest) | ago(*key_sent, now).min(oldest) << 32);
    hash = mix(hash, ago(*led_since, now).min(oldest) | ago(*left, now).min(oldest) << 32);
    hash = mix(hash, guard.map_or(0, |until| 1 + ahead(until, now)));
    hash = mix(hash ^ mix(*floor, *highest), mix(*index, *token ^ proof.rotate_left(32)));
    let Some(seen) = seen else { return hash };
    hash = mix(mix(hash, text(&seen.session)), seen.floor ^ seen.created.rotate_left(32));
    mix(hash, seen.modified << 1 | u64::from(seen.is_released))
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use core::time::Duration;

    use crate::config::{Command, Config, HealthCheck, Job};
    use crate::input::{ExitStatus, Tree};
    use crate::{Effect, Input, RunKind, Stamp};

    use super::*;

    /// An engine that began at an instant, with a job that runs and is checked every 10 s.
    fn running(began_ms: u64) -> Engine {
        let mut job = Job::new("app", Command::new(["/bin/app"]));
        job.health = Some(HealthCheck {
            command: Some(Arc::new(Command::new(["/bin/check"]))),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(2),
            ttl: None,
            retries: 3,
            start_period: Duration::ZERO,
            start_interval: None,
        });
        let config = Config { jobs: vec![Arc::new(job)], ..Config::default() };
        let mut engine = Engine::new(config, 1);
        feed(&mut engine, began_ms, Input::Begin);
        feed(&mut engine, began_ms + 1, Input::Started { run: run(RunKind::Main, 1), pid: 7 });
        engine
    }

    fn run(kind: RunKind, nth: u32) -> crate::RunId {
        crate::RunId { job: crate::JobId(0), kind, nth }
    }

    fn feed(engine: &mut Engine, at_ms: u64, input: Input) -> Vec<Effect> {
        let mut effects = Vec::new();
        engine.handle(Stamp::from_millis(at_ms), input, &mut effects);
        effects
    }

    fn hash(engine: &Engine) -> (u64, Vec<u64>) {
        let mut jobs = Vec::new();
        let rest = engine.canonical(&mut jobs);
        (rest, jobs)
    }

    #[test]
    fn the_same_state_at_another_time_is_the_same_and_its_exact_digest_is_not() {
        let (early, late) = (running(5), running(86_400_000));
        assert_eq!(hash(&early), hash(&late));
        assert_ne!(early.digest(), late.digest());
    }

    #[test]
    fn every_round_of_health_checks_ends_where_it_began() {
        let mut engine = running(0);
        let mut seen = Vec::new();
        for nth in 1..=4 {
            let at = u64::from(nth) * 10_000 + 1;
            feed(&mut engine, at, Input::Tick);
            let check = run(RunKind::Check, nth);
            let status = ExitStatus::Code(0);
            let (tree, output) = (Tree::Gone, "".into());
            feed(&mut engine, at + 10, Input::Exited { run: check, status, tree, output });
            seen.push(hash(&engine));
        }
        // Until ten seconds after its start the backoff has not forgiven anything.
        assert_eq!(seen[1], seen[2]);
        assert_eq!(seen[2], seen[3]);
    }

    #[test]
    fn what_happens_tells_states_apart() {
        let calm = running(0);
        let mut stopping = calm.clone();
        feed(&mut stopping, 2, Input::Signal(crate::event::SignalName::Term));
        let mut checking = calm.clone();
        feed(&mut checking, 10_001, Input::Tick);
        let mut waiting = calm.clone();
        feed(&mut waiting, 9_000, Input::Tick);
        let all = [hash(&calm), hash(&stopping), hash(&checking), hash(&waiting)];
        for (nth, one) in all.iter().enumerate() {
            assert!(!all[nth + 1..].contains(one), "state {nth} is not told apart");
        }
    }

    #[test]
    fn lengths_of_time_are_told_apart_by_a_tenth() {
        let second = 1_000_000_000;
        assert_eq!(coarse(10 * second), coarse(10 * second + 300_000));
        assert_ne!(coarse(10 * second), coarse(12 * second));
        assert_ne!(coarse(2_000_000), coarse(3_000_000));
        for nanos in [0, 1, second, u64::MAX] {
            assert!(coarse(nanos) < 1 << 10, "{nanos}");
        }
        let mut last = 0;
        for millis in 0..100_000_u64 {
            let now = coarse(millis * 1_000_000);
            assert!(now >= last, "{millis} ms");
            last = now;
        }
    }
}
