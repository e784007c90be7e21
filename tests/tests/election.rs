//! Elections with three real Consul servers and three real supervisors, judged at the resource that
//! the leader writes to: `election-chaos` in short. The long run is in docs/election-run.md.
//!
//! - `a_minute_of_faults_has_no_two_holders`: stops, kills, cuts, and a freeze in which another
//!   member takes over
//! - `a_writer_that_nobody_ends_is_seen`, `figures_that_do_not_keep_holders_apart_are_seen`: the
//!   judge is no yes-man
//!
//! Needs root, network and PID name spaces, iptables and Consul; without them it fails.

use std::fs;
use std::process::{Command, Output};

/// Makes a run; gives what it said and the page about it.
fn election(arguments: &[&str]) -> (Output, String) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_election-chaos"));
    command.args(arguments).arg("--folder").arg(folder.path());
    let output = command.output().expect("it was built with this test");
    let page = fs::read_to_string(folder.path().join("summary.md")).unwrap_or_default();
    (output, page)
}

#[track_caller]
fn assert_breaches(arguments: &[&str], wanted: &[&str]) {
    let (output, page) = election(arguments);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}\n{errors}\n{page}");
    for words in wanted {
        assert!(said.contains(words), "not seen: {words}\n{said}\n{page}");
    }
}

#[test]
fn a_minute_of_faults_has_no_two_holders() {
    let (output, page) = election(&["--plan", "short"]);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}\n{page}");
    let row = |words: &str| page.lines().find(|line| line.starts_with(words)).map(str::to_owned);
    assert_eq!(row("| faults |").as_deref(), Some("| faults | 7 |"), "{page}");
    // Two stops and a long freeze: that many terms at least were really lived through.
    let terms = row("| terms |").and_then(|row| row.split_whitespace().nth(3)?.parse().ok());
    assert!(terms >= Some(4), "{page}");
}

#[test]
fn a_writer_that_nobody_ends_is_seen() {
    assert_breaches(&["--plan", "stop", "--plant", "rogue"], &["BREACH: two holders: member"]);
}

#[test]
fn figures_that_do_not_keep_holders_apart_are_seen() {
    let wanted = ["BREACH: two holders: member", "BREACH: too late", "BREACH: alive at once"];
    assert_breaches(&["--plan", "cut", "--plant", "unsafe"], &wanted);
}
