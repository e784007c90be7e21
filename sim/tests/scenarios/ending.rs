//! How processes end, what that means for the container, and what late results mean.

use steersman_engine::config::Signal;
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{Code, Input, RunId};
use steersman_sim::fixture::{NODE, Scene, at, job, ms, once, secs};
use steersman_sim::{Action, Script};

use crate::lab::{Lab, scenarios};

scenarios![
    container_ends_with_its_last_process,
    container_ends_with_the_status_of_the_first_failure,
    container_killed_by_a_signal_shows_128_more,
    failure_that_a_restart_mends_is_forgiven,
    essential_job_ends_the_container_with_its_status,
    essential_job_that_is_restarted_does_not_end_the_container,
    run_that_takes_too_long_is_killed,
    run_timeout_of_one_run_does_not_touch_the_next,
    process_that_leaves_a_child_has_exited_when_it_has,
    child_left_behind_is_ended,
    child_left_behind_that_ignores_signals_is_killed,
    late_result_of_an_earlier_run_changes_nothing,
    repeated_result_counts_once,
    gone_process_is_never_signalled,
];

fn container_ends_with_its_last_process(lab: Lab) {
    let scene = Scene::of([job("a"), job("b")]).script("a", Script::ends(secs(1), 0));
    let mut scene = lab.begin(scene.script("b", Script::ends(secs(2), 0)));
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    assert_eq!(
        scene.exit().map(|(at, _)| at),
        Some(scene.job("b").ends()[0]),
        "not a moment later"
    );
}

fn container_ends_with_the_status_of_the_first_failure(lab: Lab) {
    let scene = Scene::of([job("a"), job("b"), job("c")]).script("a", Script::ends(secs(3), 7));
    let scene = scene.script("b", Script::ends(secs(1), 10)).script("c", Script::ends(secs(5), 0));
    assert_eq!(lab.begin(scene).run_to_exit(secs(30)), 10);
}

fn container_killed_by_a_signal_shows_128_more(lab: Lab) {
    let scene = Scene::of([job("a")]).script("a", Script::crashes(secs(1), 11));
    assert_eq!(lab.begin(scene).run_to_exit(secs(30)), 139);
}

fn failure_that_a_restart_mends_is_forgiven(lab: Lab) {
    let scene = Scene::of([job("a").restarts(1)]).nth("a", 1, Script::ends(secs(1), 9));
    let mut scene = lab.begin(scene.nth("a", 2, Script::ends(secs(1), 0)));
    assert_eq!(scene.run_to_exit(secs(30)), 0);
}

fn essential_job_ends_the_container_with_its_status(lab: Lab) {
    let scene = Scene::of([job("main").essential(), job("side").unlimited()]);
    let mut scene = lab.begin(scene.script("main", Script::ends(secs(5), 10)));
    assert_eq!(scene.run_to_exit(secs(30)), 10);
    assert_eq!(scene.job("side").only().signals.len(), 1);
    assert!(scene.exit().is_some_and(|(ended, _)| ended < at(6)));
}

fn essential_job_that_is_restarted_does_not_end_the_container(lab: Lab) {
    let scene = Scene::of([job("main").essential().restarts(2), job("side")]);
    let mut scene = lab.begin(scene.script("main", Script::ends(secs(5), 10)));
    scene.run_for(secs(11));
    assert_eq!(scene.exit(), None);
    assert_eq!(scene.run_to_exit(secs(10)), 10);
}

fn run_that_takes_too_long_is_killed(lab: Lab) {
    let jobs = [job("slow").timeout(secs(3)), job("then").on(once(Code::ExitFailed, "slow"))];
    let scene = Scene::of(jobs).script("slow", Script::endless().ignores_stop());
    let mut scene = lab.begin(scene.script("then", Script::ends(secs(1), 0)));
    scene.run_to_exit(secs(30));
    let run = scene.job("slow").only().clone();
    assert_eq!(run.signals.first().map(|(_, signal)| *signal), Some(Signal::KILL));
    let killed = run.signals[0].0;
    assert!(killed >= at(3) && killed <= at(3) + ms(10), "killed at {killed:?}");
    assert_eq!(scene.job("then").count(), 1);
}

fn run_timeout_of_one_run_does_not_touch_the_next(lab: Lab) {
    let scene = Scene::of([job("app").timeout(secs(3)).restarts(1)]);
    let scene =
        scene.nth("app", 1, Script::ends(secs(2), 0)).nth("app", 2, Script::ends(ms(2500), 0));
    let mut scene = lab.begin(scene);
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    assert!(scene.job("app").0.iter().all(|run| run.signals.is_empty()), "{}", scene.story());
}

fn process_that_leaves_a_child_has_exited_when_it_has(lab: Lab) {
    let jobs = [job("pre"), job("main").on(once(Code::ExitSuccess, "pre"))];
    let leaves = Script::ends(secs(1), 0).leaves(Some(secs(12)), false);
    let scene = Scene::of(jobs).script("pre", leaves);
    let mut scene = lab.begin(scene.script("main", Script::ends(secs(1), 0)));
    scene.run_to_exit(secs(60));
    assert_eq!(scene.job("main").only().asked, scene.job("pre").ends()[0]);
}

fn child_left_behind_is_ended(lab: Lab) {
    let leaves = Script::ends(secs(1), 0).leaves(None, true);
    let mut scene = lab.begin(Scene::of([job("app")]).script("app", leaves));
    assert_eq!(scene.run_to_exit(secs(2)), 0);
    assert!(scene.job("app").only().gone.is_some());
}

fn child_left_behind_that_ignores_signals_is_killed(lab: Lab) {
    let leaves = Script::ends(secs(1), 0).leaves(None, false);
    let jobs = [job("app").kill_timeout(secs(2)), job("other")];
    let mut scene = lab.begin(Scene::of(jobs).script("app", leaves));
    scene.run_for(secs(20));
    let run = scene.job("app").only().clone();
    let killed = run.signalled(Signal::KILL).expect("it is killed in the end");
    assert!(killed >= at(3) && killed <= at(4), "killed at {killed:?}");
    assert_eq!(scene.times_of("stopped app"), [run.gone.expect("it has gone")]);
}

/// Crashes at 2 s and runs again.
fn crashed_once(lab: Lab) -> (Scene, RunId) {
    let scene = Scene::of([job("app").unlimited()]).nth("app", 1, Script::ends(secs(2), 1));
    let mut scene = lab.begin(scene);
    scene.run_for(secs(5));
    let first = scene.job("app").nth(1).run;
    assert_eq!(scene.job("app").count(), 2);
    (scene, first)
}

fn exited(run: RunId, code: u8) -> Input {
    Input::Exited { run, status: ExitStatus::Code(code), tree: Tree::Gone, output: "".into() }
}

fn late_result_of_an_earlier_run_changes_nothing(lab: Lab) {
    let (mut scene, first) = crashed_once(lab);
    scene.judge_myself();
    let before = scene.events();
    scene.world.act(NODE, Action::Inject(exited(first, 0)));
    scene.world.act(NODE, Action::Inject(Input::TreeGone { run: first }));
    let failed = Input::StartFailed { run: first, reason: "late".into() };
    scene.world.act(NODE, Action::Inject(failed));
    scene.world.act(NODE, Action::Inject(Input::Started { run: first, pid: 999 }));
    scene.run_for(secs(10));
    assert_eq!(scene.events(), before);
    assert_eq!(scene.job("app").count(), 2);
    let status = scene.world.node(NODE).engine().status();
    assert_ne!(status.jobs[0].pid, Some(999));
}

fn repeated_result_counts_once(lab: Lab) {
    let scene = Scene::of([job("app").restarts(1), job("other")]);
    let mut scene = lab.begin(scene.script("app", Script::ends(secs(2), 1)));
    scene.judge_myself();
    scene.run_for(secs(10));
    let last = scene.job("app").last().run;
    let before = scene.events();
    scene.world.act(NODE, Action::Inject(exited(last, 1)));
    scene.run_for(secs(10));
    assert_eq!(scene.events(), before);
    assert_eq!(scene.job("app").count(), 2);
}

fn gone_process_is_never_signalled(lab: Lab) {
    let scene = Scene::of([job("app").restarts(2).timeout(secs(60)), job("other")]);
    let mut scene = lab.begin(scene.script("app", Script::ends(secs(1), 0)));
    scene.run_for(secs(100));
    scene.term();
    scene.run_to_exit(secs(10));
    assert!(scene.job("app").0.iter().all(|run| run.signals.is_empty()), "{}", scene.story());
}
