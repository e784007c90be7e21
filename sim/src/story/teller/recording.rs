//! Recordings of supervisors in production.

use std::io::BufRead;

use steersman_engine::input::Tree;
use steersman_engine::status::{HealthWord, PhaseWord};
use steersman_engine::trace::{Beginning, Ending, Reader, TraceError};
use steersman_engine::{Engine, Input, Stamp, Time};

use super::Teller;
use crate::agenda::NodeId;
use crate::explore::manner::Manners;
use crate::observer::Fact;
use crate::story::{LaneKind, Story, Tone};
use crate::tap::{Line, Seen};

/// Tells a recording of a supervisor in production.
///
/// # Errors
/// What is wrong with the recording.
pub fn tell_recording<R: BufRead>(name: &str, reader: &mut Reader<R>) -> Result<Story, TraceError> {
    let header = reader.header().clone();
    let node = NodeId(0);
    let own = name.rsplit('/').next().unwrap_or(name);
    let title = format!("{own}, as it was recorded");
    let mut teller = Teller::new(&title, [("supervisor", &header.config)], Manners::default());
    teller.fact("recorded by", format!("steersman {}", header.engine));
    teller.fact("repeat with", format!("steersman replay {name}"));
    if let Beginning::Dropped(steps) = header.beginning {
        let note = format!("The first {steps} steps of this run were not kept.");
        teller.story.notes.push(note);
    }
    if let Some(state) = header.state {
        teller.resume_from(*state);
    }
    let mut origin = None;
    let mut steps = 0_u64;
    while let Some(step) = reader.next_step()? {
        let origin = *origin.get_or_insert(step.mono);
        if steps == 0 {
            teller.fact("begins at", wall(step.wall));
        }
        steps += 1;
        let at = Time(step.mono.saturating_sub(origin));
        for fact in facts_of(&step.input) {
            teller.listen(&Line { at, node, seen: Seen::Fact(fact) });
        }
        let stamp = Stamp { mono: Time(step.mono), wall_ms: step.wall };
        teller.listen(&Line { at, node, seen: Seen::Input(stamp, Box::new(step.input)) });
        for effect in step.effects {
            teller.listen(&Line { at, node, seen: Seen::Effect(Box::new(effect)) });
        }
        teller.listen(&Line { at, node, seen: Seen::Digest(step.digest.0) });
    }
    teller.fact("steps", steps.to_string());
    let end = match reader.end() {
        Some(Ending::Over) => "the supervisor ended",
        Some(Ending::Asked) => "the recording was asked for; the supervisor went on",
        Some(Ending::Overrun) => "the disk was too slow; the supervisor went on",
        None => "the file has no last line: the supervisor was killed, or still ran",
    };
    teller.fact("ends because", String::from(end));
    Ok(teller.finish(None))
}

/// Shows milliseconds since 1970 as UTC.
fn wall(millis: i64) -> String {
    let (days, rest) = (millis.div_euclid(86_400_000), millis.rem_euclid(86_400_000));
    // Days to a date, by eras of 400 years that begin in March.
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let nth = (5 * of_year + 2) / 153;
    let (day, month) =
        (of_year - (153 * nth + 2) / 5 + 1, if nth < 10 { nth + 3 } else { nth - 9 });
    let year = year + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600_000, rest / 60_000 % 60, rest / 1000 % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

impl Teller {
    fn fact(&mut self, name: &str, text: String) {
        self.story.facts.push((name.to_owned(), text));
    }

    /// Goes on from a machine that was under way when the recording begins.
    fn resume_from(&mut self, state: Engine) {
        let status = state.status();
        self.nodes[0].shadow = state;
        let lane = self.nodes[0].lane;
        self.begin_stretch(Time(0), lane, Tone::Running, String::from("the supervisor runs"));
        for job in status.jobs {
            let name = self.nodes[0].name.clone();
            let lane = self.lane_of(0, &name, LaneKind::Job, &job.name);
            let (tone, what) = match (job.phase, job.health) {
                (PhaseWord::Starting, _) => (Tone::Starting, "is starting"),
                (PhaseWord::Running, HealthWord::Healthy) => (Tone::Healthy, "is healthy"),
                (PhaseWord::Running, HealthWord::Unhealthy) => (Tone::Unhealthy, "is unhealthy"),
                (PhaseWord::Running, _) => (Tone::Running, "is running"),
                (PhaseWord::BackingOff, _) => (Tone::Waiting, "waits to be started again"),
                (PhaseWord::CleaningUp, _) => (Tone::LeftBehind, "left something behind"),
                (PhaseWord::Stopping, _) => (Tone::Stopping, "is stopping"),
                (PhaseWord::Waiting | PhaseWord::Completed | PhaseWord::Skipped, _) => continue,
            };
            self.begin_stretch(Time(0), lane, tone, String::from(what));
        }
    }
}

/// Takes the truth about processes from what the supervisor was told.
fn facts_of(input: &Input) -> Vec<Fact> {
    match input {
        Input::Started { run, .. } => vec![Fact::ProcessStarted(*run)],
        Input::Exited { run, status, tree: Tree::Left, .. } => {
            vec![Fact::ProcessEnded(*run, *status)]
        }
        Input::Exited { run, status, tree: Tree::Gone, .. } => {
            vec![Fact::ProcessEnded(*run, *status), Fact::TreeGone(*run)]
        }
        Input::TreeGone { run } => vec![Fact::TreeGone(*run)],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::wall;

    #[test]
    fn wall_clocks_are_shown_as_dates() {
        assert_eq!(wall(0), "1970-01-01 00:00:00 UTC");
        assert_eq!(wall(951_827_696_000), "2000-02-29 12:34:56 UTC");
        assert_eq!(wall(-1), "1969-12-31 23:59:59 UTC");
    }
}
