//! The neighbourhood of a row: other times, another order, propagation of 0, 1, 5 and 60 s, pauses
//! just below and above what counts, and faults within the handlers.

use core::time::Duration;
use std::sync::Arc;

use steersman_engine::{RunId, RunKind, Time};
use steersman_sim::Action;
use steersman_sim::catalog::CatalogFault;
use steersman_sim::explore::{Begun, Limits, Scripted, Search, Span};
use steersman_sim::observer::Fact;
use steersman_sim::random::Random;
use steersman_sim::tap::Seen;

use crate::row::{PRIMARY, T0, last_of};

/// How a row is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Exactly as written.
    Written,
    /// Near it, with Consul as it is.
    Plain,
    /// Near it, with a Consul that does all that its documentation allows.
    Contract,
    /// Near it, with supervisors or whole containers held up for longer than was declared.
    Overlong,
}

impl Mode {
    /// Those of the long run.
    pub(crate) const NEAR: &'static [Mode] = &[Mode::Plain, Mode::Contract, Mode::Overlong];
}

/// So far every time is moved, at most: one interval of a watch.
const JITTER: Duration = Duration::from_secs(10);

/// How long it takes until something is known elsewhere.
const PROPAGATION: [u64; 4] = [0, 1, 5, 60];

/// Just below and above the TTL of a check, the real end of a session and that of the lock delay
/// after it, and more.
const PAUSES: [u64; 8] = [24, 26, 39, 41, 59, 61, 75, 100];

/// Within so long of its start a handler has asked Consul for everything it wants.
const HANDLER: u64 = 40_000_000;

/// Gives the search of one seed near what is written, and how its run begins when somebody has had
/// to look.
pub(crate) fn near(search: &Search, seed: u64, mode: Mode) -> (Search, Option<Begun>) {
    let mut search = Search { seeds: seed..seed + 1, ..search.clone() };
    if mode == Mode::Written {
        return (search, None);
    }
    let is_contract = mode == Mode::Contract || mode == Mode::Overlong && seed % 2 == 1;
    if is_contract && let Some(consul) = &mut Arc::make_mut(&mut search.setting).consul {
        consul.contract = true;
    }
    let begun = change_deeds(&mut search, seed, mode);
    (search, begun)
}

/// Draws the deeds of a search near what is written.
fn change_deeds(search: &mut Search, seed: u64, mode: Mode) -> Option<Begun> {
    let random = Random::new(seed).stream("neighbourhood");
    let mut deeds: Vec<Scripted> = search.scripted.clone();
    for (nth, deed) in (0..).zip(&mut deeds) {
        shift(deed, random.stream("shift").keyed(nth));
    }
    lag(&mut deeds, random.stream("lag"));
    hold_up(search, &mut deeds, mode, random.stream("pause"));
    let written = core::mem::replace(&mut search.scripted, deeds).len();
    let into = random.stream("handler").happens(333_000) && written > 0;
    if into { into_a_handler(search, written, random.stream("into")) } else { None }
}

fn moved(time: Duration, random: Random) -> Duration {
    let by = random.between(0, 2 * nanos(JITTER));
    (time + Duration::from_nanos(by)).saturating_sub(JITTER)
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn shift(deed: &mut Scripted, random: Random) {
    let at = moved(deed.at.from, random.stream("at")).max(Duration::from_secs(1));
    deed.at = Span::exactly(at);
    for (nth, (after, _)) in (0..).zip(&mut deed.actions) {
        if !after.from.is_zero() {
            *after = Span::exactly(moved(after.from, random.stream("after").keyed(nth)));
        }
    }
}

/// Lets what is written reach the followers late, until the last deed is done.
fn lag(deeds: &mut Vec<Scripted>, random: Random) {
    let by = random.pick(&PROPAGATION).copied().unwrap_or(0);
    if by == 0 {
        return;
    }
    let slow = |by: u64| {
        let slow = move |id| CatalogFault::SlowFollower(id, Duration::from_secs(by));
        (0..3).map(move |id| (Span::exactly(Duration::ZERO), Action::Catalog(slow(id))))
    };
    let begin = Duration::from_nanos(random.stream("from").between(1, T0 * 1_000_000_000));
    let end = Duration::from_nanos(last_of(deeds).0) + Duration::from_secs(5);
    for (at, by) in [(begin, by), (end.max(begin), 0)] {
        let (at, node) = (Span::exactly(at), Arc::from("db-1"));
        deeds.push(Scripted { at, node, actions: slow(by).collect() });
    }
}

/// Holds somebody up: for less than was declared, or for much longer.
fn hold_up(search: &Search, deeds: &mut Vec<Scripted>, mode: Mode, random: Random) {
    let is_long = mode == Mode::Overlong;
    if !is_long && random.stream("any").happens(500_000) {
        return;
    }
    let first = deeds.iter().map(|deed| deed.at.from).min().unwrap_or(Duration::from_secs(T0));
    let from = nanos(first.saturating_sub(Duration::from_secs(20))).max(1_000_000_000);
    let to = last_of(deeds).0.max(from) + 60_000_000_000;
    for nth in 0..=u64::from(is_long && random.stream("two").happens(300_000)) {
        let random = random.keyed(nth);
        let lasts = match is_long {
            true => {
                let lasts = random.stream("long").pick(&PAUSES).copied().unwrap_or(60);
                Duration::from_secs(lasts)
            }
            false => Duration::from_millis(random.stream("short").between(1, 900)),
        };
        let (begin, end) = match random.stream("whom").happens(500_000) {
            true => (Action::Pause, Action::Resume),
            false => (Action::Freeze, Action::Thaw),
        };
        let nodes = &search.setting.nodes;
        let any = random.stream("node").pick(nodes).map_or(PRIMARY, |node| &*node.name);
        let node = if random.stream("primary").happens(600_000) { PRIMARY } else { any };
        let at = Span::exactly(Duration::from_nanos(random.stream("at").between(from, to)));
        let actions = vec![(Span::exactly(Duration::ZERO), begin), (Span::exactly(lasts), end)];
        deeds.push(Scripted { at, node: Arc::from(node), actions });
    }
}

/// Moves one deed to just before or after one of the things that a handler asks Consul for, by
/// looking at what the run is like up to then.
fn into_a_handler(search: &mut Search, written: usize, random: Random) -> Option<Begun> {
    let nth = random.stream("which").below(written as u64) as usize;
    let old = Time(0) + search.scripted[nth].at.from;
    let until = Time(old.0.saturating_sub(nanos(JITTER)));
    let is_handler = |run: &RunId| run.kind == RunKind::Check || run.nth > 1;
    let near = |at: Time| at > until && at < old + JITTER;
    let seed = search.seeds.start;
    let begun = search.begin(seed, until);
    let limits = Limits { settle: Duration::from_secs(1), ..search.limits };
    let ahead = Search { limits, ..search.clone() };
    let run = ahead.look_ahead(seed, begun.clone(), old + JITTER);
    let starts: Vec<Time> = run
        .lines
        .iter()
        .filter_map(|line| match &line.seen {
            Seen::Fact(Fact::ProcessStarted(run)) if is_handler(run) && near(line.at) => {
                Some(line.at)
            }
            _ => None,
        })
        .collect();
    if let Some(start) = random.stream("start").pick(&starts) {
        let at = start.0 + random.stream("step").between(0, HANDLER);
        search.scripted[nth].at = Span::exactly(Duration::from_nanos(at));
    }
    Some(begun)
}

#[test]
fn a_run_that_goes_on_from_its_beginning_is_the_whole_run() {
    let rows = crate::all();
    let row = rows.iter().find(|row| row.id == "M10").expect("the row");
    let search = row.search(Mode::Plain);
    let begun = |seed| {
        let (search, begun) = near(&search, seed, Mode::Plain);
        begun.map(|begun| (seed, search, begun))
    };
    let mut compared = 0;
    for (seed, search, begun) in (0..12).filter_map(begun) {
        let (whole, rest) = (search.go_here(&Default::default()), search.go_on(seed, begun));
        assert_eq!(rest.fingerprint, whole.fingerprint, "{seed}");
        assert_eq!((rest.inputs, rest.reached), (whole.inputs, whole.reached), "{seed}");
        compared += 1;
    }
    assert!(compared > 0);
}
