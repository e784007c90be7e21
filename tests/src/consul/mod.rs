//! The same requests to a real Consul and to the model, and the comparison of what they answer.
//!
//! - `case`: reads the case files
//! - `wire`: a small HTTP client
//! - `target`: what a case can be run against: an address, or the model directly
//! - `real`: starts a real Consul 1.8.7
//! - `agent`: a Consul, real or modelled, that a test kills, stops and starts again
//! - `cluster`: three real servers
//! - `compare`: makes answers comparable, and compares them
//! - `generate`: draws cases at random
//! - `transcript`: replays recorded exchanges

pub mod agent;
pub mod case;
pub mod cluster;
pub mod compare;
pub mod generate;
pub mod real;
pub mod target;
pub mod transcript;
pub mod wire;
