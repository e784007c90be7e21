//! The configuration front end: from text to a [`Config`] that cannot be wrong in form.
//!
//! A file is a Go template that renders to JSON5. [`load`] gives what to run, [`check`] all
//! problems at once, [`render`] the text after the template, [`schema`] the format as a JSON
//! Schema.

mod adapter;
mod agent;
mod budget;
mod command;
mod diagnostic;
pub mod document;
mod duration;
mod fields;
mod interfaces;
mod jobs;
mod json5;
mod keys;
mod link;
mod lock_figures;
mod locks;
mod near;
mod problem;
mod reach;
mod reference;
mod schema;
mod settings;
mod template;
mod text;
mod watches;
mod when;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::IpAddr;

pub use diagnostic::{Colours, Diagnostic, Position, Related, Report, Severity};
pub use settings::{
    Agent, Consul, LogFormat, LogLevel, LogOutput, Logging, Scheme, Secret, Settings, Telemetry,
    Tls,
};

use self::fields::Fields;
use self::link::{Draft, Names};
use self::problem::Problems;
use self::text::Source;
use crate::config::{Config, Name};

/// What a configuration may depend on besides its text.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The environment.
    pub env: BTreeMap<String, String>,
    /// The addresses of this machine.
    pub interfaces: Interfaces,
    /// The name of this machine.
    pub hostname: String,
}

/// The addresses of a machine.
#[derive(Clone, Debug)]
pub enum Interfaces {
    /// They are known.
    Known(Vec<Interface>),
    /// They are listed when a configuration asks for one: that takes longer than everything else.
    Listed(fn() -> Vec<Interface>),
}

impl Default for Interfaces {
    fn default() -> Interfaces {
        Interfaces::Known(Vec::new())
    }
}

impl Interfaces {
    fn list(&self) -> Cow<'_, [Interface]> {
        match self {
            Interfaces::Known(known) => Cow::Borrowed(known),
            Interfaces::Listed(list) => Cow::Owned(list()),
        }
    }
}

/// One address of one network interface.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interface {
    /// The interface's name.
    pub name: String,
    /// One of its addresses.
    pub address: IpAddr,
}

/// A configuration that can be run.
#[derive(Clone, Debug, PartialEq)]
pub struct Loaded {
    /// What the engine runs.
    pub config: Config,
    /// What the adapter needs besides.
    pub settings: Settings,
    /// What should be looked at.
    pub warnings: Vec<Diagnostic>,
}

/// Reads a configuration and chooses the addresses of its services.
///
/// # Errors
/// All errors of the file, sorted by place.
pub fn load(file: &str, text: &str, around: &Surroundings) -> Result<Loaded, Vec<Diagnostic>> {
    let source = source(file, text, &around.env).map_err(|diagnostic| vec![*diagnostic])?;
    let mut problems = Problems::default();
    let loaded = decode(&source, around, Addresses::Chosen, &mut problems);
    let (errors, warnings) = problems.locate(&source);
    match loaded {
        Some((config, settings)) if errors.is_empty() => Ok(Loaded { config, settings, warnings }),
        _ => Err(errors),
    }
}

/// Finds all problems of a configuration, without choosing addresses.
pub fn check(file: &str, text: &str, around: &Surroundings) -> Report {
    let source = match source(file, text, &around.env) {
        Ok(source) => source,
        Err(diagnostic) => return Report { errors: vec![*diagnostic], warnings: Vec::new() },
    };
    let mut problems = Problems::default();
    decode(&source, around, Addresses::Left, &mut problems);
    let (errors, warnings) = problems.locate(&source);
    Report { errors, warnings }
}

/// Gives the path of the control socket, whatever else is wrong with the configuration: whoever
/// talks to a running supervisor need not wait until its next configuration is right.
///
/// # Errors
/// What keeps the path from being read.
pub fn control_socket(
    file: &str,
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<String, Vec<Diagnostic>> {
    let source = source(file, text, env).map_err(|diagnostic| vec![*diagnostic])?;
    let mut problems = Problems::default();
    let Some(node) = json5::parse(&source.text(), &mut problems) else {
        return Err(problems.locate(&source).0);
    };
    let mut others = Problems::default();
    let top = Fields::open(&node, &keys::TOP, String::from("the configuration"), &mut others);
    let Some(top) = top else { return Err(others.locate(&source).0) };
    let socket = adapter::control_socket(&top, &mut problems);
    let (errors, _) = problems.locate(&source);
    if errors.is_empty() {
        Ok(socket.unwrap_or_else(|| Settings::default().control_socket))
    } else {
        Err(errors)
    }
}

/// Renders the template only.
///
/// # Errors
/// What is wrong with the template.
pub fn render(
    file: &str,
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<String, Diagnostic> {
    match template::is_template(text) {
        true => {
            template::render(file, text, env).map(|rendered| rendered.text).map_err(|error| *error)
        }
        false => Ok(String::from(text)),
    }
}

/// Gives the format of the file as a JSON Schema (draft 2020-12).
pub fn schema() -> serde_json::Value {
    schema::schema()
}

/// Gives the reference page of the format, in Markdown.
pub fn reference() -> String {
    reference::page()
}

/// Whether the addresses of services are to be chosen.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Addresses {
    Chosen,
    Left,
}

/// Renders the template, if there is one.
fn source(
    file: &str,
    text: &str,
    env: &BTreeMap<String, String>,
) -> Result<Source, Box<Diagnostic>> {
    if !template::is_template(text) {
        return Ok(Source::plain(file, text));
    }
    let rendered = template::render(file, text, env)?;
    Ok(Source::rendered(file, text, rendered.text, rendered.pieces))
}

/// Decodes and judges; gives the configuration unless it is not even a block.
fn decode(
    source: &Source,
    around: &Surroundings,
    addresses: Addresses,
    problems: &mut Problems,
) -> Option<(Config, Settings)> {
    let node = json5::parse(&source.text(), problems)?;
    let top = Fields::open(&node, &keys::TOP, String::from("the configuration"), problems)?;
    let mut draft = draft(&top, around, problems);
    link::link(&mut draft, problems);
    link::report_missing_consul(&draft, problems);
    link::report_many_watches(&draft, problems);
    reach::report_unreachable(&draft, problems);
    budget::report(&draft, top.span, problems);
    let mut settings = Settings {
        consul: draft.consul.take(),
        logging: adapter::logging(&top, problems),
        telemetry: None,
        ..Settings::default()
    };
    if let Some(socket) = adapter::control_socket(&top, problems) {
        settings.control_socket = socket;
    }
    if addresses == Addresses::Chosen {
        choose_addresses(&mut draft, around, problems);
    }
    let mut config = Config {
        watches: draft.watches.into_iter().map(|draft| draft.watch).collect(),
        locks: draft.locks.into_iter().map(|draft| draft.lock).collect(),
        jobs: link::into_jobs(draft.jobs),
        ..Config::default()
    };
    if !around.hostname.is_empty() {
        config.hostname = Name::from(around.hostname.as_str());
    }
    if let Some(timeout) = draft.stop_timeout {
        config.stop_timeout = timeout.value;
    }
    if let Some(telemetry) = draft.telemetry {
        config.metrics = telemetry.metrics;
        settings.telemetry = Some(telemetry.telemetry);
    }
    Some((config, settings))
}

fn draft(top: &Fields<'_>, around: &Surroundings, problems: &mut Problems) -> Draft {
    let mut jobs = Vec::new();
    for (index, node) in jobs::blocks(top, "jobs", problems) {
        jobs.extend(jobs::job(node, index, problems));
    }
    let mut watches = Vec::new();
    for (index, node) in jobs::blocks(top, "watches", problems) {
        watches.extend(watches::watch(node, index, problems));
    }
    let mut locks = Vec::new();
    for (index, node) in jobs::blocks(top, "locks", problems) {
        locks.extend(locks::lock(node, index, problems));
    }
    let mut consul = agent::consul(top, &around.env, problems);
    if consul.is_none() && link::needs_of_consul(&jobs, &watches, &locks).next().is_some() {
        consul = agent::of_environment(&around.env, top.opening(), problems);
    }
    let telemetry = adapter::telemetry(top, problems);
    if let (Some(telemetry), Some(_)) = (&telemetry, &consul) {
        jobs.push(adapter::telemetry_job(telemetry));
    }
    let names = jobs.iter().map(|job| &job.name);
    jobs::names_once("jobs", names, "give one of them another name", problems);
    let names = watches.iter().map(|watch| &watch.name);
    let help = "give one of them another name, and say `service` for what it watches";
    jobs::names_once("watches", names, help, problems);
    let names = locks.iter().map(|lock| &lock.name);
    jobs::names_once("locks", names, "give one of them another name", problems);
    let keys = locks.iter().map(|lock| &lock.key);
    jobs::names_once(
        "locks with a key",
        keys,
        "two locks of one key can never both be held",
        problems,
    );
    let mut draft = Draft {
        jobs,
        watches,
        locks,
        consul,
        telemetry,
        stop_timeout: adapter::stop_timeout(top, problems),
        names: Names::default(),
    };
    draft.index_names();
    draft
}

fn choose_addresses(draft: &mut Draft, around: &Surroundings, problems: &mut Problems) {
    let has_service = draft.jobs.iter().any(|job| job.job.service.is_some());
    if !has_service && draft.telemetry.is_none() {
        return;
    }
    let interfaces = around.interfaces.list();
    for job in &mut draft.jobs {
        let (Some(rules), Some(service)) = (&job.interfaces, &mut job.job.service) else {
            continue;
        };
        let label = format!("the address of job \"{}\"", job.name.value);
        service.address = interfaces::choose(rules, &label, &interfaces, problems);
    }
    if let Some(draft) = &mut draft.telemetry {
        let label = "the address of `telemetry`";
        draft.telemetry.address =
            interfaces::choose(&draft.interfaces, label, &interfaces, problems);
    }
    let address = draft.telemetry.as_ref().and_then(|draft| draft.telemetry.address);
    for job in draft.jobs.iter_mut().filter(|draft| draft.job.builtin) {
        if let Some(service) = &mut job.job.service {
            service.address = address;
        }
    }
}

#[cfg(test)]
mod tests;
