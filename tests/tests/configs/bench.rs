//! What the cases share: a Consul, supervisors with host names of their own, and looking at both.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use steersman_tests::program::steersman;
use steersman_tests::wait::until;
use tempfile::TempDir;

/// What a bound of a header gets on top on a busy machine.
pub(crate) const ROOM: Duration = Duration::from_secs(5);

/// Gives a port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has ports");
    listener.local_addr().expect("it is bound").port()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/configs")
}

/// A Consul that ends with the test.
pub(crate) struct Catalog {
    child: Option<Child>,
    command: Vec<String>,
    pub(crate) address: String,
}

/// Which Consul.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The simulator's model behind HTTP.
    Model,
    /// Consul 1.8.7 in development mode.
    Real,
}

impl Catalog {
    pub(crate) fn start(kind: Kind) -> Catalog {
        let port = free_port();
        let address = format!("127.0.0.1:{port}");
        let command: Vec<String> = match kind {
            Kind::Model => {
                let program = steersman().to_string_lossy().into_owned();
                vec![program, "consul".into(), "--listen".into(), address.clone()]
            }
            Kind::Real => vec![
                "consul".into(),
                "agent".into(),
                "-dev".into(),
                format!("-http-port={port}"),
                "-dns-port=-1".into(),
                "-grpc-port=-1".into(),
                format!("-serf-lan-port={}", free_port()),
                format!("-serf-wan-port={}", free_port()),
                format!("-server-port={}", free_port()),
            ],
        };
        let mut catalog = Catalog { child: None, command, address };
        catalog.restart();
        catalog
    }

    /// Starts it again, with an empty memory.
    pub(crate) fn restart(&mut self) {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("a Consul can be started"));
        until("Consul has a leader and answers", || {
            let (status, body) = self.request("GET", "/v1/status/leader", "")?;
            (status == 200 && body.len() > 4).then_some(())
        });
        until("Consul takes a write", || {
            let (status, _) = self.request("PUT", "/v1/kv/ready", "")?;
            (status == 200).then_some(())
        });
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    pub(crate) fn request(&self, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
        request(&self.address, method, target, body)
    }

    pub(crate) fn put(&self, target: &str, body: &str) {
        let answer = self.request("PUT", target, body);
        assert_eq!(answer.as_ref().map(|answer| answer.0), Some(200), "{target}: {answer:?}");
    }

    fn entries(&self, target: &str) -> Option<Vec<Value>> {
        let (status, body) = self.request("GET", target, "")?;
        (status == 200).then(|| serde_json::from_str(&body).expect("Consul answers with JSON"))
    }

    /// The passing instances of a service, as sorted `address:port`.
    pub(crate) fn passing(&self, service: &str) -> Vec<String> {
        let entries = self.entries(&format!("/v1/health/service/{service}?passing=1"));
        let address = |entry: &Value| {
            let service = &entry["Service"];
            format!("{}:{}", service["Address"].as_str().unwrap_or(""), service["Port"])
        };
        let mut found: Vec<_> = entries.unwrap_or_default().iter().map(address).collect();
        found.sort();
        found
    }

    /// The status of the service's own check, of its first instance.
    pub(crate) fn status(&self, service: &str) -> Option<String> {
        let entries = self.entries(&format!("/v1/health/service/{service}"))?;
        let checks = entries.first()?["Checks"].as_array()?.clone();
        let own = checks.iter().find(|check| check["ServiceID"] != "")?;
        own["Status"].as_str().map(str::to_owned)
    }

    /// Registers an instance of a service by hand, passing for five minutes.
    pub(crate) fn register(&self, service: &str, id: &str, port: u16) {
        let body = format!(
            r#"{{"Name":"{service}","ID":"{id}","Address":"10.9.0.1","Port":{port},
                "Check":{{"TTL":"300s","Status":"passing"}}}}"#
        );
        self.put("/v1/agent/service/register", &body);
    }

    pub(crate) fn deregister(&self, id: &str) {
        self.put(&format!("/v1/agent/service/deregister/{id}"), "");
    }
}

impl Drop for Catalog {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One exchange over HTTP/1.0; none when nobody answers.
pub(crate) fn request(
    address: &str,
    method: &str,
    target: &str,
    body: &str,
) -> Option<(u16, String)> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let length = body.len();
    let text = format!(
        "{method} {target} HTTP/1.0\r\nHost: {address}\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    stream.write_all(text.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let status = answer.split(' ').nth(1)?.parse().ok()?;
    let body = answer.split_once("\r\n\r\n").map(|parts| parts.1.to_owned());
    Some((status, body.unwrap_or_default()))
}

/// A supervisor with one of the configurations, a host name and a directory of its own.
pub(crate) struct Supervisor {
    child: Option<Child>,
    config: PathBuf,
    env: Vec<(String, String)>,
    pub(crate) dir: TempDir,
}

impl Supervisor {
    pub(crate) fn start(file: &str, host: &str, env: &[(&str, String)]) -> Supervisor {
        let dir = tempfile::tempdir().expect("there is room for a directory");
        let config = fixtures().join("public").join(file);
        let path = |path: &Path| path.to_string_lossy().into_owned();
        let mut env: Vec<(String, String)> =
            env.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        env.push(("RUN_DIR".into(), path(dir.path())));
        env.push(("STANDINS".into(), path(&fixtures().join("standins.sh"))));
        env.push(("CONTAINERPILOT".into(), path(&config)));
        env.push(("CP".into(), path(steersman())));
        let log = fs::File::create(dir.path().join("log")).expect("the directory is ours");
        let script = format!("hostname {host}; exec \"$CP\"");
        let child = Command::new("unshare")
            .args(["-u", "sh", "-c", &script])
            .envs(env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file"))
            .stderr(log)
            .spawn()
            .expect("unshare can be run");
        Supervisor { child: Some(child), config, env, dir }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("it was not stopped").id()
    }

    /// Runs a control command of the program against it.
    pub(crate) fn control(&self, arguments: &[&str]) -> ExitStatus {
        let mut command = Command::new(steersman());
        command.args(arguments).arg("--config").arg(&self.config);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.expect("the program can be run")
    }

    /// Tells whether none of these jobs runs or is about to.
    pub(crate) fn is_idle(&self, jobs: &[&str]) -> bool {
        let mut command = Command::new(steersman());
        command.args(["status", "--json", "--config"]).arg(&self.config);
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        let output = command.output().expect("the program can be run");
        let status: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let known = status["jobs"].as_array().cloned().unwrap_or_default();
        let is_waiting = |job: &&str| {
            known.iter().any(|entry| {
                entry["name"] == **job && entry["phase"] == "waiting" && entry["pending"] == 0
            })
        };
        jobs.iter().all(is_waiting)
    }

    pub(crate) fn signal(&self, name: &str) {
        let mut kill = Command::new("kill");
        kill.arg(format!("-{name}")).arg(self.pid().to_string());
        let status = kill.status().expect("kill can be run");
        assert!(status.success(), "{}", self.log());
    }

    /// Asks it to stop; gives its exit status and how long it took.
    pub(crate) fn stop(&mut self) -> (Option<i32>, Duration) {
        self.signal("TERM");
        self.end()
    }

    /// Waits for its end.
    pub(crate) fn end(&mut self) -> (Option<i32>, Duration) {
        let begin = Instant::now();
        let mut child = self.child.take().expect("it was not stopped");
        let ended = || child.try_wait().expect("it is ours");
        let status = until("the supervisor's end", ended);
        (status.code(), begin.elapsed())
    }

    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    pub(crate) fn log(&self) -> String {
        self.read("log")
    }

    /// A file in its directory; empty when it is not there.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    pub(crate) fn lines(&self, name: &str) -> Vec<String> {
        self.read(name).lines().map(str::to_owned).collect()
    }

    /// The process ids of its children, with their states.
    pub(crate) fn children(&self) -> Vec<(u32, char)> {
        children_of(self.pid())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.config.display(), self.log());
        }
        self.kill();
    }
}

/// The children of a process, with their states.
pub(crate) fn children_of(pid: u32) -> Vec<(u32, char)> {
    let directory = fs::read_dir("/proc").expect("there is a /proc");
    let pids = directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let child = |candidate: u32| {
        let stat = fs::read_to_string(format!("/proc/{candidate}/stat")).ok()?;
        let rest = stat.rsplit_once(')')?.1;
        let mut fields = rest.split_whitespace();
        let state = fields.next()?.chars().next()?;
        let parent: u32 = fields.next()?.parse().ok()?;
        (parent == pid).then_some((candidate, state))
    };
    pids.filter_map(child).collect()
}

/// Measures how long a condition takes to come.
pub(crate) fn time<T>(what: &str, ask: impl FnMut() -> Option<T>) -> Duration {
    let begin = Instant::now();
    until(what, ask);
    begin.elapsed()
}
