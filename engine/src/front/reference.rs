//! The reference page of the configuration, from the tables of keys and problems.

use std::fmt::Write;

use super::diagnostic::Severity;
use super::duration::show;
use super::keys::{BLOCKS, Block, Key, Kind, Need, Since};
use super::problem::RULES;

/// What the page says before the tables.
const INTRODUCTION: &str = include_str!("reference_introduction.md");

/// Builds the page.
pub(crate) fn page() -> String {
    let mut page = String::from(INTRODUCTION);
    for block in BLOCKS {
        write_block(&mut page, block);
    }
    write_problems(&mut page);
    page
}

fn write_block(page: &mut String, block: &Block) {
    let title = match block.path {
        "" => String::from("The top level"),
        path => format!("`{path}`"),
    };
    let lines = [
        format!("\n### {title}\n\n{}\n\n", block.doc),
        String::from("| Key | Takes | Default | Meaning |\n|---|---|---|---|\n"),
    ];
    page.extend(lines);
    for key in block.keys {
        page.push_str(&row(key));
    }
}

fn row(key: &Key) -> String {
    let mark = if key.since == Since::Here { " ⁺" } else { "" };
    let default = match (key.need, key.default) {
        (Need::Required, _) => String::from("required"),
        (Need::Optional, "") => String::new(),
        (Need::Optional, default) if default.contains(' ') && !default.starts_with('[') => {
            String::from(default)
        }
        (Need::Optional, default) => format!("`{default}`"),
    };
    let cell = |text: &str| text.replace('|', "\\|");
    format!(
        "| `{}`{mark} | {} | {} | {} |\n",
        key.name,
        cell(&takes(&key.kind)),
        cell(&default),
        cell(key.doc)
    )
}

/// Describes what a key takes.
fn takes(kind: &Kind) -> String {
    let from = |min: &u64| match min {
        0 => String::from("a duration"),
        1 => String::from("a duration above 0"),
        min => format!("a duration from {}", show(std::time::Duration::from_nanos(*min))),
    };
    match kind {
        Kind::Text => String::from("a string"),
        Kind::Bool => String::from("true or false"),
        Kind::Whole { min, max } if *max == i64::MAX => format!("a whole number from {min}"),
        Kind::Whole { min, max } => format!("a whole number, {min} to {max}"),
        Kind::Duration { min_ns } => from(min_ns),
        Kind::Texts => String::from("a list of strings"),
        Kind::TextOrTexts => String::from("a string or a list of strings"),
        Kind::Word(words) => {
            words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
        }
        Kind::TextMap => String::from("a block of strings"),
        Kind::Block(_) => String::from("a block"),
        Kind::Blocks(_) => String::from("a list of blocks"),
        Kind::Limits => String::from("a block of limits"),
        Kind::Signal => String::from("a signal"),
        Kind::Umask => String::from("octal digits in a string"),
        Kind::Cron => String::from("a cron expression"),
        Kind::Triggers => String::from("a list of blocks with `source` and `once` or `each`"),
        Kind::Any(kinds) => kinds.iter().map(takes).collect::<Vec<_>>().join(", or "),
    }
}

fn write_problems(page: &mut String) {
    page.push_str(
        "\n## What the check finds\n\nErrors keep a configuration from being run; \
                   warnings do not.\n",
    );
    for (severity, title) in [(Severity::Error, "Errors"), (Severity::Warning, "Warnings")] {
        let _ = write!(page, "\n### {title}\n\n| Code | Finds |\n|---|---|\n");
        for rule in RULES.iter().filter(|rule| rule.severity == severity) {
            let _ = writeln!(page, "| `{}` | {} |", rule.code, rule.doc);
        }
    }
}
