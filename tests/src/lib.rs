//! What the tests that cross crates share: the program under test, containers around it, Consuls,
//! tables of measurements, faults on real elections, and waiting for a condition.

pub mod consul;
pub mod container;
pub mod election;
pub mod image;
pub mod maria;
pub mod program;
pub mod table;
pub mod wait;
