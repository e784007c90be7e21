//! The real adapter of steersman: processes, clocks, files and sockets around the pure engine.

pub mod ask;
pub mod cli;
pub mod client;
mod clocks;
pub mod companions;
pub mod consul;
pub mod control;
pub mod driver;
#[cfg(feature = "sim")]
pub mod embedded;
pub mod interfaces;
pub mod journal;
pub mod keeper;
pub mod limits;
pub mod lock;
pub mod log;
pub mod message;
pub mod observe;
pub mod output;
pub mod process;
pub mod record;
pub mod snapshot;
pub mod telemetry;
mod timer;
pub mod writer;

/// The version of the program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from, if the build knew.
pub const GIT_HASH: &str = env!("STEERSMAN_GIT_HASH");
