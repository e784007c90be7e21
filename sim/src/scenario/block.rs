//! Reading blocks key by key, with every problem noted and none fatal.

use core::time::Duration;

use steersman_engine::front::Diagnostic;
use steersman_engine::front::document::{Document, Tree, TreeValue, parse_duration, suggestion};

use crate::explore::Span;

/// One key that a block may have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    /// The type, as a JSON Schema names its definition.
    pub(super) kind: &'static str,
    pub(super) doc: &'static str,
}

pub(super) const fn key(name: &'static str, kind: &'static str, doc: &'static str) -> Key {
    Key { name, kind, doc }
}

/// A name, where it is, and its value.
pub(super) type Member<'t> = (&'t str, (usize, usize), &'t Tree);

/// The file that is read, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) document: Document,
    pub(super) problems: Vec<Diagnostic>,
}

/// One block that was opened.
#[derive(Debug)]
pub(super) struct Block<'t> {
    pub(super) owner: String,
    pub(super) span: (usize, usize),
    members: Vec<(&'static str, &'t Tree)>,
}

impl<'t> Block<'t> {
    pub(super) fn get(&self, name: &str) -> Option<&'t Tree> {
        let found = self.members.iter().find(|(key, _)| *key == name);
        found.map(|(_, tree)| *tree).filter(|tree| tree.value != TreeValue::Null)
    }
}

impl Reader {
    pub(super) fn blame(
        &mut self,
        code: &'static str,
        span: (usize, usize),
        message: impl Into<String>,
        help: Option<&str>,
    ) {
        let problem = self.document.problem(code, span, message, help.map(str::to_owned));
        self.problems.push(problem);
    }

    /// Opens a block with known keys.
    pub(super) fn open<'t>(
        &mut self,
        tree: &'t Tree,
        keys: &'static [Key],
        owner: &str,
    ) -> Option<Block<'t>> {
        let members = self.members(tree, owner)?;
        let mut known: Vec<(&'static str, &Tree)> = Vec::new();
        for (name, at, value) in members {
            let Some(key) = keys.iter().find(|key| key.name == name) else {
                let message = format!("cannot use the key `{name}` in {owner}: there is none");
                let help = suggestion(name, keys.iter().map(|key| key.name));
                self.blame("unknown-key", at, message, help.as_deref());
                continue;
            };
            known.push((key.name, value));
        }
        Some(Block { owner: owner.to_owned(), span: tree.span, members: known })
    }

    /// Opens a block whose keys are names; repeated ones are reported.
    pub(super) fn members<'t>(&mut self, tree: &'t Tree, owner: &str) -> Option<Vec<Member<'t>>> {
        let TreeValue::Object(list) = &tree.value else {
            let kind = tree.value.kind();
            let message = format!("cannot use {kind} as {owner}: it must be a block");
            let help = "a block is written as { key: value, … }";
            self.blame("wrong-type", tree.span, message, Some(help));
            return None;
        };
        let mut members: Vec<Member<'_>> = Vec::new();
        for (key, value) in list {
            let TreeValue::Text(name) = &key.value else { continue };
            if members.iter().any(|(known, ..)| known == name) {
                let message = format!("cannot give `{name}` twice in {owner}");
                self.blame("duplicate-key", key.span, message, Some("keep one of them"));
                continue;
            }
            members.push((name, key.span, value));
        }
        Some(members)
    }

    pub(super) fn text<'t>(&mut self, tree: &'t Tree, label: &str) -> Option<&'t str> {
        if let TreeValue::Text(text) = &tree.value {
            return Some(text);
        }
        let kind = tree.value.kind();
        let message = format!("cannot use {kind} as {label}: it must be a string");
        self.blame("wrong-type", tree.span, message, None);
        None
    }

    pub(super) fn list<'t>(&mut self, tree: &'t Tree, label: &str) -> &'t [Tree] {
        if let TreeValue::List(list) = &tree.value {
            return list;
        }
        let kind = tree.value.kind();
        let message = format!("cannot use {kind} as {label}: it must be a list");
        self.blame("wrong-type", tree.span, message, Some("a list is written as [ … ]"));
        &[]
    }

    /// Reads a number within limits.
    pub(super) fn number(
        &mut self,
        tree: &Tree,
        label: &str,
        least: f64,
        most: f64,
    ) -> Option<f64> {
        match tree.value {
            TreeValue::Number(number) if number >= least && number <= most => Some(number),
            _ => {
                let message = format!(
                    "cannot use this as {label}: it must be a number from {least} to {most}"
                );
                self.blame("out-of-range", tree.span, message, None);
                None
            }
        }
    }

    /// Reads a share of all cases, in millionths.
    pub(super) fn share(&mut self, tree: &Tree, label: &str) -> Option<u32> {
        let share = self.number(tree, label, 0.0, 1.0)?;
        Some((share * 1e6).round() as u32)
    }

    pub(super) fn duration(&mut self, tree: &Tree, label: &str) -> Option<Duration> {
        let read = match &tree.value {
            TreeValue::Text(text) => parse_duration(text),
            TreeValue::Number(number) if *number >= 0.0 && number.fract() == 0.0 => {
                parse_duration(&format!("{number:.0}"))
            }
            _ => Err(String::from("it must be whole seconds or like \"1m30s\"")),
        };
        match read {
            Ok(duration) => Some(duration),
            Err(reason) => {
                let message = format!("cannot use this as {label}: {reason}");
                self.blame("bad-value", tree.span, message, None);
                None
            }
        }
    }

    /// Reads a duration, or a list of the shortest and the longest.
    pub(super) fn span(&mut self, tree: &Tree, label: &str) -> Option<Span> {
        let TreeValue::List(ends) = &tree.value else {
            return self.duration(tree, label).map(Span::exactly);
        };
        let [from, to] = &ends[..] else {
            let message = format!("cannot use this as {label}: a range has two ends");
            let help = "write [\"1s\", \"20s\"]";
            self.blame("bad-value", tree.span, message, Some(help));
            return None;
        };
        let span = Span { from: self.duration(from, label)?, to: self.duration(to, label)? };
        if span.to < span.from {
            let message = format!("cannot use this as {label}: it ends before it begins");
            self.blame("bad-value", tree.span, message, None);
            return None;
        }
        Some(span)
    }
}
