//! Consul in scenarios: registration, watches and locks work there as they do in production.

use std::sync::Arc;

use steersman_sim::explore::{Progress, Search};
use steersman_sim::scenario::{self, Scenario};

/// Two ledgers of which one runs, a web service, and who watches it.
const TOWN: &str = r#"{
  nodes: {
    ledger: { count: 2, config: {
      consul: "localhost:8500",
      locks: [{ name: "primary", key: "town/primary" }],
      jobs: [{ name: "ledger", exec: "ledger", while: "lock.primary", restarts: "unlimited" }],
    } },
    web: { config: {
      consul: "localhost:8500",
      jobs: [{
        name: "web", exec: "web", port: 80, interfaces: ["static:10.0.0.9"],
        restarts: "unlimited", health: { exec: "check", interval: 1, ttl: 5 },
      }],
    } },
    eye: { config: {
      consul: "localhost:8500",
      watches: [{ name: "web", interval: 2 }, { name: "db", interval: 2 }],
      jobs: [
        { name: "greet", exec: "greet", when: { source: "watch.web", each: "healthy" } },
        { name: "use-db", exec: "use-db", when: { source: "watch.db", once: "healthy" } },
      ],
    } },
  },
  processes: { greet: { run: "10ms" }, "use-db": { run: "10ms" } },
  consul: { agents: "AGENTS", contract: true, services: { db: 1 } },
  swarm: "none",
  properties: [
    { sometimes: "any ledger is running and web is healthy" },
    { sometimes: "greet is succeeded" },
    { sometimes: "use-db is succeeded" },
    { atMostOne: "ledger is alive" },
    { eventually: "any ledger is running", within: "60s" },
  ],
  limits: { trouble: "5s", settle: "60s" },
}"#;

fn town(agents: &str) -> Scenario {
    let text = TOWN.replace("AGENTS", agents);
    let scenario = scenario::load("town.json5", &text, &|path| Err(format!("no {path}")));
    scenario.unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn search(scenario: &Scenario, seeds: u64) -> Search {
    Search {
        setting: Arc::new(scenario.setting.clone()),
        suite: scenario.suite.clone(),
        faults: scenario.faults,
        limits: scenario.limits,
        scripted: scenario.scripted.clone(),
        seeds: 0..seeds,
        shard: (0, 1),
        jobs: 2,
        check_determinism: true,
    }
}

#[test]
fn services_watches_and_locks_work_in_a_scenario() {
    for agents in ["each", "shared", "servers"] {
        let scenario = town(agents);
        let found = search(&scenario, 4).go(&Progress::default());
        assert!(found.breaches.is_empty(), "{agents}: {:#?}", found.breaches);
        assert!(found.reached.iter().all(|reached| *reached == 4), "{agents}: {:?}", found.reached);
        assert!(found.unsteady.is_empty());
    }
}

#[test]
fn consul_comes_with_the_configurations_that_need_it() {
    let with_own =
        TOWN.replace("consul: { agents: \"AGENTS\", contract: true, services: { db: 1 } },", "");
    assert_ne!(with_own, TOWN);
    let read = |path: &str| Err(format!("no {path}"));
    let scenario = scenario::load("town.json5", &with_own, &read).expect("a scenario");
    let consul = scenario.setting.consul.as_ref().expect("a Consul");
    assert_eq!((consul.servers, consul.services.get("db")), (3, Some(&1)));
    assert!(!consul.services.contains_key("web"), "one of the nodes offers it");
    let found = search(&scenario, 2).go(&Progress::default());
    assert!(found.reached.iter().all(|reached| *reached == 2), "{:?}", found.reached);
}

/// Every word for what may be done, each with what it needs.
const DEEDS: &[&str] = &[
    "do: 'freeze', node: 'web', for: '2s'",
    "do: 'kill', node: 'web', for: '1s'",
    "do: 'stop-container', node: 'ledger-1', for: '12s'",
    "do: 'start-container', node: 'ledger-1'",
    "do: 'scale', node: 'ledger-*', to: 1",
    "do: 'move', node: 'web', to: 'eye'",
    "do: 'cut', node: 'web', way: 'in', for: '3s'",
    "do: 'refuse', for: '3s'",
    "do: 'delay', by: '300ms', for: '3s'",
    "do: 'loss', share: 0.3, for: '3s'",
    "do: 'duplicate', share: 0.3, for: '3s'",
    "do: 'agent-restart', node: 'web', memory: false, for: '2s'",
    "do: 'agent-pause', node: 'web', for: '2s'",
    "do: 'agent-cut', node: 'web', for: '2s'",
    "do: 'deregister', node: 'web', job: 'web'",
    "do: 'crash', node: 'web', job: 'web'",
    "do: 'consul-leader-loss', for: '2s'",
    "do: 'consul-step-down'",
    "do: 'consul-outage', for: '2s'",
    "do: 'consul-total-loss'",
    "do: 'consul-lag', by: '2s', for: '2s'",
    "do: 'destroy-session', key: 'town/primary'",
    "do: 'put', key: 'town/primary', value: 'x'",
    "do: 'delete-key', key: 'town/primary'",
    "do: 'service-down', service: 'db'",
    "do: 'service-up', service: 'db', instance: 2",
];

#[test]
fn everything_may_be_done_and_the_town_comes_back() {
    for deed in DEEDS {
        let text = TOWN
            .replace("AGENTS", "each")
            .replace(
                "swarm: \"none\"",
                &format!("swarm: 'none', faults: [{{ at: '20s', {deed} }}]"),
            )
            .replace("settle: \"60s\"", "settle: \"300s\"")
            .replace("within: \"60s\"", "within: \"300s\"");
        let read = |path: &str| Err(format!("no {path}"));
        let scenario = scenario::load("town.json5", &text, &read);
        let scenario = scenario.unwrap_or_else(|problems| panic!("{deed}: {problems:#?}"));
        assert!(!scenario.scripted.is_empty(), "{deed}");
        let found = search(&scenario, 1).go(&Progress::default());
        assert!(found.breaches.is_empty(), "{deed}: {:#?}", found.breaches);
        assert!(found.unsteady.is_empty(), "{deed}");
    }
}

#[test]
fn container_that_is_killed_has_a_new_life() {
    let text = TOWN.replace("AGENTS", "each").replace(
        "swarm: \"none\"",
        "swarm: 'none', faults: [{ at: '10s', do: 'kill', node: 'web', for: '5s' }]",
    );
    let text = text.replace(
        "{ sometimes: \"greet is succeeded\" },",
        "{ sometimes: \"greet is succeeded\" }, { sometimes: 'node web is over' },
         { eventually: 'node web is up and web is healthy', within: '10s' },",
    );
    let read = |path: &str| Err(format!("no {path}"));
    let scenario = scenario::load("town.json5", &text, &read).expect("a scenario");
    let search = search(&scenario, 3);
    let found = search.go(&Progress::default());
    assert!(found.breaches.is_empty(), "{:#?}", found.breaches);
    assert!(found.reached.iter().all(|reached| *reached == 3), "{:?}", found.reached);
    let story = steersman_sim::story::tell_plan(
        "a new life",
        &search.setting,
        &search.plan_of(0),
        &search.suite,
    );
    let text = steersman_sim::story::to_text(&story);
    assert!(
        text.contains("the container is gone") && text.contains("the container starts"),
        "{text}"
    );
}

#[test]
fn upgrade_goes_from_node_to_node() {
    let text = TOWN.replace("AGENTS", "each").replace(
        "swarm: \"none\"",
        "swarm: 'none', faults: [{ at: '10s', do: 'upgrade', node: 'ledger-*', for: '30s', config: {
            jobs: [{ name: 'other', exec: 'other', restarts: 'unlimited' }] } }]",
    );
    let text = text.replace(
        "{ eventually: \"any ledger is running\", within: \"60s\" },",
        "{ always: 'node ledger-1 is up or node ledger-2 is up' },",
    );
    let read = |path: &str| Err(format!("no {path}"));
    let scenario = scenario::load("town.json5", &text, &read).expect("a scenario");
    let search = search(&scenario, 2);
    let found = search.go(&Progress::default());
    assert!(found.breaches.is_empty(), "{:#?}", found.breaches);
    let upgraded = |node: &str| found.started.contains(&(Arc::from(node), Arc::from("other")));
    assert!(upgraded("ledger-1") && upgraded("ledger-2"), "{:?}", found.started);
}

#[test]
fn services_keys_and_locks_are_judged_from_the_truth() {
    let text = TOWN.replace("AGENTS", "each").replace(
        "{ sometimes: \"greet is succeeded\" },",
        "{ sometimes: \"greet is succeeded\" },
         { sometimes: 'service web is passing and key town/primary is held' },
         { sometimes: 'lock primary is held and lock primary is used' },
         { whenever: 'ledger-1/lock primary is used', then: 'key town/* is held', within: '0s' },
         { atMostOne: 'ledger-*/lock primary is used' },
         { always: 'count(service db is passing) == 1' },
         { eventually: 'no service web is failing', within: '30s' },",
    );
    let read = |path: &str| Err(format!("no {path}"));
    let scenario = scenario::load("town.json5", &text, &read);
    let scenario = scenario.unwrap_or_else(|problems| panic!("{problems:#?}"));
    let found = search(&scenario, 4).go(&Progress::default());
    assert!(found.breaches.is_empty(), "{:#?}", found.breaches);
    let late = text.replace(
        "swarm: \"none\"",
        "swarm: 'none', faults: [{ at: '4s', do: 'service-up', service: 'db', instance: 2 }]",
    );
    let scenario = scenario::load("town.json5", &late, &read).expect("a scenario");
    let found = search(&scenario, 1).go(&Progress::default());
    let broken = found.breaches.first().expect("two instances");
    assert!(broken.breach.what.contains("count(service db is passing) == 1"), "{broken:?}");
    for wrong in ["service wep is passing", "lock secondary is held"] {
        let text = text.replace("service web is passing and key town/primary is held", wrong);
        let problems = scenario::load("town.json5", &text, &read).expect_err(wrong);
        assert!(problems[0].message.contains("nothing is called that"), "{problems:#?}");
    }
}
