//! One configuration with its orders left open.

use std::sync::Arc;
use std::time::Instant;

use steersman_engine::Code;
use steersman_engine::config::Config;
use steersman_engine::defect::Defect;
use steersman_sim::explore::course::{Choice, Course, LIVELOCK, Stage, plan_of};
use steersman_sim::explore::model::{Bounds, Explored, explore};
use steersman_sim::explore::{FaultSet, Setting, replay};
use steersman_sim::fixture::{config, each, job, once, secs};
use steersman_sim::property::{Breach, Suite};
use steersman_sim::tap::Level;

/// A database, what waits for its health, and what reacts to its stop.
pub(crate) fn chain() -> Config {
    config([
        job("db").checked(secs(2)).unlimited(),
        job("app").on(once(Code::Healthy, "db")).restarts(1),
        job("bye").on(once(Code::Stopping, "app")),
    ])
}

pub(crate) fn setting(config: Config, defect: Option<Defect>) -> Setting {
    let mut setting = Setting::of("node", config);
    if let Some(defect) = defect {
        setting.prepare = Some(Arc::new(move |engine| engine.plant(defect)));
    }
    setting
}

fn stage(config: Config, defect: Option<Defect>) -> Arc<Stage> {
    let setting = Arc::new(setting(config, defect));
    Arc::new(Stage::new(setting, Arc::new(Suite::built_in()), FaultSet::EVERY))
}

fn search(stage: &Arc<Stage>, faults: u32, states_max: usize) -> Explored<Choice, Breach> {
    let bounds = Bounds { states_max, verdicts_max: 1, ..Bounds::default() };
    explore(Course::new(stage.clone(), faults, Level::Signs), bounds, |_| true)
}

#[test]
#[ignore = "shows figures"]
fn figures() {
    for faults in 1..=3 {
        let stage = stage(chain(), None);
        let began = Instant::now();
        let found = search(&stage, faults, 1_000_000);
        let took = began.elapsed().as_secs_f64();
        println!(
            "{faults}: {} states, {} choices, depth {}, complete {}, {took:.2} s, {:.0}/s",
            found.states,
            found.transitions,
            found.depth,
            found.is_complete,
            found.states as f64 / took
        );
        for (breach, path) in &found.verdicts {
            println!("   {breach}: {path:#?}");
        }
    }
}

#[test]
fn a_sound_engine_passes_every_order_with_two_things_out_of_the_ordinary() {
    let found = search(&stage(chain(), None), 2, 100_000);
    let broken: Vec<_> = found.verdicts.iter().map(|(breach, _)| breach.to_string()).collect();
    assert!(broken.is_empty(), "{broken:?}");
    assert!(found.is_complete);
    assert!(found.states > 1_000, "{} states", found.states);
}

#[test]
fn what_is_found_is_a_plan_that_breaks_the_same() {
    let defects = [
        Defect::RestartBesideChild,
        Defect::KilledAtOnce,
        Defect::HealthyEveryTime,
        Defect::StoppedBeforeGone,
    ];
    let mut seen = 0;
    for defect in defects {
        let stage = stage(chain(), Some(defect));
        let found = search(&stage, 2, 20_000);
        let Some((breach, path)) = found.verdicts.first() else { continue };
        seen += 1;
        let plan = plan_of(&stage, path, 2);
        let again = replay(&stage.setting, &plan, &stage.suite, Level::Signs);
        let again = again.breach.unwrap_or_else(|| panic!("{defect:?} breaks nothing again"));
        assert!(again.is_like(breach), "{defect:?}: {breach} became {again}");
        assert_eq!(again.at, breach.at, "{defect:?}");
    }
    assert!(seen >= 2, "only {seen} of these defects are seen");
}

#[test]
fn two_jobs_that_start_each_other_for_ever_are_a_livelock() {
    let ping = config([
        job("first"),
        job("ping").on(each(Code::ExitSuccess, "pong")).with(|job| job.timeout = Some(secs(9))),
        job("pong").when(steersman_engine::config::Trigger::Any(vec![
            each(Code::ExitSuccess, "ping"),
            once(Code::ExitSuccess, "first"),
        ])),
    ]);
    let stage = stage(ping, None);
    let found = search(&stage, 1, 100_000);
    assert!(found.verdicts.iter().any(|(breach, _)| *breach.property == *LIVELOCK));
}

#[test]
fn jobs_that_wait_for_a_clock_are_no_livelock() {
    let honest = config([
        job("ticker").every(secs(5)).timeout(secs(3)),
        job("checked").checked(secs(1)).unlimited(),
        job("looping").unlimited().backoff(steersman_engine::config::Backoff::default()),
    ]);
    let found = search(&stage(honest, None), 1, 30_000);
    assert!(found.verdicts.is_empty(), "{:?}", found.verdicts);
}
