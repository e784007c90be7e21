//! The inequalities that keep two holders of a lock apart.
//!
//! With A = demoteAfter, P = maxPause, g = stopTimeout, κ = the time from SIGKILL to the end of all
//! effects, T = ttl, δ = lockDelay, W = takeover and f = (1 + ρ) / (1 − ρ) for clocks that err by
//! at most ρ, the old holder's jobs have ended at most f·(A + P + g + κ) after its last renewal was
//! sent.

use std::time::Duration;

use super::duration::show;
use super::problem::{LOCK_RISK, LOCK_UNSAFE, OUT_OF_RANGE, Problem, Problems, Rule};
use super::text::{At, Span};
use crate::limits::{KILL_LATENCY, LOCK_RETRY_WAIT};

/// The shortest TTL that Consul takes.
const TTL_MIN: Duration = Duration::from_secs(10);
/// The longest TTL that Consul takes.
const TTL_MAX: Duration = Duration::from_secs(86_400);
/// The longest lock delay that Consul takes.
const LOCK_DELAY_MAX: Duration = Duration::from_secs(60);

/// The figures of one lock, each with its place.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) ttl: At<Duration>,
    pub(crate) lock_delay: At<Duration>,
    pub(crate) renew_every: At<Duration>,
    pub(crate) request_timeout: At<Duration>,
    pub(crate) demote_after: At<Duration>,
    pub(crate) stop_timeout: At<Duration>,
    pub(crate) max_pause: At<Duration>,
    pub(crate) hold_off: At<Duration>,
    pub(crate) drift_ppm: u32,
}

/// Whose figures they are, and where to say what is wrong with them.
struct Court<'a> {
    owner: &'a str,
    rule: &'static Rule,
    problems: &'a mut Problems,
}

impl Court<'_> {
    fn refuse(&mut self, span: Span, message: String, help: String) {
        self.problems.add(Problem::new(self.rule, span, message).help(help));
    }
}

impl Figures {
    /// Checks everything; each problem has the figures and the nearest value that would do.
    pub(crate) fn judge(
        &self,
        owner: &str,
        takeover: &Option<At<Option<Duration>>>,
        risk_accepted: bool,
        problems: &mut Problems,
    ) {
        self.judge_consul_limits(owner, problems);
        let rule = if risk_accepted { &LOCK_RISK } else { &LOCK_UNSAFE };
        let mut court = Court { owner, rule, problems };
        self.judge_expiry(&mut court);
        self.judge_destruction(&mut court);
        if let Some(At { value: Some(wait), span }) = takeover {
            self.judge_takeover(*wait, *span, &mut court);
        }
        self.judge_lost_renewals(&mut court);
        self.judge_periods(&mut court);
    }

    /// Refuses what Consul itself would refuse.
    fn judge_consul_limits(&self, owner: &str, problems: &mut Problems) {
        let mut refuse = |at: &At<Duration>, name: &str, help: &str| {
            let message = format!("cannot use a {name} of {} for {owner}", show(at.value));
            problems.add(Problem::new(&OUT_OF_RANGE, at.span, message).help(help));
        };
        if !(TTL_MIN..=TTL_MAX).contains(&self.ttl.value) {
            refuse(&self.ttl, "ttl", "Consul takes 10s to 24h");
        }
        if self.lock_delay.value > LOCK_DELAY_MAX {
            refuse(&self.lock_delay, "lockDelay", "Consul takes at most 60s");
        }
    }

    /// I1: the session expires by its TTL.
    fn judge_expiry(&self, court: &mut Court<'_>) {
        let ended = self.ended_after();
        let free = self.ttl.value + self.lock_delay.value;
        if ended <= free {
            return;
        }
        let message = format!(
            "cannot keep two holders of {} apart when the session expires: the old one may run \
             until {}, \
             the next may start at {} (ttl {} + lockDelay {})",
            court.owner,
            round(ended),
            show(free),
            show(self.ttl.value),
            show(self.lock_delay.value)
        );
        let help = self.help(ended.saturating_sub(self.ttl.value));
        court.refuse(self.lock_delay.span, message, help);
    }

    /// I2: the session is lost by anything else, perhaps right after a renewal.
    fn judge_destruction(&self, court: &mut Court<'_>) {
        let ended = self.ended_after();
        if ended <= self.lock_delay.value {
            return;
        }
        let message = format!(
            "cannot keep two holders of {} apart when the session is destroyed: the old one may \
             run until \
             {}, the next may start after the lockDelay of {}",
            court.owner,
            round(ended),
            show(self.lock_delay.value)
        );
        court.refuse(self.lock_delay.span, message, self.help(ended));
    }

    /// I3: Consul loses its memory; only the taker's own patience counts.
    fn judge_takeover(&self, wait: Duration, span: Span, court: &mut Court<'_>) {
        let ended = self.ended_after();
        if ended <= wait {
            return;
        }
        let message = format!(
            "cannot keep two holders of {} apart when Consul loses its memory: the old one may run \
             until \
             {}, the next keeps quiet for {}",
            court.owner,
            round(ended),
            show(wait)
        );
        let help = format!("{}; use \"auto\" or at least {}", self.sum(), up(ended));
        court.refuse(span, message, help);
    }

    /// I4: two renewals may be lost without a needless end of the term.
    fn judge_lost_renewals(&self, court: &mut Court<'_>) {
        let [renew, request] = [&self.renew_every, &self.request_timeout].map(|at| at.value);
        let needed = renew + 2 * (request + LOCK_RETRY_WAIT) + request;
        if needed <= self.demote_after.value {
            return;
        }
        let message = format!(
            "cannot keep {} over two lost renewals: they take {}, demoteAfter is {}",
            court.owner,
            show(needed),
            show(self.demote_after.value)
        );
        let help = format!(
            "renewEvery {} + 2 × (requestTimeout {} + wait {}) + requestTimeout {}; use a \
             demoteAfter of \
             at least {}",
            show(renew),
            show(request),
            show(LOCK_RETRY_WAIT),
            show(request),
            up(needed)
        );
        court.refuse(self.demote_after.span, message, help);
    }

    /// I5: how the periods stand to each other.
    fn judge_periods(&self, court: &mut Court<'_>) {
        if self.renew_every.value * 3 > self.ttl.value {
            let message = format!(
                "cannot renew {} every {}: that is more than a third of its ttl of {}",
                court.owner,
                show(self.renew_every.value),
                show(self.ttl.value)
            );
            let help = format!("use at most {}", down(self.ttl.value / 3));
            court.refuse(self.renew_every.span, message, help);
        }
        if self.hold_off.value < self.lock_delay.value {
            let message = format!(
                "cannot stand for {} again after {}: others are kept out for {}",
                court.owner,
                show(self.hold_off.value),
                show(self.lock_delay.value)
            );
            let help = format!("use a holdOff of at least {}", show(self.lock_delay.value));
            court.refuse(self.hold_off.span, message, help);
        }
    }

    /// Gives f·(A + P + g + κ), rounded up to the nanosecond.
    fn ended_after(&self) -> Duration {
        let sum =
            self.demote_after.value + self.max_pause.value + self.stop_timeout.value + KILL_LATENCY;
        let drift = u128::from(self.drift_ppm);
        let nanos = (sum.as_nanos() * (1_000_000 + drift)).div_ceil(1_000_000 - drift);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// Shows how the end is counted.
    fn sum(&self) -> String {
        format!(
            "demoteAfter {} + maxPause {} + stopTimeout {} + kill {}, with clocks {} ppm off, are \
             {}",
            show(self.demote_after.value),
            show(self.max_pause.value),
            show(self.stop_timeout.value),
            show(KILL_LATENCY),
            self.drift_ppm,
            round(self.ended_after())
        )
    }

    /// Says which lockDelay would do, or, when Consul takes none so long, which demoteAfter.
    fn help(&self, needed: Duration) -> String {
        let sum = self.sum();
        if needed <= LOCK_DELAY_MAX {
            return format!("{sum}; use a lockDelay of at least {}", up(needed));
        }
        let drift = u128::from(self.drift_ppm);
        let allowed = LOCK_DELAY_MAX.as_nanos() * (1_000_000 - drift) / (1_000_000 + drift);
        let allowed = Duration::from_nanos(u64::try_from(allowed).unwrap_or(u64::MAX));
        let others = self.max_pause.value + self.stop_timeout.value + KILL_LATENCY;
        match allowed.checked_sub(others).filter(|rest| rest.as_secs() > 0) {
            Some(rest) => {
                format!(
                    "{sum}; use a demoteAfter of at most {} with a lockDelay of 60s",
                    down(rest)
                )
            }
            None => format!("{sum}; use a shorter stopTimeout"),
        }
    }
}

/// Rounds up to a tenth of a second: nobody writes more digits.
fn up(duration: Duration) -> String {
    show(in_steps(duration, 100, u128::div_ceil))
}

/// Rounds down to a tenth of a second.
fn down(duration: Duration) -> String {
    show(in_steps(duration, 100, |nanos, step| nanos / step))
}

/// Rounds up to a hundredth of a second, for figures that are only shown.
fn round(duration: Duration) -> String {
    show(in_steps(duration, 10, u128::div_ceil))
}

fn in_steps(duration: Duration, millis: u64, divide: fn(u128, u128) -> u128) -> Duration {
    let steps = divide(duration.as_nanos(), u128::from(millis) * 1_000_000);
    Duration::from_millis(u64::try_from(steps).unwrap_or(u64::MAX).saturating_mul(millis))
}
