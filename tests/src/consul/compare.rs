//! Runs cases, makes the answers comparable, and compares them byte for byte.
//!
//! What differs between any two runs is replaced: indexes by their rank within the case, UUIDs by
//! the order of their first appearance, hashes, and the server's own address.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use regex::{Captures, Regex};
use serde_json::Value;

use super::case::{Case, Sending, Step, View};
use super::target::Target;
use super::wire::{Got, Wanted};

/// One answer of a case.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// What was asked.
    pub about: String,
    /// What was answered.
    pub got: Got,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// How it is compared.
    pub view: View,
}

/// How long an `until` waits, and how often it asks.
const UNTIL_TRIES: u32 = 1_500;
const UNTIL_PAUSE: Duration = Duration::from_millis(20);

/// Runs a case against a target.
///
/// When a value to keep is not there, or something waited for does not come.
pub fn run(target: &mut dyn Target, case: &Case) -> Vec<Exchange> {
    let mut kept: BTreeMap<String, String> = BTreeMap::new();
    let mut begun: BTreeMap<String, (u64, Sending)> = BTreeMap::new();
    let mut exchanges = Vec::new();
    for step in &case.steps {
        match step {
            Step::Sleep { millis } => target.sleep(Duration::from_millis(*millis)),
            Step::Send(sending) => {
                let (got, millis) = target.send(&wanted(sending, &kept));
                keep(&case.name, sending, &got, &mut kept);
                exchanges.push(exchange(sending, got, millis, &sending.view));
            }
            Step::Start { name, sending } => {
                let id = target.start(&wanted(sending, &kept));
                begun.insert(name.clone(), (id, sending.clone()));
                // It must have arrived before the next step.
                target.sleep(Duration::from_millis(60));
            }
            Step::End { name, view } => {
                let (id, sending) = begun.remove(name).expect("it was started");
                let (got, millis) = target.end(id);
                keep(&case.name, &sending, &got, &mut kept);
                let view = if *view == View::default() { &sending.view } else { view };
                exchanges.push(exchange(&sending, got, millis, view));
            }
            Step::Until { sending, text } => {
                let came = (0..UNTIL_TRIES).any(|_| {
                    let (got, _) = target.send(&wanted(sending, &kept));
                    let came = String::from_utf8_lossy(&got.body).contains(&**text);
                    if !came {
                        target.sleep(UNTIL_PAUSE);
                    }
                    came
                });
                assert!(came, "{}: {text} never came from {}", case.name, sending.target);
            }
        }
    }
    exchanges
}

fn exchange(sending: &Sending, got: Got, millis: u64, view: &View) -> Exchange {
    let about = format!("{} {}", sending.method, sending.target);
    Exchange { about, got, millis, view: view.clone() }
}

fn wanted(sending: &Sending, kept: &BTreeMap<String, String>) -> Wanted {
    let fill = |text: &str| fill(text, kept);
    Wanted {
        method: sending.method.clone(),
        target: fill(&sending.target),
        headers: sending.headers.iter().map(|(name, value)| (name.clone(), fill(value))).collect(),
        body: bytes(&fill(sending.body.as_deref().unwrap_or_default())),
        chunked: sending.chunked,
    }
}

/// Writes `<*N text*>` out, so many times the text.
fn repeat(text: &str) -> String {
    let Some((before, after)) = text.split_once("<*") else { return text.to_owned() };
    let (inner, after) = after.split_once("*>").expect("<* is closed");
    let (count, part) = inner.split_once(' ').expect("<*N text*>");
    before.to_owned() + &part.repeat(count.parse().expect("a number")) + &repeat(after)
}

/// Puts kept values in: `{{name}}`, `{{name+1}}`.
fn fill(text: &str, kept: &BTreeMap<String, String>) -> String {
    let text = repeat(text);
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("{{") {
        let (name, after) = after.split_once("}}").expect("{{ is closed");
        out.push_str(before);
        if let Some(value) = kept.get(name) {
            out.push_str(value);
        } else {
            let (name, step, up) = match (name.split_once('+'), name.rsplit_once('-')) {
                (Some((name, step)), _) => (name, step, true),
                (None, Some((name, step))) => (name, step, false),
                (None, None) => panic!("{name} was not kept"),
            };
            let value: u64 = kept[name].parse().expect("a number was kept");
            let step: u64 = step.parse().expect("a number");
            let value = if up { value + step } else { value - step };
            out.push_str(&value.to_string());
        }
        rest = after;
    }
    out + rest
}

/// Reads `\xNN` and `\n` in a body.
fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x") {
        out.extend_from_slice(before.as_bytes());
        out.push(u8::from_str_radix(&after[..2], 16).expect("two hexadecimal digits"));
        rest = &after[2..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn keep(case: &str, sending: &Sending, got: &Got, kept: &mut BTreeMap<String, String>) {
    for (name, place) in &sending.keeps {
        let value = if place.starts_with('/') {
            let body: Value = serde_json::from_slice(&got.body).unwrap_or_default();
            body.pointer(place).map(|value| match value {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            })
        } else {
            got.headers.get(place).cloned()
        };
        let value = value.unwrap_or_else(|| {
            let body = String::from_utf8_lossy(&got.body);
            panic!("{case}: no {place} in the answer to {}: {} {body}", sending.target, got.status)
        });
        kept.insert(name.clone(), value);
    }
}

/// Writes answers so that equal ones are equal texts.
pub fn comparable(exchanges: &[Exchange]) -> Vec<String> {
    let patterns = Patterns::new();
    let mut found = Replaced::default();
    for exchange in exchanges {
        patterns.collect(exchange, &mut found);
    }
    exchanges.iter().map(|exchange| patterns.write(exchange, &mut found)).collect()
}

struct Patterns {
    index: Regex,
    stale: Regex,
    uuid: Regex,
    hash: Regex,
    server: Regex,
    port: Regex,
}

#[derive(Default)]
struct Replaced {
    unranked: bool,
    indexes: BTreeSet<u64>,
    uuids: BTreeMap<String, usize>,
}

impl Replaced {
    /// Writes an index by its rank; 0 and 1 have a meaning of their own.
    fn rank(&self, index: &str) -> String {
        match index.parse::<u64>() {
            Ok(value) if value > 1 && self.unranked => "\"i\"".to_owned(),
            Ok(value) if value > 1 && self.indexes.contains(&value) => {
                format!("\"i{}\"", self.indexes.range(..value).count() + 1)
            }
            _ => index.to_owned(),
        }
    }
}

impl Patterns {
    fn new() -> Patterns {
        let pattern = |text: &str| Regex::new(text).expect("the pattern is good");
        Patterns {
            index: pattern(r#""(CreateIndex|ModifyIndex|Index)":( ?)([0-9]+)"#),
            stale: pattern(r"current modify index ([0-9]+) != ([0-9]+)"),
            uuid: pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
            hash: pattern(r#""ContentHash":( ?)"[0-9a-f]+""#),
            server: pattern(r"127\.0\.0\.1:[0-9]+"),
            port: pattern(r#"("version": ?"1\.8\.7"[ \n]*\},[ \n]*"(?:Service)?Port": ?)[0-9]+"#),
        }
    }

    fn collect(&self, exchange: &Exchange, found: &mut Replaced) {
        if exchange.view.status_only {
            return;
        }
        let body = String::from_utf8_lossy(&exchange.got.body).into_owned();
        let of_body = self.index.captures_iter(&body).map(|c| c[3].to_owned());
        let header = exchange.got.headers.get("X-Consul-Index").cloned();
        for index in of_body.chain(header) {
            if let Some(value) = index.parse().ok().filter(|value| *value > 1) {
                found.indexes.insert(value);
            }
        }
    }

    fn write(&self, exchange: &Exchange, found: &mut Replaced) -> String {
        found.unranked = exchange.view.unranked;
        let mut text = format!("{}\n{}\n", exchange.about, exchange.got.status);
        for (name, value) in &exchange.got.headers {
            let value = match &**name {
                "Date" | "Content-Length" | "Connection" | "Last-Modified" | "Age" => continue,
                "X-Consul-Index" if exchange.view.status_only => continue,
                "X-Consul-Index" => found.rank(value),
                "X-Consul-Contenthash" => "HASH".to_owned(),
                _ => value.clone(),
            };
            text.push_str(&format!("{name}: {}\n", self.without_ids(&value, found)));
        }
        if exchange.view.status_only || exchange.got.status == 0 {
            return text;
        }
        let body = String::from_utf8_lossy(&exchange.got.body).into_owned();
        let body = self.index.replace_all(&body, |c: &Captures<'_>| {
            format!("\"{}\":{}{}", &c[1], &c[2], found.rank(&c[3]))
        });
        let body = self.stale.replace_all(&body, "current modify index A != B").into_owned();
        let body = self.hash.replace_all(&body, "\"ContentHash\":$1\"HASH\"").into_owned();
        let body = self.server.replace_all(&body, "SERVER").into_owned();
        let body = self.port.replace_all(&body, "${1}8300").into_owned();
        if exchange.view.unordered {
            // An id first seen here has no place in any order.
            let body = self.uuid.replace_all(&body, |c: &Captures<'_>| {
                found.uuids.get(&c[0]).map_or("uuid".to_owned(), |n| format!("uuid-{n}"))
            });
            let body = body.into_owned();
            let mut json: Value = serde_json::from_str(&body).unwrap_or(Value::String(body));
            sort(&mut json);
            return text + &json.to_string();
        }
        text + &self.without_ids(&body, found)
    }

    fn without_ids(&self, text: &str, found: &mut Replaced) -> String {
        let replaced = self.uuid.replace_all(text, |c: &Captures<'_>| {
            let next = found.uuids.len() + 1;
            let number = *found.uuids.entry(c[0].to_owned()).or_insert(next);
            format!("uuid-{number}")
        });
        replaced.into_owned()
    }
}

fn sort(json: &mut Value) {
    match json {
        Value::Array(items) => {
            items.iter_mut().for_each(sort);
            items.sort_by_key(Value::to_string);
        }
        Value::Object(members) => members.values_mut().for_each(sort),
        _ => {}
    }
}

/// Leaves out the lines that are the same at the beginning and at the end, save for two each.
fn lines_that_differ(real: &str, model: &str) -> String {
    let (left, right): (Vec<&str>, Vec<&str>) = (real.lines().collect(), model.lines().collect());
    if left.len() == right.len() {
        let pairs = left.iter().zip(&right).filter(|(a, b)| a != b);
        return pairs.map(|(a, b)| format!("- {a}\n+ {b}\n")).collect();
    }
    let same =
        |pairs: &mut dyn Iterator<Item = (&&str, &&str)>| pairs.take_while(|(a, b)| a == b).count();
    let head = same(&mut left.iter().zip(&right)).saturating_sub(2);
    let tail = same(&mut left.iter().rev().zip(right.iter().rev())).saturating_sub(2);
    let mut text = String::new();
    for (sign, lines) in [('-', &left), ('+', &right)] {
        let end = lines.len().saturating_sub(tail).max(head);
        for line in &lines[head.min(lines.len())..end.min(lines.len())] {
            text.push_str(&format!("{sign} {line}\n"));
        }
    }
    text
}

/// Compares two runs of a case and describes the first difference.
pub fn difference(case: &Case, real: &[Exchange], model: &[Exchange]) -> Option<String> {
    let (left, right) = (comparable(real), comparable(model));
    for (number, (left, right)) in left.iter().zip(&right).enumerate() {
        if left != right {
            let about = left.lines().next().unwrap_or_default();
            let place = format!("== {} (answer {}): {about}", case.name, number + 1);
            return Some(format!("{place}\n{}", lines_that_differ(left, right)));
        }
    }
    for (who, exchanges) in [("real", real), ("model", model)] {
        for exchange in exchanges {
            let Some((low, high)) = exchange.view.timed else { continue };
            if !(low..=high).contains(&exchange.millis) {
                return Some(format!(
                    "== {}: {} took {} ms at the {who}, not {low}..{high}\n",
                    case.name, exchange.about, exchange.millis
                ));
            }
        }
    }
    None
}
