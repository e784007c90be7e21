//! Three real servers, on 127.0.0.2 to 127.0.0.4, with `raft_multiplier` 1.

use std::fs::File;
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::agent::{ask, free_ports};
use crate::wait::until;

/// Three servers; they end with the test.
pub struct Cluster {
    children: Vec<Child>,
    /// Where each listens.
    pub addresses: Vec<SocketAddr>,
    _folder: tempfile::TempDir,
}

impl Cluster {
    /// Starts them; they may not have a leader yet.
    pub fn start() -> Cluster {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let mut children = Vec::new();
        let mut addresses = Vec::new();
        let ports: [u16; 4] = free_ports();
        for number in 2..=4u8 {
            let address = format!("127.0.0.{number}");
            let log = File::create(folder.path().join(format!("log{number}")));
            let log = log.expect("a file can be made");
            let data = folder.path().join(format!("data{number}"));
            let mut command = Command::new("consul");
            command.args(["agent", "-server", "-bootstrap-expect=3", "-log-level=warn"]);
            command.args(["-dns-port=-1", "-grpc-port=-1"]);
            command.arg(format!("-node=s{number}")).arg(format!("-data-dir={}", data.display()));
            command.arg(format!("-bind={address}")).arg(format!("-client={address}"));
            let names = ["http", "server", "serf-lan", "serf-wan"];
            for (name, port) in names.iter().zip(&ports) {
                command.arg(format!("-{name}-port={port}"));
            }
            command.arg("-hcl=performance { raft_multiplier = 1 }");
            // Who begins before the others are there would try again after 30 s only.
            command.arg("-retry-interval=1s");
            for other in 2..=4u8 {
                command.arg(format!("-retry-join=127.0.0.{other}:{}", ports[2]));
            }
            command.stdin(Stdio::null()).stdout(log.try_clone().expect("shared")).stderr(log);
            children.push(command.spawn().expect("consul is installed (tests/setup/consul.sh)"));
            addresses.push(SocketAddr::from(([127, 0, 0, number], ports[0])));
        }
        Cluster { children, addresses, _folder: folder }
    }

    /// Waits until all know one leader; gives which it is.
    pub fn await_leader(&self) -> usize {
        until("three servers have a leader", || {
            let (status, leader) = self.ask(0, "GET", "/v1/status/leader", "")?;
            let (_, peers) = self.ask(0, "GET", "/v1/status/peers", "")?;
            let peers: Vec<Value> = serde_json::from_str(&peers).ok()?;
            let leader = leader.trim().trim_matches('"');
            let host =
                |address: &SocketAddr| leader.split(':').next() == Some(&*address.ip().to_string());
            let is_settled = status == 200 && peers.len() == 3;
            self.addresses.iter().position(host).filter(|_| is_settled)
        })
    }

    /// Asks a server; none when it does not answer.
    pub fn ask(
        &self,
        server: usize,
        method: &str,
        target: &str,
        body: &str,
    ) -> Option<(u16, String)> {
        ask(self.addresses[server], None, method, target, body)
    }

    /// Kills a server.
    pub fn kill(&mut self, server: usize) {
        self.children[server].kill().expect("it can be killed");
        self.children[server].wait().expect("it is ours");
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in &mut self.children {
            // One of them may have been killed already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
