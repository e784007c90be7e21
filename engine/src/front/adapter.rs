//! What the adapter needs besides Consul: logging, the control socket, telemetry.

use std::time::Duration;

use super::command::boxed;
use super::fields::Fields;
use super::interfaces::{self, Rules};
use super::jobs::{JobDraft, blocks};
use super::json5::Node;
use super::keys::{CONTROL, LOGGING, METRIC, TELEMETRY};
use super::problem::{BAD_NAME, BAD_VALUE, DUPLICATE_NAME, Problem, Problems, WEAK_VALUE};
use super::settings::{LogFormat, LogLevel, LogOutput, Logging, Telemetry};
use super::text::{At, Span};
use super::when::{TriggerDraft, WhenDraft};
use crate::config::{Command, HealthCheck, Job, Metric, MetricKind, Name, Service};

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
        stop_with: None,
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
