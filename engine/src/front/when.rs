//! Triggers: what a job waits for, in words; the link to jobs and watches comes later.

use std::time::Duration;

use super::fields::{Fields, shown};
use super::json5::{Node, Value};
use super::keys::WHEN;
use super::near;
use super::problem::{
    BAD_VALUE, CONFLICTING_KEYS, IGNORED_KEY, MISSING_KEY, Problem, Problems, UNKNOWN_EVENT,
    WRONG_TYPE,
};
use super::text::At;
use crate::config::Repeat;
use crate::event::Code;
use crate::schedule::Schedule;

/// A trigger whose sources are still names.
#[derive(Clone, Debug)]
pub(crate) enum TriggerDraft {
    Startup,
    On(ClauseDraft),
    All(Vec<ClauseDraft>),
    Any(Vec<ClauseDraft>),
    Interval(Duration),
    Schedule(Schedule),
    /// Something that could not be read: nothing more is to be said about it.
    Unknown,
}

impl TriggerDraft {
    /// Gives the conditions, none for what needs no event.
    pub(crate) fn clauses(&self) -> &[ClauseDraft] {
        match self {
            TriggerDraft::On(clause) => std::slice::from_ref(clause),
            TriggerDraft::All(clauses) | TriggerDraft::Any(clauses) => clauses,
            TriggerDraft::Startup
            | TriggerDraft::Interval(_)
            | TriggerDraft::Schedule(_)
            | TriggerDraft::Unknown => &[],
        }
    }
}

/// One condition whose source is still a name.
#[derive(Clone, Debug)]
pub(crate) struct ClauseDraft {
    /// None when there is no such event; that has been said.
    pub(crate) code: Option<At<Code>>,
    /// Empty for a global event without a source.
    pub(crate) source: At<String>,
    pub(crate) repeat: At<Repeat>,
}

/// A trigger with its patience.
#[derive(Clone, Debug)]
pub(crate) struct WhenDraft {
    pub(crate) trigger: TriggerDraft,
    pub(crate) timeout: Option<At<Duration>>,
}

/// The sources that signals are.
pub(crate) const SIGNAL_SOURCES: [&str; 2] = ["SIGHUP", "SIGUSR2"];

/// Reads `when`.
pub(crate) fn when(job: &Fields<'_>, problems: &mut Problems) -> WhenDraft {
    let startup = WhenDraft { trigger: TriggerDraft::Startup, timeout: None };
    let Some(node) = job.node("when") else {
        return startup;
    };
    let unknown = WhenDraft { trigger: TriggerDraft::Unknown, timeout: None };
    let owner = format!("`when` of {}", job.owner);
    let Some(fields) = Fields::open(node, &WHEN, owner, problems) else {
        return unknown;
    };
    let timeout = fields.duration("timeout", problems);
    let trigger = trigger(&fields, problems).unwrap_or(TriggerDraft::Unknown);
    let needs_no_wait = matches!(trigger, TriggerDraft::Interval(_) | TriggerDraft::Schedule(_));
    if let (Some(timeout), true) = (&timeout, needs_no_wait) {
        let message =
            format!("cannot use {}: there is no event to wait for", fields.label("timeout"));
        problems.add(Problem::new(&IGNORED_KEY, timeout.span, message));
    }
    // As in v3, no time is no limit.
    let timeout = timeout.filter(|timeout| !timeout.value.is_zero() && !needs_no_wait);
    WhenDraft { trigger, timeout }
}

fn trigger(fields: &Fields<'_>, problems: &mut Problems) -> Option<TriggerDraft> {
    let shapes = ["interval", "schedule", "all", "any"].map(|name| (name, is_given(fields, name)));
    let event = is_given(fields, "source") || is_given(fields, "once") || is_given(fields, "each");
    let given: Vec<&str> =
        shapes.iter().filter(|(_, given)| *given).map(|(name, _)| *name).collect();
    match (given.as_slice(), event) {
        ([], true) => clause(fields, problems).map(TriggerDraft::On),
        ([], false) => {
            let message = format!("cannot tell when {} is: it names no event", fields.owner);
            let help = "give `source` with `once` or `each`, or one of `interval`, `schedule`, \
                        `all`, `any`";
            problems.add(Problem::new(&MISSING_KEY, fields.opening(), message).help(help));
            None
        }
        ([one], _) => {
            report_beside(fields, one, problems)?;
            match *one {
                "interval" => {
                    fields.duration("interval", problems).map(|at| TriggerDraft::Interval(at.value))
                }
                "schedule" => schedule(fields, problems).map(TriggerDraft::Schedule),
                "all" => clauses(fields, "all", problems).map(TriggerDraft::All),
                _ => clauses(fields, "any", problems).map(TriggerDraft::Any),
            }
        }
        ([first, second, ..], _) => {
            conflict(fields, first, second, problems);
            None
        }
    }
}

/// Tells whether a key says something: an empty string does not, as in v3.
fn is_given(fields: &Fields<'_>, name: &str) -> bool {
    match fields.node(name).map(|node| &node.value) {
        None => false,
        Some(Value::Text(text)) => !text.is_empty(),
        Some(_) => true,
    }
}

/// Refuses `once` and `each` beside another shape; v3 let a `source` stand there.
fn report_beside(fields: &Fields<'_>, shape: &str, problems: &mut Problems) -> Option<()> {
    for name in ["once", "each"] {
        if is_given(fields, name) {
            conflict(fields, shape, name, problems);
            return None;
        }
    }
    if let Some(member) = fields.member("source").filter(|_| is_given(fields, "source")) {
        let message = format!("cannot use {} beside `{shape}`", fields.label("source"));
        problems.add(Problem::new(&IGNORED_KEY, member.key_span, message));
    }
    Some(())
}

fn conflict(fields: &Fields<'_>, first: &str, second: &str, problems: &mut Problems) {
    let message = format!("cannot use both `{first}` and `{second}` in {}", fields.owner);
    let span = |name| fields.member(name).map_or(fields.opening(), |member| member.key_span);
    let (mut early, mut late) = (span(first), span(second));
    if late < early {
        std::mem::swap(&mut early, &mut late);
    }
    let problem = Problem::new(&CONFLICTING_KEYS, late, message);
    problems.add(problem.related(early, "the other one").help("give one of them"));
}

/// Reads `source` with `once` or `each`.
fn clause(fields: &Fields<'_>, problems: &mut Problems) -> Option<ClauseDraft> {
    let source = fields.text("source", problems);
    let once = fields.text("once", problems);
    let each = fields.text("each", problems);
    let (event, repeat) = match (once, each) {
        (Some(_), Some(_)) => {
            conflict(fields, "once", "each", problems);
            return None;
        }
        (Some(once), None) => (Some(once), Repeat::Once),
        (None, each) => (each, Repeat::Each),
    };
    let repeat = At { value: repeat, span: event.as_ref().map_or(fields.span, |event| event.span) };
    let is_signal = |text: &At<String>| SIGNAL_SOURCES.contains(&text.value.as_str());
    match (source, event) {
        (Some(source), Some(event)) => {
            let code = code(&event, is_signal(&source).then_some(&source), fields, problems);
            Some(ClauseDraft { code, source, repeat })
        }
        // A signal alone is meant each time it comes.
        (Some(source), None) if is_signal(&source) => {
            let code = Some(At { value: Code::Signal, span: source.span });
            Some(ClauseDraft { code, source, repeat })
        }
        (None, Some(event)) if is_signal(&event) => {
            let code = Some(At { value: Code::Signal, span: event.span });
            Some(ClauseDraft { code, source: event, repeat })
        }
        (Some(source), None) => {
            let message =
                format!("cannot tell what {} waits for from `{}`", fields.owner, source.value);
            let help = "give the event with `once` or `each`";
            problems.add(Problem::new(&MISSING_KEY, source.span, message).help(help));
            None
        }
        (None, Some(event)) => {
            let code = code(&event, None, fields, problems)?;
            if !is_global(code.value) {
                let message =
                    format!("cannot tell whose `{}` {} waits for", event.value, fields.owner);
                problems
                    .add(Problem::new(&MISSING_KEY, event.span, message).help("give the `source`"));
                return None;
            }
            let source = At { value: String::new(), span: event.span };
            Some(ClauseDraft { code: Some(code), source, repeat })
        }
        (None, None) => {
            let message = format!("cannot tell what {} waits for", fields.owner);
            problems.add(Problem::new(&MISSING_KEY, fields.opening(), message));
            None
        }
    }
}

/// Tells whether an event is the supervisor's own, whatever source is written.
pub(crate) fn is_global(code: Code) -> bool {
    matches!(code, Code::Startup | Code::Shutdown | Code::EnterMaintenance | Code::ExitMaintenance)
}

/// Reads the name of an event.
fn code(
    event: &At<String>,
    signal: Option<&At<String>>,
    fields: &Fields<'_>,
    problems: &mut Problems,
) -> Option<At<Code>> {
    let at = |value| Some(At { value, span: event.span });
    match signal {
        Some(signal) if event.value == signal.value || event.value == "signal" => {
            return at(Code::Signal);
        }
        None => {
            let known = Code::ALL.iter().find(|code| code.as_str() == event.value);
            if let Some(code) = known.filter(|code| **code != Code::Signal) {
                return at(*code);
            }
        }
        Some(_) => {}
    }
    let message =
        format!("cannot wait for `{}` in {}: there is no such event", event.value, fields.owner);
    let help = match signal {
        Some(signal) => Some(format!("a signal has one event: write each: \"{}\"", signal.value)),
        None => near::suggestion(&event.value, Code::ALL.iter().map(|code| code.as_str())),
    };
    problems.add(Problem::new(&UNKNOWN_EVENT, event.span, message).maybe_help(help));
    None
}

fn clauses(fields: &Fields<'_>, name: &str, problems: &mut Problems) -> Option<Vec<ClauseDraft>> {
    let node = fields.node(name)?;
    let label = fields.label(name);
    let Value::List(nodes) = &node.value else {
        let message = format!("cannot use {} as {label}: it must be a list", shown(node));
        problems.add(Problem::new(&WRONG_TYPE, node.span, message));
        return None;
    };
    if nodes.is_empty() {
        let message = format!("cannot wait for nothing: {label} is empty");
        problems.add(Problem::new(&BAD_VALUE, node.span, message));
        return None;
    }
    let read = |(index, node): (usize, &Node)| {
        let owner = format!("`{name}[{index}]` of {}", fields.owner);
        let fields = Fields::open(node, &WHEN, owner, problems)?;
        for name in ["interval", "schedule", "all", "any", "timeout"] {
            if let Some(member) = fields.member(name) {
                let message = format!("cannot use {}", fields.label(name));
                let problem = Problem::new(&CONFLICTING_KEYS, member.key_span, message);
                problems.add(
                    problem.help("within a list only `source` with `once` or `each` can stand"),
                );
                return None;
            }
        }
        clause(&fields, problems)
    };
    let clauses: Vec<Option<ClauseDraft>> = nodes.iter().enumerate().map(read).collect();
    clauses.into_iter().collect()
}

fn schedule(fields: &Fields<'_>, problems: &mut Problems) -> Option<Schedule> {
    let text = fields.text("schedule", problems)?;
    match Schedule::parse(&text.value) {
        Ok(schedule) => Some(schedule),
        Err(error) => {
            let message =
                format!("cannot use {:?} as {}: {error}", text.value, fields.label("schedule"));
            let help = "write minute, hour, day of the month, month and day of the week, such as \
                        \"*/5 * * * *\", or a word such as \"@hourly\"";
            problems.add(Problem::new(&BAD_VALUE, text.span, message).help(help));
            None
        }
    }
}
