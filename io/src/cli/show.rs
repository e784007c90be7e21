//! Answers as people read them.

use std::fmt::Write as _;

use serde_json::{Value, json};
use steersman_engine::config::Signal;
use steersman_engine::effect::Changes;
use steersman_engine::input::ExitStatus;
use steersman_engine::status::{JobStatus, LockStatus, Status, WatchStatus};
use steersman_engine::trace::{Beginning, Difference, Ending, Header, Outcome, What};

use super::Format;
use crate::client::Request;

/// Shows the state of everything, as tables.
pub fn status_table(status: &Status) -> String {
    let mut text = String::new();
    for (is_so, note) in [
        (status.stopping, "stopping\n"),
        (status.maintenance, "maintenance is on\n"),
        (status.catalog_failing, "Consul cannot be reached, or refuses\n"),
    ] {
        if is_so {
            text.push_str(note);
        }
    }
    let jobs = status.jobs.iter().map(row);
    text.push_str(&table(JOB_HEADINGS, &[3, 4], jobs));
    if !status.locks.is_empty() {
        text.push('\n');
        text.push_str(&table(LOCK_HEADINGS, &[2], status.locks.iter().map(lock_row)));
    }
    if !status.watches.is_empty() {
        text.push('\n');
        text.push_str(&table(WATCH_HEADINGS, &[1], status.watches.iter().map(watch_row)));
    }
    text
}

/// Lays out rows below headings; the columns of `numbers` stand right.
fn table<const N: usize>(
    headings: [&str; N],
    numbers: &[usize],
    rows: impl Iterator<Item = [String; N]>,
) -> String {
    let rows: Vec<_> = std::iter::once(headings.map(String::from)).chain(rows).collect();
    let widths: [usize; N] = std::array::from_fn(|column| {
        rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
    });
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let pad = width - cell.chars().count();
            let gap = if column == 0 { "" } else { "  " };
            let (before, after) = if numbers.contains(&column) { (pad, 0) } else { (0, pad) };
            // Writing to a string cannot fail.
            let _ = write!(line, "{gap}{:before$}{cell}{:after$}", "", "");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

const JOB_HEADINGS: [&str; 7] = ["JOB", "PHASE", "HEALTH", "PID", "RUNS", "LAST EXIT", "WHY"];
const LOCK_HEADINGS: [&str; 4] = ["LOCK", "STANDING", "TOKEN", "NOTE"];
const WATCH_HEADINGS: [&str; 3] = ["WATCH", "SEES", "NOTE"];

fn lock_row(lock: &LockStatus) -> [String; 4] {
    let token = lock.token.map_or_else(|| String::from("-"), |token| token.to_string());
    let note = match (lock.jeopardy, lock.guarded) {
        (true, _) => "in jeopardy: a renewal failed",
        (false, Some(false)) => "no keeper",
        (false, Some(true) | None) => "",
    };
    [lock.name.to_string(), word(&lock.standing), token, note.to_owned()]
}

fn watch_row(watch: &WatchStatus) -> [String; 3] {
    let count = watch.count.map_or_else(|| String::from("-"), |count| count.to_string());
    let note = if watch.stale { "stale: it cannot be read" } else { "" };
    [watch.name.to_string(), count, note.to_owned()]
}

fn row(job: &JobStatus) -> [String; 7] {
    let mut why = job.why.as_deref().unwrap_or_default().to_owned();
    if job.pending > 0 {
        let comma = if why.is_empty() { "" } else { "; " };
        let _ = write!(why, "{comma}{} more to start", job.pending);
    }
    [
        job.name.to_string(),
        word(&job.phase),
        word(&job.health),
        job.pid.map_or_else(|| String::from("-"), |pid| pid.to_string()),
        job.runs.to_string(),
        job.last_exit.map_or_else(|| String::from("-"), exit_text),
        why,
    ]
}

/// Gives the word that JSON has for a plain enum.
fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => String::from("?"),
    }
}

fn exit_text(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => code.to_string(),
        ExitStatus::Signal(number) => Signal(number)
            .name()
            .map_or_else(|| format!("signal {number}"), |name| format!("SIG{name}")),
    }
}

/// Says how a check went.
pub(super) fn verdict(errors: usize, warnings: usize) -> String {
    let count = |n: usize, what: &str| match n {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    };
    match (errors, warnings) {
        (0, 0) => String::from("good"),
        (0, n) => format!("good, {}", count(n, "warning")),
        (n, 0) => count(n, "error"),
        (n, m) => format!("{}, {}", count(n, "error"), count(m, "warning")),
    }
}

/// Shows the answer to a request that changed something, or could have.
pub(super) fn answer(request: &Request, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match request {
        Request::Status => match serde_json::from_value::<Status>(body.clone()) {
            Ok(status) => status_table(&status),
            // An answer of another version: show it as it is.
            Err(_) => format!("{body:#}"),
        },
        Request::Ping => String::from("ok"),
        Request::Reload { .. } => match serde_json::from_value::<Changes>(body) {
            Ok(changes) => changes_text(&changes),
            Err(_) => String::from("reloaded"),
        },
        Request::Maintenance { on } => {
            let already = if body["changed"] == json!(false) { " already" } else { "" };
            format!("maintenance is {}{already}", if *on { "on" } else { "off" })
        }
        Request::PutEnv(_)
        | Request::PutMetric(_)
        | Request::Signal(_)
        | Request::Restart(_)
        | Request::Events
        | Request::Trace { .. } => {
            let names = names(&body["changed"]);
            if names.is_empty() {
                String::from("nothing changed")
            } else {
                format!("changed: {names}")
            }
        }
    }
}

fn names(value: &Value) -> String {
    let names = value.as_array().into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(", ")
}

fn changes_text(changes: &Changes) -> String {
    let mut text = String::from("reloaded:");
    let kinds = [
        ("added", &changes.added),
        ("removed", &changes.removed),
        ("restarted", &changes.restarted),
        ("updated", &changes.updated),
    ];
    for (kind, names) in kinds {
        if !names.is_empty() {
            let _ = write!(text, " {kind} {};", names.join(", "));
        }
    }
    let _ = write!(text, " {} unchanged", changes.unchanged);
    text
}

/// Shows why a request was refused.
pub(super) fn refusal(status: u16, body: &[u8]) -> String {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    match body["error"].as_str() {
        Some(error) => error.to_owned(),
        None => format!("cannot do that: it answers with HTTP status {status}"),
    }
}

/// Puts pieces of a stream together to lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    partial: Vec<u8>,
}

impl Lines {
    /// Takes the next piece; gives the lines that are whole, in their format.
    pub(super) fn take(&mut self, piece: &[u8], format: Format) -> Vec<u8> {
        self.partial.extend_from_slice(piece);
        let Some(end) = self.partial.iter().rposition(|&byte| byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.partial.split_off(end + 1);
        let whole = std::mem::replace(&mut self.partial, rest);
        match format {
            Format::Json => whole,
            Format::Human => whole
                .split_inclusive(|&byte| byte == b'\n')
                .flat_map(|line| event_text(line).into_bytes())
                .collect(),
        }
    }
}

fn event_text(line: &[u8]) -> String {
    let event: Value = serde_json::from_slice(line).unwrap_or_default();
    if let Some(lost) = event["lost"].as_u64() {
        return format!("({lost} events lost: this reader was too slow)\n");
    }
    let part = |name: &str| event[name].as_str().unwrap_or("?").to_owned();
    format!("{}  {:<16} {}\n", part("time"), part("code"), part("source"))
}

/// Shows what a replay found, for people.
pub(super) fn outcome(file: &str, header: &Header, outcome: &Outcome) -> String {
    match outcome {
        Outcome::Same { steps, digest, end } => {
            let end = match end {
                Some(Ending::Over) => "the run was over",
                Some(Ending::Asked) => "the recording was taken in the middle of the run",
                Some(Ending::Overrun) => "the recording stopped early: the disk was too slow",
                None => "the recording has no end: the run was killed, or still goes on",
            };
            let dropped = match header.beginning {
                Beginning::Kept => String::new(),
                Beginning::Dropped(dropped) => format!(" after {dropped} that were dropped"),
            };
            format!("{file}: same: {steps} steps{dropped}, digest {digest}; {end}")
        }
        Outcome::Differs(difference) => {
            format!("{file}: {}{}", difference_text(difference), engine_note(header))
        }
    }
}

fn engine_note(header: &Header) -> String {
    let here = crate::VERSION;
    if &*header.engine == here {
        return String::new();
    }
    format!("\n  note: recorded with engine {}, replayed with {here}", header.engine)
}

fn difference_text(difference: &Difference) -> String {
    let step = &difference.step;
    let (line, millis) = (difference.line, step.mono / 1_000_000);
    let mut text =
        format!("differs at line {line}, {millis} ms\n  input:    {}", json_of(&step.input));
    let (what, recorded, replayed) = match &difference.what {
        What::Effect { index, recorded, replayed } => {
            let side = |effect: &Option<_>| match effect {
                Some(effect) => json_of(effect),
                None => String::from("no further effect"),
            };
            (format!("effect {}", index + 1), side(recorded), side(replayed))
        }
        What::Digest { recorded, replayed } => {
            (String::from("digest"), recorded.to_string(), replayed.to_string())
        }
    };
    let _ = write!(text, "\n  {what}:\n  recorded: {recorded}\n  replayed: {replayed}");
    text
}

fn json_of(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_else(|error| error.to_string())
}

/// Shows what a replay found, for tools.
pub(super) fn outcome_json(file: &str, header: &Header, outcome: &Outcome) -> Value {
    let dropped = match header.beginning {
        Beginning::Kept => 0,
        Beginning::Dropped(dropped) => dropped,
    };
    let about = json!({
        "file": file,
        "engine": header.engine,
        "dropped": dropped,
    });
    let found = match outcome {
        Outcome::Same { steps, digest, end } => {
            json!({ "outcome": "same", "steps": steps, "digest": digest, "end": end })
        }
        Outcome::Differs(difference) => {
            let what = match &difference.what {
                What::Effect { index, recorded, replayed } => {
                    json!({ "effect": index, "recorded": recorded, "replayed": replayed })
                }
                What::Digest { recorded, replayed } => {
                    json!({ "digest": true, "recorded": recorded, "replayed": replayed })
                }
            };
            json!({
                "outcome": "differs",
                "line": difference.line,
                "mono": difference.step.mono,
                "input": difference.step.input,
                "difference": what,
            })
        }
    };
    merged(about, found)
}

fn merged(mut first: Value, second: Value) -> Value {
    if let (Value::Object(into), Value::Object(from)) = (&mut first, second) {
        into.extend(from);
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_engine::status::{HealthWord, PhaseWord, StandingWord};

    fn job(name: &str) -> JobStatus {
        JobStatus {
            name: name.into(),
            health: HealthWord::Unknown,
            phase: PhaseWord::Waiting,
            pid: None,
            runs: 0,
            last_exit: None,
            pending: 0,
            why: None,
        }
    }

    #[test]
    fn status_is_shown_in_tables_with_aligned_columns() {
        let app = JobStatus {
            health: HealthWord::Healthy,
            phase: PhaseWord::Running,
            pid: Some(4711),
            runs: 12,
            last_exit: Some(ExitStatus::Signal(15)),
            ..job("app")
        };
        let setup = JobStatus {
            last_exit: Some(ExitStatus::Code(3)),
            pending: 2,
            why: Some("waits for app".into()),
            ..job("long-job-name")
        };
        let primary = LockStatus {
            name: "primary".into(),
            standing: StandingWord::Leading,
            token: Some(1042),
            jeopardy: true,
            guarded: Some(false),
        };
        let backup = LockStatus { name: "backup".into(), jeopardy: false, ..primary.clone() };
        let db = WatchStatus { name: "db".into(), count: Some(3), stale: false };
        let cache = WatchStatus { name: "cache".into(), count: None, stale: true };
        let status = Status {
            jobs: vec![app, setup],
            maintenance: true,
            stopping: false,
            catalog_failing: true,
            locks: vec![primary, backup],
            keeper: None,
            watches: vec![db, cache],
        };
        let expected = "\
maintenance is on
Consul cannot be reached, or refuses
JOB            PHASE    HEALTH    PID  RUNS  LAST EXIT  WHY
app            running  healthy  4711    12  SIGTERM
long-job-name  waiting  unknown     -     0  3          waits for app; 2 more to start

LOCK     STANDING  TOKEN  NOTE
primary  leading    1042  in jeopardy: a renewal failed
backup   leading    1042  no keeper

WATCH  SEES  NOTE
db        3
cache     -  stale: it cannot be read
";
        assert_eq!(status_table(&status), expected);
    }

    #[test]
    fn reload_answer_names_what_changed() {
        let body =
            br#"{"added":["a","b"],"removed":[],"restarted":["c"],"updated":[],"unchanged":4}"#;
        assert_eq!(
            answer(&Request::Reload { all: false }, body),
            "reloaded: added a, b; restarted c; 4 unchanged"
        );
    }

    #[test]
    fn pieces_of_the_event_stream_become_whole_lines() {
        let mut lines = Lines::default();
        assert_eq!(lines.take(b"{\"time\":\"12:00\",\"code\":\"heal", Format::Human), b"");
        let text = lines.take(b"thy\",\"source\":\"app\"}\n{\"lost\":3}\n{", Format::Human);
        let expected = "12:00  healthy          app\n(3 events lost: this reader was too slow)\n";
        assert_eq!(String::from_utf8(text).unwrap(), expected);
    }
}
