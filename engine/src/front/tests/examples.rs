//! Realistic configurations are accepted and understood.

use std::path::Path;

use super::*;
use crate::config::*;

/// The realistic configurations, with a plausible environment for all of them.
pub(super) fn examples() -> Vec<(String, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [here.join("tests/fixtures/configs"), here.join("../docs/examples")];
    let mut files: Vec<(String, String)> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap())
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json5"))
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap()))
        .filter(|(file, text)| !is_scenario(file, text))
        .collect();
    files.sort();
    assert!(files.len() >= 9, "only {} examples", files.len());
    files
}

/// Tells a scenario from a configuration: it has nodes. Scenarios are checked where they are read.
fn is_scenario(file: &str, text: &str) -> bool {
    let Ok((_, tree)) = super::document::Document::read(file, text) else { return false };
    let super::document::TreeValue::Object(members) = tree.value else { return false };
    members.iter().any(|(key, _)| key.value == super::document::TreeValue::Text("nodes".into()))
}

const PLAUSIBLE: &[(&str, &str)] = &[
    ("CONSUL", "consul.example:8500"),
    ("PORT", "8080"),
    ("WATCH_PORT", "8081"),
    ("METRICS_PORT", "9191"),
    ("RUN_DIR", "/run/app"),
    ("STANDINS", "/opt/standins.sh"),
    ("ZONE", "zone-b"),
    ("LOG_LEVEL", "debug"),
    ("STORE", "es-store"),
    ("NAME", "dogs"),
    ("PEER", "cats"),
    ("VERSIONS", "v2:v3"),
    ("SNAP_EVERY", "30s"),
    ("IFACE", "eth0"),
    ("AGENT", "consul agent -dev"),
];

#[test]
fn every_example_is_good_with_and_without_an_environment() {
    for (file, text) in examples() {
        for env in [PLAUSIBLE, &[]] {
            let report = check(&file, &text, &around(env));
            assert!(report.is_good(), "{}", report.to_text(Colours::Off));
            for warning in &report.warnings {
                println!("{}", warning.to_text(Colours::Off));
            }
            if let Err(errors) = load(&file, &text, &around(env)) {
                panic!("{}", errors[0].to_text(Colours::Off));
            }
        }
    }
}

#[test]
fn the_first_example_is_understood_in_full() {
    let (file, text) =
        examples().into_iter().find(|(file, _)| file.ends_with("01-ledger-db.json5")).unwrap();
    let loaded = load(&file, &text, &around(PLAUSIBLE)).unwrap();
    let config = &loaded.config;
    assert_eq!(config.stop_timeout, std::time::Duration::from_secs(12));
    let names: Vec<&str> = config.jobs.iter().map(|job| &*job.name).collect();
    assert_eq!(names, ["restore", "ledger", "give-back", "on-members-changed", "snapshot"]);
    let ledger = &config.jobs[1];
    let command = ledger.command.as_ref().unwrap();
    let argv: Vec<&str> = command.argv.iter().map(|word| &**word).collect();
    assert_eq!(argv, ["/opt/standins.sh", "db", "8080", "/run/app/ledger"]);
    assert_eq!(ledger.restarts, Restarts::Unlimited);
    assert_eq!(ledger.trigger_timeout, Some(std::time::Duration::from_secs(300)));
    let clause = Clause {
        code: crate::event::Code::ExitSuccess,
        source: SourceName::Job("restore".into()),
        repeat: Repeat::Once,
    };
    assert_eq!(ledger.trigger, Trigger::On(clause));
    let service = ledger.service.as_ref().unwrap();
    assert_eq!(service.port, 8080);
    assert_eq!(service.address, Some("10.1.2.3".parse().unwrap()));
    assert_eq!(service.tags, [Box::from("db"), Box::from("zone-b")]);
    let health = ledger.health.as_ref().unwrap();
    assert_eq!(health.interval, std::time::Duration::from_secs(3));
    assert_eq!(health.ttl, Some(std::time::Duration::from_secs(10)));
    assert_eq!(health.timeout, std::time::Duration::from_secs(8));
    assert_eq!(config.jobs[4].trigger, Trigger::Interval(std::time::Duration::from_secs(30)));
    assert_eq!(config.jobs[4].restarts, Restarts::Unlimited);
    assert_eq!(config.watches[0].interval, std::time::Duration::from_secs(4));
    assert_eq!(loaded.settings.logging.level, LogLevel::Debug);
    assert_eq!(loaded.settings.control_socket, "/run/app/ledger.sock");
    let Some(Consul::Agent(agent)) = &loaded.settings.consul else { panic!("no agent") };
    assert_eq!((agent.address.as_str(), agent.scheme), ("consul.example:8500", Scheme::Http));
}

#[test]
fn lock_has_a_keeper_unless_it_refuses_one() {
    let keeping = |body: &str| {
        let text = format!(
            "{{ consul: 'c:1', jobs: [{{ name: 'a', exec: 'x', while: 'lock.l' }}], locks: [{{ \
             name: 'l', key: 'k', {body} }}] }}"
        );
        loaded(&text).config.locks[0].keeper
    };
    assert_eq!(keeping(""), Keeping::Auto);
    assert_eq!(keeping("keeper: 'off'"), Keeping::Off);
    assert_eq!(keeping("keeper: 'auto'"), Keeping::Auto);
    assert_eq!(keeping("keeper: 'required'"), Keeping::Required);
}
