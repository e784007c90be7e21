//! Signals by name and number (see `signal(7)`; the numbers of every architecture that Rust's
//! containers run on but MIPS and SPARC).

use serde::{Deserialize, Serialize};

/// A signal by number, as the kernel knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Signal(pub u8);

const NAMES: &[(&str, u8)] = &[
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("PWR", 30),
    ("SYS", 31),
];

/// The first real-time signal that is free for programs: the C library keeps two for itself.
const RTMIN: u8 = 34;

/// The last real-time signal.
const RTMAX: u8 = 64;

impl Signal {
    /// Ends a process at once; cannot be caught.
    pub const KILL: Signal = Signal(9);
    /// Asks a process to end.
    pub const TERM: Signal = Signal(15);

    /// Reads `HUP`, `SIGHUP`, `hup`, `1`, or `RTMIN+3` as the C library numbers them.
    pub fn parse(text: &str) -> Option<Signal> {
        if let Ok(number) = text.parse() {
            return (1..=RTMAX).contains(&number).then_some(Signal(number));
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let found = NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        found.or_else(|| real_time(name)).map(Signal)
    }

    /// Gives the name, without `SIG`; the real-time signals have none.
    pub fn name(self) -> Option<&'static str> {
        NAMES.iter().find(|(_, known)| *known == self.0).map(|(name, _)| *name)
    }

    /// Gives every name, without `SIG`.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }
}

/// Reads `RTMIN`, `RTMIN+3`, `RTMAX`, `RTMAX-3`.
fn real_time(name: &str) -> Option<u8> {
    let (base, offset, sign) = match (name.strip_prefix("RTMIN"), name.strip_prefix("RTMAX")) {
        (Some(""), _) => return Some(RTMIN),
        (_, Some("")) => return Some(RTMAX),
        (Some(rest), _) => (RTMIN, rest.strip_prefix('+')?, 1),
        (_, Some(rest)) => (RTMAX, rest.strip_prefix('-')?, -1),
        _ => return None,
    };
    let number = i32::from(base) + sign * i32::from(offset.parse::<u8>().ok()?);
    u8::try_from(number).ok().filter(|number| (RTMIN..=RTMAX).contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for text in ["HUP", "SIGHUP", "sighup", "1"] {
            assert_eq!(Signal::parse(text), Some(Signal(1)), "{text}");
        }
        let read = |text| Signal::parse(text).map(|signal| signal.0);
        assert_eq!(read("64"), Some(64));
        assert_eq!(read("SIGRTMIN+3"), Some(37));
        assert_eq!(read("rtmax-1"), Some(63));
        for text in ["", "0", "65", "256", "-1", "SIG", "SIGSIGHUP", "TREM", "RTMIN+99", "RTMAX+1"]
        {
            assert_eq!(Signal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn every_name_reads_back_as_its_signal() {
        for name in Signal::names() {
            assert_eq!(Signal::parse(name).and_then(Signal::name), Some(name));
        }
    }
}
