//! Bodies of control requests, from JSON to commands. The only place that looks at their text.

use serde::Deserialize;
use serde_json::{Map, Value};
use steersman_engine::config::Signal;
use steersman_engine::input::Control;

/// Why a body is no command; answered with 422.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Malformed {
    /// What is wrong; starts with "cannot".
    pub(super) message: String,
    /// The names it is about.
    pub(super) names: Vec<String>,
}

impl Malformed {
    fn new(message: impl Into<String>) -> Malformed {
        Malformed { message: message.into(), names: Vec::new() }
    }

    fn about(message: &str, names: Vec<String>) -> Malformed {
        Malformed { message: format!("{message}: {}", names.join(", ")), names }
    }
}

/// Reads `{"NAME": "value", …}`; an empty text or null unsets.
///
/// Numbers are taken as their text, as templates write them without quotes.
pub(super) fn put_env(body: &[u8]) -> Result<Control, Malformed> {
    let mut bad = Vec::new();
    let mut pairs = Vec::new();
    for (name, value) in object(body)? {
        let value = match value {
            Value::Null => None,
            Value::String(text) if text.contains('\0') => {
                bad.push(name);
                continue;
            }
            Value::String(text) if text.is_empty() => None,
            Value::String(text) => Some(Box::from(text)),
            Value::Number(number) => Some(Box::from(number.to_string())),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                bad.push(name);
                continue;
            }
        };
        pairs.push((Box::from(name), value));
    }
    if !bad.is_empty() {
        return Err(Malformed::about("cannot use the values of these variables as text", bad));
    }
    Ok(Control::PutEnv(pairs))
}

/// Reads `{"name": number, …}`; a number may be written as a text, as v3 allowed.
pub(super) fn put_metric(body: &[u8]) -> Result<Control, Malformed> {
    let mut bad = Vec::new();
    let mut values = Vec::new();
    for (name, value) in object(body)? {
        let number = match &value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        match number.filter(|number| number.is_finite()) {
            Some(number) => values.push((Box::from(name), number)),
            None => bad.push(name),
        }
    }
    if !bad.is_empty() {
        return Err(Malformed::about("cannot read the values of these metrics as numbers", bad));
    }
    Ok(Control::PutMetric(values))
}

/// Reads nothing, or `{"all": true}`.
pub(super) fn reload(body: &[u8]) -> Result<Control, Malformed> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        #[serde(default)]
        all: bool,
    }
    if body.trim_ascii().is_empty() {
        return Ok(Control::Reload { all: false });
    }
    let Body { all } = parse(body)?;
    Ok(Control::Reload { all })
}

/// Reads `{"job": "name", "signal": "HUP"}`; the signal may be a number.
pub(super) fn signal(body: &[u8]) -> Result<Control, Malformed> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        job: Box<str>,
        signal: Value,
    }
    let Body { job, signal } = parse(body)?;
    let text = match &signal {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match Signal::parse(&text) {
        Some(signal) => Ok(Control::SignalJob { job, signal }),
        None => Err(Malformed::new(format!("cannot find a signal named {signal}"))),
    }
}

/// Reads `{"job": "name"}`.
pub(super) fn restart(body: &[u8]) -> Result<Control, Malformed> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Body {
        job: Box<str>,
    }
    let Body { job } = parse(body)?;
    Ok(Control::RestartJob { job })
}

fn object(body: &[u8]) -> Result<Map<String, Value>, Malformed> {
    parse(body)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Malformed> {
    serde_json::from_slice(body)
        .map_err(|error| Malformed::new(format!("cannot read the body as JSON: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use steersman_engine::config::Signal;

    fn env(body: &str) -> Vec<(String, Option<String>)> {
        match put_env(body.as_bytes()) {
            Ok(Control::PutEnv(pairs)) => pairs
                .into_iter()
                .map(|(name, value)| (name.into_string(), value.map(<str>::into_string)))
                .collect(),
            other => panic!("{body}: {other:?}"),
        }
    }

    #[test]
    fn variables_are_set_and_unset() {
        let pairs = env(r#"{"A":"b=c","B":"","C":null,"D":10,"E":1.50,"F":"ü"}"#);
        let expected = [
            ("A", Some("b=c")),
            ("B", None),
            ("C", None),
            ("D", Some("10")),
            ("E", Some("1.5")),
            ("F", Some("ü")),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
        assert_eq!(pairs, expected);
    }

    #[test]
    fn values_that_are_no_text_are_refused_with_their_names() {
        let error = put_env(br#"{"A":"x","B":true,"C":[1],"D":{},"E":"a\u0000b"}"#).unwrap_err();
        assert_eq!(error.names, ["B", "C", "D", "E"]);
    }

    #[test]
    fn metrics_are_numbers_or_their_text() {
        let body = br#"{"a":1,"b":-2.5,"c":"3e2"}"#;
        let values = vec![("a".into(), 1.0), ("b".into(), -2.5), ("c".into(), 300.0)];
        assert_eq!(put_metric(body), Ok(Control::PutMetric(values)));
        let error = put_metric(br#"{"a":1,"b":"x","c":null,"d":"NaN","e":"inf"}"#).unwrap_err();
        assert_eq!(error.names, ["b", "c", "d", "e"]);
    }

    #[test]
    fn reload_takes_an_empty_body() {
        for body in ["", " \n", "{}", "{\"all\":false}"] {
            assert_eq!(reload(body.as_bytes()), Ok(Control::Reload { all: false }), "{body}");
        }
        assert_eq!(reload(b"{\"all\":true}"), Ok(Control::Reload { all: true }));
        assert!(reload(b"{\"al\":true}").is_err());
    }

    #[test]
    fn signal_is_a_name_or_a_number() {
        for text in ["\"HUP\"", "\"SIGHUP\"", "1", "\"1\""] {
            let body = format!("{{\"job\":\"app\",\"signal\":{text}}}");
            let expected = Control::SignalJob { job: "app".into(), signal: Signal(1) };
            assert_eq!(signal(body.as_bytes()), Ok(expected), "{text}");
        }
        let error = signal(br#"{"job":"app","signal":"TREM"}"#).unwrap_err();
        assert_eq!(error.message, "cannot find a signal named \"TREM\"");
    }

    #[test]
    fn bodies_that_are_no_json_objects_are_refused() {
        for body in ["", "x", "[]", "{\"A\":\"b\"", "{\"A\":\"b\"} x", "null", "\u{feff}{}"] {
            for read in [put_env, put_metric, signal, restart] {
                let error = read(body.as_bytes()).unwrap_err();
                assert!(error.message.starts_with("cannot read the body as JSON"), "{body}");
            }
        }
    }
}
