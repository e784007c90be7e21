//! What must never happen to processes: two runs of one job, a kill before its time, an end that
//! was none, a stop that takes too long. Judged from the truth about the processes.

mod canonical;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::config::{Clause, Config, Job, Name, Signal, Trigger};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{Code, Effect, Event, Input, JobId, RunId, RunKind, Source, Time};

use crate::observer::Fact;
use crate::runs::Runs;

/// By how much a stop may take longer than its budget.
const STOP_SLACK: Duration = Duration::from_secs(1);

/// A clock that drifts wakes a supervisor a nanosecond late, and what it counts from when it was to
/// wake comes a nanosecond earlier than what it has said.
const ROUNDING: Duration = Duration::from_micros(1);

/// What the oracle knows about one node.
#[derive(Clone, Debug, Default)]
pub(super) struct NodeView {
    jobs: BTreeMap<Name, Arc<Job>>,
    /// What the definition of a slot's job says, as it was found by name.
    facts: Vec<Option<(Name, JobFacts)>>,
    stop_timeout: Duration,
    /// When everything must be gone, counted from the wish.
    stop_deadline: Option<Time>,
    /// Patience with the jobs of each lock.
    locks: BTreeMap<Name, Duration>,
    /// When a lock was last announced as lost.
    lock_lost: Option<Time>,
    /// For how long the supervisor did not run.
    missed: Duration,
    /// Whether the shutdown was announced: timers that fall due with the wish come before it.
    is_stopping: bool,
    hurried: bool,
    maintenance: bool,
    over: bool,
    cause: Cause,
    runs: Runs<RunView>,
    health: BTreeMap<JobId, (bool, u32)>,
    /// The newest run of each job, by slot; none is 0.
    last_main: Vec<u32>,
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
    /// What the configurations in force since the start allowed.
    limits: RunLimits,
    /// When its patience with the stop signal ends.
    patience_ends: Option<Time>,
    /// When it was told to end; a reload says what is in force only after it has told.
    told: Option<Time>,
    kill_sent: bool,
}

/// What the rules need of a job's definition.
#[derive(Clone, Copy, Debug)]
struct JobFacts {
    run: Option<Duration>,
    kill: Option<Duration>,
    is_stop_hook: bool,
}

/// How long things may take, as a configuration says.
#[derive(Clone, Copy, Debug)]
struct RunLimits {
    run: Option<Duration>,
    /// The shortest of its own.
    kill: Option<Duration>,
    /// Whether a configuration gives it none of its own: the stop timeout of the moment counts.
    follows: bool,
    stop: Duration,
}

impl RunLimits {
    const fn new(run: Option<Duration>, kill: Option<Duration>, stop: Duration) -> RunLimits {
        RunLimits { run, kill, follows: kill.is_none(), stop }
    }

    /// The shortest patience with a stop; a reload may have changed any part of it meanwhile.
    fn patience(self, now: RunLimits) -> Duration {
        let both = self.or(now);
        let shared = both.follows.then_some(both.stop);
        both.kill.into_iter().chain(shared).min().unwrap_or(both.stop)
    }

    /// The shortest of both: any configuration during a run may be the one that counts for it.
    fn or(self, now: RunLimits) -> RunLimits {
        let least = |one: Option<Duration>, other| one.into_iter().chain(other).min();
        RunLimits {
            run: least(self.run, now.run),
            kill: least(self.kill, now.kill),
            follows: self.follows || now.follows,
            stop: self.stop.min(now.stop),
        }
    }
}

impl RunView {
    const fn new(job: Name, asked: Time, limits: RunLimits) -> RunView {
        RunView {
            job,
            asked,
            started: None,
            ended: false,
            limits,
            patience_ends: None,
            told: None,
            kill_sent: false,
        }
    }
}

impl NodeView {
    pub(super) fn new(config: &Config) -> NodeView {
        let mut node = NodeView::default();
        node.apply(config);
        node
    }

    pub(super) fn on_resumed(&mut self, missed: Duration) {
        self.missed += missed;
    }

    pub(super) fn job_of(&self, run: RunId) -> Option<Name> {
        self.runs.get(&run).map(|view| view.job.clone())
    }

    pub(super) fn on_fact(&mut self, mono: Time, fact: Fact) {
        let runs = &mut self.runs;
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
                        self.last_check = Some((run, view.asked));
                    }
                }
            }
            Fact::TreeGone(run) => {
                runs.remove(&run);
            }
        }
    }

    pub(super) fn on_input(&mut self, mono: Time, input: &Input) -> Option<String> {
        self.cause = match input {
            Input::Exited { run, status, .. } => Cause::Ended(*run, *status),
            Input::StartFailed { run, .. } => Cause::NotStarted(*run),
            Input::Control { command: Control::SignalJob { .. }, .. } => Cause::Kill,
            _ => Cause::Other,
        };
        if let Input::Signal(SignalName::Term | SignalName::Int) = input {
            self.hurried |= self.stop_deadline.is_some();
            self.on_stop_asked(mono);
        }
        if self.is_late(mono) {
            self.stop_deadline = None;
            return Some("the stop takes longer than its budget and a second".to_owned());
        }
        None
    }

    pub(super) fn on_effect(
        &mut self,
        mono: Time,
        effect: &Effect,
        name: &impl Fn(JobId) -> Name,
    ) -> Option<String> {
        let mut problem = self.over.then(|| "an effect after the last one".to_owned());
        match effect {
            Effect::Start { run, .. } => {
                let job = name(run.job);
                problem = problem.or_else(|| self.problem_of_start(*run, &job));
                let limits = self.limits_of(run.job, &job);
                if run.kind == RunKind::Main {
                    self.note_main(run);
                }
                self.runs.insert(*run, RunView::new(job, mono, limits));
            }
            Effect::Signal { run, signal } => {
                problem = problem.or_else(|| self.on_signal(mono, *run, *signal));
            }
            Effect::Published(event) => problem = problem.or_else(|| self.on_event(mono, *event)),
            Effect::Applied(config) => self.apply(config),
            Effect::Exit { .. } => {
                problem = problem.or_else(|| self.problem_of_exit(mono));
                self.over = true;
            }
            Effect::Consul { .. }
            | Effect::SetVariable { .. }
            | Effect::Snapshot { .. }
            | Effect::WriteFile { .. }
            | Effect::Guard { .. }
            | Effect::Metric { .. }
            | Effect::Log(_)
            | Effect::Reply { .. }
            | Effect::LoadConfig
            | Effect::ReopenLogs => {}
        }
        problem
    }

    fn apply(&mut self, config: &Config) {
        self.stop_timeout = config.stop_timeout;
        self.facts.clear();
        for lock in &config.locks {
            self.locks.insert(lock.name.clone(), lock.stop_timeout);
        }
        for job in &config.jobs {
            self.jobs.insert(job.name.clone(), job.clone());
        }
        for id in self.runs.keys().collect::<Vec<_>>() {
            let Some(run) = self.runs.get_mut(&id) else { continue };
            let Some(job) = self.jobs.get(&run.job) else { continue };
            let now = RunLimits::new(job.timeout, job.kill_timeout, self.stop_timeout);
            run.limits = run.limits.or(now);
        }
    }

    fn is_late(&self, mono: Time) -> bool {
        let deadline = self.stop_deadline.filter(|_| !self.over);
        deadline.is_some_and(|deadline| mono > deadline + STOP_SLACK + self.missed)
    }

    fn on_stop_asked(&mut self, mono: Time) {
        self.stop_deadline.get_or_insert(mono + self.stop_timeout);
    }

    /// When the patience with a job ends whose lock is lost; at once after a pause.
    fn lock_deadline(&self, job: &Name) -> Option<Time> {
        let job = self.jobs.get(job)?;
        let lock = job.while_lock.as_ref().or(job.stop_with.as_ref())?;
        let lost = self.lock_lost?;
        let patience = self.locks.get(lock)?;
        Some(if self.missed.is_zero() { lost + *patience } else { lost })
    }

    fn note_main(&mut self, run: &RunId) {
        if run.job.index() >= self.last_main.len() {
            self.last_main.resize(run.job.index() + 1, 0);
        }
        self.last_main[run.job.index()] = run.nth;
    }

    fn facts_of(&mut self, slot: JobId, name: &Name) -> JobFacts {
        if let Some(Some((known, facts))) = self.facts.get(slot.index())
            && Arc::ptr_eq(known, name)
        {
            return *facts;
        }
        let job = self.jobs.get(name);
        let facts = JobFacts {
            run: job.and_then(|job| job.timeout),
            kill: job.and_then(|job| job.kill_timeout),
            is_stop_hook: job.is_some_and(|job| is_stop_hook(&job.trigger)),
        };
        if slot.index() >= self.facts.len() {
            self.facts.resize_with(slot.index() + 1, || None);
        }
        self.facts[slot.index()] = Some((name.clone(), facts));
        facts
    }

    fn limits_of(&mut self, slot: JobId, name: &Name) -> RunLimits {
        let JobFacts { run, kill, .. } = self.facts_of(slot, name);
        RunLimits::new(run, kill, self.stop_timeout)
    }

    /// At most one live run a job; nothing starts after a stop was asked for; no check in
    /// maintenance.
    fn problem_of_start(&mut self, run: RunId, name: &Name) -> Option<String> {
        if let Some((other, _)) = self.runs.of(run.job, run.kind).next() {
            let (nth, other) = (run.nth, other.nth);
            return Some(format!("run {nth} of \"{name}\" starts while run {other} is not gone"));
        }
        let is_hook = self.facts_of(run.job, name).is_stop_hook;
        match run.kind {
            RunKind::Main if self.is_stopping && !is_hook => {
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
        let budget = self.stop_deadline;
        let hurried = self.hurried;
        let job = self.runs.get(&run)?.job.clone();
        let limits = self.limits_of(run.job, &job);
        let lock_due = self.lock_deadline(&job);
        let view = self.runs.get_mut(&run)?;
        if signal != Signal::KILL {
            if !asked_for {
                view.patience_ends.get_or_insert(mono + view.limits.patience(limits));
                view.told.get_or_insert(mono);
            }
            return None;
        }
        let was_killed = core::mem::replace(&mut view.kill_sent, true);
        let is_free = run.kind == RunKind::Check || view.ended || hurried || asked_for;
        let is_free = is_free || was_killed;
        if is_free || view.started.is_none() {
            return None;
        }
        let run_due = |limits: RunLimits| limits.run.map(|timeout| view.asked + timeout);
        let renewed = view.told.map(|told| told + view.limits.patience(limits));
        let due = [run_due(limits), run_due(view.limits)];
        let deadlines = [view.patience_ends, renewed, due[0], due[1], budget, lock_due];
        if deadlines.iter().flatten().any(|deadline| mono + ROUNDING >= *deadline) {
            return None;
        }
        Some(format!("\"{}\" is killed before any of its deadlines", view.job))
    }

    fn on_event(&mut self, mono: Time, event: Event) -> Option<String> {
        match (event.code, event.source) {
            (Code::Shutdown, Source::Global) => {
                self.is_stopping = true;
                self.on_stop_asked(mono);
                None
            }
            (Code::Lost, Source::Lock(_)) => {
                self.lock_lost = Some(mono);
                None
            }
            (Code::EnterMaintenance, Source::Global) => self.on_maintenance(true),
            (Code::ExitMaintenance, Source::Global) => self.on_maintenance(false),
            (Code::Stopped, Source::Job(job)) => self.on_stopped(job),
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

    fn on_stopped(&mut self, job: JobId) -> Option<String> {
        self.health.remove(&job);
        let (_, view) = self.runs.of(job, RunKind::Main).next()?;
        (!view.kill_sent).then(|| format!("\"{}\" is said to have stopped and has not", view.job))
    }

    /// Healthy and unhealthy alternate within a run, and only a check of the live run says so.
    fn on_health(&mut self, job: JobId, healthy: bool) -> Option<String> {
        let main = self.runs.of(job, RunKind::Main).last();
        let main = main.map(|(run, view)| (run.nth, view.started));
        let nth = self.last_main.get(job.index()).copied().unwrap_or(0);
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
        self.is_late(mono).then(|| "the stop took longer than its budget and a second".to_owned())
    }
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
