//! Searching: a plan decides everything that a run leaves open, strategies make plans, and a run
//! that breaks a property is the plan that made it.

pub mod breadth;
pub mod cone;
pub mod consul_spec;
pub mod course;
pub(crate) mod deeds;
pub mod exhaust;
pub mod manner;
pub mod model;
pub mod pct;
pub mod perform;
pub mod plan;
pub mod sample;
pub mod search;
pub mod swarm;
pub mod wound;

pub use consul_spec::{Agents, ConsulSpec};
pub use manner::{Manner, Manners, Span};
pub use perform::{Begun, Performance, perform};
pub use plan::{Casting, Deed, NodeSpec, Plan, Setting, When};
pub use search::{Found, FoundBreach, Progress, Scripted, Search, replay};
pub use swarm::{Fault, FaultSet, Limits};
