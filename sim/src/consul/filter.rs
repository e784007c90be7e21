//! The `filter` parameter: boolean expressions over what a read lists.

use std::collections::BTreeSet;

use super::go;
use super::json::Json;

/// What a field of a listed item is, which decides the operators it takes.
#[derive(Debug)]
pub(crate) enum Shape {
    Text,
    Int,
    Truth,
    Texts,
    Map(&'static Shape),
    Struct(&'static [(&'static str, Shape)]),
    List(&'static [(&'static str, Shape)]),
}

use Shape::{Int, List, Map, Struct, Text, Texts, Truth};

const NODE: [(&str, Shape); 6] = [
    ("ID", Text),
    ("Node", Text),
    ("Address", Text),
    ("Datacenter", Text),
    ("TaggedAddresses", Map(&Text)),
    ("Meta", Map(&Text)),
];
const ADDRESS: [(&str, Shape); 2] = [("Address", Text), ("Port", Int)];
const WEIGHTS: [(&str, Shape); 2] = [("Passing", Int), ("Warning", Int)];
const SERVICE: [(&str, Shape); 11] = [
    ("Kind", Text),
    ("ID", Text),
    ("Service", Text),
    ("Tags", Texts),
    ("Address", Text),
    ("TaggedAddresses", Map(&Struct(&ADDRESS))),
    ("Meta", Map(&Text)),
    ("Port", Int),
    ("Weights", Struct(&WEIGHTS)),
    ("EnableTagOverride", Truth),
    ("Connect", Struct(&[("Native", Truth)])),
];
const CHECK: [(&str, Shape); 10] = [
    ("Node", Text),
    ("CheckID", Text),
    ("Name", Text),
    ("Status", Text),
    ("Notes", Text),
    ("Output", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("Type", Text),
];
const FLAT: [(&str, Shape); 17] = [
    ("ID", Text),
    ("Node", Text),
    ("Address", Text),
    ("Datacenter", Text),
    ("TaggedAddresses", Map(&Text)),
    ("NodeMeta", Map(&Text)),
    ("ServiceKind", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("ServiceAddress", Text),
    ("ServiceTaggedAddresses", Map(&Struct(&ADDRESS))),
    ("ServiceWeights", Struct(&WEIGHTS)),
    ("ServiceMeta", Map(&Text)),
    ("ServicePort", Int),
    ("ServiceEnableTagOverride", Truth),
    ("ServiceConnect", Struct(&[("Native", Truth)])),
];

#[derive(Clone, Debug)]
enum Expression {
    Or(Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Match { selector: Vec<String>, operator: Operator, value: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Matches,
    NotMatches,
}

impl Operator {
    fn name(self) -> &'static str {
        match self {
            Operator::Equal => "Equal",
            Operator::NotEqual => "Not Equal",
            Operator::In => "In",
            Operator::NotIn => "Not In",
            Operator::IsEmpty => "Is Empty",
            Operator::IsNotEmpty => "Is Not Empty",
            Operator::Matches => "Matches",
            Operator::NotMatches => "Not Matches",
        }
    }

    fn is_negative(self) -> bool {
        use Operator::{In, IsEmpty, IsNotEmpty, Matches, NotEqual, NotIn, NotMatches};
        match self {
            NotEqual | NotIn | NotMatches | IsEmpty => true,
            Operator::Equal | In | Matches | IsNotEmpty => false,
        }
    }
}

/// A parsed expression; without one, everything matches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    expression: Option<Expression>,
}

impl Filter {
    /// Items of `/v1/catalog/nodes`.
    pub(crate) const NODE: Shape = Struct(&NODE);
    /// Items of `/v1/catalog/service/NAME`.
    pub(crate) const FLAT: Shape = Struct(&FLAT);
    /// Services of one node.
    pub(crate) const SERVICE: Shape = Struct(&SERVICE);
    /// Items of the check lists.
    pub(crate) const CHECK: Shape = Struct(&CHECK);
    /// Items of `/v1/health/service/NAME`.
    pub(crate) const HEALTH: Shape =
        Struct(&[("Node", Struct(&NODE)), ("Service", Struct(&SERVICE)), ("Checks", List(&CHECK))]);

    /// Parses and checks an expression.
    pub(crate) fn parse(text: &str, shape: &Shape) -> Result<Filter, String> {
        if text.is_empty() {
            return Ok(Filter::default());
        }
        let failed = |e| format!("Failed to create boolean expression evaluator: {e}");
        let expression = parse(text).map_err(failed)?;
        check(&expression, shape).map_err(failed)?;
        Ok(Filter { expression: Some(expression) })
    }

    /// Parses an expression, and checks its selectors only if there is something to apply them to.
    pub(crate) fn parse_late(text: &str, shape: &Shape, nothing: bool) -> Result<Filter, String> {
        if text.is_empty() {
            return Ok(Filter::default());
        }
        let expression = parse(text)
            .map_err(|e| format!("Failed to create boolean expression evaluator: {e}"))?;
        if !nothing {
            check(&expression, shape)?;
        }
        Ok(Filter { expression: Some(expression) })
    }

    /// Tells whether a printed item is wanted.
    pub(crate) fn matches(&self, printed: &str) -> bool {
        let Some(expression) = &self.expression else { return true };
        Json::parse(printed.as_bytes()).is_ok_and(|item| holds(expression, &item))
    }
}

fn check(expression: &Expression, shape: &Shape) -> Result<(), String> {
    let (selector, operator, value) = match expression {
        Expression::Or(left, right) | Expression::And(left, right) => {
            check(left, shape)?;
            return check(right, shape);
        }
        Expression::Not(inner) => return check(inner, shape),
        Expression::Match { selector, operator, value } => (selector, *operator, value),
    };
    let mut at = shape;
    for (depth, name) in selector.iter().enumerate() {
        let next = match at {
            Struct(fields) | List(fields) => {
                fields.iter().find(|(field, _)| field == name).map(|(_, shape)| shape)
            }
            Map(of) => Some(*of),
            Text | Int | Truth | Texts => None,
        };
        let shown = || selector[..=depth].join(".");
        at = next.ok_or_else(|| format!("Selector {} is not valid", go::quote(&shown())))?;
    }
    use Operator::{Equal, In, IsEmpty, IsNotEmpty, Matches, NotEqual, NotIn, NotMatches};
    let allowed: &[Operator] = match at {
        Text => &[Equal, NotEqual, In, NotIn, Matches, NotMatches],
        Int | Truth => &[Equal, NotEqual],
        Texts | Map(_) => &[In, NotIn, IsEmpty, IsNotEmpty],
        List(_) => &[IsEmpty, IsNotEmpty],
        Struct(_) => &[],
    };
    let selector = go::quote(&selector.join("."));
    if !allowed.contains(&operator) {
        return Err(format!(
            "Invalid match operator {} for selector {selector}",
            go::quote(operator.name())
        ));
    }
    let Some(value) = value else { return Ok(()) };
    if matches!(operator, Matches | NotMatches) && regex::Regex::new(value).is_err() {
        let shown = go::quote(value);
        let why = pattern_error(value);
        return Err(format!(
            "Failed to compile regular expression {shown}: error parsing regexp: {why}"
        ));
    }
    let failed = match at {
        Int if value.parse::<i64>().is_err() => "ParseInt",
        Truth if go::parse_bool(value).is_none() => "ParseBool",
        _ => return Ok(()),
    };
    let value = go::quote(value);
    Err(format!(
        "Failed to coerce value {value} for selector {selector}: strconv.{failed}: parsing {value}: invalid syntax"
    ))
}

/// Says what is wrong with a pattern, as Go would, for what is usually wrong.
fn pattern_error(pattern: &str) -> String {
    let opened = pattern.rfind('[').filter(|at| !pattern[*at..].contains(']'));
    match opened {
        Some(at) => format!("missing closing ]: `{}`", &pattern[at..]),
        None if pattern.starts_with(['*', '+', '?']) => {
            format!("missing argument to repetition operator: `{}`", &pattern[..1])
        }
        None if pattern.matches('(').count() > pattern.matches(')').count() => {
            format!("missing closing ): `{pattern}`")
        }
        None if pattern.matches('(').count() < pattern.matches(')').count() => {
            format!("unexpected ): `{pattern}`")
        }
        None => format!("invalid escape sequence: `{pattern}`"),
    }
}

fn holds(expression: &Expression, item: &Json) -> bool {
    match expression {
        Expression::Or(left, right) => holds(left, item) || holds(right, item),
        Expression::And(left, right) => holds(left, item) && holds(right, item),
        Expression::Not(inner) => !holds(inner, item),
        Expression::Match { selector, operator, value } => {
            compares(item, selector, *operator, value.as_deref().unwrap_or_default())
        }
    }
}

fn compares(item: &Json, selector: &[String], operator: Operator, value: &str) -> bool {
    let Some((name, rest)) = selector.split_first() else {
        return compares_value(item, operator, value);
    };
    match item {
        Json::List(items) => items.iter().any(|item| compares(item, selector, operator, value)),
        Json::Object(members) => match members.iter().find(|(key, _)| key == name) {
            Some((_, member)) => compares(member, rest, operator, value),
            None => operator.is_negative(),
        },
        _ => operator.is_negative(),
    }
}

fn compares_value(found: &Json, operator: Operator, value: &str) -> bool {
    let equal = match found {
        Json::Text(text) => text == value,
        Json::Number(digits) => digits == value,
        Json::Bool(truth) => go::parse_bool(value) == Some(*truth),
        _ => false,
    };
    let contains = match found {
        Json::Text(text) => text.contains(value),
        Json::List(items) => items.iter().any(|item| *item == Json::Text(value.to_owned())),
        Json::Object(members) => members.iter().any(|(key, _)| key == value),
        _ => false,
    };
    let empty = match found {
        Json::List(items) => items.is_empty(),
        Json::Object(members) => members.is_empty(),
        _ => true,
    };
    let matches = || match (found, regex::Regex::new(value)) {
        (Json::Text(text), Ok(pattern)) => pattern.is_match(text),
        _ => false,
    };
    match operator {
        Operator::Equal => equal,
        Operator::NotEqual => !equal,
        Operator::In => contains,
        Operator::NotIn => !contains,
        Operator::IsEmpty => empty,
        Operator::IsNotEmpty => !empty,
        Operator::Matches => matches(),
        Operator::NotMatches => !matches(),
    }
}

/// A parser that remembers how far it came and what it would have taken there, for the error.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    farthest: usize,
    wanted: BTreeSet<String>,
}

fn parse(text: &str) -> Result<Expression, String> {
    let mut parser = Parser { text, at: 0, farthest: 0, wanted: BTreeSet::new() };
    parser.spaces();
    if let Some(expression) = parser.or() {
        parser.spaces();
        if parser.at == text.len() {
            return Ok(expression);
        }
        parser.fail("EOF");
    }
    let before = &text[..parser.farthest];
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    let mut wanted: Vec<String> = parser.wanted.iter().filter(|w| *w != "EOF").cloned().collect();
    if parser.wanted.contains("EOF") {
        wanted.push("EOF".to_owned());
    }
    let last = wanted.pop().unwrap_or_default();
    let list = if wanted.is_empty() { last } else { format!("{} or {last}", wanted.join(", ")) };
    Err(format!("{line}:{column} ({}): no match found, expected: {list}", parser.farthest))
}

impl Parser<'_> {
    fn fail(&mut self, wanted: &str) {
        if self.at > self.farthest {
            self.farthest = self.at;
            self.wanted.clear();
        }
        if self.at == self.farthest {
            self.wanted.insert(wanted.to_owned());
        }
    }

    fn attempt<T>(&mut self, body: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let back = self.at;
        let done = body(self);
        if done.is_none() {
            self.at = back;
        }
        done
    }

    fn literal(&mut self, word: &str) -> Option<()> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Some(());
        }
        self.fail(&go::quote(word));
        None
    }

    fn class(&mut self, name: &str, is_in: impl Fn(char) -> bool) -> Option<char> {
        match self.text[self.at..].chars().next().filter(|c| is_in(*c)) {
            Some(c) => {
                self.at += c.len_utf8();
                Some(c)
            }
            None => {
                self.fail(name);
                None
            }
        }
    }

    fn space(&mut self) -> Option<()> {
        let blank = |c: char| " \t\r\n".contains(c);
        self.class("[ \\t\\r\\n]", blank)?;
        while self.class("[ \\t\\r\\n]", blank).is_some() {}
        Some(())
    }

    fn spaces(&mut self) {
        let _ = self.space();
    }

    fn or(&mut self) -> Option<Expression> {
        let left = self.and()?;
        let right = self.attempt(|p| {
            p.space()?;
            p.literal("or")?;
            p.space()?;
            p.or()
        });
        Some(match right {
            Some(right) => Expression::Or(Box::new(left), Box::new(right)),
            None => left,
        })
    }

    fn and(&mut self) -> Option<Expression> {
        let left = self.not()?;
        let right = self.attempt(|p| {
            p.space()?;
            p.literal("and")?;
            p.space()?;
            p.and()
        });
        Some(match right {
            Some(right) => Expression::And(Box::new(left), Box::new(right)),
            None => left,
        })
    }

    fn not(&mut self) -> Option<Expression> {
        let negated = self.attempt(|p| {
            p.literal("not")?;
            p.space()?;
            p.not()
        });
        if let Some(inner) = negated {
            return Some(Expression::Not(Box::new(inner)));
        }
        let grouped = self.attempt(|p| {
            p.literal("(")?;
            p.spaces();
            let inner = p.or()?;
            p.spaces();
            p.literal(")")?;
            Some(inner)
        });
        grouped.or_else(|| self.comparison())
    }

    fn comparison(&mut self) -> Option<Expression> {
        let selected = self.attempt(|p| {
            let selector = p.selector()?;
            let operator = p.value_operator()?;
            Some((selector, operator, Some(p.value()?)))
        });
        let emptiness = |p: &mut Self| {
            let selector = p.selector()?;
            let operator = match p.words(&["is", "empty"], false) {
                Some(()) => Operator::IsEmpty,
                None => {
                    p.words(&["is", "not", "empty"], false)?;
                    Operator::IsNotEmpty
                }
            };
            Some((selector, operator, None))
        };
        let membership = |p: &mut Self| {
            let value = p.value()?;
            let operator = match p.words(&["in"], true) {
                Some(()) => Operator::In,
                None => {
                    p.words(&["not", "in"], true)?;
                    Operator::NotIn
                }
            };
            Some((p.selector()?, operator, Some(value)))
        };
        let (selector, operator, value) =
            selected.or_else(|| self.attempt(emptiness)).or_else(|| self.attempt(membership))?;
        Some(Expression::Match { selector, operator, value })
    }

    fn value_operator(&mut self) -> Option<Operator> {
        for (sign, operator) in [("==", Operator::Equal), ("!=", Operator::NotEqual)] {
            let found = self.attempt(|p| {
                p.spaces();
                p.literal(sign)?;
                p.spaces();
                Some(())
            });
            if found.is_some() {
                return Some(operator);
            }
        }
        let worded: [(&[&str], Operator); 4] = [
            (&["contains"], Operator::In),
            (&["not", "contains"], Operator::NotIn),
            (&["matches"], Operator::Matches),
            (&["not", "matches"], Operator::NotMatches),
        ];
        worded.into_iter().find_map(|(words, operator)| self.words(words, true).map(|()| operator))
    }

    fn words(&mut self, words: &[&str], then_space: bool) -> Option<()> {
        self.attempt(|p| {
            for word in words {
                p.space()?;
                p.literal(word)?;
            }
            if then_space { p.space() } else { Some(()) }
        })
    }

    fn identifier(&mut self) -> Option<String> {
        let start = self.at;
        self.class("[a-zA-Z]", |c| c.is_ascii_alphabetic())?;
        while self.class("[a-zA-Z0-9_]", |c| c.is_ascii_alphanumeric() || c == '_').is_some() {}
        Some(self.text[start..self.at].to_owned())
    }

    fn selector(&mut self) -> Option<Vec<String>> {
        let mut parts = vec![self.identifier()?];
        loop {
            let dotted = self.attempt(|p| {
                p.literal(".")?;
                p.identifier()
            });
            let next = dotted.or_else(|| {
                self.attempt(|p| {
                    p.literal("[")?;
                    p.spaces();
                    let name = p.quoted()?;
                    p.spaces();
                    p.literal("]")?;
                    Some(name)
                })
            });
            match next {
                Some(part) => parts.push(part),
                None => return Some(parts),
            }
        }
    }

    fn value(&mut self) -> Option<String> {
        if let Some(parts) = self.attempt(Self::selector) {
            return Some(parts.join("."));
        }
        self.attempt(Self::number).or_else(|| self.attempt(Self::quoted))
    }

    fn number(&mut self) -> Option<String> {
        let start = self.at;
        let _ = self.literal("-");
        let digit = |c: char| c.is_ascii_digit();
        if self.literal("0").is_none() {
            self.class("[1-9]", |c| ('1'..='9').contains(&c))?;
            while self.class("[0-9]", digit).is_some() {}
        }
        let _ = self.attempt(|p| {
            p.literal(".")?;
            p.class("[0-9]", digit)?;
            while p.class("[0-9]", digit).is_some() {}
            Some(())
        });
        let ends = self.text[self.at..].chars().next();
        match ends {
            None | Some(' ' | '\t' | '\r' | '\n' | ')') => {
                Some(self.text[start..self.at].to_owned())
            }
            Some(_) => None,
        }
    }

    fn quoted(&mut self) -> Option<String> {
        let mark = match self.literal("`") {
            Some(()) => '`',
            None => {
                self.literal("\"")?;
                '"'
            }
        };
        let rest = &self.text[self.at..];
        let end = rest.find(mark)?;
        self.at += end + 1;
        Some(rest[..end].to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_what_would_have_been_taken() {
        let error = |text| Filter::parse(text, &Filter::HEALTH).unwrap_err();
        let head = "Failed to create boolean expression evaluator: ";
        assert_eq!(error("Foo == 1"), format!("{head}Selector \"Foo\" is not valid"));
        assert_eq!(
            error("Service.Port =="),
            format!(
                "{head}1:16 (15): no match found, expected: \"-\", \"0\", \"\\\"\", \"`\", [ \\t\\r\\n], [1-9] or [a-zA-Z]"
            )
        );
        assert_eq!(
            error("Node contains x"),
            format!("{head}Invalid match operator \"In\" for selector \"Node\"")
        );
    }
}
