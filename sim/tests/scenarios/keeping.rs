//! The keeper of a term: what it does when the supervisor does nothing, and what happens without
//! one. The oracle judges in every scenario what it is told, and that it never has to do what a
//! supervisor that runs should have done.

use core::time::Duration;

use steersman_engine::config::Keeping;
use steersman_sim::fixture::{ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, bystander, ledger, lock, node};
use steersman_sim::script::Script;
use steersman_sim::{Action, NodeId};

use crate::lab::{Lab, scenarios};

scenarios![
    supervisor_that_hangs_does_not_keep_its_processes_alive,
    supervisor_that_hangs_for_a_short_time_keeps_its_term,
    keeper_ends_what_the_supervisor_was_about_to_end,
    without_a_keeper_two_run_while_a_supervisor_hangs,
    keeper_that_was_killed_is_replaced_and_the_term_goes_on,
    lock_that_requires_a_keeper_goes_to_where_there_is_one,
];

const JOB: &str = "ledger";
/// 2 · TTL and the lock delay, and the way to the next start.
const FAILOVER: Duration = secs(90);
/// `demoteAfter` and `stopTimeout`.
const TERM: Duration = secs(18);

fn three(keeper: Keeping) -> FleetBuilder {
    let mut lock = lock("ledger", "svc/ledger/leader");
    lock.keeper = keeper;
    Fleet::of(3, [ledger(), bystander()]).with(|config| config.locks.push(lock))
}

fn settled(lab: Lab, fleet: FleetBuilder) -> (Fleet, NodeId) {
    let mut fleet = lab.begin_fleet(fleet);
    fleet.await_runner(JOB, FAILOVER, |_| true);
    fleet.run_for(secs(40));
    let leader = fleet.runner(JOB);
    (fleet, leader)
}

fn supervisor_that_hangs_does_not_keep_its_processes_alive(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three(Keeping::Auto));
    let hung = fleet.world.now();
    fleet.act(leader, Action::Pause);
    fleet.await_runner(JOB, FAILOVER, |node| node != leader);
    let gone = fleet.job(leader, JOB).last().gone.expect("the keeper has ended it");
    assert!(gone <= hung + TERM + ms(100), "gone after {:?}", gone.since(hung));
    let next = fleet.runner(JOB);
    fleet.act(leader, Action::Resume);
    fleet.run_for(secs(100));
    assert_eq!(fleet.runner(JOB), next);
    assert_eq!(fleet.world.observer().excused(), 0);
}

fn supervisor_that_hangs_for_a_short_time_keeps_its_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three(Keeping::Auto));
    for _ in 0..10 {
        fleet.act(leader, Action::Pause);
        fleet.run_for(secs(7));
        fleet.act(leader, Action::Resume);
        fleet.run_for(secs(13));
    }
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.job(leader, JOB).count(), 1);
}

fn keeper_ends_what_the_supervisor_was_about_to_end(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, three(Keeping::Auto).script(JOB, deaf));
    let told = fleet.world.now();
    fleet.act(leader, Action::Signal(steersman_engine::event::SignalName::Term));
    fleet.run_for(secs(1));
    fleet.act(leader, Action::Pause);
    fleet.await_runner(JOB, FAILOVER, |node| node != leader);
    let gone = fleet.job(leader, JOB).last().gone.expect("the keeper has ended it");
    assert!(gone <= told + TERM + ms(100), "gone after {:?}", gone.since(told));
    assert_eq!(fleet.world.observer().excused(), 0);
}

fn without_a_keeper_two_run_while_a_supervisor_hangs(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three(Keeping::Off));
    fleet.act(leader, Action::Pause);
    fleet.run_for(FAILOVER);
    assert_eq!(fleet.runners(JOB).len(), 2, "what a keeper is for");
    fleet.act(leader, Action::Resume);
    fleet.run_for(secs(1));
    assert_ne!(fleet.runner(JOB), leader);
    assert_eq!(fleet.world.observer().excused(), 1);
}

fn keeper_that_was_killed_is_replaced_and_the_term_goes_on(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three(Keeping::Auto));
    fleet.act(leader, Action::BarKeeper(true));
    fleet.run_for(secs(60));
    assert_eq!(fleet.runner(JOB), leader, "the term goes on");
    assert_eq!(fleet.job(leader, JOB).count(), 1);
    fleet.act(leader, Action::BarKeeper(false));
    // The longest wait before another try.
    fleet.run_for(secs(40));
    fleet.act(leader, Action::Pause);
    fleet.run_for(TERM + secs(1));
    assert_eq!(fleet.runners(JOB), [], "there is a keeper again");
}

fn lock_that_requires_a_keeper_goes_to_where_there_is_one(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three(Keeping::Required));
    let barred = fleet.world.now();
    fleet.act(leader, Action::BarKeeper(true));
    fleet.await_runner(JOB, secs(60), |node| node != leader);
    let gone = fleet.job(leader, JOB).last().gone.expect("its term has ended");
    assert!(gone <= barred + secs(8), "gone after {:?}", gone.since(barred));
    for nth in 0..3 {
        fleet.act(node(nth), Action::BarKeeper(true));
    }
    fleet.run_for(secs(300));
    assert_eq!(fleet.runners(JOB), [], "nowhere is one");
    fleet.act(leader, Action::BarKeeper(false));
    fleet.await_runner(JOB, secs(600), |node| node == leader);
}
