//! Replays recorded exchanges of a real Consul against the model.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use super::target::Target;
use super::wire::{Got, Wanted};

/// Replays all recordings of one server, in order, and describes every difference.
///
/// When a recording cannot be read.
pub fn replay(folder: &Path, server: &str, target: &mut dyn Target) -> (usize, Vec<String>) {
    let mut recordings: Vec<Value> = fs::read_dir(folder)
        .expect("the recordings are there")
        .map(|entry| entry.expect("a folder can be listed").path())
        .map(|path| fs::read_to_string(path).expect("a recording can be read"))
        .map(|text| serde_json::from_str(&text).expect("a recording is JSON"))
        .collect();
    recordings.retain(|recording| recording["server"] == server);
    recordings.sort_by_key(|recording| recording["step"].as_u64());
    let mut replay = Replay::default();
    for recording in &recordings {
        replay.step(recording, target);
    }
    (recordings.len(), replay.differences())
}

#[derive(Default)]
struct Replay {
    kept: BTreeMap<String, String>,
    /// Index rank to the values seen for it.
    ranks: BTreeMap<String, Vec<(u64, String)>>,
    wrong: Vec<String>,
}

impl Replay {
    fn step(&mut self, recording: &Value, target: &mut dyn Target) {
        let name = recording["name"].as_str().unwrap_or_default().to_owned();
        if let Some(pause) = recording["sleep_before_ms"].as_u64() {
            target.sleep(Duration::from_millis(pause));
        }
        let id = target.start(&self.wanted(&recording["request"]));
        if let Some(after) = recording["meanwhile"]["after_ms"].as_u64() {
            target.sleep(Duration::from_millis(after));
            let other = self.wanted(&recording["meanwhile"]["request"]);
            target.send(&other);
        }
        let (got, millis) = target.end(id);
        let limits = &recording["elapsed_ms"];
        let (low, high) = (limits["at_least"].as_u64(), limits["at_most"].as_u64());
        if low.is_some_and(|low| millis < low) || high.is_some_and(|high| millis > high) {
            self.wrong.push(format!("{name}: took {millis} ms, not {low:?}..{high:?}"));
        }
        self.keep(&recording["capture"], &got);
        let places = recording["unordered"].as_array().cloned().unwrap_or_default();
        self.compare(&name, &recording["response"], &got, &places);
    }

    fn wanted(&self, request: &Value) -> Wanted {
        let text = |value: &Value| self.fill(value.as_str().unwrap_or_default());
        let headers = request["headers"].as_object().cloned().unwrap_or_default();
        let body = match &request["body"] {
            Value::Null => String::new(),
            Value::String(body) => self.fill(body),
            body => self.fill(&body.to_string()),
        };
        Wanted {
            method: text(&request["method"]),
            target: text(&request["path"]),
            headers: headers.iter().map(|(name, value)| (name.clone(), text(value))).collect(),
            body: body.into_bytes(),
            chunked: false,
        }
    }

    fn fill(&self, text: &str) -> String {
        let put = |text: String, (name, value): (&String, &String)| {
            text.replace(&format!("{{{{{name}}}}}"), value)
        };
        self.kept.iter().fold(text.to_owned(), put)
    }

    fn keep(&mut self, capture: &Value, got: &Got) {
        let body: Value = serde_json::from_slice(&got.body).unwrap_or_default();
        for (name, place) in capture.as_object().into_iter().flatten() {
            let place = place.as_str().unwrap_or_default();
            let value = match body.pointer(place).filter(|_| place.starts_with('/')) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => got.headers.get(place).cloned().unwrap_or_default(),
            };
            self.kept.insert(name.clone(), value);
        }
    }

    fn compare(&mut self, name: &str, expected: &Value, got: &Got, unordered: &[Value]) {
        if expected["status"].as_u64() != Some(u64::from(got.status)) {
            self.wrong.push(format!("{name}: status {} is {}", expected["status"], got.status));
        }
        for (header, value) in expected["headers"].as_object().into_iter().flatten() {
            let found = got.headers.get(header).cloned().unwrap_or_default();
            self.same(&format!("{name}: {header}"), value, &Value::String(found));
        }
        for header in got.headers.keys() {
            let dropped = ["Date", "Content-Length", "Vary", "Connection"];
            let known = expected["headers"].get(header).is_some();
            if !known && !dropped.contains(&&**header) {
                self.wrong.push(format!("{name}: has {header}"));
            }
        }
        let text = String::from_utf8_lossy(&got.body).into_owned();
        let newline = expected["trailing_newline"].as_bool().unwrap_or(false);
        if newline != text.ends_with('\n') {
            self.wrong.push(format!("{name}: ends otherwise"));
        }
        let json = expected["headers"]["Content-Type"] == "application/json";
        let mut found = if json {
            serde_json::from_str(&text).unwrap_or(Value::String(text))
        } else {
            Value::String(text)
        };
        let mut expected = match &expected["body"] {
            Value::String(text) if json => {
                serde_json::from_str(text).unwrap_or_else(|_| expected["body"].clone())
            }
            body => body.clone(),
        };
        for place in unordered.iter().filter_map(Value::as_str) {
            let place = place.strip_prefix("/response/body").unwrap_or(place);
            for side in [&mut expected, &mut found] {
                if let Some(Value::Array(items)) = side.pointer_mut(place) {
                    items.sort_by_key(Value::to_string);
                }
            }
        }
        self.same(name, &expected, &found);
    }

    fn same(&mut self, place: &str, expected: &Value, found: &Value) {
        match (expected, found) {
            (Value::Object(left), Value::Object(right)) => {
                // The order of the members counts as well.
                let (names, others) = (left.keys(), right.keys());
                if !names.eq(others) {
                    self.wrong.push(format!("{place}: members {left:?} are {right:?}"));
                }
                for (name, value) in left {
                    let other = right.get(name).unwrap_or(&Value::Null);
                    self.same(&format!("{place}/{name}"), value, other);
                }
            }
            (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
                for (number, (left, right)) in left.iter().zip(right).enumerate() {
                    self.same(&format!("{place}/{number}"), left, right);
                }
            }
            (Value::String(text), _) => self.same_text(place, text, found),
            _ if expected == found => {}
            _ => self.wrong.push(format!("{place}: {expected} is {found}")),
        }
    }

    fn same_text(&mut self, place: &str, expected: &str, found: &Value) {
        let found = match found {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let digits = expected.strip_prefix('i').unwrap_or_default();
        if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            let seen = (found.parse().unwrap_or(0), place.to_owned());
            return self.ranks.entry(expected.to_owned()).or_default().push(seen);
        }
        if let Some(name) = expected.strip_prefix("{{").and_then(|e| e.strip_suffix("}}")) {
            let known = self.kept.entry(name.to_owned()).or_insert_with(|| found.clone());
            if *known != found {
                self.wrong.push(format!("{place}: {name} is {found}, not {known}"));
            }
            return;
        }
        if self.fill(expected) != found {
            self.wrong.push(format!("{place}: {expected:?} is {found:?}"));
        }
    }

    /// Adds what is wrong with the indexes: equal ranks must be equal, higher ones higher.
    fn differences(mut self) -> Vec<String> {
        let mut by_rank: Vec<(u64, u64)> = Vec::new();
        for (rank, seen) in &self.ranks {
            let first = seen[0].0;
            for (value, place) in seen {
                if *value != first {
                    self.wrong.push(format!("{place}: index {rank} is {value}, was {first}"));
                }
            }
            by_rank.push((rank[1..].parse().unwrap_or(0), first));
        }
        by_rank.sort_unstable();
        for pair in by_rank.windows(2) {
            if pair[0].1 >= pair[1].1 {
                self.wrong.push(format!("index i{} is not above i{}", pair[1].0, pair[0].0));
            }
        }
        self.wrong
    }
}
