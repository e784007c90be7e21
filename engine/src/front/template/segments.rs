//! The outline of a template: where its texts and actions are, without understanding the actions.

use crate::front::text::Span;

/// One action with its delimiters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Action {
    /// From the first brace to the last.
    pub(crate) span: Span,
    /// What is between the delimiters and their trim markers.
    pub(crate) body: Span,
    /// Whether the text before loses its white space.
    pub(crate) trims_before: bool,
    /// Whether the text after loses its white space.
    pub(crate) trims_after: bool,
    /// Whether it is a comment.
    pub(crate) is_comment: bool,
}

/// Why a template has no outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SplitError {
    /// The action that begins here does not end.
    Unclosed(usize),
    /// Parentheses or blocks nest too deeply here; the engine would recurse as deeply.
    TooDeep(usize),
}

/// How deep blocks may nest, an `else if` counting as one more level, as it does for the engine.
pub(crate) const BLOCKS_MAX: usize = 60;

/// How deep parentheses may nest in an action.
pub(crate) const PARENTHESES_MAX: usize = 32;

/// Finds all actions.
pub(crate) fn split(text: &str) -> Result<Vec<Action>, SplitError> {
    let mut actions = Vec::new();
    let mut at = 0;
    let mut levels = Levels::default();
    while let Some(start) = text[at..].find("{{").map(|found| at + found) {
        let trims_before = is_left_trim(&text[start + 2..]);
        let body_start = start + if trims_before { 4 } else { 2 };
        let is_comment = text[body_start..].starts_with("/*");
        let found = match is_comment {
            true => comment_end(text, body_start),
            false => action_end(text, start + 2)?,
        };
        let (body_end, end) = found.ok_or(SplitError::Unclosed(start))?;
        let trims_after = body_end + 2 < end;
        if !is_comment && levels.enter(&text[body_start..body_end.max(body_start)]) > BLOCKS_MAX {
            return Err(SplitError::TooDeep(start));
        }
        actions.push(Action {
            span: Span::new(start, end),
            body: Span::new(body_start, body_end.max(body_start)),
            trims_before,
            trims_after,
            is_comment,
        });
        at = end;
    }
    Ok(actions)
}

/// The white space that trim markers take away: Go's, not Unicode's.
pub(crate) const TRIMMED: [char; 4] = [' ', '\t', '\r', '\n'];

/// The blocks that are open, each with its levels.
#[derive(Default)]
struct Levels {
    open: Vec<usize>,
    total: usize,
}

impl Levels {
    /// Takes in an action; gives how deep the engine is then.
    fn enter(&mut self, body: &str) -> usize {
        let mut words = body.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
        match (words.next(), words.next()) {
            (Some("if" | "with" | "range" | "define" | "block"), _) => {
                self.open.push(1);
                self.total += 1;
            }
            (Some("else"), Some("if" | "with")) => {
                if let Some(levels) = self.open.last_mut() {
                    *levels += 1;
                    self.total += 1;
                }
            }
            (Some("end"), _) => self.total -= self.open.pop().unwrap_or(0),
            _ => {}
        }
        self.total
    }
}

fn is_left_trim(after_brace: &str) -> bool {
    after_brace.starts_with('-') && after_brace[1..].starts_with(TRIMMED)
}

/// Gives the end of the body and of the whole of a comment.
fn comment_end(text: &str, body: usize) -> Option<(usize, usize)> {
    let end = body + text[body..].find("*/")? + 2;
    let rest = &text[end..];
    if rest.starts_with("}}") {
        return Some((end, end + 2));
    }
    let trimmed = rest.trim_start_matches(TRIMMED);
    match trimmed.len() < rest.len() && trimmed.starts_with("-}}") {
        true => Some((end, text.len() - trimmed.len() + 3)),
        false => None,
    }
}

/// Gives the end of the body and of the whole of an action.
fn action_end(text: &str, from: usize) -> Result<Option<(usize, usize)>, SplitError> {
    let bytes = text.as_bytes();
    let mut at = from;
    let mut depth: usize = 0;
    while at < bytes.len() {
        match bytes[at] {
            quote @ (b'`' | b'"' | b'\'') => match quoted_end(bytes, at, quote) {
                Some(end) => at = end,
                None => return Ok(None),
            },
            b'(' if depth == PARENTHESES_MAX => return Err(SplitError::TooDeep(at)),
            b'(' => depth += 1,
            b')' => depth = depth.saturating_sub(1),
            b'}' if bytes[at..].starts_with(b"}}") => {
                let trims = at >= from + 2
                    && bytes[at - 1] == b'-'
                    && TRIMMED.contains(&char::from(bytes[at - 2]));
                return Ok(Some((if trims { at - 2 } else { at }, at + 2)));
            }
            _ => {}
        }
        at += 1;
    }
    Ok(None)
}

/// Gives the place of the quote that closes the one at `start`.
pub(crate) fn quoted_end(bytes: &[u8], start: usize, quote: u8) -> Option<usize> {
    let mut at = start + 1;
    loop {
        match *bytes.get(at)? {
            b'\\' if quote != b'`' => at += 1,
            b'\n' if quote != b'`' => return None,
            byte if byte == quote => return Some(at),
            _ => {}
        }
        at += 1;
    }
}
