//! Leaders killed, agents restarted empty or stopped, too many connections.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use steersman_tests::consul::agent::{Agent, ask};
use steersman_tests::consul::cluster::Cluster;
use steersman_tests::wait::{stays, until};

use crate::bench::{WEB, last_seen, start, start_with, stops, supervises};

/// What a bound gets on top on a busy machine.
const ROOM: Duration = Duration::from_secs(5);

fn is_passing(agent: &Agent) -> Option<()> {
    (agent.passing("web") == [WEB]).then_some(())
}

#[test]
fn agent_that_was_restarted_empty_is_told_again() {
    let mut agent = Agent::real("", None);
    agent.register("upstream", "one", 9001);
    let mut container = start(&[("CONSUL_HTTP_ADDR", &agent.address.to_string())]);
    until("the service is registered", || is_passing(&agent));
    until("the upstream is seen", || (last_seen(&container)? == "127.0.0.1:9001").then_some(()));
    agent.kill();
    container.await_line("cannot use Consul, trying on: ");
    supervises(&container);
    agent.restart();
    let begin = Instant::now();
    until("the service is registered again", || is_passing(&agent));
    // The longest wait between two tries, and a quarter of jitter.
    assert!(begin.elapsed() < Duration::from_secs(19) + ROOM, "{:?}", begin.elapsed());
    agent.register("upstream", "two", 9002);
    until("the new upstream is seen", || {
        (last_seen(&container)? == "127.0.0.1:9002").then_some(())
    });
    container.await_line("Consul can be reached again");
    stops(&mut container);
    assert!(agent.passing("web").is_empty());
}

#[test]
fn agent_that_was_restarted_between_two_reports_is_told_again() {
    let mut agent = Agent::real("", None);
    let mut container = start(&[("CONSUL_HTTP_ADDR", &agent.address.to_string())]);
    for _ in 0..3 {
        until("the service is registered", || is_passing(&agent));
        agent.kill();
        agent.restart();
    }
    until("the service is registered", || is_passing(&agent));
    stops(&mut container);
}

#[test]
fn stopped_agent_holds_up_nothing_and_is_found_again() {
    let agent = Agent::real("", None);
    let mut container = start(&[("CONSUL_HTTP_ADDR", &agent.address.to_string())]);
    until("the service is registered", || is_passing(&agent));
    agent.signal("STOP");
    supervises(&container);
    container.await_line("it took the connection and did not answer");
    agent.signal("CONT");
    until("the service is passing", || is_passing(&agent));
    agent.register("upstream", "one", 9001);
    until("the upstream is seen", || (last_seen(&container)? == "127.0.0.1:9001").then_some(()));
    agent.signal("STOP");
    stops(&mut container);
    agent.signal("CONT");
}

#[test]
fn leader_that_is_killed_costs_no_registration_and_no_change() {
    let mut cluster = Cluster::start();
    let leader = cluster.await_leader();
    let survivor = (0..3).find(|server| *server != leader).unwrap();
    let address = cluster.addresses[survivor];
    let mut container = start(&[("CONSUL_HTTP_ADDR", &address.to_string())]);
    let ask = |method: &str, target: &str, body: &str| ask(address, None, method, target, body);
    let passing = || {
        let (status, body) = ask("GET", "/v1/health/service/web?passing=1&stale", "")?;
        (status == 200 && body.contains("\"Port\":8000")).then_some(())
    };
    until("the service is registered", passing);
    let begin = Instant::now();
    cluster.kill(leader);
    let register = |id: &str, port: u16| {
        let body = format!(
            r#"{{"Name":"upstream","ID":"{id}","Address":"127.0.0.1","Port":{port},
                "Check":{{"TTL":"300s","Status":"passing"}}}}"#
        );
        let answer = ask("PUT", "/v1/agent/service/register", &body)?;
        (answer.0 == 200).then_some(())
    };
    until("a registration without a leader", || register("one", 9001));
    until("a new leader", || {
        let (status, _) = ask("PUT", "/v1/kv/probe", "x")?;
        (status == 200).then_some(())
    });
    let leaderless = begin.elapsed();
    until("the change is seen", || (last_seen(&container)? == "127.0.0.1:9001").then_some(()));
    let seen = begin.elapsed();
    println!("a new leader after {leaderless:.1?}, the change was handled after {seen:.1?}");
    assert!(seen < leaderless + Duration::from_secs(19) + ROOM);
    until("the service is passing", passing);
    stays("passing", Duration::from_secs(3), || passing().is_some());
    let begin = Instant::now();
    register("two", 9002).unwrap();
    until("the next change is seen", || {
        last_seen(&container)?.contains("127.0.0.1:9002").then_some(())
    });
    println!("after the election a change takes {:.0?}", begin.elapsed());
    supervises(&container);
    stops(&mut container);
}

#[test]
fn more_watches_than_connections_are_warned_of_and_hold_up_nothing() {
    let agent = Agent::real("", None);
    let mut watches = String::new();
    for nth in 0..230 {
        let _ = write!(watches, ", {{ name: \"w{nth}\", interval: 5 }}");
    }
    let mut container = start_with(&watches, &[("CONSUL_HTTP_ADDR", &agent.address.to_string())]);
    container.await_line("cannot keep 231 watches and locks in touch with one Consul agent");
    // Whatever is left for short requests is enough: the service is there, and stays.
    until("the service is registered", || is_passing(&agent));
    stays("passing", Duration::from_secs(5), || is_passing(&agent).is_some());
    assert!(!container.log().contains("cannot use Consul"), "{}", container.log());
    supervises(&container);
    stops(&mut container);
}
