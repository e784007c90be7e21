//! The real adapter of steersman: processes, clocks, files and sockets around the pure engine.

pub mod ask;
pub mod companions;
pub mod driver;
pub mod interfaces;
pub mod journal;
pub mod limits;
pub mod log;
pub mod output;
pub mod process;
pub mod writer;
