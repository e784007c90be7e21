//! From an HTTP request to what is to be done: parameters, bodies, and the refusals that need no state.

use std::collections::BTreeMap;

use super::agent_ops::Action;
use super::endpoints;
use super::go;
use super::http_api::{Params, Request, Response, encode_path};
use super::json::Json;
use super::read::{Query, Read};
use super::rpc::{ReadOptions, Rpc};
use super::types::{CRITICAL, PASSING, Str, WARNING};
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

/// The longest value of a key.
const VALUE_MAX: usize = 524_288;
/// The most steps of a transaction.
const OPERATIONS_MAX: usize = 64;

type Refused = Response;

/// A request on its way to an endpoint.
pub(crate) struct Router<'a> {
    pub(crate) request: &'a Request,
    pub(crate) site: &'a Site<'a>,
    path: String,
    params: Params,
}

/// Finds out what a request asks for; also returns its token and whether it wants indented JSON.
pub(crate) fn route(request: &Request, site: &Site<'_>) -> (Routed, Str, bool) {
    let refuse = |response| (Routed::Reply(response), Str::from(""), false);
    let Some((path, query)) = request.path_and_query() else {
        return refuse(Response::text(400, "400 Bad Request"));
    };
    if path.chars().any(|c| c.is_control() || (c.is_whitespace() && c != ' ')) {
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
    let allow = format!("OPTIONS,{}", endpoint.methods.join(","));
    if &*request.method == "OPTIONS" {
        return refuse(vary(Response::empty(200).with("Allow", allow)));
    }
    if !endpoint.methods.contains(&&*request.method) {
        let text = format!("method {} not allowed", request.method);
        return refuse(vary(Response::text(405, text).with("Allow", allow)));
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
    let response = Response::empty(301).with("Location", url.as_str());
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

    fn below(&self, prefix: &str) -> Str {
        self.path.strip_prefix(prefix).unwrap_or_default().into()
    }

    fn required(&self, prefix: &str, missing: &str) -> Result<Str, Refused> {
        let name = self.below(prefix);
        if name.is_empty() { Err(Response::text(400, missing)) } else { Ok(name) }
    }

    fn dc(&self) -> Str {
        match self.params.get("dc") {
            "" => self.site.datacenter.clone(),
            dc => dc.into(),
        }
    }

    fn namespace(&self) -> Result<(), Refused> {
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
    fn options(&self) -> Result<ReadOptions, Refused> {
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

    fn wait(&self) -> Result<i64, Refused> {
        match self.params.get("wait") {
            "" => Ok(0),
            wait => go::parse_duration(wait).map_err(|_| Response::text(400, "Invalid wait time")),
        }
    }

    fn read(&self, query: Query, options: ReadOptions, face: Face) -> Routed {
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

    fn tags(&self) -> Option<Vec<Str>> {
        self.params.has("tag").then(|| self.params.all("tag").map(Str::from).collect())
    }

    fn kv(&self) -> Result<Routed, Refused> {
        let options = self.options()?;
        let key = self.below("/v1/kv/");
        match &*self.request.method {
            "GET" => self.kv_get(key, options),
            "PUT" => self.kv_put(key),
            _ => self.kv_delete(key),
        }
    }

    fn kv_get(&self, key: Str, options: ReadOptions) -> Result<Routed, Refused> {
        if self.params.has("keys") {
            self.namespace()?;
            let spelling = if self.params.has("separator") { "separator" } else { "seperator" };
            let separator = self.params.get(spelling).into();
            return Ok(self.read(Query::Keys { prefix: key, separator }, options, Face::Key));
        }
        if self.params.has("recurse") {
            self.namespace()?;
            return Ok(self.read(Query::Entries { prefix: key }, options, Face::Key));
        }
        self.required("/v1/kv/", "Missing key name")?;
        self.namespace()?;
        Ok(self.read(Query::Key { key }, options, Face::Key))
    }

    fn conflicting(&self, flags: &[&str]) -> Result<(), Refused> {
        if flags.iter().filter(|flag| self.params.has(flag)).count() < 2 {
            return Ok(());
        }
        Err(Response::text(400, format!("Conflicting flags: {}", self.params.encode())))
    }

    fn number(&self, name: &str) -> Result<u64, Refused> {
        go::parse_uint(self.params.get(name)).map_err(|error| Response::text(500, error))
    }

    fn kv_put(&self, key: Str) -> Result<Routed, Refused> {
        use super::txn::KvVerb;
        self.namespace()?;
        self.required("/v1/kv/", "Missing key name")?;
        self.conflicting(&["cas", "acquire", "release"])?;
        let mut entry = super::types::Entry { key, ..Default::default() };
        let mut verb = KvVerb::Set;
        if self.params.has("flags") {
            entry.flags = self.number("flags")?;
        }
        if self.params.has("cas") {
            entry.modify = self.number("cas")?;
            verb = KvVerb::Cas;
        }
        for (name, wanted) in [("acquire", KvVerb::Lock), ("release", KvVerb::Unlock)] {
            if self.params.has(name) {
                entry.session = self.params.get(name).into();
                verb = wanted;
            }
        }
        let body = &self.request.body;
        if body.len() > VALUE_MAX && !self.request.chunked {
            let text = format!(
                "Request body({} bytes) too large, max size: {VALUE_MAX} bytes. See {}.",
                body.len(),
                "https://www.consul.io/docs/agent/options.html#kv_max_value_size"
            );
            return Err(Response::text(413, text).with("Connection", "close"));
        }
        if !body.is_empty() {
            entry.value = Some(body.as_slice().into());
        }
        let face = if verb == KvVerb::Set { Face::AlwaysTrue } else { Face::Plain };
        Ok(Routed::Servers { rpc: Rpc::Kv { verb, entry }, dc: self.dc(), face })
    }

    fn kv_delete(&self, key: Str) -> Result<Routed, Refused> {
        use super::txn::KvVerb;
        self.namespace()?;
        self.conflicting(&["recurse", "cas"])?;
        let mut entry = super::types::Entry { key, ..Default::default() };
        let mut verb = KvVerb::Delete;
        if self.params.has("recurse") {
            verb = KvVerb::DeleteTree;
        } else {
            self.required("/v1/kv/", "Missing key name")?;
        }
        if self.params.has("cas") {
            entry.modify = self.number("cas")?;
            verb = KvVerb::DeleteCas;
        }
        let face = if verb == KvVerb::DeleteCas { Face::Plain } else { Face::AlwaysTrue };
        Ok(Routed::Servers { rpc: Rpc::Kv { verb, entry }, dc: self.dc(), face })
    }

    fn txn(&self) -> Result<Routed, Refused> {
        let body = &self.request.body;
        let see = "https://www.consul.io/docs/agent/options.html#txn_max_req_len";
        if body.len() > VALUE_MAX {
            let size = if self.request.chunked {
                String::new()
            } else {
                format!("({} bytes)", body.len())
            };
            let text =
                format!("Request body{size} too large, max size: {VALUE_MAX} bytes. See {see}.");
            return Err(Response::text(413, text).with("Connection", "close"));
        }
        let json = bodies::read(body, &schemas::TXN)
            .map_err(|error| Response::text(400, format!("Failed to parse body: {error}")))?;
        let items = match &json {
            Json::List(items) => items.as_slice(),
            _ => &[],
        };
        let count = items.len();
        if count > OPERATIONS_MAX {
            let text =
                format!("Transaction contains too many operations ({count} > {OPERATIONS_MAX})");
            return Err(Response::text(413, text));
        }
        if items.contains(&Json::Null) {
            return Ok(Routed::Break);
        }
        let operations = bodies::operations(&json, self.site.datacenter);
        let rpc = if operations.iter().any(super::txn::Operation::is_write) {
            Rpc::Txn { operations }
        } else {
            Rpc::TxnRead { operations, options: self.options()? }
        };
        Ok(Routed::Servers { rpc, dc: self.dc(), face: Face::Plain })
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

    fn agent(&self, pattern: &str) -> Result<Routed, Refused> {
        let id = self.below(pattern);
        let action = match pattern {
            "/v1/agent/self" => return Ok(Routed::About(About::Myself)),
            "/v1/agent/members" => return Ok(Routed::About(About::Members)),
            "/v1/agent/reload" => return Ok(Routed::About(About::Reload)),
            "/v1/agent/leave" => return Ok(Routed::About(About::Leave)),
            "/v1/agent/host" => return Ok(Routed::About(About::Host)),
            "/v1/agent/service/" => {
                let wait = self.options_wait()?;
                self.namespace()?;
                let hash = self.params.get("hash").into();
                return Ok(Routed::AgentService { id, hash, wait });
            }
            "/v1/agent/services" => Action::Services { filter: self.params.get("filter").into() },
            "/v1/agent/checks" => Action::Checks { filter: self.params.get("filter").into() },
            "/v1/agent/service/register" => return self.register_service(),
            "/v1/agent/check/register" => return self.register_check(),
            "/v1/agent/service/deregister/" => Action::DeregisterService { id },
            "/v1/agent/check/deregister/" => Action::DeregisterCheck { id },
            "/v1/agent/check/pass/" => self.heartbeat(id, PASSING),
            "/v1/agent/check/warn/" => self.heartbeat(id, WARNING),
            "/v1/agent/check/fail/" => self.heartbeat(id, CRITICAL),
            "/v1/agent/check/update/" => return self.update(id),
            "/v1/agent/service/maintenance/" => {
                self.required(pattern, "Missing service ID")?;
                let enable = self.enable()?;
                Action::ServiceMaintenance { id, enable, reason: self.params.get("reason").into() }
            }
            "/v1/agent/maintenance" => {
                let enable = self.enable()?;
                Action::NodeMaintenance { enable, reason: self.params.get("reason").into() }
            }
            "/v1/agent/health/service/id/" | "/v1/agent/health/service/name/" => {
                return self.agent_health(pattern, id);
            }
            _ => {
                let text = format!("cannot answer {pattern}: not part of this Consul");
                return Err(Response::text(500, text));
            }
        };
        self.namespace()?;
        Ok(Routed::Agent(action))
    }

    fn options_wait(&self) -> Result<i64, Refused> {
        let wait = self.wait()?;
        match self.params.get("index") {
            "" => Ok(wait),
            index => match go::parse_uint(index) {
                Ok(_) => Ok(wait),
                Err(_) => Err(Response::text(400, "Invalid index")),
            },
        }
    }

    fn heartbeat(&self, id: Str, status: &str) -> Action {
        Action::Heartbeat { id, status: status.into(), output: self.params.get("note").into() }
    }

    fn update(&self, id: Str) -> Result<Routed, Refused> {
        let json = bodies::read(&self.request.body, &schemas::UPDATE)
            .map_err(|error| Response::text(400, format!("Request decode failed: {error}")))?;
        let status: Str = json.text("Status").into();
        if !matches!(&*status, PASSING | WARNING | CRITICAL) {
            return Err(Response::text(400, format!("Invalid check status: '{status}'")));
        }
        self.namespace()?;
        Ok(Routed::Agent(Action::Heartbeat { id, status, output: json.text("Output").into() }))
    }

    fn enable(&self) -> Result<bool, Refused> {
        if !self.params.has("enable") {
            return Err(Response::text(400, "Missing value for enable"));
        }
        let raw = self.params.get("enable");
        go::parse_bool(raw).ok_or_else(|| {
            Response::text(400, format!("Invalid value for enable: {}", go::quote(raw)))
        })
    }

    fn register_service(&self) -> Result<Routed, Refused> {
        self.namespace()?;
        let json = bodies::read(&self.request.body, &schemas::SERVICE)
            .map_err(|error| Response::text(400, format!("Request decode failed: {error}")))?;
        let (service, checks) = bodies::service(&json);
        let crashes = json.list("Checks").is_some_and(|checks| checks.contains(&Json::Null));
        if service.name.is_empty() {
            return Err(Response::text(400, "Missing service name"));
        }
        if super::validate::is_any_address(&service.address) {
            return Err(Response::text(400, "Invalid service address"));
        }
        if crashes {
            return Ok(Routed::Break);
        }
        let replace = self.params.has("replace-existing-checks")
            && matches!(self.params.get("replace-existing-checks"), "" | "true");
        Ok(Routed::Agent(Action::RegisterService { service, checks, replace }))
    }

    fn register_check(&self) -> Result<Routed, Refused> {
        self.namespace()?;
        let json = bodies::read(&self.request.body, &schemas::CHECK)
            .map_err(|error| Response::text(400, format!("Request decode failed: {error}")))?;
        let (check, definition) = bodies::check(&json, self.site.node);
        if check.name.is_empty() {
            return Err(Response::text(400, "Missing check name"));
        }
        if !matches!(&*definition.status, "" | PASSING | WARNING | CRITICAL) {
            return Err(Response::text(400, "Bad check status"));
        }
        Ok(Routed::Agent(Action::RegisterCheck { check, definition }))
    }

    fn agent_health(&self, pattern: &str, name: Str) -> Result<Routed, Refused> {
        let by_id = pattern.ends_with("/id/");
        if name.is_empty() {
            let what = if by_id { "serviceID" } else { "service Name" };
            return Err(Response::text(500, format!("Bad request: Missing {what}")));
        }
        self.namespace()?;
        let text = self.request.header("Accept").starts_with("text/plain")
            || self.params.get("format") == "text";
        Ok(Routed::Agent(if by_id {
            Action::HealthOfId { id: name, text }
        } else {
            Action::HealthOfName { name, text }
        }))
    }
}
