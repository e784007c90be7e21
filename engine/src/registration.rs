//! Registration in Consul, level-triggered: what Consul should hold is compared with what it is
//! known to hold, and one request at a time brings the two together.
//!
//! Facts used (Consul 1.8.7, measured): registering again keeps a check's status, so a report
//! follows every registration; a report on an unknown check answers "does not have associated TTL",
//! which is how an agent's amnesia shows; repeated failures do not move the clock of
//! `deregisterCriticalServiceAfter`.

mod hash;

use alloc::boxed::Box;
use alloc::format;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::config::{CheckStatus, Name};
use crate::consul::{ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, Owner, Registration};
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::Engine;
use crate::id::JobId;
use crate::input::ExitStatus;
use crate::limits;
use crate::random;
use crate::random::mix;
use crate::slot::{Health, Life, Process, Slot};
use crate::time::Time;
use crate::timers::Timer;

/// What is known of one service in Consul.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Catalog {
    actual: Actual,
    /// What was registered last.
    registered: Option<Box<Registration>>,
    in_flight: Option<Flight>,
    nth: u32,
    attempt: u32,
    is_backing_off: bool,
    /// The status to report; none while there is no reason to register at all.
    wanted: Option<CheckStatus>,
    output: Box<str>,
    /// Counts changes of `wanted` and reports that are due.
    wanted_version: u32,
    /// The version that was last reported.
    reported_version: u32,
    /// When the job stops: how long its deregistration is tried.
    pub(crate) until: Time,
}

/// What Consul is known to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Actual {
    /// Nothing of this run of the supervisor.
    Absent,
    /// A registration was sent; whether it arrived is open.
    Unclear,
    /// The registration.
    Present,
}

/// A request that has not been answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Flight {
    Register,
    Report { version: u32 },
    Deregister,
}

impl Catalog {
    pub(crate) fn new() -> Catalog {
        Catalog {
            actual: Actual::Absent,
            registered: None,
            in_flight: None,
            nth: 0,
            attempt: 0,
            is_backing_off: false,
            wanted: None,
            output: Box::default(),
            wanted_version: 0,
            reported_version: 0,
            until: Time(0),
        }
    }

    /// Tells whether Consul may hold something that must be taken out.
    pub(crate) fn may_be_there(&self) -> bool {
        self.actual != Actual::Absent
    }

    fn want(&mut self, status: CheckStatus, output: Box<str>) {
        self.wanted = Some(status);
        self.output = output;
        self.wanted_version = self.wanted_version.wrapping_add(1);
    }
}

impl Engine {
    /// A job with an initial status is registered before any check.
    pub(crate) fn register_initially(&mut self, job: JobId) {
        let Some(slot) = self.slot_mut(job) else { return };
        let Some(service) = &slot.spec.service else { return };
        if let Some(status) = service.initial_status
            && slot.catalog.wanted.is_none()
        {
            slot.catalog.want(status, "no check has run yet".into());
            self.pursue(job);
        }
    }

    /// A health check was judged; every pass is worth a report when the last one is old.
    pub(crate) fn report_health(&mut self, job: JobId, is_passed: bool, output: Box<str>) {
        let is_silent = self.planted(Defect::FailureNotReported);
        let Some(slot) = self.slot_mut(job) else { return };
        if slot.spec.service.is_none() {
            return;
        }
        let catalog = &mut slot.catalog;
        match (is_passed, slot.health, catalog.wanted) {
            (true, _, Some(CheckStatus::Passing)) => {}
            (true, _, _) => catalog.want(CheckStatus::Passing, "".into()),
            (false, Health::Unhealthy, Some(_)) if !is_silent => {
                catalog.want(CheckStatus::Critical, output);
            }
            (false, _, _) => return,
        }
        self.pursue(job);
    }

    /// The process that a registration stands for has ended: critical, at once.
    pub(crate) fn report_end(&mut self, job: JobId, status: ExitStatus) {
        if self.planted(Defect::CrashNotReported) {
            return;
        }
        let Some(slot) = self.slot_mut(job) else { return };
        if slot.spec.service.is_none() || slot.catalog.wanted.is_none() {
            return;
        }
        let text = match status {
            ExitStatus::Code(code) => format!("process ended with status {code}"),
            ExitStatus::Signal(signal) => format!("process was ended by signal {signal}"),
        };
        slot.catalog.want(CheckStatus::Critical, text.into());
        self.pursue(job);
    }

    /// Maintenance: nothing is known of health, nothing is to be registered until a check passes
    /// again.
    pub(crate) fn forget_report(&mut self, job: JobId) {
        let Some(slot) = self.slot_mut(job) else { return };
        if slot.spec.service.is_some() {
            slot.catalog.wanted = None;
            slot.catalog.is_backing_off = false;
            self.pursue(job);
        }
    }

    /// Sends the next request that brings Consul nearer to what it should hold, if none is under
    /// way.
    pub(crate) fn pursue(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        if slot.catalog.in_flight.is_some() || slot.catalog.is_backing_off {
            return;
        }
        let Some(wanted) = self.wanted_registration(job, slot) else {
            if slot.catalog.may_be_there() && !self.is_named_again(slot) {
                let service = self.service_id(&slot.spec.name);
                self.send(job, Flight::Deregister, ConsulRequest::Deregister { service });
            }
            return;
        };
        if self.planted(Defect::BeatBeforeRegistration) && slot.catalog.registered.is_none() {
            let Some(slot) = self.slot_mut(job) else { return };
            slot.catalog.actual = Actual::Present;
            slot.catalog.registered = Some(Box::new(wanted.clone()));
        }
        let Some(slot) = self.slot(job) else { return };
        let catalog = &slot.catalog;
        let is_registered =
            catalog.actual == Actual::Present && catalog.registered.as_deref() == Some(&wanted);
        if !is_registered {
            let Some(slot) = self.slot_mut(job) else { return };
            slot.catalog.actual = Actual::Unclear;
            slot.catalog.registered = Some(Box::new(wanted.clone()));
            self.send(job, Flight::Register, ConsulRequest::Register(Box::new(wanted)));
        } else if catalog.reported_version != catalog.wanted_version
            && wanted.ttl.is_some()
            && let Some(status) = catalog.wanted
        {
            let version = catalog.wanted_version;
            let output = catalog.output.clone();
            let request = ConsulRequest::Report { check: wanted.check, status, output };
            self.send(job, Flight::Report { version }, request);
        }
    }

    /// Tells whether a job that was removed has come back: its service is that one's by now.
    fn is_named_again(&self, slot: &Slot) -> bool {
        let is_same = |other: &Slot| other.in_use && other.spec.name == slot.spec.name;
        !slot.in_use && self.slots.iter().any(is_same)
    }

    /// Gives what Consul should hold for a job; none when nothing.
    fn wanted_registration(&self, job: JobId, slot: &Slot) -> Option<Registration> {
        let service = slot.spec.service.as_ref()?;
        let status = slot.catalog.wanted?;
        let is_living = match slot.life {
            Life::Waiting | Life::Active | Life::BackingOff | Life::Draining => true,
            Life::Withdrawing | Life::Ending | Life::Ended(_) => false,
        };
        if !is_living || self.maintenance || !self.is_lock_held_for(job) {
            return None;
        }
        // What Consul itself took out because it was critical for too long stays out until it
        // works.
        let is_taken_out =
            slot.catalog.actual == Actual::Absent && slot.catalog.registered.is_some();
        let is_given_up = service.deregister_critical_after.is_some();
        if is_taken_out && is_given_up && status == CheckStatus::Critical {
            return None;
        }
        let id = self.service_id(&slot.spec.name);
        Some(Registration {
            check: format!("service:{id}").into(),
            id,
            name: slot.spec.name.clone(),
            address: service.address,
            port: service.port,
            tags: service.tags.clone(),
            meta: service.meta.clone(),
            enable_tag_override: service.enable_tag_override,
            ttl: slot.spec.health.as_ref().and_then(|health| health.ttl),
            // What a new check starts with must not make two registrations differ.
            status: service.initial_status.unwrap_or(CheckStatus::Critical),
            notes: format!("TTL for {} set by containerpilot", slot.spec.name).into(),
            deregister_critical_after: service.deregister_critical_after,
        })
    }

    fn service_id(&self, name: &str) -> Name {
        format!("{name}-{}", self.config.hostname).into()
    }

    fn send(&mut self, job: JobId, flight: Flight, request: ConsulRequest) {
        let timeout = limits::CONSUL_TIMEOUT;
        let Some(slot) = self.slot_mut(job) else { return };
        slot.catalog.nth = slot.catalog.nth.wrapping_add(1).max(1);
        slot.catalog.in_flight = Some(flight);
        let op = ConsulOp { owner: Owner::Job(job), nth: slot.catalog.nth };
        let overdue = self.now.mono + timeout + Duration::from_secs(1);
        self.timers.stop(job, Timer::Catalog);
        self.timers.arm(job, Timer::CatalogReply, overdue);
        self.out.push(Effect::Consul { op, request, timeout });
    }

    /// An answer is overdue even for the adapter: it counts as lost.
    pub(crate) fn on_catalog_overdue(&mut self, job: JobId) {
        let Some(slot) = self.slot(job) else { return };
        let reason = "no answer in time".into();
        let reply = ConsulReply::Failed(ConsulFailure::Unreachable(reason));
        self.on_catalog_reply(job, slot.catalog.nth, reply);
    }

    pub(crate) fn on_catalog_reply(&mut self, job: JobId, nth: u32, reply: ConsulReply) {
        let Some(slot) = self.slot_mut(job) else { return };
        if slot.catalog.nth != nth {
            return;
        }
        let Some(flight) = slot.catalog.in_flight.take() else { return };
        self.timers.stop(job, Timer::CatalogReply);
        match (flight, reply) {
            (Flight::Register, ConsulReply::Done) => self.on_registered(job),
            (Flight::Report { version }, ConsulReply::Done) => self.on_reported(job, version),
            (Flight::Report { version }, ConsulReply::Failed(ConsulFailure::Unknown))
                if self.planted(Defect::RegistrationLossIgnored) =>
            {
                self.on_reported(job, version);
            }
            (Flight::Deregister, ConsulReply::Done)
            | (Flight::Deregister, ConsulReply::Failed(ConsulFailure::Unknown)) => {
                self.on_deregistered(job);
            }
            (Flight::Report { .. }, ConsulReply::Failed(ConsulFailure::Unknown)) => {
                self.on_registration_lost(job);
            }
            (_, ConsulReply::Failed(failure)) => self.on_catalog_failed(job, failure),
            (
                _,
                ConsulReply::Instances { .. }
                | ConsulReply::Keys { .. }
                | ConsulReply::Session { .. }
                | ConsulReply::Acquired { .. }
                | ConsulReply::File(_),
            ) => {
                let failure = ConsulFailure::Garbled("not the answer that was asked for".into());
                self.on_catalog_failed(job, failure);
            }
        }
    }

    fn on_registered(&mut self, job: JobId) {
        self.note_catalog_works();
        let Some(slot) = self.slot_mut(job) else { return };
        slot.catalog.actual = Actual::Present;
        slot.catalog.wanted_version = slot.catalog.wanted_version.wrapping_add(1);
        let service = self.service_id_of(job);
        self.log(Level::Info, Some(job), Message::Registered { service });
        self.pursue(job);
    }

    fn on_reported(&mut self, job: JobId, version: u32) {
        self.note_catalog_works();
        let Some(slot) = self.slot_mut(job) else { return };
        slot.catalog.attempt = 0;
        slot.catalog.reported_version = version;
        let ttl = slot.spec.health.as_ref().and_then(|health| health.ttl);
        self.pursue(job);
        let is_idle = self.slot(job).is_some_and(|slot| slot.catalog.in_flight.is_none());
        if let Some(ttl) = ttl
            && is_idle
        {
            self.timers.arm(job, Timer::Catalog, self.now.mono + ttl / 3);
        }
    }

    fn on_deregistered(&mut self, job: JobId) {
        self.note_catalog_works();
        let service = self.service_id_of(job);
        self.log(Level::Info, Some(job), Message::Deregistered { service });
        let Some(slot) = self.slot_mut(job) else { return };
        slot.catalog.actual = Actual::Absent;
        slot.catalog.registered = None;
        slot.catalog.attempt = 0;
        if slot.life == Life::Withdrawing {
            self.on_withdrawn(job);
        } else {
            self.pursue(job);
        }
    }

    fn on_registration_lost(&mut self, job: JobId) {
        let service = self.service_id_of(job);
        self.log(Level::Warn, Some(job), Message::RegistrationLost { service });
        let Some(slot) = self.slot_mut(job) else { return };
        slot.catalog.actual = Actual::Absent;
        slot.catalog.attempt = slot.catalog.attempt.saturating_add(1);
        if slot.catalog.attempt > 1 {
            self.back_off_catalog(job);
        } else {
            self.pursue(job);
        }
        if self.slot(job).is_some_and(|slot| slot.life == Life::Withdrawing) {
            self.on_withdrawn(job);
        }
    }

    fn on_catalog_failed(&mut self, job: JobId, failure: ConsulFailure) {
        self.note_catalog_fails(failure);
        let Some(slot) = self.slot_mut(job) else { return };
        slot.catalog.attempt = slot.catalog.attempt.saturating_add(1);
        self.back_off_catalog(job);
    }

    fn back_off_catalog(&mut self, job: JobId) {
        let key = mix(
            u64::from(job.0) | 1 << 60,
            self.slot(job).map_or(0, |slot| u64::from(slot.catalog.nth)),
        );
        let attempt = self.slot(job).map_or(0, |slot| slot.catalog.attempt);
        let delay = catalog_delay(self.seed, key, attempt);
        if let Some(slot) = self.slot_mut(job) {
            slot.catalog.is_backing_off = true;
        }
        self.timers.arm(job, Timer::Catalog, self.now.mono + delay);
    }

    /// The catalog is to hear from a job again: a retry, or a report before the TTL runs out.
    pub(crate) fn on_catalog_due(&mut self, job: JobId) {
        let Some(slot) = self.slot_mut(job) else { return };
        slot.catalog.is_backing_off = false;
        slot.catalog.wanted_version = slot.catalog.wanted_version.wrapping_add(1);
        self.pursue(job);
    }

    /// Takes a stopping job out of the catalog; tells whether its process has to wait for that.
    pub(crate) fn withdraw(&mut self, job: JobId) -> bool {
        if self.planted(Defect::NotWithdrawn) {
            return false;
        }
        let Some(slot) = self.slot_mut(job) else { return false };
        if !slot.catalog.may_be_there() {
            return false;
        }
        slot.life = Life::Withdrawing;
        slot.catalog.is_backing_off = false;
        let budget = self.config.stop_timeout;
        let has_process = self.slot(job).is_some_and(|slot| slot.process != Process::None);
        let latest = self.latest_end(job);
        let now = self.now.mono;
        let until = (now + limits::DEREGISTER_MAX.min(budget / 2)).min(latest);
        // The process is to have most of the time that is left, be that the budget or a lock's.
        let room = latest.since(now).min(budget);
        let signal_at = (now + limits::WITHDRAW_MAX.min(room / 4)).min(until);
        if let Some(slot) = self.slot_mut(job) {
            slot.catalog.until = until;
        }
        self.timers.arm(job, Timer::Withdraw, if has_process { signal_at } else { until });
        self.pursue(job);
        true
    }

    /// Keeps a job whose process has gone until it is out of the catalog, or that was tried for
    /// long enough; tells whether it has to wait.
    pub(crate) fn await_deregistration(&mut self, job: JobId) -> bool {
        let now = self.now.mono;
        let Some(slot) = self.slot_mut(job) else { return false };
        let until = slot.catalog.until;
        if !slot.catalog.may_be_there() || now >= until {
            return false;
        }
        slot.life = Life::Withdrawing;
        self.timers.arm(job, Timer::Withdraw, until);
        true
    }

    /// Gives up on a deregistration that has not been answered.
    pub(crate) fn abandon_withdrawal(&mut self, job: JobId) {
        let is_there = self.slot(job).is_some_and(|slot| slot.catalog.may_be_there());
        if !is_there {
            return;
        }
        let service = self.service_id_of(job);
        self.log(Level::Warn, Some(job), Message::DeregistrationAbandoned { service });
    }

    fn service_id_of(&self, job: JobId) -> Name {
        self.slot(job).map_or_else(|| Name::from(""), |slot| self.service_id(&slot.spec.name))
    }

    pub(crate) fn note_catalog_works(&mut self) {
        if core::mem::replace(&mut self.is_catalog_failing, false) {
            self.log(Level::Info, None, Message::CatalogBack);
        }
    }

    pub(crate) fn note_catalog_fails(&mut self, failure: ConsulFailure) {
        if !core::mem::replace(&mut self.is_catalog_failing, true) {
            self.log(Level::Warn, None, Message::CatalogFails { failure });
        }
    }
}

/// Gives the wait after failures in a row: exponential, with a jitter of a quarter either way.
pub(crate) fn catalog_delay(seed: u64, key: u64, attempt: u32) -> Duration {
    let (first, most) = limits::CONSUL_BACKOFF;
    let doubled = first.saturating_mul(1 << attempt.saturating_sub(1).min(8));
    let delay = u64::try_from(doubled.min(most).as_nanos()).unwrap_or(u64::MAX);
    Duration::from_nanos(delay - delay / 4 + random::below(seed, key, delay / 2))
}
