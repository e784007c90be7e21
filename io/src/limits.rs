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

/// How much may wait at all: what is still in the pipe of a process that has ended is taken up to here.
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

/// How often to look whether what a run left behind has gone. Each end is a signal anyway; this helps
/// where `/proc` is not mounted.
pub const LEFT_POLL: Duration = Duration::from_secs(1);

/// At the end: how long to wait for killed orphans to go. The kernel takes them away in microseconds;
/// one that sleeps in a broken device never goes.
pub const SWEEP_PATIENCE: Duration = Duration::from_millis(100);

/// At the end: how long a reader of the log may take for one piece before it counts as stalled.
pub const DRAIN_PATIENCE: Duration = Duration::from_millis(250);

/// At the end: how long a slow reader of the log is waited for in all.
pub const DRAIN_MAX: Duration = Duration::from_secs(2);
