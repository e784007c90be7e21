//! Opening a connection: names, addresses, sockets.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use nix::sys::socket::{setsockopt, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::address::Endpoint;
use crate::limits::{CONNECT_ADDRESSES_MAX, CONNECT_STAGGER, KEEP_ALIVE, UNACKNOWLEDGED_MAX};

/// Opens connections. Production dials the network; tests may dial a simulated one.
pub trait Dial: Send + Sync + 'static {
    /// What a connection is.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a connection. The name is looked up anew each time: agents move. May take for ever;
    /// the caller has a deadline.
    fn dial(&self, to: &Endpoint) -> impl Future<Output = io::Result<Self::Stream>> + Send;
}

/// The real network.
///
/// However many connections are opened at once, one thread looks up one name: those who ask
/// meanwhile share what it finds. An address instead of a name needs no thread at all.
#[derive(Clone, Debug, Default)]
pub struct Network {
    latest: Arc<Mutex<Option<Lookup>>>,
}

#[derive(Debug)]
struct Lookup {
    host: String,
    at: Instant,
    outcome: Result<Vec<SocketAddr>, String>,
}

impl Network {
    /// Builds it; nothing is opened.
    pub fn new() -> Network {
        Network::default()
    }

    async fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let asked = Instant::now();
        let mut latest = Arc::clone(&self.latest).lock_owned().await;
        if let Some(lookup) = &*latest
            && lookup.at >= asked
            && lookup.host == host
        {
            return lookup.outcome.clone().map_err(|reason| no_address(host, &reason));
        }
        let name = String::from(host);
        // The task holds the lock even when we are given up: a resolver that hangs costs one
        // thread.
        let lookup = tokio::spawn(async move {
            let outcome = match tokio::net::lookup_host((name.clone(), port)).await {
                Ok(addresses) => Ok(addresses.collect()),
                Err(error) => Err(resolver_text(&error)),
            };
            let at = Instant::now();
            *latest = Some(Lookup { host: name, at, outcome: outcome.clone() });
            outcome
        });
        match lookup.await {
            Ok(outcome) => outcome.map_err(|reason| no_address(host, &reason)),
            Err(error) => Err(no_address(host, &error.to_string())),
        }
    }
}

/// That a name could not be looked up.
#[derive(Debug)]
struct NoAddress {
    host: String,
    reason: String,
}

impl fmt::Display for NoAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot find the address of {}: {}", self.host, self.reason)
    }
}

impl std::error::Error for NoAddress {}

fn no_address(host: &str, reason: &str) -> io::Error {
    io::Error::other(NoAddress { host: host.into(), reason: reason.into() })
}

/// The resolver's own words, without what tokio and std say around them.
fn resolver_text(error: &io::Error) -> String {
    let text = error.to_string();
    let own = text.strip_prefix("failed to lookup address information: ").unwrap_or(&text);
    own.to_lowercase()
}

impl Dial for Network {
    type Stream = NetworkStream;

    async fn dial(&self, to: &Endpoint) -> io::Result<NetworkStream> {
        match to {
            Endpoint::Socket(path) => UnixStream::connect(path).await.map(NetworkStream::Unix),
            Endpoint::Host { host, port } => {
                let addresses = self.look_up(host, *port).await?;
                connect_any(&addresses).await.map(NetworkStream::Tcp)
            }
        }
    }
}

/// Connects to the first of several addresses that answers. The next one is tried as well as soon
/// as one has failed, or has not answered for a while (RFC 8305): IPv6 that leads nowhere costs a
/// moment only.
///
/// # Errors
/// The last failure, when all have failed.
pub async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut waiting = alternating(addresses).into_iter();
    let mut attempts = JoinSet::new();
    let mut failure = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match waiting.next() {
            Some(address) => {
                attempts.spawn(TcpStream::connect(address));
            }
            None if attempts.is_empty() => return Err(failure),
            None => {}
        }
        let ended = if waiting.len() == 0 {
            attempts.join_next().await
        } else {
            match timeout(CONNECT_STAGGER, attempts.join_next()).await {
                Ok(ended) => ended,
                Err(_elapsed) => continue,
            }
        };
        match ended {
            Some(Ok(Ok(stream))) => {
                // Neither is needed for the exchange: without them, a dead peer is noticed later.
                let _ = stream.set_nodelay(true);
                let _ = watch_peer(&stream);
                // A request that was given up must not arrive later: the kernel would repeat it for
                // as long as nothing is acknowledged, and a renewal that arrives when a cut ends
                // keeps a session that nobody has any more.
                let _ = stream.set_zero_linger();
                return Ok(stream);
            }
            Some(Ok(Err(error))) => failure = error,
            Some(Err(_)) | None => {}
        }
    }
}

/// Alternates between the families, beginning with the resolver's favourite.
fn alternating(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_v6_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (mut first, mut second): (Vec<SocketAddr>, Vec<SocketAddr>) =
        addresses.iter().copied().partition(|address| address.is_ipv6() == is_v6_first);
    first.reverse();
    second.reverse();
    let mut order = Vec::new();
    while order.len() < CONNECT_ADDRESSES_MAX && !(first.is_empty() && second.is_empty()) {
        order.extend(first.pop());
        order.extend(second.pop());
    }
    order
}

/// Lets the kernel notice a peer that has gone without a word.
fn watch_peer(stream: &TcpStream) -> nix::Result<()> {
    let seconds = |duration: std::time::Duration| u32::try_from(duration.as_secs()).unwrap_or(1);
    let (idle, interval, count) = KEEP_ALIVE;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &seconds(idle))?;
    setsockopt(stream, sockopt::TcpKeepInterval, &seconds(interval))?;
    setsockopt(stream, sockopt::TcpKeepCount, &count)?;
    let unacknowledged_ms = u32::try_from(UNACKNOWLEDGED_MAX.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &unacknowledged_ms)
}

/// A connection of the real network.
#[derive(Debug)]
pub enum NetworkStream {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl AsyncRead for NetworkStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            NetworkStream::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
            NetworkStream::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for NetworkStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            NetworkStream::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
            NetworkStream::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            NetworkStream::Tcp(stream) => Pin::new(stream).poll_flush(context),
            NetworkStream::Unix(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            NetworkStream::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
            NetworkStream::Unix(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate_and_the_resolvers_favourite_comes_first() {
        let parse = |text: &&str| text.parse::<SocketAddr>().unwrap();
        let given: Vec<_> =
            ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1"].iter().map(parse).collect();
        let order: Vec<_> =
            ["[::1]:1", "1.1.1.1:1", "[::2]:1", "[::3]:1"].iter().map(parse).collect();
        assert_eq!(alternating(&given), order);
        assert_eq!(alternating(&[]), []);
    }

    #[tokio::test]
    async fn a_connection_that_is_given_up_is_reset() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = connect_any(&[listener.local_addr().unwrap()]).await.unwrap();
        let (mut theirs, _) = listener.accept().await.unwrap();
        drop(ours);
        let read = tokio::io::AsyncReadExt::read(&mut theirs, &mut [0; 1]).await;
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn resolvers_words_lose_their_wrapping() {
        let error =
            io::Error::other("failed to lookup address information: Name or service not known");
        assert_eq!(resolver_text(&error), "name or service not known");
    }
}
