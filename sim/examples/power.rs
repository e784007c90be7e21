//! Which planted defects a search finds, and how soon:
//! `cargo run --release -p steersman-sim --example power -- [--sound SEEDS] [--seconds EACH]`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use steersman_engine::defect::Defect;
use steersman_sim::explore::plan::Prepare;
use steersman_sim::explore::{Progress, sample};
use steersman_sim::shrink::{Effort, shrink};
use steersman_sim::story::{tell_plan, to_text};

/// What the command line asks for.
struct Options {
    /// So many seeds with a sound engine; none is the table of defects.
    sound: Option<u64>,
    from: u64,
    per_defect: Duration,
    only: Option<String>,
    /// Tells what happens in this seed's run.
    story: Option<u64>,
}

fn options() -> Option<Options> {
    let per_defect = Duration::from_secs(60);
    let mut options = Options { sound: None, from: 0, per_defect, only: None, story: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--sound" => options.sound = Some(value.parse().ok()?),
            "--from" => options.from = value.parse().ok()?,
            "--seconds" => options.per_defect = Duration::from_secs(value.parse().ok()?),
            "--story" => options.story = Some(value.parse().ok()?),
            "--only" => options.only = Some(value),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!("usage: power [--sound SEEDS] [--from SEED] [--seconds N] [--only DEFECT]");
        return ExitCode::from(2);
    };
    if let Some(seed) = options.story {
        tell(seed, &options);
        return ExitCode::SUCCESS;
    }
    match options.sound {
        Some(seeds) => sound(options.from, seeds),
        None => table(&options),
    }
}

/// Shrinks what a seed shows and tells it, with the configuration.
fn tell(seed: u64, options: &Options) {
    let named = |defect: &&Defect| Some(format!("{defect:?}")) == options.only;
    let defect = Defect::ALL.iter().find(named).copied();
    let prepare = defect.map(|defect| -> Prepare { Arc::new(move |it| it.plant(defect)) });
    let search = sample::search(seed, prepare);
    let plan = search.plan_of(seed);
    let Some(shrunk) = shrink(&search.setting, &plan, &search.suite, Effort::default()) else {
        return println!("seed {seed} breaks nothing");
    };
    let setting = &shrunk.setting;
    println!("{}", serde_json::to_string(&setting.nodes).unwrap_or_default());
    println!("{}", serde_json::to_string(&shrunk.plan.deeds).unwrap_or_default());
    println!("{}", to_text(&tell_plan("", setting, &shrunk.plan, &search.suite)));
}

/// Searches with a sound engine: whatever is found is a false alarm, or news.
fn sound(from: u64, seeds: u64) -> ExitCode {
    let began = Instant::now();
    let progress = Progress::default();
    let mut alarms = std::collections::BTreeMap::<String, (u64, u64)>::new();
    let mut inputs = 0;
    for seed in from..from + seeds {
        let found = sample::search(seed, None).go_here(&progress);
        inputs += found.inputs;
        for breach in found.breaches {
            alarms.entry(breach.breach.site.into()).or_insert((seed, 0)).1 += 1;
        }
    }
    for (site, (seed, count)) in &alarms {
        println!("{count} of {seeds}, first seed {seed}: {site}");
    }
    let took = began.elapsed().as_secs_f64();
    println!("{seeds} seeds, {inputs} inputs in {took:.1} s: {} alarms", alarms.len());
    ExitCode::from(u8::from(!alarms.is_empty()))
}

/// Plants one defect after the other.
fn table(options: &Options) -> ExitCode {
    let mut found = Vec::new();
    let wanted =
        |defect: &&Defect| options.only.as_ref().is_none_or(|only| format!("{defect:?}") == *only);
    let defects: Vec<_> = Defect::ALL.iter().filter(wanted).collect();
    for defect in &defects {
        let defect = **defect;
        let prepare: Prepare = Arc::new(move |engine| engine.plant(defect));
        let began = Instant::now();
        let mut seed = options.from;
        let progress = Progress::default();
        let breach = loop {
            if began.elapsed() > options.per_defect {
                break None;
            }
            let search = sample::search(seed, Some(prepare.clone()));
            seed += 1;
            if let Some(breach) = search.go_here(&progress).breaches.into_iter().next() {
                break Some(breach);
            }
        };
        let took = began.elapsed().as_secs_f64();
        let seeds = seed - options.from;
        match breach {
            Some(breach) => {
                println!("| `{defect:?}` | {seeds} | {took:.3} | {} |", breach.breach.what);
                found.push((seeds, took));
            }
            None => println!("| `{defect:?}` | not in {seeds} | {took:.0} | |"),
        }
    }
    let count = found.len();
    found.sort_unstable_by_key(|(seeds, _)| *seeds);
    let seeds = found.get(count / 2).map_or(0, |one| one.0);
    found.sort_by(|one, other| one.1.total_cmp(&other.1));
    let seconds = found.get(count / 2).map_or(0.0, |one| one.1);
    println!("{count} of {}; median {seeds} seeds, {seconds:.3} s", defects.len());
    ExitCode::SUCCESS
}
