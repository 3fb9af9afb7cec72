//! Writes that are not in the store yet, over the store: what an entry, or an open transaction, sees.
//!
//! Invariants: what was written after a range was erased is in `writes`, what was written before it is not; a merged scan gives every
//! visible key once, in key order or backwards.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use highwater_engine::Direction;
use highwater_runtime::Env;

use crate::error::StateError;
use crate::keys::KeySpan;
use crate::reader::Reader;
use crate::transaction::reads::{Recorder, WatchedScan};

/// Keys written and ranges erased.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overlay {
    /// `None` is a removed key.
    pub writes: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// Erased before everything in `writes`.
    pub erased: Vec<KeySpan>,
}

impl Overlay {
    /// What became of a key; `None` when nothing did.
    pub fn get(&self, key: &[u8]) -> Option<Option<Bytes>> {
        match self.writes.get(key) {
            Some(own) => Some(own.clone()),
            None => self.is_erased(key).then_some(None),
        }
    }

    fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.erased.is_empty()
    }

    fn is_erased(&self, key: &[u8]) -> bool {
        self.erased.iter().any(|span| span.contains(key))
    }

    /// Removes a range, what was written in it before included.
    pub fn erase(&mut self, span: KeySpan) {
        self.writes.retain(|key, _| !span.contains(key));
        self.erased.push(span);
    }

    /// The first own key of the range in this direction, behind `after` if there is one.
    fn next(&self, span: &KeySpan, direction: Direction, after: Option<&[u8]>) -> Option<(&[u8], Option<&Bytes>)> {
        let (start, end) = (Bound::Included(span.start.as_slice()), Bound::Excluded(span.end.as_slice()));
        let own = match direction {
            Direction::Forward => self.writes.range::<[u8], _>((after.map_or(start, Bound::Excluded), end)).next(),
            Direction::Reverse => self.writes.range::<[u8], _>((start, after.map_or(end, Bound::Excluded))).next_back(),
        };
        own.map(|(key, value)| (key.as_slice(), value.as_ref()))
    }
}

/// The pairs of a range, an overlay's over the store's.
pub(crate) struct MergedScan<E: Env> {
    span: KeySpan,
    direction: Direction,
    stored: WatchedScan<E>,
    /// The store's next pair; the outer `None`: not read yet.
    below: Option<Option<(Bytes, Bytes)>>,
    /// The last own key that was passed.
    passed: Option<Vec<u8>>,
}

impl<E: Env> MergedScan<E> {
    /// Opens the range, which must not be empty; what the store is asked is recorded.
    pub async fn open(
        reader: &Reader<E>,
        span: &KeySpan,
        direction: Direction,
        recorder: Option<&Recorder>,
    ) -> Result<Self, StateError> {
        let stored = WatchedScan::open(reader, span, direction, recorder).await?;
        Ok(Self { span: span.clone(), direction, stored, below: None, passed: None })
    }

    /// The value of the next pair. The overlay must be the one of the calls before.
    pub async fn next_value(&mut self, overlay: &Overlay) -> Result<Option<Bytes>, StateError> {
        if overlay.is_empty() && !self.stored.is_watched() {
            // Nobody asks for the keys, which are copies.
            return self.stored.next_value().await;
        }
        Ok(self.next(overlay).await?.map(|(_, value)| value))
    }

    /// The next pair. The overlay must be the one of the calls before.
    pub async fn next(&mut self, overlay: &Overlay) -> Result<Option<(Bytes, Bytes)>, StateError> {
        loop {
            let below = match self.below.take() {
                Some(below) => below,
                None => self.stored.next().await?,
            };
            let own = overlay.next(&self.span, self.direction, self.passed.as_deref());
            let is_before = |key: &[u8], other: &[u8]| match self.direction {
                Direction::Forward => key < other,
                Direction::Reverse => key > other,
            };
            match (below, own) {
                (None, None) => {
                    self.below = Some(None);
                    return Ok(None);
                }
                (Some((key, value)), own) if own.is_none_or(|(own, _)| is_before(&key, own)) => {
                    if !overlay.is_erased(&key) {
                        return Ok(Some((key, value)));
                    }
                }
                (below, Some((key, value))) => {
                    // An own key hides the store's.
                    self.below = below
                        .filter(|(stored, _)| stored.as_ref() != key)
                        .map(Some)
                        .or_else(|| self.stored.is_done().then_some(None));
                    self.passed = Some(key.to_vec());
                    if let Some(value) = value {
                        return Ok(Some((Bytes::copy_from_slice(key), value.clone())));
                    }
                }
                (Some(pair), None) => self.below = Some(Some(pair)),
            }
        }
    }
}
