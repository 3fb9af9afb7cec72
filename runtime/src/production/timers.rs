//! The timers of a core: all sleeps in one ordered map, and one timer of glommio for the first of them.
//!
//! glommio looks through every one of its timers whenever it polls for events, and most sleeps are deadlines that are dropped long
//! before their time: hundreds of them would cost more than the work that they guard. Here such a sleep costs an entry in a map.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::future;
use glommio::TaskQueueHandle;

use super::env::die;
use crate::env::Monotonic;

/// The sleeps of one core.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: RefCell<BTreeMap<(Monotonic, u64), Waker>>,
    next: Cell<u64>,
    /// What the server's own timer is set to; none while it sleeps without one, or does not run yet.
    armed: Cell<Option<Monotonic>>,
    /// An earlier sleep than that has begun.
    is_earlier: Cell<bool>,
    is_served: Cell<bool>,
    server: RefCell<Option<Waker>>,
}

impl Timers {
    /// Ends at `at` by the clock `now`.
    pub fn sleep_until(self: &Rc<Self>, at: Monotonic, now: fn() -> Monotonic) -> Sleep {
        if !self.is_served.replace(true) {
            // In the queue of foreground work: the first sleep may be one of the background's.
            match glommio::spawn_local_into(serve(Rc::clone(self), now), TaskQueueHandle::default()) {
                Ok(server) => drop(server.detach()),
                Err(error) => die(&format!("the first queue of this core is gone: {error}")),
            }
        }
        Sleep { timers: Rc::clone(self), at, now, entry: None }
    }

    fn insert(&self, at: Monotonic, waker: Waker) -> (Monotonic, u64) {
        let entry = (at, self.next.get());
        self.next.set(entry.1.wrapping_add(1));
        self.waiting.borrow_mut().insert(entry, waker);
        if self.armed.get().is_none_or(|armed| at < armed) && !self.is_earlier.replace(true) {
            let server = self.server.take();
            if let Some(server) = server {
                server.wake();
            }
        }
        entry
    }

    /// Takes out who is due, and says when the next one is.
    fn due(&self, now: Monotonic) -> (Vec<Waker>, Option<Monotonic>) {
        let mut waiting = self.waiting.borrow_mut();
        let mut due = Vec::new();
        while let Some(first) = waiting.first_entry() {
            let (at, _) = *first.key();
            if at > now {
                return (due, Some(at));
            }
            due.push(first.remove());
        }
        (due, None)
    }

    /// Waits until an earlier sleep has begun than the server knows of.
    async fn earlier(&self) {
        poll_fn(|context| {
            if self.is_earlier.replace(false) {
                return Poll::Ready(());
            }
            self.server.replace(Some(context.waker().clone()));
            Poll::Pending
        })
        .await;
    }
}

/// Wakes sleeps when they are due, for as long as the executor runs.
async fn serve(timers: Rc<Timers>, now: fn() -> Monotonic) {
    loop {
        timers.is_earlier.set(false);
        let (due, next) = timers.due(now());
        timers.armed.set(next);
        due.into_iter().for_each(Waker::wake);
        match next {
            Some(at) => {
                let left = Duration::from_micros(at.micros_since(now()));
                future::or(timers.earlier(), glommio::timer::sleep(left)).await;
            }
            None => timers.earlier().await,
        }
    }
}

/// A sleep; leaves nothing behind when it is dropped.
#[derive(Debug)]
pub(super) struct Sleep {
    timers: Rc<Timers>,
    at: Monotonic,
    now: fn() -> Monotonic,
    entry: Option<(Monotonic, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if (self.now)() >= self.at {
            return Poll::Ready(());
        }
        if let Some(entry) = self.entry
            && let Some(waker) = self.timers.waiting.borrow_mut().get_mut(&entry)
        {
            waker.clone_from(context.waker());
            return Poll::Pending;
        }
        // The first time; or it was woken a little early.
        let entry = self.timers.insert(self.at, context.waker().clone());
        self.entry = Some(entry);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(entry) = &self.entry {
            let removed = self.timers.waiting.borrow_mut().remove(entry);
            drop(removed);
        }
    }
}
