//! The arena: what can be chosen is carried out here, and judged by the truth about processes.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::Input;
use steersman_engine::Time;
use steersman_engine::consul::ConsulRequest;
use steersman_engine::event::SignalName;

use super::consul::{Answer, Ask, Consul, SessionId};
use super::node::{
    Cut, Deed, Flight, LINES, Line, Node, Power, Stage, Surroundings, Told, ask_of, input_of,
};
use super::rules::Rules;

/// One choice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// A tick passes.
    Elapse,
    /// A request is carried out, and its answer arrives.
    Answer(u8, Line),
    /// A request is carried out; its answer takes longer.
    CarryOut(u8, Line),
    /// A request, or its answer, takes longer.
    Hold(u8, Line),
    /// An answer arrives.
    Deliver(u8, Line),
    /// A request or an answer gets lost.
    Lose(u8, Line),
    /// A request is carried out, and its answer gets lost.
    LoseAnswer(u8, Line),
    /// A request will be carried out when its sender has given it up.
    Delay(u8, Line),
    /// A request is carried out although its sender has given it up.
    Straggle(u8),
    /// A process that was told to, or by trouble, ends.
    Exit(u8, u8),
    /// Consul lets a session expire.
    Expire(SessionId),
    /// A node is cut off, both ways or so that it hears nothing.
    Cut(u8, bool),
    /// A node is no longer cut off.
    Mend(u8),
    /// A supervisor is held up.
    Pause(u8),
    /// It goes on.
    Resume(u8),
    /// A node loses its power.
    Crash(u8),
    /// A node begins anew.
    Boot(u8),
    /// A supervisor is asked to end.
    Stop(u8),
    /// An operator destroys the session that holds the key.
    Destroy,
    /// An operator writes to the key.
    Put,
    /// An operator deletes the key.
    Delete,
    /// An operator deletes the key and writes it from a backup.
    Restore,
    /// Consul forgets everything; its index goes on, or not.
    Forget(bool),
}

/// What must never be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A second node acts for a term while the first still does.
    TwoHolders,
    /// A process was given a token that is not above all before.
    TokenFell,
    /// The lock was given back while something acted for its term.
    ReleasedTooEarly,
    /// A holder asked for a second session.
    SecondSession,
    /// Nothing is wrong, and nobody leads in the end.
    NobodyLeads,
}

/// A request that its sender has given up and that may still be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Straggler {
    pub(super) ask: Ask,
    pub(super) until: u64,
}

/// An election.
#[derive(Clone, Debug)]
pub struct Arena {
    pub(super) rules: Arc<Rules>,
    pub(super) now: u64,
    pub(super) consul: Consul,
    pub(super) nodes: Vec<Node>,
    pub(super) stragglers: Vec<Straggler>,
    pub(super) troubles_left: u8,
    /// The highest token that a process was given, and by which node.
    pub(super) newest: (u64, u8),
    pub(super) breach: Option<Breach>,
}

impl Arena {
    /// Begins an election: every candidate has just begun.
    pub fn new(rules: Arc<Rules>) -> Arena {
        let nodes = vec![Node::new(rules.fresh.clone()); rules.candidates];
        let mut arena = Arena {
            now: 0,
            consul: Consul::new(u64::from(rules.lock_delay)),
            nodes,
            stragglers: Vec::new(),
            troubles_left: rules.troubles_max,
            newest: (0, 0),
            breach: None,
            rules,
        };
        for node in 0..arena.nodes.len() {
            arena.boot(node);
        }
        arena
    }

    /// Gives how many ticks have passed.
    pub const fn now(&self) -> u64 {
        self.now
    }

    /// Gives what is wrong.
    pub const fn breach(&self) -> Option<Breach> {
        self.breach
    }

    /// Counts the nodes on which something acts for a term.
    pub fn holders(&self) -> usize {
        self.nodes.iter().filter(|node| node.sworn().next().is_some()).count()
    }

    /// Shows every node and the key in a line.
    pub fn shown(&self) -> String {
        let nodes = self.nodes.iter().map(|node| {
            let status = node.engine.status();
            let standing = status.locks.first().map(|lock| lock.standing);
            let told = node.processes.iter().flatten().map(|process| process.told);
            format!("{:?} {standing:?} {:?}", node.power, told.collect::<Vec<_>>())
        });
        let nodes: Vec<_> = nodes.collect();
        let barred = self.consul.barred_until.saturating_sub(self.now);
        format!("{} | {:?} barred {barred}", nodes.join(" | "), self.consul.entry)
    }

    /// Tells whether somebody leads within so many ticks, when nothing goes wrong any more and
    /// everything comes as soon as it can.
    pub fn settles(&self, ticks: u64) -> bool {
        let mut arena = Arena { troubles_left: 0, ..self.clone() };
        let until = arena.now + ticks;
        let mut choices = Vec::new();
        while arena.now < until && arena.breach.is_none() {
            if arena.nodes.iter().any(Node::leads) {
                return true;
            }
            choices.clear();
            crate::explore::model::Model::choices(&arena, &mut choices);
            // Time passes when nothing else is left to happen.
            let Some(choice) = choices.first() else { return false };
            arena.carry_out(*choice);
        }
        false
    }

    /// Carries out a choice.
    pub(super) fn carry_out(&mut self, choice: Choice) {
        match choice {
            Choice::Elapse => self.elapse(),
            Choice::Answer(node, line) => {
                self.reach_consul(node.into(), line);
                self.deliver(node.into(), line);
            }
            Choice::CarryOut(node, line) => {
                self.reach_consul(node.into(), line);
                if self.nodes[usize::from(node)].power == Power::Up {
                    self.hold(node.into(), line);
                }
            }
            Choice::Hold(node, line) => self.hold(node.into(), line),
            Choice::Deliver(node, line) => self.deliver(node.into(), line),
            Choice::Lose(node, line) => self.lose(node.into(), line),
            Choice::LoseAnswer(node, line) => {
                self.reach_consul(node.into(), line);
                self.lose(node.into(), line);
            }
            Choice::Delay(node, line) => self.delay(node.into(), line),
            Choice::Straggle(place) => {
                let straggler = self.stragglers.remove(place.into());
                self.ask_consul(straggler.ask);
            }
            Choice::Exit(node, place) => self.exit(node.into(), place.into()),
            Choice::Expire(session) => self.invalidate(session),
            Choice::Cut(node, is_deaf) => self.cut(node.into(), is_deaf),
            Choice::Mend(node) => self.nodes[usize::from(node)].cut = Cut::No,
            Choice::Pause(node) => {
                // It begins when the next tick is about to: what is due then is late by P at most.
                let until = self.now + 1 + u64::from(self.rules.figures.pause_max);
                self.nodes[usize::from(node)].power = Power::Paused { until };
            }
            Choice::Resume(node) => self.resume(node.into()),
            Choice::Crash(node) => self.crash(node.into()),
            Choice::Boot(node) => self.boot(node.into()),
            Choice::Stop(node) => {
                self.nodes[usize::from(node)].is_stopping = true;
                self.feed(node.into(), Input::Signal(SignalName::Term));
            }
            Choice::Destroy => self.invalidate(self.consul.holder()),
            Choice::Put => {
                self.consul.put();
                self.wake_readers();
            }
            Choice::Delete => {
                self.consul.delete();
                self.wake_readers();
            }
            Choice::Restore => {
                self.consul.restore();
                self.wake_readers();
            }
            Choice::Forget(counts_on) => {
                self.consul.forget(counts_on);
                if !counts_on {
                    self.newest = (0, 0);
                }
                self.wake_readers();
            }
        }
    }

    /// Lets a tick pass: what is due by now has happened before anything else does.
    fn elapse(&mut self) {
        self.now += 1;
        let now = self.now;
        self.stragglers.retain(|straggler| straggler.until >= now);
        for node in 0..self.nodes.len() {
            for place in 0..self.nodes[node].processes.len() {
                let process = self.nodes[node].processes[place];
                let is_due = |told: Told| matches!(told, Told::Kill { by } if by <= now);
                if process.is_some_and(|process| is_due(process.told) && !process.is_unheard) {
                    self.exit(node, place);
                }
            }
        }
        for node in 0..self.nodes.len() {
            self.let_read_end(node);
            match self.nodes[node].power {
                Power::Up => self.wake(node),
                Power::Paused { until } if until <= now => self.resume(node),
                Power::Paused { .. } | Power::Down => {}
            }
        }
    }

    /// Ends the wait of a blocking read.
    fn let_read_end(&mut self, node: usize) {
        let answer = Answer::Entry { index: self.consul.changed, entry: self.consul.entry };
        let is_deaf = self.nodes[node].cut == Cut::Deaf;
        if let Some(flight) = &mut self.nodes[node].key
            && let Stage::Parked { until } = flight.stage
            && until <= self.now
        {
            let answered = Stage::Answered { answer, held_until: 0 };
            flight.stage = if is_deaf { Stage::Lost } else { answered };
        }
    }

    /// Answers the blocking reads that wait for what has changed.
    fn wake_readers(&mut self) {
        let consul = &self.consul;
        for node in &mut self.nodes {
            let Some(flight) = &mut node.key else { continue };
            if let (Stage::Parked { .. }, Ask::Read { index, .. }) = (flight.stage, flight.ask)
                && consul.changed > index
            {
                let answer = Answer::Entry { index: consul.changed, entry: consul.entry };
                let answered = Stage::Answered { answer, held_until: 0 };
                flight.stage = if node.cut == Cut::Deaf { Stage::Lost } else { answered };
            }
        }
    }

    /// Gives a supervisor what its own clock and its time-outs bring.
    fn wake(&mut self, node: usize) {
        let clock = self.clock(node);
        if self.nodes[node].engine.next_wakeup().is_some_and(|at| at <= clock) {
            self.feed(node, Input::Tick);
        }
        for line in LINES {
            let Some(flight) = self.nodes[node].flight(line) else { continue };
            if flight.stage == Stage::Lost && flight.lost_at <= self.now {
                let nth = flight.nth;
                *self.nodes[node].flight_mut(line) = None;
                self.feed(node, input_of(line, nth, None));
            }
        }
    }

    /// A supervisor that was held up looks at the time first, then at what it has missed.
    fn resume(&mut self, node: usize) {
        self.nodes[node].power = Power::Up;
        self.feed(node, Input::Tick);
        self.wake(node);
        for place in 0..self.nodes[node].processes.len() {
            if self.nodes[node].processes[place].is_some_and(|process| process.is_unheard)
                && let Some(input) = self.nodes[node].reap(place)
            {
                self.feed(node, input);
            }
        }
    }

    fn boot(&mut self, node: usize) {
        let fresh = Node { cut: self.nodes[node].cut, ..Node::new(self.rules.fresh.clone()) };
        self.nodes[node] = Node { power: Power::Up, ..fresh };
        self.feed(node, Input::Begin);
    }

    fn crash(&mut self, node: usize) {
        for line in LINES {
            let flight = self.nodes[node].flight_mut(line).take();
            self.abandon(flight, 0);
        }
        let cut = self.nodes[node].cut;
        self.nodes[node] = Node { cut, ..Node::new(self.rules.fresh.clone()) };
    }

    /// What is on its way to Consul may still arrive; what is on its way back does not.
    fn cut(&mut self, node: usize, is_deaf: bool) {
        for line in LINES {
            let Some(flight) = self.nodes[node].flight(line).copied() else { continue };
            if is_deaf && matches!(flight.stage, Stage::Asked { .. }) {
                continue;
            }
            self.abandon(Some(flight), 0);
            self.lose(node, line);
        }
        self.nodes[node].cut = if is_deaf { Cut::Deaf } else { Cut::Both };
    }

    /// A process ends; its supervisor hears of it when it can.
    fn exit(&mut self, node: usize, place: usize) {
        match self.nodes[node].power {
            Power::Up => {
                if let Some(input) = self.nodes[node].reap(place) {
                    self.feed(node, input);
                }
            }
            Power::Paused { .. } | Power::Down => {
                if let Some(process) = &mut self.nodes[node].processes[place] {
                    process.is_unheard = true;
                }
            }
        }
    }

    fn invalidate(&mut self, session: SessionId) {
        self.consul.invalidate(session, self.now);
        self.wake_readers();
    }

    /// Carries out what somebody asked, whoever may still be listening.
    fn ask_consul(&mut self, ask: Ask) -> Answer {
        let answer = self.consul.carry_out(ask, self.now);
        self.wake_readers();
        answer
    }

    fn reach_consul(&mut self, node: usize, line: Line) {
        let Some(flight) = self.nodes[node].flight(line) else { return };
        let stage = match flight.ask {
            Ask::Read { index, wait } if index > 0 && self.consul.changed <= index => {
                Stage::Parked { until: self.now + wait }
            }
            ask => Stage::Answered { answer: self.ask_consul(ask), held_until: 0 },
        };
        let is_answered = matches!(stage, Stage::Answered { .. });
        let is_lost = is_answered && self.nodes[node].cut == Cut::Deaf;
        if let Some(flight) = self.nodes[node].flight_mut(line) {
            flight.stage = if is_lost { Stage::Lost } else { stage };
        }
    }

    fn hold(&mut self, node: usize, line: Line) {
        let until = self.now + 1;
        if let Some(flight) = self.nodes[node].flight_mut(line) {
            match &mut flight.stage {
                Stage::Asked { held_until } | Stage::Answered { held_until, .. } => {
                    *held_until = until;
                }
                Stage::Parked { .. } | Stage::Lost => {}
            }
        }
    }

    fn deliver(&mut self, node: usize, line: Line) {
        let Some(flight) = *self.nodes[node].flight_mut(line) else { return };
        if let Stage::Answered { answer, .. } = flight.stage {
            *self.nodes[node].flight_mut(line) = None;
            self.feed(node, input_of(line, flight.nth, Some(answer)));
        }
    }

    fn lose(&mut self, node: usize, line: Line) {
        if let Some(flight) = self.nodes[node].flight_mut(line) {
            flight.stage = Stage::Lost;
        }
    }

    fn delay(&mut self, node: usize, line: Line) {
        let flight = *self.nodes[node].flight_mut(line);
        let window = flight.map_or(0, |flight| flight.lost_at.saturating_sub(self.now));
        self.abandon(flight, window + u64::from(self.rules.late_max));
        self.lose(node, line);
    }

    /// Nobody waits for a request any more; it may still be carried out.
    fn abandon(&mut self, flight: Option<Flight>, longer: u64) {
        let Some(Flight { ask, stage: Stage::Asked { .. }, .. }) = flight else { return };
        let straggler = Straggler { ask, until: self.now + longer };
        if !matches!(ask, Ask::Read { .. } | Ask::Create) && !self.stragglers.contains(&straggler) {
            self.stragglers.push(straggler);
        }
    }

    pub(super) fn clock(&self, node: usize) -> Time {
        let tick = self.rules.clocks.tick_of(node).as_nanos();
        Time(u64::try_from(u128::from(self.now) * tick).unwrap_or(u64::MAX))
    }

    /// Gives an engine an input, and judges what it does.
    fn feed(&mut self, place: usize, input: Input) {
        let rules = self.rules.clone();
        let now = self.now;
        let around = Surroundings {
            now,
            clock: self.clock(place),
            kill_latency: u64::from(rules.figures.kill_latency),
        };
        let patience = |request: &ConsulRequest, timeout: Duration| {
            let (last, lost) = rules.patience(place, timeout);
            let wait = match request {
                ConsulRequest::LockRead { wait, .. } => rules.read_wait(*wait),
                _ => 0,
            };
            (ask_of(request, u64::from(wait)), now + u64::from(last), now + u64::from(lost))
        };
        let mut deeds = Vec::new();
        self.nodes[place].feed(input, around, &patience, &mut deeds);
        for (deed, before) in deeds {
            match deed {
                Deed::Started(process) => self.judge_start(place, process),
                Deed::Sent(line) => {
                    self.abandon(before, 0);
                    self.judge_request(place, line);
                }
                Deed::Ended => self.crash(place),
            }
        }
        self.forget_sessions_of_nobody();
    }
}
