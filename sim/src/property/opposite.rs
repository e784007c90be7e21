//! Whether one expression is the opposite of another, as far as their shapes tell.

use crate::property::expression::{Compare, Expression};

/// Tells whether an expression is the exact opposite of another. Not every pair that cannot hold
/// together is found, but none that can is named.
pub fn contradicts(one: &Expression, other: &Expression) -> bool {
    canonical(one) == opposite(canonical(other))
}

/// Writes an expression in the one way that its equals are written in.
fn canonical(expression: &Expression) -> Expression {
    match expression {
        Expression::And(parts) => Expression::And(parts.iter().map(canonical).collect()),
        Expression::Or(parts) => Expression::Or(parts.iter().map(canonical).collect()),
        Expression::Not(part) => opposite(canonical(part)),
        Expression::Named(_, part) => canonical(part),
        Expression::Count { subject, state, compare, number } => {
            let (compare, number) = plain(*compare, *number);
            Expression::Count { subject: subject.clone(), state: *state, compare, number }
        }
        Expression::Every { .. } | Expression::Servers(_) => expression.clone(),
    }
}

/// Gives the opposite of a canonical expression, which is canonical again.
fn opposite(expression: Expression) -> Expression {
    match expression {
        Expression::And(parts) => Expression::Or(parts.into_iter().map(opposite).collect()),
        Expression::Or(parts) => Expression::And(parts.into_iter().map(opposite).collect()),
        Expression::Not(part) => *part,
        Expression::Count { subject, state, compare, number } => {
            let compare = match compare {
                Compare::Less => Compare::AtLeast,
                Compare::AtMost => Compare::More,
                Compare::Equal => Compare::Unequal,
                Compare::Unequal => Compare::Equal,
                Compare::AtLeast => Compare::Less,
                Compare::More => Compare::AtMost,
            };
            let (compare, number) = plain(compare, number);
            Expression::Count { subject, state, compare, number }
        }
        other => Expression::Not(Box::new(other)),
    }
}

/// Compares with "at most" and "at least" where that says the same.
fn plain(compare: Compare, number: u32) -> (Compare, u32) {
    match (compare, number) {
        (Compare::Less, 1..) => (Compare::AtMost, number - 1),
        (Compare::Equal, 0) => (Compare::AtMost, 0),
        (Compare::More, _) if number < u32::MAX => (Compare::AtLeast, number + 1),
        (Compare::Unequal, 0) => (Compare::AtLeast, 1),
        (compare, number) => (compare, number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::property::parse::{Names, parse};

    fn opposed(one: &str, other: &str) -> bool {
        let read = |text| parse(text, &Names::new()).expect("a good expression");
        contradicts(&read(one), &read(other))
    }

    #[test]
    fn opposites_are_known_however_they_are_written() {
        assert!(opposed("a is running", "no a is running"));
        assert!(opposed("not a is running", "any a is running"));
        assert!(opposed("count(a is running) <= 2", "count(a is running) > 2"));
        assert!(opposed("count(a is running) < 3", "not count(a is running) <= 2"));
        assert!(opposed("every a is healthy", "not every a is healthy"));
        assert!(opposed("a is running and b is running", "no a is running or no b is running"));
    }

    #[test]
    fn what_can_hold_together_is_not_blamed() {
        assert!(!opposed("a is running", "a is running"));
        assert!(!opposed("a is running", "no b is running"));
        assert!(!opposed("every a is running", "no a is healthy"));
        assert!(!opposed("count(a is running) <= 2", "count(a is running) >= 2"));
    }
}
