//! A wake-up for tasks of one core: whoever waits for a change of something, waits here and looks again.
//!
//! No state of its own but a counter, so no wake-up is ever lost: a waiter says what it has seen.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::task::{Poll, Waker};

/// Counts changes and wakes those who wait for the next.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    changes: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Signal {
    /// How many changes there were; taken before looking at what may change.
    pub(crate) fn seen(&self) -> u64 {
        self.changes.get()
    }

    /// Something changed.
    pub(crate) fn notify(&self) {
        self.changes.set(self.changes.get() + 1);
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Waits until there is a change after `seen`.
    pub(crate) async fn changed_since(&self, seen: u64) {
        poll_fn(|context| {
            if self.changes.get() != seen {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}
