//! Whoever looks on while the engine decides: control plane, telemetry, recorder, stream of events.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use steersman_engine::config::Config;
use steersman_engine::consul::{ConsulOp, ConsulRequest};
use steersman_engine::effect::Message;
use steersman_engine::front::Settings;
use steersman_engine::{Effect, Engine, Event, Input, Stamp};

use crate::ask::Subscriber;
use crate::companions::{Companions, Ways};
use crate::consul::{Carrier, Network};
use crate::control::{self, Feed};
use crate::driver::Setup;
use crate::record::{Memory, Recorder, Recording};
use crate::telemetry::{self, Telemetry};

/// Everybody who looks on.
#[derive(Debug)]
pub struct Observers {
    recorder: Recorder,
    feed: Feed,
    telemetry: Telemetry,
    telemetry_server: telemetry::Server,
    consul: Carrier<Network>,
    /// None once the run has ended.
    control_server: Option<control::Server>,
}

impl Observers {
    /// Listens for the control plane and telemetry, and begins to record. Must be called inside the
    /// runtime, before the engine begins.
    ///
    /// # Errors
    /// Which of them cannot begin, and why.
    pub fn attach(setup: &Setup, ways: Ways, recording: &Recording) -> Result<Observers, String> {
        let (config, settings) = (&setup.loaded.config, &setup.loaded.settings);
        let telemetry = Telemetry::new();
        telemetry.apply(&Arc::new(config.clone()));
        let asker = ways.asker.clone();
        let mut telemetry_server = telemetry::Server::new(asker.clone(), telemetry.clone());
        telemetry_server.apply(settings.telemetry.as_ref()).map_err(|error| error.to_string())?;
        let socket = Path::new(&settings.control_socket);
        let control_server = control::Server::start(socket, asker, telemetry.clone())
            .map_err(|error| error.to_string())?;
        let recorder = Recorder::new(recording, config, setup.seed).map_err(|error| {
            let file = recording.file.as_deref().unwrap_or(Path::new("-")).display();
            format!("cannot record to {file}: {error}")
        })?;
        let control_server = Some(control_server);
        let feed = Feed::default();
        let mut consul = Carrier::new(Network::new(), ways.answers, telemetry.consul());
        consul.apply(settings.consul.as_ref())?;
        Ok(Observers { recorder, feed, telemetry, telemetry_server, consul, control_server })
    }

    /// Gives the registry, for whoever else counts.
    pub fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Gives the address on which telemetry is served.
    pub fn telemetry_address(&self) -> Option<SocketAddr> {
        self.telemetry_server.address()
    }
}

impl Companions for Observers {
    fn begin_step(&mut self, now: Stamp, input: &Input) {
        self.recorder.begin_step(now, input);
    }

    fn end_step(&mut self, engine: &Engine, effects: &[Effect]) {
        self.recorder.end_step(effects, engine);
        for effect in effects {
            let Effect::Log(record) = effect else { continue };
            match &record.message {
                Message::WatchChanged { watch, count } => {
                    self.telemetry.set_watch_instances(watch, *count);
                }
                Message::KeeperKilled { lock, count, .. } => {
                    self.telemetry.count_keeper_kills(lock, *count);
                }
                _ => {}
            }
        }
    }

    fn consul(&mut self, op: ConsulOp, request: ConsulRequest, timeout: Duration) {
        self.consul.carry(op, request, timeout);
    }

    fn published(&mut self, now: Stamp, event: Event, engine: &Engine) {
        self.telemetry.count_event(event, |source| engine.source_name(source));
        if !self.feed.is_idle() {
            self.feed.publish(now.wall_ms, event, &engine.source_name(event.source));
        }
    }

    fn metric(&mut self, name: &str, value: f64) {
        // The engine has checked both; only a reload in between could make a difference.
        let _ = self.telemetry.feed(name, value);
    }

    fn apply(&mut self, config: &Config, settings: &Settings) -> Vec<String> {
        self.telemetry.apply(&Arc::new(config.clone()));
        let mut problems = Vec::new();
        if let Err(error) = self.telemetry_server.apply(settings.telemetry.as_ref()) {
            problems.push(format!("{error}; it stays where it was"));
        }
        if let Some(server) = &mut self.control_server
            && let Err(error) = server.move_to(Path::new(&settings.control_socket))
        {
            problems.push(format!("{error}; it stays where it was"));
        }
        problems.extend(self.consul.apply(settings.consul.as_ref()).err());
        problems
    }

    fn subscribe(&mut self, subscriber: Subscriber) {
        self.feed.subscribe(subscriber);
    }

    fn trace(&self) -> Memory {
        self.recorder.memory()
    }

    fn complaint(&mut self) -> Option<String> {
        self.recorder.take_failure()
    }

    fn finish(&mut self) {
        self.control_server = None;
        self.recorder.finish();
    }
}
