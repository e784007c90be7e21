//! Go's regular expressions by way of the regex crate.
//!
//! Both descend from RE2 and match alike. They differ in what `\d`, `\s`, `\w` and `\b` mean
//! outside ASCII, in the literal quotes `\Q…\E`, and in what is special within brackets; a pattern
//! is rewritten for that. `$1`, `${1}` and `${name}` in the replacement mean the same in both.

use regex::RegexBuilder;

/// The memory a compiled pattern may take.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// Replaces every match of a pattern; the error says what is wrong with the pattern.
pub(crate) fn replace_all(pattern: &str, to: &str, text: &str) -> Result<String, String> {
    let regex = RegexBuilder::new(&translate(pattern))
        .size_limit(PATTERN_BYTES_MAX)
        .build()
        .map_err(|error| explain(pattern, &error))?;
    Ok(regex.replace_all(text, to).into_owned())
}

fn explain(pattern: &str, error: &regex::Error) -> String {
    let reason = error.to_string();
    // The last line of the crate's message names the mistake; the others show the rewritten
    // pattern.
    let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
    format!("regexReplaceAll: cannot use the pattern {pattern:?}: {reason}")
}

/// Rewrites a pattern of Go's into one of the regex crate's with the same meaning.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    // Whether a `]` would be an ordinary character: at the beginning of a class it is.
    let mut class_begins = false;
    while let Some(c) = chars.next() {
        let begins = std::mem::take(&mut class_begins);
        match c {
            '\\' => match chars.next() {
                Some('Q') if !in_class => quote(&mut chars, &mut out),
                Some(escaped) => push_escape(escaped, in_class, &mut out),
                None => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                class_begins = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
            }
            '[' if chars.peek() == Some(&':') => push_named_class(&mut chars, &mut out),
            ']' if begins => out.push_str("\\]"),
            ']' => {
                in_class = false;
                out.push(']');
            }
            '[' | '&' | '~' if in_class => out.extend(['\\', c]),
            '-' if in_class && chars.peek() == Some(&'-') => out.push_str("\\-"),
            _ => out.push(c),
        }
    }
    out
}

/// Copies `[:name:]` as it is.
fn push_named_class(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let rest: String = chars.clone().collect();
    match rest.find(":]") {
        Some(end) if rest[1..end].chars().all(|c| c.is_ascii_alphabetic() || c == '^') => {
            out.push('[');
            out.extend(chars.by_ref().take(rest[..end + 2].chars().count()));
        }
        _ => out.push_str("\\["),
    }
}

/// Copies the characters up to `\E` as ordinary ones.
fn quote(chars: &mut std::iter::Peekable<std::str::Chars<'_>>, out: &mut String) {
    let mut literal = String::new();
    while let Some(c) = chars.next() {
        if c == '\\' && chars.peek() == Some(&'E') {
            chars.next();
            break;
        }
        literal.push(c);
    }
    out.push_str(&regex::escape(&literal));
}

fn push_escape(escaped: char, in_class: bool, out: &mut String) {
    let (class, negated) = match escaped {
        'd' => ("0-9", false),
        'D' => ("0-9", true),
        's' => ("\\t\\n\\f\\r ", false),
        'S' => ("\\t\\n\\f\\r ", true),
        'w' => ("0-9A-Za-z_", false),
        'W' => ("0-9A-Za-z_", true),
        'b' | 'B' if !in_class => {
            out.push_str(match escaped {
                'b' => "(?-u:\\b)",
                _ => "(?:(?-u:\\b{start-half})(?-u:\\b{end-half})|\\B)",
            });
            return;
        }
        _ => {
            out.extend(['\\', escaped]);
            return;
        }
    };
    match (in_class, negated) {
        (true, false) => out.push_str(class),
        (_, true) => out.push_str(&format!("[^{class}]")),
        (false, false) => out.push_str(&format!("[{class}]")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        let cases = [
            ("[epa]+", "_", "Template", "T_m_l_t_"),
            ("(a)(b)", "$2$1", "abab", "baba"),
            ("(?P<x>a+)", "<${x}>", "caac", "c<aa>c"),
            ("(a)", "$1x", "ab", "b"),
            ("(a)", "${1}x", "ab", "axb"),
            ("a", "$$", "ab", "$b"),
            ("a*", "-", "baac", "-b-c-"),
            (r"\d+", "#", "a12b٣", "a#b٣"),
            (r"\w+", "#", "ab é", "# é"),
            (r"[\d_]+", "#", "a1_b", "a#b"),
            (r"[^\W]", "#", "a-b", "#-#"),
            (r"\s", "", "a\u{a0}b c", "a\u{a0}bc"),
            (r"\Qa.b\E+", "#", "a.bb axb", "# axb"),
            (r"[[:alpha:]]+", "#", "ab12", "#12"),
            (r"[a&&b]", "#", "a&bc", "###c"),
            (r"[[]", "#", "a[b", "a#b"),
            (r"[]a]", "#", "]ab", "##b"),
            (r"[^]a]", "#", "]ab", "]a#"),
            (r"(?i)AB", "#", "xabx", "x#x"),
            (r"\bfoo\b", "#", "foo food", "# food"),
            (r"^.*:", "", "host:80", "80"),
            (r"\.", "-", "a.b", "a-b"),
            ("\\pL", "#", "é1", "#1"),
        ];
        for (pattern, to, text, expected) in cases {
            assert_eq!(replace_all(pattern, to, text).as_deref(), Ok(expected), "{pattern:?}");
        }
    }

    #[test]
    fn a_bad_pattern_is_explained() {
        let error = replace_all("(a", "", "").unwrap_err();
        assert_eq!(error, "regexReplaceAll: cannot use the pattern \"(a\": unclosed group");
        assert!(replace_all("(?:a{1000}){1000}", "", "a").is_err());
    }
}
