//! The memtable: recent writes in key order, in memory.
//!
//! An ordered map from (key, falling sequence) to value. Keys and values share the memory of the batch they came in. A
//! reader never keeps a position in the map across an await: it fetches a handful of entries and seeks again.

use std::cell::{Cell, Ref, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::cursor::Direction;
use super::tombstone::{RangeTombstones, Tombstone};
use super::{Entry, Lookup};
use crate::batch::Operation;
use crate::ids::{Expiry, GroupId, LogIndex, Seq};

/// What an entry costs in memory besides its bytes, about.
const ENTRY_OVERHEAD: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct VersionKey {
    key: Bytes,
    seq: Reverse<Seq>,
}

/// Recent writes, with the applied index that each group had reached with them.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    map: RefCell<BTreeMap<VersionKey, (Option<Bytes>, Expiry)>>,
    tombstones: RefCell<RangeTombstones>,
    applied: RefCell<BTreeMap<GroupId, LogIndex>>,
    bytes: Cell<usize>,
    last_seq: Cell<Seq>,
}

impl Memtable {
    /// Lets one operation take effect at `seq`.
    pub(crate) fn apply(&self, operation: Operation, seq: Seq, needed: &dyn Fn(Seq, Seq) -> bool) {
        let cost = match operation {
            Operation::Put { key, value } => {
                let cost = key.len() + value.len();
                self.map.borrow_mut().insert(VersionKey { key, seq: Reverse(seq) }, (Some(value), Expiry::NEVER));
                cost
            }
            Operation::PutExpiring { key, value, expires_at } => {
                let cost = key.len() + value.len() + size_of::<Expiry>();
                self.map.borrow_mut().insert(VersionKey { key, seq: Reverse(seq) }, (Some(value), expires_at));
                cost
            }
            Operation::Delete { key } => {
                let cost = key.len();
                self.map.borrow_mut().insert(VersionKey { key, seq: Reverse(seq) }, (None, Expiry::NEVER));
                cost
            }
            Operation::DeleteRange { start, end } => {
                let cost = start.len() + end.len();
                self.tombstones.borrow_mut().add(&Tombstone { start, end, seq }, needed);
                cost
            }
        };
        self.bytes.set(self.bytes.get() + cost + ENTRY_OVERHEAD);
        self.last_seq.set(seq);
    }

    /// Notes that the group's effects up to `applied` are in here or in something older.
    pub(crate) fn note_applied(&self, group: GroupId, applied: LogIndex) {
        self.applied.borrow_mut().insert(group, applied);
    }

    /// The highest applied index of each group that wrote here.
    pub(crate) fn applied(&self) -> BTreeMap<GroupId, LogIndex> {
        self.applied.borrow().clone()
    }

    /// Bytes in memory, about.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether nothing at all was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.get() == 0 && self.applied.borrow().is_empty()
    }

    /// The newest sequence number in here.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq.get()
    }

    /// Range deletes.
    pub(crate) fn tombstones(&self) -> Ref<'_, RangeTombstones> {
        self.tombstones.borrow()
    }

    /// What is known of `key` at `at`.
    pub(crate) fn get(&self, key: &Bytes, at: Seq) -> Lookup {
        let from = VersionKey { key: key.clone(), seq: Reverse(at) };
        let map = self.map.borrow();
        let newest = map.range(from..).next().filter(|(version, _)| version.key == *key);
        let version = newest.map(|(version, (value, expires_at))| (version.seq.0, value.clone(), *expires_at));
        Lookup::of(version, self.tombstones.borrow().covering(key, at))
    }

    /// Appends up to `limit` versions at or below `at`, in the cursor's direction. `after` is the last version already
    /// fetched. Returns whether there may be more.
    pub(crate) fn fetch(
        &self,
        span: &super::cursor::Span,
        direction: Direction,
        after: Option<&VersionKey>,
        at: Seq,
        limit: usize,
        out: &mut std::collections::VecDeque<Entry>,
    ) -> Option<VersionKey> {
        // Reverse(MAX) sorts before every version of its key.
        let first = |key: &Bytes| VersionKey { key: key.clone(), seq: Reverse(Seq(u64::MAX)) };
        let low = Bound::Included(first(&span.start));
        let high = span.end.as_ref().map_or(Bound::Unbounded, |end| Bound::Excluded(first(end)));
        let map = self.map.borrow();
        let mut last = None;
        let mut take = |(version, (value, expires_at)): (&VersionKey, &(Option<Bytes>, Expiry))| {
            if version.seq.0 <= at {
                let (key, seq, expires_at) = (version.key.clone(), version.seq.0, *expires_at);
                out.push_back(Entry { key, seq, value: value.clone(), expires_at });
            }
            last = Some(version.clone());
        };
        match direction {
            Direction::Forward => {
                let low = after.map_or(low, |version| Bound::Excluded(version.clone()));
                map.range((low, high)).take(limit).for_each(&mut take);
            }
            Direction::Reverse => {
                let high = after.map_or(high, |version| Bound::Excluded(version.clone()));
                map.range((low, high)).rev().take(limit).for_each(&mut take);
            }
        }
        last
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn put(key: &'static str, value: &'static str) -> Operation {
        Operation::Put { key: Bytes::from_static(key.as_bytes()), value: Bytes::from_static(value.as_bytes()) }
    }

    #[test]
    fn a_reader_sees_the_newest_version_at_or_below_its_snapshot() {
        let table = Memtable::default();
        table.apply(put("a", "1"), Seq(1), &|_, _| true);
        table.apply(put("a", "2"), Seq(3), &|_, _| true);
        table.apply(Operation::Delete { key: Bytes::from_static(b"a") }, Seq(5), &|_, _| true);
        let at = |seq| table.get(&Bytes::from_static(b"a"), Seq(seq));
        assert_eq!(at(0), Lookup::Unknown);
        assert_eq!(at(2), Lookup::Found(Bytes::from_static(b"1"), Expiry::NEVER));
        assert_eq!(at(4), Lookup::Found(Bytes::from_static(b"2"), Expiry::NEVER));
        assert_eq!(at(9), Lookup::Deleted);
    }

    #[test]
    fn a_range_delete_hides_older_versions_only() {
        let table = Memtable::default();
        table.apply(put("b", "1"), Seq(1), &|_, _| true);
        let range = Operation::DeleteRange { start: Bytes::from_static(b"a"), end: Bytes::from_static(b"c") };
        table.apply(range, Seq(2), &|_, _| true);
        let at = |key: &'static str, seq| table.get(&Bytes::from_static(key.as_bytes()), Seq(seq));
        assert_eq!(at("b", 1), Lookup::Found(Bytes::from_static(b"1"), Expiry::NEVER));
        assert_eq!(at("b", 2), Lookup::Deleted);
        assert_eq!(at("a", 2), Lookup::Deleted, "older layers are hidden too");
        assert_eq!(at("c", 2), Lookup::Unknown);
        table.apply(put("b", "3"), Seq(3), &|_, _| true);
        assert_eq!(at("b", 3), Lookup::Found(Bytes::from_static(b"3"), Expiry::NEVER));
    }
}
