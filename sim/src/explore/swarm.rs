//! Random runs with swarms of faults: which kinds, how often and for how long differ from seed to
//! seed, because fixed rates miss whole regions.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use steersman_engine::config::Signal;
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{RunKind, Time};

use crate::explore::deeds::{draw_command, draw_rewrite, draw_signal, nonsense};
use crate::explore::manner::{Answer, Manner, Manners, Span, Way};
use crate::explore::plan::{Deed, NodeSpec, Plan, Setting, When};
use crate::random::{Random, mix};
use crate::script::{Child, Director, Reaction, Role, Script};
use crate::world::Action;

mod surroundings;

use surroundings::{draw_consul_deed, draw_part, draw_surroundings, end_of, is_of_consul, of_node};

macro_rules! faults {
    ($($(#[$doc:meta])* $variant:ident = $text:literal),+ $(,)?) => {
        /// A kind of trouble.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Fault { $($(#[$doc])* $variant),+ }

        impl Fault {
            /// Every kind, in the order of their numbers.
            pub const ALL: &'static [Fault] = &[$(Fault::$variant),+];

            /// Gives its word in scenarios and reports.
            pub const fn as_str(self) -> &'static str {
                match self { $(Fault::$variant => $text),+ }
            }
        }
    };
}

faults! {
    /// A process ends badly.
    Crash = "crash",
    /// A process ends well although it was not to end.
    EndsEarly = "ends-early",
    /// A process takes long to start.
    SlowStart = "slow-start",
    /// A process cannot be started.
    StartFails = "start-fails",
    /// Work takes long.
    SlowWork = "slow-work",
    /// A process ignores stop signals.
    IgnoresStop = "ignores-stop",
    /// A process takes long to stop.
    SlowStop = "slow-stop",
    /// A process leaves a child behind.
    Leaves = "leaves-child",
    /// A health check fails.
    CheckFails = "check-fails",
    /// A health check takes long, or for ever.
    CheckHangs = "check-hangs",
    /// The supervisor is asked to stop.
    Stop = "stop",
    /// It is asked again.
    StopAgain = "stop-again",
    /// The supervisor gets a signal for its jobs.
    Signal = "signal",
    /// The configuration is read again.
    Reload = "reload",
    /// A broken configuration is read.
    BadReload = "bad-reload",
    /// Maintenance is switched on and off.
    Maintenance = "maintenance",
    /// A job is restarted, or gets a signal, over the control plane.
    Meddling = "meddling",
    /// The supervisor's process is held up.
    Pause = "pause",
    /// The wall clock is set.
    ClockStep = "clock-step",
    /// The clocks run fast or slow.
    ClockRate = "clock-rate",
    /// Nothing in the container runs for a while.
    Freeze = "freeze",
    /// The container is killed, and started later.
    ContainerKill = "kill",
    /// The container is stopped, and started later.
    ContainerStop = "stop-container",
    /// The link to Consul is cut, one way or both.
    Cut = "cut",
    /// Consul's agent refuses connections.
    Refuse = "refuse",
    /// Messages to and from Consul take long, and overtake each other.
    Delay = "delay",
    /// Messages to and from Consul get lost.
    Loss = "loss",
    /// Requests to Consul arrive twice.
    Duplicate = "duplicate",
    /// The Consul agent starts again, with its memory or without.
    AgentRestart = "agent-restart",
    /// The Consul agent reaches no server, or stands still.
    AgentCut = "agent-cut",
    /// Somebody takes a service out of Consul.
    Deregister = "deregister",
    /// Consul's leader dies or steps down.
    LeaderLoss = "consul-leader-loss",
    /// All servers of Consul are away for a while.
    Outage = "consul-outage",
    /// Consul loses everything.
    TotalLoss = "consul-total-loss",
    /// Servers of Consul lag behind.
    Lag = "consul-lag",
    /// Somebody destroys a session, or writes a lock's key.
    Operator = "operator",
    /// Services of others come and go.
    Others = "others",
    /// A process cannot be ended at all.
    Unkillable = "cannot-be-killed",
    /// Another configuration is read.
    Rewrite = "reload-changed",
    /// Variables, metrics and requests that make no sense come over the control plane.
    Commands = "commands",
    /// A signal comes before the supervisor has begun.
    Early = "early-signal",
    /// Results come again, late or for nobody.
    Nonsense = "nonsense",
    /// A node and another, or a client, do not reach each other, where there are databases.
    Part = "part",
}

/// A set of kinds of trouble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FaultSet(u64);

impl FaultSet {
    /// Every kind that a configuration is to bear.
    pub const EVERY: FaultSet = FaultSet((1 << Fault::Unkillable as u8) - 1);
    /// Every kind, those besides that only the supervisor itself is to bear.
    pub const EXTREME: FaultSet = FaultSet((1 << Fault::ALL.len()) - 1);

    /// Adds a kind.
    #[must_use]
    pub const fn with(self, fault: Fault) -> FaultSet {
        FaultSet(self.0 | 1 << fault as u8)
    }

    /// Takes a kind away.
    #[must_use]
    pub const fn without(self, fault: Fault) -> FaultSet {
        FaultSet(self.0 & !(1 << fault as u8))
    }

    /// Tells whether a kind is in it.
    pub const fn has(self, fault: Fault) -> bool {
        self.0 & 1 << fault as u8 != 0
    }
}

/// How long runs are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long there may be trouble, at most.
    pub trouble: Duration,
    /// How long the world may take to settle afterwards.
    pub settle: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { trouble: Duration::from_secs(40), settle: Duration::from_secs(20) }
    }
}

/// How often each kind of trouble was made in a search.
#[derive(Debug)]
pub struct FaultCounts([AtomicU64; Fault::ALL.len()]);

impl Default for FaultCounts {
    fn default() -> FaultCounts {
        FaultCounts([const { AtomicU64::new(0) }; Fault::ALL.len()])
    }
}

impl FaultCounts {
    fn add(&self, fault: Fault) {
        self.0[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Tells how often a kind was made.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0[fault as usize].load(Ordering::Relaxed)
    }
}

/// One seed's run: its plan without castings, and who casts.
#[derive(Clone, Debug)]
pub struct Swarm {
    /// What is done from outside, and for how long.
    pub plan: Plan,
    /// Who gives the parts.
    pub parts: SwarmParts,
}

/// Gives parts as drawn for one seed.
#[derive(Clone, Debug)]
pub struct SwarmParts {
    random: Random,
    names: Vec<Arc<str>>,
    manners: Manners,
    /// This seed's trouble with jobs, and with checks.
    faults: [Vec<(Fault, u32)>; 2],
    calm_from: Time,
    counts: Arc<FaultCounts>,
}

impl Swarm {
    /// Draws the run of a seed.
    pub fn draw(
        setting: &Setting,
        seed: u64,
        allowed: FaultSet,
        limits: Limits,
        counts: &Arc<FaultCounts>,
    ) -> Swarm {
        let random = Random::new(seed).stream("swarm");
        let shortest = limits.trouble.min(Duration::from_secs(1));
        let trouble = Span { from: shortest, to: limits.trouble }.draw(random.stream("trouble"));
        let calm_from = Time(0) + trouble;
        let rates = rates(random, allowed);
        let mut deeds = Vec::new();
        for node in &setting.nodes {
            let random = random.stream("deeds").stream(&node.name);
            let own = of_node(node, setting.consul.as_ref());
            let wanted = rates.iter().copied().filter(|(fault, _)| own(*fault));
            for (fault, random, at) in draw_times(wanted, random, trouble) {
                counts.add(fault);
                if fault == Fault::Nonsense {
                    deeds.extend(nonsense(node, random));
                    continue;
                }
                let mut put = |at, action| {
                    deeds.push(Deed { when: When::At(at), node: node.name.clone(), action });
                };
                match fault {
                    Fault::Part => draw_part((setting, node), random, (at, trouble), &mut put),
                    _ => draw_deed(fault, node, random, (at, trouble), &mut put),
                }
            }
        }
        if let Some(consul) = &setting.consul {
            let random = random.stream("deeds of consul");
            let wanted = rates.iter().copied().filter(|(fault, _)| is_of_consul(*fault));
            for (fault, random, at) in draw_times(wanted, random, trouble) {
                counts.add(fault);
                let put = &mut |at, fault| {
                    let (when, action) = (When::At(at), Action::Catalog(fault));
                    deeds.push(Deed { when, node: Arc::from("consul"), action });
                };
                draw_consul_deed(fault, (setting, consul), random, (at, trouble), put);
            }
        }
        let end = calm_from + limits.settle;
        let ties = random.stream("ties").happens(500_000);
        let plan = Plan { seed, ties, castings: Vec::new(), deeds, calm_from, end };
        let faults = [RunKind::Main, RunKind::Check].map(|kind| {
            let own = rates.iter().copied().filter(|(fault, _)| concerns(*fault, kind));
            own.collect()
        });
        let parts = SwarmParts {
            random: random.stream("parts"),
            names: setting.nodes.iter().map(|node| node.name.clone()).collect(),
            manners: setting.manners.clone(),
            faults,
            calm_from,
            counts: counts.clone(),
        };
        Swarm { plan, parts }
    }
}

/// Draws which kinds come, and how often: half of them, from rare to nearly always.
fn rates(random: Random, allowed: FaultSet) -> Vec<(Fault, u32)> {
    let drawn = Fault::ALL.iter().filter(|fault| allowed.has(**fault)).filter_map(|fault| {
        let random = random.stream("rates").keyed(*fault as u64);
        if !random.stream("on").happens(500_000) {
            return None;
        }
        let scale = random.stream("scale").below(6);
        Some((*fault, 1_000_000_u32 >> scale))
    });
    drawn.collect()
}

const fn concerns(fault: Fault, kind: RunKind) -> bool {
    match fault {
        Fault::Crash
        | Fault::EndsEarly
        | Fault::SlowStart
        | Fault::SlowWork
        | Fault::IgnoresStop
        | Fault::Unkillable
        | Fault::SlowStop => matches!(kind, RunKind::Main),
        Fault::CheckFails | Fault::CheckHangs => matches!(kind, RunKind::Check),
        Fault::StartFails | Fault::Leaves => true,
        _ => false,
    }
}

/// Draws when each kind of trouble comes.
fn draw_times(
    rates: impl Iterator<Item = (Fault, u32)>,
    random: Random,
    trouble: Duration,
) -> Vec<(Fault, Random, Time)> {
    let nanos = u64::try_from(trouble.as_nanos()).unwrap_or(u64::MAX);
    let mut times = Vec::new();
    for (fault, rate) in rates {
        let random = random.keyed(fault as u64);
        let most = times_of(fault, rate);
        for nth in 0..random.stream("times").below(most + 1) {
            let random = random.keyed(nth);
            times.push((fault, random, Time(random.stream("at").below(nanos))));
        }
    }
    times
}

/// Draws one thing that is done from outside, or several that belong together.
fn draw_deed(
    fault: Fault,
    node: &NodeSpec,
    random: Random,
    (at, trouble): (Time, Duration),
    put: &mut dyn FnMut(Time, Action),
) {
    let later = end_of(at, trouble, random);
    match fault {
        Fault::Stop | Fault::StopAgain | Fault::Signal | Fault::Early => {
            draw_signal(fault, node, random, at, put);
        }
        Fault::Rewrite => draw_rewrite(node, random, (at, later), put),
        Fault::Commands => draw_command(node, random, at, put),
        Fault::Reload => {
            let all = random.stream("all").happens(500_000);
            put(at, Action::Control(Control::Reload { all }));
        }
        Fault::BadReload => {
            put(at, Action::WriteConfig(Err(Box::from("line 1: cannot read this"))));
            put(at + Duration::from_nanos(1), reload());
            put(later, Action::WriteConfig(Ok(node.config.clone())));
            put(later + Duration::from_nanos(1), reload());
        }
        Fault::Maintenance => {
            put(at, Action::Control(Control::Maintenance(true)));
            put(later, Action::Control(Control::Maintenance(false)));
        }
        Fault::Meddling => {
            let Some(job) = random.stream("job").pick(&node.config.jobs) else { return };
            let job = Box::from(&*job.name);
            put(
                at,
                Action::Control(match random.stream("verb").below(2) {
                    0 => Control::RestartJob { job },
                    _ => Control::SignalJob { job, signal: Signal::TERM },
                }),
            );
        }
        Fault::Pause => {
            put(at, Action::Pause);
            put(later, Action::Resume);
        }
        Fault::ClockStep => {
            let by = Span::millis(1_000, 100_000_000).draw(random.stream("by"));
            let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
            let back = random.stream("back").happens(500_000);
            put(at, Action::StepWall(if back { -by } else { by }));
        }
        Fault::ClockRate => put(at, Action::ClockRate(clock_rate(node, random.stream("rate")))),
        _ => draw_surroundings(fault, node, random, (at, later), put),
    }
}

/// Draws how wrong clocks are: no worse than a lock allows, for its promise holds no further.
fn clock_rate(node: &NodeSpec, random: Random) -> i32 {
    let most = node.config.locks.iter().map(|lock| lock.max_drift_ppm).min();
    let most = most.and_then(|most| i32::try_from(most).ok()).unwrap_or(100_000);
    let all = [-most, -most.min(500), most.min(500), most];
    random.pick(&all).copied().unwrap_or(500)
}

/// A reload of what is in the file.
const fn reload() -> Action {
    Action::Control(Control::Reload { all: false })
}

const fn times_of(fault: Fault, rate: u32) -> u64 {
    let most = match fault {
        Fault::Stop | Fault::StopAgain => 1,
        Fault::Pause | Fault::ClockRate | Fault::BadReload => 2,
        Fault::Reload | Fault::Maintenance | Fault::ClockStep => 4,
        Fault::Signal | Fault::Meddling => 8,
        Fault::TotalLoss | Fault::Outage => 1,
        Fault::ContainerKill | Fault::ContainerStop | Fault::LeaderLoss => 2,
        Fault::Freeze | Fault::Delay | Fault::Loss | Fault::Duplicate | Fault::Lag => 2,
        Fault::Cut | Fault::Refuse | Fault::AgentRestart | Fault::AgentCut | Fault::Part => 3,
        Fault::Deregister | Fault::Operator => 3,
        Fault::Others => 6,
        Fault::Early => 1,
        Fault::Rewrite => 3,
        Fault::Commands | Fault::Nonsense => 8,
        _ => return 0,
    };
    let few = (most * rate as u64).div_ceil(1_000_000);
    if few == 0 { 1 } else { few }
}

impl SwarmParts {
    /// Lets trouble go on for as long as the plan does.
    pub(crate) const fn keep_calm_from(&mut self, calm_from: Time) {
        self.calm_from = calm_from;
    }
}

impl Director for SwarmParts {
    fn script(&self, role: &Role, at: Time, nth: u32) -> Script {
        let (node, job, kind) = role;
        let name = self.names.get(node.index()).cloned().unwrap_or_default();
        let Some(manner) = self.manners.find(&(name, job.clone(), *kind)) else {
            return Manner::serving().ordinary();
        };
        let faults = &self.faults[usize::from(*kind == RunKind::Check)];
        let key = role.1.bytes().fold(u64::from(role.0.0), |key, byte| mix(key ^ u64::from(byte)));
        let random = self.random.keyed(key).keyed(role.2 as u64).keyed(u64::from(nth));
        if at >= self.calm_from {
            // That trouble is over does not mean that work takes the shortest time.
            return manner.at(at).ordinary().drawing(random.stream("draws"));
        }
        let mut manner = manner.at(at);
        let whether = random.stream("fault");
        for (fault, rate) in faults {
            if whether.keyed(*fault as u64).happens(*rate) {
                self.counts.add(*fault);
                spoil(manner.to_mut(), *fault, random.stream("spoil").keyed(*fault as u64));
            }
        }
        let mut script = manner.draw(random);
        if faults.iter().any(|(fault, _)| *fault == Fault::Unkillable)
            && script.asked == Reaction::Ignores
            && random.stream("unkillable").happens(300_000)
        {
            script.killed_after = None;
        }
        script
    }
}

/// Makes one process behave badly.
fn spoil(manner: &mut Manner, fault: Fault, random: Random) {
    let soon = Span::millis(1, 20_000);
    match fault {
        Fault::Crash => {
            let all = [ExitStatus::Code(1), ExitStatus::Code(143), ExitStatus::Signal(9)];
            let status = random.pick(&all).copied().unwrap_or(ExitStatus::Code(1));
            manner.ways = vec![(1, Way::Ends { after: soon, status })];
        }
        Fault::EndsEarly => {
            let status = ExitStatus::Code(0);
            manner.ways = vec![(1, Way::Ends { after: soon, status })];
        }
        Fault::SlowStart => manner.start = soon,
        Fault::StartFails => manner.start_fails_ppm = 1_000_000,
        Fault::SlowWork => {
            if let Some((_, Way::Ends { after, .. })) = manner.ways.first_mut() {
                *after = Span::millis(10, 60_000);
            }
        }
        Fault::IgnoresStop | Fault::Unkillable => manner.answers = vec![(1, Answer::Ignores)],
        Fault::SlowStop => {
            let status = ExitStatus::Code(0);
            manner.answers = vec![(1, Answer::Ends { after: soon, status })];
        }
        Fault::Leaves => {
            let lasts = random.stream("lasts").happens(500_000);
            let lasts = lasts.then(|| soon.draw(random.stream("how long")));
            let polite = random.stream("polite").happens(500_000);
            manner.leaves = (1_000_000, Child { lasts, polite });
        }
        Fault::CheckFails => {
            let way = Way::Ends { after: Span::millis(1, 1_000), status: ExitStatus::Code(1) };
            manner.ways = vec![(1, way)];
        }
        Fault::CheckHangs => {
            let slow = Way::Ends { after: soon, status: ExitStatus::Code(0) };
            let way = if random.stream("ever").happens(300_000) { Way::Endless } else { slow };
            manner.ways = vec![(1, way)];
        }
        _ => {}
    }
}
