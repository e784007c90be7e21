//! The scanner: text to tree, with as many problems found in one go as can be told apart.

use super::string::{Escape, escape};
use super::{DEPTH_MAX, Member, Node, Value, number};
use crate::front::problem::{Problem, Problems, SYNTAX};
use crate::front::text::Span;

/// Reads a text; `None` when it could not be read to its end, and then there are problems.
pub(crate) fn parse(text: &str, problems: &mut Problems) -> Option<Node> {
    let mut scanner = Scanner { text, at: 0, depth: 0, problems };
    scanner.document().ok()
}

/// Reading cannot go on; the problem has been noted.
struct Stop;

struct Scanner<'t, 'p> {
    text: &'t str,
    at: usize,
    depth: usize,
    problems: &'p mut Problems,
}

impl<'t> Scanner<'t, '_> {
    fn document(&mut self) -> Result<Node, Stop> {
        self.blank()?;
        if self.peek().is_none() {
            return self.stop(self.here(), "cannot read an empty configuration", None);
        }
        let node = self.value()?;
        self.blank()?;
        if self.peek().is_some() {
            let help = "only one value may be there; is there a bracket too many before it?";
            return self.stop(self.word(), "cannot read on after the end", Some(help));
        }
        Ok(node)
    }

    fn value(&mut self) -> Result<Node, Stop> {
        let start = self.at;
        let value = match self.peek() {
            Some('{') => self.nested(Scanner::object)?,
            Some('[') => self.nested(Scanner::list)?,
            Some(quote @ ('"' | '\'')) => Value::Text(self.string(quote)?),
            Some('0'..='9' | '+' | '-' | '.') => return self.number(),
            Some(_) => return self.literal(),
            None => {
                return self.stop(self.here(), "cannot find the value: the text ends here", None);
            }
        };
        Ok(Node { span: Span::new(start, self.at), value })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<Value, Stop>) -> Result<Value, Stop> {
        if self.depth == DEPTH_MAX {
            let message = format!("cannot nest values deeper than {DEPTH_MAX} levels");
            return self.stop(self.here(), &message, None);
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Result<Value, Stop> {
        let open = self.here();
        self.at += 1;
        let mut members = Vec::new();
        loop {
            self.blank()?;
            match self.peek() {
                Some('}') => break,
                Some(',') => self.stray_comma(),
                Some(']') => return self.wrong_closer(open, '}'),
                None => return self.unclosed(open, '}'),
                Some(_) => {
                    members.push(self.member()?);
                    self.separator('}')?;
                }
            }
        }
        self.at += 1;
        Ok(Value::Object(members))
    }

    fn list(&mut self) -> Result<Value, Stop> {
        let open = self.here();
        self.at += 1;
        let mut nodes = Vec::new();
        loop {
            self.blank()?;
            match self.peek() {
                Some(']') => break,
                Some(',') => self.stray_comma(),
                Some('}') => return self.wrong_closer(open, ']'),
                None => return self.unclosed(open, ']'),
                Some(_) => {
                    nodes.push(self.value()?);
                    self.separator(']')?;
                }
            }
        }
        self.at += 1;
        Ok(Value::List(nodes))
    }

    fn member(&mut self) -> Result<Member, Stop> {
        let start = self.at;
        let key = match self.peek() {
            Some(quote @ ('"' | '\'')) => self.string(quote)?,
            _ => self.name()?,
        };
        let key_span = Span::new(start, self.at);
        self.blank()?;
        match self.peek() {
            Some(':') => self.at += 1,
            Some('=') => {
                let help = "a key is followed by `:`, not by `=`";
                self.note(self.here(), "cannot read `=` here", Some(help));
                self.at += 1;
            }
            _ => {
                let message = format!("cannot find the `:` after the key `{key}`");
                return self.stop(self.word(), &message, None);
            }
        }
        self.blank()?;
        if let Some(',' | '}' | ']') = self.peek() {
            let message = format!("cannot find the value of `{key}`");
            self.note(self.here(), &message, Some("a key without a value must be left out"));
            let value = Node { span: self.here(), value: Value::Null };
            return Ok(Member { key, key_span, value });
        }
        Ok(Member { key, key_span, value: self.value()? })
    }

    /// Takes the comma between two values, or notes that it is missing and goes on.
    fn separator(&mut self, closer: char) -> Result<(), Stop> {
        let end = self.at;
        self.blank()?;
        match self.peek() {
            Some(',') => self.at += 1,
            Some('}' | ']') | None => {}
            Some(_) => {
                let message = "cannot read on: a `,` is missing here";
                let help = format!(
                    "values are separated by `,`; the last one may be followed by `{closer}`"
                );
                self.note(Span::new(end, end + 1), message, Some(&help));
            }
        }
        Ok(())
    }

    fn stray_comma(&mut self) {
        let message = "cannot read this `,`: there is no value before it";
        self.note(self.here(), message, Some("leave it out"));
        self.at += 1;
    }

    fn name(&mut self) -> Result<String, Stop> {
        let mut name = String::new();
        while let Some(c) = self.peek() {
            if is_name_char(c, name.is_empty()) {
                name.push(c);
                self.at += c.len_utf8();
                continue;
            }
            if c != '\\' {
                break;
            }
            match escape(&self.text[self.at + 1..]) {
                Escape::Char(c, bytes) if is_name_char(c, name.is_empty()) => {
                    name.push(c);
                    self.at += 1 + bytes;
                }
                _ => break,
            }
        }
        if name.is_empty() {
            let help = "a key is a word or a quoted string";
            return self.stop(self.word(), "cannot read this as a key", Some(help));
        }
        Ok(name)
    }

    fn string(&mut self, quote: char) -> Result<String, Stop> {
        let start = self.at;
        self.at += 1;
        let mut text = String::new();
        loop {
            let rest = &self.text[self.at..];
            let end = rest.find([quote, '\\', '\n', '\r']).unwrap_or(rest.len());
            text.push_str(&rest[..end]);
            self.at += end;
            match self.peek() {
                Some('\\') => self.escaped(&mut text),
                Some(c) if c == quote => break,
                _ => {
                    let message = "cannot find the end of this string on its line";
                    let help = format!(
                        "close it with {quote}, or end the line with a backslash to go on in the \
                         next"
                    );
                    return self.stop(Span::new(start, self.at), message, Some(&help));
                }
            }
        }
        self.at += 1;
        Ok(text)
    }

    fn escaped(&mut self, text: &mut String) {
        let start = self.at;
        self.at += 1;
        match escape(&self.text[self.at..]) {
            Escape::Char(c, bytes) => {
                text.push(c);
                self.at += bytes;
            }
            Escape::Nothing(bytes) => self.at += bytes,
            Escape::Bad => {
                let end = (start + 2).min(self.text.len());
                let help = "a backslash itself is written as two";
                self.note(Span::new(start, end), "cannot read this escape", Some(help));
            }
        }
    }

    fn number(&mut self) -> Result<Node, Stop> {
        let start = self.at;
        let rest = self.text[self.at..].char_indices();
        let mut end = self.text.len() - self.at;
        let mut previous = ' ';
        for (at, c) in rest {
            let sign = matches!(c, '+' | '-') && (at == 0 || matches!(previous, 'e' | 'E'));
            if !(sign || c == '.' || is_name_char(c, false)) {
                end = at;
                break;
            }
            previous = c;
        }
        let span = Span::new(start, start + end);
        let text = &self.text[start..span.end];
        self.at = span.end;
        let value = match number::parse(text) {
            Some(number) => Value::Number(number),
            None => {
                let help = "a text goes in quotes; a duration such as \"5s\" as well; a number has \
                            no leading zeros";
                self.note(span, &format!("cannot read `{text}` as a number"), Some(help));
                Value::Null
            }
        };
        Ok(Node { span, value })
    }

    fn literal(&mut self) -> Result<Node, Stop> {
        let span = self.word();
        let word = &self.text[span.start..span.end];
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            "Infinity" | "NaN" => return self.number(),
            _ => {
                let message = format!("cannot read `{word}` as a value");
                let help = "a text goes in quotes";
                if !word.starts_with(|c| is_name_char(c, true)) {
                    return self.stop(span, &message, None);
                }
                self.note(span, &message, Some(help));
                Value::Null
            }
        };
        self.at = span.end;
        Ok(Node { span, value })
    }

    /// Skips white space and comments.
    fn blank(&mut self) -> Result<(), Stop> {
        loop {
            let rest = &self.text[self.at..];
            let trimmed = rest.trim_start_matches(is_blank);
            self.at += rest.len() - trimmed.len();
            if trimmed.starts_with("//") {
                let ends = ['\n', '\r', '\u{2028}', '\u{2029}'];
                self.at += trimmed.find(ends).unwrap_or(trimmed.len());
            } else if trimmed.starts_with("/*") {
                match trimmed.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => {
                        let span = Span::new(self.at, self.at + 2);
                        return self.stop(span, "cannot find the end of this comment", None);
                    }
                }
            } else {
                return Ok(());
            }
        }
    }

    fn wrong_closer<T>(&mut self, open: Span, closer: char) -> Result<T, Stop> {
        let opener = &self.text[open.start..open.end];
        let message = format!("cannot close `{opener}` with this");
        let problem = Problem::new(&SYNTAX, self.here(), message)
            .help(format!("write `{closer}`"))
            .related(open, "opened here");
        self.problems.add(problem);
        Err(Stop)
    }

    fn unclosed<T>(&mut self, open: Span, closer: char) -> Result<T, Stop> {
        let message =
            format!("cannot find the `{closer}` that closes this: the text ends before it");
        self.problems.add(Problem::new(&SYNTAX, open, message));
        Err(Stop)
    }

    fn stop<T>(&mut self, span: Span, message: &str, help: Option<&str>) -> Result<T, Stop> {
        self.note(span, message, help);
        Err(Stop)
    }

    fn note(&mut self, span: Span, message: &str, help: Option<&str>) {
        let problem = Problem::new(&SYNTAX, span, message).maybe_help(help.map(String::from));
        self.problems.add(problem);
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    /// The next character.
    fn here(&self) -> Span {
        Span::new(self.at, self.at + self.peek().map_or(0, char::len_utf8))
    }

    /// The next word, or the next character where there is none.
    fn word(&self) -> Span {
        let rest = &self.text[self.at..];
        let end = rest.find(|c| !(is_name_char(c, false) || c == '.')).unwrap_or(rest.len());
        match end {
            0 => self.here(),
            _ => Span::new(self.at, self.at + end),
        }
    }
}

fn is_name_char(c: char, first: bool) -> bool {
    match c {
        '$' | '_' => true,
        '\u{200c}' | '\u{200d}' => !first,
        _ if first => c.is_alphabetic(),
        _ => c.is_alphanumeric(),
    }
}

/// White space of JSON5: that of Unicode, and the byte order mark.
fn is_blank(c: char) -> bool {
    c == '\u{feff}' || c.is_whitespace()
}
