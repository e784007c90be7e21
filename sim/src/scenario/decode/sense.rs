//! Properties that cannot be judged, or not together: found before any run is made.

use core::time::Duration;

use steersman_engine::config::Trigger;

use super::Decoder;
use super::properties::Spans;
use crate::explore::Limits;
use crate::property::{Property, Rule, Suite, SuiteSource, contradicts};

/// More starts of one job within ten seconds than this are a storm, whatever the scenario is about:
/// the world would never settle.
const STORM: usize = 500;

/// Ten seconds hold fewer runs of this interval than are a storm.
const INTERVAL_MIN: Duration = Duration::from_millis(25);

impl Decoder<'_> {
    /// Blames properties that nothing could ever break, or that cannot hold together.
    pub(super) fn check_sense(&mut self, suite: &Suite, spans: &Spans, limits: Limits) {
        for (nth, property) in suite.properties.iter().enumerate() {
            let span = spans.properties[nth].0;
            if let Some((patience, whole)) = patience(property, limits)
                && patience > whole
            {
                let what = format!(
                    "cannot judge \"{}\": it may take {}, and a run has only {} for it",
                    property.name,
                    seconds(patience),
                    seconds(whole)
                );
                let help = "raise `settle` of `limits`, or allow less time";
                self.reader.blame("never-judged", span, what, Some(help));
            }
            for before in &suite.properties[..nth] {
                if before.name == property.name {
                    let what = format!("cannot name two properties \"{}\"", property.name);
                    let help = "give each its own `name`: findings are told by it";
                    self.reader.blame("name-taken", span, what, Some(help));
                } else if is_contradiction(&before.rule, &property.rule) {
                    let what = format!(
                        "cannot have both \"{}\" and \"{}\": what one demands the other forbids",
                        before.name, property.name
                    );
                    self.reader.blame("contradiction", span, what, None);
                }
            }
        }
    }

    /// Limits how often a job may start, unless one is meant to start very often.
    pub(super) fn limit_storms(&self, source: &mut SuiteSource) {
        let jobs = self.nodes.iter().flat_map(|node| &node.config.jobs);
        let is_quick = |every: Duration| every < INTERVAL_MIN;
        let mut jobs =
            jobs.filter(|job| matches!(job.trigger, Trigger::Interval(every) if is_quick(every)));
        source.starts_in_ten_seconds_max = if jobs.next().is_some() { 0 } else { STORM };
    }
}

/// Gives how long a property may take, and how long a run gives it at least.
fn patience(property: &Property, limits: Limits) -> Option<(Duration, Duration)> {
    match property.rule {
        Rule::Eventually(_, within) => Some((within, limits.settle)),
        Rule::Always(_, patience) | Rule::LeadsTo(_, _, patience) => {
            Some((patience, limits.trouble + limits.settle))
        }
        Rule::Sometimes(_) => None,
    }
}

fn is_contradiction(one: &Rule, other: &Rule) -> bool {
    match (one, other) {
        (Rule::Always(always, patience), Rule::Always(demand, other))
            if patience.is_zero() && other.is_zero() =>
        {
            contradicts(always, demand)
        }
        (Rule::Always(always, patience), Rule::Sometimes(demand) | Rule::Eventually(demand, _))
        | (Rule::Sometimes(demand) | Rule::Eventually(demand, _), Rule::Always(always, patience))
            if patience.is_zero() =>
        {
            contradicts(always, demand)
        }
        _ => false,
    }
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
