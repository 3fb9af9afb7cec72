//! What EXPLAIN ANALYZE counts: per part of the plan its runs, rows and time.

use std::collections::BTreeMap;

use crate::pipeline::Steps;

/// What was counted of one part of a plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// How often it ran.
    pub runs: u64,
    /// Rows that it gave, all runs together.
    pub rows: u64,
    /// Bytes of those rows in memory, for what reads tables.
    pub bytes: u64,
    /// Time in it and below it, in microseconds, all runs together.
    pub micros: u64,
}

/// What was counted of a plan. Parts are known by where they are in memory: a plan does not move while it runs.
#[derive(Debug, Default)]
pub struct Statistics {
    parts: BTreeMap<usize, Counted>,
    steps: BTreeMap<usize, Steps>,
}

/// How a part of a plan is known.
pub(crate) fn address<T>(part: &T) -> usize {
    std::ptr::from_ref(part).addr()
}

impl Statistics {
    /// Counts the bytes of rows that a part has given.
    pub(super) fn weigh(&mut self, part: usize, bytes: usize) {
        self.parts.entry(part).or_default().bytes += bytes as u64;
    }

    pub(super) fn note(&mut self, part: usize, rows: usize, micros: u64, is_run: bool) {
        let counted = self.parts.entry(part).or_default();
        counted.runs += u64::from(is_run);
        counted.rows += rows as u64;
        counted.micros += micros;
    }

    pub(super) fn note_steps(&mut self, part: usize, steps: Steps) {
        *self.steps.entry(part).or_default() += steps;
    }

    /// What the steps of a SELECT gave; nothing when it never ran.
    #[must_use]
    pub fn steps_of<T>(&self, part: &T) -> Steps {
        self.steps.get(&address(part)).copied().unwrap_or_default()
    }

    /// What was counted of this part; `None` when it never ran.
    #[must_use]
    pub fn of<T>(&self, part: &T) -> Option<Counted> {
        self.parts.get(&address(part)).copied()
    }
}
