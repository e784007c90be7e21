//! Effects: requests to the world, in the order in which they are to begin. Plain data.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Command, Config, Name, Signal};
use crate::consul::{ConsulFailure, ConsulOp, ConsulRequest, Reading};
use crate::event::Event;
use crate::id::{JobId, LockId, RequestId, RunId};
use crate::input::{ExitStatus, KeeperPowers};
use crate::term::LossReason;
use crate::time::Time;

/// One request to the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Effect {
    /// Starts a process in a group of its own. Answered by `Started`, then `Exited`; or by
    /// `StartFailed`.
    Start {
        /// Names the answers.
        run: RunId,
        /// What to execute.
        command: Arc<Command>,
    },
    /// Sends a signal to everything a run has running. Nothing happens when nothing is.
    Signal {
        /// Which run.
        run: RunId,
        /// Which signal.
        signal: Signal,
    },
    /// Sets or unsets a variable in the environment of processes started later.
    SetVariable {
        /// Its name.
        name: Name,
        /// Its value; `None` unsets.
        value: Option<Box<str>>,
    },
    /// Sends a request to Consul. Answered by `Consul`, with a failure when no answer came in time.
    Consul {
        /// Names the answer.
        op: ConsulOp,
        /// What is asked.
        request: ConsulRequest,
        /// How long an answer may take.
        timeout: Duration,
    },
    /// Puts what a watch has read where its reactions find it. Comes before they start.
    Snapshot {
        /// The watch.
        watch: Name,
        /// What it has read.
        reading: Arc<Reading>,
    },
    /// Replaces a file in one step, or removes it. Comes before the processes that read it start.
    WriteFile {
        /// Its path.
        path: Box<str>,
        /// Its contents; none removes it.
        contents: Option<Box<str>>,
    },
    /// Tells the keeper, a process of its own, when everything of a term must be gone at the
    /// latest, in place of what it was told before; it kills what is not. Starts it when there is
    /// none. Answered by `Keeper`.
    Guard {
        /// The lock.
        lock: LockId,
        /// When; `None` when nothing is left that it could be about.
        until: Option<Time>,
        /// The jobs of which nothing, and no check, may be left.
        jobs: Vec<JobId>,
    },
    /// Says that an event was published (telemetry, `steersman events`).
    Published(Event),
    /// Feeds a user's metric, by full name.
    Metric {
        /// Its full name.
        name: Name,
        /// The value.
        value: f64,
    },
    /// Writes a record to the log.
    Log(Record),
    /// Answers a control request.
    Reply {
        /// Which request.
        request: RequestId,
        /// The answer.
        reply: Reply,
    },
    /// Reads the configuration file again. Answered by `Loaded`.
    LoadConfig,
    /// Puts the settings of a new configuration in force that are not the engine's (logging,
    /// telemetry).
    Applied(Arc<Config>),
    /// Opens log files again.
    ReopenLogs,
    /// Ends the supervisor; the last effect ever.
    Exit {
        /// Exit status.
        status: u8,
    },
}

/// How much a record matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For following the machine.
    Debug,
    /// Ordinary life.
    Info,
    /// Unusual, and handled.
    Warn,
    /// Something failed.
    Error,
}

/// One record of the supervisor's own log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// How much it matters.
    pub level: Level,
    /// The job it is about.
    pub job: Option<JobId>,
    /// What is said.
    pub message: Message,
}

/// What a record says: data first, text only when printed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Message {
    /// A process runs.
    Started {
        /// Its process id.
        pid: u32,
    },
    /// A process could not be started.
    StartFailed {
        /// Why.
        reason: Box<str>,
    },
    /// A process ended.
    Exited {
        /// How.
        status: ExitStatus,
        /// How long it had run.
        after: Duration,
    },
    /// A restart waits.
    BackingOff {
        /// For how long.
        delay: Duration,
    },
    /// A run took too long and was killed.
    TimedOut {
        /// Its limit.
        after: Duration,
    },
    /// A health check took too long and was killed.
    CheckTimedOut {
        /// Its limit.
        after: Duration,
    },
    /// The job became healthy.
    BecameHealthy,
    /// The job became unhealthy.
    BecameUnhealthy {
        /// What its check said.
        output: Box<str>,
    },
    /// The job's stop sequence begins.
    Stopping,
    /// The job has ended for good.
    Stopped,
    /// The job will never start.
    NeverStarts {
        /// The source that ended.
        source: Name,
    },
    /// The trigger has not come in time.
    GaveUpWaiting {
        /// After how long.
        after: Duration,
    },
    /// Jobs that react to a `stopping` took longer than allowed and are cut.
    HooksCut {
        /// The limit.
        after: Duration,
    },
    /// The stop signal did not end the process in time; SIGKILL follows.
    KilledAfter {
        /// The limit.
        after: Duration,
    },
    /// The budget of the shutdown is used up; everything left gets SIGKILL.
    StopBudgetSpent {
        /// The budget.
        after: Duration,
        /// What the job was doing.
        phase: StopPhase,
    },
    /// A process did not go even after SIGKILL; the supervisor ends without it.
    Unkillable,
    /// Processes were left behind by a run and are being ended.
    LeftBehind,
    /// Triggers were dropped.
    TriggersDropped {
        /// How many.
        count: u32,
        /// Why.
        reason: DropReason,
    },
    /// The supervisor stops.
    ShuttingDown {
        /// Why.
        cause: ShutdownCause,
    },
    /// Everything is killed at once, because somebody asked twice.
    Hurrying,
    /// Maintenance changed.
    Maintenance {
        /// On or off.
        on: bool,
    },
    /// Consul can be reached again.
    CatalogBack,
    /// Consul cannot be reached, or refuses; said once until it can.
    CatalogFails {
        /// Why.
        failure: ConsulFailure,
    },
    /// The service is registered.
    Registered {
        /// Its id.
        service: Name,
    },
    /// The agent has forgotten the service; it is registered again.
    RegistrationLost {
        /// Its id.
        service: Name,
    },
    /// The service is no longer registered.
    Deregistered {
        /// Its id.
        service: Name,
    },
    /// The service could not be taken out of the catalog in time.
    DeregistrationAbandoned {
        /// Its id.
        service: Name,
    },
    /// A lock was granted; its jobs start after the quiet time.
    LockGranted {
        /// The lock.
        lock: Name,
        /// The fencing token.
        token: u64,
        /// The quiet time.
        quiet: Duration,
    },
    /// A lock is held and its jobs run.
    LockHeld {
        /// The lock.
        lock: Name,
        /// The fencing token.
        token: u64,
    },
    /// A lock is not stood for any longer; its jobs end for good.
    LockGivenUp {
        /// The lock.
        lock: Name,
        /// How long it was stood for.
        after: Duration,
    },
    /// A lock's term ends; its jobs are being stopped.
    LockLost {
        /// The lock.
        lock: Name,
        /// Why.
        reason: LossReason,
    },
    /// The keeper watches over the processes of a term.
    KeeperReady(KeeperPowers),
    /// There is no keeper; another try follows.
    KeeperLost {
        /// Why.
        reason: Box<str>,
    },
    /// The keeper has killed what was left of a term, because it was late.
    KeeperKilled {
        /// The lock.
        lock: Name,
        /// How many processes.
        count: u32,
        /// How long after the time it was the last of them was gone.
        after: Duration,
    },
    /// A watched set changed.
    WatchChanged {
        /// The watch.
        watch: Name,
        /// How many instances or keys it has now.
        count: u32,
    },
    /// A watch has not been able to read for longer than allowed; its last set is kept.
    WatchStale {
        /// The watch.
        watch: Name,
    },
    /// A new configuration is in force.
    Reloaded(Changes),
    /// A new configuration was refused; the old one stays.
    ReloadRefused {
        /// What is wrong.
        reason: Box<str>,
    },
}

/// What a job was doing when the stop budget was used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopPhase {
    /// Waited for jobs that react to its `stopping`.
    Hooks,
    /// Waited to be out of the catalog.
    Catalog,
    /// Waited for its process to end.
    Process,
}

/// Why triggers were dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum DropReason {
    /// Nothing starts after a stop was asked for.
    Stopping,
    /// More were waiting than are kept.
    TooMany,
}

/// Why the supervisor stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ShutdownCause {
    /// It was asked to, by a signal.
    Asked,
    /// An essential job ended.
    Essential,
}

/// What a reload changed, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// Jobs that are new.
    pub added: Vec<Name>,
    /// Jobs that are gone.
    pub removed: Vec<Name>,
    /// Jobs whose process is replaced.
    pub restarted: Vec<Name>,
    /// Jobs that changed without touching their process.
    pub updated: Vec<Name>,
    /// How many jobs did not change.
    pub unchanged: u32,
}

/// The answer to a control request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reply {
    /// Done; these names changed.
    Changed(Vec<Name>),
    /// Nothing to do: it was so already.
    Unchanged,
    /// The new configuration is in force.
    Reloaded(Changes),
    /// Refused.
    Refused(Refusal),
}

/// Why a control request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// These names are not names of variables.
    BadVariables(Vec<Box<str>>),
    /// These metrics are not in the configuration.
    UnknownMetrics(Vec<Box<str>>),
    /// These metrics are counters, and never go down.
    NegativeCounters(Vec<Box<str>>),
    /// There is no such job.
    UnknownJob(Box<str>),
    /// The job has no process now.
    NotRunning(Box<str>),
    /// The new configuration is wrong; the old one stays in force.
    BadConfig(Box<str>),
    /// The supervisor is stopping.
    Stopping,
    /// Too many requests of this kind wait already.
    Busy,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::BadVariables(names) => {
                write!(f, "cannot set variables with these names: {}", names.join(", "))
            }
            Refusal::UnknownMetrics(names) => {
                write!(f, "cannot find these metrics in the configuration: {}", names.join(", "))
            }
            Refusal::NegativeCounters(names) => {
                write!(f, "cannot add negative values to these counters: {}", names.join(", "))
            }
            Refusal::UnknownJob(name) => write!(f, "cannot find a job named \"{name}\""),
            Refusal::NotRunning(name) => write!(f, "cannot signal \"{name}\": it has no process"),
            Refusal::BadConfig(reason) => {
                write!(f, "cannot use the new configuration, the old one stays in force: {reason}")
            }
            Refusal::Stopping => f.write_str("cannot do that while stopping"),
            Refusal::Busy => f.write_str("cannot take more requests of this kind now"),
        }
    }
}
