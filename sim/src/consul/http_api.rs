//! HTTP as data: requests and responses, without a connection.

use std::borrow::Cow;

use super::json;

/// A request to a Consul agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// `GET`, `PUT`, …
    pub method: Box<str>,
    /// Path and query, still percent-encoded.
    pub target: Box<str>,
    /// Header fields.
    pub headers: Vec<(Box<str>, Box<str>)>,
    /// The body.
    pub body: Vec<u8>,
    /// Was the body sent in chunks, so that its length was not known beforehand?
    pub chunked: bool,
}

/// A response of a Consul agent.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Response {
    /// Status code.
    pub status: u16,
    /// Header fields, in alphabetical order; without `Date` and `Content-Length`.
    pub headers: Vec<(&'static str, Cow<'static, str>)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Request {
    /// Builds a request without headers and body.
    pub fn new(method: &str, target: &str) -> Request {
        Request {
            method: method.into(),
            target: target.into(),
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
        }
    }

    /// Adds a body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Request {
        self.body = body.into();
        self
    }

    /// Adds a header field.
    #[must_use]
    pub fn with_header(mut self, name: &str, value: &str) -> Request {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Returns the first value of a header field; empty when there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value)
    }

    /// Splits the target into its decoded path and its raw query; `None` when it is malformed.
    pub(crate) fn path_and_query(&self) -> Option<(String, &str)> {
        let (path, query) = self.target.split_once('?').unwrap_or((&self.target, ""));
        Some((decode(path, false)?, query))
    }

    /// Returns the secret the request carries: from the query, its own header, or a bearer token.
    pub(crate) fn token(&self, params: &Params) -> String {
        let from_query = params.get("token");
        if !from_query.is_empty() {
            return from_query.to_owned();
        }
        let from_header = self.header("X-Consul-Token");
        if !from_header.is_empty() {
            return from_header.to_owned();
        }
        match self.header("Authorization").split_once(' ') {
            Some((scheme, value)) if scheme.eq_ignore_ascii_case("bearer") => {
                value.trim().split(' ').next().unwrap_or_default().trim().to_owned()
            }
            _ => String::new(),
        }
    }
}

impl Response {
    /// Answers with a status and nothing else.
    pub(crate) fn empty(status: u16) -> Response {
        Response { status, headers: Vec::new(), body: Vec::new() }
    }

    /// Answers with bare text, as errors do.
    pub(crate) fn text(status: u16, body: impl Into<String>) -> Response {
        let body = body.into().into_bytes();
        let mut response = Response::empty(status);
        if !body.is_empty() {
            response = response.with("Content-Type", "text/plain; charset=utf-8");
        }
        Response { body, ..response }
    }

    /// Answers an error of a handler; its text decides the status.
    pub(crate) fn error(error: &str) -> Response {
        let forbidden = error.contains(super::acl::DENIED) || error.contains(super::acl::NOT_FOUND);
        Response::text(if forbidden { 403 } else { 500 }, error)
    }

    /// Answers with JSON.
    pub(crate) fn json(status: u16, compact: &str, pretty: bool) -> Response {
        let body = if pretty { json::indent(compact) + "\n" } else { compact.to_owned() };
        let response = Response::empty(status).with("Content-Type", "application/json");
        Response { body: body.into_bytes(), ..response }
    }

    /// Adds a header field.
    pub(crate) fn with(
        mut self,
        name: &'static str,
        value: impl Into<Cow<'static, str>>,
    ) -> Response {
        let value = value.into();
        match self.headers.binary_search_by_key(&name, |(name, _)| name) {
            Ok(place) => self.headers[place].1 = value,
            Err(place) => self.headers.insert(place, (name, value)),
        }
        self
    }

    /// Returns a header field.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| *known == name).map(|(_, value)| &**value)
    }
}

/// The parameters of a query string.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// Parses a query string; `None` when it is malformed.
    pub(crate) fn parse(query: &str) -> Option<Params> {
        let mut found = Vec::new();
        for pair in query.split(['&', ';']).filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            found.push((decode(key, true)?, decode(value, true)?));
        }
        Some(Params(found))
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key == name)
    }

    /// Returns the first value of a parameter; empty when there is none.
    pub(crate) fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Writes them as a query string again, sorted by name.
    pub(crate) fn encode(&self) -> String {
        let mut sorted: Vec<&(String, String)> = self.0.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        let pairs: Vec<String> = sorted
            .iter()
            .map(|(key, value)| format!("{}={}", encode(key), encode(value)))
            .collect();
        pairs.join("&")
    }
}

/// Decodes percent-encoding; `None` when it is malformed.
fn decode(text: &str, plus_is_space: bool) -> Option<String> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(text.to_owned());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = char::from(bytes.next()?).to_digit(16)?;
                let low = char::from(bytes.next()?).to_digit(16)?;
                out.push(u8::try_from(high * 16 + low).ok()?);
            }
            b'+' if plus_is_space => out.push(b' '),
            byte => out.push(byte),
        }
    }
    Some(String::from_utf8_lossy(&out).into_owned())
}

/// Encodes as `url.QueryEscape`.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Encodes a path as Go's `URL.EscapedPath` does, for a redirect.
pub(crate) fn encode_path(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        let kept = byte.is_ascii_alphanumeric() || b"-_.~$&+,/:;=@!'()*".contains(&byte);
        if kept {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded_and_sorted_when_written_again() {
        let params = Params::parse("release=b+c&cas=0&acquire=a%2Fb").unwrap();
        assert_eq!(params.get("release"), "b c");
        assert_eq!(params.encode(), "acquire=a%2Fb&cas=0&release=b+c");
        assert_eq!(Params::parse("a=%zz"), None);
    }
}
