//! Requests for the agent itself.

use super::agent_ops::Action;
use super::go;
use super::http_api::Response;
use super::json::Json;
use super::route::{About, Refused, Routed, Router};
use super::types::{CRITICAL, PASSING, Str, WARNING};
use super::{bodies, schemas};

impl Router<'_> {
    pub(crate) fn agent(&self, pattern: &str) -> Result<Routed, Refused> {
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
