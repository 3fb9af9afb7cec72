//! A segment file: its header block and its name.
//!
//! ```text
//! offset  0  magic          4 bytes "HWLS"
//!         4  version        u16, 2
//!         6  reserved       u16, 0
//!         8  database       u64
//!        16  store          u32
//!        20  previous       u32, checksum of the last block before this segment
//!        24  segment        u64, id, rising by one from segment to segment, never reused
//!        32  salt           u64, follows from the segment before, the first one's is random; mixed into the checksum of every block
//!        40  first          u64, sequence of the segment's first block: every block before it was durable
//!        48  bytes          u64, size of the segment
//!        56  manifest       u64, number of the newest manifest edit that was durable
//!        64  checksum       u32, CRC-32 of the 64 bytes before
//!         -  zero to 4096
//! ```
//!
//! The first 68 bytes lie in one disk sector, so a header is old or new, never mixed. Files are named by slot, `00000012.log`;
//! a slot's file lives on under other segment ids when it is recycled. Blocks of its former lives carry another segment
//! id, another salt and lower sequences.
//!
//! The first salt is random. Each other follows from the one before ([`next_salt`]), so recovery knows the salt that the segment behind the last one would
//! have, and knows its blocks even where its header is lost.

use std::path::{Path, PathBuf};

use crate::codec::{Malformed, Reader, patch};

/// First bytes of a segment.
pub const MAGIC: [u8; 4] = *b"HWLS";
/// Format version written and read.
pub const VERSION: u16 = 2;
/// Bytes covered by the header's checksum.
const CHECKED: usize = 64;

/// The salt of segment `id`, whose predecessor has the salt `before` and ends with a block of the checksum `previous`.
#[must_use]
pub fn next_salt(before: u64, previous: u32, id: u64) -> u64 {
    let mut bytes = [0; 12];
    patch(&mut bytes, 0, &previous.to_le_bytes());
    patch(&mut bytes, 4, &id.to_le_bytes());
    xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, before)
}

/// The fields of a segment's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentHeader {
    /// Identity of the database.
    pub database: u64,
    /// Number of the store.
    pub store: u32,
    /// Checksum of the last block before this segment.
    pub previous: u32,
    /// Segment id.
    pub segment: u64,
    /// Mixed into the checksum of every block.
    pub salt: u64,
    /// Sequence of the first block.
    pub first: u64,
    /// Size of the segment in bytes.
    pub bytes: u64,
    /// Newest manifest edit known durable when the segment was started.
    pub manifest: u64,
}

/// What a segment's first block looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParsedSegment {
    /// All zero: prepared, never used.
    Blank,
    /// A valid header.
    Header(SegmentHeader),
    /// Valid, of a version this release does not know.
    Newer(u16),
    /// Anything else.
    Damaged,
}

impl SegmentHeader {
    /// Writes the header at the start of `block`.
    pub fn encode(&self, block: &mut [u8]) {
        patch(block, 0, &MAGIC);
        patch(block, 4, &VERSION.to_le_bytes());
        patch(block, 6, &[0; 2]);
        patch(block, 8, &self.database.to_le_bytes());
        patch(block, 16, &self.store.to_le_bytes());
        patch(block, 20, &self.previous.to_le_bytes());
        patch(block, 24, &self.segment.to_le_bytes());
        patch(block, 32, &self.salt.to_le_bytes());
        patch(block, 40, &self.first.to_le_bytes());
        patch(block, 48, &self.bytes.to_le_bytes());
        patch(block, 56, &self.manifest.to_le_bytes());
        let checksum = crc32fast::hash(block.get(..CHECKED).unwrap_or_default());
        patch(block, CHECKED, &checksum.to_le_bytes());
    }

    /// Reads a segment's first block.
    #[must_use]
    pub fn parse(block: &[u8]) -> ParsedSegment {
        if block.iter().all(|byte| *byte == 0) {
            return ParsedSegment::Blank;
        }
        Self::read(block).unwrap_or(ParsedSegment::Damaged)
    }

    fn read(block: &[u8]) -> Result<ParsedSegment, Malformed> {
        let mut reader = Reader::new(block);
        let checked = reader.clone().take(CHECKED)?;
        if reader.take(4)? != MAGIC {
            return Ok(ParsedSegment::Damaged);
        }
        let version = reader.u16()?;
        reader.u16()?;
        let database = reader.u64()?;
        let store = reader.u32()?;
        let previous = reader.u32()?;
        let header = Self {
            database,
            store,
            previous,
            segment: reader.u64()?,
            salt: reader.u64()?,
            first: reader.u64()?,
            bytes: reader.u64()?,
            manifest: reader.u64()?,
        };
        if crc32fast::hash(checked) != reader.u32()? {
            return Ok(ParsedSegment::Damaged);
        }
        Ok(if version == VERSION { ParsedSegment::Header(header) } else { ParsedSegment::Newer(version) })
    }
}

/// The file of a slot.
#[must_use]
pub fn path(folder: &Path, slot: u64) -> PathBuf {
    folder.join(format!("{slot:08}.log"))
}

/// The slot of a file name, if it is one of the log's.
#[must_use]
pub fn slot(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    name.strip_suffix(".log")?.parse().ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_header_has_fixed_bytes() {
        let header = SegmentHeader {
            database: 1,
            store: 2,
            previous: 3,
            segment: 4,
            salt: 5,
            first: 6,
            bytes: 65536,
            manifest: 8,
        };
        let mut block = vec![0; 4096];
        header.encode(&mut block);
        assert_eq!(&block[..24], b"HWLS\x02\0\0\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x03\0\0\0");
        assert_eq!(&block[48..56], &65536u64.to_le_bytes());
        assert_eq!(&block[64..68], &crc32fast::hash(&block[..64]).to_le_bytes());
        assert_eq!(SegmentHeader::parse(&block), ParsedSegment::Header(header));
        block[9] ^= 1;
        assert_eq!(SegmentHeader::parse(&block), ParsedSegment::Damaged);
        assert_eq!(SegmentHeader::parse(&[0; 4096]), ParsedSegment::Blank);
    }

    #[test]
    fn names_and_slots_match() {
        assert_eq!(slot(&path(Path::new("/d"), 12)), Some(12));
        assert_eq!(slot(Path::new("/d/MANIFEST-1")), None);
    }
}
