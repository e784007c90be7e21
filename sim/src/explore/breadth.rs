//! The same search, nearest first: the first breach found is one that needs the fewest choices.
//!
//! It keeps every state of a level, where the search in depth keeps those of one way; it is for
//! what is found soon.

use std::collections::BTreeSet;
use std::time::Instant;

use super::model::{Bounds, Explored, Model};

/// How a state was reached: from which, by which choice.
type Step<C> = (usize, Option<C>);

/// Searches every order of choices from a state on, those with the fewest choices first, until
/// something is wrong.
pub fn nearest<M: Model>(root: M, bounds: Bounds) -> Explored<M::Choice, M::Verdict> {
    let began = Instant::now();
    let mut found =
        Explored { states: 1, transitions: 0, depth: 0, is_complete: false, verdicts: Vec::new() };
    let mut seen = BTreeSet::from([root.digest()]);
    let mut steps: Vec<Step<M::Choice>> = vec![(0, None)];
    let mut level = vec![(0, root)];
    let mut choices = Vec::new();
    while !level.is_empty() && found.depth < bounds.depth_max {
        let mut next = Vec::new();
        for (place, state) in level {
            choices.clear();
            state.choices(&mut choices);
            for choice in &choices {
                let mut then = state.clone();
                then.apply(choice);
                found.transitions += 1;
                if let Some(verdict) = then.verdict() {
                    let mut path = path_to(&steps, place);
                    path.push(choice.clone());
                    found.depth = path.len();
                    found.verdicts.push((verdict, path));
                    return found;
                }
                if seen.insert(then.digest()) {
                    steps.push((place, Some(choice.clone())));
                    next.push((steps.len() - 1, then));
                    found.states += 1;
                }
            }
            let is_late = bounds.time_max.is_some_and(|max| began.elapsed() > max);
            if found.states >= bounds.states_max || is_late {
                return found;
            }
        }
        found.depth += 1;
        level = next;
    }
    found.is_complete = level.is_empty();
    found
}

fn path_to<C: Clone>(steps: &[Step<C>], mut place: usize) -> Vec<C> {
    let mut path = Vec::new();
    while let Some((before, Some(choice))) = steps.get(place) {
        path.push(choice.clone());
        place = *before;
    }
    path.reverse();
    path
}
