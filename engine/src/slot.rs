//! What the engine knows about one job: three small machines (life, process, check) and counters.

use alloc::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::{Job, Name, Repeat, Restarts, Trigger};
use crate::event::Code;
use crate::id::{JobId, RunId, RunKind};
use crate::input::ExitStatus;
use crate::random::{mix, mix_side_by_side};
use crate::registration::Catalog;
use crate::time::Time;
use crate::variable;

/// Where a job is between its definition and its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Life {
    /// Waits for its trigger.
    Waiting,
    /// Was started; its process runs, or it only advertises.
    Active,
    /// Waits before it is started again.
    BackingOff,
    /// Has published `stopping`; waits for the jobs that react to it.
    Draining,
    /// Waits until it is out of the catalog, and for its drain delay.
    Withdrawing,
    /// Its process was told to end; waits until everything has gone.
    Ending,
    /// Has ended for good.
    Ended(Outcome),
}

/// How a job ended for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    /// After it had run, or had given up waiting.
    Completed,
    /// Without ever having run.
    Skipped,
}

/// The process of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Process {
    /// There is none.
    None,
    /// It was asked for at this time.
    Starting { since: Time },
    /// It runs.
    Running { pid: u32, since: Time },
    /// It has ended; what it left behind has not.
    Leftovers,
}

/// How hard the present run was told to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Told {
    /// Not at all.
    Nothing,
    /// Its stop signal was sent.
    Stop,
    /// SIGKILL was sent.
    Kill,
}

/// The health check process of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Check {
    /// None runs.
    Idle,
    /// One runs; `of` is the run of the job it judges, `decided` says that its result no longer
    /// counts.
    Running { of: u32, decided: bool },
    /// It has ended; what it left behind has not.
    Leftovers,
}

/// What the checks said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Health {
    Unknown,
    Healthy,
    Unhealthy,
}

/// What is to follow when a job's stop sequence is over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Successor {
    /// Nothing: it has ended.
    Nothing,
    /// This definition takes its place; `start` says that it starts without waiting for its
    /// trigger.
    Job { spec: Arc<Job>, start: bool },
    /// It leaves the configuration.
    Removal,
}

/// One job's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Slot {
    pub(crate) spec: Arc<Job>,
    /// The variable that holds its process id.
    pub(crate) pid_variable: Name,
    pub(crate) life: Life,
    pub(crate) process: Process,
    pub(crate) told: Told,
    /// When the present run was asked to end.
    pub(crate) told_at: Time,
    pub(crate) check: Check,
    pub(crate) health: Health,
    pub(crate) failures: u32,
    pub(crate) runs: u32,
    pub(crate) checks: u32,
    /// Runs since this definition took the slot.
    pub(crate) runs_of_definition: u32,
    pub(crate) pending: u32,
    pub(crate) restarts_left: Restarts,
    pub(crate) backoff_step: u32,
    pub(crate) last_exit: Option<ExitStatus>,
    /// The last run was a reaction that failed and is to be repeated.
    pub(crate) retrying: bool,
    /// A once-clause of `any` has been used.
    pub(crate) once_used: bool,
    /// Clauses of `all` whose event has no lasting level and has been seen.
    pub(crate) seen: u64,
    /// Whether the job was given up on (`when.timeout`).
    pub(crate) gave_up: bool,
    pub(crate) successor: Successor,
    pub(crate) catalog: Catalog,
    /// When a lock's term is over and everything of the job must have gone; never, when not in that
    /// case.
    pub(crate) stop_by: Time,
    /// Whether the slot belongs to the configuration in force.
    pub(crate) in_use: bool,
    /// When the interval began to count.
    pub(crate) epoch: Time,
    /// The last scheduled time that was used, in ms of the wall clock.
    pub(crate) last_scheduled_ms: i64,
    /// The present health check began to count here (start of the run, end of maintenance).
    pub(crate) checks_since: Time,
    pub(crate) hash: u64,
    pub(crate) is_touched: bool,
}

impl Slot {
    pub(crate) fn new(spec: Arc<Job>, now: Time) -> Slot {
        let restarts_left = spec.restarts;
        Slot {
            pid_variable: variable::of_job("CONTAINERPILOT", &spec.name, "PID"),
            spec,
            life: Life::Waiting,
            process: Process::None,
            told: Told::Nothing,
            told_at: Time(0),
            check: Check::Idle,
            health: Health::Unknown,
            failures: 0,
            runs: 0,
            checks: 0,
            runs_of_definition: 0,
            pending: 0,
            restarts_left,
            backoff_step: 0,
            last_exit: None,
            retrying: false,
            once_used: false,
            seen: 0,
            gave_up: false,
            successor: Successor::Nothing,
            catalog: Catalog::new(),
            stop_by: Time::NEVER,
            in_use: true,
            epoch: now,
            last_scheduled_ms: i64::MIN,
            checks_since: now,
            hash: 0,
            is_touched: false,
        }
    }

    /// Puts a definition into the slot as if it were new. Counters of runs go on, so that a late
    /// result of an old run is never taken for one of a new run.
    pub(crate) fn renew(&mut self, spec: Arc<Job>, now: Time) {
        let fresh = Slot::new(spec, now);
        *self = Slot {
            runs: self.runs,
            checks: self.checks,
            check: self.check,
            catalog: self.catalog.clone(),
            hash: self.hash,
            is_touched: self.is_touched,
            ..fresh
        };
    }

    pub(crate) fn run_id(&self, job: JobId) -> RunId {
        RunId { job, kind: RunKind::Main, nth: self.runs }
    }

    pub(crate) fn check_id(&self, job: JobId) -> RunId {
        RunId { job, kind: RunKind::Check, nth: self.checks }
    }

    pub(crate) fn is_ended(&self) -> bool {
        matches!(self.life, Life::Ended(_))
    }

    /// Tells whether the job has, or is about to have, something to do.
    pub(crate) fn is_busy(&self) -> bool {
        match self.life {
            Life::Waiting => self.pending > 0,
            Life::Active | Life::BackingOff | Life::Draining | Life::Withdrawing | Life::Ending => {
                true
            }
            Life::Ended(_) => false,
        }
    }

    /// Tells whether the stop sequence has begun, or is over.
    pub(crate) fn is_stopping(&self) -> bool {
        match self.life {
            Life::Waiting | Life::Active | Life::BackingOff => false,
            Life::Draining | Life::Withdrawing | Life::Ending | Life::Ended(_) => true,
        }
    }

    /// Tells whether the job serves: its process runs, or it has none and was started.
    pub(crate) fn is_serving(&self) -> bool {
        if self.life != Life::Active {
            return false;
        }
        match self.process {
            Process::Running { .. } => true,
            Process::None => self.spec.command.is_none(),
            Process::Starting { .. } | Process::Leftovers => false,
        }
    }

    pub(crate) fn is_interval(&self) -> bool {
        matches!(self.spec.trigger, Trigger::Interval(_))
    }

    /// Gives the definition that is to be in force: the successor's while the present one ends.
    pub(crate) fn wanted(&self) -> &Arc<Job> {
        match &self.successor {
            Successor::Job { spec, .. } => spec,
            Successor::Nothing | Successor::Removal => &self.spec,
        }
    }

    /// Tells whether the job is part of stopping: it reacts to a `stopping`, `stopped` or
    /// `shutdown`.
    pub(crate) fn is_hook(&self) -> bool {
        is_hook(&self.spec)
    }

    /// Tells whether the trigger may fire more than once.
    pub(crate) fn is_repeating(&self) -> bool {
        match &self.spec.trigger {
            Trigger::Startup => false,
            Trigger::On(clause) => clause.repeat == Repeat::Each,
            Trigger::All(clauses) | Trigger::Any(clauses) => {
                clauses.iter().any(|clause| clause.repeat == Repeat::Each)
            }
            Trigger::Interval(_) | Trigger::Schedule(_) => true,
        }
    }

    /// Gives the stable hash of everything that changes.
    pub(crate) fn fingerprint(&self, job: JobId) -> u64 {
        let life = match self.life {
            Life::Waiting => 1,
            Life::Active => 2,
            Life::BackingOff => 3,
            Life::Draining => 4,
            Life::Ending => 5,
            Life::Ended(Outcome::Completed) => 6,
            Life::Ended(Outcome::Skipped) => 7,
            Life::Withdrawing => 8,
        };
        let (process, since) = match self.process {
            Process::None => (1, 0),
            Process::Starting { since } => (2, since.0),
            Process::Running { pid, since } => (3 | u64::from(pid) << 8, since.0),
            Process::Leftovers => (4, 0),
        };
        let check = match self.check {
            Check::Idle => 1,
            Check::Running { of, decided } => 2 | u64::from(decided) << 2 | u64::from(of) << 8,
            Check::Leftovers => 3,
        };
        let flags = u64::from(self.retrying)
            | u64::from(self.once_used) << 1
            | u64::from(self.gave_up) << 2
            | u64::from(self.in_use) << 3
            | (self.told as u64) << 4
            | (self.health as u64) << 6
            | match &self.successor {
                Successor::Nothing => 0,
                Successor::Job { start, .. } => 1 + u64::from(*start),
                Successor::Removal => 3,
            } << 8
            | match self.last_exit {
                None => 0,
                Some(ExitStatus::Code(code)) => 0x100 | u64::from(code),
                Some(ExitStatus::Signal(signal)) => 0x200 | u64::from(signal),
            } << 16;
        let restarts = match self.restarts_left {
            Restarts::Limited(left) => u64::from(left),
            Restarts::Unlimited => u64::MAX,
        };
        // Pairs are mixed side by side, not one after the other: a processor does several at once.
        let pairs = [
            (u64::from(job.0) | life << 32, process),
            (since, check ^ flags.rotate_left(40)),
            (restarts ^ u64::from(self.backoff_step) << 32, self.stop_by.0),
            (
                u64::from(self.runs) | u64::from(self.checks) << 32,
                u64::from(self.pending) | u64::from(self.failures) << 32,
            ),
            (self.seen ^ u64::from(self.runs_of_definition) << 24, self.epoch.0),
            (self.checks_since.0, self.catalog.fingerprint()),
        ];
        let own = mix(self.last_scheduled_ms.cast_unsigned(), u64::from(job.0));
        mix_side_by_side(&pairs) ^ own
    }
}

/// Tells whether a job is part of stopping.
pub(crate) fn is_hook(spec: &Job) -> bool {
    let is_stop = |code: Code| matches!(code, Code::Stopping | Code::Stopped | Code::Shutdown);
    match &spec.trigger {
        Trigger::On(clause) => is_stop(clause.code),
        Trigger::All(clauses) | Trigger::Any(clauses) => {
            clauses.iter().any(|clause| is_stop(clause.code))
        }
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
    }
}
