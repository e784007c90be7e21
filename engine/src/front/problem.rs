//! The kinds of problems, declared once, and the list they are collected in.

use super::diagnostic::{Diagnostic, Related, Severity};
use super::text::{Source, Span};

/// One kind of problem.
#[derive(Debug)]
pub(crate) struct Rule {
    /// The stable name for tools.
    pub(crate) code: &'static str,
    pub(crate) severity: Severity,
    /// What it finds, for the reference page.
    pub(crate) doc: &'static str,
}

macro_rules! rules {
    ($($name:ident = $severity:ident $code:literal: $doc:literal;)+) => {
        $(pub(crate) static $name: Rule =
            Rule { code: $code, severity: Severity::$severity, doc: $doc };)+
        /// Every kind of problem, in the order of the reference page.
        pub(crate) static RULES: &[&Rule] = &[$(&$name),+];
    };
}

rules! {
    TEMPLATE = Error "template": "The template cannot be parsed or rendered.";
    SYNTAX = Error "syntax": "The rendered text is not JSON5.";
    DUPLICATE_KEY = Error "duplicate-key": "A key is given twice in one block.";
    UNKNOWN_KEY = Error "unknown-key": "A key that no block of this kind has.";
    MISSING_KEY = Error "missing-key": "A key that must be given is missing.";
    CONFLICTING_KEYS = Error "conflicting-keys": "Keys that exclude each other, or need each \
                                                  other.";
    WRONG_TYPE = Error "wrong-type": "A value of another type than the key takes.";
    OUT_OF_RANGE = Error "out-of-range": "A number or duration outside the key's limits.";
    BAD_VALUE = Error "bad-value": "A value that the key does not take.";
    BAD_NAME = Error "bad-name": "A name that cannot be a service, variable or metric.";
    DUPLICATE_NAME = Error "duplicate-name": "Two jobs, watches, locks or metrics of one name.";
    UNKNOWN_SOURCE = Error "unknown-source": "A trigger waits for something that does not exist.";
    UNKNOWN_EVENT = Error "unknown-event": "A trigger waits for an event that does not exist.";
    EVENT_NEVER_SENT = Error "event-never-sent": "A trigger waits for an event its source never \
                                                  has.";
    WAIT_CYCLE = Error "wait-cycle": "Jobs wait for each other, so that none of them can start.";
    HEALTH_MISSING = Error "health-missing": "A port is advertised without a health check.";
    CONSUL_MISSING = Error "consul-missing": "Something needs Consul, and `consul` is left out.";
    NO_ADDRESS = Error "no-address": "None of the `interfaces` rules matches an address.";
    ENDLESS_STARTS = Error "endless-starts": "Unlimited restarts together with `each`.";
    LOCK_UNSAFE = Error "lock-unsafe": "The figures of a lock do not keep two holders apart.";
    LOCK_RISK = Warning "lock-risk": "The same, accepted with `unsafe: true`.";
    MANY_WATCHES = Warning "many-watches": "More watches and locks than one Consul agent has \
                                            connections for.";
    NEVER_RUNS = Warning "never-runs": "A job that can never start, because what it waits for \
                                        cannot happen.";
    NOTHING_TO_DO = Warning "nothing-to-do": "A job with neither a command nor a service.";
    HANDLER_WITHOUT_TRIGGER = Warning "handler-without-trigger":
        "A job named like a handler that has no `when`, and so starts at once.";
    SHELL_SYNTAX = Warning "shell-syntax": "Quotes or shell syntax in a command that no shell \
                                            reads.";
    TTL_TOO_SHORT = Warning "ttl-too-short": "A TTL not longer than the interval of its check.";
    CHECK_OUTLASTS_INTERVAL = Warning "check-outlasts-interval":
        "A health check may take longer than its interval.";
    STOP_BUDGET = Warning "stop-budget": "Stopping may take longer than the stop timeout allows.";
    RESTART_STORM = Warning "restart-storm": "Unlimited restarts without any wait between them.";
    IGNORED_KEY = Warning "ignored-key": "A key that has no effect here.";
    WEAK_VALUE = Warning "weak-value": "A value that is read in a way its author may not expect.";
    HALF_IDENTITY = Warning "half-identity": "A user by number whose group may be unknown.";
    TLS_UNVERIFIED = Warning "tls-unverified": "The certificate of Consul is not checked.";
    FEEDBACK_LOOP = Warning "feedback-loop": "A job that its own registration starts again.";
    NAME_CLASH = Warning "name-clash": "Two names that make the same environment variable.";
}

/// One problem, its place not yet looked up.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    pub(crate) rule: &'static Rule,
    pub(crate) span: Span,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
    pub(crate) related: Vec<(Span, String)>,
}

impl Problem {
    pub(crate) fn new(rule: &'static Rule, span: Span, message: impl Into<String>) -> Problem {
        Problem { rule, span, message: message.into(), help: None, related: Vec::new() }
    }

    pub(crate) fn help(mut self, help: impl Into<String>) -> Problem {
        self.help = Some(help.into());
        self
    }

    pub(crate) fn maybe_help(mut self, help: Option<String>) -> Problem {
        self.help = help.or(self.help);
        self
    }

    pub(crate) fn related(mut self, span: Span, message: impl Into<String>) -> Problem {
        self.related.push((span, message.into()));
        self
    }

    /// Looks up the places.
    pub(crate) fn locate(self, source: &Source) -> Diagnostic {
        let place = source.place(self.span);
        let related = self.related.into_iter().map(|(span, message)| {
            let place = source.place(span);
            Related {
                start: place.start,
                end: place.end,
                source_line: place.source_line,
                message: message.into_boxed_str(),
            }
        });
        let help = match (self.help, place.produced && self.rule.code == SYNTAX.code) {
            (Some(help), true) => Some(format!("{help}; {PRODUCED}")),
            (None, true) => Some(String::from(PRODUCED)),
            (help, false) => help,
        };
        Diagnostic {
            severity: self.rule.severity,
            code: self.rule.code,
            file: source.file.clone(),
            line: place.start.line,
            column: place.start.column,
            end: place.end,
            source_line: place.source_line,
            rendered: place.rendered,
            message: self.message.into_boxed_str(),
            help: help.map(String::into_boxed_str),
            related: related.collect(),
        }
    }
}

/// Said when the text that cannot be read came out of a template action.
const PRODUCED: &str = "the trouble is in the text that this template action rendered";

/// All problems found so far.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl Problems {
    pub(crate) fn add(&mut self, problem: Problem) {
        self.0.push(problem);
    }

    /// Tells whether something is wrong enough that the configuration cannot be run.
    #[cfg(test)]
    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(|problem| problem.rule.severity == Severity::Error)
    }

    /// Looks up all places: errors and warnings, each sorted by place.
    pub(crate) fn locate(self, source: &Source) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
        let mut all: Vec<Diagnostic> =
            self.0.into_iter().map(|problem| problem.locate(source)).collect();
        all.sort_by(|a, b| (a.line, a.column, a.code).cmp(&(b.line, b.column, b.code)));
        all.dedup();
        all.into_iter().partition(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_in_kebab_case() {
        let codes: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
        assert_eq!(codes.len(), RULES.len());
        for code in codes {
            assert!(code.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{code}");
        }
    }
}
