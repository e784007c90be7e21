//! Real processes: starting, signalling, reaping. One case after the other, on the main thread.
//!
//! - how a process is started: group, signals, descriptors, user, limits, environment, errors
//! - how it ends: status, output, what it leaves behind
//! - how it is signalled: the group, orphans in other groups, nobody else
//! - how it ends when the supervisor is killed
#![expect(clippy::unwrap_used, reason = "a test without libtest's harness")]

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use steersman::process::{Ended, Processes, Settled, SignalInbox, hold_signals};
use steersman_engine::config::{Command, Limit, Resource, Signal};
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{JobId, RunId, RunKind};

/// Names a role that this program plays for one of its own cases.
const ROLE: &str = "STEERSMAN_TEST_ROLE";

/// How long anything may take on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// Signals 32 and 33: the C library keeps them to itself and lets nobody change them.
const LIBRARY_SIGNALS: u64 = 0x1_8000_0000;

type Case = (&'static str, fn(&mut Bench));

const CASES: &[Case] = &[
    ("process_has_its_own_group_and_no_signal_of_ours", own_group_and_signals),
    ("process_inherits_streams_only", streams_only),
    ("process_gets_the_environment_of_its_command", environment),
    ("process_runs_as_the_user_where_and_as_told", user_and_place),
    ("limits_are_set_and_others_are_as_before", limits),
    ("start_that_fails_says_why_and_leaves_no_child", start_failures),
    ("program_that_hangs_while_it_is_opened_holds_up_nobody", hanging_program),
    ("many_at_once_all_become_their_programs", many_at_once),
    ("status_of_a_process_is_its_code_or_signal", statuses),
    ("end_is_seen_while_a_child_holds_the_output", pipe_holder),
    ("daemon_in_its_own_session_is_left_behind_and_ended", daemon),
    ("signal_reaches_a_shell_and_its_children", group_signal),
    ("kill_reaches_sessions_below_sessions", nested_sessions),
    ("who_comes_to_light_after_a_stop_is_stopped_as_well", late_orphan),
    ("signal_to_a_run_that_has_gone_reaches_nobody", gone_run),
    ("orphans_of_orphans_are_reaped", reaping),
    ("fork_storm_ends_with_its_run", fork_storm),
    ("process_dies_with_a_killed_supervisor", parent_death),
];

fn main() -> ExitCode {
    if std::env::var(ROLE).is_ok() {
        return supervise_until_killed();
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let filters: Vec<&String> =
        arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    let is_listing = arguments.iter().any(|argument| argument == "--list");
    hold_signals();
    let mut bench = Bench::new();
    let mut passed = 0;
    for (name, case) in CASES {
        if !filters.is_empty() && !filters.iter().any(|filter| name.contains(filter.as_str())) {
            continue;
        }
        if is_listing {
            println!("{name}: test");
            continue;
        }
        // A failed assertion ends the program, and with it the children.
        println!("test {name} ...");
        case(&mut bench);
        bench.clear();
        println!("test {name} ... ok");
        passed += 1;
    }
    println!("\ntest result: ok. {passed} passed; 0 failed; 0 ignored; 0 measured");
    ExitCode::SUCCESS
}

struct Bench {
    processes: Processes,
    inbox: SignalInbox,
    runs: u32,
    settled: Vec<Settled>,
}

impl Bench {
    fn new() -> Bench {
        let processes = Processes::new(None).unwrap();
        let inbox = SignalInbox::open().unwrap();
        Bench { processes, inbox, runs: 0, settled: Vec::new() }
    }

    fn next_run(&mut self) -> RunId {
        self.runs += 1;
        RunId { job: JobId(1), kind: RunKind::Main, nth: self.runs }
    }

    fn start(&mut self, command: &Command) -> (RunId, u32, OwnedFd) {
        let run = self.next_run();
        let begun = self.processes.start(run, "job", &Arc::new(command.clone())).unwrap();
        let started = Settled::Started { run, pid: begun.pid };
        let end = Instant::now() + PATIENCE;
        while !self.has_settled(&started) {
            assert!(Instant::now() < end, "a process never became its program");
            readable(&self.inbox, Duration::from_millis(1));
        }
        (run, begun.pid, begun.output.unwrap())
    }

    /// Tells whether a start has turned out like this, so far.
    fn has_settled(&mut self, wanted: &Settled) -> bool {
        self.settled.extend(self.processes.settled());
        self.settled.contains(wanted)
    }

    fn shell(&mut self, script: &str) -> (RunId, u32, OwnedFd) {
        self.start(&Command::new(["bash", "-c", script]))
    }

    /// Runs a command to its end and gives what it wrote.
    fn output(&mut self, command: &Command) -> String {
        let (run, _, output) = self.start(command);
        let text = read_to_end(&output);
        assert!(matches!(self.leader(run), (_, Tree::Gone)));
        text
    }

    fn refusal(&mut self, command: &Command) -> String {
        let run = self.next_run();
        if let Err(reason) = self.processes.start(run, "job", &Arc::new(command.clone())) {
            return reason.into();
        }
        let end = Instant::now() + PATIENCE;
        loop {
            assert_eq!(self.processes.reap(), [], "a failed start ends like a process");
            match self.processes.settled().pop() {
                Some(Settled::Failed { run: failed, reason }) => {
                    assert_eq!(failed, run);
                    return reason.into();
                }
                Some(Settled::Started { .. }) => panic!("{command:?} was started"),
                None => {}
            }
            assert!(Instant::now() < end, "a start never failed");
            readable(&self.inbox, Duration::from_millis(10));
            let _received = self.inbox.receive();
        }
    }

    /// Waits for the end of a run's first process.
    fn leader(&mut self, wanted: RunId) -> (ExitStatus, Tree) {
        let is_wanted =
            |ended: &Ended| matches!(ended, Ended::Leader { run, .. } if *run == wanted);
        match self.ended(is_wanted) {
            Ended::Leader { status, tree, .. } => (status, tree),
            Ended::Rest { .. } | Ended::Keeper { .. } => unreachable!(),
        }
    }

    fn rest(&mut self, wanted: RunId) {
        self.ended(|ended| *ended == Ended::Rest { run: wanted });
    }

    fn ended(&mut self, is_wanted: impl Fn(&Ended) -> bool) -> Ended {
        let end = Instant::now() + PATIENCE;
        loop {
            self.processes.refresh_later();
            if let Some(found) = self.processes.reap().into_iter().find(&is_wanted) {
                return found;
            }
            assert!(Instant::now() < end, "nothing has ended");
            readable(&self.inbox, Duration::from_millis(100));
            // What it was is seen by reaping.
            let _received = self.inbox.receive();
        }
    }

    fn clear(&mut self) {
        let end = Instant::now() + PATIENCE;
        while self.processes.sweep() {
            assert!(Instant::now() < end, "a process survives SIGKILL");
            readable(&self.inbox, Duration::from_millis(10));
            let _received = self.inbox.receive();
        }
    }
}

fn readable(fd: &impl AsFd, timeout: Duration) -> bool {
    let timeout = PollTimeout::try_from(timeout).unwrap();
    poll(&mut [PollFd::new(fd.as_fd(), PollFlags::POLLIN)], timeout).unwrap() > 0
}

fn read_to_end(output: &OwnedFd) -> String {
    read_until(output, |_| false)
}

/// Reads until the end of the stream, or until there is enough.
fn read_until(output: &OwnedFd, is_enough: impl Fn(&str) -> bool) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        assert!(readable(output, PATIENCE), "no output");
        match nix::unistd::read(output, &mut buffer) {
            Ok(0) => break,
            Ok(count) => text.extend_from_slice(&buffer[..count]),
            Err(error) => assert_eq!(error, nix::errno::Errno::EAGAIN),
        }
        if is_enough(&String::from_utf8_lossy(&text)) {
            break;
        }
    }
    String::from_utf8(text).unwrap()
}

fn exists(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Reads the pids that a script wrote, one a line, as soon as there are so many.
fn pids(output: &OwnedFd, count: usize) -> Vec<u32> {
    let text = read_until(output, |text| text.matches('\n').count() >= count);
    text.lines().map(|line| line.trim().parse().unwrap()).collect()
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

fn make_executable(path: &std::path::Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn own_group_and_signals(bench: &mut Bench) {
    let script = "cut -d ' ' -f 5 /proc/$$/stat; grep -E '^Sig(Blk|Ign)' /proc/$$/status";
    let (run, pid, output) = bench.shell(script);
    let text = read_to_end(&output);
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap().trim(), pid.to_string());
    for line in lines {
        let mask = u64::from_str_radix(line.split('\t').next_back().unwrap(), 16).unwrap();
        assert_eq!(mask & !LIBRARY_SIGNALS, 0, "{line}");
    }
    assert_eq!(bench.leader(run), (ExitStatus::Code(0), Tree::Gone));
}

fn streams_only(bench: &mut Bench) {
    // One that the supervisor was started with, without close-on-exec.
    let inherited = nix::unistd::dup(std::io::stdout()).unwrap();
    let text = bench.output(&Command::new(["sh", "-c", "cat; ls /proc/self/fd; echo e >&2"]));
    // `ls` has the directory open.
    assert_eq!(text, "0\n1\n2\n3\ne\n");
    drop(inherited);
}

fn environment(bench: &mut Bench) {
    let file = std::env::temp_dir().join(format!("steersman-env-{}", std::process::id()));
    std::fs::write(&file, "# note\nA=file\nB=\"from file\"\n").unwrap();
    bench.processes.set_variable("C", Some("put=later"));
    bench.processes.set_variable("HOME", None);
    let mut command = Command::new(["sh", "-c", "echo $A,$B,$C,${HOME-unset},$STEERSMAN_RUN"]);
    command.env = vec![("A".into(), "own".into())];
    command.env_file = file.to_str().map(Box::from);
    let text = bench.output(&command);
    assert_eq!(text, format!("own,from file,put=later,unset,job.{}\n", bench.runs));
    std::fs::remove_file(&file).unwrap();
    assert!(bench.refusal(&command).contains("envFile"));
}

fn user_and_place(bench: &mut Bench) {
    let mut command = Command::new(["sh", "-c", "pwd; umask; id -u; id -g; id -G"]);
    command.workdir = Some("/usr".into());
    command.umask = Some(0o27);
    if is_root() {
        command.user = Some("1".into());
        command.group = Some("5".into());
        assert!(bench.output(&command).starts_with("/usr\n0027\n1\n5\n5"));
        command.group = None;
        assert_eq!(bench.output(&command), "/usr\n0027\n1\n1\n1\n");
    } else {
        assert!(bench.output(&command).starts_with("/usr\n0027\n"));
    }
}

fn limits(bench: &mut Bench) {
    let ours = bench.output(&Command::new(["sh", "-c", "ulimit -n; ulimit -c"]));
    let mut command = Command::new(["sh", "-c", "ulimit -n; ulimit -c; ulimit -Hc"]);
    let limit = Limit { resource: Resource::Core, soft: Some(0), hard: Some(0) };
    command.limits = vec![limit];
    let text = bench.output(&command);
    assert_eq!(text.lines().next(), ours.lines().next());
    assert_eq!(text.lines().skip(1).collect::<Vec<_>>(), ["0", "0"]);
    command.limits = vec![Limit { resource: Resource::Nofile, soft: Some(9), hard: Some(8) }];
    assert!(bench.refusal(&command).contains("limit \"nofile\" refused"));
}

fn start_failures(bench: &mut Bench) {
    let directory = std::env::temp_dir().join(format!("steersman-start-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let plain = file("plain", "x");
    let garbage = file("garbage", "x");
    make_executable(&garbage);
    let orphaned = file("orphaned", "#!/no/such/interpreter\n");
    make_executable(&orphaned);
    let cases = [
        ("/no/such", "no such file"),
        ("/etc/passwd/x", "no such file"),
        ("no-such-program", "no such program in PATH"),
        ("/tmp", "is a directory"),
        (plain.to_str().unwrap(), "not executable"),
        (garbage.to_str().unwrap(), "no program for this machine"),
        (orphaned.to_str().unwrap(), "interpreter"),
        ("a\0b", "NUL"),
    ];
    for (program, expected) in cases {
        let reason = bench.refusal(&Command::new([program]));
        assert!(reason.starts_with(&format!("cannot start \"{program}\": ")), "{reason}");
        assert!(reason.contains(expected), "{reason}");
    }
    let mut refused_with = |change: fn(&mut Command), expected: &str| {
        let mut command = Command::new(["true"]);
        change(&mut command);
        let reason = bench.refusal(&command);
        assert!(reason.contains(expected), "{reason}");
    };
    refused_with(|command| command.workdir = Some("/no/such".into()), "workdir \"/no/such\"");
    refused_with(|command| command.user = Some("no such".into()), "no user \"no such\"");
    refused_with(|command| command.user = Some("54321".into()), "group is unknown");
    assert!(!bench.processes.sweep(), "a failed start left a child");
    assert!(bench.processes.reap().is_empty());
    std::fs::remove_dir_all(&directory).unwrap();
}

fn hanging_program(bench: &mut Bench) {
    let file = std::env::temp_dir().join(format!("steersman-hang-{}", std::process::id()));
    std::fs::copy("/bin/true", &file).unwrap();
    // Whoever opens a leased file waits until the lease is given up (F_SETLEASE, F_WRLCK).
    let script = "use Fcntl; $SIG{IO} = sub {}; open(F, '<', $ARGV[0]) or die; \
                  fcntl(F, 1024, 1) or die; $| = 1; print \"held\\n\"; \
                  <STDIN>";
    let mut holder = std::process::Command::new("perl")
        .args(["-e", script, file.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut held = [0; 5];
    holder.stdout.take().unwrap().read_exact(&mut held).unwrap();

    let slow = bench.next_run();
    let command = Arc::new(Command::new([file.to_str().unwrap()]));
    let begun = bench.processes.start(slow, "slow", &command).unwrap();
    // Others come and go meanwhile.
    let (quick, _, _output) = bench.start(&Command::new(["true"]));
    assert_eq!(bench.leader(quick), (ExitStatus::Code(0), Tree::Gone));
    let started = Settled::Started { run: slow, pid: begun.pid };
    assert!(bench.processes.is_starting());
    assert!(!bench.has_settled(&started));

    // Not the end of the stream: the process that waits has a copy of it.
    holder.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(bench.leader(slow), (ExitStatus::Code(0), Tree::Gone));
    assert!(bench.has_settled(&started));
    assert!(!bench.processes.is_starting());
    // Our own reaping may have been faster.
    let _status = holder.wait();
    std::fs::remove_file(&file).unwrap();
}

fn many_at_once(bench: &mut Bench) {
    let command = Arc::new(Command::new(["sleep", "1000"]));
    let begin = |bench: &mut Bench| {
        let run = bench.next_run();
        let begun = bench.processes.start(run, "job", &command).unwrap();
        Settled::Started { run, pid: begun.pid }
    };
    // More than may be on their way at once.
    let started: Vec<Settled> = (0..200).map(|_| begin(bench)).collect();
    let end = Instant::now() + PATIENCE;
    while !started.iter().all(|one| bench.has_settled(one)) {
        assert!(Instant::now() < end, "some never became their programs");
        readable(&bench.inbox, Duration::from_millis(1));
    }
    assert_eq!(bench.settled.iter().filter(|one| started.contains(one)).count(), 200);
}

fn statuses(bench: &mut Bench) {
    for (script, expected) in [
        ("exit 0", ExitStatus::Code(0)),
        ("exit 77", ExitStatus::Code(77)),
        ("kill -9 $$", ExitStatus::Signal(9)),
        ("kill -TERM $$", ExitStatus::Signal(15)),
    ] {
        let (run, _, _output) = bench.shell(script);
        assert_eq!(bench.leader(run), (expected, Tree::Gone));
    }
}

fn pipe_holder(bench: &mut Bench) {
    let (run, _, output) = bench.shell("sleep 1000 & echo $!; exit 3");
    let holder = pids(&output, 1)[0];
    assert_eq!(bench.leader(run), (ExitStatus::Code(3), Tree::Left));
    assert!(exists(holder));
    bench.processes.signal(run, Signal::TERM);
    bench.rest(run);
    assert!(!exists(holder));
    assert_eq!(read_to_end(&output), "");
}

fn daemon(bench: &mut Bench) {
    // The first process ends only when the daemon has its session.
    let script = "coproc setsid bash -c 'echo $$; sleep 1000; :'; read -u ${COPROC[0]} p; echo $p";
    let (run, _, output) = bench.shell(script);
    let daemon = pids(&output, 1)[0];
    assert_eq!(bench.leader(run).1, Tree::Left);
    assert!(exists(daemon));
    bench.processes.signal(run, Signal::KILL);
    bench.rest(run);
    assert!(!exists(daemon));
}

fn group_signal(bench: &mut Bench) {
    let script = "bash -c 'trap \"echo child; exit\" TERM; echo 1; sleep 1000 & wait' & \
                  trap 'wait $!; echo shell; exit 4' TERM; echo 2; wait";
    let (run, _, output) = bench.shell(script);
    pids(&output, 2);
    bench.processes.signal(run, Signal::TERM);
    let text = read_until(&output, |text| text.contains("shell"));
    assert_eq!(text, "child\nshell\n");
    let (status, tree) = bench.leader(run);
    assert_eq!(status, ExitStatus::Code(4));
    if tree == Tree::Left {
        bench.rest(run);
    }
}

fn nested_sessions(bench: &mut Bench) {
    let script = "setsid bash -c 'echo $$; setsid bash -c \"echo \\$\\$; sleep 1000; :\"; :' & \
                  (trap '' TERM; echo $BASHPID; while :; do sleep 1000; done) & wait";
    let (run, leader, output) = bench.shell(script);
    let members = pids(&output, 3);
    bench.processes.signal(run, Signal::KILL);
    let (status, tree) = bench.leader(run);
    assert_eq!(status, ExitStatus::Signal(9));
    if tree == Tree::Left {
        bench.rest(run);
    }
    for pid in members.into_iter().chain([leader]) {
        assert!(!exists(pid), "{pid} is still there");
    }
    read_to_end(&output);
}

fn late_orphan(bench: &mut Bench) {
    let script = "trap 'exit 0' TERM; setsid sleep 1000 & echo $!; wait";
    let (run, _, output) = bench.shell(script);
    let daemon = pids(&output, 1)[0];
    let end = Instant::now() + PATIENCE;
    let stat = || std::fs::read_to_string(format!("/proc/{daemon}/comm")).unwrap_or_default();
    while stat().trim() != "sleep" {
        assert!(Instant::now() < end);
        std::thread::yield_now();
    }
    bench.processes.signal(run, Signal::TERM);
    assert_eq!(bench.leader(run), (ExitStatus::Code(0), Tree::Left));
    bench.rest(run);
    assert!(!exists(daemon));
}

fn gone_run(bench: &mut Bench) {
    let (first, _, _output) = bench.shell("exit 0");
    assert_eq!(bench.leader(first).1, Tree::Gone);
    let (second, pid, _output) = bench.shell("exec sleep 1000");
    bench.processes.signal(first, Signal::KILL);
    assert!(exists(pid));
    bench.processes.signal(second, Signal::KILL);
    assert_eq!(bench.leader(second), (ExitStatus::Signal(9), Tree::Gone));
}

fn reaping(bench: &mut Bench) {
    let script = "for i in $(seq 200); do (setsid true & ) & done; wait; exec sleep 1000";
    let (run, pid, _output) = bench.shell(script);
    let end = Instant::now() + PATIENCE;
    let comm = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    while comm().trim() != "sleep" {
        assert!(Instant::now() < end);
        readable(&bench.inbox, Duration::from_millis(10));
        assert!(bench.processes.reap().is_empty());
    }
    let own = std::process::id();
    let children = || std::fs::read_to_string(format!("/proc/self/task/{own}/children")).unwrap();
    while children().trim() != pid.to_string() {
        assert!(Instant::now() < end, "zombies: {}", children());
        assert!(bench.processes.reap().is_empty());
    }
    bench.processes.signal(run, Signal::TERM);
    assert_eq!(bench.leader(run), (ExitStatus::Signal(15), Tree::Gone));
}

fn fork_storm(bench: &mut Bench) {
    // Each daemon starts the next one in a session of its own and ends, for ever.
    let file = std::env::temp_dir().join(format!("steersman-storm-{}", std::process::id()));
    std::fs::write(&file, "#!/bin/sh\nsleep 0.002\nsetsid \"$0\" &\n").unwrap();
    make_executable(&file);
    let (run, _, _output) = bench.start(&Command::new([file.to_str().unwrap()]));
    assert_eq!(bench.leader(run).1, Tree::Left);
    bench.processes.signal(run, Signal::KILL);
    bench.rest(run);
    std::fs::remove_file(&file).unwrap();
}

fn parent_death(_bench: &mut Bench) {
    let mut supervisor = std::process::Command::new(std::env::current_exe().unwrap())
        .env(ROLE, "supervisor")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = Vec::new();
    let mut stdout = supervisor.stdout.take().unwrap();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        assert_eq!(stdout.read(&mut byte).unwrap(), 1);
        line.push(byte[0]);
    }
    let text = String::from_utf8(line).unwrap();
    let pids: Vec<u32> = text.split_whitespace().map(|pid| pid.parse().unwrap()).collect();
    assert!(pids.iter().all(|pid| exists(*pid)));
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    let end = Instant::now() + PATIENCE;
    while pids.iter().any(|pid| exists(*pid)) {
        assert!(Instant::now() < end, "a job outlived its supervisor");
        std::thread::yield_now();
    }
}

fn supervise_until_killed() -> ExitCode {
    hold_signals();
    let mut bench = Bench::new();
    let mut other = Command::new(["sleep", "1000"]);
    if is_root() {
        // A change of user clears the parent-death signal: it must be set after it.
        other.user = Some("1".into());
    }
    let (_, first, _output) = bench.start(&Command::new(["sleep", "1000"]));
    let (_, second, _output_too) = bench.start(&other);
    println!("{first} {second}");
    readable(&bench.inbox, PATIENCE);
    ExitCode::FAILURE
}
