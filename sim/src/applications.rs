//! What runs in the containers of a scenario beyond plain processes: programs, databases, clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steersman_engine::config::Config;

use crate::database::{ClientSpec, DatabaseSpec};
use crate::program::Library;

/// Programs, databases and clients of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Applications {
    /// Programs by name.
    pub programs: Library,
    /// Databases.
    pub databases: Vec<DatabaseSpec>,
    /// Clients.
    pub clients: Vec<ClientSpec>,
}

impl Applications {
    /// Tells whether there is nothing: then a world has nothing to do with them.
    pub fn is_empty(&self) -> bool {
        self.programs.is_empty() && self.databases.is_empty() && self.clients.is_empty()
    }
}

/// What a container has besides its configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Home {
    /// The environment.
    pub environment: BTreeMap<Arc<str>, Arc<str>>,
    /// Other contents that its configuration file may get, by name.
    pub variants: BTreeMap<Arc<str>, Config>,
    /// Whether its files and its database outlive the container.
    pub has_volume: bool,
}
