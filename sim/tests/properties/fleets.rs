//! Several nodes around one Consul, with random troubles: never two under one lock while they last,
//! and one soon after they have ended.

use core::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{RunKind, Time};
use steersman_sim::container::RestartPolicy;
use steersman_sim::fixture::{ms, secs};
use steersman_sim::fleet::{Fleet, bystander, ledger, lock, node};
use steersman_sim::link::LinkState;
use steersman_sim::script::Script;
use steersman_sim::{Action, CatalogFault};

const NODES: u16 = 3;

/// From the last trouble to one holder: sessions that a new leader of Consul keeps, their lock
/// delay, a quiet time, the longest hold-off, an election, and what is left of a stop.
const CALM: Duration = secs(2 * 40 + 20 + 20 + 330 + 60);

/// One trouble: after so long, on which node, what.
type Trouble = (u64, u16, Deed);

#[derive(Clone, Debug)]
enum Deed {
    Act(Action),
    EndLedger(ExitStatus),
    RestartServer(u16, bool),
}

fn trouble() -> impl Strategy<Value = Deed> {
    use LinkState::{Cut, CutIn, CutOut, Refused, Up};
    let link = prop::sample::select(vec![Up, Up, Up, Cut, CutIn, CutOut, Refused]);
    let catalog = prop_oneof![
        3 => Just(CatalogFault::KillLeader),
        2 => Just(CatalogFault::StepDown),
        1 => Just(CatalogFault::LoseState),
        1 => (0u16..3).prop_map(CatalogFault::PauseServer),
        2 => (0u16..3).prop_map(CatalogFault::ResumeServer),
        1 => (0u16..3, 0u64..3000).prop_map(|(id, late)| CatalogFault::SlowFollower(id, ms(late))),
        1 => Just(CatalogFault::DestroyHolder { key: "svc/ledger/leader".into() }),
        1 => Just(CatalogFault::Put { key: "svc/ledger/leader".into(), value: "x".into() }),
    ];
    prop_oneof![
        6 => link.prop_map(|state| Deed::Act(Action::Link(state))),
        1 => (0u64..400, 0u64..3000).prop_map(|(least, more)| {
            Deed::Act(Action::Latency(ms(least), ms(least + more)))
        }),
        1 => (0u32..300_000).prop_map(|ppm| Deed::Act(Action::Loss(ppm))),
        1 => (0u32..300_000).prop_map(|ppm| Deed::Act(Action::Duplication(ppm))),
        4 => catalog.prop_map(|fault| Deed::Act(Action::Catalog(fault))),
        3 => (0u16..3, any::<bool>()).prop_map(|(id, keeps)| Deed::RestartServer(id, keeps)),
        2 => Just(Deed::Act(Action::Crash)),
        1 => Just(Deed::Act(Action::Signal(SignalName::Term))),
        2 => Just(Deed::Act(Action::Freeze)),
        4 => Just(Deed::Act(Action::Thaw)),
        1 => (-1000i32..1000).prop_map(|ppm| Deed::Act(Action::ClockRate(ppm))),
        1 => (-100_000_000i64..100_000_000).prop_map(|ms| Deed::Act(Action::StepWall(ms))),
        1 => any::<bool>().prop_map(|on| Deed::Act(Action::Control(Control::Maintenance(on)))),
        1 => Just(Deed::Act(Action::Control(Control::Reload { all: true }))),
        2 => (0u8..3).prop_map(|code| Deed::EndLedger(ExitStatus::Code(code))),
    ]
}

fn perform(fleet: &mut Fleet, on: u16, deed: &Deed) {
    let node = node(on);
    match deed.clone() {
        Deed::Act(action) => fleet.act(node, action),
        Deed::EndLedger(status) => {
            let run = fleet.job(node, "ledger").live_run().map(|run| run.run);
            if let Some(run) = run {
                fleet.act(node, Action::EndProcess(run, status));
            }
        }
        Deed::RestartServer(server, keeps) => {
            fleet.trouble(CatalogFault::KillServer(server));
            fleet.run_for(ms(500));
            fleet.trouble(CatalogFault::StartServer { server, keeps });
        }
    }
}

fn calm(fleet: &mut Fleet) {
    for server in 0..3 {
        fleet.trouble(CatalogFault::ResumeServer(server));
        fleet.trouble(CatalogFault::StartServer { server, keeps: true });
        fleet.trouble(CatalogFault::SlowFollower(server, Duration::ZERO));
    }
    for nth in 0..NODES {
        let node = node(nth);
        for action in [
            Action::Link(LinkState::Up),
            Action::Latency(ms(1), ms(3)),
            Action::Loss(0),
            Action::Duplication(0),
            Action::Thaw,
            Action::StartContainer,
            Action::Control(Control::Maintenance(false)),
        ] {
            fleet.act(node, action);
        }
    }
}

fn fleet(seed: u64, main: Script) -> Fleet {
    let fleet = Fleet::of(NODES, [ledger().unlimited(), bystander()])
        .with(|config| config.locks.push(lock("ledger", "svc/ledger/leader")))
        .nodes(|setup| setup.restart = RestartPolicy::Always(secs(1)))
        .seed(seed)
        .drift(400)
        .script("ledger", main);
    fleet.begin_with(|_| {})
}

fn main_script() -> impl Strategy<Value = Script> {
    let slow = (0u64..8).prop_map(|seconds| Script::endless().stops(secs(seconds), 0));
    prop_oneof![
        Just(Script::endless()),
        slow,
        Just(Script::endless().ignores_stop()),
        Just(Script::endless().stops(secs(1), 0).leaves(None, false)),
        (0u64..3000).prop_map(|late| Script::endless().starts_after(ms(late)).stops(secs(2), 0)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: ProptestConfig::default().cases / 4,
        ..ProptestConfig::default()
    })]

    #[test]
    fn never_two_and_one_when_all_is_calm(
        seed in any::<u64>(),
        main in main_script(),
        troubles in vec((0u64..40_000, 0..NODES, trouble()), 0..25),
    ) {
        let troubles: Vec<Trouble> = troubles;
        let mut fleet = fleet(seed, main);
        for (after, on, deed) in &troubles {
            fleet.run_for(ms(*after));
            perform(&mut fleet, *on, deed);
        }
        calm(&mut fleet);
        fleet.run_for(CALM);
        let violations: Vec<_> =
            fleet.world.observer().violations().iter().map(ToString::to_string).collect();
        prop_assert!(violations.is_empty(), "{violations:#?}\n{}", fleet.story());
        let runners = fleet.runners("ledger");
        prop_assert_eq!(runners.len(), 1, "not one: {:?}\n{}", &runners, fleet.story());
    }

    #[test]
    fn equal_seeds_are_equal_fleets(
        seed in any::<u64>(),
        troubles in vec((0u64..20_000, 0..NODES, trouble()), 0..10),
    ) {
        let run = |troubles: &[Trouble]| {
            let mut fleet = fleet(seed, Script::endless());
            for (after, on, deed) in troubles {
                fleet.run_for(ms(*after));
                perform(&mut fleet, *on, deed);
            }
            fleet.world.run_until(Time::from_millis(600_000));
            let starts = fleet.world.observer().runs(node(0), "ledger", RunKind::Main).len();
            (fleet.world.fingerprint(), fleet.world.steps(), starts)
        };
        prop_assert_eq!(run(&troubles), run(&troubles));
    }
}
