//! A small deterministic random generator (SplitMix64, Steele et al. 2014) for everything that must replay from a seed.
//!
//! Not for secrets: callers that need unpredictable bits take them from [`crate::Env::random`] of the production backend.

/// SplitMix64: 64 bits of state, one addition and three mixing steps per draw.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`; 0 when `bound` is 0. The bias of the modulo is below 2^-32 for the bounds used here.
    pub const fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// True with the given probability (0.0 never, 1.0 always).
    pub fn chance(&mut self, probability: f64) -> bool {
        if probability <= 0.0 {
            return false;
        }
        // 53 random bits make an exact float in [0, 1).
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit an f64 exactly")]
        let draw = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        draw < probability
    }

    /// An independent generator, seeded from this one.
    pub const fn fork(&mut self) -> Self {
        Self(self.next())
    }
}

#[cfg(test)]
mod tests {
    use super::Rng;

    #[test]
    fn the_sequence_follows_from_the_seed() {
        let mut one = Rng::new(0);
        // Published test vector of SplitMix64 with seed 0.
        assert_eq!(one.next(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(one.next(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn chances_of_zero_and_one_are_certain() {
        let mut rng = Rng::new(7);
        assert!((0..1000).all(|_| !rng.chance(0.0)));
        assert!((0..1000).all(|_| rng.chance(1.0)));
    }
}
