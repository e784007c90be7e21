//! Triggers: every start has a cause, and every cause is a start.

use std::sync::Arc;

use steersman_engine::config::{Clause, Command, Repeat, Restarts, SourceName, Trigger};
use steersman_engine::{Code, RunId, Time};

use super::job::{Life, Main, Next, Told, clauses, is_stop_code};
use super::ledger::{LATE, Ledger, Stage};

/// What becomes of a start that comes while the job is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// It waits behind the others.
    Queue,
    /// All that wait are one.
    Latest,
}

impl Ledger {
    /// A job begins to wait for its trigger.
    pub(super) fn begin(&mut self, job: usize) {
        let (now, wall_ms) = (self.now, self.wall_ms);
        let view = &mut self.jobs[job];
        let spec = view.spec.clone();
        view.gives_up_at = spec.trigger_timeout.map(|timeout| now + timeout);
        if let Some(at) = view.gives_up_at {
            self.remind(at, job);
        }
        let view = &mut self.jobs[job];
        match &spec.trigger {
            Trigger::Startup => self.request(job, Merge::Latest),
            Trigger::Interval(interval) => {
                let interval = (*interval).max(core::time::Duration::from_millis(1));
                view.epoch = now;
                view.tick = Some(now + interval);
                self.remind(now + interval, job);
                self.request(job, Merge::Latest);
            }
            Trigger::Schedule(_) => view.scheduled_ms = wall_ms,
            Trigger::On(clause) => {
                if clause.code == Code::Startup && self.generation > 0 {
                    self.request(job, Merge::Latest);
                }
            }
            Trigger::All(_) | Trigger::Any(_) => {}
        }
        self.touch(job);
    }

    /// A job that a reload put in place looks at what holds already.
    pub(super) fn begin_late(&mut self, job: usize) {
        self.begin(job);
        if self.jobs[job].most > 0 || self.jobs[job].is_hook() {
            return;
        }
        self.jobs[job].may_by_level = true;
    }

    /// A replaced job whose trigger had come begins again at once.
    pub(super) fn begin_again(&mut self, job: usize) {
        self.begin(job);
        let view = &mut self.jobs[job];
        if view.most == 0 && !view.is_repeating() {
            self.request(job, Merge::Latest);
        }
        self.jobs[job].gives_up_at = None;
    }

    /// A job hears an event that one of its conditions names.
    pub(super) fn hear(&mut self, job: usize, nth: usize, code: Code) {
        if self.stage == Stage::Stopping && !is_stop_code(code) {
            return;
        }
        let view = &mut self.jobs[job];
        if view.is_stopping() {
            return;
        }
        let has_started = view.starts > 0 || view.most > 0;
        let (least, spec) = (view.least, view.spec.clone());
        let own = clauses(&spec.trigger).get(nth).is_some_and(|clause| match &clause.source {
            SourceName::Job(of) | SourceName::Check(of) => *of == spec.name,
            _ => false,
        });
        match &spec.trigger {
            Trigger::On(clause) => {
                if clause.repeat == Repeat::Each || !has_started && view.life == Life::Waiting {
                    self.request(job, merge_of(&clause.source));
                }
            }
            Trigger::Any(list) => {
                let Some(clause) = list.get(nth) else { return };
                if clause.repeat == Repeat::Each || !view.once_used {
                    view.once_used |= clause.repeat == Repeat::Once;
                    self.request(job, merge_of(&clause.source));
                }
            }
            Trigger::All(list) => {
                view.seen |= 1 << nth.min(63);
                view.hears += 1;
                let repeats = list.iter().any(|clause| clause.repeat == Repeat::Each);
                if repeats || !has_started {
                    self.jobs[job].may_by_level = true;
                    if self.all_hold(job) {
                        // What holds may change before the job itself hears of this, and all that
                        // was heard at once may have been heard one after the other.
                        let view = &mut self.jobs[job];
                        view.is_asked = true;
                        view.most = view.most.max(if repeats { view.hears } else { 1 });
                        self.touch(job);
                    }
                }
            }
            Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => {}
        }
        let is_any = matches!(spec.trigger, Trigger::Any(_));
        let is_late = |clause: &Clause| clause.repeat == Repeat::Once && is_any;
        let is_late = has_started && clauses(&spec.trigger).get(nth).is_some_and(is_late);
        if own || is_late {
            // It may be at its end before it hears of itself, or of what it no longer waits for.
            let view = &mut self.jobs[job];
            view.least = view.least.min(least);
        }
    }

    pub(super) fn request(&mut self, job: usize, merge: Merge) {
        let view = &mut self.jobs[job];
        match merge {
            Merge::Queue => {
                view.least += 1;
                view.most += 1;
            }
            // Of two in one input the first may have been used before the second came.
            Merge::Latest => {
                let is_second = view.most > view.settled && view.main.is_none();
                (view.least, view.most) = (1, 1 + u32::from(is_second));
            }
        }
        let is_spent = view.is_interval()
            && view.starts > 0
            && view.restarts_left == Restarts::Limited(0)
            && view.main.is_none();
        if is_spent {
            (view.least, view.most) = (0, 0);
        }
        self.touch(job);
    }

    /// A start that all conditions asked for in this input waits if they still hold.
    pub(super) fn settle_asked(&mut self, job: usize) {
        let is_asked = core::mem::take(&mut self.jobs[job].is_asked);
        if is_asked && !self.jobs[job].is_stopping() && self.all_hold(job) {
            self.jobs[job].least = 1;
        }
    }

    /// The ticks of an interval that have come: several at once are one.
    pub(super) fn on_tick_due(&mut self, job: usize) {
        let now = self.now;
        let view = &mut self.jobs[job];
        let Trigger::Interval(interval) = view.spec.trigger else { return };
        let Some(tick) = view.tick.filter(|tick| *tick <= now) else { return };
        let interval = interval.max(core::time::Duration::from_millis(1)).as_nanos();
        let passed = now.since(view.epoch).as_nanos() / interval + 1;
        let next = u64::try_from(passed * interval).unwrap_or(u64::MAX);
        let next = Time(view.epoch.0.saturating_add(next)).max(tick);
        view.tick = Some(next);
        self.remind(next, job);
        if !self.jobs[job].is_stopping() {
            self.request(job, Merge::Latest);
        }
    }

    /// A job is said to give up waiting.
    pub(super) fn on_gave_up(&mut self, job: usize) {
        let view = &mut self.jobs[job];
        let is_due = view.gives_up_at.is_some_and(|at| self.now >= at);
        let has_run = view.starts > 0;
        view.gives_up_at = None;
        view.gave_up = true;
        let is_free = view.is_loose || view.is_silent();
        if (!is_due || has_run) && !is_free {
            self.blame_job(job, "gives up although its trigger has come or its time has not");
        }
        self.touch(job);
    }

    fn is_scheduled(&self, job: usize) -> bool {
        matches!(self.jobs[job].spec.trigger, Trigger::Schedule(_))
    }

    /// A process of a job is asked for.
    pub(super) fn on_start(&mut self, job: usize, run: RunId, command: &Arc<Command>) {
        let is_replaced = matches!(self.jobs[job].next, Next::Job { .. });
        let is_unseen = self.jobs[job].has_ended() || self.jobs[job].is_silent();
        if is_unseen && is_replaced && self.stage == Stage::Running {
            self.succeed_unseen(job);
        }
        if let Some(problem) = self.problem_of_start(job, run) {
            self.blame_job(job, problem);
        }
        let now = self.now;
        let view = &mut self.jobs[job];
        if view.spec.command.as_ref().is_none_or(|wanted| wanted != command) {
            self.blame_job(job, "starts with a command that is not its own");
        }
        let view = &mut self.jobs[job];
        if view.is_interval()
            && view.starts > 0
            && let Restarts::Limited(left) = &mut view.restarts_left
        {
            let is_spent = *left == 0;
            *left = left.saturating_sub(1);
            if is_spent {
                self.blame_job(job, "runs more often than its interval allows");
            }
        }
        let view = &mut self.jobs[job];
        view.life = Life::Active;
        view.nth = run.nth;
        view.starts += 1;
        view.gives_up_at = None;
        view.health = None;
        let timeout_at = view.spec.timeout.map(|timeout| now + timeout);
        view.main = Some(Main {
            id: run,
            since: now,
            is_started: false,
            ended: false,
            told: Told::Nothing,
            kill_due: None,
            timeout_at,
        });
        if let Some(at) = timeout_at {
            self.remind(at, job);
        }
        self.touch(job);
    }

    fn problem_of_start(&mut self, job: usize, run: RunId) -> Option<&'static str> {
        let now = self.now;
        let is_excused = self.is_excused();
        self.jobs[job].is_asked = false;
        let by_level = self.jobs[job].may_by_level && self.may_hold(job);
        let view = &mut self.jobs[job];
        if view.is_loose {
            (view.least, view.most) = (view.least.saturating_sub(1), view.most.saturating_sub(1));
            return None;
        }
        if run.nth <= view.nth {
            return Some("starts under the name of an earlier run");
        }
        if view.is_stopping() {
            return Some("starts although it was asked to stop");
        }
        if let Life::BackingOff(from, to) = view.life
            && now >= from
        {
            // A start that was asked for just now may have come before the restart was due.
            if to > now && view.least > view.settled {
                view.least -= 1;
            }
            let is_late = now > to + LATE && !is_excused;
            return is_late.then_some("starts again later than it should");
        }
        if view.most > 0 {
            view.least = view.least.saturating_sub(1);
            view.most -= 1;
            return None;
        }
        if by_level {
            view.may_by_level = false;
            return None;
        }
        let is_due = self.is_scheduled(job) && self.use_schedule(job);
        (!is_due).then_some("starts without a cause")
    }

    /// Tells whether what a job waits for may have held at some moment of this input: while jobs
    /// are replaced, what holds of them depends on who is looked at first.
    fn may_hold(&self, job: usize) -> bool {
        let is_moving = self.is_reloading || !self.renewed.is_empty();
        let view = &self.jobs[job];
        match &view.spec.trigger {
            Trigger::All(_) => is_moving || self.all_hold(job),
            Trigger::On(_) | Trigger::Any(_) => {
                let list = clauses(&view.spec.trigger);
                let mut each = list.iter().enumerate().filter(|(_, it)| it.repeat == Repeat::Once);
                each.any(|(nth, one)| is_moving || self.holds(job, nth, one))
            }
            Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
        }
    }

    /// Tells whether a scheduled time has come since the last one that was used, and uses it.
    fn use_schedule(&mut self, job: usize) -> bool {
        // It may have come before the clock was set back, and waited for the run before to end.
        let until = [self.wall_ms, self.wall_max_ms];
        let view = &mut self.jobs[job];
        let (trigger, after) = (&view.spec.trigger, view.scheduled_ms);
        let has_come = until.iter().any(|until| super::level::has_come(trigger, after, *until));
        if has_come {
            view.scheduled_ms = self.wall_ms;
        }
        has_come
    }
}

/// Watches and locks announce a state: all that wait for it are one.
const fn merge_of(source: &SourceName) -> Merge {
    match source {
        SourceName::Watch(_) | SourceName::Lock(_) => Merge::Latest,
        SourceName::Global | SourceName::Job(_) | SourceName::Check(_) | SourceName::Signal(_) => {
            Merge::Queue
        }
    }
}
