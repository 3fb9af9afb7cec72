//! One entry's atomic change: an overlay of writes over the store, counted against limits.
//!
//! Reads see the entry's own writes first, then the store as it was before the entry. Nothing reaches the store until the
//! group takes the whole batch together with its mark. Invariants: the overlay's keys lie in the group's range; iteration
//! order is key order, so equal commands on equal state give equal batches, byte for byte; after [`Txn::rollback`] nothing
//! of the command is left.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_engine::{Direction, LogIndex, WriteBatch};
use highwater_runtime::Env;
use highwater_sql::catalog::ObjectId;
use highwater_sql::diag::{Diag, SqlState};
use highwater_sql::limits::MAX_INSERT_ROWS;

use crate::error::Abort;
use crate::keys::{KeySpan, Keys};
use crate::overlay::{MergedScan, Overlay};
use crate::reader::Reader;
use crate::transaction::reads::Recorder;

/// Most engine keys that one command reads, and most that it writes: an INSERT of the most rows that one may have, into a table with a unique
/// column besides its key. A row is one, and so is each of its index entries.
pub const MAX_ROWS_PER_COMMAND: usize = 2 * MAX_INSERT_ROWS;

/// Most bytes (keys and values) that one command reads, and most that it writes.
pub const MAX_BYTES_PER_COMMAND: usize = 32 << 20;

/// The change that one entry makes.
pub struct Txn<'a, E: Env> {
    reader: &'a Reader<E>,
    keys: Keys,
    index: LogIndex,
    overlay: Overlay,
    /// Notes what the store is asked, in a transaction that is not committed yet.
    recorder: Option<Recorder>,
    used: Used,
    limited: bool,
    outbox: bool,
    appended: Vec<(ObjectId, u32)>,
}

/// What was read and written so far, for the limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Used {
    read: Usage,
    written: Usage,
}

/// Rows and bytes so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Usage {
    /// Engine keys.
    rows: usize,
    /// Bytes of keys and values.
    bytes: usize,
}

impl Usage {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.bytes += key.len() + value.len();
    }

    fn check(self, verb: &str) -> Result<(), Diag> {
        let (what, limit) = if self.rows > MAX_ROWS_PER_COMMAND {
            ("rows and index entries", MAX_ROWS_PER_COMMAND)
        } else if self.bytes > MAX_BYTES_PER_COMMAND {
            ("bytes", MAX_BYTES_PER_COMMAND)
        } else {
            return Ok(());
        };
        Err(Diag::new(
            SqlState::PROGRAM_LIMIT,
            format!("the statement {verb} more than {limit} {what}; nothing was changed"),
        )
        .hint("Split it: give ranges of the key in WHERE, or fewer rows in VALUES."))
    }
}

impl<'a, E: Env> Txn<'a, E> {
    /// An empty change for entry `index` of the group.
    pub(crate) fn new(reader: &'a Reader<E>, keys: Keys, index: LogIndex) -> Self {
        Self {
            reader,
            keys,
            index,
            overlay: Overlay::default(),
            recorder: None,
            used: Used::default(),
            limited: true,
            outbox: false,
            appended: Vec::new(),
        }
    }

    /// A change that goes on where an open transaction stands: over its writes so far, and noting what the store is asked.
    pub(crate) fn resumed(self, overlay: Overlay, used: Used, recorder: &Recorder) -> Self {
        Self { overlay, used, recorder: Some(recorder.clone()), ..self }
    }

    /// The writes so far and what they count.
    pub(crate) fn suspend(self) -> (Overlay, Used) {
        (self.overlay, self.used)
    }

    /// The writes so far.
    pub(crate) const fn overlay(&self) -> &Overlay {
        &self.overlay
    }

    /// Goes on over other writes than those so far, and gives those. What was counted stays.
    pub(crate) const fn exchange(&mut self, overlay: Overlay) -> Overlay {
        std::mem::replace(&mut self.overlay, overlay)
    }

    /// The store as it was before the entry.
    pub(crate) const fn reader(&self) -> &'a Reader<E> {
        self.reader
    }

    /// Keys of the group.
    #[must_use]
    pub const fn keys(&self) -> Keys {
        self.keys
    }

    /// The group.
    #[must_use]
    pub const fn group(&self) -> u32 {
        self.keys.group()
    }

    /// The entry.
    #[must_use]
    pub const fn index(&self) -> LogIndex {
        self.index
    }

    /// Whether the planted bug is switched on; always false outside simulation.
    #[must_use]
    pub fn mutant(&self, number: u32) -> bool {
        self.reader.mutant(number)
    }

    /// What follows is counted but not limited: exchange, catalog and housekeeping are never refused for their size.
    pub const fn lift_limits(&mut self) {
        self.limited = false;
    }

    /// Tells the group that records were appended to the outbox.
    pub const fn note_outbox(&mut self) {
        self.outbox = true;
    }

    /// Tells the group that messages were appended to a partition.
    pub fn note_appended(&mut self, topic: ObjectId, partition: u32) {
        if !self.appended.contains(&(topic, partition)) {
            self.appended.push((topic, partition));
        }
    }

    /// The value of a key: the entry's own write, else the store's.
    ///
    /// # Errors
    /// A refusal past the limits; a failure of the store.
    pub async fn get(&mut self, key: &[u8]) -> Result<Option<Bytes>, Abort> {
        let value = match self.overlay.get(key) {
            Some(own) => own,
            None => {
                let stored = self.reader.get(key).await?;
                if let Some(recorder) = &self.recorder {
                    recorder.key(key, stored.as_deref());
                }
                stored
            }
        };
        self.used.read.add(key, value.as_deref().unwrap_or_default());
        self.check()?;
        Ok(value)
    }

    /// Sets a key.
    ///
    /// # Errors
    /// A refusal past the limits.
    pub fn put(&mut self, key: Vec<u8>, value: impl Into<Bytes>) -> Result<(), Abort> {
        let value = value.into();
        self.used.written.add(&key, &value);
        self.overlay.writes.insert(key, Some(value));
        self.check()
    }

    /// Removes a key; a missing one is fine.
    ///
    /// # Errors
    /// A refusal past the limits.
    pub fn delete(&mut self, key: Vec<u8>) -> Result<(), Abort> {
        self.used.written.add(&key, &[]);
        self.overlay.writes.insert(key, None);
        self.check()
    }

    /// Removes every key of a range, the entry's own writes among them; counts as one row.
    ///
    /// # Errors
    /// A refusal past the limits.
    pub fn delete_range(&mut self, span: KeySpan) -> Result<(), Abort> {
        if span.is_empty() {
            return Ok(());
        }
        self.used.written.add(&span.start, &span.end);
        self.overlay.erase(span);
        self.check()
    }

    /// The first `limit` keys of a range with their values, in key order: the entry's own writes over the store's.
    ///
    /// # Errors
    /// A refusal past the limits; a failure of the store.
    pub async fn scan(&mut self, span: &KeySpan, limit: usize) -> Result<Vec<(Bytes, Bytes)>, Abort> {
        let mut found = Vec::new();
        if span.is_empty() {
            return Ok(found);
        }
        let mut pairs = MergedScan::open(self.reader, span, Direction::Forward, self.recorder.as_ref()).await?;
        while found.len() < limit {
            let Some((key, value)) = pairs.next(&self.overlay).await? else { break };
            self.used.read.add(&key, &value);
            if self.limited {
                self.used.read.check("reads")?;
            }
            found.push((key, value));
        }
        Ok(found)
    }

    /// Forgets everything the command wrote, read counts and notes included; what is written from now on is not limited.
    pub(crate) fn rollback(&mut self) {
        *self = Self { limited: false, ..Self::new(self.reader, self.keys, self.index) };
    }

    /// The entry's own writes, in key order; `None` is a removed key.
    pub(crate) const fn writes(&self) -> &BTreeMap<Vec<u8>, Option<Bytes>> {
        &self.overlay.writes
    }

    /// The change as a batch, and what the command noted.
    pub(crate) fn finish(self) -> Finished {
        let mut batch = WriteBatch::with_capacity(self.used.written.bytes + 16 * self.used.written.rows);
        // Erased ranges first: what was written after them is in `writes`, what was written before them was dropped.
        for span in &self.overlay.erased {
            batch.delete_range(&span.start, &span.end);
        }
        for (key, value) in &self.overlay.writes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        Finished { batch, outbox: self.outbox, appended: self.appended }
    }

    fn check(&self) -> Result<(), Abort> {
        if self.limited {
            self.used.read.check("reads")?;
            self.used.written.check("writes")?;
        }
        Ok(())
    }
}

/// A change, ready for the store.
#[derive(Debug)]
pub(crate) struct Finished {
    pub batch: WriteBatch,
    pub outbox: bool,
    pub appended: Vec<(ObjectId, u32)>,
}
