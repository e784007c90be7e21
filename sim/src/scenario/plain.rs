//! A plain configuration as a scenario: ordinary behaviour, every fault, the built-in properties.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::{Backoff, Clause, Config, Job, SourceName, Trigger};
use steersman_engine::event::Code;

use super::Scenario;
use crate::explore::{FaultSet, Found, Limits, Setting};
use crate::property::{Demand, PropertySource, SuiteSource};

/// More starts of one job within ten seconds are a storm. The longest run of honest ones is that of
/// the default backoff: seven, and a few triggers besides.
const STORM: usize = 24;

/// A longer wait between restarts than this is not waited for.
const BACKOFF_MAX: Duration = Duration::from_secs(120);

/// Makes a scenario of one configuration.
pub fn of_config(file: &str, name: &str, config: Config) -> Scenario {
    let is_quick = |every: Duration| every < Duration::from_millis(500);
    let has_ticker = config
        .jobs
        .iter()
        .any(|job| matches!(job.trigger, Trigger::Interval(every) if is_quick(every)));
    let starts_in_ten_seconds_max = if has_ticker { 0 } else { STORM };
    let limits = limits(&config);
    let properties = revivals(&config, limits.settle);
    let source = SuiteSource { starts_in_ten_seconds_max, properties, ..SuiteSource::default() };
    let suite = source.compile().unwrap_or_default();
    Scenario {
        title: file.to_owned(),
        setting: Setting::of(name, config),
        source,
        suite: Arc::new(suite),
        faults: FaultSet::EVERY,
        scripted: Vec::new(),
        limits,
        is_plain: true,
        warnings: Vec::new(),
    }
}

/// Gives runs the time that the slowest restart takes.
fn limits(config: &Config) -> Limits {
    let waits = config.jobs.iter().map(|job| match job.backoff {
        Backoff::None => Duration::ZERO,
        // Jitter adds to it; a restart may be followed by one of what it waits for.
        Backoff::Exponential { max, .. } => max.min(BACKOFF_MAX).saturating_mul(2),
    });
    let default = Limits::default();
    let settle = waits.max().unwrap_or_default() + default.settle;
    Limits { settle, ..default }
}

/// Demands of every job that serves others that it serves again once nothing goes wrong any more,
/// or that the container ends, so that a scheduler can replace it.
fn revivals(config: &Config, within: Duration) -> Vec<PropertySource> {
    let serves = |job: &&Arc<Job>| {
        let is_serving = job.command.is_some() && (job.service.is_some() || job.health.is_some());
        let is_awaited = match &job.trigger {
            Trigger::Startup => true,
            Trigger::On(clause) => is_ordinary(clause),
            Trigger::All(clauses) => clauses.iter().all(is_ordinary),
            Trigger::Any(_) | Trigger::Interval(_) | Trigger::Schedule(_) => false,
        };
        is_serving && is_awaited && !job.builtin && !needs_catalog(config, &job.name, 0)
    };
    let property = |job: &Arc<Job>| PropertySource {
        name: Arc::from(format!("\"{}\" serves again, or the container ends", job.name)),
        demand: Demand::Eventually,
        text: Arc::from(format!("{} is running or node * is over", job.name)),
        then: None,
        patience: within,
    };
    let properties = config.jobs.iter().filter(serves).map(property);
    // A name that the language of conditions cannot say is left out.
    let is_said = |one: &PropertySource| {
        let alone = SuiteSource { properties: vec![one.clone()], ..SuiteSource::default() };
        alone.compile().is_ok()
    };
    properties.filter(is_said).collect()
}

/// Tells whether a clause names something that comes when nothing goes wrong.
fn is_ordinary(clause: &Clause) -> bool {
    matches!(clause.code, Code::Healthy | Code::ExitSuccess | Code::Startup)
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
    advice.extend(super::probe::findings(&scenario.setting));
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
