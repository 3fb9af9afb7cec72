//! Why a store asks for client writes to be refused, and its figures.

use std::fmt;

use crate::damage::Damage;

/// How freely client writes are to be taken now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Intake {
    /// The share of them, in thousandths: 1000 for all, 0 for none.
    pub share: u64,
    /// What holds them back, unless the share is 1000.
    pub held_by: Option<Pressure>,
}

/// What holds client writes back or has them refused. What is already in the log is still applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Flushing does not keep up: so many bytes wait in memory.
    Memtables {
        /// Bytes in all memtables.
        bytes: usize,
    },
    /// Compaction does not keep up: so many runs in level 0.
    LevelZero {
        /// Number of runs.
        runs: usize,
    },
    /// Compaction does not keep up below level 0. It slows writes down and never refuses them by itself.
    Debt {
        /// Bytes that compactions have to process, about.
        bytes: u64,
    },
    /// The log is at its limit: groups neither release nor flush their entries.
    Log {
        /// Bytes of live segments.
        bytes: u64,
    },
    /// The disk is full; reads go on, writes resume when there is space.
    DiskFull {
        /// What could not be done.
        what: String,
    },
    /// Flushing or compaction cannot go on, for another reason than space.
    Failed {
        /// What failed.
        what: String,
    },
}

impl fmt::Display for Pressure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memtables { bytes } => write!(f, "{bytes} bytes in memory wait to be flushed"),
            Self::LevelZero { runs } => write!(f, "{runs} runs of tables wait to be compacted"),
            Self::Debt { bytes } => write!(f, "{bytes} bytes of tables wait to be compacted"),
            Self::Log { bytes } => write!(f, "the log holds {bytes} bytes that cannot be given back yet"),
            Self::DiskFull { what } | Self::Failed { what } => f.write_str(what),
        }
    }
}

/// Figures of a store, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Bytes in the active memtable.
    pub memtable_bytes: usize,
    /// Frozen memtables that wait for their flush.
    pub frozen_memtables: usize,
    /// Number of runs per level, from 0: the places that a lookup may have to look at.
    pub runs: Vec<usize>,
    /// Number of tables per level, from 0.
    pub tables: Vec<usize>,
    /// Bytes of tables per level, from 0.
    pub table_bytes: Vec<u64>,
    /// Segments that hold the log.
    pub log_segments: usize,
    /// Free segments.
    pub spare_segments: usize,
    /// Blocks written to the log since the store was opened, those that open segments and those that seal the log included.
    pub log_blocks: u64,
    /// Bytes of those blocks, with padding and the headers of segments. Zeros that new segments are filled with are not counted.
    pub log_bytes: u64,
    /// Times that the log of a small group was moved forward, so that its old segments could go, since the store was opened.
    pub relocations: u64,
    /// Synchronous writes and syncs of log, manifest, tables and their folder since the store was opened.
    pub syncs: u64,
    /// Encoded bytes of the batches that took effect in the tree since the store was opened.
    pub taken_bytes: u64,
    /// Memtables flushed since the store was opened.
    pub flushes: u64,
    /// Compactions done since the store was opened, trivial moves included.
    pub compactions: u64,
    /// Bytes that the largest compaction since the store was opened has read: what it needs on the disk besides the tree while it works.
    pub largest_compaction_bytes: u64,
    /// Bytes written by flushes and compactions since the store was opened.
    pub written_bytes: u64,
    /// Bytes of tables that compactions read, per level from 0, since the store was opened.
    pub level_read_bytes: Vec<u64>,
    /// Bytes of tables that flushes (level 0) and compactions wrote, per level from 0, since the store was opened.
    pub level_written_bytes: Vec<u64>,
    /// Tables that moved to another level without being rewritten, since the store was opened.
    pub moved_tables: u64,
    /// Tables dropped without being read because newer range deletes cover them, since the store was opened.
    pub covered_tables: u64,
    /// Tables dropped without being read because everything in them had expired, since the store was opened.
    pub expired_tables: u64,
    /// Versions that flushes and compactions left out because no reader could see them, since the store was opened.
    pub hidden_versions: u64,
    /// Versions that compactions left out, or turned into deletes, because they had expired, since the store was opened.
    pub expired_versions: u64,
    /// Compactions under way.
    pub compactions_running: usize,
    /// Bytes that compactions have to process, about, until the tree has its shape.
    pub compaction_debt_bytes: u64,
    /// Bytes of disk space that are missing for the next compaction; 0 while none waits for space.
    pub compaction_missing_bytes: u64,
    /// How freely new writes are taken, in thousandths: [`crate::Store::admission`].
    pub admission: u64,
    /// Times that [`crate::Store::pressure`] began, since the store was opened.
    pub stalls: u64,
    /// Microseconds during which it lasted, as far as it was noticed, since the store was opened.
    pub stall_micros: u64,
    /// Block reads answered from memory, and those that went to the disk.
    pub cache_hits: u64,
    /// Block reads that went to the disk.
    pub cache_misses: u64,
    /// Bytes of table blocks in memory.
    pub cache_bytes: usize,
    /// Bytes of table blocks that memory holds at most.
    pub cache_capacity_bytes: usize,
    /// Times that a filter was asked whether its table may hold a key, since the store was opened.
    pub filters_asked: u64,
    /// Times that it said no, which spared a look into the table.
    pub filters_spared: u64,
    /// Times that it said yes and the table held nothing: false positives.
    pub filters_vain: u64,
    /// Dead files that wait to be removed.
    pub dead_files: usize,
    /// Their bytes.
    pub dead_bytes: u64,
    /// Files removed since the store was opened.
    pub deleted_files: u64,
    /// Ranges replaced by prepared tables since the store was opened.
    pub ingests: u64,
    /// Passes of the scrub completed since the store was opened.
    pub scrub_passes: u64,
    /// Bytes that the scrub has read since the store was opened.
    pub scrubbed_bytes: u64,
    /// Tables with known damage, which no compaction takes.
    pub quarantined_tables: usize,
    /// Damage known in the files in use.
    pub damage: Vec<Damage>,
}

/// What [`crate::Store::verify`] read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Tables read.
    pub tables: usize,
    /// Table blocks read.
    pub table_blocks: u64,
    /// Versions of keys in the tables.
    pub entries: u64,
    /// Blocks of the log read.
    pub log_blocks: u64,
}
