//! What programs say and what becomes of databases, as parts of a story.

use std::sync::Arc;

use steersman_engine::{RunId, RunKind, Time};

use super::Teller;
use crate::agenda::NodeId;
use crate::database::{Data, ServerTruth, Truth};
use crate::program::cue::Told;
use crate::story::{LaneKind, MarkKind, Tone};

/// What is known of a database while its story is told.
#[derive(Debug, Default)]
pub(super) struct DatabaseTale {
    pub(super) name: Arc<str>,
    truth: Arc<Truth>,
}

impl Teller {
    /// Names the databases, in order.
    #[must_use]
    pub fn with_databases(mut self, names: impl IntoIterator<Item = Arc<str>>) -> Teller {
        let tale = |name| DatabaseTale { name, truth: Arc::default() };
        self.databases = names.into_iter().map(tale).collect();
        self
    }

    pub(super) fn on_told(&mut self, at: Time, node: usize, run: RunId, told: &Told) {
        // What the supervisor was told before this has its place before it.
        let (kind, what) = match told {
            Told::Said(text) => (MarkKind::Event, text.to_string()),
            Told::Ended(why) => (MarkKind::Bad, format!("gives up: {why}")),
            Told::Drawn(..) => return,
        };
        let lane = self.job_lane(node, run.job);
        let job = self.job_name(node, run.job);
        let whose = match run.kind {
            RunKind::Main => format!("\"{job}\""),
            RunKind::Check => format!("the check of \"{job}\""),
        };
        if !self.is_news(node, run, &what) {
            self.quiet_checks += 1;
            return;
        }
        let why = format!("Said by {whose}, run {}.", run.nth);
        let cause = self.nodes[node].last_mark.get(&run).copied();
        let mark = self.put(at, lane, kind, what, why, cause);
        self.nodes[node].last_mark.insert(run, mark);
    }

    /// Checks that say the same again and again are not told again and again.
    fn is_news(&mut self, node: usize, run: RunId, what: &str) -> bool {
        let key = (node, run.job, run.kind == RunKind::Check, Box::from(what));
        run.kind == RunKind::Main || self.heard.insert(key)
    }

    pub(super) fn on_truth(&mut self, at: Time, nth: u8, truth: &Arc<Truth>) {
        let Some(tale) = self.databases.get_mut(usize::from(nth)) else { return };
        let (name, before) =
            (tale.name.clone(), core::mem::replace(&mut tale.truth, truth.clone()));
        for (index, server) in truth.servers.iter().enumerate() {
            let old = before.servers.get(index).copied().unwrap_or_default();
            if index < self.nodes.len()
                && (old != *server || role(server, truth, index) != role(&old, &before, index))
            {
                self.tell_server(at, index, &name, (&old, &before), (server, truth));
            }
        }
        if truth.lost > before.lost
            && let Some(primary) = truth.primary()
        {
            let lane = self.database_lane(primary.index(), &name);
            let what = format!("{} acknowledged writes are lost", truth.lost - before.lost);
            let why = "The primary does not have them, and replication had time for them.";
            self.put(at, lane, MarkKind::Bad, what, why.to_owned(), None);
        }
    }

    fn database_lane(&mut self, node: usize, name: &str) -> usize {
        let owner = self.nodes[node].name.clone();
        self.lane_of(node, &owner, LaneKind::Database, &format!("{name} data"))
    }

    fn tell_server(
        &mut self,
        at: Time,
        node: usize,
        name: &str,
        (old, before): (&ServerTruth, &Truth),
        (new, truth): (&ServerTruth, &Truth),
    ) {
        let lane = self.database_lane(node, name);
        let source = new.source.map_or("nobody", |source| {
            self.nodes.get(source.index()).map_or("?", |tale| &tale.name)
        });
        let mut news = Vec::new();
        if new.data != old.data {
            news.push(match new.data {
                Data::Empty => (MarkKind::Bad, String::from("the data is gone")),
                Data::Initialised => (MarkKind::Event, String::from("an empty database is made")),
                Data::Restored => (MarkKind::Event, String::from("a backup is restored")),
            });
        }
        if new.has_users && !old.has_users && new.data == old.data {
            news.push((MarkKind::Event, String::from("has the users of the cluster")));
        }
        if new.source != old.source && new.source.is_some() {
            news.push((MarkKind::Event, format!("is to replicate from {source}")));
        }
        if new.is_replicating != old.is_replicating && new.source.is_some() {
            let (kind, what) = match (new.is_replicating, new.has_stopped) {
                (true, _) => (MarkKind::Good, format!("replicates from {source}")),
                (false, true) => (MarkKind::Bad, format!("stops to replicate from {source}")),
                (false, false) => (MarkKind::Bad, format!("has lost {source}, its source")),
            };
            news.push((kind, what));
        }
        if new.is_errant && !old.is_errant {
            let what = format!("has writes that {source} does not have");
            news.push((MarkKind::Bad, what));
        }
        if new.is_primary && !old.is_primary {
            news.push((MarkKind::Good, String::from("takes writes and follows nobody")));
        }
        for (kind, what) in news {
            let why = format!("The database \"{name}\" on this node.");
            self.put(at, lane, kind, what, why, None);
        }
        let roles = (role(old, before, node), role(new, truth, node));
        match roles {
            (old, new) if old == new => {}
            (_, None) => self.end_stretch(at, lane, false),
            (_, Some((tone, what))) => self.begin_stretch(at, lane, tone, what.to_owned()),
        }
    }
}

/// What a server is, for its lane.
fn role(server: &ServerTruth, truth: &Truth, node: usize) -> Option<(Tone, &'static str)> {
    let id = NodeId(u16::try_from(node).unwrap_or(u16::MAX));
    if !server.is_up {
        return None;
    }
    Some(match (server.is_primary, server.is_replicating) {
        (true, _) if server.is_writing => (Tone::Held, "primary, and clients write to it"),
        (true, _) => (Tone::Held, "takes writes, and no client writes to it"),
        (false, true) if truth.is_in_order(id) => (Tone::Healthy, "replicates from the primary"),
        (false, true) => (Tone::Unhealthy, "replicates from what is not the primary"),
        (false, false) if server.has_stopped => (Tone::Unhealthy, "its replication has stopped"),
        (false, false) => (Tone::Running, "up, and neither primary nor replica"),
    })
}
