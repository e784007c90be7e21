//! The hash for worlds whose time moves in ticks: every length of time counts as it is, in whole
//! ticks, rounded up. Nothing is merged that differs by a tick.
//!
//! Whoever uses it feeds the engine at ticks only, so that a timer takes effect at the first tick
//! that is not before it. Waits that the engine draws (jitter) must all be shorter than a tick:
//! then they are one tick long, and how often something was tried before decides nothing. The names
//! of sessions, and indexes, are left to the caller, who knows which of them are still alive.

use alloc::vec::Vec;
use core::time::Duration;

use super::{STEPS_TOLD_APART, nanos};
use crate::engine::{Engine, Stage};
use crate::id::LockId;
use crate::limits::{HOLD_OFF_MAX, SESSION_LIVES};
use crate::lock_state::{KeyFlight, LockState, Standing};
use crate::random::mix;
use crate::time::Time;
use crate::timers::Due;

/// What decides the future of one lock.
#[derive(Clone, Copy, Debug)]
pub struct LockInTicks<'a> {
    /// The session.
    pub session: Option<&'a str>,
    /// The session that was last seen to hold the key.
    pub seen: Option<&'a str>,
    /// Indexes, of which only the order counts; zero is none.
    pub indexes: [u64; 5],
    /// Whether its jobs may run.
    pub is_leading: bool,
    /// The hash of everything else.
    pub word: u64,
}

/// Counts lengths of time.
#[derive(Clone, Copy)]
struct Ruler {
    now: Time,
    tick: u64,
}

impl Ruler {
    fn new(now: Time, tick: Duration) -> Ruler {
        Ruler { now, tick: nanos(tick).max(1) }
    }

    fn ahead(self, at: Time) -> u64 {
        if at == Time::NEVER {
            u64::MAX
        } else {
            at.0.saturating_sub(self.now.0).div_ceil(self.tick)
        }
    }

    /// How long ago something was; what is longer ago than `most` makes no difference.
    fn ago(self, at: Time, most: Duration) -> u64 {
        let most = nanos(most).div_ceil(self.tick) + 1;
        self.now.0.saturating_sub(at.0).div_ceil(self.tick).min(most)
    }
}

impl Engine {
    /// Gives a hash of what decides the future but for the locks, `tick` being the length of a tick
    /// on the engine's clock, which shows `now`.
    pub fn canonical_in_ticks(&self, now: Time, tick: Duration) -> u64 {
        let ruler = Ruler::new(now, tick);
        let mut rest = mix(self.stage_word(), self.statuses_word());
        if let Stage::Stopping { deadline, .. } = self.stage {
            rest = mix(rest, ruler.ahead(deadline));
        }
        for slot in &self.slots {
            rest = mix(rest, self.timeless_slot_word(slot));
            rest = mix(rest, ruler.ahead(slot.stop_by));
        }
        for (at, name) in self.timers_in_order() {
            rest = mix(rest, ruler.ahead(at) << 32 ^ name);
        }
        rest
    }

    /// Gives what decides the future of a lock, likewise.
    pub fn lock_in_ticks(
        &self,
        lock: LockId,
        now: Time,
        tick: Duration,
    ) -> Option<LockInTicks<'_>> {
        let state = self.lock_state(lock)?;
        let is_standing = matches!(state.standing, Standing::Idle | Standing::Candidate);
        let seen = state.seen.as_ref();
        let only = |holds: bool, index: u64| if holds { index } else { 0 };
        Some(LockInTicks {
            session: state.session.as_deref(),
            seen: seen.and_then(|seen| seen.session.as_deref()),
            indexes: [
                state.index,
                only(is_standing, seen.map_or(0, |seen| seen.modified)),
                only(is_standing, seen.map_or(0, |seen| seen.created)),
                only(state.standing == Standing::Quiet, state.token),
                // The end of a term forgets it.
                only(is_standing, state.proof),
            ],
            is_leading: state.standing == Standing::Leading,
            word: word_in_ticks(state, Ruler::new(now, tick)),
        })
    }

    /// Gives every timer with a number for what it is for, the earliest first.
    fn timers_in_order(&self) -> Vec<(Time, u64)> {
        let number = |due: Due| match due {
            Due::Global(timer) => 1 << 24 | timer as u64,
            Due::Job(job, timer) => 2 << 24 | u64::from(job.0) << 8 | timer as u64,
            Due::Watch(watch, timer) => 3 << 24 | u64::from(watch.0) << 8 | timer as u64,
            Due::Lock(lock, timer) => 4 << 24 | u64::from(lock.0) << 8 | timer as u64,
        };
        let mut timers: Vec<_> = self.timers.entries().map(|(at, due)| (at, number(due))).collect();
        timers.sort_unstable();
        timers
    }
}

fn word_in_ticks(lock: &LockState, ruler: Ruler) -> u64 {
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
        index: _,
        seen: _,
        token: _,
        floor: _,
        highest: _,
        proof: _,
        quiet,
        quiet_asked,
        attempt: _,
        losses: _,
        led_since,
        left,
        is_to_release: _,
        is_jeopardy: _,
        successor: _,
        is_removed: _,
        hash: _,
        is_due: _,
        is_spent: _,
        has_led: _,
        guard,
        awaits_keeper: _,
    } = lock;
    let flags = flags_of(lock);
    // A term that is older than this ends with SIGKILL at once.
    let oldest = spec.demote_after + spec.stop_timeout;
    let is_vacating = *standing == Standing::Vacating;
    // A lock is given back again and again for as long as its session may be there.
    let counts = if is_vacating { spec.ttl * SESSION_LIVES } else { oldest };
    let confirmed = session.as_ref().map_or(0, |_| ruler.ago(*confirmed, counts));
    let is_holding = matches!(standing, Standing::Quiet | Standing::Leading);
    let shown = if is_holding { ruler.ago(*shown, oldest) } else { 0 };
    let may_show = is_holding || *standing == Standing::Candidate;
    let asked = key_flight.filter(|_| may_show).map_or(0, |_| ruler.ago(*key_sent, oldest));
    let sent = session_flight.map_or(0, |_| ruler.ago(*sent, oldest));
    let is_leading = *standing == Standing::Leading;
    let led = if is_leading { ruler.ago(*led_since, spec.hold_off) } else { 0 };
    let left = if is_vacating { ruler.ago(*left, HOLD_OFF_MAX) } else { 0 };
    let quiet = nanos(*quiet).div_ceil(ruler.tick);
    let is_asking = *key_flight == Some(KeyFlight::Acquire);
    let quiet_asked = if is_asking { nanos(*quiet_asked).div_ceil(ruler.tick) } else { 0 };
    let guard = guard.map_or(0, |until| 1 + ruler.ahead(until));
    let hash = mix(flags ^ quiet << 32 ^ guard << 48, confirmed | sent << 20 | led << 40);
    mix(hash, shown | asked << 16 | left << 32 | quiet_asked << 48)
}

fn flags_of(lock: &LockState) -> u64 {
    (lock.standing as u64)
        | lock.key_flight.map_or(0, |flight| 1 + flight as u64) << 4
        | lock.session_flight.map_or(0, |flight| 1 + flight as u64) << 8
        | u64::from(lock.is_jeopardy) << 12
        | u64::from(lock.is_removed) << 13
        | u64::from(lock.successor.is_some()) << 14
        | u64::from(lock.is_spent) << 15
        | u64::from(lock.is_due) << 16
        | u64::from(lock.has_led) << 19
        | u64::from(lock.awaits_keeper) << 20
        | u64::from(lock.seen.is_some()) << 17
        | u64::from(lock.seen.as_ref().is_some_and(|seen| seen.is_released)) << 18
        | u64::from(lock.is_to_release) << 22
        | u64::from(lock.losses.min(losses_told_apart(lock.spec.hold_off))) << 24
}

/// How many lost terms in a row make a difference: until the hold-off is as long as it gets.
fn losses_told_apart(hold_off: Duration) -> u32 {
    let is_longest = |losses: &u32| hold_off.saturating_mul(1 << (losses - 1)) >= HOLD_OFF_MAX;
    (1..16).find(is_longest).unwrap_or(STEPS_TOLD_APART)
}
