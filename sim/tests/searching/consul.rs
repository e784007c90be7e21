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
