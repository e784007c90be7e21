//! 06-night-batch: periodic work, alarms, reports; no Consul.

use std::time::Duration;

use steersman_tests::wait::until;

use crate::bench::{ROOM, Supervisor};

const FILE: &str = "06-night-batch.json5";

fn env(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    // Nothing listens there, and nothing asks.
    let consul = ("CONSUL", "127.0.0.1:1".to_owned());
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).chain([consul]).collect()
}

#[test]
fn imports_keep_their_times_and_each_end_is_reacted_to_once() {
    let mut batch = Supervisor::start(FILE, "batch", &env(&[("FAIL_EVERY", "3")]));
    until("seven imports", || (batch.lines("import").len() >= 7).then_some(()));
    until("the reactions to six", || {
        let reports = batch.lines("report").len();
        (reports >= 4 && batch.lines("alarm").len() >= 2).then_some(())
    });
    assert!(batch.children().iter().all(|(_, state)| *state != 'Z'), "{:?}", batch.children());
    let (status, took) = batch.stop();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(4) + ROOM, "{took:?}");
    let starts: Vec<f64> = batch
        .lines("import")
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    for (nth, start) in starts.iter().enumerate() {
        let late = start - starts[0] - 2.0 * nth as f64;
        // The header says 0.2 s; a machine that is busy with other tests gets more.
        assert!(late.abs() < 1.0, "run {} is {late} s off: {starts:?}", nth + 1);
    }
    assert_eq!(batch.lines("sweep").len(), 4);
    let imports = starts.len();
    let (alarms, reports) = (batch.lines("alarm").len(), batch.lines("report").len());
    assert!((imports / 3 - 1..=imports / 3).contains(&alarms), "{imports} {alarms}");
    let successes = imports - imports / 3;
    assert!((successes - 2..=successes).contains(&reports), "{imports} {reports}");
}

#[test]
fn reports_slower_than_imports_are_queued_and_never_overlap() {
    let env = env(&[("FAIL_EVERY", "0"), ("REPORT_TAKES", "3")]);
    let mut batch = Supervisor::start(FILE, "batch", &env);
    until("five imports", || (batch.lines("import").len() >= 5).then_some(()));
    let imports = batch.lines("import").len();
    until("a report for each", || (batch.lines("report").len() >= imports).then_some(()));
    batch.stop();
    let ends: Vec<f64> = batch.lines("report").iter().map(|line| line.parse().unwrap()).collect();
    assert!(ends.windows(2).all(|pair| pair[1] - pair[0] > 2.9), "{ends:?}");
}

#[test]
fn hanging_import_is_killed_with_its_children_and_stops_in_time() {
    let env = env(&[("IMPORT_TAKES", "1000"), ("FAIL_EVERY", "0")]);
    let mut batch = Supervisor::start(FILE, "batch", &env);
    // The second one starts only after the first has been killed at its limit of 5 s.
    until("a second import", || (batch.lines("import").len() >= 2).then_some(()));
    let first: Vec<f64> = batch
        .lines("import")
        .iter()
        .map(|line| line.split(' ').nth(1).unwrap().parse().unwrap())
        .collect();
    assert!(first[1] - first[0] > 4.9, "{first:?}");
    let (status, took) = batch.stop();
    assert!(took < Duration::from_secs(4) + ROOM, "{took:?}");
    assert_eq!(status, Some(0), "TERM ends bash and sleep");
}
