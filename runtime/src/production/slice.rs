//! The time slice of a core: when a task that goes on for long lets the others have their turn.
//!
//! glommio's own answer is a timer per turn of the executor ([`super::launch`] says what a short one costs). Here the tasks that
//! can be long measure instead: they ask once per block, and the answer costs one reading of the clock (25 ns).

use std::cell::Cell;
use std::time::{Duration, Instant};

/// After this time a task that asks is told to yield.
pub(super) const TIME_SLICE: Duration = Duration::from_micros(500);
/// A slice that began longer ago than this began before a pause of the core: a task that runs asks more often.
const STALE: Duration = Duration::from_millis(10);

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
        (TIME_SLICE..=STALE).contains(&lasted)
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
