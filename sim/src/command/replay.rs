//! Repeating a trace: of a simulated run, or the recording of a supervisor.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::sync::Arc;

use serde_json::{Value, json};
use steersman_engine::trace::Reader;

use super::{FAILED, GOOD, REFUSED};
use crate::html;
use crate::story::{Story, tell_recording, to_text};
use crate::trace::{self, Replayed};

/// What to repeat, and how to show it.
#[derive(Clone, Debug, Default)]
pub struct ReplayOptions {
    /// The trace.
    pub trace: String,
    /// Whether to write a JSON object instead of text.
    pub json: bool,
    /// Where to write the story as a page.
    pub html: Option<String>,
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
    let mut first = String::new();
    let file = &options.trace;
    let opened = File::open(file).and_then(|opened| {
        let mut opened = BufReader::new(opened);
        opened.read_line(&mut first)
    });
    if let Err(error) = opened {
        writeln!(err, "steersman: cannot read {file}: {error}")?;
        return Ok(Some(REFUSED));
    }
    if !trace::is_simulated(&first) {
        return recording(options, err);
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
    if let Some(html) = &options.html {
        std::fs::write(html, html::page(&story))?;
    }
    let is_same = trace.breaks_the_same(story.verdict.as_ref());
    match options.json {
        true => writeln!(out, "{}", to_json(&replayed, &story, is_same))?,
        false => write_text(out, &trace, &replayed, &story, is_same)?,
    }
    let is_good = is_same && matches!(replayed, Replayed::Same { .. });
    Ok(Some(if is_good { GOOD } else { FAILED }))
}

fn recording(options: &ReplayOptions, err: &mut impl Write) -> io::Result<Option<u8>> {
    let Some(html) = &options.html else { return Ok(None) };
    let told = Reader::new(BufReader::new(File::open(&options.trace)?))
        .and_then(|mut reader| tell_recording(&options.trace, &mut reader));
    match told {
        Ok(story) => {
            std::fs::write(html, html::page(&story))?;
            Ok(None)
        }
        Err(error) => {
            writeln!(err, "steersman: {}: {error}", options.trace)?;
            Ok(Some(REFUSED))
        }
    }
}

fn write_text(
    out: &mut impl Write,
    trace: &trace::Trace,
    replayed: &Replayed,
    story: &Story,
    is_same: bool,
) -> io::Result<()> {
    writeln!(out, "{}", to_text(story))?;
    match replayed {
        Replayed::Same { steps } => {
            writeln!(out, "repeated: {steps} steps, every effect and digest as recorded")?;
        }
        Replayed::Differs { line, recorded, replayed } => {
            let show = |side: &Option<Value>| match side {
                Some(step) => step.to_string(),
                None => String::from("nothing"),
            };
            writeln!(out, "cannot repeat this trace: line {line} goes another way")?;
            writeln!(out, "  recorded: {}\n  replayed: {}", show(recorded), show(replayed))?;
            let (theirs, ours) = (&trace.header.version, env!("CARGO_PKG_VERSION"));
            writeln!(out, "  recorded by steersman {theirs}, replayed by {ours}")?;
        }
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
        Replayed::Differs { line, recorded, replayed } => json!({
            "same": false, "line": line, "recorded": recorded, "replayed": replayed,
            "broken": broken, "sameBreach": is_same,
        }),
    }
}
