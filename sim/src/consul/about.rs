//! What an agent says about itself and its cluster, and the administration of tokens.

use super::acl::{Authority, DENIED, Grant, Resource};
use super::answer;
use super::http_api::{Request, Response};
use super::json::Writer;
use super::model::Consul;
use super::route::About;
use super::types::Str;

const VERSION: &str = "1.8.7";

impl Consul {
    /// Answers what needs no question to the servers.
    pub(crate) fn describe(
        &mut self,
        agent: usize,
        about: &About,
        request: &Request,
        token: &Str,
        pretty: bool,
    ) -> Response {
        let authority = match self.tokens().resolve(token) {
            Ok(authority) => authority,
            Err(error) => return Response::error(&error),
        };
        let node = self.agents[agent].local.node.clone();
        let denied = || Response::error(DENIED);
        match about {
            About::Myself | About::Host if !authority.may_read(Resource::Agent, &node) => denied(),
            About::Reload | About::Leave if !authority.may_write(Resource::Agent, &node) => {
                denied()
            }
            About::RaftConfiguration if !authority.may_operate() => denied(),
            About::Myself => self.print(pretty, |consul, w| consul.print_self(agent, w)),
            About::Host => self.print(pretty, |_, w| w.object(|_| {})),
            About::Members => self.print(pretty, |consul, w| consul.print_members(&authority, w)),
            About::Datacenters { refused } => {
                let listed =
                    self.print(pretty, |consul, w| w.list(|w| w.text(&consul.options.datacenter)));
                match refused {
                    None => listed,
                    // The handler goes on after it has refused.
                    Some(text) => {
                        let listed = String::from_utf8_lossy(&listed.body).into_owned();
                        Response::text(400, format!("{text}{listed}"))
                    }
                }
            }
            About::Events => self.print(pretty, |_, w| w.list(|_| {})).with("X-Consul-Index", "1"),
            About::Reload | About::Leave => Response::empty(200),
            About::RaftConfiguration => self.print(pretty, Consul::print_raft),
            About::EmptyList => self
                .print(pretty, |_, w| w.list(|_| {}))
                .with("X-Consul-Effective-Consistency", "leader")
                .with("X-Consul-Index", "1")
                .with("X-Consul-Knownleader", "true")
                .with("X-Consul-Lastcontact", "0"),
            About::Acl => self.administer(agent, request, token, &authority, pretty),
        }
    }

    fn print(&self, pretty: bool, body: impl FnOnce(&Consul, &mut Writer)) -> Response {
        let mut writer = Writer::default();
        body(self, &mut writer);
        Response::json(200, &writer.finish(), pretty)
    }

    fn print_self(&self, agent: usize, w: &mut Writer) {
        let state = &self.agents[agent];
        let is_server = state.server.is_some();
        w.object(|w| {
            w.key("Config").object(|w| {
                w.key("Datacenter").text(&self.options.datacenter);
                w.key("NodeName").text(&state.local.node);
                w.key("NodeID").text(&state.node_id);
                w.key("Revision").text("");
                w.key("Server").truth(is_server);
                w.key("Version").text(VERSION);
            });
            w.key("DebugConfig").object(|w| {
                let tick = self.options.timing.reap_tick;
                w.key("CheckReapInterval").text(&answer::duration(tick));
                w.key("DevMode").truth(self.options.pretty);
                w.key("NodeName").text(&state.local.node);
                w.key("ServerMode").truth(is_server);
                w.key("Version").text(VERSION);
            });
            w.key("Coord").object(|w| {
                w.key("Vec").list(|w| (0..8).for_each(|_| w.number(0)));
                w.key("Error").raw("1.5");
                w.key("Adjustment").number(0);
                w.key("Height").raw("1e-05");
            });
            self.print_member(agent, w.key("Member"));
            w.key("Stats").object(|w| {
                w.key("agent").object(|w| {
                    let checks = state.local.checks.values().filter(|known| !known.deleted);
                    w.key("checks").text(&checks.count().to_string());
                    let services = state.local.services.values().filter(|known| !known.deleted);
                    w.key("services").text(&services.count().to_string());
                });
                w.key("consul").object(|w| w.key("server").text(&is_server.to_string()));
            });
            w.key("Meta").object(|w| w.key("consul-network-segment").text(""));
        });
    }

    fn print_members(&self, authority: &Authority, w: &mut Writer) {
        w.list(|w| {
            for (number, agent) in self.agents.iter().enumerate() {
                if authority.may_read(Resource::Node, &agent.local.node) {
                    self.print_member(number, w);
                }
            }
        });
    }

    fn print_member(&self, agent: usize, w: &mut Writer) {
        let state = &self.agents[agent];
        let acls = if self.options.master_token.is_some() { "1" } else { "0" };
        w.object(|w| {
            w.key("Name").text(&state.local.node);
            w.key("Addr").text(&state.address);
            w.key("Port").number(8301);
            w.key("Tags").object(|w| {
                let mut tag = |name: &str, value: &str| w.key(name).text(value);
                tag("acls", acls);
                tag("build", "1.8.7:");
                tag("dc", &self.options.datacenter);
                tag("ft_fs", "1");
                tag("id", &state.node_id);
                if let Some(server) = state.server {
                    let address = &self.servers[server].rpc_address;
                    tag("port", address.rsplit(':').next().unwrap_or_default());
                    tag("raft_vsn", "3");
                }
                tag("role", if state.server.is_some() { "consul" } else { "node" });
                tag("segment", "");
                tag("vsn", "2");
                tag("vsn_max", "3");
                tag("vsn_min", "2");
                if state.server.is_some() {
                    tag("wan_join_port", "8302");
                }
            });
            w.key("Status").number(if state.alive { 1 } else { 4 });
            w.key("ProtocolMin").number(1);
            w.key("ProtocolMax").number(5);
            w.key("ProtocolCur").number(2);
            w.key("DelegateMin").number(2);
            w.key("DelegateMax").number(5);
            w.key("DelegateCur").number(4);
        });
    }

    fn print_raft(&self, w: &mut Writer) {
        w.object(|w| {
            w.key("Servers").list(|w| {
                for (number, server) in self.servers.iter().enumerate() {
                    let agent = self.agents.iter().find(|agent| agent.server == Some(number));
                    w.object(|w| {
                        w.key("ID").text(agent.map_or("", |agent| &agent.node_id));
                        w.key("Node").text(agent.map_or("", |agent| &agent.local.node));
                        w.key("Address").text(&server.rpc_address);
                        w.key("Leader").truth(self.raft.leader == Some(number));
                        w.key("ProtocolVersion").text("3");
                        w.key("Voter").truth(true);
                    });
                }
            });
            w.key("Index").number(0);
        });
    }

    /// Answers the few requests about tokens that a development agent is asked.
    fn administer(
        &mut self,
        agent: usize,
        request: &Request,
        token: &Str,
        authority: &Authority,
        pretty: bool,
    ) -> Response {
        if !self.tokens().on {
            return Response::text(401, "ACL support disabled");
        }
        let path = request.path_and_query().map(|(path, _)| path).unwrap_or_default();
        let wanted = if &*request.method == "GET" { Grant::Read } else { Grant::Write };
        if path == "/v1/acl/token/self" {
            return self.print(pretty, |_, w| {
                w.object(|w| w.key("SecretID").text(token));
            });
        }
        if !authority.may_administer(wanted) {
            return Response::error(DENIED);
        }
        match (&*request.method, path.strip_prefix("/v1/acl/token/")) {
            ("DELETE", Some(secret)) => {
                let mut tokens = self.tokens();
                std::sync::Arc::make_mut(&mut tokens.secrets).remove(secret);
                self.set_tokens(agent, tokens);
                Response::json(200, "true", pretty)
            }
            _ => Response::text(500, format!("cannot answer {path}: not part of this Consul")),
        }
    }
}
