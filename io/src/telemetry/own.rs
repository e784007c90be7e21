//! The metrics that are there without a configuration: v3's own, and the process.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use steersman_engine::Code;

use super::registry::Registry;
use super::text::Page;
use crate::consul::Counters;

/// A family of series with labels.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(Vec<(&'static str, String)>, f64)>,
}

impl Family {
    /// Writes the family, unless there is nothing in it.
    pub(super) fn write(mut self, page: &mut Page) {
        if self.samples.is_empty() {
            return;
        }
        page.family(self.name, self.kind, self.help);
        self.samples.sort_by(|a, b| a.0.cmp(&b.0));
        for (labels, value) in self.samples {
            let labels: Vec<_> = labels.iter().map(|(name, text)| (*name, &**text)).collect();
            page.sample(self.name, &labels, value);
        }
    }
}

/// Gives every family of ours, sorted by name.
pub(super) fn families(registry: &Registry) -> Vec<Family> {
    let requests = registry.requests().map(|(code, path, count)| {
        (vec![("code", code.to_string()), ("path", path.to_owned())], count as f64)
    });
    let events = registry.events().map(|(code, source, count)| {
        (vec![("code", event_code(code).to_owned()), ("source", source.to_owned())], count as f64)
    });
    let instances = registry
        .instances()
        .map(|(service, count)| (vec![("service", service.to_owned())], f64::from(count)));
    let keeper_kills = registry
        .keeper_kills()
        .map(|(lock, count)| (vec![("lock", lock.to_owned())], count as f64));
    let mut families = Vec::from(consul(&registry.consul));
    families.extend([
        Family {
            name: "containerpilot_control_http_requests",
            kind: "counter",
            help: "Requests to the control socket, by path and HTTP status.",
            samples: requests.collect(),
        },
        Family {
            name: "containerpilot_events",
            kind: "counter",
            help: "Events published, by code and source.",
            samples: events.collect(),
        },
        Family {
            name: "containerpilot_keeper_kills_total",
            kind: "counter",
            help: "Processes that a keeper had to kill because their supervisor had not, by lock.",
            samples: keeper_kills.collect(),
        },
        Family {
            name: "containerpilot_watch_instances",
            kind: "gauge",
            help: "Instances that each watch sees, by service.",
            samples: instances.collect(),
        },
    ]);
    families.extend(process().unwrap_or_default());
    families
}

fn consul(counters: &Counters) -> [Family; 3] {
    let (mut counts, mut seconds) = (Vec::new(), Vec::new());
    for figure in counters.figures() {
        let labels = vec![("kind", figure.kind.to_owned()), ("outcome", figure.outcome.to_owned())];
        counts.push((labels.clone(), figure.count as f64));
        seconds.push((labels, figure.seconds));
    }
    let connections = match counters.connections() {
        0 => Vec::new(),
        connections => vec![(Vec::new(), connections as f64)],
    };
    [
        Family {
            name: "containerpilot_consul_connections_total",
            kind: "counter",
            help: "Connections to Consul that were opened.",
            samples: connections,
        },
        Family {
            name: "containerpilot_consul_request_seconds_total",
            kind: "counter",
            help: "Time that requests to Consul took, waiting for changes included.",
            samples: seconds,
        },
        Family {
            name: "containerpilot_consul_requests_total",
            kind: "counter",
            help: "Requests to Consul, by what was asked and what came of it.",
            samples: counts,
        },
    ]
}

/// Gives the code as v3's metrics named it, so that dashboards stay as they are.
fn event_code(code: Code) -> &'static str {
    match code {
        Code::Startup => "Startup",
        Code::Shutdown => "Shutdown",
        Code::ExitSuccess => "ExitSuccess",
        Code::ExitFailed => "ExitFailed",
        Code::Healthy => "StatusHealthy",
        Code::Unhealthy => "StatusUnhealthy",
        Code::Changed => "StatusChanged",
        Code::Stopping => "Stopping",
        Code::Stopped => "Stopped",
        Code::Skipped => "Skipped",
        Code::EnterMaintenance => "EnterMaintenance",
        Code::ExitMaintenance => "ExitMaintenance",
        Code::TimerExpired => "TimerExpired",
        Code::Signal => "Signal",
        Code::Stale => "Stale",
        Code::Acquired => "Acquired",
        Code::Jeopardy => "Jeopardy",
        Code::Lost => "Lost",
        Code::Released => "Released",
        Code::Observed => "Observed",
    }
}

/// Reads what the kernel counts for this process; none when it does not say.
fn process() -> Option<Vec<Family>> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    // The name may hold anything, so the fields begin after the last parenthesis; the first is
    // number 3 of proc(5).
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
    let ticks = sysconf(nix::unistd::SysconfVar::CLK_TCK)?;
    let page_bytes = sysconf(nix::unistd::SysconfVar::PAGE_SIZE)?;
    let descriptors = fs::read_dir("/proc/self/fd").ok()?.count();
    let cpu_seconds = (field(14)? + field(15)?) as f64 / ticks;
    let single =
        |name, kind, help, value| Family { name, kind, help, samples: vec![(Vec::new(), value)] };
    Some(vec![
        single("process_cpu_seconds_total", "counter", "CPU time used.", cpu_seconds),
        single("process_open_fds", "gauge", "Open file descriptors.", descriptors as f64),
        single(
            "process_resident_memory_bytes",
            "gauge",
            "Resident memory.",
            field(24)? as f64 * page_bytes,
        ),
        single(
            "process_start_time_seconds",
            "gauge",
            "When the process started, since the epoch.",
            start_seconds(field(22)? as f64 / ticks)?,
        ),
        single("process_virtual_memory_bytes", "gauge", "Virtual memory.", field(23)? as f64),
    ])
}

fn sysconf(variable: nix::unistd::SysconfVar) -> Option<f64> {
    nix::unistd::sysconf(variable).ok().flatten().map(|value| value as f64)
}

/// Turns seconds after boot into seconds since the epoch.
fn start_seconds(after_boot: f64) -> Option<f64> {
    let uptime = fs::read_to_string("/proc/uptime").ok()?;
    let uptime: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    let boot = now.checked_sub(Duration::try_from_secs_f64(uptime).ok()?)?;
    Some(((boot.as_secs_f64() + after_boot) * 100.0).round() / 100.0)
}
