//! Inputs: facts from the world. Plain data: a run is its list of inputs.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Signal};
use crate::consul::{ConsulOp, ConsulReply};
use crate::event::SignalName;
use crate::id::{LockId, RequestId, RunId};

/// One fact from the world.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Input {
    /// The adapter is ready; the first input.
    Begin,
    /// Time passed; nothing else happened.
    Tick,
    /// A process that was to start is running.
    Started {
        /// Which run.
        run: RunId,
        /// Its process id, only ever shown, never used to signal.
        pid: u32,
    },
    /// A process that was to start could not be started.
    StartFailed {
        /// Which run.
        run: RunId,
        /// Why, for people.
        reason: Box<str>,
    },
    /// The first process of a run ended and was reaped.
    Exited {
        /// Which run.
        run: RunId,
        /// How it ended.
        status: ExitStatus,
        /// Whether it left anything behind.
        tree: Tree,
        /// The end of its output (checks only; at most [`crate::limits::CHECK_OUTPUT_BYTES`]).
        output: Box<str>,
    },
    /// Everything that a run had left behind has gone as well.
    TreeGone {
        /// Which run.
        run: RunId,
    },
    /// The supervisor got a signal.
    Signal(SignalName),
    /// Somebody asked for something over the control plane.
    Control {
        /// Names the answer.
        request: RequestId,
        /// What is asked for.
        command: Control,
    },
    /// Consul answered, or did not.
    Consul {
        /// Which request.
        op: ConsulOp,
        /// The answer.
        reply: ConsulReply,
    },
    /// The keeper says something, or has gone.
    Keeper(KeeperNews),
    /// The answer to [`crate::Effect::LoadConfig`].
    Loaded {
        /// The configuration, or what is wrong with it.
        config: Result<Box<Config>, Box<str>>,
    },
}

/// What there is to know of the keeper that [`crate::Effect::Guard`] talks to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KeeperNews {
    /// It runs and knows what it was told.
    Ready(KeeperPowers),
    /// It could not be started, or has ended, or does not listen.
    Lost(Box<str>),
    /// It has killed what was left of a term.
    Killed {
        /// The lock.
        lock: LockId,
        /// How many processes.
        count: u32,
        /// How long after the time it was told the last of them was gone.
        after: Duration,
    },
}

/// What the system has let the keeper have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct KeeperPowers {
    /// It runs before every ordinary process.
    pub is_realtime: bool,
    /// Its memory stays in memory.
    pub is_locked: bool,
    /// It is not ended when memory runs out.
    pub is_spared: bool,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitStatus {
    /// By itself, with a status.
    Code(u8),
    /// By a signal.
    Signal(u8),
}

impl ExitStatus {
    /// Tells whether the process ended well.
    pub const fn is_success(self) -> bool {
        matches!(self, ExitStatus::Code(0))
    }

    /// Gives the status as a shell shows it: 128 + n for a signal (POSIX sh, 2.8.2).
    pub const fn code(self) -> u8 {
        match self {
            ExitStatus::Code(code) => code,
            ExitStatus::Signal(signal) => signal.saturating_add(128),
        }
    }
}

/// Whether a run left processes behind when its first process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Tree {
    /// Nothing is left.
    Gone,
    /// Something is left; [`Input::TreeGone`] will follow.
    Left,
}

/// What can be asked for over the control plane.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Control {
    /// Sets variables for processes started later; `None` unsets.
    PutEnv(Vec<(Box<str>, Option<Box<str>>)>),
    /// Feeds metrics, by full name.
    PutMetric(Vec<(Box<str>, f64)>),
    /// Reads the configuration again and applies the difference; or restarts everything.
    Reload {
        /// Whether unchanged jobs restart as well.
        all: bool,
    },
    /// Switches maintenance on or off.
    Maintenance(bool),
    /// Sends a signal to the process of a job.
    SignalJob {
        /// The job's name.
        job: Box<str>,
        /// Which signal.
        signal: Signal,
    },
    /// Stops the process of a job and starts it again.
    RestartJob {
        /// The job's name.
        job: Box<str>,
    },
}
