//! Clients: they write without end, to where the catalog sends them or where they have always
//! written, and remember what was acknowledged.

use core::time::Duration;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steersman_engine::Time;

use crate::agenda::NodeId;
use crate::database::Entry;

/// Clients as a scenario gives them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClientSpec {
    /// Its name, unique among nodes and clients.
    pub name: Arc<str>,
    /// The database it writes to.
    pub database: Arc<str>,
    /// The service whose passing instance it writes to.
    pub service: Arc<str>,
    /// From one write to the next.
    pub every: Duration,
    /// How it finds out where to write.
    pub finds: Finds,
    /// From one look at the catalog to the next.
    pub refresh: Duration,
}

/// How a client finds out where to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Finds {
    /// It looks at the catalog again and again.
    Listed,
    /// It keeps its connection until a write fails.
    Cached,
    /// It looks once: what it watches never changes.
    Once,
}

/// How long a client waits for an acknowledgement.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);

/// A client at work.
#[derive(Clone, Debug)]
pub struct Client {
    pub(crate) spec: Arc<ClientSpec>,
    /// The place of its database among all.
    pub(crate) database: usize,
    pub(crate) address: Option<NodeId>,
    pub(crate) looked: Option<Time>,
    pub(crate) sent: Option<Time>,
    /// The write that a server has taken and does not acknowledge yet.
    pub(crate) taken: Option<(NodeId, Entry)>,
    /// The write whose acknowledgement is under way.
    pub(crate) accepted: Option<Entry>,
    pub(crate) written: u64,
    pub(crate) refused: u64,
}

impl Client {
    /// Builds a client that has not looked anywhere.
    pub(crate) fn new(spec: &ClientSpec, database: usize) -> Client {
        let spec = Arc::new(spec.clone());
        Client {
            spec,
            database,
            address: None,
            looked: None,
            sent: None,
            taken: None,
            accepted: None,
            written: 0,
            refused: 0,
        }
    }

    /// Tells whether it looks at the catalog before the next write.
    pub(crate) fn wants_to_look(&self, now: Time) -> bool {
        let is_old = self.looked.is_none_or(|looked| now.since(looked) >= self.spec.refresh);
        match self.spec.finds {
            Finds::Listed => is_old,
            Finds::Cached | Finds::Once => self.address.is_none() && is_old,
        }
    }
}
