//! Whole configurations: what is accepted, what is said about the rest.

mod agent;
mod diagnostics;
mod examples;
mod random;
mod reference;

use std::collections::BTreeMap;

use super::*;

/// Surroundings as in a container.
fn around(env: &[(&str, &str)]) -> Surroundings {
    let pairs = env.iter().map(|(name, value)| (String::from(*name), String::from(*value)));
    let interface = |name: &str, address: &str| Interface {
        name: String::from(name),
        address: address.parse().unwrap(),
    };
    Surroundings {
        env: pairs.collect::<BTreeMap<String, String>>(),
        interfaces: Interfaces::Known(vec![
            interface("lo", "127.0.0.1"),
            interface("eth0", "10.1.2.3"),
        ]),
        hostname: String::from("box"),
    }
}

/// Shows all problems as `line:column code message`, errors first.
fn problems(text: &str) -> Vec<String> {
    let report = check("f.json5", text, &around(&[]));
    report
        .errors
        .iter()
        .chain(&report.warnings)
        .map(|d| format!("{}:{} {} {}", d.line, d.column, d.code, d.message))
        .collect()
}

/// Wraps the body of one job into a configuration with Consul.
fn with_job(body: &str) -> String {
    format!(
        "{{ consul: \"localhost:8500\", jobs: [\n{{ name: \"app\", exec: \"app\", {body} }}] }}"
    )
}

/// Loads a configuration that must be good.
fn loaded(text: &str) -> Loaded {
    match load("f.json5", text, &around(&[])) {
        Ok(loaded) => loaded,
        Err(errors) => {
            let texts: Vec<String> = errors.iter().map(|e| e.to_text(Colours::Off)).collect();
            panic!("{}", texts.join("\n"))
        }
    }
}
