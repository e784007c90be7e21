//! What can go wrong: what it is called, whom it is about, how long it lasts.

/// Whom a fault is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// A member, mostly the one that leads.
    Member,
    /// The Consul server that leads.
    Leader,
    /// A Consul server that follows.
    Follower,
    /// All Consul servers.
    Servers,
    /// The key, or its session.
    Key,
}

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Stop,
    Maintain,
    Reload,
    Kill,
    KillLead,
    KillServe,
    Pause,
    Freeze,
    PauseSupervisor,
    FreezeSupervisor,
    FreezeJob,
    LoseRequests,
    LoseAnswers,
    CutBriefly,
    Cut,
    Unplug,
    KillLeader,
    KillFollower,
    ForgetLeader,
    ForgetFollower,
    FreezeLeader,
    SplitLeader,
    MuteLeader,
    SplitFollower,
    KillServers,
    ForgetServers,
    DestroySession,
    PutKey,
    DeleteKey,
}

/// What is said about a fault, once for all who ask.
struct Row {
    fault: Fault,
    words: &'static str,
    subject: Subject,
    /// How long it may last, in milliseconds.
    span: (u64, u64),
}

const fn row(fault: Fault, words: &'static str, subject: Subject, span: (u64, u64)) -> Row {
    Row { fault, words, subject, span }
}

use Fault::*;
use Subject::{Follower, Key, Leader, Member, Servers};

/// A freeze is shorter than `maxPause`, or longer than any term without a renewal; half of the
/// longer ones are longer than it takes another member to lead.
const TABLE: &[Row] = &[
    row(Stop, "orderly stop (SIGTERM), started again", Member, (200, 4_000)),
    row(Maintain, "maintenance for a while", Member, (200, 8_000)),
    row(Reload, "reload of the same configuration", Member, (0, 1)),
    row(Kill, "supervisor and container killed, started again", Member, (200, 8_000)),
    row(KillLead, "job with `while` killed", Member, (0, 1)),
    row(KillServe, "job with `stopWith` killed", Member, (0, 1)),
    row(Pause, "container frozen, within maxPause", Member, (100, 400)),
    row(Freeze, "container frozen, beyond any deadline", Member, (9_000, 40_000)),
    row(PauseSupervisor, "supervisor alone frozen, within maxPause", Member, (100, 400)),
    row(FreezeSupervisor, "supervisor alone frozen, beyond any deadline", Member, (9_000, 38_000)),
    row(FreezeJob, "job with `while` alone frozen", Member, (200, 5_000)),
    row(LoseRequests, "what it says to Consul is lost", Member, (1_000, 20_000)),
    row(LoseAnswers, "what Consul answers is lost", Member, (1_000, 20_000)),
    row(CutBriefly, "cut from Consul, briefly", Member, (500, 3_500)),
    row(Cut, "cut from Consul", Member, (9_000, 38_000)),
    row(Unplug, "cut from everything", Member, (1_000, 35_000)),
    row(KillLeader, "Consul's leader killed, started again", Leader, (1_000, 15_000)),
    row(KillFollower, "a follower of Consul killed, started again", Follower, (1_000, 15_000)),
    row(ForgetLeader, "Consul's leader killed, comes back without data", Leader, (4_000, 10_000)),
    row(
        ForgetFollower,
        "a follower of Consul killed, comes back without data",
        Follower,
        (4_000, 10_000),
    ),
    row(FreezeLeader, "Consul's leader frozen", Leader, (500, 15_000)),
    row(SplitLeader, "Consul's leader cut from its followers", Leader, (1_000, 15_000)),
    row(MuteLeader, "Consul's leader is not heard by its followers", Leader, (1_000, 12_000)),
    row(
        SplitFollower,
        "a follower of Consul cut from the other servers",
        Follower,
        (1_000, 15_000),
    ),
    row(KillServers, "all Consul servers killed, come back with data", Servers, (500, 10_000)),
    row(ForgetServers, "all Consul servers killed, come back without data", Servers, (500, 10_000)),
    row(DestroySession, "an operator destroys the session", Key, (0, 1)),
    row(PutKey, "an operator writes to the key", Key, (0, 1)),
    row(DeleteKey, "an operator deletes the key", Key, (0, 1)),
];

impl Fault {
    /// The faults that are drawn. A Consul that has forgotten everything counts its tokens from the
    /// start: after that no resource that compares them takes a write, so that it comes alone, by
    /// order (`--plan amnesia`).
    pub(super) fn drawn() -> impl Iterator<Item = Fault> {
        TABLE.iter().map(|row| row.fault).filter(|fault| *fault != ForgetServers)
    }

    fn row(self) -> &'static Row {
        TABLE.iter().find(|row| row.fault == self).expect("every fault has a row")
    }

    pub(super) fn words(self) -> &'static str {
        self.row().words
    }

    pub(super) fn subject(self) -> Subject {
        self.row().subject
    }

    /// How long it may last, in milliseconds.
    pub(super) fn span(self) -> (u64, u64) {
        self.row().span
    }

    /// Tells whether another fault may happen at the same time, and right after.
    ///
    /// A server that returns without its data must find two that have it; a key that is deleted
    /// must not be written before somebody has seen it missing (docs/locks.md says so).
    pub(super) fn is_mixed(self) -> bool {
        !matches!(self, ForgetLeader | ForgetFollower | DeleteKey | PutKey)
    }

    /// Tells whether time alone cannot keep the old holder apart while this lasts, and a moment
    /// after: it is beyond the declared `maxPause`, and only the token helps, or, for a supervisor
    /// alone, a keeper.
    pub(super) fn is_beyond_time(self) -> bool {
        matches!(self, Freeze | FreezeSupervisor)
    }

    /// Tells whether no renewal of the member can be confirmed while this lasts.
    pub(super) fn silences(self) -> bool {
        matches!(self, LoseRequests | LoseAnswers | CutBriefly | Cut | Unplug)
    }

    /// Tells whether the server that this is about confirms nothing while it lasts.
    pub(super) fn silences_server(self) -> bool {
        matches!(
            self,
            KillLeader
                | KillFollower
                | ForgetLeader
                | ForgetFollower
                | FreezeLeader
                | KillServers
                | ForgetServers
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_in_the_table_once() {
        let mut all: Vec<Fault> = TABLE.iter().map(|row| row.fault).collect();
        all.sort();
        let count = all.len();
        all.dedup();
        assert_eq!((all.len(), count), (29, 29));
        assert_eq!(all.last().map(|fault| *fault as usize), Some(28));
        assert_eq!(Fault::drawn().count(), 28);
    }
}
