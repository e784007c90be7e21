//! JSON in and out as Go's `encoding/json` does it, down to the error texts.

use std::fmt::Write as _;

use super::go;

/// A parsed JSON value; object members keep their order and their duplicates.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// Nesting beyond this is refused; Go itself stops at 10,000.
const DEPTH_MAX: usize = 200;

impl Json {
    /// Reads the first value in `bytes` as a `json.Decoder` does; what follows it is ignored.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Json, String> {
        let mut parser = Parser { bytes, at: 0 };
        parser.space();
        if parser.at == bytes.len() {
            return Err("EOF".to_owned());
        }
        parser.value(0)
    }

    /// Finds a member by name as Go does: case-insensitively, the last one wins.
    pub(crate) fn member(&self, name: &str) -> Option<&Json> {
        let Json::Object(members) = self else { return None };
        members.iter().rev().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v)
    }

    /// Returns a member's text; empty when absent, null or not a text.
    pub(crate) fn text(&self, name: &str) -> &str {
        match self.member(name) {
            Some(Json::Text(text)) => text,
            _ => "",
        }
    }

    /// Returns a member's truth; false when absent.
    pub(crate) fn truth(&self, name: &str) -> bool {
        matches!(self.member(name), Some(Json::Bool(true)))
    }

    /// Returns a member's whole number; 0 when absent.
    pub(crate) fn int(&self, name: &str) -> i64 {
        match self.member(name) {
            Some(Json::Number(digits)) => digits.parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// Returns a member's unsigned number; 0 when absent.
    pub(crate) fn uint(&self, name: &str) -> u64 {
        match self.member(name) {
            Some(Json::Number(digits)) => digits.parse().unwrap_or(0),
            _ => 0,
        }
    }

    /// Returns a member's elements; `None` when absent or null.
    pub(crate) fn list(&self, name: &str) -> Option<&[Json]> {
        match self.member(name) {
            Some(Json::List(items)) => Some(items),
            _ => None,
        }
    }

    /// Returns a member's own members; `None` when absent or null.
    pub(crate) fn object(&self, name: &str) -> Option<&[(String, Json)]> {
        match self.member(name) {
            Some(Json::Object(members)) => Some(members),
            _ => None,
        }
    }
}

struct Parser<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Parser<'_> {
    fn space(&mut self) {
        while matches!(self.bytes.get(self.at), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Result<u8, String> {
        self.bytes.get(self.at).copied().ok_or_else(|| "unexpected EOF".to_owned())
    }

    fn bad<T>(&self, context: &str) -> Result<T, String> {
        let shown = match self.peek()? {
            b'\'' => "'\\''".to_owned(),
            b'"' => "'\"'".to_owned(),
            byte if byte >= 0x80 => {
                let c = char::from(byte);
                if byte < 0xa0 || byte == 0xad {
                    format!("'\\u{:04x}'", c as u32)
                } else {
                    format!("'{c}'")
                }
            }
            byte => {
                let quoted = go::quote(&char::from(byte).to_string());
                format!("'{}'", &quoted[1..quoted.len() - 1])
            }
        };
        Err(format!("invalid character {shown} {context}"))
    }

    fn value(&mut self, depth: usize) -> Result<Json, String> {
        self.space();
        if depth > DEPTH_MAX {
            return Err("exceeded max depth".to_owned());
        }
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => Ok(Json::Text(self.text()?)),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.literal("true", Json::Bool(true)),
            b'f' => self.literal("false", Json::Bool(false)),
            b'n' => self.literal("null", Json::Null),
            _ => self.bad("looking for beginning of value"),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut members = Vec::new();
        self.space();
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(Json::Object(members));
        }
        loop {
            self.space();
            if self.peek()? != b'"' {
                return self.bad("looking for beginning of object key string");
            }
            let key = self.text()?;
            self.space();
            if self.peek()? != b':' {
                return self.bad("after object key");
            }
            self.at += 1;
            members.push((key, self.value(depth + 1)?));
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(Json::Object(members));
                }
                _ => return self.bad("after object key:value pair"),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Json, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(Json::List(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.space();
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Json::List(items));
                }
                _ => return self.bad("after array element"),
            }
        }
    }

    fn literal(&mut self, word: &str, value: Json) -> Result<Json, String> {
        for (position, expected) in word.bytes().enumerate() {
            if self.peek()? != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return self.bad(&context);
            }
            debug_assert!(position < word.len());
            self.at += 1;
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Json, String> {
        let start = self.at;
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return self.bad("in numeric literal"),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if !self.peek()?.is_ascii_digit() {
                return self.bad("after decimal point in numeric literal");
            }
            self.digits();
        }
        if matches!(self.bytes.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            if !self.peek()?.is_ascii_digit() {
                return self.bad("in exponent of numeric literal");
            }
            self.digits();
        }
        Ok(Json::Number(String::from_utf8_lossy(&self.bytes[start..self.at]).into_owned()))
    }

    fn digits(&mut self) {
        while self.bytes.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn text(&mut self) -> Result<String, String> {
        self.at += 1;
        let mut out = Vec::new();
        loop {
            match self.peek()? {
                b'"' => {
                    self.at += 1;
                    return Ok(String::from_utf8_lossy(&out).into_owned());
                }
                b'\\' => self.escape(&mut out)?,
                0..=0x1f => return self.bad("in string literal"),
                byte => {
                    out.push(byte);
                    self.at += 1;
                }
            }
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        self.at += 1;
        let byte = match self.peek()? {
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            byte @ (b'"' | b'\\' | b'/') => byte,
            b'u' => return self.unicode(out),
            _ => return self.bad("in string escape code"),
        };
        out.push(byte);
        self.at += 1;
        Ok(())
    }

    fn unicode(&mut self, out: &mut Vec<u8>) -> Result<(), String> {
        let first = self.hex()?;
        let mut c = char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER);
        let low_follows =
            (0xd800..0xdc00).contains(&first) && self.bytes[self.at..].starts_with(b"\\u");
        if low_follows {
            let back = self.at;
            self.at += 1;
            let second = self.hex()?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            } else {
                self.at = back;
            }
        }
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Ok(())
    }

    fn hex(&mut self) -> Result<u32, String> {
        self.at += 1;
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = char::from(self.peek()?).to_digit(16) else {
                return self.bad("in \\u hexadecimal character escape");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

/// Writes compact JSON with Go's escapes; commas come by themselves.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writer {
    out: String,
}

impl Writer {
    /// Writes compact JSON.
    pub(crate) fn compact(body: impl FnOnce(&mut Writer)) -> String {
        let mut writer = Writer::default();
        body(&mut writer);
        writer.finish()
    }

    pub(crate) fn finish(self) -> String {
        self.out
    }

    fn comma(&mut self) {
        if !matches!(self.out.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(',');
        }
    }

    pub(crate) fn object(&mut self, body: impl FnOnce(&mut Writer)) {
        self.comma();
        self.out.push('{');
        body(self);
        self.out.push('}');
    }

    pub(crate) fn list(&mut self, body: impl FnOnce(&mut Writer)) {
        self.comma();
        self.out.push('[');
        body(self);
        self.out.push(']');
    }

    pub(crate) fn key(&mut self, name: &str) -> &mut Writer {
        self.comma();
        escape(&mut self.out, name);
        self.out.push(':');
        self
    }

    pub(crate) fn text(&mut self, value: &str) {
        self.comma();
        escape(&mut self.out, value);
    }

    pub(crate) fn raw(&mut self, value: &str) {
        self.comma();
        self.out.push_str(value);
    }

    pub(crate) fn number(&mut self, value: impl std::fmt::Display) {
        self.comma();
        write!(self.out, "{value}").expect("a text grows");
    }

    pub(crate) fn truth(&mut self, value: bool) {
        self.raw(if value { "true" } else { "false" });
    }
}

fn escape(out: &mut String, value: &str) {
    let is_plain = |byte: u8| {
        matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
    };
    out.push('"');
    if value.bytes().all(is_plain) {
        out.push_str(value);
    } else {
        value.chars().for_each(|c| escape_one(out, c));
    }
    out.push('"');
}

fn escape_one(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            out.push_str(&format!("\\u{:04x}", c as u32));
        }
        c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push(c),
    }
}

/// Indents compact JSON by four spaces, as `json.MarshalIndent` does.
pub(crate) fn indent(compact: &str) -> String {
    let mut out = String::with_capacity(compact.len() * 2);
    let mut depth = 0usize;
    let mut in_text = false;
    let mut escaped = false;
    let mut fresh = false;
    for c in compact.chars() {
        if in_text {
            out.push(c);
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => in_text = false,
                _ => {}
            }
            continue;
        }
        let closes = matches!(c, '}' | ']');
        if fresh && !closes {
            fresh = false;
            depth += 1;
            newline(&mut out, depth);
        }
        match c {
            '{' | '[' => {
                out.push(c);
                fresh = true;
            }
            '}' | ']' => {
                if !fresh {
                    depth -= 1;
                    newline(&mut out, depth);
                }
                fresh = false;
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            '"' => {
                in_text = true;
                out.push(c);
            }
            c => out.push(c),
        }
    }
    out
}

fn newline(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth {
        out.push_str("    ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn syntax_errors_are_gos() {
        for (text, error) in [
            ("", "EOF"),
            ("{", "unexpected EOF"),
            ("{bad", "invalid character 'b' looking for beginning of object key string"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 2}", "invalid character '2' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("tru!", "invalid character '!' in literal true (expecting 'e')"),
            ("'", "invalid character '\\'' looking for beginning of value"),
        ] {
            assert_eq!(Json::parse(text.as_bytes()).unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn empty_containers_stay_on_one_line() {
        assert_eq!(indent("[]"), "[]");
        assert_eq!(
            indent("{\"a\":[],\"b\":{\"c\":[1,2]}}"),
            concat!(
                "{\n    \"a\": [],\n    \"b\": {\n        \"c\": [\n",
                "            1,\n            2\n        ]\n    }\n}"
            )
        );
    }
}
