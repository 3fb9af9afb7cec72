//! A copy of the log in another folder: every group's hard state and the entries behind what the tree contains.
//!
//! What is copied is captured in one synchronous step; while the capture lives, the segments that it reads from are kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::{BLOCK, Env};

use super::Log;
use super::batch::LogBatch;
use super::block::block_bytes;
use super::group::{GroupLog, Indexed, Place};
use super::record::{CHECKPOINT_MOST, Located, Record};
use super::state::LogState;
use crate::error::EngineError;
use crate::gate::Pass;
use crate::ids::{GroupId, LogIndex, Term};
use crate::options::StoreOptions;

/// Segments that must not be freed, each with how many hold it.
#[derive(Clone, Default)]
pub(crate) struct Pins(Rc<RefCell<BTreeMap<u64, usize>>>);

impl Pins {
    /// The oldest segment that is held.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.0.borrow().keys().next().copied()
    }

    fn hold(&self, segment: u64) -> Pin {
        *self.0.borrow_mut().entry(segment).or_default() += 1;
        Pin { segment, pins: self.clone() }
    }
}

/// Keeps a segment and all that come after it.
pub(crate) struct Pin {
    segment: u64,
    pins: Pins,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut pins = self.pins.0.borrow_mut();
        if let Some(count) = pins.get_mut(&self.segment) {
            *count -= 1;
            if *count == 0 {
                pins.remove(&self.segment);
            }
        }
    }
}

/// The log at one moment.
pub(crate) struct LogCapture {
    /// Each group's log as the copy has it: it starts behind what is applied, and its entries are still to be read.
    pub(crate) groups: BTreeMap<GroupId, GroupLog>,
    entries: Vec<(GroupId, LogIndex, Indexed)>,
    _pin: Pin,
}

impl<E: Env> Log<E> {
    /// Waits until no block is being written, and keeps it so while the pass lives. Then everything is either in the log or deferred.
    pub(crate) async fn still(&self) -> Pass {
        self.gate.enter().await
    }

    /// The log now, of each group what is behind the applied index; what is deferred is part of it. The log must be still.
    pub(crate) fn capture(&self, applied: impl Fn(GroupId) -> LogIndex) -> LogCapture {
        let state = self.state.borrow();
        let active = state.active().map_or(0, |(id, _)| id);
        let mut logs = state.groups.clone();
        let deferred = self.deferred.borrow();
        for pushed in &deferred.batch.records {
            let Record::Entries { group, incarnation, first, entries } = &pushed.record else { continue };
            let log = logs.entry(*group).or_insert_with(|| GroupLog::starting(*incarnation, first.previous(), Term(0)));
            if log.incarnation != *incarnation {
                *log = GroupLog::starting(*incarnation, first.previous(), Term(0));
            }
            // It has no place yet; its bytes are here.
            let place = Place { segment: active, block: 0, block_bytes: 0, at: 0, len: 0 };
            let indexed = |entry: &Located| Indexed { term: entry.term, place, cached: Some(entry.data.clone()) };
            log.replace(*first, entries.iter().map(indexed));
        }
        let mut groups = BTreeMap::new();
        let mut entries = Vec::new();
        for (group, log) in logs {
            let upto = applied(group);
            let (start, term) = log.term_of(upto).map_or((log.start, log.start_term), |term| (upto, term));
            let mut copy = GroupLog::starting(log.incarnation, start, term);
            copy.hard_state = log.hard_state;
            copy.flushed = upto;
            groups.insert(group, copy);
            let mut index = start.next();
            while let Some(entry) = log.get(index) {
                entries.push((group, index, entry.clone()));
                index = index.next();
            }
        }
        let oldest = entries.iter().map(|(_, _, entry)| entry.place.segment).min();
        LogCapture { groups, entries, _pin: self.pins.hold(oldest.unwrap_or(active)) }
    }

    /// Writes the copy to `folder`. Returns the sequence of its last block; all of it and its names are durable then.
    ///
    /// # Errors
    /// [`EngineError::NoSpace`]; read errors.
    pub(crate) async fn write_copy(&self, capture: &LogCapture, folder: &Path) -> Result<u64, EngineError> {
        let mut batch = LogBatch::new();
        let (mut bytes, mut largest) = (0, 0);
        for (group, index, entry) in &capture.entries {
            let data = match &entry.cached {
                Some(data) => data.clone(),
                None => self.read_entry(*group, *index, &entry.place).await?,
            };
            bytes += data.len();
            largest = largest.max(data.len());
            let incarnation = capture.groups.get(group).map(|log| log.incarnation).unwrap_or_default();
            batch.push_entries(*group, incarnation, *index, std::iter::once((entry.term, data)));
        }
        // A small log needs no segment of full size.
        // What a block may take assumes that every group's record is as long as it can be.
        let opening = BLOCK + block_bytes(capture.groups.len() * CHECKPOINT_MOST);
        let wanted = (2 * (bytes + opening)).max(4 * largest + opening).max(16 * BLOCK).next_multiple_of(BLOCK);
        let segment_bytes = self.options.segment_bytes.min(wanted as u64);
        let options = Rc::new(StoreOptions { segment_bytes, ..(*self.options).clone() });
        let state = LogState::new(capture.groups.clone());
        let copy = Self::new(self.env.clone(), folder, options, state, 0);
        copy.start_segment().await?;
        copy.append(batch).await?;
        copy.seal().await?;
        copy.sync().await?;
        Ok(copy.durable_sequence())
    }

    async fn read_entry(&self, group: GroupId, index: LogIndex, place: &Place) -> Result<Bytes, EngineError> {
        let block = self.read_block(group, index, place).await?;
        let range = place.at as usize..(place.at as usize + place.len as usize);
        Ok(Bytes::copy_from_slice(block.get(range).unwrap_or_default()))
    }
}
