//! The world: nodes, one clock above all, and what is due next.

use core::time::Duration;

use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{Effect, Engine, Input, RunId, Stamp, Time};

pub use crate::action::Action;
use crate::agenda::{Agenda, Happening, NodeId, Ties};
use crate::catalog::Catalog;
use crate::node::{Node, NodeSetup, Process, State};
use crate::observer::{Fact, Observer};
use crate::program::stage::Stage;
use crate::random::{Random, mix};
use crate::script::{Playbook, Start};
use crate::tap::{Level, Seen};

/// So many steps for each job and node without time passing is standing still.
const STEPS_AT_ONE_INSTANT_MAX: u32 = 500;

/// The whole simulated world.
#[derive(Clone, Debug)]
pub struct World {
    pub(crate) random: Random,
    now: Time,
    pub(crate) nodes: Vec<Node>,
    pub(crate) agenda: Agenda,
    pub(crate) catalog: Option<Box<Catalog>>,
    pub(crate) stage: Option<Box<Stage>>,
    playbook: Playbook,
    pub(crate) observer: Observer,
    pub(crate) requests: u64,
    steps: u64,
    steps_at_now: u32,
    steps_at_now_max: u32,
    fingerprint: u64,
    /// Room for the effects of an input, used again and again.
    room: Vec<Effect>,
}

impl World {
    /// Builds an empty world; the seed decides everything that the playbook leaves open.
    pub fn new(seed: u64) -> World {
        World {
            random: Random::new(seed),
            now: Time(0),
            nodes: Vec::new(),
            agenda: Agenda::new(Ties::ByName),
            catalog: None,
            stage: None,
            playbook: Playbook::default(),
            observer: Observer::default(),
            requests: 0,
            steps: 0,
            steps_at_now: 0,
            steps_at_now_max: 0,
            fingerprint: 0,
            room: Vec::new(),
        }
    }

    /// Lets the seed decide the order of what is due at the same instant.
    ///
    /// To be called before the first node comes.
    pub fn draw_ties(&mut self) {
        self.agenda = Agenda::new(Ties::Drawn(self.random.stream("ties")));
    }

    /// Adds a node and gives its engine a chance to be prepared; it begins at once.
    pub fn add_node(&mut self, setup: NodeSetup, prepare: impl FnOnce(&mut Engine)) -> NodeId {
        let id = NodeId(u16::try_from(self.nodes.len()).expect("fewer than 65,536 nodes"));
        let mut engine = Engine::new(setup.config.clone(), setup.engine_seed);
        prepare(&mut engine);
        let parts = u32::try_from(setup.config.jobs.len()).unwrap_or(u32::MAX).saturating_add(1);
        let more = parts.saturating_mul(STEPS_AT_ONE_INSTANT_MAX);
        self.steps_at_now_max = self.steps_at_now_max.saturating_add(more);
        self.observer.on_node(&setup.config);
        let begins = setup.begins;
        self.nodes.push(Node::new(setup, engine));
        self.add_room(id);
        if begins {
            self.agenda.put(self.now, id, Happening::Begin);
        } else {
            self.stop_inner_agent(id);
        }
        id
    }

    /// Gives how everything behaves, to be changed.
    pub const fn playbook(&mut self) -> &mut Playbook {
        &mut self.playbook
    }

    /// Jumps to the next thing that is due and lets it happen.
    pub fn step(&mut self) -> Option<(Time, NodeId, Happening)> {
        let (at, id, happening) = self.agenda.pop()?;
        if at > self.now {
            self.now = at;
            self.steps_at_now = 0;
        }
        self.steps += 1;
        self.steps_at_now += 1;
        if self.steps_at_now > self.steps_at_now_max {
            self.observer.blame(self.now, id, "time stands still: the engine asks for ever");
            self.agenda.remove_node(id);
            return None;
        }
        self.happen(id, happening);
        Some((at, id, happening))
    }

    /// Lets everything happen that is due until `end`, and moves the clock there.
    pub fn run_until(&mut self, end: Time) {
        while self.agenda.next_due().is_some_and(|due| due <= end) {
            self.step();
        }
        self.now = self.now.max(end);
        self.steps_at_now = 0;
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    /// Runs until something holds; tells whether it does before so much time has passed.
    pub fn run_until_holds(
        &mut self,
        limit: Duration,
        mut holds: impl FnMut(&World) -> bool,
    ) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if self.agenda.next_due().is_none_or(|due| due > end) {
                self.now = self.now.max(end);
                return holds(self);
            }
            self.step();
        }
        true
    }

    /// Gives the time.
    pub const fn now(&self) -> Time {
        self.now
    }

    /// Tells when something happens next.
    pub fn next_due(&self) -> Option<Time> {
        self.agenda.next_due()
    }

    /// Gives a node.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// Gives every node.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        (0..).map(NodeId).zip(&self.nodes)
    }

    /// Ends the story: whatever was due by now and has not come is missing.
    pub fn close(&mut self) {
        for index in 0..self.nodes.len() {
            let node = &self.nodes[index];
            if node.exit.is_none() && node.paused.is_none() {
                let mono = node.clock.stamp(self.now).mono;
                self.observer.on_world_end(self.now, mono, NodeId(index as u16));
            }
        }
    }

    /// Gives what was seen.
    pub const fn observer(&self) -> &Observer {
        &self.observer
    }

    /// Gives the observer, to set what it keeps.
    pub const fn observer_mut(&mut self) -> &mut Observer {
        &mut self.observer
    }

    /// Gives everything that is due, in order.
    pub fn agenda(&self) -> impl Iterator<Item = (Time, NodeId, Happening)> {
        self.agenda.entries()
    }

    /// Moves something to another instant, or puts it in: a search decides when it happens.
    ///
    /// A process that would run for ever has no end on the agenda until one is put there.
    pub fn reschedule(&mut self, at: Time, id: NodeId, happening: Happening) {
        self.agenda.put(at.max(self.now), id, happening);
    }

    /// Gives how many things have happened.
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// Gives a hash of every state every engine was ever in, in order.
    pub const fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn happen(&mut self, id: NodeId, happening: Happening) {
        match happening {
            Happening::Begin => self.deliver(id, Input::Begin),
            Happening::Wakeup => self.deliver(id, Input::Tick),
            Happening::Reaches(op) => self.on_reaches(id, op),
            Happening::Answer(op) => self.on_answer(id, op),
            Happening::Expires(op) => self.on_expires(id, op),
            Happening::Birth => self.on_birth(id),
            Happening::GraceOver => self.crash(id),
            Happening::Guard => self.on_guard_due(id),
            Happening::Catalog => self.on_catalog_due(),
            Happening::Stage(cue) => self.on_cue(id, cue),
            Happening::Started(run) => self.on_started(id, run),
            Happening::StartFailed(run) => self.on_start_failed(id, run),
            Happening::Ended(run) => self.on_ended(id, run),
            Happening::TreeGone(run) => self.on_tree_gone(id, run),
            Happening::Loaded(nth) => {
                let Some(file) = self.nodes[id.index()].readings.remove(&nth) else { return };
                self.deliver(id, Input::Loaded { config: file.map(Box::new) });
            }
        }
    }

    fn on_started(&mut self, id: NodeId, run: RunId) {
        let node = &mut self.nodes[id.index()];
        let pid = node.next_pid();
        let Some(process) = node.processes.get_mut(&run) else { return };
        if let Some(end) = process.on_started(self.now) {
            self.agenda.put(end, id, Happening::Ended(run));
        }
        self.observe(id, Fact::ProcessStarted(run));
        self.deliver(id, Input::Started { run, pid });
        if self.stage.is_some() {
            self.on_stage_started(id, run);
        }
    }

    fn on_start_failed(&mut self, id: NodeId, run: RunId) {
        let Some(process) = self.nodes[id.index()].processes.remove(&run) else { return };
        let reason = match &process.script.start {
            Start::Fails { reason, .. } => Box::from(&**reason),
            Start::After(_) | Start::Hangs => Box::from("the script changed"),
        };
        self.observe(id, Fact::TreeGone(run));
        self.deliver(id, Input::StartFailed { run, reason });
    }

    fn on_ended(&mut self, id: NodeId, run: RunId) {
        let node = &mut self.nodes[id.index()];
        let Some(process) = node.processes.get_mut(&run) else { return };
        let output = Box::from(&*process.script.output);
        let (status, tree, gone_at) = process.on_ended(self.now);
        self.observe(id, Fact::ProcessEnded(run, status));
        match tree {
            Tree::Gone => {
                self.nodes[id.index()].processes.remove(&run);
                self.observe(id, Fact::TreeGone(run));
            }
            Tree::Left => {
                self.agenda.put(gone_at.unwrap_or(Time::NEVER), id, Happening::TreeGone(run));
            }
        }
        if self.stage.is_some() {
            self.on_stage_ended(id, run);
        }
        self.deliver(id, Input::Exited { run, status, tree, output });
    }

    fn on_tree_gone(&mut self, id: NodeId, run: RunId) {
        if self.nodes[id.index()].processes.remove(&run).is_some() {
            self.observe(id, Fact::TreeGone(run));
            self.deliver(id, Input::TreeGone { run });
        }
    }

    pub(crate) fn end_process(&mut self, id: NodeId, run: RunId, status: ExitStatus) {
        let Some(process) = self.nodes[id.index()].processes.get_mut(&run) else { return };
        if let State::Running { end, .. } = &mut process.state {
            *end = Some((self.now, status));
            self.agenda.remove(id, Happening::Ended(run));
            self.on_ended(id, run);
        }
    }

    pub(crate) fn resume(&mut self, id: NodeId) {
        let node = &mut self.nodes[id.index()];
        let Some(since) = node.paused.take() else { return };
        let mono = node.clock.stamp(self.now).mono;
        let missed = mono.since(since);
        self.observer.on_resumed(self.now, mono, id, missed);
        let held = core::mem::take(&mut node.held);
        held.into_iter().for_each(|input| self.deliver(id, input));
        self.deliver(id, Input::Tick);
    }

    /// Gives an input to a node's engine and carries out what it wants.
    pub(crate) fn deliver(&mut self, id: NodeId, input: Input) {
        let node = &mut self.nodes[id.index()];
        if node.exit.is_some() {
            return;
        }
        if node.paused.is_some() {
            if input != Input::Tick {
                node.held.push(input);
            }
            return;
        }
        let stamp = node.clock.stamp(self.now);
        let line = || Seen::Input(stamp, Box::new(input.clone()));
        self.observer.tap().put(Level::Everything, self.now, id, line);
        let overdue = overdue(&node.engine, stamp, &input);
        let mut effects = core::mem::take(&mut self.room);
        let input = match overdue {
            None => {
                self.observer.on_input(self.now, stamp, id, &input);
                node.engine.handle(stamp, input, &mut effects);
                None
            }
            Some(_) => {
                node.engine.handle(stamp, input.clone(), &mut effects);
                Some(input)
            }
        };
        let digest = node.engine.digest();
        self.fingerprint = mix(mix(self.fingerprint ^ digest) ^ self.now.0);
        let mut left = effects.drain(..);
        if let (Some(overdue), Some(input)) = (overdue, input) {
            self.observer.on_timers(self.now, stamp, id);
            let first: Vec<_> = left.by_ref().take(overdue.len()).collect();
            if first != overdue {
                self.observer.blame(self.now, id, "what was due did not come before the input");
            }
            first.into_iter().for_each(|effect| self.carry_out(id, stamp.mono, effect));
            self.observer.on_settled(self.now, id);
            self.observer.on_input(self.now, stamp, id, &input);
        }
        left.for_each(|effect| self.carry_out(id, stamp.mono, effect));
        self.room = effects;
        self.observer.on_settled(self.now, id);
        self.observer.tap().put(Level::Everything, self.now, id, || Seen::Digest(digest));
        self.update_wakeup(id);
        self.greet_keeper(id);
    }

    fn carry_out(&mut self, id: NodeId, mono: Time, effect: Effect) {
        let node = &mut self.nodes[id.index()];
        self.observer.on_effect(self.now, mono, id, &effect, |job| node.job_name(job));
        match effect {
            Effect::Start { run, .. } => self.start(id, run),
            Effect::Signal { run, signal } => {
                let Some(process) = node.processes.get_mut(&run) else { return };
                let due = process.on_signal(self.now, signal);
                let happening = match process.state {
                    State::LeftBehind => Happening::TreeGone(run),
                    State::Starting | State::Running { .. } => Happening::Ended(run),
                };
                let Some(due) = due else { return };
                let known = self.agenda.is_due(id, happening);
                self.agenda.put(known.map_or(due, |known| known.min(due)), id, happening);
            }
            Effect::LoadConfig => {
                node.loads += 1;
                node.readings.insert(node.loads, node.file.clone());
                let due = self.now + node.load_delay;
                self.agenda.put(due, id, Happening::Loaded(node.loads));
            }
            Effect::Exit { status } => self.end_life(id, status),
            Effect::Consul { op, request, timeout } => self.ask(id, op, request, timeout),
            Effect::WriteFile { path, contents } => node.write_file(path, contents.as_deref()),
            Effect::SetVariable { name, value } if self.stage.is_some() => {
                self.on_stage_variable(id, &name, value.as_deref());
            }
            Effect::Guard { lock, until, jobs } => self.on_guard(id, lock, until, jobs),
            Effect::Snapshot { .. }
            | Effect::SetVariable { .. }
            | Effect::Published(_)
            | Effect::Metric { .. }
            | Effect::Log(_)
            | Effect::Reply { .. }
            | Effect::Applied(_)
            | Effect::ReopenLogs => {}
        }
    }

    fn start(&mut self, id: NodeId, run: RunId) {
        let node = &mut self.nodes[id.index()];
        node.note_start(run);
        let number = node.number_of(run);
        let key = (id, node.learn_name(run.job), run.kind);
        let script = self.playbook.part(node.memo(run), &key, self.now, number);
        let cast = || Seen::Cast(run, number, key.1, script.clone());
        self.observer.tap().put(Level::Everything, self.now, id, cast);
        let (due, happening) = match &script.start {
            Start::After(after) => (self.now + *after, Happening::Started(run)),
            Start::Fails { after, .. } => (self.now + *after, Happening::StartFailed(run)),
            Start::Hangs => (Time::NEVER, Happening::Started(run)),
        };
        self.agenda.put(due, id, happening);
        node.processes.insert(run, Process::new(script));
    }

    pub(crate) fn update_wakeup(&mut self, id: NodeId) {
        let node = &self.nodes[id.index()];
        if node.exit.is_some() {
            return;
        }
        match node.engine.next_wakeup() {
            None => self.agenda.remove(id, Happening::Wakeup),
            Some(local) => {
                let due = node.clock.world_at(local).max(self.now);
                self.agenda.put(due, id, Happening::Wakeup);
            }
        }
    }

    pub(crate) fn observe(&mut self, id: NodeId, fact: Fact) {
        let node = &mut self.nodes[id.index()];
        let mono = node.clock.stamp(self.now).mono;
        self.observer.on_fact(self.now, mono, id, fact);
    }
}

/// Gives what was due before an input that comes with it: timers come first, each as if time had
/// passed and nothing else had happened.
fn overdue(engine: &Engine, stamp: Stamp, input: &Input) -> Option<Vec<Effect>> {
    let is_due = engine.next_wakeup().is_some_and(|due| due <= stamp.mono);
    if !is_due || *input == Input::Tick {
        return None;
    }
    let mut effects = Vec::new();
    engine.clone().handle(stamp, Input::Tick, &mut effects);
    Some(effects)
}
