//! Sessions and lock keys on the wire.

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{HttpAnswer, HttpRequest, Query, escaped, garbled, go_duration, key_path};
use crate::consul::{ConsulReply, ConsulRequest};
use crate::limits;

pub(super) fn encode(request: &ConsulRequest) -> HttpRequest {
    let put = |target: String, body: Option<Value>| HttpRequest {
        method: "PUT",
        target,
        body: body.map(|body| body.to_string().into_bytes()),
    };
    match request {
        ConsulRequest::SessionCreate { name, ttl, lock_delay } => {
            // No checks: the session lives by its renewals alone, wherever the agent is.
            let body = json!({
                "Name": &**name,
                "TTL": go_duration(*ttl),
                "LockDelay": go_duration(*lock_delay),
                "Behavior": "release",
                "Checks": [],
            });
            put("/v1/session/create".into(), Some(body))
        }
        ConsulRequest::SessionRenew { session } => {
            put(format!("/v1/session/renew/{}", escaped(session)), None)
        }
        ConsulRequest::SessionDestroy { session } => {
            put(format!("/v1/session/destroy/{}", escaped(session)), None)
        }
        ConsulRequest::LockRead { key, index, wait } => {
            let mut query = Query::new(key_path(key));
            query.add("consistent", "1");
            query.add_wait(*index, *wait);
            query.into_get()
        }
        ConsulRequest::Acquire { key, session, modified, floor, value } => {
            // Whether the one before must have stopped was judged by what was read.
            let check = modified.map(|modified| match modified {
                0 => json!({ "KV": { "Verb": "check-not-exists", "Key": &**key } }),
                _ => json!({
                    "KV": { "Verb": "check-index", "Key": &**key, "Index": modified }
                }),
            });
            let lock = json!({ "KV": {
                "Verb": "lock",
                "Key": &**key,
                "Session": &**session,
                "Flags": limits::HELD_FLAG | floor & limits::FLOOR_MASK,
                "Value": base64(value.as_bytes()),
            }});
            put("/v1/txn".into(), Some(Value::from_iter(check.into_iter().chain([lock]))))
        }
        ConsulRequest::Release { key, session, floor, value } => {
            let mut query = Query::new(key_path(key));
            query.add("release", session);
            let flags = limits::RELEASED_FLAG | floor & limits::FLOOR_MASK;
            query.add("flags", &flags.to_string());
            let body = Some(value.as_bytes().to_vec());
            HttpRequest { method: "PUT", target: query.target, body }
        }
        ConsulRequest::Register(_)
        | ConsulRequest::Deregister { .. }
        | ConsulRequest::Report { .. }
        | ConsulRequest::Instances { .. }
        | ConsulRequest::File { .. }
        | ConsulRequest::Keys { .. } => super::encode(request),
    }
}

pub(super) fn decode(request: &ConsulRequest, answer: HttpAnswer<'_>) -> ConsulReply {
    if let ConsulRequest::SessionRenew { .. } = request {
        // Nothing in it is of interest, and it comes all the time.
        let session = serde_json::from_slice::<Vec<IgnoredAny>>(answer.body);
        return session.map_or_else(|_| garbled(answer.body), |_| ConsulReply::Done);
    }
    let Ok(body) = serde_json::from_slice::<Value>(answer.body) else {
        return garbled(answer.body);
    };
    let reply = match request {
        ConsulRequest::SessionCreate { .. } => body["ID"]
            .as_str()
            .filter(|id| !id.is_empty())
            .map(|id| ConsulReply::Session { id: id.into() }),
        ConsulRequest::SessionDestroy { .. } => body.is_boolean().then_some(ConsulReply::Done),
        // `false`: it was not held by this session any more, which is as good.
        ConsulRequest::Release { .. } => body.is_boolean().then_some(ConsulReply::Done),
        ConsulRequest::Acquire { .. } if answer.status == 409 => {
            body["Errors"].is_array().then_some(ConsulReply::Acquired { token: None })
        }
        // The lock is the last step; a check before it may have a result as well.
        ConsulRequest::Acquire { .. } => body["Results"]
            .as_array()
            .and_then(|results| results.last()?["KV"]["ModifyIndex"].as_u64())
            .map(|token| ConsulReply::Acquired { token: Some(token) }),
        ConsulRequest::Register(_)
        | ConsulRequest::Deregister { .. }
        | ConsulRequest::Report { .. }
        | ConsulRequest::Instances { .. }
        | ConsulRequest::SessionRenew { .. }
        | ConsulRequest::LockRead { .. }
        | ConsulRequest::File { .. }
        | ConsulRequest::Keys { .. } => None,
    };
    reply.unwrap_or_else(|| garbled(answer.body))
}

fn base64(bytes: &[u8]) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let word = chunk
            .iter()
            .enumerate()
            .fold(0u32, |word, (place, byte)| word | u32::from(*byte) << (16 - 8 * place));
        for place in 0..4 {
            let symbol = SYMBOLS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() { symbol as char } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_encoded_as_consul_expects_them() {
        for (bytes, text) in [("", ""), ("a", "YQ=="), ("ab", "YWI="), ("abc", "YWJj")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
    }

    #[test]
    fn refused_and_granted_acquisitions_are_told_apart() {
        let request = ConsulRequest::Acquire {
            key: "k".into(),
            session: "s".into(),
            modified: Some(75),
            floor: 7,
            value: "v".into(),
        };
        let read = |status, body: &str| {
            decode(&request, HttpAnswer { status, index: None, body: body.as_bytes() })
        };
        let granted = r#"{"Results":[{"KV":{"ModifyIndex":75}},{"KV":{"ModifyIndex":76}}]}"#;
        assert_eq!(read(200, granted), ConsulReply::Acquired { token: Some(76) });
        let body = String::from_utf8(encode(&request).body.unwrap_or_default()).unwrap_or_default();
        assert!(body.contains(&format!("\"Flags\":{}", limits::HELD_FLAG + 7)), "{body}");
        let refused = r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"lock is already held"}]}"#;
        assert_eq!(read(409, refused), ConsulReply::Acquired { token: None });
        assert!(matches!(read(200, "{}"), ConsulReply::Failed(_)));
    }
}
