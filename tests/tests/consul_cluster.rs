//! The model of Consul as a cluster: three servers and client agents, in virtual time, with faults.
//!
//! What is asserted was measured on real clusters of Consul 1.8.7; the figures are theirs.
//!
//! - reads and writes: `writes_are_visible_…`, `stale_reads_…`
//! - loss of the leader: `killed_leader_…`, `sessions_…`, `lock_delay_…`, `a_resumed_leader_…`
//! - agents: `heartbeats_stall_…`, `a_killed_agent_…`, `an_agent_without_memory_…`, `foreign_…`
//! - the model itself: `equal_runs_…`, `clones_…`, `by_contract_…`, `invariants_…`

use std::collections::BTreeMap;

use serde_json::Value;
use steersman_sim::consul::{
    AgentId, Consul, Fault, Input, Memory, Options, Output, Request, RequestId, Response, ServerId,
};

const MS: u64 = 1_000_000;
const SECOND: u64 = 1_000 * MS;
const C1: AgentId = AgentId(3);
const C2: AgentId = AgentId(4);

/// A cluster with its virtual clock.
#[derive(Clone)]
struct Cluster {
    consul: Consul,
    now: u64,
    count: u64,
    done: BTreeMap<u64, (u64, Option<Response>)>,
}

impl Cluster {
    fn of(options: Options) -> Cluster {
        let consul = Consul::new(0, options);
        let mut cluster = Cluster { consul, now: 0, count: 0, done: BTreeMap::new() };
        cluster.pass(3 * SECOND);
        cluster
    }

    fn new(seed: u64) -> Cluster {
        Cluster::of(Options::cluster(seed, 2))
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for Output { id, response } in outputs {
            self.done.insert(id.0, (self.now, response));
        }
    }

    fn run_until(&mut self, until: u64) {
        while let Some(at) = self.consul.next_wakeup().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            let outputs = self.consul.handle(self.now, Input::Tick);
            self.take(outputs);
        }
        self.now = self.now.max(until);
    }

    fn pass(&mut self, nanos: u64) {
        self.run_until(self.now + nanos);
    }

    fn fault(&mut self, fault: Fault) {
        let outputs = self.consul.handle(self.now, Input::Fault(fault));
        self.take(outputs);
    }

    fn begin(&mut self, agent: AgentId, request: Request) -> u64 {
        self.count += 1;
        let id = RequestId(self.count);
        let outputs = self.consul.handle(self.now, Input::Request { id, agent, request });
        self.take(outputs);
        self.count
    }

    /// Waits for the end of a request; says how long it took from now on.
    fn end(&mut self, id: u64) -> (Option<Response>, u64) {
        let begun = self.now;
        while !self.done.contains_key(&id) {
            let next = self.consul.next_wakeup().expect("an answer is to come");
            self.run_until(next);
        }
        let (at, response) = self.done.remove(&id).expect("it was waited for");
        (response, at.saturating_sub(begun))
    }

    fn ask(&mut self, agent: AgentId, method: &str, target: &str, body: &str) -> (u16, String) {
        let id = self.begin(agent, Request::new(method, target).with_body(body));
        let response = self.end(id).0.expect("the agent lives");
        (response.status, String::from_utf8_lossy(&response.body).into_owned())
    }

    fn get(&mut self, agent: AgentId, target: &str) -> (u16, Value) {
        let (status, body) = self.ask(agent, "GET", target, "");
        (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    fn put(&mut self, agent: AgentId, target: &str, body: &str) -> (u16, String) {
        self.ask(agent, "PUT", target, body)
    }

    fn session(&mut self, body: &str) -> String {
        let (status, body) = self.put(C1, "/v1/session/create", body);
        assert_eq!(status, 200, "{body}");
        let body: Value = serde_json::from_str(&body).expect("an id is JSON");
        body["ID"].as_str().expect("it has an id").to_owned()
    }

    fn leader(&self) -> ServerId {
        self.consul.leader().expect("there is a leader")
    }

    /// Passes time until there is a leader; says how long it took.
    fn await_leader(&mut self) -> u64 {
        let begun = self.now;
        while self.consul.leader().is_none() {
            self.pass(10 * MS);
            assert!(self.now - begun < 60 * SECOND, "no leader comes");
        }
        self.now - begun
    }

    /// Passes time until a read is empty or not; says how long it took.
    fn await_list(&mut self, agent: AgentId, target: &str, empty: bool) -> u64 {
        let begun = self.now;
        loop {
            let (status, body) = self.get(agent, target);
            let is_empty = body.as_array().is_none_or(Vec::is_empty);
            if status == 200 && is_empty == empty {
                return self.now - begun;
            }
            self.pass(10 * MS);
            assert!(self.now - begun < 300 * SECOND, "{target}: {body}");
        }
    }

    fn register(&mut self, agent: AgentId, name: &str, ttl: &str) {
        let body = format!(
            "{{\"Name\":\"{name}\",\"Check\":{{\"TTL\":\"{ttl}\",\"Status\":\"passing\"}}}}"
        );
        let (status, body) = self.put(agent, "/v1/agent/service/register", &body);
        assert_eq!(status, 200, "{body}");
    }

    fn status(&mut self, agent: AgentId, service: &str) -> Option<String> {
        let (_, body) = self.get(agent, &format!("/v1/health/checks/{service}"));
        body[0]["Status"].as_str().map(str::to_owned)
    }
}

#[test]
fn writes_are_visible_through_every_other_agent_at_once() {
    let mut cluster = Cluster::new(1);
    for round in 0..50 {
        let name = format!("web-{round}");
        cluster.register(C1, &name, "30s");
        assert_eq!(cluster.status(C2, &name).as_deref(), Some("passing"));
        cluster.put(C1, &format!("/v1/agent/check/fail/service:{name}"), "");
        assert_eq!(cluster.status(C2, &name).as_deref(), Some("critical"));
        cluster.put(C1, &format!("/v1/agent/service/deregister/{name}"), "");
        assert_eq!(cluster.status(C2, &name), None);
    }
}

#[test]
fn stale_reads_lag_by_up_to_a_tenth_of_a_second() {
    let mut behind = 0;
    for seed in 0..40 {
        let mut cluster = Cluster::new(seed);
        cluster.put(C1, "/v1/kv/a", "1");
        let (status, _) = cluster.get(C2, "/v1/kv/a?stale");
        behind += usize::from(status == 404);
        cluster.pass(110 * MS);
        assert_eq!(cluster.get(C2, "/v1/kv/a?stale").0, 200);
    }
    assert!((10..40).contains(&behind), "{behind} of 40 were behind");
}

#[test]
fn killed_leader_is_replaced_after_eleven_to_twenty_seconds() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(seed);
        let old = cluster.leader();
        cluster.fault(Fault::KillServer(old));
        let leaderless = cluster.await_leader();
        assert!((10_900 * MS..20_100 * MS).contains(&leaderless), "{leaderless}");
        assert_ne!(cluster.leader(), old);
        assert_eq!(cluster.put(C1, "/v1/kv/a", "1").0, 200);
    }
}

#[test]
fn without_a_leader_requests_fail_at_once_then_are_held_for_seven_seconds() {
    let (mut refused, mut held) = (0, 0);
    for seed in 0..20 {
        let mut cluster = Cluster::new(seed);
        let old = cluster.leader();
        cluster.fault(Fault::KillServer(old));
        cluster.pass(SECOND);
        let begun = cluster.now;
        let (status, body) = cluster.put(C1, "/v1/kv/a", "1");
        assert_eq!(status, 500);
        assert!(body.contains("connection refused"), "{body}");
        assert!(cluster.now - begun < 20 * MS);
        refused += 1;
        cluster.run_until(begun + 6 * SECOND);
        let begun = cluster.now;
        let (status, body) = cluster.put(C1, "/v1/kv/a", "1");
        let took = cluster.now - begun;
        if status == 500 {
            assert!(body.ends_with("No cluster leader"), "{body}");
            assert!((6_900 * MS..7_600 * MS).contains(&took), "{took}");
            held += 1;
        } else {
            assert!(took < 7_600 * MS, "{took}");
        }
        let (status, leader) = cluster.get(C1, "/v1/status/leader");
        assert_eq!(status, 200);
        assert!(leader.as_str().is_some());
    }
    assert_eq!(refused, 20);
    assert!(held > 0, "no request was ever held to its end");
}

#[test]
fn killed_leader_ends_default_blocking_queries_but_not_stale_ones() {
    let mut cluster = Cluster::new(3);
    cluster.put(C1, "/v1/kv/a", "1");
    cluster.pass(SECOND);
    let index = cluster.consul.index();
    let leader = cluster.leader();
    let other = (0..3).map(AgentId).find(|agent| agent.0 != leader.0).expect("there are others");
    let target = format!("/v1/kv/a?index={index}&wait=5m");
    let default = cluster.begin(C1, Request::new("GET", &target));
    let stale = cluster.begin(other, Request::new("GET", &format!("{target}&stale")));
    cluster.pass(SECOND);
    cluster.fault(Fault::KillServer(leader));
    let (response, took) = cluster.end(default);
    let response = response.expect("its agent lives");
    assert_eq!(response.status, 500);
    assert!(String::from_utf8_lossy(&response.body).ends_with("EOF"));
    assert!(took < 20 * MS);
    cluster.pass(SECOND);
    assert!(!cluster.done.contains_key(&stale), "a stale query at a surviving server runs on");
}

#[test]
fn sessions_start_their_time_anew_with_a_new_leader() {
    for seed in 0..8 {
        let mut cluster = Cluster::new(seed);
        let session = cluster.session("{\"TTL\":\"10s\",\"Checks\":[]}");
        cluster.pass(9 * SECOND);
        let old = cluster.leader();
        cluster.fault(Fault::KillServer(old));
        cluster.await_leader();
        let elected = cluster.now;
        cluster.await_list(C1, &format!("/v1/session/info/{session}"), true);
        let lived = cluster.now - elected;
        assert!((19_900 * MS..20_200 * MS).contains(&lived), "{lived}");
    }
}

#[test]
fn lock_delay_outlives_the_leader() {
    let mut cluster = Cluster::new(5);
    let session = cluster.session("{\"LockDelay\":\"40s\",\"Checks\":[]}");
    let other = cluster.session("{\"LockDelay\":\"0s\",\"Checks\":[]}");
    assert_eq!(cluster.put(C1, &format!("/v1/kv/l?acquire={session}"), "").1, "true");
    let begun = cluster.now;
    cluster.put(C1, &format!("/v1/session/destroy/{session}"), "");
    let old = cluster.leader();
    cluster.pass(200 * MS);
    cluster.fault(Fault::KillServer(old));
    cluster.await_leader();
    let target = format!("/v1/kv/l?acquire={other}");
    while cluster.put(C1, &target, "").1 != "true" {
        cluster.pass(20 * MS);
        assert!(cluster.now - begun < 60 * SECOND);
    }
    let barred = cluster.now - begun;
    assert!((39_900 * MS..40_300 * MS).contains(&barred), "{barred}");
}

#[test]
fn a_resumed_leader_may_answer_from_the_past_but_never_consistently() {
    let mut stale = 0;
    for seed in 0..40 {
        let mut cluster = Cluster::new(seed);
        cluster.put(C1, "/v1/kv/a", "old");
        cluster.pass(SECOND);
        let old = cluster.leader();
        cluster.fault(Fault::PauseServer(old));
        cluster.await_leader();
        let now = cluster.leader();
        cluster.pass(SECOND);
        assert_eq!(cluster.put(AgentId(now.0), "/v1/kv/a", "new").1, "true");
        cluster.fault(Fault::ResumeServer(old));
        let agent = AgentId(old.0);
        let default = cluster.begin(agent, Request::new("GET", "/v1/kv/a?raw"));
        let consistent = cluster.begin(agent, Request::new("GET", "/v1/kv/a?raw&consistent"));
        let body = |response: Option<Response>| response.expect("it lives").body;
        stale += usize::from(body(cluster.end(default).0) == b"old");
        assert_eq!(body(cluster.end(consistent).0), b"new");
    }
    assert!((1..40).contains(&stale), "{stale} of 40 were from the past");
}

#[test]
fn heartbeats_stall_while_their_agent_waits_for_a_leader() {
    let mut longest = 0;
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed);
        cluster.register(C1, "web", "30s");
        let old = cluster.leader();
        cluster.fault(Fault::KillServer(old));
        cluster.pass(7 * SECOND);
        // A change of state has to be sent; everything on the agent waits behind it.
        let failing = Request::new("PUT", "/v1/agent/check/fail/service:web");
        let change = cluster.begin(C1, failing);
        let behind = cluster.begin(C1, Request::new("GET", "/v1/agent/services"));
        let idle = cluster.begin(C2, Request::new("GET", "/v1/agent/services"));
        assert!(cluster.end(idle).1 < 50 * MS, "an agent with nothing to send does not wait");
        let (response, _) = cluster.end(change);
        assert_eq!(response.expect("it lives").status, 200);
        let (_, took) = cluster.end(behind);
        longest = longest.max(cluster.now - took);
        cluster.await_leader();
        cluster.pass(5 * SECOND);
        assert_eq!(cluster.status(C2, "web").as_deref(), Some("critical"), "it was sent later");
    }
}

#[test]
fn agents_answer_when_every_server_is_dead() {
    let mut cluster = Cluster::new(2);
    cluster.register(C1, "web", "30s");
    for server in 0..3 {
        cluster.fault(Fault::KillServer(ServerId(server)));
    }
    cluster.pass(10 * SECOND);
    let begun = cluster.now;
    assert_eq!(cluster.put(C1, "/v1/agent/check/pass/service:web", "").0, 200);
    assert!(cluster.now - begun < 50 * MS);
    let (status, body) = cluster.put(C1, "/v1/kv/a", "1");
    assert_eq!((status, &*body), (500, "No known Consul servers"));
    for server in 0..3 {
        cluster.fault(Fault::StartServer(ServerId(server), Memory::Kept));
    }
    cluster.await_leader();
    cluster.pass(5 * SECOND);
    assert_eq!(cluster.status(C2, "web").as_deref(), Some("passing"));
}

#[test]
fn a_killed_agent_is_noticed_after_five_to_seven_seconds() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed);
        cluster.register(C1, "web", "60s");
        let session = cluster.session("{\"TTL\":\"60s\"}");
        let begun = cluster.now;
        cluster.fault(Fault::KillAgent(C1));
        assert_eq!(cluster.begin(C1, Request::new("GET", "/v1/agent/self")), cluster.count);
        cluster.await_list(C2, "/v1/health/service/web?passing", true);
        let noticed = cluster.now - begun;
        assert!((5_100 * MS..6_600 * MS).contains(&noticed), "{noticed}");
        assert_eq!(cluster.status(C2, "web").as_deref(), Some("passing"), "its check is as it was");
        let (_, info) = cluster.get(C2, &format!("/v1/session/info/{session}"));
        assert_eq!(info, Value::Array(Vec::new()), "its session died in the same moment");
        cluster.fault(Fault::StartAgent(C1, Memory::Kept));
        let back = cluster.await_list(C2, "/v1/health/service/web", false);
        assert!(back < 500 * MS, "{back}");
        let (_, services) = cluster.get(C1, "/v1/agent/services");
        assert!(services["web"].is_object(), "its services are back");
    }
}

#[test]
fn an_agent_without_memory_is_shut_out_while_its_old_record_lives() {
    let mut cluster = Cluster::new(4);
    cluster.register(C1, "old", "300s");
    cluster.fault(Fault::KillAgent(C1));
    cluster.pass(SECOND);
    cluster.fault(Fault::StartAgent(C1, Memory::Lost));
    cluster.pass(SECOND);
    let (status, body) = cluster.put(C1, "/v1/agent/check/pass/service:old", "");
    let forgotten = "CheckID \"service:old\" does not have associated TTL";
    assert_eq!((status, &*body), (500, forgotten));
    cluster.register(C1, "new", "300s");
    cluster.pass(66 * SECOND);
    let (_, health) = cluster.get(C2, "/v1/health/service/new");
    assert_eq!(health, Value::Array(Vec::new()), "nothing it registers appears");
    let (_, health) = cluster.get(C2, "/v1/health/service/old?passing");
    assert_eq!(health.as_array().map(Vec::len), Some(1), "its old service stays healthy");
}

#[test]
fn an_agent_without_memory_takes_over_once_its_old_record_is_dead() {
    let mut cluster = Cluster::new(4);
    cluster.register(C1, "old", "300s");
    cluster.fault(Fault::KillAgent(C1));
    cluster.pass(8 * SECOND);
    cluster.fault(Fault::StartAgent(C1, Memory::Lost));
    cluster.register(C1, "new", "300s");
    cluster.await_list(C2, "/v1/health/service/new", false);
    let gone = cluster.await_list(C2, "/v1/health/service/old", true);
    assert!(gone < 6 * SECOND, "{gone}");
}

#[test]
fn foreign_changes_of_the_catalog_are_undone_within_two_minutes() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed);
        cluster.register(C1, "web", "300s");
        let begun = cluster.now;
        let (status, _) =
            cluster.put(C2, "/v1/catalog/deregister", "{\"Node\":\"c1\",\"ServiceID\":\"web\"}");
        assert_eq!(status, 200);
        let body = "{\"Node\":\"c1\",\"SkipNodeUpdate\":true,\"Service\":{\"Service\":\"alien\"}}";
        cluster.put(C2, "/v1/catalog/register", body);
        cluster.await_list(C2, "/v1/health/service/web", false);
        cluster.await_list(C2, "/v1/health/service/alien", true);
        let repaired = cluster.now - begun;
        assert!(repaired < 121 * SECOND, "{repaired}");
    }
}

#[test]
fn a_service_critical_for_too_long_is_removed_within_its_window() {
    for seed in 0..10 {
        let mut cluster = Cluster::new(seed);
        let check = "{\"TTL\":\"300s\",\"DeregisterCriticalServiceAfter\":\"1s\"}";
        let body = format!("{{\"Name\":\"web\",\"Check\":{check}}}");
        cluster.put(C1, "/v1/agent/service/register", &body);
        cluster.pass(SECOND * (seed + 1));
        cluster.put(C1, "/v1/agent/check/fail/service:web", "");
        let took = cluster.await_list(C2, "/v1/health/service/web", true);
        assert!((59 * SECOND..91 * SECOND).contains(&took), "{took}");
    }
}

#[test]
fn total_loss_of_state_lowers_the_index_and_agents_register_again() {
    let mut cluster = Cluster::new(6);
    cluster.register(C1, "web", "300s");
    for round in 0..30 {
        cluster.put(C1, "/v1/kv/a", &round.to_string());
    }
    let session = cluster.session("{\"Checks\":[]}");
    let before = cluster.consul.index();
    cluster.fault(Fault::LoseState);
    assert!(cluster.consul.index() < before);
    let found = cluster.await_list(C2, "/v1/health/service/web?passing", false);
    assert!(found < 10 * SECOND, "{found}");
    assert_eq!(cluster.get(C1, "/v1/kv/a").0, 404);
    assert_eq!(cluster.put(C1, &format!("/v1/session/renew/{session}"), "").0, 404);
}

/// Does something at random, the same for equal seeds.
fn stir(cluster: &mut Cluster, seed: u64, steps: u64) {
    let mut word = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut draw = |bound: u64| {
        word ^= word << 13;
        word ^= word >> 7;
        word ^= word << 17;
        word % bound
    };
    for step in 0..steps {
        let agent = if draw(2) == 0 { C1 } else { C2 };
        let server = ServerId(usize::try_from(draw(3)).expect("small"));
        let name = format!("s{}", draw(3));
        match draw(14) {
            0 => cluster.fault(Fault::KillServer(server)),
            1 | 2 => cluster.fault(Fault::StartServer(server, Memory::Kept)),
            3 => cluster.fault(Fault::PauseServer(server)),
            4 | 5 => cluster.fault(Fault::ResumeServer(server)),
            6 => cluster.fault(Fault::PauseAgent(agent)),
            7 => cluster.fault(Fault::ResumeAgent(agent)),
            8 => {
                let body = format!("{{\"Name\":\"{name}\",\"Check\":{{\"TTL\":\"5s\"}}}}");
                let put = Request::new("PUT", "/v1/agent/service/register").with_body(body);
                cluster.begin(agent, put);
            }
            9 => {
                let target = format!("/v1/agent/check/pass/service:{name}");
                cluster.begin(agent, Request::new("PUT", &target));
            }
            10 => {
                let target = format!("/v1/health/service/{name}?index={}", draw(60));
                cluster.begin(agent, Request::new("GET", &target));
            }
            11 => {
                let body = "{\"TTL\":\"10s\"}";
                cluster.begin(agent, Request::new("PUT", "/v1/session/create").with_body(body));
            }
            _ => {
                let put = Request::new("PUT", &format!("/v1/kv/{name}"));
                cluster.begin(agent, put.with_body(step.to_string()));
            }
        }
        cluster.pass(draw(3_000) * MS);
    }
}

#[test]
fn equal_runs_are_equal_at_every_step() {
    for seed in 0..10 {
        for contract in [false, true] {
            let mut options = Options::cluster(seed, 2);
            options.contract = contract;
            let mut one = Cluster::of(options.clone());
            let mut other = Cluster::of(options);
            for part in 0..20 {
                stir(&mut one, seed + part, 10);
                stir(&mut other, seed + part, 10);
                assert_eq!(one.consul.digest(), other.consul.digest(), "seed {seed}, part {part}");
            }
            assert_eq!(one.done, other.done);
        }
    }
}

#[test]
fn clones_go_their_own_way() {
    let mut one = Cluster::new(9);
    stir(&mut one, 9, 50);
    let mut other = one.clone();
    let before = one.consul.digest();
    stir(&mut other, 10, 20);
    assert_eq!(one.consul.digest(), before);
    assert_ne!(other.consul.digest(), before);
}

#[test]
fn by_contract_a_session_may_die_early_but_never_before_its_ttl() {
    let (mut early, mut late) = (0, 0);
    for seed in 0..60 {
        let mut options = Options::cluster(seed, 2);
        options.contract = true;
        let mut cluster = Cluster::of(options);
        let session = cluster.session("{\"TTL\":\"10s\",\"Checks\":[]}");
        let begun = cluster.now;
        cluster.await_list(C1, &format!("/v1/session/info/{session}"), true);
        let lived = cluster.now - begun;
        assert!(lived + 20 * MS >= 10 * SECOND, "{lived}");
        early += usize::from(lived < 19 * SECOND);
        late += usize::from(lived > 21 * SECOND);
    }
    assert!(early > 0, "none died early");
    assert!(late > 0, "none died late");
}

#[test]
fn after_any_faults_the_catalog_is_what_the_agents_say() {
    for seed in 0..20 {
        let mut cluster = Cluster::new(seed);
        stir(&mut cluster, seed, 60);
        for server in 0..3 {
            cluster.fault(Fault::StartServer(ServerId(server), Memory::Kept));
            cluster.fault(Fault::ResumeServer(ServerId(server)));
        }
        for agent in [C1, C2] {
            cluster.fault(Fault::ResumeAgent(agent));
        }
        cluster.pass(200 * SECOND);
        for (agent, node) in [(C1, "c1"), (C2, "c2")] {
            let (_, own) = cluster.get(agent, "/v1/agent/services");
            let (status, listed) = cluster.get(C2, &format!("/v1/catalog/node/{node}"));
            assert_eq!(status, 200, "seed {seed}: {listed}");
            let names = |value: &Value| -> Vec<String> {
                value.as_object().map(|m| m.keys().cloned().collect()).unwrap_or_default()
            };
            assert_eq!(names(&own), names(&listed["Services"]), "seed {seed}, {node}");
            let (_, checks) = cluster.get(agent, "/v1/agent/checks");
            let (_, catalog) = cluster.get(C2, &format!("/v1/health/node/{node}"));
            for check in catalog.as_array().into_iter().flatten() {
                let id = check["CheckID"].as_str().unwrap_or_default();
                if id != "serfHealth" {
                    assert_eq!(check["Status"], checks[id]["Status"], "seed {seed}, {node}, {id}");
                } else {
                    assert_eq!(check["Status"], "passing", "seed {seed}, {node}");
                }
            }
        }
    }
}
