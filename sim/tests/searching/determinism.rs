//! Equal seeds are equal runs: on a fresh clone, in two processes, in debug and in release; and
//! what is not deterministic is found and named to the event.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use steersman_engine::defect::Defect;
use steersman_engine::front::{self, Surroundings};
use steersman_engine::trace::Hex;
use steersman_sim::explore::{Progress, Search, replay};
use steersman_sim::scenario::{self, Scenario};
use steersman_sim::tap::Level;
use steersman_sim::trace;

use crate::sample::search;

/// So many seeds of each subject are recorded.
const SEEDS: u64 = 24;

/// Whoever is asked by this variable writes every step of every subject to the file it names.
const WRITE_STEPS: &str = "STEERSMAN_WRITE_STEPS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What is run: the sample, and examples from the book.
fn subjects() -> Vec<(&'static str, Search)> {
    let shop = "docs/examples/scenarios/shop.json5";
    let plain = "docs/examples/first-steps.json5";
    let text = |file: &str| fs::read_to_string(root().join(file)).expect("an example");
    let read = |path: &str| fs::read_to_string(root().join(path)).map_err(|it| it.to_string());
    let scenario = scenario::load(shop, &text(shop), &read).expect("a good example");
    let loaded = front::load(plain, &text(plain), &Surroundings::default());
    let of_plain = scenario::of_config(plain, "node", loaded.expect("a good example").config);
    vec![
        ("sample", Search { seeds: 0..SEEDS, ..search(None, SEEDS) }),
        (shop, search_of(&scenario)),
        (plain, search_of(&of_plain)),
    ]
}

fn search_of(scenario: &Scenario) -> Search {
    Search {
        setting: Arc::new(scenario.setting.clone()),
        suite: scenario.suite.clone(),
        faults: scenario.faults,
        limits: scenario.limits,
        scripted: scenario.scripted.clone(),
        ..search(None, SEEDS)
    }
}

fn fingerprint(search: &Search, seed: u64) -> Hex {
    let one = Search { seeds: seed..seed + 1, ..search.clone() };
    Hex(one.go(&Progress::default()).fingerprint)
}

#[test]
fn recorded_digests_are_met() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/digests.txt");
    let mut text = String::from(
        "# Subject, seed, fingerprint of every state in order; equal on every machine and in\n\
         # every build. STEERSMAN_BLESS=1 cargo test -p steersman-sim --test searching digests\n",
    );
    for (name, search) in subjects() {
        for seed in 0..SEEDS {
            let _ = writeln!(text, "{name} {seed} {}", fingerprint(&search, seed));
        }
    }
    if std::env::var_os("STEERSMAN_BLESS").is_some() {
        fs::write(&file, &text).expect("a folder");
    }
    let recorded = fs::read_to_string(&file).unwrap_or_default();
    let differs: Vec<_> = recorded.lines().zip(text.lines()).filter(|(a, b)| a != b).collect();
    assert!(
        recorded == text,
        "{} of {} runs are not as recorded, first {:?}: when the engine or the world changed on \
         purpose, run this test with STEERSMAN_BLESS=1",
        differs.len(),
        text.lines().count(),
        differs.first()
    );
}

/// Writes every step of some seeds, one JSON object a line.
fn write_steps(file: &Path) {
    let mut text = String::new();
    for (name, search) in subjects() {
        for seed in 0..6 {
            let plan = search.plan_of(seed);
            let run = replay(&search.setting, &plan, &search.suite, Level::Everything);
            for step in trace::steps(&search.setting, &run.lines) {
                let _ = writeln!(text, "{name} seed {seed}: {step}");
            }
        }
    }
    fs::write(file, text).expect("a folder");
}

#[test]
fn two_processes_take_the_same_steps() {
    if let Some(file) = std::env::var_os(WRITE_STEPS) {
        write_steps(Path::new(&file));
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let own = std::env::current_exe().expect("a running program has a path");
    let files = ["one", "other"].map(|name| folder.path().join(name));
    let children = files.clone().map(|file| {
        let mut command = Command::new(&own);
        command.args(["--exact", "determinism::two_processes_take_the_same_steps"]);
        command.env(WRITE_STEPS, &file).stdin(Stdio::null()).stdout(Stdio::null());
        command.spawn().expect("this program runs")
    });
    for mut child in children {
        assert!(child.wait().expect("a child").success());
    }
    let [one, other] = files.map(|file| fs::read_to_string(file).expect("steps"));
    assert!(one.lines().count() > 1000, "{} steps", one.lines().count());
    let first = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    assert_eq!(first, None, "the first step that differs");
    assert_eq!(one.len(), other.len());
}

#[test]
fn every_seed_of_a_sample_runs_twice_the_same() {
    for (name, search) in subjects() {
        let found = Search { check_determinism: true, ..search }.go(&Progress::default());
        assert_eq!(found.runs, SEEDS);
        assert!(found.unsteady.is_empty(), "{name}: {:?}", found.divergence);
    }
}

#[test]
fn planted_difference_is_named_to_the_event() {
    let mut search = search(None, 12);
    let mut setting = (*search.setting).clone();
    // Every second engine of this process has a defect, whatever the seed.
    let engines = AtomicU64::new(0);
    setting.prepare = Some(Arc::new(move |engine| {
        if engines.fetch_add(1, Ordering::Relaxed) % 2 == 1 {
            engine.plant(Defect::ReloadOverlaps);
        }
    }));
    search.setting = Arc::new(setting);
    search.jobs = 1;
    search.check_determinism = true;
    let found = search.go(&Progress::default());
    let (seed, divergence) = found.divergence.clone().expect("a difference");
    assert_eq!(found.unsteady.first(), Some(&seed));
    let (Some(one), Some(other)) = (&divergence.one, &divergence.other) else {
        panic!("one run is shorter: {divergence}");
    };
    let differing = ["at", "node", "input", "action", "effects", "digest"];
    let differing: Vec<_> = differing.into_iter().filter(|key| one[key] != other[key]).collect();
    assert!(!differing.is_empty(), "{divergence}");
    let place = divergence.place();
    assert!(place.starts_with(&format!("step {}, ", divergence.step + 1)), "{place}");
    assert!(place.contains(" on node: "), "{place}");
    let words: BTreeMap<_, _> = [("at", "time"), ("input", "input"), ("effects", "effect")].into();
    let word = words.get(differing[0]).copied().unwrap_or("state");
    assert!(place.contains(word), "{place}: {differing:?}");
}
