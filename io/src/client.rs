//! The asking side of the control plane: one request over the socket, its answer as it comes.

use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use tokio::net::UnixStream;

/// What can be asked of the running supervisor.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// The state of every job.
    Status,
    /// Events from now on, without end.
    Events,
    /// Whether it answers.
    Ping,
    /// The recorder's content.
    Trace {
        /// Where to write it; standard output when absent or `-`.
        out: Option<String>,
    },
    /// To read the configuration again.
    Reload {
        /// Whether unchanged jobs restart as well.
        all: bool,
    },
    /// To switch maintenance.
    Maintenance {
        /// On or off.
        on: bool,
    },
    /// To set variables.
    PutEnv(Map<String, Value>),
    /// To feed metrics.
    PutMetric(Map<String, Value>),
    /// To signal a job; the body of the request.
    Signal(Value),
    /// To restart a job; the body of the request.
    Restart(Value),
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// Nobody listens there.
    Connect(io::Error),
    /// The connection broke.
    Broken(hyper::Error),
    /// No answer in time.
    Late(Duration),
}

impl std::fmt::Display for ClientError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ClientError::Connect(error) => write!(f, "cannot connect: {error}"),
            ClientError::Broken(error) => write!(f, "cannot get an answer: {error}"),
            ClientError::Late(after) => {
                write!(f, "cannot get an answer: none came within {} s", after.as_secs())
            }
        }
    }
}

impl std::error::Error for ClientError {}

/// An answer of which the status is known, and the body may still come.
pub type Answer = Response<Incoming>;

impl Request {
    /// Gives method, path and body.
    fn parts(&self) -> (Method, &'static str, Option<Value>) {
        let object = |pairs: &Map<String, Value>| Some(Value::Object(pairs.clone()));
        match self {
            Request::Status => (Method::GET, "/v3/status", None),
            Request::Events => (Method::GET, "/v3/events", None),
            Request::Ping => (Method::GET, "/v3/ping", None),
            Request::Trace { .. } => (Method::GET, "/v3/trace", None),
            Request::Reload { all } => {
                (Method::POST, "/v3/reload", all.then(|| json!({ "all": true })))
            }
            Request::Maintenance { on: true } => (Method::POST, "/v3/maintenance/enable", None),
            Request::Maintenance { on: false } => (Method::POST, "/v3/maintenance/disable", None),
            Request::PutEnv(pairs) => (Method::POST, "/v3/environ", object(pairs)),
            Request::PutMetric(pairs) => (Method::POST, "/v3/metric", object(pairs)),
            Request::Signal(body) => (Method::POST, "/v3/signal", Some(body.clone())),
            Request::Restart(body) => (Method::POST, "/v3/restart", Some(body.clone())),
        }
    }

    /// Tells how long to wait for the beginning of the answer.
    fn patience(&self) -> Duration {
        match self {
            // A new configuration may be on a slow disk, and be large.
            Request::Reload { .. } => Duration::from_secs(300),
            _ => Duration::from_secs(30),
        }
    }
}

/// Sends one request and waits for the beginning of the answer.
pub async fn send(socket: &Path, request: &Request) -> Result<Answer, ClientError> {
    let patience = request.patience();
    let answer = tokio::time::timeout(patience, exchange(socket, request)).await;
    answer.unwrap_or(Err(ClientError::Late(patience)))
}

async fn exchange(socket: &Path, request: &Request) -> Result<Answer, ClientError> {
    let stream = connect(socket).await.map_err(ClientError::Connect)?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(ClientError::Broken)?;
    tokio::spawn(connection);
    let (method, path, body) = request.parts();
    let body = body.map(|body| Bytes::from(body.to_string())).unwrap_or_default();
    let mut message = hyper::Request::new(Full::new(body));
    *message.method_mut() = method;
    *message.uri_mut() = hyper::Uri::from_static(path);
    message.headers_mut().insert("host", hyper::header::HeaderValue::from_static("control"));
    sender.send_request(message).await.map_err(ClientError::Broken)
}

/// Connects; waits while the listener's queue is full.
async fn connect(socket: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(socket).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            result => return result,
        }
    }
}

/// Reads the next piece of a body; none at its end.
pub async fn next_piece(answer: &mut Answer) -> Result<Option<Bytes>, ClientError> {
    while let Some(frame) = answer.frame().await {
        let frame = frame.map_err(ClientError::Broken)?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// Reads a whole body.
pub async fn whole_body(answer: Answer) -> Result<(StatusCode, Bytes), ClientError> {
    let status = answer.status();
    let body = answer.into_body().collect().await.map_err(ClientError::Broken)?;
    Ok((status, body.to_bytes()))
}
