//! What is true of a database at an instant: what properties speak of.

use crate::agenda::NodeId;
use crate::database::{Data, Database, Replication};

/// What is true of one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServerTruth {
    /// Whether the node has one of this database.
    pub is_member: bool,
    /// Whether the container lives and runs.
    pub is_live: bool,
    /// Whether it answers.
    pub is_up: bool,
    /// What is on its disk.
    pub data: Data,
    /// Whether the users of the cluster are in it.
    pub has_users: bool,
    /// Whether some client's write would be accepted there now.
    pub is_writing: bool,
    /// Whether it would take writes.
    pub is_writable: bool,
    /// Whether it takes writes and replicates from nobody.
    pub is_primary: bool,
    /// Whether it replicates and its source answers.
    pub is_replicating: bool,
    /// Whether its threads have stopped.
    pub has_stopped: bool,
    /// Whether it has writes that its source has not.
    pub is_errant: bool,
    /// Whom it replicates from.
    pub source: Option<NodeId>,
}

/// What is true of a database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Truth {
    /// By node.
    pub servers: Vec<ServerTruth>,
    /// How many acknowledged writes the primary does not have.
    pub lost: u64,
    /// Whether a write with a smaller token came after one with a larger.
    pub is_fence_broken: bool,
    /// Whether the last backup is older than it may be.
    pub is_unsaved: bool,
}

impl Database {
    /// Looks at every server; `is_live` and `is_writing` are what only the world knows.
    pub(crate) fn look(
        &self,
        is_live: impl Fn(NodeId) -> bool,
        is_member: impl Fn(NodeId) -> bool,
        is_writing: impl Fn(NodeId) -> bool,
    ) -> Truth {
        let servers = (0..).map(NodeId).zip(&self.servers);
        let servers = servers.map(|(node, server)| {
            let is_live = is_live(node);
            ServerTruth {
                is_member: is_member(node),
                is_live,
                is_up: server.is_up(),
                data: server.data,
                has_users: server.has_users,
                is_writing: is_live && server.accepts() && is_writing(node),
                is_writable: is_live && server.accepts(),
                is_primary: is_live && server.is_primary(),
                is_replicating: server.replication == Replication::CONNECTED,
                has_stopped: server.replication == Replication::Stopped,
                is_errant: server.is_errant,
                source: server.source,
            }
        });
        let servers = servers.collect();
        Truth {
            servers,
            lost: self.lost,
            is_fence_broken: self.is_fence_broken(),
            is_unsaved: self.is_unsaved,
        }
    }
}

impl Truth {
    /// Gives the only primary, if there is exactly one.
    pub fn primary(&self) -> Option<NodeId> {
        let mut primaries = (0..).map(NodeId).zip(&self.servers).filter(|(_, it)| it.is_primary);
        let first = primaries.next().map(|(node, _)| node);
        first.filter(|_| primaries.next().is_none())
    }

    /// Gives the only primary if as many servers replicate from it as must have a write.
    pub fn acknowledging(&self, sync: u16) -> Option<NodeId> {
        let primary = self.primary()?;
        let follows = |it: &&ServerTruth| it.is_replicating && it.source == Some(primary);
        let copies = self.servers.iter().filter(follows).count();
        (copies >= usize::from(sync)).then_some(primary)
    }

    /// Tells whether a server is the only primary or replicates from it.
    pub fn is_in_order(&self, node: NodeId) -> bool {
        let Some(primary) = self.primary() else { return false };
        self.servers.get(node.index()).is_some_and(|server| {
            let follows = server.is_up && server.is_replicating && server.source == Some(primary);
            node == primary || follows
        })
    }

    /// Tells whether a server that should be one of the cluster is not.
    pub fn is_astray(&self, node: NodeId) -> bool {
        let server = self.servers.get(node.index());
        server.is_some_and(|server| server.is_member && server.is_live) && !self.is_in_order(node)
    }

    /// Tells whether there is one primary and every live server replicates from it.
    pub fn is_converged(&self) -> bool {
        let nodes = (0..).map(NodeId).take(self.servers.len());
        self.primary().is_some() && !nodes.into_iter().any(|node| self.is_astray(node))
    }
}
