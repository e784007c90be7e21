//! The client of Consul against servers that do whatever servers do.
//!
//! - `scripted`: a server that follows a test's script, and what tests ask for
//! - `answers`: statuses, bodies, pages of proxies, things that are not HTTP
//! - `connections`: reuse, closing, limits, deadlines
//! - `addresses`: names that move, several addresses, IPv6, Unix sockets
//! - `secrets`: tokens, passwords, namespaces
//! - `trust`: TLS, certificates good and bad
//! - `carrying`: what the driver sees
//! - `model`: a whole life against the model of Consul
//! - `real`: the same against the real one, where it is installed

#![expect(clippy::unwrap_used, reason = "that is how a test fails")]

mod addresses;
mod answers;
mod carrying;
mod connections;
mod model;
mod real;
mod scripted;
mod secrets;
mod trust;
