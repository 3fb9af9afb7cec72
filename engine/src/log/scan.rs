//! A window that slides over a segment file while it is scanned; and the same scan over bytes in memory.

use std::path::Path;

use highwater_runtime::{AlignedBuf, BLOCK, File};

use super::block::{self, Parsed};
use super::segment::{ParsedSegment, SegmentHeader};
use super::verdict::{self, Expected, Found};
use crate::error::EngineError;

/// Bytes read at once while scanning.
const WINDOW: usize = 1 << 20;

/// A sliding window over a segment.
pub(crate) struct Scan<'a, F> {
    file: &'a F,
    path: &'a Path,
    /// The segment's length in bytes.
    pub(crate) end: u64,
    window: AlignedBuf,
    /// Offset of the window in the file.
    start: u64,
    /// Bytes of the window that were read.
    len: usize,
}

impl<'a, F: File> Scan<'a, F> {
    pub(crate) fn new(file: &'a F, path: &'a Path, end: u64) -> Self {
        Self { file, path, end, window: AlignedBuf::zeroed(BLOCK), start: 0, len: 0 }
    }

    /// Moves the window so that it holds `len` bytes at `at`.
    pub(crate) async fn want(&mut self, at: u64, len: usize) -> Result<(), EngineError> {
        if at >= self.start && at + len as u64 <= self.start + self.len as u64 {
            return Ok(());
        }
        let read = WINDOW.max(len).min((self.end - at) as usize);
        self.window = self.file.read_at(at, read).await.map_err(|e| EngineError::io("read", self.path, &e))?;
        self.start = at;
        self.len = read;
        Ok(())
    }

    /// So many bytes at `at`, if the window holds them.
    pub(crate) fn held(&self, at: u64, len: usize) -> Option<&[u8]> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        self.window.get(from..from.checked_add(len)?)
    }

    /// What lies at `at`: the header, and the whole block if its length stays within the segment.
    pub(crate) async fn block(&mut self, at: u64) -> Result<(Parsed, Option<&[u8]>), EngineError> {
        if at + BLOCK as u64 > self.end {
            return Ok((Parsed::Blank, None));
        }
        self.want(at, BLOCK).await?;
        let parsed = block::parse(self.held(at, BLOCK).unwrap_or_default());
        let Parsed::Header(header) = parsed else { return Ok((parsed, None)) };
        let len = header.block_bytes();
        if at.saturating_add(len as u64) > self.end {
            return Ok((parsed, None));
        }
        self.want(at, len).await?;
        Ok((parsed, self.held(at, len)))
    }
}

/// What a scan over a segment in memory finds; for offline inspection and fuzzing.
#[must_use]
pub fn scan_segment_bytes(bytes: &[u8]) -> Option<(usize, Found)> {
    let ParsedSegment::Header(header) = SegmentHeader::parse(bytes.get(..BLOCK)?) else { return None };
    let expected = Expected::first(header.segment, header.salt, header.first, header.previous);
    Some(verdict::scan_bytes(bytes.get(BLOCK..)?, expected))
}
