//! The published MySQL handlers and their repair as the examples that the documentation names: the
//! one finds its cold start and tells it, the other holds. Row by row they are searched in
//! `tests/mysql`.

use std::fs;
use std::path::Path;

use steersman_engine::front::Surroundings;
use steersman_sim::command::{FAILED, GOOD, Options, ReplayOptions, repeat, simulate};

const ORIGINAL: &str = "mysql-cold-start.json5";
const REPAIRED: &str = "mysql-repaired.json5";

/// Searches an example as it is, and gives the status and what was said.
fn simulated(file: &str, change: impl FnOnce(&mut Options)) -> (u8, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(file);
    let path = path.to_str().expect("a plain path").to_owned();
    let mut options = Options { files: vec![path], seeds: 0..3, jobs: 2, ..Options::default() };
    change(&mut options);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let around = Surroundings::default();
    let status = simulate(&options, &around, &mut out, &mut err).expect("memory to write to");
    (status, String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err))
}

#[test]
fn example_finds_the_cold_start_tells_it_and_repeats_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (trace, page) = (at("out.trace"), at("out.html"));
    let (status, text) = simulated(ORIGINAL, |options| {
        options.trace = Some(trace.clone());
        options.html = Some(page.clone());
    });
    assert_eq!(status, FAILED, "{text}");
    assert!(text.contains("M01: those that start together all come to serve"), "{text}");
    assert!(text.contains("access denied: this database has no users of the cluster"), "{text}");
    assert!(fs::read_to_string(&page).expect("a page").contains("mysql data"));
    let options = ReplayOptions::of(&trace);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let status = repeat(&options, &mut out, &mut err).expect("memory to write to");
    assert_eq!(status, Some(GOOD), "{}", String::from_utf8_lossy(&out));
}

#[test]
fn repaired_example_holds() {
    let (status, text) = simulated(REPAIRED, |_| {});
    assert_eq!(status, GOOD, "{text}");
}
