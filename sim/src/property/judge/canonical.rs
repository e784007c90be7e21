//! What a judge knows, as a hash that counts from now, and what it would say if nothing more went
//! wrong: for a search that takes states for one another.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::Time;
use steersman_engine::canonical::ago;
use steersman_engine::config::Job;

use super::{Breach, Judge, Rule, Watch};
use crate::property::view::{JobView, NodeView};
use crate::random::mix;

/// Within so long starts count as a storm.
const STORM: Duration = Duration::from_secs(10);

impl Judge {
    /// Puts what it knows of the `index`-th node into the words of its jobs, and gives the rest.
    pub(crate) fn canonical_of(
        &self,
        index: usize,
        now: Time,
        jobs: &[Arc<Job>],
        words: &mut [u64],
    ) -> u64 {
        let Some(node) = self.view.nodes.get(index) else { return 0 };
        let NodeView {
            name: _,
            over,
            paused,
            stopping,
            maintenance,
            locks,
            lock_order: _,
            jobs: views,
        } = node;
        let are_starts_counted = self.suite.starts_in_ten_seconds_max > 0;
        for (job, word) in jobs.iter().zip(words) {
            if let Some(view) = views.get(&job.name) {
                *word = word.wrapping_add(mix(view.canonical(now, are_starts_counted)));
            }
        }
        let held = locks.values().fold(1, |bits: u64, lock| bits << 1 | u64::from(lock.is_held));
        mix(u64::from(over.is_some())
            | u64::from(*paused) << 1
            | u64::from(*stopping) << 2
            | u64::from(*maintenance) << 3
            | over.map_or(0, u64::from) << 8
            | held << 16)
    }

    /// Gives how far each property has come; whether it was ever reached breaks nothing.
    pub(crate) fn canonical(&self, now: Time) -> u64 {
        self.watches.iter().fold(0, |hash, watch| {
            let Watch { missing, held, reached: _ } = watch;
            let missing = missing.map_or(0, |since| 1 + ago(since, now));
            mix(hash ^ missing ^ u64::from(held.is_some()) << 32)
        })
    }

    /// Gives the longest time that something may take to come once all trouble is over; none when
    /// nothing has to come.
    pub(crate) fn patience(&self) -> Option<Duration> {
        let properties = self.suite.properties.iter();
        properties
            .filter_map(|property| match &property.rule {
                Rule::Eventually(_, within) => Some(*within),
                Rule::Always(..) | Rule::LeadsTo(..) | Rule::Sometimes(_) => None,
            })
            .max()
    }

    /// Tells what is still missing although all trouble was over at `calm_from`.
    pub(crate) fn unsettled(&self, now: Time, calm_from: Time) -> Option<Breach> {
        let mut later = self.clone();
        later.calm_from = calm_from;
        later.accuse_unsettled(now);
        later.breach
    }
}

impl JobView {
    fn canonical(&self, now: Time, are_starts_counted: bool) -> u64 {
        let JobView { alive, running, healthy, stage, runs, last, starts } = self;
        let last = match last {
            None => 0,
            Some(last) => 1 + u64::from(last.is_success()),
        };
        let flags = u64::from((*alive).min(7))
            | u64::from((*running).min(7)) << 3
            | healthy.map_or(0, |healthy| 1 + u64::from(healthy)) << 6
            | (*stage as u64) << 8
            | u64::from(*runs > 0) << 10
            | last << 11;
        let recent = starts.iter().filter(|start| now.since(**start) <= STORM);
        let recent = if are_starts_counted { recent.count() as u64 } else { 0 };
        mix(flags | recent << 16)
    }
}
