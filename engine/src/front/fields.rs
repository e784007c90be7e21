//! One block of a configuration, read key by key under the rules of its table.

use std::time::Duration;

use super::duration::{self, DurationError, show};
use super::json5::{Member, Node, Number, Value};
use super::keys::{Block, Key, Kind, Need, instead_of};
use super::near;
use super::problem::{
    BAD_VALUE, DUPLICATE_KEY, MISSING_KEY, OUT_OF_RANGE, Problem, Problems, UNKNOWN_KEY,
    WEAK_VALUE, WRONG_TYPE,
};
use super::text::{At, Span};

/// One block: its members by key, unknown and repeated ones already reported.
#[derive(Debug)]
pub(crate) struct Fields<'n> {
    /// The whole block.
    pub(crate) span: Span,
    /// Whose block it is, for messages: `job "app"`.
    pub(crate) owner: String,
    block: &'static Block,
    members: Vec<Option<&'n Member>>,
}

impl<'n> Fields<'n> {
    /// Opens a block; `None` when the value is none.
    pub(crate) fn open(
        node: &'n Node,
        block: &'static Block,
        owner: String,
        problems: &mut Problems,
    ) -> Option<Fields<'n>> {
        let Value::Object(list) = &node.value else {
            let message = format!("cannot use {} as {owner}: it must be a block", shown(node));
            let problem = Problem::new(&WRONG_TYPE, node.span, message);
            problems.add(problem.help("a block is written as { key: value, … }"));
            return None;
        };
        let mut members: Vec<Option<&Member>> = vec![None; block.keys.len()];
        for member in list {
            let Some(index) = block.index(&member.key) else {
                problems.add(unknown_key(member, block, &owner));
                continue;
            };
            match members[index] {
                Some(first) => problems.add(duplicate_key(member, first, &owner)),
                None => members[index] = Some(member),
            }
        }
        let fields = Fields { span: node.span, owner, block, members };
        fields.report_missing(problems);
        Some(fields)
    }

    fn report_missing(&self, problems: &mut Problems) {
        for (key, member) in self.block.keys.iter().zip(&self.members) {
            let value = member.map(|member| &member.value.value);
            let empty = match value {
                None | Some(Value::Null) => true,
                Some(Value::Text(text)) => text.is_empty() && matches!(key.kind, Kind::Text),
                Some(_) => false,
            };
            if key.need == Need::Required && empty {
                let span = match member {
                    Some(member) => member.value.span,
                    None => self.opening(),
                };
                let message = format!("cannot leave out `{}` of {}", key.name, self.owner);
                let problem = Problem::new(&MISSING_KEY, span, message);
                problems.add(problem.help(first_sentence(key.doc)));
            }
        }
    }

    /// The opening bracket of the block: where to say that something is missing.
    pub(crate) fn opening(&self) -> Span {
        Span::new(self.span.start, self.span.start + 1)
    }

    /// Names a key for a message.
    pub(crate) fn label(&self, name: &str) -> String {
        format!("`{name}` of {}", self.owner)
    }

    /// Finds a member that is there and not null.
    pub(crate) fn member(&self, name: &str) -> Option<&'n Member> {
        let index = self.block.index(name);
        debug_assert!(index.is_some(), "{}.{name} is in no table", self.block.path);
        self.members[index?].filter(|member| member.value.value != Value::Null)
    }

    pub(crate) fn node(&self, name: &str) -> Option<&'n Node> {
        self.member(name).map(|member| &member.value)
    }

    fn key(&self, name: &str) -> Option<&'static Key> {
        self.block.index(name).map(|index| &self.block.keys[index])
    }

    /// Reads a string that says something; an empty one counts as left out, as it did in v3.
    pub(crate) fn text(&self, name: &str, problems: &mut Problems) -> Option<At<String>> {
        let node = self.node(name)?;
        let text = weak_text(node, &self.label(name), problems)?;
        (!text.is_empty()).then_some(At { value: text, span: node.span })
    }

    /// Reads true or false.
    pub(crate) fn flag(&self, name: &str, problems: &mut Problems) -> Option<At<bool>> {
        let node = self.node(name)?;
        let value = match &node.value {
            Value::Bool(value) => Some(*value),
            Value::Number(number) => number.whole.map(|whole| whole != 0),
            Value::Text(text) => parse_bool(text),
            _ => None,
        };
        if value.is_none() {
            let message = format!("cannot use {} as {}", shown(node), self.label(name));
            let problem = Problem::new(&WRONG_TYPE, node.span, message);
            problems.add(problem.help("write true or false"));
        }
        value.map(|value| At { value, span: node.span })
    }

    /// Reads a whole number within the limits of the table.
    pub(crate) fn whole(&self, name: &str, problems: &mut Problems) -> Option<At<i64>> {
        let node = self.node(name)?;
        let Some(Kind::Whole { min, max }) = self.key(name).map(|key| key.kind) else {
            debug_assert!(false, "{name} is no whole number in the table");
            return None;
        };
        let value = whole_within(node, min, max, &self.label(name), problems)?;
        Some(At { value, span: node.span })
    }

    /// Reads a duration, at least as long as the table says.
    pub(crate) fn duration(&self, name: &str, problems: &mut Problems) -> Option<At<Duration>> {
        let node = self.node(name)?;
        let Some(Kind::Duration { min_ns }) = self.key(name).map(|key| key.kind) else {
            debug_assert!(false, "{name} is no duration in the table");
            return None;
        };
        let label = self.label(name);
        if matches!(&node.value, Value::Text(text) if text.is_empty()) {
            return None;
        }
        let value = duration_of(node, &label, problems)?;
        let least = Duration::from_nanos(min_ns);
        if value < least {
            let limit = match min_ns {
                1 => String::from("more than 0s"),
                _ => format!("at least {}", show(least)),
            };
            let message = format!("cannot use {} as {label}: it must be {limit}", shown(node));
            problems.add(Problem::new(&OUT_OF_RANGE, node.span, message));
            return None;
        }
        Some(At { value, span: node.span })
    }

    /// Reads one of the words of the table, in any case.
    pub(crate) fn word(&self, name: &str, problems: &mut Problems) -> Option<At<&'static str>> {
        let text = self.text(name, problems)?;
        let Some(Kind::Word(words)) = self.key(name).map(|key| key.kind) else {
            debug_assert!(false, "{name} is no word in the table");
            return None;
        };
        let value = word_of(&text, words, &self.label(name), problems)?;
        Some(At { value, span: text.span })
    }

    /// Reads a list of strings; one string alone is none, as in v3.
    pub(crate) fn texts(&self, name: &str, problems: &mut Problems) -> Vec<At<String>> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let Value::List(nodes) = &node.value else {
            let label = self.label(name);
            let message = format!("cannot use {} as {label}: it must be a list", shown(node));
            let problem = Problem::new(&WRONG_TYPE, node.span, message);
            problems.add(problem.help("put it in brackets"));
            return Vec::new();
        };
        list_of_texts(nodes, &self.label(name), problems)
    }

    /// Reads names with strings.
    pub(crate) fn text_map(
        &self,
        name: &str,
        problems: &mut Problems,
    ) -> Vec<(At<String>, At<String>)> {
        let Some(node) = self.node(name) else {
            return Vec::new();
        };
        let Value::Object(members) = &node.value else {
            let label = self.label(name);
            let message = format!("cannot use {} as {label}: it must be a block", shown(node));
            problems.add(Problem::new(&WRONG_TYPE, node.span, message));
            return Vec::new();
        };
        let mut map: Vec<(At<String>, At<String>)> = Vec::new();
        for member in members {
            let label = format!("`{}` in {}", member.key, self.label(name));
            if let Some((first, _)) = map.iter().find(|(key, _)| key.value == member.key) {
                let message = format!("cannot give `{}` twice in {}", member.key, self.label(name));
                let problem = Problem::new(&DUPLICATE_KEY, member.key_span, message);
                problems.add(problem.related(first.span, "first given here"));
                continue;
            }
            let text = match &member.value.value {
                Value::Null => Some(String::new()),
                _ => weak_text(&member.value, &label, problems),
            };
            if let Some(text) = text {
                let key = At { value: member.key.clone(), span: member.key_span };
                map.push((key, At { value: text, span: member.value.span }));
            }
        }
        map
    }
}

fn unknown_key(member: &Member, block: &'static Block, owner: &str) -> Problem {
    let message = format!("cannot use the key `{}` in {owner}: there is none", member.key);
    let names = block.keys.iter().map(|key| key.name);
    let same = names.clone().find(|name| name.eq_ignore_ascii_case(&member.key));
    let help = match same {
        Some(name) => Some(format!("at the top level case matters: write `{name}`")),
        None => match instead_of(block, &member.key) {
            Some(help) => Some(String::from(help)),
            None => near::suggestion(&member.key, names),
        },
    };
    Problem::new(&UNKNOWN_KEY, member.key_span, message).maybe_help(help)
}

fn duplicate_key(member: &Member, first: &Member, owner: &str) -> Problem {
    let message = format!("cannot give `{}` twice in {owner}", member.key);
    Problem::new(&DUPLICATE_KEY, member.key_span, message)
        .related(first.key_span, "first given here")
        .help("keep one of them")
}

fn first_sentence(doc: &str) -> String {
    String::from(doc.split_inclusive(['.', ';']).next().unwrap_or(doc).trim_end_matches(['.', ';']))
}

/// Reads a string as weakly as v3 did: a number counts as its text, a boolean as 1 or 0.
pub(crate) fn weak_text(node: &Node, label: &str, problems: &mut Problems) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Number(number) => Some(number_text(number)),
        Value::Bool(value) => {
            let text = if *value { "1" } else { "0" };
            let message = format!("cannot keep `{value}` as {label}: it is read as \"{text}\"");
            let problem = Problem::new(&WEAK_VALUE, node.span, message);
            problems.add(problem.help(format!("write \"{value}\" if the word is meant")));
            Some(String::from(text))
        }
        _ => {
            let message = format!("cannot use {} as {label}: it must be a string", shown(node));
            problems.add(Problem::new(&WRONG_TYPE, node.span, message));
            None
        }
    }
}

/// Writes a number as text: a whole one by its digits, every other as it stands.
fn number_text(number: &Number) -> String {
    match number.whole {
        Some(whole) => whole.to_string(),
        None => String::from(&*number.text),
    }
}

/// Reads strings from the values of a list.
pub(crate) fn list_of_texts(
    nodes: &[Node],
    label: &str,
    problems: &mut Problems,
) -> Vec<At<String>> {
    let mut texts = Vec::with_capacity(nodes.len());
    for node in nodes {
        if let Some(value) = weak_text(node, label, problems) {
            texts.push(At { value, span: node.span });
        }
    }
    texts
}

/// Reads a whole number, from digits in a string as well.
pub(crate) fn whole_within(
    node: &Node,
    min: i64,
    max: i64,
    label: &str,
    problems: &mut Problems,
) -> Option<i64> {
    let (whole, rule) = match &node.value {
        Value::Number(number) => (number.whole, &OUT_OF_RANGE),
        Value::Text(text) => (text.trim().parse().ok(), &WRONG_TYPE),
        Value::Bool(value) => (Some(i64::from(*value)), &WRONG_TYPE),
        _ => (None, &WRONG_TYPE),
    };
    match whole {
        Some(whole) if (min..=max).contains(&whole) => Some(whole),
        _ => {
            let rule = if whole.is_some() { &OUT_OF_RANGE } else { rule };
            let message = format!(
                "cannot use {} as {label}: it must be a whole number from {min} to {max}",
                shown(node)
            );
            problems.add(Problem::new(rule, node.span, message));
            None
        }
    }
}

/// Reads a duration without regard to limits.
pub(crate) fn duration_of(node: &Node, label: &str, problems: &mut Problems) -> Option<Duration> {
    let result = match &node.value {
        Value::Text(text) => duration::parse(text),
        Value::Number(Number { whole: Some(whole), .. }) => match u64::try_from(*whole) {
            Ok(seconds) => duration::from_seconds(seconds),
            Err(_) => Err(DurationError::Negative),
        },
        Value::Number(Number { value, .. }) if value.fract() == 0.0 => Err(DurationError::TooLong),
        Value::Number(_) => Err(DurationError::UnitMissing),
        _ => {
            let message = format!("cannot use {} as {label}: it must be a duration", shown(node));
            let problem = Problem::new(&WRONG_TYPE, node.span, message);
            problems.add(problem.help("write whole seconds, or a string such as \"1m30s\""));
            return None;
        }
    };
    match result {
        Ok(duration) => Some(duration),
        Err(error) => {
            let rule = match error {
                DurationError::Negative | DurationError::TooLong => &OUT_OF_RANGE,
                _ => &BAD_VALUE,
            };
            let message = format!("cannot use {} as {label}: {error}", shown(node));
            let problem = Problem::new(rule, node.span, message);
            problems.add(problem.maybe_help(duration_help(node)));
            None
        }
    }
}

/// Says how a number that is not whole is written as a duration.
fn duration_help(node: &Node) -> Option<String> {
    match &node.value {
        Value::Number(number) if number.value > 0.0 && number.value < 1e9 => {
            let millis = Duration::from_millis((number.value * 1000.0).round() as u64);
            Some(format!("write \"{}\"", show(millis)))
        }
        Value::Text(text) => {
            let trimmed: String = text.chars().filter(|c| !c.is_whitespace()).collect();
            let known = duration::parse(&trimmed.to_lowercase()).ok()?;
            Some(format!("write \"{}\"", show(known)))
        }
        _ => None,
    }
}

/// Reads one of several words, in any case.
pub(crate) fn word_of(
    text: &At<String>,
    words: &'static [&'static str],
    label: &str,
    problems: &mut Problems,
) -> Option<&'static str> {
    let found = words.iter().find(|word| word.eq_ignore_ascii_case(&text.value)).copied();
    if found.is_none() {
        let message = format!("cannot use {:?} as {label}: there is no such choice", text.value);
        let problem = Problem::new(&BAD_VALUE, text.span, message);
        problems.add(problem.maybe_help(near::suggestion(&text.value, words.iter().copied())));
    }
    found
}

/// Reads a boolean as Go's `strconv.ParseBool` does; an empty string is false, as in v3.
pub(crate) fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Shows a value in a message: short ones in full, others by their type.
pub(crate) fn shown(node: &Node) -> String {
    match &node.value {
        Value::Null => String::from("null"),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => String::from(&*number.text),
        Value::Text(text) if text.chars().count() <= SHOWN_MAX => format!("{text:?}"),
        value => String::from(value.kind()),
    }
}

/// The longest string that a message repeats.
const SHOWN_MAX: usize = 60;
