//! What the ledger knows about one job, learnt from what the supervisor was told and said.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::{Clause, Job, Name, Repeat, Restarts, Signal, SourceName, Trigger};
use steersman_engine::event::SignalName;
use steersman_engine::input::ExitStatus;
use steersman_engine::{Code, RunId, Time};

/// Where an event comes from, by place in the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// The supervisor itself.
    Global,
    /// A job.
    Job(usize),
    /// A job's health check.
    Check(usize),
    /// A watch.
    Watch(u16),
    /// A lock.
    Lock(u16),
    /// A signal.
    Signal(SignalName),
}

/// Where a job is, as far as an onlooker can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// Waits for its trigger.
    Waiting,
    /// Has a run.
    Active,
    /// Starts again between these two instants.
    BackingOff(Time, Time),
    /// `stopping` was published, then, and its process is to be told to end by then at the latest.
    Stopping(Time, Time),
    /// Has ended; the flag says that it never ran.
    Ended(bool),
}

/// What follows a stop.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    Nothing,
    Job { spec: Arc<Job>, start: bool },
    Removal,
}

/// What a run was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Told {
    Nothing,
    Stop,
    Kill,
}

/// The run of a job, as far as the supervisor can know it.
#[derive(Clone, Debug)]
pub(super) struct Main {
    pub(super) id: RunId,
    pub(super) since: Time,
    pub(super) is_started: bool,
    pub(super) ended: bool,
    pub(super) told: Told,
    /// It must be killed by then.
    pub(super) kill_due: Option<Time>,
    /// It takes too long from then on.
    pub(super) timeout_at: Option<Time>,
}

/// The check of a job that has not gone.
#[derive(Clone, Debug)]
pub(super) struct Check {
    pub(super) id: RunId,
    pub(super) of: u32,
    pub(super) timeout_at: Time,
    pub(super) is_decided: bool,
    pub(super) has_ended: bool,
    /// It left something behind that must be killed.
    pub(super) must_kill: bool,
}

/// One job.
#[derive(Clone, Debug)]
pub(super) struct JobView {
    pub(super) spec: Arc<Job>,
    pub(super) life: Life,
    pub(super) next: Next,
    /// Whether it belongs to the configuration in force.
    pub(super) is_listed: bool,
    /// Whether it has left for good, so that its place may be another's.
    pub(super) is_retired: bool,
    /// Something made its state uncertain: nothing is demanded of it until it is renewed.
    pub(super) is_loose: bool,
    pub(super) main: Option<Main>,
    pub(super) check: Option<Check>,
    /// The number of its newest run.
    pub(super) nth: u32,
    /// Runs since this definition is in force.
    pub(super) starts: u32,
    /// Starts that wait: at least and at most so many.
    pub(super) least: u32,
    pub(super) most: u32,
    /// Starts that waited when the last input had been dealt with.
    pub(super) settled: u32,
    /// It may start in this input if all its conditions hold.
    pub(super) may_by_level: bool,
    pub(super) restarts_left: Restarts,
    pub(super) backoff_step: u32,
    pub(super) last_exit: Option<ExitStatus>,
    pub(super) once_used: bool,
    pub(super) seen: u64,
    /// All its conditions held when it heard the last of them, in this input.
    pub(super) is_asked: bool,
    /// How many of its conditions it heard in this input.
    pub(super) hears: u32,
    pub(super) gave_up: bool,
    pub(super) gives_up_at: Option<Time>,
    pub(super) health: Option<bool>,
    /// What the health was before this input.
    pub(super) health_before: Option<bool>,
    pub(super) failures: u32,
    pub(super) checks_since: Time,
    /// The next check comes between these two instants.
    pub(super) check_due: Option<(Time, Time)>,
    /// When the interval began to count, and its next tick.
    pub(super) epoch: Time,
    pub(super) tick: Option<Time>,
    pub(super) scheduled_ms: i64,
    /// When its process is told to end whatever is waited for: the hooks are cut then.
    pub(super) must_cut: bool,
    pub(super) was_cut: bool,
    pub(super) is_touched: bool,
}

/// Tells whether a job ends with the terms of a lock.
fn has_lock(spec: &Job) -> bool {
    spec.while_lock.is_some() || spec.stop_with.is_some()
}

impl JobView {
    /// Tells whether it ends with the terms of a lock.
    pub(super) fn has_lock(&self) -> bool {
        has_lock(&self.spec)
    }

    pub(super) fn new(spec: Arc<Job>) -> JobView {
        JobView {
            life: Life::Waiting,
            next: Next::Nothing,
            is_listed: true,
            is_retired: false,
            is_loose: has_lock(&spec) || hears_locks(&spec.trigger),
            main: None,
            check: None,
            nth: 0,
            starts: 0,
            least: 0,
            most: 0,
            settled: 0,
            may_by_level: false,
            restarts_left: spec.restarts,
            backoff_step: 0,
            last_exit: None,
            once_used: false,
            seen: 0,
            is_asked: false,
            hears: 0,
            gave_up: false,
            gives_up_at: None,
            health: None,
            health_before: None,
            failures: 0,
            checks_since: Time(0),
            check_due: None,
            epoch: Time(0),
            tick: None,
            scheduled_ms: i64::MIN,
            must_cut: false,
            was_cut: false,
            is_touched: false,
            spec,
        }
    }

    /// Puts a definition in the place of the one before.
    pub(super) fn renew(&mut self, spec: Arc<Job>) {
        let fresh = JobView::new(spec);
        let check = self.check.take();
        let is_touched = self.is_touched;
        *self = JobView { nth: self.nth, check, is_touched, ..fresh };
    }

    pub(super) fn name(&self) -> &Name {
        &self.spec.name
    }

    pub(super) fn wanted(&self) -> &Arc<Job> {
        match &self.next {
            Next::Job { spec, .. } => spec,
            Next::Nothing | Next::Removal => &self.spec,
        }
    }

    /// Tells whether it has no process: then its starts cannot be seen.
    pub(super) fn is_silent(&self) -> bool {
        self.spec.command.is_none()
    }

    pub(super) const fn is_stopping(&self) -> bool {
        matches!(self.life, Life::Stopping(..) | Life::Ended(_))
    }

    pub(super) const fn has_ended(&self) -> bool {
        matches!(self.life, Life::Ended(_))
    }

    /// Tells whether it certainly has, or is about to have, something to do.
    pub(super) const fn is_surely_busy(&self) -> bool {
        match self.life {
            Life::Waiting => self.least > 0,
            Life::Active | Life::BackingOff(..) | Life::Stopping(..) => true,
            Life::Ended(_) => false,
        }
    }

    /// Tells whether it may have something to do: nobody sees what one without a process does, and
    /// nobody knows what an uncertain one does.
    pub(super) fn may_be_busy(&self) -> bool {
        self.is_surely_busy() || (self.is_silent() || self.is_loose) && !self.has_ended()
    }

    /// Tells whether its process runs and was not told to end by a stop.
    pub(super) fn is_serving(&self) -> bool {
        let runs = |main: &Main| main.is_started && !main.ended;
        self.life == Life::Active && self.main.as_ref().is_some_and(runs)
    }

    pub(super) fn is_interval(&self) -> bool {
        matches!(self.spec.trigger, Trigger::Interval(_))
    }

    pub(super) fn is_hook(&self) -> bool {
        let is_stop = |clause: &Clause| is_stop_code(clause.code);
        clauses(&self.spec.trigger).iter().any(is_stop)
    }

    /// Tells whether its trigger may come more than once.
    pub(super) fn is_repeating(&self) -> bool {
        match &self.spec.trigger {
            Trigger::Startup => false,
            Trigger::Interval(_) | Trigger::Schedule(_) => true,
            Trigger::On(_) | Trigger::All(_) | Trigger::Any(_) => {
                clauses(&self.spec.trigger).iter().any(|clause| clause.repeat == Repeat::Each)
            }
        }
    }

    pub(super) fn stop_signal(&self) -> Signal {
        self.spec.stop_signal
    }

    /// Tells whether a reaction of it that failed is tried again: it reacts to states.
    pub(super) fn reacts_to_state(&self) -> bool {
        let is_state = |clause: &Clause| {
            let of_state = matches!(clause.source, SourceName::Watch(_) | SourceName::Lock(_));
            clause.repeat == Repeat::Each && of_state
        };
        clauses(&self.spec.trigger).iter().any(is_state)
    }

    /// Gives the time to the next check, were the health so.
    pub(super) fn check_delay(&self, now: Time, health: Option<bool>) -> Duration {
        let Some(check) = &self.spec.health else { return Duration::MAX };
        let is_starting = health.is_none() && now.since(self.checks_since) < check.start_period;
        let early = check.start_interval.filter(|_| is_starting);
        early.unwrap_or(check.interval).max(Duration::from_millis(1))
    }
}

/// Gives the conditions of a trigger.
pub(super) fn clauses(trigger: &Trigger) -> &[Clause] {
    match trigger {
        Trigger::On(clause) => core::slice::from_ref(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses,
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &[],
    }
}

fn hears_locks(trigger: &Trigger) -> bool {
    clauses(trigger).iter().any(|clause| matches!(clause.source, SourceName::Lock(_)))
}

/// Tells whether an event belongs to stopping.
pub(super) const fn is_stop_code(code: Code) -> bool {
    matches!(code, Code::Stopping | Code::Stopped | Code::Shutdown)
}
