//! The model of Consul answers as a real Consul 1.8.7 does: the same cases to both, compared byte
//! for byte; and the recorded exchanges are answered as recorded.
//!
//! The cases are in `fixtures/consul-cases`, one file for one real Consul each; the language is
//! described in `src/consul/case.rs`. A Consul that is not installed fails the test:
//! `setup/consul.sh` installs it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;

use steersman_sim::consul::Options;
use steersman_tests::consul::case::{self, Case};
use steersman_tests::consul::compare::{self, Exchange};
use steersman_tests::consul::generate::Generator;
use steersman_tests::consul::real::{Kind, MASTER, Real};
use steersman_tests::consul::target::{Direct, Remote, Target, serve_model};
use steersman_tests::consul::transcript;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

fn options(kind: Kind) -> Options {
    let mut options = Options::dev(0x1887);
    options.pretty = matches!(kind, Kind::Dev | Kind::Acl);
    options.ui = options.pretty;
    if matches!(kind, Kind::Acl | Kind::PlainAcl) {
        options.master_token = Some(MASTER.into());
    }
    options
}

fn cases_of(file: &str) -> Vec<Case> {
    let path = fixtures().join("consul-cases").join(format!("{file}.cases"));
    let text = std::fs::read_to_string(&path).expect("the case file is there");
    let wanted = std::env::var("CONSUL_CASE").unwrap_or_default();
    let mut cases = case::parse(&text);
    cases.retain(|case| case.name.contains(&wanted));
    cases
}

fn run_all(target: &mut dyn Target, cases: &[Case]) -> Vec<Vec<Exchange>> {
    cases.iter().map(|case| compare::run(target, case)).collect()
}

/// Runs one file against a real Consul, the model over HTTP and the model itself.
fn conform(file: &str, kind: Kind) {
    compare_all(file, &cases_of(file), kind);
}

/// So often a file is run before a difference counts: Go shuffles some lists, and the agent of the
/// real one tells its servers in a thread of its own. What the model does wrong it does every time.
const ATTEMPTS: usize = 3;

fn compare_all(name: &str, cases: &[Case], kind: Kind) {
    let mut lasting = differences(name, cases, kind);
    for _ in 1..ATTEMPTS {
        if lasting.is_empty() {
            return;
        }
        println!("asked again, these differ: {:?}", lasting.keys());
        let again = differences(name, cases, kind);
        lasting.retain(|case, _| again.contains_key(case));
    }
    let report: String = lasting.into_values().collect();
    assert!(report.is_empty(), "the model differs from Consul:\n{report}");
}

/// Runs the cases against both, and gives what differs, by case.
fn differences(name: &str, cases: &[Case], kind: Kind) -> BTreeMap<String, String> {
    let (real, served, direct) = thread::scope(|scope| {
        let real = scope.spawn(|| {
            let real = Real::start(kind);
            run_all(&mut Remote::new(real.address), cases)
        });
        let served = scope.spawn(|| run_all(&mut Remote::new(serve_model(options(kind))), cases));
        let direct = scope.spawn(|| run_all(&mut Direct::new(options(kind)), cases));
        let joined = |handle: thread::ScopedJoinHandle<'_, _>| handle.join().expect("it ran");
        (joined(real), joined(served), joined(direct))
    });
    let mut found = BTreeMap::new();
    for (number, case) in cases.iter().enumerate() {
        for model in [&served[number], &direct[number]] {
            if let Some(difference) = compare::difference(case, &real[number], model) {
                found.insert(case.name.clone(), difference);
                break;
            }
        }
    }
    let count: usize = real.iter().map(Vec::len).sum();
    println!("{name}: {} cases, {count} exchanges", cases.len());
    found
}

#[test]
fn keys_are_kept_as_by_consul() {
    conform("kv", Kind::Dev);
}

#[test]
fn sessions_and_locks_are_consuls() {
    conform("session", Kind::Dev);
}

#[test]
fn transactions_are_consuls() {
    conform("txn", Kind::Dev);
}

#[test]
fn agents_are_consuls() {
    conform("agent", Kind::Dev);
}

#[test]
fn http_is_spoken_as_by_consul() {
    conform("http", Kind::Dev);
}

#[test]
fn catalog_and_health_are_consuls() {
    conform("catalog", Kind::Dev);
}

#[test]
fn access_is_denied_as_by_consul() {
    conform("acl", Kind::Acl);
}

#[test]
fn blocking_queries_wake_as_at_consul() {
    conform("blocking", Kind::Dev);
}

#[test]
fn checks_expire_as_at_consul() {
    conform("expiry", Kind::Dev);
}

#[test]
fn sessions_expire_as_at_consul() {
    conform("session-expiry", Kind::Dev);
}

/// Seeds that CI tries; `CONSUL_SEED` adds one more.
const SEEDS: [u64; 6] = [1, 2, 3, 4, 5, 6];

#[test]
fn requests_at_random_are_answered_alike() {
    let own = std::env::var("CONSUL_SEED").ok().and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = own.map_or(SEEDS.to_vec(), |seed| vec![seed]);
    let case = |seed: &u64| Generator::new(*seed).case(format!("seed {seed}"), 120);
    let cases: Vec<Case> = seeds.iter().map(case).collect();
    compare_all("random", &cases, Kind::Plain);
}

#[test]
fn recorded_exchanges_are_answered_as_recorded() {
    let folder = fixtures().join("consul-transcripts");
    let mut wrong = Vec::new();
    let mut count = 0;
    for (server, kind) in [("plain", Kind::Plain), ("acl-default-deny", Kind::PlainAcl)] {
        let mut served = Remote::new(serve_model(options(kind)));
        let mut direct = Direct::new(options(kind));
        for target in [&mut served as &mut dyn Target, &mut direct] {
            let (replayed, differences) = transcript::replay(&folder, server, target);
            count += replayed;
            wrong.extend(differences);
        }
    }
    assert_eq!(count, 160, "not all recordings were replayed");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
