//! A table taken apart: every part that its footer leads to, each checked against the pointer to it.

use std::collections::VecDeque;

use bytes::Bytes;
use highwater_runtime::BLOCK;

use crate::codec::Malformed;
use crate::tree::table::block::Block;
use crate::tree::table::filter::{self, Filter};
use crate::tree::table::format::{self, Footer, Pointer};

/// What a part of a table is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Versions of keys.
    Data,
    /// Says which keys are certainly absent.
    Filter,
    /// Says where data blocks are.
    Index,
    /// Deletes of ranges.
    RangeDeletes,
}

impl PartKind {
    /// The part in a word or two.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Filter => "filter",
            Self::Index => "index",
            Self::RangeDeletes => "range deletes",
        }
    }
}

/// A part of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// Where it is.
    pub pointer: Pointer,
    /// The key that the index holds for it.
    pub bound: Option<Bytes>,
    /// Its bytes, unpacked; or where in the file and in what way they are damaged.
    pub content: Result<Bytes, Malformed>,
}

/// A table taken apart.
#[derive(Clone, Debug)]
pub struct TableParts {
    /// The footer.
    pub footer: Footer,
    /// The footer's checksum, which the manifest repeats.
    pub checksum: u32,
    /// What the footer says in numbers, by name.
    pub properties: Vec<(&'static str, u64)>,
    /// All parts that are reached, in the order of the index. What hangs on a damaged part is not.
    pub parts: Vec<Part>,
    /// The filters that could be read.
    filters: Vec<Filter>,
}

impl TableParts {
    /// Whether the filters let a lookup of the key through; they must, for every key of the table.
    #[must_use]
    pub fn may_contain(&self, key: &[u8]) -> bool {
        let hash = filter::hash(key);
        self.filters.is_empty() || self.filters.iter().any(|filter| filter.may_contain(hash))
    }
}

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// The key.
    pub key: Bytes,
    /// Its place in the order of writes.
    pub sequence: u64,
    /// The value; `None` is a delete.
    pub value: Option<Bytes>,
    /// Log time in microseconds at which the value has expired; `None`: never.
    pub expires_at: Option<u64>,
}

/// One range delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RangeDelete {
    /// First key, inclusive.
    pub start: Bytes,
    /// Last key, exclusive.
    pub end: Bytes,
    /// Its place in the order of writes.
    pub sequence: u64,
}

/// A fault at a place of the file.
fn at(offset: u64, what: &'static str) -> Malformed {
    Malformed { at: usize::try_from(offset).unwrap_or(usize::MAX), what }
}

/// What a pointer names, checked and unpacked.
fn content(file: &[u8], pointer: &Pointer) -> Result<Bytes, Malformed> {
    let from = usize::try_from(pointer.offset).unwrap_or(usize::MAX);
    let stored = file
        .get(from..from.saturating_add(pointer.stored as usize))
        .ok_or(at(pointer.offset, "a part reaches beyond the file"))?;
    if crc32fast::hash(stored) != pointer.checksum {
        return Err(at(pointer.offset, "a block does not match its checksum"));
    }
    pointer.unpack(Bytes::copy_from_slice(stored)).map_err(|error| at(pointer.offset, error.what))
}

/// Takes a table apart whose file has these bytes; its footer is the last block.
///
/// # Errors
/// When there is no footer: nothing else can be found without it. Other damage is in the parts.
pub fn take_apart(file: &[u8]) -> Result<TableParts, Malformed> {
    let footer_at = file.len().checked_sub(BLOCK).ok_or(at(0, "the file is shorter than a footer"))? / BLOCK * BLOCK;
    let block = file.get(footer_at..footer_at + BLOCK).unwrap_or_default();
    let (footer, checksum) =
        Footer::decode(block).map_err(|error| Malformed { at: footer_at + error.at, what: error.what })?;
    let part = |kind, pointer: Pointer, bound| Part { kind, pointer, bound, content: content(file, &pointer) };
    let mut index = part(PartKind::Index, footer.index, None);
    let mut parts = Vec::new();
    if let Ok(bytes) = &index.content {
        match format::decode_index(bytes) {
            Ok(entries) => {
                let blocks = entries.into_iter().map(|entry| part(PartKind::Data, entry.pointer, Some(entry.last_key)));
                parts.extend(blocks);
            }
            Err(error) => index.content = Err(at(footer.index.offset, error.what)),
        }
    }
    let mut filter = part(PartKind::Filter, footer.filter, None);
    let mut filters = Vec::new();
    if let Ok(bytes) = &filter.content {
        match Filter::decode(bytes.clone()) {
            Ok(filter) => filters.push(filter),
            Err(error) => filter.content = Err(at(footer.filter.offset, error.what)),
        }
    }
    parts.extend([filter, part(PartKind::RangeDeletes, footer.tombstones, None), index]);
    let properties = vec![
        ("versions", footer.entries),
        ("deletes", footer.deletes),
        ("range deletes", footer.range_deletes),
        ("newest sequence", footer.newest),
    ];
    Ok(TableParts { footer, checksum, properties, parts, filters })
}

/// The versions of a data block, in order.
///
/// # Errors
/// On bytes that are no block.
pub fn versions(block: Bytes) -> Result<Vec<Version>, Malformed> {
    let block = Block::decode(block)?;
    let mut entries = VecDeque::new();
    for interval in 0..block.intervals() {
        block.interval(interval, &mut entries)?;
    }
    let version = |entry: crate::tree::Entry| Version {
        key: entry.key,
        sequence: entry.seq.0,
        value: entry.value,
        expires_at: (entry.expires_at != crate::ids::Expiry::NEVER).then_some(entry.expires_at.0),
    };
    Ok(entries.into_iter().map(version).collect())
}

/// The entries of an index: the key of each, and what it points to.
///
/// # Errors
/// On bytes that are no index.
pub fn index_entries(data: Bytes) -> Result<Vec<(Bytes, Vec<Pointer>)>, Malformed> {
    let entries = format::decode_index(&data)?;
    Ok(entries.into_iter().map(|entry| (entry.last_key, vec![entry.pointer])).collect())
}

/// Whether a filter of these bytes lets a lookup of the key through.
///
/// # Errors
/// On bytes that are no filter.
pub fn filter_lets_through(data: Bytes, key: &[u8]) -> Result<bool, Malformed> {
    Ok(Filter::decode(data)?.may_contain(filter::hash(key)))
}

/// The range deletes of a table.
///
/// # Errors
/// On bytes that are no range deletes.
pub fn range_deletes(data: &Bytes) -> Result<Vec<RangeDelete>, Malformed> {
    let tombstones = format::decode_tombstones(data)?;
    let delete = |found: crate::tree::tombstone::Tombstone| RangeDelete {
        start: found.start,
        end: found.end,
        sequence: found.seq.0,
    };
    Ok(tombstones.into_iter().map(delete).collect())
}
