//! Carries the engine's requests to Consul over HTTP and brings back what came of them.
//!
//! The engine decides everything: what to ask, when to ask again, how long to wait. In here one
//! request becomes one exchange on a connection, with a hard deadline and a bounded answer; the
//! only repetition is that of a request which an idle connection, closed by the other side
//! meanwhile, did not take.
//!
//! HTTP is hyper's `client::conn::http1` over whatever stream a [`Dial`] yields, not a client
//! library with its own sockets (reqwest): so a simulated network carries the very client of
//! production, TLS included, and nothing is there that we do not use: no proxy variables, cookies,
//! redirects, HTTP/2 or threads. A process without Consul builds none of it; TLS is set up by the
//! first connection that needs it.
//!
//! # Examples
//! ```
//! use std::time::Duration;
//! use steersman::consul::{Client, Counters, Network};
//! use steersman_engine::consul::{ConsulReply, ConsulRequest};
//! use steersman_engine::front::{Agent, Scheme};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! // The port of a service that nobody runs: the failure says so.
//! let agent = Agent::new("127.0.0.1:1", Scheme::Http);
//! let client = Client::new(&agent, Network::new(), Counters::new()).unwrap();
//! let request = ConsulRequest::Deregister { service: "web".into() };
//! let reply = client.ask(&request, Duration::from_secs(5)).await;
//! assert!(matches!(reply, ConsulReply::Failed(_)));
//! # });
//! ```

mod address;
mod body;
mod carrier;
mod client;
mod connection;
mod counters;
mod dial;
mod explain;
mod failure;
mod files;
mod tls;
mod token;
mod verifier;

pub use address::{AddressError, Endpoint};
pub use carrier::{Answers, Carrier};
pub use client::Client;
pub use counters::{Counters, Figure, Kind, Outcome};
pub use dial::{Dial, Network, NetworkStream, connect_any};
pub use failure::{Failure, Stage};
pub use tls::TlsError;
