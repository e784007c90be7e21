//! The strategy of priorities (PCT: Burckhardt, Kothari, Musuvathi and Nagarakatte, 2010): every
//! source of events has a priority, the first always goes first, and at a few instants the leader
//! falls behind all others. Unlike random times it finds each disorder of depth `d` among `n`
//! sources and `k` events with a probability of at least `1 / (n * k^(d-1))` in every run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use steersman_engine::RunId;

use crate::agenda::{Happening, NodeId};
use crate::explore::course::{Act, Choice, Course, Stage, plan_of};
use crate::explore::model::Model;
use crate::explore::plan::Plan;
use crate::explore::swarm::Limits;
use crate::property::Breach;
use crate::random::{Random, mix};
use crate::tap::Level;

/// At most so many things out of the ordinary in one run.
const TROUBLE_MAX: u64 = 3;
/// A run is over after so many events, whatever its time.
const EVENTS_MAX: usize = 1_000;

/// Where events come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Source {
    /// The clock: timers, and what has a fixed time.
    Clock(NodeId),
    /// A job or its checks.
    Process(NodeId, u16, bool),
    /// One thing out of the ordinary.
    Trouble(u64),
}

/// Runs by priorities.
#[derive(Clone, Debug)]
pub struct Priorities {
    /// What is searched.
    pub stage: Arc<Stage>,
    /// The depth `d` that the change points are drawn for, at least 1.
    pub depth: u32,
    /// How long there may be trouble, and how long the world may take to settle.
    pub limits: Limits,
    /// The measured number of sources, `n`.
    pub sources: u64,
    /// The measured number of events, `k`.
    pub events: u64,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct PriorityRun {
    /// The choices made.
    pub choices: Vec<Choice>,
    /// Where they led.
    pub course: Course,
    /// Whether nothing could come any more; else the run was cut.
    pub is_at_end: bool,
    sources: BTreeSet<Source>,
}

impl PriorityRun {
    /// Gives what the run broke. One that was cut might have settled yet.
    pub fn breach(&self) -> Option<Breach> {
        let end = || self.course.verdict_of_end().filter(|_| self.is_at_end);
        self.course.breach().cloned().or_else(end)
    }
}

impl Priorities {
    /// Measures how many sources and events there are in a first run without trouble.
    pub fn new(stage: Arc<Stage>, depth: u32, limits: Limits) -> Priorities {
        let depth = depth.max(1);
        let mut priorities = Priorities { stage, depth, limits, sources: 1, events: 1 };
        let first = priorities.drive(&mut Draw::without_trouble());
        priorities.sources = first.sources.len() as u64 + TROUBLE_MAX;
        priorities.events = (first.choices.len() as u64).max(1);
        priorities
    }

    /// Makes the run of a seed.
    pub fn run(&self, seed: u64) -> PriorityRun {
        let random = Random::new(seed).stream("priorities");
        let changes = (1..u64::from(self.depth)).map(|nth| {
            let at = random.stream("change").keyed(nth).between(1, self.events);
            (usize::try_from(at).unwrap_or(usize::MAX), nth)
        });
        let trouble = random.stream("trouble").between(0, TROUBLE_MAX);
        let mut draw = Draw { random, changes: changes.collect(), trouble };
        self.drive(&mut draw)
    }

    /// Writes the run of a seed down.
    pub fn plan_of(&self, seed: u64) -> Plan {
        let run = self.run(seed);
        let trouble = u32::try_from(TROUBLE_MAX).unwrap_or(u32::MAX);
        plan_of(&self.stage, &run.choices, trouble)
    }

    /// Gives the probability that a disorder of some depth would have been found in so many runs,
    /// at least.
    pub fn guarantee(&self, depth: u32, runs: u64) -> f64 {
        guarantee(self.sources, self.events, depth, runs)
    }

    fn drive(&self, draw: &mut Draw) -> PriorityRun {
        let trouble = u32::try_from(draw.trouble).unwrap_or(u32::MAX);
        let course = Course::new(self.stage.clone(), trouble, Level::Signs);
        let sources = BTreeSet::new();
        let mut run = PriorityRun { choices: Vec::new(), course, is_at_end: false, sources };
        let mut lowered = BTreeMap::new();
        let mut used = BTreeSet::new();
        let mut choices = Vec::new();
        let calm = steersman_engine::Time(0) + self.limits.trouble;
        while run.course.breach().is_none() && run.choices.len() < EVENTS_MAX {
            let now = run.course.now();
            if now > calm {
                run.course.calm_down();
            }
            if now > run.course.calm_from().max(calm) + self.limits.settle {
                break;
            }
            run.course.choices(&mut choices);
            if choices.is_empty() {
                run.is_at_end = true;
                break;
            }
            let mut pick = draw.pick(&choices, &lowered, &used);
            if let Some((_, nth)) = draw.changes.iter().find(|(at, _)| *at == run.choices.len() + 1)
                && let Some((source, _)) = pick
            {
                lowered.insert(source, *nth);
                pick = draw.pick(&choices, &lowered, &used);
            }
            let Some((source, place)) = pick else { break };
            run.sources.insert(source);
            if let Source::Trouble(_) = source {
                used.insert(source);
            }
            let choice = choices[place].clone();
            if let Choice::Lingers(node, what) = &choice
                && let Some(run) = run_of(*what)
            {
                lowered.insert(Source::of_run(*node, run), 0);
            }
            run.course.apply(&choice);
            run.choices.push(choice);
        }
        run
    }
}

/// Gives the probability that in so many runs one would have found a disorder, at least.
pub fn guarantee(sources: u64, events: u64, depth: u32, runs: u64) -> f64 {
    let exponent = i32::try_from(depth.saturating_sub(1)).unwrap_or(i32::MAX);
    let each = 1.0 / (sources.max(1) as f64 * (events.max(1) as f64).powi(exponent));
    if each >= 1.0 {
        return f64::from(u8::from(runs > 0));
    }
    -f64::exp_m1(runs as f64 * f64::ln_1p(-each))
}

/// What is drawn for one run.
struct Draw {
    random: Random,
    /// At which event the leader falls behind, and how far.
    changes: Vec<(usize, u64)>,
    trouble: u64,
}

impl Draw {
    const fn without_trouble() -> Draw {
        Draw { random: Random::new(0), changes: Vec::new(), trouble: 0 }
    }

    /// Picks the choice of the source with the highest priority.
    fn pick(
        &self,
        choices: &[Choice],
        lowered: &BTreeMap<Source, u64>,
        used: &BTreeSet<Source>,
    ) -> Option<(Source, usize)> {
        let mut best: Option<(u64, Source, usize)> = None;
        let mut consider = |source: Source, place: usize| {
            let priority = lowered.get(&source).copied().unwrap_or_else(|| self.priority(source));
            if best.is_none_or(|(known, ..)| priority > known) {
                best = Some((priority, source, place));
            }
        };
        let mut trouble: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (place, choice) in choices.iter().enumerate() {
            match choice {
                Choice::Clock => consider(Source::Clock(NodeId(0)), place),
                Choice::Comes(node, what) => {
                    if let Some(run) = run_of(*what) {
                        consider(Source::of_run(*node, run), place);
                    }
                }
                Choice::Act(node, Act::Maintenance(false)) => {
                    consider(Source::Process(*node, u16::MAX, false), place);
                }
                other => trouble.entry(kind_of(other)).or_default().push(place),
            }
        }
        let free = (0..self.trouble).map(Source::Trouble).find(|one| !used.contains(one));
        if let Some(source) = free.filter(|_| !trouble.is_empty()) {
            let random = self.random.stream("which").keyed(self.priority(source));
            let kinds: Vec<_> = trouble.values().collect();
            let kind = random.stream("kind").pick(&kinds);
            let place = kind.and_then(|places| random.stream("place").pick(places));
            if let Some(place) = place {
                consider(source, *place);
            }
        }
        best.map(|(_, source, place)| (source, place))
    }

    /// Initial priorities lie above all that change points give.
    fn priority(&self, source: Source) -> u64 {
        let key = match source {
            Source::Clock(node) => 1 << 60 | u64::from(node.0),
            Source::Process(node, job, is_check) => {
                2 << 60 | u64::from(node.0) << 32 | u64::from(job) << 1 | u64::from(is_check)
            }
            Source::Trouble(nth) => 3 << 60 | nth,
        };
        self.random.stream("priority").keyed(mix(key)).draw() | 1 << 32
    }
}

impl Source {
    fn of_run(node: NodeId, run: RunId) -> Source {
        Source::Process(node, run.job.0, run.kind == steersman_engine::RunKind::Check)
    }
}

const fn run_of(what: Happening) -> Option<RunId> {
    match what {
        Happening::Started(run)
        | Happening::StartFailed(run)
        | Happening::Ended(run)
        | Happening::TreeGone(run) => Some(run),
        _ => None,
    }
}

const fn kind_of(choice: &Choice) -> u8 {
    match choice {
        Choice::Clock | Choice::Comes(..) => 0,
        Choice::Fails(..) => 1,
        Choice::EndsEarly(..) => 2,
        Choice::Lingers(..) => 3,
        Choice::Leaves(..) => 4,
        Choice::Act(_, Act::Stop) => 5,
        Choice::Act(_, Act::Maintenance(_)) => 6,
        Choice::Act(_, Act::Reload) => 7,
        Choice::Act(_, Act::Restart(_)) => 8,
        Choice::Act(_, Act::Hup) => 9,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guarantee_is_the_published_bound_over_all_runs() {
        let each: f64 = 1.0 / (8.0 * 200.0 * 200.0);
        assert!((guarantee(8, 200, 3, 1) - each).abs() < 1e-12);
        assert!(guarantee(8, 200, 3, 3_200_000) > 0.9999);
        assert!(guarantee(8, 200, 3, 1_000) < 0.004);
        assert!(guarantee(8, 200, 1, 100) > 0.99);
        assert!(guarantee(8, 200, 2, 0) < f64::EPSILON);
    }
}
