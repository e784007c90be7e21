//! The nine public v3 configurations, run with the real program: what their headers say must hold.
//!
//! Each runs against the development Consul (the model behind HTTP), most against a real Consul
//! 1.8.7 as well. Bounds are the headers' own, with room for a busy machine where they are about
//! speed.
//!
//! - `batch`: 06, which needs no Consul
//! - `ledger`: 01, members that choose a primary
//! - `proxies`: 02 and 03, files that follow a watched set
//! - `stops`: 04 and 07, order and bounds of stopping, maintenance, signals
//! - `agents`: 05 and 09, a catalog that forgets, processes of somebody else
//! - `twins`: 08, two that know each other, and metrics

mod agents;
mod batch;
mod bench;
mod ledger;
mod proxies;
mod stops;
mod twins;
