//! What is true, as an onlooker above the cluster sees it: no request, no delay.

use super::model::Consul;
use super::server::Server;
use super::types::{PASSING, Str};

/// One instance of a service, as the freshest server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Truth {
    /// The service's name.
    pub service: Str,
    /// The agent's node.
    pub node: Str,
    /// The instance's id.
    pub id: Str,
    /// Whether all its checks pass, and those of its node.
    pub is_passing: bool,
}

impl Consul {
    /// Names the state of what is known: another name whenever something was written.
    pub fn version(&self) -> (u64, u64) {
        (self.raft.term, self.freshest().map_or(0, |server| server.applied))
    }

    /// Lists every instance of every service but Consul's own.
    pub fn truths(&self) -> Vec<Truth> {
        let Some(server) = self.freshest() else { return Vec::new() };
        let store = &server.store;
        let instances = store.services.values().filter(|one| &*one.service.name != "consul");
        let truth = |one: &std::sync::Arc<super::types::Instance>| {
            let own = store.checks_of_instance(&one.node, &one.service.id);
            let mut of_node =
                store.checks_on(&one.node).filter(|check| check.service_id.is_empty());
            let is_passing = own.iter().all(|check| &*check.status == PASSING)
                && of_node.all(|check| &*check.status == PASSING);
            Truth {
                service: one.service.name.clone(),
                node: one.node.clone(),
                id: one.service.id.clone(),
                is_passing,
            }
        };
        instances.map(truth).collect()
    }

    /// Lists the keys that a session holds.
    pub fn held_keys(&self) -> Vec<Str> {
        let Some(server) = self.freshest() else { return Vec::new() };
        let held = server.store.keys.values().filter(|entry| !entry.session.is_empty());
        held.map(|entry| entry.key.clone()).collect()
    }

    /// Lists the names of all sessions.
    pub fn session_names(&self) -> Vec<Str> {
        let Some(server) = self.freshest() else { return Vec::new() };
        server.store.sessions.values().map(|session| session.name.clone()).collect()
    }

    /// The server that knows most; the leader when several do.
    fn freshest(&self) -> Option<&Server> {
        self.servers.iter().max_by_key(|server| server.applied)
    }
}
