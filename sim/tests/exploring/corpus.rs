//! Small drawn configurations: the reduced search must say the same as the whole one.

use std::collections::BTreeSet;
use std::sync::Arc;

use steersman_engine::Code;
use steersman_engine::config::{Config, Trigger};
use steersman_engine::defect::Defect;
use steersman_sim::explore::cone::cones;
use steersman_sim::explore::course::{Course, LIVELOCK, Stage};
use steersman_sim::explore::exhaust::stage_of;
use steersman_sim::explore::model::{Bounds, explore};
use steersman_sim::fixture::{JobBuilder, config, each, job, once, secs};
use steersman_sim::random::Random;
use steersman_sim::tap::Level;

use crate::courses::setting;
use crate::strategies::search_of;

/// Pairs of a checked job and one that waits for it, all alike.
pub(crate) fn many(jobs: usize) -> Config {
    let pairs = (0..jobs / 2).flat_map(|nth| {
        let (db, app) = (format!("db-{nth}"), format!("app-{nth}"));
        [job(&db).checked(secs(2)).unlimited(), job(&app).on(once(Code::Healthy, &db)).restarts(1)]
    });
    config(pairs)
}

/// Groups of four jobs, each with figures of its own.
pub(crate) fn unlike(jobs: u64) -> Config {
    let groups = (0..jobs / 4).flat_map(|nth| {
        let name = |what: &str| format!("{what}-{nth}");
        [
            job(&name("prepare")),
            job(&name("db")).on(once(Code::ExitSuccess, &name("prepare"))).checked(secs(2 + nth)),
            job(&name("app")).on(once(Code::Healthy, &name("db"))).restarts(1),
            job(&name("bye")).on(once(Code::Stopping, &name("app"))),
        ]
    });
    config(groups)
}

/// A little of everything.
pub(crate) fn sample() -> Config {
    config([
        job("prepare"),
        job("db").on(once(Code::ExitSuccess, "prepare")).checked(secs(2)).unlimited(),
        job("app").on(once(Code::Healthy, "db")).checked(secs(1)).restarts(3),
        job("before-stop").on(once(Code::Stopping, "app")),
        job("ticker").every(secs(5)).timeout(secs(3)),
        job("on-change").on(each(Code::Unhealthy, "db")),
        job("sidecar").unlimited().kill_timeout(secs(1)),
    ])
}

/// Defects that show in small configurations, and none.
const DEFECTS: [Option<Defect>; 6] = [
    None,
    Some(Defect::RestartBesideChild),
    Some(Defect::StartsAfterStop),
    Some(Defect::KilledAtOnce),
    Some(Defect::HealthyEveryTime),
    Some(Defect::StoppedBeforeGone),
];

fn drawn(seed: u64) -> (Config, Option<Defect>) {
    let random = Random::new(seed);
    let count = random.stream("count").between(2, 3);
    let jobs = (0..count).map(|nth| drawn_job(random.keyed(nth), nth));
    let defect = random.stream("defect").pick(&DEFECTS).copied().flatten();
    (config(jobs.collect::<Vec<_>>()), defect)
}

fn drawn_job(random: Random, nth: u64) -> JobBuilder {
    let mut new = job(&format!("job-{nth}"));
    if nth > 0 && random.stream("waits").happens(600_000) {
        let of = format!("job-{}", random.stream("of").below(nth));
        let codes = [Code::ExitSuccess, Code::Healthy, Code::Stopping, Code::ExitFailed];
        let code = random.stream("code").pick(&codes).copied().unwrap_or(Code::Healthy);
        new = match random.stream("each").happens(300_000) && code != Code::Stopping {
            true => new.on(each(code, &of)),
            false => new.when(Trigger::On(once(code, &of))),
        };
    }
    if random.stream("checked").happens(400_000) {
        new = new.checked(secs(random.stream("interval").between(1, 3)));
    }
    match random.stream("restarts").below(3) {
        0 => new,
        1 => new.restarts(1),
        _ => new.unlimited(),
    }
}

/// What was said about one configuration, and in how many states.
struct Said {
    broken: BTreeSet<(String, String)>,
    states: usize,
    is_complete: bool,
}

fn say(stage: Stage, faults: u32) -> Said {
    let bounds = Bounds { states_max: 300_000, verdicts_max: usize::MAX, ..Bounds::default() };
    let mut broken = BTreeSet::new();
    let course = Course::new(Arc::new(stage), faults, Level::Signs);
    let found = explore(course, bounds, |breach| {
        // A round counts only when its run is repeated and goes on: `exhaust` sees to that.
        if *breach.property != *LIVELOCK {
            broken.insert((breach.property.to_string(), plain(&breach.site)));
        }
        false
    });
    Said { broken, states: found.states, is_complete: found.is_complete }
}

/// Leaves the names of jobs out: a part may be searched for another that is like it.
fn plain(site: &str) -> String {
    site.split('"').step_by(2).collect()
}

/// Compares the whole search of a configuration with the reduced ones; gives the numbers of states.
fn compare(seed: u64, faults: u32) -> Option<[usize; 4]> {
    let (config, defect) = drawn(seed);
    let search = search_of(setting(config, defect));
    let whole = |uses_symmetry: bool, reduces_order: bool| {
        let mut stage = Stage::new(search.setting.clone(), search.suite.clone(), search.faults);
        stage.faults = stage_of(&search, &cones(&search.setting, &search.suite)[0]).faults;
        (stage.uses_symmetry, stage.reduces_order) = (uses_symmetry, reduces_order);
        say(stage, faults)
    };
    let naive = whole(false, false);
    if !naive.is_complete {
        return None;
    }
    let ordered = whole(false, true);
    let alike = whole(true, true);
    let mut sliced = Said { broken: BTreeSet::new(), states: 0, is_complete: true };
    for cone in cones(&search.setting, &search.suite) {
        let one = say(stage_of(&search, &cone), faults);
        sliced.broken.extend(one.broken);
        sliced.states += one.states;
        sliced.is_complete &= one.is_complete;
    }
    for (name, said) in [("order", &ordered), ("symmetry", &alike), ("cones", &sliced)] {
        assert!(said.is_complete, "seed {seed}: {name}");
        let verdicts = (said.broken.is_empty(), naive.broken.is_empty());
        assert_eq!(verdicts.0, verdicts.1, "seed {seed}, {defect:?}: {name}: {:?}", naive.broken);
    }
    Some([naive.states, ordered.states, alike.states, sliced.states])
}

#[test]
fn a_reduced_search_says_what_the_whole_one_says() {
    let compared = (0..12).filter_map(|seed| compare(seed, 1)).count();
    assert!(compared >= 10, "only {compared} were small enough");
}

/// The whole corpus, and how much each reduction saves, for `docs/exploration.md`.
#[test]
#[ignore = "takes minutes: run it to see the figures"]
fn figures_of_the_corpus() {
    for faults in [1, 2] {
        let all: Vec<_> = (0..240).filter_map(|seed| compare(seed, faults)).collect();
        let median = |of: &dyn Fn(&[usize; 4]) -> f64| {
            let mut ratios: Vec<_> = all.iter().map(of).collect();
            ratios.sort_by(f64::total_cmp);
            ratios[ratios.len() / 2]
        };
        let ratio = |from: usize, to: usize| {
            move |one: &[usize; 4]| one[from] as f64 / one[to].max(1) as f64
        };
        println!(
            "{faults} faults, {} of 240: order {:.2}, symmetry {:.2}, cones {:.2}, all {:.2}",
            all.len(),
            median(&ratio(0, 1)),
            median(&ratio(1, 2)),
            median(&ratio(2, 3)),
            median(&ratio(0, 3))
        );
        println!("  the most: {:?}", all.iter().max_by_key(|one| one[0] / one[3].max(1)));
    }
}

/// Sound engines make no round, whatever is out of the ordinary.
#[test]
#[ignore = "takes minutes: run it after changes of the rule of rounds"]
fn sound_engines_make_no_round() {
    for seed in (0..240).filter(|seed| drawn(*seed).1.is_none()) {
        let search = search_of(setting(drawn(seed).0, None));
        for cone in cones(&search.setting, &search.suite) {
            let stage = Arc::new(stage_of(&search, &cone));
            let bounds = Bounds { states_max: 100_000, verdicts_max: 1, ..Bounds::default() };
            let found = explore(Course::new(stage, 2, Level::Signs), bounds, |_| true);
            let round = found.verdicts.first();
            assert!(
                round.is_none(),
                "seed {seed}: {round:#?}\n{:#?}",
                search.setting.nodes[0].config
            );
        }
    }
}
