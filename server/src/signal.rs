//! A wake-up for tasks of one core: whoever waits for a change of something, waits here and looks again.
//!
//! No state of its own but a counter, so no wake-up is ever lost: a waiter says what it has seen.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// Counts changes and wakes those who wait for the next.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    changes: Cell<u64>,
    next_wait: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

/// A wait for the next change; leaves nothing behind when it is dropped.
pub(crate) struct Changed<'a> {
    signal: &'a Signal,
    seen: u64,
    wait: u64,
}

impl Signal {
    /// How many changes there were; taken before looking at what may change.
    pub(crate) fn seen(&self) -> u64 {
        self.changes.get()
    }

    /// Something changed.
    pub(crate) fn notify(&self) {
        self.changes.set(self.changes.get() + 1);
        for waker in self.waiting.take().into_values() {
            waker.wake();
        }
    }

    /// Waits until there is a change after `seen`.
    pub(crate) fn changed_since(&self, seen: u64) -> Changed<'_> {
        let wait = self.next_wait.get();
        self.next_wait.set(wait + 1);
        Changed { signal: self, seen, wait }
    }
}

impl Future for Changed<'_> {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.changes.get() != self.seen {
            return Poll::Ready(());
        }
        self.signal.waiting.borrow_mut().insert(self.wait, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Changed<'_> {
    fn drop(&mut self) {
        self.signal.waiting.borrow_mut().remove(&self.wait);
    }
}
