//! The development Consul: the simulator's model of Consul 1.8.7 behind real HTTP, as a program of
//! its own (`steersman consul`) or inside a supervisor (`consul: "embedded"`).
//!
//! Time is real, everything else is the model; nothing is kept when it ends. It has a thread of its
//! own, so that it delays no decision.

use std::net::{SocketAddr, TcpListener};
use std::sync::OnceLock;
use std::thread;

use steersman_sim::consul::Options;
use steersman_sim::consul::http;
use tokio::runtime::{Builder, Runtime};

/// Where the embedded one listens, so that jobs and other supervisors find it: Consul's own port.
pub const ADDRESS: &str = "127.0.0.1:8500";

static EMBEDDED: OnceLock<Result<SocketAddr, String>> = OnceLock::new();

/// Listens and serves until the process is ended; `listening` hears where.
///
/// # Errors
/// The address is none, or cannot be listened on.
pub fn serve(listen: &str, listening: impl FnOnce(SocketAddr)) -> Result<(), String> {
    let (listener, runtime, address) = open(listen)?;
    listening(address);
    run(listener, &runtime)
}

/// Starts the embedded one, once in a process, and says where it listens.
///
/// # Errors
/// Its address is taken: another Consul, or another supervisor with an embedded one, runs already.
pub fn start() -> Result<SocketAddr, String> {
    let started = EMBEDDED.get_or_init(|| {
        let (listener, runtime, address) = open(ADDRESS)?;
        let serving = move || {
            // It fails only when the listener does, which then shows in every request.
            let _ = run(listener, &runtime);
        };
        let thread = thread::Builder::new().name("consul".into()).spawn(serving);
        thread.map_err(|error| format!("cannot start the embedded Consul: {error}"))?;
        Ok(address)
    });
    started.clone()
}

fn open(listen: &str) -> Result<(TcpListener, Runtime, SocketAddr), String> {
    let cannot = |error: std::io::Error| format!("cannot listen on {listen}: {error}");
    let listener = TcpListener::bind(listen).map_err(cannot)?;
    listener.set_nonblocking(true).map_err(cannot)?;
    let address = listener.local_addr().map_err(cannot)?;
    let runtime = Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the development Consul: {error}"))?;
    Ok((listener, runtime, address))
}

fn run(listener: TcpListener, runtime: &Runtime) -> Result<(), String> {
    runtime.block_on(async {
        let served = async {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            http::serve(listener, Options::dev(1)).await
        };
        served.await.map_err(|error| format!("cannot go on serving: {error}"))
    })
}
