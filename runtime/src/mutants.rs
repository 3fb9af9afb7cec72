//! Planted bugs that measure the simulation: one may be switched on per process, and only with the feature `mutants`.
//!
//! Process-wide on purpose, so that all cores of a node see the same one; it is chosen before any core starts.

use std::sync::atomic::{AtomicU32, Ordering};

static CHOSEN: AtomicU32 = AtomicU32::new(0);

/// Switches planted bug `number` on, or all off with 0. Without the feature `mutants` nothing happens.
pub fn choose_mutant(number: u32) {
    CHOSEN.store(number, Ordering::Relaxed);
}

/// The number of the planted bug that is switched on; 0 for none. For what is told of it when it is made.
#[must_use]
pub fn chosen_mutant() -> u32 {
    if cfg!(feature = "mutants") { CHOSEN.load(Ordering::Relaxed) } else { 0 }
}

/// Whether planted bug `number` is switched on.
#[must_use]
pub fn mutant(number: u32) -> bool {
    cfg!(feature = "mutants") && number != 0 && CHOSEN.load(Ordering::Relaxed) == number
}
