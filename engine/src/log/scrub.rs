//! Reading closed segments again, a piece at a time, to find damage before recovery would.

use std::rc::Rc;

use highwater_runtime::{BLOCK, Env, File};

use super::Log;
use super::block::Parsed;
use super::scan::Scan;
use super::segment::{ParsedSegment, SegmentHeader};
use super::verdict::{Expected, Found, inspect};
use crate::error::EngineError;

/// Bytes of blocks looked at in one step, at least.
const STEP: u64 = 256 << 10;

/// How far a closed segment was read.
pub(crate) struct SegmentScrub {
    segment: u64,
    at: u64,
    expected: Expected,
}

impl<E: Env> Log<E> {
    /// Segments that are not written any more, oldest first, each with its bytes in use.
    pub(crate) fn closed_segments(&self) -> Vec<(u64, u64)> {
        let state = self.state.borrow();
        let active = state.active().map(|(id, _)| id);
        let closed = state.segments.iter().filter(|(id, _)| Some(**id) != active);
        closed.map(|(id, segment)| (*id, segment.used)).collect()
    }

    /// Begins to read a segment; `None` when there is no such segment any more.
    pub(crate) fn begin_scrub(&self, segment: u64) -> Option<SegmentScrub> {
        let state = self.state.borrow();
        let held = state.segments.get(&segment)?;
        let expected = Expected::first(segment, held.salt, held.first, held.previous);
        Some(SegmentScrub { segment, at: 0, expected })
    }

    /// Reads and checks the next piece. Returns its bytes; `None` at the end or when the segment was freed meanwhile.
    ///
    /// # Errors
    /// [`EngineError::Corruption`] for damage, after which only a damaged header can be gone on from; read errors.
    pub(crate) async fn scrub_step(&self, scrub: &mut SegmentScrub) -> Result<Option<u64>, EngineError> {
        let found =
            self.state.borrow().segments.get(&scrub.segment).map(|s| (Rc::clone(&s.file), s.path.clone(), s.used));
        let Some((file, path, used)) = found else { return Ok(None) };
        if scrub.at >= used {
            return Ok(None);
        }
        let from = scrub.at;
        // A freed segment may be written anew while it is read: then what was read says nothing.
        let live = || self.state.borrow().segments.contains_key(&scrub.segment);
        if from == 0 {
            let block = file.read_at(0, BLOCK).await.map_err(|error| EngineError::io("read", &path, &error))?;
            if !live() {
                return Ok(None);
            }
            scrub.at = BLOCK as u64;
            let whole = matches!(SegmentHeader::parse(&block), ParsedSegment::Header(header)
                if (header.segment, header.salt) == (scrub.segment, scrub.expected.salt));
            if !whole {
                return Err(EngineError::corruption(&path, 0, "the header of a log segment is not what was written"));
            }
            return Ok(Some(BLOCK as u64));
        }
        let mut scan = Scan::new(&*file, &path, used);
        while scrub.at < used && scrub.at - from < STEP {
            let (parsed, block) = scan.block(scrub.at).await?;
            let found = inspect(parsed, block, &scrub.expected);
            let (Found::Expected, Parsed::Header(header)) = (found, parsed) else {
                if !self.state.borrow().segments.contains_key(&scrub.segment) {
                    return Ok(None);
                }
                return Err(EngineError::corruption(&path, scrub.at, "a block of the log does not match its checksum"));
            };
            scrub.at += header.block_bytes() as u64;
            scrub.expected.pass(&header);
            self.env.yield_if_needed().await;
        }
        Ok(Some(scrub.at - from))
    }
}
