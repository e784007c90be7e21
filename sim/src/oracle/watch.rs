//! Watches: what was read and differs is announced, once; what does not differ is not.

use steersman_engine::config::{Config, Watch};
use steersman_engine::consul::{ConsulOp, ConsulReply, Owner, Reading};
use steersman_engine::{Code, Time};

use core::time::Duration;

use super::job::Who;
use super::ledger::{Expected, Ledger};

/// How much later than its time limit an answer certainly comes too late.
const OVERDUE: Duration = Duration::from_millis(900);

/// One watch.
#[derive(Clone, Debug)]
pub(super) struct WatchView {
    spec: Watch,
    announced: Option<Reading>,
    /// Whether what is watched is there, as far as that was announced.
    is_there: Option<bool>,
    /// The request under way, and when nobody waits for its answer any more.
    asked: Option<(u32, Time)>,
    /// Its sets must stay the same for a while, or an answer was lost: nothing exact is demanded.
    is_loose: bool,
}

impl WatchView {
    /// Tells whether what is watched was there when it was last announced; none before that.
    pub(super) const fn is_there(&self) -> Option<bool> {
        self.is_there
    }
}

impl Ledger {
    /// Takes in the watches of a configuration; one that is the same knows what it knew.
    pub(super) fn adopt_watches(&mut self, config: &Config) {
        let old = core::mem::take(&mut self.watch_views);
        for spec in &config.watches {
            let known = old.iter().find(|view| view.spec == *spec).cloned();
            let fresh = WatchView {
                spec: spec.clone(),
                announced: None,
                is_there: None,
                asked: None,
                is_loose: !spec.settle.is_zero(),
            };
            self.watch_views.push(WatchView { asked: None, ..known.unwrap_or(fresh) });
        }
    }

    pub(super) fn on_asked(&mut self, op: ConsulOp, timeout: Duration) {
        let until = self.now + timeout + OVERDUE;
        if let Owner::Watch(watch) = op.owner
            && let Some(view) = self.watch_views.get_mut(watch.index())
        {
            view.asked = Some((op.nth, until));
        }
    }

    pub(super) fn on_answered(&mut self, op: ConsulOp, reply: &ConsulReply) {
        let now = self.now;
        let Owner::Watch(id) = op.owner else { return };
        let Some(view) = self.watch_views.get_mut(id.index()) else { return };
        let Some((_, until)) = view.asked.filter(|(nth, _)| *nth == op.nth) else { return };
        view.asked = None;
        let reading = match reply {
            ConsulReply::Instances { instances, .. } => {
                let mut instances = instances.clone();
                instances.iter_mut().for_each(|instance| instance.tags.sort());
                instances.sort();
                Reading::Instances(instances)
            }
            ConsulReply::Keys { entries, .. } => Reading::Keys(entries.clone()),
            ConsulReply::File(file) => Reading::File(*file),
            ConsulReply::Done
            | ConsulReply::Session { .. }
            | ConsulReply::Acquired { .. }
            | ConsulReply::Failed(_) => return,
        };
        view.is_loose |= now >= until;
        if view.is_loose || view.announced.as_ref() == Some(&reading) {
            return;
        }
        let is_there = reading.count() > 0;
        let was_there = view.announced.replace(reading).map(|before| before.count() > 0);
        view.is_there = Some(is_there);
        let who = Who::Watch(id.0);
        self.expect(Expected::Event(Code::Changed, who));
        if was_there != Some(is_there) {
            let code = if is_there { Code::Healthy } else { Code::Unhealthy };
            self.expect(Expected::Event(code, who));
        }
    }

    /// Notes an event of a watch, and judges it if it was not due.
    pub(super) fn on_watch_said(&mut self, code: Code, watch: u16, was_expected: bool) {
        let Some(view) = self.watch_views.get_mut(usize::from(watch)) else { return };
        match code {
            Code::Healthy => view.is_there = Some(true),
            Code::Unhealthy => view.is_there = Some(false),
            _ => {}
        }
        if !was_expected && !view.is_loose && code != Code::Stale {
            let name = view.spec.name.clone();
            self.blame(format!("the watch \"{name}\" announces {code} and nothing has changed"));
        }
    }
}
