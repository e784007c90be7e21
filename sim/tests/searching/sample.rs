//! A configuration with a little of everything, and searches of it.

use std::sync::Arc;

use steersman_engine::Code;
use steersman_engine::config::{Backoff, Config};
use steersman_engine::defect::Defect;
use steersman_engine::event::SignalName;
use steersman_sim::explore::{FaultSet, Limits, Search, Setting};
use steersman_sim::fixture::{each, each_signal, job, once, secs};
use steersman_sim::property::Suite;
use steersman_sim::shrink::{Effort, shrink};
use steersman_sim::story::{Story, tell_plan};

/// Ten jobs: a preparation, a database and what depends on it, hooks, a ticker and a handler.
pub(crate) fn config() -> Config {
    let jobs = vec![
        job("prepare").build(),
        job("db").on(once(Code::ExitSuccess, "prepare")).checked(secs(2)).unlimited().build(),
        job("app").on(once(Code::Healthy, "db")).checked(secs(1)).restarts(3).build(),
        job("proxy").on(once(Code::Healthy, "app")).unlimited().backoff(Backoff::default()).build(),
        job("before-stop").on(once(Code::Stopping, "app")).build(),
        job("after-stop").on(once(Code::Stopped, "db")).build(),
        job("ticker").every(secs(5)).timeout(secs(3)).build(),
        job("on-change").on(each(Code::Unhealthy, "db")).build(),
        job("on-hup").on(each_signal(SignalName::Hup)).build(),
        job("sidecar").unlimited().kill_timeout(secs(1)).build(),
    ];
    Config { jobs: jobs.into_iter().map(Arc::new).collect(), ..Config::default() }
}

/// A search of the sample, with a defect in every engine or without.
pub(crate) fn search(defect: Option<Defect>, seeds: u64) -> Search {
    let mut setting = Setting::of("node", config());
    if let Some(defect) = defect {
        setting.prepare = Some(Arc::new(move |engine| engine.plant(defect)));
    }
    Search {
        setting: Arc::new(setting),
        suite: Arc::new(Suite::built_in()),
        faults: FaultSet::EVERY,
        limits: Limits::default(),
        scripted: Vec::new(),
        seeds: 0..seeds,
        shard: (0, 1),
        jobs: 2,
        check_determinism: false,
    }
}

/// Shrinks a failing seed and tells what is left.
pub(crate) fn story_of(search: &Search, seed: u64) -> Story {
    let plan = search.plan_of(seed);
    let shrunk = shrink(&search.setting, &plan, &search.suite, Effort::default());
    let shrunk = shrunk.expect("a failing seed fails again");
    tell_plan(&format!("seed {seed}"), &shrunk.setting, &shrunk.plan, &search.suite)
}
