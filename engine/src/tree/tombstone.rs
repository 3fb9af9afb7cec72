//! Range deletes, kept as disjoint fragments.
//!
//! Invariants: fragments do not overlap and are in key order; a fragment's sequence numbers fall and are not empty.
//! Sequence numbers that no snapshot can tell apart are merged, so that trimming a range step by step stays one fragment.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use crate::ids::Seq;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Fragment {
    end: Bytes,
    /// Newest first.
    seqs: Vec<Seq>,
}

/// A set of range deletes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RangeTombstones {
    fragments: BTreeMap<Bytes, Fragment>,
}

/// A range delete, possibly a part of the one that was written: `start` inclusive, `end` exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tombstone {
    pub(crate) start: Bytes,
    pub(crate) end: Bytes,
    pub(crate) seq: Seq,
}

impl RangeTombstones {
    pub(crate) fn is_empty(&self) -> bool {
        self.fragments.is_empty()
    }

    /// Adds a range delete. `needed(old, new)` says whether some reader sees `old` and not `new`.
    pub(crate) fn add(&mut self, tombstone: &Tombstone, needed: &dyn Fn(Seq, Seq) -> bool) {
        let Tombstone { start, end, seq } = tombstone;
        if start >= end {
            return;
        }
        self.split(start);
        self.split(end);
        let covered: Vec<(Bytes, Bytes)> = self
            .fragments
            .range::<[u8], _>((Bound::Included(start.as_ref()), Bound::Excluded(end.as_ref())))
            .map(|(start, fragment)| (start.clone(), fragment.end.clone()))
            .collect();
        let mut at = start.clone();
        for (from, to) in covered {
            if at < from {
                self.fragments.insert(at, Fragment { end: from.clone(), seqs: vec![*seq] });
            }
            if let Some(fragment) = self.fragments.get_mut(&from) {
                insert_seq(&mut fragment.seqs, *seq, needed);
            }
            at = to;
        }
        if at < *end {
            self.fragments.insert(at, Fragment { end: end.clone(), seqs: vec![*seq] });
        }
        self.join(start, end);
    }

    /// Cuts the fragment that has `key` in its inside.
    fn split(&mut self, key: &Bytes) {
        let before = (Bound::Unbounded, Bound::Excluded(key.as_ref()));
        let Some((_, fragment)) = self.fragments.range_mut::<[u8], _>(before).next_back() else { return };
        if fragment.end <= *key {
            return;
        }
        let right = Fragment { end: std::mem::replace(&mut fragment.end, key.clone()), seqs: fragment.seqs.clone() };
        self.fragments.insert(key.clone(), right);
    }

    /// Joins equal neighbours from the fragment before `start` to the one at `end`.
    fn join(&mut self, start: &Bytes, end: &Bytes) {
        let before = (Bound::Unbounded, Bound::Excluded(start.as_ref()));
        let first = self.fragments.range::<[u8], _>(before).next_back().map_or(start, |(key, _)| key).clone();
        let keys: Vec<Bytes> = self
            .fragments
            .range::<[u8], _>((Bound::Included(first.as_ref()), Bound::Included(end.as_ref())))
            .map(|(key, _)| key.clone())
            .collect();
        let mut left: Option<Bytes> = None;
        for key in keys {
            let joins = left.as_ref().and_then(|left| self.fragments.get(left)).is_some_and(|left| {
                left.end == key && self.fragments.get(&key).is_some_and(|right| right.seqs == left.seqs)
            });
            if joins
                && let Some(right) = self.fragments.remove(&key)
                && let Some(left) = left.as_ref().and_then(|left| self.fragments.get_mut(left))
            {
                left.end = right.end;
            } else {
                left = Some(key);
            }
        }
    }

    /// The newest delete of `key` at or below `at`.
    pub(crate) fn covering(&self, key: &[u8], at: Seq) -> Option<Seq> {
        if self.fragments.is_empty() {
            return None;
        }
        let upto = (Bound::Unbounded, Bound::Included(key));
        let (_, fragment) = self.fragments.range::<[u8], _>(upto).next_back()?;
        if fragment.end.as_ref() <= key {
            return None;
        }
        fragment.seqs.iter().copied().find(|seq| *seq <= at)
    }

    /// As [`Self::covering`], with the range of keys around `key` for which the answer is the same: from the first (none: no
    /// bound) to behind the last (none: no bound).
    pub(crate) fn around(&self, key: &[u8], at: Seq) -> (Option<Seq>, Option<&Bytes>, Option<&Bytes>) {
        let upto = (Bound::Unbounded, Bound::Included(key));
        let behind = (Bound::Excluded(key), Bound::Unbounded);
        let next = || self.fragments.range::<[u8], _>(behind).next().map(|(start, _)| start);
        match self.fragments.range::<[u8], _>(upto).next_back() {
            Some((start, fragment)) if fragment.end.as_ref() > key => {
                (fragment.seqs.iter().copied().find(|seq| *seq <= at), Some(start), Some(&fragment.end))
            }
            Some((_, before)) => (None, Some(&before.end), next()),
            None => (None, None, next()),
        }
    }

    /// Every fragment once per sequence number, in key order, newest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Tombstone> + '_ {
        self.fragments.iter().flat_map(|(start, fragment)| {
            fragment.seqs.iter().map(|seq| Tombstone { start: start.clone(), end: fragment.end.clone(), seq: *seq })
        })
    }

    /// The parts of all fragments between `start` (inclusive) and `end` (exclusive, `None` for no bound).
    pub(crate) fn clipped(&self, start: Option<&Bytes>, end: Option<&Bytes>) -> Vec<Tombstone> {
        self.iter()
            .filter_map(|mut tombstone| {
                if let Some(start) = start
                    && tombstone.start < *start
                {
                    tombstone.start = start.clone();
                }
                if let Some(end) = end
                    && tombstone.end > *end
                {
                    tombstone.end = end.clone();
                }
                (tombstone.start < tombstone.end).then_some(tombstone)
            })
            .collect()
    }
}

/// Inserts in falling order and merges neighbours that no reader can tell apart.
fn insert_seq(seqs: &mut Vec<Seq>, seq: Seq, needed: &dyn Fn(Seq, Seq) -> bool) {
    let at = seqs.partition_point(|held| *held > seq);
    if seqs.get(at) == Some(&seq) {
        return;
    }
    seqs.insert(at, seq);
    let mut newer: Option<Seq> = None;
    seqs.retain(|old| {
        let keep = newer.is_none_or(|new| needed(*old, new));
        if keep {
            newer = Some(*old);
        }
        keep
    });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn tombstone(start: u8, end: u8, seq: u64) -> Tombstone {
        Tombstone { start: Bytes::from(vec![start]), end: Bytes::from(vec![end]), seq: Seq(seq) }
    }

    #[test]
    fn trimming_step_by_step_stays_one_fragment_without_snapshots() {
        let mut set = RangeTombstones::default();
        for step in 1..100u8 {
            set.add(&tombstone(0, step, u64::from(step)), &|_, _| false);
        }
        assert_eq!(set.iter().collect::<Vec<_>>(), [tombstone(0, 99, 99)]);
        for step in 100..120u8 {
            set.add(&tombstone(step, step + 1, 99), &|_, _| false);
        }
        assert_eq!(set.iter().count(), 2, "neighbours of one age are joined");
    }

    #[test]
    fn every_key_sees_the_newest_delete_at_or_below_its_snapshot() {
        fn property(ranges: Vec<(u8, u8)>) -> bool {
            let mut set = RangeTombstones::default();
            for (seq, (start, end)) in ranges.iter().enumerate() {
                set.add(&tombstone(*start, *end, seq as u64 + 1), &|_, _| true);
            }
            (0..=255u8).all(|key| {
                (0..=ranges.len() as u64).all(|at| {
                    let expected = ranges
                        .iter()
                        .enumerate()
                        .filter(|(seq, (start, end))| (*seq as u64) < at && *start <= key && key < *end)
                        .map(|(seq, _)| Seq(seq as u64 + 1))
                        .max();
                    set.covering(&[key], Seq(at)) == expected
                })
            })
        }
        quickcheck::QuickCheck::new().tests(50).quickcheck(property as fn(Vec<(u8, u8)>) -> bool);
    }

    #[test]
    fn clipping_keeps_only_the_inside() {
        let mut set = RangeTombstones::default();
        set.add(&tombstone(10, 20, 1), &|_, _| true);
        let (low, high) = (Bytes::from_static(&[12]), Bytes::from_static(&[15]));
        assert_eq!(set.clipped(Some(&low), Some(&high)), [tombstone(12, 15, 1)]);
        assert_eq!(set.clipped(Some(&Bytes::from_static(&[20])), None), []);
    }
}
