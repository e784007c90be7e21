//! Many candidates: one session each, and no herd when the lock becomes free.

use core::time::Duration;

use steersman_engine::Time;
use steersman_engine::consul::ConsulRequest;
use steersman_engine::event::SignalName;
use steersman_sim::Action;
use steersman_sim::fixture::secs;
use steersman_sim::fleet::{Fleet, node};

use super::{JOB, failover, most_within, of, others, requests, sessions, settled};
use crate::lab::{Lab, scenarios};

scenarios![
    many_candidates_have_one_session_each,
    hundred_candidates_are_no_herd_when_the_lock_becomes_free,
];

fn many_candidates_have_one_session_each(lab: Lab) {
    let (mut fleet, leader) = settled(lab, of(30));
    fleet.run_for(lab.about(secs(300)));
    let count = sessions(&mut fleet);
    assert_eq!(count, 30);
    fleet.act(leader, Action::Crash);
    fleet.await_runner(JOB, failover(lab), others(leader));
    let count = sessions(&mut fleet);
    assert!((29..=30).contains(&count), "{count} sessions");
}

/// Everything that all of them sent after an instant, of one kind.
fn sent(fleet: &Fleet, after: Time, is_it: fn(&ConsulRequest) -> bool) -> Vec<Time> {
    let nodes = (0..fleet.nodes()).map(node);
    let sent = nodes.flat_map(|node| requests(fleet, node, is_it));
    sent.filter(|at| *at >= after).collect()
}

fn hundred_candidates_are_no_herd_when_the_lock_becomes_free(lab: Lab) {
    let (mut fleet, leader) = settled(lab, of(100));
    fleet.run_for(lab.about(secs(60)));
    assert_eq!(sessions(&mut fleet), 100);
    let calm = fleet.world.now();
    fleet.run_for(secs(60));
    let all = sent(&fleet, calm, |_| true).len();
    // Renewals every five seconds, and the holder's reading of its key.
    assert!(all <= 60 * 100 / 5 * 12 / 10 + 60, "{all} requests in a calm minute");
    let asked = fleet.world.now();
    fleet.act(leader, Action::Signal(SignalName::Term));
    let took = fleet.await_runner(JOB, secs(10), others(leader));
    assert!(took <= secs(2), "it took {took:?}");
    fleet.run_for(secs(10));
    let acquires = sent(&fleet, asked, |it| matches!(it, ConsulRequest::Acquire { .. }));
    assert!((1..=20).contains(&acquires.len()), "{} tried to get it", acquires.len());
    // Each hears that the lock is free, looks again after its part of the spread, and waits again.
    let all = most_within(sent(&fleet, asked, |_| true), Duration::from_secs(1));
    assert!(all <= 330, "{all} requests within a second");
    assert_eq!(sessions(&mut fleet), 99);
}
