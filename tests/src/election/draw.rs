//! Draws from a seed: the same seed deals the same faults.

/// A generator of its own (SplitMix64).
#[derive(Clone, Debug)]
pub(super) struct Draw {
    state: u64,
}

impl Draw {
    pub(super) fn of(seed: u64) -> Draw {
        Draw { state: seed }
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// A number from `least` on, below `end`.
    pub(super) fn within(&mut self, least: u64, end: u64) -> u64 {
        assert!(least < end, "nothing to draw from");
        least + self.next() % (end - least)
    }

    /// Tells yes as often as so many of a hundred.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.within(0, 100) < percent
    }

    pub(super) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let other = self.within(0, last as u64 + 1) as usize;
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_deal_equal_cards_and_all_of_them() {
        let deal = |seed| {
            let mut cards: Vec<u8> = (0..20).collect();
            Draw::of(seed).shuffle(&mut cards);
            cards
        };
        assert_eq!(deal(7), deal(7));
        assert_ne!(deal(7), deal(8));
        let mut sorted = deal(7);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<u8>>());
    }
}
