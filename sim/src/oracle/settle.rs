//! What must be so when an input has been dealt with, and when the world ends.

use core::time::Duration;

use steersman_engine::Time;
use steersman_engine::config::Restarts;

use super::job::{JobView, Life, Next, Who};
use super::ledger::{Expected, Ledger, Stage};

/// How long a scheduled job may take to notice that the wall clock was set.
const SCHEDULE_SLACK_MS: i64 = 61_000;

impl Ledger {
    /// Every effect of an input has been seen: whatever was owed must have come.
    pub(super) fn on_settled(&mut self) {
        if self.stage == Stage::Over {
            return;
        }
        for expected in core::mem::take(&mut self.expected) {
            let what = match expected {
                Expected::Event(code, Who::Job(job)) => self.missing(code.as_str(), "", job),
                Expected::Event(code, Who::Check(job)) => {
                    self.missing(code.as_str(), "the check of ", job)
                }
                Expected::Event(code, _) => format!("the event {code} of the supervisor"),
                Expected::Variable(name, _) => format!("the new value of {name}"),
                Expected::Reply(..) => String::from("the answer to a request"),
                Expected::Signal(..) => String::from("the signal that was asked for"),
                Expected::Metric(name, _) => format!("the value of {name}"),
                Expected::Load => String::from("the reading of the configuration"),
                Expected::Reopen => String::from("the reopening of the logs"),
                Expected::Applied => String::from("the new configuration"),
            };
            self.blame(format!("{what} is missing"));
        }
        for job in core::mem::take(&mut self.touched) {
            self.settle_silent(job);
            self.settle_asked(job);
            self.look_at(job, false);
            let view = &mut self.jobs[job];
            view.is_touched = false;
            view.settled = view.least;
            view.may_by_level = false;
            view.hears = 0;
            view.health_before = view.health;
        }
        let is_alone = self.alive == 0 && !self.has_locks && self.stage != Stage::New;
        if is_alone {
            self.blame("every job has ended and the supervisor has not");
        }
        self.is_hurried = false;
        self.restarting = None;
        self.is_reloading = false;
        self.dropped.clear();
        self.forget_fresh();
        self.renewed.clear();
    }

    /// A replaced job whose starts cannot be seen and that does not stop had never started.
    fn settle_silent(&mut self, job: usize) {
        let view = &self.jobs[job];
        let is_replaced = matches!(view.next, Next::Job { .. });
        let is_idle = view.is_silent() && view.life == Life::Waiting;
        if is_replaced && is_idle && self.stage == Stage::Running {
            self.succeed_unseen(job);
        }
    }

    fn missing(&self, code: &str, what: &str, job: usize) -> String {
        format!("the event {code} of {what}\"{}\"", self.jobs[job].name())
    }

    /// Looks at one job: at what was due, and at what follows from its state.
    pub(super) fn look_at(&mut self, job: usize, is_late: bool) {
        if self.stage == Stage::New || self.stage == Stage::Over || self.jobs[job].is_retired {
            return;
        }
        self.look_at_trigger(job, is_late);
        self.look_at_checks(job, is_late);
        self.look_at_stop(job);
        if !is_late {
            self.look_at_cut(job);
        }
    }

    fn look_at_trigger(&mut self, job: usize, is_late: bool) {
        let is_past = |at: Time| self.is_past(at, job);
        let view = &self.jobs[job];
        if view.is_loose || view.is_silent() {
            return;
        }
        let tick_is_late = view.tick.is_some_and(is_past);
        match view.life {
            Life::BackingOff(_, to) if is_past(to) => {
                return self.blame_job(job, "is not started again in time");
            }
            Life::Waiting => {}
            Life::Ended(_) if view.next != Next::Nothing && self.stage == Stage::Running => {
                return self.blame_job(job, "has ended and is not replaced");
            }
            _ => return,
        }
        if view.gives_up_at.is_some_and(is_past) {
            return self.blame_job(job, "waits for its trigger longer than it should");
        }
        if view.least > 0 || tick_is_late && self.has_runs_left(job) {
            return self.blame_job(job, "does not start although it has a cause to");
        }
        let must_leave = view.next != Next::Nothing && view.starts > 0;
        if must_leave && self.stage == Stage::Running {
            return self.blame_job(job, "goes on although it is to be replaced or removed");
        }
        if view.starts > 0 && !view.is_repeating() && view.main.is_none() {
            return self.blame_job(job, "has done all it can and does not end");
        }
        if view.most == 0 && self.can_never_start(job) {
            return self.blame_job(job, "waits for what can never come");
        }
        let late_ms = view.scheduled_ms.saturating_add(SCHEDULE_SLACK_MS);
        let until_ms = self.wall_ms.saturating_sub(SCHEDULE_SLACK_MS);
        let is_missed = until_ms > late_ms
            && super::level::has_come(&view.spec.trigger, view.scheduled_ms, until_ms);
        if is_missed && !is_late && self.stage == Stage::Running {
            self.blame_job(job, "is not started at its scheduled time");
        }
    }

    fn has_runs_left(&self, job: usize) -> bool {
        let view: &JobView = &self.jobs[job];
        view.starts == 0 || view.restarts_left != Restarts::Limited(0)
    }

    /// The world ends: what fell due a moment ago and has not come will not come.
    pub(super) fn on_world_end(&mut self, mono: Time) {
        if self.stage == Stage::Over || self.stage == Stage::New {
            return;
        }
        let now = mono - Duration::from_millis(1);
        if now < self.now {
            return;
        }
        while let Some((at, job)) = self.due.first().copied().filter(|(at, _)| *at < now) {
            self.due.pop_first();
            self.now = at;
            self.look_at(job, true);
        }
        self.now = now;
        let is_overdue = self.stage == Stage::Stopping
            && now > self.deadline + Duration::from_secs(1)
            && !self.has_locks;
        if is_overdue {
            self.blame("the stop takes longer than its budget and a second");
        }
    }
}
