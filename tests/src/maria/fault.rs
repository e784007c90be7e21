//! Faults, each with its end, and how long they took.

use std::process::Command;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, MEMBERS, docker};
use super::judge::settled;
use super::writer::{Ack, Writers};
use crate::wait::{stays, until};

/// What happens to the primary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Its container is stopped in good order, as for an upgrade.
    Stop,
    /// Its container is killed with all that runs in it.
    Kill,
    /// Its container stands still for longer than its deadline, then goes on.
    Pause,
    /// It cannot reach Consul any more; clients and replicas still reach it.
    CutFromConsul,
    /// Nobody reaches it any more.
    CutFromAll,
    /// Only the database is killed.
    KillDatabase,
}

impl Fault {
    /// All of them.
    pub const ALL: [Fault; 6] = [
        Fault::Stop,
        Fault::Kill,
        Fault::Pause,
        Fault::CutFromConsul,
        Fault::CutFromAll,
        Fault::KillDatabase,
    ];

    /// Gives its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Fault::Stop => "stop",
            Fault::Kill => "kill",
            Fault::Pause => "pause",
            Fault::CutFromConsul => "cut",
            Fault::CutFromAll => "cut-from-all",
            Fault::KillDatabase => "kill-database",
        }
    }

    /// Tells what it is, in words.
    pub const fn words(self) -> &'static str {
        match self {
            Fault::Stop => "orderly stop (docker stop)",
            Fault::Kill => "container killed (docker kill)",
            Fault::Pause => "container frozen past its deadline (docker pause)",
            Fault::CutFromConsul => "cut from Consul, clients still reach it (iptables)",
            Fault::CutFromAll => "cut from everything (docker network disconnect)",
            Fault::KillDatabase => "mariadbd killed (kill -9)",
        }
    }

    fn begin(self, cluster: &Cluster, member: usize) {
        let name = cluster.container(member);
        match self {
            Fault::Stop => drop(docker(&["stop", "--time", "30", &name])),
            Fault::Kill => drop(docker(&["kill", &name])),
            Fault::Pause => drop(docker(&["pause", &name])),
            Fault::CutFromConsul => firewall(cluster, &name, "--append"),
            Fault::CutFromAll => {
                docker(&["network", "disconnect", cluster.network(), &name]);
            }
            Fault::KillDatabase => {
                let script = "kill -9 $(cat /run/mariadb/mariadbd.pid)";
                docker(&["exec", &name, "bash", "-c", script]);
            }
        }
    }

    fn end(self, cluster: &Cluster, member: usize) {
        let name = cluster.container(member);
        match self {
            Fault::Stop | Fault::Kill => drop(docker(&["start", &name])),
            Fault::Pause => drop(docker(&["unpause", &name])),
            Fault::CutFromConsul => firewall(cluster, &name, "--delete"),
            Fault::CutFromAll => {
                let address = cluster.address(member);
                docker(&["network", "connect", "--ip", &address, cluster.network(), &name]);
            }
            Fault::KillDatabase => {}
        }
    }

    /// Tells whether another member must take over.
    const fn moves(self) -> bool {
        !matches!(self, Fault::KillDatabase)
    }
}

/// Drops what a container says to Consul, or does not any more.
fn firewall(cluster: &Cluster, name: &str, action: &str) {
    let init = docker(&["inspect", "--format", "{{.State.Pid}}", name]);
    let status = Command::new("nsenter")
        .args(["--target", init.trim(), "--net", "iptables", action, "OUTPUT"])
        .args(["--destination", &cluster.consul_address(), "--jump", "DROP"])
        .status();
    assert!(status.expect("nsenter can be run").success(), "iptables failed");
}

/// How long a fault took.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// From the fault's beginning to the first write acknowledged elsewhere, or again.
    pub until_writes: Duration,
    /// The longest time without any acknowledgement, seen by all clients together.
    pub silence: Duration,
    /// From the fault's end to the old primary as a replica that follows.
    pub until_replica: Duration,
    /// Of an orderly stop: from the signal to the lock, and to the next primary, as the members'
    /// logs tell it.
    pub hand_over: Option<(Duration, Duration)>,
}

/// Lets a fault happen to the primary, waits until another member leads, ends the fault, and waits
/// until all is well again.
///
/// # Panics
///
/// When it does not become well.
pub fn inflict(cluster: &Cluster, writers: &Writers, fault: Fault) -> Figures {
    let old = settled(cluster);
    let before = writers.acks();
    let term = before.last().map_or(0, |ack| ack.term);
    let begun = Instant::now();
    let began = wall();
    fault.begin(cluster, old);
    let hit = wall();
    let is_next =
        |ack: &Ack| if fault.moves() { ack.term > term } else { ack.at > hit && ack.term >= term };
    let first = until("a write is acknowledged again", || {
        writers.acks().into_iter().skip(before.len()).find(is_next)
    });
    assert!(!fault.moves() || first.member != old, "another member leads: {first:?}");
    if fault.moves() && fault != Fault::Stop {
        // The old one is still held: whatever it thinks, nothing of it is taken.
        let span = Duration::from_secs(3);
        stays("no acknowledgement of the old one", span, || {
            let acks = writers.acks();
            !acks.iter().rev().take(50).any(|ack| ack.at > first.at && ack.member == old)
        });
    }
    fault.end(cluster, old);
    let ended = Instant::now();
    settled(cluster);
    let until_replica = ended.elapsed();
    let hand_over = (fault == Fault::Stop).then(|| {
        let signal = moment(cluster, began, "shutting down: asked to");
        let held = moment(cluster, signal, "lock primary: held, token");
        let primary = moment(cluster, signal, "primary.sh: primary of term");
        let since = |at: f64| Duration::from_secs_f64(at - signal);
        (since(held), since(primary))
    });
    let acks = writers.acks();
    let window = acks.iter().filter(|ack| ack.at > began - 1.0).map(|ack| ack.at);
    Figures {
        until_writes: Duration::from_secs_f64((first.at - began).max(0.0)).min(begun.elapsed()),
        silence: longest_silence(window.collect()),
        until_replica,
        hand_over,
    }
}

/// When the members' logs first say something after an instant, in seconds since 1970.
fn moment(cluster: &Cluster, after: f64, words: &str) -> f64 {
    let logs: Vec<String> = (0..MEMBERS).map(|member| cluster.log(member)).collect();
    let lines = logs.iter().flat_map(|log| log.lines()).filter(|line| line.contains(words));
    // The second time in a line is when steersman wrote it.
    let times = lines.filter_map(|line| {
        let time = chrono::DateTime::parse_from_rfc3339(line.split(' ').nth(1)?).ok()?;
        Some(time.timestamp_micros() as f64 / 1e6)
    });
    let first = times.filter(|at| *at >= after).fold(f64::INFINITY, f64::min);
    assert!(first.is_finite(), "no member says \"{words}\"");
    first
}

fn longest_silence(mut times: Vec<f64>) -> Duration {
    times.sort_by(f64::total_cmp);
    let longest = times.windows(2).map(|pair| pair[1] - pair[0]).fold(0.0, f64::max);
    Duration::from_secs_f64(longest)
}

/// Seconds since 1970: the containers have this machine's clock.
fn wall() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("it is later than 1970").as_secs_f64()
}
