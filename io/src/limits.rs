//! Every bound of the adapter, with its reason.

use std::time::Duration;

/// The most connections to the control plane at once; further ones wait in the kernel's queue. Each
/// may hold one body of [`BODY_BYTES_MAX`], so that 64 MiB is the most that the socket's owner can
/// cost.
pub const CONTROL_CONNECTIONS_MAX: usize = 64;

/// How many questions may wait for the driver: each connection has one under way.
pub const ASKS_MAX: usize = CONTROL_CONNECTIONS_MAX;

/// The largest body of a control request.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;

/// How many lines may wait for one reader of the event stream before lines are dropped.
pub const EVENTS_WAITING_MAX: usize = 1024;

/// The longest `envFile`: far more than `execve` takes (128 KiB a string, 2 MiB in all).
pub const ENV_FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// How much may wait for whoever reads the log before the pipes of jobs are left unread: four times
/// what a pipe holds, so that a reader's short pause slows nobody down.
pub const QUEUE_FULL_BYTES: usize = 256 * 1024;

/// How much may wait at all: what is still in the pipe of a process that has ended is taken up to
/// here.
pub const QUEUE_MAX_BYTES: usize = 4 * 1024 * 1024;

/// The most that is written at once, and what a buffer keeps when it is empty.
pub const WRITE_BYTES_MAX: usize = 64 * 1024;

/// The longest record of a job's line; a longer line becomes several records, each marked.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// How much is read from the pipe of a process that has ended: a pipe holds 64 KiB unless somebody
/// made it larger, and whoever writes on must not keep us there.
pub const PIPE_DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// How many pipes of one job may be kept open by processes that its ended runs left behind.
pub const LINGERING_MAX: usize = 4;

/// How often to look whether what a run left behind has gone. Each end is a signal anyway; this
/// helps where `/proc` is not mounted.
pub const LEFT_POLL: Duration = Duration::from_secs(1);

/// At the end: how long to wait for killed orphans to go. The kernel takes them away in
/// microseconds; one that sleeps in a broken device never goes.
pub const SWEEP_PATIENCE: Duration = Duration::from_millis(100);

/// At the end: how long a reader of the log may take for one piece before it counts as stalled.
pub const DRAIN_PATIENCE: Duration = Duration::from_millis(250);

/// At the end: how long a slow reader of the log is waited for in all.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);

/// How many answers of Consul may wait for the driver; further ones wait where they were received.
pub const CONSUL_ANSWERS_MAX: usize = 64;

/// How long a control client may take to send its headers.
pub const HEADERS_PATIENCE: Duration = Duration::from_secs(5);

/// How long a control client may take to send its body.
pub const BODY_PATIENCE: Duration = Duration::from_secs(10);

/// How long a client may take to read an answer that is ready.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// How many of the connections may be readers of the event stream, which stay: the rest remains
/// free for requests.
pub const EVENT_READERS_MAX: usize = 16;

/// How many steps the recorder keeps in memory, in bytes: some hundred steps, and small beside the
/// 3 MB that the whole supervisor is to fit in.
pub const TRACE_RING_BYTES: usize = 256 * 1024;

/// How many steps may wait for the disk before the recording ends: the burst of a start with 2,000
/// jobs fits twice.
pub const TRACE_LINES_WAITING_MAX: usize = 16 * 1024;

/// How long the end of the run waits for the disk to take the end of the trace.
pub const TRACE_FINISH_PATIENCE: Duration = Duration::from_secs(2);

/// The most connections to the telemetry port at once.
pub const TELEMETRY_CONNECTIONS_MAX: usize = 32;

/// How many observations a summary keeps; older ones leave its window early. 4,096 values of 16
/// bytes give each quantile better than v3's error.
pub const SUMMARY_SAMPLES_MAX: usize = 4096;

/// The window of a summary's quantiles, as v3's client library had it.
pub const SUMMARY_WINDOW: Duration = Duration::from_secs(600);

/// How much of a body that is too large is read and thrown away, so that its sender gets to see the
/// answer.
pub const BODY_BYTES_DRAINED_MAX: usize = 8 * BODY_BYTES_MAX;

/// How long to wait after a connection could not be accepted (no descriptors left).
pub const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(50);

/// Between two writes of the log: less than anybody notices, and enough to write many records at
/// once.
pub const WRITE_PAUSE: Duration = Duration::from_millis(1);

/// How many short requests to Consul are under way at once. An agent answers them one after another
/// anyway; more connections only bring its limit of 200 a client address nearer.
pub const CONSUL_SHORT_MAX: usize = 4;

/// How many blocking queries are under way at once: of an agent's 200 connections for one address
/// some are left for reports, locks and others on this machine. A further watch has to wait.
pub const CONSUL_BLOCKING_MAX: usize = 180;

/// How many idle connections to Consul are kept: a burst of changes ends that many blocking queries
/// at once, and all of them come back within a second.
pub const CONSUL_IDLE_MAX: usize = 32;

/// How long an idle connection to Consul is trusted: less than the idle limits of usual proxies.
pub const CONSUL_IDLE_AGE_MAX: Duration = Duration::from_secs(50);

/// The largest answer of Consul that is taken: thousands of instances. Each watch holds one at
/// most.
pub const CONSUL_BODY_BYTES_MAX: usize = 4 * 1024 * 1024;

/// How much of an error's body is read; people see the beginning of it.
pub const CONSUL_ERROR_BYTES_MAX: usize = 4 * 1024;

/// The largest head of an answer: Consul's have 300 bytes, proxies add their own.
pub const CONSUL_HEAD_BYTES_MAX: usize = 32 * 1024;

/// The largest token file: a token has 36 bytes, one that names an identity provider's may be long.
pub const TOKEN_BYTES_MAX: u64 = 16 * 1024;

/// After how long without an answer the next address of a name is tried as well (RFC 8305, 5).
pub const CONNECT_STAGGER: Duration = Duration::from_millis(250);

/// How many addresses of a name are tried.
pub const CONNECT_ADDRESSES_MAX: usize = 8;

/// Keep-alive of connections to Consul: idle time, time between probes, number of probes.
pub const KEEP_ALIVE: (Duration, Duration, u32) =
    (Duration::from_secs(10), Duration::from_secs(3), 3);

/// How long sent bytes may stay without acknowledgement: as long as keep-alive takes to give up.
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(19);

/// Longer answers of Consul are read by another thread: this much takes a millisecond.
pub const CONSUL_DECODE_BYTES_MAX: usize = 256 * 1024;

/// How many processes may be on their way to their programs while the supervisor goes on; for one
/// more it waits. Each takes two pages of memory.
pub const STARTING_MAX: usize = 64;

/// How many stacks for processes on their way are kept when nobody uses them.
pub const STACKS_KEPT_MAX: usize = 4;

/// How soon to look how a start has turned out: a program is there within a fraction of this.
pub const START_POLL_MIN: Duration = Duration::from_millis(1);

/// How rarely to look, when a program's file system keeps it waiting.
pub const START_POLL_MAX: Duration = Duration::from_millis(64);

/// The longest order to the keeper: twenty thousand jobs with long names.
pub const KEEPER_FRAME_BYTES_MAX: usize = 1024 * 1024;

/// How many news of keepers may wait for the driver; further ones wait in their pipes.
pub const KEEPER_NEWS_MAX: usize = 16;

/// How much later than its time the keeper looks at a term: a supervisor that runs has then killed
/// what was left, since its own time for that is the same.
pub const KEEPER_GRACE: Duration = Duration::from_millis(20);

/// Between two looks of the keeper while it finds something: a killed process is gone in less.
pub const KEEPER_PAUSE_MIN: Duration = Duration::from_millis(2);

/// Between two looks when there is nothing left of a term and nobody has said that it is over.
pub const KEEPER_PAUSE_MAX: Duration = Duration::from_millis(256);

/// After the supervisor's end: so many looks in a row have to find nothing.
pub const KEEPER_LOOKS_CLEAN: u32 = 5;

/// After the supervisor's end: how long a process without any environment is taken for one that is
/// becoming another program.
pub const KEEPER_DOUBT: Duration = Duration::from_secs(1);

/// After the supervisor's end: how long to go on at most; what is left then sleeps in a broken
/// device.
pub const KEEPER_AFTERMATH: Duration = Duration::from_secs(30);
