//! Recordings of supervisors in production.

use std::io::BufRead;

use steersman_engine::input::Tree;
use steersman_engine::trace::{Beginning, Reader, TraceError};
use steersman_engine::{Input, Stamp, Time};

use super::Teller;
use crate::agenda::NodeId;
use crate::explore::manner::Manners;
use crate::observer::Fact;
use crate::story::Story;
use crate::tap::{Line, Seen};

/// Tells a recording of a supervisor in production.
///
/// # Errors
/// What is wrong with the recording.
pub fn tell_recording<R: BufRead>(name: &str, reader: &mut Reader<R>) -> Result<Story, TraceError> {
    let header = reader.header().clone();
    let node = NodeId(0);
    let mut teller = Teller::new(name, [(name, &header.config)], Manners::default());
    if let Beginning::Dropped(steps) = header.beginning {
        let note = format!("The first {steps} steps of this run were not kept.");
        teller.story.notes.push(note);
    }
    let mut origin = None;
    while let Some(step) = reader.next_step()? {
        let origin = *origin.get_or_insert(step.mono);
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
    Ok(teller.finish(None))
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
