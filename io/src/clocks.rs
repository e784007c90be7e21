//! The clocks. The driver reads them for the engine; the keeper, a process of its own, the one that
//! its orders are on.

use nix::sys::time::TimeSpec;
use nix::time::{ClockId, clock_gettime};
use steersman_engine::{Stamp, Time};

/// Reads both clocks: what the engine wants to know, and the wall clock for records.
pub(crate) fn read_clocks() -> (Stamp, i128) {
    let wall_ns = read(ClockId::CLOCK_REALTIME);
    let wall_ms = i64::try_from(wall_ns / 1_000_000).unwrap_or(0);
    (Stamp { mono: read_mono(), wall_ms }, wall_ns)
}

/// Reads the clock that the engine's instants are on. It goes on while the machine is suspended.
pub(crate) fn read_mono() -> Time {
    Time(u64::try_from(read(ClockId::CLOCK_BOOTTIME)).unwrap_or(0))
}

fn read(clock: ClockId) -> i128 {
    // Neither clock can fail on a kernel that can run this.
    let time = clock_gettime(clock).unwrap_or(TimeSpec::new(0, 0));
    i128::from(time.tv_sec()) * 1_000_000_000 + i128::from(time.tv_nsec())
}
