//! Where scenarios run: with a sound engine, or with one that has a deliberate defect; as written,
//! or in the random neighbourhood of that.

use core::time::Duration;

use steersman_engine::defect::Defect;
use steersman_sim::fixture::{Scene, SceneBuilder, ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, node};
use steersman_sim::random::Random;
use steersman_sim::resource::Resource;
use steersman_sim::stall::Stalls;
use steersman_sim::{Action, CatalogFault};

/// The conditions of a scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lab {
    defect: Option<Defect>,
    /// Where in the neighbourhood; none is the scenario as written.
    seed: Option<u64>,
    manner: Manner,
}

/// What else is different in a neighbourhood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Nothing: Consul does what 1.8.7 was measured to do.
    Measured,
    /// Consul does whatever its documentation allows: sessions end anywhere from their TTL on,
    /// blocking reads return for nothing, indexes skip numbers.
    Contract,
    /// Supervisors and containers stand still, at random and for longer than any lock declares.
    /// What the scenario itself expects need not hold then, and is not looked at; tokens must grow,
    /// and a resource that compares them must never take an older one after a newer one.
    Stalls,
}

impl Manner {
    pub(crate) const ALL: [Manner; 3] = [Manner::Measured, Manner::Contract, Manner::Stalls];
}

impl Lab {
    /// Everything as it should be.
    pub(crate) const fn sound() -> Lab {
        Lab { defect: None, seed: None, manner: Manner::Measured }
    }

    /// One thing wrong.
    pub(crate) const fn with(defect: Defect) -> Lab {
        Lab { defect: Some(defect), seed: None, manner: Manner::Measured }
    }

    /// Somewhere near the scenario: other seeds, times, latencies, clocks, slow followers.
    pub(crate) const fn near(seed: u64, manner: Manner) -> Lab {
        Lab { defect: None, seed: Some(seed), manner }
    }

    /// Tells whether sessions may live as long as Consul likes.
    pub(crate) fn is_contract(self) -> bool {
        self.manner == Manner::Contract
    }

    /// Tells whether this is the scenario as it is written.
    pub(crate) const fn is_as_written(self) -> bool {
        self.seed.is_none()
    }

    /// Gives about this much time, up to a fifth more or less; exactly this much as written.
    pub(crate) fn about(self, span: Duration) -> Duration {
        let Some(random) = self.random("about") else { return span };
        let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
        ms(random.keyed(millis).between(millis - millis / 5, millis + millis / 5))
    }

    fn random(self, stream: &str) -> Option<Random> {
        self.seed.map(|seed| Random::new(seed).stream("lab").stream(stream))
    }

    /// Begins a scene under these conditions.
    pub(crate) fn begin(self, scene: SceneBuilder) -> Scene {
        let mut scene = self.begin_late(scene);
        scene.run_for(Duration::ZERO);
        scene
    }

    /// Begins a fleet under these conditions.
    pub(crate) fn begin_fleet(self, fleet: FleetBuilder) -> Fleet {
        let fleet = match self.seed {
            Some(seed) => fleet.seed(seed).drift_at_least(200),
            None => fleet,
        };
        let fleet = if self.is_contract() { fleet.contract() } else { fleet };
        let key = fleet.config().locks.first().map(|lock| lock.key.clone());
        let mut fleet = fleet.begin_with(|engine| {
            if let Some(defect) = self.defect {
                engine.plant(defect);
            }
        });
        self.disturb(&mut fleet);
        if let (Manner::Stalls, Some(seed)) = (self.manner, self.seed) {
            fleet.set_stalls(Stalls::new(seed, fleet.nodes()));
            fleet.set_resource(Resource::of(key.as_deref().unwrap_or(""), ms(250)));
        }
        fleet
    }

    /// Slows links and followers down, as the neighbourhood wants it.
    fn disturb(self, fleet: &mut Fleet) {
        const LATENCIES: [(u64, u64); 3] = [(0, 1), (1, 20), (5, 100)];
        const LAGS: [u64; 4] = [0, 1, 5, 60];
        let Some(random) = self.random("disturb") else { return };
        for nth in 0..fleet.nodes() {
            let pick = random.stream("latency").keyed(u64::from(nth)).pick(&LATENCIES);
            let (least, most) = pick.copied().unwrap_or_default();
            fleet.act(node(nth), Action::Latency(ms(least), ms(most)));
        }
        // The first server is the one that the test itself reads from.
        for server in 1..3 {
            let pick = random.stream("lag").keyed(u64::from(server)).pick(&LAGS);
            fleet.trouble(CatalogFault::SlowFollower(server, secs(pick.copied().unwrap_or(0))));
        }
    }

    /// Sets a scene that has not begun: the first input is still to come.
    pub(crate) fn begin_late(self, scene: SceneBuilder) -> Scene {
        let scene = match self.seed {
            Some(seed) => scene.seed(seed),
            None => scene,
        };
        scene.set_with(|engine| {
            if let Some(defect) = self.defect {
                engine.plant(defect);
            }
        })
    }
}

/// One scenario with its name.
pub(crate) type Scenario = (&'static str, fn(Lab));

/// Makes each listed function a test, and all of them the module's table of contents.
macro_rules! scenarios {
    ($($name:ident,)+) => {
        pub(crate) const ALL: &[crate::lab::Scenario] = &[$((stringify!($name), $name)),+];

        mod sound {
            $(#[test] fn $name() { super::$name(crate::lab::Lab::sound()); })+
        }
    };
}
pub(crate) use scenarios;
