//! Reload: the difference, and nothing else; and a stop outranks it at any moment.

use steersman_engine::config::{Config, Repeat, Signal, Trigger};
use steersman_engine::effect::{Refusal, Reply};
use steersman_engine::event::SignalName;
use steersman_engine::input::Control;
use steersman_engine::{Code, Effect};
use steersman_sim::fixture::{
    JobBuilder, NODE, Scene, at, config, each, each_signal, global, job, ms, once, secs,
};
use steersman_sim::{Action, Script};

use crate::lab::{Lab, scenarios};

scenarios![
    unchanged_job_keeps_its_process_its_counts_and_its_health,
    changed_job_starts_when_its_old_process_has_gone,
    broken_file_changes_nothing,
    new_job_starts_and_removed_job_stops,
    change_that_does_not_concern_the_process_leaves_it_alone,
    changed_health_check_is_in_force,
    heartbeat_does_not_wait_for_a_check_that_cannot_be_killed,
    changed_trigger_is_in_force_and_the_old_one_is_not,
    reload_of_everything_restarts_everything,
    reload_with_a_job_on_each_stopping_completes,
    job_does_not_wait_for_what_a_reload_no_longer_has_react_to_its_stop,
    storm_of_reloads_ends_in_the_last_configuration,
    term_during_a_reload_wins,
    term_while_the_file_is_read_wins,
    reload_while_stopping_is_refused,
    twenty_jobs_that_end_at_the_reload_do_not_hurt,
    removed_job_that_takes_long_to_stop_is_killed_in_the_end,
    job_put_back_while_it_still_stops_runs_again,
    pending_triggers_survive_a_reload_that_does_not_concern_them,
    job_that_waits_for_the_past_of_a_replaced_job_ends,
];

fn changes(scene: &Scene, request: steersman_engine::RequestId) -> (Vec<String>, Vec<String>, u32) {
    match scene.reply(request) {
        Some(Reply::Reloaded(changes)) => {
            let names = |names: &[steersman_engine::config::Name]| {
                names.iter().map(ToString::to_string).collect::<Vec<_>>()
            };
            let touched = [&changes.added[..], &changes.removed, &changes.restarted].concat();
            (names(&touched), names(&changes.updated), changes.unchanged)
        }
        other => panic!("the reload was not done: {other:?}\n{}", scene.story()),
    }
}

fn app() -> JobBuilder {
    job("app").restarts(3).checked(secs(1))
}

fn unchanged_job_keeps_its_process_its_counts_and_its_health(lab: Lab) {
    let scene = Scene::of([app(), job("b")]).nth("app", 1, Script::ends(secs(2), 1));
    let scene = scene.nth("app", 2, Script::ends(secs(2), 1));
    let mut scene = lab.begin(scene.nth("app", 3, Script::ends(secs(20), 1)));
    scene.run_until(at(10));
    let before = (scene.job("app").count(), scene.times_of("healthy app").len());
    let request = scene.reload([app(), job("b").argv(["b", "--new"])]);
    scene.run_until(at(15));
    assert_eq!(changes(&scene, request), (vec!["b".into()], vec![], 1));
    assert_eq!((scene.job("app").count(), scene.times_of("healthy app").len()), before);
    assert!(scene.job("app").last().signals.is_empty());
    // Two of its three restarts are used up; the third is left.
    scene.set_script("app", Script::ends(secs(1), 1));
    scene.run_until(at(60));
    assert_eq!(scene.job("app").count(), 4);
}

fn changed_job_starts_when_its_old_process_has_gone(lab: Lab) {
    let scene = Scene::of([job("app")]).script("app", Script::endless().stops(secs(3), 0));
    let mut scene = lab.begin(scene);
    scene.run_until(at(10));
    let request = scene.reload([job("app").argv(["app", "--new"])]);
    scene.run_until(at(20));
    assert_eq!(changes(&scene, request).0, ["app"]);
    let runs = scene.job("app");
    assert_eq!(runs.count(), 2);
    assert_eq!(Some(runs.nth(2).asked), runs.nth(1).gone);
}

fn broken_file_changes_nothing(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app"), job("b")]));
    scene.run_until(at(10));
    let request = scene.reload_broken("line 3: there is no such key");
    scene.run_until(at(20));
    let reason = "line 3: there is no such key".into();
    assert_eq!(scene.reply(request), Some(&Reply::Refused(Refusal::BadConfig(reason))));
    assert_eq!(scene.exit(), None);
    assert!(scene.job("app").only().signals.is_empty());
    assert!(scene.job("b").only().signals.is_empty());
}

fn new_job_starts_and_removed_job_stops(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("a"), job("b")]));
    scene.run_until(at(10));
    let request = scene.reload([job("a"), job("c")]);
    scene.run_until(at(20));
    assert_eq!(changes(&scene, request), (vec!["c".into(), "b".into()], vec![], 1));
    assert!(scene.job("b").only().ended.is_some());
    assert_eq!(scene.times_of("stopped b").len(), 1);
    assert!(scene.job("c").is_live());
    assert!(scene.job("a").only().signals.is_empty());
}

fn change_that_does_not_concern_the_process_leaves_it_alone(lab: Lab) {
    let mut scene = lab.begin(Scene::of([app()]));
    scene.run_until(at(10));
    let request = scene.reload([app().restarts(7).kill_timeout(secs(3))]);
    scene.run_until(at(20));
    assert_eq!(changes(&scene, request), (vec![], vec!["app".into()], 0));
    assert!(scene.job("app").only().signals.is_empty());
}

fn changed_health_check_is_in_force(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app").checked(secs(1))]));
    scene.run_until(at(10));
    scene.reload([job("app").checked(secs(10))]);
    scene.run_until(at(12));
    let before = scene.checks("app").count();
    scene.run_until(at(62));
    let after = scene.checks("app").count() - before;
    assert!((4..=6).contains(&after), "{after} checks in 50 s");
    assert_eq!(scene.job("app").count(), 1);
}

fn heartbeat_does_not_wait_for_a_check_that_cannot_be_killed(lab: Lab) {
    let scene = Scene::of([job("app").checked(secs(1))]);
    let mut scene = lab.begin(scene.check("app", Script::endless().unkillable()));
    scene.run_until(at(5));
    assert!(scene.times_of("healthy app").is_empty());
    scene.reload([job("app").health(|health| health.command = None)]);
    scene.run_until(at(10));
    assert_eq!(scene.times_of("healthy app").len(), 1, "{}", scene.story());
    assert_eq!(scene.checks("app").count(), 1);
}

fn changed_trigger_is_in_force_and_the_old_one_is_not(lab: Lab) {
    use steersman_engine::event::SignalName::{Hup, Usr2};
    use steersman_sim::fixture::each_signal;
    for is_running in [false, true] {
        let scene = Scene::of([job("app"), job("react").on(each_signal(Hup))]);
        let mut scene = lab.begin(scene.script("react", Script::endless().stops(secs(2), 0)));
        scene.run_until(at(1));
        if is_running {
            scene.signal(Hup);
        }
        scene.run_until(at(2));
        let before = scene.job("react").count();
        scene.reload([job("app"), job("react").on(each_signal(Usr2))]);
        scene.run_until(at(10));
        assert_eq!(scene.job("react").count(), before, "{}", scene.story());
        scene.signal(Hup);
        scene.run_until(at(11));
        assert_eq!(scene.job("react").count(), before, "the old trigger: {}", scene.story());
        scene.signal(Usr2);
        scene.run_until(at(12));
        assert_eq!(scene.job("react").count(), before + 1, "{}", scene.story());
    }
}

fn reload_of_everything_restarts_everything(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("a"), job("b")]));
    scene.run_until(at(10));
    let request = scene.control(Control::Reload { all: true });
    scene.run_until(at(20));
    assert_eq!(changes(&scene, request).0.len(), 2);
    for name in ["a", "b"] {
        assert_eq!(scene.job(name).count(), 2);
        assert!(scene.job(name).is_live());
    }
}

fn reload_with_a_job_on_each_stopping_completes(lab: Lab) {
    let jobs = || [job("app"), job("hook").on(each(Code::Stopping, "app"))];
    let mut scene = lab.begin(Scene::of(jobs()).script("hook", Script::ends(secs(1), 0)));
    scene.run_until(at(10));
    let [_, hook] = jobs();
    let request = scene.reload([job("app").argv(["app", "--new"]), hook]);
    scene.run_until(at(20));
    assert_eq!(changes(&scene, request).0, ["app"]);
    assert_eq!(scene.job("app").count(), 2, "{}", scene.story());
    assert_eq!(scene.job("hook").count(), 1);
    assert!(scene.job("app").nth(2).asked >= at(11), "the hook was waited for");
}

fn job_does_not_wait_for_what_a_reload_no_longer_has_react_to_its_stop(lab: Lab) {
    use steersman_engine::event::SignalName::Hup;
    let scene = Scene::of([job("app"), job("hook").on(each(Code::Stopping, "app"))]);
    let mut scene = lab.begin(scene.stop_timeout(secs(60)));
    scene.run_until(at(10));
    let app = || job("app").argv(["app", "--new"]);
    scene.reload([app(), job("hook").on(each(Code::Stopping, "app"))]);
    scene.run_until(at(20));
    assert_eq!(scene.job("app").count(), 1, "it waits for the hook: {}", scene.story());
    assert!(scene.job("hook").is_live());
    scene.reload([app(), job("hook").on(each_signal(Hup))]);
    scene.run_until(at(22));
    assert_eq!(scene.job("app").count(), 2, "{}", scene.story());
    scene.run_until(at(100));
    assert!(scene.job("app").is_live() && !scene.job("hook").is_live());
}

fn storm_of_reloads_ends_in_the_last_configuration(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app").unlimited()]));
    scene.run_until(at(10));
    let mut requests = Vec::new();
    for nth in 0..300 {
        let argument = nth.to_string();
        requests.push(scene.reload([job("app").unlimited().argv(["app", &argument])]));
        scene.run_for(ms(3));
    }
    scene.run_for(secs(10));
    assert!(requests.iter().all(|request| scene.reply(*request).is_some()));
    let loads = scene.world.observer().other_effects(NODE);
    let loads = loads.filter(|(_, effect)| **effect == Effect::LoadConfig).count();
    assert!(loads <= 200, "{loads} readings in 0.9 s, each of which takes 5 ms");
    let engine = scene.world.node(NODE).engine();
    let command = engine.job(scene.job("app").last().run.job).and_then(|job| job.command.clone());
    assert_eq!(command.map(|command| command.argv[1].clone()).as_deref(), Some("299"));
    assert!(scene.job("app").is_live());
}

fn term_during_a_reload_wins(lab: Lab) {
    let main = || job("main").stop_timeout(secs(10));
    let hook = || job("hook").on(once(Code::Stopping, "main"));
    let scene = Scene::of([main(), hook()]).stop_timeout(secs(30));
    let mut scene = lab.begin(scene.script("hook", Script::ends(secs(3), 0)));
    scene.run_until(at(10));
    scene.reload([main().argv(["main", "--new"]), hook()]);
    scene.run_until(at(11));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    assert_eq!(scene.job("main").count(), 1, "{}", scene.story());
}

fn term_while_the_file_is_read_wins(lab: Lab) {
    let scene = Scene::of([job("app")]).script("app", Script::endless().stops(secs(2), 0));
    let mut scene = lab.begin(scene);
    scene.run_until(at(10));
    let request = scene.reload([job("app"), job("new")]);
    scene.term();
    assert_eq!(scene.run_to_exit(secs(10)), 0);
    assert_eq!(scene.job("new").count(), 0);
    assert_eq!(scene.reply(request), Some(&Reply::Refused(Refusal::Stopping)));
}

fn reload_while_stopping_is_refused(lab: Lab) {
    let scene = Scene::of([job("app")]).script("app", Script::endless().stops(secs(3), 0));
    let mut scene = lab.begin(scene);
    scene.run_until(at(10));
    scene.term();
    let reload = scene.reload([job("new")]);
    let restart = scene.control(Control::RestartJob { job: "app".into() });
    scene.run_to_exit(secs(10));
    assert_eq!(scene.reply(reload), Some(&Reply::Refused(Refusal::Stopping)));
    assert_eq!(scene.reply(restart), Some(&Reply::Refused(Refusal::Stopping)));
    assert_eq!(scene.job("app").count(), 1);
    assert_eq!(scene.job("new").count(), 0);
}

fn twenty_jobs_that_end_at_the_reload_do_not_hurt(lab: Lab) {
    let name = |nth: u64| format!("job{nth}");
    let jobs = |argument: &'static str| -> Vec<JobBuilder> {
        (0..25).map(|nth| job(&name(nth)).argv(["x", argument])).collect()
    };
    let mut scene = Scene::of(jobs("old"));
    for nth in 0..25 {
        scene = scene.script(&name(nth), Script::endless().stops(ms(nth), 0));
    }
    let mut scene = lab.begin(scene);
    scene.run_until(at(10));
    let request = scene.reload(jobs("new"));
    scene.run_for(ms(5 + 12));
    // Half of them have ended because they were told to; the others end by themselves now.
    for nth in 13..25 {
        scene.end_process(&name(nth), steersman_engine::input::ExitStatus::Code(0));
    }
    scene.run_for(secs(10));
    assert_eq!(scene.exit(), None);
    assert_eq!(changes(&scene, request).0.len(), 25);
    for nth in 0..25 {
        assert_eq!(scene.job(&name(nth)).count(), 2);
        assert!(scene.job(&name(nth)).is_live());
    }
}

fn removed_job_that_takes_long_to_stop_is_killed_in_the_end(lab: Lab) {
    let scene = Scene::of([job("a"), job("b").kill_timeout(secs(4))]);
    let mut scene = lab.begin(scene.script("b", Script::endless().ignores_stop()));
    scene.run_until(at(10));
    scene.reload([job("a")]);
    scene.run_until(at(30));
    let signals = &scene.job("b").only().signals;
    assert_eq!(
        signals.iter().map(|(_, signal)| *signal).collect::<Vec<_>>(),
        [Signal::TERM, Signal::KILL]
    );
    assert_eq!(signals[1].0.since(signals[0].0), secs(4));
}

fn job_put_back_while_it_still_stops_runs_again(lab: Lab) {
    let scene = Scene::of([job("a"), job("b")]);
    let mut scene = lab.begin(scene.script("b", Script::endless().stops(secs(3), 0)));
    scene.run_until(at(10));
    scene.reload([job("a")]);
    scene.run_until(at(11));
    scene.reload([job("a"), job("b")]);
    scene.run_until(at(30));
    let runs = scene.job("b");
    assert_eq!(runs.count(), 2, "{}", scene.story());
    assert!(Some(runs.nth(2).asked) >= runs.nth(1).gone);
    assert!(runs.is_live());
}

fn pending_triggers_survive_a_reload_that_does_not_concern_them(lab: Lab) {
    use steersman_sim::fixture::each_signal;
    let handler = || job("hup").on(each_signal(SignalName::Hup));
    let scene = Scene::of([job("app"), handler()]).script("hup", Script::ends(secs(2), 0));
    let mut scene = lab.begin(scene);
    scene.run_until(at(1));
    (0..4).for_each(|_| scene.signal(SignalName::Hup));
    scene.run_until(at(2));
    let file: Config = config([job("app").argv(["app", "--new"]), handler()]);
    scene.world.act(NODE, Action::WriteConfig(Ok(file)));
    scene.control(Control::Reload { all: false });
    scene.run_until(at(30));
    assert_eq!(scene.job("hup").count(), 4);
}

fn job_that_waits_for_the_past_of_a_replaced_job_ends(lab: Lab) {
    let api = || job("api").on(each_signal(SignalName::Usr2));
    let failed_once = vec![once(Code::ExitFailed, "api"), global(Code::Startup, Repeat::Each)];
    let alarm = || job("alarm").when(Trigger::All(failed_once.clone()));
    let scene = Scene::of([api(), alarm()]).nth("api", 1, Script::ends(secs(1), 1));
    let mut scene = lab.begin(scene.script("alarm", Script::ends(secs(1), 0)));
    scene.run_until(at(1));
    scene.signal(SignalName::Usr2);
    scene.run_until(at(5));
    assert_eq!((scene.job("api").count(), scene.job("alarm").count()), (1, 1));
    assert!(scene.times_of("stopped alarm").is_empty(), "the failure still holds");
    scene.reload([api().argv(["api", "--new"]), alarm()]);
    scene.run_until(at(10));
    assert_eq!(scene.times_of("stopped alarm").len(), 1, "{}", scene.story());
}
