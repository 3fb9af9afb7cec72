//! What a table holds, in numbers: for choosing compactions, dropping tables whole, and for people.
//!
//! ```text
//! properties = versions | deletes | range deletes | data blocks | partitions | key bytes | value bytes | oldest sequence
//!              | newest sequence | versions that expire | first expiry | last expiry | prefix length: varint each
//! ```

use crate::codec::{Malformed, Reader, put_varint};
use crate::ids::Expiry;

/// A table's properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Properties {
    /// Number of versions, deletes included.
    pub versions: u64,
    /// Number of them that are deletes.
    pub deletes: u64,
    /// Number of range deletes.
    pub range_deletes: u64,
    /// Number of data blocks.
    pub blocks: u64,
    /// Number of partitions of index and filter.
    pub partitions: u64,
    /// Bytes of all keys, before compression.
    pub key_bytes: u64,
    /// Bytes of all values, before compression.
    pub value_bytes: u64,
    /// The oldest sequence number.
    pub oldest: u64,
    /// The newest sequence number, range deletes included.
    pub newest: u64,
    /// Number of versions that expire.
    pub expiring: u64,
    /// When the first of them has expired; never when there is none.
    pub first_expiry: Expiry,
    /// When the last of them has expired; never when there is none.
    pub last_expiry: Expiry,
    /// Bytes of the prefixes that the filters hold besides whole keys; 0 for none.
    pub prefix_length: u64,
}

impl Default for Properties {
    fn default() -> Self {
        Self {
            versions: 0,
            deletes: 0,
            range_deletes: 0,
            blocks: 0,
            partitions: 0,
            key_bytes: 0,
            value_bytes: 0,
            oldest: 0,
            newest: 0,
            expiring: 0,
            first_expiry: Expiry::NEVER,
            last_expiry: Expiry::NEVER,
            prefix_length: 0,
        }
    }
}

impl Properties {
    fn numbers(&self) -> [u64; 13] {
        [
            self.versions,
            self.deletes,
            self.range_deletes,
            self.blocks,
            self.partitions,
            self.key_bytes,
            self.value_bytes,
            self.oldest,
            self.newest,
            self.expiring,
            self.first_expiry.0,
            self.last_expiry.0,
            self.prefix_length,
        ]
    }

    /// Appends the properties.
    pub(crate) fn put(&self, out: &mut Vec<u8>) {
        for number in self.numbers() {
            put_varint(out, number);
        }
    }

    /// Reads properties.
    ///
    /// # Errors
    /// When the bytes end too early.
    pub fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            versions: reader.varint()?,
            deletes: reader.varint()?,
            range_deletes: reader.varint()?,
            blocks: reader.varint()?,
            partitions: reader.varint()?,
            key_bytes: reader.varint()?,
            value_bytes: reader.varint()?,
            oldest: reader.varint()?,
            newest: reader.varint()?,
            expiring: reader.varint()?,
            first_expiry: Expiry(reader.varint()?),
            last_expiry: Expiry(reader.varint()?),
            prefix_length: reader.varint()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn properties_have_fixed_bytes_and_come_back() {
        let properties = Properties {
            versions: 1,
            deletes: 2,
            range_deletes: 3,
            blocks: 4,
            partitions: 5,
            key_bytes: 6,
            value_bytes: 7,
            oldest: 8,
            newest: 9,
            expiring: 10,
            first_expiry: Expiry(11),
            last_expiry: Expiry(12),
            prefix_length: 300,
        };
        let mut bytes = Vec::new();
        properties.put(&mut bytes);
        assert_eq!(bytes, b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\xac\x02");
        assert_eq!(Properties::read(&mut Reader::new(&bytes)), Ok(properties));
        assert!(Properties::read(&mut Reader::new(&bytes[..13])).is_err());
    }
}
