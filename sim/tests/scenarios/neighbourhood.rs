//! The random neighbourhood of each scenario with Consul: other seeds, times, latencies, drifting
//! clocks, followers that lag by 0, 1, 5 or 60 s. Nothing may fail there either. Those with locks
//! also with a Consul that does whatever its documentation allows, and with supervisors that stand
//! still for longer than their locks declare ([`Manner`]).
//!
//! The long run, in release, prints a line for each scenario:
//!
//! `cargo test --release -p steersman-sim --test scenarios thousand -- --ignored --nocapture`
//!
//! `STEERSMAN_SEEDS` is how many, `STEERSMAN_FROM` the first of them, `STEERSMAN_SCENARIO` a name
//! or a part of one, `STEERSMAN_MANNER` one of `Measured`, `Contract`, `Stalls`, `STEERSMAN_JOBS`
//! the number of threads: one core is left to others without it.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use steersman_sim::fleet::take_verdicts;

use crate::lab::{Lab, Manner, Scenario};
use crate::{locking, registering, watching};

/// What came of some seeds of a scenario.
#[derive(Debug, Default)]
struct Tally {
    failed: u64,
    /// The first seed that failed, and how.
    first: Option<(u64, String)>,
}

/// Runs a scenario in a seed's neighbourhood; tells what is wrong.
fn run(scenario: Scenario, seed: u64, manner: Manner) -> Option<String> {
    let lab = Lab::near(seed, manner);
    let panicked = catch_unwind(AssertUnwindSafe(|| scenario.1(lab))).err();
    // Two may run where somebody stands still for longer than declared: that is why tokens are.
    let is_meant = |verdict: &String| {
        manner == Manner::Stalls
            && verdict.lines().next().is_some_and(|it| it.contains("runs on two nodes"))
    };
    let verdict = take_verdicts().into_iter().find(|verdict| !is_meant(verdict));
    let panicked = panicked.map(|reason| match reason.downcast_ref::<String>() {
        Some(text) => text.clone(),
        None => reason.downcast_ref::<&str>().copied().unwrap_or("panicked").to_owned(),
    });
    let judged = panicked.filter(|_| manner != Manner::Stalls);
    judged.or(verdict)
}

fn tally(scenario: Scenario, manner: Manner, seeds: Range<u64>, threads: usize) -> Tally {
    let (next, failed) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let first = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let Some(what) = run(scenario, seed, manner) else { continue };
                    failed.fetch_add(1, Ordering::Relaxed);
                    let mut first = first.lock().expect("no thread panics while it holds this");
                    if first.as_ref().is_none_or(|(known, _)| seed < *known) {
                        *first = Some((seed, what));
                    }
                }
            });
        }
    });
    let first = first.into_inner().expect("no thread panics while it holds this");
    Tally { failed: failed.into_inner(), first }
}

fn with_consul() -> impl Iterator<Item = (Scenario, Manner)> {
    let plain = registering::ALL.iter().chain(watching::ALL);
    let plain = plain.map(|scenario| (*scenario, Manner::Measured));
    let locks = locking::ALL.iter().flat_map(|topic| topic.iter());
    plain.chain(locks.flat_map(|scenario| Manner::ALL.map(|manner| (*scenario, manner))))
}

#[test]
fn nothing_fails_near_a_scenario() {
    for (scenario, manner) in with_consul() {
        let tally = tally(scenario, manner, 0..2, 1);
        assert_eq!(tally.failed, 0, "{} {manner:?}: {:?}", scenario.0, tally.first);
    }
}

#[test]
#[ignore = "ten thousand seeds of each scenario take hours"]
fn nothing_fails_in_ten_thousand_seeds_of_each() {
    let text = |name: &str| std::env::var(format!("STEERSMAN_{name}")).unwrap_or_default();
    let number = |name| text(name).parse::<u64>().ok();
    let (from, seeds) = (number("FROM"), number("SEEDS").unwrap_or(10_000));
    let (only, wanted) = (text("SCENARIO"), text("MANNER"));
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let jobs = number("JOBS").and_then(|jobs| usize::try_from(jobs).ok());
    let jobs = jobs.unwrap_or_else(|| cores.saturating_sub(1)).max(1);
    if seeds > 1 {
        std::panic::set_hook(Box::new(|_| {}));
    }
    let from = from.unwrap_or(0);
    let all: Vec<_> = with_consul().collect();
    let is_exact = all.iter().any(|(scenario, _)| scenario.0 == only);
    let is_meant = |name: &str| if is_exact { name == only } else { name.contains(&only) };
    let mut bad = Vec::new();
    for (scenario, manner) in all {
        if !is_meant(scenario.0) || !format!("{manner:?}").contains(&wanted) {
            continue;
        }
        let begin = std::time::Instant::now();
        let Tally { failed, first } = tally(scenario, manner, from..from + seeds, jobs);
        let each = begin.elapsed() / u32::try_from(seeds).unwrap_or(1).max(1);
        println!("{} {manner:?} {from}..: {failed} of {seeds} failed ({each:.1?})", scenario.0);
        if let Some((seed, what)) = first {
            // One seed alone is told in full.
            let lines = if seeds == 1 { usize::MAX } else { 2 };
            let what = what.lines().take(lines).collect::<Vec<_>>().join("\n");
            println!("    seed {seed}: {what}");
            bad.push((scenario.0, manner, seed));
        }
    }
    assert!(bad.is_empty(), "{bad:?}");
}
