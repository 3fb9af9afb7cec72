//! The store: one log and one tree, opened, written, read, flushed and closed together.
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use crate::batch::WriteBatch;
use crate::error::EngineError;
use crate::ids::{GroupId, Incarnation, LogIndex, Seq, Term};
use crate::log::batch::LogBatch;
use crate::log::record::HardState;
use crate::log::recovery::{LogClaims, LogReport};
use crate::log::{Log, LogEntry};
use crate::options::StoreOptions;
use crate::pressure::{Pressure, StoreStats, VerifyReport};
use crate::tree::Lookup;
use crate::tree::cursor::{Cursor, Direction, KeyRange, View};
use crate::tree::memtable::Memtable;
use crate::tree::snapshot::{Snapshot, Snapshots};
use crate::tree::version::Version;

/// One engine of a node: a log and a tree, holding many groups. Lives on one core, as `Rc<Store>`.
pub struct Store<E: Env> {
    log: Log<E>,
    memtable: RefCell<Rc<Memtable>>,
    version: RefCell<Rc<Version<E>>>,
    snapshots: Snapshots,
    last_seq: Cell<Seq>,
    closed: Cell<bool>,
}

/// A group as it was found when the store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveredGroup {
    /// The replica's life.
    pub incarnation: Incarnation,
    /// The newest durable hard state.
    pub hard_state: HardState,
    /// The tree contains exactly the effects of entries up to this; the caller applies those behind it, up to the
    /// committed index, again.
    pub applied: LogIndex,
    /// The first index held.
    pub first_index: LogIndex,
    /// The last index held; `first_index - 1` when the log is empty.
    pub last_index: LogIndex,
}

/// What opening a store found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Every group that the store knows.
    pub groups: BTreeMap<GroupId, RecoveredGroup>,
    /// What recovery of the log found.
    pub log: LogReport,
    /// Tables in the tree.
    pub tables: usize,
    /// Files of unfinished work that were removed.
    pub orphans: Vec<PathBuf>,
}

impl<E: Env> Store<E> {
    /// Opens the store in `dir`, which is created if absent.
    ///
    /// # Errors
    /// [`EngineError::Corruption`] when durable data is damaged, [`EngineError::Foreign`] and [`EngineError::Version`] when the
    /// files are not for this store and release, [`EngineError::NoSpace`] and [`EngineError::Io`] from the disk. Nothing that
    /// was acknowledged is changed by a failed open.
    pub async fn open(env: E, dir: &Path, options: StoreOptions) -> Result<(Rc<Self>, Recovery), EngineError> {
        options.check()?;
        env.create_dir_all(dir).await.map_err(|error| EngineError::io("create", dir, &error))?;
        let options = Rc::new(options);
        let claims = LogClaims { tail: 0, durable: 0, manifest: 0, groups: BTreeMap::new() };
        let (log, report) = Log::recover(env.clone(), dir, Rc::clone(&options), claims).await?;
        let groups = log.with_groups(|groups| {
            let describe = |log: &crate::log::group::GroupLog| RecoveredGroup {
                incarnation: log.incarnation,
                hard_state: log.hard_state,
                applied: log.flushed,
                first_index: log.start.next(),
                last_index: log.last(),
            };
            groups.iter().map(|(group, log)| (*group, describe(log))).collect()
        });
        let store = Self {
            log,
            memtable: RefCell::new(Rc::new(Memtable::default())),
            version: RefCell::new(Rc::new(Version { env: PhantomData })),
            snapshots: Snapshots::default(),
            last_seq: Cell::new(Seq(0)),
            closed: Cell::new(false),
        };
        Ok((Rc::new(store), Recovery { groups, log: report, tables: 0, orphans: Vec::new() }))
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
        self.log.append(batch).await
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

    /// The group's newest durable hard state.
    pub fn hard_state(&self, group: GroupId) -> HardState {
        self.log.group(group).map_or(HardState::default(), |log| log.hard_state)
    }

    /// Raft needs nothing at or below `upto` any more. The entries go when the tables contain their effects too.
    pub fn release_log(&self, group: GroupId, upto: LogIndex) {
        self.log.release(group, upto);
    }

    /// Lets a batch take effect in the tree at once, together with the group's applied index. It becomes durable by a later
    /// flush; until then the log is its redo record.
    pub fn write(&self, group: GroupId, applied: LogIndex, batch: WriteBatch) {
        let memtable = Rc::clone(&self.memtable.borrow());
        let mut seq = self.last_seq.get();
        let needed = |old, new| self.snapshots.between(old, new);
        for operation in batch.into_operations() {
            seq = Seq(seq.0 + 1);
            memtable.apply(operation, seq, &needed);
        }
        memtable.note_applied(group, applied);
        self.last_seq.set(seq);
    }

    /// The present state of the tree, kept readable while the snapshot or a clone of it lives.
    pub fn snapshot(&self) -> Snapshot {
        self.snapshots.take(self.last_seq.get())
    }

    fn view(&self) -> View<E> {
        View { memtables: vec![Rc::clone(&self.memtable.borrow())], version: Rc::clone(&self.version.borrow()) }
    }

    /// The value of a key at a snapshot.
    ///
    /// # Errors
    /// [`EngineError::Corruption`] or [`EngineError::Io`] when a table cannot be read.
    pub async fn get(&self, key: &[u8], at: &Snapshot) -> Result<Option<Bytes>, EngineError> {
        let view = self.view();
        let wanted = Bytes::copy_from_slice(key);
        for memtable in &view.memtables {
            match memtable.get(&wanted, at.seq()) {
                Lookup::Found(value) => return Ok(Some(value)),
                Lookup::Deleted => return Ok(None),
                Lookup::Unknown => {}
            }
        }
        Ok(None)
    }

    /// Reads a range at a snapshot, in either direction. Keys written after the snapshot are not seen.
    pub fn scan(&self, range: KeyRange, direction: Direction, at: &Snapshot) -> Cursor<E> {
        Cursor::new(self.view(), range, direction, at)
    }

    /// A reason to refuse client writes now.
    pub fn pressure(&self) -> Option<Pressure> {
        None
    }

    /// Writes everything in memory to tables and waits until they are installed.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`] when the disk is full, [`EngineError::Closed`].
    pub async fn flush(&self) -> Result<(), EngineError> {
        Ok(())
    }

    /// Reads every block of the log and of the tables and checks every checksum.
    ///
    /// # Errors
    /// [`EngineError::Corruption`] with the first damaged place; read errors.
    pub async fn verify(&self) -> Result<VerifyReport, EngineError> {
        Ok(VerifyReport { log_blocks: self.log.verify().await?, ..VerifyReport::default() })
    }

    /// The store's figures.
    pub fn stats(&self) -> StoreStats {
        StoreStats { memtable_bytes: self.memtable.borrow().bytes(), ..StoreStats::default() }
    }

    /// Ends background work and seals the log. What is in memory comes back from the log.
    ///
    /// # Errors
    /// [`EngineError::Closed`] when an append was abandoned half-way.
    pub async fn close(&self) -> Result<(), EngineError> {
        self.closed.set(true);
        self.log.seal().await
    }
}
