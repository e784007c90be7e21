//! Three Consul 1.8.7 servers, each on a host and with a monotonic clock of its own, with
//! `raft_multiplier` 1; and what an operator does to them.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::member::{Clocks, unshare_clocks};
use super::network::{Host, SIZE};
use crate::consul::wire::{self, Wanted};
use crate::container::children_of;
use crate::wait::until;

/// The key that the members fight for.
pub(super) const KEY: &str = "election/leader";

const PORT: u16 = 8500;

/// How long an operator waits for an answer.
const PATIENCE: Duration = Duration::from_millis(1_500);

pub(super) struct Servers {
    folder: PathBuf,
    clocks: [Clocks; SIZE],
    running: [Option<Child>; SIZE],
}

impl Servers {
    /// Starts them; they may not have a leader yet.
    pub(super) fn start(folder: &Path, clocks: [Clocks; SIZE]) -> Servers {
        let running = [const { None }; SIZE];
        let mut servers = Servers { folder: folder.to_owned(), clocks, running };
        for server in 0..SIZE {
            servers.begin(server);
        }
        servers
    }

    /// Starts one, with what it remembers.
    pub(super) fn begin(&mut self, server: usize) {
        let address = Host::Server(server).address();
        let folder = self.folder.join(Host::Server(server).name());
        fs::create_dir_all(&folder).expect("the folder is ours");
        let log = File::options().append(true).create(true).open(folder.join("log"));
        let log = log.expect("the folder is ours");
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", Host::Server(server).door())).arg("unshare");
        command.args(["--fork", "--kill-child"]).args(unshare_clocks(self.clocks[server]));
        command.args(["consul", "agent", "-server", "-bootstrap-expect=3", "-log-level=info"]);
        command.args(["-dns-port=-1", "-grpc-port=-1", "-client=0.0.0.0"]);
        command.arg(format!("-node=s{}", server + 1)).arg(format!("-bind={address}"));
        // The same one comes back, also with an empty disk.
        command.arg(format!("-node-id=00000000-0000-0000-0000-00000000000{}", server + 1));
        command.arg(format!("-data-dir={}", folder.join("data").display()));
        command.arg("-hcl=performance { raft_multiplier = 1 }");
        for other in (0..SIZE).map(Host::Server) {
            command.arg(format!("-retry-join={}", other.address()));
        }
        command.arg("-retry-interval=2s");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("shared")).stderr(log);
        let child = command.spawn().expect("nsenter can be run");
        let outer = child.id();
        self.running[server] = Some(child);
        until("a server's process", || children_of(outer).first().copied());
    }

    /// Kills one.
    pub(super) fn kill(&mut self, server: usize) {
        if let Some(mut outer) = self.running[server].take() {
            outer.kill().expect("it is ours");
            outer.wait().expect("it is ours");
        }
    }

    /// Has a killed one forget everything.
    pub(super) fn forget(&self, server: usize) {
        assert!(self.running[server].is_none(), "it runs");
        let data = self.folder.join(Host::Server(server).name()).join("data");
        fs::remove_dir_all(data).expect("it had one");
    }

    /// Has one stand still, or go on.
    pub(super) fn signal(&self, server: usize, signal: Signal) {
        let outer = self.running[server].as_ref().expect("it runs");
        for pid in children_of(outer.id()) {
            kill(Pid::from_raw(pid as i32), signal).expect("it is there");
        }
    }

    /// The one that the others follow; none while they have none.
    pub(super) fn leader(&self) -> Option<usize> {
        (0..SIZE).filter(|server| self.running[*server].is_some()).find_map(|server| {
            let answer = ask(server, "GET", "/v1/status/leader")?;
            let leader = answer.as_str()?.split(':').next()?.to_owned();
            (0..SIZE).find(|server| Host::Server(*server).address() == leader)
        })
    }

    /// The session that holds the key, according to a server that has a leader; `None` when no
    /// server knows, or when nobody holds it.
    pub(super) fn holder(&self) -> Option<String> {
        let entries = self.operate("GET", &format!("/v1/kv/{KEY}?consistent"))?;
        Some(entries[0]["Session"].as_str()?.to_owned())
    }

    /// Tells whether all three are there and have the same leader and peers.
    pub(super) fn is_settled(&self) -> bool {
        let leader = |server| ask(server, "GET", "/v1/status/leader");
        let peers = |server| ask(server, "GET", "/v1/status/peers");
        let first = leader(0);
        let has_leader = first.as_ref().and_then(Value::as_str).is_some_and(|it| !it.is_empty());
        let knows_all = |server| {
            let peers = peers(server);
            peers.is_some_and(|peers| peers.as_array().is_some_and(|all| all.len() == SIZE))
        };
        has_leader && (0..SIZE).all(|server| leader(server) == first && knows_all(server))
    }

    /// Asks the servers in turn, until one does it; `None` when none does.
    pub(super) fn operate(&self, method: &str, target: &str) -> Option<Value> {
        let mut running = (0..SIZE).filter(|server| self.running[*server].is_some());
        running.find_map(|server| ask(server, method, target))
    }
}

impl Drop for Servers {
    fn drop(&mut self) {
        for server in 0..SIZE {
            self.kill(server);
        }
    }
}

/// What one server answers, when it answers well.
fn ask(server: usize, method: &str, target: &str) -> Option<Value> {
    let address: SocketAddr =
        format!("{}:{PORT}", Host::Server(server).address()).parse().expect("it is an address");
    let wanted =
        Wanted { method: method.to_owned(), target: target.to_owned(), ..Wanted::default() };
    let got = wire::send_within(address, &wanted, PATIENCE).ok()?;
    (got.status == 200).then(|| serde_json::from_slice(&got.body).unwrap_or_default())
}
