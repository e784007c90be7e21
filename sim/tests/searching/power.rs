//! Which planted defects a search finds: a sample; `sim/examples/power.rs` prints the whole table.

use std::sync::Arc;

use steersman_engine::defect::Defect;
use steersman_sim::explore::plan::Prepare;
use steersman_sim::explore::{Progress, sample};
use steersman_sim::story::to_text;

use crate::sample::{search, story_of};

/// Defects of every kind, each with the most seeds that it may take to find.
const FOUND_WITHIN: &[(Defect, u64)] = &[
    (Defect::InterruptIgnored, 300),
    (Defect::EachOnlyOnce, 300),
    (Defect::IntervalDrifts, 100),
    (Defect::TriggerTimeoutOutlivesStart, 100),
    (Defect::AllIsAny, 300),
    (Defect::ImpossibleNotSeen, 100),
    (Defect::RestartsNotCounted, 100),
    (Defect::BackoffDoesNotGrow, 300),
    (Defect::HealthSurvivesRestart, 300),
    (Defect::RunTimeoutIgnored, 100),
    (Defect::FailureForgotten, 100),
    (Defect::EssentialIgnored, 300),
    (Defect::StopSignalIgnored, 100),
    (Defect::NeverKilled, 300),
    (Defect::BudgetNotEnforced, 300),
    (Defect::FirstFailureSilent, 300),
    (Defect::CheckTimeoutIgnored, 300),
    (Defect::FirstCheckAtOnce, 100),
    (Defect::MaintenanceSilent, 300),
    (Defect::ReloadForgetsCounts, 300),
    (Defect::LastReloadLost, 300),
    (Defect::RestartOnlyStops, 300),
    (Defect::BadVariablesSet, 300),
    (Defect::PidVariableStays, 100),
];

#[test]
fn a_sound_engine_breaks_nothing() {
    let search = search(None, 400);
    let found = search.go(&Progress::default());
    assert_eq!(found.runs, 400);
    let stories = found.breaches.iter().map(|one| story_of(&search, one.seed));
    let stories: Vec<_> = stories.map(|story| to_text(&story)).collect();
    assert!(stories.is_empty(), "{}", stories.join("\n"));
}

#[test]
fn a_sound_engine_breaks_nothing_in_random_settings() {
    for seed in 0..1_000 {
        let search = sample::search(seed, None);
        let found = search.go_here(&Progress::default());
        if let Some(one) = found.breaches.first() {
            panic!("{}", to_text(&story_of(&search, one.seed)));
        }
    }
}

#[test]
fn planted_defects_are_found_soon() {
    let is_found = |defect: Defect, seeds: u64| {
        let prepare: Prepare = Arc::new(move |engine| engine.plant(defect));
        let search = |seed| sample::search(seed, Some(prepare.clone()));
        (0..seeds).any(|seed| !search(seed).go_here(&Progress::default()).breaches.is_empty())
    };
    let missed = FOUND_WITHIN.iter().filter(|(defect, seeds)| !is_found(*defect, *seeds));
    let missed: Vec<_> = missed.map(|(defect, _)| defect).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
