//! What the engine shows of itself. Reading it changes nothing.

use alloc::boxed::Box;
use alloc::format;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::config::Name;
use crate::engine::Stage;
use crate::id::JobId;
use crate::input::{ExitStatus, KeeperPowers};
use crate::lock_state::{LockState, Standing};
use crate::slot::{Health, Life, Outcome, Process, Slot};
use crate::timers::Timer;
use crate::wiring::clauses_of;

/// Everything at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The jobs, in the order of the configuration.
    pub jobs: Vec<JobStatus>,
    /// Whether maintenance is on.
    pub maintenance: bool,
    /// Whether a shutdown is under way.
    pub stopping: bool,
    /// Whether Consul is needed, and cannot be reached or refuses.
    #[serde(default)]
    pub catalog_failing: bool,
    /// The locks of the configuration.
    #[serde(default)]
    pub locks: Vec<LockStatus>,
    /// What the keeper has, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeper: Option<KeeperPowers>,
    /// The watches of the configuration.
    #[serde(default)]
    pub watches: Vec<WatchStatus>,
}

/// One lock at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockStatus {
    /// Its name.
    pub name: Name,
    /// Where it is between standing for it and giving it back.
    pub standing: StandingWord,
    /// The fencing token, while it is held.
    pub token: Option<u64>,
    /// Whether a renewal failed and it may be lost.
    pub jeopardy: bool,
    /// Whether a keeper would kill the processes of its term in time if the supervisor did not;
    /// none when there is no term, or no keeper is wanted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guarded: Option<bool>,
}

/// Where one is with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StandingWord {
    /// Does not stand for it.
    Idle,
    /// Waits for it.
    Candidate,
    /// Holds it, and waits until an old holder has certainly stopped.
    Quiet,
    /// Holds it; its jobs run.
    Leading,
    /// Stops its jobs before anybody else can get it.
    Demoting,
    /// Gives it back.
    Vacating,
}

/// One watch at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// Its name.
    pub name: Name,
    /// How many instances or keys it has seen last; none before the first reading.
    pub count: Option<u32>,
    /// Whether it has been out of reach for longer than allowed.
    pub stale: bool,
}

/// One job at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Its name.
    pub name: Name,
    /// The word of v3 for its health.
    pub health: HealthWord,
    /// What it is doing.
    pub phase: PhaseWord,
    /// Its process, if one runs.
    pub pid: Option<u32>,
    /// How many runs were started.
    pub runs: u32,
    /// How the last finished run ended.
    pub last_exit: Option<ExitStatus>,
    /// Starts that wait for the present run to end.
    pub pending: u32,
    /// Why it is as it is, when that is not obvious.
    pub why: Option<Box<str>>,
}

/// The status words of v3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthWord {
    /// No check has finished.
    Unknown,
    /// The last checks passed.
    Healthy,
    /// The last checks failed.
    Unhealthy,
    /// Maintenance is on.
    Maintenance,
    /// It has ended for good.
    Completed,
}

/// What a job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum PhaseWord {
    /// Waits for its trigger.
    Waiting,
    /// Its process was asked for.
    Starting,
    /// Its process runs (or it only advertises, and does).
    Running,
    /// Waits between restarts.
    BackingOff,
    /// Its process ended; what it left behind is being ended.
    CleaningUp,
    /// Its stop sequence is under way.
    Stopping,
    /// It has ended for good.
    Completed,
    /// It will never run.
    Skipped,
}

impl crate::Engine {
    /// Shows the state.
    pub fn status(&self) -> Status {
        let jobs = self.order.iter().filter_map(|job| Some((*job, self.slot(*job)?)));
        Status {
            jobs: jobs.map(|(job, slot)| self.job_status(job, slot)).collect(),
            maintenance: self.maintenance,
            stopping: matches!(self.stage, Stage::Stopping { .. } | Stage::Over),
            catalog_failing: self.is_catalog_failing,
            locks: self.lock_statuses(),
            keeper: self.keeper.powers(),
            watches: self.watch_statuses(),
        }
    }

    fn lock_statuses(&self) -> Vec<LockStatus> {
        let in_use = self.locks.iter().filter(|lock| !lock.is_removed);
        let status = |lock: &LockState| LockStatus {
            name: lock.spec.name.clone(),
            standing: match lock.standing {
                Standing::Idle => StandingWord::Idle,
                Standing::Candidate => StandingWord::Candidate,
                Standing::Quiet => StandingWord::Quiet,
                Standing::Leading => StandingWord::Leading,
                Standing::Demoting => StandingWord::Demoting,
                Standing::Vacating => StandingWord::Vacating,
            },
            token: lock.is_holding().then_some(lock.token),
            jeopardy: lock.is_jeopardy,
            guarded: lock.guard.map(|_| self.keeper.is_ready()),
        };
        in_use.map(status).collect()
    }

    fn watch_statuses(&self) -> Vec<WatchStatus> {
        let of = |name: &Name| self.watches.iter().find(|watch| watch.spec.name == *name);
        let watches = self.config.watches.iter();
        let status = |name: &Name| WatchStatus {
            name: name.clone(),
            count: of(name).and_then(|watch| watch.count()),
            stale: of(name).is_some_and(|watch| watch.is_stale()),
        };
        watches.map(|watch| status(&watch.name)).collect()
    }

    fn job_status(&self, job: JobId, slot: &Slot) -> JobStatus {
        let pid = match slot.process {
            Process::Running { pid, .. } => Some(pid),
            Process::None | Process::Starting { .. } | Process::Leftovers => None,
        };
        JobStatus {
            name: slot.spec.name.clone(),
            health: self.health_word(slot),
            phase: phase_word(slot),
            pid,
            runs: slot.runs,
            last_exit: slot.last_exit,
            pending: slot.pending,
            why: self.why(job, slot),
        }
    }

    fn health_word(&self, slot: &Slot) -> HealthWord {
        if slot.is_ended() {
            return HealthWord::Completed;
        }
        if self.maintenance && slot.spec.health.is_some() {
            return HealthWord::Maintenance;
        }
        match slot.health {
            Health::Unknown => HealthWord::Unknown,
            Health::Healthy => HealthWord::Healthy,
            Health::Unhealthy => HealthWord::Unhealthy,
        }
    }

    fn why(&self, job: JobId, slot: &Slot) -> Option<Box<str>> {
        let sources = self.wiring.sources(job);
        let clauses = clauses_of(&slot.spec.trigger).iter().zip(sources);
        let waits = clauses.filter_map(|(clause, source)| {
            Some(format!("{} {}", self.source_name((*source)?), clause.code))
        });
        match slot.life {
            Life::Waiting => match waits.reduce(|all, one| format!("{all}, {one}")) {
                Some(waits) => Some(format!("waits for {waits}").into()),
                None => Some("waits for its time".into()),
            },
            Life::BackingOff => {
                let at = self.timers.deadline(job, Timer::Restart)?;
                Some(format!("starts again in {:?}", at.since(self.now.mono)).into())
            }
            Life::Draining => {
                let busy = self.wiring.hooks(job).iter().filter_map(|hook| self.slot(*hook));
                let names: Vec<_> =
                    busy.filter(|hook| hook.is_busy()).map(|hook| &*hook.spec.name).collect();
                Some(format!("waits for {}", names.join(", ")).into())
            }
            Life::Withdrawing => Some("waits to be out of the catalog".into()),
            Life::Ending => Some("waits for its process to end".into()),
            Life::Ended(_) if slot.gave_up => Some("its trigger did not come in time".into()),
            Life::Ended(Outcome::Skipped) => Some("its trigger cannot come any more".into()),
            Life::Active | Life::Ended(Outcome::Completed) => None,
        }
    }
}

fn phase_word(slot: &Slot) -> PhaseWord {
    match (slot.life, slot.process) {
        (Life::Waiting, _) => PhaseWord::Waiting,
        (Life::BackingOff, _) => PhaseWord::BackingOff,
        (Life::Draining | Life::Withdrawing | Life::Ending, _) => PhaseWord::Stopping,
        (Life::Ended(Outcome::Completed), _) => PhaseWord::Completed,
        (Life::Ended(Outcome::Skipped), _) => PhaseWord::Skipped,
        (Life::Active, Process::Starting { .. }) => PhaseWord::Starting,
        (Life::Active, Process::Leftovers) => PhaseWord::CleaningUp,
        (Life::Active, Process::None | Process::Running { .. }) => PhaseWord::Running,
    }
}
