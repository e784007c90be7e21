//! A random search for breaches of the rules of locks: random figures, jobs and troubles, and only
//! the general judges. Each planted defect of a lock must be found, and nothing without one.
//!
//! The table of the book, in release:
//!
//! `cargo test --release -p steersman-sim --test scenarios table_of_the_hunt -- --ignored
//! --nocapture`
//!
//! The sound engine over `STEERSMAN_SEEDS` seeds is `sound_engine_is_not_accused`; one seed's story
//! with `STEERSMAN_FROM`, and a defect in `STEERSMAN_DEFECT`.

use core::time::Duration;

use steersman_engine::config::{Backoff, Config, Keeping, Lock, Restarts};
use steersman_engine::defect::Defect;
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{RunKind, Time};
use steersman_sim::container::RestartPolicy;
use steersman_sim::fixture::{job, ms, secs};
use steersman_sim::fleet::{Fleet, FleetBuilder, advertised, bystander, ledger, lock, node};
use steersman_sim::link::LinkState;
use steersman_sim::random::Random;
use steersman_sim::resource::Resource;
use steersman_sim::script::Script;
use steersman_sim::{Action, CatalogFault};

const KEY: &str = "svc/ledger/leader";

/// The defects that break a rule of locks and nothing else.
const HUNTED: &[Defect] = &[
    Defect::LockAgeSeenLate,
    Defect::LockDeadlineIgnored,
    Defect::TermAgeFromTheAnswer,
    Defect::SuspendNotCounted,
    Defect::LockKillTooLate,
    Defect::LockJobsNotStopped,
    Defect::LockReleasedTooEarly,
    Defect::RemovedLockNotWaitedFor,
    Defect::StopWithIgnored,
    Defect::StopWithNotWaitedFor,
    Defect::SessionPerTry,
    Defect::SessionReused,
    Defect::SessionLossIgnored,
    Defect::NoQuietTime,
    Defect::ContinuityAssumed,
    Defect::QuietNotConfirmed,
    Defect::QuietHandedOver,
    Defect::QuietLossWaits,
    Defect::KeyReadNotRepeated,
    Defect::KeyReadSeldom,
    Defect::RenewalWaitsForCheck,
    Defect::HoldOffIgnored,
    Defect::LockStoodForAgain,
    Defect::LockPatienceEndless,
    Defect::LockNotReleased,
    Defect::LockKeptInMaintenance,
    Defect::LeaderHealthIgnored,
    Defect::ReloadKeepsTerms,
    Defect::ReloadEndsTerms,
    Defect::LockKeptUnneeded,
    Defect::TokenNotFromTheGrant,
    Defect::TokenFileLate,
    Defect::TokenFileKept,
    Defect::BarredKeyHammered,
];

/// Valid sets of figures: the defaults, those of the guide's database, and fast ones, each as tight
/// as the inequalities allow.
fn figures(random: Random) -> Lock {
    let mut lock = lock("ledger", KEY);
    let sets: [(u64, u64, u64, u64, u64, u64, u64); 3] = [
        (20, 20, 5000, 2000, 13_000, 5000, 1000),
        (10, 10, 1000, 1000, 6000, 2000, 500),
        (10, 9, 2000, 1000, 5000, 2000, 500),
    ];
    let set = random.stream("set").pick(&sets).copied();
    let (ttl, delay, renew, timeout, demote, stop, pause) = set.unwrap_or(sets[0]);
    (lock.ttl, lock.lock_delay) = (secs(ttl), secs(delay));
    (lock.renew_every, lock.request_timeout) = (ms(renew), ms(timeout));
    (lock.demote_after, lock.stop_timeout, lock.max_pause) = (ms(demote), ms(stop), ms(pause));
    lock.hold_off = secs(random.stream("hold off").between(delay, 2 * delay));
    lock.stands_again = !random.stream("once").happens(150_000);
    if random.stream("patience").happens(150_000) {
        lock.give_up_after = Some(secs(random.stream("patience of").between(20, 120)));
    }
    if random.stream("file").happens(400_000) {
        lock.token_file = Some("/run/token".into());
    }
    if random.stream("keeper").happens(500_000) {
        lock.keeper = Keeping::Off;
    }
    if random.stream("healthy").happens(400_000) {
        lock.healthy = Some("ledger".into());
        lock.health_grace = secs(random.stream("grace").between(3, 20));
    }
    lock
}

fn script(random: Random) -> Script {
    let span = |name: &str, most| ms(random.stream(name).below(most));
    match random.below(9) {
        0 | 1 => Script::endless(),
        8 => Script::ends(span("life", 3000), 1),
        2 => Script::endless().stops(span("stop", 8000), 0),
        3 | 4 => Script::endless().ignores_stop(),
        5 => Script::endless().stops(span("stop", 2000), 0).leaves(None, false),
        6 => Script::endless().starts_after(span("start", 3000)).stops(span("stop", 3000), 0),
        _ => Script::ends(span("life", 60_000), 0).stops(span("stop", 3000), 0),
    }
}

fn check(random: Random) -> Script {
    match random.below(6) {
        0 => Script::endless().ignores_stop(),
        1 => Script::ends(ms(10), 1),
        2 => Script::ends(ms(random.stream("check").below(3000)), 0),
        _ => Script::ends(ms(10), 0),
    }
}

fn builder(seed: u64, random: Random) -> FleetBuilder {
    let mut main = ledger();
    if random.stream("restarts").happens(600_000) {
        main = main.unlimited();
    }
    if random.stream("backoff").happens(700_000) {
        main = main.backoff(Backoff::default());
    }
    let lock = figures(random.stream("lock"));
    if lock.healthy.is_some() || random.stream("checked").happens(300_000) {
        main = main.checked(secs(2));
    }
    if random.stream("advertised").happens(200_000) {
        main = advertised(main.checked(secs(2)), 7101);
    }
    let mut jobs = vec![main, bystander()];
    if random.stream("store").happens(400_000) {
        let bound = |job: &mut steersman_engine::config::Job| {
            job.stop_with = Some("ledger".into());
            job.restarts = Restarts::Unlimited;
        };
        jobs.push(job("store").with(bound));
    }
    let nodes = u16::try_from(random.stream("nodes").between(2, 4)).unwrap_or(3);
    let fleet = Fleet::of(nodes, jobs)
        .with(|config| config.locks.push(lock))
        .nodes(|setup| setup.restart = RestartPolicy::Always(secs(2)))
        .script("ledger", script(random.stream("main")))
        .script("store", script(random.stream("store script")))
        .drift(400)
        .seed(seed);
    if random.stream("contract").happens(500_000) { fleet.contract() } else { fleet }
}

/// Does something to a node, or to Consul.
fn trouble(fleet: &mut Fleet, random: Random, original: &Config) {
    let on = node(u16::try_from(random.stream("on").below(u64::from(fleet.nodes()))).unwrap_or(0));
    // Half of what happens, happens to whoever leads.
    let leader = fleet.runners("ledger").first().copied();
    let on = leader.filter(|_| random.stream("leader").happens(500_000)).unwrap_or(on);
    let amount = random.stream("amount");
    let link = |state| Action::Link(state);
    let action = match random.stream("kind").below(40) {
        0..=3 => link(LinkState::Cut),
        4 => link(LinkState::CutIn),
        5 => link(LinkState::CutOut),
        6 => link(LinkState::Refused),
        7..=13 => link(LinkState::Up),
        14 => Action::Latency(ms(1), ms(amount.below(900))),
        15 => Action::Loss(u32::try_from(amount.below(300_000)).unwrap_or(0)),
        16 => Action::Crash,
        17 => Action::Signal(SignalName::Term),
        18..=20 => return stand_still(fleet, on, random),
        21 => Action::Control(Control::Maintenance(true)),
        22 => Action::Control(Control::Maintenance(false)),
        23..=25 => return reload(fleet, on, amount, original),
        26 => Action::StopContainer(secs(20)),
        27 => Action::StartContainer,
        28 => Action::EndJob("ledger".into(), ExitStatus::Signal(9)),
        29 => Action::Catalog(CatalogFault::KillLeader),
        30 => Action::Catalog(CatalogFault::StartServers),
        31 => Action::Catalog(CatalogFault::StepDown),
        32 | 33 => Action::Catalog(CatalogFault::LoseState),
        34 | 35 => Action::Catalog(CatalogFault::Delete { key: KEY.into() }),
        36 | 37 => Action::Catalog(CatalogFault::DestroyHolder { key: KEY.into() }),
        38 => Action::Catalog(CatalogFault::Put { key: KEY.into(), value: "x".into() }),
        _ => Action::StepWall(i64::try_from(amount.below(200_000_000)).unwrap_or(0) - 100_000_000),
    };
    fleet.act(on, action);
}

fn stand_still(fleet: &mut Fleet, on: steersman_sim::NodeId, random: Random) {
    let lasts = match random.stream("span").below(3) {
        0 => ms(random.stream("lasts").between(1, 1000)),
        1 => ms(random.stream("lasts").between(1000, 20_000)),
        _ => ms(random.stream("lasts").between(20_000, 120_000)),
    };
    let (begin, end) = match random.stream("whole").happens(500_000) {
        true => (Action::Freeze, Action::Thaw),
        false => (Action::Pause, Action::Resume),
    };
    fleet.act(on, begin);
    fleet.run_for(lasts);
    fleet.act(on, end);
}

fn reload(fleet: &mut Fleet, on: steersman_sim::NodeId, random: Random, original: &Config) {
    let mut config = original.clone();
    config.hostname = format!("node{}", on.0).as_str().into();
    match random.stream("reload").below(5) {
        0 => config.locks[0].ttl += secs(5),
        1 => config.jobs.push(std::sync::Arc::new(job("more").build())),
        2 => {
            config.locks.clear();
            config.jobs.retain(|job| job.while_lock.is_none() && job.stop_with.is_none());
        }
        _ => {}
    }
    fleet.act(on, Action::WriteConfig(Ok(config)));
    let all = random.stream("all").happens(200_000);
    fleet.act(on, Action::Control(Control::Reload { all }));
}

/// One run; gives what is wrong, with the story.
fn hunt(seed: u64, defect: Option<Defect>) -> Option<String> {
    let random = Random::new(seed).stream("hunt");
    let builder = builder(seed, random);
    let original = builder.config().clone();
    let mut fleet = builder.begin_with(|engine| {
        if let Some(defect) = defect {
            engine.plant(defect);
        }
    });
    fleet.set_resource(Resource::of(KEY, ms(200)));
    fleet.judge_myself();
    for nth in 0..fleet.nodes() {
        let checks = fleet.world.playbook().behaviour(node(nth), "ledger", RunKind::Check);
        for part in 0..4 {
            let random = random.stream("check").keyed(u64::from(nth) << 8 | part);
            checks.set_from(Time::from_millis(part * 100_000), check(random));
        }
    }
    for nth in 0..random.stream("count").between(3, 25) {
        let random = random.stream("trouble").keyed(nth);
        let (short, long) = (random.stream("short"), random.stream("after"));
        let most = if short.happens(300_000) { 2000 } else { 40_000 };
        fleet.run_for(ms(long.below(most)));
        trouble(&mut fleet, random, &original);
    }
    fleet.run_for(Duration::from_secs(60));
    let violations = fleet.world.observer().violations().iter().map(ToString::to_string);
    let offences = fleet.resource().map_or(&[][..], Resource::offences).iter().cloned();
    let mut all = violations.chain(offences);
    let first = all.next();
    first.map(|what| format!("{what}\n{}", fleet.story()))
}

/// How many seeds it takes to find a defect that the sound engine does not show, and what is said.
fn found(defect: Defect, seeds: u64) -> Option<(u64, String)> {
    (0..seeds).find_map(|seed| {
        let what = hunt(seed, Some(defect))?;
        let what = what.lines().next().unwrap_or("").to_owned();
        hunt(seed, None).is_none().then_some((seed + 1, what))
    })
}

#[test]
fn every_defect_of_a_lock_is_found_by_a_search() {
    // One of them takes thousands of seeds: the report below has the figure.
    let hunted = HUNTED.iter().filter(|defect| **defect != Defect::LockAgeSeenLate);
    let missed: Vec<_> = hunted.filter(|defect| found(**defect, 60).is_none()).collect();
    assert!(missed.is_empty(), "{missed:?}");
}

#[test]
fn nothing_is_found_without_a_defect() {
    for seed in 0..40 {
        let found = hunt(seed, None);
        assert_eq!(found, None, "seed {seed}");
    }
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
#[ignore = "a report of some minutes, not a check"]
fn table_of_the_hunt() {
    println!("| Defect | Seeds | What shows it |\n|---|---|---|");
    for defect in HUNTED {
        match found(*defect, number("STEERSMAN_SEEDS").unwrap_or(20_000)) {
            Some((seeds, what)) => println!("| `{defect:?}` | {seeds} | {what} |"),
            None => println!("| `{defect:?}` | not found | |"),
        }
    }
}

#[test]
#[ignore = "thousands of seeds take minutes"]
fn sound_engine_is_not_accused() {
    let wanted = std::env::var("STEERSMAN_DEFECT").unwrap_or_default();
    let defect = HUNTED.iter().copied().find(|defect| format!("{defect:?}") == wanted);
    if let Some(seed) = number("STEERSMAN_FROM") {
        return println!("{}", hunt(seed, defect).unwrap_or_default());
    }
    let seeds = number("STEERSMAN_SEEDS").unwrap_or(10_000);
    let accused: Vec<_> = (0..seeds).filter_map(|seed| Some((seed, hunt(seed, None)?))).collect();
    for (seed, what) in &accused {
        println!("{seed}: {}", what.lines().next().unwrap_or(""));
    }
    assert_eq!(accused.len(), 0, "of {seeds}");
}
