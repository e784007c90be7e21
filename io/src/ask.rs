//! What the control plane asks of the driver: one bounded queue, never waited for by the driver.
//!
//! The driver takes an [`Ask`] when it has nothing more urgent, answers through what is inside and
//! forgets it. Whoever asked may be gone by then: a failed answer is ignored.

use bytes::Bytes;
use steersman_engine::effect::Reply;
use steersman_engine::input::Control;
use steersman_engine::status::Status;
use tokio::sync::{mpsc, oneshot};

use crate::limits::ASKS_MAX;
use crate::record::Memory;

/// One question from the control plane.
#[derive(Debug)]
pub enum Ask {
    /// Becomes [`steersman_engine::Input::Control`]; the answer is the reply to it.
    Control(Control, oneshot::Sender<Reply>),
    /// Answered with [`steersman_engine::Engine::status`].
    Status(oneshot::Sender<Status>),
    /// Somebody wants to see events from now on.
    Events(Subscriber),
    /// Answered with what the recorder holds.
    Trace(oneshot::Sender<Memory>),
}

/// The asking end of the queue.
pub type Asker = mpsc::Sender<Ask>;

/// The driver's end of the queue.
pub type Asked = mpsc::Receiver<Ask>;

/// Builds the queue from the control plane to the driver.
pub fn queue() -> (Asker, Asked) {
    mpsc::channel(ASKS_MAX)
}

/// One reader of the stream of events.
#[derive(Debug)]
pub struct Subscriber {
    lines: mpsc::Sender<Bytes>,
    lost: u64,
}

/// Whether a subscriber still listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listens {
    /// It does.
    Yes,
    /// It has gone.
    No,
}

impl Subscriber {
    /// Builds a subscriber and the end that reads its lines.
    pub fn new() -> (Subscriber, mpsc::Receiver<Bytes>) {
        let (lines, reader) = mpsc::channel(crate::limits::EVENTS_WAITING_MAX);
        (Subscriber { lines, lost: 0 }, reader)
    }

    /// Tells whether the reader is still there.
    pub fn listens(&self) -> Listens {
        if self.lines.is_closed() { Listens::No } else { Listens::Yes }
    }

    /// Hands over one line, without ever waiting.
    ///
    /// A line for a reader that is behind is dropped, and a line that counts what was dropped
    /// follows as soon as there is room.
    pub fn offer(&mut self, line: &Bytes) -> Listens {
        if self.lost > 0 {
            let note = Bytes::from(format!("{{\"lost\":{}}}\n", self.lost));
            match self.lines.try_send(note) {
                Ok(()) => self.lost = 0,
                Err(mpsc::error::TrySendError::Full(_)) => {
                    self.lost += 1;
                    return Listens::Yes;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => return Listens::No,
            }
        }
        match self.lines.try_send(line.clone()) {
            Ok(()) => Listens::Yes,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lost += 1;
                Listens::Yes
            }
            Err(mpsc::error::TrySendError::Closed(_)) => Listens::No,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_subscriber_loses_lines_and_is_told_how_many() {
        let (mut subscriber, mut reader) = Subscriber::new();
        let line = Bytes::from_static(b"x\n");
        for _ in 0..crate::limits::EVENTS_WAITING_MAX + 3 {
            assert_eq!(subscriber.offer(&line), Listens::Yes);
        }
        for _ in 0..crate::limits::EVENTS_WAITING_MAX {
            assert_eq!(reader.try_recv().unwrap(), line);
        }
        assert_eq!(subscriber.offer(&line), Listens::Yes);
        assert_eq!(reader.try_recv().unwrap(), Bytes::from_static(b"{\"lost\":3}\n"));
        assert_eq!(reader.try_recv().unwrap(), line);
    }

    #[test]
    fn subscriber_that_has_gone_says_so() {
        let (mut subscriber, reader) = Subscriber::new();
        drop(reader);
        assert_eq!(subscriber.offer(&Bytes::from_static(b"x\n")), Listens::No);
    }
}
