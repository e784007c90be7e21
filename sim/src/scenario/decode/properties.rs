//! What must hold.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::config::{Job, WatchTarget};
use steersman_engine::front::document::{Tree, suggestion};

use super::Decoder;
use crate::explore::NodeSpec;
use crate::property::expression::{Owner, fits};
use crate::property::source::Culprit;
use crate::property::{Demand, PropertySource, SuiteSource};
use crate::scenario::block::Block;
use crate::scenario::keys::PROPERTY;

impl Decoder<'_> {
    pub(super) fn properties(&mut self, top: &Block<'_>) -> (SuiteSource, Spans) {
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

    pub(super) fn compile(
        &mut self,
        source: &SuiteSource,
        spans: &Spans,
    ) -> Option<crate::property::Suite> {
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
                    Some(_) if matches!(subject.kind, Owner::Key | Owner::Session) => true,
                    Some(name) if subject.kind == Owner::Service => {
                        let configs = || self.nodes.iter().map(|node| &node.config);
                        let is_service = |job: &&Arc<Job>| job.service.is_some();
                        let mut offered = configs().flat_map(|it| &it.jobs).filter(is_service);
                        let mut watched = configs().flat_map(|it| &it.watches);
                        offered.any(|job| fits(name, &job.name))
                            || watched.any(|watch| {
                                matches!(&watch.target, WatchTarget::Service { name: other, .. }
                                    if fits(name, other))
                            })
                    }
                    Some(name) if subject.kind == Owner::Lock => {
                        let nodes = self.nodes.iter().filter(node);
                        nodes.flat_map(|it| &it.config.locks).any(|lock| fits(name, &lock.name))
                    }
                    None => self.nodes.iter().any(|it| node(&it)),
                    Some(job) => self
                        .nodes
                        .iter()
                        .filter(node)
                        .any(|node| node.jobs().any(|it| fits(job, &it.name))),
                };
                if !is_there && !self.nodes.is_empty() {
                    let what = match &subject.job {
                        Some(name) if subject.kind == Owner::Service => format!("service {name}"),
                        Some(name) if subject.kind == Owner::Lock => format!("lock {name}"),
                        None => format!("node {}", subject.node),
                        Some(job) if &*subject.node == "*" => job.to_string(),
                        Some(job) => format!("{}/{job}", subject.node),
                    };
                    let jobs = self.nodes.iter().flat_map(NodeSpec::jobs);
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

pub(super) type At = (usize, usize);

#[derive(Debug, Default)]
pub(super) struct Spans {
    facts: BTreeMap<Arc<str>, At>,
    pub(super) properties: Vec<(At, At)>,
}
