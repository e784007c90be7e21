//! What must never happen, judged from what goes over the engine's boundary and from the truth
//! about the processes. Shares no code with the engine.
//!
//! Three judges a node: one knows the truth about the processes, the other keeps a ledger of what
//! the supervisor was told and said, and asks of every effect for its cause and of every cause for
//! its effect. A third looks at what it owes to its locks; another judges over all nodes
//! (`exclusion`).

mod checks;
mod control;
mod ending;
mod guard;
mod job;
mod ledger;
mod level;
mod processes;
mod reload;
mod runs;
mod settle;
mod stop;
mod terms;
mod trigger;
mod watch;

use core::fmt;
use core::time::Duration;

use steersman_engine::config::{Config, Name, Signal};
use steersman_engine::{Effect, Input, JobId, RunId, Stamp, Time};

use crate::agenda::NodeId;
use crate::exclusion::Exclusion;
use crate::observer::Fact;
use guard::GuardView;
use ledger::Ledger;
use processes::NodeView;
use terms::Terms;

/// Something that must never happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Time,
    /// On which node.
    pub node: NodeId,
    /// What happened, for people.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_nanos(self.at.0).as_secs_f64();
        write!(f, "{seconds:.3}s node {}: {}", self.node.0, self.what)
    }
}

/// Judges every line of the story as it comes.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    nodes: Vec<NodeView>,
    ledgers: Vec<Ledger>,
    guards: Vec<GuardView>,
    terms: Vec<Terms>,
    exclusion: Exclusion,
    violations: Vec<Violation>,
    is_without_ledgers: bool,
}

impl Oracle {
    /// Gives what happened and must not have.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn blame(&mut self, at: Time, node: NodeId, what: String) {
        self.violations.push(Violation { at, node, what });
    }

    pub(crate) fn on_node(&mut self, config: &Config) {
        let id = NodeId(u16::try_from(self.nodes.len()).unwrap_or(u16::MAX));
        self.exclusion.on_config(id, config);
        self.nodes.push(NodeView::new(config));
        self.guards.push(GuardView::new(config));
        self.ledgers.push(self.new_ledger(config));
        self.terms.push(self.new_terms(config));
    }

    fn new_ledger(&self, config: &Config) -> Ledger {
        let mut ledger = Ledger::default();
        match self.is_without_ledgers {
            true => ledger.on_killed(),
            false => ledger = Ledger::new(config),
        }
        ledger
    }

    fn new_terms(&self, config: &Config) -> Terms {
        let mut terms = Terms::new(config);
        if self.is_without_ledgers {
            terms.switch_off();
        }
        terms
    }

    /// Keeps no ledgers: for searches that move what is due, and so break every bound on purpose.
    pub(crate) const fn keep_no_ledgers(&mut self) {
        self.is_without_ledgers = true;
    }

    /// Gives the nodes that run something under a lock's key.
    pub fn holders(&self, key: &str) -> Vec<NodeId> {
        self.exclusion.holders(key)
    }

    /// Counts the overlaps that no software on the node could have prevented.
    pub const fn excused(&self) -> u32 {
        self.exclusion.excused()
    }

    /// A supervisor that did not run cannot keep a deadline.
    pub(crate) fn on_resumed(&mut self, at: Time, mono: Time, id: NodeId, missed: Duration) {
        self.nodes[id.index()].on_resumed(missed);
        self.ledgers[id.index()].on_resumed(mono);
        self.terms[id.index()].on_resumed(mono);
        self.exclusion.on_released(at, id);
    }

    pub(crate) fn on_held(&mut self, at: Time, id: NodeId, is_all: bool) {
        self.exclusion.on_held(at, id, is_all);
    }

    /// Gives the processes that work under a lock's key, each with its token.
    pub fn writers(&self, key: &str) -> Vec<(NodeId, RunId, u64)> {
        self.exclusion.writers(key)
    }

    /// Tells whether Consul has lost its state: tokens begin anew.
    pub const fn are_tokens_void(&self) -> bool {
        self.exclusion.are_tokens_void()
    }

    pub(crate) const fn on_state_lost(&mut self) {
        self.exclusion.on_state_lost();
    }

    /// A container has a new life.
    pub(crate) fn on_life(&mut self, id: NodeId, config: &Config) {
        self.nodes[id.index()] = NodeView::new(config);
        self.guards[id.index()] = GuardView::new(config);
        self.ledgers[id.index()] = self.new_ledger(config);
        self.terms[id.index()] = self.new_terms(config);
        self.exclusion.on_life(id, config);
    }

    /// A container was killed: nobody owes anything any more.
    pub(crate) fn on_killed(&mut self, id: NodeId) {
        self.ledgers[id.index()].on_killed();
        self.terms[id.index()].switch_off();
    }

    pub(crate) fn on_fact(&mut self, at: Time, mono: Time, id: NodeId, fact: Fact) {
        let node = &mut self.nodes[id.index()];
        let problem = match fact {
            Fact::ProcessStarted(_) if !self.exclusion.has_locks() => None,
            Fact::ProcessStarted(run) => {
                let job = node.job_of(run);
                job.and_then(|job| self.exclusion.on_started(at, id, run, &job))
            }
            Fact::ProcessEnded(..) => None,
            Fact::TreeGone(run) => {
                self.exclusion.on_gone(id, run);
                None
            }
        };
        node.on_fact(mono, fact);
        self.terms[id.index()].on_fact(fact);
        if let Some(what) = problem {
            self.blame(at, id, what);
        }
    }

    pub(crate) fn on_input(&mut self, at: Time, stamp: Stamp, id: NodeId, input: &Input) {
        if let Some(what) = self.nodes[id.index()].on_input(stamp.mono, input) {
            self.blame(at, id, what);
        }
        self.guards[id.index()].on_input(stamp.mono, input);
        self.ledgers[id.index()].on_input(stamp, input);
        self.terms[id.index()].on_input(stamp.mono, input);
        self.collect(at, id);
    }

    pub(crate) fn on_effect(
        &mut self,
        at: Time,
        mono: Time,
        id: NodeId,
        effect: &Effect,
        name: &impl Fn(JobId) -> Name,
    ) {
        if let Some(what) = self.nodes[id.index()].on_effect(mono, effect, name) {
            self.blame(at, id, what);
        }
        match effect {
            Effect::Start { run, .. } => {
                if let Some(what) = self.exclusion.on_asked(id, *run, &name(run.job)) {
                    self.blame(at, id, what);
                }
            }
            Effect::Signal { run, signal: Signal::KILL } => self.exclusion.on_kill(id, *run),
            Effect::Published(event) => self.exclusion.on_event(id, *event),
            Effect::Applied(config) => self.exclusion.on_config(id, config),
            Effect::SetVariable { name, value } => {
                self.exclusion.on_variable(id, name, value.as_deref());
            }
            _ => {}
        }
        if let Some(what) = self.guards[id.index()].on_effect(mono, effect, name) {
            self.blame(at, id, what);
        }
        self.ledgers[id.index()].on_effect(effect, name);
        self.terms[id.index()].on_effect(effect, name);
        self.collect(at, id);
    }

    /// All effects of an input have been seen.
    pub(crate) fn on_settled(&mut self, at: Time, id: NodeId) {
        if let Some(what) = self.guards[id.index()].on_settled() {
            self.blame(at, id, what);
        }
        self.ledgers[id.index()].on_settled();
        self.terms[id.index()].on_settled();
        self.collect(at, id);
    }

    /// The world ends: what was due before and never came is missing.
    pub(crate) fn on_world_end(&mut self, at: Time, mono: Time, id: NodeId) {
        self.ledgers[id.index()].on_world_end(mono);
        self.collect(at, id);
    }

    fn collect(&mut self, at: Time, id: NodeId) {
        let owed = self.terms[id.index()].take_problems();
        for what in self.ledgers[id.index()].take_problems().into_iter().chain(owed) {
            self.blame(at, id, what);
        }
    }
}
