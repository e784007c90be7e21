//! Cron-like schedules, in UTC.

use core::fmt;

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
    /// Whether day of month and day of week were both restricted: then either is enough (POSIX
    /// crontab).
    pub either_day: bool,
}

/// Why a text is not a cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduleError {
    /// Not five fields; so many were found.
    FieldCount(usize),
    /// A word after `@` that is none.
    UnknownWord,
    /// A field that cannot be read.
    Field(Field),
    /// A number outside a field's limits.
    OutOfRange(Field),
    /// A day that never comes, such as 30 February.
    Never,
}

/// The five fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// 0 to 59.
    Minute,
    /// 0 to 23.
    Hour,
    /// 1 to 31.
    Day,
    /// 1 to 12, or jan to dec.
    Month,
    /// 0 to 7, or sun to sat; both 0 and 7 are Sunday.
    Weekday,
}

impl Field {
    const fn name(self) -> &'static str {
        match self {
            Field::Minute => "minute",
            Field::Hour => "hour",
            Field::Day => "day of the month",
            Field::Month => "month",
            Field::Weekday => "day of the week",
        }
    }

    const fn limits(self) -> (u32, u32) {
        match self {
            Field::Minute => (0, 59),
            Field::Hour => (0, 23),
            Field::Day => (1, 31),
            Field::Month => (1, 12),
            Field::Weekday => (0, 7),
        }
    }

    const fn words(self) -> &'static [&'static str] {
        match self {
            Field::Month => &[
                "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
            ],
            Field::Weekday => &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
            Field::Minute | Field::Hour | Field::Day => &[],
        }
    }
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ScheduleError::FieldCount(count) => write!(f, "it has {count} fields, not five"),
            ScheduleError::UnknownWord => f.write_str("there is no such word after `@`"),
            ScheduleError::Field(field) => write!(f, "its {} cannot be read", field.name()),
            ScheduleError::OutOfRange(field) => {
                let (min, max) = field.limits();
                write!(f, "its {} is not within {min} to {max}", field.name())
            }
            ScheduleError::Never => f.write_str("it names a day that never comes"),
        }
    }
}

/// The words that stand for a whole expression.
pub const WORDS: &[(&str, &str)] = &[
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 86_400_000;

/// Eight years and a day: between two 29 February lie at most eight years (around 2100).
const DAYS_SEARCHED: i64 = 2923;

impl Schedule {
    /// Compiles five fields (minute, hour, day of the month, month, day of the week) or a word such
    /// as `@hourly`.
    ///
    /// # Errors
    /// What cannot be read, or never comes.
    pub fn parse(text: &str) -> Result<Schedule, ScheduleError> {
        let text = text.trim();
        if text.starts_with('@') {
            let found = WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text));
            let (_, fields) = found.ok_or(ScheduleError::UnknownWord)?;
            return Schedule::parse(fields);
        }
        let count = text.split_ascii_whitespace().count();
        let mut fields = text.split_ascii_whitespace();
        let mut next = |field| match fields.next() {
            Some(text) if count == 5 => bits(text, field).map(|bits| (bits, text)),
            _ => Err(ScheduleError::FieldCount(count)),
        };
        let (minutes, _) = next(Field::Minute)?;
        let (hours, _) = next(Field::Hour)?;
        let (days, days_text) = next(Field::Day)?;
        let (months, _) = next(Field::Month)?;
        let (weekdays, weekdays_text) = next(Field::Weekday)?;
        // Both 0 and 7 are Sunday.
        let weekdays = (weekdays | (weekdays >> 7)) & 0x7f;
        let schedule = Schedule {
            minutes,
            hours: hours as u32,
            days: days as u32,
            months: months as u16,
            weekdays: weekdays as u8,
            either_day: !days_text.starts_with('*') && !weekdays_text.starts_with('*'),
        };
        match schedule.next_after(0) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Never),
        }
    }

    /// Gives the first scheduled time after `wall_ms`, in ms since 1970.
    pub fn next_after(&self, wall_ms: i64) -> Option<i64> {
        let start = wall_ms.div_euclid(MINUTE_MS).checked_add(1)?.checked_mul(MINUTE_MS)?;
        let mut day = start.div_euclid(DAY_MS);
        let mut minute = u32::try_from(start.rem_euclid(DAY_MS) / MINUTE_MS).ok()?;
        let last = day.checked_add(DAYS_SEARCHED)?;
        while day <= last {
            if self.has_day(day)
                && let Some(found) = self.next_minute(minute)
            {
                return day.checked_mul(DAY_MS)?.checked_add(i64::from(found) * MINUTE_MS);
            }
            day += 1;
            minute = 0;
        }
        None
    }

    /// Finds the first scheduled minute of a day from one on.
    fn next_minute(&self, from: u32) -> Option<u32> {
        let (hour, minute) = (from / 60, from % 60);
        if hour < 24 && self.hours & (1 << hour) != 0 {
            let later = self.minutes & (u64::MAX << minute);
            if later != 0 {
                return Some(hour * 60 + later.trailing_zeros());
            }
        }
        let later = u64::from(self.hours) & (u64::MAX << (hour + 1));
        match later == 0 || self.minutes == 0 {
            true => None,
            false => Some(later.trailing_zeros() * 60 + self.minutes.trailing_zeros()),
        }
    }

    /// Tells whether a day (counted from 1970-01-01) is scheduled.
    fn has_day(&self, day: i64) -> bool {
        let (month, of_month) = month_and_day(day);
        if self.months & (1 << month) == 0 {
            return false;
        }
        // 1970-01-01 was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let by_date = self.days & (1 << of_month) != 0;
        let by_weekday = self.weekdays & (1 << weekday) != 0;
        match self.either_day {
            true => by_date || by_weekday,
            false => by_date && by_weekday,
        }
    }
}

/// Gives month and day of the month in the Gregorian calendar (Hinnant's `civil_from_days`).
fn month_and_day(day: i64) -> (u32, u32) {
    let of_era = (day + 719_468).rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (month as u32, of_month as u32)
}

/// Compiles one field: a list of `*`, numbers, ranges and steps.
fn bits(text: &str, field: Field) -> Result<u64, ScheduleError> {
    let mut bits = 0;
    for part in text.split(',') {
        bits |= part_bits(part, field)?;
    }
    Ok(bits)
}

fn part_bits(part: &str, field: Field) -> Result<u64, ScheduleError> {
    let (range, step) = match part.split_once('/') {
        Some((range, step)) => (range, Some(number(step).ok_or(ScheduleError::Field(field))?)),
        None => (part, None),
    };
    let (min, max) = field.limits();
    let (from, to) = match (range, range.split_once('-')) {
        ("*", _) if field == Field::Weekday => (min, 6),
        ("*", _) => (min, max),
        (_, Some((from, to))) => (value(from, field)?, value(to, field)?),
        // `5/15` means from 5 on, as in most crons.
        (_, None) => {
            let from = value(range, field)?;
            (from, if step.is_some() { max } else { from })
        }
    };
    if step == Some(0) || from > to {
        return Err(ScheduleError::Field(field));
    }
    let step = step.unwrap_or(1);
    let mut bits = 0;
    let mut at = from;
    while at <= to {
        bits |= 1 << at;
        at = at.saturating_add(step);
    }
    Ok(bits)
}

fn value(text: &str, field: Field) -> Result<u32, ScheduleError> {
    let (min, max) = field.limits();
    if let Some(index) = field.words().iter().position(|word| word.eq_ignore_ascii_case(text)) {
        return Ok(min + index as u32);
    }
    let value = number(text).ok_or(ScheduleError::Field(field))?;
    match (min..=max).contains(&value) {
        true => Ok(value),
        false => Err(ScheduleError::OutOfRange(field)),
    }
}

fn number(text: &str) -> Option<u32> {
    match text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => text.parse().ok(),
        false => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// 2026-11-21T12:34:56Z, a Saturday.
    const NOW: i64 = 1_795_264_496_000;

    fn after(text: &str, wall_ms: i64) -> i64 {
        Schedule::parse(text).unwrap().next_after(wall_ms).unwrap()
    }

    #[test]
    fn the_next_time_is_found() {
        let minute = 60_000;
        let hour = 60 * minute;
        let day = 24 * hour;
        let midnight = NOW - NOW.rem_euclid(day);
        let cases = [
            ("* * * * *", midnight + 12 * hour + 35 * minute),
            ("*/5 * * * *", midnight + 12 * hour + 35 * minute),
            ("@hourly", midnight + 13 * hour),
            ("0 0 * * *", midnight + day),
            ("@weekly", midnight + day),
            ("0 0 * * 7", midnight + day),
            ("0 0 * * mon-fri", midnight + 2 * day),
            ("30 6-8/2 * * *", midnight + day + 6 * hour + 30 * minute),
            ("0 0 29 2 *", 1_835_395_200_000),
            ("0 0 13 * 5", midnight + 6 * day),
            ("15 3 1 jan *", 1_798_773_300_000),
            ("5/20 12 * * *", midnight + 12 * hour + 45 * minute),
        ];
        for (text, expected) in cases {
            assert_eq!(after(text, NOW), expected, "{text}");
        }
        assert_eq!(
            after("35 12 * * *", midnight + 12 * hour + 35 * minute),
            midnight + day + 12 * hour + 35 * minute
        );
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        let cases = [
            ("", ScheduleError::FieldCount(0)),
            ("* * * *", ScheduleError::FieldCount(4)),
            ("* * * * * *", ScheduleError::FieldCount(6)),
            ("@often", ScheduleError::UnknownWord),
            ("60 * * * *", ScheduleError::OutOfRange(Field::Minute)),
            ("* 24 * * *", ScheduleError::OutOfRange(Field::Hour)),
            ("* * 0 * *", ScheduleError::OutOfRange(Field::Day)),
            ("* * * 13 *", ScheduleError::OutOfRange(Field::Month)),
            ("* * * * 8", ScheduleError::OutOfRange(Field::Weekday)),
            ("*/0 * * * *", ScheduleError::Field(Field::Minute)),
            ("5-1 * * * *", ScheduleError::Field(Field::Minute)),
            ("1,,2 * * * *", ScheduleError::Field(Field::Minute)),
            ("+5 * * * *", ScheduleError::Field(Field::Minute)),
            ("* * L * *", ScheduleError::Field(Field::Day)),
            ("0 0 30 2 *", ScheduleError::Never),
            ("0 0 31 4,6,9,11 *", ScheduleError::Never),
        ];
        for (text, expected) in cases {
            assert_eq!(Schedule::parse(text), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_schedule_without_any_time_never_comes() {
        let empty =
            Schedule { minutes: 0, hours: 0, days: 0, months: 0, weekdays: 0, either_day: true };
        assert_eq!(empty.next_after(0), None);
        assert_eq!(empty.next_after(i64::MAX), None);
        assert_eq!(empty.next_after(i64::MIN), None);
    }

    /// Fields that every cron reads alike: not `*` in a list, and no step on the `*` of a day, of
    /// which POSIX does not say whether it restricts.
    fn field(min: u32, max: u32, steps_on_star: bool) -> impl Strategy<Value = String> {
        let number = min..=max;
        let span = move |a: u32, b: u32| format!("{}-{}", a.min(b), a.max(b));
        let part = prop_oneof![
            2 => number.clone().prop_map(|value| value.to_string()),
            1 => (number.clone(), number.clone()).prop_map(move |(a, b)| span(a, b)),
            1 => (number.clone(), number, 1_u32..5).prop_map(move |(a, b, step)| {
                let (from, to) = (a.min(b), a.max(b));
                // A step longer than its range is refused by some.
                if to - from >= step { format!("{from}-{to}/{step}") } else { span(from, to) }
            }),
        ];
        let list = prop::collection::vec(part, 1..3).prop_map(|parts| parts.join(","));
        let star = (1_u32..10).prop_map(move |step| match steps_on_star && step < 7 {
            true => format!("*/{step}"),
            false => String::from("*"),
        });
        prop_oneof![2 => star, 3 => list]
    }

    proptest! {
        #[test]
        fn the_next_time_is_that_of_another_implementation(
            minute in field(0, 59, true), hour in field(0, 23, true), day in field(1, 31, false),
            month in field(1, 12, true), weekday in field(0, 6, false),
            seconds in 0_i64..4_000_000_000
        ) {
            let text = format!("{minute} {hour} {day} {month} {weekday}");
            let theirs: croner::Cron = text.parse().expect("a good expression");
            let from = chrono::DateTime::from_timestamp(seconds, 0).expect("a good time");
            let ours = Schedule::parse(&text).ok().and_then(|s| s.next_after(seconds * 1000));
            match theirs.find_next_occurrence(&from, false) {
                Ok(next) => prop_assert_eq!(ours, Some(next.timestamp() * 1000), "{}", text),
                Err(_) => prop_assert_eq!(ours, None, "{}", text),
            }
        }

        #[test]
        fn no_text_and_no_time_make_it_panic(text in "[-0-9*/,@a-z ]{0,30}", wall_ms: i64) {
            let schedule = Schedule::parse(&text).ok();
            let next = schedule.and_then(|schedule| schedule.next_after(wall_ms));
            prop_assert!(next.is_none_or(|next| next > wall_ms));
        }
    }
}
