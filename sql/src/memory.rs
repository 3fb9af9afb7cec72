//! Memory that everything of one kind on a node or core shares, so that many of it together cannot take the machine's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::diag::{Diag, SqlState};

/// Bytes that a share takes at once, so that cores which share a pool seldom meet.
const STEP: usize = 64 << 10;

/// So many bytes for everything that queries hold, or that requests bring. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Pool(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    most: usize,
    taken: AtomicUsize,
}

impl Pool {
    /// No bound: for what is bounded otherwise.
    #[must_use]
    pub const fn unbounded() -> Self {
        Self(None)
    }

    /// At most so many bytes.
    #[must_use]
    pub fn of(most: usize) -> Self {
        Self(Some(Arc::new(Shared { most, taken: AtomicUsize::new(0) })))
    }

    /// The bound, in bytes.
    #[must_use]
    pub fn most(&self) -> usize {
        self.0.as_ref().map_or(usize::MAX, |shared| shared.most)
    }

    /// Bytes that are taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.0.as_ref().map_or(0, |shared| shared.taken.load(Ordering::Relaxed))
    }

    fn give(&self, bytes: usize) {
        if let Some(shared) = &self.0 {
            shared.taken.fetch_sub(bytes, Ordering::Relaxed);
        }
    }

    fn has_taken(&self, bytes: usize) -> bool {
        let Some(shared) = &self.0 else { return true };
        let grown = |taken: usize| taken.checked_add(bytes).filter(|taken| *taken <= shared.most);
        shared.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, grown).is_ok()
    }

    /// What a query is told for which too little is left (53200). Some is free again as soon as others end.
    #[must_use]
    pub fn refusal(&self) -> Diag {
        let most = self.most();
        let message = format!("the queries of this node would hold more than {most} bytes together (sql.max_memory)");
        Diag::new(SqlState::OUT_OF_MEMORY, message)
            .hint("Retry after a short pause; read answers as they come, and in parts if they are large.")
    }

    /// A share of nothing yet.
    #[must_use]
    pub fn share(&self) -> Share {
        Share { pool: self.clone(), ..Share::default() }
    }
}

/// Bytes of a pool, given back when this is dropped.
#[derive(Debug, Default)]
pub struct Share {
    pool: Pool,
    taken: usize,
    used: usize,
}

impl Share {
    /// Takes more bytes; false, and nothing taken, when too few are left.
    #[must_use]
    pub fn grow(&mut self, bytes: usize) -> bool {
        let used = self.used.saturating_add(bytes);
        let lacking = used.saturating_sub(self.taken);
        if lacking > 0 {
            let step = lacking.max(STEP);
            if self.pool.has_taken(step) {
                self.taken = self.taken.saturating_add(step);
            } else if self.pool.has_taken(lacking) {
                self.taken = self.taken.saturating_add(lacking);
            } else {
                return false;
            }
        }
        self.used = used;
        true
    }

    /// Gives bytes back, to the pool as soon as they are many.
    pub fn shrink(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
        let kept = self.used.saturating_add(STEP);
        if self.taken >= kept.saturating_add(STEP) {
            self.pool.give(self.taken - kept);
            self.taken = kept;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.pool.give(self.taken);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_is_free_again_when_its_share_is_dropped() {
        let pool = Pool::of(10 * STEP);
        let (mut first, mut second) = (pool.share(), pool.clone().share());
        assert!(first.grow(6 * STEP) && second.grow(1));
        assert_eq!(pool.taken(), 7 * STEP);
        assert!(!second.grow(4 * STEP) && second.grow(4 * STEP - 1), "what is refused takes nothing");
        assert!(!first.grow(1));
        first.shrink(5 * STEP);
        assert_eq!(pool.taken(), 6 * STEP, "one step is kept");
        drop(first);
        assert_eq!(pool.taken(), 4 * STEP);
        drop(second);
        assert_eq!(pool.taken(), 0);
        assert!(Pool::unbounded().share().grow(usize::MAX));
    }

    #[test]
    fn the_last_bytes_are_taken_one_by_one() {
        let pool = Pool::of(STEP + 2);
        let (mut first, mut second) = (pool.share(), pool.share());
        assert!(first.grow(1) && second.grow(1) && second.grow(1));
        assert!(!second.grow(1));
        assert_eq!(pool.taken(), STEP + 2);
    }
}
