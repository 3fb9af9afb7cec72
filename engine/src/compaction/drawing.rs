//! Trees drawn as text, for golden tests.
//!
//! One line per level; runs from new to old, parted by `|`; tables as `id:start-end:KiB`, followed by `!` for many deletes, `~T`
//! for values that all expire by T. A run's id is that of its first table; below level 0, `=` before a run makes it the settled one,
//! as is a single run without mark.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

use bytes::Bytes;

use super::clock::{GroupClocks, group_of};
use super::controller::{Compaction, Input, Lane, Reason, Task, pick};
use super::room::{NoRoom, Room};
use crate::ids::{Expiry, Seq};
use crate::manifest::edit::{LEVELS, SETTLED};
use crate::manifest::{Levels, Run, TableMeta};
use crate::options::{CompactionPolicy, StoreOptions};
use crate::tree::tombstone::Tombstone;

pub(super) fn levels(drawing: &str) -> Levels {
    let mut levels = vec![Vec::new(); LEVELS];
    for line in drawing.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (name, runs) = line.split_once(' ').unwrap_or((line, ""));
        let level: usize = name.trim_start_matches('L').parse().unwrap();
        let runs: Vec<&str> = runs.split('|').map(str::trim).filter(|run| !run.is_empty()).collect();
        let single = runs.len() == 1;
        levels[level] = runs.into_iter().map(|text| run(text, level > 0 && single)).collect();
    }
    levels
}

fn run(text: &str, single: bool) -> Run {
    let settled = text.starts_with('=') || (single && !text.starts_with('+'));
    let tables: Vec<TableMeta> = text.trim_start_matches(['=', '+']).split_whitespace().map(table).collect();
    Run { id: if settled { SETTLED } else { tables[0].table }, tables }
}

pub(super) fn table(text: &str) -> TableMeta {
    let (text, expiry) = text.split_once('~').map_or((text, None), |(text, at)| (text, Some(at.parse().unwrap())));
    let heavy = text.ends_with('!');
    let parts: Vec<&str> = text.trim_end_matches('!').split(':').collect();
    let (start, end) = parts[1].split_once('-').unwrap();
    let table: u64 = parts[0].parse().unwrap();
    TableMeta {
        footer_at: (parts[2].parse::<u64>().unwrap() << 10) - 4096,
        entries: 100,
        deletes: if heavy { 90 } else { 0 },
        // Sequence numbers follow the ids.
        oldest: table * 10,
        newest: table * 10 + 9,
        expiring: if expiry.is_some() { 100 } else { 0 },
        first_expiry: expiry.map_or(Expiry::NEVER, |_| Expiry(0)),
        last_expiry: expiry.map_or(Expiry::NEVER, Expiry),
        ..TableMeta::plain(table, start, end)
    }
}

/// What a golden test varies besides the tree.
#[derive(Clone, Default)]
pub(super) struct Scene {
    pub(super) busy: &'static [u64],
    pub(super) snapshots: &'static [u64],
    pub(super) range_deletes: &'static [(&'static str, &'static str, u64)],
    /// Log time of the groups `aaaa` to `zzzz`.
    pub(super) clock: u64,
    pub(super) quiet: bool,
    pub(super) lazy: bool,
    /// KiB that one merge may take; `None` for no limit.
    pub(super) room: Option<u64>,
}

impl Scene {
    /// The next task of a lane, in one line. Level 0 gathers 100 KiB, tables have 25 KiB, levels grow by 8 at most.
    pub(super) fn pick(&self, lane: Lane, drawing: &str) -> String {
        let options = StoreOptions {
            level_one_bytes: 100 << 10,
            table_bytes: 25 << 10,
            level_ratio: 8,
            level_zero_trigger: 4,
            level_zero_stop: 12,
            manifest_bytes: 0,
            compaction_policy: if self.lazy { CompactionPolicy::LazyLeveled } else { CompactionPolicy::Leveled },
            ..StoreOptions::default()
        };
        let mut clocks = GroupClocks::default();
        for letter in b'a'..=b'z' {
            clocks.advance(group_of(&[letter; 4]), self.clock);
        }
        let key = |text: &'static str| Bytes::from_static(text.as_bytes());
        let delete = |(start, end, seq): &(&'static str, &'static str, u64)| Tombstone {
            start: key(start),
            end: key(end),
            seq: Seq(*seq),
        };
        let room = Room::of(self.room.map_or(u64::MAX, |room| room << 10), 0, options.level_zero_stop, &options);
        let input = Input {
            levels: &levels(drawing),
            busy: &self.busy.iter().copied().collect(),
            snapshots: &self.snapshots.iter().map(|seq| Seq(*seq)).collect::<Vec<_>>(),
            clocks: &clocks,
            range_deletes: &self.range_deletes.iter().map(delete).collect::<Vec<_>>(),
            quiet: self.quiet,
            room: &room,
            options: &options,
        };
        draw(pick(&input, lane))
    }

    pub(super) fn upper(&self, drawing: &str) -> String {
        self.pick(Lane::Upper, drawing)
    }

    pub(super) fn deep(&self, drawing: &str) -> String {
        self.pick(Lane::Deep, drawing)
    }
}

fn draw(picked: Result<Option<Task>, NoRoom>) -> String {
    let task = match picked {
        Ok(task) => task,
        Err(NoRoom { needed, free }) => return format!("needs {} KiB of {}", needed >> 10, free >> 10),
    };
    match task {
        None => "nothing".to_owned(),
        Some(Task::Move { tables, to }) => format!("move {tables:?} to L{}.{}", to.level, to.run),
        Some(Task::Drop { tables, reason: Reason::Covered }) => format!("drop {tables:?} covered"),
        Some(Task::Drop { tables, reason: Reason::Expired }) => format!("drop {tables:?} expired"),
        Some(Task::Merge(merge)) => {
            let Compaction { from, to, inputs, targets, bottom, bytes: _ } = merge;
            let bottom = if bottom { " bottom" } else { "" };
            format!("merge L{from} {inputs:?} with {targets:?} to L{}.{}{bottom}", to.level, to.run)
        }
    }
}
