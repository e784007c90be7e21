//! The search for faults: runs a second on a scenario and on a plain configuration.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use steersman_engine::front::{self, Surroundings};
use steersman_sim::explore::{Progress, Search};
use steersman_sim::scenario::{self, Scenario};
use steersman_tests::table::{Better, Table};

use crate::Result;

/// Measures runs a second with one thread and with two.
pub(crate) fn searches(rounds: usize, quick: bool) -> Result<()> {
    let title = "Search: runs a second (the plain ones simulate up to 60 s each)";
    let mut table = Table::new(title, "runs a second", Better::More, "");
    let mut inputs = Table::new("Search: inputs of a run", "inputs", Better::Less, "");
    let subjects = [("shop.json5", shop()?), ("ten jobs", plain(10)?), ("500 jobs", plain(500)?)];
    for round in 1..=rounds {
        for (name, scenario) in &subjects {
            let seeds = match (quick, *name) {
                (true, "500 jobs") => 20,
                (false, "500 jobs") => 100,
                (true, _) => 300,
                (false, _) => 1000,
            };
            for jobs in [1, 2] {
                let search = search(scenario, seeds, jobs);
                let begin = Instant::now();
                let found = search.go(&Progress::default());
                let rate = found.runs as f64 / begin.elapsed().as_secs_f64();
                eprintln!("search round {round}: {name}, {jobs} threads {rate:.0} runs/s");
                let column = if jobs == 1 { "1 thread" } else { "2 threads" };
                table.add(name, column, rate);
                inputs.add(name, "mean", found.inputs as f64 / found.runs as f64);
            }
        }
    }
    table.print();
    inputs.print();
    Ok(())
}

fn search(scenario: &Scenario, seeds: u64, jobs: usize) -> Search {
    Search {
        setting: Arc::new(scenario.setting.clone()),
        suite: scenario.suite.clone(),
        faults: scenario.faults,
        limits: scenario.limits,
        scripted: scenario.scripted.clone(),
        seeds: 0..seeds,
        shard: (0, 1),
        jobs,
        check_determinism: false,
    }
}

fn shop() -> Result<Scenario> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples/scenarios/shop.json5");
    let file = file.to_string_lossy().into_owned();
    let text = std::fs::read_to_string(&file)?;
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    scenario::load(&file, &text, &read).map_err(|problems| format!("{problems:?}").into())
}

/// A configuration of services with checks, each tenth with a job before it that must succeed.
fn plain(jobs: usize) -> Result<Scenario> {
    let mut text = String::from("{ jobs: [\n");
    for nth in 0..jobs {
        let rest = match nth % 10 {
            0 => "restarts: \"never\"".to_owned(),
            1 => format!(
                "when: {{ source: \"job{}\", once: \"exitSuccess\" }}, restarts: \"unlimited\"",
                nth - 1
            ),
            _ => "restarts: \"unlimited\", \
                  health: { exec: \"/bin/check\", interval: 10, ttl: 30 }"
                .to_owned(),
        };
        let _ = writeln!(text, "  {{ name: \"job{nth}\", exec: \"/bin/app\", {rest} }},");
    }
    text.push_str("] }\n");
    let around = Surroundings::default();
    let loaded = front::load("plain.json5", &text, &around)
        .map_err(|problems| format!("cannot read the plain configuration: {problems:?}"))?;
    Ok(scenario::of_config("plain.json5", "node", loaded.config))
}
