//! Randomness keyed by what it is for: a draw depends on the seed and its key, never on the draws
//! before it, so that leaving one operation out changes no other.

/// A source of draws; a plain value that can be copied into every consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Random {
    state: u64,
}

impl Random {
    /// Builds the source of a seed.
    pub const fn new(seed: u64) -> Random {
        Random { state: mix(seed ^ 0x5eed_5eed_5eed_5eed) }
    }

    /// Derives the stream of one consumer, by name.
    pub fn stream(self, name: &str) -> Random {
        let state = name.bytes().fold(self.state, |state, byte| mix(state ^ u64::from(byte)));
        Random { state: mix(state) }
    }

    /// Derives the stream of one operation.
    pub const fn keyed(self, key: u64) -> Random {
        Random { state: mix(self.state ^ mix(key)) }
    }

    /// Draws 64 bits; the same every time.
    pub const fn draw(self) -> u64 {
        mix(self.state.wrapping_add(0x9e37_79b9_7f4a_7c15))
    }

    /// Draws a number below `bound`; zero when the bound is zero.
    pub const fn below(self, bound: u64) -> u64 {
        (((self.draw() as u128) * (bound as u128)) >> 64) as u64
    }

    /// Draws a number from `low` to `high`, both included.
    pub const fn between(self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        low + self.below((high - low).saturating_add(1))
    }

    /// Tells whether something of so many in a million happens.
    pub const fn happens(self, per_million: u32) -> bool {
        self.below(1_000_000) < per_million as u64
    }

    /// Picks one of several; none of none.
    pub fn pick<T>(self, choices: &[T]) -> Option<&T> {
        choices.get(usize::try_from(self.below(choices.len() as u64)).unwrap_or(usize::MAX))
    }
}

/// The finaliser of SplitMix64: every bit of the input reaches every bit of the output.
pub(crate) const fn mix(mut value: u64) -> u64 {
    value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_keys_draw_equal_numbers_and_others_do_not() {
        let random = Random::new(7);
        assert_eq!(random.stream("a").keyed(1).draw(), random.stream("a").keyed(1).draw());
        assert_ne!(random.stream("a").keyed(1).draw(), random.stream("a").keyed(2).draw());
        assert_ne!(random.stream("a").keyed(1).draw(), random.stream("b").keyed(1).draw());
        assert_ne!(Random::new(8).draw(), random.draw());
    }

    #[test]
    fn draws_stay_in_their_bounds_and_reach_both_ends() {
        let random = Random::new(1);
        let draws: Vec<u64> = (0..1000).map(|key| random.keyed(key).between(3, 6)).collect();
        assert!(draws.iter().all(|draw| (3..=6).contains(draw)));
        assert!((3..=6).all(|wanted| draws.contains(&wanted)));
        assert_eq!(random.below(0), 0);
        assert_eq!(random.pick::<u8>(&[]), None);
    }
}
