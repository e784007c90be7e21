//! The options of `steersman lock`.

use clap::{Arg, ArgAction, ArgMatches, Command};

use super::commands::{text, texts};
use crate::lock::LockOptions;

/// Options that set a figure of the lock: the option, the configuration's key, the default, help.
const FIGURES: &[(&str, &str, &str, &str)] = &[
    ("ttl", "ttl", "10s", "Time to live of the session, at least 10s"),
    ("lock-delay", "lockDelay", "15s", "How long Consul keeps others out after a loss"),
    ("renew-every", "renewEvery", "2s", "From one renewal to the next"),
    ("request-timeout", "requestTimeout", "1s", "How long one request may take"),
    ("demote-after", "demoteAfter", "7s", "Age of the last renewal at which stopping begins"),
    ("stop-timeout", "stopTimeout", "5s", "From the stop signal to SIGKILL"),
    ("max-pause", "maxPause", "1s", "The longest pause of this program to allow for"),
    ("takeover", "takeover", "auto", "How long to keep quiet after acquiring"),
];

/// Builds the subcommand.
pub(super) fn command() -> Command {
    let value = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let command = Command::new("lock")
        .about("Runs a command while it holds a lock in Consul; a lost lock ends it")
        .override_usage("steersman lock [OPTIONS] KEY -- COMMAND [ARGUMENT]...")
        .after_help(AFTER_HELP)
        .arg(Arg::new("key").value_name("KEY").required(true).help("The lock's key in Consul"))
        .arg(
            Arg::new("command")
                .value_name("COMMAND")
                .num_args(1..)
                .last(true)
                .required(true)
                .help("What to run"),
        )
        .arg(value("consul", "ADDR", "Where Consul is; else $CONSUL_HTTP_ADDR, localhost:8500"))
        .arg(value("name", "NAME", "The lock's and the session's name").default_value("command"))
        .arg(value("try", "DURATION", "Give up when the lock is not held after so long"))
        .arg(value("value", "TEXT", "What others read in the key; the host's name by default"))
        .arg(value("token-file", "FILE", "Where to write the fencing token"))
        .arg(
            Arg::new("pass-stdin")
                .long("pass-stdin")
                .action(ArgAction::SetTrue)
                .help("Let the command read standard input"),
        )
        .arg(
            Arg::new("verbose")
                .long("verbose")
                .short('v')
                .action(ArgAction::SetTrue)
                .help("Say what happens, on standard error"),
        );
    FIGURES.iter().fold(command, |command, (name, _, default, help)| {
        command.arg(value(name, "DURATION", help).default_value(*default))
    })
}

const AFTER_HELP: &str = "\
The command runs only while the lock is held, and everything it has started is gone before anybody \
else can hold it. $CONTAINERPILOT_LOCK_NAME_TOKEN (with the lock's NAME, `COMMAND` by default) \
holds the fencing token: a number that only grows from holder to holder. Exit status: the \
command's own; 1 when the lock was lost or not held in time; 2 for bad usage.";

/// Reads the options.
pub(super) fn read(matches: &ArgMatches) -> LockOptions {
    let figures = FIGURES.iter();
    let figures = figures.filter_map(|(name, key, ..)| Some((*key, text(matches, name)?)));
    LockOptions {
        key: text(matches, "key").unwrap_or_default(),
        command: texts(matches, "command"),
        name: text(matches, "name").unwrap_or_default(),
        consul: text(matches, "consul"),
        wait: text(matches, "try"),
        value: text(matches, "value"),
        token_file: text(matches, "token-file"),
        figures: figures.collect(),
        passes_input: matches.get_flag("pass-stdin"),
        is_verbose: matches.get_flag("verbose"),
    }
}
