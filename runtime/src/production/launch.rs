//! One pinned executor per CPU, and what happens when code on one of them panics.

use std::cell::Cell;
use std::future::Future;
use std::io::Write;
use std::sync::Once;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use glommio::{LocalExecutorBuilder, Placement};
use rustix::thread::sched_getaffinity;

use super::blocking::BlockingPool;
use super::env::GlommioEnv;
use super::nudge::Nudge;
use super::pulse::Pulse;
use crate::env::CoreId;
use crate::launch::{CpuSet, JoinError, LaunchError};

/// Memory that each executor registers for I/O, in bytes. Larger demand falls back to the heap. Each of the three rings' registration
/// counts against RLIMIT_MEMLOCK (8 MiB by default) unless privileged, so it stays small.
const IO_MEMORY: usize = 1 << 20;
/// Entries of each of an executor's rings.
const RING_DEPTH: usize = 256;
/// How long an executor may run tasks before it looks at its disks and sockets again. glommio sets this timer at every turn; one
/// that is due before the kernel's next tick (4 ms) makes each turn program the clock's hardware twice, which is a third of the
/// processor time of a small durable write on a virtual machine. What must be shorter is measured: [`super::slice`].
const LONGEST_TURN: Duration = Duration::from_millis(5);

/// How long an executor may take to its first task before it is nudged, each time.
const FIRST_TASK: Duration = Duration::from_millis(50);

thread_local! {
    static ABORT_ON_PANIC: Cell<bool> = const { Cell::new(false) };
}

/// From now on a panic on this thread ends the process.
///
/// glommio unwinds the executor when any task panics, and the rest of the process would go on without that core (G13).
pub(super) fn abort_on_panic_here() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            previous(info);
            if ABORT_ON_PANIC.get() {
                // Written directly: the print macros may be captured and lost.
                let _ = writeln!(std::io::stderr(), "highwater: {info}; the process stops");
                std::process::abort();
            }
        }));
    });
    ABORT_ON_PANIC.set(true);
}

/// The CPU that this thread is pinned to, if to exactly one.
fn pinned_cpu() -> Option<usize> {
    let mask = sched_getaffinity(None).ok()?;
    let mut cpus = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| mask.is_set(*cpu));
    let cpu = cpus.next()?;
    cpus.next().is_none().then_some(cpu)
}

/// The running executors.
#[derive(Debug)]
pub struct Cores {
    handles: Vec<JoinHandle<Result<(), String>>>,
    pinned: Vec<usize>,
}

impl Cores {
    /// The CPU of each core, by core index, as the executors' threads read it back from the system.
    #[must_use]
    pub fn pinned(&self) -> &[usize] {
        &self.pinned
    }

    /// Blocks this thread until every core's body has returned.
    ///
    /// # Errors
    /// The first core that ended otherwise.
    pub fn join(self) -> Result<(), JoinError> {
        let mut outcome = Ok(());
        for (core, handle) in (0..).zip(self.handles) {
            let ended = ended(handle.join()).map_err(|reason| JoinError { core, reason });
            outcome = outcome.and(ended);
        }
        outcome
    }
}

/// What became of an executor's thread.
fn ended(joined: std::thread::Result<Result<(), String>>) -> Result<(), String> {
    joined.unwrap_or_else(|_| Err("its thread panicked".to_owned()))
}

/// Starts one executor per CPU, pinned to it, and runs `body` on each with that core's environment.
///
/// # Errors
/// [`LaunchError`] when any executor or another thread does not start; bodies that did start then still run until the
/// process ends.
pub fn launch<F, Fut>(cpus: &CpuSet, body: F) -> Result<Cores, LaunchError>
where
    F: Fn(GlommioEnv) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = ()> + 'static,
{
    let core_count = u16::try_from(cpus.len()).map_err(|_| LaunchError::TooManyCores(cpus.len()))?;
    let mut mask = rustix::thread::CpuSet::new();
    for cpu in cpus.iter() {
        mask.set(cpu);
    }
    let pool = BlockingPool::start(mask).map_err(LaunchError::Thread)?;
    let pulse = Pulse::start(mask).map_err(LaunchError::Thread)?;
    let nudge = Nudge::new().map_err(LaunchError::Thread)?;
    let mut handles = Vec::new();
    let mut pinned = Vec::new();
    for (core, cpu) in (0..core_count).zip(cpus.iter()) {
        let failed = |reason: String| LaunchError::Executor { cpu, reason };
        let (report, reported) = mpsc::sync_channel(1);
        let (body, pool, pulse) = (body.clone(), pool.clone(), pulse.clone());
        let builder = LocalExecutorBuilder::new(Placement::Fixed(cpu))
            .io_memory(IO_MEMORY)
            .ring_depth(RING_DEPTH)
            .preempt_timer(LONGEST_TURN);
        let thread = std::thread::Builder::new().name(format!("core-{core}"));
        let handle = thread
            .spawn(move || {
                let executor = builder.make().map_err(|error| error.to_string())?;
                executor.run(async move {
                    abort_on_panic_here();
                    // The launcher waits for this message; it comes once a lost wake-up cannot be for good any more.
                    pulse.join(CoreId(core), move || {
                        let _ = report.send(pinned_cpu());
                    });
                    body(GlommioEnv::new(CoreId(core), core_count, pool)).await;
                    pulse.leave(CoreId(core));
                });
                Ok(())
            })
            .map_err(LaunchError::Thread)?;
        let reported = loop {
            match reported.recv_timeout(FIRST_TASK) {
                Err(RecvTimeoutError::Timeout) => nudge.thread(&handle),
                Err(RecvTimeoutError::Disconnected) => break Err(mpsc::RecvError),
                Ok(cpu) => break Ok(cpu),
            }
        };
        match reported {
            Ok(Some(read_back)) if read_back == cpu => pinned.push(read_back),
            Ok(other) => return Err(failed(format!("its thread is not pinned there (read back: {other:?})"))),
            // The thread ended before its body: joining says why.
            Err(mpsc::RecvError) => {
                let reason = ended(handle.join()).err().unwrap_or_else(|| "it ended at once".to_owned());
                return Err(failed(reason));
            }
        }
        handles.push(handle);
    }
    Ok(Cores { handles, pinned })
}
