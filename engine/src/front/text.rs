//! Places: from a span of the rendered text to a line and column of the file.

use std::cell::{OnceCell, RefCell};
use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostic::Position;

/// A range of bytes of the text that is decoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Span {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) const fn new(start: usize, end: usize) -> Span {
        Span { start, end }
    }
}

/// Something with its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct At<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// One stretch of the rendered text and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// The first byte in the rendered text.
    pub(crate) start: usize,
    /// Its origin in the file.
    pub(crate) origin: Origin,
}

/// Where a stretch of rendered text comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Copied from the file, from this byte on.
    Copied(usize),
    /// Produced by the template action at this place of the file.
    Produced(Span),
}

/// A file as written, its rendered text, and how they belong together.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) file: Arc<str>,
    written: Lines,
    /// The rendered text; none when the file has no template.
    rendered: Option<Lines>,
    /// Sorted by start; empty when the origin of the rendered text is unknown.
    pieces: Vec<Piece>,
}

/// A span that has been looked up: ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) start: Position,
    pub(crate) end: Position,
    pub(crate) source_line: Arc<str>,
    /// Whether the place counts in the rendered text because the origin is unknown.
    pub(crate) rendered: bool,
    /// Whether a template action produced what is at the place.
    pub(crate) produced: bool,
}

impl Source {
    /// Takes in a file without a template.
    pub(crate) fn plain(file: &str, text: &str) -> Source {
        Source {
            file: Arc::from(file),
            written: Lines::new(text),
            rendered: None,
            pieces: Vec::new(),
        }
    }

    /// Takes in a file and what its template rendered.
    pub(crate) fn rendered(file: &str, text: &str, rendered: String, pieces: Vec<Piece>) -> Source {
        Source { rendered: Some(Lines::new(&rendered)), pieces, ..Source::plain(file, text) }
    }

    /// Gives the text to decode.
    pub(crate) fn text(&self) -> Arc<str> {
        Arc::clone(&self.rendered.as_ref().unwrap_or(&self.written).text)
    }

    /// Finds the place of a span of the text to decode.
    pub(crate) fn place(&self, span: Span) -> Place {
        let Some(rendered) = &self.rendered else {
            return self.place_written(span);
        };
        if self.pieces.is_empty() {
            return rendered.place(span, true, false);
        }
        let (start, produced) = self.origin(span.start, Edge::Start);
        let last = span.end.max(span.start + 1) - 1;
        let (end, _) = self.origin(last, Edge::End);
        let end = if end > start { end } else { start + 1 };
        self.written.place(Span::new(start, end), false, produced)
    }

    /// Finds the place of a span of the file as written.
    pub(crate) fn place_written(&self, span: Span) -> Place {
        self.written.place(span, false, false)
    }

    /// Gives the byte of the file that a byte of the rendered text comes from.
    fn origin(&self, at: usize, edge: Edge) -> (usize, bool) {
        let index = self.pieces.partition_point(|piece| piece.start <= at);
        let Some(piece) = index.checked_sub(1).and_then(|index| self.pieces.get(index)) else {
            return (0, false);
        };
        match (piece.origin, edge) {
            (Origin::Copied(from), Edge::Start) => (from + (at - piece.start), false),
            (Origin::Copied(from), Edge::End) => (from + (at - piece.start) + 1, false),
            (Origin::Produced(span), Edge::Start) => (span.start, true),
            (Origin::Produced(span), Edge::End) => (span.end, true),
        }
    }
}

#[derive(Clone, Copy)]
enum Edge {
    Start,
    End,
}

/// A text with its lines; a line that many problems show is kept once.
#[derive(Clone, Debug)]
struct Lines {
    text: Arc<str>,
    starts: OnceCell<Vec<usize>>,
    shown: RefCell<BTreeMap<usize, Arc<str>>>,
}

impl Lines {
    fn new(text: &str) -> Lines {
        Lines { text: Arc::from(text), starts: OnceCell::new(), shown: RefCell::default() }
    }

    /// Gives the number of the line that a byte is in, from 0, and the line's first byte.
    fn line(&self, at: usize) -> (usize, usize) {
        let starts = self.starts.get_or_init(|| {
            let after = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(after).collect()
        });
        let line = starts.partition_point(|start| *start <= at).saturating_sub(1);
        (line, starts.get(line).copied().unwrap_or(0))
    }

    /// Gives the line and column of a byte; places past the end are at the end.
    fn position(&self, at: usize) -> Position {
        let at = floor_char(&self.text, at);
        let (line, start) = self.line(at);
        Position { line: narrow(line), column: narrow(self.text[start..at].chars().count()) }
    }

    fn place(&self, span: Span, rendered: bool, produced: bool) -> Place {
        let start = floor_char(&self.text, span.start);
        let (line, line_start) = self.line(start);
        let mut shown = self.shown.borrow_mut();
        let source_line = shown.entry(line).or_insert_with(|| {
            let rest = &self.text[line_start..];
            let end = rest.find('\n').unwrap_or(rest.len());
            Arc::from(rest[..end].trim_end_matches('\r'))
        });
        Place {
            start: self.position(start),
            end: self.position(span.end.max(start)),
            source_line: Arc::clone(source_line),
            rendered,
            produced,
        }
    }
}

/// Counts from 1, in 32 bits.
fn narrow(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX - 1).saturating_add(1)
}

fn floor_char(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_count_lines_and_characters_from_one() {
        let source = Source::plain("f", "a\nbäc\r\nd");
        let place = source.place(Span::new(5, 6));
        assert_eq!(place.start, Position { line: 2, column: 3 });
        assert_eq!(place.end, Position { line: 2, column: 4 });
        assert_eq!(&*place.source_line, "bäc");
        let beyond = source.place(Span::new(100, 200));
        assert_eq!(beyond.start, Position { line: 3, column: 2 });
    }

    #[test]
    fn places_in_rendered_text_lead_back_to_the_file() {
        // `a {{x}} b` rendered to `a LONG b`.
        let pieces = vec![
            Piece { start: 0, origin: Origin::Copied(0) },
            Piece { start: 2, origin: Origin::Produced(Span::new(2, 7)) },
            Piece { start: 6, origin: Origin::Copied(7) },
        ];
        let source = Source::rendered("f", "a {{x}} b", String::from("a LONG b"), pieces);
        let produced = source.place(Span::new(3, 5));
        assert_eq!((produced.start.column, produced.end.column), (3, 8));
        assert!(produced.produced);
        let copied = source.place(Span::new(7, 8));
        assert_eq!((copied.start.column, copied.end.column), (9, 10));
        let across = source.place(Span::new(0, 8));
        assert_eq!((across.start.column, across.end.column), (1, 10));
    }
}
