//! What goes wrong.

use core::time::Duration;

use steersman_engine::event::SignalName;
use steersman_engine::front::document::{Tree, TreeValue, suggestion};
use steersman_engine::input::Control;

use super::{ACTIONS, Decoder, FAULT};
use crate::explore::{Fault, FaultSet, NodeSpec, Scripted, Span};
use crate::property::expression::fits;
use crate::scenario::block::{Block, Reader};
use crate::world::Action;

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
