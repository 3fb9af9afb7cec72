//! RocksDB: leveled compaction, direct reads, a block cache of the given size, Bloom filters of 10 bits per key.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, FlushOptions, Options, WaitForCompactOptions, WriteBatch,
    WriteOptions,
};

use super::{Engine, MEMTABLES, Name, Settings, Sync, threaded};
use crate::failure::Failure;
use crate::keys::Key;
use crate::workload::client::{Client, Trip};

/// A handle to the database.
#[derive(Clone)]
pub struct Rocks(Arc<Inner>);

struct Inner {
    db: DB,
    cpu: usize,
    buffered: bool,
    deferred: WriteOptions,
    durable: WriteOptions,
}

impl Rocks {
    /// Opens the database in one of its variants.
    pub fn open(settings: &Settings, variant: Name) -> Result<Self, Failure> {
        let cache = Cache::new_lru_cache(settings.cache_bytes);
        let mut tables = BlockBasedOptions::default();
        tables.set_block_cache(&cache);
        tables.set_bloom_filter(10.0, false);
        tables.set_block_size(if variant == Name::Rocksdb16k { 16 << 10 } else { 4 << 10 });
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_block_based_table_factory(&tables);
        options.set_use_direct_reads(true);
        options.set_write_buffer_size(settings.memtable_bytes);
        options.set_max_write_buffer_number(i32::try_from(MEMTABLES)?);
        options.set_max_background_jobs(2);
        options.set_max_open_files(-1);
        let codec = if settings.compress { DBCompressionType::Lz4 } else { DBCompressionType::None };
        options.set_compression_type(codec);
        let buffered = variant == Name::RocksdbBuffered;
        options.set_manual_wal_flush(buffered);
        let db = DB::open(&options, &settings.folder)?;
        let mut durable = WriteOptions::default();
        durable.set_sync(true);
        Ok(Self(Arc::new(Inner { db, cpu: settings.cpu, buffered, deferred: WriteOptions::default(), durable })))
    }

    fn options(&self, sync: Sync) -> &WriteOptions {
        match sync {
            Sync::Deferred => &self.0.deferred,
            Sync::Durable => &self.0.durable,
        }
    }
}

impl Engine for Rocks {
    async fn put(&self, key: &Key, value: &[u8], sync: Sync) -> Result<(), Failure> {
        Ok(self.0.db.put_opt(key, value, self.options(sync))?)
    }

    async fn delete_range(&self, from: &Key, to: &Key) -> Result<(), Failure> {
        let mut batch = WriteBatch::default();
        batch.delete_range(from, to);
        Ok(self.0.db.write_opt(batch, self.options(Sync::Deferred))?)
    }

    async fn get(&self, key: &Key) -> Result<Option<usize>, Failure> {
        let value = self.0.db.get_pinned(key)?;
        Ok(value.map(|value| black_box(&*value).len()))
    }

    async fn scan(&self, from: &Key, rows: usize) -> Result<usize, Failure> {
        let mut rows_read = 0;
        let mut iterator = self.0.db.raw_iterator();
        iterator.seek(from);
        while let Some(row) = iterator.item() {
            black_box(row);
            rows_read += 1;
            if rows_read == rows {
                return Ok(rows);
            }
            iterator.next();
        }
        iterator.status()?;
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
        if self.0.buffered {
            self.0.db.flush_wal(false)?;
        }
        let mut options = FlushOptions::default();
        options.set_wait(true);
        self.0.db.flush_opt(&options)?;
        Ok(self.0.db.wait_for_compact(&WaitForCompactOptions::default())?)
    }

    fn figures(&self) -> BTreeMap<String, u64> {
        let mut figures = BTreeMap::new();
        for level in 0..7 {
            let text = self.0.db.property_value(&*format!("rocksdb.num-files-at-level{level}")).ok().flatten();
            figures
                .extend(text.and_then(|text| text.parse().ok()).map(|count| (format!("level_{level}_tables"), count)));
        }
        let numbers = [
            ("rocksdb.total-sst-files-size", "table_bytes"),
            ("rocksdb.is-write-stopped", "write_stopped"),
            ("rocksdb.cur-size-all-mem-tables", "memtable_bytes"),
            ("rocksdb.block-cache-usage", "cache_bytes"),
            ("rocksdb.estimate-table-readers-mem", "table_readers_bytes"),
        ];
        for (property, name) in numbers {
            let value = self.0.db.property_int_value(property).ok().flatten();
            figures.extend(value.map(|value| (name.to_owned(), value)));
        }
        figures
    }

    async fn close(self) -> Result<(), Failure> {
        if self.0.buffered {
            self.0.db.flush_wal(false)?;
        }
        self.0.db.cancel_all_background_work(true);
        Ok(())
    }
}
