//! A model of Consul 1.8.7, down to the bytes of its HTTP API.
//!
//! [`Consul`] is a whole cluster: servers with a replicated log, agents in front of them, the
//! requests under way. It is pure: it reads no clock and opens no socket; times are passed in,
//! requests and responses are data, and chance comes from a seed. The simulated world drives it in
//! virtual time; [`http::serve`] puts one development agent behind real HTTP.
//!
//! ```
//! use steersman_sim::consul::{AgentId, Consul, Input, Options, Request, RequestId};
//!
//! let mut consul = Consul::new(0, Options::dev(7));
//! let request = Request::new("PUT", "/v1/kv/app/a").with_body("hello");
//! let done = consul.handle(1, Input::Request { id: RequestId(1), agent: AgentId(0), request });
//! assert_eq!(done[0].response.as_ref().map(|response| response.status), Some(200));
//! ```

mod about;
mod acl;
mod agent;
mod agent_ops;
mod answer;
mod bodies;
mod catalog;
mod cluster;
mod compare;
mod decode;
mod endpoints;
mod filter;
mod filter_parser;
pub(crate) mod go;
#[cfg(feature = "http")]
pub mod http;
mod http_api;
mod json;
mod kept;
mod kv;
mod local;
mod log;
mod members;
mod model;
mod options;
mod push;
mod random;
mod read;
mod route;
mod route_agent;
mod route_kv;
mod rpc;
mod schemas;
mod schemas_txn;
mod server;
mod store;
mod truth;
mod txn;
mod types;
mod validate;

pub use http_api::{Request, Response};
pub use model::{AgentId, Consul, Fault, Input, Memory, Output, RequestId, ServerId};
pub use options::{NodeOptions, Options, Span, Timing};
pub use truth::Truth;
