//! Maintenance: a state of the supervisor, not of one status word.

use steersman_engine::Code;
use steersman_engine::config::Repeat;
use steersman_engine::effect::Reply;
use steersman_engine::input::ExitStatus;
use steersman_sim::Script;
use steersman_sim::fixture::{Scene, at, global, job, ms, secs};

use crate::lab::{Lab, scenarios};

scenarios![
    maintenance_stops_the_checks_and_leaving_it_resumes_them,
    maintenance_starts_the_jobs_that_react_to_it,
    maintenance_switched_on_twice_is_on_once,
    maintenance_survives_the_end_of_a_process,
    check_in_flight_when_maintenance_begins_says_nothing,
    leaving_maintenance_announces_health_again,
];

fn maintenance_stops_the_checks_and_leaving_it_resumes_them(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app").checked(secs(1))]));
    scene.run_until(at(5));
    scene.maintenance(true);
    let before = scene.checks("app").count();
    scene.run_until(at(60));
    assert_eq!(scene.checks("app").count(), before);
    assert!(scene.job("app").is_live());
    scene.maintenance(false);
    scene.run_until(at(70) + ms(500));
    assert_eq!(scene.checks("app").count(), before + 10);
}

fn maintenance_starts_the_jobs_that_react_to_it(lab: Lab) {
    let jobs = [
        job("app"),
        job("enter").on(global(Code::EnterMaintenance, Repeat::Each)),
        job("leave").on(global(Code::ExitMaintenance, Repeat::Each)),
    ];
    let scene = Scene::of(jobs).script("enter", Script::ends(ms(10), 0));
    let mut scene = lab.begin(scene.script("leave", Script::ends(ms(10), 0)));
    for nth in 1..=2 {
        scene.run_for(secs(5));
        scene.maintenance(true);
        scene.run_for(secs(5));
        assert_eq!((scene.job("enter").count(), scene.job("leave").count()), (nth, nth - 1));
        scene.maintenance(false);
        scene.run_for(secs(5));
        assert_eq!((scene.job("enter").count(), scene.job("leave").count()), (nth, nth));
    }
}

fn maintenance_switched_on_twice_is_on_once(lab: Lab) {
    let jobs = [job("app"), job("enter").on(global(Code::EnterMaintenance, Repeat::Each))];
    let mut scene = lab.begin(Scene::of(jobs).script("enter", Script::ends(ms(10), 0)));
    scene.run_until(at(5));
    let off = scene.maintenance(false);
    let on = scene.maintenance(true);
    let again = scene.maintenance(true);
    scene.run_until(at(10));
    assert_eq!(scene.reply(off), Some(&Reply::Unchanged));
    assert!(matches!(scene.reply(on), Some(Reply::Changed(_))));
    assert_eq!(scene.reply(again), Some(&Reply::Unchanged));
    assert_eq!(scene.times_of("enterMaintenance").len(), 1);
    assert_eq!(scene.job("enter").count(), 1);
}

fn maintenance_survives_the_end_of_a_process(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app").unlimited().checked(secs(1))]));
    scene.run_until(at(5));
    scene.maintenance(true);
    scene.run_until(at(10));
    let before = scene.checks("app").count();
    scene.end_process("app", ExitStatus::Code(1));
    scene.run_until(at(20));
    assert_eq!(scene.job("app").count(), 2);
    assert_eq!(scene.checks("app").count(), before, "no check before maintenance is over");
    assert!(scene.world.node(steersman_sim::fixture::NODE).engine().status().maintenance);
}

fn check_in_flight_when_maintenance_begins_says_nothing(lab: Lab) {
    let app = job("app").health(|health| {
        health.interval = secs(5);
        health.timeout = secs(5);
    });
    let mut slow = Script::ends(secs(2), 1);
    slow.killed_after = Some(secs(10));
    let mut scene = lab.begin(Scene::of([app]).check("app", slow));
    scene.run_until(at(6));
    assert_eq!(scene.checks("app").count(), 1);
    scene.maintenance(true);
    scene.run_until(at(20));
    assert!(scene.times_of("unhealthy app").is_empty(), "{}", scene.story());
}

fn leaving_maintenance_announces_health_again(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app").checked(secs(1))]));
    scene.run_until(at(5));
    scene.maintenance(true);
    scene.run_until(at(10));
    scene.maintenance(false);
    scene.run_until(at(15));
    assert_eq!(scene.times_of("healthy app").len(), 2);
}
