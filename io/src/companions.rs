//! What goes along with the driver: Consul's client, telemetry, the recorder, readers of events.

use std::time::Duration;

use steersman_engine::config::Config;
use steersman_engine::consul::{ConsulFailure, ConsulOp, ConsulReply, ConsulRequest};
use steersman_engine::front::Settings;
use steersman_engine::{Effect, Engine, Event, Input, Stamp};

use tokio::sync::mpsc;

use crate::ask::{Asker, Subscriber};
use crate::record::Memory;

/// The ways to the driver, for those who go along with it.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Takes questions of the control plane.
    pub asker: Asker,
    /// Takes answers of Consul. A task that finds it full waits: the driver empties it.
    pub answers: mpsc::Sender<(ConsulOp, ConsulReply)>,
}

/// Whoever wants to know what the driver does. Nothing in it may wait.
pub trait Companions {
    /// Takes down an input before the engine gets it.
    fn begin_step(&mut self, _now: Stamp, _input: &Input) {}

    /// Takes down what the engine made of it.
    fn end_step(&mut self, _engine: &Engine, _effects: &[Effect]) {}

    /// Sends a request to Consul; the answer goes to [`Ways::answers`], a failure as well.
    fn consul(&mut self, op: ConsulOp, request: ConsulRequest, timeout: Duration);

    /// Hears of an event.
    fn published(&mut self, _now: Stamp, _event: Event, _engine: &Engine) {}

    /// Takes a value for a user's metric.
    fn metric(&mut self, _name: &str, _value: f64) {}

    /// Puts new settings in force; gives what went wrong, for the log.
    fn apply(&mut self, _config: &Config, _settings: &Settings) -> Vec<String> {
        Vec::new()
    }

    /// Adds a reader of events.
    fn subscribe(&mut self, _subscriber: Subscriber) {}

    /// Gives what the recorder holds.
    fn trace(&self) -> Memory {
        Memory::default()
    }

    /// Says something worth the log, if there is something.
    fn complaint(&mut self) -> Option<String> {
        None
    }

    /// Ends; whatever is to be kept is on disk afterwards.
    fn finish(&mut self) {}
}

/// Nobody: nothing is recorded or counted, and Consul is out of reach.
#[derive(Clone, Debug)]
pub struct NoCompanions {
    ways: Ways,
}

impl NoCompanions {
    /// Builds them.
    pub fn new(ways: Ways) -> NoCompanions {
        NoCompanions { ways }
    }
}

impl Companions for NoCompanions {
    fn consul(&mut self, op: ConsulOp, _request: ConsulRequest, _timeout: Duration) {
        let answers = self.ways.answers.clone();
        let reason = Box::from("cannot use Consul: no client in this program");
        let reply = ConsulReply::Failed(ConsulFailure::Unreachable(reason));
        // It ends with the driver.
        tokio::spawn(async move { answers.send((op, reply)).await });
    }
}
