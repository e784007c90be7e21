//! From the text of a scenario to the scenario.

mod consul;
mod parts;
mod sense;
mod trouble;

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use steersman_engine::config::Config;
use steersman_engine::front::document::{Document, Tree, TreeValue, suggestion};
use steersman_engine::front::{self, Diagnostic, Interface, Interfaces, Surroundings};

use super::block::{Block, Key, Reader, key};
use super::{ReadFile, Scenario};
use crate::explore::{FaultSet, Limits, Manners, NodeSpec, Setting};
use crate::property::expression::fits;
use crate::property::source::Culprit;
use crate::property::{Demand, PropertySource, SuiteSource};

pub(super) const TOP: &[Key] = &[
    key("title", "text", "What the scenario is about."),
    key("nodes", "nodes", "The containers, by name: each with its real configuration."),
    key(
        "processes",
        "processes",
        "How processes behave, by JOB or NODE/JOB; `*` stands for letters.",
    ),
    key("consul", "consul", "The Consul that the nodes share; an ordinary one when left out."),
    key("faults", "faults", "What goes wrong in every run."),
    key(
        "swarm",
        "swarm",
        "What may go wrong besides, drawn per seed: \"all\", \"none\" or a list.",
    ),
    key("facts", "texts", "Conditions with names, to be used in properties."),
    key("properties", "properties", "What must hold."),
    key("limits", "limits", "How long runs are."),
];
pub(super) const NODE: &[Key] = &[
    key("config", "config", "A file, by its path from the scenario, or the configuration itself."),
    key("count", "number", "How many nodes of this kind: NAME-1, NAME-2, …"),
    key("env", "texts", "The environment that the configuration's template sees."),
    key("clock", "clock", "How wrong its clocks are: `offset` and `rate` in millionths."),
];
pub(super) const CONSUL: &[Key] = &[
    key("servers", "number", "How many servers, from 1 to 7: 3 when left out."),
    key(
        "agents",
        "agents",
        "Whom supervisors ask: \"each\" an agent of its own, \"shared\", or the \"servers\".",
    ),
    key("lag", "span", "From a write until a follower knows it."),
    key("election", "span", "From the loss of a leader to the next one."),
    key("antiEntropy", "span", "Between two comparisons of an agent with the catalog."),
    key(
        "contract",
        "truth",
        "Whether all is possible that the documentation allows, not only what 1.8.7 does.",
    ),
    key("services", "counts", "Services of others: how many instances of each there are."),
    key("keys", "strings", "What is in the key-value store from the beginning."),
];
pub(super) const CLOCK: &[Key] = &[
    key(
        "offset",
        "duration",
        "What the monotonic clock shows at the beginning; drawn when left out.",
    ),
    key("rate", "number", "By how many millionths the clocks are too fast; drawn when left out."),
];
pub(super) const PROCESS: &[Key] = &[
    key("start", "span", "From the wish to the running process."),
    key("startFails", "share", "The share of starts that fail."),
    key("run", "run", "How long it runs: a duration, a range, or \"forever\"."),
    key("exit", "exit", "How it ends: a status, a signal, or a block of ends with weights."),
    key(
        "stop",
        "stop",
        "What it does when asked to end: \"dies\", \"ignores\", or how long it takes.",
    ),
    key("leaves", "leaves", "The share of processes that leave a child behind."),
    key("check", "check", "How its health check behaves."),
];
pub(super) const CHECK: &[Key] = &[
    key("takes", "span", "How long a check takes."),
    key("fails", "share", "The share of checks that fail."),
    key("output", "text", "What a check says."),
    key("failing", "spells", "From when until when every check fails: [[\"10s\", \"20s\"]]."),
    key("hanging", "spells", "From when until when no check ends."),
];
pub(super) const FAULT: &[Key] = &[
    key("at", "span", "When: a time, or a range to draw it from."),
    key("node", "text", "On which nodes; `*` stands for letters; all when left out."),
    key("do", "action", "What."),
    key("for", "span", "For how long, where it ends."),
    key("signal", "text", "Which signal, for \"signal\"."),
    key("job", "text", "Which job, for \"restart\"."),
    key("by", "number", "By how many seconds, for \"clock-step\"."),
    key("rate", "number", "By how many millionths, for \"clock-rate\"."),
];
pub(super) const PROPERTY: &[Key] = &[
    key("name", "text", "Its name; the expression when left out."),
    key("always", "expression", "Holds all the time."),
    key("never", "expression", "Never holds."),
    key("atMostOne", "expression", "No two fit it at once: `db-*/mysql is running`."),
    key(
        "eventually",
        "expression",
        "Holds `within` some time of the last fault, and from then on.",
    ),
    key("whenever", "expression", "Each time it holds, `then` does `within` some time."),
    key("sometimes", "expression", "Holds at least once in at least one run."),
    key("then", "expression", "What must follow, for `whenever`."),
    key("within", "duration", "How long that may take."),
    key("longerThan", "duration", "How long `always` and `never` put up with the opposite."),
];
pub(super) const LIMITS: &[Key] = &[
    key("trouble", "duration", "How long things may go wrong, at most."),
    key("settle", "duration", "How long the world may take to settle afterwards."),
];
pub(super) const ACTIONS: &[&str] = &[
    "stop",
    "signal",
    "reload",
    "reload-all",
    "bad-reload",
    "maintenance",
    "restart",
    "pause",
    "clock-step",
    "clock-rate",
];

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
        let scripted = top.get("faults").map(|faults| self.faults(faults)).unwrap_or_default();
        let faults = top.get("swarm").map_or(FaultSet::EVERY, |swarm| self.swarm(swarm));
        let limits = top.get("limits").map(|limits| self.limits(limits)).unwrap_or_default();
        let (mut source, spans) = self.properties(&top);
        self.limit_storms(&mut source);
        let suite = self.compile(&source, &spans)?;
        self.check_sense(&suite, &spans, limits);
        let title = top.get("title").and_then(|title| self.reader.text(title, "`title`"));
        let title = title.unwrap_or(self.file).to_owned();
        let nodes = core::mem::take(&mut self.nodes);
        let setting = Setting { nodes, manners, consul, prepare: None };
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
            match count {
                None => self.node(name, config, &block),
                Some(count) => (1..=count as u32).for_each(|nth| {
                    self.node(&format!("{name}-{nth}"), config, &block);
                }),
            }
        }
        if self.nodes.is_empty() && self.reader.problems.is_empty() {
            self.reader.blame("missing-key", tree.span, "cannot search without any node", None);
        }
    }

    fn node(&mut self, name: &str, config: &Tree, block: &Block<'_>) {
        let Some(config) = self.config(name, config, block) else { return };
        let mut node = NodeSpec::new(name, config);
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

    /// Reads the real configuration, from its file or from the scenario itself.
    fn config(&mut self, name: &str, tree: &Tree, block: &Block<'_>) -> Option<Config> {
        let around = self.surroundings(name, block);
        let loaded = match &tree.value {
            TreeValue::Text(path) => {
                let path = beside(self.file, path);
                match (self.read)(&path) {
                    Ok(text) => front::load(&path, &text, &around),
                    Err(reason) => {
                        let message = format!("cannot read {path}: {reason}");
                        self.reader.blame("bad-value", tree.span, message, None);
                        return None;
                    }
                }
            }
            _ => front::load(self.file, &blanked(self.text, tree.span), &around),
        };
        match loaded {
            Ok(loaded) => {
                self.warnings.extend(loaded.warnings);
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

    fn surroundings(&mut self, name: &str, block: &Block<'_>) -> Surroundings {
        let mut env = BTreeMap::new();
        env.insert(String::from("HOSTNAME"), name.to_owned());
        if let Some(own) = block.get("env") {
            for (name, _, value) in self.reader.members(own, "`env`").unwrap_or_default() {
                let text = match &value.value {
                    TreeValue::Text(text) => text.clone(),
                    TreeValue::Number(number) => number.to_string(),
                    TreeValue::Bool(value) => value.to_string(),
                    _ => {
                        self.reader.text(value, &format!("`{name}` of `env`"));
                        continue;
                    }
                };
                env.insert(name.to_owned(), text);
            }
        }
        let nth = u8::try_from(self.nodes.len() % 250).unwrap_or(0) + 1;
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

    fn properties(&mut self, top: &Block<'_>) -> (SuiteSource, Spans) {
        let mut source = SuiteSource::default();
        let mut spans = Spans::default();
        if let Some(facts) = top.get("facts") {
            for (name, _, value) in self.reader.members(facts, "`facts`").unwrap_or_default() {
                if let Some(text) = self.reader.text(value, &format!("fact \"{name}\"")) {
                    spans.facts.insert(Arc::from(name), value.span);
                    source.facts.insert(Arc::from(name), Arc::from(text));
                }
            }
        }
        let Some(list) = top.get("properties") else { return (source, spans) };
        for property in self.reader.list(list, "`properties`") {
            if let Some((property, span, then)) = self.property(property) {
                source.properties.push(property);
                spans.properties.push((span, then));
            }
        }
        (source, spans)
    }

    fn property(&mut self, tree: &Tree) -> Option<(PropertySource, At, At)> {
        let block = self.reader.open(tree, PROPERTY, "a property")?;
        let demands = Demand::ALL.iter().filter_map(|demand| {
            block.get(demand.as_str()).map(|expression| (*demand, expression))
        });
        let demands: Vec<_> = demands.collect();
        let [(demand, expression)] = demands[..] else {
            let all: Vec<_> = Demand::ALL.iter().map(|demand| demand.as_str()).collect();
            let message = "cannot judge a property that does not demand exactly one thing";
            let help = format!("give one of: {}", all.join(", "));
            self.reader.blame("conflicting-keys", tree.span, message, Some(&help));
            return None;
        };
        let text = self.reader.text(expression, &format!("`{}`", demand.as_str()))?;
        let then = block.get("then");
        if (demand == Demand::Whenever) != then.is_some() {
            let message = "cannot judge `whenever` without `then`, or `then` without `whenever`";
            self.reader.blame("conflicting-keys", tree.span, message, None);
            return None;
        }
        let then_text = then.and_then(|then| self.reader.text(then, "`then`"));
        let key = match demand {
            Demand::Always | Demand::Never | Demand::AtMostOne => "longerThan",
            Demand::Eventually | Demand::Whenever => "within",
            Demand::Sometimes => "",
        };
        let patience = block.get(key).and_then(|it| self.reader.duration(it, &format!("`{key}`")));
        let patience = patience.unwrap_or(match demand {
            Demand::Eventually | Demand::Whenever => Duration::from_secs(10),
            _ => Duration::ZERO,
        });
        let name = block.get("name").and_then(|name| self.reader.text(name, "`name`"));
        let default = format!("{} {text}", demand.as_str());
        let name = Arc::from(name.unwrap_or(&default));
        let (text, then_text) = (Arc::from(text), then_text.map(Arc::from));
        let source = PropertySource { name, demand, text, then: then_text, patience };
        Some((source, expression.span, then.map_or((0, 0), |then| then.span)))
    }

    fn compile(&mut self, source: &SuiteSource, spans: &Spans) -> Option<crate::property::Suite> {
        match source.compile() {
            Ok(suite) => {
                self.check_subjects(&suite, spans);
                Some(suite)
            }
            Err(problems) => {
                for (culprit, error) in problems {
                    let span = match culprit {
                        Culprit::Fact(name) => spans.facts.get(&name).copied().unwrap_or_default(),
                        Culprit::Property(nth) => spans.properties[nth].0,
                        Culprit::Then(nth) => spans.properties[nth].1,
                    };
                    // The contents of a string begin after its quote.
                    let at =
                        (span.0 + 1 + error.start, span.0 + 1 + error.end.max(error.start + 1));
                    self.reader.blame("expression", at, error.message, error.help.as_deref());
                }
                None
            }
        }
    }

    /// Finds conditions about jobs and nodes that do not exist: they would hold, or not, for ever.
    fn check_subjects(&mut self, suite: &crate::property::Suite, spans: &Spans) {
        for (property, (span, _)) in suite.properties.iter().zip(&spans.properties) {
            for (subject, _) in property.rule.subjects() {
                let node = |node: &&NodeSpec| fits(&subject.node, &node.name);
                let is_there = match &subject.job {
                    None => self.nodes.iter().any(|it| node(&it)),
                    Some(job) => self
                        .nodes
                        .iter()
                        .filter(node)
                        .any(|node| node.config.jobs.iter().any(|it| fits(job, &it.name))),
                };
                if !is_there && !self.nodes.is_empty() {
                    let what = match &subject.job {
                        None => format!("node {}", subject.node),
                        Some(job) if &*subject.node == "*" => job.to_string(),
                        Some(job) => format!("{}/{job}", subject.node),
                    };
                    let jobs = self.nodes.iter().flat_map(|node| &node.config.jobs);
                    let mut names: Vec<&str> = jobs.map(|job| &*job.name).collect();
                    names.sort_unstable();
                    names.dedup();
                    let word = subject.job.as_deref().unwrap_or(&subject.node);
                    let help = suggestion(word, names.iter().copied());
                    let message = format!("cannot judge \"{what}\": nothing is called that");
                    self.reader.blame("unknown-subject", *span, message, help.as_deref());
                }
            }
        }
    }
}

type At = (usize, usize);

#[derive(Debug, Default)]
struct Spans {
    facts: BTreeMap<Arc<str>, At>,
    properties: Vec<(At, At)>,
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
