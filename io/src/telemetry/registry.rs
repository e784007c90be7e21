//! Everything that is counted.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use steersman_engine::config::{Config, Keeping, Name};
use steersman_engine::{Code, Event, Source};

use super::family::Metric;
use super::own;
use super::text::Page;
use crate::consul::Counters;

/// Why a metric does not take a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetricError {
    /// It is not in the configuration.
    Unknown,
    /// A counter never goes down.
    Negative,
}

impl fmt::Display for MetricError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MetricError::Unknown => "cannot find this metric in the configuration",
            MetricError::Negative => "cannot add a negative value to a counter",
        })
    }
}

impl std::error::Error for MetricError {}

/// Everything that is counted.
#[derive(Debug, Default)]
pub(super) struct Registry {
    config: Arc<Config>,
    users: BTreeMap<Name, UserMetric>,
    events: Vec<Counted>,
    /// Where in `events` an event is counted; forgotten when a configuration gives slots new names.
    places: HashMap<Event, usize>,
    requests: BTreeMap<(u16, &'static str), u64>,
    instances: BTreeMap<Box<str>, u32>,
    /// For each lock of the configuration with a keeper, from the start.
    keeper_kills: BTreeMap<Name, u64>,
    pub(super) consul: Counters,
}

#[derive(Debug)]
struct UserMetric {
    help: Box<str>,
    metric: Metric,
}

#[derive(Debug)]
struct Counted {
    code: Code,
    source: Box<str>,
    count: u64,
}

/// How many different events are counted by name; the rest is one series. Names change by reload
/// only, so that this many means that somebody generates them.
const EVENT_SERIES_MAX: usize = 65_536;

impl Registry {
    pub(super) fn apply(&mut self, config: &Arc<Config>) {
        let mut old = std::mem::take(&mut self.users);
        for defined in &config.metrics {
            let kept = old.remove(&defined.name).filter(|old| old.metric.is_of(defined.kind));
            let metric = kept.map_or_else(|| Metric::new(defined.kind), |old| old.metric);
            let help = defined.help.clone();
            self.users.insert(defined.name.clone(), UserMetric { help, metric });
        }
        self.instances.retain(|name, _| config.watches.iter().any(|watch| *watch.name == **name));
        let mut killed = std::mem::take(&mut self.keeper_kills);
        for lock in config.locks.iter().filter(|lock| lock.keeper != Keeping::Off) {
            let count = killed.remove(&lock.name).unwrap_or_default();
            self.keeper_kills.insert(lock.name.clone(), count);
        }
        self.places.clear();
        self.config = Arc::clone(config);
    }

    pub(super) fn feed(&mut self, name: &str, value: f64, now: Instant) -> Result<(), MetricError> {
        let user = self.users.get_mut(name).ok_or(MetricError::Unknown)?;
        user.metric.feed(value, now)
    }

    pub(super) fn count_event(&mut self, event: Event, name: impl FnOnce(Source) -> Box<str>) {
        let place = match self.places.get(&event) {
            Some(&place) => place,
            None => self.place(event, name(event.source)),
        };
        self.events[place].count += 1;
    }

    fn place(&mut self, event: Event, source: Box<str>) -> usize {
        let is_full = self.events.len() >= EVENT_SERIES_MAX;
        let source = if is_full { Box::from("other") } else { source };
        let is_it = |counted: &Counted| counted.code == event.code && counted.source == source;
        let place = self.events.iter().position(is_it).unwrap_or_else(|| {
            self.events.push(Counted { code: event.code, source, count: 0 });
            self.events.len() - 1
        });
        self.places.insert(event, place);
        place
    }

    pub(super) fn count_control_request(&mut self, code: u16, path: &'static str) {
        *self.requests.entry((code, path)).or_default() += 1;
    }

    pub(super) fn set_watch_instances(&mut self, service: &str, instances: u32) {
        self.instances.insert(service.into(), instances);
    }

    pub(super) fn count_keeper_kills(&mut self, lock: &str, processes: u32) {
        if let Some(count) = self.keeper_kills.get_mut(lock) {
            *count += u64::from(processes);
        }
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    /// Writes everything, sorted by name.
    pub(super) fn text(&mut self, now: Instant) -> String {
        let mut page = Page::default();
        let mut own = own::families(self);
        for (name, user) in &mut self.users {
            // A user's metric never hides one of ours.
            while own.first().is_some_and(|family| *family.name <= **name) {
                own.remove(0).write(&mut page);
            }
            let kind = match user.metric {
                Metric::Counter(_) => "counter",
                Metric::Gauge(_) => "gauge",
                Metric::Histogram(_) => "histogram",
                Metric::Summary(_) => "summary",
            };
            page.family(name, kind, &user.help);
            user.metric.write(name, &mut page, now);
        }
        for family in own {
            family.write(&mut page);
        }
        page.finish()
    }

    pub(super) fn events(&self) -> impl Iterator<Item = (Code, &str, u64)> {
        self.events.iter().map(|counted| (counted.code, &*counted.source, counted.count))
    }

    pub(super) fn requests(&self) -> impl Iterator<Item = (u16, &'static str, u64)> {
        self.requests.iter().map(|((code, path), count)| (*code, *path, *count))
    }

    pub(super) fn keeper_kills(&self) -> impl Iterator<Item = (&str, u64)> {
        self.keeper_kills.iter().map(|(lock, count)| (&**lock, *count))
    }

    pub(super) fn instances(&self) -> impl Iterator<Item = (&str, u32)> {
        self.instances.iter().map(|(service, instances)| (&**service, *instances))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Telemetry;
    use std::time::Duration;
    use steersman_engine::JobId;
    use steersman_engine::config::{self, MetricKind};
    use steersman_engine::front;

    fn config(metrics: &[(&str, MetricKind)]) -> Arc<Config> {
        let metric = |&(name, kind): &(&str, MetricKind)| config::Metric {
            name: Name::from(name),
            help: Box::from("some help"),
            kind,
        };
        Arc::new(Config { metrics: metrics.iter().map(metric).collect(), ..Config::default() })
    }

    fn with_all_kinds() -> Registry {
        let mut registry = Registry::default();
        registry.apply(&config(&[
            ("zoo_free", MetricKind::Gauge),
            ("app_requests", MetricKind::Counter),
            ("app_seconds", MetricKind::Histogram),
            ("app_wait", MetricKind::Summary),
        ]));
        registry
    }

    /// The page without the figures of the process, which differ from run to run.
    fn page(registry: &mut Registry, now: Instant) -> String {
        let text = registry.text(now);
        let is_ours = |line: &&str| !line.contains("process_");
        text.lines().filter(is_ours).fold(String::new(), |page, line| page + line + "\n")
    }

    #[test]
    fn page_is_sorted_and_shows_every_kind() {
        let mut registry = with_all_kinds();
        let now = Instant::now();
        for (name, value) in [
            ("app_requests", 1.0),
            ("app_requests", 2.5),
            ("zoo_free", 7.0),
            ("zoo_free", -3.0),
            ("app_seconds", 0.005),
            ("app_seconds", 0.7),
            ("app_seconds", 99.0),
            ("app_wait", 4.0),
            ("app_wait", 1.0),
            ("app_wait", 2.0),
            ("app_wait", 3.0),
        ] {
            registry.feed(name, value, now).unwrap();
        }
        let healthy = Event { code: Code::Healthy, source: Source::Job(JobId(0)) };
        let startup = Event { code: Code::Startup, source: Source::Global };
        registry.count_event(healthy, |_| Box::from("app"));
        registry.count_event(healthy, |_| Box::from("never asked again"));
        registry.count_event(startup, |_| Box::from("global"));
        registry.count_control_request(200, "/v3/ping");
        registry.count_control_request(422, "/v3/environ");
        registry.set_watch_instances("db", 3);
        let expected = "\
# HELP app_requests some help
# TYPE app_requests counter
app_requests 3.5
# HELP app_seconds some help
# TYPE app_seconds histogram
app_seconds_bucket{le=\"0.005\"} 1
app_seconds_bucket{le=\"0.01\"} 1
app_seconds_bucket{le=\"0.025\"} 1
app_seconds_bucket{le=\"0.05\"} 1
app_seconds_bucket{le=\"0.1\"} 1
app_seconds_bucket{le=\"0.25\"} 1
app_seconds_bucket{le=\"0.5\"} 1
app_seconds_bucket{le=\"1\"} 2
app_seconds_bucket{le=\"2.5\"} 2
app_seconds_bucket{le=\"5\"} 2
app_seconds_bucket{le=\"10\"} 2
app_seconds_bucket{le=\"+Inf\"} 3
app_seconds_sum 99.705
app_seconds_count 3
# HELP app_wait some help
# TYPE app_wait summary
app_wait{quantile=\"0.5\"} 2
app_wait{quantile=\"0.9\"} 4
app_wait{quantile=\"0.99\"} 4
app_wait_sum 10
app_wait_count 4
# HELP containerpilot_control_http_requests Requests to the control socket, by path and HTTP status.
# TYPE containerpilot_control_http_requests counter
containerpilot_control_http_requests{code=\"200\",path=\"/v3/ping\"} 1
containerpilot_control_http_requests{code=\"422\",path=\"/v3/environ\"} 1
# HELP containerpilot_events Events published, by code and source.
# TYPE containerpilot_events counter
containerpilot_events{code=\"Startup\",source=\"global\"} 1
containerpilot_events{code=\"StatusHealthy\",source=\"app\"} 2
# HELP containerpilot_watch_instances Instances that each watch sees, by service.
# TYPE containerpilot_watch_instances gauge
containerpilot_watch_instances{service=\"db\"} 3
# HELP zoo_free some help
# TYPE zoo_free gauge
zoo_free -3
";
        assert_eq!(page(&mut registry, now), expected);
    }

    #[test]
    fn metric_that_was_never_fed_is_shown() {
        let text = page(&mut with_all_kinds(), Instant::now());
        for line in ["app_requests 0", "app_wait{quantile=\"0.5\"} NaN", "app_seconds_count 0"] {
            assert!(text.lines().any(|found| found == line), "{line}");
        }
    }

    #[test]
    fn counter_refuses_to_go_down() {
        let mut registry = with_all_kinds();
        let now = Instant::now();
        registry.feed("app_requests", 2.0, now).unwrap();
        assert_eq!(registry.feed("app_requests", -1.0, now), Err(MetricError::Negative));
        assert!(page(&mut registry, now).contains("\napp_requests 2\n"));
    }

    #[test]
    fn unknown_metric_is_refused() {
        let mut registry = with_all_kinds();
        assert_eq!(registry.feed("nope", 1.0, Instant::now()), Err(MetricError::Unknown));
    }

    #[test]
    fn quantiles_forget_what_is_older_than_the_window() {
        let mut registry = with_all_kinds();
        let start = Instant::now();
        registry.feed("app_wait", 100.0, start).unwrap();
        registry.feed("app_wait", 1.0, start + Duration::from_secs(500)).unwrap();
        let text = page(&mut registry, start + Duration::from_secs(601));
        assert!(text.contains("app_wait{quantile=\"0.99\"} 1\n"), "{text}");
        assert!(text.contains("app_wait_sum 101\napp_wait_count 2\n"), "{text}");
    }

    #[test]
    fn summary_keeps_a_bounded_number_of_values() {
        let mut registry = with_all_kinds();
        let now = Instant::now();
        for n in 0..3 * crate::limits::SUMMARY_SAMPLES_MAX {
            registry.feed("app_wait", n as f64, now).unwrap();
        }
        let Metric::Summary(summary) = &registry.users["app_wait"].metric else { panic!() };
        assert_eq!(summary.kept(), crate::limits::SUMMARY_SAMPLES_MAX);
    }

    #[test]
    fn reload_keeps_values_of_metrics_that_stay() {
        let mut registry = with_all_kinds();
        let now = Instant::now();
        registry.feed("app_requests", 2.0, now).unwrap();
        registry.feed("zoo_free", 2.0, now).unwrap();
        registry.apply(&config(&[
            ("app_requests", MetricKind::Counter),
            ("zoo_free", MetricKind::Counter),
            ("new", MetricKind::Gauge),
        ]));
        let text = page(&mut registry, now);
        assert!(text.contains("\napp_requests 2\n"), "{text}");
        assert!(text.contains("\nzoo_free 0\n"), "another type starts anew: {text}");
        assert!(text.contains("\nnew 0\n"), "{text}");
        assert!(!text.contains("app_wait"), "{text}");
    }

    #[test]
    fn what_keepers_killed_is_counted_for_each_lock_that_has_one() {
        let locks = |locks: &[(&str, &str)]| {
            let lock = |(name, keeper): &(&str, &str)| {
                format!("{{ name: '{name}', key: '{name}', keeper: '{keeper}' }},")
            };
            let locks: String = locks.iter().map(lock).collect();
            let text = format!("{{ consul: 'consul:8500', locks: [{locks}] }}");
            let loaded = front::load("locks.json5", &text, &front::Surroundings::default());
            Arc::new(loaded.unwrap_or_else(|errors| panic!("{errors:#?}")).config)
        };
        let mut registry = Registry::default();
        let kills = |registry: &Registry| -> Vec<(String, u64)> {
            registry.keeper_kills().map(|(lock, count)| (lock.to_owned(), count)).collect()
        };
        registry.apply(&locks(&[("a", "auto"), ("b", "off")]));
        registry.count_keeper_kills("a", 2);
        registry.count_keeper_kills("a", 1);
        registry.count_keeper_kills("b", 1);
        assert_eq!(kills(&registry), [("a".to_owned(), 3)]);
        registry.apply(&locks(&[("a", "auto"), ("c", "required")]));
        assert_eq!(kills(&registry), [("a".to_owned(), 3), ("c".to_owned(), 0)]);
        let text = registry.text(Instant::now());
        assert!(text.contains("\ncontainerpilot_keeper_kills_total{lock=\"a\"} 3\n"), "{text}");
    }

    #[test]
    fn reused_slot_counts_under_its_new_name() {
        let mut registry = Registry::default();
        let event = Event { code: Code::Stopped, source: Source::Job(JobId(0)) };
        registry.count_event(event, |_| Box::from("old"));
        registry.apply(&config(&[]));
        registry.count_event(event, |_| Box::from("new"));
        let counted: Vec<_> = registry.events().collect();
        assert_eq!(counted, [(Code::Stopped, "old", 1), (Code::Stopped, "new", 1)]);
    }

    #[test]
    fn status_has_the_shape_of_v3() {
        use steersman_engine::config::{Command, Job, Service};
        use steersman_engine::status::{HealthWord, JobStatus, PhaseWord, Status};
        let service = Service {
            port: 80,
            address: Some("10.0.0.1".parse().unwrap()),
            initial_status: None,
            tags: Vec::new(),
            meta: Vec::new(),
            enable_tag_override: false,
            deregister_critical_after: None,
            drain: Duration::ZERO,
        };
        let web = Job { service: Some(service), ..Job::new("web", Command::new(["web"])) };
        let setup = Job::new("setup", Command::new(["setup"]));
        let telemetry = Telemetry::new();
        let jobs = vec![Arc::new(web), Arc::new(setup)];
        telemetry.apply(&Arc::new(Config { jobs, ..Config::default() }));
        let job = |name: &str, health| JobStatus {
            name: name.into(),
            health,
            phase: PhaseWord::Running,
            pid: None,
            runs: 1,
            last_exit: None,
            pending: 0,
            why: None,
        };
        let jobs = vec![job("web", HealthWord::Healthy), job("setup", HealthWord::Unknown)];
        let status = Status { jobs, ..Status::default() };
        let expected = serde_json::json!({
            "Version": crate::VERSION,
            "Jobs": [{ "Name": "setup", "Status": "unknown" }],
            "Services": [
                { "Name": "web", "Address": "10.0.0.1", "Port": 80, "Status": "healthy" }
            ],
            "Watches": [],
        });
        assert_eq!(telemetry.status(&status), expected);
    }
}
