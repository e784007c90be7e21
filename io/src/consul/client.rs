//! The client: from a request of the engine to its reply.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Request, Uri};
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest};
use steersman_engine::front::{Agent, Scheme};
use steersman_engine::wire::{self, HttpAnswer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};

use super::address::{AddressError, Endpoint};
use super::body::Answer;
use super::connection::{Connection, Outgoing, Progress};
use super::counters::{Counters, Kind, Outcome};
use super::dial::Dial;
use super::explain::explained;
use super::failure::{Failure, Stage};
use super::tls::Tls;
use super::token::{self, Token};
use crate::limits::{
    CONSUL_BLOCKING_MAX, CONSUL_DECODE_BYTES_MAX, CONSUL_IDLE_MAX, CONSUL_SHORT_MAX,
};

/// A client of one Consul agent. Nothing is opened before the first request.
pub struct Client<D: Dial> {
    dial: D,
    endpoint: Endpoint,
    tls: Option<Tls>,
    token: Token,
    auth: Option<HeaderValue>,
    namespace: Option<String>,
    host: HeaderValue,
    idle: Mutex<Vec<Connection>>,
    short: Semaphore,
    blocking: Semaphore,
    counters: Counters,
}

impl<D: Dial> Client<D> {
    /// Builds a client.
    ///
    /// # Errors
    /// The address is none.
    pub fn new(agent: &Agent, dial: D, counters: Counters) -> Result<Client<D>, AddressError> {
        let endpoint = Endpoint::parse(&agent.address, agent.scheme)?;
        let tls = match agent.scheme {
            Scheme::Http => None,
            Scheme::Https => Some(Tls::new(&agent.tls, &endpoint)?),
        };
        let host = HeaderValue::try_from(endpoint.authority())
            .map_err(|_| AddressError::Excess(agent.address.clone()))?;
        let namespace = agent.namespace.clone().filter(|namespace| !namespace.is_empty());
        Ok(Client {
            dial,
            endpoint,
            tls,
            token: Token::of(agent),
            auth: agent.auth.as_ref().map(token::basic_auth),
            namespace,
            host,
            idle: Mutex::new(Vec::new()),
            short: Semaphore::new(CONSUL_SHORT_MAX),
            blocking: Semaphore::new(CONSUL_BLOCKING_MAX),
            counters,
        })
    }

    /// Carries a request and brings its reply, a failure as well, within `patience`.
    pub async fn ask(&self, request: &ConsulRequest, patience: Duration) -> ConsulReply {
        let begin = Instant::now();
        let mut stage = Stage::Queued;
        let outcome = match timeout(patience, self.reply(request, &mut stage)).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => Err(Failure::TimedOut { stage, after: patience }),
        };
        let reply = outcome.unwrap_or_else(|failure| {
            // Whatever has befallen this connection may have befallen the idle ones.
            self.idle().clear();
            ConsulReply::Failed(failure.for_engine(&self.endpoint))
        });
        self.counters.count(Kind::of(request), Outcome::of(&reply), begin.elapsed());
        reply
    }

    /// Gives the counters.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

    async fn reply(
        &self,
        request: &ConsulRequest,
        stage: &mut Stage,
    ) -> Result<ConsulReply, Failure> {
        let queue = match way_of(request) {
            Way::Short => Some(&self.short),
            Way::Blocking => Some(&self.blocking),
            Way::AtOnce => None,
        };
        let _permit = match queue {
            // It is never closed.
            Some(queue) => queue.acquire().await.ok(),
            None => None,
        };
        let token = self.token.header()?;
        let outgoing = self.outgoing(request, token.as_ref())?;
        let answer = self.answer(outgoing, is_repeatable(request), stage).await?;
        let (status, is_html, location) = (answer.status, answer.is_html, answer.location.clone());
        let reply = decoded(request, answer).await;
        let ConsulReply::Failed(failure) = reply else { return Ok(reply) };
        Ok(ConsulReply::Failed(match failure {
            ConsulFailure::Refused { body, .. } => {
                let body = explained(status, &body, is_html, location.as_deref(), token.as_ref());
                ConsulFailure::Refused { status, body }
            }
            ConsulFailure::Garbled(text) => {
                ConsulFailure::Garbled(explained(status, &text, is_html, None, token.as_ref()))
            }
            other @ (ConsulFailure::Unknown | ConsulFailure::Unreachable(_)) => other,
        }))
    }

    fn outgoing(
        &self,
        request: &ConsulRequest,
        token: Option<&HeaderValue>,
    ) -> Result<Outgoing, Failure> {
        let http = wire::encode(request);
        let mut target = http.target;
        if let Some(namespace) = &self.namespace {
            target.push(if target.contains('?') { '&' } else { '?' });
            target.push_str("ns=");
            target.push_str(&wire::escaped(namespace));
        }
        let wrong = |what: &str| Failure::NotHttp(format!("cannot ask for it: {what}"));
        let target = Uri::try_from(target).map_err(|_| wrong("its address is too long"))?;
        let mut outgoing = Request::builder().method(http.method).uri(target);
        let headers = outgoing.headers_mut().ok_or_else(|| wrong("its method is none"))?;
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT_NAME));
        if let Some(token) = token {
            headers.insert("x-consul-token", token.clone());
        }
        if let Some(auth) = &self.auth {
            headers.insert(AUTHORIZATION, auth.clone());
        }
        if http.body.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        let body = Full::new(Bytes::from(http.body.unwrap_or_default()));
        outgoing.body(body).map_err(|_| wrong("its parts do not fit together"))
    }

    /// Gets an answer over an idle connection or a new one. An idle one may have been closed by the
    /// other side, unseen until we write to it: then a new one is opened, once, provided that
    /// nothing was sent or that it does no harm when both requests arrive.
    async fn answer(
        &self,
        outgoing: Outgoing,
        is_repeatable: bool,
        stage: &mut Stage,
    ) -> Result<Answer, Failure> {
        if let Some(mut connection) = self.take_idle() {
            match connection.exchange(outgoing.clone(), stage).await {
                Ok(answer) => return Ok(self.keep(connection, answer)),
                Err((_, Progress::Unsent)) => {}
                Err((_, Progress::Unanswered)) if is_repeatable => {}
                Err((failure, _)) => return Err(failure),
            }
        }
        let mut connection = self.open(stage).await?;
        match connection.exchange(outgoing, stage).await {
            Ok(answer) => Ok(self.keep(connection, answer)),
            Err((failure, _)) => Err(failure),
        }
    }

    async fn open(&self, stage: &mut Stage) -> Result<Connection, Failure> {
        *stage = Stage::Connecting;
        let stream = self.dial.dial(&self.endpoint).await.map_err(Failure::Connect)?;
        self.counters.count_connection();
        let Some(tls) = &self.tls else { return Connection::open(stream, None).await };
        *stage = Stage::Greeting;
        let connector = tls.connector().await.map_err(Failure::Tls)?;
        let stream = connector
            .connect(tls.name(), stream)
            .await
            .map_err(|error| Failure::of_handshake(&error, tls.has_identity()))?;
        Connection::open(stream, Some(tls.has_identity())).await
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        // The one used last is the most likely to be alive.
        while let Some(connection) = idle.pop() {
            if connection.is_usable() {
                return Some(connection);
            }
        }
        None
    }

    fn keep(&self, connection: Connection, answer: Answer) -> Answer {
        let mut idle = self.idle();
        idle.retain(Connection::is_usable);
        if answer.is_whole && idle.len() < CONSUL_IDLE_MAX {
            idle.push(connection);
        }
        answer
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Connection>> {
        // A list of connections is whole whatever panicked.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<D: Dial> fmt::Debug for Client<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

const AGENT_NAME: &str = concat!("steersman/", env!("CARGO_PKG_VERSION"));

/// Reads an answer; a long one where it holds up nobody.
async fn decoded(request: &ConsulRequest, answer: Answer) -> ConsulReply {
    if answer.body.len() <= CONSUL_DECODE_BYTES_MAX {
        return decode(request, &answer);
    }
    let request = request.clone();
    let reading = tokio::task::spawn_blocking(move || decode(&request, &answer));
    reading.await.unwrap_or_else(|error| {
        ConsulReply::Failed(ConsulFailure::Garbled(Box::from(error.to_string())))
    })
}

fn decode(request: &ConsulRequest, answer: &Answer) -> ConsulReply {
    let Answer { status, index, ref body, .. } = *answer;
    wire::decode(request, HttpAnswer { status, index, body })
}

/// How a request goes when many are under way.
enum Way {
    /// It waits its turn among the short ones.
    Short,
    /// Consul may hold it back until something changes: it has a connection of its own.
    Blocking,
    /// It waits for nobody: a lock's renewal in time is worth more than any report.
    AtOnce,
}

fn way_of(request: &ConsulRequest) -> Way {
    match request {
        ConsulRequest::Register(_)
        | ConsulRequest::Deregister { .. }
        | ConsulRequest::Report { .. }
        | ConsulRequest::File { .. } => Way::Short,
        ConsulRequest::Instances { index: 0, .. } | ConsulRequest::Keys { index: 0, .. } => {
            Way::Short
        }
        ConsulRequest::Instances { .. } | ConsulRequest::Keys { .. } => Way::Blocking,
        ConsulRequest::SessionCreate { .. }
        | ConsulRequest::SessionRenew { .. }
        | ConsulRequest::SessionDestroy { .. }
        | ConsulRequest::LockRead { .. }
        | ConsulRequest::Acquire { .. }
        | ConsulRequest::Release { .. } => Way::AtOnce,
    }
}

/// Tells whether a request may arrive twice without harm: what is to be true is said, not what is
/// to be done. About locks the engine alone knows.
fn is_repeatable(request: &ConsulRequest) -> bool {
    match request {
        ConsulRequest::Register(_)
        | ConsulRequest::Deregister { .. }
        | ConsulRequest::Report { .. }
        | ConsulRequest::Instances { .. }
        | ConsulRequest::Keys { .. }
        | ConsulRequest::File { .. }
        | ConsulRequest::SessionRenew { .. }
        | ConsulRequest::SessionDestroy { .. }
        | ConsulRequest::LockRead { .. } => true,
        ConsulRequest::SessionCreate { .. }
        | ConsulRequest::Acquire { .. }
        | ConsulRequest::Release { .. } => false,
    }
}
