//! Locks on several nodes with a real model of Consul: never two, soon one, tokens that only grow.
//! The oracle judges the first and the last in every scenario, from the truth about the processes.
//!
//! - `taking`: who gets a lock, and what happens when nobody does
//! - `losing`: the ways to lose a term, and when its processes are gone
//! - `standing_still`: a supervisor or its container does not run for a while
//! - `handing_over`: stops, maintenance, reloads, upgrades
//! - `upheaval`: what happens to Consul and to the clocks
//! - `crowding`: many candidates, and how much they ask
//! - `fencing`: tokens, and a resource that compares them
//! - `binding`: `stopWith`

use core::time::Duration;

use steersman_engine::config::Keeping;
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest};
use steersman_engine::{Effect, Input, Time};
use steersman_sim::fixture::{ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, bystander, ledger, lock, node};
use steersman_sim::{Action, NodeId};

use crate::lab::{Lab, Scenario};

mod binding;
mod crowding;
mod fencing;
mod handing_over;
mod losing;
mod standing_still;
mod taking;
mod upheaval;

/// Every scenario with locks, by topic.
pub(crate) const ALL: &[&[Scenario]] = &[
    taking::ALL,
    losing::ALL,
    standing_still::ALL,
    handing_over::ALL,
    upheaval::ALL,
    crowding::ALL,
    fencing::ALL,
    binding::ALL,
];

const JOB: &str = "ledger";
const KEY: &str = "svc/ledger/leader";

/// Three nodes that stand for one lock.
fn three() -> FleetBuilder {
    of(3)
}

/// The same without keepers: nobody but the supervisors ends a term.
fn unkept() -> FleetBuilder {
    three().with(|config| config.locks[0].keeper = Keeping::Off)
}

/// So many nodes that stand for one lock.
fn of(nodes: u16) -> FleetBuilder {
    Fleet::of(nodes, [ledger(), bystander()]).with(|config| config.locks.push(lock("ledger", KEY)))
}

/// A fleet in which somebody leads, and who that is.
fn settled(lab: Lab, fleet: FleetBuilder) -> (Fleet, NodeId) {
    let mut fleet = lab.begin_fleet(fleet);
    fleet.await_runner(JOB, secs(90), |_| true);
    let leader = fleet.runner(JOB);
    (fleet, leader)
}

/// The longest from the loss of a holder to the next term.
fn failover(lab: Lab) -> Duration {
    // As measured a session lives for twice its TTL; by contract for as long as Consul likes, and
    // the model likes up to four times.
    secs(if lab.is_contract() { 4 * 20 + 20 + 30 } else { 2 * 20 + 20 + 30 })
}

fn others(leader: NodeId) -> impl Fn(NodeId) -> bool {
    move |node| node != leader
}

/// Somebody other than the leader, and then the next.
fn followers(fleet: &Fleet, leader: NodeId) -> Vec<NodeId> {
    (0..fleet.nodes()).map(node).filter(|node| *node != leader).collect()
}

/// How often an event of the lock was published, over all nodes.
fn count_of(fleet: &Fleet, event: &str) -> usize {
    (0..fleet.nodes()).map(|nth| fleet.times_of(node(nth), event).len()).sum()
}

/// When each request about the lock was sent that is of one kind.
fn requests(fleet: &Fleet, node: NodeId, is_it: fn(&ConsulRequest) -> bool) -> Vec<Time> {
    let effects = fleet.world.observer().other_effects(node);
    let sent = effects.filter_map(|(at, effect)| match effect {
        Effect::Consul { request, .. } if is_it(request) => Some(at),
        _ => None,
    });
    sent.collect()
}

/// Lets time pass in which each request about the lock that is of one kind gets lost, and the one
/// that is under way.
fn run_losing(fleet: &mut Fleet, node: NodeId, span: Duration, is_it: fn(&ConsulRequest) -> bool) {
    let until = fleet.world.now() + span;
    let mut seen = requests(fleet, node, is_it).len().saturating_sub(1);
    while fleet.world.now() < until {
        let effects = fleet.world.observer().other_effects(node);
        let sent = effects.filter_map(|(_, effect)| match effect {
            Effect::Consul { op, request, .. } if is_it(request) => Some(*op),
            _ => None,
        });
        let sent: Vec<_> = sent.collect();
        for op in &sent[seen..] {
            let reply = ConsulReply::Failed(ConsulFailure::Unreachable("lost".into()));
            fleet.act(node, Action::Inject(Input::Consul { op: *op, reply }));
        }
        seen = sent.len();
        fleet.run_for(ms(5));
    }
}

fn is_renewal(request: &ConsulRequest) -> bool {
    matches!(request, ConsulRequest::SessionRenew { .. })
}

fn is_reading(request: &ConsulRequest) -> bool {
    matches!(request, ConsulRequest::LockRead { .. })
}

/// The most of these instants that lie within any one span of time.
fn most_within(mut instants: Vec<Time>, span: Duration) -> usize {
    instants.sort_unstable();
    let within = |from: usize| {
        instants[from..].iter().take_while(|at| at.since(instants[from]) < span).count()
    };
    (0..instants.len()).map(within).max().unwrap_or(0)
}

/// Counts the sessions that Consul knows.
fn sessions(fleet: &mut Fleet) -> usize {
    fleet.read("/v1/session/list?stale").as_array().map_or(0, Vec::len)
}
