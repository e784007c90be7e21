//! The keeper: a process beside the supervisor that ends what is left of a term when its time is
//! over, whatever has become of the supervisor.
//!
//! The supervisor starts it (`steersman keeper`, which is not for people) with the first order to
//! guard, and holds the other ends of its two pipes: orders to it, news from it. `link` is
//! the supervisor's side, `duty` the keeper's own, `look` what it sees in `/proc` and kills.
//!
//! Whatever it kills is named twice: by the start time of the process, and by being a run of a job
//! that it was told of. See [`crate::process`] for what makes anything else impossible.

mod duty;
mod link;
mod look;
mod order;

pub use duty::run;
pub(crate) use link::{Charge, Heard, Link, News};
