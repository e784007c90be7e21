//! The lives of agents: death, restart, pause, leave; and the gossip that notices.

use std::collections::VecDeque;

use super::agent::Work;
use super::local::Local;
use super::model::{Call, Consul, Event, Memory, Origin};
use super::txn::Command;
use super::types::{CRITICAL, Check, SERF_HEALTH};

impl Consul {
    pub(crate) fn kill_agent(&mut self, agent: usize) {
        match self.agents[agent].server {
            Some(server) => self.kill_server(server),
            None if self.agents[agent].alive => {
                self.break_agent(agent);
                self.notice_agent(agent);
            }
            None => {}
        }
    }

    /// The process is gone: its connections break.
    pub(crate) fn break_agent(&mut self, agent: usize) {
        let state = &mut self.agents[agent];
        state.alive = false;
        state.paused = false;
        state.epoch += 1;
        state.push = None;
        state.queue.clear();
        state.missed.clear();
        state.waits.clear();
        for id in std::mem::take(&mut state.requests) {
            self.respond(id, None);
        }
        let own = |call: &Call| call.agent == agent && call.origin != Origin::Nobody;
        self.calls.retain(|_, call| !own(call));
    }

    /// Gossip will notice, after a while, whether an agent lives.
    pub(crate) fn notice_agent(&mut self, agent: usize) {
        let state = &self.agents[agent];
        let alive = state.alive && !state.paused && !state.cut;
        let epoch = state.epoch;
        let timing = self.options.timing;
        let span = if alive { timing.gossip_found } else { timing.gossip_lost };
        let delay = self.draw("gossip", span);
        self.schedule_in(delay, Event::Gossip { agent, epoch, alive });
    }

    pub(crate) fn on_gossip(&mut self, agent: usize, epoch: u64, alive: bool) {
        let state = &self.agents[agent];
        let lives = state.alive && !state.paused && !state.cut;
        if lives {
            // What gossip tells a living agent: which servers are gone.
            let gone = |server: &usize| !self.servers[*server].alive;
            let failed = (0..self.servers.len()).filter(gone).collect();
            self.agents[agent].failed_servers = failed;
        }
        if lives != alive || self.agents[agent].epoch != epoch {
            return;
        }
        let Some(leader) = self.raft.leader else { return };
        let node = self.agents[agent].local.node.clone();
        let known = self.servers[leader].store.check(&node, SERF_HEALTH).cloned();
        if alive {
            if known.is_none_or(|check| &*check.status == CRITICAL) {
                let registration = self.member_registration(agent);
                self.append(Command::Register(registration), None);
            }
        } else if let Some(known) = known.filter(|check| &*check.status != CRITICAL) {
            let mut registration = self.member_registration(agent);
            registration.service = None;
            registration.checks = vec![Check {
                status: CRITICAL.into(),
                output: "Agent not live or unreachable".into(),
                ..(*known).clone()
            }];
            self.append(Command::Register(registration), None);
        }
    }

    pub(crate) fn restart_agent(&mut self, agent: usize, memory: Memory) {
        match self.agents[agent].server {
            Some(server) => self.start_server(server, memory),
            None if !self.agents[agent].alive => self.revive_agent(agent, memory),
            None => {}
        }
    }

    pub(crate) fn revive_agent(&mut self, agent: usize, memory: Memory) {
        let now = self.now;
        let key = self.next_count();
        let fresh = self.random.uuid("node again", key);
        let state = &mut self.agents[agent];
        state.alive = true;
        state.unsent = false;
        match memory {
            Memory::Kept => state.local.restart(now),
            Memory::Lost => {
                state.local = Local::new(state.local.node.clone());
                state.node_id = fresh.into();
            }
        }
        self.start_agent(agent);
        self.notice_agent(agent);
        if memory == Memory::Lost {
            // The first comparison comes with the start; what it finds foreign goes.
            let delay = self.draw("push again", self.options.timing.push_again);
            self.plan(agent, delay, Work::AntiEntropy { again: false });
        }
    }

    pub(crate) fn pause_agent(&mut self, agent: usize) {
        if self.agents[agent].alive && !self.agents[agent].paused {
            self.agents[agent].paused = true;
            self.notice_agent(agent);
        }
    }

    pub(crate) fn resume_agent(&mut self, agent: usize) {
        if !self.agents[agent].paused {
            return;
        }
        self.agents[agent].paused = false;
        self.notice_agent(agent);
        let mut missed: VecDeque<Work> = std::mem::take(&mut self.agents[agent].missed);
        // After a pause the order of what was due and what had come in is open.
        while !missed.is_empty() {
            let last = u64::try_from(missed.len()).unwrap_or(1) - 1;
            let place = self.draw("missed", (0, last.min(1)));
            let work = usize::try_from(place).ok().and_then(|place| missed.remove(place));
            if let Some(work) = work {
                self.give_work(agent, work);
            }
        }
    }

    /// An agent leaves in order: it is out of the catalog before its process ends.
    pub(crate) fn leave(&mut self, agent: usize) {
        if let Some(server) = self.agents[agent].server {
            return self.kill_server(server);
        }
        if !self.agents[agent].alive {
            return;
        }
        let node = self.agents[agent].local.node.clone();
        if self.raft.leader.is_some() {
            let command = Command::Deregister { node, service: "".into(), check: "".into() };
            self.append(command, None);
        }
        self.break_agent(agent);
    }

    pub(crate) fn cut_agent(&mut self, agent: usize, cut: bool) {
        if self.agents[agent].server.is_none() && self.agents[agent].cut != cut {
            self.agents[agent].cut = cut;
            self.notice_agent(agent);
            if !cut {
                let delay = self.draw("push again", self.options.timing.push_again);
                self.plan(agent, delay, Work::PushAgain);
            }
        }
    }
}
