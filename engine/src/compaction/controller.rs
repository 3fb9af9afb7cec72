//! What to compact next: a pure function of the tree, of what is being compacted, and of the options.
//!
//! Two compactions run at most, one in each [`Lane`], so that a long one between deep levels does not keep level 0 from being
//! emptied. Invariants: no table is in two compactions; two compactions never write to the same run; what is chosen from several
//! runs leaves nothing older behind in the level it leaves.

use std::collections::BTreeSet;

use super::clock::GroupClocks;
use super::room::{NoRoom, Room};
use super::sizes::Sizes;
use super::{lazy, leveled, retire};
use crate::ids::Seq;
use crate::manifest::edit::SETTLED;
use crate::manifest::{Levels, Place, Run, TableMeta};
use crate::options::{CompactionPolicy, StoreOptions};
use crate::tree::tombstone::Tombstone;

/// The most that one compaction reads, as a multiple of a table's size, unless it is due and there is no smaller one.
const EXPANSION: u64 = 25;

/// Which of the two compactions that may run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Out of level 0.
    Upper,
    /// Between deeper levels; within level 0 while the upper lane is busy.
    Deep,
}

/// Tables that are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compaction {
    /// The level that gives.
    pub(crate) from: usize,
    /// Where the result goes.
    pub(crate) to: Place,
    /// Tables of `from`, run by run, newest first, in key order within a run.
    pub(crate) inputs: Vec<Vec<u64>>,
    /// Tables at `to` that overlap with them, in key order.
    pub(crate) targets: Vec<u64>,
    /// Nothing older than all of these overlaps: deletes may be dropped.
    pub(crate) bottom: bool,
    /// Bytes that it reads, and writes at most.
    pub(crate) bytes: u64,
}

/// Why tables can go without being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Newer range deletes cover them.
    Covered,
    /// Everything in them has expired.
    Expired,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    /// Merge tables into new ones.
    Merge(Compaction),
    /// Tables change their place as they are.
    Move {
        /// Their ids.
        tables: Vec<u64>,
        /// Their new place.
        to: Place,
    },
    /// Tables go, unread.
    Drop {
        /// Their ids.
        tables: Vec<u64>,
        /// Why they can.
        reason: Reason,
    },
}

impl Task {
    /// Bytes that it needs on the disk besides the tree while it works, at most.
    pub(crate) const fn bytes(&self) -> u64 {
        match self {
            Self::Merge(merge) => merge.bytes,
            Self::Move { .. } | Self::Drop { .. } => 0,
        }
    }

    /// Every table that it takes.
    pub(crate) fn tables(&self) -> Vec<u64> {
        match self {
            Self::Merge(merge) => merge.inputs.iter().flatten().chain(&merge.targets).copied().collect(),
            Self::Move { tables, .. } | Self::Drop { tables, .. } => tables.clone(),
        }
    }
}

/// What a choice depends on.
pub(crate) struct Input<'a> {
    /// The tree.
    pub(crate) levels: &'a Levels,
    /// Tables in compactions that are under way, and damaged ones: they are left alone.
    pub(crate) busy: &'a BTreeSet<u64>,
    /// Sequence numbers that readers hold, rising.
    pub(crate) snapshots: &'a [Seq],
    /// Log times of the groups.
    pub(crate) clocks: &'a GroupClocks,
    /// Range deletes of all tables.
    pub(crate) range_deletes: &'a [Tombstone],
    /// Nobody has written for a while: what could wait is done.
    pub(crate) quiet: bool,
    /// What fits on the disk. Tasks that only change the manifest need none of it.
    pub(crate) room: &'a Room,
    /// Sizes.
    pub(crate) options: &'a StoreOptions,
}

/// The next task of a lane, if there is one.
///
/// # Errors
/// [`NoRoom`] when there is something to do, and none of it fits on the disk.
pub(crate) fn pick(input: &Input<'_>, lane: Lane) -> Result<Option<Task>, NoRoom> {
    let sizes = Sizes::of(input.levels, input.options);
    let task = retire::pick(input).or_else(|| match input.options.compaction_policy {
        CompactionPolicy::Leveled => leveled::pick(input, &sizes, lane),
        CompactionPolicy::LazyLeveled => lazy::pick(input, &sizes, lane),
    });
    match (task, input.room.lacking()) {
        (None, Some(lacking)) => Err(lacking),
        (task, _) => Ok(task),
    }
}

impl<'a> Input<'a> {
    /// The runs of a level, newest first.
    pub(super) fn runs(&self, level: usize) -> &'a [Run] {
        self.levels.get(level).map_or(&[], Vec::as_slice)
    }

    pub(super) fn is_idle(&self, table: &TableMeta) -> bool {
        !self.busy.contains(&table.table)
    }

    pub(super) fn run_is_idle(&self, run: &Run) -> bool {
        run.tables.iter().all(|table| self.is_idle(table))
    }

    /// The settled run's tables of a level.
    pub(super) fn settled(&self, level: usize) -> &'a [TableMeta] {
        let run = self.runs(level).iter().find(|run| run.id == SETTLED);
        run.map_or(&[], |run| run.tables.as_slice())
    }

    /// Those of the settled run that speak of keys in a range; `end` is exclusive.
    pub(super) fn overlapping(&self, level: usize, start: &[u8], end: &[u8]) -> &'a [TableMeta] {
        let run = self.runs(level).iter().find(|run| run.id == SETTLED);
        run.map_or(&[], |run| run.overlapping(start, Some(end)))
    }

    /// Whether nothing older than what is at `place` speaks of keys in a range.
    pub(super) fn is_bottom(&self, place: Place, start: &[u8], end: &[u8]) -> bool {
        let beside = self.runs(place.level).iter().filter(|run| run.id < place.run);
        let below = self.levels.iter().skip(place.level + 1).flatten();
        beside.chain(below).all(|run| run.overlapping(start, Some(end)).is_empty())
    }

    /// The most bytes that a compaction should read.
    pub(super) const fn cap(&self) -> u64 {
        self.options.table_bytes.saturating_mul(EXPANSION)
    }

    /// The merge of runs, or of tables of runs (newest first), with what overlaps at `to`; `None` when some of that is busy, or when it
    /// does not fit on the disk.
    pub(super) fn merge(&self, from: usize, inputs: &[Vec<&'a TableMeta>], to: Place) -> Option<Task> {
        let (start, end) = range(inputs.iter().flatten().copied())?;
        let targets = self.runs(to.level).iter().find(|run| run.id == to.run);
        let given = |table: &TableMeta| inputs.iter().flatten().any(|input| input.table == table.table);
        let targets = targets.map_or(&[][..], |run| run.overlapping(start, Some(end)));
        let targets: Vec<&TableMeta> = targets.iter().filter(|table| !given(table)).collect();
        if !targets.iter().all(|table| self.is_idle(table)) {
            return None;
        }
        let bytes = bytes_of(inputs.iter().flatten().copied().chain(targets.iter().copied()));
        if !self.room.fits(bytes) {
            return None;
        }
        let (low, high) = range(inputs.iter().flatten().copied().chain(targets.iter().copied()))?;
        let ids = |tables: &Vec<&TableMeta>| tables.iter().map(|table| table.table).collect::<Vec<_>>();
        let merge = Compaction {
            from,
            to,
            inputs: inputs.iter().map(ids).collect(),
            targets: ids(&targets),
            bottom: self.is_bottom_but(to, low, high, &given),
            bytes,
        };
        Some(Task::Merge(merge))
    }

    /// As [`Self::is_bottom`], leaving out what is itself merged.
    fn is_bottom_but(&self, place: Place, start: &[u8], end: &[u8], given: &dyn Fn(&TableMeta) -> bool) -> bool {
        let beside = self.runs(place.level).iter().filter(|run| run.id < place.run);
        let below = self.levels.iter().skip(place.level + 1).flatten();
        beside.chain(below).all(|run| run.overlapping(start, Some(end)).iter().all(given))
    }

    /// Whether rewriting this table at a place would shed what nobody sees any more: deletes that have nothing left to delete.
    pub(super) fn sheds(&self, table: &TableMeta, place: Place) -> bool {
        table.deletes > 0
            && self.snapshots.first().is_none_or(|oldest| oldest.0 >= table.newest)
            && self.is_bottom(place, &table.start, &table.end)
    }
}

/// The range of keys that tables speak of.
pub(super) fn range<'a>(tables: impl Iterator<Item = &'a TableMeta> + Clone) -> Option<(&'a [u8], &'a [u8])> {
    let start = tables.clone().map(|table| table.start.as_ref()).min()?;
    let end = tables.map(|table| table.end.as_ref()).max()?;
    Some((start, end))
}

pub(super) fn bytes_of<'a>(tables: impl IntoIterator<Item = &'a TableMeta>) -> u64 {
    tables.into_iter().map(TableMeta::bytes).sum()
}
