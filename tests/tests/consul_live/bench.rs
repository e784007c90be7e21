//! A container with a service, a watch and something to do besides.

use std::time::Duration;

use steersman_tests::container::{Container, signal};
use steersman_tests::wait::until;

const CONFIG: &str = r#"{
  consul: "",
  stopTimeout: 4,
  control: { socket: "{{ .RUN_DIR }}/control.sock" },
  jobs: [
    { name: "web", exec: ["sleep", "100000"], restarts: "unlimited", port: 8000,
      interfaces: "static:127.0.0.1", health: { exec: ["true"], interval: 1, ttl: 10 } },
    { name: "tick", exec: ["sh", "-c", "echo tick >>$RUN_DIR/ticks"], when: { interval: "200ms" } },
    { name: "seen", exec: ["sh", "-c", "echo \"$CONTAINERPILOT_WATCH_UPSTREAM\" >>$RUN_DIR/seen"],
      when: { source: "watch.upstream", each: "changed" } },
  ],
  watches: [{ name: "upstream", interval: 5 }MORE],
}"#;

/// What the service is known as.
pub(crate) const WEB: &str = "127.0.0.1:8000";

/// Starts one that is told by the environment where Consul is.
pub(crate) fn start(env: &[(&str, &str)]) -> Container {
    start_with("", env)
}

/// The same, with further watches.
pub(crate) fn start_with(watches: &str, env: &[(&str, &str)]) -> Container {
    Container::start("box", &CONFIG.replace("MORE", watches), env)
}

/// Sees that it supervises: jobs run on time, what crashes is started again, control answers.
pub(crate) fn supervises(container: &Container) {
    let ticks = || container.read("ticks").lines().count();
    let before = ticks();
    until("more ticks", || (ticks() >= before + 5).then_some(()));
    let process = || container.job("web")["pid"].as_u64();
    let old = until("the service's process", process);
    let outside = steersman_tests::container::children_of(container.pid());
    let found = outside.into_iter().find(|pid| own_number(*pid) == Some(old));
    signal("KILL", found.expect("it is a child of the supervisor"));
    until("a new process", || process().filter(|new| *new != old));
}

/// The last upstreams that the handler saw.
pub(crate) fn last_seen(container: &Container) -> Option<String> {
    container.read("seen").lines().last().map(str::to_owned)
}

/// Stops it and sees that this is bounded whatever Consul does.
pub(crate) fn stops(container: &mut Container) {
    let (status, took) = container.stop();
    assert_eq!(status, Some(0));
    assert!(took < Duration::from_secs(5 + 3), "{took:?} for a budget of 4 s");
}

/// A process's number in its own name space.
fn own_number(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("NSpid:"))?;
    line.split_whitespace().last()?.parse().ok()
}
