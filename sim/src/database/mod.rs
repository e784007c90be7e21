//! A replicated database: one server per node, its history, and who replicates from whom.
//!
//! The model is pure. The world tells it when processes run and when messages arrive; programs
//! operate it; clients write to it. What is said about it in properties is the truth about it and
//! never what a catalog says.

pub mod client;
pub mod history;
pub mod perform;
pub mod spec;
pub mod truth;

use std::sync::Arc;

use steersman_engine::{RunId, Time};

pub use client::{Client, ClientSpec};
pub use history::{Entry, History};
pub use spec::DatabaseSpec;
pub use truth::{ServerTruth, Truth};

use crate::agenda::NodeId;
use crate::program::machine::{Asked, Outcome};
use crate::program::verb::Verb;

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
    /// The process that waits until the data is free.
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

    /// The process of a server runs; tells whether it will ever answer.
    pub(crate) fn on_process(&mut self, node: NodeId, run: RunId) -> bool {
        let server = &mut self.servers[node.index()];
        if server.data == Data::Empty {
            return false;
        }
        if server.running != Running::Down {
            server.waiting = Some(run);
            return false;
        }
        server.running = Running::Boots(run);
        true
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
        let is_there = is_open && own.is_up() && other.is_up() && other.has_users;
        let is_start = own.cluster == other.cluster && own.history.is_start_of(&other.history);
        let is_fresh = own.history.length() == 0 && !own.has_users;
        let (history, cluster) = (other.history.clone(), other.cluster);
        let own = &mut self.servers[replica.index()];
        own.replication = Replication::Runs { is_connected: is_there };
        if !is_there {
            return false;
        }
        if is_start || is_fresh {
            own.history = history;
            own.cluster = cluster;
            own.has_users = true;
        } else {
            own.replication = Replication::Stopped;
            own.is_errant = true;
        }
        is_start || is_fresh
    }

    /// A write arrives at a server; gives what it is when it is accepted.
    pub(crate) fn write(&mut self, node: NodeId) -> Option<Entry> {
        let server = self.servers.get_mut(node.index())?;
        if !server.accepts() {
            return None;
        }
        let entry = server.history.append(server.cluster, server.term);
        if server.token < self.fence.0 {
            self.fence.1 = true;
        }
        self.fence.0 = self.fence.0.max(server.token);
        Some(entry)
    }

    /// Does what a program asks for at a server.
    pub(crate) fn operate(&mut self, node: NodeId, asked: &Asked) -> Outcome {
        let Some(server) = self.servers.get(node.index()) else {
            return Outcome::bad("invalid", "no such node");
        };
        match asked.verb {
            Verb::DbData => return Outcome::text(server.data.as_str()),
            Verb::DbInit => return self.initialise(node),
            Verb::DbRestore => return self.restore(node, asked),
            _ if !server.is_up() => return Outcome::bad("down", "the server does not answer"),
            Verb::DbLogin if !server.has_users => {
                return Outcome::bad("denied", "access denied for the replication user");
            }
            Verb::DbStatus => return self.status(node),
            Verb::DbSnapshot => return self.back_up(node),
            _ => {}
        }
        self.change(node, asked)
    }

    fn change(&mut self, node: NodeId, asked: &Asked) -> Outcome {
        self.terms += 1;
        let argument = asked.arguments.first().map_or("", |text| &**text);
        let source = self.spec.node(argument);
        let term = self.terms;
        let server = &mut self.servers[node.index()];
        match asked.verb {
            Verb::DbUsers => server.has_users = true,
            Verb::DbFollow => {
                let Some(source) = source.filter(|source| *source != node) else {
                    return Outcome::bad("invalid", format!("cannot follow \"{argument}\""));
                };
                server.source = Some(source);
                server.replication = Replication::Runs { is_connected: false };
                server.is_errant = false;
            }
            Verb::DbUnfollow if server.source.is_some() => {
                server.replication = Replication::Stopped;
            }
            Verb::DbPromote => {
                server.source = None;
                server.replication = Replication::Off;
                server.is_read_only = false;
                server.is_errant = false;
                server.term = term;
                server.token = argument.parse().unwrap_or(server.token);
            }
            Verb::DbClone => return self.clone_from(node, source),
            Verb::DbReadOnly => server.is_read_only = !argument.is_empty(),
            _ => {}
        }
        Outcome::is(true)
    }

    fn initialise(&mut self, node: NodeId) -> Outcome {
        let server = &mut self.servers[node.index()];
        if server.data != Data::Empty {
            return Outcome::bad("invalid", "the data directory is not empty");
        }
        self.clusters += 1;
        server.data = Data::Initialised;
        server.cluster = self.clusters;
        Outcome::is(true)
    }

    fn restore(&mut self, node: NodeId, asked: &Asked) -> Outcome {
        let name = asked.arguments.first().and_then(|name| name.strip_prefix("backup-"));
        let nth = name.and_then(|nth| nth.parse::<usize>().ok());
        let backup = nth.and_then(|nth| self.backups.get(nth.checked_sub(1)?));
        let Some(Backup { cluster, history, has_users }) = backup.cloned() else {
            return Outcome::bad("invalid", "there is no such backup");
        };
        let server = &mut self.servers[node.index()];
        if server.data != Data::Empty {
            return Outcome::bad("invalid", "the data directory is not empty");
        }
        *server = Server { data: Data::Restored, cluster, history, has_users, ..Server::default() };
        Outcome::is(true)
    }

    fn clone_from(&mut self, node: NodeId, source: Option<NodeId>) -> Outcome {
        let other = source.map(|source| self.server(source)).filter(|other| other.is_up());
        let Some(other) = other else { return Outcome::bad("down", "the other does not answer") };
        let (cluster, history, has_users) = (other.cluster, other.history.clone(), other.has_users);
        let server = &mut self.servers[node.index()];
        server.data = Data::Restored;
        server.cluster = cluster;
        server.history = history;
        server.has_users = has_users;
        server.source = None;
        server.replication = Replication::Off;
        server.is_errant = false;
        Outcome::is(true)
    }

    fn back_up(&mut self, node: NodeId) -> Outcome {
        let server = &self.servers[node.index()];
        let (cluster, history) = (server.cluster, server.history.clone());
        let has_users = server.has_users;
        self.backups.push(Backup { cluster, history, has_users });
        Outcome::text(format!("backup-{}", self.backups.len()))
    }

    fn status(&self, node: NodeId) -> Outcome {
        let server = self.server(node);
        let name = |node: NodeId| self.spec.name_of(node);
        let replicas: Vec<&str> = self.replicas(node).map(name).collect();
        let replication = match server.replication {
            Replication::Off => "",
            Replication::Runs { .. } => "running",
            Replication::Stopped => "stopped",
        };
        let yes = |is_so: bool| Arc::from(if is_so { "yes" } else { "" });
        let more = vec![
            ("source", Arc::from(server.source.map_or("", name))),
            ("replication", Arc::from(replication)),
            ("connected", yes(server.replication == Replication::CONNECTED)),
            ("replicas", Arc::from(replicas.join(" "))),
            ("position", Arc::from(server.history.length().to_string())),
            ("cluster", Arc::from(server.cluster.to_string())),
            ("users", yes(server.has_users)),
            ("errant", yes(server.is_errant)),
            ("readOnly", yes(server.is_read_only)),
        ];
        Outcome::Good(Arc::from("up"), more)
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
        self.is_up() && !self.is_read_only && self.has_users
    }

    /// Tells whether it takes writes and replicates from nobody.
    pub const fn is_primary(&self) -> bool {
        self.accepts() && matches!(self.replication, Replication::Off) && self.source.is_none()
    }
}
