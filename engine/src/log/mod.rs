//! # The log: Raft log and write-ahead log in one
//!
//! Owns the segment files, the index of every group's entries, group commit's single write, and recovery by truth table.
//!
//! Invariants:
//! * One block is in flight at a time; it is issued after every block before it is durable.
//! * A block's memory effects take place after it is durable, in one synchronous step.
//! * Deferred entries are not in the log yet: they are written, in their order, before anything that is appended after them.
//! * A segment is reused only after a durable manifest edit says that the log's tail is beyond it.
//!
//! Must never: write acknowledged bytes again, cut off a damaged log, or go on after a failed write (the node stops).

mod append;
pub mod batch;
pub mod block;
mod chunked;
pub(crate) mod copy;
pub(crate) mod group;
mod idle;
mod read;
pub mod record;
pub(crate) mod recovery;
pub(crate) mod scan;
pub(crate) mod scrub;
pub mod segment;
pub(crate) mod state;
pub mod verdict;

use std::cell::{Cell, Ref, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use crate::gate::Gate;
use crate::ids::{GroupId, Incarnation, LogIndex, Term};
use crate::options::StoreOptions;
use crate::tree::graveyard::Dead;
use batch::LogBatch;
use group::GroupLog;
use state::{FreeSlot, LogState};

/// One entry of a group's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogEntry {
    /// Its index.
    pub index: LogIndex,
    /// Its term.
    pub term: Term,
    /// Its bytes.
    pub data: Bytes,
}

/// The share of a segment that is used before the next one is made: one in so many.
const SPARE_AFTER: u64 = 4;

/// The log of one store.
pub(crate) struct Log<E: Env> {
    env: E,
    folder: PathBuf,
    options: Rc<StoreOptions>,
    state: RefCell<LogState<E::File>>,
    deferred: RefCell<Deferred>,
    /// Held while blocks are written.
    gate: Gate,
    /// Held while a spare segment is made.
    spare_gate: Gate,
    /// Appends that wait for a spare segment: it is not filled with zeros any further then.
    awaited: Cell<u32>,
    /// A write is under way; still set at the next append when that write was abandoned.
    writing: Cell<bool>,
    /// Nothing may be written into the last segment any more: a new one comes first. As after a start that found no space for one.
    is_behind: Cell<bool>,
    /// Newest manifest edit known durable.
    manifest_sequence: Cell<u64>,
    appends: Cell<u64>,
    /// Syncs of new segments and of the folder with their names.
    fill_syncs: Cell<u64>,
    relocations: Cell<u64>,
    /// Segments that a copy is made from.
    pins: copy::Pins,
    /// Bytes of the blocks written since the store was opened, with the headers of segments.
    appended_bytes: Cell<u64>,
}

/// Entries that wait in memory for the next write.
#[derive(Default)]
struct Deferred {
    batch: LogBatch,
    /// The last entry of each group in it, with the group's life.
    ends: BTreeMap<GroupId, (Incarnation, LogIndex)>,
}

impl<E: Env> Log<E> {
    pub(crate) fn new(
        env: E,
        folder: &Path,
        options: Rc<StoreOptions>,
        state: LogState<E::File>,
        manifest_sequence: u64,
    ) -> Self {
        Self {
            env,
            folder: folder.to_path_buf(),
            options,
            state: RefCell::new(state),
            deferred: RefCell::default(),
            gate: Gate::default(),
            spare_gate: Gate::default(),
            awaited: Cell::new(0),
            writing: Cell::new(false),
            is_behind: Cell::new(false),
            manifest_sequence: Cell::new(manifest_sequence),
            appends: Cell::new(0),
            fill_syncs: Cell::new(0),
            relocations: Cell::new(0),
            pins: copy::Pins::default(),
            appended_bytes: Cell::new(0),
        }
    }

    /// Notes that the manifest edit of this number is durable.
    pub(crate) fn note_manifest(&self, sequence: u64) {
        self.manifest_sequence.set(sequence);
    }

    /// Synchronous writes and syncs since the store was opened.
    pub(crate) fn syncs(&self) -> u64 {
        self.appends.get() + self.fill_syncs.get()
    }

    /// Number of blocks written since the store was opened; tells whether the log is idle.
    pub(crate) fn appends(&self) -> u64 {
        self.appends.get()
    }

    /// Bytes of the blocks written since the store was opened, padding and the headers of segments included.
    pub(crate) fn appended_bytes(&self) -> u64 {
        self.appended_bytes.get()
    }

    /// Number of groups' logs moved forward since the store was opened.
    pub(crate) fn relocations(&self) -> u64 {
        self.relocations.get()
    }

    /// Sequence of the last durable block.
    pub(crate) fn durable_sequence(&self) -> u64 {
        self.state.borrow().sequence.saturating_sub(1)
    }

    /// Id of the segment that is written.
    pub(crate) fn active_segment(&self) -> u64 {
        self.state.borrow().active().map_or(0, |(id, _)| id)
    }

    /// The group's log, if the group is known.
    pub(crate) fn group(&self, group: GroupId) -> Option<Ref<'_, GroupLog>> {
        Ref::filter_map(self.state.borrow(), |state| state.groups.get(&group)).ok()
    }

    /// Groups that have a log here.
    pub(crate) fn group_count(&self) -> usize {
        self.state.borrow().groups.len()
    }

    /// Runs `look` over all groups.
    pub(crate) fn with_groups<T>(&self, look: impl FnOnce(&BTreeMap<GroupId, GroupLog>) -> T) -> T {
        look(&self.state.borrow().groups)
    }

    /// Notes that Raft needs nothing of the group at or below `upto`.
    pub(crate) fn release(&self, group: GroupId, upto: LogIndex) {
        if let Some(log) = self.state.borrow_mut().groups.get_mut(&group) {
            let upto = upto.min(log.last());
            log.released = log.released.max(upto);
            log.drop_unneeded();
        }
    }

    /// Notes that the tables contain the group's effects up to `upto`.
    pub(crate) fn flushed(&self, group: GroupId, upto: LogIndex) {
        if let Some(log) = self.state.borrow_mut().groups.get_mut(&group) {
            log.flushed = log.flushed.max(upto);
            log.drop_unneeded();
        }
    }

    /// Everything that was to be flushed is: entries that are held no more are forgotten.
    pub(crate) fn forget_gone(&self) {
        self.state.borrow_mut().forget_gone();
    }

    /// Puts a log that starts at a snapshot in the place of what the group had. The same life keeps its hard state.
    pub(crate) fn replace(&self, group: GroupId, mut log: GroupLog) {
        let mut state = self.state.borrow_mut();
        if let Some(held) = state.groups.get(&group).filter(|held| held.lives_on_as(log.incarnation)) {
            log.hard_state = held.hard_state;
        }
        state.groups.insert(group, log);
    }

    /// The oldest segment that anything still needs.
    pub(crate) fn needed_tail(&self) -> u64 {
        let state = self.state.borrow();
        let active = state.active().map_or(0, |(id, _)| id);
        let needed = state.groups.values().filter_map(GroupLog::oldest_segment).chain(self.pins.oldest());
        needed.min().unwrap_or(active).min(active)
    }

    /// The oldest segment there is.
    pub(crate) fn oldest_segment(&self) -> u64 {
        self.state.borrow().segments.first_key_value().map_or(0, |(id, _)| *id)
    }

    /// Groups whose entries keep the oldest needed segment alive.
    pub(crate) fn tail_holders(&self) -> Vec<GroupId> {
        let tail = self.needed_tail();
        let state = self.state.borrow();
        let holds = |log: &GroupLog| log.oldest_segment() == Some(tail);
        state.groups.iter().filter(|(_, log)| holds(log)).map(|(group, _)| *group).collect()
    }

    /// Gives back segments below `tail`, which a durable manifest edit has declared dead: spares to be reused, and the files of the
    /// others, which are to be removed. One that stays is found and removed at the next start.
    pub(crate) fn free_below(&self, tail: u64) -> Vec<Dead> {
        let mut state = self.state.borrow_mut();
        let mut excess = Vec::new();
        while let Some(entry) = state.segments.first_entry() {
            if *entry.key() >= tail {
                break;
            }
            let segment = entry.remove();
            let reusable = segment.bytes == self.options.segment_bytes;
            if reusable && state.free.len() < self.options.spare_segments {
                state.free.push(FreeSlot { slot: segment.slot, file: segment.file });
            } else {
                excess.push(Dead { path: segment.path, bytes: segment.bytes });
            }
        }
        excess
    }

    /// Whether it is time to make a free segment: none is ready, and of the segment that is written so much is used that one can
    /// tell how large its blocks are.
    pub(crate) fn wants_spare(&self) -> bool {
        let state = self.state.borrow();
        state.free.is_empty() && state.active().is_none_or(|(_, segment)| segment.used >= segment.bytes / SPARE_AFTER)
    }

    /// Bytes in the segments that hold the log.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.state.borrow().segments.values().map(|segment| segment.bytes).sum()
    }

    /// Number of segments that hold the log, and of free ones.
    pub(crate) fn segment_counts(&self) -> (usize, usize) {
        let state = self.state.borrow();
        (state.segments.len(), state.free.len())
    }
}
