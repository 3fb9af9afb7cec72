//! A table taken apart: every part that its footer leads to, each checked against the pointer to it.

use std::collections::VecDeque;

use bytes::Bytes;
use highwater_runtime::BLOCK;

use crate::codec::Malformed;
use crate::tree::table::block::Block;
use crate::tree::table::filter::{self, Filter};
use crate::tree::table::format::{self, Footer, Pointer};
use crate::tree::table::index::Index;

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
    let mut parts = Vec::new();
    let mut around = Vec::new();
    let mut filters = Vec::new();
    // Without its own filter a partition lets every key through.
    let mut filtered = true;
    let mut top = part(PartKind::Index, footer.top, None);
    for (bound, pointers) in entries_of(&mut top) {
        let mut pointers = pointers.into_iter();
        if let Some(pointer) = pointers.next() {
            let mut partition = part(PartKind::Index, pointer, Some(bound.clone()));
            for (bound, pointers) in entries_of(&mut partition) {
                parts.extend(pointers.into_iter().map(|pointer| part(PartKind::Data, pointer, Some(bound.clone()))));
            }
            around.push(partition);
        }
        let Some(pointer) = pointers.next() else {
            filtered = false;
            continue;
        };
        let mut filter = part(PartKind::Filter, pointer, Some(bound));
        match filter.content.clone().map(Filter::decode) {
            Ok(Ok(decoded)) => filters.push(decoded),
            Ok(Err(error)) => (filtered, filter.content) = (false, Err(at(pointer.offset, error.what))),
            Err(_) => filtered = false,
        }
        around.push(filter);
    }
    if !filtered {
        filters.clear();
    }
    parts.extend(around);
    parts.extend([part(PartKind::RangeDeletes, footer.tombstones, None), top]);
    let of = &footer.properties;
    let properties = vec![
        ("versions", of.versions),
        ("deletes", of.deletes),
        ("range deletes", of.range_deletes),
        ("versions that expire", of.expiring),
        ("data blocks", of.blocks),
        ("partitions", of.partitions),
        ("key bytes", of.key_bytes),
        ("value bytes", of.value_bytes),
        ("prefix length", of.prefix_length),
        ("oldest sequence", of.oldest),
        ("newest sequence", of.newest),
    ];
    Ok(TableParts { footer, checksum, properties, parts, filters })
}

/// The entries of an index part; none when it is damaged, which it then says.
fn entries_of(part: &mut Part) -> Vec<(Bytes, Vec<Pointer>)> {
    let Ok(bytes) = part.content.clone() else { return Vec::new() };
    index_entries(bytes).unwrap_or_else(|error| {
        part.content = Err(at(part.pointer.offset, error.what));
        Vec::new()
    })
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

/// The entries of an index: the separator of each, and what it points to. In the top, that is a partition and, if it has one,
/// its filter.
///
/// # Errors
/// On bytes that are no index.
pub fn index_entries(data: Bytes) -> Result<Vec<(Bytes, Vec<Pointer>)>, Malformed> {
    let index = Index::decode(data)?;
    let mut entries = Vec::new();
    for at in 0..index.len() {
        let pointers = [index.pointer(at, 0)?, index.pointer(at, 1)?];
        entries.push((Bytes::from(index.separator(at)), pointers.into_iter().flatten().collect()));
    }
    Ok(entries)
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
