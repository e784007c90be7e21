//! The last steps, in bounded memory.

use std::collections::VecDeque;

/// Whole lines, the oldest dropped first.
#[derive(Debug)]
pub(super) struct Ring {
    lines: VecDeque<Box<[u8]>>,
    bytes: usize,
    bytes_max: usize,
    dropped: u64,
}

/// What a line costs besides its text: pointer, length, and the allocator's own.
const LINE_OVERHEAD: usize = 32;

impl Ring {
    /// Builds an empty ring.
    pub(super) fn new(bytes_max: usize) -> Ring {
        Ring { lines: VecDeque::new(), bytes: 0, bytes_max, dropped: 0 }
    }

    /// Keeps a line, and drops old ones to make room. A line that has no room at all is dropped
    /// too.
    pub(super) fn push(&mut self, line: &[u8]) {
        let cost = line.len() + LINE_OVERHEAD;
        while self.bytes + cost > self.bytes_max {
            let Some(oldest) = self.lines.pop_front() else {
                self.dropped += 1;
                return;
            };
            self.bytes -= oldest.len() + LINE_OVERHEAD;
            self.dropped += 1;
        }
        self.bytes += cost;
        self.lines.push_back(line.into());
    }

    /// Gives the lines, oldest first.
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        self.lines.iter().map(|line| &**line)
    }

    /// Tells how many lines were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ring_keeps_the_last_lines_within_its_bytes() {
        let mut ring = Ring::new(3 * (8 + LINE_OVERHEAD));
        for n in 0..10 {
            ring.push(format!("line {n:02}\n").as_bytes());
        }
        let lines: Vec<_> = ring.lines().collect();
        assert_eq!(lines, [b"line 07\n", b"line 08\n", b"line 09\n"]);
        assert_eq!(ring.dropped(), 7);
    }

    #[test]
    fn line_larger_than_the_ring_is_counted_as_dropped() {
        let mut ring = Ring::new(100);
        ring.push(b"short\n");
        ring.push(&[b'x'; 200]);
        assert_eq!((ring.lines().count(), ring.dropped()), (0, 2));
    }
}
