//! What is written and asked for: keys, values, and the distributions that keys are drawn from.
//!
//! A key is 16 bytes: the index, big-endian, then eight fixed bytes (the layout of RocksDB's `db_bench`). Values are cut
//! from a pool in which every 50 random printable bytes occur twice in a row, so about half of a value is compressible.

use std::sync::Arc;

/// Bytes of a key.
pub const KEY_BYTES: usize = 16;
/// Bytes of the pool that values are cut from.
const POOL_BYTES: usize = 1 << 20;

/// A key as all engines see it.
pub type Key = [u8; KEY_BYTES];

/// The key of an index.
pub fn key(index: u64) -> Key {
    with_tail(index, *b"00000000")
}

/// A key that nobody ever writes, next to the key of the same index.
pub fn missing_key(index: u64) -> Key {
    with_tail(index, *b"00000001")
}

fn with_tail(index: u64, tail: [u8; 8]) -> Key {
    let mut key = [0; KEY_BYTES];
    let (head, end) = key.split_at_mut(8);
    head.copy_from_slice(&index.to_be_bytes());
    end.copy_from_slice(&tail);
    key
}

/// The `position`-th of `0..count` in a fixed scattered order that visits each index once.
pub fn scattered(position: u64, count: u64) -> u64 {
    // A prime far above any count: coprime to it, and not near a small fraction of it.
    const PRIME: u128 = 11_400_714_819_323_198_549;
    let place = u128::from(position) * PRIME % u128::from(count.max(1));
    u64::try_from(place).unwrap_or(0)
}

/// A small fast generator (xorshift*); the same seed gives the same run on every engine.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator; every seed is good.
    pub fn new(seed: u64) -> Self {
        let mut rng = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        for _ in 0..8 {
            rng.next();
        }
        rng
    }

    /// 64 random bits.
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Below `bound`, which is positive.
    pub fn below(&mut self, bound: u64) -> u64 {
        let wide = u128::from(self.next()) * u128::from(bound);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// In `0.0..1.0`.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Values of one size, cut from a shared pool.
#[derive(Clone, Debug)]
pub struct Values {
    pool: Arc<[u8]>,
    at: usize,
    bytes: usize,
}

impl Values {
    /// Values of `bytes` bytes.
    pub fn new(bytes: usize) -> Self {
        let mut rng = Rng::new(7);
        let mut pool = Vec::with_capacity(POOL_BYTES + 100);
        while pool.len() < POOL_BYTES {
            let half: Vec<u8> = (0..50).map(|_| b' ' + u8::try_from(rng.below(95)).unwrap_or(0)).collect();
            pool.extend_from_slice(&half);
            pool.extend_from_slice(&half);
        }
        Self { pool: pool.into(), at: 0, bytes }
    }

    /// The same values, from another place of the pool on.
    pub fn starting_at(&self, seed: u64) -> Self {
        let places = self.pool.len().saturating_sub(self.bytes).max(1) as u64;
        Self { at: usize::try_from(seed.wrapping_mul(7919) % places).unwrap_or(0), ..self.clone() }
    }

    /// The next value.
    pub fn next(&mut self) -> &[u8] {
        if self.at + self.bytes > self.pool.len() {
            self.at = 0;
        }
        let start = self.at;
        self.at += self.bytes;
        &self.pool[start..self.at]
    }
}

/// Ranks with YCSB's zipfian distribution (Gray et al., "Quickly generating billion-record synthetic databases", 1994).
#[derive(Clone, Debug)]
pub struct Zipf {
    items: f64,
    theta: f64,
    alpha: f64,
    zeta: f64,
    eta: f64,
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "ranks")]
impl Zipf {
    /// Ranks `0..items` with exponent 0.99.
    pub fn new(items: u64) -> Self {
        let theta = 0.99;
        let sum = |n: u64| (1..=n).map(|i| 1.0 / (i as f64).powf(theta)).sum::<f64>();
        let zeta = sum(items);
        let items = items as f64;
        let eta = (1.0 - (2.0 / items).powf(1.0 - theta)) / (1.0 - sum(2) / zeta);
        Self { items, theta, alpha: 1.0 / (1.0 - theta), zeta, eta }
    }

    /// A rank; 0 is drawn most.
    pub fn rank(&self, rng: &mut Rng) -> u64 {
        let u = rng.unit();
        let uz = u * self.zeta;
        if uz < 1.0 {
            return 0;
        }
        if uz < 1.0 + 0.5_f64.powf(self.theta) {
            return 1;
        }
        let rank = self.items * (self.eta * u - self.eta + 1.0).powf(self.alpha);
        (rank as u64).min(self.items as u64 - 1)
    }

    /// An index of `0..count`: the popular ones lie scattered.
    pub fn scrambled(&self, rng: &mut Rng, count: u64) -> u64 {
        let rank = self.rank(rng);
        let mut hash = 0xCBF2_9CE4_8422_2325_u64;
        for byte in rank.to_le_bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        hash % count.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scattered_order_visits_every_index_once() {
        for count in [1, 2, 1000, 500_000] {
            let mut seen = vec![false; count as usize];
            for position in 0..count {
                let index = scattered(position, count) as usize;
                assert!(!std::mem::replace(&mut seen[index], true));
            }
        }
    }

    #[test]
    fn zipfian_ranks_are_in_range_and_skewed() {
        let zipf = Zipf::new(10_000);
        let mut rng = Rng::new(3);
        let ranks: Vec<u64> = (0..100_000).map(|_| zipf.rank(&mut rng)).collect();
        assert!(ranks.iter().all(|rank| *rank < 10_000));
        let first = ranks.iter().filter(|rank| **rank == 0).count();
        assert!((8_000..13_000).contains(&first), "{first}");
    }
}
