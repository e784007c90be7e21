//! One connection: a request at a time, ended when it is dropped.

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::body::{self, Answer};
use super::failure::{Failure, Stage};
use crate::limits::{CONSUL_HEAD_BYTES_MAX, CONSUL_IDLE_AGE_MAX};

/// A request as it goes out.
pub(super) type Outgoing = Request<Full<Bytes>>;

/// A connection to Consul.
#[derive(Debug)]
pub(super) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: Task,
    /// Over TLS: whether we could prove who we are.
    tls: Option<bool>,
    used_at: Instant,
}

/// The task that moves a connection's bytes; it ends with it.
#[derive(Debug)]
struct Task(JoinHandle<hyper::Result<()>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    /// Begins to speak HTTP on a stream.
    pub(super) async fn open<S>(stream: S, tls: Option<bool>) -> Result<Connection, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, moving) = Builder::new()
            .max_buf_size(CONSUL_HEAD_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::of_exchange(&error, Stage::Waiting, tls))?;
        let task = Task(tokio::spawn(moving));
        Ok(Connection { sender, task, tls, used_at: Instant::now() })
    }

    /// Sends a request and reads the answer; a failure comes with how far that had come.
    pub(super) async fn exchange(
        &mut self,
        request: Outgoing,
        stage: &mut Stage,
    ) -> Result<Answer, (Failure, Progress)> {
        *stage = Stage::Waiting;
        let failed = |error: &hyper::Error| Failure::of_exchange(error, Stage::Waiting, self.tls);
        if let Err(error) = self.sender.ready().await {
            // It has ended: the task knows why, the sender does not.
            let why = (&mut self.task.0).await;
            let error = why.ok().and_then(Result::err).unwrap_or(error);
            return Err((failed(&error), Progress::Unsent));
        }
        let response = match self.sender.try_send_request(request).await {
            Ok(response) => response,
            Err(error) => {
                let progress = match (error.message().is_some(), error.error().is_parse()) {
                    (true, _) => Progress::Unsent,
                    (false, false) => Progress::Unanswered,
                    (false, true) => Progress::Answered,
                };
                return Err((failed(error.error()), progress));
            }
        };
        let answer = body::read(response, stage, self.tls).await;
        self.used_at = Instant::now();
        answer.map_err(|failure| (failure, Progress::Answered))
    }

    /// Tells whether it may take another request.
    pub(super) fn is_usable(&self) -> bool {
        let is_open = !self.sender.is_closed() && !self.task.0.is_finished();
        is_open && self.used_at.elapsed() < CONSUL_IDLE_AGE_MAX
    }
}

/// How far an exchange that failed had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was sent.
    Unsent,
    /// Something was sent, and nothing came back: whether it was read is open.
    Unanswered,
    /// Something came back.
    Answered,
}
