//! Elections with real parts and real faults by one command; the page about it is
//! docs/election-run.md. Needs root and Consul (`tests/setup/install.sh`).
//!
//!     cargo run --release -p steersman-tests --bin election-chaos -- --minutes 10 --seed 1

use std::env;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use steersman_tests::election::{Drill, Order, Plan, Plant, enter, go, guard, lead, serve};

const USAGE: &str = "usage: election-chaos \
                     [--minutes N | --plan short | --plan stop|crash|cut|mute|amnesia [--times N]] \
                     [--seed N] [--folder DIR] [--plant rogue|unsafe]";

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["lead"] => lead(false),
        ["child"] => lead(true),
        ["serve"] => serve(),
        ["resource", socket, log] => {
            if let Err(error) = guard(Path::new(socket), Path::new(log)) {
                eprintln!("cannot guard the resource: {error}");
                return ExitCode::FAILURE;
            }
        }
        _ => return run(&words),
    }
    ExitCode::SUCCESS
}

fn run(words: &[&str]) -> ExitCode {
    let Some(order) = order(words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    enter();
    println!("{} {:?}, in {}", order.seed, order.plan, order.folder.display());
    let breaches = go(&order);
    for breach in &breaches {
        println!("BREACH: {breach}");
    }
    println!("{} breaches; see {}", breaches.len(), order.folder.join("summary.md").display());
    ExitCode::from(u8::from(!breaches.is_empty()))
}

fn order(words: &[&str]) -> Option<Order> {
    let mut order = Order {
        plan: Plan::Drawn(Duration::from_secs(600)),
        seed: 1,
        folder: PathBuf::new(),
        plant: Plant::Nothing,
    };
    for pair in words.chunks(2) {
        let [flag, value] = *pair else { return None };
        match (flag, value) {
            ("--minutes", value) => {
                order.plan = Plan::Drawn(Duration::from_secs(60 * value.parse::<u64>().ok()?));
            }
            ("--plan", "short") => order.plan = Plan::Short,
            ("--plan", name) => order.plan = Plan::Repeated(drill(name)?, 1),
            ("--times", value) => {
                let Plan::Repeated(drill, _) = order.plan else { return None };
                order.plan = Plan::Repeated(drill, value.parse().ok()?);
            }
            ("--seed", value) => order.seed = value.parse().ok()?,
            ("--folder", value) => order.folder = value.into(),
            ("--plant", "rogue") => order.plant = Plant::Rogue,
            ("--plant", "unsafe") => order.plant = Plant::Unsafe,
            _ => return None,
        }
    }
    if order.folder.as_os_str().is_empty() {
        order.folder = format!("target/election-{}", order.seed).into();
    }
    Some(order)
}

fn drill(name: &str) -> Option<Drill> {
    Some(match name {
        "stop" => Drill::Stop,
        "crash" => Drill::Crash,
        "cut" => Drill::Cut,
        "mute" => Drill::Mute,
        "amnesia" => Drill::Amnesia,
        _ => return None,
    })
}
