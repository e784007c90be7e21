//! What holds now, what can still happen, and what the calendar says.

use steersman_engine::Code;
use steersman_engine::config::{Clause, Repeat, Restarts, Trigger};

use super::job::{Life, Who, clauses, is_stop_code};
use super::ledger::{Ledger, Stage};

const MINUTE_MS: i64 = 60_000;

impl Ledger {
    pub(super) fn all_hold(&self, job: usize) -> bool {
        let list = clauses(&self.jobs[job].spec.trigger);
        list.iter().enumerate().all(|(nth, clause)| self.holds(job, nth, clause))
    }

    /// Tells whether a condition holds now, as a state; one that is no state holds once seen.
    pub(super) fn holds(&self, job: usize, nth: usize, clause: &Clause) -> bool {
        let was_seen = self.jobs[job].seen & 1 << nth.min(63) != 0;
        let who = self.resolve(&clause.source);
        let of = match who {
            Some(Who::Job(of)) => Some(&self.jobs[of]),
            _ => None,
        };
        if let Some(Who::Watch(watch)) = who
            && matches!(clause.code, Code::Healthy | Code::Unhealthy)
        {
            let is_there = self.watch_views.get(usize::from(watch)).and_then(|it| it.is_there());
            return is_there == Some(clause.code == Code::Healthy);
        }
        match (clause.code, of) {
            (Code::Startup, _) => self.stage != Stage::New,
            (Code::Shutdown, _) => self.stage == Stage::Stopping,
            (Code::EnterMaintenance, _) => self.maintenance,
            (Code::ExitMaintenance, _) => !self.maintenance && was_seen,
            (Code::Healthy, Some(of)) => of.health == Some(true),
            (Code::Unhealthy, Some(of)) => of.health == Some(false),
            (Code::ExitSuccess, Some(of)) => of.last_exit.is_some_and(|exit| exit.is_success()),
            (Code::ExitFailed, Some(of)) => of.last_exit.is_some_and(|exit| !exit.is_success()),
            (Code::Stopping, Some(of)) => matches!(of.life, Life::Stopping(..)),
            (Code::Stopped, Some(of)) => of.life == Life::Ended(false),
            (Code::Skipped, Some(of)) => of.life == Life::Ended(true),
            _ => was_seen,
        }
    }

    /// Tells whether a waiting job may still start.
    pub(super) fn can_start(&self, job: usize) -> bool {
        let view = &self.jobs[job];
        let is_possible = |clause: &Clause| {
            let is_used = clause.repeat == Repeat::Once && view.starts > 0;
            !is_used && self.can_happen(clause)
        };
        let list = clauses(&view.spec.trigger);
        match &view.spec.trigger {
            Trigger::Startup => view.starts == 0,
            Trigger::On(_) | Trigger::Any(_) => list.iter().any(is_possible),
            Trigger::All(_) => {
                let mut each = list.iter().enumerate();
                each.all(|(nth, clause)| self.holds(job, nth, clause) || is_possible(clause))
            }
            Trigger::Interval(_) => view.starts == 0 || view.restarts_left != Restarts::Limited(0),
            Trigger::Schedule(_) => self.stage != Stage::Stopping,
        }
    }

    /// Tells whether a waiting job certainly can never start. Of several conditions one that was
    /// used may hold again, and nobody looks at the moment when it no longer does.
    pub(super) fn can_never_start(&self, job: usize) -> bool {
        let view = &self.jobs[job];
        let Trigger::All(list) = &view.spec.trigger else { return !self.can_start(job) };
        let mut each = list.iter().enumerate();
        each.any(|(nth, clause)| !self.holds(job, nth, clause) && !self.can_happen(clause))
    }

    fn can_happen(&self, clause: &Clause) -> bool {
        let is_stopping = self.stage == Stage::Stopping;
        if is_stopping && !is_stop_code(clause.code) {
            return false;
        }
        match self.resolve(&clause.source) {
            None => false,
            // What ended with a lock's term comes back with the next one, or without the lock.
            Some(Who::Job(of) | Who::Check(of)) => {
                let view = &self.jobs[of];
                !view.has_ended() || view.has_lock() && !is_stopping
            }
            Some(Who::Global) => match clause.code {
                Code::Startup => self.stage == Stage::New,
                Code::Shutdown => !is_stopping,
                _ => true,
            },
            Some(Who::Watch(_) | Who::Lock(_) | Who::Signal(_)) => true,
        }
    }
}

/// Tells whether one of the minutes that a schedule names began after one instant and not after
/// another.
pub(super) fn has_come(trigger: &Trigger, after_ms: i64, until_ms: i64) -> bool {
    let Trigger::Schedule(schedule) = trigger else { return false };
    let from = after_ms.div_euclid(MINUTE_MS) + 1;
    let to = until_ms.div_euclid(MINUTE_MS);
    // Nobody waits longer than a day in a simulation; beyond that any answer would be a guess.
    if to.saturating_sub(from) > 24 * 60 {
        return true;
    }
    (from..=to).any(|minute| {
        let (month, day, weekday) = civil(minute.div_euclid(24 * 60));
        let of_day = minute.rem_euclid(24 * 60);
        let has_minute = schedule.minutes >> (of_day % 60) & 1 == 1;
        let has_hour = schedule.hours >> (of_day / 60) & 1 == 1;
        let has_month = schedule.months >> month & 1 == 1;
        let has_day = schedule.days >> day & 1 == 1;
        let has_weekday = schedule.weekdays >> weekday & 1 == 1;
        let is_day = match schedule.either_day {
            true => has_day || has_weekday,
            false => has_day && has_weekday,
        };
        has_minute && has_hour && has_month && is_day
    })
}

/// Gives month, day of the month and day of the week (0 is Sunday) of a day counted from 1970.
fn civil(days: i64) -> (u32, u32, u32) {
    let weekday = (days + 4).rem_euclid(7);
    let mut left = days;
    let mut year = 1970;
    let is_leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = |year: i64| if is_leap(year) { 366 } else { 365 };
    while left < 0 {
        year -= 1;
        left += length(year);
    }
    while left >= length(year) {
        left -= length(year);
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    for days in lengths {
        if left < days {
            break;
        }
        left -= days;
        month += 1;
    }
    let small = |value: i64| u32::try_from(value).unwrap_or(0);
    (month + 1, small(left) + 1, small(weekday))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_knows_leap_days_and_weekdays() {
        assert_eq!(civil(0), (1, 1, 4));
        assert_eq!(civil(-1), (12, 31, 3));
        assert_eq!(civil(11_016), (2, 29, 2));
        assert_eq!(civil(20_454), (1, 1, 4));
    }
}
