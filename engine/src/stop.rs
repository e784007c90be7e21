//! Stopping: one job by itself, or everything, with one budget for all phases.
//!
//! A job's stop sequence: publish `stopping`; wait for the jobs that react to it, no longer than
//! its stop timeout; ask its process to end, force it after the kill timeout; when everything of it
//! has gone, publish `stopped`. A shutdown runs all these sequences side by side.

use core::time::Duration;

use crate::config::Signal;
use crate::defect::Defect;
use crate::effect::{DropReason, Effect, Level, Message, ShutdownCause};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::JobId;
use crate::input::ExitStatus;
use crate::slot::{Life, Outcome, Process, Successor, Told};
use crate::time::Time;
use crate::timers::Timer;

/// The status of a process that SIGKILL ended, as a shell shows it.
pub(crate) const KILLED_STATUS: u8 = 137;

impl Engine {
    /// Ends a job that has run for the last time by itself.
    pub(crate) fn complete(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.is_stopping() {
            return;
        }
        if self.stage == Stage::Running {
            let is_raw = self.planted(Defect::SignalStatusRaw);
            let status = match slot.last_exit {
                _ if slot.gave_up => 1,
                Some(ExitStatus::Signal(signal)) if is_raw => signal,
                Some(exit) => exit.code(),
                None => 0,
            };
            if self.planted(Defect::LastFailureWins) {
                self.failure = None;
            }
            if status != 0 && !self.planted(Defect::FailureForgotten) {
                self.failure.get_or_insert(status);
            }
        }
        self.begin_stop(job);
    }

    /// Begins a job's stop sequence.
    pub(crate) fn begin_stop(&mut self, job: JobId) {
        let Some(slot) = self.slot_mut(job) else { return };
        if slot.is_stopping() {
            return;
        }
        slot.life = Life::Draining;
        slot.retrying = false;
        let dropped = core::mem::take(&mut slot.pending);
        let is_running = slot.process != Process::None;
        for timer in [Timer::Trigger, Timer::Due, Timer::Restart] {
            self.timers.stop(job, timer);
        }
        if dropped > 0 && !self.planted(Defect::DroppedSilently) {
            let reason = DropReason::Stopping;
            self.log(Level::Info, Some(job), Message::TriggersDropped { count: dropped, reason });
        }
        if is_running {
            self.log(Level::Debug, Some(job), Message::Stopping);
        }
        self.publish(Code::Stopping, Source::Job(job));
    }

    /// Goes on when every job has seen the `stopping`.
    pub(crate) fn after_stopping(&mut self, job: JobId) {
        let is_draining = self.slot(job).is_some_and(|slot| slot.life == Life::Draining);
        if is_draining && self.is_waited_for(job) {
            let limit = self.hooks_limit(job);
            self.timers.arm(job, Timer::Hooks, self.now.mono + limit);
        }
        self.check_drained(job);
    }

    /// Ends the process of a stopping job when nobody that reacts to its `stopping` is busy any
    /// more.
    pub(crate) fn check_drained(&mut self, job: JobId) {
        let is_draining = self.slot(job).is_some_and(|slot| slot.life == Life::Draining);
        if is_draining && !self.is_waited_for(job) && !self.is_queued_stopping(job) {
            self.end_process(job);
        }
    }

    /// Tells whether the `stopping` of a job still waits to be seen by the others.
    fn is_queued_stopping(&self, job: JobId) -> bool {
        let is_it = |event: &crate::event::Event| {
            event.code == Code::Stopping && event.source == Source::Job(job)
        };
        self.queue.iter().any(is_it)
    }

    fn is_waited_for(&self, job: JobId) -> bool {
        let is_busy = |other: &JobId| self.slot(*other).is_some_and(|slot| slot.is_busy());
        let hooks = match self.wiring.hooks(job) {
            _ if self.planted(Defect::HooksNotWaitedFor) => &[],
            [.., last] if self.planted(Defect::LastHookOnly) => core::slice::from_ref(last),
            all => all,
        };
        if hooks.iter().any(is_busy) {
            return true;
        }
        let is_stopping = matches!(self.stage, Stage::Stopping { .. });
        is_stopping && self.wiring.carried(job).iter().any(is_busy)
    }

    /// How long a job waits for others before its process is told to end: its own stop timeout,
    /// else what leaves its process a tenth of the budget (a second at most).
    fn hooks_limit(&self, job: JobId) -> Duration {
        let own = self.slot(job).and_then(|slot| slot.spec.stop_timeout);
        let own = own.filter(|_| !self.planted(Defect::HookLimitIgnored));
        let budget = self.config.stop_timeout;
        let limit = own.unwrap_or(budget - self.reserve());
        limit.min(self.latest_signal(job).since(self.now.mono))
    }

    /// When everything of a stopping job must have gone: the end of the stop budget, or of a term.
    pub(crate) fn latest_end(&self, job: JobId) -> Time {
        let by_lock = self.slot(job).map_or(Time::NEVER, |slot| slot.stop_by);
        match self.stage {
            Stage::Stopping { deadline, spent: false } => by_lock.min(deadline),
            Stage::New | Stage::Running | Stage::Stopping { spent: true, .. } | Stage::Over => {
                by_lock
            }
        }
    }

    /// When the process of a stopping job is told to end whatever is still waited for.
    fn latest_signal(&self, job: JobId) -> Time {
        let end = self.latest_end(job);
        if end == Time::NEVER {
            return end;
        }
        let reserve = match self.slot(job) {
            Some(slot) if slot.stop_by == end => self.reserve().min(end.since(self.now.mono) / 10),
            Some(_) | None => self.reserve(),
        };
        end - reserve
    }

    /// The term of a job's lock is over, with its stop timeout: whatever is left is killed.
    pub(crate) fn on_stop_by(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.is_stopping() && !slot.is_ended() && slot.told != Told::Kill {
            self.force(job);
        }
    }

    /// The jobs that react to a `stopping` have had their time: they are cut.
    pub(crate) fn on_hooks_timeout(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.life != Life::Draining {
            return;
        }
        let after = slot.spec.stop_timeout.unwrap_or(self.config.stop_timeout);
        self.log(Level::Warn, Some(job), Message::HooksCut { after });
        if self.planted(Defect::HooksNotCut) {
            return self.end_process(job);
        }
        for hook in self.wiring.hooks(job).to_vec() {
            self.begin_stop(hook);
        }
        self.end_process(job);
    }

    /// Takes a stopping job out of the catalog, then ends its process.
    fn end_process(&mut self, job: JobId) {
        self.timers.stop(job, Timer::Hooks);
        self.end_checks(job);
        if !self.withdraw(job) {
            self.end_withdrawn(job);
        }
    }

    /// The job is out of the catalog: it drains, if it has a process to drain.
    pub(crate) fn on_withdrawn(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        let drain = slot.spec.service.as_ref().map(|service| service.drain).unwrap_or_default();
        if drain.is_zero() || slot.process == Process::None {
            return self.end_withdrawn(job);
        }
        let at = (self.now.mono + drain).min(self.latest_signal(job));
        self.timers.arm(job, Timer::Withdraw, at);
    }

    /// The deregistration or the drain has had its time.
    pub(crate) fn on_withdraw_timeout(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.life == Life::Withdrawing {
            self.end_withdrawn(job);
        }
    }

    /// What the process of a stopping job keeps of the budget whatever comes before.
    fn reserve(&self) -> Duration {
        (self.config.stop_timeout / 10).min(Duration::from_secs(1))
    }

    /// Tells the process of a stopping job to end, or finishes when there is none.
    pub(crate) fn end_withdrawn(&mut self, job: JobId) {
        self.timers.stop(job, Timer::Withdraw);
        let Some(slot) = self.slot_mut(job) else { return };
        slot.life = Life::Ending;
        match slot.process {
            Process::None => self.finish_stop(job),
            Process::Starting { .. } | Process::Running { .. } | Process::Leftovers => {
                if slot.told == Told::Nothing {
                    self.tell_to_stop(job);
                }
                if self.planted(Defect::StoppedBeforeGone) {
                    self.publish(Code::Stopped, Source::Job(job));
                } else {
                    self.shorten_stop(job);
                }
            }
        }
    }

    /// Sends the stop signal and gives the process its kill timeout, within the stop budget.
    pub(crate) fn tell_to_stop(&mut self, job: JobId) {
        let budget = self.config.stop_timeout;
        let now = self.now.mono;
        let latest = self.latest_end(job);
        let is_ignored = self.planted(Defect::KillTimeoutIgnored);
        let is_impatient = self.planted(Defect::KilledAtOnce);
        let is_plain = self.planted(Defect::StopSignalIgnored);
        let Some(slot) = self.slot_mut(job) else { return };
        slot.told = slot.told.max(Told::Stop);
        let limit = slot.spec.kill_timeout.filter(|_| !is_ignored).unwrap_or(budget);
        let limit = if is_impatient { Duration::ZERO } else { limit };
        let signal = if is_plain { Signal::TERM } else { slot.spec.stop_signal };
        let effect = Effect::Signal { run: slot.run_id(job), signal };
        slot.told_at = now;
        let is_there = !matches!(slot.process, Process::Starting { .. });
        // A process that is not there yet has its time from when it hears the signal.
        if is_there || self.planted(Defect::PatienceFromTheWish) {
            self.timers.arm(job, Timer::Kill, (now + limit).min(latest));
        }
        if is_there {
            self.out.push(effect);
        }
    }

    pub(crate) fn on_kill_timeout(&mut self, job: JobId) {
        if self.planted(Defect::NeverKilled) {
            return;
        }
        let Some(slot) = self.slot(job) else { return };
        if slot.process == Process::None {
            return;
        }
        let after = self.now.mono.since(slot.told_at);
        self.log(Level::Warn, Some(job), Message::KilledAfter { after });
        self.kill(job);
    }

    pub(crate) fn kill(&mut self, job: JobId) {
        let is_stopping = matches!(self.stage, Stage::Stopping { .. });
        let Some(slot) = self.slot_mut(job) else { return };
        if slot.process == Process::None {
            return;
        }
        slot.told = Told::Kill;
        let run = slot.run_id(job);
        if is_stopping && !self.planted(Defect::UncleanForgotten) {
            self.unclean.get_or_insert(KILLED_STATUS);
        }
        self.out.push(Effect::Signal { run, signal: Signal::KILL });
    }

    /// Finishes a stop sequence: everything of the job has gone.
    pub(crate) fn finish_stop(&mut self, job: JobId) {
        if self.planted(Defect::GoneProcessSignalled) {
            self.tell_to_stop(job);
        }
        if self.await_deregistration(job) {
            return;
        }
        self.abandon_withdrawal(job);
        if self.planted(Defect::RestartedWhenStopped) && self.use_restart(job) {
            return self.start_run(job);
        }
        self.end_as(job, Outcome::Completed);
        self.log(Level::Debug, Some(job), Message::Stopped);
        self.publish(Code::Stopped, Source::Job(job));
    }

    /// Ends a job that will never run.
    pub(crate) fn skip(&mut self, job: JobId) {
        self.end_as(job, Outcome::Skipped);
        let is_wrong = self.planted(Defect::SkippedCountsAsStopped);
        let code = if is_wrong { Code::Stopped } else { Code::Skipped };
        self.publish(code, Source::Job(job));
    }

    fn end_as(&mut self, job: JobId, outcome: Outcome) {
        self.timers.stop_all(job);
        if self.planted(Defect::CatalogForgottenAtTheEnd) {
            self.timers.stop(job, Timer::Catalog);
            self.timers.stop(job, Timer::CatalogReply);
        }
        self.end_checks(job);
        let Some(slot) = self.slot_mut(job) else { return };
        if slot.is_ended() {
            return;
        }
        slot.life = Life::Ended(outcome);
        slot.pending = 0;
        self.alive = self.alive.saturating_sub(1);
        self.has_ended_one = true;
    }

    /// The supervisor's own services keep no container alive: they end when nothing else is left.
    pub(crate) fn end_builtin_jobs(&mut self) {
        let is_other = |slot: &crate::slot::Slot| !slot.spec.builtin && !slot.is_ended();
        if self.slots.iter().any(is_other) {
            return;
        }
        for job in self.order.clone() {
            if self.slot(job).is_some_and(|slot| slot.spec.builtin) {
                self.begin_stop(job);
            }
        }
    }

    /// Goes on when every job has seen that one ended.
    pub(crate) fn after_end(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if !slot.is_ended() {
            return;
        }
        let is_essential = slot.spec.essential && slot.successor == Successor::Nothing;
        let status = match (slot.life, slot.last_exit) {
            (_, Some(exit)) => exit.code(),
            (Life::Ended(Outcome::Skipped), None) => 1,
            (_, None) => u8::from(slot.gave_up),
        };
        let is_reviving = self.planted(Defect::ReloadOutranksStop);
        if slot.successor != Successor::Nothing && (self.stage == Stage::Running || is_reviving) {
            self.succeed(job);
            // What held of the one that has gone does not hold of the one in its place.
            self.check_dependents(job);
            return self.release_locks_of(job);
        }
        let is_essential = is_essential && !self.planted(Defect::EssentialIgnored);
        if is_essential && self.stage == Stage::Running {
            self.essential = Some(status);
            self.begin_shutdown(ShutdownCause::Essential);
        }
        self.check_dependents(job);
        self.release_hooked(job);
        self.release_locks_of(job);
    }

    /// Looks at the jobs that may have waited for something of one that has ended.
    fn check_dependents(&mut self, job: JobId) {
        for dependent in self.wiring.dependents(job).to_vec() {
            self.check_possible(dependent);
        }
    }

    /// Lets the jobs go on that were waiting for this one.
    pub(crate) fn release_hooked(&mut self, job: JobId) {
        for waiting in self.wiring.hooked(job).to_vec() {
            self.check_drained(waiting);
        }
        for carrier in self.wiring.carriers(job).to_vec() {
            self.check_drained(carrier);
        }
    }

    /// Brings the deadlines of a job that was already stopping within the budget.
    pub(crate) fn shorten_stop(&mut self, job: JobId) {
        let latest = self.latest_end(job);
        if let Some(at) = self.timers.deadline(job, Timer::Kill) {
            self.timers.arm(job, Timer::Kill, at.min(latest));
        }
        if let Some(at) = self.timers.deadline(job, Timer::Hooks) {
            let latest = self.now.mono + self.hooks_limit(job);
            self.timers.arm(job, Timer::Hooks, at.min(latest));
        }
    }

    /// Kills what a stopping job still has, and waits for nothing else.
    pub(crate) fn force(&mut self, job: JobId) {
        self.end_checks(job);
        self.kill(job);
        if let Some(slot) = self.slot_mut(job) {
            slot.catalog.until = Time(0);
        }
        self.end_withdrawn(job);
    }
}
