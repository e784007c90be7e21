//! The times that programs drew, made short: they are part of the plan like everything else.

use core::time::Duration;

use super::Shrinker;
use super::simpler::{TIMES, rounder};
use crate::explore::plan::{Plan, When};
use crate::script::Draws;

impl Shrinker {
    /// Lets the steps of programs take as little time as they may, or a shorter and rounder one.
    pub(super) fn shorten_draws(&mut self) {
        for index in 0..self.plan.castings.len() {
            let Draws::Listed(list) = &self.plan.castings[index].script.draws else { continue };
            let numbers: Vec<u32> = list.keys().copied().collect();
            let mut plan = self.plan.clone();
            plan.castings[index].script.draws = Draws::Shortest;
            if self.keep_if_failing(None, plan) {
                continue;
            }
            for nth in numbers {
                self.shorten_draw(index, nth);
            }
        }
    }

    fn shorten_draw(&mut self, index: usize, nth: u32) {
        let mut plan = self.plan.clone();
        let long = list_of(&mut plan, index).and_then(|list| list.remove(&nth));
        let Some(long) = long else { return };
        if self.keep_if_failing(None, plan) {
            return;
        }
        for short in rounder(long) {
            let mut plan = self.plan.clone();
            if let Some(list) = list_of(&mut plan, index) {
                list.insert(nth, short);
            }
            if self.keep_if_failing(None, plan) {
                return;
            }
        }
    }
}

/// Sums up the times that programs drew, in nanoseconds.
fn drawn(draws: &Draws) -> u128 {
    match draws {
        Draws::Shortest => 0,
        Draws::Seeded(_) => u128::MAX >> 32,
        Draws::Listed(list) => list.values().map(Duration::as_nanos).sum(),
    }
}

fn list_of(
    plan: &mut Plan,
    index: usize,
) -> Option<&mut std::collections::BTreeMap<u32, Duration>> {
    match &mut plan.castings.get_mut(index)?.script.draws {
        Draws::Listed(list) => Some(list),
        Draws::Shortest | Draws::Seeded(_) => None,
    }
}

/// How long everything in a plan takes, in nanoseconds.
pub(super) fn length(plan: &Plan) -> u128 {
    let deeds = plan.deeds.iter().map(|deed| match &deed.when {
        When::At(at) => u128::from(at.0),
        When::After { delay, .. } => delay.as_nanos(),
    });
    let castings = plan.castings.iter().flat_map(|casting| {
        let mut script = casting.script.clone();
        let draws = drawn(&casting.script.draws);
        TIMES
            .map(|part| part(&mut script).map_or(0, |time| time.as_nanos()))
            .into_iter()
            .chain([draws])
    });
    deeds.sum::<u128>() + castings.sum::<u128>()
}
