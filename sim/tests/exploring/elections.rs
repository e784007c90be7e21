//! Elections held in every way: no two holders, and one as soon as a rule or an inequality misses.

use core::time::Duration;
use std::time::Instant;

use steersman_engine::defect::Defect;
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

/// Tells what a search comes to: the breach that it finds, or nothing when it was complete.
fn outcome(case: &Case) -> Option<Breach> {
    let found = explore(Arena::new(case.rules(&|_| {})), BOUNDS, |_| true);
    let breach = found.verdicts.first().map(|(breach, _)| *breach);
    println!("{} {:?}: {} states, {breach:?}", case.name, case.figures, found.states);
    assert!(found.is_complete || breach.is_some(), "{}: {} states", case.name, found.states);
    breach
}

#[test]
fn the_first_inequality_keeps_holders_apart_and_a_tick_less_does_not() {
    let [met, missed] = &EDGES[0];
    assert_eq!(outcome(met), None);
    assert_eq!(outcome(missed), Some(Breach::TwoHolders));
}

#[test]
#[ignore = "minutes in a release build"]
fn each_inequality_keeps_holders_apart_and_a_tick_less_does_not() {
    for [met, missed] in EDGES {
        assert_eq!(outcome(met), None, "{}", met.name);
        assert_eq!(outcome(missed), Some(Breach::TwoHolders), "{}", missed.name);
    }
}

/// Tells how many states it takes to find a defect, and how long; none when it is not found.
fn found(defect: Defect, case: &Case) -> Option<(usize, Duration)> {
    let began = Instant::now();
    let found = nearest(Arena::new(case.rules(&|engine| engine.plant(defect))), BOUNDS);
    (!found.verdicts.is_empty()).then(|| (found.states, began.elapsed()))
}

/// What no scenario sees; that a grant counts whose session has gone is left to the engine's tests.
#[test]
fn defects_that_no_scenario_sees_are_found() {
    let wanted = [
        Defect::AcquiredWhateverItIs,
        Defect::DeletedKeyIsContinued,
        Defect::SecondSession,
        Defect::RestoredKeyBelieved,
    ];
    for (defect, case) in DEFECTS.iter().filter(|(defect, _)| wanted.contains(defect)) {
        let found = found(*defect, case);
        println!("{defect:?}: {found:?}");
        assert!(found.is_some(), "{defect:?}");
    }
}

/// Each defect is found, and nothing is found where it is not planted.
#[test]
#[ignore = "a minute in a release build"]
fn every_defect_of_a_rule_of_locks_is_found() {
    let mut missed = Vec::new();
    for (defect, case) in DEFECTS {
        let found = found(*defect, case);
        println!("{defect:?}: {found:?}");
        if found.is_none() {
            missed.push(*defect);
        }
    }
    assert!(missed.is_empty(), "{missed:?}");
}
