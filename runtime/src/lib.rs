//! # The runtime: the only door to the outside
//!
//! Owns tasks, time, randomness, network, files and core-to-core queues, behind one contract ([`Env`]) with three backends:
//! glommio (production), [in-process](inproc) (unit tests of leaf crates under plain cargo) and madsim (whole-cluster simulation).
//! Must never: leak a backend's type through the contract, or let a caller see a short read, a short write or an
//! unordered promise that the contract does not name.

mod buffer;
mod buggify;
pub mod disk;
mod env;
pub mod inproc;
pub mod queue;
pub mod rng;
mod trace;

pub use buffer::{AlignedBuf, BLOCK};
pub use env::{CoreId, Env, File, Listener, Monotonic, OpenOptions, WallMicros};
