//! An ordered map of versions: key rising, then sequence falling. The index of a memtable, a B+ tree over an arena.
//!
//! A B-tree wins over a skip list because a visit to a node compares many keys in a few cache lines. Each node keeps 16 bytes of its
//! keys beside each other, those behind the bytes that all of them begin with (as the B-trees of Bayer and Unterauer 1977 do), so most
//! comparisons touch neither the arena nor the rest of an entry: rows of one user's table differ behind their first 20 bytes only.
//!
//! Invariants: leaves are linked in both directions; an inner node's separator is the first key of the child to its right at the
//! time of the split, so every entry of the children left of it has a key at or below it, and every entry right of it one at or
//! above it. A key's versions may lie on both sides of a separator: a search goes to the leftmost and walks the leaves. Every key of a
//! node begins with the node's shared bytes, of which it may know fewer than there are.

#![expect(
    clippy::indexing_slicing,
    reason = "positions come from the nodes' own lengths and child numbers, never from input; a wrong one is a defect"
)]

mod nodes;

use super::arena::{Arena, Spot};
use crate::ids::{Expiry, Seq};

use nodes::{DELETED, INNER, Inner, LEAF, Leaf, NIL, PREFIX, Seen, Separator, Slot};

/// A place between entries: before the entry number `at` of a leaf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Finger {
    leaf: u32,
    at: usize,
}

/// One version as it lies in the map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Version<'a> {
    /// The key.
    pub(crate) key: &'a [u8],
    pub(crate) seq: Seq,
    pub(crate) expires_at: Expiry,
    slot: Slot,
}

/// Versions in order.
#[derive(Debug)]
pub(crate) struct VersionMap {
    arena: Arena,
    #[expect(clippy::vec_box, reason = "a vector that grows must not move all nodes")]
    leaves: Vec<Box<Leaf>>,
    #[expect(clippy::vec_box, reason = "as above")]
    inners: Vec<Box<Inner>>,
    /// The root: a leaf as long as `height` is 0, else an inner node.
    root: u32,
    height: usize,
    entries: usize,
    /// Counts changes, so that fingers know whether they still hold.
    changes: u64,
}

impl Default for VersionMap {
    fn default() -> Self {
        Self {
            arena: Arena::default(),
            leaves: Vec::new(),
            inners: Vec::new(),
            root: NIL,
            height: 0,
            entries: 0,
            changes: 0,
        }
    }
}

impl VersionMap {
    /// Number of versions.
    pub(crate) const fn len(&self) -> usize {
        self.entries
    }

    /// Bytes of keys, values and nodes.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.bytes() + self.leaves.len() * size_of::<Leaf>() + self.inners.len() * size_of::<Inner>()
    }

    /// Changes whenever a finger may have become void.
    pub(crate) const fn changes(&self) -> u64 {
        self.changes
    }

    /// No more versions will be added: everything can be shared without a copy from now on.
    pub(crate) fn close(&mut self) {
        self.arena.close();
    }

    fn key(&self, slot: &Slot) -> &[u8] {
        self.arena.get(slot.spot, slot.key_len as usize)
    }

    /// Whether a key of a node that shares so many bytes (`prefix` behind them, kept at `spot`) is below `key`, whose prefix is `wanted`.
    fn is_below(&self, shared: usize, prefix: u128, spot: Spot, len: u32, key: &[u8], wanted: u128) -> bool {
        if prefix != wanted {
            return prefix < wanted;
        }
        let len = len as usize;
        if len <= shared + PREFIX && key.len() <= shared + PREFIX {
            return len < key.len();
        }
        self.arena.get(spot, len) < key
    }

    /// Number of a leaf's entries with keys below `key`.
    fn below_in_leaf(&self, leaf: &Leaf, key: &[u8]) -> usize {
        let wanted = match leaf.shared.see(key) {
            Seen::Below => return 0,
            Seen::Within(wanted) => wanted,
            Seen::Above => return leaf.len,
        };
        let shared = leaf.shared.len();
        let (mut low, mut high) = (0, leaf.len);
        while low < high {
            let middle = (low + high) / 2;
            let slot = &leaf.slots[middle];
            if self.is_below(shared, leaf.prefixes[middle], slot.spot, slot.key_len, key, wanted) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Number of an inner node's separators below `key`: the leftmost child that may hold it.
    fn below_in_inner(&self, inner: &Inner, key: &[u8]) -> usize {
        let wanted = match inner.shared.see(key) {
            Seen::Below => return 0,
            Seen::Within(wanted) => wanted,
            Seen::Above => return inner.len,
        };
        let shared = inner.shared.len();
        let (mut low, mut high) = (0, inner.len);
        while low < high {
            let middle = (low + high) / 2;
            let (spot, len) = inner.keys[middle];
            if self.is_below(shared, inner.prefixes[middle], spot, len, key, wanted) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Whether the entry at `at` is one of `key`.
    fn is_at(&self, leaf: &Leaf, at: usize, key: &[u8]) -> bool {
        let may_be = matches!(leaf.shared.see(key), Seen::Within(wanted) if wanted == leaf.prefixes[at]);
        may_be && self.key(&leaf.slots[at]) == key
    }

    /// The leaf where a key's newest version is or would be.
    fn descend(&self, key: &[u8]) -> u32 {
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = &self.inners[node as usize];
            node = inner.children[self.below_in_inner(inner, key)];
        }
        node
    }

    /// Moves a finger that is behind its leaf's last entry to the next leaf, unless there is none.
    fn settled(&self, mut finger: Finger) -> Option<Finger> {
        loop {
            let leaf = self.leaves.get(finger.leaf as usize)?;
            if finger.at < leaf.len {
                return Some(finger);
            }
            finger = Finger { leaf: leaf.next, at: 0 };
        }
    }

    /// The first version at or behind (`key`, `seq`) in the map's order.
    pub(crate) fn seek(&self, key: &[u8], seq: Seq) -> Finger {
        if self.root == NIL {
            return Finger { leaf: NIL, at: 0 };
        }
        let leaf = self.descend(key);
        let mut finger = Finger { leaf, at: self.below_in_leaf(&self.leaves[leaf as usize], key) };
        // Versions of the key that are newer come first.
        while let Some(place) = self.settled(finger) {
            let (leaf, at) = (&self.leaves[place.leaf as usize], place.at);
            let slot = &leaf.slots[at];
            if !self.is_at(leaf, at, key) || slot.seq >> 1 <= seq.0 {
                return place;
            }
            finger = Finger { leaf: place.leaf, at: at + 1 };
        }
        finger
    }

    /// The version behind a finger.
    pub(crate) fn at(&self, finger: Finger) -> Option<(Finger, Version<'_>)> {
        let finger = self.settled(finger)?;
        let slot = self.leaves[finger.leaf as usize].slots[finger.at];
        Some((finger, self.version(slot)))
    }

    /// The finger before the version in front of `finger`, `None` at the beginning.
    pub(crate) fn before(&self, finger: Finger) -> Option<Finger> {
        if finger.at > 0 {
            return Some(Finger { leaf: finger.leaf, at: finger.at - 1 });
        }
        let before = match self.leaves.get(finger.leaf as usize) {
            Some(leaf) => leaf.before,
            // Behind the last leaf, whose number may be any; found by going right from the root.
            None => self.last_leaf(),
        };
        let leaf = self.leaves.get(before as usize)?;
        // Leaves are never empty once they have been filled.
        Some(Finger { leaf: before, at: leaf.len.checked_sub(1)? })
    }

    fn last_leaf(&self) -> u32 {
        let mut node = self.root;
        for _ in 0..self.height {
            let inner = &self.inners[node as usize];
            node = inner.children[inner.len];
        }
        node
    }

    /// The finger behind the version at `finger`.
    pub(crate) const fn behind(finger: Finger) -> Finger {
        Finger { leaf: finger.leaf, at: finger.at + 1 }
    }

    /// The finger behind every version.
    pub(crate) const fn end() -> Finger {
        Finger { leaf: NIL, at: 0 }
    }

    fn version(&self, slot: Slot) -> Version<'_> {
        let key_len = slot.key_len as usize;
        let expiring = slot.seq & 1 == 1;
        let expires_at = if expiring {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(self.arena.get(slot.spot.after(key_len), 8));
            Expiry(u64::from_le_bytes(bytes))
        } else {
            Expiry::NEVER
        };
        Version { key: self.arena.get(slot.spot, key_len), seq: Seq(slot.seq >> 1), expires_at, slot }
    }

    /// The version's key and value, to be kept.
    pub(crate) fn share(&self, version: &Version<'_>) -> (bytes::Bytes, Option<bytes::Bytes>) {
        (self.arena.share(version.slot.spot, version.slot.key_len as usize), self.share_value(version))
    }

    /// The version's value, to be kept.
    pub(crate) fn share_value(&self, version: &Version<'_>) -> Option<bytes::Bytes> {
        let slot = &version.slot;
        let value_at = slot.spot.after(slot.key_len as usize + if slot.seq & 1 == 1 { 8 } else { 0 });
        (slot.value_len != DELETED).then(|| self.arena.share(value_at, slot.value_len as usize))
    }

    /// Adds a version, whose sequence is above every other in the map. `needed(old)` says whether some reader still sees the key's
    /// version of sequence `old`; if none does, the new version takes its place.
    pub(crate) fn insert(
        &mut self,
        key: &[u8],
        seq: Seq,
        value: Option<&[u8]>,
        expires_at: Expiry,
        needed: impl FnOnce(Seq) -> bool,
    ) {
        let expiry = expires_at.0.to_le_bytes();
        let expiring = expires_at != Expiry::NEVER;
        let spot = self.arena.push([key, if expiring { &expiry } else { &[] }, value.unwrap_or_default()]);
        let slot = Slot {
            spot,
            key_len: key.len() as u32,
            value_len: value.map_or(DELETED, |value| value.len() as u32),
            seq: seq.0 << 1 | u64::from(expiring),
        };
        self.changes += 1;
        if self.root == NIL {
            self.leaves.push(Leaf::empty(NIL, NIL));
            self.root = 0;
        }
        // The way down, to be walked back when nodes are split.
        let mut path = [(0u32, 0usize); 16];
        let mut node = self.root;
        for step in path.iter_mut().take(self.height) {
            let inner = &self.inners[node as usize];
            let child = self.below_in_inner(inner, key);
            *step = (node, child);
            node = inner.children[child];
        }
        let at = self.below_in_leaf(&self.leaves[node as usize], key);
        if let Some(place) = self.settled(Finger { leaf: node, at }) {
            let leaf = &self.leaves[place.leaf as usize];
            let held = leaf.slots[place.at];
            if self.is_at(leaf, place.at, key) && !needed(Seq(held.seq >> 1)) {
                self.leaves[place.leaf as usize].slots[place.at] = slot;
                return;
            }
        }
        self.entries += 1;
        let leaf = &mut self.leaves[node as usize];
        if leaf.len < LEAF {
            leaf.add(at, key, slot, &self.arena);
            return;
        }
        let right = self.split_leaf(node, at, slot);
        self.add_child(&path, right);
    }

    /// Splits a full leaf while inserting; returns the new leaf on the right.
    fn split_leaf(&mut self, number: u32, at: usize, slot: Slot) -> u32 {
        let right_number = self.leaves.len() as u32;
        let left = &mut self.leaves[number as usize];
        let next = left.next;
        let mut right = Leaf::empty(number, next);
        // Keys that arrive in order leave full leaves behind.
        let kept = if next == NIL && at == LEAF { LEAF } else { LEAF / 2 };
        let moved = LEAF - kept;
        right.slots[..moved].copy_from_slice(&left.slots[kept..]);
        right.len = moved;
        left.len = kept;
        left.next = right_number;
        if at > kept || kept == LEAF {
            right.insert(at - kept, 0, slot);
        } else {
            left.insert(at, 0, slot);
        }
        left.share(&self.arena);
        right.share(&self.arena);
        if let Some(next) = self.leaves.get_mut(next as usize) {
            next.before = right_number;
        }
        self.leaves.push(right);
        right_number
    }

    /// Hangs a new leaf into the tree, to the right of the one that `path` led to.
    fn add_child(&mut self, path: &[(u32, usize); 16], leaf: u32) {
        let first = &self.leaves[leaf as usize];
        let mut separator = Separator { spot: first.slots[0].spot, len: first.slots[0].key_len };
        let mut child = leaf;
        for level in (0..self.height).rev() {
            let (number, at) = path[level];
            let inner = &mut self.inners[number as usize];
            if inner.len < INNER {
                inner.add(at, separator, child, &self.arena);
                return;
            }
            let (middle, right) = inner.split(at, separator, child, &self.arena);
            child = self.inners.len() as u32;
            self.inners.push(right);
            separator = middle;
        }
        let mut root = Inner::empty();
        root.children[0] = self.root;
        root.add(0, separator, child, &self.arena);
        self.root = self.inners.len() as u32;
        self.inners.push(root);
        self.height += 1;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::nodes::{SHARED, Shared};
    use super::*;
    use std::cmp::Reverse;
    use std::collections::BTreeMap;

    type Model = BTreeMap<(Vec<u8>, Reverse<u64>), (Option<Vec<u8>>, u64)>;

    fn forward(map: &VersionMap) -> Model {
        let mut found = Model::new();
        let mut finger = map.seek(b"", Seq(u64::MAX));
        let mut last: Option<(Vec<u8>, Reverse<u64>)> = None;
        while let Some((at, version)) = map.at(finger) {
            let place = (version.key.to_vec(), Reverse(version.seq.0));
            assert!(last.as_ref().is_none_or(|last| *last < place), "out of order");
            found.insert(place.clone(), (map.share_value(&version).map(|value| value.to_vec()), version.expires_at.0));
            last = Some(place);
            finger = VersionMap::behind(at);
        }
        found
    }

    fn key(kind: u8, number: u16) -> Vec<u8> {
        match kind % 6 {
            0 => number.to_be_bytes().to_vec(),
            1 => [&[7; 20][..], &number.to_be_bytes()].concat(),
            2 => vec![0; number as usize % 40],
            3 => format!("{:016}", number % 300).into_bytes(),
            // More in common than a node keeps, and keys that end there.
            4 => [&[7; SHARED + 9][..], &number.to_be_bytes()].concat(),
            _ => vec![7; number as usize % (2 * SHARED)],
        }
    }

    #[test]
    fn it_is_an_ordered_map() {
        fn property(operations: Vec<(u8, u16, u8)>, keep: bool, times: u8) -> bool {
            let mut map = VersionMap::default();
            let mut model = Model::new();
            let mut seq = 0;
            for round in 0..u16::from(times) {
                for (kind, number, value) in &operations {
                    seq += 1;
                    let key = key(*kind, number.wrapping_mul(2 * round + 1));
                    let bytes = (value % 5 > 0).then(|| vec![*value; *value as usize]);
                    let expires = if value % 3 == 0 && bytes.is_some() { seq } else { u64::MAX };
                    if !keep {
                        let old = model.range((key.clone(), Reverse(u64::MAX))..).next();
                        if let Some(old) = old.map(|(old, _)| old.clone()).filter(|old| old.0 == key) {
                            model.remove(&old);
                        }
                    }
                    map.insert(&key, Seq(seq), bytes.as_deref(), Expiry(expires), |_| keep);
                    model.insert((key, Reverse(seq)), (bytes, expires));
                }
            }
            assert_eq!(map.len(), model.len());
            assert_eq!(forward(&map), model);
            // Backwards, and every place can be found.
            let mut finger = VersionMap::end();
            for (place, _) in model.iter().rev() {
                finger = map.before(finger).unwrap();
                let (at, version) = map.at(finger).unwrap();
                assert_eq!((version.key, version.seq.0), (&place.0[..], place.1.0));
                assert_eq!(map.at(map.seek(&place.0, Seq(place.1.0))).unwrap().0, at);
            }
            assert!(model.is_empty() || map.before(finger).is_none());
            map.close();
            for (kind, number, _) in &operations {
                let key = key(*kind, *number);
                let at = seq / 2;
                let expected = model.range((key.clone(), Reverse(at))..).next();
                let found = map.at(map.seek(&key, Seq(at))).map(|(_, v)| (v.key.to_vec(), Reverse(v.seq.0)));
                assert_eq!(found, expected.map(|(place, _)| place.clone()));
            }
            true
        }
        quickcheck::QuickCheck::new().tests(60).quickcheck(property as fn(Vec<(u8, u16, u8)>, bool, u8) -> bool);
    }

    #[test]
    fn a_key_is_below_among_or_above_those_that_begin_alike() {
        let shared = Shared::of(b"row/ann/1", b"row/ann/2");
        assert_eq!(shared.bytes(), b"row/ann/");
        let is_within = |key: &[u8]| matches!(shared.see(key), Seen::Within(_));
        assert!(is_within(b"row/ann/") && is_within(b"row/ann/1") && is_within(b"row/ann/zzz"));
        for below in [&b""[..], b"row", b"row/ann", b"row/abc/1", b"r", b"cow/zzzzzzzz"] {
            assert!(matches!(shared.see(below), Seen::Below), "{below:?}");
        }
        for above in [&b"s"[..], b"row/b", b"row/bob/1", b"row/ann0", b"zzzzzzzzzzzzz"] {
            assert!(matches!(shared.see(above), Seen::Above), "{above:?}");
        }
        assert_eq!(Shared::of(&[1; 100], &[1; 100]).len(), SHARED);
    }

    #[test]
    fn nodes_know_what_rows_of_one_table_have_in_common() {
        let mut map = VersionMap::default();
        let key = |number: u64| {
            [&b"group table user "[..], &number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes()].concat()
        };
        for number in 0..10_000 {
            map.insert(&key(number), Seq(number), Some(b""), Expiry::NEVER, |_| true);
        }
        let common = b"group table user ".len();
        let known = map.leaves.iter().filter(|leaf| leaf.shared.len() >= common).count();
        assert_eq!(known, map.leaves.len());
        assert!(map.inners.iter().all(|inner| inner.shared.len() >= common || inner.len < 2));
        assert_eq!(forward(&map).len(), 10_000);
    }

    #[test]
    fn keys_in_order_fill_their_leaves() {
        let mut map = VersionMap::default();
        for number in 0..100_000u32 {
            map.insert(&number.to_be_bytes(), Seq(u64::from(number)), Some(b""), Expiry::NEVER, |_| true);
        }
        assert_eq!(map.len(), 100_000);
        assert!(map.leaves.len() <= 100_000 / LEAF + 1, "{} leaves", map.leaves.len());
        assert_eq!(forward(&map).len(), 100_000);
    }
}
