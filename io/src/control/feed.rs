//! The stream of events: one line of JSON for each, to whoever listens.

use bytes::Bytes;
use serde::Serialize;
use steersman_engine::Event;

use crate::ask::{Listens, Subscriber};

/// Everybody who listens to events.
#[derive(Debug, Default)]
pub struct Feed {
    subscribers: Vec<Subscriber>,
}

#[derive(Serialize)]
struct Line<'a> {
    time: &'a str,
    code: &'a str,
    source: &'a str,
}

impl Feed {
    /// Adds a listener.
    pub fn subscribe(&mut self, subscriber: Subscriber) {
        self.subscribers.retain(|subscriber| subscriber.listens() == Listens::Yes);
        self.subscribers.push(subscriber);
    }

    /// Tells whether nobody listens.
    pub fn is_idle(&self) -> bool {
        self.subscribers.is_empty()
    }

    /// Hands an event to everybody who listens.
    pub fn publish(&mut self, wall_ms: i64, event: Event, source: &str) {
        let line = Line { time: &rfc3339_millis(wall_ms), code: event.code.as_str(), source };
        // Three texts always have a form in JSON.
        let Ok(mut line) = serde_json::to_vec(&line) else { return };
        line.push(b'\n');
        let line = Bytes::from(line);
        self.subscribers.retain_mut(|subscriber| subscriber.offer(&line) == Listens::Yes);
    }
}

/// Writes a time as `2026-11-21T12:00:00.000Z`.
fn rfc3339_millis(wall_ms: i64) -> String {
    let (seconds, millis) = (wall_ms.div_euclid(1000), wall_ms.rem_euclid(1000));
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Turns days since 1970-01-01 into a date (Howard Hinnant's `civil_from_days`).
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (wall_ms, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_262_625_042, "2026-11-21T12:03:45.042Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ] {
            assert_eq!(rfc3339_millis(wall_ms), text);
        }
    }
}
