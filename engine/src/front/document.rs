//! JSON5 files of other kinds: the same reader, places and messages, without the keys of a
//! configuration.

use std::time::Duration;

use super::diagnostic::Diagnostic;
use super::json5::{self, Node, Value};
use super::problem::{Problem, Problems, Rule};
use super::text::{Source, Span};
use super::{Severity, duration, near};

/// A file that was read, for messages about it.
#[derive(Clone, Debug)]
pub struct Document {
    source: Source,
}

/// One value with its place: the first byte and the first after it.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// Where it is.
    pub span: (usize, usize),
    /// What it is.
    pub value: TreeValue,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub enum TreeValue {
    /// Nothing.
    Null,
    /// True or false.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A string; its contents begin one byte after the place, when nothing in it is escaped.
    Text(String),
    /// A list.
    List(Vec<Tree>),
    /// Keys and their values, as often as they were given.
    Object(Vec<(Tree, Tree)>),
}

impl Document {
    /// Reads a JSON5 text.
    ///
    /// # Errors
    /// Everything that keeps it from being read.
    pub fn read(file: &str, text: &str) -> Result<(Document, Tree), Vec<Diagnostic>> {
        let source = Source::plain(file, text);
        let mut problems = Problems::default();
        let node = json5::parse(&source.text(), &mut problems);
        let (errors, _) = problems.locate(&source);
        match node {
            Some(node) if errors.is_empty() => Ok((Document { source }, tree(&node))),
            _ => Err(errors),
        }
    }

    /// Builds a message about a place.
    pub fn problem(
        &self,
        code: &'static str,
        span: (usize, usize),
        message: impl Into<String>,
        help: Option<String>,
    ) -> Diagnostic {
        static OTHER: Rule = Rule { code: "document", severity: Severity::Error, doc: "" };
        let span = Span::new(span.0, span.1);
        let problem = Problem::new(&OTHER, span, message).maybe_help(help);
        Diagnostic { code, ..problem.locate(&self.source) }
    }
}

/// Says what may have been meant: the near word, or all there are.
pub fn suggestion<'a>(
    word: &str,
    words: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    near::suggestion(word, words)
}

/// Reads a duration as configurations write it.
///
/// # Errors
/// What is wrong with it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

impl TreeValue {
    /// Names the type, with its article.
    pub const fn kind(&self) -> &'static str {
        match self {
            TreeValue::Null => "null",
            TreeValue::Bool(_) => "a boolean",
            TreeValue::Number(_) => "a number",
            TreeValue::Text(_) => "a string",
            TreeValue::List(_) => "a list",
            TreeValue::Object(_) => "an object",
        }
    }
}

fn tree(node: &Node) -> Tree {
    let value = match &node.value {
        Value::Null => TreeValue::Null,
        Value::Bool(value) => TreeValue::Bool(*value),
        Value::Number(number) => TreeValue::Number(number.value),
        Value::Text(text) => TreeValue::Text(text.clone()),
        Value::List(list) => TreeValue::List(list.iter().map(tree).collect()),
        Value::Object(members) => TreeValue::Object(
            members
                .iter()
                .map(|member| {
                    let span = (member.key_span.start, member.key_span.end);
                    let key = Tree { span, value: TreeValue::Text(member.key.clone()) };
                    (key, tree(&member.value))
                })
                .collect(),
        ),
    };
    Tree { span: (node.span.start, node.span.end), value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_files_are_read_with_places() {
        let (document, tree) = Document::read("f", "{\n  a: [1, 'x'],\n}").expect("JSON5");
        let TreeValue::Object(members) = &tree.value else { panic!("no object") };
        let (key, value) = &members[0];
        assert_eq!(value.value.kind(), "a list");
        let problem = document.problem("bad-key", key.span, "cannot use `a`", None);
        assert_eq!((problem.line, problem.column, problem.code), (2, 3, "bad-key"));
        assert!(Document::read("f", "{").is_err());
    }
}
