//! The ways to lose a term, and when its processes are gone: always before anybody else's start.

use steersman_engine::config::Signal;
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest};
use steersman_engine::input::Control;
use steersman_engine::{Effect, Input};
use steersman_sim::fixture::{ms, secs};
use steersman_sim::fleet::{Fleet, bystander, ledger, lock, node};
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;
use steersman_sim::{Action, CatalogFault};

use super::{
    JOB, KEY, failover, followers, is_reading, is_renewal, others, requests, run_losing, settled,
    three,
};
use crate::lab::{Lab, scenarios};

scenarios![
    crash_of_the_holder_is_followed_by_another_term,
    renewals_that_get_lost_end_the_term_in_time,
    requests_that_get_lost_end_the_term_in_time,
    answers_that_get_lost_end_the_term_in_time,
    age_of_a_term_counts_from_the_sending,
    readings_that_get_lost_end_the_term_in_time,
    age_of_a_reading_counts_from_its_sending,
    session_that_consul_wrongly_does_not_know_is_given_back,
    lock_that_could_not_be_given_back_is_given_back_after_the_cut,
    lock_that_cannot_be_given_back_is_let_go_of_in_the_end,
    key_deleted_while_an_answer_gets_lost_is_missed_in_time,
    key_deleted_in_the_quiet_time_begins_no_term,
    process_that_ignores_the_stop_is_killed_before_anybody_else_runs,
    daemon_left_behind_is_ended_before_anybody_else_runs,
    short_outage_costs_no_term,
    destroyed_session_ends_the_term_and_bars_the_key,
    holder_whose_key_was_deleted_while_it_was_cut_off_makes_room,
    loser_of_a_term_hears_who_leads_before_it_stands_again,
    loser_of_a_term_waits_before_it_stands_again,
    lost_term_of_a_lock_that_is_stood_for_once_ends_its_supervisor,
    leader_that_stays_unhealthy_hands_over,
];

fn crash_of_the_holder_is_followed_by_another_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(10)));
    fleet.act(leader, Action::Crash);
    fleet.await_runner(JOB, failover(lab), others(leader));
    fleet.run_for(lab.about(secs(300)));
    assert_ne!(fleet.runner(JOB), leader);
}

/// The holder's link fails in some way: its process is gone by the deadline, and only then does
/// another run.
fn link_fails(lab: Lab, state: LinkState) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(100)));
    let cut = fleet.world.now();
    fleet.act(leader, Action::Link(state));
    fleet.await_runner(JOB, failover(lab), others(leader));
    let gone = fleet.job(leader, JOB).last().gone.expect("the old holder has stopped");
    assert!(gone <= cut + secs(13) + secs(5) + ms(10), "gone after {:?}", gone.since(cut));
    assert_eq!(fleet.times_of(leader, "jeopardy lock.#0").len(), 1);
    assert_eq!(fleet.times_of(leader, "lost lock.#0").len(), 1);
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.run_for(lab.about(secs(300)));
    assert_ne!(fleet.runner(JOB), leader, "it does not take the lock back");
}

fn renewals_that_get_lost_end_the_term_in_time(lab: Lab) {
    link_fails(lab, LinkState::Cut);
}

fn requests_that_get_lost_end_the_term_in_time(lab: Lab) {
    link_fails(lab, LinkState::CutOut);
}

fn answers_that_get_lost_end_the_term_in_time(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(100)));
    let cut = fleet.world.now();
    // Renewals are done and nobody knows: the session lives on, the term must end all the same.
    fleet.act(leader, Action::Link(LinkState::CutIn));
    fleet.run_for(secs(20));
    let gone = fleet.job(leader, JOB).last().gone.expect("the old holder has stopped");
    assert!(gone <= cut + secs(13) + secs(5) + ms(10), "gone after {:?}", gone.since(cut));
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.await_runner(JOB, failover(lab), |_| true);
}

/// Answers take long. What counts is when the last answered renewal was sent.
fn age_of_a_term_counts_from_the_sending(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.act(leader, Action::Latency(ms(900), ms(900)));
    fleet.run_for(lab.about(secs(60)));
    let before = requests(&fleet, leader, is_renewal).len();
    fleet.await_that("the next renewal", secs(10), |fleet| {
        requests(fleet, leader, is_renewal).len() > before
    });
    let sent = *requests(&fleet, leader, is_renewal).last().expect("there is one");
    // It is answered after 1.8 s; none after it is.
    fleet.run_for(ms(2500));
    run_losing(&mut fleet, leader, secs(15), is_renewal);
    let lost = fleet.times_of(leader, "lost lock.#0");
    assert!(matches!(lost[..], [at] if at <= sent + secs(13) + ms(10)), "{lost:?}, {sent:?}");
    assert!(matches!(lost[..], [at] if at >= sent + secs(13) - ms(10)), "{lost:?}, {sent:?}");
}

/// An operator deletes the key, and the holder does not hear of it although it can renew.
fn readings_that_get_lost_end_the_term_in_time(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, three().script(JOB, deaf));
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Latency(ms(50), ms(50)));
    run_losing(&mut fleet, leader, lab.about(secs(2)), is_reading);
    fleet.act(leader, Action::Catalog(CatalogFault::Delete { key: KEY.into() }));
    let deleted = fleet.world.now();
    run_losing(&mut fleet, leader, secs(30), is_reading);
    let gone = fleet.job(leader, JOB).last().gone.expect("the old holder has stopped");
    assert!(gone <= deleted + secs(13) + secs(5) + ms(10), "after {:?}", gone.since(deleted));
    fleet.await_runner(JOB, failover(lab), others(leader));
}

/// What a blocking read shows was so when it was asked, and need not be so any more.
fn age_of_a_reading_counts_from_its_sending(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Latency(ms(50), ms(50)));
    fleet.run_for(secs(10));
    let readings = |fleet: &Fleet| requests(fleet, leader, is_reading);
    // One that waited has just been answered, and so the next one is asked: not one from before, to
    // which the answer may be there already.
    let known = readings(&fleet).len();
    fleet.await_that("a reading that waited is answered", secs(20), |fleet| {
        let sent = readings(fleet);
        let is_after_wait = matches!(sent[..], [.., before, last] if last.since(before) > secs(2));
        sent.len() > known && is_after_wait
    });
    let sent = readings(&fleet);
    let answered = sent[sent.len() - 2];
    run_losing(&mut fleet, leader, secs(20), is_reading);
    let lost = fleet.times_of(leader, "lost lock.#0");
    assert!(matches!(lost[..], [at] if at <= answered + secs(13) + ms(10)), "{lost:?}, {sent:?}");
    assert!(matches!(lost[..], [at] if at >= answered + secs(13) - ms(10)), "{lost:?}, {sent:?}");
}

/// A leader of Consul that has just begun may not know of a session that lives.
fn session_that_consul_wrongly_does_not_know_is_given_back(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Latency(ms(50), ms(50)));
    let before = requests(&fleet, leader, is_renewal).len();
    fleet.await_that("the next renewal", secs(10), |fleet| {
        requests(fleet, leader, is_renewal).len() > before
    });
    let effects = fleet.world.observer().other_effects(leader);
    let renewal = effects.filter_map(|(_, effect)| match effect {
        Effect::Consul { op, request, .. } if is_renewal(request) => Some(*op),
        _ => None,
    });
    let op = renewal.last().expect("it is under way");
    let reply = ConsulReply::Failed(ConsulFailure::Unknown);
    fleet.act(leader, Action::Inject(Input::Consul { op, reply }));
    let took = fleet.await_runner(JOB, secs(30), others(leader));
    assert!(took <= secs(3), "the key was not barred: {took:?}");
}

/// The holder is back before its session has expired: the next one need not wait for that.
fn lock_that_could_not_be_given_back_is_given_back_after_the_cut(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.await_that("the term is lost", secs(20), |fleet| fleet.runners(JOB).is_empty());
    fleet.run_for(secs(5));
    fleet.act(leader, Action::Link(LinkState::Up));
    let took = fleet.await_runner(JOB, failover(lab), others(leader));
    // By contract its session may have expired meanwhile, and barred the key.
    assert!(lab.is_contract() || took <= secs(6), "it took {took:?}");
}

fn lock_that_cannot_be_given_back_is_let_go_of_in_the_end(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Link(LinkState::Cut));
    let cut = fleet.world.now();
    fleet.run_for(secs(200));
    let is_release = |request: &ConsulRequest| matches!(request, ConsulRequest::Release { .. });
    let releases = requests(&fleet, leader, is_release);
    assert!((5..40).contains(&releases.len()), "{releases:?}");
    // Four times its time to live after the last renewal its session has surely gone.
    assert!(releases.iter().all(|at| *at <= cut + secs(80)), "{releases:?}");
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.run_for(lab.about(secs(100)));
    assert_ne!(fleet.runner(JOB), leader);
}

/// The holder's blocking read would tell it, but the answer gets lost, and nobody says so.
fn key_deleted_while_an_answer_gets_lost_is_missed_in_time(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, three().script(JOB, deaf));
    fleet.run_for(lab.about(secs(100)));
    fleet.act(leader, Action::Link(LinkState::CutIn));
    fleet.act(leader, Action::Catalog(CatalogFault::Delete { key: KEY.into() }));
    let deleted = fleet.world.now();
    fleet.run_for(lab.about(ms(500)));
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.await_runner(JOB, failover(lab), others(leader));
    let lost = fleet.times_of(leader, "lost lock.#0");
    // A blocking read of five seconds and a sixteenth, its patience, and another one.
    let latest = deleted + secs(5 + 2 + 2);
    assert!(matches!(lost[..], [at] if at <= latest), "{lost:?}, {deleted:?}");
}

/// The same, just before the end of a quiet time.
fn key_deleted_in_the_quiet_time_begins_no_term(lab: Lab) {
    let mut fleet = lab.begin_fleet(three());
    fleet.run_for(secs(18));
    let is_granted = |fleet: &Fleet, node| {
        let log = fleet.world.observer().log(node);
        log.map(|line| format!("{:?}", line.record.message)).any(|it| it.contains("Granted"))
    };
    let holder = (0..3).map(node).find(|node| is_granted(&fleet, *node));
    let holder = holder.expect("somebody holds it and keeps quiet");
    fleet.act(holder, Action::Link(LinkState::CutIn));
    fleet.act(holder, Action::Catalog(CatalogFault::Delete { key: KEY.into() }));
    fleet.run_for(ms(500));
    fleet.act(holder, Action::Link(LinkState::Up));
    fleet.await_runner(JOB, failover(lab), others(holder));
    assert_eq!(fleet.job(holder, JOB).count(), 0);
}

fn process_that_ignores_the_stop_is_killed_before_anybody_else_runs(lab: Lab) {
    let deaf = Script::endless().ignores_stop();
    let (mut fleet, leader) = settled(lab, three().script(JOB, deaf));
    fleet.run_for(lab.about(secs(100)));
    let cut = fleet.world.now();
    fleet.act(leader, Action::Link(LinkState::Refused));
    fleet.await_runner(JOB, failover(lab), others(leader));
    let run = fleet.job(leader, JOB).last().clone();
    let killed = run.signalled(Signal::KILL).expect("it is killed");
    let limit = cut + secs(13) + secs(5) + ms(10);
    assert!(killed <= limit, "killed after {:?}", killed.since(cut));
}

/// The job's process ends when it is told to, and leaves behind what does not.
fn daemon_left_behind_is_ended_before_anybody_else_runs(lab: Lab) {
    let forks = Script::endless().stops(secs(1), 0).leaves(None, false);
    let (mut fleet, leader) = settled(lab, three().script(JOB, forks));
    fleet.run_for(lab.about(secs(100)));
    let cut = fleet.world.now();
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.await_runner(JOB, failover(lab), others(leader));
    let run = fleet.job(leader, JOB).last().clone();
    let (ended, _) = run.ended.expect("its process has ended");
    let gone = run.gone.expect("and what it left behind as well");
    assert!(ended < gone);
    assert!(gone <= cut + secs(13) + secs(5) + ms(10), "gone after {:?}", gone.since(cut));
    // In order as well: the lock waits for the daemon.
    let leader = fleet.runner(JOB);
    fleet.act(leader, Action::Control(Control::Maintenance(true)));
    fleet.await_runner(JOB, secs(30), others(leader));
    let gone = fleet.job(leader, JOB).last().gone.expect("it has gone");
    let next = fleet.runner(JOB);
    assert!(fleet.job(next, JOB).last().asked > gone);
}

fn short_outage_costs_no_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    for _ in 0..10 {
        fleet.run_for(lab.about(secs(31)));
        fleet.act(leader, Action::Link(LinkState::Cut));
        fleet.run_for(lab.about(secs(4)));
        fleet.act(leader, Action::Link(LinkState::Up));
    }
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.job(leader, JOB).count(), 1);
}

fn destroyed_session_ends_the_term_and_bars_the_key(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    let destroyed = fleet.world.now();
    fleet.trouble(CatalogFault::DestroyHolder { key: KEY.into() });
    fleet.await_runner(JOB, failover(lab), |node| node != leader);
    let gone = fleet.job(leader, JOB).last().gone.expect("the old holder has stopped");
    assert!(gone <= destroyed + secs(8), "it hears of it: {:?}", gone.since(destroyed));
    let next = fleet.runner(JOB);
    assert!(fleet.job(next, JOB).last().asked >= destroyed + secs(20), "the key was barred");
}

/// Somebody deletes the key of a holder that hears nothing for a moment.
fn holder_whose_key_was_deleted_while_it_was_cut_off_makes_room(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(100)));
    fleet.act(leader, Action::Link(LinkState::Refused));
    fleet.run_for(lab.about(ms(500)));
    fleet.act(leader, Action::Catalog(CatalogFault::Delete { key: KEY.into() }));
    fleet.run_for(lab.about(secs(2)));
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.await_runner(JOB, failover(lab), others(leader));
    assert_eq!(fleet.times_of(leader, "lost lock.#0").len(), 1);
}

fn loser_of_a_term_hears_who_leads_before_it_stands_again(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    let destroyed = fleet.world.now();
    fleet.trouble(CatalogFault::DestroyHolder { key: KEY.into() });
    fleet.await_runner(JOB, failover(lab), others(leader));
    fleet.run_for(secs(2));
    let observed = fleet.times_of(leader, "observed lock.#0");
    assert!(observed.iter().any(|at| *at > destroyed), "it waits out its hold-off, but listens");
    let gone = fleet.job(leader, JOB).last().gone.expect("it has stopped");
    assert!(fleet.world.now() < gone + secs(30), "the hold-off is not over");
}

/// Alone, it could have the lock back as soon as its key is not barred any more.
fn loser_of_a_term_waits_before_it_stands_again(lab: Lab) {
    let (mut fleet, leader) = settled(lab, super::of(1));
    for round in 0..2 {
        fleet.run_for(lab.about(secs(10)));
        fleet.trouble(CatalogFault::DestroyHolder { key: KEY.into() });
        fleet.await_that("the term is lost", secs(10), |fleet| fleet.runners(JOB).is_empty());
        let lost = fleet.world.now();
        fleet.await_runner(JOB, secs(150), |_| true);
        let waited = fleet.job(leader, JOB).last().asked.since(lost);
        // After a second loss in a row twice as long; the drift of clocks is left aside.
        let least = secs(30 << round) - secs(1);
        assert!(waited >= least, "it waited {waited:?} after loss {round}");
    }
}

fn lost_term_of_a_lock_that_is_stood_for_once_ends_its_supervisor(lab: Lab) {
    let fleet = Fleet::of(2, [ledger()]).with(|config| {
        config.locks.push(lock("ledger", KEY));
        config.locks[0].stands_again = false;
    });
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.await_runner(JOB, failover(lab), others(leader));
    fleet.act(leader, Action::Link(LinkState::Up));
    fleet.run_for(lab.about(secs(300)));
    assert!(fleet.world.node(leader).exit().is_some(), "nothing is left to do");
    assert_eq!(fleet.job(leader, JOB).count(), 1);
}

fn leader_that_stays_unhealthy_hands_over(lab: Lab) {
    let fleet = Fleet::of(3, [ledger().checked(secs(2)), bystander()]).with(|config| {
        config.locks.push(lock("ledger", KEY));
        config.locks[0].healthy = Some(JOB.into());
    });
    let (mut fleet, leader) = settled(lab, fleet);
    fleet.run_for(lab.about(secs(60)));
    assert_eq!(fleet.runner(JOB), leader, "it is healthy");
    let now = fleet.world.now();
    let checks = fleet.world.playbook();
    let checks = checks.behaviour(leader, JOB, steersman_engine::RunKind::Check);
    checks.set_from(now, Script::ends(ms(10), 1));
    let took = fleet.await_runner(JOB, secs(40), others(leader));
    // Until the next check, the grace, and a stop in order.
    assert!(took >= secs(14) && took <= secs(2 + 15 + 3), "it took {took:?}");
    assert!(followers(&fleet, leader).contains(&fleet.runner(JOB)));
    assert_eq!(fleet.job(node(leader.0), JOB).count(), 1);
}
