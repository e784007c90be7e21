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
use steersman_engine::Time;
use steersman_engine::trace::Hex;

use crate::explore::{Performance, Plan, Setting, replay};
use crate::property::{Suite, SuiteSource};
use crate::random::mix;
use crate::story::{Story, Verdict, seconds, tell_plan};
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
        /// The two sides.
        divergence: Divergence,
        /// Whether the run as a whole has the fingerprint that was recorded: then the file was
        /// changed afterwards.
        is_edited: bool,
    },
    /// Every step came as recorded, and then the file ends while the run goes on.
    Cut {
        /// The line that is missing.
        line: usize,
        /// How many steps are missing.
        missing: usize,
    },
}

/// The first step in which two runs went different ways.
#[derive(Clone, Debug, PartialEq)]
pub struct Divergence {
    /// How many steps were equal.
    pub step: usize,
    /// The step of the first run, or as recorded; none when it was over.
    pub one: Option<Value>,
    /// The step of the second run, or as replayed; none when it was over.
    pub other: Option<Value>,
}

impl Divergence {
    fn find(one: &[Value], other: &[Value]) -> Option<Divergence> {
        let length = one.len().max(other.len());
        let step = (0..length).find(|nth| one.get(*nth) != other.get(*nth))?;
        Some(Divergence { step, one: one.get(step).cloned(), other: other.get(step).cloned() })
    }

    /// Says where and when it is, and which part of the step differs.
    pub fn place(&self) -> String {
        let either = self.one.as_ref().or(self.other.as_ref());
        let at = either.and_then(|step| step["at"].as_u64()).unwrap_or_default();
        let node = either.and_then(|step| step["node"].as_str()).unwrap_or("?");
        format!("step {}, {} on {node}: {}", self.step + 1, seconds(Time(at)), self.part())
    }

    fn part(&self) -> String {
        let (one, other) = match (&self.one, &self.other) {
            (Some(one), Some(other)) => (one, other),
            (None, _) => return String::from("the first run is over, the second goes on"),
            (_, None) => return String::from("the second run is over, the first goes on"),
        };
        let differs = |key: &str| one.get(key) != other.get(key);
        if let Some(key) =
            ["at", "node", "action", "input", "mono", "wall"].into_iter().find(|key| differs(key))
        {
            let what = match key {
                "at" => "the time",
                "node" => "the node",
                "mono" | "wall" => "what the clock shows",
                other => other,
            };
            return format!("{what} differs");
        }
        let effects = |step: &Value| step["effects"].as_array().cloned().unwrap_or_default();
        let (one, other) = (effects(one), effects(other));
        let nth = (0..one.len().max(other.len())).find(|nth| one.get(*nth) != other.get(*nth));
        match nth {
            Some(nth) => format!("effect {} differs", nth + 1),
            None => String::from("the effects are equal, the state differs"),
        }
    }
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |side: &Option<Value>| match side {
            Some(step) => step.to_string(),
            None => String::from("nothing"),
        };
        write!(f, "{}\n  one:   {}\n  other: {}", self.place(), show(&self.one), show(&self.other))
    }
}

/// Compares two runs of one setting step by step: inputs, effects and states.
pub fn first_difference(
    setting: &Setting,
    one: &Performance,
    other: &Performance,
) -> Option<Divergence> {
    Divergence::find(&steps(setting, &one.lines), &steps(setting, &other.lines))
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
        let is_edited = Hex(fingerprint(&performance)) == header.fingerprint;
        let Some(divergence) = Divergence::find(&self.steps, &replayed) else {
            return Replayed::Same { steps: replayed.len() };
        };
        let line = divergence.step + 2;
        match divergence.one {
            None if is_edited => Replayed::Cut { line, missing: replayed.len() - self.steps.len() },
            _ => Replayed::Differs { line, divergence, is_edited },
        }
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
pub fn steps(setting: &Setting, lines: &[Line]) -> Vec<Value> {
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
            Seen::Killed => steps.push(json!({ "at": line.at.0, "node": node, "killed": true })),
            Seen::Born(_) => steps.push(json!({ "at": line.at.0, "node": node, "born": true })),
            Seen::Fact(_) | Seen::Cast(..) | Seen::Told(..) | Seen::Truth(..) => {}
        }
    }
    steps
}
