//! Reading a range in order: a merge over all layers that shows each key's newest visible version.
//!
//! The sources are merged by a heap. No position is kept in anything that changes, nothing is allocated for versions that
//! are passed over, and only a table's next block makes the cursor wait. What a range delete hides is jumped over.

use std::rc::Rc;

use bytes::Bytes;
use highwater_runtime::Env;

use super::Lookup;
use super::memtable::Memtable;
use super::merger::Merger;
use super::snapshot::Snapshot;
use super::source::Source;
use super::table::{Table, filter};
use super::tombstone::RangeTombstones;
use super::version::Version;
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

    /// The prefix of this length that every key of the range begins with, if there is one.
    #[must_use]
    pub(crate) fn common_prefix(&self, length: usize) -> Option<&[u8]> {
        let prefix = self.start.get(..length).filter(|prefix| !prefix.is_empty())?;
        // No key without the prefix lies below an end that has it, or is the least key above all that have it.
        let end = self.end.as_deref()?;
        (end.starts_with(prefix) || prefix_end(prefix).as_deref() == Some(end)).then_some(prefix)
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
    merger: Merger<E>,
    covers: Covers<E>,
    span: Span,
    direction: Direction,
    at: Seq,
    /// The key last given, or passed over.
    key: Vec<u8>,
    /// A key was looked at: what is left of its versions is passed over.
    stands: bool,
    /// In reverse: what the present key's newest visible version says.
    newest: Option<(Bytes, Expiry)>,
    /// Keys under a range delete passed since the last that was not.
    covered: u32,
    _snapshot: Snapshot,
}

/// Keys under one range delete that are passed one by one before the rest of it is jumped over.
const COVERED_STEPS: u32 = 8;

impl<E: Env> Cursor<E> {
    pub(crate) fn new(view: View<E>, span: KeyRange, direction: Direction, snapshot: &Snapshot) -> Self {
        let (at, mut sources) = (snapshot.seq(), Vec::new());
        if !span.is_empty() {
            let memtables = view.memtables.iter().cloned();
            sources.extend(memtables.map(|table| Source::memtable_within(table, &span, direction, at)));
            sources.extend(view.version.feeds(&span, direction).into_iter().map(Source::run));
        }
        Self {
            merger: Merger::new(sources, direction),
            covers: Covers::new(view, at, &span),
            span,
            direction,
            at,
            key: Vec::new(),
            stands: false,
            newest: None,
            covered: 0,
            _snapshot: snapshot.clone(),
        }
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
        if !self.advance().await? {
            return Ok(None);
        }
        let key = Bytes::copy_from_slice(&self.key);
        Ok(self.shared_value().map(|(value, expires_at)| (key, value, expires_at)))
    }

    /// The value of the next key alone, `None` behind the last: a key costs an allocation.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn next_value(&mut self) -> Result<Option<Bytes>, EngineError> {
        if !self.advance().await? {
            return Ok(None);
        }
        Ok(self.shared_value().map(|(value, _)| value))
    }

    /// The value that [`Self::advance`] moved to.
    fn shared_value(&self) -> Option<(Bytes, Expiry)> {
        match self.direction {
            Direction::Forward => {
                let value_of = |source: &Source<E>| source.value().map(|value| (value, source.current().expires_at));
                self.merger.top().and_then(value_of)
            }
            Direction::Reverse => self.newest.clone(),
        }
    }

    /// Moves to the next key; false behind the last. Nothing is copied but the key: [`Self::key`] and [`Self::value`] lend
    /// what is there. As for [`Self::next`], a cursor whose `advance` was abandoned half-way must be dropped.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn advance(&mut self) -> Result<bool, EngineError> {
        self.merger.start().await?;
        match self.direction {
            Direction::Forward => self.advance_forward().await,
            Direction::Reverse => self.advance_reverse().await,
        }
    }

    /// The key that [`Self::advance`] moved to.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value that [`Self::advance`] moved to; empty when it said that there is none.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        let value = match self.direction {
            Direction::Forward => self.merger.top().and_then(|source| source.current().value),
            Direction::Reverse => self.newest.as_ref().map(|(value, _)| value.as_ref()),
        };
        value.unwrap_or_default()
    }

    /// Goes to a key: the next one given is the first at or above `key`, in reverse the last at or below it, within the
    /// cursor's range. Any number of times, in any direction.
    pub fn seek(&mut self, key: &[u8]) {
        let target = match self.direction {
            Direction::Forward => Bytes::copy_from_slice(key.max(&self.span.start[..])),
            // The least key above it: sources go below their target.
            Direction::Reverse => Bytes::from([key, &[0]].concat()),
        };
        self.merger.seek(&target);
        self.stands = false;
        self.covered = 0;
        self.newest = None;
    }

    async fn advance_forward(&mut self) -> Result<bool, EngineError> {
        loop {
            let Some(top) = self.merger.top() else { return Ok(false) };
            let (key, seq) = (top.key(), top.seq());
            if seq > self.at || (self.stands && key == self.key.as_slice()) {
                self.merger.advance().await?;
                continue;
            }
            // The first visible version of a key is the newest.
            self.stands = true;
            self.key.clear();
            self.key.extend_from_slice(key);
            let is_put = top.current().value.is_some();
            match self.covers.deleted(&self.key).filter(|deleted| *deleted > seq) {
                Some(deleted) => self.pass_covered(deleted).await?,
                None => {
                    self.covered = 0;
                    if is_put {
                        return Ok(true);
                    }
                    self.merger.advance().await?;
                }
            }
        }
    }

    async fn advance_reverse(&mut self) -> Result<bool, EngineError> {
        loop {
            let Some(top) = self.merger.top() else { return Ok(false) };
            self.key.clear();
            self.key.extend_from_slice(top.key());
            let mut newest: Option<(Seq, Option<Bytes>, Expiry)> = None;
            while let Some(top) = self.merger.top()
                && top.key() == self.key.as_slice()
            {
                let seq = top.seq();
                if seq <= self.at && newest.as_ref().is_none_or(|(held, ..)| seq > *held) {
                    newest = Some((seq, top.value(), top.current().expires_at));
                }
                self.merger.advance().await?;
            }
            let Some((seq, value, expires_at)) = newest else { continue };
            match self.covers.deleted(&self.key).filter(|deleted| *deleted > seq) {
                Some(deleted) => self.pass_covered(deleted).await?,
                None => {
                    self.covered = 0;
                    if let Some(value) = value {
                        self.newest = Some((value, expires_at));
                        return Ok(true);
                    }
                }
            }
        }
    }

    /// Passes over a key that a range delete hides, and after a few over all that it hides.
    async fn pass_covered(&mut self, deleted: Seq) -> Result<(), EngineError> {
        self.covered += 1;
        if self.covered > COVERED_STEPS {
            self.covered = 0;
            let edge = self.covers.edge(self.direction).cloned();
            if let Some(edge) = edge {
                return self.merger.skip(&edge, deleted).await;
            }
        }
        match self.direction {
            Direction::Forward => self.merger.advance().await,
            // Its versions are behind us already.
            Direction::Reverse => Ok(()),
        }
    }
}

/// The range deletes that a cursor has to heed, and what they say of the keys around the last one asked for.
struct Covers<E: Env> {
    memtables: Vec<Rc<Memtable>>,
    tables: Vec<Rc<Table<E>>>,
    at: Seq,
    /// Valid from the first bound (inclusive) to the second, once something was asked.
    known: bool,
    deleted: Option<Seq>,
    from: Option<Bytes>,
    until: Option<Bytes>,
}

impl<E: Env> Covers<E> {
    fn new(view: View<E>, at: Seq, span: &Span) -> Self {
        let View { mut memtables, version } = view;
        memtables.retain(|table| !table.tombstones().is_empty());
        let heeded = |table: &&Rc<Table<E>>| {
            !table.tombstones.is_empty() && table.meta.overlaps(&span.start, span.end.as_deref())
        };
        let tables = version.tables().filter(heeded).cloned().collect();
        Self { memtables, tables, at, known: false, deleted: None, from: None, until: None }
    }

    /// The newest visible range delete of a key.
    fn deleted(&mut self, key: &[u8]) -> Option<Seq> {
        if self.memtables.is_empty() && self.tables.is_empty() {
            return None;
        }
        let after = self.from.as_ref().is_none_or(|from| &from[..] <= key);
        if !(self.known && after && self.until.as_ref().is_none_or(|until| key < &until[..])) {
            (self.known, self.deleted, self.from, self.until) = (true, None, None, None);
            for table in &self.memtables {
                narrow(&table.tombstones(), key, self.at, &mut self.deleted, &mut self.from, &mut self.until);
            }
            for table in &self.tables {
                narrow(&table.tombstones, key, self.at, &mut self.deleted, &mut self.from, &mut self.until);
            }
        }
        self.deleted
    }

    /// Where what was last told ends, in the direction of reading.
    const fn edge(&self, direction: Direction) -> Option<&Bytes> {
        match direction {
            Direction::Forward => self.until.as_ref(),
            Direction::Reverse => self.from.as_ref(),
        }
    }
}

/// Takes into account what one more set says of the keys around `key`.
fn narrow(
    set: &RangeTombstones,
    key: &[u8],
    at: Seq,
    deleted: &mut Option<Seq>,
    from: &mut Option<Bytes>,
    until: &mut Option<Bytes>,
) {
    let (newest, first, behind) = set.around(key, at);
    *deleted = (*deleted).max(newest);
    if let Some(first) = first
        && from.as_ref().is_none_or(|from| from < first)
    {
        *from = Some(first.clone());
    }
    if let Some(behind) = behind
        && until.as_ref().is_none_or(|until| until > behind)
    {
        *until = Some(behind.clone());
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
