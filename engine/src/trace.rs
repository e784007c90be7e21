//! Traces: a run as a file, written while it happens and replayed elsewhere.
//!
//! A trace is JSON lines. The first line is the [`Header`]; each further line is one [`Step`]:
//! when, the input, the effects it had, and the digest of the state afterwards. The last line of a
//! run that ended in good order says why it ended ([`Ending`]). A file without it was cut, or its
//! run still goes on.
//!
//! The format's version is [`FORMAT`]; a reader refuses every other one. Floating point survives
//! exactly; digests and the seed are hexadecimal text, because many tools round large integers.

use std::fmt;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::config::Config;
use crate::effect::Effect;
use crate::engine::Engine;
use crate::input::Input;
use crate::time::{Stamp, Time};

/// The version of the format. It changes whenever an older reader would misread.
pub const FORMAT: u32 = 1;

/// The longest line a reader takes: a configuration with every job there can be fits.
pub const LINE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// A number as hexadecimal text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hex(pub u64);

impl fmt::Display for Hex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hex {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hex, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        u64::from_str_radix(&text, 16).map(Hex).map_err(|_| {
            serde::de::Error::custom(format_args!("\"{text}\" is no hexadecimal number"))
        })
    }
}

/// Whether a trace holds a run from its first input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Beginning {
    /// It does.
    Kept,
    /// So many steps at the beginning were dropped to keep within memory: it can be read, not
    /// replayed.
    Dropped(u64),
}

/// Whether values that may be secret are in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Secrets {
    /// Every value of a variable is as it was.
    Kept,
    /// Every value of a variable was replaced; equal values by equal replacements.
    Replaced,
}

/// What a run starts from.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The format's version.
    pub format: u32,
    /// The version of the engine that ran.
    pub engine: Box<str>,
    /// The engine's seed.
    pub seed: Hex,
    /// Whether the first step is the first of the run.
    pub beginning: Beginning,
    /// Whether values that may be secret are inside.
    pub secrets: Secrets,
    /// The configuration that the run began with.
    pub config: Config,
    /// The machine before the first step, where the beginning was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<Box<Engine>>,
}

impl Header {
    /// Builds the header of a run of this very engine, from its first input.
    pub fn new(config: Config, seed: u64, secrets: Secrets) -> Header {
        Header {
            format: FORMAT,
            engine: Box::from(env!("CARGO_PKG_VERSION")),
            seed: Hex(seed),
            beginning: Beginning::Kept,
            secrets,
            config,
            state: None,
        }
    }

    /// Builds the machine that the first step goes to.
    fn machine(&self) -> Result<Engine, TraceError> {
        match (&self.state, self.beginning) {
            (Some(state), _) => Ok(Engine::clone(state)),
            (None, Beginning::Kept) => Ok(Engine::new(self.config.clone(), self.seed.0)),
            (None, Beginning::Dropped(steps)) => {
                Err(TraceError { line: 1, problem: Problem::BeginningDropped { steps } })
            }
        }
    }
}

/// One call of [`Engine::handle`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Nanoseconds on the monotonic clock.
    pub mono: u64,
    /// Milliseconds on the wall clock.
    pub wall: i64,
    /// What came in.
    pub input: Input,
    /// What it caused, in order.
    pub effects: Vec<Effect>,
    /// The state afterwards.
    pub digest: Hex,
}

/// Why a recording ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ending {
    /// The run was over.
    Over,
    /// The recording could not keep up with the run, and stopped rather than leave a gap.
    Overrun,
    /// It was asked for in the middle of the run.
    Asked,
}

/// Writes the header line.
pub fn write_header(out: &mut impl Write, header: &Header) -> io::Result<()> {
    #[derive(Serialize)]
    struct Marked<'a> {
        trace: &'static str,
        #[serde(flatten)]
        header: &'a Header,
    }
    serde_json::to_writer(&mut *out, &Marked { trace: MARK, header })?;
    out.write_all(b"\n")
}

/// Writes the first half of a step's line: what came in. [`write_effects`] must follow.
///
/// In halves, because the engine consumes the input before there are effects.
pub fn write_input(out: &mut impl Write, now: Stamp, input: &Input) -> io::Result<()> {
    write!(out, "{{\"mono\":{},\"wall\":{},\"input\":", now.mono.0, now.wall_ms)?;
    Ok(serde_json::to_writer(out, input)?)
}

/// Writes the second half of a step's line: what it caused.
pub fn write_effects(out: &mut impl Write, effects: &[Effect], digest: u64) -> io::Result<()> {
    out.write_all(b",\"effects\":")?;
    serde_json::to_writer(&mut *out, effects)?;
    writeln!(out, ",\"digest\":\"{}\"}}", Hex(digest))
}

/// Writes the last line.
pub fn write_end(out: &mut impl Write, end: Ending) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &End { end })?;
    out.write_all(b"\n")
}

const MARK: &str = "steersman";

#[derive(Serialize, Deserialize)]
struct End {
    end: Ending,
}

enum Line {
    End(Ending),
    Step(Box<Step>),
}

/// Why a trace cannot be used, and where.
#[derive(Debug)]
pub struct TraceError {
    /// The line, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a line of a trace.
#[derive(Debug)]
pub enum Problem {
    /// The file could not be read on.
    Read(io::Error),
    /// There is nothing in it.
    Empty,
    /// It is no trace of steersman.
    Foreign,
    /// It is a trace of another version of the format.
    OtherFormat {
        /// Which one.
        found: u64,
    },
    /// It ends in the middle of a line.
    Cut,
    /// It is longer than any line that was ever written.
    TooLong,
    /// It is not what belongs there.
    Malformed(String),
    /// It comes after the end of the run.
    AfterEnd,
    /// The beginning of the run is not in it.
    BeginningDropped {
        /// How many steps are missing.
        steps: u64,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line;
        match &self.problem {
            Problem::Read(error) => write!(f, "cannot read line {line}: {error}"),
            Problem::Empty => f.write_str("cannot read a trace from an empty file"),
            Problem::Foreign => write!(f, "cannot read line {line}: this is no steersman trace"),
            Problem::OtherFormat { found } => write!(
                f,
                "cannot read line {line}: the trace has format {found}, this program reads {FORMAT}"
            ),
            Problem::Cut => write!(f, "cannot read line {line}: the file ends in the middle of it"),
            Problem::TooLong => {
                write!(f, "cannot read line {line}: it is longer than {LINE_BYTES_MAX} bytes")
            }
            Problem::Malformed(reason) => write!(f, "cannot read line {line}: {reason}"),
            Problem::AfterEnd => write!(f, "cannot read line {line}: the run had ended before it"),
            Problem::BeginningDropped { steps } => write!(
                f,
                "cannot replay this trace: the first {steps} steps of the run were dropped"
            ),
        }
    }
}

impl std::error::Error for TraceError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Read(error) => Some(error),
            _ => None,
        }
    }
}

/// Reads a trace line by line, in bounded memory.
#[derive(Debug)]
pub struct Reader<R> {
    source: R,
    line: u64,
    header: Header,
    end: Option<Ending>,
    buffer: Vec<u8>,
}

impl<R: BufRead> Reader<R> {
    /// Reads the header.
    pub fn new(mut source: R) -> Result<Reader<R>, TraceError> {
        let mut buffer = Vec::new();
        let at = |problem| TraceError { line: 1, problem };
        if !read_line(&mut source, &mut buffer).map_err(at)? {
            return Err(at(Problem::Empty));
        }
        let header = parse_header(&buffer).map_err(at)?;
        Ok(Reader { source, line: 1, header, end: None, buffer })
    }

    /// Reads the next step; none after the last.
    pub fn next_step(&mut self) -> Result<Option<Step>, TraceError> {
        loop {
            self.line += 1;
            let at = |problem| TraceError { line: self.line, problem };
            if !read_line(&mut self.source, &mut self.buffer).map_err(at)? {
                return Ok(None);
            }
            if self.end.is_some() {
                return Err(at(Problem::AfterEnd));
            }
            match parse_line(&self.buffer).map_err(at)? {
                Line::Step(step) => return Ok(Some(*step)),
                Line::End(end) => self.end = Some(end),
            }
        }
    }

    /// Gives what the run started from.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Tells which line was read last, from 1.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Tells why the recording ended, once its last line was read; none when it was cut.
    pub fn end(&self) -> Option<Ending> {
        self.end
    }
}

/// What a replay found.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Every step had the recorded effects and digest.
    Same {
        /// How many steps there were.
        steps: u64,
        /// The last digest.
        digest: Hex,
        /// Why the recording ended; none when it says nothing.
        end: Option<Ending>,
    },
    /// A step went another way.
    Differs(Box<Difference>),
}

/// The first step that went another way than recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// Its line in the file.
    pub line: u64,
    /// The step as it was recorded.
    pub step: Step,
    /// What is different.
    pub what: What,
}

/// What is different in a step.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// An effect; either side may have none at this place.
    Effect {
        /// Its place among the effects of the step, from 0.
        index: usize,
        /// The effect as recorded.
        recorded: Option<Box<Effect>>,
        /// The effect as replayed.
        replayed: Option<Box<Effect>>,
    },
    /// The state, although the effects are equal.
    Digest {
        /// The digest as recorded.
        recorded: Hex,
        /// The digest as replayed.
        replayed: Hex,
    },
}

/// Runs an engine over a trace and compares every effect and digest.
pub fn replay<R: BufRead>(reader: &mut Reader<R>) -> Result<Outcome, TraceError> {
    let mut engine = reader.header.machine()?;
    let mut effects = Vec::new();
    let mut steps = 0;
    let mut digest = Hex(engine.digest());
    while let Some(step) = reader.next_step()? {
        effects.clear();
        let now = Stamp { mono: Time(step.mono), wall_ms: step.wall };
        engine.handle(now, step.input.clone(), &mut effects);
        digest = Hex(engine.digest());
        if let Some(what) = first_difference(&step, &effects, digest) {
            let line = reader.line();
            return Ok(Outcome::Differs(Box::new(Difference { line, step, what })));
        }
        steps += 1;
    }
    Ok(Outcome::Same { steps, digest, end: reader.end() })
}

fn first_difference(step: &Step, effects: &[Effect], digest: Hex) -> Option<What> {
    let length = step.effects.len().max(effects.len());
    for index in 0..length {
        let (recorded, replayed) = (step.effects.get(index), effects.get(index));
        if recorded != replayed {
            let boxed = |side: Option<&Effect>| side.cloned().map(Box::new);
            let (recorded, replayed) = (boxed(recorded), boxed(replayed));
            return Some(What::Effect { index, recorded, replayed });
        }
    }
    (step.digest != digest).then_some(What::Digest { recorded: step.digest, replayed: digest })
}

/// Reads one line without its end into `buffer`; false at the end of the file.
fn read_line(source: &mut impl BufRead, buffer: &mut Vec<u8>) -> Result<bool, Problem> {
    buffer.clear();
    let limit = LINE_BYTES_MAX as u64 + 1;
    let read = io::Read::take(&mut *source, limit).read_until(b'\n', buffer);
    let read = read.map_err(Problem::Read)?;
    if read == 0 {
        return Ok(false);
    }
    if buffer.pop() != Some(b'\n') {
        return Err(if read > LINE_BYTES_MAX { Problem::TooLong } else { Problem::Cut });
    }
    Ok(true)
}

fn parse_header(line: &[u8]) -> Result<Header, Problem> {
    #[derive(Deserialize)]
    struct Mark {
        trace: Box<str>,
        format: u64,
    }
    let mark: Mark = serde_json::from_slice(line).map_err(|_| Problem::Foreign)?;
    if &*mark.trace != MARK {
        return Err(Problem::Foreign);
    }
    if mark.format != u64::from(FORMAT) {
        return Err(Problem::OtherFormat { found: mark.format });
    }
    serde_json::from_slice(line).map_err(|error| Problem::Malformed(error.to_string()))
}

fn parse_line(line: &[u8]) -> Result<Line, Problem> {
    let malformed = |error: serde_json::Error| Problem::Malformed(error.to_string());
    if line.starts_with(b"{\"end\":") {
        let end: Result<End, _> = serde_json::from_slice(line);
        return end.map(|End { end }| Line::End(end)).map_err(malformed);
    }
    serde_json::from_slice(line).map(|step| Line::Step(Box::new(step))).map_err(malformed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Command, Job};
    use crate::event::SignalName;
    use crate::id::{JobId, RequestId, RunId, RunKind};
    use crate::input::{Control, ExitStatus, Tree};
    use std::sync::Arc;

    fn config_with_one_job() -> Config {
        let job = Job::new("app", Command::new(["sleep", "1000"]));
        Config { jobs: vec![Arc::new(job)], ..Config::default() }
    }

    fn inputs() -> Vec<(u64, Input)> {
        let run = RunId { job: JobId(0), kind: RunKind::Main, nth: 1 };
        let command = Control::PutMetric(vec![("a".into(), 0.1 + 0.2)]);
        let exited = Input::Exited {
            run,
            status: ExitStatus::Signal(15),
            tree: Tree::Gone,
            output: Box::from(""),
        };
        vec![
            (1, Input::Begin),
            (2, Input::Started { run, pid: 77 }),
            (3, Input::Control { request: RequestId(1), command }),
            (4, Input::Signal(SignalName::Term)),
            (5, exited),
        ]
    }

    fn recorded_run() -> String {
        let config = config_with_one_job();
        let mut engine = Engine::new(config.clone(), 7);
        let mut out = Vec::new();
        write_header(&mut out, &Header::new(config, 7, Secrets::Kept)).unwrap();
        for (millis, input) in inputs() {
            let now = Stamp::from_millis(millis);
            let mut effects = Vec::new();
            write_input(&mut out, now, &input).unwrap();
            engine.handle(now, input, &mut effects);
            write_effects(&mut out, &effects, engine.digest()).unwrap();
        }
        write_end(&mut out, Ending::Over).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn replayed(text: &str) -> Result<Outcome, TraceError> {
        replay(&mut Reader::new(text.as_bytes())?)
    }

    fn error_of(text: &str) -> String {
        replayed(text).unwrap_err().to_string()
    }

    #[test]
    fn recorded_run_replays_with_equal_effects_and_digests() {
        let Outcome::Same { steps, end, .. } = replayed(&recorded_run()).unwrap() else {
            panic!("the replay differs");
        };
        assert_eq!((steps, end), (5, Some(Ending::Over)));
    }

    #[test]
    fn run_goes_on_from_a_state_in_the_header() {
        let config = config_with_one_job();
        let mut engine = Engine::new(config.clone(), 7);
        let (mut out, mut effects) = (Vec::new(), Vec::new());
        for (nth, (millis, input)) in inputs().into_iter().enumerate() {
            let now = Stamp::from_millis(millis);
            if nth == 2 {
                let beginning = Beginning::Dropped(2);
                let state = Some(Box::new(engine.clone()));
                let header = Header::new(config.clone(), 7, Secrets::Kept);
                write_header(&mut out, &Header { beginning, state, ..header }).unwrap();
            }
            let mut line = Vec::new();
            write_input(&mut line, now, &input).unwrap();
            effects.clear();
            engine.handle(now, input, &mut effects);
            write_effects(&mut line, &effects, engine.digest()).unwrap();
            if nth >= 2 {
                out.extend(line);
            }
        }
        let text = String::from_utf8(out).unwrap();
        let Outcome::Same { steps, digest, .. } = replayed(&text).unwrap() else {
            panic!("the replay differs");
        };
        assert_eq!((steps, digest), (3, Hex(engine.digest())));
    }

    #[test]
    fn every_input_survives_the_file_exactly() {
        let text = recorded_run();
        let mut reader = Reader::new(text.as_bytes()).unwrap();
        assert_eq!(reader.header().config, config_with_one_job());
        for (millis, input) in inputs() {
            let step = reader.next_step().unwrap().unwrap();
            assert_eq!((step.mono, step.input), (millis * 1_000_000, input));
        }
        assert_eq!(reader.next_step().unwrap(), None);
    }

    #[test]
    fn changed_digest_is_named_with_both_sides() {
        let text = recorded_run();
        let line = text.lines().nth(3).unwrap();
        let digest = &line[line.len() - 18..line.len() - 2];
        let changed = line.replace(digest, "0123456789abcdef");
        let outcome = replayed(&text.replace(line, &changed)).unwrap();
        let Outcome::Differs(difference) = outcome else { panic!("the replay does not differ") };
        assert_eq!(difference.line, 4);
        let recorded = Hex(0x0123_4567_89ab_cdef);
        let What::Digest { recorded: found, .. } = difference.what else { panic!("no digest") };
        assert_eq!(found, recorded);
    }

    #[test]
    fn added_effect_is_named_with_its_place() {
        let text = recorded_run();
        let line = text.lines().nth(5).unwrap();
        let changed = line
            .replace("\"effects\":[", "\"effects\":[\"loadConfig\"")
            .replace("\"loadConfig\"{", "\"loadConfig\",{");
        let outcome = replayed(&text.replace(line, &changed)).unwrap();
        let Outcome::Differs(difference) = outcome else { panic!("the replay does not differ") };
        let What::Effect { index, recorded, .. } = difference.what else { panic!("no effect") };
        assert_eq!((difference.line, index), (6, 0));
        assert_eq!(recorded, Some(Box::new(Effect::LoadConfig)));
    }

    #[test]
    fn unusable_files_are_refused_with_the_line() {
        let text = recorded_run();
        assert_eq!(error_of(""), "cannot read a trace from an empty file");
        assert_eq!(error_of("hello\n"), "cannot read line 1: this is no steersman trace");
        assert_eq!(
            error_of("{\"trace\":\"other\",\"format\":1}\n"),
            "cannot read line 1: this is no steersman trace"
        );
        assert_eq!(
            error_of(&text.replace("\"format\":1", "\"format\":9")),
            "cannot read line 1: the trace has format 9, this program reads 1"
        );
        let cut = &text[..text.len() - text.lines().last().unwrap().len() - 10];
        assert_eq!(error_of(cut), "cannot read line 6: the file ends in the middle of it");
        assert!(
            error_of(&text.replace("\"started\"", "\"begun\""))
                .starts_with("cannot read line 3: unknown variant `begun`")
        );
        assert_eq!(
            error_of(&format!("{text}{}\n", text.lines().nth(1).unwrap())),
            "cannot read line 8: the run had ended before it"
        );
        assert_eq!(
            error_of(&text.replace("\"kept\",\"secrets", "{\"dropped\":3},\"secrets")),
            "cannot replay this trace: the first 3 steps of the run were dropped"
        );
    }

    #[test]
    fn damaged_file_is_refused_or_differs_but_never_more() {
        let text = recorded_run().into_bytes();
        let mut word = 1_u64;
        let mut draw = |bound: usize| {
            word = crate::random::mix(word, 7);
            (word % bound as u64) as usize
        };
        let (mut refused, mut different) = (0, 0);
        for _ in 0..3000 {
            let mut damaged = text.clone();
            for _ in 0..=draw(3) {
                let place = draw(damaged.len());
                match draw(3) {
                    0 => damaged[place] ^= 1 << draw(8),
                    1 => drop(damaged.remove(place)),
                    _ => damaged.insert(place, b"0123456789{}[],:\"\n"[draw(18)]),
                }
            }
            let read = Reader::new(&*damaged).and_then(|mut reader| replay(&mut reader));
            match read {
                Err(_) => refused += 1,
                Ok(Outcome::Differs(_)) => different += 1,
                Ok(Outcome::Same { .. }) => {}
            }
        }
        assert!(refused > 1000 && different > 100, "{refused} refused, {different} differ");
    }

    #[test]
    fn run_that_was_cut_between_lines_replays_without_an_end() {
        let text = recorded_run();
        let cut = &text[..text.len() - text.lines().last().unwrap().len() - 1];
        let Outcome::Same { steps, end, .. } = replayed(cut).unwrap() else { panic!("differs") };
        assert_eq!((steps, end), (5, None));
    }
}
