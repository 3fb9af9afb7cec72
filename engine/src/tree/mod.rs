//! # The tree: memtables, sorted tables and how they are read
//!
//! Keys are byte strings in lexicographic order. A key's versions are told apart by sequence number; a reader at sequence s
//! sees, of each key, the newest version at or below s, unless a range delete between that version and s covers the key.
//!
//! Layers from new to old: the active memtable, frozen memtables, level 0 (overlapping tables, newest first), levels 1 and
//! below (disjoint tables). For one key, everything in a newer layer is newer than everything in an older one.

pub(crate) mod arena;
pub(crate) mod cache;
pub(crate) mod cursor;
pub(crate) mod graveyard;
pub(crate) mod key_filter;
pub(crate) mod memtable;
pub(crate) mod merger;
pub(crate) mod run;
pub(crate) mod snapshot;
pub(crate) mod source;
pub mod table;
pub(crate) mod tombstone;
pub(crate) mod version;
pub(crate) mod version_map;

use bytes::Bytes;

use crate::ids::{Expiry, Seq};

/// One version of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The key.
    pub(crate) key: Bytes,
    pub(crate) seq: Seq,
    /// Its value; `None` is a delete.
    pub(crate) value: Option<Bytes>,
    /// When the value has expired.
    pub(crate) expires_at: Expiry,
}

/// One version of a key, borrowed from where it lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntryRef<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) seq: Seq,
    /// Its value; `None` is a delete.
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) expires_at: Expiry,
}

impl<'a> From<&'a Entry> for EntryRef<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self { key: &entry.key, seq: entry.seq, value: entry.value.as_deref(), expires_at: entry.expires_at }
    }
}

/// What one layer knows of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// A value, and when it has expired.
    Found(Bytes, Expiry),
    Deleted,
    /// Ask the next older layer.
    Unknown,
}

impl Lookup {
    /// Weighs the newest visible version against the newest visible range delete of the same layer.
    pub(crate) fn of(version: Option<(Seq, Option<Bytes>, Expiry)>, tombstone: Option<Seq>) -> Self {
        match (version, tombstone) {
            (Some((seq, value, expires_at)), tombstone) if tombstone.is_none_or(|deleted| seq > deleted) => {
                value.map_or(Self::Deleted, |value| Self::Found(value, expires_at))
            }
            (_, Some(_)) => Self::Deleted,
            (_, None) => Self::Unknown,
        }
    }
}
