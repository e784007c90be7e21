//! When a job starts: events, levels, intervals, schedules, and what can no longer happen.

use core::time::Duration;

use alloc::vec::Vec;

use crate::config::{Clause, Repeat, Restarts, Trigger};
use crate::defect::Defect;
use crate::effect::{DropReason, Level, Message};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Event, Source};
use crate::id::JobId;
use crate::limits;
use crate::slot::{Health, Life, Outcome, Process, Successor};
use crate::timers::Timer;
use crate::wiring::{Target, clauses_of};

/// What becomes of a start that comes while the job is busy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Merge {
    /// Each is honoured, one after the other.
    Queue,
    /// All of them together are one further run, with the latest state.
    Latest,
}

impl Engine {
    /// Lets a job begin to wait for its trigger, or starts it.
    pub(crate) fn begin_job(&mut self, job: JobId) {
        if !self.is_lock_held_for(job) {
            return;
        }
        let Some(slot) = self.slot(job) else { return };
        let spec = slot.spec.clone();
        if let Some(timeout) = spec.trigger_timeout
            && !self.planted(Defect::NeverGivesUp)
        {
            self.timers.arm(job, Timer::Trigger, self.now.mono + timeout);
        }
        match &spec.trigger {
            Trigger::Startup => self.request_start(job, Merge::Latest),
            Trigger::Interval(interval) => {
                let now = self.now.mono;
                self.timers.arm(job, Timer::Due, now + at_least_tick(*interval));
                if let Some(slot) = self.slot_mut(job) {
                    slot.epoch = now;
                }
                self.request_start(job, Merge::Latest);
            }
            Trigger::Schedule(_) => self.arm_schedule(job),
            Trigger::On(clause) => {
                let startup = clause.code == Code::Startup;
                if startup && self.generation > 0 {
                    self.request_start(job, Merge::Latest);
                }
            }
            Trigger::All(_) | Trigger::Any(_) => {}
        }
    }

    /// Lets a job that a reload put in place look at what already holds: an edge that came before
    /// it was defined will not come again.
    pub(crate) fn begin_job_late(&mut self, job: JobId) {
        self.begin_job(job);
        let Some(slot) = self.slot(job) else { return };
        if slot.life != Life::Waiting || slot.pending > 0 {
            return;
        }
        let spec = slot.spec.clone();
        let holds = match &spec.trigger {
            Trigger::On(clause) => clause.repeat == Repeat::Once && self.holds(job, 0, clause),
            Trigger::All(_) => self.all_hold(job),
            Trigger::Any(clauses) => clauses
                .iter()
                .enumerate()
                .any(|(nth, clause)| clause.repeat == Repeat::Once && self.holds(job, nth, clause)),
            Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
        };
        if holds && !slot.is_hook() {
            self.request_start(job, Merge::Latest);
        } else {
            self.check_possible(job);
        }
    }

    /// Reacts to an event that one clause of a job's trigger names.
    pub(crate) fn on_event(&mut self, target: Target, code: Code) {
        let job = target.job;
        let Some(slot) = self.slot(job) else { return };
        let is_open = is_stop_code(code) || self.planted(Defect::StartsAfterStop);
        if matches!(self.stage, Stage::Stopping { .. }) && !is_open {
            return;
        }
        if slot.is_stopping() {
            return;
        }
        if slot.life == Life::Active && self.planted(Defect::SecondStartEndsJob) {
            return self.begin_stop(job);
        }
        let spec = slot.spec.clone();
        let has_started = slot.runs_of_definition > 0 || slot.pending > 0;
        match &spec.trigger {
            Trigger::On(clause) => {
                let is_each = clause.repeat == Repeat::Each || self.planted(Defect::OnceEveryTime);
                let is_each = is_each && !self.planted(Defect::EachOnlyOnce);
                if is_each || !(has_started || slot.life != Life::Waiting) {
                    self.request_start(job, merge_of(clause));
                }
            }
            Trigger::Any(clauses) => {
                let Some(clause) = clauses.get(usize::from(target.clause)) else { return };
                if target.clause > 0 && self.planted(Defect::AnyIsFirstOnly) {
                    return;
                }
                if clause.repeat == Repeat::Each || !slot.once_used {
                    self.on_any(job, clause);
                }
            }
            Trigger::All(clauses) => {
                if !self.planted(Defect::AllForgetsOccurrences) {
                    self.note_seen(job, target.clause);
                }
                let repeats = clauses.iter().any(|clause| clause.repeat == Repeat::Each);
                let holds = self.all_hold(job) || self.planted(Defect::AllIsAny);
                if (repeats || !has_started) && holds {
                    self.request_start(job, Merge::Latest);
                }
            }
            Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => {}
        }
    }

    fn on_any(&mut self, job: JobId, clause: &Clause) {
        if clause.repeat == Repeat::Once
            && let Some(slot) = self.slot_mut(job)
        {
            slot.once_used = true;
        }
        self.request_start(job, merge_of(clause));
    }

    fn note_seen(&mut self, job: JobId, clause: u16) {
        if let Some(slot) = self.slot_mut(job) {
            slot.seen |= 1u64.checked_shl(u32::from(clause)).unwrap_or(0);
        }
    }

    /// Starts a job, or keeps the start for when it is free.
    pub(crate) fn request_start(&mut self, job: JobId, merge: Merge) {
        if !self.is_lock_held_for(job) {
            return;
        }
        let is_merging = self.planted(Defect::TriggersMerged);
        let is_piling = self.planted(Defect::TicksPileUp);
        let is_queueing = self.planted(Defect::ChangesQueueUp);
        let is_unbounded = self.planted(Defect::PendingUnbounded);
        let Some(slot) = self.slot_mut(job) else { return };
        match merge {
            Merge::Latest if !is_piling && !is_queueing => slot.pending = 1,
            Merge::Queue if is_merging => slot.pending = 1,
            Merge::Queue | Merge::Latest
                if slot.pending < limits::PENDING_STARTS_MAX || is_unbounded =>
            {
                slot.pending += 1;
            }
            Merge::Queue | Merge::Latest => {
                let reason = DropReason::TooMany;
                self.log(Level::Warn, Some(job), Message::TriggersDropped { count: 1, reason });
            }
        }
        self.use_pending(job);
    }

    /// Starts a job for which a start waits, if it is free.
    pub(crate) fn use_pending(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.process != Process::None && self.planted(Defect::TriggersDuringRunLost) {
            return self.forget_pending(job);
        }
        if slot.pending == 0 || slot.process != Process::None {
            return;
        }
        match slot.life {
            Life::Waiting | Life::BackingOff => {}
            // A service without a process is started once; there is nothing to run again.
            Life::Active if slot.spec.command.is_some() => {}
            Life::Active | Life::Draining | Life::Withdrawing | Life::Ending | Life::Ended(_) => {
                return;
            }
        }
        if slot.is_interval() && !self.use_interval_run(job) {
            return;
        }
        if let Some(slot) = self.slot_mut(job) {
            slot.pending -= 1;
        }
        self.start_run(job);
    }

    fn forget_pending(&mut self, job: JobId) {
        if let Some(slot) = self.slot_mut(job) {
            slot.pending = 0;
        }
    }

    /// Counts a run of an interval job; its restarts are the runs after the first.
    fn use_interval_run(&mut self, job: JobId) -> bool {
        let is_uncounted = self.planted(Defect::IntervalRunsNotCounted);
        let Some(slot) = self.slot_mut(job) else { return false };
        if slot.runs_of_definition == 0 || is_uncounted {
            return true;
        }
        match &mut slot.restarts_left {
            Restarts::Unlimited => true,
            Restarts::Limited(0) => {
                slot.pending = 0;
                false
            }
            Restarts::Limited(left) => {
                *left -= 1;
                true
            }
        }
    }

    /// An interval has passed, or a scheduled time has come (or is near enough to be looked at
    /// again).
    pub(crate) fn on_due(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        let spec = slot.spec.clone();
        match &spec.trigger {
            Trigger::Interval(interval) => {
                let interval = at_least_tick(*interval);
                let elapsed = self.now.mono.since(slot.epoch).as_nanos();
                let periods = elapsed / interval.as_nanos() + 1;
                let offset = u64::try_from(periods * interval.as_nanos()).unwrap_or(u64::MAX);
                let drift = Duration::from_millis(self.planted(Defect::IntervalDrifts).into());
                let next = slot.epoch + Duration::from_nanos(offset) + drift;
                self.timers.arm(job, Timer::Due, next);
                self.request_start(job, Merge::Latest);
            }
            Trigger::Schedule(_) => self.on_schedule_look(job),
            Trigger::Startup | Trigger::On(_) | Trigger::All(_) | Trigger::Any(_) => {}
        }
    }

    /// Tells whether one clause holds now, as a level.
    fn holds(&self, job: JobId, nth: usize, clause: &Clause) -> bool {
        let source = self.wiring.sources(job).get(nth).copied().flatten();
        let is_seen = |engine: &Engine| {
            let bit = 1u64.checked_shl(nth as u32).unwrap_or(0);
            engine.slot(job).is_some_and(|slot| slot.seen & bit != 0)
        };
        if self.planted(Defect::AllOnEdges) {
            return is_seen(self);
        }
        match clause.code {
            Code::Startup => self.stage != Stage::New,
            Code::Shutdown => matches!(self.stage, Stage::Stopping { .. }),
            Code::EnterMaintenance => self.maintenance,
            Code::ExitMaintenance => !self.maintenance && is_seen(self),
            Code::ExitSuccess
            | Code::ExitFailed
            | Code::Healthy
            | Code::Unhealthy
            | Code::Stopping
            | Code::Stopped
            | Code::Skipped => match source {
                Some(Source::Job(of)) => self.job_holds(of, clause.code),
                Some(Source::Watch(of)) => {
                    let is_healthy = self.watch_state(of).and_then(|state| state.is_healthy());
                    is_healthy == Some(clause.code == Code::Healthy)
                }
                Some(Source::Global | Source::Check(_) | Source::Lock(_) | Source::Signal(_))
                | None => is_seen(self),
            },
            Code::Changed
            | Code::TimerExpired
            | Code::Signal
            | Code::Stale
            | Code::Acquired
            | Code::Jeopardy
            | Code::Lost
            | Code::Released
            | Code::Observed => is_seen(self),
        }
    }

    fn job_holds(&self, of: JobId, code: Code) -> bool {
        let Some(slot) = self.slot(of) else { return false };
        match code {
            Code::Healthy => slot.health == Health::Healthy,
            Code::Unhealthy => slot.health == Health::Unhealthy,
            Code::ExitSuccess => slot.last_exit.is_some_and(|exit| exit.is_success()),
            Code::ExitFailed => slot.last_exit.is_some_and(|exit| !exit.is_success()),
            Code::Stopping => slot.is_stopping() && !slot.is_ended(),
            Code::Stopped => slot.life == Life::Ended(Outcome::Completed),
            Code::Skipped => slot.life == Life::Ended(Outcome::Skipped),
            _ => false,
        }
    }

    /// Tells whether a reaction that failed is to be tried again: what it needs is still there.
    pub(crate) fn holds_still(&self, job: JobId) -> bool {
        let Some(slot) = self.slot(job) else { return false };
        !matches!(slot.spec.trigger, Trigger::All(_)) || self.all_hold(job)
    }

    fn all_hold(&self, job: JobId) -> bool {
        let Some(slot) = self.slot(job) else { return false };
        let clauses = clauses_of(&slot.spec.trigger);
        clauses.iter().enumerate().all(|(nth, clause)| self.holds(job, nth, clause))
    }

    /// Ends a waiting job whose trigger cannot come any more.
    pub(crate) fn check_possible(&mut self, job: JobId) {
        let is_blind = self.planted(Defect::ImpossibleNotSeen);
        if self.stage == Stage::New || is_blind || self.can_start(job) {
            return;
        }
        let Some(slot) = self.slot(job) else { return };
        if slot.runs_of_definition > 0 {
            self.complete(job);
        } else {
            let source = self.ended_source(job);
            self.log(Level::Warn, Some(job), Message::NeverStarts { source });
            self.skip(job);
        }
    }

    /// Tells whether a job may still start, or is not waiting at all.
    fn can_start(&self, job: JobId) -> bool {
        let Some(slot) = self.slot(job) else { return true };
        if slot.life != Life::Waiting || slot.pending > 0 || !slot.in_use {
            return true;
        }
        let is_possible = |nth: usize, clause: &Clause| {
            let is_used = clause.repeat == Repeat::Once && slot.runs_of_definition > 0;
            !is_used && self.can_happen(job, nth, clause)
        };
        let clauses = clauses_of(&slot.spec.trigger);
        let mut each = clauses.iter().enumerate();
        match &slot.spec.trigger {
            Trigger::Startup => slot.runs_of_definition == 0,
            Trigger::On(_) | Trigger::Any(_) => each.any(|(nth, clause)| is_possible(nth, clause)),
            Trigger::All(_) => {
                each.all(|(nth, clause)| self.holds(job, nth, clause) || is_possible(nth, clause))
            }
            Trigger::Interval(_) => {
                slot.runs_of_definition == 0 || slot.restarts_left != Restarts::Limited(0)
            }
            Trigger::Schedule(_) => !matches!(self.stage, Stage::Stopping { .. }),
        }
    }

    fn can_happen(&self, job: JobId, nth: usize, clause: &Clause) -> bool {
        let is_stopping = matches!(self.stage, Stage::Stopping { .. });
        if is_stopping && !is_stop_code(clause.code) {
            return false;
        }
        let Some(source) = self.wiring.sources(job).get(nth).copied().flatten() else {
            return false;
        };
        let event = Event { code: clause.code, source };
        if self.queue.contains(&event) && !self.planted(Defect::StartupJudgedTooEarly) {
            return true;
        }
        match source {
            // One that has ended and is about to be replaced begins anew.
            Source::Job(of) | Source::Check(of) => self.slot(of).is_some_and(|slot| {
                let is_replaced = matches!(slot.successor, Successor::Job { .. });
                slot.in_use && (!slot.is_ended() || is_replaced)
            }),
            Source::Global => match clause.code {
                Code::Startup => self.stage == Stage::New,
                Code::Shutdown => !is_stopping,
                _ => true,
            },
            Source::Watch(_) | Source::Lock(_) | Source::Signal(_) => true,
        }
    }

    fn ended_source(&self, job: JobId) -> crate::config::Name {
        let sources: Vec<_> = self.wiring.sources(job).iter().copied().flatten().collect();
        let is_ended = |source: &Source| match source {
            Source::Job(of) | Source::Check(of) => {
                self.slot(*of).is_none_or(|slot| slot.is_ended())
            }
            Source::Global | Source::Watch(_) | Source::Lock(_) | Source::Signal(_) => false,
        };
        let ended = sources.iter().find(|source| is_ended(source)).or(sources.first());
        ended.map_or_else(|| "".into(), |source| self.source_name(*source).into())
    }

    /// The trigger has not come in time: the job gives up, in v3's way.
    pub(crate) fn on_trigger_timeout(&mut self, job: JobId) {
        let is_blind = self.planted(Defect::TriggerTimeoutOutlivesStart);
        let Some(slot) = self.slot_mut(job) else { return };
        if (slot.life != Life::Waiting || slot.runs_of_definition > 0) && !is_blind {
            return;
        }
        slot.gave_up = true;
        let after = slot.spec.trigger_timeout.unwrap_or_default();
        self.log(Level::Warn, Some(job), Message::GaveUpWaiting { after });
        if !self.planted(Defect::GivesUpSilently) {
            self.publish(Code::TimerExpired, Source::Job(job));
        }
        self.complete(job);
    }
}

/// Tells whether an event is part of stopping, so that jobs may start because of it then.
pub(crate) const fn is_stop_code(code: Code) -> bool {
    matches!(code, Code::Stopping | Code::Stopped | Code::Shutdown)
}

/// Watches and locks announce a state, not an occurrence: one further run with the latest serves
/// several announcements. Everything else happened as often as it happened.
fn merge_of(clause: &Clause) -> Merge {
    match clause.source {
        crate::config::SourceName::Watch(_) | crate::config::SourceName::Lock(_) => Merge::Latest,
        crate::config::SourceName::Global
        | crate::config::SourceName::Job(_)
        | crate::config::SourceName::Check(_)
        | crate::config::SourceName::Signal(_) => Merge::Queue,
    }
}

/// Keeps an interval of zero from stopping time.
fn at_least_tick(interval: Duration) -> Duration {
    interval.max(limits::INTERVAL_MIN)
}
