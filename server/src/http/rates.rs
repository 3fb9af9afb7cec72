//! Requests per second of one user or address: token buckets, on one core, in bounded memory.
//!
//! A bucket holds one second's worth of requests and fills evenly. A full bucket is as good as none; when there are too many, the one
//! that was used longest ago is forgotten, which is found without looking at the others.

use std::collections::BTreeMap;

use highwater_runtime::Monotonic;

/// Buckets that one core keeps of each kind.
const KEPT: usize = 10_000;
/// A request, in units in which a microsecond fills `rate` of a bucket.
const REQUEST: u64 = 1_000_000;

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// What is left, in units of which [`REQUEST`] are one request.
    left: u64,
    at: Monotonic,
    /// Its place among those used at that moment.
    number: u64,
}

/// The buckets of one kind of key.
#[derive(Debug)]
pub(super) struct Rates<K> {
    per_second: u64,
    buckets: BTreeMap<K, Bucket>,
    /// Keys by when they were last used.
    order: BTreeMap<(Monotonic, u64), K>,
    /// Requests taken so far.
    taken: u64,
}

impl<K: Ord + Clone> Rates<K> {
    /// So many requests per second of each key; 0: no limit.
    pub(super) const fn new(per_second: u32) -> Self {
        Self { per_second: per_second as u64, buckets: BTreeMap::new(), order: BTreeMap::new(), taken: 0 }
    }

    /// Takes a request of this key; false when there is no room for it, as there will be within a second.
    pub(super) fn take(&mut self, key: &K, now: Monotonic) -> bool {
        if self.per_second == 0 {
            return true;
        }
        let full = self.per_second * REQUEST;
        let filled = |bucket: &Bucket| {
            bucket.left.saturating_add(now.micros_since(bucket.at).saturating_mul(self.per_second)).min(full)
        };
        let left = self.buckets.get(key).map_or(full, filled);
        let Some(rest) = left.checked_sub(REQUEST) else { return false };
        self.taken += 1;
        let used = Bucket { left: rest, at: now, number: self.taken };
        if let Some(bucket) = self.buckets.get_mut(key) {
            let before = std::mem::replace(bucket, used);
            self.order.remove(&(before.at, before.number));
        } else {
            if self.buckets.len() >= KEPT
                && let Some((_, oldest)) = self.order.pop_first()
            {
                self.buckets.remove(&oldest);
            }
            self.buckets.insert(key.clone(), used);
        }
        self.order.insert((now, self.taken), key.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000;

    #[test]
    fn a_second_holds_so_many_and_fills_evenly() {
        let mut rates = Rates::new(10);
        for _ in 0..10 {
            assert!(rates.take(&"a", Monotonic(0)));
        }
        assert!(!rates.take(&"a", Monotonic(0)));
        assert!(rates.take(&"b", Monotonic(0)), "each key has its own");
        assert!(!rates.take(&"a", Monotonic(SECOND / 10 - 1)));
        assert!(rates.take(&"a", Monotonic(SECOND / 10)));
        for _ in 0..10 {
            assert!(rates.take(&"a", Monotonic(10 * SECOND)), "more than a second is not saved up");
        }
        assert!(!rates.take(&"a", Monotonic(10 * SECOND)));
    }

    #[test]
    fn without_a_rate_there_is_no_limit() {
        let mut rates = Rates::new(0);
        assert!((0..1000).all(|_| rates.take(&1, Monotonic(0))));
        assert!(rates.buckets.is_empty());
    }

    #[test]
    fn memory_is_bounded_and_those_who_wait_are_not_forgotten_for_those_who_do_not() {
        let mut rates = Rates::new(1);
        for key in 0..KEPT as u64 {
            assert!(rates.take(&key, Monotonic(key)));
        }
        let late = Monotonic(KEPT as u64 + SECOND / 2);
        assert!(rates.take(&u64::MAX, late));
        assert_eq!(rates.buckets.len(), KEPT);
        assert_eq!(rates.order.len(), KEPT);
        assert!(!rates.take(&(KEPT as u64 - 1), late));
    }
}
