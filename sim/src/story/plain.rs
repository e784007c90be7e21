//! The story as plain text, for the terminal.

use core::fmt::Write as _;

use super::{LaneKind, MarkKind, Story, seconds};

/// Writes the story as plain text: one line a thing that happened.
pub fn to_text(story: &Story) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{}", story.title);
    for (name, value) in &story.facts {
        let _ = writeln!(text, "  {name}: {value}");
    }
    let several = story.lanes.iter().filter(|lane| lane.kind == LaneKind::Node).count() > 1;
    let label = |lane: usize| {
        let lane = &story.lanes[lane];
        match (lane.kind, several) {
            (LaneKind::Node, _) => lane.name.clone(),
            (_, true) => format!("{}/{}", lane.node, lane.name),
            (_, false) => lane.name.clone(),
        }
    };
    let times: Vec<String> = story.marks.iter().map(|mark| seconds(mark.at)).collect();
    let used = || story.marks.iter().map(|mark| label(mark.lane).chars().count());
    let (wide, names) = (times.iter().map(String::len).max(), used().max());
    let (wide, names) = (wide.unwrap_or(0), names.unwrap_or(0));
    text.push('\n');
    for (nth, mark) in story.marks.iter().enumerate() {
        let (time, lane) = (&times[nth], label(mark.lane));
        let letter = mark.kind.letter();
        let number = nth + 1;
        let _ = write!(text, "{number:>4}  {time:>wide$}  {lane:<names$}  {letter} {}", mark.what);
        match mark.cause {
            Some(cause) if mark.kind != MarkKind::Breach => {
                let _ = writeln!(text, "  (from {})", cause + 1);
            }
            _ => text.push('\n'),
        }
        let indent = 6 + wide + 2 + names + 4;
        for stretch in &story.stretches {
            let begins = stretch.tone == super::Tone::Fault && stretch.from == mark.at;
            if begins && stretch.lane == mark.lane && mark.kind == MarkKind::Start {
                let _ = writeln!(text, "{:indent$}fault: {}", "", stretch.what);
            }
        }
    }
    for note in &story.notes {
        let _ = writeln!(text, "\n{note}");
    }
    if let Some(verdict) = &story.verdict {
        let at = seconds(verdict.at);
        let _ = writeln!(text, "\nbroken at {at}: {}\n  {}", verdict.property, verdict.what);
    }
    text
}
