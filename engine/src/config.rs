//! The typed configuration: what the engine runs. It cannot be wrong in form; the front end
//! ([`crate::front`], behind the `std` feature) builds it from text and refuses everything else.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::event::{Code, SignalName};
use crate::schedule::Schedule;
pub use crate::signal::Signal;

/// A name in the configuration; shared, never changed.
pub type Name = Arc<str>;

/// Everything that a supervisor is to run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The jobs, in the order of the file.
    pub jobs: Vec<Arc<Job>>,
    /// The watches, in the order of the file.
    pub watches: Vec<Watch>,
    /// The one budget of a shutdown, and the default of every [`Job::kill_timeout`].
    pub stop_timeout: Duration,
    /// Metrics that `putmetric` may set.
    pub metrics: Vec<Metric>,
    /// The locks, in the order of the file.
    #[serde(default)]
    pub locks: Vec<Lock>,
    /// The name of this machine, the second half of every service's id.
    #[serde(default = "nameless")]
    pub hostname: Name,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            jobs: Vec::new(),
            watches: Vec::new(),
            stop_timeout: Duration::from_secs(5),
            metrics: Vec::new(),
            locks: Vec::new(),
            hostname: nameless(),
        }
    }
}

/// What a lock does unless it says otherwise; traces older than the key leave it out.
const fn always() -> bool {
    true
}

fn nameless() -> Name {
    Name::from("")
}

/// One job: a process with its trigger, or, without a command, a service to advertise.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The name, unique in the configuration.
    pub name: Name,
    /// What to execute; none for a job that only advertises.
    pub command: Option<Arc<Command>>,
    /// When to start.
    pub trigger: Trigger,
    /// How long to wait for the trigger before giving up (`when.timeout`).
    pub trigger_timeout: Option<Duration>,
    /// How often to run again after an end.
    pub restarts: Restarts,
    /// How long to wait between restarts.
    pub backoff: Backoff,
    /// How long one run may take before its group gets SIGKILL.
    pub timeout: Option<Duration>,
    /// How long a stopping job waits for the jobs that react to its `stopping`.
    pub stop_timeout: Option<Duration>,
    /// The first signal of a stop.
    pub stop_signal: Signal,
    /// From the stop signal to SIGKILL; the global stop timeout when absent.
    pub kill_timeout: Option<Duration>,
    /// How to tell whether it works.
    pub health: Option<HealthCheck>,
    /// Whether the container ends when this job ends.
    pub essential: bool,
    /// What to register in Consul.
    pub service: Option<Service>,
    /// The lock that must be held while this job runs (`while: "lock.NAME"`).
    pub while_lock: Option<Name>,
    /// The lock whose terms it does not outlive (`stopWith: "lock.NAME"`).
    pub stop_with: Option<Name>,
    /// Whether it belongs to the supervisor itself (telemetry): then it keeps no container alive.
    pub builtin: bool,
}

impl Job {
    /// Builds a job with the defaults of v3: started once at startup, never restarted.
    pub fn new(name: &str, command: Command) -> Job {
        Job {
            name: Name::from(name),
            command: Some(Arc::new(command)),
            trigger: Trigger::Startup,
            trigger_timeout: None,
            restarts: Restarts::Limited(0),
            backoff: Backoff::default(),
            timeout: None,
            stop_timeout: None,
            stop_signal: Signal::TERM,
            kill_timeout: None,
            health: None,
            essential: false,
            service: None,
            while_lock: None,
            stop_with: None,
            builtin: false,
        }
    }
}

/// What to execute, as whom and where. Everything in it belongs to the process: a reload that
/// leaves it alone leaves the process alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    /// The program and its arguments; never empty. A program without `/` is looked up in `PATH`.
    pub argv: Vec<Box<str>>,
    /// Variables set for this process, over the supervisor's own.
    pub env: Vec<(Box<str>, Box<str>)>,
    /// A file of `NAME=value` lines, read at each start, below `env`.
    pub env_file: Option<Box<str>>,
    /// User, by name or number.
    pub user: Option<Box<str>>,
    /// Group, by name or number; the user's own when absent.
    pub group: Option<Box<str>>,
    /// Working directory.
    pub workdir: Option<Box<str>>,
    /// File mode creation mask.
    pub umask: Option<u32>,
    /// Resource limits.
    pub limits: Vec<Limit>,
    /// Whether output passes through untouched instead of becoming log records.
    pub raw_output: bool,
    /// Whether the process reads what the supervisor is given, instead of nothing.
    #[serde(default)]
    pub reads_input: bool,
}

impl Command {
    /// Builds a command from its arguments.
    pub fn new<'a>(argv: impl IntoIterator<Item = &'a str>) -> Command {
        Command { argv: argv.into_iter().map(Box::from).collect(), ..Command::default() }
    }
}

/// One resource limit, both soft and hard (see `setrlimit(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    /// Which resource.
    pub resource: Resource,
    /// The soft limit; `None` is unlimited.
    pub soft: Option<u64>,
    /// The hard limit; `None` is unlimited.
    pub hard: Option<u64>,
}

macro_rules! resources {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// The resources that can be limited, by their names in `limits`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum Resource { $($(#[$doc])* $variant),+ }

        impl Resource {
            /// Every resource.
            pub const ALL: &'static [Resource] = &[$(Resource::$variant),+];

            /// Gives the name used in `limits`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Resource::$variant => $text),+ }
            }
        }
    };
}

resources! {
    /// Address space, bytes.
    As = "as",
    /// Core file, bytes.
    Core = "core",
    /// CPU time, seconds.
    Cpu = "cpu",
    /// Data segment, bytes.
    Data = "data",
    /// File size, bytes.
    Fsize = "fsize",
    /// Locked memory, bytes.
    Memlock = "memlock",
    /// Message queues, bytes.
    Msgqueue = "msgqueue",
    /// Nice ceiling.
    Nice = "nice",
    /// Open files.
    Nofile = "nofile",
    /// Processes of the user.
    Nproc = "nproc",
    /// Resident set, bytes (ignored by Linux).
    Rss = "rss",
    /// Real-time priority ceiling.
    Rtprio = "rtprio",
    /// Pending signals.
    Sigpending = "sigpending",
    /// Stack, bytes.
    Stack = "stack",
}

/// When a job starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Trigger {
    /// Once, when the supervisor starts.
    Startup,
    /// On one event.
    On(Clause),
    /// Once all conditions hold at the same time, judged on levels, not on edges.
    All(Vec<Clause>),
    /// On any of several events.
    Any(Vec<Clause>),
    /// Every so often, counted from startup, the first time at startup.
    Interval(Duration),
    /// At the times of a cron expression (UTC).
    Schedule(Schedule),
}

/// One condition of a trigger.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Clause {
    /// What must happen.
    pub code: Code,
    /// Where.
    pub source: SourceName,
    /// The first time only, or every time.
    pub repeat: Repeat,
}

/// How often a condition counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repeat {
    /// The first time only.
    Once,
    /// Every time.
    Each,
}

/// A source by name, as the configuration gives it. The front end guarantees that it exists.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum SourceName {
    /// The supervisor itself.
    Global,
    /// A job.
    Job(Name),
    /// A job's health check.
    Check(Name),
    /// A watch.
    Watch(Name),
    /// A lock.
    Lock(Name),
    /// A signal.
    Signal(SignalName),
}

/// How often a job runs again after it ended, whatever its status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Restarts {
    /// So many times over the life of the job; zero is "never".
    Limited(u32),
    /// For ever.
    Unlimited,
}

/// How long to wait between restarts. The first restart after good running comes at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// Never wait (what v3 did).
    None,
    /// Wait longer each time.
    Exponential {
        /// The first wait.
        initial: Duration,
        /// The longest wait.
        max: Duration,
        /// By how much each wait is longer than the one before, in percent: 200 doubles.
        factor_percent: u32,
        /// Running for so long forgives everything before.
        reset: Duration,
    },
}

impl Default for Backoff {
    fn default() -> Backoff {
        Backoff::Exponential {
            initial: Duration::from_millis(100),
            max: Duration::from_secs(30),
            factor_percent: 200,
            reset: Duration::from_secs(10),
        }
    }
}

/// How to tell whether a job works.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthCheck {
    /// What to execute; without it the job counts as healthy while it runs (a heartbeat only).
    pub command: Option<Arc<Command>>,
    /// From one check to the next; the first comes one interval after the start.
    pub interval: Duration,
    /// How long one check may take before it counts as failed and its group gets SIGKILL.
    pub timeout: Duration,
    /// How long Consul believes the last report.
    pub ttl: Option<Duration>,
    /// Failures in a row that make a job unhealthy; at least 1.
    pub retries: u32,
    /// After a start, how long failures do not count.
    pub start_period: Duration,
    /// From one check to the next within the start period and before the first success.
    pub start_interval: Option<Duration>,
}

/// What to register in Consul for a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Port.
    pub port: u16,
    /// The address, already chosen by the front end; none in a mere check of a configuration.
    pub address: Option<IpAddr>,
    /// Status to register with before any check.
    pub initial_status: Option<CheckStatus>,
    /// Tags.
    pub tags: Vec<Box<str>>,
    /// Meta data.
    pub meta: Vec<(Box<str>, Box<str>)>,
    /// Whether the catalog may change the tags.
    pub enable_tag_override: bool,
    /// After how long critical Consul removes it.
    pub deregister_critical_after: Option<Duration>,
    /// From the withdrawal to the stop signal.
    pub drain: Duration,
}

/// Consul's status of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// Works.
    Passing,
    /// Works, but.
    Warning,
    /// Does not work.
    Critical,
}

/// One watch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// The name events use.
    pub name: Name,
    /// What to watch.
    pub target: WatchTarget,
    /// How old a reading may be.
    pub interval: Duration,
    /// Data centre.
    pub dc: Option<Box<str>>,
    /// How long a set must stay the same before it is announced.
    pub settle: Duration,
    /// How long the source may be out of reach before `stale`.
    pub stale: Option<Duration>,
}

/// What a watch looks at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchTarget {
    /// The passing instances of a service, perhaps with a tag.
    Service {
        /// The service's name.
        name: Box<str>,
        /// A tag every instance must have.
        tag: Option<Box<str>>,
    },
    /// One key.
    Key(Box<str>),
    /// All keys below a prefix.
    Prefix(Box<str>),
    /// A file.
    File(Box<str>),
}

/// A user's metric.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Namespace, subsystem and name, joined by `_`, without empty parts.
    pub name: Name,
    /// Help text.
    pub help: Box<str>,
    /// Type.
    pub kind: MetricKind,
}

/// The four types of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricKind {
    /// Adds.
    Counter,
    /// Sets.
    Gauge,
    /// Counts into buckets.
    Histogram,
    /// Quantiles.
    Summary,
}

/// One lock in Consul, held by at most one supervisor at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The name events use.
    pub name: Name,
    /// The key in Consul; one for each elected role.
    pub key: Box<str>,
    /// The time to live of the session.
    pub ttl: Duration,
    /// How long Consul keeps others out after a loss without a release.
    pub lock_delay: Duration,
    /// From one renewal of the session to the next.
    pub renew_every: Duration,
    /// How long one request about the lock may take.
    pub request_timeout: Duration,
    /// The age of the last confirmed renewal, or reading of the key, at which stopping begins.
    pub demote_after: Duration,
    /// From the stop signal to SIGKILL for the jobs that need the lock.
    pub stop_timeout: Duration,
    /// The longest pause of the supervisor that the inequalities allow for.
    pub max_pause: Duration,
    /// The largest error of a clock's rate that the inequalities allow for, in parts per million.
    pub max_drift_ppm: u32,
    /// How long to keep quiet after acquiring.
    pub takeover: Takeover,
    /// A job that must be healthy to keep the lock.
    pub healthy: Option<Name>,
    /// How long that job may be unhealthy.
    pub health_grace: Duration,
    /// After a lost term: how long before standing again.
    pub hold_off: Duration,
    /// What others read in the key.
    pub value: Option<Box<str>>,
    /// Whether the author accepted that the inequalities do not hold (`unsafe: true`).
    pub risk_accepted: bool,
    /// Whether to stand again after a lost term; without, its jobs end for good.
    #[serde(default = "always")]
    pub stands_again: bool,
    /// How long to stand for it at most; then its jobs end for good.
    #[serde(default)]
    pub give_up_after: Option<Duration>,
    /// Where to write the fencing token of a term, for those who cannot read the environment.
    #[serde(default)]
    pub token_file: Option<Box<str>>,
    /// Whether a keeper watches over the processes of a term.
    #[serde(default)]
    pub keeper: Keeping,
}

/// Whether a process beside the supervisor kills what must be gone when the supervisor does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Keeping {
    /// It is not wanted.
    #[default]
    Off,
    /// As well as it can be had.
    Auto,
    /// There is no term without it.
    Required,
}

/// How long a new holder keeps quiet before its jobs start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Takeover {
    /// Not at all when the key's history is seen to continue, else as long as an old holder may
    /// take.
    Auto,
    /// Always so long.
    After(Duration),
}
