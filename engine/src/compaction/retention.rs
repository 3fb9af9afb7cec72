//! What a flush or a compaction keeps: everything that some reader can still see, and nothing else.
//!
//! Snapshots cut the sequence numbers into stripes; versions of a key in one stripe cannot be told apart by any reader, so
//! the newest of each stripe stays. A range delete removes older versions in its own stripe. At the bottom of the tree, deletes
//! that every reader sees (the lowest stripe) have nothing left to hide and go too.
//!
//! A value that has expired by its group's log time, and that no snapshot sees, becomes a delete: what is older must not appear in its
//! place. Snapshots taken from now on belong to a log time at which it has expired too, since log times only rise.

use bytes::Bytes;

use super::clock::{GroupClocks, group_of};
use crate::ids::{Expiry, Seq};
use crate::tree::EntryRef;
use crate::tree::tombstone::{RangeTombstones, Tombstone};

/// What becomes of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It stays.
    Keep,
    /// Nobody can see it: it goes.
    Hidden,
    /// Its value has expired; a delete stays in its place.
    ExpiredToDelete,
    /// Its value has expired and there is nothing older: it goes.
    Expired,
}

/// The rule for one flush or compaction; versions are shown to it in order.
pub(crate) struct Retention {
    /// Sequence numbers that readers hold, rising.
    snapshots: Vec<Seq>,
    bottom: bool,
    tombstones: RangeTombstones,
    clocks: GroupClocks,
    /// The key that is being shown.
    key: Vec<u8>,
    /// The stripe of its last version; none before the first.
    newer: Option<usize>,
}

impl Retention {
    /// A rule under these snapshots. `tombstones` are all range deletes of the inputs.
    pub(crate) fn new<'a>(
        snapshots: Vec<Seq>,
        clocks: GroupClocks,
        bottom: bool,
        tombstones: impl Iterator<Item = &'a RangeTombstones>,
    ) -> Self {
        let mut all = RangeTombstones::default();
        for set in tombstones {
            for tombstone in set.iter() {
                all.add(&tombstone, &|old, new| stripe(&snapshots, old) != stripe(&snapshots, new));
            }
        }
        Self { snapshots, bottom, tombstones: all, clocks, key: Vec::new(), newer: None }
    }

    /// What becomes of the next version.
    pub(crate) fn judge(&mut self, entry: EntryRef<'_>) -> Verdict {
        let own = stripe(&self.snapshots, entry.seq);
        let newer = self.newer.replace(own);
        let same_key = newer.is_some() && self.key == entry.key;
        if !same_key {
            self.key.clear();
            self.key.extend_from_slice(entry.key);
        }
        let shadowed = same_key && newer == Some(own);
        if shadowed {
            return Verdict::Hidden;
        }
        let top = self.snapshots.get(own).copied().unwrap_or(Seq::MAX);
        if self.tombstones.covering(entry.key, top).is_some_and(|deleted| deleted > entry.seq) {
            return Verdict::Hidden;
        }
        let goes = self.bottom && own == 0;
        // Planted bug 127: expired values go although a snapshot sees them.
        let unseen = own == self.snapshots.len() || highwater_runtime::mutant(127);
        if entry.value.is_none() {
            if goes { Verdict::Hidden } else { Verdict::Keep }
        } else if unseen && self.has_expired(entry) {
            if goes { Verdict::Expired } else { Verdict::ExpiredToDelete }
        } else {
            Verdict::Keep
        }
    }

    fn has_expired(&self, entry: EntryRef<'_>) -> bool {
        entry.expires_at != Expiry::NEVER && self.clocks.has_expired(group_of(entry.key), entry.expires_at)
    }

    /// The range deletes that stay, between two cuts of the output.
    pub(crate) fn tombstones(&self, start: Option<&Bytes>, end: Option<&Bytes>) -> Vec<Tombstone> {
        let mut kept = self.tombstones.clipped(start, end);
        kept.retain(|tombstone| !(self.bottom && stripe(&self.snapshots, tombstone.seq) == 0));
        kept
    }
}

/// The number of snapshots that do not see `seq`.
fn stripe(snapshots: &[Seq], seq: Seq) -> usize {
    snapshots.partition_point(|snapshot| *snapshot < seq)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::tree::Entry;

    fn kept(
        snapshots: &[u64],
        bottom: bool,
        deletes: &[(&'static str, &'static str, u64)],
        versions: &[(&'static str, u64, bool)],
    ) -> Vec<u64> {
        let mut set = RangeTombstones::default();
        for (start, end, seq) in deletes {
            let (start, end) = (Bytes::from_static(start.as_bytes()), Bytes::from_static(end.as_bytes()));
            set.add(&Tombstone { start, end, seq: Seq(*seq) }, &|_, _| true);
        }
        let snapshots = snapshots.iter().map(|seq| Seq(*seq)).collect();
        let mut rule = Retention::new(snapshots, GroupClocks::default(), bottom, std::iter::once(&set));
        let entry = |(key, seq, put): &(&'static str, u64, bool)| Entry {
            key: Bytes::from_static(key.as_bytes()),
            seq: Seq(*seq),
            value: put.then(Bytes::new),
            expires_at: crate::ids::Expiry::NEVER,
        };
        versions
            .iter()
            .map(entry)
            .filter(|entry| rule.judge(entry.into()) == Verdict::Keep)
            .map(|entry| entry.seq.0)
            .collect()
    }

    #[test]
    fn only_the_newest_version_stays_without_snapshots() {
        assert_eq!(kept(&[], false, &[], &[("a", 9, true), ("a", 5, true), ("b", 3, true)]), [9, 3]);
    }

    #[test]
    fn a_snapshot_keeps_the_version_that_it_sees() {
        assert_eq!(kept(&[5], false, &[], &[("a", 9, true), ("a", 6, true), ("a", 5, true), ("a", 2, true)]), [9, 5]);
        assert_eq!(kept(&[4], false, &[], &[("a", 9, true), ("a", 5, true), ("a", 2, true)]), [9, 2]);
    }

    #[test]
    fn deletes_go_at_the_bottom_unless_a_snapshot_needs_them() {
        assert_eq!(kept(&[], true, &[], &[("a", 9, false), ("a", 5, true)]), []);
        assert_eq!(kept(&[], false, &[], &[("a", 9, false), ("a", 5, true)]), [9]);
        assert_eq!(kept(&[5], true, &[], &[("a", 9, false), ("a", 5, true)]), [9, 5]);
    }

    #[test]
    fn range_deletes_remove_what_no_reader_sees() {
        let deletes = [("a", "m", 6)];
        assert_eq!(kept(&[], false, &deletes, &[("b", 7, true), ("c", 5, true), ("x", 1, true)]), [7, 1]);
        assert_eq!(kept(&[5], false, &deletes, &[("c", 5, true), ("c", 3, true)]), [5]);
        let mut set = RangeTombstones::default();
        let (start, end) = (Bytes::from_static(b"a"), Bytes::from_static(b"m"));
        set.add(&Tombstone { start, end, seq: Seq(6) }, &|_, _| true);
        let rule = |snapshots: Vec<Seq>, bottom| {
            Retention::new(snapshots, GroupClocks::default(), bottom, std::iter::once(&set))
        };
        assert_eq!(rule(vec![], true).tombstones(None, None).len(), 0);
        assert_eq!(rule(vec![Seq(5)], true).tombstones(None, None).len(), 1);
        assert_eq!(rule(vec![], false).tombstones(None, Some(&Bytes::from_static(b"b"))).len(), 1);
    }
}
