//! # The log: Raft log and write-ahead log in one
//!
//! Owns the segment files, the index of every group's entries, group commit's single write, and recovery by truth table.
//!
//! Invariants:
//! * One block is in flight at a time; it is issued after every block before it is durable.
//! * A block's memory effects take place after it is durable, in one synchronous step.
//! * A segment is reused only after a durable manifest edit says that the log's tail is beyond it.
//!
//! Must never: write acknowledged bytes again, cut off a damaged log, or go on after a failed write (the node stops).

pub mod batch;
pub mod block;
pub(crate) mod group;
pub mod record;
pub(crate) mod recovery;
pub mod segment;
pub mod verdict;

use std::cell::{Cell, Ref, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

use crate::error::EngineError;
use crate::gate::Gate;
use crate::ids::{GroupId, Incarnation, LogIndex, Term};
use crate::options::StoreOptions;
use batch::{LogBatch, Part};
use block::{BlockHeader, CHECKPOINT, HEADER, SEAL, block_bytes, seal_block};
use group::{GroupLog, Indexed, Place};
use record::{Located, Record};
use segment::SegmentHeader;

/// Bytes written per call when a new segment is filled with zeros.
const FILL_BYTES: usize = 1 << 20;
/// A group whose log is at most this large is moved forward rather than let it hold an old segment.
const RELOCATE_BYTES: u64 = 512 << 10;

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
    /// By segment id; the last is the one that is written.
    pub(crate) segments: BTreeMap<u64, Segment<F>>,
    pub(crate) free: Vec<FreeSlot<F>>,
    pub(crate) next_slot: u64,
    /// Sequence of the next block.
    pub(crate) sequence: u64,
    /// Checksum of the last block.
    pub(crate) previous: u32,
    recent: VecDeque<(GroupId, LogIndex, Term, usize)>,
    recent_bytes: usize,
    sealed: bool,
}

impl<F> LogState<F> {
    /// A log that is about to be recovered, with what the manifest knows of its groups.
    pub(crate) fn new(claimed: BTreeMap<GroupId, GroupLog>) -> Self {
        Self {
            groups: claimed.clone(),
            claimed,
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

    /// The group's log in this life; another life begins an empty log behind `start`.
    fn life(&mut self, group: GroupId, incarnation: Incarnation, start: LogIndex, start_term: Term) -> &mut GroupLog {
        let begun = self.begin(group, incarnation, start, start_term);
        let log = self.groups.entry(group).or_insert_with(|| begun.clone());
        if log.incarnation != incarnation {
            *log = begun;
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
                self.recent_bytes += len;
            }
            indexed.push(Indexed { term, place, cached: cached.then_some(data) });
            index = index.next();
        }
        indexed
    }

    fn evict(&mut self, cache_bytes: usize) {
        while self.recent_bytes > cache_bytes {
            let Some((group, index, term, len)) = self.recent.pop_front() else { break };
            self.recent_bytes -= len;
            if let Some(log) = self.groups.get_mut(&group) {
                log.uncache(index, term);
            }
        }
    }

    fn active(&self) -> Option<(u64, &Segment<F>)> {
        self.segments.last_key_value().map(|(id, segment)| (*id, segment))
    }
}

/// Where a block lies, for indexing the entries in it.
pub(crate) struct BlockPlace {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    pub(crate) payload_start: usize,
}

/// The log of one store.
pub(crate) struct Log<E: Env> {
    env: E,
    folder: PathBuf,
    options: Rc<StoreOptions>,
    state: RefCell<LogState<E::File>>,
    /// Held while blocks are written.
    gate: Gate,
    /// Held while a spare segment is made.
    spare_gate: Gate,
    /// A write is under way; still set at the next append when that write was abandoned.
    writing: Cell<bool>,
    /// Newest manifest edit known durable.
    manifest_sequence: Cell<u64>,
    appends: Cell<u64>,
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
            gate: Gate::default(),
            spare_gate: Gate::default(),
            writing: Cell::new(false),
            manifest_sequence: Cell::new(manifest_sequence),
            appends: Cell::new(0),
        }
    }

    /// How segment files are opened: every completed write is durable.
    fn segment_options(env: &E) -> OpenOptions {
        // Planted bug 4: appends return when the write has completed, not when it is durable.
        if env.mutant(4) { OpenOptions::WRITE } else { OpenOptions::WRITE.synchronous() }
    }

    /// Notes that the manifest edit of this number is durable.
    pub(crate) fn note_manifest(&self, sequence: u64) {
        self.manifest_sequence.set(sequence);
    }

    /// Number of blocks written since the store was opened; tells whether the log is idle.
    pub(crate) fn appends(&self) -> u64 {
        self.appends.get()
    }

    /// Sequence of the last durable block.
    pub(crate) fn durable_sequence(&self) -> u64 {
        self.state.borrow().sequence.saturating_sub(1)
    }

    /// Id of the segment that is written.
    pub(crate) fn active_segment(&self) -> u64 {
        self.state.borrow().active().map_or(0, |(id, _)| id)
    }

    /// Writes a batch; every record is durable and visible when this returns.
    pub(crate) async fn append(&self, batch: LogBatch) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let limit = self.options.max_entry_bytes();
        if batch.largest_entry() > limit {
            return Err(EngineError::TooLarge { bytes: batch.largest_entry(), limit });
        }
        let _pass = self.gate.enter().await;
        self.check_order(&batch)?;
        self.write(batch).await
    }

    /// Refuses entries that would leave a gap in their group's log.
    fn check_order(&self, batch: &LogBatch) -> Result<(), EngineError> {
        let state = self.state.borrow();
        let mut ends: BTreeMap<GroupId, (Incarnation, LogIndex, LogIndex)> = BTreeMap::new();
        for pushed in &batch.records {
            match &pushed.record {
                Record::Entries { group, incarnation, first, entries } => {
                    let held = ends.get(group).copied().or_else(|| {
                        state.groups.get(group).map(|log| (log.incarnation, log.start, log.last()))
                    });
                    let (life, start, last) = held.unwrap_or((*incarnation, first.previous(), first.previous()));
                    let (start, last) = if life == *incarnation { (start, last) } else { (first.previous(), first.previous()) };
                    if *first <= start || *first > last.next() {
                        return Err(EngineError::Gap { group: *group, first: *first, start, last });
                    }
                    let last = LogIndex(first.0 + entries.len() as u64 - 1);
                    ends.insert(*group, (*incarnation, start, last));
                }
                Record::Start { group, incarnation, start, .. } => {
                    ends.insert(*group, (*incarnation, *start, *start));
                }
                Record::HardState { .. } | Record::Relocated { .. } | Record::Checkpoint { .. } => {}
            }
        }
        Ok(())
    }

    /// Writes the batch's blocks. The caller holds the gate.
    async fn write(&self, batch: LogBatch) -> Result<(), EngineError> {
        if self.writing.get() {
            return Err(EngineError::Closed);
        }
        let parts = batch.parts();
        // Space for all of the batch is at hand before any of it is written, so that a full disk refuses the whole batch.
        self.reserve(parts.iter().map(|part| block_bytes(part.bytes.len()) as u64)).await?;
        self.writing.set(true);
        let LogBatch { payload, records, .. } = batch;
        let mut records = records.into_iter().map(|pushed| pushed.record);
        for Part { bytes, records: count } in parts {
            let start = bytes.start;
            let bytes = payload.get(bytes).unwrap_or_default();
            self.write_block(0, bytes, start, records.by_ref().take(count).collect()).await?;
        }
        self.writing.set(false);
        Ok(())
    }

    /// Writes an empty block that proves everything before it durable, unless the log already ends with one.
    pub(crate) async fn seal(&self) -> Result<(), EngineError> {
        let _pass = self.gate.enter().await;
        if self.writing.get() {
            return Err(EngineError::Closed);
        }
        let room = {
            let state = self.state.borrow();
            state.sealed || state.active().is_none_or(|(_, segment)| segment.used + BLOCK as u64 > segment.bytes)
        };
        if room {
            return Ok(());
        }
        self.writing.set(true);
        self.write_block(SEAL, &[], 0, Vec::new()).await?;
        self.writing.set(false);
        Ok(())
    }

    /// Makes free slots ready for as many segments as blocks of these sizes need.
    async fn reserve(&self, blocks: impl Iterator<Item = u64>) -> Result<(), EngineError> {
        let mut needed = 0;
        {
            let state = self.state.borrow();
            let mut room = state.active().map_or(0, |(_, segment)| segment.bytes - segment.used);
            let fresh = self.options.segment_bytes - opening_bytes(&state.groups) as u64;
            for block in blocks {
                if block > room {
                    needed += 1;
                    room = fresh;
                }
                room = room.saturating_sub(block);
            }
        }
        while self.state.borrow().free.len() < needed {
            self.prepare_spare().await?;
        }
        Ok(())
    }

    async fn write_block(
        &self,
        flags: u16,
        payload: &[u8],
        payload_start: usize,
        records: Vec<Record>,
    ) -> Result<(), EngineError> {
        let bytes = block_bytes(payload.len());
        let fits = self.state.borrow().active().is_some_and(|(_, segment)| segment.used + bytes as u64 <= segment.bytes);
        if !fits {
            self.start_segment().await?;
        }
        let mut buffer = AlignedBuf::zeroed(bytes);
        crate::codec::patch(&mut buffer, HEADER, payload);
        let (file, path, id, offset, checksum) = {
            let state = self.state.borrow();
            let Some((id, segment)) = state.active() else { return Err(EngineError::Closed) };
            let header = BlockHeader {
                flags,
                length: payload.len() as u32,
                records: records.len() as u32,
                segment: id,
                sequence: state.sequence,
                durable: state.sequence - 1,
                previous: state.previous,
                checksum: 0,
            };
            let checksum = seal_block(&mut buffer, &header, segment.salt);
            (Rc::clone(&segment.file), segment.path.clone(), id, segment.used, checksum)
        };
        if let Err(error) = file.write_at(buffer, offset).await {
            return self.stop("write to", &path, offset, &error).await;
        }
        let mut state = self.state.borrow_mut();
        state.sequence += 1;
        state.previous = checksum;
        state.sealed = flags & SEAL != 0;
        if let Some(segment) = state.segments.get_mut(&id) {
            segment.used = offset + bytes as u64;
        }
        let place = BlockPlace { segment: id, offset, bytes, payload_start };
        for record in records {
            state.apply(record, &place, self.options.tail_cache_bytes);
        }
        self.appends.set(self.appends.get() + 1);
        Ok(())
    }

    /// Takes a free slot and writes the header and the checkpoint of the next segment into it, in one write.
    pub(crate) async fn start_segment(&self) -> Result<(), EngineError> {
        let slot = loop {
            if let Some(slot) = self.state.borrow_mut().free.pop() {
                break slot;
            }
            self.prepare_spare().await?;
        };
        let salt = self.env.random();
        let path = segment::path(&self.folder, slot.slot);
        let (buffer, id, sequence, previous, checksum) = {
            let state = self.state.borrow();
            let id = state.active().map_or(1, |(id, _)| id + 1);
            let header = SegmentHeader {
                database: self.options.database_id,
                store: self.options.store_id,
                previous: state.previous,
                segment: id,
                salt,
                first: state.sequence,
                bytes: self.options.segment_bytes,
                manifest: self.manifest_sequence.get(),
            };
            let payload = checkpoint(&state.groups);
            let mut buffer = AlignedBuf::zeroed(BLOCK + block_bytes(payload.len()));
            header.encode(&mut buffer);
            crate::codec::patch(&mut buffer, BLOCK + HEADER, &payload);
            let opening = BlockHeader {
                flags: CHECKPOINT,
                length: payload.len() as u32,
                records: state.groups.len() as u32,
                segment: id,
                sequence: state.sequence,
                durable: state.sequence - 1,
                previous: state.previous,
                checksum: 0,
            };
            let checksum = buffer.get_mut(BLOCK..).map_or(0, |block| seal_block(block, &opening, salt));
            (buffer, id, state.sequence, state.previous, checksum)
        };
        let used = buffer.len() as u64;
        if let Err(error) = slot.file.write_at(buffer, 0).await {
            return self.stop("write to", &path, 0, &error).await;
        }
        let mut state = self.state.borrow_mut();
        state.sequence = sequence + 1;
        state.previous = checksum;
        state.sealed = true;
        let bytes = self.options.segment_bytes;
        let segment =
            Segment { slot: slot.slot, file: slot.file, path, salt, bytes, used, first: sequence, previous };
        state.segments.insert(id, segment);
        Ok(())
    }

    /// Creates and fills one more free segment.
    pub(crate) async fn prepare_spare(&self) -> Result<(), EngineError> {
        let _pass = self.spare_gate.enter().await;
        let slot = {
            let mut state = self.state.borrow_mut();
            let slot = state.next_slot;
            state.next_slot += 1;
            slot
        };
        let path = segment::path(&self.folder, slot);
        match self.fill(&path).await {
            Ok(file) => {
                self.state.borrow_mut().free.push(FreeSlot { slot, file: Rc::new(file) });
                Ok(())
            }
            Err(error) => {
                // What is there is no segment; whether it can be removed now or at the next start does not matter.
                let _ = self.env.remove_file(&path).await;
                Err(error)
            }
        }
    }

    async fn fill(&self, path: &Path) -> Result<E::File, EngineError> {
        let failed = |action, error| EngineError::io(action, path, &error);
        let file = self.env.open(path, OpenOptions::CREATE).await.map_err(|e| failed("create", e))?;
        let bytes = self.options.segment_bytes;
        file.allocate(bytes).await.map_err(|e| failed("reserve space for", e))?;
        let mut buffer = AlignedBuf::zeroed(FILL_BYTES.min(bytes as usize));
        let mut offset = 0;
        while offset < bytes {
            if bytes - offset < buffer.len() as u64 {
                buffer = AlignedBuf::zeroed((bytes - offset) as usize);
            }
            let len = buffer.len() as u64;
            buffer = file.write_at(buffer, offset).await.map_err(|e| failed("fill", e))?;
            offset += len;
            self.env.yield_if_needed().await;
        }
        if let Err(error) = file.sync().await {
            return self.stop("sync", path, 0, &error).await;
        }
        if let Err(error) = self.env.sync_dir(&self.folder).await {
            return self.stop("sync", &self.folder, 0, &error).await;
        }
        self.env.open(path, Self::segment_options(&self.env)).await.map_err(|e| failed("open", e))
    }

    /// Opens a segment's file for the log's own writes.
    pub(crate) async fn open_segment(env: &E, path: &Path) -> Result<E::File, EngineError> {
        env.open(path, Self::segment_options(env)).await.map_err(|error| EngineError::io("open", path, &error))
    }

    async fn stop<T>(&self, action: &str, path: &Path, offset: u64, error: &std::io::Error) -> T {
        let reason = format!(
            "cannot {action} {} at byte {offset}: {error}; what is on the disk is unknown, so this node stops; \
             it recovers from the disk's real state when it is started again",
            path.display()
        );
        match self.env.fail_stop(&reason).await {}
    }

    /// Entries from `from` to `to`, at least one and at most `max_bytes` of them.
    pub(crate) async fn entries(
        &self,
        group: GroupId,
        from: LogIndex,
        to: LogIndex,
        max_bytes: usize,
    ) -> Result<Vec<LogEntry>, EngineError> {
        if from > to {
            return Ok(Vec::new());
        }
        let mut wanted = Vec::new();
        {
            let state = self.state.borrow();
            let mut bytes = 0usize;
            let mut index = from;
            while index <= to {
                let Some(entry) = state.groups.get(&group).and_then(|log| log.get(index)) else {
                    return Err(self.not_in_log(&state, group, index));
                };
                bytes = bytes.saturating_add(entry.place.len as usize);
                if bytes > max_bytes && index > from {
                    break;
                }
                wanted.push((index, entry.clone()));
                index = index.next();
            }
        }
        let mut entries = Vec::with_capacity(wanted.len());
        let mut last_block: Option<(Place, AlignedBuf)> = None;
        for (index, Indexed { term, place, cached }) in wanted {
            let data = match cached {
                Some(data) => data,
                None => {
                    let same = |held: &Place| held.segment == place.segment && held.block == place.block;
                    if !last_block.as_ref().is_some_and(|(held, _)| same(held)) {
                        last_block = Some((place, self.read_block(group, index, &place).await?));
                    }
                    let block = last_block.as_ref().map(|(_, block)| &block[..]).unwrap_or_default();
                    let range = place.at as usize..(place.at as usize + place.len as usize);
                    Bytes::copy_from_slice(block.get(range).unwrap_or_default())
                }
            };
            entries.push(LogEntry { index, term, data });
        }
        Ok(entries)
    }

    fn not_in_log(&self, state: &LogState<E::File>, group: GroupId, index: LogIndex) -> EngineError {
        let log = state.groups.get(&group);
        let first = log.map_or(LogIndex(1), |log| log.start.next());
        EngineError::NotInLog { group, index, first, last: log.map_or(LogIndex(0), GroupLog::last) }
    }

    /// Reads the block that holds an entry and verifies it.
    async fn read_block(&self, group: GroupId, index: LogIndex, place: &Place) -> Result<AlignedBuf, EngineError> {
        let found = {
            let state = self.state.borrow();
            state.segments.get(&place.segment).map(|s| (Rc::clone(&s.file), s.path.clone(), s.salt))
        };
        let Some((file, path, salt)) = found else {
            return Err(self.not_in_log(&self.state.borrow(), group, index));
        };
        let bytes = place.block_bytes as usize;
        let block = file.read_at(place.block, bytes).await.map_err(|e| EngineError::io("read", &path, &e))?;
        let whole = match block::parse(&block) {
            block::Parsed::Header(header) => block::is_whole(&block, &header, salt),
            block::Parsed::Blank | block::Parsed::Garbage => false,
        };
        if whole {
            return Ok(block);
        }
        // The segment may have been freed and reused while we read.
        let state = self.state.borrow();
        let still = state.groups.get(&group).and_then(|log| log.get(index)).is_some_and(|held| held.place == *place);
        if still {
            return Err(EngineError::corruption(&path, place.block, "a block of the log does not match its checksum"));
        }
        Err(self.not_in_log(&state, group, index))
    }

    /// The group's log, if the group is known.
    pub(crate) fn group(&self, group: GroupId) -> Option<Ref<'_, GroupLog>> {
        Ref::filter_map(self.state.borrow(), |state| state.groups.get(&group)).ok()
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

    /// The oldest segment that anything still needs.
    pub(crate) fn needed_tail(&self) -> u64 {
        let state = self.state.borrow();
        let active = state.active().map_or(0, |(id, _)| id);
        state.groups.values().filter_map(GroupLog::oldest_segment).min().unwrap_or(active).min(active)
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

    /// Gives back segments below `tail`, which a durable manifest edit has declared dead.
    pub(crate) async fn free_below(&self, tail: u64) {
        let excess: Vec<PathBuf> = {
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
                    excess.push(segment.path);
                }
            }
            excess
        };
        for path in excess {
            // A file that stays is found and removed at the next start.
            let _ = self.env.remove_file(&path).await;
        }
    }

    /// Whether a free segment is ready.
    pub(crate) fn has_spare(&self) -> bool {
        !self.state.borrow().free.is_empty()
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

    /// Writes the whole log of a small group again at the head, so that it no longer holds old segments.
    /// Returns whether the group was small enough.
    pub(crate) async fn relocate(&self, group: GroupId) -> Result<bool, EngineError> {
        let _pass = self.gate.enter().await;
        let (incarnation, first, last) = {
            let Some(log) = self.group(group) else { return Ok(true) };
            if log.entry_count() == 0 {
                return Ok(true);
            }
            if log.entry_bytes() > RELOCATE_BYTES.min(self.options.segment_bytes / 4) {
                return Ok(false);
            }
            (log.incarnation, log.start.next(), log.last())
        };
        let entries = self.entries(group, first, last, usize::MAX).await?;
        let mut batch = LogBatch::new();
        batch.push_relocated(group, incarnation, first, entries.into_iter().map(|entry| (entry.term, entry.data)));
        self.write(batch).await?;
        Ok(true)
    }

    /// Reads every block of the log and checks its checksum. Returns how many there are.
    pub(crate) async fn verify(&self) -> Result<u64, EngineError> {
        // The gate keeps segments from being started and blocks from being written meanwhile.
        let _pass = self.gate.enter().await;
        let segments: Vec<_> = {
            let state = self.state.borrow();
            let describe = |(id, s): (&u64, &Segment<E::File>)| {
                (*id, Rc::clone(&s.file), s.path.clone(), s.salt, s.used, s.first, s.previous)
            };
            state.segments.iter().map(describe).collect()
        };
        let mut blocks = 0;
        for (segment, file, path, salt, used, sequence, previous) in segments {
            let mut scan = recovery::Scan::new(&*file, &path, used);
            let mut expected = verdict::Expected { segment, salt, sequence, previous };
            let mut at = BLOCK as u64;
            while at < used {
                let (parsed, block) = scan.block(at).await?;
                let found = verdict::inspect(parsed, block, &expected);
                let (verdict::Found::Expected, block::Parsed::Header(header)) = (found, parsed) else {
                    if self.state.borrow().segments.contains_key(&segment) {
                        return Err(EngineError::corruption(&path, at, "a block of the log does not match its checksum"));
                    }
                    break;
                };
                at += header.block_bytes() as u64;
                expected.sequence += 1;
                expected.previous = header.checksum;
                blocks += 1;
                self.env.yield_if_needed().await;
            }
        }
        Ok(blocks)
    }
}

/// The checkpoint records of all groups.
fn checkpoint(groups: &BTreeMap<GroupId, GroupLog>) -> Vec<u8> {
    let mut payload = Vec::new();
    for (group, log) in groups {
        record::put_checkpoint(&mut payload, *group, log.incarnation, &log.hard_state, log.start, log.start_term);
    }
    payload
}

/// Bytes that a segment's header and checkpoint take.
fn opening_bytes(groups: &BTreeMap<GroupId, GroupLog>) -> usize {
    BLOCK + block_bytes(checkpoint(groups).len())
}
