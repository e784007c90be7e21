//! `steersman sim`: searches scenarios and configurations in the simulated world.

use std::ops::Range;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::Usage;

/// What to search, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Simulation {
    /// The scenarios or configurations.
    pub files: Vec<String>,
    /// Which seeds.
    pub seeds: Range<u64>,
    /// How runs are chosen.
    pub strategy: String,
    /// How many threads; as many as there are processors when absent.
    pub jobs: Option<usize>,
    /// Which share of the seeds, the index from 0.
    pub shard: (u64, u64),
    /// Whether every run is made twice.
    pub check_determinism: bool,
    /// Whether to write JSON.
    pub json: bool,
    /// Where to write the page.
    pub html: Option<String>,
    /// Where to write the trace.
    pub trace: Option<String>,
}

/// How runs can be chosen.
const STRATEGIES: [&str; 4] = ["random", "pct", "exhaustive", "portfolio"];

/// Gives the subcommand.
pub(super) fn command() -> Command {
    let value = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    let flag = |name: &'static str, help: &'static str| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
    };
    Command::new("sim")
        .about("Searches scenarios, or plain configurations, for a run that breaks a property")
        .arg(
            Arg::new("file")
                .value_name("FILE")
                .num_args(1..)
                .required(true)
                .help("A scenario, or a configuration as it is"),
        )
        .arg(value("seeds", "N|A..B", "Which runs").default_value("1000"))
        .arg(value("jobs", "N", "How many at a time; one for each processor when left out"))
        .arg(
            value("strategy", "NAME", "How runs are chosen")
                .value_parser(PossibleValuesParser::new(STRATEGIES))
                .default_value("random"),
        )
        .arg(value("shard", "I/N", "Only the I-th of N shares of the runs, from 1"))
        .arg(value("html", "FILE", "Where to write the story of a breach as a page"))
        .arg(value("trace", "FILE", "Where to write the trace of a breach, for `replay`"))
        .arg(flag("check-determinism", "Make every run twice and compare"))
        .arg(flag("json", "Write JSON"))
}

/// Reads the arguments of the subcommand.
pub(super) fn read(matches: &ArgMatches) -> Result<Simulation, Usage> {
    let text = |name: &str| matches.get_one::<String>(name).cloned();
    let jobs = match text("jobs") {
        Some(jobs) => match number(&jobs, "--jobs")? {
            0 => return Err(Usage(String::from("cannot search with --jobs 0: nobody would"))),
            jobs => Some(jobs),
        },
        None => None,
    };
    Ok(Simulation {
        files: matches.get_many::<String>("file").into_iter().flatten().cloned().collect(),
        seeds: seeds(&text("seeds").unwrap_or_default())?,
        strategy: text("strategy").unwrap_or_default(),
        jobs: jobs.map(|jobs| usize::try_from(jobs).unwrap_or(usize::MAX).clamp(1, 1024)),
        shard: shard(text("shard").as_deref())?,
        check_determinism: matches.get_flag("check-determinism"),
        json: matches.get_flag("json"),
        html: text("html"),
        trace: text("trace"),
    })
}

fn seeds(text: &str) -> Result<Range<u64>, Usage> {
    let (from, to) = match text.split_once("..") {
        Some((from, to)) => (number(from, "--seeds")?, number(to, "--seeds")?),
        None => (0, number(text, "--seeds")?),
    };
    if from >= to {
        return Err(Usage(format!("cannot search the seeds {text}: there are none")));
    }
    Ok(from..to)
}

fn shard(text: Option<&str>) -> Result<(u64, u64), Usage> {
    let Some(text) = text else { return Ok((0, 1)) };
    let bad = || Usage(format!("cannot read \"{text}\" for --shard: write I/N, such as 2/8"));
    let (index, count) = text.split_once('/').ok_or_else(bad)?;
    let (index, count) = (number(index, "--shard")?, number(count, "--shard")?);
    if index == 0 || index > count {
        return Err(bad());
    }
    Ok((index - 1, count))
}

fn number(text: &str, option: &str) -> Result<u64, Usage> {
    let digits = text.replace('_', "");
    digits.parse().map_err(|_| Usage(format!("cannot read \"{text}\" for {option} as a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_and_shards_are_ranges_and_shares() {
        assert_eq!(seeds("5").ok(), Some(0..5));
        assert_eq!(seeds("7..1_000").ok(), Some(7..1000));
        assert!(seeds("7..7").is_err());
        assert_eq!(shard(Some("2/8")).ok(), Some((1, 8)));
        assert!(shard(Some("9/8")).is_err());
        assert!(shard(Some("0/8")).is_err());
    }
}
