//! Marks: rare turns of the code that simulations must come to now and then, or they show less than they seem to.
//!
//! Counted for the whole process, and only with the feature `mutants`: a simulation runs one seed per process, and a server that is
//! not simulated counts nothing.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

static MARKS: Mutex<BTreeMap<&'static str, u64>> = Mutex::new(BTreeMap::new());

/// This happens sometimes. `mark` names what, as counters are named.
#[inline]
pub fn sometimes(mark: &'static str) {
    if cfg!(feature = "mutants") {
        *MARKS.lock().unwrap_or_else(PoisonError::into_inner).entry(mark).or_default() += 1;
    }
}

/// What has happened so far, by name, and how often.
#[must_use]
pub fn marks() -> BTreeMap<&'static str, u64> {
    MARKS.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
