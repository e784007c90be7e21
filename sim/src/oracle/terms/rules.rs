//! The rules themselves.

use core::time::Duration;

use steersman_engine::Time;
use steersman_engine::config::Name;
use steersman_engine::consul::ConsulRequest;
use steersman_engine::term::LossReason;

use super::{Deed, Need, Phase, REPLY_GRACE, Term, Terms};
use crate::oracle::ledger::LATE;

/// How many times within a second one candidate may ask for a key.
const TRIES_MAX: usize = 6;

/// How long a lock may be kept when everything of its term has gone: a service that has to be taken
/// out of the catalog is waited for.
const IDLE_MAX: Duration = Duration::from_secs(5);

/// The longest wait before a failed reading of the key is repeated.
const READ_AGAIN: Duration = Duration::from_millis(1_500);

impl Terms {
    fn blame(&mut self, lock: &Name, what: &str) {
        self.problems.push(format!("the lock \"{lock}\" {what}"));
    }

    pub(super) fn judge_start(&mut self, job: &Name, lock: &Name) {
        let Some(term) = self.terms.get(lock) else { return };
        let is_stale = self.now >= term.lasts_until() + LATE;
        let file = term.spec.token_file.as_ref();
        let is_tokenless = file.is_some_and(|path| !self.files.contains_key(path));
        if is_stale {
            self.problems.push(format!("\"{job}\" starts although the last renewal is too old"));
        }
        if is_tokenless {
            self.problems.push(format!("\"{job}\" starts before its token is in the file"));
        }
    }

    /// A term begins: after a quiet time only if the key was seen to be its own at the end.
    pub(super) fn judge_beginning(&mut self, lock: &Name) {
        let now = self.now;
        let Some(term) = self.terms.get_mut(lock) else { return };
        let until = match term.phase {
            Phase::Quiet(until) => until,
            Phase::Without | Phase::Leading(_) | Phase::Ending(_) => now,
        };
        let is_sure = term.own_at.is_some_and(|at| at + LATE >= until);
        term.phase = Phase::Leading(now);
        if !is_sure {
            self.blame(lock, "is used after a quiet time without another look at its key");
        }
    }

    pub(super) fn judge_loss(&mut self, lock: &Name, reason: LossReason) {
        let Some(term) = self.terms.get(lock) else { return };
        let has_led = matches!(term.phase, Phase::Leading(_));
        let is_late = self.now > term.lasts_until() + LATE && self.awake != Some(self.now);
        let is_at_work =
            |view: &super::RunView| view.lock == *lock && view.need == Need::While && view.is_main;
        let is_needed = self.runs.values().any(is_at_work);
        let is_late = is_late && !term.was_late;
        if is_late {
            self.blame(lock, "is lost later than its last renewal allows");
        }
        if reason == LossReason::GivenUp && has_led && is_needed {
            self.unexplained.push((lock.clone(), Deed::GivesUp));
        }
    }

    pub(super) fn judge_request(&mut self, lock: &Name, request: &ConsulRequest) {
        if let ConsulRequest::SessionCreate { .. } = request {
            self.unexplained.push((lock.clone(), Deed::Stands));
            let until = self.terms.get(lock).and_then(|term| term.barred_until);
            if until.is_some_and(|until| self.now + LATE < until) {
                self.unexplained.push((lock.clone(), Deed::StandsEarly));
            }
        }
        let Some(term) = self.terms.get(lock) else { return };
        let now = self.now;
        let what = match request {
            ConsulRequest::SessionCreate { .. } if self.has_left(lock) => {
                Some("is stood for before everything of the last term has gone")
            }
            ConsulRequest::SessionCreate { .. } => Self::what_of_standing(term),
            ConsulRequest::Acquire { session, .. } if term.past.contains(session) => {
                Some("is asked for with the session of another term")
            }
            ConsulRequest::Acquire { .. } => {
                let tries = term.tries.iter().filter(|at| now.since(**at) < Duration::from_secs(1));
                (tries.count() >= TRIES_MAX).then_some("is asked for again and again")
            }
            ConsulRequest::LockRead { wait, .. } => (term.is_holding()
                && *wait > term.spec.renew_every)
                .then_some("is held, and its key is read too seldom"),
            ConsulRequest::Release { .. } | ConsulRequest::SessionDestroy { .. } => {
                self.what_of_leaving(lock, term, request)
            }
            _ => None,
        };
        if let Some(what) = what {
            self.blame(lock, what);
        }
    }

    fn what_of_standing(term: &Term) -> Option<&'static str> {
        if term.session.is_some() {
            return Some("has a session, and another one is asked for");
        }
        term.is_spent.then_some("is stood for again although it must not be")
    }

    /// Tells whether something of a term is still there.
    fn has_left(&self, lock: &Name) -> bool {
        let of_lock = self.runs.values().filter(|view| view.lock == *lock);
        of_lock.into_iter().any(|view| view.need == Need::While || view.must_go)
    }

    fn what_of_leaving(
        &self,
        lock: &Name,
        term: &Term,
        request: &ConsulRequest,
    ) -> Option<&'static str> {
        if self.has_left(lock) {
            return Some("is given back before everything of it has gone");
        }
        let file = term.spec.token_file.as_ref();
        if file.is_some_and(|path| self.files.contains_key(path)) {
            return Some("is given back while its token is in the file");
        }
        let has_begun = matches!(term.phase, Phase::Leading(_) | Phase::Ending(true));
        match request {
            ConsulRequest::Release { .. } => (!has_begun && term.phase != Phase::Without)
                .then_some("is handed over by a holder that still kept quiet"),
            _ => (has_begun && !term.is_released && !term.is_unknown)
                .then_some("goes without a release, and bars its key"),
        }
    }

    /// All effects of an input have been seen: looks for what is overdue.
    pub(in crate::oracle) fn on_settled(&mut self) {
        if self.is_idle() {
            return;
        }
        let now = self.now;
        let is_asked_to = self.is_in_maintenance || self.is_stopping;
        let awake = self.awake.unwrap_or_default();
        let mut found = self.what_of_deeds(is_asked_to);
        for (name, term) in &mut self.terms {
            if let Some(pending) = term.pending
                && now >= pending.sent + term.spec.request_timeout + REPLY_GRACE
            {
                term.pending = None;
                if pending.is_renewal {
                    term.renew_due = Some(now + Duration::from_secs(1));
                }
            }
            let what = what_of_holding(term, now, awake, is_asked_to)
                .or_else(|| what_of_asking(term, now));
            found.extend(what.map(|what| (name.clone(), what)));
        }
        found.extend(self.what_of_jobs());
        found.extend(self.what_of_ends());
        for (lock, what) in found {
            self.blame(&lock, what);
            // Once is enough.
            if let Some(term) = self.terms.get_mut(&lock) {
                *term =
                    Term { past: core::mem::take(&mut term.past), ..Term::new(term.spec.clone()) };
            }
            self.runs.retain(|_, view| view.lock != lock);
        }
    }

    /// What was done that needs a cause, now that all of the input has been seen.
    fn what_of_deeds(&mut self, is_asked_to: bool) -> Vec<(Name, &'static str)> {
        let mut found = Vec::new();
        for (name, deed) in core::mem::take(&mut self.unexplained) {
            let is_changed = self.terms.get(&name).is_some_and(|term| term.wanted.is_some());
            match deed {
                Deed::GivesUp if !is_asked_to && !is_changed => {
                    found.push((name, "is given up without a cause"));
                }
                Deed::Stands if is_asked_to => {
                    found.push((name, "is stood for in maintenance, or in a stop"));
                }
                Deed::StandsEarly => {
                    found.push((name, "is stood for again before the hold-off is over"));
                }
                Deed::GivesUp | Deed::Stands => {}
            }
        }
        found
    }

    /// Terms that are over and of which nothing is left.
    fn what_of_ends(&mut self) -> Vec<(Name, &'static str)> {
        let now = self.now;
        let mut found = Vec::new();
        for nth in 0..self.order.len() {
            let Some(term) = self.terms.get_mut(&self.order[nth]) else { continue };
            let is_over = matches!(term.phase, Phase::Ending(_)) && term.session.is_some();
            if !is_over || term.is_released {
                term.idle_since = None;
                continue;
            }
            let name = self.order[nth].clone();
            let has_left = self.has_left(&name);
            let Some(term) = self.terms.get_mut(&name) else { continue };
            if has_left {
                term.idle_since = None;
            } else if now >= *term.idle_since.get_or_insert(now) + IDLE_MAX {
                found.push((name, "is over, nothing of it is left, and it is not given back"));
            }
        }
        found
    }

    fn what_of_jobs(&self) -> Vec<(Name, &'static str)> {
        let now = self.now;
        let mut found = Vec::new();
        for view in self.runs.values() {
            let Some(term) = self.terms.get(&view.lock) else { continue };
            let is_of_term = view.need == Need::While || view.must_go;
            let end = term.lasts_until() + term.spec.stop_timeout + LATE;
            if is_of_term && view.is_started && !view.is_killed && now >= end {
                found.push((view.lock.clone(), "is over, and what must have gone is not killed"));
            }
        }
        for (name, term) in &self.terms {
            let Phase::Leading(since) = term.phase else { continue };
            let unhealthy = term.spec.healthy.as_ref().and_then(|job| self.unhealthy.get(job));
            let is_over = |at: &Time| now >= (*at).max(since) + term.spec.health_grace + LATE;
            if unhealthy.is_some_and(is_over) {
                found.push((name.clone(), "is kept by a leader that stays unhealthy"));
            }
            let mut jobs =
                self.needs.iter().filter(|(_, need)| **need == (name.clone(), Need::While));
            let has_jobs = self.needs.values().any(|need| *need == (name.clone(), Need::While));
            if !self.was_reloaded && has_jobs && jobs.all(|(job, _)| self.ended.contains(job)) {
                found.push((name.clone(), "is kept although nothing needs it any more"));
            }
        }
        found
    }
}

fn what_of_holding(term: &Term, now: Time, awake: Time, is_asked_to: bool) -> Option<&'static str> {
    if !term.is_holding() {
        return None;
    }
    if now >= term.lasts_until() + LATE {
        return Some("is kept although the last renewal is too old");
    }
    if term.is_unknown {
        return Some("is kept although Consul does not know its session");
    }
    if is_asked_to {
        return Some("is kept in maintenance, or in a stop");
    }
    if term.wanted.is_some() {
        return Some("is kept as it was before the reload");
    }
    let is_due = |due: Time| now > due + LATE;
    if term.pending.is_none() && term.renew_due.is_some_and(|due| is_due(due.max(awake))) {
        return Some("is held, and is not renewed when it should be");
    }
    let every = term.spec.renew_every + term.spec.renew_every / 16;
    let read_due = term.reading.1.max(awake) + every + term.spec.request_timeout + READ_AGAIN;
    is_due(read_due).then_some("is held, and its key is not read any more")
}

fn what_of_asking(term: &Term, now: Time) -> Option<&'static str> {
    let (since, patience) = (term.asked_since?, term.spec.give_up_after?);
    let is_over = now >= since + patience + LATE;
    is_over.then_some("is stood for longer than there is patience for")
}
