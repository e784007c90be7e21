//! The database that elects its primary: the very configuration of its containers, with models of
//! the server and of its scripts.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use steersman_sim::Action;
use steersman_sim::explore::swarm::Swarm;
use steersman_sim::explore::{Found, Progress, Search, When};
use steersman_sim::scenario;

/// Searches some seeds of the example, with some texts replaced.
fn search(seeds: core::ops::Range<u64>, changes: &[(&str, &str)]) -> Found {
    search_of(seeds, changes).go(&Progress::default())
}

fn search_of(seeds: core::ops::Range<u64>, changes: &[(&str, &str)]) -> Search {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/mariadb");
    let changed = |name: &str| -> String {
        let text = fs::read_to_string(folder.join(name)).expect("the example");
        changes.iter().fold(text, |text, (from, to)| text.replace(from, to))
    };
    let read = |name: &str| Ok(changed(name));
    let text = changed("cluster.json5");
    let scenario = scenario::load("cluster.json5", &text, &read);
    let scenario = scenario.unwrap_or_else(|problems| panic!("{problems:#?}"));
    Search {
        setting: Arc::new(scenario.setting),
        suite: scenario.suite,
        faults: scenario.faults,
        limits: scenario.limits,
        scripted: scenario.scripted,
        seeds,
        shard: (0, 1),
        jobs: 2,
        check_determinism: false,
    }
}

fn broken(found: &Found) -> Vec<&str> {
    found.breaches.iter().map(|breach| &*breach.breach.property).collect()
}

#[test]
fn three_members_elect_one_primary_whatever_happens() {
    let found = search(0..6, &[]);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

#[test]
fn ways_are_parted_and_are_open_again_when_the_trouble_is_over() {
    let search = search_of(0..1, &[]);
    let mut parted = 0;
    for seed in 0..20 {
        let plan =
            Swarm::draw(&search.setting, seed, search.faults, search.limits, &Arc::default()).plan;
        let mut ways: Vec<_> = { plan.deeds.iter() }
            .filter_map(|deed| match (&deed.when, &deed.action) {
                (When::At(at), Action::Way { with, is_open }) => {
                    assert!(*at <= plan.calm_from, "{seed}");
                    Some((*at, *is_open, deed.node.clone(), with.clone()))
                }
                _ => None,
            })
            .collect();
        ways.sort_unstable();
        parted += ways.iter().filter(|(_, is_open, ..)| !is_open).count();
        let last: BTreeMap<_, _> =
            ways.into_iter().map(|(_, is_open, node, with)| ((node, with), is_open)).collect();
        assert!(last.values().all(|is_open| *is_open), "{seed}: {last:?}");
    }
    assert!(parted > 5, "{parted}");
}

#[test]
fn server_that_outlives_the_term_is_a_second_writer() {
    let found = search(30..70, &[("stopWith: \"lock.primary\",", "")]);
    assert!(broken(&found).contains(&"one writer"), "{:?}", broken(&found));
}

/// One replica is behind when the primary dies, which does not come back for a while.
const ONE_IS_BEHIND: [(&str, &str); 2] = [
    (
        "  swarm: [",
        "  faults: [
           { at: '40s', node: 'primary of ledger', do: 'part', peer: 'db-2', for: '20s' },
           { at: '55s', node: 'primary of ledger', do: 'kill', for: '60s' },
         ],
         swarm: [",
    ),
    ("restart: \"always\",", ""),
];

#[test]
fn candidate_that_is_behind_catches_up_before_it_leads() {
    let found = search(0..4, &ONE_IS_BEHIND);
    assert!(broken(&found).is_empty(), "{:#?}", found.breaches);
}

/// Nothing is lost even so: nobody follows a member that has less, and so it never begins its term.
#[test]
fn candidate_that_does_not_catch_up_leads_nobody() {
    let [behind, away] = ONE_IS_BEHIND;
    let hasty = ("best != 'self'", "best == 'nobody'");
    let found = search(0..8, &[behind, away, hasty]);
    assert_eq!(broken(&found), ["one primary, and all follow it"], "{:#?}", found.breaches);
}
