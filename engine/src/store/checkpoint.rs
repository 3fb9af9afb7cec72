//! Checkpoints: a folder that opens as this store was at the call, made of hard links.
//!
//! Tables are linked, so that they cost no space until the store drops them; what is only in memory is written to one more
//! table, and what is only in the log to a log of the copy's own. Everything is captured in one synchronous step; writes go
//! on meanwhile, and no table that is to be linked is removed, since the captured version holds it.
//!
//! Invariant: the marker `INCOMPLETE` is durable before anything else is in the folder, and goes when all the rest is durable.
//! A folder with the marker is refused by [`Store::open`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use highwater_runtime::{Env, OpenOptions};

use super::Store;
use crate::compaction::clock::GroupClocks;
use crate::compaction::merge::Merge;
use crate::compaction::retention::{Retention, Verdict};
use crate::error::EngineError;
use crate::ids::GroupId;
use crate::log::copy::LogCapture;
use crate::manifest::{GroupMark, Manifest, ManifestState, Place, Run, TableMeta, sync_folder};
use crate::tree::cursor::View;
use crate::tree::snapshot::Snapshot;
use crate::tree::source::Source;
use crate::tree::table::format::Codec;
use crate::tree::table::writer::{self, TableWriter};
use crate::tree::tombstone::RangeTombstones;

/// The file that says that the folder is not yet whole.
const MARKER: &str = "INCOMPLETE";

/// What a checkpoint is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Tables that were linked.
    pub linked_tables: usize,
    /// Their bytes, which the two folders share.
    pub linked_bytes: u64,
    /// Bytes that were written: what was in memory only.
    pub written_bytes: u64,
}

/// The store at one moment.
struct Capture<E: Env> {
    view: View<E>,
    at: Snapshot,
    log: LogCapture,
    marks: BTreeMap<GroupId, GroupMark>,
    next_table: u64,
}

/// Marks a folder as unfinished, durably; it is created if absent and must be empty.
pub(super) async fn begin<E: Env>(env: &E, folder: &Path) -> Result<(), EngineError> {
    env.create_dir_all(folder).await.map_err(|error| EngineError::io("create", folder, &error))?;
    let names = env.list_dir(folder).await.map_err(|error| EngineError::io("list", folder, &error))?;
    if let Some(name) = names.first() {
        let what = format!("it is not empty, it holds {}", name.display());
        return Err(EngineError::Target { folder: folder.to_path_buf(), what });
    }
    let marker = folder.join(MARKER);
    env.open(&marker, OpenOptions::CREATE).await.map_err(|error| EngineError::io("create", &marker, &error))?;
    sync_folder(env, folder).await;
    Ok(())
}

/// Takes the marker away: from now on the folder is whole.
pub(super) async fn complete<E: Env>(env: &E, folder: &Path) -> Result<(), EngineError> {
    sync_folder(env, folder).await;
    let marker = folder.join(MARKER);
    env.remove_file(&marker).await.map_err(|error| EngineError::io("remove", &marker, &error))?;
    // Planted bug 131: a copy is said to be whole before that is durable.
    if !env.mutant(131) {
        sync_folder(env, folder).await;
    }
    Ok(())
}

/// Removes every file of a folder that [`begin`] has begun, the marker last. A file that stays leaves the marker.
pub(super) async fn abandon<E: Env>(env: &E, folder: &Path) -> Result<(), EngineError> {
    let names = env.list_dir(folder).await.map_err(|error| EngineError::io("list", folder, &error))?;
    for name in names.iter().filter(|name| name.as_path() != Path::new(MARKER)) {
        let path = folder.join(name);
        env.remove_file(&path).await.map_err(|error| EngineError::io("remove", &path, &error))?;
    }
    sync_folder(env, folder).await;
    complete(env, folder).await
}

/// Refuses a folder that is not whole.
pub(super) async fn check_complete<E: Env>(env: &E, folder: &Path) -> Result<(), EngineError> {
    let names = env.list_dir(folder).await.map_err(|error| EngineError::io("list", folder, &error))?;
    if names.iter().any(|name| name.as_path() == Path::new(MARKER)) {
        return Err(EngineError::Incomplete { folder: folder.to_path_buf() });
    }
    Ok(())
}

/// An error of a hard link; another file system gets a sentence of its own.
pub(super) fn link_error(from: &Path, to: &Path, error: &std::io::Error) -> EngineError {
    if error.kind() == std::io::ErrorKind::CrossesDevices {
        return EngineError::OtherFileSystem { from: from.to_path_buf(), to: to.to_path_buf() };
    }
    EngineError::io("link a file to", to, error)
}

impl<E: Env> Store<E> {
    /// Makes `folder` a copy of the store as it is at the call, which [`Store::open`] opens with the same identity: every
    /// group's applied effects, hard state, and log entries behind the applied index. The folder must be absent or empty, and in
    /// the store's file system. Writes go on meanwhile. The copy is durable when this returns.
    ///
    /// When the process dies in between, the folder stays as one that [`Store::open`] refuses; see
    /// [`Store::discard_incomplete`].
    ///
    /// # Errors
    /// [`EngineError::Target`] when the folder is not empty; [`EngineError::OtherFileSystem`]; [`EngineError::NoSpace`];
    /// [`EngineError::Closed`]; read errors. Nothing is left in the folder then.
    pub async fn checkpoint(&self, folder: &Path) -> Result<Checkpoint, EngineError> {
        if self.closed.get() {
            return Err(EngineError::Closed);
        }
        // The log's present block is waited for; nothing else is.
        let still = self.log.still().await;
        let capture = self.capture();
        drop(still);
        begin(&self.env, folder).await?;
        let outcome = self.fill_checkpoint(&capture, folder).await;
        if outcome.is_err() {
            // What cannot be removed now keeps the marker beside it.
            let _ = abandon(&self.env, folder).await;
        }
        outcome
    }

    /// Removes what an unfinished [`Store::checkpoint`] or [`Store::export`] has left in a folder, so that it is empty. Does
    /// nothing to a folder that is whole, or that is not there.
    ///
    /// # Errors
    /// I/O errors; it may be called again.
    pub async fn discard_incomplete(env: &E, folder: &Path) -> Result<(), EngineError> {
        match check_complete(env, folder).await {
            Err(EngineError::Incomplete { .. }) => abandon(env, folder).await,
            Err(EngineError::Io { kind: std::io::ErrorKind::NotFound, .. }) | Ok(()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn capture(&self) -> Capture<E> {
        let log = self.log.capture(|group| self.applied(group));
        let applied = self.applied.borrow();
        let mut marks: BTreeMap<GroupId, GroupMark> = BTreeMap::new();
        for (group, flushed) in applied.iter() {
            marks.insert(*group, GroupMark { flushed: *flushed, ..GroupMark::default() });
        }
        for (group, copy) in &log.groups {
            marks.insert(*group, copy.mark());
        }
        Capture { view: self.view(), at: self.snapshot(), log, marks, next_table: self.next_table.get() }
    }

    async fn fill_checkpoint(&self, capture: &Capture<E>, folder: &Path) -> Result<Checkpoint, EngineError> {
        let mut made = Checkpoint::default();
        for table in capture.view.version.tables() {
            let [from, to]: [PathBuf; 2] = [&self.folder, folder].map(|folder| writer::path(folder, table.meta.table));
            self.env.hard_link(&from, &to).await.map_err(|error| link_error(&from, &to, &error))?;
            made.linked_tables += 1;
            made.linked_bytes += table.meta.bytes();
        }
        let mut state = ManifestState::new(self.options.database_id, self.options.store_id);
        state.levels.clone_from(&capture.view.version.levels);
        state.next_table = capture.next_table + 1;
        state.last_seq = capture.at.seq().0;
        state.groups.clone_from(&capture.marks);
        // Planted bug 130: a copy lacks what is in memory, and says that it has it.
        if !self.env.mutant(130)
            && let Some(meta) = self.write_memory(capture, folder).await?
        {
            made.written_bytes = meta.bytes();
            let place = Place { level: 0, run: meta.table };
            if let Some(runs) = state.levels.get_mut(place.level) {
                runs.insert(0, Run { id: place.run, tables: vec![meta] });
            }
        }
        state.log_durable = self.log.write_copy(&capture.log, folder).await?;
        state.log_tail = 1;
        sync_folder(&self.env, folder).await;
        let limit = self.options.manifest_bytes;
        Manifest::create(self.env.clone(), folder, 1, state, 0, limit).await?;
        complete(&self.env, folder).await?;
        Ok(made)
    }

    /// Writes what the captured memtables say to a table in `folder`; `None` when that is nothing.
    async fn write_memory(&self, capture: &Capture<E>, folder: &Path) -> Result<Option<TableMeta>, EngineError> {
        let at = capture.at.seq();
        let mut deletes = RangeTombstones::default();
        for memtable in &capture.view.memtables {
            for tombstone in memtable.tombstones().iter().filter(|tombstone| tombstone.seq <= at) {
                deletes.add(&tombstone, &|_, _| false);
            }
        }
        // The copy has no readers of older states.
        let mut rule = Retention::new(Vec::new(), GroupClocks::default(), false, std::iter::once(&deletes));
        let tombstones = rule.tombstones(None, None);
        let mut merge = Merge::<E>::new(capture.view.memtables.iter().cloned().map(Source::memtable).collect());
        let mut table: Option<TableWriter<E>> = None;
        let create = || {
            let (env, id, block) = (self.env.clone(), capture.next_table, self.options.block_bytes);
            TableWriter::create(env, folder, id, Codec::Plain, block)
        };
        while let Some(entry) = merge.next().await? {
            if entry.seq > at || rule.judge(entry) != Verdict::Keep {
                continue;
            }
            let writing = match &mut table {
                Some(writing) => writing,
                None => table.insert(create().await?),
            };
            writing.push(entry).await?;
        }
        if table.is_none() && !tombstones.is_empty() {
            table = Some(create().await?);
        }
        match table {
            Some(table) => table.finish(&tombstones).await.map(Some),
            None => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_link_across_file_systems_is_refused_in_words() {
        let error = std::io::Error::from(std::io::ErrorKind::CrossesDevices);
        let error = link_error(Path::new("/data/7.tbl"), Path::new("/backup/7.tbl"), &error);
        assert!(error.to_string().contains("file system"), "{error}");
        assert!(matches!(error, EngineError::OtherFileSystem { .. }));
        let other = std::io::Error::from(std::io::ErrorKind::PermissionDenied);
        assert!(matches!(link_error(Path::new("/a"), Path::new("/b"), &other), EngineError::Io { .. }));
    }
}
