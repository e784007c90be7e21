//! The words of the engine's messages.

use std::time::Duration;

use steersman_engine::consul::ConsulFailure;
use steersman_engine::effect::{Changes, DropReason, Message, ShutdownCause, StopPhase};
use steersman_engine::input::{ExitStatus, KeeperPowers};
use steersman_engine::term::LossReason;

/// The words of a message of the engine.
pub fn text(message: &Message) -> String {
    let said = |words: &str| String::from(words);
    let t = |span: &Duration| duration_text(*span);
    match message {
        Message::Started { pid } => format!("started, pid {pid}"),
        Message::StartFailed { reason } => said(reason),
        Message::Exited { status, after } => format!("{} after {}", exit_text(*status), t(after)),
        Message::BackingOff { delay } => format!("next start in {}", t(delay)),
        Message::TimedOut { after } => format!("killed: still running after {}", t(after)),
        Message::CheckTimedOut { after } => format!("health check killed after {}", t(after)),
        Message::BecameHealthy => said("healthy"),
        Message::BecameUnhealthy { output } => format!("unhealthy: {}", output.trim_end()),
        Message::Stopping => said("stopping"),
        Message::Stopped => said("stopped"),
        Message::NeverStarts { source } => never_text(source),
        Message::GaveUpWaiting { after } => format!("gave up: no trigger within {}", t(after)),
        Message::HooksCut { after } => {
            format!("waited {} for the jobs that react to its stopping; going on", t(after))
        }
        Message::KilledAfter { after } => format!("killed {} after its stop signal", t(after)),
        Message::StopBudgetSpent { after, phase } => {
            format!("killed: the stop timeout of {} is spent {}", t(after), phase_text(*phase))
        }
        Message::Unkillable => said("cannot end its process: not even SIGKILL did"),
        Message::LeftBehind => said("its process has ended and left others behind: ending them"),
        Message::TriggersDropped { count, reason } => {
            format!("dropped {count} waiting starts: {}", drop_text(*reason))
        }
        Message::ShuttingDown { cause } => format!("shutting down: {}", cause_text(*cause)),
        Message::Hurrying => said("asked again to stop: killing everything now"),
        Message::Maintenance { on: true } => said("maintenance is on"),
        Message::Maintenance { on: false } => said("maintenance is off"),
        Message::CatalogBack => said("Consul can be reached again"),
        Message::CatalogFails { failure } => {
            format!("cannot use Consul, trying on: {}", failure_text(failure))
        }
        Message::Registered { service } => format!("registered in Consul as {service}"),
        Message::RegistrationLost { service } => format!("registering {service} again: it is gone"),
        Message::Deregistered { service } => format!("{service} is out of Consul"),
        Message::DeregistrationAbandoned { service } => {
            format!("cannot take {service} out of Consul in time: going on without")
        }
        Message::WatchChanged { watch, count } => format!("watch {watch}: {count} now"),
        Message::LockGranted { lock, token, quiet } => granted_text(lock, *token, *quiet),
        Message::LockHeld { lock, token } => format!("lock {lock}: held, token {token}"),
        Message::LockLost { lock, reason } => {
            format!("lock {lock}: the term ends, {}", loss_text(*reason))
        }
        Message::LockGivenUp { lock, after } => given_up_text(lock, *after),
        Message::KeeperReady(powers) => keeper_text(*powers),
        Message::KeeperLost { reason } => keeperless_text(reason),
        Message::KeeperKilled { lock, count, after } => killed_text(lock, *count, *after),
        Message::WatchStale { watch } => {
            format!("watch {watch}: out of reach for too long, the last reading is kept")
        }
        Message::Reloaded(changes) => changes_text(changes),
        Message::ReloadRefused { reason } => {
            format!("cannot use the new configuration, the old one stays in force: {reason}")
        }
    }
}

fn granted_text(lock: &str, token: u64, quiet: Duration) -> String {
    let quiet = match quiet.is_zero() {
        true => String::new(),
        false => {
            format!("; quiet for {} until an old holder has certainly gone", duration_text(quiet))
        }
    };
    format!("lock {lock}: granted, token {token}{quiet}")
}

/// Says why a term ended.
pub fn loss_text(reason: LossReason) -> &'static str {
    match reason {
        LossReason::Deadline => "no renewal, or no reading of the key, was answered in time",
        LossReason::SessionGone => "Consul does not know the session any more",
        LossReason::KeyGone => "the key is not held by this session any more",
        LossReason::Unhealthy => "the job that must be healthy was not for too long",
        LossReason::GivenUp => "given up",
        LossReason::Stopping => "the supervisor stops",
        LossReason::Unguarded => "it requires a keeper, and there is none",
    }
}

fn never_text(source: &str) -> String {
    format!("will never start: \"{source}\" has ended without the event it waits for")
}

fn given_up_text(lock: &str, after: Duration) -> String {
    format!("lock {lock}: given up, somebody else has held it for {}", duration_text(after))
}

fn keeperless_text(reason: &str) -> String {
    format!("no keeper, the supervisor alone ends terms in time; another try follows: {reason}")
}

fn killed_text(lock: &str, count: u32, after: Duration) -> String {
    let after = duration_text(after);
    format!("lock {lock}: the keeper killed {count} processes, gone {after} after their time")
}

fn keeper_text(powers: KeeperPowers) -> String {
    let KeeperPowers { is_realtime, is_locked, is_spared } = powers;
    let refused: Vec<&str> = [
        (is_realtime, "real-time priority"),
        (is_locked, "locked memory"),
        (is_spared, "safety from the memory killer"),
    ]
    .into_iter()
    .filter_map(|(has, what)| (!has).then_some(what))
    .collect();
    match refused.is_empty() {
        true => String::from("a keeper watches over the processes of the term"),
        false => format!(
            "a keeper watches over the processes of the term, without {}",
            refused.join(", ")
        ),
    }
}

fn phase_text(phase: StopPhase) -> &'static str {
    match phase {
        StopPhase::Hooks => "while waiting for jobs that react to its stopping",
        StopPhase::Catalog => "while waiting to be out of Consul",
        StopPhase::Process => "while waiting for its process to end",
    }
}

fn drop_text(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Stopping => "it is stopping",
        DropReason::TooMany => "too many are waiting",
    }
}

fn cause_text(cause: ShutdownCause) -> &'static str {
    match cause {
        ShutdownCause::Asked => "asked to",
        ShutdownCause::Essential => "an essential job has ended",
    }
}

fn failure_text(failure: &ConsulFailure) -> String {
    match failure {
        ConsulFailure::Unreachable(reason) | ConsulFailure::Garbled(reason) => reason.to_string(),
        ConsulFailure::Refused { status, body } => format!("it answered {status}: {body}"),
        ConsulFailure::Unknown => String::from("it does not know what was asked about"),
    }
}

fn exit_text(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(code) => format!("ended with status {code}"),
        ExitStatus::Signal(signal) => match signal_name(signal) {
            Some(name) => format!("ended by {name}"),
            None => format!("ended by signal {signal}"),
        },
    }
}

fn signal_name(signal: u8) -> Option<&'static str> {
    nix::sys::signal::Signal::try_from(i32::from(signal)).ok().map(|signal| signal.as_str())
}

/// As Rust prints a duration, without digits nobody reads.
fn duration_text(duration: Duration) -> String {
    let rounded = if duration < Duration::from_secs(1) {
        Duration::from_micros(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    } else {
        Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
    };
    format!("{rounded:?}")
}

fn changes_text(changes: &Changes) -> String {
    let mut text = String::from("configuration reloaded:");
    let lists = [
        ("added", &changes.added),
        ("removed", &changes.removed),
        ("restarted", &changes.restarted),
        ("updated", &changes.updated),
    ];
    for (word, names) in lists {
        if !names.is_empty() {
            let names: Vec<&str> = names.iter().map(|name| &**name).collect();
            text.push_str(&format!(" {word} {};", names.join(", ")));
        }
    }
    text.push_str(&format!(" {} unchanged", changes.unchanged));
    text
}
