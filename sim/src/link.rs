//! The link between a node and its Consul agent: how long a message takes, and what may go wrong.

use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::random::Random;

/// A link, with its two directions: to the agent and back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    /// The shortest and the longest time one way; messages overtake each other within it.
    pub latency: (Duration, Duration),
    /// How many messages in a million get lost, each way; the sender never hears of it.
    pub loss_ppm: u32,
    /// How many requests in a million arrive twice (something in between tries again).
    pub duplication_ppm: u32,
    /// Whether anything gets through at all.
    pub state: LinkState,
}

/// Whether anything gets through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LinkState {
    /// Both ways.
    #[default]
    Up,
    /// Nobody listens: an error at once.
    Refused,
    /// Requests get lost; the sender waits in vain.
    CutOut,
    /// Requests arrive and are done; answers get lost (a half-open connection).
    CutIn,
    /// Everything gets lost.
    Cut,
}

impl Default for Link {
    fn default() -> Link {
        Link {
            latency: (Duration::from_micros(200), Duration::from_millis(1)),
            loss_ppm: 0,
            duplication_ppm: 0,
            state: LinkState::Up,
        }
    }
}

impl Link {
    /// Draws the fate of a message to the agent: when it arrives, if at all.
    pub(crate) fn send(&self, random: Random) -> Option<Duration> {
        let is_open = matches!(self.state, LinkState::Up | LinkState::CutIn);
        is_open.then(|| self.pass(random)).flatten()
    }

    /// Draws the fate of an answer.
    pub(crate) fn bring_back(&self, random: Random) -> Option<Duration> {
        let is_open = matches!(self.state, LinkState::Up | LinkState::CutOut);
        is_open.then(|| self.pass(random)).flatten()
    }

    /// Tells whether a request arrives a second time.
    pub(crate) fn repeats(&self, random: Random) -> bool {
        random.stream("again").happens(self.duplication_ppm)
    }

    fn pass(&self, random: Random) -> Option<Duration> {
        if random.stream("loss").happens(self.loss_ppm) {
            return None;
        }
        let nanos = |span: Duration| u64::try_from(span.as_nanos()).unwrap_or(u64::MAX);
        let (low, high) = (nanos(self.latency.0), nanos(self.latency.1));
        Some(Duration::from_nanos(random.stream("latency").between(low, high)))
    }
}
