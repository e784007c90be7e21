//! What goes over the boundaries, line by line, for whoever judges or tells the story.

use std::sync::Arc;

use steersman_engine::config::{Config, Name};
use steersman_engine::{Effect, Input, RunId, Stamp, Time};

use crate::agenda::NodeId;
use crate::database::Truth;
use crate::observer::Fact;
use crate::program::cue::Told;
use crate::script::Script;
use crate::world::Action;

/// How much is tapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    Nothing,
    /// What properties are judged by: facts, published events, ends of supervisors, and actions.
    Signs,
    /// Everything, so that the run can be told and replayed.
    Everything,
}

/// One line: when, where and what.
#[derive(Clone, Debug, PartialEq)]
pub struct Line {
    /// The world's time.
    pub at: Time,
    /// The node.
    pub node: NodeId,
    /// What happened.
    pub seen: Seen,
}

/// What a line is about.
#[derive(Clone, Debug, PartialEq)]
pub enum Seen {
    /// Something is done from outside.
    Action(Action),
    /// The engine takes in a fact; its clocks show this.
    Input(Stamp, Box<Input>),
    /// The engine asks for something.
    Effect(Box<Effect>),
    /// The engine's state, after the effects of an input.
    Digest(u64),
    /// Something is true of a process.
    Fact(Fact),
    /// A process was asked for and got its part; counted over all lives of its container.
    Cast(RunId, u32, Name, Arc<Script>),
    /// The container ended by force: its supervisor had no say.
    Killed,
    /// The container has a new life, with what its configuration file said.
    Born(Box<Config>),
    /// A program tells something.
    Told(RunId, Told),
    /// What is true of a database, by number, has changed.
    Truth(u8, Arc<Truth>),
}

/// Collects lines until somebody takes them.
#[derive(Clone, Debug, Default)]
pub struct Tap {
    level: Level,
    lines: Vec<Line>,
}

impl Tap {
    /// Sets how much is collected from now on.
    pub const fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Moves everything collected to the end of `lines`.
    pub fn drain_into(&mut self, lines: &mut Vec<Line>) {
        lines.append(&mut self.lines);
    }

    /// Collects a line when `level` is wanted; it is built only then.
    pub(crate) fn put(
        &mut self,
        level: Level,
        at: Time,
        node: NodeId,
        seen: impl FnOnce() -> Seen,
    ) {
        if self.level >= level {
            self.lines.push(Line { at, node, seen: seen() });
        }
    }

    pub(crate) fn on_effect(&mut self, at: Time, node: NodeId, effect: &Effect) {
        let is_sign =
            matches!(effect, Effect::Published(_) | Effect::Applied(_) | Effect::Exit { .. });
        let level = if is_sign { Level::Signs } else { Level::Everything };
        self.put(level, at, node, || Seen::Effect(Box::new(effect.clone())));
    }
}
