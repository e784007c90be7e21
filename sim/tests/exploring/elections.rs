//! Elections held in every way: no two holders, and one as soon as a rule or an inequality misses.

use core::time::Duration;

use steersman_sim::election::cases::{Case, DEFECTS, EDGES};
use steersman_sim::election::{Arena, Breach};
use steersman_sim::explore::breadth::nearest;
use steersman_sim::explore::model::{Bounds, explore};

const BOUNDS: Bounds = Bounds {
    states_max: 10_000_000,
    depth_max: 1_000_000,
    time_max: Some(Duration::from_secs(600)),
    verdicts_max: 1,
};

#[test]
fn two_candidates_and_one_thing_that_goes_wrong_never_make_two_holders() {
    let case = Case { is_any_order: false, ..Case::of("", &[], 1) };
    let found = explore(Arena::new(case.rules(&|_| {})), BOUNDS, |_| true);
    assert!(found.verdicts.is_empty(), "{:?}", found.verdicts);
    assert!(found.is_complete);
    assert!(found.states > 5_000, "{}", found.states);
}

#[test]
fn a_lock_delay_that_misses_the_first_inequality_by_a_tick_makes_two_holders() {
    let found = explore(Arena::new(EDGES[0][1].rules(&|_| {})), BOUNDS, |_| true);
    assert_eq!(found.verdicts.first().map(|(breach, _)| *breach), Some(Breach::TwoHolders));
}

/// Each defect is found, and nothing is found where it is not planted.
#[test]
#[ignore = "a minute in a release build"]
fn every_defect_of_a_rule_of_locks_is_found() {
    let mut missed = Vec::new();
    for (defect, case) in DEFECTS {
        let found = nearest(Arena::new(case.rules(&|engine| engine.plant(*defect))), BOUNDS);
        if found.verdicts.is_empty() {
            missed.push(*defect);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
