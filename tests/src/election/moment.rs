//! The clock of those who judge: `CLOCK_MONOTONIC` outside every container, in nanoseconds.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// An instant on the clock of the machine.
pub(super) type Moment = u64;

/// Reads the clock. In a container that has clocks of its own it reads that one.
pub(super) fn now() -> Moment {
    let read = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("there is such a clock");
    Duration::from(read).as_nanos() as Moment
}

pub(super) const fn nanos(span: Duration) -> u64 {
    span.as_nanos() as u64
}

/// Seconds, for people.
pub(super) fn seconds(nanos: u64) -> f64 {
    nanos as f64 / 1e9
}
