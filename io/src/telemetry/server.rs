//! Telemetry over HTTP: `/metrics` and `/status`.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use steersman_engine::front;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;

use super::Telemetry;
use crate::ask::{Ask, Asker};
use crate::limits::{
    ACCEPT_RETRY_DELAY, ANSWER_PATIENCE, HEADERS_PATIENCE, TELEMETRY_CONNECTIONS_MAX,
};

/// Why telemetry cannot be served.
#[derive(Debug)]
pub struct TelemetryError {
    address: SocketAddr,
    error: io::Error,
}

impl fmt::Display for TelemetryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot serve telemetry on {}: {}", self.address, self.error)
    }
}

impl std::error::Error for TelemetryError {}

/// Serves telemetry where the configuration says; nowhere at first.
#[derive(Debug)]
pub struct Server {
    context: Arc<Context>,
    listening: Option<Listening>,
}

#[derive(Debug)]
struct Context {
    asker: Asker,
    telemetry: Telemetry,
    connections: Arc<Semaphore>,
}

#[derive(Debug)]
struct Listening {
    /// What was asked for; port 0 stays 0 here.
    wanted: SocketAddr,
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// Builds a server that does not listen yet.
    pub fn new(asker: Asker, telemetry: Telemetry) -> Server {
        let connections = Arc::new(Semaphore::new(TELEMETRY_CONNECTIONS_MAX));
        Server { context: Arc::new(Context { asker, telemetry, connections }), listening: None }
    }

    /// Listens where the settings say. A listener whose place did not change is kept.
    ///
    /// # Errors
    /// The place cannot be had; the old listener stays.
    pub fn apply(&mut self, settings: Option<&front::Telemetry>) -> Result<(), TelemetryError> {
        let Some(settings) = settings else {
            self.listening = None;
            return Ok(());
        };
        let ip = settings.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let wanted = SocketAddr::new(ip, settings.port);
        if self.listening.as_ref().is_some_and(|listening| listening.wanted == wanted) {
            return Ok(());
        }
        let at = |error| TelemetryError { address: wanted, error };
        let listener = listen(wanted).map_err(at)?;
        let address = listener.local_addr().map_err(at)?;
        let accepting = tokio::spawn(accept(listener, Arc::clone(&self.context))).abort_handle();
        self.listening = Some(Listening { wanted, address, accepting });
        Ok(())
    }

    /// Gives the address on which it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.listening.as_ref().map(|listening| listening.address)
    }
}

/// Listens also on a port whose last connections are still dying, as after a restart.
fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => tokio::net::TcpSocket::new_v4()?,
        SocketAddr::V6(_) => tokio::net::TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn accept(listener: TcpListener, context: Arc<Context>) {
    loop {
        let Ok(room) = Arc::clone(&context.connections).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let context = Arc::clone(&context);
                tokio::spawn(async move {
                    serve(stream, context).await;
                    drop(room);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_RETRY_DELAY).await,
        }
    }
}

/// Serves one request within its time.
async fn serve(stream: TcpStream, context: Arc<Context>) {
    let service = service_fn(|request| {
        let context = Arc::clone(&context);
        async move { Ok::<_, Infallible>(answer(&request, &context).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // Whatever goes wrong on a connection is its client's matter.
    let _ = tokio::time::timeout(HEADERS_PATIENCE + ANSWER_PATIENCE, connection).await;
}

const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

async fn answer(request: &Request<Incoming>, context: &Context) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    if !matches!(path, "/metrics" | "/status") {
        return plain(StatusCode::NOT_FOUND, "cannot find this page: try /metrics or /status\n");
    }
    if request.method() != Method::GET {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "cannot do that: it takes GET\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET"));
        return response;
    }
    if path == "/metrics" {
        return typed(StatusCode::OK, TEXT_FORMAT, context.telemetry.text());
    }
    match status(context).await {
        Some(text) => typed(StatusCode::OK, "application/json", text),
        None => plain(StatusCode::SERVICE_UNAVAILABLE, "cannot do that: it is about to end\n"),
    }
}

async fn status(context: &Context) -> Option<String> {
    let (reply, answer) = oneshot::channel();
    context.asker.send(Ask::Status(reply)).await.ok()?;
    Some(format!("{}\n", context.telemetry.status(&answer.await.ok()?)))
}

fn plain(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    typed(status, "text/plain; charset=utf-8", text.to_owned())
}

fn typed(status: StatusCode, kind: &'static str, text: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
