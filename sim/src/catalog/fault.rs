//! What happens to Consul and its agents, as data and in words.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use steersman_engine::config::Name;

use crate::consul::{AgentId, Fault, Memory, ServerId};

/// What happens to Consul, or is done to it by people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CatalogFault {
    /// A server process dies at once.
    KillServer(u16),
    /// A dead server starts again, with its data or without.
    StartServer {
        /// Which.
        server: u16,
        /// Whether it still has its data.
        keeps: bool,
    },
    /// A server does not run for a while.
    PauseServer(u16),
    /// A paused server goes on.
    ResumeServer(u16),
    /// The server that leads dies at once.
    KillLeader,
    /// The leader steps down.
    StepDown,
    /// All servers lose everything.
    LoseState,
    /// A follower lags this much more.
    SlowFollower(u16, Duration),
    /// A server's disk takes this much longer.
    SlowDisk(u16, Duration),
    /// An agent dies at once.
    KillAgent(u16),
    /// A dead agent starts again, with its memory or without.
    StartAgent {
        /// Which.
        agent: u16,
        /// Whether it still knows what was registered.
        keeps: bool,
    },
    /// An agent reaches no server.
    CutAgent(u16),
    /// A cut agent is connected again.
    JoinAgent(u16),
    /// All servers die at once.
    KillServers,
    /// All dead servers start again, with their data.
    StartServers,
    /// Somebody else's service gets an instance, or it is registered again.
    Appear {
        /// The service.
        service: Box<str>,
        /// Which instance, from 1.
        nth: u16,
    },
    /// An instance of somebody else's service is taken out.
    Vanish {
        /// The service.
        service: Box<str>,
        /// Which instance, from 1.
        nth: u16,
    },
    /// Somebody removes a key.
    Delete {
        /// The key.
        key: Box<str>,
    },
    /// Somebody writes a key without any lock.
    Put {
        /// The key.
        key: Box<str>,
        /// The value.
        value: Box<str>,
    },
    /// Somebody destroys the session that holds a key.
    DestroyHolder {
        /// The key.
        key: Box<str>,
    },
}

/// What happens to a node's own Consul agent, or is done with it by people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AgentFault {
    /// It dies at once.
    Kill,
    /// It starts again.
    Start {
        /// Whether it still knows what was registered.
        keeps: bool,
    },
    /// It does not run for a while.
    Pause,
    /// It goes on.
    Resume,
    /// It reaches no server.
    Cut,
    /// It is connected again.
    Join,
    /// Somebody takes the service of a job out.
    Deregister {
        /// The job.
        job: Name,
    },
}

impl CatalogFault {
    pub(super) fn to_model(&self, leader: usize) -> Option<Fault> {
        let server = |server: &u16| ServerId(usize::from(*server));
        let agent = |agent: &u16| AgentId(usize::from(*agent));
        let nanos = |span: &Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let memory = |keeps: &bool| if *keeps { Memory::Kept } else { Memory::Lost };
        Some(match self {
            CatalogFault::KillServer(id) => Fault::KillServer(server(id)),
            CatalogFault::StartServer { server: id, keeps } => {
                Fault::StartServer(server(id), memory(keeps))
            }
            CatalogFault::PauseServer(id) => Fault::PauseServer(server(id)),
            CatalogFault::ResumeServer(id) => Fault::ResumeServer(server(id)),
            CatalogFault::KillLeader => Fault::KillServer(ServerId(leader)),
            CatalogFault::StepDown => Fault::StepDown,
            CatalogFault::LoseState => Fault::LoseState,
            CatalogFault::SlowFollower(id, span) => Fault::SlowFollower(server(id), nanos(span)),
            CatalogFault::SlowDisk(id, span) => Fault::SlowDisk(server(id), nanos(span)),
            CatalogFault::KillAgent(id) => Fault::KillAgent(agent(id)),
            CatalogFault::StartAgent { agent: id, keeps } => {
                Fault::StartAgent(agent(id), memory(keeps))
            }
            CatalogFault::CutAgent(id) => Fault::CutAgent(agent(id)),
            CatalogFault::JoinAgent(id) => Fault::JoinAgent(agent(id)),
            CatalogFault::KillServers
            | CatalogFault::StartServers
            | CatalogFault::Appear { .. }
            | CatalogFault::Vanish { .. }
            | CatalogFault::Delete { .. }
            | CatalogFault::Put { .. }
            | CatalogFault::DestroyHolder { .. } => return None,
        })
    }
}

impl CatalogFault {
    pub(crate) fn in_words(&self) -> (String, &'static str) {
        match self {
            CatalogFault::KillServer(id) => (format!("Consul's server s{} dies", id + 1), ""),
            CatalogFault::StartServer { server, keeps: true } => {
                (format!("Consul's server s{} starts again", server + 1), "")
            }
            CatalogFault::StartServer { server, keeps: false } => {
                (format!("Consul's server s{} starts empty", server + 1), "")
            }
            CatalogFault::PauseServer(id) => {
                (format!("Consul's server s{} stands still", id + 1), "")
            }
            CatalogFault::ResumeServer(id) => (format!("Consul's server s{} goes on", id + 1), ""),
            CatalogFault::KillLeader => {
                ("Consul's leader dies".into(), "Nothing is written until there is another.")
            }
            CatalogFault::StepDown => {
                ("Consul's leader steps down".into(), "Sessions begin their time anew.")
            }
            CatalogFault::KillServers => ("all servers of Consul die".into(), "Nothing answers."),
            CatalogFault::StartServers => ("the servers of Consul start again".into(), ""),
            CatalogFault::LoseState => {
                ("Consul loses everything".into(), "Keys and sessions are gone.")
            }
            CatalogFault::SlowFollower(id, lag) => (
                format!("Consul's server s{} lags by {lag:?}", id + 1),
                "It answers with the past.",
            ),
            CatalogFault::SlowDisk(id, by) => {
                (format!("the disk of Consul's server s{} takes {by:?} more", id + 1), "")
            }
            CatalogFault::KillAgent(id) => (format!("Consul's agent {id} dies"), ""),
            CatalogFault::StartAgent { agent, .. } => {
                (format!("Consul's agent {agent} starts again"), "")
            }
            CatalogFault::CutAgent(id) => (format!("Consul's agent {id} is cut off"), ""),
            CatalogFault::JoinAgent(id) => (format!("Consul's agent {id} is connected again"), ""),
            CatalogFault::Appear { service, nth } => {
                (format!("instance {nth} of service \"{service}\" is there"), "Another's doing.")
            }
            CatalogFault::Vanish { service, nth } => {
                (format!("instance {nth} of service \"{service}\" is gone"), "Another's doing.")
            }
            CatalogFault::Delete { key } => (format!("somebody removes the key {key}"), ""),
            CatalogFault::Put { key, value } => {
                (format!("somebody writes \"{value}\" to {key}"), "Without any lock.")
            }
            CatalogFault::DestroyHolder { key } => {
                (format!("somebody destroys the session that holds {key}"), "The lock is lost.")
            }
        }
    }
}

impl AgentFault {
    pub(crate) fn in_words(&self) -> (String, &'static str) {
        match self {
            AgentFault::Kill => ("its Consul agent dies".into(), "Nothing answers requests."),
            AgentFault::Start { keeps: true } => ("its Consul agent starts again".into(), ""),
            AgentFault::Start { keeps: false } => {
                ("its Consul agent starts without memory".into(), "It knows of no registration.")
            }
            AgentFault::Pause => ("its Consul agent stands still".into(), "Requests wait."),
            AgentFault::Resume => ("its Consul agent goes on".into(), ""),
            AgentFault::Cut => ("its Consul agent is cut off".into(), "It reaches no server."),
            AgentFault::Join => ("its Consul agent is connected again".into(), ""),
            AgentFault::Deregister { job } => {
                (format!("somebody takes service \"{job}\" out"), "An operator's deed.")
            }
        }
    }
}
