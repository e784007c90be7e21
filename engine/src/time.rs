//! Integer time: the engine never sees a clock, only what the adapter read from one.

use core::ops::{Add, Sub};
use core::time::Duration;

use serde::{Deserialize, Serialize};

/// An instant on the monotonic clock, in nanoseconds since an origin the adapter chose.
///
/// The origin is constant for the life of an engine. On Linux the adapter uses `CLOCK_BOOTTIME`, so
/// that a suspended machine ages as well.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Time(pub u64);

impl Time {
    /// The farthest instant that can be named; a deadline there never comes.
    pub const NEVER: Time = Time(u64::MAX);

    /// Builds an instant from whole milliseconds.
    pub const fn from_millis(millis: u64) -> Time {
        Time(millis.saturating_mul(1_000_000))
    }

    /// Tells how long ago `earlier` was; zero when it lies in the future.
    pub const fn since(self, earlier: Time) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Time;

    fn add(self, delay: Duration) -> Time {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_add(nanos))
    }
}

impl Sub<Duration> for Time {
    type Output = Time;

    fn sub(self, delay: Duration) -> Time {
        let nanos = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        Time(self.0.saturating_sub(nanos))
    }
}

/// What both clocks said when an input was taken in.
///
/// Decisions use `mono`; `wall` decides only about cron-like schedules.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Stamp {
    /// The monotonic clock.
    pub mono: Time,
    /// The wall clock, in milliseconds since 1970-01-01T00:00:00Z; may jump either way.
    pub wall_ms: i64,
}

impl Stamp {
    /// Builds a stamp whose two clocks both show `millis` (for tests and examples).
    pub const fn from_millis(millis: u64) -> Stamp {
        Stamp { mono: Time::from_millis(millis), wall_ms: millis as i64 }
    }
}
