//! Terms that end in order: stops, maintenance, reloads and upgrades. The lock passes on when the
//! last process has gone, and then at once.

use steersman_engine::config::Signal;
use steersman_engine::consul::ConsulRequest;
use steersman_engine::event::SignalName;
use steersman_engine::input::Control;
use steersman_engine::{Code, Time};
use steersman_sim::fixture::{job, ms, once, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, advertised, bystander, ledger, lock, node};
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;
use steersman_sim::{Action, CatalogFault, NodeId};

use super::{JOB, KEY, count_of, followers, of, others, requests, sessions, settled, three};
use crate::lab::{Lab, scenarios};

scenarios![
    orderly_stop_hands_over_within_seconds,
    lock_is_given_back_only_when_the_process_has_gone,
    holder_that_stops_in_its_quiet_time_hands_nothing_over,
    candidate_that_stops_while_it_asks_bars_nothing,
    renewal_under_way_does_not_leave_its_session_behind,
    candidate_renews_before_it_asks_after_an_outage,
    stop_withdraws_drains_ends_and_only_then_releases,
    maintenance_of_the_holder_hands_over,
    supervisor_in_maintenance_does_not_stand_whatever_is_asked,
    reload_of_something_else_keeps_the_term,
    reload_of_the_lock_hands_it_over,
    reload_of_the_lock_of_the_only_node_begins_another_term,
    reload_that_removes_the_lock_hands_it_over,
    rolling_upgrade_costs_one_hand_over,
    fleet_that_stops_leaves_nothing_behind,
];

fn orderly_stop_hands_over_within_seconds(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(10)));
    fleet.act(leader, Action::Signal(SignalName::Term));
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took < secs(5), "it took {took:?}");
}

fn lock_is_given_back_only_when_the_process_has_gone(lab: Lab) {
    let slow = Script::endless().stops(secs(4), 0);
    let (mut fleet, leader) = settled(lab, three().script(JOB, slow));
    fleet.run_for(lab.about(secs(10)));
    fleet.act(leader, Action::Signal(SignalName::Term));
    fleet.run_for(secs(3));
    assert_eq!(fleet.runner(JOB), leader);
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took < secs(6), "it took {took:?}");
}

/// Consul forgets everything while the old holder, cut off, is still at work. The next one keeps
/// quiet for that reason, and is told to stop meanwhile: whoever comes after it knows of nothing.
fn holder_that_stops_in_its_quiet_time_hands_nothing_over(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, three().script(JOB, deaf));
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.trouble(CatalogFault::LoseState);
    fleet.run_for(secs(6));
    let is_holder = |node: &NodeId| {
        let log = fleet.world.observer().log(*node);
        log.map(|line| format!("{:?}", line.record.message)).any(|it| it.contains("Granted"))
    };
    let holder = followers(&fleet, leader).into_iter().find(is_holder);
    let holder = holder.expect("somebody holds the lock that Consul knows nothing of");
    assert_eq!(fleet.runner(JOB), leader, "and keeps quiet");
    fleet.act(holder, Action::Signal(SignalName::Term));
    let next = |node: NodeId| node != leader && node != holder;
    let took = fleet.await_runner(JOB, secs(60), next);
    let gone = gone(&fleet, leader);
    let next = fleet.runner(JOB);
    assert!(fleet.job(next, JOB).last().asked > gone, "the old holder has gone by then");
    assert!(took >= secs(8), "it took {took:?}");
}

/// The lock is free, and whoever asks for it stops before it hears that it has it.
fn candidate_that_stops_while_it_asks_bars_nothing(lab: Lab) {
    let (mut fleet, leader) = settled(lab, of(2));
    let (slowly, other) = (Action::Latency(ms(50), ms(50)), followers(&fleet, leader)[0]);
    fleet.act(leader, slowly.clone());
    fleet.act(other, slowly);
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Signal(SignalName::Term));
    let begun = fleet.world.now();
    let asks = |fleet: &Fleet| {
        let tries = requests(fleet, other, |it| matches!(it, ConsulRequest::Acquire { .. }));
        tries.iter().any(|at| *at >= begun)
    };
    while !asks(&fleet) {
        assert!(fleet.world.now() < begun + secs(2), "it does not ask");
        fleet.run_for(ms(5));
    }
    // So long that what it asks next does not overtake it.
    fleet.run_for(ms(10));
    fleet.act(other, Action::StopContainer(secs(10)));
    fleet.run_for(secs(3));
    assert!(fleet.world.node(other).exit().is_some());
    assert_eq!(sessions(&mut fleet), 0);
    fleet.act(other, Action::StartContainer);
    let took = fleet.await_runner(JOB, secs(90), |_| true);
    assert!(took < secs(3), "the key was barred: it took {took:?}");
}

/// The lock is given back while a renewal waits for an answer that never comes.
fn renewal_under_way_does_not_leave_its_session_behind(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    let is_renewal =
        |request: &ConsulRequest| matches!(request, ConsulRequest::SessionRenew { .. });
    let before = requests(&fleet, leader, is_renewal).len();
    fleet.act(leader, Action::Link(LinkState::CutIn));
    let begun = fleet.world.now();
    while requests(&fleet, leader, is_renewal).len() == before {
        assert!(fleet.world.now() < begun + secs(10), "it does not renew");
        fleet.run_for(ms(5));
    }
    fleet.run_for(ms(300));
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.act(leader, Action::Control(Control::Maintenance(true)));
    fleet.await_runner(JOB, secs(5), others(leader));
    fleet.run_for(secs(5));
    assert_eq!(fleet.times_of(leader, "released lock.#0").len(), 1);
    assert_eq!(sessions(&mut fleet), 2, "of the leader and of the candidate");
}

/// A candidate hears again from Consul, finds the lock free, and has not renewed for long.
fn candidate_renews_before_it_asks_after_an_outage(lab: Lab) {
    let (mut fleet, leader) = settled(lab, of(2));
    let other = followers(&fleet, leader)[0];
    fleet.run_for(lab.about(secs(60)));
    fleet.act(other, Action::Link(LinkState::Cut));
    fleet.run_for(secs(5));
    fleet.act(leader, Action::Signal(SignalName::Term));
    // Longer than a term lasts without renewals, shorter than a session lives by contract.
    fleet.run_for(lab.about(secs(9)));
    fleet.act(other, Action::Link(LinkState::Up));
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took <= secs(15), "it took {took:?}");
    assert_eq!(fleet.times_of(other, "lost lock.#0").len(), 0, "no term is lost at its beginning");
}

/// Role off, drain, exit, release; the next leader within a second of the last process's end.
fn stop_withdraws_drains_ends_and_only_then_releases(lab: Lab) {
    let served = advertised(ledger().checked(secs(2)), 7101)
        .with(|job| job.service.as_mut().expect("it has just got one").drain = secs(1));
    let hook = job("hook").on(once(Code::Stopping, JOB));
    let fleet = Fleet::of(3, [served.stop_timeout(secs(5)), hook, bystander()])
        .with(|config| config.locks.push(lock("ledger", KEY)))
        .script(JOB, Script::endless().stops(secs(1), 0))
        .script("hook", Script::ends(secs(1), 0));
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.run_for(lab.about(secs(60)));
    assert_eq!(fleet.passing(JOB).len(), 1);
    let asked = fleet.world.now();
    fleet.act(leader, Action::Signal(SignalName::Term));
    let is_told = |fleet: &Fleet| fleet.job(leader, JOB).last().signalled(Signal::TERM).is_some();
    fleet.await_that("it is told to end", secs(5), is_told);
    let listed = fleet.passing(JOB);
    assert!(listed.is_empty(), "out of the catalog before the signal: {listed:?}");
    fleet.await_runner(JOB, secs(30), others(leader));
    let run = fleet.job(leader, JOB).last().clone();
    let told = run.signalled(Signal::TERM).expect("it was told to end");
    let gone = run.gone.expect("it has gone");
    let hook = fleet.job(leader, "hook").last().gone.expect("the hook has run");
    assert!(hook <= told, "hooks come before the signal");
    assert!(told.since(asked) >= secs(1), "and the drain as well");
    let released = fleet.times_of(leader, "released lock.#0");
    assert!(matches!(released[..], [at] if at >= gone), "{released:?}");
    let next = fleet.runner(JOB);
    let begun = fleet.job(next, JOB).last().asked;
    assert!(begun > gone && begun <= gone + secs(1), "begun {:?} later", begun.since(gone));
}

fn maintenance_of_the_holder_hands_over(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(10)));
    fleet.act(leader, Action::Control(Control::Maintenance(true)));
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took < secs(5), "it took {took:?}");
    fleet.run_for(lab.about(secs(100)));
    fleet.act(leader, Action::Control(Control::Maintenance(false)));
    fleet.run_for(lab.about(secs(100)));
    assert_ne!(fleet.runner(JOB), leader);
}

fn supervisor_in_maintenance_does_not_stand_whatever_is_asked(lab: Lab) {
    let (mut fleet, leader) = settled(lab, of(1));
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Control(Control::Maintenance(true)));
    fleet.run_for(lab.about(secs(10)));
    assert_eq!(fleet.runners(JOB), []);
    reload(&mut fleet, leader, |config| config.locks[0].ttl = secs(15));
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Control(Control::Reload { all: true }));
    fleet.run_for(lab.about(secs(60)));
    assert_eq!(fleet.runners(JOB), [], "a reload does not end maintenance");
    assert_eq!(sessions(&mut fleet), 0, "it does not even stand");
    let asked = fleet.world.now();
    fleet.act(leader, Action::Signal(SignalName::Term));
    fleet.run_for(secs(5));
    let (ended, _) = fleet.world.node(leader).exit().expect("it stops as ever");
    assert!(ended <= asked + secs(1), "after {:?}", ended.since(asked));
}

/// Puts another configuration into a node's file and asks for a reload.
fn reload(fleet: &mut Fleet, node: NodeId, change: impl Fn(&mut steersman_engine::config::Config)) {
    let mut config = fleet.world.node(node).engine().config().as_ref().clone();
    change(&mut config);
    fleet.act(node, Action::WriteConfig(Ok(config)));
    fleet.act(node, Action::Control(Control::Reload { all: false }));
}

fn reload_of_something_else_keeps_the_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(10)));
    let more = std::sync::Arc::new(job("more").build());
    reload(&mut fleet, leader, |config| config.jobs.push(more.clone()));
    fleet.run_for(lab.about(secs(200)));
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.job(leader, JOB).count(), 1);
    assert_eq!(fleet.job(leader, "more").count(), 1);
}

fn reload_of_the_lock_hands_it_over(lab: Lab) {
    let slow = Script::endless().stops(secs(2), 0);
    let (mut fleet, leader) = settled(lab, three().script(JOB, slow));
    fleet.run_for(lab.about(secs(60)));
    let reloaded = fleet.world.now();
    reload(&mut fleet, leader, |config| config.locks[0].ttl = secs(15));
    fleet.run_for(lab.about(secs(1)));
    assert_eq!(fleet.runners(JOB), [leader], "it is still stopping");
    // To another node, or to the same one: whoever is first.
    let has_changed = |fleet: &Fleet| count_of(fleet, "acquired lock.#0") == 2;
    let took = fleet.await_that("another term begins", secs(30), has_changed);
    assert!(took < secs(4), "it took {took:?}");
    assert_eq!(fleet.times_of(leader, "released lock.#0").len(), 1);
    let first = fleet.job(leader, JOB).nth(1).gone.expect("the first has gone");
    assert!(first > reloaded + secs(2));
    fleet.run_for(secs(1));
    let next = fleet.runner(JOB);
    assert!(fleet.job(next, JOB).last().asked > first);
    fleet.run_for(secs(60));
    let sessions = fleet.read("/v1/session/list");
    let ttls = sessions.as_array().into_iter().flatten();
    let ttls: Vec<_> = ttls.filter_map(|session| session["TTL"].as_str()).collect();
    let new = ttls.iter().filter(|ttl| **ttl == "15s").count();
    assert_eq!((ttls.len(), new), (3, 1), "it stands again, with the new figures: {sessions}");
}

fn reload_of_the_lock_of_the_only_node_begins_another_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, of(1));
    fleet.run_for(lab.about(secs(60)));
    let reloaded = fleet.world.now();
    reload(&mut fleet, leader, |config| config.locks[0].ttl = secs(15));
    let runs_again = |fleet: &Fleet| {
        let runs = fleet.job(leader, JOB);
        runs.count() == 2 && runs.is_live()
    };
    let took = fleet.await_that("it has the lock again", secs(30), runs_again);
    assert!(took < secs(3), "it took {took:?}");
    let first = fleet.job(leader, JOB).nth(1).gone.expect("the first has gone");
    assert!(first > reloaded && first <= fleet.job(leader, JOB).nth(2).asked);
    assert_eq!(count_of(&fleet, "acquired lock.#0"), 2);
}

fn reload_that_removes_the_lock_hands_it_over(lab: Lab) {
    let slow = Script::endless().stops(secs(2), 0);
    let (mut fleet, leader) = settled(lab, three().script(JOB, slow));
    fleet.run_for(lab.about(secs(60)));
    reload(&mut fleet, leader, |config| {
        config.locks.clear();
        config.jobs.retain(|job| &*job.name != JOB);
    });
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took < secs(5), "it took {took:?}");
    fleet.run_for(lab.about(secs(60)));
    assert_eq!(sessions(&mut fleet), 2);
}

/// One container after the other gets another image; the leader last.
fn rolling_upgrade_costs_one_hand_over(lab: Lab) {
    let (mut fleet, leader) = settled(lab, of(5));
    fleet.run_for(lab.about(secs(30)));
    let mut order = followers(&fleet, leader);
    order.push(leader);
    for node in order {
        fleet.act(node, Action::StopContainer(secs(30)));
        fleet.run_for(lab.about(secs(3)));
        assert!(fleet.world.node(node).exit().is_some());
        fleet.act(node, Action::StartContainer);
        fleet.run_for(lab.about(secs(20)));
    }
    assert_eq!(count_of(&fleet, "acquired lock.#0"), 2, "{}", fleet.story());
    let next = fleet.runner(JOB);
    let gap = fleet.job(next, JOB).last().asked.since(gone(&fleet, leader));
    assert!(gap <= secs(2), "nobody led for {gap:?}");
    assert_eq!(sessions(&mut fleet), 5);
}

fn gone(fleet: &Fleet, node: NodeId) -> Time {
    fleet.job(node, JOB).last().gone.expect("it has gone")
}

/// Everything stops and starts again, many times: no session, no lock, no quiet time is left over.
fn fleet_that_stops_leaves_nothing_behind(lab: Lab) {
    let fleet: FleetBuilder = of(5);
    let mut fleet = lab.begin_fleet(fleet);
    for round in 0..20 {
        let took = fleet.await_runner(JOB, secs(90), |_| true);
        // The mark of an orderly release stands in the key.
        // Elsewhere a request may overtake the one before it, and bar the key after all.
        let limit = secs(if lab.is_as_written() { 4 } else { 60 });
        assert!(round == 0 || took <= limit, "round {round} took {took:?}\n{}", fleet.story());
        (0..5).for_each(|nth| fleet.act(node(nth), Action::StopContainer(secs(30))));
        fleet.run_for(lab.about(secs(10)));
        assert!((0..5).all(|nth| fleet.world.node(node(nth)).exit().is_some()));
        assert_eq!(sessions(&mut fleet), 0, "in round {round}");
        let entry = fleet.read(&format!("/v1/kv/{KEY}"));
        assert!(entry[0]["Session"].is_null(), "{entry}");
        (0..5).for_each(|nth| fleet.act(node(nth), Action::StartContainer));
    }
}
