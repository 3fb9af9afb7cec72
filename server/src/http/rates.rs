//! Requests per second of one user or address: token buckets, on one core, in bounded memory.
//!
//! A bucket holds one second's worth of requests and fills evenly. A full bucket is as good as none, so those that are full are
//! forgotten first; when there are too many others, the one that was used longest ago is.

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
}

/// The buckets of one kind of key.
#[derive(Debug)]
pub(super) struct Rates<K> {
    per_second: u64,
    buckets: BTreeMap<K, Bucket>,
}

impl<K: Ord + Clone> Rates<K> {
    /// So many requests per second of each key; 0: no limit.
    pub(super) const fn new(per_second: u32) -> Self {
        Self { per_second: per_second as u64, buckets: BTreeMap::new() }
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
        if let Some(bucket) = self.buckets.get_mut(key) {
            *bucket = Bucket { left: rest, at: now };
            return true;
        }
        if self.buckets.len() >= KEPT {
            let rate = self.per_second;
            self.buckets.retain(|_, bucket| bucket.left + now.micros_since(bucket.at).saturating_mul(rate) < full);
        }
        if self.buckets.len() >= KEPT
            && let Some(oldest) = self.buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(key, _)| key.clone())
        {
            self.buckets.remove(&oldest);
        }
        self.buckets.insert(key.clone(), Bucket { left: rest, at: now });
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
        assert!(!rates.take(&(KEPT as u64 - 1), late));
    }
}
