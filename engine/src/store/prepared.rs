//! Prepared tables: a folder with the visible state of a key range at one snapshot, apart from any store.
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

use std::path::{Path, PathBuf};

use bytes::Bytes;
use highwater_runtime::{AlignedBuf, BLOCK, Env, File, OpenOptions};

use super::checkpoint::check_complete;
use crate::codec::{Malformed, Reader, patch, put_prefixed, put_varint};
use crate::error::EngineError;
use crate::ids::Expiry;
use crate::manifest::{TableMeta, sync_folder};
use crate::tree::cursor::KeyRange;
use crate::tree::table::writer;

const MAGIC: [u8; 4] = *b"HWEX";
/// Format version written and read.
pub const VERSION: u16 = 1;
/// Bytes before the body.
const HEADER: usize = 16;
/// Name of the descriptor.
const DESCRIPTOR: &str = "EXPORT";
/// The largest descriptor that is read, in bytes.
const MAX_DESCRIPTOR_BYTES: u64 = 64 << 20;

/// One prepared table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTable {
    pub(super) meta: TableMeta,
}

impl PreparedTable {
    /// Its first key, and the key behind its last.
    #[must_use]
    pub const fn bounds(&self) -> (&Bytes, &Bytes) {
        (&self.meta.start, &self.meta.end)
    }

    /// Number of keys.
    #[must_use]
    pub const fn keys(&self) -> u64 {
        self.meta.entries
    }

    /// Bytes of its file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.meta.bytes()
    }
}

/// A whole set of prepared tables and where it lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreparedTables {
    pub(super) folder: PathBuf,
    pub(super) database: u64,
    pub(super) range: KeyRange,
    pub(super) tables: Vec<PreparedTable>,
}

impl PreparedTables {
    /// Reads the descriptor of a folder that [`crate::Store::export`] has made, or that was filled with copies of its files.
    ///
    /// # Errors
    /// [`EngineError::Incomplete`] when the folder is not whole; [`EngineError::Prepared`] when the descriptor is missing, damaged
    /// or contradicts itself; [`EngineError::Version`]; I/O errors. The tables themselves are checked when they are ingested.
    pub async fn open<E: Env>(env: &E, folder: &Path) -> Result<Self, EngineError> {
        check_complete(env, folder).await?;
        let path = folder.join(DESCRIPTOR);
        let refuse = |what: &str| EngineError::Prepared { file: path.clone(), what: what.to_owned() };
        let failed = |action, error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => refuse("the descriptor is missing"),
            _ => EngineError::io(action, &path, &error),
        };
        let file = env.open(&path, OpenOptions::READ).await.map_err(|error| failed("open", error))?;
        let len = file.len().await.map_err(|error| failed("measure", error))?;
        let len = len / BLOCK as u64 * BLOCK as u64;
        if len == 0 || len > MAX_DESCRIPTOR_BYTES {
            return Err(refuse("the descriptor has no possible length"));
        }
        let bytes = file.read_at(0, len as usize).await.map_err(|error| failed("read", error))?;
        let version = bytes.get(4..6).and_then(|version| version.try_into().ok()).map_or(0, u16::from_le_bytes);
        if bytes.starts_with(&MAGIC) && version > VERSION {
            return Err(EngineError::Version { file: path, found: version, supported: VERSION });
        }
        let (database, range, metas) = decode(&bytes).map_err(|error| refuse(error.what))?;
        let tables = metas.into_iter().map(|meta| PreparedTable { meta }).collect();
        Ok(Self { folder: folder.to_path_buf(), database, range, tables })
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The range of keys whose state this is.
    #[must_use]
    pub const fn range(&self) -> &KeyRange {
        &self.range
    }

    /// The tables in key order.
    #[must_use]
    pub fn tables(&self) -> &[PreparedTable] {
        &self.tables
    }

    /// Number of keys.
    #[must_use]
    pub fn keys(&self) -> u64 {
        self.tables.iter().map(PreparedTable::keys).sum()
    }

    /// The names of all files in the folder, the descriptor last: what a copy elsewhere needs, in this order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let tables = self.tables.iter().map(|table| writer::path(Path::new(""), table.meta.table));
        tables.chain([PathBuf::from(DESCRIPTOR)]).collect()
    }

    /// Removes the files; the descriptor goes first, so that what a crash leaves is refused.
    ///
    /// # Errors
    /// I/O errors; it may be called again.
    pub async fn remove<E: Env>(&self, env: &E) -> Result<(), EngineError> {
        for name in self.files().into_iter().rev() {
            let path = self.folder.join(name);
            match env.remove_file(&path).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(EngineError::io("remove", &path, &error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        sync_folder(env, &self.folder).await;
        Ok(())
    }

    /// Writes the descriptor durably, except for its name.
    pub(super) async fn write_descriptor<E: Env>(&self, env: &E) -> Result<(), EngineError> {
        let path = self.folder.join(DESCRIPTOR);
        let failed = |action, error| EngineError::io(action, &path, &error);
        let file = env.open(&path, OpenOptions::CREATE).await.map_err(|error| failed("create", error))?;
        let metas: Vec<&TableMeta> = self.tables.iter().map(|table| &table.meta).collect();
        let bytes = AlignedBuf::from_slice(&encode(self.database, &self.range, &metas));
        file.allocate(bytes.len() as u64).await.map_err(|error| failed("reserve space for", error))?;
        file.write_at(bytes, 0).await.map_err(|error| failed("write to", error))?;
        file.sync().await.map_err(|error| failed("sync", error))
    }
}

fn encode(database: u64, range: &KeyRange, tables: &[&TableMeta]) -> Vec<u8> {
    let mut out = vec![0; HEADER];
    out.extend_from_slice(&database.to_le_bytes());
    put_prefixed(&mut out, &range.start);
    out.push(u8::from(range.end.is_some()));
    if let Some(end) = &range.end {
        put_prefixed(&mut out, end);
    }
    put_varint(&mut out, tables.len() as u64);
    for meta in tables {
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
    let checksum = checksum(&out);
    patch(&mut out, 12, &checksum.to_le_bytes());
    out
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(bytes.get(HEADER..).unwrap_or_default());
    hasher.update(bytes.get(..12).unwrap_or_default());
    hasher.finalize()
}

type Described = (u64, KeyRange, Vec<TableMeta>);

/// Reads a descriptor: whole, of this version, and with tables in order, disjoint and within the range.
///
/// # Errors
/// On any other bytes.
fn decode(bytes: &[u8]) -> Result<Described, Malformed> {
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
    for _ in 0..reader.length()? {
        let meta = read_table(&mut reader)?;
        let before = tables.last().map_or(&range.start, |before| &before.end);
        let inside = meta.start < meta.end && range.end.as_ref().is_none_or(|end| meta.end <= *end);
        if meta.start < *before || !inside {
            return Err(reader.error("a prepared table overlaps another or reaches beyond the range"));
        }
        if tables.iter().any(|table| table.table == meta.table) {
            return Err(reader.error("two prepared tables have one name"));
        }
        tables.push(meta);
    }
    if !reader.is_empty() {
        return Err(reader.error("bytes behind the last prepared table"));
    }
    Ok((database, range, tables))
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
        let tables = [&TableMeta::plain(1, "a", "b"), &expiring];
        let range = KeyRange::new("a", "d");
        let bytes = encode(9, &range, &tables);
        assert_eq!(&bytes[..12], b"HWEX\x01\0\0\0\x2b\0\0\0");
        let mut body = b"\x09\0\0\0\0\0\0\0\x01a\x01\x01d\x02".to_vec();
        body.extend_from_slice(b"\x01\x01a\x01b\x80\x20\x07\0\0\0\x03\0");
        body.extend_from_slice(b"\x02\x01b\x01c\x80\x20\x07\0\0\0\x03\x01\x05\xac\x02");
        assert_eq!(&bytes[HEADER..], body);
        assert_eq!(decode(&bytes).unwrap(), (9, range, vec![TableMeta::plain(1, "a", "b"), expiring]));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert!(decode(&damaged).is_err(), "byte {at}");
            assert!(decode(&bytes[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn tables_that_overlap_or_leave_the_range_are_refused() {
        let range = KeyRange::new("b", "m");
        let refused = |tables: &[&TableMeta]| decode(&encode(1, &range, tables)).is_err();
        assert!(!refused(&[&TableMeta::plain(1, "b", "c"), &TableMeta::plain(2, "c", "m")]));
        assert!(refused(&[&TableMeta::plain(1, "b", "d"), &TableMeta::plain(2, "c", "m")]), "overlapping");
        assert!(refused(&[&TableMeta::plain(1, "d", "e"), &TableMeta::plain(2, "b", "c")]), "out of order");
        assert!(refused(&[&TableMeta::plain(1, "a", "c")]), "before the range");
        assert!(refused(&[&TableMeta::plain(1, "c", "n")]), "beyond the range");
        assert!(refused(&[&TableMeta::plain(1, "c", "c")]), "empty");
        assert!(refused(&[&TableMeta::plain(1, "b", "c"), &TableMeta::plain(1, "c", "d")]), "one name twice");
        assert!(decode(&encode(1, &KeyRange::all(), &[&TableMeta::plain(1, "c", "n")])).is_ok());
    }

    #[test]
    fn no_bytes_make_the_decoder_panic() {
        fn property(bytes: Vec<u8>) -> bool {
            let _ = decode(&bytes);
            let mut sealed = encode(1, &KeyRange::all(), &[]);
            sealed.extend_from_slice(&bytes);
            let length = (sealed.len() - HEADER) as u32;
            patch(&mut sealed, 8, &length.to_le_bytes());
            let sum = checksum(&sealed);
            patch(&mut sealed, 12, &sum.to_le_bytes());
            let _ = decode(&sealed);
            true
        }
        quickcheck::quickcheck(property as fn(Vec<u8>) -> bool);
    }
}
