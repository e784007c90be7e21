//! Elections with real parts: three Consul servers and three supervisors, each in a network of its
//! own, faults drawn from a seed, and a judge who sits at the protected resource.
//!
//! What is judged is what arrived at the resource, in the order in which it arrived. Nothing here
//! asks the engine or uses its code.
//!
//! - `draw`: the seeded draws
//! - `moment`: one clock for everybody who judges
//! - `network`: hosts in network name spaces, and what is cut between them
//! - `servers`: three Consul servers
//! - `member`: a supervisor as PID 1 of a container with clocks of its own
//! - `attempt`: a write on its way to the resource
//! - `jobs`: what a member runs: who writes while it leads, and who is told to
//! - `resource`: the protected resource, a process of its own
//! - `sightings`: who is alive at one instant, according to `/proc`
//! - `fault`, `plan`: what goes wrong, and when
//! - `world`, `run`: all of it together
//! - `judge`: what must hold
//! - `measure`, `summary`: how long things took, and the page about a run

mod attempt;
mod draw;
mod fault;
mod jobs;
mod judge;
mod measure;
mod member;
mod moment;
mod network;
mod plan;
mod resource;
mod run;
mod servers;
mod sightings;
mod summary;
mod world;

pub use jobs::{lead, serve};
pub use plan::{Drill, Plan};
pub use resource::guard;
pub use run::{Order, Plant, enter, go};
