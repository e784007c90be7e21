//! Telemetry: metrics for Prometheus and the state of jobs, over HTTP when the configuration says
//! so.
//!
//! Counting goes on whether or not anybody may ask, so that switching telemetry on by a reload
//! shows the whole run.

mod family;
mod own;
mod registry;
mod server;
#[cfg(test)]
mod tests;
mod text;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};
use steersman_engine::config::Config;
use steersman_engine::status::Status;
use steersman_engine::{Event, Source};

pub use registry::MetricError;
pub use server::{Server, TelemetryError};

use crate::consul::Counters;
use registry::Registry;

/// The one registry, shared by the driver and the servers.
#[derive(Clone, Debug, Default)]
pub struct Telemetry {
    registry: Arc<Mutex<Registry>>,
}

impl Telemetry {
    /// Builds an empty registry.
    pub fn new() -> Telemetry {
        Telemetry::default()
    }

    /// Puts the metrics of a configuration in force. A metric that stays keeps its value.
    pub fn apply(&self, config: &Arc<Config>) {
        self.registry().apply(config);
    }

    /// Feeds a user's metric.
    ///
    /// # Errors
    /// The value does not fit the metric.
    pub fn feed(&self, name: &str, value: f64) -> Result<(), MetricError> {
        self.registry().feed(name, value, Instant::now())
    }

    /// Counts an event; `name` is asked for only when the event is new.
    pub fn count_event(&self, event: Event, name: impl FnOnce(Source) -> Box<str>) {
        self.registry().count_event(event, name);
    }

    /// Counts an answered control request.
    pub fn count_control_request(&self, code: u16, path: &'static str) {
        self.registry().count_control_request(code, path);
    }

    /// Says how many instances a watch sees.
    pub fn set_watch_instances(&self, service: &str, instances: u32) {
        self.registry().set_watch_instances(service, instances);
    }

    /// Counts processes that the keeper has killed in a lock's name.
    pub fn count_keeper_kills(&self, lock: &str, processes: u32) {
        self.registry().count_keeper_kills(lock, processes);
    }

    /// Gives the counters of requests to Consul.
    pub fn consul(&self) -> Counters {
        self.registry().consul.clone()
    }

    /// Gives every metric in Prometheus' text format 0.0.4.
    pub fn text(&self) -> String {
        self.registry().text(Instant::now())
    }

    /// Gives the state of jobs in the shape of v3.
    pub fn status(&self, status: &Status) -> Value {
        let registry = self.registry();
        let config = registry.config();
        let mut jobs = Vec::new();
        let mut services = Vec::new();
        for job in &status.jobs {
            let defined = config.jobs.iter().find(|defined| defined.name == job.name);
            match defined.and_then(|defined| defined.service.as_ref()) {
                Some(service) => {
                    let address = service.address.map(|address| address.to_string());
                    services.push(json!({
                        "Name": job.name,
                        "Address": address.unwrap_or_default(),
                        "Port": service.port,
                        "Status": job.health,
                    }));
                }
                None => jobs.push(json!({ "Name": job.name, "Status": job.health })),
            }
        }
        let watches: Vec<_> = config.watches.iter().map(|watch| &watch.name).collect();
        json!({
            "Version": crate::VERSION,
            "Jobs": jobs,
            "Services": services,
            "Watches": watches,
        })
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        // Counters are whole after every statement: a panic elsewhere cannot have torn them.
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
