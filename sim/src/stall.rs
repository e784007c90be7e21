//! Nodes that are kept from running at random, for longer than any lock declares to be possible:
//! the supervisor alone, while its jobs go on, or the whole container.

use core::time::Duration;

use steersman_engine::Time;

use crate::action::Action;
use crate::agenda::NodeId;
use crate::random::Random;
use crate::world::World;

/// The shortest and the longest time between two stalls, in milliseconds.
const BETWEEN: (u64, u64) = (2_000, 60_000);

/// How long a stall lasts, at least and at most, in milliseconds: short ones, and such that the
/// lock has passed on meanwhile.
const LASTS: [(u64, u64); 3] = [(1_000, 6_000), (6_000, 30_000), (30_000, 150_000)];

/// Who is kept from running, and until when.
#[derive(Clone, Debug)]
pub struct Stalls {
    random: Random,
    nodes: u16,
    nth: u64,
    next: Time,
    /// The end of each stall under way, with what ends it.
    ends: Vec<(Time, NodeId, Action)>,
}

impl Stalls {
    /// Builds stalls of so many nodes, decided by a seed.
    pub fn new(seed: u64, nodes: u16) -> Stalls {
        let random = Random::new(seed).stream("stalls");
        let mut stalls = Stalls { random, nodes, nth: 0, next: Time(0), ends: Vec::new() };
        stalls.next = stalls.after(Time(0));
        stalls
    }

    /// Tells when something is to be done.
    pub(crate) fn next(&self) -> Time {
        self.ends.iter().map(|(at, _, _)| *at).fold(self.next, Time::min)
    }

    /// Does what is due.
    pub(crate) fn perform(&mut self, world: &mut World) {
        let now = world.now();
        let mut over = Vec::new();
        self.ends.retain(|end| {
            let is_over = end.0 <= now;
            if is_over {
                over.push(end.clone());
            }
            !is_over
        });
        for (_, node, action) in over {
            world.act(node, action);
        }
        if self.next > now {
            return;
        }
        let random = self.random.stream("stall").keyed(self.nth);
        let node = NodeId(u16::try_from(random.below(u64::from(self.nodes))).unwrap_or(0));
        let is_held = self.ends.iter().any(|(_, other, _)| *other == node);
        if !is_held {
            let (begin, end) = match random.stream("whole").happens(500_000) {
                true => (Action::Freeze, Action::Thaw),
                false => (Action::Pause, Action::Resume),
            };
            let (least, most) = random.stream("kind").pick(&LASTS).copied().unwrap_or((0, 0));
            let lasts = random.stream("lasts").between(least, most);
            world.act(node, begin);
            self.ends.push((now + Duration::from_millis(lasts), node, end));
        }
        self.nth += 1;
        self.next = self.after(now);
    }

    fn after(&self, now: Time) -> Time {
        let random = self.random.stream("pause").keyed(self.nth);
        now + Duration::from_millis(random.between(BETWEEN.0, BETWEEN.1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::job;
    use crate::fleet::Fleet;

    #[test]
    fn nodes_are_held_and_go_on_and_equal_seeds_are_equal() {
        let run = |seed| {
            let mut fleet = Fleet::of(2, [job("a")]).begin_with(|_| {});
            fleet.set_stalls(Stalls::new(seed, 2));
            let mut held = Vec::new();
            for _ in 0..600 {
                fleet.run_for(Duration::from_secs(1));
                held.push(fleet.world.nodes().map(|(_, node)| node.is_held()).collect::<Vec<_>>());
            }
            held
        };
        let held = run(3);
        assert_eq!(held, run(3));
        for node in 0..2 {
            let seconds = held.iter().filter(|row| row[node]).count();
            assert!((50..550).contains(&seconds), "node {node} was held for {seconds} s");
        }
    }
}
