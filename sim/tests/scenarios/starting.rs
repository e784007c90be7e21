//! When jobs start: triggers, levels, intervals, schedules, and what cannot happen any more.

use steersman_engine::Code;
use steersman_engine::config::{Repeat, Restarts, Trigger};
use steersman_engine::effect::Message;
use steersman_engine::event::SignalName;
use steersman_engine::schedule::Schedule;
use steersman_sim::clock::WALL_ORIGIN_MS;
use steersman_sim::fixture::{NODE, Scene, at, each, each_signal, global, job, ms, once, secs};
use steersman_sim::{Action, Script};

use crate::lab::{Lab, scenarios};

scenarios![
    job_without_a_trigger_runs_once_at_startup,
    job_on_the_global_startup_runs_at_startup,
    job_on_the_first_event_ignores_the_later_ones,
    job_on_each_event_runs_as_often,
    triggers_during_a_run_are_all_honoured_afterwards,
    second_start_event_during_a_run_changes_nothing,
    failing_start_is_a_failed_end,
    reaction_to_failure_runs_at_failure_only,
    interval_job_runs_on_the_grid_counted_from_startup,
    interval_job_slower_than_its_interval_keeps_one_tick,
    interval_job_ends_after_its_runs,
    paused_supervisor_catches_up_with_one_tick,
    job_gives_up_when_its_trigger_does_not_come,
    fast_predecessor_does_not_end_its_successor,
    condition_over_several_sources_is_judged_on_levels,
    condition_of_all_does_not_fire_on_one,
    any_of_several_sources_starts,
    signal_before_its_target_is_ready_is_delivered_when_it_is,
    job_whose_source_ended_is_skipped_and_so_are_those_behind_it,
    job_without_a_command_keeps_the_container_alive,
    schedule_runs_at_its_times,
    schedule_does_not_repeat_a_time_after_the_wall_clock_went_back,
    schedule_skips_times_the_wall_clock_jumped_over,
];

fn job_without_a_trigger_runs_once_at_startup(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app")]).script("app", Script::ends(secs(3), 0)));
    scene.run_to_exit(secs(30));
    assert_eq!(scene.job("app").only().asked, at(0));
    assert_eq!(scene.events(), ["startup ", "exitSuccess app", "stopping app", "stopped app"],);
}

fn job_on_the_global_startup_runs_at_startup(lab: Lab) {
    for repeat in [Repeat::Once, Repeat::Each] {
        let scene = Scene::of([job("app").on(global(Code::Startup, repeat))]);
        let mut scene = lab.begin(scene.script("app", Script::ends(secs(1), 0)));
        scene.run_to_exit(secs(5));
        assert_eq!(scene.job("app").only().asked, at(0));
    }
}

fn job_on_the_first_event_ignores_the_later_ones(lab: Lab) {
    let jobs = [job("a").restarts(3), job("b").on(once(Code::ExitSuccess, "a"))];
    let scene = Scene::of(jobs).script("a", Script::ends(secs(1), 0));
    let mut scene = lab.begin(scene.script("b", Script::ends(ms(1500), 0)));
    scene.run_to_exit(secs(30));
    assert_eq!(scene.job("a").count(), 4);
    assert_eq!(scene.job("b").only().asked, scene.job("a").ends()[0]);
}

fn job_on_each_event_runs_as_often(lab: Lab) {
    let jobs = [job("a").restarts(3), job("b").on(each(Code::ExitSuccess, "a"))];
    let scene = Scene::of(jobs).script("a", Script::ends(secs(1), 0));
    let mut scene = lab.begin(scene.script("b", Script::ends(ms(100), 0)));
    scene.run_to_exit(secs(30));
    assert_eq!(scene.job("b").asked(), scene.job("a").ends());
}

fn triggers_during_a_run_are_all_honoured_afterwards(lab: Lab) {
    let jobs = [job("app"), job("hup").on(each_signal(SignalName::Hup))];
    let mut scene = lab.begin(Scene::of(jobs).script("hup", Script::ends(secs(6), 0)));
    for _ in 0..5 {
        scene.run_for(ms(100));
        scene.signal(SignalName::Hup);
    }
    scene.run_for(secs(60));
    assert_eq!(scene.job("hup").count(), 5, "{}", scene.story());
}

fn second_start_event_during_a_run_changes_nothing(lab: Lab) {
    let jobs =
        [job("a").unlimited().checked(secs(1)), job("j").on(once(Code::Healthy, "a")).unlimited()];
    let scene = Scene::of(jobs).nth("a", 1, Script::ends(secs(5), 1));
    let mut scene = lab.begin(scene);
    scene.run_for(secs(30));
    assert_eq!(scene.times_of("healthy a").len(), 2, "healthy again after the crash");
    assert_eq!(scene.job("j").only().ended, None);
}

fn failing_start_is_a_failed_end(lab: Lab) {
    let jobs = [job("app"), job("b").on(once(Code::ExitFailed, "app"))];
    let scene = Scene::of(jobs).script("app", Script::fails_to_start("no such file"));
    let mut scene = lab.begin(scene.script("b", Script::ends(ms(100), 0)));
    let status = scene.run_to_exit(secs(30));
    assert_ne!(status, 0);
    assert_eq!(scene.job("b").count(), 1);
    assert_eq!(scene.times_of("exitFailed app").len(), 1);
}

fn reaction_to_failure_runs_at_failure_only(lab: Lab) {
    let jobs = [job("app").restarts(3), job("mourn").on(each(Code::ExitFailed, "app"))];
    let scene = Scene::of(jobs).script("app", Script::ends(secs(1), 0));
    let scene =
        scene.nth("app", 2, Script::ends(secs(1), 7)).nth("app", 3, Script::crashes(secs(1), 11));
    let mut scene = lab.begin(scene.script("mourn", Script::ends(ms(10), 0)));
    scene.run_to_exit(secs(30));
    assert_eq!(scene.job("mourn").asked(), scene.job("app").ends()[1..3]);
}

fn interval_job_runs_on_the_grid_counted_from_startup(lab: Lab) {
    let scene = Scene::of([job("tick").every(secs(5))]);
    let mut scene = lab.begin(scene.script("tick", Script::ends(ms(1700), 0)));
    scene.run_until(at(21));
    assert_eq!(scene.job("tick").asked(), [at(0), at(5), at(10), at(15), at(20)]);
}

fn interval_job_slower_than_its_interval_keeps_one_tick(lab: Lab) {
    let jobs = [job("tick").every(secs(5)), job("other").every(secs(1))];
    let scene = Scene::of(jobs).script("tick", Script::ends(secs(12), 0));
    let mut scene = lab.begin(scene.script("other", Script::ends(ms(1), 0)));
    scene.run_until(at(100));
    scene.set_script("tick", Script::ends(ms(10), 0));
    let slow = scene.job("tick").count();
    assert!((7..=9).contains(&slow), "{slow} runs of 12 s in 100 s");
    scene.run_until(at(200));
    // The ticks of the slow hundred seconds have not piled up.
    let fast = scene.job("tick").count() - slow;
    assert!((17..=22).contains(&fast), "{fast} runs in the second hundred seconds");
    assert!(scene.job("tick").asked()[slow + 2..].iter().all(|asked| asked.0 % 5_000_000_000 == 0));
}

fn interval_job_ends_after_its_runs(lab: Lab) {
    let scene = Scene::of([job("tick").every(secs(5)).restarts(2)]);
    let mut scene = lab.begin(scene.script("tick", Script::ends(secs(1), 0)));
    assert_eq!(scene.run_to_exit(secs(60)), 0);
    assert_eq!(scene.job("tick").asked(), [at(0), at(5), at(10)]);
}

fn paused_supervisor_catches_up_with_one_tick(lab: Lab) {
    let scene = Scene::of([job("tick").every(secs(1))]);
    let mut scene = lab.begin(scene.script("tick", Script::ends(ms(10), 0)));
    scene.run_until(at(10) + ms(500));
    scene.world.act(NODE, Action::Pause);
    scene.run_for(secs(3600));
    scene.world.act(NODE, Action::Resume);
    let before = scene.job("tick").count();
    scene.run_for(secs(10));
    let after = scene.job("tick").count() - before;
    assert!((9..=12).contains(&after), "{after} runs in 10 s after the pause");
}

fn job_gives_up_when_its_trigger_does_not_come(lab: Lab) {
    let jobs = [
        job("app"),
        job("late").on(each_signal(SignalName::Hup)).gives_up_after(secs(3)),
        job("after").on(once(Code::Stopped, "late")),
    ];
    let mut scene = lab.begin(Scene::of(jobs).script("after", Script::ends(ms(10), 0)));
    scene.run_for(secs(10));
    assert_eq!(scene.time_of("timerExpired late"), at(3));
    assert_eq!(scene.time_of("stopping late"), at(3));
    assert_eq!(scene.time_of("stopped late"), at(3));
    assert_eq!(scene.job("after").count(), 1);
    scene.signal(SignalName::Hup);
    scene.run_for(secs(10));
    assert_eq!(scene.job("late").count(), 0, "it has given up");
}

fn fast_predecessor_does_not_end_its_successor(lab: Lab) {
    let jobs = [job("one"), job("two").on(once(Code::ExitSuccess, "one")).gives_up_after(secs(1))];
    let scene = Scene::of(jobs).script("one", Script::ends(ms(1), 0));
    let mut scene = lab.begin(scene.script("two", Script::ends(secs(5), 0)));
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    assert!(scene.times_of("timerExpired two").is_empty());
    assert_eq!(scene.job("two").only().signals, []);
}

fn condition_over_several_sources_is_judged_on_levels(lab: Lab) {
    let both = Trigger::All(vec![once(Code::Healthy, "a"), once(Code::Healthy, "b")]);
    let jobs = [job("a").checked(secs(1)), job("b").checked(secs(1)), job("c").when(both)];
    let fails = Script::ends(ms(10), 1);
    let passes = Script::ends(ms(10), 0);
    let scene = Scene::of(jobs)
        .check_from("a", at(5), fails.clone())
        .check_from("a", at(15), passes.clone())
        .check("b", fails)
        .check_from("b", at(10), passes);
    let mut scene = lab.begin(scene);
    // a is healthy, then unhealthy; b becomes healthy meanwhile; then a is healthy again.
    scene.run_until(at(14));
    assert_eq!(scene.job("c").count(), 0, "they were never healthy together\n{}", scene.story());
    scene.run_until(at(20));
    assert_eq!(scene.job("c").only().asked, scene.times_of("healthy a")[1]);
}

fn condition_of_all_does_not_fire_on_one(lab: Lab) {
    let both = Trigger::All(vec![once(Code::ExitSuccess, "a"), once(Code::ExitSuccess, "b")]);
    let jobs = [job("a"), job("b"), job("c").when(both)];
    let scene = Scene::of(jobs).script("a", Script::ends(secs(1), 0));
    let scene = scene.script("b", Script::ends(secs(4), 0)).script("c", Script::ends(secs(1), 0));
    let mut scene = lab.begin(scene);
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    assert_eq!(scene.job("c").only().asked, scene.job("b").ends()[0]);
}

fn any_of_several_sources_starts(lab: Lab) {
    let any = Trigger::Any(vec![each_signal(SignalName::Hup), each(Code::ExitFailed, "a")]);
    let jobs = [job("a").restarts(1), job("c").when(any)];
    let scene = Scene::of(jobs).script("a", Script::ends(secs(2), 1));
    let mut scene = lab.begin(scene.script("c", Script::ends(ms(10), 0)));
    scene.run_for(secs(1));
    scene.signal(SignalName::Hup);
    scene.run_for(secs(10));
    let ends = scene.job("a").ends();
    assert_eq!(scene.job("c").asked(), [at(1), ends[0], ends[1]]);
}

fn signal_before_its_target_is_ready_is_delivered_when_it_is(lab: Lab) {
    let ready = Trigger::All(vec![once(Code::Healthy, "app"), each_signal(SignalName::Hup)]);
    let jobs = [job("app").checked(secs(1)), job("tell").when(ready)];
    let scene = Scene::of(jobs).check("app", Script::ends(ms(10), 1));
    let scene = scene.check_from("app", at(10), Script::ends(ms(10), 0));
    let mut scene = lab.begin(scene.script("tell", Script::ends(ms(10), 0)));
    scene.run_for(secs(2));
    scene.signal(SignalName::Hup);
    scene.run_until(at(9));
    assert_eq!(scene.job("tell").count(), 0, "the app has not installed its handler yet");
    scene.run_until(at(20));
    assert_eq!(scene.job("tell").only().asked, scene.time_of("healthy app"));
}

fn job_whose_source_ended_is_skipped_and_so_are_those_behind_it(lab: Lab) {
    let jobs = [
        job("a"),
        job("b").on(once(Code::ExitSuccess, "a")),
        job("c").on(once(Code::ExitSuccess, "b")),
        job("d").on(once(Code::Stopped, "c")),
    ];
    let mut scene = lab.begin(Scene::of(jobs).script("a", Script::ends(secs(2), 3)));
    assert_eq!(scene.run_to_exit(secs(30)), 3);
    for name in ["b", "c", "d"] {
        assert_eq!(scene.job(name).count(), 0);
        assert_eq!(scene.times_of(&format!("skipped {name}")).len(), 1, "{}", scene.story());
        assert!(scene.times_of(&format!("stopped {name}")).is_empty());
        let said = scene.messages(name);
        assert!(said.iter().any(|message| matches!(message, Message::NeverStarts { .. })));
    }
}

fn job_without_a_command_keeps_the_container_alive(lab: Lab) {
    let jobs = [job("advert").with(|job| job.command = None), job("app")];
    let mut scene = lab.begin(Scene::of(jobs).script("app", Script::ends(secs(1), 0)));
    scene.run_for(secs(60));
    assert_eq!(scene.exit(), None);
    scene.term();
    assert_eq!(scene.run_to_exit(secs(1)), 0);
}

/// Every five minutes.
fn every_five_minutes() -> Trigger {
    let minutes = (0..60).step_by(5).fold(0, |bits, minute| bits | 1 << minute);
    Trigger::Schedule(Schedule {
        minutes,
        hours: (1 << 24) - 1,
        days: 0xffff_fffe,
        months: 0x1ffe,
        weekdays: 0x7f,
        either_day: false,
    })
}

fn scheduled() -> steersman_sim::fixture::SceneBuilder {
    let tick =
        job("cron").when(every_five_minutes()).with(|job| job.restarts = Restarts::Limited(0));
    Scene::of([tick, job("app").on(global(Code::Startup, Repeat::Once))])
        .script("cron", Script::ends(ms(10), 0))
}

fn schedule_runs_at_its_times(lab: Lab) {
    assert_eq!(WALL_ORIGIN_MS % 300_000, 0, "the world is born at a full five minutes");
    let mut scene = lab.begin(scheduled());
    scene.run_for(secs(1000));
    let asked = scene.job("cron").asked();
    let asked = asked.iter().filter(|asked| asked.0 > 0).copied().collect::<Vec<_>>();
    assert_eq!(asked, [at(300), at(600), at(900)], "{}", scene.story());
}

fn schedule_does_not_repeat_a_time_after_the_wall_clock_went_back(lab: Lab) {
    let mut scene = lab.begin(scheduled());
    scene.run_until(at(310));
    let before = scene.job("cron").count();
    // 20 s back: the wall clock passes the full five minutes a second time, at 320 s.
    scene.world.act(NODE, Action::StepWall(-20_000));
    scene.run_until(at(500));
    assert_eq!(scene.job("cron").count(), before, "the same five minutes count once");
    scene.run_until(at(630));
    assert_eq!(scene.job("cron").last().asked, at(620));
}

fn schedule_skips_times_the_wall_clock_jumped_over(lab: Lab) {
    let mut scene = lab.begin(scheduled());
    scene.run_until(at(310));
    let before = scene.job("cron").count();
    scene.world.act(NODE, Action::StepWall(3_600_000));
    scene.run_until(at(590));
    assert!(scene.job("cron").count() <= before + 1, "no burst for the hour that was skipped");
    scene.run_until(at(601));
    assert_eq!(scene.job("cron").last().asked, at(600));
}
