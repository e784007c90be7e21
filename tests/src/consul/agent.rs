//! A Consul whose life is the test's to lead: killed, paused, started again with an empty memory.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::wire::{self, Wanted};
use crate::container::signal;
use crate::program::steersman;
use crate::wait::until;

/// A Consul that ends with the test.
pub struct Agent {
    child: Option<Child>,
    command: Vec<String>,
    token: Option<String>,
    folder: tempfile::TempDir,
    /// Where its HTTP API listens.
    pub address: SocketAddr,
    /// Where it listens for TLS, when that was asked for.
    pub https: SocketAddr,
}

impl Agent {
    /// Starts the development Consul that is part of steersman.
    pub fn model() -> Agent {
        let [port, https] = free_ports();
        let program = steersman().display().to_string();
        let address = format!("127.0.0.1:{port}");
        let command = vec![program, "consul".into(), "--listen".into(), address];
        Agent::begin(command, None, [port, https])
    }

    /// Starts Consul 1.8.7 in development mode; `more` is added to its configuration (JSON members,
    /// with a comma in front), `token` may do everything where access control is on.
    pub fn real(more: &str, token: Option<&str>) -> Agent {
        let [http, https, serf, wan, server] = free_ports();
        let tls = if more.contains("cert_file") { i32::from(https) } else { -1 };
        let config = format!(
            r#"{{ "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "node_name": "node-1",
                "ports": {{ "http": {http}, "https": {tls}, "dns": -1, "grpc": -1,
                            "serf_lan": {serf}, "serf_wan": {wan}, "server": {server} }} {more} }}"#
        );
        let folder = tempfile::tempdir().expect("a folder can be made");
        let file = folder.path().join("consul.json");
        fs::write(&file, config).expect("the folder is ours");
        let file = file.display().to_string();
        let command = ["consul", "agent", "-dev", "-config-file", &file].map(str::to_owned);
        let mut agent = Agent {
            child: None,
            command: command.into(),
            token: token.map(str::to_owned),
            folder,
            address: SocketAddr::from(([127, 0, 0, 1], http)),
            https: SocketAddr::from(([127, 0, 0, 1], https)),
        };
        agent.restart();
        agent
    }

    fn begin(command: Vec<String>, token: Option<String>, ports: [u16; 2]) -> Agent {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let [address, https] = ports.map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
        let mut agent = Agent { child: None, command, token, folder, address, https };
        agent.restart();
        agent
    }

    /// Starts it, again with an empty memory, and waits until it takes a write.
    pub fn restart(&mut self) {
        let log = File::create(self.folder.path().join("log")).expect("the folder is ours");
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).stdin(Stdio::null()).stderr(Stdio::null()).stdout(log);
        let child = command.spawn().expect("consul is installed (tests/setup/consul.sh)");
        self.child = Some(child);
        until("Consul takes a write", || {
            self.ask("PUT", "/v1/kv/ready", "").filter(|answer| answer.0 == 200)
        });
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
        }
    }

    /// Has it stand still, or go on (`STOP`, `CONT`).
    pub fn signal(&self, name: &str) {
        signal(name, self.child.as_ref().expect("it runs").id());
    }

    /// Asks it for something; none when it does not answer.
    pub fn ask(&self, method: &str, target: &str, body: &str) -> Option<(u16, String)> {
        ask(self.address, self.token.as_deref(), method, target, body)
    }

    /// Tells it something that it must accept.
    pub fn put(&self, target: &str, body: &str) {
        let answer = self.ask("PUT", target, body);
        assert_eq!(answer.as_ref().map(|answer| answer.0), Some(200), "{target}: {answer:?}");
    }

    /// Registers an instance of a service by hand, passing for five minutes.
    pub fn register(&self, service: &str, id: &str, port: u16) {
        let body = format!(
            r#"{{"Name":"{service}","ID":"{id}","Address":"127.0.0.1","Port":{port},
                "Check":{{"TTL":"300s","Status":"passing"}}}}"#
        );
        self.put("/v1/agent/service/register", &body);
    }

    /// The passing instances of a service, as sorted `address:port`.
    pub fn passing(&self, service: &str) -> Vec<String> {
        let target = format!("/v1/health/service/{service}?passing=1");
        let Some((200, body)) = self.ask("GET", &target, "") else { return Vec::new() };
        let entries: Vec<Value> = serde_json::from_str(&body).expect("Consul answers with JSON");
        let address = |entry: &Value| {
            let service = &entry["Service"];
            format!("{}:{}", service["Address"].as_str().unwrap_or(""), service["Port"])
        };
        let mut found: Vec<_> = entries.iter().map(address).collect();
        found.sort();
        found
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Asks somebody for something, over a connection of its own.
pub fn ask(
    address: SocketAddr,
    token: Option<&str>,
    method: &str,
    target: &str,
    body: &str,
) -> Option<(u16, String)> {
    let header = |token: &str| ("X-Consul-Token".to_owned(), token.to_owned());
    let wanted = Wanted {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: token.map(header).into_iter().collect(),
        body: body.as_bytes().to_vec(),
        ..Wanted::default()
    };
    let got = wire::send(address, &wanted).ok()?;
    Some((got.status, String::from_utf8_lossy(&got.body).into_owned()))
}

/// Ports that nobody has at the moment.
pub fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a port is free"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port())
}
