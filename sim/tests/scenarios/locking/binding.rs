//! `stopWith`: a job that runs with the lock and without it, and ends with each term.

use steersman_engine::config::Restarts;
use steersman_engine::input::Control;
use steersman_sim::Action;
use steersman_sim::fixture::{job, ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, ledger, lock, node};
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;

use super::{JOB, KEY, failover, others, settled};
use crate::lab::{Lab, scenarios};

scenarios![
    job_that_stops_with_the_lock_runs_everywhere_and_ends_with_a_lost_term,
    lock_waits_for_the_job_that_stops_with_it,
    job_that_stops_with_the_lock_does_not_come_back_before_the_rest_has_gone,
    lock_lost_in_its_quiet_time_passes_on_beside_a_job_that_stops_with_it,
];

/// A database that runs everywhere, beside what makes one of them the leader.
fn with_store(store: Script) -> FleetBuilder {
    let job = job("store").with(|job| {
        job.stop_with = Some("ledger".into());
        job.restarts = Restarts::Unlimited;
    });
    Fleet::of(3, [ledger(), job])
        .with(|config| config.locks.push(lock("ledger", KEY)))
        .script("store", store)
}

fn job_that_stops_with_the_lock_runs_everywhere_and_ends_with_a_lost_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, with_store(Script::endless()));
    fleet.run_for(lab.about(secs(100)));
    assert_eq!(fleet.runners("store").len(), 3);
    let cut = fleet.world.now();
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.await_runner(JOB, failover(lab), others(leader));
    let stores = fleet.job(leader, "store");
    assert_eq!(stores.count(), 2, "it ends with the term and comes back");
    let gone = stores.nth(1).gone.expect("it has ended");
    assert!(gone <= cut + secs(13) + secs(5) + ms(10), "gone after {:?}", gone.since(cut));
    assert_eq!(fleet.runners("store").len(), 3, "without the lock as well");
    let next = fleet.runner(JOB);
    assert_eq!(fleet.job(next, "store").count(), 1, "a term's beginning does not touch it");
}

fn lock_waits_for_the_job_that_stops_with_it(lab: Lab) {
    let slow = Script::endless().stops(secs(4), 0);
    let (mut fleet, leader) = settled(lab, with_store(slow));
    fleet.run_for(lab.about(secs(100)));
    fleet.act(leader, Action::Control(Control::Maintenance(true)));
    fleet.await_runner(JOB, secs(30), others(leader));
    let gone = fleet.job(leader, "store").nth(1).gone.expect("it has ended");
    let next = fleet.runner(JOB);
    assert!(fleet.job(next, JOB).last().asked > gone, "the lock passes on only then");
    assert!(fleet.job(leader, "store").is_live(), "in maintenance as well");
}

fn job_that_stops_with_the_lock_does_not_come_back_before_the_rest_has_gone(lab: Lab) {
    let slow = Script::endless().stops(secs(4), 0);
    let fleet = with_store(Script::endless()).script(JOB, slow);
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.run_for(lab.about(secs(100)));
    fleet.act(leader, Action::Control(Control::Maintenance(true)));
    fleet.await_runner(JOB, secs(30), others(leader));
    let gone = fleet.job(leader, JOB).last().gone.expect("it has ended");
    assert!(fleet.job(leader, "store").last().asked >= gone);
    assert_eq!(fleet.job(leader, "store").count(), 2);
}

fn lock_lost_in_its_quiet_time_passes_on_beside_a_job_that_stops_with_it(lab: Lab) {
    let mut fleet = lab.begin_fleet(with_store(Script::endless()));
    fleet.run_for(secs(5));
    let is_granted = |fleet: &Fleet, node| {
        let log = fleet.world.observer().log(node);
        log.map(|line| format!("{:?}", line.record.message)).any(|it| it.contains("Granted"))
    };
    let holder = (0..3).map(node).find(|node| is_granted(&fleet, *node));
    let holder = holder.expect("somebody holds it and keeps quiet");
    fleet.act(holder, Action::Link(LinkState::Cut));
    fleet.run_for(secs(15));
    fleet.act(holder, Action::Link(LinkState::Up));
    fleet.await_runner(JOB, failover(lab) + secs(20), |_| true);
    assert_eq!(fleet.job(holder, "store").count(), 1, "it was nobody's leader");
}
