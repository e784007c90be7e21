//! Who our children are: jobs' first processes, and orphans that the kernel handed to us.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::environment::{RUN_MARKER, SUPERVISOR_PID};

/// How much of a process's environment is searched for the marker: what `execve` takes at most in
/// practice; a longer one is cut.
const ENVIRONMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The kernel's list of this thread's children.
#[derive(Debug)]
pub(super) struct Kin {
    list: Option<File>,
    own: libc::pid_t,
    text: Vec<u8>,
}

impl Kin {
    /// Opens the list; without a usable `/proc` there is none.
    pub(super) fn open() -> Kin {
        let own = libc::pid_t::try_from(std::process::id()).unwrap_or(0);
        // A `/proc` of another PID name space would name other processes by the same numbers.
        let usable = std::fs::read_link("/proc/self")
            .is_ok_and(|target| target.to_str() == Some(own.to_string().as_str()));
        let list =
            if usable { File::open(format!("/proc/self/task/{own}/children")).ok() } else { None };
        Kin { list, own, text: Vec::new() }
    }

    /// Tells whether orphans can be seen at all.
    pub(super) fn is_usable(&self) -> bool {
        self.list.is_some()
    }

    /// Collects the children for which `unknown` holds, dead but unreaped ones included.
    pub(super) fn children(&mut self, unknown: impl Fn(libc::pid_t) -> bool) -> Vec<libc::pid_t> {
        let Some(list) = &self.list else { return Vec::new() };
        if read_from_start(list, &mut self.text, usize::MAX).is_err() {
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
