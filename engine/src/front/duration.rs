//! Durations as v3 wrote them: whole seconds, digits, or Go's format.

use std::fmt;
use std::time::Duration;

/// Why a text is not a duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DurationError {
    /// Nothing there.
    Empty,
    /// Not of the form number and unit, again and again.
    Form,
    /// A number without a unit that is not whole.
    UnitMissing,
    /// A unit that Go does not know.
    UnitUnknown,
    /// Below zero.
    Negative,
    /// Longer than 292 years, the longest that v3 could name.
    TooLong,
}

impl fmt::Display for DurationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DurationError::Empty => "it is empty",
            DurationError::Form => "it is neither whole seconds nor like \"1m30s\" or \"500ms\"",
            DurationError::UnitMissing => "a number that is not whole needs a unit",
            DurationError::UnitUnknown => "it has a unit other than ns, us, ms, s, m, h",
            DurationError::Negative => "it is below zero",
            DurationError::TooLong => "it is longer than 292 years",
        })
    }
}

/// Reads a duration from a string: digits are seconds, everything else is Go's format.
pub(crate) fn parse(text: &str) -> Result<Duration, DurationError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds: u64 = digits.parse().map_err(|_| DurationError::TooLong)?;
        if text.starts_with('-') && seconds > 0 {
            return Err(DurationError::Negative);
        }
        return from_seconds(seconds);
    }
    parse_go(text)
}

/// Builds a duration from whole seconds within what v3 could name.
pub(crate) fn from_seconds(seconds: u64) -> Result<Duration, DurationError> {
    match seconds.checked_mul(1_000_000_000) {
        Some(nanos) if nanos <= NANOS_MAX => Ok(Duration::from_nanos(nanos)),
        _ => Err(DurationError::TooLong),
    }
}

/// Go's `time.Duration` is a signed 64-bit count of nanoseconds.
const NANOS_MAX: u64 = i64::MAX as u64;

/// Reads what Go's `time.ParseDuration` reads, but for negative durations, which nothing here
/// takes.
fn parse_go(text: &str) -> Result<Duration, DurationError> {
    let negative = text.starts_with('-');
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    if rest.is_empty() {
        return Err(match text {
            "" => DurationError::Empty,
            _ => DurationError::Form,
        });
    }
    let mut total: u64 = 0;
    while !rest.is_empty() {
        let (nanos, after) = parse_part(rest)?;
        total = total.checked_add(nanos).ok_or(DurationError::TooLong)?;
        if total > NANOS_MAX {
            return Err(DurationError::TooLong);
        }
        rest = after;
    }
    match negative && total > 0 {
        true => Err(DurationError::Negative),
        false => Ok(Duration::from_nanos(total)),
    }
}

/// Reads one number with its unit; gives nanoseconds and what follows.
fn parse_part(text: &str) -> Result<(u64, &str), DurationError> {
    let (whole, rest) = split_digits(text);
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => split_digits(rest),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return Err(DurationError::Form);
    }
    let end = rest.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(end);
    let unit = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "" => return Err(DurationError::UnitMissing),
        _ => return Err(DurationError::UnitUnknown),
    };
    let whole: u64 = match whole {
        "" => 0,
        digits => digits.parse().map_err(|_| DurationError::TooLong)?,
    };
    let nanos = whole.checked_mul(unit).ok_or(DurationError::TooLong)?;
    let nanos = nanos.checked_add(fraction_nanos(fraction, unit)).ok_or(DurationError::TooLong)?;
    Ok((nanos, rest))
}

/// Gives a decimal fraction of a unit, cut off below the nanosecond.
fn fraction_nanos(digits: &str, unit: u64) -> u64 {
    // 18 digits are more than any unit can show: an hour has 3.6e12 nanoseconds.
    let digits = &digits[..digits.len().min(18)];
    let scale = 10_u128.pow(digits.len() as u32);
    let value: u128 = digits.parse().unwrap_or(0);
    u64::try_from(value * u128::from(unit) / scale).unwrap_or(0)
}

fn split_digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// Writes a duration as Go does: `1h2m3.5s`, `600ms`, `0s`.
pub(crate) fn show(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let short = |unit: u128, name: &str| format!("{}{name}", decimal(nanos, unit));
    match nanos {
        0 => String::from("0s"),
        1..1_000 => short(1, "ns"),
        1_000..1_000_000 => short(1_000, "µs"),
        1_000_000..1_000_000_000 => short(1_000_000, "ms"),
        _ => {
            let (minutes, rest) = (nanos / 60_000_000_000, nanos % 60_000_000_000);
            let seconds = decimal(rest, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

/// Writes a count of units with its decimals and no more.
fn decimal(nanos: u128, unit: u128) -> String {
    let (whole, rest) = (nanos / unit, nanos % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let fraction = format!("{rest:0width$}");
    format!("{whole}.{}", fraction.trim_end_matches('0'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_three_forms_of_v3_are_read() {
        let cases: [(&str, Result<u64, DurationError>); 35] = [
            ("0", Ok(0)),
            ("10", Ok(10_000_000_000)),
            ("+10", Ok(10_000_000_000)),
            ("007", Ok(7_000_000_000)),
            ("-0", Ok(0)),
            ("-10", Err(DurationError::Negative)),
            ("1500ms", Ok(1_500_000_000)),
            ("1h2m3.5s", Ok(3_723_500_000_000)),
            (".5s", Ok(500_000_000)),
            ("5.s", Ok(5_000_000_000)),
            ("1.5h", Ok(5_400_000_000_000)),
            ("100us", Ok(100_000)),
            ("100µs", Ok(100_000)),
            ("100μs", Ok(100_000)),
            ("7ns", Ok(7)),
            ("0.1ns", Ok(0)),
            ("1.0000000000000000000000000000001s", Ok(1_000_000_000)),
            ("+1s", Ok(1_000_000_000)),
            ("-1s", Err(DurationError::Negative)),
            ("1s1s", Ok(2_000_000_000)),
            ("1m1h", Ok(3_660_000_000_000)),
            ("", Err(DurationError::Empty)),
            ("+", Err(DurationError::Form)),
            (".s", Err(DurationError::Form)),
            ("s", Err(DurationError::Form)),
            ("1.5", Err(DurationError::UnitMissing)),
            ("3s4", Err(DurationError::UnitMissing)),
            ("1d", Err(DurationError::UnitUnknown)),
            ("1 s", Err(DurationError::UnitUnknown)),
            (" 1s", Err(DurationError::Form)),
            ("1e3s", Err(DurationError::UnitUnknown)),
            ("9223372036", Ok(9_223_372_036_000_000_000)),
            ("9223372037", Err(DurationError::TooLong)),
            ("2562047h47m16.854775807s", Ok(i64::MAX as u64)),
            ("2562047h47m16.854775808s", Err(DurationError::TooLong)),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text), expected.map(Duration::from_nanos), "{text:?}");
        }
    }

    #[test]
    fn durations_are_shown_as_go_shows_them() {
        let cases = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (600_000_000, "600ms"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (3_600_000_000_000, "1h0m0s"),
        ];
        for (nanos, text) in cases {
            assert_eq!(show(Duration::from_nanos(nanos)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(nanos in 0..=NANOS_MAX) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse(&text);
        }

        #[test]
        fn sums_of_parts_are_read(parts in prop::collection::vec((0_u32..1000, 0_usize..6), 1..6)) {
            let units = [("ns", 1_u64), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000),
                ("m", 60_000_000_000), ("h", 3_600_000_000_000)];
            let text: String = parts.iter().map(|(n, u)| format!("{n}{}", units[*u].0)).collect();
            let sum: u64 = parts.iter().map(|(n, u)| u64::from(*n) * units[*u].1).sum();
            prop_assert_eq!(parse(&text), Ok(Duration::from_nanos(sum)));
        }
    }
}
