//! Registration against a model of Consul: what Consul should hold is compared with what it
//! answers.

use core::time::Duration;

use steersman_engine::config::Config;
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_sim::fixture::{JobBuilder, job, ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, advertised, node};
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;
use steersman_sim::{Action, CatalogFault};

use crate::lab::{Lab, scenarios};

scenarios![
    healthy_service_is_passing_and_stays_so,
    agent_that_forgot_everything_is_told_again,
    agent_that_comes_back_empty_after_a_while_is_told_again,
    restarted_container_is_registered_with_its_new_port,
    end_of_maintenance_registers_again,
    failing_check_is_critical_at_once,
    crashed_process_is_critical_at_once,
    service_is_out_of_the_catalog_before_its_process_is_told,
    agent_that_never_answers_does_not_hold_the_stop,
    job_that_could_not_be_taken_out_is_registered_when_it_runs_again,
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

fn agent_that_comes_back_empty_after_a_while_is_told_again(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.run_for(lab.about(secs(20)));
    fleet.trouble(CatalogFault::KillAgent(3));
    // Long enough for everybody to know that it is dead: nothing of it is left when it returns.
    fleet.run_for(lab.about(secs(30)));
    fleet.trouble(CatalogFault::StartAgent { agent: 3, keeps: false });
    // The longest wait between two tries is 15 s and a quarter.
    await_passing(&mut fleet, &["web-node0"], secs(25));
    fleet.run_for(lab.about(secs(100)));
    assert_eq!(fleet.passing("web"), ["web-node0"], "{}", fleet.story());
}

fn restarted_container_is_registered_with_its_new_port(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.run_for(lab.about(secs(20)));
    fleet.act(node(0), Action::Crash);
    let moved = advertised(job("web").unlimited().checked(secs(2)), 8001);
    let file = Config {
        stop_timeout: secs(15),
        hostname: "node0".into(),
        ..steersman_sim::fixture::config([moved])
    };
    fleet.act(node(0), Action::WriteConfig(Ok(file)));
    // Before the time to live has run out: the old entry is still passing.
    fleet.run_for(secs(1));
    fleet.act(node(0), Action::StartContainer);
    fleet.run_for(secs(8));
    let listed = fleet.read("/v1/health/service/web?passing=1&stale");
    let ports: Vec<_> = listed.as_array().into_iter().flatten().collect();
    assert_eq!(ports.len(), 1, "{}", fleet.story());
    assert_eq!(ports[0]["Service"]["Port"], 8001, "{}", fleet.story());
}

fn end_of_maintenance_registers_again(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.act(node(0), Action::Control(Control::Maintenance(true)));
    await_passing(&mut fleet, &[], secs(2));
    fleet.run_for(lab.about(secs(30)));
    fleet.act(node(0), Action::Control(Control::Maintenance(false)));
    await_passing(&mut fleet, &["web-node0"], secs(5));
}

fn job_that_could_not_be_taken_out_is_registered_when_it_runs_again(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.run_for(lab.about(secs(20)));
    fleet.act(node(0), Action::Link(LinkState::Refused));
    fleet.run_for(secs(4));
    fleet.act(node(0), Action::Control(Control::RestartJob { job: "web".into() }));
    fleet.run_for(lab.about(secs(60)));
    assert_eq!(fleet.passing("web"), Vec::<String>::new());
    fleet.act(node(0), Action::Link(LinkState::Up));
    await_passing(&mut fleet, &["web-node0"], secs(25));
}

fn failing_check_is_critical_at_once(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.run_for(lab.about(secs(20)));
    let now = fleet.world.now();
    let fails = Script::ends(ms(10), 1);
    let kind = steersman_engine::RunKind::Check;
    fleet.world.playbook().behaviour(node(0), "web", kind).set_from(now, fails);
    let took = await_passing(&mut fleet, &[], secs(6));
    assert!(took < secs(3), "it took {took:?}; the time to live is 6 s");
}

fn crashed_process_is_critical_at_once(lab: Lab) {
    let mut fleet = passing(lab, Fleet::of(1, [web()]));
    fleet.run_for(lab.about(secs(20)));
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
