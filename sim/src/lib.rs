//! The simulated world of steersman: it drives the unmodified engine with virtual clocks and
//! scripted processes, and judges what comes out.
//!
//! ```
//! use core::time::Duration;
//! use steersman_sim::fixture::{job, Scene};
//!
//! let mut scene = Scene::of([job("app")]).begin();
//! scene.run_for(Duration::from_secs(60));
//! assert!(scene.job("app").is_live());
//! ```

pub mod action;
pub mod agenda;
pub mod applications;
pub mod catalog;
pub mod clock;
pub mod command;
pub mod consul;
pub mod container;
pub mod database;
pub mod election;
mod exclusion;
pub mod explore;
pub mod fixture;
pub mod fleet;
pub mod fuzz;
pub mod html;
mod keeper;
pub mod link;
pub mod node;
pub mod observer;
pub mod oracle;
mod phrase;
pub mod program;
pub mod property;
pub mod random;
pub mod resource;
mod runs;
pub mod scenario;
pub mod script;
pub mod shrink;
pub mod stall;
pub mod story;
pub mod tap;
pub mod trace;
pub mod world;

pub use action::Action;
pub use agenda::{Happening, NodeId};
pub use catalog::CatalogFault;
pub use node::NodeSetup;
pub use observer::Observer;
pub use script::Script;
pub use world::World;
