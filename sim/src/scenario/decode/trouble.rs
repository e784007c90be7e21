//! What goes wrong.

use std::sync::Arc;

use steersman_engine::front::document::{Tree, TreeValue, suggestion};

use super::Decoder;
use super::deeds::Wanted;
use crate::explore::perform::PRIMARY_OF;
use crate::explore::{Fault, FaultSet, NodeSpec, Scripted};
use crate::property::expression::fits;
use crate::scenario::keys::{FAULT, OF_CONSUL};

impl Decoder<'_> {
    pub(super) fn faults(&mut self, tree: &Tree) -> Vec<Scripted> {
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
            let nodes = self.targets(pattern);
            if nodes.is_empty() && !self.nodes.is_empty() {
                let names: Vec<&str> = self.nodes.iter().map(|node| &*node.name).collect();
                let help = suggestion(pattern, names.iter().copied());
                let span = block.get("node").map_or(fault.span, |node| node.span);
                let message = format!("cannot find a node that fits \"{pattern}\"");
                self.reader.blame("unknown-node", span, message, help.as_deref());
            }
            let word = block.get("do").map(|it| &it.value);
            let is_once = matches!(word, Some(TreeValue::Text(word))
                if OF_CONSUL.contains(&&**word));
            for (index, node) in nodes.iter().enumerate() {
                let name = if is_once { Arc::from("consul") } else { node.name.clone() };
                let actions = self.actions(&Wanted { block: &block, node, index });
                scripted.extend(actions.map(|actions| Scripted { at, node: name, actions }));
                if is_once {
                    break;
                }
            }
        }
        scripted
    }

    /// Lists the nodes of a fault; the primary of a database is known only when it happens.
    fn targets(&self, pattern: &str) -> Vec<NodeSpec> {
        if pattern.starts_with(PRIMARY_OF) {
            let any = self.nodes.first().cloned();
            return any.map(|any| NodeSpec { name: pattern.into(), ..any }).into_iter().collect();
        }
        self.nodes.iter().filter(|node| fits(pattern, &node.name)).cloned().collect()
    }

    pub(super) fn swarm(&mut self, tree: &Tree) -> FaultSet {
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
}
