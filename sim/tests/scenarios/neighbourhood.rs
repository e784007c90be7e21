//! The random neighbourhood of each scenario with Consul: other seeds, times, latencies, drifting
//! clocks, followers that lag by 0, 1, 5 or 60 s. Nothing may fail there either.
//!
//! The long run, in release, prints a line for each scenario:
//!
//! `cargo test --release -p steersman-sim --test scenarios thousand -- --ignored --nocapture`

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::lab::{Lab, Scenario};
use crate::{registering, watching};

/// How many seeds of a scenario failed, and the first of them.
fn failures(scenario: Scenario, seeds: u64, threads: usize) -> (u64, Option<u64>) {
    let (next, failed, first) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(u64::MAX));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let run = AssertUnwindSafe(|| scenario.1(Lab::near(seed)));
                    if catch_unwind(run).is_err() {
                        failed.fetch_add(1, Ordering::Relaxed);
                        first.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    (failed, (failed > 0).then_some(first.into_inner()))
}

fn with_consul() -> impl Iterator<Item = Scenario> {
    registering::ALL.iter().chain(watching::ALL).copied()
}

#[test]
fn nothing_fails_near_a_scenario() {
    for scenario in with_consul() {
        let (failed, first) = failures(scenario, 2, 1);
        assert_eq!(failed, 0, "{} fails with seed {first:?}", scenario.0);
    }
}

#[test]
#[ignore = "ten thousand seeds of each scenario take half an hour"]
fn nothing_fails_in_ten_thousand_seeds_of_each() {
    let seeds = std::env::var("STEERSMAN_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let only = std::env::var("STEERSMAN_SCENARIO").unwrap_or_default();
    let seeds = seeds.unwrap_or(10_000);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut bad = Vec::new();
    for scenario in with_consul().filter(|scenario| scenario.0.contains(&only)) {
        let begin = std::time::Instant::now();
        let (failed, first) = failures(scenario, seeds, threads);
        println!("{}: {failed} of {seeds} failed {first:?} ({:.0?})", scenario.0, begin.elapsed());
        bad.extend(first.map(|seed| (scenario.0, seed)));
    }
    assert!(bad.is_empty(), "{bad:?}");
}
