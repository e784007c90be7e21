//! The signals of Linux by name (see `signal(7)`; the numbers of every architecture that Rust's
//! containers run on but MIPS and SPARC).

use steersman_engine::config::Signal;

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

/// The highest signal: the end of the real-time signals.
const HIGHEST: u8 = 64;

/// Gives the name of a signal, without `SIG`.
pub(crate) fn name(number: u8) -> Option<&'static str> {
    NAMES.iter().find(|(_, known)| *known == number).map(|(name, _)| *name)
}

/// Reads `HUP`, `SIGHUP`, `hup` or `1`.
pub(crate) fn parse(text: &str) -> Option<Signal> {
    if let Ok(number) = text.parse() {
        return (1..=HIGHEST).contains(&number).then_some(Signal(number));
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, number)| Signal(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for text in ["HUP", "SIGHUP", "sighup", "1"] {
            assert_eq!(parse(text), Some(Signal(1)), "{text}");
        }
        assert_eq!(parse("64"), Some(Signal(64)));
        for text in ["", "0", "65", "256", "-1", "SIG", "SIGSIGHUP", "TREM"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
