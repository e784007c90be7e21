//! From a call to a request of Consul's API, and from its response to the outcome.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;

use super::machine::{Asked, Outcome};
use super::variables::{digits_of, text_of};
use super::verb::Verb;
use crate::consul::go::base64_decode;
use crate::consul::{Request, Response};

/// A new session.
#[derive(Default, Deserialize)]
struct Created {
    #[serde(rename = "ID")]
    id: String,
}

/// An instance of a service.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    node: Addressed,
    service: Addressed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Addressed {
    address: String,
}

/// An entry of the key-value store.
#[derive(Deserialize)]
struct Entry<'a> {
    /// Base64, in which nothing is escaped.
    #[serde(rename = "Value")]
    value: Option<&'a str>,
    #[serde(rename = "Session", default, borrow)]
    session: Cow<'a, str>,
    #[serde(rename = "ModifyIndex")]
    index: u64,
}

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
            let created: Created = serde_json::from_str(&body).unwrap_or_default();
            Outcome::text(created.id)
        }
        Verb::ServicePassing | Verb::ServiceAll => {
            let listed: Vec<Listed> = serde_json::from_str(&body).unwrap_or_default();
            let address = |entry: Listed| match &*entry.service.address {
                "" => entry.node.address,
                _ => entry.service.address,
            };
            let nodes: Vec<String> = { listed.into_iter().map(address) }
                .map(|address| node_of(&address).map_or(address, |node| node.to_string()))
                .collect();
            Outcome::text(nodes.join(" "))
        }
        _ => Outcome::text(body.trim()),
    }
}

fn key_value(body: &str) -> Outcome {
    let entries: Vec<Entry<'_>> = serde_json::from_str(body).unwrap_or_default();
    let Some(entry) = entries.first() else {
        let none = ["found", "session", "index"].map(|suffix| (suffix, Arc::default()));
        return Outcome::Good(Arc::default(), none.to_vec());
    };
    let value = entry.value.and_then(|text| base64_decode(text).ok());
    let value = String::from_utf8(value.unwrap_or_default()).unwrap_or_default();
    let more = vec![
        ("found", Arc::from("yes")),
        ("session", text_of(&entry.session)),
        ("index", digits_of(entry.index)),
    ];
    Outcome::Good(Arc::from(value), more)
}
