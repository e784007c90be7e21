//! Which jobs can ever start: waits in a circle, and waits for what cannot happen.

use super::link::Draft;
use super::problem::{NEVER_RUNS, Problem, Problems, WAIT_CYCLE};
use super::text::Span;
use crate::config::{Clause, SourceName, Trigger};
use crate::event::Code;

/// Reports every circle of waits, and every job that can never start for another reason.
pub(crate) fn report_unreachable(draft: &Draft, problems: &mut Problems) {
    let startable = startable(draft);
    let mut in_circle = vec![false; draft.jobs.len()];
    // By which walk a job was come across; every job is walked over once.
    let mut walked: Vec<Option<usize>> = vec![None; draft.jobs.len()];
    for index in 0..draft.jobs.len() {
        if startable[index] {
            continue;
        }
        if let Some(circle) = circle_from(draft, &startable, index, &mut walked) {
            report_circle(draft, &startable, &circle, problems);
            for member in circle {
                in_circle[member] = true;
            }
        }
    }
    for (index, job) in draft.jobs.iter().enumerate() {
        if startable[index] || in_circle[index] {
            continue;
        }
        if let Some((other, span)) = first_wait(draft, &startable, index) {
            let other = &draft.jobs[other].name.value;
            let message = format!(
                "cannot ever start job \"{}\": it waits for job \"{other}\", which cannot start",
                job.name.value
            );
            problems.add(Problem::new(&NEVER_RUNS, span, message));
        }
    }
}

/// Finds the jobs that can start: those that wait for nothing first, then what waits for them.
fn startable(draft: &Draft) -> Vec<bool> {
    let mut startable = vec![false; draft.jobs.len()];
    let mut waiting: Vec<usize> = (0..draft.jobs.len()).collect();
    while let Some(index) = waiting.pop() {
        if startable[index] || !can_start(draft, &startable, index) {
            continue;
        }
        startable[index] = true;
        let name = &draft.jobs[index].name.value;
        waiting.extend_from_slice(draft.listeners(name));
        waiting.extend_from_slice(draft.listeners(&format!("check.{name}")));
    }
    startable
}

fn can_start(draft: &Draft, startable: &[bool], index: usize) -> bool {
    let can_come = |clause: &Clause| blocker(draft, startable, clause).is_none();
    match &draft.jobs[index].job.trigger {
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => true,
        Trigger::On(clause) => can_come(clause),
        Trigger::All(clauses) => clauses.iter().all(can_come),
        Trigger::Any(clauses) => clauses.iter().any(can_come),
    }
}

/// Gives the job that keeps a condition from ever holding.
fn blocker(draft: &Draft, startable: &[bool], clause: &Clause) -> Option<usize> {
    let name = match &clause.source {
        SourceName::Job(name) | SourceName::Check(name) => name,
        SourceName::Global | SourceName::Watch(_) | SourceName::Lock(_) | SourceName::Signal(_) => {
            return None;
        }
    };
    let (index, job) = draft.job(name)?;
    let comes_anyway = match clause.code {
        // A job that cannot start says so; one that gives up waiting stops as if it had run.
        Code::Skipped | Code::TimerExpired => true,
        Code::Stopping | Code::Stopped => job.when.timeout.is_some(),
        _ => false,
    };
    (!startable[index] && !comes_anyway).then_some(index)
}

/// Gives the first job that a job waits for in vain, and where that is written.
fn first_wait(draft: &Draft, startable: &[bool], index: usize) -> Option<(usize, Span)> {
    let job = &draft.jobs[index];
    let clauses = match &job.job.trigger {
        Trigger::On(clause) => std::slice::from_ref(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses,
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &[],
    };
    let spans = job.when.trigger.clauses().iter().map(|clause| clause.source.span);
    clauses
        .iter()
        .zip(spans)
        .find_map(|(clause, span)| Some((blocker(draft, startable, clause)?, span)))
}

/// Follows the waits from a job until one comes again; gives that circle, each only once.
fn circle_from(
    draft: &Draft,
    startable: &[bool],
    start: usize,
    walked: &mut [Option<usize>],
) -> Option<Vec<usize>> {
    let mut path = Vec::new();
    let mut at = start;
    while walked[at].is_none() {
        walked[at] = Some(start);
        path.push(at);
        (at, _) = first_wait(draft, startable, at)?;
    }
    // Come across in an earlier walk: its circle, if there is one, has been found.
    if walked[at] != Some(start) {
        return None;
    }
    let begin = path.iter().position(|member| *member == at)?;
    Some(path.split_off(begin))
}

/// How many jobs of a circle are named.
const NAMES_MAX: usize = 12;

fn report_circle(draft: &Draft, startable: &[bool], circle: &[usize], problems: &mut Problems) {
    // Begin with the job that comes first in the file.
    let Some(first) = circle.iter().enumerate().min_by_key(|(_, index)| **index).map(|(at, _)| at)
    else {
        return;
    };
    let mut circle = circle.to_vec();
    circle.rotate_left(first);
    let name = |index: &usize| format!("\"{}\"", draft.jobs[*index].name.value);
    let Some(start) = circle.first() else {
        return;
    };
    let mut chain: Vec<String> = circle.iter().take(NAMES_MAX).map(name).collect();
    if circle.len() > NAMES_MAX {
        chain.push(String::from("…"));
    }
    chain.push(name(start));
    let message = match circle.len() {
        1 => format!("cannot ever start job {}: it waits for itself", name(start)),
        _ => format!(
            "cannot ever start these jobs, which wait for each other: {}",
            chain.join(" → ")
        ),
    };
    let mut places = circle.iter().filter_map(|index| {
        let (next, span) = first_wait(draft, startable, *index)?;
        Some((span, format!("{} waits for {} here", name(index), name(&next))))
    });
    let Some((span, _)) = places.next() else {
        return;
    };
    let mut problem = Problem::new(&WAIT_CYCLE, span, message);
    for (span, label) in places.take(8) {
        problem = problem.related(span, label);
    }
    problems.add(problem.help("let one of them start without the others"));
}
