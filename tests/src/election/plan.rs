//! Which faults happen, in which order and for how long: drawn from a seed, or a short list.

use std::time::Duration;

use super::draw::Draw;
use super::fault::{Fault, Subject};

/// What a run goes through.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Faults drawn from a seed, for so long.
    Drawn(Duration),
    /// A short list of faults of whoever leads.
    Short,
    /// One fault of whoever leads, so many times, each followed by calm.
    Repeated(Drill, u32),
}

/// What can be ordered alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drill {
    /// Orderly stops.
    Stop,
    /// Supervisors that die with everything in their containers.
    Crash,
    /// Long cuts from Consul.
    Cut,
    /// Cuts from Consul that end long before anything expires.
    Mute,
    /// All of Consul comes back empty, after three hand-overs.
    Amnesia,
}

impl Drill {
    fn rounds(self) -> Vec<Round> {
        let of = |fault, millis| single(fault, Duration::from_millis(millis));
        let stop = of(Fault::Stop, 500);
        match self {
            Drill::Stop => vec![stop],
            Drill::Crash => vec![of(Fault::Kill, 2_000)],
            Drill::Mute => vec![of(Fault::LoseRequests, 13_000)],
            Drill::Cut => vec![of(Fault::Cut, 45_000)],
            Drill::Amnesia => {
                vec![stop.clone(), stop.clone(), stop, of(Fault::ForgetServers, 1_000)]
            }
        }
    }
}

/// A fault to come.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) fault: Fault,
    /// Whether it is about the member that leads, if it is about a member.
    pub(super) hits_leader: bool,
    /// How long after the step before.
    pub(super) delay: Duration,
    pub(super) hold: Duration,
}

/// One fault or two at a time, and how it goes on.
#[derive(Clone, Debug)]
pub(super) struct Round {
    pub(super) steps: Vec<Step>,
    /// Whether the next round waits until somebody leads again.
    pub(super) settles: bool,
    /// How long nothing happens after it.
    pub(super) rest: Duration,
}

/// Deals rounds.
#[derive(Clone, Debug)]
pub(super) struct Deck {
    draw: Draw,
    cards: Vec<Fault>,
    fixed: Option<Vec<Round>>,
}

impl Deck {
    pub(super) fn of(plan: &Plan, seed: u64) -> Deck {
        let fixed = match plan {
            Plan::Drawn(_) => None,
            Plan::Short => Some(short()),
            Plan::Repeated(drill, times) => {
                Some((0..*times).flat_map(|_| drill.rounds()).collect())
            }
        };
        let fixed = fixed.map(|mut rounds| {
            rounds.reverse();
            rounds
        });
        Deck { draw: Draw::of(seed), cards: Vec::new(), fixed }
    }

    /// The next round; none when a fixed list is over.
    pub(super) fn deal(&mut self) -> Option<Round> {
        if let Some(fixed) = &mut self.fixed {
            return fixed.pop();
        }
        let first = self.step(|_| true);
        let mut steps = vec![first];
        if steps[0].fault.is_mixed() && self.draw.chance(25) {
            let is_about = |subject: Subject| {
                matches!(subject, Subject::Leader | Subject::Follower | Subject::Servers)
            };
            let is_server = is_about(steps[0].fault.subject());
            let mut second =
                self.step(|fault| fault.is_mixed() && !(is_server && is_about(fault.subject())));
            second.delay = self.millis(0, 3_000);
            steps.push(second);
        }
        let must_settle = steps.iter().any(|step| !step.fault.is_mixed());
        let settles = self.draw.chance(75) || must_settle;
        let rest = if settles { self.millis(200, 1_500) } else { self.millis(0, 4_000) };
        Some(Round { steps, settles, rest })
    }

    /// Draws a card that fits. Every kind is dealt once before any is dealt again.
    fn step(&mut self, fits: impl Fn(Fault) -> bool) -> Step {
        if !self.cards.iter().any(|fault| fits(*fault)) {
            let mut fresh: Vec<Fault> = Fault::drawn().collect();
            self.draw.shuffle(&mut fresh);
            self.cards.splice(0..0, fresh);
        }
        let at = self.cards.iter().rposition(|fault| fits(*fault)).expect("some card fits");
        let fault = self.cards.remove(at);
        let (least, most) = fault.span();
        let hold = self.millis(least, most);
        Step { fault, hits_leader: self.draw.chance(80), delay: Duration::ZERO, hold }
    }

    fn millis(&mut self, least: u64, end: u64) -> Duration {
        Duration::from_millis(self.draw.within(least, end))
    }
}

fn single(fault: Fault, hold: Duration) -> Round {
    let step = Step { fault, hits_leader: true, delay: Duration::ZERO, hold };
    Round { steps: vec![step], settles: true, rest: Duration::from_millis(500) }
}

/// What a minute has room for; the last one has another member lead while the old one is frozen.
fn short() -> Vec<Round> {
    let of = |fault, millis| single(fault, Duration::from_millis(millis));
    vec![
        of(Fault::Stop, 500),
        of(Fault::KillLead, 0),
        of(Fault::Pause, 300),
        of(Fault::PutKey, 0),
        of(Fault::Stop, 500),
        of(Fault::CutBriefly, 2_000),
        of(Fault::Freeze, 33_000),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_fault_is_dealt_before_any_comes_again() {
        let mut deck = Deck::of(&Plan::Drawn(Duration::ZERO), 3);
        let mut dealt: Vec<Fault> = Vec::new();
        while dealt.len() < 20 {
            let round = deck.deal().expect("it never ends");
            assert!(round.settles || round.steps.iter().all(|step| step.fault.is_mixed()));
            dealt.extend(round.steps.iter().map(|step| step.fault));
        }
        let count = dealt.len();
        dealt.sort();
        dealt.dedup();
        assert_eq!(dealt.len(), count);
    }

    #[test]
    fn equal_seeds_deal_equal_rounds() {
        let deal = |seed| {
            let mut deck = Deck::of(&Plan::Drawn(Duration::ZERO), seed);
            let rounds: Vec<String> = (0..30).map(|_| format!("{:?}", deck.deal())).collect();
            rounds.join("\n")
        };
        assert_eq!(deal(5), deal(5));
        assert_ne!(deal(5), deal(6));
    }
}
