//! The keeper: what it is told, and what becomes of a term when it is not there.
//!
//! It is a process beside the supervisor. It knows until when the processes of each term may live
//! and kills them when that time has come, whatever has happened to the supervisor. The time is the
//! one that keeps two holders apart: the sending of the last answered renewal, `demoteAfter` and
//! `stopTimeout`. Every further renewal moves it on; when everything of the term has gone it is
//! lifted, before the lock is given back.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::Keeping;
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::Engine;
use crate::id::{JobId, LockId};
use crate::input::{KeeperNews, KeeperPowers};
use crate::limits;
use crate::lock_state::{LockState, Standing};
use crate::random::mix;
use crate::time::Time;
use crate::timers::{GlobalTimer, LockTimer};

/// What is known of the keeper.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Keeper {
    presence: Presence,
    /// Losses in a row.
    losses: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Presence {
    /// There is nothing to guard.
    #[default]
    Unwanted,
    /// It was asked for.
    Starting,
    /// It has this, and is there since then.
    Ready(KeeperPowers, Time),
    /// It has gone, and is asked for again when its timer says so.
    Lost,
}

impl Keeper {
    pub(crate) fn is_ready(&self) -> bool {
        self.powers().is_some()
    }

    pub(crate) const fn powers(&self) -> Option<KeeperPowers> {
        match self.presence {
            Presence::Ready(powers, _) => Some(powers),
            Presence::Unwanted | Presence::Starting | Presence::Lost => None,
        }
    }

    /// How long to wait before the next try: longer after each loss.
    fn patience(&self) -> Duration {
        let (first, longest) = limits::KEEPER_BACKOFF;
        first.saturating_mul(1 << self.losses.saturating_sub(1).min(16)).min(longest)
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        let losses = u64::from(self.losses) << 8;
        match self.presence {
            Presence::Unwanted => losses,
            Presence::Starting => losses | 1,
            Presence::Lost => losses | 2,
            Presence::Ready(powers, since) => {
                let flags = u64::from(powers.is_realtime) << 4
                    | u64::from(powers.is_locked) << 5
                    | u64::from(powers.is_spared) << 6;
                mix(since.0, losses | flags | 3)
            }
        }
    }
}

impl LockState {
    /// When everything of the term must be gone; none when there is nothing to guard.
    ///
    /// A term that is being ended keeps the time that it has: its processes end earlier anyway.
    fn wanted_guard(&self) -> Option<Time> {
        match self.standing {
            _ if self.spec.keeper == Keeping::Off => None,
            Standing::Quiet | Standing::Leading => Some(self.demote_at() + self.spec.stop_timeout),
            Standing::Demoting => self.guard,
            Standing::Idle | Standing::Candidate | Standing::Vacating => None,
        }
    }
}

impl Engine {
    /// Tells the keeper until when the processes of a term may live, if that has changed.
    pub(crate) fn guard(&mut self, lock: LockId) {
        let Some(state) = self.lock_state(lock) else { return };
        let is_stuck = self.planted(Defect::GuardNotMoved) && state.standing == Standing::Leading;
        let mut wanted = state.wanted_guard();
        if wanted.is_none() && self.planted(Defect::GuardNotLifted)
            || state.guard.is_some() && is_stuck
        {
            wanted = state.guard;
        }
        if state.standing == Standing::Quiet && self.planted(Defect::GuardAfterStart) {
            wanted = None;
        }
        if wanted != state.guard {
            self.tell_keeper(lock, wanted);
        }
    }

    /// A term begins. What needs the lock is guarded since the grant; now so is what ends with it.
    pub(crate) fn begin_guard(&mut self, lock: LockId) {
        let wanted = self.lock_state(lock).and_then(LockState::wanted_guard);
        if wanted.is_some() {
            self.tell_keeper(lock, wanted);
        }
    }

    fn tell_keeper(&mut self, lock: LockId, until: Option<Time>) {
        let is_late = self.planted(Defect::GuardTooLate);
        let jobs = self.guarded_jobs(lock);
        let Some(state) = self.lock_mut(lock) else { return };
        state.guard = until;
        let late = if is_late { state.spec.demote_after } else { Duration::ZERO };
        let told = until.map(|until| until + late);
        let is_over = self.locks.iter().all(|state| state.guard.is_none());
        match self.keeper.presence {
            Presence::Unwanted => {
                self.keeper.presence = Presence::Starting;
                let at = self.now.mono + limits::KEEPER_PATIENCE;
                self.timers.arm_global(GlobalTimer::Keeper, at);
            }
            Presence::Starting | Presence::Ready(..) => {}
            // Whoever is asked for next is told.
            Presence::Lost if !is_over => return,
            Presence::Lost => {}
        }
        self.out.push(Effect::Guard { lock, until: told, jobs });
        if is_over {
            // It ends with its last guard.
            self.keeper = Keeper::default();
            self.timers.stop_global(GlobalTimer::Keeper);
        }
    }

    /// Gives the jobs of which nothing may outlive a term.
    fn guarded_jobs(&self, lock: LockId) -> Vec<JobId> {
        let is_quiet = self.lock_state(lock).is_some_and(|it| it.standing == Standing::Quiet);
        let bound = if is_quiet { &[] } else { self.wiring.bound_jobs(lock) };
        self.wiring.held_jobs(lock).iter().chain(bound).copied().collect()
    }

    /// Says everything again: the jobs have changed, or there is a new keeper.
    pub(crate) fn renew_guards(&mut self) {
        for index in 0..self.locks.len() {
            let until = self.locks[index].guard;
            if until.is_some() {
                self.tell_keeper(LockId(index as u16), until);
            }
        }
    }

    pub(crate) fn on_keeper(&mut self, news: KeeperNews) {
        match news {
            KeeperNews::Ready(powers) => self.on_keeper_ready(powers),
            KeeperNews::Lost(reason) => self.on_keeper_lost(reason),
            KeeperNews::Killed { lock, count, after } => {
                let Some(state) = self.lock_state(lock) else { return };
                let lock = state.spec.name.clone();
                self.log(Level::Error, None, Message::KeeperKilled { lock, count, after });
            }
        }
    }

    fn on_keeper_ready(&mut self, powers: KeeperPowers) {
        if self.keeper.is_ready() || !self.is_guarding() {
            return;
        }
        self.keeper.presence = Presence::Ready(powers, self.now.mono);
        self.timers.stop_global(GlobalTimer::Keeper);
        self.log(Level::Info, None, Message::KeeperReady(powers));
        for index in 0..self.locks.len() {
            let lock = LockId(index as u16);
            self.timers.stop_lock(lock, LockTimer::Unguarded);
            if core::mem::take(&mut self.locks[index].awaits_keeper) {
                self.confirm_key(lock);
            }
            self.settle_lock(lock);
        }
    }

    fn on_keeper_lost(&mut self, reason: Box<str>) {
        if !self.is_guarding() {
            return;
        }
        let now = self.now.mono;
        let was_steady = match self.keeper.presence {
            Presence::Ready(_, since) => now.since(since) >= limits::KEEPER_STEADY,
            Presence::Unwanted | Presence::Starting | Presence::Lost => false,
        };
        self.keeper.presence = Presence::Lost;
        self.keeper.losses = if was_steady { 1 } else { self.keeper.losses.saturating_add(1) };
        if self.keeper.losses.is_power_of_two() {
            self.log(Level::Warn, None, Message::KeeperLost { reason });
        }
        self.timers.stop_global(GlobalTimer::Keeper);
        if !self.planted(Defect::KeeperNotReplaced) {
            self.timers.arm_global(GlobalTimer::Keeper, now + self.keeper.patience());
        }
        for index in 0..self.locks.len() {
            let is_term = matches!(self.locks[index].standing, Standing::Leading);
            if is_term && self.requires_keeper(LockId(index as u16)) {
                self.expect_keeper(LockId(index as u16));
            }
        }
    }

    /// There should be a keeper, and there is none: it is told everything again, and so started.
    pub(crate) fn on_keeper_due(&mut self) {
        if self.keeper.is_ready() || !self.is_guarding() {
            return;
        }
        if self.keeper.presence == Presence::Starting {
            // Asked for, and not heard of.
            self.keeper.losses = self.keeper.losses.saturating_add(1);
        }
        self.keeper.presence = Presence::Starting;
        self.timers.arm_global(
            GlobalTimer::Keeper,
            self.now.mono + self.keeper.patience().max(limits::KEEPER_PATIENCE),
        );
        self.renew_guards();
    }

    /// Tells whether a term has to wait for the keeper that it requires; not for long.
    pub(crate) fn awaits_keeper(&mut self, lock: LockId) -> bool {
        if self.keeper.is_ready() || !self.requires_keeper(lock) {
            return false;
        }
        if let Some(state) = self.lock_mut(lock) {
            state.awaits_keeper = true;
        }
        self.expect_keeper(lock);
        true
    }

    fn expect_keeper(&mut self, lock: LockId) {
        if !self.timers.is_lock_armed(lock, LockTimer::Unguarded) {
            let at = self.now.mono + limits::KEEPER_PATIENCE;
            self.timers.arm_lock(lock, LockTimer::Unguarded, at);
        }
    }

    fn requires_keeper(&self, lock: LockId) -> bool {
        let is_required = |state: &LockState| state.spec.keeper == Keeping::Required;
        !self.planted(Defect::KeeperNotRequired) && self.lock_state(lock).is_some_and(is_required)
    }

    fn is_guarding(&self) -> bool {
        self.locks.iter().any(|state| state.guard.is_some())
    }
}
