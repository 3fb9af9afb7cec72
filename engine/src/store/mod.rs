//! # The store: one log and one tree, opened, written, read, flushed and closed together
//!
//! Invariants:
//! * `flushed <= applied <= committed` for every group; the memtable's swap and the capture of every group's applied index are
//!   one synchronous step.
//! * A version is swapped in, and the memtable that became a table dropped, in one synchronous step after the manifest edit
//!   is durable.
//! * Nothing goes as expired that had not when the first entry which a restart applies again was applied: that entry may read it.
//! * Nothing is done in the background under a borrow of the state.

mod background;
mod checkpoint;
mod compact;
mod deletion;
mod descriptor;
mod era;
mod export;
mod flush;
mod ingest;
mod load;
mod log_writer;
mod maintain;
mod open;
mod output;
mod prepared;
mod scrub;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::{Env, Monotonic};

pub use checkpoint::Checkpoint;
use compact::CompactionState;
pub use descriptor::{Descriptor, seal};
use era::Eras;
pub use ingest::IngestOptions;
pub use open::{RecoveredGroup, Recovery};
pub use prepared::{PreparedTable, PreparedTables};

use crate::batch::WriteBatch;
use crate::compaction::clock::GroupClocks;
use crate::compaction::controller::Lane;
use crate::damage::Damage;
use crate::error::EngineError;
use crate::gate::{Event, Gate, Progress};
use crate::ids::{Expiry, GroupId, Incarnation, LogIndex, Seq, Term};
use crate::log::batch::LogBatch;
use crate::log::record::HardState;
use crate::log::{Log, LogEntry};
use crate::manifest::{Manifest, Run};
use crate::options::StoreOptions;
use crate::pressure::{Pressure, StoreStats, VerifyReport};
use crate::tree::Lookup;
use crate::tree::cache::BlockCache;
use crate::tree::cursor::{Cursor, Direction, KeyRange, View};
use crate::tree::graveyard::Graveyard;
use crate::tree::memtable::Memtable;
use crate::tree::snapshot::{Snapshot, Snapshots};
use crate::tree::table::filter;
use crate::tree::version::Version;
use log_writer::{WAITED_AT, WRITTEN_AT};

/// Releases of the log that share one look at all groups: one per so many groups.
const GROUPS_PER_RELEASE: usize = 64;

/// One engine of a node: a log and a tree, holding many groups. Lives on one core, as `Rc<Store>`.
pub struct Store<E: Env> {
    env: E,
    folder: PathBuf,
    options: Rc<StoreOptions>,
    log: Log<E>,
    /// Taken out while an edit is written.
    manifest: Cell<Option<Box<Manifest<E>>>>,
    manifest_gate: Gate,
    memtables: RefCell<Memtables>,
    version: RefCell<Rc<Version<E>>>,
    cache: Rc<BlockCache>,
    graveyard: Graveyard,
    snapshots: Snapshots,
    last_seq: Cell<Seq>,
    applied: RefCell<BTreeMap<GroupId, LogIndex>>,
    next_table: Cell<u64>,
    /// The log's tail as the manifest has it.
    recorded_tail: Cell<u64>,
    /// Releases of the log so far.
    releases: Cell<usize>,
    /// The newest segment of which the manifest knows a block.
    recorded_head: Cell<u64>,
    flush_wake: Event,
    compaction: CompactionState,
    /// Since when new writes are refused.
    stalled_since: Cell<Option<Monotonic>>,
    seal_wake: Event,
    log_wake: Event,
    scrub_wake: Event,
    progress: Progress,
    /// Background jobs under way.
    busy: Cell<usize>,
    troubles: RefCell<Troubles>,
    /// Damage found in the log, each with its segment.
    log_damage: RefCell<Vec<(u64, Damage)>>,
    /// What snapshots from before an ingest read.
    eras: Eras<E>,
    /// How many want that no compaction starts.
    tree_held: Cell<usize>,
    counters: Counters,
    closed: Cell<bool>,
}

/// Recent writes: one memtable that takes them, and frozen ones on their way to tables.
struct Memtables {
    active: Rc<Memtable>,
    /// Oldest first.
    frozen: VecDeque<Rc<Frozen>>,
    /// Applied indexes at the freeze before, for planted bug 13.
    earlier_marks: BTreeMap<GroupId, LogIndex>,
}

/// A memtable that takes no more writes, with every group's applied index and log time at that moment.
struct Frozen {
    memtable: Rc<Memtable>,
    marks: BTreeMap<GroupId, LogIndex>,
    clocks: GroupClocks,
}

impl Memtables {
    /// Whether effects of the group's entries are in no table yet.
    fn speak_of(&self, group: GroupId) -> bool {
        self.active.speaks_of(group) || self.frozen.iter().any(|frozen| frozen.memtable.speaks_of(group))
    }
}

/// What keeps background work from going on.
#[derive(Default)]
struct Troubles {
    flush: Option<EngineError>,
    upper: Option<EngineError>,
    deep: Option<EngineError>,
}

impl Troubles {
    /// What the lane does next fits on the disk.
    fn has_room(&mut self, lane: Lane) {
        let trouble = match lane {
            Lane::Upper => &mut self.upper,
            Lane::Deep => &mut self.deep,
        };
        trouble.take_if(|error| error.wants_space());
    }

    /// Disk space that the next compaction of a lane lacks; of both lanes what is missing for the first.
    fn missing_bytes(&self) -> u64 {
        let missing = |error: &EngineError| match error {
            EngineError::NoRoom { needed, free, .. } => Some(needed.saturating_sub(*free)),
            _ => None,
        };
        [&self.upper, &self.deep].into_iter().flatten().filter_map(missing).min().unwrap_or(0)
    }

    /// What keeps writes from being taken whatever the tree looks like. Of compactions that want space only level 0 tells how long writes can
    /// go on without them.
    fn hard_stop(&self) -> Option<&EngineError> {
        let failed = [&self.upper, &self.deep].into_iter().flatten().find(|error| !error.wants_space());
        self.flush.as_ref().or(failed)
    }
}

#[derive(Default)]
struct Counters {
    frozen: Cell<u64>,
    flushed: Cell<u64>,
    compactions: Cell<u64>,
    written_bytes: Cell<u64>,
    moved_tables: Cell<u64>,
    covered_tables: Cell<u64>,
    expired_tables: Cell<u64>,
    hidden_versions: Cell<u64>,
    expired_versions: Cell<u64>,
    stalls: Cell<u64>,
    stall_micros: Cell<u64>,
    deleted_files: Cell<u64>,
    ingests: Cell<u64>,
    scrub_passes: Cell<u64>,
    scrubbed_bytes: Cell<u64>,
    taken_bytes: Cell<u64>,
    manifest_syncs: Cell<u64>,
    table_syncs: Cell<u64>,
}

fn add(counter: &Cell<u64>, by: u64) {
    counter.set(counter.get() + by);
}

impl<E: Env> Store<E> {
    /// Gets the disk space that [`Self::append`] of this batch will need; the same as it would itself, but leaves the batch with
    /// the caller, who can wait for space.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`]: nothing has changed, try again when there is space.
    pub async fn make_room(&self, batch: &LogBatch) -> Result<(), EngineError> {
        let outcome = self.log.make_room(batch).await;
        self.note_full(outcome.as_ref().err());
        outcome
    }

    /// A full disk lifts the pace at which dead files are removed.
    fn note_full(&self, error: Option<&EngineError>) {
        if error.is_some_and(EngineError::wants_space) {
            self.graveyard.hasten();
        }
    }

    /// A whole file was written: the disk is not full any more. A flush that had found no space looks after the log too before it is done, and
    /// writes need not wait for that.
    pub(crate) fn note_space(&self) {
        self.troubles.borrow_mut().flush.take_if(|error| error.wants_space());
    }

    /// Makes a batch of log records durable; they are when this returns. One append at a time is written; others wait.
    ///
    /// # Errors
    /// [`EngineError::Gap`], [`EngineError::TooLarge`] and [`EngineError::NoSpace`]: nothing of the batch was written.
    /// [`EngineError::Closed`]: an earlier append was abandoned half-way, or the store was closed. A failed write stops the node.
    pub async fn append(&self, batch: LogBatch) -> Result<(), EngineError> {
        if self.closed.get() {
            return Err(EngineError::Closed);
        }
        let segment = self.log.active_segment();
        let outcome = self.log.append(batch).await;
        if self.log.active_segment() != segment || self.log.wants_spare() {
            self.flush_wake.notify();
        }
        self.seal_wake.notify();
        self.note_full(outcome.as_ref().err());
        outcome
    }

    /// Adds an entry to a group's log without making it durable: for work that can be done again from its source when a crash
    /// takes it (bulk loads, derived data), never for what is acknowledged. It is written with the next [`Self::append`] or
    /// [`Self::sync_log`], in the background when 1 MiB waits (at 4 MiB this call waits for that), or when the log has been idle for a
    /// moment; until then [`Self::entries`] and [`Self::last_index`] do not know it. A crash loses a tail of what was deferred,
    /// never a part from the middle.
    ///
    /// # Errors
    /// [`EngineError::Gap`] unless `index` is the next one of the group's log; [`EngineError::TooLarge`];
    /// [`EngineError::NoSpace`]: the entry was taken, but nothing can be written at present; [`EngineError::Closed`].
    pub async fn append_deferred(
        &self,
        group: GroupId,
        incarnation: Incarnation,
        index: LogIndex,
        term: Term,
        data: Bytes,
    ) -> Result<(), EngineError> {
        if self.closed.get() {
            return Err(EngineError::Closed);
        }
        let waiting = self.log.defer(group, incarnation, index, term, data)?;
        if waiting >= WAITED_AT {
            return self.sync_log().await;
        }
        if waiting >= WRITTEN_AT {
            self.log_wake.notify();
        } else {
            self.seal_wake.notify();
        }
        Ok(())
    }

    /// Makes everything deferred durable.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`]: it stays deferred. [`EngineError::Closed`]: an append was abandoned half-way.
    pub async fn sync_log(&self) -> Result<(), EngineError> {
        let segment = self.log.active_segment();
        let outcome = self.log.sync().await;
        if self.log.active_segment() != segment || self.log.wants_spare() {
            self.flush_wake.notify();
        }
        outcome
    }

    /// The entries of a group from `from` to `to_inclusive`: at least one, then as many as fit `max_bytes`.
    ///
    /// # Errors
    /// [`EngineError::NotInLog`] for indexes that were released or never written; read errors.
    pub async fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to_inclusive: LogIndex,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, EngineError> {
        self.log.entries(group, from, to_inclusive, max_bytes).await
    }

    /// The last index in the group's log; 0 for an unknown group.
    pub fn last_index(&self, group: GroupId) -> LogIndex {
        self.log.group(group).map_or(LogIndex(0), |log| log.last())
    }

    /// The first index that Raft may ask for: the one after the last released; 1 for an unknown group.
    pub fn first_index(&self, group: GroupId) -> LogIndex {
        self.log.group(group).map_or(LogIndex(1), |log| log.released.next())
    }

    /// The term of an entry; also known for the one before [`Store::first_index`]. `None` outside the log.
    pub fn term_of(&self, group: GroupId, index: LogIndex) -> Option<Term> {
        self.log.group(group).and_then(|log| log.term_of(index))
    }

    /// The terms of a group's log: the first index and the term of every run of entries of one term, in order, from the entry
    /// before the first held on. Looks at every entry: for the start of a replica.
    pub fn term_runs(&self, group: GroupId) -> Vec<(LogIndex, Term)> {
        self.log.group(group).map_or_else(Vec::new, |log| log.term_runs())
    }

    /// The group's newest durable hard state.
    pub fn hard_state(&self, group: GroupId) -> HardState {
        self.log.group(group).map_or(HardState::default(), |log| log.hard_state)
    }

    /// The index up to which the group's entries have taken effect in the tree, memtable included.
    pub fn applied(&self, group: GroupId) -> LogIndex {
        self.applied.borrow().get(&group).copied().unwrap_or_default()
    }

    /// Raft needs nothing at or below `upto` any more. The entries go when the tables contain their effects too.
    pub fn release_log(&self, group: GroupId, upto: LogIndex) {
        self.log.release(group, upto);
        // To look at all groups costs as much as there are: many share one look.
        let releases = self.releases.get().wrapping_add(1);
        self.releases.set(releases);
        let recorded = self.recorded_tail.get();
        let is_due = releases.is_multiple_of(self.log.group_count().div_ceil(GROUPS_PER_RELEASE).max(1));
        if is_due && self.log.active_segment() > recorded && self.log.needed_tail() > recorded {
            self.flush_wake.notify();
        }
    }

    /// Groups whose unreleased or unflushed entries keep the oldest segment of the log alive. When [`Store::pressure`] says
    /// that the log is at its limit, their driver should release what it can.
    pub fn log_holders(&self) -> Vec<GroupId> {
        self.log.tail_holders()
    }

    /// Lets a batch take effect in the tree at once, together with the group's applied index. It becomes durable by a later
    /// flush; until then the log is its redo record.
    pub fn write(&self, group: GroupId, applied: LogIndex, batch: WriteBatch) {
        add(&self.counters.taken_bytes, batch.byte_size() as u64);
        let mut memtables = self.memtables.borrow_mut();
        let mut seq = self.last_seq.get();
        let needed = |old, new| self.snapshots.between(old, new);
        for operation in batch.operations() {
            seq = Seq(seq.0 + 1);
            memtables.active.apply(&operation, seq, &needed);
        }
        memtables.active.note_applied(group, applied);
        self.last_seq.set(seq);
        self.applied.borrow_mut().insert(group, applied);
        if memtables.active.bytes() >= self.options.memtable_bytes {
            self.freeze(&mut memtables);
        }
    }

    /// The present state of the tree, kept readable while the snapshot or a clone of it lives.
    pub fn snapshot(&self) -> Snapshot {
        self.prune_eras();
        self.snapshots.take(self.last_seq.get())
    }

    fn view(&self) -> View<E> {
        let memtables = self.memtables.borrow();
        let frozen = memtables.frozen.iter().rev().map(|frozen| Rc::clone(&frozen.memtable));
        let memtables = std::iter::once(Rc::clone(&memtables.active)).chain(frozen).collect();
        View { memtables, version: Rc::clone(&self.version.borrow()) }
    }

    /// The value of a key at a snapshot; one that has expired is given like any other.
    ///
    /// # Errors
    /// [`EngineError::Corruption`] or [`EngineError::Io`] when a table cannot be read.
    pub async fn get(&self, key: &[u8], at: &Snapshot) -> Result<Option<Bytes>, EngineError> {
        Ok(self.get_expiring(key, at).await?.map(|(value, _)| value))
    }

    /// As [`Self::get`], with the log time at which the value has expired ([`Expiry::NEVER`] for most). Hiding expired values is the
    /// caller's: only he knows at which log time of the group he reads.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn get_expiring(&self, key: &[u8], at: &Snapshot) -> Result<Option<(Bytes, Expiry)>, EngineError> {
        if let Some(era) = self.era_of(at.seq()) {
            return era.get(key, at.seq()).await;
        }
        match self.get_in_memory(key, at.seq()) {
            Lookup::Found(value, expires_at) => return Ok(Some((value, expires_at))),
            Lookup::Deleted => return Ok(None),
            Lookup::Unknown => {}
        }
        let version = Rc::clone(&self.version.borrow());
        version.get(key, at.seq()).await
    }

    fn get_in_memory(&self, key: &[u8], at: Seq) -> Lookup {
        // Planted bug 44: what is in memory is seen whatever the snapshot.
        let at = if self.env.mutant(44) { Seq::MAX } else { at };
        let hash = filter::hash(key);
        let memtables = self.memtables.borrow();
        let frozen = memtables.frozen.iter().rev().map(|frozen| &frozen.memtable);
        let mut lookups = std::iter::once(&memtables.active).chain(frozen).map(|memtable| memtable.get(key, hash, at));
        lookups.find(|lookup| *lookup != Lookup::Unknown).unwrap_or(Lookup::Unknown)
    }

    /// Reads a range at a snapshot, in either direction. Keys written after the snapshot are not seen.
    pub fn scan(&self, range: KeyRange, direction: Direction, at: &Snapshot) -> Cursor<E> {
        Cursor::new(self.era_of(at.seq()).unwrap_or_else(|| self.view()), range, direction, at)
    }

    /// A reason to refuse client writes now: the hard stop behind [`Store::admission`]. What is in the log already is applied in any
    /// case.
    pub fn pressure(&self) -> Option<Pressure> {
        let pressure = self.hard_stop();
        self.note_stall(pressure.is_some());
        pressure
    }

    fn hard_stop(&self) -> Option<Pressure> {
        if let Some(error) = self.troubles.borrow().hard_stop() {
            return Some(match error {
                EngineError::NoSpace { .. } => Pressure::DiskFull { what: error.to_string() },
                _ => Pressure::Failed { what: error.to_string() },
            });
        }
        {
            let memtables = self.memtables.borrow();
            let frozen: usize = memtables.frozen.iter().map(|frozen| frozen.memtable.bytes()).sum();
            let full = memtables.frozen.len() >= self.options.frozen_memtables;
            if full && memtables.active.bytes() >= self.options.memtable_bytes / 2 {
                return Some(Pressure::Memtables { bytes: frozen + memtables.active.bytes() });
            }
        }
        let runs = self.version.borrow().runs_of(0);
        if runs >= self.options.level_zero_stop {
            let wants_space = self.troubles.borrow().upper.as_ref().map(|error| {
                let what = format!("{runs} runs of tables wait to be compacted: {error}");
                Pressure::DiskFull { what }
            });
            return Some(wants_space.unwrap_or(Pressure::LevelZero { runs }));
        }
        let bytes = self.log.live_bytes();
        let full = bytes >= self.options.log_limit_bytes;
        if full {
            // Nothing may be appended any more, so no append wakes the worker that could free the log's tail: what was applied since it
            // last looked may be what holds it, as after several starts in a row.
            self.flush_wake.notify();
        }
        full.then_some(Pressure::Log { bytes })
    }

    /// Reads every block of the log and of the tables and checks every checksum.
    ///
    /// # Errors
    /// [`EngineError::Corruption`] with the first damaged place; read errors.
    pub async fn verify(&self) -> Result<VerifyReport, EngineError> {
        let mut report = VerifyReport::default();
        let version = Rc::clone(&self.version.borrow());
        for table in version.tables() {
            let (blocks, entries) = table.verify().await?;
            report.tables += 1;
            report.table_blocks += blocks;
            report.entries += entries;
        }
        report.log_blocks = self.log.verify().await?;
        Ok(report)
    }

    /// What it was opened with.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Where its files are.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Bytes of the log's live segments, and those at which client writes are refused.
    pub fn log_bytes(&self) -> (u64, u64) {
        (self.log.live_bytes(), self.options.log_limit_bytes)
    }

    /// The store's figures.
    pub fn stats(&self) -> StoreStats {
        let memtables = self.memtables.borrow();
        let version = self.version.borrow();
        let (log_segments, spare_segments) = self.log.segment_counts();
        let (cache_hits, cache_misses) = self.cache.counts();
        let (dead_files, dead_bytes) = self.graveyard.waiting();
        StoreStats {
            memtable_bytes: memtables.active.bytes(),
            frozen_memtables: memtables.frozen.len(),
            runs: version.levels.iter().map(Vec::len).collect(),
            tables: version.levels.iter().map(|runs| runs.iter().map(|run| run.tables.len()).sum()).collect(),
            table_bytes: version.levels.iter().map(|runs| runs.iter().map(Run::bytes).sum()).collect(),
            log_segments,
            spare_segments,
            log_blocks: self.log.appends(),
            log_bytes: self.log.appended_bytes(),
            relocations: self.log.relocations(),
            syncs: self.log.syncs() + self.counters.manifest_syncs.get() + self.counters.table_syncs.get(),
            taken_bytes: self.counters.taken_bytes.get(),
            flushes: self.counters.flushed.get(),
            compactions: self.counters.compactions.get(),
            largest_compaction_bytes: self.compaction.largest(),
            written_bytes: self.counters.written_bytes.get(),
            level_read_bytes: self.compaction.read_bytes(),
            level_written_bytes: self.compaction.written_bytes(),
            moved_tables: self.counters.moved_tables.get(),
            covered_tables: self.counters.covered_tables.get(),
            expired_tables: self.counters.expired_tables.get(),
            hidden_versions: self.counters.hidden_versions.get(),
            expired_versions: self.counters.expired_versions.get(),
            compactions_running: self.compaction.running(),
            compaction_debt_bytes: self.debt(),
            compaction_missing_bytes: self.troubles.borrow().missing_bytes(),
            admission: self.admission(),
            stalls: self.counters.stalls.get(),
            stall_micros: self.stall_micros(),
            cache_hits,
            cache_misses,
            cache_bytes: self.cache.bytes(),
            cache_capacity_bytes: self.cache.capacity(),
            filters_asked: self.cache.filters().asked.get(),
            filters_spared: self.cache.filters().spared.get(),
            filters_vain: self.cache.filters().vain.get(),
            dead_files,
            dead_bytes,
            deleted_files: self.counters.deleted_files.get(),
            ingests: self.counters.ingests.get(),
            scrub_passes: self.counters.scrub_passes.get(),
            scrubbed_bytes: self.counters.scrubbed_bytes.get(),
            quarantined_tables: version.tables().filter(|table| table.is_damaged()).count(),
            damage: self.damage(),
        }
    }

    /// Ends background work and seals the log. What is in memory comes back from the log.
    ///
    /// # Errors
    /// [`EngineError::Closed`] when an append was abandoned half-way.
    pub async fn close(&self) -> Result<(), EngineError> {
        if self.closed.replace(true) {
            return Ok(());
        }
        self.wake_all();
        // Who waits for work that is not done any more is told.
        self.progress.announce();
        while self.busy.get() > 0 {
            self.progress.changed().await;
        }
        self.prune_eras();
        self.remove_all_dead().await;
        self.log.seal().await
    }

    fn wake_all(&self) {
        self.flush_wake.notify();
        self.compaction.wake();
        self.log_wake.notify();
        self.seal_wake.notify();
        self.graveyard.wake().notify();
        self.scrub_wake.notify();
    }
}

impl<E: Env> Drop for Store<E> {
    fn drop(&mut self) {
        // The workers look whether the store still lives, and end.
        self.wake_all();
    }
}
