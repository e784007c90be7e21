//! What can be asked for over the control plane.

use steersman_engine::Effect;
use steersman_engine::config::{Metric, MetricKind, Name, Signal};
use steersman_engine::effect::{Refusal, Reply};
use steersman_engine::input::Control;
use steersman_sim::Script;
use steersman_sim::fixture::{NODE, Scene, at, job, secs};

use crate::lab::{Lab, scenarios};

scenarios![
    signal_reaches_the_named_job_only,
    signal_to_an_unknown_or_idle_job_is_refused,
    restart_stops_the_old_process_before_the_new_one_starts,
    restart_does_not_use_up_a_restart,
    variables_are_set_and_unset,
    names_that_are_no_variables_are_refused_together,
    known_metrics_are_fed_and_unknown_ones_refused,
    jobs_see_the_process_ids_of_running_jobs,
];

fn signal_job(job: &str, signal: Signal) -> Control {
    Control::SignalJob { job: job.into(), signal }
}

fn signal_reaches_the_named_job_only(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let mut scene = lab.begin(Scene::of([job("a"), job("b")]).script("a", deaf));
    scene.run_until(at(5));
    let request = scene.control(signal_job("a", Signal(1)));
    scene.run_until(at(6));
    assert!(matches!(scene.reply(request), Some(Reply::Changed(_))));
    assert_eq!(scene.job("a").only().signals, [(at(5), Signal(1))]);
    assert!(scene.job("b").only().signals.is_empty());
    scene.run_until(at(60));
    assert_eq!(scene.job("a").only().signals.len(), 1, "a signal is not a stop");
}

fn signal_to_an_unknown_or_idle_job_is_refused(lab: Lab) {
    let scene = Scene::of([job("a"), job("b")]).script("b", Script::ends(secs(1), 0));
    let mut scene = lab.begin(scene);
    scene.run_until(at(5));
    let unknown = scene.control(signal_job("c", Signal::TERM));
    let idle = scene.control(signal_job("b", Signal::TERM));
    let refused = |refusal| Some(Reply::Refused(refusal));
    assert_eq!(scene.reply(unknown).cloned(), refused(Refusal::UnknownJob("c".into())));
    assert_eq!(scene.reply(idle).cloned(), refused(Refusal::NotRunning("b".into())));
    assert!(scene.job("b").only().signals.is_empty());
}

fn restart_stops_the_old_process_before_the_new_one_starts(lab: Lab) {
    let scene = Scene::of([job("a"), job("b")]).script("a", Script::endless().stops(secs(3), 0));
    let mut scene = lab.begin(scene);
    scene.run_until(at(5));
    scene.control(Control::RestartJob { job: "a".into() });
    scene.run_until(at(20));
    let runs = scene.job("a");
    assert_eq!(runs.count(), 2, "{}", scene.story());
    assert_eq!(runs.nth(1).signals, [(at(5), Signal::TERM)]);
    assert_eq!(runs.nth(2).asked, at(8));
    assert!(runs.is_live());
    assert_eq!(scene.job("b").count(), 1);
}

fn restart_does_not_use_up_a_restart(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("a").restarts(1), job("b")]));
    scene.run_until(at(5));
    scene.control(Control::RestartJob { job: "a".into() });
    scene.run_until(at(10));
    scene.set_script("a", Script::endless());
    scene.end_process("a", steersman_engine::input::ExitStatus::Code(1));
    scene.run_until(at(20));
    assert_eq!(scene.job("a").count(), 3);
    assert!(scene.job("a").is_live());
}

fn variables_are_set_and_unset(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("a")]));
    let put = vec![("A".into(), Some("x=y".into())), ("B".into(), None)];
    let request = scene.control(Control::PutEnv(put));
    assert!(matches!(scene.reply(request), Some(Reply::Changed(_))));
    let mut effects = scene.world.observer().other_effects(NODE).map(|(_, effect)| effect.clone());
    let set = |name: &str, value: Option<&str>| Effect::SetVariable {
        name: Name::from(name),
        value: value.map(Into::into),
    };
    assert!(effects.any(|effect| effect == set("A", Some("x=y"))));
    assert!(effects.any(|effect| effect == set("B", None)));
}

fn names_that_are_no_variables_are_refused_together(lab: Lab) {
    let mut scene = lab.begin(Scene::of([job("a")]));
    let names = ["GOOD", "A=B", "", "NUL\0"];
    let put = names.iter().map(|name| ((*name).into(), Some("1".into()))).collect();
    let request = scene.control(Control::PutEnv(put));
    let bad = names[1..].iter().map(|name| (*name).into()).collect();
    assert_eq!(scene.reply(request), Some(&Reply::Refused(Refusal::BadVariables(bad))));
    let mut effects = scene.world.observer().other_effects(NODE);
    let is_set = effects
        .any(|(_, effect)| matches!(effect, Effect::SetVariable { name, .. } if &**name == "GOOD"));
    assert!(!is_set, "all or nothing");
}

fn known_metrics_are_fed_and_unknown_ones_refused(lab: Lab) {
    let scene = Scene::of([job("a")]).with(|config| {
        let name = Name::from("shop_orders");
        config.metrics.push(Metric { name, help: "".into(), kind: MetricKind::Counter });
    });
    let mut scene = lab.begin(scene);
    let good = scene.control(Control::PutMetric(vec![("shop_orders".into(), 2.0)]));
    let bad = scene.control(Control::PutMetric(vec![("shop__orders".into(), 2.0)]));
    assert!(matches!(scene.reply(good), Some(Reply::Changed(_))));
    let unknown = vec!["shop__orders".into()];
    assert_eq!(scene.reply(bad), Some(&Reply::Refused(Refusal::UnknownMetrics(unknown))));
    let effects = scene.world.observer().other_effects(NODE);
    let fed = effects.filter(|(_, effect)| matches!(effect, Effect::Metric { .. })).count();
    assert_eq!(fed, 1);
}

fn jobs_see_the_process_ids_of_running_jobs(lab: Lab) {
    let mut scene =
        lab.begin(Scene::of([job("my-app"), job("b")]).script("my-app", Script::ends(secs(5), 0)));
    scene.run_until(at(10));
    let effects = scene.world.observer().other_effects(NODE);
    let values: Vec<Option<String>> = effects
        .filter_map(|(_, effect)| match effect {
            Effect::SetVariable { name, value } if &**name == "CONTAINERPILOT_MY_APP_PID" => {
                Some(value.as_ref().map(ToString::to_string))
            }
            _ => None,
        })
        .collect();
    assert_eq!(values.len(), 2, "set at the start, unset at the end: {values:?}");
    assert!(values[0].is_some());
    assert_eq!(values[1], None);
}
