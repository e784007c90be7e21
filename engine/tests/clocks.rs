//! What clocks show when the machine begins must not matter.

use std::sync::Arc;
use std::time::Duration;

use steersman_engine::config::{Command, Config, Job, Restarts, Trigger};
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{Effect, Engine, Input, Stamp, Time};

#[test]
fn interval_counts_from_the_start_whatever_the_clock_shows() {
    let mut job = Job::new("tick", Command::new(["/bin/true"]));
    job.trigger = Trigger::Interval(Duration::from_secs(3));
    job.restarts = Restarts::Unlimited;
    let config = Config { jobs: vec![Arc::new(job)], ..Config::default() };
    let origin = Time(1_234_567_890_123_456_789);
    let mut engine = Engine::new(config, 1);
    let mut now = Stamp { mono: origin, wall_ms: 0 };
    let mut starts = Vec::new();
    let mut input = Input::Begin;
    while starts.len() < 5 {
        let mut effects = Vec::new();
        engine.handle(now, input, &mut effects);
        input = Input::Tick;
        for effect in effects {
            if let Effect::Start { run, .. } = effect {
                starts.push(now.mono.since(origin).as_millis());
                let status = ExitStatus::Code(0);
                let end = Input::Exited { run, status, tree: Tree::Gone, output: "".into() };
                engine.handle(now, end, &mut Vec::new());
            }
        }
        let next = engine.next_wakeup().expect("an interval job always has a next tick");
        now.wall_ms += i64::try_from(next.since(now.mono).as_millis()).expect("short");
        now.mono = next;
    }
    assert_eq!(starts, vec![0, 3000, 6000, 9000, 12_000]);
}
