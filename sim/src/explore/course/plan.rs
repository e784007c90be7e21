//! From choices to a plan: the run that they make, written down so that it can be repeated, told
//! and made small like any other.

use std::collections::BTreeMap;
use std::sync::Arc;

use steersman_engine::config::{Name, Signal};
use steersman_engine::input::ExitStatus;
use steersman_engine::{Effect, Input, RunId, Time};

use super::{Choice, Course, Stage};
use crate::agenda::NodeId;
use crate::explore::plan::{Casting, Deed, Plan, Setting, When};
use crate::observer::Fact;
use crate::script::{Child, Life, Reaction, Script, Start};
use crate::tap::{Level, Line, Seen};

/// What happened to one process.
#[derive(Clone, Debug)]
struct Fate {
    job: Name,
    /// The number of the process over all lives of its container.
    nth: u32,
    asked: Time,
    ordinary: Arc<Script>,
    started: Option<Time>,
    failed: Option<(Time, Box<str>)>,
    told: Option<Time>,
    killed: Option<Time>,
    ended: Option<(Time, ExitStatus)>,
    gone: Option<Time>,
    child_killed: Option<Time>,
}

/// Writes the run that some choices make down as a plan.
pub fn plan_of(stage: &Arc<Stage>, choices: &[Choice], faults_max: u32) -> Plan {
    let mut course = Course::new(stage.clone(), faults_max, Level::Everything);
    let mut fates = BTreeMap::new();
    let mut deeds = Vec::new();
    for choice in choices {
        let at = course.time_of(choice);
        if let Choice::Act(node, act) = choice {
            let action = course.action(*node, *act);
            let node = stage.setting.nodes[node.index()].name.clone();
            deeds.push(Deed { when: When::At(at), node, action });
        }
        for line in course.take(choice) {
            note(&mut fates, line);
        }
    }
    for (at, node, action) in &stage.scripted {
        let (node, action) = (node.clone(), action.clone());
        deeds.push(Deed { when: When::At(*at), node, action });
    }
    let castings = castings(&stage.setting, &fates);
    let calm_from = course.calm_from();
    let settled = course.judge().patience().map(|within| calm_from + within);
    let end = settled.map_or(course.now(), |settled| settled.max(course.now()));
    Plan { seed: stage.seed, ties: false, castings, deeds, calm_from, end }
}

fn note(fates: &mut BTreeMap<(NodeId, RunId), Fate>, line: Line) {
    let (at, node) = (line.at, line.node);
    match line.seen {
        Seen::Cast(run, nth, job, ordinary) => {
            let fate = Fate {
                job,
                nth,
                asked: at,
                ordinary,
                started: None,
                failed: None,
                told: None,
                killed: None,
                ended: None,
                gone: None,
                child_killed: None,
            };
            fates.insert((node, run), fate);
        }
        Seen::Fact(fact) => {
            let run = match fact {
                Fact::ProcessStarted(run) | Fact::ProcessEnded(run, _) | Fact::TreeGone(run) => run,
            };
            let Some(fate) = fates.get_mut(&(node, run)) else { return };
            match fact {
                Fact::ProcessStarted(_) => fate.started = Some(at),
                Fact::ProcessEnded(_, status) => fate.ended = Some((at, status)),
                Fact::TreeGone(_) => fate.gone = Some(at),
            }
        }
        Seen::Input(_, input) => {
            if let Input::StartFailed { run, reason } = *input
                && let Some(fate) = fates.get_mut(&(node, run))
            {
                fate.failed = Some((at, reason));
            }
        }
        Seen::Effect(effect) => {
            if let Effect::Signal { run, signal } = *effect
                && let Some(fate) = fates.get_mut(&(node, run))
                && fate.started.is_some()
            {
                match (signal, fate.ended) {
                    (Signal::KILL, None) => fate.killed = fate.killed.or(Some(at)),
                    (_, None) => fate.told = fate.told.or(Some(at)),
                    (Signal::KILL, Some(_)) => {
                        fate.child_killed = fate.child_killed.or(Some(at));
                    }
                    (_, Some(_)) => {}
                }
            }
        }
        Seen::Action(_)
        | Seen::Digest(_)
        | Seen::Killed
        | Seen::Born(_)
        | Seen::Told(..)
        | Seen::Truth(..) => {}
    }
}

fn castings(setting: &Setting, fates: &BTreeMap<(NodeId, RunId), Fate>) -> Vec<Casting> {
    let castings = fates.iter().filter_map(|((id, run), fate)| {
        let node = setting.nodes.get(id.index())?.name.clone();
        let script = fate.script();
        let role = (node.clone(), fate.job.clone(), run.kind);
        if script == setting.manners.ordinary(&role, fate.asked) {
            return None;
        }
        Some(Casting { node, job: fate.job.clone(), kind: run.kind, nth: fate.nth, script })
    });
    castings.collect()
}

impl Fate {
    /// Writes the part that makes a process do exactly what this one did.
    fn script(&self) -> Script {
        let start = match (self.started, &self.failed) {
            (Some(at), _) => Start::After(at.since(self.asked)),
            (None, Some((at, reason))) => {
                Start::Fails { after: at.since(self.asked), reason: Arc::from(&**reason) }
            }
            (None, None) => Start::Hangs,
        };
        let mut script = Script { start, life: Life::Endless, ..(*self.ordinary).clone() };
        let Some(started) = self.started else {
            script.life = self.ordinary.life;
            return script;
        };
        let kill = Signal::KILL.0;
        match (self.ended, self.told, self.killed) {
            (None, told, killed) => {
                if told.is_some() {
                    script.asked = Reaction::Ignores;
                }
                if killed.is_some() {
                    script.killed_after = None;
                }
            }
            (Some((at, ExitStatus::Signal(signal))), told, Some(killed)) if signal == kill => {
                script.killed_after = Some(at.since(killed));
                if told.is_some() {
                    script.asked = Reaction::Ignores;
                }
            }
            (Some((at, status)), Some(told), _) if self.is_answer(status) => {
                script.asked = Reaction::Ends { after: at.since(told), status };
            }
            (Some((at, status)), told, _) => {
                script.life = Life::Ends { after: at.since(started), status };
                if told.is_some() {
                    script.asked = Reaction::Ignores;
                }
            }
        }
        if let Some((at, _)) = self.ended
            && self.gone != Some(at)
        {
            let mut child = Child { lasts: None, polite: false };
            match self.child_killed {
                Some(killed) => script.killed_after = self.gone.map(|gone| gone.since(killed)),
                None => child.lasts = self.gone.map(|gone| gone.since(at)),
            }
            script.leaves = Some(self.ordinary.leaves.unwrap_or(child));
        }
        script
    }

    /// Tells whether an end is the ordinary answer to a signal.
    fn is_answer(&self, status: ExitStatus) -> bool {
        match self.ordinary.asked {
            Reaction::Dies => matches!(status, ExitStatus::Signal(_)),
            Reaction::Ends { status: answer, .. } => status == answer,
            Reaction::Ignores => false,
        }
    }
}
