//! Health checks: at most one at a time, judged by the run it began under, announced on the edge.

use alloc::boxed::Box;
use core::time::Duration;

use crate::config::Signal;
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::Engine;
use crate::event::{Code, Source};
use crate::id::{JobId, RunId};
use crate::input::{ExitStatus, Tree};
use crate::limits;
use crate::lock_state::LossReason;
use crate::slot::{Check, Health, Slot};
use crate::timers::Timer;

impl Engine {
    /// Begins to check a job that has just started, or come out of maintenance.
    pub(crate) fn begin_checks(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.spec.health.is_none() || self.maintenance || !slot.is_serving() {
            return;
        }
        let delay = self.check_delay(slot);
        let is_hasty = self.planted(Defect::FirstCheckAtOnce);
        let delay = if is_hasty { Duration::ZERO } else { delay };
        self.timers.arm(job, Timer::CheckDue, self.now.mono + delay);
    }

    /// Stops checking: the process has ended, the job stops, or maintenance began.
    pub(crate) fn end_checks(&mut self, job: JobId) {
        if self.planted(Defect::ChecksOutliveJob) {
            return;
        }
        self.timers.stop(job, Timer::CheckDue);
        self.timers.stop(job, Timer::Check);
        let Some(slot) = self.slot(job) else { return };
        if self.planted(Defect::StaleCheckCounts) {
            return;
        }
        if let Check::Running { of, decided: false } = slot.check {
            let run = slot.check_id(job);
            self.out.push(Effect::Signal { run, signal: Signal::KILL });
            if let Some(slot) = self.slot_mut(job) {
                slot.check = Check::Running { of, decided: true };
            }
        }
    }

    pub(crate) fn on_check_due(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        let Some(health) = &slot.spec.health else { return };
        if self.maintenance || !slot.is_serving() {
            return;
        }
        let (command, timeout) = (health.command.clone(), health.timeout);
        let is_idle = slot.check == Check::Idle;
        if !is_idle && self.planted(Defect::SlowCheckEndsChecking) {
            return;
        }
        let next = self.now.mono + self.check_delay(slot);
        self.timers.arm(job, Timer::CheckDue, next);
        // A check that is still there is of a configuration before: it says nothing of this one.
        let Some(command) = command else { return self.on_judged(job, true, "".into()) };
        if !is_idle && !self.planted(Defect::ChecksOverlap) {
            return;
        }
        let Some(slot) = self.slot_mut(job) else { return };
        slot.checks = slot.checks.wrapping_add(1).max(1);
        slot.check = Check::Running { of: slot.runs, decided: false };
        let run = slot.check_id(job);
        self.timers.arm(job, Timer::Check, self.now.mono + timeout);
        self.out.push(Effect::Start { run, command });
    }

    /// The check takes too long: it has failed now, whenever it may end.
    pub(crate) fn on_check_timeout(&mut self, job: JobId) {
        if self.planted(Defect::CheckTimeoutIgnored) {
            return;
        }
        let Some(slot) = self.slot_mut(job) else { return };
        let Check::Running { of, decided: false } = slot.check else { return };
        slot.check = Check::Running { of, decided: true };
        let run = slot.check_id(job);
        let after = slot.spec.health.as_ref().map(|health| health.timeout).unwrap_or_default();
        self.log(Level::Warn, Some(job), Message::CheckTimedOut { after });
        self.out.push(Effect::Signal { run, signal: Signal::KILL });
        self.publish(Code::ExitFailed, Source::Check(job));
        let output = alloc::format!("check did not end within {after:?}");
        self.judge(job, of, false, output.into());
    }

    pub(crate) fn on_check_start_failed(&mut self, run: RunId, reason: Box<str>) {
        if self.planted(Defect::CheckStartFailureForgotten) {
            return;
        }
        let status = ExitStatus::Code(127);
        self.on_check_exited(run, status, Tree::Gone, reason);
    }

    pub(crate) fn on_check_exited(
        &mut self,
        run: RunId,
        status: ExitStatus,
        tree: Tree,
        output: Box<str>,
    ) {
        let job = run.job;
        let Some(slot) = self.slot(job) else { return };
        let Check::Running { of, decided } = slot.check else { return };
        if slot.checks != run.nth {
            return;
        }
        self.timers.stop(job, Timer::Check);
        let Some(slot) = self.slot_mut(job) else { return };
        slot.check = match tree {
            Tree::Gone => Check::Idle,
            Tree::Left => Check::Leftovers,
        };
        if tree == Tree::Gone {
            self.release_locks_of(job);
        }
        if tree == Tree::Left && !self.planted(Defect::CheckChildLeftAlone) {
            self.out.push(Effect::Signal { run, signal: Signal::KILL });
        }
        if decided && !self.planted(Defect::LateCheckCounts) {
            return;
        }
        let is_passed = status.is_success() || self.planted(Defect::CheckFailureIsSuccess);
        let code = if is_passed { Code::ExitSuccess } else { Code::ExitFailed };
        if !self.planted(Defect::CheckEndsNotPublished) {
            self.publish(code, Source::Check(job));
        }
        self.judge(job, of, is_passed, bounded(output));
    }

    pub(crate) fn on_check_tree_gone(&mut self, run: RunId) {
        let Some(slot) = self.slot(run.job) else { return };
        if slot.check == Check::Leftovers
            && slot.checks == run.nth
            && let Some(slot) = self.slot_mut(run.job)
        {
            slot.check = Check::Idle;
            self.release_locks_of(run.job);
        }
    }

    /// Uses a result, unless it is about an earlier run or nobody wants it now.
    fn judge(&mut self, job: JobId, of: u32, is_passed: bool, output: Box<str>) {
        let Some(slot) = self.slot(job) else { return };
        let is_present = of == slot.runs || self.planted(Defect::StaleCheckCounts);
        if is_present
            && slot.is_serving()
            && (!self.maintenance || self.planted(Defect::ChecksInMaintenance))
        {
            self.on_judged(job, is_passed, output);
        }
    }

    fn on_judged(&mut self, job: JobId, is_passed: bool, output: Box<str>) {
        let now = self.now.mono;
        let is_chatty = self.planted(Defect::HealthyEveryTime);
        let is_nagging = self.planted(Defect::UnhealthyEveryTime);
        let is_quiet = self.planted(Defect::FirstFailureSilent);
        let is_strict = self.planted(Defect::RetriesIgnored);
        let is_adding = self.planted(Defect::RetriesNotInARow);
        let is_lenient = self.planted(Defect::StartPeriodIgnored);
        let is_hiding = self.planted(Defect::StartPeriodHidesAll);
        let Some(slot) = self.slot_mut(job) else { return };
        let Some(health) = &slot.spec.health else { return };
        let (start_period, retries) = (health.start_period, health.retries.max(1));
        if is_passed {
            if !is_adding {
                slot.failures = 0;
            }
            if slot.health != Health::Healthy || is_chatty {
                slot.health = Health::Healthy;
                self.log(Level::Info, Some(job), Message::BecameHealthy);
                self.publish(Code::Healthy, Source::Job(job));
                self.on_health_of(job);
            }
            return self.report_health(job, true, output);
        }
        let is_starting = (slot.health == Health::Unknown || is_hiding)
            && now.since(slot.checks_since) < start_period;
        if is_starting && !is_lenient {
            return;
        }
        slot.failures = slot.failures.saturating_add(1);
        let retries = if is_strict { 1 } else { retries };
        if slot.failures >= retries && (slot.health != Health::Unhealthy || is_nagging) {
            if is_quiet && slot.health == Health::Unknown {
                return;
            }
            slot.health = Health::Unhealthy;
            self.log(Level::Warn, Some(job), Message::BecameUnhealthy { output: output.clone() });
            self.publish(Code::Unhealthy, Source::Job(job));
            self.on_health_of(job);
            self.report_health(job, false, output);
        }
    }

    /// Switches maintenance. Twice is once.
    pub(crate) fn set_maintenance(&mut self, on: bool) {
        self.maintenance = on;
        self.log(Level::Info, None, Message::Maintenance { on });
        for job in self.order.clone() {
            if on && !self.planted(Defect::ChecksInMaintenance) {
                self.end_checks(job);
                self.forget_report(job);
            }
            let now = self.now.mono;
            if self.slot(job).is_none_or(|slot| slot.spec.health.is_none()) {
                continue;
            }
            if let Some(slot) = self.slot_mut(job) {
                slot.health = Health::Unknown;
                slot.failures = 0;
                slot.checks_since = now;
            }
            if !on && !self.planted(Defect::ChecksNotResumed) {
                self.begin_checks(job);
            }
        }
        if on {
            self.give_up_locks(LossReason::GivenUp);
        } else {
            self.begin_locks();
        }
        let code = if on { Code::EnterMaintenance } else { Code::ExitMaintenance };
        if !self.planted(Defect::MaintenanceSilent) {
            self.publish(code, Source::Global);
        }
    }

    /// Gives the time to the next check: `startInterval` until the first success within the start
    /// period (Docker's rule), else the interval.
    fn check_delay(&self, slot: &Slot) -> Duration {
        let Some(health) = &slot.spec.health else { return Duration::MAX };
        let is_starting = slot.health == Health::Unknown
            && self.now.mono.since(slot.checks_since) < health.start_period;
        let delay = match health.start_interval {
            Some(interval) if is_starting && !self.planted(Defect::StartIntervalIgnored) => {
                interval
            }
            Some(_) | None => health.interval,
        };
        delay.max(limits::INTERVAL_MIN)
    }
}

/// Cuts an output to what is kept, at a character boundary.
fn bounded(output: Box<str>) -> Box<str> {
    if output.len() <= limits::CHECK_OUTPUT_BYTES {
        return output;
    }
    let mut from = output.len() - limits::CHECK_OUTPUT_BYTES;
    while !output.is_char_boundary(from) {
        from += 1;
    }
    output[from..].into()
}
