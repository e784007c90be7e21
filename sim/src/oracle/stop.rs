//! Stopping: who is told to end, when and how, and who is waited for.

use core::time::Duration;

use steersman_engine::config::Signal;
use steersman_engine::{RunId, Time};

use super::job::{Life, Main, Next, Told};
use super::ledger::{Expected, Ledger, Stage};

impl Ledger {
    /// What the processes of a stop keep of the budget whatever comes before.
    fn reserve(&self) -> Duration {
        (self.stop_timeout / 10).min(Duration::from_secs(1))
    }

    /// When a job that begins to stop now has its process told to end whatever is waited for.
    fn hooks_end(&self, job: usize, since: Time) -> Time {
        let own = self.jobs[job].spec.stop_timeout;
        let limit = own.unwrap_or(self.stop_timeout - self.reserve());
        let end = since + limit;
        match self.stage {
            Stage::Stopping if self.now < self.deadline => {
                end.min(self.deadline - self.reserve()).max(self.now)
            }
            _ => end,
        }
    }

    /// The whole supervisor begins to stop.
    pub(super) fn on_shutdown(&mut self) {
        let asked: Vec<_> = self.loading.drain(..).chain(self.again.drain(..)).collect();
        if !asked.is_empty() {
            self.blame("a reload is not answered when the stop begins");
        }
        self.stage = Stage::Stopping;
        self.deadline = self.now + self.stop_timeout;
        for job in core::mem::take(&mut self.renewed) {
            self.jobs[job].is_loose = true;
        }
        for job in 0..self.jobs.len() {
            let view = &mut self.jobs[job];
            view.next = Next::Nothing;
            view.least = view.least.min(view.settled);
            if let Life::Stopping(since, to) = view.life {
                let to = to.min(self.hooks_end(job, since));
                self.jobs[job].life = Life::Stopping(since, to);
                self.remind(to, job);
            }
            self.remind(self.deadline, job);
        }
        self.touch_all();
    }

    /// A job is said to begin its stop.
    pub(super) fn on_stopping(&mut self, job: usize) {
        let is_completion = self.is_complete(job);
        if let Some(problem) = self.problem_of_stopping(job, is_completion) {
            self.blame_job(job, problem);
        }
        if is_completion {
            self.note_completion(job);
        }
        let now = self.now;
        let must_tell = self.jobs[job].least.min(self.jobs[job].settled) > 0;
        let is_told = self.dropped.contains(&job);
        if must_tell && !is_told && !self.jobs[job].is_loose && !self.jobs[job].is_silent() {
            self.blame_job(job, "drops starts that waited and does not say so");
        }
        let to = self.hooks_end(job, now);
        let view = &mut self.jobs[job];
        view.life = Life::Stopping(now, to);
        (view.least, view.most) = (0, 0);
        view.tick = None;
        view.gives_up_at = None;
        view.check_due = None;
        self.remind(to, job);
        self.touch(job);
        for nth in 0..self.hooks[job].len() {
            self.touch(self.hooks[job][nth]);
        }
    }

    /// Tells whether a job has nothing left to do by itself.
    fn is_complete(&self, job: usize) -> bool {
        let view = &self.jobs[job];
        // What a reload replaces or removes is stopped for that.
        let is_leaving = view.next != Next::Nothing;
        if view.life != Life::Waiting || self.stage != Stage::Running || is_leaving {
            return false;
        }
        if view.gave_up {
            return true;
        }
        let is_idle = view.main.is_none() && view.least == 0;
        view.starts > 0 && is_idle && (!view.is_repeating() || !self.can_start(job))
    }

    /// Tells whether a job is stopped because another did not want to wait for it any longer.
    fn is_cut(&self, job: usize) -> bool {
        // The end of a lock's term may leave less time than the job itself would have.
        let is_due = |of: &usize| match self.jobs[*of].life {
            Life::Stopping(_, to) => self.now >= to || self.jobs[*of].has_lock(),
            _ => false,
        };
        self.hooked[job].iter().any(is_due)
    }

    fn problem_of_stopping(&self, job: usize, is_completion: bool) -> Option<&'static str> {
        let view = &self.jobs[job];
        if view.is_stopping() {
            return Some("is said to begin its stop twice");
        }
        let is_free = view.is_loose || view.is_silent() || view.spec.builtin;
        if is_free || is_completion || self.is_cut(job) || self.restarting == Some(job) {
            return None;
        }
        if self.stage == Stage::Stopping {
            let has_run = view.starts > 0 || view.most > 0 || view.is_hook() || view.gave_up;
            return (!has_run).then_some("is stopped although it never ran");
        }
        (view.next == Next::Nothing).then_some("is stopped without a cause")
    }

    /// A job is said to have stopped.
    pub(super) fn on_stopped(&mut self, job: usize) {
        if !matches!(self.jobs[job].life, Life::Stopping(..)) {
            self.blame_job(job, "is said to have stopped and never began to");
        }
        self.on_over(job, false);
    }

    /// A job is said never to run.
    pub(super) fn on_skipped(&mut self, job: usize) {
        let view = &self.jobs[job];
        let is_free = view.is_loose || view.is_silent() || self.stage == Stage::Stopping;
        let is_leaving = view.next == Next::Removal;
        if view.starts > 0 && !view.is_loose {
            self.blame_job(job, "is said never to run and has");
        } else if !is_free && !is_leaving && self.can_start(job) {
            self.blame_job(job, "is given up although it can still start");
        }
        self.on_over(job, true);
    }

    fn on_over(&mut self, job: usize, never_ran: bool) {
        let view = &mut self.jobs[job];
        if !view.has_ended() {
            self.alive = self.alive.saturating_sub(1);
        }
        let view = &mut self.jobs[job];
        view.life = Life::Ended(never_ran);
        (view.least, view.most) = (0, 0);
        view.tick = None;
        view.gives_up_at = None;
        view.check_due = None;
        self.note_end(job, never_ran);
        self.touch(job);
        for nth in 0..self.dependents[job].len() {
            self.touch(self.dependents[job][nth]);
        }
    }

    /// A run of a job is sent a signal.
    pub(super) fn on_signal_sent(&mut self, job: usize, run: RunId, signal: Signal) {
        if self.meet(&Expected::Signal(run, signal)) {
            return;
        }
        let now = self.now;
        let is_waiting = self.is_waiting_for_hooks(job);
        let patience = self.jobs[job].spec.kill_timeout.unwrap_or(self.stop_timeout);
        let has_services = self.has_services;
        let view = &mut self.jobs[job];
        let (life, stop_signal) = (view.life, view.stop_signal());
        let is_loose = view.is_loose;
        let Some(main) = view.main.as_mut().filter(|main| main.id == run) else {
            return self.blame_job(job, "is sent a signal although its process has gone");
        };
        if signal == Signal::KILL {
            let was_told = core::mem::replace(&mut main.told, Told::Kill);
            let is_timeout = main.timeout_at.is_some_and(|at| now >= at) && !main.ended;
            return self.note_kill(was_told == Told::Kill, is_timeout);
        }
        let is_left = main.ended;
        // The signal was meant for it before it had started; who was busy then, nobody knows.
        let is_waiting = is_waiting && main.is_started && main.since < now && !has_services;
        main.told = main.told.max(Told::Stop);
        main.kill_due = Some(now + patience);
        self.remind(now + patience, job);
        let problem = match life {
            _ if is_loose => None,
            _ if signal != stop_signal => Some("is told to end with a signal that is not its own"),
            _ if is_left => None,
            Life::Stopping(_, to) if now >= to => None,
            Life::Stopping(..) if is_waiting => {
                Some("is told to end while jobs that react to that are busy")
            }
            Life::Stopping(..) => None,
            _ => Some("is told to end although nobody wants that"),
        };
        if let Some(problem) = problem {
            self.blame_job(job, problem);
        }
        self.touch(job);
    }

    /// Tells whether a job that reacts to the `stopping` of another is certainly busy.
    pub(super) fn is_waiting_for_hooks(&self, job: usize) -> bool {
        // One that has just been replaced was nobody for a moment.
        let is_busy =
            |hook: &usize| self.jobs[*hook].is_surely_busy() && !self.renewed.contains(hook);
        self.hooks[job].iter().any(is_busy)
    }

    /// Marks what is cut by now: whoever is waited for has had its time.
    pub(super) fn mark_cuts(&mut self, job: usize) {
        let is_waiting = self.is_waiting_for_hooks(job);
        let now = self.now;
        let view = &mut self.jobs[job];
        if let Life::Stopping(_, to) = view.life
            && now >= to
            && !view.was_cut
        {
            view.was_cut = true;
            // One that was still starting may have been told already; nobody hears that.
            let is_open = |main: &Main| main.is_started && main.told == Told::Nothing;
            view.must_cut = is_waiting && view.main.as_ref().is_none_or(is_open);
        }
    }

    /// Looks for stops that do not go on.
    pub(super) fn look_at_stop(&mut self, job: usize) {
        let is_past = |at: Time| self.is_past(at, job);
        let view = &self.jobs[job];
        let budget_is_spent = self.stage == Stage::Stopping && is_past(self.deadline);
        let is_forced = budget_is_spent || self.is_hurried && self.stage == Stage::Stopping;
        if let Some(main) = &view.main {
            if main.kill_due.is_some_and(is_past) && main.told != Told::Kill {
                return self.blame_job(job, "ignores its stop and is not killed");
            }
            if main.ended && main.told == Told::Nothing {
                return self.blame_job(job, "left something behind that nobody tells to end");
            }
            let is_late = main.timeout_at.is_some_and(is_past) && !main.ended;
            if is_late && main.told != Told::Kill {
                return self.blame_job(job, "takes too long and is not killed");
            }
            if is_forced && main.told != Told::Kill {
                let is_old = self.is_hurried || main.since < self.deadline;
                if is_old {
                    return self.blame_job(job, "is not killed although the stop has no time left");
                }
            }
        }
        let Life::Stopping(_, to) = view.life else { return };
        if self.has_services || view.is_loose {
            return;
        }
        let is_waiting = self.hooks[job].iter().any(|hook| self.jobs[*hook].may_be_busy());
        let is_free = is_past(to) || !is_waiting;
        match &view.main {
            None if is_free => self.blame_job(job, "has gone and is not said to have stopped"),
            Some(main) if is_free && main.is_started && main.told == Told::Nothing => {
                self.blame_job(job, "stops and is not told to end");
            }
            _ => {}
        }
    }

    /// Looks for jobs that were waited for until their time was over, and go on.
    pub(super) fn look_at_cut(&mut self, job: usize) {
        if !core::mem::take(&mut self.jobs[job].must_cut) {
            return;
        }
        let goes_on = |hook: &usize| {
            let view = &self.jobs[*hook];
            let is_free = view.is_loose || self.renewed.contains(hook);
            !view.is_stopping() && view.is_listed && !is_free && view.starts > 0
        };
        if self.hooks[job].iter().any(goes_on) {
            self.blame_job(job, "is stopped while a job that reacts to that goes on for ever");
        }
    }
}
