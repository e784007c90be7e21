//! From a server's reply to the HTTP response.

use super::go::format_duration;
use super::http_api::Response;
use super::json::Writer;
use super::read::{Answer, Found, Query};
use super::route::Face;
use super::rpc::{ReadOptions, Reply, Rpc};
use super::txn::Row;

/// Writes the response to what was asked.
pub(crate) fn response(
    rpc: &Rpc,
    result: Result<Reply, String>,
    face: Face,
    pretty: bool,
) -> Response {
    let reply = match result {
        Ok(reply) => reply,
        Err(error) => {
            let response = Response::error(&error);
            return if face.has_meta_on_error() { meta(response, 1, 0, false) } else { response };
        }
    };
    match reply {
        Reply::Answer { answer, contact_ms, known_leader } => {
            let Rpc::Read { read, options } = rpc else { return Response::empty(500) };
            let health = matches!(read.query, Query::Health { .. });
            if health && read.raw {
                return Response::text(400, "Invalid value for ?passing");
            }
            let response = meta(found(&answer, pretty), answer.index, contact_ms, known_leader);
            if face == Face::Catalog {
                response.with("X-Consul-Effective-Consistency", consistency(*options))
            } else {
                response
            }
        }
        Reply::Done => json(200, "true", pretty),
        Reply::Truth(truth) => {
            json(200, if truth || face == Face::AlwaysTrue { "true" } else { "false" }, pretty)
        }
        Reply::Id(id) => {
            let mut writer = Writer::default();
            writer.object(|w| w.key("ID").text(&id));
            json(200, &writer.finish(), pretty)
        }
        Reply::Renewed(Some(printed)) | Reply::Json(printed) => json(200, &printed, pretty),
        Reply::Renewed(None) => match rpc {
            Rpc::Renew { id } => Response::text(404, format!("Session id '{id}' not found")),
            _ => Response::empty(404),
        },
        Reply::Rows { rows, authority, read } => {
            let visible: Vec<&Row> =
                rows.iter().filter(|row| row.is_visible_to(&authority)).collect();
            let body = txn(read, |w| {
                w.key("Results").list(|w| visible.iter().for_each(|row| w.raw(row.printed())));
                w.key("Errors").raw("null");
            });
            with_contact(json(200, &body, pretty), read)
        }
        Reply::Conflicts { conflicts, read } => {
            let body = txn(read, |w| print_conflicts(w, &conflicts));
            with_contact(json(409, &body, pretty), read)
        }
    }
}

fn print_conflicts(w: &mut Writer, conflicts: &[(usize, String)]) {
    w.key("Results").raw("null");
    w.key("Errors").list(|w| {
        for (position, what) in conflicts {
            w.object(|w| {
                w.key("OpIndex").number(position);
                w.key("What").text(what);
            });
        }
    });
}

fn json(status: u16, compact: &str, pretty: bool) -> Response {
    Response::json(status, compact, pretty)
}

fn found(answer: &Answer, pretty: bool) -> Response {
    match &answer.found {
        Found::Json(printed) => json(200, printed, pretty),
        Found::Missing => Response::empty(404),
        Found::Raw(bytes) => Response {
            body: bytes.to_vec(),
            ..Response::empty(200)
                .with("Content-Type", "text/plain")
                .with("X-Content-Type-Options", "nosniff")
                .with("Content-Security-Policy", "sandbox")
        },
    }
}

fn meta(response: Response, index: u64, contact_ms: u64, known_leader: bool) -> Response {
    response
        .with("X-Consul-Index", index.to_string())
        .with("X-Consul-Knownleader", known_leader.to_string())
        .with("X-Consul-Lastcontact", contact_ms.to_string())
}

fn consistency(options: ReadOptions) -> &'static str {
    if options.consistent {
        "consistent"
    } else if options.stale {
        "stale"
    } else {
        "leader"
    }
}

fn txn(read: Option<(u64, bool)>, body: impl FnOnce(&mut Writer)) -> String {
    let mut writer = Writer::default();
    writer.object(|w| {
        body(w);
        if let Some((contact_ms, known_leader)) = read {
            w.key("Index").number(0);
            w.key("LastContact").number(contact_ms * 1_000_000);
            w.key("KnownLeader").truth(known_leader);
            w.key("ConsistencyLevel").text("");
        }
    });
    writer.finish()
}

fn with_contact(response: Response, read: Option<(u64, bool)>) -> Response {
    match read {
        None => response,
        Some((contact_ms, known_leader)) => response
            .with("X-Consul-Knownleader", known_leader.to_string())
            .with("X-Consul-Lastcontact", contact_ms.to_string()),
    }
}

/// Prints a duration as the agent's own description does.
pub(crate) fn duration(nanos: u64) -> String {
    format_duration(i64::try_from(nanos).unwrap_or(i64::MAX))
}
