//! Events: what jobs react to. An event is a code and a source.

use core::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, LockId, WatchId};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// What happened.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "camelCase")]
        #[repr(u8)]
        pub enum Code { $($(#[$doc])* $variant),+ }

        impl Code {
            /// Every code, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$variant),+];

            /// Gives the code as it is written in a configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Code::$variant => $text),+ }
            }
        }
    };
}

codes! {
    /// The supervisor has started.
    Startup = "startup",
    /// The supervisor is to stop.
    Shutdown = "shutdown",
    /// A process ended with status 0.
    ExitSuccess = "exitSuccess",
    /// A process ended with another status, by a signal, or could not be started.
    ExitFailed = "exitFailed",
    /// A job or watched service became healthy.
    Healthy = "healthy",
    /// A job or watched service became unhealthy.
    Unhealthy = "unhealthy",
    /// A watched set changed.
    Changed = "changed",
    /// A job begins its stop sequence.
    Stopping = "stopping",
    /// A job's process and everything it left behind have gone.
    Stopped = "stopped",
    /// A job that will never run said so.
    Skipped = "skipped",
    /// Maintenance was switched on.
    EnterMaintenance = "enterMaintenance",
    /// Maintenance was switched off.
    ExitMaintenance = "exitMaintenance",
    /// A job gave up waiting for its trigger.
    TimerExpired = "timerExpired",
    /// The supervisor got a signal that jobs may react to.
    Signal = "signal",
    /// A watched source has been out of reach for longer than allowed.
    Stale = "stale",
    /// A lock was acquired and its quiet time is over.
    Acquired = "acquired",
    /// A lock's renewal failed.
    Jeopardy = "jeopardy",
    /// A lock is being lost; its jobs are being stopped.
    Lost = "lost",
    /// A lock was given back.
    Released = "released",
    /// Another holder of a lock was seen.
    Observed = "observed",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The signals that a supervisor takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SignalName {
    /// Stop in good order; a second one hurries.
    #[serde(rename = "SIGTERM")]
    Term,
    /// As [`SignalName::Term`].
    #[serde(rename = "SIGINT")]
    Int,
    /// An event for jobs.
    #[serde(rename = "SIGHUP")]
    Hup,
    /// Log files are to be reopened.
    #[serde(rename = "SIGUSR1")]
    Usr1,
    /// An event for jobs.
    #[serde(rename = "SIGUSR2")]
    Usr2,
}

impl SignalName {
    /// Gives the name with its `SIG`.
    pub const fn as_str(self) -> &'static str {
        match self {
            SignalName::Term => "SIGTERM",
            SignalName::Int => "SIGINT",
            SignalName::Hup => "SIGHUP",
            SignalName::Usr1 => "SIGUSR1",
            SignalName::Usr2 => "SIGUSR2",
        }
    }
}

/// Where an event comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Source {
    /// The supervisor itself.
    Global,
    /// A job.
    Job(JobId),
    /// A job's health check process (`check.JOB`).
    Check(JobId),
    /// A watch (`watch.NAME`).
    Watch(WatchId),
    /// A lock (`lock.NAME`).
    Lock(LockId),
    /// A signal to the supervisor.
    Signal(SignalName),
}

/// One event, as every job sees it, in one global order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Event {
    /// What happened.
    pub code: Code,
    /// Where.
    pub source: Source,
}
