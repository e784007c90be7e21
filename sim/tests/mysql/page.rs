//! The page `docs/mysql-scenarios.md` is written from the rows, and from what the long runs said
//! (`tests/fixtures/mysql-figures.txt`); `STEERSMAN_BLESS=1` renews it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::row::{Original, Row};

/// Runs that broke something, and all runs, by row and mode.
type Figures = BTreeMap<(String, String), (u64, u64)>;

const HEAD: &str = include_str!("../fixtures/mysql-page.txt");

fn figures() -> Figures {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/mysql-figures.txt");
    let mut figures = Figures::new();
    for line in fs::read_to_string(path).expect("the figures").lines() {
        let words: Vec<&str> = line.split_whitespace().take(5).collect();
        let [id, mode, broken, "of", runs] = words[..] else { continue };
        let sum = figures.entry((id.to_owned(), mode.to_owned())).or_default();
        sum.0 += broken.parse::<u64>().expect("a number of runs");
        sum.1 += runs.parse::<u64>().expect("a number of runs");
    }
    figures
}

fn cell(figures: &Figures, row: &Row, mode: &str) -> String {
    match figures.get(&(row.id.to_owned(), mode.to_owned())) {
        Some((0, runs)) => format!("{runs}"),
        Some((broken, runs)) => format!("**{broken} of {runs}**"),
        None => String::from("–"),
    }
}

fn page() -> String {
    let figures = figures();
    let mut page = HEAD.to_owned();
    for row in crate::all() {
        let broken = match (&row.original, figures.get(&(row.id.to_owned(), "Original".into()))) {
            (Original::Untold(_), _) => String::from("cannot be told"),
            (Original::Breaks(..), Some((broken, runs))) => format!("{broken} of {runs}"),
            (Original::Breaks(..), None) => String::from("yes"),
        };
        let [plain, contract, overlong] =
            ["Plain", "Contract", "Overlong"].map(|mode| cell(&figures, &row, mode));
        let Row { id, title, violates, rule, .. } = row;
        writeln!(
            page,
            "| {id} | {title} | {violates} | {broken} | {rule} | {plain} | {contract} | \
             {overlong} |"
        )
        .expect("a text grows");
    }
    page.push_str("\n## What the model of the original cannot tell\n\n");
    for row in crate::all() {
        if let Original::Untold(why) = row.original {
            writeln!(page, "- {} {}: {why}.", row.id, row.title).expect("a text grows");
        }
    }
    page
}

#[test]
fn page_says_what_the_rows_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/mysql-scenarios.md");
    let page = page();
    if std::env::var_os("STEERSMAN_BLESS").is_some() {
        fs::write(&path, &page).expect("the page");
    }
    let known = fs::read_to_string(&path).expect("the page");
    assert!(known == page, "docs/mysql-scenarios.md is out of date: STEERSMAN_BLESS=1 renews it");
}
