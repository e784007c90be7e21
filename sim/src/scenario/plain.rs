//! A plain configuration as a scenario: ordinary behaviour, every fault, the built-in properties.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::{Clause, Config, SourceName, Trigger};

use super::Scenario;
use crate::explore::{FaultSet, Found, Limits, Setting};
use crate::property::SuiteSource;

/// More starts of one job within ten seconds are a storm. The longest run of honest ones is that of
/// the default backoff: seven, and a few triggers besides.
const STORM: usize = 24;

/// Makes a scenario of one configuration.
pub fn of_config(file: &str, name: &str, config: Config) -> Scenario {
    let is_quick = |every: Duration| every < Duration::from_millis(500);
    let has_ticker = config
        .jobs
        .iter()
        .any(|job| matches!(job.trigger, Trigger::Interval(every) if is_quick(every)));
    let starts_in_ten_seconds_max = if has_ticker { 0 } else { STORM };
    let source = SuiteSource { starts_in_ten_seconds_max, ..SuiteSource::default() };
    let suite = source.compile().unwrap_or_default();
    Scenario {
        title: file.to_owned(),
        setting: Setting::of(name, config),
        source,
        suite: Arc::new(suite),
        faults: FaultSet::EVERY,
        scripted: Vec::new(),
        limits: Limits::default(),
        is_plain: true,
        warnings: Vec::new(),
    }
}

/// Says what a search of a plain configuration shows that is no breach but should be looked at.
pub fn advice(scenario: &Scenario, found: &Found) -> Vec<String> {
    let mut advice = Vec::new();
    let no_consul = scenario.setting.consul.is_none();
    for node in &scenario.setting.nodes {
        for job in node.config.jobs.iter().filter(|job| job.command.is_some()) {
            let is_started = found.started.contains(&(node.name.clone(), job.name.clone()));
            let waits = no_consul && needs_catalog(&node.config, &job.name, 0);
            if !is_started && !waits {
                let name = &job.name;
                advice.push(format!("\"{name}\" did not start in any run"));
            }
        }
    }
    advice
}

/// Tells whether a job waits, perhaps through others, for what only Consul can say.
fn needs_catalog(config: &Config, name: &str, depth: usize) -> bool {
    let Some(job) = config.jobs.iter().find(|job| *job.name == *name) else { return false };
    if job.while_lock.is_some() {
        return true;
    }
    let clauses: &[Clause] = match &job.trigger {
        Trigger::On(one) => core::slice::from_ref(one),
        Trigger::All(all) | Trigger::Any(all) => all,
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &[],
    };
    clauses.iter().any(|clause| match &clause.source {
        SourceName::Watch(_) | SourceName::Lock(_) => true,
        SourceName::Job(other) | SourceName::Check(other) => {
            depth < config.jobs.len() && needs_catalog(config, other, depth + 1)
        }
        SourceName::Global | SourceName::Signal(_) => false,
    })
}
