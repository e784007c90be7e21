//! Programs in the world: their processes, their requests, and what they keep in the container.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::config::Config;
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{Input, RequestId, RunId, Time};

use super::cue::{CallId, Cue, Told};
use super::expression::Scope;
use super::machine::{Asked, Machine, Outcome, Want};
use super::verb::{Peer, Verb};
use super::{Library, calls};
use crate::agenda::{Happening, NodeId};
use crate::applications::{Applications, Home};
use crate::catalog::CATALOG;
use crate::consul::{self, Output};
use crate::database::{Client, Database};
use crate::link::{Link, LinkState};
use crate::random::{Random, mix};
use crate::script::Draws;
use crate::tap::{Level, Seen};
use crate::world::World;

/// The names of programs' requests to Consul begin like this.
const REQUESTS: u64 = 0x7ffe;

/// How long a program waits for an answer from elsewhere.
const PATIENCE: Duration = Duration::from_secs(10);

/// From a question within the container to its answer.
const AT_HOME: Duration = Duration::from_millis(1);

/// A request that has not been answered.
#[derive(Clone, Debug)]
struct Open {
    asked: Asked,
    reply: Option<Outcome>,
}

/// What one container has for its programs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Room {
    home: Home,
    files: BTreeMap<Arc<str>, Arc<str>>,
    /// The environment with what the supervisor has set.
    environment: BTreeMap<Arc<str>, Arc<str>>,
    first_config: Option<Config>,
    /// What came while the container was frozen.
    pub(crate) held: Vec<Cue>,
}

/// Everything beyond plain processes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stage {
    library: Arc<Library>,
    machines: BTreeMap<(NodeId, RunId), Machine>,
    open: BTreeMap<CallId, Open>,
    requests: BTreeMap<u64, CallId>,
    pub(crate) rooms: Vec<Room>,
    pub(crate) databases: Vec<Database>,
    pub(crate) clients: Vec<Client>,
    /// Who cannot reach whom, by name, both ways.
    pub(crate) cuts: std::collections::BTreeSet<(Arc<str>, Arc<str>)>,
    /// Whether the store of backups does not answer.
    pub(crate) is_store_away: bool,
}

impl Stage {
    pub(crate) fn new(applications: &Applications) -> Stage {
        let databases = applications.databases.iter().cloned();
        let databases: Vec<_> = databases.map(|spec| Database::new(spec, 0)).collect();
        let place = |name: &str| databases.iter().position(|one| one.name() == name);
        let clients = applications.clients.iter();
        let clients = clients.filter_map(|spec| Some(Client::new(spec, place(&spec.database)?)));
        let clients = clients.collect();
        let library = Arc::new(applications.programs.clone());
        Stage { library, databases, clients, ..Stage::default() }
    }

    /// Tells whether two nodes or clients reach each other.
    pub(crate) fn is_open(&self, one: &Arc<str>, other: &Arc<str>) -> bool {
        let pair = (one.min(other).clone(), one.max(other).clone());
        !self.cuts.contains(&pair)
    }
}

impl World {
    /// Puts programs, databases and clients into the world; before the first node.
    pub fn add_applications(&mut self, applications: &Applications) {
        if !applications.is_empty() {
            self.stage = Some(Box::new(Stage::new(applications)));
            self.begin_clients();
        }
    }

    /// Gives a container what it has besides its configuration; after the node has come.
    pub fn furnish(&mut self, id: NodeId, home: &Home) {
        let config = self.nodes[id.index()].file.clone().ok();
        let Some(stage) = self.stage.as_deref_mut() else { return };
        if let Some(room) = stage.rooms.get_mut(id.index()) {
            room.home = home.clone();
            room.environment = home.environment.clone();
            room.first_config = config;
        }
    }

    /// Somebody has written the configuration file from outside: a new image, not a program.
    pub(crate) fn on_stage_config(&mut self, id: NodeId) {
        let room = self.stage.as_deref_mut().and_then(|stage| stage.rooms.get_mut(id.index()));
        if let (Some(room), Ok(config)) = (room, &self.nodes[id.index()].file) {
            room.first_config = Some(config.clone());
        }
    }

    /// A node has come.
    pub(crate) fn add_room(&mut self, id: NodeId) {
        let name = self.nodes[id.index()].name.clone();
        let Some(stage) = self.stage.as_deref_mut() else { return };
        stage.rooms.resize_with(id.index() + 1, Room::default);
        for database in &mut stage.databases {
            database.add_node(name.clone());
        }
    }

    /// Something happens to programs, databases or clients.
    pub(crate) fn on_cue(&mut self, id: NodeId, cue: Cue) {
        match cue {
            Cue::Step(run) => self.drive(id, run),
            Cue::Reaches(call) => self.on_call_reaches(call),
            Cue::Answer(call) => self.on_call_answer(call),
            Cue::Expires(call) => self.on_call_expires(call),
            Cue::Booted(nth, run) => self.on_booted(id, nth, run),
            Cue::Stream(nth) => self.on_stream(id, nth),
            Cue::Client(nth) => self.on_client(nth),
            Cue::Write(nth) => self.on_write(id, nth),
            Cue::Acknowledge(nth) => self.on_acknowledge(nth),
            Cue::BackupAges(nth) => self.on_backup_ages(nth),
        }
    }

    /// A process runs: it may be that of a program or of a server.
    pub(crate) fn on_stage_started(&mut self, id: NodeId, run: RunId) {
        let Some(process) = self.nodes[id.index()].processes.get(&run) else { return };
        let program = process.script.program.clone();
        let Some(stage) = self.stage.as_deref_mut() else { return };
        match program.and_then(|name| stage.library.get(&name).cloned()) {
            Some(block) => {
                stage.machines.insert((id, run), Machine::new(block));
                self.drive(id, run);
            }
            None => self.on_server_started(id, run),
        }
    }

    /// A process is over: whatever it was, it goes no further.
    pub(crate) fn on_stage_ended(&mut self, id: NodeId, run: RunId) {
        let Some(stage) = self.stage.as_deref_mut() else { return };
        match stage.machines.remove(&(id, run)) {
            Some(_) => self.agenda.remove(id, Happening::Stage(Cue::Step(run))),
            None => self.on_server_over(id, run),
        }
    }

    /// The container has a new life: what is on no volume is lost.
    pub(crate) fn on_stage_birth(&mut self, id: NodeId) {
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let Some(room) = stage.rooms.get_mut(id.index()) else { return };
        room.environment = room.home.environment.clone();
        room.held.clear();
        if room.home.has_volume {
            return self.tell_truth();
        }
        room.files.clear();
        if let Some(config) = room.first_config.clone() {
            self.nodes[id.index()].file = Ok(config);
        }
        stage.databases.iter_mut().for_each(|database| database.on_disk_lost(id));
        self.tell_truth();
    }

    /// The supervisor has set a variable for its children.
    pub(crate) fn on_stage_variable(&mut self, id: NodeId, name: &str, value: Option<&str>) {
        let room = self.stage.as_deref_mut().and_then(|stage| stage.rooms.get_mut(id.index()));
        let Some(room) = room else { return };
        match value {
            Some(value) => room.environment.insert(Arc::from(name), Arc::from(value)),
            None => room.environment.remove(name),
        };
    }

    /// What came while the container was frozen comes now.
    pub(crate) fn on_stage_thawed(&mut self, id: NodeId) {
        let room = self.stage.as_deref_mut().and_then(|stage| stage.rooms.get_mut(id.index()));
        let held = room.map(|room| core::mem::take(&mut room.held)).unwrap_or_default();
        for cue in held {
            self.on_cue(id, cue);
        }
        self.stream_all();
        self.tell_truth();
    }

    /// Lets a program go on until it waits for something.
    fn drive(&mut self, id: NodeId, run: RunId) {
        loop {
            let now = self.now();
            let node = &self.nodes[id.index()];
            let Some(stage) = self.stage.as_deref_mut() else { return };
            let Some(machine) = stage.machines.get_mut(&(id, run)) else { return };
            let room = &mut stage.rooms[id.index()];
            let scope = Scope {
                node: &node.name,
                seconds: now.0 / 1_000_000_000,
                clock: node.clock.stamp(now).wall_ms.div_euclid(1000),
                files: &room.files,
                environment: &room.environment,
            };
            match machine.advance(scope, &stage.library) {
                Want::Save(file, text) if text.is_empty() => drop(room.files.remove(&file)),
                Want::Save(file, text) => drop(room.files.insert(file, text)),
                Want::Sleep(nth, span) => {
                    let draws =
                        node.processes.get(&run).map(|process| process.script.draws.clone());
                    let time = draws.unwrap_or_default().draw(nth, span);
                    if time != span.from {
                        self.tell(id, run, Told::Drawn(nth, time));
                    }
                    return self.agenda.put(now + time, id, Happening::Stage(Cue::Step(run)));
                }
                Want::Ask(nth, asked) => {
                    return self.ask_for(id, run, nth, *asked);
                }
                Want::Exit(status, why) => return self.end_program(id, run, status, why),
            }
        }
    }

    fn end_program(&mut self, id: NodeId, run: RunId, status: u8, why: Arc<str>) {
        if !why.is_empty() && status != 0 {
            self.tell(id, run, Told::Ended(why));
        }
        self.end_process(id, run, ExitStatus::Code(status));
    }

    fn tell(&mut self, id: NodeId, run: RunId, told: Told) {
        let now = self.now();
        self.observer.tap().put(Level::Everything, now, id, || Seen::Told(run, told));
    }

    /// A program asks somebody for something.
    fn ask_for(&mut self, id: NodeId, run: RunId, nth: u32, asked: Asked) {
        let now = self.now();
        let node = &self.nodes[id.index()];
        let call = CallId { node: id, life: node.lives, run, nth };
        let (peer, link) = (asked.verb.of(), node.link);
        let is_remote = peer == Peer::Consul || asked.on.is_some();
        let open = Open { asked, reply: None };
        if let Some(stage) = self.stage.as_deref_mut() {
            stage.open.insert(call, open);
        }
        if !is_remote {
            return self.ask_at_home(call);
        }
        self.put_cue(now + PATIENCE, Cue::Expires(call));
        let random = self.random_of_call(call);
        let link = if peer == Peer::Consul { link } else { Link::default() };
        let has_nobody = peer == Peer::Consul && self.catalog.is_none();
        if has_nobody || link.state == LinkState::Refused {
            self.reply(call, Outcome::bad("unreachable", "connection refused"), AT_HOME);
        } else if let Some(after) = link.send(random) {
            self.put_cue(now + after, Cue::Reaches(call));
        }
    }

    fn random_of_call(&self, call: CallId) -> Random {
        self.random.stream("calls").keyed(call.pack())
    }

    fn put_cue(&mut self, at: Time, cue: Cue) {
        self.agenda.put(at, CATALOG, Happening::Stage(cue));
    }

    fn reply(&mut self, call: CallId, outcome: Outcome, after: Duration) {
        let at = self.now() + after;
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let Some(open) = stage.open.get_mut(&call) else { return };
        open.reply = Some(outcome);
        self.put_cue(at, Cue::Answer(call));
    }

    /// Asks within the container.
    fn ask_at_home(&mut self, call: CallId) {
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let Some(open) = stage.open.get(&call) else { return };
        let asked = open.asked.clone();
        let argument = asked.arguments.first().cloned().unwrap_or_default();
        let outcome = match asked.verb.of() {
            Peer::Database => self.operate(call.node, call.node, &asked),
            Peer::Supervisor => self.ask_supervisor(call.node, asked.verb, &argument),
            Peer::Store => self.ask_store(),
            Peer::Reader | Peer::Consul => {
                self.tell(call.node, call.run, Told::Said(argument));
                Outcome::is(true)
            }
        };
        self.reply(call, outcome, AT_HOME);
    }

    fn ask_store(&self) -> Outcome {
        match self.stage.as_deref().is_some_and(|stage| stage.is_store_away) {
            true => Outcome::bad("unreachable", "the store of backups does not answer"),
            false => Outcome::is(true),
        }
    }

    fn ask_supervisor(&mut self, id: NodeId, verb: Verb, argument: &str) -> Outcome {
        let command = match verb {
            Verb::Configure => return self.configure(id, argument),
            Verb::Reload => Control::Reload { all: argument == "all" },
            Verb::RestartJob => Control::RestartJob { job: Box::from(argument) },
            _ => Control::Maintenance(!argument.is_empty()),
        };
        self.requests += 1;
        let request = RequestId(self.requests);
        self.deliver(id, Input::Control { request, command });
        Outcome::is(true)
    }

    fn configure(&mut self, id: NodeId, name: &str) -> Outcome {
        let room = self.stage.as_deref().and_then(|stage| stage.rooms.get(id.index()));
        let config = room.and_then(|room| match name {
            "" => room.first_config.clone(),
            name => room.home.variants.get(name).cloned(),
        });
        let Some(config) = config else {
            return Outcome::bad("invalid", format!("there is no variant \"{name}\""));
        };
        self.nodes[id.index()].file = Ok(config);
        Outcome::is(true)
    }

    fn on_call_reaches(&mut self, call: CallId) {
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let Some(asked) = stage.open.get(&call).map(|open| open.asked.clone()) else { return };
        if let Some(target) = &asked.on {
            return self.reach_server(call, &target.clone(), &asked);
        }
        let Some(request) = calls::encode(&asked) else { return };
        let mut name = REQUESTS << 48 | call.pack() >> 16;
        while stage.requests.contains_key(&name) {
            name = REQUESTS << 48 | mix(name) >> 16;
        }
        stage.requests.insert(name, call);
        let agent = self.agent_of(call.node);
        let id = consul::RequestId(name);
        self.feed_catalog(consul::Input::Request { id, agent, request });
    }

    fn reach_server(&mut self, call: CallId, target: &Arc<str>, asked: &Asked) {
        let own = self.nodes[call.node.index()].name.clone();
        let target = &self.node_at(target).unwrap_or_else(|| target.clone());
        let place = self.nodes.iter().position(|node| node.name == *target);
        let Some(place) = place.and_then(|place| u16::try_from(place).ok()) else {
            let outcome = Outcome::bad("invalid", format!("no node \"{target}\""));
            return self.reply(call, outcome, AT_HOME);
        };
        let is_open = self.stage.as_deref().is_some_and(|stage| stage.is_open(&own, target));
        let node = &self.nodes[usize::from(place)];
        if !is_open || node.exit.is_some() || self.is_held(NodeId(place), Cue::Reaches(call)) {
            return;
        }
        let outcome = self.operate(call.node, NodeId(place), asked);
        self.reply(call, outcome, AT_HOME);
    }

    /// Consul has answered a program; tells whether it was one.
    pub(crate) fn on_program_output(&mut self, output: &Output) -> bool {
        if output.id.0 >> 48 != REQUESTS {
            return false;
        }
        let Some(stage) = self.stage.as_deref_mut() else { return true };
        let Some(call) = stage.requests.remove(&output.id.0) else { return true };
        let Some(open) = stage.open.get(&call) else { return true };
        let verb = open.asked.verb;
        let outcome = match &output.response {
            None => Outcome::bad("unreachable", "connection closed"),
            Some(response) => calls::decode(verb, response, |address| self.node_at(address)),
        };
        let link = self.nodes[call.node.index()].link;
        let back = link.bring_back(self.random_of_call(call).stream("back"));
        if let Some(after) = back {
            self.reply(call, outcome, after);
        }
        true
    }

    /// Finds the node whose services have an address.
    pub(crate) fn node_at(&self, address: &str) -> Option<Arc<str>> {
        let address = address.parse().ok()?;
        let has_it = |node: &&crate::node::Node| {
            let mut jobs = node.engine.config().jobs.iter();
            jobs.any(|job| job.service.as_ref().is_some_and(|it| it.address == Some(address)))
        };
        self.nodes.iter().find(has_it).map(|node| node.name.clone())
    }

    fn on_call_answer(&mut self, call: CallId) {
        if self.is_held(call.node, Cue::Answer(call)) {
            return;
        }
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let Some(open) = stage.open.remove(&call) else { return };
        self.agenda.remove(CATALOG, Happening::Stage(Cue::Expires(call)));
        let outcome = open.reply.unwrap_or(Outcome::bad("unreachable", "no answer"));
        self.take_answer(call, outcome);
    }

    fn on_call_expires(&mut self, call: CallId) {
        let Some(stage) = self.stage.as_deref_mut() else { return };
        if stage.open.remove(&call).is_none() {
            return;
        }
        let name = stage.requests.iter().find(|(_, one)| **one == call).map(|(name, _)| *name);
        if let Some(name) = name {
            stage.requests.remove(&name);
            self.feed_catalog(consul::Input::Cancel { id: consul::RequestId(name) });
        }
        self.agenda.remove(CATALOG, Happening::Stage(Cue::Reaches(call)));
        self.agenda.remove(CATALOG, Happening::Stage(Cue::Answer(call)));
        self.take_answer(call, Outcome::bad("unreachable", "no answer in time"));
    }

    /// A program learns what came of its call, if it still runs.
    fn take_answer(&mut self, call: CallId, outcome: Outcome) {
        if self.nodes[call.node.index()].lives != call.life {
            return;
        }
        let Some(stage) = self.stage.as_deref_mut() else { return };
        let Some(machine) = stage.machines.get_mut(&(call.node, call.run)) else { return };
        if machine.open_call() != Some(call.nth) {
            return;
        }
        match machine.answer(outcome) {
            Some(Want::Exit(status, why)) => self.end_program(call.node, call.run, status, why),
            _ => self.drive(call.node, call.run),
        }
    }

    /// Keeps what comes to a frozen container for later.
    pub(crate) fn is_held(&mut self, id: NodeId, cue: Cue) -> bool {
        if self.nodes[id.index()].frozen.is_none() {
            return false;
        }
        let room = self.stage.as_deref_mut().and_then(|stage| stage.rooms.get_mut(id.index()));
        if let Some(room) = room {
            room.held.push(cue);
        }
        true
    }
}

impl Draws {
    /// Draws the how manieth time of a process: as often evenly as by scale.
    fn draw(&self, nth: u32, span: crate::explore::Span) -> Duration {
        match self {
            Draws::Shortest => span.from,
            Draws::Seeded(seed) => {
                let random = Random::new(*seed).keyed(u64::from(nth));
                if random.stream("evenly").happens(500_000) {
                    return span.draw(random);
                }
                let micros = |time: Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
                let (from, to) = (micros(span.from), micros(span.to));
                Duration::from_micros(random.stream("value").between(from, to))
            }
            Draws::Listed(list) => list.get(&nth).copied().unwrap_or(span.from),
        }
    }
}
