//! What the engine knows about one lock.

use alloc::boxed::Box;

use serde::{Deserialize, Serialize};

use crate::config::Lock;
use crate::id::LockId;
use crate::random::mix;
use crate::time::Time;

/// Where a supervisor stands with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Standing {
    /// Does not stand for it (yet).
    Idle,
    /// Has, or asks for, a session, and waits for the key to be free.
    Candidate,
    /// Holds it, and waits until an old holder that nobody remembers has certainly stopped.
    Quiet,
    /// Holds it, and its jobs run.
    Leading,
    /// Its jobs are being stopped; nobody else must get it before they have gone.
    Demoting,
    /// Its jobs have gone; it is being given back.
    Vacating,
}

/// The request about the key that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum KeyFlight {
    Read,
    Acquire,
    Release,
}

/// The request about the session that has not been answered; renewals have a connection of their
/// own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SessionFlight {
    Create,
    Renew,
    Destroy,
}

/// What the key showed last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) session: Option<Box<str>>,
    pub(crate) modified: u64,
    pub(crate) is_released: bool,
}

/// One lock's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LockState {
    pub(crate) spec: Lock,
    pub(crate) standing: Standing,
    pub(crate) session: Option<Box<str>>,
    /// When the last answered creation or renewal of the session was sent.
    pub(crate) confirmed: Time,
    /// When the creation or renewal under way was sent.
    pub(crate) sent: Time,
    pub(crate) key_flight: Option<KeyFlight>,
    pub(crate) session_flight: Option<SessionFlight>,
    pub(crate) key_nth: u32,
    pub(crate) session_nth: u32,
    pub(crate) index: u64,
    pub(crate) seen: Option<Seen>,
    /// The fencing token: `ModifyIndex` of the granting transaction.
    pub(crate) token: u64,
    /// The highest index at which another holder was seen: proof that the catalog remembers.
    pub(crate) proof: u64,
    pub(crate) attempt: u32,
    /// Terms in a row that were lost.
    pub(crate) losses: u32,
    pub(crate) led_since: Time,
    pub(crate) is_jeopardy: bool,
    /// Whether the next reading of the key, if it is still ours, begins the term.
    #[serde(default)]
    pub(crate) is_due: bool,
    /// Whether a term was lost and the lock is not stood for again.
    #[serde(default)]
    pub(crate) is_spent: bool,
    /// What takes its place after a reload.
    pub(crate) successor: Option<Lock>,
    /// Whether a reload took it out.
    pub(crate) is_removed: bool,
    pub(crate) hash: u64,
}

impl LockState {
    pub(crate) fn new(spec: Lock) -> LockState {
        LockState {
            spec,
            standing: Standing::Idle,
            session: None,
            confirmed: Time(0),
            sent: Time(0),
            key_flight: None,
            session_flight: None,
            key_nth: 0,
            session_nth: 0,
            index: 0,
            seen: None,
            token: 0,
            proof: 0,
            attempt: 0,
            losses: 0,
            led_since: Time(0),
            is_jeopardy: false,
            is_due: false,
            is_spent: false,
            successor: None,
            is_removed: false,
            hash: 0,
        }
    }

    /// Puts a definition in place as if it were new; requests keep counting.
    pub(crate) fn renew(&mut self, spec: Lock) {
        let (key_nth, session_nth, hash) = (self.key_nth, self.session_nth, self.hash);
        *self = LockState { key_nth, session_nth, hash, ..LockState::new(spec) };
    }

    pub(crate) fn is_holding(&self) -> bool {
        match self.standing {
            Standing::Quiet | Standing::Leading | Standing::Demoting => true,
            Standing::Idle | Standing::Candidate | Standing::Vacating => false,
        }
    }

    /// When the jobs of the lock must begin to stop.
    pub(crate) fn demote_at(&self) -> Time {
        self.confirmed + self.spec.demote_after
    }

    pub(crate) fn fingerprint(&self, lock: LockId) -> u64 {
        let key = self.key_flight.map_or(0, |flight| 1 + flight as u64);
        let session = self.session_flight.map_or(0, |flight| 1 + flight as u64);
        let flags = (self.standing as u64)
            | key << 4
            | session << 8
            | u64::from(self.session.is_some()) << 12
            | u64::from(self.is_jeopardy) << 13
            | u64::from(self.successor.is_some()) << 14
            | u64::from(self.is_removed) << 15
            | u64::from(self.is_spent) << 16
            | u64::from(self.is_due) << 17
            | u64::from(lock.0) << 48;
        let mut hash = mix(flags, self.confirmed.0);
        hash = mix(hash, self.sent.0 ^ self.led_since.0.rotate_left(32));
        hash = mix(hash, u64::from(self.key_nth) | u64::from(self.session_nth) << 32);
        hash = mix(hash, u64::from(self.attempt) | u64::from(self.losses) << 32);
        hash = mix(hash, self.index ^ self.token.rotate_left(32));
        let seen = self.seen.as_ref().map_or(0, |seen| seen.modified);
        mix(hash, self.proof ^ seen.rotate_left(32))
    }
}
