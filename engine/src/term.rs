//! What a lock means for the jobs that need it: they run exactly while it is held, and it is given
//! back only when everything of them has gone.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use crate::consul::Entry;
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::{JobId, LockId};
use crate::key_reading::floor_of;
pub use crate::lock_state::LossReason;
use crate::lock_state::{LockState, Standing};
use crate::slot::{Check, Life, Process, Successor};
use crate::timers::LockTimer;
use crate::variable;

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
        if self.awaits_keeper(lock) {
            return;
        }
        let Some(state) = self.lock_mut(lock) else { return };
        state.standing = Standing::Leading;
        state.quiet = core::time::Duration::ZERO;
        state.led_since = now;
        let token = if is_forged { 1 } else { state.token };
        let name = state.spec.name.clone();
        let value = state.spec.value.clone().unwrap_or_default();
        let until_ms = state.demote_at().0 / 1_000_000;
        let token_name = variable::of_job("CONTAINERPILOT_LOCK", &name, "TOKEN");
        self.set_variable(token_name, Some(format!("{token}").into()));
        let until_name = variable::of_job("CONTAINERPILOT_LOCK", &name, "TERM_UNTIL");
        self.set_variable(until_name, Some(format!("{until_ms}").into()));
        let contents: Box<str> = format!("{token}\n").into();
        if !self.planted(Defect::TokenFileLate) {
            self.put_token(lock, Some(contents.clone()));
        }
        let holder = variable::of_job("CONTAINERPILOT_LOCK", &name, "HOLDER");
        self.set_variable(holder, Some(value));
        self.log(Level::Info, None, Message::LockHeld { lock: name, token });
        self.publish(Code::Acquired, Source::Lock(lock));
        let is_hasty = self.planted(Defect::GuardAfterStart);
        if !is_hasty {
            self.begin_guard(lock);
        }
        for job in self.wiring.held_jobs(lock).to_vec() {
            self.begin_job(job);
        }
        if is_hasty {
            self.begin_guard(lock);
        }
        if self.planted(Defect::TokenFileLate) {
            self.put_token(lock, Some(contents));
        }
        self.watch_health(lock);
    }

    /// Writes the file that holds the token, where one is wanted, or removes it.
    pub(crate) fn put_token(&mut self, lock: LockId, contents: Option<Box<str>>) {
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
            let token = floor_of(entry).saturating_add(entry.modified);
            self.set_variable(variable, Some(format!("{token}").into()));
        }
        self.publish(Code::Observed, Source::Lock(lock));
    }

    /// Looks at the age of every term before anything else: after a pause other timers are due as
    /// well, and none of them may start what must not run any more.
    pub(crate) fn check_lock_ages(&mut self) {
        if self.planted(Defect::SuspendNotCounted) {
            self.forget_suspend();
        }
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

    /// The age of the last confirmed renewal, or reading of the key, has reached its limit.
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
            Standing::Vacating if reason == LossReason::Stopping => return self.let_go(lock),
            Standing::Idle | Standing::Demoting | Standing::Vacating => return,
        };
        state.standing = Standing::Demoting;
        state.has_led = was_leading;
        state.is_jeopardy = false;
        state.is_due = false;
        state.awaits_keeper = false;
        let limit = state.demote_at().min(now) + state.spec.stop_timeout;
        let is_good_term = now.since(state.led_since) > state.spec.hold_off;
        state.losses = if was_leading && is_good_term { 1 } else { state.losses.saturating_add(1) };
        state.is_spent =
            was_leading && !state.spec.stands_again && !reason.is_wanted() && !is_stubborn;
        let name = state.spec.name.clone();
        for timer in [LockTimer::Deadline, LockTimer::Quiet, LockTimer::Grace, LockTimer::Unguarded]
        {
            self.timers.stop_lock(lock, timer);
        }
        let level = if reason.is_wanted() { Level::Info } else { Level::Warn };
        self.log(level, None, Message::LockLost { lock: name, reason });
        self.publish(Code::Lost, Source::Lock(lock));
        for job in self.wiring.held_jobs(lock).to_vec() {
            self.end_held_job(job, limit);
        }
        if was_leading && !self.planted(Defect::StopWithIgnored) {
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

    /// Tells whether a check of a job that needs a lock is under way.
    pub(crate) fn is_checked(&self, lock: LockId) -> bool {
        let held = self.wiring.held_jobs(lock).iter();
        held.filter_map(|job| self.slot(*job)).any(|slot| slot.check != Check::Idle)
    }

    /// Gives the lock back when everything of its jobs has gone.
    pub(crate) fn check_vacant(&mut self, lock: LockId) {
        let is_gone = |job: &JobId| {
            self.slot(*job).is_none_or(|slot| {
                let is_over = matches!(slot.life, Life::Waiting | Life::Ended(_));
                is_over && slot.process == Process::None && slot.check == Check::Idle
            })
        };
        let Some(state) = self.lock_state(lock) else { return };
        let is_demoting = state.standing == Standing::Demoting;
        let is_hasty = self.planted(Defect::LockReleasedTooEarly);
        // A term that had not begun stops nothing but its own jobs, and waits for nothing else.
        let has_led = state.has_led || self.planted(Defect::QuietLossWaits);
        let is_deaf = self.planted(Defect::StopWithNotWaitedFor);
        let bound = if has_led && !is_deaf { self.wiring.bound_jobs(lock) } else { &[] };
        let is_hasty =
            is_hasty || state.is_removed && self.planted(Defect::RemovedLockNotWaitedFor);
        let mut jobs = self.wiring.held_jobs(lock).iter().chain(bound);
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
        if is_unneeded && !held.is_empty() && !self.planted(Defect::LockKeptUnneeded) {
            self.demote(lock, LossReason::GivenUp);
        }
        self.settle_lock(lock);
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
        if state.standing != Standing::Leading || self.planted(Defect::LeaderHealthIgnored) {
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
            let is_slow = self.planted(Defect::ReloadKeepsTerms);
            if self.locks[index].successor.is_some() && !is_slow || self.locks[index].is_removed {
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
