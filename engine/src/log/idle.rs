//! Files that seem to hold no segment of the log, looked at for one that has lost its opening.
//!
//! A segment's opening (header and checkpoint) is durable before the block behind it is issued, so any such block proves that the opening was
//! there. An opening with nothing behind it cannot be told from one that was never finished, until an edit of the manifest knows of it.

use highwater_runtime::{BLOCK, File};

use super::append::opening_bytes;
use super::block::{self, BlockHeader, Parsed};
use super::recovery::Candidate;
use super::scan::Scan;
use super::segment::ParsedSegment;
use super::state::LogState;
use super::verdict::{Expected, may_be_later};
use crate::error::EngineError;

/// How far behind its place the first block behind an opening is looked for, in bytes: the opening may have been of another size.
const MARGIN: u64 = 16 * BLOCK as u64;

/// Refuses when one of these files holds the segment behind the last one that was read.
///
/// # Errors
/// [`EngineError::Corruption`] naming the file; read errors.
pub(super) async fn check<F: File>(idle: &[Candidate<F>], state: &LogState<F>) -> Result<(), EngineError> {
    let newest = state.active().map_or(0, |(id, _)| id);
    for candidate in idle {
        let found = match damaged_header(candidate, newest, state.sequence).await? {
            None => lost_opening(candidate, state).await?,
            found => found,
        };
        if let Some(segment) = found {
            let what = format!("the opening of segment {segment} of the log is damaged: blocks behind it are there");
            return Err(EngineError::corruption(&candidate.path, 0, what));
        }
    }
    Ok(())
}

/// The newest segment under a header that cannot be read: its opening block is there, and another one behind that.
async fn damaged_header<F: File>(
    candidate: &Candidate<F>,
    newest: u64,
    sequence: u64,
) -> Result<Option<u64>, EngineError> {
    if candidate.header != ParsedSegment::Damaged {
        return Ok(None);
    }
    let mut scan = Scan::new(&candidate.file, &candidate.path, candidate.bytes);
    let (Parsed::Header(opening), _) = scan.block(BLOCK as u64).await? else { return Ok(None) };
    if opening.segment <= newest || opening.sequence < sequence {
        return Ok(None);
    }
    let behind = scan.block(BLOCK as u64 + opening.block_bytes() as u64).await?;
    let goes_on = matches!(behind, (Parsed::Header(BlockHeader { segment, .. }), _) if segment == opening.segment);
    Ok(goes_on.then_some(opening.segment))
}

/// The segment behind the last one, by a whole block of it that was issued after its opening.
async fn lost_opening<F: File>(candidate: &Candidate<F>, state: &LogState<F>) -> Result<Option<u64>, EngineError> {
    let Some((segment, salt)) = state.next_segment() else { return Ok(None) };
    let expected = Expected::first(segment, salt, state.sequence, state.previous);
    let mut scan = Scan::new(&candidate.file, &candidate.path, candidate.bytes);
    let end = candidate.bytes.min(opening_bytes(&state.groups) as u64 + MARGIN);
    let mut at = BLOCK as u64;
    while at + BLOCK as u64 <= end {
        scan.want(at, BLOCK).await?;
        let parsed = block::parse(scan.held(at, BLOCK).unwrap_or_default());
        if let Some(header) = may_be_later(parsed, &expected, (candidate.bytes - at) as usize) {
            let (_, block) = scan.block(at).await?;
            if block.is_some_and(|block| block::is_whole(block, &header, salt)) {
                return Ok(Some(segment));
            }
        }
        at += BLOCK as u64;
    }
    Ok(None)
}
