//! Who hears what: the index from an event to the jobs that react to it, built when a configuration
//! comes into force, so that an event costs nothing for the jobs that do not care.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::config::{Clause, Name, SourceName, Trigger, Watch};
use crate::event::{Code, Event, Source};
use crate::id::{JobId, LockId, WatchId};
use crate::lock_state::LockState;
use crate::slot::Slot;

/// A clause of a job's trigger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) job: JobId,
    pub(crate) clause: u16,
}

/// The index.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Wiring {
    /// Sorted by event, then by job.
    targets: Vec<(Event, Target)>,
    /// For each job: its clauses' sources, resolved.
    sources: Vec<Vec<Option<Source>>>,
    /// For each job: the jobs that wait for something from it.
    dependents: Vec<Vec<JobId>>,
    /// For each job: the jobs that react to its `stopping`.
    hooks: Vec<Vec<JobId>>,
    /// For each job: the jobs to whose `stopping` it reacts.
    hooked: Vec<Vec<JobId>>,
    /// For each job that carries others (a discovery agent): the jobs that must be gone first.
    carried: Vec<Vec<JobId>>,
    /// For each job: the jobs that wait for its end before they end.
    carriers: Vec<Vec<JobId>>,
    /// For each job: the lock it needs, or whose terms it ends with.
    locks: Vec<Option<LockId>>,
    /// For each lock: the jobs that need it.
    held: Vec<Vec<JobId>>,
    /// For each lock: the jobs that run without it as well, but end with its terms.
    bound: Vec<Vec<JobId>>,
}

impl Wiring {
    pub(crate) fn new(slots: &[Slot], watches: &[Watch], locks: &[LockState]) -> Wiring {
        let names = Names::new(slots, watches, locks);
        let count = slots.len();
        let mut wiring = Wiring {
            targets: Vec::new(),
            sources: Vec::with_capacity(count),
            dependents: empty_lists(count),
            hooks: empty_lists(count),
            hooked: empty_lists(count),
            carried: empty_lists(count),
            carriers: empty_lists(count),
            locks: Vec::with_capacity(count),
            held: empty_lists(locks.len()),
            bound: empty_lists(locks.len()),
        };
        for (index, slot) in slots.iter().enumerate() {
            let job = JobId(index as u16);
            // A lock that a reload took out has its jobs until they have gone: it waits for them.
            let find = |name: &Option<Name>| {
                let name = name.as_ref().filter(|_| slot.in_use)?;
                let place = locks.iter().position(|state| state.spec.name == *name)?;
                Some(LockId(place as u16))
            };
            let (needed, bound) = (find(&slot.spec.while_lock), find(&slot.spec.stop_with));
            if let Some(lock) = needed {
                insert(&mut wiring.held[lock.index()], job);
            }
            if let Some(lock) = bound {
                insert(&mut wiring.bound[lock.index()], job);
            }
            wiring.locks.push(needed.or(bound));
            let clauses = if slot.in_use { clauses_of(&slot.wanted().trigger) } else { &[] };
            let sources: Vec<_> =
                clauses.iter().map(|clause| names.resolve(&clause.source)).collect();
            for (nth, (clause, source)) in clauses.iter().zip(&sources).enumerate() {
                let Some(source) = *source else { continue };
                let event = Event { code: clause.code, source };
                wiring.targets.push((event, Target { job, clause: nth as u16 }));
                wiring.note_dependence(job, event);
            }
            wiring.sources.push(sources);
        }
        wiring.targets.sort_unstable();
        wiring.find_carriers(slots);
        wiring
    }

    fn note_dependence(&mut self, job: JobId, event: Event) {
        let (Source::Job(of) | Source::Check(of)) = event.source else { return };
        insert(&mut self.dependents[of.index()], job);
        if event.code == Code::Stopping && of != job {
            insert(&mut self.hooks[of.index()], job);
            insert(&mut self.hooked[job.index()], of);
        }
    }

    /// A job that is not advertised and gates advertised ones by its health carries them (the
    /// discovery agent in the same container): it ends after they have.
    fn find_carriers(&mut self, slots: &[Slot]) {
        for (index, slot) in slots.iter().enumerate() {
            if !slot.in_use || slot.spec.service.is_some() || slot.spec.health.is_none() {
                continue;
            }
            let carrier = JobId(index as u16);
            let gate = Event { code: Code::Healthy, source: Source::Job(carrier) };
            let mut reached: Vec<JobId> = Vec::new();
            let mut open: Vec<JobId> =
                self.targets_of(gate).iter().map(|entry| entry.1.job).collect();
            while let Some(job) = open.pop() {
                if job == carrier || reached.contains(&job) || slots[job.index()].is_hook() {
                    continue;
                }
                reached.push(job);
                open.extend(self.dependents[job.index()].iter().copied());
            }
            reached.retain(|job| slots[job.index()].spec.service.is_some());
            for job in reached {
                insert(&mut self.carried[index], job);
                insert(&mut self.carriers[job.index()], carrier);
            }
        }
    }

    fn targets_of(&self, event: Event) -> &[(Event, Target)] {
        &self.targets[self.range(event)]
    }

    /// Gives the range of [`Wiring::target`] indexes that hear an event.
    pub(crate) fn range(&self, event: Event) -> core::ops::Range<usize> {
        let from = self.targets.partition_point(|entry| entry.0 < event);
        let to = self.targets[from..].partition_point(|entry| entry.0 == event);
        from..from + to
    }

    pub(crate) fn target(&self, index: usize) -> Option<Target> {
        self.targets.get(index).map(|entry| entry.1)
    }

    pub(crate) fn sources(&self, job: JobId) -> &[Option<Source>] {
        self.sources.get(job.index()).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn dependents(&self, job: JobId) -> &[JobId] {
        list(&self.dependents, job)
    }

    pub(crate) fn hooks(&self, job: JobId) -> &[JobId] {
        list(&self.hooks, job)
    }

    pub(crate) fn hooked(&self, job: JobId) -> &[JobId] {
        list(&self.hooked, job)
    }

    pub(crate) fn carried(&self, job: JobId) -> &[JobId] {
        list(&self.carried, job)
    }

    pub(crate) fn lock_of(&self, job: JobId) -> Option<LockId> {
        self.locks.get(job.index()).copied().flatten()
    }

    pub(crate) fn held_jobs(&self, lock: LockId) -> &[JobId] {
        self.held.get(lock.index()).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn bound_jobs(&self, lock: LockId) -> &[JobId] {
        self.bound.get(lock.index()).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn carriers(&self, job: JobId) -> &[JobId] {
        list(&self.carriers, job)
    }
}

/// Gives the clauses of a trigger.
pub(crate) fn clauses_of(trigger: &Trigger) -> &[Clause] {
    match trigger {
        Trigger::On(clause) => core::slice::from_ref(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses,
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &[],
    }
}

struct Names<'a> {
    jobs: BTreeMap<&'a str, JobId>,
    watches: BTreeMap<&'a str, WatchId>,
    locks: BTreeMap<&'a str, LockId>,
}

impl<'a> Names<'a> {
    fn new(slots: &'a [Slot], watches: &'a [Watch], locks: &'a [LockState]) -> Names<'a> {
        let used = slots.iter().enumerate().filter(|(_, slot)| slot.in_use);
        let jobs = used.map(|(index, slot)| (&*slot.spec.name, JobId(index as u16))).collect();
        let watches = watches
            .iter()
            .enumerate()
            .map(|(index, watch)| (&*watch.name, WatchId(index as u16)))
            .collect();
        let locks = locks
            .iter()
            .enumerate()
            .filter(|(_, state)| !state.is_removed)
            .map(|(index, state)| (&*state.spec.name, LockId(index as u16)))
            .collect();
        Names { jobs, watches, locks }
    }

    fn resolve(&self, source: &SourceName) -> Option<Source> {
        match source {
            SourceName::Global => Some(Source::Global),
            SourceName::Job(name) => self.jobs.get(&**name).map(|id| Source::Job(*id)),
            SourceName::Check(name) => self.jobs.get(&**name).map(|id| Source::Check(*id)),
            SourceName::Watch(name) => self.watches.get(&**name).map(|id| Source::Watch(*id)),
            SourceName::Lock(name) => self.locks.get(&**name).map(|id| Source::Lock(*id)),
            SourceName::Signal(signal) => Some(Source::Signal(*signal)),
        }
    }
}

fn empty_lists(count: usize) -> Vec<Vec<JobId>> {
    (0..count).map(|_| Vec::new()).collect()
}

fn insert(list: &mut Vec<JobId>, job: JobId) {
    if let Err(place) = list.binary_search(&job) {
        list.insert(place, job);
    }
}

fn list(lists: &[Vec<JobId>], job: JobId) -> &[JobId] {
    lists.get(job.index()).map_or(&[], Vec::as_slice)
}
