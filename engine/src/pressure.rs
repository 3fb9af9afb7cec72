//! Why a store asks for client writes to be refused, and its figures.

use std::fmt;

/// A reason to refuse client writes now. What is already in the log is still applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pressure {
    /// Flushing does not keep up: so many bytes wait in memory.
    Memtables {
        /// Bytes in all memtables.
        bytes: usize,
    },
    /// Compaction does not keep up: so many tables in level 0.
    LevelZero {
        /// Number of tables.
        tables: usize,
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
            Self::LevelZero { tables } => write!(f, "{tables} tables wait to be compacted; try again shortly"),
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
    /// Encoded bytes of the batches that took effect in the tree since the store was opened.
    pub taken_bytes: u64,
    /// Memtables flushed since the store was opened.
    pub flushes: u64,
    /// Compactions done since the store was opened, trivial moves included.
    pub compactions: u64,
    /// Bytes written by flushes and compactions since the store was opened.
    pub written_bytes: u64,
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
