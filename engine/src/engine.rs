//! The machine itself: one entry point, one queue of events, one set of timers.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::config::{Config, Job, Name};
use crate::consul::Owner;
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message, Record};
use crate::event::{Code, Event, SignalName, Source};
use crate::guarding::Keeper;
use crate::id::{JobId, RequestId, RunId, RunKind};
use crate::input::Input;
use crate::limits;
use crate::lock_state::LockState;
use crate::lock_state::LossReason;
use crate::random::{mix, mix_side_by_side};
use crate::slot::Slot;
use crate::time::{Stamp, Time};
use crate::timers::{Due, GlobalTimer, Timer, Timers};
use crate::watching::WatchState;
use crate::wiring::Wiring;

/// One supervisor's decisions.
///
/// ```
/// use steersman_engine::config::{Command, Config, Job};
/// use steersman_engine::{Effect, Engine, Input, Stamp};
/// use std::sync::Arc;
///
/// let job = Job::new("app", Command::new(["/bin/app"]));
/// let config = Config { jobs: vec![Arc::new(job)], ..Config::default() };
/// let mut engine = Engine::new(config, 1);
/// let mut effects = Vec::new();
/// engine.handle(Stamp::from_millis(0), Input::Begin, &mut effects);
/// assert!(effects.iter().any(|effect| matches!(effect, Effect::Start { .. })));
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Engine {
    pub(crate) config: Arc<Config>,
    pub(crate) seed: u64,
    pub(crate) now: Stamp,
    pub(crate) stage: Stage,
    pub(crate) slots: Vec<Slot>,
    /// The slots of the configuration in force, in its order.
    pub(crate) order: Vec<JobId>,
    pub(crate) wiring: Arc<Wiring>,
    pub(crate) timers: Timers,
    pub(crate) queue: VecDeque<Event>,
    pub(crate) out: Vec<Effect>,
    pub(crate) maintenance: bool,
    /// How many jobs have not ended.
    pub(crate) alive: usize,
    /// Requests that wait for the file to be read, with their `all`.
    pub(crate) loading: Vec<(RequestId, bool)>,
    /// Requests that came while the file was being read: it is read once more for them.
    pub(crate) reload_again: Vec<(RequestId, bool)>,
    pub(crate) generation: u64,
    /// The status of the first job that failed for good by itself.
    pub(crate) failure: Option<u8>,
    /// The status of the first job that did not end in time when asked to.
    pub(crate) unclean: Option<u8>,
    /// The status of the essential job that ended the supervisor.
    pub(crate) essential: Option<u8>,
    /// Variables that the configuration sets, for when the machine begins.
    pub(crate) greeting: Vec<Effect>,
    pub(crate) watches: Vec<WatchState>,
    pub(crate) watches_digest: u64,
    pub(crate) locks: Vec<LockState>,
    pub(crate) locks_digest: u64,
    pub(crate) is_catalog_failing: bool,
    #[serde(default)]
    pub(crate) keeper: Keeper,
    /// A job has ended since the last look at what is left.
    pub(crate) has_ended_one: bool,
    touched: Vec<JobId>,
    slots_digest: u64,
    /// Whether the digest is not kept.
    #[serde(skip)]
    is_undigested: bool,
    #[cfg(feature = "defects")]
    #[serde(skip)]
    pub(crate) defects: crate::defect::Defects,
}

/// Where the supervisor as a whole is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Stage {
    /// [`Input::Begin`] has not come.
    New,
    /// Ordinary life.
    Running,
    /// A shutdown is under way; everything is to be gone by `deadline`.
    Stopping { deadline: Time, spent: bool },
    /// [`Effect::Exit`] was yielded.
    Over,
}

impl Engine {
    /// Builds a machine that has not begun; [`Input::Begin`] starts it. `seed` decides all jitter.
    pub fn new(config: Config, seed: u64) -> Engine {
        let mut engine = Engine {
            config: Arc::new(Config::default()),
            seed,
            now: Stamp::default(),
            stage: Stage::New,
            slots: Vec::new(),
            order: Vec::new(),
            wiring: Arc::default(),
            timers: Timers::default(),
            queue: VecDeque::new(),
            out: Vec::new(),
            maintenance: false,
            alive: 0,
            loading: Vec::new(),
            reload_again: Vec::new(),
            generation: 0,
            failure: None,
            unclean: None,
            essential: None,
            greeting: Vec::new(),
            watches: Vec::new(),
            watches_digest: 0,
            locks: Vec::new(),
            locks_digest: 0,
            is_catalog_failing: false,
            keeper: Keeper::default(),
            has_ended_one: false,
            touched: Vec::new(),
            slots_digest: 0,
            is_undigested: false,
            #[cfg(feature = "defects")]
            defects: Default::default(),
        };
        engine.install(config);
        engine
    }

    /// Takes in one fact and appends what is to be done about it, in order, to `effects`.
    ///
    /// Total: any input is legal in any state, nothing panics, nothing blocks. Timers that are due
    /// at `now` fire first. A `now` earlier than the one before counts as the one before.
    pub fn handle(&mut self, now: Stamp, input: Input, effects: &mut Vec<Effect>) {
        if self.stage == Stage::Over {
            return;
        }
        core::mem::swap(&mut self.out, effects);
        self.advance_clock(now);
        self.check_lock_ages();
        while let Some(due) = self.timers.pop_due(self.now.mono) {
            self.on_timer(due);
            self.dispatch();
            if self.stage == Stage::Over {
                break;
            }
        }
        if self.stage != Stage::Over || self.planted(Defect::WorksAfterTheEnd) {
            self.on_input(input);
            self.dispatch();
        }
        self.settle_digest();
        core::mem::swap(&mut self.out, effects);
    }

    /// Tells when the machine next wants [`Input::Tick`], if nothing else happens before.
    pub fn next_wakeup(&self) -> Option<Time> {
        if self.stage == Stage::Over { None } else { self.timers.next() }
    }

    /// Gives a stable hash of the whole state: equal on every machine for equal inputs.
    pub fn digest(&self) -> u64 {
        let stage = match self.stage {
            Stage::New => 1,
            Stage::Running => 2,
            Stage::Stopping { deadline, spent } => mix(3 + u64::from(spent), deadline.0),
            Stage::Over => 5,
        };
        let status = |status: Option<u8>| status.map_or(0, |status| 0x100 | u64::from(status));
        let statuses = status(self.failure)
            | status(self.unclean) << 16
            | status(self.essential) << 32
            | u64::from(self.maintenance) << 48
            | u64::from(self.is_catalog_failing) << 49;
        let requests = (self.loading.len() as u64) << 32 | self.reload_again.len() as u64;
        mix_side_by_side(&[
            (self.slots_digest, self.timers.digest()),
            (stage, statuses ^ self.watches_digest.rotate_left(17)),
            (self.locks_digest, mix(self.generation, requests) ^ self.keeper.fingerprint()),
        ])
    }

    /// Keeps the digest of what changes often, or not; kept unless told otherwise.
    ///
    /// For measuring what it costs. To be called before the machine begins.
    pub fn set_digested(&mut self, is_digested: bool) {
        self.is_undigested = !is_digested;
        self.timers.set_digested(is_digested);
    }

    /// Gives the definition in a slot, for names in logs and lanes.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.slots.get(id.index()).map(|slot| &*slot.spec)
    }

    /// Gives the configuration in force.
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Gives a source as it is written in a configuration.
    pub fn source_name(&self, source: Source) -> Box<str> {
        let job = |id: JobId| self.job(id).map_or("", |job| &*job.name);
        match source {
            Source::Global => "global".into(),
            Source::Job(id) => job(id).into(),
            Source::Check(id) => format!("check.{}", job(id)).into(),
            Source::Watch(id) => {
                let name = self.config.watches.get(id.index()).map_or("", |watch| &*watch.name);
                format!("watch.{name}").into()
            }
            Source::Lock(id) => {
                let name = self.lock_state(id).map_or("", |state| &*state.spec.name);
                format!("lock.{name}").into()
            }
            Source::Signal(signal) => signal.as_str().into(),
        }
    }

    /// Tells whether [`Effect::Exit`] was yielded; every later input is ignored.
    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Puts other definitions in the places of all it knows, where `change` gives one: for a trace
    /// that is to hold no secrets. What the definitions decide about must stay as it is.
    #[cfg(feature = "std")]
    pub fn redefine(&mut self, change: &dyn Fn(&Job) -> Option<Job>) {
        let redefine = |spec: &mut Arc<Job>| {
            if let Some(changed) = change(spec) {
                *spec = Arc::new(changed);
            }
        };
        Arc::make_mut(&mut self.config).jobs.iter_mut().for_each(redefine);
        for slot in &mut self.slots {
            redefine(&mut slot.spec);
            if let crate::slot::Successor::Job { spec, .. } = &mut slot.successor {
                redefine(spec);
            }
        }
    }

    fn advance_clock(&mut self, now: Stamp) {
        let stepped_ms = self.wall_step_ms(now);
        self.now = Stamp { mono: self.now.mono.max(now.mono), wall_ms: now.wall_ms };
        if stepped_ms.unsigned_abs() > limits::WALL_STEP_MIN_MS && self.stage == Stage::Running {
            self.on_wall_step(stepped_ms);
        }
    }

    /// Tells by how much the wall clock moved more than the monotonic one.
    fn wall_step_ms(&self, now: Stamp) -> i64 {
        let elapsed = now.mono.since(self.now.mono).as_millis();
        let elapsed = i64::try_from(elapsed).unwrap_or(i64::MAX);
        now.wall_ms.saturating_sub(self.now.wall_ms).saturating_sub(elapsed)
    }

    fn on_input(&mut self, input: Input) {
        match input {
            Input::Begin => self.on_begin(),
            Input::Tick => {}
            Input::Started { run, pid } => match run.kind {
                RunKind::Main => self.on_started(run, pid),
                RunKind::Check => {}
            },
            Input::StartFailed { run, reason } => match run.kind {
                RunKind::Main => self.on_start_failed(run, reason),
                RunKind::Check => self.on_check_start_failed(run, reason),
            },
            Input::Exited { run, status, tree, output } => match run.kind {
                RunKind::Main => self.on_exited(run, status, tree),
                RunKind::Check => self.on_check_exited(run, status, tree, output),
            },
            Input::TreeGone { run } => match run.kind {
                RunKind::Main => self.on_tree_gone(run),
                RunKind::Check => self.on_check_tree_gone(run),
            },
            Input::Signal(signal) => self.on_signal(signal),
            Input::Control { request, command } => self.on_control(request, command),
            Input::Consul { op, reply } => match op.owner {
                Owner::Job(job) => self.on_catalog_reply(job, op.nth, reply),
                Owner::Watch(watch) => self.on_watch_reply(watch, op.nth, reply),
                Owner::Lock(lock) => self.on_key_reply(lock, op.nth, reply),
                Owner::Session(lock) => self.on_session_reply(lock, op.nth, reply),
            },
            Input::Keeper(news) => self.on_keeper(news),
            Input::Loaded { config } => self.on_loaded(config),
        }
    }

    fn on_begin(&mut self) {
        if self.stage != Stage::New {
            return;
        }
        self.stage = Stage::Running;
        let greeting = core::mem::take(&mut self.greeting);
        self.out.extend(greeting);
        self.publish(Code::Startup, Source::Global);
        self.begin_watches();
        self.begin_locks();
        for job in self.order.clone() {
            self.begin_job(job);
        }
        if self.planted(Defect::StartupJudgedTooEarly) {
            self.after_startup();
        }
    }

    /// Looks for jobs that can never start, when those that react to the startup have seen it.
    fn after_startup(&mut self) {
        for job in self.order.clone() {
            self.check_possible(job);
        }
    }

    fn on_signal(&mut self, signal: SignalName) {
        match signal {
            SignalName::Int if self.planted(Defect::InterruptIgnored) => {}
            SignalName::Term | SignalName::Int => self.on_stop_asked(),
            SignalName::Hup | SignalName::Usr2 => {
                if self.stage == Stage::Running {
                    self.publish(Code::Signal, Source::Signal(signal));
                }
            }
            SignalName::Usr1 if self.planted(Defect::LogsNotReopened) => {}
            SignalName::Usr1 => self.out.push(Effect::ReopenLogs),
        }
    }

    fn on_timer(&mut self, due: Due) {
        match due {
            Due::Global(GlobalTimer::StopBudget) => self.on_stop_budget_spent(),
            Due::Global(GlobalTimer::LastHooks) => self.on_last_hooks_over(),
            Due::Global(GlobalTimer::ForceExit) => self.on_force_exit(),
            Due::Global(GlobalTimer::Keeper) => self.on_keeper_due(),
            Due::Job(job, Timer::Trigger) => self.on_trigger_timeout(job),
            Due::Job(job, Timer::Due) => self.on_due(job),
            Due::Job(job, Timer::Run) => self.on_run_timeout(job),
            Due::Job(job, Timer::Kill) => self.on_kill_timeout(job),
            Due::Job(job, Timer::Restart) => self.on_restart_due(job),
            Due::Job(job, Timer::Hooks) => self.on_hooks_timeout(job),
            Due::Job(job, Timer::CheckDue) => self.on_check_due(job),
            Due::Job(job, Timer::Check) => self.on_check_timeout(job),
            Due::Job(job, Timer::Withdraw) => self.on_withdraw_timeout(job),
            Due::Job(job, Timer::Catalog) => self.on_catalog_due(job),
            Due::Job(job, Timer::CatalogReply) => self.on_catalog_overdue(job),
            Due::Job(job, Timer::StopBy) => self.on_stop_by(job),
            Due::Watch(watch, timer) => self.on_watch_timer(watch, timer),
            Due::Lock(lock, timer) => self.on_lock_timer(lock, timer),
        }
    }

    /// Appends an event to the one order that all jobs see.
    pub(crate) fn publish(&mut self, code: Code, source: Source) {
        let event = Event { code, source };
        self.out.push(Effect::Published(event));
        self.queue.push_back(event);
    }

    /// Delivers events until none is left. Each job publishes a bounded number of events without a
    /// new input (its end at most), so this ends.
    pub(crate) fn dispatch(&mut self) {
        self.deliver();
        if self.stage == Stage::Running && core::mem::replace(&mut self.has_ended_one, false) {
            self.end_builtin_jobs();
            self.deliver();
        }
        let is_sleepy = self.planted(Defect::SleepsOutTheBudget);
        if matches!(self.stage, Stage::Stopping { spent: false, .. }) && is_sleepy {
            return;
        }
        if self.alive > 0 || !matches!(self.stage, Stage::Running | Stage::Stopping { .. }) {
            return;
        }
        if self.has_sessions() {
            self.give_up_locks(LossReason::Stopping);
            self.deliver();
        }
        if !self.has_sessions() {
            self.exit();
        }
    }

    fn deliver(&mut self) {
        while let Some(event) = self.queue.pop_front() {
            for index in self.wiring.range(event) {
                if let Some(target) = self.wiring.target(index) {
                    self.on_event(target, event.code);
                }
            }
            self.after_event(event);
        }
    }

    /// Does what must wait until every job has seen an event.
    fn after_event(&mut self, event: Event) {
        match (event.code, event.source) {
            (Code::Startup, Source::Global) => self.after_startup(),
            (Code::Stopping, Source::Job(job)) => self.after_stopping(job),
            (Code::Stopped | Code::Skipped, Source::Job(job)) => self.after_end(job),
            (Code::Shutdown, Source::Global) => self.stop_all(),
            _ => {}
        }
    }

    pub(crate) fn slot(&self, job: JobId) -> Option<&Slot> {
        self.slots.get(job.index())
    }

    /// Gives a job's state for changing; the digest follows at the end of the input.
    pub(crate) fn slot_mut(&mut self, job: JobId) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(job.index())?;
        if !slot.is_touched {
            slot.is_touched = true;
            self.touched.push(job);
        }
        Some(slot)
    }

    /// Gives the state of the job whose present main run is `run`; none for a late or foreign
    /// result.
    pub(crate) fn slot_of_run(&mut self, run: RunId) -> Option<&mut Slot> {
        let nth = self.slot(run.job)?.runs;
        let is_present = nth == run.nth || self.planted(Defect::StaleResultCounts);
        if is_present && nth > 0 { self.slot_mut(run.job) } else { None }
    }

    fn settle_digest(&mut self) {
        while let Some(job) = self.touched.pop() {
            let slot = &mut self.slots[job.index()];
            slot.is_touched = false;
            if self.is_undigested {
                continue;
            }
            self.slots_digest ^= slot.hash;
            slot.hash = slot.fingerprint(job);
            self.slots_digest ^= slot.hash;
        }
    }

    pub(crate) fn log(&mut self, level: Level, job: Option<JobId>, message: Message) {
        self.out.push(Effect::Log(Record { level, job, message }));
    }

    pub(crate) fn set_variable(&mut self, name: Name, value: Option<Box<str>>) {
        self.out.push(Effect::SetVariable { name, value });
    }

    pub(crate) fn exit(&mut self) {
        let status = match self.stage {
            Stage::Stopping { .. } => {
                let essential = self.essential.filter(|status| *status != 0);
                essential.or(self.unclean).unwrap_or(0)
            }
            Stage::New | Stage::Running | Stage::Over => self.failure.unwrap_or(0),
        };
        self.stage = Stage::Over;
        self.out.push(Effect::Exit { status });
    }
}
