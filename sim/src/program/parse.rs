//! From the text of a step to the step.
//!
//! ```text
//! step  = "sleep" SPAN | "break" | "return" | "exit" sum | "fail" KIND | "run" PROGRAM
//!       | [ NAME "=" ] VERB { sum } [ "on" operand ] | NAME "=" expr
//! expr  = and { "or" and }          and = not { "and" not }          not = "not" not | test
//! test  = sum [ ("==" | "!=" | "<" | "<=" | ">" | ">=" | "has") sum ]
//! sum   = operand { ("+" | "plus" | "minus" | "without") operand }
//! operand = "'" TEXT "'" | NUMBER | NAME | [ "count" | "first" ] "(" expr ")"
//! SPAN  = DURATION | DURATION ".." DURATION
//! ```

use std::sync::Arc;

use steersman_engine::front::document::{parse_duration, suggestion};

use super::expression::Relation;
use super::{Call, Expr, Step, Verb};
use crate::explore::Span;
use crate::phrase::{Language, ParseError, Phrase, Token};

/// Reads a step.
///
/// # Errors
/// The first thing that cannot be read.
pub fn step(text: &str) -> Result<Step, ParseError> {
    let mut parser = Parser { phrase: Phrase::new(text, &LANGUAGE)? };
    let step = parser.step()?;
    parser.phrase.end(None)?;
    Ok(step)
}

/// Reads an expression.
///
/// # Errors
/// The first thing that cannot be read.
pub fn expression(text: &str) -> Result<Expr, ParseError> {
    let mut parser = Parser { phrase: Phrase::new(text, &LANGUAGE)? };
    let expression = parser.or()?;
    parser.phrase.end(None)?;
    Ok(expression)
}

const LANGUAGE: Language =
    Language { whole: "a step", signs: "()+", word: "-_./:", has_texts: true };

struct Parser<'t> {
    phrase: Phrase<'t>,
}

/// Words that stand for something else than a variable.
const RESERVED: &[&str] =
    &["on", "or", "and", "not", "has", "without", "plus", "minus", "count", "first"];

impl<'t> Parser<'t> {
    fn step(&mut self) -> Result<Step, ParseError> {
        let first = self.phrase.next("a step")?;
        match first.text {
            "sleep" => return self.sleep(),
            "break" => return Ok(Step::Break),
            "return" => return Ok(Step::Return),
            "exit" => return Ok(Step::Exit(self.sum()?)),
            "fail" => return Ok(Step::Fail(Arc::from(self.word("a kind of failure")?.text))),
            "run" => return Ok(Step::Run(Arc::from(self.word("the name of a program")?.text))),
            _ => {}
        }
        if !self.phrase.take("=") {
            let Some(verb) = Verb::find(first.text) else { return Err(unknown(first)) };
            return Ok(Step::Call(self.call(first, verb, None)?));
        }
        let name: Arc<str> = Arc::from(self.target(first)?);
        let verb = self.phrase.peek().and_then(|token| Verb::find(token.text));
        if let (Some(verb), Some(token)) = (verb, self.phrase.peek()) {
            self.phrase.skip();
            return Ok(Step::Call(self.call(token, verb, Some(name))?));
        }
        let value = self.or()?;
        Ok(match name.strip_prefix("file.") {
            Some(file) => Step::Save(Arc::from(file), value),
            None => Step::Let(name, value),
        })
    }

    /// Reads what a value is given to.
    fn target(&self, token: Token<'t>) -> Result<&'t str, ParseError> {
        let is_taken = RESERVED.contains(&token.text) || Verb::find(token.text).is_some();
        let is_given = matches!(token.text, "node" | "seconds" | "clock");
        if !token.is_word || is_taken || is_given || token.text.starts_with("env.") {
            let message = format!("cannot give `{}` a value", token.text);
            return Err(token.error(message, Some("use the name of a variable, or `file.NAME`")));
        }
        Ok(token.text)
    }

    fn word(&mut self, wanted: &str) -> Result<Token<'t>, ParseError> {
        let token = self.phrase.next(wanted)?;
        match token.is_word {
            true => Ok(token),
            false => Err(token.error(format!("cannot use `{}` as {wanted}", token.text), None)),
        }
    }

    fn sleep(&mut self) -> Result<Step, ParseError> {
        let token = self.phrase.next("how long")?;
        let read = |text: &str| {
            parse_duration(text).map_err(|reason| {
                let help = "write 10s, or 5s..20s to draw it";
                token.error(
                    format!("cannot use `{}` as a duration: {reason}", token.text),
                    Some(help),
                )
            })
        };
        let span = match token.text.split_once("..") {
            None => Span::exactly(read(token.text)?),
            Some((from, to)) => Span { from: read(from)?, to: read(to)? },
        };
        if span.to < span.from {
            let message = format!("cannot use `{}`: it ends before it begins", token.text);
            return Err(token.error(message, None));
        }
        Ok(Step::Sleep(span))
    }

    fn call(
        &mut self,
        token: Token<'t>,
        verb: Verb,
        into: Option<Arc<str>>,
    ) -> Result<Call, ParseError> {
        let mut arguments = Vec::new();
        while self.phrase.peek().is_some_and(|token| token.text != "on") {
            arguments.push(self.sum()?);
        }
        let on = if self.phrase.take("on") { Some(self.operand()?) } else { None };
        let (least, most) = verb.arguments();
        if arguments.len() < least || arguments.len() > most {
            let wanted = match (least, most) {
                (least, most) if least == most => format!("{least}"),
                (least, most) => format!("{least} to {most}"),
            };
            let message = format!(
                "cannot use `{}` with {} arguments: it takes {wanted}",
                token.text,
                arguments.len()
            );
            return Err(token.error(message, None));
        }
        if on.is_some() && verb.of() != super::verb::Peer::Database {
            let message = format!("cannot use `{}` on another node", token.text);
            return Err(token.error(message, Some("only `db.` verbs take `on NODE`")));
        }
        Ok(Call { into, verb, arguments, on })
    }

    fn or(&mut self) -> Result<Expr, ParseError> {
        let mut left = self.and()?;
        while self.phrase.take("or") {
            left = Expr::Or(Box::new(left), Box::new(self.and()?));
        }
        Ok(left)
    }

    fn and(&mut self) -> Result<Expr, ParseError> {
        let mut left = self.not()?;
        while self.phrase.take("and") {
            left = Expr::And(Box::new(left), Box::new(self.not()?));
        }
        Ok(left)
    }

    fn not(&mut self) -> Result<Expr, ParseError> {
        if self.phrase.take("not") {
            return Ok(Expr::Not(Box::new(self.not()?)));
        }
        let left = self.sum()?;
        let relation = match self.phrase.peek().map(|token| token.text) {
            Some("==") => Relation::Equal,
            Some("!=") => Relation::Unequal,
            Some("<") => Relation::Less,
            Some("<=") => Relation::AtMost,
            Some(">") => Relation::More,
            Some(">=") => Relation::AtLeast,
            Some("has") => {
                self.phrase.skip();
                return Ok(Expr::Has(Box::new(left), Box::new(self.sum()?)));
            }
            _ => return Ok(left),
        };
        self.phrase.skip();
        Ok(Expr::Compare(relation, Box::new(left), Box::new(self.sum()?)))
    }

    fn sum(&mut self) -> Result<Expr, ParseError> {
        let mut left = self.operand()?;
        loop {
            if self.phrase.take("+") {
                left = Expr::Join(Box::new(left), Box::new(self.operand()?));
            } else if self.phrase.take("plus") {
                left = Expr::Plus(Box::new(left), Box::new(self.operand()?));
            } else if self.phrase.take("minus") {
                left = Expr::Minus(Box::new(left), Box::new(self.operand()?));
            } else if self.phrase.take("without") {
                left = Expr::Without(Box::new(left), Box::new(self.operand()?));
            } else {
                return Ok(left);
            }
        }
    }

    fn operand(&mut self) -> Result<Expr, ParseError> {
        let token = self.phrase.next("a value")?;
        if let Some(text) = token.text.strip_prefix('\'') {
            return Ok(Expr::Text(Arc::from(text.trim_end_matches('\''))));
        }
        if token.text == "(" {
            return self.bracket();
        }
        let function = match token.text {
            "count" => Some(Expr::Count as fn(Box<Expr>) -> Expr),
            "first" => Some(Expr::First as fn(Box<Expr>) -> Expr),
            _ => None,
        };
        if let Some(function) = function {
            self.phrase.expect("(")?;
            return Ok(function(Box::new(self.bracket()?)));
        }
        if token.text.starts_with(|letter: char| letter.is_ascii_digit()) {
            return Ok(Expr::Text(Arc::from(token.text)));
        }
        if !token.is_word || RESERVED.contains(&token.text) {
            let message = format!("cannot use `{}` as a value", token.text);
            return Err(token.error(message, Some("texts are written 'like this'")));
        }
        Ok(Expr::Name(Arc::from(token.text)))
    }

    fn bracket(&mut self) -> Result<Expr, ParseError> {
        let inner = self.or()?;
        self.phrase.expect(")")?;
        Ok(inner)
    }
}

fn unknown(token: Token<'_>) -> ParseError {
    let words = Verb::ALL.iter().map(|verb| verb.as_str());
    let words = words.chain(["sleep", "break", "return", "exit", "fail", "run"]);
    let help = suggestion(token.text, words);
    token.error(format!("cannot do `{}`: there is no such step", token.text), help.as_deref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read() {
        for text in [
            "sleep 1s",
            "sleep 500ms..20s",
            "backup = kv.get 'mysql-last-backup'",
            "kv.put 'a/b' node + ':' + 3306",
            "s = db.status on first(candidates without node)",
            "file.marker = 'yes'",
            "exit 1",
            "run role",
            "role = ''",
        ] {
            step(text).expect(text);
        }
    }

    #[test]
    fn trouble_has_a_place_and_a_way_out() {
        let cases = [
            ("kv.gt 'a'", 0, 5, "cannot do `kv.gt`: there is no such step"),
            ("kv.get", 0, 6, "cannot use `kv.get` with 0 arguments: it takes 1 to 2"),
            ("sleep soon", 6, 10, "cannot use `soon` as a duration"),
            ("sleep 5s..1s", 6, 12, "cannot use `5s..1s`: it ends before it begins"),
            ("x = 'open", 4, 9, "cannot find the end of this text"),
            ("node = 'b'", 0, 4, "cannot give `node` a value"),
            ("kv.get 'a' on 'b'", 0, 6, "cannot use `kv.get` on another node"),
            ("x = (a == b", 11, 11, "cannot find `)`: the step ends here"),
            ("x = a - 1", 6, 7, "cannot read on at `-`"),
            ("exit 1 2", 7, 8, "cannot read on at `2`"),
        ];
        for (text, start, end, message) in cases {
            let error = step(text).expect_err(text);
            assert!(error.message.starts_with(message), "{text}: {}", error.message);
            assert_eq!((error.start, error.end), (start, end), "{text}");
        }
    }
}
