//! Conditions about databases: what is true of them, never what a catalog says.

use std::sync::Arc;

use crate::agenda::NodeId;
use crate::database::{Data, Truth};
use crate::property::expression::{Compare, Owner, Subject, fits};
use crate::property::view::{DatabaseView, View};

/// How many servers of a database are in a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Servers {
    /// The database, by name.
    pub database: Arc<str>,
    /// On which nodes, as a pattern.
    pub node: Arc<str>,
    /// In which state.
    pub state: ServerState,
    /// How many.
    pub quantity: Quantity,
}

/// How many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// A number, compared.
    Count(Compare, u32),
    /// All, and there is one.
    Every,
}

macro_rules! states {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// A state of a server, or of a database as a whole.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum ServerState { $($(#[$doc])* $variant),+ }

        impl ServerState {
            /// Every state.
            pub const ALL: &'static [ServerState] = &[$(ServerState::$variant),+];

            /// Gives its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(ServerState::$variant => $text),+ }
            }
        }
    };
}

states! {
    /// It answers.
    Up = "up",
    /// It would take writes.
    Writable = "writable",
    /// Some client's write would be taken there now.
    Accepting = "accepting",
    /// It takes writes and replicates from nobody.
    Primary = "primary",
    /// It replicates and its source answers.
    Replicating = "replicating",
    /// It is the only primary or replicates from it.
    InOrder = "in-order",
    /// Its container lives, and it is not in order.
    Astray = "astray",
    /// Its replication has stopped.
    Stopped = "stopped",
    /// It has writes that its source has not.
    Errant = "errant",
    /// There is nothing on its disk.
    Empty = "empty",
    /// The users of the cluster are on its disk: it has been one of it.
    Joined = "joined",
    /// The health of its node's jobs says that it is what it is not.
    Lying = "lying",
    /// There is one primary, and every live server replicates from it.
    Converged = "converged",
    /// The primary lacks acknowledged writes for which replication had time.
    Lossy = "lossy",
    /// A write with a smaller token was accepted after one with a larger.
    Unfenced = "unfenced",
    /// Its last backup is older than `backup` allows.
    Unsaved = "unsaved",
}

impl ServerState {
    /// Tells whether it is a state of the database as a whole.
    pub const fn is_whole(self) -> bool {
        matches!(
            self,
            ServerState::Converged
                | ServerState::Lossy
                | ServerState::Unfenced
                | ServerState::Unsaved
        )
    }
}

impl Servers {
    /// Tells whether it holds.
    pub fn holds(&self, view: &View) -> bool {
        let Some(database) = view.databases.iter().find(|it| it.name == self.database) else {
            return false;
        };
        let (holding, all) = match self.state.is_whole() {
            true => (u32::from(whole_is(&database.truth, self.state)), 1),
            false => self.count(database, view),
        };
        match self.quantity {
            Quantity::Count(compare, number) => compare.holds(holding, number),
            Quantity::Every => holding == all && all > 0,
        }
    }

    fn count(&self, database: &DatabaseView, view: &View) -> (u32, u32) {
        let mut counts = (0, 0);
        for (nth, node) in (0_u16..).zip(&view.nodes) {
            let server = database.truth.servers.get(usize::from(nth));
            if server.is_some_and(|server| server.is_member) && fits(&self.node, &node.name) {
                counts.0 += u32::from(server_is(database, view, NodeId(nth), self.state));
                counts.1 += 1;
            }
        }
        counts
    }

    /// Gives what must be there for the condition to mean anything.
    pub fn need(&self) -> (Subject, u32) {
        let least = match self.quantity {
            Quantity::Count(Compare::AtLeast | Compare::Equal, number) => number,
            Quantity::Count(Compare::More | Compare::AtMost, number) => number.saturating_add(1),
            Quantity::Count(..) | Quantity::Every => 1,
        };
        (Subject { node: self.node.clone(), job: None, kind: Owner::Node }, least.max(1))
    }
}

fn whole_is(truth: &Truth, state: ServerState) -> bool {
    match state {
        ServerState::Converged => truth.is_converged(),
        ServerState::Lossy => truth.lost > 0,
        ServerState::Unfenced => truth.is_fence_broken,
        ServerState::Unsaved => truth.is_unsaved,
        _ => false,
    }
}

fn server_is(database: &DatabaseView, view: &View, node: NodeId, state: ServerState) -> bool {
    let truth = &database.truth;
    let Some(server) = truth.servers.get(node.index()) else { return false };
    match state {
        ServerState::Up => server.is_up && server.is_live,
        ServerState::Writable => server.is_writable,
        ServerState::Accepting => server.is_writing,
        ServerState::Primary => server.is_primary,
        ServerState::Replicating => server.is_replicating,
        ServerState::InOrder => truth.is_in_order(node),
        ServerState::Astray => truth.is_astray(node),
        ServerState::Stopped => server.has_stopped,
        ServerState::Errant => server.is_errant,
        ServerState::Empty => server.data == Data::Empty,
        ServerState::Joined => server.has_users,
        ServerState::Lying => {
            let says = |pattern: &Option<Arc<str>>| {
                let jobs = view.nodes.get(node.index()).into_iter().flat_map(|it| &it.jobs);
                let mut own = jobs.filter(|(name, _)| {
                    pattern.as_ref().is_some_and(|pattern| fits(pattern, name))
                });
                own.any(|(_, job)| job.running > 0 && job.healthy == Some(true))
            };
            let is_replica = server.is_up && !server.is_primary && truth.is_in_order(node);
            says(&database.primary) && !server.is_primary || says(&database.replica) && !is_replica
        }
        ServerState::Converged
        | ServerState::Lossy
        | ServerState::Unfenced
        | ServerState::Unsaved => false,
    }
}
