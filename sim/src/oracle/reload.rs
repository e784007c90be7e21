//! Reloads: the difference is applied, nothing else is touched, and everybody who asked is
//! answered by a reading that came after.

use std::collections::BTreeSet;
use std::sync::Arc;

use steersman_engine::RequestId;
use steersman_engine::config::{Config, Job, Name};
use steersman_engine::effect::{Changes, Refusal, Reply};

use super::job::{Life, Next};
use super::ledger::{Expected, Ledger, distinct};

/// So many requests wait for the file at most.
const WAITING_MAX: usize = 1024;

impl Ledger {
    pub(super) fn on_reload_asked(&mut self, request: RequestId, all: bool) {
        if self.loading.is_empty() {
            self.loading.push((request, all));
            self.expect(Expected::Load);
        } else if self.again.len() < WAITING_MAX {
            self.again.push((request, all));
        } else {
            self.expect(Expected::Reply(request, Reply::Refused(Refusal::Busy)));
        }
    }

    pub(super) fn on_loaded(&mut self, config: &Result<Box<Config>, Box<str>>) {
        let waiting = core::mem::take(&mut self.loading);
        if waiting.is_empty() {
            return;
        }
        let all = waiting.iter().any(|(_, all)| *all);
        self.is_reloading = true;
        let reply = match config {
            Ok(config) => {
                self.expect(Expected::Applied);
                Reply::Reloaded(self.apply(config, all))
            }
            Err(reason) => Reply::Refused(Refusal::BadConfig(reason.clone())),
        };
        for (request, _) in waiting {
            self.expect(Expected::Reply(request, reply.clone()));
        }
        if !self.again.is_empty() {
            self.loading = core::mem::take(&mut self.again);
            self.expect(Expected::Load);
        }
    }

    fn apply(&mut self, config: &Config, all: bool) -> Changes {
        self.generation += 1;
        let mut changes = Changes::default();
        let (mut fresh, mut replaced) = (Vec::new(), Vec::new());
        let mut names = BTreeSet::new();
        for spec in distinct(config) {
            names.insert(spec.name.clone());
            let known = self.by_name.get(&spec.name).copied();
            match known.filter(|job| !self.jobs[*job].is_retired) {
                Some(job) => {
                    if self.change(job, spec, all, &mut changes) {
                        replaced.push(job);
                    }
                }
                None => {
                    changes.added.push(spec.name.clone());
                    fresh.push(self.add(spec));
                }
            }
        }
        self.alive += fresh.len();
        self.adopt(config);
        self.remove_others(&names, &mut changes);
        changes.removed.sort();
        for job in fresh {
            self.begin_late(job);
        }
        for job in replaced {
            self.replace(job);
        }
        self.rewire();
        self.touch_all();
        changes
    }

    /// Compares one definition with what is in force; tells whether its process is replaced.
    fn change(&mut self, job: usize, spec: Arc<Job>, all: bool, changes: &mut Changes) -> bool {
        let view = &mut self.jobs[job];
        view.is_listed = true;
        let wanted = view.wanted().clone();
        let keeps_process = wanted.command == spec.command
            && wanted.trigger == spec.trigger
            && wanted.while_lock == spec.while_lock
            && wanted.stop_with == spec.stop_with;
        if all || view.next == Next::Removal || !keeps_process {
            changes.restarted.push(spec.name.clone());
            let start = view.starts > 0 && view.spec.trigger == spec.trigger;
            view.is_loose |= view.is_silent();
            view.next = Next::Job { spec, start };
            return true;
        }
        if wanted == spec {
            changes.unchanged += 1;
            return matches!(view.next, Next::Job { .. });
        }
        changes.updated.push(spec.name.clone());
        if let Next::Job { spec: next, .. } = &mut view.next {
            *next = spec;
            return true;
        }
        let is_check_new = view.spec.health != spec.health;
        if view.spec.restarts != spec.restarts {
            view.restarts_left = spec.restarts;
        }
        view.spec = spec;
        if is_check_new {
            self.restart_checks(job);
        }
        false
    }

    fn remove_others(&mut self, names: &BTreeSet<Name>, changes: &mut Changes) {
        for job in 0..self.jobs.len() {
            let view = &mut self.jobs[job];
            if view.is_retired || names.contains(view.name()) {
                continue;
            }
            changes.removed.push(view.name().clone());
            view.is_listed = false;
            view.next = Next::Removal;
            if view.has_ended() {
                self.succeed(job);
            }
        }
    }

    /// A replaced job that never ran makes room at once.
    fn replace(&mut self, job: usize) {
        let view = &self.jobs[job];
        let is_fresh = view.life == Life::Waiting && view.starts == 0;
        if view.has_ended() || is_fresh && !view.is_silent() {
            self.succeed(job);
        }
    }

    /// Puts the successor of a job in its place that nobody saw make room when it has no process;
    /// nor what the successor has heard since.
    pub(super) fn succeed_unseen(&mut self, job: usize) {
        let view = &self.jobs[job];
        let is_unseen = view.is_silent() && matches!(view.next, Next::Job { .. });
        self.succeed(job);
        self.jobs[job].is_loose |= is_unseen;
    }

    /// Puts the successor of an ended job in its place.
    pub(super) fn succeed(&mut self, job: usize) {
        match core::mem::replace(&mut self.jobs[job].next, Next::Nothing) {
            Next::Nothing => {}
            Next::Removal => {
                self.jobs[job].is_retired = true;
                self.touch(job);
                self.rewire();
            }
            Next::Job { spec, start } => {
                if matches!(self.jobs[job].life, Life::Ended(_)) {
                    self.alive += 1;
                }
                self.renewed.push(job);
                self.renew(job, spec, start);
            }
        }
    }

    /// A definition takes the place of the one before.
    pub(super) fn renew(&mut self, job: usize, spec: Arc<Job>, start: bool) {
        self.jobs[job].renew(spec);
        self.rewire();
        if start {
            self.begin_again(job);
        } else {
            self.begin_late(job);
        }
        self.touch(job);
    }
}
