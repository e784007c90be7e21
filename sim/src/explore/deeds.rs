//! What no configuration can be expected to bear, and the supervisor is: other configurations,
//! requests that make no sense, signals too early, results that come again.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::config::{
    Clause, Config, Job, Name, Restarts, SourceName, Trigger, WatchTarget,
};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus, Tree};
use steersman_engine::{Input, JobId, RunId, RunKind, Time};

use crate::explore::manner::Span;
use crate::explore::plan::{Anchor, Deed, NodeSpec, Point, When};
use crate::explore::swarm::Fault;
use crate::random::Random;
use crate::world::Action;

/// Draws a signal to the supervisor: one that stops it, perhaps twice, or another.
pub(crate) fn draw_signal(
    fault: Fault,
    node: &NodeSpec,
    random: Random,
    at: Time,
    put: &mut dyn FnMut(Time, Action),
) {
    let stop = match random.stream("int").happens(100_000) {
        true => SignalName::Int,
        false => SignalName::Term,
    };
    let others = [SignalName::Hup, SignalName::Usr2, SignalName::Usr1];
    let early = [SignalName::Term, SignalName::Hup, SignalName::Usr1];
    let pick = |all: &[SignalName]| {
        let signal = random.stream("which").pick(all).copied();
        Action::Signal(signal.unwrap_or(SignalName::Hup))
    };
    match fault {
        Fault::Early => put(Time(0), pick(&early)),
        Fault::Signal => put(at, pick(&others)),
        _ => put(at, Action::Signal(stop)),
    }
    if fault == Fault::StopAgain {
        put(again(node, random, at), Action::Signal(stop));
    }
}

/// Draws when somebody asks again who has asked for a stop: soon, or when it has had its time.
fn again(node: &NodeSpec, random: Random, at: Time) -> Time {
    let budget = node.config.stop_timeout;
    let near = random.stream("near").happens(500_000);
    let most = if near { Duration::from_secs(1) } else { budget };
    let span = Span { from: Duration::from_nanos(1), to: most };
    let from = at + if near { budget } else { Duration::ZERO };
    from + span.draw(random.stream("again"))
}

/// Draws another configuration, and sometimes the way back.
pub(crate) fn draw_rewrite(
    node: &NodeSpec,
    random: Random,
    (at, later): (Time, Time),
    put: &mut dyn FnMut(Time, Action),
) {
    put(at, Action::WriteConfig(Ok(changed(&node.config, random.stream("other")))));
    put(at + Duration::from_nanos(1), reload());
    if random.stream("back").happens(500_000) {
        put(later, Action::WriteConfig(Ok(node.config.clone())));
        put(later + Duration::from_nanos(1), reload());
    }
}

/// A reload of what is in the file.
const fn reload() -> Action {
    Action::Control(Control::Reload { all: false })
}

/// Draws something asked for over the control plane that is not about stopping and starting.
pub(crate) fn draw_command(
    node: &NodeSpec,
    random: Random,
    at: Time,
    put: &mut dyn FnMut(Time, Action),
) {
    let value = || Some(Box::from("value"));
    let metric = random.stream("metric").pick(&node.config.metrics);
    let metric: Box<str> = metric.map_or_else(|| "nothing".into(), |it| Box::from(&*it.name));
    let amount = if random.stream("sign").happens(500_000) { 1.0 } else { -1.0 };
    let command = match random.stream("command").below(8) {
        0 => Control::PutEnv(vec![("COLOUR".into(), value()), ("SIZE".into(), None)]),
        1 => Control::PutEnv(vec![("GOOD".into(), value()), ("BAD=NAME".into(), value())]),
        2 => Control::PutMetric(vec![(metric, amount)]),
        3 => Control::PutMetric(vec![(metric, amount), ("nothing".into(), 1.0)]),
        4 => Control::RestartJob { job: "nobody".into() },
        5 => Control::Maintenance(random.stream("on").happens(500_000)),
        6 => {
            let mut files = node.config.watches.iter().filter_map(|watch| match &watch.target {
                WatchTarget::File(path) => Some(path.clone()),
                _ => None,
            });
            let contents = random.stream("contents").below(4);
            let contents = (contents > 0).then(|| "x".repeat(contents as usize).into());
            if let Some(path) = files.next() {
                put(at, Action::WriteFile { path, contents });
            }
            return;
        }
        _ => {
            // A storm: some of them come while the file is being read.
            for after in [0, 1, 2, 4] {
                put(at + Duration::from_millis(after), reload());
            }
            return;
        }
    };
    put(at, Action::Control(command));
}

/// Draws a result that comes again, or for nobody.
pub(crate) fn nonsense(node: &NodeSpec, random: Random) -> Option<Deed> {
    let index = random.stream("job").below(node.config.jobs.len() as u64);
    let index = u16::try_from(index).ok()?;
    let job = node.config.jobs.get(usize::from(index))?.name.clone();
    let is_check = random.stream("check").happens(300_000);
    let kind = if is_check { RunKind::Check } else { RunKind::Main };
    let nth = u32::try_from(random.stream("nth").between(1, 3)).unwrap_or(1);
    let foreign = random.stream("foreign").happens(100_000);
    let run = RunId { job: JobId(if foreign { 60_000 } else { index }), kind, nth };
    let code = u8::try_from(random.stream("code").below(3)).unwrap_or(0);
    let status = ExitStatus::Code(code);
    let input = match random.stream("what").below(8) {
        0 => Input::Started { run, pid: 4_000 },
        1 => Input::StartFailed { run, reason: "late".into() },
        2 => Input::Begin,
        3 => Input::Loaded { config: Err("nobody asked".into()) },
        _ => Input::Exited { run, status, tree: Tree::Gone, output: "".into() },
    };
    let delay = Span::millis(0, 5_000).draw(random.stream("delay"));
    let delay = if random.stream("soon").happens(300_000) { Duration::ZERO } else { delay };
    let anchor = Anchor { node: node.name.clone(), job, kind, nth, point: Point::Ended };
    let when = When::After { anchor, delay };
    Some(Deed { when, node: node.name.clone(), action: Action::Inject(input) })
}

/// Draws a configuration that differs in a few things.
fn changed(config: &Config, random: Random) -> Config {
    let mut config = config.clone();
    for nth in 0..=random.stream("count").below(3) {
        let random = random.keyed(nth);
        let count = config.jobs.len() as u64;
        let index = usize::try_from(random.stream("job").below(count)).unwrap_or(0);
        if random.stream("what").below(6) == 0 {
            let name = Name::from(format!("extra{}", random.stream("name").below(2)));
            if config.jobs.iter().all(|job| job.name != name) {
                let from = config.jobs.get(index);
                config.jobs.extend(from.map(|job| Arc::new(Job { name, ..(**job).clone() })));
            }
            continue;
        }
        let is_spared =
            count < 2 || config.jobs.get(index).is_none_or(|job| is_named(&config, job));
        let Some(job) = config.jobs.get_mut(index) else { continue };
        let job = Arc::make_mut(job);
        match random.stream("what").below(6) {
            1 => job.restarts = Restarts::Limited(2),
            2 => job.trigger = Trigger::Startup,
            3 => job.kill_timeout = Some(Duration::from_millis(700)),
            4 => {
                if let Some(health) = &mut job.health {
                    health.interval += Duration::from_millis(500);
                }
            }
            5 if !is_spared => {
                config.jobs.remove(index);
            }
            _ => {
                let command = job.command.as_ref().map(|command| {
                    let mut command = (**command).clone();
                    command.argv.push("--other".into());
                    Arc::new(command)
                });
                job.command = command;
            }
        }
    }
    config
}

/// Tells whether a job is named by another: then it cannot be left out.
fn is_named(config: &Config, job: &Job) -> bool {
    let names = |clause: &Clause| match &clause.source {
        SourceName::Job(name) | SourceName::Check(name) => *name == job.name,
        _ => false,
    };
    let of_lock = config.locks.iter().any(|lock| lock.healthy.as_ref() == Some(&job.name));
    let others = config.jobs.iter().filter(|other| other.name != job.name);
    let is_heard = |other: &Arc<Job>| match &other.trigger {
        Trigger::On(clause) => names(clause),
        Trigger::All(clauses) | Trigger::Any(clauses) => clauses.iter().any(names),
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => false,
    };
    of_lock || others.into_iter().any(is_heard)
}
