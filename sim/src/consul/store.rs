//! One server's tables, and the watch channels on them.
//!
//! Consul keeps each table in radix trees and wakes a blocked query when the tree node it stood on
//! is written. Which writes wake which query therefore follows from the shape of the tree;
//! [`Watch`] reproduces that, spurious wakes included.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::acl::Tokens;
use super::go::lower;
use super::kept::Kept;
use super::types::{Check, Entry, Instance, Node, Session, Str};

/// One radix tree: a table by one of its indexes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Tree {
    Nodes,
    ServicesById,
    ServicesByNode,
    ServicesByName,
    ChecksById,
    ChecksByStatus,
    ChecksByService,
    ChecksByNode,
    ChecksByNodeService,
    NodeChecks,
    Keys,
    Sessions,
    SessionsByNode,
    Index,
}

/// A write to one place of one tree.
pub(crate) type Touch = (Tree, Vec<u8>);

/// A place of one tree that somebody waits on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Watch {
    tree: Tree,
    path: Vec<u8>,
    exact: bool,
}

impl Watch {
    /// Tells whether a write there wakes the one who waits here.
    pub(crate) fn is_woken_by(&self, touch: &Touch) -> bool {
        self.tree == touch.0
            && if self.exact { touch.1 == self.path } else { touch.1.starts_with(&self.path) }
    }
}

/// The tables of one server.
///
/// Cloning shares them; a later write copies only the table it changes.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Store {
    pub(crate) nodes: Arc<BTreeMap<String, Arc<Node>>>,
    pub(crate) services: Arc<BTreeMap<(String, String), Arc<Instance>>>,
    pub(crate) checks: Arc<BTreeMap<(String, String), Arc<Check>>>,
    pub(crate) keys: Arc<BTreeMap<Str, Arc<Entry>>>,
    pub(crate) tombstones: Arc<BTreeMap<Str, u64>>,
    pub(crate) sessions: Arc<BTreeMap<Str, Arc<Session>>>,
    pub(crate) index: Arc<BTreeMap<String, u64>>,
    pub(crate) tokens: Tokens,
    pub(crate) kept: Kept,
    /// What the last write touched.
    pub(crate) touched: Vec<Touch>,
    /// Keys the last write barred, with the lock delay in nanoseconds.
    pub(crate) barred: Vec<(Str, i64)>,
    /// Sessions the last write ended.
    pub(crate) ended: Vec<Str>,
}

/// Name of the index that says when some service last lost its last instance.
pub(crate) const EXTINCTION: &str = "service_last_extinction";

impl Store {
    pub(crate) fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.nodes.get(&lower(name))
    }

    pub(crate) fn instance(&self, node: &str, id: &str) -> Option<&Arc<Instance>> {
        self.services.get(&(lower(node), lower(id)))
    }

    pub(crate) fn check(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        self.checks.get(&(lower(node), lower(id)))
    }

    /// Lists the instances of a service, by node, then id.
    pub(crate) fn instances_of(&self, name: &str) -> Vec<Arc<Instance>> {
        let name = lower(name);
        let of_name = |found: &&Arc<Instance>| lower(&found.service.name) == name;
        self.services.values().filter(of_name).cloned().collect()
    }

    /// Lists the services of a node, by id.
    pub(crate) fn instances_on(&self, node: &str) -> impl Iterator<Item = &Arc<Instance>> {
        let node = lower(node);
        self.services
            .range((node.clone(), String::new())..)
            .take_while(move |((at, _), _)| *at == node)
            .map(|(_, instance)| instance)
    }

    /// Lists the checks of a node, by id.
    pub(crate) fn checks_on(&self, node: &str) -> impl Iterator<Item = &Arc<Check>> {
        let node = lower(node);
        self.checks
            .range((node.clone(), String::new())..)
            .take_while(move |((at, _), _)| *at == node)
            .map(|(_, check)| check)
    }

    /// Returns the highest of these indexes.
    pub(crate) fn max_index(&self, names: &[&str]) -> u64 {
        names.iter().filter_map(|name| self.index.get(*name)).max().copied().unwrap_or(0)
    }

    /// Returns one index, when it exists.
    pub(crate) fn index_of(&self, name: &str) -> Option<u64> {
        self.index.get(&lower(name)).copied()
    }

    /// Sets an index, downwards too.
    pub(crate) fn set_index(&mut self, name: &str, value: u64) {
        let name = lower(name);
        self.touch(Tree::Index, &[&name]);
        Arc::make_mut(&mut self.index).insert(name, value);
    }

    /// Raises an index.
    pub(crate) fn raise_index(&mut self, name: &str, value: u64) {
        if self.index_of(name).is_none_or(|current| value > current) {
            self.set_index(name, value);
        }
    }

    /// Forgets an index.
    pub(crate) fn drop_index(&mut self, name: &str) {
        let name = lower(name);
        if Arc::make_mut(&mut self.index).remove(&name).is_some() {
            self.touch(Tree::Index, &[&name]);
        }
    }

    /// Notes a write.
    pub(crate) fn touch(&mut self, tree: Tree, path: &[&str]) {
        self.touched.push((tree, joined(path)));
    }

    /// Notes that a node's record was written.
    pub(crate) fn touch_node(&mut self, name: &str) {
        self.touch(Tree::Nodes, &[&lower(name)]);
    }

    /// Notes that an instance was written or removed.
    pub(crate) fn touch_instance(&mut self, instance: &Instance) {
        let (node, id) = (lower(&instance.node), lower(&instance.service.id));
        let name = lower(&instance.service.name);
        self.touch(Tree::ServicesById, &[&node, &id]);
        self.touch(Tree::ServicesByNode, &[&node, &node, &id]);
        self.touch(Tree::ServicesByName, &[&name, &node, &id]);
    }

    /// Notes that a check was written or removed.
    pub(crate) fn touch_check(&mut self, check: &Check) {
        for (tree, path) in check_paths(check) {
            self.touched.push((tree, path));
        }
    }

    /// Notes that a session was written or removed.
    pub(crate) fn touch_session(&mut self, session: &Session) {
        self.touch(Tree::Sessions, &[&session.id]);
        self.touch(Tree::SessionsByNode, &[&lower(&session.node), &session.id]);
    }

    /// Watches one record, or the place where it would be.
    pub(crate) fn watch_record(&self, tree: Tree, path: &[&str]) -> Watch {
        let wanted = joined(path);
        let keys = self.tree_keys(tree);
        if keys.contains(&wanted) {
            return Watch { tree, path: wanted, exact: true };
        }
        Watch { tree, path: standing_place(&keys, &wanted), exact: false }
    }

    /// Watches everything below a complete path.
    pub(crate) fn watch_below(&self, tree: Tree, path: &[&str]) -> Watch {
        let wanted = joined(path);
        Watch { tree, path: standing_place(&self.tree_keys(tree), &wanted), exact: false }
    }

    /// Watches a key prefix, which is not a complete path.
    pub(crate) fn watch_prefix(&self, prefix: &str) -> Watch {
        let keys = self.tree_keys(Tree::Keys);
        Watch { tree: Tree::Keys, path: standing_place(&keys, prefix.as_bytes()), exact: false }
    }

    /// Watches a whole tree.
    pub(crate) fn watch_all(&self, tree: Tree) -> Watch {
        Watch { tree, path: Vec::new(), exact: false }
    }

    fn tree_keys(&self, tree: Tree) -> Vec<Vec<u8>> {
        let services = || {
            self.services.values().map(|instance| {
                let service = &instance.service;
                (lower(&instance.node), lower(&service.id), lower(&service.name))
            })
        };
        let checks = || {
            self.checks
                .values()
                .flat_map(|check| check_paths(check))
                .filter(move |(at, _)| *at == tree)
                .map(|(_, path)| path)
        };
        let mut keys: Vec<Vec<u8>> = match tree {
            Tree::Nodes => self.nodes.keys().map(|name| joined(&[name])).collect(),
            Tree::ServicesById => services().map(|(node, id, _)| joined(&[&node, &id])).collect(),
            Tree::ServicesByNode => {
                services().map(|(node, id, _)| joined(&[&node, &node, &id])).collect()
            }
            Tree::ServicesByName => {
                services().map(|(node, id, name)| joined(&[&name, &node, &id])).collect()
            }
            Tree::ChecksById
            | Tree::ChecksByStatus
            | Tree::ChecksByService
            | Tree::ChecksByNode
            | Tree::ChecksByNodeService
            | Tree::NodeChecks => checks().collect(),
            Tree::Keys => self.keys.keys().map(|key| joined(&[key])).collect(),
            Tree::Sessions => self.sessions.keys().map(|id| joined(&[id])).collect(),
            Tree::SessionsByNode => {
                let path = |session: &Arc<Session>| joined(&[&lower(&session.node), &session.id]);
                self.sessions.values().map(path).collect()
            }
            Tree::Index => self.index.keys().map(|name| joined(&[name])).collect(),
        };
        keys.sort();
        keys
    }
}

fn check_paths(check: &Check) -> Vec<Touch> {
    let (node, id) = (lower(&check.node), lower(&check.id));
    let service = lower(&check.service_name);
    let service_id = lower(&check.service_id);
    let mut paths = vec![
        (Tree::ChecksById, joined(&[&node, &id])),
        (Tree::ChecksByStatus, joined(&[&check.status, &node, &id])),
        (Tree::ChecksByNode, joined(&[&node, &node, &id])),
    ];
    if service.is_empty() {
        paths.push((Tree::ChecksByService, joined(&["", &node, &id])));
    } else {
        paths.push((Tree::ChecksByService, joined(&[&service, &node, &id])));
    }
    if service_id.is_empty() {
        paths.push((Tree::NodeChecks, joined(&[&node, &node, &id])));
    } else {
        paths.push((Tree::ChecksByNodeService, joined(&[&node, &service_id, &node, &id])));
    }
    paths
}

/// Joins the parts of a path, each ended by a zero byte, as the tables' indexes do.
fn joined(parts: &[&str]) -> Vec<u8> {
    let mut path = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        path.extend_from_slice(part.as_bytes());
        path.push(0);
    }
    path
}

/// Finds where a search for `wanted` ends in the radix tree of these sorted keys: writes below the
/// returned path replace the tree node the search stood on.
fn standing_place(keys: &[Vec<u8>], wanted: &[u8]) -> Vec<u8> {
    let mut stood = 0;
    let mut watched = 0;
    while stood < wanted.len() {
        let edge = &wanted[..=stood];
        let first = keys.partition_point(|key| key.as_slice() < edge);
        let below = &keys[first..];
        let count = below.iter().take_while(|key| key.starts_with(edge)).count();
        let Some(below) = below.get(..count).filter(|below| !below.is_empty()) else {
            break;
        };
        watched = stood + 1;
        let (low, high) = (&below[0], &below[count - 1]);
        let end = low.iter().zip(high).take_while(|(a, b)| a == b).count();
        if end >= wanted.len() || low[..end] != wanted[..end] {
            break;
        }
        stood = end;
        watched = end;
    }
    wanted[..watched.min(wanted.len())].to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(keys: &[&str], wanted: &str) -> String {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| joined(&[key])).collect();
        String::from_utf8(standing_place(&keys, &joined(&[wanted]))).unwrap()
    }

    #[test]
    fn a_missing_key_is_watched_where_the_search_ended() {
        assert_eq!(place(&[], "a"), "");
        assert_eq!(place(&["x"], "a"), "");
        assert_eq!(place(&["app/a", "x"], "app/b"), "a");
        assert_eq!(place(&["app/a", "app/b", "x"], "app/c"), "app/");
        assert_eq!(place(&["app/a", "app/b"], "b"), "");
    }
}
