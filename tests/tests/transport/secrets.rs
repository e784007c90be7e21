//! Tokens, passwords, namespaces.

use std::fs;

use steersman_engine::consul::ConsulReply;
use steersman_engine::front::Secret;

use super::scripted::{
    DONE, PATIENCE, Scripted, client, instances, nothing_there, refused, report, unreachable,
};

const TOKEN: &str = "9b1e4c5a-hush-hush";

fn denied(words: &str) -> String {
    format!("HTTP/1.1 403 Forbidden\r\nContent-Length: {}\r\n\r\n{words}", words.len())
}

#[tokio::test]
async fn token_and_password_go_into_headers_only() {
    let server = Scripted::always(DONE).await;
    let mut agent = server.agent();
    agent.token = Some(Secret(TOKEN.into()));
    agent.auth = Some(Secret("user:password".into()));
    assert_eq!(client(&agent).ask(&report(), PATIENCE).await, ConsulReply::Done);
    let head = &server.requests()[0];
    assert!(head.contains(&format!("\r\nx-consul-token: {TOKEN}")), "{head}");
    assert!(head.contains("\r\nauthorization: Basic dXNlcjpwYXNzd29yZA=="), "{head}");
    assert!(!head.lines().next().unwrap().contains("hush"), "{head}");
}

#[tokio::test]
async fn without_a_token_no_header_is_sent() {
    let server = Scripted::always(DONE).await;
    let mut agent = server.agent();
    agent.token = Some(Secret(String::new()));
    assert_eq!(client(&agent).ask(&report(), PATIENCE).await, ConsulReply::Done);
    let head = server.requests()[0].to_lowercase();
    assert!(!head.contains("token"), "{head}");
    assert!(!head.contains("authorization"), "{head}");
}

#[tokio::test]
async fn refusal_tells_a_missing_token_from_a_wrong_one() {
    let server = Scripted::always(denied("Permission denied")).await;
    let (status, words) = refused(server.client().ask(&report(), PATIENCE).await);
    assert_eq!((status, &*words), (403, "no token was sent: Permission denied"));

    let server = Scripted::always(denied(&format!("ACL not found: {TOKEN}"))).await;
    let mut agent = server.agent();
    agent.token = Some(Secret(TOKEN.into()));
    let (_, words) = refused(client(&agent).ask(&report(), PATIENCE).await);
    assert!(words.starts_with("the token that was sent is unknown, or may not do this"));
    assert!(words.ends_with("ACL not found: <redacted>"), "{words}");
}

#[tokio::test]
async fn token_file_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let server = Scripted::always(DONE).await;
    let mut agent = server.agent();
    agent.token_file = Some(path.display().to_string());
    let client = client(&agent);
    let words = unreachable(client.ask(&report(), PATIENCE).await);
    assert_eq!(words, format!("cannot read the token file {}: no such file", path.display()));
    assert_eq!(server.requests().len(), 0, "nothing is sent without the token");
    for token in ["first", "second-one"] {
        fs::write(&path, format!("{token}\n")).unwrap();
        assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
        let last = server.requests().pop().unwrap();
        assert!(last.contains(&format!("\r\nx-consul-token: {token}\r\n")), "{last}");
    }
}

#[tokio::test]
async fn token_that_no_header_may_have_is_not_shown() {
    let server = Scripted::always(DONE).await;
    let mut agent = server.agent();
    agent.token = Some(Secret("hush\r\nX-Evil: 1".into()));
    let words = unreachable(client(&agent).ask(&report(), PATIENCE).await);
    assert_eq!(words, "cannot send the token: no header may have such characters");
    assert_eq!(server.requests().len(), 0);
}

#[tokio::test]
async fn namespace_is_added_to_every_request() {
    let server = Scripted::always(super::scripted::NO_INSTANCES).await;
    let mut agent = server.agent();
    agent.namespace = Some("team a&b".into());
    let client = client(&agent);
    assert_eq!(client.ask(&instances(0), PATIENCE).await, nothing_there());
    client.ask(&report(), PATIENCE).await;
    let requests = server.requests();
    assert!(requests[0].starts_with("GET /v1/health/service/web?passing=1&ns=team%20a%26b HTTP"));
    assert!(requests[1].starts_with("PUT /v1/agent/check/update/service:web-1?ns=team%20a%26b "));
}
