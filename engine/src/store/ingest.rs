//! Ingest: a key range of the tree is replaced by prepared tables, in one manifest edit.
//!
//! This is how a group takes in a snapshot of its peers: {what was in the range goes, the tables come, applied index, start of
//! the group's log, incarnation} take effect together or not at all.
//!
//! The range is not hidden by a delete, it is emptied: tables inside it leave the version, tables that reach over its edges and
//! speak of something inside are written anew without that. So the prepared tables, whose sequence numbers are 0, have nothing
//! to be ordered against, and go as files, unread, to the lowest level where they fit. Readers with older snapshots keep the layers
//! from before ([`super::era`]).
//!
//! Must never: change anything before every byte of the prepared tables was checked, or run while a compaction is under way.

use std::path::PathBuf;
use std::rc::Rc;

use highwater_runtime::Env;

use super::checkpoint::link_error;
use super::prepared::PreparedTables;
use super::{Store, add};
use crate::compaction::merge::Merge;
use crate::error::EngineError;
use crate::ids::{GroupId, Incarnation, LogIndex, Seq, Term};
use crate::log::group::GroupLog;
use crate::manifest::edit::{LEVELS, SETTLED};
use crate::manifest::{Edit, Levels, ManifestState, Place, TableMeta, sync_folder};
use crate::tree::cursor::{Direction, KeyRange, View};
use crate::tree::memtable::Memtable;
use crate::tree::run::RunFeed;
use crate::tree::source::Source;
use crate::tree::table::Table;
use crate::tree::table::format::Codec;
use crate::tree::table::writer::{self, TableWriter};
use crate::tree::version::Version;

/// What a group is after an ingest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestOptions {
    /// The range that is replaced: all that the group has. The prepared tables lie within.
    pub range: KeyRange,
    /// The replica's life from now on. If it is the present one, the hard state stays; a new life has none yet.
    pub incarnation: Incarnation,
    /// The prepared state contains exactly the effects of entries up to this; the group's log starts behind it, empty.
    pub applied: LogIndex,
    /// Term of that entry.
    pub term: Term,
    /// Take tables of another database too, as a restore does.
    pub any_database: bool,
}

/// What becomes of the tables that speak of the range.
#[derive(Default)]
struct Cleared {
    dropped: Vec<u64>,
    edges: Vec<(Place, TableMeta)>,
}

/// The lowest level whose settled run has room for all tables; level 0 when there is none.
fn lowest_place(levels: &Levels, tables: &[TableMeta], fresh: u64) -> Place {
    let fits = |level: &usize| {
        let settled = levels.get(*level).and_then(|runs| runs.iter().find(|run| run.id == SETTLED));
        settled.is_none_or(|run| tables.iter().all(|table| run.overlapping(&table.start, Some(&table.end)).is_empty()))
    };
    let level = (1..LEVELS).rev().find(fits);
    level.map_or(Place { level: 0, run: fresh }, |level| Place { level, run: SETTLED })
}

/// Keeps compactions from starting.
struct Hold<'a, E: Env>(&'a Store<E>);

impl<E: Env> Drop for Hold<'_, E> {
    fn drop(&mut self) {
        self.0.tree_held.set(self.0.tree_held.get() - 1);
        self.0.compaction.wake();
    }
}

impl<E: Env> Store<E> {
    /// Replaces a group's range by prepared tables, atomically and durably, together with its applied index and the start of its
    /// log. The files are linked; the prepared folder stays as it is. Nothing of the group may be appended or written
    /// meanwhile; other groups go on. Snapshots taken before read the range as it was.
    ///
    /// # Errors
    /// [`EngineError::Prepared`] when the tables are foreign, damaged, or not what their descriptor says;
    /// [`EngineError::OtherFileSystem`]; [`EngineError::NoSpace`]; [`EngineError::Closed`]; [`EngineError::Corruption`] when a table at the
    /// range's edge cannot be read; I/O errors. Nothing has changed then.
    pub async fn ingest(
        &self,
        group: GroupId,
        prepared: &PreparedTables,
        options: &IngestOptions,
    ) -> Result<(), EngineError> {
        if self.closed.get() {
            return Err(EngineError::Closed);
        }
        self.busy.set(self.busy.get() + 1);
        let outcome = self.ingest_files(group, prepared, options).await;
        self.busy.set(self.busy.get() - 1);
        self.note_full(outcome.as_ref().err());
        self.progress.announce();
        outcome
    }

    async fn ingest_files(
        &self,
        group: GroupId,
        prepared: &PreparedTables,
        options: &IngestOptions,
    ) -> Result<(), EngineError> {
        self.check_prepared(prepared, options).await?;
        // Planted bug 133: what memory holds of the range stays, over what is taken in.
        if !self.env.mutant(133) {
            self.flush_range(group, &options.range).await?;
        }
        self.tree_held.set(self.tree_held.get() + 1);
        let hold = Hold(self);
        while self.compaction.running() > 0 {
            self.progress.changed().await;
        }
        let mut made = Vec::new();
        let outcome = self.replace_range(group, prepared, options, &mut made).await;
        if outcome.is_err() {
            for id in made {
                // What stays is an orphan, removed at the next start.
                let _ = self.env.remove_file(&writer::path(&self.folder, id)).await;
            }
        }
        drop(hold);
        outcome
    }

    /// Reads every byte of the prepared tables and says whether [`Self::ingest`] would take them. It looks for itself again.
    ///
    /// # Errors
    /// [`EngineError::Prepared`] when the tables are foreign, damaged, or not what their descriptor says; I/O errors.
    pub async fn check_prepared(&self, prepared: &PreparedTables, options: &IngestOptions) -> Result<(), EngineError> {
        let refuse = |file: PathBuf, what: String| Err(EngineError::Prepared { file, what });
        if prepared.database != self.options.database_id && !options.any_database {
            let what = format!(
                "they are of database {:016x}, and this is {:016x}",
                prepared.database, self.options.database_id
            );
            return refuse(prepared.folder.clone(), what);
        }
        let (whole, range) = (&options.range, &prepared.range);
        let ends_inside = whole.end.as_ref().is_none_or(|end| range.end.as_ref().is_some_and(|inner| inner <= end));
        if range.start < whole.start || !ends_inside {
            return refuse(prepared.folder.clone(), "they reach beyond the range that they are to replace".into());
        }
        for table in &prepared.tables {
            let path = writer::path(&prepared.folder, table.meta.table);
            let open = Table::open(self.env.clone(), &prepared.folder, table.meta.clone(), self.graveyard.clone());
            let checked = match open.await {
                Ok(table) => table.verify().await.map(|_| table.is_plain()),
                Err(error) => Err(error),
            };
            match checked {
                Ok(true) => {}
                Ok(false) => return refuse(path, "it holds deletes or sequence numbers of a store".into()),
                Err(EngineError::Corruption { file, offset, what }) => {
                    return refuse(file, format!("it is damaged at byte {offset}: {what}"));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Waits until no memtable speaks of the range or of the group's applied index.
    async fn flush_range(&self, group: GroupId, range: &KeyRange) -> Result<(), EngineError> {
        let speaks = |memtable: &Memtable| {
            let mut found = std::collections::VecDeque::new();
            memtable.fetch(range, Direction::Forward, None, Seq(u64::MAX), 1, &mut found);
            let deletes = !memtable.tombstones().clipped(Some(&range.start), range.end.as_ref()).is_empty();
            !found.is_empty() || deletes || memtable.speaks_of(group)
        };
        while self.view().memtables.iter().any(|memtable| speaks(memtable)) {
            self.flush().await?;
        }
        Ok(())
    }

    async fn replace_range(
        &self,
        group: GroupId,
        prepared: &PreparedTables,
        options: &IngestOptions,
        made: &mut Vec<u64>,
    ) -> Result<(), EngineError> {
        let mut metas = Vec::new();
        for table in &prepared.tables {
            let id = self.take_table_id();
            let from = writer::path(&prepared.folder, table.meta.table);
            let to = writer::path(&self.folder, id);
            self.env.hard_link(&from, &to).await.map_err(|error| link_error(&from, &to, &error))?;
            made.push(id);
            metas.push(TableMeta { table: id, ..table.meta.clone() });
        }
        let version = Rc::clone(&self.version.borrow());
        let Cleared { dropped, edges } = self.clear_range(&version, &options.range, made).await?;
        sync_folder(&self.env, &self.folder).await;
        add(&self.counters.table_syncs, 1);
        let mut tables = Vec::new();
        for meta in edges.iter().map(|(_, meta)| meta).chain(&metas) {
            tables.push(Table::open(self.env.clone(), &self.folder, meta.clone(), self.graveyard.clone()).await?);
        }
        let mut edit = Edit { added: edges, dropped, ..Edit::default() };
        let mut after = ManifestState::new(0, 0);
        after.levels.clone_from(&version.levels);
        if let Err(what) = after.apply(&edit) {
            return Err(EngineError::corruption(&self.folder, 0, what));
        }
        let place = lowest_place(&after.levels, &metas, metas.first().map_or(0, |meta| meta.table));
        edit.added.extend(metas.into_iter().map(|meta| (place, meta)));
        drop(version);
        self.log.sync().await?;
        let pass = self.manifest_gate.enter().await;
        // What the log holds of the group until the edit is durable is void. No block may be written between: the opening of a segment, or
        // entries that are moved forward, would speak of the group as it was, and count.
        // Planted bug 139: blocks are written meanwhile.
        let still = if self.env.mutant(139) { None } else { Some(self.log.still().await) };
        let since = self.log.durable_sequence();
        let mut log = GroupLog::starting(options.incarnation, options.applied, options.term);
        // Planted bug 125: what the log holds of the group until now counts again after a restart.
        let void = if self.env.mutant(125) { 0 } else { since };
        (log.flushed, log.since) = (options.applied, void);
        edit.groups.insert(group, log.mark());
        self.install_next(edit, tables, |before| self.enter_era(before, group, log)).await?;
        drop((still, pass));
        add(&self.counters.ingests, 1);
        self.flush_wake.notify();
        Ok(())
    }

    /// In the same step as the swap of the version: older snapshots keep the layers from before, and the group is another.
    fn enter_era(&self, before: &Rc<Version<E>>, group: GroupId, log: GroupLog) {
        let upto = self.last_seq.get();
        // Planted bug 124: older snapshots read what was taken in.
        if !self.env.mutant(124) && self.snapshots.held().first().is_some_and(|oldest| *oldest <= upto) {
            self.eras.begin(upto, View { memtables: self.view().memtables, version: Rc::clone(before) });
        }
        // Snapshots from now on are told from those before.
        self.last_seq.set(Seq(upto.0 + 1));
        self.applied.borrow_mut().insert(group, log.flushed);
        self.log.replace(group, log);
    }

    /// Finds what leaves the version with the range, and writes the edges of tables that reach over it.
    async fn clear_range(
        &self,
        version: &Rc<Version<E>>,
        range: &KeyRange,
        made: &mut Vec<u64>,
    ) -> Result<Cleared, EngineError> {
        let mut cleared = Cleared::default();
        for (level, runs) in version.levels.iter().enumerate() {
            for run in runs {
                for meta in run.overlapping(&range.start, range.end.as_deref()) {
                    let inside = meta.start >= range.start && range.end.as_ref().is_none_or(|end| meta.end <= *end);
                    let Some(table) = version.named(&[meta.table]).pop() else { continue };
                    // Planted bug 123: tables that reach over the range's edges stay as they are.
                    if !inside && (self.env.mutant(123) || !speaks_of(&table, range).await?) {
                        continue;
                    }
                    cleared.dropped.push(meta.table);
                    if inside {
                        continue;
                    }
                    let left = KeyRange { start: meta.start.clone(), end: Some(range.start.clone()) };
                    let right = range.end.clone().map(|start| KeyRange { start, end: Some(meta.end.clone()) });
                    for part in [Some(left), right].into_iter().flatten().filter(|part| !part.is_empty()) {
                        if let Some(edge) = self.write_part(&table, &part, level, made).await? {
                            cleared.edges.push((Place { level, run: run.id }, edge));
                        }
                    }
                }
            }
        }
        Ok(cleared)
    }

    /// Writes what a table says of `part` to a new one, every version as it is; `None` when that is nothing.
    async fn write_part(
        &self,
        table: &Rc<Table<E>>,
        part: &KeyRange,
        level: usize,
        made: &mut Vec<u64>,
    ) -> Result<Option<TableMeta>, EngineError> {
        let tombstones = table.tombstones.clipped(Some(&part.start), part.end.as_ref());
        let mut merge = Merge::new(vec![source_of(table, part)]);
        let mut next = merge.next().await?;
        if next.is_none() && tombstones.is_empty() {
            return Ok(None);
        }
        let id = self.take_table_id();
        made.push(id);
        let codec = if level >= self.options.compressed_from_level { Codec::Lz4 } else { Codec::Plain };
        let (env, block) = (self.env.clone(), self.options.block_bytes);
        let mut writing = TableWriter::create(env, &self.folder, id, codec, block).await?;
        writing = writing.with_prefixes(self.options.filter_prefix_bytes);
        while let Some(entry) = next {
            writing.push(entry).await?;
            next = merge.next().await?;
        }
        add(&self.counters.written_bytes, writing.bytes());
        let meta = writing.finish(&tombstones).await?;
        add(&self.counters.table_syncs, 1);
        Ok(Some(meta))
    }

    /// The layers that a reader at `at` must read, if they are not the present ones.
    pub(super) fn era_of(&self, at: Seq) -> Option<View<E>> {
        self.eras.view(at)
    }

    /// Lets go of what only ended snapshots could read.
    pub(super) fn prune_eras(&self) {
        // Planted bug 136: what only ended snapshots could read stays on the disk.
        if !self.eras.is_empty() && !self.env.mutant(136) {
            self.eras.prune(self.snapshots.held().first().copied());
        }
    }
}

fn source_of<E: Env>(table: &Rc<Table<E>>, range: &KeyRange) -> Source<E> {
    Source::run(RunFeed::new(vec![Rc::clone(table)], Direction::Forward, None).within(range))
}

/// Whether a table has a version or a delete in the range. What cannot be read there is something: it goes with the range.
async fn speaks_of<E: Env>(table: &Rc<Table<E>>, range: &KeyRange) -> Result<bool, EngineError> {
    if !table.tombstones.clipped(Some(&range.start), range.end.as_ref()).is_empty() {
        return Ok(true);
    }
    match source_of(table, range).load().await {
        Ok(found) => Ok(found),
        Err(EngineError::Corruption { .. }) => Ok(true),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::manifest::Run;

    #[test]
    fn tables_go_to_the_lowest_level_whose_settled_run_has_room_for_all() {
        let mut levels: Levels = vec![Vec::new(); LEVELS];
        let place = |levels: &Levels, tables: &[TableMeta]| {
            let Place { level, run } = lowest_place(levels, tables, 77);
            (level, run)
        };
        let tables = [TableMeta::plain(8, "d", "e"), TableMeta::plain(9, "e", "f")];
        assert_eq!(place(&levels, &tables), (6, SETTLED), "an empty tree");
        levels[6] =
            vec![Run { id: SETTLED, tables: vec![TableMeta::plain(1, "a", "d"), TableMeta::plain(2, "f", "z")] }];
        assert_eq!(place(&levels, &tables), (6, SETTLED), "a gap is room");
        levels[6] = vec![Run { id: SETTLED, tables: vec![TableMeta::plain(1, "a", "d\0")] }];
        assert_eq!(place(&levels, &tables), (5, SETTLED), "a table that spans the range is in the way");
        levels[5] = vec![Run { id: 3, tables: vec![TableMeta::plain(3, "a", "z")] }];
        assert_eq!(place(&levels, &tables), (5, SETTLED), "another run of the level is not");
        for (level, runs) in levels.iter_mut().enumerate().skip(1) {
            *runs = vec![Run { id: SETTLED, tables: vec![TableMeta::plain(level as u64, "a", "z")] }];
        }
        assert_eq!(place(&levels, &tables), (0, 77));
    }
}
