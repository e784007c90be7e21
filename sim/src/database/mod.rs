//! A replicated database: one server per node, its history, and who replicates from whom.
//!
//! The model is pure. The world tells it when processes run and when messages arrive; programs
//! operate it; clients write to it. What is said about it in properties is the truth about it and
//! never what a catalog says.

pub mod client;
pub mod history;
mod operate;
pub mod perform;
pub mod spec;
pub mod truth;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::{RunId, Time};

pub use client::{Client, ClientSpec};
pub use history::{Entry, History};
pub use spec::DatabaseSpec;
pub use truth::{ServerTruth, Truth};

use crate::agenda::NodeId;

/// What is in a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Data {
    /// Nothing.
    #[default]
    Empty,
    /// A database that was made here.
    Initialised,
    /// A database from a backup.
    Restored,
}

impl Data {
    /// Gives its word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Data::Empty => "empty",
            Data::Initialised => "initialised",
            Data::Restored => "restored",
        }
    }
}

/// What a server's process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Running {
    /// There is none.
    #[default]
    Down,
    /// It does not answer yet.
    Boots(RunId),
    /// It answers.
    Up(RunId),
}

/// How a server replicates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replication {
    /// Not at all.
    #[default]
    Off,
    /// Its threads run; perhaps they are connected.
    Runs {
        /// Whether the source answers.
        is_connected: bool,
    },
    /// Its threads have stopped.
    Stopped,
}

/// One server with its disk.
#[derive(Clone, Debug, Default)]
pub struct Server {
    pub(crate) running: Running,
    /// The process that waits until there is data, and the data is free.
    pub(crate) waiting: Option<RunId>,
    pub(crate) data: Data,
    pub(crate) cluster: u32,
    pub(crate) history: History,
    /// Whether the users of the cluster are in it.
    pub(crate) has_users: bool,
    pub(crate) source: Option<NodeId>,
    pub(crate) replication: Replication,
    pub(crate) is_read_only: bool,
    /// Whether it has writes that its source has not.
    pub(crate) is_errant: bool,
    pub(crate) term: u32,
    pub(crate) token: u64,
    /// The largest token to which it has promised itself, on its disk as its data is, and whose.
    pub(crate) promised: u64,
    pub(crate) promised_to: Option<NodeId>,
    /// Whether it answers and can do nothing: its disk is full, its tables are locked.
    pub(crate) is_broken: bool,
}

/// A backup in the store.
#[derive(Clone, Debug)]
struct Backup {
    cluster: u32,
    history: History,
    has_users: bool,
}

/// One database over all nodes.
#[derive(Clone, Debug)]
pub struct Database {
    pub(crate) spec: DatabaseSpec,
    pub(crate) servers: Vec<Server>,
    backups: Vec<Backup>,
    clusters: u32,
    terms: u32,
    /// The token with which each term was written.
    tokens: BTreeMap<u32, u64>,
    /// Whether the last backup is older than it may be.
    pub(crate) is_unsaved: bool,
    /// The largest token with which a write was accepted, and whether a smaller one came later.
    fence: (u64, bool),
    pub(crate) acknowledged: Vec<(Entry, Time)>,
    pub(crate) lost: u64,
    pub(crate) truth: Arc<Truth>,
}

impl Database {
    /// Builds a database whose servers have nothing.
    pub fn new(spec: DatabaseSpec, nodes: usize) -> Database {
        Database {
            spec,
            servers: vec![Server::default(); nodes],
            backups: Vec::new(),
            clusters: 0,
            terms: 0,
            tokens: BTreeMap::new(),
            is_unsaved: false,
            fence: (0, false),
            acknowledged: Vec::new(),
            lost: 0,
            truth: Arc::default(),
        }
    }

    /// Gives the name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Gives what is true of it.
    pub fn truth(&self) -> &Arc<Truth> {
        &self.truth
    }

    /// Gives the server of a node.
    pub fn server(&self, node: NodeId) -> &Server {
        &self.servers[node.index()]
    }

    /// Tells whether a write with a smaller token came after one with a larger.
    pub const fn is_fence_broken(&self) -> bool {
        self.fence.1
    }

    /// The process of a server runs; tells when it will answer, unless it waits for its data, or
    /// for another process that has them.
    pub(crate) fn on_process(&mut self, node: NodeId, run: RunId) -> Option<Duration> {
        let mut boot = self.spec.boot;
        if let (Data::Empty, Some(init)) = (self.server(node).data, self.spec.init) {
            boot += init;
            self.initialise(node);
        }
        let server = &mut self.servers[node.index()];
        if server.running != Running::Down || server.data == Data::Empty {
            server.waiting = Some(run);
            return None;
        }
        server.running = Running::Boots(run);
        Some(boot)
    }

    /// A process that has waited for data has them; gives it when it begins to boot.
    pub(crate) fn on_data(&mut self, node: NodeId) -> Option<RunId> {
        let server = &mut self.servers[node.index()];
        let run = server.waiting.filter(|_| server.running == Running::Down)?;
        server.waiting = None;
        server.running = Running::Boots(run);
        Some(run)
    }

    /// A server answers from now on; a source that it had it has again.
    pub(crate) fn on_booted(&mut self, node: NodeId, run: RunId) -> bool {
        self.terms += 1;
        let (term, is_read_only) = (self.terms, self.spec.is_read_only);
        let server = &mut self.servers[node.index()];
        if server.running != Running::Boots(run) {
            return false;
        }
        server.running = Running::Up(run);
        server.term = term;
        server.is_read_only = is_read_only;
        server.token = 0;
        if let Replication::Runs { is_connected } = &mut server.replication {
            *is_connected = false;
        }
        true
    }

    /// The process of a server has ended; tells whether it was the server's. Another that has
    /// waited for the data begins to boot.
    pub(crate) fn on_process_over(&mut self, node: NodeId, run: RunId) -> bool {
        let server = &mut self.servers[node.index()];
        server.waiting = server.waiting.filter(|waiting| *waiting != run);
        let is_it = matches!(server.running, Running::Boots(own) | Running::Up(own) if own == run);
        if is_it {
            server.running = server.waiting.take().map_or(Running::Down, Running::Boots);
            if let Replication::Runs { is_connected } = &mut server.replication {
                *is_connected = false;
            }
            self.disconnect(node);
        }
        is_it
    }

    /// The replicas of a server have lost it.
    fn disconnect(&mut self, source: NodeId) {
        for replica in self.servers.iter_mut().filter(|server| server.source == Some(source)) {
            if let Replication::Runs { is_connected } = &mut replica.replication {
                *is_connected = false;
            }
        }
    }

    /// The disk of a node is lost.
    pub(crate) fn on_disk_lost(&mut self, node: NodeId) {
        self.servers[node.index()] = Server::default();
    }

    /// Lists the replicas that are connected to a server.
    pub fn replicas(&self, source: NodeId) -> impl Iterator<Item = NodeId> {
        let servers = (0..).map(NodeId).zip(&self.servers);
        let is_it = move |server: &Server| {
            server.source == Some(source) && server.replication == Replication::CONNECTED
        };
        servers.filter(move |(_, server)| is_it(server)).map(|(node, _)| node)
    }

    /// A replica takes over what its source has; `is_open` tells whether there is a way to it.
    /// Gives whether it is connected afterwards.
    pub(crate) fn stream(&mut self, replica: NodeId, is_open: bool) -> bool {
        let own = &self.servers[replica.index()];
        let (Some(source), Replication::Runs { .. }) = (own.source, own.replication) else {
            return false;
        };
        let Some(other) = self.servers.get(source.index()) else { return false };
        let is_promised = own.promised > other.token.max(other.promised);
        let is_there = is_open && own.is_up() && other.is_up() && other.has_users && !is_promised;
        let is_start = own.cluster == other.cluster && own.history.is_start_of(&other.history);
        let is_fresh = own.history.length() == 0 && !own.has_users;
        let (history, cluster, token) = (other.history.clone(), other.cluster, other.token);
        let own = &mut self.servers[replica.index()];
        own.replication = Replication::Runs { is_connected: is_there };
        if !is_there {
            return false;
        }
        if is_start || is_fresh {
            own.history = history;
            own.cluster = cluster;
            own.has_users = true;
            own.promised = own.promised.max(token);
        } else {
            own.replication = Replication::Stopped;
            own.is_errant = true;
        }
        is_start || is_fresh
    }

    /// A write arrives at a server; gives what it is when it is taken.
    pub(crate) fn write(&mut self, node: NodeId) -> Option<Entry> {
        let server = self.servers.get_mut(node.index())?;
        if !server.accepts() {
            return None;
        }
        let entry = server.history.append(server.cluster, server.term);
        self.tokens.insert(server.term, server.token);
        Some(entry)
    }

    /// Tells whether a write may be acknowledged: as many others have it as must, and its server
    /// has not promised itself to somebody newer. It is accepted then, with its token.
    pub(crate) fn commit(&mut self, node: NodeId, entry: Entry) -> bool {
        let server = self.server(node);
        let (token, is_promised) = (server.token, server.promised > server.token);
        if self.spec.sync > 0 {
            let copies = self.replicas(node);
            let copies = copies.filter(|id| self.server(*id).history.has(entry)).count();
            if is_promised || !server.is_up() || copies < usize::from(self.spec.sync) {
                return false;
            }
        }
        if token < self.fence.0 {
            self.fence.1 = true;
        }
        self.fence.0 = self.fence.0.max(token);
        true
    }
}

impl Replication {
    /// Its threads run and its source answers.
    pub const CONNECTED: Replication = Replication::Runs { is_connected: true };
}

impl Server {
    /// Tells whether it answers.
    pub const fn is_up(&self) -> bool {
        matches!(self.running, Running::Up(_))
    }

    /// Tells whether it takes writes of clients, who log in with the users of the cluster.
    pub const fn accepts(&self) -> bool {
        self.is_up() && !self.is_read_only && !self.is_broken && self.has_users
    }

    /// Tells whether it takes writes and replicates from nobody.
    pub const fn is_primary(&self) -> bool {
        self.accepts() && matches!(self.replication, Replication::Off) && self.source.is_none()
    }
}
