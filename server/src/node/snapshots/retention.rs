//! How much of its groups' logs a store keeps for members that are behind.
//!
//! What every member has is let go at once. What some member lacks is kept as long as all groups together keep no more than a
//! share of the store's log; beyond that, the group that keeps most lets go of its oldest, and who still lacked that needs a
//! snapshot. Pure arithmetic over what the driver tells.
//!
//! Invariant: the sum of what the groups keep is `bytes`; marks rise.

use std::collections::{BTreeMap, VecDeque};

/// A mark is made per so many bytes of entries: what is let go is that coarse.
const MARK_BYTES: u64 = 64 << 10;

/// The entries that one group keeps.
#[derive(Clone, Debug, Default)]
struct Kept {
    /// Runs of entries: the last index of each, and their bytes; oldest first.
    marks: VecDeque<(u64, u64)>,
    bytes: u64,
}

/// What the groups of a store keep.
#[derive(Clone, Debug)]
pub(crate) struct Retention {
    share: u64,
    groups: BTreeMap<u32, Kept>,
    bytes: u64,
}

impl Retention {
    /// Groups of a store that may keep so many bytes of entries together.
    pub(crate) fn new(share: u64) -> Self {
        Self { share, groups: BTreeMap::new(), bytes: 0 }
    }

    /// A group has applied entries up to `index`, of so many bytes.
    pub(crate) fn applied(&mut self, group: u32, index: u64, bytes: u64) {
        let kept = self.groups.entry(group).or_default();
        match kept.marks.back_mut() {
            Some((last, run)) if *run + bytes <= MARK_BYTES => {
                *last = index;
                *run += bytes;
            }
            Some(_) | None => kept.marks.push_back((index, bytes)),
        }
        kept.bytes += bytes;
        self.bytes += bytes;
    }

    /// Up to which index a group may let its log go: everything that all have (`held_by_all`, of which nothing is kept), and what the
    /// share no longer has room for. Call it for every group after [`Self::applied`].
    pub(crate) fn release(&mut self, group: u32, held_by_all: u64) -> u64 {
        let mut upto = held_by_all;
        let largest = self.largest_if_too_much();
        let Some(kept) = self.groups.get_mut(&group) else { return upto };
        while let Some((index, bytes)) = kept.marks.front().copied() {
            let too_much = self.bytes > self.share && largest == Some(group);
            if index > upto && !too_much {
                break;
            }
            upto = upto.max(index);
            kept.marks.pop_front();
            kept.bytes -= bytes;
            self.bytes -= bytes;
        }
        if kept.marks.is_empty() {
            self.groups.remove(&group);
        }
        upto
    }

    /// The group that keeps most, while all together keep more than their share.
    pub(crate) fn largest_if_too_much(&self) -> Option<u32> {
        let most = || self.groups.iter().max_by_key(|(_, kept)| kept.bytes).map(|(group, _)| *group);
        (self.bytes > self.share).then(most)?
    }

    /// The group begins anew behind a snapshot that it took in, or nobody can lack anything of it: it keeps nothing.
    pub(crate) fn replaced(&mut self, group: u32) {
        if let Some(kept) = self.groups.remove(&group) {
            self.bytes -= kept.bytes;
        }
    }

    /// Bytes that all groups keep.
    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn what_all_members_have_is_let_go_and_what_one_lacks_is_kept() {
        let mut retention = Retention::new(1 << 20);
        for index in 1..=10 {
            retention.applied(1, index, MARK_BYTES);
        }
        assert_eq!(retention.release(1, 4), 4);
        assert_eq!(retention.bytes(), 6 * MARK_BYTES);
        assert_eq!(retention.release(1, 10), 10);
        assert_eq!(retention.bytes(), 0);
        assert_eq!(retention.release(7, 3), 3, "a group of which nothing was told");
    }

    #[test]
    fn beyond_the_share_the_group_that_keeps_most_lets_go_of_its_oldest() {
        let mut retention = Retention::new(10 * MARK_BYTES);
        for index in 1..=3 {
            retention.applied(1, index, MARK_BYTES);
        }
        for index in 1..=9 {
            retention.applied(2, index, MARK_BYTES);
        }
        assert_eq!(retention.release(1, 0), 0, "the smaller one keeps its own");
        assert_eq!(retention.release(2, 0), 2);
        assert_eq!(retention.bytes(), 10 * MARK_BYTES);
    }

    #[test]
    fn small_entries_share_a_mark() {
        let mut retention = Retention::new(1 << 30);
        for index in 1..=10_000 {
            retention.applied(1, index, 100);
        }
        assert!(retention.groups[&1].marks.len() < 20);
        assert_eq!(retention.release(1, 5000), 5000);
        assert!((500_000..500_000 + 2 * MARK_BYTES).contains(&retention.bytes()));
    }

    #[test]
    fn a_store_never_keeps_more_than_its_share_for_long() {
        fn property(steps: Vec<(u8, u16, u8)>) -> bool {
            let mut retention = Retention::new(3 * MARK_BYTES);
            let mut last = [0; 4];
            steps.into_iter().all(|(group, bytes, held)| {
                let group = u32::from(group % 4);
                let index = &mut last[group as usize];
                *index += 1;
                retention.applied(group, *index, u64::from(bytes));
                for group in 0..4 {
                    let held = last[group as usize].min(u64::from(held));
                    let upto = retention.release(group, held);
                    assert!(upto >= held && upto <= last[group as usize]);
                }
                let sum: u64 = retention.groups.values().map(|kept| kept.bytes).sum();
                sum == retention.bytes() && sum <= 3 * MARK_BYTES
            })
        }
        quickcheck::quickcheck(property as fn(Vec<(u8, u16, u8)>) -> bool);
    }

    #[test]
    fn a_group_that_took_in_a_snapshot_keeps_nothing() {
        let mut retention = Retention::new(1 << 20);
        retention.applied(1, 5, 100);
        retention.replaced(1);
        assert_eq!((retention.bytes(), retention.release(1, 2)), (0, 2));
    }
}
