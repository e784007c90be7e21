//! What is done to nodes and to Consul from outside: faults, people and their schedulers, as data.

use core::time::Duration;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steersman_engine::config::Name;
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{Input, RequestId, RunId, RunKind};

use crate::agenda::NodeId;
use crate::catalog::{AgentFault, CatalogFault};
use crate::link::LinkState;
use crate::node::ConfigFile;
use crate::tap::{Level, Seen};
use crate::world::World;

/// Something done to a node from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Action {
    /// Sends a signal to the supervisor.
    Signal(SignalName),
    /// Asks over the control plane.
    Control(Control),
    /// Writes the configuration file.
    WriteConfig(ConfigFile),
    /// Sets the wall clock by so many milliseconds.
    StepWall(i64),
    /// Changes how fast the clocks run, in millionths.
    ClockRate(i32),
    /// Ends a process from elsewhere, as the kernel's memory killer does.
    EndProcess(RunId, ExitStatus),
    /// Stops the supervisor's own process from running; its children go on.
    Pause,
    /// Lets it run again.
    Resume,
    /// Changes what gets through to the Consul agent.
    Link(LinkState),
    /// Changes how long a message to or from the Consul agent takes, at least and at most.
    Latency(Duration, Duration),
    /// Changes how many messages in a million get lost.
    Loss(u32),
    /// Changes how many requests in a million arrive twice.
    Duplication(u32),
    /// Lets something happen to Consul; the node does not matter.
    Catalog(CatalogFault),
    /// Lets something happen to the node's own Consul agent.
    Agent(AgentFault),
    /// Ends the process of a job from elsewhere.
    EndJob(Name, ExitStatus),
    /// Ends the health check of a job from elsewhere, when one runs.
    EndCheck(Name, ExitStatus),
    /// Lets the node's database server answer and do nothing, or work again.
    Break(bool),
    /// Takes the store of backups away, or brings it back; the node does not matter.
    StoreAway(bool),
    /// Lets the container be on another machine from its next start on: that of this node.
    Move(Arc<str>),
    /// Cuts or mends the way between this node and another node, or a client.
    Way {
        /// The other, by name.
        with: Arc<str>,
        /// Whether anything gets through.
        is_open: bool,
    },
    /// Kills the supervisor, and everything with it.
    Crash,
    /// Asks the container to stop, and kills it after so long.
    StopContainer(Duration),
    /// Starts the container when it does not run.
    StartContainer,
    /// Stops everything in the container from running.
    Freeze,
    /// Lets it run again.
    Thaw,
    /// Kills the keeper and lets none be started any more; or lets one be started again.
    BarKeeper(bool),
    /// Writes a file that watches look at; none removes it.
    WriteFile {
        /// Its path.
        path: Box<str>,
        /// Its contents.
        contents: Option<Box<str>>,
    },
    /// Gives the supervisor any input, however nonsensical.
    Inject(Input),
}

impl Action {
    /// Says what is done, and what that means, about the surroundings of a supervisor.
    pub(crate) fn in_words(&self) -> (String, &'static str) {
        match self {
            Action::Link(LinkState::Up) => ("the link to Consul is mended".into(), ""),
            Action::Link(LinkState::Refused) => {
                ("Consul's agent refuses connections".into(), "Every request fails at once.")
            }
            Action::Link(LinkState::CutOut) => {
                ("requests to Consul get lost".into(), "The supervisor waits in vain.")
            }
            Action::Link(LinkState::CutIn) => {
                ("answers of Consul get lost".into(), "Requests are done, and nobody knows.")
            }
            Action::Link(LinkState::Cut) => {
                ("the link to Consul is cut".into(), "The supervisor waits in vain.")
            }
            Action::Latency(least, most) => {
                (format!("messages take {least:?} to {most:?}"), "They may overtake each other.")
            }
            Action::Loss(ppm) => (format!("{ppm} messages in a million get lost"), ""),
            Action::Duplication(ppm) => (format!("{ppm} requests in a million come twice"), ""),
            Action::Catalog(fault) => fault.in_words(),
            Action::Agent(fault) => fault.in_words(),
            Action::EndJob(job, _) => {
                (format!("\"{job}\" is ended from elsewhere"), "As the memory killer does.")
            }
            Action::EndCheck(job, _) => {
                (format!("the check of \"{job}\" is ended from elsewhere"), "")
            }
            Action::Break(true) => {
                ("the database is broken".into(), "It answers, and no query comes to an end.")
            }
            Action::Break(false) => ("the database works again".into(), ""),
            Action::StoreAway(true) => ("the store of backups is away".into(), ""),
            Action::StoreAway(false) => ("the store of backups is there again".into(), ""),
            Action::Move(machine) => {
                (format!("the container moves to the machine of {machine}"), "")
            }
            Action::Way { with, is_open: true } => (format!("the way to {with} is mended"), ""),
            Action::Way { with, is_open: false } => {
                (format!("the way to {with} is cut"), "Neither hears of the other.")
            }
            Action::Crash => ("the container is killed".into(), "Everything in it dies with it."),
            Action::StopContainer(grace) => {
                (format!("the container is to stop within {grace:?}"), "Then it is killed.")
            }
            Action::StartContainer => ("the container is started".into(), ""),
            Action::Freeze => ("the container is frozen".into(), "Nothing in it runs."),
            Action::Thaw => ("the container goes on".into(), "It does not know that time passed."),
            Action::BarKeeper(true) => {
                ("the keeper is killed".into(), "The supervisor alone ends terms in time.")
            }
            Action::BarKeeper(false) => ("a keeper can be started again".into(), ""),
            Action::WriteFile { path, .. } => (format!("{path} changes"), ""),
            other => (format!("{other:?}"), ""),
        }
    }
}

impl World {
    fn end_job(&mut self, id: NodeId, (job, kind): (&Name, RunKind), status: ExitStatus) {
        let node = &self.nodes[id.index()];
        let is_it = |run: &RunId| run.kind == kind && node.job_name(run.job) == *job;
        let run = node.live_runs().find(is_it);
        if let Some(run) = run {
            self.end_process(id, run, status);
        }
    }

    /// Does something to a node, now; gives the name of the answer to expect.
    pub fn act(&mut self, id: NodeId, action: Action) -> Option<RequestId> {
        let now = self.now();
        self.observer.tap().put(Level::Signs, now, id, || Seen::Action(action.clone()));
        let node = &mut self.nodes[id.index()];
        match action {
            Action::Signal(signal) => self.deliver(id, Input::Signal(signal)),
            Action::Control(command) => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.deliver(id, Input::Control { request, command });
                return Some(request);
            }
            Action::WriteConfig(file) => {
                node.file = file;
                self.on_stage_config(id);
            }
            Action::StepWall(by_ms) => {
                node.clock.step_wall(by_ms);
                self.deliver(id, Input::Tick);
            }
            Action::ClockRate(rate_ppm) => {
                node.clock.set_rate(now, rate_ppm);
                self.update_wakeup(id);
                self.update_keeper(id);
            }
            Action::EndProcess(run, status) => self.end_process(id, run, status),
            Action::Pause => {
                node.paused.get_or_insert(node.clock.stamp(now).mono);
                self.observer.on_held(now, id, false);
            }
            Action::Resume if node.frozen.is_some() => {}
            Action::Resume => self.resume(id),
            Action::Link(state) => node.link.state = state,
            Action::Latency(least, most) => node.link.latency = (least, most),
            Action::Loss(per_million) => node.link.loss_ppm = per_million,
            Action::Duplication(per_million) => node.link.duplication_ppm = per_million,
            Action::Catalog(fault) => self.trouble_catalog(&fault),
            Action::Agent(fault) => self.trouble_agent(id, &fault),
            Action::EndJob(job, status) => self.end_job(id, (&job, RunKind::Main), status),
            Action::EndCheck(job, status) => self.end_job(id, (&job, RunKind::Check), status),
            Action::Break(is_broken) => self.set_broken(id, is_broken),
            Action::StoreAway(is_away) => self.set_store(is_away),
            Action::Move(machine) => self.move_to(id, &machine),
            Action::Way { with, is_open } => self.set_way(id, &with, is_open),
            Action::Crash => self.crash(id),
            Action::StopContainer(grace) => self.stop_container(id, grace),
            Action::StartContainer => self.start_container(id),
            Action::Freeze => self.freeze(id),
            Action::Thaw => self.thaw(id),
            Action::BarKeeper(is_barred) => self.bar_keeper(id, is_barred),
            Action::WriteFile { path, contents } => node.write_file(path, contents.as_deref()),
            Action::Inject(input) => self.deliver(id, input),
        }
        None
    }
}
