//! The Consul of a scenario: how many servers, who has an agent, how slow, and what is in it.

use core::time::Duration;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use steersman_engine::config::{Config, WatchTarget};

use crate::consul::{NodeOptions, Options, Request, Timing};
use crate::explore::manner::Span;
use crate::explore::plan::NodeSpec;
use crate::random::Random;
use crate::world::World;

/// Consul as a scenario gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConsulSpec {
    /// How many servers.
    pub servers: u16,
    /// Whom the supervisors ask.
    pub agents: Agents,
    /// From a write until a follower knows it.
    pub lag: Span,
    /// From the loss of a leader to the next one.
    pub election: Span,
    /// Between two full comparisons of an agent with the catalog.
    pub anti_entropy: Span,
    /// Whether every moment is possible that the documentation allows, or only what 1.8.7 does.
    pub contract: bool,
    /// Services of others: how many instances of each are there from the beginning.
    pub services: BTreeMap<Box<str>, u16>,
    /// What is in the key-value store from the beginning.
    pub keys: BTreeMap<Box<str>, Box<str>>,
}

/// Whom the supervisors ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Agents {
    /// Each node has an agent of its own.
    #[default]
    Each,
    /// One agent for all.
    Shared,
    /// The first server.
    Servers,
}

impl Agents {
    /// Every way.
    pub const ALL: &'static [Agents] = &[Agents::Each, Agents::Shared, Agents::Servers];

    /// Gives its word in scenarios.
    pub const fn as_str(self) -> &'static str {
        match self {
            Agents::Each => "each",
            Agents::Shared => "shared",
            Agents::Servers => "servers",
        }
    }
}

impl Default for ConsulSpec {
    /// Three servers as measured on 1.8.7, and an agent on each node.
    fn default() -> ConsulSpec {
        let timing = Timing::default();
        ConsulSpec {
            servers: 3,
            agents: Agents::Each,
            lag: span_of(timing.follower_lag),
            election: span_of(timing.election),
            anti_entropy: span_of(timing.anti_entropy),
            contract: false,
            services: BTreeMap::new(),
            keys: BTreeMap::new(),
        }
    }
}

impl ConsulSpec {
    /// Gives the ordinary Consul when a configuration needs one: with one instance of each service
    /// that is watched and that none of the nodes offers.
    pub fn needed_by(nodes: &[NodeSpec]) -> Option<ConsulSpec> {
        if !nodes.iter().any(|node| needs_consul(&node.config)) {
            return None;
        }
        let mut spec = ConsulSpec::default();
        let is_offered = |name: &str| {
            let mut jobs = nodes.iter().flat_map(|node| &node.config.jobs);
            jobs.any(|job| job.service.is_some() && &*job.name == name)
        };
        for watch in nodes.iter().flat_map(|node| &node.config.watches) {
            if let WatchTarget::Service { name, .. } = &watch.target
                && !is_offered(name)
            {
                spec.services.insert(name.clone(), 1);
            }
        }
        Some(spec)
    }

    /// Puts it into a world that has no nodes yet.
    pub(crate) fn build(&self, world: &mut World, nodes: &[NodeSpec], seed: u64) {
        let seed = Random::new(seed).stream("consul").draw();
        world.add_catalog_with(self.options(nodes, seed), self.requests());
    }

    /// Gives the agent of a node, counted with the servers first.
    pub(crate) fn agent_of(&self, index: usize) -> usize {
        match self.agents {
            Agents::Each => usize::from(self.servers) + index,
            Agents::Shared => usize::from(self.servers),
            Agents::Servers => 0,
        }
    }

    fn options(&self, nodes: &[NodeSpec], seed: u64) -> Options {
        let server = |nth: u16| NodeOptions::new(&format!("s{nth}"), &format!("10.0.0.{nth}"));
        let client = |name: &str, nth: usize| {
            let address = format!("10.1.{}.{}", nth / 250, nth % 250 + 1);
            NodeOptions::new(name, &address)
        };
        let clients = match self.agents {
            // Names of nodes and servers may be equal; those of agents may not.
            Agents::Each => {
                let names = nodes.iter().map(|node| format!("on-{}", node.name));
                names.enumerate().map(|(nth, name)| client(&name, nth)).collect()
            }
            Agents::Shared => vec![client("shared", 0)],
            Agents::Servers => Vec::new(),
        };
        let election = nanos(self.election);
        let missed = Timing::default().leader_missed;
        let timing = Timing {
            follower_lag: nanos(self.lag),
            election,
            leader_missed: (missed.0.min(election.0 / 2), missed.1.min(election.0)),
            anti_entropy: nanos(self.anti_entropy),
            ..Timing::default()
        };
        let servers = (1..=self.servers).map(server).collect();
        Options { servers, clients, timing, contract: self.contract, ..Options::cluster(seed, 0) }
    }

    /// Lists what others have written before the nodes begin.
    fn requests(&self) -> Vec<Request> {
        let mut requests = Vec::new();
        for (name, count) in &self.services {
            requests.extend((1..=*count).map(|nth| foreign_instance(name, nth)));
        }
        for (key, value) in &self.keys {
            requests
                .push(Request::new("PUT", &format!("/v1/kv/{key}")).with_body(value.as_bytes()));
        }
        requests
    }
}

/// Asks the first server to offer an instance of somebody else's service, always passing.
pub(crate) fn foreign_instance(service: &str, nth: u16) -> Request {
    let body = serde_json::json!({
        "ID": foreign_id(service, nth),
        "Name": service,
        "Address": format!("10.2.{}.{}", nth / 250, nth % 250 + 1),
        "Port": 4000,
    });
    Request::new("PUT", "/v1/agent/service/register").with_body(body.to_string().into_bytes())
}

/// Names an instance of somebody else's service.
pub(crate) fn foreign_id(service: &str, nth: u16) -> String {
    format!("{service}-other{nth}")
}

/// Tells whether a configuration has something to say to Consul, or to hear from it.
pub fn needs_consul(config: &Config) -> bool {
    let asks = |target: &WatchTarget| !matches!(target, WatchTarget::File(_));
    !config.locks.is_empty()
        || config.watches.iter().any(|watch| asks(&watch.target))
        || config.jobs.iter().any(|job| job.service.is_some())
}

const fn span_of((from, to): (u64, u64)) -> Span {
    Span { from: Duration::from_nanos(from), to: Duration::from_nanos(to) }
}

fn nanos(span: Span) -> (u64, u64) {
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    (nanos(span.from), nanos(span.to))
}
