//! What is due when: the world jumps from one entry to the next and never ticks.

use steersman_engine::consul::{ConsulOp, Owner};
use steersman_engine::{RunId, Time};

use crate::program::cue::Cue;
use crate::random::Random;
use crate::runs::Runs;

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
    /// The keeper's time has come.
    Guard,
    /// Consul's own time has come.
    Catalog,
    /// Something happens to a program, a database or a client.
    Stage(Cue),
    /// The engine's next wakeup.
    Wakeup,
}

impl Happening {
    /// Gives the run that it is about, and which point in its life.
    const fn of_run(self) -> Option<(RunId, usize)> {
        match self {
            Happening::Started(run) => Some((run, 0)),
            Happening::StartFailed(run) => Some((run, 1)),
            Happening::Ended(run) => Some((run, 2)),
            Happening::TreeGone(run) => Some((run, 3)),
            _ => None,
        }
    }

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
            Happening::Stage(cue) => (14, cue.pack()),
            Happening::Guard => (15, 0),
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

/// What an entry is about, with what decides between entries due at the same instant; at most one
/// for each node and happening.
type Name = (u64, NodeId, Happening);

/// Everything that is due, in order.
///
/// A heap that knows where each entry is, so that one can be moved or taken out by name: equal
/// agendas have equal entries, and what does not change costs nothing.
#[derive(Clone, Debug)]
pub struct Agenda {
    heap: Vec<(Time, Ticket)>,
    /// By ticket.
    entries: Vec<Entry>,
    free: Vec<Ticket>,
    due: Vec<NodeDue>,
    ties: Ties,
}

/// One entry.
#[derive(Clone, Copy, Debug)]
struct Entry {
    name: Name,
    /// Where in the heap.
    place: u32,
}

/// How many children each entry of the heap has.
const FAN: usize = 4;

/// Names an entry as long as it is on the agenda.
type Ticket = u32;

const ABSENT: Ticket = Ticket::MAX;

/// Numbers of nodes from here on are not of nodes, but of others that have something due.
const PSEUDO_NODES: u16 = u16::MAX - 15;

/// The tickets of what is due on a node.
#[derive(Clone, Debug)]
struct NodeDue {
    wakeup: Ticket,
    /// By run: `Started`, `StartFailed`, `Ended`, `TreeGone`.
    runs: Runs<[Ticket; 4]>,
    /// Few at a time, in no order.
    others: Vec<(Happening, Ticket)>,
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
        Agenda { heap: Vec::new(), entries: Vec::new(), free: Vec::new(), due: Vec::new(), ties }
    }

    /// Puts an entry in; an earlier entry of the same name moves.
    pub fn put(&mut self, at: Time, node: NodeId, happening: Happening) {
        if at == Time::NEVER {
            return self.remove(node, happening);
        }
        let ticket = self.ticket(node, happening);
        if ticket != ABSENT {
            let place = self.entries[ticket as usize].place as usize;
            if self.heap[place].0 != at {
                self.entries[ticket as usize].name.0 = self.tie(at, node, happening);
                self.settle(place, (at, ticket));
            }
            return;
        }
        let name = (self.tie(at, node, happening), node, happening);
        let entry = Entry { name, place: ABSENT };
        let ticket = match self.free.pop() {
            Some(ticket) => {
                self.entries[ticket as usize] = entry;
                ticket
            }
            None => {
                self.entries.push(entry);
                Ticket::try_from(self.entries.len() - 1).expect("fewer than four thousand million")
            }
        };
        self.set_ticket(node, happening, ticket);
        let last = self.heap.len();
        self.heap.push((at, ticket));
        let place = self.rise(last, (at, ticket));
        self.put_at(place, (at, ticket));
    }

    /// Takes an entry out.
    pub fn remove(&mut self, node: NodeId, happening: Happening) {
        let ticket = self.ticket(node, happening);
        if ticket != ABSENT {
            self.take_out(self.entries[ticket as usize].place as usize);
        }
    }

    /// Takes every entry of a node out.
    pub fn remove_node(&mut self, node: NodeId) {
        let names = self.heap.iter().map(|(_, ticket)| self.entries[*ticket as usize].name);
        for (_, _, happening) in names.filter(|name| name.1 == node).collect::<Vec<_>>() {
            self.remove(node, happening);
        }
    }

    /// Takes the next entry out.
    pub fn pop(&mut self) -> Option<(Time, NodeId, Happening)> {
        if self.heap.is_empty() { None } else { Some(self.take_out(0)) }
    }

    /// Gives every entry, in order.
    pub fn entries(&self) -> impl Iterator<Item = (Time, NodeId, Happening)> {
        let name = |ticket: Ticket| self.entries[ticket as usize].name;
        let mut keys: Vec<_> = self.heap.iter().map(|(at, ticket)| (*at, name(*ticket))).collect();
        keys.sort_unstable();
        keys.into_iter().map(|(at, (_, node, happening))| (at, node, happening))
    }

    /// Tells when the next entry is due.
    pub fn next_due(&self) -> Option<Time> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Tells when an entry is due.
    pub fn is_due(&self, node: NodeId, happening: Happening) -> Option<Time> {
        let entry = self.entries.get(self.ticket(node, happening) as usize)?;
        self.heap.get(entry.place as usize).map(|(at, _)| *at)
    }

    fn tie(&self, at: Time, node: NodeId, happening: Happening) -> u64 {
        match self.ties {
            Ties::ByName => 0,
            Ties::Drawn(random) => {
                random.keyed(at.0).keyed(u64::from(node.0)).keyed(happening.pack()).draw()
            }
        }
    }

    fn take_out(&mut self, place: usize) -> (Time, NodeId, Happening) {
        let (at, ticket) = self.heap.swap_remove(place);
        if let Some(moved) = self.heap.get(place) {
            self.settle(place, *moved);
        }
        let (_, node, happening) = self.entries[ticket as usize].name;
        self.due[row_of(node, happening)].forget(happening, ticket);
        self.free.push(ticket);
        (at, node, happening)
    }

    /// Moves the entry of a ticket to where it belongs, from a place that is free.
    fn settle(&mut self, place: usize, entry: (Time, Ticket)) {
        let at = self.rise(place, entry);
        let at = if at == place { self.sink(place, entry) } else { at };
        self.put_at(at, entry);
    }

    fn rise(&mut self, mut at: usize, entry: (Time, Ticket)) -> usize {
        while at > 0 {
            let parent = (at - 1) / FAN;
            if !self.is_before(entry, self.heap[parent]) {
                break;
            }
            self.put_at(at, self.heap[parent]);
            at = parent;
        }
        at
    }

    fn sink(&mut self, mut at: usize, entry: (Time, Ticket)) -> usize {
        loop {
            let (mut least, mut place) = (entry, at);
            let children = FAN * at + 1..(FAN * at + 1 + FAN).min(self.heap.len());
            for child in children {
                if self.is_before(self.heap[child], least) {
                    (least, place) = (self.heap[child], child);
                }
            }
            if place == at {
                return at;
            }
            self.put_at(at, least);
            at = place;
        }
    }

    fn is_before(&self, one: (Time, Ticket), other: (Time, Ticket)) -> bool {
        let name = |ticket: Ticket| self.entries[ticket as usize].name;
        one.0 < other.0 || one.0 == other.0 && name(one.1) < name(other.1)
    }

    fn put_at(&mut self, at: usize, entry: (Time, Ticket)) {
        self.heap[at] = entry;
        self.entries[entry.1 as usize].place = u32::try_from(at).unwrap_or(ABSENT);
    }

    fn ticket(&self, node: NodeId, happening: Happening) -> Ticket {
        self.due.get(row_of(node, happening)).map_or(ABSENT, |due| due.ticket(happening))
    }

    fn set_ticket(&mut self, node: NodeId, happening: Happening, ticket: Ticket) {
        let row = row_of(node, happening);
        if row >= self.due.len() {
            self.due.resize_with(row + 1, NodeDue::new);
        }
        self.due[row].set(happening, ticket);
    }
}

/// Gives the row of what is due: calls belong to the nodes that make them, whoever they are due on.
fn row_of(node: NodeId, happening: Happening) -> usize {
    let node = match happening {
        Happening::Stage(Cue::Reaches(call) | Cue::Answer(call) | Cue::Expires(call)) => call.node,
        _ => node,
    };
    match node.0.checked_sub(PSEUDO_NODES) {
        Some(nth) => usize::from(nth),
        None => node.index() + usize::from(u16::MAX - PSEUDO_NODES) + 1,
    }
}

impl NodeDue {
    const fn new() -> NodeDue {
        NodeDue { wakeup: ABSENT, runs: Runs::new(), others: Vec::new() }
    }

    fn ticket(&self, happening: Happening) -> Ticket {
        match (happening, happening.of_run()) {
            (Happening::Wakeup, _) => self.wakeup,
            (_, Some((run, point))) => self.runs.get(&run).map_or(ABSENT, |row| row[point]),
            (_, None) => self.place(happening).map_or(ABSENT, |place| self.others[place].1),
        }
    }

    fn set(&mut self, happening: Happening, ticket: Ticket) {
        match (happening, happening.of_run()) {
            (Happening::Wakeup, _) => self.wakeup = ticket,
            (_, Some((run, point))) => self.set_of_run(run, point, ticket),
            (_, None) => self.others.push((happening, ticket)),
        }
    }

    fn forget(&mut self, happening: Happening, ticket: Ticket) {
        match (happening, happening.of_run()) {
            (Happening::Wakeup, _) => self.wakeup = ABSENT,
            (_, Some((run, point))) => self.set_of_run(run, point, ABSENT),
            (_, None) => {
                let place = self.others.iter().position(|(_, other)| *other == ticket);
                place.map(|place| self.others.swap_remove(place));
            }
        }
    }

    fn place(&self, happening: Happening) -> Option<usize> {
        self.others.iter().position(|(other, _)| *other == happening)
    }

    fn set_of_run(&mut self, run: RunId, point: usize, ticket: Ticket) {
        if let Some(row) = self.runs.get_mut(&run) {
            row[point] = ticket;
            if *row == [ABSENT; 4] {
                self.runs.remove(&run);
            }
        } else if ticket != ABSENT {
            let mut row = [ABSENT; 4];
            row[point] = ticket;
            self.runs.insert(run, row);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
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

    proptest! {
        #[test]
        fn the_heap_agrees_with_a_sorted_list(
            steps in proptest::collection::vec((0u16..3, 0u32..6, 0u64..9, 0u8..8), 1..200)
        ) {
            let mut agenda = Agenda::new(Ties::ByName);
            let mut model = BTreeMap::new();
            for (node, nth, at, step) in steps {
                let node = if node == 2 { NodeId(u16::MAX) } else { NodeId(node) };
                let name = match nth {
                    0 => Happening::Wakeup,
                    1 => Happening::Loaded(7),
                    nth => ended(nth),
                };
                match step {
                    0 | 1 => {
                        agenda.remove(node, name);
                        model.remove(&(node, name));
                    }
                    2 => {
                        agenda.remove_node(node);
                        model.retain(|(owner, _), _| *owner != node);
                    }
                    3 => {
                        let next = model.iter().map(|((node, name), at)| (*at, *node, *name)).min();
                        prop_assert_eq!(agenda.pop(), next);
                        if let Some((_, node, name)) = next {
                            model.remove(&(node, name));
                        }
                    }
                    _ => {
                        agenda.put(Time(at), node, name);
                        model.insert((node, name), Time(at));
                    }
                }
                let all = model.iter().map(|((node, name), at)| (*at, *node, *name));
                let mut all: Vec<_> = all.collect();
                all.sort_unstable();
                prop_assert_eq!(agenda.next_due(), all.first().map(|entry| entry.0));
                prop_assert_eq!(agenda.is_due(node, name), model.get(&(node, name)).copied());
                prop_assert_eq!(agenda.entries().collect::<Vec<_>>(), all);
            }
        }
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
