//! The replicated log: entries are appended by the leader, committed, applied by every server; and
//! the session timers the leader keeps.

use std::sync::Arc;

use super::acl::Authority;
use super::go;
use super::model::{Consul, Event, LogEntry};
use super::rpc::Reply;
use super::txn::{Command, Outcome};
use super::types::{Session, Str};

/// A session lives so many TTLs without renewal.
const TTL_MULTIPLIER: u64 = 2;
/// Entries of the log kept for followers that lag.
const LOG_KEPT: usize = 1_024;

impl Consul {
    /// Appends an entry to the log; it is applied when committed.
    pub(crate) fn append(&mut self, command: Command, call: Option<u64>) {
        let Some(leader) = self.raft.leader else { return };
        let skipped = if self.options.contract { self.draw("index", (0, 2)) } else { 0 };
        self.raft.last += 1 + skipped;
        let index = self.raft.last;
        self.raft.entries.push_back(Arc::new(LogEntry { index, command, call }));
        let mut disk = self.draw("commit", self.options.timing.commit);
        disk += self.servers[leader].slow_disk;
        let at = self.now.saturating_add(disk).max(self.raft.commit_at);
        self.raft.commit_at = at;
        let term = self.raft.term;
        if at == self.now {
            self.on_commit(term, index);
        } else {
            self.schedule(at, Event::Commit { term, index });
        }
    }

    pub(crate) fn on_commit(&mut self, term: u64, index: u64) {
        let Some(leader) = self.raft.leader.filter(|_| self.raft.term == term) else { return };
        if self.servers[leader].paused {
            return;
        }
        self.raft.committed = self.raft.committed.max(index);
        self.catch_up(leader, index);
        for server in 0..self.servers.len() {
            if server != leader && self.servers[server].is_up() {
                let lag = self.draw("lag", self.options.timing.follower_lag);
                let lag = lag + self.servers[server].slow_apply;
                self.schedule_in(lag, Event::Apply { server, index });
            }
        }
        while self.raft.entries.len() > LOG_KEPT {
            self.raft.entries.pop_front();
        }
    }

    pub(crate) fn on_apply(&mut self, server: usize, index: u64) {
        if self.servers[server].is_up() && index <= self.raft.committed {
            self.servers[server].last_contact = self.now;
            self.catch_up(server, index);
        }
    }

    /// Applies the log to a server, up to an index.
    pub(crate) fn catch_up(&mut self, server: usize, index: u64) {
        let applied = self.servers[server].applied;
        let first = self.raft.entries.front().map_or(u64::MAX, |entry| entry.index);
        if applied + 1 < first && applied < index && applied != 0 && !self.holds_all(applied) {
            self.copy_from_leader(server);
        }
        let applied = self.servers[server].applied;
        let kept = &self.raft.entries;
        let from = kept.partition_point(|entry| entry.index <= applied);
        let to = kept.partition_point(|entry| entry.index <= index).max(from);
        let entries: Vec<Arc<LogEntry>> = kept.range(from..to).cloned().collect();
        for entry in entries {
            self.apply(server, &entry);
        }
    }

    /// Tells whether nothing between an index and the kept log has been dropped.
    fn holds_all(&self, applied: u64) -> bool {
        self.raft.entries.len() < LOG_KEPT || self.raft.entries[0].index <= applied + 1
    }

    fn copy_from_leader(&mut self, server: usize) {
        let Some(leader) = self.raft.leader.filter(|leader| *leader != server) else { return };
        self.servers[server].store = self.servers[leader].store.clone();
        self.servers[server].applied = self.servers[leader].applied;
    }

    fn apply(&mut self, server: usize, entry: &LogEntry) {
        let now = self.now;
        let leads = self.raft.leader == Some(server);
        let state = &mut self.servers[server];
        let outcome = state.store.apply(entry.index, &entry.command);
        state.applied = entry.index;
        let touched = std::mem::take(&mut state.store.touched);
        for (key, delay) in std::mem::take(&mut state.store.barred) {
            let delay = u64::try_from(delay).unwrap_or(0);
            state.barred.retain(|_, until| *until > now);
            state.barred.insert(key.clone(), now.saturating_add(delay));
            state.delays.insert(key, delay);
        }
        for id in std::mem::take(&mut state.store.ended) {
            state.timers.remove(&id);
        }
        if leads {
            self.after_apply(server, entry, &outcome);
        }
        self.wake(server, &touched);
    }

    fn after_apply(&mut self, server: usize, entry: &LogEntry, outcome: &Outcome) {
        let mut id = None;
        match &entry.command {
            Command::CreateSession(session) if *outcome == Outcome::Done => {
                id = Some(session.id.clone());
                self.start_timer(server, session);
            }
            Command::Kv { .. } | Command::Txn(_)
                if self.servers[server].store.index_of("tombstones") == Some(entry.index) =>
            {
                let after = self.draw("tombstones", self.options.timing.tombstones);
                self.schedule_in(after, Event::ReapTombstones { upto: entry.index });
            }
            _ => {}
        }
        let Some(call) = entry.call else { return };
        let authority = self
            .calls
            .get(&call)
            .and_then(|call| self.servers[server].store.tokens.resolve(&call.token).ok());
        let result = match outcome.clone() {
            Outcome::Failed(error) => Err(error),
            Outcome::Truth(truth) => Ok(Reply::Truth(truth)),
            Outcome::Done => Ok(id.map_or(Reply::Done, Reply::Id)),
            Outcome::Conflicts(conflicts) => Ok(Reply::Conflicts { conflicts, read: None }),
            Outcome::Rows(rows) => Ok(Reply::Rows {
                rows,
                authority: authority.unwrap_or(Authority::All { acl_on: false }),
                read: None,
            }),
        };
        self.reply(call, result);
    }

    /// Starts the timer of a session anew.
    pub(crate) fn start_timer(&mut self, server: usize, session: &Session) {
        let ttl = match &*session.ttl {
            "" => 0,
            ttl => go::parse_duration(ttl).ok().and_then(|t| u64::try_from(t).ok()).unwrap_or(0),
        };
        if ttl == 0 {
            return;
        }
        let life = if self.options.contract {
            self.contract_life(ttl)
        } else {
            ttl.saturating_mul(TTL_MULTIPLIER)
        };
        let deadline = self.now.saturating_add(life);
        let had = self.servers[server].timers.insert(session.id.clone(), deadline);
        if had.is_none_or(|earlier| deadline < earlier) {
            self.schedule(deadline, Event::SessionDue { server, id: session.id.clone() });
        }
    }

    /// Draws how long a session may live by contract: never less than its TTL.
    fn contract_life(&mut self, ttl: u64) -> u64 {
        match self.draw("session life kind", (0, 7)) {
            0 | 1 => ttl,
            2..=4 => self.draw("session life", (ttl, ttl.saturating_mul(2))),
            5 | 6 => ttl.saturating_mul(2),
            _ => self.draw("session life", (ttl.saturating_mul(2), ttl.saturating_mul(4))),
        }
    }

    pub(crate) fn on_session_due(&mut self, server: usize, id: &Str) {
        let state = &self.servers[server];
        let Some(deadline) = state.timers.get(id).copied() else { return };
        if deadline > self.now {
            return self.schedule(deadline, Event::SessionDue { server, id: id.clone() });
        }
        if state.is_up() && self.raft.leader == Some(server) {
            self.servers[server].timers.remove(id);
            self.append(Command::EndSession { id: id.clone() }, None);
        }
    }
}
