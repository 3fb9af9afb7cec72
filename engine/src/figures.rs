//! A store's figures under the names that `/metrics` and `system.stats` show them by.
//!
//! One list for all who show figures. It is made by taking [`StoreStats`] apart field by field, so a field that is added
//! there and not named here does not compile.

use crate::pressure::StoreStats;

/// How a figure moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FigureKind {
    /// It only rises, from 0 when the store is opened.
    Counter,
    /// It is as it is at the moment.
    Gauge,
}

/// One figure of a store.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Its name in lower case with underscores, without the product's prefix and without `_total`.
    pub name: &'static str,
    /// What it counts: `bytes`, `blocks`, `tables`, `ratio` and so on.
    pub unit: &'static str,
    /// What it means, as a phrase without a full stop.
    pub help: &'static str,
    /// How it moves.
    pub kind: FigureKind,
    /// The level of the tree that it speaks of; `None` for the store as a whole.
    pub level: Option<usize>,
    /// The value; whole numbers are exact up to 2^53.
    pub value: f64,
}

/// What counts of things and bytes can be made from.
trait Number: Copy {
    fn value(self) -> f64;
}

impl Number for u64 {
    fn value(self) -> f64 {
        self as f64
    }
}

impl Number for usize {
    fn value(self) -> f64 {
        self as f64
    }
}

impl Number for f64 {
    fn value(self) -> f64 {
        self
    }
}

/// The list under construction.
struct List(Vec<Figure>);

impl List {
    fn put(
        &mut self,
        kind: FigureKind,
        name: &'static str,
        unit: &'static str,
        value: impl Number,
        help: &'static str,
    ) {
        self.0.push(Figure { name, unit, help, kind, level: None, value: value.value() });
    }

    fn counter(&mut self, name: &'static str, unit: &'static str, value: impl Number, help: &'static str) {
        self.put(FigureKind::Counter, name, unit, value, help);
    }

    fn gauge(&mut self, name: &'static str, unit: &'static str, value: impl Number, help: &'static str) {
        self.put(FigureKind::Gauge, name, unit, value, help);
    }

    /// A gauge of each level.
    fn levels(&mut self, name: &'static str, unit: &'static str, values: &[impl Number], help: &'static str) {
        self.put_levels(FigureKind::Gauge, name, unit, values, help);
    }

    /// A counter of each level.
    fn level_counters(&mut self, name: &'static str, unit: &'static str, values: &[impl Number], help: &'static str) {
        self.put_levels(FigureKind::Counter, name, unit, values, help);
    }

    fn put_levels(
        &mut self,
        kind: FigureKind,
        name: &'static str,
        unit: &'static str,
        values: &[impl Number],
        help: &'static str,
    ) {
        let of = |(level, value): (usize, &_)| Figure {
            name,
            unit,
            help,
            kind,
            level: Some(level),
            value: Number::value(*value),
        };
        self.0.extend(values.iter().enumerate().map(of));
    }
}

/// How often `of` is contained in `whole`; 0 when there is nothing to compare with.
fn ratio(whole: f64, of: f64) -> f64 {
    if of > 0.0 { whole / of } else { 0.0 }
}

impl StoreStats {
    /// Every figure, in a fixed order; those of levels once for each level. Amplification is derived from the others: of
    /// writing since the store was opened, of space at the moment.
    #[must_use]
    pub fn figures(&self) -> Vec<Figure> {
        let Self {
            memtable_bytes,
            frozen_memtables,
            runs,
            tables,
            table_bytes,
            log_segments,
            spare_segments,
            log_blocks,
            log_bytes,
            relocations,
            syncs,
            taken_bytes,
            flushes,
            compactions,
            largest_compaction_bytes,
            written_bytes,
            level_read_bytes,
            level_written_bytes,
            moved_tables,
            covered_tables,
            expired_tables,
            hidden_versions,
            expired_versions,
            compactions_running,
            compaction_debt_bytes,
            compaction_missing_bytes,
            admission,
            stalls,
            stall_micros,
            cache_hits,
            cache_misses,
            cache_bytes,
            cache_capacity_bytes,
            filters_asked,
            filters_spared,
            filters_vain,
            dead_files,
            dead_bytes,
            deleted_files,
            ingests,
            scrub_passes,
            scrubbed_bytes,
            quarantined_tables,
            damage,
        } = self;
        let mut list = List(Vec::new());
        list.gauge("memtable_bytes", "bytes", *memtable_bytes, "bytes in the active memtable");
        list.gauge("memtable_frozen", "memtables", *frozen_memtables, "frozen memtables that wait for their flush");
        list.levels("level_runs", "runs", runs, "runs of the level, each a place where a lookup may have to look");
        list.levels("level_tables", "tables", tables, "tables of the level");
        list.levels("level_bytes", "bytes", table_bytes, "bytes of the tables of the level");
        list.gauge("log_segments", "segments", *log_segments, "segments that hold the log");
        list.gauge("log_spare_segments", "segments", *spare_segments, "segments that are ready to be reused");
        list.counter(
            "log_blocks",
            "blocks",
            *log_blocks,
            "blocks written to the log, each of them one synchronous write",
        );
        let help = "times that the log of a small group was moved forward, so that its old segments could go";
        list.counter("log_relocations", "groups", *relocations, help);
        let help = "bytes written to the log, padding and headers of segments included";
        list.counter("log_bytes", "bytes", *log_bytes, help);
        let help = "synchronous writes and syncs of log, manifest, tables and their folder";
        list.counter("syncs", "syncs", *syncs, help);
        list.counter(
            "write_taken_bytes",
            "bytes",
            *taken_bytes,
            "encoded bytes of the batches that took effect in the tree",
        );
        list.counter("flush_memtables", "memtables", *flushes, "memtables that became tables");
        list.counter("compaction_runs", "compactions", *compactions, "compactions done, trivial moves included");
        let help =
            "bytes that the largest compaction has read: so much more than the tree is on the disk while it works";
        list.gauge("compaction_largest_bytes", "bytes", *largest_compaction_bytes, help);
        list.counter(
            "table_written_bytes",
            "bytes",
            *written_bytes,
            "bytes written to tables by flushes and compactions",
        );
        let help = "bytes of tables of the level that compactions read";
        list.level_counters("level_read_bytes", "bytes", level_read_bytes, help);
        let help = "bytes of tables that flushes and compactions wrote to the level";
        list.level_counters("level_written_bytes", "bytes", level_written_bytes, help);
        let help = "tables that went to another level without being rewritten";
        list.counter("compaction_moved_tables", "tables", *moved_tables, help);
        let help = "tables dropped unread because newer range deletes cover them";
        list.counter("compaction_covered_tables", "tables", *covered_tables, help);
        let help = "tables dropped unread because everything in them had expired";
        list.counter("compaction_expired_tables", "tables", *expired_tables, help);
        let help = "versions left out because no reader could see them";
        list.counter("compaction_hidden_versions", "versions", *hidden_versions, help);
        let help = "versions left out or turned into deletes because they had expired";
        list.counter("compaction_expired_versions", "versions", *expired_versions, help);
        list.gauge("compactions_running", "compactions", *compactions_running, "compactions under way");
        let help = "bytes that compactions have to process, about, until the tree has its shape";
        list.gauge("compaction_debt_bytes", "bytes", *compaction_debt_bytes, help);
        let help = "bytes of disk space that are missing for the next compaction; 0 while none waits for space";
        list.gauge("compaction_missing_bytes", "bytes", *compaction_missing_bytes, help);
        list.gauge("admission", "thousandths", *admission, "how freely new writes are taken, 1000 for without limit");
        list.counter("stalls", "stalls", *stalls, "times that new writes began to be refused");
        list.counter("stall_micros", "microseconds", *stall_micros, "time during which new writes were refused");
        list.counter("cache_hits", "reads", *cache_hits, "block reads answered from memory");
        list.counter("cache_misses", "reads", *cache_misses, "block reads that went to the disk");
        list.gauge("cache_bytes", "bytes", *cache_bytes, "bytes of table blocks in memory");
        let help = "bytes of table blocks that memory holds at most";
        list.gauge("cache_capacity_bytes", "bytes", *cache_capacity_bytes, help);
        let help = "times that a filter was asked whether its table may hold a key";
        list.counter("filter_asked", "questions", *filters_asked, help);
        let help = "times that a filter said no and spared a look into the table";
        list.counter("filter_negatives", "questions", *filters_spared, help);
        let help = "times that a filter said yes and the table held nothing";
        list.counter("filter_false_positives", "questions", *filters_vain, help);
        list.gauge("deletion_waiting_files", "files", *dead_files, "dead files that wait to be removed");
        list.gauge("deletion_waiting_bytes", "bytes", *dead_bytes, "bytes of the dead files that wait to be removed");
        list.counter("deletion_files", "files", *deleted_files, "dead files removed");
        list.counter("ingests", "ranges", *ingests, "ranges replaced by prepared tables");
        list.counter("scrub_passes", "passes", *scrub_passes, "times that the scrub has read everything");
        list.counter("scrub_bytes", "bytes", *scrubbed_bytes, "bytes that the scrub has read");
        let help = "tables with known damage, which no compaction takes";
        list.gauge("quarantined_tables", "tables", *quarantined_tables, help);
        list.gauge(
            "damaged_places",
            "places",
            damage.len(),
            "known damage in tables and log; the replica must be rebuilt",
        );

        let written = (log_bytes + written_bytes).value();
        let help = "bytes written to log and tables per byte taken, since the store was opened";
        list.gauge("write_amplification", "ratio", ratio(written, taken_bytes.value()), help);
        let all: u64 = table_bytes.iter().sum();
        let deepest = table_bytes.iter().rev().find(|bytes| **bytes > 0).copied().unwrap_or(0);
        let help = "bytes of all tables per byte of the deepest level that holds any";
        list.gauge("space_amplification", "ratio", ratio(all.value(), deepest.value()), help);
        let help = "runs of all levels: places where a lookup that memory does not answer may have to look";
        list.gauge("read_amplification", "runs", runs.iter().sum::<usize>(), help);
        list.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn example() -> StoreStats {
        StoreStats {
            runs: vec![2, 0, 1],
            tables: vec![2, 0, 3],
            level_read_bytes: vec![1],
            level_written_bytes: vec![1],
            table_bytes: vec![10, 0, 40],
            log_bytes: 60,
            written_bytes: 40,
            taken_bytes: 50,
            ..StoreStats::default()
        }
    }

    #[test]
    fn every_figure_has_a_name_of_its_own_and_says_what_it_is() {
        let figures = example().figures();
        let mut seen = std::collections::BTreeSet::new();
        for figure in &figures {
            assert!(seen.insert((figure.name, figure.level)), "{} twice", figure.name);
            assert!(figure.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{}", figure.name);
            assert!(
                !figure.help.is_empty() && !figure.help.ends_with('.') && !figure.unit.is_empty(),
                "{}",
                figure.name
            );
        }
    }

    #[test]
    fn every_field_is_shown() {
        let shown: std::collections::BTreeSet<&str> = example().figures().iter().map(|figure| figure.name).collect();
        let fields = format!("{:?}", StoreStats::default()).matches(": ").count();
        assert_eq!(shown.len(), fields + 3, "the fields, and amplification of writing, of space and of reading");
    }

    #[test]
    fn levels_are_told_apart_and_amplification_is_derived() {
        let figures = example().figures();
        let value = |name: &str, level| figures.iter().find(|f| f.name == name && f.level == level).unwrap().value;
        assert_eq!((value("level_tables", Some(0)), value("level_tables", Some(2))), (2.0, 3.0));
        assert_eq!(value("write_amplification", None), 2.0);
        assert_eq!(value("space_amplification", None), 1.25);
        assert_eq!(value("read_amplification", None), 3.0);
        let empty = StoreStats::default().figures();
        assert!(empty.iter().all(|figure| figure.value == 0.0), "nothing is divided by nothing");
    }
}
