//! Watches: blocking queries with Consul's index rules, events on the edge, the last good set kept.
//!
//! The rules come from Consul's documentation of blocking queries: an index that goes back starts
//! again at zero, a zero counts as one. After a failure the next query does not block, so that a
//! change missed meanwhile shows at once.

use alloc::boxed::Box;
use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::canonical;
use crate::config::{Watch, WatchTarget};
use crate::consul::{ConsulFailure, ConsulOp, ConsulReply, ConsulRequest, Owner, Reading};
use crate::defect::Defect;
use crate::effect::{Effect, Level, Message};
use crate::engine::{Engine, Stage};
use crate::event::{Code, Source};
use crate::id::WatchId;
use crate::limits;
use crate::random::mix;
use crate::registration::catalog_delay;
use crate::time::Time;
use crate::timers::WatchTimer;
use crate::variable;

/// One watch's state.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct WatchState {
    pub(crate) spec: Watch,
    nth: u32,
    is_asking: bool,
    asked_at: Time,
    index: u64,
    attempt: u32,
    is_failing: bool,
    is_stale: bool,
    /// What was announced last.
    announced: Option<Reading>,
    /// What was read last and has to stay the same for a while.
    settling: Option<Reading>,
    /// Since when it differs from what was announced, while it is settling.
    restless_since: Time,
    hash: u64,
}

impl WatchState {
    pub(crate) fn new(spec: Watch) -> WatchState {
        WatchState {
            spec,
            nth: 0,
            is_asking: false,
            asked_at: Time(0),
            index: 0,
            attempt: 0,
            is_failing: false,
            is_stale: false,
            announced: None,
            settling: None,
            restless_since: Time(0),
            hash: 0,
        }
    }

    /// Tells how many instances or keys it has seen last; none before the first reading.
    pub(crate) fn count(&self) -> Option<u32> {
        let count = self.announced.as_ref().map(|reading| reading.count());
        count.map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Tells whether it has been out of reach for longer than allowed.
    pub(crate) fn is_stale(&self) -> bool {
        self.is_stale
    }

    /// Tells whether the watched set is not empty; none before the first reading.
    pub(crate) fn is_healthy(&self) -> Option<bool> {
        self.announced.as_ref().map(|reading| reading.count() > 0)
    }

    fn fingerprint(&self, watch: WatchId) -> u64 {
        let flags = u64::from(self.is_asking)
            | u64::from(self.is_failing) << 1
            | u64::from(self.is_stale) << 2
            | u64::from(self.attempt) << 8
            | u64::from(watch.0) << 48;
        let mut hash = mix(flags, self.index);
        hash = mix(hash, u64::from(self.nth) ^ self.asked_at.0.rotate_left(20));
        hash = mix(hash, self.announced.as_ref().map_or(0, digest_of));
        let settling = |reading| mix(digest_of(reading), self.restless_since.0);
        mix(hash, self.settling.as_ref().map_or(0, settling))
    }

    /// Gives a hash that leaves out names of requests and counts from `now`.
    pub(crate) fn canonical(&self, now: Time) -> u64 {
        let WatchState {
            spec: _,
            nth: _,
            is_asking,
            asked_at,
            index,
            attempt,
            is_failing,
            is_stale,
            announced,
            settling,
            restless_since,
            hash: _,
        } = self;
        let flags = u64::from(*is_asking)
            | u64::from(*is_failing) << 1
            | u64::from(*is_stale) << 2
            | u64::from((*attempt).min(canonical::STEPS_TOLD_APART)) << 8;
        let asked = if *is_asking { canonical::ago(*asked_at, now) } else { 0 };
        let mut hash = mix(mix(flags, *index), asked);
        hash = mix(hash, announced.as_ref().map_or(0, digest_of));
        let told = |reading| mix(digest_of(reading), canonical::ago(*restless_since, now));
        mix(hash, settling.as_ref().map_or(0, told))
    }
}

impl Engine {
    /// Puts the watches of a configuration in place; one that is the same goes on with what it
    /// knows.
    pub(crate) fn adopt_watches(&mut self) {
        let old = core::mem::take(&mut self.watches);
        for index in 0..old.len() {
            self.timers.stop_all_of_watch(WatchId(index as u16));
        }
        let specs = self.config.watches.clone();
        for spec in specs {
            let kept = old.iter().find(|state| state.spec == spec);
            let mut state = kept.cloned().unwrap_or_else(|| WatchState::new(spec));
            // Its place may have changed: what was asked under the old one is asked again.
            state.is_asking = false;
            state.nth = state.nth.wrapping_add(1);
            state.index = 0;
            self.watches.push(state);
        }
        self.settle_watches();
        if self.stage == Stage::Running {
            self.begin_watches();
        }
    }

    /// Asks for the first time, at once.
    pub(crate) fn begin_watches(&mut self) {
        for index in 0..self.watches.len() {
            self.ask(WatchId(index as u16));
        }
    }

    pub(crate) fn watch_state(&self, watch: WatchId) -> Option<&WatchState> {
        self.watches.get(watch.index())
    }

    pub(crate) fn on_watch_timer(&mut self, watch: WatchId, timer: WatchTimer) {
        match timer {
            WatchTimer::Ask => self.ask(watch),
            WatchTimer::Reply => {
                let Some(state) = self.watch_state(watch) else { return };
                let failure = ConsulFailure::Unreachable("no answer in time".into());
                self.on_watch_reply(watch, state.nth, ConsulReply::Failed(failure));
            }
            WatchTimer::Settle => self.on_settled(watch),
            WatchTimer::Stale => self.on_stale(watch),
        }
        self.settle_watch(watch);
    }

    fn ask(&mut self, watch: WatchId) {
        if self.stage != Stage::Running {
            return;
        }
        let now = self.now.mono;
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        let (request, wait) = request_of(state);
        state.nth = state.nth.wrapping_add(1).max(1);
        state.is_asking = true;
        state.asked_at = now;
        let op = ConsulOp { owner: Owner::Watch(watch), nth: state.nth };
        // Consul adds up to a sixteenth to a wait (measured: 17/16 is never exceeded).
        let timeout = limits::CONSUL_TIMEOUT + wait + wait / 16;
        let overdue = now + timeout + Duration::from_secs(1);
        self.timers.arm_watch(watch, WatchTimer::Reply, overdue);
        self.out.push(Effect::Consul { op, request, timeout });
        self.settle_watch(watch);
    }

    pub(crate) fn on_watch_reply(&mut self, watch: WatchId, nth: u32, reply: ConsulReply) {
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        if state.nth != nth || !state.is_asking {
            return;
        }
        state.is_asking = false;
        self.timers.stop_watch(watch, WatchTimer::Reply);
        match reply {
            ConsulReply::Instances { index, mut instances } => {
                instances.sort_unstable();
                for instance in &mut instances {
                    instance.tags.sort_unstable();
                }
                self.on_read(watch, index, Reading::Instances(instances));
            }
            ConsulReply::Keys { index, entries } => {
                self.on_read(watch, index, Reading::Keys(entries));
            }
            ConsulReply::File(file) => self.on_read(watch, 0, Reading::File(file)),
            ConsulReply::Done | ConsulReply::Session { .. } | ConsulReply::Acquired { .. } => {
                let failure = ConsulFailure::Garbled("not the answer that was asked for".into());
                self.on_read_failed(watch, failure);
            }
            ConsulReply::Failed(failure) => self.on_read_failed(watch, failure),
        }
        self.settle_watch(watch);
    }

    fn on_read(&mut self, watch: WatchId, index: u64, reading: Reading) {
        let is_file = matches!(reading, Reading::File(_));
        if !is_file {
            self.note_catalog_works();
        }
        let now = self.now.mono;
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        let is_going_back = index < state.index;
        let is_news = index != state.index;
        state.index = if is_going_back { 0 } else { index.max(1) };
        state.attempt = 0;
        state.is_failing = false;
        state.is_stale = false;
        let pause = if is_news { Duration::ZERO } else { limits::WATCH_PAUSE };
        // A file does not wait for a change: it is looked at every so often.
        let pause = if is_file { state.spec.interval } else { pause };
        let next = now.max(state.asked_at + pause.max(limits::WATCH_SPACING));
        self.timers.stop_watch(watch, WatchTimer::Stale);
        self.timers.arm_watch(watch, WatchTimer::Ask, next);
        self.consider(watch, reading);
    }

    /// Announces a reading that differs, at once or when it has stayed the same for long enough. A
    /// set that never does is announced all the same, after four times as long: consul-template's
    /// bound for its `wait`.
    fn consider(&mut self, watch: WatchId, reading: Reading) {
        let now = self.now.mono;
        let is_silent = self.planted(Defect::FirstReadingSilent);
        let is_known = self.is_known(watch, &reading);
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        if is_known {
            state.settling = None;
            self.timers.stop_watch(watch, WatchTimer::Settle);
        } else if is_silent && state.announced.is_none() {
            state.announced = Some(reading);
        } else if state.spec.settle.is_zero() || state.announced.is_none() {
            self.announce(watch, reading);
        } else if state.settling.as_ref() != Some(&reading) {
            if state.settling.replace(reading).is_none() {
                state.restless_since = now;
            }
            let settle = state.spec.settle;
            let latest = state.restless_since + settle.saturating_mul(limits::SETTLES_MAX);
            self.timers.arm_watch(watch, WatchTimer::Settle, (now + settle).min(latest));
        }
    }

    /// Tells whether a reading is what was announced last.
    fn is_known(&self, watch: WatchId, reading: &Reading) -> bool {
        let Some(state) = self.watch_state(watch) else { return true };
        let mut announced = state.announced.as_ref();
        if self.planted(Defect::TagsShareMemory) {
            let of_service = |other: &&WatchState| match (&other.spec.target, &state.spec.target) {
                (
                    WatchTarget::Service { name, tag },
                    WatchTarget::Service { name: own, tag: own_tag },
                ) => name == own && tag != own_tag && other.announced.is_some(),
                (_, _) => false,
            };
            let other = self.watches.iter().find(of_service);
            announced = other.map_or(announced, |other| other.announced.as_ref());
        }
        match announced {
            _ if self.planted(Defect::EveryReadingIsAChange) => false,
            Some(before) if self.planted(Defect::OnlyAddressesCompared) => {
                summary_of(before) == summary_of(reading)
            }
            before => before == Some(reading),
        }
    }

    fn on_settled(&mut self, watch: WatchId) {
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        if let Some(reading) = state.settling.take() {
            self.announce(watch, reading);
        }
    }

    fn announce(&mut self, watch: WatchId, reading: Reading) {
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        let was_healthy = state.is_healthy();
        let is_healthy = reading.count() > 0;
        let count = u32::try_from(reading.count()).unwrap_or(u32::MAX);
        state.announced = Some(reading.clone());
        state.settling = None;
        let name = state.spec.name.clone();
        // What the reactions start from: nobody has to ask again.
        let variable = variable::watch(&name);
        self.set_variable(variable, summary_of(&reading));
        self.out.push(Effect::Snapshot { watch: name.clone(), reading: Arc::new(reading) });
        self.log(Level::Info, None, Message::WatchChanged { watch: name, count });
        self.publish(Code::Changed, Source::Watch(watch));
        if was_healthy != Some(is_healthy) {
            let code = if is_healthy { Code::Healthy } else { Code::Unhealthy };
            self.publish(code, Source::Watch(watch));
        }
    }

    fn on_read_failed(&mut self, watch: WatchId, failure: ConsulFailure) {
        let is_file = self
            .watch_state(watch)
            .is_some_and(|state| matches!(state.spec.target, WatchTarget::File(_)));
        if !is_file {
            self.note_catalog_fails(failure);
        }
        if !is_file && self.planted(Defect::UnreachableIsEmpty) {
            self.consider(watch, Reading::Instances(Vec::new()));
        }
        let (seed, now) = (self.seed, self.now.mono);
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        state.attempt = state.attempt.saturating_add(1);
        state.index = 0;
        let key = mix(u64::from(watch.0) | 2 << 60, u64::from(state.nth));
        let delay = catalog_delay(seed, key, state.attempt);
        let is_first = !core::mem::replace(&mut state.is_failing, true);
        if let Some(stale) = state.spec.stale
            && is_first
        {
            self.timers.arm_watch(watch, WatchTimer::Stale, now + stale);
        }
        self.timers.arm_watch(watch, WatchTimer::Ask, now + delay);
    }

    fn on_stale(&mut self, watch: WatchId) {
        if self.planted(Defect::StaleNeverSaid) {
            return;
        }
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        if !state.is_failing || core::mem::replace(&mut state.is_stale, true) {
            return;
        }
        let name = state.spec.name.clone();
        self.log(Level::Warn, None, Message::WatchStale { watch: name });
        self.publish(Code::Stale, Source::Watch(watch));
    }

    /// Nobody starts because of a watch any more.
    pub(crate) fn end_watches(&mut self) {
        for index in 0..self.watches.len() {
            self.timers.stop_all_of_watch(WatchId(index as u16));
        }
    }

    fn settle_watches(&mut self) {
        self.watches_digest = 0;
        for index in 0..self.watches.len() {
            self.watches[index].hash = 0;
            self.settle_watch(WatchId(index as u16));
        }
    }

    fn settle_watch(&mut self, watch: WatchId) {
        let Some(state) = self.watches.get_mut(watch.index()) else { return };
        let hash = state.fingerprint(watch);
        self.watches_digest ^= core::mem::replace(&mut state.hash, hash) ^ hash;
    }
}

/// Builds the next query of a watch, and how long it may block.
fn request_of(state: &WatchState) -> (ConsulRequest, Duration) {
    let index = state.index;
    let wait = if index == 0 { Duration::ZERO } else { limits::WATCH_WAIT };
    let dc = state.spec.dc.clone();
    let keys = |key: &str, recurse: bool| ConsulRequest::Keys {
        key: key.into(),
        recurse,
        dc: dc.clone(),
        index,
        wait,
    };
    let request = match &state.spec.target {
        WatchTarget::Service { name, tag } => ConsulRequest::Instances {
            service: name.clone(),
            tag: tag.clone(),
            dc: dc.clone(),
            passing: true,
            index,
            wait,
        },
        WatchTarget::Key(key) => keys(key, false),
        WatchTarget::Prefix(prefix) => keys(prefix, true),
        WatchTarget::File(path) => {
            return (ConsulRequest::File { path: path.clone() }, Duration::ZERO);
        }
    };
    (request, wait)
}

/// Gives a reading as a variable holds it: addresses with ports, or a key's value; nothing for what
/// would be too long for an environment (the file has it).
fn summary_of(reading: &Reading) -> Option<Box<str>> {
    let text = match reading {
        Reading::Instances(instances) => {
            let addresses = instances.iter().map(|instance| match instance.address.contains(':') {
                true => format!("[{}]:{}", instance.address, instance.port),
                false => format!("{}:{}", instance.address, instance.port),
            });
            addresses.collect::<Vec<_>>().join(" ")
        }
        Reading::Keys(entries) => {
            let values = entries.iter().map(|entry| crate::base64::decode_text(&entry.value));
            values.collect::<Vec<_>>().join(" ")
        }
        Reading::File(file) => file.map(|file| format!("{} bytes", file.size)).unwrap_or_default(),
    };
    let fits = text.len() <= limits::SUMMARY_BYTES && !text.contains('\0');
    fits.then(|| text.into_boxed_str())
}

/// Hashes a reading with fixed-width words only, so that it is the same on every machine.
fn digest_of(reading: &Reading) -> u64 {
    let bytes = |hash: u64, text: &str| {
        let hash = text.as_bytes().chunks(8).fold(hash, |hash, chunk| {
            let mut word = [0u8; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            mix(hash, u64::from_le_bytes(word))
        });
        mix(hash, text.len() as u64)
    };
    match reading {
        Reading::Instances(instances) => instances.iter().fold(1, |hash, instance| {
            let mut hash = bytes(bytes(hash, &instance.node), &instance.id);
            hash = bytes(hash, &instance.address);
            for tag in &instance.tags {
                hash = bytes(hash, tag);
            }
            for (key, value) in &instance.meta {
                hash = bytes(bytes(hash, key), value);
            }
            let weights = u64::from(instance.weights.0) << 32 | u64::from(instance.weights.1);
            mix(mix(hash, weights ^ u64::from(instance.port).rotate_left(16)), instance.created)
        }),
        Reading::File(file) => file.map_or(3, |file| mix(file.hash, file.size)),
        Reading::Keys(entries) => entries.iter().fold(2, |hash, entry| {
            let hash = bytes(bytes(hash, &entry.key), &entry.value);
            let hash = bytes(hash, entry.session.as_deref().unwrap_or(""));
            mix(hash, entry.modified)
        }),
    }
}
