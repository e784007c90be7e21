//! From the text of an expression to the expression.
//!
//! ```text
//! expression = and { "or" and }
//! and        = not { "and" not }
//! not        = "not" not | "(" expression ")" | atom
//! atom       = [ "any" | "every" | "no" | COUNT COMPARE ] SUBJECT "is" [ "not" ] STATE | NAME
//! SUBJECT    = JOB | NODE "/" JOB | "node" NODE        (`*` stands for any letters)
//!            | "database" NAME [ "on" NODE ]
//!            | "service" NAME | [ NODE "/" ] "lock" NAME | "key" KEY | "session" NAME
//! COUNT      = "count" "(" SUBJECT "is" STATE ")"
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::phrase::{Language, ParseError, Phrase, Token};
use crate::property::expression::{Compare, Expression, Owner, State, Subject};
use crate::property::server::{Quantity, ServerState, Servers};

/// Expressions that have names.
pub type Names = BTreeMap<Arc<str>, Arc<Expression>>;

/// Reads an expression; `facts` are the names it may use.
///
/// # Errors
/// The first thing that cannot be read.
pub fn parse(text: &str, facts: &Names) -> Result<Expression, ParseError> {
    let mut parser = Parser { phrase: Phrase::new(text, &LANGUAGE)?, facts };
    let expression = parser.or()?;
    parser.phrase.end(Some("join conditions with `and` or `or`"))?;
    Ok(expression)
}

const LANGUAGE: Language =
    Language { whole: "an expression", signs: "()", word: "-_.*/:", has_texts: false };

struct Parser<'t> {
    phrase: Phrase<'t>,
    facts: &'t Names,
}

impl<'t> Parser<'t> {
    fn or(&mut self) -> Result<Expression, ParseError> {
        let mut parts = vec![self.and()?];
        while self.phrase.take("or") {
            parts.push(self.and()?);
        }
        Ok(single(parts, Expression::Or))
    }

    fn and(&mut self) -> Result<Expression, ParseError> {
        let mut parts = vec![self.not()?];
        while self.phrase.take("and") {
            parts.push(self.not()?);
        }
        Ok(single(parts, Expression::And))
    }

    fn not(&mut self) -> Result<Expression, ParseError> {
        if self.phrase.take("not") {
            return Ok(Expression::Not(Box::new(self.not()?)));
        }
        if self.phrase.take("(") {
            let inner = self.or()?;
            self.phrase.expect(")")?;
            return Ok(inner);
        }
        self.atom()
    }

    fn atom(&mut self) -> Result<Expression, ParseError> {
        let first = self.phrase.next("a condition")?;
        match first.text {
            "any" | "no" | "every" | "all" | "database" | "count" if self.is_database(first) => {
                self.servers(first)
            }
            "any" => self.counted(Compare::AtLeast, 1),
            "no" => self.counted(Compare::Equal, 0),
            "every" | "all" => {
                let (subject, state, negated) = self.state_of()?;
                let every = Expression::Every { subject: subject.clone(), state };
                let none = Expression::Count { subject, state, compare: Compare::Equal, number: 0 };
                Ok(if negated { none } else { every })
            }
            "count" => self.comparison(),
            name if self.phrase.peek().is_none_or(|token| token.text != "is")
                && name != "node"
                && kind_of(name).is_none() =>
            {
                let Some(fact) = self.facts.get(name) else {
                    let help = "conditions are written as `JOB is running`, `NODE/JOB is healthy`, \
                                `node NODE is up`, `service NAME is passing`, `lock NAME is held`, \
                                or as the name of one of the `facts`";
                    return Err(
                        first.error(format!("cannot find a fact named `{name}`"), Some(help))
                    );
                };
                Ok(Expression::Named(Arc::from(name), fact.clone()))
            }
            _ => {
                self.phrase.put_back();
                self.counted(Compare::AtLeast, 1)
            }
        }
    }

    fn counted(&mut self, compare: Compare, number: u32) -> Result<Expression, ParseError> {
        let (subject, state, negated) = self.state_of()?;
        let counted = Expression::Count { subject, state, compare, number };
        Ok(if negated { Expression::Not(Box::new(counted)) } else { counted })
    }

    fn comparison(&mut self) -> Result<Expression, ParseError> {
        self.phrase.expect("(")?;
        let (subject, state, _) = self.state_of()?;
        self.phrase.expect(")")?;
        let (compare, number) = self.compared()?;
        Ok(Expression::Count { subject, state, compare, number })
    }

    /// Reads a comparison with a number.
    fn compared(&mut self) -> Result<(Compare, u32), ParseError> {
        let sign = self.phrase.next("a comparison")?;
        let compare = match sign.text {
            "<" => Compare::Less,
            "<=" => Compare::AtMost,
            "=" | "==" => Compare::Equal,
            "!=" => Compare::Unequal,
            ">=" => Compare::AtLeast,
            ">" => Compare::More,
            other => {
                let message = format!("cannot compare with `{other}`");
                return Err(sign.error(message, Some("there are: <, <=, ==, !=, >=, >")));
            }
        };
        let number = self.phrase.next("a number")?;
        let value = number.text.parse().map_err(|_| {
            number.error(format!("cannot read `{}` as a number", number.text), None)
        })?;
        Ok((compare, value))
    }

    /// Tells whether a condition is about a database; a job may be called that as well.
    fn is_database(&self, first: Token<'t>) -> bool {
        let ahead = usize::from(first.text == "count");
        let word = |nth: usize| self.phrase.ahead(nth).map(|token| token.text);
        match first.text {
            "database" => word(0).is_some_and(|word| word != "is"),
            _ => word(ahead) == Some("database") && word(ahead + 1) != Some("is"),
        }
    }

    fn servers(&mut self, first: Token<'t>) -> Result<Expression, ParseError> {
        if first.text == "count" {
            self.phrase.expect("(")?;
        }
        if first.text != "database" {
            self.phrase.expect("database")?;
        }
        let database = Arc::from(self.phrase.next("the name of a database")?.text);
        let node = match self.phrase.take("on") {
            true => Arc::from(self.phrase.next("the name of a node")?.text),
            false => Arc::from("*"),
        };
        self.phrase.expect("is")?;
        let negated = self.phrase.take("not");
        let word = self.phrase.next("a state")?;
        let found = ServerState::ALL.iter().find(|state| state.as_str() == word.text);
        let Some(state) = found.copied() else {
            let all: Vec<_> = ServerState::ALL.iter().map(|state| state.as_str()).collect();
            let help = format!("there are: {}", all.join(", "));
            let message = format!("cannot find the state `{}` of a database", word.text);
            return Err(word.error(message, Some(&help)));
        };
        let (quantity, negated) = match first.text {
            "count" => {
                self.phrase.expect(")")?;
                let (compare, number) = self.compared()?;
                (Quantity::Count(compare, number), false)
            }
            "every" | "all" if negated => (Quantity::Count(Compare::Equal, 0), false),
            "every" | "all" => (Quantity::Every, false),
            "no" => (Quantity::Count(Compare::Equal, 0), negated),
            _ => (Quantity::Count(Compare::AtLeast, 1), negated),
        };
        let servers = Expression::Servers(Servers { database, node, state, quantity });
        Ok(if negated { Expression::Not(Box::new(servers)) } else { servers })
    }

    fn state_of(&mut self) -> Result<(Subject, State, bool), ParseError> {
        let subject = self.phrase.next("a job or node")?;
        let is_node = subject.text == "node";
        let has_name = self.phrase.peek().is_some_and(|token| token.text != "is");
        let kind = kind_of(subject.text).filter(|_| has_name);
        let name = match (is_node, kind) {
            (true, _) => self.phrase.next("the name of a node")?,
            (false, Some(_)) => self.phrase.next("a name")?,
            (false, None) => subject,
        };
        self.phrase.expect("is")?;
        let negated = self.phrase.take("not");
        let word = self.phrase.next("a state")?;
        let owner = match (is_node, kind) {
            (true, _) => Owner::Node,
            (false, Some((_, owner))) => owner,
            (false, None) => Owner::Job,
        };
        let words = || State::ALL.iter().filter(|state| state.of() == owner);
        let Some(state) = words().find(|state| state.as_str() == word.text) else {
            let all: Vec<_> = words().map(|state| state.as_str()).collect();
            let help = format!("there are: {}", all.join(", "));
            let message = format!("cannot find the state `{}`", word.text);
            return Err(word.error(message, Some(&help)));
        };
        let (node, job) = match (is_node, kind, name.text.split_once('/')) {
            (true, ..) => (name.text, None),
            (false, Some((node, _)), _) => (node, Some(name.text)),
            (false, None, Some((node, job))) => (node, Some(job)),
            (false, None, None) => ("*", Some(name.text)),
        };
        let subject = Subject { node: Arc::from(node), job: job.map(Arc::from), kind: owner };
        Ok((subject, *state, negated))
    }
}

/// Reads a word that says what kind of thing the next one names, and on which nodes.
fn kind_of(word: &str) -> Option<(&str, Owner)> {
    match word {
        "service" => Some(("*", Owner::Service)),
        "key" => Some(("*", Owner::Key)),
        "session" => Some(("*", Owner::Session)),
        "lock" => Some(("*", Owner::Lock)),
        _ => word.strip_suffix("/lock").map(|node| (node, Owner::Lock)),
    }
}

fn single(mut parts: Vec<Expression>, join: fn(Vec<Expression>) -> Expression) -> Expression {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            join(parts)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_are_read_with_their_joints() {
        let facts = Names::new();
        for text in [
            "app is running",
            "not (a is running and b is not running) or node n-* is up",
            "count(db-*/mysql is running) <= 1",
            "every web is healthy",
            "no db/* is failed",
            "count(database mysql is accepting) <= 1",
            "no database mysql on db-* is astray and database mysql is converged",
            "database is running",
            "service is running and service web is passing",
            "count(web-*/lock primary is held) <= 1 and key town/primary is held",
        ] {
            parse(text, &facts).expect(text);
        }
    }

    #[test]
    fn trouble_has_a_place_and_a_way_out() {
        let facts = Names::new();
        let cases = [
            ("database sql is prmary", 16, 22, "cannot find the state `prmary` of a database"),
            ("app is runing", 7, 13, "cannot find the state `runing`"),
            ("app is", 6, 6, "cannot find a state: the expression ends here"),
            ("app", 0, 3, "cannot find a fact named `app`"),
            ("lock a is healthy", 10, 17, "cannot find the state `healthy`"),
            ("a is running b is running", 13, 14, "cannot read on at `b`"),
            ("a is running; b", 12, 13, "cannot read `;` in an expression"),
            ("count(a is running) ~ 1", 20, 21, "cannot read `~` in an expression"),
        ];
        for (text, start, end, message) in cases {
            let error = parse(text, &facts).expect_err(text);
            assert_eq!((error.start, error.end, &*error.message), (start, end, message), "{text}");
        }
    }
}
