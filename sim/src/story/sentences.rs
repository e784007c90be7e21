//! What is said about inputs, effects and parts.

use core::time::Duration;

use steersman_engine::Code;
use steersman_engine::config::{Clause, Job, Name, Repeat, Signal, SourceName, Trigger};
use steersman_engine::effect::{Changes, DropReason, Message, ShutdownCause, StopPhase};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};

use crate::script::{Draws, Life, Reaction, Script, Start};

pub(super) fn ended(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("ended with status {code}"),
        ExitStatus::Signal(signal) => format!("ended by {}", signal_name(Signal(signal))),
    }
}

pub(super) fn signal_name(signal: Signal) -> String {
    let name = match signal.0 {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        6 => "SIGABRT",
        9 => "SIGKILL",
        10 => "SIGUSR1",
        11 => "SIGSEGV",
        12 => "SIGUSR2",
        15 => "SIGTERM",
        number => return format!("signal {number}"),
    };
    String::from(name)
}

/// Says for what a job waits.
pub(super) fn trigger(job: &Job) -> String {
    match &job.trigger {
        Trigger::Startup => String::from("it starts when the supervisor does"),
        Trigger::On(one) => format!("it starts {}", clause(one)),
        Trigger::All(all) => format!("it starts when all of these hold: {}", clauses(all)),
        Trigger::Any(any) => format!("it starts on any of these: {}", clauses(any)),
        Trigger::Interval(every) => format!("it runs every {}", duration(*every)),
        Trigger::Schedule(_) => String::from("its schedule says so"),
    }
}

/// Lists the events for which a job waits, each with its source as events name it.
pub(super) fn awaited(job: &Job) -> Vec<(Code, String)> {
    let all: &[Clause] = match &job.trigger {
        Trigger::On(one) => core::slice::from_ref(one),
        Trigger::All(all) | Trigger::Any(all) => all,
        Trigger::Startup | Trigger::Interval(_) | Trigger::Schedule(_) => &[],
    };
    let source = |clause: &Clause| match &clause.source {
        SourceName::Global => String::from("global"),
        SourceName::Signal(signal) => signal.as_str().to_owned(),
        SourceName::Job(name) => name.to_string(),
        SourceName::Check(name) => format!("check.{name}"),
        SourceName::Watch(name) => format!("watch.{name}"),
        SourceName::Lock(name) => format!("lock.{name}"),
    };
    all.iter().map(|clause| (clause.code, source(clause))).collect()
}

fn clauses(clauses: &[Clause]) -> String {
    clauses.iter().map(clause).collect::<Vec<_>>().join("; ")
}

fn clause(clause: &Clause) -> String {
    let repeat = match clause.repeat {
        Repeat::Once => "once",
        Repeat::Each => "each time",
    };
    let source = match &clause.source {
        SourceName::Global => return format!("{repeat} on {}", clause.code),
        SourceName::Signal(signal) => return format!("{repeat} {} comes", signal.as_str()),
        SourceName::Job(name) => format!("\"{name}\""),
        SourceName::Check(name) => format!("the check of \"{name}\""),
        SourceName::Watch(name) => format!("watch \"{name}\""),
        SourceName::Lock(name) => format!("lock \"{name}\""),
    };
    format!("{repeat} {source} says {}", clause.code)
}

pub(super) fn code(code: Code) -> &'static str {
    match code {
        Code::Startup => "begins",
        Code::Shutdown => "is to stop",
        Code::ExitSuccess => "ended well",
        Code::ExitFailed => "ended badly",
        Code::Healthy => "is healthy",
        Code::Unhealthy => "is unhealthy",
        Code::Changed => "changed",
        Code::Stopping => "begins to stop",
        Code::Stopped => "has stopped",
        Code::Skipped => "will never run",
        Code::EnterMaintenance => "goes into maintenance",
        Code::ExitMaintenance => "leaves maintenance",
        Code::TimerExpired => "gave up waiting",
        Code::Signal => "got a signal",
        Code::Stale => "cannot be read",
        Code::Acquired => "is acquired",
        Code::Jeopardy => "is in jeopardy",
        Code::Lost => "is being lost",
        Code::Released => "is given back",
        Code::Observed => "is held by somebody else",
    }
}

pub(super) fn outside_signal(signal: SignalName) -> (String, &'static str) {
    let why = match signal {
        SignalName::Term | SignalName::Int => {
            "Somebody asks the supervisor to stop, as `docker stop` does; a second one hurries it."
        }
        SignalName::Hup | SignalName::Usr2 => "Jobs may react to this signal.",
        SignalName::Usr1 => "Log files are opened again.",
    };
    (format!("{} to the supervisor", signal.as_str()), why)
}

pub(super) fn control(command: &Control) -> String {
    match command {
        Control::PutEnv(list) => format!("{} variables are set", list.len()),
        Control::PutMetric(list) => format!("{} metrics are fed", list.len()),
        Control::Reload { all: false } => String::from("reload is asked for"),
        Control::Reload { all: true } => String::from("reload of everything is asked for"),
        Control::Maintenance(true) => String::from("maintenance is switched on"),
        Control::Maintenance(false) => String::from("maintenance is switched off"),
        Control::SignalJob { job, signal } => {
            format!("{} is asked for \"{job}\"", signal_name(*signal))
        }
        Control::RestartJob { job } => format!("restart of \"{job}\" is asked for"),
    }
}

/// Says what is remarkable in a record that no other mark tells, and whether it is bad.
pub(super) fn remark(message: &Message) -> Option<(String, bool)> {
    let text = match message {
        Message::StartFailed { reason } => format!("cannot be started: {reason}"),
        Message::NeverStarts { source } => format!("can never start: {source} has ended"),
        Message::GaveUpWaiting { after } => {
            format!("gave up waiting for its trigger after {}", duration(*after))
        }
        Message::TriggersDropped { count, reason } => {
            let reason = match reason {
                DropReason::Stopping => "it is stopping",
                DropReason::TooMany => "more wait than are kept",
            };
            format!("{count} starts are dropped: {reason}")
        }
        Message::Unkillable => String::from("does not go even after SIGKILL"),
        Message::CheckTimedOut { after } => {
            format!("its check took longer than {}", duration(*after))
        }
        Message::CatalogFails { failure } => format!("Consul fails: {failure:?}"),
        Message::RegistrationLost { service } => format!("Consul has forgotten {service}"),
        Message::DeregistrationAbandoned { service } => {
            format!("{service} could not be taken out of the catalog in time")
        }
        Message::WatchStale { watch } => format!("watch {watch} cannot be read any more"),
        Message::ReloadRefused { reason } => format!("the new configuration is refused: {reason}"),
        Message::CatalogBack => return Some((String::from("Consul can be reached again"), false)),
        Message::Reloaded(changes) => return Some((changed(changes), false)),
        _ => return None,
    };
    Some((text, true))
}

fn changed(changes: &Changes) -> String {
    let part = |verb: &str, names: &[Name]| {
        (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")))
    };
    let parts = [
        part("adds", &changes.added),
        part("removes", &changes.removed),
        part("restarts", &changes.restarted),
        part("updates", &changes.updated),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    match parts.is_empty() {
        true => String::from("the new configuration changes nothing"),
        false => format!("a new configuration {}", parts.join("; ")),
    }
}

/// Says why a process gets a signal, from what the supervisor said in the same breath.
pub(super) fn why_signalled(message: &Message) -> Option<String> {
    Some(match message {
        Message::TimedOut { after } => {
            format!("The run took longer than the {} it may take.", duration(*after))
        }
        Message::CheckTimedOut { after } => {
            format!("The check took longer than the {} it may take.", duration(*after))
        }
        Message::KilledAfter { after } => {
            format!("It did not end within {} of the stop signal.", duration(*after))
        }
        Message::StopBudgetSpent { after, phase } => {
            let phase = match phase {
                StopPhase::Hooks => "still waited for the jobs that react to its stop",
                StopPhase::Catalog => "still waited to be out of the catalog",
                StopPhase::Process => "had not ended yet",
            };
            format!("The {} of the shutdown are used up, and it {phase}.", duration(*after))
        }
        Message::HooksCut { after } => {
            format!("It reacts to a stop and took longer than {}.", duration(*after))
        }
        Message::LeftBehind => String::from("Its first process has ended and left this behind."),
        Message::Hurrying => String::from("The supervisor was asked to stop for the second time."),
        Message::ShuttingDown { cause: ShutdownCause::Asked } => {
            String::from("The supervisor was asked to stop.")
        }
        Message::ShuttingDown { cause: ShutdownCause::Essential } => {
            String::from("An essential job has ended, and the container with it.")
        }
        Message::Stopping => String::from("Its stop sequence has begun."),
        _ => return None,
    })
}

/// Says how a part differs from the ordinary one.
pub(crate) fn difference(script: &Script, ordinary: &Script) -> Vec<String> {
    let mut parts = Vec::new();
    if script.start != ordinary.start {
        parts.push(match &script.start {
            Start::After(after) => format!("takes {} to start", duration(*after)),
            Start::Fails { reason, .. } => format!("cannot be started ({reason})"),
            Start::Hangs => String::from("never finishes starting"),
        });
    }
    if script.life != ordinary.life {
        parts.push(match script.life {
            Life::Endless => String::from("does not end by itself"),
            Life::Ends { after, status } => format!("{} after {}", ended(status), duration(after)),
        });
    }
    if script.asked != ordinary.asked {
        parts.push(match script.asked {
            Reaction::Dies => String::from("dies of a stop signal at once"),
            Reaction::Ends { after, status } => {
                format!("needs {} to stop and {}", duration(after), ended(status))
            }
            Reaction::Ignores => String::from("ignores stop signals"),
        });
    }
    if script.killed_after != ordinary.killed_after {
        parts.push(match script.killed_after {
            Some(after) => format!("is gone {} after SIGKILL", duration(after)),
            None => String::from("does not even die of SIGKILL"),
        });
    }
    if let (Some(child), None) = (script.leaves, ordinary.leaves) {
        let manner = if child.polite { "" } else { " that ignores signals" };
        parts.push(match child.lasts {
            Some(lasts) => format!("leaves a child{manner} for {}", duration(lasts)),
            None => format!("leaves a child{manner} behind"),
        });
    }
    if script.output != ordinary.output && !script.output.is_empty() {
        parts.push(format!("says \"{}\"", script.output));
    }
    if let Draws::Listed(list) = &script.draws
        && script.draws != ordinary.draws
    {
        let times: Vec<_> = list.values().map(|time| duration(*time)).collect();
        parts.push(format!("takes its time ({})", times.join(", ")));
    }
    parts
}

/// Shows a duration in the largest unit that is exact enough for people.
pub(crate) fn duration(duration: Duration) -> String {
    let micros = duration.as_micros();
    match micros {
        0 => String::from("no time"),
        1..=999 => format!("{micros} µs"),
        1_000..=9_999 if !micros.is_multiple_of(1_000) => format!("{:.1} ms", micros as f64 / 1e3),
        1_000..=999_999 => format!("{} ms", micros / 1_000),
        _ if micros.is_multiple_of(1_000_000) => format!("{} s", micros / 1_000_000),
        1_000_000..=99_999_999 => format!("{:.2} s", micros as f64 / 1e6),
        _ => format!("{} s", micros / 1_000_000),
    }
}
