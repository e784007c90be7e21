//! What the key of a lock showed, and what follows from it.

use alloc::vec::Vec;
use core::time::Duration;

use crate::consul::{ConsulRequest, Entry};
use crate::defect::Defect;
use crate::engine::Engine;
use crate::id::LockId;
use crate::limits;
use crate::lock_state::{KeyFlight, Seen, Standing};
use crate::random;
use crate::random::mix;
use crate::term::LossReason;
use crate::timers::LockTimer;

impl Engine {
    pub(crate) fn read_key(&mut self, lock: LockId) {
        let Some(state) = self.lock_mut(lock) else { return };
        if state.key_flight.is_some() {
            return;
        }
        let is_lazy = self.planted(Defect::KeyReadSeldom);
        let now = self.now.mono;
        let Some(state) = self.lock_mut(lock) else { return };
        let longest = match state.standing {
            Standing::Quiet | Standing::Leading if is_lazy => limits::WATCH_WAIT,
            Standing::Quiet | Standing::Leading => state.reading_wait(now),
            Standing::Idle | Standing::Candidate | Standing::Demoting | Standing::Vacating => {
                limits::WATCH_WAIT
            }
        };
        let index = if longest.is_zero() { 0 } else { state.index };
        let wait = if index == 0 { Duration::ZERO } else { longest };
        let request = ConsulRequest::LockRead { key: state.spec.key.clone(), index, wait };
        self.send_key(lock, KeyFlight::Read, request, wait + wait / 16);
    }

    /// The quiet time is over: reads the key once more before anything starts. An operator may have
    /// deleted it, and a renewal of the session does not tell.
    pub(crate) fn confirm_key(&mut self, lock: LockId) {
        if self.planted(Defect::QuietNotConfirmed) {
            return self.begin_term(lock);
        }
        let Some(state) = self.lock_mut(lock) else { return };
        if state.standing != Standing::Quiet {
            return;
        }
        state.is_due = true;
        state.index = 0;
        // The answer of a blocking read that is under way comes too late to count.
        state.key_flight = None;
        self.read_key(lock);
    }

    /// The key was its own when the request was sent that has just been answered.
    pub(crate) fn on_shown(&mut self, lock: LockId) {
        let now = self.now.mono;
        let is_wrong = self.planted(Defect::ReadingAgeFromTheAnswer);
        let Some(state) = self.lock_mut(lock) else { return };
        state.shown = if is_wrong { now } else { state.key_sent };
        self.move_deadline(lock);
    }

    pub(crate) fn on_key_read(&mut self, lock: LockId, index: u64, entries: Vec<Entry>) {
        self.note_catalog_works();
        let is_deaf = self.planted(Defect::SessionLossIgnored);
        let is_credulous = self.planted(Defect::RestoredKeyBelieved);
        let now = self.now.mono;
        let is_trusting = self.planted(Defect::ContinuityAssumed);
        let Some(state) = self.lock_mut(lock) else { return };
        state.index = if index < state.index { 0 } else { index.max(1) };
        let entry = entries.into_iter().find(|entry| entry.key == state.spec.key);
        let before = state.seen.take();
        let holder = entry.as_ref().and_then(|entry| entry.session.clone());
        let modified = entry.as_ref().map_or(0, |entry| entry.modified);
        let floor = entry.as_ref().map_or(0, floor_of);
        let token = floor.saturating_add(modified);
        // A mark that is older than what is known comes from a memory of before.
        let is_released = entry.as_ref().is_some_and(|entry| is_released(entry, is_credulous));
        let is_released = is_released && token >= state.highest;
        // Also what a stranger wrote over: that is the token which jobs here are told.
        state.highest = state.highest.max(token);
        let (session, created) = (holder.clone(), entry.as_ref().map_or(0, |entry| entry.created));
        state.seen = Some(Seen { session, modified, created, is_released, floor });
        let is_ours = holder.is_some() && holder == state.session;
        let is_old = state.is_too_old_at(now);
        let is_due = core::mem::take(&mut state.is_due);
        if entry.is_none() && !is_trusting || index < state.proof {
            // Deleted, or never there, or forgotten: who held it may still be at work, and nothing
            // bars the key.
            state.proof = 0;
        } else if holder.is_some() && !is_ours {
            state.proof = state.proof.max(modified);
            // What was asked for before is stale.
            state.quiet = Duration::ZERO;
        }
        let was_held = before.as_ref().is_some_and(|seen| seen.session.is_some());
        let is_other = holder.is_some()
            && !is_ours
            && before.as_ref().is_none_or(|seen| seen.session != holder);
        if is_other && let Some(entry) = entry {
            self.observe(lock, &entry);
        }
        let standing = self.lock_state(lock).map(|state| state.standing);
        if is_ours {
            self.on_shown(lock);
            self.learn_grant(lock);
        }
        match standing {
            Some(Standing::Candidate) if is_ours && is_old => self.stand_later(lock),
            Some(Standing::Candidate) if is_ours => self.on_acquired(lock, modified),
            Some(Standing::Candidate) if holder.is_none() && was_held => {
                let delay = self.herd_delay(lock);
                self.timers.arm_lock(lock, LockTimer::Stand, now + delay);
            }
            Some(Standing::Candidate) if holder.is_none() => self.acquire(lock),
            Some(Standing::Candidate) => self.read_on(lock),
            Some(Standing::Quiet) if is_ours && is_due => {
                self.read_on(lock);
                self.begin_term(lock);
            }
            Some(Standing::Quiet | Standing::Leading) if is_ours || is_deaf => self.read_on(lock),
            Some(Standing::Quiet | Standing::Leading) => self.demote(lock, LossReason::KeyGone),
            Some(Standing::Idle) => self.read_on(lock),
            Some(Standing::Demoting | Standing::Vacating) | None => {}
        }
    }

    /// A grant that is learned by reading is of any try: what that one had read is not known.
    fn learn_grant(&mut self, lock: LockId) {
        let is_believed = self.planted(Defect::RefusalBelieved);
        let state = self.lock_mut(lock).filter(|it| it.standing == Standing::Candidate);
        if let Some(state) = state.filter(|_| !is_believed) {
            state.quiet = state.longest_quiet_time();
        }
    }

    /// Reads the key again, blocking; never in a busy loop.
    pub(crate) fn read_on(&mut self, lock: LockId) {
        let at = self.now.mono + limits::WATCH_SPACING;
        self.timers.arm_lock(lock, LockTimer::Read, at);
    }

    /// Spreads the candidates of one lock when it becomes free: all of them hear it at once.
    fn herd_delay(&mut self, lock: LockId) -> Duration {
        let seed = self.seed;
        let is_herd = self.planted(Defect::HerdNotSpread);
        let Some(state) = self.lock_mut(lock) else { return Duration::ZERO };
        state.index = 0;
        if is_herd {
            return Duration::ZERO;
        }
        let session = state.session.as_deref().unwrap_or("");
        let key = session.bytes().fold(5 << 60, |key, byte| mix(key, u64::from(byte)));
        Duration::from_nanos(random::below(seed, key, limits::HERD_SPREAD_NS))
    }
}

/// Tells whether a holder gave the key back in order. The flags alone do not say so: a plain write
/// may have brought them back from a backup.
fn is_released(entry: &Entry, is_credulous: bool) -> bool {
    let mark = entry.flags & !limits::FLOOR_MASK;
    mark == limits::RELEASED_FLAG && (entry.acquired > 0 || is_credulous)
}

/// What is added to the index of an entry to make a token.
pub(crate) fn floor_of(entry: &Entry) -> u64 {
    let is_ours = entry.flags >> 48 == limits::HELD_FLAG >> 48;
    if is_ours { entry.flags & limits::FLOOR_MASK } else { 0 }
}
