//! Parses the expressions of the `filter` parameter.

use std::collections::BTreeSet;

use super::filter::{Expression, Operator};
use super::go;

/// A parser that remembers how far it came and what it would have taken there, for the error.
struct Parser<'a> {
    text: &'a str,
    at: usize,
    farthest: usize,
    wanted: BTreeSet<String>,
}

/// Parses an expression; the error is that of Consul's parser.
pub(crate) fn parse(text: &str) -> Result<Expression, String> {
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
