//! What an onlooker sees at the engine's boundary: it keeps the story and hands every line to the
//! oracle. Nothing here asks the engine.

use std::collections::BTreeMap;

use steersman_engine::config::{Config, Name, Signal};
use steersman_engine::effect::{Record, Reply};
use steersman_engine::input::ExitStatus;
use steersman_engine::{
    Code, Effect, Event, Input, JobId, RequestId, RunId, RunKind, Source, Stamp, Time,
};

use crate::agenda::NodeId;
use crate::oracle::{Oracle, Violation};
use crate::tap::{Level, Seen, Tap};

/// What is true of a process, whoever knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// It runs.
    ProcessStarted(RunId),
    /// The first process of a run ended.
    ProcessEnded(RunId, ExitStatus),
    /// Nothing of a run is left.
    TreeGone(RunId),
}

/// The life of one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunStory {
    /// Which run.
    pub run: RunId,
    /// Its job.
    pub job: Name,
    /// When it was asked for.
    pub asked: Time,
    /// When its process ran.
    pub started: Option<Time>,
    /// When and how its first process ended.
    pub ended: Option<(Time, ExitStatus)>,
    /// When nothing of it was left.
    pub gone: Option<Time>,
    /// What it was sent.
    pub signals: Vec<(Time, Signal)>,
}

/// One published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventStory {
    /// When.
    pub at: Time,
    /// On which node.
    pub node: NodeId,
    /// What.
    pub code: Code,
    /// Where, as a configuration would write it; empty for the supervisor itself.
    pub source: Box<str>,
}

impl core::fmt::Display for EventStory {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "event   {} {}", self.code, self.source)
    }
}

/// One record of a supervisor's log.
#[derive(Clone, Debug, PartialEq)]
pub struct LogStory {
    /// When.
    pub at: Time,
    /// On which node.
    pub node: NodeId,
    /// The job it is about.
    pub job: Option<Name>,
    /// What was said.
    pub record: Record,
}

/// How much of the story is kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Keep {
    /// Everything.
    #[default]
    Story,
    /// Only what the oracle needs: bounded, for long searches.
    OracleOnly,
    /// Nothing, and nothing is judged: for measuring what that costs.
    Nothing,
}

/// The onlooker.
#[derive(Clone, Debug, Default)]
pub struct Observer {
    keep: Keep,
    runs: Vec<(NodeId, RunStory)>,
    /// Where the story of each run of the present lives is.
    places: BTreeMap<(NodeId, RunId), usize>,
    events: Vec<EventStory>,
    log: Vec<LogStory>,
    replies: BTreeMap<RequestId, (Time, Reply)>,
    effects: Vec<(Time, NodeId, Effect)>,
    inputs: u64,
    oracle: Oracle,
    tap: Tap,
}

impl Observer {
    /// Sets how much of the story is kept from now on.
    pub const fn set_keep(&mut self, keep: Keep) {
        self.keep = keep;
    }

    /// Gives the runs of a job, or of its check, in the order in which they were asked for.
    pub fn runs(&self, node: NodeId, job: &str, kind: RunKind) -> Vec<&RunStory> {
        let of_node = self.runs.iter().filter(|(owner, _)| *owner == node);
        let stories = of_node.map(|(_, story)| story).filter(|story| story.run.kind == kind);
        stories.filter(|story| &*story.job == job).collect()
    }

    /// Gives the published events of a node, in order.
    pub fn events(&self, node: NodeId) -> impl Iterator<Item = &EventStory> {
        self.events.iter().filter(move |event| event.node == node)
    }

    /// Gives the log of a node, in order.
    pub fn log(&self, node: NodeId) -> impl Iterator<Item = &LogStory> {
        self.log.iter().filter(move |line| line.node == node)
    }

    /// Gives the effects that are neither about processes nor events nor the log, in order.
    pub fn other_effects(&self, node: NodeId) -> impl Iterator<Item = (Time, &Effect)> {
        let of_node = self.effects.iter().filter(move |(_, owner, _)| *owner == node);
        of_node.map(|(at, _, effect)| (*at, effect))
    }

    /// Gives the answer to a control request.
    pub fn reply(&self, request: RequestId) -> Option<&(Time, Reply)> {
        self.replies.get(&request)
    }

    /// Gives how many inputs the engines took in.
    pub const fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Tells what happened on a node as text, a line for each thing, in order of time.
    pub fn tell(&self, node: NodeId) -> String {
        let mut lines: Vec<(Time, String)> = Vec::new();
        for (_, story) in self.runs.iter().filter(|(owner, _)| *owner == node) {
            story.tell(&mut lines);
        }
        let events = self.events(node).map(|event| (event.at, event.to_string()));
        lines.extend(events);
        for line in self.log(node) {
            let about = line.job.as_deref().unwrap_or("-");
            lines.push((line.at, format!("log     {about}: {:?}", line.record.message)));
        }
        let effects = self.other_effects(node);
        lines.extend(effects.map(|(at, effect)| (at, format!("effect  {effect:?}"))));
        let wrong = self.violations().iter().filter(|violation| violation.node == node);
        lines.extend(wrong.map(|violation| (violation.at, format!("WRONG   {}", violation.what))));
        lines.sort_by_key(|(at, _)| *at);
        let mut text = String::new();
        for (at, line) in lines {
            let seconds = core::time::Duration::from_nanos(at.0).as_secs_f64();
            text.push_str(&format!("{seconds:>10.3}  {line}\n"));
        }
        text
    }

    /// Gives what must never happen and did.
    pub fn violations(&self) -> &[Violation] {
        self.oracle.violations()
    }

    /// Puts what the oracle knows of a node into a hash that counts from now.
    pub(crate) fn canonical(&self, id: NodeId, mono: Time, at: Time, jobs: &mut [u64]) -> u64 {
        self.oracle.canonical(id, mono, at, jobs)
    }

    /// Gives the tap, to be opened and drained.
    pub const fn tap(&mut self) -> &mut Tap {
        &mut self.tap
    }

    pub(crate) fn blame(&mut self, at: Time, node: NodeId, what: &str) {
        self.oracle.blame(at, node, what.to_owned());
    }

    pub(crate) fn on_resumed(
        &mut self,
        at: Time,
        mono: Time,
        node: NodeId,
        missed: core::time::Duration,
    ) {
        self.oracle.on_resumed(at, mono, node, missed);
    }

    /// Timers that are due come before the input that comes with them.
    pub(crate) fn on_timers(&mut self, at: Time, stamp: Stamp, node: NodeId) {
        if self.keep != Keep::Nothing {
            self.oracle.on_input(at, stamp, node, &Input::Tick);
        }
    }

    /// All effects of an input have been seen.
    pub(crate) fn on_settled(&mut self, at: Time, node: NodeId) {
        if self.keep != Keep::Nothing {
            self.oracle.on_settled(at, node);
        }
    }

    pub(crate) fn on_world_end(&mut self, at: Time, mono: Time, node: NodeId) {
        if self.keep != Keep::Nothing {
            self.oracle.on_world_end(at, mono, node);
        }
    }

    /// Keeps no ledgers: for searches that move what is due.
    pub(crate) const fn keep_no_ledgers(&mut self) {
        self.oracle.keep_no_ledgers();
    }

    pub(crate) fn on_killed(&mut self, node: NodeId) {
        self.oracle.on_killed(node);
    }

    /// Gives the nodes that run something under a lock's key.
    pub fn holders(&self, key: &str) -> Vec<NodeId> {
        self.oracle.holders(key)
    }

    /// Counts the overlaps under a lock that no software on the node could have prevented.
    pub const fn excused(&self) -> u32 {
        self.oracle.excused()
    }

    /// Gives the processes that work under a lock's key, each with its token.
    pub fn writers(&self, key: &str) -> Vec<(NodeId, RunId, u64)> {
        self.oracle.writers(key)
    }

    /// A supervisor is kept from running; with `is_all`, so is everything else in its container.
    pub(crate) fn on_held(&mut self, at: Time, node: NodeId, is_all: bool) {
        self.oracle.on_held(at, node, is_all);
    }

    /// Tells whether Consul has lost its state: tokens begin anew.
    pub const fn are_tokens_void(&self) -> bool {
        self.oracle.are_tokens_void()
    }

    pub(crate) const fn on_state_lost(&mut self) {
        self.oracle.on_state_lost();
    }

    pub(crate) fn on_life(&mut self, node: NodeId, config: &Config) {
        self.places.retain(|(owner, _), _| *owner != node);
        self.oracle.on_life(node, config);
    }

    fn story_of(&mut self, node: NodeId, run: RunId) -> Option<&mut RunStory> {
        let place = *self.places.get(&(node, run))?;
        self.runs.get_mut(place).map(|(_, story)| story)
    }

    pub(crate) fn on_node(&mut self, config: &Config) {
        self.oracle.on_node(config);
    }

    pub(crate) fn on_input(&mut self, at: Time, stamp: Stamp, node: NodeId, input: &Input) {
        self.inputs += 1;
        if self.keep != Keep::Nothing {
            self.oracle.on_input(at, stamp, node, input);
        }
    }

    pub(crate) fn on_fact(&mut self, at: Time, mono: Time, node: NodeId, fact: Fact) {
        if self.keep != Keep::Nothing {
            self.oracle.on_fact(at, mono, node, fact);
        }
        self.tap.put(Level::Signs, at, node, || Seen::Fact(fact));
        if self.keep != Keep::Story {
            return;
        }
        let (Fact::ProcessStarted(run) | Fact::ProcessEnded(run, _) | Fact::TreeGone(run)) = fact;
        let Some(story) = self.story_of(node, run) else { return };
        match fact {
            Fact::ProcessStarted(_) => story.started = Some(at),
            Fact::ProcessEnded(_, status) => story.ended = Some((at, status)),
            Fact::TreeGone(_) => story.gone = Some(at),
        }
    }

    pub(crate) fn on_effect(
        &mut self,
        at: Time,
        mono: Time,
        node: NodeId,
        effect: &Effect,
        name: impl Fn(JobId) -> Name,
    ) {
        if self.keep != Keep::Nothing {
            self.oracle.on_effect(at, mono, node, effect, &name);
        }
        self.tap.on_effect(at, node, effect);
        if self.keep != Keep::Story {
            return;
        }
        match effect {
            Effect::Start { run, .. } => {
                let story = RunStory::new(*run, name(run.job), at);
                self.places.insert((node, *run), self.runs.len());
                self.runs.push((node, story));
            }
            Effect::Signal { run, signal } => {
                if let Some(story) = self.story_of(node, *run) {
                    story.signals.push((at, *signal));
                }
            }
            Effect::Published(event) => {
                let source = source_name(event, name);
                self.events.push(EventStory { at, node, code: event.code, source });
            }
            Effect::Log(record) => {
                let job = record.job.map(name);
                self.log.push(LogStory { at, node, job, record: record.clone() });
            }
            Effect::Reply { request, reply } => {
                self.replies.insert(*request, (at, reply.clone()));
            }
            Effect::SetVariable { .. }
            | Effect::Consul { .. }
            | Effect::Snapshot { .. }
            | Effect::WriteFile { .. }
            | Effect::Guard { .. }
            | Effect::Metric { .. }
            | Effect::LoadConfig
            | Effect::Applied(_)
            | Effect::ReopenLogs
            | Effect::Exit { .. } => self.effects.push((at, node, effect.clone())),
        }
    }
}

impl RunStory {
    const fn new(run: RunId, job: Name, asked: Time) -> RunStory {
        RunStory { run, job, asked, started: None, ended: None, gone: None, signals: Vec::new() }
    }

    fn tell(&self, lines: &mut Vec<(Time, String)>) {
        let kind = match self.run.kind {
            RunKind::Main => "",
            RunKind::Check => "check of ",
        };
        let what = format!("{kind}{} #{}", self.job, self.run.nth);
        let mut line = |at: Time, text: String| lines.push((at, text));
        line(self.asked, format!("process {what} is asked for"));
        if let Some(at) = self.started {
            line(at, format!("process {what} runs"));
        }
        for (at, signal) in &self.signals {
            line(*at, format!("process {what} is sent signal {}", signal.0));
        }
        if let Some((at, status)) = self.ended {
            line(at, format!("process {what} ends: {status:?}"));
        }
        if let Some(at) = self.gone {
            line(at, format!("process {what} has gone"));
        }
    }

    /// Tells whether the run was asked for and is not completely gone.
    pub const fn is_live(&self) -> bool {
        self.gone.is_none()
    }

    /// Tells when the run first got a signal.
    pub fn signalled(&self, signal: Signal) -> Option<Time> {
        self.signals.iter().find(|(_, sent)| *sent == signal).map(|(at, _)| *at)
    }
}

fn source_name(event: &Event, name: impl Fn(JobId) -> Name) -> Box<str> {
    match event.source {
        Source::Global => Box::from(""),
        Source::Job(job) => Box::from(&*name(job)),
        Source::Check(job) => Box::from(format!("check.{}", name(job))),
        Source::Watch(watch) => Box::from(format!("watch.#{}", watch.0)),
        Source::Lock(lock) => Box::from(format!("lock.#{}", lock.0)),
        Source::Signal(signal) => Box::from(signal.as_str()),
    }
}
