//! Cones of influence: the part of a configuration that decides whether one job behaves, or one
//! property holds. A supervisor's jobs are loosely coupled, so the parts are small, and many of
//! them are alike.
//!
//! What all jobs share stays in every part: the supervisor's stop, its maintenance and reloads, and
//! whether there is anything else that runs. A job that stands for the rest sees to that.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use steersman_engine::config::{Clause, Command, Config, Job, Name, SourceName, Trigger};
use steersman_engine::{Code, RunKind};

use crate::explore::plan::{NodeSpec, Setting};
use crate::property::expression::fits;
use crate::property::{Property, Suite};

/// How far a dependence is followed.
const DEPTH_MAX: usize = 4;
/// A larger part is cut.
const JOBS_MAX: usize = 8;
/// Stands for the jobs of a node that are in no cone.
pub const OTHERS: &str = "(others)";

/// A part of a setting that can be judged by itself.
#[derive(Clone, Debug)]
pub struct Cone {
    /// What it is about.
    pub about: String,
    /// The part.
    pub setting: Arc<Setting>,
    /// What must hold in it.
    pub suite: Arc<Suite>,
    /// Whether something that has influence was left out: it was too far away, or too much.
    pub is_cut: bool,
    /// How many parts are alike; this one stands for them.
    pub alike: usize,
}

/// Cuts a setting into the cones of its jobs and properties; parts that are alike come once, and
/// none lies within another.
pub fn cones(setting: &Setting, suite: &Suite) -> Vec<Cone> {
    let mut known: BTreeMap<String, usize> = BTreeMap::new();
    let mut cones: Vec<Cone> = Vec::new();
    let mut add = |cone: Cone| {
        let shape = shape_of(&cone);
        match known.get(&shape) {
            Some(place) => cones[*place].alike += 1,
            None => {
                known.insert(shape, cones.len());
                cones.push(cone);
            }
        }
    };
    for (index, node) in setting.nodes.iter().enumerate() {
        for members in outermost(&node.config) {
            let about = format!("\"{}\"", node.config.jobs[members.target].name);
            let parts = BTreeMap::from([(index, members)]);
            add(cone(setting, suite, &parts, about, None));
        }
    }
    // Only Consul could decide about properties of a setting that has one.
    let judged = setting.consul.is_none().then_some(&suite.properties);
    for property in judged.into_iter().flatten() {
        let mut parts = BTreeMap::new();
        for (index, node) in setting.nodes.iter().enumerate() {
            let targets = targets_of(property, node);
            if !targets.is_empty() {
                parts.insert(index, closure(&node.config, &targets));
            }
        }
        if !parts.is_empty() {
            let about = format!("the property \"{}\"", property.name);
            add(cone(setting, suite, &parts, about, Some(property)));
        }
    }
    cones
}

/// The jobs of one node that are in a cone.
#[derive(Clone, Debug)]
struct Members {
    target: usize,
    /// The jobs, with whether what they depend on was left out.
    jobs: BTreeMap<usize, bool>,
    is_cut: bool,
}

/// Gives the cones of all jobs that do not lie within that of another.
fn outermost(config: &Config) -> Vec<Members> {
    let all: Vec<_> = (0..config.jobs.len()).map(|job| closure(config, &[job])).collect();
    let is_inside = |one: &Members, other: &Members| {
        let is_part = one.jobs.iter().all(|(job, cut)| other.jobs.get(job) == Some(cut));
        is_part && (one.jobs.len() < other.jobs.len() || one.target > other.target)
    };
    let kept = all
        .iter()
        .filter(|one| !all.iter().any(|other| one.target != other.target && is_inside(one, other)));
    kept.cloned().collect()
}

fn targets_of(property: &Property, node: &NodeSpec) -> Vec<usize> {
    let mut targets = BTreeSet::new();
    for (subject, _) in property.rule.subjects() {
        if !fits(&subject.node, &node.name) {
            continue;
        }
        for (nth, job) in node.config.jobs.iter().enumerate() {
            let is_meant = subject.job.as_ref().is_none_or(|pattern| fits(pattern, &job.name));
            if is_meant {
                targets.insert(nth);
            }
        }
    }
    targets.into_iter().collect()
}

/// Collects everything that has influence on some jobs, nearest first.
fn closure(config: &Config, targets: &[usize]) -> Members {
    let mut jobs = BTreeMap::new();
    let mut is_cut = false;
    let mut front: Vec<usize> = targets.to_vec();
    for depth in 0..=DEPTH_MAX {
        let mut next = Vec::new();
        for job in front {
            if jobs.contains_key(&job) {
                continue;
            }
            if jobs.len() >= JOBS_MAX {
                is_cut = true;
                continue;
            }
            let influences = influences_on(config, job);
            let is_last = depth == DEPTH_MAX && !influences.is_empty();
            is_cut |= is_last;
            jobs.insert(job, is_last);
            next.extend(influences);
        }
        front = next;
    }
    // What refers to something that was left out starts by itself.
    let left_out = |job: usize| {
        referred(&config.jobs[job]).any(|name| {
            let place = config.jobs.iter().position(|job| job.name == *name);
            place.is_some_and(|place| !jobs.contains_key(&place))
        })
    };
    let cut: Vec<_> = jobs.keys().copied().filter(|job| left_out(*job)).collect();
    for job in cut {
        jobs.insert(job, true);
    }
    Members { target: targets.first().copied().unwrap_or_default(), jobs, is_cut }
}

/// Lists the jobs that decide when a job starts, and how long its stop takes.
fn influences_on(config: &Config, job: usize) -> Vec<usize> {
    let own = &config.jobs[job];
    let names: BTreeSet<&Name> = referred(own).collect();
    let is_hook = |other: &Job| {
        clauses(&other.trigger).iter().any(|clause| {
            matches!(clause.code, Code::Stopping | Code::Stopped)
                && clause.source == SourceName::Job(own.name.clone())
        })
    };
    // A job that is not advertised and gates advertised ones ends after them.
    let is_carried = |other: &Job| {
        own.service.is_none()
            && own.health.is_some()
            && other.service.is_some()
            && clauses(&other.trigger).iter().any(|clause| {
                clause.code == Code::Healthy && clause.source == SourceName::Job(own.name.clone())
            })
    };
    let has_influence = |(_, other): &(usize, &Arc<Job>)| {
        names.contains(&other.name) || is_hook(other) || is_carried(other)
    };
    let jobs = config.jobs.iter().enumerate();
    jobs.filter(has_influence).map(|(nth, _)| nth).filter(|nth| *nth != job).collect()
}

fn referred(job: &Job) -> impl Iterator<Item = &Name> {
    clauses(&job.trigger).iter().filter_map(|clause| match &clause.source {
        SourceName::Job(name) | SourceName::Check(name) => Some(name),
        SourceName::Global | SourceName::Watch(_) | SourceName::Lock(_) | SourceName::Signal(_) => {
            None
        }
    })
}

fn clauses(trigger: &Trigger) -> &[Clause] {
    match trigger {
        Trigger::On(clause) => core::slice::from_ref(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses,
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &[],
    }
}

fn cone(
    setting: &Setting,
    suite: &Suite,
    parts: &BTreeMap<usize, Members>,
    about: String,
    property: Option<&Property>,
) -> Cone {
    let nodes = parts.iter().map(|(index, members)| part_of(&setting.nodes[*index], members));
    let nodes = nodes.collect();
    let manners = setting.manners.clone();
    let prepare = setting.prepare.clone();
    let setting = Setting { nodes, manners, prepare, ..Setting::default() };
    let properties = property.into_iter().cloned().collect();
    let suite = Suite { properties, ..suite.clone() };
    Cone {
        about,
        setting: Arc::new(setting),
        suite: Arc::new(suite),
        is_cut: parts.values().any(|members| members.is_cut),
        alike: 1,
    }
}

/// Gives a node with some of its jobs only, and one that stands for the others.
fn part_of(node: &NodeSpec, members: &Members) -> NodeSpec {
    let mut config = node.config.clone();
    let mut jobs = Vec::new();
    for (job, is_last) in &members.jobs {
        let mut job = (*node.config.jobs[*job]).clone();
        if *is_last {
            job.trigger = Trigger::Startup;
        }
        jobs.push(Arc::new(job));
    }
    if jobs.len() < node.config.jobs.len() {
        jobs.push(Arc::new(Job::new(OTHERS, Command::new(["others"]))));
    }
    let watched: BTreeSet<Name> = jobs
        .iter()
        .flat_map(|job| clauses(&job.trigger))
        .filter_map(|clause| match &clause.source {
            SourceName::Watch(name) => Some(name.clone()),
            _ => None,
        })
        .collect();
    config.watches.retain(|watch| watched.contains(&watch.name));
    config.locks.retain(|lock| {
        jobs.iter().any(|job| job.while_lock.as_ref() == Some(&lock.name))
            && lock.healthy.as_ref().is_none_or(|name| jobs.iter().any(|job| job.name == *name))
    });
    config.jobs = jobs;
    NodeSpec { config, ..node.clone() }
}

/// Describes a cone without its names: equal for parts that are alike.
fn shape_of(cone: &Cone) -> String {
    let mut shape = format!("{:?} {}", cone.suite, cone.is_cut);
    // Properties call jobs by name.
    let has_names = !cone.suite.properties.is_empty();
    for node in &cone.setting.nodes {
        let places: BTreeMap<Name, String> = node
            .config
            .jobs
            .iter()
            .enumerate()
            .map(|(nth, job)| (job.name.clone(), format!("#{nth}")))
            .collect();
        let mut config = node.config.clone();
        for job in &mut config.jobs {
            let mut plain = (**job).clone();
            for kind in [RunKind::Main, RunKind::Check] {
                let role = (node.name.clone(), job.name.clone(), kind);
                shape.push_str(&format!("{:?}", cone.setting.manners.find(&role)));
            }
            if !has_names {
                strip(&mut plain, &places);
            }
            *job = Arc::new(plain);
        }
        shape.push_str(&format!("{config:?} {:?}", node.clock_rate_ppm));
        if has_names {
            shape.push_str(&node.name);
        }
    }
    shape
}

/// Takes out what makes no difference to the engine's decisions.
fn strip(job: &mut Job, places: &BTreeMap<Name, String>) {
    let rename = |name: &mut Name| {
        if let Some(place) = places.get(name) {
            *name = Name::from(&**place);
        }
    };
    rename(&mut job.name);
    let any = |command: &mut Option<Arc<Command>>| {
        if command.is_some() {
            *command = Some(Arc::new(Command::default()));
        }
    };
    any(&mut job.command);
    if let Some(health) = &mut job.health {
        any(&mut health.command);
    }
    if let Some(service) = &mut job.service {
        service.port = 0;
        service.address = None;
        service.tags.clear();
        service.meta.clear();
    }
    let clauses = match &mut job.trigger {
        Trigger::On(clause) => core::slice::from_mut(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses.as_mut_slice(),
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &mut [],
    };
    for clause in clauses {
        if let SourceName::Job(name) | SourceName::Check(name) = &mut clause.source {
            rename(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use steersman_engine::Code;

    use super::*;
    use crate::fixture::{config, job, once, secs};

    fn cones_of(config: Config) -> Vec<Cone> {
        cones(&Setting::of("node", config), &Suite::built_in())
    }

    fn jobs_of(cone: &Cone) -> Vec<&str> {
        cone.setting.nodes[0].config.jobs.iter().map(|job| &*job.name).collect()
    }

    #[test]
    fn a_cone_holds_what_a_job_waits_for_and_what_its_stop_waits_for() {
        let config = config([
            job("db").checked(secs(1)),
            job("app").on(once(Code::Healthy, "db")),
            job("bye").on(once(Code::Stopping, "app")),
            job("other"),
        ]);
        let cones = cones_of(config);
        assert!(cones.iter().any(|cone| jobs_of(cone) == ["db", "app", "bye", OTHERS]));
        assert!(cones.iter().any(|cone| jobs_of(cone) == ["other", OTHERS]));
        assert_eq!(cones.len(), 2);
    }

    #[test]
    fn parts_that_are_alike_come_once() {
        let jobs = (0..50).flat_map(|nth| {
            let (db, app) = (format!("db-{nth}"), format!("app-{nth}"));
            [job(&db).checked(secs(1)), job(&app).on(once(Code::Healthy, &db))]
        });
        let cones = cones_of(config(jobs));
        assert_eq!(cones.len(), 1);
        assert_eq!(cones[0].alike, 50);
    }

    #[test]
    fn what_is_too_far_away_is_left_out_and_that_is_said() {
        let jobs = (0..7).map(|nth| match nth {
            0 => job("job-0"),
            _ => {
                job(&format!("job-{nth}")).on(once(Code::ExitSuccess, &format!("job-{}", nth - 1)))
            }
        });
        let cones = cones_of(config(jobs));
        let last = cones.iter().find(|cone| jobs_of(cone).contains(&"job-6")).expect("a cone");
        assert!(last.is_cut);
        assert_eq!(jobs_of(last).len(), DEPTH_MAX + 2);
        assert_eq!(last.setting.nodes[0].config.jobs[0].trigger, Trigger::Startup);
    }
}
