//! What is around a table's data blocks: pointers, index, range deletes, footer.
//!
//! ```text
//! file     = data blocks | filter | range deletes | index | zero padding | footer, the last 4096 bytes
//! pointer  = offset varint | stored length varint | raw length varint | codec u8 (0 none, 1 LZ4) | CRC-32 of the stored bytes u32
//! index    = count varint | count x { last key of the block, prefixed | pointer }
//! deletes  = count varint | count x { start prefixed | end prefixed | sequence varint }
//! footer   = "HWTB" | version u16, 1 | length u16 of what follows | table id u64 | index, filter, deletes: pointer each
//!            | versions varint | point deletes varint | range deletes varint | oldest sequence varint | newest sequence varint
//!            | versions that expire varint | first expiry varint | last expiry varint
//!            zero to 4092, then CRC-32 of the 4092 bytes before
//! ```
//!
//! The footer's checksum is also in the manifest: from there every byte of a table is checked by the pointer to it.

use bytes::Bytes;
use highwater_runtime::BLOCK;

use crate::codec::{Malformed, Reader, patch, put_prefixed, put_varint};
use crate::ids::{Expiry, Seq};
use crate::tree::tombstone::Tombstone;

const MAGIC: [u8; 4] = *b"HWTB";
/// Format version written and read.
pub const VERSION: u16 = 1;

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
        put_varint(out, self.offset);
        put_varint(out, u64::from(self.stored));
        put_varint(out, u64::from(self.raw));
        out.push(match self.codec {
            Codec::Plain => 0,
            Codec::Lz4 => 1,
        });
        out.extend_from_slice(&self.checksum.to_le_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        let offset = reader.varint()?;
        let long = reader.error("a length exceeds 32 bits");
        let stored = u32::try_from(reader.varint()?).map_err(|_| long)?;
        let raw = u32::try_from(reader.varint()?).map_err(|_| long)?;
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

/// One data block in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The last key of the block.
    pub last_key: Bytes,
    /// Where the block is.
    pub pointer: Pointer,
}

/// The index's bytes.
pub(crate) fn encode_index(entries: &[IndexEntry]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, entries.len() as u64);
    for entry in entries {
        put_prefixed(&mut out, &entry.last_key);
        entry.pointer.put(&mut out);
    }
    out
}

/// Reads an index.
///
/// # Errors
/// On bytes that are no index.
pub fn decode_index(data: &Bytes) -> Result<Vec<IndexEntry>, Malformed> {
    let mut reader = Reader::new(data);
    let count = reader.length()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let key = reader.prefixed()?;
        let end = reader.position();
        let last_key = data.slice(end - key.len()..end);
        entries.push(IndexEntry { last_key, pointer: Pointer::read(&mut reader)? });
    }
    Ok(entries)
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
    /// The index.
    pub index: Pointer,
    /// The filter.
    pub filter: Pointer,
    /// The range deletes.
    pub tombstones: Pointer,
    /// Number of versions.
    pub entries: u64,
    /// Number of them that are deletes.
    pub deletes: u64,
    /// Number of range deletes.
    pub range_deletes: u64,
    /// The oldest sequence number.
    pub oldest: u64,
    /// The newest sequence number.
    pub newest: u64,
    /// Number of versions that expire.
    pub expiring: u64,
    /// When the first of them has expired; never when there is none.
    pub first_expiry: Expiry,
    /// When the last of them has expired; never when there is none.
    pub last_expiry: Expiry,
}

impl Footer {
    /// Writes the footer into the last block of a file and returns its checksum.
    pub(crate) fn encode(&self, block: &mut [u8]) -> u32 {
        let mut body = Vec::new();
        body.extend_from_slice(&self.table.to_le_bytes());
        self.index.put(&mut body);
        self.filter.put(&mut body);
        self.tombstones.put(&mut body);
        for number in [self.entries, self.deletes, self.range_deletes, self.oldest, self.newest, self.expiring] {
            put_varint(&mut body, number);
        }
        put_varint(&mut body, self.first_expiry.0);
        put_varint(&mut body, self.last_expiry.0);
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
            index: Pointer::read(&mut reader)?,
            filter: Pointer::read(&mut reader)?,
            tombstones: Pointer::read(&mut reader)?,
            entries: reader.varint()?,
            deletes: reader.varint()?,
            range_deletes: reader.varint()?,
            oldest: reader.varint()?,
            newest: reader.varint()?,
            expiring: reader.varint()?,
            first_expiry: Expiry(reader.varint()?),
            last_expiry: Expiry(reader.varint()?),
        };
        Ok((footer, checksum))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    const POINTER: Pointer = Pointer { offset: 300, stored: 5, raw: 9, codec: Codec::Lz4, checksum: 0x0403_0201 };

    #[test]
    fn index_and_deletes_have_fixed_bytes() {
        let index = [IndexEntry { last_key: Bytes::from_static(b"k"), pointer: POINTER }];
        let bytes = encode_index(&index);
        assert_eq!(bytes, b"\x01\x01k\xac\x02\x05\x09\x01\x01\x02\x03\x04");
        assert_eq!(decode_index(&Bytes::from(bytes)).unwrap(), index);
        let deletes = [Tombstone { start: Bytes::from_static(b"a"), end: Bytes::from_static(b"b"), seq: Seq(3) }];
        let bytes = encode_tombstones(&deletes);
        assert_eq!(bytes, b"\x01\x01a\x01b\x03");
        assert_eq!(decode_tombstones(&Bytes::from(bytes)).unwrap(), deletes);
    }

    #[test]
    fn a_footer_has_fixed_bytes_and_any_flipped_bit_is_noticed() {
        let footer = Footer {
            table: 7,
            index: POINTER,
            filter: POINTER,
            tombstones: POINTER,
            entries: 1,
            deletes: 2,
            range_deletes: 3,
            oldest: 4,
            newest: 5,
            expiring: 6,
            first_expiry: Expiry(7),
            last_expiry: Expiry(8),
        };
        let mut block = vec![0; BLOCK];
        let checksum = footer.encode(&mut block);
        assert_eq!(&block[..16], b"HWTB\x01\0\x2b\0\x07\0\0\0\0\0\0\0");
        assert_eq!(&block[16..25], b"\xac\x02\x05\x09\x01\x01\x02\x03\x04");
        assert_eq!(&block[43..52], b"\x01\x02\x03\x04\x05\x06\x07\x08\0");
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
            let _ = (decode_index(&bytes), decode_tombstones(&bytes), POINTER.unpack(bytes.clone()));
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>) -> bool);
    }
}
