//! Consul as a participant of the world: requests travel over a node's link to its agent and back.

mod fault;

use core::time::Duration;
use std::collections::BTreeMap;

use steersman_engine::consul::{
    ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, FileState, Owner,
};
use steersman_engine::wire::{self, HttpAnswer};
use steersman_engine::{Input, Time};

pub use fault::{AgentFault, CatalogFault};

use crate::agenda::{Happening, NodeId};
use crate::consul::{
    self, AgentId, Consul, Fault, Memory, Options, Output, Request, RequestId, Response, ServerId,
};
use crate::explore::consul_spec::{foreign_id, foreign_instance};
use crate::link::LinkState;
use crate::node::Node;
use crate::world::World;

/// The pseudo-node that Consul's own agenda belongs to.
pub const CATALOG: NodeId = NodeId(u16::MAX);

/// How long Consul has been up at the birth of a world, when something is in it by then.
const BEFORE_BIRTH: u64 = 10_000_000_000;

/// From a refused connection to the error.
const REFUSED_AFTER: Duration = Duration::from_micros(300);

/// Consul in the world.
#[derive(Clone, Debug)]
pub(crate) struct Catalog {
    pub(crate) model: Consul,
    servers: usize,
    /// By how much its time is ahead of the world's: it was up before.
    ahead: u64,
    /// What people asked for whose answer still leads to something.
    destroying: Vec<RequestId>,
    asked: u64,
}

/// A request of a supervisor that has not been answered.
#[derive(Clone, Debug)]
pub(crate) struct Pending {
    pub(crate) request: ConsulRequest,
    timeout: Duration,
    reply: Option<ConsulReply>,
}

impl World {
    /// Puts a Consul into the world; before the first node.
    pub fn add_catalog(&mut self, options: Options) {
        self.add_catalog_with(options, Vec::new());
    }

    /// Puts a Consul into the world in which something was done at its first server before the
    /// world was born; before the first node.
    pub(crate) fn add_catalog_with(&mut self, options: Options, requests: Vec<Request>) {
        let servers = options.servers.len();
        let ahead = if requests.is_empty() { 0 } else { BEFORE_BIRTH };
        let mut model = Consul::new(self.now().0, options);
        for (nth, request) in (0..).zip(requests) {
            let id = RequestId(u64::MAX ^ 1 << 62 ^ nth);
            let input = consul::Input::Request { id, agent: AgentId(0), request };
            model.handle(self.now().0, input);
        }
        model.handle(self.now().0 + ahead, consul::Input::Tick);
        let destroying = Vec::new();
        let catalog = Catalog { model, servers, ahead, destroying, asked: 0 };
        self.catalog = Some(Box::new(catalog));
        self.update_catalog();
    }

    /// Gives the model of Consul, to be read.
    pub fn catalog(&self) -> Option<&Consul> {
        self.catalog.as_ref().map(|catalog| &catalog.model)
    }

    /// Asks Consul itself, without any link; none when the answer does not come at once.
    pub fn ask_catalog(&mut self, agent: usize, request: Request) -> Option<Response> {
        let now = self.now().0;
        let catalog = self.catalog.as_mut()?;
        let now = now + catalog.ahead;
        catalog.asked += 1;
        let id = RequestId(u64::MAX - catalog.asked);
        let agent = AgentId(agent);
        let input = consul::Input::Request { id, agent, request };
        let mut outputs = catalog.model.handle(now, input);
        let mine = outputs.iter().position(|output| output.id == id);
        let answer = mine.and_then(|place| outputs.remove(place).response);
        self.take_outputs(outputs);
        answer
    }

    /// Lets something happen to Consul.
    pub(crate) fn trouble_catalog(&mut self, fault: &CatalogFault) {
        let Some(catalog) = self.catalog.as_mut() else { return };
        let leader = catalog.model.leader().map_or(0, |server| server.0);
        if matches!(fault, CatalogFault::KillServers | CatalogFault::StartServers) {
            let servers = catalog.servers;
            return self.trouble_servers(fault, servers);
        }
        if let Some(fault) = fault.to_model(leader) {
            if fault == Fault::LoseState {
                self.observer.on_state_lost();
            }
            return self.feed_catalog(consul::Input::Fault(fault));
        }
        catalog.asked += 1;
        let id = RequestId(u64::MAX - catalog.asked);
        let request = match fault {
            CatalogFault::Put { key, value } => {
                Request::new("PUT", &format!("/v1/kv/{key}")).with_body(value.as_bytes())
            }
            CatalogFault::Delete { key } => Request::new("DELETE", &format!("/v1/kv/{key}")),
            CatalogFault::Appear { service, nth } => foreign_instance(service, *nth),
            CatalogFault::Vanish { service, nth } => {
                let id = foreign_id(service, *nth);
                Request::new("PUT", &format!("/v1/agent/service/deregister/{id}"))
            }
            CatalogFault::DestroyHolder { key } => {
                catalog.destroying.push(id);
                Request::new("GET", &format!("/v1/kv/{key}"))
            }
            _ => return,
        };
        self.feed_catalog(consul::Input::Request { id, agent: AgentId(0), request });
    }

    fn trouble_servers(&mut self, fault: &CatalogFault, servers: usize) {
        for server in (0..servers).map(ServerId) {
            let fault = match fault {
                CatalogFault::KillServers => Fault::KillServer(server),
                _ => Fault::StartServer(server, Memory::Kept),
            };
            self.feed_catalog(consul::Input::Fault(fault));
        }
    }

    /// Lets something happen to a node's agent; a server's is part of the server.
    pub(crate) fn trouble_agent(&mut self, id: NodeId, fault: &AgentFault) {
        let Some(catalog) = self.catalog.as_mut() else { return };
        if let AgentFault::Deregister { job } = fault {
            catalog.asked += 1;
            let name = RequestId(u64::MAX - catalog.asked);
            let hostname = &self.nodes[id.index()].engine.config().hostname;
            let target = format!("/v1/agent/service/deregister/{job}-{hostname}");
            let request = Request::new("PUT", &target);
            let agent = self.agent_of(id);
            return self.feed_catalog(consul::Input::Request { id: name, agent, request });
        }
        let servers = catalog.servers;
        let agent = self.agent_of(id);
        if agent.0 < servers {
            return;
        }
        let memory = |keeps: bool| if keeps { Memory::Kept } else { Memory::Lost };
        let fault = match fault {
            AgentFault::Kill => Fault::KillAgent(agent),
            AgentFault::Start { keeps } => Fault::StartAgent(agent, memory(*keeps)),
            AgentFault::Pause => Fault::PauseAgent(agent),
            AgentFault::Resume => Fault::ResumeAgent(agent),
            AgentFault::Cut => Fault::CutAgent(agent),
            AgentFault::Join => Fault::JoinAgent(agent),
            AgentFault::Deregister { .. } => return,
        };
        self.feed_catalog(consul::Input::Fault(fault));
    }

    /// The agent in a container ends with it.
    pub(crate) fn stop_inner_agent(&mut self, id: NodeId) {
        if self.nodes[id.index()].has_agent_inside {
            self.trouble_agent(id, &AgentFault::Kill);
        }
    }

    /// The agent in a container starts with it, and remembers nothing.
    pub(crate) fn start_inner_agent(&mut self, id: NodeId) {
        if self.nodes[id.index()].has_agent_inside {
            self.trouble_agent(id, &AgentFault::Start { keeps: false });
        }
    }

    /// The container has gone to another machine: it asks the agent there.
    pub(crate) fn move_to(&mut self, id: NodeId, machine: &str) {
        let other = self.nodes.iter().position(|node| &*node.name == machine);
        let Some(Ok(other)) = other.map(u16::try_from) else { return };
        let agent = self.agent_of(NodeId(other));
        self.nodes[id.index()].agent = Some(agent.0);
    }

    /// Consul's own time has come.
    pub(crate) fn on_catalog_due(&mut self) {
        self.feed_catalog(consul::Input::Tick);
    }

    /// A supervisor asks for something.
    pub(crate) fn ask(
        &mut self,
        id: NodeId,
        op: ConsulOp,
        request: ConsulRequest,
        timeout: Duration,
    ) {
        let now = self.now();
        let random = self.random_of(id, op);
        let has_catalog = self.catalog.is_some();
        let node = &mut self.nodes[id.index()];
        let link = node.link;
        let mut pending = Pending { request, timeout, reply: None };
        if let ConsulRequest::File { path } = &pending.request {
            pending.reply = Some(ConsulReply::File(node.files.get(path).copied()));
            self.agenda.put(now + REFUSED_AFTER, id, Happening::Answer(op));
        } else {
            let expires = node.clock.world_at(node.clock.stamp(now).mono + timeout);
            self.agenda.put(expires, id, Happening::Expires(op));
            if !has_catalog || link.state == LinkState::Refused {
                pending.reply = Some(unreachable("connection refused"));
                self.agenda.put(now + REFUSED_AFTER, id, Happening::Answer(op));
            } else if let Some(after) = link.send(random) {
                self.agenda.put(now + after, id, Happening::Reaches(op));
            }
        }
        self.nodes[id.index()].requests.insert(op, pending);
    }

    /// A request reaches its agent.
    pub(crate) fn on_reaches(&mut self, id: NodeId, op: ConsulOp) {
        let node = &self.nodes[id.index()];
        let Some(pending) = node.requests.get(&op) else { return };
        let http = wire::encode(&pending.request);
        let mut request = Request::new(http.method, &http.target);
        if let Some(body) = http.body {
            request = request.with_body(body);
        }
        let name = name_of(id, node, op);
        let link = node.link;
        let agent = self.agent_of(id);
        let is_again = link.repeats(self.random_of(id, op));
        let again = is_again.then(|| request.clone());
        self.feed_catalog(consul::Input::Request { id: name, agent, request });
        if let Some(request) = again {
            let id = RequestId(name.0 ^ 1 << 63);
            self.feed_catalog(consul::Input::Request { id, agent, request });
        }
    }

    /// An answer reaches the supervisor.
    pub(crate) fn on_answer(&mut self, id: NodeId, op: ConsulOp) {
        let Some(pending) = self.nodes[id.index()].requests.remove(&op) else { return };
        self.agenda.remove(id, Happening::Expires(op));
        if let Some(reply) = pending.reply {
            self.deliver(id, Input::Consul { op, reply });
        }
    }

    /// A supervisor has waited long enough.
    pub(crate) fn on_expires(&mut self, id: NodeId, op: ConsulOp) {
        let node = &mut self.nodes[id.index()];
        let Some(pending) = node.requests.remove(&op) else { return };
        let name = name_of(id, node, op);
        self.agenda.remove(id, Happening::Reaches(op));
        self.agenda.remove(id, Happening::Answer(op));
        self.feed_catalog(consul::Input::Cancel { id: name });
        let reply = unreachable(&format!("no answer within {:?}", pending.timeout));
        self.deliver(id, Input::Consul { op, reply });
    }

    /// The supervisor's connections break with it.
    pub(crate) fn hang_up(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.index()];
        let requests = core::mem::take(&mut node.requests);
        let names: Vec<_> = requests.keys().map(|op| name_of(id, node, *op)).collect();
        for name in names {
            self.feed_catalog(consul::Input::Cancel { id: name });
        }
    }

    pub(crate) fn feed_catalog(&mut self, input: consul::Input) {
        let now = self.now().0;
        let Some(catalog) = self.catalog.as_mut() else { return };
        let outputs = catalog.model.handle(now + catalog.ahead, input);
        self.take_outputs(outputs);
    }

    fn take_outputs(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            self.take_output(output);
        }
        self.update_catalog();
    }

    fn take_output(&mut self, output: Output) {
        if self.stage.is_some() && self.on_program_output(&output) {
            return;
        }
        let Some(catalog) = self.catalog.as_mut() else { return };
        if let Some(place) = catalog.destroying.iter().position(|id| *id == output.id) {
            catalog.destroying.remove(place);
            return self.destroy_session(output.response);
        }
        let Some((id, op)) = self.asker(output.id) else { return };
        let now = self.now();
        let random = self.random_of(id, op).stream("back");
        let node = &mut self.nodes[id.index()];
        let link = node.link;
        let Some(pending) = node.requests.get_mut(&op) else { return };
        let reply = match output.response {
            None => unreachable("connection closed"),
            Some(response) => {
                let index = response.header("X-Consul-Index");
                let index = index.and_then(|index| index.parse().ok());
                let answer = HttpAnswer { status: response.status, index, body: &response.body };
                wire::decode(&pending.request, answer)
            }
        };
        pending.reply = Some(reply);
        if let Some(after) = link.bring_back(random) {
            self.agenda.put(now + after, id, Happening::Answer(op));
        }
    }

    /// Finds who sent a request to Consul.
    fn asker(&self, name: RequestId) -> Option<(NodeId, ConsulOp)> {
        let id = NodeId(u16::try_from(name.0 >> 48 & 0x7fff).ok()?);
        let node = self.nodes.get(id.index())?;
        let op = node.requests.keys().find(|op| name_of(id, node, **op) == name)?;
        Some((id, *op))
    }

    fn destroy_session(&mut self, response: Option<Response>) {
        let Some(response) = response else { return };
        let entries = serde_json::from_slice::<serde_json::Value>(&response.body);
        let session = entries
            .ok()
            .and_then(|entries| entries.get(0)?.get("Session")?.as_str().map(str::to_owned));
        let Some(session) = session else { return };
        let request = Request::new("PUT", &format!("/v1/session/destroy/{session}"));
        self.ask_catalog(0, request);
    }

    fn update_catalog(&mut self) {
        let wakeup = self.catalog.as_ref().and_then(|catalog| {
            let at = catalog.model.next_wakeup()?;
            Some(at.saturating_sub(catalog.ahead))
        });
        match wakeup {
            Some(at) => self.agenda.put(Time(at).max(self.now()), CATALOG, Happening::Catalog),
            None => self.agenda.remove(CATALOG, Happening::Catalog),
        }
    }

    pub(crate) fn agent_of(&self, id: NodeId) -> AgentId {
        let Some(catalog) = &self.catalog else { return AgentId(0) };
        let own = catalog.servers + id.index();
        let node = &self.nodes[id.index()];
        let default = if own < catalog.model.agent_count() { own } else { 0 };
        AgentId(node.agent.unwrap_or(default))
    }

    fn random_of(&self, id: NodeId, op: ConsulOp) -> crate::random::Random {
        let node = &self.nodes[id.index()];
        self.random.stream("link").keyed(u64::from(id.0)).keyed(name_of(id, node, op).0)
    }
}

/// Names a request of a supervisor for Consul, by what it is: node, life, owner, count.
fn name_of(id: NodeId, node: &Node, op: ConsulOp) -> RequestId {
    let (kind, owner) = match op.owner {
        Owner::Job(job) => (0, job.0),
        Owner::Watch(watch) => (1, watch.0),
        Owner::Lock(lock) => (2, lock.0),
        Owner::Session(lock) => (3, lock.0),
    };
    let life = u64::from(node.lives & 0xf);
    let owner = kind << 12 | u64::from(owner & 0xfff);
    let count = u64::from(op.nth & 0x3fff_ffff);
    RequestId(u64::from(id.0) << 48 | life << 44 | owner << 30 | count)
}

fn unreachable(why: &str) -> ConsulReply {
    ConsulReply::Failed(ConsulFailure::Unreachable(why.into()))
}

/// The files of a node that watches look at.
pub(crate) type Files = BTreeMap<Box<str>, FileState>;
