//! What a workload asks of an engine, and how each engine answers.
//!
//! The interface is asynchronous because ours is; the thread-based engines answer every call before its first suspension,
//! so that they pay nothing for it.

#[cfg(feature = "fjall")]
pub mod fjall;
pub mod ours;
#[cfg(feature = "redb")]
pub mod redb;
#[cfg(feature = "rocksdb")]
pub mod rocks;
#[cfg(any(feature = "fjall", feature = "redb", feature = "rocksdb"))]
pub mod threaded;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::keys::Key;
use crate::workload::client::{Client, Trip};

/// The engines and variants of their settings that can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Name {
    /// Highwater's engine.
    Ours,
    /// RocksDB; every write reaches the system's buffer.
    Rocksdb,
    /// RocksDB with blocks of 16 KiB.
    #[value(name = "rocksdb-16k")]
    #[serde(rename = "rocksdb-16k")]
    Rocksdb16k,
    /// RocksDB with `manual_wal_flush`: writes stay in its own buffer, as our deferred appends do.
    RocksdbBuffered,
    /// fjall.
    Fjall,
    /// redb; shown beside, its writes in transactions of 1000.
    Redb,
}

impl Name {
    /// Whether it belongs to those that ours is measured against.
    pub const fn is_rival(self) -> bool {
        matches!(self, Self::Rocksdb | Self::Rocksdb16k | Self::RocksdbBuffered | Self::Fjall)
    }

    /// Whether it is a RocksDB.
    pub const fn is_rocksdb(self) -> bool {
        matches!(self, Self::Rocksdb | Self::Rocksdb16k | Self::RocksdbBuffered)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ours => "ours",
            Self::Rocksdb => "rocksdb",
            Self::Rocksdb16k => "rocksdb-16k",
            Self::RocksdbBuffered => "rocksdb-buffered",
            Self::Fjall => "fjall",
            Self::Redb => "redb",
        })
    }
}

/// When a write counts as done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sync {
    /// At once; it becomes durable later.
    Deferred,
    /// When it is durable.
    Durable,
}

/// How an engine is opened; the same for all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// The engine's own folder.
    pub folder: PathBuf,
    /// Bytes of blocks kept in memory.
    pub cache_bytes: usize,
    /// Bytes of one memtable; three of them may exist.
    pub memtable_bytes: usize,
    /// Whether tables are compressed (LZ4).
    pub compress: bool,
    /// The processor that clients run on.
    pub cpu: usize,
    /// Bytes of a block of our tables.
    pub block_bytes: usize,
}

/// Memtables that may exist at once, the active one included.
pub const MEMTABLES: usize = 3;

/// An open engine. Clones are handles to the same.
pub trait Engine: Clone + 'static {
    /// Sets a key's value.
    async fn put(&self, key: &Key, value: &[u8], sync: Sync) -> Result<(), Failure>;

    /// Removes every key from `from` (inclusive) to `to` (exclusive).
    async fn delete_range(&self, from: &Key, to: &Key) -> Result<(), Failure>;

    /// Bytes of a key's value.
    async fn get(&self, key: &Key) -> Result<Option<usize>, Failure>;

    /// Reads up to `rows` rows from a key on. Returns how many there were.
    async fn scan(&self, from: &Key, rows: usize) -> Result<usize, Failure>;

    /// Reads a value and sets another.
    async fn modify(&self, key: &Key, value: &[u8], sync: Sync) -> Result<bool, Failure> {
        let found = self.get(key).await?;
        self.put(key, value, sync).await?;
        Ok(found.is_some())
    }

    /// Called between two operations of a client.
    async fn breathe(&self);

    /// Waits.
    async fn pause(&self, micros: u64);

    /// Runs clients side by side until all have ended.
    async fn drive(&self, clients: Vec<Client>) -> Result<Vec<Trip>, Failure>;

    /// Writes what is in memory to tables, and waits for background work as far as the engine can tell.
    async fn flush(&self) -> Result<(), Failure>;

    /// The engine's own figures, counting from its opening.
    fn figures(&self) -> BTreeMap<String, u64>;

    /// How long the engine's own durable writes of its log took, in nanoseconds, since this was asked last.
    fn log_times(&self) -> Option<Histogram<u64>> {
        None
    }

    /// Ends its work; the other handles are dropped by now.
    async fn close(self) -> Result<(), Failure>;
}
