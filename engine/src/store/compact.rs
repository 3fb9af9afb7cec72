//! Running compactions, one at a time.

use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::{Store, add};
use crate::compaction::merge::Merge;
use crate::compaction::picker::{Compaction, pick};
use crate::compaction::retention::Retention;
use crate::error::EngineError;
use crate::manifest::edit::SETTLED;
use crate::manifest::{Edit, Place, Run, TableMeta, sync_folder};
use crate::tree::cursor::Direction;
use crate::tree::run::RunFeed;
use crate::tree::source::Source;
use crate::tree::table::Table;
use crate::tree::table::format::Codec;
use crate::tree::table::writer::{self, TableWriter};
use crate::tree::version::Version;

/// Whether a damaged table takes part. Such a table stays as it is: what can still be read of it is not given fresh checksums.
fn is_quarantined<E: Env>(version: &Version<E>, compaction: &Compaction) -> bool {
    let takes_part = |table: &u64| compaction.inputs.contains(table) || compaction.targets.contains(table);
    version.tables().any(|table| table.is_damaged() && takes_part(&table.meta.table))
}

impl<E: Env> Store<E> {
    /// Compacts until the tree has its shape.
    pub(super) async fn compaction_work(&self) -> Result<(), EngineError> {
        loop {
            if self.closed.get() {
                return Err(EngineError::Closed);
            }
            let version = Rc::clone(&self.version.borrow());
            let metas = |runs: &Vec<Run>| runs.iter().flat_map(|run| &run.tables).cloned().collect();
            let levels: Vec<Vec<TableMeta>> = version.levels.iter().map(metas).collect();
            let Some(compaction) = pick(&levels, &self.options) else { return Ok(()) };
            if is_quarantined(&version, &compaction) {
                return Ok(());
            }
            match self.compact(&version, &compaction).await {
                // What is damaged is quarantined now: the next look at the tree finds that.
                Err(EngineError::Corruption { .. }) if is_quarantined(&version, &compaction) => continue,
                outcome => outcome?,
            }
            add(&self.counters.compactions, 1);
            // Pressure may have ended.
            self.progress.announce();
        }
    }

    async fn compact(&self, version: &Rc<Version<E>>, compaction: &Compaction) -> Result<(), EngineError> {
        let (inputs, targets) = (version.named(&compaction.inputs), version.named(&compaction.targets));
        let place = Place { level: compaction.to, run: SETTLED };
        let dropped: Vec<u64> = inputs.iter().chain(&targets).map(|table| table.meta.table).collect();
        if compaction.trivial {
            let added = inputs.iter().map(|table| (place, table.meta.clone())).collect();
            return self.install(Edit { added, dropped, ..Edit::default() }, Vec::new(), || ()).await;
        }
        let mut made = Vec::new();
        let outcome = self.merge(&inputs, &targets, compaction, &mut made).await;
        let outputs = match outcome {
            Ok(outputs) => outputs,
            Err(error) => {
                for id in made {
                    let _ = self.env.remove_file(&writer::path(&self.folder, id)).await;
                }
                return Err(error);
            }
        };
        sync_folder(&self.env, &self.folder).await;
        let mut tables = Vec::new();
        for meta in &outputs {
            tables.push(Table::open(self.env.clone(), &self.folder, meta.clone(), self.graveyard.clone()).await?);
        }
        let added = outputs.into_iter().map(|meta| (place, meta)).collect();
        self.install(Edit { added, dropped, ..Edit::default() }, tables, || ()).await
    }

    /// Merges tables into new ones, whose ids go to `made` as they are created.
    async fn merge(
        &self,
        inputs: &[Rc<Table<E>>],
        targets: &[Rc<Table<E>>],
        compaction: &Compaction,
        made: &mut Vec<u64>,
    ) -> Result<Vec<TableMeta>, EngineError> {
        // Blocks read here bypass the cache: they are read once.
        let run = |tables: Vec<Rc<Table<E>>>| Source::run(RunFeed::new(tables, Direction::Forward, None));
        let mut sources: Vec<Source<E>> = inputs.iter().map(|table| run(vec![Rc::clone(table)])).collect();
        sources.push(run(targets.to_vec()));
        let mut merge = Merge::new(sources);
        let tombstones = inputs.iter().chain(targets).map(|table| &table.tombstones);
        // Planted bugs 108 and 41: versions that a snapshot sees are dropped; deletes are dropped above the bottom.
        let held = if self.env.mutant(108) { Vec::new() } else { self.snapshots.held() };
        let mut rule = Retention::new(held, compaction.bottom || self.env.mutant(41), tombstones);
        let mut outputs = Vec::new();
        let mut table: Option<TableWriter<E>> = None;
        // Where the present output begins; range deletes are cut there.
        let mut cut: Option<Bytes> = None;
        // Planted bug 119: a failed read counts as the end of the input.
        while let Some(entry) = merge.next().await.or_else(|e| if self.env.mutant(119) { Ok(None) } else { Err(e) })? {
            if self.closed.get() {
                return Err(EngineError::Closed);
            }
            if !rule.keeps(&entry) {
                continue;
            }
            let full = table
                // Planted bug 106: the versions of a key end up in two tables of a level.
                .take_if(|table| {
                    table.bytes() >= self.options.table_bytes
                        && (table.last_key() != Some(&entry.key) || self.env.mutant(106))
                });
            if let Some(full) = full {
                let until = Some(&entry.key);
                outputs.push(self.finish(full, rule.tombstones(cut.as_ref(), until)).await?);
                cut = Some(entry.key.clone());
            }
            let writing = match &mut table {
                Some(writing) => writing,
                None => table.insert(self.create(compaction.to, made).await?),
            };
            writing.push(&entry).await?;
        }
        let tombstones = rule.tombstones(cut.as_ref(), None);
        if table.is_none() && !tombstones.is_empty() {
            table = Some(self.create(compaction.to, made).await?);
        }
        if let Some(table) = table {
            outputs.push(self.finish(table, tombstones).await?);
        }
        Ok(outputs)
    }

    async fn create(&self, level: usize, made: &mut Vec<u64>) -> Result<TableWriter<E>, EngineError> {
        let id = self.take_table_id();
        made.push(id);
        let codec = if level >= self.options.compressed_from_level { Codec::Lz4 } else { Codec::Plain };
        TableWriter::create(self.env.clone(), &self.folder, id, codec, self.options.block_bytes).await
    }

    async fn finish(
        &self,
        table: TableWriter<E>,
        tombstones: Vec<crate::tree::tombstone::Tombstone>,
    ) -> Result<TableMeta, EngineError> {
        // Planted bug 105: range deletes end at the first compaction.
        let tombstones = if self.env.mutant(105) { Vec::new() } else { tombstones };
        add(&self.counters.written_bytes, table.bytes());
        table.finish(&tombstones).await
    }
}
