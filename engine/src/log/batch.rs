//! What one append writes: records of many groups, encoded as they are pushed.
//!
//! Invariant: the payload is a sequence of whole records; a batch is cut into blocks between records only.

use bytes::Bytes;

use super::record::{self, HardState, Located, OpenEntries, Record};
use crate::ids::{GroupId, Incarnation, LogIndex, Term};

/// Bytes that an entries record has at most, unless one entry alone is larger: blocks can be filled well, also those of the smallest
/// segments.
const RECORD_TARGET: usize = 32 << 10;
/// Bytes that a record of one entry takes beyond the entry's, at most.
pub(super) const RECORD_OVERHEAD: usize = 48;

/// Bytes that an entry takes in its record beyond its own, about.
const ENTRY_OVERHEAD: usize = 8;

/// Log records that become durable together with one [`crate::Store::append`].
#[derive(Debug, Default)]
pub struct LogBatch {
    pub(super) payload: Vec<u8>,
    pub(super) records: Vec<Pushed>,
    largest_entry: usize,
    /// The last record, while [`Self::push_entry`] may continue it.
    open: Option<OpenEntries>,
}

/// A record of a batch with the end of its bytes in the payload.
#[derive(Debug)]
pub(super) struct Pushed {
    pub(super) end: usize,
    pub(super) record: Record,
}

/// A run of a batch's records that goes into one block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Where its bytes are in the payload.
    pub(super) bytes: std::ops::Range<usize>,
    /// How many records it has.
    pub(super) records: usize,
}

impl LogBatch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes room for entries of so many bytes in all, so that their records are not moved while they are added.
    pub fn reserve(&mut self, entries: usize, bytes: usize) {
        self.payload
            .reserve(entries.saturating_mul(ENTRY_OVERHEAD).saturating_add(bytes).saturating_add(RECORD_OVERHEAD));
    }

    /// Adds entries of one group with consecutive indexes from `first`; they replace whatever the group's log holds at or
    /// above `first`. The entries' bytes are kept in the log's memory of recent entries without a copy.
    pub fn push_entries(
        &mut self,
        group: GroupId,
        incarnation: Incarnation,
        first: LogIndex,
        entries: impl Iterator<Item = (Term, Bytes)>,
    ) {
        let mut first = first;
        let mut entries = entries.peekable();
        while entries.peek().is_some() {
            let started = self.payload.len();
            let mut open = record::open_entries(&mut self.payload, false, group, incarnation, first);
            let mut located = Vec::with_capacity(entries.size_hint().0);
            let fits = |data: &Bytes, held: usize| held + data.len() + RECORD_OVERHEAD <= RECORD_TARGET;
            while let Some((term, data)) =
                entries.next_if(|(_, data)| located.is_empty() || fits(data, self.payload.len() - started))
            {
                self.largest_entry = self.largest_entry.max(data.len());
                let at = open.push(&mut self.payload, term, &data);
                located.push(Located { term, at, data });
            }
            open.close(&mut self.payload);
            let next = LogIndex(first.0.saturating_add(located.len() as u64));
            self.push(Record::Entries { group, incarnation, first, entries: located });
            first = next;
        }
    }

    /// Adds one entry, to the last record if it continues that one.
    pub(super) fn push_entry(
        &mut self,
        group: GroupId,
        incarnation: Incarnation,
        index: LogIndex,
        term: Term,
        data: Bytes,
    ) {
        self.largest_entry = self.largest_entry.max(data.len());
        if let (Some(open), Some(Pushed { end, record: Record::Entries { group: g, incarnation: i, first, entries } })) =
            (&mut self.open, self.records.last_mut())
            && (*g, *i) == (group, incarnation)
            && first.0 + entries.len() as u64 == index.0
            && open.bytes(*end) + data.len() + RECORD_OVERHEAD <= RECORD_TARGET
        {
            let at = open.push(&mut self.payload, term, &data);
            open.patch_count(&mut self.payload);
            entries.push(Located { term, at, data });
            *end = self.payload.len();
            return;
        }
        let mut open = record::open_entries(&mut self.payload, false, group, incarnation, index);
        let at = open.push(&mut self.payload, term, &data);
        open.patch_count(&mut self.payload);
        self.push(Record::Entries { group, incarnation, first: index, entries: vec![Located { term, at, data }] });
        self.open = Some(open);
    }

    /// Sets a group's hard state.
    pub fn push_hard_state(&mut self, group: GroupId, state: HardState) {
        record::put_hard_state(&mut self.payload, group, &state);
        self.push(Record::HardState { group, state });
    }

    /// Begins another life of a group: its log is emptied and continues after `start`; its hard state is cleared.
    pub fn push_start(&mut self, group: GroupId, incarnation: Incarnation, start: LogIndex, start_term: Term) {
        record::put_start(&mut self.payload, group, incarnation, start, start_term);
        self.push(Record::Start { group, incarnation, start, start_term });
    }

    /// Adds the whole log of a group as one record.
    pub(super) fn push_relocated(
        &mut self,
        group: GroupId,
        incarnation: Incarnation,
        first: LogIndex,
        entries: impl Iterator<Item = (Term, Bytes)>,
    ) {
        let mut open = record::open_entries(&mut self.payload, true, group, incarnation, first);
        let located = entries
            .map(|(term, data)| {
                let at = open.push(&mut self.payload, term, &data);
                Located { term, at, data }
            })
            .collect();
        open.close(&mut self.payload);
        self.push(Record::Relocated { group, incarnation, first, entries: located });
    }

    fn push(&mut self, record: Record) {
        self.open = None;
        self.records.push(Pushed { end: self.payload.len(), record });
    }

    /// Whether nothing was pushed.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes that the records take in the log.
    #[must_use]
    pub const fn byte_size(&self) -> usize {
        self.payload.len()
    }

    /// How many records it has.
    pub(super) const fn record_count(&self) -> usize {
        self.records.len()
    }

    /// Bytes of the largest entry.
    pub(super) const fn largest_entry(&self) -> usize {
        self.largest_entry
    }

    /// The bytes of the first record alone, with all records; for planted bug 46.
    pub(super) fn first_record(&self) -> Vec<Part> {
        let end = self.records.first().map_or(0, |pushed| pushed.end);
        vec![Part { bytes: 0..end, records: self.records.len() }]
    }

    /// The groups that it has records of, each as often as it has.
    pub(super) fn groups(&self) -> impl Iterator<Item = GroupId> {
        self.records.iter().map(|pushed| pushed.record.group())
    }

    /// Cuts the batch into parts of at most so many bytes; a larger record gets a part of its own.
    pub(super) fn parts(&self, target: usize) -> Vec<Part> {
        let mut parts = Vec::new();
        let mut part = Part { bytes: 0..0, records: 0 };
        for pushed in &self.records {
            if part.records > 0 && pushed.end - part.bytes.start > target {
                let start = part.bytes.end;
                parts.push(std::mem::replace(&mut part, Part { bytes: start..start, records: 0 }));
            }
            part.bytes.end = pushed.end;
            part.records += 1;
        }
        if part.records > 0 {
            parts.push(part);
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;
    use crate::options::LOG_BLOCK_TARGET;

    fn entries(count: usize, bytes: usize) -> impl Iterator<Item = (Term, Bytes)> {
        (0..count).map(move |_| (Term(1), Bytes::from(vec![7; bytes])))
    }

    #[test]
    fn a_small_batch_is_one_part() {
        let mut batch = LogBatch::new();
        batch.push_entries(GroupId(1), Incarnation(1), LogIndex(1), entries(3, 10));
        batch.push_hard_state(GroupId(1), HardState::default());
        let parts = batch.parts(LOG_BLOCK_TARGET);
        assert_eq!(parts.len(), 1);
        assert_eq!(parts[0].records, 2);
        assert_eq!(parts[0].bytes.len(), batch.byte_size());
    }

    #[test]
    fn entries_pushed_one_by_one_become_records_as_if_pushed_together() {
        let mut together = LogBatch::new();
        together.push_entries(GroupId(1), Incarnation(1), LogIndex(5), entries(3, 10));
        together.push_entries(GroupId(2), Incarnation(1), LogIndex(1), entries(1, 10));
        together.push_entries(GroupId(1), Incarnation(1), LogIndex(9), entries(1, 10));
        let mut single = LogBatch::new();
        for (group, index) in [(1, 5), (1, 6), (1, 7), (2, 1), (1, 9)] {
            single.push_entry(GroupId(group), Incarnation(1), LogIndex(index), Term(1), Bytes::from(vec![7; 10]));
        }
        assert_eq!(single.payload, together.payload);
        assert_eq!(single.parts(LOG_BLOCK_TARGET), together.parts(LOG_BLOCK_TARGET));
    }

    #[test]
    fn a_large_batch_is_cut_between_records_and_loses_nothing() {
        let mut batch = LogBatch::new();
        batch.push_entries(GroupId(1), Incarnation(1), LogIndex(1), entries(40, 100_000));
        batch.push_entries(GroupId(2), Incarnation(1), LogIndex(1), entries(1, 3 << 20));
        let parts = batch.parts(LOG_BLOCK_TARGET);
        assert!(parts.len() > 3);
        let mut total = 0;
        let mut held = 0;
        for part in &parts {
            assert_eq!(part.bytes.start, total);
            total += part.bytes.len();
            let payload = Bytes::copy_from_slice(&batch.payload[part.bytes.clone()]);
            let records = record::decode(&payload, part.records as u32).unwrap();
            for record in records {
                if let Record::Entries { entries, .. } = record {
                    held += entries.len();
                }
            }
        }
        assert_eq!((total, held), (batch.byte_size(), 41));
        assert_eq!(batch.largest_entry(), 3 << 20);
    }
}
