//! Registration and watches against a model of Consul: what Consul should hold is compared with
//! what it answers, and what it says is announced once.

use core::time::Duration;

use steersman_engine::Code;
use steersman_engine::config::{Clause, Name, Repeat, SourceName};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_sim::fixture::{JobBuilder, job, ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, advertised, node, watch};
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;
use steersman_sim::{Action, CatalogFault};

use crate::lab::{Lab, scenarios};

scenarios![
    healthy_service_is_passing_and_stays_so,
    agent_that_forgot_everything_is_told_again,
    end_of_maintenance_registers_again,
    failing_check_is_critical_at_once,
    crashed_process_is_critical_at_once,
    service_is_out_of_the_catalog_before_its_process_is_told,
    agent_that_never_answers_does_not_hold_the_stop,
    absent_upstream_is_announced,
    change_of_the_upstream_is_seen_at_once,
    changes_during_a_reaction_are_one_further_run,
    upstream_that_does_not_change_is_announced_once,
    unreachable_catalog_is_no_change,
];

fn web() -> JobBuilder {
    advertised(job("web").unlimited().checked(secs(2)), 8000)
}

/// One node with a service that is passing.
fn passing(lab: Lab, fleet: FleetBuilder) -> Fleet {
    let mut fleet = lab.begin_fleet(fleet);
    await_passing(&mut fleet, &["web-node0"], secs(10));
    fleet
}

/// Waits until Consul lists these instances; tells how long that took.
fn await_passing(fleet: &mut Fleet, wanted: &[&str], limit: Duration) -> Duration {
    let begun = fleet.world.now();
    while fleet.passing("web") != wanted {
        let took = fleet.world.now().since(begun);
        assert!(took < limit, "{:?} after {took:?}\n{}", fleet.passing("web"), fleet.story());
        fleet.run_for(ms(10));
    }
    fleet.world.now().since(begun)
}

fn healthy_service_is_passing_and_stays_so(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    for _ in 0..300 {
        fleet.run_for(secs(1));
        assert_eq!(fleet.passing("web"), ["web-node0"], "{}", fleet.story());
    }
}

fn agent_that_forgot_everything_is_told_again(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    // Between two heartbeats, so that nothing else tells.
    fleet.trouble(CatalogFault::KillAgent(3));
    fleet.trouble(CatalogFault::StartAgent { agent: 3, keeps: false });
    // Long enough for the new agent to take out of the catalog what it does not know.
    fleet.run_for(secs(200));
    assert_eq!(fleet.passing("web"), ["web-node0"], "{}", fleet.story());
}

fn end_of_maintenance_registers_again(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.act(node(0), Action::Control(Control::Maintenance(true)));
    await_passing(&mut fleet, &[], secs(2));
    fleet.run_for(secs(30));
    fleet.act(node(0), Action::Control(Control::Maintenance(false)));
    await_passing(&mut fleet, &["web-node0"], secs(5));
}

fn failing_check_is_critical_at_once(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.run_for(secs(20));
    let now = fleet.world.now();
    let fails = Script::ends(ms(10), 1);
    let kind = steersman_engine::RunKind::Check;
    fleet.world.playbook().behaviour(node(0), "web", kind).set_from(now, fails);
    let took = await_passing(&mut fleet, &[], secs(6));
    assert!(took < secs(3), "it took {took:?}; the time to live is 6 s");
}

fn crashed_process_is_critical_at_once(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.run_for(secs(20));
    let run = fleet.job(node(0), "web").live_run().expect("it runs").run;
    fleet.act(node(0), Action::EndProcess(run, ExitStatus::Signal(11)));
    let took = await_passing(&mut fleet, &[], secs(6));
    assert!(took < secs(1), "it took {took:?}");
    await_passing(&mut fleet, &["web-node0"], secs(5));
}

fn service_is_out_of_the_catalog_before_its_process_is_told(lab: Lab) {
    let slow = Script::endless().stops(secs(3), 0);
    let mut fleet = passing(lab, Fleet::of(1, [web()]).script("web", slow));
    fleet.act(node(0), Action::Latency(ms(200), ms(300)));
    fleet.run_for(secs(10));
    fleet.act(node(0), Action::Signal(SignalName::Term));
    while fleet.job(node(0), "web").only().signals.is_empty() {
        fleet.run_for(ms(1));
    }
    assert!(fleet.passing("web").is_empty(), "{}", fleet.story());
    fleet.run_for(secs(10));
    assert!(fleet.world.node(node(0)).exit().is_some_and(|(_, status)| status == 0));
}

fn agent_that_never_answers_does_not_hold_the_stop(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.act(node(0), Action::Link(LinkState::Cut));
    fleet.run_for(secs(10));
    fleet.act(node(0), Action::Signal(SignalName::Term));
    let asked = fleet.world.now();
    fleet.run_for(secs(17));
    let (end, _) = fleet.world.node(node(0)).exit().expect("it has ended");
    assert!(end < asked + secs(16), "after {:?}", end.since(asked));
    let told = fleet.job(node(0), "web").only().signals[0].0;
    assert!(told <= asked + secs(5), "told after {:?}", told.since(asked));
}

/// Two nodes: one serves, the other watches and reacts.
fn watched(reaction: Script, clause: Code) -> FleetBuilder {
    let source = SourceName::Watch(Name::from("upstream"));
    let clause = Clause { code: clause, source, repeat: Repeat::Each };
    Fleet::of(3, [web(), job("react").on(clause)])
        .with(|config| config.watches.push(watch("upstream", "web")))
        .script("react", reaction)
}

fn absent_upstream_is_announced(lab: Lab) {
    let idle = watched(Script::ends(ms(10), 0), Code::Unhealthy)
        .script("web", Script::endless().starts_after(secs(60)));
    let mut fleet = lab.begin_fleet(idle);
    fleet.run_for(secs(5));
    assert_eq!(fleet.job(node(0), "react").count(), 1, "{}", fleet.story());
}

fn change_of_the_upstream_is_seen_at_once(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 0), Code::Changed));
    fleet.run_for(secs(30));
    let before = fleet.job(node(0), "react").count();
    let run = fleet.job(node(2), "web").live_run().expect("it runs").run;
    fleet.act(node(2), Action::EndProcess(run, ExitStatus::Code(1)));
    fleet.run_for(secs(1));
    let after = fleet.job(node(0), "react").count();
    assert!(after > before, "the interval of the watch is 10 s\n{}", fleet.story());
}

fn changes_during_a_reaction_are_one_further_run(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(secs(40), 0), Code::Changed));
    for nth in [1, 2, 1, 2] {
        fleet.run_for(secs(7));
        let run = fleet.job(node(nth), "web").live_run().expect("it runs").run;
        fleet.act(node(nth), Action::EndProcess(run, ExitStatus::Code(1)));
    }
    fleet.run_for(secs(70));
    let runs = fleet.job(node(0), "react");
    assert_eq!(runs.count(), 2, "{}", fleet.story());
    assert!(fleet.times_of(node(0), "changed watch.#0").len() >= 5);
}

fn upstream_that_does_not_change_is_announced_once(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 0), Code::Changed));
    fleet.run_for(secs(30));
    let before = fleet.times_of(node(0), "changed watch.#0").len();
    fleet.run_for(secs(600));
    assert_eq!(fleet.times_of(node(0), "changed watch.#0").len(), before);
}

fn unreachable_catalog_is_no_change(lab: Lab) {
    let mut fleet = lab.begin_fleet(watched(Script::ends(ms(10), 0), Code::Changed));
    fleet.run_for(secs(30));
    let before = fleet.times_of(node(0), "changed watch.#0").len();
    fleet.act(node(0), Action::Link(LinkState::Refused));
    fleet.run_for(secs(5));
    fleet.act(node(0), Action::Link(LinkState::Up));
    fleet.run_for(secs(60));
    // Its own service may have been away for a moment; nothing is said without a difference.
    let after = fleet.times_of(node(0), "changed watch.#0").len();
    assert!(after <= before + 2, "{} more\n{}", after - before, fleet.story());
}
