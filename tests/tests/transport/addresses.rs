//! Names that move, several addresses, IPv6, Unix sockets.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::socket::{getsockopt, sockopt};
use steersman::consul::{Client, Counters, Dial, Endpoint, connect_any};
use steersman_engine::consul::ConsulReply;
use steersman_engine::front::{Agent, Scheme};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixListener};

use super::scripted::{DONE, PATIENCE, Scripted, client, report, unreachable};

/// A resolver whose answer the test changes.
#[derive(Clone, Default)]
struct Moving {
    addresses: Arc<Mutex<Vec<SocketAddr>>>,
}

impl Dial for Moving {
    type Stream = TcpStream;

    async fn dial(&self, to: &Endpoint) -> io::Result<TcpStream> {
        assert_eq!(to.to_string(), "consul.service:8500");
        let addresses = self.addresses.lock().unwrap().clone();
        connect_any(&addresses).await
    }
}

#[tokio::test]
async fn name_is_looked_up_again_for_each_connection() {
    let (first, second) = (Scripted::always(DONE).await, Scripted::always(DONE).await);
    let moving = Moving::default();
    let agent = Agent::new("consul.service:8500", Scheme::Http);
    let client = Client::new(&agent, moving.clone(), Counters::new()).unwrap();
    *moving.addresses.lock().unwrap() = vec![first.address];
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    // A connection that works is kept, wherever the name leads.
    *moving.addresses.lock().unwrap() = vec![second.address];
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    assert_eq!((first.requests().len(), second.requests().len()), (2, 0));
    drop(first);
    let reply = client.ask(&report(), PATIENCE).await;
    if let ConsulReply::Failed(_) = reply {
        assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    }
    assert_eq!(second.requests().len(), 1);
    assert!(second.requests()[0].contains("host: consul.service:8500"));
    let addresses = std::mem::take(&mut *moving.addresses.lock().unwrap());
    drop((addresses, second));
    unreachable(client.ask(&report(), PATIENCE).await);
}

#[tokio::test]
async fn name_that_does_not_exist_is_said_to_be_missing() {
    let agent = Agent::new("no-such-host.invalid:8500", Scheme::Http);
    let words = unreachable(client(&agent).ask(&report(), PATIENCE).await);
    assert!(words.starts_with("cannot find the address of no-such-host.invalid: "), "{words}");
}

#[tokio::test]
async fn many_lookups_at_once_share_one() {
    let server = Scripted::always(DONE).await;
    let agent = Agent::new(format!("localhost:{}", server.address.port()), Scheme::Http);
    let client = Arc::new(client(&agent));
    let mut asked = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let client = Arc::clone(&client);
        asked.spawn(async move { client.ask(&report(), PATIENCE).await });
    }
    while let Some(reply) = asked.join_next().await {
        assert_eq!(reply.unwrap(), ConsulReply::Done);
    }
}

#[tokio::test]
async fn address_that_refuses_leads_to_the_next() {
    let server = Scripted::always(DONE).await;
    let closed = {
        let listener = std::net::TcpListener::bind("[::1]:0").ok();
        listener.map(|listener| listener.local_addr().unwrap())
    };
    let addresses: Vec<_> = closed.into_iter().chain([server.address]).collect();
    let stream = connect_any(&addresses).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), server.address);
}

/// A listener that takes no more connections, without a word; and what fills it.
async fn black_hole() -> (Vec<TcpStream>, tokio::net::TcpListener, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut fillers = Vec::new();
    while let Ok(stream) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        fillers.push(stream.unwrap());
        assert!(fillers.len() < 100, "this kernel's queue has no bound");
    }
    (fillers, listener, address)
}

#[tokio::test]
async fn address_that_is_silent_costs_a_moment_only() {
    let server = Scripted::always(DONE).await;
    let (_fillers, _listener, hole) = black_hole().await;
    let begin = tokio::time::Instant::now();
    let stream = connect_any(&[hole, server.address]).await.unwrap();
    assert_eq!(stream.peer_addr().unwrap(), server.address);
    assert!(begin.elapsed() >= Duration::from_millis(250), "the favourite gets its chance");
}

#[tokio::test]
async fn silent_address_alone_is_given_up_in_time() {
    let (_fillers, _listener, hole) = black_hole().await;
    let client = client(&Agent::new(hole.to_string(), Scheme::Http));
    let words = unreachable(client.ask(&report(), Duration::from_millis(300)).await);
    assert!(words.ends_with("nothing within 300ms, it did not take a connection"), "{words}");
}

#[tokio::test]
async fn ipv6_is_spoken() {
    // A machine without IPv6 cannot show it.
    if tokio::net::TcpListener::bind("[::1]:0").await.is_err() {
        eprintln!("no IPv6 here: nothing tested");
        return;
    }
    let server = Scripted::start_at("[::1]:0", |mut talk| async move {
        talk.request().await;
        talk.send(DONE).await;
    })
    .await;
    assert_eq!(server.client().ask(&report(), PATIENCE).await, ConsulReply::Done);
    let host = format!("host: [::1]:{}", server.address.port());
    assert!(server.requests()[0].contains(&host), "{:?}", server.requests());
}

#[tokio::test]
async fn unix_socket_is_spoken() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("consul.sock");
    let agent = Agent::new(format!("unix://{}", path.display()), Scheme::Http);
    let client = client(&agent);
    let words = unreachable(client.ask(&report(), PATIENCE).await);
    assert!(words.ends_with("there is no such socket"), "{words}");
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4096];
        for _ in 0..2 {
            let count = stream.read(&mut buffer).await.unwrap();
            let text = String::from_utf8_lossy(&buffer[..count]);
            assert!(text.contains("host: localhost\r\n"), "{text}");
            stream.write_all(DONE.as_bytes()).await.unwrap();
        }
    });
    for _ in 0..2 {
        assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    }
}

#[tokio::test]
async fn kernel_watches_the_peer() {
    let server = Scripted::always(DONE).await;
    let stream = connect_any(&[server.address]).await.unwrap();
    assert!(getsockopt(&stream, sockopt::KeepAlive).unwrap());
    assert_eq!(getsockopt(&stream, sockopt::TcpKeepIdle).unwrap(), 10);
    assert_eq!(getsockopt(&stream, sockopt::TcpKeepInterval).unwrap(), 3);
    assert_eq!(getsockopt(&stream, sockopt::TcpKeepCount).unwrap(), 3);
    assert_eq!(getsockopt(&stream, sockopt::TcpUserTimeout).unwrap(), 19_000);
    assert!(stream.nodelay().unwrap());
}
