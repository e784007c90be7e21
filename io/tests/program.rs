//! The program as a user runs it: command line, control plane, recording.
//!
//! - what needs no supervisor: version, help, check, render, schema, completions
//! - the control plane from the command line, with flags of v3 and with subcommands
//! - clients that stall, storms of reloads, second supervisors, killed supervisors
//! - a recorded run and its replay
#![expect(clippy::unwrap_used, reason = "a test")]

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

/// How long anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(60);

fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        std::thread::yield_now();
    }
}

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_steersman"));
    command.env_remove("CONTAINERPILOT").stdin(Stdio::null());
    command
}

fn output(arguments: &[&str]) -> Output {
    program().args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// A directory with a configuration, and perhaps a supervisor that runs it.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    /// `rest` follows the control socket in the configuration.
    fn new(rest: &str) -> Place {
        let place = Place { directory: tempfile::tempdir().unwrap() };
        place.configure(rest);
        place
    }

    fn configure(&self, rest: &str) {
        let socket = self.path("socket");
        let socket = socket.display();
        let config = format!("{{ control: {{ socket: \"{socket}\" }},\n{rest} }}");
        fs::write(self.path("config.json5"), config).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text_path(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn config(&self) -> String {
        self.text_path("config.json5")
    }

    fn start(&self, arguments: &[&str]) -> Supervisor<'_> {
        let log = fs::File::create(self.path("log")).unwrap();
        let child = program()
            .args(["-config", &self.config()])
            .args(arguments)
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut supervisor = Supervisor { place: self, child: Some(child) };
        until("it answers", || {
            let child = supervisor.child.as_mut().unwrap();
            assert_eq!(child.try_wait().unwrap(), None, "{}", self.log());
            self.ask(&["-ping"]).status.success().then_some(())
        });
        supervisor
    }

    /// Asks the supervisor that the configuration names.
    fn ask(&self, arguments: &[&str]) -> Output {
        program().args(arguments).env("CONTAINERPILOT", self.config()).output().unwrap()
    }

    fn ask_well(&self, arguments: &[&str]) -> String {
        let output = self.ask(arguments);
        let said = format!("{} {}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {said}\n{}", self.log());
        String::from_utf8(output.stdout).unwrap()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn wait_for_line(&self, line: &str) {
        until(line, || self.log().contains(line).then_some(()));
    }

    fn status_of(&self, job: &str) -> Value {
        let status: Value = serde_json::from_str(&self.ask_well(&["status", "--json"])).unwrap();
        let jobs = status["jobs"].as_array().unwrap();
        jobs.iter().find(|found| found["name"] == job).unwrap().clone()
    }
}

struct Supervisor<'a> {
    place: &'a Place,
    child: Option<Child>,
}

impl Supervisor<'_> {
    fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    fn wait(mut self) -> ExitStatus {
        let mut child = self.child.take().unwrap();
        until("it ends", || child.try_wait().unwrap())
    }

    fn stop(self) {
        self.signal(Signal::SIGTERM);
        let log = self.place;
        let status = self.wait();
        assert!(status.success(), "{status}: {}", log.log());
    }
}

impl Drop for Supervisor<'_> {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

const SLEEPER: &str =
    r#"jobs: [{ name: "app", exec: ["sh", "-c", "echo value=$FOO; exec sleep 1000"] }]"#;

#[test]
fn version_has_the_two_lines_of_v3() {
    for flag in ["-version", "--version"] {
        let output = output(&[flag]);
        assert!(output.status.success());
        let lines: Vec<_> = text(&output.stdout).lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0], format!("Version: {}", env!("CARGO_PKG_VERSION")));
        assert!(lines[1].starts_with("GitHash: "), "{lines:?}");
    }
}

#[test]
fn help_names_every_command() {
    for arguments in [&["-help"][..], &["--help"], &["-h"], &["help"], &["run", "-help"]] {
        let output = output(arguments);
        assert!(output.status.success(), "{arguments:?}");
        let help = text(&output.stdout);
        for name in ["check", "render", "status", "replay", "--putenv", "--config"] {
            assert!(help.contains(name), "{arguments:?}: {name}");
        }
    }
}

#[test]
fn wrong_usage_ends_with_status_two_and_a_reason() {
    for arguments in [&[][..], &["-nope"], &["nope"], &["status"], &["-config"], &["signal", "app"]]
    {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let said = text(&output.stderr);
        assert!(said.starts_with("steersman: cannot "), "{arguments:?}: {said}");
    }
}

#[test]
fn check_tells_good_from_bad() {
    let place = Place::new(SLEEPER);
    let output = program().args(["check", &place.config()]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("config.json5: good"));
    place.configure("jobz: []");
    let output = place.ask(&["check", "--format", "json"]);
    assert_eq!(output.status.code(), Some(2));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report[0]["good"], false);
    assert_eq!(report[0]["errors"][0]["line"], 2);
    let output = program().args(["check", "/does/not/exist"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn template_is_rendered_as_v3_did() {
    let place = Place::new(r#"jobs: [{ name: "{{ .NAME | default "app" }}", exec: "true" }]"#);
    let rendered = place.ask_well(&["-template"]);
    assert!(rendered.contains(r#"name: "app""#), "{rendered}");
    let out = place.text_path("out");
    let output = program()
        .args(["-config", &place.config(), "-template", "-out", &out])
        .env("NAME", "x=y")
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(fs::read_to_string(&out).unwrap().contains(r#"name: "x=y""#));
    assert_eq!(rendered, place.ask_well(&["render", &place.config(), "--out", "-"]));
}

#[test]
fn schema_and_completions_are_shown() {
    let schema: Value = serde_json::from_slice(&output(&["schema"]).stdout).unwrap();
    assert!(schema["properties"]["jobs"].is_object(), "{schema}");
    for shell in ["bash", "zsh", "fish"] {
        let output = output(&["completions", shell]);
        assert!(output.status.success());
        assert!(text(&output.stdout).contains("maintenance"), "{shell}");
    }
}

#[test]
fn variable_that_is_put_reaches_the_next_process() {
    let place = Place::new(SLEEPER);
    let supervisor = place.start(&[]);
    place.wait_for_line("value=");
    assert_eq!(place.ask_well(&["-putenv", "FOO=a=b c"]), "changed: FOO\n");
    let before = place.status_of("app");
    assert_eq!(place.ask_well(&["restart", "app"]), "changed: app\n");
    place.wait_for_line("value=a=b c");
    let after = until("it runs again", || {
        let now = place.status_of("app");
        (now["phase"] == "running" && now["pid"] != before["pid"]).then_some(now)
    });
    assert_eq!(after["runs"], 2);
    let refused = place.ask(&["putenv", "FOO=x", "--socket", "/does/not/exist"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).starts_with("steersman: cannot connect"), "{refused:?}");
    supervisor.stop();
}

#[test]
fn metrics_are_put_and_shown() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let port = free.port();
    let place = Place::new(&format!(
        r#"{SLEEPER}, telemetry: {{ port: {port}, interfaces: ["static:127.0.0.1"],
            metrics: [{{ subsystem: "app", name: "hits", help: "h", type: "counter" }}] }}"#
    ));
    let supervisor = place.start(&[]);
    assert_eq!(place.ask_well(&["-putmetric", "app_hits=2"]), "changed: app_hits\n");
    place.ask_well(&["putmetric", "app_hits=3"]);
    for (pair, reason) in [("nope=1", "nope"), ("app_hits=-1", "app_hits")] {
        let refused = place.ask(&["putmetric", pair]);
        assert_eq!(refused.status.code(), Some(1));
        let said = text(&refused.stderr);
        assert!(said.starts_with("steersman: cannot ") && said.contains(reason), "{said}");
    }
    let page = get(free, "/metrics");
    for line in ["app_hits 5", "containerpilot_events{code=\"Startup\",source=\"global\"} 1"] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
    let status: Value = serde_json::from_str(&get(free, "/status")).unwrap();
    assert_eq!(status["Jobs"][0]["Name"], "app", "{status}");
    supervisor.stop();
}

fn get(address: std::net::SocketAddr, path: &str) -> String {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: t\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split_once("\r\n\r\n").unwrap().1.to_owned()
}

#[test]
fn reload_applies_what_changed_and_leaves_the_rest_alone() {
    let place = Place::new(SLEEPER);
    let supervisor = place.start(&[]);
    let before = until("it runs", || Some(place.status_of("app")).filter(|it| it["pid"].is_u64()));
    let second = r#"{ name: "second", exec: "sleep 1000" }"#;
    place.configure(&SLEEPER.replace("}]", &format!("}}, {second}]")));
    assert_eq!(place.ask_well(&["-reload"]), "reloaded: added second; 1 unchanged\n");
    assert_eq!(place.status_of("app")["pid"], before["pid"]);
    place.configure("jobs: [{ name: \"app\", exec: \"true\", nope: 1 }]");
    let refused = place.ask(&["reload"]);
    assert_eq!(refused.status.code(), Some(1));
    let said = text(&refused.stderr);
    assert!(said.contains("cannot use the new configuration") && said.contains("nope"), "{said}");
    assert_eq!(place.status_of("second")["phase"], "running");
    supervisor.stop();
}

#[test]
fn warnings_about_a_configuration_are_logged_when_it_comes_into_force() {
    let with =
        |end: &str| SLEEPER.replace("}]", &format!("}}, {{ name: 'b', exec: 'true {end}' }}]"));
    let place = Place::new(&with("&"));
    let supervisor = place.start(&[]);
    let line = String::from("cannot give `&` a meaning in `exec` of job \"b\"");
    place.wait_for_line(&line);
    place.configure(&with("|"));
    place.ask_well(&["reload"]);
    place.wait_for_line(&line.replace('&', "|"));
    assert_eq!(place.log().matches("a meaning").count(), 2, "{}", place.log());
    supervisor.stop();
}

#[test]
fn maintenance_and_signals_reach_jobs() {
    let place = Place::new(
        r#"jobs: [
            { name: "app", exec: ["sh", "-c",
                "trap 'echo hangup' HUP; echo up; while :; do sleep 0.05; done"] },
            { name: "enter", exec: "echo entered",
                when: { source: "containerpilot", once: "enterMaintenance" } },
        ]"#,
    );
    let supervisor = place.start(&[]);
    place.wait_for_line("up");
    place.ask_well(&["signal", "app", "SIGHUP"]);
    place.wait_for_line("hangup");
    assert_eq!(place.ask_well(&["-maintenance", "enable"]), "maintenance is on\n");
    place.wait_for_line("entered");
    assert_eq!(place.ask_well(&["maintenance", "enable"]), "maintenance is on already\n");
    assert_eq!(place.ask_well(&["-maintenance=disable"]), "maintenance is off\n");
    let refused = place.ask(&["signal", "nope", "HUP"]);
    assert!(text(&refused.stderr).contains("cannot find a job named \"nope\""), "{refused:?}");
    supervisor.stop();
}

#[test]
fn events_are_followed_until_the_end() {
    let place = Place::new(SLEEPER);
    let supervisor = place.start(&[]);
    let mut reader = program()
        .args(["events", "--json", "--socket", &place.text_path("socket")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stream = reader.stdout.take().unwrap();
    let lines = std::thread::spawn(move || {
        let mut text = String::new();
        let _ = stream.read_to_string(&mut text);
        text
    });
    until("somebody listens", || {
        place.ask_well(&["restart", "app"]);
        let trace = place.ask_well(&["trace"]);
        trace.contains("restartJob").then_some(())
    });
    supervisor.stop();
    let status = until("the reader ends", || reader.try_wait().unwrap());
    assert!(status.success(), "{status}");
    let lines = lines.join().unwrap();
    let event = lines.lines().find(|line| line.contains("\"shutdown\"")).expect("a last event");
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!(event["source"], "global");
}

#[test]
fn clients_that_stall_and_storms_of_reloads_do_not_delay_the_end() {
    let place = Place::new(SLEEPER);
    let supervisor = place.start(&[]);
    let mut stalled = Vec::new();
    for text in ["POST /v3/rel", "GET /v3/events HTTP/1.1\r\nHost: c\r\n\r\n", ""] {
        for _ in 0..10 {
            let mut stream = UnixStream::connect(place.path("socket")).unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            stalled.push(stream);
        }
    }
    let mut storm = Vec::new();
    for _ in 0..300 {
        let stream = UnixStream::connect(place.path("socket"));
        let Ok(mut stream) = stream else { continue };
        stream
            .write_all(b"POST /v3/reload HTTP/1.1\r\nHost: c\r\nContent-Length: 0\r\n\r\n")
            .unwrap();
        storm.push(stream);
    }
    supervisor.signal(Signal::SIGTERM);
    let begin = Instant::now();
    let status = supervisor.wait();
    assert!(status.success(), "{status}");
    // Nothing in it waits for a client: the header patience alone is 5 s.
    assert!(begin.elapsed() < Duration::from_secs(4), "{:?}", begin.elapsed());
    assert!(!place.path("socket").exists());
}

#[test]
fn second_supervisor_leaves_the_first_alone() {
    let place = Place::new(SLEEPER);
    let supervisor = place.start(&[]);
    let second = output(&["-config", &place.config()]);
    assert_eq!(second.status.code(), Some(2));
    let said = text(&second.stderr);
    assert!(said.contains("another supervisor answers there"), "{said}");
    place.ask_well(&["-ping"]);
    supervisor.stop();
}

#[test]
fn killed_supervisor_leaves_a_socket_that_the_next_takes_over() {
    let place = Place::new(SLEEPER);
    let supervisor = place.start(&[]);
    supervisor.signal(Signal::SIGKILL);
    supervisor.wait();
    assert!(place.path("socket").exists());
    let refused = place.ask(&["-ping"]);
    assert_eq!(refused.status.code(), Some(1));
    place.start(&[]).stop();
}

/// Runs jobs that end in every way, with requests in between, and gives the trace.
fn recorded_run(place: &Place, arguments: &[&str]) -> String {
    let supervisor = place.start(&[&["-record", &place.text_path("trace")], arguments].concat());
    place.wait_for_line("flaky 3");
    place.ask_well(&["-putenv", "TOKEN=swordfish"]);
    place.ask_well(&["restart", "app"]);
    place.ask_well(&["-reload"]);
    place.ask_well(&["-maintenance", "enable"]);
    place.ask_well(&["-maintenance", "disable"]);
    until("it is healthy", || (place.status_of("app")["health"] == "healthy").then_some(()));
    supervisor.stop();
    fs::read_to_string(place.path("trace")).unwrap()
}

const BUSY: &str = r#"jobs: [
    { name: "app", exec: ["sh", "-c", "sleep 1000 & exec sleep 1000"], restarts: "unlimited",
      env: { PASSWORD: "hunter2" }, health: { exec: "true", interval: 1, ttl: 10 } },
    { name: "setup", exec: ["sh", "-c", "echo set up; exit 3"] },
    { name: "after", exec: "echo after", when: { source: "setup", once: "exitFailed" } },
    { name: "flaky", restarts: 3, exec: ["sh", "-c",
      "n=$(cat FILE); n=$((n+1)); echo $n > FILE; echo flaky $n; kill -9 $$"] },
    { name: "often", exec: "true", when: { interval: "50ms" } },
    { name: "missing", exec: "/does/not/exist" },
    { name: "farewell", exec: "echo farewell", when: { source: "app", once: "stopping" } },
]"#;

fn busy_place() -> Place {
    let place = Place::new("");
    fs::write(place.path("count"), "0").unwrap();
    place.configure(&BUSY.replace("FILE", &place.text_path("count")));
    place
}

#[test]
fn recorded_run_replays_with_equal_effects_and_digests() {
    let place = busy_place();
    let trace = recorded_run(&place, &[]);
    let file = place.text_path("trace");
    let answer: Value =
        serde_json::from_slice(&output(&["replay", &file, "--json"]).stdout).unwrap();
    assert_eq!(answer["outcome"], "same", "{answer}");
    assert_eq!(answer["end"], "over");
    assert_eq!(answer["steps"], trace.lines().count() - 2);
    for part in ["\"exited\"", "\"startFailed\"", "\"loaded\"", "\"putEnv\"", "\"exit\""] {
        assert!(trace.contains(part), "the run has no {part}");
    }
    for secret in ["swordfish", "hunter2"] {
        assert!(!trace.contains(secret), "{secret}");
    }
}

#[test]
fn tampered_trace_differs_at_its_line_and_broken_ones_are_refused() {
    let place = busy_place();
    let trace = recorded_run(&place, &["-record-secrets"]);
    assert!(trace.contains("swordfish"));
    let file = place.text_path("changed");
    let replay = |text: &str| {
        fs::write(&file, text).unwrap();
        let output = output(&["replay", &file]);
        let said = format!("{}{}", text_of(&output.stdout), text_of(&output.stderr));
        (output.status.code(), said)
    };
    assert_eq!(replay(&trace).0, Some(0));
    let lines: Vec<&str> = trace.lines().collect();
    let number = lines.iter().position(|line| line.contains("\"code\":3")).unwrap();
    let changed = trace.replacen("\"code\":3", "\"code\":0", 1);
    let (status, said) = replay(&changed);
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains(&format!("differs at line {}", number + 1)), "{said}");
    assert!(said.contains("recorded: ") && said.contains("replayed: "), "{said}");
    for (text, reason) in [
        (trace[..trace.len() / 2].to_owned(), "the file ends in the middle of it"),
        (trace.replacen("\"format\":1", "\"format\":2", 1), "the trace has format 2"),
        ("{}\n".to_owned(), "line 1: this is no steersman trace"),
        (String::new(), "an empty file"),
    ] {
        let (status, said) = replay(&text);
        assert_eq!(status, Some(2), "{said}");
        assert!(said.contains(&file) && said.contains(reason), "{said}");
    }
    let output = output(&["replay", "/does/not/exist"]);
    assert_eq!(output.status.code(), Some(2));
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn trace_of_memory_is_asked_for_and_replayed() {
    let place = busy_place();
    let supervisor = place.start(&[]);
    place.wait_for_line("flaky 3");
    let file = place.text_path("memory");
    place.ask_well(&["trace", "--out", &file]);
    let output = output(&["replay", &file]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("in the middle of the run"));
    supervisor.stop();
}

#[test]
fn trace_of_memory_replays_when_the_beginning_was_dropped() {
    let place = Place::new(
        r#"jobs: [{ name: "often", exec: "true", env: { PASSWORD: "hunter2" },
            when: { interval: "5ms" } }]"#,
    );
    let supervisor = place.start(&["-record-ring", "16384"]);
    let file = place.text_path("memory");
    let replayed = until("steps are dropped", || {
        place.ask_well(&["trace", "--out", &file]);
        let output = output(&["replay", &file, "--json"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        (found["dropped"].as_u64() > Some(100)).then_some(found)
    });
    assert_eq!(replayed["outcome"], "same");
    assert!(replayed["steps"].as_u64() > Some(10), "{replayed}");
    assert!(!fs::read_to_string(&file).unwrap().contains("hunter2"));
    supervisor.stop();
}

/// The development Consul, on a port of its own.
#[cfg(feature = "sim")]
struct Consul {
    child: Child,
    address: String,
}

#[cfg(feature = "sim")]
impl Consul {
    fn start() -> Consul {
        use std::io::{BufRead, BufReader};
        let mut command = program();
        command.args(["consul", "--listen", "127.0.0.1:0"]).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().rsplit(' ').next().unwrap().to_owned();
        Consul { child, address }
    }
}

#[cfg(feature = "sim")]
impl Drop for Consul {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(feature = "sim")]
#[test]
fn recorded_run_with_services_watches_and_locks_replays() {
    let consul = Consul::start();
    let address = &consul.address;
    let place = Place::new(&format!(
        r#"consul: "{address}",
        jobs: [
            {{ name: "web", exec: "sleep 1000", port: 80, interfaces: "static:127.0.0.1",
               health: {{ exec: "true", interval: 1, ttl: 5 }} }},
            {{ name: "greet", exec: "echo web is there",
               when: {{ source: "watch.web", each: "healthy" }} }},
            {{ name: "leader", exec: "sleep 1000", while: "lock.primary" }},
        ],
        watches: [{{ name: "web", interval: 1 }}],
        locks: [{{ name: "primary", key: "svc/primary" }}]"#
    ));
    let supervisor = place.start(&["-record", &place.text_path("trace")]);
    place.wait_for_line("web is there");
    let table = place.ask_well(&["status"]);
    assert!(table.contains("LOCK") && table.contains("primary"), "{table}");
    assert!(table.contains("WATCH") && table.contains("web"), "{table}");
    let memory = place.text_path("memory");
    place.ask_well(&["trace", "--out", &memory]);
    supervisor.stop();
    for file in [memory, place.text_path("trace")] {
        let output = output(&["replay", &file]);
        let said = format!("{}{}", text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{said}");
    }
    let trace = fs::read_to_string(place.path("trace")).unwrap();
    for part in ["watchChanged", "sessionCreate", "\"register\"", "\"deregister\""] {
        assert!(trace.contains(part), "the run has no {part}");
    }
}

#[test]
fn recording_that_cannot_begin_keeps_the_run_from_beginning() {
    let place = Place::new(SLEEPER);
    let output = output(&["-config", &place.config(), "-record", "/does/not/exist/trace"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot record to /does/not/exist/trace"));
    assert!(!Path::new(&place.text_path("socket")).exists());
}
