//! `steersman lock KEY -- COMMAND`: one command under a lock in Consul, for scripts.
//!
//! It is a supervisor like any other, with one lock and one job that runs exactly while the lock is
//! held, so that the guarantees are those of `locks` in a configuration. What differs: a lost term
//! ends it, there is no control plane, and a wait for the lock may be bounded.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use steersman_engine::consul::{ConsulOp, ConsulRequest};
use steersman_engine::effect::Message;
use steersman_engine::front::{self, Colours, Loaded, Surroundings};
use steersman_engine::{Effect, Engine, Input, Stamp};

use crate::companions::{Companions, Ways};
use crate::consul::{Carrier, Network};
use crate::driver::{self, Setup};
use crate::message;
use crate::telemetry::Telemetry;

/// Where messages place what is wrong with the options.
const ORIGIN: &str = "the options of steersman lock";
/// Exit status: the lock was lost, or never held, or the command failed without a status.
const FAILED: u8 = 1;
/// Exit status: asked to stop before the command ran; that of a program that SIGTERM has ended.
const STOPPED: u8 = 143;
/// Exit status: the command could not be started; a shell's for a program that it cannot find.
const CANNOT_START: u8 = 127;
/// Exit status: wrong usage.
const REFUSED: u8 = 2;

/// What to run under which lock.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LockOptions {
    /// The key in Consul.
    pub key: String,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The lock's name: that of the session, and a part of the names of variables.
    pub name: String,
    /// Where Consul is; the environment's, or localhost:8500, when absent.
    pub consul: Option<String>,
    /// How long to wait for the lock at most.
    pub wait: Option<String>,
    /// What others read in the key.
    pub value: Option<String>,
    /// Where to write the fencing token.
    pub token_file: Option<String>,
    /// Figures of the lock, by the names of the configuration's keys.
    pub figures: Vec<(&'static str, String)>,
    /// Whether the command reads our standard input.
    pub passes_input: bool,
    /// Whether to say what happens.
    pub is_verbose: bool,
}

/// Runs the command under the lock; gives its status, or 1 when the lock was lost or not had.
///
/// To be called on the main thread, with signals held.
pub fn run(options: &LockOptions, around: &Surroundings, seed: u64) -> u8 {
    let loaded = match configuration(options, around) {
        Ok(loaded) => loaded,
        Err(reason) => {
            crate::cli::complain(&reason);
            return REFUSED;
        }
    };
    let again = loaded.clone();
    let setup = Setup { loaded, seed, reader: Arc::new(move || Ok(again.clone())) };
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let seen = outcome.clone();
    if let Err(error) = driver::run(setup, |setup, ways| LockCompanions::new(setup, ways, seen)) {
        crate::cli::complain(&error.to_string());
        return REFUSED;
    }
    let outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
    match (&outcome.failure, outcome.exit) {
        (Some(reason), exit) => {
            crate::cli::complain(&format!("cannot keep or get the lock {}: {reason}", options.key));
            exit.filter(|status| *status != 0).unwrap_or(FAILED)
        }
        (None, Some(status)) => status,
        (None, None) => STOPPED,
    }
}

/// Writes the configuration that does it.
fn configuration(options: &LockOptions, around: &Surroundings) -> Result<Loaded, String> {
    let source = format!("lock.{}", options.name);
    let mut lock = json!({
        "name": options.name,
        "key": options.key,
        "standAgain": false,
        "value": options.value.clone().unwrap_or_else(|| around.hostname.clone()),
    });
    // f·(7 + 1 + 5 + 0.5) = 13.53 s of the defaults is below the lock delay of 15 s, and two
    // renewals may be lost. It stands once; how long it would wait afterwards does not matter.
    lock["holdOff"] = Value::from("60s");
    for (key, value) in &options.figures {
        lock[*key] = Value::from(value.as_str());
    }
    if let Some(file) = &options.token_file {
        lock["tokenFile"] = Value::from(file.as_str());
    }
    if let Some(wait) = &options.wait {
        lock["giveUpAfter"] = Value::from(wait.as_str());
    }
    let level = if options.is_verbose { "INFO" } else { "WARN" };
    let mut top = json!({
        "logging": { "level": level, "format": "text", "output": "stderr" },
        "stopTimeout": lock["stopTimeout"],
        "locks": [lock],
        "jobs": [{
            "name": "command",
            "exec": options.command,
            "while": source,
            "essential": true,
            "stdin": if options.passes_input { "inherit" } else { "null" },
            "logging": { "raw": true },
        }],
    });
    let is_named_outside = around.env.get("CONSUL_HTTP_ADDR").is_some_and(|at| !at.is_empty());
    if options.consul.is_some() || !is_named_outside {
        let consul = options.consul.as_deref().unwrap_or("localhost:8500");
        top["consul"] = Value::from(consul);
    }
    let text = serde_json::to_string_pretty(&top).map_err(|error| error.to_string())?;
    // What was given is meant as it stands: nothing in it is a template.
    let text = text.replace("{{", "\\u007b{");
    front::load(ORIGIN, &text, around).map_err(|errors| {
        let errors = errors.iter().map(|error| error.to_text(Colours::Off));
        errors.collect::<Vec<_>>().join("\n")
    })
}

/// How it went.
#[derive(Debug, Default)]
struct Outcome {
    /// Why the lock was lost or not had, when it was.
    failure: Option<String>,
    /// The status of the command, or why it could not be started.
    exit: Option<u8>,
}

/// Carries requests, and notes how the lock went; there is nobody else.
#[derive(Debug)]
struct LockCompanions {
    consul: Carrier<Network>,
    outcome: Arc<Mutex<Outcome>>,
}

impl LockCompanions {
    fn new(
        setup: &Setup,
        ways: Ways,
        outcome: Arc<Mutex<Outcome>>,
    ) -> Result<LockCompanions, String> {
        let telemetry = Telemetry::new();
        let mut consul = Carrier::new(Network::new(), ways.answers, telemetry.consul());
        consul.apply(setup.loaded.settings.consul.as_ref())?;
        Ok(LockCompanions { consul, outcome })
    }

    fn note(&self, reason: String) {
        self.outcome().failure.get_or_insert(reason);
    }

    fn outcome(&self) -> MutexGuard<'_, Outcome> {
        self.outcome.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Companions for LockCompanions {
    fn begin_step(&mut self, _now: Stamp, input: &Input) {
        match input {
            Input::Exited { status, .. } => self.outcome().exit = Some(status.code()),
            Input::StartFailed { .. } => self.outcome().exit = Some(CANNOT_START),
            _ => {}
        }
    }

    fn end_step(&mut self, _engine: &Engine, effects: &[Effect]) {
        for effect in effects {
            let Effect::Log(record) = effect else { continue };
            match &record.message {
                Message::LockLost { reason, .. } if !reason.is_wanted() => {
                    self.note(message::loss_text(*reason).to_owned());
                }
                Message::LockGivenUp { after, .. } => {
                    self.note(format!("it was not free within {after:?}"));
                }
                _ => {}
            }
        }
    }

    fn consul(&mut self, op: ConsulOp, request: ConsulRequest, timeout: Duration) {
        self.consul.carry(op, request, timeout);
    }

    fn complaint(&mut self) -> Option<String> {
        None
    }
}
