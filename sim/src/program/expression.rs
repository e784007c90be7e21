//! Expressions of programs: every value is a text, a list is words with blanks between, and what
//! is empty is not so.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::variables::{Variables, digits_of, text_of};

/// What is so is written like this; what is not is empty.
const YES: &str = "yes";

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Expr {
    /// A text as it is.
    Text(Arc<str>),
    /// A variable; empty when it is not set.
    Name(Arc<str>),
    /// One text behind the other.
    Join(Box<Expr>, Box<Expr>),
    /// How many words there are.
    Count(Box<Expr>),
    /// The first word.
    First(Box<Expr>),
    /// The sum of two numbers.
    Plus(Box<Expr>, Box<Expr>),
    /// The difference of two numbers; zero when the second is larger.
    Minus(Box<Expr>, Box<Expr>),
    /// A list without the words of another.
    Without(Box<Expr>, Box<Expr>),
    /// Whether a list has a word.
    Has(Box<Expr>, Box<Expr>),
    /// A comparison; of numbers where both are numbers.
    Compare(Relation, Box<Expr>, Box<Expr>),
    /// Both.
    And(Box<Expr>, Box<Expr>),
    /// At least one.
    Or(Box<Expr>, Box<Expr>),
    /// The opposite.
    Not(Box<Expr>),
}

/// How two texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Relation {
    /// The same.
    Equal,
    /// Not the same.
    Unequal,
    /// Smaller.
    Less,
    /// Smaller or the same.
    AtMost,
    /// Larger.
    More,
    /// Larger or the same.
    AtLeast,
}

/// What an expression can see.
#[derive(Clone, Copy, Debug)]
pub struct Scope<'a> {
    /// The node's name.
    pub node: &'a str,
    /// The seconds since the birth of the world.
    pub seconds: u64,
    /// What the node's wall clock shows, in seconds.
    pub clock: i64,
    /// The files of the container.
    pub files: &'a BTreeMap<Arc<str>, Arc<str>>,
    /// The environment of the supervisor's children.
    pub environment: &'a BTreeMap<Arc<str>, Arc<str>>,
}

impl Expr {
    /// Gives its value.
    pub fn value(&self, scope: Scope<'_>, variables: &Variables) -> Arc<str> {
        let of = |expr: &Expr| expr.value(scope, variables);
        match self {
            Expr::Text(text) => text.clone(),
            Expr::Name(name) => named(name, scope, variables),
            Expr::Join(one, other) => Arc::from(format!("{}{}", of(one), of(other))),
            Expr::Count(list) => digits_of(of(list).split_whitespace().count() as u64),
            Expr::First(list) => text_of(of(list).split_whitespace().next().unwrap_or("")),
            Expr::Plus(one, other) => {
                digits_of(number(&of(one)).saturating_add(number(&of(other))))
            }
            Expr::Minus(one, other) => {
                digits_of(number(&of(one)).saturating_sub(number(&of(other))))
            }
            Expr::Without(list, gone) => {
                let (list, gone) = (of(list), of(gone));
                let is_left = |word: &&str| !gone.split_whitespace().any(|other| other == *word);
                Arc::from(list.split_whitespace().filter(is_left).collect::<Vec<_>>().join(" "))
            }
            Expr::Has(list, word) => {
                let word = of(word);
                truth(of(list).split_whitespace().any(|other| *other == *word))
            }
            Expr::Compare(relation, one, other) => truth(relation.holds(&of(one), &of(other))),
            Expr::And(one, other) => {
                if of(one).is_empty() {
                    truth(false)
                } else {
                    of(other)
                }
            }
            Expr::Or(one, other) => {
                let one = of(one);
                if one.is_empty() { of(other) } else { one }
            }
            Expr::Not(one) => truth(of(one).is_empty()),
        }
    }
}

fn named(name: &str, scope: Scope<'_>, variables: &Variables) -> Arc<str> {
    let found = match name.split_once('.') {
        Some(("file", file)) => scope.files.get(file),
        Some(("env", variable)) => scope.environment.get(variable),
        _ if name == "node" => return Arc::from(scope.node),
        _ if name == "clock" => return Arc::from(scope.clock.to_string()),
        _ if name == "seconds" => return digits_of(scope.seconds),
        _ => variables.get(name),
    };
    found.cloned().unwrap_or_default()
}

/// What is no number counts as none.
fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn truth(is_so: bool) -> Arc<str> {
    if is_so { Arc::from(YES) } else { Arc::default() }
}

impl Relation {
    fn holds(self, one: &str, other: &str) -> bool {
        let order = match (one.parse::<u64>(), other.parse::<u64>()) {
            (Ok(one), Ok(other)) => one.cmp(&other),
            _ => one.cmp(other),
        };
        match self {
            Relation::Equal => order.is_eq(),
            Relation::Unequal => order.is_ne(),
            Relation::Less => order.is_lt(),
            Relation::AtMost => order.is_le(),
            Relation::More => order.is_gt(),
            Relation::AtLeast => order.is_ge(),
        }
    }
}
