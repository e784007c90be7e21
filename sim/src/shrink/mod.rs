//! Making a failing run small: fewer nodes, jobs and faults, ordinary processes, short times. What
//! is left breaks the same property in the same way.
//!
//! Nothing is taken from a list of draws: processes are known by node, job and number, and what is
//! done from outside is tied to what it followed, so that taking one thing away moves no other.

mod draws;
mod simpler;

use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use steersman_engine::config::{Config, SourceName, Trigger};
use steersman_engine::{Input, RunKind, Time};

use crate::explore::plan::{Anchor, Casting, Deed, Plan, Point, Setting, When};
use crate::explore::wound::Wound;
use crate::explore::{Performance, replay};
use crate::property::expression::{Owner, fits};
use crate::property::{Breach, Subject, Suite};
use crate::script::Script;
use crate::tap::{Level, Line, Seen};
use draws::length;
use simpler::{TIMES, rounder, simpler};

/// A failing run, made small.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// What is left of the setting.
    pub setting: Setting,
    /// What is left of the plan.
    pub plan: Plan,
    /// What it breaks.
    pub breach: Breach,
    /// How many runs it took.
    pub replays: u64,
    /// How heavy the plan was and is: castings and deeds.
    pub weight: (usize, usize),
}

/// How much work shrinking may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// At most so many runs.
    pub replays_max: u64,
    /// At most so many inputs in all runs together: a few seconds, whatever a run is like.
    pub inputs_max: u64,
    /// At most so long; none makes the result the same on every machine.
    pub time_max: Option<Duration>,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { replays_max: 20_000, inputs_max: 4_000_000, time_max: None }
    }
}

/// Makes a failing run small; none when the plan does not fail.
pub fn shrink(
    setting: &Setting,
    plan: &Plan,
    suite: &Arc<Suite>,
    effort: Effort,
) -> Option<Shrunk> {
    let performance = replay(setting, plan, suite, Level::Everything);
    let breach = performance.breach.clone()?;
    let mut shrinker = Shrinker {
        setting: setting.clone(),
        plan: plan.clone(),
        suite: suite.clone(),
        subjects: subjects_of(suite, &breach),
        breach,
        effort,
        began: Instant::now(),
        replays: 1,
        inputs: performance.inputs,
        wounds: performance.wounds.clone(),
    };
    let weight = plan.weight();
    shrinker.cut(&performance);
    loop {
        let before = (shrinker.size(), shrinker.replays);
        shrinker.pass();
        if shrinker.size() >= before.0 || shrinker.is_tired() {
            break;
        }
    }
    let weight = (weight, shrinker.plan.weight());
    let Shrinker { setting, plan, breach, replays, .. } = shrinker;
    Some(Shrunk { setting, plan, breach, replays, weight })
}

/// Lists what the broken property speaks of, with how many of it there must be: without those it
/// would be broken by default.
fn subjects_of(suite: &Suite, breach: &Breach) -> Vec<(Subject, u32)> {
    let broken = suite.properties.iter().find(|property| property.name == breach.property);
    broken.map(|property| property.rule.subjects()).unwrap_or_default()
}

struct Shrinker {
    subjects: Vec<(Subject, u32)>,
    setting: Setting,
    plan: Plan,
    suite: Arc<Suite>,
    breach: Breach,
    effort: Effort,
    began: Instant,
    replays: u64,
    inputs: u64,
    /// What the run that is made small leaves behind.
    wounds: BTreeSet<Wound>,
}

impl Shrinker {
    /// How big what is left is: things first, then their lengths.
    fn size(&self) -> (usize, usize, u64, u128) {
        let jobs: usize = self.setting.nodes.iter().map(|node| node.config.jobs.len()).sum();
        let numbers = self.plan.castings.iter().map(|one| u64::from(one.nth)).sum();
        (self.setting.nodes.len() + jobs, self.plan.weight(), numbers, length(&self.plan))
    }

    fn is_tired(&self) -> bool {
        let is_late = self.effort.time_max.is_some_and(|max| self.began.elapsed() > max);
        is_late || self.replays >= self.effort.replays_max || self.inputs >= self.effort.inputs_max
    }

    /// Tells whether everything that the broken property speaks of is still there.
    fn is_judgeable(&self, setting: &Setting) -> bool {
        self.subjects.iter().all(|(subject, least)| {
            let nodes = setting.nodes.iter().filter(|node| fits(&subject.node, &node.name));
            let count = match &subject.job {
                Some(_) if matches!(subject.kind, Owner::Key | Owner::Session) => return true,
                Some(name) if subject.kind == Owner::Lock => nodes
                    .flat_map(|node| &node.config.locks)
                    .filter(|it| fits(name, &it.name))
                    .count(),
                // Others may offer it as well.
                Some(name) if subject.kind == Owner::Service => {
                    let consul = setting.consul.as_ref();
                    let others = consul.and_then(|consul| consul.services.get(&**name));
                    let own = nodes.flat_map(|node| &node.config.jobs);
                    let own = own.filter(|it| it.service.is_some() && fits(name, &it.name));
                    own.count() + usize::from(others.copied().unwrap_or(0))
                }
                None => nodes.count(),
                Some(job) => {
                    nodes.flat_map(|node| node.jobs()).filter(|it| fits(job, &it.name)).count()
                }
            };
            count >= *least as usize
        })
    }

    /// Tells whether the broken property speaks of a job.
    fn is_spoken_of(&self, node: &str, job: &str) -> bool {
        self.subjects.iter().any(|(subject, _)| {
            let is_it = subject.job.as_ref().is_some_and(|pattern| fits(pattern, job));
            is_it && fits(&subject.node, node)
        })
    }

    /// Tries a smaller run, and keeps it when it still fails in the same way.
    fn keep_if_failing(&mut self, setting: Option<Setting>, plan: Plan) -> bool {
        if self.is_tired() || setting.as_ref().is_some_and(|setting| !self.is_judgeable(setting)) {
            return false;
        }
        self.replays += 1;
        let tried = setting.as_ref().unwrap_or(&self.setting);
        let performance = replay(tried, &plan, &self.suite, Level::Signs);
        self.inputs += performance.inputs;
        let is_mended = performance.wounds.is_subset(&self.wounds);
        let breach = performance.breach.filter(|breach| is_mended && breach.is_like(&self.breach));
        let Some(breach) = breach else { return false };
        self.breach = breach;
        self.plan = plan;
        if let Some(setting) = setting {
            self.setting = setting;
        }
        true
    }

    /// Drops what comes after the breach, and ties deeds to what they followed.
    fn cut(&mut self, performance: &Performance) {
        let end = self.breach.at;
        let mut plan = self.plan.clone();
        plan.castings.retain(|casting| is_played(&self.setting, performance, casting));
        plan.deeds.retain(|deed| !matches!(&deed.when, When::At(at) if *at > end));
        plan.end = plan.end.min(performance.end);
        self.keep_if_failing(None, plan);
        let mut plan = self.plan.clone();
        plan.ties = false;
        self.keep_if_failing(None, plan);
        let mut plan = self.plan.clone();
        for deed in &mut plan.deeds {
            tie(deed, &self.setting, &performance.lines);
        }
        self.keep_if_failing(None, plan);
    }

    fn pass(&mut self) {
        self.drop_nodes();
        self.drop_deeds();
        self.drop_castings();
        self.drop_jobs();
        self.drop_checks();
        self.lower_numbers();
        self.simplify_castings();
        self.shorten_draws();
        self.shorten_deeds();
        self.lower_anchors();
    }

    fn drop_nodes(&mut self) {
        let mut index = 0;
        while index < self.setting.nodes.len() && self.setting.nodes.len() > 1 {
            if self.has_vote(index) {
                index += 1;
                continue;
            }
            let mut setting = self.setting.clone();
            setting.nodes.remove(index);
            let plan = self.plan.clone();
            if !self.keep_if_failing(Some(setting), plan) {
                index += 1;
            }
        }
    }

    /// Tells whether a node has a member of a database that acknowledges only what several have:
    /// without its others each would be broken for that reason alone.
    fn has_vote(&self, index: usize) -> bool {
        let databases = &self.setting.applications.databases;
        let name = &self.setting.nodes[index].name;
        databases.iter().any(|database| database.sync > 0 && fits(&database.on, name))
    }

    /// Takes away a job that no other waits for.
    fn drop_jobs(&mut self) {
        for node in 0..self.setting.nodes.len() {
            let mut index = self.setting.nodes[node].config.jobs.len();
            while index > 0 {
                index -= 1;
                let config = &self.setting.nodes[node].config;
                if index >= config.jobs.len()
                    || is_awaited(config, index)
                    || self.is_programmed(node, index)
                {
                    continue;
                }
                let mut setting = self.setting.clone();
                let gone = setting.nodes[node].config.jobs.remove(index);
                for other in setting.nodes[node].home.variants.values_mut() {
                    other.jobs.retain(|job| job.name != gone.name);
                }
                let plan = self.plan.clone();
                self.keep_if_failing(Some(setting), plan);
            }
        }
    }

    /// Tells whether a job or its check does a program: what it does is what the run is about.
    fn is_programmed(&self, node: usize, index: usize) -> bool {
        let node = &self.setting.nodes[node];
        let Some(job) = node.config.jobs.get(index) else { return false };
        [RunKind::Main, RunKind::Check].into_iter().any(|kind| {
            let role = (node.name.clone(), job.name.clone(), kind);
            self.setting.manners.find(&role).is_some_and(|manner| manner.program.is_some())
        })
    }

    fn drop_checks(&mut self) {
        for node in 0..self.setting.nodes.len() {
            for index in 0..self.setting.nodes[node].config.jobs.len() {
                let job = &self.setting.nodes[node].config.jobs[index];
                let is_spoken_of = self.is_spoken_of(&self.setting.nodes[node].name, &job.name);
                // What others wait for must be able to come, or the story is about something else.
                let is_needed = job.service.is_some()
                    || self.is_programmed(node, index)
                    || is_awaited(&self.setting.nodes[node].config, index);
                if job.health.is_none() || is_needed || is_spoken_of {
                    continue;
                }
                let mut setting = self.setting.clone();
                let mut job = (**job).clone();
                job.health = None;
                setting.nodes[node].config.jobs[index] = Arc::new(job);
                let plan = self.plan.clone();
                self.keep_if_failing(Some(setting), plan);
            }
        }
    }

    fn drop_deeds(&mut self) {
        self.drop_some(
            |plan| plan.deeds.len(),
            |plan, from, to| {
                plan.deeds.drain(from..to);
            },
        );
    }

    fn drop_castings(&mut self) {
        self.drop_some(
            |plan| plan.castings.len(),
            |plan, from, to| {
                plan.castings.drain(from..to);
            },
        );
    }

    /// Takes away large parts first, then smaller ones, from the end to the beginning.
    fn drop_some(
        &mut self,
        count: impl Fn(&Plan) -> usize,
        drain: impl Fn(&mut Plan, usize, usize),
    ) {
        let mut size = count(&self.plan);
        while size > 0 {
            let mut end = count(&self.plan);
            while end > 0 {
                let from = end.saturating_sub(size);
                let mut plan = self.plan.clone();
                drain(&mut plan, from, end);
                self.keep_if_failing(None, plan);
                end = from.min(count(&self.plan));
            }
            size /= 2;
        }
    }

    fn simplify_castings(&mut self) {
        let mut index = 0;
        while index < self.plan.castings.len() {
            let casting = self.plan.castings[index].clone();
            let role = (casting.node.clone(), casting.job.clone(), casting.kind);
            let ordinary = self.setting.manners.ordinary(&role, Time(0));
            for simpler in simpler(&casting.script, &ordinary) {
                let mut plan = self.plan.clone();
                plan.castings[index].script = simpler(&self.plan.castings[index].script, &ordinary);
                if plan.castings[index].script != self.plan.castings[index].script {
                    self.keep_if_failing(None, plan);
                }
            }
            self.shorten_casting(index, &ordinary);
            index += 1;
        }
    }

    /// Makes the times of a part short and round, but no shorter than the ordinary ones.
    fn shorten_casting(&mut self, index: usize, ordinary: &Script) {
        for part in TIMES {
            let Some(long) = part(&mut self.plan.castings[index].script.clone()).copied() else {
                continue;
            };
            let least = part(&mut ordinary.clone()).copied().unwrap_or(Duration::from_millis(1));
            let is_wanted =
                |short: &Duration| *short > least || (long <= least && !short.is_zero());
            let shorter = rounder(long).into_iter().filter(is_wanted);
            for short in [least].into_iter().chain(shorter).filter(|short| *short < long) {
                let mut plan = self.plan.clone();
                if let Some(time) = part(&mut plan.castings[index].script) {
                    *time = short;
                }
                if self.keep_if_failing(None, plan) {
                    break;
                }
            }
        }
    }

    /// Lets an earlier process of the same job play the part.
    fn lower_numbers(&mut self) {
        for index in 0..self.plan.castings.len() {
            for nth in 1..self.plan.castings[index].nth {
                let mut plan = self.plan.clone();
                let casting = &mut plan.castings[index];
                let (node, job, kind) = (casting.node.clone(), casting.job.clone(), casting.kind);
                casting.nth = nth;
                let is_same = |one: &&Casting| {
                    one.nth == nth && one.kind == kind && one.job == job && one.node == node
                };
                let is_taken = plan.castings.iter().filter(is_same).count() > 1;
                if !is_taken && self.keep_if_failing(None, plan) {
                    break;
                }
            }
        }
    }

    fn shorten_deeds(&mut self) {
        for index in 0..self.plan.deeds.len() {
            let long = match &self.plan.deeds[index].when {
                When::At(at) => at.since(Time(0)),
                When::After { delay, .. } => *delay,
            };
            for short in rounder(long) {
                let mut plan = self.plan.clone();
                match &mut plan.deeds[index].when {
                    When::At(at) => *at = Time(0) + short,
                    When::After { delay, .. } => *delay = short,
                }
                if self.keep_if_failing(None, plan) {
                    break;
                }
            }
        }
    }
}

impl Shrinker {
    /// Ties deeds to the beginning, or to an earlier process of the same job.
    fn lower_anchors(&mut self) {
        for index in 0..self.plan.deeds.len() {
            let When::After { anchor, delay } = self.plan.deeds[index].when.clone() else {
                continue;
            };
            let mut tries = vec![When::At(Time(0)), When::At(Time(0) + Duration::from_millis(1))];
            tries.extend((1..anchor.nth).map(|nth| {
                let anchor = Anchor { nth, ..anchor.clone() };
                When::After { anchor, delay }
            }));
            for when in tries {
                let mut plan = self.plan.clone();
                plan.deeds[index].when = when;
                if self.keep_if_failing(None, plan) {
                    break;
                }
            }
        }
    }
}

fn is_played(setting: &Setting, performance: &Performance, casting: &Casting) -> bool {
    let Some(node) = setting.node(&casting.node) else { return false };
    performance.lines.iter().any(|line| {
        matches!(&line.seen, Seen::Cast(run, nth, job, _)
            if line.node.index() == node && *job == casting.job
                && run.kind == casting.kind && *nth == casting.nth)
    })
}

/// Ties a deed to the last thing that had happened to a process before it.
fn tie(deed: &mut Deed, setting: &Setting, lines: &[Line]) {
    let When::At(at) = deed.when else { return };
    // What another node did may go with that node.
    let own = setting.node(&deed.node);
    let before = lines.iter().take_while(|line| line.at <= at);
    let before = before.filter(|line| Some(line.node.index()) == own);
    let mut names = std::collections::BTreeMap::new();
    let mut found = None;
    for line in before {
        match &line.seen {
            Seen::Cast(run, nth, job, _) => {
                names.insert((line.node, *run), (job.clone(), *nth));
            }
            Seen::Input(_, input) => {
                let (run, point) = match **input {
                    Input::Started { run, .. } => (run, Point::Started),
                    Input::Exited { run, .. } => (run, Point::Ended),
                    _ => continue,
                };
                let job = names.get(&(line.node, run));
                if let (Some((job, nth)), Some(node)) = (job, setting.nodes.get(line.node.index()))
                {
                    let (node, kind, nth) = (node.name.clone(), run.kind, *nth);
                    let anchor = Anchor { node, job: job.clone(), kind, nth, point };
                    found = Some((anchor, at.since(line.at)));
                }
            }
            _ => {}
        }
    }
    if let Some((anchor, delay)) = found {
        deed.when = When::After { anchor, delay };
    }
}

fn is_awaited(config: &Config, index: usize) -> bool {
    let name = &config.jobs[index].name;
    let is_source = |source: &SourceName| match source {
        SourceName::Job(job) | SourceName::Check(job) => job == name,
        _ => false,
    };
    let by_lock = config.locks.iter().any(|lock| lock.healthy.as_ref() == Some(name));
    by_lock
        || config.jobs.iter().any(|job| match &job.trigger {
            Trigger::On(clause) => is_source(&clause.source),
            Trigger::All(all) | Trigger::Any(all) => all.iter().any(|one| is_source(&one.source)),
            Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
        })
}
