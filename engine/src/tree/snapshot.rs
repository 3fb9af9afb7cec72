//! Snapshots: sequence numbers that compaction must respect.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::ids::Seq;

/// The sequence numbers that readers hold, rising, with how many hold each; none is held by nobody. Most are the newest one, taken and
/// dropped at once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshots(Rc<RefCell<VecDeque<(Seq, usize)>>>);

/// A point in a store's history. While it or a clone of it lives, everything that was visible at it stays readable.
#[derive(Debug)]
pub struct Snapshot {
    seq: Seq,
    held: Snapshots,
}

impl Snapshots {
    pub(crate) fn take(&self, seq: Seq) -> Snapshot {
        {
            let mut held = self.0.borrow_mut();
            match held.back_mut() {
                Some((last, count)) if *last == seq => *count += 1,
                Some((last, _)) if *last > seq => {
                    let at = held.partition_point(|(other, _)| *other < seq);
                    match held.get_mut(at) {
                        Some((other, count)) if *other == seq => *count += 1,
                        _ => held.insert(at, (seq, 1)),
                    }
                }
                Some(_) | None => held.push_back((seq, 1)),
            }
        }
        Snapshot { seq, held: self.clone() }
    }

    /// All sequence numbers held, rising.
    pub(crate) fn held(&self) -> Vec<Seq> {
        self.0.borrow().iter().map(|(seq, _)| *seq).collect()
    }

    /// Whether some reader sees `old` and not `new`.
    pub(crate) fn between(&self, old: Seq, new: Seq) -> bool {
        let held = self.0.borrow();
        // Nearly always, all that is held is older.
        match held.back() {
            Some((last, _)) if *last >= old => {
                held.get(held.partition_point(|(seq, _)| *seq < old)).is_some_and(|(seq, _)| *seq < new)
            }
            Some(_) | None => false,
        }
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
        let at = held.partition_point(|(seq, _)| *seq < self.seq);
        if let Some((_, count)) = held.get_mut(at) {
            *count -= 1;
            if *count == 0 {
                held.remove(at);
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

    #[test]
    fn snapshots_of_any_order_are_counted() {
        fn property(steps: Vec<(u8, bool)>) -> bool {
            let snapshots = Snapshots::default();
            let mut held: Vec<Snapshot> = Vec::new();
            for (seq, take) in steps {
                if take || held.is_empty() {
                    held.push(snapshots.take(Seq(u64::from(seq % 16))));
                } else {
                    held.remove(usize::from(seq) % held.len());
                }
                let mut expected: Vec<Seq> = held.iter().map(Snapshot::seq).collect();
                expected.sort_unstable();
                expected.dedup();
                assert_eq!(snapshots.held(), expected);
                for old in 0..16 {
                    let sees = |new: u64| expected.iter().any(|seq| (old..new).contains(&seq.0));
                    assert!((old..17).all(|new| snapshots.between(Seq(old), Seq(new)) == sees(new)));
                }
            }
            true
        }
        quickcheck::quickcheck(property as fn(Vec<(u8, bool)>) -> bool);
    }
}
