//! Agents: requests, the one lock around an agent's state, pushes to the servers, anti-entropy.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::agent_ops::{Action, Context, content_hash};
use super::answer;
use super::http_api::{Request, Response};
use super::kept::Routes;
use super::local::Local;
use super::model::{Call, Consul, Event, Origin, RequestId};
use super::push::Push;
use super::read::{Answer, Query, Read};
use super::route::{About, Face, Routed, Site};
use super::rpc::{Reply, Rpc};
use super::types::Str;

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
    pub(crate) routes: Routes,
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
        let Agent { local, routes, .. } = &mut self.agents[agent];
        let site = Site { node: &local.node, datacenter: &datacenter, ui: options.ui };
        let (routed, token, pretty) = routes.find(request, &site);
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

    pub(crate) fn do_work(&mut self, agent: usize, work: Work) {
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
        let now = self.now;
        let state = &mut self.agents[agent];
        for (check, clock) in &mut state.local.ttls {
            if let Some(deadline) = clock.deadline
                && (clock.planned.0 != Some(deadline) || deadline <= now)
            {
                clock.planned.0 = Some(deadline);
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
            let known = self.events.range((at, 0)..=(at, u64::MAX)).any(|(_, event)| match event {
                Event::AgentWork { agent: of, work: other, .. } => *of == agent && **other == work,
                _ => false,
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
}

impl Face {
    /// Tells whether an error carries the index headers too.
    pub(crate) fn has_meta_on_error(self) -> bool {
        matches!(self, Face::Catalog | Face::Session)
    }
}
