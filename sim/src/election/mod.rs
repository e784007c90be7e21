//! Elections held in the small: a few real engines that stand for one lock, one key of a Consul
//! that does what it promises and nothing more, and every way in which that can go.
//!
//! Time moves in ticks. Within a tick things happen in any order; what may take its time takes any
//! number of ticks that is allowed. A timer of an engine takes effect at the first tick that is not
//! before it. [`crate::explore::model::explore`] tries every order; [`Breach`] is what must never
//! be.

mod arena;
mod canonical;
pub mod cases;
mod choose;
mod consul;
mod judge;
mod node;
mod rules;
pub mod sampling;

pub use arena::{Arena, Breach, Choice};
pub use consul::SessionId;
pub use node::Line;
pub use rules::{Clocks, Figures, Rules, TICK, TROUBLES, Trouble, Troubles};
