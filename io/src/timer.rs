//! The one timer of the loop: set for an instant of the engine, readable when that has come.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use steersman_engine::Time;

/// One timer on the clock that the engine's instants are on.
#[derive(Debug)]
pub(crate) struct Timer {
    timer: TimerFd,
    set_for: Option<Time>,
}

impl Timer {
    /// Builds one that is not set.
    pub(crate) fn new() -> io::Result<Timer> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        Ok(Timer { timer: TimerFd::new(ClockId::CLOCK_BOOTTIME, flags)?, set_for: None })
    }

    /// Sets it; `None` and [`Time::NEVER`] mean that it never comes.
    pub(crate) fn set(&mut self, wakeup: Option<Time>) {
        if wakeup == self.set_for {
            return;
        }
        let outcome = match wakeup.filter(|at| *at != Time::NEVER) {
            Some(at) => {
                // Zero would disarm it.
                let at = Duration::from_nanos(at.0.max(1));
                let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME;
                self.timer.set(Expiration::OneShot(TimeSpec::from_duration(at)), flags)
            }
            None => self.timer.unset(),
        };
        // It fails for an instant out of range only: then it never comes.
        self.set_for = outcome.is_ok().then_some(wakeup).flatten();
    }

    /// Takes note that it has expired; `WouldBlock` when it has not.
    pub(crate) fn take(&mut self) -> io::Result<()> {
        let mut count = [0; 8];
        nix::unistd::read(self.timer.as_fd(), &mut count)?;
        self.set_for = None;
        Ok(())
    }
}

impl AsFd for Timer {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.timer.as_fd()
    }
}
