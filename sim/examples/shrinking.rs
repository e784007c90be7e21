//! How well failing runs are made small: the table that `docs/determinism.md` quotes.
//!
//! `cargo run --release -p steersman-sim --example shrinking [SEEDS] [PER_DEFECT] [SECONDS]` plants
//! every defect of the engine in turn, searches, shrinks what fails, and sees whether less would do
//! by trying every smaller choice of what the failing run had out of the ordinary. Each defect gets
//! an equal share of the seconds that are left.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use steersman_engine::defect::Defect;
use steersman_sim::explore::{Performance, Plan, Progress, Search, When, replay};
use steersman_sim::property::Breach;
use steersman_sim::shrink::{Effort, Shrunk, shrink};
use steersman_sim::tap::Level;

#[path = "../tests/searching/sample.rs"]
#[expect(dead_code, reason = "the tests tell stories besides")]
mod sample;

/// No optimum is sought beyond so many inputs: the case counts as unknown.
const INPUTS_MAX: u64 = 4_000_000;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let seeds = arguments.next().and_then(Result::ok).unwrap_or(300);
    let each = arguments.next().and_then(Result::ok).unwrap_or(5);
    println!(
        "{:<26} {:>6} {:>7} {:>6} {:>5} {:>6} {:>9}  site",
        "defect", "seed", "things", "left", "best", "runs", "time"
    );
    let seconds = arguments.next().and_then(Result::ok).unwrap_or(170);
    let ends = Instant::now() + Duration::from_secs(seconds);
    let mut cases = Vec::new();
    let mut unseen = 0_usize;
    for (defect, left) in Defect::ALL.iter().zip((1..=Defect::ALL.len()).rev()) {
        let share = Share::of(ends, left, each);
        let search = sample::search(Some(*defect), seeds);
        let failing = failing(&search, each, share.search);
        if failing.is_empty() {
            unseen += 1;
        }
        for (seed, breach) in failing {
            let case = Case::of(*defect, &search, seed, &breach, share.optimum);
            println!("{}", case.line());
            cases.push(case);
        }
    }
    summary(&cases, unseen)
}

/// How long one defect may take.
struct Share {
    /// The search for failing runs.
    search: Duration,
    /// The search for the optimum of each.
    optimum: Duration,
}

impl Share {
    fn of(ends: Instant, defects: usize, each: u64) -> Share {
        let left = ends.saturating_duration_since(Instant::now());
        let all = left / u32::try_from(defects).unwrap_or(u32::MAX);
        let each = u32::try_from(each.max(1)).unwrap_or(u32::MAX);
        Share { search: all / 4, optimum: all / 2 / each }
    }
}

/// Lists the first seeds that fail, with what they break.
fn failing(search: &Search, each: u64, time_max: Duration) -> Vec<(u64, Breach)> {
    let began = Instant::now();
    let mut failing = Vec::new();
    for seed in search.seeds.clone() {
        if began.elapsed() > time_max {
            break;
        }
        let one = Search { seeds: seed..seed + 1, jobs: 1, ..search.clone() };
        let found = one.go(&Progress::default());
        failing.extend(found.breaches.into_iter().map(|found| (seed, found.breach)));
        if failing.len() as u64 >= each {
            break;
        }
    }
    failing
}

/// One failing run and what became of it.
struct Case {
    defect: Defect,
    seed: u64,
    things: usize,
    shrunk: Option<Shrunk>,
    took: Duration,
    is_same: bool,
    /// The fewest things that fail in the same way; none when it would take too long to know.
    best: Option<usize>,
}

impl Case {
    fn of(defect: Defect, search: &Search, seed: u64, breach: &Breach, time_max: Duration) -> Case {
        let plan = search.plan_of(seed);
        let began = Instant::now();
        let shrunk = shrink(&search.setting, &plan, &search.suite, Effort::default());
        let took = began.elapsed();
        let is_same = shrunk.as_ref().is_some_and(|shrunk| {
            let again = replay(&shrunk.setting, &shrunk.plan, &search.suite, Level::Signs);
            shrunk.breach.is_like(breach) && again.breach.is_some_and(|it| it.is_like(breach))
        });
        let left = shrunk.as_ref().map_or(0, |shrunk| shrunk.weight.1);
        let best = best(search, &plan, (breach, left), time_max);
        Case { defect, seed, things: plan.weight(), shrunk, took, is_same, best }
    }

    fn left(&self) -> usize {
        self.shrunk.as_ref().map_or(self.things, |shrunk| shrunk.weight.1)
    }

    fn line(&self) -> String {
        let best = self.best.map_or_else(|| String::from("?"), |best| best.to_string());
        let runs = self.shrunk.as_ref().map_or(0, |shrunk| shrunk.replays);
        format!(
            "{:<26} {:>6} {:>7} {:>6} {best:>5} {runs:>6} {:>6.1} ms  {}",
            format!("{:?}", self.defect),
            self.seed,
            self.things,
            self.left(),
            self.took.as_secs_f64() * 1e3,
            if self.is_same { "same" } else { "another" }
        )
    }
}

/// Finds the fewest things of a plan that fail in the same way, if there are fewer than `left`.
fn best(
    search: &Search,
    plan: &Plan,
    (breach, left): (&Breach, usize),
    time_max: Duration,
) -> Option<usize> {
    let began = Instant::now();
    let mut inputs = 0;
    let things = plan.weight();
    for size in 0..left {
        let mut chosen: Vec<usize> = (0..size).collect();
        loop {
            for ties in [true, false] {
                let performance = chosen_run(search, plan, &chosen, ties);
                inputs += performance.inputs;
                if performance.breach.is_some_and(|found| found.is_like(breach)) {
                    return Some(size);
                }
            }
            if inputs > INPUTS_MAX || began.elapsed() > time_max {
                return None;
            }
            if !advance(&mut chosen, things) {
                break;
            }
        }
    }
    Some(left)
}

/// Goes on to the next choice of the same size; tells whether there is one.
fn advance(chosen: &mut [usize], things: usize) -> bool {
    let size = chosen.len();
    for place in (0..size).rev() {
        if chosen[place] < things - size + place {
            chosen[place] += 1;
            for next in place + 1..size {
                chosen[next] = chosen[next - 1] + 1;
            }
            return true;
        }
    }
    false
}

/// Runs a plan with only some of its things.
fn chosen_run(search: &Search, plan: &Plan, chosen: &[usize], ties: bool) -> Performance {
    let castings = plan.castings.len();
    let is_deed = |nth: &&usize| **nth >= castings;
    let chosen_deeds = chosen.iter().filter(is_deed).map(|nth| &plan.deeds[nth - castings]);
    let chosen_castings = chosen.iter().filter(|nth| **nth < castings);
    let mut smaller = Plan {
        castings: chosen_castings.map(|nth| plan.castings[*nth].clone()).collect(),
        deeds: chosen_deeds.cloned().collect(),
        ties,
        ..plan.clone()
    };
    smaller.deeds.sort_by_key(|deed| match &deed.when {
        When::At(at) => *at,
        When::After { .. } => steersman_engine::Time(0),
    });
    replay(&search.setting, &smaller, &search.suite, Level::Signs)
}

fn summary(cases: &[Case], unseen: usize) -> ExitCode {
    if cases.is_empty() {
        println!("nothing failed: nothing was shrunk");
        return ExitCode::FAILURE;
    }
    let unknown = cases.iter().filter(|case| case.best.is_none()).count();
    let mut times: Vec<Duration> = cases.iter().map(|case| case.took).collect();
    times.sort_unstable();
    let same = cases.iter().filter(|case| case.is_same).count();
    let known: Vec<_> = cases.iter().filter_map(|case| Some((case.left(), case.best?))).collect();
    let is_near = |(left, best): &&(usize, usize)| left * 2 <= best * 3;
    let near = known.iter().filter(is_near).count();
    let (left, best) = known.iter().fold((0, 0), |sum, (left, best)| (sum.0 + left, sum.1 + best));
    let things: usize = cases.iter().map(|case| case.things).sum();
    println!(
        "\n{} failing runs of {} planted defects ({unseen} not seen)\n\
         time: median {:.1} ms, worst {:.1} ms\n\
         things out of the ordinary: {things} before, {} after\n\
         same property and site: {same} of {}\n\
         optimum known: {}, too long to know: {unknown}; within 1.5 times of it: {near}; \
         sum {left} against {best}",
        cases.len(),
        Defect::ALL.len() - unseen,
        times[times.len() / 2].as_secs_f64() * 1e3,
        times[times.len() - 1].as_secs_f64() * 1e3,
        cases.iter().map(Case::left).sum::<usize>(),
        cases.len(),
        known.len()
    );
    let goals = [
        times[times.len() / 2] <= Duration::from_millis(500),
        times[times.len() - 1] <= Duration::from_secs(5),
        same * 100 >= cases.len() * 99,
        near == known.len(),
    ];
    match goals.iter().all(|met| *met) {
        true => ExitCode::SUCCESS,
        false => {
            println!("a goal is missed: [median, worst, same, optimum] = {goals:?}");
            ExitCode::FAILURE
        }
    }
}
