//! What is due when: the world jumps from one entry to the next and never ticks.

use std::collections::BTreeMap;

use steersman_engine::consul::{ConsulOp, Owner};
use steersman_engine::{RunId, Time};

use crate::random::Random;

/// A node of the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub u16);

impl NodeId {
    /// Gives the identity as an index into a table.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What happens, named by what it is and not by when it came up: taking one away renames no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Happening {
    /// The supervisor begins.
    Begin,
    /// A process that was asked for runs.
    Started(RunId),
    /// A process that was asked for could not be started.
    StartFailed(RunId),
    /// The first process of a run ends.
    Ended(RunId),
    /// What a run left behind has gone.
    TreeGone(RunId),
    /// A configuration that was asked for has been read; counts the readings.
    Loaded(u32),
    /// A request reaches the Consul agent.
    Reaches(ConsulOp),
    /// An answer of Consul reaches the supervisor.
    Answer(ConsulOp),
    /// A request to Consul has waited long enough.
    Expires(ConsulOp),
    /// The scheduler gives a container a new life.
    Birth,
    /// The scheduler's patience with a container that is to stop ends.
    GraceOver,
    /// Consul's own time has come.
    Catalog,
    /// The engine's next wakeup.
    Wakeup,
}

impl Happening {
    fn pack(self) -> u64 {
        let (kind, rest) = match self {
            Happening::Begin => (1, 0),
            Happening::Started(run) => (2, run.pack()),
            Happening::StartFailed(run) => (3, run.pack()),
            Happening::Ended(run) => (4, run.pack()),
            Happening::TreeGone(run) => (5, run.pack()),
            Happening::Loaded(nth) => (6, u64::from(nth)),
            Happening::Wakeup => (7, 0),
            Happening::Reaches(op) => (8, pack_op(op)),
            Happening::Answer(op) => (9, pack_op(op)),
            Happening::Expires(op) => (10, pack_op(op)),
            Happening::Birth => (11, 0),
            Happening::GraceOver => (12, 0),
            Happening::Catalog => (13, 0),
        };
        crate::random::mix(kind) ^ rest
    }
}

fn pack_op(op: ConsulOp) -> u64 {
    let (kind, owner) = match op.owner {
        Owner::Job(job) => (0, job.0),
        Owner::Watch(watch) => (1, watch.0),
        Owner::Lock(lock) => (2, lock.0),
        Owner::Session(lock) => (3, lock.0),
    };
    (kind << 48) | (u64::from(owner) << 32) | u64::from(op.nth)
}

/// One entry of the agenda; at most one for each node and happening.
type Key = (Time, u64, NodeId, Happening);

/// Everything that is due, in order.
#[derive(Clone, Debug)]
pub struct Agenda {
    entries: BTreeMap<Key, ()>,
    due: BTreeMap<(NodeId, Happening), Time>,
    ties: Ties,
}

/// Which of several entries due at the same instant comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ties {
    /// By node, then by name.
    ByName,
    /// Drawn anew for every instant.
    Drawn(Random),
}

impl Agenda {
    /// Builds an empty agenda.
    pub const fn new(ties: Ties) -> Agenda {
        Agenda { entries: BTreeMap::new(), due: BTreeMap::new(), ties }
    }

    /// Puts an entry in; an earlier entry of the same name moves.
    pub fn put(&mut self, at: Time, node: NodeId, happening: Happening) {
        if self.due.get(&(node, happening)) == Some(&at) {
            return;
        }
        self.remove(node, happening);
        if at == Time::NEVER {
            return;
        }
        self.due.insert((node, happening), at);
        self.entries.insert(self.key(at, node, happening), ());
    }

    /// Takes an entry out.
    pub fn remove(&mut self, node: NodeId, happening: Happening) {
        if let Some(at) = self.due.remove(&(node, happening)) {
            self.entries.remove(&self.key(at, node, happening));
        }
    }

    /// Takes every entry of a node out.
    pub fn remove_node(&mut self, node: NodeId) {
        self.due.retain(|(owner, _), _| *owner != node);
        self.entries.retain(|(_, _, owner, _), ()| *owner != node);
    }

    /// Takes the next entry out.
    pub fn pop(&mut self) -> Option<(Time, NodeId, Happening)> {
        let ((at, _, node, happening), ()) = self.entries.pop_first()?;
        self.due.remove(&(node, happening));
        Some((at, node, happening))
    }

    /// Gives every entry, in order.
    pub fn entries(&self) -> impl Iterator<Item = (Time, NodeId, Happening)> {
        self.entries.keys().map(|(at, _, node, happening)| (*at, *node, *happening))
    }

    /// Tells when the next entry is due.
    pub fn next_due(&self) -> Option<Time> {
        self.entries.first_key_value().map(|((at, ..), ())| *at)
    }

    /// Tells when an entry is due.
    pub fn is_due(&self, node: NodeId, happening: Happening) -> Option<Time> {
        self.due.get(&(node, happening)).copied()
    }

    fn key(&self, at: Time, node: NodeId, happening: Happening) -> Key {
        let tie = match self.ties {
            Ties::ByName => 0,
            Ties::Drawn(random) => {
                random.keyed(at.0).keyed(u64::from(node.0)).keyed(happening.pack()).draw()
            }
        };
        (at, tie, node, happening)
    }
}

#[cfg(test)]
mod tests {
    use steersman_engine::{JobId, RunKind};

    use super::*;

    fn ended(nth: u32) -> Happening {
        Happening::Ended(RunId { job: JobId(0), kind: RunKind::Main, nth })
    }

    #[test]
    fn entries_come_in_order_of_time_then_node_then_name() {
        let mut agenda = Agenda::new(Ties::ByName);
        agenda.put(Time(5), NodeId(1), Happening::Wakeup);
        agenda.put(Time(5), NodeId(0), Happening::Wakeup);
        agenda.put(Time(5), NodeId(0), ended(1));
        agenda.put(Time(1), NodeId(3), Happening::Wakeup);
        let order: Vec<_> = core::iter::from_fn(|| agenda.pop()).collect();
        assert_eq!(order[0].1, NodeId(3));
        assert_eq!(order[1], (Time(5), NodeId(0), ended(1)));
        assert_eq!(order[2], (Time(5), NodeId(0), Happening::Wakeup));
        assert_eq!(order[3].1, NodeId(1));
    }

    #[test]
    fn an_entry_put_again_moves() {
        let mut agenda = Agenda::new(Ties::ByName);
        agenda.put(Time(5), NodeId(0), Happening::Wakeup);
        agenda.put(Time(9), NodeId(0), Happening::Wakeup);
        assert_eq!(agenda.pop(), Some((Time(9), NodeId(0), Happening::Wakeup)));
        assert_eq!(agenda.pop(), None);
    }

    #[test]
    fn drawn_ties_come_in_every_order_and_are_the_same_every_time() {
        let order = |seed| {
            let mut agenda = Agenda::new(Ties::Drawn(Random::new(seed)));
            (0..3).for_each(|nth| agenda.put(Time(5), NodeId(0), ended(nth)));
            core::iter::from_fn(move || agenda.pop()).map(|entry| entry.2).collect::<Vec<_>>()
        };
        let mut orders: Vec<_> = (0..100).map(order).collect();
        assert_eq!(orders[3], order(3));
        orders.sort();
        orders.dedup();
        assert_eq!(orders.len(), 6);
    }
}
