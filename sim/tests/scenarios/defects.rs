//! Which scenario sees which defect: each defect is planted in the engine and its scenario must
//! fail. The other half, that no scenario fails without a defect, is every other test of this
//! binary.

use std::panic::{AssertUnwindSafe, catch_unwind};

use steersman_engine::defect::Defect;

use crate::lab::{Lab, Scenario};

/// Each defect with a scenario that sees it.
const SEEN_BY: &[(Defect, &str)] = &[
    (Defect::StaleResultCounts, "late_result_of_an_earlier_run_changes_nothing"),
    (Defect::RepeatedResultCounts, "repeated_result_counts_once"),
    (Defect::SignalBeforeBeginLost, "signal_before_the_beginning_is_not_lost"),
    (Defect::WorksAfterTheEnd, "nothing_happens_after_the_forced_end"),
    (Defect::PatienceFromTheWish, "patience_with_a_stop_counts_from_the_signal"),
    (Defect::OldTriggerHeard, "changed_trigger_is_in_force_and_the_old_one_is_not"),
    (Defect::HurryingDelays, "hurrying_late_does_not_move_the_end"),
    (Defect::ScheduleRepeats, "schedule_does_not_repeat_a_time_after_the_wall_clock_went_back"),
    (Defect::LockAgeSeenLate, "holder_frozen_between_two_runs_starts_nothing"),
    (Defect::LockDeadlineIgnored, "renewals_that_get_lost_end_the_term_in_time"),
    (Defect::LockReleasedTooEarly, "lock_is_given_back_only_when_the_process_has_gone"),
    (Defect::SessionLossIgnored, "destroyed_session_ends_the_term_and_bars_the_key"),
    (Defect::TokensCountAnew, "loss_of_all_state_never_gives_two"),
    (Defect::NoQuietTime, "loss_of_all_state_never_gives_two"),
    (Defect::LockNotReleased, "orderly_stop_hands_over_within_seconds"),
    (Defect::SessionPerTry, "many_candidates_have_one_session_each"),
    (Defect::LockJobsNotStopped, "renewals_that_get_lost_end_the_term_in_time"),
    (Defect::TokenNotFromTheGrant, "crash_of_the_holder_is_followed_by_another_term"),
    (Defect::LockKeptInMaintenance, "maintenance_of_the_holder_hands_over"),
    (Defect::ReloadEndsTerms, "reload_of_something_else_keeps_the_term"),
    (Defect::KeyReadNotRepeated, "short_outage_costs_no_term"),
    (Defect::LockStoodForAgain, "lost_term_of_a_lock_that_is_stood_for_once_ends_its_supervisor"),
    (Defect::LockPatienceEndless, "candidate_gives_up_when_the_lock_is_not_free_in_time"),
    (Defect::LockKillTooLate, "process_that_ignores_the_stop_is_killed_before_anybody_else_runs"),
    (
        Defect::QuietLossWaits,
        "lock_lost_in_its_quiet_time_passes_on_beside_a_job_that_stops_with_it",
    ),
    (Defect::GuardNotMoved, "supervisor_that_hangs_does_not_keep_its_processes_alive"),
    (Defect::GuardTooLate, "supervisor_that_hangs_does_not_keep_its_processes_alive"),
    (Defect::GuardNotLifted, "orderly_stop_hands_over_within_seconds"),
    (Defect::GuardAfterStart, "supervisor_that_hangs_does_not_keep_its_processes_alive"),
    (Defect::KeeperNotRequired, "lock_that_requires_a_keeper_goes_to_where_there_is_one"),
    (Defect::KeeperNotReplaced, "keeper_that_was_killed_is_replaced_and_the_term_goes_on"),
    (Defect::TermAgeFromTheAnswer, "age_of_a_term_counts_from_the_sending"),
    (Defect::RenewalCountsAsReading, "readings_that_get_lost_end_the_term_in_time"),
    (Defect::ReadingAgeFromTheAnswer, "age_of_a_reading_counts_from_its_sending"),
    (Defect::UnknownSessionForgotten, "session_that_consul_wrongly_does_not_know_is_given_back"),
    (Defect::GivenBackOnce, "lock_that_could_not_be_given_back_is_given_back_after_the_cut"),
    (Defect::GivenBackForEver, "lock_that_cannot_be_given_back_is_let_go_of_in_the_end"),
    (
        Defect::SuspendNotCounted,
        "supervisor_that_stands_still_past_its_deadline_kills_when_it_wakes_up",
    ),
    (Defect::SessionReused, "each_term_has_a_session_of_its_own"),
    (Defect::ContinuityAssumed, "holder_whose_key_was_deleted_while_it_was_cut_off_makes_room"),
    (Defect::QuietNotConfirmed, "key_deleted_in_the_quiet_time_begins_no_term"),
    (Defect::KeyReadSeldom, "key_deleted_while_an_answer_gets_lost_is_missed_in_time"),
    (Defect::RenewalWaitsForCheck, "checks_that_hang_cost_no_term"),
    (Defect::HoldOffIgnored, "loser_of_a_term_waits_before_it_stands_again"),
    (Defect::LeaderHealthIgnored, "leader_that_stays_unhealthy_hands_over"),
    (
        Defect::StopWithIgnored,
        "job_that_stops_with_the_lock_runs_everywhere_and_ends_with_a_lost_term",
    ),
    (Defect::StopWithNotWaitedFor, "lock_waits_for_the_job_that_stops_with_it"),
    (Defect::TokenFileLate, "token_is_in_its_file_while_the_job_runs"),
    (Defect::TokenFileKept, "token_is_in_its_file_while_the_job_runs"),
    (Defect::QuietHandedOver, "holder_that_stops_in_its_quiet_time_hands_nothing_over"),
    (Defect::AskedKeyBarred, "candidate_that_stops_while_it_asks_bars_nothing"),
    (Defect::HerdNotSpread, "hundred_candidates_are_no_herd_when_the_lock_becomes_free"),
    (Defect::BarredKeyHammered, "key_that_is_barred_for_longer_is_not_hammered"),
    (Defect::ReloadKeepsTerms, "reload_of_the_lock_hands_it_over"),
    (Defect::RemovedLockNotWaitedFor, "reload_that_removes_the_lock_hands_it_over"),
    (Defect::LockKeptUnneeded, "founders_found_one_after_another"),
    (Defect::FailureNotReported, "failing_check_is_critical_at_once"),
    (Defect::CrashNotReported, "crashed_process_is_critical_at_once"),
    (Defect::NotWithdrawn, "service_is_out_of_the_catalog_before_its_process_is_told"),
    (Defect::FirstReadingSilent, "absent_upstream_is_announced"),
    (Defect::EveryReadingIsAChange, "upstream_that_does_not_change_is_announced_once"),
    (Defect::RegistrationLossIgnored, "agent_that_comes_back_empty_after_a_while_is_told_again"),
    (
        Defect::CatalogForgottenAtTheEnd,
        "job_that_could_not_be_taken_out_is_registered_when_it_runs_again",
    ),
    (Defect::BeatBeforeRegistration, "restarted_container_is_registered_with_its_new_port"),
    (Defect::TagsShareMemory, "two_tags_of_one_service_do_not_disturb_each_other"),
    (Defect::OnlyAddressesCompared, "members_that_swap_their_tags_are_a_change"),
    (Defect::UnreachableIsEmpty, "unreachable_catalog_is_no_change"),
    (Defect::StaleNeverSaid, "watch_that_is_cut_off_says_so_and_then_what_changed"),
    (Defect::FailedReactionNotRetried, "failed_reaction_runs_again_with_the_latest_state"),
    (Defect::ChangesQueueUp, "changes_during_a_reaction_are_one_further_run"),
    (Defect::InterruptIgnored, "interrupt_stops_like_term"),
    (Defect::LogsNotReopened, "log_files_are_reopened_and_nothing_else"),
    (Defect::StartupJudgedTooEarly, "job_on_the_global_startup_runs_at_startup"),
    (Defect::OnceEveryTime, "job_on_the_first_event_ignores_the_later_ones"),
    (Defect::EachOnlyOnce, "job_on_each_event_runs_as_often"),
    (Defect::TriggersMerged, "triggers_during_a_run_are_all_honoured_afterwards"),
    (Defect::TicksPileUp, "interval_job_slower_than_its_interval_keeps_one_tick"),
    (Defect::PendingUnbounded, "waiting_starts_are_bounded"),
    (Defect::TriggersDuringRunLost, "triggers_during_a_run_are_all_honoured_afterwards"),
    (Defect::IntervalDrifts, "interval_job_runs_on_the_grid_counted_from_startup"),
    (Defect::IntervalRunsNotCounted, "interval_job_ends_after_its_runs"),
    (Defect::TriggerTimeoutOutlivesStart, "fast_predecessor_does_not_end_its_successor"),
    (Defect::GivesUpSilently, "job_gives_up_when_its_trigger_does_not_come"),
    (Defect::NeverGivesUp, "trigger_limit_expires_although_a_thousand_starts_wait"),
    (Defect::AllIsAny, "condition_of_all_does_not_fire_on_one"),
    (Defect::AllOnEdges, "condition_over_several_sources_is_judged_on_levels"),
    (Defect::AllForgetsOccurrences, "signal_before_its_target_is_ready_is_delivered_when_it_is"),
    (Defect::AnyIsFirstOnly, "any_of_several_sources_starts"),
    (Defect::ImpossibleNotSeen, "job_whose_source_ended_is_skipped_and_so_are_those_behind_it"),
    (
        Defect::SkippedCountsAsStopped,
        "job_whose_source_ended_is_skipped_and_so_are_those_behind_it",
    ),
    (Defect::StartsAfterStop, "hook_reacts_to_nothing_but_the_stop_while_stopping"),
    (Defect::SecondStartEndsJob, "second_start_event_during_a_run_changes_nothing"),
    (Defect::RestartsNotCounted, "restarts_are_counted_down_after_success_too"),
    (Defect::RestartOnlyAfterFailure, "restarts_are_counted_down_after_success_too"),
    (Defect::RestartBesideChild, "restart_waits_until_what_was_left_behind_has_gone"),
    (Defect::EndWaitsForChild, "process_that_leaves_a_child_has_exited_when_it_has"),
    (Defect::BackoffNone, "crash_loop_of_one_job_leaves_another_alone"),
    (Defect::BackoffDoesNotGrow, "crash_loop_waits_longer_each_time"),
    (Defect::BackoffWithoutJitter, "jitter_spreads_the_restarts_of_equal_jobs"),
    (Defect::FirstRestartWaits, "first_restart_after_good_running_comes_at_once"),
    (Defect::BackoffNeverForgives, "first_restart_after_good_running_comes_at_once"),
    (Defect::HealthSurvivesRestart, "new_process_has_to_prove_itself_anew"),
    (Defect::RunTimeoutOutlivesRun, "run_timeout_of_one_run_does_not_touch_the_next"),
    (Defect::RunTimeoutIgnored, "run_that_takes_too_long_is_killed"),
    (Defect::ChildLeftAlone, "child_left_behind_is_ended"),
    (Defect::StartFailureForgotten, "failing_start_is_a_failed_end"),
    (Defect::StopWhileStartingLost, "process_that_was_still_starting_gets_its_signal"),
    (Defect::PidVariableStays, "jobs_see_the_process_ids_of_running_jobs"),
    (Defect::FailureForgotten, "container_ends_with_the_status_of_the_first_failure"),
    (Defect::LastFailureWins, "container_ends_with_the_status_of_the_first_failure"),
    (Defect::SignalStatusRaw, "container_killed_by_a_signal_shows_128_more"),
    (Defect::EssentialIgnored, "essential_job_ends_the_container_with_its_status"),
    (Defect::EssentialNotRestarted, "essential_job_that_is_restarted_does_not_end_the_container"),
    (Defect::GoneProcessSignalled, "gone_process_is_never_signalled"),
    (Defect::StoppedBeforeGone, "hook_on_stopped_runs_after_the_process_has_gone"),
    (Defect::HooksNotWaitedFor, "stop_waits_for_every_hook"),
    (Defect::LastHookOnly, "stop_waits_for_every_hook"),
    (Defect::HookLimitIgnored, "stop_hook_that_outlives_the_limit_is_cut"),
    (Defect::HooksNotCut, "stop_hook_that_outlives_the_limit_is_cut"),
    (Defect::KillTimeoutIgnored, "process_that_ignores_the_stop_is_killed_after_its_own_patience"),
    (Defect::KilledAtOnce, "stop_announces_signals_waits_and_ends"),
    (Defect::StopSignalIgnored, "stop_signal_of_a_job_is_its_own"),
    (Defect::NeverKilled, "child_left_behind_that_ignores_signals_is_killed"),
    (Defect::BudgetNotEnforced, "endless_hook_cannot_outlast_the_budget"),
    (Defect::SecondTermIgnored, "second_term_hurries"),
    (Defect::UnkillableHolds, "unkillable_process_does_not_hold_the_container"),
    (Defect::SleepsOutTheBudget, "shutdown_ends_with_the_last_process_and_not_later"),
    (Defect::UncleanForgotten, "container_that_had_to_kill_says_so"),
    (Defect::RestartedWhenStopped, "nothing_is_restarted_after_the_stop"),
    (Defect::DroppedSilently, "running_handler_is_stopped_and_queued_runs_are_dropped"),
    (Defect::StoppedWithoutHavingRun, "hook_on_stopped_of_a_job_that_never_ran_does_not_run"),
    (Defect::ReloadOutranksStop, "term_during_a_reload_wins"),
    (Defect::ChecksOutliveJob, "checks_end_with_their_job"),
    (Defect::HealthyEveryTime, "job_that_stays_healthy_says_so_once"),
    (Defect::UnhealthyEveryTime, "job_that_stays_unhealthy_says_so_once"),
    (Defect::FirstFailureSilent, "first_result_is_an_event_also_when_it_is_bad"),
    (Defect::RetriesIgnored, "failures_below_the_limit_in_a_row_are_forgiven"),
    (Defect::RetriesNotInARow, "failures_below_the_limit_in_a_row_are_forgiven"),
    (Defect::StartPeriodIgnored, "failures_in_the_start_period_do_not_count"),
    (
        Defect::StartPeriodHidesAll,
        "failures_after_the_first_success_count_also_in_the_start_period",
    ),
    (Defect::StartIntervalIgnored, "start_interval_finds_readiness_sooner"),
    (Defect::CheckTimeoutIgnored, "check_that_takes_too_long_has_failed_and_is_killed"),
    (Defect::LateCheckCounts, "late_success_of_a_check_that_took_too_long_does_not_count"),
    (
        Defect::StaleCheckCounts,
        "check_that_was_begun_before_a_crash_says_nothing_about_the_next_process",
    ),
    (Defect::ChecksOverlap, "at_most_one_check_runs_at_a_time"),
    (Defect::SlowCheckEndsChecking, "at_most_one_check_runs_at_a_time"),
    (Defect::FirstCheckAtOnce, "first_check_comes_one_interval_after_the_start"),
    (Defect::CheckEndsNotPublished, "every_check_is_an_end_that_jobs_can_react_to"),
    (Defect::CheckStartFailureForgotten, "check_that_cannot_be_started_has_failed"),
    (Defect::CheckChildLeftAlone, "child_left_by_a_check_is_killed"),
    (Defect::CheckFailureIsSuccess, "job_that_stays_unhealthy_says_so_once"),
    (Defect::MaintenanceTwice, "maintenance_switched_on_twice_is_on_once"),
    (Defect::MaintenanceEndsWithProcess, "maintenance_survives_the_end_of_a_process"),
    (Defect::ChecksInMaintenance, "check_in_flight_when_maintenance_begins_says_nothing"),
    (Defect::ChecksNotResumed, "maintenance_stops_the_checks_and_leaving_it_resumes_them"),
    (Defect::MaintenanceSilent, "maintenance_starts_the_jobs_that_react_to_it"),
    (Defect::ReloadRestartsUnchanged, "unchanged_job_keeps_its_process_its_counts_and_its_health"),
    (Defect::ReloadAllForgotten, "reload_of_everything_restarts_everything"),
    (Defect::ReloadForgetsCounts, "unchanged_job_keeps_its_process_its_counts_and_its_health"),
    (Defect::ReloadDropsPending, "pending_triggers_survive_a_reload_that_does_not_concern_them"),
    (Defect::ReloadOverlaps, "changed_job_starts_when_its_old_process_has_gone"),
    (Defect::BadConfigStops, "broken_file_changes_nothing"),
    (Defect::ReloadsNotMerged, "storm_of_reloads_ends_in_the_last_configuration"),
    (Defect::LastReloadLost, "storm_of_reloads_ends_in_the_last_configuration"),
    (Defect::RemovedJobRunsOn, "new_job_starts_and_removed_job_stops"),
    (Defect::NewJobNotStarted, "new_job_starts_and_removed_job_stops"),
    (Defect::ControlWhileStopping, "reload_while_stopping_is_refused"),
    (Defect::SignalStopsJob, "signal_reaches_the_named_job_only"),
    (Defect::RestartOnlyStops, "restart_stops_the_old_process_before_the_new_one_starts"),
    (Defect::BadVariablesSet, "names_that_are_no_variables_are_refused_together"),
    (Defect::UnknownMetricSwallowed, "known_metrics_are_fed_and_unknown_ones_refused"),
];

/// Defects that show only in orders of events that no scenario makes: they are for the search of
/// elections (`election::cases::DEFECTS`, an ignored test of `sim/tests/exploring/elections.rs`).
const SEEN_BY_SEARCH: &[Defect] = &[
    Defect::AcquiredWhateverItIs,
    Defect::DeadGrantCounts,
    Defect::DeletedKeyIsContinued,
    Defect::SecondSession,
    Defect::RestoredKeyBelieved,
    Defect::RefusalBelieved,
];

fn scenarios() -> impl Iterator<Item = Scenario> {
    crate::all()
}

/// Tells whether a scenario fails when a defect is planted.
fn sees(scenario: fn(Lab), defect: Defect) -> bool {
    catch_unwind(AssertUnwindSafe(|| scenario(Lab::with(defect)))).is_err()
}

#[test]
fn every_defect_is_seen_by_its_scenario() {
    let mut blind = Vec::new();
    for (defect, name) in SEEN_BY {
        let found = scenarios().find(|(scenario, _)| scenario == name);
        let (_, scenario) = found.unwrap_or_else(|| panic!("cannot find the scenario {name}"));
        if !sees(scenario, *defect) {
            blind.push(format!("{name} does not see {defect:?}"));
        }
    }
    assert!(blind.is_empty(), "{blind:#?}");
}

#[test]
fn every_defect_is_in_the_table() {
    let known = |defect: &&Defect| {
        SEEN_BY.iter().any(|(seen, _)| seen == *defect) || SEEN_BY_SEARCH.contains(defect)
    };
    let missing: Vec<_> = Defect::ALL.iter().filter(|defect| !known(defect)).collect();
    assert!(missing.is_empty(), "no scenario is named for {missing:?}");
}

#[test]
fn scenario_names_are_unique() {
    let mut names: Vec<_> = scenarios().map(|(name, _)| name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count);
}

/// Prints the whole matrix: `cargo test -p steersman-sim --test scenarios matrix -- --ignored
/// --nocapture`.
#[test]
#[ignore = "a report of some minutes, not a check"]
fn matrix_of_defects_and_scenarios() {
    std::panic::set_hook(Box::new(|_| {}));
    for defect in Defect::ALL {
        let seen = scenarios().filter(|(_, scenario)| sees(*scenario, *defect));
        let names: Vec<_> = seen.map(|(name, _)| name).collect();
        println!("{defect:?} ({}): {}", names.len(), names.join(", "));
    }
}
