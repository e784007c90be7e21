//! Starts a real Consul 1.8.7.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::wire::{self, Wanted};
use crate::wait::until;

/// A running Consul; it is killed when dropped.
pub struct Real {
    child: Child,
    folder: tempfile::TempDir,
    /// Where its HTTP API listens.
    pub address: SocketAddr,
}

/// The token that may do everything where access control is on.
pub const MASTER: &str = "11111111-1111-1111-1111-111111111111";

/// What kind of Consul to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A development agent.
    Dev,
    /// A development agent with access control, default deny.
    Acl,
    /// One persistent server with compact JSON.
    Plain,
    /// The same with access control, default deny.
    PlainAcl,
}

impl Real {
    /// Starts one and waits until it has a leader and knows itself.
    ///
    /// When there is no Consul 1.8.7: `tests/setup/consul.sh` installs it.
    pub fn start(kind: Kind) -> Real {
        check_version();
        // Who writes the node first, its agent or the leader, is a race at the start. The leader
        // nearly always wins; the model knows no other beginning.
        until("consul starts as usual", || {
            let real = Real::start_once(kind);
            real.has_begun_as_usual().then_some(real)
        })
    }

    fn has_begun_as_usual(&self) -> bool {
        let headers = vec![("X-Consul-Token".to_owned(), MASTER.to_owned())];
        let target = "/v1/health/service/consul".to_owned();
        let mut wanted = Wanted { method: "GET".to_owned(), target, headers, ..Wanted::default() };
        let mut got = wire::send(self.address, &wanted);
        if got.as_ref().is_ok_and(|got| got.status != 200) {
            wanted.headers.clear();
            got = wire::send(self.address, &wanted);
        }
        let body: serde_json::Value =
            got.ok().and_then(|got| serde_json::from_slice(&got.body).ok()).unwrap_or_default();
        body[0]["Node"]["CreateIndex"] == body[0]["Checks"][0]["CreateIndex"]
    }

    fn start_once(kind: Kind) -> Real {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let ports = free_ports(4);
        let mut command = Command::new("consul");
        command.arg("agent").args(["-node=node-1", "-dns-port=-1", "-grpc-port=-1"]);
        command.args(["-bind=127.0.0.1", "-client=127.0.0.1", "-log-level=warn"]);
        let names = ["http", "server", "serf-lan", "serf-wan"];
        for (name, port) in names.iter().zip(&ports) {
            command.arg(format!("-{name}-port={port}"));
        }
        match kind {
            Kind::Dev | Kind::Acl => {
                command.arg("-dev");
            }
            Kind::Plain | Kind::PlainAcl => {
                let data = folder.path().join("data");
                command.args(["-server", "-bootstrap-expect=1"]);
                command.arg(format!("-data-dir={}", data.display()));
            }
        }
        if matches!(kind, Kind::Acl | Kind::PlainAcl) {
            let tokens = format!("tokens {{ master = \"{MASTER}\" }}");
            command
                .arg(format!("-hcl=acl {{ enabled = true default_policy = \"deny\" {tokens} }}"));
        }
        let log = File::create(folder.path().join("log")).expect("a file can be made");
        let errors = log.try_clone().expect("a file can be shared");
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        let child = command.spawn().expect("consul can be started");
        let address = SocketAddr::from(([127, 0, 0, 1], ports[0]));
        let real = Real { child, folder, address };
        real.wait_until_ready(kind);
        real
    }

    fn wait_until_ready(&self, kind: Kind) {
        let target = "/v1/catalog/nodes".to_owned();
        let headers = vec![("X-Consul-Token".to_owned(), MASTER.to_owned())];
        let wanted = Wanted { method: "GET".to_owned(), target, headers, ..Wanted::default() };
        let open = Wanted { headers: Vec::new(), ..wanted.clone() };
        let ready = || {
            [&open, &wanted].into_iter().any(|wanted| {
                wire::send(self.address, wanted).is_ok_and(|got| {
                    let text = String::from_utf8_lossy(&got.body).into_owned();
                    // Without a token of its own the agent cannot enter its addresses.
                    let entered = matches!(kind, Kind::Acl | Kind::PlainAcl);
                    text.contains("node-1") && (entered || text.contains("\"wan\""))
                })
            })
        };
        until("consul answers", || ready().then_some(()));
        // The agent's own first comparison with the catalog comes right after.
        let begun = Instant::now();
        let settled = || (begun.elapsed() > Duration::from_millis(1_500)).then_some(());
        until("the agent has settled", settled);
    }

    /// Returns what it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn check_version() {
    let output = Command::new("consul").arg("version").output();
    let output = output.expect("consul is installed (tests/setup/consul.sh installs it)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.starts_with("Consul v1.8.7") || text.starts_with("Consul 1.8.7"), "{text}");
}

/// Finds ports nobody listens on now.
fn free_ports(count: usize) -> Vec<u16> {
    let listeners: Vec<TcpListener> =
        (0..count).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port is free")).collect();
    let port = |listener: &TcpListener| listener.local_addr().expect("it is bound").port();
    listeners.iter().map(port).collect()
}
