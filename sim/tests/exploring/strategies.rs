//! The strategies, side by side.

use std::sync::Arc;
use std::time::{Duration, Instant};

use steersman_engine::config::Config;
use steersman_engine::defect::Defect;
use steersman_sim::explore::exhaust::{Effort, exhaust};
use steersman_sim::explore::{FaultSet, Limits, Search, Setting};
use steersman_sim::property::Suite;
use steersman_sim::shrink::{self, shrink};

use crate::corpus;
use crate::courses::{chain, setting};

pub(crate) fn search_of(setting: Setting) -> Search {
    Search {
        setting: Arc::new(setting),
        suite: Arc::new(Suite::built_in()),
        faults: FaultSet::EVERY,
        limits: Limits::default(),
        scripted: Vec::new(),
        seeds: 0..1,
        shard: (0, 1),
        jobs: 1,
        check_determinism: false,
    }
}

fn effort() -> Effort {
    Effort { time_max: Duration::from_secs(30), ..Effort::default() }
}

#[test]
fn an_exhaustive_breach_is_shrunk_like_any_other() {
    let config = Config { ..chain() };
    let search = search_of(setting(config, Some(Defect::RestartBesideChild)));
    let reach = exhaust(&search, effort());
    let lead = reach.leads.first().expect("the defect is found");
    assert!(lead.is_confirmed);
    let shrunk = shrink(&lead.setting, &lead.plan, &lead.suite, shrink::Effort::default());
    let shrunk = shrunk.expect("the plan fails");
    assert!(shrunk.breach.is_like(&lead.breach));
    assert!(shrunk.plan.weight() <= 2, "{:?}", shrunk.plan);
}

#[test]
fn a_configuration_of_many_like_jobs_is_covered_completely() {
    let search = search_of(setting(corpus::many(60), None));
    let reach = exhaust(&search, Effort { faults_max: 1, ..effort() });
    assert!(reach.leads.is_empty(), "{:?}", reach.leads);
    assert!(reach.cones_with_alike > 20 * reach.cones, "{} parts", reach.cones);
    assert_eq!(reach.levels[0].complete, reach.cones);
    assert_eq!(reach.cut, 0);
}

/// Shows how long 500 jobs take, for `docs/exploration.md`.
#[test]
#[ignore = "takes a minute: run it to see the figures"]
fn figures_of_five_hundred_jobs() {
    for (name, config) in [("alike", corpus::many(500)), ("unlike", corpus::unlike(500))] {
        let search = search_of(setting(config, None));
        let began = Instant::now();
        let reach = exhaust(&search, Effort { time_max: Duration::from_secs(60), ..effort() });
        println!(
            "{name}: {} different parts of {}, {} cut, {:.1?}",
            reach.cones,
            reach.cones_with_alike,
            reach.cut,
            began.elapsed()
        );
        for level in &reach.levels {
            println!("  {level:?} {:.0} states/s", level.states as f64 / level.time.as_secs_f64());
        }
        for lead in &reach.leads {
            println!("  {} confirmed {}", lead.breach, lead.is_confirmed);
        }
    }
}

/// Shows which planted defects the exhaustive search sees.
#[test]
#[ignore = "takes minutes: run it to see the table"]
fn table_of_planted_defects() {
    let mut seen = 0;
    for defect in Defect::ALL {
        let search = search_of(setting(corpus::sample(), Some(*defect)));
        let began = Instant::now();
        let reach = exhaust(&search, Effort { time_max: Duration::from_secs(10), ..effort() });
        let states: u64 = reach.levels.iter().map(|level| level.states).sum();
        match reach.leads.first() {
            Some(lead) => {
                seen += 1;
                println!(
                    "{defect:?}: {states} states, {:.1?}, confirmed {}: {}",
                    began.elapsed(),
                    lead.is_confirmed,
                    lead.breach
                );
            }
            None => println!("{defect:?}: not seen, {states} states, {:.1?}", began.elapsed()),
        }
    }
    println!("{seen} of {}", Defect::ALL.len());
}
