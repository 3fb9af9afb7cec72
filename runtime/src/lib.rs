//! # The runtime: the only door to the outside
//!
//! Owns tasks, time, randomness, network, files and core-to-core queues, behind one contract ([`Env`]) with three backends:
//! glommio (production), [in-process](inproc) (unit tests of leaf crates under plain cargo) and madsim (whole-cluster simulation).
//! Must never: leak a backend's type through the contract, or let a caller see a short read, a short write or an
//! unordered promise that the contract does not name.
#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the door itself: clocks, threads, files and sockets are reached here so that nobody else has to"
)]

mod buffer;
mod buggify;
#[cfg(test)]
mod conformance;
pub mod disk;
mod env;
pub mod gate;
pub mod inproc;
mod interrupts;
pub mod launch;
mod marks;
mod mutants;
pub mod network;
pub mod preflight;
#[cfg(not(madsim))]
pub mod production;
pub mod queue;
pub mod rng;
#[cfg(madsim)]
pub mod sim;
mod trace;

#[cfg(not(madsim))]
use production as backend;
#[cfg(madsim)]
use sim as backend;

/// The environment of the present backend, for everything above the leaf crates.
pub use backend::Rt;
pub use buffer::{AlignedBuf, BLOCK};
pub use env::{CoreId, Env, File, Listener, Monotonic, OpenOptions, WallMicros};
pub use launch::{Cores, CpuSet, CpuSetError, JoinError, LaunchError, launch};
pub use marks::{marks, sometimes};
pub use mutants::{choose_mutant, chosen_mutant, mutant};
