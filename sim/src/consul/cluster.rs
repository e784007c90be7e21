//! The life of the cluster: start, loss of servers and agents, elections, gossip.

use std::collections::VecDeque;
use std::sync::Arc;

use super::agent::{Agent, Work};
use super::local::Local;
use super::model::{AgentId, Consul, Event, Fault, Memory, Raft, ServerId};
use super::options::NodeOptions;
use super::rpc::Rpc;
use super::server::Server;
use super::store::Store;
use super::txn::Command;
use super::types::{CRITICAL, SERF_HEALTH, Service, Str};

/// Index of the first entry a client could have caused; an election and the cluster's own setup
/// come before it.
const FIRST_INDEX: u64 = 9;

impl Consul {
    /// Starts everything, as if it had been up for a moment.
    pub(crate) fn boot(&mut self) {
        let options = self.options.clone();
        for (number, node) in options.servers.iter().enumerate() {
            let rpc_address = format!("{}:{}", node.address, node.server_port).into();
            self.servers.push(Server {
                rpc_address,
                alive: true,
                leader: Some(0),
                contacted: true,
                ..Server::default()
            });
            self.add_agent(node, Some(number));
        }
        for node in &options.clients {
            self.add_agent(node, None);
        }
        self.found_cluster();
        for agent in 0..self.agents.len() {
            self.start_agent(agent);
        }
    }

    /// Begins an empty log under the first server that can lead.
    fn found_cluster(&mut self) {
        let tokens = self.options.token_table();
        self.raft = Raft {
            term: self.raft.term + 1,
            leader: None,
            last: FIRST_INDEX,
            committed: FIRST_INDEX,
            commit_at: 0,
            entries: VecDeque::new(),
        };
        let leader = (0..self.servers.len()).find(|server| self.servers[*server].is_up());
        self.raft.leader = leader;
        for server in &mut self.servers {
            server.store = Store { tokens: tokens.clone(), ..Store::default() };
            server.applied = FIRST_INDEX;
            server.barred.clear();
            server.delays.clear();
            server.timers.clear();
            server.leader = leader.filter(|_| server.alive);
            server.contacted = server.leader.is_some();
        }
        for agent in 0..self.agents.len() {
            let state = &self.agents[agent];
            if state.alive && !state.cut {
                let registration = self.member_registration(agent);
                self.append(Command::Register(registration), None);
            }
        }
    }

    fn add_agent(&mut self, node: &NodeOptions, server: Option<usize>) {
        let number = self.agents.len();
        let key = u64::try_from(number).unwrap_or(0);
        let id: Str = match &*node.id {
            "" => self.random.uuid("node", key).into(),
            id => id.into(),
        };
        self.agents.push(Agent {
            node_id: id,
            address: (&*node.address).into(),
            server,
            alive: true,
            local: Local::new((&*node.name).into()),
            preferred: usize::try_from(self.random.bits("preferred", key) >> 33).unwrap_or(0),
            ..Agent::default()
        });
    }

    /// Starts an agent's own clockwork.
    pub(crate) fn start_agent(&mut self, agent: usize) {
        let tick = self.options.timing.reap_tick;
        self.plan(agent, tick, Work::Reap);
        self.plan(agent, 0, Work::PushAgain);
        let next = self.draw("anti-entropy", self.options.timing.anti_entropy);
        self.plan(agent, next, Work::AntiEntropy { again: true });
        self.rearm(agent);
    }

    /// Describes a server as the service `consul`.
    pub(crate) fn server_service(&self, server: usize) -> Arc<Service> {
        let port = self.options.servers.get(server).map_or(8300, |node| node.server_port);
        let meta = [
            ("non_voter", "false"),
            ("raft_version", "3"),
            ("serf_protocol_current", "2"),
            ("serf_protocol_max", "5"),
            ("serf_protocol_min", "1"),
            ("version", "1.8.7"),
        ];
        let meta = meta.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Arc::new(Service {
            id: "consul".into(),
            name: "consul".into(),
            port: i64::from(port),
            weights: Some((1, 1)),
            meta: Some(meta),
            ..Service::default()
        })
    }

    pub(crate) fn on_fault(&mut self, fault: Fault) {
        if !self.has_victim(fault) {
            return;
        }
        let server = |ServerId(server): ServerId| server;
        let agent = |AgentId(agent): AgentId| agent;
        match fault {
            Fault::KillServer(id) => self.kill_server(server(id)),
            Fault::StartServer(id, memory) => self.start_server(server(id), memory),
            Fault::PauseServer(id) => self.pause_server(server(id)),
            Fault::ResumeServer(id) => self.resume_server(server(id)),
            Fault::StepDown => self.lose_leader(),
            Fault::LoseState => self.lose_state(),
            Fault::SlowDisk(id, delay) => self.servers[server(id)].slow_disk = delay,
            Fault::SlowFollower(id, delay) => self.servers[server(id)].slow_apply = delay,
            Fault::KillAgent(id) => self.kill_agent(agent(id)),
            Fault::StartAgent(id, memory) => self.restart_agent(agent(id), memory),
            Fault::PauseAgent(id) => self.pause_agent(agent(id)),
            Fault::ResumeAgent(id) => self.resume_agent(agent(id)),
            Fault::LeaveAgent(id) => self.leave(agent(id)),
            Fault::CutAgent(id) => self.cut_agent(agent(id), true),
            Fault::JoinAgent(id) => self.cut_agent(agent(id), false),
        }
    }

    /// Tells whether what is to break is there at all.
    fn has_victim(&self, fault: Fault) -> bool {
        match fault {
            Fault::KillServer(id)
            | Fault::StartServer(id, _)
            | Fault::PauseServer(id)
            | Fault::ResumeServer(id)
            | Fault::SlowDisk(id, _)
            | Fault::SlowFollower(id, _) => id.0 < self.servers.len(),
            Fault::KillAgent(id)
            | Fault::StartAgent(id, _)
            | Fault::PauseAgent(id)
            | Fault::ResumeAgent(id)
            | Fault::LeaveAgent(id)
            | Fault::CutAgent(id)
            | Fault::JoinAgent(id) => id.0 < self.agents.len(),
            Fault::StepDown | Fault::LoseState => true,
        }
    }

    pub(crate) fn kill_server(&mut self, server: usize) {
        if !self.servers[server].alive {
            return;
        }
        self.servers[server].alive = false;
        self.servers[server].paused = false;
        self.servers[server].timers.clear();
        let through: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.path.contains(&server))
            .map(|(id, _)| *id)
            .collect();
        let own = self.agent_of(server);
        for id in through {
            self.break_call(id, server, own);
        }
        for agent in 0..self.agents.len() {
            if Some(agent) != own && self.agents[agent].server.is_none() {
                let epoch = self.agents[agent].epoch;
                let delay = self.draw("gossip", self.options.timing.gossip_lost);
                let work = Event::Gossip { agent, epoch, alive: true };
                self.schedule_in(delay, work);
            }
        }
        if let Some(agent) = own {
            self.break_agent(agent);
            self.notice_agent(agent);
        }
        if self.raft.leader == Some(server) || !self.has_quorum() {
            self.lose_leader();
        }
    }

    fn agent_of(&self, server: usize) -> Option<usize> {
        self.agents.iter().position(|agent| agent.server == Some(server))
    }

    /// Ends a question that went through a server that died: nobody knows whether it was done.
    fn break_call(&mut self, id: u64, server: usize, own: Option<usize>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if Some(call.agent) == own {
            self.calls.remove(&id);
            return;
        }
        if let Some(place) = call.path.iter().position(|at| *at == server) {
            call.path.truncate(place + 1);
        }
        self.reply(id, Err("EOF".to_owned()));
    }

    pub(crate) fn has_quorum(&self) -> bool {
        self.servers.iter().filter(|server| server.is_up()).count() > self.servers.len() / 2
    }

    /// The cluster has no leader any more; the next election is planned.
    fn lose_leader(&mut self) {
        let Some(old) = self.raft.leader.take() else { return };
        self.raft.term += 1;
        self.drop_uncommitted();
        let term = self.raft.term;
        if self.servers[old].is_up() {
            // It stepped down in order: everybody knows at once.
            self.servers[old].timers.clear();
            self.on_leader_missed(term);
        } else {
            let missed = self.draw("leader missed", self.options.timing.leader_missed);
            self.schedule_in(missed, Event::LeaderMissed { term });
        }
        let election = self.draw("election", self.options.timing.election);
        self.schedule_in(election, Event::Elect { term });
    }

    /// Entries not yet committed may or may not survive: a part of them, from the oldest on, does.
    fn drop_uncommitted(&mut self) {
        let committed = self.raft.committed;
        let open = self.raft.entries.iter().filter(|entry| entry.index > committed).count();
        let open = u64::try_from(open).unwrap_or(0);
        let kept = if self.has_quorum() { self.draw("uncommitted", (0, open)) } else { 0 };
        let lost = usize::try_from(open - kept).unwrap_or(0);
        for _ in 0..lost {
            let Some(entry) = self.raft.entries.pop_back() else { break };
            if let Some(call) = entry.call {
                self.reply(call, Err("leadership lost while committing log".to_owned()));
            }
        }
        self.raft.last = self.raft.entries.back().map_or(committed, |entry| entry.index);
        self.raft.commit_at = 0;
    }

    pub(crate) fn on_leader_missed(&mut self, term: u64) {
        if self.raft.term != term || self.raft.leader.is_some() {
            return;
        }
        let now = self.now;
        for server in self.servers.iter_mut().filter(|server| server.is_up()) {
            server.leader = None;
            server.last_contact = server.last_contact.max(now);
        }
    }

    pub(crate) fn on_elect(&mut self, term: u64) {
        if self.raft.term != term || self.raft.leader.is_some() {
            return;
        }
        if !self.has_quorum() {
            // Tried again when a server comes back.
            return;
        }
        let candidates: Vec<usize> =
            (0..self.servers.len()).filter(|server| self.servers[*server].is_up()).collect();
        let newest = candidates.iter().map(|server| self.servers[*server].applied).max();
        let mut best: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|server| Some(self.servers[*server].applied) == newest)
            .collect();
        if best.is_empty() {
            best = candidates;
        }
        let place = self.draw("leader", (0, u64::try_from(best.len()).unwrap_or(1) - 1));
        let Some(leader) = usize::try_from(place).ok().and_then(|place| best.get(place)).copied()
        else {
            return;
        };
        self.raft.leader = Some(leader);
        self.raft.committed = self.raft.last;
        self.catch_up(leader, self.raft.last);
        let now = self.now;
        for server in self.servers.iter_mut().filter(|server| server.is_up()) {
            server.leader = Some(leader);
            server.contacted = true;
            server.last_contact = now;
        }
        self.append(Command::Noop, None);
        let sessions: Vec<_> = self.servers[leader].store.sessions.values().cloned().collect();
        self.servers[leader].timers.clear();
        for session in sessions {
            self.start_timer(leader, &session);
        }
        self.reconcile();
        self.push_everything();
    }

    /// The new leader brings the catalog in line with gossip.
    fn reconcile(&mut self) {
        for agent in 0..self.agents.len() {
            let state = &self.agents[agent];
            let alive = state.alive && !state.paused && !state.cut;
            let Some(leader) = self.raft.leader else { return };
            let node = state.local.node.clone();
            let known = self.servers[leader].store.check(&node, SERF_HEALTH).cloned();
            let critical = known.as_ref().is_some_and(|check| &*check.status == CRITICAL);
            if alive && (known.is_none() || critical) {
                let registration = self.member_registration(agent);
                self.append(Command::Register(registration), None);
            }
        }
    }

    /// Agents whose push failed try again soon after there is a leader.
    fn push_everything(&mut self) {
        for agent in 0..self.agents.len() {
            let state = &self.agents[agent];
            if state.alive && (state.unsent || state.local.is_unsynced()) {
                let delay = self.draw("push again", self.options.timing.push_again);
                self.plan(agent, delay, Work::PushAgain);
            }
        }
    }

    pub(crate) fn start_server(&mut self, server: usize, memory: Memory) {
        if self.servers[server].alive {
            return;
        }
        let now = self.now;
        let state = &mut self.servers[server];
        state.alive = true;
        state.leader = None;
        state.contacted = false;
        state.timers.clear();
        state.barred.clear();
        match memory {
            Memory::Kept => {
                // Replaying the log arms every lock delay in it again, in full.
                for (key, delay) in &state.delays {
                    state.barred.insert(key.clone(), now.saturating_add(*delay));
                }
            }
            Memory::Lost => {
                state.store = Store { tokens: state.store.tokens.clone(), ..Store::default() };
                state.applied = 0;
                state.delays.clear();
            }
        }
        if let Some(agent) = self.agent_of(server) {
            self.revive_agent(agent, memory);
        }
        for agent in &mut self.agents {
            agent.failed_servers.remove(&server);
        }
        self.rejoin(server);
    }

    /// A server is back: it follows the leader, or makes an election possible.
    fn rejoin(&mut self, server: usize) {
        match self.raft.leader {
            Some(leader) if leader != server => {
                self.servers[server].leader = Some(leader);
                self.servers[server].contacted = true;
                let lag = self.draw("lag", self.options.timing.follower_lag);
                let index = self.raft.committed;
                self.schedule_in(lag, Event::Apply { server, index });
            }
            Some(_) => {}
            None if self.has_quorum() => {
                let term = self.raft.term;
                let election = self.draw("election", self.options.timing.election);
                self.schedule_in(election, Event::Elect { term });
            }
            None => {}
        }
    }

    fn pause_server(&mut self, server: usize) {
        if !self.servers[server].is_up() {
            return;
        }
        self.servers[server].paused = true;
        if let Some(agent) = self.agent_of(server) {
            self.pause_agent(agent);
        }
        if self.raft.leader == Some(server) || !self.has_quorum() {
            self.lose_leader();
        }
    }

    fn resume_server(&mut self, server: usize) {
        if !self.servers[server].paused {
            return;
        }
        self.servers[server].paused = false;
        if let Some(agent) = self.agent_of(server) {
            self.resume_agent(agent);
        }
        let waiting: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.path.last() == Some(&server) && call.blocked.is_none())
            .map(|(id, _)| *id)
            .collect();
        if self.servers[server].leader == Some(server) && self.raft.leader != Some(server) {
            // It still takes itself for the leader, until somebody tells it otherwise.
            let delay = self.draw("depose", self.options.timing.depose);
            self.schedule_in(delay, Event::Depose { server });
            if self.draw("stale leader", (0, 1)) == 0 {
                self.on_depose(server);
            }
        } else {
            self.rejoin(server);
        }
        for id in waiting {
            self.serve(id, server);
        }
        let blocked: Vec<u64> = self.calls.keys().copied().collect();
        for id in blocked {
            self.on_wait_over(id);
        }
    }

    pub(crate) fn on_depose(&mut self, server: usize) {
        if self.servers[server].leader == Some(server) && self.raft.leader != Some(server) {
            self.servers[server].leader = None;
            self.servers[server].timers.clear();
            self.rejoin(server);
        }
    }

    fn lose_state(&mut self) {
        let held: Vec<u64> = self.calls.keys().copied().collect();
        for id in held {
            if self.calls.get(&id).is_some_and(|call| !call.path.is_empty()) {
                self.reply(id, Err("EOF".to_owned()));
            }
        }
        self.found_cluster();
        for agent in 0..self.agents.len() {
            self.agents[agent].unsent = true;
            let delay = self.draw("push again", self.options.timing.push_again);
            self.plan(agent, delay, Work::AntiEntropy { again: false });
        }
    }

    /// Asks the leader to take new tokens over.
    pub(crate) fn set_tokens(&mut self, agent: usize, tokens: super::acl::Tokens) {
        self.send_unasked(agent, Rpc::Tokens { tokens }, "");
    }
}
