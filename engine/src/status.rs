//! What the engine shows of itself. Reading it changes nothing.

use alloc::boxed::Box;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::config::Name;
use crate::input::ExitStatus;

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// The jobs, in the order of the configuration.
    pub jobs: Vec<JobStatus>,
    /// Whether maintenance is on.
    pub maintenance: bool,
    /// Whether a shutdown is under way.
    pub stopping: bool,
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
