//! Scenario files: read, refused with places, searched, written down and repeated.

use std::fs;
use std::path::Path;

use steersman_engine::front::Surroundings;
use steersman_sim::command::{FAILED, GOOD, Options, REFUSED, ReplayOptions, repeat, simulate};
use steersman_sim::scenario;

const SHOP: &str = "../docs/examples/scenarios/shop.json5";

/// Searches a file and gives the status and what was said.
fn search(file: &Path, change: impl FnOnce(&mut Options)) -> (u8, String, String) {
    let file = file.to_str().expect("a plain path").to_owned();
    let mut options = Options { files: vec![file], seeds: 0..60, jobs: 2, ..Options::default() };
    change(&mut options);
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let around = Surroundings::default();
    let status = simulate(&options, &around, &mut out, &mut err).expect("memory to write to");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status, text(out), text(err))
}

fn refusals(text: &str) -> Vec<String> {
    let read = |path: &str| Err(format!("no {path} here"));
    let problems = scenario::load("s.json5", text, &read).expect_err("a bad scenario");
    let shown = problems.iter().map(|it| format!("{}:{} {}", it.line, it.column, it.message));
    shown.collect()
}

#[test]
fn bad_scenarios_are_refused_with_the_place() {
    let node = "nodes: { a: { config: { jobs: [{ name: 'app', exec: 'true' }] } } }";
    let cases = [
        ("{}".to_owned(), "1:1 cannot leave out `nodes` of the scenario"),
        ("{ nodes: { a: { config: 'x.json5' } } }".to_owned(), "1:25 cannot read x.json5"),
        (format!("{{\n{node},\nfault: [] }}"), "3:1 cannot use the key `fault`"),
        (format!("{{\n{node},\nswarm: ['crush'] }}"), "3:9 cannot draw \"crush\""),
        (format!("{{\n{node},\nprocesses: {{ ap: {{}} }} }}"), "3:14 cannot find a job that fits"),
        (
            format!("{{\n{node},\nproperties: [{{ never: 'app is runing' }}] }}"),
            "3:31 cannot find the state `runing`",
        ),
        (
            format!("{{\n{node},\nproperties: [{{ never: 'ap is running' }}] }}"),
            "3:23 cannot judge \"ap\": nothing is called that",
        ),
        (
            format!("{{\n{node},\nprograms: {{ p: ['sleep soon'] }} }}"),
            "3:24 cannot use `soon` as a duration",
        ),
        (
            format!("{{\n{node},\nprograms: {{ p: [{{ repeat: 3 }}] }} }}"),
            "3:17 cannot do `repeat` without `do`",
        ),
        (
            format!("{{\n{node},\nprograms: {{ p: ['run q'] }} }}"),
            "3:17 cannot find the program `q`",
        ),
        (
            format!("{{\n{node},\nproperties: [{{ never: 'database x is lossy' }}] }}"),
            "3:23 cannot judge the database \"x\": there is none",
        ),
        (
            format!("{{\n{node},\nproperties: [{{ within: 3 }}] }}"),
            "3:14 cannot judge a property that does not demand exactly one thing",
        ),
        (
            format!("{{\n{node},\nfaults: [{{ at: ['2s', '1s'], do: 'stop' }}] }}"),
            "3:16 cannot use this as `at` of a fault: it ends before it begins",
        ),
        (
            format!("{{\n{node},\nconsul: {{ agents: 'each' }} }}"),
            "3:9 cannot use `consul`: no configuration has a service, a watch or a lock",
        ),
        (format!("{{\n{node},\nconsul: {{ agents: 'eech' }} }}"), "3:19 cannot use \"eech\""),
        (
            "{\nnodes: { a: { config: { jobs: [{ name: 'app', exce: 'true' }] } } } }".to_owned(),
            "2:47 cannot use the key `exce`",
        ),
    ];
    for (text, expected) in cases {
        let refusals = refusals(&text);
        assert!(refusals.iter().any(|it| it.starts_with(expected)), "{text}\n{refusals:#?}");
    }
}

#[test]
fn example_is_searched_written_down_and_repeated() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).to_str().expect("a plain path").to_owned();
    let (trace, html) = (at("shop.trace"), at("shop.html"));
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(SHOP);
    let (status, out, err) = search(&example, |options| {
        options.trace = Some(trace.clone());
        options.html = Some(html.clone());
        options.check_determinism = true;
    });
    assert_eq!(status, FAILED, "{out}{err}");
    assert!(out.contains("can never start: restore has ended"), "{out}");
    assert!(fs::read_to_string(&html).expect("a page").len() < 100_000);

    let repeated = |trace: &str| {
        let options = ReplayOptions::of(trace);
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let status = repeat(&options, &mut out, &mut err).expect("memory to write to");
        (status, String::from_utf8_lossy(&out).into_owned() + &String::from_utf8_lossy(&err))
    };
    let (status, text) = repeated(&trace);
    assert_eq!(status, Some(GOOD), "{text}");
    assert!(text.contains("every effect and digest as recorded"), "{text}");

    let recorded = fs::read_to_string(&trace).expect("a trace");
    let last = recorded.trim_end().rfind("\"digest\":\"").expect("a digest") + 10;
    let mut other = recorded.clone();
    other.replace_range(last..last + 16, "0000000000000000");
    fs::write(&trace, other).expect("a folder");
    let (status, text) = repeated(&trace);
    assert_eq!(status, Some(FAILED));
    let line = format!("line {} goes another way", recorded.lines().count());
    assert!(text.contains(&line), "{text}");

    fs::write(&trace, recorded.replacen("\"format\":1", "\"format\":9", 1)).expect("a folder");
    let (status, text) = repeated(&trace);
    assert_eq!(status, Some(REFUSED));
    assert!(text.contains("the trace has format 9, this program reads 1"), "{text}");
}

#[test]
fn repaired_example_holds() {
    let folder = tempfile::tempdir().expect("a folder");
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(SHOP);
    let text = fs::read_to_string(example).expect("the example");
    let repaired = text
        .replace("once: \"exitSuccess\"", "once: \"stopped\"")
        .replace("restarts: 3", "restarts: \"unlimited\"");
    assert_ne!(text, repaired);
    let file = folder.path().join("shop.json5");
    fs::write(&file, repaired).expect("a folder");
    let (status, out, err) = search(&file, |_| {});
    assert_eq!(status, GOOD, "{out}{err}");
}

#[test]
fn result_is_the_same_however_many_search() {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(SHOP);
    let print = |jobs| {
        let (_, out, _) = search(&example, |options| {
            options.jobs = jobs;
            options.json = true;
        });
        let at = out.find("\"fingerprint\"").expect("a fingerprint");
        out[at..at + 33].to_owned()
    };
    assert_eq!(print(1), print(3));
}

#[test]
fn what_is_never_reached_fails_the_search() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("s.json5");
    let text =
        "{ nodes: { a: { config: { jobs: [{ name: 'app', exec: 'true' }] } } }, swarm: 'none',
        properties: [{ sometimes: 'app is healthy' }] }";
    fs::write(&file, text).expect("a folder");
    let (status, out, _) = search(&file, |_| {});
    assert_eq!(status, FAILED);
    assert!(out.contains("never reached: sometimes app is healthy"), "{out}");
}
