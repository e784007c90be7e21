//! One execution after the other: start, end, what was left behind, restarts and their backoff.

use alloc::boxed::Box;
use alloc::string::ToString;
use core::time::Duration;

use crate::config::{Backoff, Restarts, Signal, SourceName, Trigger};
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::{JobId, RunId};
use crate::input::{ExitStatus, Tree};
use crate::random;
use crate::slot::{Health, Life, Process, Told};
use crate::timers::Timer;

/// What a program that cannot be started counts as (POSIX sh 2.8.2: "command not found").
const START_FAILED: ExitStatus = ExitStatus::Code(127);

impl Engine {
    /// Starts a free job.
    pub(crate) fn start_run(&mut self, job: JobId) {
        let now = self.now.mono;
        let is_counting = self.planted(Defect::RunTimeoutOutlivesRun);
        if !self.planted(Defect::TriggerTimeoutOutlivesStart) {
            self.timers.stop(job, Timer::Trigger);
        }
        self.timers.stop(job, Timer::Restart);
        let Some(slot) = self.slot_mut(job) else { return };
        slot.life = Life::Active;
        slot.retrying = false;
        slot.told = Told::Nothing;
        slot.runs_of_definition = slot.runs_of_definition.saturating_add(1);
        self.register_initially(job);
        let Some(slot) = self.slot_mut(job) else { return };
        let Some(command) = slot.spec.command.clone() else {
            slot.checks_since = now;
            self.begin_checks(job);
            return;
        };
        slot.runs = slot.runs.wrapping_add(1).max(1);
        slot.process = Process::Starting { since: now };
        let run = slot.run_id(job);
        if let Some(timeout) = slot.spec.timeout
            && (!is_counting || self.timers.deadline(job, Timer::Run).is_none())
        {
            self.timers.arm(job, Timer::Run, now + timeout);
        }
        self.out.push(Effect::Start { run, command });
    }

    pub(crate) fn on_started(&mut self, run: RunId, pid: u32) {
        let now = self.now.mono;
        let Some(slot) = self.slot_of_run(run) else { return };
        let Process::Starting { .. } = slot.process else { return };
        slot.process = Process::Running { pid, since: now };
        let is_ended = self.planted(Defect::MaintenanceEndsWithProcess);
        self.maintenance &= !is_ended;
        let Some(slot) = self.slot_mut(run.job) else { return };
        slot.checks_since = now;
        let (told, stop_signal) = (slot.told, slot.spec.stop_signal);
        let name = slot.pid_variable.clone();
        self.set_variable(name, Some(pid.to_string().into()));
        self.log(Level::Debug, Some(run.job), Message::Started { pid });
        // What was asked for while the process was not there yet had nobody to reach.
        match told {
            Told::Nothing => self.begin_checks(run.job),
            Told::Stop if self.planted(Defect::StopWhileStartingLost) => {}
            Told::Stop if self.planted(Defect::PatienceFromTheWish) => {
                self.out.push(Effect::Signal { run, signal: stop_signal });
            }
            Told::Stop => self.tell_to_stop(run.job),
            Told::Kill => self.out.push(Effect::Signal { run, signal: Signal::KILL }),
        }
    }

    pub(crate) fn on_start_failed(&mut self, run: RunId, reason: Box<str>) {
        let Some(slot) = self.slot_of_run(run) else { return };
        let Process::Starting { .. } = slot.process else { return };
        self.log(Level::Error, Some(run.job), Message::StartFailed { reason });
        if self.planted(Defect::StartFailureForgotten) {
            return;
        }
        self.on_run_ended(run, START_FAILED, Duration::ZERO, Tree::Gone);
    }

    pub(crate) fn on_exited(&mut self, run: RunId, status: ExitStatus, tree: Tree) {
        let is_credulous = self.planted(Defect::RepeatedResultCounts);
        let now = self.now.mono;
        let Some(slot) = self.slot_of_run(run) else { return };
        let since = match slot.process {
            Process::Starting { since } | Process::Running { since, .. } => since,
            Process::None if is_credulous => now,
            Process::None | Process::Leftovers => return,
        };
        let after = now.since(since);
        let told = slot.told;
        let level =
            if status.is_success() || told != Told::Nothing { Level::Info } else { Level::Error };
        self.log(level, Some(run.job), Message::Exited { status, after });
        self.on_run_ended(run, status, after, tree);
    }

    fn on_run_ended(&mut self, run: RunId, status: ExitStatus, after: Duration, tree: Tree) {
        let job = run.job;
        let is_careless = self.planted(Defect::RestartBesideChild);
        let is_waiting = self.planted(Defect::EndWaitsForChild) && tree == Tree::Left;
        let is_grudging = self.planted(Defect::BackoffNeverForgives);
        let is_lasting = self.planted(Defect::HealthSurvivesRestart);
        if !self.planted(Defect::RunTimeoutOutlivesRun) {
            self.timers.stop(job, Timer::Run);
        }
        self.end_checks(job);
        let Some(slot) = self.slot_mut(job) else { return };
        slot.last_exit = Some(status);
        if !is_lasting {
            slot.health = Health::Unknown;
        }
        slot.failures = 0;
        if let Backoff::Exponential { reset, .. } = slot.spec.backoff
            && after >= reset
            && !is_grudging
        {
            slot.backoff_step = 0;
        }
        slot.process = match tree {
            Tree::Gone => Process::None,
            Tree::Left if is_careless => Process::None,
            Tree::Left => Process::Leftovers,
        };
        let name = slot.pid_variable.clone();
        if !self.planted(Defect::PidVariableStays) {
            self.set_variable(name, None);
        }
        self.report_end(job, status);
        self.on_health_of(job);
        let code = if status.is_success() { Code::ExitSuccess } else { Code::ExitFailed };
        if !is_waiting {
            self.publish(code, Source::Job(job));
        }
        match tree {
            Tree::Left if is_careless => self.after_run(job),
            Tree::Gone => self.after_run(job),
            Tree::Left => self.end_leftovers(job),
        }
    }

    /// Asks what a run left behind to end, and forces it when it does not.
    fn end_leftovers(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        let (told, run) = (slot.told, slot.run_id(job));
        self.log(Level::Info, Some(job), Message::LeftBehind);
        match told {
            _ if self.planted(Defect::ChildLeftAlone) => {}
            Told::Nothing => self.tell_to_stop(job),
            Told::Stop => {}
            Told::Kill => self.out.push(Effect::Signal { run, signal: Signal::KILL }),
        }
    }

    pub(crate) fn on_tree_gone(&mut self, run: RunId) {
        let Some(slot) = self.slot_of_run(run) else { return };
        if slot.process == Process::Leftovers {
            slot.process = Process::None;
            self.after_run(run.job);
        }
    }

    /// Goes on when nothing of a run is left.
    fn after_run(&mut self, job: JobId) {
        self.timers.stop(job, Timer::Kill);
        let Some(slot) = self.slot(job) else { return };
        match slot.life {
            Life::Active => self.decide_next(job),
            Life::Ending => self.finish_stop(job),
            Life::Draining => self.check_drained(job),
            Life::Withdrawing => self.end_withdrawn(job),
            Life::Waiting | Life::BackingOff | Life::Ended(_) => {}
        }
    }

    /// Decides what follows a run that ended by itself.
    fn decide_next(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        let is_stopping = matches!(self.stage, Stage::Stopping { .. });
        let is_well = slot.last_exit.is_some_and(|exit| exit.is_success());
        let is_essential = slot.spec.essential && self.planted(Defect::EssentialNotRestarted);
        let is_final = is_well && self.planted(Defect::RestartOnlyAfterFailure) || is_essential;
        if !is_stopping && !is_final && !slot.is_interval() && self.use_restart(job) {
            return self.back_off(job);
        }
        let is_retried = !self.planted(Defect::FailedReactionNotRetried) && self.holds_still(job);
        let Some(slot) = self.slot_mut(job) else { return };
        slot.life = Life::Waiting;
        let is_failed = slot.last_exit.is_some_and(|exit| !exit.is_success());
        if !is_failed || slot.pending > 0 {
            slot.backoff_step = 0;
        }
        if slot.pending > 0 {
            self.use_pending(job);
        } else if is_failed && !is_stopping && is_retried && reacts_to_state(&slot.spec.trigger) {
            slot.retrying = true;
            return self.back_off(job);
        }
        self.settle_waiting(job);
    }

    /// Looks after a job that may have become idle: it may never start again, or be waited for.
    fn settle_waiting(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.life != Life::Waiting || slot.pending > 0 {
            return;
        }
        if !slot.is_repeating() {
            return self.complete(job);
        }
        self.check_possible(job);
        self.release_hooked(job);
    }

    pub(crate) fn use_restart(&mut self, job: JobId) -> bool {
        let is_uncounted = self.planted(Defect::RestartsNotCounted);
        let Some(slot) = self.slot_mut(job) else { return false };
        match &mut slot.restarts_left {
            Restarts::Limited(left) if is_uncounted => *left > 0,
            Restarts::Unlimited => true,
            Restarts::Limited(0) => false,
            Restarts::Limited(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// Starts a job again: the first time at once, then later and later.
    fn back_off(&mut self, job: JobId) {
        let seed = self.seed;
        let is_absent = self.planted(Defect::BackoffNone);
        let is_constant = self.planted(Defect::BackoffDoesNotGrow);
        let is_even = self.planted(Defect::BackoffWithoutJitter);
        let is_slow = self.planted(Defect::FirstRestartWaits);
        let Some(slot) = self.slot_mut(job) else { return };
        let step = slot.backoff_step;
        slot.backoff_step = step.saturating_add(1);
        let first = u32::from(!slot.retrying && !is_slow);
        let step = if is_constant { step.min(1) } else { step };
        let key = if is_even { 0 } else { slot.run_id(job).pack() };
        let backoff = match &slot.spec.backoff {
            // Nobody counts how often a reaction is tried again: it must wait in between.
            Backoff::None if slot.retrying => Backoff::default(),
            other => *other,
        };
        let delay = delay_of(&backoff, step + 1 - first, seed, key);
        let delay = if is_absent { Duration::ZERO } else { delay };
        if delay.is_zero() {
            return self.start_run(job);
        }
        slot.life = Life::BackingOff;
        self.timers.arm(job, Timer::Restart, self.now.mono + delay);
        self.log(Level::Info, Some(job), Message::BackingOff { delay });
    }

    pub(crate) fn on_restart_due(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.life != Life::BackingOff || slot.process != Process::None {
            return;
        }
        if slot.retrying && !self.holds_still(job) {
            // Its sources start it when they are back.
            let Some(slot) = self.slot_mut(job) else { return };
            slot.life = Life::Waiting;
            return self.settle_waiting(job);
        }
        self.start_run(job);
    }

    pub(crate) fn on_run_timeout(&mut self, job: JobId) {
        let is_ignored = self.planted(Defect::RunTimeoutIgnored);
        let Some(slot) = self.slot_mut(job) else { return };
        let run = slot.run_id(job);
        let after = slot.spec.timeout.unwrap_or_default();
        match slot.process {
            Process::Starting { .. } | Process::Running { .. } => {}
            Process::None | Process::Leftovers => return,
        }
        if is_ignored {
            return;
        }
        slot.told = Told::Kill;
        self.log(Level::Warn, Some(job), Message::TimedOut { after });
        self.out.push(Effect::Signal { run, signal: Signal::KILL });
    }
}

/// Reactions to a state (a watched set, a lock) must end in agreement with it: one that failed is
/// tried again.
fn reacts_to_state(trigger: &Trigger) -> bool {
    let is_state =
        |source: &SourceName| matches!(source, SourceName::Watch(_) | SourceName::Lock(_));
    match trigger {
        Trigger::On(clause) => {
            clause.repeat == crate::config::Repeat::Each && is_state(&clause.source)
        }
        Trigger::Any(clauses) | Trigger::All(clauses) => clauses
            .iter()
            .any(|clause| clause.repeat == crate::config::Repeat::Each && is_state(&clause.source)),
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
    }
}

/// Gives the wait before the restart number `step`: none for the first, then exponential, with a
/// jitter of a fifth either way, within the configured bounds.
fn delay_of(backoff: &Backoff, step: u32, seed: u64, key: u64) -> Duration {
    let Backoff::Exponential { initial, max, factor_percent, .. } = backoff else {
        return Duration::ZERO;
    };
    if step == 0 {
        return Duration::ZERO;
    }
    let nanos = |duration: &Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let (initial, max) = (nanos(initial), nanos(max));
    let mut delay = initial;
    for _ in 1..step.min(64) {
        if delay >= max {
            break;
        }
        delay = delay.saturating_mul(u64::from(*factor_percent).max(100)) / 100;
    }
    let delay = delay.min(max);
    let jittered = delay - delay / 5 + random::below(seed, key, delay / 5 * 2);
    Duration::from_nanos(jittered.clamp(initial.min(max), max))
}
