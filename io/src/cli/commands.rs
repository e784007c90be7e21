//! The subcommands, for clap: everything that is not on the path on which containers start.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, Value, json};

use super::flags::{self, Flag, Takes};
use super::{Format, Invocation, Replaying, Target, Usage};
use crate::client::Request;

/// Builds the whole command line, for parsing, help and completions.
pub(super) fn command() -> Command {
    let mut command = Command::new("steersman")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Runs a container's jobs; takes ContainerPilot v3 configurations unchanged")
        .after_help(AFTER_HELP)
        .disable_version_flag(true)
        .subcommand_required(true)
        .max_term_width(100);
    command = flags::RUN.iter().chain(flags::V3).fold(command, |command, flag| {
        if matches!(flag.name, "help" | "h") { command } else { command.arg(long(flag)) }
    });
    let run = Command::new("run").about("Runs the configuration (also without a subcommand)");
    let run = flags::RUN.iter().fold(run, |run, flag| run.arg(long(flag)));
    offline(command.subcommand(run))
        .subcommands(CLIENT.iter().map(|make| make().arg(socket()).arg(config())))
}

const AFTER_HELP: &str = "\
Flags work with one dash or two. Exit status: 0 good; 1 failed, or the status of the first job \
that failed; 2 bad usage or configuration.";

fn long(flag: &Flag) -> Arg {
    let arg = Arg::new(flag.name).long(flag.name).help(flag.help);
    match flag.takes {
        Takes::Nothing => arg.action(ArgAction::SetTrue),
        Takes::One(value) => arg.value_name(value),
        Takes::Many(value) => arg.value_name(value).action(ArgAction::Append),
    }
}

/// Adds the subcommands that need no running supervisor.
fn offline(command: Command) -> Command {
    command
        .subcommand(
            Command::new("check")
                .about("Shows every problem of configurations at once, with line and column")
                .arg(Arg::new("file").value_name("FILE").num_args(0..).help(FILE_HELP))
                .arg(
                    Arg::new("format")
                        .long("format")
                        .value_parser(PossibleValuesParser::new(["human", "json"]))
                        .default_value("human")
                        .help("For people or for tools"),
                ),
        )
        .subcommand(
            Command::new("render")
                .about("Renders a configuration's template")
                .arg(Arg::new("file").value_name("FILE").help(FILE_HELP))
                .arg(Arg::new("out").long("out").value_name("FILE").help("Where to write it")),
        )
        .subcommand(super::locking::command())
        .subcommand(schema_command())
        .subcommand(
            Command::new("completions").about("Shows completions for a shell").arg(
                Arg::new("shell")
                    .value_name("SHELL")
                    .required(true)
                    .value_parser(clap::value_parser!(clap_complete::Shell))
                    .help("Which shell"),
            ),
        )
        .subcommands(of_the_simulator())
        .subcommand(
            Command::new("replay")
                .about("Repeats a recorded run and compares every effect and digest")
                .arg(Arg::new("trace").value_name("TRACE").required(true).help("The trace"))
                .arg(page_flag())
                .arg(story_flag())
                .arg(json_flag()),
        )
}

fn schema_command() -> Command {
    let help = "That of scenarios for `sim` instead";
    let scenario = Arg::new("scenario").long("scenario").action(ArgAction::SetTrue);
    Command::new("schema")
        .about("Shows the JSON Schema of configurations")
        .arg(scenario.hide(!cfg!(feature = "sim")).help(help))
}

/// Stories are told by the simulator's half.
fn story_flag() -> Arg {
    let help = "Tell a recording as text; a simulated run always is";
    let story = Arg::new("story").long("story").action(ArgAction::SetTrue);
    story.hide(!cfg!(feature = "sim")).help(help)
}

/// Pages are made by the simulator's half.
fn page_flag() -> Arg {
    let help = "Where to write the story as a page";
    Arg::new("html").long("html").value_name("FILE").hide(!cfg!(feature = "sim")).help(help)
}

#[cfg(feature = "sim")]
fn of_the_simulator() -> Vec<Command> {
    let listen = Arg::new("listen").long("listen").value_name("ADDR");
    let consul = Command::new("consul")
        .about("Runs the development Consul: a model of Consul 1.8.7 behind its real HTTP API")
        .arg(listen.default_value("127.0.0.1:8500").help("Where to listen; port 0 chooses one"));
    vec![consul, super::simulate::command()]
}

#[cfg(not(feature = "sim"))]
fn of_the_simulator() -> Vec<Command> {
    Vec::new()
}

const FILE_HELP: &str = "The configuration; else $CONTAINERPILOT names it";

/// The subcommands that talk to the running supervisor.
const CLIENT: &[fn() -> Command] = &[
    || Command::new("status").about("Shows every job: phase, health, process").arg(json_flag()),
    || Command::new("events").about("Follows events as they are published").arg(json_flag()),
    || {
        let all = Arg::new("all").long("all").action(ArgAction::SetTrue);
        Command::new("reload")
            .about("Reads the configuration again and applies what changed")
            .arg(all.help("Restart jobs that did not change as well"))
            .arg(json_flag())
    },
    || {
        let state = Arg::new("state").required(true);
        let states = PossibleValuesParser::new(["enable", "disable"]);
        Command::new("maintenance")
            .about("Switches maintenance on or off")
            .arg(state.value_parser(states).help("On or off"))
            .arg(json_flag())
    },
    || pairs("putenv", "Sets variables for processes started later; an empty value unsets"),
    || pairs("putmetric", "Feeds metrics, by full name"),
    || Command::new("ping").about("Sees whether it answers").arg(json_flag()),
    || {
        let out = Arg::new("out").long("out").value_name("FILE").help("Where to write it");
        Command::new("trace").about("Shows its last inputs and effects, as a trace").arg(out)
    },
    || {
        let signal = Arg::new("signal").required(true).value_name("SIGNAL");
        Command::new("signal")
            .about("Sends a signal to the process of a job")
            .arg(job())
            .arg(signal.help("HUP, SIGHUP or 1"))
            .arg(json_flag())
    },
    || {
        Command::new("restart")
            .about("Stops the process of a job and starts it again")
            .arg(job())
            .arg(json_flag())
    },
];

fn pairs(name: &'static str, about: &'static str) -> Command {
    let pair = Arg::new("pair").required(true).num_args(1..).value_name("NAME=VALUE");
    Command::new(name).about(about).arg(pair.help("What to put")).arg(json_flag())
}

fn job() -> Arg {
    Arg::new("job").value_name("JOB").required(true).help("The job's name")
}

fn json_flag() -> Arg {
    Arg::new("json").long("json").action(ArgAction::SetTrue).help("Write JSON")
}

fn socket() -> Arg {
    Arg::new("socket")
        .long("socket")
        .value_name("PATH")
        .help("The control socket; else the configuration names it")
}

fn config() -> Arg {
    Arg::new("config").long("config").value_name("FILE").help(FILE_HELP)
}

/// Reads the arguments that follow the program's name, the first being a subcommand.
pub(super) fn parse(arguments: &[String]) -> Result<Invocation, Usage> {
    let named = std::iter::once("steersman".to_owned()).chain(two_dashes(arguments));
    let matches = match command().try_get_matches_from(named) {
        Ok(matches) => matches,
        Err(error) if error.exit_code() == 0 => return Ok(Invocation::Text(error.to_string())),
        Err(error) => return Err(Usage(plain(&error))),
    };
    let (name, matches) = matches.subcommand().expect("clap was told that one is required");
    Ok(match name {
        "check" => Invocation::Check {
            files: texts(matches, "file"),
            format: match text(matches, "format").as_deref() {
                Some("json") => Format::Json,
                _ => Format::Human,
            },
        },
        "render" => Invocation::Render { file: text(matches, "file"), out: text(matches, "out") },
        "lock" => Invocation::Lock(super::locking::read(matches)),
        "schema" => Invocation::Schema { of_scenarios: matches.get_flag("scenario") },
        "completions" => {
            let shell = matches.get_one::<clap_complete::Shell>("shell");
            Invocation::Completions(*shell.expect("clap was told that it is required"))
        }
        "consul" => Invocation::Consul { listen: text(matches, "listen").unwrap_or_default() },
        #[cfg(feature = "sim")]
        "sim" => Invocation::Sim(super::simulate::read(matches)?),
        "replay" => Invocation::Replay(Replaying {
            trace: text(matches, "trace").unwrap_or_default(),
            html: text(matches, "html"),
            story: matches.get_flag("story"),
            format: format_of(matches),
        }),
        _ => Invocation::Client {
            target: Target { socket: text(matches, "socket"), config: text(matches, "config") },
            request: request(name, matches)?,
            format: format_of(matches),
        },
    })
}

fn request(name: &str, matches: &ArgMatches) -> Result<Request, Usage> {
    Ok(match name {
        "status" => Request::Status,
        "events" => Request::Events,
        "ping" => Request::Ping,
        "trace" => Request::Trace { out: text(matches, "out") },
        "reload" => Request::Reload { all: matches.get_flag("all") },
        "maintenance" => Request::Maintenance {
            on: text(matches, "state").is_some_and(|state| state == "enable"),
        },
        "putenv" => Request::PutEnv(env_pairs(&texts(matches, "pair"))?),
        "putmetric" => Request::PutMetric(metric_pairs(&texts(matches, "pair"))?),
        "signal" => Request::Signal(json!({
            "job": text(matches, "job"),
            "signal": text(matches, "signal"),
        })),
        "restart" => Request::Restart(json!({ "job": text(matches, "job") })),
        other => return Err(Usage(format!("cannot find a command named \"{other}\""))),
    })
}

/// Reads `NAME=VALUE`; the value may hold further equals signs.
pub(super) fn env_pairs(pairs: &[String]) -> Result<Map<String, Value>, Usage> {
    pairs
        .iter()
        .map(|pair| match pair.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.into())),
            _ => Err(Usage(format!("cannot read \"{pair}\": it is no NAME=VALUE"))),
        })
        .collect()
}

/// Reads `NAME=NUMBER`.
pub(super) fn metric_pairs(pairs: &[String]) -> Result<Map<String, Value>, Usage> {
    let mut numbers = Map::new();
    for (name, value) in env_pairs(pairs)? {
        let text = value.as_str().unwrap_or_default();
        let number = text.parse().ok().and_then(serde_json::Number::from_f64).ok_or_else(|| {
            Usage(format!("cannot read \"{name}={text}\": \"{text}\" is no finite number"))
        })?;
        numbers.insert(name, Value::Number(number));
    }
    Ok(numbers)
}

/// Gives known options their second dash, as v3's flags may lack it; what follows `--` is a
/// command of somebody else's.
fn two_dashes(arguments: &[String]) -> impl Iterator<Item = String> {
    let ours = arguments.iter().take_while(|argument| *argument != "--").count();
    arguments.iter().enumerate().map(move |(index, argument)| {
        let name = argument.strip_prefix('-').map(|rest| rest.split('=').next().unwrap_or(rest));
        match name {
            Some(name) if index < ours && OPTIONS.contains(&name) => format!("-{argument}"),
            _ => argument.clone(),
        }
    })
}

const OPTIONS: &[&str] = &[
    "config", "socket", "out", "json", "format", "all", "html", "seeds", "story", "scenario",
    "help",
];

fn format_of(matches: &ArgMatches) -> Format {
    match matches.try_get_one::<bool>("json") {
        Ok(Some(true)) => Format::Json,
        _ => Format::Human,
    }
}

pub(super) fn text(matches: &ArgMatches, name: &str) -> Option<String> {
    matches.get_one::<String>(name).cloned()
}

pub(super) fn texts(matches: &ArgMatches, name: &str) -> Vec<String> {
    matches.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

/// Gives clap's message in our form: "cannot" instead of "error:".
fn plain(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    format!("cannot read the command line: {}", text.trim_end())
}
