//! The mark of a group: how far it is, and the hash chain over all it did.
//!
//! One scalar, written in the same batch as an entry's effects, so that after any crash both are there or neither.
//! Invariant: every field only rises (the chain aside).

use highwater_sql::catalog::CatalogVersion;
use highwater_sql::value::Micros;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

/// Name of the scalar.
pub(crate) const MARK: u8 = 0;
/// Name of the scalar that holds who belongs to the group, in the Raft crate's encoding; absent as long as these are its first members.
pub(crate) const MEMBERSHIP: u8 = 1;

/// 2024-01-01 00:00:00 UTC in microseconds since 1970.
const EPOCH_2024: Micros = 1_704_067_200_000_000;
/// Bits of a `_seq` below its milliseconds.
const COUNTER_BITS: u32 = 22;

/// How far a group is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// Index of the last applied entry.
    pub applied: u64,
    /// The largest stamp so far.
    pub log_time: Micros,
    /// The last `_seq` given.
    pub last_seq: u64,
    /// H(i).
    pub chain: u128,
    /// The group's catalog.
    pub catalog: CatalogVersion,
}

impl Mark {
    /// The next `_seq`: log time in milliseconds since 2024-01-01, shifted left by 22, or one more than the last.
    pub fn next_seq(&mut self) -> u64 {
        let millis = (self.log_time.saturating_sub(EPOCH_2024) / 1000).max(0).cast_unsigned();
        let base = (millis << COUNTER_BITS) & i64::MAX.cast_unsigned();
        self.last_seq = base.max(self.last_seq.saturating_add(1));
        self.last_seq
    }

    /// For an entry with effects: H(i) = XXH3-128 over H(i-1), i, the encoded effects and the encoded outcome, each part with its length.
    pub fn link(&self, index: u64, effects: &[u8], outcome: &[u8]) -> u128 {
        let mut hash = Xxh3Default::new();
        hash.update(&self.chain.to_le_bytes());
        hash.update(&index.to_le_bytes());
        hash.update(&(effects.len() as u64).to_le_bytes());
        hash.update(effects);
        hash.update(outcome);
        hash.digest128()
    }
}

/// When the change of this `_seq` was committed, to the millisecond, in microseconds since 1970.
#[must_use]
pub fn time_of_seq(seq: u64) -> Micros {
    (seq >> COUNTER_BITS).cast_signed().saturating_mul(1000).saturating_add(EPOCH_2024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

    use quickcheck::QuickCheck;

    use super::*;
    use crate::stored;

    #[test]
    fn the_mark_has_fixed_bytes() {
        let mark = Mark { applied: 1, log_time: 2, last_seq: 3, chain: 4, catalog: CatalogVersion(5) };
        assert_eq!(stored::encode(&mark), [1, 1, 4, 3, 4, 5]);
        assert_eq!(stored::decode::<Mark>(0, "the mark", &[1, 1, 4, 3, 4, 5]), Ok(mark));
    }

    #[test]
    fn seq_is_the_stamp_in_milliseconds_since_2024_and_a_counter() {
        let mut mark = Mark { log_time: EPOCH_2024 + 5_999, ..Mark::default() };
        assert_eq!(mark.next_seq(), 5 << 22);
        assert_eq!(mark.next_seq(), (5 << 22) | 1);
        mark.log_time += 1;
        assert_eq!(mark.next_seq(), 6 << 22);
        assert_eq!(time_of_seq(mark.last_seq), EPOCH_2024 + 6_000);
    }

    #[test]
    fn seq_is_unique_rising_and_below_two_to_the_63_whatever_the_clock_says() {
        fn holds(stamps: Vec<i64>) -> bool {
            let mut mark = Mark::default();
            let mut last = 0;
            stamps.into_iter().all(|stamp| {
                mark.log_time = mark.log_time.max(stamp.clamp(i64::MIN, 4_000_000_000_000_000));
                let seq = mark.next_seq();
                let rises = seq > last && seq < 1 << 63;
                last = seq;
                rises
            })
        }
        QuickCheck::new().quickcheck(holds as fn(Vec<i64>) -> bool);
    }

    #[test]
    fn the_chain_tells_apart_what_moved_between_effects_and_outcome() {
        let mark = Mark::default();
        assert_ne!(mark.link(1, b"ab", b"c"), mark.link(1, b"a", b"bc"));
        assert_ne!(mark.link(1, b"a", b"b"), mark.link(2, b"a", b"b"));
    }
}
