//! Programs: what a simulated process does, step by step, when a life time alone says too little.
//!
//! A program is plain data, read from a scenario. It talks to Consul through its node's link, works
//! on the database model, keeps files in its container, and asks its supervisor. It sees nothing
//! else: equal surroundings make equal runs.

pub mod calls;
pub mod cue;
pub mod expression;
pub mod machine;
pub mod parse;
pub mod stage;
pub mod variables;
pub mod verb;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use expression::Expr;
pub use machine::{Machine, Outcome, Want};
pub use verb::Verb;

use crate::explore::Span;

/// Steps that are done one after another.
pub type Block = Arc<[Step]>;

/// What to do about a failure, by its kind; `any` stands for every kind.
pub type Handlers = Arc<[(Arc<str>, Block)]>;

/// One step of a program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Asks for something and waits for the answer.
    Call(Call),
    /// Sets a variable of the process.
    Let(Arc<str>, Expr),
    /// Writes a file of the container; an empty one is removed.
    Save(Arc<str>, Expr),
    /// Does nothing for a while.
    Sleep(Span),
    /// Goes one way or the other.
    If(Expr, Block, Block),
    /// Goes round so many times, or without end.
    Repeat(Option<u32>, Block),
    /// Goes round once for each word of a list.
    For(Arc<str>, Expr, Block),
    /// Does something that may fail.
    Try(Block, Handlers),
    /// Does the steps of another program.
    Run(Arc<str>),
    /// Leaves the innermost loop.
    Break,
    /// Leaves the program that another runs, or ends well.
    Return,
    /// Ends the process with a status.
    Exit(Expr),
    /// Fails in a way that a handler can catch.
    Fail(Arc<str>),
}

/// One request to somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    /// The variable that takes the answer.
    pub into: Option<Arc<str>>,
    /// What is asked for.
    pub verb: Verb,
    /// With what.
    pub arguments: Vec<Expr>,
    /// On which node, for the database; one's own when left out.
    pub on: Option<Expr>,
}

/// Every program of a scenario, by name.
pub type Library = std::collections::BTreeMap<Arc<str>, Block>;
