//! Numbers of JSON5: decimal, hexadecimal, signed, infinite.

/// A number as written and as understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Number {
    /// As written.
    pub(crate) text: Box<str>,
    /// Its value when it is whole and fits.
    pub(crate) whole: Option<i64>,
    /// Its value, rounded if need be.
    pub(crate) value: f64,
}

/// Reads a number; `None` when the text is none.
pub(crate) fn parse(text: &str) -> Option<Number> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'-' => (-1_i8, &text[1..]),
        b'+' => (1, &text[1..]),
        _ => (1, text),
    };
    let (whole, value) = match digits {
        "Infinity" => (None, f64::INFINITY),
        "NaN" => (None, f64::NAN),
        _ => match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
            Some(hex) => hexadecimal(hex)?,
            None => decimal(digits)?,
        },
    };
    let whole = whole.and_then(|whole| i64::try_from(whole * i128::from(sign)).ok());
    Some(Number { text: Box::from(text), whole, value: value * f64::from(sign) })
}

fn hexadecimal(digits: &str) -> Option<(Option<i128>, f64)> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let value = digits
        .bytes()
        .fold(0.0, |sum, byte| sum * 16.0 + f64::from(char::from(byte).to_digit(16).unwrap_or(0)));
    Some((u64::from_str_radix(digits, 16).ok().map(i128::from), value))
}

fn decimal(digits: &str) -> Option<(Option<i128>, f64)> {
    let (mantissa, exponent) = match digits.find(['e', 'E']) {
        Some(at) => (&digits[..at], Some(&digits[at + 1..])),
        None => (digits, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let has_digits = !whole.is_empty() || fraction.is_some_and(|text| !text.is_empty());
    let exponent_is_good = exponent.is_none_or(|text| {
        let text = text.strip_prefix(['+', '-']).unwrap_or(text);
        !text.is_empty() && are_digits(text)
    });
    let leading_zero = whole.len() > 1 && whole.starts_with('0');
    if !has_digits || !exponent_is_good || leading_zero {
        return None;
    }
    if !are_digits(whole) || !fraction.is_none_or(are_digits) {
        return None;
    }
    let value: f64 = digits.parse().ok()?;
    let exact = match (fraction, exponent) {
        (None, None) => whole.parse::<u64>().ok().map(i128::from),
        // 2^53: above it a float no longer holds every whole number.
        _ if value.fract() == 0.0 && value < 9_007_199_254_740_992.0 => Some(value as i128),
        _ => None,
    };
    Some((exact, value))
}
