//! The hash of an election: equal for elections that differ only in when they are reached, in the
//! names of sessions, in the size of indexes, and in which of several equal nodes is which.

use steersman_engine::canonical::LockInTicks;
use steersman_engine::id::LockId;

use crate::random::mix;

use super::arena::{Arena, Straggler};
use super::consul::{Answer, Ask, Entry, Mark, NOBODY, SessionId};
use super::node::{Cut, Flight, Node, Power, Process, Stage, Told, session_of};

/// The place of every node, of every session and of every index in the hash.
#[derive(Default)]
struct Names {
    /// Sessions, in the order in which they are met.
    sessions: Vec<SessionId>,
    /// Indexes, in their order.
    indexes: Vec<u64>,
}

/// What is asked of a node once for each hash.
struct Known<'a> {
    place: usize,
    node: &'a Node,
    lock: Option<LockInTicks<'a>>,
    word: u64,
}

impl Names {
    fn session(&mut self, id: SessionId) -> u64 {
        if id == NOBODY {
            return 0;
        }
        let known = self.sessions.iter().position(|known| *known == id);
        let place = known.unwrap_or_else(|| {
            self.sessions.push(id);
            self.sessions.len() - 1
        });
        place as u64 + 1
    }

    fn index(&self, index: u64) -> u64 {
        if index == 0 { 0 } else { self.indexes.partition_point(|known| *known < index) as u64 + 1 }
    }
}

impl Arena {
    /// Gives the hash.
    pub(super) fn canonical(&self) -> u64 {
        let mut nodes: Vec<_> = (0..self.nodes.len()).map(|place| self.know(place)).collect();
        nodes.sort_by_key(|known| known.word);
        let mut names = Names::default();
        self.collect_indexes(&nodes, &mut names.indexes);
        let mut hash = mix(u64::from(self.troubles_left));
        for known in &nodes {
            hash = mix(hash ^ known.word);
            hash = mix(hash ^ node_word(known, &mut names));
            let is_newest = usize::from(self.newest.1) == known.place;
            hash = mix(hash ^ u64::from(is_newest));
        }
        // The order in which requests were given up does not matter.
        let word = |straggler: &Straggler, names: &mut Names| {
            let index = names.index(index_of(straggler.ask));
            mix((straggler.until - self.now) ^ (index << 8)) ^ ask_word(straggler.ask, names)
        };
        let stragglers = self.stragglers.iter().map(|straggler| word(straggler, &mut names));
        hash = mix(hash ^ stragglers.fold(0, |sum: u64, word| sum.wrapping_add(mix(word))));
        let entry = self.consul.entry.map_or(0, |entry| {
            1 + mark_word(entry)
                + (names.index(entry.modified) << 8)
                + (names.session(entry.session) << 32)
        });
        hash = mix(hash ^ entry);
        hash = mix(hash ^ names.index(self.consul.entry.map_or(0, |entry| entry.created)));
        hash = mix(hash ^ self.consul.barred_until.saturating_sub(self.now));
        hash = mix(hash ^ names.index(self.consul.index) ^ names.index(self.consul.changed) << 32);
        hash = mix(hash ^ names.index(self.newest.0));
        let ttl = u64::from(self.rules.ttl);
        let sessions = self.consul.sessions.iter().map(|session| {
            mix(names.session(session.id) ^ (self.now - session.renewed).min(ttl) << 32)
        });
        mix(hash ^ sessions.fold(0, u64::wrapping_add))
    }

    /// Gives a node's word, in which sessions and indexes have no names yet.
    fn know(&self, place: usize) -> Known<'_> {
        let node = &self.nodes[place];
        let mut word = mix(match node.power {
            Power::Up => 1,
            Power::Paused { until } => 2 + (until - self.now),
            Power::Down => 0,
        });
        let cut = match node.cut {
            Cut::No => 0,
            Cut::Deaf => 1,
            Cut::Both => 2,
        };
        let tick = self.rules.clocks.tick_of(place);
        word = mix(word ^ cut << 1 ^ u64::from(node.is_stopping) ^ tick.as_secs() << 8);
        for flight in [node.key, node.session] {
            word = mix(word ^ flight.map_or(0, |flight| self.flight_word(&flight)));
        }
        for process in node.processes {
            word = mix(word ^ process.map_or(0, |process| self.process_word(process)));
        }
        let mut lock = None;
        if node.power != Power::Down {
            let clock = self.clock(place);
            word = mix(word ^ node.engine.canonical_in_ticks(clock, tick));
            lock = node.engine.lock_in_ticks(LockId(0), clock, tick);
        }
        if let Some(lock) = &lock {
            let session = lock.session.map_or(NOBODY, session_of);
            let is_holder = session != NOBODY && session == self.consul.holder();
            word = mix(word ^ lock.word ^ u64::from(is_holder));
        }
        Known { place, node, lock, word }
    }

    fn flight_word(&self, flight: &Flight) -> u64 {
        let (stage, until) = match flight.stage {
            Stage::Asked { held_until } => (1, held_until),
            Stage::Parked { until } => (2, until),
            Stage::Answered { held_until, .. } => (3, held_until),
            Stage::Lost => (4, 0),
        };
        let is_open = !matches!(flight.stage, Stage::Lost);
        let last = if is_open { flight.last.saturating_sub(self.now) } else { 0 };
        let ahead = |at: u64| at.saturating_sub(self.now);
        // Whether an answer counts as late matters only while there is none.
        let lost_at = match flight.stage {
            Stage::Answered { .. } => 0,
            Stage::Asked { .. } | Stage::Parked { .. } | Stage::Lost => ahead(flight.lost_at),
        };
        stage | ahead(until) << 4 | last << 12 | lost_at << 24
    }

    fn process_word(&self, process: Process) -> u64 {
        let told = match process.told {
            Told::Nothing => 1,
            Told::Stop => 2,
            Told::Kill { by } => 3 + by.saturating_sub(self.now),
        };
        told << 2 | u64::from(process.is_sworn) << 1 | u64::from(process.is_unheard)
    }

    fn collect_indexes(&self, nodes: &[Known<'_>], into: &mut Vec<u64>) {
        let (entry, created) =
            self.consul.entry.map_or((0, 0), |entry| (entry.modified, entry.created));
        into.push(created);
        into.extend(self.stragglers.iter().map(|straggler| index_of(straggler.ask)));
        into.extend([entry, self.consul.index, self.consul.changed, self.newest.0]);
        for known in nodes {
            into.extend(known.lock.iter().flat_map(|lock| lock.indexes));
            into.push(token_that_counts(known));
            for flight in [known.node.key, known.node.session].into_iter().flatten() {
                let (ask, answer) = indexes_of(&flight);
                into.push(ask);
                into.extend(answer);
            }
        }
        into.retain(|index| *index > 0);
        into.sort_unstable();
        into.dedup();
    }
}

/// A token matters to those who are started with it.
fn token_that_counts(known: &Known<'_>) -> u64 {
    let is_leading = known.lock.as_ref().is_some_and(|lock| lock.is_leading);
    if is_leading { known.node.token } else { 0 }
}

const fn index_of(ask: Ask) -> u64 {
    match ask {
        Ask::Read { index, .. } | Ask::Acquire(_, Some(index)) => index,
        Ask::Create | Ask::Renew(_) | Ask::Destroy(_) | Ask::Acquire(_, None) | Ask::Release(_) => {
            0
        }
    }
}

fn indexes_of(flight: &Flight) -> (u64, [u64; 3]) {
    let is_open = matches!(flight.stage, Stage::Asked { .. } | Stage::Parked { .. });
    let asked = if is_open { index_of(flight.ask) } else { 0 };
    let answered = match flight.stage {
        Stage::Answered { answer: Answer::Acquired(token), .. } => [token.unwrap_or(0), 0, 0],
        Stage::Answered { answer: Answer::Entry { index, entry }, .. } => {
            let (modified, created) = entry.map_or((0, 0), |entry| (entry.modified, entry.created));
            [index, modified, created]
        }
        _ => [0, 0, 0],
    };
    (asked, answered)
}

fn node_word(known: &Known<'_>, names: &mut Names) -> u64 {
    let mut hash = names.index(token_that_counts(known));
    if let Some(lock) = &known.lock {
        let own = names.session(lock.session.map_or(NOBODY, session_of));
        let seen = names.session(lock.seen.map_or(NOBODY, session_of));
        hash = mix(hash ^ own << 8 ^ seen << 16);
        for index in lock.indexes {
            hash = mix(hash ^ names.index(index));
        }
    }
    for flight in [known.node.key, known.node.session] {
        let Some(flight) = flight else { continue };
        let asked = match flight.stage {
            // What was asked decides nothing once it was carried out or lost.
            Stage::Asked { .. } | Stage::Parked { .. } => ask_word(flight.ask, names),
            Stage::Answered { .. } | Stage::Lost => 0,
        };
        let (read_from, [index, modified, created]) = indexes_of(&flight);
        hash = mix(hash ^ asked ^ names.index(read_from) << 40);
        if let Stage::Answered { answer, .. } = flight.stage {
            let modified = names.index(modified) << 16;
            hash = mix(hash ^ names.index(index) ^ modified ^ names.index(created) << 24);
            hash = mix(hash ^ answer_word(answer, names) << 32);
        }
    }
    hash
}

fn ask_word(ask: Ask, names: &mut Names) -> u64 {
    match ask {
        Ask::Create => 1,
        Ask::Renew(id) => 2 | names.session(id) << 8,
        Ask::Destroy(id) => 3 | names.session(id) << 8,
        Ask::Read { index, wait } => 4 | u64::from(index > 0) << 7 | wait << 8,
        Ask::Acquire(id, modified) => {
            5 | u64::from(modified.is_some()) << 7 | names.session(id) << 8
        }
        Ask::Release(id) => 6 | names.session(id) << 8,
    }
}

fn answer_word(answer: Answer, names: &mut Names) -> u64 {
    match answer {
        Answer::Done => 1,
        Answer::Unknown => 2,
        Answer::Session(id) => 3 | names.session(id) << 8,
        Answer::Acquired(token) => 4 | u64::from(token.is_some()) << 7,
        Answer::Refused => 5,
        Answer::Entry { index: _, entry: None } => 6,
        Answer::Entry { index: _, entry: Some(entry) } => {
            7 | mark_word(entry) << 4 | names.session(entry.session) << 8
        }
    }
}

const fn mark_word(entry: Entry) -> u64 {
    let mark = match entry.mark {
        Mark::Held => 1,
        Mark::Released => 2,
        Mark::Foreign => 3,
    };
    mark | (entry.is_plain as u64) << 2
}
