//! Searching exhaustively, and by priorities.
//!
//! - `courses`: one configuration with its orders left open: sound engines, defects, plans
//! - `corpus`: drawn configurations: the reduced search says what the whole one says
//! - `elections`: a few supervisors and one lock, in every way
//! - `strategies`: the strategies side by side, and their figures
//! - `priorities`: disorders of a known depth

mod corpus;
mod courses;
mod elections;
mod priorities;
mod strategies;
