//! The engine alone, on one core: how many inputs a second it takes in, and whether jobs that an
//! input does not concern make it dearer.
//!
//! A driver answers every effect (processes start, checks pass or fail, jobs crash) and records the
//! inputs; only replaying that record is timed. Dropping the effects is part of the time, as it is
//! for whoever uses them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use steersman_engine::config::{
    Backoff, Clause, Command, Config, HealthCheck, Job, Repeat, Restarts, SourceName, Trigger,
};
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{Code, Effect, Engine, Input, RunId, RunKind, Stamp, Time};

use crate::Result;
use steersman_tests::table::{Better, Table};

/// Measures inputs a second, and nanoseconds an input beside jobs that are not concerned.
pub(crate) fn run(rounds: usize, quick: bool) -> Result<()> {
    let length = if quick { 50_000 } else { 500_000 };
    let mut rates = Table::new(
        "Engine alone, one core: inputs a second (checks, crashes, intervals, reactions)",
        "millions a second",
        Better::More,
        "",
    );
    let mut costs = Table::new(
        "Engine alone: cost of an input for ten busy jobs beside others that sleep",
        "ns",
        Better::Less,
        "of 10 jobs",
    );
    let busy: Vec<_> = [10, 100, 1000].map(|jobs| (jobs, Record::new(jobs, 0, length))).into();
    let beside: Vec<_> =
        [0, 90, 990, 9990].map(|idle| (10 + idle, Record::new(10, idle, length))).into();
    for round in 1..=rounds {
        for (jobs, record) in &busy {
            let nanos = record.replay()?;
            eprintln!("engine round {round}: {jobs} jobs {nanos:.1} ns an input");
            rates.add("all jobs busy", &format!("{jobs} jobs"), 1000.0 / nanos);
        }
        for (jobs, record) in &beside {
            let nanos = record.replay()?;
            eprintln!("engine round {round}: 10 of {jobs} jobs {nanos:.1} ns an input");
            costs.add(&format!("of {jobs} jobs"), "ten busy", nanos);
        }
    }
    rates.print();
    costs.print();
    Ok(())
}

/// The inputs of a run, and the configuration they belong to.
struct Record {
    config: Config,
    inputs: Vec<(Stamp, Input)>,
    digest: u64,
}

impl Record {
    /// Runs `busy` jobs beside `idle` ones until there are `length` inputs.
    fn new(busy: usize, idle: usize, length: usize) -> Record {
        let config = config(busy, idle);
        let mut engine = Engine::new(config.clone(), 1);
        let mut world = World::default();
        let mut inputs = Vec::with_capacity(length);
        let mut effects = Vec::new();
        world.answer(Time(0), Input::Begin);
        while inputs.len() < length {
            let Some((now, input)) = world.next(engine.next_wakeup()) else { break };
            let stamp = Stamp { mono: now, wall_ms: (now.0 / 1_000_000).cast_signed() };
            inputs.push((stamp, input.clone()));
            engine.handle(stamp, input, &mut effects);
            for effect in effects.drain(..) {
                world.perform(now, effect);
            }
        }
        Record { config, inputs, digest: engine.digest() }
    }

    /// Replays it and gives nanoseconds an input.
    fn replay(&self) -> Result<f64> {
        let mut engine = Engine::new(self.config.clone(), 1);
        let inputs = self.inputs.clone();
        let mut effects = Vec::with_capacity(64);
        let begin = Instant::now();
        for (stamp, input) in inputs {
            engine.handle(stamp, input, &mut effects);
            black_box(&effects);
            effects.clear();
        }
        let elapsed = begin.elapsed();
        if engine.digest() != self.digest {
            return Err("cannot trust the engine: a replay ended in another state".into());
        }
        Ok(elapsed.as_nanos() as f64 / self.inputs.len() as f64)
    }
}

/// Ten kinds of job in turn: five services with checks, one of which fails now and then, two that
/// crash, an interval job, a reaction to a crash, and a reaction to health.
fn config(busy: usize, idle: usize) -> Config {
    let command = || Command::new(["/bin/app", "--flag", "value"]);
    let clause = |code, source: SourceName| Clause { code, source, repeat: Repeat::Each };
    let mut jobs = Vec::new();
    for index in 0..busy {
        let tenth = index / 10 * 10;
        let mut job = Job::new(&format!("job{index}"), command());
        job.restarts = Restarts::Unlimited;
        match index % 10 {
            0..5 => job.health = Some(check(1 + index as u64 % 5)),
            5 | 6 => job.backoff = Backoff::None,
            7 => {
                job.trigger = Trigger::Interval(Duration::from_secs(1));
            }
            8 => {
                let source = SourceName::Job(format!("job{}", tenth + 5).as_str().into());
                job.trigger = Trigger::On(clause(Code::ExitFailed, source));
                job.restarts = Restarts::Limited(0);
            }
            _ => {
                let source = SourceName::Job(format!("job{tenth}").as_str().into());
                job.trigger = Trigger::Any(vec![
                    clause(Code::Healthy, source.clone()),
                    clause(Code::Unhealthy, source),
                ]);
                job.restarts = Restarts::Limited(0);
            }
        }
        jobs.push(Arc::new(job));
    }
    for index in 0..idle {
        jobs.push(Arc::new(Job::new(&format!("idle{index}"), command())));
    }
    Config { jobs, ..Config::default() }
}

fn check(seconds: u64) -> HealthCheck {
    HealthCheck {
        command: Some(Arc::new(Command::new(["/bin/check"]))),
        interval: Duration::from_secs(seconds),
        timeout: Duration::from_secs(seconds),
        ttl: None,
        retries: 1,
        start_period: Duration::ZERO,
        start_interval: None,
    }
}

/// Answers effects after fixed times; the nth check of a first service fails when n is a multiple
/// of 16.
#[derive(Default)]
struct World {
    coming: BinaryHeap<Reverse<(Time, u64)>>,
    answers: std::collections::BTreeMap<u64, Input>,
    count: u64,
}

impl World {
    fn answer(&mut self, at: Time, input: Input) {
        self.count += 1;
        self.coming.push(Reverse((at, self.count)));
        self.answers.insert(self.count, input);
    }

    fn next(&mut self, wakeup: Option<Time>) -> Option<(Time, Input)> {
        let answer = self.coming.peek().map(|Reverse((at, _))| *at);
        match (answer, wakeup) {
            (None, None) => None,
            (None, Some(at)) => Some((at, Input::Tick)),
            (Some(answer), Some(at)) if at < answer => Some((at, Input::Tick)),
            (Some(_), _) => {
                let Reverse((at, key)) = self.coming.pop()?;
                Some((at, self.answers.remove(&key)?))
            }
        }
    }

    fn perform(&mut self, now: Time, effect: Effect) {
        let Effect::Start { run, .. } = effect else { return };
        let started = now + Duration::from_micros(300);
        self.answer(started, Input::Started { run, pid: 100 + u32::from(run.job.0) });
        if let Some((after, status)) = end_of(run) {
            let input = Input::Exited { run, status, tree: Tree::Gone, output: "".into() };
            self.answer(started + after, input);
        }
    }
}

/// Tells after how long a run ends, and how; never for a service that runs well.
fn end_of(run: RunId) -> Option<(Duration, ExitStatus)> {
    let kind = run.job.0 % 10;
    match run.kind {
        RunKind::Check => {
            let fails = kind == 0 && run.nth.is_multiple_of(16);
            Some((Duration::from_millis(5), ExitStatus::Code(u8::from(fails))))
        }
        RunKind::Main => match kind {
            5 | 6 => Some((Duration::from_millis(900), ExitStatus::Code(1))),
            7..10 => Some((Duration::from_millis(50), ExitStatus::Code(0))),
            _ => None,
        },
    }
}
