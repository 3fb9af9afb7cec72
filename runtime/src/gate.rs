//! A bound on concurrent work of one core: so many at a time, so many waiting, the rest is refused.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

/// Both the places and the queue before them are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// Places that tasks of one core share. Clones share the same places.
#[derive(Clone, Debug)]
pub struct Gate(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    places: u32,
    queue: u32,
    taken: Cell<u32>,
    waiting: Cell<u32>,
    wakers: RefCell<Vec<Waker>>,
}

/// A place; free again when this is dropped.
#[derive(Debug)]
pub struct Pass(Rc<Inner>);

impl Gate {
    /// `places` at a time, `queue` waiting.
    #[must_use]
    pub fn new(places: u32, queue: u32) -> Self {
        Self(Rc::new(Inner { places, queue, taken: Cell::new(0), waiting: Cell::new(0), wakers: RefCell::default() }))
    }

    /// A place, if one is free now.
    #[must_use]
    pub fn try_enter(&self) -> Option<Pass> {
        let taken = self.0.taken.get();
        if taken >= self.0.places {
            return None;
        }
        self.0.taken.set(taken + 1);
        Some(Pass(Rc::clone(&self.0)))
    }

    /// Places that are taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.0.taken.get()
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// [`Full`] when too many wait already.
    pub async fn enter(&self) -> Result<Pass, Full> {
        if let Some(pass) = self.try_enter() {
            return Ok(pass);
        }
        if self.0.waiting.get() >= self.0.queue {
            return Err(Full);
        }
        let _waiting = Waiting::new(&self.0.waiting);
        Ok(poll_fn(|context| match self.try_enter() {
            Some(pass) => Poll::Ready(pass),
            None => {
                self.0.remember(context.waker());
                Poll::Pending
            }
        })
        .await)
    }

    /// Waits until every place is free.
    pub async fn idle(&self) {
        poll_fn(|context| {
            if self.0.taken.get() == 0 {
                return Poll::Ready(());
            }
            self.0.remember(context.waker());
            Poll::Pending
        })
        .await;
    }
}

impl Inner {
    fn remember(&self, waker: &Waker) {
        let mut wakers = self.wakers.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.taken.set(self.0.taken.get().saturating_sub(1));
        // All wake and look again: a waiter that has given up meanwhile cannot swallow the place.
        for waker in self.0.wakers.take() {
            waker.wake();
        }
    }
}

/// Counts one waiter, even one whose future is dropped.
struct Waiting<'a>(&'a Cell<u32>);

impl<'a> Waiting<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::disallowed_methods
    )]
    use super::*;
    use futures_lite::future::{block_on, poll_once};
    use std::pin::pin;

    #[test]
    fn a_place_is_given_on_when_it_is_free_and_the_rest_is_refused() {
        block_on(async {
            let gate = Gate::new(1, 1);
            let first = gate.enter().await.unwrap();
            let mut second = pin!(gate.enter());
            assert!(poll_once(second.as_mut()).await.is_none());
            assert_eq!(gate.enter().await.err(), Some(Full));
            drop(first);
            let second = poll_once(second.as_mut()).await.unwrap().unwrap();
            assert_eq!(gate.taken(), 1);
            drop(second);
            gate.idle().await;
        });
    }

    #[test]
    fn a_waiter_that_gives_up_leaves_its_place_in_the_queue() {
        block_on(async {
            let gate = Gate::new(1, 1);
            let first = gate.enter().await.unwrap();
            {
                let mut gives_up = pin!(gate.enter());
                assert!(poll_once(gives_up.as_mut()).await.is_none());
            }
            let mut patient = pin!(gate.enter());
            assert!(poll_once(patient.as_mut()).await.is_none());
            drop(first);
            assert!(poll_once(patient.as_mut()).await.unwrap().is_ok());
        });
    }
}
