//! Tells a story from lines: of a simulated run, or of a recorded one.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::sync::Arc;

use steersman_engine::config::{Config, Name, Signal};
use steersman_engine::consul::{ConsulReply, ConsulRequest, Owner};
use steersman_engine::effect::{Message, Reply};
use steersman_engine::input::Tree;
use steersman_engine::trace::{Beginning, Reader, TraceError};
use steersman_engine::{
    Code, Effect, Engine, Event, Input, JobId, RunId, RunKind, Source, Stamp, Time,
};

use super::sentences;
use super::{Lane, LaneKind, Mark, MarkKind, Story, Stretch, Tone, Verdict};
use crate::agenda::NodeId;
use crate::explore::manner::Manners;
use crate::explore::{Plan, Setting, replay};
use crate::observer::Fact;
use crate::property::{Breach, Suite};
use crate::tap::{Level, Line, Seen};
use crate::world::Action;

/// More marks than this are not shown: nobody reads them, and the page would not open.
const MARKS_MAX: usize = 2_000;

/// Listens to lines and makes a story of them.
#[derive(Debug)]
pub struct Teller {
    story: Story,
    nodes: Vec<NodeTale>,
    manners: Manners,
    lanes: BTreeMap<(usize, LaneKind, Box<str>), usize>,
    open: BTreeMap<(usize, bool), usize>,
    quiet_checks: u64,
    dropped: u64,
}

/// What is known of a node while its story is told.
#[derive(Debug)]
struct NodeTale {
    name: Arc<str>,
    lane: usize,
    /// The same engine with the same inputs: it knows which job is in which slot.
    shadow: Engine,
    shadow_effects: Vec<Effect>,
    last_start: BTreeMap<JobId, usize>,
    last_mark: BTreeMap<RunId, usize>,
    check_failing: BTreeMap<JobId, bool>,
    step: Option<Step>,
}

/// One input with its effects, told as a whole.
#[derive(Debug)]
struct Step {
    at: Time,
    input: Input,
    effects: Vec<Effect>,
}

impl Teller {
    /// Begins a story of some nodes.
    pub fn new<'a>(
        title: &str,
        nodes: impl IntoIterator<Item = (&'a str, &'a Config)>,
        manners: Manners,
    ) -> Teller {
        let story = Story { title: title.to_owned(), ..Story::default() };
        let mut teller = Teller {
            story,
            nodes: Vec::new(),
            manners,
            lanes: BTreeMap::new(),
            open: BTreeMap::new(),
            quiet_checks: 0,
            dropped: 0,
        };
        for (name, config) in nodes {
            teller.add_node(name, config);
        }
        teller
    }

    fn add_node(&mut self, name: &str, config: &Config) {
        let id = self.nodes.len();
        let name: Arc<str> = Arc::from(name);
        let lane = self.lane_of(id, &name, LaneKind::Node, &name);
        for job in &config.jobs {
            self.lane_of(id, &name, LaneKind::Job, &job.name);
        }
        for watch in &config.watches {
            self.lane_of(id, &name, LaneKind::Watch, &watch.name);
        }
        for lock in &config.locks {
            self.lane_of(id, &name, LaneKind::Lock, &lock.name);
        }
        self.nodes.push(NodeTale {
            name,
            lane,
            shadow: Engine::new(config.clone(), 0),
            shadow_effects: Vec::new(),
            last_start: BTreeMap::new(),
            last_mark: BTreeMap::new(),
            check_failing: BTreeMap::new(),
            step: None,
        });
    }

    /// Takes in one line.
    pub fn listen(&mut self, line: &Line) {
        let node = line.node.index();
        self.story.end = self.story.end.max(line.at);
        match &line.seen {
            Seen::Action(action) => self.on_action(line.at, node, action),
            Seen::Input(stamp, input) => self.on_input(line.at, node, *stamp, input),
            Seen::Effect(effect) => {
                if let Some(step) = &mut self.nodes[node].step {
                    step.effects.push((**effect).clone());
                }
            }
            Seen::Digest(_) => self.tell_step(node),
            Seen::Fact(fact) => self.on_fact(line.at, node, *fact),
            Seen::Cast(run, job, script) => {
                let name = self.nodes[node].name.clone();
                let ordinary = self.manners.ordinary(&(name, job.clone(), run.kind), line.at);
                let parts = sentences::difference(script, &ordinary);
                if !parts.is_empty() {
                    let lane = self.job_lane(node, run.job);
                    let whose = whose(*run, job);
                    let what = format!("{whose}: {}", parts.join("; "));
                    self.begin_stretch(line.at, lane, Tone::Fault, what);
                }
            }
        }
    }

    /// Ends the story.
    pub fn finish(mut self, breach: Option<&Breach>) -> Story {
        for node in 0..self.nodes.len() {
            self.tell_step(node);
        }
        if let Some(breach) = breach {
            let named = |tale: &NodeTale| Some(&tale.name) == breach.node.as_ref();
            let lane = self.nodes.iter().find(|tale| named(tale)).map_or(0, |tale| tale.lane);
            let lane = self.lane_in(&breach.what, lane);
            let why = format!("The property \"{}\" is broken here.", breach.property);
            let cause = self.story.marks.len().checked_sub(1);
            self.put(breach.at, lane, MarkKind::Breach, breach.what.clone(), why, cause);
            self.story.end = self.story.end.max(breach.at);
            self.story.verdict = Some(Verdict {
                property: breach.property.to_string(),
                what: breach.what.clone(),
                at: breach.at,
            });
        }
        if self.quiet_checks > 0 {
            let count = self.quiet_checks;
            let note = format!("{count} health checks that changed nothing are not shown.");
            self.story.notes.push(note);
        }
        if self.dropped > 0 {
            let count = self.dropped;
            let note =
                format!("{count} more things happened; only the first {MARKS_MAX} are shown.");
            self.story.notes.push(note);
        }
        self.story
    }

    /// Finds the lane of the job that a text quotes.
    fn lane_in(&self, what: &str, node_lane: usize) -> usize {
        let node = &self.story.lanes[node_lane].node;
        let quoted = what.split('"').nth(1);
        let is_it = |lane: &Lane| lane.kind == LaneKind::Job && Some(&*lane.name) == quoted;
        let found = self.story.lanes.iter().position(|lane| is_it(lane) && lane.node == *node);
        found.unwrap_or(node_lane)
    }

    fn on_action(&mut self, at: Time, node: usize, action: &Action) {
        let lane = self.nodes[node].lane;
        let (what, why) = match action {
            Action::Pause => {
                let what = String::from("the supervisor is held up");
                self.begin_stretch(at, lane, Tone::Fault, what.clone());
                (what, "Its own process does not run; its children go on.")
            }
            Action::Resume => {
                self.end_stretch(at, lane, true);
                (String::from("the supervisor goes on"), "It takes in all that has happened.")
            }
            Action::StepWall(by_ms) => {
                let what = format!("the wall clock is set by {by_ms} ms");
                (what, "The monotonic clock goes on as before.")
            }
            Action::ClockRate(rate_ppm) => {
                let what = format!("the clocks run {rate_ppm} millionths too fast");
                (what, "Every deadline of this node comes early or late.")
            }
            Action::WriteConfig(Ok(_)) => {
                (String::from("the configuration file is changed"), "A reload will read it.")
            }
            Action::WriteConfig(Err(_)) => {
                (String::from("the configuration file is broken"), "A reload will find that.")
            }
            Action::EndProcess(run, _) => {
                let job = self.job_name(node, run.job);
                (format!("\"{job}\" is ended from elsewhere"), "As the memory killer does.")
            }
            Action::Link(_)
            | Action::Latency(..)
            | Action::Loss(_)
            | Action::Duplication(_)
            | Action::Catalog(_)
            | Action::Crash
            | Action::StopContainer(_)
            | Action::StartContainer
            | Action::Freeze
            | Action::Thaw
            | Action::WriteFile { .. } => action.in_words(),
            // What goes in as an input is told there.
            Action::Signal(_) | Action::Control(_) | Action::Inject(_) => return,
        };
        self.put(at, lane, MarkKind::Outside, what, why.to_owned(), None);
    }

    fn on_input(&mut self, at: Time, node: usize, stamp: Stamp, input: &Input) {
        self.tell_step(node);
        let tale = &mut self.nodes[node];
        tale.shadow_effects.clear();
        tale.shadow.handle(stamp, input.clone(), &mut tale.shadow_effects);
        tale.step = Some(Step { at, input: input.clone(), effects: Vec::new() });
    }

    fn on_fact(&mut self, at: Time, node: usize, fact: Fact) {
        match fact {
            Fact::ProcessStarted(run) if run.kind == RunKind::Main => {
                let lane = self.job_lane(node, run.job);
                let what = format!("run {} is running", run.nth);
                self.begin_stretch(at, lane, Tone::Running, what);
            }
            Fact::ProcessEnded(run, status) => {
                let lane = self.job_lane(node, run.job);
                let name = self.job_name(node, run.job);
                let cause = self.nodes[node].last_mark.get(&run).copied();
                if run.kind == RunKind::Check {
                    let was = self.nodes[node].check_failing.insert(run.job, !status.is_success());
                    if was == Some(!status.is_success()) {
                        self.quiet_checks += 1;
                        return;
                    }
                    let (kind, how) = match status.is_success() {
                        true => (MarkKind::Good, "passes"),
                        false => (MarkKind::Bad, "fails"),
                    };
                    let why =
                        format!("Check {} of \"{name}\" {}.", run.nth, sentences::ended(status));
                    let mark = self.put(at, lane, kind, format!("check {how}"), why, None);
                    self.nodes[node].last_mark.insert(run, mark);
                    return;
                }
                let kind = if status.is_success() { MarkKind::Good } else { MarkKind::Bad };
                let what = format!("run {} {}", run.nth, sentences::ended(status));
                let why = match cause.map(|cause| self.story.marks[cause].kind) {
                    Some(MarkKind::Signal | MarkKind::Kill) => {
                        format!("The process of \"{name}\" got a signal and ended.")
                    }
                    _ => format!("The process of \"{name}\" ended by itself."),
                };
                let mark = self.put(at, lane, kind, what, why, cause);
                self.nodes[node].last_mark.insert(run, mark);
                let what = format!("what run {} left behind", run.nth);
                self.begin_stretch(at, lane, Tone::LeftBehind, what);
            }
            Fact::TreeGone(run) if run.kind == RunKind::Main => {
                let lane = self.job_lane(node, run.job);
                self.end_stretch(at, lane, false);
                self.end_stretch(at, lane, true);
            }
            Fact::TreeGone(run) => {
                let lane = self.job_lane(node, run.job);
                if self.is_faulty(lane, "check") {
                    self.end_stretch(at, lane, true);
                }
            }
            Fact::ProcessStarted(_) => {}
        }
    }

    fn is_faulty(&self, lane: usize, whose: &str) -> bool {
        let open = self.open.get(&(lane, true)).map(|index| &self.story.stretches[*index]);
        open.is_some_and(|stretch| stretch.what.starts_with(whose))
    }

    /// Tells one input and all that it caused.
    fn tell_step(&mut self, node: usize) {
        let Some(step) = self.nodes[node].step.take() else { return };
        let (cause, because) = self.tell_input(node, &step);
        let mut events: Vec<(Event, usize)> = Vec::new();
        let mut last = cause;
        for effect in &step.effects {
            let mark = match effect {
                Effect::Start { run, .. } => {
                    let cause = self.start_cause(node, run.job, &events).or(cause);
                    self.tell_start(node, &step, *run, cause, &because)
                }
                Effect::Signal { run, signal } => {
                    let is_own =
                        |(event, _): &&(Event, usize)| event.source == Source::Job(run.job);
                    let own = events.iter().rev().find(is_own).map(|(_, mark)| *mark);
                    self.tell_signal(node, &step, *run, *signal, own.or(cause));
                    None
                }
                Effect::Published(event) => {
                    let mark = self.tell_event(node, &step, *event, cause, &because);
                    events.extend(mark.map(|mark| (*event, mark)));
                    mark
                }
                Effect::Log(record) => {
                    self.tell_record(node, step.at, record.job, &record.message, cause);
                    None
                }
                Effect::Consul { request, .. } => {
                    self.tell_request(node, step.at, request, cause);
                    None
                }
                Effect::Reply { reply: Reply::Refused(refusal), .. } => {
                    let lane = self.nodes[node].lane;
                    let what = String::from("the request is refused");
                    self.put(step.at, lane, MarkKind::Bad, what, format!("It {refusal}."), cause);
                    None
                }
                Effect::Exit { status } => {
                    let lane = self.nodes[node].lane;
                    let what = format!("the supervisor ends with status {status}");
                    let kind = if *status == 0 { MarkKind::Good } else { MarkKind::Bad };
                    let why = String::from("Nothing is left to do.");
                    self.end_stretch(step.at, lane, false);
                    self.put(step.at, lane, kind, what, why, last);
                    None
                }
                _ => None,
            };
            last = mark.or(last);
        }
    }

    /// Finds the event of this step for which a job waited.
    fn start_cause(&self, node: usize, job: JobId, events: &[(Event, usize)]) -> Option<usize> {
        let shadow = &self.nodes[node].shadow;
        let awaited = sentences::awaited(shadow.job(job)?);
        let is_awaited = |event: &Event| {
            awaited.iter().any(|(code, source)| {
                *code == event.code && **source == *shadow.source_name(event.source)
            })
        };
        events.iter().rev().find(|(event, _)| is_awaited(event)).map(|(_, mark)| *mark)
    }

    /// Marks the input, if it is worth a mark of its own; gives the mark and what to say of it.
    fn tell_input(&mut self, node: usize, step: &Step) -> (Option<usize>, String) {
        let lane = self.nodes[node].lane;
        let at = step.at;
        match &step.input {
            Input::Begin => {
                let what = String::from("the supervisor runs");
                self.begin_stretch(at, lane, Tone::Running, what);
                (None, String::from("The supervisor begins."))
            }
            Input::Tick => (None, String::from("Its time has come.")),
            Input::Exited { run, .. }
            | Input::StartFailed { run, .. }
            | Input::Started { run, .. } => {
                let mark = self.nodes[node].last_mark.get(run).copied();
                let name = self.job_name(node, run.job);
                (mark, format!("This follows what happened to {}.", whose(*run, &name)))
            }
            Input::TreeGone { run } => {
                let name = self.job_name(node, run.job);
                let because = format!("Nothing of {} is left.", whose(*run, &name));
                (self.nodes[node].last_mark.get(run).copied(), because)
            }
            Input::Signal(signal) => {
                let (what, why) = sentences::outside_signal(*signal);
                let mark = self.put(at, lane, MarkKind::Outside, what, why.to_owned(), None);
                (Some(mark), format!("The supervisor got {}.", signal.as_str()))
            }
            Input::Control { command, .. } => {
                let what = sentences::control(command);
                let because = format!("Over the control plane, {what}.");
                let why = String::from("Somebody asks over the control plane.");
                (Some(self.put(at, lane, MarkKind::Outside, what, why, None)), because)
            }
            Input::Consul { op, reply: ConsulReply::Failed(failure) } => {
                let lane = match op.owner {
                    Owner::Job(job) => self.job_lane(node, job),
                    Owner::Watch(watch) => self.watch_lane(node, watch.index()),
                    Owner::Lock(lock) | Owner::Session(lock) => self.lock_lane(node, lock.index()),
                };
                let why = format!("Consul did not do what was asked: {failure:?}.");
                let what = String::from("Consul fails");
                let mark = self.put(at, lane, MarkKind::Bad, what, why, None);
                (Some(mark), String::from("Consul failed."))
            }
            Input::Consul { .. } => (None, String::from("Consul answered.")),
            Input::Loaded { .. } => (None, String::from("The configuration file was read again.")),
        }
    }

    fn tell_start(
        &mut self,
        node: usize,
        step: &Step,
        run: RunId,
        cause: Option<usize>,
        because: &str,
    ) -> Option<usize> {
        if run.kind == RunKind::Check {
            return None;
        }
        let lane = self.job_lane(node, run.job);
        let job = self.nodes[node].shadow.job(run.job);
        let trigger = job.map(sentences::trigger).unwrap_or_default();
        let name = self.job_name(node, run.job);
        let why = format!("{because} \"{name}\": {trigger}.");
        let what = format!("run {} is started", run.nth);
        let mark = self.put(step.at, lane, MarkKind::Start, what, why, cause);
        self.nodes[node].last_start.insert(run.job, mark);
        self.nodes[node].last_mark.insert(run, mark);
        self.begin_stretch(step.at, lane, Tone::Starting, format!("run {} is starting", run.nth));
        Some(mark)
    }

    fn tell_signal(
        &mut self,
        node: usize,
        step: &Step,
        run: RunId,
        signal: Signal,
        cause: Option<usize>,
    ) {
        let lane = self.job_lane(node, run.job);
        let name = self.job_name(node, run.job);
        let is_kill = signal == Signal::KILL;
        let kind = if is_kill { MarkKind::Kill } else { MarkKind::Signal };
        let what = format!("{} to {}", sentences::signal_name(signal), whose(run, &name));
        let mut reasons = step.effects.iter().filter_map(|effect| match effect {
            Effect::Log(record) if record.job.is_none_or(|job| job == run.job) => {
                sentences::why_signalled(&record.message)
            }
            _ => None,
        });
        let why = reasons.next_back().unwrap_or_else(|| String::from("It is to end."));
        let mark = self.put(step.at, lane, kind, what, why, cause);
        self.nodes[node].last_mark.insert(run, mark);
        if run.kind == RunKind::Main && !is_kill {
            self.retone(step.at, lane, Tone::Stopping, "was asked to end");
        }
    }

    fn tell_event(
        &mut self,
        node: usize,
        step: &Step,
        event: Event,
        cause: Option<usize>,
        because: &str,
    ) -> Option<usize> {
        let code = event.code;
        let lane = match event.source {
            Source::Global => self.nodes[node].lane,
            Source::Job(job) => self.job_lane(node, job),
            Source::Watch(watch) => self.watch_lane(node, watch.index()),
            Source::Lock(lock) => self.lock_lane(node, lock.index()),
            Source::Check(_) | Source::Signal(_) => return None,
        };
        let kind = match code {
            Code::Healthy | Code::Acquired => MarkKind::Good,
            Code::Unhealthy | Code::TimerExpired | Code::Stale | Code::Lost | Code::Jeopardy => {
                MarkKind::Bad
            }
            // The end of the process is a mark already, and the beginning is where the lane begins.
            Code::ExitSuccess | Code::ExitFailed | Code::Startup | Code::Signal => return None,
            _ => MarkKind::Event,
        };
        match code {
            Code::Healthy => self.retone(step.at, lane, Tone::Healthy, "is healthy"),
            Code::Unhealthy => self.retone(step.at, lane, Tone::Unhealthy, "is unhealthy"),
            Code::Acquired => self.begin_stretch(step.at, lane, Tone::Held, "held".to_owned()),
            Code::Jeopardy => self.retone(step.at, lane, Tone::Jeopardy, "in jeopardy"),
            Code::Lost | Code::Released => self.end_stretch(step.at, lane, false),
            Code::Shutdown => self.retone(step.at, lane, Tone::Stopping, "is stopping"),
            _ => {}
        }
        let what = sentences::code(code).to_owned();
        Some(self.put(step.at, lane, kind, what, because.to_owned(), cause))
    }

    fn tell_record(
        &mut self,
        node: usize,
        at: Time,
        job: Option<JobId>,
        message: &Message,
        cause: Option<usize>,
    ) {
        let lane = job.map_or(self.nodes[node].lane, |job| self.job_lane(node, job));
        if let Message::BackingOff { delay } = message {
            let what = format!("waits {} before it starts again", sentences::duration(*delay));
            self.begin_stretch(at, lane, Tone::Waiting, what);
        }
        if matches!(message, Message::StartFailed { .. }) {
            self.end_stretch(at, lane, false);
            self.end_stretch(at, lane, true);
        }
        if let Some((what, is_bad)) = sentences::remark(message) {
            let kind = if is_bad { MarkKind::Bad } else { MarkKind::Event };
            let why = String::from("The supervisor says so in its log.");
            self.put(at, lane, kind, what, why, cause);
        }
    }

    fn tell_request(
        &mut self,
        node: usize,
        at: Time,
        request: &ConsulRequest,
        cause: Option<usize>,
    ) {
        let name = self.nodes[node].name.clone();
        let (service, what) = match request {
            ConsulRequest::Register(registration) => (&registration.id, "asks to be registered"),
            ConsulRequest::Deregister { service } => (service, "asks to be taken out"),
            _ => return,
        };
        let lane = self.lane_of(node, &name, LaneKind::Service, service);
        let why = String::from("A request goes to Consul.");
        self.put(at, lane, MarkKind::Event, what.to_owned(), why, cause);
        match request {
            ConsulRequest::Deregister { .. } => self.end_stretch(at, lane, false),
            _ => self.begin_stretch(at, lane, Tone::Held, String::from("registered")),
        }
    }

    fn put(
        &mut self,
        at: Time,
        lane: usize,
        kind: MarkKind,
        what: String,
        why: String,
        cause: Option<usize>,
    ) -> usize {
        if self.story.marks.len() >= MARKS_MAX && kind != MarkKind::Breach {
            self.dropped += 1;
            return self.story.marks.len() - 1;
        }
        let cause = cause.filter(|cause| *cause < self.story.marks.len());
        self.story.marks.push(Mark { at, lane, kind, what, why, cause });
        self.story.marks.len() - 1
    }

    fn begin_stretch(&mut self, at: Time, lane: usize, tone: Tone, what: String) {
        let is_fault = tone == Tone::Fault;
        self.end_stretch(at, lane, is_fault);
        if self.story.stretches.len() < MARKS_MAX {
            self.open.insert((lane, is_fault), self.story.stretches.len());
            self.story.stretches.push(Stretch { from: at, to: None, lane, tone, what });
        }
    }

    fn end_stretch(&mut self, at: Time, lane: usize, is_fault: bool) {
        if let Some(index) = self.open.remove(&(lane, is_fault)) {
            self.story.stretches[index].to = Some(at);
        }
    }

    /// Lets what goes on go on in another tone.
    fn retone(&mut self, at: Time, lane: usize, tone: Tone, what: &str) {
        if self.open.contains_key(&(lane, false)) {
            self.begin_stretch(at, lane, tone, what.to_owned());
        }
    }

    fn job_name(&self, node: usize, job: JobId) -> Name {
        let shadow = &self.nodes[node].shadow;
        shadow.job(job).map_or_else(|| Name::from(format!("#{}", job.0)), |job| job.name.clone())
    }

    fn job_lane(&mut self, node: usize, job: JobId) -> usize {
        let job = self.job_name(node, job);
        let name = self.nodes[node].name.clone();
        self.lane_of(node, &name, LaneKind::Job, &job)
    }

    fn watch_lane(&mut self, node: usize, index: usize) -> usize {
        let config = self.nodes[node].shadow.config().clone();
        let watch = config.watches.get(index).map_or("?", |watch| &*watch.name);
        let name = self.nodes[node].name.clone();
        self.lane_of(node, &name, LaneKind::Watch, watch)
    }

    fn lock_lane(&mut self, node: usize, index: usize) -> usize {
        let config = self.nodes[node].shadow.config().clone();
        let lock = config.locks.get(index).map_or("?", |lock| &*lock.name);
        let name = self.nodes[node].name.clone();
        self.lane_of(node, &name, LaneKind::Lock, lock)
    }

    fn lane_of(&mut self, node: usize, owner: &Arc<str>, kind: LaneKind, name: &str) -> usize {
        let key = (node, kind, Box::from(name));
        *self.lanes.entry(key).or_insert_with(|| {
            let lane = Lane { name: name.to_owned(), kind, node: owner.clone() };
            self.story.lanes.push(lane);
            self.story.lanes.len() - 1
        })
    }
}

/// Runs a plan and tells it.
pub fn tell_plan(title: &str, setting: &Setting, plan: &Plan, suite: &Arc<Suite>) -> Story {
    let performance = replay(setting, plan, suite, Level::Everything);
    let nodes = setting.nodes.iter().map(|node| (&*node.name, &node.config));
    let mut teller = Teller::new(title, nodes, setting.manners.clone());
    performance.lines.iter().for_each(|line| teller.listen(line));
    teller.finish(performance.breach.as_ref())
}

fn whose(run: RunId, job: &str) -> String {
    match run.kind {
        RunKind::Main => format!("run {} of \"{job}\"", run.nth),
        RunKind::Check => format!("check {} of \"{job}\"", run.nth),
    }
}

/// Tells a recording of a supervisor in production.
///
/// # Errors
/// What is wrong with the recording.
pub fn tell_recording<R: BufRead>(name: &str, reader: &mut Reader<R>) -> Result<Story, TraceError> {
    let header = reader.header().clone();
    let node = NodeId(0);
    let mut teller = Teller::new(name, [(name, &header.config)], Manners::default());
    if let Beginning::Dropped(steps) = header.beginning {
        let note = format!("The first {steps} steps of this run were not kept.");
        teller.story.notes.push(note);
    }
    let mut origin = None;
    while let Some(step) = reader.next_step()? {
        let origin = *origin.get_or_insert(step.mono);
        let at = Time(step.mono.saturating_sub(origin));
        for fact in facts_of(&step.input) {
            teller.listen(&Line { at, node, seen: Seen::Fact(fact) });
        }
        let stamp = Stamp { mono: Time(step.mono), wall_ms: step.wall };
        teller.listen(&Line { at, node, seen: Seen::Input(stamp, Box::new(step.input)) });
        for effect in step.effects {
            teller.listen(&Line { at, node, seen: Seen::Effect(Box::new(effect)) });
        }
        teller.listen(&Line { at, node, seen: Seen::Digest(step.digest.0) });
    }
    Ok(teller.finish(None))
}

/// Takes the truth about processes from what the supervisor was told.
fn facts_of(input: &Input) -> Vec<Fact> {
    match input {
        Input::Started { run, .. } => vec![Fact::ProcessStarted(*run)],
        Input::Exited { run, status, tree: Tree::Left, .. } => {
            vec![Fact::ProcessEnded(*run, *status)]
        }
        Input::Exited { run, status, tree: Tree::Gone, .. } => {
            vec![Fact::ProcessEnded(*run, *status), Fact::TreeGone(*run)]
        }
        Input::TreeGone { run } => vec![Fact::TreeGone(*run)],
        _ => Vec::new(),
    }
}
