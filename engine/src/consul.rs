//! What the engine says to Consul and hears from it: typed, without HTTP. [`crate::wire`] puts it
//! on the wire and takes it off.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{CheckStatus, Name};
use crate::id::{JobId, LockId, WatchId};

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Owner {
    /// The registration of a job.
    Job(JobId),
    /// A watch.
    Watch(WatchId),
    /// The key of a lock.
    Lock(LockId),
    /// The session of a lock.
    Session(LockId),
}

/// One request to Consul; its answer names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ConsulOp {
    /// Who asks.
    pub owner: Owner,
    /// Counts the owner's requests, from 1.
    pub nth: u32,
}

/// What is asked of Consul.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConsulRequest {
    /// Registers a service with its TTL check at the agent.
    Register(Box<Registration>),
    /// Removes a service and its check from the agent.
    Deregister {
        /// The service's id.
        service: Name,
    },
    /// Reports the status of a TTL check and starts its timer afresh.
    Report {
        /// The check's id.
        check: Name,
        /// Its status.
        status: CheckStatus,
        /// What the check said.
        output: Box<str>,
    },
    /// Reads the instances of a service, waiting for a change when `index` is not zero.
    Instances {
        /// The service's name.
        service: Box<str>,
        /// A tag every instance must have.
        tag: Option<Box<str>>,
        /// The data centre, when it is not the agent's own.
        dc: Option<Box<str>>,
        /// Only those whose every check passes.
        passing: bool,
        /// The index of the last reading; 0 answers at once.
        index: u64,
        /// How long to wait for a change.
        wait: Duration,
    },
    /// Creates a session without checks, whose locks are released when it ends.
    SessionCreate {
        /// A name for people.
        name: Name,
        /// Its time to live.
        ttl: Duration,
        /// How long its keys stay barred when it ends without releasing them.
        lock_delay: Duration,
    },
    /// Renews a session.
    SessionRenew {
        /// Its id.
        session: Box<str>,
    },
    /// Ends a session.
    SessionDestroy {
        /// Its id.
        session: Box<str>,
    },
    /// Reads the key of a lock, consistently, waiting for a change when `index` is not zero.
    LockRead {
        /// The key.
        key: Box<str>,
        /// The index of the last reading; 0 answers at once.
        index: u64,
        /// How long to wait for a change.
        wait: Duration,
    },
    /// Acquires the key of a lock for a session, in a transaction that also says its index, if the
    /// key is still as it was read.
    Acquire {
        /// The key.
        key: Box<str>,
        /// The session.
        session: Box<str>,
        /// When the key was last changed, as it was read, zero when there was none; without it the
        /// key may be in any state.
        #[serde(default)]
        modified: Option<u64>,
        /// What is added to the index of the grant to make its token.
        #[serde(default)]
        floor: u64,
        /// What others read in the key.
        value: Box<str>,
    },
    /// Releases the key of a lock, with a mark that it was given back in order.
    Release {
        /// The key.
        key: Box<str>,
        /// The session.
        session: Box<str>,
        /// What was added to the index of the grant to make its token.
        #[serde(default)]
        floor: u64,
        /// What others read in the key.
        value: Box<str>,
    },
    /// Looks at a file. Not Consul's affair, but asked and answered alike.
    File {
        /// Its path.
        path: Box<str>,
    },
    /// Reads one key, or all keys below a prefix, waiting for a change when `index` is not zero.
    Keys {
        /// The key or prefix.
        key: Box<str>,
        /// Whether it is a prefix.
        recurse: bool,
        /// The data centre, when it is not the agent's own.
        dc: Option<Box<str>>,
        /// The index of the last reading; 0 answers at once.
        index: u64,
        /// How long to wait for a change.
        wait: Duration,
    },
}

/// What a service is registered as.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The service's id: its name and the host's.
    pub id: Name,
    /// The service's name.
    pub name: Name,
    /// Address; the agent's own when absent.
    pub address: Option<IpAddr>,
    /// Port.
    pub port: u16,
    /// Tags.
    pub tags: Vec<Box<str>>,
    /// Meta data.
    pub meta: Vec<(Box<str>, Box<str>)>,
    /// Whether the catalog may change the tags.
    pub enable_tag_override: bool,
    /// The id of its check.
    pub check: Name,
    /// How long a report holds; no check without.
    pub ttl: Option<Duration>,
    /// The status a check starts with when it is new.
    pub status: CheckStatus,
    /// What the check says about itself.
    pub notes: Box<str>,
    /// After how long critical Consul removes it.
    pub deregister_critical_after: Option<Duration>,
}

/// What Consul answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConsulReply {
    /// It was done.
    Done,
    /// The instances of a service.
    Instances {
        /// The index of this reading.
        index: u64,
        /// The instances.
        instances: Vec<Instance>,
    },
    /// A session was created.
    Session {
        /// Its id.
        id: Box<str>,
    },
    /// A lock was asked for.
    Acquired {
        /// `ModifyIndex` of the granting transaction; none when it was not granted.
        token: Option<u64>,
    },
    /// Keys and their values.
    Keys {
        /// The index of this reading.
        index: u64,
        /// The entries, by key.
        entries: Vec<Entry>,
    },
    /// What a file holds; none when there is no file.
    File(Option<FileState>),
    /// It failed.
    Failed(ConsulFailure),
}

/// Why a request to Consul failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ConsulFailure {
    /// No answer came: not connected, cut off, or too late. Whether it was done is open.
    Unreachable(Box<str>),
    /// Consul, or something in between, answered with an error.
    Refused {
        /// The status of the answer.
        status: u16,
        /// The beginning of its body.
        body: Box<str>,
    },
    /// The agent does not know the check or service.
    Unknown,
    /// The answer makes no sense: something else listens there.
    Garbled(Box<str>),
}

/// One instance of a service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Instance {
    /// The node it is registered at.
    pub node: Box<str>,
    /// Its id, unique on its node.
    pub id: Box<str>,
    /// Its own address, else its node's.
    pub address: Box<str>,
    /// Its port.
    pub port: u16,
    /// Its tags, as given.
    pub tags: Vec<Box<str>>,
    /// Its meta data, by key.
    pub meta: Vec<(Box<str>, Box<str>)>,
    /// Its weights: passing, warning.
    pub weights: (u32, u32),
    /// When it was registered, as an index: another incarnation has another one.
    pub created: u64,
}

/// What a watch has read.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Reading {
    /// The instances of a service, sorted.
    Instances(Vec<Instance>),
    /// Keys and their values.
    Keys(Vec<Entry>),
    /// A file; none when there is none.
    File(Option<FileState>),
}

impl Reading {
    /// Counts what was read.
    pub fn count(&self) -> usize {
        match self {
            Reading::Instances(instances) => instances.len(),
            Reading::Keys(entries) => entries.len(),
            Reading::File(file) => usize::from(file.is_some()),
        }
    }
}

/// What a file holds, as far as a watch needs to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileState {
    /// Its size, bytes.
    pub size: u64,
    /// A hash of its contents.
    pub hash: u64,
}

/// One key and its value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Entry {
    /// The key.
    pub key: Box<str>,
    /// Its value, in base64 as Consul sends it.
    pub value: Box<str>,
    /// When it was last changed, as an index.
    pub modified: u64,
    /// The number that clients may keep with it.
    pub flags: u64,
    /// How often it was acquired since it was last written otherwise; zero after a plain write.
    #[serde(default)]
    pub acquired: u64,
    /// When it was created, as an index: later than before when it was deleted in between.
    #[serde(default)]
    pub created: u64,
    /// The session that holds it.
    pub session: Option<Box<str>>,
}
