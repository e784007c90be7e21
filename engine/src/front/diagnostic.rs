//! Problems of a configuration: where, what, and what to do.

use std::sync::Arc;

use annotate_snippets::{Annotation, AnnotationKind, Group, Level, Renderer, Snippet};
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
#[serde(rename_all = "camelCase")]
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
    pub source_line: Arc<str>,
    /// Whether places count in the rendered text, not in the file as written.
    pub rendered: bool,
    /// What is wrong; starts with "cannot".
    pub message: Box<str>,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<Box<str>>,
    /// Other places that have to do with it.
    #[serde(skip_serializing_if = "<[Related]>::is_empty")]
    pub related: Box<[Related]>,
}

/// Another place that has to do with a problem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Related {
    /// Where it begins.
    pub start: Position,
    /// The first place after it.
    pub end: Position,
    /// The whole line at the place, without its end.
    pub source_line: Arc<str>,
    /// What it has to do with the problem.
    pub message: Box<str>,
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
            text.push_str("\n\n");
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
    /// Says the problem in one line, as a log wants it.
    pub fn to_line(&self) -> String {
        let Diagnostic { file, line, column, message, .. } = self;
        match &self.help {
            Some(help) => format!("{file}:{line}:{column}: {message} ({help})"),
            None => format!("{file}:{line}:{column}: {message}"),
        }
    }

    /// Shows the problem for people, with its source line and a marker; no line end at the end.
    pub fn to_text(&self, colours: Colours) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let path = match self.rendered {
            true => format!("{} (as rendered)", self.file),
            false => self.file.to_string(),
        };
        let start = Position { line: self.line, column: self.column };
        let mut snippet = Snippet::source(&*self.source_line)
            .line_start(self.line as usize)
            .path(&path)
            .annotation(AnnotationKind::Primary.span(marked_bytes(
                &self.source_line,
                start,
                self.end,
            )));
        let is_here = |related: &&Related| related.start.line == self.line;
        for related in self.related.iter().filter(is_here) {
            snippet = snippet.annotation(related.annotation());
        }
        let mut group =
            Group::with_title(level.primary_title(&*self.message).id(self.code)).element(snippet);
        for related in self.related.iter().filter(|related| !is_here(related)) {
            group = group.element(
                Snippet::source(&*related.source_line)
                    .line_start(related.start.line as usize)
                    .path(&path)
                    .annotation(related.annotation()),
            );
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(&**help));
        }
        let renderer = match colours {
            Colours::On => Renderer::styled(),
            Colours::Off => Renderer::plain(),
        };
        renderer.render(&[group])
    }
}

impl Related {
    fn annotation(&self) -> Annotation<'_> {
        let mark = marked_bytes(&self.source_line, self.start, self.end);
        AnnotationKind::Context.span(mark).label(&*self.message)
    }
}

/// Turns a place in characters into bytes of its line; never empty where the line allows.
fn marked_bytes(line: &str, start: Position, end: Position) -> std::ops::Range<usize> {
    let byte = |column: u32| {
        let column = column.saturating_sub(1) as usize;
        line.char_indices().nth(column).map_or(line.len(), |(at, _)| at)
    };
    let from = byte(start.column);
    let to = if end.line > start.line { line.len() } else { byte(end.column) };
    from..to.max(from)
}
