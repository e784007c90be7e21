//! A supervisor as in a container: its own host name and processes, PID 1 of them or not.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::program::steersman;
use crate::wait::until;

/// What the supervisor is in its container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    /// Its first process.
    First,
    /// A child of the first one, a shell that outlives it.
    Second,
    /// The first process, where there is no `/proc`.
    Blind,
}

impl Rank {
    fn script(self, name: &str) -> String {
        let run = match self {
            Rank::First => "exec \"$STEERSMAN\"",
            Rank::Second => "\"$STEERSMAN\" & wait $!; sleep 1000 & wait",
            Rank::Blind => "mount -t tmpfs none /proc; exec \"$STEERSMAN\"",
        };
        format!("hostname {name}; {run}")
    }
}

/// A running container; it is killed when dropped, and tells its log when the test has failed.
pub struct Container {
    outer: Option<Child>,
    /// The supervisor.
    init: u32,
    name: String,
    env: Vec<(String, String)>,
    folder: tempfile::TempDir,
}

impl Container {
    /// Starts one with a configuration's text, which gets a folder of its own as `RUN_DIR`.
    ///
    /// # Panics
    ///
    /// When there are no name spaces here (they need root).
    pub fn start(name: &str, config: &str, env: &[(&str, &str)]) -> Container {
        Container::start_as(Rank::First, name, config, env)
    }

    /// Does the same with a supervisor that is something else in its container.
    pub fn start_as(rank: Rank, name: &str, config: &str, env: &[(&str, &str)]) -> Container {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("config.json5");
        fs::write(&file, config).expect("the folder is ours");
        Container::begin(rank, name, file, folder, env)
    }

    /// Starts one with a configuration file.
    pub fn of_file(name: &str, file: &Path, env: &[(&str, &str)]) -> Container {
        let folder = tempfile::tempdir().expect("a folder can be made");
        Container::begin(Rank::First, name, file.to_owned(), folder, env)
    }

    fn begin(
        rank: Rank,
        name: &str,
        config: PathBuf,
        folder: tempfile::TempDir,
        env: &[(&str, &str)],
    ) -> Container {
        let mut env: Vec<(String, String)> =
            env.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        env.push(("RUN_DIR".into(), folder.path().display().to_string()));
        env.push(("CONTAINERPILOT".into(), config.display().to_string()));
        env.push(("STEERSMAN".into(), steersman().display().to_string()));
        let log = File::create(folder.path().join("log")).expect("the folder is ours");
        let script = rank.script(name);
        // Whoever kills the outer process kills all: that is how a container dies.
        let outer = Command::new("unshare")
            .args(["--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", &script])
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("unshare can be run");
        let pid = outer.id();
        let mut container =
            Container { outer: Some(outer), init: 0, name: name.into(), env, folder };
        let first = until("the container's first process", || children_of(pid).first().copied());
        container.init = match rank {
            Rank::First | Rank::Blind => first,
            Rank::Second => until("the supervisor", || {
                let is_it = |pid: &u32| command_of(*pid).first() == Some(&program_name());
                children_of(first).into_iter().find(is_it)
            }),
        };
        container
    }

    /// The process id of its supervisor, as seen from outside.
    pub fn pid(&self) -> u32 {
        self.init
    }

    /// Tells whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        let outer = self.outer.as_mut();
        outer.is_some_and(|outer| outer.try_wait().expect("it is ours").is_none())
    }

    /// A path in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A file in its folder; empty when it is not there.
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        self.read("log")
    }

    /// Waits until it says something; gives the line.
    pub fn await_line(&self, words: &str) -> String {
        until(&format!("{} says: {words}", self.name), || {
            self.log().lines().find(|line| line.contains(words)).map(str::to_owned)
        })
    }

    /// Runs a control command of the program against it.
    pub fn control(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(steersman());
        command.args(arguments).envs(self.env.iter().map(|(name, value)| (name, value)));
        command.output().expect("the program can be run")
    }

    /// Gives what it knows about a job; null when it does not answer or knows none.
    pub fn job(&self, name: &str) -> Value {
        let output = self.control(&["status", "--json"]);
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let jobs = status["jobs"].as_array().cloned().unwrap_or_default();
        jobs.into_iter().find(|job| job["name"] == name).unwrap_or_default()
    }

    /// Stands still, the whole of it.
    pub fn pause(&self) {
        // The supervisor first: it starts nothing any more.
        signal("STOP", self.init);
        for pid in descendants_of(self.init) {
            signal("STOP", pid);
        }
    }

    /// Goes on.
    pub fn resume(&self) {
        for pid in descendants_of(self.init) {
            signal("CONT", pid);
        }
        signal("CONT", self.init);
    }

    /// Dies at once, with everything in it.
    pub fn crash(&mut self) {
        if let Some(mut outer) = self.outer.take() {
            outer.kill().expect("it is ours");
            outer.wait().expect("it is ours");
        }
    }

    /// Asks it to stop; gives its exit status and how long it took.
    pub fn stop(&mut self) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        signal("TERM", self.init);
        let mut outer = self.outer.take().expect("it was not stopped");
        let status = until("the container's end", || outer.try_wait().expect("it is ours"));
        (status.code(), begin.elapsed())
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.name, self.log());
        }
        self.crash();
    }
}

/// Sends a signal by name; whoever has gone does not get it.
pub fn signal(name: &str, pid: u32) {
    let mut kill = Command::new("kill");
    kill.arg(format!("-{name}")).arg(pid.to_string()).stderr(Stdio::null());
    // It may have gone.
    let _ = kill.status();
}

fn program_name() -> String {
    steersman().display().to_string()
}

/// The words by which a process was started; none of one that has ended.
pub fn command_of(pid: u32) -> Vec<String> {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words = line.split(|byte| *byte == 0).filter(|word| !word.is_empty());
    words.map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The children of a process.
pub fn children_of(pid: u32) -> Vec<u32> {
    let list = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The children of a process, theirs, and so on.
pub fn descendants_of(pid: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for child in children_of(pid) {
        found.push(child);
        found.extend(descendants_of(child));
    }
    found
}
