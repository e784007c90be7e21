//! One configuration with its orders left open.

use std::sync::Arc;
use std::time::Instant;

use steersman_engine::Code;
use steersman_engine::config::{Config, Trigger};
use steersman_engine::defect::Defect;
use steersman_sim::Happening;
use steersman_sim::explore::course::{Choice, Course, LIVELOCK, Stage, plan_of};
use steersman_sim::explore::model::{Bounds, Explored, Model, explore};
use steersman_sim::explore::{FaultSet, Progress, Setting, replay};
use steersman_sim::fixture::{config, each, job, once, secs};
use steersman_sim::property::{Breach, Suite};
use steersman_sim::random::Random;
use steersman_sim::tap::Level;

use crate::strategies::search_of;

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
fn a_process_ends_once_whatever_is_chosen() {
    let checked = config([job("db").checked(secs(3)).restarts(1), job("app").unlimited()]);
    let stage = stage(checked, None);
    let mut children = 0;
    for walk in 0..150 {
        let random = Random::new(walk);
        let mut course = Course::new(stage.clone(), 3, Level::Signs);
        let (mut ended, mut choices) = (Vec::new(), Vec::new());
        for step in 0..40 {
            course.choices(&mut choices);
            let rare: Vec<_> = choices.iter().filter(|it| is_about_an_end(it)).cloned().collect();
            let among = if step % 3 == 0 && !rare.is_empty() { &rare } else { &choices };
            let Some(choice) = random.keyed(step).pick(among).cloned() else { break };
            course.apply(&choice);
            children += usize::from(matches!(choice, Choice::Leaves(..)));
            if let Choice::Leaves(_, run)
            | Choice::EndsEarly(_, run)
            | Choice::Comes(_, Happening::Ended(run)) = choice
            {
                assert!(!ended.contains(&run), "walk {walk}: {run:?} ends twice");
                ended.push(run);
            }
        }
    }
    assert!(children > 10, "only {children} children were left behind");
}

fn is_about_an_end(choice: &Choice) -> bool {
    matches!(choice, Choice::Leaves(..) | Choice::Lingers(_, Happening::Ended(_)))
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

/// Two jobs of which each starts the other when it has ended, for ever.
fn ping_pong() -> Config {
    config([
        job("first"),
        job("ping").on(each(Code::ExitSuccess, "pong")).with(|job| job.timeout = Some(secs(9))),
        job("pong").when(Trigger::Any(vec![
            each(Code::ExitSuccess, "ping"),
            once(Code::ExitSuccess, "first"),
        ])),
    ])
}

#[test]
fn two_jobs_that_start_each_other_for_ever_are_a_livelock() {
    let stage = stage(ping_pong(), None);
    let found = search(&stage, 1, 100_000);
    assert!(found.verdicts.iter().any(|(breach, _)| *breach.property == *LIVELOCK));
}

/// Gives what the first random runs of a configuration break, without any trouble.
fn broken_at_random(config: Config) -> Vec<String> {
    let mut search = search_of(setting(config, None));
    (search.faults, search.seeds) = (FaultSet::default(), 0..3);
    let found = search.go(&Progress::default());
    found.breaches.iter().map(|found| found.breach.property.to_string()).collect()
}

#[test]
fn a_random_run_notices_a_livelock_too() {
    let broken = broken_at_random(ping_pong());
    assert_eq!(broken, [LIVELOCK]);
}

#[test]
fn many_starts_that_come_to_an_end_are_no_livelock() {
    let names: Vec<_> = (0..150).map(|nth| format!("job-{nth}")).collect();
    let at_once = names.iter().map(|name| job(name));
    assert_eq!(broken_at_random(config(at_once)), [""; 0], "all start at once");
    let of_each = names.iter().map(|name| each(Code::ExitSuccess, name)).collect();
    let reaction = job("reaction").when(Trigger::Any(of_each));
    let jobs = names.iter().map(|name| job(name)).chain([reaction]);
    assert_eq!(broken_at_random(config(jobs)), [""; 0], "one reacts to each of them");
    let after = job("after").on(once(Code::ExitSuccess, "again"));
    let restarted = [job("again").restarts(200), after];
    assert_eq!(broken_at_random(config(restarted)), [""; 0], "it has two hundred restarts");
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
