//! What programs do to servers: every `db.` verb.

use std::sync::Arc;

use super::{Backup, Data, Database, Replication, Server};
use crate::agenda::NodeId;
use crate::program::machine::{Asked, Outcome};
use crate::program::variables::{digits_of, text_of};
use crate::program::verb::Verb;

/// So many writes fill a file of a server's log.
const LOG_WRITES: u64 = 100;

impl Database {
    /// Does what a program asks for at a server.
    pub(crate) fn operate(&mut self, from: NodeId, node: NodeId, asked: &Asked) -> Outcome {
        let Some(server) = self.servers.get(node.index()) else {
            return Outcome::bad("invalid", "no such node");
        };
        match asked.verb {
            Verb::DbData => return Outcome::text(server.data.as_str()),
            Verb::DbInit => return self.initialise(node),
            Verb::DbRestore => return self.restore(node, asked),
            _ if !server.is_up() => return Outcome::bad("down", "the server does not answer"),
            Verb::DbLogin if !server.has_users => {
                return Outcome::bad("denied", "access denied for the replication user");
            }
            Verb::DbStatus => return self.status(node),
            Verb::DbQuery if server.is_broken => {
                return Outcome::bad("refused", "the query fails");
            }
            Verb::DbSnapshot => return self.back_up(node),
            Verb::DbPromise => return self.promise(from, node, asked),
            _ => {}
        }
        self.change(node, asked)
    }

    fn change(&mut self, node: NodeId, asked: &Asked) -> Outcome {
        self.terms += 1;
        let argument = asked.arguments.first().map_or("", |text| &**text);
        let source = self.spec.node(argument);
        let term = self.terms;
        let server = &mut self.servers[node.index()];
        let token = number(asked.arguments.first());
        let promised = server.promised;
        let is_late = |token: Option<&Arc<str>>| number(token).is_some_and(|it| it < promised);
        match asked.verb {
            Verb::DbUsers => server.has_users = true,
            Verb::DbFollow if is_late(asked.arguments.get(1)) => {
                return Outcome::bad("refused", "it has promised itself to somebody newer");
            }
            Verb::DbReset => {
                server.source = None;
                server.replication = Replication::Off;
                server.is_errant = false;
            }
            Verb::DbFollow => {
                let Some(source) = source.filter(|source| *source != node) else {
                    return Outcome::bad("invalid", format!("cannot follow \"{argument}\""));
                };
                if let Some(token) = number(asked.arguments.get(1))
                    && token > server.promised
                {
                    (server.promised, server.promised_to) = (token, Some(source));
                }
                server.source = Some(source);
                server.replication = Replication::Runs { is_connected: false };
                server.is_errant = false;
            }
            Verb::DbUnfollow if server.source.is_some() => {
                server.replication = Replication::Stopped;
            }
            Verb::DbPromote if is_late(asked.arguments.first()) => {
                return Outcome::bad("refused", "it has promised itself to somebody newer");
            }
            Verb::DbPromote => {
                server.source = None;
                server.replication = Replication::Off;
                server.is_read_only = false;
                server.is_errant = false;
                server.term = term;
                server.token = token.unwrap_or(server.token);
                server.promised = server.promised.max(server.token);
            }
            Verb::DbClone if is_late(asked.arguments.get(1)) => {
                return Outcome::bad("refused", "it has promised itself to somebody newer");
            }
            Verb::DbClone => return self.clone_from(node, source),
            Verb::DbReadOnly => server.is_read_only = !argument.is_empty(),
            _ => {}
        }
        Outcome::is(true)
    }

    /// Serves nobody with a smaller token from now on, and says what it has.
    fn promise(&mut self, from: NodeId, node: NodeId, asked: &Asked) -> Outcome {
        let Some(token) = number(asked.arguments.first()) else {
            return Outcome::bad("invalid", "this is no token");
        };
        let server = &mut self.servers[node.index()];
        let is_others = server.promised_to.is_some_and(|holder| holder != from);
        if token < server.promised || token == server.promised && is_others {
            return Outcome::bad("refused", "it has promised itself to somebody newer");
        }
        if token > server.promised && server.source.is_some() {
            server.replication = Replication::Stopped;
        }
        server.promised = token;
        server.promised_to = Some(from);
        self.status(node)
    }

    pub(super) fn initialise(&mut self, node: NodeId) -> Outcome {
        let server = &mut self.servers[node.index()];
        if server.data != Data::Empty {
            return Outcome::bad("invalid", "the data directory is not empty");
        }
        self.clusters += 1;
        server.data = Data::Initialised;
        server.cluster = self.clusters;
        Outcome::is(true)
    }

    fn restore(&mut self, node: NodeId, asked: &Asked) -> Outcome {
        let name = asked.arguments.first().and_then(|name| name.strip_prefix("backup-"));
        let nth = name.and_then(|nth| nth.parse::<usize>().ok());
        let backup = nth.and_then(|nth| self.backups.get(nth.checked_sub(1)?));
        let Some(Backup { cluster, history, has_users }) = backup.cloned() else {
            return Outcome::bad("invalid", "there is no such backup");
        };
        let server = &mut self.servers[node.index()];
        if server.data != Data::Empty {
            return Outcome::bad("invalid", "the data directory is not empty");
        }
        let (promised, promised_to) = (server.promised, server.promised_to);
        let data = Data::Restored;
        let empty = Server { promised, promised_to, ..Server::default() };
        *server = Server { data, cluster, history, has_users, ..empty };
        Outcome::is(true)
    }

    fn clone_from(&mut self, node: NodeId, source: Option<NodeId>) -> Outcome {
        let other = source.map(|source| self.server(source)).filter(|other| other.is_up());
        let Some(other) = other else { return Outcome::bad("down", "the other does not answer") };
        let (cluster, history, has_users) = (other.cluster, other.history.clone(), other.has_users);
        let server = &mut self.servers[node.index()];
        server.data = Data::Restored;
        server.cluster = cluster;
        server.history = history;
        server.has_users = has_users;
        server.source = None;
        server.replication = Replication::Off;
        server.is_errant = false;
        Outcome::is(true)
    }

    fn back_up(&mut self, node: NodeId) -> Outcome {
        let server = &self.servers[node.index()];
        let (cluster, history) = (server.cluster, server.history.clone());
        let has_users = server.has_users;
        self.backups.push(Backup { cluster, history, has_users });
        Outcome::text(format!("backup-{}", self.backups.len()))
    }

    /// Gives the token of the last write that a server has.
    fn last_token(&self, server: &Server) -> u64 {
        let term = server.history.last().map_or(0, |last| last.term);
        self.tokens.get(&term).copied().unwrap_or(0)
    }

    fn status(&self, node: NodeId) -> Outcome {
        let server = self.server(node);
        let name = |node: NodeId| self.spec.name_of(node);
        let replicas: Vec<&str> = self.replicas(node).map(name).collect();
        let replication = match server.replication {
            Replication::Off => "",
            Replication::Runs { .. } => "running",
            Replication::Stopped => "stopped",
        };
        let yes = |is_so: bool| text_of(if is_so { "yes" } else { "" });
        let more = vec![
            ("source", text_of(server.source.map_or("", name))),
            ("replication", text_of(replication)),
            ("connected", yes(server.replication == Replication::CONNECTED)),
            ("replicas", text_of(&replicas.join(" "))),
            ("node", Arc::from(name(node))),
            ("log", digits_of(server.history.length() / LOG_WRITES)),
            ("term", digits_of(self.last_token(server))),
            ("token", digits_of(server.token)),
            ("promised", digits_of(server.promised)),
            ("position", digits_of(server.history.length())),
            ("cluster", digits_of(server.cluster.into())),
            ("users", yes(server.has_users)),
            ("errant", yes(server.is_errant)),
            ("readOnly", yes(server.is_read_only)),
        ];
        Outcome::Good(Arc::from("up"), more)
    }
}

fn number(text: Option<&Arc<str>>) -> Option<u64> {
    text.and_then(|text| text.parse().ok())
}
