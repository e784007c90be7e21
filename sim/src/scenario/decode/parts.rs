//! How processes behave.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::Signal;
use steersman_engine::front::document::{Tree, TreeValue, suggestion};
use steersman_engine::input::ExitStatus;
use steersman_engine::{RunKind, Time};

use super::Decoder;
use crate::explore::manner::{Answer, Manner, Way};
use crate::explore::{Manners, Span};
use crate::property::expression::fits;
use crate::scenario::block::Block;
use crate::scenario::keys::{CHECK, PROCESS};
use crate::script::Child;

impl Decoder<'_> {
    pub(super) fn processes(&mut self, tree: &Tree, manners: &mut Manners) {
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
        if let Some(program) = block.get("program") {
            manner.program = self.reader.text(program, &label("program")).map(Arc::from);
            manner.ways = vec![(1, Way::Endless)];
        }
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
        if let Some(program) = check.get("program") {
            manner.program = self.reader.text(program, "`program`").map(Arc::from);
            manner.ways = vec![(1_000_000 - fails, Way::Endless), (fails, bad)];
        }
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
