//! Watches against a model of Consul: what is a change, what is none, and what a reaction sees.

use steersman_engine::Code;
use steersman_engine::config::{
    Clause, Config, Name, Repeat, SourceName, Trigger, Watch, WatchTarget,
};
use steersman_engine::input::{Control, ExitStatus};
use steersman_sim::fixture::{JobBuilder, each, job, ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, advertised, node, watch};
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;
use steersman_sim::{Action, NodeSetup};

use crate::lab::{Lab, scenarios};

scenarios![
    absent_upstream_is_announced,
    change_of_the_upstream_is_seen_at_once,
    changes_during_a_reaction_are_one_further_run,
    upstream_that_does_not_change_is_announced_once,
    unreachable_catalog_is_no_change,
    watch_that_is_cut_off_says_so_and_then_what_changed,
    two_tags_of_one_service_do_not_disturb_each_other,
    members_that_swap_their_tags_are_a_change,
    frozen_member_is_out_and_in_again,
    failed_reaction_runs_again_with_the_latest_state,
    failed_reaction_to_several_sources_runs_again,
    reaction_that_fails_at_once_is_no_busy_loop,
    herd_of_members_is_few_runs_and_the_last_one_sees_all,
];

/// What the watch of these scenarios says when it has changed.
const CHANGED: &str = "changed watch.#0";

fn web() -> JobBuilder {
    advertised(job("web").unlimited().checked(secs(2)), 8000)
}

fn on_upstream(code: Code) -> Clause {
    let source = SourceName::Watch(Name::from("upstream"));
    Clause { code, source, repeat: Repeat::Each }
}

/// Three nodes: the first watches and reacts, the others serve.
fn watched(reaction: Script, code: Code) -> FleetBuilder {
    let react = job("react").on(on_upstream(code));
    let keeper = job("keeper");
    Fleet::of(3, [web(), react, keeper])
        .with(|config| config.watches.push(watch("upstream", "web")))
        .script("react", reaction)
        .nodes(only_watching_first)
}

/// Takes from each node what is not its part.
fn only_watching_first(setup: &mut NodeSetup) {
    let other = if &*setup.name == "node0" { "web" } else { "react" };
    setup.config.jobs.retain(|job| &*job.name != other);
    if other == "react" {
        setup.config.watches.clear();
    }
}

fn crash(fleet: &mut Fleet, nth: u16) {
    let run = fleet.job(node(nth), "web").live_run().expect("it runs").run;
    fleet.act(node(nth), Action::EndProcess(run, ExitStatus::Code(1)));
}

fn changes(fleet: &Fleet) -> usize {
    fleet.times_of(node(0), CHANGED).len()
}

fn reactions(fleet: &Fleet) -> usize {
    fleet.job(node(0), "react").count()
}

fn absent_upstream_is_announced(lab: Lab) {
    let idle = watched(Script::ends(ms(10), 0), Code::Unhealthy)
        .script("web", Script::endless().starts_after(secs(60)));
    let mut fleet = lab.begin_fleet(idle);
    fleet.run_for(lab.about(secs(8)));
    assert_eq!(reactions(&fleet), 1, "{}", fleet.story());
}

fn change_of_the_upstream_is_seen_at_once(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 0), Code::Changed));
    fleet.run_for(lab.about(secs(30)));
    let before = reactions(&fleet);
    crash(&mut fleet, 2);
    fleet.run_for(secs(1));
    assert!(reactions(&fleet) > before, "the watch's interval is 10 s\n{}", fleet.story());
}

fn changes_during_a_reaction_are_one_further_run(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(secs(40), 0), Code::Changed));
    for nth in [1, 2, 1, 2] {
        fleet.run_for(secs(7));
        crash(&mut fleet, nth);
    }
    fleet.run_for(secs(70));
    assert_eq!(reactions(&fleet), 2, "{}", fleet.story());
    assert!(changes(&fleet) >= 5);
}

fn upstream_that_does_not_change_is_announced_once(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 0), Code::Changed));
    fleet.run_for(lab.about(secs(30)));
    let before = changes(&fleet);
    fleet.run_for(lab.about(secs(600)));
    assert_eq!(changes(&fleet), before, "{}", fleet.story());
}

fn unreachable_catalog_is_no_change(lab: Lab) {
    for state in [LinkState::Refused, LinkState::Cut, LinkState::CutIn, LinkState::CutOut] {
        let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 0), Code::Changed));
        fleet.run_for(lab.about(secs(30)));
        let before = changes(&fleet);
        fleet.act(node(0), Action::Link(state));
        fleet.run_for(lab.about(secs(120)));
        assert_eq!(changes(&fleet), before, "during {state:?}\n{}", fleet.story());
        fleet.act(node(0), Action::Link(LinkState::Up));
        fleet.run_for(lab.about(secs(120)));
        assert_eq!(changes(&fleet), before, "after {state:?}\n{}", fleet.story());
    }
}

fn watch_that_is_cut_off_says_so_and_then_what_changed(lab: Lab) {
    let fleet = watched(Script::ends(ms(10), 0), Code::Changed)
        .with(|config| config.watches[0].stale = Some(secs(20)));
    let mut fleet = lab.begin_fleet(fleet);
    fleet.run_for(lab.about(secs(30)));
    let before = changes(&fleet);
    fleet.act(node(0), Action::Link(LinkState::Refused));
    fleet.run_for(lab.about(secs(10)));
    // Meanwhile the set moves, for good.
    fleet.act(node(2), Action::StopContainer(secs(30)));
    // The query under way is given up after 95 s.
    fleet.run_for(secs(130));
    let stale = fleet.times_of(node(0), "stale watch.#0");
    assert_eq!(stale.len(), 1, "{}", fleet.story());
    assert_eq!(changes(&fleet), before);
    fleet.act(node(0), Action::Link(LinkState::Up));
    fleet.run_for(secs(25));
    assert_eq!(changes(&fleet), before + 1, "{}", fleet.story());
    assert_eq!(fleet.times_of(node(0), "stale watch.#0").len(), 1);
}

fn tagged(name: &str, tag: &str) -> Watch {
    let target = WatchTarget::Service { name: Box::from("web"), tag: Some(Box::from(tag)) };
    Watch { target, ..watch(name, "web") }
}

/// The first node watches both roles; the second is the primary, the third a replica.
fn roles(setup: &mut NodeSetup) {
    only_watching_first(setup);
    let tag = if &*setup.name == "node1" { "primary" } else { "replica" };
    tag_all(&mut setup.config, tag);
}

fn tag_all(config: &mut Config, tag: &str) {
    for job in &mut config.jobs {
        let mut tagged = (**job).clone();
        if let Some(service) = &mut tagged.service {
            service.tags = vec![Box::from(tag)];
        }
        *job = tagged.into();
    }
}

fn two_tags_of_one_service_do_not_disturb_each_other(lab: Lab) {
    let fleet = watched(Script::ends(ms(10), 0), Code::Changed).nodes(roles).with(|config| {
        config.watches = vec![tagged("upstream", "primary"), tagged("other", "replica")];
    });
    let mut fleet = lab.begin_fleet(fleet);
    fleet.run_for(lab.about(secs(60)));
    let both = |fleet: &Fleet| [CHANGED, "changed watch.#1"].map(|of| fleet.times_of(node(0), of));
    let before = both(&fleet);
    assert!(before.iter().all(|times| !times.is_empty()), "{}", fleet.story());
    fleet.run_for(lab.about(secs(600)));
    assert_eq!(both(&fleet), before, "{}", fleet.story());
}

fn members_that_swap_their_tags_are_a_change(lab: Lab) {
    let fleet = watched(Script::ends(ms(10), 0), Code::Changed).nodes(roles);
    let mut fleet = lab.begin_fleet(fleet);
    fleet.run_for(lab.about(secs(60)));
    let before = changes(&fleet);
    for (nth, tag) in [(1, "replica"), (2, "primary")] {
        let mut config = Config {
            stop_timeout: secs(15),
            hostname: format!("node{nth}").into(),
            ..steersman_sim::fixture::config([web(), job("keeper")])
        };
        tag_all(&mut config, tag);
        fleet.act(node(nth), Action::WriteConfig(Ok(config)));
        fleet.act(node(nth), Action::Control(Control::Reload { all: false }));
    }
    fleet.run_for(secs(8));
    assert!(changes(&fleet) > before, "{}", fleet.story());
    let listed = fleet.read("/v1/health/service/web?passing=1&stale&tag=primary");
    assert_eq!(listed[0]["Service"]["ID"], "web-node2", "{}", fleet.story());
    for nth in [1, 2] {
        assert_eq!(fleet.job(node(nth), "web").count(), 1, "a tag needs no new process");
    }
}

fn frozen_member_is_out_and_in_again(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 0), Code::Changed));
    fleet.run_for(lab.about(secs(30)));
    let before = changes(&fleet);
    fleet.act(node(2), Action::Freeze);
    // Its time to live is 6 s.
    fleet.run_for(secs(8));
    assert_eq!(changes(&fleet), before + 1, "{}", fleet.story());
    fleet.run_for(lab.about(secs(7)));
    fleet.act(node(2), Action::Thaw);
    fleet.run_for(secs(10));
    // A check that stood still with it has taken too long: it may be out once more for a moment.
    let more = changes(&fleet) - before;
    assert!(more == 2 || more == 4, "{more} changes\n{}", fleet.story());
    assert_eq!(fleet.passing("web"), ["web-node1", "web-node2"], "{}", fleet.story());
}

fn failed_reaction_runs_again_with_the_latest_state(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 0), Code::Changed));
    fleet.run_for(lab.about(secs(30)));
    let before = reactions(&fleet);
    let now = fleet.world.now();
    let react = steersman_engine::RunKind::Main;
    fleet
        .world
        .playbook()
        .behaviour(node(0), "react", react)
        .set_from(now, Script::ends(secs(1), 1));
    crash(&mut fleet, 1);
    fleet.run_for(secs(10));
    assert!(reactions(&fleet) >= before + 3, "{}", fleet.story());
    let now = fleet.world.now();
    fleet
        .world
        .playbook()
        .behaviour(node(0), "react", react)
        .set_from(now, Script::ends(ms(10), 0));
    fleet.run_for(secs(60));
    let settled = reactions(&fleet);
    let last = fleet.job(node(0), "react").nth(settled).ended;
    assert_eq!(last.map(|(_, status)| status), Some(ExitStatus::Code(0)), "{}", fleet.story());
    fleet.run_for(secs(120));
    assert_eq!(reactions(&fleet), settled, "a success is not repeated");
}

fn failed_reaction_to_several_sources_runs_again(lab: Lab) {
    let both = Trigger::All(vec![each(Code::Healthy, "keeper"), on_upstream(Code::Changed)]);
    let fleet = watched(Script::ends(secs(1), 1), Code::Changed).with(|config| {
        for job in &mut config.jobs {
            let mut changed = (**job).clone();
            match &*changed.name {
                "react" => changed.trigger = both.clone(),
                "keeper" => changed = JobBuilder::build(job_keeper()),
                _ => {}
            }
            *job = changed.into();
        }
    });
    let mut fleet = lab.begin_fleet(fleet);
    fleet.run_for(lab.about(secs(30)));
    let before = reactions(&fleet);
    fleet.run_for(secs(60));
    assert!(reactions(&fleet) > before, "{}", fleet.story());
    // Where one of them does not hold any more, nothing runs until it does.
    let now = fleet.world.now();
    let check = steersman_engine::RunKind::Check;
    let fails = Script::ends(ms(10), 1);
    fleet.world.playbook().behaviour(node(0), "keeper", check).set_from(now, fails);
    fleet.run_for(secs(5));
    let before = reactions(&fleet);
    fleet.run_for(secs(120));
    assert_eq!(reactions(&fleet), before, "{}", fleet.story());
    let now = fleet.world.now();
    let passes = Script::ends(ms(10), 0);
    fleet.world.playbook().behaviour(node(0), "keeper", check).set_from(now, passes);
    fleet.run_for(secs(10));
    assert!(reactions(&fleet) > before, "{}", fleet.story());
}

fn reaction_that_fails_at_once_is_no_busy_loop(lab: Lab) {
    // Without a backoff of its own: nobody counts these runs, so they must wait all the same.
    let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 1), Code::Changed));
    fleet.run_for(secs(30));
    let count = reactions(&fleet);
    assert!((3..40).contains(&count), "{count} runs\n{}", fleet.story());
}

fn job_keeper() -> JobBuilder {
    job("keeper").unlimited().checked(secs(2))
}

fn herd_of_members_is_few_runs_and_the_last_one_sees_all(lab: Lab) {
    let fleet = Fleet::of(12, [web(), job("react").on(on_upstream(Code::Changed)), job("keeper")])
        .with(|config| config.watches.push(watch("upstream", "web")))
        .script("react", Script::ends(secs(1), 0))
        .nodes(only_watching_first);
    let mut fleet = lab.begin_fleet(fleet);
    fleet.run_for(secs(10));
    // All eleven have joined within about the time of a check.
    assert_eq!(fleet.passing("web").len(), 11, "{}", fleet.story());
    fleet.run_for(secs(10));
    let last_change = fleet.times_of(node(0), CHANGED).pop().expect("there was one");
    let runs = fleet.job(node(0), "react");
    let last_run = runs.asked().pop().expect("it has run");
    assert!(last_run >= last_change, "the last run saw the last state\n{}", fleet.story());
    let spread = last_change.since(runs.asked()[0]);
    let most = usize::try_from(spread.as_secs()).unwrap_or(usize::MAX) + 3;
    assert!(runs.count() <= most, "{} runs within {spread:?}", runs.count());
}
