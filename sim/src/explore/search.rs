//! The search: seeds, several at a time, the same result however many at a time.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::explore::manner::{Manners, Span};
use crate::explore::perform::{Begun, Performance, PlannedParts, perform};
use crate::explore::plan::{Casting, Deed, Plan, Setting, When};
use crate::explore::swarm::{FaultCounts, FaultSet, Limits, Swarm};
use crate::program::cue::Told;
use crate::property::{Breach, Judge, Suite};
use crate::random::{Random, mix};
use crate::script::Draws;
use crate::tap::{Level, Line, Seen};
use crate::trace::{Divergence, first_difference};
use crate::world::Action;
use steersman_engine::Time;

/// More different breaches than this end a search.
const BREACHES_MAX: usize = 16;

/// What is searched for, and where.
#[derive(Clone, Debug)]
pub struct Search {
    /// The nodes and how their processes behave.
    pub setting: Arc<Setting>,
    /// What must hold.
    pub suite: Arc<Suite>,
    /// Which kinds of trouble there may be.
    pub faults: FaultSet,
    /// How long runs are.
    pub limits: Limits,
    /// Done in every run, besides what is drawn.
    pub scripted: Vec<Scripted>,
    /// Which seeds.
    pub seeds: Range<u64>,
    /// Only every so-manieth seed, from the how-manieth: `(index, count)`.
    pub shard: (u64, u64),
    /// How many threads.
    pub jobs: usize,
    /// Whether every run is made twice and compared.
    pub check_determinism: bool,
}

/// Something that a scenario does in every run, at a time drawn from a range.
#[derive(Clone, Debug, PartialEq)]
pub struct Scripted {
    /// When.
    pub at: Span,
    /// To which node.
    pub node: Arc<str>,
    /// What, and how long after.
    pub actions: Vec<(Span, Action)>,
}

impl Scripted {
    fn put(&self, plan: &mut Plan, random: Random) {
        let mut at = Time(0) + self.at.draw(random.stream("at"));
        for (nth, (after, action)) in (0..).zip(&self.actions) {
            at = at + after.draw(random.stream("after").keyed(nth));
            let (node, action) = (self.node.clone(), action.clone());
            plan.deeds.push(Deed { when: When::At(at), node, action });
        }
        plan.calm_from = plan.calm_from.max(at);
    }
}

/// What a search found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// How many runs were made.
    pub runs: u64,
    /// How many inputs engines took in.
    pub inputs: u64,
    /// How much time passed in the simulated worlds, in nanoseconds.
    pub simulated_ns: u128,
    /// Every different breach, with the first seed that showed it and how many did.
    pub breaches: Vec<FoundBreach>,
    /// Which properties were reached at least once.
    pub reached: Vec<u64>,
    /// Which jobs ran at least once, by node and name.
    pub started: BTreeSet<(Arc<str>, Arc<str>)>,
    /// Seeds whose second run went another way.
    pub unsteady: Vec<u64>,
    /// Where the two runs of the first of them part, with its seed.
    pub divergence: Option<(u64, Divergence)>,
    /// A hash over all runs, in order: equal on every machine.
    pub fingerprint: u64,
}

/// One breach and who showed it.
#[derive(Clone, Debug)]
pub struct FoundBreach {
    /// What was broken.
    pub breach: Breach,
    /// The first seed.
    pub seed: u64,
    /// How many seeds.
    pub count: u64,
}

/// How far a search has come; read while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Runs made.
    pub runs: AtomicU64,
    /// Inputs taken in.
    pub inputs: AtomicU64,
    /// Breaches seen, repeated ones included.
    pub breaches: AtomicU64,
    /// Set to end the search early.
    pub stop: AtomicBool,
    /// What trouble was made.
    pub faults: Arc<FaultCounts>,
    /// Which of the first 64 properties were reached, a bit each.
    pub reached: AtomicU64,
}

impl Progress {
    fn reach(&self, reached: impl Iterator<Item = bool>) {
        let bits = reached.take(64).enumerate();
        let bits = bits.fold(0, |bits, (nth, reached)| bits | u64::from(reached) << nth);
        self.reached.fetch_or(bits, Ordering::Relaxed);
    }

    /// Tells whether a property was reached, by its number in the suite.
    pub fn is_reached(&self, nth: usize) -> bool {
        nth < 64 && self.reached.load(Ordering::Relaxed) >> nth & 1 == 1
    }
}

impl Found {
    pub(crate) fn of(properties: usize) -> Found {
        Found { reached: vec![0; properties], ..Found::default() }
    }

    /// Adds what others found; the order does not matter.
    fn add(&mut self, other: Found) {
        self.runs += other.runs;
        self.inputs += other.inputs;
        self.simulated_ns += other.simulated_ns;
        self.fingerprint = self.fingerprint.wrapping_add(other.fingerprint);
        self.started.extend(other.started);
        self.unsteady.extend(other.unsteady);
        let is_first =
            |known: &(u64, Divergence)| other.divergence.as_ref().is_none_or(|new| known.0 < new.0);
        if !self.divergence.as_ref().is_some_and(is_first) {
            self.divergence = other.divergence;
        }
        for (total, reached) in self.reached.iter_mut().zip(other.reached) {
            *total += reached;
        }
        for breach in other.breaches {
            self.add_breach(breach);
        }
    }

    /// Adds a breach that another strategy found, when it is new.
    pub(crate) fn note(&mut self, new: &FoundBreach) {
        if !self.breaches.iter().any(|known| known.breach.is_like(&new.breach)) {
            self.breaches.push(new.clone());
        }
    }

    fn add_breach(&mut self, new: FoundBreach) {
        let known = self.breaches.iter_mut().find(|known| known.breach.is_like(&new.breach));
        let Some(known) = known else {
            self.breaches.push(new);
            return;
        };
        known.count += new.count;
        if new.seed < known.seed {
            known.seed = new.seed;
            known.breach = new.breach;
        }
    }
}

impl Search {
    /// Searches all seeds.
    pub fn go(&self, progress: &Progress) -> Found {
        let next = AtomicU64::new(self.seeds.start);
        let found = Mutex::new(Found::of(self.suite.properties.len()));
        std::thread::scope(|scope| {
            for _ in 0..self.jobs.max(1) {
                scope.spawn(|| {
                    let own = self.work(&next, progress);
                    found.lock().unwrap_or_else(PoisonError::into_inner).add(own);
                });
            }
        });
        let mut found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        found.breaches.sort_by_key(|breach| breach.seed);
        found.breaches.truncate(BREACHES_MAX);
        found.unsteady.sort_unstable();
        found
    }

    /// Searches all seeds on the caller's thread.
    pub fn go_here(&self, progress: &Progress) -> Found {
        self.work(&AtomicU64::new(self.seeds.start), progress)
    }

    fn work(&self, next: &AtomicU64, progress: &Progress) -> Found {
        let mut found = Found::of(self.suite.properties.len());
        while !progress.stop.load(Ordering::Relaxed) {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= self.seeds.end {
                break;
            }
            if seed % self.shard.1.max(1) == self.shard.0 {
                self.run(seed, progress, &mut found);
            }
        }
        found
    }

    fn run(&self, seed: u64, progress: &Progress, found: &mut Found) {
        let level = if self.check_determinism { Level::Everything } else { Level::Signs };
        let (performance, judge) = self.perform(seed, level, &progress.faults);
        if self.check_determinism {
            let (again, _) = self.perform(seed, level, &Arc::default());
            let is_steady = again.fingerprint == performance.fingerprint
                && again.lines == performance.lines
                && again.breach == performance.breach;
            if !is_steady {
                found.unsteady.push(seed);
                let divergence = first_difference(&self.setting, &performance, &again);
                let is_first = found.divergence.as_ref().is_none_or(|(known, _)| seed < *known);
                if let Some(divergence) = divergence.filter(|_| is_first) {
                    found.divergence = Some((seed, divergence));
                }
            }
        }
        self.note(seed, (performance, &judge), progress, found);
    }

    fn note(
        &self,
        seed: u64,
        (performance, judge): (Performance, &Judge),
        progress: &Progress,
        found: &mut Found,
    ) {
        progress.runs.fetch_add(1, Ordering::Relaxed);
        progress.inputs.fetch_add(performance.inputs, Ordering::Relaxed);
        progress.breaches.fetch_add(u64::from(performance.breach.is_some()), Ordering::Relaxed);
        found.runs += 1;
        found.inputs += performance.inputs;
        found.simulated_ns += u128::from(performance.end.0);
        let print = mix(performance.fingerprint ^ mix(seed));
        found.fingerprint = found.fingerprint.wrapping_add(print);
        for (total, reached) in found.reached.iter_mut().zip(judge.reached()) {
            *total += u64::from(reached);
        }
        progress.reach(judge.reached());
        for node in &judge.view().nodes {
            for (name, _) in node.jobs.iter().filter(|(_, job)| job.runs > 0) {
                let key = (node.name.clone(), name.clone());
                if !found.started.contains(&key) {
                    found.started.insert(key);
                }
            }
        }
        if let Some(breach) = performance.breach {
            found.add_breach(FoundBreach { breach, seed, count: 1 });
        }
    }

    fn perform(&self, seed: u64, level: Level, counts: &Arc<FaultCounts>) -> (Performance, Judge) {
        let swarm = self.swarm(seed, counts);
        let mut judge = Judge::new(self.suite.clone(), swarm.plan.calm_from);
        let parts = Arc::new(swarm.parts);
        let performance = perform(&self.setting, &swarm.plan, parts, &mut judge, level);
        (performance, judge)
    }

    fn swarm(&self, seed: u64, counts: &Arc<FaultCounts>) -> Swarm {
        let mut swarm = Swarm::draw(&self.setting, seed, self.faults, self.limits, counts);
        let random = Random::new(seed).stream("scripted");
        for (nth, scripted) in (0..).zip(&self.scripted) {
            scripted.put(&mut swarm.plan, random.keyed(nth));
        }
        swarm.plan.end = swarm.plan.calm_from + self.limits.settle;
        swarm.parts.keep_calm_from(swarm.plan.calm_from);
        swarm
    }

    /// Gives what is done in every run, each thing as early as it may be.
    pub(crate) fn scripted_at_the_earliest(&self) -> Vec<(Time, Arc<str>, Action)> {
        let mut all = Vec::new();
        for scripted in &self.scripted {
            let mut at = Time(0) + scripted.at.from;
            for (after, action) in &scripted.actions {
                at = at + after.from;
                all.push((at, scripted.node.clone(), action.clone()));
            }
        }
        all.sort_by_key(|(at, ..)| *at);
        all
    }

    /// Makes a seed's run alone and keeps all its lines.
    pub fn perform_alone(&self, seed: u64) -> Performance {
        self.perform(seed, Level::Everything, &Arc::default()).0
    }

    /// Makes the beginning of a seed's run, which ends before the last trouble does.
    pub fn begin(&self, seed: u64, until: Time) -> Begun {
        let Swarm { plan, parts } = self.swarm(seed, &Arc::default());
        let judge = Judge::new(self.suite.clone(), plan.calm_from);
        Begun::new(&self.setting, &plan, Arc::new(parts), judge, until)
    }

    /// Goes on with what has begun in the same way, up to an instant and judging nothing, and keeps
    /// all lines.
    pub fn look_ahead(&self, seed: u64, begun: Begun, end: Time) -> Performance {
        let Swarm { mut plan, parts } = self.swarm(seed, &Arc::default());
        plan.end = plan.end.min(end);
        let judge = Judge::new(Arc::default(), plan.calm_from);
        let level = Level::Everything;
        begun.go_on(&self.setting, &plan, Arc::new(parts), Some(judge), level).0
    }

    /// Goes on with what has begun in the same way, to its end: what is found is what would have
    /// been found in the whole run.
    pub fn go_on(&self, seed: u64, begun: Begun) -> Found {
        let mut found = Found::of(self.suite.properties.len());
        let Swarm { plan, parts } = self.swarm(seed, &Arc::default());
        let (performance, judge) =
            begun.go_on(&self.setting, &plan, Arc::new(parts), None, Level::Signs);
        self.note(seed, (performance, &judge), &Progress::default(), &mut found);
        found
    }

    /// Writes down what decided a seed's run: its plan in full.
    pub fn plan_of(&self, seed: u64) -> Plan {
        let swarm = self.swarm(seed, &Arc::default());
        let mut judge = Judge::new(self.suite.clone(), swarm.plan.calm_from);
        let parts = Arc::new(swarm.parts.clone());
        let level = Level::Everything;
        let performance = perform(&self.setting, &swarm.plan, parts, &mut judge, level);
        let castings = castings_of(&self.setting, &performance);
        Plan { castings, ..swarm.plan }
    }
}

/// Lists the processes that did not behave in the ordinary way.
fn castings_of(setting: &Setting, performance: &Performance) -> Vec<Casting> {
    let manners: &Manners = &setting.manners;
    let mut draws = draws_of(&performance.lines);
    let castings = performance.lines.iter().enumerate().filter_map(|(place, line)| {
        let Seen::Cast(run, nth, job, script) = &line.seen else { return None };
        let node = setting.nodes.get(line.node.index())?.name.clone();
        let mut script = (**script).clone();
        if script.draws != Draws::Shortest {
            script.draws = draws.remove(&place).map_or(Draws::Shortest, Draws::Listed);
        }
        if script == manners.ordinary(&(node.clone(), job.clone(), run.kind), line.at) {
            return None;
        }
        let (job, kind, nth) = (job.clone(), run.kind, *nth);
        Some(Casting { node, job, kind, nth, script })
    });
    castings.collect()
}

/// Lists the times that programs drew, by the line in which their process got its part.
fn draws_of(lines: &[Line]) -> BTreeMap<usize, BTreeMap<u32, Duration>> {
    let mut places = BTreeMap::new();
    let mut draws: BTreeMap<usize, BTreeMap<u32, Duration>> = BTreeMap::new();
    for (place, line) in lines.iter().enumerate() {
        match &line.seen {
            Seen::Cast(run, ..) => {
                places.insert((line.node, *run), place);
            }
            Seen::Told(run, Told::Drawn(nth, time)) => {
                if let Some(place) = places.get(&(line.node, *run)) {
                    draws.entry(*place).or_default().insert(*nth, *time);
                }
            }
            _ => {}
        }
    }
    draws
}

/// Runs a plan again.
pub fn replay(setting: &Setting, plan: &Plan, suite: &Arc<Suite>, level: Level) -> Performance {
    let mut judge = Judge::new(suite.clone(), plan.calm_from);
    let parts = Arc::new(PlannedParts::new(setting, plan));
    perform(setting, plan, parts, &mut judge, level)
}
