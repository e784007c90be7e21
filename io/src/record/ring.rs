//! The last steps, in bounded memory, such that they can be replayed.
//!
//! Two segments, each with the state it begins with: when the younger one is full the older one
//! goes. Steps are kept in a compact form (postcard) and become text only when somebody asks.

use std::collections::VecDeque;

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use steersman_engine::{Effect, Engine, Input, Time};

/// The steps of a run since a state.
#[derive(Clone, Debug)]
struct Segment {
    start: Start,
    frames: Vec<u8>,
    steps: u64,
}

/// What a segment begins with.
#[derive(Clone, Debug)]
enum Start {
    /// The beginning of the run.
    Beginning,
    /// A state, written down.
    State(Box<[u8]>),
    /// A state that was too large to keep.
    Unknown,
}

impl Segment {
    fn bytes(&self) -> usize {
        let start = match &self.start {
            Start::Beginning | Start::Unknown => 0,
            Start::State(state) => state.len(),
        };
        start + self.frames.len()
    }
}

/// Whole steps, the oldest dropped first.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    segments: VecDeque<Segment>,
    bytes_max: usize,
    /// Steps before the oldest segment.
    dropped: u64,
    /// The step being taken down.
    frame: Vec<u8>,
}

/// One step, read back.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) mono: Time,
    pub(super) wall_ms: i64,
    pub(super) input: Input,
    pub(super) effects: Vec<Effect>,
    pub(super) digest: u64,
}

/// How much of its room a segment may use for its state.
const STATE_SHARE: usize = 2;

impl Ring {
    /// Builds the ring of a run that has not begun.
    pub(super) fn new(bytes_max: usize) -> Ring {
        let first = Segment { start: Start::Beginning, frames: Vec::new(), steps: 0 };
        let segments = VecDeque::from([first]);
        Ring { segments, bytes_max, dropped: 0, frame: Vec::new() }
    }

    /// Takes down the first half of a step.
    pub(super) fn begin_step(&mut self, mono: Time, wall_ms: i64, input: &Input) {
        self.frame.clear();
        append(&mut self.frame, &(mono, wall_ms, input));
    }

    /// Takes down the second half of a step, after which the machine is `engine`.
    pub(super) fn end_step(&mut self, effects: &[Effect], digest: u64, engine: &Engine) {
        append(&mut self.frame, &(effects, digest));
        let room = self.segment_bytes_max();
        if self.frame.len() > room {
            // There is no room for it at all: begin again after it.
            self.dropped += self.steps() + 1;
            self.segments.clear();
            self.begin_segment(engine);
            return;
        }
        if let Some(youngest) = self.segments.back_mut() {
            youngest.frames.extend_from_slice(&self.frame);
            youngest.steps += 1;
        }
        if self.segments.back().is_none_or(|youngest| youngest.bytes() > room) {
            self.begin_segment(engine);
        }
        // A large step must not keep its room for ever.
        self.frame.shrink_to(room / 8);
    }

    fn begin_segment(&mut self, engine: &Engine) {
        while self.segments.len() > 1 {
            self.dropped += self.segments.pop_front().map_or(0, |oldest| oldest.steps);
        }
        if let Some(full) = self.segments.back_mut() {
            full.frames.shrink_to_fit();
        }
        let mut state = Vec::new();
        let room = self.segment_bytes_max() / STATE_SHARE;
        // Of a machine that is too large no more is written than there is room for.
        let start = match append_within(&mut state, engine, room) {
            Ok(()) => Start::State(state.into()),
            Err(_) => Start::Unknown,
        };
        self.segments.push_back(Segment { start, frames: Vec::new(), steps: 0 });
    }

    fn segment_bytes_max(&self) -> usize {
        self.bytes_max / 2
    }

    /// Tells how many steps it holds.
    pub(super) fn steps(&self) -> u64 {
        self.segments.iter().map(|segment| segment.steps).sum()
    }

    /// Tells how many steps were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Gives the machine before the oldest step; none at the beginning, or when it was too large.
    pub(super) fn state(&self) -> Option<Box<Engine>> {
        match &self.segments.front()?.start {
            Start::State(state) => postcard::from_bytes(state).ok().map(Box::new),
            Start::Beginning | Start::Unknown => None,
        }
    }

    /// Gives the steps, oldest first.
    pub(super) fn kept(&self) -> impl Iterator<Item = Kept> {
        self.segments.iter().flat_map(|segment| {
            let mut rest = &*segment.frames;
            std::iter::from_fn(move || {
                // What was written by this very program reads back; if not, the trace ends here.
                let first = postcard::take_from_bytes::<(Time, i64, Input)>(rest);
                let ((mono, wall_ms, input), after) = first.ok()?;
                let second = postcard::take_from_bytes::<(Vec<Effect>, u64)>(after);
                let ((effects, digest), after) = second.ok()?;
                rest = after;
                Some(Kept { mono, wall_ms, input, effects, digest })
            })
        })
    }

    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.segments.iter().map(|it| it.bytes() - it.frames.len() + it.frames.capacity()).sum()
    }
}

/// Appends a value in its compact form.
fn append(to: &mut Vec<u8>, value: &impl Serialize) {
    // Every value of the engine has a form, and there is no limit.
    let _ = append_within(to, value, usize::MAX);
}

/// Appends a value, unless more than `bytes_max` bytes would be there then.
fn append_within(
    to: &mut Vec<u8>,
    value: &impl Serialize,
    bytes_max: usize,
) -> postcard::Result<()> {
    postcard::serialize_with_flavor(value, Appending { to, bytes_max })
}

struct Appending<'a> {
    to: &'a mut Vec<u8>,
    bytes_max: usize,
}

impl Appending<'_> {
    fn check(&self, more: usize) -> postcard::Result<()> {
        if self.to.len().saturating_add(more) > self.bytes_max {
            return Err(postcard::Error::SerializeBufferFull);
        }
        Ok(())
    }
}

impl Flavor for Appending<'_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.check(1)?;
        self.to.push(byte);
        Ok(())
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.check(bytes.len())?;
        self.to.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
