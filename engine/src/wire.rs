//! Consul's HTTP API on the wire (v1, as of 1.8.7): from a typed request to method, path and body,
//! and from an answer back. The one place where Consul's text and JSON are read.

use std::fmt::Write as _;
use std::string::String;
use std::time::Duration;
use std::vec::Vec;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::CheckStatus;
use crate::consul::{ConsulFailure, ConsulReply, ConsulRequest, Entry, Instance, Registration};

mod lock;

/// How much of an error's body is kept for people.
const ERROR_BODY_BYTES: usize = 300;

/// An HTTP request without its address, token or headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET` or `PUT`.
    pub method: &'static str,
    /// Path and query.
    pub target: String,
    /// The body, JSON.
    pub body: Option<Vec<u8>>,
}

/// An HTTP answer, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpAnswer<'a> {
    /// Its status.
    pub status: u16,
    /// `X-Consul-Index`.
    pub index: Option<u64>,
    /// Its body.
    pub body: &'a [u8],
}

/// Puts a request on the wire.
pub fn encode(request: &ConsulRequest) -> HttpRequest {
    match request {
        ConsulRequest::Register(registration) => HttpRequest {
            method: "PUT",
            target: "/v1/agent/service/register".into(),
            body: Some(registration_json(registration).to_string().into_bytes()),
        },
        ConsulRequest::Deregister { service } => HttpRequest {
            method: "PUT",
            target: format!("/v1/agent/service/deregister/{}", escaped(service)),
            body: None,
        },
        ConsulRequest::Report { check, status, output } => {
            let body = json!({ "Status": status_word(*status), "Output": &**output });
            HttpRequest {
                method: "PUT",
                target: format!("/v1/agent/check/update/{}", escaped(check)),
                body: Some(body.to_string().into_bytes()),
            }
        }
        // A file is never sent anywhere; asking for it by mistake asks for nothing.
        ConsulRequest::File { .. } => {
            HttpRequest { method: "GET", target: "/v1/status/leader".into(), body: None }
        }
        ConsulRequest::SessionCreate { .. }
        | ConsulRequest::SessionRenew { .. }
        | ConsulRequest::SessionDestroy { .. }
        | ConsulRequest::LockRead { .. }
        | ConsulRequest::Acquire { .. }
        | ConsulRequest::Release { .. } => lock::encode(request),
        ConsulRequest::Instances { service, tag, dc, passing, index, wait } => {
            let mut query = Query::new(format!("/v1/health/service/{}", escaped(service)));
            if *passing {
                query.add("passing", "1");
            }
            query.add_if("tag", tag.as_deref());
            query.add_if("dc", dc.as_deref());
            query.add_wait(*index, *wait);
            query.into_get()
        }
        ConsulRequest::Keys { key, recurse, dc, index, wait } => {
            let mut query = Query::new(key_path(key));
            if *recurse {
                query.add("recurse", "1");
            }
            query.add_if("dc", dc.as_deref());
            query.add_wait(*index, *wait);
            query.into_get()
        }
    }
}

/// Takes the answer to a request off the wire. Total: whatever listens there, something comes back.
pub fn decode(request: &ConsulRequest, answer: HttpAnswer<'_>) -> ConsulReply {
    let is_read = matches!(request, ConsulRequest::Keys { .. } | ConsulRequest::LockRead { .. });
    let is_missing_key = is_read && answer.status == 404;
    let is_conflict = matches!(request, ConsulRequest::Acquire { .. }) && answer.status == 409;
    if !(200..300).contains(&answer.status) && !is_missing_key && !is_conflict {
        return ConsulReply::Failed(failure_of(request, answer));
    }
    match request {
        // Consul answers these with an empty body; a page of HTML is somebody else's.
        ConsulRequest::Register(_)
        | ConsulRequest::Deregister { .. }
        | ConsulRequest::Report { .. } => {
            if answer.body.iter().all(u8::is_ascii_whitespace) {
                ConsulReply::Done
            } else {
                garbled(answer.body)
            }
        }
        ConsulRequest::Instances { .. } => match (answer.index, instances_of(answer.body)) {
            (Some(index), Some(instances)) => ConsulReply::Instances { index, instances },
            (None, _) | (_, None) => garbled(answer.body),
        },
        ConsulRequest::File { .. } => garbled(answer.body),
        ConsulRequest::SessionCreate { .. }
        | ConsulRequest::SessionRenew { .. }
        | ConsulRequest::SessionDestroy { .. }
        | ConsulRequest::Acquire { .. }
        | ConsulRequest::Release { .. } => lock::decode(request, answer),
        ConsulRequest::Keys { .. } | ConsulRequest::LockRead { .. } => {
            let entries = if is_missing_key { Some(Vec::new()) } else { entries_of(answer.body) };
            match (answer.index, entries) {
                (Some(index), Some(entries)) => ConsulReply::Keys { index, entries },
                (None, _) | (_, None) => garbled(answer.body),
            }
        }
    }
}

/// Prints a duration in Go's form, exact to the millisecond.
pub fn go_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis.is_multiple_of(1000) { format!("{}s", millis / 1000) } else { format!("{millis}ms") }
}

fn registration_json(registration: &Registration) -> Value {
    let meta: Map<String, Value> =
        registration.meta.iter().map(|(key, value)| (key.to_string(), json!(&**value))).collect();
    let mut body = json!({
        "ID": &*registration.id,
        "Name": &*registration.name,
        "Port": registration.port,
        "Tags": registration.tags,
        "EnableTagOverride": registration.enable_tag_override,
    });
    if let Some(address) = registration.address {
        body["Address"] = json!(address.to_string());
    }
    if !meta.is_empty() {
        body["Meta"] = Value::Object(meta);
    }
    if let Some(ttl) = registration.ttl {
        let mut check = json!({
            "CheckID": &*registration.check,
            "TTL": go_duration(ttl),
            "Status": status_word(registration.status),
            "Notes": &*registration.notes,
        });
        if let Some(after) = registration.deregister_critical_after {
            check["DeregisterCriticalServiceAfter"] = json!(go_duration(after));
        }
        body["Check"] = check;
    }
    body
}

fn status_word(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Passing => "passing",
        CheckStatus::Warning => "warning",
        CheckStatus::Critical => "critical",
    }
}

/// A check or service that the agent has forgotten answers 500 (404 in later versions) with one of
/// these texts, with ACLs off and on.
fn failure_of(request: &ConsulRequest, answer: HttpAnswer<'_>) -> ConsulFailure {
    let text = String::from_utf8_lossy(answer.body);
    let is_unknown = match request {
        ConsulRequest::Report { .. } => {
            text.contains("does not have associated TTL") || text.contains("Unknown check")
        }
        ConsulRequest::Deregister { .. } => text.contains("Unknown service"),
        ConsulRequest::SessionRenew { .. } => {
            answer.status == 404 && text.starts_with("Session id")
        }
        ConsulRequest::Register(_)
        | ConsulRequest::File { .. }
        | ConsulRequest::SessionCreate { .. }
        | ConsulRequest::SessionDestroy { .. }
        | ConsulRequest::LockRead { .. }
        | ConsulRequest::Acquire { .. }
        | ConsulRequest::Release { .. }
        | ConsulRequest::Instances { .. }
        | ConsulRequest::Keys { .. } => false,
    };
    if is_unknown && matches!(answer.status, 404 | 500) {
        return ConsulFailure::Unknown;
    }
    ConsulFailure::Refused { status: answer.status, body: excerpt(answer.body) }
}

fn garbled(body: &[u8]) -> ConsulReply {
    let text = format!("not an answer of Consul: {}", excerpt(body));
    ConsulReply::Failed(ConsulFailure::Garbled(text.into()))
}

fn excerpt(body: &[u8]) -> Box<str> {
    let text = String::from_utf8_lossy(&body[..body.len().min(ERROR_BODY_BYTES)]);
    text.trim().into()
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthEntry {
    node: HealthNode,
    service: HealthService,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthNode {
    node: Box<str>,
    #[serde(default)]
    address: Box<str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthService {
    #[serde(rename = "ID")]
    id: Box<str>,
    #[serde(default)]
    address: Box<str>,
    #[serde(default)]
    port: i64,
    #[serde(default)]
    tags: Option<Vec<Box<str>>>,
    #[serde(default)]
    meta: Option<std::collections::BTreeMap<Box<str>, Box<str>>>,
    #[serde(default)]
    weights: Option<HealthWeights>,
    #[serde(default)]
    create_index: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HealthWeights {
    passing: u32,
    warning: u32,
}

fn instances_of(body: &[u8]) -> Option<Vec<Instance>> {
    let entries: Vec<HealthEntry> = serde_json::from_slice(body).ok()?;
    Some(entries.into_iter().map(instance_of).collect())
}

fn instance_of(entry: HealthEntry) -> Instance {
    let HealthEntry { node, service } = entry;
    let address = if service.address.is_empty() { node.address } else { service.address };
    Instance {
        node: node.node,
        id: service.id,
        address,
        port: u16::try_from(service.port).unwrap_or(0),
        tags: service.tags.unwrap_or_default(),
        meta: service.meta.unwrap_or_default().into_iter().collect(),
        weights: service.weights.map_or((1, 1), |weights| (weights.passing, weights.warning)),
        created: service.create_index,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeyEntry {
    key: Box<str>,
    #[serde(default)]
    value: Option<Box<str>>,
    #[serde(default)]
    create_index: u64,
    #[serde(default)]
    modify_index: u64,
    #[serde(default)]
    flags: u64,
    #[serde(default)]
    lock_index: u64,
    #[serde(default)]
    session: Option<Box<str>>,
}

fn entries_of(body: &[u8]) -> Option<Vec<Entry>> {
    let entries: Vec<KeyEntry> = serde_json::from_slice(body).ok()?;
    let convert = |entry: KeyEntry| Entry {
        key: entry.key,
        value: entry.value.unwrap_or_default(),
        modified: entry.modify_index,
        flags: entry.flags,
        acquired: entry.lock_index,
        created: entry.create_index,
        session: entry.session,
    };
    Some(entries.into_iter().map(convert).collect())
}

fn key_path(key: &str) -> String {
    let path: Vec<String> = key.split('/').map(escaped).collect();
    format!("/v1/kv/{}", path.join("/"))
}

struct Query {
    target: String,
    is_first: bool,
}

impl Query {
    fn new(target: String) -> Query {
        Query { target, is_first: true }
    }

    fn add(&mut self, name: &str, value: &str) {
        let mark = if self.is_first { '?' } else { '&' };
        self.is_first = false;
        self.target.push(mark);
        self.target.push_str(name);
        self.target.push('=');
        self.target.push_str(&escaped(value));
    }

    fn add_if(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.add(name, value);
        }
    }

    fn add_wait(&mut self, index: u64, wait: Duration) {
        if index > 0 {
            self.add("index", &index.to_string());
            self.add("wait", &go_duration(wait));
        }
    }

    fn into_get(self) -> HttpRequest {
        HttpRequest { method: "GET", target: self.target, body: None }
    }
}

/// Percent-encodes all but the unreserved characters (RFC 3986, 2.3).
pub fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte) {
            escaped.push(byte as char);
        } else {
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instances(index: u64) -> ConsulRequest {
        ConsulRequest::Instances {
            service: "web app".into(),
            tag: Some("a&b".into()),
            dc: None,
            passing: true,
            index,
            wait: Duration::from_millis(1500),
        }
    }

    #[test]
    fn blocking_query_names_index_and_wait() {
        let target = "/v1/health/service/web%20app?passing=1&tag=a%26b";
        assert_eq!(encode(&instances(0)).target, target);
        assert_eq!(encode(&instances(7)).target, format!("{target}&index=7&wait=1500ms"));
    }

    #[test]
    fn forgotten_check_is_unknown_and_other_errors_are_not() {
        let report = ConsulRequest::Report {
            check: "service:web-1".into(),
            status: CheckStatus::Passing,
            output: "".into(),
        };
        let answer = |status, body: &'static str| {
            decode(&report, HttpAnswer { status, index: None, body: body.as_bytes() })
        };
        let unknown = ConsulReply::Failed(ConsulFailure::Unknown);
        assert_eq!(answer(500, "CheckID \"x\" does not have associated TTL"), unknown);
        assert_eq!(answer(500, "Unknown check \"x\""), unknown);
        assert_eq!(answer(200, ""), ConsulReply::Done);
        assert!(matches!(
            answer(403, "Permission denied"),
            ConsulReply::Failed(ConsulFailure::Refused { status: 403, .. })
        ));
        assert!(matches!(answer(200, "<html>"), ConsulReply::Failed(ConsulFailure::Garbled(_))));
    }

    #[test]
    fn instance_takes_its_nodes_address_when_it_has_none() {
        let body = br#"[{"Node":{"Node":"n","Address":"10.0.0.1"},"Service":{"ID":"w","Address":"",
            "Port":80,"Tags":["a"],"Meta":null,"Weights":{"Passing":1,"Warning":1},
            "CreateIndex":9}}]"#;
        let answer = HttpAnswer { status: 200, index: Some(12), body };
        let ConsulReply::Instances { index: 12, instances } = decode(&instances(0), answer) else {
            panic!("not read")
        };
        assert_eq!(&*instances[0].address, "10.0.0.1");
        assert_eq!(instances[0].created, 9);
    }

    #[test]
    fn missing_key_is_an_empty_reading() {
        let key = ConsulRequest::Keys {
            key: "a/b c".into(),
            recurse: false,
            dc: None,
            index: 0,
            wait: Duration::ZERO,
        };
        assert_eq!(encode(&key).target, "/v1/kv/a/b%20c");
        let answer = HttpAnswer { status: 404, index: Some(3), body: b"" };
        assert_eq!(decode(&key, answer), ConsulReply::Keys { index: 3, entries: Vec::new() });
    }
}
