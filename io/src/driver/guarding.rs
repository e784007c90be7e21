//! What the keeper is told of the driver's processes, and what becomes of its news.

use steersman_engine::id::{JobId, LockId};
use steersman_engine::input::{KeeperNews, Tree};
use steersman_engine::{Input, RunId, Time};

use super::Driver;
use crate::companions::Companions;
use crate::keeper::{Charge, News};
use crate::process::Ended;

impl<C: Companions> Driver<C> {
    /// Tells the keeper until when everything of these jobs may live.
    pub(super) fn guard(&mut self, lock: LockId, until: Option<Time>, jobs: &[JobId]) {
        let outcome = match until {
            None => self.keeper.lift(&self.processes, lock),
            Some(until) => {
                let charges = jobs.iter().filter_map(|job| self.charge(*job)).collect();
                self.keeper.guard(&mut self.processes, lock, until, charges)
            }
        };
        self.note_lost(outcome);
    }

    fn charge(&self, id: JobId) -> Option<Charge> {
        let job = Box::from(&*self.engine.job(id)?.name);
        let leaders = self.processes.leaders().filter(|(run, _)| run.job == id).collect();
        Some(Charge { job, leaders })
    }

    /// A keeper has said something, or will say nothing any more.
    pub(super) fn hear(&mut self, news: News) {
        let news = self.keeper.hear(&self.processes, news);
        self.pending.extend(news.map(Input::Keeper));
    }

    /// A run has a first process.
    pub(super) fn note_begun(&mut self, job: &str, leader: (RunId, u32)) {
        let outcome = self.keeper.began(&self.processes, job, leader);
        self.note_lost(outcome);
    }

    /// Something has ended that the keeper may know of, or the keeper itself.
    pub(super) fn note_ended(&mut self, ended: &Ended) {
        let outcome = match ended {
            Ended::Leader { run, tree: Tree::Gone, .. } | Ended::Rest { run } => {
                self.keeper.over(&self.processes, *run)
            }
            Ended::Leader { tree: Tree::Left, .. } => Ok(()),
            Ended::Keeper { pid, status } => self.keeper.ended(*pid, *status).map_or(Ok(()), Err),
        };
        self.note_lost(outcome);
    }

    fn note_lost(&mut self, outcome: Result<(), KeeperNews>) {
        self.pending.extend(outcome.err().map(Input::Keeper));
    }
}
