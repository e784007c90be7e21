//! One container: an unmodified engine, its clocks, its processes and its configuration file.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::config::{Config, Name, Signal};
use steersman_engine::consul::{ConsulOp, FileState};
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{Engine, Input, JobId, RunId, RunKind, Time};

use crate::catalog::{Files, Pending};
use crate::clock::NodeClock;
use crate::container::{Frozen, RestartPolicy};
use crate::keeper::Keeper;
use crate::link::Link;
use crate::random::mix;
use crate::runs::Runs;
use crate::script::{Life, Memo, Script};

/// How long a machine has been up when a node begins, unless it says otherwise: no grid may count
/// from the clock's zero.
pub const UPTIME: Duration = Duration::from_nanos(1_234_567_890_123_456);

/// What a new node is made of.
#[derive(Clone, Debug)]
pub struct NodeSetup {
    /// The name, for people.
    pub name: Arc<str>,
    /// What it begins with.
    pub config: Config,
    /// Its clocks.
    pub clock: NodeClock,
    /// Seeds the engine.
    pub engine_seed: u64,
    /// How long reading the configuration file takes.
    pub load_delay: Duration,
    /// The way to its Consul agent.
    pub link: Link,
    /// Which agent; its own client agent where there is one, else the first server, when absent.
    pub agent: Option<usize>,
    /// What the scheduler does when it has ended.
    pub restart: RestartPolicy,
    /// Whether the agent runs in the container: it ends with it and remembers nothing.
    pub has_agent_inside: bool,
    /// Whether it begins at once; somebody starts it later otherwise.
    pub begins: bool,
}

impl NodeSetup {
    /// Builds a node whose clocks have been running for long, at the true rate.
    pub fn new(name: &str, config: Config) -> NodeSetup {
        NodeSetup {
            name: Arc::from(name),
            config,
            clock: NodeClock::new(UPTIME, 0),
            engine_seed: 0,
            load_delay: Duration::from_millis(5),
            link: Link::default(),
            agent: None,
            restart: RestartPolicy::Never,
            has_agent_inside: false,
            begins: true,
        }
    }
}

/// What the configuration file says at the moment: a configuration, or what is wrong with it.
pub type ConfigFile = Result<Config, Box<str>>;

/// One container.
#[derive(Clone, Debug)]
pub struct Node {
    pub(crate) name: Arc<str>,
    pub(crate) engine: Engine,
    pub(crate) clock: NodeClock,
    pub(crate) processes: Runs<Process>,
    pub(crate) file: ConfigFile,
    pub(crate) load_delay: Duration,
    pub(crate) loads: u32,
    /// What was in the file when it was read; the engine does not know yet.
    pub(crate) readings: BTreeMap<u32, ConfigFile>,
    pub(crate) pids: u32,
    /// Since when, on its own clock, the supervisor's process does not run.
    pub(crate) paused: Option<Time>,
    pub(crate) held: Vec<Input>,
    pub(crate) exit: Option<(Time, u8)>,
    pub(crate) link: Link,
    pub(crate) agent: Option<usize>,
    pub(crate) requests: BTreeMap<ConsulOp, Pending>,
    pub(crate) files: Files,
    /// Counts the lives of the container, from 0.
    pub(crate) lives: u32,
    pub(crate) seed: u64,
    pub(crate) restart: RestartPolicy,
    /// Whether the scheduler wants it to run.
    pub(crate) is_wanted: bool,
    /// Whether it was to start again while it was still stopping.
    pub(crate) starts_again: bool,
    pub(crate) has_agent_inside: bool,
    /// How many processes of each job and kind earlier lives asked for.
    earlier: BTreeMap<(Name, RunKind), u32>,
    /// The newest process of each job and kind in this life.
    newest: BTreeMap<(JobId, RunKind), u32>,
    pub(crate) frozen: Option<Frozen>,
    pub(crate) keeper: Keeper,
    /// By slot.
    names: Vec<Name>,
    /// By slot and kind.
    memos: Vec<Memo>,
}

impl Node {
    pub(crate) fn new(setup: NodeSetup, engine: Engine) -> Node {
        let names = setup.config.jobs.iter().map(|job| job.name.clone()).collect();
        Node {
            name: setup.name,
            engine,
            clock: setup.clock,
            processes: Runs::new(),
            file: Ok(setup.config),
            load_delay: setup.load_delay,
            loads: 0,
            readings: BTreeMap::new(),
            pids: 1,
            paused: None,
            held: Vec::new(),
            exit: (!setup.begins).then_some((Time(0), 0)),
            link: setup.link,
            agent: setup.agent,
            requests: BTreeMap::new(),
            files: Files::new(),
            lives: 0,
            seed: setup.engine_seed,
            restart: setup.restart,
            is_wanted: setup.begins,
            starts_again: false,
            has_agent_inside: setup.has_agent_inside,
            earlier: BTreeMap::new(),
            newest: BTreeMap::new(),
            frozen: None,
            keeper: Keeper::default(),
            names,
            memos: Vec::new(),
        }
    }

    /// Forgets everything that a container forgets when it ends.
    pub(crate) fn begin_life(&mut self, config: &Config) {
        self.exit = None;
        for ((job, kind), nth) in core::mem::take(&mut self.newest) {
            *self.earlier.entry((self.job_name(job), kind)).or_insert(0) += nth;
        }
        self.processes.clear();
        self.requests.clear();
        self.readings.clear();
        self.names = config.jobs.iter().map(|job| job.name.clone()).collect();
    }

    /// Gives the number of a process among all of its job and kind, over all lives.
    pub(crate) fn number_of(&self, run: RunId) -> u32 {
        if self.earlier.is_empty() {
            return run.nth;
        }
        let earlier = self.earlier.get(&(self.job_name(run.job), run.kind));
        earlier.map_or(run.nth, |earlier| earlier + run.nth)
    }

    /// Notes that a process is asked for.
    pub(crate) fn note_start(&mut self, run: RunId) {
        self.newest.insert((run.job, run.kind), run.nth);
    }

    /// Counts the lives of the container, from 0.
    pub const fn lives(&self) -> u32 {
        self.lives
    }

    /// Tells whether its supervisor is kept from running.
    pub const fn is_held(&self) -> bool {
        self.paused.is_some()
    }

    /// Tells whether nothing in the container runs.
    pub const fn is_frozen(&self) -> bool {
        self.frozen.is_some()
    }

    /// Gives the engine, to be read.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Gives the name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells when and how the supervisor ended.
    pub const fn exit(&self) -> Option<(Time, u8)> {
        self.exit
    }

    /// Gives the runs that have something running at the moment.
    pub fn live_runs(&self) -> impl Iterator<Item = RunId> {
        let is_live = |process: &&Process| process.state != State::Starting;
        self.processes.iter().filter(move |(_, process)| is_live(process)).map(|(run, _)| run)
    }

    /// Gives the name of the job in a slot, also of one that has just been removed.
    pub(crate) fn job_name(&self, id: JobId) -> Name {
        let known = || self.names.get(id.index()).cloned();
        let current = self.engine.job(id).map(|job| job.name.clone());
        current.or_else(known).unwrap_or_else(|| Name::from(format!("#{}", id.0)))
    }

    /// Remembers the name of the job in a slot for when it is removed.
    pub(crate) fn learn_name(&mut self, id: JobId) -> Name {
        let name = self.job_name(id);
        for slot in self.names.len()..=id.index() {
            self.names.push(Name::from(format!("#{slot}")));
        }
        if !Arc::ptr_eq(&self.names[id.index()], &name) {
            self.names[id.index()] = name.clone();
        }
        name
    }

    /// Writes a file that watches may look at, or removes it.
    pub(crate) fn write_file(&mut self, path: Box<str>, contents: Option<&str>) {
        let Some(contents) = contents else {
            self.files.remove(&path);
            return;
        };
        let hash = contents.bytes().fold(0, |hash, byte| mix(hash ^ u64::from(byte)));
        self.files.insert(path, FileState { size: contents.len() as u64, hash });
    }

    /// Gives what is remembered of how the runs of a job, or of its check, behave.
    pub(crate) fn memo(&mut self, run: RunId) -> &mut Memo {
        let row = run.job.index() * 2 + usize::from(run.kind == RunKind::Check);
        if row >= self.memos.len() {
            self.memos.resize_with(row + 1, Memo::default);
        }
        &mut self.memos[row]
    }

    pub(crate) fn next_pid(&mut self) -> u32 {
        self.pids += 1;
        self.pids
    }
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It was asked for.
    Starting,
    /// It runs; it will end like this, if an end is due.
    Running { end: Option<(Time, ExitStatus)>, group: Group },
    /// It has ended; a child is left in its group.
    LeftBehind,
}

/// Whether the group holds more than the first process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Only the first process.
    Alone,
    /// The first process and a child that stays behind.
    WithChild,
}

/// One process, or what is left of it.
#[derive(Clone, Debug)]
pub(crate) struct Process {
    pub(crate) script: Arc<Script>,
    pub(crate) state: State,
    /// Whether it was killed before it ran: it never gets as far as its program then.
    is_doomed: bool,
}

impl Process {
    pub(crate) const fn new(script: Arc<Script>) -> Process {
        Process { script, state: State::Starting, is_doomed: false }
    }

    /// Starts to run; gives when it ends by itself.
    pub(crate) fn on_started(&mut self, now: Time) -> Option<Time> {
        let group = match self.script.leaves {
            Some(_) if !self.is_doomed => Group::WithChild,
            Some(_) | None => Group::Alone,
        };
        let end = match self.script.life {
            _ if self.is_doomed => Some((now, ExitStatus::Signal(Signal::KILL.0))),
            Life::Endless => None,
            Life::Ends { after, status } => Some((now + after, status)),
        };
        self.state = State::Running { end, group };
        end.map(|(at, _)| at)
    }

    /// Gets a signal; gives when the first process ends, or the rest is gone, because of it.
    pub(crate) fn on_signal(&mut self, now: Time, signal: Signal) -> Option<Time> {
        let reaction = self.script.reaction(signal).map(|(after, status)| (now + after, status));
        let spares_child = signal != Signal::KILL && !self.is_child_polite();
        match self.state {
            State::Starting => {
                self.is_doomed |= signal == Signal::KILL && self.script.killed_after.is_some();
                None
            }
            State::Running { end, group } => {
                let group = if spares_child { group } else { Group::Alone };
                let end = match (end, reaction) {
                    (Some(end), Some(reaction)) => Some(sooner(end, reaction)),
                    (end, reaction) => end.or(reaction),
                };
                self.state = State::Running { end, group };
                end.map(|(at, _)| at)
            }
            State::LeftBehind if spares_child => None,
            State::LeftBehind => Some(now + self.script.killed_after?),
        }
    }

    /// Its container has stood still: the end that was due comes so much later.
    pub(crate) const fn put_off(&mut self, until: Time) {
        if let State::Running { end: Some((at, _)), .. } = &mut self.state {
            *at = until;
        }
    }

    /// Ends; tells how, and whether something is left and for how long.
    pub(crate) fn on_ended(&mut self, now: Time) -> (ExitStatus, Tree, Option<Time>) {
        let State::Running { end, group } = self.state else {
            return (ExitStatus::Code(0), Tree::Gone, None);
        };
        let status = end.map_or(ExitStatus::Code(0), |(_, status)| status);
        match (group, self.script.leaves) {
            (Group::WithChild, Some(child)) => {
                self.state = State::LeftBehind;
                (status, Tree::Left, child.lasts.map(|lasts| now + lasts))
            }
            _ => (status, Tree::Gone, None),
        }
    }

    fn is_child_polite(&self) -> bool {
        matches!(self.script.leaves, Some(child) if child.polite)
    }
}

fn sooner(one: (Time, ExitStatus), other: (Time, ExitStatus)) -> (Time, ExitStatus) {
    if other.0 < one.0 { other } else { one }
}

#[cfg(test)]
mod tests {
    use steersman_engine::config::Signal;

    use super::*;

    #[test]
    fn signal_after_a_thaw_makes_no_end_come_that_was_put_off() {
        let seconds = Duration::from_secs;
        let script = Script::ends(seconds(10), 0).ignores_stop();
        let mut process = Process::new(Arc::new(script));
        assert_eq!(process.on_started(Time(0)), Some(Time(0) + seconds(10)));
        process.put_off(Time(0) + seconds(70));
        let due = process.on_signal(Time(0) + seconds(66), Signal::TERM);
        assert_eq!(due, Some(Time(0) + seconds(70)));
    }
}
