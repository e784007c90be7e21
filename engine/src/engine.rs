//! The machine itself.

use alloc::vec::Vec;

use crate::config::{Config, Job};
use crate::effect::Effect;
use crate::id::JobId;
use crate::input::Input;
use crate::status::Status;
use crate::time::{Stamp, Time};

/// One supervisor's decisions.
#[derive(Clone, Debug)]
pub struct Engine {
    config: Config,
}

impl Engine {
    /// Builds a machine that has not begun; [`Input::Begin`] starts it. `seed` decides all jitter.
    pub fn new(config: Config, _seed: u64) -> Engine {
        Engine { config }
    }

    /// Takes in one fact and appends what is to be done about it, in order, to `effects`.
    ///
    /// Total: any input is legal in any state, nothing panics, nothing blocks. Timers that are due at
    /// `now` fire first. A `now` earlier than the one before counts as the one before.
    pub fn handle(&mut self, _now: Stamp, _input: Input, _effects: &mut Vec<Effect>) {}

    /// Tells when the machine next wants [`Input::Tick`], if nothing else happens before.
    pub fn next_wakeup(&self) -> Option<Time> {
        None
    }

    /// Gives a stable hash of the whole state: equal on every machine for equal inputs.
    pub fn digest(&self) -> u64 {
        0
    }

    /// Shows the state.
    pub fn status(&self) -> Status {
        Status { jobs: Vec::new(), maintenance: false, stopping: false }
    }

    /// Gives the definition in a slot, for names in logs and lanes.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.config.jobs.get(id.index()).map(|job| &**job)
    }

    /// Tells whether [`Effect::Exit`] was yielded; every later input is ignored.
    pub fn is_over(&self) -> bool {
        false
    }
}
