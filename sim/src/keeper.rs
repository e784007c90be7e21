//! The keeper of each container: a process beside the supervisor that kills what is left of a term
//! when its time is over. It goes on while the supervisor's own process is stopped; when the whole
//! container is frozen, so is it.

use core::time::Duration;
use std::collections::BTreeMap;

use steersman_engine::config::Signal;
use steersman_engine::id::LockId;
use steersman_engine::input::{KeeperNews, KeeperPowers};
use steersman_engine::{Input, JobId, RunId, Time};

use crate::agenda::{Happening, NodeId};
use crate::node::State;
use crate::world::World;

/// How late it is. A supervisor that runs kills at the very time.
const LATENESS: Duration = Duration::from_millis(5);

/// One container's keeper.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keeper {
    /// What it was told.
    guards: BTreeMap<LockId, (Time, Vec<JobId>)>,
    /// Whether it was started, or tried to be, and nobody has heard how that went.
    is_new: bool,
    /// Whether none can be started.
    is_barred: bool,
}

impl Keeper {
    /// Ends with its container.
    pub(crate) fn end(&mut self) {
        self.guards.clear();
        self.is_new = false;
    }
}

impl World {
    /// A supervisor tells its keeper something; the first time starts it.
    pub(crate) fn on_guard(
        &mut self,
        id: NodeId,
        lock: LockId,
        until: Option<Time>,
        jobs: Vec<JobId>,
    ) {
        let keeper = &mut self.nodes[id.index()].keeper;
        match until {
            Some(until) => {
                keeper.is_new |= keeper.guards.is_empty();
                keeper.guards.insert(lock, (until, jobs));
            }
            None => {
                keeper.guards.remove(&lock);
            }
        }
        self.update_keeper(id);
    }

    /// A keeper that was just started says that it is there.
    pub(crate) fn greet_keeper(&mut self, id: NodeId) {
        let keeper = &mut self.nodes[id.index()].keeper;
        if !core::mem::take(&mut keeper.is_new) {
            return;
        }
        let powers = KeeperPowers { is_realtime: true, is_locked: true, is_spared: true };
        let news = match keeper.is_barred {
            false => KeeperNews::Ready(powers),
            true => {
                keeper.end();
                KeeperNews::Lost("none can be started".into())
            }
        };
        self.update_keeper(id);
        self.deliver(id, Input::Keeper(news));
    }

    /// Kills the keeper and lets none be started any more; or lets one be started again.
    pub(crate) fn bar_keeper(&mut self, id: NodeId, is_barred: bool) {
        let keeper = &mut self.nodes[id.index()].keeper;
        let was_there = !keeper.guards.is_empty();
        keeper.is_barred = is_barred;
        if is_barred && was_there {
            keeper.end();
            self.update_keeper(id);
            self.deliver(id, Input::Keeper(KeeperNews::Lost("killed".into())));
        }
    }

    pub(crate) fn update_keeper(&mut self, id: NodeId) {
        let node = &self.nodes[id.index()];
        let next = node.keeper.guards.values().map(|(until, _)| *until).min();
        match next.filter(|_| node.frozen.is_none() && node.exit.is_none()) {
            None => self.agenda.remove(id, Happening::Guard),
            Some(until) => {
                let at = node.clock.world_at(until + LATENESS).max(self.now());
                self.agenda.put(at, id, Happening::Guard);
            }
        }
    }

    /// The time of a term is over, and nobody has told the keeper otherwise.
    pub(crate) fn on_guard_due(&mut self, id: NodeId) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        let mono = node.clock.stamp(now).mono;
        let mut due: Vec<JobId> = Vec::new();
        node.keeper.guards.retain(|_, (until, jobs)| {
            let is_due = *until <= mono;
            if is_due {
                due.append(jobs);
            }
            !is_due
        });
        let runs: Vec<RunId> = node.live_runs().filter(|run| due.contains(&run.job)).collect();
        for run in runs {
            self.kill(id, run);
        }
        self.update_keeper(id);
    }

    fn kill(&mut self, id: NodeId, run: RunId) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        let is_held = node.paused.is_some();
        let Some(process) = node.processes.get_mut(&run) else { return };
        let happening = match process.state {
            State::LeftBehind => Happening::TreeGone(run),
            State::Starting | State::Running { .. } => Happening::Ended(run),
        };
        let Some(due) = process.on_signal(now, Signal::KILL) else { return };
        let known = self.agenda.is_due(id, happening);
        if !is_held && known.is_none_or(|known| due < known) {
            self.observer.blame(now, id, "the keeper had to end what its supervisor should have");
        }
        self.agenda.put(known.map_or(due, |known| known.min(due)), id, happening);
    }
}
