//! The keeper beside real supervisors with real processes, each in a PID name space of its own.
//!
//! - `stopped_first_process…`, `stopped_supervisor_below_another…`: SIGSTOP, and nothing of the
//!   term outlives its time
//! - `killed_supervisor_leaves_no_daemon_behind`: SIGKILL, where no kernel ends what it has started
//! - `killed_keeper_is_replaced`, `stopped_keeper_is_no_harm`: a keeper that does not keep
//! - `renewed_term_is_left_alone`, `orderly_end_needs_no_keeper`: it kills nobody in vain
//! - `lock_that_requires_a_keeper_is_not_held_without_proc`
//!
//! A keeper kills by what it sees in `/proc`. **Never start one outside a PID name space**: each of
//! these tests goes through [`Container`], which makes one.

use std::collections::BTreeSet;
use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use steersman_engine::limits::RELEASED_FLAG;
use steersman_tests::consul::agent::Agent;
use steersman_tests::consul::wire::{self, Wanted};
use steersman_tests::container::{Container, Rank, children_of, command_of, signal};
use steersman_tests::program::steersman;
use steersman_tests::wait::{stays, until};

/// From the sending of the last answered renewal to the end of everything.
const TERM: Duration = Duration::from_millis(3100);

/// A job of the term that leaves a daemon, one of everybody that does, and one that ends with it.
const CONFIG: &str = r#"{
    consul: '{{ .CONSUL }}',
    control: { socket: '{{ .RUN_DIR }}/control' },
    stopTimeout: "3s",
    locks: [{
        name: "one", key: "one", value: "me", keeper: '{{ .KEEPER | default "auto" }}',
        ttl: "10s", lockDelay: "10s", renewEvery: "300ms", requestTimeout: "100ms",
        demoteAfter: "2600ms", stopTimeout: "500ms", maxPause: "500ms", holdOff: "10s",
    }],
    jobs: [
        {
            name: "lead", while: "lock.one",
            exec: ["sh", "-c", "trap '' TERM; touch $RUN_DIR/led; (setsid sleep 1000 &); \
                    while :; do sleep 1; done"],
        },
        { name: "bound", exec: ["sh", "-c", "(setsid sleep 1000 &); exec sleep 1000"],
            stopWith: "lock.one", restarts: "unlimited" },
        { name: "other", exec: ["sh", "-c", "(setsid sleep 1000 &); exec sleep 1000"] },
    ],
}"#;

/// A model of Consul in which the lock was given back in order once: nobody need keep quiet.
fn consul() -> Agent {
    let agent = Agent::model();
    let target = format!("/v1/kv/one?flags={RELEASED_FLAG}");
    let wanted = Wanted { method: "PUT".to_owned(), target, ..Wanted::default() };
    let got = wire::send(agent.address, &wanted).expect("it answers");
    assert_eq!(got.status, 200);
    agent
}

/// A supervisor that leads, its Consul, and what it has started.
struct World {
    container: Container,
    _consul: Agent,
}

impl World {
    fn start(rank: Rank, keeper: &str) -> World {
        let consul = consul();
        let address = consul.address.to_string();
        let env = [("CONSUL", &*address), ("KEEPER", keeper)];
        let container = Container::start_as(rank, "kept", CONFIG, &env);
        World { container, _consul: consul }
    }

    /// Starts one that leads, with all its processes and a keeper.
    fn leading(rank: Rank) -> World {
        let world = World::start(rank, "auto");
        until("all processes of all jobs", || {
            let counts = ["lead", "bound", "other"].map(|job| world.processes(job).len());
            // The first one's shell, which ignores SIGTERM by then, and what it has started; of
            // each other one a sleep and a daemon.
            (counts[0] >= 2 && counts[1] == 2 && counts[2] == 2).then_some(())
        });
        world.container.await_line("a keeper watches over the processes of the term");
        world
    }

    /// The live processes of a job, wherever they have gone, by what is in their environment.
    fn processes(&self, job: &str) -> BTreeSet<u32> {
        let place = format!("RUN_DIR={}", self.container.path("").display());
        let place = place.trim_end_matches('/').to_owned();
        let mark = format!("STEERSMAN_RUN={job}.");
        let is_its = |pid: &u32| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let has = |wanted: &dyn Fn(&str) -> bool| {
                let mut entries = environment.split(|byte| *byte == 0);
                entries.any(|entry| std::str::from_utf8(entry).is_ok_and(wanted))
            };
            has(&|entry| entry == place) && has(&|entry| entry.starts_with(&mark))
        };
        everybody().filter(is_its).collect()
    }

    fn keepers(&self) -> Vec<u32> {
        let mut children = children_of(self.container.pid());
        children.retain(|pid| is_keeper(*pid));
        children
    }

    fn keeper(&self) -> u32 {
        until("a keeper", || self.keepers().first().copied())
    }

    /// Waits until nothing of the term is left; what does not depend on it still is.
    fn assert_ended(&self, others: &BTreeSet<u32>) {
        until("the end of all that the term had", || {
            let left = self.processes("lead").len() + self.processes("bound").len();
            (left == 0).then_some(())
        });
        assert_eq!(self.processes("other"), *others, "they had nothing to do with it");
    }
}

fn everybody() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").expect("it is mounted").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_keeper(pid: u32) -> bool {
    command_of(pid).get(1).is_some_and(|word| word == "keeper")
}

fn assert_stopped_supervisor_is_no_danger(rank: Rank) {
    let world = World::leading(rank);
    let others = world.processes("other");
    signal("STOP", world.container.pid());
    world.assert_ended(&others);
    signal("CONT", world.container.pid());
    world.container.await_line("lock one: the keeper killed");
    world.container.await_line("lock one: the term ends");
    // What ends with the lock and is always wanted is there again, and its keeper is not.
    until("the job that goes on", || (world.processes("bound").len() == 2).then_some(()));
    until("the end of the keeper", || world.keepers().is_empty().then_some(()));
    assert_eq!(world.processes("other"), others);
}

#[test]
fn stopped_first_process_does_not_keep_its_term_alive() {
    assert_stopped_supervisor_is_no_danger(Rank::First);
}

#[test]
fn stopped_supervisor_below_another_does_not_keep_its_term_alive() {
    assert_stopped_supervisor_is_no_danger(Rank::Second);
}

#[test]
fn killed_supervisor_leaves_no_daemon_behind() {
    let world = World::leading(Rank::Second);
    let others = world.processes("other").len();
    assert_eq!(others, 2);
    let keeper = world.keeper();
    signal("KILL", world.container.pid());
    until("the end of all that the term had", || {
        let left = world.processes("lead").len() + world.processes("bound").len();
        (left == 0).then_some(())
    });
    until("the end of the keeper", || (!is_keeper(keeper)).then_some(()));
    // Nobody has promised anything of a daemon that no lock is about; its first process dies.
    until("the daemon alone", || (world.processes("other").len() == 1).then_some(()));
}

#[test]
fn killed_keeper_is_replaced() {
    let world = World::leading(Rank::First);
    let others = world.processes("other");
    let lead = world.processes("lead").first().copied();
    for _ in 0..3 {
        let keeper = world.keeper();
        signal("KILL", keeper);
        until("another keeper", || world.keepers().iter().find(|pid| **pid != keeper).copied());
    }
    world.container.await_line("no keeper, the supervisor alone ends terms in time");
    stays("the term", Duration::from_secs(1), || {
        world.processes("lead").first().copied() == lead && world.keepers().len() == 1
    });
    signal("STOP", world.container.pid());
    world.assert_ended(&others);
}

#[test]
fn stopped_keeper_is_no_harm() {
    let mut world = World::leading(Rank::First);
    signal("STOP", world.keeper());
    let lead = world.processes("lead").first().copied();
    stays("the term", TERM, || world.processes("lead").first().copied() == lead);
    // With the status of the job that had to be killed.
    assert_eq!(world.container.stop().0, Some(137));
    assert!(!world.container.log().contains("the keeper killed"));
}

#[test]
fn renewed_term_is_left_alone() {
    let world = World::leading(Rank::First);
    let keepers = world.keepers();
    let lead = world.processes("lead").first().copied();
    stays("the term and its keeper", 3 * TERM, || {
        let is_same = world.processes("lead").first().copied() == lead;
        is_same && world.processes("bound").len() == 2 && world.keepers() == keepers
    });
    assert!(!world.container.log().contains("the keeper killed"));
}

#[test]
fn orderly_end_needs_no_keeper() {
    let mut world = World::leading(Rank::First);
    // Its job ignores SIGTERM, and is killed by its supervisor.
    assert!(world.container.control(&["maintenance", "enable"]).status.success());
    until("the end of the term", || world.processes("lead").is_empty().then_some(()));
    until("the end of the keeper", || world.keepers().is_empty().then_some(()));
    assert!(world.container.control(&["maintenance", "disable"]).status.success());
    let keeper = world.keeper();
    until("the next term", || (world.processes("lead").len() >= 2).then_some(()));
    // With the status of the job that had to be killed.
    assert_eq!(world.container.stop().0, Some(137));
    until("the end of the keeper", || (!is_keeper(keeper)).then_some(()));
    let log = world.container.log();
    assert!(!log.contains("the keeper killed"), "{log}");
    assert!(!log.contains("no keeper"), "{log}");
}

#[test]
fn lock_that_requires_a_keeper_is_not_held_without_proc() {
    let world = World::start(Rank::Blind, "required");
    world.container.await_line("no keeper, the supervisor alone ends terms in time");
    world.container.await_line("it requires a keeper, and there is none");
    assert!(!world.container.path("led").exists(), "no term has begun");
    // Where it may do without, it does.
    let world = World::start(Rank::Blind, "auto");
    until("the term", || world.container.path("led").exists().then_some(()));
}

#[test]
fn keeper_that_nobody_has_asked_for_does_nothing() {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(steersman());
    command.args(["keeper", "1"]).stdin(Stdio::null());
    let output = command.output().expect("unshare can be run");
    assert_eq!(output.status.code(), Some(2));
}
