//! The same job in three simulators: fifty hosts that report every so often.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use steersman_tests::table::{Better, Table};

use crate::Result;
use crate::ours::{Checks, heartbeats, run, supervisors};

/// How many hosts there are beside the server.
const HOSTS: u16 = 50;

/// One kind of job.
struct Load {
    column: &'static str,
    interval: Duration,
    /// Simulated seconds: with turmoil's ticks of 1 ms and 10 ms, and in madsim.
    seconds: [u64; 3],
}

const LOADS: [Load; 2] = [
    Load { column: "each 10 s", interval: Duration::from_secs(10), seconds: [20, 200, 20_000] },
    Load { column: "each 10 ms", interval: Duration::from_millis(10), seconds: [5, 10, 20] },
];

/// Measures simulated seconds a second in each simulator, in turn.
pub(crate) fn equal(rounds: usize, quick: bool) -> Result<()> {
    let folder = build()?;
    let title = "Fifty hosts that report every so often: simulated seconds a second";
    let mut table = Table::new(title, "s/s", Better::More, "turmoil");
    let events = if quick { 100_000 } else { 1_000_000 };
    for round in 1..=rounds {
        for load in &LOADS {
            let mut note = |row: &str, speed: f64| {
                eprintln!("equal round {round}: {row} {} {speed:.1} s/s", load.column);
                table.add(row, load.column, speed);
            };
            let mut world = supervisors(HOSTS, 1, load.interval, Checks::On);
            note("steersman (checks are processes)", run(&mut world, events)?.speed());
            let mut world = heartbeats(HOSTS, load.interval);
            note("steersman (reports to Consul)", run(&mut world, events / 10)?.speed());
            let [fine, coarse, jumping] = load.seconds;
            note("madsim", peer(&folder, "madsim", load, 1, jumping)?);
            note("turmoil", peer(&folder, "turmoil", load, 1, fine)?);
            note("turmoil (ticks of 10 ms)", peer(&folder, "turmoil", load, 10, coarse)?);
        }
    }
    table.print();
    Ok(())
}

/// Builds the peers, with the compiler flag that madsim wants; gives where they are.
fn build() -> Result<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("simulators");
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--release", "--locked", "-q"])
        .env_remove("CARGO_TARGET_DIR")
        .current_dir(&root)
        .status()?;
    if !status.success() {
        return Err("cannot build the peers of tests/simulators".into());
    }
    Ok(root.join("target/release"))
}

/// Runs a peer once and gives simulated seconds a second.
fn peer(folder: &Path, name: &str, load: &Load, tick: u64, seconds: u64) -> Result<f64> {
    let numbers = [u128::from(HOSTS), load.interval.as_millis(), tick.into(), seconds.into()];
    let output =
        Command::new(folder.join(name)).args(numbers.map(|number| number.to_string())).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut words = text.split_whitespace();
    let wall: f64 = words.next().ok_or_else(|| format!("cannot run {name}"))?.parse()?;
    let answers: f64 = words.next().unwrap_or_default().parse()?;
    let wanted = f64::from(HOSTS) * seconds as f64 / load.interval.as_secs_f64();
    if answers < wanted * 0.4 {
        return Err(format!("cannot compare {name}: {answers} of {wanted} reports").into());
    }
    Ok(seconds as f64 / wall)
}
