//! What the tests that cross crates share: the program under test, and waiting for a condition.

pub mod consul;
pub mod program;
pub mod wait;
