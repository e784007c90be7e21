//! What the oracle knows, as a hash that counts from now: it decides what the oracle will accuse,
//! so a search may take two states for one only when this is equal as well.

use steersman_engine::canonical::{ago, ahead};
use steersman_engine::{JobId, RunKind, Time};

use super::{NodeView, RunView};
use crate::agenda::NodeId;
use crate::oracle::Oracle;
use crate::random::mix;

impl Oracle {
    /// Puts what it knows of a node into the words of its jobs, and gives the rest.
    pub(crate) fn canonical(&self, id: NodeId, mono: Time, at: Time, jobs: &mut [u64]) -> u64 {
        let Some(node) = self.nodes.get(id.index()) else { return 0 };
        let exclusion = self.exclusion.canonical(at);
        mix(node.canonical(mono, jobs) ^ exclusion.rotate_left(7))
    }
}

impl NodeView {
    fn canonical(&self, mono: Time, words: &mut [u64]) -> u64 {
        let NodeView {
            jobs: _,
            facts: _,
            stop_timeout: _,
            stop_deadline,
            locks: _,
            lock_lost,
            missed,
            is_stopping,
            hurried,
            maintenance,
            over,
            cause: _,
            runs,
            health,
            last_main,
            // It matters only while the end of that check is taken in.
            last_check: _,
        } = self;
        let mut put = |job: JobId, word: u64| {
            if let Some(sum) = words.get_mut(job.index()) {
                *sum = sum.wrapping_add(mix(word));
            }
        };
        let newest = |job: JobId| last_main.get(job.index()).copied().unwrap_or(0);
        for (run, view) in runs.iter() {
            let is_newest = newest(run.job) == run.nth;
            let is_early = run.kind == RunKind::Check && self.is_before_the_run(run.job, view);
            let name = 0x0b | (run.kind as u64) << 8 | u64::from(is_newest) << 9;
            put(run.job, view.canonical(mono) ^ name ^ u64::from(is_early) << 10);
        }
        for (job, (is_healthy, nth)) in health {
            let is_present = newest(*job) == *nth;
            put(*job, 0x0a00 | u64::from(*is_healthy) | u64::from(is_present) << 1);
        }
        let flags = u64::from(*is_stopping)
            | u64::from(*hurried) << 1
            | u64::from(*maintenance) << 2
            | u64::from(*over) << 3;
        let deadline = stop_deadline.map_or(0, |deadline| 1 + ahead(deadline, mono));
        let lost = lock_lost.map_or(0, |lost| 1 + ago(lost, mono));
        let missed = u64::try_from(missed.as_millis()).unwrap_or(u64::MAX);
        mix(mix(flags ^ deadline << 8) ^ mix(lost) ^ missed)
    }

    /// Tells whether a check was asked for before the present run of its job had started.
    fn is_before_the_run(&self, job: JobId, check: &RunView) -> bool {
        let mains = self.runs.of(job, RunKind::Main);
        let started = mains.map(|(_, view)| view.started).last().flatten();
        started.is_none_or(|started| check.asked < started)
    }
}

impl RunView {
    fn canonical(&self, mono: Time) -> u64 {
        let RunView { job: _, asked, started, ended, limits, patience_ends, told, kill_sent } =
            self;
        // A run's age matters to its own time limit alone.
        let age = if limits.run.is_some() { ago(*asked, mono) } else { 0 };
        let flags = u64::from(started.is_some()) | u64::from(*ended) << 1;
        let patience = patience_ends.map_or(0, |ends| 1 + ahead(ends, mono));
        let told = told.map_or(0, |told| 1 + ago(told, mono));
        mix(mix(flags | u64::from(*kill_sent) << 2 | age << 8) ^ patience ^ told.rotate_left(32))
    }
}
