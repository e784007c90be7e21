//! Hosts in network name spaces, one wire each to a switch, and what is cut between them.
//!
//! The switch is in the name space of whoever calls; `run` has made that one for this run alone, so
//! nothing of it is seen outside, and all of it goes with the run's first process.

use std::process::Command;

/// How many servers and how many members there are.
pub(super) const SIZE: usize = 3;

/// One of the six hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Host {
    /// Where a Consul server runs.
    Server(usize),
    /// Where a supervisor runs.
    Member(usize),
}

impl Host {
    pub(super) fn all() -> impl Iterator<Item = Host> {
        (0..SIZE).map(Host::Server).chain((0..SIZE).map(Host::Member))
    }

    pub(super) fn name(self) -> String {
        match self {
            Host::Server(nth) => format!("s{}", nth + 1),
            Host::Member(nth) => format!("m{}", nth + 1),
        }
    }

    pub(super) fn address(self) -> String {
        match self {
            Host::Server(nth) => format!("10.99.0.{}", nth + 11),
            Host::Member(nth) => format!("10.99.0.{}", nth + 21),
        }
    }

    /// Where its network can be entered.
    pub(super) fn door(self) -> String {
        format!("/run/netns/{}", self.name())
    }
}

/// Which packets between two hosts are dropped, seen from the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Out,
    In,
    Both,
}

/// Makes the switch and the hosts.
///
/// # Panics
///
/// When the machine has no network name spaces, or the caller may not make them.
pub(super) fn build() {
    run("mkdir -p /run/netns");
    run("mount -t tmpfs none /run/netns");
    run("ip link set lo up");
    run("ip link add switch type bridge");
    run("ip addr add 10.99.0.1/24 dev switch");
    run("ip link set switch up");
    for host in Host::all() {
        let (name, address) = (host.name(), host.address());
        run(&format!("ip netns add {name}"));
        run(&format!("ip link add eth0 netns {name} type veth peer name {name}"));
        run(&format!("ip link set {name} master switch up"));
        run(&format!("ip -n {name} addr add {address}/24 dev eth0"));
        run(&format!("ip -n {name} link set eth0 up"));
        run(&format!("ip -n {name} link set lo up"));
    }
}

/// Pulls a host's wire out, or puts it in again.
pub(super) fn wire(host: Host, is_in: bool) {
    let state = if is_in { "up" } else { "down" };
    run(&format!("ip link set {} {state}", host.name()));
}

/// Drops what one host says to another, or hears from it, without a word to either.
pub(super) fn cut(host: Host, other: Host, way: Way) {
    rules("--append", host, other, way);
}

/// Ends what `cut` began.
pub(super) fn mend(host: Host, other: Host, way: Way) {
    rules("--delete", host, other, way);
}

fn rules(action: &str, host: Host, other: Host, way: Way) {
    let (name, address) = (host.name(), other.address());
    let enter = format!("ip netns exec {name} iptables --wait {action}");
    if way != Way::In {
        run(&format!("{enter} OUTPUT --destination {address} --jump DROP"));
    }
    if way != Way::Out {
        run(&format!("{enter} INPUT --source {address} --jump DROP"));
    }
}

fn run(line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    let output = Command::new(words[0]).args(&words[1..]).output();
    let output = output.unwrap_or_else(|error| panic!("cannot run {}: {error}", words[0]));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
}
