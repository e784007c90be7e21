//! A lock is given back: its key released, its session ended, again and again until Consul has
//! heard it or the session has surely gone.
//!
//! A session is of one term only: what is told late, or twice, can touch nothing of another.

use core::time::Duration;

use crate::consul::{ConsulFailure, ConsulRequest};
use crate::defect::Defect;
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::LockId;
use crate::limits;
use crate::lock_state::{KeyFlight, SessionFlight, Standing};
use crate::random::mix;
use crate::registration::catalog_delay;
use crate::slot::{Life, Slot};
use crate::timers::LockTimer;

impl Engine {
    /// Releases the key in order, so that nobody has to wait for the lock delay; then the session
    /// goes. Who has not kept its quiet time has no order to hand over: an older holder may be at
    /// work, and the lock delay bars the key for as long as that.
    pub(crate) fn vacate(&mut self, lock: LockId) {
        let is_rude = self.planted(Defect::LockNotReleased);
        let now = self.now.mono;
        let Some(state) = self.lock_mut(lock) else { return };
        let was_holding = state.standing == Standing::Demoting;
        state.standing = Standing::Vacating;
        state.left = now;
        state.attempt = 0;
        if was_holding && !self.planted(Defect::TokenFileKept) {
            self.put_token(lock, None);
        }
        let Some(state) = self.lock_mut(lock) else { return };
        let is_fit = state.is_fit_to_release(was_holding);
        let is_fit = is_fit || was_holding && self.planted(Defect::QuietHandedOver);
        let is_fit = is_fit && (was_holding || !self.planted(Defect::AskedKeyBarred));
        let Some(state) = self.lock_mut(lock) else { return };
        // What is under way about the key is of no interest any more; its answer is ignored. So is
        // that of a renewal: its failure must not end the standing before the session has gone.
        state.key_flight = None;
        state.session_flight = state.session_flight.filter(|it| *it != SessionFlight::Renew);
        state.is_to_release = is_fit && !is_rude;
        self.guard(lock);
        self.revive_bound_jobs(lock);
        for timer in [LockTimer::Renew, LockTimer::Stand, LockTimer::Read, LockTimer::KeyReply] {
            self.timers.stop_lock(lock, timer);
        }
        self.let_go(lock);
    }

    /// Takes the next step of giving a lock back, unless it is under way.
    pub(crate) fn let_go(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        let is_asking = state.key_flight.is_some() || state.session_flight.is_some();
        if state.standing != Standing::Vacating || is_asking {
            return;
        }
        let Some(session) = state.session.clone() else { return self.end_standing(lock) };
        if state.is_to_release {
            let value = state.spec.value.clone().unwrap_or_default();
            let (key, floor) = (state.spec.key.clone(), state.floor);
            let request = ConsulRequest::Release { key, session, floor, value };
            self.send_key(lock, KeyFlight::Release, request, Duration::ZERO);
        } else {
            self.destroy_session(lock);
        }
    }

    /// Consul was not told, or did not hear, that the lock is given back. It is told again for as
    /// long as the session may be there: else whoever comes next would wait for its end.
    pub(crate) fn on_not_given_back(&mut self, lock: LockId, failure: ConsulFailure) {
        let is_refused =
            matches!(failure, ConsulFailure::Refused { status, .. } if status / 100 == 4);
        self.note_catalog_fails(failure);
        let is_leaving = self.stage != Stage::Running || self.alive == 0;
        let is_once = self.planted(Defect::GivenBackOnce);
        let is_endless = self.planted(Defect::GivenBackForEver);
        let (seed, now) = (self.seed, self.now.mono);
        let Some(state) = self.lock_mut(lock) else { return };
        state.attempt = state.attempt.saturating_add(1);
        let nth = u64::from(state.key_nth) << 32 | u64::from(state.session_nth);
        let delay =
            catalog_delay(seed, mix(u64::from(lock.0) | 6 << 60, nth), state.attempt.min(3));
        let is_changed = state.successor.is_some() || state.is_removed;
        let is_vain = now + delay >= state.lives_until() && !is_endless;
        if !(is_leaving || is_refused || is_changed || is_vain || is_once) {
            return self.timers.arm_lock(lock, LockTimer::Stand, now + delay);
        }
        if state.is_to_release {
            self.destroy_session(lock);
        } else {
            self.on_destroyed(lock);
        }
    }

    /// The jobs that only had to end with the term run again, without the lock.
    fn revive_bound_jobs(&mut self, lock: LockId) {
        for job in self.wiring.bound_jobs(lock).to_vec() {
            let is_barred = |slot: &Slot| {
                slot.life == Life::Waiting && slot.pending == 0 && slot.runs_of_definition == 0
            };
            if self.slot(job).is_some_and(is_barred) {
                self.begin_job(job);
            }
        }
    }

    pub(crate) fn on_key_released(&mut self, lock: LockId) {
        // A candidate that let go of what it may have been about to get had nothing to lose.
        if self.lock_state(lock).is_some_and(|state| state.has_led) {
            self.publish(Code::Released, Source::Lock(lock));
        }
        self.destroy_session(lock);
    }

    pub(crate) fn destroy_session(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        let session = state.session.clone();
        let session = session.filter(|_| !self.planted(Defect::SessionReused));
        let Some(session) = session else { return self.end_standing(lock) };
        let Some(state) = self.lock_mut(lock) else { return };
        // A renewal under way is overtaken: its answer is ignored, the session goes all the same.
        state.session_flight = None;
        state.is_to_release = false;
        let request = ConsulRequest::SessionDestroy { session };
        self.send_session(lock, SessionFlight::Destroy, request);
    }

    pub(crate) fn on_destroyed(&mut self, lock: LockId) {
        if let Some(state) = self.lock_mut(lock) {
            state.session = None;
        }
        self.end_standing(lock);
    }

    /// Nothing of this term is left; the next one is some time away.
    fn end_standing(&mut self, lock: LockId) {
        let now = self.now.mono;
        let (is_thrifty, is_eager) =
            (self.planted(Defect::SessionReused), self.planted(Defect::HoldOffIgnored));
        self.timers.stop_all_of_lock(lock);
        let Some(state) = self.lock_mut(lock) else { return };
        state.standing = Standing::Idle;
        state.session = state.session.take().filter(|_| is_thrifty);
        state.session_flight = None;
        state.key_flight = None;
        state.has_led = false;
        state.is_to_release = false;
        state.proof = 0;
        state.quiet = Duration::ZERO;
        let left = state.left;
        if let Some(spec) = state.successor.take() {
            state.renew(spec);
        }
        let doublings = state.losses.saturating_sub(1).min(16);
        let wait = match state.losses {
            _ if is_eager => Duration::ZERO,
            0 => Duration::ZERO,
            _ => state.spec.hold_off.saturating_mul(1 << doublings).min(limits::HOLD_OFF_MAX),
        };
        self.timers.arm_lock(lock, LockTimer::Stand, now.max(left + wait));
        self.listen(lock);
        self.settle_lock(lock);
    }

    /// Who does not stand for a lock, for now, still says who holds it: its jobs may follow that
    /// one.
    fn listen(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        state.index = 0;
        if self.stage == Stage::Running && !self.lock_state(lock).is_some_and(|s| s.is_removed) {
            self.timers.arm_lock(lock, LockTimer::Read, self.now.mono + limits::WATCH_SPACING);
        }
    }
}
