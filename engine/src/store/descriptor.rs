//! The descriptor of prepared tables: which there are, and from what every byte of them is checked.
//!
//! ```text
//! file "EXPORT", written last, zero to a multiple of 4096:
//!  0 "HWEX" | 4 version u16 = 1 | 6 reserved u16 | 8 length of the body u32 | 12 CRC-32 of body and the 12 bytes before u32
//! 16 body    = database u64 | range start prefixed | bounded u8 | range end prefixed, only if bounded is 1
//!            | tables varint | tables x table
//!    table   = id varint | start prefixed | end prefixed | footer offset varint | footer checksum u32 | versions varint
//!            | expiring varint | first expiry varint, last expiry varint, both only if expiring is not 0
//! ```
//!
//! The tables are files as in a store, `000000000001.tbl` and so on: in key order, disjoint, within the range, one put of each
//! key with sequence 0, no deletes. The descriptor holds each footer's checksum, so from it every byte is checked.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::codec::{Malformed, Reader, patch, put_prefixed, put_varint};
use crate::ids::Expiry;
use crate::manifest::TableMeta;
use crate::manifest::edit::check_sizes;
use crate::tree::cursor::KeyRange;

const MAGIC: [u8; 4] = *b"HWEX";
/// Format version written and read.
pub const VERSION: u16 = 1;
/// Bytes before the body.
const HEADER: usize = 16;

/// What a descriptor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The database whose tables these are.
    pub database: u64,
    /// The range of keys whose whole state they hold.
    pub range: KeyRange,
    /// The tables, in key order.
    pub tables: Vec<TableMeta>,
}

impl Descriptor {
    /// The descriptor's bytes, without the zeros behind them.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEADER];
        out.extend_from_slice(&self.database.to_le_bytes());
        put_prefixed(&mut out, &self.range.start);
        out.push(u8::from(self.range.end.is_some()));
        if let Some(end) = &self.range.end {
            put_prefixed(&mut out, end);
        }
        put_varint(&mut out, self.tables.len() as u64);
        for meta in &self.tables {
            put_varint(&mut out, meta.table);
            put_prefixed(&mut out, &meta.start);
            put_prefixed(&mut out, &meta.end);
            put_varint(&mut out, meta.footer_at);
            out.extend_from_slice(&meta.checksum.to_le_bytes());
            put_varint(&mut out, meta.entries);
            put_varint(&mut out, meta.expiring);
            if meta.expiring > 0 {
                put_varint(&mut out, meta.first_expiry.0);
                put_varint(&mut out, meta.last_expiry.0);
            }
        }
        let length = (out.len() - HEADER) as u32;
        patch(&mut out, 0, &MAGIC);
        patch(&mut out, 4, &VERSION.to_le_bytes());
        patch(&mut out, 8, &length.to_le_bytes());
        seal(&mut out);
        out
    }

    /// Reads a descriptor: whole, of this version, and with tables in order, disjoint and within the range.
    ///
    /// # Errors
    /// On any other bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut header = Reader::new(bytes);
        let foreign = header.error("this is no descriptor of prepared tables");
        if header.take(4)? != MAGIC || header.u16()? != VERSION {
            return Err(foreign);
        }
        header.u16()?;
        let length = header.u32()? as usize;
        let claimed = header.u32()?;
        header.take(length)?;
        let whole = bytes.get(..HEADER + length).unwrap_or_default();
        if checksum(whole) != claimed {
            return Err(Malformed { at: 12, what: "the descriptor does not match its checksum" });
        }
        let mut reader = Reader::starting_at(whole, HEADER);
        let database = reader.u64()?;
        let start = Bytes::copy_from_slice(reader.prefixed()?);
        let end = match reader.u8()? {
            0 => None,
            1 => Some(Bytes::copy_from_slice(reader.prefixed()?)),
            _ => return Err(reader.error("a range is bounded or not")),
        };
        let range = KeyRange { start, end };
        let mut tables: Vec<TableMeta> = Vec::new();
        let mut names = BTreeSet::new();
        for _ in 0..reader.length()? {
            let meta = read_table(&mut reader)?;
            let before = tables.last().map_or(&range.start, |before| &before.end);
            let inside = meta.start < meta.end && range.end.as_ref().is_none_or(|end| meta.end <= *end);
            if meta.start < *before || !inside {
                return Err(reader.error("a prepared table overlaps another or reaches beyond the range"));
            }
            if !names.insert(meta.table) {
                return Err(reader.error("two prepared tables have one name"));
            }
            tables.push(meta);
        }
        if !reader.is_empty() {
            return Err(reader.error("bytes behind the last prepared table"));
        }
        Ok(Self { database, range, tables })
    }
}

/// The format version of what begins like a descriptor.
#[must_use]
pub fn version_of(bytes: &[u8]) -> Option<u16> {
    let version = bytes.strip_prefix(&MAGIC)?.first_chunk()?;
    Some(u16::from_le_bytes(*version))
}

/// Puts the checksum of all other bytes where it belongs. Too few bytes for a header stay as they are.
pub fn seal(bytes: &mut [u8]) {
    let checksum = checksum(bytes);
    patch(bytes, 12, &checksum.to_le_bytes());
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(HEADER..).unwrap_or_default());
    hasher.update(bytes.get(..12).unwrap_or_default());
    hasher.finalize()
}

fn read_table(reader: &mut Reader<'_>) -> Result<TableMeta, Malformed> {
    let mut meta = TableMeta {
        table: reader.varint()?,
        start: Bytes::copy_from_slice(reader.prefixed()?),
        end: Bytes::copy_from_slice(reader.prefixed()?),
        footer_at: reader.varint()?,
        checksum: reader.u32()?,
        entries: reader.varint()?,
        deletes: 0,
        range_deletes: 0,
        oldest: 0,
        newest: 0,
        expiring: reader.varint()?,
        first_expiry: Expiry::NEVER,
        last_expiry: Expiry::NEVER,
    };
    check_sizes(reader, &meta)?;
    if meta.expiring > meta.entries {
        return Err(reader.error("more versions expire than there are"));
    }
    if meta.expiring > 0 {
        meta.first_expiry = Expiry(reader.varint()?);
        meta.last_expiry = Expiry(reader.varint()?);
    }
    Ok(meta)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_descriptor_has_fixed_bytes_and_comes_back() {
        let expiring = TableMeta {
            expiring: 1,
            first_expiry: Expiry(5),
            last_expiry: Expiry(300),
            ..TableMeta::plain(2, "b", "c")
        };
        let tables = vec![TableMeta::plain(1, "a", "b"), expiring];
        let described = Descriptor { database: 9, range: KeyRange::new("a", "d"), tables };
        let bytes = described.encode();
        assert_eq!(&bytes[..12], b"HWEX\x01\0\0\0\x2b\0\0\0");
        let mut body = b"\x09\0\0\0\0\0\0\0\x01a\x01\x01d\x02".to_vec();
        body.extend_from_slice(b"\x01\x01a\x01b\x80\x20\x07\0\0\0\x03\0");
        body.extend_from_slice(b"\x02\x01b\x01c\x80\x20\x07\0\0\0\x03\x01\x05\xac\x02");
        assert_eq!(&bytes[HEADER..], body);
        assert_eq!(Descriptor::decode(&bytes), Ok(described));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(Descriptor::decode(&damaged).is_err(), "byte {at}");
            assert!(Descriptor::decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn tables_that_overlap_or_leave_the_range_are_refused() {
        let within = |range: KeyRange, tables: &[TableMeta]| {
            Descriptor::decode(&Descriptor { database: 1, range, tables: tables.to_vec() }.encode())
        };
        let refused = |tables: &[TableMeta]| within(KeyRange::new("b", "m"), tables).is_err();
        assert!(!refused(&[TableMeta::plain(1, "b", "c"), TableMeta::plain(2, "c", "m")]));
        assert!(refused(&[TableMeta::plain(1, "b", "d"), TableMeta::plain(2, "c", "m")]), "overlapping");
        assert!(refused(&[TableMeta::plain(1, "d", "e"), TableMeta::plain(2, "b", "c")]), "out of order");
        assert!(refused(&[TableMeta::plain(1, "a", "c")]), "before the range");
        assert!(refused(&[TableMeta::plain(1, "c", "n")]), "beyond the range");
        assert!(refused(&[TableMeta::plain(1, "c", "c")]), "empty");
        assert!(refused(&[TableMeta::plain(1, "b", "c"), TableMeta::plain(1, "c", "d")]), "one name twice");
        assert!(within(KeyRange::all(), &[TableMeta::plain(1, "c", "n")]).is_ok());
    }

    #[test]
    fn sizes_that_no_table_has_are_refused() {
        let refused = |meta: TableMeta| {
            Descriptor::decode(&Descriptor { database: 1, range: KeyRange::all(), tables: vec![meta] }.encode())
                .is_err()
        };
        assert!(refused(TableMeta { footer_at: u64::MAX, ..TableMeta::plain(1, "b", "c") }));
        assert!(refused(TableMeta { entries: u64::MAX, ..TableMeta::plain(1, "b", "c") }));
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>) -> bool {
            let _ = Descriptor::decode(&bytes);
            let mut sealed = Descriptor { database: 1, range: KeyRange::all(), tables: Vec::new() }.encode();
            sealed.extend_from_slice(&bytes);
            let length = (sealed.len() - HEADER) as u32;
            patch(&mut sealed, 8, &length.to_le_bytes());
            seal(&mut sealed);
            let _ = Descriptor::decode(&sealed);
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>) -> bool);
    }
}
