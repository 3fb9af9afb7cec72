//! # The in-process backend: one node on one thread, with virtual time
//!
//! A deterministic executor, the [disk model](crate::disk) and in-memory streams, under plain `cargo test`. Everything
//! follows from the seed: which ready task runs next, how long I/O takes, what a crash leaves. Crashes can be placed after any
//! I/O completion ([`Sim::crash_after`]), so that tests can enumerate crash points.
//!
//! ```
//! use highwater_runtime::{AlignedBuf, Env, File, OpenOptions};
//! use highwater_runtime::disk::{CrashKind, Faults};
//! use highwater_runtime::inproc::Sim;
//! use std::path::Path;
//!
//! let mut sim = Sim::new(1, Faults::none());
//! sim.run(|env| async move {
//!     let file = env.open(Path::new("/log"), OpenOptions::CREATE).await.unwrap();
//!     file.write_at(AlignedBuf::from_slice(b"kept"), 0).await.unwrap();
//!     file.sync().await.unwrap();
//!     env.sync_dir(Path::new("/")).await.unwrap();
//! }).unwrap();
//! sim.crash(CrashKind::Power);
//! let head = sim.run(|env| async move {
//!     let file = env.open(Path::new("/log"), OpenOptions::READ).await.unwrap();
//!     file.read_at(0, 4096).await.unwrap()[..4].to_vec()
//! }).unwrap();
//! assert_eq!(head, b"kept");
//! ```

mod env;
mod executor;
mod net;

use std::cell::RefMut;
use std::future::Future;
use std::rc::Rc;

pub use env::{InProcEnv, InProcFile};
pub use net::{InProcListener, InProcStream};

use crate::disk::{CrashKind, Disk, Faults, Survival};
use crate::env::CoreId;
use executor::World;

/// Why a run ended before its body did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The crash point that [`Sim::crash_after`] set was reached; crash the node and run again.
    #[error("the crash point was reached")]
    CrashPoint,
    /// The node stopped itself.
    #[error("the node stopped itself: {0}")]
    FailStop(String),
    /// Nothing can ever happen again, yet the body waits.
    #[error("the body waits for something that never happens")]
    Stalled,
    /// The body did not end within the limit of virtual time.
    #[error("the body did not end within {0} microseconds of virtual time")]
    TimeLimit(u64),
}

/// One simulated node: its disk lives as long as this value, its tasks until the next crash.
#[derive(Debug)]
pub struct Sim {
    world: Rc<World>,
}

impl Sim {
    /// A node of one core with an empty disk.
    #[must_use]
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self::with_disk(seed, Disk::new(seed, faults))
    }

    /// A node of one core with this disk, e.g. a clone of another one's.
    #[must_use]
    pub fn with_disk(seed: u64, disk: Disk) -> Self {
        Self { world: World::new(seed, disk) }
    }

    /// The same node with so many cores (they share the one thread).
    #[must_use]
    pub fn with_cores(self, cores: u16) -> Self {
        self.world.set_cores(cores.max(1));
        self
    }

    /// The environment of a core.
    #[must_use]
    pub fn env(&self, core: CoreId) -> InProcEnv {
        InProcEnv::new(&self.world, core)
    }

    /// Runs `body` on core 0, together with all tasks there are, until it returns. Tasks that it spawned live on, and go on
    /// with the next run or end with the next crash.
    ///
    /// # Errors
    /// [`Stopped`]. After `CrashPoint` and `FailStop` every run fails the same way until [`Sim::crash`].
    pub fn run<T, F, Fut>(&mut self, body: F) -> Result<T, Stopped>
    where
        F: FnOnce(InProcEnv) -> Fut,
        Fut: Future<Output = T>,
    {
        self.world.block_on(body(self.env(CoreId(0))))
    }

    /// Lets the node crash (see [`Stopped::CrashPoint`]) once `completions` more I/O operations have completed: just before the
    /// next one would take effect.
    pub fn crash_after(&mut self, completions: u64) {
        self.world.set_crash_point(completions);
    }

    /// Shows the disk to `observer` at every crash point: before each I/O completion takes effect, until the next crash. A clone of what it
    /// sees is what [`Sim::crash_after`] would stop at, so one run records all its crash points.
    pub fn observe(&mut self, observer: impl FnMut(&Disk) + 'static) {
        self.world.set_observer(Some(Box::new(observer)));
    }

    /// I/O operations completed so far, over all lives.
    #[must_use]
    pub fn completions(&self) -> u64 {
        self.world.completions()
    }

    /// Ends all tasks, connections and handles, and leaves on the disk what the faults' rates draw. The node can run again.
    pub fn crash(&mut self, kind: CrashKind) {
        self.world.disk().crash(kind);
        self.world.end_life();
    }

    /// As [`Sim::crash`], with the test's own choice of what survives.
    pub fn crash_with(&mut self, kind: CrashKind, survival: &mut dyn Survival) {
        self.world.disk().crash_with(kind, survival);
        self.world.end_life();
    }

    /// The node's disk, to look at, to damage, to clone or to change its faults. Not while a run is under way.
    #[must_use]
    pub fn disk(&self) -> RefMut<'_, Disk> {
        self.world.disk()
    }

    /// Switches [`crate::Env::buggify`] sites on or off (off at first).
    pub fn set_buggify(&mut self, enabled: bool) {
        self.world.set_buggify(enabled);
    }

    /// Switches a planted bug on (only with the `mutants` feature; ignored without).
    pub fn set_mutant(&mut self, mutant: Option<u32>) {
        self.world.set_mutant(mutant);
    }

    /// Limit of virtual time for each run, in microseconds (one hour at first).
    pub fn set_time_limit(&mut self, micros: u64) {
        self.world.set_time_limit(micros);
    }

    /// The hash over all that has happened; equal seeds and bodies give equal hashes.
    #[must_use]
    pub fn trace_hash(&self) -> u64 {
        self.world.trace_hash()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        // Tasks hold their environment, which holds the world: without this the cycle would leak.
        self.world.end_life();
    }
}

#[cfg(test)]
mod tests;
