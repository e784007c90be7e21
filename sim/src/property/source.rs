//! Properties as they are written down: in scenarios, and in traces that are to be judged again.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::phrase::ParseError;
use crate::property::expression::{Compare, Expression};
use crate::property::judge::{Property, Rule, Suite};
use crate::property::parse::{Names, parse};
use crate::property::server::{Quantity, Servers};

/// One property as written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PropertySource {
    /// Its name.
    pub name: Arc<str>,
    /// What it demands.
    pub demand: Demand,
    /// Its expression.
    pub text: Arc<str>,
    /// What must follow, for [`Demand::Whenever`].
    pub then: Option<Arc<str>>,
    /// How long something may be missing, or may take.
    pub patience: Duration,
}

/// What a property demands of its expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Demand {
    /// It holds all the time.
    Always,
    /// It never holds.
    Never,
    /// No two subjects fit it at once.
    AtMostOne,
    /// It holds in the end, and from then on.
    Eventually,
    /// Whenever it holds, something else follows.
    Whenever,
    /// It holds at least once in at least one run.
    Sometimes,
}

impl Demand {
    /// Every demand.
    pub const ALL: &'static [Demand] = &[
        Demand::Always,
        Demand::Never,
        Demand::AtMostOne,
        Demand::Eventually,
        Demand::Whenever,
        Demand::Sometimes,
    ];

    /// Gives the key of a scenario that stands for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Demand::Always => "always",
            Demand::Never => "never",
            Demand::AtMostOne => "atMostOne",
            Demand::Eventually => "eventually",
            Demand::Whenever => "whenever",
            Demand::Sometimes => "sometimes",
        }
    }
}

/// Everything that is judged, as written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SuiteSource {
    /// Expressions that have names.
    pub facts: BTreeMap<Arc<str>, Arc<str>>,
    /// The properties.
    pub properties: Vec<PropertySource>,
    /// More starts of one job than this within ten seconds are a storm; zero is no limit.
    pub starts_in_ten_seconds_max: usize,
}

/// Which text cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Culprit {
    /// A fact, by name.
    Fact(Arc<str>),
    /// A property, by number: its expression.
    Property(usize),
    /// A property, by number: what must follow.
    Then(usize),
}

impl SuiteSource {
    /// Reads all expressions.
    ///
    /// # Errors
    /// Every text that cannot be read, and why.
    pub fn compile(&self) -> Result<Suite, Vec<(Culprit, ParseError)>> {
        let mut problems = Vec::new();
        let facts = self.compile_facts(&mut problems);
        let mut properties = Vec::new();
        for (nth, source) in self.properties.iter().enumerate() {
            match compile(source, nth, &facts) {
                Ok(property) => properties.push(property),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let starts_in_ten_seconds_max = self.starts_in_ten_seconds_max;
        Ok(Suite { properties, invariants: true, starts_in_ten_seconds_max })
    }

    /// Facts may use each other in any order, but not in a circle.
    fn compile_facts(&self, problems: &mut Vec<(Culprit, ParseError)>) -> Names {
        let mut known = Names::new();
        let mut open: Vec<_> = self.facts.iter().collect();
        loop {
            let before = open.len();
            open.retain(|(name, text)| match parse(text, &known) {
                Ok(expression) => {
                    known.insert((*name).clone(), Arc::new(expression));
                    false
                }
                Err(_) => true,
            });
            if open.len() == before {
                break;
            }
        }
        for (name, text) in open {
            if let Err(error) = parse(text, &known) {
                problems.push((Culprit::Fact(name.clone()), error));
            }
        }
        known
    }
}

fn compile(
    source: &PropertySource,
    nth: usize,
    facts: &Names,
) -> Result<Property, (Culprit, ParseError)> {
    let own = |error| (Culprit::Property(nth), error);
    let expression = match source.demand {
        Demand::AtMostOne => at_most_one(&source.text, facts).map_err(own)?,
        _ => parse(&source.text, facts).map_err(own)?,
    };
    let rule = match source.demand {
        Demand::Always | Demand::AtMostOne => Rule::Always(expression, source.patience),
        Demand::Never => Rule::Always(Expression::Not(Box::new(expression)), source.patience),
        Demand::Eventually => Rule::Eventually(expression, source.patience),
        Demand::Sometimes => Rule::Sometimes(expression),
        Demand::Whenever => {
            let then = source.then.as_deref().unwrap_or_default();
            let then = parse(then, facts).map_err(|error| (Culprit::Then(nth), error))?;
            Rule::LeadsTo(expression, then, source.patience)
        }
    };
    let text = match &source.then {
        Some(then) => format!("{} {} then {then}", source.demand.as_str(), source.text),
        None => format!("{} {}", source.demand.as_str(), source.text),
    };
    Ok(Property { name: source.name.clone(), text: Arc::from(text), rule })
}

/// Turns "is there one" into "is there no second one".
fn at_most_one(text: &str, facts: &Names) -> Result<Expression, ParseError> {
    match parse(text, facts)? {
        Expression::Count { subject, state, compare: Compare::AtLeast, number: 1 } => {
            Ok(Expression::Count { subject, state, compare: Compare::AtMost, number: 1 })
        }
        Expression::Servers(servers)
            if servers.quantity == Quantity::Count(Compare::AtLeast, 1) =>
        {
            let quantity = Quantity::Count(Compare::AtMost, 1);
            Ok(Expression::Servers(Servers { quantity, ..servers }))
        }
        _ => Err(ParseError {
            start: 0,
            end: text.len(),
            message: String::from("cannot count anything but one condition"),
            help: Some(String::from("write it as `db-*/mysql is running`")),
        }),
    }
}
