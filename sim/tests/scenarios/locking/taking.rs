//! Who gets a lock, what a term is to its job, and what happens when nobody gives the lock up.

use steersman_engine::Effect;
use steersman_engine::config::Backoff;
use steersman_engine::consul::ConsulRequest;
use steersman_engine::input::Control;
use steersman_sim::Action;
use steersman_sim::consul::Request;
use steersman_sim::container::RestartPolicy;
use steersman_sim::fixture::{ms, secs};
use steersman_sim::fleet::{Fleet, bystander, ledger, lock, node};
use steersman_sim::script::Script;

use super::{JOB, KEY, count_of, failover, others, sessions, settled, three};
use crate::lab::{Lab, scenarios};

scenarios![
    one_of_three_gets_the_lock_and_runs,
    killed_supervisor_comes_back_as_a_candidate,
    candidate_gives_up_when_the_lock_is_not_free_in_time,
    holder_of_another_kind_is_followed_until_it_lets_go,
    founders_found_one_after_another,
    checks_that_hang_cost_no_term,
    token_is_in_its_file_while_the_job_runs,
    each_term_has_a_session_of_its_own,
    crash_loop_under_a_lock_keeps_the_term,
];

fn one_of_three_gets_the_lock_and_runs(lab: Lab) {
    let (mut fleet, leader) = settled(lab, three());
    fleet.run_for(lab.about(secs(600)));
    assert_eq!(fleet.runner(JOB), leader, "and keeps it");
    assert_eq!(fleet.job(leader, JOB).count(), 1);
    assert_eq!(fleet.times_of(leader, "acquired lock.#0").len(), 1);
    assert_eq!(fleet.times_of(leader, "jeopardy lock.#0").len(), 0);
}

fn killed_supervisor_comes_back_as_a_candidate(lab: Lab) {
    let fleet = three().nodes(|setup| setup.restart = RestartPolicy::Always(secs(2)));
    let (mut fleet, leader) = settled(lab, fleet);
    for _ in 0..5 {
        fleet.run_for(lab.about(secs(100)));
        let leader = fleet.runner(JOB);
        fleet.act(leader, Action::Crash);
        fleet.await_runner(JOB, failover(lab), |_| true);
    }
    fleet.run_for(secs(100));
    assert!((0..3).all(|nth| fleet.world.node(node(nth)).exit().is_none()));
    assert!(fleet.job(leader, "bystander").count() >= 2);
}

fn candidate_gives_up_when_the_lock_is_not_free_in_time(lab: Lab) {
    let fleet = Fleet::of(2, [ledger()]).with(|config| {
        config.locks.push(lock("ledger", KEY));
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

/// The key is held by something that is not steersman, or of another release: its value says
/// nothing, its flags neither.
fn holder_of_another_kind_is_followed_until_it_lets_go(lab: Lab) {
    let mut fleet = lab.begin_fleet(three().nodes(|setup| setup.begins = false));
    let ask = |fleet: &mut Fleet, target: &str| {
        let request = Request::new("PUT", target).with_body("{\"LockDelay\": \"0s\"}");
        let id = fleet.world.ask_catalog(0, request).map(|answer| answer.body);
        let body = id.and_then(|body| serde_json::from_slice::<serde_json::Value>(&body).ok());
        body.and_then(|body| body["ID"].as_str().map(str::to_owned))
    };
    // A write is answered when the servers have it.
    ask(&mut fleet, "/v1/session/create");
    fleet.run_for(secs(2));
    let sessions = fleet.read("/v1/session/list");
    let session = sessions[0]["ID"].as_str().expect("it was created").to_owned();
    ask(&mut fleet, &format!("/v1/kv/{KEY}?acquire={session}&flags=77"));
    fleet.run_for(secs(2));
    (0..3).for_each(|nth| fleet.act(node(nth), Action::StartContainer));
    fleet.run_for(lab.about(secs(300)));
    assert_eq!(fleet.runners(JOB), [], "it is only followed");
    assert_eq!(count_of(&fleet, "observed lock.#0"), 3);
    ask(&mut fleet, &format!("/v1/kv/{KEY}?release={session}"));
    let took = fleet.await_runner(JOB, secs(30), |_| true);
    assert!(took < secs(5), "it took {took:?}");
}

/// Work that is to be done once, by whoever comes first; the others look at what was done. Each
/// has the lock for as long as its work takes, and nothing is left.
fn founders_found_one_after_another(lab: Lab) {
    let slow = Script::ends(secs(5), 0);
    let fleet = Fleet::of(7, [ledger(), bystander()])
        .with(|config| config.locks.push(lock("ledger", KEY)))
        .script(JOB, slow);
    let mut fleet = lab.begin_fleet(fleet);
    let is_done = |fleet: &Fleet| {
        (0..7).all(|nth| fleet.job(node(nth), JOB).0.iter().any(|run| run.gone.is_some()))
    };
    let limit = lab.about(secs(25 + 7 * 10)).max(secs(25 + 7 * 10));
    fleet.await_that("everybody had its turn", limit, is_done);
    fleet.run_for(secs(5));
    assert!((0..7).all(|nth| fleet.job(node(nth), JOB).count() == 1));
    assert_eq!(sessions(&mut fleet), 0, "who is done holds nothing");
}

/// Whatever a check does, a renewal does not wait for it.
fn checks_that_hang_cost_no_term(lab: Lab) {
    let fleet = Fleet::of(3, [ledger().checked(secs(2)), bystander()])
        .with(|config| config.locks.push(lock("ledger", KEY)));
    let mut fleet = lab.begin_fleet(fleet);
    for nth in 0..3 {
        let playbook = fleet.world.playbook();
        let checks = playbook.behaviour(node(nth), JOB, steersman_engine::RunKind::Check);
        checks.set_from(steersman_engine::Time(0), Script::endless().ignores_stop());
    }
    fleet.await_runner(JOB, secs(90), |_| true);
    let leader = fleet.runner(JOB);
    fleet.run_for(lab.about(secs(300)));
    assert_eq!(fleet.runner(JOB), leader);
    assert_eq!(fleet.times_of(leader, "jeopardy lock.#0").len(), 0);
}

fn token_is_in_its_file_while_the_job_runs(lab: Lab) {
    let fleet = three().with(|config| {
        config.locks[0].token_file = Some("/run/token".into());
    });
    let slow = Script::endless().stops(secs(3), 0);
    let (mut fleet, leader) = settled(lab, fleet.script(JOB, slow));
    fleet.run_for(lab.about(secs(50)));
    fleet.trouble(steersman_sim::CatalogFault::DestroyHolder { key: KEY.into() });
    fleet.await_runner(JOB, failover(lab), others(leader));
    let effects = fleet.world.observer().other_effects(leader);
    let writes: Vec<_> = effects
        .filter_map(|(at, effect)| match effect {
            Effect::WriteFile { contents, .. } => Some((at, contents.clone())),
            _ => None,
        })
        .collect();
    let [(written, Some(token)), (removed, None)] = &writes[..] else {
        panic!("it is written and removed once each: {writes:?}");
    };
    assert!(token.trim().parse::<u64>().is_ok_and(|token| token > 1), "{token:?}");
    let run = fleet.job(leader, JOB);
    let run = run.last();
    assert!(*written <= run.asked, "before anything starts");
    assert!(*removed >= run.gone.expect("it has stopped"), "when everything has gone");
}

fn each_term_has_a_session_of_its_own(lab: Lab) {
    let (mut fleet, leader) = settled(lab, super::of(1));
    for _ in 0..5 {
        fleet.run_for(lab.about(secs(10)));
        fleet.act(leader, Action::Control(Control::Maintenance(true)));
        fleet.run_for(lab.about(secs(5)));
        assert_eq!(sessions(&mut fleet), 0);
        fleet.act(leader, Action::Control(Control::Maintenance(false)));
        let took = fleet.await_runner(JOB, secs(30), |_| true);
        assert!(took < secs(3), "it took {took:?}");
        assert_eq!(sessions(&mut fleet), 1);
    }
    let effects = fleet.world.observer().other_effects(leader);
    let mut used: Vec<_> = effects
        .filter_map(|(_, effect)| match effect {
            Effect::Consul { request: ConsulRequest::Acquire { session, .. }, .. } => Some(session),
            _ => None,
        })
        .collect();
    used.sort();
    used.dedup();
    assert_eq!(used.len(), 6);
}

fn crash_loop_under_a_lock_keeps_the_term(lab: Lab) {
    let fleet = Fleet::of(3, [ledger().unlimited().backoff(Backoff::default()), bystander()])
        .with(|config| config.locks.push(lock("ledger", KEY)))
        .script(JOB, Script::ends(ms(700), 1));
    let mut fleet = lab.begin_fleet(fleet);
    fleet.run_for(lab.about(secs(300)));
    assert_eq!(count_of(&fleet, "acquired lock.#0"), 1, "{}", fleet.story());
    let runs: Vec<_> = (0..3).map(|nth| fleet.job(node(nth), JOB).count()).collect();
    assert_eq!(runs.iter().filter(|runs| **runs > 0).count(), 1);
    assert!(runs.iter().sum::<usize>() >= 5, "{runs:?}");
}
