//! A server that follows a test's script, and what tests ask for.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use steersman::consul::{Client, Counters, Network};
use steersman_engine::config::CheckStatus;
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest};
use steersman_engine::front::{Agent, Scheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Long enough for anything that is bound to come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The answer of an agent that knows no instances.
pub(crate) const NO_INSTANCES: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\
     X-Consul-Index: 7\r\nContent-Length: 2\r\n\r\n[]";

/// The answer of an agent that has done it.
pub(crate) const DONE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

/// A server; it ends with the test.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    requests: Vec<String>,
    connections: usize,
}

/// One connection, as the server has it.
pub(crate) struct Talk<S = TcpStream> {
    pub(crate) stream: S,
    /// Counts connections, from 1.
    pub(crate) nth: usize,
    seen: Arc<Mutex<Seen>>,
    rest: Vec<u8>,
}

impl Scripted {
    /// Starts a server that plays its script on each connection.
    pub(crate) async fn start<F>(script: impl Fn(Talk) -> F + Send + 'static) -> Scripted
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Scripted::start_at("127.0.0.1:0", script).await
    }

    /// The same, at an address.
    pub(crate) async fn start_at<F>(
        address: &str,
        script: impl Fn(Talk) -> F + Send + 'static,
    ) -> Scripted
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let shared = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            // Connections end with the server.
            let mut talks = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let nth = {
                    let mut seen = shared.lock().unwrap();
                    seen.connections += 1;
                    seen.connections
                };
                talks.spawn(script(Talk { stream, nth, seen: shared.clone(), rest: vec![] }));
            }
        });
        Scripted { address, seen, task }
    }

    /// Starts a server that answers each request with the same bytes.
    pub(crate) async fn always(answer: impl Into<Vec<u8>>) -> Scripted {
        let answer = answer.into();
        Scripted::start(move |mut talk| {
            let answer = answer.clone();
            async move {
                while talk.request().await.is_some() {
                    talk.send(&answer).await;
                }
            }
        })
        .await
    }

    /// The heads of all requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap().requests.clone()
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.lock().unwrap().connections
    }

    pub(crate) fn agent(&self) -> Agent {
        Agent::new(self.address.to_string(), Scheme::Http)
    }

    pub(crate) fn client(&self) -> Client<Network> {
        client(&self.agent())
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Talk {
    /// Goes on over TLS; none when there is no agreement.
    pub(crate) async fn encrypted(
        self,
        acceptor: &TlsAcceptor,
    ) -> Option<Talk<TlsStream<TcpStream>>> {
        let stream = acceptor.accept(self.stream).await.ok()?;
        Some(Talk { stream, nth: self.nth, seen: self.seen, rest: self.rest })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Talk<S> {
    /// Reads a request, body included, and gives its head; none at the end.
    pub(crate) async fn request(&mut self) -> Option<String> {
        loop {
            if let Some(end) = self.rest.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.rest[..end].to_vec()).unwrap();
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(": ")?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
                });
                let end = end + 4 + length.unwrap_or(0);
                if self.rest.len() >= end {
                    self.rest.drain(..end);
                    self.seen.lock().unwrap().requests.push(head.clone());
                    return Some(head);
                }
            }
            let mut buffer = [0; 4096];
            match self.stream.read(&mut buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.rest.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// Sends bytes; the client may have gone.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Says nothing more until the other side closes.
    pub(crate) async fn hang(&mut self) {
        let mut buffer = [0; 4096];
        while let Ok(1..) = self.stream.read(&mut buffer).await {}
    }
}

pub(crate) fn client(agent: &Agent) -> Client<Network> {
    Client::new(agent, Network::new(), Counters::new()).unwrap()
}

/// Asks for the instances of `web`.
pub(crate) fn instances(index: u64) -> ConsulRequest {
    ConsulRequest::Instances {
        service: "web".into(),
        tag: None,
        dc: None,
        passing: true,
        index,
        wait: Duration::from_secs(60),
    }
}

/// Reports that `web` passes.
pub(crate) fn report() -> ConsulRequest {
    ConsulRequest::Report {
        check: "service:web-1".into(),
        status: CheckStatus::Passing,
        output: "fine".into(),
    }
}

/// The reading that [`NO_INSTANCES`] is.
pub(crate) fn nothing_there() -> ConsulReply {
    ConsulReply::Instances { index: 7, instances: vec![] }
}

/// Gives the words of a failure on the way; fails for anything else.
pub(crate) fn unreachable(reply: ConsulReply) -> String {
    match reply {
        ConsulReply::Failed(ConsulFailure::Unreachable(text)) => text.into(),
        other => panic!("not a failure on the way: {other:?}"),
    }
}

/// Gives the words about an answer that makes no sense; fails for anything else.
pub(crate) fn garbled(reply: ConsulReply) -> String {
    match reply {
        ConsulReply::Failed(ConsulFailure::Garbled(text)) => text.into(),
        other => panic!("not a garbled answer: {other:?}"),
    }
}

/// Gives status and words of an error that was answered; fails for anything else.
pub(crate) fn refused(reply: ConsulReply) -> (u16, String) {
    match reply {
        ConsulReply::Failed(ConsulFailure::Refused { status, body }) => (status, body.into()),
        other => panic!("not an error that was answered: {other:?}"),
    }
}

/// Waits until something is so, with a deadline.
pub(crate) async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let waiting = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waiting).await.is_ok(), "waited in vain: {what}");
}
