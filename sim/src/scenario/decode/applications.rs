//! Programs, databases and clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::front::document::{Tree, TreeValue, suggestion};

use super::Decoder;
use super::properties::Spans;
use crate::applications::{Applications, Home};
use crate::database::client::Finds;
use crate::database::{ClientSpec, DatabaseSpec};
use crate::explore::{Manners, NodeSpec};
use crate::program::{Block, Library, Step, parse};
use crate::property::expression::fits;
use crate::property::{ParseError, Suite};
use crate::scenario::block::{self, Key, key};

pub(in crate::scenario) const STEP: &[Key] = &[
    key("if", "expression", "A condition."),
    key("then", "steps", "What to do when it holds."),
    key("else", "steps", "What to do when it does not."),
    key("repeat", "number", "How often, or \"forever\"."),
    key("for", "text", "A variable that takes one word after another."),
    key("in", "expression", "The words."),
    key("do", "steps", "What to do each time."),
    key("try", "steps", "What may fail."),
    key("or", "handlers", "What to do then: steps, or steps by the kind of failure."),
];
pub(in crate::scenario) const DATABASE: &[Key] = &[
    key("job", "text", "The job whose process is the server; `*` stands for letters."),
    key("on", "text", "Which nodes have one; `*` stands for letters; all when left out."),
    key("boot", "duration", "From the running process to the server that answers."),
    key("init", "duration", "How long a server takes to make an empty database by itself."),
    key("retry", "duration", "From a lost source to a replica's next attempt."),
    key("readOnly", "truth", "Whether a server refuses writes when it starts."),
    key("lag", "duration", "What replication may lose with a primary that dies."),
    key("sync", "number", "How many replicas must have a write before it is acknowledged."),
    key("backup", "duration", "How old the last backup may become before it is `unsaved`."),
    key("primary", "text", "The job whose health says that this node is the primary."),
    key("replica", "text", "The job whose health says that this node is a replica."),
];
pub(in crate::scenario) const CLIENT: &[Key] = &[
    key("database", "text", "Where it writes to."),
    key("service", "text", "The service that it looks for in Consul."),
    key("every", "duration", "From one write to the next."),
    key(
        "finds",
        "text",
        "\"listed\": it looks again and again; \"cached\": when a write fails; \"once\".",
    ),
    key("refresh", "duration", "From one look to the next."),
    key("count", "number", "How many of this kind: NAME-1, NAME-2, …"),
];

/// Where a program is named, and which.
type Mention = (Arc<str>, (usize, usize));

/// What a step is made of when it is a block: exactly one of these.
const FORMS: &[&str] = &["if", "repeat", "for", "try"];

impl Decoder<'_> {
    pub(super) fn applications(&mut self, top: &block::Block<'_>) -> Applications {
        let mut applications = Applications::default();
        if let Some(programs) = top.get("programs") {
            applications.programs = self.programs(programs);
        }
        if let Some(databases) = top.get("databases") {
            for (name, at, value) in
                self.reader.members(databases, "`databases`").unwrap_or_default()
            {
                applications.databases.extend(self.database(name, at, value));
            }
        }
        if let Some(clients) = top.get("clients") {
            for (name, at, value) in self.reader.members(clients, "`clients`").unwrap_or_default() {
                let known = applications.databases.iter().map(|database| &*database.name);
                let known: Vec<&str> = known.collect();
                let clients = self.clients(name, at, value, &known);
                applications.clients.extend(clients);
            }
        }
        applications
    }

    fn programs(&mut self, tree: &Tree) -> Library {
        let mut library = Library::new();
        let mut mentions = Vec::new();
        for (name, _, steps) in self.reader.members(tree, "`programs`").unwrap_or_default() {
            let block = self.steps(steps, &format!("program \"{name}\""), &mut mentions);
            library.insert(Arc::from(name), block);
        }
        for (name, span) in mentions {
            self.check_program(&library, &name, span);
        }
        library
    }

    pub(super) fn check_program(&mut self, library: &Library, name: &str, span: (usize, usize)) {
        if !library.contains_key(name) {
            let help = suggestion(name, library.keys().map(|name| &**name));
            let message = format!("cannot find the program `{name}`");
            self.reader.blame("unknown-program", span, message, help.as_deref());
        }
    }

    fn steps(&mut self, tree: &Tree, owner: &str, mentions: &mut Vec<Mention>) -> Block {
        let list = self.reader.list(tree, owner);
        list.iter().filter_map(|step| self.step(step, owner, mentions)).collect()
    }

    fn step(&mut self, tree: &Tree, owner: &str, mentions: &mut Vec<Mention>) -> Option<Step> {
        if let TreeValue::Text(text) = &tree.value {
            let step = self.parsed(tree.span, parse::step(text))?;
            if let Step::Run(name) = &step {
                mentions.push((name.clone(), tree.span));
            }
            return Some(step);
        }
        let block = self.reader.open(tree, STEP, &format!("a step of {owner}"))?;
        let forms: Vec<_> =
            FORMS.iter().filter_map(|form| Some((*form, block.get(form)?))).collect();
        let [(form, head)] = forms[..] else {
            let message = "cannot do a step that is not exactly one thing";
            let help = format!("write a text, or a block with one of: {}", FORMS.join(", "));
            self.reader.blame("conflicting-keys", tree.span, message, Some(&help));
            return None;
        };
        let mut part = |decoder: &mut Self, name: &str| match block.get(name) {
            Some(tree) => decoder.steps(tree, owner, mentions),
            None => Block::from([]),
        };
        let mut needs = match form {
            "for" => vec!["in", "do"],
            "repeat" => vec!["do"],
            "if" => vec!["then"],
            _ => Vec::new(),
        };
        needs.retain(|name| block.get(name).is_none());
        if let Some(name) = needs.first() {
            let message = format!("cannot do `{form}` without `{name}`");
            self.reader.blame("missing-key", tree.span, message, None);
            return None;
        }
        match form {
            "if" => {
                let condition = self.expression(head)?;
                Some(Step::If(condition, part(self, "then"), part(self, "else")))
            }
            "repeat" => {
                let times = self.rounds(head)?;
                Some(Step::Repeat(times, part(self, "do")))
            }
            "for" => {
                let name = self.reader.text(head, "`for`")?;
                let list = block.get("in").and_then(|tree| self.expression(tree))?;
                Some(Step::For(Arc::from(name), list, part(self, "do")))
            }
            _ => {
                let body = self.steps(head, owner, mentions);
                let handlers = block.get("or").map(|or| self.handlers(or, owner, mentions));
                Some(Step::Try(body, handlers.unwrap_or_default().into()))
            }
        }
    }

    /// Reads how often, or "forever".
    fn rounds(&mut self, tree: &Tree) -> Option<Option<u32>> {
        if matches!(&tree.value, TreeValue::Text(text) if text == "forever") {
            return Some(None);
        }
        let times = self.reader.number(tree, "`repeat` (a number or \"forever\")", 0.0, 1e9)?;
        Some(Some(times as u32))
    }

    /// Reads what to do about failures: for every kind alike, or by kind.
    fn handlers(
        &mut self,
        tree: &Tree,
        owner: &str,
        mentions: &mut Vec<Mention>,
    ) -> Vec<(Arc<str>, Block)> {
        if matches!(tree.value, TreeValue::List(_)) {
            return vec![(Arc::from("any"), self.steps(tree, owner, mentions))];
        }
        let members = self.reader.members(tree, "`or`").unwrap_or_default();
        members
            .into_iter()
            .map(|(kind, _, steps)| (Arc::from(kind), self.steps(steps, owner, mentions)))
            .collect()
    }

    fn expression(&mut self, tree: &Tree) -> Option<crate::program::Expr> {
        let text = self.reader.text(tree, "a condition")?;
        self.parsed(tree.span, parse::expression(text))
    }

    /// Notes where in a string the trouble is; its contents begin after the quote.
    fn parsed<T>(&mut self, span: (usize, usize), read: Result<T, ParseError>) -> Option<T> {
        match read {
            Ok(value) => Some(value),
            Err(error) => {
                let start = span.0 + 1;
                let at = (start + error.start, start + error.end.max(error.start + 1));
                self.reader.blame("step", at, error.message, error.help.as_deref());
                None
            }
        }
    }

    fn database(&mut self, name: &str, at: (usize, usize), tree: &Tree) -> Option<DatabaseSpec> {
        let owner = format!("database \"{name}\"");
        let block = self.reader.open(tree, DATABASE, &owner)?;
        let Some(job) = block.get("job") else {
            let message = format!("cannot leave out `job` of {owner}");
            let help = "name the job whose process is the server";
            self.reader.blame("missing-key", at, message, Some(help));
            return None;
        };
        let text = |decoder: &mut Self, key: &str| {
            let tree = block.get(key)?;
            decoder.reader.text(tree, &format!("`{key}` of {owner}")).map(Arc::from)
        };
        let pattern = self.reader.text(job, &format!("`job` of {owner}"))?;
        self.check_job(pattern, job.span);
        let mut spec = DatabaseSpec::new(name, pattern);
        spec.on = text(self, "on").unwrap_or(spec.on);
        spec.primary = text(self, "primary");
        spec.replica = text(self, "replica");
        for (key, time) in
            [("boot", &mut spec.boot), ("retry", &mut spec.retry), ("lag", &mut spec.lag)]
        {
            let read = block.get(key).and_then(|it| self.reader.duration(it, &format!("`{key}`")));
            *time = read.unwrap_or(*time);
        }
        let init = block.get("init").and_then(|it| self.reader.duration(it, "`init`"));
        spec.init = init.or(spec.init);
        let sync = block.get("sync").and_then(|it| self.reader.number(it, "`sync`", 0.0, 100.0));
        spec.sync = sync.map_or(spec.sync, |sync| sync as u16);
        spec.backup = block.get("backup").and_then(|it| self.reader.duration(it, "`backup`"));
        let read_only = block.get("readOnly").map(|tree| &tree.value);
        spec.is_read_only = matches!(read_only, Some(TreeValue::Bool(true)));
        Some(spec)
    }

    fn check_job(&mut self, pattern: &str, span: (usize, usize)) {
        let jobs = self.nodes.iter().flat_map(NodeSpec::jobs);
        let jobs: Vec<Arc<str>> = jobs.map(|job| job.name.clone()).collect();
        if !jobs.is_empty() && !jobs.iter().any(|job| fits(pattern, job)) {
            let help = suggestion(pattern, jobs.iter().map(|job| &**job));
            let message = format!("cannot find a job that fits \"{pattern}\"");
            self.reader.blame("unknown-job", span, message, help.as_deref());
        }
    }

    fn clients(
        &mut self,
        name: &str,
        at: (usize, usize),
        tree: &Tree,
        known: &[&str],
    ) -> Vec<ClientSpec> {
        let owner = format!("client \"{name}\"");
        let Some(block) = self.reader.open(tree, CLIENT, &owner) else { return Vec::new() };
        let mut texts = BTreeMap::new();
        for key in ["database", "service", "finds"] {
            let text = block.get(key).and_then(|it| self.reader.text(it, &format!("`{key}`")));
            if text.is_none() && key != "finds" {
                let message = format!("cannot leave out `{key}` of {owner}");
                self.reader.blame("missing-key", at, message, None);
                return Vec::new();
            }
            texts.insert(key, text.unwrap_or_default());
        }
        if !known.contains(&texts["database"]) {
            let help = suggestion(texts["database"], known.iter().copied());
            let message = format!("cannot find the database \"{}\"", texts["database"]);
            self.reader.blame("unknown-database", at, message, help.as_deref());
        }
        let finds = match texts["finds"] {
            "" | "listed" => Finds::Listed,
            "cached" => Finds::Cached,
            "once" => Finds::Once,
            other => {
                let message = format!("cannot let {owner} find its server by \"{other}\"");
                self.reader.blame(
                    "bad-value",
                    at,
                    message,
                    Some("write \"listed\", \"cached\" or \"once\""),
                );
                Finds::Listed
            }
        };
        let mut times = [1, 5].map(core::time::Duration::from_secs);
        for (key, time) in ["every", "refresh"].into_iter().zip(&mut times) {
            let read = block.get(key).and_then(|it| self.reader.duration(it, &format!("`{key}`")));
            *time = read.unwrap_or(*time).max(core::time::Duration::from_millis(10));
        }
        let count = block.get("count").and_then(|it| self.reader.number(it, "`count`", 1.0, 100.0));
        let names = match count {
            None => vec![Arc::from(name)],
            Some(count) => {
                (1..=count as u32).map(|nth| Arc::from(format!("{name}-{nth}"))).collect()
            }
        };
        let spec = |name| ClientSpec {
            name,
            database: Arc::from(texts["database"]),
            service: Arc::from(texts["service"]),
            every: times[0],
            finds,
            refresh: times[1],
        };
        names.into_iter().map(spec).collect()
    }

    /// Reads variables with their values.
    pub(super) fn environment(&mut self, tree: &Tree) -> BTreeMap<String, String> {
        let mut env = BTreeMap::new();
        for (name, _, value) in self.reader.members(tree, "`env`").unwrap_or_default() {
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
        env
    }

    /// Reads what a container has besides its configuration.
    pub(super) fn home(
        &mut self,
        name: &str,
        config: &Tree,
        block: &block::Block<'_>,
        index: usize,
    ) -> Home {
        let around = self.surroundings(name, block, index);
        let environment = around.env.clone();
        let environment =
            environment.iter().map(|(name, value)| (Arc::from(&**name), Arc::from(&**value)));
        let mut home = Home { environment: environment.collect(), ..Home::default() };
        let volume = block.get("volume").map(|tree| &tree.value);
        home.has_volume = matches!(volume, Some(TreeValue::Bool(true)));
        if let Some(variants) = block.get("variants") {
            let owner = format!("`variants` of node \"{name}\"");
            for (variant, _, env) in self.reader.members(variants, &owner).unwrap_or_default() {
                let said = self.warnings.len();
                let mut around = around.clone();
                around.env.extend(self.environment(env));
                if let Some(config) = self.config_in(config, &around) {
                    home.variants.insert(Arc::from(variant), config);
                }
                // The first configuration says the same.
                self.warnings.truncate(said);
            }
        }
        home
    }

    /// Finds conditions about databases that do not exist.
    pub(super) fn check_databases(
        &mut self,
        suite: &Suite,
        spans: &Spans,
        applications: &Applications,
    ) {
        let known: Vec<&str> =
            applications.databases.iter().map(|database| &*database.name).collect();
        for (property, (span, _)) in suite.properties.iter().zip(&spans.properties) {
            for name in property.rule.databases() {
                if !known.contains(&&*name) {
                    let help = suggestion(&name, known.iter().copied());
                    let message = format!("cannot judge the database \"{name}\": there is none");
                    self.reader.blame("unknown-subject", *span, message, help.as_deref());
                }
            }
        }
    }

    /// Finds processes that are to do a program that does not exist.
    pub(super) fn check_parts(
        &mut self,
        manners: &Manners,
        applications: &Applications,
        top: &block::Block<'_>,
    ) {
        let Some(processes) = top.get("processes") else { return };
        let mut missing: Vec<_> = manners.programs().collect();
        missing.retain(|name| !applications.programs.contains_key(*name));
        missing.dedup();
        for name in missing {
            self.check_program(&applications.programs, name, processes.span);
        }
    }
}
