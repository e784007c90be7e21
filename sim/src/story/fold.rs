//! What happens again and again in the same way is told twice and counted in between: a job that
//! runs every other second would hide the rest.

use core::ops::Range;
use std::collections::{BTreeMap, BTreeSet};

use super::{Mark, MarkKind, Story, Tone, seconds};

/// So many of a kind in a row are told; of more the first, the last and a number.
const TOLD: usize = 4;

/// One or two marks of a lane that belong together.
#[derive(Clone, Copy, Debug)]
struct Item {
    first: usize,
    last: usize,
    /// Whether it is a run that was started and ended well.
    is_run: bool,
}

/// Folds what repeats itself on a lane and leads to nothing else, then drops what is more than the
/// most; tells how much that was.
pub(super) fn fold(story: &mut Story, most: usize) -> u64 {
    let mut gone = BTreeSet::new();
    let mut effects = vec![Vec::new(); story.marks.len()];
    for (at, mark) in story.marks.iter().enumerate() {
        if let Some(effects) = mark.cause.and_then(|cause| effects.get_mut(cause)) {
            effects.push(at);
        }
    }
    for lane in 0..story.lanes.len() {
        let items = items_of(&story.marks, lane);
        for range in repetitions(&story.marks, &effects, &items) {
            fold_items(story, &items, range, &mut gone);
        }
    }
    drop_marks(&mut story.marks, &gone);
    let is_late = |at: &usize| story.marks[*at].kind != MarkKind::Breach;
    let late: BTreeSet<_> =
        (most.min(story.marks.len())..story.marks.len()).filter(is_late).collect();
    drop_marks(&mut story.marks, &late);
    late.len() as u64
}

fn items_of(marks: &[Mark], lane: usize) -> Vec<Item> {
    let own: Vec<usize> = (0..marks.len()).filter(|at| marks[*at].lane == lane).collect();
    let mut items = Vec::new();
    let mut rest = &own[..];
    while let Some((first, behind)) = rest.split_first() {
        let end = behind.first().copied().filter(|end| is_run(&marks[*first], &marks[*end]));
        items.push(Item { first: *first, last: end.unwrap_or(*first), is_run: end.is_some() });
        rest = &behind[usize::from(end.is_some())..];
    }
    items
}

/// Tells whether two marks are the start of a run and its good end.
fn is_run(start: &Mark, end: &Mark) -> bool {
    let number = |mark: &Mark| mark.what.strip_prefix("run ")?.split(' ').next()?.parse().ok();
    let number = |mark| -> Option<u64> { number(mark) };
    start.kind == MarkKind::Start
        && end.kind == MarkKind::Good
        && end.what.ends_with("ended with status 0")
        && number(start).is_some()
        && number(start) == number(end)
}

/// Finds what is alike in a row and, but for its last, leads to nothing but the next of its kind.
fn repetitions(marks: &[Mark], effects: &[Vec<usize>], items: &[Item]) -> Vec<Range<usize>> {
    let goes_on = |pair: &[Item]| {
        let (item, next) = (pair[0], pair[1]);
        let inner = [item.first, item.last, next.first, next.last];
        let mut caused = effects[item.first].iter().chain(&effects[item.last]);
        is_alike(marks, &item, &next) && caused.all(|at| inner.contains(at))
    };
    let mut ranges = Vec::new();
    let mut from = 0;
    for at in 0..items.len() {
        let is_last = !items.get(at..at + 2).is_some_and(goes_on);
        if is_last {
            if at + 1 - from > TOLD {
                ranges.push(from..at + 1);
            }
            from = at + 1;
        }
    }
    ranges
}

fn is_alike(marks: &[Mark], one: &Item, other: &Item) -> bool {
    let (first, second) = (&marks[one.first], &marks[other.first]);
    let is_quiet = matches!(first.kind, MarkKind::Good | MarkKind::Bad | MarkKind::Event);
    match one.is_run {
        true => other.is_run,
        false => {
            !other.is_run && is_quiet && first.kind == second.kind && first.what == second.what
        }
    }
}

/// Leaves the first and the last of a row, and one mark that counts those in between.
fn fold_items(story: &mut Story, items: &[Item], range: Range<usize>, gone: &mut BTreeSet<usize>) {
    let middle = &items[range.start + 1..range.end - 1];
    let (Some(begin), Some(end)) = (middle.first(), middle.last()) else { return };
    let until = story.marks[end.last].at;
    let count = middle.len();
    let sign = &mut story.marks[begin.first];
    sign.kind = MarkKind::Event;
    sign.what = match begin.is_run {
        true => format!("{count} more runs that ended with status 0"),
        false => format!("{}, {count} more times", sign.what),
    };
    sign.why = format!("Until {} nothing else happened here.", seconds(until));
    let (from, lane) = (sign.at, sign.lane);
    gone.extend(middle.iter().flat_map(|item| [item.first, item.last]));
    gone.remove(&begin.first);
    story.stretches.retain(|stretch| {
        let is_inside = stretch.from >= from && stretch.to.is_some_and(|to| to <= until);
        stretch.lane != lane || stretch.tone == Tone::Fault || !is_inside
    });
}

/// Takes marks away; what one of them caused is caused by the one that is left in its place.
fn drop_marks(marks: &mut Vec<Mark>, gone: &BTreeSet<usize>) {
    let mut places = Vec::with_capacity(marks.len());
    let mut last_of = BTreeMap::new();
    let mut count = 0;
    for (at, mark) in marks.iter().enumerate() {
        let last = last_of.entry(mark.lane).or_insert(0);
        if !gone.contains(&at) {
            *last = count;
            count += 1;
        }
        places.push(*last);
    }
    for mark in marks.iter_mut() {
        mark.cause = mark.cause.map(|cause| places[cause]);
    }
    let mut at = 0;
    marks.retain(|_| {
        at += 1;
        !gone.contains(&(at - 1))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Lane, LaneKind};
    use std::sync::Arc;
    use steersman_engine::Time;

    fn mark(at: u64, lane: usize, kind: MarkKind, what: &str, cause: Option<usize>) -> Mark {
        let what = what.to_owned();
        Mark { at: Time(at * 1_000_000_000), lane, kind, what, why: String::new(), cause }
    }

    /// A job that runs every second, and one that starts because of its run of that number.
    fn story(runs: u64, heard: Option<u64>) -> Story {
        let lane = |name: &str| {
            let node = Arc::from("a");
            Lane { name: name.to_owned(), kind: LaneKind::Job, node }
        };
        let mut marks: Vec<Mark> = Vec::new();
        for run in 1..=runs {
            let before = marks.len().checked_sub(1);
            let what = format!("run {run} is started");
            marks.push(mark(run, 0, MarkKind::Start, &what, before));
            let what = format!("run {run} ended with status 0");
            let start = marks.len() - 1;
            marks.push(mark(run, 0, MarkKind::Good, &what, Some(start)));
            if heard == Some(run) {
                let end = marks.len() - 1;
                marks.push(mark(run, 1, MarkKind::Start, "run 1 is started", Some(end)));
            }
        }
        Story { lanes: vec![lane("ticker"), lane("app")], marks, ..Story::default() }
    }

    fn told(story: &Story) -> Vec<(&str, Option<usize>)> {
        story.marks.iter().map(|mark| (&*mark.what, mark.cause)).collect()
    }

    #[test]
    fn runs_that_lead_to_nothing_are_counted() {
        let mut story = story(60, None);
        assert_eq!(fold(&mut story, 2_000), 0);
        let expected = [
            ("run 1 is started", None),
            ("run 1 ended with status 0", Some(0)),
            ("58 more runs that ended with status 0", Some(1)),
            ("run 60 is started", Some(2)),
            ("run 60 ended with status 0", Some(3)),
        ];
        assert_eq!(told(&story), expected);
    }

    #[test]
    fn run_that_leads_to_something_is_told() {
        let mut story = story(60, Some(30));
        assert_eq!(fold(&mut story, 2_000), 0);
        let marks = told(&story);
        let end = marks.iter().position(|(what, _)| *what == "run 30 ended with status 0");
        let app =
            marks.iter().position(|(what, cause)| *what == "run 1 is started" && *cause == end);
        assert!(end.is_some() && app.is_some(), "{marks:#?}");
        assert_eq!(marks.len(), 5 + 1 + 5, "{marks:#?}");
    }

    #[test]
    fn too_much_is_dropped_and_counted() {
        let mut story = story(0, None);
        let words = ["a", "b", "c", "d"];
        story.marks =
            (0..).zip(words).map(|(at, word)| mark(at, 0, MarkKind::Good, word, None)).collect();
        story.marks[3].kind = MarkKind::Breach;
        assert_eq!(fold(&mut story, 2), 1);
        assert_eq!(told(&story), [("a", None), ("b", None), ("d", None)]);
    }

    #[test]
    fn few_of_a_kind_are_all_told() {
        let mut story = story(4, None);
        assert_eq!(fold(&mut story, 2_000), 0);
        assert_eq!(story.marks.len(), 8);
    }

    #[test]
    fn failures_in_a_row_are_counted_too() {
        let mut story = story(0, None);
        story.marks = (0..9).map(|at| mark(at, 1, MarkKind::Bad, "Consul fails", None)).collect();
        assert_eq!(fold(&mut story, 2_000), 0);
        let words: Vec<_> = told(&story).into_iter().map(|(what, _)| what).collect();
        assert_eq!(words, ["Consul fails", "Consul fails, 7 more times", "Consul fails"]);
    }

    #[test]
    fn database_that_a_node_has_nothing_of_has_no_lane() {
        let mut told = story(2, None);
        let lane = |kind, name: &str| Lane { name: name.into(), kind, node: Arc::from("n") };
        told.lanes.insert(0, lane(LaneKind::Database, "bare"));
        told.marks.iter_mut().for_each(|mark| mark.lane += 1);
        told.lanes.push(lane(LaneKind::Watch, "quiet"));
        let names = |told: &Story| -> Vec<String> {
            told.lanes.iter().map(|lane| lane.name.clone()).collect()
        };
        let (marks, before) = (story(2, None).marks, names(&told));
        told.drop_bare_lanes();
        assert_eq!(names(&told)[..], before[1..]);
        assert_eq!(told.marks, marks);
    }
}
