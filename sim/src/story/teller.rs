//! Tells a story from lines: of a simulated run, or of a recorded one.

mod applications;
mod recording;
mod step;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use steersman_engine::config::{Config, Name};
use steersman_engine::{Effect, Engine, Input, JobId, RunId, RunKind, Stamp, Time};

pub use recording::tell_recording;

use super::{Lane, LaneKind, Mark, MarkKind, Story, Stretch, Tone, Verdict};
use super::{fold, sentences};
use crate::explore::manner::Manners;
use crate::explore::{Plan, Setting, replay};
use crate::observer::Fact;
use crate::property::{Breach, Suite};
use crate::tap::{Level, Line, Seen};
use crate::world::Action;

/// More marks than this are not shown: nobody reads them, and the page would not open.
const MARKS_MAX: usize = 2_000;
/// So many are kept until what repeats itself has been folded.
const MARKS_KEPT: usize = 20_000;

/// Listens to lines and makes a story of them.
#[derive(Debug)]
pub struct Teller {
    story: Story,
    nodes: Vec<NodeTale>,
    manners: Manners,
    lanes: BTreeMap<(usize, LaneKind, Box<str>), usize>,
    open: BTreeMap<(usize, bool), usize>,
    databases: Vec<applications::DatabaseTale>,
    /// What checks have said, by node and job: once is enough.
    heard: BTreeSet<(usize, JobId, bool, Box<str>)>,
    quiet_checks: u64,
    dropped: u64,
}

/// What is known of a node while its story is told.
#[derive(Debug)]
struct NodeTale {
    name: Arc<str>,
    lane: usize,
    /// The same engine with the same inputs: it knows which job is in which slot.
    shadow: Engine,
    shadow_effects: Vec<Effect>,
    last_start: BTreeMap<JobId, usize>,
    last_mark: BTreeMap<RunId, usize>,
    check_failing: BTreeMap<JobId, bool>,
    /// The mark of the last request over the control plane.
    last_asked: Option<usize>,
    step: Option<Step>,
}

/// One input with its effects, told as a whole.
#[derive(Debug)]
struct Step {
    at: Time,
    input: Input,
    effects: Vec<Effect>,
}

impl Teller {
    /// Begins a story of some nodes.
    pub fn new<'a>(
        title: &str,
        nodes: impl IntoIterator<Item = (&'a str, &'a Config)>,
        manners: Manners,
    ) -> Teller {
        let story = Story { title: title.to_owned(), ..Story::default() };
        let mut teller = Teller {
            story,
            nodes: Vec::new(),
            manners,
            lanes: BTreeMap::new(),
            open: BTreeMap::new(),
            databases: Vec::new(),
            heard: BTreeSet::new(),
            quiet_checks: 0,
            dropped: 0,
        };
        for (name, config) in nodes {
            teller.add_node(name, config);
        }
        teller
    }

    fn add_node(&mut self, name: &str, config: &Config) {
        let id = self.nodes.len();
        let name: Arc<str> = Arc::from(name);
        let lane = self.lane_of(id, &name, LaneKind::Node, &name);
        for job in &config.jobs {
            self.lane_of(id, &name, LaneKind::Job, &job.name);
        }
        for watch in &config.watches {
            self.lane_of(id, &name, LaneKind::Watch, &watch.name);
        }
        for lock in &config.locks {
            self.lane_of(id, &name, LaneKind::Lock, &lock.name);
        }
        self.nodes.push(NodeTale {
            name,
            lane,
            shadow: Engine::new(config.clone(), 0),
            shadow_effects: Vec::new(),
            last_start: BTreeMap::new(),
            last_mark: BTreeMap::new(),
            check_failing: BTreeMap::new(),
            last_asked: None,
            step: None,
        });
    }

    /// Takes in one line.
    pub fn listen(&mut self, line: &Line) {
        let node = line.node.index();
        self.story.end = self.story.end.max(line.at);
        match &line.seen {
            Seen::Action(action) => self.on_action(line.at, node, action),
            Seen::Input(stamp, input) => self.on_input(line.at, node, *stamp, input),
            Seen::Effect(effect) => {
                if let Some(step) = &mut self.nodes[node].step {
                    step.effects.push((**effect).clone());
                }
            }
            Seen::Digest(_) => self.tell_step(node),
            Seen::Fact(fact) => self.on_fact(line.at, node, *fact),
            Seen::Killed => self.on_killed(line.at, node),
            Seen::Born(config) => self.on_born(line.at, node, config),
            Seen::Told(run, told) => self.on_told(line.at, node, *run, told),
            Seen::Truth(nth, truth) => self.on_truth(line.at, *nth, truth),
            Seen::Cast(run, _, job, script) => {
                let name = self.nodes[node].name.clone();
                let ordinary = self.manners.ordinary(&(name, job.clone(), run.kind), line.at);
                let parts = sentences::difference(script, &ordinary);
                if !parts.is_empty() {
                    let lane = self.job_lane(node, run.job);
                    let whose = whose(*run, job);
                    let what = format!("{whose}: {}", parts.join("; "));
                    self.begin_stretch(line.at, lane, Tone::Fault, what);
                }
            }
        }
    }

    /// Ends the story.
    pub fn finish(mut self, breach: Option<&Breach>) -> Story {
        for node in 0..self.nodes.len() {
            self.tell_step(node);
        }
        if let Some(breach) = breach {
            let named = |tale: &NodeTale| Some(&tale.name) == breach.node.as_ref();
            let lane = self.nodes.iter().find(|tale| named(tale)).map_or(0, |tale| tale.lane);
            let lane = self.lane_in(&breach.what, lane);
            let why = format!("The property \"{}\" is broken here.", breach.property);
            let cause = self.story.marks.len().checked_sub(1);
            self.put(breach.at, lane, MarkKind::Breach, breach.what.clone(), why, cause);
            self.story.end = self.story.end.max(breach.at);
            self.story.verdict = Some(Verdict {
                property: breach.property.to_string(),
                what: breach.what.clone(),
                at: breach.at,
            });
        }
        self.dropped += fold::fold(&mut self.story, MARKS_MAX);
        self.story.drop_bare_lanes();
        if self.quiet_checks > 0 {
            let count = self.quiet_checks;
            let note = format!("{count} health checks that changed nothing are not shown.");
            self.story.notes.push(note);
        }
        if self.dropped > 0 {
            let count = self.dropped;
            let note =
                format!("{count} more things happened; only the first {MARKS_MAX} are shown.");
            self.story.notes.push(note);
        }
        self.story
    }

    /// Finds the lane of the job that a text quotes.
    fn lane_in(&self, what: &str, node_lane: usize) -> usize {
        let node = &self.story.lanes[node_lane].node;
        let quoted = what.split('"').nth(1);
        let is_it = |lane: &Lane| lane.kind == LaneKind::Job && Some(&*lane.name) == quoted;
        let found = self.story.lanes.iter().position(|lane| is_it(lane) && lane.node == *node);
        found.unwrap_or(node_lane)
    }

    fn on_action(&mut self, at: Time, node: usize, action: &Action) {
        let lane = match action {
            Action::Catalog(_) => self.consul_lane(),
            _ => self.nodes[node].lane,
        };
        let (what, why) = match action {
            Action::Pause => {
                let what = String::from("the supervisor is held up");
                self.begin_stretch(at, lane, Tone::Fault, what.clone());
                (what, "Its own process does not run; its children go on.")
            }
            Action::Resume => {
                self.end_stretch(at, lane, true);
                (String::from("the supervisor goes on"), "It takes in all that has happened.")
            }
            Action::StepWall(by_ms) => {
                let what = format!("the wall clock is set by {by_ms} ms");
                (what, "The monotonic clock goes on as before.")
            }
            Action::ClockRate(rate_ppm) => {
                let what = format!("the clocks run {rate_ppm} millionths too fast");
                (what, "Every deadline of this node comes early or late.")
            }
            Action::WriteConfig(Ok(_)) => {
                (String::from("the configuration file is changed"), "A reload will read it.")
            }
            Action::WriteConfig(Err(_)) => {
                (String::from("the configuration file is broken"), "A reload will find that.")
            }
            Action::EndProcess(run, _) => {
                let job = self.job_name(node, run.job);
                (format!("\"{job}\" is ended from elsewhere"), "As the memory killer does.")
            }
            Action::Link(_)
            | Action::Latency(..)
            | Action::Loss(_)
            | Action::Duplication(_)
            | Action::Catalog(_)
            | Action::Agent(_)
            | Action::EndJob(..)
            | Action::EndCheck(..)
            | Action::Break(_)
            | Action::StoreAway(_)
            | Action::Move(_)
            | Action::Crash
            | Action::Way { .. }
            | Action::StopContainer(_)
            | Action::StartContainer
            | Action::Freeze
            | Action::Thaw
            | Action::BarKeeper(_)
            | Action::WriteFile { .. } => action.in_words(),
            // What goes in as an input is told there.
            Action::Signal(_) | Action::Control(_) | Action::Inject(_) => return,
        };
        self.put(at, lane, MarkKind::Outside, what, why.to_owned(), None);
    }

    /// The container ended by force: what its supervisor was doing is over.
    fn on_killed(&mut self, at: Time, node: usize) {
        self.tell_step(node);
        let lane = self.nodes[node].lane;
        self.end_node(at, node);
        let what = String::from("the container is gone");
        let why = String::from("Its supervisor had no say; everything in it ended with it.");
        self.put(at, lane, MarkKind::Kill, what, why, None);
    }

    fn on_born(&mut self, at: Time, node: usize, config: &Config) {
        self.tell_step(node);
        self.end_node(at, node);
        let tale = &mut self.nodes[node];
        tale.shadow = Engine::new(config.clone(), 0);
        tale.last_start.clear();
        tale.last_mark.clear();
        tale.check_failing.clear();
        let (lane, what) = (tale.lane, String::from("the container starts"));
        let why = String::from("It knows nothing of its life before.");
        self.put(at, lane, MarkKind::Start, what, why, None);
    }

    /// Nothing of a node goes on any longer but what is wrong with its surroundings.
    fn end_node(&mut self, at: Time, node: usize) {
        let own = self.lanes.iter().filter(|((owner, kind, _), _)| {
            *owner == node && !matches!(kind, LaneKind::Service | LaneKind::Link)
        });
        let own: Vec<usize> = own.map(|(_, lane)| *lane).collect();
        for lane in own {
            self.end_stretch(at, lane, false);
            self.end_stretch(at, lane, true);
        }
    }

    fn on_input(&mut self, at: Time, node: usize, stamp: Stamp, input: &Input) {
        self.tell_step(node);
        let tale = &mut self.nodes[node];
        tale.shadow_effects.clear();
        tale.shadow.handle(stamp, input.clone(), &mut tale.shadow_effects);
        tale.step = Some(Step { at, input: input.clone(), effects: Vec::new() });
    }

    fn on_fact(&mut self, at: Time, node: usize, fact: Fact) {
        match fact {
            Fact::ProcessStarted(run) if run.kind == RunKind::Main => {
                let lane = self.job_lane(node, run.job);
                let what = format!("run {} is running", run.nth);
                self.begin_stretch(at, lane, Tone::Running, what);
            }
            Fact::ProcessEnded(run, status) => {
                let lane = self.job_lane(node, run.job);
                let name = self.job_name(node, run.job);
                let cause = self.nodes[node].last_mark.get(&run).copied();
                if run.kind == RunKind::Check {
                    let was = self.nodes[node].check_failing.insert(run.job, !status.is_success());
                    if was == Some(!status.is_success()) {
                        self.quiet_checks += 1;
                        return;
                    }
                    let (kind, how) = match status.is_success() {
                        true => (MarkKind::Good, "passes"),
                        false => (MarkKind::Bad, "fails"),
                    };
                    let why =
                        format!("Check {} of \"{name}\" {}.", run.nth, sentences::ended(status));
                    let cause = self.nodes[node].last_start.get(&run.job).copied();
                    let mark = self.put(at, lane, kind, format!("check {how}"), why, cause);
                    self.nodes[node].last_mark.insert(run, mark);
                    return;
                }
                let kind = if status.is_success() { MarkKind::Good } else { MarkKind::Bad };
                let what = format!("run {} {}", run.nth, sentences::ended(status));
                let why = match cause.map(|cause| self.story.marks[cause].kind) {
                    Some(MarkKind::Signal | MarkKind::Kill) => {
                        format!("The process of \"{name}\" got a signal and ended.")
                    }
                    _ => format!("The process of \"{name}\" ended by itself."),
                };
                let mark = self.put(at, lane, kind, what, why, cause);
                self.nodes[node].last_mark.insert(run, mark);
                let what = format!("what run {} left behind", run.nth);
                self.begin_stretch(at, lane, Tone::LeftBehind, what);
            }
            Fact::TreeGone(run) if run.kind == RunKind::Main => {
                let lane = self.job_lane(node, run.job);
                self.end_stretch(at, lane, false);
                self.end_stretch(at, lane, true);
            }
            Fact::TreeGone(run) => {
                let lane = self.job_lane(node, run.job);
                if self.is_faulty(lane, "check") {
                    self.end_stretch(at, lane, true);
                }
            }
            Fact::ProcessStarted(_) => {}
        }
    }

    fn is_faulty(&self, lane: usize, whose: &str) -> bool {
        let open = self.open.get(&(lane, true)).map(|index| &self.story.stretches[*index]);
        open.is_some_and(|stretch| stretch.what.starts_with(whose))
    }

    fn put(
        &mut self,
        at: Time,
        lane: usize,
        kind: MarkKind,
        what: String,
        why: String,
        cause: Option<usize>,
    ) -> usize {
        if self.story.marks.len() >= MARKS_KEPT && kind != MarkKind::Breach {
            self.dropped += 1;
            return self.story.marks.len() - 1;
        }
        let cause = cause.filter(|cause| *cause < self.story.marks.len());
        self.story.marks.push(Mark { at, lane, kind, what, why, cause });
        self.story.marks.len() - 1
    }

    fn begin_stretch(&mut self, at: Time, lane: usize, tone: Tone, what: String) {
        let is_fault = tone == Tone::Fault;
        self.end_stretch(at, lane, is_fault);
        if self.story.stretches.len() < MARKS_KEPT {
            self.open.insert((lane, is_fault), self.story.stretches.len());
            self.story.stretches.push(Stretch { from: at, to: None, lane, tone, what });
        }
    }

    fn end_stretch(&mut self, at: Time, lane: usize, is_fault: bool) {
        if let Some(index) = self.open.remove(&(lane, is_fault)) {
            self.story.stretches[index].to = Some(at);
        }
    }

    /// Lets what goes on go on in another tone.
    fn retone(&mut self, at: Time, lane: usize, tone: Tone, what: &str) {
        if self.open.contains_key(&(lane, false)) {
            self.begin_stretch(at, lane, tone, what.to_owned());
        }
    }

    fn job_name(&self, node: usize, job: JobId) -> Name {
        let shadow = &self.nodes[node].shadow;
        shadow.job(job).map_or_else(|| Name::from(format!("#{}", job.0)), |job| job.name.clone())
    }

    fn job_lane(&mut self, node: usize, job: JobId) -> usize {
        let job = self.job_name(node, job);
        let name = self.nodes[node].name.clone();
        self.lane_of(node, &name, LaneKind::Job, &job)
    }

    /// The lane of Consul itself: it belongs to no node.
    fn consul_lane(&mut self) -> usize {
        let owner = Arc::from("Consul");
        self.lane_of(usize::MAX, &owner, LaneKind::Service, "Consul")
    }

    fn watch_lane(&mut self, node: usize, index: usize) -> usize {
        let config = self.nodes[node].shadow.config().clone();
        let watch = config.watches.get(index).map_or("?", |watch| &*watch.name);
        let name = self.nodes[node].name.clone();
        self.lane_of(node, &name, LaneKind::Watch, watch)
    }

    fn lock_lane(&mut self, node: usize, index: usize) -> usize {
        let config = self.nodes[node].shadow.config().clone();
        let lock = config.locks.get(index).map_or("?", |lock| &*lock.name);
        let name = self.nodes[node].name.clone();
        self.lane_of(node, &name, LaneKind::Lock, lock)
    }

    fn lane_of(&mut self, node: usize, owner: &Arc<str>, kind: LaneKind, name: &str) -> usize {
        let key = (node, kind, Box::from(name));
        *self.lanes.entry(key).or_insert_with(|| {
            let lane = Lane { name: name.to_owned(), kind, node: owner.clone() };
            self.story.lanes.push(lane);
            self.story.lanes.len() - 1
        })
    }
}

/// Runs a plan and tells it.
pub fn tell_plan(title: &str, setting: &Setting, plan: &Plan, suite: &Arc<Suite>) -> Story {
    let performance = replay(setting, plan, suite, Level::Everything);
    let nodes = setting.nodes.iter().map(|node| (&*node.name, &node.config));
    let databases = setting.applications.databases.iter().map(|database| database.name.clone());
    let mut teller = Teller::new(title, nodes, setting.manners.clone()).with_databases(databases);
    performance.lines.iter().for_each(|line| teller.listen(line));
    teller.finish(performance.breach.as_ref())
}

fn whose(run: RunId, job: &str) -> String {
    match run.kind {
        RunKind::Main => format!("run {} of \"{job}\"", run.nth),
        RunKind::Check => format!("check {} of \"{job}\"", run.nth),
    }
}
