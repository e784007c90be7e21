//! A new configuration: the difference is applied, what did not change is not touched.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use crate::config::{Config, Job, Name};
use crate::defect::Defect;
use crate::effect::{Changes, Effect, Level, Message, Refusal, Reply};
use crate::engine::{Engine, Stage};
use crate::id::{JobId, RequestId};
use crate::limits;
use crate::slot::{Life, Slot, Successor};
use crate::timers::Timer;
use crate::variable;
use crate::wiring::Wiring;

/// What a reload does to one job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Difference {
    /// Nothing.
    None,
    /// It goes on with new settings.
    Settings,
    /// Its process is replaced.
    Process,
}

impl Engine {
    /// Puts the first configuration in place.
    pub(crate) fn install(&mut self, config: Config) {
        for spec in distinct(&config) {
            let job = self.add_slot(spec);
            self.order.push(job);
        }
        self.alive = self.order.len();
        self.adopt(config);
    }

    fn adopt(&mut self, config: Config) {
        self.config = Arc::new(config);
        self.timers.resize(self.slots.len(), self.config.watches.len());
        self.adopt_watches();
        self.adopt_locks();
        self.timers.resize_locks(self.locks.len());
        if self.generation == 0 || !self.planted(Defect::OldTriggerHeard) {
            self.rewire();
        }
        let addresses = self.config.jobs.iter().filter_map(|job| {
            let address = job.service.as_ref()?.address?;
            let name = variable::of_job("CONTAINERPILOT", &job.name, "IP");
            Some((name, Some(address.to_string().into_boxed_str())))
        });
        let effects = addresses.map(|(name, value)| Effect::SetVariable { name, value });
        self.greeting.extend(effects);
    }

    fn rewire(&mut self) {
        self.wiring = Arc::new(Wiring::new(&self.slots, &self.config.watches, &self.locks));
        self.renew_guards();
    }

    fn add_slot(&mut self, spec: Arc<Job>) -> JobId {
        let now = self.now.mono;
        let is_free = |slot: &Slot| !slot.in_use && slot.is_ended();
        if let Some(index) = self.slots.iter().position(is_free) {
            let job = JobId(index as u16);
            if let Some(slot) = self.slot_mut(job) {
                slot.renew(spec, now);
            }
            return job;
        }
        self.slots.push(Slot::new(spec, now));
        let job = JobId((self.slots.len() - 1) as u16);
        self.timers.resize(self.slots.len(), 0);
        self.slot_mut(job);
        job
    }

    /// Asks for the file to be read; requests that come meanwhile wait for one further reading.
    pub(crate) fn on_reload_asked(&mut self, request: RequestId, all: bool) {
        if self.loading.is_empty() || self.planted(Defect::ReloadsNotMerged) {
            self.loading.push((request, all));
            self.out.push(Effect::LoadConfig);
        } else if self.reload_again.len() < limits::RELOADS_WAITING_MAX {
            self.reload_again.push((request, all));
        } else {
            self.out.push(Effect::Reply { request, reply: Reply::Refused(Refusal::Busy) });
        }
    }

    pub(crate) fn on_loaded(&mut self, config: Result<Box<Config>, Box<str>>) {
        let waiting = core::mem::take(&mut self.loading);
        if waiting.is_empty() {
            return;
        }
        let all = waiting.iter().any(|entry| entry.1);
        let reply = match config {
            _ if self.stage != Stage::Running => Reply::Refused(Refusal::Stopping),
            Ok(config) => Reply::Reloaded(self.apply(*config, all)),
            Err(reason) => {
                self.log(Level::Error, None, Message::ReloadRefused { reason: reason.clone() });
                if self.planted(Defect::BadConfigStops) {
                    self.on_stop_asked();
                }
                Reply::Refused(Refusal::BadConfig(reason))
            }
        };
        for (request, _) in waiting {
            self.out.push(Effect::Reply { request, reply: reply.clone() });
        }
        if self.planted(Defect::LastReloadLost) {
            for (request, _) in core::mem::take(&mut self.reload_again) {
                self.out.push(Effect::Reply { request, reply: Reply::Unchanged });
            }
        }
        if !self.reload_again.is_empty() {
            self.loading = core::mem::take(&mut self.reload_again);
            self.out.push(Effect::LoadConfig);
        }
    }

    /// Answers everybody who waits for a reload that will not come.
    pub(crate) fn refuse_waiting_reloads(&mut self) {
        let waiting = core::mem::take(&mut self.loading);
        let again = core::mem::take(&mut self.reload_again);
        for (request, _) in waiting.into_iter().chain(again) {
            self.out.push(Effect::Reply { request, reply: Reply::Refused(Refusal::Stopping) });
        }
    }

    fn apply(&mut self, config: Config, all: bool) -> Changes {
        self.generation += 1;
        let mut changes = Changes::default();
        let old: BTreeMap<Name, JobId> = self
            .slots
            .iter()
            .enumerate()
            .filter(|(_, slot)| slot.in_use)
            .map(|(index, slot)| (slot.spec.name.clone(), JobId(index as u16)))
            .collect();
        let mut order = Vec::new();
        let mut fresh = Vec::new();
        for spec in distinct(&config) {
            let name = spec.name.clone();
            let job = match old.get(&name) {
                Some(job) => {
                    self.change_job(*job, spec, all, &mut changes);
                    *job
                }
                None => {
                    changes.added.push(name);
                    let job = self.add_slot(spec);
                    fresh.push(job);
                    job
                }
            };
            order.push(job);
        }
        self.alive += fresh.len();
        let gone = old.values().filter(|job| !order.contains(job)).copied();
        let gone: Vec<JobId> = gone.collect();
        self.order = order;
        self.adopt(config);
        let greeting = core::mem::take(&mut self.greeting);
        self.out.extend(greeting);
        self.out.push(Effect::Applied(self.config.clone()));
        self.log(Level::Info, None, Message::Reloaded(changes.clone()));
        for job in gone {
            self.remove_job(job, &mut changes);
        }
        for job in fresh {
            if self.planted(Defect::NewJobNotStarted) {
                continue;
            }
            self.begin_job_late(job);
        }
        for job in self.order.clone() {
            self.start_replacement(job);
        }
        self.renew_locks();
        for job in self.order.clone() {
            self.check_possible(job);
        }
        // Whom a job waits for that was stopping already may have another trigger now.
        for index in 0..self.slots.len() {
            self.check_drained(JobId(index as u16));
        }
        changes
    }

    fn change_job(&mut self, job: JobId, spec: Arc<Job>, all: bool, changes: &mut Changes) {
        let is_total = self.planted(Defect::ReloadRestartsUnchanged);
        let is_half = self.planted(Defect::ReloadAllForgotten);
        let is_forgetful = self.planted(Defect::ReloadForgetsCounts);
        let is_dropping = self.planted(Defect::ReloadDropsPending);
        let Some(slot) = self.slot_mut(job) else { return };
        let wanted = match &slot.successor {
            Successor::Job { spec, .. } => spec.clone(),
            Successor::Nothing | Successor::Removal => slot.spec.clone(),
        };
        let was_leaving = slot.successor == Successor::Removal;
        let mut difference = difference(&wanted, &spec);
        if (all && !is_half) || was_leaving || is_total {
            difference = Difference::Process;
        }
        match difference {
            Difference::None => {
                changes.unchanged += 1;
                if is_forgetful {
                    slot.restarts_left = spec.restarts;
                }
                if is_dropping {
                    slot.pending = 0;
                }
            }
            Difference::Settings => {
                changes.updated.push(spec.name.clone());
                if let Successor::Job { spec: next, .. } = &mut slot.successor {
                    *next = spec;
                } else {
                    self.change_settings(job, spec);
                }
            }
            Difference::Process => {
                changes.restarted.push(spec.name.clone());
                let start = slot.runs_of_definition > 0 && slot.spec.trigger == spec.trigger;
                slot.successor = Successor::Job { spec, start };
            }
        }
    }

    fn change_settings(&mut self, job: JobId, spec: Arc<Job>) {
        let Some(slot) = self.slot_mut(job) else { return };
        let health_changed = slot.spec.health != spec.health;
        if slot.spec.restarts != spec.restarts {
            slot.restarts_left = spec.restarts;
        }
        slot.spec = spec;
        if health_changed {
            self.end_checks(job);
            self.begin_checks(job);
        }
        self.pursue(job);
    }

    /// Ends what a replaced job still runs, or lets its successor begin at once.
    fn start_replacement(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        let Successor::Job { .. } = slot.successor else { return };
        match slot.life {
            Life::Active if self.planted(Defect::ReloadOverlaps) => {
                self.tell_to_stop(job);
                self.succeed_living(job);
            }
            Life::Ended(_) => self.succeed(job),
            Life::Waiting if slot.runs_of_definition == 0 => {
                self.timers.stop_all(job);
                self.succeed_living(job);
            }
            Life::Waiting | Life::Active | Life::BackingOff => self.begin_stop(job),
            Life::Draining | Life::Withdrawing | Life::Ending => {}
        }
    }

    fn remove_job(&mut self, job: JobId, changes: &mut Changes) {
        let Some(slot) = self.slot_mut(job) else { return };
        changes.removed.push(slot.spec.name.clone());
        slot.successor = Successor::Removal;
        if self.planted(Defect::RemovedJobRunsOn) {
            return;
        }
        let Some(slot) = self.slot(job) else { return };
        match slot.life {
            Life::Ended(_) => self.succeed(job),
            Life::Waiting if slot.runs_of_definition == 0 => self.skip(job),
            Life::Waiting | Life::Active | Life::BackingOff => self.begin_stop(job),
            Life::Draining | Life::Withdrawing | Life::Ending => {}
        }
    }

    /// Puts the successor of an ended job in its place.
    pub(crate) fn succeed(&mut self, job: JobId) {
        let Some(slot) = self.slot_mut(job) else { return };
        match slot.successor {
            Successor::Nothing => {}
            Successor::Removal => {
                slot.in_use = false;
                slot.successor = Successor::Nothing;
                self.release_hooked(job);
            }
            Successor::Job { .. } => {
                self.alive += 1;
                self.release_hooked(job);
                self.succeed_living(job);
            }
        }
    }

    fn succeed_living(&mut self, job: JobId) {
        let now = self.now.mono;
        let Some(slot) = self.slot_mut(job) else { return };
        let successor = core::mem::replace(&mut slot.successor, Successor::Nothing);
        let Successor::Job { spec, start } = successor else { return };
        // The index has heard the new trigger since the reload; the rest belongs to the process.
        let is_rewired = slot.spec.while_lock != spec.while_lock
            || slot.spec.stop_with != spec.stop_with
            || slot.spec.service.is_some() != spec.service.is_some()
            || slot.spec.health.is_some() != spec.health.is_some();
        slot.renew(spec, now);
        if is_rewired {
            self.rewire();
        }
        if start {
            self.begin_again(job);
        } else {
            self.begin_job_late(job);
        }
    }

    /// Starts a replaced job whose trigger had come already; an interval counts from now.
    fn begin_again(&mut self, job: JobId) {
        self.begin_job(job);
        let is_idle = self.slot(job).is_some_and(|slot| {
            slot.life == Life::Waiting && slot.pending == 0 && !slot.is_repeating()
        });
        if is_idle {
            self.request_start(job, crate::trigger::Merge::Latest);
        }
        self.timers.stop(job, Timer::Trigger);
        self.check_possible(job);
    }
}

/// The jobs of a configuration; the front end refuses duplicate names, here the first one counts.
fn distinct(config: &Config) -> Vec<Arc<Job>> {
    let mut seen = BTreeSet::new();
    let jobs = config.jobs.iter().filter(|job| seen.insert(job.name.clone()));
    jobs.take(limits::JOBS_MAX).cloned().collect()
}

fn difference(old: &Job, new: &Job) -> Difference {
    if old == new {
        return Difference::None;
    }
    let is_process_same = old.command == new.command
        && old.trigger == new.trigger
        && old.while_lock == new.while_lock
        && old.stop_with == new.stop_with;
    if is_process_same { Difference::Settings } else { Difference::Process }
}
