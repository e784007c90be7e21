//! One measurement of one supervisor. Runs as PID 1 of a namespace of its own, so that every
//! process it sees is the supervisor's, and all of them end with it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;

/// How long anything may take to be ready before the measurement is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clock ticks a second in `/proc/PID/stat`; fixed for user space on every Linux.
const TICKS: f64 = 100.0;

/// Measures what `args` say and prints one number.
pub(crate) fn run(args: &[String]) -> Result<()> {
    if args.first().is_some_and(|kind| kind == "loop") {
        return spawn_loop(&args[1..]);
    }
    let [kind, folder, probe, length, jobs, command @ ..] = args else {
        return Err("cannot measure: arguments are missing".into());
    };
    let task = Task {
        folder: PathBuf::from(folder),
        probe: PathBuf::from(probe),
        quick: length == "quick",
        jobs: jobs.parse()?,
        command: command.iter().map(OsString::from).collect(),
    };
    let value = match kind.as_str() {
        "child" => task.start(false)?,
        "init" => task.start(true)?,
        "pss" => task.resident()?,
        "restarts" => task.restarts()?,
        "checks" => task.checks()?,
        _ => return Err(format!("cannot measure {kind}").into()),
    };
    println!("{value}");
    Ok(())
}

/// Starts a program over and over without any supervision, one thread a job: what the machine can
/// do at most.
fn spawn_loop(args: &[String]) -> Result<()> {
    let [jobs, program, arguments @ ..] = args else {
        return Err("cannot loop: arguments are missing".into());
    };
    let spawn = || -> std::io::Result<()> {
        loop {
            Command::new(program).args(arguments).status()?;
        }
    };
    thread::scope(|scope| {
        for _ in 1..jobs.parse()? {
            scope.spawn(spawn);
        }
        Ok(spawn()?)
    })
}

struct Task {
    folder: PathBuf,
    probe: PathBuf,
    quick: bool,
    jobs: usize,
    command: Vec<OsString>,
}

impl Task {
    fn spawn(&self, before: &[OsString]) -> Result<Child> {
        let mut line = before.iter().chain(&self.command);
        let mut command = Command::new(line.next().ok_or("cannot start nothing")?);
        command.args(line).env("BENCH_FIFO", self.folder.join("fifo"));
        let sink = || match std::env::var_os("BENCH_SHOW") {
            Some(_) => Stdio::inherit(),
            None => Stdio::null(),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(sink());
        Ok(command.spawn()?)
    }

    /// Milliseconds from the exec of the supervisor to the first instruction of its child.
    fn start(&self, as_init: bool) -> Result<f64> {
        let lines = open_fifo(&self.folder.join("fifo"))?;
        let mut before: Vec<OsString> = Vec::new();
        if as_init {
            let words = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
            before.extend(words.map(OsString::from));
        }
        before.extend([self.probe.clone().into(), "--exec".into()]);
        let mut supervisor = self.spawn(&before)?;
        let exec = next_stamp(&lines, 'E')?;
        let first = next_stamp(&lines, 'C')?;
        supervisor.kill()?;
        supervisor.wait()?;
        Ok((first - exec) as f64 / 1e6)
    }

    /// Megabytes (10^6 bytes) of the supervisor and its helpers.
    fn resident(&self) -> Result<f64> {
        let _supervisor = self.spawn(&[])?;
        self.wait_for_sleepers()?;
        // A moment for buffers of the start to be given back and for helpers to settle.
        thread::sleep(Duration::from_millis(if self.quick { 500 } else { 2000 }));
        let mut bytes = 0;
        for process in processes()? {
            if process.name != "sleep" {
                bytes += process.pss()?;
            }
        }
        Ok(bytes as f64 / 1e6)
    }

    /// Restarts a second, counted by the process numbers that the namespace gave out.
    fn restarts(&self) -> Result<f64> {
        let mut supervisor = self.spawn(&[])?;
        thread::sleep(Duration::from_millis(700));
        let seconds = if self.quick { 1.0 } else { 3.0 };
        let begin = Instant::now();
        let mut counter = PidCounter::new()?;
        while begin.elapsed().as_secs_f64() < seconds {
            thread::sleep(Duration::from_millis(100));
            counter.advance()?;
        }
        let rate = counter.count as f64 / begin.elapsed().as_secs_f64();
        if supervisor.try_wait()?.is_some() {
            return Err("cannot count restarts: the supervisor has ended".into());
        }
        // Horust 0.1.14 takes a thread, and so a number, for each start
        // (`spawn_fork_exec_handler`).
        let numbers = if self.command[0].to_string_lossy().ends_with("horust") { 2.0 } else { 1.0 };
        Ok(rate / numbers)
    }

    /// Milliseconds of CPU a second that the supervisor itself takes, for 100 checks a second: user
    /// and system time of its own process, those of its children excluded.
    fn checks(&self) -> Result<f64> {
        let supervisor = self.spawn(&[])?;
        self.wait_for_sleepers()?;
        thread::sleep(Duration::from_millis(1500));
        let begin = Instant::now();
        let before = cpu_ticks(supervisor.id())?;
        let mut counter = PidCounter::new()?;
        let length = Duration::from_secs(if self.quick { 4 } else { 15 });
        while begin.elapsed() < length {
            thread::sleep(Duration::from_millis(200));
            counter.advance()?;
        }
        let spent = (cpu_ticks(supervisor.id())? - before) as f64 / TICKS * 1000.0;
        let seconds = begin.elapsed().as_secs_f64();
        let rate = counter.count as f64 / seconds;
        if !(80.0..=120.0).contains(&rate) {
            return Err(format!("cannot compare: {rate:.1} checks a second instead of 100").into());
        }
        Ok(spent / seconds * 100.0 / rate)
    }

    fn wait_for_sleepers(&self) -> Result<()> {
        let begin = Instant::now();
        loop {
            let sleeping = processes()?.iter().filter(|process| process.name == "sleep").count();
            if sleeping == self.jobs {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("cannot see {} jobs: {sleeping} run", self.jobs).into());
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// Creates the FIFO and passes on its lines. Open for both ways, so that it never ends.
fn open_fifo(path: &Path) -> Result<Receiver<String>> {
    if !Command::new("mkfifo").arg(path).status()?.success() {
        return Err(format!("cannot create {}", path.display()).into());
    }
    let file = OpenOptions::new().read(true).write(true).open(path)?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(file).lines().map_while(std::result::Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Ok(lines)
}

fn next_stamp(lines: &Receiver<String>, mark: char) -> Result<u64> {
    let line = lines.recv_timeout(PATIENCE)?;
    let nanos = line.strip_prefix(mark).ok_or_else(|| format!("cannot use the line {line:?}"))?;
    Ok(nanos.trim().parse()?)
}

/// Counts the process numbers given out in this namespace since it was built.
struct PidCounter {
    last: u64,
    wrap: u64,
    count: u64,
}

impl PidCounter {
    fn new() -> Result<PidCounter> {
        let wrap = fs::read_to_string("/proc/sys/kernel/pid_max")?.trim().parse()?;
        Ok(PidCounter { last: last_pid()?, wrap, count: 0 })
    }

    /// Must be called at least once a turn of the numbers; they begin again at 300.
    fn advance(&mut self) -> Result<()> {
        let now = last_pid()?;
        let turn = if now < self.last { self.wrap - 300 } else { 0 };
        self.count += now + turn - self.last;
        self.last = now;
        Ok(())
    }
}

fn last_pid() -> Result<u64> {
    let text = fs::read_to_string("/proc/loadavg")?;
    let number = text.split_whitespace().last().ok_or("cannot read /proc/loadavg")?;
    Ok(number.parse()?)
}

/// User and system time of a process so far, without its children (fields 14 and 15 of proc(5)).
fn cpu_ticks(pid: u32) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let fields = text.rsplit_once(')').ok_or("cannot read /proc/PID/stat")?.1;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    Ok(fields[11].parse::<u64>()? + fields[12].parse::<u64>()?)
}

struct Process {
    pid: u32,
    name: String,
}

impl Process {
    fn pss(&self) -> Result<u64> {
        let file = File::open(format!("/proc/{}/smaps_rollup", self.pid))?;
        for line in BufReader::new(file).lines() {
            let line = line?;
            if let Some(rest) = line.strip_prefix("Pss:") {
                let kib: u64 = rest.trim().trim_end_matches("kB").trim().parse()?;
                return Ok(kib * 1024);
            }
        }
        Err(format!("cannot find the PSS of {} ({})", self.name, self.pid).into())
    }
}

/// Every process of the namespace but this one, zombies left out.
fn processes() -> Result<Vec<Process>> {
    let own = std::process::id();
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        // A process may end between the listing and the reading.
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        let Some((head, tail)) = stat.rsplit_once(") ") else { continue };
        let Some((_, name)) = head.split_once('(') else { continue };
        if pid != own && !tail.starts_with('Z') {
            found.insert(pid, name.to_owned());
        }
    }
    Ok(found.into_iter().map(|(pid, name)| Process { pid, name }).collect())
}
