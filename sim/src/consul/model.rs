//! The whole: servers, agents, and what passes between them, driven by events in virtual time.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::acl::{Authority, Tokens};
use super::agent::{Agent, Work};
use super::http_api::{Request, Response};
use super::options::Options;
use super::random::{Fnv, Random};
use super::read::Answer;
use super::rpc::{Reply, Rpc};
use super::server::Server;
use super::store::Watch;
use super::txn::Command;
use super::types::Str;

/// Names an agent: servers come first, in order, then clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub usize);

/// Names a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub usize);

/// Names a request; chosen by the one who sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// Something that happens to the model from outside.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Time has passed.
    Tick,
    /// A request arrives at an agent.
    Request {
        /// Names the response.
        id: RequestId,
        /// Which agent.
        agent: AgentId,
        /// The request.
        request: Request,
    },
    /// The one who sent a request has gone away.
    Cancel {
        /// Which request.
        id: RequestId,
    },
    /// Something breaks or is mended.
    Fault(Fault),
}

/// What can break, or be mended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A server process dies at once.
    KillServer(ServerId),
    /// A dead server starts again.
    StartServer(ServerId, Memory),
    /// A server process stops running for a while.
    PauseServer(ServerId),
    /// A paused server goes on.
    ResumeServer(ServerId),
    /// The leader steps down and another election is held.
    StepDown,
    /// All servers lose everything; indexes begin anew.
    LoseState,
    /// A server's disk takes this much longer, in nanoseconds.
    SlowDisk(ServerId, u64),
    /// A follower lags this much more, in nanoseconds.
    SlowFollower(ServerId, u64),
    /// A client agent dies at once.
    KillAgent(AgentId),
    /// A dead client agent starts again.
    StartAgent(AgentId, Memory),
    /// An agent process stops running for a while.
    PauseAgent(AgentId),
    /// A paused agent goes on.
    ResumeAgent(AgentId),
    /// A client agent leaves in order.
    LeaveAgent(AgentId),
    /// A client agent can no longer reach any server, nor be reached by gossip.
    CutAgent(AgentId),
    /// A cut agent is connected again.
    JoinAgent(AgentId),
}

/// Whether a restart keeps the data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Memory {
    /// It does.
    Kept,
    /// It does not.
    Lost,
}

/// What the sender of a request gets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Output {
    /// Which request.
    pub id: RequestId,
    /// The response; `None` when the connection broke instead.
    pub response: Option<Response>,
}

/// What happens inside at a certain time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    Arrive { call: u64, server: usize },
    Retry { call: u64 },
    WaitOver { call: u64 },
    Finish { call: u64, result: Result<Reply, String> },
    Commit { term: u64, index: u64 },
    Apply { server: usize, index: u64 },
    SessionDue { server: usize, id: Str },
    LeaderMissed { term: u64 },
    Elect { term: u64 },
    Depose { server: usize },
    ReapTombstones { upto: u64 },
    AgentWork { agent: usize, epoch: u64, work: Box<Work> },
    LocalWaitOver { agent: usize, request: RequestId },
    Gossip { agent: usize, epoch: u64, alive: bool },
}

/// A question on its way to a server or at one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Call {
    pub(crate) agent: usize,
    pub(crate) origin: Origin,
    pub(crate) rpc: Rpc,
    pub(crate) token: Str,
    /// Until when it is held when there is no leader.
    pub(crate) patience: u64,
    /// The servers it has come through, in order.
    pub(crate) path: Vec<usize>,
    pub(crate) blocked: Option<Blocked>,
}

/// Who asked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Origin {
    Http {
        id: RequestId,
        face: super::route::Face,
        pretty: bool,
    },
    /// The agent sends a change of its own.
    Push,
    /// Nobody waits for it.
    Nobody,
}

/// A blocking query that waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Blocked {
    pub(crate) server: usize,
    pub(crate) until: u64,
    pub(crate) answer: Answer,
    pub(crate) watches: Arc<[Watch]>,
    pub(crate) authority: Authority,
}

/// The replicated log, as far as the servers share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Raft {
    pub(crate) term: u64,
    pub(crate) leader: Option<usize>,
    /// Index of the newest entry.
    pub(crate) last: u64,
    pub(crate) committed: u64,
    pub(crate) commit_at: u64,
    pub(crate) entries: VecDeque<Arc<LogEntry>>,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LogEntry {
    pub(crate) index: u64,
    pub(crate) command: Command,
    pub(crate) call: Option<u64>,
}

/// A Consul cluster: servers with a replicated log, agents, and the requests under way.
///
/// Deterministic: equal options and inputs give equal outputs and digests. It knows no clock; times
/// are nanoseconds since an origin of the caller's choice.
#[derive(Clone, Debug)]
pub struct Consul {
    pub(crate) options: Arc<Options>,
    pub(crate) random: Random,
    pub(crate) now: u64,
    pub(crate) counter: u64,
    pub(crate) events: BTreeMap<(u64, u64), Event>,
    pub(crate) raft: Raft,
    pub(crate) servers: Vec<Server>,
    pub(crate) agents: Vec<Agent>,
    pub(crate) calls: BTreeMap<u64, Call>,
    pub(crate) outputs: Vec<Output>,
}

impl Consul {
    /// Builds a cluster that has been up for a moment: a leader is elected, every agent is known.
    pub fn new(now: u64, options: Options) -> Consul {
        let random = Random::new(options.seed);
        let mut consul = Consul {
            random,
            now,
            counter: 0,
            events: BTreeMap::new(),
            raft: Raft::default(),
            servers: Vec::new(),
            agents: Vec::new(),
            calls: BTreeMap::new(),
            outputs: Vec::new(),
            options: Arc::new(options),
        };
        consul.boot();
        consul
    }

    /// Takes an input in and returns the responses that are ready at `now`.
    pub fn handle(&mut self, now: u64, input: Input) -> Vec<Output> {
        self.run_until(now);
        match input {
            Input::Tick => {}
            Input::Request { id, agent, request } => {
                if agent.0 < self.agents.len() {
                    self.on_request(id, agent.0, request);
                } else {
                    self.outputs.push(Output { id, response: None });
                }
            }
            Input::Cancel { id } => self.on_cancel(id),
            Input::Fault(fault) => self.on_fault(fault),
        }
        self.run_until(now);
        std::mem::take(&mut self.outputs)
    }

    /// Tells when it next wants to be called, if nothing else happens before.
    pub fn next_wakeup(&self) -> Option<u64> {
        if self.outputs.is_empty() {
            self.events.keys().next().map(|(at, _)| *at)
        } else {
            Some(self.now)
        }
    }

    /// Returns a hash of the whole state, equal on every machine.
    pub fn digest(&self) -> u64 {
        let mut hash = Fnv::new();
        self.now.hash(&mut hash);
        self.counter.hash(&mut hash);
        self.events.hash(&mut hash);
        self.raft.hash(&mut hash);
        self.servers.hash(&mut hash);
        self.agents.hash(&mut hash);
        self.calls.hash(&mut hash);
        self.outputs.hash(&mut hash);
        hash.finish()
    }

    /// Returns the leader the servers have agreed on, if there is one.
    pub fn leader(&self) -> Option<ServerId> {
        self.raft.leader.map(ServerId)
    }

    /// Returns the newest index of the log.
    pub fn index(&self) -> u64 {
        self.raft.last
    }

    /// Counts the agents, servers included.
    pub fn agent_count(&self) -> usize {
        self.agents.len()
    }

    /// Finds an agent by its node's name.
    pub fn agent_named(&self, name: &str) -> Option<AgentId> {
        self.agents.iter().position(|agent| &*agent.local.node == name).map(AgentId)
    }

    /// Counts the blocking queries that wait at servers.
    pub fn blocked_count(&self) -> usize {
        self.calls.values().filter(|call| call.blocked.is_some()).count()
    }

    pub(crate) fn run_until(&mut self, now: u64) {
        while let Some(entry) = self.events.first_entry() {
            let (at, _) = *entry.key();
            if at > now {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(at);
            self.on_event(event);
        }
        self.now = self.now.max(now);
    }

    pub(crate) fn next_count(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    /// Puts an event on the agenda.
    pub(crate) fn schedule(&mut self, at: u64, event: Event) {
        let count = self.next_count();
        self.events.insert((at.max(self.now), count), event);
    }

    /// Puts an event on the agenda, so much later than now.
    pub(crate) fn schedule_in(&mut self, delay: u64, event: Event) {
        self.schedule(self.now.saturating_add(delay), event);
    }

    /// Draws a delay for a purpose; each draw has its own key.
    pub(crate) fn draw(&mut self, purpose: &str, (low, high): (u64, u64)) -> u64 {
        let key = self.next_count();
        self.random.between(purpose, key, low, high)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Arrive { call, server } => self.on_arrive(call, server),
            Event::Retry { call } => self.on_retry(call),
            Event::WaitOver { call } => self.on_wait_over(call),
            Event::Finish { call, result } => self.on_finish(call, result),
            Event::Commit { term, index } => self.on_commit(term, index),
            Event::Apply { server, index } => self.on_apply(server, index),
            Event::SessionDue { server, id } => self.on_session_due(server, &id),
            Event::LeaderMissed { term } => self.on_leader_missed(term),
            Event::Elect { term } => self.on_elect(term),
            Event::Depose { server } => self.on_depose(server),
            Event::ReapTombstones { upto } => self.on_reap_tombstones(upto),
            Event::AgentWork { agent, epoch, work } => {
                if self.agents[agent].epoch == epoch {
                    self.give_work(agent, *work);
                }
            }
            Event::LocalWaitOver { agent, request } => self.on_local_wait_over(agent, request),
            Event::Gossip { agent, epoch, alive } => self.on_gossip(agent, epoch, alive),
        }
    }

    /// Returns the tokens as the freshest live server has them.
    pub(crate) fn tokens(&self) -> Tokens {
        let freshest = self.servers.iter().max_by_key(|server| server.applied);
        freshest.map(|server| server.store.tokens.clone()).unwrap_or_default()
    }

    pub(crate) fn respond(&mut self, id: RequestId, response: Option<Response>) {
        self.outputs.push(Output { id, response });
    }
}
