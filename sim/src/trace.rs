//! Traces of simulated runs: what decided the run, and every step of it, so that it can be
//! repeated anywhere and the first difference be named.
//!
//! JSON lines, like the traces of one supervisor ([`steersman_engine::trace`]), with another mark
//! in the first line.

use core::fmt;
use std::io::{self, BufRead, Write};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use steersman_engine::trace::Hex;

use crate::explore::{Performance, Plan, Setting, replay};
use crate::property::{Suite, SuiteSource};
use crate::random::mix;
use crate::story::{Story, Verdict, tell_plan};
use crate::tap::{Level, Line, Seen};

/// The version of the format. It changes whenever an older reader would misread.
pub const FORMAT: u32 = 1;

/// The mark in the first line.
pub const MARK: &str = "steersman-sim";

/// What decided a run, and what came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// [`MARK`].
    pub trace: Box<str>,
    /// [`FORMAT`].
    pub format: u32,
    /// The version of the program.
    pub version: Box<str>,
    /// What the run is about.
    pub title: Box<str>,
    /// The seed that found it.
    pub seed: u64,
    /// The nodes, and how their processes behave.
    pub setting: Setting,
    /// What happens.
    pub plan: Plan,
    /// What must hold.
    pub suite: SuiteSource,
    /// The property that is broken, and how.
    pub breach: Option<(Box<str>, Box<str>)>,
    /// A hash over all steps.
    pub fingerprint: Hex,
}

/// Why a trace cannot be used.
#[derive(Debug)]
pub enum TraceError {
    /// It cannot be read.
    Read(io::Error),
    /// It is no trace of a simulated run.
    Foreign,
    /// It is of another version of the format.
    OtherFormat(u64),
    /// A line is not what belongs there.
    Malformed {
        /// Which line, from 1.
        line: usize,
        /// Why.
        reason: String,
    },
}

impl fmt::Display for TraceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TraceError::Read(error) => write!(f, "cannot read the trace: {error}"),
            TraceError::Foreign => f.write_str("cannot read line 1: this is no simulated run"),
            TraceError::OtherFormat(found) => write!(
                f,
                "cannot read line 1: the trace has format {found}, this program reads {FORMAT}"
            ),
            TraceError::Malformed { line, reason } => {
                write!(f, "cannot read line {line}: {reason}")
            }
        }
    }
}

impl std::error::Error for TraceError {}

/// A trace that was read.
#[derive(Clone, Debug)]
pub struct Trace {
    /// What decided the run.
    pub header: Header,
    /// Its steps, each as one JSON object.
    pub steps: Vec<Value>,
}

/// What a replay found.
#[derive(Clone, Debug)]
pub enum Replayed {
    /// Everything came as recorded.
    Same {
        /// How many steps there were.
        steps: usize,
    },
    /// A step went another way.
    Differs {
        /// Its line in the file.
        line: usize,
        /// The step as recorded; none when the recording was over.
        recorded: Option<Value>,
        /// The step as replayed; none when the replay was over.
        replayed: Option<Value>,
    },
}

/// Runs a plan and writes it down.
///
/// # Errors
/// What the writer says.
pub fn write(out: &mut impl Write, mut header: Header, suite: &Arc<Suite>) -> io::Result<()> {
    let performance = replay(&header.setting, &header.plan, suite, Level::Everything);
    header.fingerprint = Hex(fingerprint(&performance));
    serde_json::to_writer(&mut *out, &header)?;
    out.write_all(b"\n")?;
    for step in steps(&header.setting, &performance.lines) {
        serde_json::to_writer(&mut *out, &step)?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

fn fingerprint(performance: &Performance) -> u64 {
    mix(performance.fingerprint ^ performance.inputs)
}

/// Tells whether a first line is that of a simulated run.
pub fn is_simulated(first_line: &str) -> bool {
    #[derive(Deserialize)]
    struct Mark {
        trace: Box<str>,
    }
    serde_json::from_str::<Mark>(first_line).is_ok_and(|mark| &*mark.trace == MARK)
}

/// Reads a trace.
///
/// # Errors
/// Why it cannot be used.
pub fn read(source: impl BufRead) -> Result<Trace, TraceError> {
    #[derive(Deserialize)]
    struct Mark {
        format: u64,
    }
    let mut lines = source.lines();
    let first = lines.next().ok_or(TraceError::Foreign)?.map_err(TraceError::Read)?;
    if !is_simulated(&first) {
        return Err(TraceError::Foreign);
    }
    let malformed = |line: usize| {
        move |error: serde_json::Error| TraceError::Malformed { line, reason: error.to_string() }
    };
    let mark: Mark = serde_json::from_str(&first).map_err(malformed(1))?;
    if mark.format != u64::from(FORMAT) {
        return Err(TraceError::OtherFormat(mark.format));
    }
    let header = serde_json::from_str(&first).map_err(malformed(1))?;
    let mut steps = Vec::new();
    for (nth, line) in lines.enumerate() {
        let line = line.map_err(TraceError::Read)?;
        steps.push(serde_json::from_str(&line).map_err(malformed(nth + 2))?);
    }
    Ok(Trace { header, steps })
}

impl Trace {
    /// Runs it again and compares every step.
    pub fn replay(&self, suite: &Arc<Suite>) -> Replayed {
        let header = &self.header;
        let performance = replay(&header.setting, &header.plan, suite, Level::Everything);
        let replayed = steps(&header.setting, &performance.lines);
        let length = self.steps.len().max(replayed.len());
        for nth in 0..length {
            let (one, other) = (self.steps.get(nth), replayed.get(nth));
            if one != other {
                let (recorded, replayed) = (one.cloned(), other.cloned());
                return Replayed::Differs { line: nth + 2, recorded, replayed };
            }
        }
        Replayed::Same { steps: length }
    }

    /// Tells it.
    pub fn story(&self, suite: &Arc<Suite>) -> Story {
        let header = &self.header;
        tell_plan(&header.title, &header.setting, &header.plan, suite)
    }

    /// Tells whether it breaks now what it broke when it was recorded.
    pub fn breaks_the_same(&self, verdict: Option<&Verdict>) -> bool {
        let recorded = self.header.breach.as_ref().map(|(property, _)| &**property);
        recorded == verdict.map(|verdict| &*verdict.property)
    }
}

/// Writes lines down as steps: an input with its effects and the state afterwards, or an action.
fn steps(setting: &Setting, lines: &[Line]) -> Vec<Value> {
    let mut steps = Vec::new();
    let mut open: Option<(Value, Vec<Value>)> = None;
    for line in lines {
        let node = setting.nodes.get(line.node.index()).map_or("", |node| &*node.name);
        match &line.seen {
            Seen::Action(action) => {
                steps.push(json!({ "at": line.at.0, "node": node, "action": action }));
            }
            Seen::Input(stamp, input) => {
                let step = json!({
                    "at": line.at.0, "node": node, "mono": stamp.mono.0, "wall": stamp.wall_ms,
                    "input": input,
                });
                open = Some((step, Vec::new()));
            }
            Seen::Effect(effect) => {
                if let Some((_, effects)) = &mut open {
                    effects.push(json!(effect));
                }
            }
            Seen::Digest(digest) => {
                if let Some((mut step, effects)) = open.take() {
                    step["effects"] = Value::Array(effects);
                    step["digest"] = json!(Hex(*digest));
                    steps.push(step);
                }
            }
            Seen::Fact(_) | Seen::Cast(..) => {}
        }
    }
    steps
}
