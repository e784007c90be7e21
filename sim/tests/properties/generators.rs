//! Random configurations, behaviours and actions.

use core::time::Duration;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use steersman_engine::Code;
use steersman_engine::config::{
    Backoff, Clause, Command, Config, HealthCheck, Job, Name, Repeat, Restarts, Signal, SourceName,
    Trigger,
};
use steersman_engine::event::SignalName;
use steersman_engine::input::{Control, ExitStatus};
use steersman_sim::script::{Child, Life, Reaction, Script, Start};

/// The most jobs of a random configuration.
pub(crate) const JOBS_MAX: usize = 5;

pub(crate) fn name(nth: usize) -> Name {
    Name::from(format!("job{nth}"))
}

/// Round durations, so that several things fall due at the same instant.
pub(crate) fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        1 => Just(Duration::ZERO),
        3 => (1u64..20).prop_map(|steps| Duration::from_millis(steps * 100)),
        4 => (1u64..15).prop_map(Duration::from_secs),
        1 => (1u64..2_000_000).prop_map(Duration::from_micros),
    ]
}

fn positive() -> impl Strategy<Value = Duration> {
    duration().prop_map(|duration| duration.max(Duration::from_millis(100)))
}

fn clause(jobs: usize) -> impl Strategy<Value = Clause> {
    use Code::{
        EnterMaintenance, ExitFailed, ExitMaintenance, ExitSuccess, Healthy, Shutdown, Skipped,
        Startup, Stopped, Stopping, TimerExpired, Unhealthy,
    };
    let of_job = prop::sample::select(vec![
        ExitSuccess,
        ExitFailed,
        Healthy,
        Unhealthy,
        Stopping,
        Stopped,
        Skipped,
        TimerExpired,
    ]);
    let of_check = prop::sample::select(vec![ExitSuccess, ExitFailed]);
    let of_all = prop::sample::select(vec![Startup, Shutdown, EnterMaintenance, ExitMaintenance]);
    let of_signal = prop::sample::select(vec![SignalName::Hup, SignalName::Usr2]);
    let repeat = prop::sample::select(vec![Repeat::Once, Repeat::Each]);
    let what = prop_oneof![
        6 => (of_job, 0..jobs).prop_map(|(code, job)| (code, SourceName::Job(name(job)))),
        1 => (of_check, 0..jobs).prop_map(|(code, job)| (code, SourceName::Check(name(job)))),
        1 => of_all.prop_map(|code| (code, SourceName::Global)),
        2 => of_signal.prop_map(|signal| (Code::Signal, SourceName::Signal(signal))),
    ];
    (what, repeat).prop_map(|((code, source), repeat)| Clause { code, source, repeat })
}

fn trigger(jobs: usize) -> impl Strategy<Value = Trigger> {
    prop_oneof![
        4 => Just(Trigger::Startup),
        5 => clause(jobs).prop_map(Trigger::On),
        1 => vec(clause(jobs), 1..4).prop_map(Trigger::All),
        1 => vec(clause(jobs), 1..4).prop_map(Trigger::Any),
        2 => positive().prop_map(Trigger::Interval),
    ]
}

fn health() -> impl Strategy<Value = HealthCheck> {
    let command = prop::bool::weighted(0.9);
    let times = (positive(), positive(), duration(), option::of(positive()));
    (command, times, 1u32..4).prop_map(|(has_command, times, retries)| HealthCheck {
        command: has_command.then(|| Arc::new(Command::new(["check"]))),
        interval: times.0,
        timeout: times.1,
        ttl: None,
        retries,
        start_period: times.2,
        start_interval: times.3,
    })
}

fn job(nth: usize, jobs: usize) -> impl Strategy<Value = Job> {
    let restarts = prop_oneof![(0u32..4).prop_map(Restarts::Limited), Just(Restarts::Unlimited),];
    // Without a wait between restarts a process that ends at once would fill the whole test.
    let patience = (option::of(positive()), option::of(duration()), option::of(duration()));
    let signal = prop::sample::select(vec![Signal(1), Signal(2), Signal::TERM]);
    let rare = (prop::bool::weighted(0.1), prop::bool::weighted(0.9), 0u8..3);
    let when = (trigger(jobs), option::weighted(0.2, duration()));
    (when, restarts, patience, signal, option::of(health()), rare).prop_map(
        move |((trigger, trigger_timeout), restarts, patience, stop_signal, health, rare)| {
            let command = Command::new(["x", ["a", "b", "c"][usize::from(rare.2)]]);
            Job {
                command: rare.1.then(|| Arc::new(command.clone())),
                trigger,
                trigger_timeout,
                restarts,
                backoff: Backoff::default(),
                timeout: patience.0,
                stop_timeout: patience.1,
                kill_timeout: patience.2,
                stop_signal,
                health,
                essential: rare.0,
                ..Job::new(&name(nth), command)
            }
        },
    )
}

/// A configuration; the same names come back in others, so that reloads meet.
pub(crate) fn config() -> impl Strategy<Value = Config> {
    let jobs = (1..=JOBS_MAX)
        .prop_flat_map(|count| (0..count).map(|nth| job(nth, count)).collect::<Vec<_>>());
    (jobs, positive()).prop_map(|(jobs, stop_timeout)| Config {
        jobs: jobs.into_iter().map(Arc::new).collect(),
        stop_timeout,
        ..Config::default()
    })
}

fn status() -> impl Strategy<Value = ExitStatus> {
    prop_oneof![
        3 => Just(ExitStatus::Code(0)),
        2 => (1u8..=255).prop_map(ExitStatus::Code),
        1 => (1u8..64).prop_map(ExitStatus::Signal),
    ]
}

pub(crate) fn script() -> impl Strategy<Value = Script> {
    let start = prop_oneof![
        8 => duration().prop_map(Start::After),
        1 => duration().prop_map(|after| Start::Fails { after, reason: Arc::from("no") }),
        1 => Just(Start::Hangs),
    ];
    let life = prop_oneof![
        1 => Just(Life::Endless),
        3 => (duration(), status()).prop_map(|(after, status)| Life::Ends { after, status }),
    ];
    let asked = prop_oneof![
        2 => Just(Reaction::Dies),
        2 => (duration(), status()).prop_map(|(after, status)| Reaction::Ends { after, status }),
        1 => Just(Reaction::Ignores),
    ];
    let killed_after = option::weighted(0.95, Just(Duration::from_millis(1)));
    let child = (option::of(duration()), any::<bool>());
    let leaves = option::weighted(0.3, child.prop_map(|(lasts, polite)| Child { lasts, polite }));
    (start, life, asked, killed_after, leaves).prop_map(
        |(start, life, asked, killed_after, leaves)| {
            let script = Script { start, life, asked, killed_after, leaves, ..Script::endless() };
            lasting(Script { output: Arc::from("output"), ..script })
        },
    )
}

/// A job that reacts to its own end would run for ever in no time at all if it took none.
fn lasting(mut script: Script) -> Script {
    let least = Duration::from_millis(1);
    match (&mut script.start, &mut script.life) {
        (Start::Fails { after, .. }, _) => *after = least.max(*after),
        (Start::After(start), Life::Ends { after, .. }) if start.is_zero() => {
            *after = least.max(*after);
        }
        _ => {}
    }
    script
}

/// Something that happens to a supervisor from outside, in good faith.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Signal(SignalName),
    Control(Control),
    WriteConfig(Result<Config, Box<str>>),
    StepWall(i64),
    ClockRate(i32),
    EndProcess(usize, ExitStatus),
    Pause,
    Resume,
}

pub(crate) fn control() -> impl Strategy<Value = Control> {
    let job = || (0..JOBS_MAX).prop_map(|nth| Box::from(&*name(nth)));
    prop_oneof![
        4 => any::<bool>().prop_map(|all| Control::Reload { all }),
        2 => any::<bool>().prop_map(Control::Maintenance),
        1 => (job(), 1u8..64).prop_map(|(job, signal)| {
            Control::SignalJob { job, signal: Signal(signal) }
        }),
        2 => job().prop_map(|job| Control::RestartJob { job }),
        1 => Just(Control::PutEnv(vec![("A".into(), None), ("B=".into(), None)])),
        1 => Just(Control::PutMetric(vec![("m".into(), 1.0)])),
    ]
}

pub(crate) fn deed() -> impl Strategy<Value = Deed> {
    use SignalName::{Hup, Int, Term, Usr1, Usr2};
    prop_oneof![
        3 => prop::sample::select(vec![Hup, Hup, Usr2, Usr1, Term, Int]).prop_map(Deed::Signal),
        4 => control().prop_map(Deed::Control),
        2 => config().prop_map(|config| Deed::WriteConfig(Ok(config))),
        1 => Just(Deed::WriteConfig(Err("broken".into()))),
        1 => (-100_000_000i64..100_000_000).prop_map(Deed::StepWall),
        1 => (-200_000i32..200_000).prop_map(Deed::ClockRate),
        4 => (0..JOBS_MAX, status()).prop_map(|(job, status)| Deed::EndProcess(job, status)),
        1 => Just(Deed::Pause),
        2 => Just(Deed::Resume),
    ]
}
