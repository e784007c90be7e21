//! From the text of a scenario to the scenario.

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use steersman_engine::config::{Config, Signal};
use steersman_engine::event::SignalName;
use steersman_engine::front::document::{Document, Tree, TreeValue, suggestion};
use steersman_engine::front::{self, Diagnostic, Interface, Surroundings};
use steersman_engine::input::{Control, ExitStatus};
use steersman_engine::{RunKind, Time};

use super::block::{Block, Key, Reader, key};
use super::{ReadFile, Scenario};
use crate::explore::manner::{Answer, Manner, Way};
use crate::explore::{Fault, FaultSet, Limits, Manners, NodeSpec, Scripted, Setting, Span};
use crate::property::expression::fits;
use crate::property::source::Culprit;
use crate::property::{Demand, PropertySource, SuiteSource};
use crate::script::Child;
use crate::world::Action;

pub(super) const TOP: &[Key] = &[
    key("title", "text", "What the scenario is about."),
    key("nodes", "nodes", "The containers, by name: each with its real configuration."),
    key(
        "processes",
        "processes",
        "How processes behave, by JOB or NODE/JOB; `*` stands for letters.",
    ),
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
pub(super) const CLOCK: &[Key] = &[
    key("offset", "duration", "What the monotonic clock shows at the beginning."),
    key("rate", "number", "By how many millionths the clocks are too fast."),
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
        let scripted = top.get("faults").map(|faults| self.faults(faults)).unwrap_or_default();
        let faults = top.get("swarm").map_or(FaultSet::EVERY, |swarm| self.swarm(swarm));
        let limits = top.get("limits").map(|limits| self.limits(limits)).unwrap_or_default();
        let (source, spans) = self.properties(&top);
        let suite = self.compile(&source, &spans)?;
        let title = top.get("title").and_then(|title| self.reader.text(title, "`title`"));
        let title = title.unwrap_or(self.file).to_owned();
        let setting = Setting { nodes: core::mem::take(&mut self.nodes), manners, prepare: None };
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
            node.clock_offset = offset.unwrap_or_default();
            let rate = clock.get("rate");
            let rate = rate.and_then(|it| self.reader.number(it, "`rate`", -500_000.0, 1e6));
            node.clock_rate_ppm = rate.unwrap_or_default() as i32;
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
        let interfaces = vec![
            interface("eth0", IpAddr::V4(Ipv4Addr::new(10, 0, 0, nth))),
            interface("lo", IpAddr::V4(Ipv4Addr::LOCALHOST)),
        ];
        Surroundings { env, interfaces, hostname: name.to_owned() }
    }

    fn processes(&mut self, tree: &Tree, manners: &mut Manners) {
        for (pattern, at, value) in self.reader.members(tree, "`processes`").unwrap_or_default() {
            let owner = format!("process \"{pattern}\"");
            let Some(block) = self.reader.open(value, PROCESS, &owner) else { continue };
            let (node, job) = pattern.split_once('/').unwrap_or(("*", pattern));
            let is_it =
                |role: &(Arc<str>, Arc<str>, RunKind)| fits(node, &role.0) && fits(job, &role.1);
            let mut is_used = false;
            for (role, manner) in manners.iter_mut().filter(|(role, _)| is_it(role)) {
                is_used = true;
                match role.2 {
                    RunKind::Main => self.main_manner(&block, manner),
                    RunKind::Check => self.check_manner(&block, manner),
                }
            }
            if !is_used && !self.nodes.is_empty() {
                let jobs = self.nodes.iter().flat_map(|node| &node.config.jobs);
                let names: Vec<&str> = jobs.map(|job| &*job.name).collect();
                let help = suggestion(job, names.iter().copied());
                let message = format!("cannot find a job that fits \"{pattern}\"");
                self.reader.blame("unknown-job", at, message, help.as_deref());
            }
        }
    }

    fn main_manner(&mut self, block: &Block<'_>, manner: &mut Manner) {
        let label = |name: &str| format!("`{name}` of {}", block.owner);
        if let Some(start) = block.get("start").and_then(|it| self.reader.span(it, &label("start")))
        {
            manner.start = start;
        }
        if let Some(share) =
            block.get("startFails").and_then(|it| self.reader.share(it, &label("startFails")))
        {
            manner.start_fails_ppm = share;
        }
        let run = match block.get("run") {
            Some(Tree { value: TreeValue::Text(text), .. }) if text == "forever" => Some(None),
            Some(run) => self.reader.span(run, &label("run")).map(Some),
            None => None,
        };
        let ends = block.get("exit").map(|exit| self.ends(exit, &label("exit")));
        if run.is_some() || ends.is_some() {
            let after = run.unwrap_or(Some(Span::exactly(Duration::from_millis(100))));
            let ends = ends.unwrap_or_else(|| vec![(1, ExitStatus::Code(0))]);
            manner.ways = match after {
                None => vec![(1, Way::Endless)],
                Some(after) => ends
                    .into_iter()
                    .map(|(weight, status)| (weight, Way::Ends { after, status }))
                    .collect(),
            };
        }
        if let Some(stop) = block.get("stop") {
            let answer = match &stop.value {
                TreeValue::Text(text) if text == "dies" => Some(Answer::Dies),
                TreeValue::Text(text) if text == "ignores" => Some(Answer::Ignores),
                _ => self
                    .reader
                    .span(stop, &label("stop"))
                    .map(|after| Answer::Ends { after, status: ExitStatus::Code(0) }),
            };
            manner.answers = answer.into_iter().map(|answer| (1, answer)).collect();
        }
        if let Some(share) =
            block.get("leaves").and_then(|it| self.reader.share(it, &label("leaves")))
        {
            manner.leaves = (share, Child { lasts: None, polite: true });
        }
    }

    /// Reads a status, a signal, or a block of them with weights.
    fn ends(&mut self, tree: &Tree, label: &str) -> Vec<(u32, ExitStatus)> {
        match &tree.value {
            TreeValue::Number(_) => {
                let code = self.reader.number(tree, label, 0.0, 255.0);
                code.map(|code| (1, ExitStatus::Code(code as u8))).into_iter().collect()
            }
            TreeValue::Text(text) => {
                let end = self.end_of(text, tree.span, label);
                end.map(|end| (1, end)).into_iter().collect()
            }
            _ => {
                let mut ends = Vec::new();
                for (name, at, weight) in self.reader.members(tree, label).unwrap_or_default() {
                    let end = self.end_of(name, at, label);
                    let weight = self.reader.number(weight, label, 0.0, 1e6);
                    if let (Some(end), Some(weight)) = (end, weight) {
                        ends.push(((weight * 1000.0).round() as u32, end));
                    }
                }
                ends
            }
        }
    }

    fn end_of(&mut self, text: &str, at: (usize, usize), label: &str) -> Option<ExitStatus> {
        if let Ok(code) = text.parse() {
            return Some(ExitStatus::Code(code));
        }
        let signal = signal_number(text);
        if signal.is_none() {
            let message = format!("cannot use \"{text}\" as {label}");
            let help = "write a status from 0 to 255, or a signal such as \"SIGKILL\"";
            self.reader.blame("bad-value", at, message, Some(help));
        }
        signal.map(|signal| ExitStatus::Signal(signal.0))
    }

    fn check_manner(&mut self, block: &Block<'_>, manner: &mut Manner) {
        let Some(tree) = block.get("check") else { return };
        let owner = format!("the check of {}", block.owner);
        let Some(check) = self.reader.open(tree, CHECK, &owner) else { return };
        let takes = check.get("takes").and_then(|it| self.reader.span(it, "`takes`"));
        let after = takes.unwrap_or(Span::millis(10, 10));
        let good = Way::Ends { after, status: ExitStatus::Code(0) };
        let bad = Way::Ends { after, status: ExitStatus::Code(1) };
        let fails = check.get("fails").and_then(|it| self.reader.share(it, "`fails`")).unwrap_or(0);
        manner.ways = vec![(1_000_000 - fails, good), (fails, bad)];
        if let Some(output) = check.get("output").and_then(|it| self.reader.text(it, "`output`")) {
            manner.output = Arc::from(output);
        }
        manner.spells.clear();
        for (name, way) in [("failing", bad), ("hanging", Way::Endless)] {
            let Some(tree) = check.get(name) else { continue };
            for spell in self.reader.list(tree, &format!("`{name}` of {owner}")) {
                if let Some(span) = self.reader.span(spell, &format!("`{name}` of {owner}")) {
                    manner.spells.push((Time(0) + span.from, Time(0) + span.to, way));
                }
            }
        }
    }

    fn faults(&mut self, tree: &Tree) -> Vec<Scripted> {
        let mut scripted = Vec::new();
        for fault in self.reader.list(tree, "`faults`") {
            let Some(block) = self.reader.open(fault, FAULT, "a fault") else { continue };
            let at = block.get("at").and_then(|at| self.reader.span(at, "`at` of a fault"));
            let Some(at) = at else {
                if block.get("at").is_none() {
                    let start = (fault.span.0, fault.span.0 + 1);
                    self.reader.blame(
                        "missing-key",
                        start,
                        "cannot leave out `at` of a fault",
                        None,
                    );
                }
                continue;
            };
            let node = block.get("node").and_then(|node| self.reader.text(node, "`node`"));
            let pattern = node.unwrap_or("*");
            let nodes: Vec<NodeSpec> =
                self.nodes.iter().filter(|node| fits(pattern, &node.name)).cloned().collect();
            if nodes.is_empty() && !self.nodes.is_empty() {
                let names: Vec<&str> = self.nodes.iter().map(|node| &*node.name).collect();
                let help = suggestion(pattern, names.iter().copied());
                let span = block.get("node").map_or(fault.span, |node| node.span);
                let message = format!("cannot find a node that fits \"{pattern}\"");
                self.reader.blame("unknown-node", span, message, help.as_deref());
            }
            for node in nodes {
                let actions = self.actions(&block, &node);
                scripted.extend(actions.map(|actions| Scripted {
                    at,
                    node: node.name.clone(),
                    actions,
                }));
            }
        }
        scripted
    }

    fn actions(&mut self, block: &Block<'_>, node: &NodeSpec) -> Option<Vec<(Span, Action)>> {
        let Some(what) = block.get("do") else {
            let start = (block.span.0, block.span.0 + 1);
            let help = format!("there are: {}", ACTIONS.join(", "));
            self.reader.blame(
                "missing-key",
                start,
                "cannot leave out `do` of a fault",
                Some(&help),
            );
            return None;
        };
        let word = self.reader.text(what, "`do` of a fault")?;
        let lasting = block.get("for").and_then(|it| self.reader.span(it, "`for` of a fault"));
        let lasting = lasting.unwrap_or(Span::exactly(Duration::from_secs(10)));
        let number = |reader: &mut Reader, name: &str, most: f64| {
            let tree = block.get(name)?;
            reader.number(tree, &format!("`{name}` of a fault"), -most, most)
        };
        let now = Span::exactly(Duration::ZERO);
        let reload = |all| Action::Control(Control::Reload { all });
        let maintenance = |on| Action::Control(Control::Maintenance(on));
        Some(match word {
            "stop" => vec![(now, Action::Signal(SignalName::Term))],
            "signal" => vec![(now, Action::Signal(self.signal(block)?))],
            "reload" => vec![(now, reload(false))],
            "reload-all" => vec![(now, reload(true))],
            "bad-reload" => vec![
                (now, Action::WriteConfig(Err(Box::from("line 1: cannot read this")))),
                (now, reload(false)),
                (lasting, Action::WriteConfig(Ok(node.config.clone()))),
                (now, reload(false)),
            ],
            "maintenance" => vec![(now, maintenance(true)), (lasting, maintenance(false))],
            "restart" => {
                vec![(now, Action::Control(Control::RestartJob { job: self.job(block)? }))]
            }
            "pause" => vec![(now, Action::Pause), (lasting, Action::Resume)],
            "clock-step" => {
                let by = number(&mut self.reader, "by", 1e9).unwrap_or(3600.0);
                vec![(now, Action::StepWall((by * 1000.0) as i64))]
            }
            "clock-rate" => {
                let rate = number(&mut self.reader, "rate", 500_000.0).unwrap_or(500.0);
                vec![(now, Action::ClockRate(rate as i32))]
            }
            _ => {
                let message = format!("cannot do \"{word}\": there is no such fault");
                let help = suggestion(word, ACTIONS.iter().copied());
                self.reader.blame("bad-value", what.span, message, help.as_deref());
                return None;
            }
        })
    }

    fn signal(&mut self, block: &Block<'_>) -> Option<SignalName> {
        const ALL: [SignalName; 5] = [
            SignalName::Term,
            SignalName::Int,
            SignalName::Hup,
            SignalName::Usr1,
            SignalName::Usr2,
        ];
        let Some(tree) = block.get("signal") else { return Some(SignalName::Hup) };
        let text = self.reader.text(tree, "`signal` of a fault")?;
        let found = ALL.into_iter().find(|signal| signal.as_str() == text);
        if found.is_none() {
            let message = format!("cannot send \"{text}\" to a supervisor");
            let help = suggestion(text, ALL.iter().map(|signal| signal.as_str()));
            self.reader.blame("bad-value", tree.span, message, help.as_deref());
        }
        found
    }

    fn job(&mut self, block: &Block<'_>) -> Option<Box<str>> {
        match block.get("job") {
            Some(job) => self.reader.text(job, "`job` of a fault").map(Box::from),
            None => {
                let start = (block.span.0, block.span.0 + 1);
                self.reader.blame("missing-key", start, "cannot restart without `job`", None);
                None
            }
        }
    }

    fn swarm(&mut self, tree: &Tree) -> FaultSet {
        let words: Vec<&Tree> = match &tree.value {
            TreeValue::Text(text) if text == "all" => return FaultSet::EVERY,
            TreeValue::Text(text) if text == "none" => return FaultSet::default(),
            TreeValue::List(list) => list.iter().collect(),
            _ => vec![tree],
        };
        let mut set = FaultSet::default();
        for word in words {
            let Some(text) = self.reader.text(word, "`swarm`") else { continue };
            match Fault::ALL.iter().find(|fault| fault.as_str() == text) {
                Some(fault) => set = set.with(*fault),
                None => {
                    let message = format!("cannot draw \"{text}\": there is no such fault");
                    let all = Fault::ALL.iter().map(|fault| fault.as_str());
                    let help = suggestion(text, all);
                    self.reader.blame("bad-value", word.span, message, help.as_deref());
                }
            }
        }
        set
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

fn signal_number(text: &str) -> Option<Signal> {
    let number = match text {
        "SIGHUP" => 1,
        "SIGINT" => 2,
        "SIGQUIT" => 3,
        "SIGABRT" => 6,
        "SIGKILL" => 9,
        "SIGUSR1" => 10,
        "SIGSEGV" => 11,
        "SIGUSR2" => 12,
        "SIGTERM" => 15,
        _ => return None,
    };
    Some(Signal(number))
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
