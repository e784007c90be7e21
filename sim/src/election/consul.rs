//! Consul as far as one key goes: everything that it promises about a lock, and nothing more.
//!
//! It does nothing by itself. Whoever holds the election decides when a session is invalidated,
//! within what is promised.

/// A session.
pub type SessionId = u32;
/// The session of nobody.
pub(super) const NOBODY: SessionId = 0;

/// What a key bears beside its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The flags of a holder.
    Held,
    /// The flags of an orderly release.
    Released,
    /// What somebody else wrote.
    Foreign,
}

/// The key's entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// When it was created.
    pub(super) created: u64,
    /// When it was last changed.
    pub(super) modified: u64,
    /// Who holds it.
    pub(super) session: SessionId,
    /// What it bears.
    pub(super) mark: Mark,
    /// Whether it was written by a stranger since it was last acquired anew (`LockIndex` is zero).
    pub(super) is_plain: bool,
}

/// A session that lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    /// Its name.
    pub(super) id: SessionId,
    /// When it was created or last renewed.
    pub(super) renewed: u64,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A session.
    Create,
    /// That a session lives on.
    Renew(SessionId),
    /// The end of a session.
    Destroy(SessionId),
    /// The key's entry, when it has changed since an index or so long has passed.
    Read {
        /// Zero answers at once.
        index: u64,
        /// How long to wait for a change.
        wait: u64,
    },
    /// The key, for a session; perhaps only if it was last changed then, or, by zero, if there is
    /// none.
    Acquire(SessionId, Option<u64>),
    /// To have the key back.
    Release(SessionId),
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// Done.
    Done,
    /// There is no such session.
    Unknown,
    /// This session was created.
    Session(SessionId),
    /// The key was granted, with this token, or not.
    Acquired(Option<u64>),
    /// An error.
    Refused,
    /// What the key showed.
    Entry {
        /// The index of this reading.
        index: u64,
        /// The entry.
        entry: Option<Entry>,
    },
}

/// Consul.
#[derive(Clone, Debug)]
pub(super) struct Consul {
    /// The index of the last change of anything.
    pub(super) index: u64,
    /// The index of the last change of the key, its deletion included.
    pub(super) changed: u64,
    /// The key.
    pub(super) entry: Option<Entry>,
    /// Until when nobody may acquire the key.
    pub(super) barred_until: u64,
    /// The sessions.
    pub(super) sessions: Vec<Session>,
    lock_delay: u64,
    sessions_made: SessionId,
}

/// Where indexes begin, and how far below the last beginning they begin after a loss of memory: so
/// far that the old ones are never reached again.
const INDEX_FIRST: u64 = 1 << 40;
const INDEX_FALL: u64 = 1 << 30;

impl Consul {
    /// Builds an empty one with a lock delay.
    pub(super) const fn new(lock_delay: u64) -> Consul {
        Consul {
            index: INDEX_FIRST,
            changed: INDEX_FIRST,
            entry: None,
            barred_until: 0,
            sessions: Vec::new(),
            lock_delay,
            sessions_made: NOBODY,
        }
    }

    /// Carries out a request; a blocking read is answered as if its time were over.
    pub(super) fn carry_out(&mut self, ask: Ask, now: u64) -> Answer {
        match ask {
            Ask::Create => {
                self.sessions_made += 1;
                self.sessions.push(Session { id: self.sessions_made, renewed: now });
                Answer::Session(self.sessions_made)
            }
            Ask::Renew(id) => match self.session_mut(id) {
                Some(session) => {
                    session.renewed = now;
                    Answer::Done
                }
                None => Answer::Unknown,
            },
            Ask::Destroy(id) => {
                self.invalidate(id, now);
                Answer::Done
            }
            Ask::Read { .. } => Answer::Entry { index: self.changed, entry: self.entry },
            Ask::Acquire(id, modified) => self.acquire(id, modified, now),
            Ask::Release(id) => {
                if self.holder() == id && id != NOBODY {
                    self.write(NOBODY, Mark::Released, self.is_plain());
                }
                Answer::Done
            }
        }
    }

    fn acquire(&mut self, id: SessionId, modified: Option<u64>, now: u64) -> Answer {
        let is_as_read = |modified| self.entry.map_or(0, |entry| entry.modified) == modified;
        if !modified.is_none_or(is_as_read) {
            return Answer::Acquired(None);
        }
        if self.session_mut(id).is_none() {
            return Answer::Refused;
        }
        let holder = self.holder();
        if holder != id && (holder != NOBODY || now < self.barred_until) {
            return Answer::Acquired(None);
        }
        // Its holder may acquire it again: that counts for nothing.
        let is_plain = holder == id && self.is_plain();
        Answer::Acquired(Some(self.write(id, Mark::Held, is_plain)))
    }

    /// Ends a session otherwise than by its owner's release: the key it holds is free, and barred.
    pub(super) fn invalidate(&mut self, id: SessionId, now: u64) {
        if self.holder() == id && id != NOBODY {
            let mark = self.entry.map_or(Mark::Held, |entry| entry.mark);
            self.write(NOBODY, mark, self.is_plain());
            self.barred_until = self.barred_until.max(now + self.lock_delay);
        }
        self.sessions.retain(|session| session.id != id);
    }

    /// An operator writes to the key: its holder stays.
    pub(super) fn put(&mut self) {
        self.write(self.holder(), Mark::Foreign, true);
    }

    /// An operator deletes the key and writes it again as it once was, given back in order.
    pub(super) fn restore(&mut self) {
        self.delete();
        self.write(NOBODY, Mark::Released, true);
    }

    /// An operator deletes the key: its session stays, and nothing bars the key.
    pub(super) const fn delete(&mut self) {
        self.index += 1;
        self.changed = self.index;
        self.entry = None;
    }

    /// Everything is forgotten; the index falls far below any seen, or goes on.
    pub(super) fn forget(&mut self, counts_on: bool) {
        self.index = if counts_on { self.index + 1 } else { self.index - INDEX_FALL };
        self.changed = self.index;
        self.entry = None;
        self.barred_until = 0;
        self.sessions.clear();
    }

    /// Gives who holds the key.
    pub(super) fn holder(&self) -> SessionId {
        self.entry.map_or(NOBODY, |entry| entry.session)
    }

    fn is_plain(&self) -> bool {
        self.entry.is_some_and(|entry| entry.is_plain)
    }

    fn write(&mut self, session: SessionId, mark: Mark, is_plain: bool) -> u64 {
        self.index += 1;
        self.changed = self.index;
        let created = self.entry.map_or(self.index, |entry| entry.created);
        self.entry = Some(Entry { created, modified: self.index, session, mark, is_plain });
        self.index
    }

    fn session_mut(&mut self, id: SessionId) -> Option<&mut Session> {
        self.sessions.iter_mut().find(|session| session.id == id)
    }
}
