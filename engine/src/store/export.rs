//! Export: the visible state of a key range, at one snapshot, as prepared tables.

use std::path::Path;

use highwater_runtime::Env;

use super::Store;
use super::checkpoint::{abandon, begin, complete};
use super::prepared::{PreparedTable, PreparedTables};
use crate::error::EngineError;
use crate::ids::Seq;
use crate::tree::EntryRef;
use crate::tree::cursor::{Direction, KeyRange};
use crate::tree::snapshot::Snapshot;
use crate::tree::table::format::Codec;
use crate::tree::table::writer::TableWriter;

impl<E: Env> Store<E> {
    /// Writes what is visible in `range` at a snapshot to `folder`, as tables that [`Store::ingest`] takes in anywhere. The folder must
    /// be absent or empty. Reads and writes go on meanwhile. Durable when this returns; what a crash leaves is refused by
    /// [`PreparedTables::open`] and removed by [`Store::discard_incomplete`].
    ///
    /// # Errors
    /// [`EngineError::Target`], [`EngineError::NoSpace`], [`EngineError::Corruption`], [`EngineError::Closed`]; I/O errors. Nothing
    /// is left in the folder then.
    pub async fn export(&self, range: &KeyRange, at: &Snapshot, folder: &Path) -> Result<PreparedTables, EngineError> {
        if self.closed.get() {
            return Err(EngineError::Closed);
        }
        begin(&self.env, folder).await?;
        let outcome = self.fill_export(range, at, folder).await;
        if outcome.is_err() {
            // What cannot be removed now keeps the marker beside it.
            let _ = abandon(&self.env, folder).await;
        }
        outcome
    }

    async fn fill_export(&self, range: &KeyRange, at: &Snapshot, folder: &Path) -> Result<PreparedTables, EngineError> {
        let mut tables = Vec::new();
        // Planted bug 132: an export shows the present, whatever the snapshot.
        let at = if self.env.mutant(132) { &self.snapshot() } else { at };
        let mut cursor = self.scan(range.clone(), Direction::Forward, at);
        let mut table: Option<TableWriter<E>> = None;
        while let Some((key, value, expires_at)) = cursor.next_expiring().await? {
            if self.closed.get() {
                return Err(EngineError::Closed);
            }
            if let Some(full) = table.take_if(|table| table.bytes() >= self.options.table_bytes) {
                tables.push(PreparedTable { meta: full.finish(&[]).await? });
            }
            let writing = match &mut table {
                Some(writing) => writing,
                None => {
                    let (env, id, block) = (self.env.clone(), tables.len() as u64 + 1, self.options.block_bytes);
                    table.insert(TableWriter::create(env, folder, id, Codec::Lz4, block).await?)
                }
            };
            // One version of each key and nothing to hide: the order of writes has no meaning outside the store.
            writing.push(EntryRef { key: &key, seq: Seq(0), value: Some(&value), expires_at }).await?;
        }
        if let Some(last) = table {
            tables.push(PreparedTable { meta: last.finish(&[]).await? });
        }
        let (folder, database) = (folder.to_path_buf(), self.options.database_id);
        let prepared = PreparedTables { folder, database, range: range.clone(), tables };
        prepared.write_descriptor(&self.env).await?;
        complete(&self.env, &prepared.folder).await?;
        Ok(prepared)
    }
}
