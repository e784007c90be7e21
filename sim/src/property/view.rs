//! What an onlooker knows at an instant, from signs alone: the engine is never asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::config::{Config, Job, Name};
use steersman_engine::input::ExitStatus;
use steersman_engine::{Code, Effect, Event, RunId, RunKind, Source, Time};

use crate::agenda::NodeId;
use crate::consul;
use crate::database::{Database, Truth};
use crate::observer::Fact;
use crate::tap::{Line, Seen};
use crate::world::{Action, World};

/// What is known of the world.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The nodes, by number.
    pub nodes: Vec<NodeView>,
    /// The databases.
    pub databases: Vec<DatabaseView>,
    /// What Consul holds, when a property speaks of it.
    pub catalog: CatalogView,
}

/// What is true of a database: of it alone the truth is known.
#[derive(Clone, Debug)]
pub struct DatabaseView {
    /// Its name.
    pub name: Arc<str>,
    /// Whose health says that a node is the primary, as a pattern.
    pub primary: Option<Arc<str>>,
    /// Whose health says that a node is a replica, as a pattern.
    pub replica: Option<Arc<str>>,
    /// What is true.
    pub truth: Arc<Truth>,
}

/// What Consul holds: read from the model of it, which nobody in the world can.
#[derive(Clone, Debug, Default)]
pub struct CatalogView {
    /// Which state of it this is.
    version: Option<(u64, u64)>,
    /// Every instance of every service.
    pub services: Vec<consul::Truth>,
    /// The keys that a session holds.
    pub held: Vec<Arc<str>>,
    /// The names of the sessions.
    pub sessions: Vec<Arc<str>>,
}

/// What is known of a lock on a node.
#[derive(Clone, Debug, Default)]
pub struct LockView {
    /// Whether its supervisor says that it has it.
    pub is_held: bool,
    /// The jobs that need it.
    pub jobs: Vec<Name>,
}

/// What is known of a node.
#[derive(Clone, Debug, Default)]
pub struct NodeView {
    /// Its name.
    pub name: Arc<str>,
    /// How its supervisor ended.
    pub over: Option<u8>,
    /// Whether its supervisor is held up.
    pub paused: bool,
    /// Whether it is stopping.
    pub stopping: bool,
    /// Whether it is in maintenance.
    pub maintenance: bool,
    /// Its locks, by name.
    pub locks: BTreeMap<Name, LockView>,
    /// The locks in the order of their numbers, which a reload never changes.
    pub lock_order: Vec<Name>,
    /// Its jobs, by name.
    pub jobs: BTreeMap<Name, JobView>,
}

/// What is known of a job on a node.
#[derive(Clone, Debug, Default)]
pub struct JobView {
    /// Processes of the job itself that run, or have left something behind.
    pub alive: u32,
    /// The job itself, not counting what it left behind.
    pub running: u32,
    /// What its checks say about the present run.
    pub healthy: Option<bool>,
    /// How far its life has come.
    pub stage: Stage,
    /// How many processes ran.
    pub runs: u32,
    /// How the last one ended.
    pub last: Option<ExitStatus>,
    /// When the last ones started, the newest last; bounded.
    pub starts: Vec<Time>,
}

/// How far the life of a job has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has not ended.
    #[default]
    Open,
    /// Its stop sequence is under way.
    Stopping,
    /// It has ended for good.
    Stopped,
    /// It will never run.
    Skipped,
}

/// How many starts of a job are remembered.
pub(crate) const STARTS_KEPT: usize = 512;

impl View {
    /// Builds the view of a world that has not begun.
    pub fn new(world: &World) -> View {
        let node = |(_, node): (NodeId, &crate::node::Node)| NodeView {
            name: Arc::from(node.name()),
            jobs: node
                .engine()
                .config()
                .jobs
                .iter()
                .map(|job| (job.name.clone(), JobView::default()))
                .collect(),
            over: node.exit().map(|(_, status)| status),
            ..NodeView::default()
        };
        let database = |database: &Database| DatabaseView {
            name: database.spec.name.clone(),
            primary: database.spec.primary.clone(),
            replica: database.spec.replica.clone(),
            truth: database.truth().clone(),
        };
        let databases = world.databases().iter().map(database).collect();
        let nodes = world.nodes().map(node).collect();
        let mut view = View { nodes, databases, catalog: CatalogView::default() };
        for (id, node) in world.nodes() {
            view.nodes[id.index()].apply(node.engine().config());
        }
        view
    }

    /// Looks at Consul again; tells whether something was written since.
    pub fn look_at_catalog(&mut self, world: &World) -> bool {
        let Some(consul) = world.catalog() else { return false };
        let version = Some(consul.version());
        if self.catalog.version == version {
            return false;
        }
        let (services, held) = (consul.truths(), consul.held_keys());
        let sessions = consul.session_names();
        self.catalog = CatalogView { version, services, held, sessions };
        true
    }

    /// Takes in one line.
    pub fn take_in(&mut self, world: &World, line: &Line) {
        if let Seen::Truth(nth, truth) = &line.seen {
            if let Some(database) = self.databases.get_mut(usize::from(*nth)) {
                database.truth = truth.clone();
            }
            return;
        }
        let id = line.node;
        let Some(view) = self.nodes.get_mut(id.index()) else { return };
        match &line.seen {
            Seen::Fact(fact) => {
                let run = run_of(*fact);
                if run.kind == RunKind::Main {
                    let job = view.jobs.entry(world.node(id).job_name(run.job)).or_default();
                    job.on_fact(line.at, *fact);
                }
            }
            Seen::Effect(effect) => match &**effect {
                Effect::Published(event) => view.on_event(*event, world, id),
                Effect::Exit { status } => view.end(*status),
                Effect::Applied(config) => view.apply(config),
                _ => {}
            },
            Seen::Action(Action::Pause | Action::Freeze) => view.paused = view.over.is_none(),
            Seen::Action(Action::Resume | Action::Thaw) => {
                view.paused = world.node(id).is_held();
            }
            Seen::Killed => view.end(ExitStatus::Signal(9).code()),
            Seen::Born(config) => view.begin_life(config),
            Seen::Action(_)
            | Seen::Input(..)
            | Seen::Digest(_)
            | Seen::Cast(..)
            | Seen::Told(..)
            | Seen::Truth(..) => {}
        }
    }
}

impl NodeView {
    /// Takes in which locks a configuration has.
    fn apply(&mut self, config: &Config) {
        let mut known = core::mem::take(&mut self.locks);
        for lock in &config.locks {
            if !self.lock_order.contains(&lock.name) {
                self.lock_order.push(lock.name.clone());
            }
            let is_held = known.remove(&lock.name).is_some_and(|lock| lock.is_held);
            let needs = |job: &&Arc<Job>| job.while_lock.as_ref() == Some(&lock.name);
            let jobs = config.jobs.iter().filter(needs).map(|job| job.name.clone()).collect();
            self.locks.insert(lock.name.clone(), LockView { is_held, jobs });
        }
    }

    fn end(&mut self, status: u8) {
        self.over = Some(status);
        self.locks.values_mut().for_each(|lock| lock.is_held = false);
        self.paused = false;
    }

    /// The container has a new life: what the old supervisor said is void.
    fn begin_life(&mut self, config: &Config) {
        self.over = None;
        self.stopping = false;
        self.maintenance = false;
        self.lock_order.clear();
        self.locks.clear();
        self.apply(config);
        for job in &config.jobs {
            self.jobs.entry(job.name.clone()).or_default();
        }
        for job in self.jobs.values_mut() {
            job.healthy = None;
            job.stage = Stage::Open;
        }
    }

    fn on_event(&mut self, event: Event, world: &World, id: NodeId) {
        let Source::Job(slot) = event.source else {
            if let Source::Lock(lock) = event.source {
                let lock = self.lock_order.get(lock.index());
                let Some(lock) = lock.and_then(|name| self.locks.get_mut(name)) else { return };
                match event.code {
                    Code::Acquired => lock.is_held = true,
                    Code::Lost | Code::Released | Code::Observed => lock.is_held = false,
                    _ => {}
                }
                return;
            }
            match event.code {
                Code::Shutdown => self.stopping = true,
                Code::EnterMaintenance => self.maintenance = true,
                Code::ExitMaintenance => self.maintenance = false,
                _ => {}
            }
            return;
        };
        let job = self.jobs.entry(world.node(id).job_name(slot)).or_default();
        match event.code {
            Code::Healthy => job.healthy = Some(true),
            Code::Unhealthy => job.healthy = Some(false),
            Code::Stopping => job.stage = Stage::Stopping,
            Code::Stopped => job.stage = Stage::Stopped,
            Code::Skipped => job.stage = Stage::Skipped,
            _ => {}
        }
    }
}

impl JobView {
    fn on_fact(&mut self, at: Time, fact: Fact) {
        match fact {
            Fact::ProcessStarted(_) => {
                self.alive += 1;
                self.running += 1;
                self.runs += 1;
                self.healthy = None;
                self.stage = Stage::Open;
                if self.starts.len() == STARTS_KEPT {
                    self.starts.remove(0);
                }
                self.starts.push(at);
            }
            Fact::ProcessEnded(_, status) => {
                self.running = self.running.saturating_sub(1);
                self.last = Some(status);
                self.healthy = None;
            }
            // A start that failed is gone without ever having been there.
            Fact::TreeGone(_) => self.alive = self.alive.saturating_sub(1).max(self.running),
        }
    }
}

fn run_of(fact: Fact) -> RunId {
    let (Fact::ProcessStarted(run) | Fact::ProcessEnded(run, _) | Fact::TreeGone(run)) = fact;
    run
}
