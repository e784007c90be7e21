//! The real Consul 1.8.7, where it is installed (`tests/setup/consul.sh`); nothing is tested
//! without.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use steersman_engine::config::CheckStatus;
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest};
use steersman_engine::front::{Agent, Scheme, Secret};
use tempfile::TempDir;
use tokio::time::Instant;

use super::model::register;
use super::scripted::{PATIENCE, client, instances, refused, report, unreachable, until};
use super::trust::Authority;

const TOKEN: &str = "11111111-1111-1111-1111-111111111111";

/// A development agent of its own: ports, folder, end.
struct Consul {
    child: Child,
    agent: Agent,
    https: String,
    folder: TempDir,
}

impl Consul {
    /// Starts one; none when there is no Consul on this machine. `more` is added to its
    /// configuration.
    async fn start(more: &str) -> Option<Consul> {
        let folder = tempfile::tempdir().unwrap();
        let mut consul = Consul::begin(folder, more)?;
        // Until it has a leader.
        let mut agent = consul.agent.clone();
        agent.token = Some(Secret(TOKEN.into()));
        let client = client(&agent);
        let begin = Instant::now();
        while let ConsulReply::Failed(failure) = client.ask(&instances(0), PATIENCE).await {
            let is_alive = consul.child.try_wait().unwrap().is_none();
            assert!(is_alive && begin.elapsed() < PATIENCE, "no agent: {failure:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Some(consul)
    }

    fn begin(folder: TempDir, more: &str) -> Option<Consul> {
        let [http, https, serf, wan, server] = ports();
        let config = format!(
            r#"{{ "bind_addr": "127.0.0.1", "client_addr": "127.0.0.1", "node_name": "node-1",
                "ports": {{ "http": {http}, "https": {https}, "dns": -1, "grpc": -1,
                            "serf_lan": {serf}, "serf_wan": {wan}, "server": {server} }} {more} }}"#
        );
        let file = folder.path().join("consul.json");
        fs::write(&file, config.replace("FOLDER", &folder.path().display().to_string())).unwrap();
        let mut command = Command::new("consul");
        command.args(["agent", "-dev", "-config-file"]).arg(file);
        let log = fs::File::create(folder.path().join("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log).stderr(Stdio::null());
        let child = command.spawn().expect("consul is there: tests/setup/consul.sh installs it");
        let agent = Agent::new(format!("127.0.0.1:{http}"), Scheme::Http);
        Some(Consul { child, agent, https: format!("127.0.0.1:{https}"), folder })
    }

    /// Tells whether every thread has been stopped (proc(5): state `T`).
    fn is_stopped(&self) -> bool {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        threads.flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        })
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Consul {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Ports that nobody has at the moment.
fn ports() -> [u16; 5] {
    let listeners = [(); 5].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn reading(reply: ConsulReply) -> (u64, usize) {
    match reply {
        ConsulReply::Instances { index, instances } => (index, instances.len()),
        other => panic!("no reading: {other:?}"),
    }
}

#[tokio::test]
async fn service_lives_its_life_and_changes_are_seen_within_milliseconds() {
    let Some(consul) = Consul::start("").await else { return };
    let client = Arc::new(client(&consul.agent));
    let unknown = ConsulReply::Failed(ConsulFailure::Unknown);
    assert_eq!(client.ask(&report(), PATIENCE).await, unknown);
    let passing = register(CheckStatus::Passing);
    let deregister = ConsulRequest::Deregister { service: "web-1".into() };
    assert_eq!(client.ask(&deregister, PATIENCE).await, ConsulReply::Done, "of nothing");
    assert_eq!(client.ask(&passing, PATIENCE).await, ConsulReply::Done);
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    let (mut index, mut count) = reading(client.ask(&instances(0), PATIENCE).await);
    assert_eq!(count, 1);
    let mut delays = Vec::new();
    for _ in 0..20 {
        let (watching, request) = (Arc::clone(&client), instances(index));
        let watch =
            tokio::spawn(async move { (watching.ask(&request, PATIENCE).await, Instant::now()) });
        // Give it the time to be there first.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let begin = Instant::now();
        let change = if count == 1 { &deregister } else { &passing };
        assert_eq!(client.ask(change, PATIENCE).await, ConsulReply::Done);
        let (reply, at) = watch.await.unwrap();
        delays.push(at.saturating_duration_since(begin));
        let (new, number) = reading(reply);
        assert!(new > index && number != count, "{new} {index} {number}");
        (index, count) = (new, number);
    }
    delays.sort();
    println!("from change to reading: median {:?}, longest {:?}", delays[10], delays[19]);
    assert!(client.counters().connections() <= 3, "{}", client.counters().connections());
}

#[tokio::test]
async fn keys_are_watched() {
    let Some(consul) = Consul::start("").await else { return };
    let client = client(&consul.agent);
    let keys = |index| ConsulRequest::Keys {
        key: "app/".into(),
        recurse: true,
        dc: None,
        index,
        wait: Duration::from_secs(1),
    };
    let reply = client.ask(&keys(0), PATIENCE).await;
    let ConsulReply::Keys { index, entries } = reply else { panic!("{reply:?}") };
    assert!(entries.is_empty());
    let begin = Instant::now();
    let reply = client.ask(&keys(index), PATIENCE).await;
    assert!(matches!(reply, ConsulReply::Keys { .. }), "{reply:?}");
    assert!(begin.elapsed() >= Duration::from_secs(1), "it waits for a change");
}

#[tokio::test]
async fn default_deny_wants_the_right_token() {
    let more = format!(
        r#", "acl": {{ "enabled": true, "default_policy": "deny",
                       "tokens": {{ "master": "{TOKEN}" }} }}"#
    );
    let Some(consul) = Consul::start(&more).await else { return };
    let passing = register(CheckStatus::Passing);
    let (status, words) = refused(client(&consul.agent).ask(&passing, PATIENCE).await);
    assert_eq!(status, 403);
    assert!(words.starts_with("no token was sent: Permission denied"), "{words}");
    let mut agent = consul.agent.clone();
    agent.token = Some(Secret("22222222-2222-2222-2222-222222222222".into()));
    let (status, words) = refused(client(&agent).ask(&passing, PATIENCE).await);
    assert_eq!(status, 403);
    assert!(words.starts_with("the token that was sent is unknown, or may not do this: "));
    let file = consul.folder.path().join("token");
    fs::write(&file, format!("{TOKEN}\n")).unwrap();
    agent.token = None;
    agent.token_file = Some(file.display().to_string());
    let client = client(&agent);
    // Its own policies may take a moment.
    let begin = Instant::now();
    while client.ask(&passing, PATIENCE).await != ConsulReply::Done {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
    assert_eq!(reading(client.ask(&instances(0), PATIENCE).await).1, 1);
}

#[tokio::test]
async fn tls_with_client_certificates_is_spoken_and_its_errors_are_named() {
    let authority = Authority::new();
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);
    let server = authority.issue(&["server.dc1.consul", "localhost"]);
    fs::write(path("ca.pem"), authority.pem()).unwrap();
    let mut identity = Agent::new("", Scheme::Http);
    server.save(files.path(), &mut identity);
    let (certificate, key) = (identity.tls.client_cert.unwrap(), identity.tls.client_key.unwrap());
    let more = format!(
        r#", "verify_incoming_https": true, "ca_file": "{}",
             "cert_file": "{certificate}", "key_file": "{key}""#,
        path("ca.pem").display()
    );
    let Some(consul) = Consul::start(&more).await else { return };
    let mut agent = Agent::new(consul.https.clone(), Scheme::Https);
    agent.tls.ca_file = Some(path("ca.pem").display().to_string());
    let words = unreachable(client(&agent).ask(&report(), PATIENCE).await);
    assert!(words.contains("not for 127.0.0.1"), "{words}");
    agent.tls.server_name = Some("server.dc1.consul".into());
    for _ in 0..10 {
        let words = unreachable(client(&agent).ask(&report(), PATIENCE).await);
        assert!(words.contains("client certificate"), "{words}");
    }
    let own: PathBuf = path("own");
    fs::create_dir(&own).unwrap();
    Authority::new().issue(&["client"]).save(&own, &mut agent);
    let words = unreachable(client(&agent).ask(&report(), PATIENCE).await);
    assert!(words.contains("it refuses our certificate"), "{words}");
    authority.issue(&["client"]).save(&own, &mut agent);
    let good = client(&agent);
    let reply = good.ask(&register(CheckStatus::Passing), PATIENCE).await;
    assert_eq!(reply, ConsulReply::Done);
    assert_eq!(reading(good.ask(&instances(0), PATIENCE).await).1, 1);
    assert_eq!(good.counters().connections(), 1);

    let plain = client(&Agent::new(consul.https.clone(), Scheme::Http));
    let (status, words) = refused(plain.ask(&report(), PATIENCE).await);
    assert_eq!(status, 400);
    assert!(words.starts_with("the scheme has to be https"), "{words}");
    agent.address = consul.agent.address.clone();
    let words = unreachable(client(&agent).ask(&report(), PATIENCE).await);
    assert!(words.ends_with("with scheme http it may work"), "{words}");
}

#[tokio::test]
async fn agent_that_is_stopped_is_given_up_in_time_and_found_again() {
    let Some(consul) = Consul::start("").await else { return };
    let client = client(&consul.agent);
    assert_eq!(client.ask(&register(CheckStatus::Passing), PATIENCE).await, ConsulReply::Done);
    consul.signal(Signal::SIGSTOP);
    until("all of its threads standing still", || consul.is_stopped()).await;
    let words = unreachable(client.ask(&report(), Duration::from_millis(500)).await);
    assert!(words.ends_with("it took the connection and did not answer"), "{words}");
    consul.signal(Signal::SIGCONT);
    assert_eq!(client.ask(&report(), PATIENCE).await, ConsulReply::Done);
}

#[tokio::test]
async fn agent_that_was_restarted_empty_is_noticed_by_its_answer() {
    let Some(mut consul) = Consul::start("").await else { return };
    let client = client(&consul.agent);
    assert_eq!(client.ask(&register(CheckStatus::Passing), PATIENCE).await, ConsulReply::Done);
    consul.signal(Signal::SIGKILL);
    consul.child.wait().unwrap();
    unreachable(client.ask(&report(), PATIENCE).await);
    let file = consul.folder.path().join("consul.json");
    let mut command = Command::new("consul");
    command.args(["agent", "-dev", "-config-file"]).arg(file);
    consul.child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let begin = Instant::now();
    let unknown = ConsulReply::Failed(ConsulFailure::Unknown);
    while client.ask(&report(), PATIENCE).await != unknown {
        assert!(begin.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn namespace_is_refused_with_consuls_words() {
    let Some(consul) = Consul::start("").await else { return };
    let mut agent = consul.agent.clone();
    agent.namespace = Some("team".into());
    let (status, words) = refused(client(&agent).ask(&instances(0), PATIENCE).await);
    assert_eq!(status, 400);
    assert!(words.contains("ns"), "{words}");
}
