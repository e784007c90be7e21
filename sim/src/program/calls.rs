//! From a call to a request of Consul's API, and from its response to the outcome.

use std::sync::Arc;

use serde_json::{Value, json};

use super::machine::{Asked, Outcome};
use super::verb::Verb;
use crate::consul::go::base64_decode;
use crate::consul::{Request, Response};

/// Builds the request of a call; none when it is not for Consul.
pub(crate) fn encode(asked: &Asked) -> Option<Request> {
    let argument = |nth: usize| asked.arguments.get(nth).map_or("", |text| &**text);
    let (key, second, third) = (argument(0), argument(1), argument(2));
    let put = |target: String, body: &str| Request::new("PUT", &target).with_body(body.as_bytes());
    let read = |target: String, way: &str| {
        let joint = if target.contains('?') { '&' } else { '?' };
        match way {
            "" => Request::new("GET", &target),
            way => Request::new("GET", &format!("{target}{joint}{way}")),
        }
    };
    Some(match asked.verb {
        Verb::KvGet => read(format!("/v1/kv/{key}"), second),
        Verb::KvPut => put(format!("/v1/kv/{key}"), second),
        Verb::KvCas => put(format!("/v1/kv/{key}?cas={third}"), second),
        Verb::KvDelete => Request::new("DELETE", &format!("/v1/kv/{key}")),
        Verb::KvAcquire => put(format!("/v1/kv/{key}?acquire={third}"), second),
        Verb::KvRelease => put(format!("/v1/kv/{key}?release={third}"), second),
        Verb::SessionCreate => {
            let mut body = json!({ "Name": "program", "TTL": key, "Checks": [] });
            if !second.is_empty() {
                body["LockDelay"] = json!(second);
            }
            put("/v1/session/create".to_owned(), &body.to_string())
        }
        Verb::SessionRenew => put(format!("/v1/session/renew/{key}"), ""),
        Verb::SessionDestroy => put(format!("/v1/session/destroy/{key}"), ""),
        Verb::ServicePassing => read(format!("/v1/health/service/{key}?passing=1"), second),
        Verb::ServiceAll => read(format!("/v1/health/service/{key}"), second),
        Verb::ConsulGet => Request::new("GET", key),
        Verb::ConsulPut => put(key.to_owned(), second),
        _ => return None,
    })
}

/// Reads the response; `node_of` knows which node has an address.
pub(crate) fn decode(
    verb: Verb,
    response: &Response,
    node_of: impl Fn(&str) -> Option<Arc<str>>,
) -> Outcome {
    let body = String::from_utf8_lossy(&response.body);
    let is_absent = response.status == 404 && verb == Verb::KvGet;
    if response.status >= 400 && !is_absent {
        return Outcome::bad("refused", format!("{}: {}", response.status, body.trim()));
    }
    match verb {
        Verb::KvGet => key_value(&body),
        Verb::KvPut | Verb::KvCas | Verb::KvDelete | Verb::KvAcquire | Verb::KvRelease => {
            Outcome::is(body.trim() == "true")
        }
        Verb::SessionCreate => {
            let created: Value = serde_json::from_str(&body).unwrap_or_default();
            Outcome::text(created["ID"].as_str().unwrap_or_default())
        }
        Verb::ServicePassing | Verb::ServiceAll => {
            let listed: Value = serde_json::from_str(&body).unwrap_or_default();
            let address = |entry: &Value| {
                let own = entry["Service"]["Address"].as_str().filter(|own| !own.is_empty());
                own.or(entry["Node"]["Address"].as_str()).map(str::to_owned)
            };
            let addresses = listed.as_array().into_iter().flatten().filter_map(address);
            let nodes: Vec<String> = addresses
                .map(|address| node_of(&address).map_or(address, |node| node.to_string()))
                .collect();
            Outcome::text(nodes.join(" "))
        }
        _ => Outcome::text(body.trim()),
    }
}

fn key_value(body: &str) -> Outcome {
    let entries: Value = serde_json::from_str(body).unwrap_or_default();
    let Some(entry) = entries.get(0) else {
        let none = ["found", "session", "index"].map(|suffix| (suffix, Arc::from("")));
        return Outcome::Good(Arc::from(""), none.to_vec());
    };
    let value = entry["Value"].as_str().and_then(|text| base64_decode(text).ok());
    let value = String::from_utf8(value.unwrap_or_default()).unwrap_or_default();
    let session = entry["Session"].as_str().unwrap_or_default();
    let index = entry["ModifyIndex"].as_u64().unwrap_or_default().to_string();
    let more = vec![
        ("found", Arc::from("yes")),
        ("session", Arc::from(session)),
        ("index", Arc::from(index)),
    ];
    Outcome::Good(Arc::from(value), more)
}
