//! Tables being written by a flush or a compaction: what stays of the versions shown to it, cut into tables.
//!
//! Tables are cut between keys only, so that a key's versions are in one table of a run: where one is full, and earlier where
//! another group or another window of expiry times begins, so that those can be dropped as whole tables. Range deletes are cut
//! at the same keys.

use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::{Store, add};
use crate::compaction::clock::group_of;
use crate::compaction::retention::{Retention, Verdict};
use crate::error::EngineError;
use crate::ids::{Expiry, GroupId};
use crate::manifest::{TableMeta, sync_folder};
use crate::tree::EntryRef;
use crate::tree::table::Table;
use crate::tree::table::format::Codec;
use crate::tree::table::writer::{self, TableWriter};
use crate::tree::tombstone::Tombstone;

/// A table with one part in so many of its full size is cut where another group or window begins.
const EARLY_CUT: u64 = 4;

/// Tables under construction.
pub(super) struct Output<'a, E: Env> {
    store: &'a Store<E>,
    level: usize,
    /// Bytes at which a table is full.
    full: u64,
    rule: Retention,
    table: Option<TableWriter<E>>,
    /// Group and window of the present table's last version.
    kind: (GroupId, u64),
    /// Where the present table begins, for range deletes.
    cut: Option<Bytes>,
    /// Ids of the files made so far.
    made: Vec<u64>,
    done: Vec<TableMeta>,
    /// Readers will ask for what is written: the cache gets it at once.
    warm: bool,
}

impl<'a, E: Env> Output<'a, E> {
    /// Tables for a level, under a rule of what stays.
    pub(super) fn new(store: &'a Store<E>, level: usize, full: u64, rule: Retention) -> Self {
        let (made, done) = (Vec::new(), Vec::new());
        Self { store, level, full, rule, table: None, kind: (GroupId(0), 0), cut: None, made, done, warm: false }
    }

    /// The same, with what is written put into the cache if `warm`.
    pub(super) const fn warming(mut self, warm: bool) -> Self {
        self.warm = warm;
        self
    }

    /// Takes the next version in order.
    pub(super) async fn push(&mut self, mut entry: EntryRef<'_>) -> Result<(), EngineError> {
        match self.rule.judge(entry) {
            Verdict::Keep => {}
            Verdict::Hidden => {
                add(&self.store.counters.hidden_versions, 1);
                return Ok(());
            }
            Verdict::Expired => {
                add(&self.store.counters.expired_versions, 1);
                return Ok(());
            }
            Verdict::ExpiredToDelete => {
                add(&self.store.counters.expired_versions, 1);
                // Planted bug 126: an expired value goes and leaves no delete for what is under it.
                if self.store.env.mutant(126) {
                    return Ok(());
                }
                entry.value = None;
                entry.expires_at = Expiry::NEVER;
            }
        }
        let kind = (group_of(entry.key), self.window(entry.expires_at));
        let is_full = |table: &mut TableWriter<E>| {
            let other = kind != self.kind && table.bytes() >= self.full / EARLY_CUT;
            // Planted bug 106: the versions of a key end up in two tables of a level.
            (table.bytes() >= self.full || other) && (table.last_key() != Some(entry.key) || self.store.env.mutant(106))
        };
        if let Some(full) = self.table.take_if(is_full) {
            let cut = Bytes::copy_from_slice(entry.key);
            self.end(full, Some(&cut)).await?;
            self.cut = Some(cut);
        }
        self.kind = kind;
        if self.table.is_none() {
            self.table = Some(self.create().await?);
        }
        let Some(writing) = &mut self.table else { return Ok(()) };
        writing.push(entry).await
    }

    fn window(&self, expires_at: Expiry) -> u64 {
        let width = self.store.options.time_window_micros;
        if width == 0 || expires_at == Expiry::NEVER { u64::MAX } else { expires_at.0 / width }
    }

    async fn create(&mut self) -> Result<TableWriter<E>, EngineError> {
        let store = self.store;
        let id = store.take_table_id();
        self.made.push(id);
        let codec = if self.level >= store.options.compressed_from_level { Codec::Lz4 } else { Codec::Plain };
        let block_bytes = store.options.block_bytes;
        let table = TableWriter::create(store.env.clone(), &store.folder, id, codec, block_bytes).await?;
        let cache = self.warm.then(|| Rc::clone(&store.cache));
        Ok(table.with_prefixes(store.options.filter_prefix_bytes).with_cache(cache))
    }

    /// Finishes a table that ends before `until`.
    async fn end(&mut self, table: TableWriter<E>, until: Option<&Bytes>) -> Result<(), EngineError> {
        let tombstones = self.rule.tombstones(self.cut.as_ref(), until);
        self.end_with(table, &tombstones).await
    }

    async fn end_with(&mut self, table: TableWriter<E>, tombstones: &[Tombstone]) -> Result<(), EngineError> {
        // Planted bug 105: range deletes end at the first compaction.
        let forget = self.level > 0 && self.store.env.mutant(105);
        let meta = table.finish(if forget { &[] } else { tombstones }).await?;
        add(&self.store.counters.table_syncs, 1);
        add(&self.store.counters.written_bytes, meta.bytes());
        self.store.compaction.wrote(self.level, meta.bytes());
        self.store.note_space();
        self.done.push(meta);
        Ok(())
    }

    /// Finishes the last table. Range deletes alone make a table too.
    pub(super) async fn finish(&mut self) -> Result<Vec<TableMeta>, EngineError> {
        let tombstones = self.rule.tombstones(self.cut.as_ref(), None);
        let last = match self.table.take() {
            None if tombstones.is_empty() => None,
            None => Some(self.create().await?),
            last => last,
        };
        if let Some(last) = last {
            self.end_with(last, &tombstones).await?;
        }
        Ok(std::mem::take(&mut self.done))
    }

    /// Opens finished tables, whose names are durable after this.
    pub(super) async fn open(&self, metas: &[TableMeta]) -> Result<Vec<Rc<Table<E>>>, EngineError> {
        let store = self.store;
        if !metas.is_empty() {
            sync_folder(&store.env, &store.folder).await;
            add(&store.counters.table_syncs, 1);
        }
        let mut tables = Vec::new();
        for meta in metas {
            let (env, graveyard) = (store.env.clone(), store.graveyard.clone());
            tables.push(Table::open(env, &store.folder, meta.clone(), graveyard).await?);
        }
        Ok(tables)
    }

    /// Removes the files made so far, after a failure. One that stays is removed as an orphan at the next start.
    pub(super) async fn discard(self) {
        let store = self.store;
        drop(self.table);
        for id in self.made {
            let _ = store.env.remove_file(&writer::path(&store.folder, id)).await;
        }
    }
}
