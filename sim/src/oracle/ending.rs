//! The end of the supervisor: when it must come, and with which status.

use super::job::{Next, Who};
use super::ledger::{Expected, Ledger, Stage};
use steersman_engine::Code;

/// The status of what SIGKILL ended, as a shell shows it.
const KILLED: u8 = 137;

/// What the exit status is to say.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict {
    /// The status of the first job that failed for good by itself.
    failure: Option<u8>,
    /// The status of the essential job that ended everything.
    essential: Option<u8>,
    /// Something had to be killed for the stop.
    was_killed: Option<bool>,
    /// An end has been announced as essential in this life already.
    is_essential_over: bool,
}

impl Ledger {
    /// A job has nothing left to do: its status may be the container's.
    pub(super) fn note_completion(&mut self, job: usize) {
        let view = &self.jobs[job];
        let status = match view.last_exit {
            _ if view.gave_up => 1,
            Some(exit) => exit.code(),
            None => 0,
        };
        if status != 0 {
            self.verdict.failure.get_or_insert(status);
        }
    }

    /// A job has ended for good: an essential one ends everything.
    pub(super) fn note_end(&mut self, job: usize, never_ran: bool) {
        let view = &self.jobs[job];
        let is_essential = view.spec.essential && view.next == Next::Nothing;
        if !is_essential || self.stage != Stage::Running || self.verdict.is_essential_over {
            return;
        }
        self.verdict.is_essential_over = true;
        let status = match view.last_exit {
            Some(exit) => exit.code(),
            None => u8::from(never_ran || view.gave_up),
        };
        self.verdict.essential = Some(status);
        self.expect(Expected::Event(Code::Shutdown, Who::Global));
    }

    /// A run was killed.
    pub(super) fn note_kill(&mut self, again: bool, is_timeout: bool) {
        if self.stage != Stage::Stopping {
            return;
        }
        if is_timeout || again {
            // It may have been killed for its own sake: then the stop was in order.
            self.verdict.was_killed.get_or_insert(false);
        } else {
            self.verdict.was_killed = Some(true);
        }
    }

    pub(super) fn on_exit(&mut self, status: u8) {
        let verdict = self.verdict.clone();
        let is_forced = self.stage == Stage::Stopping && self.now >= self.deadline;
        if self.alive > 0 && !is_forced && !self.is_hurried {
            // One that was replaced at the very moment of the stop may never have been.
            let is_left = |view: &&super::job::JobView| {
                !view.has_ended() && !view.is_retired && !view.is_loose
            };
            let left = self.jobs.iter().find(is_left).map(|view| view.spec.name.clone());
            if let Some(left) = left {
                self.blame(format!("the supervisor ends although \"{left}\" has not"));
            }
        }
        let unclean = match verdict.was_killed {
            Some(true) => vec![KILLED],
            Some(false) => vec![0, KILLED],
            None => vec![0],
        };
        let is_stuck = self.jobs.iter().any(|view| view.main.is_some());
        let allowed = match (self.stage, verdict.essential) {
            (Stage::Stopping, Some(status)) if status != 0 => vec![status],
            (Stage::Stopping, _) if is_stuck => vec![KILLED],
            (Stage::Stopping, _) => unclean,
            _ => vec![verdict.failure.unwrap_or(0)],
        };
        if !allowed.contains(&status) && !self.jobs.iter().any(|view| view.is_loose) {
            let wanted = allowed[0];
            self.blame(format!("the supervisor ends with {status} and not with {wanted}"));
        }
        self.stage = Stage::Over;
        self.expected.clear();
    }
}
