//! From an HTTP request to what is to be done: parameters, bodies, and the refusals that need no
//! state.

use std::collections::BTreeMap;

use super::agent_ops::Action;
use super::endpoints;
use super::go;
use super::http_api::{Params, Request, Response, encode_path};
use super::read::{Query, Read};
use super::rpc::{ReadOptions, Rpc};
use super::types::Str;
use super::{bodies, schemas};

/// How the answer to a server's reply looks over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Face {
    /// Health and catalog: index headers on errors too, and the consistency that was in effect.
    Catalog,
    /// Sessions: index headers on errors too.
    Session,
    /// Keys: index headers on success only.
    Key,
    /// `true` whatever came back.
    AlwaysTrue,
    /// What came back.
    Plain,
    /// The id of the new session.
    NewSession,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Routed {
    /// Nothing more is needed.
    Reply(Response),
    /// The real one's handler crashes on it: the connection just ends.
    Break,
    /// Something of the agent itself.
    Agent(Action),
    /// A service of the agent, at will when it differs from a hash.
    AgentService { id: Str, hash: Str, wait: i64 },
    /// Something of the servers.
    Servers { rpc: Rpc, dc: Str, face: Face },
    /// What the agent says about itself or the cluster.
    About(About),
}

/// Descriptions of the agent and its cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum About {
    Myself,
    Members,
    Datacenters {
        refused: Option<Str>,
    },
    Events,
    Reload,
    Leave,
    Host,
    RaftConfiguration,
    /// An empty list of things this Consul does not have.
    EmptyList,
    /// Administration of tokens.
    Acl,
}

/// What routing needs to know about the agent.
pub(crate) struct Site<'a> {
    pub(crate) node: &'a Str,
    pub(crate) datacenter: &'a Str,
    pub(crate) ui: bool,
}

/// The response that refuses a request.
pub(crate) type Refused = Response;

/// A request on its way to an endpoint.
pub(crate) struct Router<'a> {
    pub(crate) request: &'a Request,
    pub(crate) site: &'a Site<'a>,
    pub(crate) path: String,
    pub(crate) params: Params,
}

/// Finds out what a request asks for; also returns its token and whether it wants indented JSON.
pub(crate) fn route(request: &Request, site: &Site<'_>) -> (Routed, Str, bool) {
    let refuse = |response| (Routed::Reply(response), Str::from(""), false);
    let Some((path, query)) = request.path_and_query() else {
        return refuse(Response::text(400, "400 Bad Request"));
    };
    let is_odd = |c: char| c.is_control() || (c.is_whitespace() && c != ' ');
    if !path.bytes().all(|byte| matches!(byte, b' '..=b'~')) && path.chars().any(is_odd) {
        return refuse(Response::empty(400));
    }
    if let Some(target) = endpoints::redirect(&path) {
        return refuse(moved(request, &target, query));
    }
    let Some(endpoint) = endpoints::find(&path) else {
        return refuse(unknown(request, &path, site));
    };
    let vary = |response: Response| response.with("Vary", "Accept-Encoding");
    let Some(params) = Params::parse(query) else {
        return refuse(vary(Response::empty(500)));
    };
    let allow = || format!("OPTIONS,{}", endpoint.methods.join(","));
    if &*request.method == "OPTIONS" {
        return refuse(vary(Response::empty(200).with("Allow", allow())));
    }
    if !endpoint.methods.contains(&&*request.method) {
        let text = format!("method {} not allowed", request.method);
        return refuse(vary(Response::text(405, text).with("Allow", allow())));
    }
    let token = request.token(&params).into();
    let pretty = params.has("pretty");
    let router = Router { request, site, path, params };
    let routed = router.dispatch(endpoint.pattern);
    let routed = routed.unwrap_or_else(|response| Routed::Reply(vary(response)));
    (routed, token, pretty)
}

fn moved(request: &Request, target: &str, query: &str) -> Response {
    let mut url = encode_path(target);
    if !query.is_empty() {
        url = format!("{url}?{query}");
    }
    let response = Response::empty(301).with("Location", url.clone());
    if !matches!(&*request.method, "GET" | "HEAD") {
        return response;
    }
    let escaped = url.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let escaped = escaped.replace('"', "&#34;").replace('\'', "&#39;");
    let body = format!("<a href=\"{escaped}\">Moved Permanently</a>.\n\n");
    Response {
        body: body.into_bytes(),
        ..response.with("Content-Type", "text/html; charset=utf-8")
    }
}

fn unknown(request: &Request, path: &str, site: &Site<'_>) -> Response {
    match path {
        "/" if site.ui => moved(request, "/ui/", ""),
        "/" => Response::text(200, "Consul Agent"),
        _ => Response::empty(404),
    }
}

impl Router<'_> {
    fn dispatch(&self, pattern: &str) -> Result<Routed, Refused> {
        match pattern {
            "/v1/kv/" => self.kv(),
            "/v1/txn" => self.txn(),
            _ if pattern.starts_with("/v1/session/") => self.session(pattern),
            _ if pattern.starts_with("/v1/health/") => self.health(pattern),
            _ if pattern.starts_with("/v1/catalog/") => self.catalog(pattern),
            _ if pattern.starts_with("/v1/agent/") => self.agent(pattern),
            "/v1/status/leader" => self.status(Rpc::Leader),
            "/v1/status/peers" => self.status(Rpc::Peers),
            "/v1/operator/raft/configuration" => Ok(Routed::About(About::RaftConfiguration)),
            _ if pattern.starts_with("/v1/acl/") => Ok(Routed::About(About::Acl)),
            "/v1/event/list" => Ok(Routed::About(About::Events)),
            "/v1/query" | "/v1/coordinate/nodes" | "/v1/connect/intentions"
                if &*self.request.method == "GET" =>
            {
                Ok(Routed::About(About::EmptyList))
            }
            _ => Err(Response::text(
                500,
                format!("cannot answer {pattern}: not part of this Consul"),
            )),
        }
    }

    pub(crate) fn below(&self, prefix: &str) -> Str {
        self.path.strip_prefix(prefix).unwrap_or_default().into()
    }

    pub(crate) fn required(&self, prefix: &str, missing: &str) -> Result<Str, Refused> {
        let name = self.below(prefix);
        if name.is_empty() { Err(Response::text(400, missing)) } else { Ok(name) }
    }

    pub(crate) fn dc(&self) -> Str {
        match self.params.get("dc") {
            "" => self.site.datacenter.clone(),
            dc => dc.into(),
        }
    }

    pub(crate) fn namespace(&self) -> Result<(), Refused> {
        let place = if !self.request.header("X-Consul-Namespace").is_empty() {
            "header: \"X-Consul-Namespace\""
        } else if !self.params.get("ns").is_empty() {
            "query parameter: \"ns\""
        } else {
            return Ok(());
        };
        let text =
            format!("Bad request: Invalid {place} - Namespaces are a Consul Enterprise feature");
        Err(Response::text(400, text))
    }

    /// Reads what all reads share, refusing in Consul's order.
    pub(crate) fn options(&self) -> Result<ReadOptions, Refused> {
        let params = &self.params;
        let bad = |text: String| Err(Response::text(400, text));
        let mut stale = params.has("stale");
        let consistent = params.has("consistent");
        let max_stale = params.get("max_stale");
        if !max_stale.is_empty() {
            match go::parse_duration(max_stale) {
                Ok(nanos) => stale |= nanos > 0,
                Err(_) => return bad(format!("Invalid max_stale value {}", go::quote(max_stale))),
            }
        }
        for (other, name) in [(stale, "stale"), (params.has("cached"), "cached")] {
            if other && consistent {
                return bad(format!(
                    "Cannot specify ?{name} with ?consistent, conflicting semantics."
                ));
            }
        }
        let control = self.request.header("Cache-Control").to_lowercase();
        for directive in control.split(',').map(str::trim) {
            let seconds = directive
                .strip_prefix("max-age=")
                .or_else(|| directive.strip_prefix("stale-if-error="));
            if seconds.is_some_and(|seconds| seconds.parse::<i64>().is_err()) {
                return bad("Invalid Cache-Control header.".to_owned());
            }
        }
        let wait = self.wait()?;
        let index = match params.get("index") {
            "" => 0,
            index => match go::parse_uint(index) {
                Ok(index) => index,
                Err(_) => return bad("Invalid index".to_owned()),
            },
        };
        Ok(ReadOptions { stale, consistent, cached: params.has("cached"), index, wait })
    }

    pub(crate) fn wait(&self) -> Result<i64, Refused> {
        match self.params.get("wait") {
            "" => Ok(0),
            wait => go::parse_duration(wait).map_err(|_| Response::text(400, "Invalid wait time")),
        }
    }

    pub(crate) fn read(&self, query: Query, options: ReadOptions, face: Face) -> Routed {
        let read = Read {
            query,
            node_meta: self.node_meta(),
            filter: self.params.get("filter").into(),
            raw: self.params.has("raw"),
        };
        Routed::Servers { rpc: Rpc::Read { read, options }, dc: self.dc(), face }
    }

    fn node_meta(&self) -> BTreeMap<Str, Str> {
        let pair = |text: &str| {
            let (key, value) = text.split_once(':').unwrap_or((text, ""));
            (key.into(), value.into())
        };
        self.params.all("node-meta").map(pair).collect()
    }

    pub(crate) fn tags(&self) -> Option<Vec<Str>> {
        self.params.has("tag").then(|| self.params.all("tag").map(Str::from).collect())
    }

    fn session(&self, pattern: &str) -> Result<Routed, Refused> {
        let servers = |rpc, face| Ok(Routed::Servers { rpc, dc: self.dc(), face });
        match pattern {
            "/v1/session/create" => {
                self.namespace()?;
                let json = if self.request.body.is_empty() || self.request.chunked {
                    None
                } else {
                    Some(bodies::read(&self.request.body, &schemas::SESSION).map_err(|error| {
                        Response::text(400, format!("Request decode failed: {error}"))
                    })?)
                };
                let (session, behavior) = bodies::session(json.as_ref(), self.site.node);
                servers(Rpc::CreateSession { session, behavior }, Face::NewSession)
            }
            "/v1/session/destroy/" => {
                self.namespace()?;
                let id = self.required(pattern, "Missing session")?;
                servers(Rpc::EndSession { id }, Face::AlwaysTrue)
            }
            "/v1/session/renew/" => {
                self.options()?;
                self.namespace()?;
                let id = self.required(pattern, "Missing session")?;
                servers(Rpc::Renew { id }, Face::Plain)
            }
            _ => {
                let options = self.options()?;
                self.namespace()?;
                let query = match pattern {
                    "/v1/session/info/" => {
                        Query::Session { id: self.required(pattern, "Missing session")? }
                    }
                    "/v1/session/node/" => {
                        Query::SessionsOf { node: self.required(pattern, "Missing node name")? }
                    }
                    _ => Query::Sessions,
                };
                Ok(self.read(query, options, Face::Session))
            }
        }
    }

    fn health(&self, pattern: &str) -> Result<Routed, Refused> {
        self.namespace()?;
        let options = self.options()?;
        let query = match pattern {
            "/v1/health/state/" => {
                Query::ChecksInState { state: self.required(pattern, "Missing check state")? }
            }
            "/v1/health/node/" => {
                Query::NodeChecks { node: self.required(pattern, "Missing node name")? }
            }
            "/v1/health/checks/" => {
                Query::ServiceChecks { service: self.required(pattern, "Missing service name")? }
            }
            "/v1/health/service/" => {
                let service = self.required(pattern, "Missing service name")?;
                let tags = self.tags();
                let passing = match self.params.get("passing") {
                    "" => self.params.has("passing"),
                    text => match go::parse_bool(text) {
                        Some(truth) => truth,
                        None => {
                            let rpc = Query::Health { service, tags, passing: false };
                            return Ok(self.bad_passing(rpc, options));
                        }
                    },
                };
                Query::Health { service, tags, passing }
            }
            // Connect is not part of this Consul: nobody is connected.
            _ => {
                self.required(pattern, "Missing service name")?;
                Query::Health { service: "".into(), tags: None, passing: false }
            }
        };
        Ok(self.read(query, options, Face::Catalog))
    }

    /// A wrong `passing` is noticed only after the servers have answered.
    fn bad_passing(&self, query: Query, options: ReadOptions) -> Routed {
        match self.read(query, options, Face::Catalog) {
            Routed::Servers { rpc: Rpc::Read { read, options }, dc, face } => {
                let read = Read { raw: true, ..read };
                Routed::Servers { rpc: Rpc::Read { read, options }, dc, face }
            }
            other => other,
        }
    }

    fn catalog(&self, pattern: &str) -> Result<Routed, Refused> {
        let servers = |rpc, dc, face| Ok(Routed::Servers { rpc, dc, face });
        let failed = |error| Response::text(400, format!("Request decode failed: {error}"));
        match pattern {
            "/v1/catalog/datacenters" => {
                let text = |refused: Response| String::from_utf8_lossy(&refused.body).into();
                let refused = self.options().err().map(text);
                return Ok(Routed::About(About::Datacenters { refused }));
            }
            "/v1/catalog/register" => {
                self.namespace()?;
                let json = bodies::read(&self.request.body, &schemas::REGISTER).map_err(failed)?;
                let registration = bodies::registration(&json, self.site.datacenter);
                let dc = registration.node.datacenter.clone();
                return servers(Rpc::Register { registration }, dc, Face::AlwaysTrue);
            }
            "/v1/catalog/deregister" => {
                self.namespace()?;
                let json =
                    bodies::read(&self.request.body, &schemas::DEREGISTER).map_err(failed)?;
                let dc = match json.text("Datacenter") {
                    "" => self.site.datacenter.clone(),
                    dc => dc.into(),
                };
                let rpc = Rpc::Deregister {
                    node: json.text("Node").into(),
                    service: json.text("ServiceID").into(),
                    check: json.text("CheckID").into(),
                };
                return servers(rpc, dc, Face::AlwaysTrue);
            }
            _ => {}
        }
        if pattern != "/v1/catalog/nodes" {
            self.namespace()?;
        }
        let options = self.options()?;
        let query = match pattern {
            "/v1/catalog/nodes" => Query::Nodes,
            "/v1/catalog/services" => Query::Services,
            "/v1/catalog/service/" => {
                let service = self.required(pattern, "Missing service name")?;
                Query::Instances { service, tags: self.tags() }
            }
            "/v1/catalog/node/" => {
                Query::NodeServices { node: self.required(pattern, "Missing node name")? }
            }
            "/v1/catalog/node-services/" => {
                Query::NodeServiceList { node: self.required(pattern, "Missing node name")? }
            }
            _ => {
                self.required(pattern, "Missing service name")?;
                Query::Instances { service: "".into(), tags: None }
            }
        };
        Ok(self.read(query, options, Face::Catalog))
    }

    fn status(&self, rpc: Rpc) -> Result<Routed, Refused> {
        self.options()?;
        Ok(Routed::Servers { rpc, dc: self.dc(), face: Face::Plain })
    }
}
