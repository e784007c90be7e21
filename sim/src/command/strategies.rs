//! The strategies of `steersman sim`: how runs are chosen, and what each of them came to.

use core::fmt::Write as _;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use serde_json::{Value, json};

use super::grouped;
use crate::explore::course::Stage;
use crate::explore::exhaust::{Effort, Lead, Reach, exhaust, left_out};
use crate::explore::pct::Priorities;
use crate::explore::{FoundBreach, Search, replay};
use crate::tap::Level;

/// How deep a disorder the change points of priorities are drawn for.
const DEPTH: u32 = 3;
/// In a portfolio every so-manieth run is one by priorities.
const SHARE: u64 = 4;
/// In a portfolio the exhaustive search may take so long.
const PORTFOLIO_TIME: Duration = Duration::from_secs(10);

/// What found a breach, if not a random run.
const BY_SEARCH: &str = "the exhaustive search";
const BY_PRIORITIES: &str = "a run by priorities";

/// What a complete search has done; `docs/exploration.md` tells about the exception.
const TRIED: &str = "every order was tried (except behind long waits beside short intervals)";

/// How runs are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Faults and times are drawn.
    #[default]
    Random,
    /// Priorities are drawn, and instants at which they change.
    Pct,
    /// Every order is tried.
    Exhaustive,
    /// A part of each.
    Portfolio,
}

impl Strategy {
    /// Every strategy.
    pub const ALL: &'static [Strategy] =
        &[Strategy::Random, Strategy::Pct, Strategy::Exhaustive, Strategy::Portfolio];

    /// Gives its word on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Strategy::Random => "random",
            Strategy::Pct => "pct",
            Strategy::Exhaustive => "exhaustive",
            Strategy::Portfolio => "portfolio",
        }
    }

    /// Finds a strategy by its word.
    pub fn parse(text: &str) -> Option<Strategy> {
        Strategy::ALL.iter().copied().find(|one| one.as_str() == text)
    }

    /// Tells whether random runs are part of it.
    pub(super) const fn is_random(self) -> bool {
        matches!(self, Strategy::Random | Strategy::Portfolio)
    }
}

/// What the strategies besides the random one came to.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) leads: Vec<(&'static str, FoundBreach, Lead)>,
    reach: Option<(Reach, Duration)>,
    priorities: Option<Prioritised>,
    /// Whether the scenario has programs, whose steps are not choices.
    pub(super) is_refused: bool,
}

/// What the runs by priorities came to.
#[derive(Debug)]
struct Prioritised {
    runs: u64,
    inputs: u64,
    took: Duration,
    sources: u64,
    events: u64,
    guarantees: Vec<(u32, f64)>,
    /// Runs that seemed to break something and did not as plans.
    unrepeated: usize,
}

/// Searches by every strategy besides the random one.
pub(super) fn go(strategy: Strategy, search: &Search) -> Outcome {
    let mut outcome = Outcome::default();
    if !search.setting.applications.is_empty() {
        outcome.is_refused = strategy != Strategy::Random;
        return outcome;
    }
    if matches!(strategy, Strategy::Exhaustive | Strategy::Portfolio) {
        let mut effort = Effort::default();
        if strategy == Strategy::Portfolio {
            effort.time_max = PORTFOLIO_TIME;
        }
        let began = Instant::now();
        let reach = exhaust(search, effort);
        for lead in &reach.leads {
            let found = FoundBreach { breach: lead.breach.clone(), seed: 0, count: 1 };
            outcome.leads.push((BY_SEARCH, found, lead.clone()));
        }
        outcome.reach = Some((reach, began.elapsed()));
    }
    if matches!(strategy, Strategy::Pct | Strategy::Portfolio) {
        let every = if strategy == Strategy::Pct { 1 } else { SHARE };
        by_priorities(search, every, &mut outcome);
    }
    outcome
}

fn priorities_of(search: &Search) -> Priorities {
    let faults = left_out(search.faults);
    let faults = faults.into_iter().fold(search.faults, |faults, one| faults.without(one));
    let mut setting = (*search.setting).clone();
    let mut suite = (*search.suite).clone();
    if setting.consul.take().is_some() {
        suite.properties.clear();
    }
    let mut stage = Stage::new(Arc::new(setting), Arc::new(suite), faults);
    stage.scripted = search.scripted_at_the_earliest();
    Priorities::new(Arc::new(stage), DEPTH, search.limits)
}

fn by_priorities(search: &Search, every: u64, outcome: &mut Outcome) {
    let priorities = priorities_of(search);
    let began = Instant::now();
    let next = AtomicU64::new(search.seeds.start);
    let total = Mutex::new((0_u64, 0_u64, Vec::<FoundBreach>::new()));
    std::thread::scope(|scope| {
        for _ in 0..search.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= search.seeds.end {
                        break;
                    }
                    if !seed.is_multiple_of(every) || seed % search.shard.1.max(1) != search.shard.0
                    {
                        continue;
                    }
                    let run = priorities.run(seed);
                    let breach = run.breach();
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.0 += 1;
                    total.1 += run.course.inputs();
                    if let Some(breach) = breach {
                        note(&mut total.2, FoundBreach { breach, seed, count: 1 });
                    }
                }
            });
        }
    });
    let (runs, inputs, mut breaches) = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    breaches.sort_by_key(|found| found.seed);
    let mut unrepeated = 0;
    for found in breaches {
        let plan = priorities.plan_of(found.seed);
        let (setting, suite) = (&priorities.stage.setting, &priorities.stage.suite);
        let again = replay(setting, &plan, suite, Level::Signs).breach;
        if !again.is_some_and(|again| again.is_like(&found.breach)) {
            unrepeated += 1;
            continue;
        }
        let lead = Lead {
            breach: found.breach.clone(),
            setting: setting.clone(),
            suite: suite.clone(),
            plan,
            is_confirmed: true,
        };
        outcome.leads.push((BY_PRIORITIES, found, lead));
    }
    let guarantees = (1..=DEPTH).map(|depth| (depth, priorities.guarantee(depth, runs)));
    outcome.priorities = Some(Prioritised {
        runs,
        inputs,
        took: began.elapsed(),
        sources: priorities.sources,
        events: priorities.events,
        guarantees: guarantees.collect(),
        unrepeated,
    });
}

/// Gives the command that finds a breach again.
pub(super) fn again(by: Option<&str>, file: &str, seed: u64) -> String {
    let seeds = format!("--seeds {seed}..{}", seed + 1);
    match by {
        Some(BY_SEARCH) => format!("steersman sim {file} --strategy exhaustive"),
        Some(_) => format!("steersman sim {file} --strategy pct {seeds}"),
        None => format!("steersman sim {file} {seeds}"),
    }
}

fn note(known: &mut Vec<FoundBreach>, new: FoundBreach) {
    match known.iter_mut().find(|one| one.breach.is_like(&new.breach)) {
        Some(one) => {
            one.count += 1;
            if new.seed < one.seed {
                one.seed = new.seed;
                one.breach = new.breach;
            }
        }
        None => known.push(new),
    }
}

impl Outcome {
    pub(super) fn to_text(&self, search: &Search) -> String {
        let mut text = String::new();
        if self.is_refused {
            text.push_str("a scenario with programs is searched at random only\n");
        }
        if let Some((reach, took)) = &self.reach {
            write_reach(&mut text, reach, *took, search);
        }
        if let Some(priorities) = &self.priorities {
            priorities.write(&mut text);
        }
        text
    }

    pub(super) fn to_json(&self) -> Value {
        let reach = self.reach.as_ref().map(|(reach, took)| {
            let levels: Vec<_> = reach
                .levels
                .iter()
                .map(|level| {
                    json!({
                        "faults": level.faults,
                        "partsComplete": level.complete,
                        "partsBegun": level.begun,
                        "states": level.states,
                        "transitions": level.transitions,
                        "collisionRisk": level.collision_risk,
                    })
                })
                .collect();
            json!({
                "parts": reach.cones,
                "partsWithAlike": reach.cones_with_alike,
                "partsCut": reach.cut,
                "consulOutOfReach": reach.is_without_consul,
                "unrepeated": reach.unrepeated.len(),
                "levels": levels,
                "seconds": took.as_secs_f64(),
            })
        });
        let priorities = self.priorities.as_ref().map(|one| {
            let guarantees: Vec<_> = one
                .guarantees
                .iter()
                .map(|(depth, chance)| json!({ "depth": depth, "atLeast": chance }))
                .collect();
            json!({
                "runs": one.runs,
                "inputs": one.inputs,
                "seconds": one.took.as_secs_f64(),
                "sources": one.sources,
                "events": one.events,
                "foundWith": guarantees,
                "unrepeated": one.unrepeated,
            })
        });
        json!({ "exhaustive": reach, "pct": priorities })
    }
}

fn write_reach(text: &mut String, reach: &Reach, took: Duration, search: &Search) {
    for level in &reach.levels {
        let things = if level.faults == 1 { "one thing" } else { "two things" };
        let covered = match (level.complete == reach.cones, reach.cut) {
            (true, 0) => String::from(TRIED),
            (true, cut) => format!("{TRIED}, but {cut} parts had to be cut"),
            (false, _) => {
                format!("NOT complete: every order of {} parts was tried", level.complete)
            }
        };
        let rate = level.states as f64 / level.time.as_secs_f64().max(1e-6);
        let _ = writeln!(
            text,
            "exhaustive, at most {things} out of the ordinary: {covered}; {} different parts of \
             {}, {} states ({} a second on a core), {} choices; two states taken for one: at most \
             {:.0e}",
            reach.cones,
            reach.cones_with_alike,
            grouped(level.states),
            grouped(rate as u64),
            grouped(level.transitions),
            level.collision_risk
        );
    }
    let foreign: Vec<_> = left_out(search.faults).into_iter().map(|fault| fault.as_str()).collect();
    let mut without = Vec::new();
    if !foreign.is_empty() {
        without.push(format!("no {}", foreign.join(", ")));
    }
    if reach.is_without_consul {
        without.push(String::from("Consul out of reach, the scenario's properties not judged"));
    }
    if !without.is_empty() {
        let _ = writeln!(text, "  left out: {}", without.join("; "));
    }
    for lead in &reach.unrepeated {
        let _ = writeln!(text, "  did not show again as a plan, so not counted: {}", lead.breach);
    }
    let _ = writeln!(text, "  {:.2} s", took.as_secs_f64());
}

impl Prioritised {
    fn write(&self, text: &mut String) {
        let rate = self.runs as f64 / self.took.as_secs_f64().max(1e-6);
        let _ = writeln!(
            text,
            "by priorities: {} runs ({} a second), {} inputs",
            grouped(self.runs),
            grouped(rate as u64),
            grouped(self.inputs)
        );
        if self.unrepeated > 0 {
            let count = self.unrepeated;
            let _ = writeln!(text, "  did not show again as plans, so not counted: {count}");
        }
        for (depth, chance) in &self.guarantees {
            let _ = writeln!(
                text,
                "  every ordering bug of depth {depth} among at most {} sources in at most {} \
                 events would be found with at least {}",
                self.sources,
                self.events,
                percent(*chance)
            );
        }
    }
}

/// Writes a probability down without making it larger than it is.
fn percent(chance: f64) -> String {
    let hundredths = (chance * 10_000.0).floor();
    match hundredths < 1.0 {
        true => format!("{:.1e}", chance),
        false => format!("{:.2} %", hundredths / 100.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_strategy_has_a_word() {
        for strategy in Strategy::ALL {
            assert_eq!(Strategy::parse(strategy.as_str()), Some(*strategy));
        }
        assert_eq!(Strategy::parse("lucky"), None);
    }

    #[test]
    fn probabilities_are_not_rounded_up() {
        assert_eq!(percent(0.99999), "99.99 %");
        assert_eq!(percent(0.5), "50.00 %");
        assert_eq!(percent(0.000_003), "3.0e-6");
    }
}
