//! What must never happen, judged from what goes over the engine's boundary and from the truth
//! about the processes. Shares no code with the engine.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::config::{Clause, Config, Job, Name, Signal, Trigger};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{Code, Effect, Event, Input, JobId, RunId, RunKind, Source, Time};

use crate::agenda::NodeId;
use crate::observer::Fact;

/// By how much a stop may take longer than its budget.
const STOP_SLACK: Duration = Duration::from_secs(1);

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Time,
    /// On which node.
    pub node: NodeId,
    /// What happened, for people.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_nanos(self.at.0).as_secs_f64();
        write!(f, "{seconds:.3}s node {}: {}", self.node.0, self.what)
    }
}

/// Judges every line of the story as it comes.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    nodes: Vec<NodeView>,
    violations: Vec<Violation>,
}

/// What the oracle knows about one node.
#[derive(Clone, Debug, Default)]
struct NodeView {
    jobs: BTreeMap<Name, Arc<Job>>,
    stop_timeout: Duration,
    stop_asked: Option<Time>,
    hurried: bool,
    maintenance: bool,
    over: bool,
    cause: Cause,
    runs: BTreeMap<RunId, RunView>,
    health: BTreeMap<JobId, (bool, u32)>,
    last_check: Option<(RunId, Time)>,
}

/// The input being handled, as far as it explains effects.
#[derive(Clone, Debug, Default, PartialEq)]
enum Cause {
    #[default]
    Other,
    Kill,
    Ended(RunId, ExitStatus),
    NotStarted(RunId),
}

/// What the oracle knows about one run that is not completely gone.
#[derive(Clone, Debug)]
struct RunView {
    job: Name,
    asked: Time,
    started: Option<Time>,
    ended: bool,
    stop_sent: Option<Time>,
    kill_sent: bool,
}

impl Oracle {
    /// Gives what happened and must not have.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn blame(&mut self, at: Time, node: NodeId, what: String) {
        self.violations.push(Violation { at, node, what });
    }

    pub(crate) fn on_node(&mut self, config: &Config) {
        let mut node = NodeView::default();
        node.apply(config);
        self.nodes.push(node);
    }

    pub(crate) fn on_fact(&mut self, mono: Time, id: NodeId, fact: Fact) {
        let node = &mut self.nodes[id.index()];
        let runs = &mut node.runs;
        match fact {
            Fact::ProcessStarted(run) => {
                if let Some(view) = runs.get_mut(&run) {
                    view.started = Some(mono);
                }
            }
            Fact::ProcessEnded(run, _) => {
                if let Some(view) = runs.get_mut(&run) {
                    view.ended = true;
                    if run.kind == RunKind::Check {
                        node.last_check = Some((run, view.asked));
                    }
                }
            }
            Fact::TreeGone(run) => {
                runs.remove(&run);
            }
        }
    }

    pub(crate) fn on_input(&mut self, at: Time, mono: Time, id: NodeId, input: &Input) {
        let node = &mut self.nodes[id.index()];
        node.cause = match input {
            Input::Exited { run, status, .. } => Cause::Ended(*run, *status),
            Input::StartFailed { run, .. } => Cause::NotStarted(*run),
            Input::Control { command: Control::SignalJob { .. }, .. } => Cause::Kill,
            _ => Cause::Other,
        };
        if let Input::Signal(SignalName::Term | SignalName::Int) = input {
            node.hurried |= node.stop_asked.is_some();
            node.stop_asked.get_or_insert(mono);
        }
        let late = node.is_late(mono);
        if late {
            node.stop_asked = Some(mono);
            self.blame(at, id, "the stop takes longer than its budget and a second".to_owned());
        }
    }

    pub(crate) fn on_effect(
        &mut self,
        at: Time,
        mono: Time,
        id: NodeId,
        effect: &Effect,
        name: &impl Fn(JobId) -> Name,
    ) {
        let node = &mut self.nodes[id.index()];
        let mut problem = node.over.then(|| "an effect after the last one".to_owned());
        match effect {
            Effect::Start { run, .. } => {
                let job = name(run.job);
                problem = problem.or_else(|| node.problem_of_start(*run, &job));
                node.runs.insert(*run, RunView::new(job, mono));
            }
            Effect::Signal { run, signal } => {
                problem = problem.or_else(|| node.on_signal(mono, *run, *signal));
            }
            Effect::Published(event) => problem = problem.or_else(|| node.on_event(mono, *event)),
            Effect::Applied(config) => node.apply(config),
            Effect::Exit { .. } => {
                node.over = true;
                problem = problem.or_else(|| node.problem_of_exit(mono));
            }
            Effect::SetVariable { .. }
            | Effect::Consul { .. }
            | Effect::Snapshot { .. }
            | Effect::Metric { .. }
            | Effect::Log(_)
            | Effect::Reply { .. }
            | Effect::LoadConfig
            | Effect::ReopenLogs => {}
        }
        if let Some(what) = problem {
            self.blame(at, id, what);
        }
    }
}

impl RunView {
    const fn new(job: Name, asked: Time) -> RunView {
        RunView { job, asked, started: None, ended: false, stop_sent: None, kill_sent: false }
    }
}

impl NodeView {
    fn apply(&mut self, config: &Config) {
        self.stop_timeout = config.stop_timeout;
        for job in &config.jobs {
            self.jobs.insert(job.name.clone(), job.clone());
        }
    }

    fn is_late(&self, mono: Time) -> bool {
        let asked = self.stop_asked.filter(|_| !self.over);
        asked.is_some_and(|asked| mono > asked + self.stop_timeout + STOP_SLACK)
    }

    /// At most one live run a job; nothing starts after a stop was asked for; no check in maintenance.
    fn problem_of_start(&self, run: RunId, name: &Name) -> Option<String> {
        let same = |other: &RunId| other.job == run.job && other.kind == run.kind;
        if let Some(other) = self.runs.keys().find(|other| same(other)) {
            let (nth, other) = (run.nth, other.nth);
            return Some(format!("run {nth} of \"{name}\" starts while run {other} is not gone"));
        }
        let is_hook = self.jobs.get(name).is_some_and(|job| is_stop_hook(&job.trigger));
        match run.kind {
            RunKind::Main if self.stop_asked.is_some() && !is_hook => {
                Some(format!("\"{name}\" starts after the stop was asked for"))
            }
            RunKind::Check if self.maintenance => {
                Some(format!("the check of \"{name}\" starts in maintenance"))
            }
            RunKind::Main | RunKind::Check => None,
        }
    }

    /// No SIGKILL before a deadline.
    fn on_signal(&mut self, mono: Time, run: RunId, signal: Signal) -> Option<String> {
        let asked_for = self.cause == Cause::Kill;
        let budget = self.stop_asked.map(|asked| asked + self.stop_timeout);
        let hurried = self.hurried;
        let stop_timeout = self.stop_timeout;
        let view = self.runs.get_mut(&run)?;
        if signal != Signal::KILL {
            if !asked_for {
                view.stop_sent.get_or_insert(mono);
            }
            return None;
        }
        view.kill_sent = true;
        let is_free = run.kind == RunKind::Check || view.ended || hurried || asked_for;
        if is_free || view.started.is_none() {
            return None;
        }
        let job = self.jobs.get(&view.job)?;
        let patience = job.kill_timeout.unwrap_or(stop_timeout);
        let stop_due = view.stop_sent.map(|sent| sent + patience);
        let run_due = job.timeout.map(|timeout| view.asked + timeout);
        let deadlines = [stop_due, run_due, budget];
        if deadlines.iter().flatten().any(|deadline| mono >= *deadline) {
            return None;
        }
        Some(format!("\"{}\" is killed before any of its deadlines", view.job))
    }

    fn on_event(&mut self, mono: Time, event: Event) -> Option<String> {
        match (event.code, event.source) {
            (Code::Shutdown, Source::Global) => {
                self.stop_asked.get_or_insert(mono);
                None
            }
            (Code::EnterMaintenance, Source::Global) => self.on_maintenance(true),
            (Code::ExitMaintenance, Source::Global) => self.on_maintenance(false),
            (Code::Stopped, Source::Job(job)) => self.problem_of_stopped(job),
            (Code::Healthy, Source::Job(job)) => self.on_health(job, true),
            (Code::Unhealthy, Source::Job(job)) => self.on_health(job, false),
            (Code::ExitSuccess, Source::Job(job)) => self.problem_of_end(job, true),
            (Code::ExitFailed, Source::Job(job)) => self.problem_of_end(job, false),
            _ => None,
        }
    }

    fn on_maintenance(&mut self, on: bool) -> Option<String> {
        let again = self.maintenance == on;
        self.maintenance = on;
        self.health.clear();
        again.then(|| "maintenance is announced twice".to_owned())
    }

    fn problem_of_stopped(&self, job: JobId) -> Option<String> {
        let of_job = |run: &RunId| run.job == job && run.kind == RunKind::Main;
        let left = self.runs.iter().find(|(run, _)| of_job(run))?;
        let (_, view) = left;
        (!view.kill_sent).then(|| format!("\"{}\" is said to have stopped and has not", view.job))
    }

    /// Healthy and unhealthy alternate within a run, and only a check of the live run says so.
    fn on_health(&mut self, job: JobId, healthy: bool) -> Option<String> {
        let mut mains = self.runs.iter().filter(|(run, _)| is_main_of(run, job));
        let main = mains.next_back().map(|(run, view)| (run.nth, view.started));
        let nth = main.map_or(0, |(nth, _)| nth);
        if self.health.insert(job, (healthy, nth)) == Some((healthy, nth)) {
            return Some(format!("job {} becomes healthy={healthy} twice in one run", job.0));
        }
        let Cause::Ended(check, status) = self.cause else { return None };
        if check.kind != RunKind::Check || !healthy {
            return None;
        }
        if !status.is_success() {
            return Some(format!("job {} is healthy by a check that failed", job.0));
        }
        let begun = self.last_check.filter(|(run, _)| *run == check).map(|(_, asked)| asked)?;
        let (_, started) = main?;
        if started.is_none_or(|started| begun < started) {
            return Some(format!("job {} is healthy by a check of an earlier run", job.0));
        }
        None
    }

    fn problem_of_end(&self, job: JobId, success: bool) -> Option<String> {
        let (run, ended_well) = match self.cause {
            Cause::Ended(run, status) => (run, status.is_success()),
            Cause::NotStarted(run) => (run, false),
            Cause::Other | Cause::Kill => {
                return Some(format!("an end of job {} is published out of nothing", job.0));
            }
        };
        let fits = run.job == job && run.kind == RunKind::Main && ended_well == success;
        (!fits).then(|| format!("the wrong end is published for job {}", job.0))
    }

    fn problem_of_exit(&self, mono: Time) -> Option<String> {
        let is_left = |view: &&RunView| view.started.is_some() && !view.kill_sent;
        let left = self.runs.values().find(is_left);
        if let Some(view) = left {
            return Some(format!("the supervisor ends and leaves \"{}\" running", view.job));
        }
        let asked = self.stop_asked?;
        let late = mono > asked + self.stop_timeout + STOP_SLACK;
        late.then(|| "the stop took longer than its budget and a second".to_owned())
    }
}

fn is_main_of(run: &RunId, job: JobId) -> bool {
    run.job == job && run.kind == RunKind::Main
}

/// Tells whether a job reacts to the stop of another, and so may start during a shutdown.
fn is_stop_hook(trigger: &Trigger) -> bool {
    let is_stop = |clause: &Clause| {
        matches!(clause.code, Code::Stopping | Code::Stopped | Code::Shutdown | Code::Skipped)
    };
    match trigger {
        Trigger::On(clause) => is_stop(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses.iter().any(is_stop),
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
    }
}
