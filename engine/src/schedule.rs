//! Cron-like schedules, in UTC.

use serde::{Deserialize, Serialize};

/// A compiled cron expression: one bit for each value a field allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Schedule {
    /// Minutes 0 to 59.
    pub minutes: u64,
    /// Hours 0 to 23.
    pub hours: u32,
    /// Days of the month 1 to 31.
    pub days: u32,
    /// Months 1 to 12.
    pub months: u16,
    /// Days of the week 0 (Sunday) to 6.
    pub weekdays: u8,
    /// Whether day of month and day of week were both restricted: then either is enough (POSIX crontab).
    pub either_day: bool,
}

impl Schedule {
    /// Gives the first scheduled time after `wall_ms`, in ms since 1970.
    pub fn next_after(&self, _wall_ms: i64) -> Option<i64> {
        None
    }
}
