//! 05-agent-coprocess and 09-outside-process: a catalog that forgets, processes of somebody else.

use std::process::{Command, Stdio};
use std::time::Duration;

use steersman_tests::program::steersman;
use steersman_tests::wait::until;

use crate::bench::{Catalog, Kind, ROOM, Supervisor, children_of, free_port, request, time};

/// The agent runs as a job: the catalog is looked at from outside, over its address.
struct Window {
    address: String,
}

impl Window {
    fn is_passing(&self) -> bool {
        let answer = request(&self.address, "GET", "/v1/health/service/app?passing=1", "");
        answer.is_some_and(|(status, body)| status == 200 && body.contains("\"ID\""))
    }
}

fn pid_of(supervisor: &Supervisor, word: &str) -> Option<u32> {
    children_of(supervisor.pid()).into_iter().map(|child| child.0).find(|pid| {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&command).contains(word)
    })
}

#[test]
fn application_outlives_an_agent_that_forgets_and_the_agent_stops_last() {
    let (port, consul_port) = (free_port(), free_port());
    let address = format!("127.0.0.1:{consul_port}");
    let agent = format!("{} consul --listen {address}", steersman().display());
    let env = [("CONSUL", address.clone()), ("PORT", port.to_string()), ("AGENT", agent)];
    let mut container = Supervisor::start("05-agent-coprocess.json5", "app", &env);
    let window = Window { address };
    until("the application is passing", || window.is_passing().then_some(()));
    let application = until("its process", || pid_of(&container, "perl"));
    let agent = until("the agent", || pid_of(&container, "consul"));
    let status = Command::new("kill").arg("-9").arg(agent.to_string()).status();
    assert!(status.expect("kill can be run").success());
    until("the agent is gone", || (pid_of(&container, "consul") != Some(agent)).then_some(()));
    until("the agent is back", || request(&window.address, "GET", "/v1/status/leader", ""));
    let back = time("registered and passing again", || window.is_passing().then_some(()));
    assert!(back < Duration::from_secs(10) + ROOM, "{back:?}");
    assert_eq!(pid_of(&container, "perl"), Some(application), "its process is untouched");
    let (status, took) = container.stop();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(11), "{took:?}");
    assert_eq!(container.lines("left"), ["leaving"]);
    let log = container.log();
    let out = log.find("is out of Consul").expect("the application was deregistered");
    let ended = log.rfind("agent ended").expect("the agent was stopped");
    assert!(out < ended, "the agent is the last to go");
    assert!(!log.contains("cannot take"), "no deregistration was given up");
}

fn somebody_elses_process_is_advertised_as_it_is(kind: Kind) {
    let catalog = Catalog::start(kind);
    let port = free_port();
    let env = [("CONSUL", catalog.address.clone()), ("PORT", port.to_string())];
    let mut outside = Supervisor::start("09-outside-process.json5", "outside", &env);
    let known = time("critical from the first moment", || {
        (catalog.status("legacy").as_deref() == Some("critical")).then_some(())
    });
    assert!(known < Duration::from_secs(1) + ROOM, "{known:?}");
    assert_eq!(catalog.status("legacy-admin").as_deref(), Some("warning"));
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/configs");
    let mut server = Command::new(fixtures.join("standins.sh"))
        .args(["serve", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the stand-in can be run");
    until("it answers", || request(&format!("127.0.0.1:{port}"), "GET", "/", ""));
    let passing =
        time("passing", || (catalog.status("legacy").as_deref() == Some("passing")).then_some(()));
    assert!(passing < Duration::from_secs(3) + ROOM, "{passing:?}");
    server.kill().expect("it is ours");
    server.wait().expect("it is ours");
    let critical = time("critical", || {
        (catalog.status("legacy").as_deref() == Some("critical")).then_some(())
    });
    assert!(critical < Duration::from_secs(7), "{critical:?}");
    assert!(outside.control(&["ping"]).success(), "the supervisor does not end");
    let (status, _) = outside.stop();
    assert_eq!(status, Some(0));
    assert_eq!(catalog.status("legacy"), None);
}

#[test]
fn somebody_elses_process_is_advertised_as_it_is_with_the_model() {
    somebody_elses_process_is_advertised_as_it_is(Kind::Model);
}

#[test]
fn somebody_elses_process_is_advertised_as_it_is_with_a_real_consul() {
    somebody_elses_process_is_advertised_as_it_is(Kind::Real);
}
