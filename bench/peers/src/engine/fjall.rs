//! fjall, with filters of 10 bits per key on every level. Its reads go through the system's page cache.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use fjall::config::{BloomConstructionPolicy, CompressionPolicy, FilterPolicy, FilterPolicyEntry};
use fjall::{CompressionType, Database, Keyspace, KeyspaceCreateOptions, PersistMode};

use super::{Engine, Settings, Sync, threaded};
use crate::failure::Failure;
use crate::keys::Key;
use crate::workload::client::{Client, Trip};

/// How often it is asked whether background work goes on, in microseconds.
const ASK_MICROS: u64 = 20_000;

/// A handle to the database.
#[derive(Clone)]
pub struct Fjall(Arc<Inner>);

struct Inner {
    db: Database,
    rows: Keyspace,
    cpu: usize,
}

impl Fjall {
    /// Opens the database.
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        let codec = if settings.compress { CompressionType::Lz4 } else { CompressionType::None };
        let db = Database::builder(&settings.folder)
            .cache_size(settings.cache_bytes as u64)
            .journal_compression(CompressionType::None)
            .worker_threads(2)
            .open()?;
        let filter = FilterPolicyEntry::Bloom(BloomConstructionPolicy::BitsPerKey(10.0));
        let memtable_bytes = settings.memtable_bytes as u64;
        let options = || {
            KeyspaceCreateOptions::default()
                .max_memtable_size(memtable_bytes)
                .filter_policy(FilterPolicy::all(filter))
                .data_block_compression_policy(CompressionPolicy::all(codec))
        };
        let rows = db.keyspace("rows", options)?;
        Ok(Self(Arc::new(Inner { db, rows, cpu: settings.cpu })))
    }

    fn persist(&self, sync: Sync) -> Result<(), Failure> {
        match sync {
            Sync::Deferred => Ok(()),
            Sync::Durable => Ok(self.0.db.persist(PersistMode::SyncData)?),
        }
    }
}

impl Engine for Fjall {
    async fn put(&self, key: &Key, value: &[u8], sync: Sync) -> Result<(), Failure> {
        self.0.rows.insert(key, value)?;
        self.persist(sync)
    }

    /// It has no range deletes: the keys of the range are read and removed.
    async fn delete_range(&self, from: &Key, to: &Key) -> Result<(), Failure> {
        let mut batch = self.0.db.batch();
        for row in self.0.rows.range(&from[..]..&to[..]) {
            batch.remove(&self.0.rows, row.key()?);
        }
        Ok(batch.commit()?)
    }

    async fn get(&self, key: &Key) -> Result<Option<usize>, Failure> {
        Ok(black_box(self.0.rows.get(key)?).map(|value| value.len()))
    }

    async fn scan(&self, from: &Key, rows: usize) -> Result<usize, Failure> {
        let mut rows_read = 0;
        for row in self.0.rows.range(&from[..]..).take(rows) {
            black_box(row.into_inner()?);
            rows_read += 1;
        }
        Ok(rows_read)
    }

    async fn breathe(&self) {}

    async fn pause(&self, micros: u64) {
        threaded::pause(micros);
    }

    async fn drive(&self, clients: Vec<Client>) -> Result<Vec<Trip>, Failure> {
        threaded::drive(self, self.0.cpu, clients)
    }

    async fn flush(&self) -> Result<(), Failure> {
        self.0.rows.rotate_memtable_and_wait()?;
        while self.0.db.active_compactions() > 0 || self.0.db.outstanding_flushes() > 0 {
            threaded::pause(ASK_MICROS);
        }
        Ok(())
    }

    fn figures(&self) -> BTreeMap<String, u64> {
        [
            ("table_bytes", self.0.rows.disk_space()),
            ("tables", self.0.rows.table_count() as u64),
            ("level_0_tables", self.0.rows.l0_table_count() as u64),
            ("journals", self.0.db.journal_count() as u64),
            ("memtable_bytes", self.0.db.write_buffer_size()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    async fn close(self) -> Result<(), Failure> {
        Ok(self.0.db.persist(PersistMode::SyncAll)?)
    }
}
