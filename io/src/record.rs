//! The recorder: every input and effect of the run, in memory for `steersman trace` and, when asked
//! for, in a file for `steersman replay`.
//!
//! The driver calls [`Recorder::begin_step`] before and [`Recorder::end_step`] after each
//! [`Engine::handle`](steersman_engine::Engine::handle). The file is written by a thread of its own
//! behind a bounded queue: a disk that is too slow ends the recording, never delays a decision.
//!
//! Values of variables (`putenv`, and `env` in a configuration) may be secrets. They are replaced,
//! equal values by equal words, so that a replay still takes the same turns; `-record-secrets` keeps
//! them. The files of a trace are readable by their owner only, either way. Arguments of commands and
//! output of checks are kept: secrets do not belong there.

mod redact;
mod ring;
mod sink;

use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use steersman_engine::config::Config;
use steersman_engine::trace::{self, Beginning, Ending, Header, Secrets};
use steersman_engine::{Effect, Input, Stamp};

use crate::limits::TRACE_RING_BYTES;
use redact::{Redactor, Values};
use ring::Ring;
use sink::Sink;

/// What to record, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recording {
    /// The file for the whole run, if any.
    pub file: Option<PathBuf>,
    /// How many bytes of steps to keep in memory; 0 keeps none.
    pub ring_bytes: usize,
    /// Whether to keep values that may be secret.
    pub secrets: Secrets,
}

impl Default for Recording {
    fn default() -> Recording {
        Recording { file: None, ring_bytes: TRACE_RING_BYTES, secrets: Secrets::Replaced }
    }
}

/// Records a run.
#[derive(Debug)]
pub struct Recorder {
    ring: Option<Ring>,
    sink: Option<Sink>,
    redactor: Option<Redactor>,
    config: Config,
    seed: u64,
    step: Vec<u8>,
    values: Values,
}

impl Recorder {
    /// Begins to record a run that has not begun.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn new(recording: &Recording, config: &Config, seed: u64) -> io::Result<Recorder> {
        let redactor = match recording.secrets {
            Secrets::Kept => None,
            Secrets::Replaced => Some(Redactor::new()),
        };
        let mut recorder = Recorder {
            ring: (recording.ring_bytes > 0).then(|| Ring::new(recording.ring_bytes)),
            sink: None,
            redactor,
            config: config.clone(),
            seed,
            step: Vec::new(),
            values: Values::Made,
        };
        if let Some(path) = &recording.file {
            let mut line = Vec::new();
            trace::write_header(&mut line, &recorder.header(Beginning::Kept))?;
            recorder.sink = Some(Sink::create(path, line)?);
        }
        Ok(recorder)
    }

    /// Tells whether anything is recorded; if not, neither steps nor digests are needed.
    pub fn is_on(&self) -> bool {
        self.ring.is_some() || self.sink.is_some()
    }

    /// Takes down an input, before the engine gets it.
    pub fn begin_step(&mut self, now: Stamp, input: &Input) {
        if !self.is_on() {
            return;
        }
        self.step.clear();
        self.values = Values::after(input);
        let written = match &self.redactor {
            Some(redactor) => trace::write_input(&mut self.step, now, &redactor.input(input)),
            None => trace::write_input(&mut self.step, now, input),
        };
        self.stop_on_error(written);
    }

    /// Takes down what the input caused.
    pub fn end_step(&mut self, effects: &[Effect], digest: u64) {
        if !self.is_on() {
            return;
        }
        let written = match &self.redactor {
            Some(redactor) => {
                let effects = redactor.effects(effects, self.values);
                trace::write_effects(&mut self.step, &effects, digest)
            }
            None => trace::write_effects(&mut self.step, effects, digest),
        };
        self.stop_on_error(written);
        if let Some(ring) = &mut self.ring {
            ring.push(&self.step);
        }
        if let Some(sink) = &mut self.sink {
            sink.push(&self.step);
        }
    }

    /// Gives what memory holds, as a trace.
    pub fn trace(&self) -> Bytes {
        let mut text = Vec::new();
        let dropped = self.ring.as_ref().map_or(0, Ring::dropped);
        let beginning = if dropped == 0 { Beginning::Kept } else { Beginning::Dropped(dropped) };
        if trace::write_header(&mut text, &self.header(beginning)).is_ok() {
            for line in self.ring.iter().flat_map(Ring::lines) {
                text.extend_from_slice(line);
            }
            // Writing to memory cannot fail.
            let _ = trace::write_end(&mut text, Ending::Asked);
        }
        Bytes::from(text)
    }

    /// Tells why the file is not whole, once that is known. Told once.
    pub fn take_failure(&mut self) -> Option<String> {
        self.sink.as_mut().and_then(Sink::take_failure)
    }

    /// Writes the rest of the file; waits for the disk, but not for ever.
    pub fn finish(&mut self) {
        if let Some(sink) = self.sink.take() {
            sink.finish(Ending::Over);
        }
    }

    /// Gives the file being written, if any.
    pub fn file(&self) -> Option<&Path> {
        self.sink.as_ref().map(Sink::path)
    }

    fn header(&self, beginning: Beginning) -> Header {
        let (config, secrets) = match &self.redactor {
            Some(redactor) => (redactor.config(&self.config), Secrets::Replaced),
            None => (self.config.clone(), Secrets::Kept),
        };
        Header { beginning, ..Header::new(config, self.seed, secrets) }
    }

    /// A step without a form in JSON would leave a hole: rather record no more.
    fn stop_on_error(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            self.ring = None;
            if let Some(sink) = &mut self.sink {
                sink.stop(format!("cannot record a step: {error}"));
            }
        }
    }
}
