//! Agents: requests, the one lock around an agent's state, pushes to the servers, anti-entropy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::acl::Authority;
use super::agent_ops::{Action, Context, content_hash};
use super::answer;
use super::catalog::Registration;
use super::http_api::{Request, Response};
use super::local::Local;
use super::model::{Call, Consul, Event, Origin, RequestId};
use super::read::{Answer, Query, Read};
use super::route::{About, Face, Routed, Site, route};
use super::rpc::{Reply, Rpc};
use super::types::{Check, Node, SERF_HEALTH, Str};

/// One agent.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Agent {
    pub(crate) node_id: Str,
    pub(crate) address: Str,
    /// The server it is, if it is one.
    pub(crate) server: Option<usize>,
    pub(crate) alive: bool,
    pub(crate) paused: bool,
    /// Is it cut off from the servers?
    pub(crate) cut: bool,
    /// Counts its starts, so that nothing of an earlier life happens in a later one.
    pub(crate) epoch: u64,
    pub(crate) local: Local,
    /// Which server it asks, in turn.
    pub(crate) preferred: usize,
    /// Servers gossip has told it are gone.
    pub(crate) failed_servers: BTreeSet<usize>,
    /// Is the state locked by a push?
    pub(crate) push: Option<Push>,
    /// What waits for the lock.
    pub(crate) queue: VecDeque<Work>,
    /// Did the last push fail?
    pub(crate) unsent: bool,
    /// Requests that wait for a definition to change.
    pub(crate) waits: Vec<LocalWait>,
    /// Answers to `?cached` reads.
    pub(crate) cache: BTreeMap<Read, Answer>,
    /// Requests under way, to be broken when it dies.
    pub(crate) requests: BTreeSet<RequestId>,
    /// What came in while it was paused.
    pub(crate) missed: VecDeque<Work>,
}

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

/// Something for an agent to do once its state is free.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    Request { id: RequestId, action: Box<Action>, token: Str, pretty: bool },
    Fresh { id: RequestId, request: Request },
    Expire { check: Str },
    SendOutput { check: Str },
    Reap,
    AntiEntropy { again: bool },
    PushAgain,
}

/// A request for a service that waits until the definition changes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LocalWait {
    request: RequestId,
    id: Str,
    hash: Str,
    token: Str,
    pretty: bool,
}

const SECOND: u64 = 1_000_000_000;

impl Consul {
    pub(crate) fn on_request(&mut self, id: RequestId, agent: usize, request: Request) {
        let state = &mut self.agents[agent];
        if !state.alive {
            return self.respond(id, None);
        }
        state.requests.insert(id);
        if state.paused {
            state.missed.push_back(Work::Fresh { id, request });
            return;
        }
        self.start_request(id, agent, &request);
    }

    fn start_request(&mut self, id: RequestId, agent: usize, request: &Request) {
        let options = self.options.clone();
        let datacenter: Str = (&*options.datacenter).into();
        let local = &self.agents[agent].local;
        let site = Site { node: &local.node, datacenter: &datacenter, ui: options.ui };
        let (routed, token, pretty) = route(request, &site);
        let pretty = pretty || options.pretty;
        let vary = |response: Response| response.with("Vary", "Accept-Encoding");
        match routed {
            Routed::Reply(response) => {
                self.answer(id, agent, response);
            }
            Routed::Break => {
                self.agents[agent].requests.remove(&id);
                self.respond(id, None);
            }
            Routed::Agent(action) => {
                let action = Box::new(action);
                self.give_work(agent, Work::Request { id, action, token, pretty });
            }
            Routed::AgentService { id: service, hash, wait } => {
                self.local_wait(
                    agent,
                    LocalWait { request: id, id: service, hash, token, pretty },
                    wait,
                );
            }
            Routed::Servers { rpc, dc, face } => {
                let origin = Origin::Http { id, face, pretty };
                let patience = self.draw("patience", options.timing.hold);
                let call = Call {
                    agent,
                    origin,
                    rpc,
                    token,
                    patience: self.now.saturating_add(patience),
                    path: Vec::new(),
                    blocked: None,
                };
                if *dc == *datacenter {
                    return self.send(call);
                }
                let count = self.next_count();
                self.calls.insert(count, call);
                self.finish_in(0, count, Err("No path to datacenter".to_owned()));
            }
            Routed::About(About::Leave) => {
                self.answer(id, agent, vary(Response::empty(200)));
                self.leave(agent);
            }
            Routed::About(about) => {
                let response = self.describe(agent, &about, request, &token, pretty);
                self.answer(id, agent, vary(response));
            }
        }
    }

    /// Sends a response to the one who asked, unless it has gone away.
    pub(crate) fn answer(&mut self, id: RequestId, agent: usize, response: Response) {
        if self.agents[agent].requests.remove(&id) {
            self.respond(id, Some(response));
        }
    }

    pub(crate) fn on_cancel(&mut self, id: RequestId) {
        for agent in &mut self.agents {
            agent.requests.remove(&id);
            agent.waits.retain(|wait| wait.request != id);
        }
        let gone = |call: &Call| {
            matches!(&call.origin, Origin::Http { id: of, .. } if *of == id)
                && call.blocked.is_some()
        };
        self.calls.retain(|_, call| !gone(call));
    }

    pub(crate) fn on_finish(&mut self, id: u64, result: Result<Reply, String>) {
        let Some(call) = self.calls.remove(&id) else { return };
        match call.origin {
            Origin::Http { id, face, pretty } => {
                let (result, cached) = self.through_cache(&call, result);
                let mut response = answer::response(&call.rpc, result, face, pretty);
                if let Some(hit) = cached {
                    response = response.with("X-Cache", if hit { "HIT" } else { "MISS" });
                    if hit {
                        response = response.with("Age", "0");
                    }
                }
                self.answer(id, call.agent, response.with("Vary", "Accept-Encoding"));
            }
            Origin::Push => self.on_pushed(call.agent, result),
            Origin::Nobody => {}
        }
    }

    /// Keeps what a `?cached` read yields, and falls back on it when the servers fail; also says
    /// whether it was there before, for reads that are cached at all.
    fn through_cache(
        &mut self,
        call: &Call,
        result: Result<Reply, String>,
    ) -> (Result<Reply, String>, Option<bool>) {
        let Rpc::Read { read, options } = &call.rpc else { return (result, None) };
        let kind = &read.query;
        let cacheable =
            matches!(kind, Query::Health { .. } | Query::Services | Query::Instances { .. });
        if !options.cached || !cacheable {
            return (result, None);
        }
        let cache = &mut self.agents[call.agent].cache;
        let hit = cache.contains_key(read);
        match (&result, cache.get(read)) {
            (Ok(Reply::Answer { answer, .. }), _) => {
                cache.insert(read.clone(), answer.clone());
            }
            (Err(_), Some(answer)) => {
                let answer = answer.clone();
                let reply = Reply::Answer { answer, contact_ms: 0, known_leader: true };
                return (Ok(reply), Some(true));
            }
            _ => return (result, None),
        }
        (result, Some(hit))
    }

    /// Gives an agent something to do, now or as soon as its state is free.
    pub(crate) fn give_work(&mut self, agent: usize, work: Work) {
        let state = &mut self.agents[agent];
        if !state.alive {
            return;
        }
        if state.paused {
            state.missed.push_back(work);
        } else if state.push.is_some() {
            state.queue.push_back(work);
        } else {
            self.do_work(agent, work);
        }
    }

    fn do_work(&mut self, agent: usize, work: Work) {
        match work {
            Work::Fresh { id, request } => self.start_request(id, agent, &request),
            Work::Request { id, action, token, pretty } => {
                self.do_action(agent, id, &action, &token, pretty);
            }
            Work::Expire { check } => {
                let send_at = self.output_deadline();
                let now = self.now;
                self.agents[agent].local.expire(now, &check, Some(send_at));
                self.rearm(agent);
                self.start_push(agent, None);
            }
            Work::SendOutput { check } => {
                let now = self.now;
                if let Some(known) = self.agents[agent].local.checks.get_mut(&check)
                    && known.send_at.is_some_and(|at| at <= now)
                {
                    known.send_at = None;
                    known.in_sync = false;
                }
                self.start_push(agent, None);
            }
            Work::Reap => {
                let next = self.options.timing.reap_tick;
                self.plan(agent, next, Work::Reap);
                for service in self.agents[agent].local.overdue(self.now) {
                    let _ = self.agents[agent].local.remove_service(&service);
                }
                self.start_push(agent, None);
            }
            Work::AntiEntropy { again } => {
                if again {
                    let next = self.draw("anti-entropy", self.options.timing.anti_entropy);
                    self.plan(agent, next, Work::AntiEntropy { again: true });
                }
                self.compare(agent);
                self.start_push(agent, None);
            }
            Work::PushAgain => self.start_push(agent, None),
        }
    }

    /// Plans work of an agent for later.
    pub(crate) fn plan(&mut self, agent: usize, delay: u64, work: Work) {
        let epoch = self.agents[agent].epoch;
        self.schedule_in(delay, Event::AgentWork { agent, epoch, work: Box::new(work) });
    }

    fn output_deadline(&mut self) -> u64 {
        let delay = self.draw("output only", self.options.timing.output_only);
        self.now.saturating_add(delay)
    }

    fn do_action(
        &mut self,
        agent: usize,
        id: RequestId,
        action: &Action,
        token: &Str,
        pretty: bool,
    ) {
        let authority = match self.tokens().resolve(token) {
            Ok(authority) => authority,
            Err(error) => {
                let response = Response::error(&error).with("Vary", "Accept-Encoding");
                return self.answer(id, agent, response);
            }
        };
        let send_at = match action {
            Action::Heartbeat { .. } => Some(self.output_deadline()),
            _ => None,
        };
        let context = Context { now: self.now, token, authority: &authority, pretty, send_at };
        let done = self.agents[agent].local.act(action, &context);
        let response = done.response.with("Vary", "Accept-Encoding");
        if !done.push {
            return self.answer(id, agent, response);
        }
        self.rearm(agent);
        self.wake_local(agent);
        self.start_push(agent, Some((id, response)));
    }

    /// Puts the deadlines of an agent's checks on the agenda.
    pub(crate) fn rearm(&mut self, agent: usize) {
        let mut planned = Vec::new();
        let state = &self.agents[agent];
        for (check, clock) in &state.local.ttls {
            if let Some(deadline) = clock.deadline {
                planned.push((deadline, Work::Expire { check: check.clone() }));
            }
        }
        for (check, known) in &state.local.checks {
            if let Some(at) = known.send_at {
                planned.push((at, Work::SendOutput { check: check.clone() }));
            }
        }
        let epoch = state.epoch;
        for (at, work) in planned {
            let known = self.events.range((at, 0)..=(at, u64::MAX)).any(|(_, event)| {
                matches!(event, Event::AgentWork { agent: of, work: w, .. } if *of == agent && **w == work)
            });
            if !known {
                self.schedule(at, Event::AgentWork { agent, epoch, work: Box::new(work) });
            }
        }
    }

    fn local_wait(&mut self, agent: usize, wait: LocalWait, patience: i64) {
        if !wait.hash.is_empty() && self.current_hash(agent, &wait.id) == Some(wait.hash.clone()) {
            let wanted = match u64::try_from(patience) {
                Ok(0) | Err(_) => 300 * SECOND,
                Ok(wanted) => wanted.min(600 * SECOND),
            };
            let jitter = self.draw("jitter", (0, wanted / 16));
            let request = wait.request;
            self.agents[agent].waits.push(wait);
            self.schedule_in(wanted + jitter, Event::LocalWaitOver { agent, request });
            return;
        }
        self.answer_wait(agent, wait);
    }

    fn answer_wait(&mut self, agent: usize, wait: LocalWait) {
        let LocalWait { request, id, token, pretty, .. } = wait;
        let action = Box::new(Action::Service { id });
        self.give_work(agent, Work::Request { id: request, action, token, pretty });
    }

    fn current_hash(&self, agent: usize, id: &str) -> Option<Str> {
        self.agents[agent].local.service(id).map(|service| content_hash(service).into())
    }

    /// Answers the requests whose service has changed.
    fn wake_local(&mut self, agent: usize) {
        let waits = std::mem::take(&mut self.agents[agent].waits);
        for wait in waits {
            if self.current_hash(agent, &wait.id).as_ref() == Some(&wait.hash) {
                self.agents[agent].waits.push(wait);
            } else {
                self.answer_wait(agent, wait);
            }
        }
    }

    pub(crate) fn on_local_wait_over(&mut self, agent: usize, request: RequestId) {
        let waits = &mut self.agents[agent].waits;
        if let Some(place) = waits.iter().position(|wait| wait.request == request) {
            let wait = waits.remove(place);
            self.answer_wait(agent, wait);
        }
    }

    /// Begins to send what the servers do not know, then answers; the state is locked meanwhile.
    fn start_push(&mut self, agent: usize, then: Option<(RequestId, Response)>) {
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
                let same = |check: &&super::local::LocalCheck| {
                    !check.in_sync && check.token == known.token
                };
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

    fn on_pushed(&mut self, agent: usize, result: Result<Reply, String>) {
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
    fn compare(&mut self, agent: usize) {
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

impl Face {
    /// Tells whether an error carries the index headers too.
    pub(crate) fn has_meta_on_error(self) -> bool {
        matches!(self, Face::Catalog | Face::Session)
    }
}
