//! How long nobody led, by kind of fault.

use std::collections::BTreeMap;

use super::attempt::{Attempt, Writer};
use super::judge::{Event, Evidence, LAST_EFFECT};
use super::moment::{Moment, nanos};

/// A term, as the resource saw it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Term {
    pub(super) token: u64,
    pub(super) member: usize,
    pub(super) life: u32,
    /// The first and the last write that was accepted.
    pub(super) first: Moment,
    pub(super) last: Moment,
    pub(super) accepted: u64,
    pub(super) refused: u64,
}

/// What a fault did.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effect {
    /// From the fault's beginning to the first write of the next holder; none when the term went
    /// on.
    pub(super) next_after: Option<u64>,
    /// The longest time without a write of whoever led.
    pub(super) silence: u64,
}

/// The terms, in the order of their tokens.
pub(super) fn terms(evidence: &Evidence) -> Vec<Term> {
    let mut terms: BTreeMap<u64, Term> = BTreeMap::new();
    for attempt in &evidence.attempts {
        let (message, at) = (&attempt.message, attempt.at);
        let (token, member, life) = (message.token, message.member, message.life);
        let fresh = Term { token, member, life, first: at, last: at, accepted: 0, refused: 0 };
        let term = terms.entry(token).or_insert(fresh);
        if attempt.is_accepted {
            term.last = at;
            term.accepted += 1;
        } else {
            term.refused += 1;
        }
    }
    terms.into_values().collect()
}

/// When the job that leads wrote, and was not refused.
pub(super) fn beats(evidence: &Evidence) -> Vec<Moment> {
    let is_beat =
        |attempt: &&Attempt| attempt.is_accepted && attempt.message.writer == Writer::Lead;
    evidence.attempts.iter().filter(is_beat).map(|attempt| attempt.at).collect()
}

/// What a fault did until the next one began.
pub(super) fn effect(event: &Event, until: Moment, terms: &[Term], beats: &[Moment]) -> Effect {
    let next = terms.iter().find(|term| term.first > event.began && term.first < until);
    let first = beats.partition_point(|at| *at < event.began).saturating_sub(1);
    let end = beats.partition_point(|at| *at < until);
    let gaps = beats.get(first..end).unwrap_or_default().windows(2).map(|two| two[1] - two[0]);
    Effect {
        next_after: next.map(|term| term.first - event.began),
        silence: gaps.max().unwrap_or(0),
    }
}

/// How long after it was silenced a leader wrote for the last time, for every time that this went
/// on for longer than a term can.
pub(super) fn last_writes(evidence: &Evidence) -> Vec<u64> {
    let is_long = |event: &&Event| event.lifted - event.struck > nanos(LAST_EFFECT);
    let last = |event: &Event| {
        let is_its = |attempt: &&Attempt| {
            let (member, at) = (attempt.message.member, attempt.at);
            let is_within = at > event.struck && at < event.lifted;
            is_within && evidence.silences(event, member) && evidence.frozen(member, at).is_none()
        };
        Some(evidence.attempts.iter().rfind(is_its)?.at - event.struck)
    };
    evidence.events.iter().filter(is_long).filter_map(last).collect()
}

/// The middle one; the upper of two.
pub(super) fn median(values: &[u64]) -> Option<u64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied()
}
