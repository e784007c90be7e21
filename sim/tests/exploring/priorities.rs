//! Disorders of a known depth, found by priorities.

use std::sync::Arc;

use steersman_engine::Code;
use steersman_engine::config::Config;
use steersman_engine::defect::Defect;
use steersman_sim::explore::course::Stage;
use steersman_sim::explore::pct::Priorities;
use steersman_sim::explore::{FaultSet, Limits, Progress, replay};
use steersman_sim::fixture::{config, job, once, secs};
use steersman_sim::property::Suite;
use steersman_sim::tap::Level;

use crate::courses::setting;
use crate::strategies::search_of;

/// Four jobs in a row, of which only one order in many stops the third while it starts.
fn row() -> Config {
    config([
        job("db").checked(secs(2)).unlimited(),
        job("app").on(once(Code::Healthy, "db")).checked(secs(2)).restarts(1),
        job("proxy").on(once(Code::Healthy, "app")),
        job("bye").on(once(Code::Stopping, "proxy")),
    ])
}

fn priorities(defect: Option<Defect>, depth: u32) -> Priorities {
    let setting = Arc::new(setting(row(), defect));
    let suite = Arc::new(Suite::built_in());
    let stage = Arc::new(Stage::new(setting, suite, FaultSet::EVERY));
    Priorities::new(stage, depth, Limits::default())
}

#[test]
fn runs_by_priorities_are_the_same_every_time_and_break_nothing_sound() {
    let priorities = priorities(None, 3);
    for seed in 0..60 {
        let run = priorities.run(seed);
        assert!(run.breach().is_none(), "seed {seed}: {:?}", run.breach());
        assert_eq!(run.choices, priorities.run(seed).choices, "seed {seed}");
    }
}

#[test]
fn a_run_by_priorities_is_a_plan_that_breaks_the_same() {
    let priorities = priorities(Some(Defect::RestartBesideChild), 3);
    let mut broken = (0..400).map(|seed| (seed, priorities.run(seed)));
    let broken = broken.find(|(_, run)| run.breach().is_some());
    let (seed, run) = broken.expect("the defect is found");
    let plan = priorities.plan_of(seed);
    let stage = &priorities.stage;
    let again = replay(&stage.setting, &plan, &stage.suite, Level::Signs).breach;
    assert_eq!(again, run.breach(), "seed {seed}");
}

/// Shows how many runs it takes to find defects, by priorities and at random.
#[test]
#[ignore = "takes minutes: run it to see the table"]
fn table_of_first_seeds() {
    let runs = 2_000;
    for defect in Defect::ALL {
        let priorities = priorities(Some(*defect), 3);
        let pct = (0..runs).find(|seed| priorities.run(*seed).breach().is_some());
        let mut search = search_of(setting(row(), Some(*defect)));
        search.seeds = 0..runs;
        search.jobs = 2;
        let found = search.go(&Progress::default());
        let random = found.breaches.first().map(|found| found.seed);
        if pct != random {
            println!("{defect:?}: by priorities {pct:?}, at random {random:?}");
        }
    }
}
