//! Searching a plain configuration, end to end: found, shrunk, repeated, told, shown.
//!
//! - `power`: which planted defects a search finds, and how soon
//! - `finding`: one defect from a plain configuration to a page

mod finding;
mod power;
mod sample;
