//! `steersman sim` and `steersman replay` as a user runs them: what they refuse and how they say
//! so, what they write, and a recorded run of real processes as a page.
//!
//! - scenarios and properties that make no sense, and worlds that never settle
//! - seeds, shares and files that cannot be
//! - traces that were cut, edited, or are none
//! - results for tools, schemas, and the story of a recording
#![cfg(feature = "sim")]
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A folder, and the program run in it.
struct Folder(tempfile::TempDir);

/// What a command did: status, standard output, standard error.
type Did = (i32, String, String);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(name), text).unwrap();
    }

    fn run(&self, arguments: &[&str]) -> Did {
        let mut command = Command::new(env!("CARGO_BIN_EXE_steersman"));
        command.env_remove("CONTAINERPILOT").stdin(Stdio::null()).current_dir(self.0.path());
        let output = command.args(arguments).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// Searches a scenario with one node `a` and one job `app`, and more lines of its own.
    fn search(&self, lines: &str, arguments: &[&str]) -> Did {
        self.put("s.json5", format!("{{\n{NODE},\n{lines}\n}}"));
        self.run(&[&["sim", "s.json5", "--seeds", "20"], arguments].concat())
    }
}

const NODE: &str = "nodes: { a: { config: { jobs: [{ name: 'app', exec: 'true' }] } } }";
const BROKEN: &str = "swarm: 'none', properties: [{ never: 'app is running' }]";

#[test]
fn scenarios_that_make_no_sense_are_refused_with_file_line_and_column() {
    let folder = Folder::new();
    for (lines, place, message) in [
        ("fault: []", "3:1", "cannot use the key `fault`"),
        ("swarm: ['crush']", "3:9", "cannot draw \"crush\""),
        ("processes: { ap: {} }", "3:14", "cannot find a job that fits"),
        ("properties: [{ never: 'app is runing' }]", "3:31", "cannot find the state `runing`"),
        ("properties: [{ sometimes: 'web is running' }]", "3:27", "nothing is called that"),
        ("properties: [{ within: 3 }]", "3:14", "exactly one thing"),
        (
            "properties: [{ eventually: 'app is running', within: '2h' }]",
            "3:28",
            "it may take 7200 s, and a run has only",
        ),
        (
            "properties: [{ never: 'app is running', longerThan: '2h' }]",
            "3:23",
            "it may take 7200 s, and a run has only",
        ),
        (
            "properties: [{ never: 'app is running' },\n{ sometimes: 'app is running' }]",
            "4:14",
            "what one demands the other forbids",
        ),
        (
            "properties: [{ always: 'app is running' }, { always: 'no app is running' }]",
            "3:54",
            "what one demands the other forbids",
        ),
        (
            "properties: [{ name: 'x', never: 'app is failed' },\n\
             { name: 'x', always: 'app is alive' }]",
            "4:22",
            "cannot name two properties \"x\"",
        ),
        ("limits: { settle: 'soon' }", "3:19", "cannot"),
        ("faults: [{ at: ['2s', '1s'], do: 'stop' }]", "3:16", "it ends before it begins"),
        ("faults: [{ at: '1s', do: 'explode' }]", "3:26", "cannot"),
        ("title: 'unfinished", "3:8", "cannot"),
    ] {
        let (status, out, err) = folder.search(lines, &[]);
        assert_eq!(status, 2, "{lines}\n{out}{err}");
        let place = format!("s.json5:{place}");
        assert!(err.contains(&place) && err.contains(message), "{lines}: {place}\n{err}");
        assert_eq!(out, "", "{lines}");
    }
}

#[test]
fn files_that_are_no_scenarios_are_refused_by_name() {
    let folder = Folder::new();
    fs::create_dir(folder.path("folder.json5")).unwrap();
    folder.put("rubbish.json5", [0xff, 0xfe, 0x00, 0x80]);
    folder.put("empty.json5", "");
    folder.put("points-away.json5", "{ nodes: { a: { config: 'gone.json5' } } }");
    for (file, said) in [
        ("gone.json5", "cannot read gone.json5: there is no such file or folder"),
        ("folder.json5", "cannot read folder.json5: it is a folder"),
        ("rubbish.json5", "cannot read rubbish.json5: it is no text"),
        ("empty.json5", "empty.json5:1:1"),
        ("points-away.json5", "points-away.json5:1:25"),
    ] {
        let (status, out, err) = folder.run(&["sim", file]);
        assert_eq!(status, 2, "{file}: {out}{err}");
        assert!(err.contains(said), "{file}: {err}");
    }
}

#[test]
fn worlds_that_never_settle_end_and_say_what_keeps_them_busy() {
    let folder = Folder::new();
    let restless =
        NODE.replace("exec: 'true'", "exec: 'true', restarts: 'unlimited', backoff: 'none'");
    folder.put(
        "storm.json5",
        format!("{{ {restless}, swarm: 'none', processes: {{ app: {{ run: '2ms' }} }} }}"),
    );
    let (status, out, err) = folder.run(&["sim", "storm.json5", "--seeds", "3"]);
    assert_eq!(status, 1, "{out}{err}");
    assert!(out.contains("broken: no livelock"), "{out}");
    assert!(out.contains("comes back to the same state again and again"), "{out}");
}

#[test]
fn seeds_and_shares_that_cannot_be_are_wrong_usage() {
    let folder = Folder::new();
    folder.put("c.json5", "{ jobs: [{ name: 'app', exec: 'true' }] }");
    let run = |arguments: &[&str]| folder.run(&[&["sim", "c.json5"], arguments].concat());
    for seeds in ["0", "none", "1e3", "5..", "..5", "9..3", "7..7", "-4..2", "99999999999999999999"]
    {
        let (status, _, err) = run(&[&format!("--seeds={seeds}")]);
        assert_eq!(status, 2, "{seeds}");
        assert!(err.starts_with("steersman: cannot "), "{seeds}: {err}");
    }
    for (arguments, said) in [
        (&["--shard=0/4"][..], "cannot read \"0/4\" for --shard"),
        (&["--shard=5/4"], "cannot read \"5/4\" for --shard"),
        (&["--shard=half"], "cannot read \"half\" for --shard"),
        (&["--jobs=0"], "cannot search with --jobs 0"),
        (&["--jobs=many"], "cannot read \"many\" for --jobs"),
        (&["--strategy=magic"], "invalid value 'magic'"),
    ] {
        let (status, _, err) = run(arguments);
        assert_eq!(status, 2, "{arguments:?}");
        assert!(err.contains(said), "{arguments:?}: {err}");
    }
    let (status, _, err) = folder.run(&["sim"]);
    assert_eq!(status, 2, "{err}");
}

#[test]
fn shares_of_a_search_are_together_the_whole() {
    let folder = Folder::new();
    folder.put("c.json5", "{ jobs: [{ name: 'app', exec: 'true' }] }");
    let found = |shard: &str| -> Value {
        let (_, out, err) = folder.run(&["sim", "c.json5", "--seeds=5..35", "--json", shard]);
        serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"))
    };
    let print =
        |found: &Value| u64::from_str_radix(found["fingerprint"].as_str().unwrap(), 16).unwrap();
    let whole = found("--shard=1/1");
    let shares = [found("--shard=1/3"), found("--shard=2/3"), found("--shard=3/3")];
    assert_eq!(whole["runs"], 30);
    assert!(shares.iter().all(|share| share["runs"] == 10));
    let sum = shares.iter().map(print).fold(0, u64::wrapping_add);
    assert_eq!(sum, print(&whole), "the shares ran something else");
}

#[test]
fn files_that_cannot_be_written_are_refused_before_the_search() {
    let folder = Folder::new();
    fs::create_dir(folder.path("folder")).unwrap();
    for (arguments, said) in [
        (&["--html", "gone/out.html"][..], "cannot write gone/out.html: there is no such"),
        (&["--trace", "folder"], "cannot write folder: it is a folder"),
        (&["--html", "/proc/out.html"], "cannot write /proc/out.html: "),
        (&["--html", "out", "--trace", "out"], "cannot write the page and the trace to one file"),
    ] {
        let (status, out, err) = folder.search(BROKEN, arguments);
        assert_eq!(status, 2, "{arguments:?}: {out}{err}");
        assert!(err.contains(said), "{arguments:?}: {err}");
        assert_eq!(out, "", "the search was made in vain: {arguments:?}");
    }
    let (status, _, err) = folder.search("swarm: 'none'", &["--html", "out.html"]);
    assert_eq!(status, 0, "{err}");
    assert!(!folder.path("out.html").exists(), "a page of nothing");
}

#[test]
fn several_breaches_and_scenarios_get_pages_of_their_own() {
    let folder = Folder::new();
    folder.put("one.json5", format!("{{ title: 'the first', {NODE}, {BROKEN} }}"));
    folder.put("two.json5", format!("{{ title: 'the second', {NODE}, {BROKEN} }}"));
    let files = ["sim", "one.json5", "two.json5", "--seeds=5", "--html=out.html", "--trace=t"];
    let (status, out, err) = folder.run(&files);
    assert_eq!(status, 1, "{out}{err}");
    let page = |name| fs::read_to_string(folder.path(name)).unwrap();
    assert!(page("out.html").contains("<title>the first"));
    assert!(page("out-2.html").contains("<title>the second"));
    for (trace, title) in [("t", "the first"), ("t-2", "the second")] {
        let (status, out, err) = folder.run(&["replay", trace]);
        assert_eq!(status, 0, "{out}{err}");
        assert!(
            out.contains(title) && out.contains("every effect and digest as recorded"),
            "{out}"
        );
    }
}

/// Makes of a trace that of a program whose states are others.
fn other_digests(trace: &str) -> String {
    let mut other = trace.to_owned();
    for key in ["\"fingerprint\":\"", "\"digest\":\""] {
        let at = other.rfind(key).unwrap() + key.len();
        other.replace_range(at..at + 16, "0123456789abcdef");
    }
    other
}

#[test]
fn traces_that_were_cut_or_edited_or_are_none_are_told_apart() {
    let folder = Folder::new();
    let (status, ..) = folder.search(BROKEN, &["--trace", "good"]);
    assert_eq!(status, 1);
    let good = fs::read_to_string(folder.path("good")).unwrap();
    let lines: Vec<&str> = good.lines().collect();
    let count = lines.len();
    let without_last = good.len() - lines[count - 1].len() - 1;
    fs::create_dir(folder.path("a-folder")).unwrap();
    for (name, text, status, said) in [
        (
            "half",
            good.as_bytes()[..good.len() - 9].to_vec(),
            2,
            format!("cannot read line {count}"),
        ),
        (
            "short",
            good.as_bytes()[..without_last].to_vec(),
            2,
            format!("cannot read line {count}: the trace ends, and 1 more steps belong to it"),
        ),
        ("header", lines[0].as_bytes()[..40].to_vec(), 2, String::from("line 1")),
        ("empty", Vec::new(), 2, String::from("cannot")),
        ("rubbish", vec![0xff, 0, 0x9f, 0x92, b'\n', 0xff], 2, String::from("line 1")),
        ("text", b"hello\nworld\n".to_vec(), 2, String::from("line 1")),
        (
            "newer",
            good.replacen("\"format\":1", "\"format\":7", 1).into_bytes(),
            2,
            String::from("the trace has format 7, this program reads 1"),
        ),
        (
            "edited",
            good.replacen("\"pid\":", "\"pid\":1", 1).into_bytes(),
            1,
            String::from("the file was changed since"),
        ),
        (
            "other-run",
            other_digests(&good).into_bytes(),
            1,
            format!("recorded by steersman {}, replayed by", env!("CARGO_PKG_VERSION")),
        ),
    ] {
        folder.put(name, text);
        let (found, out, err) = folder.run(&["replay", name]);
        assert_eq!(found, status, "{name}: {out}{err}");
        assert!((out.clone() + &err).contains(&said), "{name}: {out}{err}");
    }
    let (status, _, err) = folder.run(&["replay", "gone"]);
    assert_eq!((status, err.contains("cannot read gone: there is no such")), (2, true), "{err}");
    let (status, _, err) = folder.run(&["replay", "a-folder"]);
    assert_eq!((status, err.contains("cannot read a-folder: it is a folder")), (2, true), "{err}");
    let (status, _, err) = folder.run(&["replay", "good", "--html", "gone/x.html"]);
    assert_eq!((status, err.contains("cannot write gone/x.html")), (2, true), "{err}");
}

#[test]
fn difference_names_time_node_and_effect() {
    let folder = Folder::new();
    folder.search(BROKEN, &["--trace", "t"]);
    let text = fs::read_to_string(folder.path("t")).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let last = lines.len() - 1;
    let mut step: Value = serde_json::from_str(&lines[last]).unwrap();
    let at = step["at"].as_u64().unwrap() / 1_000_000;
    step["effects"].as_array_mut().unwrap().push(Value::from("made up"));
    let count = step["effects"].as_array().unwrap().len();
    lines[last] = step.to_string();
    folder.put("t", lines.join("\n") + "\n");
    let (status, out, _) = folder.run(&["replay", "t"]);
    assert_eq!(status, 1);
    let place = format!("step {last}, 0.{at:03} s on a: effect {count} differs");
    assert!(out.contains(&place), "{place}\n{out}");
    let (_, out, _) = folder.run(&["replay", "t", "--json"]);
    let found: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(found["place"], place);
    assert_eq!(found["same"], false);
    assert_eq!(found["edited"], true);
}

#[test]
fn result_for_tools_has_the_documented_keys() {
    let book = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide/scenarios.md");
    let book = fs::read_to_string(book).unwrap();
    let folder = Folder::new();
    let (_, out, _) = folder.search(BROKEN, &["--json", "--trace=t", "--html=h"]);
    assert_eq!(out.lines().count(), 1, "one line a scenario");
    let found: Value = serde_json::from_str(&out).unwrap();
    let mut keys: Vec<String> = found.as_object().unwrap().keys().cloned().collect();
    let breach = found["breaches"][0].as_object().unwrap();
    keys.extend(breach.keys().map(|key| format!("breaches[].{key}")));
    for key in keys {
        assert!(
            book.contains(&format!("| `{key}` |")),
            "`{key}` is not in docs/guide/scenarios.md"
        );
    }
}

#[test]
fn schemas_of_configurations_and_scenarios_are_different() {
    let folder = Folder::new();
    let schema = |arguments: &[&str]| -> Value {
        let (status, out, _) = folder.run(arguments);
        assert_eq!(status, 0);
        serde_json::from_str(&out).unwrap()
    };
    let scenario = schema(&["schema", "--scenario"]);
    assert_eq!(scenario["title"], "steersman scenario");
    assert_eq!(scenario["required"][0], "nodes");
    assert!(schema(&["schema"])["properties"]["jobs"].is_object());
}

#[test]
fn story_has_no_colours_outside_a_terminal() {
    let folder = Folder::new();
    let (_, out, err) = folder.search(BROKEN, &["--trace=t"]);
    assert!(!out.contains('\u{1b}') && !err.contains('\u{1b}'), "{out}{err}");
    let (_, out, _) = folder.run(&["replay", "t"]);
    assert!(!out.contains('\u{1b}'), "{out}");
}

#[test]
fn recording_of_real_processes_becomes_a_story() {
    let folder = Folder::new();
    let config = "{ control: { socket: './socket' }, jobs: [
        { name: 'prepare', exec: 'true' },
        { name: 'app', exec: 'false', when: { source: 'prepare', once: 'exitSuccess' } },
        { name: 'after', exec: ['sh', '-c', 'exit 0'], when: { source: 'app', once: 'stopped' } },
    ] }";
    folder.put("c.json5", config);
    folder.run(&["-config", "c.json5", "-record", "run.trace"]);
    let (status, out, err) = folder.run(&["replay", "run.trace", "--story", "--html", "run.html"]);
    assert_eq!(status, 0, "{out}{err}");
    for told in ["prepare", "run 1 is started", "run 1 ended with status 1", "the supervisor ended"]
    {
        assert!(out.contains(told), "{told}\n{out}");
    }
    let page = fs::read_to_string(folder.path("run.html")).unwrap();
    assert!(page.contains("run.trace, as it was recorded"), "{page}");
    assert!(!page.contains("<script") && page.len() < 100_000);
    for lane in ["prepare", "app", "after"] {
        assert!(page.contains(&format!("title=\"job {lane}\"")), "{lane}");
    }
    let again = folder.path("again.html");
    folder.run(&["replay", "run.trace", "--html", again.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(again).unwrap(), page);
}
