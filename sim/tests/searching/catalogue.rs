//! Defects that people write into configurations: each is found, or cannot come about.
//!
//! The fixtures in `tests/fixtures/config-defects` say in their second line what finds them. The
//! page `docs/config-defects.md` is written from them; `STEERSMAN_BLESS=1` renews it.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use steersman_engine::front::{self, Surroundings};
use steersman_sim::explore::{Found, Progress, Search};
use steersman_sim::scenario::{self, Scenario};
use steersman_sim::shrink::{Effort, shrink};
use steersman_sim::story::{tell_plan, to_text};

/// A command at its default makes as many.
const SEEDS: u64 = 200;
/// A story that is longer than this is not the smallest.
const STORY_LINES_MAX: usize = 40;

/// Defects of other supervisors that no configuration can bring about here: what it is, why, and
/// the scenario that shows it.
const IMPOSSIBLE: &[(&str, &str, &str)] = &[
    (
        "A check slower than its interval piles up, or stalls the stop",
        "one check of a job runs at a time, ticks are skipped, and a stop waits for none",
        "at_most_one_check_runs_at_a_time",
    ),
    (
        "The TTL expires during a slow stop",
        "the service is out of the catalog before its process is told to stop",
        "service_is_out_of_the_catalog_before_its_process_is_told",
    ),
    (
        "A deregistration that is never answered holds the stop",
        "it has a deadline of its own within the budget",
        "agent_that_never_answers_does_not_hold_the_stop",
    ),
    (
        "A registration that overtakes the deregistration",
        "a service has one request under way, and answers name theirs",
        "healthy_service_is_passing_and_stays_so",
    ),
    (
        "An agent that forgot a service is never told again",
        "what is registered is compared and put right at each report",
        "agent_that_forgot_everything_is_told_again",
    ),
    (
        "A job that runs once runs again at a reload",
        "a job that did not change keeps its process, its counts and its health",
        "unchanged_job_keeps_its_process_its_counts_and_its_health",
    ),
    (
        "All jobs restart at the same time after a reload, the old processes still there",
        "only changed jobs restart, each when its old process has gone",
        "changed_job_starts_when_its_old_process_has_gone",
    ),
    (
        "Maintenance races a check that passes",
        "a result of a check that was begun before says nothing",
        "check_in_flight_when_maintenance_begins_says_nothing",
    ),
    (
        "A schedule runs twice, or not at all, when the wall clock is set",
        "times that have been served are remembered, those jumped over are skipped",
        "schedule_does_not_repeat_a_time_after_the_wall_clock_went_back",
    ),
    (
        "An interval drifts under a slow program",
        "runs stay on the grid that is counted from the start",
        "interval_job_runs_on_the_grid_counted_from_startup",
    ),
    (
        "A signal that comes while a job starts is lost, or kills it",
        "a job that reacts to signals is started by them when it can be",
        "signal_before_its_target_is_ready_is_delivered_when_it_is",
    ),
    (
        "A child that is left behind keeps the port, so that the restart cannot bind",
        "a restart waits until everything of the run before has gone, and ends it",
        "restart_waits_until_what_was_left_behind_has_gone",
    ),
    (
        "A program that ends well is restarted in a loop that takes a whole core",
        "the wait between restarts grows, whatever the status",
        "crash_loop_waits_longer_each_time",
    ),
];

struct Fixture {
    file: String,
    title: String,
    /// `check` or `sim`.
    tool: String,
    finds: String,
    text: String,
}

fn fixtures() -> Vec<Fixture> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/config-defects");
    let files = fs::read_dir(folder).expect("the fixtures are there");
    let mut files: Vec<PathBuf> = files.map(|file| file.expect("it can be read").path()).collect();
    files.sort();
    let read = |path: &PathBuf| {
        let text = fs::read_to_string(path).expect("it can be read");
        let mut lines = text.lines().map(|line| line.trim_start_matches("// ").to_owned());
        let title = lines.next().expect("a title");
        let finds = lines.next().expect("what finds it");
        let finds = finds.strip_prefix("found by: ").expect("what finds it").to_owned();
        let (tool, finds) = finds.split_once(", ").expect("the tool and what it says");
        let file = path.file_name().expect("a file").to_string_lossy().into_owned();
        Fixture { file, title, tool: tool.to_owned(), finds: finds.to_owned(), text }
    };
    files.iter().map(read).collect()
}

fn searched(fixture: &Fixture) -> (Scenario, Search, Found) {
    let loaded = front::load(&fixture.file, &fixture.text, &Surroundings::default());
    let loaded = loaded.unwrap_or_else(|errors| panic!("{}: {errors:?}", fixture.file));
    let scenario = scenario::of_config(&fixture.file, "node", loaded.config);
    let search = Search {
        setting: Arc::new(scenario.setting.clone()),
        suite: scenario.suite.clone(),
        faults: scenario.faults,
        limits: scenario.limits,
        scripted: scenario.scripted.clone(),
        seeds: 0..SEEDS,
        shard: (0, 1),
        jobs: 2,
        check_determinism: false,
    };
    let found = search.go(&Progress::default());
    (scenario, search, found)
}

/// Finds the breach, and its smallest story.
fn assert_broken(fixture: &Fixture, property: &str) {
    let (_, search, found) = searched(fixture);
    let names: Vec<_> = found.breaches.iter().map(|one| &*one.breach.property).collect();
    let one = found.breaches.iter().find(|one| &*one.breach.property == property);
    let one = one.unwrap_or_else(|| panic!("{}: only {names:?}", fixture.file));
    let plan = search.plan_of(one.seed);
    let shrunk = shrink(&search.setting, &plan, &search.suite, Effort::default());
    let shrunk = shrunk.expect("a failing seed fails again");
    assert_eq!(&*shrunk.breach.property, property);
    let story = tell_plan(&fixture.title, &shrunk.setting, &shrunk.plan, &search.suite);
    let text = to_text(&story);
    assert!(text.lines().count() <= STORY_LINES_MAX, "{text}");
}

#[test]
fn every_known_defect_of_configurations_is_found() {
    for fixture in fixtures() {
        match (&*fixture.tool, fixture.finds.split_once(": ")) {
            ("check", None) => {
                let report = front::check(&fixture.file, &fixture.text, &Surroundings::default());
                let all = report.errors.iter().chain(&report.warnings);
                let codes: Vec<_> = all.map(|one| one.code).collect();
                assert_eq!(codes, [&*fixture.finds], "{}", fixture.file);
            }
            ("sim", Some(("broken", property))) => assert_broken(&fixture, property),
            ("sim", Some(("look at", advice))) => {
                let (scenario, _, found) = searched(&fixture);
                let given = scenario::advice(&scenario, &found);
                assert!(
                    given.iter().any(|one| one.contains(advice)),
                    "{}: {given:?}",
                    fixture.file
                );
            }
            other => panic!("{}: cannot tell what finds it: {other:?}", fixture.file),
        }
    }
}

#[test]
fn page_of_configuration_defects_is_current() {
    let mut page = String::from(
        "# Defects of configurations\n\nWhat people write into configurations and do not mean, and \
         what tells them. Each row of the first table is a\nfile in \
         [`sim/tests/fixtures/config-defects`](../sim/tests/fixtures/config-defects); a test shows \
         that it is found.\n`sim` is `steersman sim FILE` without a scenario: \"broken\" comes \
         with the smallest story of how it comes about.\n\n| Defect | Found by | As |\n\
         |---|---|---|\n",
    );
    for fixture in fixtures() {
        let title = fixture.title.trim_end_matches('.');
        let _ = writeln!(page, "| {title} | `{}` | {} |", fixture.tool, fixture.finds);
    }
    page.push_str(
        "\nWhat other supervisors let a configuration bring about, and this one does not; the \
         scenario in `sim/tests/scenarios` shows it:\n\n| Defect | Why not | Scenario |\n\
         |---|---|---|\n",
    );
    for (defect, why, scenario) in IMPOSSIBLE {
        let _ = writeln!(page, "| {defect} | {why} | `{scenario}` |");
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config-defects.md");
    if std::env::var_os("STEERSMAN_BLESS").is_some() {
        fs::write(&path, &page).expect("the page can be written");
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(written, page, "run this test with STEERSMAN_BLESS=1");
}

#[test]
fn scenarios_that_the_page_names_are_there() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let files = fs::read_dir(folder).expect("the scenarios are there");
    let texts: Vec<String> = files
        .map(|file| fs::read_to_string(file.expect("it can be read").path()).unwrap_or_default())
        .collect();
    for (_, _, scenario) in IMPOSSIBLE {
        let name = format!("fn {scenario}(");
        assert!(texts.iter().any(|text| text.contains(&name)), "no scenario {scenario}");
    }
}
