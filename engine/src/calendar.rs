//! Schedules on the wall clock, which may be stepped at any time.
//!
//! A step of up to three hours counts as daylight saving or a correction: no run is repeated, and
//! runs that were jumped over are made up for by one. A longer step is a new clock: schedules count
//! from where it stands (the rule of cron(8) on Debian).

use core::time::Duration;

use crate::config::Trigger;
use crate::defect::Defect;
use crate::engine::Engine;
use crate::id::JobId;
use crate::limits;
use crate::timers::Timer;
use crate::trigger::Merge;

impl Engine {
    /// Lets a scheduled job count from now on.
    pub(crate) fn arm_schedule(&mut self, job: JobId) {
        let wall_ms = self.now.wall_ms;
        if let Some(slot) = self.slot_mut(job) {
            slot.last_scheduled_ms = wall_ms;
        }
        self.arm_next_look(job);
    }

    /// Looks whether a scheduled time has come.
    pub(crate) fn on_schedule_look(&mut self, job: JobId) {
        let wall_ms = self.now.wall_ms;
        if self.next_scheduled_ms(job).is_some_and(|next| next <= wall_ms) {
            if let Some(slot) = self.slot_mut(job) {
                slot.last_scheduled_ms = wall_ms;
            }
            self.request_start(job, Merge::Latest);
        }
        self.arm_next_look(job);
    }

    /// The wall clock was stepped.
    pub(crate) fn on_wall_step(&mut self, stepped_ms: i64) {
        let is_new_clock = stepped_ms.unsigned_abs() > limits::WALL_STEP_CORRECTION_MS
            || self.planted(Defect::ScheduleRepeats);
        let wall_ms = self.now.wall_ms;
        for job in self.order.clone() {
            let Some(slot) = self.slot(job) else { continue };
            if !matches!(slot.spec.trigger, Trigger::Schedule(_)) {
                continue;
            }
            if slot.is_stopping() {
                continue;
            }
            if is_new_clock && let Some(slot) = self.slot_mut(job) {
                slot.last_scheduled_ms = wall_ms;
            }
            self.on_schedule_look(job);
        }
    }

    fn next_scheduled_ms(&self, job: JobId) -> Option<i64> {
        let slot = self.slot(job)?;
        match &slot.spec.trigger {
            Trigger::Schedule(schedule) => schedule.next_after(slot.last_scheduled_ms),
            _ => None,
        }
    }

    /// Wakes at the next scheduled time, but looks at the wall clock at least once a minute.
    fn arm_next_look(&mut self, job: JobId) {
        let Some(next) = self.next_scheduled_ms(job) else { return };
        let away_ms = u64::try_from(next.saturating_sub(self.now.wall_ms)).unwrap_or(0);
        let delay = Duration::from_millis(away_ms).clamp(limits::INTERVAL_MIN, limits::WALL_LOOK);
        self.timers.arm(job, Timer::Due, self.now.mono + delay);
    }
}
