//! Several nodes around one Consul, for tests: built from one configuration, asked about by name.

use core::time::Duration;

use steersman_engine::config::{
    Config, Job, Keeping, Lock, Name, Service, Takeover, Watch, WatchTarget,
};
use steersman_engine::{Engine, RunKind, Time};

use crate::action::Action;
use crate::agenda::NodeId;
use crate::catalog::CatalogFault;
use crate::clock::NodeClock;
use crate::consul::{Options, Request};
use crate::fixture::{JobBuilder, Runs, config, secs};
use crate::node::{NodeSetup, UPTIME};
use crate::random::Random;
use crate::resource::Resource;
use crate::script::{Playbook, Script};
use crate::stall::Stalls;
use crate::world::World;

/// A fleet being put together.
#[derive(Debug)]
pub struct FleetBuilder {
    seed: u64,
    nodes: u16,
    config: Config,
    consul: Options,
    drift_ppm: i32,
    playbook: Playbook,
    change: fn(&mut NodeSetup),
}

/// Some nodes, one Consul, and questions. It fails its test when the oracle saw something that must
/// never happen.
#[derive(Debug)]
pub struct Fleet {
    /// The world.
    pub world: World,
    nodes: u16,
    resource: Option<Resource>,
    stalls: Option<Stalls>,
    is_judged: bool,
}

/// Names a node of a fleet, counted from 0.
pub const fn node(nth: u16) -> NodeId {
    NodeId(nth)
}

/// Builds a lock with the figures of the reference.
pub fn lock(name: &str, key: &str) -> Lock {
    Lock {
        name: Name::from(name),
        key: Box::from(key),
        ttl: secs(20),
        lock_delay: secs(20),
        renew_every: secs(5),
        request_timeout: secs(2),
        demote_after: secs(13),
        stop_timeout: secs(5),
        max_pause: secs(1),
        max_drift_ppm: 1000,
        takeover: Takeover::Auto,
        healthy: None,
        health_grace: secs(15),
        hold_off: secs(30),
        value: None,
        risk_accepted: false,
        stands_again: true,
        give_up_after: None,
        token_file: None,
        keeper: Keeping::Auto,
    }
}

/// Builds a watch of the passing instances of a service, that trusts each change at once.
pub fn watch(name: &str, service: &str) -> Watch {
    Watch {
        name: Name::from(name),
        target: WatchTarget::Service { name: Box::from(service), tag: None },
        interval: secs(10),
        dc: None,
        settle: Duration::ZERO,
        stale: None,
    }
}

/// Advertises a job on a port.
pub fn advertised(job: JobBuilder, port: u16) -> JobBuilder {
    let service = Service {
        port,
        address: Some(core::net::IpAddr::from([10, 0, 0, 1])),
        initial_status: None,
        tags: Vec::new(),
        meta: Vec::new(),
        enable_tag_override: false,
        deregister_critical_after: None,
        drain: Duration::ZERO,
    };
    let change = |job: &mut Job| {
        job.service = Some(service);
        if let Some(health) = &mut job.health {
            health.ttl.get_or_insert(health.interval * 3);
        }
    };
    job.with(change)
}

impl Fleet {
    /// Starts to put a fleet together.
    pub fn of(nodes: u16, jobs: impl IntoIterator<Item = JobBuilder>) -> FleetBuilder {
        FleetBuilder {
            seed: 1,
            nodes,
            config: Config { stop_timeout: secs(15), ..config(jobs) },
            consul: Options::cluster(1, usize::from(nodes)),
            drift_ppm: 0,
            playbook: Playbook::default(),
            change: |_| {},
        }
    }
}

impl FleetBuilder {
    /// Changes the configuration.
    pub fn with(mut self, change: impl FnOnce(&mut Config)) -> FleetBuilder {
        change(&mut self.config);
        self
    }

    /// Changes every node.
    pub fn nodes(mut self, change: fn(&mut NodeSetup)) -> FleetBuilder {
        self.change = change;
        self
    }

    /// Seeds everything.
    pub fn seed(mut self, seed: u64) -> FleetBuilder {
        self.seed = seed;
        self.consul.seed = seed;
        self
    }

    /// Lets the clocks of the nodes drift apart, by up to so many millionths either way.
    pub fn drift(mut self, ppm: i32) -> FleetBuilder {
        self.drift_ppm = ppm;
        self
    }

    /// Lets the clocks of the nodes drift apart by at least so many millionths.
    pub fn drift_at_least(self, ppm: i32) -> FleetBuilder {
        let drift_ppm = self.drift_ppm.max(ppm);
        FleetBuilder { drift_ppm, ..self }
    }

    /// Uses a Consul that may do at every moment what its documentation allows.
    pub fn contract(mut self) -> FleetBuilder {
        self.consul.contract = true;
        self
    }

    /// Gives the configuration, to be read.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// Uses another Consul.
    pub fn consul(mut self, consul: Options) -> FleetBuilder {
        self.consul = consul;
        self
    }

    /// Sets how the processes of a job behave, on every node.
    pub fn script(mut self, job: &str, script: Script) -> FleetBuilder {
        for nth in 0..self.nodes {
            let behaviour = self.playbook.behaviour(NodeId(nth), job, RunKind::Main);
            behaviour.set_from(Time(0), script.clone());
        }
        self
    }

    /// Begins, with prepared engines.
    pub fn begin_with(self, prepare: impl Fn(&mut Engine)) -> Fleet {
        let mut world = World::new(self.seed);
        *world.playbook() = self.playbook;
        world.add_catalog(self.consul);
        let random = Random::new(self.seed).stream("fleet");
        for nth in 0..self.nodes {
            let name = format!("node{nth}");
            let random = random.keyed(u64::from(nth));
            let ppm = u64::from(self.drift_ppm.unsigned_abs());
            let rate = i32::try_from(random.stream("rate").between(0, 2 * ppm)).unwrap_or(0);
            let offset = UPTIME + Duration::from_nanos(random.stream("offset").below(1 << 50));
            let config = Config { hostname: name.as_str().into(), ..self.config.clone() };
            let mut setup = NodeSetup {
                clock: NodeClock::new(offset, rate - self.drift_ppm),
                engine_seed: random.stream("engine").draw(),
                ..NodeSetup::new(&name, config)
            };
            (self.change)(&mut setup);
            world.add_node(setup, &prepare);
        }
        world.run_until(Time(0));
        Fleet { world, nodes: self.nodes, resource: None, stalls: None, is_judged: true }
    }
}

impl Fleet {
    /// Tells how many nodes there are.
    pub const fn nodes(&self) -> u16 {
        self.nodes
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, duration: Duration) {
        let end = self.world.now() + duration;
        while self.world.now() < end {
            let stall = self.stalls.as_ref().map(Stalls::next);
            let write = self.resource.as_ref().map(Resource::next);
            let next = stall.into_iter().chain(write).min().unwrap_or(end).min(end);
            self.world.run_until(next);
            if let Some(stalls) = &mut self.stalls {
                stalls.perform(&mut self.world);
            }
            if let Some(resource) = &mut self.resource {
                resource.take_writes(&self.world);
            }
        }
        self.world.run_until(end);
    }

    /// Gives the fleet a resource that every process of a lock's job writes to with its token.
    pub fn set_resource(&mut self, resource: Resource) {
        self.resource = Some(resource);
    }

    /// Gives the resource.
    pub const fn resource(&self) -> Option<&Resource> {
        self.resource.as_ref()
    }

    /// Keeps the oracle's findings from failing the test; the test looks at them itself.
    pub const fn judge_myself(&mut self) {
        self.is_judged = false;
    }

    /// Keeps nodes from running at random from now on.
    pub fn set_stalls(&mut self, stalls: Stalls) {
        self.stalls = Some(stalls);
    }

    /// Does something to a node.
    pub fn act(&mut self, node: NodeId, action: Action) {
        self.world.act(node, action);
    }

    /// Lets something happen to Consul.
    pub fn trouble(&mut self, fault: CatalogFault) {
        self.world.act(NodeId(0), Action::Catalog(fault));
    }

    /// Gives the nodes on which a process of a job runs.
    pub fn runners(&self, job: &str) -> Vec<NodeId> {
        let nodes = (0..self.nodes).map(NodeId);
        nodes.filter(|node| self.job(*node, job).is_live()).collect()
    }

    /// Gives the only node on which a process of a job runs.
    pub fn runner(&self, job: &str) -> NodeId {
        let runners = self.runners(job);
        assert_eq!(runners.len(), 1, "not one runner: {runners:?}\n{}", self.story());
        runners[0]
    }

    /// Waits until a job runs on exactly one node that satisfies a condition; tells how long it
    /// took.
    pub fn await_runner(
        &mut self,
        job: &str,
        limit: Duration,
        wanted: impl Fn(NodeId) -> bool,
    ) -> Duration {
        let begun = self.world.now();
        let end = begun + limit;
        loop {
            let runners = self.runners(job);
            if let [only] = runners[..]
                && wanted(only)
            {
                return self.world.now().since(begun);
            }
            assert!(self.world.now() < end, "no new runner, but {runners:?}\n{}", self.story());
            self.run_for(Duration::from_millis(100));
        }
    }

    /// Waits until something holds; tells how long it took.
    pub fn await_that(
        &mut self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&Fleet) -> bool,
    ) -> Duration {
        let begun = self.world.now();
        while !holds(self) {
            let took = self.world.now().since(begun);
            assert!(took < limit, "not after {took:?}: {what}\n{}", self.story());
            self.run_for(Duration::from_millis(100));
        }
        self.world.now().since(begun)
    }

    /// Gives what is known about the processes of a job on a node, over all its lives.
    pub fn job(&self, node: NodeId, name: &str) -> Runs<'_> {
        Runs(self.world.observer().runs(node, name, RunKind::Main))
    }

    /// Tells when an event was published on a node, each time; `event` is "code source".
    pub fn times_of(&self, node: NodeId, event: &str) -> Vec<Time> {
        let events = self.world.observer().events(node);
        let same = events.filter(|one| format!("{} {}", one.code, one.source).trim() == event);
        same.map(|one| one.at).collect()
    }

    /// Reads something from Consul's own API, by path, at the first server; must be JSON.
    pub fn read(&mut self, path: &str) -> serde_json::Value {
        let request = Request::new("GET", path);
        let answer = self.world.ask_catalog(0, request);
        let body = answer.filter(|answer| answer.status == 200).map(|answer| answer.body);
        body.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default()
    }

    /// Gives the ids of the passing instances of a service, as Consul lists them.
    pub fn passing(&mut self, service: &str) -> Vec<String> {
        let listed = self.read(&format!("/v1/health/service/{service}?passing=1&stale"));
        let id = |entry: &serde_json::Value| Some(entry["Service"]["ID"].as_str()?.to_owned());
        listed.as_array().map_or(Vec::new(), |list| list.iter().filter_map(id).collect())
    }

    /// Tells what happened, node by node.
    pub fn story(&self) -> String {
        let nodes = (0..self.nodes).map(NodeId);
        let stories =
            nodes.map(|node| format!("--- node {}\n{}", node.0, self.world.observer().tell(node)));
        stories.collect()
    }
}

/// What the fleets of this thread were accused of whose test looks at that itself.
mod verdict {
    use std::cell::RefCell;

    thread_local! {
        pub(super) static VERDICTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }
}

/// Gives what fleets with [stalls](Fleet::set_stalls) were accused of in this thread since the last
/// call: also those whose test has failed.
pub fn take_verdicts() -> Vec<String> {
    verdict::VERDICTS.with_borrow_mut(core::mem::take)
}

impl Drop for Fleet {
    fn drop(&mut self) {
        if self.stalls.is_some() {
            let resource = self.resource.as_ref().map_or(&[][..], Resource::offences);
            let violations = self.world.observer().violations().iter().map(ToString::to_string);
            let story = || self.story();
            let all = violations.chain(resource.iter().cloned());
            let all = all.map(|what| format!("{what}\n{}", story()));
            return verdict::VERDICTS.with_borrow_mut(|verdicts| verdicts.extend(all));
        }
        if std::thread::panicking() || !self.is_judged {
            return;
        }
        if let Some(offence) = self.resource.as_ref().and_then(|it| it.offences().first()) {
            let story = self.story();
            assert_eq!(offence, "nothing", "what must never happen did\n{story}");
        }
        if let Some(violation) = self.world.observer().violations().first() {
            let story = self.story();
            assert_eq!(violation.to_string(), "nothing", "what must never happen did\n{story}");
        }
    }
}

/// A shared configuration: a job that runs where the lock is held.
pub fn ledger() -> JobBuilder {
    crate::fixture::job("ledger").with(|job| job.while_lock = Some(Name::from("ledger")))
}

/// Keeps an otherwise idle container alive beside [`ledger`].
pub fn bystander() -> JobBuilder {
    crate::fixture::job("bystander")
}
