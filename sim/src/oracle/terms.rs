//! What a supervisor owes to its locks, rule by rule, from what it was told, asked and said: when a
//! term must be over, what must have gone before the lock is given back, whose session it is, how
//! often it asks. Whether two run is judged over all nodes (`exclusion`).

mod rules;

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use steersman_engine::config::{Config, Lock, Name, Signal};
use steersman_engine::consul::{ConsulFailure, ConsulReply, ConsulRequest, Entry, Owner};
use steersman_engine::effect::Message;
use steersman_engine::id::LockId;
use steersman_engine::term::LossReason;
use steersman_engine::{Code, Effect, Event, Input, JobId, RunId, RunKind, Source, Time};

use crate::observer::Fact;

/// How much later than its timeout an answer counts as lost.
const REPLY_GRACE: Duration = Duration::from_millis(250);

/// The locks of one supervisor.
#[derive(Clone, Debug, Default)]
pub(super) struct Terms {
    now: Time,
    /// By their numbers, which a reload never changes.
    order: Vec<Name>,
    terms: BTreeMap<Name, Term>,
    /// What each job has to do with which lock.
    needs: BTreeMap<Name, (Name, Need)>,
    runs: BTreeMap<RunId, RunView>,
    /// The jobs that are unhealthy, and since when.
    unhealthy: BTreeMap<Name, Time>,
    /// The jobs that have ended for good.
    ended: BTreeSet<Name>,
    files: BTreeMap<Box<str>, Box<str>>,
    is_in_maintenance: bool,
    is_stopping: bool,
    was_reloaded: bool,
    /// What needs a cause that may come with the same input: a loss on purpose, a new standing.
    unexplained: Vec<(Name, Deed)>,
    /// When it was last held up until.
    awake: Option<Time>,
    is_off: bool,
    problems: Vec<String>,
}

/// What a job has to do with a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Need {
    /// It runs while the lock is held.
    While,
    /// It ends with each term.
    StopWith,
}

#[derive(Clone, Debug)]
struct RunView {
    is_main: bool,
    lock: Name,
    need: Need,
    is_started: bool,
    is_killed: bool,
    /// Whether it was there when a term ended that it had to end with.
    must_go: bool,
}

/// Where a supervisor stands, by its own word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// It has nothing, or asks for it.
    #[default]
    Without,
    /// It has the key and keeps quiet until then.
    Quiet(Time),
    /// It leads since then.
    Leading(Time),
    /// Its term is over, and was one that had begun or not.
    Ending(bool),
}

/// What needs a cause, or must have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    GivesUp,
    Stands,
    StandsEarly,
}

/// A request about the session that was not answered.
#[derive(Clone, Copy, Debug)]
struct Pending {
    nth: u32,
    sent: Time,
    is_renewal: bool,
}

/// One lock.
#[derive(Clone, Debug)]
struct Term {
    spec: Lock,
    /// What a reload wants in its place; nothing at all when it took it out.
    wanted: Option<Option<Lock>>,
    phase: Phase,
    session: Option<Box<str>>,
    /// Sessions whose time is over.
    past: BTreeSet<Box<str>>,
    pending: Option<Pending>,
    /// When the last answered request was sent that made the session live on.
    confirmed: Time,
    renew_due: Option<Time>,
    /// Whether Consul said that it does not know the session.
    is_unknown: bool,
    /// The reading of the key under way, and when it was sent.
    reading: (u32, Time),
    /// When the last reading was sent that showed the key as its own.
    own_at: Option<Time>,
    /// The same, or when the grant was asked for; it counts once there is a grant.
    shown: Option<Time>,
    asked_since: Option<Time>,
    barred_until: Option<Time>,
    is_spent: bool,
    is_released: bool,
    /// Since when nothing of its term is left and it still has its session.
    idle_since: Option<Time>,
    /// Whether it was already too late when it was granted.
    was_late: bool,
    tries: Vec<Time>,
}

impl Term {
    const fn new(spec: Lock) -> Term {
        Term {
            spec,
            wanted: None,
            phase: Phase::Without,
            session: None,
            past: BTreeSet::new(),
            pending: None,
            confirmed: Time(0),
            renew_due: None,
            is_unknown: false,
            reading: (0, Time(0)),
            own_at: None,
            shown: None,
            asked_since: None,
            barred_until: None,
            is_spent: false,
            is_released: false,
            idle_since: None,
            was_late: false,
            tries: Vec::new(),
        }
    }

    const fn is_holding(&self) -> bool {
        matches!(self.phase, Phase::Quiet(_) | Phase::Leading(_))
    }

    fn lasts_until(&self) -> Time {
        let shown = self.shown.unwrap_or(self.confirmed);
        self.confirmed.min(shown) + self.spec.demote_after
    }

    /// Puts what a reload wants in place, when nothing of the present definition is left.
    fn adopt(&mut self) {
        if self.phase == Phase::Without
            && self.session.is_none()
            && let Some(Some(spec)) = self.wanted.take()
        {
            let past = core::mem::take(&mut self.past);
            *self = Term { past, pending: self.pending, reading: self.reading, ..Term::new(spec) };
        }
    }
}

impl Terms {
    pub(super) fn new(config: &Config) -> Terms {
        let mut terms = Terms::default();
        terms.on_config(config);
        terms.was_reloaded = false;
        terms
    }

    /// Nothing is owed any more.
    pub(super) fn switch_off(&mut self) {
        *self = Terms { is_off: true, ..Terms::default() };
    }

    pub(super) fn take_problems(&mut self) -> Vec<String> {
        core::mem::take(&mut self.problems)
    }

    pub(super) const fn on_resumed(&mut self, mono: Time) {
        self.awake = Some(mono);
    }

    fn is_idle(&self) -> bool {
        self.is_off || self.terms.is_empty()
    }

    fn on_config(&mut self, config: &Config) {
        self.was_reloaded = true;
        self.needs.clear();
        for job in &config.jobs {
            if let Some(lock) = &job.while_lock {
                self.needs.insert(job.name.clone(), (lock.clone(), Need::While));
            } else if let Some(lock) = &job.stop_with {
                self.needs.insert(job.name.clone(), (lock.clone(), Need::StopWith));
            }
        }
        for spec in &config.locks {
            if !self.terms.contains_key(&spec.name) {
                self.order.push(spec.name.clone());
                self.terms.insert(spec.name.clone(), Term::new(spec.clone()));
            }
        }
        for (name, term) in &mut self.terms {
            let new = config.locks.iter().find(|spec| spec.name == *name);
            term.wanted = (new != Some(&term.spec)).then(|| new.cloned());
            if new.is_none() {
                term.asked_since = None;
            }
            // Whoever reloads wants it to stand now.
            term.barred_until = None;
            term.adopt();
        }
    }

    pub(super) fn on_fact(&mut self, fact: Fact) {
        match fact {
            Fact::ProcessStarted(run) => {
                if let Some(view) = self.runs.get_mut(&run) {
                    view.is_started = true;
                }
            }
            Fact::ProcessEnded(..) => {}
            Fact::TreeGone(run) => {
                self.runs.remove(&run);
            }
        }
    }

    pub(super) fn on_input(&mut self, mono: Time, input: &Input) {
        self.now = self.now.max(mono);
        if self.is_idle() {
            return;
        }
        let Input::Consul { op, reply } = input else { return };
        match op.owner {
            Owner::Session(lock) => self.on_session_reply(lock, op.nth, reply),
            Owner::Lock(lock) => self.on_key_reply(lock, op.nth, reply),
            Owner::Job(_) | Owner::Watch(_) => {}
        }
    }

    fn term(&mut self, lock: LockId) -> Option<&mut Term> {
        let name = self.order.get(lock.index())?;
        self.terms.get_mut(name)
    }

    fn on_session_reply(&mut self, lock: LockId, nth: u32, reply: &ConsulReply) {
        let now = self.now;
        let Some(term) = self.term(lock) else { return };
        let Some(pending) = term.pending.filter(|pending| pending.nth == nth) else { return };
        if now >= pending.sent + term.spec.request_timeout + REPLY_GRACE {
            return;
        }
        term.pending = None;
        match (pending.is_renewal, reply) {
            (false, ConsulReply::Session { id }) => {
                term.session = Some(id.clone());
                term.confirmed = pending.sent;
                term.renew_due = Some(now + term.spec.renew_every);
                term.is_unknown = false;
            }
            (true, ConsulReply::Done) => {
                term.confirmed = pending.sent;
                term.renew_due = Some(pending.sent + term.spec.renew_every);
            }
            (true, ConsulReply::Failed(ConsulFailure::Unknown)) => {
                term.past.extend(term.session.take());
                term.renew_due = None;
                term.is_unknown = true;
            }
            (true, _) => term.renew_due = Some(now + Duration::from_secs(1)),
            (false, _) => {}
        }
    }

    fn on_key_reply(&mut self, lock: LockId, nth: u32, reply: &ConsulReply) {
        let Some(term) = self.term(lock) else { return };
        let ConsulReply::Keys { entries, .. } = reply else { return };
        let is_own = |entry: &Entry| entry.session.is_some() && entry.session == term.session;
        if term.reading.0 == nth && entries.iter().any(is_own) {
            term.own_at = Some(term.reading.1);
            term.shown = term.shown.and(term.own_at);
        }
    }

    pub(super) fn on_effect(&mut self, effect: &Effect, name: &impl Fn(JobId) -> Name) {
        if self.is_off || self.terms.is_empty() && !matches!(effect, Effect::Applied(_)) {
            return;
        }
        match effect {
            Effect::Consul { op, request, .. } => match op.owner {
                Owner::Session(lock) | Owner::Lock(lock) => self.on_request(lock, op.nth, request),
                Owner::Job(_) | Owner::Watch(_) => {}
            },
            Effect::Start { run, .. } => self.on_start(*run, &name(run.job)),
            Effect::Signal { run, signal: Signal::KILL } => {
                if let Some(view) = self.runs.get_mut(run) {
                    view.is_killed = true;
                }
            }
            Effect::Log(record) => self.on_message(&record.message),
            Effect::Published(event) => self.on_event(*event, name),
            Effect::WriteFile { path, contents: Some(contents) } => {
                self.files.insert(path.clone(), contents.clone());
            }
            Effect::WriteFile { path, contents: None } => {
                self.files.remove(path);
            }
            Effect::Applied(config) => self.on_config(config),
            _ => {}
        }
    }

    fn on_event(&mut self, event: Event, name: &impl Fn(JobId) -> Name) {
        match (event.code, event.source) {
            (Code::EnterMaintenance, Source::Global) => {
                self.is_in_maintenance = true;
                self.terms.values_mut().for_each(|term| term.asked_since = None);
            }
            (Code::ExitMaintenance, Source::Global) => {
                self.is_in_maintenance = false;
                self.unexplained.retain(|(_, deed)| *deed != Deed::StandsEarly);
                self.terms.values_mut().for_each(|term| term.barred_until = None);
            }
            (Code::Shutdown, Source::Global) => {
                self.is_stopping = true;
                self.terms.values_mut().for_each(|term| term.asked_since = None);
            }
            (Code::Unhealthy, Source::Job(job)) => {
                self.unhealthy.entry(name(job)).or_insert(self.now);
            }
            (Code::Healthy, Source::Job(job)) => {
                self.unhealthy.remove(&name(job));
            }
            (Code::Stopped | Code::Skipped, Source::Job(job)) => {
                self.ended.insert(name(job));
            }
            _ => {}
        }
    }

    fn on_start(&mut self, run: RunId, job: &Name) {
        if run.kind == RunKind::Main {
            self.unhealthy.remove(job);
            self.ended.remove(job);
        }
        let Some((lock, need)) = self.needs.get(job).cloned() else { return };
        let view = RunView {
            is_main: run.kind == RunKind::Main,
            lock: lock.clone(),
            need,
            is_started: false,
            is_killed: false,
            must_go: false,
        };
        self.runs.insert(run, view);
        if need == Need::While && run.kind == RunKind::Main {
            self.judge_start(job, &lock);
        }
    }

    fn on_message(&mut self, message: &Message) {
        let now = self.now;
        match message {
            Message::LockGranted { lock, quiet, .. } => {
                let Some(term) = self.terms.get_mut(lock) else { return };
                term.phase = Phase::Quiet(now + *quiet);
                term.shown = Some(term.reading.1);
                term.was_late = now >= term.lasts_until();
                term.asked_since = None;
                term.reading.1 = now;
                term.own_at = quiet.is_zero().then_some(now);
            }
            Message::LockHeld { lock, .. } => self.judge_beginning(&lock.clone()),
            Message::LockLost { lock, reason } => self.on_lost(&lock.clone(), *reason),
            Message::LockGivenUp { lock, .. } => {
                let Some(term) = self.terms.get_mut(lock) else { return };
                term.asked_since = None;
                term.is_spent = true;
            }
            _ => {}
        }
    }

    fn on_lost(&mut self, lock: &Name, reason: LossReason) {
        self.judge_loss(lock, reason);
        let now = self.now;
        let Some(term) = self.terms.get_mut(lock) else { return };
        let has_led = matches!(term.phase, Phase::Leading(_));
        term.phase = Phase::Ending(has_led);
        term.is_released = false;
        if !reason.is_wanted() {
            term.barred_until = Some(now + term.spec.hold_off);
            term.is_spent |= has_led && !term.spec.stands_again;
        }
        term.past.extend(term.session.clone());
        for view in self.runs.values_mut().filter(|view| view.lock == *lock && has_led) {
            view.must_go = true;
        }
    }

    fn on_request(&mut self, lock: LockId, nth: u32, request: &ConsulRequest) {
        let Some(name) = self.order.get(lock.index()).cloned() else { return };
        if let ConsulRequest::SessionCreate { .. } = request
            && let Some(term) = self.terms.get_mut(&name)
        {
            term.phase = Phase::Without;
            term.adopt();
        }
        self.judge_request(&name, request);
        let now = self.now;
        let Some(term) = self.terms.get_mut(&name) else { return };
        match request {
            ConsulRequest::SessionCreate { .. } => {
                term.asked_since.get_or_insert(now);
                term.pending = Some(Pending { nth, sent: now, is_renewal: false });
            }
            ConsulRequest::SessionRenew { .. } => {
                term.pending = Some(Pending { nth, sent: now, is_renewal: true });
            }
            ConsulRequest::SessionDestroy { session } => {
                term.past.insert(session.clone());
                term.session = None;
                term.pending = None;
                term.renew_due = None;
                term.asked_since = None;
                term.phase = Phase::Without;
                term.shown = None;
                term.adopt();
            }
            ConsulRequest::LockRead { .. } => term.reading = (nth, now),
            ConsulRequest::Acquire { .. } => {
                term.reading = (nth, now);
                term.tries.retain(|at| now.since(*at) < Duration::from_secs(1));
                term.tries.push(now);
            }
            ConsulRequest::Release { .. } => term.is_released = true,
            _ => {}
        }
    }
}
