//! Locks on several nodes with a real model of Consul: never two, soon one, tokens that only grow.
//! The oracle judges the first and the last in every scenario, from the truth about the processes.

use core::time::Duration;

use steersman_engine::config::{Backoff, Signal};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_sim::container::RestartPolicy;
use steersman_sim::fixture::{ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, advertised, bystander, ledger, lock, node};
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;
use steersman_sim::{Action, CatalogFault, NodeId};

use crate::lab::{Lab, scenarios};

scenarios![
    one_of_three_gets_the_lock_and_runs,
    orderly_stop_hands_over_within_seconds,
    lock_is_given_back_only_when_the_process_has_gone,
    crash_of_the_holder_is_followed_by_another_term,
    renewals_that_get_lost_end_the_term_in_time,
    answers_that_get_lost_end_the_term_in_time,
    process_that_ignores_the_stop_is_killed_before_anybody_else_runs,
    short_outage_costs_no_term,
    frozen_holder_stops_when_it_wakes_up,
    holder_frozen_in_its_quiet_time_starts_nothing,
    destroyed_session_ends_the_term_and_bars_the_key,
    loss_of_all_state_never_gives_two,
    leader_changes_never_give_two_and_end_in_one,
    put_by_a_stranger_changes_neither_term_nor_token,
    drifting_clocks_and_wall_steps_are_harmless,
    maintenance_of_the_holder_hands_over,
    reload_of_something_else_keeps_the_term,
    killed_supervisor_comes_back_as_a_candidate,
    many_candidates_have_one_session_each,
    holder_frozen_between_two_runs_starts_nothing,
    holder_whose_key_was_deleted_while_it_was_cut_off_makes_room,
    lost_term_of_a_lock_that_is_stood_for_once_ends_its_supervisor,
    candidate_gives_up_when_the_lock_is_not_free_in_time,
    frozen_holder_is_not_advertised_again_when_it_wakes_up,
    loser_of_a_term_hears_who_leads_before_it_stands_again,
    job_that_stops_with_the_lock_runs_everywhere_and_ends_with_a_lost_term,
    lock_waits_for_the_job_that_stops_with_it,
    job_that_stops_with_the_lock_does_not_come_back_before_the_rest_has_gone,
];

const JOB: &str = "ledger";

fn three() -> FleetBuilder {
    Fleet::of(3, [ledger(), bystander()])
        .with(|config| config.locks.push(lock("ledger", "svc/ledger/leader")))
}

/// A fleet in which somebody leads, and who that is.
fn settled(lab: Lab, fleet: FleetBuilder) -> (Fleet, NodeId) {
    let mut fleet = lab.begin_fleet(fleet);
    fleet.await_runner(JOB, secs(90), |_| true);
    let leader = fleet.runner(JOB);
    (fleet, leader)
}

/// The longest from the loss of a holder to the next term.
const FAILOVER: Duration = secs(2 * 20 + 20 + 30);

fn others(leader: NodeId) -> impl Fn(NodeId) -> bool {
    move |node| node != leader
}

fn one_of_three_gets_the_lock_and_runs(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(secs(600));
    assert_eq!(fleet.runner(JOB), leader, "and keeps it");
    assert_eq!(fleet.job(leader, JOB).count(), 1);
    assert_eq!(fleet.times_of(leader, "acquired lock.#0").len(), 1);
    assert_eq!(fleet.times_of(leader, "jeopardy lock.#0").len(), 0);
}

fn orderly_stop_hands_over_within_seconds(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.act(leader, Action::Signal(SignalName::Term));
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took < secs(5), "it took {took:?}");
}

fn lock_is_given_back_only_when_the_process_has_gone(lab: Lab) {
    let slow = Script::endless().stops(secs(4), 0);
    let (mut fleet, leader) = settled(lab, three().script(JOB, slow));
    fleet.act(leader, Action::Signal(SignalName::Term));
    fleet.run_for(secs(3));
    assert_eq!(fleet.runner(JOB), leader);
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took < secs(6), "it took {took:?}");
}

fn crash_of_the_holder_is_followed_by_another_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.act(leader, Action::Crash);
    fleet.await_runner(JOB, FAILOVER, others(leader));
    fleet.run_for(secs(300));
    assert_ne!(fleet.runner(JOB), leader);
}

/// The holder's link fails in some way: its process is gone by the deadline, and only then does
/// another run.
fn link_fails(lab: Lab, state: LinkState) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(secs(100));
    let cut = fleet.world.now();
    fleet.act(leader, Action::Link(state));
    fleet.await_runner(JOB, FAILOVER, others(leader));
    let gone = fleet.job(leader, JOB).last().gone.expect("the old holder has stopped");
    assert!(gone <= cut + secs(13) + secs(5) + ms(10), "gone after {:?}", gone.since(cut));
    assert_eq!(fleet.times_of(leader, "jeopardy lock.#0").len(), 1);
    assert_eq!(fleet.times_of(leader, "lost lock.#0").len(), 1);
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.run_for(secs(300));
    assert_ne!(fleet.runner(JOB), leader, "it does not take the lock back");
}

fn renewals_that_get_lost_end_the_term_in_time(lab: Lab) {
    link_fails(lab, LinkState::Cut);
}

fn answers_that_get_lost_end_the_term_in_time(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(secs(100));
    let cut = fleet.world.now();
    // Renewals are done and nobody knows: the session lives on, the term must end all the same.
    fleet.act(leader, Action::Link(LinkState::CutIn));
    fleet.run_for(secs(20));
    let gone = fleet.job(leader, JOB).last().gone.expect("the old holder has stopped");
    assert!(gone <= cut + secs(13) + secs(5) + ms(10), "gone after {:?}", gone.since(cut));
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.await_runner(JOB, FAILOVER, |_| true);
}

fn process_that_ignores_the_stop_is_killed_before_anybody_else_runs(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, three().script(JOB, deaf));
    fleet.run_for(secs(100));
    let cut = fleet.world.now();
    fleet.act(leader, Action::Link(LinkState::Refused));
    fleet.await_runner(JOB, FAILOVER, others(leader));
    let run = fleet.job(leader, JOB).last().clone();
    let killed = run.signalled(Signal::KILL).expect("it is killed");
    assert!(killed <= cut + secs(13) + secs(5), "killed after {:?}", killed.since(cut));
}

fn short_outage_costs_no_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    for _ in 0..10 {
        fleet.run_for(secs(31));
        fleet.act(leader, Action::Link(LinkState::Cut));
        fleet.run_for(secs(4));
        fleet.act(leader, Action::Link(LinkState::Up));
    }
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.job(leader, JOB).count(), 1);
}

fn frozen_holder_stops_when_it_wakes_up(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, three().script(JOB, deaf));
    fleet.act(leader, Action::Freeze);
    fleet.run_for(FAILOVER);
    let woken = fleet.world.now();
    fleet.act(leader, Action::Thaw);
    fleet.run_for(ms(100));
    assert_ne!(fleet.runner(JOB), leader, "{}", fleet.story());
    let gone = fleet.job(leader, JOB).last().gone.expect("it is killed at once");
    assert!(gone <= woken + ms(10));
    assert_eq!(fleet.world.observer().excused(), 1, "what no software in it could prevent");
}

fn holder_frozen_in_its_quiet_time_starts_nothing(lab: Lab) {
    let mut fleet = lab.begin_fleet(three());
    // Just after a renewal, so that its deadline lies behind the end of the quiet time.
    fleet.run_for(secs(12));
    let granted = (0..3).map(node).find(|node| {
        let effects = fleet.world.observer().log(*node);
        effects.map(|line| format!("{:?}", line.record.message)).any(|it| it.contains("Granted"))
    });
    let holder = granted.expect("somebody holds it and keeps quiet");
    fleet.act(holder, Action::Freeze);
    fleet.await_runner(JOB, FAILOVER, others(holder));
    fleet.act(holder, Action::Thaw);
    fleet.run_for(secs(60));
    assert_eq!(fleet.job(holder, JOB).count(), 0, "{}", fleet.story());
}

fn destroyed_session_ends_the_term_and_bars_the_key(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(secs(60));
    let destroyed = fleet.world.now();
    fleet.trouble(CatalogFault::DestroyHolder { key: "svc/ledger/leader".into() });
    fleet.await_runner(JOB, FAILOVER, |node| node != leader);
    let gone = fleet.job(leader, JOB).last().gone.expect("the old holder has stopped");
    assert!(gone <= destroyed + secs(8), "it hears of it: {:?}", gone.since(destroyed));
    let next = fleet.runner(JOB);
    assert!(fleet.job(next, JOB).last().asked >= destroyed + secs(20), "the key was barred");
}

fn loss_of_all_state_never_gives_two(lab: Lab) {
    for seed in 1..=10 {
        let slow = Script::endless().stops(secs(4), 0);
        let (mut fleet, _) = settled(lab, three().seed(seed).script(JOB, slow));
        fleet.run_for(secs(50 + seed));
        fleet.trouble(CatalogFault::LoseState);
        fleet.run_for(secs(300));
        fleet.runner(JOB);
    }
}

fn leader_changes_never_give_two_and_end_in_one(lab: Lab) {
    let (mut fleet, _) = settled(lab, three());
    for round in 0..20u16 {
        let server = round % 3;
        fleet.trouble(CatalogFault::KillServer(server));
        fleet.run_for(secs(25));
        fleet.trouble(CatalogFault::StartServer { server, keeps: true });
        fleet.run_for(secs(5));
    }
    fleet.run_for(secs(200));
    fleet.runner(JOB);
}

fn frozen_holder_is_not_advertised_again_when_it_wakes_up(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let fleet = Fleet::of(3, [advertised(ledger().checked(secs(2)), 7101), bystander()])
        .with(|config| config.locks.push(lock("ledger", "svc/ledger/leader")))
        .script(JOB, deaf);
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.run_for(secs(60));
    fleet.act(leader, Action::Freeze);
    fleet.run_for(FAILOVER);
    fleet.act(leader, Action::Thaw);
    fleet.run_for(secs(30));
    let entries = fleet.read("/v1/health/service/ledger");
    let count = entries.as_array().map_or(0, Vec::len);
    assert_eq!(count, 1, "only who leads is advertised: {entries}");
}

fn loser_of_a_term_hears_who_leads_before_it_stands_again(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(secs(60));
    let destroyed = fleet.world.now();
    fleet.trouble(CatalogFault::DestroyHolder { key: "svc/ledger/leader".into() });
    fleet.await_runner(JOB, FAILOVER, others(leader));
    fleet.run_for(secs(2));
    let observed = fleet.times_of(leader, "observed lock.#0");
    assert!(observed.iter().any(|at| *at > destroyed), "it waits out its hold-off, but listens");
    let gone = fleet.job(leader, JOB).last().gone.expect("it has stopped");
    assert!(fleet.world.now() < gone + secs(30), "the hold-off is not over");
}

/// A database that runs everywhere, beside what makes one of them the leader.
fn with_store(store: Script) -> FleetBuilder {
    let job = steersman_sim::fixture::job("store").with(|job| {
        job.stop_with = Some("ledger".into());
        job.restarts = steersman_engine::config::Restarts::Unlimited;
    });
    Fleet::of(3, [ledger(), job])
        .with(|config| config.locks.push(lock("ledger", "svc/ledger/leader")))
        .script("store", store)
}

fn job_that_stops_with_the_lock_runs_everywhere_and_ends_with_a_lost_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, with_store(Script::endless()));
    fleet.run_for(secs(100));
    assert_eq!(fleet.runners("store").len(), 3);
    let cut = fleet.world.now();
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.await_runner(JOB, FAILOVER, others(leader));
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
    fleet.run_for(secs(100));
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
    fleet.run_for(secs(100));
    fleet.act(leader, Action::Control(Control::Maintenance(true)));
    fleet.await_runner(JOB, secs(30), others(leader));
    let gone = fleet.job(leader, JOB).last().gone.expect("it has ended");
    assert!(fleet.job(leader, "store").last().asked >= gone);
    assert_eq!(fleet.job(leader, "store").count(), 2);
}

fn put_by_a_stranger_changes_neither_term_nor_token(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(secs(60));
    let put = CatalogFault::Put { key: "svc/ledger/leader".into(), value: "me".into() };
    fleet.trouble(put);
    fleet.run_for(secs(300));
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.job(leader, JOB).count(), 1);
}

fn drifting_clocks_and_wall_steps_are_harmless(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three().drift(500));
    for days in [1, -3, 2] {
        fleet.act(leader, Action::StepWall(days * 86_400_000));
        fleet.run_for(secs(1000));
    }
    assert_eq!(fleet.runner(JOB), leader);
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.await_runner(JOB, FAILOVER, others(leader));
}

fn maintenance_of_the_holder_hands_over(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.act(leader, Action::Control(Control::Maintenance(true)));
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took < secs(5), "it took {took:?}");
    fleet.run_for(secs(100));
    fleet.act(leader, Action::Control(Control::Maintenance(false)));
    fleet.run_for(secs(100));
    assert_ne!(fleet.runner(JOB), leader);
}

fn reload_of_something_else_keeps_the_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    let mut config = fleet.world.node(leader).engine().config().as_ref().clone();
    config.jobs.push(std::sync::Arc::new(steersman_sim::fixture::job("more").build()));
    fleet.act(leader, Action::WriteConfig(Ok(config)));
    fleet.act(leader, Action::Control(Control::Reload { all: false }));
    fleet.run_for(secs(200));
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.job(leader, JOB).count(), 1);
    assert_eq!(fleet.job(leader, "more").count(), 1);
}

fn killed_supervisor_comes_back_as_a_candidate(lab: Lab) {
    let fleet = three().nodes(|setup| setup.restart = RestartPolicy::Always(secs(2)));
    let (mut fleet, leader) = settled(lab, fleet);
    for _ in 0..5 {
        fleet.run_for(secs(100));
        let leader = fleet.runner(JOB);
        fleet.act(leader, Action::Crash);
        fleet.await_runner(JOB, FAILOVER, |_| true);
    }
    fleet.run_for(secs(100));
    assert!((0..3).all(|nth| fleet.world.node(node(nth)).exit().is_none()));
    assert!(fleet.job(leader, "bystander").count() >= 2);
}

fn many_candidates_have_one_session_each(lab: Lab) {
    let fleet = Fleet::of(30, [ledger(), bystander()])
        .with(|config| config.locks.push(lock("ledger", "svc/ledger/leader")));
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.run_for(secs(300));
    let sessions = fleet.read("/v1/session/list?stale");
    let count = sessions.as_array().map_or(0, Vec::len);
    assert!((1..=30).contains(&count), "{count} sessions");
    fleet.act(leader, Action::Crash);
    fleet.await_runner(JOB, FAILOVER, others(leader));
    let sessions = fleet.read("/v1/session/list?stale");
    let count = sessions.as_array().map_or(0, Vec::len);
    assert!((1..=30).contains(&count), "{count} sessions");
}

fn lost_term_of_a_lock_that_is_stood_for_once_ends_its_supervisor(lab: Lab) {
    let fleet = Fleet::of(2, [ledger()]).with(|config| {
        config.locks.push(lock("ledger", "svc/ledger/leader"));
        config.locks[0].stands_again = false;
    });
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.await_runner(JOB, FAILOVER, others(leader));
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.run_for(secs(300));
    assert!(fleet.world.node(leader).exit().is_some(), "nothing is left to do");
    assert_eq!(fleet.job(leader, JOB).count(), 1);
}

fn candidate_gives_up_when_the_lock_is_not_free_in_time(lab: Lab) {
    let fleet = Fleet::of(2, [ledger()]).with(|config| {
        config.locks.push(lock("ledger", "svc/ledger/leader"));
        config.locks[0].give_up_after = Some(secs(60));
    });
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.run_for(secs(120));
    let other = fleet.world.nodes().map(|(id, _)| id).find(|id| *id != leader);
    let other = other.expect("there are two");
    assert!(fleet.world.node(other).exit().is_some(), "it does not wait for ever");
    assert_eq!(fleet.runner(JOB), leader, "the holder is not concerned");
    assert_eq!(fleet.times_of(leader, "lost lock.#0").len(), 0);
}

/// Somebody deletes the key of a holder that hears nothing for a moment.
fn holder_whose_key_was_deleted_while_it_was_cut_off_makes_room(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(secs(100));
    fleet.act(leader, Action::Link(LinkState::Refused));
    fleet.run_for(ms(500));
    fleet.act(leader, Action::Catalog(CatalogFault::Delete { key: "svc/ledger/leader".into() }));
    fleet.run_for(secs(2));
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.await_runner(JOB, FAILOVER, others(leader));
    assert_eq!(fleet.times_of(leader, "lost lock.#0").len(), 1);
}

/// Two timers are due when the holder wakes up: that of the restart comes first.
fn holder_frozen_between_two_runs_starts_nothing(lab: Lab) {
    let job = ledger().unlimited().backoff(Backoff::default());
    let three = Fleet::of(3, [job, bystander()])
        .with(|config| config.locks.push(lock("ledger", "svc/ledger/leader")));
    let (mut fleet, leader) = settled(lab, three);
    fleet.run_for(secs(100));
    for _ in 0..2 {
        let run = fleet.job(leader, JOB).last().run;
        fleet.act(leader, Action::EndProcess(run, ExitStatus::Signal(9)));
        fleet.run_for(ms(20));
    }
    assert!(fleet.job(leader, JOB).last().gone.is_some(), "the next start is waited for");
    let runs = fleet.job(leader, JOB).count();
    fleet.act(leader, Action::Freeze);
    fleet.await_runner(JOB, FAILOVER, others(leader));
    fleet.act(leader, Action::Thaw);
    fleet.run_for(secs(5));
    assert_eq!(fleet.job(leader, JOB).count(), runs);
}
