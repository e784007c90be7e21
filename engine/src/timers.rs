//! One timer for each (row, kind): arming overwrites, stopping clears, the earliest is on top.
//!
//! An indexed heap, so that there are no tombstones: equal states have equal timers.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::id::{JobId, LockId, WatchId};
use crate::random::mix;
use crate::time::Time;

/// What a timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Timer {
    /// A job's trigger has not come in time.
    Trigger = 0,
    /// An interval or schedule is due.
    Due = 1,
    /// A run takes too long.
    Run = 2,
    /// The stop signal has had its time.
    Kill = 3,
    /// A restart has waited long enough.
    Restart = 4,
    /// Jobs that react to a `stopping` have had their time.
    Hooks = 5,
    /// A health check is due.
    CheckDue = 6,
    /// A health check takes too long.
    Check = 7,
    /// A deregistration or drain has had its time.
    Withdraw = 8,
    /// The catalog is to hear from a job again.
    Catalog = 9,
    /// An answer of the catalog is overdue.
    CatalogReply = 10,
    /// The term of the job's lock is over, with its stop timeout.
    StopBy = 11,
}

/// What the timers of a watch are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum WatchTimer {
    /// It is to be asked again.
    Ask = 0,
    /// An answer is overdue.
    Reply = 1,
    /// A set has stayed the same for long enough.
    Settle = 2,
    /// It has been out of reach for too long.
    Stale = 3,
}

/// What the supervisor's own timers are for; they live in row 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum GlobalTimer {
    /// The stop budget is spent.
    StopBudget = 0,
    /// The last jobs that react to `stopped` have had their time.
    LastHooks = 1,
    /// The kernel has had its time to end what was killed.
    ForceExit = 2,
    /// There should be a keeper, and there is none.
    Keeper = 3,
}

/// What the timers of a lock are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum LockTimer {
    /// The session is to be renewed.
    Renew = 0,
    /// The last confirmed renewal is too old.
    Deadline = 1,
    /// The quiet time is over.
    Quiet = 2,
    /// It is time to stand for it, or to look at it again.
    Stand = 3,
    /// The key is to be read on.
    Read = 4,
    /// An answer about the key is overdue.
    KeyReply = 5,
    /// An answer about the session is overdue.
    SessionReply = 6,
    /// The job that must be healthy was not for too long.
    Grace = 7,
    /// It was stood for long enough.
    Patience = 8,
    /// The term needs a keeper, and there was none for long enough.
    Unguarded = 9,
}

const GLOBAL_TIMERS: [GlobalTimer; 4] =
    [GlobalTimer::StopBudget, GlobalTimer::LastHooks, GlobalTimer::ForceExit, GlobalTimer::Keeper];
const JOB_TIMERS: [Timer; 12] = [
    Timer::Trigger,
    Timer::Due,
    Timer::Run,
    Timer::Kill,
    Timer::Restart,
    Timer::Hooks,
    Timer::CheckDue,
    Timer::Check,
    Timer::Withdraw,
    Timer::Catalog,
    Timer::CatalogReply,
    Timer::StopBy,
];
const WATCH_TIMERS: [WatchTimer; 4] =
    [WatchTimer::Ask, WatchTimer::Reply, WatchTimer::Settle, WatchTimer::Stale];
const KINDS: usize = JOB_TIMERS.len();
const LOCK_TIMERS: [LockTimer; 10] = [
    LockTimer::Renew,
    LockTimer::Deadline,
    LockTimer::Quiet,
    LockTimer::Stand,
    LockTimer::Read,
    LockTimer::KeyReply,
    LockTimer::SessionReply,
    LockTimer::Grace,
    LockTimer::Patience,
    LockTimer::Unguarded,
];
/// Keys of watches have this bit, and places of their own.
const WATCH_BIT: u32 = 1 << 31;
/// Keys of locks have this bit, and places of their own.
const LOCK_BIT: u32 = 1 << 30;
const ABSENT: u32 = u32::MAX;
/// How many children each entry of the heap has.
const FAN: usize = 4;

/// A timer that has come due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    Global(GlobalTimer),
    Job(JobId, Timer),
    Watch(WatchId, WatchTimer),
    Lock(LockId, LockTimer),
}

/// All timers of an engine.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Timers {
    heap: Vec<(Time, u32)>,
    places: Vec<u32>,
    watch_places: Vec<u32>,
    lock_places: Vec<u32>,
    digest: u64,
    /// Whether the digest is not kept.
    #[serde(skip)]
    is_undigested: bool,
}

impl Timers {
    /// Keeps the digest, or not.
    pub(crate) fn set_digested(&mut self, is_digested: bool) {
        self.is_undigested = !is_digested;
    }

    /// Makes room for the timers of `jobs` jobs and `watches` watches.
    pub(crate) fn resize(&mut self, jobs: usize, watches: usize) {
        let wanted = (jobs + 1) * KINDS;
        if self.places.len() < wanted {
            self.places.resize(wanted, ABSENT);
        }
        let wanted = watches * WATCH_TIMERS.len();
        if self.watch_places.len() < wanted {
            self.watch_places.resize(wanted, ABSENT);
        }
    }

    /// Makes room for the timers of `locks` locks.
    pub(crate) fn resize_locks(&mut self, locks: usize) {
        let wanted = locks * LOCK_TIMERS.len();
        if self.lock_places.len() < wanted {
            self.lock_places.resize(wanted, ABSENT);
        }
    }

    pub(crate) fn arm_lock(&mut self, lock: LockId, timer: LockTimer, at: Time) {
        self.arm_key(lock_key(lock, timer), at);
    }

    pub(crate) fn stop_lock(&mut self, lock: LockId, timer: LockTimer) {
        self.stop_key(lock_key(lock, timer));
    }

    pub(crate) fn stop_all_of_lock(&mut self, lock: LockId) {
        for timer in LOCK_TIMERS {
            self.stop_lock(lock, timer);
        }
    }

    pub(crate) fn is_lock_armed(&self, lock: LockId, timer: LockTimer) -> bool {
        self.place(lock_key(lock, timer)).is_some_and(|place| place != ABSENT)
    }

    pub(crate) fn arm_watch(&mut self, watch: WatchId, timer: WatchTimer, at: Time) {
        self.arm_key(watch_key(watch, timer), at);
    }

    pub(crate) fn stop_watch(&mut self, watch: WatchId, timer: WatchTimer) {
        self.stop_key(watch_key(watch, timer));
    }

    pub(crate) fn stop_all_of_watch(&mut self, watch: WatchId) {
        for timer in WATCH_TIMERS {
            self.stop_watch(watch, timer);
        }
    }

    pub(crate) fn arm(&mut self, job: JobId, timer: Timer, at: Time) {
        self.arm_key(job_key(job, timer), at);
    }

    pub(crate) fn stop(&mut self, job: JobId, timer: Timer) {
        self.stop_key(job_key(job, timer));
    }

    /// Stops what belongs to the life of a job. What Consul is to be told goes on beyond it.
    pub(crate) fn stop_all(&mut self, job: JobId) {
        for timer in JOB_TIMERS {
            if !matches!(timer, Timer::Catalog | Timer::CatalogReply) {
                self.stop(job, timer);
            }
        }
    }

    pub(crate) fn deadline(&self, job: JobId, timer: Timer) -> Option<Time> {
        let place = self.place(job_key(job, timer))?;
        self.heap.get(place as usize).map(|entry| entry.0)
    }

    pub(crate) fn arm_global(&mut self, timer: GlobalTimer, at: Time) {
        self.arm_key(timer as u32, at);
    }

    pub(crate) fn stop_global(&mut self, timer: GlobalTimer) {
        self.stop_key(timer as u32);
    }

    pub(crate) fn is_armed_global(&self, timer: GlobalTimer) -> bool {
        self.places.get(timer as usize).is_some_and(|place| *place != ABSENT)
    }

    pub(crate) fn next(&self) -> Option<Time> {
        self.heap.first().map(|entry| entry.0)
    }

    /// Takes the earliest timer that is due at `now`; equal deadlines go by row, then kind.
    pub(crate) fn pop_due(&mut self, now: Time) -> Option<Due> {
        let (at, key) = *self.heap.first()?;
        if at > now {
            return None;
        }
        self.stop_key(key);
        due_of(key)
    }

    /// Gives every timer that is armed, in no particular order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (Time, Due)> {
        self.heap.iter().filter_map(|(at, key)| due_of(*key).map(|due| (*at, due)))
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    fn arm_key(&mut self, key: u32, at: Time) {
        let Some(place) = self.place(key) else { return };
        if let Some((old, _)) = self.heap.get(place as usize).copied() {
            self.note_change(old, key);
            self.settle(place as usize, (at, key));
        } else {
            let last = self.heap.len();
            self.heap.push((at, key));
            let place = self.rise(last, (at, key));
            self.put_at(place, (at, key));
        }
        self.note_change(at, key);
    }

    fn stop_key(&mut self, key: u32) {
        let Some(place) = self.place_mut(key) else { return };
        if *place == ABSENT {
            return;
        }
        let hole = core::mem::replace(place, ABSENT) as usize;
        let (at, _) = self.heap.swap_remove(hole);
        self.note_change(at, key);
        if let Some(moved) = self.heap.get(hole) {
            self.settle(hole, *moved);
        }
    }

    fn note_change(&mut self, at: Time, key: u32) {
        if !self.is_undigested {
            self.digest ^= mix(at.0, u64::from(key) | 1 << 40);
        }
    }

    /// Moves an entry to where it belongs, from a place that is free.
    fn settle(&mut self, place: usize, entry: (Time, u32)) {
        let at = self.rise(place, entry);
        let at = if at == place { self.sink(place, entry) } else { at };
        self.put_at(at, entry);
    }

    fn rise(&mut self, mut at: usize, entry: (Time, u32)) -> usize {
        while at > 0 {
            let parent = (at - 1) / FAN;
            if self.heap[parent] <= entry {
                break;
            }
            self.put_at(at, self.heap[parent]);
            at = parent;
        }
        at
    }

    fn sink(&mut self, mut at: usize, entry: (Time, u32)) -> usize {
        loop {
            let (mut least, mut place) = (entry, at);
            for child in FAN * at + 1..(FAN * at + 1 + FAN).min(self.heap.len()) {
                if self.heap[child] < least {
                    (least, place) = (self.heap[child], child);
                }
            }
            if place == at {
                return at;
            }
            self.put_at(at, least);
            at = place;
        }
    }

    fn put_at(&mut self, at: usize, entry: (Time, u32)) {
        self.heap[at] = entry;
        if let Some(place) = self.place_mut(entry.1) {
            *place = u32::try_from(at).unwrap_or(ABSENT);
        }
    }

    fn place(&self, key: u32) -> Option<u32> {
        let index = (key & !(WATCH_BIT | LOCK_BIT)) as usize;
        let places = match key & (WATCH_BIT | LOCK_BIT) {
            0 => &self.places,
            WATCH_BIT => &self.watch_places,
            _ => &self.lock_places,
        };
        places.get(index).copied()
    }

    fn place_mut(&mut self, key: u32) -> Option<&mut u32> {
        let index = (key & !(WATCH_BIT | LOCK_BIT)) as usize;
        let places = match key & (WATCH_BIT | LOCK_BIT) {
            0 => &mut self.places,
            WATCH_BIT => &mut self.watch_places,
            _ => &mut self.lock_places,
        };
        places.get_mut(index)
    }
}

fn due_of(key: u32) -> Option<Due> {
    if key & WATCH_BIT != 0 {
        let index = (key & !WATCH_BIT) as usize;
        let watch = WatchId(u16::try_from(index / WATCH_TIMERS.len()).unwrap_or(u16::MAX));
        let timer = WATCH_TIMERS.get(index % WATCH_TIMERS.len())?;
        return Some(Due::Watch(watch, *timer));
    }
    if key & LOCK_BIT != 0 {
        let index = (key & !LOCK_BIT) as usize;
        let lock = LockId(u16::try_from(index / LOCK_TIMERS.len()).unwrap_or(u16::MAX));
        let timer = LOCK_TIMERS.get(index % LOCK_TIMERS.len())?;
        return Some(Due::Lock(lock, *timer));
    }
    let kind = key as usize % KINDS;
    let row = key as usize / KINDS;
    if row == 0 {
        GLOBAL_TIMERS.get(kind).map(|timer| Due::Global(*timer))
    } else {
        let job = JobId(u16::try_from(row - 1).unwrap_or(u16::MAX));
        JOB_TIMERS.get(kind).map(|timer| Due::Job(job, *timer))
    }
}

fn job_key(job: JobId, timer: Timer) -> u32 {
    (u32::from(job.0) + 1) * KINDS as u32 + timer as u32
}

fn watch_key(watch: WatchId, timer: WatchTimer) -> u32 {
    WATCH_BIT | (u32::from(watch.0) * WATCH_TIMERS.len() as u32 + timer as u32)
}

fn lock_key(lock: LockId, timer: LockTimer) -> u32 {
    LOCK_BIT | (u32::from(lock.0) * LOCK_TIMERS.len() as u32 + timer as u32)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn heap_agrees_with_a_sorted_list(
            steps in proptest::collection::vec(
                (0u16..20, 0usize..12, 0u64..50, any::<bool>()),
                1..300,
            )
        ) {
            let mut timers = Timers::default();
            timers.resize(20, 0);
            let mut model = std::collections::BTreeMap::new();
            for (job, kind, at, arm) in steps {
                let (job, timer) = (JobId(job), JOB_TIMERS[kind]);
                if arm {
                    timers.arm(job, timer, Time(at));
                    model.insert(job_key(job, timer), Time(at));
                } else {
                    timers.stop(job, timer);
                    model.remove(&job_key(job, timer));
                }
                prop_assert_eq!(timers.next(), model.values().min().copied());
            }
            let mut left: Vec<_> = model.into_iter().map(|(key, at)| (at, key)).collect();
            left.sort();
            for (_, key) in left {
                let Some(Due::Job(job, timer)) = timers.pop_due(Time::NEVER) else {
                    panic!("a timer is missing")
                };
                prop_assert_eq!(job_key(job, timer), key);
            }
            prop_assert_eq!(timers.digest(), 0);
        }
    }
}
