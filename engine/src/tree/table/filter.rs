//! A filter of one partition of a table: says "certainly not here" for most keys that the partition does not hold.
//!
//! ```text
//! 0 seed u64 | 8 segments u32 | 12 log2 of the slots of a segment u8 | 13 fingerprints, u8 each
//! ```
//!
//! A binary fuse filter (Graf, Lemire: Binary Fuse Filters, 2022) of eight bits: a key has one slot in each of three
//! neighbouring segments, and the three fingerprints there add up (xor) to its own. About nine bits per key, 0.4 % false positives.
//! It holds XXH3-64 hashes of whole user keys and, in tables with a prefix length, of the keys' prefixes of that length, with
//! another seed. A key's hash is computed once per lookup and used in every table. Building fails with some seeds; after a few,
//! there is no filter, which is always right.

use bytes::Bytes;

use crate::codec::{Malformed, Reader};

/// Seeds that are tried.
const ATTEMPTS: u64 = 64;
/// Hashes of prefixes use another seed than those of keys: a prefix may be a key too.
const PREFIX_SEED: u64 = 0x7072_6566_6978;
/// The largest segment, as a power of two.
const MAX_SEGMENT_LOG: u8 = 18;
/// Bytes before the fingerprints.
const HEADER: usize = 13;

/// The hash of a key for every filter.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The hash of a prefix for every filter.
pub(crate) fn hash_prefix(prefix: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(prefix, PREFIX_SEED)
}

/// How many slots there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    /// Segments in which a key's first slot may be; two more follow.
    segments: u32,
    /// Slots of a segment, as a power of two.
    log: u8,
}

impl Shape {
    /// For so many hashes. The formulas are the paper's.
    fn of(count: usize) -> Self {
        let count = count.max(2) as f64;
        let log = (count.ln() / 3.33f64.ln() + 2.25).floor().clamp(2.0, f64::from(MAX_SEGMENT_LOG)) as u8;
        let factor = (0.875 + 0.25 * 1e6f64.ln() / count.ln()).max(1.125);
        let slots = (count * factor).round() as u32;
        let segments = slots.div_ceil(1 << log).saturating_sub(2).max(1);
        Self { segments, log }
    }

    const fn slots(self) -> usize {
        (self.segments as usize + 2) << self.log
    }

    /// The three slots of a mixed hash.
    fn slots_of(self, mixed: u64) -> [usize; 3] {
        let mask = (1usize << self.log) - 1;
        let reach = u64::from(self.segments) << self.log;
        let first = ((u128::from(mixed) * u128::from(reach)) >> 64) as usize;
        let second = (first + (1 << self.log)) ^ ((mixed >> 18) as usize & mask);
        let third = (first + (2 << self.log)) ^ (mixed as usize & mask);
        [first, second, third]
    }
}

/// A hash and a seed, mixed so that each bit depends on all (the finaliser of MurmurHash3).
const fn mix(hash: u64, seed: u64) -> u64 {
    let mut mixed = hash.wrapping_add(seed);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

const fn fingerprint(mixed: u64) -> u8 {
    (mixed ^ (mixed >> 32)) as u8
}

/// A slot while the filter is built: how many hashes share it, their xor, and the xor of which of their three slots it is.
#[derive(Clone, Copy, Default)]
struct Slot {
    count: u32,
    which: u8,
    mixed: u64,
}

/// The bytes of a filter over these hashes, which must be distinct; empty when there are none or no seed fits.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    if hashes.is_empty() {
        return Vec::new();
    }
    let shape = Shape::of(hashes.len());
    for attempt in 0..ATTEMPTS {
        let seed = mix(attempt, 0x9e37_79b9_7f4a_7c15);
        if let Some(fingerprints) = try_build(hashes, shape, seed) {
            let mut out = Vec::with_capacity(HEADER + fingerprints.len());
            out.extend_from_slice(&seed.to_le_bytes());
            out.extend_from_slice(&shape.segments.to_le_bytes());
            out.push(shape.log);
            out.extend_from_slice(&fingerprints);
            return out;
        }
    }
    Vec::new()
}

#[expect(clippy::indexing_slicing, reason = "a shape's slots are below the length that the shape gives")]
fn try_build(hashes: &[u64], shape: Shape, seed: u64) -> Option<Vec<u8>> {
    let mut slots = vec![Slot::default(); shape.slots()];
    for hash in hashes {
        let mixed = mix(*hash, seed);
        for (which, at) in shape.slots_of(mixed).into_iter().enumerate() {
            let slot = &mut slots[at];
            slot.count += 1;
            slot.which ^= which as u8;
            slot.mixed ^= mixed;
        }
    }
    // A slot with one hash decides it last; taking that hash out may leave others alone in their slots.
    let mut alone: Vec<u32> = (0..slots.len() as u32).filter(|at| slots[*at as usize].count == 1).collect();
    let mut order: Vec<(u64, u8)> = Vec::with_capacity(hashes.len());
    while let Some(at) = alone.pop() {
        let Slot { count, which, mixed } = slots[at as usize];
        if count != 1 {
            continue;
        }
        order.push((mixed, which));
        for (other, at) in shape.slots_of(mixed).into_iter().enumerate() {
            let slot = &mut slots[at];
            slot.count -= 1;
            slot.which ^= other as u8;
            slot.mixed ^= mixed;
            if slot.count == 1 {
                alone.push(at as u32);
            }
        }
    }
    if order.len() != hashes.len() {
        return None;
    }
    let mut fingerprints = vec![0u8; shape.slots()];
    for (mixed, which) in order.into_iter().rev() {
        let at = shape.slots_of(mixed);
        let [first, second, third] = at.map(|at| fingerprints[at]);
        let own = at[usize::from(which).min(2)];
        // The slot is still zero, so the xor of all three is that of the other two.
        fingerprints[own] ^= fingerprint(mixed) ^ first ^ second ^ third;
    }
    Some(fingerprints)
}

/// A filter in memory.
#[derive(Clone, Debug)]
pub struct Filter {
    data: Bytes,
    seed: u64,
    shape: Shape,
}

impl Filter {
    /// Takes a filter's bytes.
    ///
    /// # Errors
    /// When they are none.
    pub fn decode(data: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&data);
        let (seed, segments, log) = (reader.u64()?, reader.u32()?, reader.u8()?);
        let shape = Shape { segments, log };
        let fits = log <= MAX_SEGMENT_LOG && segments > 0 && segments < 1 << 24;
        if !fits || data.len() != HEADER + shape.slots() {
            return Err(Malformed { at: 0, what: "not a filter" });
        }
        Ok(Self { data, seed, shape })
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.data.len() + size_of::<Self>()
    }

    /// Whether a key or a prefix with this hash may be in the partition.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let mixed = mix(hash, self.seed);
        let fingerprints = self.data.get(HEADER..).unwrap_or_default();
        let at = self.shape.slots_of(mixed).map(|at| fingerprints.get(at).copied().unwrap_or_default());
        at.into_iter().fold(fingerprint(mixed), |left, held| left ^ held) == 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn every_key_passes_and_few_others_do() {
        let key = |i: u32| hash(&i.to_le_bytes());
        for count in [1, 2, 3, 10, 100, 1000, 50_000] {
            let hashes: Vec<u64> = (0..count).map(key).collect();
            let bytes = build(&hashes);
            let filter = Filter::decode(Bytes::from(bytes.clone())).unwrap();
            assert!(hashes.iter().all(|hash| filter.may_contain(*hash)), "{count}");
            let wrong = (count..count + 100_000).filter(|i| filter.may_contain(key(*i))).count();
            assert!(wrong < 1000, "{wrong} of 100000 with {count} keys");
            assert!(count < 50_000 || bytes.len() * 8 < 10 * count as usize, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn a_filter_has_fixed_bytes() {
        assert_eq!(build(&[]), []);
        let bytes = build(&[hash(b"a"), hash_prefix(b"a")]);
        let expected = b"\xea\x2e\xab\xa4\xf1\x66\xa0\x9c\x01\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\xf5\x6b";
        assert_eq!(bytes, expected);
        assert_ne!(hash(b"a"), hash_prefix(b"a"));
    }

    #[test]
    fn hashes_that_cannot_be_told_apart_leave_no_filter_instead_of_a_wrong_one() {
        assert_eq!(build(&[5, 5]), []);
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>, log: u8, hash: u64) -> bool {
            let mut shaped = vec![0; 8];
            shaped.extend_from_slice(&1u32.to_le_bytes());
            shaped.push(log % 4);
            shaped.resize(HEADER + (3 << (log % 4)), 9);
            for bytes in [bytes, shaped] {
                let _ = Filter::decode(Bytes::from(bytes)).map(|filter| filter.may_contain(hash));
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>, u8, u64) -> bool);
    }
}
