//! One stuck thing disturbs no other, for any length of time; and nothing grows.

use steersman_engine::Code;
use steersman_engine::config::Backoff;
use steersman_engine::event::SignalName;
use steersman_sim::fixture::{NODE, Scene, at, each, each_signal, job, ms, secs};
use steersman_sim::{Action, Script};

use crate::lab::{Lab, scenarios};

scenarios![
    stuck_check_of_one_job_leaves_another_alone_for_days,
    check_that_cannot_be_killed_leaves_others_alone,
    crash_loop_of_one_job_leaves_another_alone,
    trigger_limit_expires_although_a_thousand_starts_wait,
    job_that_stops_slowly_delays_no_other,
    waiting_starts_are_bounded,
    clock_that_runs_fast_keeps_its_own_grid,
];

fn stuck_check_of_one_job_leaves_another_alone_for_days(lab: Lab) {
    let stuck = job("a").health(|health| {
        health.interval = secs(10);
        health.timeout = secs(30);
    });
    let scene = Scene::of([stuck, job("b").checked(secs(10))]);
    let mut scene = lab.begin(scene.check("a", Script::endless().ignores_stop()));
    scene.run_for(secs(3 * 86_400));
    assert_eq!(scene.times_of("unhealthy a").len(), 1);
    assert!(scene.times_of("unhealthy b").is_empty());
    let checks = scene.checks("b").asked();
    assert!(checks.len() >= 3 * 8640 - 1, "{} checks", checks.len());
    assert!(checks.windows(2).all(|pair| pair[1].since(pair[0]) < secs(11)));
    scene.term();
    scene.run_to_exit(secs(1));
}

fn check_that_cannot_be_killed_leaves_others_alone(lab: Lab) {
    let jobs = [job("a").checked(secs(1)), job("b").checked(secs(1))];
    let scene = Scene::of(jobs).check("a", Script::endless().unkillable());
    let mut scene = lab.begin(scene);
    scene.run_for(secs(400));
    assert_eq!(scene.checks("a").count(), 1, "one at a time, also a stuck one");
    assert_eq!(scene.times_of("unhealthy a").len(), 1);
    assert!((398..=400).contains(&scene.checks("b").count()));
    scene.term();
    scene.run_to_exit(secs(6));
}

fn crash_loop_of_one_job_leaves_another_alone(lab: Lab) {
    let jobs = [
        job("bad").unlimited().backoff(Backoff::default()),
        job("good").checked(secs(1)),
        job("tick").every(secs(1)),
    ];
    let scene = Scene::of(jobs).script("bad", Script::fails_to_start("no such file"));
    let mut scene = lab.begin(scene.script("tick", Script::ends(ms(1), 0)));
    scene.run_for(secs(100));
    let starts = scene.job("bad").count();
    assert!(starts < 20, "{starts} starts in a hundred seconds");
    assert_eq!(scene.job("tick").count(), 101);
    assert_eq!(scene.times_of("healthy good").len(), 1);
}

fn trigger_limit_expires_although_a_thousand_starts_wait(lab: Lab) {
    let jobs = [
        job("app"),
        job("busy").on(each_signal(SignalName::Hup)),
        job("late").on(each_signal(SignalName::Usr2)).gives_up_after(secs(5)),
    ];
    let mut scene = lab.begin(Scene::of(jobs));
    (0..1500).for_each(|_| scene.signal(SignalName::Hup));
    scene.run_until(at(6));
    assert_eq!(scene.time_of("stopped late"), at(5));
    scene.term();
    scene.run_to_exit(secs(1));
}

fn job_that_stops_slowly_delays_no_other(lab: Lab) {
    let scene = Scene::of([job("slow"), job("quick")]).stop_timeout(secs(30));
    let mut scene = lab.begin(scene.script("slow", Script::endless().stops(secs(20), 0)));
    scene.run_until(at(10));
    scene.term();
    scene.run_to_exit(secs(30));
    assert_eq!(scene.time_of("stopped quick"), at(10));
    assert_eq!(scene.time_of("stopped slow"), at(30));
}

fn waiting_starts_are_bounded(lab: Lab) {
    let jobs = [job("app"), job("busy").on(each_signal(SignalName::Hup))];
    let mut scene = lab.begin(Scene::of(jobs));
    (0..90_000).for_each(|_| scene.signal(SignalName::Hup));
    let pending = scene.world.node(NODE).engine().status().jobs[1].pending;
    assert_eq!(pending, steersman_engine::limits::PENDING_STARTS_MAX);
}

fn clock_that_runs_fast_keeps_its_own_grid(lab: Lab) {
    let jobs = [job("tick").every(secs(1)), job("echo").on(each(Code::ExitSuccess, "tick"))];
    let scene = Scene::of(jobs).script("tick", Script::ends(ms(1), 0));
    let mut scene = lab.begin(scene.script("echo", Script::ends(ms(1), 0)));
    scene.world.act(NODE, Action::ClockRate(100_000));
    scene.run_for(secs(100));
    let count = scene.job("tick").count();
    assert!((110..=112).contains(&count), "{count} runs of a clock that is a tenth too fast");
    assert!(scene.job("echo").count() >= count - 1);
}
