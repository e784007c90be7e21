//! What an onlooker knows at an instant, from signs alone: the engine is never asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::config::{Config, Name};
use steersman_engine::input::ExitStatus;
use steersman_engine::{Code, Effect, Event, RunId, RunKind, Source, Time};

use crate::agenda::NodeId;
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
        View { nodes: world.nodes().map(node).collect(), databases }
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
    fn end(&mut self, status: u8) {
        self.over = Some(status);
        self.paused = false;
    }

    /// The container has a new life: what the old supervisor said is void.
    fn begin_life(&mut self, config: &Config) {
        self.over = None;
        self.stopping = false;
        self.maintenance = false;
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
