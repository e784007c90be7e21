//! Deliberate runs of a plain configuration: what a person would try by hand before trusting it.
//!
//! They show what is no breach of any invariant and still rarely meant: a job that starts only when
//! something goes wrong, a stop that takes longer than container schedulers wait, a dependency that
//! is gone before what depends on it.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::{Clause, Config, Job, Name, SourceName, Trigger};
use steersman_engine::event::{Code, SignalName};
use steersman_engine::input::ExitStatus;
use steersman_engine::{RunKind, Time};

use crate::agenda::NodeId;
use crate::explore::perform::{PlannedParts, raise};
use crate::explore::{Plan, Setting};
use crate::script::{Director, Reaction, Role, Script};
use crate::world::{Action, World};

/// By then everything that waits for nothing out of the ordinary has started.
const CALM: Duration = Duration::from_secs(120);
/// When a stop is asked for.
const STOP_AT: Duration = Duration::from_secs(60);
/// No stop that ends takes longer.
const STOP_MAX: Duration = Duration::from_secs(3600);
/// How long `docker stop` waits before it kills, unless it is told otherwise.
const DOCKER_GRACE: Duration = Duration::from_secs(10);
/// More dependencies than these are not looked at.
const DEPENDENCIES_MAX: usize = 50;
/// The only node of a plain configuration.
const NODE: NodeId = NodeId(0);

/// Makes the runs and says what is to be looked at.
pub(super) fn findings(setting: &Setting) -> Vec<String> {
    let Some(node) = setting.nodes.first() else { return Vec::new() };
    let mut found = waits_for_trouble(setting, &node.config);
    found.extend(slow_stop(setting));
    found.extend(inverted_stop(setting, &node.config));
    found
}

/// How processes take a stop, whatever their manners say.
#[derive(Debug)]
struct Stopping {
    parts: PlannedParts,
    /// What all of them do.
    all: Reaction,
    /// The one that does not, and dies at once.
    but: Option<Arc<str>>,
}

impl Director for Stopping {
    fn script(&self, role: &Role, at: Time, nth: u32) -> Script {
        let script = self.parts.script(role, at, nth);
        let is_one = self.but.as_deref() == Some(&*role.1);
        Script { asked: if is_one { Reaction::Dies } else { self.all }, ..script }
    }
}

fn world(setting: &Setting, all: Reaction, but: Option<Arc<str>>) -> World {
    let parts = PlannedParts::new(setting, &Plan::default());
    let director = Arc::new(Stopping { parts, all, but });
    let mut world = raise(setting, &Plan::default(), director);
    world.run_for(STOP_AT);
    world
}

fn clauses(job: &Job) -> &[Clause] {
    match &job.trigger {
        Trigger::On(one) => core::slice::from_ref(one),
        Trigger::All(all) => all,
        // Any one of them may be the ordinary one.
        Trigger::Any(_) | Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &[],
    }
}

/// Finds jobs that do not start although nothing goes wrong, and were surely meant to.
fn waits_for_trouble(setting: &Setting, config: &Config) -> Vec<String> {
    let parts = PlannedParts::new(setting, &Plan::default());
    let mut world = raise(setting, &Plan::default(), Arc::new(parts));
    world.run_for(CALM);
    let is_idle = |name: &str| world.observer().runs(NODE, name, RunKind::Main).is_empty();
    let idle = config.jobs.iter().filter(|job| job.command.is_some() && is_idle(&job.name));
    let mut found = Vec::new();
    for job in idle {
        let end = clauses(job).iter().find_map(|clause| match (&clause.source, clause.code) {
            (SourceName::Job(other), Code::ExitSuccess) if !is_idle(other) => Some(other),
            _ => None,
        });
        if let Some(other) = end {
            found.push(format!(
                "\"{}\" does not start while nothing goes wrong: it waits for the success of \
                 \"{other}\", which runs until it is stopped",
                job.name
            ));
        }
    }
    found
}

/// Finds a stop that outlasts the patience of whoever asks for it.
fn slow_stop(setting: &Setting) -> Option<String> {
    let mut world = world(setting, Reaction::Ignores, None);
    let asked = world.now();
    world.act(NODE, Action::Signal(SignalName::Term));
    world.run_until_holds(STOP_MAX, |world| world.node(NODE).exit().is_some());
    let (at, _) = world.node(NODE).exit()?;
    let took = at.since(asked);
    (took > DOCKER_GRACE).then(|| {
        format!(
            "a stop takes up to {took:?} when processes ignore it: `docker stop` kills everything \
             after {DOCKER_GRACE:?} unless it is told otherwise, and then nothing is withdrawn"
        )
    })
}

/// Finds dependencies that are gone before what has waited for them.
fn inverted_stop(setting: &Setting, config: &Config) -> Vec<String> {
    let mut pairs = Vec::new();
    for job in config.jobs.iter().filter(|job| job.command.is_some()) {
        for clause in clauses(job).iter().filter(|clause| clause.code == Code::Healthy) {
            if let SourceName::Job(other) | SourceName::Check(other) = &clause.source {
                pairs.push((other.clone(), job.name.clone()));
            }
        }
    }
    pairs.truncate(DEPENDENCIES_MAX);
    let slow = Duration::from_secs(1);
    let asked = Reaction::Ends { after: slow, status: ExitStatus::Code(0) };
    let ended = |world: &World, job: &str| {
        let runs = world.observer().runs(NODE, job, RunKind::Main);
        runs.last().and_then(|run| run.ended).map(|(at, _)| at)
    };
    let is_inverted = |(other, job): &(Name, _)| {
        let mut world = world(setting, asked, Some(other.clone()));
        world.act(NODE, Action::Signal(SignalName::Term));
        world.run_for(Duration::from_secs(60));
        let job: &Name = job;
        match (ended(&world, other), ended(&world, job)) {
            (Some(first), Some(second)) => first < second,
            _ => false,
        }
    };
    pairs.retain(is_inverted);
    let text = |(other, job): (Name, _)| {
        let job: Name = job;
        format!(
            "at a stop \"{other}\" is gone while \"{job}\", which waits for it at the start, still \
             runs: a `drain` of \"{other}\" gives \"{job}\" time to end first"
        )
    };
    pairs.into_iter().map(text).collect()
}
