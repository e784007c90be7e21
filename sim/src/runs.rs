//! A table by run, in the order of runs: nearly always there is one run, or none, of each job and
//! of its check, so that a look at one costs two reads and the rest of the table nothing.

use steersman_engine::{JobId, RunId, RunKind};

const NONE: u32 = u32::MAX;

/// Values by run.
#[derive(Clone, Debug)]
pub(crate) struct Runs<T> {
    /// The first entry of each job and kind; the others follow it, by number.
    rows: Vec<u32>,
    entries: Vec<Entry<T>>,
    /// The first entry that is free; the others follow it.
    free: u32,
}

#[derive(Clone, Debug)]
struct Entry<T> {
    run: RunId,
    next: u32,
    value: Option<T>,
}

impl<T> Default for Runs<T> {
    fn default() -> Runs<T> {
        Runs { rows: Vec::new(), entries: Vec::new(), free: NONE }
    }
}

impl<T> Runs<T> {
    pub(crate) const fn new() -> Runs<T> {
        Runs { rows: Vec::new(), entries: Vec::new(), free: NONE }
    }

    /// Puts a value in; gives the one that was there.
    pub(crate) fn insert(&mut self, run: RunId, value: T) -> Option<T> {
        let row = row_of(run.job, run.kind);
        if row >= self.rows.len() {
            self.rows.resize(row + 1, NONE);
        }
        let (before, at) = self.find(run);
        if let Some(entry) = self.entries.get_mut(at as usize)
            && entry.run == run
        {
            return entry.value.replace(value);
        }
        let fresh = self.take_free(Entry { run, next: at, value: Some(value) });
        self.link(row, before, fresh);
        None
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, run: &RunId) -> Option<T> {
        let (before, at) = self.find(*run);
        let entry = self.entries.get_mut(at as usize).filter(|entry| entry.run == *run)?;
        let next = core::mem::replace(&mut entry.next, self.free);
        let value = entry.value.take();
        self.free = at;
        self.link(row_of(run.job, run.kind), before, next);
        value
    }

    /// Takes everything out.
    pub(crate) fn clear(&mut self) {
        self.rows.clear();
        self.entries.clear();
        self.free = NONE;
    }

    pub(crate) fn get(&self, run: &RunId) -> Option<&T> {
        self.of(run.job, run.kind).find(|(known, _)| known == run).map(|(_, value)| value)
    }

    pub(crate) fn get_mut(&mut self, run: &RunId) -> Option<&mut T> {
        let (_, at) = self.find(*run);
        let entry = self.entries.get_mut(at as usize).filter(|entry| entry.run == *run)?;
        entry.value.as_mut()
    }

    /// Gives the runs of a job, or of its check, by number.
    pub(crate) fn of(&self, job: JobId, kind: RunKind) -> impl Iterator<Item = (RunId, &T)> {
        let first = self.rows.get(row_of(job, kind)).copied().unwrap_or(NONE);
        self.chain(first)
    }

    /// Gives everything, in the order of the runs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (RunId, &T)> {
        self.rows.iter().flat_map(|first| self.chain(*first))
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = RunId> {
        self.iter().map(|(run, _)| run)
    }

    pub(crate) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    fn chain(&self, first: u32) -> impl Iterator<Item = (RunId, &T)> {
        let mut at = first;
        core::iter::from_fn(move || {
            let entry = self.entries.get(at as usize)?;
            at = entry.next;
            entry.value.as_ref().map(|value| (entry.run, value))
        })
    }

    /// Finds the entry of a run, or the one that would follow it, and the one before.
    fn find(&self, run: RunId) -> (u32, u32) {
        let mut before = NONE;
        let mut at = self.rows.get(row_of(run.job, run.kind)).copied().unwrap_or(NONE);
        while let Some(entry) = self.entries.get(at as usize) {
            if entry.run.nth >= run.nth {
                break;
            }
            before = at;
            at = entry.next;
        }
        (before, at)
    }

    fn link(&mut self, row: usize, before: u32, at: u32) {
        let place = match self.entries.get_mut(before as usize) {
            Some(entry) => &mut entry.next,
            None => &mut self.rows[row],
        };
        *place = at;
    }

    fn take_free(&mut self, entry: Entry<T>) -> u32 {
        let at = self.free;
        if let Some(hole) = self.entries.get_mut(at as usize) {
            self.free = hole.next;
            *hole = entry;
            return at;
        }
        self.entries.push(entry);
        u32::try_from(self.entries.len() - 1).expect("fewer than four thousand million runs")
    }
}

const fn row_of(job: JobId, kind: RunKind) -> usize {
    let kind = match kind {
        RunKind::Main => 0,
        RunKind::Check => 1,
    };
    job.index() * 2 + kind
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_table_agrees_with_a_sorted_map(
            steps in proptest::collection::vec((0u16..4, any::<bool>(), 0u32..5, 0u8..3), 1..200)
        ) {
            let mut table = Runs::new();
            let mut model = BTreeMap::new();
            for (job, is_check, nth, step) in steps {
                let kind = if is_check { RunKind::Check } else { RunKind::Main };
                let run = RunId { job: JobId(job), kind, nth };
                match step {
                    0 => prop_assert_eq!(table.remove(&run), model.remove(&run)),
                    step => prop_assert_eq!(table.insert(run, step), model.insert(run, step)),
                }
                prop_assert_eq!(table.get(&run), model.get(&run));
                prop_assert_eq!(table.get_mut(&run), model.get_mut(&run));
                let all: Vec<_> = table.iter().map(|(run, value)| (run, *value)).collect();
                let wanted: Vec<_> = model.iter().map(|(run, value)| (*run, *value)).collect();
                prop_assert_eq!(all, wanted);
                let of: Vec<_> = table.of(run.job, kind).map(|(run, _)| run).collect();
                let is_of = |known: &&RunId| known.job == run.job && known.kind == kind;
                let wanted: Vec<_> = model.keys().filter(is_of).copied().collect();
                prop_assert_eq!(of, wanted);
            }
            table.clear();
            prop_assert_eq!(table.keys().count(), 0);
        }
    }
}
