//! Measures the simulator: events and simulated time a second, alone and beside madsim and turmoil.
//!
//! `cargo run --release -p steersman-tests --bin bench-simulators [-- --quick] [--only NAME,…]`
//!
//! Builds the peers of `tests/simulators` first. Each round measures everything once, in turn (A B
//! C A B C …), so that whatever else the machine does falls on all; medians of all rounds are
//! printed as Markdown tables on standard output, progress on standard error.

mod ours;
mod peers;
mod searching;

use std::env;
use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use ours::{Checks, run, supervisors};
use steersman_tests::table::{Better, Table};

/// What every part of the program may fail with.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The parts that `--only` can name.
const PARTS: &[&str] = &["growth", "overhead", "equal", "search"];

/// How often the checked jobs are checked, unless a table says otherwise.
const INTERVAL: Duration = Duration::from_secs(10);

/// Hours of a core in a night, and of a year.
const NIGHT: f64 = 8.0;
const YEAR: f64 = 365.25 * 24.0;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    match Settings::parse(&args).and_then(|settings| measure(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-simulators: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How much to measure.
struct Settings {
    rounds: usize,
    /// How many events a run has.
    events: u64,
    quick: bool,
    parts: Vec<String>,
}

impl Settings {
    fn parse(args: &[String]) -> Result<Settings> {
        let parts = PARTS.iter().map(|part| (*part).to_owned()).collect();
        let mut settings = Settings { rounds: 7, events: 2_000_000, quick: false, parts };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value =
                || args.next().ok_or_else(|| format!("cannot use {arg} without a value"));
            match arg.as_str() {
                "--quick" => {
                    settings = Settings { rounds: 3, events: 300_000, quick: true, ..settings };
                }
                "--rounds" => settings.rounds = value()?.parse()?,
                "--only" => settings.parts = value()?.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("cannot understand {arg}").into()),
            }
        }
        if let Some(part) = settings.parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
            return Err(format!("cannot measure {part}: known are {}", PARTS.join(", ")).into());
        }
        Ok(settings)
    }

    fn has(&self, part: &str) -> bool {
        self.parts.iter().any(|known| known == part)
    }
}

fn measure(settings: &Settings) -> Result<()> {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!("Load {load} at the beginning; medians of {} interleaved rounds.\n", settings.rounds);
    if settings.has("growth") {
        growth(settings)?;
    }
    if settings.has("overhead") {
        overhead(settings)?;
    }
    if settings.has("equal") {
        peers::equal(settings.rounds, settings.quick)?;
    }
    if settings.has("search") {
        searching::searches(settings.rounds, settings.quick)?;
    }
    Ok(())
}

/// Everything switched on, at several sizes.
fn growth(settings: &Settings) -> Result<()> {
    let more = Better::More;
    let mut events = Table::new("Events a second, one core", "millions a second", more, "");
    let title = "Simulated seconds a second, one core";
    let mut seconds = Table::new(title, "thousands", more, "");
    let title = "Simulated years in eight hours, one core";
    let mut years = Table::new(title, "years", more, "");
    for round in 1..=settings.rounds {
        for jobs in [5, 10, 100, 500, 2000] {
            let mut world = supervisors(1, jobs, INTERVAL, Checks::On);
            let pace = run(&mut world, settings.events)?;
            eprintln!("growth round {round}: {jobs} jobs {:.1} ns an event", pace.nanos());
            let column = format!("{jobs} jobs");
            events.add("1 node", &column, pace.million_events());
            seconds.add("1 node", &column, pace.speed() / 1e3);
            years.add("1 node", &column, pace.speed() * NIGHT / YEAR);
        }
        for nodes in [10, 50, 200] {
            let mut world = supervisors(nodes, 10, INTERVAL, Checks::On);
            let pace = run(&mut world, settings.events)?;
            eprintln!("growth round {round}: {nodes} nodes {:.1} ns an event", pace.nanos());
            let row = format!("{nodes} nodes");
            events.add(&row, "10 jobs", pace.million_events());
            seconds.add(&row, "10 jobs", pace.speed() / 1e3);
            years.add(&row, "10 jobs", pace.speed() * NIGHT / YEAR);
        }
    }
    events.print();
    seconds.print();
    years.print();
    Ok(())
}

/// What the digest and the invariants cost.
fn overhead(settings: &Settings) -> Result<()> {
    let title = "What an event costs with less and less switched on";
    let mut table = Table::new(title, "ns", Better::Less, "nothing");
    let rows = [
        ("digest and invariants", Checks::On),
        ("invariants", Checks::WithoutDigest),
        ("nothing", Checks::Off),
    ];
    for round in 1..=settings.rounds {
        for jobs in [5, 50, 500] {
            for (row, checks) in rows {
                let mut world = supervisors(1, jobs, INTERVAL, checks);
                let pace = run(&mut world, settings.events)?;
                eprintln!("overhead round {round}: {jobs} jobs, {row} {:.1} ns", pace.nanos());
                table.add(row, &format!("{jobs} jobs"), pace.nanos());
            }
        }
    }
    table.print();
    Ok(())
}
