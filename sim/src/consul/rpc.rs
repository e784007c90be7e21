//! What agents ask of servers, and what servers answer.

use super::acl::{Authority, DENIED, Resource};
use super::catalog::{Registration, changes_node};
use super::go;
use super::read::{Answer, Read};
use super::store::Store;
use super::txn::{Command, KvVerb, Operation, RecordVerb, Row};
use super::types::{Behavior, Entry, Session, Str};
use super::validate;

/// How a read is to be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct ReadOptions {
    pub(crate) stale: bool,
    pub(crate) consistent: bool,
    pub(crate) cached: bool,
    /// Answer only when the index is above this one; 0 answers at once.
    pub(crate) index: u64,
    /// For how long to wait, in nanoseconds; 0 and less mean the default.
    pub(crate) wait: i64,
}

/// A question to the servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Rpc {
    Read { read: Read, options: ReadOptions },
    Kv { verb: KvVerb, entry: Entry },
    Txn { operations: Vec<Operation> },
    TxnRead { operations: Vec<Operation>, options: ReadOptions },
    CreateSession { session: Session, behavior: Str },
    EndSession { id: Str },
    Renew { id: Str },
    Register { registration: Registration },
    Deregister { node: Str, service: Str, check: Str },
    Tokens { tokens: super::acl::Tokens },
    Leader,
    Peers,
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Reply {
    Answer {
        answer: Answer,
        contact_ms: u64,
        known_leader: bool,
    },
    Done,
    Truth(bool),
    Id(Str),
    /// The session, printed, or nothing when it is gone.
    Renewed(Option<String>),
    Rows {
        rows: Vec<Row>,
        authority: Authority,
        read: Option<(u64, bool)>,
    },
    Conflicts {
        conflicts: Vec<(usize, String)>,
        read: Option<(u64, bool)>,
    },
    /// Compact JSON.
    Json(String),
}

/// What a leader does with a write: answer at once, or put it into the log.
pub(crate) enum Verdict {
    Answer(Result<Reply, String>),
    Log(Command),
}

/// Session TTLs that are taken, in nanoseconds.
const TTL_MIN: i64 = 10_000_000_000;
const TTL_MAX: i64 = 86_400_000_000_000;

impl Rpc {
    /// Tells whether any server may answer.
    pub(crate) fn takes_stale(&self) -> bool {
        match self {
            Rpc::Read { options, .. } | Rpc::TxnRead { options, .. } => options.stale,
            Rpc::Leader | Rpc::Peers => true,
            Rpc::Kv { .. }
            | Rpc::Txn { .. }
            | Rpc::CreateSession { .. }
            | Rpc::EndSession { .. }
            | Rpc::Renew { .. }
            | Rpc::Register { .. }
            | Rpc::Deregister { .. }
            | Rpc::Tokens { .. } => false,
        }
    }

    /// Tells whether only a leader may answer that is sure to be one.
    pub(crate) fn is_consistent(&self) -> bool {
        match self {
            Rpc::Read { options, .. } | Rpc::TxnRead { options, .. } => options.consistent,
            _ => false,
        }
    }

    /// Decides about a write. `is_barred` tells whether a key is under lock delay now.
    pub(crate) fn judge(
        self,
        store: &Store,
        authority: &Authority,
        is_barred: impl Fn(&str) -> bool,
    ) -> Verdict {
        let answer = |reply: Result<Reply, String>| Verdict::Answer(reply);
        match self {
            Rpc::Kv { verb, entry } => match judge_kv(verb, &entry, authority, &is_barred) {
                Err(error) => answer(Err(error)),
                Ok(false) => answer(Ok(Reply::Truth(false))),
                Ok(true) => Verdict::Log(Command::Kv { verb, entry }),
            },
            Rpc::Txn { mut operations } => {
                let conflicts = judge_operations(&mut operations, authority, &is_barred);
                if conflicts.is_empty() {
                    Verdict::Log(Command::Txn(operations))
                } else {
                    answer(Ok(Reply::Conflicts { conflicts, read: None }))
                }
            }
            Rpc::CreateSession { session, behavior } => {
                match judge_session(session, &behavior, authority) {
                    Ok(session) => Verdict::Log(Command::CreateSession(session)),
                    Err(error) => answer(Err(error)),
                }
            }
            Rpc::EndSession { id } => match judge_end(&id, store, authority) {
                Ok(true) => Verdict::Log(Command::EndSession { id }),
                Ok(false) => answer(Ok(Reply::Done)),
                Err(error) => answer(Err(error)),
            },
            Rpc::Register { registration } => {
                match judge_register(registration, store, authority) {
                    Ok(registration) => Verdict::Log(Command::Register(registration)),
                    Err(error) => answer(Err(error)),
                }
            }
            Rpc::Deregister { node, service, check } => {
                match judge_deregister(&node, &service, &check, store, authority) {
                    Ok(()) => Verdict::Log(Command::Deregister { node, service, check }),
                    Err(error) => answer(Err(error)),
                }
            }
            Rpc::Tokens { tokens } => Verdict::Log(Command::SetTokens(tokens)),
            Rpc::Read { .. }
            | Rpc::TxnRead { .. }
            | Rpc::Renew { .. }
            | Rpc::Leader
            | Rpc::Peers => answer(Err("cannot log a read".to_owned())),
        }
    }
}

fn judge_kv(
    verb: KvVerb,
    entry: &Entry,
    authority: &Authority,
    is_barred: &impl Fn(&str) -> bool,
) -> Result<bool, String> {
    let key = &entry.key;
    if key.is_empty() && verb != KvVerb::DeleteTree {
        return Err("Must provide key".to_owned());
    }
    let allowed = match verb {
        KvVerb::DeleteTree => authority.may_write_below(key),
        KvVerb::Get | KvVerb::GetTree => true,
        KvVerb::CheckSession | KvVerb::CheckIndex => authority.may_read(Resource::Key, key),
        KvVerb::Set
        | KvVerb::Delete
        | KvVerb::DeleteCas
        | KvVerb::Cas
        | KvVerb::Lock
        | KvVerb::Unlock
        | KvVerb::CheckNotExists => authority.may_write(Resource::Key, key),
    };
    if !allowed {
        return Err(DENIED.to_owned());
    }
    Ok(verb != KvVerb::Lock || !is_barred(key))
}

/// Checks the steps of a transaction before it runs.
pub(crate) fn judge_operations(
    operations: &mut [Operation],
    authority: &Authority,
    is_barred: &impl Fn(&str) -> bool,
) -> Vec<(usize, String)> {
    let mut conflicts = Vec::new();
    for (position, operation) in operations.iter_mut().enumerate() {
        let verdict = match operation {
            Operation::Kv { verb, entry } => match judge_kv(*verb, entry, authority, is_barred) {
                Ok(true) => Ok(()),
                Ok(false) => {
                    Err(format!("failed to lock key {} due to lock delay", go::quote(&entry.key)))
                }
                Err(error) => Err(error),
            },
            Operation::Node { verb: RecordVerb::Get, .. }
            | Operation::Service { verb: RecordVerb::Get, .. }
            | Operation::Check { verb: RecordVerb::Get, .. }
            | Operation::Unknown { .. } => Ok(()),
            Operation::Node { node, .. } => judge_node(&node.name, &node.id)
                .and_then(|()| allow(authority.may_write(Resource::Node, &node.name))),
            Operation::Service { instance, .. } => {
                let mut service = (*instance.service).clone();
                judge_service(&mut service, &Authority::All { acl_on: false })
                    .and_then(|()| allow(authority.may_write(Resource::Service, &service.name)))
            }
            Operation::Check { check, .. } => {
                let resource =
                    if check.service_id.is_empty() { Resource::Node } else { Resource::Service };
                let name =
                    if check.service_id.is_empty() { &check.node } else { &check.service_name };
                allow(authority.may_write(resource, name))
            }
        };
        if let Err(error) = verdict {
            conflicts.push((position, error));
        }
    }
    conflicts
}

fn allow(allowed: bool) -> Result<(), String> {
    if allowed { Ok(()) } else { Err(DENIED.to_owned()) }
}

fn judge_session(
    mut session: Session,
    behavior: &str,
    authority: &Authority,
) -> Result<Session, String> {
    if session.node.is_empty() {
        return Err("Must provide Node".to_owned());
    }
    allow(authority.may_write(Resource::Session, &session.node))?;
    session.behavior = match behavior {
        "" | "release" => Behavior::Release,
        "delete" => Behavior::Delete,
        other => return Err(format!("Invalid Behavior setting '{other}'")),
    };
    if !session.ttl.is_empty() {
        let ttl = go::parse_duration(&session.ttl)
            .map_err(|error| format!("Session TTL '{}' invalid: {error}", session.ttl))?;
        if ttl != 0 && !(TTL_MIN..=TTL_MAX).contains(&ttl) {
            return Err(format!(
                "Invalid Session TTL '{ttl}', must be between [{}={}]",
                go::format_duration(TTL_MIN),
                go::format_duration(TTL_MAX)
            ));
        }
    }
    Ok(session)
}

fn judge_end(id: &str, store: &Store, authority: &Authority) -> Result<bool, String> {
    if !authority.is_checked() {
        return Ok(true);
    }
    let Some(session) = store.session(id).map_err(|e| format!("Session lookup failed: {e}"))?
    else {
        return Ok(false);
    };
    allow(authority.may_write(Resource::Session, &session.node)).map(|()| true)
}

fn judge_node(name: &str, id: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("Must provide node".to_owned());
    }
    if id.is_empty() {
        return Ok(());
    }
    parse_uuid(id).map_err(|error| format!("Bad node ID: {error}"))
}

fn parse_uuid(text: &str) -> Result<(), String> {
    if text.len() != 36 {
        return Err("uuid string is wrong length".to_owned());
    }
    let hyphens = [8, 13, 18, 23].iter().all(|at| text.as_bytes()[*at] == b'-');
    if !hyphens {
        return Err("uuid is improperly formatted".to_owned());
    }
    super::kv::uuid_key(text)
        .map(|_| ())
        .map_err(|error| error.strip_prefix("Invalid UUID: ").map_or(error.clone(), str::to_owned))
}

fn judge_service(service: &mut super::types::Service, authority: &Authority) -> Result<(), String> {
    if service.id.is_empty() && !service.name.is_empty() {
        service.id = service.name.clone();
    }
    if !service.id.is_empty() && service.name.is_empty() {
        return Err("Must provide service name with ID".to_owned());
    }
    if validate::is_any_address(&service.address) {
        return Err("Invalid service address".to_owned());
    }
    allow(&*service.name == "consul" || authority.may_write(Resource::Service, &service.name))
}

fn judge_register(
    mut registration: Registration,
    store: &Store,
    authority: &Authority,
) -> Result<Registration, String> {
    let node = &registration.node;
    judge_node(&node.name, &node.id)?;
    if node.address.is_empty() && !registration.skip_node_update {
        return Err("Must provide address if SkipNodeUpdate is not set".to_owned());
    }
    if let Some(service) = &registration.service {
        let mut service = (**service).clone();
        judge_service(&mut service, authority)?;
        registration.service = Some(std::sync::Arc::new(service));
    }
    let name = registration.node.name.clone();
    for check in &mut registration.checks {
        if check.node.is_empty() {
            check.node = name.clone();
        }
        if check.id.is_empty() && !check.name.is_empty() {
            check.id = check.name.clone();
        }
    }
    if !authority.is_checked() {
        return Ok(registration);
    }
    let node = &registration.node;
    let changes = match store.node(&node.name) {
        None => true,
        Some(known) => !registration.skip_node_update && changes_node(known, node),
    };
    allow(!changes || authority.may_write(Resource::Node, &node.name))?;
    if let Some(service) = &registration.service {
        allow(authority.may_write(Resource::Service, &service.name))?;
        if let Some(known) = store.instance(&node.name, &service.id) {
            allow(authority.may_write(Resource::Service, &known.service.name))?;
        }
    }
    for check in &registration.checks {
        judge_check(&registration, check, store, authority)?;
    }
    Ok(registration)
}

fn judge_check(
    registration: &Registration,
    check: &super::types::Check,
    store: &Store,
    authority: &Authority,
) -> Result<(), String> {
    let node = &registration.node.name;
    if check.node != *node {
        return Err(format!(
            "Node '{}' for check '{}' doesn't match register request node '{node}'",
            check.node, check.id
        ));
    }
    if check.service_id.is_empty() {
        return allow(authority.may_write(Resource::Node, node));
    }
    if registration.service.as_ref().is_some_and(|service| service.id == check.service_id) {
        return Ok(());
    }
    match store.instance(node, &check.service_id) {
        Some(known) => allow(authority.may_write(Resource::Service, &known.service.name)),
        None => Err(format!("Unknown service '{}' for check '{}'", check.service_id, check.id)),
    }
}

fn judge_deregister(
    node: &str,
    service: &str,
    check: &str,
    store: &Store,
    authority: &Authority,
) -> Result<(), String> {
    if node.is_empty() {
        return Err("Must provide node".to_owned());
    }
    if authority.may_write(Resource::Node, node) {
        return Ok(());
    }
    if !service.is_empty() {
        let Some(known) = store.instance(node, service) else {
            return Err(format!("Unknown service '{service}'"));
        };
        return allow(authority.may_write(Resource::Service, &known.service.name));
    }
    if check.is_empty() {
        return allow(false);
    }
    match store.check(node, check) {
        None => Err(format!("Unknown check '{check}'")),
        Some(known) if known.service_id.is_empty() => allow(false),
        Some(known) => allow(authority.may_write(Resource::Service, &known.service_name)),
    }
}
