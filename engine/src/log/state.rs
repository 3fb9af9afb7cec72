//! The log in memory: segments, the index of every group, and the recent entries.
//!
//! Everything here changes synchronously: live, after the block that says so is durable; in recovery, as blocks are read.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::rc::Rc;

use super::block::HEADER;
use super::group::{GroupLog, Indexed, Place};
use super::record::{HardState, Located, Record};
use super::segment::next_salt;
use crate::ids::{GroupId, Incarnation, LogIndex, Term};

/// What keeping an entry in memory costs beside its bytes, about.
const RECENT_BYTES: usize = 64;

/// A segment that holds part of the log.
pub(crate) struct Segment<F> {
    pub(crate) slot: u64,
    pub(crate) file: Rc<F>,
    pub(crate) path: PathBuf,
    pub(crate) salt: u64,
    /// Size of the file in bytes.
    pub(crate) bytes: u64,
    /// Bytes up to the end of the last block.
    pub(crate) used: u64,
    /// Sequence of its first block.
    pub(crate) first: u64,
    /// Checksum of the block before its first.
    pub(crate) previous: u32,
}

/// A file ready to become a segment.
pub(crate) struct FreeSlot<F> {
    pub(crate) slot: u64,
    pub(crate) file: Rc<F>,
}

pub(crate) struct LogState<F> {
    pub(crate) groups: BTreeMap<GroupId, GroupLog>,
    /// What the manifest knows of each group; in recovery only.
    pub(crate) claimed: BTreeMap<GroupId, GroupLog>,
    /// Groups whose older records are void, with what the manifest knows of them; in recovery, until the scan is behind those.
    replaced: BTreeMap<GroupId, GroupLog>,
    /// By segment id; the last is the one that is written.
    pub(crate) segments: BTreeMap<u64, Segment<F>>,
    pub(crate) free: Vec<FreeSlot<F>>,
    pub(crate) next_slot: u64,
    /// Sequence of the next block.
    pub(crate) sequence: u64,
    /// Checksum of the last block.
    pub(crate) previous: u32,
    /// Entries whose bytes are in memory, oldest first.
    recent: VecDeque<(GroupId, LogIndex, Term, usize)>,
    recent_bytes: usize,
    /// The last block carries nothing that would need a seal.
    pub(crate) sealed: bool,
}

impl<F> LogState<F> {
    /// A log that is about to be recovered, with what the manifest knows of its groups.
    pub(crate) fn new(claimed: BTreeMap<GroupId, GroupLog>) -> Self {
        let (replaced, claimed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            claimed.into_iter().partition(|(_, log)| log.since > 0);
        Self {
            groups: claimed.clone(),
            claimed,
            replaced,
            segments: BTreeMap::new(),
            free: Vec::new(),
            next_slot: 0,
            sequence: 1,
            previous: 0,
            recent: VecDeque::new(),
            recent_bytes: 0,
            sealed: true,
        }
    }

    /// Lets a durable record have its effect on the index. `block` tells where it lies; entry offsets are relative to
    /// `payload_start` of the block's payload.
    pub(crate) fn apply(&mut self, record: Record, block: &BlockPlace, cache_bytes: usize) {
        match record {
            Record::Entries { group, incarnation, first, entries } => {
                let entries = self.index(group, first, entries, block, cache_bytes);
                let log = self.life(group, incarnation, first.previous(), Term(0));
                log.replace(first, entries);
            }
            Record::Relocated { group, incarnation, first, entries } => {
                let entries = self.index(group, first, entries, block, cache_bytes);
                let log = self.life(group, incarnation, first.previous(), Term(0));
                log.relocate(first, entries);
            }
            Record::HardState { group, state } => self.groups.entry(group).or_default().hard_state = state,
            Record::Start { group, incarnation, start, start_term } => {
                let log = self.begin(group, incarnation, start, start_term);
                self.groups.insert(group, log);
            }
            Record::Checkpoint { group, incarnation, state, start, start_term } => {
                self.life(group, incarnation, start, start_term).hard_state = state;
            }
        }
        self.evict(cache_bytes);
    }

    /// Begins to read the block of this sequence: groups whose void records all lie before it become what the manifest says. Their
    /// hard state is that of the log, if it is of the same life.
    pub(crate) fn enter_block(&mut self, sequence: u64) {
        let due: Vec<GroupId> =
            self.replaced.iter().filter(|(_, log)| log.since < sequence).map(|(group, _)| *group).collect();
        for group in due {
            let Some(mut log) = self.replaced.remove(&group) else { continue };
            if let Some(void) = self.groups.get(&group).filter(|void| void.lives_on_as(log.incarnation)) {
                log.hard_state = void.hard_state;
            }
            self.claimed.insert(group, log.clone());
            self.groups.insert(group, log);
        }
    }

    /// The group's log in this life; another life begins an empty log behind `start`.
    fn life(&mut self, group: GroupId, incarnation: Incarnation, start: LogIndex, start_term: Term) -> &mut GroupLog {
        let begun = self.begin(group, incarnation, start, start_term);
        let log = self.groups.entry(group).or_insert_with(|| begun.clone());
        if log.incarnation != incarnation {
            // A group that has only voted so far has a hard state and no life yet: its first entries must not cost it its vote.
            let lifeless = log.incarnation == Incarnation::default();
            let voted = if lifeless { log.hard_state } else { HardState::default() };
            *log = begun;
            log.hard_state = voted;
        }
        log
    }

    /// An empty log behind `start`, or behind where the manifest knows this life's log to begin.
    fn begin(&self, group: GroupId, incarnation: Incarnation, start: LogIndex, start_term: Term) -> GroupLog {
        match self.claimed.get(&group) {
            Some(claimed) if claimed.incarnation == incarnation => claimed.clone(),
            Some(_) | None => GroupLog::starting(incarnation, start, start_term),
        }
    }

    fn index(
        &mut self,
        group: GroupId,
        first: LogIndex,
        entries: Vec<Located>,
        block: &BlockPlace,
        cache_bytes: usize,
    ) -> Vec<Indexed> {
        let mut indexed = Vec::with_capacity(entries.len());
        let mut index = first;
        for Located { term, at, data } in entries {
            let len = data.len();
            let place = Place {
                segment: block.segment,
                block: block.offset,
                block_bytes: block.bytes as u32,
                at: (HEADER + at - block.payload_start) as u32,
                len: len as u32,
            };
            let cached = len <= cache_bytes;
            if cached {
                self.recent.push_back((group, index, term, len));
                self.recent_bytes += len + RECENT_BYTES;
            }
            indexed.push(Indexed { term, place, cached: cached.then_some(data) });
            index = index.next();
        }
        indexed
    }

    fn evict(&mut self, cache_bytes: usize) {
        while self.recent_bytes > cache_bytes {
            let Some((group, index, term, len)) = self.recent.pop_front() else { break };
            self.recent_bytes -= len + RECENT_BYTES;
            if let Some(log) = self.groups.get_mut(&group) {
                log.uncache(index, term);
            }
        }
    }

    /// Forgets which entries were recent of those that the log does not hold any more.
    pub(crate) fn forget_gone(&mut self) {
        let groups = &self.groups;
        let (mut gone, before) = (0, self.recent.len());
        self.recent.retain(|(group, index, _, len)| {
            let held = groups.get(group).is_some_and(|log| log.get(*index).is_some());
            gone += if held { 0 } else { len + RECENT_BYTES };
            held
        });
        self.recent_bytes -= gone;
        if self.recent.len() < before / 2 {
            self.recent.shrink_to_fit();
        }
    }

    /// The segment that is written.
    pub(crate) fn active(&self) -> Option<(u64, &Segment<F>)> {
        self.segments.last_key_value().map(|(id, segment)| (*id, segment))
    }

    /// Mean size of the blocks in the segment that is written; 0 before the first.
    pub(crate) fn mean_block_bytes(&self) -> u64 {
        self.active().map_or(0, |(_, segment)| segment.used / (self.sequence - segment.first).max(1))
    }

    /// Id and salt of the segment behind the one that is written; `None` before the first.
    pub(crate) fn next_segment(&self) -> Option<(u64, u64)> {
        self.active().map(|(id, segment)| (id + 1, next_salt(segment.salt, self.previous, id + 1)))
    }
}

/// Where a block lies, for indexing the entries in it.
pub(crate) struct BlockPlace {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) payload_start: usize,
}
