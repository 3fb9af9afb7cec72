//! The time slice of a core: when a task that goes on for long lets the others have their turn.
//!
//! glommio's own answer is a timer per turn of the executor ([`super::launch`] says what a short one costs). Here the tasks that
//! can be long measure instead: they ask once per block, and the answer costs one reading of the clock (25 ns).

use std::cell::Cell;
use std::time::{Duration, Instant};

/// After this time a task that asks is told to yield.
pub(super) const TIME_SLICE: Duration = Duration::from_micros(500);
/// The slice while a read of the disk is under way: about what the disk takes for one, so that it is noticed soon after it is done.
const SLICE_BESIDE_READ: Duration = Duration::from_micros(100);
/// The pause at the end of a slice that lets the executor look at its rings: as short as a timer can be.
pub(super) const LOOK_AT_RINGS: Duration = Duration::from_micros(1);
/// A slice that began longer ago than this began before a pause of the core: a task that runs asks more often.
const STALE: Duration = Duration::from_millis(10);

thread_local! {
    static READS: Cell<usize> = const { Cell::new(0) };
}

/// A read of a file is under way on this core while this lives.
///
/// The executor looks at its rings when nothing runs, or when its timer ends the turn. Beside tasks that always have something to
/// do, who waits for the disk would wait for that timer each time: they pause for a moment at the end of their slice instead.
#[derive(Debug)]
pub(super) struct ReadUnderWay(());

impl ReadUnderWay {
    pub(super) fn begin() -> Self {
        READS.set(READS.get() + 1);
        Self(())
    }

    /// Whether any is under way on this core.
    pub(super) fn any() -> bool {
        READS.get() > 0
    }
}

impl Drop for ReadUnderWay {
    fn drop(&mut self) {
        READS.set(READS.get() - 1);
    }
}

/// When the current slice of a core began.
#[derive(Debug)]
pub(super) struct Slice(Cell<Instant>);

impl Slice {
    pub(super) fn new() -> Self {
        Self(Cell::new(Instant::now()))
    }

    /// Whether whoever asks should yield now. Once true it stays so until [`restart`](Self::restart).
    pub(super) fn is_over(&self) -> bool {
        let lasted = self.0.get().elapsed();
        if lasted > STALE {
            self.restart();
        }
        let slice = if ReadUnderWay::any() { SLICE_BESIDE_READ } else { TIME_SLICE };
        (slice..=STALE).contains(&lasted)
    }

    /// A new slice begins: another task has its turn.
    pub(super) fn restart(&self) {
        self.0.set(Instant::now());
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn begun(ago: Duration) -> Slice {
        Slice(Cell::new(Instant::now().checked_sub(ago).unwrap()))
    }

    #[test]
    fn reads_are_known_while_they_last() {
        assert!(!ReadUnderWay::any());
        let (first, second) = (ReadUnderWay::begin(), ReadUnderWay::begin());
        drop(first);
        assert!(ReadUnderWay::any());
        drop(second);
        assert!(!ReadUnderWay::any());
    }

    #[test]
    fn a_slice_is_over_once_its_time_is_up_until_a_new_one_begins() {
        // Far enough from the bounds that a slow test is judged alike: an hour is what no test takes.
        let ahead = Slice(Cell::new(Instant::now() + Duration::from_secs(3600)));
        assert!(!ahead.is_over());
        let over = begun(TIME_SLICE);
        let answers = [over.is_over(), over.is_over()];
        // On a machine that stood still for ten milliseconds in between it is stale, and then a new one has begun.
        assert!(answers == [true, true] || !over.is_over());
    }

    #[test]
    fn a_slice_from_before_a_pause_says_nothing_and_begins_anew() {
        let stale = begun(Duration::from_secs(3600));
        assert!(!stale.is_over());
        assert!(stale.0.get().elapsed() < Duration::from_secs(3600));
    }
}
