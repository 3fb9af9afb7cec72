//! What a core keeps between the calls of one read: scans that are being fetched page by page, and long answers that are fetched in parts;
//! and which home of a group has answered last.
//!
//! Whoever asks may be gone: what is not asked for is dropped after a while. Both are bounded in number.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_raft::NodeId;
use highwater_runtime::{Env, Monotonic};

use super::super::Node;
use super::super::streaming::Pages;

/// A scan whose next page nobody asks for is over after this, in microseconds.
const SCAN_MICROS: u64 = 600_000_000;
/// A long answer of which nobody asks for more is dropped after this, in microseconds.
const ANSWER_MICROS: u64 = 30_000_000;
/// Scans that one core holds for other nodes.
const MAX_SCANS: usize = 1024;
/// Long answers that one core holds for other nodes.
const MAX_ANSWERS: usize = 64;
/// Between two looks at what is over, in microseconds.
const SWEEP_MICROS: u64 = 5_000_000;

/// What one core holds.
#[derive(Default)]
pub(in super::super) struct Held {
    scans: RefCell<BTreeMap<u64, (Monotonic, Pages)>>,
    answers: RefCell<BTreeMap<u64, (Monotonic, Bytes)>>,
    is_swept: Cell<bool>,
    heard: RefCell<BTreeMap<u32, NodeId>>,
}

impl Held {
    /// The home of a group that has answered last.
    pub(super) fn heard(&self, group: u32) -> Option<NodeId> {
        self.heard.borrow().get(&group).copied()
    }

    /// A home of a group has answered.
    pub(super) fn hears(&self, group: u32, home: NodeId) {
        self.heard.borrow_mut().insert(group, home);
    }

    /// A scan for one page; who has it puts it back, if there may be more.
    pub(super) fn take_scan(&self, scan: u64) -> Option<Pages> {
        self.scans.borrow_mut().remove(&scan).map(|(_, pages)| pages)
    }

    /// Bytes of a long answer from an offset on, at most `most`; the last of them end it.
    pub(super) fn part(&self, answer: u64, offset: u64, most: usize) -> Option<Bytes> {
        let mut answers = self.answers.borrow_mut();
        let (_, bytes) = answers.get(&answer)?;
        let from = usize::try_from(offset).ok().filter(|from| *from < bytes.len())?;
        let end = from.saturating_add(most).min(bytes.len());
        let part = bytes.slice(from..end);
        if end == bytes.len() {
            answers.remove(&answer);
        }
        Some(part)
    }

    fn is_empty(&self) -> bool {
        self.scans.borrow().is_empty() && self.answers.borrow().is_empty()
    }

    fn sweep(&self, now: Monotonic) {
        self.scans.borrow_mut().retain(|_, (until, _)| *until > now);
        self.answers.borrow_mut().retain(|_, (until, _)| *until > now);
    }
}

impl Node {
    /// Holds a scan under a number; none when too many are held.
    pub(super) fn hold_scan(&self, scan: u64, pages: Pages) -> bool {
        let held = &self.0.held;
        if held.scans.borrow().len() >= MAX_SCANS {
            return false;
        }
        held.scans.borrow_mut().insert(scan, (self.env().now().after_micros(SCAN_MICROS), pages));
        self.sweep_held();
        true
    }

    /// Holds a long answer, and gives its number. The oldest go when there are too many.
    pub(super) fn hold_answer(&self, bytes: Bytes) -> u64 {
        let (held, answer) = (&self.0.held, self.env().random());
        let mut answers = held.answers.borrow_mut();
        while answers.len() >= MAX_ANSWERS
            && let Some(oldest) = answers.iter().min_by_key(|(_, (until, _))| *until).map(|(answer, _)| *answer)
        {
            answers.remove(&oldest);
        }
        answers.insert(answer, (self.env().now().after_micros(ANSWER_MICROS), bytes));
        drop(answers);
        self.sweep_held();
        answer
    }

    /// Drops what is over, as long as anything is held.
    fn sweep_held(&self) {
        if self.0.held.is_swept.replace(true) {
            return;
        }
        let node = self.clone();
        self.env().spawn("held answers", async move {
            while !node.0.held.is_empty() && !node.is_closing() {
                node.env().sleep(SWEEP_MICROS).await;
                node.0.held.sweep(node.env().now());
            }
            node.0.held.is_swept.set(false);
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_long_answer_is_given_in_parts_and_dropped_with_the_last() {
        let held = Held::default();
        held.answers.borrow_mut().insert(7, (Monotonic(9), Bytes::from_static(b"abcde")));
        assert_eq!(held.part(7, 2, 2).as_deref(), Some(&b"cd"[..]));
        assert_eq!(held.part(7, 2, 2).as_deref(), Some(&b"cd"[..]), "a part may be asked for again");
        assert_eq!(held.part(7, 5, 2), None);
        assert_eq!(held.part(7, 4, 2).as_deref(), Some(&b"e"[..]));
        assert!(held.is_empty() && held.part(7, 0, 2).is_none());
    }

    #[test]
    fn what_nobody_asks_for_is_dropped() {
        let held = Held::default();
        held.answers.borrow_mut().insert(7, (Monotonic(9), Bytes::from_static(b"abcde")));
        held.sweep(Monotonic(8));
        assert!(!held.is_empty());
        held.sweep(Monotonic(9));
        assert!(held.is_empty());
    }
}
