//! Waiting between tasks of one core: a fair gate for critical sections that await, and an event that wakes a worker.
//!
//! Both survive a waiter that is dropped: the turn passes on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use futures_channel::oneshot;

#[derive(Default)]
struct GateState {
    taken: Cell<bool>,
    waiting: RefCell<VecDeque<oneshot::Sender<Pass>>>,
}

/// Lets one task in at a time, in order of arrival.
#[derive(Clone, Default)]
pub(crate) struct Gate(Rc<GateState>);

/// The right to be inside; leaving is dropping it.
pub(crate) struct Pass(Rc<GateState>);

impl Gate {
    /// Waits for the turn.
    pub(crate) async fn enter(&self) -> Pass {
        loop {
            if !self.0.taken.get() {
                self.0.taken.set(true);
                return Pass(Rc::clone(&self.0));
            }
            let (turn, arrived) = oneshot::channel();
            self.0.waiting.borrow_mut().push_back(turn);
            if let Ok(pass) = arrived.await {
                return pass;
            }
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        let next = self.0.waiting.borrow_mut().pop_front();
        match next {
            // The gate stays taken: the pass is handed over. A waiter that is gone drops it, and we are here again.
            Some(turn) => drop(turn.send(Self(Rc::clone(&self.0)))),
            None => self.0.taken.set(false),
        }
    }
}

/// Wakes one worker; notifications while nobody waits are remembered as one.
#[derive(Clone, Default)]
pub(crate) struct Event(Rc<EventState>);

#[derive(Default)]
struct EventState {
    raised: Cell<bool>,
    waker: Cell<Option<Waker>>,
}

impl Event {
    /// Wakes the worker, now or at its next wait.
    pub(crate) fn notify(&self) {
        self.0.raised.set(true);
        if let Some(waker) = self.0.waker.take() {
            waker.wake();
        }
    }

    /// Waits for a notification. Only one task may wait.
    pub(crate) async fn wait(&self) {
        poll_fn(|context| {
            if self.0.raised.replace(false) {
                return Poll::Ready(());
            }
            self.0.waker.set(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Wakes everyone who waits for the next change of something.
#[derive(Default)]
pub(crate) struct Progress(RefCell<Vec<oneshot::Sender<()>>>);

impl Progress {
    /// Wakes all who wait.
    pub(crate) fn announce(&self) {
        for waiter in self.0.take() {
            let _ = waiter.send(());
        }
    }

    /// Waits for the next announcement; the caller looks again at what it waits for.
    pub(crate) async fn changed(&self) {
        let (sender, receiver) = oneshot::channel();
        self.0.borrow_mut().push(sender);
        let _ = receiver.await;
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

    #[test]
    fn the_gate_admits_one_at_a_time_in_order() {
        block_on(async {
            let gate = Gate::default();
            let first = gate.enter().await;
            let mut second = Box::pin(gate.enter());
            let mut third = Box::pin(gate.enter());
            assert!(poll_once(&mut second).await.is_none());
            assert!(poll_once(&mut third).await.is_none());
            drop(first);
            assert!(poll_once(&mut third).await.is_none());
            let pass = poll_once(&mut second).await.expect("its turn");
            drop(pass);
            assert!(poll_once(&mut third).await.is_some());
        });
    }

    #[test]
    fn a_waiter_that_is_dropped_with_its_turn_passes_it_on() {
        block_on(async {
            let gate = Gate::default();
            let first = gate.enter().await;
            let mut second = Box::pin(gate.enter());
            let mut third = Box::pin(gate.enter());
            assert!(poll_once(&mut second).await.is_none());
            assert!(poll_once(&mut third).await.is_none());
            drop(first);
            drop(second);
            assert!(poll_once(&mut third).await.is_some());
        });
    }
}
