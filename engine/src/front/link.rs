//! Triggers linked to what produces their events, and what can never happen.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::adapter::TelemetryDraft;
use super::jobs::JobDraft;
use super::locks::LockDraft;
use super::near;
use super::problem::{EVENT_NEVER_SENT, Problem, Problems, UNKNOWN_SOURCE};
use super::settings::Consul;
use super::text::{At, Span};
use super::watches::WatchDraft;
use super::when::{ClauseDraft, SIGNAL_SOURCES, TriggerDraft, is_global};
use crate::config::{Clause, Name, SourceName, Trigger, WatchTarget};
use crate::event::{Code, SignalName};

/// Everything decoded from a file, before it is judged as a whole.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) jobs: Vec<JobDraft>,
    pub(crate) watches: Vec<WatchDraft>,
    pub(crate) locks: Vec<LockDraft>,
    pub(crate) consul: Option<Consul>,
    pub(crate) telemetry: Option<TelemetryDraft>,
    pub(crate) stop_timeout: Option<At<std::time::Duration>>,
    pub(crate) names: Names,
}

/// Where each name is; of two alike the first one.
#[derive(Debug, Default)]
pub(crate) struct Names {
    jobs: BTreeMap<String, usize>,
    watches: BTreeMap<String, usize>,
    locks: BTreeMap<String, usize>,
    /// The jobs that wait for an event of a source by this name.
    listeners: BTreeMap<String, Vec<usize>>,
}

impl Draft {
    /// Takes note of all names, once everything is decoded.
    pub(crate) fn index_names(&mut self) {
        fn index<'a>(names: impl Iterator<Item = &'a At<String>>) -> BTreeMap<String, usize> {
            let mut map = BTreeMap::new();
            for (index, name) in names.enumerate() {
                map.entry(name.value.clone()).or_insert(index);
            }
            map
        }
        let mut listeners: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for (index, job) in self.jobs.iter().enumerate() {
            for clause in job.when.trigger.clauses() {
                listeners.entry(clause.source.value.clone()).or_default().push(index);
            }
        }
        self.names = Names {
            jobs: index(self.jobs.iter().map(|job| &job.name)),
            watches: index(self.watches.iter().map(|watch| &watch.name)),
            locks: index(self.locks.iter().map(|lock| &lock.name)),
            listeners,
        };
    }

    pub(crate) fn job(&self, name: &str) -> Option<(usize, &JobDraft)> {
        let index = *self.names.jobs.get(name)?;
        self.jobs.get(index).map(|job| (index, job))
    }

    fn watch(&self, name: &str) -> Option<&WatchDraft> {
        self.watches.get(*self.names.watches.get(name)?)
    }

    pub(crate) fn lock(&self, name: &str) -> Option<&LockDraft> {
        self.locks.get(*self.names.locks.get(name)?)
    }

    /// Gives the jobs with a condition on a source, by the name that is written; some twice.
    pub(crate) fn listeners(&self, source: &str) -> &[usize] {
        self.names.listeners.get(source).map_or(&[], Vec::as_slice)
    }
}

/// Links every trigger; a job whose trigger has a problem keeps the default one.
pub(crate) fn link(draft: &mut Draft, problems: &mut Problems) {
    for index in 0..draft.jobs.len() {
        let linked = trigger(draft, index, problems);
        if let Some(linked) = linked {
            draft.jobs[index].job.trigger = linked;
        }
        let while_lock = draft.jobs[index].while_lock.clone();
        draft.jobs[index].job.while_lock = link_lock(draft, while_lock, problems);
        let stop_with = draft.jobs[index].stop_with.clone();
        draft.jobs[index].job.stop_with = link_lock(draft, stop_with, problems);
    }
}

fn link_lock(draft: &Draft, name: Option<At<String>>, problems: &mut Problems) -> Option<Name> {
    let name = name?;
    if draft.lock(&name.value).is_some() {
        return Some(Name::from(name.value));
    }
    let message = format!("cannot hold `lock.{}`: there is no such lock", name.value);
    let names: Vec<&str> = draft.locks.iter().map(|lock| lock.name.value.as_str()).collect();
    let help = near::suggestion(&name.value, names.iter().copied());
    problems.add(Problem::new(&UNKNOWN_SOURCE, name.span, message).maybe_help(help));
    None
}

fn trigger(draft: &Draft, index: usize, problems: &mut Problems) -> Option<Trigger> {
    let job = &draft.jobs[index];
    let all = |clauses: &[ClauseDraft], problems: &mut Problems| {
        let linked: Vec<Option<Clause>> =
            clauses.iter().map(|clause| link_clause(draft, job, clause, problems)).collect();
        linked.into_iter().collect::<Option<Vec<Clause>>>()
    };
    match &job.when.trigger {
        TriggerDraft::Startup => Some(Trigger::Startup),
        TriggerDraft::Interval(interval) => Some(Trigger::Interval(*interval)),
        TriggerDraft::Schedule(schedule) => Some(Trigger::Schedule(*schedule)),
        TriggerDraft::On(clause) => link_clause(draft, job, clause, problems).map(Trigger::On),
        TriggerDraft::All(clauses) => all(clauses, problems).map(Trigger::All),
        TriggerDraft::Any(clauses) => all(clauses, problems).map(Trigger::Any),
        TriggerDraft::Unknown => None,
    }
}

fn link_clause(
    draft: &Draft,
    job: &JobDraft,
    clause: &ClauseDraft,
    problems: &mut Problems,
) -> Option<Clause> {
    let Some(code) = &clause.code else {
        // What is said of the source must not depend on what the event should have been.
        let is_loose = matches!(clause.source.value.as_str(), "global" | "containerpilot");
        if !is_loose && resolve(draft, &clause.source.value).is_none() {
            problems.add(unknown_source(draft, job, clause));
        }
        return None;
    };
    let (code, code_span) = (code.value, code.span);
    let source = match is_global(code) {
        true => SourceName::Global,
        false => match resolve(draft, &clause.source.value) {
            Some(source) => source,
            None => {
                problems.add(unknown_source(draft, job, clause));
                return None;
            }
        },
    };
    if let Err((reason, help)) = sends(draft, &source, code) {
        let message = format!(
            "cannot start job \"{}\" on `{}` of `{}`: {reason}",
            job.name.value, code, clause.source.value
        );
        problems.add(Problem::new(&EVENT_NEVER_SENT, code_span, message).maybe_help(help));
        return None;
    }
    Some(Clause { code, source, repeat: clause.repeat.value })
}

/// Finds what a source's name means; a job may be named like anything.
fn resolve(draft: &Draft, source: &str) -> Option<SourceName> {
    let name = |rest: &str| Name::from(rest);
    match source {
        "SIGHUP" => return Some(SourceName::Signal(SignalName::Hup)),
        "SIGUSR2" => return Some(SourceName::Signal(SignalName::Usr2)),
        _ => {}
    }
    if let Some(rest) = source.strip_prefix("watch.").filter(|rest| draft.watch(rest).is_some()) {
        return Some(SourceName::Watch(name(rest)));
    }
    if let Some(rest) = source.strip_prefix("lock.").filter(|rest| draft.lock(rest).is_some()) {
        return Some(SourceName::Lock(name(rest)));
    }
    if let Some(rest) = source.strip_prefix("check.").filter(|rest| draft.job(rest).is_some()) {
        return Some(SourceName::Check(name(rest)));
    }
    draft.job(source).map(|_| SourceName::Job(name(source)))
}

fn unknown_source(draft: &Draft, job: &JobDraft, clause: &ClauseDraft) -> Problem {
    let source = clause.source.value.as_str();
    let message = format!(
        "cannot start job \"{}\" on an event of `{source}`: there is no such source",
        job.name.value
    );
    let problem = Problem::new(&UNKNOWN_SOURCE, clause.source.span, message);
    if draft.watch(source).is_some() {
        return problem.help(format!("the watch is meant by `watch.{source}`"));
    }
    let bare = source.strip_prefix("watch.").unwrap_or(source);
    if bare != source && draft.job(bare).is_some() {
        return problem.help(format!("`{bare}` is a job, and no watch has that name"));
    }
    if source.starts_with("SIG") {
        let help = "SIGHUP and SIGUSR2 are events; SIGTERM and SIGINT stop everything, SIGUSR1 \
                    reopens log files";
        return problem.help(help);
    }
    let names = all_sources(draft);
    problem.maybe_help(near::suggestion(source, names.iter().map(String::as_str)))
}

/// Lists every source that there is.
fn all_sources(draft: &Draft) -> Vec<String> {
    let jobs = draft.jobs.iter().map(|job| job.name.value.clone());
    let watches = draft.watches.iter().map(|watch| format!("watch.{}", watch.name.value));
    let locks = draft.locks.iter().map(|lock| format!("lock.{}", lock.name.value));
    let checks = draft.jobs.iter().filter(|job| job.has_check);
    let checks = checks.map(|job| format!("check.{}", job.name.value));
    let signals = SIGNAL_SOURCES.map(String::from);
    let mut named: Vec<String> =
        jobs.chain(watches).chain(locks).chain(checks).chain(signals).collect();
    named.retain(|name| !name.is_empty());
    named.dedup();
    named
}

type Never = (String, Option<String>);

/// Tells whether a source can have an event; if not, why, and what to do.
fn sends(draft: &Draft, source: &SourceName, code: Code) -> Result<(), Never> {
    let never = |reason: &str, help: Option<String>| Err((String::from(reason), help));
    match source {
        SourceName::Global | SourceName::Signal(_) => Ok(()),
        SourceName::Job(name) => match draft.job(name) {
            Some((_, job)) => sends_job(draft, job, code),
            None => Ok(()),
        },
        SourceName::Check(name) => match draft.job(name) {
            Some((_, job)) if !job.has_check => {
                never(&format!("job \"{name}\" has no health check that runs"), None)
            }
            _ if matches!(code, Code::ExitSuccess | Code::ExitFailed) => Ok(()),
            _ => never(
                "a check only has exitSuccess and exitFailed",
                Some(format!("`{name}` itself has the others")),
            ),
        },
        SourceName::Watch(name) => match code {
            Code::Changed | Code::Healthy | Code::Unhealthy => Ok(()),
            Code::Stale => match draft.watch(name).is_some_and(|watch| watch.watch.stale.is_none())
            {
                true => never(
                    "the watch has no `stale`",
                    Some(String::from("give the watch a `stale` time")),
                ),
                false => Ok(()),
            },
            _ => never("a watch only has changed, healthy, unhealthy and stale", None),
        },
        SourceName::Lock(_) => match code {
            Code::Acquired | Code::Jeopardy | Code::Lost | Code::Released | Code::Observed => {
                Ok(())
            }
            _ => never("a lock only has acquired, jeopardy, lost, released and observed", None),
        },
    }
}

fn sends_job(draft: &Draft, job: &JobDraft, code: Code) -> Result<(), Never> {
    let name = &job.name.value;
    let never = |reason: String, help: Option<String>| Err((reason, help));
    match code {
        Code::ExitSuccess | Code::ExitFailed if !job.has_exec => {
            never(format!("job \"{name}\" has no `exec`, so that it never exits"), None)
        }
        Code::Healthy | Code::Unhealthy if !job.has_health => {
            let help = match draft.watch(name) {
                Some(_) => format!("is the watch meant? write `watch.{name}`"),
                None => format!("give job \"{name}\" a `health`"),
            };
            never(format!("job \"{name}\" has no health check"), Some(help))
        }
        Code::TimerExpired if job.when.timeout.is_none() => {
            never(format!("job \"{name}\" has no `when.timeout`"), None)
        }
        Code::Changed | Code::Stale => {
            let help =
                draft.watch(name).map(|_| format!("is the watch meant? write `watch.{name}`"));
            never(String::from("only watches have it"), help)
        }
        Code::Acquired | Code::Jeopardy | Code::Lost | Code::Released | Code::Observed => {
            never(String::from("only locks have it"), None)
        }
        _ => Ok(()),
    }
}

/// Says what needs Consul when there is none.
pub(crate) fn report_missing_consul(draft: &Draft, problems: &mut Problems) {
    if draft.consul.is_some() {
        return;
    }
    let mut needs = needs_of_consul(&draft.jobs, &draft.watches, &draft.locks);
    let Some((span, first)) = needs.next() else {
        return;
    };
    let message = format!("cannot do without Consul: {first} needs it, and `consul` is left out");
    let mut problem = Problem::new(&super::problem::CONSUL_MISSING, span, message);
    for (span, what) in needs.take(RELATED_MAX) {
        problem = problem.related(span, format!("{what} needs it as well"));
    }
    problems.add(problem.help("add consul: \"HOST:8500\", or \"embedded\" for development"));
}

/// Warns when Consul would refuse some of the connections that all watches and locks need.
pub(crate) fn report_many_watches(draft: &Draft, problems: &mut Problems) {
    let is_of_consul = |watch: &&WatchDraft| !matches!(watch.watch.target, WatchTarget::File(_));
    let mut spans: Vec<Span> =
        draft.watches.iter().filter(is_of_consul).map(|watch| watch.name.span).collect();
    spans.extend(draft.locks.iter().map(|lock| lock.name.span));
    let Some(span) = spans.get(WATCHES_MAX) else { return };
    let message =
        format!("cannot keep {} watches and locks in touch with one Consul agent", spans.len());
    let help = "an agent takes 200 connections from one address (http_max_conns_per_client), and \
                each of these needs its own: watch a prefix, or raise the agent's limit";
    problems.add(Problem::new(&super::problem::MANY_WATCHES, *span, message).help(help));
}

/// Of an agent's 200 connections some are for short requests, and others may share the address.
const WATCHES_MAX: usize = 180;

/// Names everything that cannot do without Consul.
pub(crate) fn needs_of_consul<'a>(
    jobs: &'a [JobDraft],
    watches: &'a [WatchDraft],
    locks: &'a [LockDraft],
) -> impl Iterator<Item = (Span, String)> + 'a {
    let ports = jobs.iter().filter_map(|job| {
        let port = job.port.as_ref()?;
        Some((port.span, format!("port {} of job \"{}\"", port.value, job.name.value)))
    });
    let watches =
        watches.iter().filter(|watch| !matches!(watch.watch.target, WatchTarget::File(_)));
    let watches = watches.map(|watch| (watch.name.span, format!("watch \"{}\"", watch.name.value)));
    let locks = locks.iter().map(|lock| (lock.name.span, format!("lock \"{}\"", lock.name.value)));
    ports.chain(watches).chain(locks)
}

/// How many further places one problem names.
const RELATED_MAX: usize = 8;

/// Gives the jobs as the engine takes them.
pub(crate) fn into_jobs(jobs: Vec<JobDraft>) -> Vec<Arc<crate::config::Job>> {
    jobs.into_iter().map(|draft| Arc::new(draft.job)).collect()
}
