//! What an agent does itself: registration, heartbeats, maintenance, and reads of its own memory.

use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::acl::{Authority, Resource};
use super::filter::Filter;
use super::go::quote;
use super::http_api::Response;
use super::json::Writer;
use super::local::{CheckDefinition, Local, LocalCheck};
use super::random::Fnv;
use super::types::{CRITICAL, Check, PASSING, Service, Str, WARNING};
use super::{types, validate};

/// A request that concerns the agent's own memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    RegisterService { service: Service, checks: Vec<CheckDefinition>, replace: bool },
    DeregisterService { id: Str },
    RegisterCheck { check: Check, definition: CheckDefinition },
    DeregisterCheck { id: Str },
    Heartbeat { id: Str, status: Str, output: Str },
    ServiceMaintenance { id: Str, enable: bool, reason: Str },
    NodeMaintenance { enable: bool, reason: Str },
    Services { filter: Str },
    Checks { filter: Str },
    Service { id: Str },
    HealthOfId { id: Str, text: bool },
    HealthOfName { name: Str, text: bool },
}

/// How an action is to be carried out.
pub(crate) struct Context<'a> {
    pub(crate) now: u64,
    pub(crate) token: &'a Str,
    pub(crate) authority: &'a Authority,
    pub(crate) pretty: bool,
    /// When a change of mere output would be sent.
    pub(crate) send_at: Option<u64>,
}

/// What an action leads to: a response, and whether changes are to be sent before it.
pub(crate) struct Done {
    pub(crate) response: Response,
    pub(crate) push: bool,
}

const SERVICE_REASON: &str = "Maintenance mode is enabled for this service, \
                              but no reason was provided. This is a default message.";
const NODE_REASON: &str = "Maintenance mode is enabled for this node, \
                           but no reason was provided. This is a default message.";
const NODE_MAINTENANCE: &str = "_node_maintenance";

impl Local {
    /// Carries out an action.
    pub(crate) fn act(&mut self, action: &Action, context: &Context<'_>) -> Done {
        match action {
            Action::RegisterService { service, checks, replace } => {
                match self.refuse_service(service, checks, context.authority) {
                    Some(response) => read(response),
                    None => changed(self.add_service(
                        context.now,
                        service.clone(),
                        checks,
                        context.token,
                        *replace,
                    )),
                }
            }
            Action::DeregisterService { id } => {
                let allowed = self.may_change_service(id, context.authority);
                changed(allowed.and_then(|()| self.remove_service(id)))
            }
            Action::RegisterCheck { check, definition } => {
                if let Err(error) = definition.validate() {
                    return read(Response::text(400, format!("Invalid check: {error}")));
                }
                let allowed = self.may_register_check(check, context.authority);
                changed(allowed.and_then(|()| {
                    self.add_check(context.now, check.clone(), Some(definition), context.token)
                }))
            }
            Action::DeregisterCheck { id } => {
                let allowed = self.may_change_check(id, context.authority);
                changed(allowed.and_then(|()| {
                    if id.is_empty() {
                        return Err("CheckID missing".to_owned());
                    }
                    self.remove_check(id);
                    Ok(())
                }))
            }
            Action::Heartbeat { id, status, output } => {
                let allowed = self.may_change_check(id, context.authority);
                changed(allowed.and_then(|()| {
                    self.heartbeat(context.now, id, status, output, context.send_at)
                }))
            }
            Action::ServiceMaintenance { id, enable, reason } => {
                if let Err(error) = self.may_change_service(id, context.authority) {
                    return read(Response::error(&error));
                }
                match self.service_maintenance(id, *enable, reason, context) {
                    Ok(()) => changed(Ok(())),
                    Err(error) => read(Response::text(404, error)),
                }
            }
            Action::NodeMaintenance { enable, reason } => {
                if !context.authority.may_write(Resource::Node, &self.node) {
                    return read(Response::error(super::acl::DENIED));
                }
                changed(self.node_maintenance(*enable, reason, context))
            }
            look => read(self.look(look, context)),
        }
    }

    fn look(&self, action: &Action, context: &Context<'_>) -> Response {
        match action {
            Action::Services { filter } => self.print_services(filter, context),
            Action::Checks { filter } => self.print_checks(filter, context),
            Action::Service { id } => self.print_service(id, context),
            Action::HealthOfId { id, text } => self.health_of_id(id, *text, context),
            Action::HealthOfName { name, text } => self.health_of_name(name, *text, context),
            _ => Response::empty(500),
        }
    }

    fn refuse_service(
        &self,
        service: &Service,
        checks: &[CheckDefinition],
        authority: &Authority,
    ) -> Option<Response> {
        let bad = |text: String| Some(Response::text(400, text));
        if let Some(Err(error)) = service.weights.map(validate::weights) {
            return bad(format!("Invalid Weights: {error}"));
        }
        if let Err(error) = validate::service_meta(service) {
            return bad(format!("Invalid Service Meta: {error}"));
        }
        if let Some(error) = checks.iter().find_map(|check| check.validate().err()) {
            return bad(format!("Invalid check: {error}"));
        }
        let known = |status: &str| matches!(status, "" | PASSING | WARNING | CRITICAL);
        if !checks.iter().all(|check| known(&check.status)) {
            return bad("Status for checks must 'passing', 'warning', 'critical'".to_owned());
        }
        let replaced = self.service(&service.id).map(|known| known.name.clone());
        let names = [Some(service.name.clone()), replaced];
        if names.iter().flatten().any(|name| !authority.may_write(Resource::Service, name)) {
            return Some(Response::error(&missing("service", &service.name)));
        }
        None
    }

    fn may_change_service(&self, id: &str, authority: &Authority) -> Result<(), String> {
        if !authority.is_checked() {
            return Ok(());
        }
        let Some(service) = self.service(id) else {
            return Err(format!("Unknown service {{{} {{}}}}", quote(id)));
        };
        if authority.may_write(Resource::Service, &service.name) {
            return Ok(());
        }
        Err(missing("service", &service.name))
    }

    fn may_write_check(&self, service: &str, authority: &Authority) -> Result<(), String> {
        if service.is_empty() {
            if authority.may_write(Resource::Node, &self.node) {
                return Ok(());
            }
            return Err(missing("node", &self.node));
        }
        if authority.may_write(Resource::Service, service) {
            return Ok(());
        }
        Err(missing("service", service))
    }

    fn may_register_check(&self, check: &Check, authority: &Authority) -> Result<(), String> {
        let service = self.service(&check.service_id).map_or("", |service| &*service.name);
        self.may_write_check(service, authority)?;
        match self.check(&check.id) {
            Some(known) => self.may_write_check(&known.check.service_name, authority),
            None => Ok(()),
        }
    }

    fn may_change_check(&self, id: &str, authority: &Authority) -> Result<(), String> {
        if !authority.is_checked() {
            return Ok(());
        }
        match self.check(id) {
            Some(known) => self.may_write_check(&known.check.service_name, authority),
            None => Err(format!("Unknown check {}", quote(id))),
        }
    }

    fn service_maintenance(
        &mut self,
        id: &Str,
        enable: bool,
        reason: &Str,
        context: &Context<'_>,
    ) -> Result<(), String> {
        let Some(service) = self.service(id).cloned() else {
            return Err(format!("No service registered with ID {}", quote(id)));
        };
        let check_id = format!("_service_maintenance:{id}");
        if !enable {
            self.remove_check(&check_id);
            return Ok(());
        }
        if self.check(&check_id).is_some() {
            return Ok(());
        }
        let notes = if reason.is_empty() { SERVICE_REASON.into() } else { reason.clone() };
        let check = Check {
            node: self.node.clone(),
            id: check_id.into(),
            name: "Service Maintenance Mode".into(),
            notes,
            service_id: service.id.clone(),
            status: CRITICAL.into(),
            kind: "maintenance".into(),
            ..Check::default()
        };
        self.add_check(context.now, check, None, context.token)
    }

    fn node_maintenance(
        &mut self,
        enable: bool,
        reason: &Str,
        context: &Context<'_>,
    ) -> Result<(), String> {
        if !enable {
            self.remove_check(NODE_MAINTENANCE);
            return Ok(());
        }
        if self.check(NODE_MAINTENANCE).is_some() {
            return Ok(());
        }
        let notes = if reason.is_empty() { NODE_REASON.into() } else { reason.clone() };
        let check = Check {
            node: self.node.clone(),
            id: NODE_MAINTENANCE.into(),
            name: "Node Maintenance Mode".into(),
            notes,
            status: CRITICAL.into(),
            kind: "maintenance".into(),
            ..Check::default()
        };
        self.add_check(context.now, check, None, context.token)
    }

    fn print_services(&self, filter: &str, context: &Context<'_>) -> Response {
        let filter = match Filter::parse(filter, &Filter::SERVICE) {
            Ok(filter) => filter,
            Err(error) => return Response::error(&error),
        };
        let mut writer = Writer::default();
        writer.object(|w| {
            for (id, local) in self.services.iter().filter(|(_, local)| !local.deleted) {
                if context.authority.may_read(Resource::Service, &local.service.name) {
                    let mut item = Writer::default();
                    print_service(&mut item, &local.service, None);
                    let printed = item.finish();
                    if filter.matches(&printed) {
                        w.key(id).raw(&printed);
                    }
                }
            }
        });
        Response::json(200, &writer.finish(), context.pretty)
    }

    fn print_checks(&self, filter: &str, context: &Context<'_>) -> Response {
        // Here Consul looks at the selectors only when there is something to apply them to.
        let nothing = !self.checks.values().any(|local| !local.deleted);
        let filter = match Filter::parse_late(filter, &Filter::CHECK, nothing) {
            Ok(filter) => filter,
            Err(error) => return Response::error(&error),
        };
        let mut writer = Writer::default();
        writer.object(|w| {
            for (id, local) in self.checks.iter().filter(|(_, local)| !local.deleted) {
                let visible = match &*local.check.service_name {
                    "" => context.authority.may_read(Resource::Node, &self.node),
                    name => context.authority.may_read(Resource::Service, name),
                };
                let mut item = Writer::default();
                local.check.print(&mut item, true);
                let printed = item.finish();
                if visible && filter.matches(&printed) {
                    w.key(id).raw(&printed);
                }
            }
        });
        Response::json(200, &writer.finish(), context.pretty)
    }

    fn print_service(&self, id: &str, context: &Context<'_>) -> Response {
        let Some(service) = self.service(id) else {
            return Response::text(404, format!("unknown service ID: {id}"));
        };
        if !context.authority.may_read(Resource::Service, &service.name) {
            return Response::error(super::acl::DENIED);
        }
        let hash = content_hash(service);
        let mut writer = Writer::default();
        print_service(&mut writer, service, Some(&hash));
        Response::json(200, &writer.finish(), context.pretty).with("X-Consul-Contenthash", hash)
    }

    fn health_of_id(&self, id: &str, text: bool, context: &Context<'_>) -> Response {
        let Some(service) = self.service(id) else {
            let reason = format!("ServiceId {id} not found");
            let mut writer = Writer::default();
            if text {
                writer.text(&reason);
            } else {
                writer.raw("{\"AggregatedStatus\":\"critical\",\"Service\":null,\"Checks\":null}");
            }
            let response = Response::json(404, &writer.finish(), context.pretty);
            return response.with("X-Consul-Reason", reason);
        };
        if !context.authority.may_read(Resource::Service, &service.name) {
            return Response::error(super::acl::DENIED);
        }
        let checks: Vec<&LocalCheck> = self.checks_for(id, true).collect();
        let status = aggregated(&checks);
        let mut writer = Writer::default();
        print_health(&mut writer, service, status, &checks);
        respond(status_code(status), status, text, writer, context.pretty)
    }

    fn health_of_name(&self, name: &str, text: bool, context: &Context<'_>) -> Response {
        if !context.authority.may_read(Resource::Service, name) {
            return Response::error(super::acl::DENIED);
        }
        let mut worst = (404, format!("ServiceName {name} Not Found"));
        let mut writer = Writer::default();
        writer.list(|w| {
            let of_name = |local: &&super::local::LocalService| {
                !local.deleted && &*local.service.name == name
            };
            for local in self.services.values().filter(of_name) {
                let checks: Vec<&LocalCheck> = self.checks_for(&local.service.id, true).collect();
                let status = aggregated(&checks);
                print_health(w, &local.service, status, &checks);
                let code = status_code(status);
                if worst.0 == 404 || worst.0 < code {
                    worst = (code, status.to_owned());
                }
            }
        });
        respond(worst.0, &worst.1, text, writer, context.pretty)
    }
}

fn read(response: Response) -> Done {
    Done { response, push: false }
}

fn changed(result: Result<(), String>) -> Done {
    match result {
        Ok(()) => Done { response: Response::empty(200), push: true },
        Err(error) => read(Response::error(&error)),
    }
}

fn missing(kind: &str, name: &str) -> String {
    format!("{}: Missing {kind}:write on {name}", super::acl::DENIED)
}

fn status_code(status: &str) -> u16 {
    match status {
        PASSING => 200,
        WARNING => 429,
        _ => 503,
    }
}

fn respond(code: u16, status: &str, text: bool, body: Writer, pretty: bool) -> Response {
    let response = if text {
        let plain = Response::empty(code).with("Content-Type", "text/plain");
        Response { body: status.as_bytes().to_vec(), ..plain }
    } else {
        Response::json(code, &body.finish(), pretty)
    };
    response.with("X-Consul-Reason", status.to_owned())
}

/// Sums the status of checks up; maintenance is the worst.
fn aggregated(checks: &[&LocalCheck]) -> &'static str {
    let maintained = |known: &&&LocalCheck| {
        let id = &known.check.id;
        &**id == NODE_MAINTENANCE || id.starts_with("_service_maintenance:")
    };
    if checks.iter().any(|known| maintained(&known)) {
        return "maintenance";
    }
    let has = |status: &str| checks.iter().any(|known| &*known.check.status == status);
    if has(CRITICAL) {
        CRITICAL
    } else if has(WARNING) {
        WARNING
    } else {
        PASSING
    }
}

fn print_health(w: &mut Writer, service: &Service, status: &str, checks: &[&LocalCheck]) {
    w.object(|w| {
        w.key("AggregatedStatus").text(status);
        print_service(w.key("Service"), service, None);
        w.key("Checks").list(|w| checks.iter().for_each(|known| known.check.print_api(w)));
    });
}

fn print_service(w: &mut Writer, service: &Service, hash: Option<&str>) {
    w.object(|w| {
        if !service.kind.is_empty() {
            w.key("Kind").text(&service.kind);
        }
        w.key("ID").text(&service.id);
        w.key("Service").text(&service.name);
        types::print_texts(w.key("Tags"), service.tags.as_deref(), true);
        let empty = std::collections::BTreeMap::new();
        types::print_map(w.key("Meta"), Some(service.meta.as_ref().unwrap_or(&empty)));
        w.key("Port").number(service.port);
        w.key("Address").text(&service.address);
        types::print_tagged(w, "TaggedAddresses", service);
        types::print_weights(w.key("Weights"), Some(service.weights()));
        w.key("EnableTagOverride").truth(service.tag_override);
        if let Some(hash) = hash {
            w.key("ContentHash").text(hash);
        }
        if service.native {
            w.key("Connect").object(|w| w.key("Native").truth(true));
        }
    });
}

/// Condenses a definition for the `hash` parameter.
pub(crate) fn content_hash(service: &Arc<Service>) -> String {
    let mut hash = Fnv::new();
    service.hash(&mut hash);
    format!("{:x}", hash.finish())
}
