//! Writes to the catalog: nodes, services, checks.

use std::sync::Arc;

use super::go::lower;
use super::store::{EXTINCTION, Store};
use super::types::{CRITICAL, Check, Instance, Node, SERF_HEALTH, Service, Str};

/// A registration: a node with, at will, one service and some checks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Registration {
    pub(crate) node: Node,
    pub(crate) service: Option<Arc<Service>>,
    pub(crate) checks: Vec<Check>,
    pub(crate) skip_node_update: bool,
}

const MISSING_NODE: &str = "Missing node registration";
const MISSING_SERVICE: &str = "Missing service registration";

impl Store {
    /// Registers a node, a service, checks; all or nothing.
    pub(crate) fn register(&mut self, idx: u64, registration: &Registration) -> Result<(), String> {
        let mut changed = self.clone();
        changed.register_parts(idx, registration)?;
        *self = changed;
        Ok(())
    }

    fn register_parts(&mut self, idx: u64, registration: &Registration) -> Result<(), String> {
        let node = &registration.node;
        let changes = match self.node(&node.name) {
            None => true,
            Some(known) => !registration.skip_node_update && changes_node(known, node),
        };
        if changes {
            self.ensure_node(idx, node).map_err(|e| format!("failed inserting node: {e}"))?;
        }
        if let Some(service) = &registration.service {
            let same = self
                .instance(&node.name, &service.id)
                .is_some_and(|known| known.service == *service);
            if !same {
                self.ensure_service(idx, &node.name, service)
                    .map_err(|e| format!("failed inserting service: {e}"))?;
            }
        }
        for check in &registration.checks {
            if check.node != node.name {
                return Err(format!(
                    "check node {} does not match node {}",
                    super::go::quote(&check.node),
                    super::go::quote(&node.name)
                ));
            }
            self.ensure_check(idx, check.clone()).map_err(|e| {
                format!("failed inserting check: {e} on node {}", super::go::quote(&check.node))
            })?;
        }
        Ok(())
    }

    /// Writes a node's record.
    pub(crate) fn ensure_node(&mut self, idx: u64, node: &Node) -> Result<(), String> {
        let mut known = None;
        if !node.id.is_empty() {
            let by_id = self.nodes.values().find(|known| known.id == node.id).cloned();
            match by_id {
                Some(found) => {
                    if found.name != node.name {
                        self.refuse_similar_name(node, false).map_err(|e| {
                            format!(
                                "Error while renaming Node ID: {} ({}): {e}",
                                super::go::quote(&node.id),
                                node.address
                            )
                        })?;
                        self.delete_node(idx, &found.name);
                    }
                    known = Some(found);
                }
                None => self.refuse_similar_name(node, true).map_err(|e| {
                    format!("Error while renaming Node ID: {}: {e}", super::go::quote(&node.id))
                })?,
            }
        }
        let known = known.or_else(|| self.node(&node.name).cloned());
        let mut record = node.clone();
        match known {
            Some(known) => {
                if known.is_same(node) {
                    return Ok(());
                }
                record.create = known.create;
            }
            None => record.create = idx,
        }
        record.modify = idx;
        self.touch_node(&record.name);
        let name = record.name.clone();
        Arc::make_mut(&mut self.nodes).insert(lower(&name), Arc::new(record));
        self.set_index("nodes", idx);
        self.raise_services_of_node(idx, &name);
        Ok(())
    }

    fn refuse_similar_name(&self, node: &Node, clash_without_id: bool) -> Result<(), String> {
        let Some(other) = self.node(&node.name).filter(|other| other.id != node.id) else {
            return Ok(());
        };
        let healthy =
            self.check(&other.name, SERF_HEALTH).is_some_and(|check| &*check.status != CRITICAL);
        if healthy && !(other.id.is_empty() && clash_without_id) {
            return Err(format!(
                "Node name {} is reserved by node {} with name {} ({})",
                node.name, other.id, other.name, other.address
            ));
        }
        Ok(())
    }

    /// Removes a node with everything on it, sessions too.
    pub(crate) fn delete_node(&mut self, idx: u64, name: &str) {
        let Some(node) = self.node(name).cloned() else { return };
        let services: Vec<Arc<Instance>> = self.instances_on(name).cloned().collect();
        for instance in &services {
            self.raise_service(idx, &instance.service.name);
        }
        for instance in services {
            self.delete_service(idx, name, &instance.service.id);
        }
        let checks: Vec<Str> = self.checks_on(name).map(|check| check.id.clone()).collect();
        for check in checks {
            self.delete_check(idx, name, &check);
        }
        self.touch_node(&node.name);
        Arc::make_mut(&mut self.nodes).remove(&lower(name));
        self.set_index("nodes", idx);
        let sessions: Vec<Str> = self
            .sessions
            .values()
            .filter(|session| lower(&session.node) == lower(name))
            .map(|session| session.id.clone())
            .collect();
        for session in sessions {
            self.end_session(idx, &session);
        }
    }

    /// Writes a service of a node.
    pub(crate) fn ensure_service(
        &mut self,
        idx: u64,
        node: &str,
        service: &Arc<Service>,
    ) -> Result<(), String> {
        let known = self.instance(node, &service.id).cloned();
        if service.id.is_empty() {
            return Err("failed inserting service: object missing primary index".to_owned());
        }
        super::validate::service_meta(service).map_err(|e| {
            format!("Invalid Service Meta for node {node} and serviceID {}: {e}", service.id)
        })?;
        if self.node(node).is_none() {
            return Err(MISSING_NODE.to_owned());
        }
        let mut instance = Instance {
            node: node.into(),
            service: Arc::new(Service { weights: Some(service.weights()), ..(**service).clone() }),
            create: idx,
            modify: idx,
        };
        if let Some(known) = known {
            if known.service == instance.service && known.node == instance.node {
                return Ok(());
            }
            instance.create = known.create;
            self.touch_instance(&known);
        }
        self.touch_instance(&instance);
        let name = instance.service.name.clone();
        let place = (lower(node), lower(&service.id));
        Arc::make_mut(&mut self.services).insert(place, Arc::new(instance));
        self.raise_index("services", idx);
        self.raise_service(idx, &name);
        Ok(())
    }

    /// Removes a service of a node with its checks.
    pub(crate) fn delete_service(&mut self, idx: u64, node: &str, id: &str) {
        let Some(instance) = self.instance(node, id).cloned() else { return };
        for check in self.checks_of_instance(node, id) {
            self.delete_check(idx, node, &check.id);
        }
        self.set_index("checks", idx);
        self.touch_instance(&instance);
        Arc::make_mut(&mut self.services).remove(&(lower(node), lower(id)));
        self.raise_index("services", idx);
        let name = &instance.service.name;
        if self.instances_of(name).is_empty() {
            self.drop_index(&format!("service.{name}"));
            self.set_index(EXTINCTION, idx);
        } else {
            self.raise_service(idx, name);
        }
    }

    /// Lists the checks of one instance, by id.
    pub(crate) fn checks_of_instance(&self, node: &str, id: &str) -> Vec<Arc<Check>> {
        let id = lower(id);
        let of_service =
            |check: &&Arc<Check>| !check.service_id.is_empty() && lower(&check.service_id) == id;
        self.checks_on(node).filter(of_service).cloned().collect()
    }

    /// Writes a check; a critical one ends the sessions that depend on it.
    pub(crate) fn ensure_check(&mut self, idx: u64, mut check: Check) -> Result<(), String> {
        let known = self.check(&check.node, &check.id).cloned();
        (check.create, check.modify) = match &known {
            Some(known) => (known.create, known.modify),
            None => (idx, 0),
        };
        if check.status.is_empty() {
            check.status = CRITICAL.into();
        }
        if self.node(&check.node).is_none() {
            return Err(MISSING_NODE.to_owned());
        }
        let mut modified = true;
        if check.service_id.is_empty() {
            if known.as_ref().is_some_and(|known| known.is_same(&check)) {
                modified = false;
            } else {
                let node = check.node.clone();
                self.raise_services_of_node(idx, &node);
            }
        } else {
            let Some(instance) = self.instance(&check.node, &check.service_id).cloned() else {
                return Err(MISSING_SERVICE.to_owned());
            };
            check.service_name = instance.service.name.clone();
            check.service_tags = instance.service.tags.clone();
            if known.as_ref().is_some_and(|known| known.is_same(&check)) {
                modified = false;
            } else {
                self.raise_service(idx, &instance.service.name);
            }
        }
        if &*check.status == CRITICAL {
            self.end_sessions_of_check(idx, &check.node, &check.id);
        }
        if modified {
            check.modify = idx;
        }
        if let Some(known) = known {
            self.touch_check(&known);
        }
        self.touch_check(&check);
        let place = (lower(&check.node), lower(&check.id));
        Arc::make_mut(&mut self.checks).insert(place, Arc::new(check));
        self.set_index("checks", idx);
        Ok(())
    }

    /// Removes a check; the sessions that depend on it end.
    pub(crate) fn delete_check(&mut self, idx: u64, node: &str, id: &str) {
        let Some(check) = self.check(node, id).cloned() else { return };
        if check.service_id.is_empty() {
            self.raise_services_of_node(idx, node);
            self.raise_index("services", idx);
        } else {
            self.raise_service(idx, &check.service_name);
        }
        self.touch_check(&check);
        Arc::make_mut(&mut self.checks).remove(&(lower(node), lower(id)));
        self.set_index("checks", idx);
        self.end_sessions_of_check(idx, node, id);
    }

    fn end_sessions_of_check(&mut self, idx: u64, node: &str, check: &str) {
        let (node, check) = (lower(node), lower(check));
        let depends = |session: &&Arc<super::types::Session>| {
            lower(&session.node) == node && session.check_ids().iter().any(|id| lower(id) == check)
        };
        let ids: Vec<Str> =
            self.sessions.values().filter(depends).map(|session| session.id.clone()).collect();
        for id in ids {
            self.end_session(idx, &id);
        }
    }

    fn raise_service(&mut self, idx: u64, name: &str) {
        self.raise_index(&format!("service.{name}"), idx);
    }

    fn raise_services_of_node(&mut self, idx: u64, node: &str) {
        let names: Vec<Str> =
            self.instances_on(node).map(|instance| instance.service.name.clone()).collect();
        for name in names {
            self.raise_service(idx, &name);
        }
    }
}

/// Tells whether a registration would change a known node's record.
pub(crate) fn changes_node(known: &Node, node: &Node) -> bool {
    known.id != node.id
        || known.name != node.name
        || known.address != node.address
        || known.datacenter != node.datacenter
        || known.tagged != node.tagged
        || known.meta != node.meta
}
