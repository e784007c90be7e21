//! Checks a JSON body against the Go structure it would be decoded into, with Go's error texts.
//!
//! Go decodes on after a wrong type and reports the first one at the end, but gives up at once when
//! a structure with a decoder of its own fails; the rules here follow it step by step.

use super::go;
use super::json::Json;

/// A Go type, as far as it shows in errors.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// A string, by its type's name.
    Text(&'static str),
    Int,
    Uint,
    Truth,
    /// Anything: `interface{}`.
    Any,
    /// Base64 text: `[]byte`.
    Bytes,
    /// A duration text of the client library.
    Duration,
    /// A slice, by its type's name.
    List(&'static Kind, &'static str),
    /// A map with text keys, by its type's name.
    Map(&'static Kind, &'static str),
    /// A structure.
    Struct(&'static Structure),
}

/// A Go structure.
#[derive(Debug)]
pub(crate) struct Structure {
    /// Its name, empty for an anonymous one.
    pub(crate) name: &'static str,
    /// Its full type.
    pub(crate) go_type: &'static str,
    /// Has it a decoder of its own?
    pub(crate) own: Option<Own>,
    pub(crate) fields: &'static [(&'static str, Kind)],
}

/// How a structure decodes itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Own {
    /// Does it refuse unknown fields?
    pub(crate) strict: bool,
    /// What it checks afterwards.
    pub(crate) after: fn(&Json) -> Result<(), String>,
}

#[derive(Clone, Debug)]
enum Error {
    Type { value: String, go_type: String, place: Option<(String, String)> },
    Other(String),
}

impl Error {
    fn text(&self) -> String {
        match self {
            Error::Other(text) => text.clone(),
            Error::Type { value, go_type, place: None } => {
                format!("json: cannot unmarshal {value} into Go value of type {go_type}")
            }
            Error::Type { value, go_type, place: Some((structure, field)) } => format!(
                "json: cannot unmarshal {value} into Go struct field {structure}.{field} \
                 of type {go_type}"
            ),
        }
    }
}

/// Decoder of one level, with the place it has come to.
struct Decoder {
    strict: bool,
    structure: Option<&'static str>,
    fields: Vec<String>,
    saved: Option<Error>,
}

/// Checks a body; `strict` refuses unknown fields.
pub(crate) fn check(kind: &Kind, value: &Json, strict: bool) -> Result<(), String> {
    run(kind, value, strict).map_err(|error| error.text())
}

fn run(kind: &Kind, value: &Json, strict: bool) -> Result<(), Error> {
    let mut decoder = Decoder { strict, structure: None, fields: Vec::new(), saved: None };
    decoder.value(kind, value).map_err(|error| decoder.placed(error))?;
    decoder.saved.map_or(Ok(()), Err)
}

impl Decoder {
    /// Puts the place this decoder stands at into an error from inside.
    fn placed(&self, error: Error) -> Error {
        match error {
            Error::Type { value, go_type, place } => {
                let here = self.structure.map(|name| (name.to_owned(), self.fields.join(".")));
                Error::Type { value, go_type, place: here.or(place) }
            }
            Error::Other(_) => error,
        }
    }

    fn save(&mut self, error: Error) {
        let error = match error {
            Error::Type { .. } => self.placed(error),
            Error::Other(_) => error,
        };
        self.saved.get_or_insert(error);
    }

    fn mismatch(&mut self, value: &Json, go_type: &str) {
        let value = match value {
            Json::Null => return,
            Json::Bool(_) => "bool",
            Json::Number(_) => "number",
            Json::Text(_) => "string",
            Json::List(_) => "array",
            Json::Object(_) => "object",
        };
        self.save(Error::Type {
            value: value.to_owned(),
            go_type: go_type.to_owned(),
            place: None,
        });
    }

    fn number(&mut self, digits: &str, fits: bool, go_type: &str) {
        if !fits {
            self.save(Error::Type {
                value: format!("number {digits}"),
                go_type: go_type.to_owned(),
                place: None,
            });
        }
    }

    fn value(&mut self, kind: &Kind, value: &Json) -> Result<(), Error> {
        match (kind, value) {
            (Kind::Struct(structure), _) => return self.structure(structure, value),
            (Kind::Any, _) | (_, Json::Null) | (Kind::Text(_), Json::Text(_)) => {}
            (Kind::Truth, Json::Bool(_)) => {}
            (Kind::Int, Json::Number(digits)) => {
                self.number(digits, digits.parse::<i64>().is_ok(), "int");
            }
            (Kind::Uint, Json::Number(digits)) => {
                self.number(digits, digits.parse::<u64>().is_ok(), "uint64");
            }
            (Kind::Bytes, Json::Text(text)) => {
                if let Err(at) = go::base64_decode(text) {
                    self.save(Error::Other(format!("illegal base64 data at input byte {at}")));
                }
            }
            (Kind::Duration, Json::Text(text)) => {
                go::parse_duration(text).map_err(Error::Other)?;
            }
            (Kind::Duration, Json::Number(_)) => {}
            (Kind::List(item, _), Json::List(items)) => {
                for value in items {
                    self.value(item, value)?;
                }
            }
            (Kind::Map(item, _), Json::Object(members)) => {
                for (_, value) in members {
                    self.value(item, value)?;
                }
            }
            (Kind::Text(go_type) | Kind::List(_, go_type) | Kind::Map(_, go_type), _) => {
                self.mismatch(value, go_type);
            }
            (Kind::Int, _) => self.mismatch(value, "int"),
            (Kind::Uint, _) => self.mismatch(value, "uint64"),
            (Kind::Truth, _) => self.mismatch(value, "bool"),
            (Kind::Bytes, _) => self.mismatch(value, "[]uint8"),
            (Kind::Duration, _) => self.mismatch(value, "api.ReadableDuration"),
        }
        Ok(())
    }

    fn structure(&mut self, structure: &'static Structure, value: &Json) -> Result<(), Error> {
        if let Some(own) = structure.own {
            if *value == Json::Null {
                return Ok(());
            }
            let plain = Kind::Struct(structure);
            let mut inner =
                Decoder { strict: own.strict, structure: None, fields: Vec::new(), saved: None };
            inner.plain(structure, value).map_err(|error| inner.placed(error))?;
            if let Some(error) = inner.saved {
                return Err(error);
            }
            let _ = plain;
            return (own.after)(value).map_err(Error::Other);
        }
        self.plain(structure, value)
    }

    fn plain(&mut self, structure: &'static Structure, value: &Json) -> Result<(), Error> {
        let Json::Object(members) = value else {
            self.mismatch(value, structure.go_type);
            return Ok(());
        };
        for (key, value) in members {
            let exact = structure.fields.iter().find(|(name, _)| name == key);
            let folded =
                || structure.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case(key));
            let Some((name, kind)) = exact.or_else(folded) else {
                if self.strict {
                    self.save(Error::Other(format!("json: unknown field {}", go::quote(key))));
                }
                continue;
            };
            let outer = self.structure.replace(structure.name);
            self.fields.push((*name).to_owned());
            self.value(kind, value)?;
            self.fields.pop();
            self.structure = outer;
        }
        Ok(())
    }
}
