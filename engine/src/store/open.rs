//! Opening a store: manifest, tables, log, then what a crash left lying about.
//!
//! Everything is read and found good before anything is removed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use highwater_runtime::{Env, File, OpenOptions};

use super::checkpoint::check_complete;
use super::compact::CompactionState;
use super::era::Eras;
use super::{Counters, Memtables, Store, Troubles};
use crate::error::EngineError;
use crate::gate::{Event, Gate, Progress};
use crate::ids::{GroupId, Incarnation, LogIndex, Seq};
use crate::log::Log;
use crate::log::group::GroupLog;
use crate::log::record::HardState;
use crate::log::recovery::{LogClaims, LogReport};
use crate::manifest::{Edit, Manifest, ManifestState, sync_folder};
use crate::options::StoreOptions;
use crate::tree::cache::BlockCache;
use crate::tree::graveyard::{Dead, Graveyard};
use crate::tree::memtable::Memtable;
use crate::tree::snapshot::Snapshots;
use crate::tree::table::Table;
use crate::tree::table::writer::table_of;
use crate::tree::version::Version;

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
    /// Files of unfinished work; they are being removed, at the pace of all removals.
    pub orphans: Vec<PathBuf>,
}

impl<E: Env> Store<E> {
    /// Opens the store in `dir`, which is created if absent.
    ///
    /// # Errors
    /// [`EngineError::Incomplete`] for an unfinished checkpoint; [`EngineError::Corruption`] when durable data is damaged, [`EngineError::Foreign`] and [`EngineError::Version`] when the
    /// files are not for this store and release, [`EngineError::NoSpace`] and [`EngineError::Io`] from the disk. Nothing that
    /// was acknowledged is changed by a failed open.
    pub async fn open(env: E, dir: &Path, options: StoreOptions) -> Result<(Rc<Self>, Recovery), EngineError> {
        options.check()?;
        let options = Rc::new(options);
        env.create_dir_all(dir).await.map_err(|error| EngineError::io("create", dir, &error))?;
        if let Some(parent) = dir.parent() {
            sync_folder(&env, parent).await;
        }
        check_complete(&env, dir).await?;
        let identity = (options.database_id, options.store_id);
        let mut manifest = Manifest::open(env.clone(), dir, identity, options.manifest_bytes).await?;
        let graveyard = Graveyard::default();
        let tables = open_tables(&env, dir, manifest.state(), &graveyard).await?;
        let claims = claims(&manifest);
        let (log, report) = Log::recover(env.clone(), dir, Rc::clone(&options), claims).await?;
        if manifest.state().log_tail == 0 {
            let tail = Some(log.oldest_segment());
            manifest.append(&Edit { log_tail: tail, ..Edit::default() }).await?;
        }
        let (orphans, beyond) = find_orphans(&env, dir, manifest.state()).await?;

        let cache = Rc::new(BlockCache::new(options.cache_bytes));
        let Some(version) = Version::of(manifest.state(), &tables, Rc::clone(&cache)) else {
            return Err(EngineError::corruption(dir, 0, "a table of the manifest was not opened"));
        };
        let groups = log.with_groups(|groups| groups.iter().map(|(group, log)| (*group, recovered(log))).collect());
        let recovery = Recovery {
            groups,
            log: report,
            tables: tables.len(),
            orphans: orphans.iter().map(|dead| dead.path.clone()).collect(),
        };
        orphans.into_iter().for_each(|dead| graveyard.bury(dead));
        let applied = recovery.groups.iter().map(|(group, found)| (*group, found.applied)).collect();
        let active = Rc::new(Memtable::sized(options.memtable_bytes));
        let memtables = Memtables { active, frozen: VecDeque::new(), earlier_marks: BTreeMap::new() };
        let store = Rc::new(Self {
            // Planted bug 114: sequence numbers begin anew.
            last_seq: Cell::new(Seq(if env.mutant(114) { 0 } else { manifest.state().last_seq })),
            env,
            folder: dir.to_path_buf(),
            options,
            log,
            memtables: RefCell::new(memtables),
            version: RefCell::new(Rc::new(version)),
            cache,
            graveyard,
            snapshots: Snapshots::default(),
            applied: RefCell::new(applied),
            next_table: Cell::new(manifest.state().next_table.max(beyond)),
            recorded_tail: Cell::new(manifest.state().log_tail),
            releases: Cell::new(0),
            recorded_head: Cell::new(0),
            manifest: Cell::new(Some(Box::new(manifest))),
            manifest_gate: Gate::default(),
            flush_wake: Event::default(),
            compaction: CompactionState::default(),
            stalled_since: Cell::new(None),
            seal_wake: Event::default(),
            log_wake: Event::default(),
            scrub_wake: Event::default(),
            progress: Progress::default(),
            busy: Cell::new(0),
            troubles: RefCell::new(Troubles::default()),
            log_damage: RefCell::default(),
            eras: Eras::default(),
            tree_held: Cell::new(0),
            counters: Counters::default(),
            closed: Cell::new(false),
        });
        store.measure_debt(&store.version.borrow());
        store.start_workers();
        store.start_log_writer();
        Ok((store, recovery))
    }
}

async fn open_tables<E: Env>(
    env: &E,
    dir: &Path,
    state: &ManifestState,
    graveyard: &Graveyard,
) -> Result<Vec<Rc<Table<E>>>, EngineError> {
    let mut tables = Vec::new();
    for meta in state.tables() {
        tables.push(Table::open(env.clone(), dir, meta.clone(), graveyard.clone()).await?);
    }
    Ok(tables)
}

/// What the manifest knows about the log.
fn claims<E: Env>(manifest: &Manifest<E>) -> LogClaims {
    let state = manifest.state();
    let group = |mark: &crate::manifest::GroupMark| {
        let mut log = GroupLog::starting(mark.incarnation, mark.start, mark.start_term);
        (log.flushed, log.since) = (mark.flushed, mark.since);
        log
    };
    LogClaims {
        tail: state.log_tail,
        durable: state.log_durable,
        manifest: manifest.sequence(),
        groups: state.groups.iter().map(|(id, mark)| (*id, group(mark))).collect(),
    }
}

fn recovered(log: &GroupLog) -> RecoveredGroup {
    RecoveredGroup {
        incarnation: log.incarnation,
        hard_state: log.hard_state,
        applied: log.flushed,
        first_index: log.start.next(),
        last_index: log.last(),
    }
}

/// Tables that the manifest does not name, to be removed, and the table id behind all that exist.
async fn find_orphans<E: Env>(env: &E, dir: &Path, state: &ManifestState) -> Result<(Vec<Dead>, u64), EngineError> {
    let names = env.list_dir(dir).await.map_err(|error| EngineError::io("list", dir, &error))?;
    let mut orphans = Vec::new();
    let mut beyond = 0;
    for name in names {
        let Some(table) = table_of(&name) else { continue };
        beyond = beyond.max(table + 1);
        // Planted bug 104: only level 0 is looked at.
        let levels = if env.mutant(104) { 1 } else { state.levels.len() };
        if !state.levels.iter().take(levels).flatten().flat_map(|run| &run.tables).any(|meta| meta.table == table) {
            let path = dir.join(name);
            let bytes = match env.open(&path, OpenOptions::READ).await {
                Ok(file) => file.len().await.unwrap_or(0),
                // Its size only sets the pace of its removal.
                Err(_) => 0,
            };
            orphans.push(Dead { path, bytes });
        }
    }
    Ok((orphans, beyond))
}
