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
struct Task(JoinHandle<()>);

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
        // What goes wrong in there is said to whoever waits for the answer.
        let task = Task(tokio::spawn(async move { drop(moving.await) }));
        Ok(Connection { sender, task, tls, used_at: Instant::now() })
    }

    /// Sends a request and reads the answer; the flag tells whether the answer had not begun when it
    /// failed.
    pub(super) async fn exchange(
        &mut self,
        request: Outgoing,
        stage: &mut Stage,
    ) -> Result<Answer, (Failure, Silent)> {
        *stage = Stage::Waiting;
        let failed = |error: hyper::Error, stage: Stage| {
            let silent = if error.is_parse() { Silent::No } else { Silent::Yes };
            (Failure::of_exchange(&error, stage, self.tls), silent)
        };
        if let Err(error) = self.sender.ready().await {
            return Err(failed(error, *stage));
        }
        let response = match self.sender.send_request(request).await {
            Ok(response) => response,
            Err(error) => return Err(failed(error, *stage)),
        };
        let answer = body::read(response, stage, self.tls).await;
        self.used_at = Instant::now();
        answer.map_err(|failure| (failure, Silent::No))
    }

    /// Tells whether it may take another request.
    pub(super) fn is_usable(&self) -> bool {
        let is_open = !self.sender.is_closed() && !self.task.0.is_finished();
        is_open && self.used_at.elapsed() < CONSUL_IDLE_AGE_MAX
    }
}

/// Whether nothing of an answer had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Silent {
    /// Nothing had: it may never have been read.
    Yes,
    /// Something had.
    No,
}
