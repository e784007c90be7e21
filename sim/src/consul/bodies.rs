//! Turns checked request bodies into what they describe.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::catalog::Registration;
use super::decode::{self, Kind};
use super::go;
use super::json::{Json, Writer};
use super::local::CheckDefinition;
use super::schemas;
use super::txn::{KvVerb, Operation, RecordVerb};
use super::types::{Check, Entry, Instance, Node, SERF_HEALTH, Service, Session, Str, StrMap};

/// Reads a body that must have the form of `kind`; the error is Go's.
pub(crate) fn read(body: &[u8], kind: &Kind) -> Result<Json, String> {
    let json = Json::parse(body)?;
    decode::check(kind, &json, true)?;
    Ok(json)
}

fn str_of(json: &Json, name: &str) -> Str {
    json.text(name).into()
}

fn texts(json: &Json, name: &str) -> Option<Vec<Str>> {
    let item = |item: &Json| match item {
        Json::Text(text) => text.as_str().into(),
        _ => "".into(),
    };
    json.list(name).map(|items| items.iter().map(item).collect())
}

fn map(json: &Json, name: &str) -> StrMap {
    let pair = |(key, value): &(String, Json)| {
        let value = match value {
            Json::Text(text) => text.as_str(),
            _ => "",
        };
        (key.as_str().into(), value.into())
    };
    json.object(name).map(|members| members.iter().map(pair).collect())
}

fn tagged(json: &Json, name: &str) -> Option<BTreeMap<Str, (Str, i64)>> {
    let pair = |(key, value): &(String, Json)| {
        (Str::from(key.as_str()), (str_of(value, "Address"), value.int("Port")))
    };
    json.object(name).map(|members| members.iter().map(pair).collect())
}

fn weights(json: &Json) -> Option<(i64, i64)> {
    match json.member("Weights") {
        Some(found @ Json::Object(_)) => Some((found.int("Passing"), found.int("Warning"))),
        _ => None,
    }
}

/// Reads a service registration with its checks.
pub(crate) fn service(json: &Json) -> (Service, Vec<CheckDefinition>) {
    let name = str_of(json, "Name");
    let id = str_of(json, "ID");
    let addresses = tagged(json, "TaggedAddresses").filter(|found| !found.is_empty());
    let service = Service {
        kind: str_of(json, "Kind"),
        id: if id.is_empty() { name.clone() } else { id },
        name,
        tags: texts(json, "Tags"),
        address: str_of(json, "Address"),
        tagged: addresses
            .or_else(|| tagged(json, "tagged_addresses").filter(|found| !found.is_empty())),
        meta: map(json, "Meta"),
        port: json.int("Port"),
        weights: weights(json),
        tag_override: json.truth("EnableTagOverride") || json.truth("enable_tag_override"),
        native: json.member("Connect").is_some_and(|connect| connect.truth("Native")),
    };
    let first = json.member("Check").map(|check| check_definition(check, "CheckID"));
    let mut checks: Vec<CheckDefinition> = first.into_iter().filter(|check| !check.empty).collect();
    let more = json.list("Checks").unwrap_or_default();
    checks.extend(more.iter().map(|check| check_definition(check, "CheckID")));
    (service, checks)
}

/// Reads how a check is carried out; `id` names the member that holds its id.
pub(crate) fn check_definition(json: &Json, id: &str) -> CheckDefinition {
    let has = |name: &str| !json.text(name).is_empty();
    let script = ["ScriptArgs", "args", "script_args"]
        .iter()
        .any(|name| json.list(name).is_some_and(|args| !args.is_empty()));
    let docker = has("DockerContainerID") || has("docker_container_id");
    let probe = if has("GRPC") {
        "grpc"
    } else if has("HTTP") {
        "http"
    } else if has("TCP") {
        "tcp"
    } else if script {
        if docker { "docker" } else { "script" }
    } else {
        ""
    };
    let mut definition = CheckDefinition {
        id: str_of(json, id),
        name: str_of(json, "Name"),
        status: str_of(json, "Status"),
        notes: str_of(json, "Notes"),
        probe,
        alias: has("AliasNode") || has("AliasService"),
        interval: schemas::duration(json, "Interval").unwrap_or(0),
        ttl: schemas::duration(json, "TTL").unwrap_or(0),
        deregister_after: schemas::deregister_after(json).unwrap_or(0),
        output_max: json.int("OutputMaxSize"),
        empty: true,
    };
    let other_texts = ["Method", "Body", "Shell", "ProxyHTTP", "ProxyGRPC"];
    let other_truths = ["GRPCUseTLS", "TLSSkipVerify", "tls_skip_verify"];
    let other_numbers = ["SuccessBeforePassing", "FailuresBeforeCritical"];
    let extra = docker
        || other_texts.iter().any(|name| has(name))
        || other_truths.iter().any(|name| json.truth(name))
        || other_numbers.iter().any(|name| json.int(name) != 0)
        || schemas::duration(json, "Timeout").unwrap_or(0) != 0
        || json.object("Header").is_some();
    definition.empty =
        definition == CheckDefinition { empty: true, ..CheckDefinition::default() } && !extra;
    definition
}

/// Reads a check registration.
pub(crate) fn check(json: &Json, node: &Str) -> (Check, CheckDefinition) {
    let definition = check_definition(json, "ID");
    let either = |first: &str, second: &str| match json.text(first) {
        "" => str_of(json, second),
        text => text.into(),
    };
    let check = Check {
        node: node.clone(),
        id: either("ID", "Name"),
        name: definition.name.clone(),
        status: match &*definition.status {
            "" => super::types::CRITICAL.into(),
            _ => definition.status.clone(),
        },
        notes: definition.notes.clone(),
        service_id: either("ServiceID", "service_id"),
        kind: definition.kind().into(),
        ..Check::default()
    };
    (check, definition)
}

/// Reads a catalog registration; `datacenter` is the default.
pub(crate) fn registration(json: &Json, datacenter: &Str) -> Registration {
    let given = |check: &&Json| **check != Json::Null;
    let mut checks: Vec<Check> =
        json.list("Checks").unwrap_or_default().iter().filter(given).map(catalog_check).collect();
    checks.extend(json.member("Check").filter(|check| **check != Json::Null).map(catalog_check));
    let given = str_of(json, "Datacenter");
    let service = json.member("Service").filter(|service| **service != Json::Null);
    Registration {
        node: Node {
            id: str_of(json, "ID"),
            name: str_of(json, "Node"),
            address: str_of(json, "Address"),
            datacenter: if given.is_empty() { datacenter.clone() } else { given },
            tagged: map(json, "TaggedAddresses"),
            meta: map(json, "NodeMeta"),
            create: 0,
            modify: 0,
        },
        service: service.map(|service| Arc::new(node_service(service))),
        checks,
        skip_node_update: json.truth("SkipNodeUpdate"),
    }
}

fn node_service(json: &Json) -> Service {
    Service {
        kind: str_of(json, "Kind"),
        id: str_of(json, "ID"),
        name: str_of(json, "Service"),
        tags: texts(json, "Tags"),
        address: str_of(json, "Address"),
        tagged: tagged(json, "TaggedAddresses"),
        meta: map(json, "Meta"),
        port: json.int("Port"),
        weights: weights(json),
        tag_override: json.truth("EnableTagOverride"),
        native: json.member("Connect").is_some_and(|connect| connect.truth("Native")),
    }
}

fn catalog_check(json: &Json) -> Check {
    let details = json.member("Definition");
    Check {
        node: str_of(json, "Node"),
        id: str_of(json, "CheckID"),
        name: str_of(json, "Name"),
        status: str_of(json, "Status"),
        notes: str_of(json, "Notes"),
        output: str_of(json, "Output"),
        service_id: str_of(json, "ServiceID"),
        service_name: str_of(json, "ServiceName"),
        service_tags: texts(json, "ServiceTags"),
        kind: match json.text("Type") {
            "" => details.map_or("", |d| check_definition(d, "").kind()).into(),
            kind => kind.into(),
        },
        definition: details.map(print_details).filter(|printed| &**printed != "{}"),
        create: 0,
        modify: json.uint("ModifyIndex"),
    }
}

/// Prints the definition of a catalog check as Consul would.
fn print_details(json: &Json) -> Str {
    let mut writer = Writer::default();
    writer.object(|w| {
        for name in ["Interval", "Timeout", "DeregisterCriticalServiceAfter"] {
            if name == "Timeout" && json.uint("OutputMaxSize") > 0 {
                w.key("OutputMaxSize").number(json.uint("OutputMaxSize"));
            }
            let nanos = schemas::duration(json, name).unwrap_or(0);
            if nanos != 0 {
                w.key(name).text(&go::format_duration(nanos));
            }
        }
        let text = |w: &mut Writer, name: &str| {
            if !json.text(name).is_empty() {
                w.key(name).text(json.text(name));
            }
        };
        text(w, "HTTP");
        if json.truth("TLSSkipVerify") {
            w.key("TLSSkipVerify").truth(true);
        }
        if let Some(header) = json.object("Header").filter(|header| !header.is_empty()) {
            let sorted: BTreeMap<&str, &Json> =
                header.iter().map(|(key, value)| (key.as_str(), value)).collect();
            w.key("Header").object(|w| {
                for (key, value) in sorted {
                    w.key(key).list(|w| {
                        if let Json::List(values) = value {
                            for value in values {
                                if let Json::Text(value) = value {
                                    w.text(value);
                                }
                            }
                        }
                    });
                }
            });
        }
        ["Method", "Body", "TCP"].iter().for_each(|name| text(w, name));
        if let Some(args) = texts(json, "ScriptArgs").filter(|args| !args.is_empty()) {
            w.key("ScriptArgs").list(|w| args.iter().for_each(|arg| w.text(arg)));
        }
        ["DockerContainerID", "Shell", "GRPC"].iter().for_each(|name| text(w, name));
        if json.truth("GRPCUseTLS") {
            w.key("GRPCUseTLS").truth(true);
        }
        ["AliasNode", "AliasService"].iter().for_each(|name| text(w, name));
        let ttl = schemas::duration(json, "TTL").unwrap_or(0);
        if ttl != 0 {
            w.key("TTL").number(ttl);
        }
    });
    writer.finish().into()
}

/// Reads a session; the second part is its behavior as written.
pub(crate) fn session(json: Option<&Json>, node: &Str) -> (Session, Str) {
    let serf = || Some(vec![Str::from(SERF_HEALTH)]);
    let mut session = Session {
        node: node.clone(),
        lock_delay: 15_000_000_000,
        node_checks: serf(),
        checks: serf(),
        ..Session::default()
    };
    let mut behavior: Str = "release".into();
    if let Some(json) = json {
        let given = |name: &str| json.member(name).filter(|value| **value != Json::Null);
        session.name = str_of(json, "Name");
        session.ttl = str_of(json, "TTL");
        if given("Node").is_some() {
            session.node = str_of(json, "Node");
        }
        if given("Behavior").is_some() {
            behavior = str_of(json, "Behavior");
        }
        if let Ok(Some(delay)) = schemas::lock_delay(json) {
            session.lock_delay = delay;
        }
        if json.member("NodeChecks").is_some() {
            session.node_checks = texts(json, "NodeChecks");
        }
        if json.member("Checks").is_some() {
            session.checks = texts(json, "Checks");
        }
        let pair = |check: &Json| (str_of(check, "ID"), str_of(check, "Namespace"));
        session.service_checks =
            json.list("ServiceChecks").map(|checks| checks.iter().map(pair).collect());
    }
    let own = session.checks.as_deref().unwrap_or_default();
    if own.is_empty() {
        session.node_checks = Some(Vec::new());
    } else if own == [Str::from(SERF_HEALTH)]
        || session.node_checks.as_ref().is_none_or(Vec::is_empty)
    {
        session.checks = None;
    }
    (session, behavior)
}

/// Reads the steps of a transaction; those that name nothing are skipped.
pub(crate) fn operations(json: &Json, datacenter: &Str) -> Vec<Operation> {
    let Json::List(items) = json else { return Vec::new() };
    let given = |item: &'_ Json, name: &str| {
        item.member(name).filter(|value| **value != Json::Null).cloned()
    };
    let mut operations = Vec::new();
    for item in items {
        if let Some(kv) = given(item, "KV") {
            operations.push(kv_operation(&kv));
        } else if let Some(node) = given(item, "Node") {
            operations.push(node_operation(&node, datacenter));
        } else if let Some(service) = given(item, "Service") {
            operations.push(service_operation(&service));
        } else if let Some(check) = given(item, "Check") {
            operations.push(check_operation(&check));
        }
    }
    operations
}

fn unknown(kind: &str, verb: &str, writes: bool) -> Operation {
    let error = format!("unknown {kind} verb {}", go::quote(verb)).into();
    Operation::Unknown { error, writes }
}

fn kv_operation(json: &Json) -> Operation {
    let Some(verb) = KvVerb::parse(json.text("Verb")) else {
        return unknown("KV", json.text("Verb"), false);
    };
    let value = match json.member("Value") {
        Some(Json::Text(text)) => go::base64_decode(text).ok().map(Arc::from),
        _ => None,
    };
    let entry = Entry {
        key: str_of(json, "Key"),
        flags: json.uint("Flags"),
        value,
        session: str_of(json, "Session"),
        modify: json.uint("Index"),
        ..Entry::default()
    };
    Operation::Kv { verb, entry }
}

fn node_operation(json: &Json, datacenter: &Str) -> Operation {
    let Some(verb) = RecordVerb::parse(json.text("Verb")) else {
        return unknown("Node", json.text("Verb"), true);
    };
    let empty = Json::Object(Vec::new());
    let of = json.member("Node").unwrap_or(&empty);
    let given = str_of(of, "Datacenter");
    let node = Node {
        id: str_of(of, "ID"),
        name: str_of(of, "Node"),
        address: str_of(of, "Address"),
        datacenter: if given.is_empty() { datacenter.clone() } else { given },
        tagged: map(of, "TaggedAddresses"),
        meta: map(of, "Meta"),
        create: 0,
        modify: of.uint("ModifyIndex"),
    };
    Operation::Node { verb, node }
}

fn service_operation(json: &Json) -> Operation {
    let Some(verb) = RecordVerb::parse(json.text("Verb")) else {
        return unknown("Service", json.text("Verb"), true);
    };
    let empty = Json::Object(Vec::new());
    let of = json.member("Service").unwrap_or(&empty);
    let mut service = node_service(of);
    service.tagged = None;
    service.kind = "".into();
    service.native = false;
    service.weights = Some(weights(of).unwrap_or((0, 0)));
    if service.id.is_empty() {
        service.id = service.name.clone();
    }
    let instance = Instance {
        node: str_of(json, "Node"),
        service: Arc::new(service),
        create: 0,
        modify: of.uint("ModifyIndex"),
    };
    Operation::Service { verb, instance }
}

fn check_operation(json: &Json) -> Operation {
    let Some(verb) = RecordVerb::parse(json.text("Verb")) else {
        return unknown("Check", json.text("Verb"), true);
    };
    let empty = Json::Object(Vec::new());
    let of = json.member("Check").unwrap_or(&empty);
    let mut check = catalog_check(of);
    check.kind = "".into();
    if check.id.is_empty() {
        check.id = check.name.clone();
    }
    Operation::Check { verb, check }
}
