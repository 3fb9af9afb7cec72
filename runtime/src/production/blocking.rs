//! The blocking pool: the few threads on which system calls and key derivations run that would block an executor.
//!
//! Its threads may run on the executors' CPUs and on no others, so that the database stays where the operator put it.
//! glommio's own pool has one thread per executor, on that executor's CPU: a key derivation there would hold up its renames.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_channel::oneshot;
use rustix::thread::sched_setaffinity;

/// Threads of the pool: enough that one long derivation does not stop the folder syncs.
const THREADS: usize = 3;

type Work = Box<dyn FnOnce() + Send>;

/// A handle of the pool; its threads end when the last one is dropped.
#[derive(Clone, Debug)]
pub(super) struct BlockingPool(flume::Sender<Work>);

impl BlockingPool {
    pub fn start(mask: rustix::thread::CpuSet) -> io::Result<Self> {
        // Unbounded on purpose: a submitter is a task that waits for its answer, so tasks bound the queue.
        let (sender, receiver) = flume::unbounded::<Work>();
        for index in 0..THREADS {
            let receiver = receiver.clone();
            std::thread::Builder::new().name(format!("blocking-{index}")).spawn(move || {
                super::launch::abort_on_panic_here();
                // A thread that may run anywhere still works; the executors' own pinning is checked at launch.
                let _ = sched_setaffinity(None, &mask);
                while let Ok(work) = receiver.recv() {
                    work();
                }
            })?;
        }
        Ok(Self(sender))
    }

    /// Runs `work` on a thread of the pool.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, result) = oneshot::channel();
        let sent = self.0.send(Box::new(move || {
            // The panic hook has already aborted the process, unless a test runs without it.
            if let Ok(value) = catch_unwind(AssertUnwindSafe(work)) {
                let _ = done.send(value);
            }
        }));
        match (sent, result.await) {
            (Ok(()), Ok(value)) => value,
            // Only when a thread died, which aborts the process.
            _ => std::future::pending().await,
        }
    }
}
