//! Does what the command line asks for, except for a run.

use std::fs::File;
use std::io::{self, BufReader, IsTerminal, Write};
use std::path::Path;

use steersman_engine::front::{self, Colours, Interfaces, Report, Surroundings};
use steersman_engine::trace::{self, Outcome};

use super::{Format, Invocation, Replaying, Target, show};
use crate::client::{self, ClientError, Request};
use crate::process;
use crate::{driver, keeper, lock};

/// Exit status: all is well.
const GOOD: u8 = 0;
/// Exit status: it was understood, and failed.
const FAILED: u8 = 1;
/// Exit status: wrong usage or configuration.
const REFUSED: u8 = 2;

/// Why a command failed.
#[derive(Debug)]
struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    fn failed(message: impl Into<String>) -> Failure {
        Failure { status: FAILED, message: message.into() }
    }

    fn refused(message: impl Into<String>) -> Failure {
        Failure { status: REFUSED, message: message.into() }
    }
}

/// Output to a pipe whose reader has gone is the end, not a failure.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure { status: GOOD, message: String::new() },
            _ => Failure::failed(format!("cannot write: {error}")),
        }
    }
}

type Outcomes = Result<u8, Failure>;

/// Reads the command line, does what it asks for and gives the exit status. `run` runs.
pub fn main(run: impl FnOnce(super::RunOptions) -> u8) -> u8 {
    let mut arguments = Vec::new();
    for argument in std::env::args_os().skip(1) {
        match argument.into_string() {
            Ok(argument) => arguments.push(argument),
            Err(argument) => {
                complain(&format!("cannot read the argument {argument:?}: it is no UTF-8"));
                return REFUSED;
            }
        }
    }
    match super::parse(&arguments, std::env::var("CONTAINERPILOT").ok()) {
        Ok(invocation) => execute(invocation, run),
        Err(usage) => {
            complain(&usage.0);
            REFUSED
        }
    }
}

/// Does what was asked for and gives the exit status. A run is the caller's: `run` does it.
fn execute(invocation: Invocation, run: impl FnOnce(super::RunOptions) -> u8) -> u8 {
    let is_held =
        matches!(invocation, Invocation::Run(_) | Invocation::Lock(_) | Invocation::Keep { .. });
    if !is_held {
        // Everything but a run ends by a signal as programs do.
        process::release_signals();
    }
    let done = match invocation {
        Invocation::Run(options) => Ok(run(options)),
        Invocation::Lock(options) => Ok(lock::run(&options, &surroundings(), driver::seed())),
        Invocation::Keep { supervisor } => Ok(keeper::run(supervisor)),
        Invocation::Version => version(),
        Invocation::Text(text) => print(text.trim_end()),
        Invocation::Check { files, format } => check(files, format),
        Invocation::Render { file, out } => render(file, out.as_deref()),
        Invocation::Schema { of_scenarios } => schema(of_scenarios),
        Invocation::Completions(shell) => completions(shell),
        Invocation::Client { target, request, format } => ask(&target, &request, format),
        Invocation::Consul { listen } => development_consul(&listen),
        #[cfg(feature = "sim")]
        Invocation::Sim(simulation) => simulate(simulation),
        Invocation::Replay(replaying) => replay(replaying),
    };
    done.unwrap_or_else(|failure| {
        if !failure.message.is_empty() {
            complain(&failure.message);
        }
        failure.status
    })
}

/// Says on standard error what went wrong; nobody can be told if that fails.
pub fn complain(message: &str) {
    let _ = writeln!(io::stderr(), "steersman: {message}");
}

fn print(text: &str) -> Outcomes {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    out.flush()?;
    Ok(GOOD)
}

fn version() -> Outcomes {
    print(&format!("Version: {}\nGitHash: {}", crate::VERSION, crate::GIT_HASH))
}

fn schema(of_scenarios: bool) -> Outcomes {
    match of_scenarios {
        true => scenario_schema(),
        false => print(&format!("{:#}", front::schema())),
    }
}

#[cfg(feature = "sim")]
fn scenario_schema() -> Outcomes {
    print(&format!("{:#}", steersman_sim::scenario::schema()))
}

#[cfg(not(feature = "sim"))]
fn scenario_schema() -> Outcomes {
    let message = "cannot show the schema of scenarios: this program was built without them";
    Err(Failure::refused(message))
}

fn completions(shell: clap_complete::Shell) -> Outcomes {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut super::commands::command(), "steersman", &mut text);
    io::stdout().lock().write_all(&text)?;
    Ok(GOOD)
}

/// Gives what a configuration may depend on here.
pub fn surroundings() -> Surroundings {
    let env = std::env::vars_os()
        .map(|(name, value)| (name.to_string_lossy().into(), value.to_string_lossy().into()));
    let hostname = nix::unistd::gethostname().unwrap_or_default();
    Surroundings {
        env: env.collect(),
        interfaces: Interfaces::Listed(crate::interfaces::list),
        hostname: hostname.to_string_lossy().into_owned(),
    }
}

/// Chooses the configuration: the one given, else the environment's.
fn config_file(given: Option<&str>) -> Result<String, Failure> {
    let environment = || std::env::var("CONTAINERPILOT").ok();
    let file = given.map(str::to_owned).or_else(environment).filter(|file| !file.is_empty());
    file.ok_or_else(|| {
        let hint = "name a FILE, or set CONTAINERPILOT to its path";
        Failure::refused(format!("cannot find the configuration: {hint}"))
    })
}

/// Reads a configuration's file.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn read(file: &str) -> Result<String, Box<str>> {
    let bytes = std::fs::read(file).map_err(|error| format!("cannot read {file}: {error}"))?;
    let text = String::from_utf8(bytes);
    text.map_err(|error| format!("cannot read {file}: it is no UTF-8: {error}").into())
}

fn check(mut files: Vec<String>, format: Format) -> Outcomes {
    if files.is_empty() {
        files.push(config_file(None)?);
    }
    let around = surroundings();
    let mut reports = Vec::new();
    let mut is_good = true;
    for file in &files {
        let report = match read(file) {
            Ok(text) => front::check(file, &text, &around),
            Err(reason) => {
                complain(&reason);
                is_good = false;
                continue;
            }
        };
        is_good &= report.is_good();
        match format {
            Format::Human => print_report(file, &report)?,
            Format::Json => reports.push(serde_json::json!({
                "file": file,
                "good": report.is_good(),
                "errors": report.errors,
                "warnings": report.warnings,
            })),
        }
    }
    if format == Format::Json {
        print(&format!("{:#}", serde_json::Value::Array(reports)))?;
    }
    Ok(if is_good { GOOD } else { REFUSED })
}

/// Problems go to standard error, the verdict to standard output.
fn print_report(file: &str, report: &Report) -> io::Result<()> {
    let colours = if io::stderr().is_terminal() { Colours::On } else { Colours::Off };
    write!(io::stderr().lock(), "{}", report.to_text(colours))?;
    let (errors, warnings) = (report.errors.len(), report.warnings.len());
    writeln!(io::stdout().lock(), "{file}: {}", show::verdict(errors, warnings))
}

fn render(file: Option<String>, out: Option<&str>) -> Outcomes {
    let file = config_file(file.as_deref())?;
    let text = read(&file).map_err(Failure::refused)?;
    let env = surroundings().env;
    let rendered = front::render(&file, &text, &env)
        .map_err(|problem| Failure::refused(problem.to_text(Colours::Off)))?;
    write_out(out, rendered.as_bytes())
}

/// Writes to a file, or to standard output when there is none or it is `-`.
fn write_out(out: Option<&str>, text: &[u8]) -> Outcomes {
    match out {
        None | Some("-") => {
            let mut out = io::stdout().lock();
            out.write_all(text)?;
            out.flush()?;
        }
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Failure::failed(format!("cannot write {path}: {error}")))?,
    }
    Ok(GOOD)
}

#[cfg(feature = "sim")]
fn development_consul(listen: &str) -> Outcomes {
    let say = |address| complain(&format!("the development Consul listens on {address}"));
    crate::embedded::serve(listen, say).map_err(Failure::refused)?;
    Ok(GOOD)
}

#[cfg(not(feature = "sim"))]
fn development_consul(_listen: &str) -> Outcomes {
    Err(Failure::refused("cannot run the development Consul: this program was built without it"))
}

#[cfg(feature = "sim")]
fn simulate(simulation: super::simulate::Simulation) -> Outcomes {
    use steersman_sim::command::{Options, Strategy, simulate};
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    let options = Options {
        files: simulation.files,
        seeds: simulation.seeds,
        strategy: Strategy::parse(&simulation.strategy).unwrap_or_default(),
        jobs: simulation.jobs.unwrap_or_else(processors),
        shard: simulation.shard,
        check_determinism: simulation.check_determinism,
        json: simulation.json,
        html: simulation.html,
        trace: simulation.trace,
        is_watched: io::stderr().is_terminal() && !simulation.json,
        colours: if io::stderr().is_terminal() { Colours::On } else { Colours::Off },
        story_colours: story_colours(),
    };
    let mut out = io::stdout().lock();
    let status = simulate(&options, &surroundings(), &mut out, &mut io::stderr())?;
    out.flush()?;
    Ok(status)
}

/// Repeats a simulated run, and tells a recorded one when asked to; none leaves the rest to the
/// engine.
#[cfg(feature = "sim")]
fn replay_simulated(replaying: &Replaying) -> Result<Option<u8>, Failure> {
    use steersman_sim::command::{ReplayOptions, repeat};
    let options = ReplayOptions {
        trace: replaying.trace.clone(),
        json: replaying.format == Format::Json,
        html: replaying.html.clone(),
        story: replaying.story,
        story_colours: story_colours(),
    };
    let mut out = io::stdout().lock();
    let status = repeat(&options, &mut out, &mut io::stderr())?;
    out.flush()?;
    Ok(status)
}

/// Colours belong on a terminal, and only where they are welcome.
#[cfg(feature = "sim")]
fn story_colours() -> Colours {
    let is_unwelcome = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    match io::stdout().is_terminal() && !is_unwelcome {
        true => Colours::On,
        false => Colours::Off,
    }
}

#[cfg(not(feature = "sim"))]
fn replay_simulated(replaying: &Replaying) -> Result<Option<u8>, Failure> {
    let message = "cannot tell a story: this program was built without the simulator";
    match replaying.html.is_some() || replaying.story {
        true => Err(Failure::refused(message)),
        false => Ok(None),
    }
}

/// Repeats a simulated run, or tells a recorded one when asked to and leaves the rest to the
/// engine.
fn replay(replaying: Replaying) -> Outcomes {
    if let Some(status) = replay_simulated(&replaying)? {
        return Ok(status);
    }
    let Replaying { trace: file, format, .. } = replaying;
    let file = &*file;
    let refused = |error: String| Failure::refused(format!("{file}: {error}"));
    let opened =
        File::open(file).map_err(|error| refused(format!("cannot open the trace: {error}")))?;
    let mut reader =
        trace::Reader::new(BufReader::new(opened)).map_err(|error| refused(error.to_string()))?;
    let outcome = trace::replay(&mut reader).map_err(|error| refused(error.to_string()))?;
    print(&match format {
        Format::Human => show::outcome(file, reader.header(), &outcome),
        Format::Json => show::outcome_json(file, reader.header(), &outcome).to_string(),
    })?;
    Ok(match outcome {
        Outcome::Same { .. } => GOOD,
        Outcome::Differs(_) => FAILED,
    })
}

/// Finds the control socket as v3 did: the configuration names it.
fn socket(target: &Target) -> Result<String, Failure> {
    if let Some(socket) = &target.socket {
        return Ok(socket.clone());
    }
    let file = config_file(target.config.as_deref())?;
    let text = read(&file).map_err(Failure::refused)?;
    front::control_socket(&file, &text, &surroundings().env).map_err(|problems| {
        let first = problems.first().map(|problem| problem.to_text(Colours::Off));
        let hint = "`steersman check` shows every problem; --socket PATH needs no configuration";
        Failure::refused(format!("{}\n{hint}", first.unwrap_or_default()))
    })
}

fn ask(target: &Target, request: &Request, format: Format) -> Outcomes {
    let socket = socket(target)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("cannot begin: {error}")))?;
    let failed = |error: ClientError| {
        let hint = match &error {
            ClientError::Connect(reason) => connect_hint(reason),
            ClientError::Broken(_) | ClientError::Late(_) => "",
        };
        Failure::failed(format!("{error} ({socket}){hint}"))
    };
    runtime.block_on(async {
        let mut answer = client::send(Path::new(&socket), request).await.map_err(failed)?;
        if !answer.status().is_success() {
            let (status, body) = client::whole_body(answer).await.map_err(failed)?;
            return Err(Failure::failed(show::refusal(status.as_u16(), &body)));
        }
        if *request == Request::Events {
            let mut lines = show::Lines::default();
            // A connection that breaks is how the end of the supervisor looks from here.
            while let Ok(Some(piece)) = client::next_piece(&mut answer).await {
                let text = lines.take(&piece, format);
                let mut out = io::stdout().lock();
                out.write_all(&text)?;
                out.flush()?;
            }
            return Ok(GOOD);
        }
        let (_, body) = client::whole_body(answer).await.map_err(failed)?;
        match (request, format) {
            (Request::Trace { out }, _) => write_out(out.as_deref(), &body),
            (_, Format::Json) => write_out(None, &body),
            (_, Format::Human) => print(show::answer(request, &body).trim_end()),
        }
    })
}

fn connect_hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            ": is it running, and with this configuration?"
        }
        io::ErrorKind::PermissionDenied => ": the socket belongs to another user",
        _ => "",
    }
}
