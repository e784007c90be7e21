//! The machine that does the steps of a program: pure, it wants something and is told what came.

use std::sync::Arc;

use super::expression::Scope;
use super::variables::{Suffixes, Variables, text_of};
use super::{Block, Call, Handlers, Library, Step};
use crate::explore::Span;

/// So many steps without waiting take a moment: no loop stops the world.
const STEPS_AT_ONCE_MAX: u32 = 1_000;

/// How deep programs may run each other.
const DEPTH_MAX: usize = 64;

/// What a process wants next.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// Time; how long is drawn from the range, as the how manieth draw.
    Sleep(u32, Span),
    /// An answer to the how manieth call, with the values of its arguments.
    Ask(u32, Box<Asked>),
    /// A file of the container with new contents.
    Save(Arc<str>, Arc<str>),
    /// Its end, with a status, and why.
    Exit(u8, Arc<str>),
}

/// A call whose arguments are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// What is asked for.
    pub verb: super::Verb,
    /// With what.
    pub arguments: Vec<Arc<str>>,
    /// On which node.
    pub on: Option<Arc<str>>,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer, and more about it, by suffix.
    Good(Arc<str>, Suffixes),
    /// A failure: its kind, and a text for people.
    Bad(&'static str, Arc<str>),
}

impl Outcome {
    /// Builds a plain answer.
    pub fn text(text: impl AsRef<str>) -> Outcome {
        Outcome::Good(text_of(text.as_ref()), Vec::new())
    }

    /// Builds the answer to a question with two answers.
    pub fn is(is_so: bool) -> Outcome {
        Outcome::text(if is_so { "yes" } else { "" })
    }

    /// Builds a failure.
    pub fn bad(kind: &'static str, text: impl AsRef<str>) -> Outcome {
        Outcome::Bad(kind, Arc::from(text.as_ref()))
    }
}

/// A process that does a program.
#[derive(Clone, Debug)]
pub struct Machine {
    frames: Vec<Frame>,
    variables: Variables,
    /// Where the answer to the last call goes.
    into: Option<Option<Arc<str>>>,
    calls: u32,
    draws: u32,
}

#[derive(Clone, Debug)]
struct Frame {
    block: Block,
    at: usize,
    kind: Kind,
}

#[derive(Clone, Debug)]
enum Kind {
    /// Steps of a branch or a handler.
    Branch,
    /// A loop with so many rounds left, or without end.
    Loop(Option<u32>),
    /// A loop over words, with those that are left.
    For(Arc<str>, Vec<Arc<str>>),
    /// Steps that may fail.
    Try(Handlers),
    /// A whole program.
    Program,
}

impl Machine {
    /// Begins a program.
    pub fn new(block: Block) -> Machine {
        let frames = vec![Frame { block, at: 0, kind: Kind::Program }];
        Machine { frames, variables: Variables::default(), into: None, calls: 0, draws: 0 }
    }

    /// Tells which call is open.
    pub const fn open_call(&self) -> Option<u32> {
        if self.into.is_some() { Some(self.calls) } else { None }
    }

    /// Takes in what came of the open call.
    pub fn answer(&mut self, outcome: Outcome) -> Option<Want> {
        let into = self.into.take()?;
        match outcome {
            Outcome::Good(text, more) => {
                self.variables.answer(into?, text, more);
                None
            }
            Outcome::Bad(kind, text) => self.fail(kind, text),
        }
    }

    /// Goes on until it wants something.
    pub fn advance(&mut self, scope: Scope<'_>, library: &Library) -> Want {
        for _ in 0..STEPS_AT_ONCE_MAX {
            let Some(frame) = self.frames.last_mut() else {
                return Want::Exit(0, Arc::from("done"));
            };
            let block = frame.block.clone();
            let Some(step) = block.get(frame.at) else {
                self.leave_block();
                continue;
            };
            frame.at += 1;
            if let Some(want) = self.step(step, scope, library) {
                return want;
            }
        }
        self.draws += 1;
        Want::Sleep(self.draws, Span::millis(1, 1))
    }

    fn step(&mut self, step: &Step, scope: Scope<'_>, library: &Library) -> Option<Want> {
        match step {
            Step::Call(call) => return Some(self.call(call, scope)),
            Step::Let(name, value) => {
                let value = value.value(scope, &self.variables);
                self.variables.insert(name.clone(), value);
            }
            Step::Save(file, value) => {
                return Some(Want::Save(file.clone(), value.value(scope, &self.variables)));
            }
            Step::Sleep(span) => {
                self.draws += 1;
                return Some(Want::Sleep(self.draws, *span));
            }
            Step::If(condition, then, otherwise) => {
                let is_so = !condition.value(scope, &self.variables).is_empty();
                self.enter(if is_so { then } else { otherwise }, Kind::Branch);
            }
            Step::Repeat(times, body) => match times {
                Some(0) => {}
                Some(times) => self.enter(body, Kind::Loop(Some(times - 1))),
                None => self.enter(body, Kind::Loop(None)),
            },
            Step::For(name, list, body) => {
                let list = list.value(scope, &self.variables);
                let mut words: Vec<Arc<str>> = list.split_whitespace().map(Arc::from).collect();
                words.reverse();
                if let Some(word) = words.pop() {
                    self.variables.insert(name.clone(), word);
                    self.enter(body, Kind::For(name.clone(), words));
                }
            }
            Step::Try(body, handlers) => self.enter(body, Kind::Try(handlers.clone())),
            Step::Run(name) => {
                let Some(block) = library.get(name) else {
                    return self.fail("invalid", Arc::from(format!("no program \"{name}\"")));
                };
                if self.frames.len() >= DEPTH_MAX {
                    return self.fail("invalid", Arc::from("programs run each other for ever"));
                }
                self.enter(block, Kind::Program);
            }
            Step::Break => self.leave(|kind| matches!(kind, Kind::Loop(_) | Kind::For(..))),
            Step::Return => self.leave(|kind| matches!(kind, Kind::Program)),
            Step::Exit(status) => {
                let status = status.value(scope, &self.variables);
                let code = status.parse().unwrap_or(1);
                return Some(Want::Exit(code, Arc::from("")));
            }
            Step::Fail(kind) => return self.fail(kind, Arc::from("as the program says")),
        }
        None
    }

    fn call(&mut self, call: &Call, scope: Scope<'_>) -> Want {
        let value = |expr: &super::Expr| expr.value(scope, &self.variables);
        let arguments = call.arguments.iter().map(value).collect();
        let on = call.on.as_ref().map(value).filter(|on| **on != *scope.node);
        self.calls += 1;
        self.into = Some(call.into.clone());
        Want::Ask(self.calls, Box::new(Asked { verb: call.verb, arguments, on }))
    }

    fn enter(&mut self, block: &Block, kind: Kind) {
        self.frames.push(Frame { block: block.clone(), at: 0, kind });
    }

    /// The innermost block has come to its end.
    fn leave_block(&mut self) {
        let Some(frame) = self.frames.last_mut() else { return };
        let goes_round = match &mut frame.kind {
            Kind::Loop(None) => true,
            Kind::Loop(Some(left)) => match left.checked_sub(1) {
                Some(less) => {
                    *left = less;
                    true
                }
                None => false,
            },
            Kind::For(name, words) => match words.pop() {
                Some(word) => {
                    self.variables.insert(name.clone(), word);
                    true
                }
                None => false,
            },
            Kind::Branch | Kind::Try(_) | Kind::Program => false,
        };
        match goes_round {
            true => frame.at = 0,
            false => drop(self.frames.pop()),
        }
    }

    /// Leaves every block up to one of a kind, which is left as well.
    fn leave(&mut self, is_it: impl Fn(&Kind) -> bool) {
        while let Some(frame) = self.frames.pop() {
            if is_it(&frame.kind) {
                return;
            }
        }
    }

    /// Looks for a handler; without one the process ends.
    fn fail(&mut self, kind: &str, text: Arc<str>) -> Option<Want> {
        while let Some(frame) = self.frames.pop() {
            let Kind::Try(handlers) = frame.kind else { continue };
            let fits = |(wanted, _): &&(Arc<str>, Block)| **wanted == *kind || &**wanted == "any";
            if let Some((_, block)) = handlers.iter().find(fits) {
                self.variables.insert(Arc::from("error"), Arc::from(kind));
                self.variables.insert(Arc::from("error.text"), text);
                self.enter(block, Kind::Branch);
                return None;
            }
        }
        Some(Want::Exit(1, Arc::from(format!("{kind}: {text}"))))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::program::parse;

    fn block(steps: &[&str]) -> Block {
        steps.iter().map(|text| parse::step(text).expect(text)).collect()
    }

    fn condition(text: &str) -> crate::program::Expr {
        parse::expression(text).expect(text)
    }

    /// Runs a program; the answers come one after another. Gives what it asked for and its end.
    fn run(block: Block, answers: &[Outcome]) -> (Vec<String>, u8) {
        let files = BTreeMap::new();
        let scope = Scope { node: "n1", seconds: 7, clock: 7, files: &files, environment: &files };
        let mut machine = Machine::new(block);
        let (mut asked, mut answers) = (Vec::new(), answers.iter());
        loop {
            match machine.advance(scope, &Library::new()) {
                Want::Exit(status, _) => return (asked, status),
                Want::Ask(_, one) => {
                    asked.push(format!("{} {}", one.verb.as_str(), one.arguments.join(" ")));
                    let answer = answers.next().cloned().unwrap_or(Outcome::is(true));
                    if let Some(Want::Exit(status, _)) = machine.answer(answer) {
                        return (asked, status);
                    }
                }
                Want::Sleep(..) | Want::Save(..) => asked.push(String::from("waits")),
            }
        }
    }

    #[test]
    fn loops_end_by_count_by_break_and_with_their_list() {
        let body = block(&["say 'round'"]);
        let steps = [
            Step::Repeat(Some(2), body),
            Step::Repeat(None, block(&["say 'once'", "break"])),
            Step::For(Arc::from("x"), condition("'a b'"), block(&["say x + node"])),
        ];
        let (asked, status) = run(Arc::from(steps), &[]);
        let expected = ["say round", "say round", "say once", "say an1", "say bn1"];
        assert_eq!((asked, status), (expected.map(String::from).to_vec(), 0));
    }

    #[test]
    fn failures_find_their_handler_or_end_the_process() {
        let handlers: Handlers = Arc::from([(Arc::from("denied"), block(&["say error"]))]);
        let steps = |handlers: &Handlers| -> Block {
            let tried = Step::Try(block(&["db.login", "say 'in'"]), handlers.clone());
            Arc::from([tried, parse::step("exit 3").expect("a step")])
        };
        let denied = Outcome::bad("denied", "no such user");
        let (asked, status) = run(steps(&handlers), &[denied]);
        assert_eq!((asked.join("; ").as_str(), status), ("db.login ; say denied", 3));
        let (asked, status) = run(steps(&handlers), &[Outcome::bad("down", "not up")]);
        assert_eq!((asked.join("; ").as_str(), status), ("db.login ", 1));
    }

    #[test]
    fn answers_are_kept_with_what_belongs_to_them() {
        let more = vec![("session", Arc::from("s1"))];
        let steps = [
            parse::step("holder = kv.get 'k'").expect("a step"),
            Step::If(
                condition("holder == node and holder.session has 's1'"),
                block(&["say 'mine'"]),
                block(&["say 'foreign'"]),
            ),
        ];
        let (asked, _) = run(Arc::from(steps), &[Outcome::Good(Arc::from("n1"), more)]);
        assert_eq!(asked.last().map(String::as_str), Some("say mine"));
    }

    #[test]
    fn endless_loop_takes_time() {
        let body = block(&["x = 'y'"]);
        let mut machine = Machine::new(Arc::from([Step::Repeat(None, body)]));
        let files = BTreeMap::new();
        let scope = Scope { node: "n1", seconds: 0, clock: 0, files: &files, environment: &files };
        assert!(matches!(machine.advance(scope, &Library::new()), Want::Sleep(1, _)));
    }
}
