//! The judge: watches every property through a run and keeps the first breach.

mod canonical;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use steersman_engine::{RunKind, Time};

use crate::agenda::NodeId;
use crate::observer::Fact;
use crate::property::expression::{Expression, Owner, Subject};
use crate::property::view::View;
use crate::tap::{Line, Seen};
use crate::world::World;

/// One property of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Property {
    /// Its name, unique.
    pub name: Arc<str>,
    /// What it demands, as written.
    pub text: Arc<str>,
    /// What it demands.
    pub rule: Rule,
}

/// What a property demands.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// It holds at every instant, or is missing for no longer than this.
    Always(Expression, Duration),
    /// Once the trouble is over it holds within this time and from then on.
    Eventually(Expression, Duration),
    /// Whenever the first holds, the second does within this time.
    LeadsTo(Expression, Expression, Duration),
    /// It holds at least once in at least one run.
    Sometimes(Expression),
}

impl Rule {
    /// Lists the databases that it speaks of.
    pub fn databases(&self) -> Vec<Arc<str>> {
        match self {
            Rule::Always(one, _) | Rule::Eventually(one, _) | Rule::Sometimes(one) => {
                one.databases()
            }
            Rule::LeadsTo(one, other, _) => [one.databases(), other.databases()].concat(),
        }
    }

    /// Lists what it speaks of, and how many of each there must be for it to mean anything.
    pub fn subjects(&self) -> Vec<(Subject, u32)> {
        match self {
            Rule::Always(one, _) | Rule::Eventually(one, _) | Rule::Sometimes(one) => one.needs(),
            Rule::LeadsTo(one, other, _) => [one.needs(), other.needs()].concat(),
        }
    }
}

/// What was broken, where and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// The property.
    pub property: Arc<str>,
    /// What distinguishes this way of breaking it from others.
    pub site: Box<str>,
    /// When.
    pub at: Time,
    /// On which node, when it is one.
    pub node: Option<Arc<str>>,
    /// What happened, for people.
    pub what: String,
}

impl Breach {
    /// Tells whether another run broke the same thing in the same way.
    pub fn is_like(&self, other: &Breach) -> bool {
        self.property == other.property && self.site == other.site
    }
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = Duration::from_nanos(self.at.0).as_secs_f64();
        write!(f, "{seconds:.3} s")?;
        if let Some(node) = &self.node {
            write!(f, ", {node}")?;
        }
        write!(f, ": {}", self.what)
    }
}

/// Everything that is judged in a search.
#[derive(Clone, Debug, Default)]
pub struct Suite {
    /// The properties of the scenario.
    pub properties: Vec<Property>,
    /// Whether the built-in invariants are judged.
    pub invariants: bool,
    /// More starts of one job than this within ten seconds are a storm; zero is no limit.
    pub starts_in_ten_seconds_max: usize,
}

impl Suite {
    /// The built-in properties alone.
    pub fn built_in() -> Suite {
        Suite { properties: Vec::new(), invariants: true, starts_in_ten_seconds_max: 0 }
    }
}

/// The name under which the invariants of every supervisor are judged.
pub const INVARIANTS: &str = "supervisor invariants";

/// The name under which runs are judged that never come to rest.
pub const SETTLES: &str = "every run settles";

/// Watches a run.
#[derive(Clone, Debug)]
pub struct Judge {
    suite: Arc<Suite>,
    view: View,
    watches: Vec<Watch>,
    /// When the last trouble ends; what must come eventually is counted from there.
    calm_from: Time,
    breach: Option<Breach>,
    /// Whether a property speaks of what Consul holds.
    looks_at_catalog: bool,
}

/// How one property fares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Watch {
    /// Since when what must hold is missing.
    missing: Option<Time>,
    /// Since when it holds.
    held: Option<Time>,
    reached: bool,
}

impl Judge {
    /// Builds a judge for one run; `calm_from` is when its last trouble ends.
    pub fn new(suite: Arc<Suite>, calm_from: Time) -> Judge {
        let watches = vec![Watch::default(); suite.properties.len()];
        let subjects = suite.properties.iter().flat_map(|property| property.rule.subjects());
        let looks_at_catalog = { subjects }.any(|(subject, _)| {
            matches!(subject.kind, Owner::Service | Owner::Key | Owner::Session)
        });
        let view = View::default();
        Judge { suite, view, watches, calm_from, breach: None, looks_at_catalog }
    }

    /// Lets the last trouble end at another instant, which is still to come.
    #[must_use]
    pub(crate) const fn ending(mut self, calm_from: Time) -> Judge {
        self.calm_from = calm_from;
        self
    }

    /// Gives the first breach.
    pub const fn breach(&self) -> Option<&Breach> {
        self.breach.as_ref()
    }

    /// Gives what is known.
    pub const fn view(&self) -> &View {
        &self.view
    }

    /// Tells which properties were reached, in the order of the suite.
    pub fn reached(&self) -> impl Iterator<Item = bool> {
        self.watches.iter().map(|watch| watch.reached)
    }

    pub(crate) fn begin(&mut self, world: &World) {
        self.view = View::new(world);
        if self.looks_at_catalog {
            self.view.look_at_catalog(world);
        }
        self.look(world.now());
    }

    pub(crate) fn take_in(&mut self, world: &World, lines: &[Line]) {
        if self.suite.invariants
            && let Some(violation) = world.observer().violations().first()
        {
            self.breach.get_or_insert_with(|| Breach {
                property: Arc::from(INVARIANTS),
                site: site_of(&violation.what),
                at: violation.at,
                node: world.nodes().nth(violation.node.index()).map(|(_, it)| Arc::from(it.name())),
                what: violation.what.clone(),
            });
        }
        self.watch_deadlines(world.now());
        let has_written = self.looks_at_catalog && self.view.look_at_catalog(world);
        if lines.is_empty() && !has_written {
            return;
        }
        for line in lines {
            self.view.take_in(world, line);
            self.watch_storm(world, line);
        }
        self.look(world.now());
    }

    pub(crate) fn end(&mut self, world: &World) {
        self.take_in(world, &[]);
        self.accuse_unsettled(world.now());
    }

    /// Accuses what had to come once the trouble was over, and has not.
    fn accuse_unsettled(&mut self, now: Time) {
        for (property, watch) in self.suite.properties.iter().zip(&self.watches) {
            let Rule::Eventually(_, within) = &property.rule else { continue };
            let due = self.calm_from + *within;
            let late = watch.held.is_none_or(|held| held > due);
            if late && now >= due {
                accuse(&mut self.breach, property, now, "is still not so");
            }
        }
    }

    /// Looks at every property after something has happened.
    fn look(&mut self, now: Time) {
        let Judge { suite, view, watches, breach, .. } = self;
        for (property, watch) in suite.properties.iter().zip(watches) {
            match &property.rule {
                Rule::Always(demand, patience) => {
                    let holds = demand.holds(view);
                    watch.reached |= holds;
                    watch.missing = if holds { None } else { watch.missing.or(Some(now)) };
                    if !holds && patience.is_zero() {
                        accuse(breach, property, now, "is broken");
                    }
                }
                Rule::Eventually(demand, _) => {
                    let holds = demand.holds(view);
                    watch.reached |= holds;
                    watch.held = if holds { watch.held.or(Some(now)) } else { None };
                }
                Rule::LeadsTo(cause, demand, _) => {
                    if demand.holds(view) {
                        watch.missing = None;
                    } else if cause.holds(view) {
                        watch.reached = true;
                        watch.missing = watch.missing.or(Some(now));
                    }
                }
                Rule::Sometimes(demand) => {
                    watch.reached = watch.reached || demand.holds(view);
                }
            }
        }
    }

    /// Looks for what has been missing for too long, which no event announces.
    fn watch_deadlines(&mut self, now: Time) {
        for (property, watch) in self.suite.properties.iter().zip(&self.watches) {
            let (Rule::Always(_, patience) | Rule::LeadsTo(_, _, patience)) = &property.rule else {
                continue;
            };
            let Some(missing) = watch.missing else { continue };
            if now > missing + *patience {
                let due = missing + *patience;
                accuse(&mut self.breach, property, due, "is broken for too long");
            }
        }
    }

    /// Looks at how often a job has started lately, when it has just done so.
    fn watch_storm(&mut self, world: &World, line: &Line) {
        let limit = self.suite.starts_in_ten_seconds_max;
        let Seen::Fact(Fact::ProcessStarted(run)) = line.seen else { return };
        if run.kind == RunKind::Check || limit == 0 || self.breach.is_some() {
            return;
        }
        let name = world.node(line.node).job_name(run.job);
        let Some(node) = self.view.nodes.get(line.node.index()) else { return };
        let Some(job) = node.jobs.get(&name) else { return };
        let Some(nth) = job.starts.len().checked_sub(limit + 1) else { return };
        let now = world.now();
        if now.since(job.starts[nth]) > Duration::from_secs(10) {
            return;
        }
        self.breach = Some(Breach {
            property: Arc::from("no restart storm"),
            site: Box::from(&*name),
            at: now,
            node: Some(node.name.clone()),
            what: format!("\"{name}\" starts more than {limit} times within 10 s"),
        });
    }

    /// Ends a run that does not settle, and says what keeps it busy.
    pub(crate) fn give_up(&mut self, world: &World) {
        let inputs = world.observer().inputs();
        let jobs = self.view.nodes.iter().flat_map(|node| {
            node.jobs.iter().map(move |(name, job)| (job.runs, node.name.clone(), name.clone()))
        });
        let busiest = jobs.max_by_key(|(runs, ..)| *runs);
        let (runs, node, job) = busiest.unwrap_or_else(|| (0, Arc::from(""), Arc::from("")));
        self.breach.get_or_insert_with(|| Breach {
            property: Arc::from(SETTLES),
            site: Box::from(&*job),
            at: world.now(),
            what: format!(
                "the run does not settle: {inputs} inputs so far; the busiest job is \"{job}\" on \
                 {node} with {runs} starts"
            ),
            node: Some(node),
        });
    }

    /// Accuses a node of breaking a built-in property in a way that has a name.
    pub(crate) fn accuse_node(
        &mut self,
        world: &World,
        node: NodeId,
        (property, site): (&str, &str),
        what: &str,
    ) {
        self.breach.get_or_insert_with(|| Breach {
            property: Arc::from(property),
            site: Box::from(site),
            at: world.now(),
            node: Some(Arc::from(world.node(node).name())),
            what: what.to_owned(),
        });
    }
}

/// Notes that a property is broken, if none was before.
fn accuse(breach: &mut Option<Breach>, property: &Property, at: Time, how: &str) {
    breach.get_or_insert_with(|| Breach {
        property: property.name.clone(),
        site: Box::from(how),
        at,
        node: None,
        what: format!("\"{}\" {how}: {}", property.name, property.text),
    });
}

/// Strips figures: they differ from run to run and say nothing about the way of breaking.
fn site_of(what: &str) -> Box<str> {
    let mut site = String::with_capacity(what.len());
    let mut is_quoted = false;
    for letter in what.chars() {
        is_quoted ^= letter == '"';
        if is_quoted || !letter.is_ascii_digit() {
            site.push(letter);
        }
    }
    site.into_boxed_str()
}
