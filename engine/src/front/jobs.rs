//! Jobs, as far as each can be judged alone.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::{boxed, command, exec, raw_output, signal};
use super::duration::show;
use super::fields::{Fields, duration_of, shown, word_of};
use super::interfaces::{self, Rules};
use super::json5::{Node, Value};
use super::keys::{BACKOFF, CONSUL_EXTRAS, HEALTH, JOB};
use super::locks;
use super::near;
use super::problem::{
    BAD_NAME, BAD_VALUE, CHECK_OUTLASTS_INTERVAL, CONFLICTING_KEYS, ENDLESS_STARTS, HEALTH_MISSING,
    IGNORED_KEY, MISSING_KEY, NOTHING_TO_DO, OUT_OF_RANGE, Problem, Problems, RESTART_STORM,
    TTL_TOO_SHORT, WEAK_VALUE, WRONG_TYPE,
};
use super::text::{At, Span};
use super::when::{ClauseDraft, TriggerDraft, WhenDraft, when};
use crate::config::{
    Backoff, CheckStatus, Command, HealthCheck, Job, Name, Repeat, Restarts, Service, Signal,
    Trigger,
};

/// A job whose trigger is still in words, with the places that later checks point at.
#[derive(Clone, Debug)]
pub(crate) struct JobDraft {
    /// The job; its trigger and its service's address are still to be filled in.
    pub(crate) job: Job,
    /// The name; empty when there is none.
    pub(crate) name: At<String>,
    pub(crate) when: WhenDraft,
    pub(crate) while_lock: Option<At<String>>,
    pub(crate) stop_with: Option<At<String>>,
    pub(crate) port: Option<At<u16>>,
    pub(crate) interfaces: Option<Rules>,
    /// `timeout` as given, without the default of an interval job.
    pub(crate) timeout: Option<At<Duration>>,
    pub(crate) stop_timeout: Option<At<Duration>>,
    pub(crate) kill_timeout: Option<At<Duration>>,
    pub(crate) has_exec: bool,
    pub(crate) has_health: bool,
    pub(crate) has_check: bool,
}

/// Reads one job; `None` when it is no block.
pub(crate) fn job(node: &Node, index: usize, problems: &mut Problems) -> Option<JobDraft> {
    let fields = Fields::open(node, &JOB, owner_of(node, index), problems)?;
    let name = fields
        .text("name", problems)
        .unwrap_or(At { value: String::new(), span: fields.opening() });
    let has_exec = fields.member("exec").is_some();
    let command = command(&fields, problems);
    let when = when(&fields, problems);
    let health = health(&fields, problems);
    let port = port(&fields, &name, problems);
    let service = service(&fields, &port, &health, problems);
    let interfaces = port.is_some().then(|| interfaces::rules(&fields, problems));
    let stop_timeout = fields.duration("stopTimeout", problems);
    let kill_timeout = fields.duration("killTimeout", problems);
    let mut job = Job::new(&name.value, Command::default());
    job.command = command.map(std::sync::Arc::new);
    job.restarts = restarts(&fields, &when, problems);
    job.backoff = backoff(&fields, problems);
    let timeout = fields.duration("timeout", problems);
    job.timeout = match (&timeout, &when.trigger) {
        (None, TriggerDraft::Interval(interval)) => Some(*interval),
        (given, _) => given.as_ref().map(|at| at.value),
    };
    job.trigger_timeout = when.timeout.as_ref().map(|timeout| timeout.value);
    job.stop_timeout = stop_timeout.as_ref().map(|at| at.value);
    job.stop_signal = signal(&fields, "stopSignal", problems).unwrap_or(Signal::TERM);
    job.kill_timeout = kill_timeout.as_ref().map(|at| at.value);
    job.essential = fields.flag("essential", problems).is_some_and(|at| at.value);
    job.service = service;
    job.trigger = Trigger::Startup;
    warn_about_storms(&fields, &job, problems);
    if !has_exec && port.is_none() && health.is_none() {
        let message =
            format!("cannot do anything in {}: it has neither `exec` nor `port`", fields.owner);
        problems.add(Problem::new(&NOTHING_TO_DO, name.span, message));
    }
    let has_health = fields.member("health").is_some();
    let has_check = health.as_ref().is_some_and(|health| health.command.is_some());
    job.health = health;
    let while_lock = locks::lock_name(&fields, "while", problems);
    let stop_with = locks::lock_name(&fields, "stopWith", problems);
    locks::refuse_beside_stop_with(&fields, stop_with.as_ref(), problems);
    Some(JobDraft {
        job,
        name,
        when,
        while_lock,
        stop_with,
        port,
        interfaces,
        timeout,
        stop_timeout,
        kill_timeout,
        has_exec,
        has_health,
        has_check,
    })
}

/// Names a job for messages before its name is known to be good.
fn owner_of(node: &Node, index: usize) -> String {
    if let Value::Object(members) = &node.value {
        let name = members.iter().find(|member| member.key.eq_ignore_ascii_case("name"));
        if let Some(Value::Text(name)) = name.map(|member| &member.value.value)
            && !name.is_empty()
        {
            return format!("job \"{name}\"");
        }
    }
    format!("jobs[{index}]")
}

fn restarts(fields: &Fields<'_>, when: &WhenDraft, problems: &mut Problems) -> Restarts {
    let periodic = matches!(when.trigger, TriggerDraft::Interval(_));
    let Some(node) = fields.node("restarts") else {
        return if periodic { Restarts::Unlimited } else { Restarts::Limited(0) };
    };
    let restarts = match &node.value {
        Value::Text(text) if text == "unlimited" => Some(Restarts::Unlimited),
        Value::Text(text) if text == "never" => Some(Restarts::Limited(0)),
        Value::Text(text) => text.trim().parse().ok().map(Restarts::Limited),
        Value::Number(number) if number.value >= 0.0 && number.value <= f64::from(u32::MAX) => {
            if number.whole.is_none() {
                let message =
                    format!("cannot restart {} times: it is cut to a whole number", number.text);
                problems.add(Problem::new(&WEAK_VALUE, node.span, message));
            }
            Some(Restarts::Limited(number.value as u32))
        }
        _ => None,
    };
    let Some(restarts) = restarts else {
        let message = format!("cannot use {} as {}", shown(node), fields.label("restarts"));
        let near = match &node.value {
            Value::Text(text) => near::nearest(text, ["unlimited", "never"]),
            _ => None,
        };
        let help = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => String::from("write a whole number, \"unlimited\" or \"never\""),
        };
        problems.add(Problem::new(&BAD_VALUE, node.span, message).help(help));
        return Restarts::Limited(0);
    };
    let each = when.trigger.clauses().iter().find(|clause| is_each(clause));
    match (restarts, each, &when.trigger) {
        (Restarts::Unlimited, Some(clause), _) => {
            let message = format!(
                "cannot restart {} without end: each event starts it as well",
                fields.owner
            );
            let problem = Problem::new(&ENDLESS_STARTS, node.span, message);
            let problem = problem.related(clause.repeat.span, "every event starts it");
            problems.add(problem.help("leave out `restarts`, or wait for the event `once`"));
        }
        (Restarts::Limited(0), _, TriggerDraft::Interval(_)) => {
            let message = format!(
                "cannot run {} again after the first time: it has no restarts",
                fields.owner
            );
            let problem = Problem::new(&IGNORED_KEY, node.span, message);
            problems.add(problem.help("leave out `restarts` for a run at every interval"));
        }
        _ => {}
    }
    restarts
}

fn is_each(clause: &ClauseDraft) -> bool {
    clause.repeat.value == Repeat::Each
}

fn backoff(fields: &Fields<'_>, problems: &mut Problems) -> Backoff {
    let Some(node) = fields.node("backoff") else {
        return Backoff::default();
    };
    if let Value::Text(text) = &node.value {
        let text = At { value: text.clone(), span: node.span };
        word_of(&text, &["none"], &fields.label("backoff"), problems);
        return Backoff::None;
    }
    let owner = format!("`backoff` of {}", fields.owner);
    let Some(block) = Fields::open(node, &BACKOFF, owner, problems) else {
        return Backoff::default();
    };
    let second = |name: &str, problems: &mut Problems| block.duration(name, problems);
    let initial = second("initial", problems).map_or(Duration::from_millis(100), |at| at.value);
    let max = second("max", problems);
    let reset = second("reset", problems).map_or(Duration::from_secs(10), |at| at.value);
    if let Some(max) = max.as_ref().filter(|max| max.value < initial) {
        let message = format!(
            "cannot use {} as {}: the first wait is {} already",
            show(max.value),
            block.label("max"),
            show(initial)
        );
        problems.add(Problem::new(&OUT_OF_RANGE, max.span, message));
    }
    let max = max.map_or(Duration::from_secs(30).max(initial), |at| at.value);
    Backoff::Exponential { initial, max, factor_percent: factor(&block, problems), reset }
}

fn factor(block: &Fields<'_>, problems: &mut Problems) -> u32 {
    let Some(text) = block.text("factor", problems) else {
        return 200;
    };
    match text.value.parse::<f64>() {
        Ok(factor) if (1.0..=100.0).contains(&factor) => (factor * 100.0).round() as u32,
        _ => {
            let message = format!("cannot use {} as {}", text.value, block.label("factor"));
            let help = "write a number from 1 to 100, such as 2 or 1.5";
            problems.add(Problem::new(&OUT_OF_RANGE, text.span, message).help(help));
            200
        }
    }
}

fn warn_about_storms(fields: &Fields<'_>, job: &Job, problems: &mut Problems) {
    let storm = job.backoff == Backoff::None && job.restarts == Restarts::Unlimited;
    if let Some(member) = fields.member("backoff").filter(|_| storm) {
        let message = format!(
            "cannot slow {} down if it fails at once: it restarts without a wait",
            fields.owner
        );
        let help = "leave out `backoff` for waits from 100ms to 30s";
        problems.add(Problem::new(&RESTART_STORM, member.value.span, message).help(help));
    }
}

/// Reads `health`.
fn health(job: &Fields<'_>, problems: &mut Problems) -> Option<HealthCheck> {
    let node = job.node("health")?;
    let owner = format!("the health check of {}", job.owner);
    let fields = Fields::open(node, &HEALTH, owner, problems)?;
    let argv = exec(&fields, problems);
    let interval = fields.duration("interval", problems);
    let timeout = fields.duration("timeout", problems);
    let ttl = fields.duration("ttl", problems);
    let retries = fields.whole("retries", problems).map_or(1, |at| at.value);
    let start_period = fields.duration("startPeriod", problems);
    let start_interval = fields.duration("startInterval", problems);
    if let (Some(interval), None) = (&start_interval, &start_period) {
        let message = format!("cannot use {} without `startPeriod`", fields.label("startInterval"));
        problems.add(Problem::new(&IGNORED_KEY, interval.span, message));
    }
    if let (Some(timeout), Some(interval)) = (&timeout, &interval)
        && timeout.value > interval.value
    {
        let (patience, period) = (show(timeout.value), show(interval.value));
        let message = format!("cannot keep the interval of {period} when a check takes {patience}");
        let help = "a check that takes longer than the interval delays the next one";
        problems.add(Problem::new(&CHECK_OUTLASTS_INTERVAL, timeout.span, message).help(help));
    }
    if let (Some(ttl), Some(interval)) = (&ttl, &interval)
        && ttl.value <= interval.value
    {
        let (life, period) = (show(ttl.value), show(interval.value));
        let message = format!(
            "cannot stay healthy in Consul: the TTL of {life} ends before the next report after \
             {period}"
        );
        let help = format!("use at least {} (three intervals)", show(interval.value * 3));
        problems.add(Problem::new(&TTL_TOO_SHORT, ttl.span, message).help(help));
    }
    let interval = interval.map_or(Duration::from_secs(1), |at| at.value);
    let command = argv.map(|argv| Command {
        argv,
        raw_output: raw_output(&fields, problems),
        ..Command::default()
    });
    Some(HealthCheck {
        command: command.map(std::sync::Arc::new),
        interval,
        timeout: timeout.map_or(interval, |at| at.value),
        ttl: ttl.map(|at| at.value),
        retries: u32::try_from(retries).unwrap_or(1),
        start_period: start_period.map_or(Duration::ZERO, |at| at.value),
        start_interval: start_interval.map(|at| at.value),
    })
}

/// Reads `port`; 0 is none, as in v3.
fn port(fields: &Fields<'_>, name: &At<String>, problems: &mut Problems) -> Option<At<u16>> {
    let port = fields.whole("port", problems)?;
    let value = u16::try_from(port.value).ok().filter(|port| *port > 0)?;
    if !name.value.is_empty() && !is_service_name(&name.value) {
        let message =
            format!("cannot register {:?} in Consul: it is no name of a service", name.value);
        let help = "with `port` a name is lower-case letter first, then letters, digits and `-`";
        problems.add(Problem::new(&BAD_NAME, name.span, message).help(help));
    }
    Some(At { value, span: port.span })
}

/// Tells whether a name can be a service's: `^[a-z][a-zA-Z0-9\-]+$`.
pub(crate) fn is_service_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let first = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase());
    first && name.len() > 1 && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Reads what is to be registered; without a port says what is left over.
fn service(
    fields: &Fields<'_>,
    port: &Option<At<u16>>,
    health: &Option<HealthCheck>,
    problems: &mut Problems,
) -> Option<Service> {
    let initial_status = fields.word("initial_status", problems).map(|word| match word.value {
        "passing" => CheckStatus::Passing,
        "warning" => CheckStatus::Warning,
        _ => CheckStatus::Critical,
    });
    let tags = fields.texts("tags", problems);
    let meta = fields.text_map("meta", problems);
    let drain = fields.duration("drain", problems);
    let (enable_tag_override, deregister_critical_after) = consul_extras(fields, problems);
    let Some(port) = port else {
        for name in ["meta", "drain"] {
            if let Some(member) = fields.member(name) {
                let message = format!("cannot use {}: it has no `port`", fields.label(name));
                problems.add(Problem::new(&IGNORED_KEY, member.key_span, message));
            }
        }
        return None;
    };
    match (health, fields.member("health")) {
        (None, None) => {
            let message = format!(
                "cannot advertise port {} of {}: it has no `health`",
                port.value, fields.owner
            );
            let help =
                "add `health: { exec, interval, ttl }`, so that Consul knows whether it works";
            problems.add(Problem::new(&HEALTH_MISSING, port.span, message).help(help));
        }
        (Some(health), Some(member)) if health.ttl.is_none() && ttl_is_left_out(&member.value) => {
            let message = format!(
                "cannot leave out `ttl` in the health check of {}: it has a `port`",
                fields.owner
            );
            let span = Span::new(member.value.span.start, member.value.span.start + 1);
            let help = "give the time for which Consul believes a report, such as three intervals";
            problems.add(Problem::new(&MISSING_KEY, span, message).help(help));
        }
        _ => {}
    }
    Some(Service {
        port: port.value,
        address: None,
        initial_status,
        tags: tags.into_iter().map(|tag| tag.value.into_boxed_str()).collect(),
        meta: meta
            .into_iter()
            .map(|(name, value)| (name.value.into_boxed_str(), value.value.into_boxed_str()))
            .collect(),
        enable_tag_override,
        deregister_critical_after,
        drain: drain.map_or(Duration::ZERO, |at| at.value),
    })
}

/// Tells whether a missing TTL is missing, rather than wrong and reported already.
fn ttl_is_left_out(health: &Node) -> bool {
    match &health.value {
        Value::Object(members) => !members.iter().any(|member| {
            member.key.eq_ignore_ascii_case("ttl") && member.value.value != Value::Null
        }),
        _ => false,
    }
}

fn consul_extras(fields: &Fields<'_>, problems: &mut Problems) -> (bool, Option<Duration>) {
    let Some(node) = fields.node("consul") else {
        return (false, None);
    };
    let owner = format!("`consul` of {}", fields.owner);
    let Some(extras) = Fields::open(node, &CONSUL_EXTRAS, owner, problems) else {
        return (false, None);
    };
    let enable = extras.flag("enableTagOverride", problems).is_some_and(|at| at.value);
    let after = extras.duration("deregisterCriticalServiceAfter", problems);
    (enable, after.map(|at| at.value))
}

/// Joins the namespaces of what may be named: two jobs or two watches of one name are refused.
pub(crate) fn names_once<'a>(
    what: &str,
    names: impl Iterator<Item = &'a At<String>>,
    help: &str,
    problems: &mut Problems,
) {
    let mut seen: BTreeMap<&str, &At<String>> = BTreeMap::new();
    for name in names.filter(|name| !name.value.is_empty()) {
        match seen.get(name.value.as_str()) {
            Some(first) => {
                let message = format!("cannot have two {what} named \"{}\"", name.value);
                let problem = Problem::new(&super::problem::DUPLICATE_NAME, name.span, message);
                problems.add(problem.related(first.span, "first one here").help(help));
            }
            None => drop(seen.insert(&name.value, name)),
        }
    }
}

/// Reads a wait that may also be a word, such as `takeover`.
pub(crate) fn duration_or_word(
    fields: &Fields<'_>,
    name: &str,
    word: &str,
    problems: &mut Problems,
) -> Option<At<Option<Duration>>> {
    let node = fields.node(name)?;
    if matches!(&node.value, Value::Text(text) if text.eq_ignore_ascii_case(word)) {
        return Some(At { value: None, span: node.span });
    }
    let value = duration_of(node, &fields.label(name), problems)?;
    Some(At { value: Some(value), span: node.span })
}

/// Gives the shared form of a name.
pub(crate) fn shared(name: &At<String>) -> Name {
    Name::from(name.value.as_str())
}

/// Reads a list of blocks; null entries are left out, as in v3.
pub(crate) fn blocks<'n>(
    fields: &Fields<'n>,
    name: &str,
    problems: &mut Problems,
) -> Vec<(usize, &'n Node)> {
    let Some(node) = fields.node(name) else {
        return Vec::new();
    };
    let Value::List(nodes) = &node.value else {
        let message =
            format!("cannot use {} as {}: it must be a list", shown(node), fields.label(name));
        let problem = Problem::new(&WRONG_TYPE, node.span, message);
        problems.add(problem.help("put it in brackets"));
        return Vec::new();
    };
    nodes.iter().enumerate().filter(|(_, node)| node.value != Value::Null).collect()
}

/// Refuses keys that exclude each other.
pub(crate) fn exclude(fields: &Fields<'_>, names: &[&str], problems: &mut Problems) -> bool {
    let given: Vec<_> = names.iter().filter_map(|name| fields.member(name)).collect();
    let [first, second, ..] = given.as_slice() else {
        return false;
    };
    let message =
        format!("cannot use both `{}` and `{}` in {}", first.key, second.key, fields.owner);
    let (early, late) = match first.key_span < second.key_span {
        true => (first.key_span, second.key_span),
        false => (second.key_span, first.key_span),
    };
    problems.add(Problem::new(&CONFLICTING_KEYS, late, message).related(early, "the other one"));
    true
}

/// A file path that says something.
pub(crate) fn path(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Option<Box<str>> {
    boxed(fields.text(name, problems))
}
