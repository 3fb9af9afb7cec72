//! The pulse: a thread that wakes every executor each few milliseconds, so that a lost wake-up costs time and not the core.
//! While nothing happens it slows down, so that an idle server costs next to nothing.
//!
//! glommio (all published versions; fixed after them in glommio/glommio#53) parks an executor that has runnable tasks when the
//! preemption timer or a foreign wake-up lands between its poll for events and its first look at the run queue: "preempted
//! before anything ran" is taken for "nothing to run". Nothing else may ever wake it. The next pulse does, from outside, so that
//! each one is an independent chance; a timer inside the executor would be lost the same way.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use rustix::thread::sched_setaffinity;

use crate::env::CoreId;

/// Time between two pulses while there is work: the longest that a lost wake-up usually lasts.
const SHORTEST: Duration = Duration::from_millis(5);
/// Time between two pulses once nothing has happened for a while; each idle pulse doubles the time up to here.
const LONGEST: Duration = Duration::from_millis(80);

/// Whether anything happened since the last pulse.
static ACTIVE: AtomicBool = AtomicBool::new(false);

/// Something happened on some executor: a task, a message, I/O.
#[inline]
pub(crate) fn note_activity() {
    // Most often it is set already, and reading alone keeps the cache line shared between the cores.
    if !ACTIVE.load(Ordering::Relaxed) {
        ACTIVE.store(true, Ordering::Relaxed);
    }
}

type Wakers = Mutex<BTreeMap<CoreId, Waker>>;

fn lock(wakers: &Wakers) -> MutexGuard<'_, BTreeMap<CoreId, Waker>> {
    wakers.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The executors that the thread wakes; it ends when the last handle is dropped.
#[derive(Clone, Debug)]
pub(super) struct Pulse(Arc<Wakers>);

impl Pulse {
    pub fn start(mask: rustix::thread::CpuSet) -> io::Result<Self> {
        let wakers = Arc::new(Wakers::default());
        let seen = Arc::downgrade(&wakers);
        std::thread::Builder::new().name("pulse".to_owned()).spawn(move || {
            super::launch::abort_on_panic_here();
            // A thread that may run anywhere still works.
            let _ = sched_setaffinity(None, &mask);
            beat(&seen);
        })?;
        Ok(Self(wakers))
    }

    /// Has this executor woken until [`Pulse::leave`]; called on it. `joined` is called when that has begun.
    pub fn join(&self, core: CoreId, joined: impl FnOnce() + 'static) {
        let wakers = Arc::downgrade(&self.0);
        let mut joined = Some(joined);
        glommio::spawn_local(poll_fn(move |context| {
            if let Some(joined) = joined.take()
                && let Some(wakers) = wakers.upgrade()
            {
                lock(&wakers).insert(core, context.waker().clone());
                joined();
            }
            Poll::<()>::Pending
        }))
        .detach();
    }

    /// No more pulses; called on the executor, whose task the waker belongs to.
    pub fn leave(&self, core: CoreId) {
        lock(&self.0).remove(&core);
    }
}

fn beat(wakers: &Weak<Wakers>) {
    let mut period = SHORTEST;
    loop {
        std::thread::sleep(period);
        period = if ACTIVE.swap(false, Ordering::Relaxed) { SHORTEST } else { (period * 2).min(LONGEST) };
        let Some(wakers) = wakers.upgrade() else { return };
        for waker in lock(&wakers).values() {
            waker.wake_by_ref();
        }
    }
}
