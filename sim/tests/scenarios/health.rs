//! Health: what checks say, when that is an event, and who a result is about.

use steersman_engine::Code;
use steersman_engine::config::Signal;
use steersman_engine::input::ExitStatus;
use steersman_sim::Script;
use steersman_sim::fixture::{JobBuilder, Scene, at, each, job, ms, once, secs};

use crate::lab::{Lab, scenarios};

scenarios![
    job_that_stays_healthy_says_so_once,
    job_that_stays_unhealthy_says_so_once,
    every_change_of_health_is_an_event,
    first_result_is_an_event_also_when_it_is_bad,
    first_check_comes_one_interval_after_the_start,
    check_runs_only_while_its_process_does,
    failures_below_the_limit_in_a_row_are_forgiven,
    failures_in_the_start_period_do_not_count,
    failures_after_the_first_success_count_also_in_the_start_period,
    start_interval_finds_readiness_sooner,
    check_that_takes_too_long_has_failed_and_is_killed,
    late_success_of_a_check_that_took_too_long_does_not_count,
    check_that_was_begun_before_a_crash_says_nothing_about_the_next_process,
    new_process_has_to_prove_itself_anew,
    every_check_is_an_end_that_jobs_can_react_to,
    check_that_cannot_be_started_has_failed,
    check_without_a_command_follows_the_process,
    at_most_one_check_runs_at_a_time,
    child_left_by_a_check_is_killed,
];

fn checked() -> JobBuilder {
    job("app").checked(secs(1))
}

fn passes() -> Script {
    Script::ends(ms(10), 0)
}

fn fails() -> Script {
    Script::ends(ms(10), 1)
}

fn job_that_stays_healthy_says_so_once(lab: Lab) {
    let jobs = [checked(), job("react").on(each(Code::Healthy, "app"))];
    let mut scene = lab.begin(Scene::of(jobs).script("react", passes()));
    scene.run_for(secs(9));
    assert_eq!(scene.checks("app").count(), 8);
    assert_eq!(scene.times_of("healthy app").len(), 1);
    assert_eq!(scene.job("react").count(), 1);
}

fn job_that_stays_unhealthy_says_so_once(lab: Lab) {
    let jobs = [checked(), job("react").on(each(Code::Unhealthy, "app"))];
    let mut scene = lab.begin(Scene::of(jobs).check("app", fails()).script("react", passes()));
    scene.run_for(secs(9));
    assert_eq!(scene.times_of("unhealthy app").len(), 1);
    assert_eq!(scene.job("react").count(), 1);
}

fn every_change_of_health_is_an_event(lab: Lab) {
    let scene = Scene::of([checked()]).check_from("app", at(5), fails());
    let mut scene = lab.begin(scene.check_from("app", at(10), passes()));
    scene.run_for(secs(20));
    let healthy = scene.times_of("healthy app");
    let unhealthy = scene.times_of("unhealthy app");
    assert_eq!((healthy.len(), unhealthy.len()), (2, 1));
    assert!(healthy[0] < unhealthy[0] && unhealthy[0] < healthy[1]);
}

fn first_result_is_an_event_also_when_it_is_bad(lab: Lab) {
    let jobs = [checked(), job("react").on(once(Code::Unhealthy, "app"))];
    let mut scene = lab.begin(Scene::of(jobs).check("app", fails()).script("react", passes()));
    scene.run_for(secs(3));
    assert_eq!(scene.job("react").count(), 1);
}

fn first_check_comes_one_interval_after_the_start(lab: Lab) {
    let app = job("app").checked(secs(10));
    let mut scene =
        lab.begin(Scene::of([app]).script("app", Script::endless().starts_after(secs(3))));
    scene.run_for(secs(35));
    assert_eq!(scene.checks("app").asked(), [at(13), at(23), at(33)]);
}

fn check_runs_only_while_its_process_does(lab: Lab) {
    let jobs = [job("first"), checked().on(once(Code::ExitSuccess, "first"))];
    let scene = Scene::of(jobs).script("first", Script::ends(secs(20), 0));
    let mut scene = lab.begin(scene.script("app", Script::ends(ms(3500), 0)));
    scene.run_to_exit(secs(60));
    let checks = scene.checks("app");
    assert_eq!(checks.count(), 3);
    let app = scene.job("app").only();
    assert!(checks.asked()[0] > app.started.expect("it has started"));
}

fn failures_below_the_limit_in_a_row_are_forgiven(lab: Lab) {
    let app = checked().health(|health| health.retries = 3);
    let scene = Scene::of([app]).check_from("app", at(5), fails());
    let scene = scene.check_from("app", at(7), passes()).check_from("app", at(10), fails());
    let mut scene = lab.begin(scene);
    scene.run_until(at(9));
    assert!(scene.times_of("unhealthy app").is_empty(), "two failures, then a success");
    scene.run_until(at(20));
    let unhealthy = scene.time_of("unhealthy app");
    let failed = scene.times_of("exitFailed check.app");
    assert_eq!(unhealthy, failed[4], "the third of the second row");
}

fn slow_to_boot() -> JobBuilder {
    job("app").health(|health| {
        health.interval = secs(10);
        health.start_period = secs(60);
    })
}

fn failures_in_the_start_period_do_not_count(lab: Lab) {
    let scene = Scene::of([slow_to_boot()]).check("app", fails());
    let mut scene = lab.begin(scene.check_from("app", at(45), passes()));
    scene.run_for(secs(100));
    assert!(scene.times_of("unhealthy app").is_empty(), "{}", scene.story());
    assert_eq!(scene.times_of("healthy app").len(), 1);

    let mut scene = lab.begin(Scene::of([slow_to_boot()]).check("app", fails()));
    scene.run_for(secs(100));
    let unhealthy = scene.time_of("unhealthy app");
    assert!(unhealthy >= at(60) && unhealthy <= at(71), "the first failure after the period");
}

fn failures_after_the_first_success_count_also_in_the_start_period(lab: Lab) {
    let scene = Scene::of([slow_to_boot()]).check("app", passes());
    let mut scene = lab.begin(scene.check_from("app", at(15), fails()));
    scene.run_for(secs(50));
    assert_eq!(scene.times_of("healthy app").len(), 1);
    assert!(scene.time_of("unhealthy app") < at(21), "{}", scene.story());
}

fn start_interval_finds_readiness_sooner(lab: Lab) {
    let app = slow_to_boot().health(|health| {
        health.interval = secs(10);
        health.start_period = secs(60);
        health.start_interval = Some(secs(1));
    });
    let scene = Scene::of([app]).check("app", fails()).check_from("app", at(4), passes());
    let mut scene = lab.begin(scene);
    scene.run_until(at(40));
    let healthy = scene.time_of("healthy app");
    assert!(healthy <= at(6), "{}", scene.story());
    let after: Vec<_> = scene.checks("app").asked();
    let after = after.iter().filter(|asked| **asked > healthy + secs(2)).count();
    assert!((3..=4).contains(&after), "{after} checks after readiness, one in ten seconds");
}

fn check_that_takes_too_long_has_failed_and_is_killed(lab: Lab) {
    let app = job("app").health(|health| {
        health.interval = secs(10);
        health.timeout = secs(3);
    });
    let scene = Scene::of([app]).check("app", Script::endless().ignores_stop());
    let mut scene = lab.begin(scene);
    scene.run_until(at(18));
    let check = scene.checks("app").only().clone();
    let killed = check.signalled(Signal::KILL).expect("it is killed");
    assert!(killed >= at(13) && killed <= at(13) + ms(10));
    assert_eq!(scene.time_of("unhealthy app"), killed);
    scene.run_until(at(30));
    assert_eq!(scene.checks("app").count(), 2, "the next check comes as if nothing had been");
}

fn late_success_of_a_check_that_took_too_long_does_not_count(lab: Lab) {
    let app = job("app").health(|health| {
        health.interval = secs(10);
        health.timeout = secs(3);
    });
    let mut slow = Script::ends(secs(5), 0);
    slow.killed_after = Some(secs(60));
    let mut scene = lab.begin(Scene::of([app]).check("app", slow));
    scene.run_until(at(18));
    assert_eq!(scene.times_of("unhealthy app").len(), 1);
    assert!(scene.times_of("healthy app").is_empty(), "{}", scene.story());
}

/// The check begins at 3 s and passes at 5 s; the process crashes at 4 s and is started again.
fn check_that_was_begun_before_a_crash_says_nothing_about_the_next_process(lab: Lab) {
    let app = job("app").unlimited().health(|health| {
        health.interval = secs(3);
        health.timeout = secs(3);
    });
    let mut slow = Script::ends(secs(2), 0);
    slow.killed_after = Some(secs(10));
    let mut scene = lab.begin(Scene::of([app]).check("app", slow));
    scene.run_until(at(4));
    scene.end_process("app", ExitStatus::Code(1));
    scene.run_until(at(6));
    assert_eq!(scene.job("app").count(), 2);
    assert!(scene.times_of("healthy app").is_empty(), "{}", scene.story());
    scene.run_until(at(20));
    assert_eq!(scene.times_of("healthy app").len(), 1);
}

fn new_process_has_to_prove_itself_anew(lab: Lab) {
    let mut scene = lab.begin(Scene::of([checked().unlimited()]));
    scene.run_until(at(5));
    scene.end_process("app", ExitStatus::Signal(9));
    scene.run_until(at(10));
    assert_eq!(scene.times_of("healthy app").len(), 2);
    scene.end_process("app", ExitStatus::Signal(9));
    scene.set_check("app", fails());
    scene.run_until(at(15));
    assert_eq!(scene.times_of("unhealthy app").len(), 1);
}

fn every_check_is_an_end_that_jobs_can_react_to(lab: Lab) {
    let mut scene = lab.begin(Scene::of([checked()]).check_from("app", at(5), fails()));
    scene.run_until(at(8) + ms(500));
    assert_eq!(scene.times_of("exitSuccess check.app").len(), 4, "{}", scene.story());
    assert_eq!(scene.times_of("exitFailed check.app").len(), 4);
}

fn check_that_cannot_be_started_has_failed(lab: Lab) {
    let scene = Scene::of([checked()]).check("app", Script::fails_to_start("no such file"));
    let mut scene = lab.begin(scene);
    scene.run_until(at(5));
    assert_eq!(scene.times_of("unhealthy app").len(), 1);
    assert_eq!(scene.checks("app").count(), 4);
}

fn check_without_a_command_follows_the_process(lab: Lab) {
    let app = job("app").unlimited().health(|health| health.command = None);
    let mut scene = lab.begin(Scene::of([app]));
    scene.run_until(at(5));
    assert_eq!(scene.times_of("healthy app").len(), 1);
    assert_eq!(scene.checks("app").count(), 0);
}

fn at_most_one_check_runs_at_a_time(lab: Lab) {
    let app = job("app").health(|health| {
        health.interval = secs(1);
        health.timeout = secs(30);
    });
    let mut scene = lab.begin(Scene::of([app]).check("app", Script::ends(ms(3500), 0)));
    scene.run_until(at(60));
    let count = scene.checks("app").count();
    assert!((14..=17).contains(&count), "{count} checks of 3.5 s in a minute");
}

fn child_left_by_a_check_is_killed(lab: Lab) {
    let scene = Scene::of([checked()]).check("app", passes().leaves(None, false));
    let mut scene = lab.begin(scene);
    scene.run_until(at(10));
    let checks = scene.checks("app");
    assert!(checks.count() >= 8, "{} checks in ten seconds", checks.count());
    assert!(checks.0[..7].iter().all(|check| check.gone.is_some()));
    assert_eq!(scene.times_of("healthy app").len(), 1);
}
