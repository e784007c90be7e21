//! What is simpler: parts of a script made ordinary, times made short and round.

use core::time::Duration;

use crate::script::{Life, Reaction, Script, Start};

pub(super) type Simpler = fn(&Script, &Script) -> Script;

/// Ways to make one part of a script ordinary.
pub(super) fn simpler(_script: &Script, _ordinary: &Script) -> [Simpler; 6] {
    [
        |script, ordinary| Script { start: ordinary.start.clone(), ..script.clone() },
        |script, ordinary| Script { life: ordinary.life, ..script.clone() },
        |script, ordinary| Script { asked: ordinary.asked, ..script.clone() },
        |script, ordinary| Script { leaves: ordinary.leaves, ..script.clone() },
        |script, ordinary| Script { killed_after: ordinary.killed_after, ..script.clone() },
        |script, ordinary| Script { output: ordinary.output.clone(), ..script.clone() },
    ]
}

pub(super) type TimePart = fn(&mut Script) -> Option<&mut Duration>;

/// The times in a script.
pub(super) const TIMES: [TimePart; 4] = [
    |script| match &mut script.start {
        Start::After(after) | Start::Fails { after, .. } => Some(after),
        Start::Hangs => None,
    },
    |script| match &mut script.life {
        Life::Ends { after, .. } => Some(after),
        Life::Endless => None,
    },
    |script| match &mut script.asked {
        Reaction::Ends { after, .. } => Some(after),
        Reaction::Dies | Reaction::Ignores => None,
    },
    |script| script.leaves.as_mut().and_then(|child| child.lasts.as_mut()),
];

/// Shorter or rounder durations than the one given, the most wanted first.
pub(super) fn rounder(long: Duration) -> Vec<Duration> {
    let mut wanted: Vec<Duration> = [0, 1, 10, 100, 500].map(Duration::from_millis).into();
    wanted.extend([1, 2, 3, 5, 10, 20, 30, 60].map(Duration::from_secs));
    wanted.retain(|short| *short < long);
    let whole = |unit: u128| {
        let rounded = long.as_nanos() / unit * unit;
        Duration::from_nanos(u64::try_from(rounded).unwrap_or(u64::MAX))
    };
    for unit in [1_000_000_000, 100_000_000, 10_000_000, 1_000_000] {
        let rounded = whole(unit);
        if rounded < long && !rounded.is_zero() && !wanted.contains(&rounded) {
            wanted.push(rounded);
        }
    }
    wanted
}
