//! Health: checks come when they are due, one at a time, and their results are announced on the
//! edge.

use steersman_engine::config::Signal;
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{Code, RunId, Time};

use super::job::{Check, Life, Told, Who};
use super::ledger::{Expected, LATE, Ledger, Stage};

impl Ledger {
    /// The checks of a job that has started, or come out of maintenance, begin to count.
    pub(super) fn begin_checks(&mut self, job: usize) {
        let now = self.now;
        let view = &mut self.jobs[job];
        if view.spec.health.is_none() || !view.is_serving() || self.maintenance {
            return;
        }
        let at = now + view.check_delay(now, view.health);
        view.check_due = Some((at, at));
        self.remind(at, job);
    }

    /// Sets when the next check is due; uncertain when the health changed in this very input.
    fn set_next_check(&mut self, job: usize) {
        let now = self.now;
        let view = &mut self.jobs[job];
        let one = now + view.check_delay(now, view.health);
        let other = now + view.check_delay(now, view.health_before);
        view.check_due = Some((one.min(other), one.max(other)));
        self.remind(one.max(other), job);
    }

    /// The check of a job is started.
    pub(super) fn on_check_start(&mut self, job: usize, run: RunId) {
        let (now, is_excused) = (self.now, self.is_excused());
        let view = &mut self.jobs[job];
        let is_due = view.check_due.is_some_and(|(from, _)| now >= from);
        let is_late = view.check_due.is_some_and(|(_, to)| now > to + LATE);
        let is_serving = view.is_serving() || view.is_silent();
        let problem = match (&view.check, &view.spec.health) {
            _ if view.is_silent() || view.is_loose => None,
            (Some(_), _) => Some("is checked while the check before has not gone"),
            (None, None) => Some("is checked although nobody wants that"),
            (None, Some(_)) if !is_serving => Some("is checked although it does not run"),
            (None, Some(_)) if !is_due => Some("is checked before its time"),
            (None, Some(_)) if is_late && !is_excused => Some("is checked after its time"),
            (None, Some(_)) => None,
        };
        if let Some(problem) = problem {
            self.blame_job(job, problem);
        }
        let view = &mut self.jobs[job];
        let timeout = view.spec.health.as_ref().map(|health| health.timeout);
        let timeout_at = now + timeout.unwrap_or_default();
        view.check = Some(Check {
            id: run,
            of: view.nth,
            timeout_at,
            is_decided: false,
            has_ended: false,
            must_kill: false,
        });
        self.remind(timeout_at, job);
        if !self.jobs[job].is_silent() {
            self.set_next_check(job);
        }
        self.touch(job);
    }

    /// A check is sent a signal: it is cut.
    pub(super) fn on_check_signal(&mut self, job: usize, run: RunId, signal: Signal) {
        let now = self.now;
        let is_reloading = self.is_reloading;
        let may_end = self.maintenance || self.stage == Stage::Stopping || is_reloading;
        let view = &mut self.jobs[job];
        let is_serving = view.is_serving();
        let is_loose = view.is_loose || view.is_silent() || may_end;
        let Some(check) = view.check.as_mut().filter(|check| check.id == run) else { return };
        let is_cut = !check.is_decided && !check.has_ended;
        let is_early = is_cut && is_serving && now < check.timeout_at && !is_loose;
        check.is_decided = true;
        check.must_kill = false;
        if signal != Signal::KILL {
            self.blame_job(job, "has its check asked to end and not killed");
        } else if is_early {
            self.blame_job(job, "has its check killed before its time");
        }
    }

    /// A check is said to have failed that has not ended: it took too long.
    pub(super) fn on_check_cut(&mut self, job: usize) {
        let now = self.now;
        let view = &self.jobs[job];
        let cut = view.check.as_ref().filter(|check| check.is_decided && !check.has_ended);
        let Some(check) = cut.filter(|check| now >= check.timeout_at) else {
            return self.blame_job(job, "has its check said to have failed out of nothing");
        };
        let of = check.of;
        self.judge(job, of, false);
    }

    pub(super) fn on_check_start_failed(&mut self, run: RunId) {
        self.on_check_exited(run, ExitStatus::Code(127), Tree::Gone);
    }

    pub(super) fn on_check_exited(&mut self, run: RunId, status: ExitStatus, tree: Tree) {
        let Some(job) = self.job_of(run) else { return };
        let view = &mut self.jobs[job];
        let present = view.check.as_mut().filter(|check| check.id == run && !check.has_ended);
        let Some(check) = present else { return };
        check.has_ended = true;
        check.must_kill = tree == Tree::Left;
        let (of, is_decided) = (check.of, check.is_decided);
        if tree == Tree::Gone {
            view.check = None;
        }
        self.touch(job);
        if is_decided {
            return;
        }
        let code = if status.is_success() { Code::ExitSuccess } else { Code::ExitFailed };
        self.expect(Expected::Event(code, Who::Check(job)));
        self.judge(job, of, status.is_success());
    }

    pub(super) fn on_check_tree_gone(&mut self, run: RunId) {
        let Some(job) = self.job_of(run) else { return };
        let view = &mut self.jobs[job];
        if view.check.as_ref().is_some_and(|check| check.id == run && check.has_ended) {
            view.check = None;
            self.touch(job);
        }
    }

    /// A result says something about the run it was begun under, while that serves.
    fn judge(&mut self, job: usize, of: u32, is_passed: bool) {
        let view = &self.jobs[job];
        if of == view.nth && view.is_serving() && !self.maintenance {
            self.note_health(job, is_passed);
        }
    }

    fn note_health(&mut self, job: usize, is_passed: bool) {
        let now = self.now;
        let view = &mut self.jobs[job];
        let Some(health) = &view.spec.health else { return };
        if is_passed {
            view.failures = 0;
            if view.health.replace(true) != Some(true) {
                self.expect(Expected::Event(Code::Healthy, Who::Job(job)));
            }
            return;
        }
        if view.health.is_none() && now.since(view.checks_since) < health.start_period {
            return;
        }
        view.failures += 1;
        if view.failures >= health.retries.max(1) && view.health != Some(false) {
            view.health = Some(false);
            self.expect(Expected::Event(Code::Unhealthy, Who::Job(job)));
        }
    }

    /// A job is said to be healthy or not, though no check has just ended: a mere heartbeat.
    pub(super) fn on_health_said(&mut self, job: usize, is_healthy: bool) {
        let now = self.now;
        let view = &mut self.jobs[job];
        if view.is_silent() {
            view.health = Some(is_healthy);
            return;
        }
        let is_heartbeat = view.spec.health.as_ref().is_some_and(|it| it.command.is_none());
        let is_due = view.check_due.is_some_and(|(from, _)| now >= from);
        if !is_heartbeat || !is_due || !is_healthy || view.health == Some(true) {
            let word = if is_healthy { "healthy" } else { "unhealthy" };
            return self.blame_job(job, &format!("is said to be {word} out of nothing"));
        }
        view.health = Some(true);
        self.set_next_check(job);
        self.touch(job);
    }

    pub(super) fn on_maintenance(&mut self, is_on: bool) {
        self.maintenance = is_on;
        let now = self.now;
        for job in 0..self.jobs.len() {
            let view = &mut self.jobs[job];
            if view.spec.health.is_none() || view.is_retired || !view.is_listed {
                continue;
            }
            view.health = None;
            view.failures = 0;
            view.checks_since = now;
            view.check_due = None;
            if !is_on {
                self.begin_checks(job);
            }
            self.touch(job);
        }
    }

    /// Looks for checks that are missing, that go on for too long or beyond their job.
    pub(super) fn look_at_checks(&mut self, job: usize, is_late: bool) {
        let is_past = |at: Time| self.is_past(at, job);
        let view = &self.jobs[job];
        if view.is_silent() || view.is_loose {
            return;
        }
        let is_serving = view.is_serving();
        let is_told = view.main.as_ref().is_none_or(|main| main.told == Told::Stop || main.ended);
        let must_end = match view.life {
            Life::Active => view.main.as_ref().is_none_or(|main| main.ended),
            Life::Stopping(..) => is_told,
            Life::Waiting | Life::BackingOff(..) | Life::Ended(_) => true,
        };
        let must_end = must_end || self.maintenance;
        if let Some(check) = &view.check {
            let is_open = !check.is_decided && !check.has_ended;
            if is_open && is_past(check.timeout_at) {
                return self.blame_job(job, "has a check that takes too long and is not cut");
            }
            if is_open && must_end {
                return self.blame_job(job, "is still being checked although it is not to be");
            }
            if check.must_kill {
                return self.blame_job(job, "has a check that left something behind, unkilled");
            }
        }
        let Some((_, to)) = view.check_due else { return };
        if !is_past(to) || !is_serving || self.maintenance {
            return;
        }
        let is_heartbeat = view.spec.health.as_ref().is_some_and(|it| it.command.is_none());
        let is_missing = match is_heartbeat {
            true => view.health != Some(true),
            false => view.check.is_none() || is_late,
        };
        if is_missing {
            self.blame_job(job, "is not checked when it should be");
            self.jobs[job].check_due = None;
        } else if !is_late {
            self.set_next_check(job);
        }
    }

    /// Settings of a check that changed count from now.
    pub(super) fn restart_checks(&mut self, job: usize) {
        self.jobs[job].check_due = None;
        self.begin_checks(job);
    }
}
