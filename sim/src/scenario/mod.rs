//! Scenarios: one JSON5 file with nodes, how their processes behave, what goes wrong and what must
//! hold. `docs/guide/scenarios.md` explains how to write one.

mod block;
mod decode;
mod keys;
mod plain;
mod probe;
mod schema;

use std::sync::Arc;

use steersman_engine::front::Diagnostic;

pub use decode::load;
pub use plain::{advice, of_config};
pub use schema::schema;

use crate::explore::{FaultSet, Limits, Scripted, Setting};
use crate::property::{Suite, SuiteSource};

/// A scenario, ready to be searched.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// What it is about.
    pub title: String,
    /// The nodes, and how their processes behave.
    pub setting: Setting,
    /// What must hold, as written.
    pub source: SuiteSource,
    /// What must hold.
    pub suite: Arc<Suite>,
    /// What is drawn.
    pub faults: FaultSet,
    /// What happens in every run.
    pub scripted: Vec<Scripted>,
    /// How long runs are.
    pub limits: Limits,
    /// Whether it was made from a configuration alone.
    pub is_plain: bool,
    /// What should be looked at.
    pub warnings: Vec<Diagnostic>,
}

/// Reads the files that a scenario names.
pub type ReadFile<'a> = dyn Fn(&str) -> Result<String, String> + 'a;
