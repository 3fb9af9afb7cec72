//! Why a store asks for client writes to be refused, and its figures.

use std::fmt;

use crate::damage::Damage;

/// A reason to refuse client writes now. What is already in the log is still applied.
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
            Self::Memtables { bytes } => write!(f, "{bytes} bytes wait to be flushed; try again shortly"),
            Self::LevelZero { runs } => write!(f, "{runs} runs of tables wait to be compacted; try again shortly"),
            Self::Log { bytes } => write!(f, "the log has reached its limit with {bytes} bytes; try again shortly"),
            Self::DiskFull { what } => write!(f, "{what}; writes are refused until there is space"),
            Self::Failed { what } => write!(f, "{what}; writes are refused until that is resolved"),
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
    /// Blocks appended to the log since the store was opened.
    pub log_blocks: u64,
    /// Bytes of those blocks, padding included.
    pub log_bytes: u64,
    /// Times that the log of a small group was moved forward, so that its old segments could go, since the store was opened.
    pub relocations: u64,
    /// Encoded bytes of the batches that took effect in the tree since the store was opened.
    pub taken_bytes: u64,
    /// Memtables flushed since the store was opened.
    pub flushes: u64,
    /// Compactions done since the store was opened, trivial moves included.
    pub compactions: u64,
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
