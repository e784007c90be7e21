//! The bodies of the fuzz targets: what must hold for any bytes at all. The targets in `fuzz/` feed
//! them from libFuzzer, a test feeds them from proptest, so that they never rot.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use steersman_engine::config::{
    Clause, Command, Config, HealthCheck, Job, Repeat, Restarts, SourceName, Trigger,
};
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest};
use steersman_engine::event::SignalName;
use steersman_engine::front::{self, Surroundings};
use steersman_engine::input::{Control, ExitStatus, Tree};
use steersman_engine::wire::{self, HttpAnswer};
use steersman_engine::{
    Code, Effect, Engine, Input, JobId, RequestId, RunId, RunKind, Stamp, Time, trace,
};

/// The jobs of a fuzzed configuration.
const JOBS_MAX: u8 = 6;
/// How many inputs one case feeds, whatever its length.
const INPUTS_MAX: usize = 400;
/// How many looks at the clock an engine may want before it must have ended.
const WAKEUPS_MAX: usize = 5_000;

/// Any text: a configuration or errors that point into it, and nothing else.
///
/// # Panics
/// When it is neither, or when the template's output is refused without a reason.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let env = BTreeMap::from([(String::from("A"), String::from("b=c"))]);
    let around = Surroundings { env, hostname: String::from("host"), ..Surroundings::default() };
    match front::load("fuzz.json5", text, &around) {
        Ok(loaded) => {
            let mut engine = Engine::new(loaded.config, 1);
            let mut effects = Vec::new();
            engine.handle(Stamp::from_millis(5), Input::Begin, &mut effects);
        }
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a reason");
            for error in errors {
                assert!(error.line >= 1, "{error:?}");
                assert!(error.column >= 1, "{error:?}");
                assert!(!error.message.is_empty(), "{error:?}");
            }
        }
    }
}

/// Any order of any inputs, sensible or not: two engines agree, a copy goes on alike, time moves
/// on, and everything ends after having been asked twice.
///
/// # Panics
/// When one of these does not hold.
pub fn orderings(data: &[u8]) {
    let mut bytes = Bytes(data);
    let config = fuzzed_config(&mut bytes);
    let mut engine = Engine::new(config.clone(), 7);
    let mut twin = Engine::new(config, 7);
    let mut now_ms = 1_000_000;
    let mut fed = 0;
    let mut input = Some(Input::Begin);
    while let Some(next) = input.take() {
        step(&mut engine, &mut twin, now_ms, next);
        fed += 1;
        if fed == INPUTS_MAX / 2 {
            twin = engine.clone();
        }
        now_ms += u64::from(bytes.next()) * u64::from(bytes.next() % 40);
        input = (fed < INPUTS_MAX).then(|| fuzzed_input(&mut bytes)).flatten();
    }
    end(&mut engine, &mut twin, now_ms);
}

/// Any answer to any request: something comes back.
pub fn wire(data: &[u8]) {
    let mut bytes = Bytes(data);
    let index = [None, Some(0), Some(7)][usize::from(bytes.next() % 3)];
    let status = [200, 404, 409, 500, 301, 403][usize::from(bytes.next() % 6)];
    let answer = HttpAnswer { status, index, body: bytes.0 };
    let key = || Box::<str>::from("a/b");
    let wait = Duration::ZERO;
    let requests = [
        ConsulRequest::Deregister { service: "s".into() },
        ConsulRequest::Instances {
            service: key(),
            tag: None,
            dc: None,
            passing: true,
            index: 0,
            wait,
        },
        ConsulRequest::Keys { key: key(), recurse: true, dc: None, index: 0, wait },
        ConsulRequest::LockRead { key: key(), index: 0, wait },
        ConsulRequest::SessionRenew { session: key() },
        ConsulRequest::Acquire {
            key: key(),
            session: key(),
            modified: Some(7),
            floor: 0,
            value: key(),
        },
    ];
    for request in requests {
        let _ = wire::decode(&request, answer);
    }
}

/// Any file given as a trace: it replays, differs, or is refused with a line.
pub fn traces(data: &[u8]) {
    if let Ok(mut reader) = trace::Reader::new(data) {
        let _ = trace::replay(&mut reader);
    }
}

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    /// The next byte; zero when there is none.
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    fn duration(&mut self) -> Duration {
        Duration::from_millis(u64::from(self.next()) * 50)
    }
}

fn fuzzed_config(bytes: &mut Bytes<'_>) -> Config {
    let count = bytes.next() % JOBS_MAX + 1;
    let jobs = (0..count).map(|nth| Arc::new(fuzzed_job(bytes, nth, count))).collect();
    Config { jobs, stop_timeout: bytes.duration(), ..Config::default() }
}

fn fuzzed_job(bytes: &mut Bytes<'_>, nth: u8, count: u8) -> Job {
    let mut job = Job::new(&format!("job-{nth}"), Command::new(["/bin/job"]));
    let clause = |bytes: &mut Bytes<'_>| {
        let codes = [
            Code::ExitSuccess,
            Code::ExitFailed,
            Code::Healthy,
            Code::Unhealthy,
            Code::Stopping,
            Code::Stopped,
        ];
        Clause {
            code: codes[usize::from(bytes.next() % 6)],
            source: SourceName::Job(format!("job-{}", bytes.next() % count).into()),
            repeat: if bytes.next().is_multiple_of(2) { Repeat::Once } else { Repeat::Each },
        }
    };
    job.trigger = match bytes.next() % 6 {
        0 | 1 => Trigger::Startup,
        2 => Trigger::On(clause(bytes)),
        3 => Trigger::All(vec![clause(bytes), clause(bytes)]),
        4 => Trigger::Any(vec![clause(bytes), clause(bytes)]),
        _ => Trigger::Interval(bytes.duration()),
    };
    let flags = bytes.next();
    job.restarts = match flags % 4 {
        0 | 1 => Restarts::Limited(u32::from(flags % 2)),
        2 => Restarts::Limited(2),
        _ => Restarts::Unlimited,
    };
    job.trigger_timeout = (flags & 4 != 0).then(|| bytes.duration());
    job.timeout = (flags & 8 != 0).then(|| bytes.duration());
    job.stop_timeout = (flags & 16 != 0).then(|| bytes.duration());
    job.kill_timeout = (flags & 32 != 0).then(|| bytes.duration());
    job.essential = flags & 64 != 0;
    if flags & 128 != 0 {
        job.health = Some(HealthCheck {
            command: Some(Arc::new(Command::new(["/bin/check"]))),
            interval: bytes.duration(),
            timeout: bytes.duration(),
            ttl: None,
            retries: u32::from(bytes.next() % 3),
            start_period: bytes.duration(),
            start_interval: None,
        });
    }
    job
}

/// The next input; none when the bytes are used up.
fn fuzzed_input(bytes: &mut Bytes<'_>) -> Option<Input> {
    if bytes.0.is_empty() {
        return None;
    }
    let selector = bytes.next();
    let kind = if selector & 128 == 0 { RunKind::Main } else { RunKind::Check };
    let run = RunId {
        job: JobId(u16::from(bytes.next() % (JOBS_MAX + 1))),
        kind,
        nth: u32::from(bytes.next() % 5),
    };
    let tree = if bytes.next().is_multiple_of(3) { Tree::Left } else { Tree::Gone };
    let request = RequestId(u64::from(selector));
    Some(match selector % 10 {
        0 => Input::Tick,
        1 | 2 => Input::Started { run, pid: 1 + u32::from(bytes.next()) },
        3 => Input::StartFailed { run, reason: "no".into() },
        4 | 5 => {
            let code = bytes.next();
            let status =
                if code & 1 == 0 { ExitStatus::Code(code / 2) } else { ExitStatus::Signal(9) };
            Input::Exited { run, status, tree, output: "said".into() }
        }
        6 => Input::TreeGone { run },
        7 => Input::Control { request, command: Control::Maintenance(selector & 64 != 0) },
        8 => {
            let job = format!("job-{}", bytes.next() % JOBS_MAX).into();
            Input::Control { request, command: Control::RestartJob { job } }
        }
        _ => match bytes.next() % 4 {
            0 => Input::Signal(SignalName::Term),
            1 => Input::Control { request, command: Control::Reload { all: selector & 64 != 0 } },
            2 => Input::Loaded { config: Ok(Box::new(fuzzed_config(bytes))) },
            _ => Input::Consul {
                op: steersman_engine::consul::ConsulOp {
                    owner: steersman_engine::consul::Owner::Job(run.job),
                    nth: run.nth,
                },
                reply: ConsulReply::Failed(ConsulFailure::Unknown),
            },
        },
    })
}

fn step(engine: &mut Engine, twin: &mut Engine, now_ms: u64, input: Input) {
    let now = Stamp::from_millis(now_ms);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    engine.handle(now, input.clone(), &mut ours);
    twin.handle(now, input, &mut theirs);
    assert_eq!(ours, theirs, "equal inputs, different effects");
    assert_eq!(engine.digest(), twin.digest(), "equal inputs, different states");
}

/// Stops and lets time pass: every engine ends, whatever its processes do, in a bounded number of
/// looks.
fn end(engine: &mut Engine, twin: &mut Engine, now_ms: u64) {
    step(engine, twin, now_ms, Input::Begin);
    step(engine, twin, now_ms, Input::Signal(SignalName::Term));
    step(engine, twin, now_ms, Input::Signal(SignalName::Term));
    let mut now = Time::from_millis(now_ms);
    for _ in 0..WAKEUPS_MAX {
        if engine.is_over() {
            return;
        }
        let next = engine.next_wakeup().expect("a stopping engine waits for something");
        assert!(next >= now, "time runs backwards");
        now = next;
        let mut effects: Vec<Effect> = Vec::new();
        let stamp = Stamp { mono: now, wall_ms: 0 };
        engine.handle(stamp, Input::Tick, &mut effects);
        assert!(engine.next_wakeup().is_none_or(|at| at > now), "a timer that is due stays due");
    }
    panic!("it does not end");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn any_bytes_are_an_order_of_inputs(
            data in proptest::collection::vec(any::<u8>(), 0..1200)
        ) {
            super::orderings(&data);
        }

        #[test]
        fn any_bytes_are_an_answer(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            super::wire(&data);
            super::traces(&data);
            super::config(&data);
        }
    }
}
