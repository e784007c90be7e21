//! Locks.

use std::time::Duration;

use super::command::boxed;
use super::fields::Fields;
use super::jobs::{duration_or_word, shared};
use super::json5::Node;
use super::keys::LOCK;
use super::lock_figures::Figures;
use super::problem::{BAD_VALUE, CONFLICTING_KEYS, Problem, Problems};
use super::text::At;
use crate::config::{Keeping, Lock, Takeover};

/// A lock with the places that later checks point at.
#[derive(Clone, Debug)]
pub(crate) struct LockDraft {
    pub(crate) lock: Lock,
    pub(crate) name: At<String>,
    pub(crate) key: At<String>,
    pub(crate) healthy: Option<At<String>>,
}

/// Reads one lock; `None` when it is no block.
pub(crate) fn lock(node: &Node, index: usize, problems: &mut Problems) -> Option<LockDraft> {
    let mut fields = Fields::open(node, &LOCK, format!("locks[{index}]"), problems)?;
    let nothing = At { value: String::new(), span: fields.opening() };
    let name = fields.text("name", problems).unwrap_or_else(|| nothing.clone());
    if !name.value.is_empty() {
        fields.owner = format!("lock \"{}\"", name.value);
    }
    let key = fields.text("key", problems).unwrap_or(nothing);
    let mut time = |name: &str, default_ms: u64| {
        let given = fields.duration(name, problems);
        given.unwrap_or(At { value: Duration::from_millis(default_ms), span: fields.opening() })
    };
    let figures = Figures {
        ttl: time("ttl", 20_000),
        lock_delay: time("lockDelay", 20_000),
        renew_every: time("renewEvery", 5_000),
        request_timeout: time("requestTimeout", 2_000),
        demote_after: time("demoteAfter", 13_000),
        stop_timeout: time("stopTimeout", 5_000),
        max_pause: time("maxPause", 1_000),
        hold_off: time("holdOff", 30_000),
        drift_ppm: 0,
    };
    let health_grace = time("healthGrace", 15_000);
    let drift = fields.whole("maxDrift", problems).map_or(1000, |at| at.value);
    let figures = Figures { drift_ppm: u32::try_from(drift).unwrap_or(1000), ..figures };
    let takeover = duration_or_word(&fields, "takeover", "auto", problems);
    let healthy = fields.text("healthy", problems);
    let risk_accepted = fields.flag("unsafe", problems).is_some_and(|at| at.value);
    figures.judge(&fields.owner, &takeover, risk_accepted, problems);
    let lock = Lock {
        name: shared(&name),
        key: Box::from(key.value.as_str()),
        ttl: figures.ttl.value,
        lock_delay: figures.lock_delay.value,
        renew_every: figures.renew_every.value,
        request_timeout: figures.request_timeout.value,
        demote_after: figures.demote_after.value,
        stop_timeout: figures.stop_timeout.value,
        max_pause: figures.max_pause.value,
        max_drift_ppm: figures.drift_ppm,
        takeover: match takeover.and_then(|at| at.value) {
            Some(wait) => Takeover::After(wait),
            None => Takeover::Auto,
        },
        healthy: healthy.as_ref().map(shared),
        health_grace: health_grace.value,
        hold_off: figures.hold_off.value,
        value: boxed(fields.text("value", problems)),
        risk_accepted,
        stands_again: fields.flag("standAgain", problems).is_none_or(|at| at.value),
        give_up_after: fields.duration("giveUpAfter", problems).map(|at| at.value),
        token_file: boxed(fields.text("tokenFile", problems)),
        keeper: match fields.word("keeper", problems).map(|at| at.value) {
            Some("off") => Keeping::Off,
            Some("required") => Keeping::Required,
            Some(_) | None => Keeping::Auto,
        },
    };
    Some(LockDraft { lock, name, key, healthy })
}

/// A job that ends with a lock's terms runs at all other times: nothing else may start it.
pub(super) fn refuse_beside_stop_with(
    fields: &Fields<'_>,
    stop_with: Option<&At<String>>,
    problems: &mut Problems,
) {
    let Some(stop_with) = stop_with else { return };
    for key in ["while", "when"] {
        let Some(member) = fields.member(key) else { continue };
        let message = format!("cannot give {} both `stopWith` and `{key}`", fields.owner);
        let help = match key {
            "while" => "`while` ends the job with the term as well",
            _ => "`stopWith` is for a job that runs from the start on",
        };
        let problem = Problem::new(&CONFLICTING_KEYS, member.key_span, message);
        problems.add(problem.related(stop_with.span, "the other one").help(help));
    }
}

/// Reads the name of a lock from `lock.NAME`.
pub(super) fn lock_name(
    fields: &Fields<'_>,
    key: &'static str,
    problems: &mut Problems,
) -> Option<At<String>> {
    let text = fields.text(key, problems)?;
    match text.value.strip_prefix("lock.") {
        Some(name) if !name.is_empty() => Some(At { value: String::from(name), span: text.span }),
        _ => {
            let message = format!("cannot use {:?} as {}", text.value, fields.label(key));
            let help = "write \"lock.NAME\"";
            problems.add(Problem::new(&BAD_VALUE, text.span, message).help(help));
            None
        }
    }
}
