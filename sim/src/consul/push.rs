//! How an agent's changes reach the servers: pushes under one lock, and anti-entropy.

use super::acl::Authority;
use super::agent::Work;
use super::agent_ops::Action;
use super::catalog::Registration;
use super::http_api::Response;
use super::local::{Local, LocalCheck};
use super::model::{Call, Consul, Origin, RequestId};
use super::rpc::{Reply, Rpc};
use super::types::{Check, Node, SERF_HEALTH, Str};

const SECOND: u64 = 1_000_000_000;

/// A push under way: what it sends now, and what is answered when it is done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Push {
    step: Step,
    then: Option<(RequestId, Response)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    Node,
    Service { id: Str, checks: Vec<Str> },
    DropService { id: Str },
    Check { id: Str },
    DropCheck { id: Str },
}

impl Consul {
    /// Begins to send what the servers do not know, then answers; the state is locked meanwhile.
    pub(crate) fn start_push(&mut self, agent: usize, then: Option<(RequestId, Response)>) {
        if let Some(step) = self.next_step(agent) {
            self.agents[agent].push = Some(Push { step: step.clone(), then });
            self.send_step(agent, step);
        } else if let Some((id, response)) = then {
            self.answer(id, agent, response);
        }
    }

    fn next_step(&self, agent: usize) -> Option<Step> {
        let local = &self.agents[agent].local;
        if !local.node_in_sync {
            return Some(Step::Node);
        }
        for (id, known) in &local.services {
            if known.deleted && !known.in_sync {
                return Some(Step::DropService { id: id.clone() });
            }
            if !known.in_sync {
                let same = |check: &&LocalCheck| !check.in_sync && check.token == known.token;
                let checks = local.checks_for(id, false).filter(same);
                let checks = checks.map(|check| check.check.id.clone()).collect();
                return Some(Step::Service { id: id.clone(), checks });
            }
        }
        for (id, known) in &local.checks {
            if !known.in_sync {
                let id = id.clone();
                let step = if known.deleted { Step::DropCheck { id } } else { Step::Check { id } };
                return Some(step);
            }
        }
        None
    }

    fn node_record(&self, agent: usize) -> Node {
        let state = &self.agents[agent];
        let tags = ["lan", "lan_ipv4", "wan", "wan_ipv4"];
        let tagged = tags.iter().map(|tag| ((*tag).into(), state.address.clone())).collect();
        let meta = [("consul-network-segment".into(), "".into())].into_iter().collect();
        Node {
            id: state.node_id.clone(),
            name: state.local.node.clone(),
            address: state.address.clone(),
            datacenter: (&*self.options.datacenter).into(),
            tagged: Some(tagged),
            meta: Some(meta),
            create: 0,
            modify: 0,
        }
    }

    fn send_step(&mut self, agent: usize, step: Step) {
        let local = &self.agents[agent].local;
        let mut registration = Registration {
            node: self.node_record(agent),
            skip_node_update: local.node_in_sync,
            ..Registration::default()
        };
        let node = local.node.clone();
        let mut token: Str = "".into();
        let check_of = |id: &Str| local.checks.get(id).map(|known| known.check.clone());
        let rpc = match step {
            Step::Node => Rpc::Register { registration },
            Step::Service { id, checks } => {
                if let Some(known) = local.services.get(&id) {
                    registration.service = Some(known.service.clone());
                    token = known.token.clone();
                }
                registration.checks = checks.iter().filter_map(check_of).collect();
                Rpc::Register { registration }
            }
            Step::Check { id } => {
                if let Some(known) = local.checks.get(&id) {
                    registration.checks = vec![known.check.clone()];
                    token = known.token.clone();
                    registration.service = local.service(&known.check.service_id).cloned();
                }
                Rpc::Register { registration }
            }
            Step::DropService { id } => {
                token =
                    local.services.get(&id).map(|known| known.token.clone()).unwrap_or_default();
                Rpc::Deregister { node, service: id, check: "".into() }
            }
            Step::DropCheck { id } => {
                token = local.checks.get(&id).map(|known| known.token.clone()).unwrap_or_default();
                Rpc::Deregister { node, service: "".into(), check: id }
            }
        };
        let patience = self.draw("patience", self.options.timing.hold);
        self.send(Call {
            agent,
            origin: Origin::Push,
            rpc,
            token,
            patience: self.now.saturating_add(patience),
            path: Vec::new(),
            blocked: None,
        });
    }

    pub(crate) fn on_pushed(&mut self, agent: usize, result: Result<Reply, String>) {
        let Some(Push { step, then }) = self.agents[agent].push.take() else { return };
        let sent = match &result {
            Ok(_) => true,
            Err(error) => {
                error.contains(super::acl::DENIED)
                    || error.contains(super::acl::NOT_FOUND)
                    || error.contains("Unknown service")
                    || error.contains("Unknown check")
            }
        };
        if sent {
            self.agents[agent].local.sent(&step, result.is_ok());
            self.agents[agent].unsent = false;
            if let Some(step) = self.next_step(agent) {
                self.agents[agent].push = Some(Push { step: step.clone(), then });
                return self.send_step(agent, step);
            }
        } else if !self.agents[agent].unsent {
            self.agents[agent].unsent = true;
            let retry = self.draw("retry", (15 * SECOND, 30 * SECOND));
            self.plan(agent, retry, Work::AntiEntropy { again: false });
        }
        if let Some((id, response)) = then {
            self.answer(id, agent, response);
        }
        self.free(agent);
    }

    /// Lets the next one have the agent's state.
    pub(crate) fn free(&mut self, agent: usize) {
        while self.agents[agent].push.is_none() {
            let queue = &mut self.agents[agent].queue;
            let heartbeat = |work: &Work| match work {
                Work::Request { action, .. } => matches!(**action, Action::Heartbeat { .. }),
                _ => false,
            };
            // A late heartbeat and an expired timer: either may come first.
            let swaps =
                queue.len() > 1 && matches!(queue[0], Work::Expire { .. }) && heartbeat(&queue[1]);
            if swaps && self.draw("late heartbeat", (0, 1)) == 1 {
                self.agents[agent].queue.swap(0, 1);
            }
            let Some(work) = self.agents[agent].queue.pop_front() else { return };
            self.do_work(agent, work);
        }
    }

    /// Compares the agent's state with the catalog; the agent wins, save for overridden tags.
    pub(crate) fn compare(&mut self, agent: usize) {
        let server = match self.agents[agent].server {
            Some(own) => Some(own),
            None if self.agents[agent].cut => None,
            None => (0..self.servers.len()).find(|server| {
                self.servers[*server].is_up() && !self.agents[agent].failed_servers.contains(server)
            }),
        };
        let Some(server) = server.filter(|server| self.servers[*server].contacted) else { return };
        let record = self.node_record(agent);
        let store = self.servers[server].store.clone();
        let authority = store.tokens.resolve("").unwrap_or(Authority::All { acl_on: false });
        self.agents[agent].local.compare(&store, &record, &authority);
    }

    /// Puts what the servers write about a node whose agent lives.
    pub(crate) fn member_registration(&self, agent: usize) -> Registration {
        let record = self.node_record(agent);
        let check = Check {
            node: record.name.clone(),
            id: SERF_HEALTH.into(),
            name: "Serf Health Status".into(),
            status: super::types::PASSING.into(),
            output: "Agent alive and reachable".into(),
            ..Check::default()
        };
        Registration {
            node: Node { tagged: None, meta: None, ..record },
            service: self.agents[agent].server.map(|server| self.server_service(server)),
            checks: vec![check],
            skip_node_update: true,
        }
    }
}

impl Local {
    /// Notes that a step of a push was taken, or refused for good.
    fn sent(&mut self, step: &Step, done: bool) {
        match step {
            Step::Node => self.node_in_sync = true,
            Step::Service { id, checks } => {
                if let Some(known) = self.services.get_mut(id) {
                    known.in_sync = true;
                }
                for check in checks {
                    if let Some(known) = self.checks.get_mut(check) {
                        known.in_sync = true;
                        known.send_at = None;
                    }
                }
            }
            Step::Check { id } => {
                if let Some(known) = self.checks.get_mut(id) {
                    known.in_sync = true;
                    known.send_at = None;
                }
            }
            Step::DropService { id } if done => {
                self.services.remove(id);
                self.checks.retain(|_, known| !known.deleted || known.check.service_id != *id);
            }
            Step::DropService { id } => {
                if let Some(known) = self.services.get_mut(id) {
                    known.in_sync = true;
                }
            }
            Step::DropCheck { id } if done => {
                self.checks.remove(id);
            }
            Step::DropCheck { id } => {
                if let Some(known) = self.checks.get_mut(id) {
                    known.in_sync = true;
                }
            }
        }
    }
}
