//! Searching a plain configuration, end to end: found, shrunk, repeated, told, shown.
//!
//! - `power`: which planted defects a search finds, and how soon
//! - `finding`: one defect from a plain configuration to a page
//! - `mysql`: the published MySQL handlers and their repair, as programs
//! - `mariadb`: the database that elects its primary, with its own configuration
//! - `catalogue`: known defects of configurations, each found
//! - `scenarios`: scenario files, from their errors to the repetition of a trace
//! - `consul`: registration, watches and locks in scenario files
//! - `determinism`: equal seeds are equal runs, and what is not is named
//! - `page`: the page in a real browser

mod catalogue;
mod consul;
mod determinism;
mod finding;
mod mariadb;
mod mysql;
mod page;
mod power;
mod sample;
mod scenarios;
