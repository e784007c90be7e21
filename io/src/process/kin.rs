//! Whose processes are whose: our children, which are jobs' first processes and orphans that the
//! kernel handed to us, and for the keeper everybody who bears a supervisor's mark.

use std::cell::OnceCell;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::environment::{RUN_MARKER, SUPERVISOR_PID};
use super::stat::stat_of;

/// How much of a process's environment is searched for the marker: what `execve` takes at most in
/// practice; a longer one is cut.
const ENVIRONMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The kernel's list of this thread's children.
#[derive(Debug)]
pub(super) struct Kin {
    list: OnceCell<Option<File>>,
    own: libc::pid_t,
    text: Vec<u8>,
}

impl Kin {
    /// Builds it; the list is opened when it is first needed, which is after the first start.
    pub(super) fn new() -> Kin {
        let own = libc::pid_t::try_from(std::process::id()).unwrap_or(0);
        Kin { list: OnceCell::new(), own, text: Vec::new() }
    }

    /// Tells whether orphans can be seen at all.
    pub(super) fn is_usable(&self) -> bool {
        self.list().is_some()
    }

    /// Gives the list; without a usable `/proc` there is none.
    fn list(&self) -> Option<&File> {
        let open = || {
            let own = self.own.to_string();
            // A `/proc` of another PID name space would name other processes by the same numbers.
            let shown = std::fs::read_link("/proc/self").ok()?;
            let is_ours = shown.to_str() == Some(own.as_str());
            is_ours.then(|| File::open(format!("/proc/self/task/{own}/children")).ok())?
        };
        self.list.get_or_init(open).as_ref()
    }

    /// Collects the children for which `unknown` holds, dead but unreaped ones included.
    pub(super) fn children(&mut self, unknown: impl Fn(libc::pid_t) -> bool) -> Vec<libc::pid_t> {
        let mut text = std::mem::take(&mut self.text);
        let read = self.list().map(|list| read_from_start(list, &mut text, usize::MAX));
        self.text = text;
        if !matches!(read, Some(Ok(()))) {
            return Vec::new();
        }
        let numbers = self
            .text
            .split(|byte| *byte == b' ')
            .filter_map(|word| std::str::from_utf8(word).ok()?.trim_ascii().parse().ok());
        let found = numbers.filter(|pid| unknown(*pid)).collect();
        self.text.clear();
        self.text.shrink_to(4096);
        found
    }

    /// Gives the marker that this supervisor put into a child's environment.
    ///
    /// None for a process that has overwritten its environment, as some daemons do for their title.
    pub(super) fn marker(&self, child: libc::pid_t) -> Option<String> {
        let file = File::open(format!("/proc/{child}/environ")).ok()?;
        let mut text = Vec::new();
        read_from_start(&file, &mut text, ENVIRONMENT_BYTES_MAX).ok()?;
        let ours = self.own.to_string();
        if find(&text, SUPERVISOR_PID)? != ours.as_bytes() {
            return None;
        }
        String::from_utf8(find(&text, RUN_MARKER)?.to_vec()).ok()
    }
}

/// Where a supervisor's processes are, for somebody who is not it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    supervisor: libc::pid_t,
    since: u64,
    namespace: PathBuf,
}

impl Place {
    /// Looks where the processes of a supervisor are, who is there or has gone.
    ///
    /// # Errors
    /// Why they cannot be seen from here, for people.
    pub(crate) fn of(supervisor: libc::pid_t, is_there: bool) -> Result<Place, String> {
        let own = std::process::id().to_string();
        let shown = fs::read_link("/proc/self").map_err(|error| format!("no /proc: {error}"))?;
        if shown.to_str() != Some(&own) {
            return Err(String::from("/proc shows another PID name space"));
        }
        let since = match stat_of(supervisor) {
            Some(stat) if is_there => stat.identity.start,
            None if is_there => return Err(String::from("/proc does not show the supervisor")),
            Some(_) | None => 0,
        };
        if let Some(reason) = hidden() {
            return Err(reason);
        }
        let namespace = fs::read_link("/proc/self/ns/pid")
            .map_err(|error| format!("/proc does not tell name spaces: {error}"))?;
        Ok(Place { supervisor, since, namespace })
    }

    /// When the supervisor began: none of its processes did earlier.
    pub(crate) fn since(&self) -> u64 {
        self.since
    }
}

/// Root without `CAP_SYS_PTRACE` does not see the processes of others where `/proc` hides them;
/// whoever is not root has no others to see.
fn hidden() -> Option<String> {
    const SYS_PTRACE: u64 = 1 << 19;
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut of_proc = mounts.lines().filter(|line| line.split(' ').nth(1) == Some("/proc"));
    let option =
        of_proc.next_back()?.split([' ', ',']).find(|word| word.starts_with("hidepid="))?;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    let held = u64::from_str_radix(held.trim(), 16).unwrap_or(0);
    let is_harmless = ["hidepid=0", "hidepid=off"].contains(&option) || held & SYS_PTRACE != 0;
    (!is_harmless).then(|| format!("/proc is mounted with {option}, and CAP_SYS_PTRACE is missing"))
}

/// What a process says of the run that it belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marker {
    /// The mark that this supervisor gave to it.
    pub(crate) text: Option<String>,
    /// It has no environment at all, for good or because it is becoming another program.
    pub(crate) is_missing: bool,
}

/// Reads the mark of any process in this PID name space.
pub(crate) fn marker_of(pid: libc::pid_t, place: &Place) -> Marker {
    // The same numbers in a name space below are other processes.
    let is_here =
        || fs::read_link(format!("/proc/{pid}/ns/pid")).ok() == Some(place.namespace.clone());
    let mut text = Vec::new();
    let read = File::open(format!("/proc/{pid}/environ"))
        .and_then(|file| read_from_start(&file, &mut text, ENVIRONMENT_BYTES_MAX));
    if read.is_err() {
        return Marker::default();
    }
    if text.is_empty() {
        return Marker { text: None, is_missing: true };
    }
    let ours = place.supervisor.to_string();
    let is_ours = find(&text, SUPERVISOR_PID) == Some(ours.as_bytes());
    let marker = find(&text, RUN_MARKER).filter(|_| is_ours && is_here());
    Marker {
        text: marker.and_then(|marker| String::from_utf8(marker.to_vec()).ok()),
        is_missing: false,
    }
}

fn find<'a>(environment: &'a [u8], name: &str) -> Option<&'a [u8]> {
    environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(name.as_bytes())?.strip_prefix(b"="))
}

fn read_from_start(file: &File, text: &mut Vec<u8>, most: usize) -> io::Result<()> {
    const STEP: usize = 4096;
    text.clear();
    while text.len() < most {
        let filled = text.len();
        // One page at first, then as much as there was: few calls for long lists.
        text.resize(filled + filled.max(STEP), 0);
        let room = text.get_mut(filled..).unwrap_or_default();
        let count = file.read_at(room, filled as u64)?;
        text.truncate(filled + count);
        if count == 0 {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_is_found_as_a_whole_name_only() {
        let environment = b"XSTEERSMAN_RUN=no\0STEERSMAN_RUN=app.3\0STEERSMAN_RUNS=no\0";
        assert_eq!(find(environment, RUN_MARKER), Some(&b"app.3"[..]));
        assert_eq!(find(b"A=1", RUN_MARKER), None);
    }
}
