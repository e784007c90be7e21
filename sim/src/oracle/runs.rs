//! Runs: their ends, what follows them, restarts and the waits between them.

use core::time::Duration;

use steersman_engine::config::{Backoff, Name, Restarts, Trigger};
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{Code, RunId};

use super::job::{Life, Told, Who};
use super::ledger::{Expected, Ledger, Stage};

/// What a program that cannot be started counts as.
const NOT_FOUND: ExitStatus = ExitStatus::Code(127);

/// So many restarts with exactly the same wait are no accident.
const SAME_WAITS: u32 = 4;

impl Ledger {
    /// Finds the job whose present run a result is about.
    fn present(&self, run: RunId) -> Option<usize> {
        let job = self.job_of(run)?;
        let main = self.jobs[job].main.as_ref()?;
        (main.id == run && !main.ended).then_some(job)
    }

    pub(super) fn on_started(&mut self, run: RunId, pid: u32) {
        let Some(job) = self.present(run) else { return };
        let (now, maintenance) = (self.now, self.maintenance);
        let view = &mut self.jobs[job];
        let Some(main) = &mut view.main else { return };
        if main.is_started {
            return;
        }
        main.is_started = true;
        main.since = now;
        let told = main.told;
        view.checks_since = now;
        let variable = pid_variable(view.name());
        self.expect(Expected::Variable(variable, Some(pid.to_string().into())));
        let view = &self.jobs[job];
        if told == Told::Nothing && view.life == Life::Active && !maintenance {
            self.begin_checks(job);
        }
        self.touch(job);
    }

    pub(super) fn on_start_failed(&mut self, run: RunId) {
        let Some(job) = self.present(run) else { return };
        if self.jobs[job].main.as_ref().is_some_and(|main| !main.is_started) {
            self.on_main_ended(job, NOT_FOUND, Duration::ZERO, Tree::Gone);
        }
    }

    pub(super) fn on_exited(&mut self, run: RunId, status: ExitStatus, tree: Tree) {
        let Some(job) = self.present(run) else { return };
        let since = self.jobs[job].main.as_ref().map(|main| main.since).unwrap_or(self.now);
        self.on_main_ended(job, status, self.now.since(since), tree);
    }

    fn on_main_ended(&mut self, job: usize, status: ExitStatus, after: Duration, tree: Tree) {
        let view = &mut self.jobs[job];
        view.last_exit = Some(status);
        view.health = None;
        view.failures = 0;
        view.check_due = None;
        if let Backoff::Exponential { reset, .. } = view.spec.backoff
            && after >= reset
        {
            view.backoff_step = 0;
        }
        if let Some(main) = &mut view.main {
            main.ended = true;
        }
        let variable = pid_variable(view.name());
        let code = if status.is_success() { Code::ExitSuccess } else { Code::ExitFailed };
        self.expect(Expected::Variable(variable, None));
        self.expect(Expected::Event(code, Who::Job(job)));
        self.touch(job);
        if tree == Tree::Gone {
            self.on_main_gone(job);
        }
    }

    pub(super) fn on_tree_gone(&mut self, run: RunId) {
        let Some(job) = self.job_of(run) else { return };
        let is_left = self.jobs[job].main.as_ref().is_some_and(|main| main.id == run && main.ended);
        if is_left {
            self.on_main_gone(job);
        }
    }

    fn on_main_gone(&mut self, job: usize) {
        self.jobs[job].main = None;
        self.touch(job);
        if self.jobs[job].life == Life::Active {
            self.decide_next(job);
        }
    }

    /// What follows a run that ended by itself: a restart, a start that waits, or nothing.
    fn decide_next(&mut self, job: usize) {
        let is_stopping = self.stage == Stage::Stopping;
        let view = &mut self.jobs[job];
        if !is_stopping && !view.is_interval() {
            let is_restarted = match &mut view.restarts_left {
                Restarts::Unlimited => true,
                Restarts::Limited(0) => false,
                Restarts::Limited(left) => {
                    *left -= 1;
                    true
                }
            };
            if is_restarted {
                return self.back_off(job, 0);
            }
        }
        view.life = Life::Waiting;
        let has_failed = view.last_exit.is_some_and(|exit| !exit.is_success());
        view.is_loose |= view.least != view.most;
        if !has_failed || view.least > 0 {
            view.backoff_step = 0;
        }
        if view.is_interval() && view.restarts_left == Restarts::Limited(0) {
            (view.least, view.most) = (0, 0);
        }
        let is_retried = has_failed && !is_stopping && view.reacts_to_state();
        // Of several conditions all must still hold, now and when the wait is over.
        view.is_loose |= is_retried && matches!(view.spec.trigger, Trigger::All(_));
        if view.most == 0 && is_retried {
            self.back_off(job, 1);
        }
    }

    fn back_off(&mut self, job: usize, first: u32) {
        let now = self.now;
        let view = &mut self.jobs[job];
        let backoff = match &view.spec.backoff {
            // Nobody counts the retries of a reaction, so they always wait.
            Backoff::None if first > 0 => Backoff::default(),
            other => *other,
        };
        let (from, to) = waits(&backoff, view.backoff_step + first);
        view.backoff_step = view.backoff_step.saturating_add(1);
        view.life = Life::BackingOff(now + from, now + to);
        self.remind(now + to, job);
    }

    /// The supervisor says how long a restart waits: equal jobs must not do so in step.
    pub(super) fn on_delay_said(&mut self, job: usize, delay: Duration) {
        let view = &self.jobs[job];
        let Backoff::Exponential { initial, max, .. } = view.spec.backoff else { return };
        if delay == initial || delay == max || delay < Duration::from_millis(10) {
            return;
        }
        let Life::BackingOff(from, to) = view.life else { return };
        let spread = to.since(from).as_nanos();
        let key = (u64::try_from(spread).unwrap_or(u64::MAX), delay.as_nanos() as u64);
        let count = self.delays.entry(key).or_default();
        *count += 1;
        if *count == SAME_WAITS {
            self.blame_job(job, "restarts in step with others");
        }
    }
}

/// Gives the shortest and the longest wait before the restart of a number: none for the first,
/// then longer and longer, a fifth more or less.
fn waits(backoff: &Backoff, step: u32) -> (Duration, Duration) {
    let Backoff::Exponential { initial, max, factor_percent, .. } = backoff else {
        return (Duration::ZERO, Duration::ZERO);
    };
    if step == 0 {
        return (Duration::ZERO, Duration::ZERO);
    }
    let factor = f64::from((*factor_percent).max(100)) / 100.0;
    let grown = initial.as_secs_f64() * factor.powi(step.min(64) as i32 - 1);
    let nominal = grown.min(max.as_secs_f64());
    let bounded =
        |seconds: f64| Duration::from_secs_f64(seconds.min(1e9)).clamp((*initial).min(*max), *max);
    // Rounding: a wait is made of whole nanoseconds, step by step.
    let slack = Duration::from_micros(10) + Duration::from_secs_f64(nominal.min(1e9) * 1e-6);
    let from = bounded(nominal * 0.8);
    let to = bounded(nominal * 1.2) + slack;
    (from.saturating_sub(slack), to)
}

/// Gives the variable that holds the process id of a job: upper case, every run of other
/// characters one `_`.
pub(super) fn pid_variable(job: &Name) -> Name {
    let mut text = String::from("CONTAINERPILOT_");
    for char in job.chars() {
        match char.is_ascii_alphanumeric() {
            true => text.push(char.to_ascii_uppercase()),
            false if text.ends_with('_') && text.len() > 15 => {}
            false => text.push('_'),
        }
    }
    text.push_str("_PID");
    Name::from(text)
}
