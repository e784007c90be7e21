//! Every bound of the engine, with its reason.

use core::time::Duration;

/// The most jobs in one configuration: slots are 16 bits wide.
pub const JOBS_MAX: usize = 20_000;

/// How much of a check's output is kept: what Consul keeps (measured on 1.8.7, 4096 bytes).
pub const CHECK_OUTPUT_BYTES: usize = 4096;

/// How many starts of one job may wait: a day of one a second. More are dropped, and said so.
pub const PENDING_STARTS_MAX: u32 = 86_400;

/// How many reload requests may wait for the file to be read.
pub const RELOADS_WAITING_MAX: usize = 1024;

/// After the stop budget is spent: how long jobs that react to `stopped` may still take. Together
/// with [`FORCE_EXIT_AFTER`] it stays below the second that `stopTimeout` may be exceeded by.
pub const LAST_HOOKS_GRACE: Duration = Duration::from_millis(700);

/// After the last SIGKILL: how long to wait for the kernel before ending regardless.
pub const FORCE_EXIT_AFTER: Duration = Duration::from_millis(200);

/// The shortest interval: v3's own minimum, and what keeps a hand-made zero from stopping time.
pub const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// How far the wall clock must move against the monotonic one before it counts as stepped: more
/// than a clock that is being slewed moves between two inputs.
pub const WALL_STEP_MIN_MS: u64 = 1_000;

/// A step of up to this counts as a correction, a longer one as a new clock (cron(8): three hours).
pub const WALL_STEP_CORRECTION_MS: u64 = 3 * 60 * 60 * 1_000;

/// How often a scheduled job looks at the wall clock, at least: that long a step may go unnoticed.
pub const WALL_LOOK: Duration = Duration::from_secs(60);

/// How long an answer of Consul may take, beyond what a blocking query waits: agents have been seen
/// to hold a request for 11.4 s while their servers elect a leader.
pub const CONSUL_TIMEOUT: Duration = Duration::from_secs(15);

/// How much later than its timeout an answer may come before it counts as lost here as well.
pub const REPLY_GRACE: Duration = Duration::from_millis(250);

/// From SIGKILL to no more effects (κ of the lock's inequalities): reaping 1 GiB was measured at
/// 0.19 s.
pub const KILL_LATENCY: Duration = Duration::from_millis(500);

/// For how many times its time to live a session may be there after its last renewal: twice, and
/// as long again when Consul's leader changes meanwhile (measured, 25 s to 55 s of a TTL of 10 s).
pub const SESSION_LIVES: u32 = 4;

/// The longest wait before standing for a lock again.
pub const HOLD_OFF_MAX: Duration = Duration::from_secs(300);

/// Over how long the candidates of a lock that became free spread: an orderly hand-over stays well
/// below a second.
pub const HERD_SPREAD_NS: u64 = 250_000_000;

/// The flags of a key that was given back in order: "ST", a two, and the floor of its tokens.
pub const RELEASED_FLAG: u64 = 0x5354 << 48 | 2 << 46;

/// The flags of a key that is held: "ST", a one, and the floor of its tokens.
pub const HELD_FLAG: u64 = 0x5354 << 48 | 1 << 46;

/// The part of the flags that is added to Consul's index to make a token. It is zero until Consul
/// has lost its memory and counts anew.
pub const FLOOR_MASK: u64 = (1 << 46) - 1;

/// The longest summary of a watch in a variable: half of what Linux takes for one (128 KiB).
pub const SUMMARY_BYTES: usize = 64 * 1024;

/// How long a blocking query waits for a change: 50 watches then cost less than one request a
/// second.
pub const WATCH_WAIT: Duration = Duration::from_secs(75);

/// After an answer that changed nothing: the least time to the next query of the same watch.
pub const WATCH_PAUSE: Duration = Duration::from_millis(250);

/// A watched set that never stays the same for its `settle` is announced after so many times that.
pub const SETTLES_MAX: u32 = 4;

/// After a failed request: the first and the longest wait.
pub const CONSUL_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(500), Duration::from_secs(15));

/// When a service stops: how long its deregistration may delay the stop signal, at most.
pub const WITHDRAW_MAX: Duration = Duration::from_secs(2);

/// When a service stops: how long its deregistration is tried at all, at most.
pub const DEREGISTER_MAX: Duration = Duration::from_secs(3);

/// The least time between two queries of one watch: a set that changes all the time is read ten
/// times a second.
pub const WATCH_SPACING: Duration = Duration::from_millis(100);

/// The wait between two tries to renew a lock, as the check of its figures counts it.
pub const LOCK_RETRY_WAIT: Duration = Duration::from_secs(1);

/// How long a lock that requires a keeper is held without one: it is there again in milliseconds
/// unless something is wrong.
pub const KEEPER_PATIENCE: Duration = Duration::from_secs(2);

/// After a keeper was lost, or could not be started: the first and the longest wait.
pub const KEEPER_BACKOFF: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(30));

/// A keeper that has lived so long was no failure: the wait after it begins at the first again.
pub const KEEPER_STEADY: Duration = Duration::from_secs(60);
