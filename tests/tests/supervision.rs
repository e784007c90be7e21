//! The program with real processes on this machine: what happens when things go wrong.
//!
//! - the end: status, order, a second signal, a killed supervisor
//! - output: nothing lost, formats, long lines, readers that stall, disks that are full, rotation
//! - bad luck: a wrong file, a missing program, two thousand jobs, PID 1 with orphans
//! - a recorded run, replayed

use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steersman_tests::program::steersman;
use steersman_tests::wait::until;

/// A running supervisor in a directory of its own.
struct Supervisor {
    child: Child,
    home: tempfile::TempDir,
}

impl Supervisor {
    /// Runs a configuration; `HOME_DIR` in it becomes the directory.
    fn run(config: &str) -> Supervisor {
        Supervisor::run_as(config, Command::new, |_| {})
    }

    fn run_as(
        config: &str,
        start: impl FnOnce(PathBuf) -> Command,
        change: impl FnOnce(&mut Command),
    ) -> Supervisor {
        let home = tempfile::tempdir().expect("a directory can be made");
        let path = home.path().to_str().expect("its name is text");
        let file = home.path().join("config.json5");
        let control = format!("control: {{ socket: '{path}/control' }},");
        let text = config.replacen('{', &format!("{{ {control}"), 1).replace("HOME_DIR", path);
        fs::write(&file, text).expect("a file can be written");
        let mut command = start(steersman().to_owned());
        command.arg("-config").arg(&file).stdin(Stdio::null());
        for (name, stream) in [("out", 1), ("err", 2)] {
            let file = fs::File::create(home.path().join(name)).expect("a file can be made");
            if stream == 1 {
                command.stdout(file)
            } else {
                command.stderr(file)
            };
        }
        change(&mut command);
        let child = command.spawn().expect("the program starts");
        Supervisor { child, home }
    }

    fn read(&self, name: &str) -> String {
        let bytes = fs::read(self.home.path().join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn out(&self) -> String {
        self.read("out")
    }

    fn err(&self) -> String {
        self.read("err")
    }

    fn wait_for(&self, what: &str) {
        until(what, || self.out().contains(what).then_some(()));
    }

    /// Waits until a file of the directory has so many lines, and gives them.
    fn lines(&self, name: &str, count: usize) -> Vec<String> {
        until(name, || {
            let text = self.read(name);
            (text.matches('\n').count() >= count).then(|| text.lines().map(str::to_owned).collect())
        })
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a pid is small");
        kill(Pid::from_raw(pid), signal).expect("our own child can be signalled");
    }

    fn wait(&mut self) -> ExitStatus {
        until("the end", || self.child.try_wait().expect("our own child can be waited for"))
    }

    fn status(&mut self) -> i32 {
        self.wait().code().expect("it ended by itself")
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        // It has usually ended; the jobs end with it.
        let _killed = self.child.kill();
        let _waited = self.child.wait();
    }
}

fn last_word(line: &str) -> Option<&str> {
    line.rsplit(' ').next()
}

fn exists(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

fn until_gone(pid: &str) {
    until("a process to go", || (!exists(pid)).then_some(()));
}

#[test]
fn container_of_one_job_ends_at_once_with_its_status() {
    let mut supervisor =
        Supervisor::run("{ stopTimeout: 30, jobs: [{ name: 'a', exec: ['sh', '-c', 'exit 7'] }] }");
    let begin = Instant::now();
    assert_eq!(supervisor.status(), 7);
    assert!(begin.elapsed() < Duration::from_secs(20), "the stop timeout was slept out");
}

#[test]
fn term_ends_jobs_and_what_they_left_in_good_order() {
    let mut supervisor = Supervisor::run(
        "{ stopTimeout: 40, jobs: [
            { name: 'app', exec: ['bash', '-c', 'trap \"echo app ends; exit 0\" TERM; \
                echo $$ >> HOME_DIR/pids; setsid sleep 1000 & echo $! >> HOME_DIR/pids; \
                sleep 1001 & echo $! >> HOME_DIR/pids; wait'] },
            { name: 'hook', exec: 'echo hook runs', when: { source: 'app', once: 'stopping' } },
        ] }",
    );
    let pids = supervisor.lines("pids", 3);
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.status(), 0);
    for pid in pids {
        assert!(!exists(&pid), "{pid} was left behind");
    }
    let out = supervisor.out();
    assert!(out.find("hook runs") < out.find("app ends"), "{out}");
    assert!(out.contains("app ends"), "{out}");
}

#[test]
fn second_signal_hurries() {
    let mut supervisor = Supervisor::run(
        "{ stopTimeout: 1000, jobs: [
            { name: 'app', exec: ['bash', '-c', 'trap \"echo not yet\" TERM; echo ready; \
                while :; do sleep 0.1; done'] },
        ] }",
    );
    supervisor.wait_for("ready");
    supervisor.signal(Signal::SIGTERM);
    supervisor.wait_for("not yet");
    supervisor.signal(Signal::SIGINT);
    supervisor.wait();
}

#[test]
fn jobs_die_with_a_killed_supervisor() {
    let jobs: Vec<String> = (0..50)
        .map(|n| {
            let script = "echo $$ >> HOME_DIR/pids; exec sleep 1000";
            format!("{{ name: 'j{n}', exec: ['sh', '-c', '{script}'] }}")
        })
        .collect();
    let mut supervisor = Supervisor::run(&format!("{{ jobs: [{}] }}", jobs.join(",")));
    let pids = supervisor.lines("pids", 50);
    supervisor.signal(Signal::SIGKILL);
    assert_eq!(supervisor.wait().signal(), Some(9));
    for pid in pids {
        until_gone(&pid);
    }
}

#[test]
fn everything_a_job_wrote_is_there_when_it_has_ended() {
    let mut supervisor = Supervisor::run(
        "{ jobs: [{ name: 'a', exec: ['perl', '-e',
            'print \"line $_\\n\" for 1..5000; print \"no newline\"'] }] }",
    );
    assert_eq!(supervisor.status(), 0);
    let out = supervisor.out();
    let lines: Vec<&str> =
        out.lines().filter(|line| line.contains(" line ")).filter_map(last_word).collect();
    let expected: Vec<String> = (1..=5000).map(|n| n.to_string()).collect();
    assert!(lines == expected, "all, in their order");
    assert!(out.contains(" no newline\n"), "the last line");
}

#[test]
fn line_of_ten_megabytes_is_split_and_marked() {
    let mut supervisor = Supervisor::run(
        "{ logging: { format: 'json' }, jobs: [{ name: 'a', exec: ['perl', '-e',
            'print \"x\" x 10000000, \"\\nend\\n\"'] }] }",
    );
    assert_eq!(supervisor.status(), 0);
    let mut total = 0;
    let mut pieces = 0;
    for line in supervisor.out().lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("every record is JSON");
        let message = record["msg"].as_str().expect("with a message");
        if message.starts_with('x') {
            total += message.len();
            pieces += 1;
            assert!(message.len() <= 65_536);
            assert_eq!(record["split"] == true, message.len() == 65_536, "only the last is short");
        }
    }
    assert_eq!((total, pieces), (10_000_000, 153));
}

#[test]
fn records_have_the_fields_of_v3() {
    let mut supervisor = Supervisor::run(
        "{ logging: { format: 'json' }, jobs: [
            { name: 'a', exec: ['sh', '-c', 'echo from $$; sleep 1000'],
              health: { exec: 'echo from check', interval: 1, ttl: 5 } },
        ] }",
    );
    supervisor.wait_for("from check");
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.status(), 0);
    let out = supervisor.out();
    let records: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).expect("every record is JSON")).collect();
    let from = |text: &str| {
        let found =
            records.iter().find(|record| record["msg"].as_str().unwrap_or("").contains(text));
        found.expect("it was logged").clone()
    };
    let job = from("from ");
    assert_eq!((&job["job"], &job["level"]), (&"a".into(), &"info".into()));
    assert_eq!(job["msg"], format!("from {}", job["pid"]));
    let check = from("from check");
    assert_eq!(check["check"], "check.a");
    assert!(check["pid"].is_u64() && check["job"].is_null());
}

#[test]
fn raw_output_passes_untouched() {
    let mut supervisor = Supervisor::run(
        "{ jobs: [{ name: 'a', logging: { raw: true },
            exec: ['printf', 'a\\\\0b\\\\377\\\\r\\\\nc'] }] }",
    );
    assert_eq!(supervisor.status(), 0);
    let bytes = fs::read(supervisor.home.path().join("out")).expect("there is output");
    let wanted = b"a\0b\xff\r\nc";
    assert!(bytes.windows(wanted.len()).any(|window| window == wanted), "{bytes:?}");
}

#[test]
fn reader_that_stalls_stalls_no_decision_and_loses_no_line() {
    let config = "{ jobs: [
        { name: 'spam', exec: ['perl', '-e', 'print \"line $_\\n\" for 1..60000'] },
        { name: 'beat', exec: ['sh', '-c', 'echo x >> HOME_DIR/beat; echo tick'],
          when: { interval: '50ms' } },
    ] }";
    let mut supervisor = Supervisor::run_as(config, Command::new, |command| {
        command.stdout(Stdio::piped());
    });
    // Nobody reads, for as long as it takes thirty beats to come and go.
    supervisor.lines("beat", 30);
    let mut stdout = supervisor.child.stdout.take().expect("it is piped");
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    supervisor.lines("beat", 60);
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.status(), 0);
    let text = reader.join().expect("the reader ends").expect("it is text");
    let lines: Vec<&str> =
        text.lines().filter(|line| line.contains(" line ")).filter_map(last_word).collect();
    let expected: Vec<String> = (1..=60_000).map(|n| n.to_string()).collect();
    assert_eq!(lines.len(), expected.len());
    assert!(lines == expected, "in their order");
    assert!(text.matches(" tick\n").count() >= 60);
}

#[test]
fn reader_that_never_reads_does_not_keep_a_container() {
    let config = "{ stopTimeout: 2, jobs: [
        { name: 'spam', exec: ['sh', '-c', 'echo x > HOME_DIR/runs; exec yes'] },
    ] }";
    let mut supervisor = Supervisor::run_as(config, Command::new, |command| {
        command.stdout(Stdio::piped());
    });
    supervisor.lines("runs", 1);
    supervisor.signal(Signal::SIGTERM);
    let begin = Instant::now();
    assert_eq!(supervisor.status(), 0);
    assert!(begin.elapsed() < Duration::from_secs(20));
}

#[test]
fn full_disk_is_said_once_and_survived() {
    let config = "{ logging: { output: 'HOME_DIR/log', format: 'json' }, jobs: [
        { name: 'a', exec: ['sh', '-c',
            'while :; do echo x >> HOME_DIR/beat; echo beat; sleep 0.02; done'] },
    ] }";
    let mut supervisor = Supervisor::run_as(config, Command::new, |command| {
        // Every write there fails with "no space left on device".
        let config = command.get_args().nth(1).expect("-config FILE");
        let home = std::path::Path::new(config).parent().expect("it is in a directory");
        symlink("/dev/full", home.join("log")).expect("a link can be made");
    });
    until("the complaint", || supervisor.err().contains("No space left").then_some(()));
    let beats = supervisor.read("beat").lines().count();
    supervisor.lines("beat", beats + 20);
    let log = supervisor.home.path().join("log");
    fs::remove_file(&log).expect("the link can be removed");
    supervisor.signal(Signal::SIGUSR1);
    until("recovery", || supervisor.err().contains("works again").then_some(()));
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.status(), 0);
    assert_eq!(supervisor.err().lines().count(), 2, "{}", supervisor.err());
    for line in supervisor.read("log").lines() {
        serde_json::from_str::<serde_json::Value>(line).expect("every record is whole");
    }
}

#[test]
fn rotated_log_file_is_opened_anew() {
    let mut supervisor = Supervisor::run(
        "{ logging: { output: 'HOME_DIR/log' }, jobs: [
            { name: 'a', exec: ['sh', '-c',
                'i=0; while :; do i=$((i+1)); echo beat $i; sleep 0.02; done'] },
        ] }",
    );
    supervisor.lines("log", 10);
    let home = supervisor.home.path().to_owned();
    fs::rename(home.join("log"), home.join("log.1")).expect("it can be moved");
    supervisor.signal(Signal::SIGUSR1);
    supervisor.lines("log", 10);
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.status(), 0);
    let both = supervisor.read("log.1") + &supervisor.read("log");
    let beats = both.lines().filter(|line| line.contains(" beat ")).filter_map(last_word);
    let beats: Vec<usize> = beats.map(|beat| beat.parse().expect("a number")).collect();
    assert_eq!(beats, (1..=beats.len()).collect::<Vec<_>>());
}

#[test]
fn wrong_configuration_starts_nothing() {
    let mut supervisor = Supervisor::run(
        "{ jobs: [{ name: 'a', exec: 'touch HOME_DIR/started' }, { name: 'a', exce: 'x' }] }",
    );
    assert_eq!(supervisor.status(), 2);
    let err = supervisor.err();
    assert!(err.contains("exce") && err.contains("config.json5"), "{err}");
    assert!(!supervisor.home.path().join("started").exists());
}

#[test]
fn missing_program_is_a_failed_job_with_a_reason() {
    let mut supervisor = Supervisor::run(
        "{ jobs: [{ name: 'a', exec: '/no/such/program' },
                  { name: 'b', exec: 'echo b saw it',
                    when: { source: 'a', once: 'exitFailed' } }] }",
    );
    assert_eq!(supervisor.status(), 127);
    let out = supervisor.out();
    assert!(out.contains("cannot start \"/no/such/program\": no such file"), "{out}");
    assert!(out.contains("b saw it"), "{out}");
}

#[test]
fn two_thousand_jobs_start_and_stop() {
    let jobs: Vec<String> =
        (0..2000).map(|n| format!("{{ name: 'j{n}', exec: 'sleep 1000' }}")).collect();
    let mut supervisor =
        Supervisor::run(&format!("{{ stopTimeout: 50, jobs: [{}] }}", jobs.join(",")));
    let pid = supervisor.child.id();
    let children = || {
        let path = format!("/proc/{pid}/task/{pid}/children");
        let text = fs::read_to_string(path).unwrap_or_default();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let all = until("two thousand processes", || {
        let all = children();
        let is_sleep = |pid: &String| {
            let comm = fs::read_to_string(format!("/proc/{pid}/comm"));
            comm.is_ok_and(|name| name.trim() == "sleep")
        };
        (all.len() == 2000 && all.iter().all(is_sleep)).then_some(all)
    });
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.status(), 0);
    assert!(all.iter().all(|pid| !exists(pid)));
}

#[test]
fn first_process_of_a_name_space_reaps_orphans() {
    let mut supervisor = Supervisor::run_as(
        "{ jobs: [
            { name: 'a', exec: ['bash', '-c', 'for i in $(seq 50); do (setsid true &); done; wait; \
                for i in $(seq 500); do n=$(grep -sl \"^State:.Z\" /proc/[0-9]*/status | wc -l); \
                [ $n = 0 ] && break; sleep 0.02; done; echo zombies $n, parent $PPID; exit 3'] },
        ] }",
        |program| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc"]);
            command.arg("--kill-child").arg(program);
            command
        },
        |_| {},
    );
    assert_eq!(supervisor.status(), 3, "{}", supervisor.err());
    assert!(supervisor.out().contains("zombies 0, parent 1"), "{}", supervisor.out());
}

#[test]
fn recorded_run_replays_with_the_same_effects() {
    let home = tempfile::tempdir().expect("a directory can be made");
    let trace = home.path().join("trace");
    let mut supervisor = Supervisor::run_as(
        "{ jobs: [
            { name: 'a', exec: ['sh', '-c', 'exit 1'], restarts: 3 },
            { name: 'b', exec: 'sleep 1000', health: { exec: 'true', interval: 1, ttl: 5 } },
            { name: 'c', exec: 'echo c', when: { source: 'b', once: 'healthy' } },
        ] }",
        Command::new,
        |command| {
            command.arg("-record").arg(&trace);
        },
    );
    supervisor.wait_for(" c ");
    supervisor.signal(Signal::SIGTERM);
    assert_eq!(supervisor.status(), 0);
    let replay = Command::new(steersman()).arg("replay").arg(&trace).output();
    let replay = replay.expect("the program starts");
    let text = String::from_utf8_lossy(&replay.stdout).into_owned();
    assert!(replay.status.success(), "{text}{}", String::from_utf8_lossy(&replay.stderr));
}
