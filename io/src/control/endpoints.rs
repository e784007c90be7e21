//! The endpoints: one table, from which requests are answered and pages are made.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use steersman_engine::effect::{Refusal, Reply};
use steersman_engine::input::Control;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::requests::{self, Malformed};
use crate::ask::{Ask, Asker, Subscriber};
use crate::limits::{BODY_BYTES_DRAINED_MAX, BODY_BYTES_MAX, BODY_PATIENCE};
use crate::telemetry::Telemetry;

/// What endpoints need.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) asker: Asker,
    pub(super) telemetry: Telemetry,
    pub(super) event_readers: Arc<Semaphore>,
    pub(super) connections: Arc<Semaphore>,
}

/// One endpoint.
#[derive(Debug)]
pub struct Endpoint {
    /// Its path.
    pub path: &'static str,
    /// The one method it takes.
    pub method: Method,
    /// What it does, for the reference page.
    pub about: &'static str,
    action: Action,
}

#[derive(Clone, Copy, Debug)]
enum Action {
    /// Asks the driver for what the body says.
    Change(fn(&[u8]) -> Result<Control, Malformed>),
    Ping,
    Status,
    Events,
    Trace,
}

const fn get(path: &'static str, action: Action, about: &'static str) -> Endpoint {
    Endpoint { path, method: Method::GET, about, action }
}

const fn post(
    path: &'static str,
    read: fn(&[u8]) -> Result<Control, Malformed>,
    about: &'static str,
) -> Endpoint {
    Endpoint { path, method: Method::POST, about, action: Action::Change(read) }
}

/// Every endpoint of the control plane.
pub const ENDPOINTS: &[Endpoint] = &[
    post("/v3/environ", requests::put_env, "sets variables for processes started later"),
    post("/v3/env", requests::put_env, "as /v3/environ"),
    post("/v3/metric", requests::put_metric, "feeds metrics, by full name"),
    post("/v3/reload", requests::reload, "reads the configuration again, applies the difference"),
    post("/v3/maintenance/enable", |_| Ok(Control::Maintenance(true)), "begins maintenance"),
    post("/v3/maintenance/disable", |_| Ok(Control::Maintenance(false)), "ends maintenance"),
    post("/v3/signal", requests::signal, "sends a signal to the process of a job"),
    post("/v3/restart", requests::restart, "stops the process of a job and starts it again"),
    get("/v3/ping", Action::Ping, "answers"),
    get("/v3/status", Action::Status, "shows every job"),
    get("/v3/events", Action::Events, "follows events, a line of JSON each"),
    get("/v3/trace", Action::Trace, "gives the recorder's content"),
];

/// An answer, and whether it ends by itself.
pub(super) struct Answered {
    pub(super) response: Response<AnswerBody>,
    pub(super) kind: Answer,
}

/// Whether an answer ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is whole.
    Whole,
    /// It goes on as long as the client reads.
    Endless,
}

pub(super) type AnswerBody = Either<Full<Bytes>, EventBody>;

/// Answers one request.
pub(super) async fn answer(request: Request<Incoming>, context: &Context) -> Answered {
    let endpoint = ENDPOINTS.iter().find(|endpoint| endpoint.path == request.uri().path());
    let (response, kind) = match endpoint {
        None => (whole(problem(404, "cannot find this endpoint")), Answer::Whole),
        Some(endpoint) if *request.method() != endpoint.method => {
            let method = &endpoint.method;
            let said = problem(405, format!("cannot do that: {} takes {method}", endpoint.path));
            let allow = HeaderValue::from_str(method.as_str()).map(|method| (ALLOW, method)).ok();
            (whole(Said { header: allow, ..said }), Answer::Whole)
        }
        Some(endpoint) => match endpoint.action {
            Action::Events => events(context).await,
            Action::Trace => (trace(context).await, Answer::Whole),
            Action::Ping => (whole(said(200, ping())), Answer::Whole),
            Action::Status => (whole(status(context).await), Answer::Whole),
            Action::Change(read) => {
                let said = match whole_body(request.into_body()).await {
                    Ok(body) => change(&body, read, context).await,
                    Err(said) => said,
                };
                (whole(said), Answer::Whole)
            }
        },
    };
    // Unknown paths are one label: a client must not be able to fill the memory.
    let path = endpoint.map_or("other", |endpoint| endpoint.path);
    context.telemetry.count_control_request(response.status().as_u16(), path);
    Answered { response, kind }
}

/// An answer in JSON.
struct Said {
    status: u16,
    body: Value,
    header: Option<(HeaderName, HeaderValue)>,
}

fn said(status: u16, body: Value) -> Said {
    Said { status, body, header: None }
}

fn problem(status: u16, message: impl Into<String>) -> Said {
    said(status, json!({ "error": message.into() }))
}

fn gone() -> Said {
    problem(503, "cannot do that: the supervisor is about to end")
}

fn whole(said: Said) -> Response<AnswerBody> {
    let mut text = said.body.to_string();
    text.push('\n');
    let mut response = bytes_response(Bytes::from(text), "application/json");
    // Every status here is one of ours.
    *response.status_mut() =
        StatusCode::from_u16(said.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().extend(said.header);
    response
}

fn bytes_response(body: Bytes, kind: &'static str) -> Response<AnswerBody> {
    let mut response = Response::new(Either::Left(Full::new(body)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn ping() -> Value {
    json!({ "ok": true, "version": crate::VERSION })
}

/// Reads a body within its bounds.
async fn whole_body(mut body: Incoming) -> Result<Vec<u8>, Said> {
    let read = async {
        let mut bytes = Vec::new();
        let mut seen = 0;
        while let Some(frame) = body.frame().await {
            let frame =
                frame.map_err(|error| problem(400, format!("cannot read the body: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            seen += data.len();
            if seen <= BODY_BYTES_MAX {
                bytes.extend_from_slice(&data);
            } else if seen > BODY_BYTES_DRAINED_MAX {
                break;
            }
        }
        // Read to the end first: a client that still writes would never see the answer.
        if seen > BODY_BYTES_MAX {
            let message = format!("cannot take a body of more than {BODY_BYTES_MAX} bytes");
            return Err(problem(413, message));
        }
        Ok(bytes)
    };
    let late = || {
        let seconds = BODY_PATIENCE.as_secs();
        problem(408, format!("cannot read the body: it took longer than {seconds} s"))
    };
    tokio::time::timeout(BODY_PATIENCE, read).await.unwrap_or_else(|_| Err(late()))
}

async fn change(
    body: &[u8],
    read: fn(&[u8]) -> Result<Control, Malformed>,
    context: &Context,
) -> Said {
    let command = match read(body) {
        Ok(command) => command,
        Err(Malformed { message, names }) => {
            return said(422, json!({ "error": message, "names": names }));
        }
    };
    let maintenance = match command {
        Control::Maintenance(on) => Some(on),
        Control::PutEnv(_)
        | Control::PutMetric(_)
        | Control::Reload { .. }
        | Control::SignalJob { .. }
        | Control::RestartJob { .. } => None,
    };
    match ask(context, |reply| Ask::Control(command, reply)).await {
        Some(reply) => reply_said(reply, maintenance),
        None => gone(),
    }
}

/// Asks the driver and waits for its answer; none when it has gone.
async fn ask<T>(context: &Context, make: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    context.asker.send(make(reply)).await.ok()?;
    answer.await.ok()
}

fn reply_said(reply: Reply, maintenance: Option<bool>) -> Said {
    match (reply, maintenance) {
        (Reply::Refused(refusal), _) => refused(&refusal),
        (Reply::Reloaded(changes), _) => said(200, json!(changes)),
        (Reply::Changed(_), Some(on)) => said(200, json!({ "maintenance": on, "changed": true })),
        (Reply::Unchanged, Some(on)) => said(200, json!({ "maintenance": on, "changed": false })),
        (Reply::Changed(names), None) => said(200, json!({ "changed": names })),
        (Reply::Unchanged, None) => said(200, json!({ "changed": [] })),
    }
}

fn refused(refusal: &Refusal) -> Said {
    let error = refusal.to_string();
    match refusal {
        Refusal::BadVariables(names)
        | Refusal::UnknownMetrics(names)
        | Refusal::NegativeCounters(names) => said(422, json!({ "error": error, "names": names })),
        Refusal::BadConfig(_) => problem(422, error),
        Refusal::UnknownJob(_) => problem(404, error),
        Refusal::NotRunning(_) | Refusal::Stopping => problem(409, error),
        Refusal::Busy => {
            let header = Some((RETRY_AFTER, HeaderValue::from_static("1")));
            Said { header, ..problem(503, error) }
        }
    }
}

async fn status(context: &Context) -> Said {
    let Some(status) = ask(context, Ask::Status).await else { return gone() };
    let mut body = json!(status);
    body["version"] = json!(crate::VERSION);
    body["pid"] = json!(std::process::id());
    said(200, body)
}

async fn trace(context: &Context) -> Response<AnswerBody> {
    match ask(context, Ask::Trace).await {
        Some(memory) => {
            let text = tokio::task::spawn_blocking(move || memory.to_trace()).await;
            match text.map_err(std::io::Error::other).flatten() {
                Ok(text) => bytes_response(text, JSON_LINES),
                Err(error) => whole(problem(500, format!("cannot write the trace: {error}"))),
            }
        }
        None => whole(gone()),
    }
}

const JSON_LINES: &str = "application/x-ndjson";

async fn events(context: &Context) -> (Response<AnswerBody>, Answer) {
    let Ok(permit) = Arc::clone(&context.event_readers).try_acquire_owned() else {
        let message = "cannot serve more readers of events; end one of the others";
        return (whole(problem(503, message)), Answer::Whole);
    };
    let (subscriber, lines) = Subscriber::new();
    if context.asker.send(Ask::Events(subscriber)).await.is_err() {
        return (whole(gone()), Answer::Whole);
    }
    let mut response = Response::new(Either::Right(EventBody { lines, _permit: permit }));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON_LINES));
    (response, Answer::Endless)
}

/// Lines as they come.
pub(super) struct EventBody {
    lines: mpsc::Receiver<Bytes>,
    _permit: OwnedSemaphorePermit,
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.lines.poll_recv(context).map(|line| line.map(|line| Ok(Frame::data(line))))
    }
}
