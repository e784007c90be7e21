//! What the engine knows about one lock.

use alloc::boxed::Box;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{Lock, Takeover};
use crate::id::LockId;
use crate::limits;
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
    /// When it was created.
    #[serde(default)]
    pub(crate) created: u64,
    pub(crate) is_released: bool,
    /// What is added to its index to make a token.
    #[serde(default)]
    pub(crate) floor: u64,
}

/// Why a term ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LossReason {
    /// No renewal, or no reading of the key, was answered in time.
    Deadline,
    /// Consul does not know the session any more.
    SessionGone,
    /// The key is not held by this session any more.
    KeyGone,
    /// The job that has to be healthy was not, for too long.
    Unhealthy,
    /// Maintenance, a reload, or nothing needs the lock any more.
    GivenUp,
    /// The supervisor stops.
    Stopping,
    /// It requires a keeper, and there is none.
    Unguarded,
}

impl LossReason {
    /// Tells whether the term was given up on purpose.
    pub const fn is_wanted(self) -> bool {
        match self {
            LossReason::GivenUp | LossReason::Stopping => true,
            LossReason::Deadline
            | LossReason::SessionGone
            | LossReason::KeyGone
            | LossReason::Unhealthy
            | LossReason::Unguarded => false,
        }
    }
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
    /// When the last answered request was sent that showed the key as its own.
    #[serde(default)]
    pub(crate) shown: Time,
    /// When the request about the key that is under way was sent.
    #[serde(default)]
    pub(crate) key_sent: Time,
    pub(crate) key_flight: Option<KeyFlight>,
    pub(crate) session_flight: Option<SessionFlight>,
    pub(crate) key_nth: u32,
    pub(crate) session_nth: u32,
    pub(crate) index: u64,
    pub(crate) seen: Option<Seen>,
    /// The fencing token: `ModifyIndex` of the granting transaction, and the floor.
    pub(crate) token: u64,
    /// What is added to the index to make a token: the highest token that was known when Consul
    /// had lost its memory and counted anew.
    #[serde(default)]
    pub(crate) floor: u64,
    /// The highest token known, of whomever.
    #[serde(default)]
    pub(crate) highest: u64,
    /// The highest index at which another holder was seen: proof that the catalog remembers.
    pub(crate) proof: u64,
    /// How long to keep quiet if anything is granted that was asked for since somebody else was
    /// seen to hold the key; none once that has been kept.
    #[serde(default)]
    pub(crate) quiet: Duration,
    /// The same for what was asked for last.
    #[serde(default)]
    pub(crate) quiet_asked: Duration,
    pub(crate) attempt: u32,
    /// Terms in a row that were lost.
    pub(crate) losses: u32,
    pub(crate) led_since: Time,
    /// When nothing of the last term was left.
    #[serde(default)]
    pub(crate) left: Time,
    /// Whether the key is still to be released before the session goes.
    #[serde(default)]
    pub(crate) is_to_release: bool,
    pub(crate) is_jeopardy: bool,
    /// Whether the next reading of the key, if it is still ours, begins the term.
    #[serde(default)]
    pub(crate) is_due: bool,
    /// Whether a term was lost and the lock is not stood for again.
    #[serde(default)]
    pub(crate) is_spent: bool,
    /// Whether the term that is being ended had begun: jobs that stop with the lock stop with it,
    /// and nobody is at work any more when they have gone.
    #[serde(default)]
    pub(crate) has_led: bool,
    /// Until when the keeper lets the processes of the term live.
    #[serde(default)]
    pub(crate) guard: Option<Time>,
    /// Whether the term begins as soon as there is a keeper.
    #[serde(default)]
    pub(crate) awaits_keeper: bool,
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
            shown: Time(0),
            key_sent: Time(0),
            key_flight: None,
            session_flight: None,
            key_nth: 0,
            session_nth: 0,
            index: 0,
            seen: None,
            token: 0,
            floor: 0,
            highest: 0,
            proof: 0,
            quiet: Duration::ZERO,
            quiet_asked: Duration::ZERO,
            attempt: 0,
            losses: 0,
            led_since: Time(0),
            left: Time(0),
            is_to_release: false,
            is_jeopardy: false,
            is_due: false,
            is_spent: false,
            has_led: false,
            guard: None,
            awaits_keeper: false,
            successor: None,
            is_removed: false,
            hash: 0,
        }
    }

    /// Puts a definition in place as if it were new; requests keep counting.
    pub(crate) fn renew(&mut self, spec: Lock) {
        let (key_nth, session_nth) = (self.key_nth, self.session_nth);
        let (highest, hash) = (self.highest, self.hash);
        *self = LockState { key_nth, session_nth, highest, hash, ..LockState::new(spec) };
    }

    /// The floor of the tokens from now on: the one of the terms before, unless Consul counts from
    /// anew and the next token would not be the highest.
    pub(crate) fn next_floor(&self) -> u64 {
        let (floor, modified) = self.seen.as_ref().map_or((0, 0), |it| (it.floor, it.modified));
        let is_higher = floor.saturating_add(self.index.max(modified)) >= self.highest;
        if is_higher { floor } else { self.highest }
    }

    pub(crate) fn is_holding(&self) -> bool {
        match self.standing {
            Standing::Quiet | Standing::Leading | Standing::Demoting => true,
            Standing::Idle | Standing::Candidate | Standing::Vacating => false,
        }
    }

    /// How long a new holder keeps quiet (inequality I3): not at all when it can see that Consul
    /// remembers the holder before, else as long as that holder may still be at work.
    ///
    /// It remembers when the key has been there ever since that holder was seen: nobody has deleted
    /// it, whoever may have written it, so the holder's session has ended and barred it.
    pub(crate) fn quiet_time(&self, is_blind: bool) -> Duration {
        let seen = self.seen.as_ref();
        let is_handed_over = seen.is_some_and(|seen| seen.is_released);
        let is_continued = self.proof > 0
            && seen.is_some_and(|seen| {
                seen.modified > self.proof && (seen.created <= self.proof || is_blind)
            });
        match self.spec.takeover {
            Takeover::Auto if is_handed_over || is_continued => Duration::ZERO,
            Takeover::Auto | Takeover::After(_) => self.longest_quiet_time(),
        }
    }

    /// How long one keeps quiet that can see nothing.
    pub(crate) fn longest_quiet_time(&self) -> Duration {
        match self.spec.takeover {
            Takeover::After(quiet) => quiet,
            Takeover::Auto => longest_old_term(&self.spec),
        }
    }

    /// Tells whether whoever comes next may begin at once when this supervisor lets go in order: it
    /// led, or it could have begun at once itself.
    ///
    /// Who still keeps quiet must not hand over: its predecessor may be at work. Its session goes
    /// without a release, and the lock delay bars the key for at least as long (inequality I2).
    pub(crate) fn is_fit_to_release(&self, was_holding: bool) -> bool {
        let may_have_it = self.key_flight == Some(KeyFlight::Acquire);
        if was_holding { self.has_led } else { may_have_it && self.quiet.is_zero() }
    }

    /// Tells whether a term that is granted now could not begin on the strength of the last
    /// renewal: it would end at once, and its key were barred.
    pub(crate) fn is_too_old_at(&self, now: Time) -> bool {
        now + self.spec.request_timeout >= self.confirmed + self.spec.demote_after
    }

    /// When the jobs of the lock must begin to stop: nobody else can have begun to wait for their
    /// end before the session was last renewed, nor before the key was last seen to be its own.
    pub(crate) fn demote_at(&self) -> Time {
        self.confirmed.min(self.shown) + self.spec.demote_after
    }

    /// How long a holder's reading may wait for a change: until the last one is `renewEvery` old,
    /// so that readings get no older than renewals do (inequality I4).
    ///
    /// What a blocking read shows is as old as the read: Consul answers from what it saw when it
    /// began to wait.
    pub(crate) fn reading_wait(&self, now: Time) -> Duration {
        let left = (self.shown + self.spec.renew_every).since(now);
        // Consul adds up to a sixteenth.
        let wait = (left - left / 16).min(limits::WATCH_WAIT);
        if wait < limits::WATCH_SPACING { Duration::ZERO } else { wait }
    }

    /// Until when the session may still be there, and so is worth being ended.
    pub(crate) fn lives_until(&self) -> Time {
        self.confirmed + self.spec.ttl * limits::SESSION_LIVES
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
            | u64::from(self.has_led) << 18
            | u64::from(self.awaits_keeper) << 19
            | u64::from(!self.quiet.is_zero()) << 20
            | u64::from(self.is_to_release) << 21
            | u64::from(!self.quiet_asked.is_zero()) << 22
            | u64::from(lock.0) << 48;
        let mut hash = mix(flags, self.confirmed.0);
        hash = mix(hash, self.sent.0 ^ self.led_since.0.rotate_left(32));
        hash = mix(hash, self.shown.0 ^ self.key_sent.0.rotate_left(32));
        hash = mix(hash, self.left.0);
        hash = mix(hash, u64::from(self.key_nth) | u64::from(self.session_nth) << 32);
        hash = mix(hash, u64::from(self.attempt) | u64::from(self.losses) << 32);
        hash = mix(hash, self.index ^ self.token.rotate_left(32));
        hash = mix(hash, self.floor ^ self.highest.rotate_left(32));
        let seen = self.seen.as_ref().map_or(0, |seen| seen.modified);
        hash = mix(hash, self.proof ^ seen.rotate_left(32));
        mix(hash, self.guard.map_or(0, |until| until.0 | 1))
    }
}

/// f·(A + P + g + κ) of the inequalities, rounded up to the millisecond, in integers.
fn longest_old_term(spec: &Lock) -> Duration {
    let sum = spec.demote_after + spec.stop_timeout + spec.max_pause + limits::KILL_LATENCY;
    let million = 1_000_000u128;
    let drift = u128::from(spec.max_drift_ppm).min(500_000);
    let nanos = sum.as_nanos() * (million + drift) / (million - drift);
    let millis = u64::try_from(nanos / 1_000_000 + 1).unwrap_or(u64::MAX);
    Duration::from_millis(millis)
}
