//! What must hold, judged from what arrived at the resource, what was alive, and when which fault
//! happened. The supervisors are not asked.

use std::collections::BTreeMap;
use std::time::Duration;

use super::attempt::Attempt;
use super::fault::Fault;
use super::moment::{Moment, nanos, seconds};
use super::sightings::Pair;
use super::world::Target;

/// `maxPause` of docs/examples/leader.json5.
const MAX_PAUSE: Duration = Duration::from_millis(500);

/// From SIGKILL to the end of all effects, as docs/locks.md has it.
const KILL_LATENCY: Duration = Duration::from_millis(500);

/// demoteAfter 6 s + stopTimeout 2 s + maxPause + the kill, at clocks that are 1000 ppm off: the
/// last effect of a term after its last confirmed renewal was sent.
pub(super) const LAST_EFFECT: Duration = Duration::from_millis(9_019);

/// How long it may take until somebody leads after the last fault: Consul elects a leader (20 s),
/// the old session expires (2 · 10 s), the lock delay (10 s), a quiet time (9.02 s), and a second
/// term lost in a row (a hold-off of 20 s).
pub(super) const LEADER_WITHIN: Duration = Duration::from_secs(80);

/// A fault that has happened.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) fault: Fault,
    pub(super) target: Target,
    /// How often the member was started before, if it is about one.
    pub(super) life: u32,
    /// How the member's jobs take an end.
    pub(super) manners: &'static str,
    /// Whether the member led, or the server was the one of the member that led, by what the
    /// resource knew.
    pub(super) was_leading: bool,
    /// Whether nothing else was wrong, and somebody had led again after everything before.
    pub(super) is_alone: bool,
    /// Right before, and right after it was made to happen.
    pub(super) began: Moment,
    pub(super) struck: Moment,
    /// Right before, and right after it was made to end.
    pub(super) lifted: Moment,
    pub(super) healed: Moment,
    /// Whether somebody led again in time; none when nobody waited for it.
    pub(super) has_settled: Option<bool>,
}

impl Event {
    /// Tells whether it is about a member, counted from 1.
    fn is_about(&self, member: usize) -> bool {
        self.target == Target::Member(member - 1)
    }

    fn is_about_server_of(&self, member: usize) -> bool {
        match self.target {
            Target::Server(server) => server == member - 1,
            Target::Servers => true,
            Target::Member(_) | Target::Key => false,
        }
    }
}

/// What a run was like.
#[derive(Clone, Debug, Default)]
pub(super) struct Evidence {
    /// As they arrived.
    pub(super) attempts: Vec<Attempt>,
    pub(super) events: Vec<Event>,
    pub(super) pairs: Vec<Pair>,
    /// Whether every term had a keeper, which ends its processes when the supervisor stands still.
    pub(super) has_keeper: bool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// What must not be, a line each.
    pub(super) breaches: Vec<String>,
    /// Writes with an old token by a member that was frozen beyond what time can do, all refused.
    pub(super) excused: u64,
    /// The longest that one of them came after the end of its freeze.
    pub(super) excused_after_thaw: u64,
}

impl Evidence {
    /// Judges the run.
    pub(super) fn judge(&self) -> Verdict {
        let mut verdict = Verdict::default();
        self.judge_order(&mut verdict);
        self.judge_owners(&mut verdict);
        self.judge_lives(&mut verdict);
        self.judge_silence(&mut verdict);
        self.judge_processes(&mut verdict);
        for event in self.events.iter().filter(|event| event.has_settled == Some(false)) {
            let (words, target) = (event.fault.words(), event.target.words());
            let bound = LEADER_WITHIN.as_secs();
            verdict.breaches.push(format!("nobody led within {bound} s: after {target}, {words}"));
        }
        verdict
    }

    /// No write of an older holder after the first one of a newer, but from a member that was
    /// frozen; and of those none is accepted.
    fn judge_order(&self, verdict: &mut Verdict) {
        let mut newest = 0;
        let mut accepted = 0;
        let mut stale: BTreeMap<(usize, u64), (u64, Moment, Moment)> = BTreeMap::new();
        for attempt in &self.attempts {
            let (token, at) = (attempt.message.token, attempt.at);
            if attempt.is_accepted && token < accepted {
                verdict.breaches.push(format!(
                    "an older token was accepted: {token} after {accepted} at {}",
                    stamp(at)
                ));
            }
            if attempt.is_accepted {
                accepted = accepted.max(token);
            }
            if token >= newest {
                newest = token;
                continue;
            }
            let member = attempt.message.member;
            match self.frozen(member, at) {
                Some(freeze) => {
                    verdict.excused += 1;
                    let after = at.saturating_sub(freeze.lifted);
                    verdict.excused_after_thaw = verdict.excused_after_thaw.max(after);
                }
                None => {
                    let entry = stale.entry((member, token)).or_insert((0, at, at));
                    *entry = (entry.0 + 1, entry.1, at);
                }
            }
        }
        for ((member, token), (count, first, last)) in stale {
            verdict.breaches.push(format!(
                "two holders: member {member} wrote {count} times with token {token} after a newer \
                 one had written, from {} to {}",
                stamp(first),
                stamp(last)
            ));
        }
    }

    /// A token belongs to one start of one member.
    fn judge_owners(&self, verdict: &mut Verdict) {
        let mut owners: BTreeMap<u64, (usize, u32)> = BTreeMap::new();
        for Attempt { message, .. } in &self.attempts {
            let owner = (message.member, message.life);
            let first = *owners.entry(message.token).or_insert(owner);
            if first != owner {
                let token = message.token;
                let line = format!("token {token} is of two: {first:?} and {owner:?}");
                if !verdict.breaches.contains(&line) {
                    verdict.breaches.push(line);
                }
            }
        }
    }

    /// Nothing outlives its supervisor.
    fn judge_lives(&self, verdict: &mut Verdict) {
        for event in &self.events {
            let end = match event.fault {
                Fault::Kill => event.struck,
                Fault::Stop => event.healed,
                _ => continue,
            };
            let is_late = |attempt: &&Attempt| {
                let message = &attempt.message;
                let is_its = event.is_about(message.member) && message.life == event.life;
                attempt.at > end && is_its
            };
            let count = self.attempts.iter().filter(is_late).count();
            if count > 0 {
                let (target, life) = (event.target.words(), event.life);
                verdict.breaches.push(format!(
                    "{count} writes of life {life} of {target} after its end at {}",
                    stamp(end)
                ));
            }
        }
    }

    /// Whoever gets nothing confirmed has no effect after the time that the inequalities are about,
    /// whether somebody else has begun or not.
    fn judge_silence(&self, verdict: &mut Verdict) {
        for event in &self.events {
            let from = event.struck + nanos(LAST_EFFECT);
            let is_late = |attempt: &&Attempt| {
                let member = attempt.message.member;
                let is_within = attempt.at > from && attempt.at < event.lifted;
                is_within
                    && self.silences(event, member)
                    && self.frozen(member, attempt.at).is_none()
            };
            let late: Vec<&Attempt> = self.attempts.iter().filter(is_late).collect();
            if let (Some(first), Some(last)) = (late.first(), late.last()) {
                let (count, words) = (late.len(), event.fault.words());
                let after = |at: Moment| seconds(at - event.struck);
                verdict.breaches.push(format!(
                    "too late: {count} writes of member {} from {:.3} s to {:.3} s after it was \
                     silenced ({words}), at {}",
                    first.message.member,
                    after(first.at),
                    after(last.at),
                    stamp(first.at)
                ));
            }
        }
    }

    /// No processes of two terms are alive at one instant.
    fn judge_processes(&self, verdict: &mut Verdict) {
        let is_bad = |pair: &&Pair| self.frozen(pair.older.member, pair.at).is_none();
        let mut bad = self.pairs.iter().filter(is_bad);
        if let Some(first) = bad.next() {
            let more = bad.count();
            let at = stamp(first.at);
            let Pair { older, newer, .. } = first;
            verdict.breaches.push(format!(
                "alive at once, at {at}: {older:?} and {newer:?}, and {more} times more"
            ));
        }
    }

    /// Tells whether no renewal of this member can be confirmed while a fault lasts, and something
    /// is there that must end its term.
    pub(super) fn silences(&self, event: &Event, member: usize) -> bool {
        let is_kept = event.fault == Fault::FreezeSupervisor && self.has_keeper;
        (event.fault.silences() || is_kept) && event.is_about(member)
            || event.fault.silences_server() && event.is_about_server_of(member)
    }

    /// A freeze beyond the declared `maxPause` that explains what a member does at an instant: it
    /// is going on, or has just ended, and the supervisor has not had the time yet that the
    /// inequalities give it.
    pub(super) fn frozen(&self, member: usize, at: Moment) -> Option<&Event> {
        let grace = nanos(MAX_PAUSE + KILL_LATENCY);
        self.events.iter().find(|event| {
            let is_unkept = event.fault != Fault::FreezeSupervisor || !self.has_keeper;
            let is_long = event.lifted - event.struck > nanos(MAX_PAUSE);
            let is_beyond = event.fault.is_beyond_time() && is_long && is_unkept;
            is_beyond && event.is_about(member) && at >= event.began && at <= event.healed + grace
        })
    }
}

/// An instant, as the files of a run have it.
fn stamp(at: Moment) -> String {
    format!("{:.3} s", seconds(at))
}

#[cfg(test)]
mod tests;
