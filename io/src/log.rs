//! Records as text: v3's three formats.
//!
//! `text` and `json` follow logrus byte for byte (its quoting is Go's `strconv.Quote`, its JSON
//! Go's `encoding/json`), because log collectors were taught to read it.

use std::fmt;
use std::io::Write;

use steersman_engine::effect::Level;
use steersman_engine::front::{LogFormat, LogLevel};

use crate::process;

/// Who a record is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fields<'a> {
    /// A job, or the job of a health check.
    pub job: Option<&'a str>,
    /// Whether it is about the job's health check.
    pub is_check: bool,
    /// A process.
    pub pid: Option<u32>,
    /// Whether the message is a piece of a line that was too long, and more of it follows.
    pub is_split: bool,
}

/// Makes records of one format.
#[derive(Debug)]
pub struct Formatter {
    format: LogFormat,
    stamp: TimeText,
}

impl Formatter {
    /// Builds one.
    pub fn new(format: LogFormat) -> Formatter {
        Formatter { format, stamp: TimeText::default() }
    }

    /// Appends one record with its newline.
    pub fn write(
        &mut self,
        out: &mut Vec<u8>,
        wall_ns: i128,
        level: Level,
        fields: Fields<'_>,
        message: &[u8],
    ) {
        let time = self.stamp.render(wall_ns);
        match self.format {
            LogFormat::Default => write_default(out, time, fields, message),
            LogFormat::Text => write_text(out, time, level, fields, message),
            LogFormat::Json => write_json(out, time, level, fields, message),
        }
    }
}

/// Tells whether records of `level` are wanted when the log is set to `wanted`.
pub fn is_wanted(level: Level, wanted: LogLevel) -> bool {
    let rank = match level {
        Level::Debug => LogLevel::Debug,
        Level::Info => LogLevel::Info,
        Level::Warn => LogLevel::Warn,
        Level::Error => LogLevel::Error,
    };
    rank >= wanted
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warning",
        Level::Error => "error",
    }
}

/// `<time>[ <job>][ <pid>] <message>`; the message's bytes as they are.
fn write_default(out: &mut Vec<u8>, time: &str, fields: Fields<'_>, message: &[u8]) {
    out.extend_from_slice(time.as_bytes());
    if let Some(job) = fields.job {
        out.extend_from_slice(if fields.is_check { b" check." } else { b" " });
        out.extend_from_slice(job.as_bytes());
    }
    if let Some(pid) = fields.pid {
        put(out, format_args!(" {pid}"));
    }
    out.push(b' ');
    out.extend_from_slice(message);
    if fields.is_split {
        out.extend_from_slice(b" [split]");
    }
    out.push(b'\n');
}

/// logrus' text: time, level and message, then the fields by name; an empty message is left out.
fn write_text(out: &mut Vec<u8>, time: &str, level: Level, fields: Fields<'_>, message: &[u8]) {
    put(out, format_args!("time=\"{time}\" level={}", level_word(level)));
    if !message.is_empty() {
        out.extend_from_slice(b" msg=");
        write_text_value(out, message);
    }
    if let Some(job) = fields.job {
        if fields.is_check {
            out.extend_from_slice(b" check=");
            write_text_value(out, format!("check.{job}").as_bytes());
        } else {
            out.extend_from_slice(b" job=");
            write_text_value(out, job.as_bytes());
        }
    }
    if let Some(pid) = fields.pid {
        put(out, format_args!(" pid={pid}"));
    }
    if fields.is_split {
        out.extend_from_slice(b" split=true");
    }
    out.push(b'\n');
}

fn write_text_value(out: &mut Vec<u8>, value: &[u8]) {
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(byte);
    if value.iter().all(is_plain) {
        out.extend_from_slice(value);
    } else {
        write_go_quoted(out, value);
    }
}

/// Go's `strconv.Quote`.
fn write_go_quoted(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' => out.extend_from_slice(b"\\\""),
                '\\' => out.extend_from_slice(b"\\\\"),
                '\u{7}' => out.extend_from_slice(b"\\a"),
                '\u{8}' => out.extend_from_slice(b"\\b"),
                '\u{c}' => out.extend_from_slice(b"\\f"),
                '\n' => out.extend_from_slice(b"\\n"),
                '\r' => out.extend_from_slice(b"\\r"),
                '\t' => out.extend_from_slice(b"\\t"),
                '\u{b}' => out.extend_from_slice(b"\\v"),
                c if is_printable(c) => put(out, format_args!("{c}")),
                c if u32::from(c) < 0x80 => put(out, format_args!("\\x{:02x}", u32::from(c))),
                c if u32::from(c) < 0x1_0000 => put(out, format_args!("\\u{:04x}", u32::from(c))),
                c => put(out, format_args!("\\U{:08x}", u32::from(c))),
            }
        }
        for byte in chunk.invalid() {
            put(out, format_args!("\\x{byte:02x}"));
        }
    }
    out.push(b'"');
}

/// Near Go's `unicode.IsPrint`: no controls, no format characters, no space but the ASCII one,
/// nothing unassigned by design.
fn is_printable(c: char) -> bool {
    let hidden = matches!(u32::from(c),
        0xad | 0xa0 | 0x600..=0x605 | 0x61c | 0x6dd | 0x70f | 0x1680 | 0x180e
        | 0x2000..=0x200f | 0x2028..=0x202f | 0x205f..=0x206f | 0x3000
        | 0xe000..=0xf8ff | 0xfeff | 0xfff0..=0xfffb | 0xfdd0..=0xfdef
        | 0xe_0000..=0x10_ffff)
        || u32::from(c) & 0xfffe == 0xfffe;
    !c.is_control() && !hidden
}

/// logrus' JSON: an object with sorted keys, as Go's `encoding/json` writes a map.
fn write_json(out: &mut Vec<u8>, time: &str, level: Level, fields: Fields<'_>, message: &[u8]) {
    out.push(b'{');
    if let (Some(job), true) = (fields.job, fields.is_check) {
        out.extend_from_slice(b"\"check\":");
        write_json_string(out, format!("check.{job}").as_bytes());
        out.push(b',');
    }
    if let (Some(job), false) = (fields.job, fields.is_check) {
        out.extend_from_slice(b"\"job\":");
        write_json_string(out, job.as_bytes());
        out.push(b',');
    }
    put(out, format_args!("\"level\":\"{}\",\"msg\":", level_word(level)));
    write_json_string(out, message);
    if let Some(pid) = fields.pid {
        put(out, format_args!(",\"pid\":{pid}"));
    }
    if fields.is_split {
        out.extend_from_slice(b",\"split\":true");
    }
    put(out, format_args!(",\"time\":\"{time}\"}}\n"));
}

/// Go's JSON string: HTML's special characters and the two line separators escaped, broken UTF-8
/// replaced.
fn write_json_string(out: &mut Vec<u8>, value: &[u8]) {
    out.push(b'"');
    for chunk in value.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.find(needs_json_escape) {
            let (plain, special) = rest.split_at(at);
            out.extend_from_slice(plain.as_bytes());
            let mut chars = special.chars();
            match chars.next() {
                Some('"') => out.extend_from_slice(b"\\\""),
                Some('\\') => out.extend_from_slice(b"\\\\"),
                Some('\n') => out.extend_from_slice(b"\\n"),
                Some('\r') => out.extend_from_slice(b"\\r"),
                Some('\t') => out.extend_from_slice(b"\\t"),
                Some(c) => put(out, format_args!("\\u{:04x}", u32::from(c))),
                None => {}
            }
            rest = chars.as_str();
        }
        out.extend_from_slice(rest.as_bytes());
        for _ in chunk.invalid() {
            out.extend_from_slice(b"\\ufffd");
        }
    }
    out.push(b'"');
}

fn needs_json_escape(c: char) -> bool {
    matches!(c, '"' | '\\' | '<' | '>' | '&' | '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}')
}

fn put(out: &mut Vec<u8>, arguments: fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _written = out.write_fmt(arguments);
}

/// RFC 3339 with up to nine digits, as Go's `RFC3339Nano`; local time, like v3.
#[derive(Debug, Default)]
struct TimeText {
    second: Option<i64>,
    date: String,
    zone: String,
    full: String,
}

impl TimeText {
    fn render(&mut self, wall_ns: i128) -> &str {
        const BILLION: i128 = 1_000_000_000;
        let second = i64::try_from(wall_ns.div_euclid(BILLION)).unwrap_or(0);
        if self.second != Some(second) {
            let offset = process::local_offset(second);
            self.date = date_text(second + i64::from(offset));
            self.zone = zone_text(offset);
            self.second = Some(second);
        }
        self.full.clear();
        self.full.push_str(&self.date);
        let nanos = wall_ns.rem_euclid(BILLION);
        if nanos != 0 {
            // Writing to memory cannot fail.
            let _written = fmt::write(&mut self.full, format_args!(".{nanos:09}"));
            self.full.truncate(self.full.trim_end_matches('0').len());
        }
        self.full.push_str(&self.zone);
        &self.full
    }
}

fn zone_text(offset: i32) -> String {
    if offset == 0 {
        return String::from("Z");
    }
    let minutes = offset.unsigned_abs() / 60;
    let sign = if offset < 0 { '-' } else { '+' };
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

fn date_text(seconds: i64) -> String {
    let (days, within) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (within / 3600, within / 60 % 60, within % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// The proleptic Gregorian date of a day counted from 1970-01-01 (H. Hinnant, "chrono-compatible
/// low-level date algorithms").
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21T12:34:56.78Z
    const WALL_NS: i128 = 1_795_264_496_780_000_000;
    const APP: Fields<'_> =
        Fields { job: Some("app"), is_check: false, pid: Some(12), is_split: false };

    fn record(format: LogFormat, fields: Fields<'_>, message: &[u8]) -> String {
        let mut formatter = Formatter::new(format);
        // Tests do not depend on the zone they run in.
        formatter.stamp.second = Some(i64::try_from(WALL_NS / 1_000_000_000).unwrap());
        formatter.stamp.date = date_text(1_795_264_496);
        formatter.stamp.zone = zone_text(0);
        let mut out = Vec::new();
        formatter.write(&mut out, WALL_NS, Level::Info, fields, message);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn default_format_is_time_job_pid_message() {
        assert_eq!(record(LogFormat::Default, APP, b"hi"), "2026-11-21T12:34:56.78Z app 12 hi\n");
        let none = Fields::default();
        assert_eq!(record(LogFormat::Default, none, b"hi"), "2026-11-21T12:34:56.78Z hi\n");
        let check = Fields { is_check: true, is_split: true, ..APP };
        let expected = "2026-11-21T12:34:56.78Z check.app 12 hi [split]\n";
        assert_eq!(record(LogFormat::Default, check, b"hi"), expected);
    }

    #[test]
    fn text_format_quotes_as_logrus_does() {
        let start = "time=\"2026-11-21T12:34:56.78Z\" level=info";
        let text = |message: &[u8]| record(LogFormat::Text, APP, message);
        assert_eq!(text(b"a/b-c"), format!("{start} msg=a/b-c job=app pid=12\n"));
        assert_eq!(text(b""), format!("{start} job=app pid=12\n"));
        assert_eq!(
            text(b"a b=\"c\"\\"),
            format!("{start} msg=\"a b=\\\"c\\\"\\\\\" job=app pid=12\n")
        );
        let odd = "é \u{200b}\u{1b}\u{0}\u{1f600}\u{f0000}";
        let expected = "msg=\"é \\u200b\\x1b\\x00😀\\U000f0000\"";
        assert_eq!(text(odd.as_bytes()), format!("{start} {expected} job=app pid=12\n"));
        assert_eq!(text(b"\xff\n"), format!("{start} msg=\"\\xff\\n\" job=app pid=12\n"));
        let check = Fields { is_check: true, ..APP };
        let expected = format!("{start} msg=x check=check.app pid=12\n");
        assert_eq!(record(LogFormat::Text, check, b"x"), expected);
    }

    #[test]
    fn json_format_is_valid_whatever_the_bytes() {
        let every: Vec<u8> = (0..=255).collect();
        for message in [&b"plain"[..], b"<a>&\"\\", b"\xf0\x9f", &every, "\u{2028}".as_bytes()] {
            let line = record(LogFormat::Json, APP, message);
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            let expected = String::from_utf8_lossy(message);
            let found = value["msg"].as_str().unwrap();
            // Go replaces every broken byte, Rust every broken sequence.
            assert_eq!(found.trim_end_matches('\u{fffd}'), expected.trim_end_matches('\u{fffd}'));
            assert_eq!(value["pid"], 12);
        }
        let expected = "{\"job\":\"app\",\"level\":\"info\",\"msg\":\"\\u003ca\\u003e \\u0001\\n\",\
                        \"pid\":12,\"time\":\"2026-11-21T12:34:56.78Z\"}\n";
        assert_eq!(record(LogFormat::Json, APP, b"<a> \x01\n"), expected);
        let check = Fields { is_check: true, pid: None, ..APP };
        let expected = "{\"check\":\"check.app\",\"level\":\"info\",\"msg\":\"\",\
                        \"time\":\"2026-11-21T12:34:56.78Z\"}\n";
        assert_eq!(record(LogFormat::Json, check, b""), expected);
    }

    #[test]
    fn dates_and_zones_are_right_at_the_edges() {
        assert_eq!(date_text(0), "1970-01-01T00:00:00");
        assert_eq!(date_text(951_827_696), "2000-02-29T12:34:56");
        assert_eq!(date_text(-1), "1969-12-31T23:59:59");
        assert_eq!(date_text(4_102_444_800), "2100-01-01T00:00:00");
        assert_eq!(zone_text(0), "Z");
        assert_eq!(zone_text(-12_600), "-03:30");
        assert_eq!(zone_text(7200), "+02:00");
    }

    #[test]
    fn level_of_the_log_decides_what_is_written() {
        assert!(is_wanted(Level::Info, LogLevel::Info));
        assert!(!is_wanted(Level::Debug, LogLevel::Info));
        assert!(!is_wanted(Level::Error, LogLevel::Fatal));
        assert!(is_wanted(Level::Debug, LogLevel::Debug));
    }
}
