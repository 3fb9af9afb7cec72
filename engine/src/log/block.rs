//! The commit block: what one append writes, in one write.
//!
//! ```text
//! offset  0  magic         4 bytes "HWLB"
//!         4  version       u16, 2
//!         6  flags         u16, bit 0: a seal (no records), bit 1: the checkpoint that opens a segment
//!         8  length        u32, payload bytes
//!        12  records       u32, records in the payload
//!        16  segment       u64, id of the segment, never reused
//!        24  sequence      u64, number of the block within the store, rising by one
//!        32  durable       u64, every block up to this sequence was durable before this one was issued
//!        40  offset        u64, where in the segment's file the block begins
//!        48  previous      u32, checksum of the block before, across segments
//!        52  checksum      u32, CRC-32 of the segment's salt and the whole block without this field
//!        56  payload       records, see `record`
//!         -  zero padding to a multiple of 4096
//! ```
//!
//! Little-endian. Acknowledged bytes are never written again: the next block starts at the next multiple of 4096. The salt
//! is random and lives in the segment's header, so bytes of a user's value never pass for a block. Salt, segment and offset say where
//! the block belongs: one that a write or a read led astray is whole and still not taken for the one that should be there.

use highwater_runtime::BLOCK;

use crate::codec::{Malformed, Reader, patch};

/// First bytes of a block.
pub const MAGIC: [u8; 4] = *b"HWLB";
/// Format version written and read.
pub const VERSION: u16 = 2;
/// Bytes before the payload.
pub const HEADER: usize = 56;
/// Flag of an empty block that only proves that everything before it was durable.
pub const SEAL: u16 = 1;
/// Flag of the block that opens a segment and repeats the state of every group.
pub const CHECKPOINT: u16 = 2;

const CHECKSUM_AT: usize = 52;

/// The fields of a block's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// [`SEAL`], [`CHECKPOINT`] or 0.
    pub flags: u16,
    /// Payload bytes.
    pub length: u32,
    /// Records in the payload.
    pub records: u32,
    /// Segment id.
    pub segment: u64,
    /// Number of the block within the store.
    pub sequence: u64,
    /// Blocks up to this sequence were durable before this one was issued.
    pub durable: u64,
    /// Where in the segment's file the block begins, in bytes.
    pub offset: u64,
    /// Checksum of the block before.
    pub previous: u32,
    /// Checksum of this block.
    pub checksum: u32,
}

/// What the bytes at a block boundary look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// All zero: never written.
    Blank,
    /// Looks like a header; its checksum is yet to be verified.
    Header(BlockHeader),
    /// Anything else.
    Garbage,
}

impl BlockHeader {
    /// Bytes of the whole block, padding included.
    #[must_use]
    pub const fn block_bytes(&self) -> usize {
        block_bytes(self.length as usize)
    }
}

/// Bytes of a block with that much payload.
#[must_use]
pub const fn block_bytes(payload: usize) -> usize {
    (HEADER + payload).next_multiple_of(BLOCK)
}

/// Writes the header of `block`, whose payload and zero padding are in place, and returns its checksum.
/// `header.checksum` is ignored.
pub fn seal_block(block: &mut [u8], header: &BlockHeader, salt: u64) -> u32 {
    patch(block, 0, &MAGIC);
    patch(block, 4, &VERSION.to_le_bytes());
    patch(block, 6, &header.flags.to_le_bytes());
    patch(block, 8, &header.length.to_le_bytes());
    patch(block, 12, &header.records.to_le_bytes());
    patch(block, 16, &header.segment.to_le_bytes());
    patch(block, 24, &header.sequence.to_le_bytes());
    patch(block, 32, &header.durable.to_le_bytes());
    patch(block, 40, &header.offset.to_le_bytes());
    patch(block, 48, &header.previous.to_le_bytes());
    let checksum = checksum(block, salt);
    patch(block, CHECKSUM_AT, &checksum.to_le_bytes());
    checksum
}

/// The checksum that `block`, a whole block, should carry.
#[must_use]
pub fn checksum(block: &[u8], salt: u64) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&salt.to_le_bytes());
    hasher.update(block.get(..CHECKSUM_AT).unwrap_or_default());
    hasher.update(block.get(HEADER..).unwrap_or_default());
    hasher.finalize()
}

/// Reads the header at the start of `bytes`.
#[must_use]
pub fn parse(bytes: &[u8]) -> Parsed {
    match bytes.get(..HEADER) {
        None => Parsed::Garbage,
        Some(head) if head.iter().all(|byte| *byte == 0) => Parsed::Blank,
        Some(head) => read_header(head).map_or(Parsed::Garbage, Parsed::Header),
    }
}

fn read_header(head: &[u8]) -> Result<BlockHeader, Malformed> {
    let mut reader = Reader::new(head);
    if reader.take(4)? != MAGIC || reader.u16()? != VERSION {
        return Err(Malformed { at: 0, what: "not a block of the log" });
    }
    Ok(BlockHeader {
        flags: reader.u16()?,
        length: reader.u32()?,
        records: reader.u32()?,
        segment: reader.u64()?,
        sequence: reader.u64()?,
        durable: reader.u64()?,
        offset: reader.u64()?,
        previous: reader.u32()?,
        checksum: reader.u32()?,
    })
}

/// Whether `block` (a whole block) carries its checksum.
#[must_use]
pub fn is_whole(block: &[u8], header: &BlockHeader, salt: u64) -> bool {
    block.len() == header.block_bytes() && checksum(block, salt) == header.checksum
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    fn example() -> (Vec<u8>, BlockHeader) {
        let mut block = vec![0; block_bytes(3)];
        block[HEADER..HEADER + 3].copy_from_slice(b"abc");
        let mut header = BlockHeader {
            flags: 0,
            length: 3,
            records: 1,
            segment: 7,
            sequence: 9,
            durable: 8,
            offset: 0x2000,
            previous: 0x0102_0304,
            checksum: 0,
        };
        header.checksum = seal_block(&mut block, &header, 5);
        (block, header)
    }

    #[test]
    fn a_block_has_fixed_bytes() {
        let (block, header) = example();
        assert_eq!(block.len(), 4096);
        let mut expected = Vec::new();
        expected.extend_from_slice(b"HWLB\x02\0\0\0\x03\0\0\0\x01\0\0\0");
        expected.extend_from_slice(b"\x07\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0");
        expected.extend_from_slice(b"\0\x20\0\0\0\0\0\0\x04\x03\x02\x01");
        expected.extend_from_slice(&0x254e_8e6f_u32.to_le_bytes());
        expected.extend_from_slice(b"abc\0");
        assert_eq!(&block[..60], &expected[..], "checksum {:#x}", header.checksum);
        assert_eq!(parse(&block), Parsed::Header(header));
        assert!(is_whole(&block, &header, 5));
    }

    #[test]
    fn any_flipped_bit_and_any_other_salt_is_noticed() {
        let (block, header) = example();
        assert!(!is_whole(&block, &header, 6));
        for at in (0..64).chain([4095]) {
            let mut damaged = block.clone();
            damaged[at] ^= 1;
            let seen = match parse(&damaged) {
                Parsed::Header(header) => is_whole(&damaged, &header, 5),
                Parsed::Blank | Parsed::Garbage => false,
            };
            assert!(!seen, "byte {at}");
        }
    }

    #[test]
    fn zeros_are_blank_and_noise_is_garbage() {
        assert_eq!(parse(&[0; 4096]), Parsed::Blank);
        assert_eq!(parse(&[1; 4096]), Parsed::Garbage);
        assert_eq!(parse(&[0; 4]), Parsed::Garbage);
    }
}
