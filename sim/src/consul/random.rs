//! Keyed randomness: a draw depends on the seed and on what it is for, never on how many draws came
//! before it, so that an unrelated event more or less changes nothing elsewhere.

use std::hash::Hasher;

/// Draws numbers from a seed and a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Random {
    seed: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random { seed }
    }

    /// Draws 64 bits for this purpose and key.
    pub(crate) fn bits(&self, purpose: &str, key: u64) -> u64 {
        let mut hash = Fnv::new();
        hash.write_u64(self.seed);
        hash.write(purpose.as_bytes());
        hash.write_u64(key);
        mix(hash.finish())
    }

    /// Draws a number below `bound`; 0 when there is no room.
    pub(crate) fn below(&self, purpose: &str, key: u64, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        let wide = u128::from(self.bits(purpose, key)) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Draws a number in `low..=high`.
    pub(crate) fn between(&self, purpose: &str, key: u64, low: u64, high: u64) -> u64 {
        low.saturating_add(self.below(purpose, key, high.saturating_sub(low).saturating_add(1)))
    }

    /// Draws a UUID.
    pub(crate) fn uuid(&self, purpose: &str, key: u64) -> String {
        let (high, low) = (self.bits(purpose, key), self.bits(purpose, key ^ (1 << 63)));
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xffff,
            low >> 48,
            low & 0xffff_ffff_ffff
        )
    }
}

fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A stable 64-bit hash (FNV-1a), the same on every machine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        mix(self.0)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.write(&word.to_le_bytes());
    }

    fn write_u8(&mut self, byte: u8) {
        self.write(&[byte]);
    }

    fn write_u32(&mut self, word: u32) {
        self.write(&word.to_le_bytes());
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}
