//! What an election is held with: figures, clocks, and what may go wrong.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::{
    Backoff, Command, Config, Job, Keeping, Lock, Name, Restarts, Signal, Takeover,
};
use steersman_engine::{Engine, limits};

/// How long a tick is on a clock that is neither fast nor slow. Longer than every wait that the
/// engine draws (18.75 s at most), so that each of those is one tick; so long that the engine's
/// blocking reads (75 s) last for one as well.
pub const TICK: Duration = Duration::from_secs(70);
/// How long a tick of a slow clock's is on a fast one, when clocks differ: half as long again.
const FAST_TICK: Duration = Duration::from_secs(105);

/// The figures of the lock, in ticks of a slow clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// How long a session lives without being renewed, T, on Consul's clock.
    pub ttl: u32,
    /// How long the key stays barred after a loss, δ, on Consul's clock.
    pub lock_delay: u32,
    /// From one renewal to the next.
    pub renew_every: u32,
    /// How long a request may take.
    pub request_timeout: u32,
    /// The age of a renewal at which stopping begins, A.
    pub demote_after: u32,
    /// From the stop signal to SIGKILL, g.
    pub stop_timeout: u32,
    /// How long a supervisor may be held up, P, in true ticks.
    pub pause_max: u32,
    /// From SIGKILL to the end, κ, in true ticks.
    pub kill_latency: u32,
    /// How long a new holder keeps quiet, on its own clock; none leaves it to the engine, which
    /// then finds exactly A + P + g + κ.
    pub quiet: Option<u32>,
    /// From a lost term to the next try.
    pub hold_off: u32,
}

impl Figures {
    /// Gives A + P + g + κ, in true ticks by a slow clock.
    pub const fn longest_old_term(&self) -> u32 {
        self.demote_after + self.pause_max + self.stop_timeout + self.kill_latency
    }
}

/// Something that may go wrong, or be done from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Trouble {
    /// A request or its answer is lost.
    Loss,
    /// A request or its answer takes a tick longer than at once.
    Delay,
    /// A request is carried out after its sender has given it up.
    Late,
    /// A node hears nothing of Consul, and Consul nothing of it, until it is mended.
    Cut,
    /// A node's requests arrive and no answer comes back, until it is mended.
    DeafCut,
    /// A supervisor is held up, within the bound; its processes are not.
    Pause,
    /// A node loses its power: the supervisor and its processes end at once.
    Crash,
    /// A supervisor is asked to end in order.
    Stop,
    /// An operator destroys a session.
    Destroy,
    /// An operator writes to the key.
    Put,
    /// An operator deletes the key.
    Delete,
    /// An operator deletes the key and writes it again as it was in a backup.
    Restore,
    /// Consul forgets everything and counts from one again.
    ForgetAll,
    /// Consul forgets everything and counts on above what it has forgotten.
    ForgetButIndex,
    /// A process ends by itself.
    Exit,
}

/// Every kind of trouble.
pub const TROUBLES: [Trouble; 15] = [
    Trouble::Loss,
    Trouble::Delay,
    Trouble::Late,
    Trouble::Cut,
    Trouble::DeafCut,
    Trouble::Pause,
    Trouble::Crash,
    Trouble::Stop,
    Trouble::Destroy,
    Trouble::Put,
    Trouble::Delete,
    Trouble::Restore,
    Trouble::ForgetAll,
    Trouble::ForgetButIndex,
    Trouble::Exit,
];

/// The kinds of trouble that there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Troubles(u32);

impl Troubles {
    /// Everything.
    pub const ALL: Troubles = Troubles((1 << TROUBLES.len()) - 1);

    /// Only these.
    pub fn only(kinds: &[Trouble]) -> Troubles {
        Troubles(kinds.iter().fold(0, |set, kind| set | 1 << *kind as u32))
    }

    /// All but these.
    pub fn without(self, kinds: &[Trouble]) -> Troubles {
        Troubles(self.0 & !Troubles::only(kinds).0)
    }

    /// Tells whether a kind is among them.
    pub const fn has(self, kind: Trouble) -> bool {
        self.0 & 1 << kind as u32 != 0
    }
}

/// How the clocks of the nodes go; Consul's is fast whenever they differ, because it promises
/// nothing but to wait, and waits shortest by a fast clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clocks {
    /// All alike.
    Equal,
    /// At the ends of what is allowed: those in the set (a bit for each node) fast, the others
    /// slow. Fast is half as fast again as slow: `maxDrift` is a fifth.
    Ends(u8),
}

impl Clocks {
    /// Gives how long a tick is on a node's clock.
    pub const fn tick_of(self, node: usize) -> Duration {
        match self {
            Clocks::Equal => TICK,
            Clocks::Ends(fast) if fast & 1 << node != 0 => FAST_TICK,
            Clocks::Ends(_) => TICK,
        }
    }

    const fn tick_of_consul(self) -> Duration {
        match self {
            Clocks::Equal => TICK,
            Clocks::Ends(_) => FAST_TICK,
        }
    }

    const fn drift_ppm(self) -> u32 {
        match self {
            Clocks::Equal => 0,
            Clocks::Ends(_) => 200_000,
        }
    }
}

/// Everything about an election that does not change.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The figures.
    pub figures: Figures,
    /// How the clocks go.
    pub clocks: Clocks,
    /// How many supervisors stand for the lock.
    pub candidates: usize,
    /// What may go wrong.
    pub troubles: Troubles,
    /// At most so much goes wrong.
    pub troubles_max: u8,
    /// Whether every message may take its time, up to its time-out, without that counting as
    /// trouble.
    pub are_delays_free: bool,
    /// Whether what comes within a tick comes in any order; else answers come in the order of the
    /// nodes, and only trouble, ends of processes and what Consul does may come in between.
    pub is_any_order: bool,
    /// Whether there is a second job, which runs always and ends with each term.
    pub has_bound_job: bool,
    /// One of so many states without trouble ahead is followed to see whether somebody leads in the
    /// end; zero for none.
    pub settles_every: u64,
    /// How long after its sender has given it up a request may be carried out.
    pub late_max: u32,
    /// A supervisor that has not begun.
    pub(crate) fresh: Arc<Engine>,
    pub(crate) ttl: u32,
    pub(crate) lock_delay: u32,
}

impl Rules {
    /// Builds the rules of an election without trouble. `prepare` changes every supervisor before
    /// it begins.
    pub fn new(figures: Figures, clocks: Clocks, prepare: &dyn Fn(&mut Engine)) -> Rules {
        Rules::with_bound_job(figures, clocks, false, prepare)
    }

    /// Builds them with a job that runs always and ends with each term, if so.
    pub fn with_bound_job(
        figures: Figures,
        clocks: Clocks,
        has_bound_job: bool,
        prepare: &dyn Fn(&mut Engine),
    ) -> Rules {
        let mut engine = Engine::new(config(&figures, clocks, has_bound_job), 1);
        engine.set_digested(false);
        prepare(&mut engine);
        let in_ticks = |ticks: u32| ticks_of(TICK * ticks, clocks.tick_of_consul());
        Rules {
            figures,
            clocks,
            candidates: 2,
            troubles: Troubles::ALL,
            troubles_max: 0,
            are_delays_free: false,
            is_any_order: true,
            has_bound_job,
            settles_every: 64,
            late_max: 2,
            fresh: Arc::new(engine),
            ttl: in_ticks(figures.ttl),
            lock_delay: in_ticks(figures.lock_delay),
        }
    }

    /// Gives the least δ, in ticks of a slow clock, that satisfies I2 by Consul's clock; I3's W is
    /// the same by the taker's.
    pub fn least_lock_delay(figures: &Figures, clocks: Clocks) -> u32 {
        let needed = clocks.tick_of_consul() * figures.longest_old_term();
        ticks_of(needed, TICK)
    }

    /// Gives how many true ticks a time-out lasts by a node's clock: until which one an answer may
    /// come, and at which one it counts as lost.
    pub(crate) fn patience(&self, node: usize, timeout: Duration) -> (u32, u32) {
        let tick = self.clocks.tick_of(node);
        let last = timeout.as_nanos() / tick.as_nanos();
        (u32::try_from(last).unwrap_or(u32::MAX), ticks_of(timeout, tick))
    }

    /// Gives how many true ticks Consul lets a blocking read wait.
    pub(crate) fn read_wait(&self, wait: Duration) -> u32 {
        let tick = self.clocks.tick_of_consul();
        u32::try_from(wait.as_nanos() / tick.as_nanos()).unwrap_or(u32::MAX)
    }
}

/// Counts ticks, rounded up.
fn ticks_of(length: Duration, tick: Duration) -> u32 {
    u32::try_from(length.as_nanos().div_ceil(tick.as_nanos())).unwrap_or(u32::MAX)
}

/// The lock's name.
pub(crate) const LOCK: &str = "lead";

fn config(figures: &Figures, clocks: Clocks, has_bound_job: bool) -> Config {
    let mut held = job("primary");
    held.while_lock = Some(Name::from(LOCK));
    let mut bound = job("server");
    bound.stop_with = Some(Name::from(LOCK));
    let mut jobs = vec![Arc::new(held)];
    jobs.extend(has_bound_job.then(|| Arc::new(bound)));
    Config {
        jobs,
        locks: vec![lock(figures, clocks)],
        stop_timeout: TICK * (figures.stop_timeout + 4),
        ..Config::default()
    }
}

fn job(name: &str) -> Job {
    let mut job = Job::new(name, Command::new(["/bin/work"]));
    job.restarts = Restarts::Unlimited;
    job.backoff = Backoff::None;
    job.stop_signal = Signal::TERM;
    job
}

fn lock(figures: &Figures, clocks: Clocks) -> Lock {
    // The engine's own figure for κ is fixed, and small beside a tick; what is missing is given to
    // P, less the millisecond by which the engine rounds up.
    let rest = TICK * (figures.pause_max + figures.kill_latency);
    let max_pause = rest.saturating_sub(limits::KILL_LATENCY + Duration::from_millis(1));
    Lock {
        name: Name::from(LOCK),
        key: Box::from("lead"),
        ttl: TICK * figures.ttl,
        lock_delay: TICK * figures.lock_delay,
        renew_every: TICK * figures.renew_every,
        request_timeout: TICK * figures.request_timeout,
        demote_after: TICK * figures.demote_after,
        stop_timeout: TICK * figures.stop_timeout,
        max_pause,
        max_drift_ppm: clocks.drift_ppm(),
        takeover: figures.quiet.map_or(Takeover::Auto, |quiet| Takeover::After(TICK * quiet)),
        healthy: None,
        health_grace: TICK,
        hold_off: TICK * figures.hold_off,
        value: None,
        risk_accepted: true,
        stands_again: true,
        give_up_after: None,
        token_file: None,
        keeper: Keeping::Off,
    }
}
