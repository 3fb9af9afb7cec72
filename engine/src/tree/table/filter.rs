//! A table's filter: says "certainly not here" for most keys that the table does not hold.
//!
//! ```text
//! probes u8 | bits
//! ```
//!
//! A Bloom filter of ten bits per key and six probes by double hashing of XXH3-64 (about 1 % false positives), over whole
//! user keys. A key's hash is computed once per lookup and reused on every level.

use bytes::Bytes;

use crate::codec::Malformed;

const BITS_PER_KEY: usize = 10;
const PROBES: u8 = 6;
/// More probes than this are no filter of ours.
const MAX_PROBES: u8 = 30;

/// The hash of a key for every filter.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxhash_rust::xxh3::xxh3_64(key)
}

/// The bytes of a filter over keys with these hashes.
pub(crate) fn build(hashes: &[u64]) -> Vec<u8> {
    let bytes = (hashes.len() * BITS_PER_KEY).div_ceil(8).max(8);
    let mut out = vec![0; bytes + 1];
    if let Some((probes, bits)) = out.split_first_mut() {
        *probes = PROBES;
        for hash in hashes {
            for bit in positions(*hash, PROBES, bytes) {
                if let Some(byte) = bits.get_mut(bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
        }
    }
    out
}

fn positions(hash: u64, probes: u8, bytes: usize) -> impl Iterator<Item = usize> {
    let step = hash.rotate_right(33) | 1;
    let bits = bytes as u64 * 8;
    (0..u64::from(probes)).map(move |probe| {
        let mixed = hash.wrapping_add(probe.wrapping_mul(step));
        ((u128::from(mixed) * u128::from(bits)) >> 64) as usize
    })
}

/// A filter in memory.
#[derive(Clone, Debug)]
pub struct Filter {
    data: Bytes,
    probes: u8,
}

impl Filter {
    /// Takes a filter's bytes.
    ///
    /// # Errors
    /// When they are none.
    pub fn decode(data: Bytes) -> Result<Self, Malformed> {
        match data.first() {
            Some(probes) if data.len() > 1 && *probes <= MAX_PROBES => Ok(Self { probes: *probes, data }),
            Some(_) | None => Err(Malformed { at: 0, what: "not a filter" }),
        }
    }

    /// Whether a key with this hash may be in the table.
    pub(crate) fn may_contain(&self, hash: u64) -> bool {
        let bits = self.data.get(1..).unwrap_or_default();
        positions(hash, self.probes, bits.len())
            .all(|bit| bits.get(bit / 8).is_some_and(|byte| byte & (1 << (bit % 8)) != 0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn every_key_passes_and_few_others_do() {
        let key = |i: u32| hash(&i.to_le_bytes());
        let hashes: Vec<u64> = (0..10_000).map(key).collect();
        let filter = Filter::decode(Bytes::from(build(&hashes))).unwrap();
        assert!(hashes.iter().all(|hash| filter.may_contain(*hash)));
        let wrong = (10_000..30_000).filter(|i| filter.may_contain(key(*i))).count();
        assert!(wrong < 400, "{wrong} of 20000");
    }

    #[test]
    fn a_filter_has_fixed_bytes() {
        assert_eq!(build(&[hash(b"a")]), [6, 34, 17, 0, 0, 0, 0, 0, 34]);
        assert!(Filter::decode(Bytes::new()).is_err());
    }
}
