//! How fast compaction goes, and how freely new writes are taken: pure functions of the tree's state.
//!
//! Compaction is paid for by what is written: each byte that enters the memtable lets [`quota`] bytes be compacted, more the further
//! the tree is from its shape (as Pebble and TigerBeetle pace it). So compaction's work is spread over the writes that cause it,
//! and is a function of them alone, which a simulation repeats. While nobody writes it goes as fast as it can.

use crate::options::StoreOptions;

/// Bytes compacted per 1000 bytes written when there is no debt: above what a leveled tree of a few levels needs.
const QUOTA_LEAST: u64 = 4_000;
/// The same when debt is at its limit.
const QUOTA_MOST: u64 = 64_000;
/// Full admission.
pub(crate) const FULL: u64 = 1000;

/// Debt at which compaction goes as fast as it may and writes are admitted at the slowest, in bytes.
fn debt_limit(bottom: u64, options: &StoreOptions) -> u64 {
    options.level_one_bytes.saturating_mul(8).max(bottom)
}

/// How many bytes may be compacted for `written` bytes that entered the memtable, at this debt. `bottom` is the deepest level's
/// bytes.
pub(crate) fn quota(debt: u64, bottom: u64, written: u64, options: &StoreOptions) -> u64 {
    let limit = debt_limit(bottom, options);
    let rise = u128::from(QUOTA_MOST - QUOTA_LEAST) * u128::from(debt.min(limit)) / u128::from(limit.max(1));
    let bytes = u128::from(written) * (u128::from(QUOTA_LEAST) + rise) / 1000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

/// What new writes are measured by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// Bytes in all memtables.
    pub(crate) memtable_bytes: u64,
    /// Runs of level 0.
    pub(crate) level_zero_runs: usize,
    /// Bytes of live log segments.
    pub(crate) log_bytes: u64,
    /// Bytes that compaction owes.
    pub(crate) debt: u64,
    /// Bytes of the deepest level.
    pub(crate) bottom_bytes: u64,
}

/// What can hold new writes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// Memory for what is not flushed yet.
    Memory,
    /// Runs of level 0.
    LevelZero,
    /// The log's size.
    Log,
    /// What compaction owes.
    Debt,
}

/// From 1000 at `from` down to 0 at `to`.
fn falling(at: u64, from: u64, to: u64) -> u64 {
    if at <= from {
        return FULL;
    }
    let span = to.saturating_sub(from).max(1);
    let left = to.saturating_sub(at);
    u64::try_from(u128::from(left) * u128::from(FULL) / u128::from(span)).unwrap_or(FULL).min(FULL)
}

/// How freely new writes may be taken, from 1000 to 0: the least that any of the limits allows, and which of them that is. It reaches
/// 0 where [`crate::Store::pressure`] begins, except for debt, which alone never refuses writes and stops at 100.
pub(crate) fn admission(load: &Load, options: &StoreOptions) -> (u64, Limit) {
    let memtable = options.memtable_bytes as u64;
    // Full: every frozen memtable waits and half of the active one is used up.
    let memory = memtable.saturating_mul(options.frozen_memtables as u64).saturating_add(memtable / 2);
    let calm = memory.saturating_sub(memtable);
    let (runs, stop) = (load.level_zero_runs as u64, options.level_zero_stop as u64);
    let busy = patience(options) as u64;
    let limit = debt_limit(load.bottom_bytes, options);
    let debt = falling(load.debt, limit / 2, limit).max(FULL / 10);
    let mut least = (falling(load.memtable_bytes, calm, memory), Limit::Memory);
    for other in [
        (falling(runs, (busy + stop) / 2, stop), Limit::LevelZero),
        (falling(load.log_bytes, options.log_limit_bytes / 4 * 3, options.log_limit_bytes), Limit::Log),
        (debt, Limit::Debt),
    ] {
        if other.0 < least.0 {
            least = other;
        }
    }
    least
}

/// Runs of level 0 that compaction waits for at most, if there is much to merge them with.
pub(crate) fn patience(options: &StoreOptions) -> usize {
    options.level_zero_trigger + (options.level_zero_stop - options.level_zero_trigger) / 4
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn options() -> StoreOptions {
        StoreOptions {
            memtable_bytes: 100,
            frozen_memtables: 2,
            level_zero_trigger: 4,
            level_zero_stop: 20,
            level_one_bytes: 1000,
            log_limit_bytes: 1000,
            ..StoreOptions::default()
        }
    }

    #[test]
    fn the_quota_rises_with_debt_and_with_what_is_written() {
        let quota = |debt, written| quota(debt, 0, written, &options());
        assert_eq!((quota(0, 1000), quota(4000, 1000), quota(8000, 1000)), (4_000, 34_000, 64_000));
        assert_eq!((quota(u64::MAX, 1000), quota(8000, 500), quota(8000, 0)), (64_000, 32_000, 0));
    }

    #[test]
    fn admission_falls_to_nothing_where_pressure_begins() {
        let with = |change: &dyn Fn(&mut Load)| {
            let mut load = Load::default();
            change(&mut load);
            admission(&load, &options()).0
        };
        assert_eq!(with(&|_| ()), 1000);
        let memory = |bytes| with(&|load| load.memtable_bytes = bytes);
        assert_eq!((memory(150), memory(200), memory(250), memory(900)), (1000, 500, 0, 0));
        let runs = |runs| with(&|load| load.level_zero_runs = runs);
        assert_eq!((runs(8), runs(14), runs(17), runs(20), runs(99)), (1000, 1000, 500, 0, 0));
        let log = |bytes| with(&|load| load.log_bytes = bytes);
        assert_eq!((log(750), log(875), log(1000)), (1000, 500, 0));
        let debt = |bytes| with(&|load| load.debt = bytes);
        assert_eq!((debt(4000), debt(6000), debt(u64::MAX)), (1000, 500, 100));
    }

    #[test]
    fn the_tightest_limit_is_the_one_that_is_named() {
        let load = Load { memtable_bytes: 200, level_zero_runs: 18, log_bytes: 800, debt: 5000, bottom_bytes: 0 };
        assert_eq!(admission(&load, &options()), (333, Limit::LevelZero));
        assert_eq!(admission(&Load { memtable_bytes: 240, ..load }, &options()), (100, Limit::Memory));
        assert_eq!(admission(&Load { log_bytes: 990, ..load }, &options()), (40, Limit::Log));
        assert_eq!(admission(&Load { debt: 8000, ..load }, &options()), (100, Limit::Debt));
    }
}
