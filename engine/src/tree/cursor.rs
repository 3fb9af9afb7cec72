//! Reading a range in order: a merge over all layers that shows each key's newest visible version.
//!
//! Each source fetches a run of versions at a time (a handful from a memtable, a restart interval from a table), so that no
//! position is kept in anything that changes, and only a table's next block makes the cursor wait.

use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::memtable::Memtable;
use super::snapshot::Snapshot;
use super::source::Source;
use super::table::filter;
use super::version::Version;
use super::{Entry, Lookup};
use crate::error::EngineError;
use crate::ids::{Expiry, Seq};

/// The order in which a cursor gives keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Rising keys.
    Forward,
    /// Falling keys.
    Reverse,
}

/// A range of keys: `start` inclusive, `end` exclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRange {
    /// The first key.
    pub start: Bytes,
    /// The key behind the last; `None` for no bound.
    pub end: Option<Bytes>,
}

pub(crate) use KeyRange as Span;

impl KeyRange {
    /// From `start` (inclusive) to `end` (exclusive).
    #[must_use]
    pub fn new(start: impl Into<Bytes>, end: impl Into<Bytes>) -> Self {
        Self { start: start.into(), end: Some(end.into()) }
    }

    /// Every key.
    #[must_use]
    pub const fn all() -> Self {
        Self { start: Bytes::new(), end: None }
    }

    /// Every key that starts with `prefix`.
    #[must_use]
    pub fn prefix(prefix: impl Into<Bytes>) -> Self {
        let start = prefix.into();
        let end = prefix_end(&start);
        Self { start, end }
    }

    /// Whether no key can be in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.end.as_ref().is_some_and(|end| *end <= self.start)
    }
}

/// The least key above every key that starts with `prefix`; `None` when there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Option<Bytes> {
    let kept = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix.get(..=kept)?.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Some(Bytes::from(end))
}

/// What a cursor or a get reads: the layers at one moment.
pub(crate) struct View<E: Env> {
    /// Newest first.
    pub(crate) memtables: Vec<Rc<Memtable>>,
    pub(crate) version: Rc<Version<E>>,
}

impl<E: Env> Clone for View<E> {
    fn clone(&self) -> Self {
        Self { memtables: self.memtables.clone(), version: Rc::clone(&self.version) }
    }
}

impl<E: Env> View<E> {
    /// The value of a key at `at`, and when it has expired.
    pub(crate) async fn get(&self, key: &[u8], at: Seq) -> Result<Option<(Bytes, Expiry)>, EngineError> {
        let hash = filter::hash(key);
        for memtable in &self.memtables {
            match memtable.get(key, hash, at) {
                Lookup::Found(value, expires_at) => return Ok(Some((value, expires_at))),
                Lookup::Deleted => return Ok(None),
                Lookup::Unknown => {}
            }
        }
        self.version.get(key, at).await
    }
}

/// A range being read. Keeps its snapshot and the files it reads from until it is dropped.
pub struct Cursor<E: Env> {
    sources: Vec<Source<E>>,
    view: View<E>,
    span: Span,
    direction: Direction,
    at: Seq,
    _snapshot: Snapshot,
}

impl<E: Env> Cursor<E> {
    pub(crate) fn new(view: View<E>, span: KeyRange, direction: Direction, snapshot: &Snapshot) -> Self {
        let mut sources = Vec::new();
        if !span.is_empty() {
            sources.extend(view.memtables.iter().cloned().map(Source::memtable));
            sources.extend(view.version.feeds(&span, direction).into_iter().map(Source::run));
        }
        Self { sources, view, span, direction, at: snapshot.seq(), _snapshot: snapshot.clone() }
    }

    /// The next key with its value, `None` behind the last; values that have expired are given like others. A cursor whose `next`
    /// was abandoned half-way must be dropped.
    ///
    /// # Errors
    /// [`EngineError::Corruption`] or [`EngineError::Io`] when a table cannot be read.
    pub async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, EngineError> {
        Ok(self.next_expiring().await?.map(|(key, value, _)| (key, value)))
    }

    /// As [`Self::next`], with the log time at which the value has expired ([`Expiry::NEVER`] for most). Hiding expired values is
    /// the caller's: only he knows at which log time he reads.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_expiring(&mut self) -> Result<Option<(Bytes, Bytes, Expiry)>, EngineError> {
        loop {
            self.fill().await?;
            let Some(key) = self.front() else { return Ok(None) };
            let mut newest = None;
            // A key's versions may go on behind the end of a queue.
            while self.take_versions(&key, &mut newest) {
                self.fill().await?;
            }
            if let Some(newest) = newest
                && let Some(value) = newest.value
                && !self.is_range_deleted(&key, newest.seq)
            {
                return Ok(Some((newest.key, value, newest.expires_at)));
            }
        }
    }

    /// Makes every source that is not at its end have something queued.
    async fn fill(&mut self) -> Result<(), EngineError> {
        for source in &mut self.sources {
            source.fill(&self.span, self.direction, self.at).await?;
        }
        Ok(())
    }

    /// The next key over all sources.
    fn front(&self) -> Option<Bytes> {
        let keys = self.sources.iter().filter_map(|source| source.queue.front()).map(|entry| &entry.key);
        match self.direction {
            Direction::Forward => keys.min().cloned(),
            Direction::Reverse => keys.max().cloned(),
        }
    }

    /// Takes the queued versions of `key` and keeps the newest. Returns whether a queue must be filled to know them all.
    fn take_versions(&mut self, key: &Bytes, newest: &mut Option<Entry>) -> bool {
        let mut unsure = false;
        for source in &mut self.sources {
            while let Some(entry) = source.queue.pop_front_if(|entry| entry.key == *key) {
                if newest.as_ref().is_none_or(|held| entry.seq > held.seq) {
                    *newest = Some(entry);
                }
            }
            unsure |= source.queue.is_empty() && !source.done;
        }
        unsure
    }

    fn is_range_deleted(&self, key: &[u8], seq: Seq) -> bool {
        let deleted = |tombstone: Option<Seq>| tombstone.is_some_and(|deleted| deleted > seq);
        self.view.memtables.iter().any(|table| deleted(table.tombstones().covering(key, self.at)))
            || self.view.version.tombstoned(key).any(|set| deleted(set.covering(key, self.at)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn the_end_of_a_prefix_is_the_least_key_above_it() {
        assert_eq!(prefix_end(b"ab"), Some(Bytes::from_static(b"ac")));
        assert_eq!(prefix_end(&[1, 0xff]), Some(Bytes::from_static(&[2])));
        assert_eq!(prefix_end(&[0xff]), None);
        assert!(KeyRange::new("b", "a").is_empty() && !KeyRange::all().is_empty());
    }
}
