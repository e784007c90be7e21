//! Escapes in JSON5 strings and names.

/// What an escape stands for.
pub(crate) enum Escape {
    /// A character, after so many bytes.
    Char(char, usize),
    /// Nothing: the line goes on, after so many bytes.
    Nothing(usize),
    /// Not an escape.
    Bad,
}

/// Reads what follows a backslash.
pub(crate) fn escape(rest: &str) -> Escape {
    let Some(first) = rest.chars().next() else {
        return Escape::Bad;
    };
    let simple = |c| Escape::Char(c, 1);
    match first {
        'b' => simple('\u{8}'),
        'f' => simple('\u{c}'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\u{b}'),
        '0' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => simple('\0'),
        '0'..='9' => Escape::Bad,
        'x' => match hex(rest.get(1..3)) {
            Some(code) => Escape::Char(char::from_u32(code).unwrap_or('\u{fffd}'), 3),
            None => Escape::Bad,
        },
        'u' => unicode(rest),
        '\r' if rest[1..].starts_with('\n') => Escape::Nothing(2),
        '\n' | '\r' | '\u{2028}' | '\u{2029}' => Escape::Nothing(first.len_utf8()),
        other => Escape::Char(other, other.len_utf8()),
    }
}

/// Reads `uXXXX`, and a second one when the first is half of a pair.
fn unicode(rest: &str) -> Escape {
    let Some(code) = hex(rest.get(1..5)) else {
        return Escape::Bad;
    };
    if !(0xd800..0xdc00).contains(&code) {
        return Escape::Char(char::from_u32(code).unwrap_or('\u{fffd}'), 5);
    }
    let low = rest.get(5..7).filter(|text| *text == "\\u").and_then(|_| hex(rest.get(7..11)));
    match low {
        Some(low @ 0xdc00..0xe000) => {
            let both = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
            Escape::Char(char::from_u32(both).unwrap_or('\u{fffd}'), 11)
        }
        _ => Escape::Char('\u{fffd}', 5),
    }
}

fn hex(digits: Option<&str>) -> Option<u32> {
    let digits = digits?;
    match digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => u32::from_str_radix(digits, 16).ok(),
        false => None,
    }
}
