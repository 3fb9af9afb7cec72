//! How fast and how many: what all cores of a node share when they send snapshots.
//!
//! A chunk is given the moment at which it may leave: behind all that was let go before, at the node's rate. Nothing is saved up
//! while nothing is sent, so there are no bursts. The cores share two numbers and nothing else.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use highwater_runtime::Monotonic;

/// Snapshots that a node sends at a time.
pub(crate) const SENT_AT_ONCE: usize = 2;

/// Shared by all cores of a node.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When the next byte may leave, on the node's monotonic clock, in microseconds.
    next: AtomicU64,
    sending: AtomicUsize,
}

/// Leave to send one snapshot; given back when dropped.
#[derive(Debug)]
pub(crate) struct Leave<'a>(&'a Pace);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.sending.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Pace {
    /// Leave to send a snapshot, unless as many are being sent as may.
    pub(crate) fn leave(&self) -> Option<Leave<'_>> {
        let more = |sending: usize| (sending < SENT_AT_ONCE).then_some(sending + 1);
        self.sending.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Leave(self))
    }

    /// When `bytes` more may leave at `rate` bytes per second; 0 is no limit.
    pub(crate) fn admit(&self, now: Monotonic, bytes: u64, rate: u64) -> Monotonic {
        if rate == 0 {
            return now;
        }
        let takes = bytes.saturating_mul(1_000_000).div_ceil(rate);
        let later = |next: u64| Some(next.max(now.0).saturating_add(takes));
        let at = self.next.fetch_update(Ordering::AcqRel, Ordering::Acquire, later).unwrap_or_default();
        Monotonic(at.max(now.0))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn chunks_leave_at_the_rate_and_idle_time_is_not_saved_up() {
        let pace = Pace::default();
        let leaves = |now, bytes| pace.admit(Monotonic(now), bytes, 1000).0;
        assert_eq!([leaves(0, 500), leaves(0, 500), leaves(100, 500)], [0, 500_000, 1_000_000]);
        assert_eq!([leaves(9_000_000, 100), leaves(9_000_000, 1)], [9_000_000, 9_100_000]);
        assert_eq!(pace.admit(Monotonic(3), u64::MAX, 0), Monotonic(3), "no limit");
    }

    #[test]
    fn a_few_are_sent_at_once() {
        let pace = Pace::default();
        let first = pace.leave();
        let second = pace.leave();
        assert!(first.is_some() && second.is_some() && pace.leave().is_none());
        drop(first);
        assert!(pace.leave().is_some());
    }
}
