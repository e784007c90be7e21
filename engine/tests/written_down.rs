//! A machine that is written down and read back goes on as if nothing had happened.
//!
//! - `machine_read_back_goes_on_alike`: at every step of many random runs

use std::sync::Arc;
use std::time::Duration;

use steersman_engine::config::{
    CheckStatus, Clause, Command, Config, HealthCheck, Job, Repeat, Restarts, Service, SourceName,
    Trigger, Watch, WatchTarget,
};
use steersman_engine::consul::{ConsulOp, ConsulReply};
use steersman_engine::event::{Code, SignalName};
use steersman_engine::input::{Control, ExitStatus, Tree};
use steersman_engine::{Effect, Engine, Input, RequestId, RunId, Stamp, Time};

/// Draws numbers, the same ones every time (Numerical Recipes' generator).
struct Draw(u64);

impl Draw {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn take<T>(&mut self, from: &mut Vec<T>) -> Option<T> {
        let index = self.below(from.len().max(1) as u64) as usize;
        (index < from.len()).then(|| from.swap_remove(index))
    }
}

fn on(code: Code, job: &str, repeat: Repeat) -> Clause {
    Clause { code, source: SourceName::Job(job.into()), repeat }
}

fn config(draw: &mut Draw) -> Config {
    let command = || Command::new(["true"]);
    let check = HealthCheck {
        command: Some(Arc::new(command())),
        interval: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        ttl: Some(Duration::from_secs(5)),
        retries: 1 + draw.below(2) as u32,
        start_period: Duration::ZERO,
        start_interval: None,
    };
    let service = Service {
        port: 80,
        address: Some("10.0.0.1".parse().expect("an address")),
        initial_status: (draw.below(2) == 0).then_some(CheckStatus::Warning),
        tags: vec!["t".into()],
        meta: Vec::new(),
        enable_tag_override: false,
        deregister_critical_after: None,
        drain: Duration::from_millis(300),
    };
    let app = Job {
        restarts: Restarts::Unlimited,
        health: Some(check),
        service: Some(service),
        ..Job::new("app", command())
    };
    let each = Trigger::On(on(Code::Healthy, "app", Repeat::Each));
    let all = Trigger::All(vec![
        on(Code::Healthy, "app", Repeat::Once),
        on(Code::ExitSuccess, "often", Repeat::Once),
    ]);
    let interval = Trigger::Interval(Duration::from_millis(700));
    let stop = Trigger::On(on(Code::Stopping, "app", Repeat::Once));
    let triggered = |name, trigger| Job { trigger, ..Job::new(name, command()) };
    let jobs = [
        app,
        triggered("each", each),
        triggered("all", all),
        triggered("often", interval),
        triggered("farewell", stop),
    ];
    let watch = Watch {
        name: "db".into(),
        target: WatchTarget::Service { name: "db".into(), tag: None },
        interval: Duration::from_secs(1),
        dc: None,
        settle: Duration::ZERO,
        stale: None,
    };
    let jobs = jobs.into_iter().map(Arc::new).collect();
    Config { jobs, watches: vec![watch], ..Config::default() }
}

/// What the world owes the machine.
#[derive(Default)]
struct Owed {
    starts: Vec<RunId>,
    ends: Vec<RunId>,
    trees: Vec<RunId>,
    answers: Vec<ConsulOp>,
    configs: u32,
}

impl Owed {
    fn note(&mut self, effects: &[Effect]) {
        for effect in effects {
            match effect {
                Effect::Start { run, .. } => self.starts.push(*run),
                Effect::Consul { op, .. } => self.answers.push(*op),
                Effect::LoadConfig => self.configs += 1,
                _ => {}
            }
        }
    }
}

fn next_input(draw: &mut Draw, owed: &mut Owed) -> Input {
    let output = Box::from("some output");
    match draw.below(12) {
        0..=2 => match draw.take(&mut owed.starts) {
            Some(run) if draw.below(8) == 0 => Input::StartFailed { run, reason: "no".into() },
            Some(run) => {
                owed.ends.push(run);
                Input::Started { run, pid: 100 + run.nth }
            }
            None => Input::Tick,
        },
        3..=5 => match draw.take(&mut owed.ends) {
            Some(run) => {
                let status = ExitStatus::Code(draw.below(2) as u8);
                let tree = if draw.below(4) == 0 { Tree::Left } else { Tree::Gone };
                if tree == Tree::Left {
                    owed.trees.push(run);
                }
                Input::Exited { run, status, tree, output }
            }
            None => Input::Tick,
        },
        6 => draw.take(&mut owed.trees).map_or(Input::Tick, |run| Input::TreeGone { run }),
        7 => match draw.take(&mut owed.answers) {
            Some(op) => Input::Consul { op, reply: ConsulReply::Done },
            None => Input::Tick,
        },
        8 if owed.configs > 0 => {
            owed.configs -= 1;
            Input::Loaded { config: Ok(Box::new(config(draw))) }
        }
        9 if draw.below(4) == 0 => control(draw),
        10 if draw.below(30) == 0 => Input::Signal(SignalName::Term),
        _ => Input::Tick,
    }
}

fn control(draw: &mut Draw) -> Input {
    let command = match draw.below(4) {
        0 => Control::Reload { all: draw.below(2) == 0 },
        1 => Control::Maintenance(draw.below(2) == 0),
        2 => Control::RestartJob { job: "app".into() },
        _ => Control::PutEnv(vec![("A".into(), Some("b".into()))]),
    };
    Input::Control { request: RequestId(draw.below(1000)), command }
}

#[test]
fn machine_read_back_goes_on_alike() {
    let mut ends = 0;
    for seed in 0..20 {
        let mut draw = Draw(seed);
        let config = config(&mut draw);
        let (mut engine, mut owed) = (Engine::new(config, seed), Owed::default());
        let mut now = Stamp::from_millis(1000);
        let mut input = Input::Begin;
        for step in 0..300 {
            let text = serde_json::to_string(&engine).expect("a machine can be written down");
            let mut read: Engine = serde_json::from_str(&text).expect("and read back");
            assert_eq!(read.digest(), engine.digest(), "seed {seed}, step {step}");
            let (mut effects, mut effects_read) = (Vec::new(), Vec::new());
            engine.handle(now, input.clone(), &mut effects);
            read.handle(now, input, &mut effects_read);
            assert_eq!(effects, effects_read, "seed {seed}, step {step}");
            assert_eq!(read.digest(), engine.digest(), "seed {seed}, step {step}");
            assert_eq!(read.next_wakeup(), engine.next_wakeup(), "seed {seed}, step {step}");
            assert_eq!(read.status(), engine.status(), "seed {seed}, step {step}");
            owed.note(&effects);
            if engine.is_over() {
                ends += 1;
                break;
            }
            let wakeup = engine.next_wakeup().filter(|at| *at != Time::NEVER);
            let step_ns = 1 + draw.below(200_000_000);
            let soon = Time(now.mono.0 + step_ns);
            let mono = wakeup.map_or(soon, |at| at.min(soon)).max(now.mono);
            now = Stamp { mono, wall_ms: now.wall_ms + (step_ns / 1_000_000) as i64 };
            input = next_input(&mut draw, &mut owed);
        }
    }
    assert!(ends > 1, "only {ends} runs came to an end: the inputs do not do much");
}
