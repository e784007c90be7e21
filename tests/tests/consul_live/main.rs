//! The program itself in front of real, broken and hostile Consuls: each trouble leads to a clear
//! message and a supervisor that goes on supervising.
//!
//! - `bench`: a container with a service, a watch and something to do besides
//! - `refusals`: wrong address, token, certificate; somebody else who answers
//! - `outages`: leaders killed, agents restarted empty or stopped, too many connections

#![expect(clippy::unwrap_used, reason = "that is how a test fails")]

mod bench;
mod outages;
mod refusals;
