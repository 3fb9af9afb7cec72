//! What is around a table's data blocks: pointers, range deletes, footer.
//!
//! ```text
//! file     = data blocks | filters | index partitions | range deletes | top index | zero padding | footer, the last 4096 bytes
//! pointer  = offset u64 | stored length u32 | raw length u32 | codec u8 (0 none, 1 LZ4) | CRC-32 of the stored bytes u32
//! deletes  = count varint | count x { start prefixed | end prefixed | sequence varint }
//! footer   = "HWTB" | version u16, 2 | length u16 of what follows | table id u64 | top index, deletes: pointer each
//!            | properties | zero to 4092, then CRC-32 of the 4092 bytes before
//! ```
//!
//! The footer's checksum is also in the manifest: from there every byte of a table is checked by the pointer to it.

use bytes::Bytes;
use highwater_runtime::BLOCK;

use super::properties::Properties;
use crate::codec::{Malformed, Reader, patch, put_prefixed, put_varint};
use crate::ids::Seq;
use crate::tree::tombstone::Tombstone;

const MAGIC: [u8; 4] = *b"HWTB";
/// Format version written and read.
pub const VERSION: u16 = 2;
/// Bytes of a pointer.
pub(crate) const POINTER: usize = 21;

/// How stored bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Plain,
    /// LZ4 block format.
    Lz4,
}

/// Where something is in a table, and what its bytes must hash to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pointer {
    /// Offset in the file, bytes.
    pub offset: u64,
    /// Bytes in the file.
    pub stored: u32,
    /// Bytes in memory.
    pub raw: u32,
    /// How the one becomes the other.
    pub codec: Codec,
    /// CRC-32 of the bytes in the file.
    pub checksum: u32,
}

impl Pointer {
    /// Appends the pointer.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.offset.to_le_bytes());
        out.extend_from_slice(&self.stored.to_le_bytes());
        out.extend_from_slice(&self.raw.to_le_bytes());
        out.push(match self.codec {
            Codec::Plain => 0,
            Codec::Lz4 => 1,
        });
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let (offset, stored, raw) = (reader.u64()?, reader.u32()?, reader.u32()?);
        let unknown = reader.error("an unknown compression");
        let codec = match reader.u8()? {
            0 => Codec::Plain,
            1 => Codec::Lz4,
            _ => return Err(unknown),
        };
        Ok(Self { offset, stored, raw, codec, checksum: reader.u32()? })
    }

    /// Turns the stored bytes, already checked, into those of memory.
    ///
    /// # Errors
    /// When they do not decompress to their length.
    pub fn unpack(&self, stored: Bytes) -> Result<Bytes, Malformed> {
        match self.codec {
            Codec::Plain => Ok(stored),
            Codec::Lz4 => lz4_flex::block::decompress(&stored, self.raw as usize)
                .ok()
                .filter(|raw| raw.len() == self.raw as usize)
                .map(Bytes::from)
                .ok_or(Malformed { at: 0, what: "a block does not decompress" }),
        }
    }
}

/// The bytes of the range deletes.
pub(crate) fn encode_tombstones(tombstones: &[Tombstone]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, tombstones.len() as u64);
    for Tombstone { start, end, seq } in tombstones {
        put_prefixed(&mut out, start);
        put_prefixed(&mut out, end);
        put_varint(&mut out, seq.0);
    }
    out
}

/// Reads range deletes.
pub(crate) fn decode_tombstones(data: &Bytes) -> Result<Vec<Tombstone>, Malformed> {
    let mut reader = Reader::new(data);
    let count = reader.length()?;
    let mut tombstones = Vec::new();
    for _ in 0..count {
        let start = Bytes::copy_from_slice(reader.prefixed()?);
        let end = Bytes::copy_from_slice(reader.prefixed()?);
        tombstones.push(Tombstone { start, end, seq: Seq(reader.varint()?) });
    }
    Ok(tombstones)
}

/// The end of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Footer {
    /// The table's id.
    pub table: u64,
    /// The top of the index; its stored length is 0 when the table has no versions.
    pub top: Pointer,
    /// The range deletes.
    pub tombstones: Pointer,
    /// What the table holds.
    pub properties: Properties,
}

impl Footer {
    /// Writes the footer into the last block of a file and returns its checksum.
    pub(crate) fn encode(&self, block: &mut [u8]) -> u32 {
        let mut body = Vec::new();
        body.extend_from_slice(&self.table.to_le_bytes());
        self.top.put(&mut body);
        self.tombstones.put(&mut body);
        self.properties.put(&mut body);
        patch(block, 0, &MAGIC);
        patch(block, 4, &VERSION.to_le_bytes());
        patch(block, 6, &(body.len() as u16).to_le_bytes());
        patch(block, 8, &body);
        let checksum = crc32fast::hash(block.get(..BLOCK - 4).unwrap_or_default());
        patch(block, BLOCK - 4, &checksum.to_le_bytes());
        checksum
    }

    /// Reads a footer and its checksum, which is verified.
    ///
    /// # Errors
    /// On bytes that are no footer.
    pub fn decode(block: &[u8]) -> Result<(Self, u32), Malformed> {
        let checksum = Reader::starting_at(block, BLOCK - 4).u32()?;
        if crc32fast::hash(block.get(..BLOCK - 4).unwrap_or_default()) != checksum {
            return Err(Malformed { at: BLOCK - 4, what: "the footer does not match its checksum" });
        }
        let mut reader = Reader::new(block);
        if reader.take(4)? != MAGIC || reader.u16()? != VERSION {
            return Err(Malformed { at: 0, what: "not a table of this version" });
        }
        reader.u16()?;
        let footer = Self {
            table: reader.u64()?,
            top: Pointer::read(&mut reader)?,
            tombstones: Pointer::read(&mut reader)?,
            properties: Properties::read(&mut reader)?,
        };
        Ok((footer, checksum))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const POINTER_A: Pointer = Pointer { offset: 300, stored: 5, raw: 9, codec: Codec::Lz4, checksum: 0x0403_0201 };

    #[test]
    fn pointers_and_deletes_have_fixed_bytes() {
        let mut bytes = Vec::new();
        POINTER_A.put(&mut bytes);
        assert_eq!(bytes, b"\x2c\x01\0\0\0\0\0\0\x05\0\0\0\x09\0\0\0\x01\x01\x02\x03\x04");
        assert_eq!(bytes.len(), POINTER);
        assert_eq!(Pointer::read(&mut Reader::new(&bytes)), Ok(POINTER_A));
        let deletes = [Tombstone { start: Bytes::from_static(b"a"), end: Bytes::from_static(b"b"), seq: Seq(3) }];
        let bytes = encode_tombstones(&deletes);
        assert_eq!(bytes, b"\x01\x01a\x01b\x03");
        assert_eq!(decode_tombstones(&Bytes::from(bytes)).unwrap(), deletes);
    }

    #[test]
    fn a_footer_has_fixed_bytes_and_any_flipped_bit_is_noticed() {
        let properties = Properties { versions: 1, deletes: 2, range_deletes: 3, newest: 4, ..Properties::default() };
        let footer = Footer { table: 7, top: POINTER_A, tombstones: POINTER_A, properties };
        let mut block = vec![0; BLOCK];
        let checksum = footer.encode(&mut block);
        assert_eq!(&block[..16], b"HWTB\x02\0\x51\0\x07\0\0\0\0\0\0\0");
        assert_eq!(&block[16..20], b"\x2c\x01\0\0");
        assert_eq!(&block[58..62], b"\x01\x02\x03\0");
        assert_eq!(Footer::decode(&block), Ok((footer, checksum)));
        for at in [0, 9, 44, 4000, 4095] {
            block[at] ^= 1;
            assert!(Footer::decode(&block).is_err());
            block[at] ^= 1;
        }
    }

    #[test]
    fn no_bytes_make_the_decoders_panic() {
        fn property(bytes: Vec<u8>) -> bool {
            let _ = Footer::decode(&bytes);
            let bytes = Bytes::from(bytes);
            let _ = (decode_tombstones(&bytes), POINTER_A.unpack(bytes.clone()));
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>) -> bool);
    }
}
