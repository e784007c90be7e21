//! What Consul's tables hold, and how each record is printed.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::go;
use super::json::Writer;

/// Shared text.
pub(crate) type Str = Arc<str>;
/// A map as Go prints it: sorted by key; `None` is Go's nil.
pub(crate) type StrMap = Option<BTreeMap<Str, Str>>;

/// Status of a check that lets its service through.
pub(crate) const PASSING: &str = "passing";
/// Status of a check that is not quite well.
pub(crate) const WARNING: &str = "warning";
/// Status of a check that has failed.
pub(crate) const CRITICAL: &str = "critical";
/// The check that gossip feeds.
pub(crate) const SERF_HEALTH: &str = "serfHealth";

/// A node of the catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    pub(crate) id: Str,
    pub(crate) name: Str,
    pub(crate) address: Str,
    pub(crate) datacenter: Str,
    pub(crate) tagged: StrMap,
    pub(crate) meta: StrMap,
    pub(crate) create: u64,
    pub(crate) modify: u64,
}

/// A service's definition, as agents and the catalog share it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Service {
    pub(crate) kind: Str,
    pub(crate) id: Str,
    pub(crate) name: Str,
    pub(crate) tags: Option<Vec<Str>>,
    pub(crate) address: Str,
    pub(crate) tagged: Option<BTreeMap<Str, (Str, i64)>>,
    pub(crate) meta: StrMap,
    pub(crate) port: i64,
    pub(crate) weights: Option<(i64, i64)>,
    pub(crate) tag_override: bool,
    pub(crate) native: bool,
}

/// A service as one node offers it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Instance {
    pub(crate) node: Str,
    pub(crate) service: Arc<Service>,
    pub(crate) create: u64,
    pub(crate) modify: u64,
}

/// A health check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Check {
    pub(crate) node: Str,
    pub(crate) id: Str,
    pub(crate) name: Str,
    pub(crate) status: Str,
    pub(crate) notes: Str,
    pub(crate) output: Str,
    pub(crate) service_id: Str,
    pub(crate) service_name: Str,
    pub(crate) service_tags: Option<Vec<Str>>,
    pub(crate) kind: Str,
    /// Already printed: nobody but the reader looks inside.
    pub(crate) definition: Option<Str>,
    pub(crate) create: u64,
    pub(crate) modify: u64,
}

/// An entry of the key-value store.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Entry {
    pub(crate) lock_index: u64,
    pub(crate) key: Str,
    pub(crate) flags: u64,
    pub(crate) value: Option<Arc<[u8]>>,
    pub(crate) session: Str,
    pub(crate) create: u64,
    pub(crate) modify: u64,
}

/// What happens to the keys a dying session holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Behavior {
    #[default]
    Release,
    Delete,
}

/// A session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) id: Str,
    pub(crate) name: Str,
    pub(crate) node: Str,
    pub(crate) lock_delay: i64,
    pub(crate) behavior: Behavior,
    pub(crate) ttl: Str,
    pub(crate) node_checks: Option<Vec<Str>>,
    pub(crate) service_checks: Option<Vec<(Str, Str)>>,
    pub(crate) checks: Option<Vec<Str>>,
    pub(crate) create: u64,
    pub(crate) modify: u64,
}

impl Node {
    /// Compares all but the indexes.
    pub(crate) fn is_same(&self, other: &Node) -> bool {
        let plain = |node: &Node| Node { create: 0, modify: 0, ..node.clone() };
        plain(self) == plain(other)
    }

    pub(crate) fn print(&self, w: &mut Writer) {
        w.object(|w| {
            w.key("ID").text(&self.id);
            w.key("Node").text(&self.name);
            w.key("Address").text(&self.address);
            w.key("Datacenter").text(&self.datacenter);
            print_map(w.key("TaggedAddresses"), self.tagged.as_ref());
            print_map(w.key("Meta"), self.meta.as_ref());
            print_indexes(w, self.create, self.modify);
        });
    }
}

impl Service {
    pub(crate) fn weights(&self) -> (i64, i64) {
        self.weights.unwrap_or((1, 1))
    }
}

impl Instance {
    /// Prints it as `NodeService`; `empty_tags` turns missing tags into `[]`.
    pub(crate) fn print(&self, w: &mut Writer, empty_tags: bool) {
        let service = &self.service;
        w.object(|w| {
            if !service.kind.is_empty() {
                w.key("Kind").text(&service.kind);
            }
            w.key("ID").text(&service.id);
            w.key("Service").text(&service.name);
            print_texts(w.key("Tags"), service.tags.as_deref(), empty_tags);
            w.key("Address").text(&service.address);
            print_tagged(w, "TaggedAddresses", service);
            print_map(w.key("Meta"), service.meta.as_ref());
            w.key("Port").number(service.port);
            print_weights(w.key("Weights"), service.weights);
            w.key("EnableTagOverride").truth(service.tag_override);
            w.key("Proxy").raw(PROXY);
            print_connect(w.key("Connect"), service);
            print_indexes(w, self.create, self.modify);
        });
    }

    /// Prints it flat, with its node, as the catalog lists the instances of a service.
    pub(crate) fn print_flat(&self, w: &mut Writer, node: &Node) {
        let service = &self.service;
        w.object(|w| {
            w.key("ID").text(&node.id);
            w.key("Node").text(&self.node);
            w.key("Address").text(&node.address);
            w.key("Datacenter").text(&node.datacenter);
            print_map(w.key("TaggedAddresses"), node.tagged.as_ref());
            print_map(w.key("NodeMeta"), node.meta.as_ref());
            w.key("ServiceKind").text(&service.kind);
            w.key("ServiceID").text(&service.id);
            w.key("ServiceName").text(&service.name);
            print_texts(w.key("ServiceTags"), service.tags.as_deref(), true);
            w.key("ServiceAddress").text(&service.address);
            print_tagged(w, "ServiceTaggedAddresses", service);
            print_weights(w.key("ServiceWeights"), service.weights);
            let empty = BTreeMap::new();
            print_map(w.key("ServiceMeta"), Some(service.meta.as_ref().unwrap_or(&empty)));
            w.key("ServicePort").number(service.port);
            w.key("ServiceEnableTagOverride").truth(service.tag_override);
            w.key("ServiceProxy").raw(PROXY);
            print_connect(w.key("ServiceConnect"), service);
            print_indexes(w, self.create, self.modify);
        });
    }
}

const PROXY: &str = "{\"MeshGateway\":{},\"Expose\":{}}";

impl Check {
    /// Compares all but the kind and the indexes, as Consul does before it writes.
    pub(crate) fn is_same(&self, other: &Check) -> bool {
        let plain =
            |check: &Check| Check { kind: "".into(), create: 0, modify: 0, ..check.clone() };
        plain(self) == plain(other)
    }

    pub(crate) fn print(&self, w: &mut Writer, empty_tags: bool) {
        w.object(|w| {
            self.print_head(w, empty_tags);
            w.key("Type").text(&self.kind);
            w.key("Definition").raw(self.definition.as_deref().unwrap_or("{}"));
            print_indexes(w, self.create, self.modify);
        });
    }

    /// Prints it as the agent's own health endpoints do.
    pub(crate) fn print_api(&self, w: &mut Writer) {
        w.object(|w| {
            self.print_head(w, false);
            w.key("Type").text("");
            w.key("Definition").raw(API_DEFINITION);
            print_indexes(w, 0, 0);
        });
    }

    fn print_head(&self, w: &mut Writer, empty_tags: bool) {
        w.key("Node").text(&self.node);
        w.key("CheckID").text(&self.id);
        w.key("Name").text(&self.name);
        w.key("Status").text(&self.status);
        w.key("Notes").text(&self.notes);
        w.key("Output").text(&self.output);
        w.key("ServiceID").text(&self.service_id);
        w.key("ServiceName").text(&self.service_name);
        print_texts(w.key("ServiceTags"), self.service_tags.as_deref(), empty_tags);
    }
}

const API_DEFINITION: &str = concat!(
    "{\"Interval\":\"0s\",\"Timeout\":\"0s\",\"DeregisterCriticalServiceAfter\":\"0s\",",
    "\"HTTP\":\"\",\"Header\":null,\"Method\":\"\",\"Body\":\"\",\"TLSSkipVerify\":false,",
    "\"TCP\":\"\"}"
);

impl Entry {
    /// Compares all that counts for "nothing changed".
    pub(crate) fn is_same(&self, other: &Entry) -> bool {
        self.lock_index == other.lock_index
            && self.key == other.key
            && self.flags == other.flags
            && self.value.as_deref().unwrap_or(&[]) == other.value.as_deref().unwrap_or(&[])
            && self.session == other.session
    }

    pub(crate) fn print(&self, w: &mut Writer, with_value: bool) {
        w.object(|w| {
            w.key("LockIndex").number(self.lock_index);
            w.key("Key").text(&self.key);
            w.key("Flags").number(self.flags);
            match &self.value {
                Some(value) if with_value && !value.is_empty() => {
                    w.key("Value").text(&go::base64_encode(value))
                }
                Some(_) | None => w.key("Value").raw("null"),
            }
            if !self.session.is_empty() {
                w.key("Session").text(&self.session);
            }
            print_indexes(w, self.create, self.modify);
        });
    }
}

impl Session {
    /// Lists the checks it depends on.
    pub(crate) fn check_ids(&self) -> Vec<Str> {
        let mut ids: Vec<Str> = self.node_checks.clone().unwrap_or_default();
        ids.extend(self.service_checks.iter().flatten().map(|(id, _)| id.clone()));
        ids.extend(self.checks.iter().flatten().cloned());
        ids
    }

    pub(crate) fn print(&self, w: &mut Writer) {
        w.object(|w| {
            w.key("ID").text(&self.id);
            w.key("Name").text(&self.name);
            w.key("Node").text(&self.node);
            w.key("LockDelay").number(self.lock_delay);
            w.key("Behavior").text(match self.behavior {
                Behavior::Release => "release",
                Behavior::Delete => "delete",
            });
            w.key("TTL").text(&self.ttl);
            print_texts(w.key("NodeChecks"), self.node_checks.as_deref(), false);
            match &self.service_checks {
                None => w.key("ServiceChecks").raw("null"),
                Some(checks) => w.key("ServiceChecks").list(|w| {
                    for (id, namespace) in checks {
                        w.object(|w| {
                            w.key("ID").text(id);
                            w.key("Namespace").text(namespace);
                        });
                    }
                }),
            }
            if let Some(checks) = self.checks.as_ref().filter(|checks| !checks.is_empty()) {
                print_texts(w.key("Checks"), Some(checks), false);
            }
            print_indexes(w, self.create, self.modify);
        });
    }
}

/// Prints a map, Go's nil as `null`.
pub(crate) fn print_map(w: &mut Writer, map: Option<&BTreeMap<Str, Str>>) {
    match map {
        None => w.raw("null"),
        Some(map) => w.object(|w| {
            for (key, value) in map {
                w.key(key).text(value);
            }
        }),
    }
}

/// Prints a list of texts; a missing one as `null`, or as `[]` where Consul mends it.
pub(crate) fn print_texts(w: &mut Writer, texts: Option<&[Str]>, mended: bool) {
    match texts {
        None if !mended => w.raw("null"),
        texts => w.list(|w| {
            for text in texts.unwrap_or_default() {
                w.text(text);
            }
        }),
    }
}

/// Prints the tagged addresses, or nothing when there are none.
pub(crate) fn print_tagged(w: &mut Writer, name: &str, service: &Service) {
    let Some(tagged) = service.tagged.as_ref().filter(|tagged| !tagged.is_empty()) else {
        return;
    };
    w.key(name).object(|w| {
        for (tag, (address, port)) in tagged {
            w.key(tag).object(|w| {
                w.key("Address").text(address);
                w.key("Port").number(port);
            });
        }
    });
}

/// Prints weights, Go's nil as `null`.
pub(crate) fn print_weights(w: &mut Writer, weights: Option<(i64, i64)>) {
    match weights {
        None => w.raw("null"),
        Some((passing, warning)) => w.object(|w| {
            w.key("Passing").number(passing);
            w.key("Warning").number(warning);
        }),
    }
}

fn print_connect(w: &mut Writer, service: &Service) {
    w.object(|w| {
        if service.native {
            w.key("Native").truth(true);
        }
    });
}

fn print_indexes(w: &mut Writer, create: u64, modify: u64) {
    w.key("CreateIndex").number(create);
    w.key("ModifyIndex").number(modify);
}
