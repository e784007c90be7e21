//! A world with choices, and the exhaustive search of it: every order of choices, each state once.
//!
//! The search knows nothing of supervisors: whatever can say which choices it has, make one, hash
//! its state and judge it can be searched.

use core::fmt::Debug;
use core::time::Duration;
use std::time::Instant;

/// A world with choices.
pub trait Model: Clone {
    /// One choice.
    type Choice: Clone + Debug;
    /// What is wrong with a state, or with the way to it.
    type Verdict: Clone;

    /// Whether ways that lead back to a state are judged; it costs time on long ways.
    const JUDGES_ROUNDS: bool = true;

    /// Lists what may come next, the same every time for equal states.
    fn choices(&self, into: &mut Vec<Self::Choice>);

    /// Makes a choice.
    fn apply(&mut self, choice: &Self::Choice);

    /// Gives a hash of what decides the future and the verdicts, and of nothing else.
    fn digest(&self) -> u64;

    /// Tells what is wrong; a state with a verdict is not followed.
    fn verdict(&self) -> Option<Self::Verdict>;

    /// Tells what is wrong with a state that has no choices.
    fn verdict_of_end(&self) -> Option<Self::Verdict>;

    /// Tells what is wrong when some choices, the first of which is made in this state, lead back
    /// to it.
    fn verdict_of_round(&self, round: &[Self::Choice]) -> Option<Self::Verdict>;
}

/// How much may be searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At most so many states.
    pub states_max: usize,
    /// At most so many choices in a row.
    pub depth_max: usize,
    /// At most so long.
    pub time_max: Option<Duration>,
    /// At most so many breaches.
    pub verdicts_max: usize,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds { states_max: 2_000_000, depth_max: 2_000, time_max: None, verdicts_max: 16 }
    }
}

/// What an exhaustive search came to.
#[derive(Clone, Debug)]
pub struct Explored<C, V> {
    /// Different states seen.
    pub states: usize,
    /// Choices made.
    pub transitions: u64,
    /// The most choices in a row.
    pub depth: usize,
    /// Whether every choice of every state was made.
    pub is_complete: bool,
    /// What is wrong, each with the choices that lead to it.
    pub verdicts: Vec<(V, Vec<C>)>,
}

impl<C, V> Explored<C, V> {
    /// Gives the probability that two different states were taken for one because their hashes of
    /// 64 bits were equal, at most.
    pub fn collision_risk(&self) -> f64 {
        collision_risk(self.states)
    }
}

/// Gives the probability that among so many different states two have equal hashes of 64 bits.
pub fn collision_risk(states: usize) -> f64 {
    let states = states as f64;
    (states * states / 2.0_f64.powi(65)).min(1.0)
}

/// One state on the way from the beginning.
struct Frame<M: Model> {
    state: M,
    digest: u64,
    choices: Vec<M::Choice>,
    next: usize,
}

/// Searches every order of choices from a state on, deepest first; `is_new` tells verdicts worth
/// keeping from repeated ones.
pub fn explore<M: Model>(
    root: M,
    bounds: Bounds,
    mut is_new: impl FnMut(&M::Verdict) -> bool,
) -> Explored<M::Choice, M::Verdict> {
    let mut search = Deepest {
        seen: Digests::new(),
        stack: Vec::new(),
        spare: Vec::new(),
        bounds,
        began: Instant::now(),
        found: Explored {
            states: 0,
            transitions: 0,
            depth: 0,
            is_complete: true,
            verdicts: Vec::new(),
        },
    };
    search.enter(root, &mut is_new);
    while !search.is_spent() && search.step(&mut is_new) {}
    search.found.is_complete &= search.stack.is_empty();
    search.found.states = search.seen.len();
    search.found
}

struct Deepest<M: Model> {
    /// Every state seen, with its place on the way at the moment, from 1; zero is none.
    seen: Digests,
    stack: Vec<Frame<M>>,
    spare: Vec<Vec<M::Choice>>,
    bounds: Bounds,
    began: Instant,
    found: Explored<M::Choice, M::Verdict>,
}

impl<M: Model> Deepest<M> {
    fn is_spent(&self) -> bool {
        let is_looked_at = self.found.transitions & 0xff == 0;
        let max = self.bounds.time_max.filter(|_| is_looked_at);
        self.seen.len() >= self.bounds.states_max
            || self.found.verdicts.len() >= self.bounds.verdicts_max
            || max.is_some_and(|max| self.began.elapsed() > max)
    }

    /// Makes the next choice of the last state that has one left; none is left when false.
    fn step(&mut self, is_new: &mut impl FnMut(&M::Verdict) -> bool) -> bool {
        let depth = self.stack.len();
        let Some(frame) = self.stack.last_mut() else { return false };
        let Some(choice) = frame.choices.get(frame.next) else {
            self.leave();
            return true;
        };
        if depth > self.bounds.depth_max {
            self.found.is_complete = false;
            self.leave();
            return true;
        }
        let mut state = frame.state.clone();
        state.apply(choice);
        frame.next += 1;
        self.found.transitions += 1;
        self.found.depth = self.found.depth.max(depth);
        self.enter(state, is_new);
        true
    }

    fn enter(&mut self, state: M, is_new: &mut impl FnMut(&M::Verdict) -> bool) {
        if let Some(verdict) = state.verdict() {
            if is_new(&verdict) {
                let path = self.path(0);
                self.found.verdicts.push((verdict, path));
            }
            return;
        }
        let digest = state.digest();
        let place = self.seen.entry(digest);
        if *place != UNSEEN {
            let place = *place;
            self.close_round(place, is_new);
            return;
        }
        let mut choices = self.spare.pop().unwrap_or_default();
        state.choices(&mut choices);
        if choices.is_empty() {
            *place = 0;
            if let Some(verdict) = state.verdict_of_end().filter(|verdict| is_new(verdict)) {
                let path = self.path(0);
                self.found.verdicts.push((verdict, path));
            }
            return;
        }
        *place = self.stack.len() as u32 + 1;
        self.stack.push(Frame { state, digest, choices, next: 0 });
    }

    /// The way has led back to a state, perhaps to one that is on the way itself.
    fn close_round(&mut self, place: u32, is_new: &mut impl FnMut(&M::Verdict) -> bool) {
        if !M::JUDGES_ROUNDS {
            return;
        }
        let Some(place) = (place as usize).checked_sub(1) else { return };
        let round = self.path(place);
        let verdict = self.stack.get(place).and_then(|frame| frame.state.verdict_of_round(&round));
        if let Some(verdict) = verdict.filter(|verdict| is_new(verdict)) {
            let path = self.path(0);
            self.found.verdicts.push((verdict, path));
        }
    }

    fn leave(&mut self) {
        let Some(mut frame) = self.stack.pop() else { return };
        *self.seen.entry(frame.digest) = 0;
        frame.choices.clear();
        self.spare.push(frame.choices);
    }

    /// Gives the choices made from a place on.
    fn path(&self, from: usize) -> Vec<M::Choice> {
        let made = self.stack.iter().skip(from);
        made.filter_map(|frame| frame.choices.get(frame.next.checked_sub(1)?).cloned()).collect()
    }
}

const UNSEEN: u32 = u32::MAX;

/// A map from hashes to numbers: open addressing, no order to depend on.
struct Digests {
    slots: Vec<(u64, u32)>,
    len: usize,
}

impl Digests {
    fn new() -> Digests {
        Digests { slots: vec![(0, UNSEEN); 1 << 10], len: 0 }
    }

    const fn len(&self) -> usize {
        self.len
    }

    /// Gives the number of a hash, [`UNSEEN`] the first time; it is to be set then.
    fn entry(&mut self, digest: u64) -> &mut u32 {
        if self.len * 2 >= self.slots.len() {
            self.grow();
        }
        // Zero marks a free place.
        let digest = digest.max(1);
        let at = self.place(digest);
        let slot = &mut self.slots[at];
        if slot.0 == 0 {
            slot.0 = digest;
            self.len += 1;
        }
        &mut slot.1
    }

    fn place(&self, digest: u64) -> usize {
        let mask = self.slots.len() - 1;
        let mut at = usize::try_from(digest & mask as u64).unwrap_or(0);
        while self.slots[at].0 != 0 && self.slots[at].0 != digest {
            at = (at + 1) & mask;
        }
        at
    }

    fn grow(&mut self) {
        let wider = vec![(0, UNSEEN); self.slots.len() * 2];
        let old = core::mem::replace(&mut self.slots, wider);
        for slot in old.into_iter().filter(|slot| slot.0 != 0) {
            let at = self.place(slot.0);
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two counters that go up to a limit in any order; one more choice leads back to the start.
    #[derive(Clone)]
    struct Counters {
        at: (u32, u32),
        limit: u32,
        bad: Option<(u32, u32)>,
        has_way_back: bool,
    }

    impl Model for Counters {
        type Choice = u8;
        type Verdict = &'static str;

        fn choices(&self, into: &mut Vec<u8>) {
            if self.at.0 < self.limit {
                into.push(0);
            }
            if self.at.1 < self.limit {
                into.push(1);
            }
            if into.is_empty() && self.has_way_back {
                into.push(2);
            }
        }

        fn apply(&mut self, choice: &u8) {
            match choice {
                0 => self.at.0 += 1,
                1 => self.at.1 += 1,
                _ => self.at = (0, 0),
            }
        }

        fn digest(&self) -> u64 {
            crate::random::mix(u64::from(self.at.0) << 32 | u64::from(self.at.1))
        }

        fn verdict(&self) -> Option<&'static str> {
            (Some(self.at) == self.bad).then_some("bad")
        }

        fn verdict_of_end(&self) -> Option<&'static str> {
            Some("end")
        }

        fn verdict_of_round(&self, _: &[u8]) -> Option<&'static str> {
            Some("round")
        }
    }

    fn counters(limit: u32) -> Counters {
        Counters { at: (0, 0), limit, bad: None, has_way_back: false }
    }

    #[test]
    fn every_state_is_seen_once_and_the_end_is_judged() {
        let found = explore(counters(40), Bounds::default(), |_| true);
        assert!(found.is_complete);
        assert_eq!(found.states, 41 * 41);
        assert_eq!(found.transitions, 2 * 40 * 41);
        assert_eq!(found.verdicts.len(), 1);
        assert_eq!(found.verdicts[0].1.len(), 80);
    }

    #[test]
    fn a_bad_state_comes_with_the_way_to_it() {
        let model = Counters { bad: Some((2, 1)), ..counters(3) };
        let found = explore(model.clone(), Bounds::default(), |verdict| *verdict == "bad");
        assert!(!found.verdicts.is_empty());
        for (_, path) in &found.verdicts {
            let mut again = model.clone();
            path.iter().for_each(|choice| again.apply(choice));
            assert_eq!(again.at, (2, 1));
        }
    }

    #[test]
    fn a_way_back_is_a_round() {
        let model = Counters { has_way_back: true, ..counters(2) };
        let found = explore(model, Bounds::default(), |_| true);
        assert!(found.is_complete);
        assert!(
            found.verdicts.iter().any(|(verdict, path)| *verdict == "round" && path.len() == 5)
        );
    }

    #[test]
    fn a_search_that_is_cut_short_does_not_claim_to_be_complete() {
        let few = Bounds { states_max: 100, ..Bounds::default() };
        assert!(!explore(counters(40), few, |_| true).is_complete);
        let shallow = Bounds { depth_max: 10, ..Bounds::default() };
        assert!(!explore(counters(40), shallow, |_| true).is_complete);
        assert!(explore(counters(4), shallow, |_| true).is_complete);
    }

    #[test]
    fn the_risk_of_equal_hashes_grows_with_the_square() {
        assert!(collision_risk(10_000_000) < 1e-5);
        assert!(collision_risk(1_000_000_000) > 0.01);
    }
}
