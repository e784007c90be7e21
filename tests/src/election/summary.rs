//! The page about a run, and its faults as lines that a program can read.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde_json::json;

use super::fault::Fault;
use super::judge::{Event, Evidence, LAST_EFFECT, Verdict};
use super::measure::{Effect, Term, beats, effect, last_writes, median, terms};
use super::moment::{Moment, nanos, seconds};
use super::sightings::Seen;
use super::world::Target;

/// All that is known at the end of a run.
pub(super) struct Account<'a> {
    pub(super) title: String,
    pub(super) begun: Moment,
    pub(super) ended: Moment,
    pub(super) evidence: &'a Evidence,
    pub(super) verdict: &'a Verdict,
    pub(super) seen: &'a Seen,
    pub(super) has_clocks: bool,
    /// How often each member was started.
    pub(super) lives: Vec<u32>,
    /// What replaying the recordings gave, a line each, when one was bad.
    pub(super) replayed: u32,
    pub(super) steps: u64,
}

impl Account<'_> {
    /// The faults, one JSON object a line; times are seconds since the beginning.
    pub(super) fn faults(&self) -> String {
        let since = |at: Moment| (seconds(at.saturating_sub(self.begun)) * 1e4).round() / 1e4;
        let mut text = String::new();
        for event in &self.evidence.events {
            let line = json!({
                "fault": format!("{:?}", event.fault),
                "target": event.target.words(),
                "life": event.life,
                "manners": event.manners,
                "wasLeading": event.was_leading,
                "alone": event.is_alone,
                "began": since(event.began),
                "struck": since(event.struck),
                "lifted": since(event.lifted),
                "healed": since(event.healed),
                "settled": event.has_settled,
            });
            let _ = writeln!(text, "{line}");
        }
        text
    }

    /// The page.
    pub(super) fn page(&self) -> String {
        let terms = terms(self.evidence);
        let mut page = format!("# {}\n\n", self.title);
        self.add_totals(&mut page, &terms);
        self.add_kinds(&mut page, &terms);
        self.add_faults(&mut page, &terms);
        self.add_terms(&mut page, &terms);
        page
    }

    fn add_totals(&self, page: &mut String, terms: &[Term]) {
        let refused: u64 = terms.iter().map(|term| term.refused).sum();
        let line = |page: &mut String, what: &str, value: String| {
            let _ = writeln!(page, "| {what} | {value} |");
        };
        page.push_str("| | |\n|---|---|\n");
        let span = seconds(self.ended - self.begun);
        line(page, "time", format!("{span:.0} s"));
        line(page, "faults", self.evidence.events.len().to_string());
        line(page, "terms", terms.len().to_string());
        line(page, "writes that arrived", self.evidence.attempts.len().to_string());
        line(page, "of them refused for their token", refused.to_string());
        let excused = format!(
            "{}; the last one {:.0} ms after the end of its freeze",
            self.verdict.excused,
            seconds(self.verdict.excused_after_thaw) * 1e3
        );
        line(page, "of those by members frozen beyond maxPause", excused);
        let last = last_writes(self.evidence);
        let bound = seconds(nanos(LAST_EFFECT));
        let last = format!("{} s, {} times (bound {bound:.2} s)", figures(&last), last.len());
        line(page, "last write of a leader that is cut off, after: median, most", last);
        line(page, "looks at the processes", self.seen.looks.to_string());
        line(page, "terms seen alive", self.seen.terms().to_string());
        line(page, "pairs of terms seen alive at once", self.seen.pairs.len().to_string());
        let stalls = &self.seen.stalls;
        let worst = stalls.iter().map(|(_, late)| *late).max().unwrap_or(0);
        let stalled = format!("{}, the longest {:.0} ms", stalls.len(), seconds(worst) * 1e3);
        line(page, "stalls of the machine over 250 ms", stalled);
        let clocks = if self.has_clocks { "each start up to 30 days ahead" } else { "one for all" };
        line(page, "monotonic and boot-time clocks", clocks.to_owned());
        let kept = if self.evidence.has_keeper { "yes" } else { "no" };
        line(page, "a keeper for each term", kept.to_owned());
        let lives: Vec<String> = self.lives.iter().map(u32::to_string).collect();
        line(page, "starts of the members", lives.join(", "));
        let replayed = format!("{}, {} steps, all alike", self.replayed, self.steps);
        line(page, "recordings replayed", replayed);
        line(page, "**breaches**", format!("**{}**", self.verdict.breaches.len()));
        for breach in &self.verdict.breaches {
            let _ = writeln!(page, "\n- BREACH: {breach}");
        }
    }

    fn effects<'s>(&'s self, terms: &[Term]) -> Vec<(&'s Event, Effect)> {
        let beats = beats(self.evidence);
        let events = &self.evidence.events;
        let until = |nth: usize| events.get(nth + 1).map_or(self.ended, |next| next.began);
        let effect = |(nth, event)| (event, effect(event, until(nth), terms, &beats));
        events.iter().enumerate().map(effect).collect()
    }

    /// By kind of fault: those that came alone and were waited for.
    fn add_kinds(&self, page: &mut String, terms: &[Term]) {
        page.push_str(
            "\n## By kind of fault\n\nFaults that came alone and after which somebody led again \
             before the next one; those of members count if they hit the one that led. \
             *Next holder after*: from the beginning of the fault to the first write of the next \
             holder. *Silence*: the longest time without a write of whoever led.\n\n\
             | fault | times | new term | next holder after, s: median, most \
             | silence, s: median, most |\n|---|---|---|---|---|\n",
        );
        let mut kinds: BTreeMap<String, Vec<Effect>> = BTreeMap::new();
        for (event, effect) in self.effects(terms) {
            let is_about_other = matches!(event.target, Target::Member(_)) && !event.was_leading;
            if event.is_alone && event.has_settled.is_some() && !is_about_other {
                kinds.entry(kind(event)).or_default().push(effect);
            }
        }
        for (kind, effects) in kinds {
            let next: Vec<u64> = effects.iter().filter_map(|effect| effect.next_after).collect();
            let silence: Vec<u64> = effects.iter().map(|effect| effect.silence).collect();
            let (times, changed) = (effects.len(), next.len());
            let _ = writeln!(
                page,
                "| {kind} | {times} | {changed} | {} | {} |",
                figures(&next),
                figures(&silence)
            );
        }
    }

    fn add_faults(&self, page: &mut String, terms: &[Term]) {
        page.push_str(
            "\n## Every fault\n\n| at, s | for, s | whom | what | led | new term after, s \
             | silence, s |\n|---|---|---|---|---|---|---|\n",
        );
        for (event, effect) in self.effects(terms) {
            let at = seconds(event.began - self.begun);
            let lasted = seconds(event.lifted - event.struck);
            let next = effect.next_after.map_or("–".to_owned(), short);
            let (whom, what) = (event.target.words(), event.fault.words());
            let led = if event.was_leading { "yes" } else { "" };
            let silence = short(effect.silence);
            let _ = writeln!(
                page,
                "| {at:.1} | {lasted:.1} | {whom} | {what} | {led} | {next} | {silence} |"
            );
        }
    }

    fn add_terms(&self, page: &mut String, terms: &[Term]) {
        page.push_str(
            "\n## Every term\n\n| token | member | start | from, s | to, s | accepted | refused \
             |\n|---|---|---|---|---|---|---|\n",
        );
        for term in terms {
            let Term { token, member, life, accepted, refused, .. } = term;
            // The first may have begun to write before anybody looked.
            let [from, to] =
                [term.first, term.last].map(|at| seconds(at.saturating_sub(self.begun)));
            let _ = writeln!(
                page,
                "| {token} | m{member} | {} | {from:.2} | {to:.2} | {accepted} | {refused} |",
                life + 1
            );
        }
    }
}

/// The kind of a fault; what becomes of a stop depends on how the job takes it.
fn kind(event: &Event) -> String {
    let words = event.fault.words();
    match event.fault {
        Fault::Stop if event.manners != "prompt" => {
            format!("{words}; a process ignores SIGTERM (stopTimeout 2 s)")
        }
        _ if matches!(event.target, Target::Server(_)) => {
            let whose = if event.was_leading { "the holder's own" } else { "another member's" };
            format!("{words}; {whose}")
        }
        _ => words.to_owned(),
    }
}

fn figures(values: &[u64]) -> String {
    match (median(values), values.iter().max()) {
        (Some(median), Some(most)) => format!("{}, {}", short(median), short(*most)),
        _ => "–".to_owned(),
    }
}

fn short(nanos: u64) -> String {
    format!("{:.2}", seconds(nanos))
}
