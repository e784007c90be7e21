//! What the tests that cross crates share: the program under test, waiting for a condition, and
//! tables of measurements.

pub mod consul;
pub mod program;
pub mod table;
pub mod wait;
