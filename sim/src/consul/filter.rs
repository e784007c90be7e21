//! The `filter` parameter: boolean expressions over what a read lists.

use super::filter_parser::parse;
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
pub(crate) enum Expression {
    Or(Box<Expression>, Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Not(Box<Expression>),
    Match { selector: Vec<String>, operator: Operator, value: Option<String> },
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Operator {
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
        "Failed to coerce value {value} for selector {selector}: strconv.{failed}: \
         parsing {value}: invalid syntax"
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
                "{head}1:16 (15): no match found, expected: \"-\", \"0\", \"\\\"\", \"`\", \
                 [ \\t\\r\\n], [1-9] or [a-zA-Z]"
            )
        );
        assert_eq!(
            error("Node contains x"),
            format!("{head}Invalid match operator \"In\" for selector \"Node\"")
        );
    }
}
