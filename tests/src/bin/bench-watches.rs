//! Measures how soon a change in Consul starts a handler, and what watching costs when nothing
//! changes: steersman's watches beside v3's polling, in turn in one run.
//!
//! `cargo run --release -p steersman-tests --bin bench-watches [-- --rounds N] [--interval S]`
//!
//! Needs Consul 1.8.7 (`tests/setup/consul.sh`). v3's pattern is a loop as `watches/watches.go` had
//! it: every interval one plain query of the passing instances, sorted, compared by address and
//! port with those before, and a handler when they differ. v3 has no interval of its own; 3 s is
//! the one of its documentation's example, and the shortest among the applications that we know.
//! The handler is this program: it writes down the time and ends.

use std::env;
use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;
use steersman_tests::consul::agent::{Agent, ask, free_ports};
use steersman_tests::program::steersman;
use steersman_tests::table::{Better, Table};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many changes of each round a handler is timed for.
const CHANGES: usize = 10;

/// Over how long the moments of changes are spread.
const SPREAD: Duration = Duration::from_secs(3);

/// How many watches look on while nothing changes.
const WATCHES: usize = 50;

/// How long nothing changes. Longer than a blocking query waits, so that each watch has to ask.
const QUIET: Duration = Duration::from_secs(90);

/// Nobody waits longer for a handler: far more than any interval.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match args.first().map(String::as_str) {
        Some("mark") => mark(Path::new(&args[1])),
        _ => run(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-watches: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The handler.
fn mark(file: &Path) -> Result<()> {
    let now = since_epoch();
    let mut file = OpenOptions::new().append(true).create(true).open(file)?;
    writeln!(file, "{}", now.as_nanos())?;
    Ok(())
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

fn run(args: &[String]) -> Result<()> {
    let (mut rounds, mut interval) = (3, 3.0);
    for pair in args.chunks(2) {
        match pair {
            [name, value] if name == "--rounds" => rounds = value.parse()?,
            [name, value] if name == "--interval" => interval = value.parse()?,
            _ => return Err(format!("cannot understand {}", pair.join(" ")).into()),
        }
    }
    let interval = Duration::from_secs_f64(interval);
    let title = "From a change in Consul to the start of its handler";
    let mut delays = Table::new(title, "ms", Better::Less, "steersman");
    let title = format!("Requests to Consul by {WATCHES} watches when nothing changes");
    let mut costs = Table::new(&title, "1/s", Better::Less, "steersman");
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for pattern in [Pattern::Steersman, Pattern::Polling(interval)] {
            let name = pattern.name();
            for delay in measure_delays(pattern)? {
                delays.add(&name, "delay", delay.as_secs_f64() * 1e3);
            }
            costs.add(&name, "requests", measure_cost(pattern)?);
        }
    }
    delays.print();
    costs.print();
    Ok(())
}

#[derive(Clone, Copy)]
enum Pattern {
    Steersman,
    Polling(Duration),
}

impl Pattern {
    fn name(self) -> String {
        match self {
            Pattern::Steersman => "steersman".into(),
            Pattern::Polling(interval) => {
                format!("v3's polling every {} s", interval.as_secs_f64())
            }
        }
    }

    /// Begins to watch these services; each change of one starts the handler.
    fn watch(self, consul: SocketAddr, services: &[String], marks: &Path) -> Result<Watching> {
        match self {
            Pattern::Steersman => Watching::supervisor(consul, services, marks),
            Pattern::Polling(interval) => Ok(Watching::polling(consul, services, marks, interval)),
        }
    }
}

/// Somebody who watches; he ends when dropped.
struct Watching {
    supervisor: Option<Child>,
    folder: Option<tempfile::TempDir>,
    is_over: Arc<AtomicBool>,
    pollers: Vec<JoinHandle<()>>,
}

impl Watching {
    fn supervisor(consul: SocketAddr, services: &[String], marks: &Path) -> Result<Watching> {
        let folder = tempfile::tempdir()?;
        let own = env::current_exe()?;
        let watch = |name: &String| format!("{{ name: '{name}', interval: 10 }}");
        let clause = |name: &String| format!("{{ source: 'watch.{name}', each: 'changed' }}");
        let config = format!(
            "{{ consul: '{consul}', control: {{ socket: '{}' }},
               jobs: [{{ name: 'handler', exec: ['{}', 'mark', '{}'],
                         when: {{ any: [{}] }} }}],
               watches: [{}] }}",
            folder.path().join("socket").display(),
            own.display(),
            marks.display(),
            services.iter().map(clause).collect::<Vec<_>>().join(", "),
            services.iter().map(watch).collect::<Vec<_>>().join(", "),
        );
        let file = folder.path().join("config.json5");
        fs::write(&file, config)?;
        let mut command = Command::new(steersman());
        command.arg("-config").arg(&file).stdin(Stdio::null()).stdout(Stdio::null());
        let supervisor = Some(command.spawn()?);
        let is_over = Arc::new(AtomicBool::new(false));
        Ok(Watching { supervisor, folder: Some(folder), is_over, pollers: Vec::new() })
    }

    fn polling(
        consul: SocketAddr,
        services: &[String],
        marks: &Path,
        interval: Duration,
    ) -> Watching {
        let is_over = Arc::new(AtomicBool::new(false));
        let poller = |service: &String| {
            let (service, marks) = (service.clone(), marks.to_owned());
            let is_over = Arc::clone(&is_over);
            thread::spawn(move || poll(consul, &service, &marks, interval, &is_over))
        };
        let pollers = services.iter().map(poller).collect();
        Watching { supervisor: None, folder: None, is_over, pollers }
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(child) = &mut self.supervisor {
            // It is ours, and nothing of it is needed any more.
            let _ = child.kill();
            let _ = child.wait();
        }
        self.is_over.store(true, Ordering::Relaxed);
        for poller in self.pollers.drain(..) {
            poller.thread().unpark();
            let _ = poller.join();
        }
        self.folder = None;
    }
}

/// v3's loop: the ticker first, then the query.
fn poll(consul: SocketAddr, service: &str, marks: &Path, interval: Duration, over: &AtomicBool) {
    let target = format!("/v1/health/service/{service}?passing=1");
    let mut before: Vec<(String, u64)> = Vec::new();
    let mut next = Instant::now() + interval;
    loop {
        while let Some(rest) = next.checked_duration_since(Instant::now()) {
            if over.load(Ordering::Relaxed) {
                return;
            }
            thread::park_timeout(rest);
        }
        next += interval;
        let Some((200, body)) = ask(consul, None, "GET", &target, "") else { continue };
        let entries: Vec<Value> = serde_json::from_str(&body).unwrap_or_default();
        let instance = |entry: &Value| {
            let service = &entry["Service"];
            let address = service["Address"].as_str().unwrap_or_default().to_owned();
            (address, service["Port"].as_u64().unwrap_or_default())
        };
        let mut now: Vec<_> = entries.iter().map(instance).collect();
        now.sort();
        if now != before {
            before = now;
            let handler =
                env::current_exe().map(|own| Command::new(own).arg("mark").arg(marks).status());
            if handler.is_err() {
                eprintln!("bench-watches: cannot start the handler");
            }
        }
    }
}

/// Times the handler after each of some changes.
fn measure_delays(pattern: Pattern) -> Result<Vec<Duration>> {
    let agent = Agent::real("", None);
    let folder = tempfile::tempdir()?;
    let marks = folder.path().join("marks");
    let _watching = pattern.watch(agent.address, &["web".into()], &marks)?;
    agent.register("web", "web-0", 8000);
    // The first readings: empty, perhaps, and then this one.
    settle(&marks)?;
    let mut delays = Vec::new();
    for nth in 1..=CHANGES {
        let before = count(&marks);
        let change = since_epoch();
        agent.register("web", &format!("web-{nth}"), 8000);
        let handled = await_mark(&marks, before)?;
        delays.push(handled.saturating_sub(change));
        // Each change at another moment of the interval: steps of the golden ratio spread evenly.
        let part = (nth as f64 * 0.618_034).fract();
        thread::sleep(Duration::from_millis(150) + SPREAD.mul_f64(part));
    }
    Ok(delays)
}

/// Waits until the handler has run and no further run comes for a while.
fn settle(marks: &Path) -> Result<()> {
    await_mark(marks, 0)?;
    let mut seen = 0;
    while seen != count(marks) {
        seen = count(marks);
        thread::sleep(Duration::from_secs(4));
    }
    Ok(())
}

fn count(marks: &Path) -> usize {
    fs::read_to_string(marks).map_or(0, |text| text.lines().count())
}

fn await_mark(marks: &Path, before: usize) -> Result<Duration> {
    let begin = Instant::now();
    loop {
        let text = fs::read_to_string(marks).unwrap_or_default();
        let next = text.lines().nth(before).and_then(|line| line.parse().ok());
        if let Some(nanos) = next {
            return Ok(Duration::from_nanos(nanos));
        }
        if begin.elapsed() > PATIENCE {
            return Err("the handler did not run".into());
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Counts the requests of many watches while nothing changes, a second.
fn measure_cost(pattern: Pattern) -> Result<f64> {
    let agent = Agent::real("", None);
    let services: Vec<String> = (0..WATCHES).map(|nth| format!("service-{nth}")).collect();
    for (nth, service) in services.iter().enumerate() {
        agent.register(service, service, 8000 + u16::try_from(nth)?);
    }
    let counter = Counter::before(agent.address)?;
    let folder = tempfile::tempdir()?;
    let marks: PathBuf = folder.path().join("marks");
    let _watching = pattern.watch(counter.address, &services, &marks)?;
    settle(&marks)?;
    let before = counter.requests.load(Ordering::Relaxed);
    let begin = Instant::now();
    thread::sleep(QUIET);
    let requests = counter.requests.load(Ordering::Relaxed) - before;
    Ok(requests as f64 / begin.elapsed().as_secs_f64())
}

/// Stands between clients and a server and counts requests: these have no bodies.
struct Counter {
    address: SocketAddr,
    requests: Arc<AtomicUsize>,
}

impl Counter {
    fn before(server: SocketAddr) -> Result<Counter> {
        let [port] = free_ports();
        let listener = TcpListener::bind(("127.0.0.1", port))?;
        let address = listener.local_addr()?;
        let requests = Arc::new(AtomicUsize::new(0));
        let shared = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let Ok(server) = TcpStream::connect(server) else { continue };
                let requests = Arc::clone(&shared);
                if let (Ok(from), Ok(to)) = (client.try_clone(), server.try_clone()) {
                    thread::spawn(move || copy(from, to, Some(&requests)));
                    thread::spawn(move || copy(server, client, None));
                }
            }
        });
        Ok(Counter { address, requests })
    }
}

/// Copies bytes until an end; a request ends with an empty line.
fn copy(mut from: TcpStream, mut to: TcpStream, requests: Option<&AtomicUsize>) {
    let mut last = [0u8; 4];
    let mut buffer = [0u8; 16 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        for byte in &buffer[..length] {
            last.rotate_left(1);
            last[3] = *byte;
            if last == *b"\r\n\r\n"
                && let Some(requests) = requests
            {
                requests.fetch_add(1, Ordering::Relaxed);
            }
        }
        if to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    // Either may have gone.
    let _ = to.shutdown(std::net::Shutdown::Write);
}
