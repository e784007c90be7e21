//! What holds for any configuration and any order of inputs.
//!
//! - `worlds`: random configurations and behaviours in the simulated world, judged by the oracle
//! - `fleets`: several nodes around one Consul, with random troubles
//! - `nonsense`: inputs that no adapter would send: late, foreign, repeated, in any order
//! - `generators`: what both are drawn from
//!
//! `PROPTEST_CASES=100000 cargo test -p steersman-sim --test properties` searches for longer.

mod fleets;
mod generators;
mod nonsense;
mod worlds;
