//! Randomness keyed by what it is for, not drawn from a shared stream.
//!
//! Adding one draw must not change all later ones: the shrinker and trace comparison depend on it.

/// Mixes two words into one (the finaliser of SplitMix64, Steele et al. 2014).
pub(crate) const fn mix(a: u64, b: u64) -> u64 {
    let mut z = a ^ b.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(23);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Mixes pairs of words into one; each depends on its place.
pub(crate) fn mix_side_by_side(pairs: &[(u64, u64)]) -> u64 {
    let mut place = 0_u64;
    let mut hash = 0;
    for (a, b) in pairs {
        place = place.wrapping_add(0xA076_1D64_78BD_642F);
        hash ^= mix(a ^ place, *b);
    }
    mix(hash, place)
}

/// Draws a number below `bound` for `key`; 0 when `bound` is 0.
pub(crate) const fn below(seed: u64, key: u64, bound: u64) -> u64 {
    let word = mix(mix(seed, key), 0xD1B5_4A32_D192_ED03) as u128;
    ((word * bound as u128) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_stay_below_their_bound_and_differ_by_key() {
        let draws: Vec<u64> = (0..1000).map(|key| below(7, key, 100)).collect();
        assert!(draws.iter().all(|draw| *draw < 100));
        assert!((0..100).all(|value| draws.contains(&value)));
        assert_eq!(below(7, 3, 0), 0);
    }
}
