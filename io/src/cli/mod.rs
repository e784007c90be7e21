//! The command line: what is asked for, and everything that needs no engine.
//!
//! The way to a run is short on purpose: arguments that start with a dash, or with `run`, are read
//! by [`flags`] alone.

mod commands;
mod execute;
pub mod flags;
mod locking;
#[cfg(feature = "sim")]
#[cfg(test)]
mod pages;
mod show;
#[cfg(feature = "sim")]
pub mod simulate;

use std::fmt;

pub use execute::{complain, main, read, surroundings};
pub use show::status_table;

use crate::client::Request;
use crate::lock::LockOptions;
use crate::record::Recording;

/// What the command line asks for.
#[derive(Debug, PartialEq)]
pub enum Invocation {
    /// Run a configuration.
    Run(RunOptions),
    /// Show the version, in the two lines of v3.
    Version,
    /// Show a text that was asked for.
    Text(String),
    /// Show the problems of configurations.
    Check {
        /// The files; the one of the environment when empty.
        files: Vec<String>,
        /// For whom.
        format: Format,
    },
    /// Render the template of a configuration.
    Render {
        /// The file; the one of the environment when absent.
        file: Option<String>,
        /// Where to; standard output when absent or `-`.
        out: Option<String>,
    },
    /// Run a command under a lock.
    Lock(LockOptions),
    /// Show a JSON Schema.
    Schema {
        /// That of scenarios, not of configurations.
        of_scenarios: bool,
    },
    /// Show completions for a shell.
    Completions(clap_complete::Shell),
    /// Ask the running supervisor.
    Client {
        /// Which one.
        target: Target,
        /// For what.
        request: Request,
        /// For whom the answer is.
        format: Format,
    },
    /// Run the development Consul.
    Consul {
        /// Where to listen.
        listen: String,
    },
    /// Search scenarios.
    #[cfg(feature = "sim")]
    Sim(simulate::Simulation),
    /// Repeat a recorded run.
    Replay(Replaying),
    /// Be the keeper of a supervisor. Not for people.
    Keep {
        /// Whose.
        supervisor: i32,
    },
}

/// What to repeat, and how to show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replaying {
    /// The trace's file.
    pub trace: String,
    /// Where to show it as a page.
    pub html: Option<String>,
    /// Whether to tell a recording as text.
    pub story: bool,
    /// For whom the answer is.
    pub format: Format,
}

/// Who reads the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// People.
    Human,
    /// Tools.
    Json,
}

/// How to find the running supervisor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Its control socket.
    pub socket: Option<String>,
    /// Its configuration, which names the socket.
    pub config: Option<String>,
}

/// How to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunOptions {
    /// The configuration's file.
    pub config: String,
    /// What to record.
    pub recording: Recording,
    /// What was ignored, and should be said.
    pub ignored: Vec<String>,
}

/// What cannot be understood; exit status 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usage(pub String);

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// Reads the arguments that follow the program's name. `config` is the environment's configuration.
pub fn parse(arguments: &[String], config: Option<String>) -> Result<Invocation, Usage> {
    match arguments.first().map(String::as_str) {
        Some("run") => {
            let given = read_flags(&[flags::RUN, HELP], &arguments[1..])?;
            if is_help(&given) { Ok(help()) } else { run(given, config).map(Invocation::Run) }
        }
        Some("keeper") if arguments.len() == 2 => {
            let supervisor = arguments[1].parse();
            let refuse = |_| Usage(format!("cannot read \"{}\" as a process id", arguments[1]));
            Ok(Invocation::Keep { supervisor: supervisor.map_err(refuse)? })
        }
        Some("help") if arguments.len() == 1 => Ok(help()),
        Some(first) if !first.starts_with('-') && !first.is_empty() => commands::parse(arguments),
        _ => v3(read_flags(&[flags::RUN, flags::V3], arguments)?, config),
    }
}

const HELP: &[flags::Flag] = &[
    flags::Flag { name: "help", takes: flags::Takes::Nothing, help: "Show this text" },
    flags::Flag { name: "h", takes: flags::Takes::Nothing, help: "Show this text" },
];

fn read_flags(
    tables: &[&'static [flags::Flag]],
    arguments: &[String],
) -> Result<flags::Given, Usage> {
    let hint = "`steersman -help` lists what there is";
    flags::parse(tables, arguments).map_err(|error| Usage(format!("{error}; {hint}")))
}

fn is_help(given: &flags::Given) -> bool {
    given.is_on("help") || given.is_on("h")
}

fn help() -> Invocation {
    Invocation::Text(commands::command().render_long_help().to_string())
}

fn run(given: flags::Given, config: Option<String>) -> Result<RunOptions, Usage> {
    let config = given.last("config").map(str::to_owned).or(config).filter(|file| !file.is_empty());
    let config = config.ok_or_else(|| Usage(String::from(NO_CONFIG)))?;
    let ring = given.last("record-ring").map(|text| {
        let read = text.parse();
        read.map_err(|_| Usage(format!("cannot read \"{text}\" for -record-ring as bytes")))
    });
    let mut recording = Recording::default();
    if let Some(bytes) = ring.transpose()? {
        recording.ring_bytes = bytes;
    }
    recording.file = given.last("record").map(Into::into);
    if given.is_on("record-secrets") {
        recording.secrets = steersman_engine::trace::Secrets::Kept;
    }
    Ok(RunOptions { config, recording, ignored: given.rest })
}

const NO_CONFIG: &str =
    "cannot run without a configuration: use -config FILE, or set CONTAINERPILOT to its path";

/// The other requests of v3's flags, in their order; only one at a time.
fn v3(given: flags::Given, config: Option<String>) -> Result<Invocation, Usage> {
    if is_help(&given) {
        return Ok(help());
    }
    if given.is_on("version") {
        return Ok(Invocation::Version);
    }
    let mut asked = Vec::new();
    if given.is_on("reload") {
        asked.push(("reload", Request::Reload { all: false }));
    }
    if let Some(state) = given.last("maintenance") {
        asked.push(("maintenance", maintenance(state)?));
    }
    let pairs = |name| -> Vec<String> {
        given.all(name).map(str::to_owned).chain(given.rest.iter().cloned()).collect()
    };
    if given.last("putenv").is_some() {
        asked.push(("putenv", Request::PutEnv(commands::env_pairs(&pairs("putenv"))?)));
    }
    if given.last("putmetric").is_some() {
        let numbers = commands::metric_pairs(&pairs("putmetric"))?;
        asked.push(("putmetric", Request::PutMetric(numbers)));
    }
    if given.is_on("ping") {
        asked.push(("ping", Request::Ping));
    }
    let template = given.is_on("template");
    if asked.len() + usize::from(template) > 1 {
        let names: Vec<&str> = template
            .then_some("template")
            .into_iter()
            .chain(asked.iter().map(|(name, _)| *name))
            .collect();
        return Err(Usage(format!("cannot do several things at once: -{}", names.join(", -"))));
    }
    let file = given.last("config").map(str::to_owned);
    if template {
        let out = given.last("out").map(str::to_owned);
        return Ok(Invocation::Render { file: file.or(config), out });
    }
    let Some((_, request)) = asked.pop() else { return run(given, config).map(Invocation::Run) };
    let socket = given.last("socket").map(str::to_owned);
    let target = Target { socket, config: file };
    Ok(Invocation::Client { target, request, format: Format::Human })
}

fn maintenance(state: &str) -> Result<Request, Usage> {
    match state {
        "enable" => Ok(Request::Maintenance { on: true }),
        "disable" => Ok(Request::Maintenance { on: false }),
        _ => {
            let reason = "it is either enable or disable";
            Err(Usage(format!("cannot read \"{state}\" for -maintenance: {reason}")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Invocation, Usage> {
        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        parse(&arguments, Some(String::from("/etc/env.json5")))
    }

    fn client(arguments: &[&str]) -> Request {
        match parsed(arguments) {
            Ok(Invocation::Client { request, .. }) => request,
            other => panic!("{arguments:?} is no request: {other:?}"),
        }
    }

    fn usage(arguments: &[&str]) -> String {
        parsed(arguments).expect_err("this is wrong usage").0
    }

    #[test]
    fn run_is_what_is_done_when_nothing_else_is_asked_for() {
        for (arguments, config) in [
            (&[][..], "/etc/env.json5"),
            (&["run"], "/etc/env.json5"),
            (&["-config", "a"], "a"),
            (&["--config=a"], "a"),
            (&["run", "-config", "a"], "a"),
            (&["run", "--config=a"], "a"),
        ] {
            let Ok(Invocation::Run(options)) = parsed(arguments) else { panic!("{arguments:?}") };
            assert_eq!(options.config, config, "{arguments:?}");
        }
    }

    #[test]
    fn run_without_any_configuration_is_refused() {
        for arguments in [&[][..], &["run".to_owned()], &["-config=".to_owned()]] {
            assert_eq!(parse(arguments, None), Err(Usage(NO_CONFIG.to_owned())));
        }
    }

    #[test]
    fn arguments_that_v3_ignored_are_kept_to_be_said() {
        let Ok(Invocation::Run(options)) = parsed(&["-config", "a", "mysqld", "-x"]) else {
            panic!("no run");
        };
        assert_eq!(options.ignored, ["mysqld", "-x"]);
    }

    #[test]
    fn environment_value_may_contain_equals_signs() {
        let expected = serde_json::json!({"A": "b=c==", "D": ""});
        for arguments in [
            &["-putenv", "A=b=c==", "--putenv=D="][..],
            &["-putenv", "A=b=c==", "D="],
            &["putenv", "A=b=c==", "D="],
        ] {
            let Request::PutEnv(pairs) = client(arguments) else { panic!("{arguments:?}") };
            assert_eq!(serde_json::Value::Object(pairs), expected, "{arguments:?}");
        }
    }

    #[test]
    fn flags_of_v3_and_subcommands_ask_for_the_same() {
        for (flags, subcommand) in [
            (&["-reload"][..], &["reload"][..]),
            (&["-ping"], &["ping"]),
            (&["-maintenance", "enable"], &["maintenance", "enable"]),
            (&["--maintenance=disable"], &["maintenance", "disable"]),
            (&["-putmetric", "a=1.5", "-putmetric", "b=2"], &["putmetric", "a=1.5", "b=2"]),
        ] {
            assert_eq!(client(flags), client(subcommand), "{flags:?}");
        }
    }

    #[test]
    fn socket_and_configuration_are_taken_with_one_dash_or_two() {
        for arguments in [
            &["status", "-socket", "/s", "-config=/c", "-json"][..],
            &["status", "--socket=/s", "--config", "/c", "--json"],
        ] {
            let Ok(Invocation::Client { target, format, .. }) = parsed(arguments) else {
                panic!("{arguments:?}");
            };
            assert_eq!(
                (target.socket.as_deref(), target.config.as_deref()),
                (Some("/s"), Some("/c"))
            );
            assert_eq!(format, Format::Json);
        }
    }

    #[test]
    fn wrong_usage_is_refused_with_a_reason() {
        for (arguments, start) in [
            (&["-nope"][..], "cannot find a flag named -nope"),
            (&["-reload", "-ping"], "cannot do several things at once: -reload, -ping"),
            (&["-maintenance", "on"], "cannot read \"on\" for -maintenance"),
            (&["-putenv", "A"], "cannot read \"A\": it is no NAME=VALUE"),
            (&["-putenv", "=x"], "cannot read \"=x\": it is no NAME=VALUE"),
            (&["-putmetric", "a=x"], "cannot read \"a=x\": \"x\" is no finite number"),
            (&["-putmetric", "a=inf"], "cannot read \"a=inf\": \"inf\" is no finite number"),
            (&["stauts"], "cannot read the command line: unrecognized subcommand 'stauts'"),
            (&["maintenance", "on"], "cannot read the command line: invalid value 'on'"),
            (&["-record-ring", "many"], "cannot read \"many\" for -record-ring"),
        ] {
            let found = usage(arguments);
            assert!(found.starts_with(start), "{arguments:?}: {found}");
        }
    }

    #[test]
    fn command_line_definition_is_consistent() {
        commands::command().debug_assert();
    }
}
