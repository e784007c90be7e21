//! Measures steersman beside the supervisors it can be compared with, and the engine alone.
//!
//! `cargo run --release -p steersman-tests --bin bench-peers [-- --quick] [--only NAME,…]`
//!
//! Needs root (PID namespaces), a C compiler (the probe) and what `tests/setup/peers.sh` installs;
//! a peer that is missing is named and left out. Each round measures every peer once, in turn (A B
//! C A B C …), so that whatever else the machine does falls on all of them; medians of all rounds
//! are printed as Markdown tables on standard output, progress on standard error.

mod engine;
mod measure;
mod peers;

use std::env;
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use peers::{Ender, Peer, Workload};
use steersman_tests::table::{Better, Table};

/// What every part of the program may fail with.
type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// The parts that `--only` can name.
const PARTS: &[&str] = &["start", "pss", "restarts", "checks", "engine"];

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let outcome = match args.first().map(String::as_str) {
        Some("measure") => measure::run(&args[1..]),
        _ => Settings::parse(&args).and_then(|settings| run(&settings)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench-peers: {error}");
            ExitCode::FAILURE
        }
    }
}

/// How much to measure.
struct Settings {
    rounds: usize,
    quick: bool,
    parts: Vec<String>,
    build: bool,
}

impl Settings {
    fn parse(args: &[String]) -> Result<Settings> {
        let mut settings = Settings {
            rounds: 7,
            quick: false,
            parts: PARTS.iter().map(|part| (*part).to_owned()).collect(),
            build: true,
        };
        let mut rounds = None;
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value =
                || args.next().ok_or_else(|| format!("cannot use {arg} without a value"));
            match arg.as_str() {
                "--quick" => settings.quick = true,
                "--no-build" => settings.build = false,
                "--rounds" => rounds = Some(value()?.parse()?),
                "--only" => settings.parts = value()?.split(',').map(str::to_owned).collect(),
                _ => return Err(format!("cannot understand {arg}").into()),
            }
        }
        if let Some(part) = settings.parts.iter().find(|part| !PARTS.contains(&part.as_str())) {
            return Err(format!("cannot measure {part}: known are {}", PARTS.join(", ")).into());
        }
        settings.rounds = rounds.unwrap_or(if settings.quick { 2 } else { 7 });
        Ok(settings)
    }

    fn has(&self, part: &str) -> bool {
        self.parts.iter().any(|known| known == part)
    }
}

fn run(settings: &Settings) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    if settings.build {
        build_steersman(&root)?;
    }
    let bench = Bench::new(settings, &root)?;
    print_heading(settings);
    if settings.has("start") {
        bench.start("As a child", "child")?;
        bench.start("As PID 1", "init")?;
    }
    if settings.has("pss") {
        bench.resident()?;
    }
    if settings.has("restarts") {
        bench.restarts()?;
    }
    if settings.has("checks") {
        bench.checks()?;
    }
    if settings.has("engine") {
        engine::run(settings.rounds, settings.quick)?;
    }
    Ok(())
}

/// Builds the program both ways, so that nobody measures yesterday's: as `cargo build` makes it,
/// with shared libraries, and as `cargo container` does, in one static file.
fn build_steersman(root: &Path) -> Result<()> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = |arguments: &[&str]| -> Result<()> {
        let status = Command::new(&cargo).args(arguments).current_dir(root).status()?;
        if status.success() { Ok(()) } else { Err("cannot build steersman".into()) }
    };
    let folder = env::current_exe()?;
    let folder = folder.parent().ok_or("cannot find the folder of this program")?;
    build(&["build", "--release", "-q", "-p", "steersman"])?;
    replace(&folder.join("steersman"), &folder.join(peers::SHARED_FILE))?;
    build(&["-q", "container"])?;
    replace(&folder.join("steersman"), &folder.join(peers::STATIC_FILE))
}

/// Copies a program into a new file: the old one may be running.
fn replace(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_file(to)?;
    }
    fs::copy(from, to)?;
    Ok(())
}

fn print_heading(settings: &Settings) {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown");
    let model = model.trim_start_matches([' ', '\t', ':']);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = load.split(' ').next().unwrap_or_default();
    println!(
        "Machine: {cores} cores of {model}, Linux {}; load {load} at the beginning; medians of {} \
         interleaved rounds.\n",
        kernel.trim(),
        settings.rounds,
    );
}

/// One run of everything.
struct Bench<'a> {
    settings: &'a Settings,
    work: PathBuf,
    probe: PathBuf,
    peers: Vec<Peer>,
}

impl Drop for Bench<'_> {
    fn drop(&mut self) {
        // Nothing depends on it: a left-over directory in /tmp harms nobody.
        let _ = fs::remove_dir_all(&self.work);
    }
}

impl<'a> Bench<'a> {
    fn new(settings: &'a Settings, root: &Path) -> Result<Bench<'a>> {
        let work = env::temp_dir().join(format!("bench-peers-{}", std::process::id()));
        fs::create_dir_all(&work)?;
        let probe = work.join("probe");
        let source = root.join("tests/src/bin/bench-peers/probe.c");
        let status = Command::new("cc")
            .args(["-O2", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-o"])
            .args([&probe, &source])
            .status()?;
        if !status.success() {
            return Err(format!("cannot compile {}", source.display()).into());
        }
        let (peers, missing): (Vec<Peer>, Vec<Peer>) =
            Peer::all(root).into_iter().partition(Peer::is_there);
        for peer in &missing {
            eprintln!("bench-peers: {} is not installed (tests/setup/peers.sh)", peer.name());
        }
        Ok(Bench { settings, work, probe, peers })
    }

    /// Measures every peer that can do `workload`, in turn, `rounds` times.
    fn series(
        &self,
        kind: &str,
        workload: Workload,
        table: &mut Table,
        column: &str,
    ) -> Result<()> {
        for round in 1..=self.settings.rounds {
            for peer in &self.peers {
                if !peer.can(workload) {
                    continue;
                }
                let value = self.once(kind, peer, workload)?;
                eprintln!("{kind} {column} round {round}: {} {value:.3}", peer.name());
                table.add(peer.name(), column, value);
            }
        }
        Ok(())
    }

    /// Measures one peer once, in a PID namespace of its own that takes everything with it.
    fn once(&self, kind: &str, peer: &Peer, workload: Workload) -> Result<f64> {
        let folder = self.work.join("run");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(&folder)?;
        let command = peer.prepare(workload, &folder, &self.probe)?;
        let mut measuring = Command::new("unshare");
        measuring.args(["--pid", "--fork", "--mount-proc", "--kill-child"]);
        measuring.arg(env::current_exe()?).args(["measure", kind]);
        measuring.arg(&folder).arg(&self.probe);
        measuring.arg(if self.settings.quick { "quick" } else { "full" });
        measuring.arg(workload.jobs().to_string()).args(command);
        let output = measuring.stderr(std::process::Stdio::inherit()).output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let value = text.lines().last().and_then(|line| line.trim().parse().ok());
        value.ok_or_else(|| format!("cannot measure {kind} of {}: {text}", peer.name()).into())
    }

    fn start(&self, title: &str, kind: &str) -> Result<()> {
        let mut table = Table::new(
            &format!("{title}: from exec of the supervisor to the first instruction of its child"),
            "ms",
            Better::Less,
            "tini",
        );
        self.series(kind, Workload::Start, &mut table, "start")?;
        let quoted = if kind == "init" { 7.6 } else { 4.0 };
        table.quote("ContainerPilot 3.8", "start", quoted);
        table.print();
        Ok(())
    }

    fn resident(&self) -> Result<()> {
        let mut table = Table::new(
            "Resident memory (PSS) of the supervisor and its helpers, jobs excluded",
            "MB",
            Better::Less,
            peers::STEERSMAN,
        );
        for (jobs, quoted) in [(1, 8.4), (100, 16.8), (500, 54.0)] {
            let column = format!("{jobs} job{}", if jobs == 1 { "" } else { "s" });
            self.series("pss", Workload::Sleepers(jobs), &mut table, &column)?;
            table.quote("ContainerPilot 3.8", &column, quoted);
        }
        table.print();
        Ok(())
    }

    fn restarts(&self) -> Result<()> {
        let programs =
            [(Ender::True, "`/bin/true`"), (Ender::Probe, "a static program that does nothing")];
        for (ender, program) in programs {
            let title = format!("Restarts of {program} a second, no backoff");
            let mut table = Table::new(&title, "1/s", Better::More, peers::LOOP);
            for jobs in [1, 8] {
                let column = format!("{jobs} job{}", if jobs == 1 { "" } else { "s" });
                self.series("restarts", Workload::Restarts(jobs, ender), &mut table, &column)?;
            }
            if ender == Ender::True {
                table.quote("ContainerPilot 3.8", "8 jobs", 3065.0);
                table.quote("Pebble", "8 jobs", 473.0);
            }
            table.print();
        }
        Ok(())
    }

    fn checks(&self) -> Result<()> {
        let mut table = Table::new(
            "CPU of the supervisor for 100 health checks (`/bin/true`) a second",
            "ms/s",
            Better::Less,
            "Horust",
        );
        self.series("checks", Workload::Checks(100), &mut table, "CPU")?;
        table.quote("ContainerPilot 3.8", "CPU", 36.0);
        table.print();
        Ok(())
    }
}
