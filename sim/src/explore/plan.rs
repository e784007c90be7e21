//! Plans: what a run is made of, as plain data that can be written down and taken apart.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use steersman_engine::config::{Config, Job, Name};
use steersman_engine::{Engine, RunKind, Time};

use crate::applications::{Applications, Home};
use crate::clock::NodeClock;
use crate::container::RestartPolicy;
use crate::explore::consul_spec::ConsulSpec;
use crate::explore::manner::Manners;
use crate::node::NodeSetup;
use crate::random::Random;
use crate::script::Script;
use crate::world::Action;

/// How long a machine has been up at least.
const UPTIME_MIN: Duration = Duration::from_secs(1);

/// By how many millionths a machine's clocks are wrong at most, unless a scenario says otherwise.
const RATE_PPM_MAX: u32 = 100;

/// One node as a scenario gives it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeSpec {
    /// Its name, unique.
    pub name: Arc<str>,
    /// What it begins with.
    pub config: Config,
    /// What its monotonic clock shows at the beginning; drawn per seed when absent, and large: no
    /// grid may count from the clock's zero.
    #[serde(default)]
    pub clock_offset: Option<Duration>,
    /// By how many millionths its clocks are too fast; drawn per seed when absent.
    #[serde(default)]
    pub clock_rate_ppm: Option<i32>,
    /// What the scheduler does when it has ended.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// From the wish to stop the container to its end by force.
    #[serde(default = "grace")]
    pub grace: Duration,
    /// Whether its Consul agent runs in the container.
    #[serde(default)]
    pub has_agent_inside: bool,
    /// Whether it runs from the beginning.
    #[serde(default = "yes")]
    pub begins: bool,
    /// What the container has besides its configuration.
    #[serde(default)]
    pub home: Home,
}

impl NodeSpec {
    /// Builds a node whose clocks are as those of any machine.
    pub fn new(name: &str, config: Config) -> NodeSpec {
        NodeSpec {
            name: Arc::from(name),
            config,
            clock_offset: None,
            clock_rate_ppm: None,
            restart: RestartPolicy::Never,
            grace: grace(),
            has_agent_inside: false,
            begins: true,
            home: Home::default(),
        }
    }

    /// Gives the jobs of its configuration and of the variants of that; some come twice.
    pub fn jobs(&self) -> impl Iterator<Item = &Arc<Job>> {
        let variants = self.home.variants.values().flat_map(|config| &config.jobs);
        self.config.jobs.iter().chain(variants)
    }

    pub(crate) fn setup(&self, seed: u64) -> NodeSetup {
        let random = Random::new(seed).stream(&self.name);
        let engine_seed = random.draw();
        let drawn = UPTIME_MIN + Duration::from_nanos(random.stream("offset").below(1 << 50));
        let offset = self.clock_offset.unwrap_or(drawn);
        let drawn = random.stream("rate").between(0, 2 * u64::from(RATE_PPM_MAX));
        let drawn = i32::try_from(drawn).unwrap_or(0) - RATE_PPM_MAX as i32;
        let clock = NodeClock::new(offset, self.clock_rate_ppm.unwrap_or(drawn));
        NodeSetup {
            clock,
            engine_seed,
            restart: self.restart,
            has_agent_inside: self.has_agent_inside,
            begins: self.begins,
            ..NodeSetup::new(&self.name, self.config.clone())
        }
    }
}

/// How long a container has to end, unless a scenario says otherwise: as `docker stop`.
const fn grace() -> Duration {
    Duration::from_secs(10)
}

const fn yes() -> bool {
    true
}

/// Changes an engine before it begins.
pub type Prepare = Arc<dyn Fn(&mut Engine) + Send + Sync>;

/// Everything that is the same in every run of a search.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Setting {
    /// The nodes.
    pub nodes: Vec<NodeSpec>,
    /// How processes behave, where it is not left to the default.
    pub manners: Manners,
    /// The Consul that they share, if there is one.
    #[serde(default)]
    pub consul: Option<ConsulSpec>,
    /// Programs, databases and clients.
    #[serde(default)]
    pub applications: Applications,
    /// Prepares every engine; tests plant defects here.
    #[serde(skip)]
    pub prepare: Option<Prepare>,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.nodes.iter().map(|node| &*node.name).collect();
        f.debug_struct("Setting").field("nodes", &names).finish_non_exhaustive()
    }
}

impl Setting {
    /// Builds a setting of one node, with a Consul when the configuration needs one.
    pub fn of(name: &str, config: Config) -> Setting {
        let nodes = vec![NodeSpec::new(name, config)];
        let manners = Manners::of(&nodes);
        let consul = ConsulSpec::needed_by(&nodes);
        Setting { nodes, manners, consul, ..Setting::default() }
    }

    /// Finds a node by name.
    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| &*node.name == name)
    }
}

/// What decides one run: leaving anything out is a run as well, with the ordinary thing instead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Seeds the engines, and all that the world draws.
    pub seed: u64,
    /// Whether the order of what is due at the same instant is drawn.
    pub ties: bool,
    /// Processes that do not behave in the ordinary way, by node, job, kind and number.
    pub castings: Vec<Casting>,
    /// What is done from outside, in no particular order.
    pub deeds: Vec<Deed>,
    /// When the last trouble ends; what must come eventually is counted from there.
    pub calm_from: Time,
    /// When the run ends.
    pub end: Time,
}

/// How one process behaves that does not behave in the ordinary way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Casting {
    /// The node.
    pub node: Arc<str>,
    /// The job.
    pub job: Name,
    /// The job itself or its check.
    pub kind: RunKind,
    /// The how manieth of its kind, from 1.
    pub nth: u32,
    /// How it behaves.
    pub script: Script,
}

/// Something done to a node from outside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Deed {
    /// When.
    pub when: When,
    /// To which node.
    pub node: Arc<str>,
    /// What.
    pub action: Action,
}

/// An instant: absolute, or named after what it follows.
///
/// The second kind keeps its place in the order of events when something before it is taken away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum When {
    /// So long after the birth of the world.
    At(Time),
    /// So long after something; never, when that does not happen.
    After {
        /// What it follows.
        anchor: Anchor,
        /// How long after.
        delay: Duration,
    },
}

/// Something that happens to a process, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The node.
    pub node: Arc<str>,
    /// The job.
    pub job: Name,
    /// The job itself or its check.
    pub kind: RunKind,
    /// The how manieth of its kind, from 1.
    pub nth: u32,
    /// What happens to it.
    pub point: Point,
}

/// A point in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Point {
    /// It runs, or could not be started.
    Started,
    /// Its first process ended.
    Ended,
}

impl Plan {
    /// Counts what is out of the ordinary.
    pub fn weight(&self) -> usize {
        self.castings.len() + self.deeds.len()
    }
}
