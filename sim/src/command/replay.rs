//! Repeating a trace: of a simulated run, or the recording of a supervisor.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::Arc;

use serde_json::{Value, json};
use steersman_engine::front::Colours;
use steersman_engine::trace::Reader;

use super::{FAILED, GOOD, REFUSED, outputs};
use crate::html;
use crate::story::{Story, tell_recording, to_terminal};
use crate::trace::{self, Replayed};

/// So much of a file is looked at to tell what it is.
const FIRST_LINE_MAX: u64 = 64 << 20;

/// What to repeat, and how to show it.
#[derive(Clone, Debug)]
pub struct ReplayOptions {
    /// The trace.
    pub trace: String,
    /// Whether to write a JSON object instead of text.
    pub json: bool,
    /// Where to write the story as a page.
    pub html: Option<String>,
    /// Whether to tell the story of a recording as text; that of a simulated run always is.
    pub story: bool,
    /// Whether to colour stories.
    pub story_colours: Colours,
}

impl ReplayOptions {
    /// Repeats a trace and says what came of it in plain text.
    pub fn of(trace: &str) -> ReplayOptions {
        ReplayOptions {
            trace: trace.to_owned(),
            json: false,
            html: None,
            story: false,
            story_colours: Colours::Off,
        }
    }
}

/// Repeats the trace of a simulated run and gives the exit status; none when it is the recording of
/// a supervisor, which the engine repeats by itself: then only its page is written.
///
/// # Errors
/// What the reader and the writers say.
pub fn repeat(
    options: &ReplayOptions,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Option<u8>> {
    let file = &options.trace;
    if let Err(reason) = outputs::check(options.html.as_deref(), None) {
        writeln!(err, "steersman: {reason}")?;
        return Ok(Some(REFUSED));
    }
    let mut first = Vec::new();
    let opened = File::open(file).and_then(|opened| {
        BufReader::new(opened).take(FIRST_LINE_MAX).read_until(b'\n', &mut first)
    });
    if let Err(error) = opened {
        writeln!(err, "steersman: cannot read {file}: {}", outputs::reason(&error))?;
        return Ok(Some(REFUSED));
    }
    if !trace::is_simulated(&String::from_utf8_lossy(&first)) {
        return recording(options, out, err);
    }
    let read = trace::read(BufReader::new(File::open(file)?));
    let trace = match read {
        Ok(trace) => trace,
        Err(error) => {
            writeln!(err, "steersman: {file}: {error}")?;
            return Ok(Some(REFUSED));
        }
    };
    let Ok(suite) = trace.header.suite.compile() else {
        writeln!(err, "steersman: {file}: cannot read the properties in line 1")?;
        return Ok(Some(REFUSED));
    };
    let suite = Arc::new(suite);
    let replayed = trace.replay(&suite);
    let mut story = trace.story(&suite);
    let facts = [
        ("found by", format!("seed {}", trace.header.seed)),
        ("recorded with steersman", trace.header.version.to_string()),
        ("repeat with", format!("steersman replay {file}")),
    ];
    story.facts.extend(facts.map(|(name, text)| (name.to_owned(), text)));
    if let Err(unwritten) = write_page(options, &story) {
        writeln!(err, "steersman: {unwritten}")?;
        return Ok(Some(REFUSED));
    }
    if let Replayed::Cut { line, missing } = replayed {
        let what = format!("the trace ends, and {missing} more steps belong to it");
        writeln!(err, "steersman: {file}: cannot read line {line}: {what}")?;
        return Ok(Some(REFUSED));
    }
    let is_same = trace.breaks_the_same(story.verdict.as_ref());
    match options.json {
        true => writeln!(out, "{}", to_json(&replayed, &story, is_same))?,
        false => write_text(out, options, &trace, (&replayed, &story), is_same)?,
    }
    let is_good = is_same && matches!(replayed, Replayed::Same { .. });
    Ok(Some(if is_good { GOOD } else { FAILED }))
}

/// Tells the recording of a supervisor, when asked to; the engine repeats it.
fn recording(
    options: &ReplayOptions,
    out: &mut impl Write,
    err: &mut impl Write,
) -> io::Result<Option<u8>> {
    if options.html.is_none() && !options.story {
        return Ok(None);
    }
    let told = Reader::new(BufReader::new(File::open(&options.trace)?))
        .and_then(|mut reader| tell_recording(&options.trace, &mut reader));
    let told = told.map_err(|error| format!("{}: {error}", options.trace));
    let told = told.and_then(|story| write_page(options, &story).map(|()| story));
    match told {
        Ok(story) => {
            if options.story && !options.json {
                writeln!(out, "{}", to_terminal(&story, options.story_colours))?;
            }
            Ok(None)
        }
        Err(reason) => {
            writeln!(err, "steersman: {reason}")?;
            Ok(Some(REFUSED))
        }
    }
}

fn write_page(options: &ReplayOptions, story: &Story) -> Result<(), String> {
    let Some(html) = &options.html else { return Ok(()) };
    outputs::write(html, |out| out.write_all(html::page(story).as_bytes()))
}

fn write_text(
    out: &mut impl Write,
    options: &ReplayOptions,
    trace: &trace::Trace,
    (replayed, story): (&Replayed, &Story),
    is_same: bool,
) -> io::Result<()> {
    writeln!(out, "{}", to_terminal(story, options.story_colours))?;
    match replayed {
        Replayed::Same { steps } => {
            writeln!(out, "repeated: {steps} steps, every effect and digest as recorded")?;
        }
        Replayed::Differs { line, divergence, is_edited } => {
            let show = |side: &Option<Value>| match side {
                Some(step) => step.to_string(),
                None => String::from("nothing"),
            };
            writeln!(out, "cannot repeat this trace: line {line} goes another way")?;
            writeln!(out, "  {}", divergence.place())?;
            let (recorded, replayed) = (show(&divergence.one), show(&divergence.other));
            writeln!(out, "  recorded: {recorded}\n  replayed: {replayed}")?;
            let (theirs, ours) = (&trace.header.version, env!("CARGO_PKG_VERSION"));
            match is_edited {
                true => writeln!(out, "  the run is the recorded one: the file was changed since")?,
                false => writeln!(out, "  recorded by steersman {theirs}, replayed by {ours}")?,
            }
        }
        Replayed::Cut { .. } => {}
    }
    if !is_same {
        let recorded = trace.header.breach.as_ref().map_or("nothing", |(property, _)| property);
        let now = story.verdict.as_ref().map_or("nothing", |verdict| &verdict.property);
        writeln!(out, "it broke \"{recorded}\" and now breaks \"{now}\"")?;
    }
    Ok(())
}

fn to_json(replayed: &Replayed, story: &Story, is_same: bool) -> Value {
    let verdict = story.verdict.as_ref();
    let broken =
        verdict.map(|verdict| json!({ "property": verdict.property, "what": verdict.what }));
    match replayed {
        Replayed::Same { steps } => {
            json!({ "same": true, "steps": steps, "broken": broken, "sameBreach": is_same })
        }
        Replayed::Differs { line, divergence, is_edited } => json!({
            "same": false, "line": line, "place": divergence.place(), "edited": is_edited,
            "recorded": divergence.one, "replayed": divergence.other,
            "broken": broken, "sameBreach": is_same,
        }),
        Replayed::Cut { line, missing } => {
            json!({ "same": false, "line": line, "missing": missing })
        }
    }
}
