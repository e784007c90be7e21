//! Marks around texts and actions, by which the output tells where it comes from.

use super::functions::{LITERAL, ONLY_SET};
use super::literals::{self, Kind};
use super::segments::{Action, TRIMMED};
use crate::front::text::{Origin, Piece, Span};

/// The character that begins and ends a mark.
const MARK: char = '\0';

/// A template with marks, ready for the engine.
#[derive(Debug)]
pub(crate) struct Marked {
    /// The text for the engine.
    pub(crate) text: String,
    /// Names of variables that actions reference.
    pub(crate) names: Vec<String>,
    /// Whether an action looks at all variables at once.
    pub(crate) uses_whole_map: bool,
    /// The literals that the engine gets as values.
    pub(crate) literals: Vec<String>,
    /// What each mark stands for, by its number.
    origins: Vec<Origin>,
    /// Stretches copied from the file: the first byte in the text for the engine, and in the file.
    copies: Vec<(usize, Span)>,
}

/// A literal that Go would refuse, at its place in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BadLiteral(pub(crate) Span);

impl Marked {
    /// Wraps every text and every action with output in marks, and trims what is to be trimmed.
    pub(crate) fn new(text: &str, actions: &[Action]) -> Result<Marked, BadLiteral> {
        let mut marked = Marked {
            text: String::with_capacity(text.len() + actions.len() * 12),
            names: Vec::new(),
            uses_whole_map: false,
            literals: Vec::new(),
            origins: Vec::new(),
            copies: Vec::new(),
        };
        let mut at = 0;
        let mut trims = false;
        for action in actions {
            marked.push_text(text, Span::new(at, action.span.start), trims, action.trims_before);
            marked.push_action(text, action)?;
            at = action.span.end;
            trims = action.trims_after;
        }
        marked.push_text(text, Span::new(at, text.len()), trims, false);
        Ok(marked)
    }

    fn push_text(&mut self, source: &str, span: Span, trims_start: bool, trims_end: bool) {
        let mut text = &source[span.start..span.end];
        if trims_end {
            text = text.trim_end_matches(TRIMMED);
        }
        let end = span.start + text.len();
        if trims_start {
            text = text.trim_start_matches(TRIMMED);
        }
        let span = Span::new(end - text.len(), end);
        if span.start < span.end {
            self.push_mark(Origin::Copied(span.start));
            self.copy(source, span);
        }
    }

    fn push_action(&mut self, source: &str, action: &Action) -> Result<(), BadLiteral> {
        if action.is_comment {
            return Ok(());
        }
        let body = &source[action.body.start..action.body.end];
        collect_names(body, &mut self.names);
        let word = body.trim_start_matches(TRIMMED);
        let word = &word[..word.find(|c: char| !c.is_alphanumeric()).unwrap_or(word.len())];
        if !is_control(word) {
            self.push_mark(Origin::Produced(action.span));
        }
        self.text.push_str("{{");
        match whole_map_at(word, body) {
            Some(at) => {
                self.uses_whole_map = true;
                self.copy_body(source, Span::new(action.body.start, action.body.start + at), word)?;
                self.text.push_str(ONLY_SET);
                self.text.push(' ');
                self.copy_body(source, Span::new(action.body.start + at, action.body.end), word)?;
            }
            None => {
                self.uses_whole_map |= body.contains("len");
                self.copy_body(source, action.body, word)?;
            }
        }
        self.text.push_str("}}");
        Ok(())
    }

    fn push_mark(&mut self, origin: Origin) {
        let number = self.origins.len();
        self.origins.push(origin);
        self.text.push_str(&format!("{MARK}{number}{MARK}"));
    }

    /// Copies an action's body; literals that the engine would misread become values.
    fn copy_body(&mut self, source: &str, span: Span, word: &str) -> Result<(), BadLiteral> {
        let mut at = span.start;
        while let Some((kind, literal)) = literals::next_difficult(&source[..span.end], at) {
            let quoted = &source[literal.start..literal.end];
            let value = literals::unquote(quoted).ok_or(BadLiteral(literal))?;
            self.copy(source, Span::new(at, literal.start));
            self.copies.push((self.text.len(), Span::new(literal.start, literal.start + 1)));
            let is_name = matches!(word, "define" | "block" | "template");
            match (kind, value.chars().next()) {
                (Kind::Character, Some(c)) if value.chars().count() == 1 => {
                    self.text.push_str(&(c as u32).to_string());
                }
                (Kind::Character, _) => return Err(BadLiteral(literal)),
                // The name of a template must stay a literal, and an easy one.
                (Kind::Text, _) if is_name && value.contains(['\\', '"', '\n']) => {
                    return Err(BadLiteral(literal));
                }
                (Kind::Text, _) if is_name => self.text.push_str(&format!("\"{value}\"")),
                (Kind::Text, _) => {
                    let number = self.literals.len();
                    self.text.push_str(&format!("({LITERAL} {number})"));
                    self.literals.push(value);
                }
            }
            at = literal.end;
        }
        self.copy(source, Span::new(at, span.end));
        Ok(())
    }

    fn copy(&mut self, source: &str, span: Span) {
        self.copies.push((self.text.len(), span));
        self.text.push_str(&source[span.start..span.end]);
    }

    /// Takes the marks out of the output; gives it with the origin of its parts.
    pub(crate) fn unmark(&self, output: String) -> (String, Vec<Piece>) {
        let mut text = String::with_capacity(output.len());
        let mut pieces: Vec<Piece> = Vec::new();
        for (index, part) in output.split(MARK).enumerate() {
            // Odd parts are between two marks: the number.
            match (index % 2, part.parse::<usize>().ok().and_then(|n| self.origins.get(n))) {
                (1, Some(origin)) => {
                    if pieces.last().is_some_and(|last| last.start == text.len()) {
                        pieces.pop();
                    }
                    pieces.push(Piece { start: text.len(), origin: *origin });
                }
                // A template that writes NUL itself: its origin is unknown from here on.
                (1, None) => return (without_marks(&output), Vec::new()),
                _ => text.push_str(part),
            }
        }
        (text, pieces)
    }

    /// Finds the place in the file of a line and column (both from 1, in bytes) of the engine's
    /// text.
    pub(crate) fn written_span(&self, line: usize, column: usize, length: usize) -> Span {
        let line_start = self
            .text
            .split_inclusive('\n')
            .take(line.saturating_sub(1))
            .map(str::len)
            .sum::<usize>();
        let start = line_start + column.saturating_sub(1);
        Span::new(self.written(start), self.written(start + length.max(1)))
    }

    /// Gives the byte of the file for a byte of the engine's text.
    fn written(&self, at: usize) -> usize {
        let index = self.copies.partition_point(|(start, _)| *start <= at);
        match index.checked_sub(1).and_then(|index| self.copies.get(index)) {
            Some((start, span)) => span.end.min(span.start + (at - start)),
            None => 0,
        }
    }
}

/// Takes marks and their numbers out of a text.
pub(crate) fn without_marks(text: &str) -> String {
    let mut clean = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(MARK) {
        clean.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        rest = match after[digits..].strip_prefix(MARK) {
            Some(after) if digits > 0 => after,
            _ => {
                clean.push(MARK);
                after
            }
        };
    }
    clean.push_str(rest);
    clean
}

/// Tells whether an action that begins with this word writes nothing itself.
fn is_control(word: &str) -> bool {
    matches!(
        word,
        "if" | "else"
            | "end"
            | "range"
            | "with"
            | "define"
            | "block"
            | "template"
            | "break"
            | "continue"
    )
}

/// Finds the `.` or `$` of a `range` over all variables.
fn whole_map_at(word: &str, body: &str) -> Option<usize> {
    if word != "range" {
        return None;
    }
    let trimmed = body.trim_end_matches(TRIMMED);
    let at = trimmed.len().checked_sub(1)?;
    let before = trimmed[..at].chars().next_back()?;
    let whole = matches!(&trimmed[at..], "." | "$");
    (whole && (TRIMMED.contains(&before) || before == '=')).then_some(at)
}

/// Collects every `.NAME` of an action, and of `$.NAME`.
fn collect_names(body: &str, names: &mut Vec<String>) {
    for (at, _) in body.match_indices('.') {
        let rest = &body[at + 1..];
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        let name = &rest[..end];
        let is_name = name.starts_with(|c: char| c.is_alphabetic() || c == '_');
        if is_name && !names.iter().any(|known| known == name) {
            names.push(String::from(name));
        }
    }
}
