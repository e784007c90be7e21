//! Stopping everything: one budget for all stop sequences, and what happens when it is spent.

use alloc::vec::Vec;

use crate::defect::Defect;
use crate::effect::{Level, Message, ShutdownCause, StopPhase};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::JobId;
use crate::limits;
use crate::lock_state::LossReason;
use crate::slot::{Life, Process, Successor};
use crate::stop::KILLED_STATUS;
use crate::timers::GlobalTimer;

impl Engine {
    /// TERM or INT: the first stops in good order, the second hurries.
    pub(crate) fn on_stop_asked(&mut self) {
        match self.stage {
            Stage::New if self.planted(Defect::SignalBeforeBeginLost) => {}
            Stage::New => {
                self.stage = Stage::Running;
                self.begin_shutdown(ShutdownCause::Asked);
            }
            Stage::Running => self.begin_shutdown(ShutdownCause::Asked),
            Stage::Stopping { .. } if self.planted(Defect::SecondTermIgnored) => {}
            Stage::Stopping { .. } => {
                self.log(Level::Warn, None, Message::Hurrying);
                self.on_last_hooks_over();
            }
            Stage::Over => {}
        }
    }

    pub(crate) fn begin_shutdown(&mut self, cause: ShutdownCause) {
        let deadline = self.now.mono + self.config.stop_timeout;
        self.stage = Stage::Stopping { deadline, spent: false };
        self.timers.arm_global(GlobalTimer::StopBudget, deadline);
        self.log(Level::Info, None, Message::ShuttingDown { cause });
        self.refuse_waiting_reloads();
        self.end_watches();
        self.publish(Code::Shutdown, Source::Global);
    }

    /// Begins every stop sequence, when every job has seen the shutdown.
    pub(crate) fn stop_all(&mut self) {
        let is_wrong = self.planted(Defect::StoppedWithoutHavingRun);
        let is_reviving = self.planted(Defect::ReloadOutranksStop);
        for job in self.order_of_stopping() {
            let Some(slot) = self.slot_mut(job) else { continue };
            if !is_reviving {
                slot.successor = Successor::Nothing;
            }
            let is_fresh = slot.runs_of_definition == 0 && slot.pending == 0;
            match slot.life {
                Life::Waiting if slot.is_hook() => {}
                Life::Active if slot.is_hook() => {}
                Life::Waiting if is_fresh && !is_wrong => self.skip(job),
                Life::Waiting | Life::Active | Life::BackingOff => self.begin_stop(job),
                Life::Draining | Life::Withdrawing | Life::Ending => self.shorten_stop(job),
                Life::Ended(_) => {}
            }
        }
        for job in self.order_of_stopping() {
            self.check_possible(job);
        }
        self.give_up_locks(LossReason::Stopping);
    }

    /// The jobs of the configuration, and those that a reload took out and that still end.
    fn order_of_stopping(&self) -> Vec<JobId> {
        let mut is_gone = alloc::vec![true; self.slots.len()];
        for job in &self.order {
            is_gone[job.index()] = false;
        }
        let all = (0..self.slots.len()).map(|index| JobId(index as u16));
        let gone = all.filter(|job| is_gone[job.index()]);
        self.order.iter().copied().chain(gone).collect()
    }

    /// The budget is spent: everything that runs is killed; jobs that react to `stopped` may still.
    pub(crate) fn on_stop_budget_spent(&mut self) {
        let Stage::Stopping { deadline, .. } = self.stage else { return };
        if self.planted(Defect::BudgetNotEnforced) {
            return;
        }
        self.stage = Stage::Stopping { deadline, spent: true };
        let at = self.now.mono + limits::LAST_HOOKS_GRACE;
        self.timers.arm_global(GlobalTimer::LastHooks, at);
        self.force_all();
    }

    fn force_all(&mut self) {
        let after = self.config.stop_timeout;
        for job in self.order_of_stopping() {
            let Some(slot) = self.slot(job) else { continue };
            let phase = match slot.life {
                Life::Draining => StopPhase::Hooks,
                Life::Withdrawing => StopPhase::Catalog,
                Life::Active | Life::BackingOff | Life::Ending => StopPhase::Process,
                Life::Waiting | Life::Ended(_) => continue,
            };
            self.log(Level::Warn, Some(job), Message::StopBudgetSpent { after, phase });
            self.begin_stop(job);
            self.force(job);
        }
    }

    /// The last reactions have had their time, or somebody hurries: nothing starts any more.
    pub(crate) fn on_last_hooks_over(&mut self) {
        let Stage::Stopping { deadline, .. } = self.stage else { return };
        let latest = deadline + limits::LAST_HOOKS_GRACE;
        let at = self.now.mono.max(latest) + limits::FORCE_EXIT_AFTER;
        // Somebody who hurries late must not move the end.
        let is_armed = self.timers.is_armed_global(GlobalTimer::ForceExit);
        if !is_armed || self.planted(Defect::HurryingDelays) {
            self.timers.arm_global(GlobalTimer::ForceExit, at);
        }
        self.force_all();
        for job in self.order_of_stopping() {
            let Some(slot) = self.slot_mut(job) else { continue };
            if slot.life != Life::Waiting {
                continue;
            }
            slot.pending = 0;
            if slot.runs_of_definition > 0 {
                self.begin_stop(job);
                self.force(job);
            } else {
                self.skip(job);
            }
        }
    }

    /// The kernel has not ended what was killed: the supervisor ends without it.
    pub(crate) fn on_force_exit(&mut self) {
        if self.planted(Defect::UnkillableHolds) {
            return;
        }
        for job in self.order_of_stopping() {
            if self.slot(job).is_some_and(|slot| slot.process != Process::None) {
                self.log(Level::Error, Some(job), Message::Unkillable);
                self.unclean.get_or_insert(KILLED_STATUS);
            }
        }
        self.exit();
    }
}
