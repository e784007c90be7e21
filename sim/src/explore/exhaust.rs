//! The exhaustive strategy: every cone of a setting, with one thing out of the ordinary, then two.

use core::time::Duration;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::explore::cone::{Cone, OTHERS, cones};
use crate::explore::course::{Choice, Course, LIVELOCK, Stage, plan_of};
use crate::explore::model::{Bounds, Explored, Model, collision_risk, explore};
use crate::explore::plan::{Plan, Setting};
use crate::explore::search::{Search, replay};
use crate::explore::swarm::{Fault, FaultSet};
use crate::property::{Breach, Suite};
use crate::tap::Level;

/// Kinds of trouble that a course with its order left open knows.
const KNOWN: [Fault; 16] = [
    Fault::Crash,
    Fault::EndsEarly,
    Fault::SlowStart,
    Fault::StartFails,
    Fault::SlowWork,
    Fault::IgnoresStop,
    Fault::SlowStop,
    Fault::Leaves,
    Fault::CheckFails,
    Fault::CheckHangs,
    Fault::Stop,
    Fault::StopAgain,
    Fault::Signal,
    Fault::Reload,
    Fault::Maintenance,
    Fault::Meddling,
];
/// So many ordinary choices show that a livelock goes on.
const ROUND_SHOWN: usize = 1_200;

/// How much is searched exhaustively.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effort {
    /// At most so many things are out of the ordinary at once.
    pub faults_max: u32,
    /// At most so many states for each cone.
    pub states_max: usize,
    /// At most so long, altogether.
    pub time_max: Duration,
}

impl Default for Effort {
    fn default() -> Effort {
        Effort { faults_max: 2, states_max: 400_000, time_max: Duration::from_secs(60) }
    }
}

/// A breach with the run that shows it.
#[derive(Clone, Debug)]
pub struct Lead {
    /// What is broken.
    pub breach: Breach,
    /// Where.
    pub setting: Arc<Setting>,
    /// By which rules.
    pub suite: Arc<Suite>,
    /// The run.
    pub plan: Plan,
    /// Whether the plan breaks the same when it is repeated.
    pub is_confirmed: bool,
}

/// How far a search with so many faults came.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LevelReach {
    /// At most so many things out of the ordinary.
    pub faults: u32,
    /// Cones of which every order was tried.
    pub complete: usize,
    /// Cones that were begun.
    pub begun: usize,
    /// Different states.
    pub states: u64,
    /// Choices made.
    pub transitions: u64,
    /// How long it took, over all threads.
    pub time: Duration,
    /// The probability that two states were taken for one by their hashes, at most.
    pub collision_risk: f64,
}

/// What an exhaustive search covered and found.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// How many different cones there are.
    pub cones: usize,
    /// How many there are with those that are alike.
    pub cones_with_alike: usize,
    /// How many had to be cut.
    pub cut: usize,
    /// What was covered, by how many faults.
    pub levels: Vec<LevelReach>,
    /// What was broken, and is broken again by a plan.
    pub leads: Vec<Lead>,
    /// What seemed broken, and is not by the plan of the same run: no breach.
    pub unrepeated: Vec<Lead>,
    /// Whether the search assumed that Consul is out of reach.
    pub is_without_consul: bool,
}

/// Searches every cone of what a search is about.
pub fn exhaust(search: &Search, effort: Effort) -> Reach {
    let setting = &search.setting;
    let cones = cones(setting, &search.suite);
    let mut reach = Reach {
        cones: cones.len(),
        cones_with_alike: cones.iter().map(|cone| cone.alike).sum(),
        cut: cones.iter().filter(|cone| cone.is_cut).count(),
        is_without_consul: setting.consul.is_some(),
        ..Reach::default()
    };
    let ends = Instant::now() + effort.time_max;
    for faults in 1..=effort.faults_max.max(1) {
        if Instant::now() >= ends {
            break;
        }
        let found = Mutex::new((LevelReach { faults, ..LevelReach::default() }, Vec::new()));
        let next = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..search.jobs.max(1) {
                scope.spawn(|| {
                    while let Some(cone) = cones.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let left = ends.saturating_duration_since(Instant::now());
                        if left.is_zero() {
                            break;
                        }
                        let bounds = Bounds {
                            states_max: effort.states_max,
                            time_max: Some(left),
                            ..Bounds::default()
                        };
                        let began = Instant::now();
                        let explored = search_cone(search, cone, faults, bounds);
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.0.add(&explored.0, began.elapsed());
                        found.1.extend(explored.1);
                    }
                });
            }
        });
        let (level, leads) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
        reach.levels.push(level);
        for lead in leads {
            // Two states that differ too little to be told apart can look like a round: a breach
            // counts only when its run breaks the same when it is repeated.
            let known = match lead.is_confirmed {
                true => &mut reach.leads,
                false => &mut reach.unrepeated,
            };
            if !known.iter().any(|known| known.breach.is_like(&lead.breach)) {
                known.push(lead);
            }
        }
        if !reach.leads.is_empty() {
            break;
        }
    }
    reach.leads.sort_by(|one, other| one.breach.site.cmp(&other.breach.site));
    reach
}

impl LevelReach {
    fn add(&mut self, explored: &Explored<Choice, Breach>, took: Duration) {
        self.begun += 1;
        self.complete += usize::from(explored.is_complete);
        self.states += explored.states as u64;
        self.transitions += explored.transitions;
        self.time += took;
        self.collision_risk = (self.collision_risk + collision_risk(explored.states)).min(1.0);
    }
}

/// Gives the stage of a cone, with every reduction.
pub fn stage_of(search: &Search, cone: &Cone) -> Stage {
    let foreign = left_out(search.faults).into_iter();
    let faults = foreign.fold(search.faults, |faults, foreign| faults.without(foreign));
    let mut stage = Stage::new(cone.setting.clone(), cone.suite.clone(), faults);
    stage.bystanders = vec![Arc::from(OTHERS)];
    stage.scripted = search.scripted_at_the_earliest();
    stage.scripted.retain(|(_, node, _)| cone.setting.node(node).is_some());
    stage
}

fn search_cone(
    search: &Search,
    cone: &Cone,
    faults: u32,
    bounds: Bounds,
) -> (Explored<Choice, Breach>, Vec<Lead>) {
    let stage = Arc::new(stage_of(search, cone));
    let mut seen: Vec<Breach> = Vec::new();
    let is_new = |breach: &Breach| {
        let is_new = !seen.iter().any(|known| known.is_like(breach));
        if is_new {
            seen.push(breach.clone());
        }
        is_new
    };
    let explored = explore(Course::new(stage.clone(), faults, Level::Signs), bounds, is_new);
    let leads = explored.verdicts.iter();
    let leads = leads.map(|(breach, path)| lead(search, &stage, faults, (breach, path)));
    let leads = leads.collect();
    (explored, leads)
}

/// Makes a plan of a way to a breach: of the whole setting when it shows there as well, else of the
/// cone.
fn lead(
    search: &Search,
    stage: &Arc<Stage>,
    faults: u32,
    (breach, path): (&Breach, &[Choice]),
) -> Lead {
    let mut path = path.to_vec();
    if *breach.property == *LIVELOCK {
        go_on(stage, faults, &mut path);
    }
    let plan = plan_of(stage, &path, faults);
    let breaks = |setting: &Setting, suite: &Arc<Suite>| {
        let again = replay(setting, &plan, suite, Level::Signs).breach;
        again.filter(|again| again.is_like(breach))
    };
    let whole = (&search.setting, &search.suite);
    for (setting, suite) in [whole, (&stage.setting, &stage.suite)] {
        if let Some(breach) = breaks(setting, suite) {
            let (setting, suite) = (setting.clone(), suite.clone());
            return Lead { breach, setting, suite, plan, is_confirmed: true };
        }
    }
    let (setting, suite) = (stage.setting.clone(), stage.suite.clone());
    Lead { breach: breach.clone(), setting, suite, plan, is_confirmed: false }
}

/// Follows a round for a while, so that whoever repeats it sees that it goes on.
fn go_on(stage: &Arc<Stage>, faults: u32, path: &mut Vec<Choice>) {
    let mut course = Course::new(stage.clone(), faults, Level::Signs);
    path.iter().for_each(|choice| course.apply(choice));
    let mut choices = Vec::new();
    for _ in 0..ROUND_SHOWN {
        course.choices(&mut choices);
        let next = choices.iter().find(|choice| matches!(choice, Choice::Comes(..)));
        let Some(next) = next.cloned() else { return };
        course.apply(&next);
        path.push(next);
    }
}

/// Lists the kinds of trouble that an exhaustive search leaves out.
pub fn left_out(faults: FaultSet) -> Vec<Fault> {
    let foreign = Fault::ALL.iter().filter(|fault| !KNOWN.contains(fault));
    foreign.copied().filter(|fault| faults.has(*fault)).collect()
}
