//! Searching exhaustively, and by priorities.
//!
//! - `courses`: one configuration with its orders left open: sound engines, defects, plans
//! - `corpus`: drawn configurations: the reduced search says what the whole one says
//! - `strategies`: the strategies side by side, and their figures
//! - `priorities`: disorders of a known depth

mod corpus;
mod courses;
mod priorities;
mod strategies;
