//! One run of a plan: the world, what is done to it, and who judges.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use steersman_engine::config::Name;
use steersman_engine::{JobId, RunKind, Time};

use crate::agenda::{Happening, NodeId};
use crate::explore::manner::Manners;
use crate::explore::plan::{Anchor, Casting, Deed, Plan, Point, Setting, When};
use crate::explore::wound::{self, Wound};
use crate::node::NodeSetup;
use crate::observer::Keep;
use crate::property::{Breach, Judge};
use crate::random::mix;
use crate::script::{Director, Role, Script};
use crate::tap::{Level, Line};
use crate::world::{Action, World};

/// A run in which engines take in more than this does not settle: a thousand jobs on two hundred
/// nodes need a tenth of it.
const INPUTS_MAX: u64 = 5_000_000;

/// The property that a supervisor breaks which never comes to rest.
pub const LIVELOCK: &str = "no livelock";

/// So many starts of one job, none of which waited for anything, look like a livelock.
const RESTLESS: u32 = 60;
/// A start that took so long on average had waited for work.
const WORK: Duration = Duration::from_secs(1);

/// What came out of a run.
#[derive(Clone, Debug, Default)]
pub struct Performance {
    /// What was broken first.
    pub breach: Option<Breach>,
    /// Everything that was tapped, in order.
    pub lines: Vec<Line>,
    /// When the run ended.
    pub end: Time,
    /// How many inputs the engines took in.
    pub inputs: u64,
    /// A hash of every state of every engine, in order.
    pub fingerprint: u64,
    /// What deeds have done and none has mended.
    pub wounds: BTreeSet<Wound>,
}

/// Gives the parts of a plan, and the ordinary ones besides.
#[derive(Clone, Debug)]
pub struct PlannedParts {
    names: Vec<Arc<str>>,
    manners: Manners,
    castings: BTreeMap<(u16, Name, RunKind, u32), Script>,
}

impl PlannedParts {
    /// Takes in a plan.
    pub fn new(setting: &Setting, plan: &Plan) -> PlannedParts {
        let key = |casting: &Casting| {
            let node = u16::try_from(setting.node(&casting.node)?).ok()?;
            Some((node, casting.job.clone(), casting.kind, casting.nth))
        };
        let castings = plan.castings.iter();
        let castings = castings.filter_map(|one| Some((key(one)?, one.script.clone()))).collect();
        let names = setting.nodes.iter().map(|node| node.name.clone()).collect();
        PlannedParts { names, manners: setting.manners.clone(), castings }
    }
}

impl Director for PlannedParts {
    fn script(&self, role: &Role, at: Time, nth: u32) -> Script {
        let (node, job, kind) = role;
        let planned = self.castings.get(&(node.0, job.clone(), *kind, nth));
        planned.cloned().unwrap_or_else(|| {
            let name = self.names.get(node.index()).cloned().unwrap_or_default();
            self.manners.ordinary(&(name, job.clone(), *kind), at)
        })
    }
}

/// Runs a plan to its end, or to the first breach.
pub fn perform(
    setting: &Setting,
    plan: &Plan,
    director: Arc<dyn Director>,
    judge: &mut Judge,
    level: Level,
) -> Performance {
    let mut run = Run::new(setting, plan, director, level);
    run.go(judge, plan.end);
    run.close(judge)
}

/// A run up to an instant. Plans that are the same until then go on from it in their own ways.
#[derive(Clone, Debug)]
pub struct Begun {
    world: World,
    judge: Judge,
    until: Time,
    primaries: BTreeMap<Arc<str>, NodeId>,
    restless: Restless,
    wounds: BTreeSet<Wound>,
}

impl Begun {
    /// Runs a plan up to an instant, or to the first breach.
    pub fn new(
        setting: &Setting,
        plan: &Plan,
        director: Arc<dyn Director>,
        mut judge: Judge,
        until: Time,
    ) -> Begun {
        let mut run = Run::new(setting, plan, director, Level::Signs);
        run.begin(&mut judge);
        run.go_on(&mut judge, until);
        let Run { world, primaries, restless, wounds, .. } = run;
        Begun { world, judge, until, primaries, restless, wounds }
    }

    /// Goes on to the end of a plan that was the same so far, or to the first breach. Another judge
    /// may look at the rest.
    pub fn go_on(
        self,
        setting: &Setting,
        plan: &Plan,
        director: Arc<dyn Director>,
        other: Option<Judge>,
        level: Level,
    ) -> (Performance, Judge) {
        let Begun { mut world, judge: own, until, primaries, restless, wounds } = self;
        world.playbook().set_director(director);
        let mut run = Run { primaries, restless, wounds, ..Run::over(setting, world, plan, level) };
        run.deeds.retain(|(at, ..)| *at > until);
        let mut judge = match other {
            None => own.ending(plan.calm_from),
            Some(mut other) => {
                other.begin(&run.world);
                other
            }
        };
        if judge.breach().is_none() && !run.go_on(&mut judge, plan.end) {
            run.end(&mut judge, plan.end);
        }
        (run.close(&judge), judge)
    }
}

/// A deed may be done to whatever node is the primary of a database then.
pub(crate) const PRIMARY_OF: &str = "primary of ";

/// A run under way.
struct Run<'a> {
    setting: &'a Setting,
    world: World,
    /// What is still to be done, the last first.
    deeds: Vec<(Time, usize, &'a Deed)>,
    anchored: Vec<(&'a Anchor, usize, &'a Deed)>,
    primaries: BTreeMap<Arc<str>, NodeId>,
    is_kept: bool,
    kept: Vec<Line>,
    fresh: Vec<Line>,
    restless: Restless,
    wounds: BTreeSet<Wound>,
}

/// Starts in a row that waited for no timer and for nothing from outside.
///
/// Many starts are no livelock yet: a hundred jobs may start at once, one job may react to each of
/// them, and a number of restarts comes to its end. It is one when the engine is in a state in
/// which it has been before.
#[derive(Clone, Debug, Default)]
struct Restless {
    since: Time,
    starts: BTreeMap<(NodeId, JobId), u32>,
    /// The states at the starts of jobs that were started often.
    states: BTreeSet<(NodeId, JobId, u64)>,
}

impl Restless {
    /// Takes in what has happened; tells whether it goes on for ever.
    fn take_in(&mut self, world: &World, (at, node, happening): (Time, NodeId, Happening)) -> bool {
        let run = match happening {
            Happening::Started(run) if run.kind == RunKind::Main => run,
            Happening::Started(_)
            | Happening::StartFailed(_)
            | Happening::Ended(_)
            | Happening::TreeGone(_) => return false,
            _ => {
                self.rest(at);
                return false;
            }
        };
        let starts = self.starts.entry((node, run.job)).or_default();
        *starts += 1;
        if *starts < RESTLESS || at.since(self.since) >= WORK * *starts {
            return false;
        }
        let mut jobs = Vec::new();
        let rest = world.node(node).engine.canonical(&mut jobs);
        let state = jobs.iter().fold(rest, |hash, job| mix(hash ^ job));
        !self.states.insert((node, run.job, state))
    }

    /// Something waited.
    fn rest(&mut self, at: Time) {
        self.since = at;
        if !self.starts.is_empty() {
            self.starts.clear();
            self.states.clear();
        }
    }
}

impl<'a> Run<'a> {
    fn new(
        setting: &'a Setting,
        plan: &'a Plan,
        director: Arc<dyn Director>,
        level: Level,
    ) -> Run<'a> {
        let mut world = raise(setting, plan, director);
        world.observer_mut().set_keep(Keep::OracleOnly);
        Run::over(setting, world, plan, level)
    }

    fn over(setting: &'a Setting, mut world: World, plan: &'a Plan, level: Level) -> Run<'a> {
        world.observer_mut().tap().set_level(level.max(Level::Signs));
        let mut run = Run {
            setting,
            world,
            deeds: Vec::new(),
            anchored: Vec::new(),
            primaries: BTreeMap::new(),
            is_kept: level == Level::Everything,
            kept: Vec::new(),
            fresh: Vec::new(),
            restless: Restless::default(),
            wounds: BTreeSet::new(),
        };
        for (nth, deed) in plan.deeds.iter().enumerate() {
            match &deed.when {
                When::At(at) => run.deeds.push((*at, nth, deed)),
                When::After { anchor, .. } => run.anchored.push((anchor, nth, deed)),
            }
        }
        run.sort_deeds();
        run
    }

    fn go(&mut self, judge: &mut Judge, end: Time) {
        self.begin(judge);
        if !self.go_on(judge, end) {
            self.end(judge, end);
        }
    }

    fn begin(&mut self, judge: &mut Judge) {
        judge.begin(&self.world);
        // What is done at the birth of the world comes before its supervisors have begun.
        while self.deeds.last().is_some_and(|(at, ..)| *at == Time(0)) {
            self.do_next();
        }
    }

    /// Lets everything happen up to an instant; tells whether something is broken.
    fn go_on(&mut self, judge: &mut Judge, end: Time) -> bool {
        loop {
            let due = self.world.next_due().filter(|due| *due <= end);
            let deed = self.deeds.last().map(|(at, ..)| *at).filter(|at| *at <= end);
            match (due, deed) {
                (None, None) => return false,
                (due, Some(at)) if due.is_none_or(|due| at < due) => self.do_next(),
                _ => self.step(judge),
            }
            if self.world.observer().inputs() > INPUTS_MAX {
                judge.give_up(&self.world);
            }
            if self.judge(judge) {
                return true;
            }
        }
    }

    fn end(&mut self, judge: &mut Judge, end: Time) {
        self.world.run_until(end);
        self.world.close();
        self.judge_rest(judge);
        judge.end(&self.world);
    }

    fn close(self, judge: &Judge) -> Performance {
        Performance {
            breach: judge.breach().cloned(),
            end: self.world.now(),
            inputs: self.world.observer().inputs(),
            fingerprint: self.world.fingerprint(),
            lines: self.kept,
            wounds: self.wounds,
        }
    }

    fn judge(&mut self, judge: &mut Judge) -> bool {
        self.world.observer_mut().tap().drain_into(&mut self.fresh);
        judge.take_in(&self.world, &self.fresh);
        match self.is_kept {
            true => self.kept.append(&mut self.fresh),
            false => self.fresh.clear(),
        }
        judge.breach().is_some()
    }

    /// A supervisor that is to stop and waits for nothing never will.
    fn judge_rest(&mut self, judge: &mut Judge) {
        if self.world.next_due().is_some() {
            return;
        }
        let nodes = judge.view().nodes.iter().zip(0..);
        let stuck = nodes.filter(|(node, _)| node.stopping && node.over.is_none() && !node.paused);
        let Some((_, id)) = stuck.last() else { return };
        let has_process = self.world.node(NodeId(id)).live_runs().next().is_some();
        if !has_process {
            let what = "it is to stop, and waits for nothing";
            judge.accuse_node(&self.world, NodeId(id), (LIVELOCK, "stuck"), what);
        }
    }

    fn do_next(&mut self) {
        let Some((at, _, deed)) = self.deeds.pop() else { return };
        if at > Time(0) {
            self.world.run_until(at);
        }
        self.restless.rest(at);
        // What is done to Consul belongs to no node.
        let own = self.node_of(&deed.node);
        let own = own.or_else(|| matches!(deed.action, Action::Catalog(_)).then_some(NodeId(0)));
        if let Some(node) = own {
            self.world.act(node, deed.action.clone());
            wound::note(&mut self.wounds, &deed.node, &deed.action);
        }
    }

    /// Finds the node of a deed; who is the primary at the first such deed stays it for the others.
    fn node_of(&mut self, name: &Arc<str>) -> Option<NodeId> {
        let Some(database) = name.strip_prefix(PRIMARY_OF) else {
            return self.setting.node(name).and_then(|node| u16::try_from(node).ok()).map(NodeId);
        };
        if let Some(known) = self.primaries.get(name) {
            return Some(*known);
        }
        let found = self.world.database(database)?.truth().primary()?;
        self.primaries.insert(name.clone(), found);
        Some(found)
    }

    fn step(&mut self, judge: &mut Judge) {
        let Some((at, node, happening)) = self.world.step() else { return };
        if self.restless.take_in(&self.world, (at, node, happening)) {
            let what = "it comes back to the same state again and again, and nothing in it waits";
            judge.accuse_node(&self.world, node, (LIVELOCK, "round"), what);
        }
        if !self.anchored.is_empty() {
            self.release(node, happening);
        }
    }

    /// Finds a time for the deeds that waited for something that has just happened.
    fn release(&mut self, node: NodeId, happening: Happening) {
        let Some(name) = self.name_of(node, happening) else { return };
        let now = self.world.now();
        let before = self.deeds.len();
        self.anchored.retain(|(anchor, nth, deed)| {
            if **anchor != name {
                return true;
            }
            if let When::After { delay, .. } = &deed.when {
                self.deeds.push((now + *delay, *nth, deed));
            }
            false
        });
        if self.deeds.len() > before {
            self.sort_deeds();
        }
    }

    fn sort_deeds(&mut self) {
        self.deeds.sort_by_key(|(at, nth, _)| core::cmp::Reverse((*at, *nth)));
    }

    fn name_of(&self, id: NodeId, happening: Happening) -> Option<Anchor> {
        anchor_of(&self.world, id, happening)
    }
}

/// Builds the world of a plan, in which nothing has happened yet.
pub(crate) fn raise(setting: &Setting, plan: &Plan, director: Arc<dyn Director>) -> World {
    let mut world = World::new(plan.seed);
    if plan.ties {
        world.draw_ties();
    }
    world.playbook().set_director(director);
    if let Some(consul) = &setting.consul {
        consul.build(&mut world, &setting.nodes, plan.seed);
    }
    world.add_applications(&setting.applications);
    for (index, node) in setting.nodes.iter().enumerate() {
        let agent = setting.consul.as_ref().map(|consul| consul.agent_of(index));
        let setup = NodeSetup { agent, ..node.setup(plan.seed) };
        let id = world.add_node(setup, |engine| {
            if let Some(prepare) = &setting.prepare {
                prepare(engine);
            }
        });
        world.furnish(id, &node.home);
    }
    world
}

/// Names what happened to a process.
pub(crate) fn anchor_of(world: &World, id: NodeId, happening: Happening) -> Option<Anchor> {
    let (run, point) = match happening {
        Happening::Started(run) | Happening::StartFailed(run) => (run, Point::Started),
        Happening::Ended(run) => (run, Point::Ended),
        _ => return None,
    };
    let node = world.node(id);
    let (job, nth) = (node.job_name(run.job), node.number_of(run));
    Some(Anchor { node: Arc::from(node.name()), job, kind: run.kind, nth, point })
}
