//! A walk over the versions of one block, in either direction, that allocates nothing per version.
//!
//! Forward, the present key is put together in one buffer. In reverse, the versions of a restart interval are laid out first
//! and then given from the last to the first.

use std::ops::Range;

use bytes::Bytes;

use super::block::{Block, Lying};
use crate::codec::Malformed;
use crate::ids::{Expiry, Seq};
use crate::tree::EntryRef;

/// A version laid out for reverse reading.
struct Laid {
    key: Range<usize>,
    seq: Seq,
    is_put: bool,
    expires_at: Expiry,
    value: Range<usize>,
}

/// A place in a block. Present only after a move that returned true.
#[derive(Default)]
pub(crate) struct Walk {
    block: Option<Block>,
    key: Vec<u8>,
    seq: Seq,
    is_put: bool,
    expires_at: Option<Expiry>,
    value: Range<usize>,
    /// Forward: where the next version and its value are.
    next: usize,
    next_value: usize,
    /// Reverse: the interval that is laid out, and how many of its versions were not yet given.
    interval: usize,
    left: usize,
    laid: Vec<Laid>,
    keys: Vec<u8>,
}

impl Walk {
    /// Stands before the first version of a block.
    pub(crate) fn enter(&mut self, block: Block) {
        self.block = Some(block);
        (self.next, self.next_value) = (0, 0);
        if let Some(Ok((version, value))) = self.block.as_ref().map(|block| block.restart(0)) {
            (self.next, self.next_value) = (version, value);
        }
        self.key.clear();
    }

    /// Lets go of the block.
    pub(crate) fn leave(&mut self) {
        self.block = None;
    }

    /// The present version.
    pub(crate) fn current(&self) -> EntryRef<'_> {
        let value = self.block.as_ref().filter(|_| self.is_put).map(|block| block.slice(&self.value));
        EntryRef { key: &self.key, seq: self.seq, value, expires_at: self.expires_at.unwrap_or(Expiry::NEVER) }
    }

    /// The present version's key.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The present version's sequence number.
    pub(crate) const fn seq(&self) -> Seq {
        self.seq
    }

    /// The present version's value in the block's memory; `None` for a delete.
    pub(crate) fn value(&self) -> Option<Bytes> {
        self.block.as_ref().filter(|_| self.is_put).map(|block| block.shared_bytes(&self.value))
    }

    /// Moves to the next version; false behind the last.
    pub(crate) fn forward(&mut self) -> Result<bool, Malformed> {
        let Some(block) = &self.block else { return Ok(false) };
        if self.next >= block.end() {
            return Ok(false);
        }
        let version = block.version(self.next, self.next_value)?;
        if version.shared > self.key.len() {
            return Err(Malformed { at: self.next, what: "a key shares more than its predecessor has" });
        }
        self.key.truncate(version.shared);
        self.key.extend_from_slice(block.slice(&version.key));
        let (is_put, expires_at) = block.kind(&version);
        (self.seq, self.is_put, self.expires_at) = (block.seq(&version), is_put, Some(expires_at));
        let Lying { value, next, .. } = version;
        (self.next, self.next_value, self.value) = (next, value.end, value);
        Ok(true)
    }

    /// Moves to the first version whose key is at or above `target`; false when the block has none.
    pub(crate) fn seek(&mut self, target: &[u8]) -> Result<bool, Malformed> {
        let Some(block) = &self.block else { return Ok(false) };
        let interval = block.intervals_below(target)?.saturating_sub(1);
        (self.next, self.next_value) = block.restart(interval)?;
        self.key.clear();
        while self.forward()? {
            if self.key.as_slice() >= target {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Moves to the last version whose key is below `bound` (of all, without a bound); false when the block has none.
    pub(crate) fn seek_back(&mut self, bound: Option<&[u8]>) -> Result<bool, Malformed> {
        let Some(block) = &self.block else { return Ok(false) };
        let intervals = match bound {
            Some(bound) => block.intervals_below(bound)?,
            None => block.intervals(),
        };
        (self.left, self.interval) = (0, intervals);
        if intervals == 0 {
            return Ok(false);
        }
        self.lay(intervals - 1)?;
        if let Some(bound) = bound {
            let keys = &self.keys;
            self.left = self.laid.partition_point(|laid| keys.get(laid.key.clone()).unwrap_or_default() < bound);
        }
        self.backward()
    }

    /// Moves to the version before; false before the first.
    pub(crate) fn backward(&mut self) -> Result<bool, Malformed> {
        while self.left == 0 {
            if self.interval == 0 {
                return Ok(false);
            }
            self.lay(self.interval - 1)?;
        }
        self.left -= 1;
        let Some(laid) = self.laid.get(self.left) else { return Ok(false) };
        self.key.clear();
        self.key.extend_from_slice(self.keys.get(laid.key.clone()).unwrap_or_default());
        (self.seq, self.is_put, self.expires_at) = (laid.seq, laid.is_put, Some(laid.expires_at));
        self.value = laid.value.clone();
        Ok(true)
    }

    /// Lays an interval's versions out.
    fn lay(&mut self, interval: usize) -> Result<(), Malformed> {
        let Some(block) = &self.block else { return Ok(()) };
        let (end, _) = block.restart(interval + 1)?;
        let (mut at, mut value_at) = block.restart(interval)?;
        self.laid.clear();
        self.keys.clear();
        let mut last = 0..0;
        while at < end {
            let version = block.version(at, value_at)?;
            if version.shared > last.len() {
                return Err(Malformed { at, what: "a key shares more than its predecessor has" });
            }
            let start = self.keys.len();
            self.keys.extend_from_within(last.start..last.start + version.shared);
            self.keys.extend_from_slice(block.slice(&version.key));
            last = start..self.keys.len();
            let (is_put, expires_at) = block.kind(&version);
            let (key, seq) = (last.clone(), block.seq(&version));
            (at, value_at) = (version.next, version.value.end);
            self.laid.push(Laid { key, seq, is_put, expires_at, value: version.value });
        }
        (self.interval, self.left) = (interval, self.laid.len());
        Ok(())
    }
}
