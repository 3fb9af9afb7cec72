//! Whether this node's wall clock can be believed. Pure.

use std::collections::BTreeMap;

/// A clock that is further than this from what most members say does not stamp entries, in microseconds.
pub(crate) const MOST_SKEW_MICROS: u64 = 500_000;

/// How far this node's clock is behind (positive) or ahead of (negative) the middle of all clocks that are heard, in microseconds, its
/// own among them. `ahead` has the others', relative to this one. Of two middles the one nearer to this node's is taken. `None` when fewer
/// than a majority of `members` are heard, this node among them: then nobody can tell whose clock is wrong.
pub(crate) fn behind_most<K: Ord>(ahead: &BTreeMap<K, i64>, members: usize) -> Option<i64> {
    let mut clocks: Vec<i64> = ahead.values().copied().chain([0]).collect();
    if clocks.len() <= members / 2 {
        return None;
    }
    clocks.sort_unstable();
    let upper = clocks.get(clocks.len() / 2).copied()?;
    let lower = clocks.get(clocks.len().saturating_sub(1) / 2).copied()?;
    Some(if lower.unsigned_abs() <= upper.unsigned_abs() { lower } else { upper })
}

/// What is certain of a clock that was seen to be `ahead` by a question that took `round_trip` microseconds.
pub(crate) const fn certain(ahead: i64, round_trip: u64) -> i64 {
    let sure = ahead.unsigned_abs().saturating_sub(round_trip / 2);
    ahead.signum().saturating_mul(sure.cast_signed())
}

/// Whether that is too far.
pub(crate) fn is_wrong(behind_most: Option<i64>) -> bool {
    behind_most.is_some_and(|micros| micros.unsigned_abs() > MOST_SKEW_MICROS)
}

/// Whether a clock that is `ahead` of this node's is near the middle of all, which this node's is `behind_most`. While the middle is not
/// known every clock is.
pub(crate) fn is_near_most(ahead: i64, behind_most: Option<i64>) -> bool {
    behind_most.is_none_or(|middle| ahead.abs_diff(middle) <= MOST_SKEW_MICROS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(ahead: &[i64], members: usize) -> bool {
        is_wrong(behind_most(&ahead.iter().copied().enumerate().collect(), members))
    }

    #[test]
    fn only_the_node_that_differs_from_most_is_wrong() {
        assert!(wrong(&[2_000_000, 2_100_000], 3), "both others agree with one another");
        assert!(!wrong(&[2_000_000, 1_000], 3), "one agrees with this node");
        assert!(!wrong(&[2_000_000, -2_000_000], 3), "this node is in the middle");
        assert!(wrong(&[-600_000, -700_000], 3));
        assert!(!wrong(&[-400_000, -500_000], 3));
    }

    #[test]
    fn a_question_that_took_long_proves_little() {
        assert_eq!([certain(700, 100), certain(-700, 100), certain(700, 1_500), certain(-3, 8)], [650, -650, 0, 0]);
    }

    #[test]
    fn of_clocks_that_all_differ_only_the_middle_one_is_right() {
        let (early, middle, late) = (0_i64, 6_264_000_i64, 8_430_000_i64);
        let seen = |me: i64| {
            let ahead = [early, middle, late].map(|clock| clock - me);
            let most = behind_most(&ahead.iter().copied().filter(|ahead| *ahead != 0).enumerate().collect(), 3);
            (is_wrong(most), ahead.map(|ahead| is_near_most(ahead, most)))
        };
        assert_eq!(seen(early), (true, [false, true, false]));
        assert_eq!(seen(middle), (false, [false, true, false]));
        assert_eq!(seen(late), (true, [false, true, false]));
        assert!(is_near_most(8_430_000, None));
    }

    #[test]
    fn who_hears_too_few_cannot_tell() {
        assert!(!wrong(&[2_000_000], 3), "of two clocks either may be wrong");
        assert!(!wrong(&[], 1));
        assert_eq!(behind_most(&BTreeMap::from([(1, 9)]), 5), None);
        assert!(wrong(&[900_000, 900_000], 5), "three of five are heard, and two agree");
    }
}
