//! The control plane: HTTP over a unix socket that only the owner can open.
//!
//! Requests are read, bounded and parsed here, outside of any decision; only what is understood is
//! asked of the driver. Nobody waits for a client: connections, headers, bodies and answers have
//! bounds and deadlines, and each connection takes one request.

mod endpoints;
mod feed;
mod requests;
mod socket;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;

pub use endpoints::ENDPOINTS;
pub use feed::Feed;
pub use socket::{ListenError, ListenProblem, SOCKET_PATH_BYTES_MAX, Socket};

use crate::ask::Asker;
use crate::limits::{
    ANSWER_PATIENCE, CONTROL_CONNECTIONS_MAX, EVENT_READERS_MAX, HEADERS_PATIENCE,
};
use crate::telemetry::Telemetry;
use endpoints::{Answer, Context};

/// Serves the control plane until it is dropped.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    accepting: AbortHandle,
    context: Arc<Context>,
}

impl Server {
    /// Listens at `path` and serves. Must be called inside the runtime.
    ///
    /// # Errors
    /// Nothing can listen there; see [`ListenProblem`].
    pub fn start(path: &Path, asker: Asker, telemetry: Telemetry) -> Result<Server, ListenError> {
        let context = Context {
            asker,
            telemetry,
            event_readers: Arc::new(Semaphore::new(EVENT_READERS_MAX)),
            connections: Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX)),
        };
        Server::listen(path, Arc::new(context))
    }

    /// Moves to another path when a new configuration says so; the old one serves until then.
    ///
    /// # Errors
    /// Nothing can listen there; the old path stays.
    pub fn move_to(&mut self, path: &Path) -> Result<(), ListenError> {
        if path != self.socket.path() {
            *self = Server::listen(path, Arc::clone(&self.context))?;
        }
        Ok(())
    }

    /// Gives the path at which it listens.
    pub fn path(&self) -> PathBuf {
        self.socket.path().to_owned()
    }

    fn listen(path: &Path, context: Arc<Context>) -> Result<Server, ListenError> {
        let (socket, listener) = Socket::listen(path)?;
        let accepting = tokio::spawn(accept(listener, Arc::clone(&context))).abort_handle();
        Ok(Server { socket, accepting, context })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Accepts connections as long as there is room; further ones wait in the kernel's queue.
async fn accept(listener: UnixListener, context: Arc<Context>) {
    loop {
        let room = Arc::clone(&context.connections).acquire_owned().await;
        // The semaphore is never closed.
        let Ok(room) = room else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let context = Arc::clone(&context);
                tokio::spawn(async move {
                    serve(stream, context).await;
                    drop(room);
                });
            }
            // Out of descriptors, or the client went away: either passes.
            Err(_) => tokio::time::sleep(crate::limits::ACCEPT_RETRY_DELAY).await,
        }
    }
}

/// Serves one request. A client that stalls is dropped.
async fn serve(stream: UnixStream, context: Arc<Context>) {
    let (ready, is_ready) = oneshot::channel();
    let ready = std::sync::Mutex::new(Some(ready));
    let service = service_fn(|request| {
        let context = Arc::clone(&context);
        let ready = ready.lock().ok().and_then(|mut ready| ready.take());
        async move {
            let answer = endpoints::answer(request, &context).await;
            if let (Some(ready), Answer::Whole) = (ready, answer.kind) {
                // The connection may have gone meanwhile.
                let _ = ready.send(());
            }
            Ok::<_, std::convert::Infallible>(answer.response)
        }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS_PATIENCE)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // Whatever went wrong on a connection is its client's matter.
        _ = &mut connection => {}
        Ok(()) = is_ready => {
            let _ = tokio::time::timeout(ANSWER_PATIENCE, connection).await;
        }
    }
}
