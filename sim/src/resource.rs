//! A resource that compares tokens: every process that works under a lock writes to it, again and
//! again, with the token that it was started with, and older ones than it has seen are refused.
//!
//! That an accepted token is never below an accepted one is so by construction. What is judged is
//! whether the tokens are good for that: the writes of one process follow each other without
//! another's between them, and who leads by the truth of Consul is not refused.

use core::time::Duration;

use steersman_engine::{RunId, Time};

use crate::agenda::NodeId;
use crate::world::World;

/// Who writes: a process, by node and run.
type Writer = (NodeId, u32, RunId);

/// The resource, with what it saw.
#[derive(Clone, Debug)]
pub struct Resource {
    key: Box<str>,
    every: Duration,
    next: Time,
    is_checking: bool,
    newest: Option<(u64, Writer)>,
    /// Writers that were followed by another one.
    past: Vec<Writer>,
    accepted: u64,
    refused: u64,
    interleaved: u64,
    offences: Vec<String>,
}

impl Resource {
    /// Builds a resource that the holders of a key write to every so often.
    pub fn of(key: &str, every: Duration) -> Resource {
        Resource {
            key: Box::from(key),
            every,
            next: Time(0),
            is_checking: true,
            newest: None,
            past: Vec::new(),
            accepted: 0,
            refused: 0,
            interleaved: 0,
            offences: Vec::new(),
        }
    }

    /// Accepts whatever comes: to show what the comparison is good for.
    pub fn careless(self) -> Resource {
        Resource { is_checking: false, ..self }
    }

    /// Counts the writes that were accepted.
    pub const fn accepted(&self) -> u64 {
        self.accepted
    }

    /// Counts the writes that were refused because a newer token had been seen.
    pub const fn refused(&self) -> u64 {
        self.refused
    }

    /// Counts the writes that were accepted although another's had come after the writer's first.
    pub const fn interleaved(&self) -> u64 {
        self.interleaved
    }

    /// Gives what must never happen and did: nothing when nobody compares.
    pub fn offences(&self) -> &[String] {
        &self.offences
    }

    /// Tells when the next writes come.
    pub(crate) const fn next(&self) -> Time {
        self.next
    }

    /// Lets every process that can run write once, when it is time.
    pub(crate) fn take_writes(&mut self, world: &World) {
        let now = world.now();
        if now < self.next {
            return;
        }
        self.next = now + self.every;
        if world.observer().are_tokens_void() {
            // Consul counts from the beginning again; no token says anything any more.
            return;
        }
        let mut writers = world.observer().writers(&self.key);
        writers.retain(|(node, _, _)| !world.node(*node).is_frozen());
        // Who comes first is open: the order of the nodes turns with every round.
        let turn = usize::try_from(now.0 / 1_000_000 % 7).unwrap_or(0) % writers.len().max(1);
        writers.rotate_left(turn);
        for (node, run, token) in writers {
            self.take(now, token, (node, world.node(node).lives(), run));
        }
    }

    fn take(&mut self, now: Time, token: u64, writer: Writer) {
        let is_old = self.newest.is_some_and(|(newest, _)| token < newest);
        if is_old && self.is_checking {
            self.refused += 1;
            return;
        }
        self.accepted += 1;
        let is_past = self.past.contains(&writer);
        self.interleaved += u64::from(is_past);
        if is_past && self.is_checking {
            let seconds = Duration::from_nanos(now.0).as_secs_f64();
            let node = writer.0.0;
            self.offences.push(format!(
                "{seconds:.3}s node {node}: a write with token {token} comes after another's"
            ));
        }
        if let Some((_, before)) = self.newest.replace((token, writer))
            && before != writer
        {
            self.past.push(before);
        }
    }
}

#[cfg(test)]
mod tests {
    use steersman_engine::{JobId, RunKind};

    use super::*;

    fn writer(node: u16) -> Writer {
        (NodeId(node), 0, RunId { job: JobId(0), kind: RunKind::Main, nth: 1 })
    }

    #[test]
    fn older_tokens_are_refused() {
        let mut resource = Resource::of("k", Duration::from_millis(100));
        for (token, by) in [(5, 0), (9, 1), (5, 0), (9, 1)] {
            resource.take(Time(0), token, writer(by));
        }
        assert_eq!((resource.accepted(), resource.refused()), (3, 1));
        assert!(resource.offences().is_empty());
    }

    #[test]
    fn equal_tokens_of_two_are_seen() {
        let mut resource = Resource::of("k", Duration::from_millis(100));
        for by in [0, 1, 0] {
            resource.take(Time(0), 5, writer(by));
        }
        assert_eq!(resource.offences().len(), 1);
    }

    #[test]
    fn who_compares_nothing_takes_what_is_old() {
        let mut resource = Resource::of("k", Duration::from_millis(100)).careless();
        for (token, by) in [(5, 0), (9, 1), (5, 0)] {
            resource.take(Time(0), token, writer(by));
        }
        assert_eq!((resource.refused(), resource.interleaved()), (0, 1));
        assert!(resource.offences().is_empty());
    }
}
