//! What may come next in a course, when it would come, and what rounds and ends mean.

use steersman_engine::event::SignalName;
use steersman_engine::{RunKind, Time};

use super::{Act, Cause, Choice, Course, LIVELOCK, Open, STEP, WORK};
use crate::agenda::{Happening, NodeId};
use crate::explore::model::Model;
use crate::node::State;
use crate::property::Breach;

impl Model for Course {
    type Choice = Choice;
    type Verdict = Breach;

    fn choices(&self, into: &mut Vec<Choice>) {
        into.clear();
        let clock = self.clock_due();
        if let Some(open) = self.only_choice(clock) {
            into.push(Choice::Comes(open.node, open.what));
            if let Happening::Started(run) = open.what {
                self.offer(into, Choice::Fails(open.node, run));
            }
            return;
        }
        for (nth, open) in self.open.iter().enumerate() {
            let at = self.earliest(open);
            if at < self.bound(clock, Some(nth)) {
                into.push(Choice::Comes(open.node, open.what));
            }
        }
        if clock != Time::NEVER && clock <= self.bound(Time::NEVER, None) {
            into.push(Choice::Clock);
        }
        if into.is_empty() && self.world.next_due().is_some() {
            into.push(Choice::Clock);
        }
        if self.now() + STEP < self.bound(clock, None) {
            self.offer_trouble(into);
        }
    }

    fn apply(&mut self, choice: &Choice) {
        self.take(choice);
    }

    fn digest(&self) -> u64 {
        self.canonical()
    }

    fn verdict(&self) -> Option<Breach> {
        self.breach.clone()
    }

    /// A supervisor that is to stop and waits for nothing never will.
    fn verdict_of_end(&self) -> Option<Breach> {
        let unsettled = || {
            let due = self.judge.patience().map(|within| self.calm_from + within)?;
            let due = due.max(self.now());
            self.is_calm().then(|| self.judge.unsettled(due, self.calm_from)).flatten()
        };
        let stuck = self.stopping_node().map(|node| {
            self.livelock(node, "stuck", "it is to stop, and waits for nothing".to_owned())
        });
        stuck.or_else(unsettled)
    }

    /// A round is a livelock when nothing in it waits: no timer, nothing from outside and no work.
    fn verdict_of_round(&self, round: &[Choice]) -> Option<Breach> {
        let mut again = self.clone();
        let mut node = None;
        for choice in round {
            let Choice::Comes(id, what) = choice else { return None };
            let open = again.find(*id, *what)?;
            if open.latest.since(open.earliest) > WORK {
                return None;
            }
            node = Some(*id);
            again.take(choice);
        }
        let what = "it comes back to the same state again and again, and nothing in it waits";
        Some(self.livelock(node?, "round", what.to_owned()))
    }
}

impl Course {
    /// Gives when the next thing with a fixed time is due.
    fn clock_due(&self) -> Time {
        let is_fixed = |what: Happening| {
            !matches!(
                what,
                Happening::Started(_)
                    | Happening::StartFailed(_)
                    | Happening::Ended(_)
                    | Happening::TreeGone(_)
            )
        };
        let due = self.world.agenda().find(|(_, _, what)| is_fixed(*what)).map(|(at, ..)| at);
        let scripted = self.stage.scripted.get(self.scripted_done).map(|(at, ..)| *at);
        let due = due.unwrap_or(Time::NEVER);
        scripted.map_or(due, |at| at.min(due))
    }

    fn earliest(&self, open: &Open) -> Time {
        open.earliest.max(self.now() + STEP)
    }

    /// Gives the instant before which anything else must have its turn.
    fn bound(&self, clock: Time, but: Option<usize>) -> Time {
        let others = self.open.iter().enumerate().filter(|(nth, _)| Some(*nth) != but);
        others.map(|(_, open)| open.latest).fold(clock, Time::min)
    }

    /// The engine does not look at the start of a check: when it comes makes no difference, so it
    /// comes first.
    fn only_choice(&self, clock: Time) -> Option<&Open> {
        if !self.stage.reduces_order {
            return None;
        }
        let is_check_start = |open: &Open| {
            matches!(open.what, Happening::Started(run) if run.kind == RunKind::Check)
                && !open.lingers()
        };
        let (nth, open) = self.open.iter().enumerate().find(|(_, open)| is_check_start(open))?;
        (self.earliest(open) < self.bound(clock, Some(nth))).then_some(open)
    }

    /// Gives the time at which a choice comes.
    pub(super) fn time_of(&self, choice: &Choice) -> Time {
        let soon = self.now() + STEP;
        let of = |what: Happening, node: NodeId| {
            self.find(node, what).map_or(soon, |open| self.earliest(open))
        };
        match choice {
            Choice::Comes(node, what) => of(*what, *node),
            Choice::Fails(node, run) => of(Happening::Started(*run), *node),
            Choice::Clock => self.clock_due(),
            Choice::EndsEarly(..) | Choice::Lingers(..) | Choice::Leaves(..) | Choice::Act(..) => {
                soon
            }
        }
    }

    fn offer(&self, into: &mut Vec<Choice>, choice: Choice) {
        let Some(fault) = choice.fault(self) else { return into.push(choice) };
        if self.faults_left > 0 && self.stage.faults.has(fault) {
            into.push(choice);
        }
    }

    fn offer_trouble(&self, into: &mut Vec<Choice>) {
        let clock = self.clock_due();
        for (id, node) in self.world.nodes() {
            if node.exit().is_some() {
                continue;
            }
            let view = self.judge.view().nodes.get(id.index());
            if view.is_some_and(|view| view.maintenance && !view.stopping) {
                into.push(Choice::Act(id, Act::Maintenance(false)));
            }
            if self.faults_left == 0 {
                continue;
            }
            self.offer_process_trouble(into, id, clock);
            self.offer(into, Choice::Act(id, Act::Stop));
            if view.is_some_and(|view| view.stopping) {
                continue;
            }
            if view.is_some_and(|view| !view.maintenance) {
                self.offer(into, Choice::Act(id, Act::Maintenance(true)));
            }
            self.offer(into, Choice::Act(id, Act::Reload));
            if self.hears_hup(id) {
                self.offer(into, Choice::Act(id, Act::Hup));
            }
            for (nth, job) in (0..).zip(&self.stage.setting.nodes[id.index()].config.jobs) {
                if job.command.is_some() && !self.is_bystander(&job.name) {
                    let job = steersman_engine::JobId(nth);
                    self.offer(into, Choice::Act(id, Act::Restart(job)));
                }
            }
        }
    }

    fn offer_process_trouble(&self, into: &mut Vec<Choice>, id: NodeId, clock: Time) {
        let node = self.world.node(id);
        for (run, process) in node.processes.iter() {
            if self.is_bystander(&node.job_name(run.job)) {
                continue;
            }
            let what = match process.state {
                State::Starting => Happening::Started(run),
                State::Running { .. } => Happening::Ended(run),
                State::LeftBehind => continue,
            };
            let open = self.find(id, what);
            let cause = open.map(|open| open.cause);
            if open.is_some_and(|open| !open.lingers()) && cause != Some(Cause::Other) {
                self.offer(into, Choice::Lingers(id, what));
            }
            let is_startable =
                open.is_some_and(|open| self.earliest(open) < self.bound(clock, None));
            match process.state {
                State::Starting if is_startable => self.offer(into, Choice::Fails(id, run)),
                State::Running { .. } if matches!(cause, None | Some(Cause::Work)) => {
                    self.offer(into, Choice::Fails(id, run));
                    self.offer(into, Choice::Leaves(id, run));
                    if cause.is_none() && run.kind == RunKind::Main {
                        self.offer(into, Choice::EndsEarly(id, run));
                    }
                }
                State::Starting | State::Running { .. } | State::LeftBehind => {}
            }
        }
    }

    fn is_bystander(&self, job: &str) -> bool {
        self.stage.bystanders.iter().any(|name| **name == *job)
    }

    fn hears_hup(&self, id: NodeId) -> bool {
        use steersman_engine::config::{Clause, SourceName, Trigger};
        let is_hup = |clause: &Clause| clause.source == SourceName::Signal(SignalName::Hup);
        self.stage.setting.nodes[id.index()].config.jobs.iter().any(|job| match &job.trigger {
            Trigger::On(clause) => is_hup(clause),
            Trigger::All(clauses) | Trigger::Any(clauses) => clauses.iter().any(is_hup),
            Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
        })
    }

    /// Gives a node that is to stop and has nothing left that lingers.
    fn stopping_node(&self) -> Option<NodeId> {
        let nodes = self.judge.view().nodes.iter();
        let stopping = nodes.zip(0..).find(|(node, _)| node.stopping && node.over.is_none());
        let (_, id) = stopping.filter(|_| !self.open.iter().any(Open::lingers))?;
        let has_process = self.world.node(NodeId(id)).live_runs().next().is_some();
        (!has_process).then_some(NodeId(id))
    }

    fn livelock(&self, node: NodeId, site: &str, what: String) -> Breach {
        Breach {
            property: LIVELOCK.into(),
            site: site.into(),
            at: self.now(),
            node: Some(self.world.node(node).name().into()),
            what,
        }
    }
}
