//! Running again: counts, backoff, and never two at once.

use core::time::Duration;

use steersman_engine::Time;
use steersman_engine::config::Backoff;
use steersman_sim::Script;
use steersman_sim::fixture::{Scene, SceneBuilder, job, ms, secs};

use crate::lab::{Lab, scenarios};

scenarios![
    restarts_are_counted_down_after_success_too,
    job_that_is_never_restarted_is_not,
    unlimited_restarts_go_on,
    restart_waits_until_what_was_left_behind_has_gone,
    crash_loop_waits_longer_each_time,
    first_restart_after_good_running_comes_at_once,
    jitter_spreads_the_restarts_of_equal_jobs,
    backoff_none_restarts_at_once_every_time,
];

fn restarts_are_counted_down_after_success_too(lab: Lab) {
    let scene = Scene::of([job("app").restarts(3)]).script("app", Script::ends(secs(1), 0));
    let mut scene = lab.begin(scene.nth("app", 2, Script::ends(secs(1), 1)));
    scene.run_to_exit(secs(60));
    assert_eq!(scene.job("app").count(), 4);
    assert_eq!(scene.times_of("stopped app").len(), 1);
}

fn job_that_is_never_restarted_is_not(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app")]).script("app", Script::ends(secs(1), 1)));
    assert_eq!(scene.run_to_exit(secs(60)), 1);
    assert_eq!(scene.job("app").count(), 1);
}

fn unlimited_restarts_go_on(lab: Lab) {
    let scene = Scene::of([job("app").unlimited()]);
    let mut scene = lab.begin(scene.script("app", Script::ends(ms(999), 0)));
    scene.run_for(secs(1000));
    let count = scene.job("app").count();
    assert!((999..=1001).contains(&count), "{count} runs");
}

fn restart_waits_until_what_was_left_behind_has_gone(lab: Lab) {
    let leaves = Script::ends(secs(1), 1).leaves(Some(secs(3)), false);
    let scene = Scene::of([job("app").restarts(1)]).nth("app", 1, leaves);
    let mut scene = lab.begin(scene);
    scene.run_for(secs(10));
    let runs = scene.job("app");
    assert_eq!(runs.count(), 2, "{}", scene.story());
    assert!(runs.nth(2).asked >= runs.nth(1).gone.expect("it has gone"));
}

/// A process that fails at once, with the default backoff.
fn crash_loop() -> SceneBuilder {
    let app = job("app").unlimited().backoff(Backoff::default());
    Scene::of([app]).script("app", Script::ends(ms(1), 1))
}

/// The waits between an end and the next start.
fn waits(scene: &Scene, name: &str) -> Vec<Duration> {
    let runs = scene.job(name);
    let starts = runs.asked();
    starts[1..].iter().zip(runs.ends()).map(|(start, end)| start.since(end)).collect()
}

fn crash_loop_waits_longer_each_time(lab: Lab) {
    let mut scene = lab.begin(crash_loop());
    scene.run_for(secs(600));
    let waits = waits(&scene, "app");
    assert_eq!(waits[0], Duration::ZERO, "the first restart comes at once");
    for (nth, wait) in waits[1..].iter().enumerate() {
        let nominal = ms(100 << nth.min(20)).min(secs(30));
        assert!(*wait >= nominal / 2 && *wait <= nominal * 2, "wait {nth} is {wait:?}");
        assert!(*wait >= ms(100) && *wait <= secs(30), "wait {nth} is {wait:?}");
    }
    assert!(waits.len() < 35, "{} restarts in ten minutes", waits.len());
    assert!(waits.last().is_some_and(|wait| *wait >= secs(20)), "the cap is reached: {waits:?}");
}

fn first_restart_after_good_running_comes_at_once(lab: Lab) {
    let mut scene = lab.begin(crash_loop().nth("app", 8, Script::ends(secs(11), 1)));
    scene.run_for(secs(120));
    let waits = waits(&scene, "app");
    assert!(waits[6] > secs(1), "it had waited for long before: {waits:?}");
    assert_eq!(waits[7], Duration::ZERO, "eleven seconds of running forgive: {waits:?}");
    assert!(waits[8] < ms(300), "and the waits begin anew: {waits:?}");
}

fn jitter_spreads_the_restarts_of_equal_jobs(lab: Lab) {
    let names: Vec<String> = (0..8).map(|nth| format!("app{nth}")).collect();
    let jobs = names.iter().map(|name| job(name).unlimited().backoff(Backoff::default()));
    let mut scene = Scene::of(jobs);
    for name in &names {
        scene = scene.script(name, Script::ends(ms(1), 1));
    }
    let mut scene = lab.begin(scene);
    scene.run_for(secs(60));
    let mut fifth: Vec<Time> = names.iter().map(|name| scene.job(name).asked()[5]).collect();
    fifth.sort_unstable();
    fifth.dedup();
    assert!(fifth.len() >= 6, "the jobs restart in step: {fifth:?}");
}

fn backoff_none_restarts_at_once_every_time(lab: Lab) {
    let scene = Scene::of([job("app").restarts(50)]).script("app", Script::ends(ms(1), 1));
    let mut scene = lab.begin(scene);
    scene.run_to_exit(secs(2));
    assert!(waits(&scene, "app").iter().all(Duration::is_zero));
    assert_eq!(scene.job("app").count(), 51);
}
