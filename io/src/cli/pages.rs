//! The reference pages that are made from the program: the test writes them when asked to. Without
//! the simulator the program has fewer commands than the page.

use std::fmt::Write as _;
use std::path::Path;

use super::commands::command;
use super::flags::{self, Flag, Takes};
use crate::control::ENDPOINTS;

/// Compares a page with what it should be; `STEERSMAN_BLESS=1` writes it.
fn assert_current(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(name);
    if std::env::var_os("STEERSMAN_BLESS").is_some() {
        std::fs::write(&path, page).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "docs/reference/{name} is not current: run this test with STEERSMAN_BLESS=1"
    );
}

fn flag_row(flag: &Flag) -> String {
    let value = match flag.takes {
        Takes::Nothing => String::new(),
        Takes::One(value) => format!(" {value}"),
        Takes::Many(value) => format!(" {value} (any number of times)"),
    };
    format!("| `-{}`{} | {} |\n", flag.name, value.replace('|', "\\|"), flag.help)
}

#[test]
fn page_of_the_command_line_is_current() {
    let mut page = String::from(
        "# The command line

Made from the program by the test `page_of_the_command_line_is_current`.

Exit status: 0 good; 1 failed, or the status of the first job that failed; 2 bad usage or
configuration.

## Flags

They stand alone or after `run`, with one dash or two, as `-flag value` or `-flag=value`. What
follows the flags is ignored, as v3 did, and said so.

| Flag | Does |
|---|---|
",
    );
    page.extend(flags::RUN.iter().map(flag_row));
    page.push_str("\nInstead of a run, one at a time:\n\n| Flag | Does |\n|---|---|\n");
    page.extend(flags::V3.iter().filter(|flag| flag.name != "h").map(flag_row));
    page.push_str("\n## Commands\n");
    let mut command = command();
    command.build();
    for command in command.get_subcommands_mut() {
        if command.get_name() != "help" {
            let name = command.get_name().to_owned();
            let help = command.render_help().to_string();
            write!(page, "\n### {name}\n\n```text\n{}\n```\n", help.trim_end()).unwrap();
        }
    }
    assert_current("command-line.md", &page);
}

#[test]
fn page_of_the_control_plane_lists_every_endpoint() {
    let mut table = String::from("| Request | Does |\n|---|---|\n");
    for endpoint in ENDPOINTS {
        writeln!(table, "| `{} {}` | {} |", endpoint.method, endpoint.path, endpoint.about)
            .unwrap();
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/control-plane.md");
    let page = std::fs::read_to_string(path).unwrap();
    assert!(page.contains(&table), "control-plane.md is to have this table:\n{table}");
}
