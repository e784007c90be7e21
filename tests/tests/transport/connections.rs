//! Reuse, closing, limits, deadlines.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use steersman::consul::{Client, Network};
use steersman_engine::consul::{ConsulReply, ConsulRequest};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::scripted::{
    DONE, NO_INSTANCES, PATIENCE, Scripted, Talk, instances, nothing_there, report, unreachable,
    until,
};

fn session_create() -> ConsulRequest {
    ConsulRequest::SessionCreate {
        name: "primary".into(),
        ttl: Duration::from_secs(10),
        lock_delay: Duration::from_secs(1),
    }
}

fn session_renew() -> ConsulRequest {
    ConsulRequest::SessionRenew { session: "s".into() }
}

#[tokio::test]
async fn one_connection_serves_one_request_after_another() {
    let server = Scripted::start(|mut talk| async move {
        while let Some(head) = talk.request().await {
            talk.send(if head.starts_with("GET") { NO_INSTANCES } else { DONE }).await;
        }
    })
    .await;
    let client = server.client();
    for _ in 0..50 {
        assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
        assert_eq!(client.ask(&instances(0), PATIENCE).await, nothing_there());
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 100));
}

#[tokio::test]
async fn connection_that_was_closed_while_idle_is_replaced_unnoticed() {
    let server = Scripted::start(|mut talk| async move {
        talk.request().await;
        talk.send(DONE).await;
    })
    .await;
    let client = server.client();
    for count in 1..=20 {
        assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
        assert_eq!(server.requests().len(), count);
    }
    assert_eq!(server.connections(), 20);
}

/// Answers the first request of the first connection and hangs up on the second.
async fn tired(mut talk: Talk) {
    talk.request().await;
    talk.send(DONE).await;
    talk.request().await;
    if talk.nth > 1 {
        talk.send(DONE).await;
        talk.hang().await;
    }
}

#[tokio::test]
async fn request_that_an_idle_connection_swallowed_is_sent_again_once() {
    let server = Scripted::start(tired).await;
    let client = server.client();
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    assert_eq!((server.connections(), server.requests().len()), (2, 3));
}

#[tokio::test]
async fn request_that_must_not_arrive_twice_is_not_sent_again() {
    let server = Scripted::start(tired).await;
    let client = server.client();
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    let words = unreachable(client.ask(&session_create(), PATIENCE).await);
    assert!(words.ends_with("it closed the connection without an answer"), "{words}");
    assert_eq!((server.connections(), server.requests().len()), (1, 2));
}

#[tokio::test]
async fn new_connection_that_closes_without_an_answer_is_a_failure_at_once() {
    let server = Scripted::start(|mut talk| async move {
        talk.request().await;
    })
    .await;
    let words = unreachable(server.client().ask(&report(), PATIENCE).await);
    assert!(words.starts_with(&format!("cannot reach {}: ", server.address)), "{words}");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn server_that_takes_the_connection_and_never_answers_is_given_up_in_time() {
    let server = Scripted::start(|mut talk| async move { talk.hang().await }).await;
    let client = server.client();
    let begin = Instant::now();
    let words = unreachable(client.ask(&report(), Duration::from_millis(300)).await);
    let took = begin.elapsed();
    assert!(words.contains("nothing within 300ms"), "{words}");
    assert!(words.ends_with("it took the connection and did not answer"), "{words}");
    assert!(took >= Duration::from_millis(300), "{took:?}");
    assert!(took < PATIENCE, "{took:?}");
}

#[tokio::test]
async fn body_that_stops_is_given_up_in_time() {
    let server = Scripted::start(|mut talk| async move {
        talk.request().await;
        talk.send("HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nContent-Length: 9\r\n\r\n[{}").await;
        talk.hang().await;
    })
    .await;
    let words = unreachable(server.client().ask(&instances(0), Duration::from_millis(300)).await);
    assert!(words.ends_with("its answer stopped after 3 bytes"), "{words}");
}

#[tokio::test]
async fn request_that_was_given_up_ends_its_connection() {
    let (open, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counter, notify) = (Arc::clone(&open), Arc::clone(&ended));
    let server = Scripted::start(move |mut talk| {
        let (open, ended) = (Arc::clone(&counter), Arc::clone(&notify));
        async move {
            open.fetch_add(1, Ordering::SeqCst);
            talk.hang().await;
            ended.notify_one();
        }
    })
    .await;
    let client = Arc::new(server.client());
    let asking = Arc::clone(&client);
    let task = tokio::spawn(async move { asking.ask(&instances(9), PATIENCE).await });
    until("a connection", || open.load(Ordering::SeqCst) == 1).await;
    task.abort();
    assert!(tokio::time::timeout(PATIENCE, ended.notified()).await.is_ok());
}

/// Holds blocking queries until it is told to answer; answers everything else at once.
async fn patient(mut talk: Talk, go: Arc<Notify>) {
    while let Some(head) = talk.request().await {
        if head.contains("index=") {
            go.notified().await;
        }
        talk.send(if head.starts_with("GET") { NO_INSTANCES } else { DONE }).await;
    }
}

#[tokio::test]
async fn blocking_queries_hold_up_no_report_and_leave_their_connections_for_use() {
    let go = Arc::new(Notify::new());
    let shared = Arc::clone(&go);
    let server = Scripted::start(move |talk| patient(talk, Arc::clone(&shared))).await;
    let client = Arc::new(server.client());
    let mut queries = JoinSet::new();
    for _ in 0..30 {
        let client = Arc::clone(&client);
        queries.spawn(async move { client.ask(&instances(9), PATIENCE).await });
    }
    until("30 queries", || server.requests().len() == 30).await;
    for _ in 0..30 {
        assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    }
    assert_eq!(server.connections(), 31);
    go.notify_waiters();
    while let Some(reply) = queries.join_next().await {
        assert_eq!(reply.unwrap(), nothing_there());
    }
    // They come back: over the same connections.
    for _ in 0..30 {
        let client = Arc::clone(&client);
        queries.spawn(async move { client.ask(&instances(9), PATIENCE).await });
    }
    until("60 queries", || server.requests().len() == 90).await;
    assert_eq!(server.connections(), 31);
}

#[tokio::test]
async fn short_requests_share_few_connections_and_locks_pass_them() {
    let server = Scripted::start(|mut talk| async move {
        while let Some(head) = talk.request().await {
            if head.contains("/session/renew/") {
                let body = "[{}]";
                talk.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n{body}")).await;
            } else {
                talk.hang().await;
            }
        }
    })
    .await;
    let client = Arc::new(server.client());
    let mut reports = JoinSet::new();
    let spawn = |reports: &mut JoinSet<_>, patience| {
        let client = Arc::clone(&client);
        reports.spawn(async move { client.ask(&report(), patience).await });
    };
    for _ in 0..4 {
        spawn(&mut reports, PATIENCE);
    }
    until("the first reports", || server.requests().len() == 4).await;
    for _ in 0..100 {
        spawn(&mut reports, Duration::from_millis(200));
    }
    assert_eq!(client.ask(&session_renew(), PATIENCE).await, ConsulReply::Done);
    for _ in 0..100 {
        let words = unreachable(reports.join_next().await.unwrap().unwrap());
        assert!(words.ends_with("nothing within 200ms, all connections were busy"), "{words}");
    }
    assert_eq!(server.connections(), 5);
}

#[tokio::test]
async fn thousand_short_requests_at_once_are_all_answered() {
    let server = Scripted::always(DONE).await;
    let client = Arc::new(server.client());
    let mut reports = JoinSet::new();
    for _ in 0..1000 {
        let client = Arc::clone(&client);
        reports.spawn(async move { client.ask(&report(), PATIENCE).await });
    }
    while let Some(reply) = reports.join_next().await {
        assert_eq!(reply.unwrap(), ConsulReply::Done);
    }
    assert!(server.connections() <= 4, "{}", server.connections());
}

#[tokio::test]
async fn after_a_failure_no_idle_connection_is_trusted() {
    let server = Scripted::start(|mut talk| async move {
        while let Some(head) = talk.request().await {
            match head.contains("index=") {
                true => talk.hang().await,
                false => talk.send(NO_INSTANCES).await,
            }
        }
    })
    .await;
    let client: Client<Network> = server.client();
    assert_eq!(client.ask(&instances(0), PATIENCE).await, nothing_there());
    unreachable(client.ask(&instances(9), Duration::from_millis(100)).await);
    assert_eq!(client.ask(&instances(0), PATIENCE).await, nothing_there());
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn connection_refused_is_said_to_be() {
    let server = Scripted::always(DONE).await;
    let (client, address) = (server.client(), server.address);
    drop(server);
    until("the listener's end", || std::net::TcpListener::bind(address).is_ok()).await;
    let words = unreachable(client.ask(&report(), PATIENCE).await);
    assert_eq!(words, format!("cannot reach {address}: connection refused"));
}
