//! The flags of v3, read by the rules of Go's `flag` package: one dash or two, `-name=value` or
//! `-name value`, parsing stops at the first argument that is no flag.
//!
//! This is the path on which containers start, so it stays free of heavier parsers.

use std::fmt;

/// Whether a flag takes a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// It is there or not; `-name=false` switches it off.
    Nothing,
    /// The last one counts; the text names the value in help texts.
    One(&'static str),
    /// Each one counts.
    Many(&'static str),
}

/// One flag.
#[derive(Debug, PartialEq, Eq)]
pub struct Flag {
    /// Its name, without dashes.
    pub name: &'static str,
    /// Whether it takes a value.
    pub takes: Takes,
    /// What it does.
    pub help: &'static str,
}

const fn flag(name: &'static str, takes: Takes, help: &'static str) -> Flag {
    Flag { name, takes, help }
}

/// The flags that may follow `run`, or stand alone.
pub const RUN: &[Flag] = &[
    flag("config", Takes::One("FILE"), "The configuration; else $CONTAINERPILOT names it"),
    flag("record", Takes::One("FILE"), "Write every input and effect to a trace, for `replay`"),
    flag("record-secrets", Takes::Nothing, "Keep the values of variables in traces"),
    flag("record-ring", Takes::One("BYTES"), "Memory for `steersman trace`; 0 switches it off"),
];

/// The other flags of v3; each asks for one thing instead of a run.
pub const V3: &[Flag] = &[
    flag("version", Takes::Nothing, "Show the version"),
    flag("help", Takes::Nothing, "Show this text"),
    flag("h", Takes::Nothing, "Show this text"),
    flag("template", Takes::Nothing, "Render the configuration's template"),
    flag("out", Takes::One("FILE"), "Where -template writes; - is standard output"),
    flag("reload", Takes::Nothing, "Ask the running one to read its configuration again"),
    flag("maintenance", Takes::One("enable|disable"), "Switch maintenance of the running one"),
    flag("putenv", Takes::Many("NAME=VALUE"), "Set a variable in the running one"),
    flag("putmetric", Takes::Many("NAME=VALUE"), "Feed a metric of the running one"),
    flag("ping", Takes::Nothing, "See whether the running one answers"),
    flag("socket", Takes::One("PATH"), "The control socket; else the configuration names it"),
];

/// Flags as they were given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    values: Vec<(&'static str, String)>,
    /// What follows the flags.
    pub rest: Vec<String>,
}

impl Given {
    /// Gives the last value of a flag.
    pub fn last(&self, name: &str) -> Option<&str> {
        self.all(name).last()
    }

    /// Gives every value of a flag, in order.
    pub fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.values.iter().filter(move |(given, _)| *given == name).map(|(_, value)| &**value)
    }

    /// Tells whether a flag without a value is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.last(name) == Some("true")
    }
}

/// Why flags cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlagError {
    /// There is no such flag.
    Unknown(String),
    /// A value is missing.
    NoValue(&'static str),
    /// A flag that is there or not was given something else.
    NoBool {
        /// The flag.
        name: &'static str,
        /// What was given.
        value: String,
    },
    /// Dashes without a name.
    Malformed(String),
}

impl fmt::Display for FlagError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlagError::Unknown(name) => write!(f, "cannot find a flag named -{name}"),
            FlagError::NoValue(name) => write!(f, "cannot use -{name} without a value"),
            FlagError::NoBool { name, value } => {
                write!(f, "cannot read \"{value}\" for -{name}: it is either true or false")
            }
            FlagError::Malformed(text) => write!(f, "cannot read \"{text}\" as a flag"),
        }
    }
}

/// Reads flags by the rules of Go.
pub fn parse(tables: &[&'static [Flag]], arguments: &[String]) -> Result<Given, FlagError> {
    let mut given = Given::default();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let Some(text) = argument.strip_prefix('-').filter(|text| !text.is_empty()) else {
            given.rest.push(argument.clone());
            break;
        };
        if text == "-" {
            break;
        }
        let text = text.strip_prefix('-').unwrap_or(text);
        if text.starts_with('-') || text.starts_with('=') {
            return Err(FlagError::Malformed(argument.clone()));
        }
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        let mut flags = tables.iter().flat_map(|table| table.iter());
        let flag = flags.find(|flag| flag.name == name);
        let flag = flag.ok_or_else(|| FlagError::Unknown(name.to_owned()))?;
        let value = match flag.takes {
            Takes::Nothing => bool_text(flag.name, value)?,
            Takes::One(_) | Takes::Many(_) => {
                value.or_else(|| arguments.next().cloned()).ok_or(FlagError::NoValue(flag.name))?
            }
        };
        given.values.push((flag.name, value));
    }
    given.rest.extend(arguments.cloned());
    Ok(given)
}

/// Reads what Go's `strconv.ParseBool` reads.
fn bool_text(name: &'static str, value: Option<String>) -> Result<String, FlagError> {
    let Some(value) = value else { return Ok(String::from("true")) };
    match &*value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(String::from("true")),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(String::from("false")),
        _ => Err(FlagError::NoBool { name, value }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(arguments: &[&str]) -> Result<Given, FlagError> {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        parse(&[RUN, V3], &arguments)
    }

    #[test]
    fn one_dash_or_two_with_or_without_equals_are_the_same() {
        for arguments in [
            &["-config", "a.json5"][..],
            &["--config", "a.json5"],
            &["-config=a.json5"],
            &["--config=a.json5"],
        ] {
            assert_eq!(given(arguments).unwrap().last("config"), Some("a.json5"), "{arguments:?}");
        }
    }

    #[test]
    fn flags_follow_the_rules_of_go() {
        type Case =
            (&'static [&'static str], &'static str, Option<&'static str>, &'static [&'static str]);
        let cases: &[Case] = &[
            // The last one counts.
            (&["-config", "a", "-config=b"], "config", Some("b"), &[]),
            // An empty value is a value.
            (&["-config="], "config", Some(""), &[]),
            (&["-config", ""], "config", Some(""), &[]),
            // A value may look like a flag, or hold an equals sign.
            (&["-config", "-reload"], "config", Some("-reload"), &[]),
            (&["-putenv=a=b=c"], "putenv", Some("a=b=c"), &[]),
            // A flag without value leaves the next argument alone.
            (&["-reload", "false"], "reload", Some("true"), &["false"]),
            (&["-reload=F"], "reload", Some("false"), &[]),
            (&["-reload=1"], "reload", Some("true"), &[]),
            // Parsing stops at the first argument that is no flag.
            (&["x", "-reload"], "reload", None, &["x", "-reload"]),
            (&["-", "-reload"], "reload", None, &["-", "-reload"]),
            (&["", "-reload"], "reload", None, &["", "-reload"]),
            (&["--", "-reload"], "reload", None, &["-reload"]),
            (&["-ping", "--", "x"], "ping", Some("true"), &["x"]),
        ];
        for (arguments, name, value, rest) in cases {
            let found = given(arguments).unwrap();
            assert_eq!(found.last(name), *value, "{arguments:?}");
            assert_eq!(found.rest, *rest, "{arguments:?}");
        }
    }

    #[test]
    fn wrong_flags_are_refused() {
        let cases: &[(&[&str], FlagError)] = &[
            (&["-nope"], FlagError::Unknown("nope".into())),
            (&["-nope=1"], FlagError::Unknown("nope".into())),
            (&["-config"], FlagError::NoValue("config")),
            (&["-reload=yes"], FlagError::NoBool { name: "reload", value: "yes".into() }),
            (&["---config"], FlagError::Malformed("---config".into())),
            (&["-=x"], FlagError::Malformed("-=x".into())),
        ];
        for (arguments, error) in cases {
            assert_eq!(given(arguments).as_ref(), Err(error), "{arguments:?}");
        }
    }

    #[test]
    fn repeated_flags_keep_their_order() {
        let found = given(&["-putenv", "b=1", "-putenv=a=2"]).unwrap();
        assert_eq!(found.all("putenv").collect::<Vec<_>>(), ["b=1", "a=2"]);
    }
}
