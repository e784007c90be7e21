//! Servers: where questions arrive, wait for a leader, are answered, logged, applied; session
//! timers and lock delays.

use std::collections::BTreeMap;

use super::acl::Authority;
use super::json::Writer;
use super::model::{Blocked, Call, Consul, Event, Origin};
use super::read::Read;
use super::rpc::{ReadOptions, Reply, Rpc, Verdict, judge_operations};
use super::store::{Store, Touch};
use super::txn::{Command, Operation, Outcome};
use super::types::Str;

/// One server.
#[derive(Clone, Debug, Default, Hash)]
pub(crate) struct Server {
    pub(crate) rpc_address: Str,
    pub(crate) alive: bool,
    pub(crate) paused: bool,
    /// Whom it takes for the leader, itself perhaps.
    pub(crate) leader: Option<usize>,
    /// Has it ever heard of a leader since its start?
    pub(crate) contacted: bool,
    pub(crate) last_contact: u64,
    pub(crate) store: Store,
    pub(crate) applied: u64,
    /// Keys under lock delay, until when.
    pub(crate) barred: BTreeMap<Str, u64>,
    /// Every lock delay in the log; a restart arms them all again.
    pub(crate) delays: BTreeMap<Str, u64>,
    /// Sessions' deadlines; only the leader has any.
    pub(crate) timers: BTreeMap<Str, u64>,
    pub(crate) slow_disk: u64,
    pub(crate) slow_apply: u64,
}

const MS: u64 = 1_000_000;
const WAIT_DEFAULT: u64 = 300_000 * MS;
const WAIT_MAX: u64 = 600_000 * MS;

impl Server {
    /// Does it answer?
    pub(crate) fn is_up(&self) -> bool {
        self.alive && !self.paused
    }

    fn is_barred(&self, key: &str, now: u64) -> bool {
        self.barred.get(key).is_some_and(|until| *until > now)
    }
}

impl Consul {
    /// Sends a question on its way from its agent.
    pub(crate) fn send(&mut self, call: Call) {
        let id = self.next_count();
        let agent = call.agent;
        let target = self.entry_server(agent);
        self.calls.insert(id, call);
        match target {
            Ok(server) => {
                let own = self.agents[agent].server == Some(server);
                let hop = if own { 0 } else { self.draw("hop", self.options.timing.hop) };
                self.schedule_in(hop, Event::Arrive { call: id, server });
            }
            Err(error) => self.finish_in(0, id, Err(error)),
        }
    }

    /// Chooses the server an agent asks.
    fn entry_server(&mut self, agent: usize) -> Result<usize, String> {
        if let Some(own) = self.agents[agent].server {
            return Ok(own);
        }
        if self.agents[agent].cut {
            return Err("No known Consul servers".to_owned());
        }
        let known: Vec<usize> = (0..self.servers.len())
            .filter(|server| !self.agents[agent].failed_servers.contains(server))
            .collect();
        let preferred = self.agents[agent].preferred;
        let Some(server) = known.get(preferred % known.len().max(1)).copied() else {
            return Err("No known Consul servers".to_owned());
        };
        if self.servers[server].alive {
            return Ok(server);
        }
        self.agents[agent].preferred = preferred + 1;
        Err(self.refused(&self.agents[agent].address, server))
    }

    fn refused(&self, from: &str, server: usize) -> String {
        format!(
            "rpc error getting client: failed to get conn: dial tcp {from}:0->{}: \
             connect: connection refused",
            self.servers[server].rpc_address
        )
    }

    /// Ends a question, so much later.
    pub(crate) fn finish_in(&mut self, delay: u64, call: u64, result: Result<Reply, String>) {
        self.schedule_in(delay, Event::Finish { call, result });
    }

    /// Answers a question from where it is: errors collect a prefix for every hop.
    pub(crate) fn reply(&mut self, id: u64, result: Result<Reply, String>) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.blocked = None;
        let own = self.agents[call.agent].server;
        let is_own = call.path.first().is_some_and(|first| Some(*first) == own);
        let hops = call.path.len() - usize::from(is_own);
        let result =
            result.map_err(|error| format!("{}{error}", "rpc error making call: ".repeat(hops)));
        let mut delay = 0;
        for _ in 0..hops {
            delay += self.draw("hop", self.options.timing.hop);
        }
        self.finish_in(delay, id, result);
    }

    pub(crate) fn on_arrive(&mut self, id: u64, server: usize) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !self.servers[server].alive {
            let from: Str = match call.path.last() {
                Some(from) => self.servers[*from].rpc_address.clone(),
                None => self.agents[call.agent].address.clone(),
            };
            let from = from.split(':').next().unwrap_or_default().to_owned();
            let error = self.refused(&from, server);
            return self.reply(id, Err(error));
        }
        call.path.push(server);
        if self.servers[server].paused {
            return;
        }
        self.serve(id, server);
    }

    /// Serves a question at a server that runs.
    pub(crate) fn serve(&mut self, id: u64, server: usize) {
        let Some(call) = self.calls.get(&id) else { return };
        let state = &self.servers[server];
        let stale = call.rpc.takes_stale()
            && (state.contacted || matches!(call.rpc, Rpc::Leader | Rpc::Peers));
        let leads = state.leader == Some(server);
        // A leader asked for consistency makes sure that the others still follow; one that was
        // replaced meanwhile finds out by that.
        let deposed = leads && self.raft.leader != Some(server) && call.rpc.is_consistent();
        if (leads && !deposed) || stale {
            return self.execute(id, server);
        }
        match state.leader.filter(|_| !deposed) {
            Some(leader) => {
                let hop = self.draw("hop", self.options.timing.hop);
                self.schedule_in(hop, Event::Arrive { call: id, server: leader });
            }
            None if self.now >= call.patience => {
                self.reply(id, Err("No cluster leader".to_owned()));
            }
            None => {
                let patience = call.patience;
                let again = self.draw("hold", (50 * MS, 430 * MS));
                let at = self.now.saturating_add(again).min(patience);
                self.schedule(at, Event::Retry { call: id });
            }
        }
    }

    pub(crate) fn on_retry(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(server) = call.path.last().copied() else { return };
        if self.servers[server].is_up() {
            self.serve(id, server);
        }
    }

    fn execute(&mut self, id: u64, server: usize) {
        let Some(call) = self.calls.get(&id) else { return };
        let state = &self.servers[server];
        let authority = match state.store.tokens.resolve(&call.token) {
            Ok(authority) => authority,
            Err(_) if matches!(call.rpc, Rpc::Leader | Rpc::Peers) => {
                Authority::All { acl_on: true }
            }
            Err(error) => return self.reply(id, Err(error)),
        };
        let contact = self.contact_ms(server);
        match call.rpc.clone() {
            Rpc::Leader => {
                let leader = state.leader.map_or("", |leader| &*self.servers[leader].rpc_address);
                let printed = Writer::compact(|w| w.text(leader));
                self.reply(id, Ok(Reply::Json(printed)));
            }
            Rpc::Peers => {
                let printed = Writer::compact(|w| {
                    w.list(|w| self.servers.iter().for_each(|peer| w.text(&peer.rpc_address)));
                });
                self.reply(id, Ok(Reply::Json(printed)));
            }
            Rpc::Read { read, options } => self.read(id, server, &read, options, authority),
            Rpc::TxnRead { operations, .. } => {
                self.read_txn(id, server, operations, authority, contact);
            }
            Rpc::Renew { id: session } => self.renew(id, server, &session, &authority),
            write => self.write(id, server, write, &authority),
        }
    }

    /// Tells for how long a server has not heard from the leader, and whether it knows one.
    fn contact_ms(&self, server: usize) -> (u64, bool) {
        let state = &self.servers[server];
        if state.leader == Some(server) {
            return (0, true);
        }
        let at = match state.leader {
            Some(leader) if self.servers[leader].is_up() => {
                // Heartbeats of an idle leader come every 50 to 100 ms.
                return (self.random.below("contact", self.now, 100), true);
            }
            _ => state.last_contact,
        };
        ((self.now - at.min(self.now)) / MS, state.leader.is_some())
    }

    fn read(
        &mut self,
        id: u64,
        server: usize,
        read: &Read,
        options: ReadOptions,
        authority: Authority,
    ) {
        let (answer, watches) = match self.servers[server].store.look(read, &authority) {
            Ok(found) => found,
            Err(error) => return self.reply(id, Err(error)),
        };
        let (contact_ms, known_leader) = self.contact_ms(server);
        if options.index == 0 || answer.index > options.index {
            return self.reply(id, Ok(Reply::Answer { answer, contact_ms, known_leader }));
        }
        let wait = match u64::try_from(options.wait) {
            Ok(0) | Err(_) => WAIT_DEFAULT,
            Ok(wait) => wait.min(WAIT_MAX),
        };
        let jitter = self.draw("jitter", (0, wait / 16));
        let until = self.now.saturating_add(wait).saturating_add(jitter);
        self.schedule(until, Event::WaitOver { call: id });
        if let Some(call) = self.calls.get_mut(&id) {
            call.blocked = Some(Blocked { server, until, answer, watches, authority });
        }
    }

    pub(crate) fn on_wait_over(&mut self, id: u64) {
        let Some(blocked) = self.calls.get(&id).and_then(|call| call.blocked.clone()) else {
            return;
        };
        if blocked.until > self.now || !self.servers[blocked.server].is_up() {
            return;
        }
        self.reply_blocked(id, blocked);
    }

    /// Answers a blocking query with what it saw last.
    pub(crate) fn reply_blocked(&mut self, id: u64, blocked: Blocked) {
        let (contact_ms, known_leader) = self.contact_ms(blocked.server);
        let answer = blocked.answer;
        self.reply(id, Ok(Reply::Answer { answer, contact_ms, known_leader }));
    }

    /// Wakes the blocking queries at a server that a write concerns.
    pub(crate) fn wake(&mut self, server: usize, touched: &[Touch]) {
        if touched.is_empty() {
            return;
        }
        let concerned = |blocked: &Blocked| {
            blocked.server == server
                && blocked.watches.iter().any(|watch| touched.iter().any(|t| watch.is_woken_by(t)))
        };
        let woken: Vec<u64> = self
            .calls
            .iter()
            .filter(|(_, call)| call.blocked.as_ref().is_some_and(concerned))
            .map(|(id, _)| *id)
            .collect();
        for id in woken {
            self.read_again(id);
        }
    }

    fn read_again(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Rpc::Read { read, options } = &call.rpc else { return };
        let index = options.index;
        let Some(blocked) = &mut call.blocked else { return };
        match self.servers[blocked.server].store.look(read, &blocked.authority) {
            Ok((answer, watches)) => {
                blocked.answer = answer;
                blocked.watches = watches;
                let spurious = self.options.contract
                    && self.random.below("spurious", id ^ self.raft.last, 16) == 0;
                if blocked.answer.index > index || spurious {
                    let blocked = blocked.clone();
                    self.reply_blocked(id, blocked);
                }
            }
            Err(error) => self.reply(id, Err(error)),
        }
    }

    fn read_txn(
        &mut self,
        id: u64,
        server: usize,
        mut operations: Vec<Operation>,
        authority: Authority,
        contact: (u64, bool),
    ) {
        let conflicts = judge_operations(&mut operations, &authority, &|_| false);
        let read = Some(contact);
        let reply = if conflicts.is_empty() {
            let mut store = self.servers[server].store.clone();
            match store.transact(0, &operations) {
                Outcome::Conflicts(conflicts) => Reply::Conflicts { conflicts, read },
                Outcome::Rows(rows) => Reply::Rows { rows, authority, read },
                _ => Reply::Done,
            }
        } else {
            Reply::Conflicts { conflicts, read }
        };
        self.reply(id, Ok(reply));
    }

    fn renew(&mut self, id: u64, server: usize, session: &str, authority: &Authority) {
        let found = match self.servers[server].store.session(session) {
            Ok(found) => found.cloned(),
            Err(error) => return self.reply(id, Err(error)),
        };
        let Some(session) = found else { return self.reply(id, Ok(Reply::Renewed(None))) };
        if !authority.may_write(super::acl::Resource::Session, &session.node) {
            return self.reply(id, Err(super::acl::DENIED.to_owned()));
        }
        self.start_timer(server, &session);
        let printed = Writer::compact(|w| w.list(|w| session.print(w)));
        self.reply(id, Ok(Reply::Renewed(Some(printed))));
    }

    fn write(&mut self, id: u64, server: usize, rpc: Rpc, authority: &Authority) {
        let now = self.now;
        let rpc = match rpc {
            Rpc::CreateSession { mut session, behavior } => {
                let key = self.next_count();
                session.id = self.random.uuid("session", key).into();
                Rpc::CreateSession { session, behavior }
            }
            other => other,
        };
        let state = &self.servers[server];
        match rpc.judge(&state.store, authority, |key| state.is_barred(key, now)) {
            Verdict::Answer(result) => self.reply(id, result),
            Verdict::Log(_) if self.raft.leader != Some(server) => {
                // It only believes to be the leader: nobody will follow.
                self.reply(id, Err("leadership lost while committing log".to_owned()));
            }
            Verdict::Log(command) => self.append(command, Some(id)),
        }
    }

    pub(crate) fn on_reap_tombstones(&mut self, upto: u64) {
        self.append(Command::ReapTombstones { upto }, None);
    }

    /// Asks the leader something nobody waits for.
    pub(crate) fn send_unasked(&mut self, agent: usize, rpc: Rpc, token: &str) {
        let patience = self.now;
        self.send(Call {
            agent,
            origin: Origin::Nobody,
            rpc,
            token: token.into(),
            patience,
            path: Vec::new(),
            blocked: None,
        });
    }
}
