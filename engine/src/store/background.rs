//! The store's workers: tasks that sleep until there is work, and end with the store.
//!
//! They hold the store only while they work. A full disk makes them try again later; anything else that keeps them from
//! working is shown as pressure.

use std::rc::{Rc, Weak};

use highwater_runtime::Env;

use super::{Store, Troubles};
use crate::error::EngineError;
use crate::gate::Event;

/// How long a worker waits before it tries again, in microseconds.
const RETRY_MICROS: u64 = 200_000;

#[derive(Clone, Copy)]
enum Worker {
    Flush,
    Compaction,
}

impl Worker {
    const fn name(self) -> &'static str {
        match self {
            Self::Flush => "engine-flush",
            Self::Compaction => "engine-compaction",
        }
    }

    fn trouble(self, troubles: &mut Troubles) -> &mut Option<EngineError> {
        match self {
            Self::Flush => &mut troubles.flush,
            Self::Compaction => &mut troubles.compaction,
        }
    }
}

impl<E: Env> Store<E> {
    /// Starts the workers.
    pub(super) fn start_workers(self: &Rc<Self>) {
        self.start_worker(Worker::Flush, &self.flush_wake);
        self.start_worker(Worker::Compaction, &self.compact_wake);
        self.start_deletion();
        self.start_scrub();
        let (weak, wake, env) = (Rc::downgrade(self), self.seal_wake.clone(), self.env.clone());
        let quiet = self.options.seal_after_micros;
        self.env.spawn("engine-seal", seal_when_idle(weak, wake, env, quiet));
        self.flush_wake.notify();
        self.compact_wake.notify();
    }

    fn start_worker(self: &Rc<Self>, worker: Worker, wake: &Event) {
        let (weak, wake, env) = (Rc::downgrade(self), wake.clone(), self.env.clone());
        self.env.spawn(worker.name(), async move {
            loop {
                wake.wait().await;
                let Some(store) = weak.upgrade() else { return };
                if store.closed.get() {
                    return;
                }
                let worked = store.work(worker).await;
                drop(store);
                if !worked {
                    env.sleep(RETRY_MICROS).await;
                    wake.notify();
                }
            }
        });
    }

    /// Does all the work there is. Returns whether it could.
    async fn work(&self, worker: Worker) -> bool {
        self.busy.set(self.busy.get() + 1);
        let outcome = match worker {
            Worker::Flush => self.flush_work().await,
            Worker::Compaction => self.compaction_work().await,
        };
        self.busy.set(self.busy.get() - 1);
        let trouble = outcome.err().filter(|error| *error != EngineError::Closed);
        let worked = trouble.is_none();
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
