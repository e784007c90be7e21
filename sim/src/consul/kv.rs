//! Writes to the key-value store and to sessions.

use std::ops::Bound;
use std::sync::Arc;

use super::store::{Store, Tree};
use super::types::{Behavior, CRITICAL, Entry, Session, Str};

/// The longest lock delay that is honoured, in nanoseconds.
const LOCK_DELAY_MAX: i64 = 60_000_000_000;

impl Store {
    /// Writes an entry; `with_session` lets the entry's own session in.
    pub(crate) fn kv_set(&mut self, idx: u64, mut entry: Entry, with_session: bool) -> Arc<Entry> {
        let known = self.keys.get(&entry.key).cloned();
        entry.create = known.as_ref().map_or(idx, |known| known.create);
        if !with_session {
            entry.session = known.as_ref().map_or_else(|| "".into(), |known| known.session.clone());
        }
        if let Some(known) = known.filter(|known| known.is_same(&entry)) {
            entry.modify = known.modify;
            return Arc::new(entry);
        }
        entry.modify = idx;
        let entry = Arc::new(entry);
        self.touch(Tree::Keys, &[&entry.key]);
        Arc::make_mut(&mut self.keys).insert(entry.key.clone(), entry.clone());
        self.set_index("kvs", idx);
        entry
    }

    /// Writes if the entry's `modify` is the known one, 0 meaning "only create".
    pub(crate) fn kv_cas(&mut self, idx: u64, entry: Entry) -> Option<Arc<Entry>> {
        let known = self.keys.get(&entry.key).map_or(0, |known| known.modify);
        (known == entry.modify).then(|| self.kv_set(idx, entry, false))
    }

    /// Removes a key.
    pub(crate) fn kv_delete(&mut self, idx: u64, key: &str) {
        if Arc::make_mut(&mut self.keys).remove(key).is_some() {
            self.touch(Tree::Keys, &[key]);
            self.bury(idx, key);
            self.set_index("kvs", idx);
        }
    }

    fn bury(&mut self, idx: u64, key: &str) {
        Arc::make_mut(&mut self.tombstones).insert(key.into(), idx);
        self.set_index("tombstones", idx);
    }

    /// Removes a key if its index is this one; a missing key counts as removed.
    pub(crate) fn kv_delete_cas(&mut self, idx: u64, expected: u64, key: &str) -> bool {
        match self.keys.get(key) {
            None => true,
            Some(known) if known.modify != expected => false,
            Some(_) => {
                self.kv_delete(idx, key);
                true
            }
        }
    }

    /// Removes all keys with a prefix.
    pub(crate) fn kv_delete_tree(&mut self, idx: u64, prefix: &str) {
        let doomed: Vec<Str> = self.entries_under(prefix).map(|e| e.key.clone()).collect();
        if doomed.is_empty() {
            return;
        }
        let keys = Arc::make_mut(&mut self.keys);
        for key in &doomed {
            keys.remove(key);
        }
        for key in &doomed {
            self.touch(Tree::Keys, &[key]);
        }
        if !prefix.is_empty() {
            self.bury(idx, prefix);
        }
        self.set_index("kvs", idx);
    }

    /// Lists the entries whose key begins with `prefix`, by key.
    pub(crate) fn entries_under<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        self.keys
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(move |(key, _)| key.starts_with(prefix))
            .map(|(_, entry)| entry)
    }

    /// Takes a lock; `None` when somebody else holds it.
    pub(crate) fn kv_lock(
        &mut self,
        idx: u64,
        mut entry: Entry,
    ) -> Result<Option<Arc<Entry>>, String> {
        if entry.session.is_empty() {
            return Err("missing session".to_owned());
        }
        if self.session(&entry.session)?.is_none() {
            return Err(format!("invalid session {}", super::go::quote(&entry.session)));
        }
        match self.keys.get(&entry.key) {
            None => entry.lock_index = 1,
            Some(known) if known.session == entry.session => entry.lock_index = known.lock_index,
            Some(known) if !known.session.is_empty() => return Ok(None),
            Some(known) => entry.lock_index = known.lock_index + 1,
        }
        Ok(Some(self.kv_set(idx, entry, true)))
    }

    /// Gives a lock back; `None` when the session does not hold it.
    pub(crate) fn kv_unlock(
        &mut self,
        idx: u64,
        mut entry: Entry,
    ) -> Result<Option<Arc<Entry>>, String> {
        if entry.session.is_empty() {
            return Err("missing session".to_owned());
        }
        let Some(known) = self.keys.get(&entry.key) else { return Ok(None) };
        if known.session != entry.session {
            return Ok(None);
        }
        entry.session = "".into();
        entry.lock_index = known.lock_index;
        Ok(Some(self.kv_set(idx, entry, true)))
    }

    /// Forgets deletions up to an index.
    pub(crate) fn reap_tombstones(&mut self, upto: u64) {
        Arc::make_mut(&mut self.tombstones).retain(|_, idx| *idx > upto);
    }

    /// Looks a session up; the text must look like a UUID.
    pub(crate) fn session(&self, id: &str) -> Result<Option<&Arc<Session>>, String> {
        let id = uuid_key(id).map_err(|e| format!("failed session lookup: index error: {e}"))?;
        Ok(self.sessions.get(&*id))
    }

    /// Creates a session.
    pub(crate) fn create_session(&mut self, idx: u64, mut session: Session) -> Result<(), String> {
        session.create = idx;
        session.modify = idx;
        if self.node(&session.node).is_none() {
            return Err("Missing node registration".to_owned());
        }
        for id in session.check_ids() {
            let Some(check) = self.check(&session.node, &id) else {
                return Err(format!("Missing check '{id}' registration"));
            };
            if &*check.status == CRITICAL {
                return Err(format!("Check '{id}' is in {CRITICAL} state"));
            }
        }
        self.touch_session(&session);
        Arc::make_mut(&mut self.sessions).insert(session.id.clone(), Arc::new(session));
        self.set_index("sessions", idx);
        Ok(())
    }

    /// Ends a session: its keys are released or deleted, and barred for the lock delay.
    pub(crate) fn end_session(&mut self, idx: u64, id: &str) {
        let Some(session) = Arc::make_mut(&mut self.sessions).remove(id) else { return };
        self.touch_session(&session);
        self.set_index("sessions", idx);
        self.ended.push(session.id.clone());
        let held: Vec<Arc<Entry>> =
            self.keys.values().filter(|entry| entry.session == session.id).cloned().collect();
        for entry in held {
            match session.behavior {
                Behavior::Release => {
                    self.kv_set(idx, Entry { session: "".into(), ..(*entry).clone() }, true);
                }
                Behavior::Delete => self.kv_delete(idx, &entry.key),
            }
            if session.lock_delay > 0 {
                self.barred.push((entry.key.clone(), session.lock_delay.min(LOCK_DELAY_MAX)));
            }
        }
    }
}

/// Checks that text looks like a UUID and brings it to the form in which sessions are kept.
pub(crate) fn uuid_key(text: &str) -> Result<String, String> {
    if text.len() != 36 {
        return Err("UUID must be 36 characters".to_owned());
    }
    let hyphens = text.matches('-').count();
    if hyphens > 4 {
        return Err(format!("UUID should have maximum of 4 \"-\"; got {hyphens}"));
    }
    let digits = text.replace('-', "");
    if !digits.len().is_multiple_of(2) {
        return Err("Input (without hyphens) must be even length".to_owned());
    }
    if let Some(bad) = digits.bytes().find(|byte| !byte.is_ascii_hexdigit()) {
        return Err(format!(
            "Invalid UUID: encoding/hex: invalid byte: U+{bad:04X} '{}'",
            char::from(bad)
        ));
    }
    Ok(text.to_ascii_lowercase())
}
