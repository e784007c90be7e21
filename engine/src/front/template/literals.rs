//! String and character literals of Go.
//!
//! gtmpl-ng 1.0.0 misreads some and panics on others (`"\\"`, `"\x41bc"`, `` `\w` ``), so that
//! every literal with a backslash is read here and handed to the engine as a value.

use super::segments::quoted_end;
use crate::front::text::Span;

/// What kind of literal it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `"…"` or `` `…` ``.
    Text,
    /// `'…'`, a number for Go.
    Character,
}

/// Finds the next literal with a backslash in it, or in raw quotes; gives it with its quotes.
pub(crate) fn next_difficult(text: &str, from: usize) -> Option<(Kind, Span)> {
    let bytes = text.as_bytes();
    let mut at = from;
    while at < bytes.len() {
        let quote = bytes[at];
        if matches!(quote, b'`' | b'"' | b'\'') {
            let end = quoted_end(bytes, at, quote)?;
            let span = Span::new(at, end + 1);
            let kind = if quote == b'\'' { Kind::Character } else { Kind::Text };
            if quote == b'`' || text[at..end].contains('\\') {
                return Some((kind, span));
            }
            at = end;
        }
        at += 1;
    }
    None
}

/// Reads a literal with its quotes as Go does; `None` when Go would refuse it.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let quote = literal.chars().next()?;
    let body = literal.get(1..literal.len().checked_sub(1)?)?;
    if quote == '`' {
        return Some(body.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(body.len());
    let mut rest = body;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let after = rest.get(at + 1..)?;
        let used = escape(after, quote, &mut bytes)?;
        rest = after.get(used..)?;
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// Reads what follows a backslash; gives how many bytes that were.
fn escape(after: &str, quote: char, bytes: &mut Vec<u8>) -> Option<usize> {
    let first = after.chars().next()?;
    let simple = match first {
        'a' => 0x07,
        'b' => 0x08,
        'f' => 0x0c,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 0x0b,
        '\\' => b'\\',
        '\'' | '"' if first == quote => first as u8,
        '0'..='7' => return code(after, 0, 3, 8, bytes),
        'x' => return code(after, 1, 2, 16, bytes),
        'u' => return code(after, 1, 4, 16, bytes),
        'U' => return code(after, 1, 8, 16, bytes),
        _ => return None,
    };
    bytes.push(simple);
    Some(1)
}

/// Reads so many digits; two hexadecimal or three octal ones name a byte, more a character.
fn code(after: &str, skip: usize, count: usize, radix: u32, bytes: &mut Vec<u8>) -> Option<usize> {
    let digits = after.get(skip..skip + count)?;
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let value = u32::from_str_radix(digits, radix).ok()?;
    match count {
        2 | 3 => bytes.push(u8::try_from(value).ok()?),
        _ => {
            let mut buffer = [0; 4];
            bytes.extend_from_slice(char::from_u32(value)?.encode_utf8(&mut buffer).as_bytes());
        }
    }
    Some(skip + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_read_as_go_reads_them() {
        let cases = [
            (r#""a\\""#, Some("a\\")),
            (r#""\x41bc""#, Some("Abc")),
            (r#""\xc3\xa4""#, Some("ä")),
            (r#""\101\u00e4\U0001F600x""#, Some("Aä😀x")),
            (r#""\a\b\f\n\r\t\v\"""#, Some("\u{7}\u{8}\u{c}\n\r\t\u{b}\"")),
            ("`\\w\"\r\n`", Some("\\w\"\n")),
            (r"'\''", Some("'")),
            (r#""\xff""#, None),
            (r#""\'""#, None),
            (r#""\q""#, None),
            (r#""\xé""#, None),
            (r#""\u12""#, None),
            (r#""\ud800""#, None),
            (r#""\777""#, None),
        ];
        for (literal, expected) in cases {
            assert_eq!(unquote(literal).as_deref(), expected, "{literal}");
        }
    }
}
