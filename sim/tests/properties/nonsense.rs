//! Inputs that no adapter would send, in any order, with clocks that jump: the engine must stay
//! total, repeatable and bounded.

use proptest::collection::vec;
use proptest::prelude::*;
use steersman_engine::config::Config;
use steersman_engine::event::SignalName;
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{
    Effect, Engine, Input, JobId, RequestId, RunId, RunKind, Stamp, Time, limits,
};

use crate::generators::{JOBS_MAX, config, control};

fn run_id() -> impl Strategy<Value = RunId> {
    let kind = prop::sample::select(vec![RunKind::Main, RunKind::Check]);
    let job = prop_oneof![9 => 0..JOBS_MAX as u16, 1 => any::<u16>()];
    let nth = prop_oneof![9 => 0u32..6, 1 => any::<u32>()];
    (job, kind, nth).prop_map(|(job, kind, nth)| RunId { job: JobId(job), kind, nth })
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![any::<u8>().prop_map(ExitStatus::Code), any::<u8>().prop_map(ExitStatus::Signal)]
}

fn input() -> impl Strategy<Value = Input> {
    use SignalName::{Hup, Int, Term, Usr1, Usr2};
    let tree = prop::sample::select(vec![Tree::Gone, Tree::Left]);
    let exited = (run_id(), status(), tree);
    let loaded = prop_oneof![
        config().prop_map(|config| Ok(Box::new(config))),
        Just(Err(Box::from("broken"))),
    ];
    prop_oneof![
        2 => Just(Input::Begin),
        4 => Just(Input::Tick),
        8 => (run_id(), any::<u32>()).prop_map(|(run, pid)| Input::Started { run, pid }),
        2 => run_id().prop_map(|run| Input::StartFailed { run, reason: "no".into() }),
        8 => exited.prop_map(|(run, status, tree)| {
            Input::Exited { run, status, tree, output: "é".repeat(4000).into() }
        }),
        4 => run_id().prop_map(|run| Input::TreeGone { run }),
        2 => prop::sample::select(vec![Hup, Usr2, Usr1, Hup, Int, Term]).prop_map(Input::Signal),
        2 => (any::<u64>(), control()).prop_map(|(request, command)| {
            Input::Control { request: RequestId(request), command }
        }),
        2 => loaded.prop_map(|config| Input::Loaded { config }),
    ]
}

/// Inputs with the milliseconds by which the monotonic and the wall clock moved before.
fn inputs() -> impl Strategy<Value = Vec<(i64, i64, Input)>> {
    let mono = prop_oneof![6 => 0i64..3000, 1 => -5000i64..0, 1 => Just(60_000)];
    let wall = prop_oneof![6 => Just(0i64), 1 => -100_000_000i64..100_000_000];
    vec((mono, wall, input()), 0..80)
}

/// Keeps the two clocks.
#[derive(Clone, Copy, Debug, Default)]
struct Clocks {
    mono_ms: i64,
    wall_ms: i64,
}

impl Clocks {
    fn step(&mut self, mono: i64, wall: i64) -> Stamp {
        self.mono_ms = (self.mono_ms + mono).max(0);
        self.wall_ms += mono + wall;
        Stamp { mono: Time::from_millis(self.mono_ms.unsigned_abs()), wall_ms: self.wall_ms }
    }
}

/// Lets the engine have its wakeups until it wants none before `end`; it must make progress.
fn tick_until(
    engine: &mut Engine,
    end: Time,
    effects: &mut Vec<Effect>,
) -> Result<(), TestCaseError> {
    let mut at_once = 0;
    let mut last = Time(0);
    while let Some(wakeup) = engine.next_wakeup().filter(|wakeup| *wakeup <= end) {
        at_once = if wakeup > last { 0 } else { at_once + 1 };
        prop_assert!(at_once < 200, "time stands still at {wakeup:?}");
        last = last.max(wakeup);
        engine.handle(Stamp { mono: last, wall_ms: 0 }, Input::Tick, effects);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn equal_inputs_give_equal_effects_and_digests_and_a_clone_goes_on_equally(
        config in config(),
        inputs in inputs(),
        clone_at in 0usize..80,
    ) {
        let mut clocks = Clocks::default();
        let mut one = Engine::new(config.clone(), 7);
        let mut other = Engine::new(config, 7);
        for (nth, (mono, wall, input)) in inputs.into_iter().enumerate() {
            let stamp = clocks.step(mono, wall);
            if nth == clone_at {
                other = one.clone();
            }
            let (mut effects, mut others) = (Vec::new(), Vec::new());
            one.handle(stamp, input.clone(), &mut effects);
            other.handle(stamp, input, &mut others);
            prop_assert_eq!(effects, others);
            prop_assert_eq!(one.digest(), other.digest());
            prop_assert_eq!(one.next_wakeup(), other.next_wakeup());
        }
    }

    #[test]
    fn engine_always_goes_on_and_a_stop_always_ends(config in config(), inputs in inputs()) {
        let mut clocks = Clocks::default();
        let mut engine = Engine::new(config, 7);
        let mut effects = Vec::new();
        for (mono, wall, input) in inputs {
            let stamp = clocks.step(mono, wall);
            engine.handle(stamp, input, &mut effects);
            prop_assert!(engine.is_over() || engine.status().jobs.len() <= limits::JOBS_MAX);
        }
        let now = clocks.step(60_000, 0).mono;
        tick_until(&mut engine, now, &mut effects)?;
        if engine.is_over() {
            return Ok(());
        }
        let stop = Input::Signal(SignalName::Term);
        engine.handle(Stamp { mono: now, wall_ms: 0 }, stop, &mut effects);
        let budget = core::time::Duration::from_secs(15 + 1);
        tick_until(&mut engine, now + budget, &mut effects)?;
        prop_assert!(engine.is_over(), "nobody answers, and the stop has no end");
        let is_exit = matches!(effects.last(), Some(Effect::Exit { .. }));
        prop_assert!(is_exit, "the last effect is the exit");
    }

    #[test]
    fn nothing_is_said_after_the_end(config in config(), inputs in inputs()) {
        let mut clocks = Clocks::default();
        let mut engine = Engine::new(config, 7);
        for (mono, wall, input) in inputs {
            let was_over = engine.is_over();
            let mut effects = Vec::new();
            engine.handle(clocks.step(mono, wall), input, &mut effects);
            prop_assert!(!was_over || effects.is_empty());
            let is_exit = |effect: &&Effect| matches!(effect, Effect::Exit { .. });
            let exits = effects.iter().filter(is_exit).count();
            prop_assert_eq!(exits, usize::from(!was_over && engine.is_over()));
            prop_assert!(!engine.is_over() || engine.next_wakeup().is_none());
        }
    }

    #[test]
    fn first_input_may_be_anything(config in config(), input in input()) {
        let config: Config = config;
        let mut engine = Engine::new(config, 7);
        engine.handle(Stamp::default(), input, &mut Vec::new());
    }
}
