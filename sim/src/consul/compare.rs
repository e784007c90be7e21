//! Anti-entropy: an agent compares itself with the catalog and marks what differs.

use super::acl::{Authority, Resource};
use super::local::{Local, LocalCheck, LocalService};
use super::store::Store;
use super::types::{Check, Node, SERF_HEALTH, Service, Str};

impl Local {
    /// Marks what the catalog lacks, has in excess, or has differently.
    pub(crate) fn compare(&mut self, store: &Store, record: &Node, authority: &Authority) {
        let visible = authority.may_read(Resource::Node, &self.node);
        let known = store.node(&self.node).filter(|_| visible);
        let same = known.is_some_and(|known| {
            known.id == record.id && known.tagged == record.tagged && known.meta == record.meta
        });
        if !same {
            self.node_in_sync = false;
        }
        self.compare_services(store, authority, visible);
        self.compare_checks(store, authority, visible);
    }

    fn compare_services(&mut self, store: &Store, authority: &Authority, visible: bool) {
        let node = self.node.clone();
        for (id, known) in &mut self.services {
            let listed = visible
                && store.instance(&node, id).is_some_and(|remote| {
                    authority.may_read(Resource::Service, &remote.service.name)
                });
            if !listed {
                known.in_sync = false;
            }
        }
        if !visible {
            return;
        }
        let remotes: Vec<_> = store.instances_on(&node).cloned().collect();
        for remote in remotes {
            let id = remote.service.id.clone();
            if !authority.may_read(Resource::Service, &remote.service.name) {
                continue;
            }
            match self.services.get_mut(&id) {
                None if &*id == "consul" => {}
                None => {
                    let foreign = LocalService {
                        service: std::sync::Arc::new(Service::default()),
                        token: "".into(),
                        in_sync: false,
                        deleted: true,
                    };
                    self.services.insert(id, foreign);
                }
                Some(known) if known.deleted => {}
                Some(known) => {
                    if known.service.tag_override {
                        let tags = Some(remote.service.tags.clone().unwrap_or_default());
                        known.service =
                            std::sync::Arc::new(Service { tags, ..(*known.service).clone() });
                    }
                    known.in_sync = is_same(&known.service, &remote.service);
                }
            }
        }
    }

    fn compare_checks(&mut self, store: &Store, authority: &Authority, visible: bool) {
        let node = self.node.clone();
        let may_see = |check: &Check| {
            visible
                && (check.service_name.is_empty()
                    || authority.may_read(Resource::Service, &check.service_name))
        };
        for (id, known) in &mut self.checks {
            if !store.check(&node, id).is_some_and(|remote| may_see(remote)) {
                known.in_sync = false;
            }
        }
        let remotes: Vec<_> =
            store.checks_on(&node).filter(|remote| may_see(remote)).cloned().collect();
        for remote in remotes {
            let id: Str = remote.id.clone();
            match self.checks.get_mut(&id) {
                None if &*id == SERF_HEALTH => {}
                None => {
                    let check = Check { id: id.clone(), ..Check::default() };
                    let foreign = LocalCheck { check, deleted: true, ..LocalCheck::default() };
                    self.checks.insert(id, foreign);
                }
                Some(known) if known.deleted => {}
                Some(known) => {
                    let mut own = known.check.clone();
                    let mut other = (*remote).clone();
                    if known.send_at.is_some() {
                        own.output = "".into();
                        other.output = "".into();
                    }
                    known.in_sync = own.is_same(&other);
                }
            }
        }
    }
}

/// Compares definitions; an empty list is as good as none.
fn is_same(own: &Service, remote: &Service) -> bool {
    let plain = |service: &Service| Service {
        tags: Some(service.tags.clone().unwrap_or_default()),
        meta: Some(service.meta.clone().unwrap_or_default()),
        tagged: Some(service.tagged.clone().unwrap_or_default()),
        weights: Some(service.weights()),
        ..service.clone()
    };
    plain(own) == plain(remote)
}
