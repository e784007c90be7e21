//! Waiting for a condition of the real world, with a deadline.

use std::thread;
use std::time::{Duration, Instant};

/// How long a condition that is bound to come may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Asks until there is an answer, and gives it.
///
/// # Panics
///
/// When there is none within [`PATIENCE`]; `what` says what did not come.
pub fn until<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begin.elapsed() < PATIENCE, "waited in vain: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Watches that a condition holds for a while: nothing can be waited for that must not happen.
///
/// # Panics
///
/// When it does not hold at some moment; `what` says what was to stay.
pub fn stays(what: &str, span: Duration, mut holds: impl FnMut() -> bool) {
    let begin = Instant::now();
    while begin.elapsed() < span {
        assert!(holds(), "did not stay: {what}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Does nothing for a while: what a program under test does between two writes, or a fault lasts.
pub fn pass(span: Duration) {
    thread::sleep(span);
}
