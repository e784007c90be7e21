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
        let is_blind = self.planted(Defect::ForeignWriteIsContinued);
        let is_deaf = self.planted(Defect::SessionLossIgnored);
        let now = self.now.mono;
        let is_trusting = self.planted(Defect::ContinuityAssumed);
        let Some(state) = self.lock_mut(lock) else { return };
        state.index = if index < state.index { 0 } else { index.max(1) };
        let entry = entries.into_iter().find(|entry| entry.key == state.spec.key);
        let before = state.seen.take();
        let holder = entry.as_ref().and_then(|entry| entry.session.clone());
        let modified = entry.as_ref().map_or(0, |entry| entry.modified);
        let mark = entry.as_ref().map(|entry| entry.flags & !limits::FLOOR_MASK);
        let is_released = mark == Some(limits::RELEASED_FLAG);
        let is_foreign = mark.is_some() && !is_released && mark != Some(limits::HELD_FLAG);
        let floor = entry.as_ref().map_or(0, floor_of);
        // Also what a stranger wrote over: that is the token which jobs here are told.
        if mark.is_some() {
            state.highest = state.highest.max(floor.saturating_add(modified));
        }
        let session = holder.clone();
        state.seen = Some(Seen { session, modified, is_released, is_foreign, floor });
        let is_ours = holder.is_some() && holder == state.session;
        let is_old = state.is_too_old_at(now);
        let is_due = core::mem::take(&mut state.is_due);
        // A free key that a stranger has written where a supervisor held it may have been deleted.
        let is_new =
            is_foreign && holder.is_none() && !before.as_ref().is_some_and(|it| it.is_foreign);
        if entry.is_none() && !is_trusting || is_new && !is_blind {
            // Deleted, or never there: who held it may still be at work, and nothing bars the key.
            state.proof = 0;
        } else if holder.is_some() && !is_ours {
            state.proof = state.proof.max(modified);
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

/// What is added to the index of an entry to make a token.
pub(crate) fn floor_of(entry: &Entry) -> u64 {
    let is_ours = entry.flags >> 48 == limits::HELD_FLAG >> 48;
    if is_ours { entry.flags & limits::FLOOR_MASK } else { 0 }
}
