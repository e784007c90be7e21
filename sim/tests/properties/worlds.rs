//! Random configurations whose processes behave in random ways, in the simulated world.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use steersman_engine::config::{Config, Signal};
use steersman_engine::event::SignalName;
use steersman_engine::{RunKind, Time};
use steersman_sim::script::Script;
use steersman_sim::{Action, NodeId, NodeSetup, World};

use crate::generators::{Deed, JOBS_MAX, config, deed, duration, name, script};

const NODE: NodeId = NodeId(0);

/// Everything that decides a run.
#[derive(Clone, Debug)]
struct Plan {
    config: Config,
    scripts: Vec<(Script, Script)>,
    deeds: Vec<(Duration, Deed)>,
    seed: u64,
    draws_ties: bool,
}

fn plan() -> impl Strategy<Value = Plan> {
    let scripts = vec((script(), script()), JOBS_MAX);
    let deeds = vec((duration(), deed()), 0..20);
    (config(), scripts, deeds, any::<u64>(), any::<bool>()).prop_map(
        |(config, scripts, deeds, seed, draws_ties)| Plan {
            config,
            scripts,
            deeds,
            seed,
            draws_ties,
        },
    )
}

fn world(plan: &Plan) -> World {
    let mut world = World::new(plan.seed);
    if plan.draws_ties {
        world.draw_ties();
    }
    for (nth, (main, check)) in plan.scripts.iter().enumerate() {
        let playbook = world.playbook();
        playbook.behaviour(NODE, &name(nth), RunKind::Main).set_from(Time(0), main.clone());
        playbook.behaviour(NODE, &name(nth), RunKind::Check).set_from(Time(0), check.clone());
    }
    let setup = NodeSetup::new("node", plan.config.clone());
    world.add_node(NodeSetup { engine_seed: plan.seed, ..setup }, |_| {});
    world
}

fn act(world: &mut World, deed: &Deed) {
    let action = match deed.clone() {
        Deed::Signal(signal) => Action::Signal(signal),
        Deed::Control(command) => Action::Control(command),
        Deed::WriteConfig(file) => Action::WriteConfig(file),
        Deed::StepWall(by_ms) => Action::StepWall(by_ms),
        Deed::ClockRate(rate_ppm) => Action::ClockRate(rate_ppm),
        Deed::EndProcess(nth, status) => {
            let runs = world.observer().runs(NODE, &name(nth), RunKind::Main);
            let Some(run) = runs.iter().find(|run| run.is_live()).map(|run| run.run) else {
                return;
            };
            Action::EndProcess(run, status)
        }
        Deed::Pause => Action::Pause,
        Deed::Resume => Action::Resume,
    };
    world.act(NODE, action);
}

/// Lets a plan happen; at the end the supervisor is asked to stop.
fn run(plan: &Plan) -> World {
    let mut world = world(plan);
    for (delay, deed) in &plan.deeds {
        world.run_for(*delay);
        act(&mut world, deed);
    }
    world.act(NODE, Action::Resume);
    world.run_for(Duration::from_secs(30));
    world.act(NODE, Action::Signal(SignalName::Term));
    // Twice the longest budget, for the slowest clock.
    world.run_for(Duration::from_secs(60));
    world
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nothing_bad_ever_happens_and_every_stop_ends(plan in plan()) {
        let world = run(&plan);
        let violations: Vec<_> =
            world.observer().violations().iter().map(ToString::to_string).collect();
        let story = || world.observer().tell(NODE);
        prop_assert!(violations.is_empty(), "{violations:#?}\n{}", story());
        prop_assert!(world.node(NODE).exit().is_some(), "the supervisor has not ended");
    }

    #[test]
    fn equal_plans_are_equal_runs(plan in plan()) {
        let (one, other) = (run(&plan), run(&plan));
        prop_assert_eq!(one.fingerprint(), other.fingerprint());
        prop_assert_eq!(one.steps(), other.steps());
    }

    #[test]
    fn processes_end_or_were_killed_when_the_supervisor_ends(plan in plan()) {
        let world = run(&plan);
        for nth in 0..JOBS_MAX {
            for run in world.observer().runs(NODE, &name(nth), RunKind::Main) {
                let has_run = run.started.is_some();
                let is_killed = run.signals.iter().any(|(_, signal)| *signal == Signal::KILL);
                prop_assert!(!has_run || run.gone.is_some() || is_killed, "{run:?}");
            }
        }
    }
}
