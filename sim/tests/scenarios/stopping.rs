//! Stopping: hooks, signals, patience, one budget, and the status at the end.

use steersman_engine::config::Signal;
use steersman_engine::effect::Message;
use steersman_engine::event::SignalName;
use steersman_engine::{Code, Effect};
use steersman_sim::Action;
use steersman_sim::fixture::{
    NODE, Scene, SceneBuilder, at, each, each_signal, job, ms, once, secs,
};
use steersman_sim::script::{Script, Start};

use crate::lab::{Lab, scenarios};

scenarios![
    stop_announces_signals_waits_and_ends,
    interrupt_stops_like_term,
    shutdown_ends_with_the_last_process_and_not_later,
    stop_signal_of_a_job_is_its_own,
    process_that_ignores_the_stop_is_killed_after_its_own_patience,
    process_that_ignores_the_stop_is_killed_when_the_budget_is_spent,
    container_that_had_to_kill_says_so,
    slow_but_orderly_stop_is_a_good_one,
    stop_hook_that_outlives_the_limit_is_cut,
    stop_waits_for_every_hook,
    hook_on_stopping_also_runs_when_its_job_ends_by_itself,
    hook_on_stopped_runs_after_the_process_has_gone,
    hook_on_stopped_of_a_job_that_never_ran_does_not_run,
    endless_hook_cannot_outlast_the_budget,
    running_handler_is_stopped_and_queued_runs_are_dropped,
    hook_reacts_to_nothing_but_the_stop_while_stopping,
    nothing_is_restarted_after_the_stop,
    wait_for_a_restart_is_abandoned_at_the_stop,
    second_term_hurries,
    hurrying_late_does_not_move_the_end,
    unkillable_process_does_not_hold_the_container,
    start_that_never_answers_does_not_hold_the_container,
    nothing_happens_after_the_forced_end,
    process_that_was_still_starting_gets_its_signal,
    patience_with_a_stop_counts_from_the_signal,
    signal_before_the_beginning_is_not_lost,
    checks_end_with_their_job,
    log_files_are_reopened_and_nothing_else,
    children_left_at_the_stop_are_ended_too,
];

fn stop_announces_signals_waits_and_ends(lab: Lab) {
    let scene = Scene::of([job("app")]).script("app", Script::endless().stops(secs(2), 0));
    let mut scene = lab.begin(scene);
    scene.run_until(at(10));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(10)), 0);
    assert_eq!(scene.job("app").only().signals, [(at(10), Signal::TERM)]);
    assert_eq!(scene.time_of("shutdown"), at(10));
    assert_eq!(scene.time_of("stopping app"), at(10));
    assert_eq!(scene.time_of("stopped app"), at(12));
    let events = scene.events();
    let place = |event: &str| events.iter().position(|one| one.trim() == event);
    assert!(place("shutdown") < place("stopping app"));
    assert!(place("stopping app") < place("stopped app"));
}

fn interrupt_stops_like_term(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app")]));
    scene.run_until(at(1));
    scene.signal(SignalName::Int);
    assert_eq!(scene.run_to_exit(secs(1)), 0);
}

fn shutdown_ends_with_the_last_process_and_not_later(lab: Lab) {
    let scene = Scene::of([job("a"), job("b")]).stop_timeout(secs(60));
    let scene = scene.script("a", Script::endless().stops(secs(3), 0));
    let mut scene = lab.begin(scene.script("b", Script::endless().stops(secs(1), 0)));
    scene.run_until(at(10));
    scene.term();
    scene.run_to_exit(secs(60));
    assert_eq!(scene.exit().map(|(at, _)| at), Some(at(13)));
}

fn stop_signal_of_a_job_is_its_own(lab: Lab) {
    let scene = Scene::of([job("app").stop_signal(Signal(3)), job("other")]);
    let mut scene = lab.begin(scene);
    scene.run_until(at(1));
    scene.term();
    scene.run_to_exit(secs(5));
    assert_eq!(scene.job("app").only().signals, [(at(1), Signal(3))]);
    assert_eq!(scene.job("other").only().signals, [(at(1), Signal::TERM)]);
}

/// A process that ignores the stop, with its own patience, and a budget of 20 s.
fn deaf(kill_timeout: Option<u64>) -> SceneBuilder {
    let app = job("app").with(|job| job.kill_timeout = kill_timeout.map(secs));
    let scene = Scene::of([app]).stop_timeout(secs(20));
    scene.script("app", Script::endless().ignores_stop())
}

fn process_that_ignores_the_stop_is_killed_after_its_own_patience(lab: Lab) {
    let mut scene = lab.begin(deaf(Some(3)));
    scene.run_until(at(10));
    scene.term();
    scene.run_to_exit(secs(30));
    let signals = &scene.job("app").only().signals;
    assert_eq!(signals[..], [(at(10), Signal::TERM), (at(13), Signal::KILL)]);
    assert!(scene.messages("app").contains(&&Message::KilledAfter { after: secs(3) }));
}

fn process_that_ignores_the_stop_is_killed_when_the_budget_is_spent(lab: Lab) {
    for patience in [None, Some(100)] {
        let mut scene = lab.begin(deaf(patience));
        scene.run_until(at(10));
        scene.term();
        scene.run_to_exit(secs(30));
        let killed = scene.job("app").only().signalled(Signal::KILL);
        assert_eq!(killed, Some(at(30)));
        assert!(scene.messages("app").contains(&&Message::KilledAfter { after: secs(20) }));
        assert!(scene.exit().is_some_and(|(ended, _)| ended <= at(31)));
    }
}

fn container_that_had_to_kill_says_so(lab: Lab) {
    let mut scene = lab.begin(deaf(Some(3)));
    scene.run_until(at(10));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(30)), 137);
}

fn slow_but_orderly_stop_is_a_good_one(lab: Lab) {
    let scene = Scene::of([job("app")]).stop_timeout(secs(20));
    let mut scene = lab.begin(scene.script("app", Script::endless().stops(secs(19), 3)));
    scene.run_until(at(10));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(30)), 0, "it ended when asked to, in time");
}

fn stop_hook_that_outlives_the_limit_is_cut(lab: Lab) {
    let jobs = [job("main").stop_timeout(secs(2)), job("hook").on(once(Code::Stopping, "main"))];
    let scene = Scene::of(jobs).stop_timeout(secs(60));
    let mut scene = lab.begin(scene.script("hook", Script::ends(secs(15), 0)));
    scene.run_until(at(10));
    scene.term();
    scene.run_to_exit(secs(60));
    assert_eq!(scene.job("main").only().signals, [(at(12), Signal::TERM)], "{}", scene.story());
    assert_eq!(scene.job("hook").only().asked, at(10));
    assert_eq!(scene.job("hook").only().signals, [(at(12), Signal::TERM)]);
    assert!(scene.exit().is_some_and(|(ended, _)| ended < at(13)));
    let said = scene.messages("main");
    assert!(said.iter().any(|message| matches!(message, Message::HooksCut { .. })));
}

fn stop_waits_for_every_hook(lab: Lab) {
    let jobs = [
        job("main"),
        job("long").on(once(Code::Stopping, "main")),
        job("short").on(once(Code::Stopping, "main")),
    ];
    let scene = Scene::of(jobs).stop_timeout(secs(60)).script("long", Script::ends(secs(4), 0));
    let mut scene = lab.begin(scene.script("short", Script::ends(secs(1), 0)));
    scene.run_until(at(10));
    scene.term();
    scene.run_to_exit(secs(60));
    let told = scene.job("main").only().signalled(Signal::TERM);
    assert_eq!(told, Some(scene.job("long").ends()[0]));
    assert!(scene.job("short").only().signals.is_empty());
}

fn hook_on_stopping_also_runs_when_its_job_ends_by_itself(lab: Lab) {
    let jobs = [job("main"), job("hook").on(once(Code::Stopping, "main"))];
    let scene = Scene::of(jobs).script("main", Script::ends(secs(5), 0));
    let mut scene = lab.begin(scene.script("hook", Script::ends(secs(2), 0)));
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    assert_eq!(scene.job("hook").count(), 1);
    assert_eq!(scene.time_of("stopped main"), scene.job("hook").ends()[0]);
}

fn hook_on_stopped_runs_after_the_process_has_gone(lab: Lab) {
    let jobs = [job("main"), job("after").on(once(Code::Stopped, "main"))];
    let scene = Scene::of(jobs).script("main", Script::endless().stops(secs(3), 0));
    let mut scene = lab.begin(scene.script("after", Script::ends(secs(1), 0)));
    scene.run_until(at(10));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    assert_eq!(scene.job("after").only().asked, at(13), "not right after the signal");
}

fn hook_on_stopped_of_a_job_that_never_ran_does_not_run(lab: Lab) {
    let jobs = [
        job("app"),
        job("idle").on(each_signal(SignalName::Usr2)),
        job("after").on(once(Code::Stopped, "idle")),
    ];
    let mut scene = lab.begin(Scene::of(jobs));
    scene.run_until(at(10));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(5)), 0);
    assert_eq!(scene.job("after").count(), 0, "{}", scene.story());
    assert!(scene.times_of("stopped idle").is_empty());
}

fn endless_hook_cannot_outlast_the_budget(lab: Lab) {
    let jobs = [
        job("main"),
        job("hook").on(once(Code::Stopping, "main")),
        job("after").on(once(Code::Stopped, "main")),
    ];
    let endless = Script::endless().ignores_stop();
    let scene = Scene::of(jobs).stop_timeout(secs(5)).script("hook", endless.clone());
    let mut scene = lab.begin(scene.script("after", endless));
    scene.run_until(at(10));
    scene.term();
    assert_ne!(scene.run_to_exit(secs(6)), 0);
    let told = scene.job("main").only().signalled(Signal::TERM).expect("it is asked to end");
    assert!(told < at(15), "main still gets its signal within the budget");
}

fn running_handler_is_stopped_and_queued_runs_are_dropped(lab: Lab) {
    let jobs = [job("app"), job("hup").on(each_signal(SignalName::Hup))];
    let scene = Scene::of(jobs).stop_timeout(secs(5)).script("hup", Script::ends(secs(25), 0));
    let mut scene = lab.begin(scene);
    scene.run_for(secs(1));
    (0..3).for_each(|_| scene.signal(SignalName::Hup));
    scene.run_for(secs(1));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(1)), 0);
    assert_eq!(scene.job("hup").only().signals.len(), 1);
    let said = scene.messages("hup");
    let dropped = said.iter().any(|message| matches!(message, Message::TriggersDropped { .. }));
    assert!(dropped, "{}", scene.story());
}

fn hook_reacts_to_nothing_but_the_stop_while_stopping(lab: Lab) {
    use steersman_engine::config::Trigger;
    let any = Trigger::Any(vec![each(Code::Stopped, "slow"), each(Code::ExitFailed, "app")]);
    let jobs = [job("app"), job("slow"), job("hook").when(any)];
    let scene = Scene::of(jobs).stop_timeout(secs(10)).script("hook", Script::ends(ms(10), 0));
    let scene = scene.script("app", Script::endless().stops(secs(1), 1));
    let mut scene = lab.begin(scene.script("slow", Script::endless().stops(secs(5), 0)));
    scene.run_until(at(1));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(10)), 0);
    assert_eq!(scene.job("hook").only().asked, scene.time_of("stopped slow"));
}

fn nothing_is_restarted_after_the_stop(lab: Lab) {
    let jobs = [job("app").unlimited(), job("tick").every(secs(1)), job("slow")];
    let scene = Scene::of(jobs).stop_timeout(secs(10)).script("tick", Script::ends(ms(100), 0));
    let mut scene = lab.begin(scene.script("slow", Script::endless().stops(secs(5), 0)));
    scene.run_until(at(10) + ms(500));
    let ticks = scene.job("tick").count();
    scene.term();
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    assert_eq!(scene.job("app").count(), 1);
    assert_eq!(scene.job("tick").count(), ticks);
}

fn wait_for_a_restart_is_abandoned_at_the_stop(lab: Lab) {
    let backoff = steersman_engine::config::Backoff::default();
    let scene = Scene::of([job("app").unlimited().backoff(backoff)]);
    let mut scene = lab.begin(scene.script("app", Script::ends(ms(1), 1)));
    scene.run_until(at(120));
    assert!(!scene.job("app").is_live());
    let count = scene.job("app").count();
    scene.term();
    scene.run_to_exit(ms(1));
    assert_eq!(scene.job("app").count(), count);
}

fn second_term_hurries(lab: Lab) {
    let jobs = [job("main"), job("hook").on(once(Code::Stopping, "main"))];
    let deaf = Script::endless().ignores_stop();
    let scene = Scene::of(jobs).stop_timeout(secs(600)).script("main", deaf.clone());
    let mut scene = lab.begin(scene.script("hook", deaf));
    scene.run_until(at(10));
    scene.term();
    scene.run_until(at(12));
    assert_eq!(scene.exit(), None);
    scene.term();
    scene.run_to_exit(secs(1));
    assert_eq!(scene.job("main").only().signalled(Signal::KILL), Some(at(12)));
    assert_eq!(scene.job("hook").only().signalled(Signal::KILL), Some(at(12)));
}

fn hurrying_late_does_not_move_the_end(lab: Lab) {
    let scene = || Scene::of([job("app")]).stop_timeout(secs(5));
    let stuck = Script::endless().unkillable();
    let mut calm = lab.begin(scene().script("app", stuck.clone()));
    calm.run_until(at(1));
    calm.term();
    calm.run_to_exit(secs(6));
    let (end, _) = calm.exit().expect("it has just ended");
    let mut scene = lab.begin(scene().script("app", stuck));
    scene.run_until(at(1));
    scene.term();
    scene.run_until(end - ms(1));
    scene.term();
    scene.run_to_exit(secs(1));
    assert_eq!(scene.exit(), calm.exit());
}

fn unkillable_process_does_not_hold_the_container(lab: Lab) {
    let scene = Scene::of([job("app"), job("other")]).stop_timeout(secs(5));
    let mut scene = lab.begin(scene.script("app", Script::endless().unkillable()));
    scene.run_until(at(10));
    scene.term();
    assert_ne!(scene.run_to_exit(secs(6)), 0);
    let said = scene.messages("app");
    assert!(said.iter().any(|message| matches!(message, Message::Unkillable)));
}

fn start_that_never_answers_does_not_hold_the_container(lab: Lab) {
    let hangs = Script { start: Start::Hangs, ..Script::endless() };
    let scene = Scene::of([job("app"), job("other").checked(secs(1))]).script("app", hangs);
    let mut scene = lab.begin(scene);
    scene.run_until(at(10));
    assert_eq!(scene.times_of("healthy other").len(), 1);
    scene.term();
    scene.run_to_exit(secs(6));
}

/// The process is there at the very moment at which the supervisor stops waiting for it.
fn nothing_happens_after_the_forced_end(lab: Lab) {
    let hangs = Script { start: Start::Hangs, ..Script::endless() };
    let scene = || Scene::of([job("app")]).stop_timeout(ms(800));
    let mut never = lab.begin(scene().script("app", hangs));
    never.term();
    never.run_to_exit(secs(2));
    let (end, _) = never.exit().expect("it has just ended");
    let late = Script::endless().starts_after(core::time::Duration::from_nanos(end.0));
    let mut scene = lab.begin(scene().script("app", late));
    scene.term();
    scene.run_to_exit(secs(2));
    assert_eq!(scene.exit(), never.exit());
    let last = scene.world.observer().other_effects(NODE).last();
    assert!(last.is_some_and(|(_, effect)| matches!(effect, Effect::Exit { .. })));
}

fn process_that_was_still_starting_gets_its_signal(lab: Lab) {
    let slow = Script::endless().starts_after(secs(2)).stops(ms(100), 0);
    let mut scene = lab.begin(Scene::of([job("app")]).script("app", slow));
    scene.run_until(at(1));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(4)), 0);
    assert_eq!(scene.job("app").only().signals.last(), Some(&(at(2), Signal::TERM)));
}

fn patience_with_a_stop_counts_from_the_signal(lab: Lab) {
    let slow = Script::endless().starts_after(secs(2)).stops(secs(2), 0);
    let scene = Scene::of([job("app").kill_timeout(secs(3))]).stop_timeout(secs(20));
    let mut scene = lab.begin(scene.script("app", slow));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(20)), 0);
    assert_eq!(scene.job("app").only().signals, [(at(2), Signal::TERM)]);
}

fn signal_before_the_beginning_is_not_lost(lab: Lab) {
    let mut scene = lab.begin_late(Scene::of([job("app")]));
    scene.world.act(NODE, Action::Signal(SignalName::Term));
    scene.run_to_exit(secs(5));
    assert_eq!(scene.job("app").count(), 0);
}

fn checks_end_with_their_job(lab: Lab) {
    let hangs = Script::endless().ignores_stop();
    let app = job("app").health(|health| {
        health.interval = secs(2);
        health.timeout = secs(60);
    });
    let jobs = [app, job("slow")];
    let scene = Scene::of(jobs).stop_timeout(secs(30)).check("app", hangs);
    let mut scene = lab.begin(scene.script("slow", Script::endless().stops(secs(20), 0)));
    scene.run_until(at(10));
    scene.term();
    assert_eq!(scene.run_to_exit(secs(30)), 0);
    let check = scene.checks("app").only().clone();
    assert_eq!(check.signals, [(at(10), Signal::KILL)]);
    assert!(scene.times_of("unhealthy app").is_empty());
}

fn log_files_are_reopened_and_nothing_else(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("app")]));
    scene.run_until(at(1));
    let events = scene.events();
    scene.signal(SignalName::Usr1);
    scene.run_until(at(2));
    assert_eq!(scene.events(), events);
    let mut effects = scene.world.observer().other_effects(NODE);
    assert!(effects.any(|(_, effect)| *effect == Effect::ReopenLogs));
}

fn children_left_at_the_stop_are_ended_too(lab: Lab) {
    let jobs = [job("app").kill_timeout(secs(2)), job("each").on(each(Code::Stopped, "app"))];
    let stays = Script::endless().stops(ms(100), 0).leaves(None, false);
    let scene = Scene::of(jobs).stop_timeout(secs(10)).script("app", stays);
    let mut scene = lab.begin(scene.script("each", Script::ends(ms(10), 0)));
    scene.run_until(at(1));
    scene.term();
    scene.run_to_exit(secs(10));
    let run = scene.job("app").only().clone();
    assert_eq!(run.signalled(Signal::KILL), Some(at(3)));
    assert_eq!(scene.times_of("stopped app"), [run.gone.expect("it has gone")]);
    assert_eq!(scene.job("each").count(), 1);
}
