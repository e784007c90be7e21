//! What a lock means for the jobs that need it: they run exactly while it is held, and it is given
//! back only when everything of them has gone.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::consul::{ConsulRequest, Entry};
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::{JobId, LockId};
use crate::limits;
use crate::lock_state::{KeyFlight, LockState, SessionFlight, Standing};
use crate::slot::{Check, Life, Process, Successor};
use crate::timers::LockTimer;
use crate::variable;

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LossReason {
    /// No renewal was answered in time.
    Deadline,
    /// Consul does not know the session any more.
    SessionGone,
    /// The key is not held by this session any more.
    KeyGone,
    /// The job that has to be healthy was not, for too long.
    Unhealthy,
    /// Maintenance, a reload, or nothing needs the lock any more.
    GivenUp,
    /// The supervisor stops.
    Stopping,
}

impl LossReason {
    /// Tells whether the term was given up on purpose.
    pub const fn is_wanted(self) -> bool {
        match self {
            LossReason::GivenUp | LossReason::Stopping => true,
            LossReason::Deadline
            | LossReason::SessionGone
            | LossReason::KeyGone
            | LossReason::Unhealthy => false,
        }
    }
}

impl Engine {
    /// The quiet time is over: the jobs of the lock start.
    pub(crate) fn begin_term(&mut self, lock: LockId) {
        let now = self.now.mono;
        let is_careless = self.planted(Defect::LockAgeSeenLate);
        let is_forged = self.planted(Defect::TokenNotFromTheGrant);
        let Some(state) = self.lock_mut(lock) else { return };
        if state.standing != Standing::Quiet {
            return;
        }
        // Granted, but on the strength of a renewal that is too old: nothing starts.
        if now >= state.demote_at() && !is_careless {
            return self.demote(lock, LossReason::Deadline);
        }
        state.standing = Standing::Leading;
        state.led_since = now;
        let token = if is_forged { 1 } else { state.token };
        let name = state.spec.name.clone();
        let value = state.spec.value.clone().unwrap_or_default();
        let until_ms = state.demote_at().0 / 1_000_000;
        let token_name = variable::of_job("CONTAINERPILOT_LOCK", &name, "TOKEN");
        self.set_variable(token_name, Some(format!("{token}").into()));
        let until_name = variable::of_job("CONTAINERPILOT_LOCK", &name, "TERM_UNTIL");
        self.set_variable(until_name, Some(format!("{until_ms}").into()));
        self.put_token(lock, Some(format!("{token}\n").into()));
        let holder = variable::of_job("CONTAINERPILOT_LOCK", &name, "HOLDER");
        self.set_variable(holder, Some(value));
        self.log(Level::Info, None, Message::LockHeld { lock: name, token });
        self.publish(Code::Acquired, Source::Lock(lock));
        for job in self.wiring.held_jobs(lock).to_vec() {
            self.begin_job(job);
        }
        self.watch_health(lock);
    }

    /// Writes the file that holds the token, where one is wanted, or removes it.
    fn put_token(&mut self, lock: LockId, contents: Option<Box<str>>) {
        let path = self.lock_state(lock).and_then(|state| state.spec.token_file.clone());
        self.out.extend(path.map(|path| Effect::WriteFile { path, contents }));
    }

    /// Another holder was seen.
    pub(crate) fn observe(&mut self, lock: LockId, entry: &Entry) {
        let Some(state) = self.lock_state(lock) else { return };
        let name = state.spec.name.clone();
        let variable = variable::of_job("CONTAINERPILOT_LOCK", &name, "HOLDER");
        let value = crate::base64::decode_text(&entry.value);
        self.set_variable(variable, Some(value.into()));
        if !state_is_holding(self.lock_state(lock)) {
            let variable = variable::of_job("CONTAINERPILOT_LOCK", &name, "TOKEN");
            self.set_variable(variable, Some(format!("{}", entry.modified).into()));
        }
        self.publish(Code::Observed, Source::Lock(lock));
    }

    /// Looks at the age of every term before anything else: after a pause other timers are due as
    /// well, and none of them may start what must not run any more.
    pub(crate) fn check_lock_ages(&mut self) {
        if self.planted(Defect::LockAgeSeenLate) {
            return;
        }
        for index in 0..self.locks.len() {
            let state = &self.locks[index];
            let is_term = matches!(state.standing, Standing::Quiet | Standing::Leading);
            if is_term && self.now.mono >= state.demote_at() {
                let lock = LockId(index as u16);
                self.on_lock_deadline(lock);
                self.dispatch();
                self.settle_lock(lock);
            }
        }
    }

    /// The age of the last confirmed renewal has reached its limit.
    pub(crate) fn on_lock_deadline(&mut self, lock: LockId) {
        if self.planted(Defect::LockDeadlineIgnored) {
            return;
        }
        self.demote(lock, LossReason::Deadline);
    }

    /// Begins to stop the jobs of a lock. They must be gone by the deadline plus the lock's stop
    /// timeout; when that has passed already (after a pause), they are killed at once.
    pub(crate) fn demote(&mut self, lock: LockId, reason: LossReason) {
        let now = self.now.mono;
        let is_stubborn = self.planted(Defect::LockStoodForAgain);
        let Some(state) = self.lock_mut(lock) else { return };
        let was_leading = match state.standing {
            Standing::Leading => true,
            Standing::Quiet => false,
            Standing::Candidate => return self.vacate(lock),
            Standing::Idle | Standing::Demoting | Standing::Vacating => return,
        };
        state.standing = Standing::Demoting;
        state.is_jeopardy = false;
        state.is_due = false;
        let limit = state.demote_at().min(now) + state.spec.stop_timeout;
        let is_good_term = now.since(state.led_since) > state.spec.hold_off;
        state.losses = if was_leading && is_good_term { 1 } else { state.losses.saturating_add(1) };
        state.is_spent =
            was_leading && !state.spec.stands_again && !reason.is_wanted() && !is_stubborn;
        let name = state.spec.name.clone();
        for timer in [LockTimer::Deadline, LockTimer::Quiet, LockTimer::Grace] {
            self.timers.stop_lock(lock, timer);
        }
        let level = if reason.is_wanted() { Level::Info } else { Level::Warn };
        self.log(level, None, Message::LockLost { lock: name, reason });
        self.publish(Code::Lost, Source::Lock(lock));
        for job in self.wiring.held_jobs(lock).to_vec() {
            self.end_held_job(job, limit);
        }
        if was_leading {
            for job in self.wiring.bound_jobs(lock).to_vec() {
                self.end_held_job(job, limit);
            }
        }
        self.check_vacant(lock);
    }

    /// Nobody gave the lock up in time: its jobs never run.
    pub(crate) fn give_up_standing(&mut self, lock: LockId) {
        let is_endless = self.planted(Defect::LockPatienceEndless);
        let Some(state) = self.lock_mut(lock) else { return };
        if state.standing != Standing::Candidate || is_endless {
            return;
        }
        state.is_spent = true;
        let after = state.spec.give_up_after.unwrap_or_default();
        let name = state.spec.name.clone();
        self.log(Level::Warn, None, Message::LockGivenUp { lock: name, after });
        for job in self.wiring.held_jobs(lock).to_vec() {
            self.end_held_job(job, self.now.mono);
        }
        self.vacate(lock);
    }

    fn end_held_job(&mut self, job: JobId, limit: crate::time::Time) {
        if self.planted(Defect::LockJobsNotStopped) {
            return;
        }
        let is_spent = self.wiring.lock_of(job).and_then(|lock| self.lock_state(lock));
        let is_spent = is_spent.is_some_and(|state| state.is_spent);
        let is_running = self.stage == Stage::Running && !is_spent;
        let is_patient = self.planted(Defect::LockKillTooLate);
        let Some(slot) = self.slot_mut(job) else { return };
        if slot.is_ended() {
            return;
        }
        if slot.life == Life::Waiting && slot.pending == 0 {
            if is_spent {
                self.skip(job);
            }
            return;
        }
        if !is_patient {
            slot.stop_by = limit;
            self.timers.arm(job, crate::timers::Timer::StopBy, limit);
        }
        let Some(slot) = self.slot_mut(job) else { return };
        if is_running && slot.successor == Successor::Nothing {
            slot.successor = Successor::Job { spec: slot.spec.clone(), start: false };
        }
        if slot.is_stopping() {
            self.shorten_stop(job);
        } else {
            self.begin_stop(job);
        }
    }

    /// Gives the lock back when everything of its jobs has gone.
    pub(crate) fn check_vacant(&mut self, lock: LockId) {
        let is_gone = |job: &JobId| {
            self.slot(*job).is_none_or(|slot| {
                let is_over = matches!(slot.life, Life::Waiting | Life::Ended(_));
                is_over && slot.process == Process::None && slot.check == Check::Idle
            })
        };
        let is_demoting =
            self.lock_state(lock).is_some_and(|state| state.standing == Standing::Demoting);
        let is_hasty = self.planted(Defect::LockReleasedTooEarly);
        let mut jobs = self.wiring.held_jobs(lock).iter().chain(self.wiring.bound_jobs(lock));
        if is_demoting && (is_hasty || jobs.all(is_gone)) {
            self.vacate(lock);
        }
    }

    /// A job, or its check, has gone: the locks that waited for it may be given back.
    pub(crate) fn release_locks_of(&mut self, job: JobId) {
        let Some(lock) = self.wiring.lock_of(job) else { return };
        self.check_vacant(lock);
        let held = self.wiring.held_jobs(lock);
        let is_unneeded = held.iter().all(|job| {
            self.slot(*job)
                .is_none_or(|slot| slot.is_ended() && slot.successor == Successor::Nothing)
        });
        if is_unneeded && !held.is_empty() {
            self.demote(lock, LossReason::GivenUp);
        }
        self.settle_lock(lock);
    }

    /// Releases the key in order, so that nobody has to wait for the lock delay; then the session
    /// goes.
    pub(crate) fn vacate(&mut self, lock: LockId) {
        let is_rude = self.planted(Defect::LockNotReleased);
        let Some(state) = self.lock_mut(lock) else { return };
        let was_holding = state.standing == Standing::Demoting;
        state.standing = Standing::Vacating;
        if was_holding {
            self.put_token(lock, None);
        }
        let Some(state) = self.lock_mut(lock) else { return };
        // What is under way about the key is of no interest any more; its answer is ignored.
        state.key_flight = None;
        self.revive_bound_jobs(lock);
        for timer in [LockTimer::Renew, LockTimer::Stand, LockTimer::Read, LockTimer::KeyReply] {
            self.timers.stop_lock(lock, timer);
        }
        let Some(state) = self.lock_mut(lock) else { return };
        let Some(session) = state.session.clone() else {
            if state.session_flight.is_none() {
                self.end_standing(lock);
            }
            return;
        };
        if was_holding && !is_rude {
            let value = state.spec.value.clone().unwrap_or_default();
            let key = state.spec.key.clone();
            let request = ConsulRequest::Release { key, session, value };
            self.send_key(lock, KeyFlight::Release, request, core::time::Duration::ZERO);
        } else {
            self.destroy_session(lock);
        }
    }

    /// The jobs that only had to end with the term run again, without the lock.
    fn revive_bound_jobs(&mut self, lock: LockId) {
        for job in self.wiring.bound_jobs(lock).to_vec() {
            let is_barred = |slot: &crate::slot::Slot| {
                slot.life == Life::Waiting && slot.pending == 0 && slot.runs_of_definition == 0
            };
            if self.slot(job).is_some_and(is_barred) {
                self.begin_job(job);
            }
        }
    }

    pub(crate) fn on_key_released(&mut self, lock: LockId) {
        self.publish(Code::Released, Source::Lock(lock));
        self.destroy_session(lock);
    }

    pub(crate) fn destroy_session(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        let Some(session) = state.session.clone() else { return self.end_standing(lock) };
        // A renewal under way is overtaken: its answer is ignored, the session goes all the same.
        state.session_flight = None;
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
        self.timers.stop_all_of_lock(lock);
        let Some(state) = self.lock_mut(lock) else { return };
        state.standing = Standing::Idle;
        state.session = None;
        state.session_flight = None;
        state.key_flight = None;
        state.proof = 0;
        if let Some(spec) = state.successor.take() {
            state.renew(spec);
        }
        let doublings = state.losses.saturating_sub(1).min(16);
        let wait = match state.losses {
            0 => core::time::Duration::ZERO,
            _ => state.spec.hold_off.saturating_mul(1 << doublings).min(limits::HOLD_OFF_MAX),
        };
        self.timers.arm_lock(lock, LockTimer::Stand, now + wait);
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

    /// A job's health changed: the locks that depend on it begin, or stop, to count.
    pub(crate) fn on_health_of(&mut self, job: JobId) {
        for index in 0..self.locks.len() {
            let lock = LockId(index as u16);
            let Some(state) = self.lock_state(lock) else { continue };
            let name = self.slot(job).map(|slot| slot.spec.name.clone());
            if state.spec.healthy.is_some() && state.spec.healthy == name {
                self.watch_health(lock);
            }
        }
    }

    fn watch_health(&mut self, lock: LockId) {
        let Some(state) = self.lock_state(lock) else { return };
        if state.standing != Standing::Leading {
            return;
        }
        let Some(name) = &state.spec.healthy else { return };
        let grace = state.spec.health_grace;
        let is_named = |slot: &&crate::slot::Slot| slot.in_use && slot.spec.name == *name;
        let slot = self.slots.iter().find(is_named);
        let is_healthy = slot.is_some_and(|slot| slot.health == crate::slot::Health::Healthy);
        if is_healthy {
            self.timers.stop_lock(lock, LockTimer::Grace);
        } else if !self.timers.is_lock_armed(lock, LockTimer::Grace) {
            self.timers.arm_lock(lock, LockTimer::Grace, self.now.mono + grace);
        }
    }

    /// Gives up every lock: maintenance, or the end.
    pub(crate) fn give_up_locks(&mut self, reason: LossReason) {
        if self.planted(Defect::LockKeptInMaintenance) && reason == LossReason::GivenUp {
            return;
        }
        for index in 0..self.locks.len() {
            let lock = LockId(index as u16);
            if let Some(state) = self.lock_mut(lock) {
                state.losses = 0;
            }
            self.demote(lock, reason);
            if let Some(state) = self.lock_mut(lock) {
                state.losses = 0;
            }
            self.settle_lock(lock);
        }
    }

    /// Stands for every lock again, or for the first time.
    pub(crate) fn begin_locks(&mut self) {
        for index in 0..self.locks.len() {
            self.stand(LockId(index as u16));
        }
    }

    /// Puts the locks of a configuration in place; one that is the same keeps its term, one that
    /// changed or went is handed over in order.
    pub(crate) fn adopt_locks(&mut self) {
        let is_hasty = self.planted(Defect::ReloadEndsTerms);
        let specs = self.config.locks.clone();
        let mut kept: Vec<LockState> = core::mem::take(&mut self.locks);
        for state in &mut kept {
            let new = specs.iter().find(|spec| spec.name == state.spec.name);
            state.is_removed = new.is_none();
            state.successor = new.filter(|spec| **spec != state.spec || is_hasty).cloned();
            if state.standing == Standing::Idle
                && let Some(spec) = state.successor.take()
            {
                state.renew(spec);
            }
        }
        for spec in specs {
            if !kept.iter().any(|state| state.spec.name == spec.name) {
                kept.push(LockState::new(spec));
            }
        }
        self.locks = kept;
        self.locks_digest = 0;
        for index in 0..self.locks.len() {
            self.locks[index].hash = 0;
            self.settle_lock(LockId(index as u16));
        }
    }

    /// Hands over the locks that a reload changed, and stands for the new ones.
    pub(crate) fn renew_locks(&mut self) {
        for index in 0..self.locks.len() {
            let lock = LockId(index as u16);
            if self.locks[index].successor.is_some() || self.locks[index].is_removed {
                self.demote(lock, LossReason::GivenUp);
            }
            self.stand(lock);
            self.settle_lock(lock);
        }
    }

    /// Tells whether a job may run now as far as its lock is concerned: one that needs it, while
    /// it is held; one that ends with its terms, unless one is just ending.
    pub(crate) fn is_lock_held_for(&self, job: JobId) -> bool {
        let Some(slot) = self.slot(job) else { return true };
        let standing = self.wiring.lock_of(job).and_then(|lock| self.lock_state(lock));
        let standing = standing.map(|state| state.standing);
        match (&slot.spec.while_lock, &slot.spec.stop_with) {
            (Some(_), _) => standing == Some(Standing::Leading),
            (None, Some(_)) => standing != Some(Standing::Demoting),
            (None, None) => true,
        }
    }
}

fn state_is_holding(state: Option<&LockState>) -> bool {
    state.is_some_and(LockState::is_holding)
}
