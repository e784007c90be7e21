//! Warnings about a configuration as a whole: stop budgets, handlers without a trigger, names.

use std::collections::BTreeMap;
use std::time::Duration;

use super::duration::show;
use super::jobs::JobDraft;
use super::link::Draft;
use super::problem::{
    FEEDBACK_LOOP, HANDLER_WITHOUT_TRIGGER, IGNORED_KEY, NAME_CLASH, NOTHING_TO_DO, Problem,
    Problems, STOP_BUDGET, UNKNOWN_SOURCE,
};
use super::text::Span;
use super::when::{ClauseDraft, TriggerDraft};
use crate::config::{Config, Repeat, WatchTarget};
use crate::event::Code;

/// Warns about everything that shows only when all jobs are known.
pub(crate) fn report(draft: &Draft, top: Span, problems: &mut Problems) {
    if draft.jobs.iter().all(|job| job.job.builtin) {
        let message = "cannot do anything: there are no jobs";
        problems.add(Problem::new(&NOTHING_TO_DO, Span::new(top.start, top.start + 1), message));
    }
    for job in &draft.jobs {
        report_stop_budget(draft, job, problems);
        report_handler(job, problems);
        report_feedback(draft, job, problems);
    }
    report_locks(draft, problems);
    report_clashes(draft, problems);
}

/// Gives the jobs that react to an event of a job.
fn listeners<'d>(
    draft: &'d Draft,
    name: &'d str,
    code: Code,
) -> impl Iterator<Item = &'d JobDraft> + Clone {
    let is_it = move |clause: &ClauseDraft| {
        clause.code.as_ref().is_some_and(|at| at.value == code) && clause.source.value == name
    };
    draft
        .listeners(name)
        .iter()
        .filter_map(|index| draft.jobs.get(*index))
        .filter(move |job| job.name.value != name && job.when.trigger.clauses().iter().any(is_it))
}

fn report_stop_budget(draft: &Draft, job: &JobDraft, problems: &mut Problems) {
    let name = job.name.value.as_str();
    let global = draft.stop_timeout.as_ref().map_or(Config::default().stop_timeout, |at| at.value);
    let hooks = listeners(draft, name, Code::Stopping);
    if let Some(stop) = &job.stop_timeout {
        if hooks.clone().next().is_none() {
            let message = format!(
                "cannot use `stopTimeout` of job \"{name}\": no job reacts to its `stopping`"
            );
            let help = "the time from the stop signal to SIGKILL is `killTimeout`";
            problems.add(Problem::new(&IGNORED_KEY, stop.span, message).help(help));
        } else if stop.value >= global {
            let message = format!(
                "cannot stop job \"{name}\" in time: its hooks may take {}, all of the global \
                 stopTimeout of {}",
                show(stop.value),
                show(global)
            );
            let help = "leave time to end the process itself";
            problems.add(Problem::new(&STOP_BUDGET, stop.span, message).help(help));
        }
    }
    let patience = job.stop_timeout.as_ref().map_or(global, |at| at.value);
    for hook in hooks.clone() {
        let Some(timeout) = hook.timeout.as_ref().filter(|timeout| timeout.value > patience) else {
            continue;
        };
        let message = format!(
            "cannot let job \"{}\" run for {}: job \"{name}\" waits for it for {} only",
            hook.name.value,
            show(timeout.value),
            show(patience)
        );
        let mut problem = Problem::new(&STOP_BUDGET, timeout.span, message);
        if let Some(stop) = &job.stop_timeout {
            problem = problem.related(stop.span, "the wait");
        }
        problems.add(problem.help("a hook that is still running then is cut off"));
    }
    let longest_hook = hooks.filter_map(|hook| hook.job.timeout).max().unwrap_or(Duration::ZERO);
    report_sum(draft, job, longest_hook.min(patience), global, problems);
}

/// Adds up what is written: hooks, drain, the time to SIGKILL, and the hooks after it.
fn report_sum(
    draft: &Draft,
    job: &JobDraft,
    hooks: Duration,
    global: Duration,
    problems: &mut Problems,
) {
    let name = job.name.value.as_str();
    let drain = job.job.service.as_ref().map_or(Duration::ZERO, |service| service.drain);
    let kill = job.kill_timeout.as_ref().map_or(Duration::ZERO, |at| at.value);
    let sum = hooks + drain + kill;
    if let Some(at) = job.kill_timeout.as_ref().filter(|_| sum > global) {
        let message = format!(
            "cannot stop job \"{name}\" in time: hooks {} + drain {} + killTimeout {} are more \
             than the global \
             stopTimeout of {}",
            show(hooks),
            show(drain),
            show(kill),
            show(global)
        );
        let help = format!("use a stopTimeout of at least {}", show(sum));
        problems.add(Problem::new(&STOP_BUDGET, at.span, message).help(help));
        return;
    }
    for after in listeners(draft, name, Code::Stopped) {
        let Some(timeout) = after.timeout.as_ref().filter(|at| sum + at.value > global) else {
            continue;
        };
        let message = format!(
            "cannot run job \"{}\" to its end: stopping \"{name}\" may take {}, its own timeout is \
             {}, the global \
             stopTimeout {}",
            after.name.value,
            show(sum),
            show(timeout.value),
            show(global)
        );
        let help = format!("use a stopTimeout of at least {}", show(sum + timeout.value));
        problems.add(Problem::new(&STOP_BUDGET, timeout.span, message).help(help));
    }
}

/// How handlers are named, without `-` and `_`.
const HANDLER_NAMES: [&str; 12] = [
    "prestop",
    "poststop",
    "onstop",
    "onstopping",
    "onchange",
    "onunhealthy",
    "onhealthy",
    "onfail",
    "onexit",
    "onshutdown",
    "afterstop",
    "beforestop",
];

/// Warns about a job that is named like a handler but starts at once.
fn report_handler(job: &JobDraft, problems: &mut Problems) {
    if !matches!(job.when.trigger, TriggerDraft::Startup) || !job.has_exec {
        return;
    }
    let folded: String = job
        .name
        .value
        .chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect();
    if job.while_lock.is_none() && HANDLER_NAMES.iter().any(|name| folded.starts_with(name)) {
        let message = format!(
            "cannot tell what job \"{}\" reacts to: it has no `when` and starts at once",
            job.name.value
        );
        let help = "give `when: { source, once }`, such as once: \"stopping\"";
        problems.add(Problem::new(&HANDLER_WITHOUT_TRIGGER, job.name.span, message).help(help));
    }
}

/// Warns about a job that reacts to changes of the very service that it registers.
fn report_feedback(draft: &Draft, job: &JobDraft, problems: &mut Problems) {
    if job.job.service.is_none() {
        return;
    }
    let name = job.name.value.as_str();
    for clause in job.when.trigger.clauses() {
        let Some(watch) = clause.source.value.strip_prefix("watch.") else { continue };
        let watched = draft.watches.iter().find(|draft| draft.name.value == watch);
        let is_own = watched.is_some_and(|draft| match &draft.watch.target {
            WatchTarget::Service { name: watched, .. } => **watched == *name,
            WatchTarget::Key(_) | WatchTarget::Prefix(_) | WatchTarget::File(_) => false,
        });
        if clause.repeat.value == Repeat::Each && is_own {
            let message = format!(
                "cannot come to rest: job \"{name}\" runs again at each change of service \
                 \"{name}\", and registering it is one"
            );
            let help = "let a job of its own, without a port, react to the change";
            problems.add(Problem::new(&FEEDBACK_LOOP, clause.source.span, message).help(help));
        }
    }
}

fn report_locks(draft: &Draft, problems: &mut Problems) {
    for lock in &draft.locks {
        let Some(healthy) = &lock.healthy else { continue };
        let reason = match draft.job(&healthy.value) {
            Some((_, job)) if job.has_health => continue,
            Some(_) => "it has no health check",
            None => "there is no such job",
        };
        let message = format!(
            "cannot let lock \"{}\" depend on the health of job \"{}\": {reason}",
            lock.name.value, healthy.value
        );
        let names: Vec<&str> = draft
            .jobs
            .iter()
            .filter(|job| job.has_health)
            .map(|job| job.name.value.as_str())
            .collect();
        let help = super::near::suggestion(&healthy.value, names.iter().copied());
        problems.add(Problem::new(&UNKNOWN_SOURCE, healthy.span, message).maybe_help(help));
    }
    for job in &draft.jobs {
        let lock = job.while_lock.as_ref().or(job.stop_with.as_ref());
        let lock = lock.and_then(|name| draft.lock(&name.value));
        let (Some(lock), Some(kill)) = (lock, &job.kill_timeout) else { continue };
        if kill.value > lock.lock.stop_timeout {
            let message = format!(
                "cannot give job \"{}\" {} to end: lock \"{}\" allows {}",
                job.name.value,
                show(kill.value),
                lock.name.value,
                show(lock.lock.stop_timeout)
            );
            let help = "when the lock is lost, the lock's stopTimeout counts";
            problems.add(Problem::new(&STOP_BUDGET, kill.span, message).help(help));
        }
    }
}

/// Warns when two jobs make the same environment variable.
fn report_clashes(draft: &Draft, problems: &mut Problems) {
    let variable = |name: &str| -> String {
        let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        name.chars().map(upper).collect()
    };
    let mut seen: BTreeMap<String, &JobDraft> = BTreeMap::new();
    for job in draft.jobs.iter().filter(|job| !job.name.value.is_empty()) {
        let name = variable(&job.name.value);
        let Some(earlier) = seen.get(&name) else {
            seen.insert(name, job);
            continue;
        };
        // Two jobs of one name have been refused already.
        if earlier.name.value == job.name.value {
            continue;
        }
        let message = format!(
            "cannot tell jobs \"{}\" and \"{}\" apart in the environment: both are \
             CONTAINERPILOT_{name}_PID",
            earlier.name.value, job.name.value
        );
        let problem = Problem::new(&NAME_CLASH, job.name.span, message);
        problems.add(problem.related(earlier.name.span, "the other one"));
    }
}
