//! A run whose order is left open: what has been asked for comes when somebody chooses, within its
//! time, and so does trouble. Every way to choose is a run that a plan can repeat.
//!
//! Time stays true. Whatever is under way may come from half of its ordinary time on and must have
//! come after twice of it, unless it was chosen to linger; the engine's own timers come when they
//! are due. A choice comes as early as it can.

mod canonical;
mod choose;
mod plan;

pub use plan::plan_of;

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{JobId, RunId, RunKind, Time};

use crate::agenda::{Happening, NodeId};
use crate::explore::perform::PlannedParts;
use crate::explore::plan::{Plan, Setting};
use crate::explore::swarm::{Fault, FaultSet};
use crate::node::State;
use crate::observer::Keep;
use crate::property::{Breach, Judge, Suite};
use crate::script::{Child, Start};
use crate::tap::{Level, Line};
use crate::world::{Action, World};

pub use crate::explore::perform::LIVELOCK;

/// What takes no time at all may still be overtaken for so long.
const AT_ONCE: Duration = Duration::from_millis(1);
/// A process that runs for so long is no part of a livelock: its work is progress.
const WORK: Duration = Duration::from_secs(1);
/// Distance between two choices that could come at once.
const STEP: Duration = Duration::from_nanos(1);

/// Everything about a course that does not change.
#[derive(Clone, Debug)]
pub struct Stage {
    /// The nodes.
    pub setting: Arc<Setting>,
    /// What must hold.
    pub suite: Arc<Suite>,
    /// Which kinds of trouble there may be.
    pub faults: FaultSet,
    /// Jobs that only stand for the rest of a configuration: nothing happens to them.
    pub bystanders: Vec<Arc<str>>,
    /// What is done in every run, and when.
    pub scripted: Vec<(Time, Arc<str>, Action)>,
    /// Whether jobs that are alike count as one.
    pub uses_symmetry: bool,
    /// Whether orders that make no difference are tried once.
    pub reduces_order: bool,
    /// Seeds the engines.
    pub seed: u64,
}

impl Stage {
    /// Builds the stage of a setting with every reduction.
    pub fn new(setting: Arc<Setting>, suite: Arc<Suite>, faults: FaultSet) -> Stage {
        Stage {
            setting,
            suite,
            faults,
            bystanders: Vec::new(),
            scripted: Vec::new(),
            uses_symmetry: true,
            reduces_order: true,
            seed: 0,
        }
    }
}

/// One choice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// What is due at a fixed time, the engine's timers above all.
    Clock,
    /// Something that is under way comes.
    Comes(NodeId, Happening),
    /// A process cannot be started, or ends badly.
    Fails(NodeId, RunId),
    /// A process that was to run for ever ends well.
    EndsEarly(NodeId, RunId),
    /// Something that is under way takes as long as it likes.
    Lingers(NodeId, Happening),
    /// A process ends well and leaves a child that ignores everything but SIGKILL.
    Leaves(NodeId, RunId),
    /// Something is done from outside.
    Act(NodeId, Act),
}

/// Something done from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// SIGTERM.
    Stop,
    /// Maintenance is switched.
    Maintenance(bool),
    /// The same configuration is read again.
    Reload,
    /// A job is restarted.
    Restart(JobId),
    /// SIGHUP.
    Hup,
}

/// Why something is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// It was asked for.
    Start,
    /// It does its work.
    Work,
    /// It was asked to end.
    Asked,
    /// It was killed, or its child goes.
    Other,
}

/// Something that is under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    node: NodeId,
    what: Happening,
    earliest: Time,
    /// Never, when it lingers.
    latest: Time,
    cause: Cause,
}

impl Open {
    const fn lingers(&self) -> bool {
        self.latest.0 == Time::NEVER.0
    }
}

/// A run with open choices.
#[derive(Clone, Debug)]
pub struct Course {
    stage: Arc<Stage>,
    /// The job's class, by node and slot: jobs of one class are alike.
    classes: Arc<Vec<Vec<u64>>>,
    world: World,
    judge: Judge,
    open: Vec<Open>,
    faults_left: u32,
    /// When the last trouble was over.
    calm_from: Time,
    scripted_done: usize,
    breach: Option<Breach>,
}

impl Course {
    /// Builds the course that has not begun; so many things may go wrong.
    pub fn new(stage: Arc<Stage>, faults_max: u32, level: Level) -> Course {
        let setting = &stage.setting;
        let mut world = World::new(stage.seed);
        world.observer_mut().keep_no_ledgers();
        world.observer_mut().set_keep(Keep::OracleOnly);
        world.observer_mut().tap().set_level(level.max(Level::Signs));
        let parts = PlannedParts::new(setting, &Plan::default());
        world.playbook().set_director(Arc::new(parts));
        for node in &setting.nodes {
            world.add_node(node.setup(stage.seed), |engine| {
                if let Some(prepare) = &setting.prepare {
                    prepare(engine);
                }
            });
        }
        let mut judge = Judge::new(stage.suite.clone(), Time::NEVER);
        judge.begin(&world);
        let classes = Arc::new(canonical::classes(&stage));
        let open = Vec::new();
        let calm_from = world.now();
        Course {
            stage,
            classes,
            world,
            judge,
            open,
            faults_left: faults_max,
            calm_from,
            scripted_done: 0,
            breach: None,
        }
    }

    /// Gives the time.
    pub const fn now(&self) -> Time {
        self.world.now()
    }

    /// Gives what was broken.
    pub const fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// Gives what is known of the run.
    pub const fn judge(&self) -> &Judge {
        &self.judge
    }

    /// Gives when the last trouble was over.
    pub const fn calm_from(&self) -> Time {
        self.calm_from
    }

    /// Gives how many inputs the engines took in.
    pub const fn inputs(&self) -> u64 {
        self.world.observer().inputs()
    }

    /// Forbids any more trouble.
    pub const fn calm_down(&mut self) {
        self.faults_left = 0;
    }

    fn take(&mut self, choice: &Choice) -> Vec<Line> {
        let at = self.time_of(choice);
        if choice.fault(self).is_some() {
            self.faults_left = self.faults_left.saturating_sub(1);
            self.calm_from = at;
        }
        match *choice {
            Choice::Clock => self.let_clock_run(),
            Choice::Comes(node, what) => {
                let is_late = self.find(node, what).is_some_and(Open::lingers);
                if is_late {
                    self.calm_from = at;
                }
                self.bring(node, what, at, None);
            }
            Choice::Fails(node, run) => self.fail(node, run, at),
            Choice::EndsEarly(node, run) => {
                self.bring(node, Happening::Ended(run), at, Some(ExitStatus::Code(0)));
            }
            Choice::Lingers(node, what) => self.let_linger(node, what),
            Choice::Leaves(node, run) => {
                if let Some(process) = self.world.nodes[node.index()].processes.get_mut(&run) {
                    Arc::make_mut(&mut process.script).leaves =
                        Some(Child { lasts: None, polite: false });
                    if let State::Running { group, .. } = &mut process.state {
                        *group = crate::node::Group::WithChild;
                    }
                }
                self.bring(node, Happening::Ended(run), at, Some(ExitStatus::Code(0)));
            }
            Choice::Act(node, act) => {
                self.world.run_until(at);
                if act == Act::Maintenance(false) {
                    self.calm_from = at;
                }
                let action = self.action(node, act);
                self.world.act(node, action);
            }
        }
        self.look()
    }

    /// Lets the next thing with a fixed time happen.
    fn let_clock_run(&mut self) {
        let scripted = self.stage.scripted.get(self.scripted_done).cloned();
        if let Some((at, node, action)) = scripted
            && self.world.next_due().is_none_or(|due| at < due)
        {
            self.world.run_until(at);
            self.scripted_done += 1;
            self.calm_from = self.calm_from.max(at);
            let index = self.stage.setting.node(&node).unwrap_or_default();
            self.world.act(NodeId(u16::try_from(index).unwrap_or(u16::MAX)), action);
            return;
        }
        self.world.step();
    }

    /// Lets something that is under way happen, now.
    fn bring(&mut self, node: NodeId, what: Happening, at: Time, ends: Option<ExitStatus>) {
        self.hold(node, what, at, ends);
        let came = self.world.step();
        debug_assert_eq!(came.map(|(_, node, what)| (node, what)), Some((node, what)));
    }

    fn fail(&mut self, node: NodeId, run: RunId, at: Time) {
        let Some(process) = self.world.nodes[node.index()].processes.get_mut(&run) else { return };
        if process.state != State::Starting {
            return self.bring(node, Happening::Ended(run), at, Some(ExitStatus::Code(1)));
        }
        let reason = Arc::from("no such file or directory");
        Arc::make_mut(&mut process.script).start = Start::Fails { after: Duration::ZERO, reason };
        self.world.agenda.remove(node, Happening::Started(run));
        self.bring(node, Happening::StartFailed(run), at, None);
    }

    fn let_linger(&mut self, node: NodeId, what: Happening) {
        self.hold(node, what, Time::NEVER, None);
        let found = self.open.iter_mut().find(|open| open.node == node && open.what == what);
        if let Some(open) = found {
            open.latest = Time::NEVER;
        }
    }

    /// Puts something under way to a time, and tells its process.
    fn hold(&mut self, node: NodeId, what: Happening, at: Time, ends: Option<ExitStatus>) {
        if let Happening::Ended(run) = what
            && let Some(process) = self.world.nodes[node.index()].processes.get_mut(&run)
            && let State::Running { end, .. } = &mut process.state
        {
            let known = end.map_or(ExitStatus::Code(0), |(_, status)| status);
            *end = Some((at, ends.unwrap_or(known)));
        }
        self.world.reschedule(at, node, what);
    }

    /// Judges what has happened, and finds what is under way now.
    fn look(&mut self) -> Vec<Line> {
        let mut lines = Vec::new();
        self.world.observer_mut().tap().drain_into(&mut lines);
        self.judge.take_in(&self.world, &lines);
        self.breach = self.judge.breach().cloned();
        self.find_open();
        if self.breach.is_none() && self.is_calm() {
            let overdue = self.judge.patience().map(|within| self.calm_from + within);
            if overdue.is_some_and(|due| self.now() > due) {
                self.breach = self.judge.unsettled(self.now(), self.calm_from);
            }
        }
        lines
    }

    fn find_open(&mut self) {
        let now = self.world.now();
        let mut fresh = Vec::new();
        for (at, node, what) in self.world.agenda() {
            let is_process = matches!(
                what,
                Happening::Started(_)
                    | Happening::StartFailed(_)
                    | Happening::Ended(_)
                    | Happening::TreeGone(_)
            );
            let is_known = |open: &Open| open.latest == at;
            if is_process && !self.find(node, what).is_some_and(is_known) {
                fresh.push((at, node, what));
            }
        }
        let mut open = core::mem::take(&mut self.open);
        open.retain(|open| self.is_under_way(open));
        for (at, node, what) in fresh {
            let known = open.iter().position(|open| open.node == node && open.what == what);
            let was_known = known.map(|place| open.remove(place)).is_some();
            let nominal = at.since(now);
            let one = Open {
                node,
                what,
                earliest: now + nominal / 2,
                latest: now + (nominal * 2).max(AT_ONCE),
                cause: self.cause_of(node, what, was_known),
            };
            self.hold(node, what, one.latest, None);
            open.push(one);
        }
        self.open = open;
    }

    fn cause_of(&self, node: NodeId, what: Happening, was_known: bool) -> Cause {
        match what {
            Happening::Started(_) => Cause::Start,
            Happening::Ended(run) => {
                let process = self.world.nodes[node.index()].processes.get(&run);
                match process.map(|process| process.state) {
                    Some(State::Running { end: Some((_, ExitStatus::Signal(9))), .. }) => {
                        Cause::Other
                    }
                    _ if was_known => Cause::Asked,
                    _ => match process.map(|process| process.script.life) {
                        Some(crate::script::Life::Ends { .. }) => Cause::Work,
                        _ => Cause::Asked,
                    },
                }
            }
            _ => Cause::Other,
        }
    }

    fn is_under_way(&self, open: &Open) -> bool {
        if self.world.agenda.is_due(open.node, open.what).is_some() {
            return true;
        }
        let processes = &self.world.nodes[open.node.index()].processes;
        let state = |run: RunId| processes.get(&run).map(|process| process.state);
        // What lingers is on no agenda. A process whose child is still there has ended already.
        let may_come = match open.what {
            Happening::Started(run) => state(run) == Some(State::Starting),
            Happening::Ended(run) => matches!(state(run), Some(State::Running { .. })),
            _ => false,
        };
        open.lingers() && may_come
    }

    fn find(&self, node: NodeId, what: Happening) -> Option<&Open> {
        self.open.iter().find(|open| open.node == node && open.what == what)
    }

    /// Tells whether all trouble is over.
    fn is_calm(&self) -> bool {
        let is_quiet = |node: &crate::property::view::NodeView| !node.maintenance || node.stopping;
        self.scripted_done == self.stage.scripted.len()
            && !self.open.iter().any(Open::lingers)
            && self.judge.view().nodes.iter().all(is_quiet)
    }

    fn action(&self, node: NodeId, act: Act) -> Action {
        use steersman_engine::event::SignalName;
        match act {
            Act::Stop => Action::Signal(SignalName::Term),
            Act::Hup => Action::Signal(SignalName::Hup),
            Act::Maintenance(on) => Action::Control(Control::Maintenance(on)),
            Act::Reload => Action::Control(Control::Reload { all: false }),
            Act::Restart(job) => {
                let job = Box::from(&*self.world.node(node).job_name(job));
                Action::Control(Control::RestartJob { job })
            }
        }
    }
}

impl Choice {
    /// Tells which kind of trouble it is; none is the ordinary course of things.
    fn fault(&self, course: &Course) -> Option<Fault> {
        let is_check = |run: RunId| run.kind == RunKind::Check;
        Some(match self {
            Choice::Clock | Choice::Comes(..) | Choice::Act(_, Act::Maintenance(false)) => {
                return None;
            }
            Choice::Fails(node, run) => {
                let processes = &course.world.nodes[node.index()].processes;
                let is_starting = |process: &crate::node::Process| process.state == State::Starting;
                match processes.get(run).is_some_and(is_starting) {
                    true => Fault::StartFails,
                    false if is_check(*run) => Fault::CheckFails,
                    false => Fault::Crash,
                }
            }
            Choice::EndsEarly(..) => Fault::EndsEarly,
            Choice::Lingers(node, what) => match (what, course.find(*node, *what)?.cause) {
                (Happening::Started(run) | Happening::Ended(run), _) if is_check(*run) => {
                    Fault::CheckHangs
                }
                (_, Cause::Start) => Fault::SlowStart,
                (_, Cause::Work) => Fault::SlowWork,
                (_, Cause::Asked | Cause::Other) => Fault::SlowStop,
            },
            Choice::Leaves(..) => Fault::Leaves,
            Choice::Act(node, Act::Stop) => {
                let view = course.judge.view();
                match view.nodes.get(node.index()).is_some_and(|node| node.stopping) {
                    true => Fault::StopAgain,
                    false => Fault::Stop,
                }
            }
            Choice::Act(_, Act::Maintenance(true)) => Fault::Maintenance,
            Choice::Act(_, Act::Reload) => Fault::Reload,
            Choice::Act(_, Act::Restart(_)) => Fault::Meddling,
            Choice::Act(_, Act::Hup) => Fault::Signal,
        })
    }
}
