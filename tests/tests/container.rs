//! steersman as PID 1 of real containers, whose image has nothing but it, a shell and `sleep`.
//!
//! - `a_stopped_container_ends_in_good_order`
//! - `the_status_of_an_essential_job_is_the_status_of_the_container`
//! - `orphans_are_reaped`
//! - `a_hangup_reaches_the_job_that_waits_for_it`
//!
//! Needs Docker; without it these tests fail, they are never skipped.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};

use steersman_tests::image;
use steersman_tests::program::steersman;
use steersman_tests::wait::until;

#[test]
fn a_stopped_container_ends_in_good_order() {
    let container = Container::run(
        r#"{
            stopTimeout: 8,
            jobs: [
                {
                    name: "app",
                    exec: ["/bin/sh", "-c",
                        "trap 'echo app ends; exit 0' TERM; echo app runs; \
                         while :; do sleep 0.1; done"],
                },
                {
                    name: "farewell",
                    exec: ["/bin/sh", "-c", "echo farewell"],
                    when: { source: "app", once: "stopping" },
                },
            ],
        }"#,
    );
    container.wait_for_line("app runs");
    container.docker(&["stop", "--time", "30"]);
    assert_eq!(container.wait(), 0);
    let log = container.log();
    let farewell = log.find("farewell").expect("the hook has run");
    let end = log.find("app ends").expect("the job was asked to end");
    assert!(farewell < end, "the hook runs before the job is asked to end:\n{log}");
}

#[test]
fn the_status_of_an_essential_job_is_the_status_of_the_container() {
    let container = Container::run(
        r#"{
            jobs: [
                { name: "main", exec: ["/bin/sh", "-c", "exit 7"], essential: true },
                { name: "other", exec: "sleep 1000" },
            ],
        }"#,
    );
    assert_eq!(container.wait(), 7);
}

#[test]
fn orphans_are_reaped() {
    let container = Container::run(
        r#"{
            jobs: [
                {
                    name: "app",
                    exec: ["/bin/sh", "-c",
                        "for i in 1 2 3; do (setsid sleep 100$i &); done; exec sleep 2000"],
                },
            ],
        }"#,
    );
    let init = container.init();
    let is_orphan =
        |process: &Process| process.parent == init && process.command.starts_with("sleep 100");
    let orphans = until("three orphans are children of PID 1", || {
        let mut processes = container.processes();
        processes.retain(is_orphan);
        (processes.len() == 3).then_some(processes)
    });
    for orphan in orphans {
        let number = orphan.number.to_string();
        let status = Command::new("kill").args(["-KILL", &number]).status();
        assert!(status.expect("kill can be run").success());
    }
    // A zombie would still be in the list.
    until("only PID 1 and the job are left", || {
        let processes = container.processes();
        let has_job = processes.iter().any(|process| process.command == "sleep 2000");
        (has_job && processes.len() == 2).then_some(())
    });
}

#[test]
fn a_hangup_reaches_the_job_that_waits_for_it() {
    let container = Container::run(
        r#"{
            jobs: [
                { name: "app", exec: ["/bin/sh", "-c", "echo app runs; exec sleep 1000"] },
                {
                    name: "again",
                    exec: ["/bin/sh", "-c", "echo heard"],
                    when: { source: "SIGHUP" },
                },
            ],
        }"#,
    );
    container.wait_for_line("app runs");
    container.docker(&["kill", "--signal", "HUP"]);
    container.wait_for_line("heard");
    container.docker(&["kill", "--signal", "HUP"]);
    until("the second signal is heard as well", || {
        (container.log().matches("heard").count() == 2).then_some(())
    });
    container.docker(&["stop", "--time", "30"]);
    assert_eq!(container.wait(), 0);
}

/// A container that goes with its handle.
struct Container {
    name: String,
    _image: Arc<Image>,
}

impl Container {
    /// Starts one with a configuration file.
    fn run(config: &str) -> Container {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let image = Image::shared();
        let nth = COUNT.fetch_add(1, Ordering::Relaxed);
        let container = Container { name: format!("{}-{nth}", image.name), _image: image.clone() };
        docker(&["create", "--network", "none", "--name", &container.name, &image.name]);
        let folder = tempfile::tempdir().expect("a folder can be created");
        let file = folder.path().join("steersman.json5");
        fs::write(&file, config).expect("a new folder can be written");
        let to = format!("{}:/etc/steersman.json5", container.name);
        docker(&["cp", &file.to_string_lossy(), &to]);
        container.docker(&["start"]);
        container
    }

    /// Runs a command of Docker on it.
    fn docker(&self, command: &[&str]) -> String {
        docker(&[command, &[&self.name]].concat())
    }

    /// Waits for its end and gives its status.
    fn wait(&self) -> i32 {
        let status = self.docker(&["wait"]);
        status.trim().parse().expect("docker wait prints the status")
    }

    fn log(&self) -> String {
        let output =
            Command::new("docker").args(["logs", &self.name]).output().expect("docker can be run");
        let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
        text.push_str(&String::from_utf8_lossy(&output.stderr));
        text
    }

    fn wait_for_line(&self, end: &str) {
        until(&format!("{end:?} in the log of {}", self.name), || {
            self.log().lines().any(|line| line.ends_with(end)).then_some(())
        });
    }

    /// Gives the number of its PID 1 outside.
    fn init(&self) -> u32 {
        let pid = self.docker(&["inspect", "--format", "{{.State.Pid}}"]);
        pid.trim().parse().expect("docker inspect prints the number")
    }

    /// Lists its processes, with their numbers outside.
    fn processes(&self) -> Vec<Process> {
        let list = docker(&["top", &self.name, "-o", "pid,ppid,args"]);
        list.lines().skip(1).map(Process::parse).collect()
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.name, self.log());
        }
        let _ = Command::new("docker").args(["rm", "--force", &self.name]).output();
    }
}

struct Process {
    number: u32,
    parent: u32,
    command: String,
}

impl Process {
    fn parse(line: &str) -> Process {
        let mut fields = line.split_whitespace();
        let mut number = || fields.next().and_then(|field| field.parse().ok()).expect("a number");
        let (number, parent) = (number(), number());
        Process { number, parent, command: fields.collect::<Vec<_>>().join(" ") }
    }
}

/// The image, made from this machine's own files, that goes with its last container.
struct Image {
    name: String,
}

impl Image {
    fn shared() -> Arc<Image> {
        static SHARED: Mutex<Weak<Image>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        shared.upgrade().unwrap_or_else(|| {
            let image = Arc::new(Image::build());
            *shared = Arc::downgrade(&image);
            image
        })
    }

    fn build() -> Image {
        let folder = tempfile::tempdir().expect("a folder can be created");
        let root = folder.path();
        image::add_program(root, steersman(), "/bin/steersman");
        for program in ["/bin/sh", "/bin/sleep", "/usr/bin/setsid"] {
            image::add_program(root, Path::new(program), program);
        }
        for needed in ["etc", "tmp", "var/run"] {
            fs::create_dir_all(root.join(needed)).expect("a new folder can be written");
        }
        let image = Image { name: format!("steersman-test-{}", std::process::id()) };
        let entry = r#"ENTRYPOINT ["/bin/steersman", "-config", "/etc/steersman.json5"]"#;
        image::import(root, &image.name, &["ENV PATH=/bin:/usr/bin", entry]);
        image
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["rmi", "--force", &self.name]).output();
    }
}

/// Runs Docker and gives what it prints; a failure fails the test.
fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().expect("docker can be run");
    let errors = String::from_utf8_lossy(&output.stderr);
    let _ = std::io::stderr().write_all(&output.stderr);
    assert!(output.status.success(), "docker {}: {errors}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
