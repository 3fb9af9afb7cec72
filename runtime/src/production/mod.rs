//! # The production backend: glommio on io_uring
//!
//! One executor per CPU, direct I/O, one small pool for what blocks. What is defective in glommio 0.10.15 is avoided here by
//! construction; the list with the place of each is in `docs/crates/runtime.md` (G1 to G18).

mod blocking;
mod env;
mod file;
mod launch;
mod net;
mod nudge;
mod preflight;
mod pulse;
mod rings;
mod slice;
mod timers;

pub use env::GlommioEnv;
pub use file::GlommioFile;
pub use launch::{Cores, launch};
pub use net::{GlommioListener, GlommioStream};
pub(crate) use preflight::probe;

/// The environment above the leaf crates.
pub type Rt = GlommioEnv;

/// A message between cores was queued.
#[inline]
pub(crate) fn note_message() {
    pulse::note_activity();
}

#[cfg(test)]
mod tests;
