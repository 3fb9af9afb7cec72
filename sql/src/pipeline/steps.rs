//! What the steps of a read gave, for EXPLAIN ANALYZE.

use serde::{Deserialize, Serialize};

/// Rows that each step of a read gave, whether or not it has that step; all runs together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Steps {
    /// Rows that were looked at.
    pub read: u64,
    /// Those that WHERE let through.
    pub kept: u64,
    /// Groups that HAVING let through.
    pub groups: u64,
    /// Rows that DISTINCT let through.
    pub distinct: u64,
    /// Rows that the sort gave.
    pub sorted: u64,
    /// Time until the last row was read, in microseconds.
    pub micros: u64,
}

impl std::ops::AddAssign for Steps {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.kept += other.kept;
        self.groups += other.groups;
        self.distinct += other.distinct;
        self.sorted += other.sorted;
        self.micros += other.micros;
    }
}
