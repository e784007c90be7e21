//! Who is alive at one instant, according to `/proc`: holders of different terms must never be.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::jobs::NAME;
use super::moment::{Moment, nanos, now};
use super::network::SIZE;
use crate::container::descendants_of;
use crate::wait::pass;

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The observer itself is late by less than this, or it is a stall of the whole machine.
const STALL: Duration = Duration::from_millis(250);

/// More are not kept: one would be too many.
const KEPT_MAX: usize = 10_000;

/// A process that writes for a term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Holder {
    /// From 1.
    pub(super) member: usize,
    pub(super) token: u64,
    pid: u32,
}

impl Holder {
    #[cfg(test)]
    pub(super) fn of(member: usize, token: u64) -> Holder {
        Holder { member, token, pid: 0 }
    }
}

/// Two holders of different terms, alive at one instant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) at: Moment,
    pub(super) older: Holder,
    pub(super) newer: Holder,
}

/// What was seen.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) pairs: Vec<Pair>,
    pub(super) looks: u64,
    /// When the observer was kept from looking, and for how long.
    pub(super) stalls: Vec<(Moment, u64)>,
    terms: BTreeSet<(usize, u64)>,
}

impl Seen {
    /// How many terms were seen alive.
    pub(super) fn terms(&self) -> usize {
        self.terms.len()
    }
}

/// Looks all the time.
pub(super) struct Sightings {
    roots: Arc<[AtomicU32; SIZE]>,
    is_over: Arc<AtomicBool>,
    seen: Arc<Mutex<Seen>>,
    thread: Option<JoinHandle<()>>,
}

impl Sightings {
    pub(super) fn begin() -> Sightings {
        let roots = Arc::new([const { AtomicU32::new(0) }; SIZE]);
        let is_over = Arc::new(AtomicBool::new(false));
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (our_roots, our_end, our_seen) = (roots.clone(), is_over.clone(), seen.clone());
        let thread = thread::spawn(move || {
            while !our_end.load(Ordering::Relaxed) {
                let begun = now();
                look(&our_roots, &our_seen);
                pass(LOOK_EVERY);
                let late = now() - begun;
                if late > nanos(STALL) {
                    note(&our_seen, |seen| seen.stalls.push((begun, late)));
                }
            }
        });
        Sightings { roots, is_over, seen, thread: Some(thread) }
    }

    /// Says whose descendants are a member; 0 for nobody's.
    pub(super) fn set_root(&self, member: usize, pid: u32) {
        self.roots[member].store(pid, Ordering::Relaxed);
    }

    pub(super) fn end(mut self) -> Seen {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the observer does not fail");
        }
        let seen = self.seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        seen.clone()
    }
}

fn note(seen: &Mutex<Seen>, change: impl FnOnce(&mut Seen)) {
    change(&mut seen.lock().unwrap_or_else(|poisoned| poisoned.into_inner()));
}

fn look(roots: &[AtomicU32; SIZE], seen: &Mutex<Seen>) {
    let mut alive: Vec<Holder> = Vec::new();
    for (member, root) in roots.iter().enumerate() {
        let root = root.load(Ordering::Relaxed);
        if root != 0 {
            let found = descendants_of(root).into_iter().filter_map(token_of);
            alive.extend(found.map(|(pid, token)| Holder { member: member + 1, token, pid }));
        }
    }
    note(seen, |seen| {
        seen.looks += 1;
        seen.terms.extend(alive.iter().map(|holder| (holder.member, holder.token)));
    });
    for newer in &alive {
        for older in alive.iter().filter(|older| older.token < newer.token) {
            // They were looked at one after the other: only who is there before and after the
            // other one was there at the same time.
            let pair = Pair { at: now(), older: *older, newer: *newer };
            let is_there =
                |holder: &Holder| token_of(holder.pid) == Some((holder.pid, holder.token));
            if is_there(older) && is_there(newer) && is_there(older) {
                note(seen, |seen| {
                    if seen.pairs.len() < KEPT_MAX {
                        seen.pairs.push(pair);
                    }
                });
            }
        }
    }
}

/// The token for which a living process writes.
fn token_of(pid: u32) -> Option<(u32, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let token = name.strip_prefix(NAME)?.parse().ok()?;
    let is_alive = !matches!(rest.trim_start().chars().next(), Some('Z' | 'X') | None);
    is_alive.then_some((pid, token))
}
