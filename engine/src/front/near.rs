//! Near names: what an author may have meant.

/// Finds the candidate nearest to a word that is not one of them, if one is near enough.
///
/// Case, `-` and `_` do not count; up to a third of the letters may differ (one, for short words).
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > WORD_BYTES_MAX {
        return None;
    }
    let folded = fold(word);
    let allowed = (folded.len() / 3).max(1);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.len() > WORD_BYTES_MAX {
            continue;
        }
        let other = fold(candidate);
        if folded.len().abs_diff(other.len()) > allowed {
            continue;
        }
        let distance = distance(&folded, &other);
        if distance <= allowed && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Gives the help text for an unknown word: the near name, or all there are.
pub(crate) fn suggestion<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str> + Clone,
) -> Option<String> {
    if let Some(near) = nearest(word, candidates.clone()) {
        return Some(format!("did you mean `{near}`?"));
    }
    let all: Vec<&str> = candidates.into_iter().take(LISTED_MAX + 1).collect();
    match all.len() {
        0 => None,
        1..=LISTED_MAX => Some(format!("there are: {}", all.join(", "))),
        _ => None,
    }
}

/// Longer words are not compared: the cost is quadratic, and nobody mistypes them.
const WORD_BYTES_MAX: usize = 128;

/// More names than this are not listed in a help text.
const LISTED_MAX: usize = 24;

fn fold(word: &str) -> Vec<char> {
    word.chars()
        .filter(|letter| !matches!(letter, '-' | '_'))
        .flat_map(char::to_lowercase)
        .collect()
}

/// Counts the insertions, deletions, replacements and swaps of neighbours from one word to another.
fn distance(a: &[char], b: &[char]) -> usize {
    let width = b.len() + 1;
    let mut before: Vec<usize> = vec![0; width];
    let mut above: Vec<usize> = (0..width).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; width];
        for j in 1..width {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let keys = ["interval", "timeout", "ttl", "exec", "stopTimeout"];
        let cases = [
            ("intervall", Some("interval")),
            ("Timeuot", Some("timeout")),
            ("stop_timeout", Some("stopTimeout")),
            ("tl", Some("ttl")),
            ("exce", Some("exec")),
            ("banana", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
    }
}
