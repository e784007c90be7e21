//! Locks: standing for one, acquiring, renewing, losing and giving back, one session a term.
//!
//! The holder's deadline counts from the *sending* of the last renewal that was answered: Consul
//! starts the session's time to live no earlier. Facts used (Consul 1.8.7, measured): a destroyed
//! session bars its keys for the lock delay, an orderly release does not; `ModifyIndex` of the
//! granting transaction only grows, `LockIndex` does not; a refused acquire looks the same whether
//! the key is held or barred.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use crate::config::{Lock, Takeover};
use crate::consul::{ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, Entry, Owner};
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::LockId;
use crate::limits;
use crate::lock_state::{KeyFlight, LockState, Seen, SessionFlight, Standing};
use crate::random;
use crate::random::mix;
use crate::registration::catalog_delay;
use crate::term::LossReason;
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
            LockTimer::Stand => self.stand(lock),
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
            let spec = &state.spec;
            let request = ConsulRequest::SessionCreate {
                name: spec.name.clone(),
                ttl: spec.ttl,
                lock_delay: spec.lock_delay,
            };
            self.send_session(lock, SessionFlight::Create, request);
        }
    }

    fn renew(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        let Some(session) = state.session.clone() else { return };
        if state.session_flight.is_none() && state.standing != Standing::Vacating {
            let request = ConsulRequest::SessionRenew { session };
            self.send_session(lock, SessionFlight::Renew, request);
        }
    }

    fn read_key(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        if state.key_flight.is_some() {
            return;
        }
        let index = state.index;
        // A holder must hear within its quiet successor's patience that its key was deleted, also
        // when an answer gets lost.
        let longest = match state.standing {
            Standing::Quiet | Standing::Leading => state.spec.renew_every.min(limits::WATCH_WAIT),
            Standing::Idle | Standing::Candidate | Standing::Demoting | Standing::Vacating => {
                limits::WATCH_WAIT
            }
        };
        let wait = if index == 0 { Duration::ZERO } else { longest };
        let request = ConsulRequest::LockRead { key: state.spec.key.clone(), index, wait };
        self.send_key(lock, KeyFlight::Read, request, wait + wait / 16);
    }

    /// The quiet time is over: reads the key once more before anything starts. An operator may have
    /// deleted it, and a renewal of the session does not tell.
    fn confirm_key(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        if state.standing != Standing::Quiet {
            return;
        }
        state.is_due = true;
        state.index = 0;
        // The answer of a blocking read that is under way comes too late to count.
        state.key_flight = None;
        self.read_key(lock);
    }

    fn acquire(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        let Some(session) = state.session.clone() else { return };
        if state.key_flight.is_some() || state.standing != Standing::Candidate {
            return;
        }
        let value = state.spec.value.clone().unwrap_or_default();
        let request = ConsulRequest::Acquire { key: state.spec.key.clone(), session, value };
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
        let Some(state) = self.lock_mut(lock) else { return };
        state.session = Some(id);
        state.confirmed = state.sent;
        state.attempt = 0;
        let next = now + state.spec.renew_every;
        let is_wanted = state.standing == Standing::Candidate;
        self.timers.arm_lock(lock, LockTimer::Renew, next);
        if is_wanted {
            self.read_key(lock);
        } else {
            self.vacate(lock);
        }
    }

    fn on_renewed(&mut self, lock: LockId) {
        self.note_catalog_works();
        let Some(state) = self.lock_mut(lock) else { return };
        state.confirmed = state.sent;
        state.is_jeopardy = false;
        state.attempt = 0;
        let next = state.sent + state.spec.renew_every;
        let deadline = matches!(state.standing, Standing::Quiet | Standing::Leading)
            .then(|| state.demote_at());
        self.timers.arm_lock(lock, LockTimer::Renew, next);
        if let Some(deadline) = deadline {
            self.timers.arm_lock(lock, LockTimer::Deadline, deadline);
        }
    }

    fn on_session_failed(&mut self, lock: LockId, failure: ConsulFailure) {
        self.note_catalog_fails(failure);
        let (seed, now) = (self.seed, self.now.mono);
        let Some(state) = self.lock_mut(lock) else { return };
        state.attempt = state.attempt.saturating_add(1);
        let key = mix(u64::from(lock.0) | 3 << 60, u64::from(state.session_nth));
        if state.standing == Standing::Vacating {
            return self.on_destroyed(lock);
        }
        if state.session.is_none() {
            let delay = catalog_delay(seed, key, state.attempt);
            self.timers.arm_lock(lock, LockTimer::Stand, now + delay);
            return;
        }
        // Renewals are repeated quickly: the figures of the lock allow for a second between two
        // tries.
        let pause = Duration::from_nanos(500_000_000 + random::below(seed, key, 500_000_000));
        let is_first = matches!(state.standing, Standing::Quiet | Standing::Leading)
            && !core::mem::replace(&mut state.is_jeopardy, true);
        self.timers.arm_lock(lock, LockTimer::Renew, now + pause);
        if is_first {
            self.publish(Code::Jeopardy, Source::Lock(lock));
        }
    }

    /// Consul does not know the session any more.
    fn on_session_lost(&mut self, lock: LockId) {
        if self.planted(Defect::SessionLossIgnored) {
            return self.on_renewed(lock);
        }
        let Some(state) = self.lock_mut(lock) else { return };
        state.session = None;
        match state.standing {
            Standing::Candidate => self.stand(lock),
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
                self.on_acquired(lock, token);
            }
            (KeyFlight::Acquire, ConsulReply::Acquired { token: None }) => self.stand_later(lock),
            (KeyFlight::Release, ConsulReply::Done) => self.on_key_released(lock),
            (KeyFlight::Release, _) => self.destroy_session(lock),
            (_, ConsulReply::Failed(failure)) => {
                self.note_catalog_fails(failure);
                self.stand_later(lock);
            }
            (KeyFlight::Read | KeyFlight::Acquire, _) => self.stand_later(lock),
        }
        self.settle_lock(lock);
    }

    /// Looks again after a while: the key is barred, somebody was quicker, or the answer is open.
    fn stand_later(&mut self, lock: LockId) {
        let (seed, now) = (self.seed, self.now.mono);
        let is_wasteful = self.planted(Defect::SessionPerTry);
        let Some(state) = self.lock_mut(lock) else { return };
        if is_wasteful {
            state.session = None;
        }
        state.index = 0;
        state.attempt = state.attempt.saturating_add(1);
        let key = mix(u64::from(lock.0) | 4 << 60, u64::from(state.key_nth));
        let delay = catalog_delay(seed, key, state.attempt.min(4));
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

    fn on_key_read(&mut self, lock: LockId, index: u64, entries: Vec<Entry>) {
        self.note_catalog_works();
        let now = self.now.mono;
        let Some(state) = self.lock_mut(lock) else { return };
        state.index = if index < state.index { 0 } else { index.max(1) };
        let entry = entries.into_iter().find(|entry| entry.key == state.spec.key);
        let before = state.seen.take();
        let holder = entry.as_ref().and_then(|entry| entry.session.clone());
        let modified = entry.as_ref().map_or(0, |entry| entry.modified);
        let is_released = entry.as_ref().is_some_and(|entry| entry.flags == limits::RELEASED_FLAG);
        state.seen = Some(Seen { session: holder.clone(), modified, is_released });
        let is_ours = holder.is_some() && holder == state.session;
        let is_due = core::mem::take(&mut state.is_due);
        if holder.is_some() && !is_ours {
            state.proof = state.proof.max(modified);
        } else if entry.is_none() {
            // Deleted, or never there: who held it may still be at work, and nothing bars the key.
            state.proof = 0;
        }
        let was_held = before.as_ref().is_some_and(|seen| seen.session.is_some());
        let is_other = holder.is_some()
            && !is_ours
            && before.as_ref().is_none_or(|seen| seen.session != holder);
        if is_other && let Some(entry) = entry {
            self.observe(lock, &entry);
        }
        let standing = self.lock_state(lock).map(|state| state.standing);
        match standing {
            Some(Standing::Candidate) if is_ours => self.on_acquired(lock, modified),
            Some(Standing::Candidate) if holder.is_none() && was_held => {
                let delay = self.herd_delay(lock);
                self.timers.arm_lock(lock, LockTimer::Stand, now + delay);
            }
            Some(Standing::Candidate) if holder.is_none() => self.acquire(lock),
            Some(Standing::Candidate) => self.read_on(lock),
            Some(Standing::Quiet) if is_ours && is_due => {
                self.read_on(lock);
                self.begin_term(lock);
            }
            Some(Standing::Quiet | Standing::Leading) if is_ours => self.read_on(lock),
            Some(Standing::Quiet | Standing::Leading)
                if self.planted(Defect::SessionLossIgnored) =>
            {
                self.read_on(lock);
            }
            Some(Standing::Quiet | Standing::Leading) => self.demote(lock, LossReason::KeyGone),
            Some(Standing::Idle) => self.read_on(lock),
            Some(Standing::Demoting | Standing::Vacating) | None => {}
        }
    }

    /// Reads the key again, blocking; never in a busy loop.
    fn read_on(&mut self, lock: LockId) {
        let at = self.now.mono + limits::WATCH_SPACING;
        self.timers.arm_lock(lock, LockTimer::Read, at);
    }

    /// Spreads the candidates of one lock when it becomes free: all of them hear it at once.
    fn herd_delay(&mut self, lock: LockId) -> Duration {
        let seed = self.seed;
        let Some(state) = self.lock_mut(lock) else { return Duration::ZERO };
        state.index = 0;
        let session = state.session.as_deref().unwrap_or("");
        let key = session.bytes().fold(5 << 60, |key, byte| mix(key, u64::from(byte)));
        Duration::from_nanos(random::below(seed, key, limits::HERD_SPREAD_NS))
    }

    /// The lock is granted: its term begins, perhaps with a quiet time.
    fn on_acquired(&mut self, lock: LockId, token: u64) {
        self.note_catalog_works();
        let now = self.now.mono;
        let Some(state) = self.lock_mut(lock) else { return };
        if state.standing != Standing::Candidate {
            return;
        }
        state.standing = Standing::Quiet;
        state.token = token;
        state.attempt = 0;
        state.index = 0;
        let quiet = quiet_time(state);
        let deadline = state.demote_at();
        let name = state.spec.name.clone();
        self.timers.stop_lock(lock, LockTimer::Stand);
        self.timers.stop_lock(lock, LockTimer::Patience);
        self.timers.arm_lock(lock, LockTimer::Deadline, deadline);
        self.log(Level::Info, None, Message::LockGranted { lock: name, token, quiet });
        self.renew(lock);
        self.read_on(lock);
        if quiet.is_zero() || self.planted(Defect::NoQuietTime) {
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

/// How long a new holder keeps quiet (inequality I3): not at all when it can see that Consul
/// remembers the holder before, else as long as that holder may still be at work.
fn quiet_time(state: &LockState) -> Duration {
    let seen = state.seen.as_ref();
    let is_handed_over = seen.is_some_and(|seen| seen.is_released);
    let is_continued = state.proof > 0 && seen.is_some_and(|seen| seen.modified > state.proof);
    match state.spec.takeover {
        Takeover::After(quiet) => quiet,
        Takeover::Auto if is_handed_over || is_continued => Duration::ZERO,
        Takeover::Auto => longest_old_term(&state.spec),
    }
}

/// f·(A + P + g + κ) of the inequalities, rounded up to the millisecond, in integers.
fn longest_old_term(spec: &Lock) -> Duration {
    let sum = spec.demote_after + spec.stop_timeout + spec.max_pause + limits::KILL_LATENCY;
    let million = 1_000_000u128;
    let drift = u128::from(spec.max_drift_ppm).min(500_000);
    let nanos = sum.as_nanos() * (million + drift) / (million - drift);
    let millis = u64::try_from(nanos / 1_000_000 + 1).unwrap_or(u64::MAX);
    Duration::from_millis(millis)
}

fn overdue() -> ConsulReply {
    ConsulReply::Failed(ConsulFailure::Unreachable("no answer in time".into()))
}
