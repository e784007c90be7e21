//! Counts requests to Consul, for telemetry.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest};

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To register a service.
    Register,
    /// To remove a service.
    Deregister,
    /// To report a check's status.
    Report,
    /// To read the instances of a service.
    Instances,
    /// To read keys.
    Keys,
    /// To create a session.
    SessionCreate,
    /// To renew a session.
    SessionRenew,
    /// To end a session.
    SessionDestroy,
    /// To read the key of a lock.
    LockRead,
    /// To acquire the key of a lock.
    Acquire,
    /// To release the key of a lock.
    Release,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It was answered.
    Answered,
    /// It was answered with an error.
    Refused,
    /// The agent did not know the check or service.
    Unknown,
    /// The answer made no sense.
    Garbled,
    /// No answer came.
    Unreachable,
}

/// The names of everything that is counted, in the order of their declaration.
const KINDS: [(Kind, &str); 11] = [
    (Kind::Register, "register"),
    (Kind::Deregister, "deregister"),
    (Kind::Report, "report"),
    (Kind::Instances, "instances"),
    (Kind::Keys, "keys"),
    (Kind::SessionCreate, "session_create"),
    (Kind::SessionRenew, "session_renew"),
    (Kind::SessionDestroy, "session_destroy"),
    (Kind::LockRead, "lock_read"),
    (Kind::Acquire, "acquire"),
    (Kind::Release, "release"),
];
const OUTCOMES: [(Outcome, &str); 5] = [
    (Outcome::Answered, "answered"),
    (Outcome::Refused, "refused"),
    (Outcome::Unknown, "unknown"),
    (Outcome::Garbled, "garbled"),
    (Outcome::Unreachable, "unreachable"),
];

impl Kind {
    /// Tells what a request asks for.
    pub fn of(request: &ConsulRequest) -> Kind {
        match request {
            ConsulRequest::Register(_) => Kind::Register,
            ConsulRequest::Deregister { .. } => Kind::Deregister,
            ConsulRequest::Report { .. } => Kind::Report,
            ConsulRequest::Instances { .. } => Kind::Instances,
            // The driver looks at files itself; none comes here.
            ConsulRequest::Keys { .. } | ConsulRequest::File { .. } => Kind::Keys,
            ConsulRequest::SessionCreate { .. } => Kind::SessionCreate,
            ConsulRequest::SessionRenew { .. } => Kind::SessionRenew,
            ConsulRequest::SessionDestroy { .. } => Kind::SessionDestroy,
            ConsulRequest::LockRead { .. } => Kind::LockRead,
            ConsulRequest::Acquire { .. } => Kind::Acquire,
            ConsulRequest::Release { .. } => Kind::Release,
        }
    }
}

impl Outcome {
    /// Tells what a reply comes to.
    pub fn of(reply: &ConsulReply) -> Outcome {
        match reply {
            ConsulReply::Done
            | ConsulReply::Instances { .. }
            | ConsulReply::Keys { .. }
            | ConsulReply::File(_)
            | ConsulReply::Session { .. }
            | ConsulReply::Acquired { .. } => Outcome::Answered,
            ConsulReply::Failed(ConsulFailure::Refused { .. }) => Outcome::Refused,
            ConsulReply::Failed(ConsulFailure::Unknown) => Outcome::Unknown,
            ConsulReply::Failed(ConsulFailure::Garbled(_)) => Outcome::Garbled,
            ConsulReply::Failed(ConsulFailure::Unreachable(_)) => Outcome::Unreachable,
        }
    }
}

/// Counters that are shared between whoever counts and whoever shows.
#[derive(Clone, Debug, Default)]
pub struct Counters {
    cells: Arc<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    requests: [[Cell; OUTCOMES.len()]; KINDS.len()],
    connections: AtomicU64,
}

#[derive(Debug, Default)]
struct Cell {
    count: AtomicU64,
    micros: AtomicU64,
}

/// One line of the count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// What was asked for: `register`, `deregister`, `report`, `instances`, `keys`, …
    pub kind: &'static str,
    /// What came of it: `answered`, `refused`, `unknown`, `garbled` or `unreachable`.
    pub outcome: &'static str,
    /// How often.
    pub count: u64,
    /// How long all of them took together. The time that a blocking query waited for a change is in
    /// it.
    pub seconds: f64,
}

impl Counters {
    /// Builds them, all zero.
    pub fn new() -> Counters {
        Counters::default()
    }

    /// Counts a request.
    pub fn count(&self, kind: Kind, outcome: Outcome, latency: Duration) {
        // The tables above are in the order of the declarations.
        let cell = &self.cells.requests[kind as usize][outcome as usize];
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        cell.count.fetch_add(1, Ordering::Relaxed);
        cell.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Counts a connection that was opened.
    pub fn count_connection(&self) {
        self.cells.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// Tells how many connections were opened.
    pub fn connections(&self) -> u64 {
        self.cells.connections.load(Ordering::Relaxed)
    }

    /// Gives what has been counted: only what has happened at least once.
    pub fn figures(&self) -> Vec<Figure> {
        let mut figures = Vec::new();
        for ((_, kind), outcomes) in KINDS.iter().zip(&self.cells.requests) {
            for ((_, outcome), cell) in OUTCOMES.iter().zip(outcomes) {
                let count = cell.count.load(Ordering::Relaxed);
                let seconds = cell.micros.load(Ordering::Relaxed) as f64 / 1e6;
                if count > 0 {
                    figures.push(Figure { kind, outcome, count, seconds });
                }
            }
        }
        figures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_and_outcome_is_counted_under_its_own_name() {
        for (index, (kind, name)) in KINDS.into_iter().enumerate() {
            assert_eq!(kind as usize, index);
            for (index, (outcome, word)) in OUTCOMES.into_iter().enumerate() {
                assert_eq!(outcome as usize, index);
                let counters = Counters::new();
                counters.count(kind, outcome, Duration::from_millis(1500));
                counters.count(kind, outcome, Duration::from_millis(500));
                let figure = Figure { kind: name, outcome: word, count: 2, seconds: 2.0 };
                assert_eq!(counters.figures(), [figure]);
            }
        }
    }
}
