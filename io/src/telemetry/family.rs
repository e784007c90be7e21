//! The four types of metric, with the rules of Prometheus' client for Go.

use std::collections::VecDeque;
use std::time::Instant;

use steersman_engine::config::MetricKind;

use super::registry::MetricError;
use super::text::Page;
use crate::limits::{SUMMARY_SAMPLES_MAX, SUMMARY_WINDOW};

/// Upper bounds of a histogram's buckets: the client library's defaults, which v3 used.
const BUCKETS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Quantiles of a summary: the client library's defaults of v3's time.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

/// The value of one metric.
#[derive(Debug)]
pub(super) enum Metric {
    Counter(f64),
    Gauge(f64),
    Histogram(Histogram),
    Summary(Summary),
}

#[derive(Debug, Default)]
pub(super) struct Histogram {
    /// Observations in each bucket, not cumulated; the last one is beyond every bound.
    counts: [u64; BUCKETS.len() + 1],
    sum: f64,
}

#[derive(Debug, Default)]
pub(super) struct Summary {
    samples: VecDeque<(Instant, f64)>,
    count: u64,
    sum: f64,
}

impl Metric {
    /// Builds a metric that was never fed.
    pub(super) fn new(kind: MetricKind) -> Metric {
        match kind {
            MetricKind::Counter => Metric::Counter(0.0),
            MetricKind::Gauge => Metric::Gauge(0.0),
            MetricKind::Histogram => Metric::Histogram(Histogram::default()),
            MetricKind::Summary => Metric::Summary(Summary::default()),
        }
    }

    /// Takes in a value: a counter adds, a gauge sets, the others observe.
    pub(super) fn feed(&mut self, value: f64, now: Instant) -> Result<(), MetricError> {
        match self {
            Metric::Counter(_) if value < 0.0 => return Err(MetricError::Negative),
            Metric::Counter(sum) => *sum += value,
            Metric::Gauge(level) => *level = value,
            Metric::Histogram(histogram) => {
                let bucket = BUCKETS.iter().position(|&bound| value <= bound);
                histogram.counts[bucket.unwrap_or(BUCKETS.len())] += 1;
                histogram.sum += value;
            }
            Metric::Summary(summary) => {
                summary.count += 1;
                summary.sum += value;
                if summary.samples.len() == SUMMARY_SAMPLES_MAX {
                    summary.samples.pop_front();
                }
                summary.samples.push_back((now, value));
            }
        }
        Ok(())
    }

    /// Forgets what has left the window, and writes every series.
    pub(super) fn write(&mut self, name: &str, page: &mut Page, now: Instant) {
        match self {
            Metric::Counter(value) | Metric::Gauge(value) => page.sample(name, &[], *value),
            Metric::Histogram(histogram) => histogram.write(name, page),
            Metric::Summary(summary) => summary.write(name, page, now),
        }
    }

    pub(super) fn is_of(&self, kind: MetricKind) -> bool {
        match (self, kind) {
            (Metric::Counter(_), MetricKind::Counter)
            | (Metric::Gauge(_), MetricKind::Gauge)
            | (Metric::Histogram(_), MetricKind::Histogram)
            | (Metric::Summary(_), MetricKind::Summary) => true,
            (
                Metric::Counter(_) | Metric::Gauge(_) | Metric::Histogram(_) | Metric::Summary(_),
                _,
            ) => false,
        }
    }
}

impl Histogram {
    fn write(&self, name: &str, page: &mut Page) {
        let series = format!("{name}_bucket");
        let bounds = BUCKETS.into_iter().chain([f64::INFINITY]);
        let mut count = 0;
        for (bound, bucket) in bounds.zip(self.counts) {
            count += bucket;
            page.sample(&series, &[("le", &super::text::number(bound))], count as f64);
        }
        page.sample(&format!("{name}_sum"), &[], self.sum);
        page.sample(&format!("{name}_count"), &[], count as f64);
    }
}

impl Summary {
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.samples.len()
    }

    fn write(&mut self, name: &str, page: &mut Page, now: Instant) {
        let is_old = |sample: &(Instant, f64)| now.duration_since(sample.0) > SUMMARY_WINDOW;
        while self.samples.front().is_some_and(is_old) {
            self.samples.pop_front();
        }
        let mut sorted: Vec<f64> = self.samples.iter().map(|sample| sample.1).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        for quantile in QUANTILES {
            let text = super::text::number(quantile);
            page.sample(name, &[("quantile", &text)], value_at(&sorted, quantile));
        }
        page.sample(&format!("{name}_sum"), &[], self.sum);
        page.sample(&format!("{name}_count"), &[], self.count as f64);
    }
}

/// Gives the smallest value that at least that share of all values does not exceed.
fn value_at(sorted: &[f64], quantile: f64) -> f64 {
    let rank = (quantile * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
