//! How a cluster is made, and how fast its parts are.

use super::acl::{Authority, Rules, Tokens};
use super::types::Str;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A range of nanoseconds, both ends included.
pub type Span = (u64, u64);

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// Settings of a cluster.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Name of the data centre.
    pub datacenter: Box<str>,
    /// The servers' nodes.
    pub servers: Vec<NodeOptions>,
    /// The client agents' nodes.
    pub clients: Vec<NodeOptions>,
    /// Is access control on, with default deny? Then this is the token that may do everything.
    pub master_token: Option<Box<str>>,
    /// Further tokens with the rules of their policy.
    pub tokens: Vec<(Box<str>, Box<str>)>,
    /// Does every JSON answer come indented, as from a development agent?
    pub pretty: bool,
    /// Is `/` redirected to the user interface?
    pub ui: bool,
    /// Delays.
    pub timing: Timing,
    /// Is every moment possible that the documentation allows, or only what 1.8.7 does?
    pub contract: bool,
}

/// A node of the cluster.
#[derive(Clone, Debug)]
pub struct NodeOptions {
    /// Its name.
    pub name: Box<str>,
    /// Its address.
    pub address: Box<str>,
    /// Its id, a UUID; drawn from the seed when empty.
    pub id: Box<str>,
    /// The port servers talk to each other on; shown in the catalog and by `status/leader`.
    pub server_port: u16,
}

/// Delays of a cluster, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// One way between two processes.
    pub hop: Span,
    /// From a write's arrival at the leader to its commit.
    pub commit: Span,
    /// From the commit until a follower has applied it.
    pub follower_lag: Span,
    /// From the loss of the leader until followers stop naming it.
    pub leader_missed: Span,
    /// From the loss of the leader to the next one.
    pub election: Span,
    /// For how long a request is held while there is no leader.
    pub hold: Span,
    /// From an agent's death until gossip notices.
    pub gossip_lost: Span,
    /// From an agent's return until gossip notices.
    pub gossip_found: Span,
    /// From a new leader to the repetition of a failed push.
    pub push_again: Span,
    /// Between two full comparisons of an agent with the catalog.
    pub anti_entropy: Span,
    /// Until a change of mere output is sent.
    pub output_only: Span,
    /// Until deletions in the key-value store are forgotten.
    pub tombstones: Span,
    /// Between two looks for services that were critical for too long.
    pub reap_tick: u64,
    /// What a resumed old leader needs to notice that it is none.
    pub depose: Span,
}

impl Timing {
    /// Everything inside the cluster takes no time: a single development agent.
    pub fn instant() -> Timing {
        Timing { hop: (0, 0), commit: (0, 0), follower_lag: (0, 0), ..Timing::default() }
    }

    /// Three servers with `raft_multiplier` 1: elections take 2.3 to 3.9 s.
    pub fn fast() -> Timing {
        Timing {
            leader_missed: (SECOND, 3 * SECOND / 2),
            election: (2_250 * MS, 3_860 * MS),
            ..Timing::default()
        }
    }
}

impl Default for Timing {
    /// Three servers with default timing, as measured on 1.8.7.
    fn default() -> Timing {
        Timing {
            hop: (MS / 5, MS),
            commit: (MS, 3 * MS),
            follower_lag: (MS, 99 * MS),
            leader_missed: (5_500 * MS, 6_500 * MS),
            election: (10_950 * MS, 19_990 * MS),
            hold: (7_000 * MS, 7_400 * MS),
            gossip_lost: (5_180 * MS, 6_530 * MS),
            gossip_found: (30 * MS, 170 * MS),
            push_again: (900 * MS, 3_800 * MS),
            anti_entropy: (60 * SECOND, 120 * SECOND),
            output_only: (150 * SECOND, 450 * SECOND),
            tombstones: (900 * SECOND, 930 * SECOND),
            reap_tick: 30 * SECOND,
            depose: (2 * MS, 12 * MS),
        }
    }
}

impl NodeOptions {
    /// Names a node; its address follows from its place in the cluster.
    pub fn new(name: &str, address: &str) -> NodeOptions {
        NodeOptions { name: name.into(), address: address.into(), id: "".into(), server_port: 8300 }
    }
}

impl Options {
    /// One development agent, as `consul agent -dev`.
    pub fn dev(seed: u64) -> Options {
        Options {
            seed,
            datacenter: "dc1".into(),
            servers: vec![NodeOptions::new("node-1", "127.0.0.1")],
            clients: Vec::new(),
            master_token: None,
            tokens: Vec::new(),
            pretty: true,
            ui: true,
            timing: Timing::instant(),
            contract: false,
        }
    }

    /// Three servers and so many client agents, named `s1`… and `c1`….
    pub fn cluster(seed: u64, clients: usize) -> Options {
        let server = |n: usize| NodeOptions::new(&format!("s{n}"), &format!("10.0.0.{n}"));
        let client = |n: usize| {
            let address = format!("10.1.{}.{}", n / 250, n % 250 + 1);
            NodeOptions::new(&format!("c{n}"), &address)
        };
        Options {
            servers: (1..=3).map(server).collect(),
            clients: (1..=clients).map(client).collect(),
            pretty: false,
            ui: false,
            timing: Timing::default(),
            ..Options::dev(seed)
        }
    }

    /// Builds the table of tokens; rules that cannot be read grant nothing.
    pub(crate) fn token_table(&self) -> Tokens {
        let Some(master) = &self.master_token else { return Tokens::default() };
        let mut secrets: BTreeMap<Str, Authority> = BTreeMap::new();
        secrets.insert((&**master).into(), Authority::All { acl_on: true });
        for (secret, rules) in &self.tokens {
            let mut table = Rules::default();
            let _ = table.add(rules);
            secrets.insert((&**secret).into(), Authority::Some(Arc::new(table)));
        }
        Tokens { on: true, secrets: Arc::new(secrets) }
    }
}
