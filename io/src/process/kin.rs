//! Who our children are: jobs' first processes, and orphans that the kernel handed to us.

use std::cell::OnceCell;
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
