//! What the adapter needs: Consul's address, logging, the control socket, telemetry.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::boxed;
use super::fields::{Fields, parse_bool, weak_text};
use super::interfaces::{self, Rules};
use super::jobs::{JobDraft, blocks};
use super::json5::{Node, Value};
use super::keys::{CONSUL, CONTROL, LOGGING, METRIC, TELEMETRY, TLS};
use super::problem::{
    BAD_NAME, BAD_VALUE, DUPLICATE_NAME, Problem, Problems, TLS_UNVERIFIED, WEAK_VALUE,
};
use super::settings::{
    Agent, Consul, LogFormat, LogLevel, LogOutput, Logging, Scheme, Secret, Telemetry, Tls,
};
use super::text::{At, Span};
use super::when::{TriggerDraft, WhenDraft};
use crate::config::{Command, HealthCheck, Job, Metric, MetricKind, Name, Service};

/// Where Consul is when nothing is said but that there is one.
const LOCAL_AGENT: &str = "127.0.0.1:8500";

/// Reads `consul`; the environment has the last word on certificates and token.
pub(crate) fn consul(
    top: &Fields<'_>,
    env: &BTreeMap<String, String>,
    problems: &mut Problems,
) -> Option<Consul> {
    let node = top.node("consul")?;
    let agent = match &node.value {
        Value::Text(text) if text == "embedded" => return Some(Consul::Embedded),
        Value::Object(_) => agent_block(node, problems)?,
        _ => {
            let text = weak_text(node, "`consul`", problems)?;
            let (scheme, address) = split_scheme(&text);
            let address = whole_address(address, node.span, problems);
            Agent::new(address, scheme.unwrap_or(Scheme::Http))
        }
    };
    let agent = with_environment(agent, env, node.span, problems);
    if !agent.tls.verify && agent.scheme == Scheme::Https {
        let message =
            "cannot tell whether it is Consul that answers: its certificate is not checked";
        problems.add(Problem::new(&TLS_UNVERIFIED, node.span, message));
    }
    Some(Consul::Agent(agent))
}

fn agent_block(node: &Node, problems: &mut Problems) -> Option<Agent> {
    let fields = Fields::open(node, &CONSUL, String::from("`consul`"), problems)?;
    let address = fields.text("address", problems);
    let scheme = fields.word("scheme", problems).map(|word| match word.value {
        "https" => Scheme::Https,
        _ => Scheme::Http,
    });
    let token = fields.text("token", problems).map(|text| Secret(text.value));
    let tls = match fields.node("tls") {
        Some(node) => tls(node, problems),
        None => Tls::default(),
    };
    let address = address?;
    let (written, rest) = split_scheme(&address.value);
    let rest = whole_address(rest, address.span, problems);
    let scheme = scheme.or(written).unwrap_or(Scheme::Http);
    Some(Agent { token, tls, ..Agent::new(rest, scheme) })
}

fn tls(node: &Node, problems: &mut Problems) -> Tls {
    let owner = String::from("`consul.tls`");
    let Some(fields) = Fields::open(node, &TLS, owner, problems) else {
        return Tls::default();
    };
    let mut text = |name| fields.text(name, problems).map(|text| text.value);
    Tls {
        ca_file: text("cafile"),
        ca_path: text("capath"),
        client_cert: text("clientcert"),
        client_key: text("clientkey"),
        server_name: text("servername"),
        verify: fields.flag("verify", problems).is_none_or(|verify| verify.value),
    }
}

fn split_scheme(text: &str) -> (Option<Scheme>, &str) {
    match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
        (Some(rest), _) => (Some(Scheme::Http), rest.trim_end_matches('/')),
        (_, Some(rest)) => (Some(Scheme::Https), rest.trim_end_matches('/')),
        (None, None) => (None, text),
    }
}

/// Completes an address as v3's client did: nothing is the local agent, no host is this one.
fn whole_address(text: &str, span: Span, problems: &mut Problems) -> String {
    let weak = |problems: &mut Problems, message: &str| {
        let help = "is a variable not set?";
        problems.add(Problem::new(&WEAK_VALUE, span, message).help(help));
    };
    if text.is_empty() {
        weak(problems, "cannot tell where Consul is: 127.0.0.1:8500 is taken");
        return String::from(LOCAL_AGENT);
    }
    if text.starts_with("unix://") {
        return String::from(text);
    }
    if let Some(port) = text.strip_prefix(':') {
        weak(problems, "cannot tell on which host Consul is: 127.0.0.1 is taken");
        return format!("127.0.0.1:{port}");
    }
    let (host, port) = match text.rsplit_once(':') {
        // An IPv6 address in brackets may come without a port.
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let is_bad = host.contains(['/', ' ', '@', '?', '#'])
        || (host.contains(':') && !host.starts_with('['))
        || port.is_some_and(|port| port.parse::<u16>().is_err());
    if is_bad {
        let message = format!("cannot use {text:?} as the address of Consul");
        let help = "write host:port, perhaps with http:// or https:// in front";
        problems.add(Problem::new(&BAD_VALUE, span, message).help(help));
    }
    String::from(text)
}

/// Lets the environment override token and certificates.
fn with_environment(
    mut agent: Agent,
    env: &BTreeMap<String, String>,
    span: Span,
    problems: &mut Problems,
) -> Agent {
    let given = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
    if let Some(token) = given("CONSUL_HTTP_TOKEN") {
        agent.token = Some(Secret(token));
    }
    if let Some(auth) = given("CONSUL_HTTP_AUTH") {
        agent.auth = Some(Secret(auth));
    }
    let tls = &mut agent.tls;
    let slots = [
        ("CONSUL_HTTP_TOKEN_FILE", &mut agent.token_file),
        ("CONSUL_NAMESPACE", &mut agent.namespace),
        ("CONSUL_CACERT", &mut tls.ca_file),
        ("CONSUL_CAPATH", &mut tls.ca_path),
        ("CONSUL_CLIENT_CERT", &mut tls.client_cert),
        ("CONSUL_CLIENT_KEY", &mut tls.client_key),
        ("CONSUL_TLS_SERVER_NAME", &mut tls.server_name),
    ];
    for (name, slot) in slots {
        if let Some(value) = given(name) {
            *slot = Some(value);
        }
    }
    if let Some(value) = given("CONSUL_HTTP_SSL_VERIFY") {
        match parse_bool(&value) {
            Some(verify) => tls.verify = verify,
            None => {
                let message = format!("cannot use {value:?} as CONSUL_HTTP_SSL_VERIFY");
                let help = "set the variable to 1, true, 0 or false";
                problems.add(Problem::new(&BAD_VALUE, span, message).help(help));
            }
        }
    }
    agent
}

/// Reads `logging`.
pub(crate) fn logging(top: &Fields<'_>, problems: &mut Problems) -> Logging {
    let mut logging = Logging::default();
    let Some(node) = top.node("logging") else {
        return logging;
    };
    let Some(fields) = Fields::open(node, &LOGGING, String::from("`logging`"), problems) else {
        return logging;
    };
    if let Some(level) = fields.word("level", problems) {
        logging.level = match level.value {
            "DEBUG" => LogLevel::Debug,
            "WARN" | "WARNING" => LogLevel::Warn,
            "ERROR" => LogLevel::Error,
            "FATAL" => LogLevel::Fatal,
            "PANIC" => LogLevel::Panic,
            _ => LogLevel::Info,
        };
    }
    if let Some(format) = fields.word("format", problems) {
        logging.format = match format.value {
            "text" => LogFormat::Text,
            "json" => LogFormat::Json,
            _ => LogFormat::Default,
        };
    }
    if let Some(output) = fields.text("output", problems) {
        logging.output = match output.value.as_str() {
            "stdout" => LogOutput::Stdout,
            "stderr" => LogOutput::Stderr,
            _ => LogOutput::File(output.value),
        };
    }
    logging
}

/// Reads `control`; `None` leaves the default.
pub(crate) fn control_socket(top: &Fields<'_>, problems: &mut Problems) -> Option<String> {
    let node = top.node("control")?;
    let fields = Fields::open(node, &CONTROL, String::from("`control`"), problems)?;
    let socket = fields.text("socket", problems)?;
    // sockaddr_un holds 108 bytes with a NUL at the end.
    if socket.value.len() > 107 {
        let message =
            format!("cannot use a path of {} bytes as the control socket", socket.value.len());
        let help = "the kernel takes at most 107";
        problems.add(Problem::new(&BAD_VALUE, socket.span, message).help(help));
    }
    Some(socket.value)
}

/// Telemetry whose address is still to be chosen.
#[derive(Debug)]
pub(crate) struct TelemetryDraft {
    pub(crate) telemetry: Telemetry,
    /// Where the block begins.
    pub(crate) span: Span,
    pub(crate) interfaces: Rules,
    pub(crate) metrics: Vec<Metric>,
}

/// Reads `telemetry`.
pub(crate) fn telemetry(top: &Fields<'_>, problems: &mut Problems) -> Option<TelemetryDraft> {
    let node = top.node("telemetry")?;
    let fields = Fields::open(node, &TELEMETRY, String::from("`telemetry`"), problems)?;
    let port = fields.whole("port", problems).map_or(0, |port| port.value);
    let port = u16::try_from(port).ok().filter(|port| *port > 0).unwrap_or(9090);
    let tags = fields.texts("tags", problems).into_iter().map(|tag| tag.value).collect();
    let interfaces = interfaces::rules(&fields, problems);
    let mut metrics: Vec<(Metric, Span)> = Vec::new();
    for (index, node) in blocks(&fields, "metrics", problems) {
        let Some((metric, span)) = metric(node, index, problems) else { continue };
        if let Some((_, first)) = metrics.iter().find(|(known, _)| known.name == metric.name) {
            let message = format!("cannot have two metrics named `{}`", metric.name);
            let problem = Problem::new(&DUPLICATE_NAME, span, message);
            problems.add(problem.related(*first, "first one here"));
            continue;
        }
        metrics.push((metric, span));
    }
    let metrics = metrics.into_iter().map(|(metric, _)| metric).collect();
    let telemetry = Telemetry { port, address: None, tags };
    Some(TelemetryDraft { telemetry, span: fields.opening(), interfaces, metrics })
}

fn metric(node: &Node, index: usize, problems: &mut Problems) -> Option<(Metric, Span)> {
    let owner = format!("`telemetry.metrics[{index}]`");
    let fields = Fields::open(node, &METRIC, owner, problems)?;
    let parts = ["namespace", "subsystem", "name"].map(|name| fields.text(name, problems));
    let span = parts[2].as_ref().map(|name| name.span);
    let full: Vec<String> = parts.into_iter().flatten().map(|part| part.value).collect();
    let full = full.join("_");
    let help = boxed(fields.text("help", problems)).unwrap_or_default();
    let kind = fields.word("type", problems)?;
    let span = span?;
    let is_part = |(at, c): (usize, char)| {
        c.is_ascii_alphabetic() || matches!(c, '_' | ':') || (at > 0 && c.is_ascii_digit())
    };
    if !full.char_indices().all(is_part) {
        let message = format!("cannot name a metric `{full}`");
        let help = "a name has letters, digits, `_` and `:`, with no digit in front";
        problems.add(Problem::new(&BAD_NAME, span, message).help(help));
    }
    let kind = match kind.value {
        "counter" => MetricKind::Counter,
        "gauge" => MetricKind::Gauge,
        "histogram" => MetricKind::Histogram,
        _ => MetricKind::Summary,
    };
    Some((Metric { name: Name::from(full), help, kind }, span))
}

/// Reads the budget of a shutdown; 0 is the default, as in v3.
pub(crate) fn stop_timeout(top: &Fields<'_>, problems: &mut Problems) -> Option<At<Duration>> {
    let given = top.duration("stopTimeout", problems)?;
    if given.value.is_zero() {
        let message = "cannot stop in no time: 0 counts as 5 seconds, as in v3";
        problems.add(Problem::new(&WEAK_VALUE, given.span, message));
        return None;
    }
    Some(given)
}

/// The name under which telemetry is registered.
const TELEMETRY_SERVICE: &str = "containerpilot";

/// Builds the job that registers telemetry in Consul: always healthy, and no reason to keep
/// running.
pub(crate) fn telemetry_job(draft: &TelemetryDraft) -> JobDraft {
    let version = env!("CARGO_PKG_VERSION");
    let tags = draft.telemetry.tags.iter().map(String::as_str).chain([version]);
    let mut job = Job::new(TELEMETRY_SERVICE, Command::default());
    job.command = None;
    job.builtin = true;
    job.health = Some(HealthCheck {
        command: None,
        interval: TELEMETRY_HEARTBEAT,
        timeout: TELEMETRY_HEARTBEAT,
        ttl: Some(TELEMETRY_TTL),
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: None,
    });
    job.service = Some(Service {
        port: draft.telemetry.port,
        address: None,
        initial_status: None,
        tags: tags.map(Box::from).collect(),
        meta: Vec::new(),
        enable_tag_override: false,
        deregister_critical_after: None,
        drain: Duration::ZERO,
    });
    JobDraft {
        job,
        name: At { value: String::from(TELEMETRY_SERVICE), span: draft.span },
        when: WhenDraft { trigger: TriggerDraft::Startup, timeout: None },
        while_lock: None,
        port: None,
        interfaces: None,
        timeout: None,
        stop_timeout: None,
        kill_timeout: None,
        has_exec: false,
        has_health: true,
        has_check: false,
    }
}

/// What v3 used for its own service.
const TELEMETRY_HEARTBEAT: Duration = Duration::from_secs(5);
/// What v3 used for its own service.
const TELEMETRY_TTL: Duration = Duration::from_secs(15);
