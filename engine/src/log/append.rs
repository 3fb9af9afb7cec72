//! Writing the log: batches into blocks, blocks into segments, segments into files that were made ready beforehand.
//!
//! A synchronous write over blocks that were written before is the fastest durable write there is: one system call, no
//! change of the file's metadata. So a new file is filled with zeros, unless the log is written in blocks so large that the
//! change of metadata does not count beside them: then its space is reserved only. Nor is it filled while an append waits for it, as after a
//! full disk.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

use super::Log;
use super::batch::{LogBatch, Part, RECORD_OVERHEAD};
use super::block::{BlockHeader, CHECKPOINT, HEADER, SEAL, block_bytes, seal_block};
use super::group::GroupLog;
use super::record::{self, Record};
use super::segment::{self, SegmentHeader};
use super::state::{BlockPlace, FreeSlot, Segment};
use crate::error::EngineError;
use crate::ids::{GroupId, Incarnation, LogIndex, Term};
use crate::options::LOG_BLOCK_TARGET;

/// Bytes written per call when a new segment is filled with zeros.
const FILL_BYTES: usize = 1 << 20;
/// The share of a segment that its mean block fills from which on the next segment is reserved without zeros: one in so many,
/// 256 KiB of 64 MiB.
const LARGE_BLOCKS: u64 = 256;
/// A group whose log is at most this large is moved forward rather than let it hold an old segment.
const RELOCATE_BYTES: u64 = 512 << 10;

/// An append that waits for a segment, counted as long as it does.
struct Awaiting<'a>(&'a Cell<u32>);

impl<'a> Awaiting<'a> {
    fn one_more(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<E: Env> Log<E> {
    /// How segment files are opened: every completed write is durable.
    fn segment_options(env: &E) -> OpenOptions {
        // Planted bug 4: appends return when the write has completed, not when it is durable.
        if env.mutant(4) { OpenOptions::WRITE } else { OpenOptions::WRITE.synchronous() }
    }

    /// Writes a batch; every record is durable and visible when this returns, and so is what was deferred before.
    pub(crate) async fn append(&self, batch: LogBatch) -> Result<(), EngineError> {
        if batch.is_empty() {
            return Ok(());
        }
        let limit = self.options.max_entry_bytes();
        if batch.largest_entry() > limit {
            return Err(EngineError::TooLarge { bytes: batch.largest_entry(), limit });
        }
        let _pass = self.gate.enter().await;
        self.write_deferred().await?;
        self.check_order(&batch)?;
        self.write(batch).await
    }

    /// Keeps an entry in memory until the next write of the log. Returns the bytes that wait.
    pub(crate) fn defer(
        &self,
        group: GroupId,
        incarnation: Incarnation,
        index: LogIndex,
        term: Term,
        data: Bytes,
    ) -> Result<usize, EngineError> {
        let limit = self.options.max_entry_bytes();
        if data.len() > limit {
            return Err(EngineError::TooLarge { bytes: data.len(), limit });
        }
        let mut deferred = self.deferred.borrow_mut();
        // What is deferred must not be refused when it is written.
        let (bytes, limit) = (data.len() + RECORD_OVERHEAD, self.block_room(deferred.ends.len() + 1));
        if bytes > limit {
            return Err(EngineError::TooLarge { bytes, limit });
        }
        let (start, last) = match deferred.ends.get(&group) {
            Some((life, last)) if *life == incarnation => (LogIndex(0), *last),
            _ => match self.state.borrow().groups.get(&group) {
                Some(log) if log.incarnation == incarnation => (log.start, log.last()),
                _ => (index.previous(), index.previous()),
            },
        };
        // Deferred entries only continue their log: replacing is for entries that are in it.
        if index != last.next() {
            return Err(EngineError::Gap { group, first: index, start, last });
        }
        deferred.ends.insert(group, (incarnation, index));
        deferred.batch.push_entry(group, incarnation, index, term, data);
        Ok(deferred.batch.byte_size())
    }

    /// Makes everything deferred durable.
    pub(crate) async fn sync(&self) -> Result<(), EngineError> {
        let _pass = self.gate.enter().await;
        self.write_deferred().await
    }

    /// Writes what was deferred. The caller holds the gate. What a full disk refuses stays deferred.
    async fn write_deferred(&self) -> Result<(), EngineError> {
        // More may be deferred while space is made.
        let mut reserved = 0;
        loop {
            let parts = {
                let deferred = self.deferred.borrow();
                if deferred.batch.byte_size() == reserved {
                    break;
                }
                reserved = deferred.batch.byte_size();
                self.cut(&deferred.batch)?
            };
            self.reserve(&parts).await?;
        }
        if reserved == 0 {
            return Ok(());
        }
        // What is deferred while this is written continues it, so the ends stay until they are in the log.
        let batch = std::mem::take(&mut self.deferred.borrow_mut().batch);
        let outcome = self.write(batch).await;
        let state = self.state.borrow();
        let written = |group: &GroupId, last: LogIndex| state.groups.get(group).is_some_and(|log| log.last() >= last);
        self.deferred.borrow_mut().ends.retain(|group, (_, last)| !written(group, *last));
        outcome
    }

    /// Payload bytes that a block may have at most, so that a segment which opens with these groups and so many new ones takes it.
    fn block_room(&self, new_groups: usize) -> usize {
        let groups = self.state.borrow().groups.len() + new_groups;
        let opening = BLOCK + block_bytes(groups * record::CHECKPOINT_MOST);
        usize::try_from(self.options.segment_bytes).unwrap_or(usize::MAX).saturating_sub(opening + HEADER)
    }

    /// Cuts a batch into what goes into one block each.
    ///
    /// # Errors
    /// [`EngineError::TooLarge`] when a record does not fit into a segment.
    fn cut(&self, batch: &LogBatch) -> Result<Vec<Part>, EngineError> {
        let mut room = self.block_room(batch.record_count());
        if room < LOG_BLOCK_TARGET.max(batch.largest_entry() + RECORD_OVERHEAD) {
            // Small segments: it counts which of the groups are new.
            let state = self.state.borrow();
            let new: BTreeSet<GroupId> = batch.groups().filter(|group| !state.groups.contains_key(group)).collect();
            room = self.block_room(new.len());
        }
        let parts = batch.parts(room.min(LOG_BLOCK_TARGET));
        match parts.iter().map(|part| part.bytes.len()).find(|bytes| *bytes > room) {
            Some(bytes) => Err(EngineError::TooLarge { bytes, limit: room }),
            None => Ok(parts),
        }
    }

    /// Gets the space that a batch needs at hand.
    pub(crate) async fn make_room(&self, batch: &LogBatch) -> Result<(), EngineError> {
        let _pass = self.gate.enter().await;
        self.reserve(&self.cut(batch)?).await
    }

    /// Refuses entries that would leave a gap in their group's log.
    fn check_order(&self, batch: &LogBatch) -> Result<(), EngineError> {
        let state = self.state.borrow();
        let mut ends: BTreeMap<GroupId, (Incarnation, LogIndex, LogIndex)> = BTreeMap::new();
        for pushed in &batch.records {
            match &pushed.record {
                Record::Entries { group, incarnation, first, entries } => {
                    let held = ends
                        .get(group)
                        .copied()
                        .or_else(|| state.groups.get(group).map(|log| (log.incarnation, log.start, log.last())));
                    let (life, start, last) = held.unwrap_or((*incarnation, first.previous(), first.previous()));
                    let (start, last) =
                        if life == *incarnation { (start, last) } else { (first.previous(), first.previous()) };
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
        // Planted bug 46: only the first record of a batch is written, the other groups' are acknowledged with it.
        let parts = if self.env.mutant(46) { batch.first_record() } else { self.cut(&batch)? };
        // Space for all of the batch is at hand before any of it is written, so that a full disk refuses the whole batch.
        self.reserve(&parts).await?;
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
        self.write_deferred().await?;
        let room = {
            let state = self.state.borrow();
            self.is_behind.get()
                || state.sealed
                || state.active().is_none_or(|(_, segment)| segment.used + BLOCK as u64 > segment.bytes)
        };
        // Planted bug 112: the end of the log is never sealed.
        if room || self.env.mutant(112) {
            return Ok(());
        }
        self.writing.set(true);
        self.write_block(SEAL, &[], 0, Vec::new()).await?;
        self.writing.set(false);
        Ok(())
    }

    /// Makes free slots ready for as many segments as blocks of these sizes need.
    async fn reserve(&self, parts: &[Part]) -> Result<(), EngineError> {
        let mut needed = 0;
        {
            let state = self.state.borrow();
            let active = state.active().filter(|_| !self.is_behind.get());
            let mut room = active.map_or(0, |(_, segment)| segment.bytes - segment.used);
            let fresh = || self.options.segment_bytes.saturating_sub(opening_bytes(&state.groups) as u64);
            for block in parts.iter().map(|part| block_bytes(part.bytes.len()) as u64) {
                if block > room {
                    needed += 1;
                    room = fresh();
                }
                room = room.saturating_sub(block);
            }
        }
        while self.state.borrow().free.len() < needed {
            let _awaiting = Awaiting::one_more(&self.awaited);
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
        let fits = !self.is_behind.get()
            && self.state.borrow().active().is_some_and(|(_, segment)| segment.used + bytes as u64 <= segment.bytes);
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
                records: if self.env.mutant(46) { records.len().min(1) } else { records.len() } as u32,
                segment: id,
                sequence: state.sequence,
                durable: state.sequence - 1,
                offset: segment.used,
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
        self.appended_bytes.set(self.appended_bytes.get() + bytes as u64);
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
        let path = segment::path(&self.folder, slot.slot);
        let fresh = self.env.random();
        let (buffer, id, salt, sequence, previous, checksum) = {
            let state = self.state.borrow();
            let (id, salt) = state.next_segment().unwrap_or((1, fresh));
            // Planted bug 101, with its other half in recovery: segments are not told from their former lives.
            let salt = if self.env.mutant(101) { 7 } else { salt };
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
            // Planted bug 115: a segment's checkpoint leaves the hard states out.
            let payload = if self.env.mutant(115) {
                checkpoint(&without_hard_states(&state.groups))
            } else {
                checkpoint(&state.groups)
            };
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
                offset: BLOCK as u64,
                previous: state.previous,
                checksum: 0,
            };
            let checksum = buffer.get_mut(BLOCK..).map_or(0, |block| seal_block(block, &opening, salt));
            (buffer, id, salt, state.sequence, state.previous, checksum)
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
        let segment = Segment { slot: slot.slot, file: slot.file, path, salt, bytes, used, first: sequence, previous };
        state.segments.insert(id, segment);
        self.is_behind.set(false);
        self.appends.set(self.appends.get() + 1);
        self.appended_bytes.set(self.appended_bytes.get() + used);
        Ok(())
    }

    /// Creates one more free segment.
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
        // Reserved space reads as zeros.
        let large = (bytes / LARGE_BLOCKS).max(2 * BLOCK as u64);
        let mut offset = if self.state.borrow().mean_block_bytes() >= large { bytes } else { 0 };
        while offset < bytes && self.awaited.get() == 0 {
            if bytes - offset < buffer.len() as u64 {
                buffer = AlignedBuf::zeroed((bytes - offset) as usize);
            }
            let len = buffer.len() as u64;
            buffer = file.write_at(buffer, offset).await.map_err(|e| failed("fill", e))?;
            offset += len;
            self.env.yield_if_needed().await;
        }
        // Planted bugs 109 and 5: a spare segment is used before its size and zeros are durable, or before its name is.
        if !self.env.mutant(109)
            && let Err(error) = file.sync().await
        {
            return self.stop("sync", path, 0, &error).await;
        }
        if !self.env.mutant(5)
            && let Err(error) = self.env.sync_dir(&self.folder).await
        {
            return self.stop("sync", &self.folder, 0, &error).await;
        }
        self.fill_syncs.set(self.fill_syncs.get() + 2);
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

    /// Writes the whole log of a small group again at the head, so that it no longer holds old segments.
    /// Returns whether it no longer does: one that holds nothing by now does not, and is not written; a large one stays.
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
        // Planted bug 111: moving a log forward forgets the entries' terms.
        let term = |term| if self.env.mutant(111) { crate::ids::Term(0) } else { term };
        batch.push_relocated(
            group,
            incarnation,
            first,
            entries.into_iter().map(|entry| (term(entry.term), entry.data)),
        );
        match self.write(batch).await {
            // Many small entries: the record is larger than they are.
            Err(EngineError::TooLarge { .. }) => Ok(false),
            outcome => {
                outcome?;
                self.relocations.set(self.relocations.get() + 1);
                Ok(true)
            }
        }
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

/// For planted bug 115.
fn without_hard_states(groups: &BTreeMap<GroupId, GroupLog>) -> BTreeMap<GroupId, GroupLog> {
    let mut groups = groups.clone();
    groups.values_mut().for_each(|log| log.hard_state = record::HardState::default());
    groups
}

/// Bytes that a segment's header and checkpoint take.
pub(super) fn opening_bytes(groups: &BTreeMap<GroupId, GroupLog>) -> usize {
    BLOCK + block_bytes(checkpoint(groups).len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use highwater_runtime::disk::Faults;
    use highwater_runtime::inproc::Sim;

    use super::*;
    use crate::log::recovery::LogClaims;
    use crate::options::StoreOptions;

    #[test]
    fn only_a_group_that_is_written_again_counts_as_moved_forward() {
        let mut sim = Sim::new(1, Faults::none());
        sim.run(|env| async move {
            let folder = Path::new("/log");
            env.create_dir_all(folder).await.unwrap();
            let claims = LogClaims { tail: 0, durable: 0, manifest: 0, groups: BTreeMap::new() };
            let options = Rc::new(StoreOptions::small());
            let (log, _) = Log::recover(env, folder, options, claims).await.unwrap();
            let (held, empty) = (GroupId(1), GroupId(2));
            let mut batch = LogBatch::new();
            for group in [held, empty] {
                let entry = (Term(1), Bytes::from_static(b"entry"));
                batch.push_entries(group, Incarnation(1), LogIndex(1), std::iter::once(entry));
            }
            log.append(batch).await.unwrap();
            log.release(empty, LogIndex(1));
            log.flushed(empty, LogIndex(1));
            let blocks = log.appends();
            for group in [empty, GroupId(3)] {
                assert!(log.relocate(group).await.unwrap(), "it holds nothing");
            }
            assert_eq!((log.relocations(), log.appends()), (0, blocks));
            assert!(log.relocate(held).await.unwrap());
            assert_eq!((log.relocations(), log.appends()), (1, blocks + 1));
        })
        .unwrap();
    }
}
