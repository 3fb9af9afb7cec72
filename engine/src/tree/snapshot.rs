//! Snapshots: sequence numbers that compaction must respect.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use crate::ids::Seq;

/// The sequence numbers that readers hold.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots(Rc<RefCell<BTreeMap<Seq, usize>>>);

/// A point in a store's history. While it or a clone of it lives, everything that was visible at it stays readable.
#[derive(Debug)]
pub struct Snapshot {
    seq: Seq,
    held: Snapshots,
}

impl Snapshots {
    pub(crate) fn take(&self, seq: Seq) -> Snapshot {
        *self.0.borrow_mut().entry(seq).or_default() += 1;
        Snapshot { seq, held: self.clone() }
    }

    /// All sequence numbers held, rising.
    pub(crate) fn held(&self) -> Vec<Seq> {
        self.0.borrow().keys().copied().collect()
    }

    /// Whether some reader sees `old` and not `new`.
    pub(crate) fn between(&self, old: Seq, new: Seq) -> bool {
        self.0.borrow().range(old..new).next().is_some()
    }
}

impl Snapshot {
    pub(crate) const fn seq(&self) -> Seq {
        self.seq
    }
}

impl Clone for Snapshot {
    fn clone(&self) -> Self {
        self.held.take(self.seq)
    }
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let mut held = self.held.0.borrow_mut();
        if let Some(count) = held.get_mut(&self.seq) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.seq);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_sequence_is_held_until_its_last_clone_is_dropped() {
        let snapshots = Snapshots::default();
        let first = snapshots.take(Seq(5));
        let second = first.clone();
        drop(first);
        assert_eq!(snapshots.held(), [Seq(5)]);
        assert!(snapshots.between(Seq(5), Seq(6)) && !snapshots.between(Seq(3), Seq(5)));
        drop(second);
        assert_eq!(snapshots.held(), []);
    }
}
