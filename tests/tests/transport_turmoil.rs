//! The client of production over a simulated network: latency, partitions, half-open connections,
//! crashes, a name that moves. At the other end is the model of Consul, or a script.
//!
//! - `Agent`s: the model behind simulated TCP, its clock the simulation's
//! - one case a fault, then random faults over many seeds
//!
//! Time is the simulation's throughout: a minute costs milliseconds.

#![expect(clippy::unwrap_used, reason = "that is how a test fails")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use steersman::consul::{Client, Counters, Dial, Endpoint};
use steersman_engine::config::CheckStatus;
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest, Registration};
use steersman_engine::front::{Agent, Scheme};
use steersman_sim::consul::{
    AgentId, Consul, Input, Options, Output, Request, RequestId, Response,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep};
use turmoil::net::{TcpListener, TcpStream};
use turmoil::{Builder, Sim};

const PORT: u16 = 8500;
/// What the engine gives a request beyond its wait.
const PATIENCE: Duration = Duration::from_secs(15);
const WAIT: Duration = Duration::from_secs(60);

/// Dials the simulated network. The name is looked up at each dial.
#[derive(Clone)]
struct Simulated;

impl Dial for Simulated {
    type Stream = TcpStream;

    async fn dial(&self, to: &Endpoint) -> io::Result<TcpStream> {
        match to {
            Endpoint::Host { host, port } => TcpStream::connect((&**host, *port)).await,
            Endpoint::Socket(_) => Err(io::Error::from(io::ErrorKind::Unsupported)),
        }
    }
}

fn client() -> Arc<Client<Simulated>> {
    let agent = Agent::new(format!("consul:{PORT}"), Scheme::Http);
    Arc::new(Client::new(&agent, Simulated, Counters::new()).unwrap())
}

fn simulation(seed: u64) -> Sim<'static> {
    Builder::new()
        .rng_seed(seed)
        .epoch(UNIX_EPOCH + Duration::from_secs(1_700_000_000))
        .tick_duration(Duration::from_millis(5))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(20))
        .simulation_duration(Duration::from_secs(3600))
        .build()
}

fn register() -> ConsulRequest {
    ConsulRequest::Register(Box::new(Registration {
        id: "web-1".into(),
        name: "web".into(),
        address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))),
        port: 8080,
        tags: vec![],
        meta: vec![],
        enable_tag_override: false,
        check: "service:web-1".into(),
        ttl: Some(Duration::from_secs(600)),
        status: CheckStatus::Passing,
        notes: "".into(),
        deregister_critical_after: None,
    }))
}

fn report(output: &str) -> ConsulRequest {
    let check = "service:web-1".into();
    ConsulRequest::Report { check, status: CheckStatus::Passing, output: output.into() }
}

fn instances(index: u64) -> ConsulRequest {
    ConsulRequest::Instances {
        service: "web".into(),
        tag: None,
        dc: None,
        passing: true,
        index,
        wait: WAIT,
    }
}

fn reading(reply: ConsulReply) -> (u64, usize) {
    match reply {
        ConsulReply::Instances { index, instances } => (index, instances.len()),
        other => panic!("no reading: {other:?}"),
    }
}

fn unreachable(reply: &ConsulReply) -> &str {
    match reply {
        ConsulReply::Failed(ConsulFailure::Unreachable(text)) => text,
        other => panic!("not a failure on the way: {other:?}"),
    }
}

/// The model of Consul with the simulation's clock.
#[derive(Clone)]
struct Modelled {
    state: Rc<RefCell<State>>,
    changed: Rc<Notify>,
}

struct State {
    consul: Consul,
    requests: u64,
    waiting: BTreeMap<RequestId, oneshot::Sender<Option<Response>>>,
}

fn now() -> u64 {
    u64::try_from(turmoil::sim_elapsed().unwrap().as_nanos()).unwrap()
}

impl Modelled {
    fn new(seed: u64) -> Modelled {
        let consul = Consul::new(0, Options::dev(seed));
        let state = State { consul, requests: 0, waiting: BTreeMap::new() };
        Modelled { state: Rc::new(RefCell::new(state)), changed: Rc::new(Notify::new()) }
    }

    /// Serves on the host it is called on.
    async fn serve(self) -> turmoil::Result {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        let local = tokio::task::LocalSet::new();
        local.spawn_local(self.clone().run_clock());
        local
            .run_until(async move {
                loop {
                    let (stream, _) = listener.accept().await?;
                    let modelled = self.clone();
                    tokio::task::spawn_local(async move {
                        let service = service_fn(|request| modelled.answer(request));
                        // Its own date would be the real clock's.
                        let connection = hyper::server::conn::http1::Builder::new()
                            .auto_date_header(false)
                            .serve_connection(TokioIo::new(stream), service);
                        let _ = connection.await;
                    });
                }
            })
            .await
    }

    async fn answer(
        &self,
        request: hyper::Request<Incoming>,
    ) -> Result<hyper::Response<Full<Bytes>>, io::Error> {
        let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
        let mut wanted = Request::new(request.method().as_str(), target);
        let body = request.into_body().collect().await;
        wanted.body = body.map_err(io::Error::other)?.to_bytes().to_vec();
        let (sender, receiver) = oneshot::channel();
        let id = {
            let mut state = self.state.borrow_mut();
            state.requests += 1;
            let id = RequestId(state.requests);
            state.waiting.insert(id, sender);
            id
        };
        self.handle(Input::Request { id, agent: AgentId(0), request: wanted });
        let response = receiver.await.ok().flatten().ok_or(io::ErrorKind::ConnectionReset)?;
        let mut wire = hyper::Response::builder().status(response.status);
        for (name, value) in &response.headers {
            wire = wire.header(*name, &**value);
        }
        wire.body(Full::new(Bytes::from(response.body))).map_err(io::Error::other)
    }

    fn handle(&self, input: Input) {
        let mut state = self.state.borrow_mut();
        let outputs = state.consul.handle(now(), input);
        for Output { id, response } in outputs {
            if let Some(sender) = state.waiting.remove(&id) {
                let _ = sender.send(response);
            }
        }
        self.changed.notify_one();
    }

    async fn run_clock(self) {
        loop {
            let next = self.state.borrow().consul.next_wakeup();
            let changed = self.changed.notified();
            match next {
                None => changed.await,
                Some(at) if at <= now() => self.handle(Input::Tick),
                Some(at) => {
                    let pause = Duration::from_nanos(at - now()).max(Duration::from_millis(1));
                    let _ = tokio::time::timeout(pause, changed).await;
                }
            }
        }
    }
}

fn serve_model(sim: &mut Sim<'static>, seed: u64) {
    sim.host("consul", move || Modelled::new(seed).serve());
}

#[test]
fn change_reaches_a_watch_through_the_network_at_once() {
    let mut sim = simulation(1);
    serve_model(&mut sim, 1);
    sim.client("job", async {
        let client = client();
        assert_eq!(reading(client.ask(&instances(0), PATIENCE).await).1, 0);
        let (index, _) = reading(client.ask(&instances(0), PATIENCE).await);
        let watching = Arc::clone(&client);
        let watch = tokio::spawn(async move {
            (watching.ask(&instances(index), WAIT + PATIENCE).await, Instant::now())
        });
        sleep(Duration::from_secs(20)).await;
        let begin = Instant::now();
        assert_eq!(client.ask(&register(), PATIENCE).await, ConsulReply::Done);
        let (reply, at) = watch.await?;
        assert_eq!(reading(reply).1, 1);
        assert!(at - begin < Duration::from_millis(200), "{:?}", at - begin);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn partition_is_noticed_in_time_and_its_end_as_well() {
    let mut sim = simulation(2);
    serve_model(&mut sim, 2);
    sim.client("job", async {
        let client = client();
        assert_eq!(client.ask(&register(), PATIENCE).await, ConsulReply::Done);
        let (index, count) = reading(client.ask(&instances(0), PATIENCE).await);
        assert_eq!(count, 1);
        let watching = Arc::clone(&client);
        let watch = tokio::spawn(async move {
            let begin = Instant::now();
            let reply = watching.ask(&instances(index), WAIT + PATIENCE).await;
            (reply, begin.elapsed())
        });
        sleep(Duration::from_secs(1)).await;
        turmoil::partition("job", "consul");
        for _ in 0..3 {
            let begin = Instant::now();
            let reply = client.ask(&report("ok"), PATIENCE).await;
            unreachable(&reply);
            assert!(begin.elapsed() <= PATIENCE + Duration::from_millis(10));
        }
        // Nothing tells the watch: its own deadline has to.
        let (reply, took) = watch.await?;
        assert!(unreachable(&reply).contains("nothing within 75s"), "{reply:?}");
        assert!(took <= WAIT + PATIENCE + Duration::from_millis(10), "{took:?}");
        turmoil::repair("job", "consul");
        assert_eq!(client.ask(&report("back"), PATIENCE).await, ConsulReply::Done);
        assert_eq!(reading(client.ask(&instances(0), PATIENCE).await).1, 1);
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn request_that_arrives_while_its_answer_is_lost_is_an_open_question() {
    let mut sim = simulation(3);
    serve_model(&mut sim, 3);
    sim.client("job", async {
        let client = client();
        // The connection is there before the way back is cut.
        assert_eq!(reading(client.ask(&instances(0), PATIENCE).await).1, 0);
        turmoil::partition_oneway("consul", "job");
        let reply = client.ask(&register(), PATIENCE).await;
        assert!(unreachable(&reply).ends_with("it took the connection and did not answer"));
        turmoil::repair_oneway("consul", "job");
        assert_eq!(reading(client.ask(&instances(0), PATIENCE).await).1, 1, "it was done");
        Ok(())
    });
    sim.run().unwrap();
}

#[test]
fn half_open_connection_after_a_crash_costs_one_request_at_most() {
    let mut sim = simulation(4);
    serve_model(&mut sim, 4);
    sim.client("job", async {
        let client = client();
        assert_eq!(client.ask(&register(), PATIENCE).await, ConsulReply::Done);
        let (index, _) = reading(client.ask(&instances(0), PATIENCE).await);
        let watching = Arc::clone(&client);
        let watch = tokio::spawn(async move { watching.ask(&instances(index), WAIT).await });
        sleep(Duration::from_secs(60)).await;
        // Consul has crashed and come back in between, with nothing in it.
        drop(watch);
        let mut failures = 0;
        let unknown = ConsulReply::Failed(ConsulFailure::Unknown);
        loop {
            let reply = client.ask(&report("still here"), PATIENCE).await;
            if reply == unknown {
                break;
            }
            unreachable(&reply);
            failures += 1;
            assert!(failures <= 1, "{reply:?}");
        }
        assert_eq!(client.ask(&register(), PATIENCE).await, ConsulReply::Done);
        Ok(())
    });
    let crash = Duration::from_secs(30);
    let mut has_crashed = false;
    while !sim.step().unwrap() {
        if sim.elapsed() > crash && !has_crashed {
            sim.crash("consul");
            sim.bounce("consul");
            has_crashed = true;
        }
    }
    assert!(has_crashed);
}

#[test]
fn agent_that_is_not_there_refuses_and_is_found_when_it_comes() {
    let mut sim = simulation(5);
    serve_model(&mut sim, 5);
    sim.crash("consul");
    sim.client("job", async {
        let client = client();
        let reply = client.ask(&register(), PATIENCE).await;
        unreachable(&reply);
        sleep(Duration::from_secs(30)).await;
        assert_eq!(client.ask(&register(), PATIENCE).await, ConsulReply::Done);
        Ok(())
    });
    let mut has_come = false;
    while !sim.step().unwrap() {
        if sim.elapsed() > Duration::from_secs(20) && !has_come {
            sim.bounce("consul");
            has_come = true;
        }
    }
    assert!(has_come);
}

#[test]
fn answer_that_trickles_is_read_and_one_that_stops_is_given_up() {
    let mut sim = simulation(6);
    sim.host("consul", || async {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await?;
        for nth in 1.. {
            let (mut stream, _) = listener.accept().await?;
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                let _ = stream.read(&mut buffer).await;
                let body = "[                ]";
                let head = "HTTP/1.1 200 OK\r\nX-Consul-Index: 5\r\nContent-Length: 18\r\n\r\n";
                let text = format!("{head}{body}");
                let stop = if nth == 1 { text.len() } else { head.len() + 4 };
                for byte in text.as_bytes()[..stop].chunks(1) {
                    let _ = stream.write_all(byte).await;
                    sleep(Duration::from_millis(100)).await;
                }
                sleep(Duration::from_secs(600)).await;
            });
        }
        Ok(())
    });
    sim.client("job", async {
        let client = client();
        let begin = Instant::now();
        assert_eq!(reading(client.ask(&instances(0), PATIENCE).await), (5, 0));
        assert!(begin.elapsed() > Duration::from_secs(7));
        // The same connection: nothing comes.
        let reply = client.ask(&instances(0), PATIENCE).await;
        assert!(unreachable(&reply).ends_with("it took the connection and did not answer"));
        let reply = client.ask(&instances(0), PATIENCE).await;
        assert!(unreachable(&reply).ends_with("its answer stopped after 4 bytes"), "{reply:?}");
        Ok(())
    });
    sim.run().unwrap();
}

/// Over many seeds: whatever the network does, each request ends in time, nothing is answered that
/// was not asked, and when the network is whole again, so is everything else.
#[test]
fn storms_end_every_request_in_time_and_leave_nothing_behind() {
    // 200 were clean when this was written; each costs half a second unoptimised.
    let seeds = 20;
    let (mut answered, mut failed) = (0, 0);
    for seed in 0..seeds {
        let counted = Rc::new(RefCell::new((0, 0)));
        storm(seed, Rc::clone(&counted));
        answered += counted.borrow().0;
        failed += counted.borrow().1;
    }
    // Both happen, or the storms are none.
    assert!(answered > 10 * seeds, "{answered}");
    assert!(failed > seeds, "{failed}");
}

fn storm(seed: u64, counted: Rc<RefCell<(u64, u64)>>) {
    let mut sim = simulation(seed);
    serve_model(&mut sim, seed);
    sim.client("job", async move {
        let client = client();
        let end = Instant::now() + Duration::from_secs(120);
        let mut index = 0;
        while Instant::now() < end {
            for request in [register(), report("ok"), instances(index)] {
                let patience = if index > 0 { Duration::from_secs(5) } else { PATIENCE };
                let begin = Instant::now();
                let reply = client.ask(&request, patience).await;
                let took = begin.elapsed();
                assert!(took <= patience + Duration::from_millis(10), "seed {seed}: {took:?}");
                match (&request, &reply) {
                    (_, ConsulReply::Failed(ConsulFailure::Unreachable(_))) => {
                        counted.borrow_mut().1 += 1;
                        index = 0;
                        // What the engine waits at least.
                        sleep(Duration::from_millis(500)).await;
                        continue;
                    }
                    // It has crashed in between.
                    (ConsulRequest::Report { .. }, ConsulReply::Failed(ConsulFailure::Unknown)) => {
                    }
                    (
                        ConsulRequest::Register(_) | ConsulRequest::Report { .. },
                        ConsulReply::Done,
                    ) => {}
                    (
                        ConsulRequest::Instances { .. },
                        ConsulReply::Instances { index: new, .. },
                    ) => {
                        // The next one blocks every other time.
                        index = if index == 0 { *new } else { 0 };
                    }
                    other => panic!("seed {seed}: {other:?}"),
                }
                counted.borrow_mut().0 += 1;
            }
        }
        // The storm is over: one request may find a dead connection, no more.
        turmoil::release("job", "consul");
        turmoil::repair("job", "consul");
        let _ = client.ask(&register(), PATIENCE).await;
        for request in [register(), report("ok")] {
            let reply = client.ask(&request, PATIENCE).await;
            assert_eq!(reply, ConsulReply::Done, "seed {seed}");
        }
        assert_eq!(reading(client.ask(&instances(0), PATIENCE).await).1, 1, "seed {seed}");
        Ok(())
    });
    blow(&mut sim, seed);
}

/// Breaks and mends the network for a hundred seconds, then lets it be.
fn blow(sim: &mut Sim<'static>, seed: u64) {
    let mut chance = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut draw = move |below: u64| {
        // xorshift64: faults of its own, whatever the network draws.
        chance ^= chance << 13;
        chance ^= chance >> 7;
        chance ^= chance << 17;
        (chance >> 11) % below
    };
    let mut next = Duration::from_secs(2);
    let mut is_over = false;
    while !sim.step().unwrap() {
        if sim.elapsed() >= Duration::from_secs(100) {
            if !is_over {
                sim.repair("job", "consul");
                sim.release("job", "consul");
                is_over = true;
            }
            continue;
        }
        if sim.elapsed() < next {
            continue;
        }
        next = sim.elapsed() + Duration::from_millis(500 + draw(6_000));
        match draw(8) {
            0 => sim.partition("job", "consul"),
            1 => sim.partition_oneway("job", "consul"),
            2 => sim.partition_oneway("consul", "job"),
            3 => sim.hold("job", "consul"),
            4 => {
                sim.crash("consul");
                sim.bounce("consul");
            }
            5 => sim.set_link_latency("job", "consul", Duration::from_millis(draw(400))),
            _ => {
                sim.repair("job", "consul");
                sim.release("job", "consul");
            }
        }
    }
}
