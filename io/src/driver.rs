//! The loop around the engine: the only one to tell it the time, and the one thread of decisions.
//!
//! Facts come in (a child ended, a signal came, a timer is due, somebody asked), the engine
//! decides, its effects are performed in order. Nothing in here waits for anything but the next
//! fact: output is written by another thread, files are read by another thread, clients are served
//! by other tasks.

mod guarding;

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use std::{fmt, io};

use steersman_engine::config::{Command, Config};
use steersman_engine::consul::{ConsulOp, ConsulReply, ConsulRequest, Reading};
use steersman_engine::effect::{Level, Message, Record, Reply};
use steersman_engine::front::{Diagnostic, Loaded, Settings};
use steersman_engine::{Effect, Engine, Input, RequestId, RunId, RunKind, Stamp, variable};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{mpsc, oneshot};

use crate::ask::{self, Ask, Asked};
use crate::clocks::read_clocks;
use crate::companions::{Companions, Ways};
use crate::journal::Journal;
use crate::keeper::{self, Link};
use crate::limits::{
    CONSUL_ANSWERS_MAX, DRAIN_MAX, DRAIN_PATIENCE, LEFT_POLL, START_POLL_MAX, START_POLL_MIN,
    SWEEP_PATIENCE,
};
use crate::log::Fields;
use crate::message;
use crate::output::{Destination, Outputs};
use crate::process::{self, Ended, Processes, Settled, SignalInbox};
use crate::snapshot::{self, Snapshots};
use crate::timer::Timer;

/// Reads the configuration again.
pub type Reader = Arc<dyn Fn() -> Result<Loaded, Box<str>> + Send + Sync>;

/// What to run.
pub struct Setup {
    /// The configuration.
    pub loaded: Loaded,
    /// Decides all jitter.
    pub seed: u64,
    /// Reads the configuration again, for a reload.
    pub reader: Reader,
}

/// Why nothing could be run at all.
#[derive(Debug)]
pub enum DriverError {
    /// The system refused something that a supervisor needs.
    System(io::Error),
    /// The log file cannot be opened.
    Log(io::Error),
    /// A companion could not begin.
    Companions(String),
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DriverError::System(error) => write!(f, "cannot supervise processes: {error}"),
            DriverError::Log(error) => write!(f, "cannot open the log: {error}"),
            DriverError::Companions(reason) => f.write_str(reason),
        }
    }
}

/// Runs a configuration to its end; gives the exit status.
///
/// `attach` is called inside the runtime, before anything is started. To be called on the main
/// thread, after [`crate::process::hold_signals`].
///
/// # Errors
/// When nothing was run at all.
pub fn run<C: Companions>(
    setup: Setup,
    attach: impl FnOnce(&Setup, Ways) -> Result<C, String>,
) -> Result<u8, DriverError> {
    process::keep_memory_small();
    let file_limits = process::raise_file_limit();
    let processes = Processes::new(file_limits).map_err(DriverError::System)?;
    let journal = Journal::open(&setup.loaded.settings.logging).map_err(DriverError::Log)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(DriverError::System)?;
    let (asker, asked) = ask::queue();
    let (answers, answered) = mpsc::channel(CONSUL_ANSWERS_MAX);
    let status = runtime.block_on(async {
        let socket = setup.loaded.settings.control_socket.clone();
        let snapshots = Snapshots::new(socket, answers.clone());
        let ways = Ways { asker, answers };
        let companions = attach(&setup, ways).map_err(DriverError::Companions)?;
        let world = (asked, answered, snapshots);
        let driver = Driver::new(setup, processes, journal, world, companions);
        Ok(driver.map_err(DriverError::System)?.drive().await)
    });
    // A file being read for a reload, or a client, is not waited for.
    runtime.shutdown_background();
    status
}

/// Gives a seed that differs from start to start: the hasher's keys come from the system's
/// generator.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::hash::RandomState::new().build_hasher().finish()
}

struct Driver<C> {
    engine: Engine,
    processes: Processes,
    outputs: Outputs,
    journal: Journal,
    companions: C,
    asked: Asked,
    answered: Answered,
    snapshots: Snapshots,
    keeper: Link,
    heard: keeper::Heard,
    reader: Reader,
    loaded: (mpsc::Sender<Box<LoadResult>>, mpsc::Receiver<Box<LoadResult>>),
    /// Settings that were read and not yet put in force.
    settings: Option<Settings>,
    /// What should be looked at in the configuration that was read last, until it is said.
    warnings: Vec<Diagnostic>,
    inbox: SignalInbox,
    timer: Timer,
    has_signals: AsyncFd<OwnedFd>,
    has_expired: AsyncFd<OwnedFd>,
    has_output: AsyncFd<OwnedFd>,
    /// How soon to look again how starts have turned out.
    start_poll: Duration,
    pending: VecDeque<Input>,
    effects: Vec<Effect>,
    requests: HashMap<RequestId, oneshot::Sender<Reply>>,
    request_count: u64,
    status: Option<u8>,
}

type Answered = mpsc::Receiver<(ConsulOp, ConsulReply)>;
type LoadResult = Result<Loaded, Box<str>>;

/// Why the loop woke up.
enum Wake {
    Signals,
    Timer,
    Output,
    Asked(Option<Ask>),
    Consul(ConsulOp, ConsulReply),
    Keeper(keeper::News),
    Loaded(Box<LoadResult>),
    /// There is room in the log, or inputs are waiting.
    Other,
    /// Time to look after processes that were left behind.
    Left,
    /// Time to look after processes that are starting.
    Starting,
}

impl<C: Companions> Driver<C> {
    fn new(
        setup: Setup,
        processes: Processes,
        journal: Journal,
        (asked, answered, snapshots): (Asked, Answered, Snapshots),
        companions: C,
    ) -> io::Result<Driver<C>> {
        let outputs = Outputs::new()?;
        let (keeper, heard) = Link::new();
        let (inbox, timer) = (SignalInbox::open()?, Timer::new()?);
        Ok(Driver {
            engine: Engine::new(setup.loaded.config, setup.seed),
            processes,
            journal,
            companions,
            asked,
            answered,
            snapshots,
            keeper,
            heard,
            reader: setup.reader,
            // The engine reads one file at a time.
            loaded: mpsc::channel(1),
            settings: None,
            warnings: setup.loaded.warnings,
            has_signals: process::watch(&inbox)?,
            has_expired: process::watch(&timer)?,
            has_output: process::watch(&outputs)?,
            inbox,
            timer,
            outputs,
            start_poll: START_POLL_MIN,
            pending: VecDeque::from([Input::Begin]),
            effects: Vec::new(),
            requests: HashMap::new(),
            request_count: 0,
            status: None,
        })
    }

    async fn drive(mut self) -> u8 {
        let mut is_settled = false;
        self.journal.set_time(read_clocks().1);
        self.say_warnings();
        loop {
            // Inputs that these cause wait for the next round: others get their turn in between.
            for _ in 0..self.pending.len() {
                let Some(input) = self.pending.pop_front() else { break };
                self.feed(input);
                if let Some(status) = self.status {
                    self.finish();
                    return status;
                }
            }
            if let Some(complaint) = self.companions.complaint() {
                self.journal.record(Level::Warn, Fields::default(), &complaint);
            }
            self.settle();
            self.journal.flush();
            self.timer.set(self.engine.next_wakeup());
            if !is_settled && self.pending.is_empty() && !self.processes.is_starting() {
                process::forget_startup();
                is_settled = true;
            }
            let wake = self.wait().await;
            self.processes.refresh_later();
            self.journal.set_time(read_clocks().1);
            self.on_wake(wake);
        }
    }

    async fn wait(&mut self) -> Wake {
        let is_full = self.journal.is_full();
        let is_asked = !self.asked.is_closed() || !self.asked.is_empty();
        tokio::select! {
            // A failure to wait shows when the descriptor is read.
            _ = self.has_signals.readable() => Wake::Signals,
            _ = self.has_expired.readable() => Wake::Timer,
            _ = self.has_output.readable(), if !is_full => Wake::Output,
            () = self.journal.room(), if is_full => Wake::Other,
            ask = self.asked.recv(), if is_asked => Wake::Asked(ask),
            Some((op, reply)) = self.answered.recv() => Wake::Consul(op, reply),
            Some(news) = self.heard.recv() => Wake::Keeper(news),
            Some(result) = self.loaded.1.recv() => Wake::Loaded(result),
            () = tokio::time::sleep(LEFT_POLL), if self.processes.has_left() => Wake::Left,
            () = tokio::time::sleep(self.start_poll), if self.processes.is_starting() => {
                Wake::Starting
            }
            () = tokio::task::yield_now(), if !self.pending.is_empty() => Wake::Other,
        }
    }

    fn on_wake(&mut self, wake: Wake) {
        match wake {
            Wake::Signals => self.on_signals(),
            Wake::Timer => {
                let timer = &mut self.timer;
                if self.has_expired.try_io(Interest::READABLE, |_| timer.take()).is_ok() {
                    self.pending.push_back(Input::Tick);
                }
            }
            Wake::Output => {
                let (outputs, journal) = (&mut self.outputs, &mut self.journal);
                let _would_block = self.has_output.try_io(Interest::READABLE, |_| {
                    if outputs.read_some(journal) { Ok(()) } else { Err(would_block()) }
                });
            }
            Wake::Asked(Some(ask)) => self.on_ask(ask),
            Wake::Asked(None) | Wake::Other => {}
            Wake::Consul(op, reply) => self.pending.push_back(Input::Consul { op, reply }),
            Wake::Keeper(news) => self.hear(news),
            Wake::Loaded(result) => {
                let config = result.map(|loaded| {
                    self.settings = Some(loaded.settings);
                    self.warnings = loaded.warnings;
                    Box::new(loaded.config)
                });
                self.pending.push_back(Input::Loaded { config });
            }
            Wake::Left => self.reap(),
            Wake::Starting => self.start_poll = START_POLL_MAX.min(self.start_poll * 2),
        }
    }

    fn on_signals(&mut self) {
        let mut has_ended = false;
        // Until it is empty: SIGCHLD stands for any number of children anyway.
        let inbox = &self.inbox;
        while let Ok(received) = self.has_signals.try_io(Interest::READABLE, |_| inbox.receive()) {
            self.pending.extend(received.signals.into_iter().map(Input::Signal));
            has_ended |= received.child;
        }
        if has_ended {
            self.reap();
        }
    }

    /// Takes in how starts have turned out.
    fn settle(&mut self) {
        for settled in self.processes.settled() {
            self.start_poll = START_POLL_MIN;
            self.pending.push_back(match settled {
                Settled::Started { run, pid } => Input::Started { run, pid },
                Settled::Failed { run, reason } => {
                    self.outputs.finish(run, &mut self.journal);
                    Input::StartFailed { run, reason }
                }
            });
        }
    }

    fn reap(&mut self) {
        let ended = self.processes.reap();
        self.settle();
        for ended in ended {
            self.note_ended(&ended);
            self.pending.extend(match ended {
                Ended::Leader { run, status, tree } => {
                    let output = self.outputs.finish(run, &mut self.journal);
                    Some(Input::Exited { run, status, tree, output })
                }
                Ended::Rest { run } => Some(Input::TreeGone { run }),
                Ended::Keeper { .. } => None,
            });
        }
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Control(command, reply) => {
                self.request_count += 1;
                let request = RequestId(self.request_count);
                self.requests.insert(request, reply);
                self.pending.push_back(Input::Control { request, command });
            }
            // Whoever asked may have gone; that is his business.
            Ask::Status(reply) => drop(reply.send(self.engine.status())),
            Ask::Events(subscriber) => self.companions.subscribe(subscriber),
            Ask::Trace(reply) => drop(reply.send(self.companions.trace())),
        }
    }

    fn feed(&mut self, input: Input) {
        let (now, wall_ns) = read_clocks();
        self.journal.set_time(wall_ns);
        self.companions.begin_step(now, &input);
        let mut effects = std::mem::take(&mut self.effects);
        self.engine.handle(now, input, &mut effects);
        self.companions.end_step(&self.engine, &effects);
        for effect in effects.drain(..) {
            self.perform(now, effect);
        }
        self.effects = effects;
    }

    fn perform(&mut self, now: Stamp, effect: Effect) {
        match effect {
            Effect::Start { run, command } => self.start(run, &command),
            Effect::Signal { run, signal } => self.processes.signal(run, signal),
            Effect::SetVariable { name, value } => {
                self.processes.set_variable(&name, value.as_deref());
            }
            Effect::Consul { op, request: ConsulRequest::File { path }, .. } => {
                self.snapshots.look(op, path);
            }
            Effect::Consul { op, request, timeout } => self.companions.consul(op, request, timeout),
            Effect::Snapshot { watch, reading } => self.keep_snapshot(&watch, &reading),
            Effect::WriteFile { path, contents } => self.write_file(&path, contents.as_deref()),
            Effect::Guard { lock, until, jobs } => self.guard(lock, until, &jobs),
            Effect::Published(event) => self.companions.published(now, event, &self.engine),
            Effect::Metric { name, value } => self.companions.metric(&name, value),
            Effect::Log(record) => self.log(&record),
            Effect::Reply { request, reply } => {
                if let Some(asker) = self.requests.remove(&request) {
                    // Whoever asked may have gone.
                    drop(asker.send(reply));
                }
            }
            Effect::LoadConfig => self.load(),
            Effect::Applied(config) => self.apply(&config),
            Effect::ReopenLogs => self.journal.reopen(),
            Effect::Exit { status } => self.status = Some(status),
        }
    }

    /// Writes down what a watch has read, and tells processes started later where.
    fn keep_snapshot(&mut self, watch: &str, reading: &Reading) {
        let name = variable::watch_file(watch);
        match self.snapshots.write(watch, reading) {
            Ok(path) => self.processes.set_variable(&name, Some(&path)),
            Err(reason) => {
                self.processes.set_variable(&name, None);
                self.journal.record(Level::Warn, Fields::default(), &reason);
            }
        }
    }

    fn write_file(&mut self, path: &str, contents: Option<&str>) {
        if let Err(reason) = snapshot::replace(Path::new(path), contents) {
            self.journal.record(Level::Error, Fields::default(), &reason);
        }
    }

    fn start(&mut self, run: RunId, command: &Arc<Command>) {
        let Some(job) = self.engine.job(run.job).map(|job| Arc::clone(&job.name)) else { return };
        let is_check = run.kind == RunKind::Check;
        if self.journal.wants(Level::Debug) {
            let fields = Fields { job: Some(&job), is_check, ..Fields::default() };
            let message = format!("run {}: {:?}", run.nth, command.argv);
            self.journal.record(Level::Debug, fields, &message);
        }
        let begun = match self.processes.start(run, &job, command) {
            Ok(begun) => begun,
            Err(reason) => {
                self.pending.push_back(Input::StartFailed { run, reason });
                return;
            }
        };
        let pid = begun.pid;
        self.note_begun(&job, (run, pid));
        if let Some(output) = begun.output {
            let is_raw = command.raw_output;
            let destination = Destination { job: Arc::clone(&job), pid, is_raw };
            if let Err(error) = self.outputs.add(run, output, destination) {
                let fields =
                    Fields { job: Some(&job), is_check, pid: Some(pid), ..Fields::default() };
                let message = format!("cannot read its output: {error}");
                self.journal.record(Level::Error, fields, &message);
            }
        }
    }

    fn log(&mut self, record: &Record) {
        if !self.journal.wants(record.level) {
            return;
        }
        let job = record.job.and_then(|job| self.engine.job(job));
        let pid = match record.message {
            Message::Started { pid } => Some(pid),
            _ => None,
        };
        let fields = Fields { job: job.map(|job| &*job.name), pid, ..Fields::default() };
        self.journal.record(record.level, fields, &message::text(&record.message));
    }

    /// Reads the file where it holds up nobody.
    fn load(&mut self) {
        let (reader, answer) = (Arc::clone(&self.reader), self.loaded.0.clone());
        tokio::task::spawn_blocking(move || {
            // The engine asks for one file at a time, and the driver lives on: there is room.
            let _full = answer.try_send(Box::new(reader()));
        });
    }

    fn apply(&mut self, config: &Config) {
        let Some(settings) = self.settings.take() else { return };
        let mut problems = self.companions.apply(config, &settings);
        if let Err(error) = self.journal.apply(&settings.logging) {
            problems.push(format!("cannot open the log, the old one stays: {error}"));
        }
        for problem in problems {
            self.journal.record(Level::Error, Fields::default(), &problem);
        }
        self.say_warnings();
    }

    /// Nobody runs `check` before every start.
    fn say_warnings(&mut self) {
        for warning in std::mem::take(&mut self.warnings) {
            self.journal.record(Level::Warn, Fields::default(), &warning.to_line());
        }
    }

    /// Leaves nothing behind: no process, no byte in a pipe, no record.
    fn finish(&mut self) {
        self.keeper.finish();
        let end = read_clocks().0.mono + SWEEP_PATIENCE;
        while self.processes.sweep() && read_clocks().0.mono < end {
            // The kernel needs a moment to take them away.
            std::thread::sleep(Duration::from_millis(1));
        }
        self.outputs.drain(&mut self.journal);
        self.companions.finish();
        self.journal.drain(DRAIN_PATIENCE, DRAIN_MAX);
    }
}

fn would_block() -> io::Error {
    io::Error::from(io::ErrorKind::WouldBlock)
}
