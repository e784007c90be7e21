//! Every way in which an election can go, and whether one is missed:
//! `cargo run --release -p steersman-sim --example election -- [--seconds EACH] [--story]`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use steersman_sim::election::{Arena, Clocks, Figures, Rules, TROUBLES, Trouble, Troubles};
use steersman_sim::explore::breadth::nearest;
use steersman_sim::explore::model::{Bounds, Explored, Model, explore};

/// What the command line asks for.
struct Options {
    words: Vec<String>,
}

impl Options {
    fn value(&self, name: &str) -> Option<&str> {
        let at = self.words.iter().position(|word| word == name)?;
        self.words.get(at + 1).map(String::as_str)
    }

    fn number(&self, name: &str, otherwise: u32) -> u32 {
        self.value(name).and_then(|value| value.parse().ok()).unwrap_or(otherwise)
    }

    fn has(&self, name: &str) -> bool {
        self.words.iter().any(|word| word == name)
    }

    fn troubles(&self, name: &str) -> Option<Vec<Trouble>> {
        let names: Vec<_> = self.value(name)?.split(',').collect();
        let is_named = |kind: &Trouble| names.contains(&format!("{kind:?}").as_str());
        Some(TROUBLES.into_iter().filter(is_named).collect())
    }
}

fn main() -> ExitCode {
    let options = Options { words: std::env::args().skip(1).collect() };
    let figures = Figures {
        ttl: options.number("--ttl", 3),
        lock_delay: options.number("--delay", 6),
        renew_every: 1,
        request_timeout: 1,
        demote_after: options.number("--demote", 3),
        stop_timeout: options.number("--stop", 1),
        pause_max: options.number("--pause", 1),
        kill_latency: options.number("--kill", 1),
        quiet: options.value("--quiet").and_then(|value| value.parse().ok()),
        hold_off: options.number("--hold-off", 6),
    };
    let clocks = options.value("--fast").and_then(|value| value.parse().ok());
    let clocks = clocks.map_or(Clocks::Equal, Clocks::Ends);
    let mut rules = Rules::with_bound_job(figures, clocks, options.has("--bound"), &|_| {});
    rules.candidates = options.number("--candidates", 2) as usize;
    rules.troubles_max = options.number("--troubles", 1) as u8;
    rules.is_any_order = !options.has("--ordered");
    rules.are_delays_free = options.has("--free");
    if let Some(kinds) = options.troubles("--only") {
        rules.troubles = Troubles::only(&kinds);
    }
    if let Some(kinds) = options.troubles("--without") {
        rules.troubles = rules.troubles.without(&kinds);
    }
    let rules = Arc::new(rules);
    let bounds = Bounds {
        states_max: options.number("--states", 100_000_000) as usize,
        depth_max: 10_000_000,
        time_max: Some(Duration::from_secs(options.number("--seconds", 60).into())),
        verdicts_max: 1,
    };
    let began = Instant::now();
    let root = Arena::new(rules.clone());
    let found =
        if options.has("--near") { nearest(root, bounds) } else { explore(root, bounds, |_| true) };
    report(&found, began.elapsed());
    for (verdict, path) in &found.verdicts {
        println!("{verdict:?} after {} choices", path.len());
        if options.has("--story") {
            tell(Arena::new(rules.clone()), path);
        }
    }
    ExitCode::SUCCESS
}

fn report<C, V>(found: &Explored<C, V>, took: Duration) {
    println!(
        "{} states, {} transitions, depth {}, {}, {took:.1?}",
        found.states,
        found.transitions,
        found.depth,
        if found.is_complete { "complete" } else { "NOT complete" }
    );
}

fn tell(mut arena: Arena, path: &[<Arena as Model>::Choice]) {
    let mut last = String::new();
    for choice in path {
        let trouble = arena.trouble_of(*choice).map_or("", |_| "  <- trouble");
        println!("{:4} {choice:?}{trouble}", arena.now());
        arena.apply(choice);
        let shown = arena.shown();
        if shown != last {
            println!("         {shown}");
        }
        last = shown;
    }
}
