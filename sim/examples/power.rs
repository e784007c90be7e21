//! Which planted defects a search finds, and how soon:
//! `cargo run --release -p steersman-sim --example power -- [--sound SEEDS] [--seeds EACH]`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use steersman_engine::defect::Defect;
use steersman_engine::front::{self, Surroundings};
use steersman_sim::explore::plan::Prepare;
use steersman_sim::explore::{Progress, Search, sample};
use steersman_sim::scenario::{self, Scenario};
use steersman_sim::shrink::{Effort, shrink};
use steersman_sim::story::{tell_plan, to_text};

/// What the command line asks for.
struct Options {
    /// So many seeds with a sound engine; none is the table of defects.
    sound: Option<u64>,
    from: u64,
    /// So many seeds for each defect at most.
    seeds: u64,
    only: Option<String>,
    /// Searches this configuration, with plain faults, and no random ones.
    file: Option<String>,
    /// Tells what happens in this seed's run.
    story: Option<u64>,
}

fn options() -> Option<Options> {
    let mut options =
        Options { sound: None, from: 0, seeds: 20_000, only: None, file: None, story: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let value = words.next()?;
        match word.as_str() {
            "--sound" => options.sound = Some(value.parse().ok()?),
            "--from" => options.from = value.parse().ok()?,
            "--seeds" => options.seeds = value.parse().ok()?,
            "--story" => options.story = Some(value.parse().ok()?),
            "--file" => options.file = Some(value),
            "--only" => options.only = Some(value),
            _ => return None,
        }
    }
    Some(options)
}

fn main() -> ExitCode {
    let Some(options) = options() else {
        eprintln!(
            "usage: power [--sound N [--file CONFIG]] [--from SEED] [--seeds N] [--only DEFECT] \
             [--story SEED]"
        );
        return ExitCode::from(2);
    };
    if let Some(seed) = options.story {
        tell(seed, &options);
        return ExitCode::SUCCESS;
    }
    match options.sound {
        Some(seeds) => sound(options.from, seeds, options.file.as_deref()),
        None => table(&options),
    }
}

/// Shrinks what a seed shows and tells it, with the configuration.
fn tell(seed: u64, options: &Options) {
    let named = |defect: &&Defect| Some(format!("{defect:?}")) == options.only;
    let defect = Defect::ALL.iter().find(named).copied();
    let prepare = defect.map(|defect| -> Prepare { Arc::new(move |it| it.plant(defect)) });
    let scenario = options.file.as_deref().and_then(|file| scenario_of(file).ok());
    let search = match prepare {
        Some(prepare) => sample::search(seed, Some(prepare)),
        None => search_of(seed, scenario.as_ref()),
    };
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
fn sound(from: u64, seeds: u64, file: Option<&str>) -> ExitCode {
    let scenario = match file.map(scenario_of).transpose() {
        Ok(scenario) => scenario,
        Err(problem) => {
            eprintln!("{problem}");
            return ExitCode::from(2);
        }
    };
    let began = Instant::now();
    let progress = Progress::default();
    let mut alarms = std::collections::BTreeMap::<String, Vec<u64>>::new();
    let (mut inputs, mut alarmed) = (0, 0);
    for seed in from..from + seeds {
        let found = search_of(seed, scenario.as_ref()).go_here(&progress);
        inputs += found.inputs;
        alarmed += u64::from(!found.breaches.is_empty());
        for breach in found.breaches {
            let one = breach.breach;
            let class = format!("{}: {}", one.property, class_of(&one.what));
            alarms.entry(class).or_default().push(seed);
        }
    }
    for (class, of) in &alarms {
        let first: Vec<_> = of.iter().take(5).collect();
        println!("{}: {class}; seeds {first:?}", of.len());
    }
    let took = began.elapsed().as_secs_f64();
    println!("{seeds} seeds, {inputs} inputs in {took:.1} s: {alarmed} seeds with an alarm");
    ExitCode::from(u8::from(alarmed > 0))
}

fn search_of(seed: u64, scenario: Option<&Scenario>) -> Search {
    let sample = sample::search(seed, None);
    let Some(scenario) = scenario else { return sample };
    Search {
        setting: Arc::new(scenario.setting.clone()),
        suite: scenario.suite.clone(),
        faults: scenario.faults,
        limits: scenario.limits,
        scripted: scenario.scripted.clone(),
        ..sample
    }
}

/// Makes a scenario of a configuration file.
fn scenario_of(file: &str) -> Result<Scenario, String> {
    let text = std::fs::read_to_string(file).map_err(|problem| format!("{file}: {problem}"))?;
    let loaded = front::load(file, &text, &Surroundings::default());
    let loaded = loaded.map_err(|problems| format!("{file}: {problems:?}"))?;
    Ok(scenario::of_config(file, "node", loaded.config))
}

/// Leaves the names out of a message.
fn class_of(what: &str) -> String {
    let parts = what.split('"').enumerate();
    parts.map(|(nth, part)| if nth % 2 == 0 { part } else { "…" }).collect()
}

/// How a defect was found.
struct Finding {
    seeds: u64,
    took: f64,
    what: String,
}

/// Plants one defect after the other.
fn table(options: &Options) -> ExitCode {
    let wanted =
        |defect: &&Defect| options.only.as_ref().is_none_or(|only| format!("{defect:?}") == *only);
    let defects: Vec<_> = Defect::ALL.iter().copied().filter(|it| wanted(&it)).collect();
    let (mut found, mut doubtful) = (Vec::new(), 0);
    println!("| Defect | Seeds | Seconds | What shows it |\n|---|---|---|---|");
    for defect in &defects {
        match find(*defect, options, &mut doubtful) {
            Some(finding) => {
                let Finding { seeds, took, what } = &finding;
                println!("| `{defect:?}` | {seeds} | {took:.3} | {what} |");
                found.push(finding);
            }
            None => println!("| `{defect:?}` | not in {} | | |", options.seeds),
        }
    }
    let count = found.len();
    found.sort_by_key(|one| one.seeds);
    let seeds = found.get(count / 2).map_or(0, |one| one.seeds);
    found.sort_by(|one, other| one.took.total_cmp(&other.took));
    let seconds = found.get(count / 2).map_or(0.0, |one| one.took);
    println!("\n{count} of {}; median {seeds} seeds, {seconds:.3} s", defects.len());
    println!("{doubtful} alarms did not count: the sound engine has one with the same seed");
    ExitCode::SUCCESS
}

/// Looks for the first seed that shows a defect and nothing when the engine is sound.
fn find(defect: Defect, options: &Options, doubtful: &mut u64) -> Option<Finding> {
    let prepare: Prepare = Arc::new(move |engine| engine.plant(defect));
    let began = Instant::now();
    let progress = Progress::default();
    for seed in options.from..options.from + options.seeds {
        let search = sample::search(seed, Some(prepare.clone()));
        let Some(one) = search.go_here(&progress).breaches.into_iter().next() else { continue };
        if !sample::search(seed, None).go_here(&progress).breaches.is_empty() {
            *doubtful += 1;
            continue;
        }
        let (seeds, took) = (seed - options.from + 1, began.elapsed().as_secs_f64());
        return Some(Finding { seeds, took, what: class_of(&one.breach.what) });
    }
    None
}
