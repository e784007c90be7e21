//! `steersman lock` as scripts use it, with a real Consul.
//!
//! - `command_has_token_and_status`: what the command gets, and what is left of it
//! - `contenders_never_overlap_and_tokens_grow`: five at a time
//! - `contender_gives_up_in_time`: `--try`
//! - `lost_lock_ends_the_whole_tree`: an operator destroys the session
//! - `killed_supervisor_takes_its_command_along`: nothing goes on without the lock

use std::fs;
use std::io::Write;
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use steersman_engine::limits::RELEASED_FLAG;
use steersman_tests::consul::real::{Kind, Real};
use steersman_tests::consul::wire::{self, Wanted};
use steersman_tests::program::steersman;
use steersman_tests::wait::until;

const KEY: &str = "jobs/backup";

/// A Consul in which the lock was given back in order once: nobody need keep quiet.
fn consul() -> Real {
    let real = Real::start(Kind::Dev);
    ask(&real, "PUT", &format!("/v1/kv/{KEY}?flags={RELEASED_FLAG}"));
    real
}

fn ask(real: &Real, method: &str, target: &str) -> Value {
    let wanted =
        Wanted { method: method.to_owned(), target: target.to_owned(), ..Wanted::default() };
    let got = wire::send(real.address, &wanted).expect("Consul answers");
    assert_eq!(got.status, 200, "{}", String::from_utf8_lossy(&got.body));
    serde_json::from_slice(&got.body).unwrap_or_default()
}

fn session(real: &Real) -> Option<String> {
    let entry = ask(real, "GET", &format!("/v1/kv/{KEY}"));
    entry[0]["Session"].as_str().map(str::to_owned)
}

fn lock(real: &Real, options: &[&str], script: &str) -> Command {
    let mut command = Command::new(steersman());
    command.args(["lock", "--consul", &real.address.to_string()]).args(options).arg(KEY);
    command.args(["--", "sh", "-c", script]).stdin(Stdio::null());
    command
}

fn output(mut command: Command) -> Output {
    command.output().expect("steersman can be run")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[test]
fn command_has_token_and_status() {
    let real = consul();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("token");
    let options = ["--name", "night", "--token-file", file.to_str().expect("a plain path")];
    let script = format!(
        "cat; echo \"$CONTAINERPILOT_LOCK_NIGHT_TOKEN {{{{ .no }}}}\"; cat {}; exit 7",
        file.display()
    );
    let mut command = lock(&real, &[&options[..], &["--pass-stdin"]].concat(), &script);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("steersman can be run");
    child.stdin.take().expect("it is piped").write_all(b"given\n").expect("it is read");
    let done = child.wait_with_output().expect("it ends");
    assert_eq!(done.status.code(), Some(7), "{}", text(&done.stderr));
    let out = text(&done.stdout);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!(lines[0], "given");
    let token: u64 = lines[2].parse().expect("the file holds the token");
    assert_eq!(lines[1], format!("{token} {{{{ .no }}}}"));
    assert!(!file.exists(), "the token has gone with the term");
    assert_eq!(session(&real), None, "given back");
    assert_eq!(ask(&real, "GET", "/v1/session/list"), Value::Array(Vec::new()));
}

#[test]
fn contenders_never_overlap_and_tokens_grow() {
    let real = consul();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let log = folder.path().join("log");
    let script = format!(
        "echo begin $CONTAINERPILOT_LOCK_COMMAND_TOKEN >> {0}; echo end >> {0}",
        log.display()
    );
    let contenders: Vec<Child> =
        (0..5).map(|_| lock(&real, &[], &script).spawn().expect("it can be run")).collect();
    for mut contender in contenders {
        assert!(contender.wait().expect("it ends").success());
    }
    let log = fs::read_to_string(log).expect("it was written");
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 10, "{log}");
    let mut last = 0;
    for pair in lines.chunks(2) {
        let token = pair[0].strip_prefix("begin ").and_then(|token| token.parse().ok());
        let token: u64 = token.unwrap_or_else(|| panic!("overlap: {log}"));
        assert_eq!(pair[1], "end", "overlap: {log}");
        assert!(token > last, "token {token} after {last}");
        last = token;
    }
}

#[test]
fn contender_gives_up_in_time() {
    let real = consul();
    let mut holder = lock(&real, &[], "sleep 600").spawn().expect("it can be run");
    until("the holder holds it", || session(&real));
    let tried = output(lock(&real, &["--try", "1s"], "echo ran"));
    assert_eq!(tried.status.code(), Some(1));
    assert_eq!(text(&tried.stdout), "");
    assert!(text(&tried.stderr).contains("it was not free within 1s"), "{}", text(&tried.stderr));
    kill(Pid::from_raw(holder.id() as i32), Signal::SIGTERM).expect("it is there");
    assert_eq!(holder.wait().expect("it ends").code(), Some(143));
    assert_eq!(session(&real), None, "given back");
}

#[test]
fn lost_lock_ends_the_whole_tree() {
    let real = consul();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("pids");
    let script = format!("trap '' TERM; setsid sleep 600 & echo $! $$ > {}; wait", file.display());
    let holder = lock(&real, &["--stop-timeout", "1s"], &script).stderr(Stdio::piped()).spawn();
    let holder = holder.expect("it can be run");
    let pids: Vec<i32> = until("the command runs", || {
        let text = fs::read_to_string(&file).ok()?;
        let pids: Vec<i32> = text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        (pids.len() == 2).then_some(pids)
    });
    let session = session(&real).expect("it is held");
    ask(&real, "PUT", &format!("/v1/session/destroy/{session}"));
    let done = holder.wait_with_output().expect("it ends");
    assert_eq!(done.status.code(), Some(137), "{}", text(&done.stderr));
    assert!(text(&done.stderr).contains("cannot keep or get the lock"), "{}", text(&done.stderr));
    assert!(!pids.iter().any(|pid| is_alive(*pid)), "all of it has gone");
}

#[test]
fn killed_supervisor_takes_its_command_along() {
    let real = consul();
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("pids");
    // The daemon is in a session of its own, where the kernel does not follow it.
    let script = format!(
        "setsid sleep 600 & echo $! $$ > {0}.new; mv {0}.new {0}; exec sleep 600",
        file.display()
    );
    let mut holder = lock(&real, &[], &script).spawn().expect("it can be run");
    let pids: Vec<i32> = until("the command and its daemon run", || {
        let text = fs::read_to_string(&file).ok()?;
        text.split_whitespace().map(|pid| pid.parse().ok()).collect()
    });
    holder.kill().expect("it is there");
    holder.wait().expect("it ends");
    until("both have gone", || pids.iter().all(|pid| !is_alive(*pid)).then_some(()));
}
