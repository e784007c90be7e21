//! A database as a scenario gives it.

use core::time::Duration;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::agenda::NodeId;

/// A database as a scenario gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatabaseSpec {
    /// Its name, unique.
    pub name: Arc<str>,
    /// The job that is the server, as a pattern; it runs exactly while the job's process does.
    pub job: Arc<str>,
    /// The nodes that have one, as a pattern.
    pub on: Arc<str>,
    /// From the running process to the server that answers.
    pub boot: Duration,
    /// How long a server takes to make an empty database when its data directory is empty; without
    /// it a program must.
    #[serde(default)]
    pub init: Option<Duration>,
    /// From a lost connection to the next attempt of a replica.
    pub retry: Duration,
    /// Whether a server refuses writes when it starts.
    pub is_read_only: bool,
    /// How many replicas must have a write before it is acknowledged, however long that takes; with
    /// none of them replication may lose `lag`.
    #[serde(default)]
    pub sync: u16,
    /// What replication may lose with a primary that dies.
    pub lag: Duration,
    /// How old its last backup may become.
    #[serde(default)]
    pub backup: Option<Duration>,
    /// The job that says, while it is healthy, that this node is the primary, as a pattern.
    pub primary: Option<Arc<str>>,
    /// The job that says, while it is healthy, that this node is a replica, as a pattern.
    pub replica: Option<Arc<str>>,
    /// The names of all nodes, by number; the world fills them in.
    #[serde(skip)]
    pub nodes: Vec<Arc<str>>,
}

impl DatabaseSpec {
    /// Builds the database of the processes of a job.
    pub fn new(name: &str, job: &str) -> DatabaseSpec {
        DatabaseSpec {
            name: Arc::from(name),
            job: Arc::from(job),
            on: Arc::from("*"),
            boot: Duration::from_secs(2),
            init: None,
            retry: Duration::from_secs(60),
            is_read_only: false,
            sync: 0,
            lag: Duration::from_secs(5),
            backup: None,
            primary: None,
            replica: None,
            nodes: Vec::new(),
        }
    }

    /// Finds a node by name.
    pub(crate) fn node(&self, name: &str) -> Option<NodeId> {
        let place = self.nodes.iter().position(|node| **node == *name)?;
        u16::try_from(place).ok().map(NodeId)
    }

    /// Gives the name of a node.
    pub(crate) fn name_of(&self, node: NodeId) -> &str {
        self.nodes.get(node.index()).map_or("", |name| name)
    }
}
