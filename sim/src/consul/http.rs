//! One agent of the model behind real HTTP: time is real, everything else is the model.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, oneshot};

use super::{AgentId, Consul, Fault, Input, Options, Output, Request, RequestId, Response};

/// Connections one client address may have at a time; more are reset, as by 1.8.7.
const CONNECTIONS_MAX: usize = 200;
/// The longest body that is read.
const BODY_MAX: usize = 64 << 20;

/// A model that runs in real time, shared by all connections to it.
#[derive(Clone, Debug)]
pub struct Running {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Tells the clockwork that the next wake-up may have changed.
    changed: Notify,
    origin: Instant,
}

#[derive(Debug)]
struct State {
    consul: Consul,
    requests: u64,
    waiting: BTreeMap<RequestId, oneshot::Sender<Option<Response>>>,
    connections: BTreeMap<IpAddr, usize>,
}

/// Serves a development agent on a listener until the process or the runtime ends.
///
/// Fails when the listener does.
pub async fn serve(listener: TcpListener, options: Options) -> io::Result<()> {
    let running = Running::new(options);
    running.serve_agent(listener, AgentId(0)).await
}

impl Running {
    /// Starts a model in real time; must be called inside a tokio runtime.
    pub fn new(options: Options) -> Running {
        let state = State {
            consul: Consul::new(0, options),
            requests: 0,
            waiting: BTreeMap::new(),
            connections: BTreeMap::new(),
        };
        let shared =
            Shared { state: Mutex::new(state), changed: Notify::new(), origin: Instant::now() };
        let running = Running { shared: Arc::new(shared) };
        tokio::spawn(running.clone().run_clockwork());
        running
    }

    /// Lets something break or mends it.
    pub fn fault(&self, fault: Fault) {
        self.handle(Input::Fault(fault));
    }

    /// Serves one agent of the model on a listener.
    ///
    /// Fails when the listener does.
    pub async fn serve_agent(&self, listener: TcpListener, agent: AgentId) -> io::Result<()> {
        loop {
            let (stream, peer) = listener.accept().await?;
            let running = self.clone();
            tokio::spawn(async move { running.serve_connection(stream, peer, agent).await });
        }
    }

    async fn serve_connection(self, stream: TcpStream, peer: SocketAddr, agent: AgentId) {
        let _ = stream.set_nodelay(true);
        if !self.count_in(peer.ip()) {
            let _ = stream.set_zero_linger();
            return;
        }
        let service = service_fn(|request| self.answer(request, agent));
        let connection = hyper::server::conn::http1::Builder::new()
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service);
        // A broken connection is the client's affair.
        let _ = connection.await;
        self.count_out(peer.ip());
    }

    fn count_in(&self, peer: IpAddr) -> bool {
        let mut state = self.lock();
        let count = state.connections.entry(peer).or_insert(0);
        if *count >= CONNECTIONS_MAX {
            return false;
        }
        *count += 1;
        true
    }

    fn count_out(&self, peer: IpAddr) {
        let mut state = self.lock();
        if let Some(count) = state.connections.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                state.connections.remove(&peer);
            }
        }
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
        agent: AgentId,
    ) -> Result<hyper::Response<Full<Bytes>>, Broken> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let mut wanted = Request::new(request.method().as_str(), target);
        for (name, value) in request.headers() {
            let value = String::from_utf8_lossy(value.as_bytes());
            wanted = wanted.with_header(name.as_str(), &value);
        }
        let head = request.method() == hyper::Method::HEAD;
        wanted.chunked = request.body().size_hint().exact().is_none();
        let body = Limited::new(request.into_body(), BODY_MAX).collect().await;
        wanted.body = body.map_err(|_| Broken)?.to_bytes().to_vec();
        let response = self.ask(agent, wanted).await.ok_or(Broken)?;
        Ok(on_the_wire(response, head))
    }

    /// Asks an agent and waits for its response; `None` when the connection would break instead.
    pub async fn ask(&self, agent: AgentId, request: Request) -> Option<Response> {
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut state = self.lock();
            state.requests += 1;
            let id = RequestId(state.requests);
            state.waiting.insert(id, sender);
            id
        };
        let patience = Patience { running: self, id };
        self.handle(Input::Request { id, agent, request });
        let response = receiver.await.ok().flatten();
        drop(patience);
        response
    }

    fn handle(&self, input: Input) {
        let now = u64::try_from(self.shared.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut state = self.lock();
        let outputs = state.consul.handle(now, input);
        for Output { id, response } in outputs {
            if let Some(sender) = state.waiting.remove(&id) {
                // Nobody listens any more: the client has gone away.
                let _ = sender.send(response);
            }
        }
        drop(state);
        self.shared.changed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_clockwork(self) {
        loop {
            let next = self.lock().consul.next_wakeup();
            let changed = self.shared.changed.notified();
            match next {
                None => changed.await,
                Some(at) => {
                    let at = self.shared.origin + Duration::from_nanos(at);
                    if tokio::time::timeout_at(at.into(), changed).await.is_err() {
                        self.tick();
                    }
                }
            }
        }
    }

    fn tick(&self) {
        let now = u64::try_from(self.shared.origin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if self.lock().consul.next_wakeup().is_some_and(|at| at <= now) {
            self.handle(Input::Tick);
        }
    }
}

/// Cancels a request whose client goes away.
struct Patience<'a> {
    running: &'a Running,
    id: RequestId,
}

impl Drop for Patience<'_> {
    fn drop(&mut self) {
        let waited = self.running.lock().waiting.remove(&self.id).is_some();
        if waited {
            self.running.handle(Input::Cancel { id: self.id });
        }
    }
}

/// The connection ends without a response.
#[derive(Debug)]
struct Broken;

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot answer: the agent is gone")
    }
}

impl std::error::Error for Broken {}

fn on_the_wire(response: Response, head: bool) -> hyper::Response<Full<Bytes>> {
    let mut wire = hyper::Response::builder().status(response.status);
    for (name, value) in &response.headers {
        wire = wire.header(*name, &**value);
    }
    if head {
        wire = wire.header("Content-Length", response.body.len());
    }
    let body = if head { Bytes::new() } else { Bytes::from(response.body) };
    wire.body(Full::new(body)).unwrap_or_else(|_| {
        let mut failed = hyper::Response::new(Full::new(Bytes::new()));
        *failed.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        failed
    })
}
