//! One candidate: a real engine, its processes, and what it has under way to Consul.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::Signal;
use steersman_engine::consul::{ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, Owner};
use steersman_engine::id::LockId;
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{Effect, Engine, Input, JobId, RunId, RunKind, Stamp, Time, limits};

use super::consul::{Answer, Ask, Entry, Mark, NOBODY, SessionId};

/// The process that runs exactly while the lock is held.
pub(super) const PRIMARY: usize = 0;
/// The process that runs always and ends with each term.
pub(super) const SERVER: usize = 1;

/// The two requests that a candidate can have under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// About the key.
    Key,
    /// About the session.
    Session,
}

/// Both.
pub(super) const LINES: [Line; 2] = [Line::Key, Line::Session];

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is on its way; it stays there until then.
    Asked { held_until: u64 },
    /// Consul waits for a change, until then.
    Parked { until: u64 },
    /// The answer is on its way; it stays there until then.
    Answered { answer: Answer, held_until: u64 },
    /// No answer will come.
    Lost,
}

/// A request under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flight {
    /// Its number.
    pub(super) nth: u32,
    /// What is asked.
    pub(super) ask: Ask,
    /// Until when an answer may come.
    pub(super) last: u64,
    /// When it counts as lost.
    pub(super) lost_at: u64,
    /// How far it has come.
    pub(super) stage: Stage,
}

/// A process, as it really is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Process {
    /// Which run.
    pub(super) nth: u32,
    /// What it was told.
    pub(super) told: Told,
    /// Whether it may act for a term: it was started in one, or was there when one began.
    pub(super) is_sworn: bool,
    /// Whether it has ended without its supervisor having heard of it.
    pub(super) is_unheard: bool,
}

/// What a process was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Nothing.
    Nothing,
    /// To end, when it likes.
    Stop,
    /// It is killed, and gone by then.
    Kill {
        /// When.
        by: u64,
    },
}

/// Whether a supervisor is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    /// It is.
    Up,
    /// It is held up, until then at most.
    Paused {
        /// When it goes on.
        until: u64,
    },
    /// It is not.
    Down,
}

/// How a node is cut off from Consul.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cut {
    /// Not at all.
    No,
    /// No answer comes back.
    Deaf,
    /// Nothing goes either way.
    Both,
}

/// What a supervisor did that others must hear of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deed {
    /// It started a process.
    Started(usize),
    /// It sent a request.
    Sent(Line),
    /// It ended.
    Ended,
}

/// A candidate.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// The engine.
    pub(super) engine: Arc<Engine>,
    /// Whether it is there.
    pub(super) power: Power,
    /// Whether it is cut off.
    pub(super) cut: Cut,
    /// Whether it was asked to end.
    pub(super) is_stopping: bool,
    /// Its request about the key.
    pub(super) key: Option<Flight>,
    /// Its request about the session.
    pub(super) session: Option<Flight>,
    /// Its processes, as they are.
    pub(super) processes: [Option<Process>; 2],
    /// The token that processes are given.
    pub(super) token: u64,
}

/// How a node's clock shows the true time, and how long requests may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Surroundings {
    /// The true time.
    pub(super) now: u64,
    /// What the node's clock shows.
    pub(super) clock: Time,
    /// How long a process may go on after SIGKILL.
    pub(super) kill_latency: u64,
}

impl Node {
    /// Builds a candidate that is not there.
    pub(super) const fn new(engine: Arc<Engine>) -> Node {
        Node {
            engine,
            power: Power::Down,
            cut: Cut::No,
            is_stopping: false,
            key: None,
            session: None,
            processes: [None; 2],
            token: 0,
        }
    }

    /// Gives the request on a line.
    pub(super) const fn flight(&self, line: Line) -> Option<&Flight> {
        match line {
            Line::Key => self.key.as_ref(),
            Line::Session => self.session.as_ref(),
        }
    }

    /// Gives the request on a line for changing.
    pub(super) const fn flight_mut(&mut self, line: Line) -> &mut Option<Flight> {
        match line {
            Line::Key => &mut self.key,
            Line::Session => &mut self.session,
        }
    }

    /// Tells whether its primary runs and is to run.
    pub(super) fn leads(&self) -> bool {
        let is_untold = |process: Process| process.told == Told::Nothing;
        self.power == Power::Up && self.processes[PRIMARY].is_some_and(is_untold)
    }

    /// Tells whether a session is the one the supervisor counts on.
    pub(super) fn owns(&self, id: SessionId) -> bool {
        let lock = self.engine.lock_in_ticks(LockId(0), Time(0), Duration::ZERO);
        lock.and_then(|lock| lock.session).is_some_and(|name| session_of(name) == id)
    }

    /// Gives the processes that act for a term, or may.
    pub(super) fn sworn(&self) -> impl Iterator<Item = &Process> {
        let is_live = |process: &&Process| process.is_sworn && !process.is_unheard;
        self.processes.iter().flatten().filter(is_live)
    }

    /// Gives the engine an input and carries out what it wants, but for what others hear of.
    pub(super) fn feed(
        &mut self,
        input: Input,
        around: Surroundings,
        patience: &dyn Fn(&ConsulRequest, Duration) -> (Ask, u64, u64),
        deeds: &mut Vec<(Deed, Option<Flight>)>,
    ) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let stamp = Stamp { mono: around.clock, wall_ms: 0 };
            let mut effects = Vec::new();
            Arc::make_mut(&mut self.engine).handle(stamp, input, &mut effects);
            for effect in effects {
                match effect {
                    Effect::Start { run, .. } => {
                        self.start(run);
                        deeds.push((Deed::Started(run.job.index()), None));
                        inputs.push(Input::Started { run, pid: 1 });
                    }
                    Effect::Signal { run, signal } => self.signal(run, signal, around),
                    Effect::SetVariable { name, value } if name.ends_with("_TOKEN") => {
                        let value = value.and_then(|value| value.parse().ok());
                        self.token = value.unwrap_or(0);
                    }
                    Effect::Consul { op, request, timeout } => {
                        let (ask, last, lost_at) = patience(&request, timeout);
                        let stage = match self.cut {
                            Cut::Both => Stage::Lost,
                            Cut::No | Cut::Deaf => Stage::Asked { held_until: 0 },
                        };
                        let flight = Flight { nth: op.nth, ask, last, lost_at, stage };
                        let line = line_of(op.owner);
                        let before = self.flight_mut(line).replace(flight);
                        deeds.push((Deed::Sent(line), before));
                    }
                    Effect::Exit { .. } => deeds.push((Deed::Ended, None)),
                    _ => {}
                }
            }
        }
    }

    fn start(&mut self, run: RunId) {
        let place = run.job.index();
        let process = Process {
            nth: run.nth,
            told: Told::Nothing,
            is_sworn: place == PRIMARY || self.processes[PRIMARY].is_some(),
            is_unheard: false,
        };
        if let Some(slot) = self.processes.get_mut(place) {
            *slot = Some(process);
        }
        if place == PRIMARY
            && let Some(server) = &mut self.processes[SERVER]
        {
            server.is_sworn = true;
        }
    }

    fn signal(&mut self, run: RunId, signal: Signal, around: Surroundings) {
        let process = self.processes.get_mut(run.job.index()).and_then(Option::as_mut);
        let Some(process) = process.filter(|process| process.nth == run.nth) else { return };
        process.told = match (process.told, signal) {
            (Told::Kill { by }, _) => Told::Kill { by },
            (_, Signal::KILL) => Told::Kill { by: around.now + around.kill_latency },
            _ => Told::Stop,
        };
    }

    /// Gives what the end of a process is to its supervisor, and forgets the process.
    pub(super) fn reap(&mut self, place: usize) -> Option<Input> {
        let process = self.processes.get_mut(place)?.take()?;
        let status = match process.told {
            Told::Nothing => ExitStatus::Code(1),
            Told::Stop => ExitStatus::Signal(Signal::TERM.0),
            Told::Kill { .. } => ExitStatus::Signal(Signal::KILL.0),
        };
        let job = JobId(u16::try_from(place).unwrap_or(u16::MAX));
        let run = RunId { job, kind: RunKind::Main, nth: process.nth };
        Some(Input::Exited { run, status, tree: Tree::Gone, output: "".into() })
    }
}

const fn line_of(owner: Owner) -> Line {
    match owner {
        Owner::Session(_) => Line::Session,
        Owner::Lock(_) | Owner::Job(_) | Owner::Watch(_) => Line::Key,
    }
}

/// Reads a request as this Consul understands it; the wait of a read is left to the caller.
pub(super) fn ask_of(request: &ConsulRequest, wait: u64) -> Ask {
    match request {
        ConsulRequest::SessionCreate { .. } => Ask::Create,
        ConsulRequest::SessionRenew { session } => Ask::Renew(session_of(session)),
        ConsulRequest::SessionDestroy { session } => Ask::Destroy(session_of(session)),
        ConsulRequest::Acquire { session, modified, .. } => {
            Ask::Acquire(session_of(session), *modified)
        }
        ConsulRequest::Release { session, .. } => Ask::Release(session_of(session)),
        ConsulRequest::LockRead { index, .. } => Ask::Read { index: *index, wait },
        ConsulRequest::Register(_)
        | ConsulRequest::Deregister { .. }
        | ConsulRequest::Report { .. }
        | ConsulRequest::Instances { .. }
        | ConsulRequest::File { .. }
        | ConsulRequest::Keys { .. } => Ask::Read { index: 0, wait: 0 },
    }
}

/// Reads the name of a session.
pub(super) fn session_of(name: &str) -> SessionId {
    name.parse().unwrap_or(NOBODY)
}

/// Builds the answer that an engine understands.
pub(super) fn input_of(line: Line, nth: u32, answer: Option<Answer>) -> Input {
    let owner = match line {
        Line::Key => Owner::Lock(LockId(0)),
        Line::Session => Owner::Session(LockId(0)),
    };
    let reply = match answer {
        None => ConsulReply::Failed(ConsulFailure::Unreachable("".into())),
        Some(Answer::Done) => ConsulReply::Done,
        Some(Answer::Unknown) => ConsulReply::Failed(ConsulFailure::Unknown),
        Some(Answer::Session(id)) => ConsulReply::Session { id: id.to_string().into() },
        Some(Answer::Acquired(token)) => ConsulReply::Acquired { token },
        Some(Answer::Refused) => {
            ConsulReply::Failed(ConsulFailure::Refused { status: 500, body: "".into() })
        }
        Some(Answer::Entry { index, entry }) => {
            let entries = entry.iter().map(entry_of).collect();
            ConsulReply::Keys { index, entries }
        }
    };
    Input::Consul { op: ConsulOp { owner, nth }, reply }
}

fn entry_of(entry: &Entry) -> steersman_engine::consul::Entry {
    steersman_engine::consul::Entry {
        key: "lead".into(),
        value: "".into(),
        modified: entry.modified,
        flags: match entry.mark {
            Mark::Held => limits::HELD_FLAG,
            Mark::Released => limits::RELEASED_FLAG,
            Mark::Foreign => 0,
        },
        acquired: u64::from(!entry.is_plain),
        created: entry.created,
        session: (entry.session != NOBODY).then(|| entry.session.to_string().into()),
    }
}
