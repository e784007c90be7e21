//! Real processes: starting, signalling and reaping them. The only place with `unsafe`.
//!
//! [`Processes`] is the one owner of `waitpid`. That is what makes a signal to a process safe here:
//! a child's number cannot be used again before we have reaped it, and nobody but us does. So every
//! signal goes to an unreaped child of ours, or to a group that holds one.
//!
//! Everything that a run leaves behind becomes our child when its parent ends, because we are PID 1
//! or a child subreaper. An orphan belongs to the run whose group it is in, or whose mark its
//! environment carries. No process needs to be polled: each end of an orphan is a SIGCHLD as well.
#![expect(
    unsafe_code,
    reason = "clone, execve and signals have no safe form; each block has its proof"
)]

mod child;
mod environment;
mod kin;
mod places;
mod powers;
mod raw;
mod spawn;
mod stat;
mod system;
mod target;
mod users;

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use nix::fcntl::OFlag;
use steersman_engine::config::{Command, Signal};
use steersman_engine::input::{ExitStatus, Tree};
use steersman_engine::{RunId, RunKind};

use environment::Environment;
use kin::Kin;
use spawn::{KeeperStreams, Spawner, Streams};

pub(crate) use kin::{Place, marker_of};
pub(crate) use powers::{cut_ties, take_powers};
pub(crate) use stat::{Stat, stat_of};
pub use system::{
    FileLimits, Received, SignalInbox, become_subreaper, forget_startup, hold_signals,
    keep_memory_small, local_offset, raise_file_limit, release_signals, watch,
};
pub(crate) use target::{Identity, Refused, Spared, Target, open as open_process};

/// The signals that ask or force a process to end; others are messages to who is there now.
const END_SIGNALS: [libc::c_int; 4] = [libc::SIGTERM, libc::SIGINT, libc::SIGQUIT, libc::SIGKILL];

/// A process that was made and is on its way to its program.
#[derive(Debug)]
pub struct Begun {
    /// Its process id.
    pub pid: u32,
    /// Where its output arrives, without blocking; none when it writes to our own streams.
    pub output: Option<OwnedFd>,
}

/// How a start turned out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The process has become its program.
    Started {
        /// Which run.
        run: RunId,
        /// Its process id.
        pid: u32,
    },
    /// It could not, and is gone.
    Failed {
        /// Which run.
        run: RunId,
        /// Why, for people.
        reason: Box<str>,
    },
}

/// Something that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The first process of a run.
    Leader {
        /// Which run.
        run: RunId,
        /// How.
        status: ExitStatus,
        /// Whether it left anything behind.
        tree: Tree,
    },
    /// The last of what a run had left behind.
    Rest {
        /// Which run.
        run: RunId,
    },
    /// A keeper.
    Keeper {
        /// Its process id.
        pid: u32,
        /// How.
        status: ExitStatus,
    },
}

/// Every process that this supervisor has to do with.
#[derive(Debug)]
pub struct Processes {
    spawner: Spawner,
    environment: Environment,
    kin: Kin,
    runs: HashMap<RunId, Run>,
    leaders: HashMap<libc::pid_t, RunId>,
    groups: HashMap<libc::pid_t, RunId>,
    markers: HashMap<Box<str>, RunId>,
    /// Orphans that are our children now; the run they come from, if that is known.
    orphans: HashMap<libc::pid_t, Option<RunId>>,
    /// Runs whose first process has gone and whose orphans have not.
    left: BTreeSet<RunId>,
    /// Children that belong to no run.
    keepers: BTreeSet<libc::pid_t>,
    /// Starts whose outcome turned up while reaping.
    settled: Vec<Settled>,
    /// Whether there may be orphans that were not looked at.
    is_stale: bool,
}

#[derive(Debug)]
struct Run {
    pid: libc::pid_t,
    marker: Box<str>,
    is_leader_there: bool,
    orphans: Vec<libc::pid_t>,
    /// The signal by which it was asked or forced to end: what turns up later gets it too.
    end_signal: Option<libc::c_int>,
}

impl Processes {
    /// Takes charge of all children of this process.
    ///
    /// To be called, and everything here used, on the main thread: the kernel ties the parent-death
    /// signal and the list of children to the thread.
    ///
    /// # Errors
    /// When the system refuses what a supervisor needs.
    pub fn new(file_limits: Option<FileLimits>) -> io::Result<Processes> {
        become_subreaper()?;
        Ok(Processes {
            spawner: Spawner::new(file_limits)?,
            environment: Environment::new(std::env::vars_os()),
            kin: Kin::new(),
            runs: HashMap::new(),
            leaders: HashMap::new(),
            groups: HashMap::new(),
            markers: HashMap::new(),
            orphans: HashMap::new(),
            left: BTreeSet::new(),
            keepers: BTreeSet::new(),
            settled: Vec::new(),
            is_stale: true,
        })
    }

    /// Sets or unsets a variable for processes started later.
    pub fn set_variable(&mut self, name: &str, value: Option<&str>) {
        self.environment.set(name, value);
    }

    /// Begins the first process of a run; `job` is the job's name. [`Processes::settled`] tells how
    /// it turned out.
    ///
    /// # Errors
    /// Why there is no process, for people.
    pub fn start(
        &mut self,
        run: RunId,
        job: &str,
        command: &Arc<Command>,
    ) -> Result<Begun, Box<str>> {
        let marker = match run.kind {
            RunKind::Main => format!("{job}.{}", run.nth),
            RunKind::Check => format!("{job}.{}.check", run.nth),
        };
        let (reader, target) = if command.raw_output && run.kind == RunKind::Main {
            (None, Streams::Ours)
        } else {
            let (reader, writer) = output_pipe().map_err(|error| {
                Box::from(format!("cannot make a pipe for its output: {error}"))
            })?;
            (Some(reader), Streams::Pipe(writer))
        };
        let pid = self
            .spawner
            .spawn(command, &self.environment, &marker, target)
            .map_err(|error| Box::from(error.to_string()))?;
        self.leaders.insert(pid, run);
        self.groups.insert(pid, run);
        self.markers.insert(Box::from(&*marker), run);
        let marker = marker.into_boxed_str();
        let entry =
            Run { pid, marker, is_leader_there: true, orphans: Vec::new(), end_signal: None };
        self.runs.insert(run, entry);
        Ok(Begun { pid: pid.unsigned_abs(), output: reader })
    }

    /// Begins a keeper; gives its process id. Its end comes with [`Processes::reap`].
    ///
    /// # Errors
    /// Why there is no process, for people.
    pub(crate) fn start_keeper(&mut self, orders: OwnedFd, news: OwnedFd) -> Result<u32, Box<str>> {
        if !self.kin.is_usable() {
            return Err("there is no /proc of this PID name space".into());
        }
        let streams = KeeperStreams { orders, news };
        let pid = self.spawner.spawn_keeper(streams).map_err(|error| error.to_string())?;
        self.keepers.insert(pid);
        Ok(pid.unsigned_abs())
    }

    /// Kills a keeper that has not been reaped.
    pub(crate) fn kill_keeper(&self, pid: u32) {
        let pid = libc::pid_t::try_from(pid).unwrap_or(0);
        if self.keepers.contains(&pid) {
            // It is an unreaped child of ours; it may be a zombie.
            let _sent = send(pid, libc::SIGKILL);
        }
    }

    /// Gives the first processes of runs that are not over, dead ones that are unreaped included.
    pub(crate) fn leaders(&self) -> impl Iterator<Item = (RunId, u32)> {
        self.leaders.iter().map(|(pid, run)| (*run, pid.unsigned_abs()))
    }

    /// Tells whether there are starts of which it is not known how they turn out.
    pub fn is_starting(&self) -> bool {
        self.spawner.is_starting()
    }

    /// Takes out how starts have turned out, so far. A process that ended is in here before it is
    /// in what [`Processes::reap`] gives, if this is called between the two.
    pub fn settled(&mut self) -> Vec<Settled> {
        for pid in self.spawner.settled() {
            self.note_started(pid);
        }
        std::mem::take(&mut self.settled)
    }

    fn note_started(&mut self, pid: libc::pid_t) {
        if let Some(run) = self.leaders.get(&pid).copied() {
            self.settled.push(Settled::Started { run, pid: pid.unsigned_abs() });
        }
    }

    /// Sends a signal to all that a run has: its group, and the groups that orphans of it are in.
    ///
    /// Who was below another process in a session of its own comes to light when that has ended:
    /// if the signal asks or forces to end, he gets it then.
    pub fn signal(&mut self, run: RunId, signal: Signal) {
        if self.is_stale {
            self.adopt();
        }
        let Some(entry) = self.runs.get_mut(&run) else { return };
        let number = libc::c_int::from(signal.0);
        if END_SIGNALS.contains(&number) && entry.end_signal != Some(libc::SIGKILL) {
            entry.end_signal = Some(number);
        }
        let leader = entry.is_leader_there.then_some(entry.pid);
        let members = leader.into_iter().chain(entry.orphans.iter().copied());
        signal_groups(members, number);
    }

    /// Says that time has passed: orphans may have turned up since.
    pub fn refresh_later(&mut self) {
        self.is_stale = true;
    }

    /// Tells whether a run is waited for whose first process has gone.
    pub fn has_left(&self) -> bool {
        !self.left.is_empty()
    }

    /// Reaps whatever has ended.
    pub fn reap(&mut self) -> Vec<Ended> {
        /// Orphans may die while we look; a fork bomb must not keep us here.
        const ROUNDS_MAX: usize = 4;
        let (mut leaders, mut ended) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS_MAX {
            self.collect(&mut leaders, &mut ended);
            if !self.adopt() {
                break;
            }
        }
        for (run, status) in leaders {
            let tree = if self.is_gone(run) { Tree::Gone } else { Tree::Left };
            match tree {
                Tree::Gone => self.forget(run),
                Tree::Left => {
                    self.left.insert(run);
                }
            }
            ended.push(Ended::Leader { run, status, tree });
        }
        let gone: Vec<RunId> = self.left.iter().copied().filter(|run| self.is_gone(*run)).collect();
        for run in gone {
            self.left.remove(&run);
            self.forget(run);
            ended.push(Ended::Rest { run });
        }
        ended
    }

    /// Kills every child there is, whatever it belongs to, and reaps what has ended; tells whether
    /// any is still there. For the very end.
    pub fn sweep(&mut self) -> bool {
        self.collect(&mut Vec::new(), &mut Vec::new());
        let known: Vec<libc::pid_t> = self.leaders.keys().copied().collect();
        let others = self.kin.children(|pid| !known.contains(&pid));
        signal_groups(known.iter().chain(&others).copied(), libc::SIGKILL);
        !known.is_empty() || !others.is_empty()
    }

    fn is_gone(&self, run: RunId) -> bool {
        let Some(entry) = self.runs.get(&run) else { return true };
        if self.kin.is_usable() {
            return entry.orphans.is_empty();
        }
        // Without /proc the group is all that can be asked about.
        send(-entry.pid, 0) == Err(libc::ESRCH)
    }

    fn forget(&mut self, run: RunId) {
        let Some(entry) = self.runs.remove(&run) else { return };
        self.markers.remove(&entry.marker);
        if self.groups.get(&entry.pid) == Some(&run) {
            self.groups.remove(&entry.pid);
        }
    }

    fn note_failed(&mut self, pid: libc::pid_t, reason: &str) {
        if let Some(run) = self.leaders.remove(&pid) {
            self.forget(run);
            self.settled.push(Settled::Failed { run, reason: reason.into() });
        }
    }

    /// Takes every status there is.
    fn collect(&mut self, leaders: &mut Vec<(RunId, ExitStatus)>, others: &mut Vec<Ended>) {
        loop {
            let mut status = 0;
            // SAFETY: `status` is a live integer. __WALL: also orphans made by clone(2).
            let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG | libc::__WALL) };
            if pid < 0 && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted {
                continue;
            }
            if pid <= 0 {
                return;
            }
            if self.keepers.remove(&pid) {
                // How its start went does not matter beside that it has ended.
                let _started = self.spawner.ended(pid);
                let status = exit_status(status);
                others.push(Ended::Keeper { pid: pid.unsigned_abs(), status });
                continue;
            }
            match self.spawner.ended(pid) {
                Some(Err(error)) => {
                    self.note_failed(pid, &error.to_string());
                    continue;
                }
                Some(Ok(())) => self.note_started(pid),
                None => {}
            }
            if let Some(run) = self.leaders.remove(&pid) {
                if let Some(entry) = self.runs.get_mut(&run) {
                    entry.is_leader_there = false;
                }
                leaders.push((run, exit_status(status)));
            } else if let Some(Some(run)) = self.orphans.remove(&pid)
                && let Some(entry) = self.runs.get_mut(&run)
            {
                entry.orphans.retain(|orphan| *orphan != pid);
            }
        }
    }

    /// Finds orphans that have become our children; tells whether there were any.
    fn adopt(&mut self) -> bool {
        self.is_stale = false;
        let (leaders, orphans, keepers) = (&self.leaders, &self.orphans, &self.keepers);
        let is_unknown = |pid| {
            !leaders.contains_key(&pid) && !orphans.contains_key(&pid) && !keepers.contains(&pid)
        };
        let found = self.kin.children(is_unknown);
        for pid in &found {
            let run = self.origin(*pid);
            self.orphans.insert(*pid, run);
            let Some(entry) = run.and_then(|run| self.runs.get_mut(&run)) else { continue };
            entry.orphans.push(*pid);
            // Whoever is in the run's own group had it with the others; killing twice does no harm.
            let is_outside = group_of(*pid) != Some(entry.pid);
            if let Some(signal) = entry.end_signal
                && (is_outside || signal == libc::SIGKILL)
            {
                signal_groups([*pid].into_iter(), signal);
            }
        }
        !found.is_empty()
    }

    /// Tells which run an orphan comes from.
    fn origin(&self, orphan: libc::pid_t) -> Option<RunId> {
        if let Some(run) = group_of(orphan).and_then(|group| self.groups.get(&group)) {
            return Some(*run);
        }
        let marker = self.kin.marker(orphan)?;
        let run = self.markers.get(marker.as_str()).copied();
        if run.is_none() {
            // Its run is over, and said so: nothing of it may live on.
            signal_groups([orphan].into_iter(), libc::SIGKILL);
        }
        run
    }
}

/// Only our end is non-blocking: the flag belongs to the open file, and jobs expect to wait.
fn output_pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    nix::fcntl::fcntl(&reader, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    debug_assert!(reader.as_raw_fd() > 2);
    Ok((reader, writer))
}

fn exit_status(status: libc::c_int) -> ExitStatus {
    if libc::WIFSIGNALED(status) {
        ExitStatus::Signal(u8::try_from(libc::WTERMSIG(status)).unwrap_or(u8::MAX))
    } else {
        ExitStatus::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))
    }
}

fn group_of(pid: libc::pid_t) -> Option<libc::pid_t> {
    // SAFETY: takes and gives numbers only.
    let group = unsafe { libc::getpgid(pid) };
    (group > 0).then_some(group)
}

/// Sends a signal to the groups that unreaped children of ours are in, once to each.
///
/// A group with an unreaped child of ours in it cannot have been used again, and only what descends
/// from the same job can have joined it. Our own group is never meant: who has moved there gets it
/// alone.
fn signal_groups(children: impl Iterator<Item = libc::pid_t>, signal: libc::c_int) {
    let own = group_of(0);
    let target = |pid: libc::pid_t| match group_of(pid) {
        Some(group) if Some(group) != own => -group,
        Some(_) | None => pid,
    };
    let targets: BTreeSet<libc::pid_t> = children.map(target).collect();
    for target in targets {
        // It may be gone already, which is what was wanted; or have become somebody whom we may not
        // signal, which the engine sees because it does not end.
        let _sent = send(target, signal);
    }
}

/// Sends a signal to a process, or to a group when the number is negative.
///
/// Callers prove that the number is that of an unreaped child of ours, or of a group with one in
/// it.
fn send(target: libc::pid_t, signal: libc::c_int) -> Result<(), libc::c_int> {
    // Zero and one would mean our own group, and everybody.
    if target == 0 || target == -1 || target == 1 {
        return Err(libc::ESRCH);
    }
    // SAFETY: takes numbers only.
    if unsafe { libc::kill(target, signal) } == 0 {
        return Ok(());
    }
    Err(io::Error::last_os_error().raw_os_error().unwrap_or(0))
}
