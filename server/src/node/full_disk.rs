//! Telling the operator that a store's disk is full, and that it is not any more: once each, however often it comes and goes.

use std::cell::Cell;

use highwater_runtime::Monotonic;

/// A full disk that comes back within this time after it was told is not told again, in microseconds.
const SILENCE_MICROS: u64 = 60_000_000;

/// What there is to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    /// The disk is full.
    Full,
    /// Writes are taken again.
    Over,
}

/// What was told of a store's disk.
#[derive(Debug, Default)]
pub(super) struct FullDisk {
    /// Told to be full, and not yet to be so no more.
    is_told: Cell<bool>,
    /// When it was last told.
    at: Cell<Option<Monotonic>>,
}

impl FullDisk {
    /// What there is to tell of a disk that is full or not.
    pub(super) fn look(&self, is_full: bool, now: Monotonic) -> Option<News> {
        if is_full == self.is_told.get() {
            return None;
        }
        if !is_full {
            self.is_told.set(false);
            return Some(News::Over);
        }
        if self.at.get().is_some_and(|at| now.micros_since(at) < SILENCE_MICROS) {
            return None;
        }
        self.is_told.set(true);
        self.at.set(Some(now));
        Some(News::Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_once_when_it_comes_and_when_it_goes_and_at_most_once_a_minute() {
        let disk = FullDisk::default();
        let at = |seconds: u64, is_full| disk.look(is_full, Monotonic(seconds * 1_000_000));
        assert_eq!((at(0, false), at(1, true), at(2, true)), (None, Some(News::Full), None));
        assert_eq!((at(3, false), at(4, false)), (Some(News::Over), None));
        assert_eq!((at(5, true), at(6, false), at(60, true)), (None, None, None));
        assert_eq!((at(61, true), at(300, true), at(301, false)), (Some(News::Full), None, Some(News::Over)));
    }
}
