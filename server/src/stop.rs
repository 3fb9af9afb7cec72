//! The request to stop, seen by every task of a core.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A flag that rises once. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct Stop(Rc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    requested: Cell<bool>,
    next: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, Waker>>,
}

impl Stop {
    /// Raises the flag and wakes all who wait for it.
    pub fn request(&self) {
        self.0.requested.set(true);
        for (_, waker) in self.0.waiting.take() {
            waker.wake();
        }
    }

    /// Whether it is raised.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.requested.get()
    }

    /// Waits until it is raised.
    #[must_use]
    pub fn requested(&self) -> Requested {
        let number = self.0.next.get();
        self.0.next.set(number + 1);
        Requested { stop: self.clone(), number }
    }
}

/// The future of [`Stop::requested`]. Keeps one waker however often it is polled, and none once it is dropped.
#[derive(Debug)]
pub struct Requested {
    stop: Stop,
    number: u64,
}

impl Future for Requested {
    type Output = ();
    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.stop.is_requested() {
            return Poll::Ready(());
        }
        self.stop.0.waiting.borrow_mut().insert(self.number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Requested {
    fn drop(&mut self) {
        self.stop.0.waiting.borrow_mut().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::disallowed_methods)]
    use super::*;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn all_who_wait_learn_of_the_request_and_nothing_is_left_behind() {
        block_on(async {
            let stop = Stop::default();
            let (mut one, mut two) = (stop.requested(), stop.requested());
            for _ in 0..3 {
                assert!(poll_once(&mut one).await.is_none());
            }
            assert!(poll_once(&mut two).await.is_none());
            assert_eq!(stop.0.waiting.borrow().len(), 2);
            drop(two);
            assert_eq!(stop.0.waiting.borrow().len(), 1);
            stop.request();
            assert!(poll_once(&mut one).await.is_some());
            stop.requested().await;
        });
    }
}
