//! Databases and clients in the world: processes, links and time move them.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::{RunId, RunKind, Time};

use crate::agenda::{Happening, NodeId};
use crate::catalog::CATALOG;
use crate::consul::Request;
use crate::database::client::PATIENCE;
use crate::database::{Database, Running, Server, Truth};
use crate::program::calls;
use crate::program::cue::Cue;
use crate::program::machine::{Asked, Outcome};
use crate::program::verb::Verb;
use crate::property::expression::fits;
use crate::tap::{Level, Seen};
use crate::world::World;

/// From one node or client to another.
const WAY: Duration = Duration::from_micros(500);

impl Database {
    /// One more node may have a server.
    pub(crate) fn add_node(&mut self, name: Arc<str>) {
        self.spec.nodes.push(name);
        self.servers.push(Server::default());
    }

    fn is_member(&self, node: NodeId) -> bool {
        fits(&self.spec.on, self.spec.name_of(node))
    }

    fn is_server(&self, node: NodeId, job: &str) -> bool {
        self.is_member(node) && fits(&self.spec.job, job)
    }
}

impl World {
    /// Gives the databases, to be read.
    pub fn databases(&self) -> &[Database] {
        self.stage.as_deref().map_or(&[], |stage| &stage.databases)
    }

    /// Gives a database by name, to be read.
    pub fn database(&self, name: &str) -> Option<&Database> {
        self.databases().iter().find(|database| database.name() == name)
    }

    fn database_mut(&mut self, nth: u8) -> Option<&mut Database> {
        self.stage.as_deref_mut()?.databases.get_mut(usize::from(nth))
    }

    /// A process without a program runs: it may be a server.
    pub(crate) fn on_server_started(&mut self, id: NodeId, run: RunId) {
        if run.kind == RunKind::Check {
            return;
        }
        let job = self.nodes[id.index()].job_name(run.job);
        let now = self.now();
        let Some(stage) = self.stage.as_deref_mut() else { return };
        for (nth, database) in (0..).zip(&mut stage.databases) {
            if database.is_server(id, &job)
                && let Some(boot) = database.on_process(id, run)
            {
                let cue = Happening::Stage(Cue::Booted(nth, run));
                self.agenda.put(now + boot, id, cue);
            }
        }
    }

    /// A process without a program is over.
    pub(crate) fn on_server_over(&mut self, id: NodeId, run: RunId) {
        let now = self.now();
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let mut is_server = false;
        for (nth, database) in (0..).zip(&mut stage.databases) {
            if database.on_process_over(id, run) {
                is_server = true;
                self.agenda.remove(id, Happening::Stage(Cue::Booted(nth, run)));
                if let Running::Boots(next) = database.server(id).running {
                    let cue = Happening::Stage(Cue::Booted(nth, next));
                    self.agenda.put(now + database.spec.boot, id, cue);
                }
            }
        }
        if is_server {
            self.stream_all();
            self.tell_truth();
        }
    }

    /// A server has got data: the process that has waited for them boots.
    fn on_data(&mut self, id: NodeId, nth: u8) {
        let now = self.now();
        let Some(database) = self.database_mut(nth) else { return };
        let boot = database.spec.boot;
        if let Some(run) = database.on_data(id) {
            self.agenda.put(now + boot, id, Happening::Stage(Cue::Booted(nth, run)));
        }
    }

    pub(crate) fn on_booted(&mut self, id: NodeId, nth: u8, run: RunId) {
        if self.is_held(id, Cue::Booted(nth, run)) {
            return;
        }
        if self.database_mut(nth).is_some_and(|database| database.on_booted(id, run)) {
            self.put_stream(id, nth, WAY);
            self.tell_truth();
        }
    }

    /// Does what a program asks for at the server of a node.
    pub(crate) fn operate(&mut self, from: NodeId, to: NodeId, asked: &Asked) -> Outcome {
        let asked = &self.with_names(asked);
        let Some(stage) = self.stage.as_deref_mut() else {
            return Outcome::bad("invalid", "there is no database");
        };
        let is_it = |database: &Database| database.is_member(to) && database.is_member(from);
        let Some(nth) = stage.databases.iter().position(is_it) else {
            return Outcome::bad("invalid", "there is no database on this node");
        };
        let outcome = stage.databases[nth].operate(from, to, asked);
        let nth = u8::try_from(nth).unwrap_or(u8::MAX);
        match asked.verb {
            Verb::DbSnapshot => self.await_backup(nth),
            Verb::DbInit | Verb::DbRestore => self.on_data(to, nth),
            _ => {}
        }
        if asked.verb == Verb::DbFollow {
            self.put_stream(to, nth, WAY);
        }
        if !matches!(asked.verb, Verb::DbStatus | Verb::DbData | Verb::DbLogin | Verb::DbQuery) {
            self.stream_from(to, nth);
            self.tell_truth();
        }
        outcome
    }

    /// Names the node whose address a program gave instead.
    fn with_names(&self, asked: &Asked) -> Asked {
        let mut asked = asked.clone();
        if matches!(asked.verb, Verb::DbFollow | Verb::DbClone)
            && let Some(target) = asked.arguments.first_mut()
            && let Some(name) = self.node_at(target)
        {
            *target = name;
        }
        asked
    }

    fn put_stream(&mut self, id: NodeId, nth: u8, after: Duration) {
        let now = self.now();
        let cue = Happening::Stage(Cue::Stream(nth));
        let due = self.agenda.is_due(id, cue);
        let at = due.map_or(now + after, |due| due.min(now + after));
        self.agenda.put(at, id, cue);
    }

    /// A server has something new: its connected replicas get it.
    fn stream_from(&mut self, source: NodeId, nth: u8) {
        let replicas: Vec<_> =
            self.database_mut(nth).map(|one| one.replicas(source).collect()).unwrap_or_default();
        for replica in replicas {
            self.put_stream(replica, nth, WAY);
        }
    }

    /// The ways between nodes have changed: replicas notice.
    pub(crate) fn stream_all(&mut self) {
        let databases = self.databases().len();
        for nth in 0..u8::try_from(databases).unwrap_or(u8::MAX) {
            for node in 0..u16::try_from(self.nodes.len()).unwrap_or(u16::MAX) {
                let database = &self.databases()[usize::from(nth)];
                let server = database.server(NodeId(node));
                if server.is_up() && server.source.is_some() {
                    self.put_stream(NodeId(node), nth, WAY);
                }
            }
        }
    }

    pub(crate) fn on_stream(&mut self, id: NodeId, nth: u8) {
        if self.is_held(id, Cue::Stream(nth)) {
            return;
        }
        let Some(database) = self.databases().get(usize::from(nth)) else { return };
        let Some(source) = database.server(id).source else { return };
        let is_up = database.server(id).is_up();
        let is_running =
            matches!(database.server(id).replication, crate::database::Replication::Runs { .. });
        let retry = database.spec.retry;
        let is_there = self.nodes.get(source.index()).is_some_and(|node| node.frozen.is_none());
        let is_open = is_there && self.is_way_open(id, source);
        let is_connected =
            self.database_mut(nth).is_some_and(|database| database.stream(id, is_open));
        if is_connected {
            self.stream_from(id, nth);
            self.commit(nth, source);
        } else if is_up && is_running {
            self.put_stream(id, nth, retry);
        }
        self.tell_truth();
    }

    /// A backup was stored, or the world begins: the next one is awaited.
    fn await_backup(&mut self, nth: u8) {
        let now = self.now();
        let Some(database) = self.database_mut(nth) else { return };
        database.is_unsaved = false;
        let Some(age) = database.spec.backup else { return };
        self.agenda.put(now + age, CATALOG, Happening::Stage(Cue::BackupAges(nth)));
    }

    pub(crate) fn on_backup_ages(&mut self, nth: u8) {
        if let Some(database) = self.database_mut(nth) {
            database.is_unsaved = true;
            self.tell_truth();
        }
    }

    /// The server of a node can do nothing for a while, or can again.
    pub(crate) fn set_broken(&mut self, id: NodeId, is_broken: bool) {
        let Some(stage) = self.stage.as_deref_mut() else { return };
        for database in &mut stage.databases {
            database.servers[id.index()].is_broken = is_broken;
        }
        self.tell_truth();
    }

    /// The store of backups is away, or there again.
    pub(crate) fn set_store(&mut self, is_away: bool) {
        if let Some(stage) = self.stage.as_deref_mut() {
            stage.is_store_away = is_away;
        }
    }

    /// Cuts or mends the way between a node and another node, or a client.
    pub(crate) fn set_way(&mut self, id: NodeId, with: &Arc<str>, is_open: bool) {
        let name = self.nodes[id.index()].name.clone();
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let pair = ((&name).min(with).clone(), (&name).max(with).clone());
        match is_open {
            true => stage.cuts.remove(&pair),
            false => stage.cuts.insert(pair),
        };
        self.stream_all();
        self.tell_truth();
    }

    fn is_way_open(&self, one: NodeId, other: NodeId) -> bool {
        let name = |id: NodeId| self.nodes.get(id.index()).map(|node| &node.name);
        match (name(one), name(other), self.stage.as_deref()) {
            (Some(one), Some(other), Some(stage)) => stage.is_open(one, other),
            _ => false,
        }
    }
}

impl World {
    /// Lets the clients begin.
    pub(crate) fn begin_clients(&mut self) {
        let now = self.now();
        let Some(stage) = self.stage.as_deref() else { return };
        for (nth, client) in (0..).zip(&stage.clients) {
            let cue = Happening::Stage(Cue::Client(nth));
            self.agenda.put(now + client.spec.every, CATALOG, cue);
        }
        let databases = u8::try_from(stage.databases.len()).unwrap_or(u8::MAX);
        (0..databases).for_each(|nth| self.await_backup(nth));
    }

    /// A client looks where to write when it must, gives up what was not acknowledged, and writes.
    pub(crate) fn on_client(&mut self, nth: u16) {
        let now = self.now();
        let before = self.way_of(nth);
        self.look_up(nth);
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let Some(client) = stage.clients.get_mut(usize::from(nth)) else { return };
        let every = client.spec.every;
        if client.sent.is_some_and(|sent| now.since(sent) >= PATIENCE) {
            client.sent = None;
            client.taken = None;
            client.refused += 1;
            if client.spec.finds == crate::database::client::Finds::Cached {
                client.address = None;
            }
            self.agenda.remove(CATALOG, Happening::Stage(Cue::Write(nth)));
        }
        let client = &mut stage.clients[usize::from(nth)];
        if client.sent.is_none() && client.address.is_some() {
            client.sent = Some(now);
            self.agenda.put(now + WAY, CATALOG, Happening::Stage(Cue::Write(nth)));
        }
        self.agenda.put(now + every, CATALOG, Happening::Stage(Cue::Client(nth)));
        if self.way_of(nth) != before {
            self.tell_truth();
        }
    }

    fn look_up(&mut self, nth: u16) {
        let now = self.now();
        let client = self.stage.as_deref().and_then(|stage| stage.clients.get(usize::from(nth)));
        let Some(client) = client.filter(|client| client.wants_to_look(now)) else { return };
        let path = format!("/v1/health/service/{}?passing=1&stale", client.spec.service);
        let response = self.ask_catalog(0, Request::new("GET", &path));
        let found = response.map(|response| {
            calls::decode(Verb::ServicePassing, &response, |address| self.node_at(address))
        });
        let Some(Outcome::Good(nodes, _)) = found else { return };
        let first = nodes.split_whitespace().next();
        let place = first.and_then(|name| self.nodes.iter().position(|node| *node.name == *name));
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let client = &mut stage.clients[usize::from(nth)];
        client.looked = Some(now);
        if let Some(place) = place.and_then(|place| u16::try_from(place).ok()) {
            client.address = Some(NodeId(place));
        }
    }

    /// A write reaches the server that it was sent to: at once, or when the server's container goes
    /// on, whose kernel has kept it, whether or not the client still waits.
    pub(crate) fn on_write(&mut self, at: NodeId, nth: u16) {
        let is_kept = at != CATALOG;
        let way = if is_kept { Some((at, true)) } else { self.way_of(nth) };
        let Some((target, is_open)) = way else { return };
        if self.nodes[target.index()].frozen.is_some() {
            self.is_held(target, Cue::Write(nth));
            return;
        }
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let client = &mut stage.clients[usize::from(nth)];
        let database = client.database;
        let place = u8::try_from(database).unwrap_or(u8::MAX);
        if is_kept {
            let taken = stage.databases[database].write(target);
            if taken.is_some_and(|entry| stage.databases[database].commit(target, entry)) {
                self.stream_from(target, place);
                self.tell_truth();
            }
            return;
        }
        if !is_open || client.sent.is_none() {
            return;
        }
        let Some(entry) = stage.databases[database].write(target) else {
            client.refused += 1;
            client.sent = None;
            if client.spec.finds == crate::database::client::Finds::Cached {
                client.address = None;
                self.tell_truth();
            }
            return;
        };
        client.written += 1;
        client.taken = Some((target, entry));
        self.stream_from(target, place);
        self.commit(place, target);
    }

    /// Acknowledges what a server has taken and as many others have as must.
    fn commit(&mut self, place: u8, source: NodeId) {
        let at = self.now();
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let Some(database) = stage.databases.get_mut(usize::from(place)) else { return };
        for (nth, client) in (0..).zip(&mut stage.clients) {
            let Some((_, entry)) = client.taken.filter(|(server, _)| *server == source) else {
                continue;
            };
            if client.database == usize::from(place) && database.commit(source, entry) {
                client.taken = None;
                client.accepted = Some(entry);
                self.agenda.put(at + WAY, CATALOG, Happening::Stage(Cue::Acknowledge(nth)));
            }
        }
        if database.is_fence_broken() != database.truth.is_fence_broken {
            self.tell_truth();
        }
    }

    pub(crate) fn on_acknowledge(&mut self, nth: u16) {
        let now = self.now();
        let is_open = self.way_of(nth).is_some_and(|(_, is_open)| is_open);
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let client = &mut stage.clients[usize::from(nth)];
        let Some(entry) = client.accepted.take().filter(|_| is_open) else { return };
        client.sent = None;
        stage.databases[client.database].acknowledged.push((entry, now));
    }

    /// Gives where a client writes, and whether there is a way.
    fn way_of(&self, nth: u16) -> Option<(NodeId, bool)> {
        let stage = self.stage.as_deref()?;
        let client = stage.clients.get(usize::from(nth))?;
        let target = client.address?;
        let node = self.nodes.get(target.index())?;
        Some((target, stage.is_open(&client.spec.name, &node.name)))
    }

    /// Looks at every database and tells what has changed.
    pub(crate) fn tell_truth(&mut self) {
        let now = self.now();
        let clients = self.stage.as_deref().map_or(0, |stage| stage.clients.len());
        let ways: Vec<_> =
            (0..u16::try_from(clients).unwrap_or(u16::MAX)).map(|nth| self.way_of(nth)).collect();
        let Some(stage) = self.stage.as_deref_mut() else { return };
        for nth in 0..stage.databases.len() {
            let is_live = |id: NodeId| {
                let node = &self.nodes[id.index()];
                node.exit.is_none() && node.frozen.is_none()
            };
            let writes = |id: NodeId| {
                let own = stage.clients.iter().zip(&ways);
                own.filter(|(client, _)| client.database == nth)
                    .any(|(_, way)| *way == Some((id, true)))
            };
            let database = &stage.databases[nth];
            let truth = database.look(is_live, |id| database.is_member(id), writes);
            let database = &mut stage.databases[nth];
            if truth == *database.truth {
                continue;
            }
            let truth = database.settle(truth);
            let seen = || Seen::Truth(u8::try_from(nth).unwrap_or(u8::MAX), truth.clone());
            self.observer.tap().put(Level::Signs, now, CATALOG, seen);
        }
    }
}

impl Database {
    /// Keeps a new truth; when the primary is another one, counts what it does not have. One that
    /// could acknowledge nothing is none: an old one that was frozen has a moment left to live.
    fn settle(&mut self, mut truth: Truth) -> Arc<Truth> {
        let primary = truth.acknowledging(self.spec.sync);
        if primary.is_some() && primary != self.truth.acknowledging(self.spec.sync) {
            self.lost = primary.map_or(0, |primary| self.count_lost(primary));
            truth.lost = self.lost;
        }
        self.truth = Arc::new(truth);
        self.truth.clone()
    }

    /// Counts the acknowledged writes that a server does not have, but for those that replication
    /// may lose with their server.
    fn count_lost(&self, primary: NodeId) -> u64 {
        let history = &self.server(primary).history;
        let lag = self.spec.lag;
        let last_of = |term: u32| -> Time {
            let own = self.acknowledged.iter().rev().find(|(entry, _)| entry.term == term);
            own.map_or(Time(0), |(_, at)| *at)
        };
        let mut last = (0, Time(0));
        let is_lost = |(entry, at): &&(crate::database::Entry, Time)| {
            if last.0 != entry.term {
                last = (entry.term, last_of(entry.term));
            }
            !history.has(*entry) && (self.spec.sync > 0 || *at + lag < last.1)
        };
        u64::try_from(self.acknowledged.iter().filter(is_lost).count()).unwrap_or(u64::MAX)
    }
}
