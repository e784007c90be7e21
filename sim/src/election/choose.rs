//! Which choices there are.

use crate::explore::model::Model;
use crate::random::mix;

use super::arena::{Arena, Breach, Choice};
use super::consul::{Ask, NOBODY};
use super::node::{Cut, Flight, LINES, Line, Power, Process, Stage, Told};
use super::rules::Trouble;

/// When nothing goes wrong any more, somebody leads after so many ticks: a session's time to live,
/// the lock delay, the quiet time and the longest hold-off, and the way there.
const SETTLES_WITHIN: u64 = 80;

impl Model for Arena {
    type Choice = Choice;
    type Verdict = Breach;

    /// An election goes on for ever, from holder to holder.
    const JUDGES_ROUNDS: bool = false;

    fn choices(&self, into: &mut Vec<Choice>) {
        for (place, _) in self.stragglers.iter().enumerate() {
            into.push(Choice::Straggle(place as u8));
        }
        let mut may_elapse = true;
        for place in 0..self.nodes.len() as u8 {
            for line in LINES {
                if may_elapse || self.rules.is_any_order {
                    may_elapse &= self.flight_choices(place, line, into);
                }
            }
            self.process_choices(place, into);
            self.node_choices(place, into);
        }
        self.consul_choices(into);
        if may_elapse {
            into.push(Choice::Elapse);
        }
    }

    fn apply(&mut self, choice: &Choice) {
        if self.trouble_of(*choice).is_some() {
            self.troubles_left = self.troubles_left.saturating_sub(1);
        }
        self.carry_out(*choice);
    }

    fn digest(&self) -> u64 {
        self.canonical()
    }

    fn verdict(&self) -> Option<Breach> {
        let is_looked_at = self.troubles_left == 0 && self.is_sampled();
        let is_stuck = self.breach.is_none() && is_looked_at && !self.settles(SETTLES_WITHIN);
        self.breach.or(is_stuck.then_some(Breach::NobodyLeads))
    }

    fn verdict_of_end(&self) -> Option<Breach> {
        Some(Breach::NobodyLeads)
    }

    fn verdict_of_round(&self, _: &[Choice]) -> Option<Breach> {
        None
    }
}

impl Arena {
    /// Tells whether this is one of the states that are followed to see whether somebody leads.
    fn is_sampled(&self) -> bool {
        let every = self.rules.settles_every;
        let (newest, by) = self.newest;
        let place = self.now ^ self.consul.index << 8 ^ newest << 20 ^ u64::from(by) << 30;
        every > 0 && mix(place).is_multiple_of(every)
    }

    /// Tells which trouble a choice is; none, when it is in the ordinary course.
    pub fn trouble_of(&self, choice: Choice) -> Option<Trouble> {
        let delay = (!self.rules.are_delays_free).then_some(Trouble::Delay);
        match choice {
            Choice::Elapse
            | Choice::Answer(..)
            | Choice::Deliver(..)
            | Choice::Straggle(_)
            | Choice::Expire(_)
            | Choice::Mend(_)
            | Choice::Resume(_)
            | Choice::Boot(_) => None,
            Choice::CarryOut(node, line) if !self.is_answered_at_once(node, line) => None,
            Choice::CarryOut(..) | Choice::Hold(..) => delay,
            Choice::Lose(..) | Choice::LoseAnswer(..) => Some(Trouble::Loss),
            Choice::Delay(..) => Some(Trouble::Late),
            Choice::Exit(node, place) => {
                let process = self.nodes[usize::from(node)].processes[usize::from(place)];
                let is_told = process.is_some_and(|process| process.told != Told::Nothing);
                (!is_told).then_some(Trouble::Exit)
            }
            Choice::Cut(_, true) => Some(Trouble::DeafCut),
            Choice::Cut(_, false) => Some(Trouble::Cut),
            Choice::Pause(_) => Some(Trouble::Pause),
            Choice::Crash(_) => Some(Trouble::Crash),
            Choice::Stop(_) => Some(Trouble::Stop),
            Choice::Destroy => Some(Trouble::Destroy),
            Choice::Put => Some(Trouble::Put),
            Choice::Delete => Some(Trouble::Delete),
            Choice::Restore => Some(Trouble::Restore),
            Choice::Forget(false) => Some(Trouble::ForgetAll),
            Choice::Forget(true) => Some(Trouble::ForgetButIndex),
        }
    }

    /// Adds a choice if it is in the ordinary course or the trouble is allowed.
    fn offer(&self, choice: Choice, into: &mut Vec<Choice>) {
        let is_allowed = |kind| self.troubles_left > 0 && self.rules.troubles.has(kind);
        if self.trouble_of(choice).is_none_or(is_allowed) {
            into.push(choice);
        }
    }

    fn is_up(&self, node: u8) -> bool {
        self.nodes[usize::from(node)].power == Power::Up
    }

    /// Adds what may become of a request; tells whether a tick may pass before that.
    fn flight_choices(&self, place: u8, line: Line, into: &mut Vec<Choice>) -> bool {
        let node = &self.nodes[usize::from(place)];
        let Some(flight) = node.flight(line) else { return true };
        let is_up = self.is_up(place);
        let is_prompt = self.is_answered_at_once(place, line);
        match flight.stage {
            Stage::Asked { held_until } if held_until > self.now => true,
            Stage::Asked { .. } => {
                if is_prompt {
                    into.push(Choice::Answer(place, line));
                    self.offer(Choice::LoseAnswer(place, line), into);
                }
                if !is_prompt || flight.last > self.now {
                    self.offer(Choice::CarryOut(place, line), into);
                }
                if flight.last > self.now {
                    self.offer(Choice::Hold(place, line), into);
                }
                self.offer(Choice::Lose(place, line), into);
                self.offer(Choice::Delay(place, line), into);
                false
            }
            Stage::Answered { held_until, .. } if held_until > self.now => true,
            Stage::Answered { .. } if is_up => {
                into.push(Choice::Deliver(place, line));
                if flight.last > self.now {
                    self.offer(Choice::Hold(place, line), into);
                }
                self.offer(Choice::Lose(place, line), into);
                false
            }
            Stage::Answered { .. } | Stage::Parked { .. } | Stage::Lost => true,
        }
    }

    /// Tells whether a request has an answer, and somebody there to hear it.
    fn is_answered_at_once(&self, place: u8, line: Line) -> bool {
        let node = &self.nodes[usize::from(place)];
        let is_open = |flight: &Flight| match flight.ask {
            Ask::Read { index, .. } => index == 0 || self.consul.changed > index,
            Ask::Create | Ask::Renew(_) | Ask::Destroy(_) | Ask::Acquire(..) | Ask::Release(_) => {
                true
            }
        };
        node.power == Power::Up && node.cut == Cut::No && node.flight(line).is_some_and(is_open)
    }

    fn process_choices(&self, place: u8, into: &mut Vec<Choice>) {
        let node = &self.nodes[usize::from(place)];
        let is_there = |process: &Process| !process.is_unheard;
        for (which, process) in node.processes.iter().enumerate() {
            if process.as_ref().is_some_and(is_there) {
                self.offer(Choice::Exit(place, which as u8), into);
            }
        }
    }

    fn node_choices(&self, place: u8, into: &mut Vec<Choice>) {
        let node = &self.nodes[usize::from(place)];
        match node.power {
            Power::Up => {
                if self.rules.figures.pause_max > 0 {
                    self.offer(Choice::Pause(place), into);
                }
                self.offer(Choice::Crash(place), into);
                if !node.is_stopping {
                    self.offer(Choice::Stop(place), into);
                }
            }
            Power::Paused { .. } => {
                into.push(Choice::Resume(place));
                self.offer(Choice::Crash(place), into);
            }
            Power::Down => into.push(Choice::Boot(place)),
        }
        match node.cut {
            Cut::No => {
                self.offer(Choice::Cut(place, true), into);
                self.offer(Choice::Cut(place, false), into);
            }
            Cut::Deaf | Cut::Both => into.push(Choice::Mend(place)),
        }
    }

    fn consul_choices(&self, into: &mut Vec<Choice>) {
        for session in &self.consul.sessions {
            if self.now >= session.renewed + u64::from(self.rules.ttl) {
                into.push(Choice::Expire(session.id));
            }
        }
        if self.consul.holder() != NOBODY {
            self.offer(Choice::Destroy, into);
        }
        self.offer(Choice::Put, into);
        if self.consul.entry.is_some() {
            self.offer(Choice::Delete, into);
        }
        self.offer(Choice::Restore, into);
        self.offer(Choice::Forget(false), into);
        self.offer(Choice::Forget(true), into);
    }
}
