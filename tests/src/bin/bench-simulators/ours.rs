//! The simulated world: what is in it, and how fast it goes.

use std::sync::Arc;
use std::time::Duration;

use steersman_engine::config::{Backoff, Command, Config, HealthCheck, Job, Restarts, Service};
use steersman_engine::{RunKind, Time};
use steersman_sim::agenda::NodeId;
use steersman_sim::clock::NodeClock;
use steersman_sim::consul::Options;
use steersman_sim::node::{NodeSetup, UPTIME};
use steersman_sim::observer::Keep;
use steersman_sim::script::{Playbook, Script};
use steersman_sim::tap::Level;
use steersman_sim::world::World;

use crate::Result;

/// A run of a world: what passed in it and outside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Things that happened: each one popped from the agenda, each at its own instant or order.
    pub(crate) events: u64,
    /// Seconds that passed in the world.
    pub(crate) simulated: f64,
    /// Seconds that a core worked.
    pub(crate) core: f64,
}

impl Pace {
    /// Millions of events a second.
    pub(crate) fn million_events(self) -> f64 {
        self.events as f64 / self.core / 1e6
    }

    /// Simulated seconds a second.
    pub(crate) fn speed(self) -> f64 {
        self.simulated / self.core
    }

    /// Nanoseconds an event.
    pub(crate) fn nanos(self) -> f64 {
        self.core * 1e9 / self.events as f64
    }
}

/// What is switched off, to see what it costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checks {
    /// Nothing: the ordinary case.
    On,
    /// The state's digest.
    WithoutDigest,
    /// The digest and every invariant.
    Off,
}

/// Nodes with supervised jobs: nine in ten are services whose health check runs every so often,
/// one in ten crashes after some ten seconds and is started again.
pub(crate) fn supervisors(nodes: u16, jobs: u16, interval: Duration, checks: Checks) -> World {
    let mut world = World::new(1);
    quiet(&mut world, checks);
    for node in 0..nodes {
        let names = (0..jobs).map(|nth| (nth, format!("job{nth}")));
        let mut list = Vec::new();
        for (nth, name) in names {
            let mut job = Job::new(&name, Command::new(["/bin/app"]));
            job.restarts = Restarts::Unlimited;
            job.backoff = Backoff::None;
            match nth % 10 {
                9 => crashing(world.playbook(), NodeId(node), &name, nth),
                _ => {
                    job.health = Some(check(interval, Some(Command::new(["/bin/check"]))));
                    checked(world.playbook(), NodeId(node), &name, nth, interval);
                }
            }
            list.push(Arc::new(job));
        }
        put(&mut world, node, Config { jobs: list, ..Config::default() }, checks);
    }
    world.run_for(interval.max(Duration::from_secs(10)) * 3);
    world
}

/// Fifty hosts that tell one server every so often that they are well: each supervises one service
/// and passes its check on to the one Consul, over a network with latency.
pub(crate) fn heartbeats(hosts: u16, interval: Duration) -> World {
    let mut world = World::new(1);
    world.add_catalog(Options::dev(1));
    quiet(&mut world, Checks::On);
    for node in 0..hosts {
        let mut job = Job::new(&format!("job{node}"), Command::new(["/bin/app"]));
        job.health = Some(HealthCheck { ttl: Some(interval * 3), ..check(interval, None) });
        job.service = Some(Service {
            port: 8000 + node,
            address: Some(std::net::Ipv4Addr::new(10, 0, 0, 1).into()),
            initial_status: None,
            tags: Vec::new(),
            meta: Vec::new(),
            enable_tag_override: false,
            deregister_critical_after: None,
            drain: Duration::ZERO,
        });
        let start = spread(node, 50, interval);
        let script = Script::endless().starts_after(start);
        let name = job.name.clone();
        world.playbook().behaviour(NodeId(node), &name, RunKind::Main).set_from(Time(0), script);
        let hostname = format!("host{node}").into();
        let config = Config { jobs: vec![Arc::new(job)], hostname, ..Config::default() };
        put(&mut world, node, config, Checks::On);
    }
    world.run_for(interval * 3);
    world
}

/// Runs a world until so much has happened, and tells how fast it went.
pub(crate) fn run(world: &mut World, events: u64) -> Result<Pace> {
    let (steps, from) = (world.steps(), world.now());
    let begin = core_seconds()?;
    while world.steps() - steps < events {
        if world.step().is_none() {
            return Err("cannot go on: nothing is due in the world".into());
        }
    }
    let core = core_seconds()? - begin;
    if let Some(violation) = world.observer().violations().first() {
        return Err(format!("cannot trust the run: {violation}").into());
    }
    let simulated = world.now().since(from).as_secs_f64();
    Ok(Pace { events: world.steps() - steps, simulated, core })
}

/// Gives for how long a core has worked for this thread, as the scheduler counts it: what others do
/// on the machine meanwhile does not count.
fn core_seconds() -> Result<f64> {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat")?;
    let nanos: f64 = figures.split(' ').next().unwrap_or_default().parse()?;
    Ok(nanos / 1e9)
}

fn quiet(world: &mut World, checks: Checks) {
    let keep = if checks == Checks::Off { Keep::Nothing } else { Keep::OracleOnly };
    world.observer_mut().set_keep(keep);
    world.observer_mut().tap().set_level(Level::Nothing);
}

fn put(world: &mut World, node: u16, config: Config, checks: Checks) {
    let clock = NodeClock::new(UPTIME + spread(node, 7, Duration::from_secs(1)), 0);
    let setup = NodeSetup {
        clock,
        engine_seed: u64::from(node),
        ..NodeSetup::new(&format!("node{node}"), config)
    };
    world.add_node(setup, |engine| {
        if checks != Checks::On {
            engine.set_digested(false);
        }
    });
}

fn check(interval: Duration, command: Option<Command>) -> HealthCheck {
    HealthCheck {
        command: command.map(Arc::new),
        interval,
        timeout: interval / 2,
        ttl: None,
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: None,
    }
}

/// A service whose nth sibling starts a little later, so that checks spread over the interval.
fn checked(playbook: &mut Playbook, node: NodeId, job: &str, nth: u16, interval: Duration) {
    let start = spread(nth, 4099, interval) + spread(node.0, 211, interval);
    let script = Script::endless().starts_after(start);
    playbook.behaviour(node, job, RunKind::Main).set_from(Time(0), script);
    let lasts = interval / 1000 + spread(nth, 3, interval / 100);
    let script = Script::ends(lasts, 0);
    playbook.behaviour(node, job, RunKind::Check).set_from(Time(0), script);
}

/// A program that fails after ten seconds and a little.
fn crashing(playbook: &mut Playbook, node: NodeId, job: &str, nth: u16) {
    let second = Duration::from_secs(1);
    let after = second * 10 + spread(nth, 4099, second) + spread(node.0, 211, second);
    let script = Script::ends(after, 1);
    playbook.behaviour(node, job, RunKind::Main).set_from(Time(0), script);
}

/// Gives the nth of so many places spread over a duration.
fn spread(nth: u16, places: u32, over: Duration) -> Duration {
    let place = u64::from(nth) * 2_654_435 % u64::from(places);
    over / places * u32::try_from(place).unwrap_or_default()
}
