//! What a search found, for people and for tools.

use core::fmt::Write as _;
use core::time::Duration;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use steersman_engine::front::Colours;
use steersman_engine::trace::Hex;

use super::strategies::Outcome;
use super::{Case, grouped};
use crate::explore::{Fault, Found, Progress, Search};
use crate::property::Rule;
use crate::scenario::{self, Scenario};
use crate::story::{to_terminal, to_text};
use crate::trace::Divergence;

/// Everything there is to say about one search.
pub(super) struct Report<'a> {
    pub(super) file: &'a str,
    pub(super) scenario: &'a Scenario,
    pub(super) search: &'a Search,
    pub(super) found: &'a Found,
    pub(super) outcome: Outcome,
    pub(super) cases: Vec<Case>,
    pub(super) took: Duration,
}

impl Report<'_> {
    pub(super) fn is_good(&self) -> bool {
        let nothing = self.found.breaches.is_empty() && self.found.unsteady.is_empty();
        nothing && self.unreached().is_empty()
    }

    /// Lists what was to be reached in at least one run, and was not. A shard is not the whole.
    fn unreached(&self) -> Vec<&str> {
        if self.search.shard.1 > 1 || self.found.runs == 0 {
            return Vec::new();
        }
        let properties = self.search.suite.properties.iter().zip(&self.found.reached);
        let is_missed =
            |rule: &Rule, reached: u64| matches!(rule, Rule::Sometimes(_)) && reached == 0;
        properties
            .filter(|(property, reached)| is_missed(&property.rule, **reached))
            .map(|(property, _)| &*property.name)
            .collect()
    }

    fn advice(&self) -> Vec<String> {
        match self.scenario.is_plain && self.search.shard.1 == 1 && self.found.runs > 0 {
            true => scenario::advice(self.scenario, self.found),
            false => Vec::new(),
        }
    }

    pub(super) fn to_text(&self, progress: &Progress, colours: Colours) -> String {
        let mut text = String::new();
        for case in &self.cases {
            self.write_case(&mut text, case, colours);
        }
        for name in self.unreached() {
            let _ = writeln!(
                text,
                "never reached: {name}\n  No run came to it: what it was to show is not shown."
            );
        }
        for seed in &self.found.unsteady {
            let _ =
                writeln!(text, "not deterministic: two runs of seed {seed} went different ways");
        }
        if let Some((seed, divergence)) = &self.found.divergence {
            let _ = writeln!(text, "  seed {seed} parts at {divergence}");
        }
        for line in self.advice() {
            let _ = writeln!(text, "look at: {line}");
        }
        text.push_str(&self.outcome.to_text(self.search));
        self.write_coverage(&mut text, progress);
        self.write_summary(&mut text);
        text
    }

    fn write_case(&self, text: &mut String, case: &Case, colours: Colours) {
        let (count, runs) = (grouped(case.found.count), grouped(self.found.runs));
        let breach = &case.shrunk.breach;
        let seed = case.found.seed;
        let place = match case.by {
            Some(by) => format!("found by {by}"),
            None => format!("{count} of {runs} runs, first seed {seed}"),
        };
        let _ = writeln!(text, "broken: {} — {place}", breach.property);
        let _ = writeln!(text, "  {}\n", breach.what);
        for line in to_terminal(&case.story, colours).lines() {
            match line.is_empty() {
                true => text.push('\n'),
                false => {
                    let _ = writeln!(text, "    {line}");
                }
            }
        }
        for (what, file) in [("trace", &case.trace), ("page", &case.html)] {
            if let Some(file) = file {
                let _ = writeln!(text, "  {what}: {file}");
            }
        }
        text.push('\n');
    }

    fn write_coverage(&self, text: &mut String, progress: &Progress) {
        let drawn = |fault: &&Fault| self.search.faults.has(**fault);
        let made = Fault::ALL.iter().filter(drawn).map(|fault| (fault, progress.faults.of(*fault)));
        let made: Vec<_> = made.collect();
        let some: Vec<_> = made.iter().filter(|(_, count)| *count > 0).collect();
        if !some.is_empty() {
            let each =
                |(fault, count): &(&Fault, u64)| format!("{} {}", fault.as_str(), grouped(*count));
            let list: Vec<_> = some.iter().map(|one| each(one)).collect();
            let _ = writeln!(
                text,
                "faults, {} of {} kinds: {}",
                some.len(),
                made.len(),
                list.join(", ")
            );
        }
        for (property, reached) in self.search.suite.properties.iter().zip(&self.found.reached) {
            let what = match property.rule {
                Rule::Sometimes(_) => "reached",
                Rule::LeadsTo(..) => "put to the test",
                Rule::Always(..) | Rule::Eventually(..) => continue,
            };
            let (reached, runs) = (grouped(*reached), grouped(self.found.runs));
            let _ = writeln!(text, "{what} in {reached} of {runs} runs: {}", property.name);
        }
    }

    fn write_summary(&self, text: &mut String) {
        let found = self.found;
        let jobs: usize = self.search.setting.nodes.iter().map(|node| node.config.jobs.len()).sum();
        let seconds = self.took.as_secs_f64().max(1e-6);
        let simulated = found.simulated_ns as f64 / 1e9;
        let rate = (found.inputs as f64 / seconds) as u64;
        let _ = writeln!(
            text,
            "{}: {} nodes, {jobs} jobs; {} runs, {} inputs, {:.1} simulated hours in \
             {seconds:.2} s \
             ({} inputs a second); fingerprint {}",
            self.file,
            self.search.setting.nodes.len(),
            grouped(found.runs),
            grouped(found.inputs),
            simulated / 3600.0,
            grouped(rate),
            Hex(found.fingerprint)
        );
        let verdict = match (self.is_good(), self.cases.len()) {
            (true, _) => String::from("nothing was broken"),
            (false, 0) if !self.found.breaches.is_empty() => {
                String::from("something was broken that cannot be repeated as a plan")
            }
            (false, 0) => String::from("the search is worth nothing as it is"),
            (false, 1) => String::from("one thing was broken"),
            (false, several) => format!("{several} different things were broken"),
        };
        let _ = writeln!(text, "{verdict}");
    }

    pub(super) fn to_json(&self, progress: &Progress) -> Value {
        let breaches: Vec<_> = self.cases.iter().map(case_json).collect();
        let properties = self.search.suite.properties.iter().zip(&self.found.reached);
        let properties: Vec<_> = properties
            .map(|(property, reached)| json!({ "name": property.name, "reached": reached }))
            .collect();
        let faults = Fault::ALL.iter().map(|fault| (fault.as_str(), progress.faults.of(*fault)));
        let faults: serde_json::Map<_, _> =
            faults.map(|(name, count)| (name.to_owned(), json!(count))).collect();
        json!({
            "file": self.file,
            "good": self.is_good(),
            "seeds": [self.search.seeds.start, self.search.seeds.end],
            "shard": [self.search.shard.0, self.search.shard.1],
            "runs": self.found.runs,
            "inputs": self.found.inputs,
            "simulatedSeconds": self.found.simulated_ns as f64 / 1e9,
            "seconds": self.took.as_secs_f64(),
            "fingerprint": Hex(self.found.fingerprint),
            "breaches": breaches,
            "properties": properties,
            "neverReached": self.unreached(),
            "notDeterministic": self.found.unsteady,
            "divergence": self.found.divergence.as_ref().map(divergence_json),
            "advice": self.advice(),
            "faults": faults,
            "strategies": self.outcome.to_json(),
        })
    }
}

fn divergence_json((seed, found): &(u64, Divergence)) -> Value {
    json!({ "seed": seed, "place": found.place(), "one": found.one, "other": found.other })
}

fn case_json(case: &Case) -> Value {
    let breach = &case.shrunk.breach;
    json!({
        "property": breach.property,
        "what": breach.what,
        "atSeconds": Duration::from_nanos(breach.at.0).as_secs_f64(),
        "node": breach.node,
        "seed": case.found.seed,
        "foundBy": case.by.unwrap_or("a random run"),
        "runs": case.found.count,
        "outOfTheOrdinary": { "before": case.shrunk.weight.0, "after": case.shrunk.weight.1 },
        "replays": case.shrunk.replays,
        "trace": case.trace,
        "html": case.html,
        "story": to_text(&case.story),
    })
}

/// One line about a search under way.
pub(super) fn progress_line(progress: &Progress, search: &Search, passed: Duration) -> String {
    let runs = progress.runs.load(Ordering::Relaxed);
    let all = (search.seeds.end - search.seeds.start) / search.shard.1.max(1);
    let rate = runs as f64 / passed.as_secs_f64().max(1e-6);
    let kinds = Fault::ALL.iter().filter(|fault| search.faults.has(**fault));
    let made = kinds.clone().filter(|fault| progress.faults.of(**fault) > 0).count();
    let wanted = search.suite.properties.iter().enumerate();
    let wanted: Vec<_> = wanted.filter(|(_, it)| matches!(it.rule, Rule::Sometimes(_))).collect();
    let reached = match (wanted.len(), wanted.iter().filter(|it| progress.is_reached(it.0)).count())
    {
        (0, _) => String::new(),
        (wanted, reached) => format!("; sometimes {reached} of {wanted}"),
    };
    format!(
        "{} of {} runs, {} a second; faults {made} of {} kinds{reached}; {} runs broke something",
        grouped(runs),
        grouped(all),
        grouped(rate as u64),
        kinds.count(),
        grouped(progress.breaches.load(Ordering::Relaxed))
    )
}
