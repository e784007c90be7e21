//! What an agent knows about itself: its services and checks, and whether the servers know it too.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use super::go::{self, quote};
use super::types::{CRITICAL, Check, Service, Str};

/// A service of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LocalService {
    pub(crate) service: Arc<Service>,
    pub(crate) token: Str,
    pub(crate) in_sync: bool,
    pub(crate) deleted: bool,
}

/// A check of the agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct LocalCheck {
    pub(crate) check: Check,
    pub(crate) token: Str,
    pub(crate) in_sync: bool,
    pub(crate) deleted: bool,
    pub(crate) critical_since: Option<u64>,
    /// When an output-only change is to be sent.
    pub(crate) send_at: Option<u64>,
}

/// The clock of a TTL check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Ttl {
    pub(crate) ttl: u64,
    /// When it expires; `None` once it has.
    pub(crate) deadline: Option<u64>,
    pub(crate) last_output: Str,
    pub(crate) output_max: usize,
    pub(crate) planned: Planned,
}

/// The deadline that was last put on the agenda: spares a search for it, and is no state.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Planned(pub(crate) Option<u64>);

impl PartialEq for Planned {
    fn eq(&self, _: &Planned) -> bool {
        true
    }
}

impl Eq for Planned {}

impl Hash for Planned {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

/// What the data directory keeps of a TTL check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Saved {
    status: Str,
    output: Str,
    until: u64,
}

/// How a check is to be carried out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct CheckDefinition {
    pub(crate) id: Str,
    pub(crate) name: Str,
    pub(crate) status: Str,
    pub(crate) notes: Str,
    /// `http`, `tcp`, …: anything an agent carries out itself; empty for a TTL check.
    pub(crate) probe: &'static str,
    pub(crate) alias: bool,
    pub(crate) interval: i64,
    pub(crate) ttl: i64,
    pub(crate) deregister_after: i64,
    pub(crate) output_max: i64,
    /// Is there anything in it at all?
    pub(crate) empty: bool,
}

/// An agent's own state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Local {
    pub(crate) node: Str,
    pub(crate) services: BTreeMap<Str, LocalService>,
    pub(crate) checks: BTreeMap<Str, LocalCheck>,
    pub(crate) ttls: BTreeMap<Str, Ttl>,
    pub(crate) reap_after: BTreeMap<Str, u64>,
    pub(crate) node_in_sync: bool,
    saved: BTreeMap<Str, Saved>,
}

const MINUTE: u64 = 60_000_000_000;
/// How much of a check's output is kept.
const OUTPUT_MAX: usize = 4_096;

impl CheckDefinition {
    /// Refuses what no agent could carry out.
    pub(crate) fn validate(&self) -> Result<(), String> {
        let probes = !self.probe.is_empty();
        let refusal = if self.interval > 0 && self.ttl > 0 {
            "Interval and TTL cannot both be specified"
        } else if probes && self.interval <= 0 {
            "Interval must be > 0 for Script, HTTP, or TCP checks"
        } else if probes && self.alias {
            "Interval cannot be set for Alias checks"
        } else if self.alias && self.ttl > 0 {
            "TTL must be not be set for Alias checks"
        } else if !probes && !self.alias && self.ttl <= 0 {
            "TTL must be > 0 for TTL checks"
        } else if self.output_max < 0 {
            "MaxOutputMaxSize must be positive"
        } else {
            return Ok(());
        };
        Err(refusal.to_owned())
    }

    /// Refuses scripts, as an agent does unless it is told otherwise.
    fn refuse_script(&self) -> Result<(), String> {
        if matches!(self.probe, "script" | "docker") {
            return Err(
                "Scripts are disabled on this agent from remote calls; to enable, configure \
                        'enable_script_checks' to true"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Names the kind of check as Consul shows it.
    pub(crate) fn kind(&self) -> &'static str {
        match (self.probe, self.ttl > 0, self.alias) {
            (probe @ ("grpc" | "http"), _, _) if self.interval > 0 => probe,
            (_, true, _) => "ttl",
            ("tcp", ..) if self.interval > 0 => "tcp",
            (_, _, true) => "alias",
            (probe, ..) => probe,
        }
    }
}

impl Local {
    /// Builds the empty state of a node's agent.
    pub(crate) fn new(node: Str) -> Local {
        Local { node, ..Local::default() }
    }

    /// Returns a service that is there.
    pub(crate) fn service(&self, id: &str) -> Option<&Arc<Service>> {
        self.services.get(id).filter(|known| !known.deleted).map(|known| &known.service)
    }

    /// Returns a check that is there.
    pub(crate) fn check(&self, id: &str) -> Option<&LocalCheck> {
        self.checks.get(id).filter(|known| !known.deleted)
    }

    /// Lists the checks of a service, at will with those of the node.
    pub(crate) fn checks_for<'a>(
        &'a self,
        service: &'a str,
        with_node: bool,
    ) -> impl Iterator<Item = &'a LocalCheck> {
        self.checks.values().filter(move |known| {
            let of = &known.check.service_id;
            !known.deleted && (&**of == service || (with_node && of.is_empty()))
        })
    }

    /// Tells whether the servers may not know everything.
    pub(crate) fn is_unsynced(&self) -> bool {
        !self.node_in_sync
            || self.services.values().any(|known| !known.in_sync)
            || self.checks.values().any(|known| !known.in_sync)
    }

    /// Adds or replaces a service with its checks.
    pub(crate) fn add_service(
        &mut self,
        now: u64,
        mut service: Service,
        definitions: &[CheckDefinition],
        token: &Str,
        replace: bool,
    ) -> Result<(), String> {
        check_tagged(&service)?;
        definitions.iter().try_for_each(CheckDefinition::refuse_script)?;
        add_tagged(&mut service);
        service.weights = Some(service.weights());
        let id = service.id.clone();
        let mut checks = Vec::new();
        for (position, definition) in definitions.iter().enumerate() {
            let mut check = self.service_check(&service, definition, position, definitions.len());
            if let Some(known) = self.check(&check.id) {
                check.output = known.check.output.clone();
                check.status = known.check.status.clone();
            }
            checks.push(check);
        }
        let kept: Vec<Str> = checks.iter().map(|check| check.id.clone()).collect();
        let dropped: Vec<Str> = self
            .checks_for(&id, false)
            .map(|known| known.check.id.clone())
            .filter(|known| replace && !kept.contains(known))
            .collect();
        let local = LocalService {
            service: Arc::new(service),
            token: token.clone(),
            in_sync: false,
            deleted: false,
        };
        self.services.insert(id, local);
        for (check, definition) in checks.into_iter().zip(definitions) {
            self.start_check(now, &check.id, definition);
            self.put_check(check, token);
        }
        for check in dropped {
            self.remove_check(&check);
        }
        Ok(())
    }

    fn service_check(
        &self,
        service: &Service,
        definition: &CheckDefinition,
        position: usize,
        count: usize,
    ) -> Check {
        let id: Str = match (&*definition.id, count) {
            ("", 1) => format!("service:{}", service.id).into(),
            ("", _) => format!("service:{}:{}", service.id, position + 1).into(),
            _ => definition.id.clone(),
        };
        let name = match &*definition.name {
            "" => format!("Service '{}' check", service.name).into(),
            _ => definition.name.clone(),
        };
        let status = match &*definition.status {
            "" => CRITICAL.into(),
            _ => definition.status.clone(),
        };
        Check {
            node: self.node.clone(),
            id,
            name,
            status,
            notes: definition.notes.clone(),
            service_id: service.id.clone(),
            service_name: service.name.clone(),
            service_tags: service.tags.clone(),
            kind: definition.kind().into(),
            ..Check::default()
        }
    }

    /// Adds or replaces a single check; its state survives.
    pub(crate) fn add_check(
        &mut self,
        now: u64,
        mut check: Check,
        definition: Option<&CheckDefinition>,
        token: &Str,
    ) -> Result<(), String> {
        if !check.service_id.is_empty() {
            let Some(service) = self.service(&check.service_id) else {
                let id = quote(&check.service_id);
                return Err(format!("ServiceID {id} does not exist"));
            };
            check.service_name = service.name.clone();
            check.service_tags = service.tags.clone();
        }
        if check.id.is_empty() {
            return Err("CheckID missing".to_owned());
        }
        definition.map_or(Ok(()), CheckDefinition::refuse_script)?;
        let known = self.check(&check.id).map(|known| known.check.clone());
        if let Some(definition) = definition {
            self.start_check(now, &check.id, definition);
        }
        let id = check.id.clone();
        self.put_check(check, token);
        if let Some(known) = known {
            self.update_check(now, &id, &known.status, &known.output, None);
        }
        Ok(())
    }

    fn put_check(&mut self, check: Check, token: &Str) {
        let local = LocalCheck { check, token: token.clone(), ..LocalCheck::default() };
        self.checks.insert(local.check.id.clone(), local);
    }

    fn start_check(&mut self, now: u64, id: &Str, definition: &CheckDefinition) {
        if definition.ttl > 0 {
            let wanted = usize::try_from(definition.output_max).unwrap_or(0);
            let ttl = u64::try_from(definition.ttl).unwrap_or(0);
            let clock = Ttl {
                ttl,
                deadline: Some(now.saturating_add(ttl)),
                last_output: "".into(),
                output_max: if wanted > 0 { wanted.min(OUTPUT_MAX) } else { OUTPUT_MAX },
                planned: Planned::default(),
            };
            self.ttls.insert(id.clone(), clock);
        }
        if definition.deregister_after > 0 {
            let after = u64::try_from(definition.deregister_after).unwrap_or(0).max(MINUTE);
            self.reap_after.insert(id.clone(), after);
        } else {
            self.reap_after.remove(id);
        }
    }

    /// Removes a service with its checks; the servers are told later.
    pub(crate) fn remove_service(&mut self, id: &str) -> Result<(), String> {
        if id.is_empty() {
            return Err("ServiceID missing".to_owned());
        }
        if self.service(id).is_none() {
            return Ok(());
        }
        let checks: Vec<Str> =
            self.checks_for(id, false).map(|known| known.check.id.clone()).collect();
        if let Some(known) = self.services.get_mut(id) {
            known.deleted = true;
            known.in_sync = false;
        }
        for check in checks {
            self.remove_check(&check);
        }
        Ok(())
    }

    /// Removes a check; the servers are told later.
    pub(crate) fn remove_check(&mut self, id: &str) {
        self.ttls.remove(id);
        self.reap_after.remove(id);
        self.saved.remove(id);
        if let Some(known) = self.checks.get_mut(id).filter(|known| !known.deleted) {
            known.deleted = true;
            known.in_sync = false;
        }
    }

    /// Takes a heartbeat. `send_at` is when a change of mere output would be sent.
    pub(crate) fn heartbeat(
        &mut self,
        now: u64,
        id: &str,
        status: &Str,
        output: &str,
        send_at: Option<u64>,
    ) -> Result<(), String> {
        let Some(clock) = self.ttls.get_mut(id) else {
            return Err(format!("CheckID {} does not have associated TTL", quote(id)));
        };
        let output: Str = truncated(output, clock.output_max).into();
        clock.last_output = output.clone();
        clock.deadline = Some(now.saturating_add(clock.ttl));
        let until = now.saturating_add(clock.ttl);
        let saved = Saved { status: status.clone(), output: output.clone(), until };
        self.saved.insert(id.into(), saved);
        self.update_check(now, id, status, &output, send_at);
        Ok(())
    }

    /// Expires a TTL check whose time has come.
    pub(crate) fn expire(&mut self, now: u64, id: &str, send_at: Option<u64>) {
        let Some(clock) = self.ttls.get_mut(id) else { return };
        if clock.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        clock.deadline = None;
        let output: Str = match &*clock.last_output {
            "" => "TTL expired".into(),
            last => format!("TTL expired (last output before timeout follows): {last}").into(),
        };
        self.update_check(now, id, &CRITICAL.into(), &output, send_at);
    }

    fn update_check(
        &mut self,
        now: u64,
        id: &str,
        status: &Str,
        output: &Str,
        send_at: Option<u64>,
    ) {
        let Some(known) = self.checks.get_mut(id).filter(|known| !known.deleted) else { return };
        if &**status == CRITICAL {
            known.critical_since.get_or_insert(now);
        } else {
            known.critical_since = None;
        }
        if known.check.status == *status && known.check.output == *output {
            return;
        }
        known.check.output = output.clone();
        if known.check.status == *status {
            known.send_at = known.send_at.or(send_at);
            return;
        }
        known.check.status = status.clone();
        known.in_sync = false;
    }

    /// Lists the services to remove because a check of theirs was critical for too long.
    pub(crate) fn overdue(&self, now: u64) -> Vec<Str> {
        let overdue = |(id, known): (&Str, &LocalCheck)| {
            let since = known.critical_since.filter(|_| !known.deleted)?;
            let after = self.reap_after.get(id)?;
            let service = &known.check.service_id;
            (now.saturating_sub(since) > *after && !service.is_empty()).then(|| service.clone())
        };
        let mut services: Vec<Str> = self.checks.iter().filter_map(overdue).collect();
        services.dedup();
        services
    }

    /// Comes back after a restart that kept the data directory.
    pub(crate) fn restart(&mut self, now: u64) {
        self.services.retain(|_, known| !known.deleted);
        self.checks.retain(|_, known| !known.deleted);
        self.node_in_sync = false;
        for known in self.services.values_mut() {
            known.in_sync = false;
        }
        for (id, known) in &mut self.checks {
            known.in_sync = false;
            known.critical_since = None;
            known.send_at = None;
            if !self.ttls.contains_key(id) {
                continue;
            }
            match self.saved.get(id).filter(|saved| now < saved.until) {
                Some(saved) => {
                    known.check.status = saved.status.clone();
                    known.check.output = saved.output.clone();
                }
                None => {
                    known.check.status = CRITICAL.into();
                    known.check.output = "".into();
                }
            }
        }
        for clock in self.ttls.values_mut() {
            clock.last_output = "".into();
            clock.deadline = Some(now.saturating_add(clock.ttl));
        }
    }
}

/// Cuts output that is too long, and says so.
fn truncated(output: &str, max: usize) -> String {
    if output.len() <= max {
        return output.to_owned();
    }
    let kept = String::from_utf8_lossy(&output.as_bytes()[..max]);
    format!("{kept} ... (captured {max} of {} bytes)", output.len())
}

fn check_tagged(service: &Service) -> Result<(), String> {
    let Some(tagged) = &service.tagged else { return Ok(()) };
    for (tag, family) in [("lan_ipv4", "ipv4"), ("wan_ipv4", "ipv4"), ("lan_ipv6", "ipv6")] {
        let Some((address, _)) = tagged.get(tag) else { continue };
        let fits = match go::parse_ip(address) {
            Some(IpAddr::V4(_)) => family == "ipv4",
            Some(IpAddr::V6(_)) => family == "ipv6",
            None => false,
        };
        if !fits {
            return Err(format!(
                "Service tagged address {} must be a valid {family} address",
                quote(tag)
            ));
        }
    }
    Ok(())
}

fn add_tagged(service: &mut Service) {
    let tags = match go::parse_ip(&service.address) {
        None => [].as_slice(),
        Some(IpAddr::V4(_)) => &["lan_ipv4", "wan_ipv4"],
        Some(IpAddr::V6(_)) => &["lan_ipv6", "wan_ipv6"],
    };
    let tagged = service.tagged.get_or_insert_default();
    for tag in tags {
        let own = || (service.address.clone(), service.port);
        tagged.entry((*tag).into()).or_insert_with(own);
    }
}
