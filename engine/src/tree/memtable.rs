//! The memtable: recent writes in key order, in memory.
//!
//! An ordered map of versions, whose keys and values lie in an arena, beside range deletes. A version that no reader can see any
//! more is replaced when its key is written again, so a key that changes all the time takes the place of one. A reader never
//! keeps a position in the map across an await: it fetches a handful of versions and finds its place again.

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use super::cursor::{Direction, Span};
use super::key_filter::KeyFilter;
use super::tombstone::{RangeTombstones, Tombstone};
use super::version_map::{Finger, VersionMap};
use super::{Entry, Lookup};
use crate::batch::Operation;
use crate::ids::{Expiry, GroupId, LogIndex, Seq};

/// What a range delete costs in memory besides its bytes, about.
const TOMBSTONE_OVERHEAD: usize = 128;

/// The last version that a reader fetched. It finds its place again even if the memtable has changed since.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    last: Entry,
    finger: Finger,
    changes: u64,
}

/// Recent writes, with the applied index that each group had reached with them.
#[derive(Debug, Default)]
pub(crate) struct Memtable {
    map: RefCell<VersionMap>,
    keys: RefCell<KeyFilter>,
    tombstones: RefCell<RangeTombstones>,
    applied: RefCell<BTreeMap<GroupId, LogIndex>>,
    tombstone_bytes: Cell<usize>,
    last_seq: Cell<Seq>,
}

impl Memtable {
    /// A memtable that will be flushed at so many bytes.
    pub(crate) fn sized(bytes: usize) -> Self {
        Self { keys: RefCell::new(KeyFilter::sized(bytes)), ..Self::default() }
    }

    /// Lets one operation take effect at `seq`. `needed(old, new)` says whether some reader sees `old` and not `new`.
    pub(crate) fn apply(&self, operation: &Operation<'_>, seq: Seq, needed: &dyn Fn(Seq, Seq) -> bool) {
        let still = |old| needed(old, seq);
        match *operation {
            Operation::Put { key, value, expires_at } => {
                self.keys.borrow_mut().add(key);
                self.map.borrow_mut().insert(key, seq, Some(value), expires_at, still);
            }
            Operation::Delete { key } => {
                self.keys.borrow_mut().add(key);
                self.map.borrow_mut().insert(key, seq, None, Expiry::NEVER, still);
            }
            Operation::DeleteRange { start, end } => {
                let cost = start.len() + end.len() + TOMBSTONE_OVERHEAD;
                self.tombstone_bytes.set(self.tombstone_bytes.get() + cost);
                let (start, end) = (Bytes::copy_from_slice(start), Bytes::copy_from_slice(end));
                self.tombstones.borrow_mut().add(&Tombstone { start, end, seq }, needed);
            }
        }
        self.last_seq.set(seq);
    }

    /// Takes no more writes: what is read from now on shares the memtable's memory.
    pub(crate) fn close(&self) {
        self.map.borrow_mut().close();
    }

    /// Notes that the group's effects up to `applied` are in here or in something older.
    pub(crate) fn note_applied(&self, group: GroupId, applied: LogIndex) {
        self.applied.borrow_mut().insert(group, applied);
    }

    /// The highest applied index of each group that wrote here.
    pub(crate) fn applied(&self) -> BTreeMap<GroupId, LogIndex> {
        self.applied.borrow().clone()
    }

    /// Whether the group wrote here.
    pub(crate) fn speaks_of(&self, group: GroupId) -> bool {
        self.applied.borrow().contains_key(&group)
    }

    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        self.map.borrow().bytes() + self.keys.borrow().bytes() + self.tombstone_bytes.get()
    }

    /// Whether nothing at all was noted.
    pub(crate) fn is_empty(&self) -> bool {
        self.map.borrow().len() == 0 && self.tombstones.borrow().is_empty() && self.applied.borrow().is_empty()
    }

    /// The newest sequence number in here.
    pub(crate) fn last_seq(&self) -> Seq {
        self.last_seq.get()
    }

    /// Range deletes.
    pub(crate) fn tombstones(&self) -> Ref<'_, RangeTombstones> {
        self.tombstones.borrow()
    }

    /// What is known of `key`, whose filter hash is given, at `at`.
    pub(crate) fn get(&self, key: &[u8], hash: u64, at: Seq) -> Lookup {
        let map = self.map.borrow();
        let newest =
            if map.len() > 0 && self.keys.borrow().may_contain(hash) { map.at(map.seek(key, at)) } else { None };
        let newest = newest.filter(|(_, version)| version.key == key);
        let version = newest.map(|(_, version)| (version.seq, map.share_value(&version), version.expires_at));
        let tombstones = self.tombstones.borrow();
        let covering = if tombstones.is_empty() { None } else { tombstones.covering(key, at) };
        Lookup::of(version, covering)
    }

    /// Appends versions at or below `at`, in the cursor's direction, looking at `limit` of them at most. `after` is where the last
    /// fetch ended. `None` when there is nothing behind that.
    pub(crate) fn fetch(
        &self,
        span: &Span,
        direction: Direction,
        after: Option<&Fetched>,
        at: Seq,
        limit: usize,
        out: &mut VecDeque<Entry>,
    ) -> Option<Fetched> {
        let map = self.map.borrow();
        let mut last = None;
        let mut finger = match (direction, after) {
            (Direction::Forward, None) => Some(map.seek(&span.start, Seq(u64::MAX))),
            (Direction::Forward, Some(after)) => {
                let place = Self::find(&map, after);
                // The version itself may have been replaced by a newer one, which is not for this reader either.
                let same = |(finger, version): (Finger, super::version_map::Version<'_>)| {
                    let here = version.key == after.last.key && version.seq == after.last.seq;
                    if here { VersionMap::behind(finger) } else { finger }
                };
                map.at(place).map(same)
            }
            (Direction::Reverse, None) => {
                let end = span.end.as_ref();
                map.before(end.map_or(VersionMap::end(), |end| map.seek(end, Seq(u64::MAX))))
            }
            (Direction::Reverse, Some(after)) => map.before(Self::find(&map, after)),
        };
        for _ in 0..limit {
            let Some((place, version)) = finger.and_then(|finger| map.at(finger)) else { break };
            let inside = match direction {
                Direction::Forward => span.end.as_ref().is_none_or(|end| version.key < end.as_ref()),
                Direction::Reverse => version.key >= span.start.as_ref(),
            };
            if !inside {
                break;
            }
            finger = match direction {
                Direction::Forward => Some(VersionMap::behind(place)),
                Direction::Reverse => map.before(place),
            };
            last = Some((place, version));
            if version.seq <= at {
                let (key, value) = map.share(&version);
                out.push_back(Entry { key, seq: version.seq, value, expires_at: version.expires_at });
            }
        }
        last.map(|(finger, version)| {
            let (key, seq) = (map.share(&version).0, version.seq);
            let last = Entry { key, seq, value: None, expires_at: version.expires_at };
            Fetched { last, finger, changes: map.changes() }
        })
    }

    /// Where a fetched version is, or where the first one behind it is if it was replaced.
    fn find(map: &VersionMap, fetched: &Fetched) -> Finger {
        if fetched.changes == map.changes() {
            return fetched.finger;
        }
        map.seek(&fetched.last.key, fetched.last.seq)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::tree::table::filter;

    fn put(key: &'static str, value: &'static str) -> Operation<'static> {
        Operation::Put { key: key.as_bytes(), value: value.as_bytes(), expires_at: Expiry::NEVER }
    }

    #[test]
    fn a_reader_sees_the_newest_version_at_or_below_its_snapshot() {
        let table = Memtable::sized(4096);
        table.apply(&put("a", "1"), Seq(1), &|_, _| true);
        table.apply(&put("a", "2"), Seq(3), &|_, _| true);
        table.apply(&Operation::Delete { key: b"a" }, Seq(5), &|_, _| true);
        let at = |seq| table.get(b"a", filter::hash(b"a"), Seq(seq));
        assert_eq!(at(0), Lookup::Unknown);
        assert_eq!(at(2), Lookup::Found(Bytes::from_static(b"1"), Expiry::NEVER));
        assert_eq!(at(4), Lookup::Found(Bytes::from_static(b"2"), Expiry::NEVER));
        assert_eq!(at(9), Lookup::Deleted);
    }

    #[test]
    fn a_range_delete_hides_older_versions_only() {
        let table = Memtable::sized(4096);
        table.apply(&put("b", "1"), Seq(1), &|_, _| true);
        let range = Operation::DeleteRange { start: b"a", end: b"c" };
        table.apply(&range, Seq(2), &|_, _| true);
        let at = |key: &'static str, seq| table.get(key.as_bytes(), filter::hash(key.as_bytes()), Seq(seq));
        assert_eq!(at("b", 1), Lookup::Found(Bytes::from_static(b"1"), Expiry::NEVER));
        assert_eq!(at("b", 2), Lookup::Deleted);
        assert_eq!(at("a", 2), Lookup::Deleted, "older layers are hidden too");
        assert_eq!(at("c", 2), Lookup::Unknown);
        table.apply(&put("b", "3"), Seq(3), &|_, _| true);
        assert_eq!(at("b", 3), Lookup::Found(Bytes::from_static(b"3"), Expiry::NEVER));
    }

    #[test]
    fn a_version_that_nobody_can_see_makes_place_for_the_next() {
        let table = Memtable::default();
        let (key, value) = (b"k".as_slice(), [1; 10]);
        let operation = Operation::Put { key, value: &value, expires_at: Expiry::NEVER };
        for seq in 1..=100 {
            table.apply(&operation, Seq(seq), &|old, new| old <= Seq(50) && Seq(50) < new);
        }
        let mut found = VecDeque::new();
        let all = Span::all();
        table.fetch(&all, Direction::Forward, None, Seq::MAX, 10, &mut found);
        assert_eq!(found.iter().map(|entry| entry.seq.0).collect::<Vec<_>>(), [100, 50]);
    }

    #[test]
    fn a_reader_goes_on_where_it_was_whatever_was_written_meanwhile() {
        for direction in [Direction::Forward, Direction::Reverse] {
            let table = Memtable::default();
            let write = |number: u64, seq: u64| {
                let key = (number * 7919 % 1000).to_be_bytes();
                let operation = Operation::Put { key: &key, value: b"v", expires_at: Expiry::NEVER };
                table.apply(&operation, Seq(seq), &|old, new| old <= Seq(1000) && Seq(1000) < new);
            };
            (0..1000).for_each(|number| write(number, number + 1));
            let (mut found, mut after, mut seq) = (VecDeque::new(), None, 1000);
            loop {
                let next = table.fetch(&Span::all(), direction, after.as_ref(), Seq(1000), 10, &mut found);
                if next.is_none() {
                    break;
                }
                after = next;
                for number in 0..30 {
                    seq += 1;
                    write(seq * 31 + number, seq);
                }
            }
            let numbers: Vec<u64> = found.iter().map(|e| u64::from_be_bytes(e.key[..].try_into().unwrap())).collect();
            let expected: Vec<u64> = match direction {
                Direction::Forward => (0..1000).collect(),
                Direction::Reverse => (0..1000).rev().collect(),
            };
            assert_eq!(numbers, expected);
        }
    }
}
