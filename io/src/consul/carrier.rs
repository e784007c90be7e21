//! Carries requests for the driver, each in a task of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use steersman_engine::consul::{ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, Owner};
use steersman_engine::front::{Agent, Consul};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::client::Client;
use super::counters::Counters;
use super::dial::{Dial, Network};

/// Where answers go.
pub type Answers = mpsc::Sender<(ConsulOp, ConsulReply)>;

/// Carries requests to whatever Consul the settings name. When it is dropped, so is everything that
/// is under way.
#[derive(Debug)]
pub struct Carrier<D: Dial + Clone = Network> {
    dial: D,
    answers: Answers,
    counters: Counters,
    settings: Option<Consul>,
    client: Result<Arc<Client<D>>, String>,
    flights: HashMap<Owner, Flight>,
    /// How many flights there may be before those that have ended are taken out.
    flights_max: usize,
}

#[derive(Debug)]
struct Flight {
    op: ConsulOp,
    task: JoinHandle<()>,
}

impl<D: Dial + Clone> Carrier<D> {
    /// Builds a carrier that knows no Consul yet.
    pub fn new(dial: D, answers: Answers, counters: Counters) -> Carrier<D> {
        Carrier {
            dial,
            answers,
            counters,
            settings: None,
            client: Err(String::from("cannot use Consul: none is configured")),
            flights: HashMap::new(),
            flights_max: 64,
        }
    }

    /// Puts settings in force. Requests that are under way to another Consul end as failed: the
    /// engine asks the new one.
    ///
    /// # Errors
    /// The address is none; every request fails with the same words until there are other settings.
    pub fn apply(&mut self, settings: Option<&Consul>) -> Result<(), String> {
        if self.settings.as_ref() == settings && self.client.is_ok() {
            return Ok(());
        }
        self.settings = settings.cloned();
        self.client = match settings {
            None => Err(String::from("cannot use Consul: none is configured")),
            Some(Consul::Embedded) => embedded().and_then(|agent| {
                let client = Client::new(&agent, self.dial.clone(), self.counters.clone());
                client.map(Arc::new).map_err(|error| error.to_string())
            }),
            Some(Consul::Agent(agent)) => {
                let client = Client::new(agent, self.dial.clone(), self.counters.clone());
                client.map(Arc::new).map_err(|error| error.to_string())
            }
        };
        self.recall();
        match (&self.client, settings) {
            (Err(reason), Some(_)) => Err(reason.clone()),
            (Ok(_), _) | (Err(_), None) => Ok(()),
        }
    }

    /// Carries a request; its reply goes to the answers, a failure as well. Must be called inside
    /// the runtime.
    ///
    /// One owner has one request under way: an earlier one, which the engine has given up, is
    /// ended.
    pub fn carry(&mut self, op: ConsulOp, request: ConsulRequest, patience: Duration) {
        let answers = self.answers.clone();
        let task = match &self.client {
            Ok(client) => {
                let client = Arc::clone(client);
                tokio::spawn(async move {
                    let reply = client.ask(&request, patience).await;
                    // It is closed when the driver has ended.
                    let _ = answers.send((op, reply)).await;
                })
            }
            Err(reason) => answer_later(answers, op, reason.clone()),
        };
        if let Some(earlier) = self.flights.insert(op.owner, Flight { op, task }) {
            earlier.task.abort();
        }
        if self.flights.len() > self.flights_max {
            self.flights.retain(|_, flight| !flight.task.is_finished());
            self.flights_max = 64.max(2 * self.flights.len());
        }
    }

    /// Gives the counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    /// Ends what is under way to a Consul that is no longer ours.
    fn recall(&mut self) {
        for (_, flight) in self.flights.drain() {
            if flight.task.is_finished() {
                continue;
            }
            flight.task.abort();
            let reason = String::from("cannot wait for the answer: Consul's settings have changed");
            answer_later(self.answers.clone(), flight.op, reason);
        }
    }
}

impl<D: Dial + Clone> Drop for Carrier<D> {
    fn drop(&mut self) {
        for flight in self.flights.values() {
            flight.task.abort();
        }
    }
}

#[cfg(feature = "sim")]
fn embedded() -> Result<Agent, String> {
    let address = crate::embedded::start()?;
    Ok(Agent::new(address.to_string(), steersman_engine::front::Scheme::Http))
}

#[cfg(not(feature = "sim"))]
fn embedded() -> Result<Agent, String> {
    Err(String::from("cannot use the embedded Consul: this program was built without it"))
}

fn answer_later(answers: Answers, op: ConsulOp, reason: String) -> JoinHandle<()> {
    let reply = ConsulReply::Failed(ConsulFailure::Unreachable(reason.into()));
    // It is closed when the driver has ended.
    tokio::spawn(async move { drop(answers.send((op, reply)).await) })
}
