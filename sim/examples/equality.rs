//! How tight the inequalities of locks are: changes of holders with every figure at, or near, its
//! bound, in continuous time.
//!
//! `cargo run --release -p steersman-sim --example equality -- [TERMS]`

use std::thread;
use std::time::{Duration, Instant};

use steersman_sim::election::sampling::{Edge, Passing};
use steersman_sim::random::Random;

fn main() {
    let terms = std::env::args().nth(1).and_then(|terms| terms.parse().ok()).unwrap_or(1_000_000);
    println!("| Passing | Of what is needed | Pause | Terms | Two at once | Least margin |");
    println!("|---|---|---|---|---|---|");
    for passing in [Passing::Expired, Passing::Destroyed, Passing::Forgotten, Passing::Deleted] {
        for millionths in [1_000_000, 980_000] {
            row(&Edge::at(passing, millionths), millionths, terms);
        }
    }
    for pause in [5, 20] {
        let mut edge = Edge::at(Passing::Destroyed, 1_000_000);
        edge.pause = Duration::from_secs(pause);
        row(&edge, 1_000_000, terms / 10);
    }
}

fn row(edge: &Edge, millionths: u64, terms: u64) {
    let begun = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let (count, least) = thread::scope(|scope| {
        let part = |first: u64| {
            let numbers = (first..terms).step_by(threads as usize);
            numbers.fold((0_u64, i64::MAX), |(count, least), nth| {
                let margin = edge.sample(Random::new(nth));
                (count + u64::from(margin < 0), least.min(margin))
            })
        };
        let parts: Vec<_> = (0..threads).map(|first| scope.spawn(move || part(first))).collect();
        let parts = parts.into_iter().map(|part| part.join().expect("a part does not panic"));
        parts.fold((0, i64::MAX), |all, part| (all.0 + part.0, all.1.min(part.1)))
    });
    println!(
        "| {:?} | {} % | {} s | {terms} | {count} ({:.1} %) | {:.3} ms | <!-- {:.0?} -->",
        edge.passing,
        millionths / 10_000,
        edge.pause.as_secs(),
        count as f64 * 100.0 / terms as f64,
        least as f64 / 1e6,
        begun.elapsed(),
    );
}
