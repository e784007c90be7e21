//! What the keeper may kill: the one place where a process that is no child of ours is signalled.
//!
//! A keeper once killed everything on a machine. So a kill goes through a [`Target`], which can be
//! had only for a process that is known by its start time and is nobody who must live. Neither "all
//! processes" nor "my own group" can be said with it.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::stat::{Stat, stat_of};

/// Makes `pidfd_send_signal` reach the group that the process leads (Linux 6.9).
const SIGNAL_PROCESS_GROUP: libc::c_uint = 1 << 2;

/// A process, and not another one that got its number later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its number.
    pub(crate) pid: libc::pid_t,
    /// When it began, in the kernel's ticks since the machine did.
    pub(crate) start: u64,
}

impl Identity {
    /// Reads it; none for a process that has been reaped, or cannot be seen.
    pub(crate) fn of(pid: libc::pid_t) -> Option<Identity> {
        stat_of(pid).map(|stat| stat.identity)
    }
}

/// Who must live, whatever else is to be killed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Spared {
    processes: BTreeSet<libc::pid_t>,
    groups: BTreeSet<libc::pid_t>,
}

impl Spared {
    /// Spares this process, everything above it, and their groups.
    pub(crate) fn here() -> Spared {
        let mut spared = Spared::default();
        let mut next = libc::pid_t::try_from(std::process::id()).ok();
        while let Some(pid) = next.filter(|pid| *pid > 0 && !spared.processes.contains(pid)) {
            let stat = stat_of(pid);
            spared.add(pid, stat.map(|stat| stat.group));
            next = stat.map(|stat| stat.parent);
        }
        spared
    }

    /// Spares one more process, and its group.
    pub(crate) fn add(&mut self, pid: libc::pid_t, group: Option<libc::pid_t>) {
        self.processes.insert(pid);
        self.groups.extend(group);
    }

    /// Tells whether a process must live.
    pub(crate) fn has(&self, pid: libc::pid_t) -> bool {
        pid < 2 || self.processes.contains(&pid)
    }

    /// Tells whether a group must live: it is that of somebody who must, or led by him.
    pub(crate) fn has_group(&self, group: libc::pid_t) -> bool {
        self.has(group) || self.groups.contains(&group)
    }
}

/// Why somebody is not killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// He must live.
    Spared,
    /// It is not the process that was meant, or no leader of a group, or has gone.
    Gone,
}

/// A process, or the group that it leads, to be killed.
#[derive(Debug)]
pub(crate) struct Target {
    handle: OwnedFd,
    identity: Identity,
    is_group: bool,
}

impl Target {
    /// Aims at one process.
    ///
    /// # Errors
    /// It must live, or is not there.
    pub(crate) fn process(identity: Identity, spared: &Spared) -> Result<Target, Refused> {
        if spared.has(identity.pid) {
            return Err(Refused::Spared);
        }
        Target::aim(identity, false)
    }

    /// Aims at the group that a process leads.
    ///
    /// # Errors
    /// The group must live, or the process is not there or leads none.
    pub(crate) fn group(leader: Identity, spared: &Spared) -> Result<Target, Refused> {
        if spared.has_group(leader.pid) {
            return Err(Refused::Spared);
        }
        Target::aim(leader, true)
    }

    fn aim(identity: Identity, is_group: bool) -> Result<Target, Refused> {
        let handle = open(identity.pid).map_err(|_| Refused::Gone)?;
        let target = Target { handle, identity, is_group };
        // Whom the handle is for is certain only now that it is open.
        if target.is_it() { Ok(target) } else { Err(Refused::Gone) }
    }

    fn is_it(&self) -> bool {
        let fits = |stat: Stat| !self.is_group || stat.group == self.identity.pid;
        let stat = stat_of(self.identity.pid).filter(|stat| stat.identity == self.identity);
        stat.is_some_and(fits)
    }

    /// Kills; whoever has gone meanwhile is not reached, and nobody else is.
    ///
    /// # Errors
    /// The system's, as "no permission".
    pub(crate) fn kill(&self) -> io::Result<()> {
        let flags = if self.is_group { SIGNAL_PROCESS_GROUP } else { 0 };
        match self.send(flags) {
            Err(error) if self.is_group && error.raw_os_error() == Some(libc::EINVAL) => {
                self.kill_by_number()
            }
            sent => sent,
        }
    }

    fn send(&self, flags: libc::c_uint) -> io::Result<()> {
        let none = std::ptr::null::<libc::siginfo_t>();
        let handle = self.handle.as_raw_fd();
        // SAFETY: the handle is open as long as `self` lives; a null pointer is "no information".
        let sent = unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, handle, libc::SIGKILL, none, flags)
        };
        if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// For kernels that know no groups by handle: the leader is looked at once more.
    fn kill_by_number(&self) -> io::Result<()> {
        let group = self.identity.pid;
        assert!(group > 1, "a target is never everybody, nor our own group");
        if !self.is_it() {
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        // SAFETY: takes numbers only; the negative one is below -1.
        let sent = unsafe { libc::kill(-group, libc::SIGKILL) };
        if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// Opens a handle of a process, which is readable when the process has ended.
///
/// # Errors
/// There is no such process, or the kernel is older than 5.3.
pub(crate) fn open(pid: libc::pid_t) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let handle = libc::c_int::try_from(opened).unwrap_or(-1);
    if handle < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel just gave us the descriptor; nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(handle) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Nothing in here sends a signal: what cannot be aimed at cannot be killed.
    fn aimed(pid: libc::pid_t) -> [Option<Refused>; 2] {
        let identity = Identity::of(pid).unwrap_or(Identity { pid, start: 0 });
        let spared = Spared::here();
        [Target::process(identity, &spared).err(), Target::group(identity, &spared).err()]
    }

    #[test]
    fn nobody_who_must_live_can_be_aimed_at() {
        let own = libc::pid_t::try_from(std::process::id()).unwrap();
        let stat = stat_of(own).unwrap();
        for pid in [own, stat.parent, 1, 0, -1, -2, libc::pid_t::MIN] {
            assert_eq!(aimed(pid), [Some(Refused::Spared); 2], "{pid}");
        }
        let group = Identity::of(stat.group).unwrap_or(Identity { pid: stat.group, start: 0 });
        assert_eq!(Target::group(group, &Spared::here()).err(), Some(Refused::Spared));
    }

    #[test]
    fn another_process_with_the_number_cannot_be_aimed_at() {
        let mut child =
            std::process::Command::new("cat").stdin(std::process::Stdio::piped()).spawn().unwrap();
        let pid = libc::pid_t::try_from(child.id()).unwrap();
        let identity = Identity::of(pid).unwrap();
        let other = Identity { start: identity.start + 1, ..identity };
        let spared = Spared::here();
        assert_eq!(Target::process(other, &spared).err(), Some(Refused::Gone));
        assert!(Target::process(identity, &spared).is_ok());
        // It is in our group, and leads none.
        assert_eq!(Target::group(identity, &spared).err(), Some(Refused::Gone));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(Target::process(identity, &spared).err(), Some(Refused::Gone));
    }
}
