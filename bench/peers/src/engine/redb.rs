//! redb: a copy-on-write B-tree, shown beside the others. Writes that are not durable at once are gathered into transactions
//! of 1000 without durability; until then reads do not see them. Its reads go through the system's page cache.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::{Arc, Mutex, PoisonError};

use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::{Engine, Settings, Sync, threaded};
use crate::failure::Failure;
use crate::keys::Key;
use crate::workload::client::{Client, Trip};

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// Deferred writes of one transaction.
const GATHERED: usize = 1000;

/// A handle to the database.
#[derive(Clone)]
pub struct Redb(Arc<Inner>);

struct Inner {
    db: Database,
    gathered: Mutex<Vec<(Key, Vec<u8>)>>,
    cpu: usize,
}

impl Redb {
    /// Opens the database.
    pub fn open(settings: &Settings) -> Result<Self, Failure> {
        std::fs::create_dir_all(&settings.folder)?;
        let db = Database::builder().set_cache_size(settings.cache_bytes).create(settings.folder.join("rows.redb"))?;
        let redb = Self(Arc::new(Inner { db, gathered: Mutex::default(), cpu: settings.cpu }));
        redb.commit(&[], Durability::Immediate)?;
        Ok(redb)
    }

    fn commit(&self, rows: &[(Key, Vec<u8>)], durability: Durability) -> Result<(), Failure> {
        let mut transaction = self.0.db.begin_write()?;
        transaction.set_durability(durability)?;
        {
            let mut table = transaction.open_table(ROWS)?;
            for (key, value) in rows {
                table.insert(&key[..], &value[..])?;
            }
        }
        Ok(transaction.commit()?)
    }

    fn take_gathered(&self) -> Vec<(Key, Vec<u8>)> {
        std::mem::take(&mut self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Engine for Redb {
    async fn put(&self, key: &Key, value: &[u8], sync: Sync) -> Result<(), Failure> {
        if sync == Sync::Durable {
            return self.commit(&[(*key, value.to_vec())], Durability::Immediate);
        }
        let full = {
            let mut gathered = self.0.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            gathered.push((*key, value.to_vec()));
            gathered.len() >= GATHERED
        };
        if full { self.commit(&self.take_gathered(), Durability::None) } else { Ok(()) }
    }

    async fn delete_range(&self, from: &Key, to: &Key) -> Result<(), Failure> {
        self.commit(&self.take_gathered(), Durability::None)?;
        let mut transaction = self.0.db.begin_write()?;
        transaction.set_durability(Durability::None)?;
        {
            let mut table = transaction.open_table(ROWS)?;
            table.retain_in::<&[u8], _>(&from[..]..&to[..], |_, _| false)?;
        }
        Ok(transaction.commit()?)
    }

    async fn get(&self, key: &Key) -> Result<Option<usize>, Failure> {
        let table = self.0.db.begin_read()?.open_table(ROWS)?;
        let value = table.get(&key[..])?;
        Ok(value.map(|value| black_box(value.value()).len()))
    }

    async fn scan(&self, from: &Key, rows: usize) -> Result<usize, Failure> {
        let table = self.0.db.begin_read()?.open_table(ROWS)?;
        let mut rows_read = 0;
        for row in table.range::<&[u8]>(&from[..]..)?.take(rows) {
            let (key, value) = row?;
            black_box((key.value(), value.value()));
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
        self.commit(&self.take_gathered(), Durability::Immediate)
    }

    fn figures(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    async fn close(self) -> Result<(), Failure> {
        self.flush().await
    }
}
