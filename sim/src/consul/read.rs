//! Reads that servers answer: each runs on one server's tables and says what it depends on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use super::acl::{Authority, DENIED, Resource};
use super::filter::Filter;
use super::go::lower;
use super::json::Writer;
use super::store::{EXTINCTION, Store, Tree, Watch};
use super::types::{Check, Instance, Node, PASSING, Session, Str};

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Query {
    Key { key: Str },
    Entries { prefix: Str },
    Keys { prefix: Str, separator: Str },
    Session { id: Str },
    Sessions,
    SessionsOf { node: Str },
    Nodes,
    Services,
    Instances { service: Str, tags: Option<Vec<Str>> },
    NodeServices { node: Str },
    NodeServiceList { node: Str },
    Health { service: Str, tags: Option<Vec<Str>>, passing: bool },
    ServiceChecks { service: Str },
    NodeChecks { node: Str },
    ChecksInState { state: Str },
}

/// A read with what narrows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Read {
    pub(crate) query: Query,
    pub(crate) node_meta: BTreeMap<Str, Str>,
    pub(crate) filter: Str,
    /// Print the bare value of a key.
    pub(crate) raw: bool,
}

/// What a read yields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Found {
    /// Compact JSON.
    Json(Str),
    /// The bytes of a value.
    Raw(Arc<[u8]>),
    /// 404.
    Missing,
}

/// A read's answer with its index, at least 1.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Answer {
    pub(crate) index: u64,
    pub(crate) found: Found,
}

struct Reader<'a> {
    store: &'a Store,
    authority: &'a Authority,
    watches: Vec<Watch>,
}

impl Read {
    /// Runs on one server's tables; also says which writes could change the answer.
    pub(crate) fn run(
        &self,
        store: &Store,
        authority: &Authority,
    ) -> Result<(Answer, Vec<Watch>), String> {
        let mut reader = Reader { store, authority, watches: Vec::new() };
        let (index, found) = reader.run(self)?;
        Ok((Answer { index: index.max(1), found }, reader.watches))
    }
}

impl Reader<'_> {
    fn run(&mut self, read: &Read) -> Result<(u64, Found), String> {
        match &read.query {
            Query::Key { key } => self.key(key, read.raw),
            Query::Entries { prefix } => Ok(self.entries(prefix)),
            Query::Keys { prefix, separator } => Ok(self.keys(prefix, separator)),
            Query::Session { id } => self.session(id),
            Query::Sessions => Ok(self.sessions(None)),
            Query::SessionsOf { node } => Ok(self.sessions(Some(node))),
            Query::Nodes => self.nodes(read),
            Query::Services => Ok(self.services(read)),
            Query::Instances { service, tags } => self.instances(read, service, tags.as_deref()),
            Query::NodeServices { node } => self.node_services(read, node),
            Query::NodeServiceList { node } => self.node_service_list(read, node),
            Query::Health { service, tags, passing } => {
                self.health(read, service, tags.as_deref(), *passing)
            }
            Query::ServiceChecks { service } => {
                self.watches
                    .push(self.store.watch_below(Tree::ChecksByService, &[&lower(service)]));
                let service = lower(service);
                let index = if read.node_meta.is_empty() {
                    self.store.max_index(&["checks"])
                } else {
                    self.service_index(&service, true, true)
                };
                self.checks(read, index, |check| lower(&check.service_name) == service)
            }
            Query::NodeChecks { node } => {
                self.watches.push(self.store.watch_below(Tree::ChecksByNode, &[&lower(node)]));
                let node = lower(node);
                let index = self.store.max_index(&["checks"]);
                self.checks(read, index, |check| lower(&check.node) == node)
            }
            Query::ChecksInState { state } => {
                self.watches.push(if &**state == "any" {
                    self.store.watch_all(Tree::ChecksById)
                } else {
                    self.store.watch_below(Tree::ChecksByStatus, &[state])
                });
                let index = self.store.max_index(&["checks"]);
                self.checks(read, index, |check| &**state == "any" || check.status == *state)
            }
        }
    }

    fn key(&mut self, key: &Str, raw: bool) -> Result<(u64, Found), String> {
        self.watches.push(self.store.watch_record(Tree::Keys, &[key]));
        if !self.authority.may_read(Resource::Key, key) {
            return Err(DENIED.to_owned());
        }
        let Some(entry) = self.store.keys.get(key) else {
            return Ok((self.store.max_index(&["kvs", "tombstones"]), Found::Missing));
        };
        let found = if raw {
            Found::Raw(entry.value.clone().unwrap_or_else(|| Arc::new([])))
        } else {
            print(|w| w.list(|w| entry.print(w, true)))
        };
        Ok((entry.modify, found))
    }

    fn prefix_index(&mut self, prefix: &str) -> u64 {
        self.watches.push(self.store.watch_prefix(prefix));
        let whole = self.store.max_index(&["kvs", "tombstones"]);
        if prefix.is_empty() {
            return whole;
        }
        let newest = self.store.entries_under(prefix).map(|entry| entry.modify).max();
        let buried = self
            .store
            .tombstones
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, index)| *index)
            .max();
        newest.max(buried).unwrap_or(whole)
    }

    fn entries(&mut self, prefix: &str) -> (u64, Found) {
        let index = self.prefix_index(prefix);
        let readable: Vec<_> = self
            .store
            .entries_under(prefix)
            .filter(|entry| self.authority.may_read(Resource::Key, &entry.key))
            .collect();
        if readable.is_empty() {
            return (index, Found::Missing);
        }
        let found = print(|w| w.list(|w| readable.iter().for_each(|entry| entry.print(w, true))));
        (index, found)
    }

    fn keys(&mut self, prefix: &str, separator: &str) -> (u64, Found) {
        let index = self.prefix_index(prefix);
        let mut names: Vec<&str> = Vec::new();
        let mut seen = BTreeSet::new();
        for entry in self.store.entries_under(prefix) {
            let key: &str = &entry.key;
            if !self.authority.may_read(Resource::Key, key) {
                continue;
            }
            let cut = match key[prefix.len()..].find(separator) {
                Some(at) if !separator.is_empty() => &key[..prefix.len() + at + separator.len()],
                _ => {
                    names.push(key);
                    continue;
                }
            };
            if seen.insert(cut) {
                names.push(cut);
            }
        }
        if names.is_empty() && !prefix.is_empty() {
            return (index, Found::Missing);
        }
        (index, print(|w| w.list(|w| names.iter().for_each(|name| w.text(name)))))
    }

    fn session(&mut self, id: &str) -> Result<(u64, Found), String> {
        let index = self.store.max_index(&["sessions"]);
        let session = self.store.session(id)?;
        self.watches.push(self.store.watch_record(Tree::Sessions, &[&id.to_ascii_lowercase()]));
        Ok((index, self.print_sessions(session.into_iter())))
    }

    fn sessions(&mut self, node: Option<&str>) -> (u64, Found) {
        let index = self.store.max_index(&["sessions"]);
        let node = node.map(lower);
        self.watches.push(match &node {
            None => self.store.watch_all(Tree::Sessions),
            Some(node) => self.store.watch_below(Tree::SessionsByNode, &[node]),
        });
        let wanted = |session: &&Arc<Session>| {
            node.as_ref().is_none_or(|node| lower(&session.node) == *node)
        };
        (index, self.print_sessions(self.store.sessions.values().filter(wanted)))
    }

    fn print_sessions<'a>(&self, sessions: impl Iterator<Item = &'a Arc<Session>>) -> Found {
        print(|w| {
            w.list(|w| {
                sessions
                    .filter(|session| self.authority.may_read(Resource::Session, &session.node))
                    .for_each(|session| session.print(w));
            });
        })
    }

    fn nodes(&mut self, read: &Read) -> Result<(u64, Found), String> {
        let filter = Filter::parse(&read.filter, &Filter::NODE)?;
        self.watches.push(self.store.watch_all(Tree::Nodes));
        let mut printed = Vec::new();
        for node in self.store.nodes.values() {
            let wanted = has_meta(node, &read.node_meta)
                && self.authority.may_read(Resource::Node, &node.name);
            if wanted {
                printed.push(Writer::compact(|w| node.print(w)));
            }
        }
        Ok((self.store.max_index(&["nodes"]), list_of(printed, &filter)))
    }

    fn services(&mut self, read: &Read) -> (u64, Found) {
        self.watches.push(self.store.watch_all(Tree::ServicesById));
        let mut index = self.store.max_index(&["services"]);
        if !read.node_meta.is_empty() {
            self.watches.push(self.store.watch_all(Tree::Nodes));
            index = index.max(self.store.max_index(&["nodes"]));
        }
        let mut names: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for instance in self.store.services.values() {
            let service = &instance.service;
            let node = self.store.node(&instance.node);
            let wanted = node.is_some_and(|node| has_meta(node, &read.node_meta))
                && self.authority.may_read(Resource::Service, &service.name);
            if wanted {
                let tags = names.entry(&service.name).or_default();
                tags.extend(service.tags.iter().flatten().map(|tag| &**tag));
            }
        }
        let found = print(|w| {
            w.object(|w| {
                for (name, tags) in &names {
                    w.key(name).list(|w| tags.iter().for_each(|tag| w.text(tag)));
                }
            });
        });
        (index, found)
    }

    /// Returns the index of a service: its own, or of the last disappearance, or of the whole
    /// catalog.
    fn service_index(&self, name: &str, exists: bool, with_checks: bool) -> u64 {
        let own = || self.store.index_of(&format!("service.{name}"));
        let gone = if exists { None } else { self.store.index_of(EXTINCTION) };
        gone.or_else(own).unwrap_or_else(|| {
            self.store.max_index(if with_checks {
                &["nodes", "services", "checks"]
            } else {
                &["nodes", "services"]
            })
        })
    }

    fn may_see(&self, instance: &Instance) -> bool {
        self.authority.may_read(Resource::Node, &instance.node)
            && self.authority.may_read(Resource::Service, &instance.service.name)
    }

    fn instances(
        &mut self,
        read: &Read,
        service: &str,
        tags: Option<&[Str]>,
    ) -> Result<(u64, Found), String> {
        let filter = Filter::parse(&read.filter, &Filter::FLAT)?;
        let instances = self.store.instances_of(service);
        self.watches.push(self.store.watch_below(Tree::ServicesByName, &[&lower(service)]));
        let index = self.service_index(service, !instances.is_empty(), false);
        let mut printed = Vec::new();
        for instance in instances.iter().filter(|instance| has_tags(instance, tags)) {
            self.watches.push(self.store.watch_record(Tree::Nodes, &[&lower(&instance.node)]));
            let Some(node) = self.store.node(&instance.node) else { continue };
            if has_meta(node, &read.node_meta) && self.may_see(instance) {
                printed.push(Writer::compact(|w| instance.print_flat(w, node)));
            }
        }
        Ok((index, list_of(printed, &filter)))
    }

    fn node_by_name_or_id(&mut self, name: &str) -> Option<Arc<Node>> {
        self.watches.push(self.store.watch_record(Tree::Nodes, &[&lower(name)]));
        if let Some(node) = self.store.node(name) {
            return Some(node.clone());
        }
        if name.len() < 2 {
            return None;
        }
        let even = &name[..name.len() - name.len() % 2];
        let mut by_id = self.store.nodes.values().filter(|node| node.id.starts_with(&lower(even)));
        by_id.next().filter(|_| by_id.next().is_none()).cloned()
    }

    fn node_services(&mut self, read: &Read, name: &str) -> Result<(u64, Found), String> {
        let filter = Filter::parse(&read.filter, &Filter::SERVICE)?;
        let Some(node) = self.node_by_name_or_id(name) else {
            return Ok((0, Found::Json("null".into())));
        };
        self.watches.push(self.store.watch_below(Tree::ServicesByNode, &[&lower(&node.name)]));
        let index = self.store.max_index(&["nodes", "services"]);
        if !self.authority.may_read(Resource::Node, &node.name) {
            return Ok((index, Found::Json("null".into())));
        }
        let mut services: BTreeMap<Str, String> = BTreeMap::new();
        for instance in self.store.instances_on(&node.name) {
            if self.authority.may_read(Resource::Service, &instance.service.id) {
                let printed = Writer::compact(|w| instance.print(w, true));
                if filter.matches(&printed) {
                    services.insert(instance.service.id.clone(), printed);
                }
            }
        }
        let found = print(|w| {
            w.object(|w| {
                node.print(w.key("Node"));
                w.key("Services").object(|w| {
                    for (id, printed) in &services {
                        w.key(id).raw(printed);
                    }
                });
            });
        });
        Ok((index, found))
    }

    fn node_service_list(&mut self, read: &Read, name: &str) -> Result<(u64, Found), String> {
        let filter = Filter::parse(&read.filter, &Filter::SERVICE)?;
        let nothing = || Found::Json("{\"Node\":null,\"Services\":null}".into());
        let Some(node) = self.node_by_name_or_id(name) else { return Ok((0, nothing())) };
        self.watches.push(self.store.watch_below(Tree::ServicesByNode, &[&lower(&node.name)]));
        let index = self.store.max_index(&["nodes", "services"]);
        if !self.authority.may_read(Resource::Node, &node.name) {
            return Ok((index, nothing()));
        }
        let visible: Vec<String> = self
            .store
            .instances_on(&node.name)
            .filter(|instance| self.authority.may_read(Resource::Service, &instance.service.name))
            .map(|instance| Writer::compact(|w| instance.print(w, true)))
            .filter(|printed| filter.matches(printed))
            .collect();
        let found = print(|w| {
            w.object(|w| {
                node.print(w.key("Node"));
                w.key("Services").list(|w| visible.iter().for_each(|service| w.raw(service)));
            });
        });
        Ok((index, found))
    }

    fn health(
        &mut self,
        read: &Read,
        service: &str,
        tags: Option<&[Str]>,
        passing: bool,
    ) -> Result<(u64, Found), String> {
        let filter = Filter::parse(&read.filter, &Filter::HEALTH)?;
        let instances = self.store.instances_of(service);
        let mut index = 0;
        if instances.is_empty() || tags.is_some() {
            index = self.service_index(service, !instances.is_empty(), true);
            self.watches.push(self.store.watch_below(Tree::ServicesByName, &[&lower(service)]));
        } else {
            for name in instances.iter().map(|i| &i.service.name).collect::<BTreeSet<_>>() {
                index = index.max(self.service_index(name, true, true));
                let name = lower(&format!("service.{name}"));
                self.watches.push(self.store.watch_record(Tree::Index, &[&name]));
            }
        }
        let mut rows = Vec::new();
        for instance in instances.iter().filter(|instance| has_tags(instance, tags)) {
            let Some(node) = self.store.node(&instance.node) else { continue };
            let checks = self.checks_of(instance, tags.is_some());
            if has_meta(node, &read.node_meta) && self.may_see(instance) {
                let printed = Writer::compact(|w| print_row(w, node, instance, &checks));
                let is_passing = checks.iter().all(|check| &*check.status == PASSING);
                rows.push((is_passing, printed));
            }
        }
        rows.retain(|(_, printed)| filter.matches(printed));
        if passing {
            keep_passing(&mut rows);
        }
        let found = print(|w| w.list(|w| rows.iter().for_each(|(_, row)| w.raw(row))));
        Ok((index, found))
    }

    /// Lists the checks that count for an instance: its node's first, then its own.
    fn checks_of(&mut self, instance: &Instance, watched: bool) -> Vec<Arc<Check>> {
        let (node, id) = (&instance.node, &instance.service.id);
        if watched {
            let node = lower(node);
            self.watches.push(self.store.watch_record(Tree::Nodes, &[&node]));
            self.watches.push(self.store.watch_below(Tree::NodeChecks, &[&node]));
            let path = [&*node, &*lower(id)];
            self.watches.push(self.store.watch_below(Tree::ChecksByNodeService, &path));
        }
        let of_node = self.store.checks_on(node).filter(|check| check.service_id.is_empty());
        let mut checks: Vec<Arc<Check>> = of_node.cloned().collect();
        checks.extend(self.store.checks_of_instance(node, id));
        checks
    }

    fn checks(
        &mut self,
        read: &Read,
        index: u64,
        wanted: impl Fn(&Check) -> bool,
    ) -> Result<(u64, Found), String> {
        let filter = Filter::parse(&read.filter, &Filter::CHECK)?;
        let mut printed = Vec::new();
        for check in self.store.checks.values().filter(|check| wanted(check)) {
            let node = self.store.node(&check.node);
            let visible = node.is_some_and(|node| has_meta(node, &read.node_meta))
                && self.authority.may_read(Resource::Node, &check.node)
                && (check.service_name.is_empty()
                    || self.authority.may_read(Resource::Service, &check.service_name));
            if visible {
                printed.push(Writer::compact(|w| check.print(w, true)));
            }
        }
        Ok((index, list_of(printed, &filter)))
    }
}

fn print_row(w: &mut Writer, node: &Node, instance: &Instance, checks: &[Arc<Check>]) {
    w.object(|w| {
        node.print(w.key("Node"));
        instance.print(w.key("Service"), true);
        w.key("Checks").list(|w| checks.iter().for_each(|check| check.print(w, true)));
    });
}

/// Drops what is not passing in Consul's own way: the last one takes the dropped one's place.
fn keep_passing(rows: &mut Vec<(bool, String)>) {
    let mut at = 0;
    while at < rows.len() {
        if rows[at].0 {
            at += 1;
        } else {
            rows.swap_remove(at);
        }
    }
}

fn has_tags(instance: &Instance, tags: Option<&[Str]>) -> bool {
    let own: Vec<String> = instance.service.tags.iter().flatten().map(|tag| lower(tag)).collect();
    tags.unwrap_or_default().iter().all(|tag| own.contains(&lower(tag)))
}

fn has_meta(node: &Node, wanted: &BTreeMap<Str, Str>) -> bool {
    wanted.iter().all(|(key, value)| {
        node.meta.as_ref().and_then(|meta| meta.get(key)).is_some_and(|found| found == value)
    })
}

fn list_of(mut printed: Vec<String>, filter: &Filter) -> Found {
    printed.retain(|item| filter.matches(item));
    print(|w| w.list(|w| printed.iter().for_each(|item| w.raw(item))))
}

fn print(body: impl FnOnce(&mut Writer)) -> Found {
    Found::Json(Writer::compact(body).into())
}
