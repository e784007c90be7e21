//! The template functions of v3, and Go's own where gtmpl-ng differs over missing keys.

use std::cell::RefCell;
use std::collections::BTreeMap;

use gtmpl_ng::{Func, FuncError, Value, funcs};

use super::go_regex;

/// The functions added to Go's own.
pub(crate) static FUNCTIONS: &[(&str, Func)] = &[
    ("default", default_value),
    ("env", env),
    ("split", split),
    ("join", join),
    ("replaceAll", replace_all),
    ("regexReplaceAll", regex_replace_all),
    ("loop", loop_over),
    ("index", index),
    ("len", len),
    (ONLY_SET, only_set),
    (LITERAL, literal),
];

/// The name of the function that hides variables which are not set.
pub(crate) const ONLY_SET: &str = "onlySet_";

/// The name of the function that gives a literal by its number.
pub(crate) const LITERAL: &str = "literal_";

/// The entry of the data that lists the names which are referenced but not set.
pub(crate) const UNSET: &str = "\0unset";

/// The most numbers that `loop` gives.
const LOOP_MAX: i64 = 1_000_000;

/// Gives the names of all functions that a template may call.
pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
    let added = FUNCTIONS.iter().map(|(name, _)| *name).filter(|name| !name.ends_with('_'));
    added.chain(funcs::BUILTINS.iter().map(|(name, _)| *name))
}

/// What functions read besides their arguments.
#[derive(Debug, Default)]
struct Surroundings {
    env: BTreeMap<String, String>,
    literals: Vec<String>,
}

thread_local! {
    /// What belongs to the render on this thread: functions are bare pointers without a place for
    /// it.
    static SURROUNDINGS: RefCell<Surroundings> = RefCell::default();
}

/// What `env` and the literals read, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Installed;

impl Installed {
    pub(crate) fn new(env: &BTreeMap<String, String>, literals: &[String]) -> Installed {
        SURROUNDINGS.set(Surroundings { env: env.clone(), literals: literals.to_vec() });
        Installed
    }
}

impl Drop for Installed {
    fn drop(&mut self) {
        SURROUNDINGS.take();
    }
}

/// `default D V`: V if it is a string with something in it, else D.
fn default_value(args: &[Value]) -> Result<Value, FuncError> {
    let [default, value] = exactly("default", args)?;
    match value {
        Value::String(text) if !text.is_empty() => Ok(value.clone()),
        _ => match default {
            Value::String(_) => Ok(default.clone()),
            other => Ok(Value::from(printed(other)?)),
        },
    }
}

/// `env "NAME"`: that variable, or nothing.
fn env(args: &[Value]) -> Result<Value, FuncError> {
    let [name] = exactly("env", args)?;
    let name = text("env", name)?;
    let value = SURROUNDINGS.with_borrow(|around| around.env.get(name).cloned());
    Ok(Value::from(value.unwrap_or_default()))
}

/// `literal_ N`: a literal that the engine would misread.
fn literal(args: &[Value]) -> Result<Value, FuncError> {
    let [number] = exactly(LITERAL, args)?;
    let index = usize::try_from(whole(number)?).unwrap_or(usize::MAX);
    let value = SURROUNDINGS.with_borrow(|around| around.literals.get(index).cloned());
    Ok(Value::from(value.unwrap_or_default()))
}

/// `split SEP S`: the parts of S; none when there is nothing but white space.
fn split(args: &[Value]) -> Result<Value, FuncError> {
    let [separator, value] = exactly("split", args)?;
    let (separator, value) = (text("split", separator)?, text("split", value)?.trim());
    let parts: Vec<Value> = match (value.is_empty(), separator.is_empty()) {
        (true, _) => Vec::new(),
        (false, true) => value.chars().map(|c| Value::from(c.to_string())).collect(),
        (false, false) => value.split(separator).map(Value::from).collect(),
    };
    Ok(Value::Array(parts))
}

/// `join SEP LIST`: the parts with SEP between them.
fn join(args: &[Value]) -> Result<Value, FuncError> {
    let [separator, list] = exactly("join", args)?;
    let separator = text("join", separator)?;
    let Value::Array(list) = list else {
        return Err(FuncError::Generic(format!("join: expected a list, got {}", kind(list))));
    };
    let parts: Result<Vec<String>, FuncError> = list.iter().map(printed).collect();
    Ok(Value::from(parts?.join(separator)))
}

/// `replaceAll FROM TO S`.
fn replace_all(args: &[Value]) -> Result<Value, FuncError> {
    let [from, to, value] = exactly("replaceAll", args)?;
    let (from, to) = (text("replaceAll", from)?, text("replaceAll", to)?);
    Ok(Value::from(text("replaceAll", value)?.replace(from, to)))
}

/// `regexReplaceAll RE TO S`.
fn regex_replace_all(args: &[Value]) -> Result<Value, FuncError> {
    let [pattern, to, value] = exactly("regexReplaceAll", args)?;
    let name = "regexReplaceAll";
    let (pattern, to, value) = (text(name, pattern)?, text(name, to)?, text(name, value)?);
    go_regex::replace_all(pattern, to, value).map(Value::from).map_err(FuncError::Generic)
}

/// `loop N` or `loop A B`: whole numbers upwards, or downwards when B is less than A.
fn loop_over(args: &[Value]) -> Result<Value, FuncError> {
    let (start, stop) = match args {
        [stop] => (0, whole(stop)?),
        [start, stop] => (whole(start)?, whole(stop)?),
        _ => {
            let message = format!("loop: expected 1 or 2 arguments, got {}", args.len());
            return Err(FuncError::Generic(message));
        }
    };
    if start.abs_diff(stop) > LOOP_MAX.unsigned_abs() {
        return Err(FuncError::Generic(format!("loop: more than {LOOP_MAX} numbers")));
    }
    let numbers: Vec<Value> = match stop < start {
        true => (stop + 1..=start).rev().map(Value::from).collect(),
        false => (start..stop).map(Value::from).collect(),
    };
    Ok(Value::Array(numbers))
}

/// Go's `index`, where a name that is not set is empty.
fn index(args: &[Value]) -> Result<Value, FuncError> {
    match (args, funcs::index(args)?) {
        ([Value::Map(_), Value::String(_), ..], Value::NoValue) => Ok(Value::from("")),
        (_, value) => Ok(value),
    }
}

/// Go's `len`, which does not count names that are not set.
fn len(args: &[Value]) -> Result<Value, FuncError> {
    match args {
        [map @ Value::Map(_)] => funcs::len(&[set_only(map)]),
        _ => funcs::len(args),
    }
}

fn only_set(args: &[Value]) -> Result<Value, FuncError> {
    let [value] = exactly(ONLY_SET, args)?;
    Ok(set_only(value))
}

/// Takes the names that are not set out of the environment; leaves every other value alone.
fn set_only(value: &Value) -> Value {
    let Value::Map(map) = value else {
        return value.clone();
    };
    let Some(Value::Array(unset)) = map.get(UNSET) else {
        return value.clone();
    };
    let is_unset = |name: &String| {
        name == UNSET
            || unset.iter().any(|value| matches!(value, Value::String(text) if text == name))
    };
    let set = map
        .iter()
        .filter(|(name, _)| !is_unset(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    Value::Map(set)
}

fn exactly<'a, const N: usize>(name: &str, args: &'a [Value]) -> Result<&'a [Value; N], FuncError> {
    args.try_into().map_err(|_| {
        FuncError::Generic(format!("{name}: expected {N} arguments, got {}", args.len()))
    })
}

fn text<'a>(name: &str, value: &'a Value) -> Result<&'a str, FuncError> {
    match value {
        Value::String(text) => Ok(text),
        other => Err(FuncError::Generic(format!("{name}: expected a string, got {}", kind(other)))),
    }
}

fn whole(value: &Value) -> Result<i64, FuncError> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.as_i64(),
        _ => None,
    };
    let complaint = || format!("loop: expected a whole number, got {}", shown(value));
    number.ok_or_else(|| FuncError::Generic(complaint()))
}

/// Writes a value as Go's `print` does.
fn printed(value: &Value) -> Result<String, FuncError> {
    match funcs::print(std::slice::from_ref(value))? {
        Value::String(text) => Ok(text),
        other => Ok(other.to_string()),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        other => String::from(kind(other)),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "a string",
        Value::Number(_) => "a number",
        Value::Bool(_) => "a boolean",
        Value::Array(_) => "a list",
        Value::Map(_) | Value::Object(_) => "a map",
        Value::Function(_) => "a function",
        _ => "nothing",
    }
}
