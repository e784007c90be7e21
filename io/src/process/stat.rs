//! What `/proc/PID/stat` says of a process (proc_pid_stat(5)).

use super::target::Identity;

/// The flag of a process on its way out (`PF_EXITING` of the kernel's sched.h).
const EXITING: u64 = 0x4;
/// The flag of a thread of the kernel (`PF_KTHREAD`).
const KERNEL: u64 = 0x0020_0000;

/// What is to be known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) identity: Identity,
    pub(crate) parent: libc::pid_t,
    pub(crate) group: libc::pid_t,
    /// Nothing of it runs any more, and nobody has waited for it yet.
    pub(crate) is_dead: bool,
    /// Its first thread is on its way out, or has gone while others run.
    pub(crate) is_leaving: bool,
    /// It is a part of the kernel.
    pub(crate) is_kernel: bool,
}

/// Reads it; none for a process that has been reaped, or cannot be seen.
pub(crate) fn stat_of(pid: libc::pid_t) -> Option<Stat> {
    if pid <= 0 {
        return None;
    }
    parse(&std::fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The name, between parentheses, may hold anything, parentheses and spaces included.
fn parse(text: &[u8]) -> Option<Stat> {
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let begin = text.iter().position(|byte| *byte == b'(')?;
    let number = std::str::from_utf8(text.get(..begin)?).ok()?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    // The first of them is the third of the page.
    let field = |nth: usize| fields.get(nth - 3).copied();
    let flags: u64 = field(9)?.parse().ok()?;
    let is_zombie = field(3)? == "Z";
    let threads: u32 = field(20)?.parse().ok()?;
    Some(Stat {
        identity: Identity {
            pid: number.trim_ascii().parse().ok()?,
            start: field(22)?.parse().ok()?,
        },
        parent: field(4)?.parse().ok()?,
        group: field(5)?.parse().ok()?,
        is_dead: field(3)? == "X" || is_zombie && threads <= 1,
        is_leaving: is_zombie || flags & EXITING != 0,
        is_kernel: flags & KERNEL != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_found_behind_any_name() {
        let line = |state: &str, threads: u32| {
            let text = format!(
                "42 (a) Z (b) {state} 7 40 39 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 {threads} 0 987 1 2"
            );
            parse(text.as_bytes()).unwrap()
        };
        let stat = line("S", 1);
        assert_eq!(stat.identity, Identity { pid: 42, start: 987 });
        assert_eq!((stat.parent, stat.group), (7, 40));
        assert!(!stat.is_dead && !stat.is_leaving && !stat.is_kernel);
        assert!(line("Z", 1).is_dead);
        // Its first thread has ended; others go on.
        assert!(!line("Z", 3).is_dead);
        assert_eq!(parse(b"42 (a"), None);
    }

    #[test]
    fn own_process_is_seen() {
        let own = libc::pid_t::try_from(std::process::id()).unwrap();
        let stat = stat_of(own).unwrap();
        assert_eq!(stat.identity.pid, own);
        assert!(!stat.is_dead);
        assert_eq!(stat_of(0), None);
    }
}
