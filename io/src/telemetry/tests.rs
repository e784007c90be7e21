//! Telemetry over real sockets.

use std::net::SocketAddr;

use steersman_engine::config::{Config, Metric, MetricKind};
use steersman_engine::front;
use steersman_engine::status::Status;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{Arc, Server, Telemetry};
use crate::ask::{self, Ask};
use crate::limits::TELEMETRY_CONNECTIONS_MAX;

fn settings(port: u16) -> front::Telemetry {
    front::Telemetry { port, address: Some("127.0.0.1".parse().unwrap()), tags: Vec::new() }
}

/// A server on a port that was free, and whoever answers its questions.
fn serving() -> (Server, SocketAddr, Telemetry) {
    let (asker, mut asked) = ask::queue();
    tokio::spawn(async move {
        while let Some(ask) = asked.recv().await {
            let Ask::Status(reply) = ask else { panic!("telemetry asks for the status only") };
            let _ = reply.send(Status::default());
        }
    });
    let telemetry = Telemetry::new();
    let metric = Metric { name: "hits".into(), help: "".into(), kind: MetricKind::Gauge };
    telemetry.apply(&Arc::new(Config { metrics: vec![metric], ..Config::default() }));
    let mut server = Server::new(asker, telemetry.clone());
    server.apply(Some(&settings(0))).unwrap();
    let address = server.address().unwrap();
    (server, address, telemetry)
}

async fn answer(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(format!("{request} HTTP/1.1\r\nHost: t\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn metrics_are_served_in_the_text_format() {
    let (_server, address, telemetry) = serving();
    telemetry.feed("hits", 3.0).unwrap();
    let page = answer(address, "GET /metrics").await;
    assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
    assert!(page.contains("\r\ncontent-type: text/plain; version=0.0.4"), "{page}");
    assert!(page.contains("\nhits 3\n"), "{page}");
    for name in ["process_resident_memory_bytes ", "process_start_time_seconds "] {
        let line = page.lines().find(|line| line.starts_with(name)).unwrap();
        let value: f64 = line.strip_prefix(name).unwrap().parse().unwrap();
        assert!(value > 100_000.0, "{line}");
    }
}

#[tokio::test]
async fn status_is_served_in_the_shape_of_v3() {
    let (_server, address, _telemetry) = serving();
    let page = answer(address, "GET /status").await;
    let (head, body) = page.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    for key in ["Version", "Jobs", "Services", "Watches"] {
        assert!(body.get(key).is_some(), "{body}");
    }
}

#[tokio::test]
async fn other_methods_and_pages_are_refused() {
    let (_server, address, _telemetry) = serving();
    for (request, status) in
        [("POST /status", 405), ("DELETE /metrics", 405), ("GET /", 404), ("GET /metrics/", 404)]
    {
        let found = answer(address, request).await;
        assert!(found.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {found}");
    }
}

#[tokio::test]
async fn reload_keeps_the_listener_while_its_place_is_the_same() {
    let (mut server, address, _telemetry) = serving();
    // A connection that waits in the kernel's queue survives only if the listener does.
    let mut early = TcpStream::connect(address).await.unwrap();
    server.apply(Some(&settings(0))).unwrap();
    assert_eq!(server.address(), Some(address));
    early.write_all(b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n").await.unwrap();
    let mut head = [0; 12];
    early.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
}

#[tokio::test]
async fn port_moves_with_the_configuration_and_stays_when_the_new_one_is_taken() {
    let (mut server, address, _telemetry) = serving();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let error = server.apply(Some(&settings(taken.local_addr().unwrap().port()))).unwrap_err();
    assert!(error.to_string().starts_with("cannot serve telemetry on 127.0.0.1:"), "{error}");
    assert!(answer(address, "GET /metrics").await.starts_with("HTTP/1.1 200"));
    let free = taken.local_addr().unwrap();
    drop(taken);
    server.apply(Some(&settings(free.port()))).unwrap();
    assert!(answer(free, "GET /metrics").await.starts_with("HTTP/1.1 200"));
    server.apply(None).unwrap();
    // The task that accepts ends when it next gets its turn.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert!(TcpStream::connect(free).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn clients_that_say_nothing_are_dropped_and_make_room() {
    let (_server, address, _telemetry) = serving();
    let mut silent = Vec::new();
    for _ in 0..TELEMETRY_CONNECTIONS_MAX + 1 {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(answer(address, "GET /metrics").await.starts_with("HTTP/1.1 200"));
}
