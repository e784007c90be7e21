//! The long run: so many seeds of each row in each mode, in release.
//!
//! `STEERSMAN_SEEDS=0..10000 STEERSMAN_ROWS=M10,M11 STEERSMAN_MODES=Plain cargo test --release \
//!  -p steersman-sim --test mysql long_run -- --ignored --nocapture`

use std::collections::BTreeMap;
use std::env;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use steersman_sim::explore::Search;
use steersman_sim::story::{tell_plan, to_text};

use crate::neighbourhood::{Mode, near};
use crate::row::{Original, Row, look, run};

/// What broke, how often, and the first seed that showed it.
type Broken = BTreeMap<String, (u64, u64)>;

/// What came of some seeds: what broke, and a hash of all that happened in them, equal whenever,
/// wherever and on however many threads they are run.
type Tally = (Broken, u64);

fn over(seeds: Range<u64>, jobs: usize, search: &Search, mode: Mode) -> Tally {
    let (next, prints) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let broken = Mutex::new(Broken::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let (breach, print) = look(search, seed, mode);
                    prints.fetch_add(print, Ordering::Relaxed);
                    if let Some(breach) = breach {
                        let mut broken = broken.lock().expect("nobody panicked");
                        let known = broken.entry(breach.property.to_string()).or_insert((0, seed));
                        *known = (known.0 + 1, known.1.min(seed));
                    }
                }
            });
        }
    });
    (broken.into_inner().expect("nobody panicked"), prints.into_inner())
}

fn variable(name: &str) -> Option<String> {
    env::var(format!("STEERSMAN_{name}")).ok()
}

fn print(row: &Row, mode: &str, seeds: &Range<u64>, (broken, prints): &Tally, begin: Instant) {
    let count: u64 = broken.values().map(|(count, _)| count).sum();
    let (runs, took) = (seeds.end - seeds.start, begin.elapsed());
    let (each, begin) = (took / u32::try_from(runs).unwrap_or(1).max(1), seeds.start);
    let id = row.id;
    println!("{id} {mode} {count} of {runs} from {begin} {broken:?} ({each:.1?}) {prints:016x}");
}

#[test]
#[ignore = "ten thousand seeds of each row take hours"]
fn long_run() {
    let rows = variable("ROWS").unwrap_or_default();
    let modes = variable("MODES").unwrap_or_else(|| String::from("Plain,Contract,Overlong"));
    let seeds = variable("SEEDS").unwrap_or_else(|| String::from("0..10000"));
    let (from, to) = seeds.split_once("..").expect("a range of seeds");
    let seeds = from.parse().expect("a seed")..to.parse().expect("a seed");
    let jobs = variable("JOBS").and_then(|jobs| jobs.parse().ok()).unwrap_or(1);
    let mut bad = 0;
    for row in crate::all() {
        if !rows.is_empty() && !rows.split(',').any(|id| id == row.id) {
            continue;
        }
        let begin = Instant::now();
        if let (Original::Breaks(case, _), true) = (&row.original, modes.contains("Original")) {
            let search = case.search("", case.settle);
            let tally = over(seeds.clone(), jobs, &search, Mode::Written);
            print(&row, "Original", &seeds, &tally, begin);
        }
        for mode in Mode::NEAR.iter().chain([&Mode::Written]) {
            if modes.split(',').any(|name| name == format!("{mode:?}")) {
                let begin = Instant::now();
                let tally = over(seeds.clone(), jobs, &row.search(*mode), *mode);
                print(&row, &format!("{mode:?}"), &seeds, &tally, begin);
                bad += tally.0.len();
            }
        }
    }
    assert_eq!(bad, 0, "what was broken is above");
}

/// Tells the story of one seed, as it is: `STEERSMAN_ROWS=M10 STEERSMAN_MODES=Plain
/// STEERSMAN_SEEDS=17`.
#[test]
#[ignore = "for those who look for a cause"]
fn story_of_a_seed() {
    let id = variable("ROWS").expect("a row");
    let seed: u64 = variable("SEEDS").and_then(|seed| seed.parse().ok()).expect("a seed");
    let name = variable("MODES").unwrap_or_else(|| String::from("Plain"));
    let row = crate::all().into_iter().find(|row| row.id == id).expect("a row of this id");
    let modes = Mode::NEAR.iter().chain([&Mode::Written]);
    let mode = { modes }.find(|mode| format!("{mode:?}") == name);
    let search = match (mode, &row.original) {
        (Some(mode), _) => near(&row.search(*mode), seed, *mode).0,
        (None, Original::Breaks(case, _)) => case.search("", case.settle),
        (None, Original::Untold(why)) => panic!("{why}"),
    };
    println!("{:#?}", search.scripted);
    println!("{:?}", run(&search, seed, Mode::Written));
    let plan = search.plan_of(seed);
    println!("{}", to_text(&tell_plan(row.title, &search.setting, &plan, &search.suite)));
}
