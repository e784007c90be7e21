//! What must never be, judged by the truth about processes.

use super::arena::{Arena, Breach};
use super::consul::{Answer, Ask, NOBODY, SessionId};
use super::node::{Flight, LINES, Line, PRIMARY, Stage};

impl Arena {
    pub(super) fn judge_start(&mut self, place: usize, process: usize) {
        if process != PRIMARY {
            return;
        }
        let mut others = self.nodes.iter().enumerate().filter(|(other, _)| *other != place);
        if others.any(|(_, node)| node.sworn().next().is_some()) {
            self.accuse(Breach::TwoHolders);
        }
        let token = self.nodes[place].token;
        if token > self.consul.index {
            // Granted by a Consul that has lost its memory since.
            return;
        }
        let (newest, by) = self.newest;
        if token < newest || token == newest && usize::from(by) != place {
            self.accuse(Breach::TokenFell);
        }
        self.newest = (token, place as u8);
    }

    pub(super) fn judge_request(&mut self, place: usize, line: Line) {
        let node = &self.nodes[place];
        let ask = node.flight(line).map(|flight| flight.ask);
        if node.sworn().next().is_none() {
            return;
        }
        match ask {
            Some(Ask::Release(_) | Ask::Destroy(_)) => self.accuse(Breach::ReleasedTooEarly),
            Some(Ask::Create) => self.accuse(Breach::SecondSession),
            Some(Ask::Renew(_) | Ask::Read { .. } | Ask::Acquire(..)) | None => {}
        }
    }

    fn accuse(&mut self, breach: Breach) {
        self.breach.get_or_insert(breach);
    }

    /// Drops sessions that nobody knows and that hold nothing: they decide nothing any more.
    pub(super) fn forget_sessions_of_nobody(&mut self) {
        let holder = self.consul.holder();
        let is_unknown = |id: SessionId| id != holder && !self.is_known(id);
        if self.consul.sessions.iter().any(|session| is_unknown(session.id)) {
            let mut sessions = core::mem::take(&mut self.consul.sessions);
            sessions.retain(|session| session.id == holder || self.is_known(session.id));
            self.consul.sessions = sessions;
        }
    }

    fn is_known(&self, id: SessionId) -> bool {
        let asks = |ask: Ask| match ask {
            Ask::Renew(it) | Ask::Destroy(it) | Ask::Acquire(it, _) | Ask::Release(it) => it == id,
            Ask::Create | Ask::Read { .. } => false,
        };
        let is_in = |flight: &Flight| {
            let is_answer = matches!(
                flight.stage,
                Stage::Answered { answer: Answer::Session(it), .. } if it == id
            );
            is_answer || asks(flight.ask) && matches!(flight.stage, Stage::Asked { .. })
        };
        id != NOBODY
            && (self.stragglers.iter().any(|straggler| asks(straggler.ask))
                || self.nodes.iter().any(|node| {
                    node.owns(id) || LINES.iter().any(|line| node.flight(*line).is_some_and(is_in))
                }))
    }
}
