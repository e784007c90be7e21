//! A node's own clocks: they start where they like, run fast or slow, and their wall clock is set.

use core::time::Duration;

use steersman_engine::{Stamp, Time};

/// The wall clock at the birth of every world: 2026-01-01T00:00:00Z.
pub const WALL_ORIGIN_MS: i64 = 1_767_225_600_000;

const MILLION: u128 = 1_000_000;

/// The clocks of one node, as a function of the world's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeClock {
    anchor_world: Time,
    anchor_local: Time,
    /// What the monotonic clock showed at the birth of the world.
    birth_local: Time,
    rate_ppm: i32,
    wall_offset_ms: i64,
}

impl Default for NodeClock {
    fn default() -> NodeClock {
        NodeClock::new(Duration::ZERO, 0)
    }
}

impl NodeClock {
    /// Builds clocks that show `offset` at the birth of the world and run `rate_ppm` millionths
    /// too fast (or, when negative, too slow).
    pub fn new(offset: Duration, rate_ppm: i32) -> NodeClock {
        NodeClock {
            anchor_world: Time(0),
            anchor_local: Time(0) + offset,
            birth_local: Time(0) + offset,
            rate_ppm: rate_ppm.clamp(-900_000, 1_000_000_000),
            wall_offset_ms: 0,
        }
    }

    /// Changes how fast the clocks run from `now` on.
    pub fn set_rate(&mut self, now: Time, rate_ppm: i32) {
        self.anchor_local = self.local(now);
        self.anchor_world = now;
        self.rate_ppm = rate_ppm.clamp(-900_000, 1_000_000_000);
    }

    /// Sets the wall clock forward or back.
    pub fn step_wall(&mut self, by_ms: i64) {
        self.wall_offset_ms = self.wall_offset_ms.saturating_add(by_ms);
    }

    /// Gives what both clocks show at an instant of the world.
    pub fn stamp(&self, world: Time) -> Stamp {
        let mono = self.local(world);
        let elapsed_ms = (mono.0 - self.birth_local.0) / 1_000_000;
        let elapsed_ms = i64::try_from(elapsed_ms).unwrap_or(i64::MAX);
        let wall_ms = (WALL_ORIGIN_MS + self.wall_offset_ms).saturating_add(elapsed_ms);
        Stamp { mono, wall_ms }
    }

    /// Gives the first instant of the world at which the monotonic clock shows at least `local`.
    pub fn world_at(&self, local: Time) -> Time {
        if local == Time::NEVER {
            return Time::NEVER;
        }
        if self.rate_ppm == 0 {
            let ahead = local.0.saturating_sub(self.anchor_local.0);
            return Time(self.anchor_world.0.saturating_add(ahead));
        }
        let ahead = u128::from(local.0.saturating_sub(self.anchor_local.0));
        let world = (ahead * MILLION).div_ceil(self.rate());
        Time(self.anchor_world.0.saturating_add(u64::try_from(world).unwrap_or(u64::MAX)))
    }

    fn local(&self, world: Time) -> Time {
        let passed = world.0.saturating_sub(self.anchor_world.0);
        if self.rate_ppm == 0 {
            return Time(self.anchor_local.0.saturating_add(passed));
        }
        let passed = u128::from(passed);
        let local = passed * self.rate() / MILLION;
        Time(self.anchor_local.0.saturating_add(u64::try_from(local).unwrap_or(u64::MAX)))
    }

    fn rate(&self) -> u128 {
        u128::try_from(1_000_000 + i64::from(self.rate_ppm)).expect("the rate is clamped above -1")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wakeup_is_never_early_and_at_most_a_tick_late() {
        for rate_ppm in [-500_000, -37, 0, 41, 3_000_000] {
            let clock = NodeClock::new(Duration::from_millis(1234), rate_ppm);
            for local in [1_234_000_000, 1_234_000_001, 9_876_543_210, 1 << 50].map(Time) {
                let world = clock.world_at(local);
                assert!(clock.stamp(world).mono >= local, "early at {rate_ppm} ppm");
                if world.0 > 0 {
                    let before = clock.stamp(Time(world.0 - 1)).mono;
                    assert!(before < local, "late at {rate_ppm} ppm");
                }
            }
        }
    }

    #[test]
    fn the_wall_clock_steps_and_the_monotonic_clock_does_not() {
        let mut clock = NodeClock::default();
        let before = clock.stamp(Time::from_millis(500));
        clock.step_wall(-3_600_000);
        let after = clock.stamp(Time::from_millis(500));
        assert_eq!(before.mono, after.mono);
        assert_eq!(before.wall_ms - after.wall_ms, 3_600_000);
    }

    #[test]
    fn a_change_of_rate_bends_the_clock_without_a_jump() {
        let mut clock = NodeClock::default();
        clock.set_rate(Time::from_millis(1000), 1_000_000);
        assert_eq!(clock.stamp(Time::from_millis(1000)).mono, Time::from_millis(1000));
        assert_eq!(clock.stamp(Time::from_millis(2000)).mono, Time::from_millis(3000));
        assert_eq!(clock.world_at(Time::from_millis(3000)), Time::from_millis(2000));
    }
}
