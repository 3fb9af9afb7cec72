//! Majorities. Pure arithmetic on sets of voters.

use crate::ids::LogIndex;

/// Votes that win among `voters`: more than half. For none, one (nobody can win).
#[must_use]
pub const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The highest index that a majority has reached, given every voter's durable index (in any order; it is sorted in place).
/// 0 for no voters.
#[must_use]
pub fn committed_index(durable: &mut [LogIndex]) -> LogIndex {
    durable.sort_unstable_by(|a, b| b.cmp(a));
    durable.get(majority(durable.len()).saturating_sub(1)).copied().unwrap_or(LogIndex(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    quickcheck::quickcheck! {
        /// The slow way: the largest value that at least a majority of voters have reached.
        fn the_committed_index_is_what_counting_gives(durable: Vec<u8>) -> bool {
            let mut indexes: Vec<LogIndex> = durable.iter().map(|&index| LogIndex(u64::from(index))).collect();
            let counted = (0..=255_u64)
                .rev()
                .find(|&index| durable.iter().filter(|&&reached| u64::from(reached) >= index).count() >= majority(durable.len()))
                .unwrap_or(0);
            committed_index(&mut indexes) == LogIndex(counted)
        }
    }

    #[test]
    fn half_is_no_majority() {
        assert_eq!((1..=6).map(majority).collect::<Vec<_>>(), [1, 2, 2, 3, 3, 4]);
    }
}
