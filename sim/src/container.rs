//! The container scheduler: lives of a node that end, by themselves or by force, and begin again.

use core::time::Duration;

use serde::{Deserialize, Serialize};
use steersman_engine::event::SignalName;
use steersman_engine::input::ExitStatus;
use steersman_engine::{Input, RunId};

use crate::agenda::{Happening, NodeId};
use crate::node::State;
use crate::observer::Fact;
use crate::program::cue::Cue;
use crate::random::mix;
use crate::tap::{Level, Seen};
use crate::world::World;

/// What the scheduler does when a container has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RestartPolicy {
    /// Nothing.
    #[default]
    Never,
    /// Starts it again after so long.
    Always(Duration),
    /// Starts it again after so long when its status was not 0.
    OnFailure(Duration),
}

impl World {
    /// Kills the supervisor; its processes die with it, its connections break.
    pub(crate) fn crash(&mut self, id: NodeId) {
        if self.nodes[id.index()].exit.is_some() {
            return;
        }
        let now = self.now();
        self.observer.tap().put(Level::Signs, now, id, || Seen::Killed);
        self.end_life(id, ExitStatus::Signal(9).code());
    }

    /// Asks the container to stop, and kills it after a grace period, as `docker stop` does.
    pub(crate) fn stop_container(&mut self, id: NodeId, grace: Duration) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        node.is_wanted = false;
        node.starts_again = false;
        self.agenda.remove(id, Happening::Birth);
        if self.nodes[id.index()].exit.is_none() {
            self.agenda.put(now + grace, id, Happening::GraceOver);
            self.deliver(id, Input::Signal(SignalName::Term));
        }
    }

    /// Starts a container that does not run.
    pub(crate) fn start_container(&mut self, id: NodeId) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        node.is_wanted = true;
        if node.exit.is_some() {
            self.agenda.put(now, id, Happening::Birth);
        } else if self.agenda.is_due(id, Happening::GraceOver).is_some() {
            self.nodes[id.index()].starts_again = true;
        }
    }

    /// Gives the container a new life, with what its configuration file says now.
    pub(crate) fn on_birth(&mut self, id: NodeId) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        if node.exit.is_none() || !node.is_wanted {
            return;
        }
        let Ok(config) = node.file.clone() else { return };
        self.agenda.remove(id, Happening::Birth);
        let node = &mut self.nodes[id.index()];
        node.lives += 1;
        let seed = mix(node.seed ^ u64::from(node.lives));
        node.engine = node.engine.reborn(config.clone(), seed);
        node.begin_life(&config);
        self.observer.on_life(id, &config);
        self.observer.tap().put(Level::Signs, now, id, || Seen::Born(Box::new(config)));
        self.start_inner_agent(id);
        if self.stage.is_some() {
            self.on_stage_birth(id);
        }
        self.agenda.put(now, id, Happening::Begin);
    }

    /// The supervisor is over, in whatever way: nothing of the container is left.
    pub(crate) fn end_life(&mut self, id: NodeId, status: u8) {
        let now = self.now();
        self.hang_up(id);
        self.stop_inner_agent(id);
        self.agenda.remove_node(id);
        self.observer.on_killed(id);
        let node = &mut self.nodes[id.index()];
        node.exit = Some((now, status));
        node.paused = None;
        node.held.clear();
        node.frozen = None;
        node.keeper.end();
        let processes = core::mem::take(&mut node.processes);
        let after = match node.restart {
            RestartPolicy::Always(after) => Some(after),
            RestartPolicy::OnFailure(after) if status != 0 => Some(after),
            RestartPolicy::OnFailure(_) | RestartPolicy::Never => None,
        };
        let again = core::mem::take(&mut node.starts_again).then_some(Duration::ZERO);
        let after = again.or(after).filter(|_| node.is_wanted);
        for (run, process) in processes.iter() {
            if self.stage.is_some() {
                self.on_stage_ended(id, run);
            }
            if let State::Running { .. } = process.state {
                self.observe(id, Fact::ProcessEnded(run, ExitStatus::Signal(9)));
            }
            self.observe(id, Fact::TreeGone(run));
        }
        if self.stage.is_some() {
            self.tell_truth();
        }
        if let Some(after) = after {
            self.agenda.put(now + after, id, Happening::Birth);
        }
    }

    /// Stops everything in the container from running, the supervisor as well.
    pub(crate) fn freeze(&mut self, id: NodeId) {
        let now = self.now();
        let node = &mut self.nodes[id.index()];
        if node.exit.is_some() || node.frozen.is_some() {
            return;
        }
        let runs: Vec<_> = node.processes.keys().collect();
        let mut held = Vec::new();
        for run in runs {
            for happening in happenings_of(run) {
                if let Some(due) = self.agenda.is_due(id, happening) {
                    self.agenda.remove(id, happening);
                    held.push((due.since(now), happening));
                }
            }
        }
        let node = &mut self.nodes[id.index()];
        node.frozen = Some(held);
        node.paused.get_or_insert(node.clock.stamp(now).mono);
        self.update_keeper(id);
        self.observer.on_held(now, id, true);
        if self.stage.is_some() {
            self.tell_truth();
        }
    }

    /// Lets everything in the container run again.
    pub(crate) fn thaw(&mut self, id: NodeId) {
        let now = self.now();
        let Some(held) = self.nodes[id.index()].frozen.take() else { return };
        for (left, happening) in held {
            self.agenda.put(now + left, id, happening);
            if let Happening::Ended(run) = happening
                && let Some(process) = self.nodes[id.index()].processes.get_mut(&run)
            {
                process.put_off(now + left);
            }
        }
        self.update_keeper(id);
        self.resume(id);
        if self.stage.is_some() {
            self.on_stage_thawed(id);
        }
    }
}

/// What may be due for a run.
const fn happenings_of(run: RunId) -> [Happening; 4] {
    let step = Happening::Stage(Cue::Step(run));
    [Happening::Started(run), Happening::Ended(run), Happening::TreeGone(run), step]
}

/// What was due when a container was frozen, with the time that was left.
pub(crate) type Frozen = Vec<(Duration, Happening)>;
