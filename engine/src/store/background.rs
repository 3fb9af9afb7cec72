//! The store's workers: tasks that sleep until there is work, and end with the store.
//!
//! They hold the store only while they work. A full disk makes them try again later; anything else that keeps them from
//! working is shown as pressure.

use std::rc::{Rc, Weak};

use highwater_runtime::Env;

use super::{Store, Troubles};
use crate::compaction::controller::Lane;
use crate::error::EngineError;
use crate::gate::Event;

/// How long a worker waits before it tries again, in microseconds.
const RETRY_MICROS: u64 = 200_000;
/// Without a write for this long, compaction does what it had put off, in microseconds.
const QUIET_MICROS: u64 = 1_000_000;

#[derive(Clone, Copy)]
enum Worker {
    Flush,
    Compaction(Lane),
}

impl Worker {
    const fn name(self) -> &'static str {
        match self {
            Self::Flush => "engine-flush",
            Self::Compaction(Lane::Upper) => "engine-compaction",
            Self::Compaction(Lane::Deep) => "engine-deep-compaction",
        }
    }

    fn trouble(self, troubles: &mut Troubles) -> &mut Option<EngineError> {
        match self {
            Self::Flush => &mut troubles.flush,
            Self::Compaction(Lane::Upper) => &mut troubles.upper,
            Self::Compaction(Lane::Deep) => &mut troubles.deep,
        }
    }
}

impl<E: Env> Store<E> {
    /// Starts the workers.
    pub(super) fn start_workers(self: &Rc<Self>) {
        self.start_worker(Worker::Flush, &self.flush_wake);
        for lane in [Lane::Upper, Lane::Deep] {
            self.start_worker(Worker::Compaction(lane), self.compaction.wake_of(lane));
        }
        self.start_deletion();
        self.start_scrub();
        let (weak, wake, env) = (Rc::downgrade(self), self.seal_wake.clone(), self.env.clone());
        let quiet = self.options.seal_after_micros;
        self.env.spawn("engine-seal", seal_when_idle(weak, wake, env, quiet));
        self.flush_wake.notify();
        self.compaction.wake();
    }

    fn start_worker(self: &Rc<Self>, worker: Worker, wake: &Event) {
        let (weak, wake, env) = (Rc::downgrade(self), wake.clone(), self.env.clone());
        let task = async move {
            // What was taken in when something was put off until nobody writes.
            let mut put_off: Option<u64> = None;
            loop {
                let mut quiet = false;
                match put_off.take() {
                    None => wake.wait().await,
                    Some(taken) => {
                        let woken = async {
                            wake.wait().await;
                            false
                        };
                        let slept = async {
                            env.sleep(QUIET_MICROS).await;
                            true
                        };
                        let slept = futures_lite::future::or(woken, slept).await;
                        let Some(store) = weak.upgrade() else { return };
                        quiet = slept && store.counters.taken_bytes.get() == taken;
                    }
                }
                let Some(store) = weak.upgrade() else { return };
                if store.closed.get() {
                    return;
                }
                let worked = store.work(worker, quiet).await;
                put_off = (worked == Some(true)).then(|| store.counters.taken_bytes.get());
                drop(store);
                if worked.is_none() {
                    env.sleep(RETRY_MICROS).await;
                    wake.notify();
                }
            }
        };
        match worker {
            // Writes wait for it when memory is full.
            Worker::Flush => self.env.spawn(worker.name(), task),
            Worker::Compaction(_) => self.env.spawn_background(worker.name(), task),
        }
    }

    /// Does all the work there is. Returns whether something was put off until nobody writes; `None` if it could not.
    async fn work(&self, worker: Worker, quiet: bool) -> Option<bool> {
        self.busy.set(self.busy.get() + 1);
        let outcome = match worker {
            Worker::Flush => self.flush_work().await.map(|()| false),
            Worker::Compaction(lane) => self.compaction_work(lane, quiet).await,
        };
        self.busy.set(self.busy.get() - 1);
        let put_off = outcome.as_ref().is_ok_and(|put_off| *put_off);
        let trouble = outcome.err().filter(|error| *error != EngineError::Closed);
        let worked = trouble.is_none().then_some(put_off);
        if self.env.mutant(117) && matches!((worker, &trouble), (Worker::Flush, Some(EngineError::NoSpace { .. }))) {
            // Planted bug 117: a memtable that found no space counts as flushed.
            self.memtables.borrow_mut().frozen.pop_front();
        }
        self.note_full(trouble.as_ref());
        *worker.trouble(&mut self.troubles.borrow_mut()) = trouble;
        self.progress.announce();
        worked
    }
}

/// Seals the log when nothing was appended for a while, so that damage at its very end is noticed too.
async fn seal_when_idle<E: Env>(weak: Weak<Store<E>>, wake: Event, env: E, quiet_micros: u64) {
    loop {
        wake.wait().await;
        loop {
            let Some(before) = weak.upgrade().filter(|store| !store.closed.get()).map(|store| store.log.appends())
            else {
                return;
            };
            env.sleep(quiet_micros).await;
            let Some(store) = weak.upgrade().filter(|store| !store.closed.get()) else { return };
            if store.log.appends() == before {
                // Closed is the only refusal, and then there is nothing to seal.
                let _ = store.log.seal().await;
                break;
            }
        }
    }
}
