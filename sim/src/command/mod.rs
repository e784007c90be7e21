//! What `steersman sim` and `steersman replay` do, without the reading of arguments.

mod outputs;
mod replay;
mod report;
mod strategies;

use std::fmt::Write as _;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use steersman_engine::front::document::{Document, TreeValue};
use steersman_engine::front::{self, Colours, Diagnostic, Surroundings};
use steersman_engine::trace::Hex;

pub use replay::{ReplayOptions, repeat};
pub use strategies::Strategy;

use crate::explore::{Found, FoundBreach, Plan, Progress, Search, Setting};
use crate::html;
use crate::property::Suite;
use crate::scenario::{self, Scenario};
use crate::shrink::{Effort, Shrunk, shrink};
use crate::story::{Story, tell_plan};
use crate::trace::{self, Header};

/// Exit status: nothing was broken.
pub const GOOD: u8 = 0;
/// Exit status: something was broken, or never reached.
pub const FAILED: u8 = 1;
/// Exit status: wrong usage, scenario or configuration.
pub const REFUSED: u8 = 2;

/// What to search, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// The scenarios or configurations.
    pub files: Vec<String>,
    /// Which seeds.
    pub seeds: Range<u64>,
    /// How runs are chosen.
    pub strategy: Strategy,
    /// How many threads.
    pub jobs: usize,
    /// Which share of the seeds: `(index, count)`, the index from 0.
    pub shard: (u64, u64),
    /// Whether every run is made twice and compared.
    pub check_determinism: bool,
    /// Whether to write one JSON object a file instead of text.
    pub json: bool,
    /// Where to write the story of the first breach as a page.
    pub html: Option<String>,
    /// Where to write the trace of the first breach.
    pub trace: Option<String>,
    /// Whether somebody watches the progress.
    pub is_watched: bool,
    /// Whether to colour messages.
    pub colours: Colours,
    /// Whether to colour stories.
    pub story_colours: Colours,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            files: Vec::new(),
            seeds: 0..1000,
            strategy: Strategy::default(),
            jobs: 1,
            shard: (0, 1),
            check_determinism: false,
            json: false,
            html: None,
            trace: None,
            is_watched: false,
            colours: Colours::Off,
            story_colours: Colours::Off,
        }
    }
}

/// One breach with its smallest story.
pub(crate) struct Case {
    pub(crate) found: FoundBreach,
    /// How it was found, unless by a random run.
    pub(crate) by: Option<&'static str>,
    pub(crate) shrunk: Shrunk,
    pub(crate) story: Story,
    pub(crate) trace: Option<String>,
    pub(crate) html: Option<String>,
}

/// Searches every file and gives the exit status.
///
/// # Errors
/// What the writers say.
pub fn simulate(
    options: &Options,
    around: &Surroundings,
    out: &mut impl Write,
    err: &mut (impl Write + Send),
) -> io::Result<u8> {
    let mut status = GOOD;
    let mut pages = 0;
    if let Err(reason) = outputs::check(options.html.as_deref(), options.trace.as_deref()) {
        writeln!(err, "steersman: {reason}")?;
        return Ok(REFUSED);
    }
    for file in &options.files {
        let scenario = match read_scenario(file, around) {
            Ok(scenario) => scenario,
            Err(Unreadable::Problems(problems)) => {
                for problem in problems {
                    writeln!(err, "{}", problem.to_text(options.colours))?;
                }
                status = REFUSED;
                continue;
            }
            Err(Unreadable::File(reason)) => {
                writeln!(err, "steersman: cannot read {file}: {}", outputs::reason(&reason))?;
                status = REFUSED;
                continue;
            }
        };
        let own = search_one(options, file, &scenario, &mut pages, out, err)?;
        status = status.max(own);
    }
    Ok(status)
}

fn search_one(
    options: &Options,
    file: &str,
    scenario: &Scenario,
    pages: &mut usize,
    out: &mut impl Write,
    err: &mut (impl Write + Send),
) -> io::Result<u8> {
    for warning in &scenario.warnings {
        writeln!(err, "{}", warning.to_text(options.colours))?;
    }
    let search = Search {
        setting: Arc::new(scenario.setting.clone()),
        suite: scenario.suite.clone(),
        faults: scenario.faults,
        limits: scenario.limits,
        scripted: scenario.scripted.clone(),
        seeds: options.seeds.clone(),
        shard: options.shard,
        jobs: options.jobs,
        check_determinism: options.check_determinism,
    };
    let progress = Progress::default();
    let began = Instant::now();
    let outcome = strategies::go(options.strategy, &search);
    let mut found = match options.strategy.is_random() || outcome.is_refused {
        true => watched(options, &search, &progress, err)?,
        false => Found::of(search.suite.properties.len()),
    };
    let took = began.elapsed();
    let mut cases = Vec::new();
    for (origin, breach) in origins(&search, &found, &outcome) {
        match case(options, (file, scenario), origin, &breach, pages) {
            Ok(case) => cases.extend(case),
            Err(unwritten) => {
                writeln!(err, "steersman: {unwritten}")?;
                return Ok(REFUSED);
            }
        }
    }
    for (_, breach, _) in &outcome.leads {
        found.note(breach);
    }
    let search = &search;
    let report = report::Report { file, scenario, search, found: &found, outcome, cases, took };
    match options.json {
        true => writeln!(out, "{}", report.to_json(&progress))?,
        false => write!(out, "{}", report.to_text(&progress, options.story_colours))?,
    }
    Ok(if report.is_good() { GOOD } else { FAILED })
}

/// Lists every different breach with where it comes from; random runs come first.
fn origins<'a>(
    search: &'a Search,
    found: &Found,
    outcome: &'a strategies::Outcome,
) -> Vec<(Origin<'a>, FoundBreach)> {
    let mut origins: Vec<(Origin<'a>, FoundBreach)> = Vec::new();
    for breach in &found.breaches {
        let plan = search.plan_of(breach.seed);
        let (setting, suite) = (&search.setting, &search.suite);
        origins.push((Origin { by: None, setting, suite, plan }, breach.clone()));
    }
    for (by, breach, lead) in &outcome.leads {
        if !origins.iter().any(|(_, known)| known.breach.is_like(&breach.breach)) {
            let plan = lead.plan.clone();
            let origin = Origin { by: Some(by), setting: &lead.setting, suite: &lead.suite, plan };
            origins.push((origin, breach.clone()));
        }
    }
    origins
}

/// Searches while somebody may be watching.
fn watched(
    options: &Options,
    search: &Search,
    progress: &Progress,
    err: &mut (impl Write + Send),
) -> io::Result<Found> {
    if !options.is_watched {
        return Ok(search.go(progress));
    }
    let is_over = AtomicBool::new(false);
    let began = Instant::now();
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| -> io::Result<()> {
            while !is_over.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(250));
                let line = report::progress_line(progress, search, began.elapsed());
                write!(err, "\r\u{1b}[K{line}")?;
                err.flush()?;
            }
            write!(err, "\r\u{1b}[K")
        });
        let found = search.go(progress);
        is_over.store(true, Ordering::Relaxed);
        watcher.thread().unpark();
        match watcher.join() {
            Ok(written) => written.map(|()| found),
            Err(_) => Ok(found),
        }
    })
}

/// Where a breach comes from.
struct Origin<'a> {
    by: Option<&'static str>,
    setting: &'a Setting,
    suite: &'a Arc<Suite>,
    plan: Plan,
}

/// Shrinks one breach, tells it and writes it down.
fn case(
    options: &Options,
    (file, scenario): (&str, &Scenario),
    origin: Origin<'_>,
    found: &FoundBreach,
    pages: &mut usize,
) -> Result<Option<Case>, String> {
    let Origin { by, setting, suite, plan } = origin;
    let Some(shrunk) = shrink(setting, &plan, suite, Effort::default()) else {
        return Ok(None);
    };
    let mut story = tell_plan(&scenario.title, &shrunk.setting, &shrunk.plan, suite);
    *pages += 1;
    let trace = options.trace.as_deref().map(|name| numbered(name, *pages));
    let html = options.html.as_deref().map(|name| numbered(name, *pages));
    let seed = found.seed;
    let finder = match by {
        Some(by) => format!("{by} of {file}"),
        None => format!("seed {seed} of {file}"),
    };
    story.facts.push((String::from("found by"), finder));
    let (before, after) = shrunk.weight;
    let shrinking =
        format!("{before} things out of the ordinary to {after}, in {} runs", shrunk.replays);
    story.facts.push((String::from("shrunk from"), shrinking));
    let version = String::from(env!("CARGO_PKG_VERSION"));
    story.facts.push((String::from("steersman"), version.clone()));
    let again = strategies::again(by, file, seed);
    story.facts.push((String::from("search it with"), again));
    if let Some(trace) = &trace {
        story.facts.push((String::from("repeat with"), format!("steersman replay {trace}")));
        let header = Header {
            trace: Box::from(trace::MARK),
            format: trace::FORMAT,
            version: version.into_boxed_str(),
            title: Box::from(&*scenario.title),
            seed,
            setting: shrunk.setting.clone(),
            plan: shrunk.plan.clone(),
            suite: scenario.source.clone(),
            breach: Some((Box::from(&*shrunk.breach.property), Box::from(&*shrunk.breach.what))),
            fingerprint: Hex(0),
        };
        outputs::write(trace, |out| trace::write(out, header, suite))?;
    }
    if let Some(html) = &html {
        outputs::write(html, |out| out.write_all(html::page(&story).as_bytes()))?;
    }
    Ok(Some(Case { found: found.clone(), by, shrunk, story, trace, html }))
}

/// Gives the name of the n-th file: `out.html`, `out-2.html`, …
fn numbered(name: &str, nth: usize) -> String {
    match (nth, name.rsplit_once('.')) {
        (1, _) => name.to_owned(),
        (_, Some((stem, end))) if !end.contains('/') => format!("{stem}-{nth}.{end}"),
        _ => format!("{name}-{nth}"),
    }
}

enum Unreadable {
    File(io::Error),
    Problems(Vec<Diagnostic>),
}

/// Reads a scenario, or a plain configuration.
fn read_scenario(file: &str, around: &Surroundings) -> Result<Scenario, Unreadable> {
    let text = std::fs::read_to_string(file).map_err(Unreadable::File)?;
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| error.to_string());
    if is_scenario(file, &text) {
        return scenario::load(file, &text, &read).map_err(Unreadable::Problems);
    }
    let loaded = front::load(file, &text, around).map_err(Unreadable::Problems)?;
    let name = if around.hostname.is_empty() { "node" } else { &around.hostname };
    let mut scenario = scenario::of_config(file, name, loaded.config);
    scenario.warnings = loaded.warnings;
    Ok(scenario)
}

/// Tells a scenario from a configuration: it has nodes.
fn is_scenario(file: &str, text: &str) -> bool {
    let Ok((_, tree)) = Document::read(file, text) else { return false };
    let TreeValue::Object(members) = &tree.value else { return false };
    let is_key =
        |key: &str| members.iter().any(|(name, _)| name.value == TreeValue::Text(key.to_owned()));
    !is_key("jobs") && (is_key("nodes") || is_key("processes") || is_key("properties"))
}

pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            text.push(',');
        }
        let _ = write!(text, "{digit}");
    }
    text
}
