//! The ledger of one supervisor: what it was told, what it said, and what it owes.
//!
//! Everything is kept by job, and only jobs that something happened to are looked at: a line costs
//! nothing for the others.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use steersman_engine::config::{Config, Job, Metric, Name, Signal, SourceName};
use steersman_engine::effect::{DropReason, Message, Reply};
use steersman_engine::event::SignalName;
use steersman_engine::{
    Code, Effect, Event, Input, JobId, RequestId, RunId, RunKind, Source, Stamp, Time,
};

use super::job::{JobView, Who, clauses};

/// By how much something may come later than it is due: the rounding of clocks.
pub(super) const LATE: Duration = Duration::from_micros(500);

/// Steps of the wall clock beyond this make a new clock.
const NEW_CLOCK_MS: u64 = 3 * 60 * 60 * 1_000;

/// Where the supervisor as a whole is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Stage {
    #[default]
    New,
    Running,
    Stopping,
    Over,
}

/// One effect that an input must have.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expected {
    Event(Code, Who),
    Variable(Name, Option<Box<str>>),
    Reply(RequestId, Reply),
    Signal(RunId, Signal),
    Metric(Name, f64),
    Load,
    Reopen,
    Applied,
}

/// One supervisor.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    pub(super) jobs: Vec<JobView>,
    pub(super) by_name: BTreeMap<Name, usize>,
    ids: Vec<Option<usize>>,
    listeners: BTreeMap<(Code, Who), Vec<(usize, usize)>>,
    /// By job: who reacts to its `stopping`, to whose it reacts, who waits for anything of it.
    pub(super) hooks: Vec<Vec<usize>>,
    pub(super) hooked: Vec<Vec<usize>>,
    pub(super) dependents: Vec<Vec<usize>>,
    watches: BTreeMap<Name, u16>,
    pub(super) watch_views: Vec<super::watch::WatchView>,
    pub(super) metrics: Vec<Metric>,
    pub(super) stop_timeout: Duration,
    /// Consul delays stops: nothing exact is demanded of them then.
    pub(super) has_services: bool,
    pub(super) has_locks: bool,
    pub(super) stage: Stage,
    pub(super) deadline: Time,
    pub(super) generation: u32,
    pub(super) maintenance: bool,
    pub(super) now: Time,
    pub(super) wall_ms: i64,
    /// The latest time that this clock has shown.
    pub(super) wall_max_ms: i64,
    /// Whatever is overdue now is excused: the supervisor did not run.
    excused_at: Option<Time>,
    pub(super) expected: Vec<Expected>,
    pub(super) touched: Vec<usize>,
    pub(super) due: BTreeSet<(Time, usize)>,
    /// What fell due in the very input that made it so: it comes with the next one.
    fresh: Vec<(Time, usize)>,
    pub(super) alive: usize,
    pub(super) is_hurried: bool,
    pub(super) restarting: Option<usize>,
    pub(super) dropped: Vec<usize>,
    pub(super) renewed: Vec<usize>,
    /// Requests whose reload is being read for, and those that came meanwhile.
    pub(super) loading: Vec<(RequestId, bool)>,
    pub(super) again: Vec<(RequestId, bool)>,
    pub(super) is_reloading: bool,
    pub(super) verdict: super::ending::Verdict,
    pub(super) delays: BTreeMap<(u64, u64), u32>,
    problems: Vec<String>,
}

impl Ledger {
    pub(super) fn new(config: &Config) -> Ledger {
        let mut ledger = Ledger::default();
        for spec in distinct(config) {
            let place = ledger.add(spec);
            ledger.ids.push(Some(place));
        }
        ledger.alive = ledger.jobs.len();
        ledger.adopt(config);
        ledger
    }

    pub(super) fn add(&mut self, spec: Arc<Job>) -> usize {
        let place = self.jobs.len();
        let before = self.by_name.insert(spec.name.clone(), place);
        let has_rest = before.is_some_and(|job| self.jobs[job].check.is_some());
        let mut view = JobView::new(spec);
        // It waits for a check of the one that had its place before.
        view.is_loose |= has_rest;
        self.jobs.push(view);
        place
    }

    /// Takes in what a configuration says besides its jobs, and who hears what.
    pub(super) fn adopt(&mut self, config: &Config) {
        self.stop_timeout = config.stop_timeout;
        self.metrics.clone_from(&config.metrics);
        self.has_locks |= !config.locks.is_empty();
        let has_service = |job: &Arc<Job>| job.service.is_some();
        self.has_services |= config.jobs.iter().any(has_service);
        let names = config.watches.iter().map(|watch| watch.name.clone());
        self.watches = names.zip(0..).collect();
        self.adopt_watches(config);
        self.rewire();
    }

    pub(super) fn rewire(&mut self) {
        let count = self.jobs.len();
        self.listeners.clear();
        for lists in [&mut self.hooks, &mut self.hooked, &mut self.dependents] {
            lists.clear();
            lists.resize(count, Vec::new());
        }
        for job in 0..count {
            if self.jobs[job].is_retired {
                continue;
            }
            let trigger = self.jobs[job].wanted().trigger.clone();
            for (nth, clause) in clauses(&trigger).iter().enumerate() {
                let Some(who) = self.resolve(&clause.source) else { continue };
                self.listeners.entry((clause.code, who)).or_default().push((job, nth));
                let (Who::Job(of) | Who::Check(of)) = who else { continue };
                insert(&mut self.dependents[of], job);
                if clause.code == Code::Stopping && of != job && matches!(who, Who::Job(_)) {
                    // A lock that is lost leaves less time than the job itself does.
                    let spec = &self.jobs[of].spec;
                    let has_lock = spec.while_lock.is_some() || spec.stop_with.is_some();
                    self.jobs[job].is_loose |= has_lock;
                    insert(&mut self.hooks[of], job);
                    insert(&mut self.hooked[job], of);
                }
            }
        }
    }

    /// Finds a source; none when nothing is called that now.
    pub(super) fn resolve(&self, source: &SourceName) -> Option<Who> {
        let find = |name: &Name| {
            let job = *self.by_name.get(name)?;
            (!self.jobs[job].is_retired).then_some(job)
        };
        match source {
            SourceName::Global => Some(Who::Global),
            SourceName::Job(name) => find(name).map(Who::Job),
            SourceName::Check(name) => find(name).map(Who::Check),
            SourceName::Watch(name) => self.watches.get(name).copied().map(Who::Watch),
            SourceName::Lock(_) => Some(Who::Lock(0)),
            SourceName::Signal(signal) => Some(Who::Signal(*signal)),
        }
    }

    pub(super) fn blame(&mut self, what: impl Into<String>) {
        self.problems.push(what.into());
    }

    pub(super) fn blame_job(&mut self, job: usize, what: &str) {
        let name = self.jobs[job].name().clone();
        self.problems.push(format!("\"{name}\" {what}"));
    }

    pub(super) fn take_problems(&mut self) -> Vec<String> {
        core::mem::take(&mut self.problems)
    }

    pub(super) fn expect(&mut self, expected: Expected) {
        self.expected.push(expected);
    }

    /// Crosses out an effect that was owed; tells whether it was.
    pub(super) fn meet(&mut self, expected: &Expected) -> bool {
        let place = self.expected.iter().position(|one| one == expected);
        place.is_some_and(|place| {
            self.expected.remove(place);
            true
        })
    }

    /// Has a job looked at when the input has been dealt with, and those that wait for it.
    pub(super) fn touch(&mut self, job: usize) {
        if !core::mem::replace(&mut self.jobs[job].is_touched, true) {
            self.touched.push(job);
            for nth in 0..self.hooked[job].len() {
                let waiting = self.hooked[job][nth];
                if !core::mem::replace(&mut self.jobs[waiting].is_touched, true) {
                    self.touched.push(waiting);
                }
            }
        }
    }

    pub(super) fn touch_all(&mut self) {
        (0..self.jobs.len()).for_each(|job| self.touch(job));
    }

    /// Has a job looked at at an instant.
    pub(super) fn remind(&mut self, at: Time, job: usize) {
        if at < Time::NEVER {
            self.due.insert((at, job));
        }
        if at <= self.now {
            self.fresh.push((at, job));
        }
    }

    /// Tells whether what is due at an instant must have come.
    pub(super) fn is_past(&self, at: Time, job: usize) -> bool {
        at <= self.now && !self.fresh.contains(&(at, job))
    }

    pub(super) fn forget_fresh(&mut self) {
        self.fresh.clear();
    }

    pub(super) fn on_resumed(&mut self, mono: Time) {
        self.excused_at = Some(mono);
    }

    pub(super) const fn on_killed(&mut self) {
        self.stage = Stage::Over;
    }

    pub(super) fn is_excused(&self) -> bool {
        self.excused_at == Some(self.now)
    }

    /// Finds the run of a job that a result names; none for a late or foreign one.
    pub(super) fn job_of(&self, run: RunId) -> Option<usize> {
        let job = self.ids.get(run.job.index()).copied().flatten()?;
        (!self.jobs[job].is_retired).then_some(job)
    }

    fn learn(&mut self, id: JobId, name: &impl Fn(JobId) -> Name) -> Option<usize> {
        let index = id.index();
        let known = self.ids.get(index).copied().flatten();
        if let Some(job) = known.filter(|job| !self.jobs[*job].is_retired) {
            return Some(job);
        }
        let job = *self.by_name.get(&name(id))?;
        if self.ids.len() <= index {
            self.ids.resize(index + 1, None);
        }
        self.ids[index] = Some(job);
        Some(job)
    }

    pub(super) fn on_input(&mut self, stamp: Stamp, input: &Input) {
        if self.stage == Stage::Over {
            return;
        }
        self.advance(stamp);
        match input {
            Input::Begin => self.on_begin(),
            Input::Tick => {}
            Input::Consul { op, reply } => self.on_answered(*op, reply),
            Input::Started { run, pid } => match run.kind {
                RunKind::Main => self.on_started(*run, *pid),
                RunKind::Check => {}
            },
            Input::StartFailed { run, .. } => match run.kind {
                RunKind::Main => self.on_start_failed(*run),
                RunKind::Check => self.on_check_start_failed(*run),
            },
            Input::Exited { run, status, tree, .. } => match run.kind {
                RunKind::Main => self.on_exited(*run, *status, *tree),
                RunKind::Check => self.on_check_exited(*run, *status, *tree),
            },
            Input::TreeGone { run } => match run.kind {
                RunKind::Main => self.on_tree_gone(*run),
                RunKind::Check => self.on_check_tree_gone(*run),
            },
            Input::Signal(signal) => self.on_signal_taken(*signal),
            Input::Control { request, command } => self.on_control(*request, command),
            Input::Keeper(_) => {}
            Input::Loaded { config } => self.on_loaded(config),
        }
    }

    /// Moves the clocks on, and looks for what was due meanwhile and nobody woke up for.
    fn advance(&mut self, stamp: Stamp) {
        let passed_ms = i64::try_from(stamp.mono.since(self.now).as_millis()).unwrap_or(i64::MAX);
        let stepped = stamp.wall_ms.saturating_sub(self.wall_ms).saturating_sub(passed_ms);
        let is_new_clock = stepped.unsigned_abs() > NEW_CLOCK_MS;
        self.wall_ms = stamp.wall_ms;
        self.wall_max_ms =
            if is_new_clock { stamp.wall_ms } else { self.wall_max_ms.max(stamp.wall_ms) };
        if is_new_clock && self.stage == Stage::Running {
            for view in self.jobs.iter_mut().filter(|view| !view.is_stopping()) {
                view.scheduled_ms = stamp.wall_ms;
            }
        }
        let now = self.now.max(stamp.mono);
        self.now = now;
        while let Some((at, job)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            if now > at + LATE && !self.is_excused() {
                self.now = at;
                self.look_at(job, true);
                self.now = now;
            }
            self.touch(job);
        }
        for nth in 0..self.touched.len() {
            self.mark_cuts(self.touched[nth]);
            self.on_tick_due(self.touched[nth]);
        }
    }

    fn on_begin(&mut self) {
        if self.stage != Stage::New {
            return;
        }
        self.stage = Stage::Running;
        self.expect(Expected::Event(Code::Startup, Who::Global));
        for job in 0..self.jobs.len() {
            self.begin(job);
        }
        self.touch_all();
    }

    fn on_signal_taken(&mut self, signal: SignalName) {
        match signal {
            SignalName::Term | SignalName::Int => match self.stage {
                Stage::New | Stage::Running => {
                    self.stage = Stage::Running;
                    self.expect(Expected::Event(Code::Shutdown, Who::Global));
                }
                Stage::Stopping => {
                    self.is_hurried = true;
                    self.touch_all();
                }
                Stage::Over => {}
            },
            SignalName::Hup | SignalName::Usr2 => {
                if self.stage == Stage::Running {
                    self.expect(Expected::Event(Code::Signal, Who::Signal(signal)));
                }
            }
            SignalName::Usr1 => self.expect(Expected::Reopen),
        }
    }

    pub(super) fn on_effect(&mut self, effect: &Effect, name: &impl Fn(JobId) -> Name) {
        if self.stage == Stage::Over {
            return;
        }
        match effect {
            Effect::Start { run, command } => {
                let Some(job) = self.learn(run.job, name) else { return };
                match run.kind {
                    RunKind::Main => self.on_start(job, *run, command),
                    RunKind::Check => self.on_check_start(job, *run),
                }
            }
            Effect::Signal { run, signal } => {
                let Some(job) = self.learn(run.job, name) else { return };
                match run.kind {
                    RunKind::Main => self.on_signal_sent(job, *run, *signal),
                    RunKind::Check => self.on_check_signal(job, *run, *signal),
                }
            }
            Effect::Published(event) => self.on_published(*event, name),
            Effect::SetVariable { name, value } => self.on_variable(name, value.as_deref()),
            Effect::Metric { name, value } => {
                let metric = Expected::Metric(name.clone(), *value);
                self.demand(&metric, "a metric is fed that nobody sent");
            }
            Effect::Log(record) => {
                let job = record.job.and_then(|id| self.learn(id, name));
                self.on_log(job, &record.message);
            }
            Effect::Reply { request, reply } => self.on_reply(*request, reply),
            Effect::LoadConfig => {
                self.demand(&Expected::Load, "the configuration is read though nobody asked");
            }
            Effect::Applied(_) => {
                self.demand(&Expected::Applied, "a configuration is applied out of nothing");
            }
            Effect::ReopenLogs => {
                self.demand(&Expected::Reopen, "logs are reopened though nobody asked");
            }
            Effect::Exit { status } => self.on_exit(*status),
            Effect::Consul { op, timeout, .. } => self.on_asked(*op, *timeout),
            Effect::Snapshot { .. } | Effect::WriteFile { .. } | Effect::Guard { .. } => {}
        }
    }

    fn demand(&mut self, expected: &Expected, otherwise: &str) {
        if !self.meet(expected) {
            self.blame(otherwise);
        }
    }

    fn on_log(&mut self, job: Option<usize>, message: &Message) {
        let Some(job) = job else { return };
        match message {
            Message::TriggersDropped { reason: DropReason::Stopping, .. } => self.dropped.push(job),
            Message::BackingOff { delay } => self.on_delay_said(job, *delay),
            _ => {}
        }
    }

    fn on_published(&mut self, event: Event, name: &impl Fn(JobId) -> Name) {
        let who = match event.source {
            Source::Global => Who::Global,
            Source::Job(id) => match self.learn(id, name) {
                Some(job) => Who::Job(job),
                None => return,
            },
            Source::Check(id) => match self.learn(id, name) {
                Some(job) => Who::Check(job),
                None => return,
            },
            Source::Watch(id) => Who::Watch(id.0),
            Source::Lock(_) => Who::Lock(0),
            Source::Signal(signal) => Who::Signal(signal),
        };
        self.judge_event(event.code, who);
        if let Some(listeners) = self.listeners.get(&(event.code, who)) {
            for (job, nth) in listeners.clone() {
                self.hear(job, nth, event.code);
            }
        }
        self.after_event(event.code, who);
    }

    /// Tells whether an event may be, and notes what it says.
    fn judge_event(&mut self, code: Code, who: Who) {
        let was_expected = self.meet(&Expected::Event(code, who));
        match (code, who) {
            (Code::Shutdown, Who::Global) => self.on_shutdown(),
            (Code::Stopping, Who::Job(job)) => return self.on_stopping(job),
            (Code::Stopped, Who::Job(job)) => return self.on_stopped(job),
            (Code::Skipped, Who::Job(job)) => return self.on_skipped(job),
            (Code::TimerExpired, Who::Job(job)) => return self.on_gave_up(job),
            (Code::ExitFailed, Who::Check(job)) if !was_expected => {
                return self.on_check_cut(job);
            }
            (Code::Healthy | Code::Unhealthy, Who::Job(job)) if !was_expected => {
                return self.on_health_said(job, code == Code::Healthy);
            }
            (_, Who::Watch(watch)) => return self.on_watch_said(code, watch, was_expected),
            (_, Who::Lock(_)) => return,
            _ => {}
        }
        if !was_expected {
            let about = match who {
                Who::Job(job) => format!("\"{}\"", self.jobs[job].name()),
                Who::Check(job) => format!("the check of \"{}\"", self.jobs[job].name()),
                _ => String::from("the supervisor"),
            };
            self.blame(format!("the event {code} of {about} is published out of nothing"));
        }
    }

    fn after_event(&mut self, code: Code, who: Who) {
        if let (Code::Stopped | Code::Skipped, Who::Job(job)) = (code, who)
            && self.stage == Stage::Running
        {
            self.succeed_unseen(job);
        }
    }
}

/// The jobs of a configuration; of two with one name the first counts.
pub(super) fn distinct(config: &Config) -> impl Iterator<Item = Arc<Job>> {
    let mut seen = BTreeSet::new();
    config.jobs.iter().filter(move |job| seen.insert(job.name.clone())).cloned()
}

fn insert(list: &mut Vec<usize>, job: usize) {
    if !list.contains(&job) {
        list.push(job);
    }
}
