//! The recorder: every input and effect of the run, in memory for `steersman trace` and, when asked
//! for, in a file for `steersman replay`.
//!
//! The driver calls [`Recorder::begin_step`] before and [`Recorder::end_step`] after each
//! [`Engine::handle`]. The file is written by a thread of its own behind a bounded queue: a disk
//! that is too slow ends the recording, never delays a decision. What memory holds begins with a
//! state of the machine once the beginning is dropped, so that it can be replayed after months.
//!
//! Values of variables (`putenv`, and `env` in a configuration) may be secrets. They are replaced,
//! equal values by equal words, so that a replay still takes the same turns; `-record-secrets`
//! keeps them. The files of a trace are readable by their owner only, either way. Arguments of
//! commands and output of checks are kept: secrets do not belong there.

mod redact;
mod ring;
mod sink;

use std::borrow::Cow;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use steersman_engine::config::Config;
use steersman_engine::trace::{self, Beginning, Ending, Header, Secrets};
use steersman_engine::{Effect, Engine, Input, Stamp};

use crate::limits::TRACE_RING_BYTES;
use redact::{Given, Redactor};
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
    run: Run,
    line: Vec<u8>,
    given: Given,
}

/// What every trace of a run says about it.
#[derive(Clone, Debug, Default)]
struct Run {
    config: Config,
    seed: u64,
    redactor: Option<Redactor>,
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
        let run = Run { config: config.clone(), seed, redactor };
        let mut sink = None;
        if let Some(path) = &recording.file {
            let mut line = Vec::new();
            trace::write_header(&mut line, &run.header(0, None))?;
            sink = Some(Sink::create(path, line)?);
        }
        let ring = (recording.ring_bytes > 0).then(|| Ring::new(recording.ring_bytes));
        Ok(Recorder { ring, sink, run, line: Vec::new(), given: Given::default() })
    }

    /// Tells whether anything is recorded; if not, no step is needed.
    pub fn is_on(&self) -> bool {
        self.ring.is_some() || self.sink.is_some()
    }

    /// Takes down an input, before the engine gets it.
    pub fn begin_step(&mut self, now: Stamp, input: &Input) {
        if let Some(ring) = &mut self.ring {
            ring.begin_step(now.mono, now.wall_ms, input);
        }
        if self.sink.is_some() {
            self.line.clear();
            self.given = Given::by(input);
            let input = self.run.input(input);
            let written = trace::write_input(&mut self.line, now, &input);
            self.stop_on_error(written);
        }
    }

    /// Takes down what the input caused; `engine` is the machine after it.
    pub fn end_step(&mut self, effects: &[Effect], engine: &Engine) {
        if !self.is_on() {
            return;
        }
        let digest = engine.digest();
        if let Some(ring) = &mut self.ring {
            ring.end_step(effects, digest, engine);
        }
        if self.sink.is_some() {
            let effects = self.run.effects(effects, &self.given);
            let written = trace::write_effects(&mut self.line, &effects, digest);
            self.stop_on_error(written);
        }
        if let Some(sink) = &mut self.sink {
            sink.push(&self.line);
        }
    }

    /// Gives what memory holds.
    pub fn memory(&self) -> Memory {
        Memory { ring: self.ring.clone(), run: self.run.clone() }
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

    /// A step without a form in JSON would leave a hole: rather record no more.
    fn stop_on_error(&mut self, written: io::Result<()>) {
        if let (Err(error), Some(sink)) = (written, &mut self.sink) {
            sink.stop(format!("cannot record a step: {error}"));
        }
    }
}

impl Run {
    fn header(&self, dropped: u64, state: Option<Box<Engine>>) -> Header {
        let (config, secrets) = match &self.redactor {
            Some(redactor) => (redactor.config(&self.config), Secrets::Replaced),
            None => (self.config.clone(), Secrets::Kept),
        };
        let beginning = if dropped == 0 { Beginning::Kept } else { Beginning::Dropped(dropped) };
        Header { beginning, state, ..Header::new(config, self.seed, secrets) }
    }

    fn input<'a>(&self, input: &'a Input) -> Cow<'a, Input> {
        self.redactor.as_ref().map_or(Cow::Borrowed(input), |redactor| redactor.input(input))
    }

    fn effects<'a>(&self, effects: &'a [Effect], given: &Given) -> Cow<'a, [Effect]> {
        let redactor = self.redactor.as_ref();
        redactor.map_or(Cow::Borrowed(effects), |redactor| redactor.effects(effects, given))
    }
}

/// What a recorder held in memory at one moment. Making text of it takes a while, so that is done
/// outside of any decision.
#[derive(Debug, Default)]
pub struct Memory {
    ring: Option<Ring>,
    run: Run,
}

impl Memory {
    /// Writes it as a trace.
    ///
    /// # Errors
    /// Something in it has no form in JSON.
    pub fn to_trace(&self) -> io::Result<Bytes> {
        let mut text = Vec::new();
        let dropped = self.ring.as_ref().map_or(0, Ring::dropped);
        let mut state = self.ring.as_ref().and_then(Ring::state);
        if let (Some(redactor), Some(state)) = (&self.run.redactor, &mut state) {
            redactor.engine(state);
        }
        trace::write_header(&mut text, &self.run.header(dropped, state))?;
        for step in self.ring.iter().flat_map(Ring::kept) {
            let now = Stamp { mono: step.mono, wall_ms: step.wall_ms };
            trace::write_input(&mut text, now, &self.run.input(&step.input))?;
            let effects = self.run.effects(&step.effects, &Given::by(&step.input));
            trace::write_effects(&mut text, &effects, step.digest)?;
        }
        trace::write_end(&mut text, Ending::Asked)?;
        Ok(Bytes::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::TRACE_LINES_WAITING_MAX;
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use steersman_engine::config::{Command, Job};
    use steersman_engine::event::SignalName;
    use steersman_engine::input::{Control, ExitStatus, Tree};
    use steersman_engine::trace::{Outcome, Reader};
    use steersman_engine::{Engine, JobId, RequestId, RunId, RunKind};

    /// A job whose environment and arguments differ, so that redaction can be seen.
    fn config() -> Config {
        let mut command = Command::new(["app", "--verbose"]);
        command.env.push((Box::from("PASSWORD"), Box::from("hunter2")));
        Config { jobs: vec![Arc::new(Job::new("app", command))], ..Config::default() }
    }

    fn inputs() -> Vec<Input> {
        let run = RunId { job: JobId(0), kind: RunKind::Main, nth: 1 };
        let pairs = vec![(Box::from("TOKEN"), Some(Box::from("swordfish")))];
        let put = Input::Control { request: RequestId(1), command: Control::PutEnv(pairs) };
        let reload =
            Input::Control { request: RequestId(2), command: Control::Reload { all: true } };
        let status = ExitStatus::Code(0);
        vec![
            Input::Begin,
            Input::Started { run, pid: 77 },
            put,
            reload,
            Input::Loaded { config: Ok(Box::new(config())) },
            Input::Exited { run, status, tree: Tree::Gone, output: Box::from("") },
            Input::Signal(SignalName::Term),
            Input::Tick,
        ]
    }

    fn record(recording: &Recording, rounds: u64) -> Recorder {
        let mut engine = Engine::new(config(), 7);
        let mut recorder = Recorder::new(recording, &config(), 7).unwrap();
        let ticks = std::iter::repeat_n(Input::Tick, 10 * (rounds as usize - 1));
        for (millis, input) in inputs().into_iter().chain(ticks).enumerate() {
            let now = Stamp::from_millis(millis as u64);
            let mut effects = Vec::new();
            recorder.begin_step(now, &input);
            engine.handle(now, input, &mut effects);
            recorder.end_step(&effects, &engine);
        }
        recorder
    }

    fn file_of(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("steersman-{}-{name}", std::process::id()))
    }

    fn replay(text: &[u8]) -> Outcome {
        trace::replay(&mut Reader::new(text).unwrap()).unwrap()
    }

    fn assert_same(outcome: &Outcome, expected: Ending) {
        let Outcome::Same { steps, end, .. } = outcome else { panic!("{outcome:?}") };
        assert_eq!((*steps, *end), (inputs().len() as u64, Some(expected)));
    }

    #[test]
    fn recorded_file_replays_and_belongs_to_its_owner() {
        for (name, secrets) in [("kept", Secrets::Kept), ("replaced", Secrets::Replaced)] {
            let path = file_of(name);
            let file = Some(path.clone());
            record(&Recording { file, ring_bytes: 0, secrets }, 1).finish();
            let text = std::fs::read(&path).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            std::fs::remove_file(&path).unwrap();
            assert_same(&replay(&text), Ending::Over);
            let text = String::from_utf8(text).unwrap();
            for secret in ["hunter2", "swordfish"] {
                assert_eq!(text.contains(secret), secrets == Secrets::Kept, "{secret}");
            }
            assert!(text.contains("--verbose"));
            assert_eq!(mode & 0o777, 0o600);
        }
    }

    #[test]
    fn memory_replays_from_the_beginning_while_it_is_there() {
        let recorder = record(&Recording::default(), 1);
        let text = recorder.memory().to_trace().unwrap();
        assert_same(&replay(&text), Ending::Asked);
        let text = String::from_utf8(text.to_vec()).unwrap();
        assert!(!text.contains("hunter2") && !text.contains("swordfish"), "{text}");
    }

    #[test]
    fn memory_replays_from_a_state_once_the_beginning_was_dropped() {
        for secrets in [Secrets::Kept, Secrets::Replaced] {
            let small = Recording { ring_bytes: 8192, secrets, ..Recording::default() };
            let recorder = record(&small, 100);
            assert!(recorder.ring.as_ref().unwrap().bytes() <= 8192 + 2048);
            let text = recorder.memory().to_trace().unwrap();
            let mut reader = Reader::new(&*text).unwrap();
            let Beginning::Dropped(dropped) = reader.header().beginning else { panic!("whole") };
            let outcome = trace::replay(&mut reader).unwrap();
            let Outcome::Same { steps, .. } = outcome else { panic!("{outcome:?}") };
            assert!(dropped > 100 && steps > 10, "{dropped} dropped, {steps} kept");
            assert_eq!(dropped + steps, inputs().len() as u64 + 990);
            let text = String::from_utf8(text.to_vec()).unwrap();
            assert_eq!(text.contains("hunter2"), secrets == Secrets::Kept);
        }
    }

    #[test]
    fn memory_too_small_for_a_state_says_what_is_missing() {
        let tiny = Recording { ring_bytes: 600, ..Recording::default() };
        let text = record(&tiny, 50).memory().to_trace().unwrap();
        let mut reader = Reader::new(&*text).unwrap();
        let error = trace::replay(&mut reader).unwrap_err().to_string();
        assert!(error.contains("steps of the run were dropped"), "{error}");
    }

    #[test]
    fn recorder_that_is_off_keeps_nothing() {
        let off = Recording { ring_bytes: 0, ..Recording::default() };
        let recorder = record(&off, 1);
        assert!(!recorder.is_on());
        let text = recorder.memory().to_trace().unwrap();
        assert_eq!(text.iter().filter(|&&byte| byte == b'\n').count(), 2);
    }

    #[test]
    fn disk_without_room_for_the_header_is_an_error() {
        let file = Some(PathBuf::from("/dev/full"));
        let created = Recorder::new(&Recording { file, ..Recording::default() }, &config(), 7);
        let error = created.map(|_| ()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn disk_that_fails_later_ends_the_recording_and_is_said_once() {
        let path = file_of("broken");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let reader_path = path.clone();
        // A pipe without its reader fails as a full disk does.
        let reader = std::thread::spawn(move || drop(std::fs::File::open(reader_path)));
        let sink = Sink::create(&path, Vec::new());
        reader.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        let mut sink = sink.unwrap();
        sink.push(b"line\n");
        sink.wait();
        let failure = sink.take_failure().expect("nobody reads the pipe");
        assert!(failure.starts_with("cannot write the trace: "), "{failure}");
        sink.push(b"line\n");
        assert_eq!(sink.take_failure(), None);
        sink.finish(Ending::Over);
    }

    #[test]
    fn disk_that_stands_still_ends_the_recording_with_a_note() {
        let path = file_of("fifo");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        // The reader opens, so that the writer can, and reads nothing until the recording is over.
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let reader_path = path.clone();
        let reader = std::thread::spawn(move || {
            let mut file = std::fs::File::open(reader_path).unwrap();
            let _ = wait.recv();
            let mut text = Vec::new();
            io::Read::read_to_end(&mut file, &mut text).unwrap();
            text
        });
        let file = Some(path.clone());
        let recording = Recording { file, ring_bytes: 0, secrets: Secrets::Kept };
        let rounds = 1 + TRACE_LINES_WAITING_MAX as u64 / 5;
        let mut recorder = record(&recording, rounds);
        let failure = recorder.take_failure().expect("it could not keep up");
        assert!(failure.starts_with("cannot write the trace as fast as the run"), "{failure}");
        assert_eq!(recorder.take_failure(), None);
        drop(go);
        recorder.finish();
        let text = reader.join().unwrap();
        std::fs::remove_file(&path).unwrap();
        let Outcome::Same { end, .. } = replay(&text) else { panic!("it differs") };
        assert_eq!(end, Some(Ending::Overrun));
    }
}
