//! NGINX as the front of services that come, pause, crash and go: the example of docs/examples, run
//! for real (scenarios N1, N2, N3, N5, N6 and N12).
//!
//! The bounds are those of the original's design with its figures (health check every 3 s, TTL 10,
//! a watch of 7 s, 2 s to render): 20 s for a crash or a pause, 10 s for a stop, 13 s for a join.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use steersman_tests::consul::agent::{Agent, free_ports};
use steersman_tests::container::Container;
use steersman_tests::wait::{stays, until};

/// What a bound gets on top on a busy machine.
const ROOM: Duration = Duration::from_secs(5);
const CRASH: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);
const JOIN: Duration = Duration::from_secs(13);

fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/examples").join(name)
}

struct Front {
    container: Container,
    port: u16,
}

impl Front {
    fn start(agent: &Agent) -> Front {
        let [port] = free_ports();
        let (address, script) = (agent.address.to_string(), example("nginx-front.sh"));
        let (number, script) = (port.to_string(), script.display().to_string());
        let env = [("CONSUL_HTTP_ADDR", &*address), ("PORT", &*number), ("SCRIPT", &*script)];
        let container = Container::of_file("front", &example("nginx-front.json5"), &env);
        let front = Front { container, port };
        until("the front answers", || front.get("/health").filter(|got| got.contains(" 204 ")));
        front
    }

    fn get(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }

    /// The ports that its upstreams have.
    fn upstreams(&self) -> BTreeSet<u16> {
        let text = self.container.read("upstreams.conf");
        let servers = text.lines().filter_map(|line| line.trim().strip_prefix("server "));
        let ports = servers.filter_map(|server| server.strip_suffix(';')?.rsplit_once(':'));
        ports.filter_map(|(_, port)| port.parse().ok()).collect()
    }

    /// Waits until it has these upstreams, no later than `bound` from `begin`; gives the time.
    fn follows(&self, wanted: &BTreeSet<u16>, begin: Instant, bound: Duration) -> Duration {
        until(&format!("upstreams {wanted:?}"), || (self.upstreams() == *wanted).then_some(()));
        let took = begin.elapsed();
        assert!(took < bound + ROOM, "after {took:?}, the bound is {bound:?}");
        took
    }

    /// The names that answer requests now.
    fn served_by(&self) -> BTreeSet<String> {
        let answers = (0..40).filter_map(|_| self.get("/"));
        let served = answers.filter(|answer| answer.contains(" 200 "));
        served.filter_map(|answer| answer.lines().last().map(str::to_owned)).collect()
    }

    /// When it had NGINX read its configuration again.
    fn reloads(&self) -> Vec<f64> {
        let text = self.container.read("reloads");
        text.lines().filter_map(|line| line.split(' ').next()?.parse().ok()).collect()
    }

    /// How many changes its watch has told.
    fn changes(&self) -> usize {
        self.container.log().matches("watch back-end: ").count()
    }

    fn nginx(&self) -> u64 {
        self.container.job("nginx")["pid"].as_u64().expect("NGINX runs")
    }
}

fn back_end(agent: &Agent, port: u16) -> Container {
    let name = format!("back{port}");
    let address = agent.address.to_string();
    let port = port.to_string();
    let env = [("CONSUL_HTTP_ADDR", &*address), ("PORT", &*port), ("NAME", &*name)];
    Container::of_file(&name, &example("nginx-back-end.json5"), &env)
}

/// Twelve back ends, and which of them the front should have.
struct Crowd {
    ports: [u16; 12],
    containers: Vec<Container>,
    wanted: BTreeSet<u16>,
}

impl Crowd {
    fn start(agent: &Agent) -> Crowd {
        let ports = free_ports();
        let containers = ports.iter().map(|port| back_end(agent, *port)).collect();
        Crowd { ports, containers, wanted: ports.into() }
    }

    /// Waits until these and no others answer requests.
    fn all_serve(&self, front: &Front) {
        let names: BTreeSet<String> =
            self.wanted.iter().map(|port| format!("back{port}")).collect();
        until("those that are there serve", || (front.served_by() == names).then_some(()));
    }

    /// 0, 1 and 2 stop in order.
    fn some_stop(&mut self, front: &Front) -> Duration {
        let begin = Instant::now();
        for (container, port) in self.containers.iter_mut().zip(&self.ports).take(3) {
            assert_eq!(container.stop().0, Some(0));
            self.wanted.remove(port);
        }
        front.follows(&self.wanted, begin, STOP)
    }

    /// 3, 4 and 5 crash while 6, 7 and 8 stand still, and go on after 15 s.
    fn some_crash_and_some_stand_still(&mut self, front: &Front) -> [Duration; 2] {
        let begin = Instant::now();
        for nth in 3..6 {
            self.containers[nth].crash();
            self.containers[nth + 3].pause();
            self.wanted.remove(&self.ports[nth]);
            self.wanted.remove(&self.ports[nth + 3]);
        }
        let out = front.follows(&self.wanted, begin, CRASH);
        let rest = Duration::from_secs(15).saturating_sub(begin.elapsed());
        stays("they stay out", rest, || front.upstreams() == self.wanted);
        let begin = Instant::now();
        for (container, port) in self.containers.iter().zip(&self.ports).skip(6).take(3) {
            container.resume();
            self.wanted.insert(*port);
        }
        [out, front.follows(&self.wanted, begin, JOIN)]
    }
}

fn refuses(front: &Front) {
    until("it refuses, and lives", || front.get("/").filter(|got| got.contains(" 502 ")));
}

fn twelve_back_ends_come_pause_crash_and_go(agent: &Agent) {
    let mut front = Front::start(agent);
    let nginx = front.nginx();
    assert_eq!(front.upstreams(), BTreeSet::new());
    refuses(&front);
    let begin = Instant::now();
    let mut crowd = Crowd::start(agent);
    let joined = front.follows(&crowd.wanted, begin, JOIN);
    crowd.all_serve(&front);
    let stopped = crowd.some_stop(&front);
    crowd.all_serve(&front);
    let [crashed, resumed] = crowd.some_crash_and_some_stand_still(&front);
    crowd.all_serve(&front);

    let port = crowd.ports[0];
    let begin = Instant::now();
    drop(crowd);
    let gone = front.follows(&BTreeSet::new(), begin, CRASH);
    refuses(&front);
    assert_eq!(agent.passing("back-end"), Vec::<String>::new());
    let begin = Instant::now();
    let again = back_end(agent, port);
    let back = front.follows(&BTreeSet::from([port]), begin, JOIN);
    until("it serves", || (!front.served_by().is_empty()).then_some(()));
    drop(again);

    assert_eq!(front.nginx(), nginx, "NGINX is the same process as at the beginning");
    let (reloads, changes) = (front.reloads().len(), front.changes());
    assert!(reloads <= changes, "{reloads} reloads for {changes} changes");
    println!(
        "joined {joined:.1?}, stopped {stopped:.1?}, crashed or paused {crashed:.1?}, \
         resumed {resumed:.1?}, all gone {gone:.1?}, first back {back:.1?}; \
         {reloads} reloads for {changes} changes"
    );
    assert_eq!(front.container.stop().0, Some(0));
}

#[test]
fn back_ends_come_pause_crash_and_go_with_a_real_consul() {
    twelve_back_ends_come_pause_crash_and_go(&Agent::real("", None));
}

#[test]
fn back_ends_come_pause_crash_and_go_with_the_development_consul() {
    twelve_back_ends_come_pause_crash_and_go(&Agent::model());
}

#[test]
fn hundred_back_ends_within_seconds_are_few_reloads_and_none_is_lost() {
    let agent = Agent::real("", None);
    let front = Front::start(&agent);
    let nginx = front.nginx();
    let begin = Instant::now();
    let all: BTreeSet<u16> = (20_000..20_100).collect();
    for port in &all {
        agent.register("back-end", &format!("back{port}"), *port);
        let due = Duration::from_millis(u64::from(port - 20_000) * 50);
        stays("the pace", due.saturating_sub(begin.elapsed()), || true);
    }
    let last = Instant::now();
    let took = front.follows(&all, last, Duration::from_secs(3));
    let reloads = front.reloads();
    println!("100 in {:.1?}: the last {took:.1?} later, {} reloads", last - begin, reloads.len());
    let close = reloads.windows(2).filter(|pair| pair[1] - pair[0] < 0.95).count();
    assert_eq!(close, 0, "reloads are a second apart: {reloads:?}");
    assert_eq!(front.nginx(), nginx, "NGINX is the same process as at the beginning");
}
