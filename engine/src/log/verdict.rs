//! The truth table of recovery: what a place in the log that should hold the next block means.
//!
//! One block is in flight at a time, and each is durable before the next is issued. Hence a place that does not hold the
//! expected block is the end of the log, unless something was written after it: then the place was durable, maybe
//! acknowledged, and what it held is damaged.
//!
//! | found at the place                                   | nothing later | a later block or segment |
//! |------------------------------------------------------|---------------|--------------------------|
//! | the expected block, whole                             | accept        | accept                   |
//! | nothing: zeros                                        | end           | refuse                   |
//! | a block of a former life of the segment               | end           | refuse                   |
//! | a block of this segment or noise, checksum wrong      | drop the tail | refuse                   |
//! | a whole block of this segment, but not the next one   | refuse        | refuse                   |
//!
//! *Dropping* is not truncating: the bytes stay, a new segment is started, and its header proves where the old one ended.

use super::block::{BlockHeader, Parsed, is_whole, parse};
use highwater_runtime::BLOCK;

/// What was found where the next block should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// The next block, whole.
    Expected,
    /// Zeros.
    Blank,
    /// A block of a former life of the segment.
    Stale,
    /// Bytes with a wrong checksum, or none.
    Torn,
    /// A whole block of this segment that belongs elsewhere: another offset, sequence or predecessor.
    Misplaced,
}

/// What exists beyond the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Later {
    /// Nothing that was written after it.
    Nothing,
    /// A whole block of the same segment with a higher sequence.
    Block,
    /// A segment that was started after it.
    Segment,
}

/// What recovery does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Take the block and go on behind it.
    Accept,
    /// The log ends here.
    End,
    /// The log ends here; an unfinished, never acknowledged write is left out.
    DropTail,
    /// Durable data is damaged: do not open.
    Refuse,
}

/// The table.
#[must_use]
pub const fn classify(found: Found, later: Later) -> Verdict {
    match (found, later) {
        (Found::Expected, Later::Nothing | Later::Block | Later::Segment) => Verdict::Accept,
        (Found::Blank | Found::Stale, Later::Nothing) => Verdict::End,
        (Found::Torn, Later::Nothing) => Verdict::DropTail,
        (Found::Blank | Found::Stale | Found::Torn, Later::Block | Later::Segment) => Verdict::Refuse,
        (Found::Misplaced, Later::Nothing | Later::Block | Later::Segment) => Verdict::Refuse,
    }
}

/// Where a scan stands and what it expects next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expected {
    /// Id of the segment that is scanned.
    pub segment: u64,
    /// Its salt.
    pub salt: u64,
    /// Where the next block begins, in bytes from the start of the segment's file.
    pub offset: u64,
    /// Sequence of the next block.
    pub sequence: u64,
    /// Checksum of the block before.
    pub previous: u32,
}

impl Expected {
    /// The first block of a segment: behind the header.
    #[must_use]
    pub const fn first(segment: u64, salt: u64, sequence: u64, previous: u32) -> Self {
        Self { segment, salt, offset: BLOCK as u64, sequence, previous }
    }

    /// Expects what follows the block that was found.
    pub const fn pass(&mut self, found: &BlockHeader) {
        self.offset += found.block_bytes() as u64;
        self.sequence += 1;
        self.previous = found.checksum;
    }
}

/// Looks at `header` and, if it was read, the whole `block` where the next block should be.
/// `block` is `None` when the length in the header reaches beyond the segment.
#[must_use]
pub fn inspect(parsed: Parsed, block: Option<&[u8]>, expected: &Expected) -> Found {
    let header = match parsed {
        Parsed::Blank => return Found::Blank,
        Parsed::Garbage => return Found::Torn,
        Parsed::Header(header) => header,
    };
    if header.segment != expected.segment {
        // Whether it is whole cannot be told: the salt of a former life is gone with its header.
        return if header.segment < expected.segment { Found::Stale } else { Found::Torn };
    }
    match block {
        Some(block) if is_whole(block, &header, expected.salt) => {
            let found = (header.offset, header.sequence, header.previous);
            if found == (expected.offset, expected.sequence, expected.previous) {
                Found::Expected
            } else {
                Found::Misplaced
            }
        }
        Some(_) | None => Found::Torn,
    }
}

/// Whether a header seen beyond the place could be of a block that was written after it.
#[must_use]
pub fn may_be_later(parsed: Parsed, expected: &Expected, room: usize) -> Option<BlockHeader> {
    match parsed {
        Parsed::Header(header)
            if header.segment == expected.segment
                && header.sequence > expected.sequence
                && header.durable >= expected.sequence
                && header.block_bytes() <= room =>
        {
            Some(header)
        }
        Parsed::Header(_) | Parsed::Blank | Parsed::Garbage => None,
    }
}

/// Decodes the records of every block at the start of `segment`, whose first byte lies at `expected.offset`, as recovery would, and
/// says where it stops.
/// The pure heart of recovery over bytes in memory, for fuzzing and inspection.
#[must_use]
pub fn scan_bytes(segment: &[u8], mut expected: Expected) -> (usize, Found) {
    let mut at = 0;
    loop {
        let rest = segment.get(at..).unwrap_or_default();
        if rest.len() < BLOCK {
            return (at, Found::Blank);
        }
        let parsed = parse(rest);
        let block = match parsed {
            Parsed::Header(header) => rest.get(..header.block_bytes()),
            Parsed::Blank | Parsed::Garbage => None,
        };
        let found = inspect(parsed, block, &expected);
        let (Found::Expected, Parsed::Header(header), Some(block)) = (found, parsed, block) else {
            return (at, found);
        };
        let payload = block.get(super::block::HEADER..super::block::HEADER + header.length as usize);
        let payload = bytes::Bytes::copy_from_slice(payload.unwrap_or_default());
        if super::record::decode(&payload, header.records).is_err() {
            return (at, Found::Misplaced);
        }
        expected.pass(&header);
        at += block.len();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::super::block::{block_bytes, seal_block};
    use super::*;

    #[test]
    fn the_truth_table_holds_in_every_row() {
        use Found::{Blank, Expected, Misplaced, Stale, Torn};
        use Later::{Block, Nothing, Segment};
        use Verdict::{Accept, DropTail, End, Refuse};
        let rows = [
            (Expected, [Accept, Accept, Accept]),
            (Blank, [End, Refuse, Refuse]),
            (Stale, [End, Refuse, Refuse]),
            (Torn, [DropTail, Refuse, Refuse]),
            (Misplaced, [Refuse, Refuse, Refuse]),
        ];
        for (found, verdicts) in rows {
            for (later, verdict) in [Nothing, Block, Segment].into_iter().zip(verdicts) {
                assert_eq!(classify(found, later), verdict, "{found:?} {later:?}");
            }
        }
    }

    fn block(segment: u64, sequence: u64, previous: u32, salt: u64) -> (Vec<u8>, u32) {
        block_at(4096 * (sequence - 9), segment, sequence, previous, salt)
    }

    fn block_at(offset: u64, segment: u64, sequence: u64, previous: u32, salt: u64) -> (Vec<u8>, u32) {
        let mut block = vec![0; block_bytes(0)];
        let header = BlockHeader {
            flags: 1,
            length: 0,
            records: 0,
            segment,
            sequence,
            durable: sequence - 1,
            offset,
            previous,
            checksum: 0,
        };
        let checksum = seal_block(&mut block, &header, salt);
        (block, checksum)
    }

    #[test]
    fn each_kind_of_find_is_recognised() {
        let expected = Expected::first(5, 1, 10, 77);
        let see = |bytes: &[u8]| inspect(parse(bytes), Some(bytes), &expected);
        assert_eq!(see(&block(5, 10, 77, 1).0), Found::Expected);
        assert_eq!(see(&[0; 4096]), Found::Blank);
        assert_eq!(see(&[9; 4096]), Found::Torn);
        assert_eq!(see(&block_at(4096, 4, 3, 0, 9).0), Found::Stale);
        assert_eq!(see(&block(6, 10, 77, 1).0), Found::Torn, "a segment that does not exist yet");
        assert_eq!(see(&block(5, 10, 77, 2).0), Found::Torn, "another salt");
        assert_eq!(see(&block_at(4096, 5, 11, 77, 1).0), Found::Misplaced);
        assert_eq!(see(&block_at(8192, 5, 10, 77, 1).0), Found::Misplaced, "the right block at another place");
        assert_eq!(see(&block(5, 10, 78, 1).0), Found::Misplaced);
        let mut torn = block(5, 10, 77, 1).0;
        torn[4000] = 1;
        assert_eq!(see(&torn), Found::Torn);
    }

    #[test]
    fn only_a_block_issued_after_the_place_was_durable_proves_anything() {
        let expected = Expected::first(5, 1, 10, 77);
        let proof = |bytes: &[u8]| may_be_later(parse(bytes), &expected, 4096).is_some();
        assert!(proof(&block(5, 11, 0, 1).0));
        assert!(!proof(&block(5, 10, 0, 1).0));
        assert!(!proof(&block(4, 11, 0, 1).0));
    }

    #[test]
    fn a_scan_goes_as_far_as_the_chain_holds() {
        let (first, sum) = block(5, 10, 77, 1);
        let (second, _) = block(5, 11, sum, 1);
        let mut segment = [first, second].concat();
        segment.resize(4 * 4096, 0);
        let expected = Expected::first(5, 1, 10, 77);
        assert_eq!(scan_bytes(&segment, expected), (8192, Found::Blank));
        segment[4096 + 60] = 1;
        assert_eq!(scan_bytes(&segment, expected), (4096, Found::Torn));
    }
}
