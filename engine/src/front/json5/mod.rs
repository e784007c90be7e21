//! JSON5 as a tree in which every key and value knows its place.

mod number;
mod scan;
mod string;

pub(crate) use number::Number;
pub(crate) use scan::parse;

use super::text::Span;

/// One value with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub(crate) span: Span,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Object(Vec<Member>),
}

/// One key with its value; keys of an object may repeat, the decoder objects to that.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Member {
    pub(crate) key: String,
    pub(crate) key_span: Span,
    pub(crate) value: Node,
}

impl Value {
    /// Names the type, with its article.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a list",
            Value::Object(_) => "an object",
        }
    }
}

/// How deep values may nest: a configuration needs six levels.
pub(crate) const DEPTH_MAX: usize = 100;

#[cfg(test)]
mod tests;
