//! "Look again": wakes the one task that waits for it. A signal that comes before the wait is not lost.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// One waiter at a time, on one core.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    raised: Cell<bool>,
    waiter: RefCell<Option<Waker>>,
}

impl Signal {
    /// Wakes the waiter, or lets the next wait end at once.
    pub(crate) fn raise(&self) {
        self.raised.set(true);
        let waiter = self.waiter.take();
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }

    /// Waits for the next [`Self::raise`].
    pub(crate) async fn raised(&self) {
        poll_fn(|context| {
            if self.raised.take() {
                return Poll::Ready(());
            }
            self.waiter.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Raised once and for good; any number may wait.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopped: Cell<bool>,
    waiters: RefCell<BTreeMap<u64, Waker>>,
    next: Cell<u64>,
}

impl Stop {
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        for waiter in self.waiters.take().into_values() {
            waiter.wake();
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.get()
    }

    /// Waits for [`Self::stop`].
    pub(crate) fn stopped(&self) -> Stopped<'_> {
        let key = self.next.get();
        self.next.set(key.saturating_add(1));
        Stopped { stop: self, key }
    }
}

/// Waits for a [`Stop`]; leaves nothing behind when it is dropped before.
pub(crate) struct Stopped<'a> {
    stop: &'a Stop,
    key: u64,
}

impl Future for Stopped<'_> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.stop.stopped.get() {
            return Poll::Ready(());
        }
        self.stop.waiters.borrow_mut().insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Stopped<'_> {
    fn drop(&mut self) {
        let _ = self.stop.waiters.borrow_mut().remove(&self.key);
    }
}
