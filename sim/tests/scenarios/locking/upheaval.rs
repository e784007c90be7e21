//! What happens to Consul, to the key, and to the clocks, while somebody holds the lock.

use steersman_engine::consul::ConsulRequest;
use steersman_sim::consul::{Options, Timing};
use steersman_sim::fixture::secs;
use steersman_sim::fleet::node;
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;
use steersman_sim::{Action, CatalogFault};

use super::{JOB, KEY, count_of, failover, most_within, others, requests, settled, three};
use crate::lab::{Lab, scenarios};

scenarios![
    loss_of_all_state_never_gives_two,
    leader_changes_never_give_two_and_end_in_one,
    leaders_that_crash_all_the_time_cost_no_term_when_the_next_one_comes_soon,
    leaders_that_crash_all_the_time_lose_terms_cleanly,
    crash_of_holder_and_consul_leader_is_followed_by_another_term,
    key_that_is_barred_for_longer_is_not_hammered,
    put_by_a_stranger_changes_neither_term_nor_token,
    drifting_clocks_and_wall_steps_are_harmless,
];

fn loss_of_all_state_never_gives_two(lab: Lab) {
    let seeds = if lab.is_as_written() { 10 } else { 1 };
    for seed in 1..=seeds {
        let slow = Script::endless().stops(secs(4), 0);
        let (mut fleet, _) = settled(lab, three().seed(seed).script(JOB, slow));
        fleet.run_for(lab.about(secs(50 + seed)));
        fleet.trouble(CatalogFault::LoseState);
        fleet.run_for(lab.about(secs(300)));
        fleet.runner(JOB);
    }
}

fn leader_changes_never_give_two_and_end_in_one(lab: Lab) {
    let (mut fleet, _) = settled(lab, three());
    for round in 0..20u16 {
        let server = round % 3;
        fleet.trouble(CatalogFault::KillServer(server));
        fleet.run_for(lab.about(secs(25)));
        fleet.trouble(CatalogFault::StartServer { server, keeps: true });
        fleet.run_for(lab.about(secs(5)));
    }
    fleet.run_for(secs(200));
    fleet.runner(JOB);
}

/// Whoever leads Consul dies every thirty seconds, for ten minutes.
fn crash_leaders(lab: Lab, fleet: &mut steersman_sim::fleet::Fleet) {
    for _ in 0..20 {
        fleet.trouble(CatalogFault::KillLeader);
        fleet.run_for(lab.about(secs(20)));
        fleet.trouble(CatalogFault::StartServers);
        fleet.run_for(lab.about(secs(10)));
    }
}

fn leaders_that_crash_all_the_time_cost_no_term_when_the_next_one_comes_soon(lab: Lab) {
    let consul = Options { timing: Timing::fast(), ..Options::cluster(1, 3) };
    let (mut fleet, leader) = settled(lab, three().consul(consul));
    fleet.run_for(secs(60));
    crash_leaders(lab, &mut fleet);
    assert_eq!(fleet.runner(JOB), leader, "{}", fleet.story());
    assert_eq!(fleet.job(leader, JOB).count(), 1);
    assert!(!fleet.times_of(leader, "jeopardy lock.#0").is_empty(), "it was felt");
}

/// With its ordinary timing Consul is without a leader for longer than a term can wait.
fn leaders_that_crash_all_the_time_lose_terms_cleanly(lab: Lab) {
    let deaf = Script::endless().stops(secs(4), 0);
    let (mut fleet, _) = settled(lab, three().script(JOB, deaf));
    fleet.run_for(secs(60));
    crash_leaders(lab, &mut fleet);
    // The longest hold-off of one that lost again and again.
    fleet.await_runner(JOB, failover(lab) + secs(300 + 30), |_| true);
    let (won, lost) = (count_of(&fleet, "acquired lock.#0"), count_of(&fleet, "lost lock.#0"));
    assert!(won <= lost + 1, "{won} terms, {lost} ends");
    let runs: usize = (0..3).map(|nth| fleet.job(node(nth), JOB).count()).sum();
    assert_eq!(runs, won, "one process a term");
}

/// The timer of the dead holder's session begins anew with the next leader of Consul.
fn crash_of_holder_and_consul_leader_is_followed_by_another_term(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    fleet.act(leader, Action::Crash);
    fleet.run_for(lab.about(secs(30)));
    fleet.trouble(CatalogFault::KillLeader);
    fleet.await_runner(JOB, failover(lab) + secs(20 + 20), others(leader));
}

/// The session is destroyed and Consul's leader dies with it: the next one bars the key anew.
fn key_that_is_barred_for_longer_is_not_hammered(lab: Lab) {
    let longer = three().with(|config| config.locks[0].lock_delay = secs(60));
    let (mut fleet, _) = settled(lab, longer);
    fleet.run_for(lab.about(secs(60)));
    fleet.trouble(CatalogFault::DestroyHolder { key: KEY.into() });
    fleet.run_for(secs(1));
    let begun = fleet.world.now();
    fleet.trouble(CatalogFault::KillLeader);
    fleet.await_runner(JOB, failover(lab) + secs(60), |_| true);
    assert!(fleet.world.now().since(begun) > secs(50), "it was barred");
    for nth in 0..3 {
        let tries = requests(&fleet, node(nth), |request| {
            matches!(request, ConsulRequest::Acquire { .. } | ConsulRequest::LockRead { .. })
        });
        let tries: Vec<_> = tries.into_iter().filter(|at| *at > begun).collect();
        let most = most_within(tries, secs(10));
        // Each renewal, every 5 s, lets the waits of 0.25 s, 0.5 s, 1 s and 2 s at least begin
        // anew: eleven tries, each with a reading, and one more of both under way.
        assert!(most <= 24, "node {nth} asked {most} times in ten seconds");
    }
}

fn put_by_a_stranger_changes_neither_term_nor_token(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(60)));
    let put = CatalogFault::Put { key: KEY.into(), value: "me".into() };
    fleet.trouble(put);
    fleet.run_for(lab.about(secs(300)));
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.job(leader, JOB).count(), 1);
    // The next term's token is above this one's all the same: the oracle sees to that.
    fleet.act(leader, Action::Crash);
    fleet.await_runner(JOB, failover(lab), others(leader));
}

/// One clock runs fast, another slow, and the time of day jumps by a day.
fn drifting_clocks_and_wall_steps_are_harmless(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three().drift(500));
    for (nth, ppm) in [(0, 500), (1, -500), (2, 0)] {
        fleet.act(node(nth), Action::ClockRate(ppm));
    }
    for days in [1, -3, 2] {
        for nth in 0..3 {
            fleet.act(node(nth), Action::StepWall(days * 86_400_000));
        }
        fleet.run_for(lab.about(secs(1000)));
    }
    assert_eq!(fleet.runner(JOB), leader);
    fleet.act(leader, Action::Link(LinkState::Cut));
    fleet.await_runner(JOB, failover(lab), others(leader));
}
