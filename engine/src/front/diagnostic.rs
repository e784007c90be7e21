//! Problems of a configuration: where, what, and what to do.

use std::sync::Arc;

use serde::Serialize;

/// How bad a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The configuration cannot be run.
    Error,
    /// It can be run, but probably does not do what was meant.
    Warning,
}

/// One problem, with its place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of problem, for tools; stable, in kebab-case.
    pub code: &'static str,
    /// The file, as given.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// The first place after it.
    pub end: Position,
    /// The whole line at the place, without its end.
    pub source_line: Box<str>,
    /// Whether places count in the rendered text, not in the file as written.
    pub rendered: bool,
    /// What is wrong; starts with "cannot".
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

/// A place in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

/// All problems of one file, each kind sorted by place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What must be mended.
    pub errors: Vec<Diagnostic>,
    /// What should be looked at.
    pub warnings: Vec<Diagnostic>,
}

impl Report {
    /// Tells whether the configuration can be run.
    pub fn is_good(&self) -> bool {
        self.errors.is_empty()
    }

    /// Shows every problem for people, each with its source line and a marker.
    pub fn to_text(&self, colours: Colours) -> String {
        let mut text = String::new();
        for diagnostic in self.errors.iter().chain(&self.warnings) {
            text.push_str(&diagnostic.to_text(colours));
            text.push('\n');
        }
        text
    }
}

/// Whether to colour what people read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colours {
    /// Terminal escapes.
    On,
    /// Plain text.
    Off,
}

impl Diagnostic {
    /// Shows the problem for people, with its source line and a marker.
    pub fn to_text(&self, _colours: Colours) -> String {
        format!("{}:{}:{}: {}", self.file, self.line, self.column, self.message)
    }
}
