//! How a store is sized. Every field has a unit; [`StoreOptions::check`] refuses contradictions.

use highwater_runtime::BLOCK;

use crate::error::EngineError;

/// The largest block of the log, in bytes, unless one record alone is larger.
pub(crate) const LOG_BLOCK_TARGET: usize = 1 << 20;
/// The largest single log entry, in bytes, whatever the segment size.
pub const MAX_ENTRY_BYTES: usize = 16 << 20;

/// How compaction arranges tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CompactionPolicy {
    /// One run per level below level 0: the fewest places to look, the least space.
    #[default]
    Leveled,
    /// Several runs per level but one run at the deepest, which holds most data: fewer bytes written, more places to look.
    LazyLeveled,
}

/// Sizes and limits of one store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// Identity of the database; the files carry it, and another one's files are refused.
    pub database_id: u64,
    /// Number of the store within the data folder; the files carry it too.
    pub store_id: u32,
    /// Bytes in the memtable at which it is frozen and flushed.
    pub memtable_bytes: usize,
    /// Frozen memtables that may wait for their flush.
    pub frozen_memtables: usize,
    /// Bytes of one log segment; made ready once and then recycled.
    pub segment_bytes: u64,
    /// Bytes of live log segments above which client writes are refused.
    pub log_limit_bytes: u64,
    /// Free segments kept for reuse; more are given back to the file system.
    pub spare_segments: usize,
    /// Bytes of recent log entries kept in memory.
    pub tail_cache_bytes: usize,
    /// Microseconds without an append after which the end of the log is sealed with an empty block.
    pub seal_after_micros: u64,
    /// Bytes of a table's data block before compression.
    pub block_bytes: usize,
    /// Bytes of the keys' prefixes that filters hold besides whole keys, so that a scan within one prefix passes over tables without
    /// it; 0 for none. Tables keep the length that they were written with.
    pub filter_prefix_bytes: usize,
    /// The first level whose tables compaction compresses (LZ4, blocks that become an eighth smaller at least); `usize::MAX` for none.
    pub compressed_from_level: usize,
    /// Bytes at which compaction starts another table.
    pub table_bytes: u64,
    /// How tables are kept in shape.
    pub compaction_policy: CompactionPolicy,
    /// Level-0 runs (one per flush) at which compaction may start.
    pub level_zero_trigger: usize,
    /// Level-0 runs at which client writes are refused.
    pub level_zero_stop: usize,
    /// Bytes that gather in level 0 before they are merged down, about: the sizes of all other levels follow from this and from the
    /// size of the deepest level.
    pub level_one_bytes: u64,
    /// Target size of a level over the one above it, at most.
    pub level_ratio: u64,
    /// Width in microseconds of the windows of expiry time at which compaction cuts tables of expiring values, so that a window goes
    /// as whole tables; 0 for no windows.
    pub time_window_micros: u64,
    /// Bytes of table blocks kept in memory.
    pub cache_bytes: usize,
    /// Bytes per second at which dead files are removed, one at a time; 0 for no limit. A full disk lifts the limit.
    pub deletion_bytes_per_second: u64,
    /// Microseconds in which the scrub reads every table and closed log segment once; 0 for no scrub.
    pub scrub_period_micros: u64,
    /// Bytes of the manifest at which a new one is started.
    pub manifest_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            database_id: 0,
            store_id: 0,
            memtable_bytes: 64 << 20,
            frozen_memtables: 2,
            segment_bytes: 64 << 20,
            log_limit_bytes: 1 << 30,
            spare_segments: 2,
            tail_cache_bytes: 16 << 20,
            seal_after_micros: 50_000,
            block_bytes: 16 << 10,
            filter_prefix_bytes: 0,
            compressed_from_level: 2,
            table_bytes: 32 << 20,
            compaction_policy: CompactionPolicy::Leveled,
            level_zero_trigger: 4,
            level_zero_stop: 12,
            level_one_bytes: 256 << 20,
            level_ratio: 8,
            time_window_micros: 0,
            cache_bytes: 64 << 20,
            deletion_bytes_per_second: 256 << 20,
            scrub_period_micros: 14 * 86_400_000_000,
            manifest_bytes: 1 << 20,
        }
    }
}

impl StoreOptions {
    /// Sizes small enough that a test of a few hundred writes freezes, flushes, compacts and recycles segments.
    #[must_use]
    pub fn small() -> Self {
        Self {
            memtable_bytes: 8 << 10,
            segment_bytes: 64 << 10,
            log_limit_bytes: 1 << 20,
            tail_cache_bytes: 16 << 10,
            block_bytes: 1 << 10,
            table_bytes: 16 << 10,
            level_one_bytes: 32 << 10,
            level_ratio: 4,
            cache_bytes: 64 << 10,
            deletion_bytes_per_second: 0,
            manifest_bytes: 32 << 10,
            ..Self::default()
        }
    }

    /// The largest log entry, in bytes: half a segment, so that the opening of a segment always has room beside it.
    #[must_use]
    pub fn max_entry_bytes(&self) -> usize {
        usize::try_from(self.segment_bytes / 2).unwrap_or(usize::MAX).min(MAX_ENTRY_BYTES)
    }

    /// Refuses sizes that cannot work together.
    ///
    /// # Errors
    /// [`EngineError::Options`] naming the field.
    pub fn check(&self) -> Result<(), EngineError> {
        let refuse = |text: &str| Err(EngineError::Options(text.to_owned()));
        if !self.segment_bytes.is_multiple_of(BLOCK as u64) || self.segment_bytes < 16 * BLOCK as u64 {
            return refuse("segment_bytes must be a multiple of 4096, at least 65536");
        }
        if self.segment_bytes > 1 << 32 {
            return refuse("segment_bytes must be at most 4 GiB");
        }
        if self.log_limit_bytes < 4 * self.segment_bytes {
            return refuse("log_limit_bytes must be at least four segments");
        }
        if self.block_bytes == 0 || self.table_bytes == 0 || self.level_one_bytes == 0 || self.level_ratio < 2 {
            return refuse("block_bytes, table_bytes and level_one_bytes must be positive and level_ratio at least 2");
        }
        if self.level_zero_trigger == 0 || self.level_zero_stop <= self.level_zero_trigger {
            return refuse("level_zero_stop must be above level_zero_trigger, which must be positive");
        }
        if self.frozen_memtables == 0 || self.memtable_bytes == 0 {
            return refuse("frozen_memtables and memtable_bytes must be positive");
        }
        if !self.manifest_bytes.is_multiple_of(BLOCK as u64) || self.manifest_bytes < 2 * BLOCK as u64 {
            return refuse("manifest_bytes must be a multiple of 4096, at least 8192");
        }
        Ok(())
    }
}
