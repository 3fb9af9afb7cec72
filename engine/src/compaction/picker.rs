//! Which tables to merge next: a pure function of the levels' shapes.
//!
//! Level 0 counts tables, every other level bytes against a target that grows by a fixed ratio. The level that exceeds its
//! target most goes first. From level 0 all tables go at once, since they overlap; from other levels the one that overlaps least
//! with the next level in relation to its size (as RocksDB and TigerBeetle choose), which is moved when it overlaps nothing.
//! A table most of whose versions are deletes goes down even when its level is within its target, so that trimmed
//! ranges give their space back.

use crate::manifest::TableMeta;
use crate::options::StoreOptions;

/// A table with fewer versions than this is not worth a compaction of its own.
const DELETE_HEAVY_ENTRIES: u64 = 64;

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compaction {
    /// The level that gives.
    pub(crate) from: usize,
    /// The level that takes.
    pub(crate) to: usize,
    /// Tables of `from`, newest first on level 0.
    pub(crate) inputs: Vec<u64>,
    /// Tables of `to` that overlap with them.
    pub(crate) targets: Vec<u64>,
    /// Nothing below `to` overlaps: deletes may be dropped.
    pub(crate) bottom: bool,
    /// The one input moves down as it is.
    pub(crate) trivial: bool,
}

/// Target bytes of a level from 1 on.
pub(crate) fn target_bytes(level: usize, options: &StoreOptions) -> u64 {
    let mut target = options.level_one_bytes;
    for _ in 1..level {
        target = target.saturating_mul(options.level_ratio);
    }
    target
}

fn level_bytes(tables: &[TableMeta]) -> u64 {
    tables.iter().map(TableMeta::bytes).sum()
}

/// The next compaction, if one is due.
pub(crate) fn pick(levels: &[Vec<TableMeta>], options: &StoreOptions) -> Option<Compaction> {
    overfull(levels, options).or_else(|| delete_heavy(levels))
}

/// Of the levels that exceed their target, the one that does so most.
fn overfull(levels: &[Vec<TableMeta>], options: &StoreOptions) -> Option<Compaction> {
    let last = levels.len().checked_sub(1)?;
    // Scores in thousandths of the target.
    let score = |(level, tables): (usize, &Vec<TableMeta>)| {
        let (have, target) = if level == 0 {
            (tables.len() as u64, options.level_zero_trigger as u64)
        } else {
            (level_bytes(tables), target_bytes(level, options))
        };
        (u128::from(have) * 1000 / u128::from(target.max(1)), level)
    };
    let scores = levels.iter().enumerate().take(last).map(score);
    // Of equal scores the upper level goes first.
    let (score, from) = scores.max_by_key(|(score, level)| (*score, std::cmp::Reverse(*level)))?;
    let tables = levels.get(from)?;
    if score < 1000 || (from > 0 && score == 1000) {
        return None;
    }
    if from == 0 {
        return describe(levels, 0, tables.iter().collect());
    }
    let next = levels.get(from + 1)?;
    let cost = |table: &&TableMeta| {
        let overlap: u64 = overlapping(next, &table.start, &table.end).map(TableMeta::bytes).sum();
        (u128::from(overlap) * 1000 / u128::from(table.bytes().max(1)), table.table)
    };
    describe(levels, from, vec![tables.iter().min_by_key(cost)?])
}

/// A table above the bottom that mostly deletes.
fn delete_heavy(levels: &[Vec<TableMeta>]) -> Option<Compaction> {
    for (level, tables) in levels.iter().enumerate().skip(1).take(levels.len().saturating_sub(2)) {
        let heavy = tables.iter().find(|table| {
            let counted = table.entries.max(DELETE_HEAVY_ENTRIES);
            table.deletes * 2 > counted
                && levels
                    .iter()
                    .skip(level + 1)
                    .any(|below| overlapping(below, &table.start, &table.end).next().is_some())
        });
        if let Some(table) = heavy {
            return describe(levels, level, vec![table]);
        }
    }
    None
}

fn overlapping<'a>(
    tables: &'a [TableMeta],
    start: &'a [u8],
    end: &'a [u8],
) -> impl Iterator<Item = &'a TableMeta> + 'a {
    tables.iter().filter(move |table| table.overlaps(start, Some(end)))
}

fn describe(levels: &[Vec<TableMeta>], from: usize, inputs: Vec<&TableMeta>) -> Option<Compaction> {
    let start = inputs.iter().map(|table| &table.start).min()?;
    let end = inputs.iter().map(|table| &table.end).max()?;
    let to = from + 1;
    let targets: Vec<u64> = overlapping(levels.get(to)?, start, end).map(|table| table.table).collect();
    // The range of what is merged, targets included.
    let merged =
        || inputs.iter().copied().chain(levels.get(to).into_iter().flatten().filter(|t| targets.contains(&t.table)));
    let low = merged().map(|table| &table.start).min()?;
    let high = merged().map(|table| &table.end).max()?;
    let bottom = levels.iter().skip(to + 1).all(|below| overlapping(below, low, high).next().is_none());
    // A table with deletes that has reached the bottom is rewritten, not moved, so that they go.
    let sheds = bottom && inputs.iter().any(|table| table.deletes > 0);
    let trivial = inputs.len() == 1 && targets.is_empty() && !sheds;
    Some(Compaction { from, to, inputs: inputs.iter().map(|table| table.table).collect(), targets, bottom, trivial })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use bytes::Bytes;

    fn options() -> StoreOptions {
        StoreOptions { level_one_bytes: 100 << 10, level_ratio: 4, ..StoreOptions::default() }
    }

    /// Levels from a drawing: one line per level, tables as `id:start-end:KiB` with an optional `!` for many deletes.
    fn levels(drawing: &str) -> Vec<Vec<TableMeta>> {
        let mut levels: Vec<Vec<TableMeta>> = drawing
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
            .map(|line| {
                let (_, tables) = line.split_once(' ').unwrap_or((line, ""));
                tables.split_whitespace().map(table).collect()
            })
            .collect();
        levels.resize(7, Vec::new());
        levels
    }

    fn table(text: &str) -> TableMeta {
        let heavy = text.ends_with('!');
        let parts: Vec<&str> = text.trim_end_matches('!').split(':').collect();
        let (start, end) = parts[1].split_once('-').unwrap();
        TableMeta {
            table: parts[0].parse().unwrap(),
            start: Bytes::copy_from_slice(start.as_bytes()),
            end: Bytes::copy_from_slice(end.as_bytes()),
            footer_at: (parts[2].parse::<u64>().unwrap() << 10) - 4096,
            checksum: 0,
            entries: 100,
            deletes: if heavy { 90 } else { 0 },
            range_deletes: 0,
            oldest: 0,
            newest: 0,
            expiring: 0,
            first_expiry: crate::ids::Expiry::NEVER,
            last_expiry: crate::ids::Expiry::NEVER,
        }
    }

    fn drawn(drawing: &str) -> String {
        pick(&levels(drawing), &options()).map_or("nothing".to_owned(), |c| {
            let suffix = if c.trivial {
                " move"
            } else if c.bottom {
                " bottom"
            } else {
                ""
            };
            format!("L{} {:?} -> L{} {:?}{suffix}", c.from, c.inputs, c.to, c.targets)
        })
    }

    #[test]
    fn golden_picks() {
        assert_eq!(drawn("L0 1:a-b:10 2:a-b:10 3:a-b:10"), "nothing");
        assert_eq!(drawn("L0 4:a-c:10 3:a-b:10 2:a-b:10 1:a-b:10"), "L0 [4, 3, 2, 1] -> L1 [] bottom");
        assert_eq!(
            drawn("L0 4:a-c:10 3:a-b:10 2:a-b:10 1:e-f:10\nL1 5:b-d:10 6:f-g:10"),
            "L0 [4, 3, 2, 1] -> L1 [5] bottom"
        );
        assert_eq!(drawn("L0\nL1 1:a-b:50 2:b-c:50"), "nothing", "a full level is not overfull");
        assert_eq!(drawn("L0\nL1 1:a-b:60 2:b-c:60\nL2 3:a-b:40"), "L1 [2] -> L2 [] move");
        assert_eq!(drawn("L0\nL1 1:a-b:60 2:b-c:60\nL2 3:a-b:40 4:b-c:20"), "L1 [2] -> L2 [4] bottom");
        assert_eq!(drawn("L0\nL1 1:a-b:60 2:b-c:60\nL2 4:b-c:20 3:x-y:40\nL3 5:a-z:10"), "L1 [1] -> L2 [] move");
        assert_eq!(drawn("L0\nL1 1:a-b:120\nL2 2:a-b:20\nL3 5:a-z:10"), "L1 [1] -> L2 [2]");
    }

    #[test]
    fn a_table_of_deletes_goes_down_to_what_it_deletes_and_no_further() {
        assert_eq!(drawn("L0\nL1 1:a-b:10!\nL2 2:a-b:20"), "L1 [1] -> L2 [2] bottom");
        assert_eq!(drawn("L0\nL1 1:a-b:10!\nL2\nL3 2:a-b:20"), "L1 [1] -> L2 [] move");
        assert_eq!(drawn("L0\nL1 1:a-b:10!\nL2 2:c-d:20"), "nothing");
    }

    #[test]
    fn deletes_that_reach_the_bottom_are_rewritten_not_moved() {
        assert_eq!(drawn("L0\nL1 1:a-b:120!"), "L1 [1] -> L2 [] bottom");
    }
}
