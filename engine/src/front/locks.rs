//! Locks, and the inequalities that keep two holders apart.
//!
//! With A = demoteAfter, P = maxPause, g = stopTimeout, κ = the time from SIGKILL to the end of all
//! effects, T = ttl, δ = lockDelay, W = takeover and f = (1 + ρ) / (1 − ρ) for clocks that err by at
//! most ρ, the old holder's jobs have ended at most f·(A + P + g + κ) after its last renewal was sent.

use std::time::Duration;

use super::command::boxed;
use super::duration::show;
use super::fields::Fields;
use super::jobs::{duration_or_word, shared};
use super::json5::Node;
use super::keys::LOCK;
use super::problem::{LOCK_RISK, LOCK_UNSAFE, OUT_OF_RANGE, Problem, Problems};
use super::text::{At, Span};
use crate::config::{Lock, Takeover};
use crate::limits::{LOCK_KILL_EFFECT, LOCK_RETRY_WAIT};

/// A lock with the places that later checks point at.
#[derive(Clone, Debug)]
pub(crate) struct LockDraft {
    pub(crate) lock: Lock,
    pub(crate) name: At<String>,
    pub(crate) key: At<String>,
    pub(crate) healthy: Option<At<String>>,
}

/// The shortest TTL that Consul takes.
const TTL_MIN: Duration = Duration::from_secs(10);
/// The longest TTL that Consul takes.
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// The longest lock delay that Consul takes.
const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);

/// Reads one lock; `None` when it is no block.
pub(crate) fn lock(node: &Node, index: usize, problems: &mut Problems) -> Option<LockDraft> {
    let mut fields = Fields::open(node, &LOCK, format!("locks[{index}]"), problems)?;
    let nothing = At { value: String::new(), span: fields.opening() };
    let name = fields.text("name", problems).unwrap_or_else(|| nothing.clone());
    if !name.value.is_empty() {
        fields.owner = format!("lock \"{}\"", name.value);
    }
    let key = fields.text("key", problems).unwrap_or(nothing);
    let mut time = |name: &str, default_ms: u64| {
        let given = fields.duration(name, problems);
        given.unwrap_or(At { value: Duration::from_millis(default_ms), span: fields.opening() })
    };
    let figures = Figures {
        ttl: time("ttl", 20_000),
        lock_delay: time("lockDelay", 20_000),
        renew_every: time("renewEvery", 5_000),
        request_timeout: time("requestTimeout", 2_000),
        demote_after: time("demoteAfter", 13_000),
        stop_timeout: time("stopTimeout", 5_000),
        max_pause: time("maxPause", 1_000),
        hold_off: time("holdOff", 30_000),
    };
    let health_grace = time("healthGrace", 15_000);
    let drift = fields.whole("maxDrift", problems).map_or(1000, |at| at.value);
    let drift = u32::try_from(drift).unwrap_or(1000);
    let takeover = duration_or_word(&fields, "takeover", "auto", problems);
    let healthy = fields.text("healthy", problems);
    let risk_accepted = fields.flag("unsafe", problems).is_some_and(|at| at.value);
    figures.judge(&fields, drift, &takeover, risk_accepted, problems);
    let lock = Lock {
        name: shared(&name),
        key: Box::from(key.value.as_str()),
        ttl: figures.ttl.value,
        lock_delay: figures.lock_delay.value,
        renew_every: figures.renew_every.value,
        request_timeout: figures.request_timeout.value,
        demote_after: figures.demote_after.value,
        stop_timeout: figures.stop_timeout.value,
        max_pause: figures.max_pause.value,
        max_drift_ppm: drift,
        takeover: match takeover.and_then(|at| at.value) {
            Some(wait) => Takeover::After(wait),
            None => Takeover::Auto,
        },
        healthy: healthy.as_ref().map(shared),
        health_grace: health_grace.value,
        hold_off: figures.hold_off.value,
        value: boxed(fields.text("value", problems)),
        risk_accepted,
    };
    Some(LockDraft { lock, name, key, healthy })
}

struct Figures {
    ttl: At<Duration>,
    lock_delay: At<Duration>,
    renew_every: At<Duration>,
    request_timeout: At<Duration>,
    demote_after: At<Duration>,
    stop_timeout: At<Duration>,
    max_pause: At<Duration>,
    hold_off: At<Duration>,
}

impl Figures {
    /// Checks everything; each problem has the figures and the nearest value that would do.
    fn judge(
        &self,
        fields: &Fields<'_>,
        drift_ppm: u32,
        takeover: &Option<At<Option<Duration>>>,
        risk_accepted: bool,
        problems: &mut Problems,
    ) {
        self.judge_consul_limits(fields, problems);
        let rule = if risk_accepted { &LOCK_RISK } else { &LOCK_UNSAFE };
        let mut refuse = |span: Span, message: String, help: String| {
            problems.add(Problem::new(rule, span, message).help(help));
        };
        let owner = &fields.owner;
        let ended = self.ended_after(drift_ppm);
        let sum = self.sum_text(drift_ppm, ended);
        let [ttl, delay] = [&self.ttl, &self.lock_delay].map(|at| at.value);
        if ended > ttl + delay {
            let message = format!(
                "cannot keep two holders of {owner} apart when the session expires: the old one may run \
                 until {}, the next may start at {} (ttl {} + lockDelay {})",
                show(ended),
                show(ttl + delay),
                show(ttl),
                show(delay)
            );
            let help =
                format!("{sum}; use a lockDelay of at least {}", up(ended.saturating_sub(ttl)));
            refuse(self.lock_delay.span, message, help);
        }
        if ended > delay {
            let message = format!(
                "cannot keep two holders of {owner} apart when the session is destroyed: the old one may \
                 run until {}, the next may start after the lockDelay of {}",
                show(ended),
                show(delay)
            );
            refuse(self.lock_delay.span, message, self.delay_help(&sum, ended, drift_ppm));
        }
        if let Some(At { value: Some(wait), span }) = takeover
            && ended > *wait
        {
            let message = format!(
                "cannot keep two holders of {owner} apart when Consul loses its memory: the old one may run \
                 until {}, the next keeps quiet for {}",
                show(ended),
                show(*wait)
            );
            let help = format!("{sum}; use \"auto\" or at least {}", up(ended));
            refuse(*span, message, help);
        }
        let two_lost = self.renew_every.value
            + 2 * (self.request_timeout.value + LOCK_RETRY_WAIT)
            + self.request_timeout.value;
        if two_lost > self.demote_after.value {
            let message = format!(
                "cannot keep {owner} over two lost renewals: they take {}, demoteAfter is {}",
                show(two_lost),
                show(self.demote_after.value)
            );
            let help = format!(
                "renewEvery {} + 2 × (requestTimeout {} + wait {}) + requestTimeout {}; use a demoteAfter of \
                 at least {}",
                show(self.renew_every.value),
                show(self.request_timeout.value),
                show(LOCK_RETRY_WAIT),
                show(self.request_timeout.value),
                up(two_lost)
            );
            refuse(self.demote_after.span, message, help);
        }
        if self.renew_every.value * 3 > ttl {
            let message = format!(
                "cannot renew {owner} every {}: that is more than a third of its ttl of {}",
                show(self.renew_every.value),
                show(ttl)
            );
            refuse(self.renew_every.span, message, format!("use at most {}", show(ttl / 3)));
        }
        if self.hold_off.value < delay {
            let message = format!(
                "cannot stand for {owner} again after {}: others are kept out for {}",
                show(self.hold_off.value),
                show(delay)
            );
            refuse(
                self.hold_off.span,
                message,
                format!("use a holdOff of at least {}", show(delay)),
            );
        }
    }

    /// Refuses what Consul itself would refuse.
    fn judge_consul_limits(&self, fields: &Fields<'_>, problems: &mut Problems) {
        if !(TTL_MIN..=TTL_MAX).contains(&self.ttl.value) {
            let message =
                format!("cannot use a ttl of {} for {}", show(self.ttl.value), fields.owner);
            let help = "Consul takes 10s to 24h";
            problems.add(Problem::new(&OUT_OF_RANGE, self.ttl.span, message).help(help));
        }
        if self.lock_delay.value > LOCK_DELAY_MAX {
            let message = format!(
                "cannot use a lockDelay of {} for {}",
                show(self.lock_delay.value),
                fields.owner
            );
            problems.add(
                Problem::new(&OUT_OF_RANGE, self.lock_delay.span, message)
                    .help("Consul takes at most 1m0s"),
            );
        }
    }

    /// Gives f·(A + P + g + κ), rounded up to the nanosecond.
    fn ended_after(&self, drift_ppm: u32) -> Duration {
        let sum = self.demote_after.value
            + self.max_pause.value
            + self.stop_timeout.value
            + LOCK_KILL_EFFECT;
        let drift = u128::from(drift_ppm);
        let nanos = (sum.as_nanos() * (1_000_000 + drift)).div_ceil(1_000_000 - drift);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn sum_text(&self, drift_ppm: u32, ended: Duration) -> String {
        format!(
            "demoteAfter {} + maxPause {} + stopTimeout {} + kill {}, with clocks {drift_ppm} ppm off, are {}",
            show(self.demote_after.value),
            show(self.max_pause.value),
            show(self.stop_timeout.value),
            show(LOCK_KILL_EFFECT),
            show(ended)
        )
    }

    /// Says which lockDelay would do, or, when Consul takes none so long, which demoteAfter.
    fn delay_help(&self, sum: &str, ended: Duration, drift_ppm: u32) -> String {
        if up_seconds(ended) <= LOCK_DELAY_MAX {
            return format!("{sum}; use a lockDelay of at least {}", up(ended));
        }
        let drift = u128::from(drift_ppm);
        let allowed = LOCK_DELAY_MAX.as_nanos() * (1_000_000 - drift) / (1_000_000 + drift);
        let allowed = Duration::from_nanos(u64::try_from(allowed).unwrap_or(u64::MAX));
        let others = self.max_pause.value + self.stop_timeout.value + LOCK_KILL_EFFECT;
        match allowed.checked_sub(others) {
            Some(rest) if rest.as_millis() > 0 => {
                let rest = Duration::from_secs(rest.as_secs());
                format!(
                    "{sum}; use a demoteAfter of at most {} with a lockDelay of 1m0s",
                    show(rest)
                )
            }
            _ => format!("{sum}; use a shorter stopTimeout"),
        }
    }
}

/// Rounds up to a tenth of a second: nobody writes more digits.
fn up(duration: Duration) -> String {
    let tenths = duration.as_nanos().div_ceil(100_000_000);
    show(Duration::from_millis(u64::try_from(tenths).unwrap_or(u64::MAX).saturating_mul(100)))
}

fn up_seconds(duration: Duration) -> Duration {
    Duration::from_secs(u64::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u64::MAX))
}
