//! The keeper's own process: one thread that waits for an order, for its supervisor's end, or for
//! the time of a term to be over.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use steersman_engine::Time;
use steersman_engine::id::LockId;
use steersman_engine::input::KeeperNews;

use super::look::{Hunt, Leader};
use super::order::{self, Flow, Order};
use crate::clocks::read_mono;
use crate::limits::{
    KEEPER_AFTERMATH, KEEPER_DOUBT, KEEPER_GRACE, KEEPER_LOOKS_CLEAN, KEEPER_PAUSE_MAX,
    KEEPER_PAUSE_MIN,
};
use crate::process::{self, Identity, Place, Spared};
use crate::timer::Timer;

/// Does the duty of a keeper until there is nothing to guard; gives the exit status.
///
/// Its standard input and output are the supervisor's pipes. Without them it does nothing.
pub fn run(supervisor: i32) -> u8 {
    match prepare(supervisor) {
        Ok(mut duty) => match duty.serve() {
            Ok(()) => 0,
            Err(_) => 1,
        },
        Err(Refusal::Unasked) => {
            crate::cli::complain("cannot keep anything: only a supervisor starts a keeper");
            2
        }
        Err(Refusal::Unable(reason)) => {
            tell(&KeeperNews::Lost(reason.into()));
            1
        }
    }
}

enum Refusal {
    /// Nobody's supervisor has started it.
    Unasked,
    /// It would be no keeper.
    Unable(String),
}

fn prepare(supervisor: libc::pid_t) -> Result<Duty, Refusal> {
    let orders = std::io::stdin();
    if supervisor < 1 || !is_pipe(orders.as_fd()) || !is_pipe(std::io::stdout().as_fd()) {
        return Err(Refusal::Unasked);
    }
    process::cut_ties();
    let unable = |reason: io::Error| Refusal::Unable(format!("cannot keep: {reason}"));
    set_nonblocking(orders.as_fd()).map_err(unable)?;
    set_nonblocking(std::io::stdout().as_fd()).map_err(unable)?;
    // Who may have died before we were there, with orders in the pipe.
    let is_there = || nix::unistd::getppid().as_raw() == supervisor;
    let handle = is_there().then(|| process::open_process(supervisor)).transpose();
    let handle = handle.map_err(unable)?.filter(|_| is_there());
    let place = Place::of(supervisor, handle.is_some());
    let place =
        place.map_err(|reason| Refusal::Unable(format!("cannot see processes: {reason}")))?;
    let mut spared = Spared::here();
    spared.add(supervisor, None);
    let duty = Duty {
        spared,
        place,
        supervisor,
        handle,
        timer: Timer::new().map_err(unable)?,
        inbox: Vec::new(),
        has_begun: false,
        guards: BTreeMap::new(),
        leaders: Vec::new(),
    };
    // What the first look needs of memory is what each needs: it is there when it is locked.
    duty.rehearse();
    tell(&KeeperNews::Ready(process::take_powers()));
    Ok(duty)
}

fn is_pipe(fd: BorrowedFd<'_>) -> bool {
    use nix::sys::stat::{SFlag, fstat};
    fstat(fd).is_ok_and(|stat| SFlag::from_bits_truncate(stat.st_mode).contains(SFlag::S_IFIFO))
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = nix::fcntl::FcntlArg::F_SETFL(nix::fcntl::OFlag::O_NONBLOCK);
    nix::fcntl::fcntl(fd, flags)?;
    Ok(())
}

/// Says something to the supervisor, who may stand still or be gone: then nobody hears it.
fn tell(news: &KeeperNews) {
    let mut frame = Vec::new();
    if order::put(&mut frame, news).is_ok() {
        let _ = nix::unistd::write(std::io::stdout(), &frame);
    }
}

/// What it was told of a term, and how far it is with its end.
#[derive(Debug)]
struct Guard {
    until: Time,
    jobs: BTreeSet<Box<str>>,
    /// When to look next; the first time is the end of the term, and a little.
    next: Time,
    pause: Duration,
    /// Whom it had to kill, and has not said yet.
    killed: BTreeSet<Identity>,
}

impl Guard {
    fn new(until: Time, jobs: BTreeSet<Box<str>>) -> Guard {
        let mut guard =
            Guard { until, jobs, next: until, pause: KEEPER_PAUSE_MIN, killed: BTreeSet::new() };
        guard.set(until);
        guard
    }

    fn set(&mut self, until: Time) {
        self.until = until;
        self.next = until + KEEPER_GRACE;
        self.pause = KEEPER_PAUSE_MIN;
    }
}

#[derive(Debug)]
struct Duty {
    place: Place,
    spared: Spared,
    supervisor: libc::pid_t,
    /// Readable when the supervisor has ended; none when it had before we began.
    handle: Option<OwnedFd>,
    timer: Timer,
    inbox: Vec<u8>,
    has_begun: bool,
    guards: BTreeMap<LockId, Guard>,
    leaders: Vec<Leader>,
}

impl Duty {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            self.timer.set(self.guards.values().map(|guard| guard.next).min());
            let is_gone = self.wait()?;
            // All that has been said counts before anything is done.
            let flow = order::fill(std::io::stdin(), &mut self.inbox)?;
            while let Some(order) = order::take(&mut self.inbox)? {
                self.obey(order)?;
            }
            if is_gone || flow == Flow::Ended {
                self.end_all();
                return Ok(());
            }
            if self.has_begun && self.guards.is_empty() {
                return Ok(());
            }
            self.look();
        }
    }

    /// Waits; tells whether the supervisor has ended.
    fn wait(&mut self) -> io::Result<bool> {
        let Some(handle) = &self.handle else { return Ok(true) };
        let orders = std::io::stdin();
        let mut fds = [
            PollFd::new(orders.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.timer.as_fd(), PollFlags::POLLIN),
            PollFd::new(handle.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut fds, PollTimeout::NONE) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        let [_, is_due, is_gone] = fds.map(|fd| fd.any().unwrap_or(false));
        if is_due {
            // It was just seen to be readable.
            let _ = self.timer.take();
        }
        Ok(is_gone)
    }

    fn obey(&mut self, order: Order) -> io::Result<()> {
        match order {
            Order::Begin { version, supervisor } => {
                if version != order::VERSION || supervisor != self.supervisor {
                    return Err(io::Error::other("orders of somebody else"));
                }
                self.has_begun = true;
            }
            _ if !self.has_begun => return Err(io::Error::other("orders before the first")),
            Order::Guard { lock, until, jobs } => {
                let jobs: BTreeSet<Box<str>> = jobs.into_iter().collect();
                self.guards.insert(lock, Guard::new(until, jobs));
            }
            Order::Move { lock, until } => {
                if let Some(guard) = self.guards.get_mut(&lock) {
                    guard.set(until);
                }
            }
            Order::Lift { lock } => {
                self.guards.remove(&lock);
            }
            Order::Began { job, leader } => {
                self.leaders.push(Leader { job, identity: leader });
            }
            Order::Over { leader } => self.leaders.retain(|one| one.identity != leader),
        }
        Ok(())
    }

    /// Ends what is left of terms whose time is over.
    fn look(&mut self) {
        for (lock, guard) in &mut self.guards {
            if guard.next > read_mono() {
                continue;
            }
            let hunt = Hunt::new(&self.place, &self.spared, &guard.jobs, &self.leaders);
            let found = hunt.strike(&mut guard.killed);
            let now = read_mono();
            if found.is_any {
                guard.pause = KEEPER_PAUSE_MIN;
            } else {
                let killed = std::mem::take(&mut guard.killed);
                let count = u32::try_from(killed.len()).unwrap_or(u32::MAX);
                if count > 0 {
                    let after = now.since(guard.until);
                    tell(&KeeperNews::Killed { lock: *lock, count, after });
                }
                // A supervisor that goes on may have been about to start something.
                guard.pause = (guard.pause * 2).min(KEEPER_PAUSE_MAX);
            }
            guard.next = now + guard.pause;
        }
    }

    /// The supervisor has gone: nobody looks after what it has started.
    fn end_all(&mut self) {
        let guards = std::mem::take(&mut self.guards);
        let jobs: BTreeSet<Box<str>> = guards.into_values().flat_map(|guard| guard.jobs).collect();
        if jobs.is_empty() {
            return;
        }
        let hunt = Hunt::new(&self.place, &self.spared, &jobs, &self.leaders);
        let (mut clean, mut killed) = (0, BTreeSet::new());
        let begun = read_mono();
        while clean < KEEPER_LOOKS_CLEAN && read_mono() < begun + KEEPER_AFTERMATH {
            let found = hunt.strike(&mut killed);
            let is_doubtful = found.is_unsure && read_mono() < begun + KEEPER_DOUBT;
            clean = if found.is_any || is_doubtful { 0 } else { clean + 1 };
            std::thread::sleep(KEEPER_PAUSE_MIN);
        }
    }

    fn rehearse(&self) {
        let nobody = BTreeSet::new();
        Hunt::new(&self.place, &self.spared, &nobody, &[]).strike(&mut BTreeSet::new());
    }
}
