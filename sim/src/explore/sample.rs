//! Random settings, one for each seed: configurations that use every key which concerns the engine,
//! and processes that end in all sorts of ways.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::Code;
use steersman_engine::config::{
    Backoff, Clause, Command, Config, HealthCheck, Job, Metric, MetricKind, Name, Repeat, Restarts,
    Signal, SourceName, Trigger, Watch, WatchTarget,
};
use steersman_engine::event::SignalName;
use steersman_engine::input::ExitStatus;
use steersman_engine::schedule::Schedule;

use crate::explore::manner::{Manner, Span, Way};
use crate::explore::plan::{Prepare, Setting};
use crate::explore::search::Search;
use crate::explore::swarm::{Fault, FaultSet, Limits};
use crate::property::Suite;
use crate::random::Random;

/// The most jobs of a random configuration.
const JOBS_MAX: u64 = 6;

/// Draws the search of one seed: its configuration, its processes and how long it takes.
pub fn search(seed: u64, prepare: Option<Prepare>) -> Search {
    let random = Random::new(seed).stream("sample");
    let config = config(random.stream("config"));
    let has_schedule = config.jobs.iter().any(|job| matches!(job.trigger, Trigger::Schedule(_)));
    let long = if has_schedule { 400 } else { 30 };
    let limits = Limits { trouble: Duration::from_secs(long), settle: Duration::from_secs(15) };
    let mut setting = Setting::of("node", config);
    let mut draws = Draws::new(random.stream("manners"));
    for (_, manner) in setting.manners.iter_mut() {
        spread(manner, &mut draws);
    }
    setting.prepare = prepare;
    Search {
        setting: Arc::new(setting),
        suite: Arc::new(Suite::built_in()),
        // Another life of a container has other runs of the same names: nonsense about the first
        // would be lies about the second.
        faults: FaultSet::EXTREME.without(Fault::ContainerKill).without(Fault::ContainerStop),
        limits,
        scripted: Vec::new(),
        seeds: seed..seed + 1,
        shard: (0, 1),
        jobs: 1,
        check_determinism: false,
    }
}

/// One draw after the other from one stream.
#[derive(Clone, Debug)]
struct Draws {
    random: Random,
    count: u64,
}

impl Draws {
    const fn new(random: Random) -> Draws {
        Draws { random, count: 0 }
    }

    const fn next(&mut self) -> Random {
        self.count += 1;
        self.random.keyed(self.count)
    }

    const fn below(&mut self, bound: u64) -> u64 {
        self.next().below(bound)
    }

    const fn percent(&mut self, chance: u32) -> bool {
        self.next().happens(chance * 10_000)
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        let place = self.below(choices.len() as u64);
        choices[usize::try_from(place).unwrap_or(0)]
    }

    /// Draws a round duration, so that several things fall due at the same instant.
    fn duration(&mut self) -> Duration {
        let millis = [100, 200, 300, 500, 700, 1_000, 1_000, 2_000, 3_000, 5_000, 8_000];
        Duration::from_millis(self.pick(&millis))
    }
}

/// Lets processes end by themselves in ways that differ from job to job.
fn spread(manner: &mut Manner, draws: &mut Draws) {
    let status = draws.pick(&[
        ExitStatus::Code(0),
        ExitStatus::Code(0),
        ExitStatus::Code(1),
        ExitStatus::Code(42),
        ExitStatus::Signal(6),
    ]);
    let after = Span { from: Duration::from_millis(10), to: draws.duration() };
    match draws.below(6) {
        0 | 1 => manner.ways = vec![(1, Way::Ends { after, status })],
        2 => manner.ways.push((1, Way::Ends { after, status })),
        _ => {}
    }
}

/// Draws a configuration.
pub fn config(random: Random) -> Config {
    let mut draws = Draws::new(random);
    let count = 1 + draws.below(JOBS_MAX);
    let jobs: Vec<_> = (0..count).map(|nth| Arc::new(job(nth, count, &mut draws))).collect();
    let kinds = [("requests", MetricKind::Counter), ("load", MetricKind::Gauge)];
    let metrics =
        kinds.map(|(name, kind)| Metric { name: Name::from(name), help: "".into(), kind });
    let stop_timeout = Duration::from_secs(draws.pick(&[1, 2, 5, 8]));
    let file = Watch {
        name: Name::from("file"),
        target: WatchTarget::File("/etc/list".into()),
        interval: draws.duration().max(Duration::from_millis(500)),
        dc: None,
        settle: Duration::ZERO,
        stale: None,
    };
    let of_file = |clause: &Clause| clause.source == SourceName::Watch(file.name.clone());
    let is_heard = jobs.iter().any(|job| clauses(&job.trigger).iter().any(of_file));
    let watches = if is_heard { vec![file] } else { Vec::new() };
    Config { jobs, watches, stop_timeout, metrics: metrics.into(), ..Config::default() }
}

fn name(nth: u64) -> Name {
    Name::from(format!("job-{nth}"))
}

fn job(nth: u64, count: u64, draws: &mut Draws) -> Job {
    let name = name(nth);
    let command = Command::new(["/bin/work", &*name]);
    let trigger = trigger(nth, count, draws);
    let repeats = clauses(&trigger).iter().any(|clause| clause.repeat == Repeat::Each);
    let restarts = match draws.below(4) {
        0 if !repeats => Restarts::Unlimited,
        0 | 1 => Restarts::Limited(0),
        _ => Restarts::Limited(u32::try_from(draws.below(4)).unwrap_or(0)),
    };
    let is_interval = matches!(trigger, Trigger::Interval(_));
    let restarts = match restarts {
        Restarts::Limited(few) if is_interval && draws.percent(50) => Restarts::Limited(few + 2),
        _ if is_interval => Restarts::Unlimited,
        other => other,
    };
    let mut job = Job::new(&name, command);
    if draws.percent(4) {
        job.command = None;
    }
    job.trigger = trigger;
    job.restarts = restarts;
    job.backoff = backoff(restarts, draws);
    job.trigger_timeout = draws.percent(20).then(|| draws.duration());
    job.timeout = draws.percent(25).then(|| draws.duration());
    job.stop_timeout = draws.percent(30).then(|| draws.duration());
    job.kill_timeout = draws.percent(40).then(|| draws.duration());
    job.stop_signal = draws.pick(&[Signal::TERM, Signal::TERM, Signal(2), Signal(3)]);
    job.health = draws.percent(45).then(|| health(draws));
    job.essential = draws.percent(10);
    job
}

fn backoff(restarts: Restarts, draws: &mut Draws) -> Backoff {
    let custom = Backoff::Exponential {
        initial: draws.duration(),
        max: draws.duration() + Duration::from_secs(4),
        factor_percent: 150,
        // Whose every run is long enough to be forgiven restarts without a wait, for ever.
        reset: draws.duration().max(Duration::from_secs(2)),
    };
    match draws.below(4) {
        0 if restarts != Restarts::Unlimited => Backoff::None,
        1 => custom,
        _ => Backoff::default(),
    }
}

fn health(draws: &mut Draws) -> HealthCheck {
    let interval = draws.duration().max(Duration::from_millis(500));
    HealthCheck {
        command: (!draws.percent(8)).then(|| Arc::new(Command::new(["/bin/check"]))),
        interval,
        timeout: if draws.percent(50) { interval } else { draws.duration() },
        ttl: None,
        retries: u32::try_from(1 + draws.below(3)).unwrap_or(1),
        start_period: if draws.percent(50) { Duration::ZERO } else { draws.duration() },
        start_interval: draws.percent(40).then(|| draws.duration()),
    }
}

fn trigger(nth: u64, count: u64, draws: &mut Draws) -> Trigger {
    match draws.below(20) {
        0..=5 => Trigger::Startup,
        6..=12 => Trigger::On(clause(nth, count, draws)),
        13 | 14 => Trigger::All(several(nth, count, draws)),
        15 | 16 => Trigger::Any(several(nth, count, draws)),
        17 if draws.percent(40) => match Schedule::parse("* * * * *") {
            Ok(schedule) => Trigger::Schedule(schedule),
            Err(_) => Trigger::Startup,
        },
        _ => Trigger::Interval(draws.duration()),
    }
}

/// Draws two conditions that are not the same.
fn several(nth: u64, count: u64, draws: &mut Draws) -> Vec<Clause> {
    let one = clause(nth, count, draws);
    let other = clause(nth, count, draws);
    let is_same = one.code == other.code && one.source == other.source;
    if is_same { vec![one] } else { vec![one, other] }
}

fn clause(nth: u64, count: u64, draws: &mut Draws) -> Clause {
    let of_job = [
        Code::ExitSuccess,
        Code::ExitSuccess,
        Code::ExitFailed,
        Code::Healthy,
        Code::Healthy,
        Code::Unhealthy,
        Code::Stopping,
        Code::Stopping,
        Code::Stopped,
        Code::Skipped,
        Code::TimerExpired,
    ];
    let of_all = [Code::Startup, Code::Shutdown, Code::EnterMaintenance, Code::ExitMaintenance];
    // Mostly another job: one that waits for itself alone never runs.
    let other = (nth + 1 + draws.below(count.max(2) - 1)) % count;
    let of_watch = [Code::Changed, Code::Changed, Code::Healthy, Code::Unhealthy];
    let (code, source) = match draws.below(11) {
        10 => (draws.pick(&of_watch), SourceName::Watch(Name::from("file"))),
        0 => (draws.pick(&of_all), SourceName::Global),
        1 | 2 => {
            let signal = draws.pick(&[SignalName::Hup, SignalName::Usr2]);
            (Code::Signal, SourceName::Signal(signal))
        }
        3 => {
            let code = draws.pick(&[Code::ExitSuccess, Code::ExitFailed]);
            (code, SourceName::Check(name(other)))
        }
        _ => (draws.pick(&of_job), SourceName::Job(name(other))),
    };
    // One that reacts to itself every time never rests, as it was told.
    let is_own = matches!(&source, SourceName::Job(of) | SourceName::Check(of) if *of == name(nth));
    let repeat = if draws.percent(45) && !is_own { Repeat::Each } else { Repeat::Once };
    Clause { code, source, repeat }
}

fn clauses(trigger: &Trigger) -> &[Clause] {
    match trigger {
        Trigger::On(clause) => core::slice::from_ref(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses,
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &[],
    }
}
