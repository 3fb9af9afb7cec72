//! # Reading a store's files without opening the store
//!
//! Owns what offline tools need beyond the decoders of [`crate::log`], [`crate::manifest`] and [`crate::tree::table`]: which file
//! is what, the replay of the log's records, and tables taken apart. Everything here is a function of bytes.
//!
//! Must never: read or write files, or decide otherwise than recovery does.

mod replay;
mod table;

use std::path::Path;

pub use crate::store::{Descriptor, seal as seal_descriptor};
pub use replay::{GroupFacts, LogReplay};
pub use table::{Part, PartKind, RangeDelete, TableParts, Version};
pub use table::{filter_lets_through, index_entries, range_deletes, take_apart, versions};

/// What a file of a store's folder is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// A manifest with its number.
    Manifest(u64),
    /// A slot of the log.
    Segment(u64),
    /// A table with its id.
    Table(u64),
    /// Nothing of a store's.
    Other,
}

impl FileKind {
    /// The kind of a file.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        if let Some(number) = crate::manifest::number_of(path) {
            return Self::Manifest(number);
        }
        if let Some(slot) = crate::log::segment::slot(path) {
            return Self::Segment(slot);
        }
        crate::tree::table::writer::table_of(path).map_or(Self::Other, Self::Table)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_their_names() {
        let kind = |name: &str| FileKind::of(&Path::new("/data/store-0").join(name));
        assert_eq!(kind("MANIFEST-00000003"), FileKind::Manifest(3));
        assert_eq!(kind("00000012.log"), FileKind::Segment(12));
        assert_eq!(kind("000000000042.tbl"), FileKind::Table(42));
        assert_eq!(kind("lock"), FileKind::Other);
    }
}
