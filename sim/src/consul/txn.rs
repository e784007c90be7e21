//! The replicated log's commands, transactions among them, and what applying them yields.

use std::sync::Arc;

use super::acl::{Authority, Resource, Tokens};
use super::catalog::Registration;
use super::go::quote;
use super::json::Writer;
use super::store::Store;
use super::types::{Check, Entry, Instance, Node, Session, Str};

/// What to do with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum KvVerb {
    Set,
    Delete,
    DeleteCas,
    DeleteTree,
    Cas,
    Lock,
    Unlock,
    Get,
    GetTree,
    CheckSession,
    CheckIndex,
    CheckNotExists,
}

/// What to do with a record of the catalog inside a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RecordVerb {
    Get,
    Set,
    Cas,
    Delete,
    DeleteCas,
}

/// One step of a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Operation {
    Kv {
        verb: KvVerb,
        entry: Entry,
    },
    Node {
        verb: RecordVerb,
        node: Node,
    },
    Service {
        verb: RecordVerb,
        instance: Instance,
    },
    Check {
        verb: RecordVerb,
        check: Check,
    },
    /// A verb nobody knows, with the error it earns.
    Unknown {
        error: Str,
        writes: bool,
    },
}

/// One entry of the replicated log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Command {
    Register(Registration),
    Deregister {
        node: Str,
        service: Str,
        check: Str,
    },
    Kv {
        verb: KvVerb,
        entry: Entry,
    },
    CreateSession(Session),
    EndSession {
        id: Str,
    },
    Txn(Vec<Operation>),
    ReapTombstones {
        upto: u64,
    },
    SetTokens(Tokens),
    /// What a new leader writes first.
    Noop,
}

/// A result of a transaction's step, with the key one must be allowed to read to see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Row {
    key: Option<Str>,
    printed: String,
}

/// What applying a command yields.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    Done,
    Truth(bool),
    Rows(Vec<Row>),
    /// A transaction failed at these steps.
    Conflicts(Vec<(usize, String)>),
    Failed(String),
}

impl KvVerb {
    pub(crate) fn parse(name: &str) -> Option<KvVerb> {
        Some(match name {
            "set" => KvVerb::Set,
            "delete" => KvVerb::Delete,
            "delete-cas" => KvVerb::DeleteCas,
            "delete-tree" => KvVerb::DeleteTree,
            "cas" => KvVerb::Cas,
            "lock" => KvVerb::Lock,
            "unlock" => KvVerb::Unlock,
            "get" => KvVerb::Get,
            "get-tree" => KvVerb::GetTree,
            "check-session" => KvVerb::CheckSession,
            "check-index" => KvVerb::CheckIndex,
            "check-not-exists" => KvVerb::CheckNotExists,
            _ => return None,
        })
    }

    pub(crate) fn is_write(self) -> bool {
        use KvVerb::{Cas, Delete, DeleteCas, DeleteTree, Lock, Set, Unlock};
        match self {
            Set | Delete | DeleteCas | DeleteTree | Cas | Lock | Unlock => true,
            KvVerb::Get
            | KvVerb::GetTree
            | KvVerb::CheckSession
            | KvVerb::CheckIndex
            | KvVerb::CheckNotExists => false,
        }
    }
}

impl RecordVerb {
    pub(crate) fn parse(name: &str) -> Option<RecordVerb> {
        Some(match name {
            "get" => RecordVerb::Get,
            "set" => RecordVerb::Set,
            "cas" => RecordVerb::Cas,
            "delete" => RecordVerb::Delete,
            "delete-cas" => RecordVerb::DeleteCas,
            _ => return None,
        })
    }
}

impl Operation {
    pub(crate) fn is_write(&self) -> bool {
        match self {
            Operation::Kv { verb, .. } => verb.is_write(),
            Operation::Node { verb, .. }
            | Operation::Service { verb, .. }
            | Operation::Check { verb, .. } => *verb != RecordVerb::Get,
            Operation::Unknown { writes, .. } => *writes,
        }
    }
}

impl Store {
    /// Applies one command of the log.
    pub(crate) fn apply(&mut self, idx: u64, command: &Command) -> Outcome {
        self.kept.forget();
        match command {
            Command::Register(registration) => match self.register(idx, registration) {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Failed(error),
            },
            Command::Deregister { node, service, check } => {
                if !service.is_empty() {
                    self.delete_service(idx, node, service);
                } else if !check.is_empty() {
                    self.delete_check(idx, node, check);
                } else {
                    self.delete_node(idx, node);
                }
                Outcome::Done
            }
            Command::Kv { verb, entry } => self.apply_kv(idx, *verb, entry),
            Command::CreateSession(session) => match self.create_session(idx, session.clone()) {
                Ok(()) => Outcome::Done,
                Err(error) => Outcome::Failed(error),
            },
            Command::EndSession { id } => match super::kv::uuid_key(id) {
                Ok(id) => {
                    self.end_session(idx, &id);
                    Outcome::Done
                }
                Err(error) => {
                    Outcome::Failed(format!("failed session lookup: index error: {error}"))
                }
            },
            Command::Txn(operations) => self.transact(idx, operations),
            Command::ReapTombstones { upto } => {
                self.reap_tombstones(*upto);
                Outcome::Done
            }
            Command::SetTokens(tokens) => {
                self.tokens = tokens.clone();
                Outcome::Done
            }
            Command::Noop => Outcome::Done,
        }
    }

    fn apply_kv(&mut self, idx: u64, verb: KvVerb, entry: &Entry) -> Outcome {
        let entry = entry.clone();
        let truth = |done: Result<Option<Arc<Entry>>, String>| match done {
            Ok(entry) => Outcome::Truth(entry.is_some()),
            Err(error) => Outcome::Failed(error),
        };
        match verb {
            KvVerb::Delete => self.kv_delete(idx, &entry.key),
            KvVerb::DeleteTree => self.kv_delete_tree(idx, &entry.key),
            KvVerb::DeleteCas => {
                return Outcome::Truth(self.kv_delete_cas(idx, entry.modify, &entry.key));
            }
            KvVerb::Cas => return Outcome::Truth(self.kv_cas(idx, entry).is_some()),
            KvVerb::Lock => return truth(self.kv_lock(idx, entry)),
            KvVerb::Unlock => return truth(self.kv_unlock(idx, entry)),
            KvVerb::Set
            | KvVerb::Get
            | KvVerb::GetTree
            | KvVerb::CheckSession
            | KvVerb::CheckIndex
            | KvVerb::CheckNotExists => {
                self.kv_set(idx, entry, false);
            }
        }
        Outcome::Done
    }

    /// Runs a transaction: all steps, or none.
    pub(crate) fn transact(&mut self, idx: u64, operations: &[Operation]) -> Outcome {
        let mut changed = self.clone();
        let mut rows = Vec::new();
        let mut conflicts = Vec::new();
        for (position, operation) in operations.iter().enumerate() {
            match changed.step(idx, operation) {
                Ok(found) => rows.extend(found),
                Err(error) => conflicts.push((position, error)),
            }
        }
        if !conflicts.is_empty() {
            return Outcome::Conflicts(conflicts);
        }
        *self = changed;
        Outcome::Rows(rows)
    }

    fn step(&mut self, idx: u64, operation: &Operation) -> Result<Vec<Row>, String> {
        match operation {
            Operation::Kv { verb, entry } => self.kv_step(idx, *verb, entry),
            Operation::Node { verb, node } => self.node_step(idx, *verb, node),
            Operation::Service { verb, instance } => self.service_step(idx, *verb, instance),
            Operation::Check { verb, check } => self.check_step(idx, *verb, check),
            Operation::Unknown { error, .. } => Err(error.to_string()),
        }
    }

    fn kv_step(&mut self, idx: u64, verb: KvVerb, wanted: &Entry) -> Result<Vec<Row>, String> {
        let key = quote(&wanted.key);
        let entry = wanted.clone();
        let known = self.keys.get(&wanted.key).cloned();
        let found = match verb {
            KvVerb::Set => self.kv_set(idx, entry, false),
            KvVerb::Delete | KvVerb::DeleteTree => {
                self.apply_kv(idx, verb, wanted);
                return Ok(Vec::new());
            }
            KvVerb::DeleteCas if self.kv_delete_cas(idx, entry.modify, &entry.key) => {
                return Ok(Vec::new());
            }
            KvVerb::DeleteCas => return Err(format!("failed to delete key {key}, index is stale")),
            KvVerb::Cas => self
                .kv_cas(idx, entry)
                .ok_or_else(|| format!("failed to set key {key}, index is stale"))?,
            KvVerb::Lock => self
                .kv_lock(idx, entry)?
                .ok_or_else(|| format!("failed to lock key {key}, lock is already held"))?,
            KvVerb::Unlock => self.kv_unlock(idx, entry)?.ok_or_else(|| {
                format!(
                    "failed to unlock key {key}, lock isn't held, or is held by another session"
                )
            })?,
            KvVerb::Get => {
                let known = known.ok_or_else(|| format!("key {key} doesn't exist"))?;
                return Ok(vec![Row::kv(&known, true)]);
            }
            KvVerb::GetTree => {
                return Ok(self.entries_under(&entry.key).map(|e| Row::kv(e, true)).collect());
            }
            KvVerb::CheckSession => {
                let missing = || format!("failed to check session, key {key} doesn't exist");
                let known = known.ok_or_else(missing)?;
                if known.session != entry.session {
                    return Err(format!(
                        "failed session check for key {key}, current session {} != {}",
                        quote(&known.session),
                        quote(&entry.session)
                    ));
                }
                known
            }
            KvVerb::CheckIndex => {
                let missing = || format!("failed to check index, key {key} doesn't exist");
                let known = known.ok_or_else(missing)?;
                if known.modify != entry.modify {
                    return Err(format!(
                        "failed index check for key {key}, current modify index {} != {}",
                        known.modify, entry.modify
                    ));
                }
                known
            }
            KvVerb::CheckNotExists if known.is_some() => return Err(format!("key {key} exists")),
            KvVerb::CheckNotExists => return Ok(Vec::new()),
        };
        Ok(vec![Row::kv(&found, false)])
    }

    fn node_step(&mut self, idx: u64, verb: RecordVerb, node: &Node) -> Result<Vec<Row>, String> {
        let name = quote(&node.name);
        let known = if node.id.is_empty() {
            self.node(&node.name).cloned()
        } else {
            self.nodes.values().find(|known| known.id == node.id).cloned()
        };
        let index = self.node(&node.name).map_or(0, |known| known.modify);
        match verb {
            RecordVerb::Get => {
                let known = known.ok_or_else(|| format!("node {name} doesn't exist"))?;
                return Ok(vec![Row::of("Node", |w| known.print(w))]);
            }
            RecordVerb::Cas if index != node.modify => {
                return Err(format!("failed to set node {name}, index is stale"));
            }
            RecordVerb::Set | RecordVerb::Cas => self.ensure_node(idx, node)?,
            RecordVerb::DeleteCas if index == 0 || index != node.modify => {
                return Err(format!("failed to delete node {name}, index is stale"));
            }
            RecordVerb::Delete | RecordVerb::DeleteCas => {
                self.delete_node(idx, &node.name);
                return Ok(Vec::new());
            }
        }
        let written = self.node(&node.name).cloned();
        Ok(written.iter().map(|node| Row::of("Node", |w| node.print(w))).collect())
    }

    fn service_step(
        &mut self,
        idx: u64,
        verb: RecordVerb,
        wanted: &Instance,
    ) -> Result<Vec<Row>, String> {
        let (node, id) = (wanted.node.clone(), wanted.service.id.clone());
        let known = self.instance(&node, &id).cloned();
        let index = known.as_ref().map_or(0, |known| known.modify);
        let place = format!("service {} on node {}", quote(&id), quote(&node));
        match verb {
            RecordVerb::Get => {
                let known = known.ok_or_else(|| format!("{place} doesn't exist"))?;
                return Ok(vec![Row::of("Service", |w| known.print(w, false))]);
            }
            RecordVerb::Cas if index != wanted.modify => {
                return Err(format!("failed to set {place}, index is stale"));
            }
            RecordVerb::Set | RecordVerb::Cas => {
                self.ensure_service(idx, &node, &wanted.service)?;
            }
            RecordVerb::DeleteCas if index == 0 || index != wanted.modify => {
                return Err(format!("failed to delete {place}, index is stale"));
            }
            RecordVerb::Delete | RecordVerb::DeleteCas => {
                self.delete_service(idx, &node, &id);
                return Ok(Vec::new());
            }
        }
        let written = self.instance(&node, &id).cloned();
        Ok(written.iter().map(|found| Row::of("Service", |w| found.print(w, false))).collect())
    }

    fn check_step(
        &mut self,
        idx: u64,
        verb: RecordVerb,
        check: &Check,
    ) -> Result<Vec<Row>, String> {
        let known = self.check(&check.node, &check.id).cloned();
        let index = known.as_ref().map_or(0, |known| known.modify);
        let place = format!("check {} on node {}", quote(&check.id), quote(&check.node));
        match verb {
            RecordVerb::Get => {
                let known = known.ok_or_else(|| format!("{place} doesn't exist"))?;
                return Ok(vec![Row::of("Check", |w| known.print(w, false))]);
            }
            RecordVerb::Cas if index != check.modify => {
                return Err(format!("failed to set {place}, index is stale"));
            }
            RecordVerb::Set | RecordVerb::Cas => self.ensure_check(idx, check.clone())?,
            RecordVerb::DeleteCas if index == 0 || index != check.modify => {
                return Err(format!("failed to delete {place}, index is stale"));
            }
            RecordVerb::Delete | RecordVerb::DeleteCas => {
                self.delete_check(idx, &check.node, &check.id);
                return Ok(Vec::new());
            }
        }
        let written = self.check(&check.node, &check.id).cloned();
        Ok(written.iter().map(|found| Row::of("Check", |w| found.print(w, false))).collect())
    }
}

impl Row {
    fn kv(entry: &Entry, with_value: bool) -> Row {
        let row = Row::of("KV", |w| entry.print(w, with_value));
        Row { key: Some(entry.key.clone()), ..row }
    }

    fn of(kind: &str, body: impl FnOnce(&mut Writer)) -> Row {
        let mut writer = Writer::default();
        writer.object(|w| body(w.key(kind)));
        Row { key: None, printed: writer.finish() }
    }

    /// Tells whether the one who asked may see it.
    pub(crate) fn is_visible_to(&self, authority: &Authority) -> bool {
        self.key.as_ref().is_none_or(|key| authority.may_read(Resource::Key, key))
    }

    pub(crate) fn printed(&self) -> &str {
        &self.printed
    }
}
