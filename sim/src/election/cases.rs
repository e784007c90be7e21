//! The elections that are searched: sound ones, ones in which an inequality misses by a tick, and
//! ones with a deliberate defect.

use std::sync::Arc;

use steersman_engine::Engine;
use steersman_engine::defect::Defect;

use super::rules::{Clocks, Figures, Rules, Trouble, Troubles};

/// The shortest figures that leave nothing out. A + P + g + κ is 6, and so are δ and W: I1 to I3
/// hold with nothing to spare (I1 by as much as the time to live).
pub const TIGHT: Figures = Figures {
    ttl: 3,
    lock_delay: 6,
    renew_every: 1,
    request_timeout: 1,
    demote_after: 3,
    stop_timeout: 1,
    pause_max: 1,
    kill_latency: 1,
    quiet: None,
    hold_off: 6,
};

/// The same, but nobody is held up: A + P + g + κ is 5.
pub const SHORT: Figures = Figures { pause_max: 0, lock_delay: 5, hold_off: 5, ..TIGHT };

/// One election to be searched.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// What it is about.
    pub name: &'static str,
    /// The figures.
    pub figures: Figures,
    /// How the clocks go.
    pub clocks: Clocks,
    /// How many stand.
    pub candidates: usize,
    /// What may go wrong; everything when empty.
    pub troubles: &'static [Trouble],
    /// How much of it.
    pub troubles_max: u8,
    /// Whether there is a job that runs always and ends with each term.
    pub has_bound_job: bool,
    /// Whether what comes within a tick comes in any order.
    pub is_any_order: bool,
}

impl Case {
    /// An election of two with the shortest figures.
    pub const fn of(name: &'static str, troubles: &'static [Trouble], troubles_max: u8) -> Case {
        Case {
            name,
            figures: TIGHT,
            clocks: Clocks::Equal,
            candidates: 2,
            troubles,
            troubles_max,
            has_bound_job: false,
            is_any_order: true,
        }
    }

    /// The same, but what comes within a tick comes in the order of the nodes.
    const fn ordered(name: &'static str, troubles: &'static [Trouble], troubles_max: u8) -> Case {
        Case { is_any_order: false, ..Case::of(name, troubles, troubles_max) }
    }

    /// The same with other figures.
    const fn with(self, figures: Figures) -> Case {
        Case { figures, ..self }
    }

    /// Builds the rules; `prepare` changes every supervisor before it begins.
    pub fn rules(&self, prepare: &dyn Fn(&mut Engine)) -> Arc<Rules> {
        let mut rules =
            Rules::with_bound_job(self.figures, self.clocks, self.has_bound_job, prepare);
        rules.candidates = self.candidates;
        rules.troubles_max = self.troubles_max;
        rules.is_any_order = self.is_any_order;
        if !self.troubles.is_empty() {
            rules.troubles = Troubles::only(self.troubles);
        }
        Arc::new(rules)
    }
}

use Trouble::{
    Crash, Cut, Delay, Delete, Destroy, ForgetAll, ForgetButIndex, Late, Loss, Pause, Put, Restore,
    Stop,
};

/// Each inequality met exactly, and then missed by a tick: the first of a pair has no breach, the
/// second has two holders. A holder is held up in the last three, and not in the others.
pub const EDGES: &[[Case; 2]] = &[
    [I1.with(Figures { lock_delay: 2, ..SHORT }), I1.with(Figures { lock_delay: 1, ..SHORT })],
    [I2.with(SHORT), I2.with(Figures { lock_delay: 4, ..SHORT })],
    [I3.with(SHORT), I3.with(Figures { quiet: Some(4), ..SHORT })],
    [I3_DELETED.with(SHORT), I3_DELETED.with(Figures { quiet: Some(4), ..SHORT })],
    [
        I1_HELD_UP.with(Figures { lock_delay: 3, ..TIGHT }),
        I1_HELD_UP.with(Figures { lock_delay: 2, ..TIGHT }),
    ],
    [I2_HELD_UP, I2_HELD_UP.with(Figures { lock_delay: 5, ..TIGHT })],
    [I3_HELD_UP, I3_HELD_UP.with(Figures { quiet: Some(5), ..TIGHT })],
];

const I1: Case = Case::ordered("I1: it expires", &[Cut], 1);
const I2: Case = Case::ordered("I2: it is destroyed", &[Cut, Destroy], 2);
// Who saw a holder spreads with others before it takes the key, here for a tick. So the taker has
// just begun.
const I3: Case = Case::ordered("I3: all is forgotten", &[Cut, ForgetAll, Crash], 3);
const I3_DELETED: Case = Case::ordered("I3: it is deleted", &[Cut, Delete, Crash], 3);
const I1_HELD_UP: Case = Case::ordered("I1: it expires", &[Cut, Pause], 2);
const I2_HELD_UP: Case = Case::ordered("I2: it is destroyed", &[Cut, Pause, Destroy], 3);
const I3_HELD_UP: Case = Case::ordered("I3: all is forgotten", &[Cut, Pause, ForgetAll, Crash], 4);

/// Each defect of the rules of locks with a search that sees it.
pub const DEFECTS: &[(Defect, Case)] = &[
    (Defect::LockDeadlineIgnored, Case::of("", &[Cut], 1)),
    (Defect::LockReleasedTooEarly, Case::of("", &[Stop], 1)),
    (Defect::NoQuietTime, Case::of("", &[Cut, ForgetAll], 2)),
    (Defect::RenewalCountsAsReading, Case::ordered("", &[Delete, Loss], 3).with(SHORT)),
    (Defect::LockKillTooLate, Case::of("", &[Cut, Destroy], 2)),
    (Defect::LockJobsNotStopped, Case::of("", &[Destroy], 1)),
    (Defect::TokenNotFromTheGrant, Case::of("", &[Stop], 1)),
    // Where the lock delay is long, a reading of the key proves as much as a renewal.
    (
        Defect::TermAgeFromTheAnswer,
        Case::ordered("", &[Delay, Cut], 2).with(Figures { lock_delay: 2, ..SHORT }),
    ),
    (Defect::ReadingAgeFromTheAnswer, Case::ordered("", &[Delay, Cut, Delete], 3).with(SHORT)),
    (Defect::AcquiredWhateverItIs, Case::ordered("", &[Stop, Delete], 2)),
    (Defect::DeadGrantCounts, Case::of("", &[Stop, Delay, Destroy], 3)),
    (Defect::QuietHandedOver, Case::of("", &[ForgetAll, Cut, Stop], 3)),
    (Defect::ContinuityAssumed, Case::of("", &[Delete], 1)),
    (Defect::DeletedKeyIsContinued, Case::of("", &[ForgetButIndex, Put], 2)),
    (Defect::RefusalBelieved, Case::ordered("", &[Cut, Delay, ForgetAll, Late], 3)),
    (Defect::RestoredKeyBelieved, Case::of("", &[Restore], 1)),
    (Defect::SecondSession, Case::of("", &[Destroy], 1)),
    (Defect::StopWithIgnored, Case { has_bound_job: true, ..Case::of("", &[Destroy], 1) }),
];
