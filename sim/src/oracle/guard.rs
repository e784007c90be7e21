//! What the keeper is told: in time, moved on with every renewal and reading that was answered, and
//! lifted before the lock is given back.

use core::time::Duration;
use std::collections::BTreeMap;

use steersman_engine::config::{Config, Keeping, Name};
use steersman_engine::consul::{ConsulOp, ConsulReply, ConsulRequest, Owner};
use steersman_engine::id::LockId;
use steersman_engine::input::KeeperNews;
use steersman_engine::limits::REPLY_GRACE;
use steersman_engine::{Code, Effect, Event, Input, JobId, RunId, RunKind, Source, Time};

/// What one supervisor says to its keeper.
#[derive(Clone, Debug, Default)]
pub(super) struct GuardView {
    /// The locks in the order of their numbers, which a reload never changes.
    names: Vec<Name>,
    /// `demoteAfter` and `stopTimeout` of each lock that is to have a keeper.
    figures: BTreeMap<Name, Duration>,
    /// The lock that each job needs.
    needed: BTreeMap<Name, Name>,
    locks: BTreeMap<LockId, LockView>,
    /// Whether there is no keeper that could be told anything.
    is_lost: bool,
}

#[derive(Clone, Debug, Default)]
struct LockView {
    /// The last request about the session: its number, when it was sent, how long it may take.
    sent: Option<(u32, Time, Duration)>,
    /// When the last one was sent that was answered.
    confirmed: Option<Time>,
    session: Option<Box<str>>,
    /// The last request about the key, likewise.
    asked: Option<(u32, Time, Duration)>,
    /// When the last one was sent whose answer showed the key as its own.
    shown: Option<Time>,
    /// How long after that everything must be gone, while the lock is held.
    led: Option<Duration>,
    guard: Option<(Time, Vec<Name>)>,
}

impl LockView {
    /// Tells whether an answer shows the key as the supervisor's own.
    fn is_own(&self, reply: &ConsulReply) -> bool {
        match reply {
            ConsulReply::Acquired { token } => token.is_some(),
            ConsulReply::Keys { entries, .. } => {
                entries.iter().any(|entry| entry.session.is_some() && entry.session == self.session)
            }
            _ => false,
        }
    }
}

impl GuardView {
    pub(super) fn new(config: &Config) -> GuardView {
        let mut view = GuardView::default();
        view.apply(config);
        view
    }

    fn apply(&mut self, config: &Config) {
        for lock in &config.locks {
            if !self.names.contains(&lock.name) {
                self.names.push(lock.name.clone());
            }
        }
        let kept = config.locks.iter().filter(|lock| lock.keeper != Keeping::Off);
        let figure = |lock: &steersman_engine::config::Lock| {
            (lock.name.clone(), lock.demote_after + lock.stop_timeout)
        };
        self.figures = kept.map(figure).collect();
        let needed = config.jobs.iter().filter_map(|job| {
            let lock = job.while_lock.as_ref()?;
            Some((job.name.clone(), lock.clone()))
        });
        self.needed = needed.collect();
    }

    pub(super) fn on_input(&mut self, mono: Time, input: &Input) {
        if let Input::Keeper(KeeperNews::Lost(_)) = input {
            self.is_lost = true;
        }
        let Input::Consul { op: ConsulOp { owner, nth }, reply } = input else { return };
        let (Owner::Session(lock) | Owner::Lock(lock)) = owner else { return };
        let Some(view) = self.locks.get_mut(lock) else { return };
        // An answer that comes too late counts as lost.
        let answered = |asked: &mut Option<(u32, Time, Duration)>| {
            let (_, at, _) = asked.take_if(|(asked_nth, at, timeout)| {
                *asked_nth == *nth && mono < *at + *timeout + REPLY_GRACE
            })?;
            Some(at)
        };
        match owner {
            Owner::Session(_) => {
                let at = answered(&mut view.sent);
                if let ConsulReply::Session { id } = reply {
                    view.session = Some(id.clone());
                }
                if matches!(reply, ConsulReply::Session { .. } | ConsulReply::Done) {
                    view.confirmed = at.or(view.confirmed);
                }
            }
            Owner::Lock(_) | Owner::Job(_) | Owner::Watch(_) => {
                let at = answered(&mut view.asked);
                if view.is_own(reply) {
                    view.shown = at.or(view.shown);
                }
            }
        }
    }

    pub(super) fn on_effect(
        &mut self,
        mono: Time,
        effect: &Effect,
        name: &impl Fn(JobId) -> Name,
    ) -> Option<String> {
        match effect {
            Effect::Applied(config) => self.apply(config),
            Effect::Consul { op, request, timeout } => {
                return self.on_request(mono, *op, request, *timeout);
            }
            Effect::Guard { lock, until, jobs } => {
                self.is_lost = false;
                let jobs = jobs.iter().map(|job| name(*job)).collect();
                self.locks.entry(*lock).or_default().guard = until.map(|until| (until, jobs));
            }
            Effect::Start { run, .. } => return self.on_start(*run, &name(run.job)),
            Effect::Published(Event { code, source: Source::Lock(lock) }) => {
                let figure =
                    self.names.get(lock.index()).and_then(|name| self.figures.get(name)).copied();
                let view = self.locks.entry(*lock).or_default();
                match code {
                    Code::Acquired => view.led = figure,
                    Code::Lost | Code::Released => view.led = None,
                    _ => {}
                }
            }
            _ => {}
        }
        None
    }

    fn on_request(
        &mut self,
        mono: Time,
        op: ConsulOp,
        request: &ConsulRequest,
        timeout: Duration,
    ) -> Option<String> {
        let (Owner::Session(lock) | Owner::Lock(lock)) = op.owner else { return None };
        let view = self.locks.entry(lock).or_default();
        match request {
            ConsulRequest::SessionCreate { .. } | ConsulRequest::SessionRenew { .. } => {
                view.sent = Some((op.nth, mono, timeout));
                None
            }
            ConsulRequest::LockRead { .. } | ConsulRequest::Acquire { .. } => {
                view.asked = Some((op.nth, mono, timeout));
                None
            }
            ConsulRequest::Release { .. } | ConsulRequest::SessionDestroy { .. } => {
                let is_guarded = view.guard.is_some();
                is_guarded.then(|| "a lock is given back of which something is guarded".to_owned())
            }
            _ => None,
        }
    }

    fn on_start(&self, run: RunId, job: &Name) -> Option<String> {
        if run.kind == RunKind::Check {
            return None;
        }
        let lock = self.needed.get(job)?;
        self.figures.get(lock)?;
        let place = self.names.iter().position(|name| name == lock)?;
        let view = self.locks.get(&LockId(u16::try_from(place).ok()?));
        let guard = view.and_then(|view| view.guard.as_ref());
        let is_guarded = guard.is_some_and(|(_, jobs)| jobs.contains(job));
        (!is_guarded && !self.is_lost)
            .then(|| format!("\"{job}\" starts and the keeper does not know of it"))
    }

    /// All effects of an input have been seen.
    pub(super) fn on_settled(&self) -> Option<String> {
        for view in self.locks.values().filter(|_| !self.is_lost) {
            let Some((figure, confirmed)) = view.led.zip(view.confirmed.zip(view.shown)) else {
                continue;
            };
            let confirmed = confirmed.0.min(confirmed.1);
            let Some((until, _)) = view.guard else {
                return Some("a lock is held and its keeper knows of no time".to_owned());
            };
            if until > confirmed + figure {
                return Some("the keeper is told a time that is too late".to_owned());
            }
            if until < confirmed + figure {
                let what = "a renewal or a reading was answered and the keeper was not told";
                return Some(what.to_owned());
            }
        }
        None
    }
}
