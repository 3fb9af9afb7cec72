//! The nodes of the map: leaves with entries, inner nodes with separators, and what all keys of a node begin with.

#![expect(
    clippy::indexing_slicing,
    reason = "positions come from the nodes' own lengths, never from input; a wrong one is a defect"
)]

use crate::tree::arena::{Arena, Spot};

/// Entries of a leaf.
pub(super) const LEAF: usize = 32;
/// Separators of an inner node.
pub(super) const INNER: usize = 32;
/// No node.
pub(super) const NIL: u32 = u32::MAX;
/// The length that says "deleted".
pub(super) const DELETED: u32 = u32::MAX;
/// Bytes of a key that nodes keep beside the others'.
pub(super) const PREFIX: usize = 16;
/// Bytes that a node's keys begin with alike, at most.
pub(super) const SHARED: usize = 63;

/// The first bytes of what a node's keys differ in as a number that orders as they do; short ones are filled up with zeros.
pub(super) fn prefix_of(rest: &[u8]) -> u128 {
    let mut bytes = [0; PREFIX];
    let len = rest.len().min(PREFIX);
    bytes[..len].copy_from_slice(&rest[..len]);
    u128::from_be_bytes(bytes)
}

/// How many bytes two keys begin with alike.
pub(super) fn alike(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(one, other)| one == other).count()
}

/// What all keys of a node begin with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shared {
    pub(super) len: u8,
    pub(super) bytes: [u8; SHARED],
}

/// A key as one node sees it.
pub(super) enum Seen {
    /// Below all of its keys.
    Below,
    /// Among them: what comes behind the shared bytes.
    Within(u128),
    /// Above all of its keys.
    Above,
}

impl Shared {
    pub(super) const NONE: Self = Self { len: 0, bytes: [0; SHARED] };

    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }

    /// What `first` and `last` begin with alike, and with them every key between.
    pub(super) fn of(first: &[u8], last: &[u8]) -> Self {
        let len = alike(first, last).min(SHARED);
        let mut bytes = [0; SHARED];
        bytes[..len].copy_from_slice(&first[..len]);
        Self { len: len as u8, bytes }
    }

    pub(super) fn see(&self, key: &[u8]) -> Seen {
        match key.get(..self.len()) {
            Some(start) if start == self.bytes() => Seen::Within(prefix_of(&key[self.len()..])),
            Some(start) if start > self.bytes() => Seen::Above,
            Some(_) => Seen::Below,
            // A key that ends within what they share is below them unless it differs before that.
            None if key > self.bytes() => Seen::Above,
            None => Seen::Below,
        }
    }
}

/// Where an entry's bytes are: key, expiry if it has one (8 bytes), value, one behind the other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Slot {
    pub(super) spot: Spot,
    pub(super) key_len: u32,
    pub(super) value_len: u32,
    /// Sequence shifted left by one; the lowest bit says whether an expiry is kept.
    pub(super) seq: u64,
}

#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) len: usize,
    pub(super) before: u32,
    pub(super) next: u32,
    pub(super) shared: Shared,
    pub(super) prefixes: [u128; LEAF],
    pub(super) slots: [Slot; LEAF],
}

/// A key in an inner node.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Separator {
    pub(super) spot: Spot,
    pub(super) len: u32,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) len: usize,
    pub(super) shared: Shared,
    pub(super) prefixes: [u128; INNER],
    pub(super) keys: [(Spot, u32); INNER],
    pub(super) children: [u32; INNER + 1],
}

impl Leaf {
    pub(super) fn empty(before: u32, next: u32) -> Box<Self> {
        Box::new(Self {
            len: 0,
            before,
            next,
            shared: Shared::NONE,
            prefixes: [0; LEAF],
            slots: [Slot::default(); LEAF],
        })
    }

    /// Looks anew at what the keys share.
    pub(super) fn share(&mut self, arena: &Arena) {
        let key = |slot: &Slot| arena.get(slot.spot, slot.key_len as usize);
        let Some(last) = self.len.checked_sub(1) else { return };
        self.shared = Shared::of(key(&self.slots[0]), key(&self.slots[last]));
        let skipped = self.shared.len();
        for (prefix, slot) in self.prefixes.iter_mut().zip(&self.slots).take(self.len) {
            *prefix = prefix_of(&key(slot)[skipped..]);
        }
    }

    /// Puts in an entry whose key is `key`.
    pub(super) fn add(&mut self, at: usize, key: &[u8], slot: Slot, arena: &Arena) {
        let seen = self.shared.see(key);
        self.insert(at, if let Seen::Within(prefix) = seen { prefix } else { 0 }, slot);
        // What was there first may have known less than they share: now and then it is worth a look.
        if !matches!(seen, Seen::Within(_)) || self.len.is_power_of_two() {
            self.share(arena);
        }
    }

    pub(super) fn insert(&mut self, at: usize, prefix: u128, slot: Slot) {
        self.prefixes.copy_within(at..self.len, at + 1);
        self.slots.copy_within(at..self.len, at + 1);
        self.prefixes[at] = prefix;
        self.slots[at] = slot;
        self.len += 1;
    }
}

impl Inner {
    pub(super) fn empty() -> Box<Self> {
        Box::new(Self {
            len: 0,
            shared: Shared::NONE,
            prefixes: [0; INNER],
            keys: [(Spot::default(), 0); INNER],
            children: [NIL; INNER + 1],
        })
    }

    /// Looks anew at what the separators share.
    pub(super) fn share(&mut self, arena: &Arena) {
        let key = |(spot, len): (Spot, u32)| arena.get(spot, len as usize);
        let Some(last) = self.len.checked_sub(1) else { return };
        self.shared = Shared::of(key(self.keys[0]), key(self.keys[last]));
        let skipped = self.shared.len();
        for (prefix, separator) in self.prefixes.iter_mut().zip(&self.keys).take(self.len) {
            *prefix = prefix_of(&key(*separator)[skipped..]);
        }
    }

    /// Adds a separator at `at` with the child to its right.
    pub(super) fn add(&mut self, at: usize, separator: Separator, child: u32, arena: &Arena) {
        let seen = self.shared.see(arena.get(separator.spot, separator.len as usize));
        self.insert(at, if let Seen::Within(prefix) = seen { prefix } else { 0 }, separator, child);
        if !matches!(seen, Seen::Within(_)) || self.len.is_power_of_two() {
            self.share(arena);
        }
    }

    pub(super) fn insert(&mut self, at: usize, prefix: u128, separator: Separator, child: u32) {
        self.prefixes.copy_within(at..self.len, at + 1);
        self.keys.copy_within(at..self.len, at + 1);
        self.children.copy_within(at + 1..=self.len, at + 2);
        self.prefixes[at] = prefix;
        self.keys[at] = (separator.spot, separator.len);
        self.children[at + 1] = child;
        self.len += 1;
    }

    /// Splits a full node while inserting; returns the separator that goes up, and the node on the right.
    pub(super) fn split(
        &mut self,
        at: usize,
        separator: Separator,
        child: u32,
        arena: &Arena,
    ) -> (Separator, Box<Self>) {
        // At the right end the left node stays full but for the separator that goes up.
        let kept = if at == INNER { INNER - 1 } else { INNER / 2 };
        let (spot, len) = self.keys[kept];
        let middle = Separator { spot, len };
        let mut right = Self::empty();
        let moved = INNER - kept - 1;
        right.keys[..moved].copy_from_slice(&self.keys[kept + 1..]);
        right.children[..=moved].copy_from_slice(&self.children[kept + 1..]);
        right.len = moved;
        self.len = kept;
        if at <= kept {
            self.insert(at, 0, separator, child);
        } else {
            right.insert(at - kept - 1, 0, separator, child);
        }
        self.share(arena);
        right.share(arena);
        (middle, right)
    }
}
