//! The story as plain text, for the terminal.

use core::fmt::Write as _;

use steersman_engine::Time;
use steersman_engine::front::Colours;

use super::{LaneKind, MarkKind, Story, Stretch, Tone, seconds};

/// Writes the story as plain text: one line a thing that happened.
pub fn to_text(story: &Story) -> String {
    to_terminal(story, Colours::Off)
}

/// Writes the story for a terminal.
pub fn to_terminal(story: &Story, colours: Colours) -> String {
    let mut text = String::new();
    let paint = Paint { is_on: colours == Colours::On };
    let _ = writeln!(text, "{}", paint.dye(BOLD, &story.title));
    let widest = story.facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in &story.facts {
        let name = paint.dye(DIM, &format!("{:<1$}", format!("{name}:"), widest + 1));
        let _ = writeln!(text, "  {name} {value}");
    }
    text.push('\n');
    Table::new(story, paint).write(&mut text);
    for note in &story.notes {
        let _ = writeln!(text, "\n{note}");
    }
    if let Some(verdict) = &story.verdict {
        let how = format!("broken at {}: {}", seconds(verdict.at), verdict.property);
        let _ = writeln!(text, "\n{}\n  {}", paint.dye(RED, &how), verdict.what);
    }
    text
}

const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "1;31";
const YELLOW: &str = "33";

/// Colours, or none.
#[derive(Clone, Copy)]
struct Paint {
    is_on: bool,
}

impl Paint {
    fn dye(self, colour: &str, text: &str) -> String {
        match self.is_on && !text.is_empty() {
            true => format!("\u{1b}[{colour}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    fn mark(self, kind: MarkKind, text: &str) -> String {
        match kind {
            MarkKind::Good => self.dye("32", text),
            MarkKind::Bad | MarkKind::Kill => self.dye("31", text),
            MarkKind::Breach => self.dye(RED, text),
            MarkKind::Signal => self.dye("35", text),
            MarkKind::Outside => self.dye(YELLOW, text),
            MarkKind::Start => self.dye("36", text),
            MarkKind::Event => text.to_owned(),
        }
    }
}

/// What happened, in columns: number, time, lane, sign, words.
struct Table<'a> {
    story: &'a Story,
    paint: Paint,
    /// The names of the lanes.
    names: Vec<String>,
    time_width: usize,
    name_width: usize,
    /// Faults that no line has told yet, by when they begin.
    faults: Vec<&'a Stretch>,
}

impl<'a> Table<'a> {
    fn new(story: &'a Story, paint: Paint) -> Table<'a> {
        let several = story.lanes.iter().filter(|lane| lane.kind == LaneKind::Node).count() > 1;
        let names = story.lanes.iter().map(|lane| match (lane.kind, several) {
            (LaneKind::Node, _) | (_, false) => lane.name.clone(),
            (_, true) => format!("{}/{}", lane.node, lane.name),
        });
        let names: Vec<String> = names.collect();
        let is_told = |fault: &Stretch| {
            let says = |mark: &super::Mark| mark.lane == fault.lane && mark.at == fault.from;
            story.marks.iter().any(|mark| says(mark) && mark.what == fault.what)
        };
        let faults = story.stretches.iter().filter(|one| one.tone == Tone::Fault && !is_told(one));
        let mut faults: Vec<_> = faults.collect();
        faults.sort_by_key(|fault| fault.from);
        let fault_lanes = faults.iter().map(|fault| fault.lane);
        let lanes = story.marks.iter().map(|mark| mark.lane).chain(fault_lanes);
        let name_width = lanes.map(|lane| names[lane].chars().count()).max().unwrap_or(0);
        let times = story.marks.iter().map(|mark| seconds(mark.at).len());
        let time_width = times.max().unwrap_or(0);
        Table { story, paint, names, time_width, name_width, faults }
    }

    fn write(mut self, text: &mut String) {
        for (nth, mark) in self.story.marks.iter().enumerate() {
            self.write_faults(text, |fault| fault.from < mark.at);
            let number = (nth + 1).to_string();
            let what = self.paint.mark(mark.kind, &format!("{} {}", mark.kind.letter(), mark.what));
            let from = match mark.cause {
                Some(cause) if mark.kind != MarkKind::Breach => {
                    self.paint.dye(DIM, &format!("  (from {})", cause + 1))
                }
                _ => String::new(),
            };
            self.write_line(text, (&number, mark.at, mark.lane), &(what + &from));
            // A fault of the process that is started here stands below it, the others by time.
            let is_own = |fault: &Stretch| fault.from == mark.at && fault.lane == mark.lane;
            self.write_faults(text, is_own);
        }
        self.write_faults(text, |_| true);
    }

    fn write_line(&self, text: &mut String, place: (&str, Time, usize), what: &str) {
        let (number, at, lane) = place;
        let time = self.paint.dye(DIM, &format!("{:>1$}", seconds(at), self.time_width));
        let name = format!("{:<1$}", self.names[lane], self.name_width);
        let _ = writeln!(text, "{number:>4}  {time}  {name}  {what}");
    }

    fn write_faults(&mut self, text: &mut String, is_due: impl Fn(&Stretch) -> bool) {
        let faults = core::mem::take(&mut self.faults);
        let (due, rest): (Vec<_>, Vec<_>) = faults.into_iter().partition(|fault| is_due(fault));
        self.faults = rest;
        for fault in due {
            let what = self.paint.dye(YELLOW, &format!("~ fault: {}", fault.what));
            self.write_line(text, ("", fault.from, fault.lane), &what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::story::{Lane, Mark};
    use std::sync::Arc;

    fn story() -> Story {
        let lane = |kind, name: &str| Lane { name: name.to_owned(), kind, node: Arc::from("a") };
        let mark = |at, kind, what: &str| Mark {
            at: Time(at),
            lane: 1,
            kind,
            what: what.to_owned(),
            why: String::new(),
            cause: None,
        };
        let fault = |at, lane, what: &str| Stretch {
            from: Time(at),
            to: None,
            lane,
            tone: Tone::Fault,
            what: what.to_owned(),
        };
        let second = 1_000_000_000;
        Story {
            title: String::from("t"),
            facts: vec![("found by".to_owned(), "me".to_owned()), ("a".to_owned(), "b".to_owned())],
            lanes: vec![lane(LaneKind::Node, "a"), lane(LaneKind::Job, "app")],
            marks: vec![
                mark(0, MarkKind::Start, "run 1 is started"),
                mark(12 * second, MarkKind::Bad, "check fails"),
            ],
            stretches: vec![fault(0, 1, "slow"), fault(second, 1, "check"), fault(0, 0, "held")],
            ..Story::default()
        }
    }

    #[test]
    fn every_fault_is_told_at_its_time_and_columns_are_aligned() {
        let expected = "t\n  found by: me\n  a:        b\n\n   \
            1   0.000 s  app  > run 1 is started\n       \
                0.000 s  app  ~ fault: slow\n       \
                0.000 s  a    ~ fault: held\n       \
                1.000 s  app  ~ fault: check\n   \
            2  12.000 s  app  x check fails\n";
        assert_eq!(to_text(&story()), expected);
    }

    #[test]
    fn colours_add_nothing_but_colours() {
        let coloured = to_terminal(&story(), Colours::On);
        let mut plain = String::new();
        let mut rest = &*coloured;
        while let Some((before, after)) = rest.split_once("\u{1b}[") {
            plain.push_str(before);
            rest = after.split_once('m').expect("a colour ends").1;
        }
        plain.push_str(rest);
        assert_ne!(coloured, plain);
        assert_eq!(plain, to_text(&story()));
    }
}
