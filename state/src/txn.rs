//! One entry's atomic change: an overlay of writes over the store, counted against limits.
//!
//! Reads see the entry's own writes first, then the store as it was before the entry. Nothing reaches the store until the
//! group takes the whole batch together with its mark. Invariants: the overlay's keys lie in the group's range; iteration
//! order is key order, so equal commands on equal state give equal batches, byte for byte; after [`Txn::rollback`] nothing
//! of the command is left.

use std::collections::BTreeMap;

use bytes::Bytes;
use highwater_engine::{LogIndex, WriteBatch};
use highwater_runtime::Env;
use highwater_sql::catalog::ObjectId;
use highwater_sql::diag::{Diag, SqlState};

use crate::error::Abort;
use crate::keys::{KeySpan, Keys};
use crate::reader::Reader;

/// Most rows (engine keys) that one command reads, and most that it writes.
pub const MAX_ROWS_PER_COMMAND: usize = 50_000;

/// Most bytes (keys and values) that one command reads, and most that it writes.
pub const MAX_BYTES_PER_COMMAND: usize = 32 << 20;

/// The change that one entry makes.
pub struct Txn<'a, E: Env> {
    reader: &'a Reader<E>,
    keys: Keys,
    index: LogIndex,
    writes: BTreeMap<Vec<u8>, Option<Bytes>>,
    erased: Vec<KeySpan>,
    read: Usage,
    written: Usage,
    limited: bool,
    outbox: bool,
    appended: Vec<(ObjectId, u32)>,
}

/// Rows and bytes so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Engine keys.
    pub rows: usize,
    /// Bytes of keys and values.
    pub bytes: usize,
}

impl Usage {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.rows += 1;
        self.bytes += key.len() + value.len();
    }

    fn check(self, verb: &str) -> Result<(), Diag> {
        let (what, limit) = if self.rows > MAX_ROWS_PER_COMMAND {
            ("rows", MAX_ROWS_PER_COMMAND)
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
            writes: BTreeMap::new(),
            erased: Vec::new(),
            read: Usage::default(),
            written: Usage::default(),
            limited: true,
            outbox: false,
            appended: Vec::new(),
        }
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
        let value = match self.writes.get(key) {
            Some(own) => own.clone(),
            None if self.erased.iter().any(|span| span.contains(key)) => None,
            None => self.reader.get(key).await?,
        };
        self.read.add(key, value.as_deref().unwrap_or_default());
        self.check()?;
        Ok(value)
    }

    /// Sets a key.
    ///
    /// # Errors
    /// A refusal past the limits.
    pub fn put(&mut self, key: Vec<u8>, value: impl Into<Bytes>) -> Result<(), Abort> {
        let value = value.into();
        self.written.add(&key, &value);
        self.writes.insert(key, Some(value));
        self.check()
    }

    /// Removes a key; a missing one is fine.
    ///
    /// # Errors
    /// A refusal past the limits.
    pub fn delete(&mut self, key: Vec<u8>) -> Result<(), Abort> {
        self.written.add(&key, &[]);
        self.writes.insert(key, None);
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
        self.written.add(&span.start, &span.end);
        self.writes.retain(|key, _| !span.contains(key));
        self.erased.push(span);
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
        let mut stored = self.reader.scan(span).await?;
        let mut own = self.writes.range::<[u8], _>((
            std::ops::Bound::Included(span.start.as_slice()),
            std::ops::Bound::Excluded(span.end.as_slice()),
        ));
        let (mut below, mut above) = (stored.next().await?, own.next());
        while found.len() < limit {
            // The store's next pair if it comes first and is neither erased nor overwritten, else the entry's own next one.
            let pair = match (&below, above) {
                (None, None) => break,
                (Some((key, _)), mine) if mine.is_none_or(|(own_key, _)| key.as_ref() < own_key.as_slice()) => {
                    let erased = self.erased.iter().any(|span| span.contains(key));
                    let pair = below.take().filter(|_| !erased);
                    below = stored.next().await?;
                    pair
                }
                (Some((key, _)), Some((own_key, _))) if key.as_ref() == own_key.as_slice() => {
                    below = stored.next().await?;
                    None
                }
                (_, Some((key, value))) => {
                    above = own.next();
                    value.clone().map(|value| (Bytes::copy_from_slice(key), value))
                }
                (Some(_), None) => None,
            };
            if let Some((key, value)) = pair {
                self.read.add(&key, &value);
                if self.limited {
                    self.read.check("reads")?;
                }
                found.push((key, value));
            }
        }
        Ok(found)
    }

    /// Forgets everything the command wrote, read counts and notes included; what is written from now on is not limited.
    pub(crate) fn rollback(&mut self) {
        *self = Self { limited: false, ..Self::new(self.reader, self.keys, self.index) };
    }

    /// The entry's own writes, in key order; `None` is a removed key.
    pub(crate) const fn writes(&self) -> &BTreeMap<Vec<u8>, Option<Bytes>> {
        &self.writes
    }

    /// The change as a batch, and what the command noted.
    pub(crate) fn finish(self) -> Finished {
        let mut batch = WriteBatch::with_capacity(self.written.bytes + 16 * self.written.rows);
        // Erased ranges first: what was written after them is in `writes`, what was written before them was dropped.
        for span in &self.erased {
            batch.delete_range(&span.start, &span.end);
        }
        for (key, value) in &self.writes {
            match value {
                Some(value) => batch.put(key, value),
                None => batch.delete(key),
            }
        }
        Finished { batch, outbox: self.outbox, appended: self.appended }
    }

    fn check(&self) -> Result<(), Abort> {
        if self.limited {
            self.read.check("reads")?;
            self.written.check("writes")?;
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
