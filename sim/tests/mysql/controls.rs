//! What the rows would miss if a rule of the repaired application were missing: each rule taken
//! away is seen by the row that it is for.

use crate::neighbourhood::Mode;
use crate::row::{Change, Row, run};

fn row(id: &str) -> Row {
    crate::all().into_iter().find(|row| row.id == id).expect("a row")
}

/// Tells what the first seeds of a row break without a rule.
fn broken_without(id: &str, rule: &[Change], mode: Mode, seeds: u64) -> Vec<String> {
    let mut row = row(id);
    row.repaired.changes.extend_from_slice(rule);
    let search = row.search(mode);
    let broken = (0..seeds).filter_map(|seed| run(&search, seed, mode));
    broken.map(|breach| breach.property.to_string()).collect()
}

/// No other member needs to have a write, and whoever lacks some writes must be lucky.
const NO_COPY: Change = ("sync: 1, ", "");

/// Whoever has the lock asks nobody.
const NO_PROMISE: Change = ("\"run gather\",\n      \"run catchUp\",", "");

#[test]
fn without_promises_and_copies_a_pause_breaks_the_order_of_tokens() {
    let broken = broken_without("M20", &[NO_COPY, NO_PROMISE], Mode::Overlong, 40);
    assert!(broken.iter().any(|name| name == "no older token"), "{broken:?}");
}

#[test]
fn without_promises_acknowledged_writes_are_lost() {
    let broken = broken_without("M23", &[NO_PROMISE], Mode::Overlong, 40);
    assert!(broken.iter().any(|name| name == "no acknowledged write is lost"), "{broken:?}");
}

#[test]
fn a_server_that_outlives_the_term_is_a_second_writer() {
    let rule = [("            stopWith: \"lock.primary\",\n", ""), NO_COPY, NO_PROMISE];
    let broken = broken_without("M22", &rule, Mode::Plain, 10);
    assert!(broken.iter().any(|name| name == "one writer"), "{broken:?}");
}

#[test]
fn without_a_look_at_the_server_a_broken_one_leads_on() {
    let rule = [(
        "            healthy: '{{ .SERVICE }}', // a leader whose server does nothing makes room\n",
        "",
    )];
    let broken = broken_without("M19", &rule, Mode::Written, 2);
    assert!(broken.iter().any(|name| name == "somebody writes"), "{broken:?}");
}
