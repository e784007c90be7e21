//! What the simulators of the benchmark share: which job they do, and how they report.

use std::time::Duration;

/// The job: hosts that report to one server.
#[derive(Clone, Copy, Debug)]
pub struct Job {
    /// How many hosts.
    pub hosts: u8,
    /// How often each reports.
    pub interval: Duration,
    /// The step of a simulator that goes by steps.
    pub tick: Duration,
    /// How long, in simulated time.
    pub length: Duration,
}

impl Job {
    /// Reads `HOSTS INTERVAL_MS TICK_MS SECONDS`.
    ///
    /// # Panics
    /// When there are not four numbers.
    pub fn from_args() -> Job {
        let numbers = std::env::args().skip(1).map(|arg| arg.parse().expect("a number"));
        let numbers: Vec<u64> = numbers.collect();
        let [hosts, interval, tick, seconds] = numbers[..] else {
            panic!("cannot go without HOSTS INTERVAL_MS TICK_MS SECONDS");
        };
        Job {
            hosts: u8::try_from(hosts).expect("at most 255 hosts"),
            interval: Duration::from_millis(interval),
            tick: Duration::from_millis(tick),
            length: Duration::from_secs(seconds),
        }
    }

    /// Gives the server's port for a host: madsim lets a socket wait a millisecond for each
    /// message, and one for all would be the bottleneck.
    pub fn port(&self, nth: u8) -> u16 {
        9100 + u16::from(nth)
    }

    /// Gives when a host reports first, so that not all do at once.
    pub fn offset(&self, nth: u8) -> Duration {
        self.interval / u32::from(self.hosts) * u32::from(nth)
    }
}

/// Gives for how long a core has worked for this thread, as the scheduler counts it: what others do
/// on the machine meanwhile does not count, and no simulator's clock can stand in for it.
///
/// # Panics
/// When the kernel does not count.
pub fn core_seconds() -> f64 {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux counts");
    let nanos = figures.split(' ').next().and_then(|nanos| nanos.parse::<f64>().ok());
    nanos.expect("the first figure is the time") / 1e9
}

/// Prints for how many seconds a core has worked since `begin`, and the number of answers.
pub fn report(begin: f64, answers: u64) {
    println!("{} {answers}", core_seconds() - begin);
}
