//! Every bound of the adapter, with its reason.

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
