//! How large levels should be, and how far the tree is from that.
//!
//! The deepest level holds most data and is given; the others follow from it (dynamic leveled compaction, as RocksDB's
//! `level_compaction_dynamic_level_bytes`): as few levels between level 0 and the deepest as keep each at most `level_ratio` times
//! the one above, level 0 counting as `level_one_bytes`, and the growth spread evenly over them. Levels above the highest of
//! these (the base) are emptied, so while the data is small, level 0 is merged straight into the deepest level.

use crate::manifest::edit::LEVELS;
use crate::manifest::{Levels, Run};
use crate::options::StoreOptions;

/// The deepest level.
pub(crate) const BOTTOM: usize = LEVELS - 1;

/// Target sizes of a tree's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// The level that level 0 is merged into: the highest that should hold data, or that does.
    pub(crate) base: usize,
    /// Target bytes per level: 0 for those above the base, no limit for the deepest. Level 0 is told by its number of runs.
    targets: [u64; LEVELS],
    /// How much larger each level is than the one above.
    pub(crate) fan: u64,
}

pub(crate) fn level_bytes(runs: &[Run]) -> u64 {
    runs.iter().map(Run::bytes).sum()
}

/// Whether `first * ratio^steps` reaches `bytes`.
fn reaches(first: u64, ratio: u64, steps: usize, bytes: u64) -> bool {
    let mut size = u128::from(first.max(1));
    for _ in 0..steps {
        size = size.saturating_mul(u128::from(ratio));
    }
    size >= u128::from(bytes)
}

impl Sizes {
    /// The targets for a tree of this shape.
    pub(crate) fn of(levels: &Levels, options: &StoreOptions) -> Self {
        let largest = levels.iter().skip(1).map(|runs| level_bytes(runs)).max().unwrap_or(0);
        let first = options.level_one_bytes;
        let fits = |between: usize, bytes| reaches(first, options.level_ratio, between + 1, bytes);
        let mut between = (0..BOTTOM - 1).find(|between| fits(*between, largest)).unwrap_or(BOTTOM - 1);
        // A level that is in use stays so until the tree is half as large, lest it be filled and emptied in turns.
        let used = |between: usize| levels.get(BOTTOM - between).is_some_and(|runs| !runs.is_empty());
        if between + 1 < BOTTOM && used(between + 1) && !fits(between, largest.saturating_mul(2)) {
            between += 1;
        }
        let fan = (2..options.level_ratio).find(|fan| reaches(first, *fan, between + 1, largest));
        let fan = fan.unwrap_or(options.level_ratio);
        let mut targets = [0; LEVELS];
        let mut target = largest;
        for (level, slot) in targets.iter_mut().enumerate().rev() {
            if level == BOTTOM {
                *slot = u64::MAX;
            } else if level >= BOTTOM - between {
                target /= fan;
                *slot = target.max(1);
            }
        }
        // What is above the base is newer than what is below it, so nothing may pass it on its way down.
        let highest = levels.iter().enumerate().skip(1).find(|(_, runs)| !runs.is_empty()).map_or(BOTTOM, |(at, _)| at);
        Self { base: highest.min(BOTTOM - between), targets, fan }
    }

    /// Target bytes of a level below level 0.
    pub(crate) fn target(&self, level: usize) -> u64 {
        self.targets.get(level).copied().unwrap_or(u64::MAX)
    }

    /// Bytes that compaction has to move, each level step counted: those above a level's target times the levels that they have to
    /// go down, level 0's target being `level_one_bytes`.
    pub(crate) fn debt(&self, levels: &Levels, options: &StoreOptions) -> u64 {
        let steps = |level: usize| if level == 0 { BOTTOM + 1 - self.base } else { BOTTOM - level } as u64;
        let over = |(level, runs): (usize, &Vec<Run>)| {
            let target = if level == 0 { options.level_one_bytes } else { self.target(level) };
            level_bytes(runs).saturating_sub(target).saturating_mul(steps(level))
        };
        levels.iter().enumerate().map(over).fold(0, u64::saturating_add)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::drawing::levels;
    use super::*;

    fn options() -> StoreOptions {
        StoreOptions { level_one_bytes: 100 << 10, level_ratio: 8, ..StoreOptions::default() }
    }

    fn drawn(drawing: &str) -> String {
        let levels = levels(drawing);
        let sizes = Sizes::of(&levels, &options());
        let targets: Vec<u64> = (sizes.base..BOTTOM).map(|level| sizes.target(level) >> 10).collect();
        let debt = sizes.debt(&levels, &options()) >> 10;
        format!("base L{} fan {} targets {targets:?} debt {debt}", sizes.base, sizes.fan)
    }

    #[test]
    fn few_data_have_no_level_between_and_more_have_evenly_growing_ones() {
        assert_eq!(drawn(""), "base L6 fan 2 targets [] debt 0");
        assert_eq!(drawn("L6 1:a-b:800"), "base L6 fan 8 targets [] debt 0");
        assert_eq!(drawn("L6 1:a-b:900"), "base L5 fan 3 targets [300] debt 0");
        assert_eq!(drawn("L6 1:a-b:6400"), "base L5 fan 8 targets [800] debt 0");
        assert_eq!(drawn("L6 1:a-b:12500"), "base L4 fan 5 targets [500, 2500] debt 0");
    }

    #[test]
    fn a_level_in_use_stays_until_the_tree_is_half_as_large() {
        assert_eq!(drawn("L5 2:a-b:10\nL6 1:a-b:800"), "base L5 fan 3 targets [266] debt 0");
        assert_eq!(drawn("L5 2:a-b:10\nL6 1:a-b:400"), "base L5 fan 4 targets [0] debt 10");
    }

    #[test]
    fn debt_counts_every_level_that_a_byte_has_to_go_down() {
        assert_eq!(drawn("L0 2:a-b:80|3:a-b:80\nL5 4:a-b:400\nL6 1:a-b:900"), "base L5 fan 3 targets [300] debt 220");
    }
}
