//! A supervisor as PID 1 of a container: a host name, processes, a network and clocks of its own.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::jobs::Manners;
use super::network::Host;
use crate::container::{children_of, descendants_of};
use crate::program::steersman;
use crate::wait::until;

/// By how many seconds a container's clocks are ahead of the machine's; none where the kernel has
/// no time name spaces.
pub(super) type Clocks = Option<(u64, u64)>;

/// What one start of a member's container is given.
#[derive(Clone, Debug)]
pub(super) struct Life {
    /// Counts the starts.
    pub(super) number: u32,
    pub(super) manners: Manners,
    pub(super) clocks: Clocks,
}

/// Where everything of a run is.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) folder: PathBuf,
    pub(super) config: PathBuf,
    pub(super) resource: PathBuf,
    /// The program that has the jobs.
    pub(super) program: PathBuf,
}

impl Places {
    pub(super) fn of(&self, host: Host) -> PathBuf {
        self.folder.join(host.name())
    }

    /// Where a life of a member is recorded.
    pub(super) fn recording(&self, member: usize, life: u32) -> PathBuf {
        self.of(Host::Member(member)).join(format!("life-{life}.trace"))
    }
}

pub(super) struct Member {
    nth: usize,
    outer: Child,
    init: u32,
    life: Life,
}

impl Member {
    pub(super) fn start(nth: usize, life: Life, places: &Places) -> Member {
        let host = Host::Member(nth);
        let folder = places.of(host);
        fs::create_dir_all(&folder).expect("the folder is ours");
        let log = File::options().append(true).create(true).open(folder.join("log"));
        let log = log.expect("the folder is ours");
        let script =
            format!("hostname {}; exec \"$STEERSMAN\" -record \"$RECORDING\"", host.name());
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", host.door())).arg("unshare");
        command.args(["--uts", "--pid", "--mount-proc", "--fork", "--kill-child"]);
        command.args(unshare_clocks(life.clocks)).args(["sh", "-c", &script]);
        command.env("CONTAINERPILOT", &places.config).env("STEERSMAN", steersman());
        command.env("RECORDING", places.recording(nth, life.number));
        command.env("CONSUL", format!("{}:8500", Host::Server(nth).address()));
        command.env("NODE", (nth + 1).to_string()).env("LIFE", life.number.to_string());
        command.env("MANNERS", life.manners.word()).env("RUN_DIR", &folder);
        command.env("RESOURCE", &places.resource);
        command.env("LEAD", format!("{} lead", places.program.display()));
        command.env("SERVE", format!("{} serve", places.program.display()));
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("shared")).stderr(log);
        let outer = command.spawn().expect("nsenter can be run");
        let pid = outer.id();
        let init = until("the container's first process", || children_of(pid).first().copied());
        Member { nth, outer, init, life }
    }

    /// Counts from 0.
    pub(super) fn nth(&self) -> usize {
        self.nth
    }

    pub(super) fn life(&self) -> &Life {
        &self.life
    }

    /// The process whose descendants are everything of this member.
    pub(super) fn root(&self) -> u32 {
        self.outer.id()
    }

    /// Signals the supervisor alone.
    pub(super) fn signal(&self, signal: Signal) {
        send(self.init, signal);
    }

    /// Signals every process of a job, its children included, by the job's argument.
    pub(super) fn signal_job(&self, job: &str, signal: Signal) {
        for pid in children_of(self.init) {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if line.split(|byte| *byte == 0).any(|word| word == job.as_bytes()) {
                send(pid, signal);
            }
        }
    }

    /// Tells the supervisor something over its socket.
    pub(super) fn control(&self, arguments: &[&str], places: &Places) {
        let socket = places.of(Host::Member(self.nth)).join("leader.sock");
        let mut command = Command::new(steersman());
        command.args(arguments).arg("-socket").arg(socket);
        let output = command.output().expect("steersman can be run");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    }

    /// Stands still, the whole of it.
    pub(super) fn freeze(&self) {
        // The supervisor first: it starts nothing any more.
        send(self.init, Signal::SIGSTOP);
        for _ in 0..2 {
            for pid in descendants_of(self.init) {
                send(pid, Signal::SIGSTOP);
            }
        }
    }

    /// Goes on, the supervisor last: that is the worst order.
    pub(super) fn thaw(&self) {
        for pid in descendants_of(self.init) {
            send(pid, Signal::SIGCONT);
        }
        send(self.init, Signal::SIGCONT);
    }

    /// Waits until nothing of it is left.
    pub(super) fn await_end(&mut self) {
        until("the container's end", || self.outer.try_wait().expect("it is ours"));
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.outer.kill();
        let _ = self.outer.wait();
    }
}

/// Gives what `unshare` needs for clocks that are ahead.
pub(super) fn unshare_clocks(clocks: Clocks) -> Vec<String> {
    let Some((monotonic, boot)) = clocks else { return Vec::new() };
    vec![
        "--time".to_owned(),
        "--monotonic".to_owned(),
        monotonic.to_string(),
        "--boottime".to_owned(),
        boot.to_string(),
    ]
}

/// Tells whether containers can have clocks of their own here.
pub(super) fn can_set_clocks() -> bool {
    let mut command = Command::new("unshare");
    command.args(unshare_clocks(Some((1000, 2000)))).args(["--fork", "true"]);
    command.stderr(Stdio::null()).status().expect("unshare can be run").success()
}

/// The copy of a configuration that a run uses.
pub(super) fn write_config(path: &Path, changes: &[(&str, &str)]) {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/examples/leader.json5");
    let mut text = fs::read_to_string(example).expect("the example is there");
    for (from, to) in changes {
        assert!(text.contains(from), "the example has no {from}");
        text = text.replace(from, to);
    }
    fs::write(path, text).expect("the folder is ours");
}

fn send(pid: u32, signal: Signal) {
    // It may have gone.
    let _ = kill(Pid::from_raw(pid as i32), signal);
}
