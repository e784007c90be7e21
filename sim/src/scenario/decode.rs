//! From the text of a scenario to the scenario.

mod applications;
mod consul;
mod deeds;
mod parts;
mod properties;
mod sense;
mod trouble;

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use steersman_engine::config::Config;
use steersman_engine::front::document::{Document, Tree, TreeValue, suggestion};
use steersman_engine::front::{self, Diagnostic, Interface, Interfaces, Surroundings};

pub(super) use applications::{CLIENT, DATABASE, STEP};

use super::block::{Block, Reader};
use super::keys::{AGENT_PLACES, CLOCK, LIMITS, NODE, RESTARTS, TOP};
use super::{ReadFile, Scenario};
use crate::container::RestartPolicy;
use crate::explore::{FaultSet, Limits, Manners, NodeSpec, Setting};

/// Reads a scenario. `read` gives the text of the files that it names.
///
/// # Errors
/// Everything that is wrong with it and with its configurations, each with its place.
pub fn load(file: &str, text: &str, read: &ReadFile<'_>) -> Result<Scenario, Vec<Diagnostic>> {
    let (document, tree) = Document::read(file, text)?;
    let reader = Reader { document, problems: Vec::new() };
    let mut decoder = Decoder { reader, file, text, read, nodes: Vec::new(), warnings: Vec::new() };
    let scenario = decoder.scenario(&tree);
    match scenario {
        Some(scenario) if decoder.reader.problems.is_empty() => Ok(scenario),
        _ => {
            let mut problems = decoder.reader.problems;
            problems.sort_by(|one, other| {
                (&one.file, one.line, one.column).cmp(&(&other.file, other.line, other.column))
            });
            Err(problems)
        }
    }
}

struct Decoder<'a> {
    reader: Reader,
    file: &'a str,
    text: &'a str,
    read: &'a ReadFile<'a>,
    nodes: Vec<NodeSpec>,
    warnings: Vec<Diagnostic>,
}

impl Decoder<'_> {
    fn scenario(&mut self, tree: &Tree) -> Option<Scenario> {
        let top = self.reader.open(tree, TOP, "the scenario")?;
        match top.get("nodes") {
            Some(nodes) => self.nodes(nodes),
            None => {
                let help = "nodes: { web: { config: \"web.json5\" } }";
                let start = (top.span.0, top.span.0 + 1);
                let message = "cannot leave out `nodes` of the scenario";
                self.reader.blame("missing-key", start, message, Some(help));
            }
        }
        let mut manners = Manners::of(&self.nodes);
        if let Some(processes) = top.get("processes") {
            self.processes(processes, &mut manners);
        }
        let consul = self.consul(top.get("consul"));
        let applications = self.applications(&top);
        let scripted = top.get("faults").map(|faults| self.faults(faults)).unwrap_or_default();
        let faults = top.get("swarm").map_or(FaultSet::EVERY, |swarm| self.swarm(swarm));
        let limits = top.get("limits").map(|limits| self.limits(limits)).unwrap_or_default();
        let (mut source, spans) = self.properties(&top);
        self.limit_storms(&mut source);
        let suite = self.compile(&source, &spans)?;
        self.check_sense(&suite, &spans, limits);
        self.check_databases(&suite, &spans, &applications);
        self.check_parts(&manners, &applications, &top);
        let title = top.get("title").and_then(|title| self.reader.text(title, "`title`"));
        let title = title.unwrap_or(self.file).to_owned();
        let nodes = core::mem::take(&mut self.nodes);
        let setting = Setting { nodes, manners, consul, applications, prepare: None };
        let warnings = core::mem::take(&mut self.warnings);
        let suite = Arc::new(suite);
        let is_plain = false;
        Some(Scenario {
            title,
            setting,
            source,
            suite,
            faults,
            scripted,
            limits,
            is_plain,
            warnings,
        })
    }

    fn nodes(&mut self, tree: &Tree) {
        let Some(members) = self.reader.members(tree, "`nodes`") else { return };
        for (name, _, value) in members {
            let owner = format!("node \"{name}\"");
            let Some(block) = self.reader.open(value, NODE, &owner) else { continue };
            let count = block.get("count").and_then(|count| {
                self.reader.number(count, &format!("`count` of {owner}"), 1.0, 200.0)
            });
            let Some(config) = block.get("config") else {
                let help = "name the file, or write the configuration itself";
                let message = format!("cannot leave out `config` of {owner}");
                self.reader.blame(
                    "missing-key",
                    (value.span.0, value.span.0 + 1),
                    message,
                    Some(help),
                );
                continue;
            };
            let running = block.get("running").and_then(|running| {
                self.reader.number(running, &format!("`running` of {owner}"), 0.0, 200.0)
            });
            let running = running.unwrap_or(f64::MAX);
            match count {
                None => self.node(name, config, &block, running >= 1.0),
                Some(count) => (1..=count as u32).for_each(|nth| {
                    let runs = f64::from(nth) <= running;
                    self.node(&format!("{name}-{nth}"), config, &block, runs);
                }),
            }
        }
        if self.nodes.is_empty() && self.reader.problems.is_empty() {
            self.reader.blame("missing-key", tree.span, "cannot search without any node", None);
        }
    }

    fn node(&mut self, name: &str, config: &Tree, block: &Block<'_>, begins: bool) {
        let index = self.nodes.len();
        let home = self.home(name, config, block, index);
        let Some(config) = self.config(name, config, block, index) else { return };
        let mut node = NodeSpec { begins, home, ..NodeSpec::new(name, config) };
        self.container(block, &mut node);
        if let Some(clock) = block.get("clock")
            && let Some(clock) = self.reader.open(clock, CLOCK, &format!("the clock of {name}"))
        {
            let offset = clock.get("offset").and_then(|it| self.reader.duration(it, "`offset`"));
            node.clock_offset = offset;
            let rate = clock.get("rate");
            let rate = rate.and_then(|it| self.reader.number(it, "`rate`", -500_000.0, 1e6));
            node.clock_rate_ppm = rate.map(|rate| rate as i32);
        }
        self.nodes.push(node);
    }

    /// Reads what the scheduler does with a container.
    fn container(&mut self, block: &Block<'_>, node: &mut NodeSpec) {
        let delay = block.get("restartDelay");
        let delay = delay.and_then(|it| self.reader.duration(it, "`restartDelay`"));
        let delay = delay.unwrap_or(Duration::from_secs(1));
        node.restart = match self.word(block, "restart", RESTARTS) {
            Some("always") => RestartPolicy::Always(delay),
            Some("on-failure") => RestartPolicy::OnFailure(delay),
            _ => RestartPolicy::Never,
        };
        if let Some(grace) = block.get("grace").and_then(|it| self.reader.duration(it, "`grace`")) {
            node.grace = grace;
        }
        node.has_agent_inside = self.word(block, "agent", AGENT_PLACES) == Some("inside");
    }

    /// Reads one of several words.
    fn word(
        &mut self,
        block: &Block<'_>,
        name: &str,
        words: &'static [&'static str],
    ) -> Option<&'static str> {
        let tree = block.get(name)?;
        let label = format!("`{name}` of {}", block.owner);
        let text = self.reader.text(tree, &label)?;
        let found = words.iter().find(|word| **word == text).copied();
        if found.is_none() {
            let message = format!("cannot use \"{text}\" as {label}");
            let help = suggestion(text, words.iter().copied());
            self.reader.blame("bad-value", tree.span, message, help.as_deref());
        }
        found
    }

    /// Reads the real configuration, from its file or from the scenario itself.
    fn config(
        &mut self,
        name: &str,
        tree: &Tree,
        block: &Block<'_>,
        index: usize,
    ) -> Option<Config> {
        let around = self.surroundings(name, block, index);
        self.config_in(tree, &around)
    }

    fn config_in(&mut self, tree: &Tree, around: &Surroundings) -> Option<Config> {
        let loaded = match &tree.value {
            TreeValue::Text(path) => {
                let path = beside(self.file, path);
                match (self.read)(&path) {
                    Ok(text) => front::load(&path, &text, around),
                    Err(reason) => {
                        let message = format!("cannot read {path}: {reason}");
                        self.reader.blame("bad-value", tree.span, message, None);
                        return None;
                    }
                }
            }
            _ => front::load(self.file, &blanked(self.text, tree.span), around),
        };
        match loaded {
            Ok(loaded) => {
                // Nodes of one kind have one file: it is warned about once.
                for warning in loaded.warnings {
                    if !self.warnings.contains(&warning) {
                        self.warnings.push(warning);
                    }
                }
                Some(loaded.config)
            }
            Err(problems) => {
                for problem in problems {
                    if !self.reader.problems.contains(&problem) {
                        self.reader.problems.push(problem);
                    }
                }
                None
            }
        }
    }

    fn surroundings(&mut self, name: &str, block: &Block<'_>, index: usize) -> Surroundings {
        let mut env = BTreeMap::new();
        env.insert(String::from("HOSTNAME"), name.to_owned());
        if let Some(own) = block.get("env") {
            env.extend(self.environment(own));
        }
        let nth = u8::try_from(index % 250).unwrap_or(0) + 1;
        let interface = |name: &str, address| Interface { name: name.to_owned(), address };
        let interfaces = Interfaces::Known(vec![
            interface("eth0", IpAddr::V4(Ipv4Addr::new(10, 0, 0, nth))),
            interface("lo", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ]);
        Surroundings { env, interfaces, hostname: name.to_owned() }
    }

    fn limits(&mut self, tree: &Tree) -> Limits {
        let mut limits = Limits::default();
        let Some(block) = self.reader.open(tree, LIMITS, "`limits`") else { return limits };
        if let Some(it) = block.get("trouble").and_then(|it| self.reader.duration(it, "`trouble`"))
        {
            limits.trouble = it;
        }
        if let Some(it) = block.get("settle").and_then(|it| self.reader.duration(it, "`settle`")) {
            limits.settle = it;
        }
        limits
    }
}

/// Gives the path of a file that another names: beside it, unless it is absolute.
fn beside(file: &str, path: &str) -> String {
    match file.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}

/// Blanks everything outside a place, so that lines and columns stay what they are.
fn blanked(text: &str, span: (usize, usize)) -> String {
    let blank = |text: &str| {
        text.chars().map(|letter| if letter == '\n' { '\n' } else { ' ' }).collect::<String>()
    };
    let (start, end) = span;
    match (text.get(..start), text.get(start..end)) {
        (Some(before), Some(inside)) => format!("{}{inside}", blank(before)),
        _ => text.to_owned(),
    }
}
