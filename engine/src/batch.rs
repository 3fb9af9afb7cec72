//! A batch of tree writes: built in its encoded form, hashed as such, and read as it lies.
//!
//! ```text
//! operation = kind u8 | key length varint | key | body
//!   kind 1 put           body = value length varint | value
//!   kind 2 delete        body is empty
//!   kind 3 delete range  key is the start (inclusive), body = end length varint | end (exclusive)
//!   kind 4 put expiring  body = value length varint | value | log time in microseconds at which it has expired, varint
//! ```
//!
//! Operations take effect in order. The encoding has no padding and one form only, so equal batches hash equally.

use crate::codec::{Malformed, Reader, put_prefixed, put_varint};
use crate::ids::Expiry;

const PUT: u8 = 1;
const DELETE: u8 = 2;
const DELETE_RANGE: u8 = 3;
const PUT_EXPIRING: u8 = 4;

/// Writes that take effect together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WriteBatch {
    encoded: Vec<u8>,
    len: usize,
}

/// One write, as it lies in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation<'a> {
    /// The key has this value from now on, or until it has expired.
    Put {
        /// The key.
        key: &'a [u8],
        /// Its value.
        value: &'a [u8],
        /// When the value has expired.
        expires_at: Expiry,
    },
    /// The key has no value from now on.
    Delete {
        /// The key.
        key: &'a [u8],
    },
    /// No key of the range has a value from now on.
    DeleteRange {
        /// First key, inclusive.
        start: &'a [u8],
        /// Last key, exclusive.
        end: &'a [u8],
    },
}

impl WriteBatch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self { encoded: Vec::new(), len: 0 }
    }

    /// An empty batch with room for `bytes` of encoded operations.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { encoded: Vec::with_capacity(bytes), len: 0 }
    }

    /// Sets a key's value.
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.encoded.push(PUT);
        put_prefixed(&mut self.encoded, key.as_ref());
        put_prefixed(&mut self.encoded, value.as_ref());
        self.len += 1;
    }

    /// Sets a key's value until its group's log time reaches `expires_at`. From then on readers treat the value as absent (they are
    /// told when it expires), and compaction removes it once the store knows that time (`Store::advance_clock`).
    pub fn put_expiring(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>, expires_at: Expiry) {
        if expires_at == Expiry::NEVER {
            return self.put(key, value);
        }
        self.encoded.push(PUT_EXPIRING);
        put_prefixed(&mut self.encoded, key.as_ref());
        put_prefixed(&mut self.encoded, value.as_ref());
        put_varint(&mut self.encoded, expires_at.0);
        self.len += 1;
    }

    /// Removes a key.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) {
        self.encoded.push(DELETE);
        put_prefixed(&mut self.encoded, key.as_ref());
        self.len += 1;
    }

    /// Removes every key from `start` (inclusive) to `end` (exclusive); nothing when the range is empty.
    pub fn delete_range(&mut self, start: impl AsRef<[u8]>, end: impl AsRef<[u8]>) {
        self.encoded.push(DELETE_RANGE);
        put_prefixed(&mut self.encoded, start.as_ref());
        put_prefixed(&mut self.encoded, end.as_ref());
        self.len += 1;
    }

    /// Number of operations.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of the encoded form.
    #[must_use]
    pub const fn byte_size(&self) -> usize {
        self.encoded.len()
    }

    /// The encoded form, for hashing.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// The encoded form, owned.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        self.encoded.clone()
    }

    /// Reads an encoded batch.
    ///
    /// # Errors
    /// On bytes that are no batch.
    pub fn decode(encoded: Vec<u8>) -> Result<Self, Malformed> {
        let mut reader = Reader::new(&encoded);
        let mut len = 0;
        while !reader.is_empty() {
            read_operation(&mut reader)?;
            len += 1;
        }
        Ok(Self { encoded, len })
    }

    /// The operations in order, as they lie in the batch.
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let mut reader = Reader::new(&self.encoded);
        std::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            // The bytes were made or checked by this module, so reading them cannot fail.
            let (kind, key, body, expires_at) = read_operation(&mut reader).ok()?;
            let (key, body) = (self.encoded.get(key)?, self.encoded.get(body)?);
            Some(match kind {
                Kind::Put | Kind::PutExpiring => Operation::Put { key, value: body, expires_at },
                Kind::Delete => Operation::Delete { key },
                Kind::DeleteRange => Operation::DeleteRange { start: key, end: body },
            })
        })
    }
}

enum Kind {
    Put,
    Delete,
    DeleteRange,
    PutExpiring,
}

type Span = std::ops::Range<usize>;

fn span(reader: &mut Reader<'_>) -> Result<Span, Malformed> {
    let len = reader.length()?;
    let start = reader.position();
    reader.take(len)?;
    Ok(start..start + len)
}

fn read_operation(reader: &mut Reader<'_>) -> Result<(Kind, Span, Span, Expiry), Malformed> {
    let error = reader.error("an unknown kind of operation");
    let kind = match reader.u8()? {
        PUT => Kind::Put,
        DELETE => Kind::Delete,
        DELETE_RANGE => Kind::DeleteRange,
        PUT_EXPIRING => Kind::PutExpiring,
        _ => return Err(error),
    };
    let key = span(reader)?;
    let body = match kind {
        Kind::Put | Kind::DeleteRange | Kind::PutExpiring => span(reader)?,
        Kind::Delete => 0..0,
    };
    let mut expires_at = Expiry::NEVER;
    if matches!(kind, Kind::PutExpiring) {
        let never = reader.error("an expiring value that never expires");
        expires_at = Expiry(reader.varint()?);
        if expires_at == Expiry::NEVER {
            return Err(never);
        }
    }
    Ok((kind, key, body, expires_at))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]
    use super::*;

    #[test]
    fn a_batch_has_fixed_bytes_and_gives_its_operations_back() {
        let mut batch = WriteBatch::new();
        batch.put(b"k", b"vv");
        batch.delete(b"d");
        batch.delete_range(b"a", b"b");
        batch.put_expiring(b"e", b"x", Expiry(300));
        assert_eq!(batch.bytes(), b"\x01\x01k\x02vv\x02\x01d\x03\x01a\x01b\x04\x01e\x01x\xac\x02");
        assert_eq!((batch.len(), batch.byte_size()), (4, 21));
        assert_eq!(WriteBatch::decode(batch.encode()).unwrap(), batch);
        let operations: Vec<_> = batch.operations().collect();
        let put = |key, value, expires_at| Operation::Put { key, value, expires_at };
        assert_eq!(
            operations,
            [
                put(b"k".as_slice(), b"vv".as_slice(), Expiry::NEVER),
                Operation::Delete { key: b"d" },
                Operation::DeleteRange { start: b"a", end: b"b" },
                put(b"e", b"x", Expiry(300)),
            ]
        );
    }

    #[test]
    fn a_batch_cut_anywhere_is_refused_or_shorter() {
        let mut batch = WriteBatch::new();
        batch.put(b"key", b"value");
        for end in 1..batch.byte_size() {
            assert!(WriteBatch::decode(batch.bytes()[..end].to_vec()).is_err());
        }
        assert!(WriteBatch::decode(vec![9]).is_err());
        let never = [b"\x04\x01k\0".to_vec(), vec![0xff; 9], vec![1]].concat();
        assert!(WriteBatch::decode(never).is_err(), "a value that never expires has one form only");
    }
}
