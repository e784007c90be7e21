//! Locks: standing for one, acquiring, renewing, losing and giving back, one session a term.
//!
//! The holder's deadline counts from the *sending* of the last renewal that was answered: Consul
//! starts the session's time to live no earlier. It also counts from the sending of the last
//! reading that showed the key as its own: nobody had deleted it before.
//!
//! Facts used (Consul 1.8.7, measured): a destroyed session bars its keys for the lock delay, an
//! orderly release does not; `ModifyIndex` of the granting transaction only grows, `LockIndex` does
//! not; a refused acquire looks the same whether the key is held or barred.

use alloc::boxed::Box;
use core::time::Duration;

use crate::consul::{ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, Owner};
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::LockId;
use crate::limits;
use crate::lock_state::LossReason;
use crate::lock_state::{KeyFlight, LockState, SessionFlight, Standing};
use crate::random;
use crate::random::mix;
use crate::registration::catalog_delay;
use crate::timers::LockTimer;

impl Engine {
    pub(crate) fn lock_state(&self, lock: LockId) -> Option<&LockState> {
        self.locks.get(lock.index())
    }

    pub(crate) fn lock_mut(&mut self, lock: LockId) -> Option<&mut LockState> {
        self.locks.get_mut(lock.index())
    }

    pub(crate) fn on_lock_timer(&mut self, lock: LockId, timer: LockTimer) {
        match timer {
            LockTimer::Renew => self.renew(lock),
            LockTimer::Deadline => self.on_lock_deadline(lock),
            LockTimer::Quiet => self.confirm_key(lock),
            LockTimer::Stand => {
                self.stand(lock);
                self.let_go(lock);
            }
            LockTimer::Read => self.read_key(lock),
            LockTimer::KeyReply => {
                let Some(nth) = self.lock_state(lock).map(|state| state.key_nth) else { return };
                self.on_key_reply(lock, nth, overdue());
            }
            LockTimer::SessionReply => {
                let Some(nth) = self.lock_state(lock).map(|state| state.session_nth) else {
                    return;
                };
                self.on_session_reply(lock, nth, overdue());
            }
            LockTimer::Grace => self.demote(lock, LossReason::Unhealthy),
            LockTimer::Patience => self.give_up_standing(lock),
            LockTimer::Unguarded => self.demote(lock, LossReason::Unguarded),
        }
        self.settle_lock(lock);
    }

    /// Stands for a lock, or takes the next step towards it.
    pub(crate) fn stand(&mut self, lock: LockId) {
        let may_stand = self.may_stand(lock);
        let is_blind = self.planted(Defect::KeyReadNotRepeated);
        let now = self.now.mono;
        if may_stand && self.lock_state(lock).is_some_and(|it| it.standing == Standing::Idle) {
            self.timers.stop_lock(lock, LockTimer::KeyReply);
            self.timers.stop_lock(lock, LockTimer::Read);
        }
        let Some(state) = self.lock_mut(lock) else { return };
        match state.standing {
            Standing::Idle if may_stand && !state.is_removed => {
                state.standing = Standing::Candidate;
                state.index = 0;
                // A reading from the time before it stood may take long to be answered.
                state.key_flight = None;
                if let Some(patience) = state.spec.give_up_after {
                    self.timers.arm_lock(lock, LockTimer::Patience, now + patience);
                }
            }
            Standing::Candidate => {}
            // A read of the key failed: whoever holds it must go on looking at it.
            Standing::Quiet | Standing::Leading if is_blind => return,
            Standing::Quiet | Standing::Leading => return self.read_key(lock),
            Standing::Idle | Standing::Demoting | Standing::Vacating => return,
        }
        let Some(state) = self.lock_mut(lock) else { return };
        if state.session.is_some() {
            self.read_key(lock);
        } else if state.session_flight.is_none() {
            self.ask_for_session(lock);
        }
    }

    fn ask_for_session(&mut self, lock: LockId) {
        let Some(LockState { spec, .. }) = self.lock_state(lock) else { return };
        let request = ConsulRequest::SessionCreate {
            name: spec.name.clone(),
            ttl: spec.ttl,
            lock_delay: spec.lock_delay,
        };
        self.send_session(lock, SessionFlight::Create, request);
    }

    fn renew(&mut self, lock: LockId) {
        if self.planted(Defect::RenewalWaitsForCheck) && self.is_checked(lock) {
            let at = self.now.mono + limits::WATCH_SPACING;
            return self.timers.arm_lock(lock, LockTimer::Renew, at);
        }
        let Some(state) = self.lock_mut(lock) else { return };
        let Some(session) = state.session.clone() else { return };
        if state.session_flight.is_none() && state.standing != Standing::Vacating {
            let request = ConsulRequest::SessionRenew { session };
            self.send_session(lock, SessionFlight::Renew, request);
        }
    }

    pub(crate) fn acquire(&mut self, lock: LockId) {
        let now = self.now.mono;
        let is_blind = self.planted(Defect::AcquiredWhateverItIs);
        let is_forgetful = self.planted(Defect::TokensCountAnew);
        let is_trusting = self.planted(Defect::DeletedKeyIsContinued);
        let Some(state) = self.lock_mut(lock) else { return };
        let Some(session) = state.session.clone() else { return };
        if state.key_flight.is_some() || state.standing != Standing::Candidate {
            return;
        }
        if state.is_too_old_at(now) {
            return self.stand_later(lock);
        }
        let value = state.spec.value.clone().unwrap_or_default();
        let modified = (!is_blind).then(|| state.seen.as_ref().map_or(0, |seen| seen.modified));
        state.quiet_asked = state.quiet_time(is_trusting);
        state.quiet = state.quiet.max(state.quiet_asked);
        let key = state.spec.key.clone();
        let floor = if is_forgetful { 0 } else { state.next_floor() };
        state.floor = floor;
        let request = ConsulRequest::Acquire { key, session, modified, floor, value };
        self.send_key(lock, KeyFlight::Acquire, request, Duration::ZERO);
    }

    pub(crate) fn send_key(
        &mut self,
        lock: LockId,
        flight: KeyFlight,
        request: ConsulRequest,
        wait: Duration,
    ) {
        let now = self.now.mono;
        let Some(state) = self.lock_mut(lock) else { return };
        state.key_nth = state.key_nth.wrapping_add(1).max(1);
        state.key_flight = Some(flight);
        state.key_sent = now;
        let timeout = state.spec.request_timeout + wait;
        let op = ConsulOp { owner: Owner::Lock(lock), nth: state.key_nth };
        let overdue = now + timeout + limits::REPLY_GRACE;
        self.timers.arm_lock(lock, LockTimer::KeyReply, overdue);
        self.out.push(Effect::Consul { op, request, timeout });
        self.settle_lock(lock);
    }

    pub(crate) fn send_session(
        &mut self,
        lock: LockId,
        flight: SessionFlight,
        request: ConsulRequest,
    ) {
        let now = self.now.mono;
        let Some(state) = self.lock_mut(lock) else { return };
        state.session_nth = state.session_nth.wrapping_add(1).max(1);
        state.session_flight = Some(flight);
        state.sent = now;
        let timeout = state.spec.request_timeout;
        let op = ConsulOp { owner: Owner::Session(lock), nth: state.session_nth };
        let overdue = now + timeout + limits::REPLY_GRACE;
        self.timers.arm_lock(lock, LockTimer::SessionReply, overdue);
        self.out.push(Effect::Consul { op, request, timeout });
        self.settle_lock(lock);
    }

    pub(crate) fn on_session_reply(&mut self, lock: LockId, nth: u32, reply: ConsulReply) {
        let Some(state) = self.lock_mut(lock) else { return };
        if state.session_nth != nth {
            return;
        }
        let Some(flight) = state.session_flight.take() else { return };
        self.timers.stop_lock(lock, LockTimer::SessionReply);
        match (flight, reply) {
            (SessionFlight::Create, ConsulReply::Session { id }) => self.on_session(lock, id),
            (SessionFlight::Renew, ConsulReply::Done) => self.on_renewed(lock),
            (SessionFlight::Renew, ConsulReply::Failed(ConsulFailure::Unknown)) => {
                self.on_session_lost(lock);
            }
            (SessionFlight::Destroy, ConsulReply::Failed(failure)) => {
                self.on_not_given_back(lock, failure);
            }
            (SessionFlight::Destroy, _) => self.on_destroyed(lock),
            (_, ConsulReply::Failed(failure)) => self.on_session_failed(lock, failure),
            (SessionFlight::Create | SessionFlight::Renew, _) => {
                let failure = ConsulFailure::Garbled("not the answer that was asked for".into());
                self.on_session_failed(lock, failure);
            }
        }
        self.settle_lock(lock);
    }

    fn on_session(&mut self, lock: LockId, id: Box<str>) {
        self.note_catalog_works();
        let now = self.now.mono;
        let is_wrong = self.planted(Defect::TermAgeFromTheAnswer);
        let is_repeated = self.planted(Defect::SecondSession);
        let Some(state) = self.lock_mut(lock) else { return };
        state.session = Some(id);
        state.confirmed = if is_wrong { now } else { state.sent };
        state.attempt = 0;
        let next = now + state.spec.renew_every;
        let is_wanted = state.standing == Standing::Candidate || is_repeated;
        self.timers.arm_lock(lock, LockTimer::Renew, next);
        if is_wanted {
            self.read_key(lock);
        } else {
            self.vacate(lock);
        }
    }

    fn on_renewed(&mut self, lock: LockId) {
        self.note_catalog_works();
        let now = self.now.mono;
        let is_wrong = self.planted(Defect::TermAgeFromTheAnswer);
        let is_credulous = self.planted(Defect::RenewalCountsAsReading);
        let Some(state) = self.lock_mut(lock) else { return };
        state.confirmed = if is_wrong { now } else { state.sent };
        if is_credulous {
            state.shown = state.shown.max(state.confirmed);
        }
        let was_jeopardy = core::mem::replace(&mut state.is_jeopardy, false);
        state.attempt = 0;
        // Consul answers again. The answer of a reading from before may be lost for good, and its
        // patience is long.
        let is_deaf = was_jeopardy && state.standing == Standing::Candidate;
        let is_deaf = is_deaf && state.key_flight == Some(KeyFlight::Read);
        let next = state.sent + state.spec.renew_every;
        self.timers.arm_lock(lock, LockTimer::Renew, next);
        self.move_deadline(lock);
        if let Some(state) = self.lock_mut(lock).filter(|_| is_deaf) {
            state.key_flight = None;
            self.read_key(lock);
        }
    }

    pub(crate) fn move_deadline(&mut self, lock: LockId) {
        let Some(state) = self.lock_state(lock) else { return };
        if matches!(state.standing, Standing::Quiet | Standing::Leading) {
            let deadline = state.demote_at();
            self.timers.arm_lock(lock, LockTimer::Deadline, deadline);
            self.guard(lock);
        }
    }

    fn on_session_failed(&mut self, lock: LockId, failure: ConsulFailure) {
        self.note_catalog_fails(failure);
        let (seed, now) = (self.seed, self.now.mono);
        let Some(state) = self.lock_mut(lock) else { return };
        state.attempt = state.attempt.saturating_add(1);
        let key = mix(u64::from(lock.0) | 3 << 60, u64::from(state.session_nth));
        if state.standing == Standing::Vacating {
            // It never had one.
            return self.on_destroyed(lock);
        }
        if state.session.is_none() {
            let delay = catalog_delay(seed, key, state.attempt);
            self.timers.arm_lock(lock, LockTimer::Stand, now + delay);
            return;
        }
        // Renewals are repeated quickly: the figures of the lock allow for a second between two
        // tries.
        let pause = retry_wait(seed, key);
        let was_jeopardy = core::mem::replace(&mut state.is_jeopardy, true);
        let is_first =
            matches!(state.standing, Standing::Quiet | Standing::Leading) && !was_jeopardy;
        self.timers.arm_lock(lock, LockTimer::Renew, now + pause);
        if is_first {
            self.publish(Code::Jeopardy, Source::Lock(lock));
        }
    }

    /// Consul does not know the session any more, or says so: a leader that has just begun may be
    /// wrong. So what a term holds is given back when it is over, as always.
    fn on_session_lost(&mut self, lock: LockId) {
        if self.planted(Defect::SessionLossIgnored) {
            return self.on_renewed(lock);
        }
        let is_credulous = self.planted(Defect::DeadGrantCounts);
        let is_repeated = self.planted(Defect::SecondSession);
        let is_forgetful = self.planted(Defect::UnknownSessionForgotten);
        let Some(state) = self.lock_mut(lock) else { return };
        let is_asking = state.key_flight == Some(KeyFlight::Acquire) && !is_credulous;
        if is_forgetful {
            state.session = None;
        }
        match state.standing {
            Standing::Leading if is_repeated => {
                state.session = None;
                self.ask_for_session(lock);
            }
            Standing::Candidate if is_asking && !is_forgetful => self.vacate(lock),
            Standing::Candidate => {
                state.session = None;
                // What it asked for with that session is worth nothing, even if it was granted.
                state.key_flight = state.key_flight.filter(|_| is_credulous);
                state.quiet = Duration::ZERO;
                // Perhaps Consul has forgotten everything: an old index would wait in vain.
                state.index = 0;
                self.stand(lock);
            }
            Standing::Quiet | Standing::Leading => self.demote(lock, LossReason::SessionGone),
            Standing::Idle | Standing::Demoting | Standing::Vacating => {}
        }
    }

    pub(crate) fn on_key_reply(&mut self, lock: LockId, nth: u32, reply: ConsulReply) {
        let Some(state) = self.lock_mut(lock) else { return };
        if state.key_nth != nth {
            return;
        }
        let Some(flight) = state.key_flight.take() else { return };
        self.timers.stop_lock(lock, LockTimer::KeyReply);
        match (flight, reply) {
            (KeyFlight::Read, ConsulReply::Keys { index, entries }) => {
                self.on_key_read(lock, index, entries);
            }
            (KeyFlight::Acquire, ConsulReply::Acquired { token: Some(token) }) => {
                self.on_granted(lock, token);
            }
            (KeyFlight::Acquire, ConsulReply::Acquired { token: None }) => self.on_refused(lock),
            (KeyFlight::Release, ConsulReply::Done) => self.on_key_released(lock),
            (KeyFlight::Release, ConsulReply::Failed(failure)) => {
                self.on_not_given_back(lock, failure);
            }
            (KeyFlight::Release, _) => self.destroy_session(lock),
            (_, ConsulReply::Failed(failure)) => {
                self.note_catalog_fails(failure);
                self.stand_later(lock);
            }
            (KeyFlight::Read | KeyFlight::Acquire, _) => self.stand_later(lock),
        }
        self.settle_lock(lock);
    }

    /// What was asked for last is granted, as the key was read just before.
    fn on_granted(&mut self, lock: LockId, index: u64) {
        if let Some(state) = self.lock_mut(lock) {
            state.quiet = state.quiet_asked;
        }
        self.on_acquired(lock, index);
    }

    /// An earlier try may be the reason, or this one, carried out twice: the key may be one's own.
    fn on_refused(&mut self, lock: LockId) {
        let is_believed = self.planted(Defect::RefusalBelieved);
        if let Some(state) = self.lock_mut(lock).filter(|_| is_believed) {
            state.quiet = Duration::ZERO;
        }
        self.stand_later(lock);
    }

    /// Looks again after a while: the key is barred, somebody was quicker, or the answer is open.
    pub(crate) fn stand_later(&mut self, lock: LockId) {
        let (seed, now) = (self.seed, self.now.mono);
        let is_wasteful = self.planted(Defect::SessionPerTry);
        let is_hammering = self.planted(Defect::BarredKeyHammered);
        let Some(state) = self.lock_mut(lock) else { return };
        if is_wasteful {
            state.session = None;
        }
        state.index = 0;
        state.attempt = state.attempt.saturating_add(1);
        let key = mix(u64::from(lock.0) | 4 << 60, u64::from(state.key_nth));
        let delay = catalog_delay(seed, key, state.attempt.min(4));
        let delay = match state.standing {
            // As often as renewals: the figures of the lock allow for it.
            Standing::Quiet | Standing::Leading => retry_wait(seed, key),
            Standing::Idle | Standing::Candidate | Standing::Demoting | Standing::Vacating => delay,
        };
        let delay = if is_hammering { Duration::from_millis(10) } else { delay };
        // Who does not stand only listens, and stands when its time has come.
        let next = match state.standing {
            Standing::Idle => LockTimer::Read,
            Standing::Candidate
            | Standing::Quiet
            | Standing::Leading
            | Standing::Demoting
            | Standing::Vacating => LockTimer::Stand,
        };
        self.timers.arm_lock(lock, next, now + delay);
    }

    /// The lock is granted: its term begins, perhaps with a quiet time.
    pub(crate) fn on_acquired(&mut self, lock: LockId, index: u64) {
        self.note_catalog_works();
        let now = self.now.mono;
        let is_trusting = self.planted(Defect::ContinuityAssumed);
        let Some(state) = self.lock_mut(lock) else { return };
        if state.standing != Standing::Candidate {
            return;
        }
        state.standing = Standing::Quiet;
        state.shown = state.key_sent;
        state.has_led = false;
        state.is_jeopardy = false;
        let token = state.floor.saturating_add(index);
        state.token = token;
        state.highest = state.highest.max(token);
        state.attempt = 0;
        state.index = 0;
        let (quiet, proof) = (state.quiet, state.proof);
        let deadline = state.demote_at();
        let name = state.spec.name.clone();
        self.timers.stop_lock(lock, LockTimer::Stand);
        self.timers.stop_lock(lock, LockTimer::Patience);
        self.timers.arm_lock(lock, LockTimer::Deadline, deadline);
        self.log(Level::Info, None, Message::LockGranted { lock: name, token, quiet });
        self.guard(lock);
        self.renew(lock);
        self.read_on(lock);
        if quiet.is_zero() || self.planted(Defect::NoQuietTime) || is_trusting && proof > 0 {
            self.begin_term(lock);
        } else {
            self.timers.arm_lock(lock, LockTimer::Quiet, now + quiet);
        }
    }

    pub(crate) fn settle_lock(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        let hash = state.fingerprint(lock);
        let old = core::mem::replace(&mut state.hash, hash);
        self.locks_digest ^= old ^ hash;
    }

    /// Tells whether anything of the supervisor is still in Consul because of a lock.
    pub(crate) fn has_sessions(&self) -> bool {
        self.locks.iter().any(|state| state.standing != Standing::Idle)
    }

    /// Tells whether this supervisor should stand for a lock at all.
    fn may_stand(&self, lock: LockId) -> bool {
        let is_needed =
            |job: &crate::id::JobId| self.slot(*job).is_some_and(|slot| !slot.is_ended());
        let jobs = self.wiring.held_jobs(lock);
        self.stage == Stage::Running
            && !self.maintenance
            && self.lock_state(lock).is_some_and(|state| !state.is_spent)
            && (jobs.is_empty() || jobs.iter().any(is_needed))
    }
}

/// Between two tries to renew a lock, or to read its key: as the check of its figures counts it.
fn retry_wait(seed: u64, key: u64) -> Duration {
    let most = limits::LOCK_RETRY_WAIT;
    let half = u64::try_from(most.as_nanos() / 2).unwrap_or(u64::MAX);
    most / 2 + Duration::from_nanos(random::below(seed, key, half))
}

fn overdue() -> ConsulReply {
    ConsulReply::Failed(ConsulFailure::Unreachable("no answer in time".into()))
}
