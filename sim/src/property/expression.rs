//! Expressions over a view: what is, at an instant.

use std::sync::Arc;

use crate::property::server::Servers;
use crate::property::view::{JobView, NodeView, Stage, View};

/// Something that is or is not, at an instant.
#[derive(Clone, Debug, PartialEq)]
pub enum Expression {
    /// Neither side may be missing.
    And(Vec<Expression>),
    /// One side is enough.
    Or(Vec<Expression>),
    /// The opposite.
    Not(Box<Expression>),
    /// A number of subjects in a state, compared.
    Count {
        /// Which subjects.
        subject: Subject,
        /// In which state.
        state: State,
        /// Compared how.
        compare: Compare,
        /// With what.
        number: u32,
    },
    /// Every subject is in a state, and there is one.
    Every {
        /// Which subjects.
        subject: Subject,
        /// In which state.
        state: State,
    },
    /// A number of servers of a database in a state.
    Servers(Servers),
    /// A named expression.
    Named(Arc<str>, Arc<Expression>),
}

/// How a count is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compare {
    /// Fewer.
    Less,
    /// As many or fewer.
    AtMost,
    /// As many.
    Equal,
    /// Not as many.
    Unequal,
    /// As many or more.
    AtLeast,
    /// More.
    More,
}

impl Compare {
    pub(crate) fn holds(self, left: u32, right: u32) -> bool {
        match self {
            Compare::Less => left < right,
            Compare::AtMost => left <= right,
            Compare::Equal => left == right,
            Compare::Unequal => left != right,
            Compare::AtLeast => left >= right,
            Compare::More => left > right,
        }
    }
}

/// Which things: patterns in which `*` stands for any letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The node.
    pub node: Arc<str>,
    /// The job, service, lock or key; none speaks of the node itself.
    pub job: Option<Arc<str>>,
    /// What kind of thing it is.
    pub kind: Owner,
}

macro_rules! states {
    ($($(#[$doc:meta])* $variant:ident = $text:literal for $kind:ident),+ $(,)?) => {
        /// A state that a subject is in or not.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum State { $($(#[$doc])* $variant),+ }

        impl State {
            /// Every state.
            pub const ALL: &'static [State] = &[$(State::$variant),+];

            /// Gives its word.
            pub const fn as_str(self) -> &'static str {
                match self { $(State::$variant => $text),+ }
            }

            /// Tells what has such a state.
            pub const fn of(self) -> Owner {
                match self { $(State::$variant => Owner::$kind),+ }
            }
        }
    };
}

/// What has a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A job.
    Job,
    /// A node.
    Node,
    /// A service in Consul.
    Service,
    /// A lock, on each node that has it in its configuration.
    Lock,
    /// A key in Consul.
    Key,
    /// A session in Consul.
    Session,
}

states! {
    /// Its process runs.
    Running = "running" for Job,
    /// Its process, or something it left behind, runs.
    Alive = "alive" for Job,
    /// Its last checks passed.
    Healthy = "healthy" for Job,
    /// Its last checks failed.
    Unhealthy = "unhealthy" for Job,
    /// It has run at least once.
    Started = "started" for Job,
    /// Its last process ended with 0.
    Succeeded = "succeeded" for Job,
    /// Its last process ended in another way.
    Failed = "failed" for Job,
    /// Its stop sequence is under way.
    Stopping = "stopping" for Job,
    /// It has ended for good.
    Ended = "ended" for Job,
    /// It will never run.
    Skipped = "skipped" for Job,
    /// Two processes of it run at once.
    Doubled = "doubled" for Job,
    /// Its supervisor has not ended.
    Up = "up" for Node,
    /// Its supervisor has ended.
    Over = "over" for Node,
    /// Its supervisor is held up.
    Paused = "paused" for Node,
    /// It is shutting down.
    ShuttingDown = "shutting-down" for Node,
    /// It is in maintenance.
    InMaintenance = "in-maintenance" for Node,
    /// It is in the catalog and its checks pass.
    Passing = "passing" for Service,
    /// It is in the catalog and one of its checks does not pass.
    Failing = "failing" for Service,
    /// It is in the catalog.
    Registered = "registered" for Service,
    /// Its supervisor says that it has the lock.
    HeldHere = "held" for Lock,
    /// A process that needs it runs.
    Used = "used" for Lock,
    /// A session holds it.
    Held = "held" for Key,
    /// It is there.
    Live = "live" for Session,
}

impl Expression {
    /// Tells whether it holds.
    pub fn holds(&self, view: &View) -> bool {
        match self {
            Expression::And(parts) => parts.iter().all(|part| part.holds(view)),
            Expression::Or(parts) => parts.iter().any(|part| part.holds(view)),
            Expression::Not(part) => !part.holds(view),
            Expression::Named(_, part) => part.holds(view),
            Expression::Servers(servers) => servers.holds(view),
            Expression::Count { subject, state, compare, number } => {
                compare.holds(subject.count(*state, view).0, *number)
            }
            Expression::Every { subject, state } => {
                let (holding, all) = subject.count(*state, view);
                holding == all && all > 0
            }
        }
    }

    /// Lists the databases that it speaks of.
    pub fn databases(&self) -> Vec<Arc<str>> {
        match self {
            Expression::And(parts) | Expression::Or(parts) => {
                parts.iter().flat_map(Expression::databases).collect()
            }
            Expression::Not(part) => part.databases(),
            Expression::Named(_, part) => part.databases(),
            Expression::Servers(servers) => vec![servers.database.clone()],
            Expression::Count { .. } | Expression::Every { .. } => Vec::new(),
        }
    }

    /// Lists every subject in it, with how many of it there must be for it to mean anything.
    pub fn needs(&self) -> Vec<(Subject, u32)> {
        match self {
            Expression::And(parts) | Expression::Or(parts) => {
                parts.iter().flat_map(Expression::needs).collect()
            }
            Expression::Not(part) => part.needs(),
            Expression::Named(_, part) => part.needs(),
            Expression::Servers(servers) => vec![servers.need()],
            Expression::Count { subject, compare, number, .. } => {
                let least = match compare {
                    Compare::AtLeast | Compare::Equal => *number,
                    Compare::More => number.saturating_add(1),
                    Compare::Less | Compare::AtMost | Compare::Unequal => 1,
                };
                vec![(subject.clone(), least.max(1))]
            }
            Expression::Every { subject, .. } => vec![(subject.clone(), 1)],
        }
    }
}

impl Subject {
    /// Counts the subjects in a state, and all of them.
    pub fn count(&self, state: State, view: &View) -> (u32, u32) {
        let mut counts = (0, 0);
        let pattern = self.job.as_deref().unwrap_or("*");
        match self.kind {
            Owner::Job | Owner::Node => {}
            Owner::Lock => return self.count_locks(pattern, state, view),
            Owner::Service => {
                let named = view.catalog.services.iter().filter(|one| fits(pattern, &one.service));
                for instance in named {
                    counts.0 += u32::from(match state {
                        State::Passing => instance.is_passing,
                        State::Failing => !instance.is_passing,
                        _ => true,
                    });
                    counts.1 += 1;
                }
                return counts;
            }
            Owner::Session => {
                let named = view.catalog.sessions.iter().filter(|name| fits(pattern, name));
                let count = u32::try_from(named.count()).unwrap_or(u32::MAX);
                return (count, count.max(1));
            }
            Owner::Key => {
                let held = view.catalog.held.iter().filter(|key| fits(pattern, key)).count();
                let held = u32::try_from(held).unwrap_or(u32::MAX);
                return (held, held.max(1));
            }
        }
        for node in view.nodes.iter().filter(|node| fits(&self.node, &node.name)) {
            match &self.job {
                None => {
                    counts.0 += u32::from(node_is(node, state));
                    counts.1 += 1;
                }
                Some(name) if !name.contains('*') => {
                    if let Some(job) = node.jobs.get(&**name) {
                        counts.0 += u32::from(job_is(job, node, state));
                        counts.1 += 1;
                    }
                }
                Some(pattern) => {
                    for (_, job) in node.jobs.iter().filter(|(name, _)| fits(pattern, name)) {
                        counts.0 += u32::from(job_is(job, node, state));
                        counts.1 += 1;
                    }
                }
            }
        }
        counts
    }
}

impl Subject {
    fn count_locks(&self, pattern: &str, state: State, view: &View) -> (u32, u32) {
        let mut counts = (0, 0);
        for node in view.nodes.iter().filter(|node| fits(&self.node, &node.name)) {
            for (_, lock) in node.locks.iter().filter(|(name, _)| fits(pattern, name)) {
                let is_used = || {
                    let jobs = node.jobs.iter().filter(|(name, _)| lock.jobs.contains(name));
                    jobs.map(|(_, job)| job.alive).sum::<u32>() > 0
                };
                counts.0 += u32::from(match state {
                    State::HeldHere => lock.is_held,
                    _ => is_used(),
                });
                counts.1 += 1;
            }
        }
        counts
    }
}

fn node_is(node: &NodeView, state: State) -> bool {
    match state {
        State::Up => node.over.is_none(),
        State::Over => node.over.is_some(),
        State::Paused => node.paused,
        State::ShuttingDown => node.stopping && node.over.is_none(),
        State::InMaintenance => node.maintenance,
        _ => false,
    }
}

fn job_is(job: &JobView, node: &NodeView, state: State) -> bool {
    let is_over = node.over.is_some();
    match state {
        State::Running => job.running > 0,
        State::Alive => job.alive > 0,
        State::Healthy => job.running > 0 && job.healthy == Some(true),
        State::Unhealthy => job.healthy == Some(false),
        State::Started => job.runs > 0,
        State::Succeeded => job.last.is_some_and(|last| last.is_success()),
        State::Failed => job.last.is_some_and(|last| !last.is_success()),
        State::Stopping => job.stage == Stage::Stopping,
        State::Ended => is_over || matches!(job.stage, Stage::Stopped | Stage::Skipped),
        State::Skipped => job.stage == Stage::Skipped,
        State::Doubled => job.running > 1,
        _ => false,
    }
}

/// Tells whether a name fits a pattern in which `*` stands for any letters.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    let Some(star) = pattern.bytes().position(|byte| byte == b'*') else {
        return pattern == name;
    };
    let (start, rest) = (&pattern[..star], &pattern[star + 1..]);
    name.strip_prefix(start).is_some_and(|name| {
        if !rest.contains('*') {
            return name.ends_with(rest);
        }
        let mut starts = name.char_indices().map(|(at, _)| at).chain([name.len()]);
        starts.any(|at| fits(rest, &name[at..]))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_letters() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("*", "", true),
            ("db-*", "db-1", true),
            ("*-1", "db-1", true),
            ("d*b*1", "dxbx1", true),
            ("d*b*1", "dxbx2", false),
        ];
        for (pattern, name, expected) in cases {
            assert_eq!(fits(pattern, name), expected, "{pattern} {name}");
        }
    }
}
