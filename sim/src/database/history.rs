//! What a server has written: a list of (cluster, term, sequence), kept as runs.

use serde::{Deserialize, Serialize};

/// One write, named by what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Entry {
    /// The cluster: who made the empty database that this one began as.
    pub cluster: u32,
    /// The time of one server as the one that is written to.
    pub term: u32,
    /// Counts the writes of the whole history, from 1.
    pub sequence: u64,
}

/// Everything that a server has, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// The last entry of each run; a run has one cluster and one term.
    runs: Vec<Entry>,
}

impl History {
    /// Counts the writes.
    pub fn length(&self) -> u64 {
        self.runs.last().map_or(0, |last| last.sequence)
    }

    /// Gives the last write.
    pub fn last(&self) -> Option<Entry> {
        self.runs.last().copied()
    }

    /// Adds a write.
    pub fn append(&mut self, cluster: u32, term: u32) -> Entry {
        let entry = Entry { cluster, term, sequence: self.length() + 1 };
        match self.runs.last_mut() {
            Some(last) if last.cluster == cluster && last.term == term => *last = entry,
            _ => self.runs.push(entry),
        }
        entry
    }

    /// Tells whether a write is in it.
    pub fn has(&self, entry: Entry) -> bool {
        let run = self.runs.iter().find(|last| last.sequence >= entry.sequence);
        run.is_some_and(|last| last.cluster == entry.cluster && last.term == entry.term)
    }

    /// Tells whether another history begins with all of this one.
    pub fn is_start_of(&self, longer: &History) -> bool {
        self.runs.iter().all(|last| longer.has(*last))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history(terms: &[(u32, u64)]) -> History {
        let mut history = History::default();
        for (term, count) in terms {
            (0..*count).for_each(|_| {
                history.append(1, *term);
            });
        }
        history
    }

    #[test]
    fn a_start_is_a_start_and_an_errant_write_is_not() {
        let old = history(&[(1, 5)]);
        assert!(old.is_start_of(&history(&[(1, 9)])));
        assert!(old.is_start_of(&history(&[(1, 5), (2, 3)])));
        assert!(!old.is_start_of(&history(&[(1, 4), (2, 3)])));
        assert!(!history(&[(1, 4), (2, 1)]).is_start_of(&history(&[(1, 5)])));
        assert!(History::default().is_start_of(&old));
    }

    #[test]
    fn writes_are_known_by_their_term() {
        let new = history(&[(1, 4), (2, 3)]);
        assert!(new.has(Entry { cluster: 1, term: 1, sequence: 4 }));
        assert!(new.has(Entry { cluster: 1, term: 2, sequence: 5 }));
        assert!(!new.has(Entry { cluster: 1, term: 1, sequence: 5 }));
        assert!(!new.has(Entry { cluster: 1, term: 2, sequence: 8 }));
    }
}
