//! The showpiece: real MariaDB servers in containers that form a primary and two replicas under
//! steersman, clients that write all the time, faults, and a judge.
//!
//! The containers run the files of `docs/examples/mariadb` as they are. What counts is what clients
//! were told: an acknowledgement is kept with the term in which the server gave it, by the server's
//! own clock, and all containers have one clock.

mod cluster;
mod fault;
mod judge;
mod writer;

pub use cluster::Cluster;
pub use fault::{Fault, Figures, inflict};
pub use judge::{judge, settled};
pub use writer::{Ack, Writers};
